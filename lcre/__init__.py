"""Rooms that the LCRE scripts call: each takes arrays, frames or paths and knows nothing of the scripts."""


class InputError(Exception):
    """What the user gave cannot be used. The message is one line: what is wrong, examples, what to change.

    Scripts print it on stderr and end with exit status 2, without a traceback.
    """


def examples(values, most: int = 3) -> str:
    """Return the first `most` of `values` quoted and joined, as error messages show them."""
    values = list(values)
    shown = ", ".join(repr(str(value)) for value in values[:most])
    return shown + (", ..." if len(values) > most else "")
