"""Tasks that worker processes of the tests import."""

import os
import signal
import time
from pathlib import Path

from core import InputError


def square(number: int, progress) -> int:
    """Count a step and return the square."""
    progress.line(f"{progress.worker}squaring {number}")
    progress.step(f"{number}")
    return number**2


def wait_and_square(number: int, seconds: float, progress) -> int:
    """Return the square after a time."""
    time.sleep(seconds)
    return number**2


def square_all_but(victim: int, number: int, progress) -> int:
    """Return the square after a moment; be killed at one number."""
    if number == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number**2


def die(marks: str, times: int, progress) -> int:
    """Be killed in the middle, so many times; return how many calls there were."""
    mark = Path(marks)
    calls = len(mark.read_text()) + 1 if mark.exists() else 1
    mark.write_text("x" * calls)
    progress.step("one")
    if calls <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls


def refuse(text: str, progress) -> None:
    """Raise InputError."""
    raise InputError(text)


def go_on(mark: str, progress) -> None:
    """Make steps without an end; the file `mark` has the process, and once it is stopped `stopped`."""
    Path(mark).write_text(str(os.getpid()))
    try:
        while True:
            with progress.whole_steps():
                time.sleep(0.02)
                progress.step("on and on")
    except KeyboardInterrupt:
        Path(mark).write_text("stopped")
        raise


def cores(progress) -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
