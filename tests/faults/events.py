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


class Changes:
    """Tells `see` the number, event and path of each change in a folder, before it happens; an audit hook for ever.

    Attributes:
        seen: the changes so far, in words.
        is_on: whether it still looks.
    """

    def __init__(self, folder: str, see: Callable[[int, str, str], None]):
        self.folder, self.see, self.seen, self.is_on = os.path.abspath(folder), see, [], True
        sys.addaudithook(self.take)

    def take(self, event: str, arguments: tuple) -> None:
        """Take an event of Python; what `see` does itself is not looked at."""
        if not self.is_on:
            return
        path = find_change(event, arguments, self.folder)
        if path:
            self.seen.append(f"{event} {os.path.relpath(path, self.folder)}")
            self.is_on = False
            try:
                self.see(len(self.seen), event, path)
            finally:
                self.is_on = True


def main() -> None:
    """Run the script of the command line."""
    folder, number, delay, script = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def see(count: int, event: str, path: str) -> None:
        if count == number:
            threading.Timer(delay, kill).start() if delay else kill()

    changes = Changes(folder, see)
    sys.argv = sys.argv[4:]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        if not number:
            with open(f"{folder}.events", "w") as file:
                file.write("\n".join(changes.seen) + "\n")


if __name__ == "__main__":
    main()
