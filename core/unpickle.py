"""Reads the pickles that people mail each other, without running anything that is in them.

A pickle is a program: `pickle.load` calls whatever functions it names. Here every name that is not on a short
list is refused, and the names on the list stand for inert records, so that not even numpy or pandas code runs.
"""

import io
import pickle
import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # protocols 0 to 2 say the names of Python 2
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core import InputError


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
    for module in (
        "multiarray._reconstruct",
        "multiarray.scalar",
        "numeric._frombuffer",
        "_internal._convert_to_stringdtype_kwargs",
    )
} | {"numpy.ndarray", "numpy.dtype", "_codecs.encode"}
PANDAS_NAMES = {
    "pandas.Index",
    "pandas.NA",
    "pandas.RangeIndex",
    "pandas.Series",
    "pandas.StringDtype",
    "pandas.arrays.StringArray",
    "pandas.core.arrays.string_.StringArray",
    "pandas.core.arrays.string_.StringDtype",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.numeric.Int64Index",
    "pandas.core.indexes.range.RangeIndex",
    "pandas.core.internals.blocks.new_block",
    "pandas.core.internals.managers.SingleBlockManager",
    "pandas.core.series.Series",
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals._unpickle_block",
    "builtins.slice",
}
PLAIN_TYPES = {"set": set, "frozenset": frozenset}  # the plain types that some protocols name; the rest are opcodes


DEEPEST = 100  # tuples inside tuples
MOST_WORK = 20  # values that are hashed or copied, for each byte of the file
MOST_BITS = 1024  # of a whole number
GROWING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}  # opcodes that change what lies below
CALLING = {"REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}  # that hand values to a type or a record


class Cost:
    """What one value on the stack of a pickle costs those who use it."""

    __slots__ = ("values", "depth", "size", "parts")

    def __init__(self, size: int = 1, parts: Sequence["Cost"] = ()):
        self.size = size  # items or characters, where it is copied
        self.parts = parts  # of a tuple
        self.values, self.depth = 1, 0  # that hashing it visits, as often as they stand there; of tuples in each other
        if parts:
            self.values += sum(part.values for part in parts)
            self.depth = 1 + max(part.depth for part in parts)


ATOM = Cost()


def check_opcodes(data: bytes) -> None:
    """Follow the opcodes of a pickle without building anything; refuse what costs far more than its length.

    The members of sets and the keys of dicts are hashed as soon as they are read, and hashing a tuple visits all that
    is in it, a tuple that stands there twice two times: 430 bytes can ask for 2 ** 60 visits, or for a million calls
    inside each other, which no stack holds. In the same way one list can be copied into thousands of sets.

    Raises:
        InputError: it costs too much, holds a whole number of more than `MOST_BITS`, or uses more memo than its length.
        Exception: of any kind where the opcodes are not those of a whole pickle.
    """
    stack: list[Cost] = []
    marks: list[int] = []  # places in the stack
    memo: dict[int, Cost] = {}
    work = 0
    for opcode, argument, _ in pickletools.genops(data):  # fails where a length is beyond the end of the file
        name, takes = opcode.name, opcode.stack_before
        if name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name.endswith("PUT"):
            if argument > len(data):
                raise InputError("not a whole pickle: it asks for more memory than its content can need")
            memo[argument] = stack[-1]
        elif name.endswith("GET"):
            if argument not in memo:
                raise InputError(f"not a whole pickle: its memo has no value {argument}")
            stack.append(memo[argument])
            work += memo[argument].values - 1
        elif name == "DUP":
            stack.append(stack[-1])
            work += stack[-1].values
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
        elif takes or name in CALLING:
            at = marks.pop() if pickletools.markobject in takes else len(stack) - len(takes) + (name in GROWING)
            taken = stack[at:]
            del stack[at:]
            if name in CALLING:
                work += sum(cost.size + sum(part.size for part in cost.parts) for cost in taken)
            if name in GROWING:
                if stack[-1] is ATOM:
                    raise InputError("not a whole pickle: it puts values into a number")
                stack[-1].size += len(taken)
            elif opcode.stack_after:
                stack.append(Cost(len(taken), taken if "TUPLE" in name else ()))
                work += stack[-1].values - 1
                if stack[-1].depth > DEEPEST:
                    raise InputError("holds tuples inside tuples inside tuples ...; save the gene ids as a list")
        elif opcode.stack_after:
            if isinstance(argument, int) and argument.bit_length() > MOST_BITS:
                raise InputError(f"holds a whole number of {argument.bit_length():,} bits, which is no gene id")
            has_size = isinstance(argument, (str, bytes, bytearray)) or name.startswith("EMPTY_")
            stack.append(Cost(len(argument or "")) if has_size else ATOM)
        if work > MOST_WORK * len(data):
            raise InputError("would take far longer to read than its length allows; save the gene ids as a list")


class InertUnpickler(pickle.Unpickler):
    """An unpickler that builds plain Python values and records, and refuses every other name."""

    def find_class(self, module: str, name: str):
        """Return a plain type or an inert record class for an allowed name; raise InputError for any other."""
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full_name = f"{module}.{name}"
        if full_name in NUMPY_NAMES or full_name in PANDAS_NAMES:
            return type("Record", (Record,), {"name": full_name})
        if module == "builtins" and name in PLAIN_TYPES:
            return PLAIN_TYPES[name]
        raise InputError(
            f"holds {full_name[:80]!r}, which is not plain data and would be run by Python's own pickle reader; "
            "nothing was run. Ask for the gene ids as .csv or .txt"
        )


def plain(value, done: dict[int, object] | None = None):
    """Turn the records in `value` into lists of what they hold; raise InputError where that is not gene ids.

    Args:
        value: what the unpickler gave.
        done: results by the `id` of the value. A pickle of a few bytes can hold lists of the same lists of the
            same lists ...; each is turned once.
    """
    done = {} if done is None else done
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {plain_key(key, done): plain(item, done) for key, item in value.items()}
        elif isinstance(value, (list, tuple)):
            done[id(value)] = [plain(item, done) for item in value]
        elif isinstance(value, (set, frozenset)):  # sorted: the order of a set differs from run to run
            members = [plain(item, done) for item in value]
            if any(isinstance(member, (list, dict)) for member in members):
                raise InputError(
                    "holds a set whose members are not single values; save the gene ids as a list of strings"
                )
            done[id(value)] = sorted(members, key=str)
        elif isinstance(value, Record):
            done[id(value)] = record_items(value, done)
        elif value is None or type(value) in (str, int, float, bool, bytes):
            done[id(value)] = value
        else:
            raise InputError(f"holds a {type(value).__name__} that cannot be read; save the gene ids as a list")
    return done[id(value)]


def plain_key(key, done: dict[int, object]):
    """Return the key of a dict, which must be a single value."""
    key = plain(key, done)
    if isinstance(key, (list, dict)):
        raise InputError("holds a dictionary whose keys are not single values; name its keys by strings")
    return key


def record_items(value: Record, done: dict[int, object]):
    """Return what the record of a numpy or pandas object holds: a list, or one value for a scalar."""
    kind = value.name.rsplit(".", 1)[-1]
    if kind == "_reconstruct" and value.state:
        return array_items(value.state[2], value.state[-1], done)
    if kind == "_frombuffer" and len(value.arguments) == 4:
        return array_items(value.arguments[1], value.arguments[0], done)
    if kind == "scalar" and len(value.arguments) == 2:
        return array_items(*value.arguments, done)[0]
    if kind == "encode" and value.arguments[1:] == ("latin1",):
        return value.arguments[0].encode("latin1")
    if kind == "_new_Index" and isinstance(value.arguments[1], dict) and "data" in value.arguments[1]:
        return plain(value.arguments[1]["data"], done)
    if kind in ("_unpickle_block", "new_block", "StringArray") and value.arguments:
        return plain(value.arguments[0], done)
    if kind == "__pyx_unpickle_NDArrayBacked" and value.state:
        return plain(next(item for item in value.state if is_array(item)), done)
    if kind == "SingleBlockManager":
        blocks = value.arguments[0] if value.arguments else value.state[1]
        return plain(blocks[0] if isinstance(blocks, (list, tuple)) else blocks, done)
    if kind == "Series" and isinstance(value.state, dict):
        return plain(value.state.get("_mgr", value.state.get("_data")), done)
    raise InputError(f"holds a {value.name!r} that cannot be read as gene ids; save them as a list of strings")


def is_array(value) -> bool:
    """Tell whether `value` is the record of a numpy array."""
    return isinstance(value, Record) and value.name.endswith(("_reconstruct", "_frombuffer"))


def array_items(dtype, data, done: dict[int, object]) -> list:
    """Return the items of a pickled numpy array: `data` is a list of objects or the array's bytes."""
    data = data if isinstance(data, (bytes, bytearray)) else plain(data, done)
    if isinstance(data, list):
        return data
    code = dtype.arguments[0] if isinstance(dtype, Record) and dtype.arguments else ""
    if not (isinstance(code, str) and re.fullmatch(r"[USif]\d+", code) and isinstance(data, (bytes, bytearray))):
        raise InputError("holds a numpy array that is not of strings; save the gene ids as a list of strings")
    order = dtype.state[1] if dtype.state and dtype.state[1] in ("<", ">") else ""
    items = np.frombuffer(data, np.dtype(order + code)).tolist()
    return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]


def read_pickle(path: Path):
    """Return the content of the pickle at `path` as plain dicts, lists, strings and numbers.

    numpy string arrays and pandas Series or Index of strings become lists.

    Raises:
        InputError: if the file names anything outside the list of plain data, or is not a whole pickle.
    """
    data = Path(path).read_bytes()
    try:
        check_opcodes(data)
        return plain(InertUnpickler(io.BytesIO(data), encoding="latin1").load())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: not a whole pickle, or lists inside lists without end; give .csv or .txt") from None
    except Exception as error:  # a damaged pickle can fail in any way at all
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not a whole pickle ({reason}); save it again, or give .csv or .txt") from None
