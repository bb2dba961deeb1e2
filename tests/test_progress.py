"""What a person watching sees, how a run is stopped, and what is said about a GPU that is not used."""

import os
import signal
import sys
from types import SimpleNamespace

import pytest

from core import device, progress
from core.progress import Progress, show_duration


@pytest.fixture(autouse=True)
def handlers():
    """Give the process its own signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is set."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (48.2, "48 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (7530, "2 h 05 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_durations(seconds, shown):
    assert show_duration(seconds) == shown


# ------------------------------------------------------------------------------------------- time left
def test_time_left_is_known_after_a_few_steps_and_leaves_out_the_first(clock):
    progress = Progress(11)
    left = []
    for _ in range(11):
        clock.seconds += 60.0 if not left else 2.0  # the first step builds the graph
        progress.step("")
        left.append(progress.time_left())
    assert left == ["", "", "", "14 s left", *(f"{seconds} s left" for seconds in (12, 10, 8, 6, 4, 2, 0))]


def test_steps_done_by_an_earlier_run_are_not_waited_for(clock):
    progress = Progress(100)
    progress.skip(90)
    for _ in range(5):
        progress.step("")
        clock.seconds += 3.0
    assert progress.time_left() == "19 s left"  # 15 s for the 4 steps behind the first, and 5 steps are left


def test_more_steps_than_said_leave_nothing(clock):
    progress = Progress(2)
    for _ in range(6):
        progress.step("")
        clock.seconds += 3.0
    assert progress.time_left() == "0 s left"


# --------------------------------------------------------------------------------- terminal and plain lines
def test_on_a_terminal_one_line_is_kept_up_to_date(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    progress = Progress(100)
    for number in range(10):
        progress.step(f"step {number}")
        clock.seconds += 0.1
    shown = capsys.readouterr().out
    assert "\n" not in shown
    assert [part.split()[1] for part in shown.split("\r\033[K")[1:]] == ["0", "3", "6", "9"]  # five a second at most
    progress.line("epoch over")
    assert capsys.readouterr().out == "\r\033[Kepoch over\n"


def test_elsewhere_only_lines_that_stay(capsys):
    progress = Progress(100)
    for number in range(10):
        progress.step(f"step {number}")
    progress.line("epoch over")
    assert capsys.readouterr().out == "epoch over\n"


# ------------------------------------------------------------------------------------------------ stopping
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_inside_a_step_waits_for_its_end(number):
    progress, reached = Progress(10), []

    def train():
        with progress.whole_steps():
            os.kill(os.getpid(), number)
            reached.append("rest of the step")
            progress.step("")
            reached.append("next step")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert reached == ["rest of the step"]


def test_a_stop_after_the_last_step_ends_with_the_block():
    progress, reached = Progress(10), []

    def train():
        with progress.whole_steps():
            progress.step("")
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("rest of the block")
        reached.append("after the block")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert reached == ["rest of the block"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_between_steps_is_at_once(number):
    progress = Progress(10)
    with progress.whole_steps():
        progress.step("")
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_a_second_stop_does_not_wait():
    progress, reached = Progress(10), []

    def train():
        with progress.whole_steps():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("first")
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("second")

    with pytest.raises(KeyboardInterrupt):
        train()
    assert reached == ["first"]


def test_an_error_inside_a_step_is_not_hidden_by_a_stop():
    progress = Progress(10)

    def train():
        with progress.whole_steps():
            os.kill(os.getpid(), signal.SIGINT)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        train()
    assert not progress.in_step


# --------------------------------------------------------------------------------------------------- device
def machine(folder, files=()):
    """A root folder with the given folders, and a TensorFlow built with or without CUDA."""
    for name in files:
        (folder / name).mkdir(parents=True)
    return folder


def tensorflow(cuda: bool) -> SimpleNamespace:
    return SimpleNamespace(test=SimpleNamespace(is_built_with_cuda=lambda: cuda))


@pytest.mark.parametrize(
    ("files", "visible", "cuda", "says"),
    [
        ([], None, False, ""),
        ([], "-1", True, ""),
        (["dev/nvidia0"], None, False, "built without CUDA"),
        (["proc/driver/nvidia/gpus"], None, False, "built without CUDA"),
        (["dev/nvidia0"], None, True, "pip install 'tensorflow[and-cuda]'"),
        (["dev/nvidia0"], "0,1", True, "pip install 'tensorflow[and-cuda]'"),
        (["dev/nvidia0"], "", True, "CUDA_VISIBLE_DEVICES hides it"),
        (["dev/nvidia0"], "-1", False, "CUDA_VISIBLE_DEVICES hides it"),
        (["dev/nvidia0"], " -1, 0", True, "CUDA_VISIBLE_DEVICES hides it"),
        (["dev/nvidia0"], "NoDevFiles", True, "CUDA_VISIBLE_DEVICES hides it"),
    ],
)
def test_why_a_gpu_is_not_used(tmp_path, monkeypatch, files, visible, cuda, says):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    said = device.why_no_gpu(tensorflow(cuda), machine(tmp_path, files))
    assert (said == "") == (says == "")
    assert says in said


def test_what_libraries_say_on_stderr_is_held_back(capfd):
    with device.quiet_stderr():
        os.write(2, b"a greeting in ten lines\n")
        print("and another", file=sys.__stderr__)
    os.write(2, b"an error\n")
    assert capfd.readouterr().err == "an error\n"


def test_what_libraries_say_on_stderr_is_shown_when_they_fail(capfd):
    def load():
        with device.quiet_stderr():
            os.write(2, b"no such library\n")
            raise ImportError("broken")

    with pytest.raises(ImportError, match="broken"):
        load()
    assert capfd.readouterr().err == "no such library\n"


@pytest.mark.parametrize(
    ("branches", "cores", "threads"),
    [(1, 8, {}), (2, 1, {}), (2, 2, ("2", "1")), (2, 8, ("2", "4")), (3, 4, ("3", "1"))],
)
def test_branches_share_the_cores(monkeypatch, branches, cores, threads):
    monkeypatch.setattr(device, "usable_cores", lambda: cores)
    monkeypatch.setattr(device.os, "environ", {})
    device.share_cores(branches)
    names = "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS"
    assert device.os.environ == (dict(zip(names, threads, strict=True)) if threads else {})


def test_threads_set_by_the_user_stay(monkeypatch):
    monkeypatch.setattr(device, "usable_cores", lambda: 8)
    monkeypatch.setattr(device.os, "environ", {"TF_NUM_INTRAOP_THREADS": "3"})
    device.share_cores(2)
    assert device.os.environ["TF_NUM_INTRAOP_THREADS"] == "3"
