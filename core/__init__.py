"""What LCRE and CREaTor stand on: inputs, files, records, checkpoints, the command line; it knows neither of them."""


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


def show_value(value, most: int = 60) -> str:
    """Return a value as messages and pictures show it: on one line and at most `most` characters.

    What cannot be seen (line breaks, escapes, surrogates) is written as in Python; of long text the middle is left out.
    """
    text = str(value)
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[:half]}…{text[len(text) - half :]}"
    return one_line(text)
