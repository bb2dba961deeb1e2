"""Reads the pickles that people mail each other, without running anything that is in them.

A pickle is a program: `pickle.load` calls whatever functions it names. Here every name that is not on a short
list is refused, and the names on the list stand for inert records, so that not even numpy or pandas code runs.
"""

import io
import pickle
from pathlib import Path

import numpy as np

from lcre import InputError


class Record:
    """What a pickle says of an object: the name it would have called, the arguments and the state."""

    name = ""

    def __new__(cls, *arguments, **keywords):
        """Take any arguments: they are kept, never used."""
        record = object.__new__(cls)
        record.arguments, record.state = arguments, None
        return record

    def __setstate__(self, state):
        """Keep the state as it is."""
        self.state = state


NUMPY_NAMES = {
    f"{package}.{module}"
    for package in ("numpy.core", "numpy._core")
    for module in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
} | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
PANDAS_NAMES = {
    "pandas.Index",
    "pandas.Series",
    "pandas.StringDtype",
    "pandas.core.arrays.string_.StringArray",
    "pandas.core.arrays.string_.StringDtype",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.range.RangeIndex",
    "pandas.core.internals.blocks.new_block",
    "pandas.core.internals.managers.SingleBlockManager",
    "pandas.core.series.Series",
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals._unpickle_block",
    "builtins.slice",
}
PLAIN_TYPES = {"set": set, "frozenset": frozenset, "list": list, "tuple": tuple, "dict": dict}
PLAIN_TYPES |= {"str": str, "int": int, "float": float, "bool": bool}


class InertUnpickler(pickle.Unpickler):
    """An unpickler that builds plain Python values and records, and refuses every other name."""

    def find_class(self, module: str, name: str):
        """Return a plain type or an inert record class for an allowed name; raise InputError for any other."""
        full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if full_name in NUMPY_NAMES or full_name in PANDAS_NAMES:
            return type("Record", (Record,), {"name": full_name})
        if module in ("builtins", "__builtin__") and name in PLAIN_TYPES:
            return PLAIN_TYPES[name]
        raise InputError(
            f"holds '{module}.{name}', which is not plain data and would be run by Python's own pickle reader; "
            "nothing was run. Ask for the gene ids as .csv or .txt"
        )


def plain(value):
    """Turn the records in `value` into lists of what they hold; raise InputError where that is not gene ids."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if not isinstance(value, Record):
        return value
    kind = value.name.rsplit(".", 1)[-1]
    if kind == "_reconstruct" and value.state:
        return array_items(value.state[2], value.state[-1])
    if kind == "_frombuffer" and len(value.arguments) == 4:
        buffer, dtype, _, _ = value.arguments
        return array_items(dtype, bytes(buffer))
    if kind == "scalar" and len(value.arguments) == 2:
        return array_items(*value.arguments)[0]
    if kind == "encode" and value.arguments[1:] == ("latin1",):
        return value.arguments[0].encode("latin1")
    if kind == "_new_Index" and isinstance(value.arguments[1], dict) and "data" in value.arguments[1]:
        return plain(value.arguments[1]["data"])
    if kind in ("_unpickle_block", "new_block", "StringArray") and value.arguments:
        return plain(value.arguments[0])
    if kind == "__pyx_unpickle_NDArrayBacked" and value.state:
        return plain(next(item for item in value.state if is_array(item)))
    if kind == "SingleBlockManager":
        blocks = value.arguments[0] if value.arguments else value.state[1]
        return plain(blocks[0] if isinstance(blocks, (list, tuple)) else blocks)
    if kind == "Series" and isinstance(value.state, dict):
        return plain(value.state.get("_mgr", value.state.get("_data")))
    raise InputError(f"holds a '{value.name}' that cannot be read as gene ids; save them as a list of strings")


def is_array(value) -> bool:
    """Tell whether `value` is the record of a numpy array."""
    return isinstance(value, Record) and value.name.endswith(("_reconstruct", "_frombuffer"))


def array_items(dtype, data) -> list:
    """Return the items of a pickled numpy array: `data` is a list of objects or the array's bytes."""
    if isinstance(data, list):
        return [plain(item) for item in data]
    code = dtype.arguments[0] if isinstance(dtype, Record) and dtype.arguments else ""
    data = plain(data)
    if not (isinstance(code, str) and code[:1] in "USif" and code[1:].isdigit() and isinstance(data, bytes)):
        raise InputError("holds a numpy array that is not of strings; save the gene ids as a list of strings")
    order = dtype.state[1] if dtype.state and dtype.state[1] in ("<", ">") else ""
    return np.frombuffer(data, np.dtype(order + code)).tolist()


def read_pickle(path: Path):
    """Return the content of the pickle at `path` as plain dicts, lists, strings and numbers.

    numpy string arrays and pandas Series or Index of strings become lists.

    Raises:
        InputError: if the file names anything outside the list of plain data, or is not a whole pickle.
    """
    data = Path(path).read_bytes()
    try:
        return plain(InertUnpickler(io.BytesIO(data), encoding="latin1").load())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise InputError(f"{path}: not a whole pickle ({error}); save it again, or give .csv or .txt") from None
