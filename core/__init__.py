"""What LCRE and CREaTor stand on: inputs, files, records, checkpoints, the command line; it knows neither of them."""

import numbers
import os

PATH_LENGTH = 4096  # characters; no system has longer ones


class InputError(Exception):
    """What the user gave cannot be used. The message is one line: what is wrong, examples, what to change.

    Scripts print it on stderr and end with exit status 2, without a traceback.
    """


def examples(values, most: int = 3) -> str:
    """Return the first `most` of `values` quoted, cut and joined, as error messages show them."""
    values = list(values)
    quoted = [repr(str(value)) for value in values[:most]]
    shown = ", ".join(text if len(text) <= 200 else f"{text[:197]}...'" for text in quoted)
    return shown + (", ..." if len(values) > most else "")


def one_line(text: str) -> str:
    """Return `text` with line breaks and other characters that are not printable as escapes, as messages show it."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def shorten(text: str, most: int = 40) -> str:
    """Return a text as a message shows it: the first `most` characters, and how many there are if that is not all."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def show_value(value: object, most: int = 60) -> str:
    """Return a value from a file, a path or an error as messages and pictures show it, on one line.

    What cannot be seen (line breaks, escapes of a terminal, surrogates) is written as in Python; of long text the
    middle is left out. Python does not write integers of more than 4,300 digits, so large ones are described.

    Args:
        value: anything; of containers only the type is told, because a small file can hold one that is endless.
        most: characters that are shown; `PATH_LENGTH` for paths, which can be copied from a message then.
    """
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, Exception):  # libraries break the lines of their messages
        value = " ".join(str(value).split()) or type(value).__name__
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is not None and not isinstance(value, str | bytes | numbers.Number):
        return f"a {type(value).__name__}"
    text = repr(value[: most + 1]) if isinstance(value, bytes) else str(value)
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[:half]}…{text[len(text) - half :]}"
    return one_line(text) or "''"
