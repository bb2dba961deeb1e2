"""How a script ends: what the user can mend is one line on stderr and exit status 2, without a traceback."""

import ast
import errno
import linecache
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from lcre import InputError, one_line


def run_script(name: str, run: Callable[[list[str]], None], argv: Sequence[str] | None, left: str) -> int:
    """Run a script's command line and return its exit status.

    Args:
        name: of the script; its messages begin with it.
        run: does what the arguments ask for.
        argv: the arguments; None: those of the process.
        left: what an interrupt or a full disk leaves behind, in words.

    Returns:
        0 done, 2 the input is wrong or a package, memory or room on the disk is missing, 130 interrupted.
    """
    try:
        run(sys.argv[1:] if argv is None else list(argv))
    except InputError as error:
        status, message = 2, str(error)
    except KeyboardInterrupt:
        status, message = 130, f"interrupted; {left}"
    except ModuleNotFoundError as error:
        status, message = 2, f"{error}; pip install -r requirements.txt brings it"
    except MemoryError:
        status, message = 2, f"this machine does not have the memory for it; {left}"
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        advice = "give a shorter name" if error.errno == errno.ENAMETOOLONG else left
        status, message = 2, f"{error.strerror or error}{where}; {advice}"
    except Exception as error:
        status, message = 2, describe_constant(error)
        if not message:
            raise
    else:
        return 0
    print(f"{name}: {one_line(message)}", file=sys.stderr)
    return status


def explain_constants(script: str) -> None:
    """Have an error in the constants of the running script end in one line that names the constant, exit status 2.

    Python evaluates them before any function of the script can run, so the line is printed by `sys.excepthook`.
    """

    def explain(kind, error, trace):
        message = describe_constant(error)
        if not message:
            sys.__excepthook__(kind, error, trace)
            return
        print(f"{Path(script).name}: {one_line(message)}", file=sys.stderr)
        sys.exit(2)

    sys.excepthook = explain


def describe_constant(error: Exception) -> str:
    """Return one line on the constant of a script that Python could not evaluate, or "" for any other error."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {Path(error.filename or 'a script').name} is not Python: {error.msg}"
    for frame in traceback.extract_tb(error.__traceback__):
        name = constant_at(frame.filename, frame.lineno) if frame.name == "<module>" else ""
        if name:
            reason = f"{type(error).__name__}: {error}"
            return f"{name}: line {frame.lineno} of {Path(frame.filename).name} cannot be evaluated ({reason}); mend it"
    return ""


def constant_at(filename: str, line: int) -> str:
    """Return the UPPER_CASE name that a top-level statement of a file assigns at this line, or ""."""
    from lcre.settings import assigned_names

    tree = ast.parse("".join(linecache.getlines(filename)))
    here = [node for node in tree.body if node.lineno <= line <= node.end_lineno]
    return next((name for node in here for name in assigned_names(node)), "")
