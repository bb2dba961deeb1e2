"""How much memory this process may still take, and a refusal of what does not fit before it is tried."""

import os
import sys
from pathlib import Path

from core import InputError

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

CONTAINER_LIMITS = (  # of memory, in versions 2 and 1 of control groups
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


def free_memory() -> int:
    """Return the bytes of memory that this process may still take, by the machine, its container and `ulimit -v`."""
    limits = [_machine_memory()]
    mapped, resident = _own_memory()
    # What a container is said to use counts files that are cached, which cost nothing; so only this process is counted.
    limits += [limit - resident for limit in map(_read_number, CONTAINER_LIMITS) if limit is not None]
    if resource:
        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if address_space != resource.RLIM_INFINITY:
            limits.append(address_space - mapped)
    return max(min(limits), 0)


def _own_memory() -> tuple[int, int]:
    """Return the bytes of this process that are mapped and those that are resident; 0 where this is not told."""
    try:
        mapped, resident = Path("/proc/self/statm").read_text().split()[:2]
    except OSError:
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return int(mapped) * page, int(resident) * page


def _machine_memory() -> int:
    """Return the bytes that the machine has available; where it does not tell, those that it has, or 16 GB."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    names = getattr(os, "sysconf_names", {})  # Windows has none
    if "SC_PHYS_PAGES" in names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 16 * 10**9


def _read_number(path: str) -> int | None:
    """Return the first whole number in a file of the kernel, None where there is no such file or no limit."""
    try:
        word = Path(path).read_text().split()[0]
    except (OSError, IndexError):
        return None
    return int(word) if word.isdigit() else None


def require_memory(needed: int, what: str, advice: str) -> None:
    """Refuse what does not fit into memory before it is tried.

    Args:
        needed: bytes.
        what: the beginning of the message, as in "5 cCREs of 700 bases take".
        advice: its end, what to change.

    Raises:
        InputError: less memory is free.
    """
    free = free_memory()
    if needed > free:
        raise InputError(f"{what} about {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free; {advice}")


def peak_memory_bytes(children: bool = False) -> int | None:
    """Return the largest resident memory of this process so far, in bytes; None where the system cannot say.

    Args:
        children: look at the processes that it started, and that have ended, as well; it is that of the largest one.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    processes = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if children else [])]
    peak = max(resource.getrusage(one).ru_maxrss for one in processes)
    return peak if sys.platform == "darwin" else peak * 1024
