"""Rooms that the LCRE scripts call: each takes arrays, frames or paths and knows nothing of the scripts."""


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
