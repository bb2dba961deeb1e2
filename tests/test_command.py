"""How scripts end: one line and an exit status for what the user can mend, a traceback for what is our fault."""

import errno

import pytest

from core import InputError
from core.cli import run_script

LEFT = "nothing was written"
ResourceExhaustedError = type("ResourceExhaustedError", (Exception,), {})  # as TensorFlow's
ENDINGS = {
    InputError("no gene 'x'"): (2, "tool.py: no gene 'x'\n"),
    KeyboardInterrupt(): (130, f"tool.py: interrupted; {LEFT}\n"),
    ModuleNotFoundError("No module named 'keras'"): (
        2,
        "tool.py: No module named 'keras'; pip install -r requirements.txt brings it\n",
    ),
    OSError(errno.ENOSPC, "No space left on device", "a/b.keras"): (
        2,
        f"tool.py: No space left on device (a/b.keras); {LEFT}\n",
    ),
    MemoryError(): (2, f"tool.py: this machine does not have the memory for it; {LEFT}\n"),
    ResourceExhaustedError("OOM when allocating tensor\nwith shape"): (
        2,
        f"tool.py: this machine does not have the memory for it; {LEFT}\n",
    ),
    OSError("odd"): (2, f"tool.py: odd; {LEFT}\n"),
}


@pytest.mark.parametrize("error", ENDINGS, ids=lambda error: type(error).__name__)
def test_what_the_user_can_mend_is_one_line(error, capsys):
    def run(argv):
        raise error

    status, line = ENDINGS[error]
    assert run_script("tool.py", run, [], LEFT) == status
    assert capsys.readouterr() == ("", line)


def test_arguments_reach_the_script_and_our_own_faults_are_not_hidden(monkeypatch):
    seen = []
    assert run_script("tool.py", seen.append, ["-x"], LEFT) == 0
    monkeypatch.setattr("sys.argv", ["tool.py", "-y"])
    assert run_script("tool.py", seen.append, None, LEFT) == 0
    assert seen == [["-x"], ["-y"]]
    with pytest.raises(ZeroDivisionError):
        run_script("tool.py", lambda argv: 1 / 0, [], LEFT)
