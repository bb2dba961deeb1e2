"""Locks between processes: files beside what they protect, locked by the operating system.

A process that ends in any way, `kill -9` included, loses its locks at once; a lock file that it leaves behind stops
nobody. Where the system has no such locks (Windows, some network file systems) nothing is refused.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from core import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # what file systems without locks answer
PATIENCE = 300  # seconds to wait for another process that writes the tables of the same run


def try_lock(path: Path) -> int | None:
    """Lock `path`, which is made if need be, and write host and process into it.

    Returns:
        A file descriptor that holds the lock, or None where another process holds it.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(handle)
                raise
        if is_same_file(handle, path):
            if os.fstat(handle).st_nlink == 1:  # else it is a file of the user's as well
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            return handle
        os.close(handle)  # its holder removed the file after we had opened it


def is_same_file(handle: int, path: Path) -> bool:
    """Tell whether an open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def unlock(path: Path, handle: int) -> None:
    """Remove the lock file and give the lock back, in this order: who waits for it looks whether it is still there."""
    path.unlink(missing_ok=True)
    os.close(handle)


def describe_holder(path: Path) -> str:
    """Return who holds the lock on `path`, in words."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:200] or "another process"
    except OSError:
        return "another process"


def remove_unheld(path: Path) -> None:
    """Remove a lock file that a killed process has left; nothing where another process holds it, or there is none."""
    if path.exists() and (handle := try_lock(path)) is not None:
        unlock(path, handle)


@contextlib.contextmanager
def claim(path: Path, what: str) -> Iterator[None]:
    """Hold the lock on `path` for the block; raise InputError that names `what` where another process holds it."""
    handle = try_lock(path)
    if handle is None:
        raise InputError(f"{what} is in use by {describe_holder(path)}; wait until that ends, or stop it")
    try:
        yield
    finally:
        unlock(path, handle)


@contextlib.contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Hold the lock on `path` for the block, after waiting until other processes, which hold it briefly, are done."""
    deadline = time.monotonic() + PATIENCE
    while (handle := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise InputError(f"{path} is held by {describe_holder(path)} for {PATIENCE} s; stop that process")
        time.sleep(0.05)
    try:
        yield
    finally:
        unlock(path, handle)
