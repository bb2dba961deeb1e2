"""CREaTor: from the cCREs within reach of a gene, their sequence and chromatin, to its expression.

Li et al. 2023, Genome Biology 24:266. Importing this package costs nothing; `creator.network` imports Keras.
"""

import os

import core

__version__ = "0.1.0"
TOKENS = 6  # 0 pad or N, 1..4 bases, 5 CLS
CHANNELS = (
    "CTCF", "DNase", "EP300", "H2AFZ", "H3K27ac", "H3K27me3", "H3K36me3", "H3K4me1",
    "H3K4me2", "H3K4me3", "H3K79me2", "H3K9ac", "H3K9me3", "H4K20me1", "POLR2A", "POLR2AphosphoS5",
)  # fmt: skip
BLOCK = 5  # bases that one step of the convolution turns into one token
GENE_WINDOW = 700  # coordinates of a gene's own window
BUCKETS = 64  # of relative position, 32 for each sign
ELEMENT_SCALES = (5,)  # bp of one step of relative position inside an element
REGULATION_SCALES = (150, 600, 2400, 10000, 40000)  # and between elements


class InputError(core.InputError, ValueError):
    """Something the user can put right: one line on what is wrong, what was seen and what to change."""


def shown(value: object, most: int = 100) -> str:
    """Return a value from a file, a file name or an error as one line that is safe to print.

    A name in a file can hold line breaks and the escape codes of a terminal: whatever is not printable is escaped
    (a line break as `\\n`). Python does not write integers of more than 4,300 digits, so large ones are described.

    Args:
        value: anything; of containers only the type is told, because a small file can hold one that is endless.
        most: characters of the value that are shown.
    """
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, Exception):  # libraries break the lines of their messages
        value = " ".join(str(value).split()) or type(value).__name__
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is not None and not isinstance(value, str | bytes | int | float):
        return f"a {type(value).__name__}"
    text = repr(value[: most + 1]) if isinstance(value, bytes) else str(value)
    return core.one_line(text[:most]) + ("..." if len(text) > most else "")


def shown_path(path: str | os.PathLike) -> str:
    """Return a file name, however long, as one line that is safe to print."""
    return shown(os.fspath(path), 4096) or "''"
