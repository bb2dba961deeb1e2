"""How a script ends: what the user can mend is one line on stderr and exit status 2, without a traceback."""

import sys
from collections.abc import Callable, Sequence

from lcre import InputError


def run_script(name: str, run: Callable[[list[str]], None], argv: Sequence[str] | None, left: str) -> int:
    """Run a script's command line and return its exit status.

    Args:
        name: of the script; its messages begin with it.
        run: does what the arguments ask for.
        argv: the arguments; None: those of the process.
        left: what an interrupt or a full disk leaves behind, in words.

    Returns:
        0 done, 2 the input is wrong or a package or room on the disk is missing, 130 interrupted.
    """
    try:
        run(sys.argv[1:] if argv is None else list(argv))
    except InputError as error:
        status, message = 2, str(error)
    except KeyboardInterrupt:
        status, message = 130, f"interrupted; {left}"
    except ModuleNotFoundError as error:
        status, message = 2, f"{error}; pip install -r requirements.txt brings it"
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        status, message = 2, f"{error.strerror or error}{where}; {left}"
    else:
        return 0
    print(f"{name}: {message}", file=sys.stderr)
    return status
