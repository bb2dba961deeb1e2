"""What an input may ask of the machine: a file of a few bytes can describe more than any memory holds."""

import os
from pathlib import Path

from creator import InputError

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

LONGEST_ELEMENT = 20_000  # bp of a cCRE; attention inside one takes memory with the square of its length
LARGEST_SIGNAL = 1e9  # of a track at a base; the network squares sums of it in float32, which ends at 3e38
LARGEST_COORDINATE = 10**12  # bp to either side of 0: no chromosome is longer, and differences stay within int64
CONTROL_GROUPS = (  # limit and use of a container's memory, in versions 2 and 1 of control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory() -> int:
    """Return the bytes of memory that this process may still take, by the machine, its container and `ulimit -v`."""
    limits = [_machine_memory()]
    for limit_file, use_file in CONTROL_GROUPS:
        limit, use = _read_number(limit_file), _read_number(use_file)
        if limit is not None and use is not None:
            limits.append(limit - use)
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
    pages = _read_number("/proc/self/statm")
    if pages is not None and address_space not in (-1, resource.RLIM_INFINITY):
        limits.append(address_space - pages * os.sysconf("SC_PAGE_SIZE"))
    return max(min(limits), 0)


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


def require_memory(needed: int, what: str) -> None:
    """Refuse what does not fit into memory before it is tried.

    Args:
        needed: bytes.
        what: the beginning of the message, as in "5 cCREs of 700 bases take".

    Raises:
        InputError: if less memory is free.
    """
    free = free_memory()
    if needed > free:
        raise InputError(
            f"{what} about {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free; "
            "give fewer or shorter cCREs, fewer genes, or use a larger machine"
        )
