"""What an input may ask of the machine: a file of a few bytes can describe more than any memory holds."""

from core import memory
from creator import InputError

LONGEST_ELEMENT = 20_000  # bp of a cCRE; attention inside one takes memory with the square of its length
LARGEST_SIGNAL = 1e9  # of a track at a base; the network squares sums of it in float32, which ends at 3e38
LARGEST_COORDINATE = 10**12  # bp to either side of 0: no chromosome is longer, and differences stay within int64


def require_memory(needed: int, what: str) -> None:
    """Refuse what does not fit into memory; `what` begins the message, as in "5 cCREs of 700 bases take"."""
    memory.require_memory(needed, what, "use a smaller input or model, or a larger machine", InputError)
