"""Runs a script and kills it at the n-th change of a folder: `events.py FOLDER N DELAY SCRIPT ...`.

A change is what Python's audit events tell before it happens: a file opened for writing, renamed, removed, a folder
made. With N 0 nothing is killed, and at the end the number of changes is written to FOLDER.events.
"""

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}


def find_change(event: str, arguments: tuple, folder: str) -> str:
    """Return the path of what an audit event changes in a folder, "" where it is something else."""
    if event == "open":
        path, mode, flags = (*arguments, None, None)[:3]
        writes = (
            any(letter in mode for letter in "wax+")
            if isinstance(mode, str)
            else (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        )
        if not writes:
            return ""
    elif event in CHANGES:
        path = arguments[0]
    else:
        return ""
    if isinstance(path, int) or path is None:
        return ""
    path = os.path.abspath(os.fsdecode(path))
    return path if path.startswith(folder + os.sep) else ""


def count_changes(folder: str, see: Callable[[int, str, str], None]) -> list[str]:
    """Tell `see` the number, event and path of each change in a folder from now on; return the list that it grows."""
    seen, busy = [], []

    def hook(event: str, arguments: tuple) -> None:
        if busy:  # what `see` does itself
            return
        path = find_change(event, arguments, folder)
        if path:
            seen.append(f"{event} {path}")
            busy.append(True)
            try:
                see(len(seen), event, path)
            finally:
                busy.pop()

    sys.addaudithook(hook)
    return seen


def main() -> None:
    """Run the script of the command line."""
    folder, number, delay, script = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def see(count: int, event: str, path: str) -> None:
        if count == number:
            threading.Timer(delay, kill).start() if delay else kill()

    seen = count_changes(os.path.abspath(folder), see)
    sys.argv = sys.argv[4:]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        if not number:
            with open(f"{folder}.events", "w") as file:
                file.write("\n".join(seen) + "\n")


if __name__ == "__main__":
    main()
