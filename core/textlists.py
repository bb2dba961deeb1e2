"""Reads lists of text out of pickles, as Python, numpy and pandas write them, without running anything in them."""

import io
from pathlib import Path

import numpy as np

from core import InputError, show_value
from core.unpickle import (
    DAMAGE,
    NUMPY,
    Budget,
    Name,
    PickleMachine,
    Record,
    Unfinished,
    first_argument,
    numpy_dtype,
    read_open_file,
)

MOST_BITS = 1024  # of an integer
DEEPEST = 100  # containers inside each other


# ------------------------------------------------------------------------------ what the names of pandas mean
def text_dtype(code: str, *align_and_copy) -> np.dtype:
    """Return the type of an array of text, also of one that holds its text as objects."""
    return np.dtype(object) if code in ("O4", "O8") else numpy_dtype(code, *align_and_copy)


def index_values(_kind: object, attributes: dict) -> object:
    """Return the content of a pandas Index; one that only counts rows has none."""
    return attributes.get("data", Record())


def fill_pandas_array(state: tuple) -> object:
    """Return the array inside one of pandas; where it stands depends on the version."""
    return next((part for part in state if isinstance(part, list | np.ndarray)), None)


def series_values(block: object = None, *_) -> object:
    """Return the only block of a Series; most versions of pandas leave it to the BUILD opcode."""
    return Unfinished(lambda state: state[1][0]) if block is None else block


def fill_series(state: dict) -> object:
    """Return the values of a Series, under the names of pandas 1.1 and later and of those before."""
    return state["_mgr"] if "_mgr" in state else state["_data"]


TEXT_LISTS = {
    **NUMPY,
    "numpy.dtype": text_dtype,
    "numpy._core._internal._convert_to_stringdtype_kwargs": lambda *_: np.dtype(object),
    "numpy.core._internal._convert_to_stringdtype_kwargs": lambda *_: np.dtype(object),
    "builtins.slice": Record,
    "pandas.NA": None,
    "pandas.Series": lambda: Unfinished(fill_series),  # as pandas 3 calls it
    "pandas.core.series.Series": lambda: Unfinished(fill_series),
    "pandas.core.internals.managers.SingleBlockManager": series_values,
    "pandas.core.internals.blocks.new_block": first_argument,
    "pandas._libs.internals._unpickle_block": first_argument,
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked": lambda *_: Unfinished(fill_pandas_array),
    "pandas.arrays.StringArray": first_argument,
    "pandas.core.arrays.string_.StringArray": first_argument,
    "pandas.StringDtype": Record,
    "pandas.core.arrays.string_.StringDtype": Record,
    "pandas.core.indexes.base._new_Index": index_values,
    "pandas.Index": Record,
    "pandas.RangeIndex": Record,
    "pandas.core.indexes.base.Index": Record,
    "pandas.core.indexes.numeric.Int64Index": Record,
    "pandas.core.indexes.range.RangeIndex": Record,
}


# ------------------------------------------------------------------------------------------- plain data
def read_pickle(path: Path, advice: str = "save plain lists of text") -> object:
    """Return the content of the pickle at `path` as plain dicts, lists, text and numbers.

    Tuples, sets (sorted), numpy arrays of text and pandas Series or Index of text become lists.

    Args:
        path: the pickle, of any protocol.
        advice: the end of each message, what to give instead.

    Raises:
        InputError: it names anything outside `TEXT_LISTS`, costs too much, or is not a whole pickle.
    """
    try:
        with open(path, "rb") as file:
            data = read_open_file(file)
        return plain(PickleMachine(TEXT_LISTS, Budget(len(data))).run(io.BytesIO(data)))
    except InputError as error:
        raise InputError(f"{path}: {error}; {advice}") from None
    except DAMAGE as error:
        raise InputError(f"{path}: not a whole pickle ({show_value(error, 120)}); save it again, or {advice}") from None


def plain(value: object, depth: int = 0, done: dict[int, object] | None = None) -> object:
    """Return what a `PickleMachine` gave as dicts, lists, text and numbers.

    Args:
        value: what the machine gave, or a part of it.
        depth: how many containers the part is in.
        done: results by the `id` of the value: a pickle of a few bytes can hold lists of the same lists of the same
            lists ...; each is turned once.

    Raises:
        InputError: it is or holds anything else, or containers inside each other without end.
    """
    done = {} if done is None else done
    if value is None or type(value) in (str, bool, float, bytes):
        return value
    if type(value) is int:
        if value.bit_length() > MOST_BITS:
            raise InputError(f"holds a whole number of {value.bit_length():,} bits; at most {MOST_BITS:,} are read")
        return value
    if id(value) not in done:
        if depth > DEEPEST:
            kinds = f"{type(value).__name__}s"
            raise InputError(f"not a whole pickle, or {kinds} inside {kinds} inside {kinds} ...")
        done[id(value)] = plain_object(value, depth + 1, done)
    return done[id(value)]


def plain_object(value: object, depth: int, done: dict[int, object]) -> object:
    """Return what `plain` makes of containers and of numpy's values; raise InputError for anything else."""
    if isinstance(value, np.ndarray | np.generic):
        items = [item.decode("utf-8", "replace") if type(item) is bytes else item for item in value.ravel().tolist()]
        return items if isinstance(value, np.ndarray) else items[0]
    if isinstance(value, dict):
        keys = [plain(key, depth, done) for key in value]
        if any(isinstance(key, list) for key in keys):
            raise InputError("holds a dictionary whose keys are not single values")
        return dict(zip(keys, (plain(item, depth, done) for item in value.values()), strict=True))
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item, depth, done) for item in value]
        if isinstance(value, list | tuple):
            return items
        if any(isinstance(item, list) for item in items):
            raise InputError("holds a set whose members are not single values")
        return sorted(items, key=str)  # the order of a set differs from run to run
    if isinstance(value, Name):
        raise InputError(f"holds a type or function ({value.full_name}) where a value belongs")
    raise InputError("holds an object of a class that cannot be read as plain data")
