"""What a person watching sees: progress with time left on a terminal, plain lines otherwise; and how to stop."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator


def show_duration(seconds: float) -> str:
    """Return a duration as people say it: 48 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def interrupt_on_sigterm() -> None:
    """Make SIGTERM, which ends a job on a cluster, the same as Ctrl-C."""
    with contextlib.suppress(ValueError):  # outside the main thread the caller handles signals
        signal.signal(signal.SIGTERM, signal.default_int_handler)


class Progress:
    """Counts the steps of a long run: one line kept up to date on a terminal, silent elsewhere; stops when asked.

    Ctrl-C and SIGTERM become KeyboardInterrupt: at once, or inside `whole_steps()` after the present step, because an
    exception in the middle of one could leave the libraries in a state of their own.

    Args:
        total: steps of the whole run.
    """

    worker = ""  # name of the worker whose progress it is, and a colon; "" where there is one process

    def __init__(self, total: int):
        self.total, self.done, self.started, self.shown = total, 0, None, 0.0
        self.terminal = sys.stdout.isatty()
        self.stop_asked, self.in_step = False, False
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # outside the main thread the caller handles signals
                signal.signal(number, self.ask_to_stop)

    def ask_to_stop(self, number, frame) -> None:
        """Take a signal; a second one does not wait for the step to end."""
        again, self.stop_asked = self.stop_asked, True
        if again or not self.in_step:
            raise KeyboardInterrupt
        self.line("stopping after this step; once more stops at once")

    @contextlib.contextmanager
    def whole_steps(self) -> Iterator[None]:
        """Hold a stop back until the next `step`, or the end of the block."""
        self.in_step = True
        try:
            yield
        finally:
            self.in_step = False
        if self.is_stopping():
            raise KeyboardInterrupt

    def is_stopping(self) -> bool:
        """Tell whether to end here."""
        return self.stop_asked

    def skip(self, steps: int) -> None:
        """Take steps that are done already out of the count."""
        self.total -= steps

    def time_left(self) -> str:
        """Return the time left at the rate so far, or '' before the first steps are over."""
        if self.started is None or self.done < 3:
            return ""
        rate = (time.monotonic() - self.started) / self.done
        return f"{show_duration(rate * max(self.total - self.done, 0))} left"

    def step(self, text: str, count: int = 1) -> None:
        """Count `count` steps, show `text` at most five times a second, and end here if a stop was asked for."""
        if self.started is None:
            self.started = time.monotonic()  # the first step also builds the graph: it is not timed
            self.total -= count
        else:
            self.done += count
        self.show(f"{text}  {self.time_left()}")

    def show(self, text: str) -> None:
        """Show `text` as `step` does, of work that is none of the steps, and end here if a stop was asked for."""
        if self.terminal and time.monotonic() - self.shown > 0.2:
            self.shown = time.monotonic()
            print(f"\r\033[K  {text}", end="", flush=True)
        if self.is_stopping():
            raise KeyboardInterrupt

    def line(self, text: str, with_time_left: bool = False) -> None:
        """Print a line that stays, with the time left behind it if that is wanted."""
        if with_time_left:
            text = f"{text}  {self.time_left()}".rstrip()
        print(("\r\033[K" if self.terminal else "") + text, flush=True)
