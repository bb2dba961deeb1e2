"""Reads pickles, and the pickles inside torch files, without running anything that is in them.

A pickle is a program, and `pickle.load` runs it: a file can call `os.system` as easily as it can hold a list. So the
pickle module does not see the file at all. `PickleMachine` steps through its opcodes, and looks each name in it up in
a table of functions of ours that build nothing but numbers, text, arrays and containers; a name that is not in the
table is refused before anything else happens. `NUMPY` is such a table; those for lists of text and for tensors, which
are longer, stand where these are read.

A small file can also be written such that it takes hours or all memory. So the opcodes and what is copied or repeated
are counted (`Budget`), and what is hashed is limited (`hashable`).
"""

import os
import pickletools
import re
import stat
import struct
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # protocols 0 to 2 say the names of Python 2
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO

import numpy as np

from core import InputError, show_value
from core.memory import require_memory

# What a file may ask for. Gene lists of many species and checkpoints with their optimizer stay far below all of these.
MOST_STEPS = 3_000_000  # opcodes, two or three for each text; six seconds
MOST_COPIES = 4  # times that each byte of the file may be copied or stand again
MOST_PIPED = 10**9  # bytes that come through a pipe
KEY_BITS = 64  # of an integer as a key: larger ones can be chosen so that all have one hash
KEY_LENGTH = 10_000  # characters of text as a key
KEY_PARTS = 8  # of a tuple as a key

# What a damaged or hostile pickle can raise while it is stepped through; all of it means "not readable".
DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(EOFError, RuntimeError, MemoryError, struct.error),
)

LITERALS = {  # opcodes that are followed by their value
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LATEST_PROTOCOL = 5

TEXT = (str, bytes)
SINGLE = (*TEXT, int, float, bool, type(None))
NUMPY_SINGLE = (np.integer, np.floating, np.bool_, np.str_, np.bytes_)  # complex ones can all have one hash
SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


# ------------------------------------------------------------------------------------- values of a pickle
class Name:
    """A name met in a pickle; it stands for nothing but itself until it is called."""

    def __init__(self, full_name: str):
        self.full_name = full_name


class Inert:
    """A value whose attributes, which a BUILD opcode would set, are not kept."""


class Record(Inert):
    """An object of a known, harmless class of which nothing is needed."""

    def __init__(self, *_arguments):
        """Take what the pickle gives to the class; nothing of it is kept."""


class Unfinished:
    """An object that a pickle makes empty and fills with its BUILD opcode, whose state `finish` turns into a value."""

    def __init__(self, finish: Callable[[object], object]):
        self.finish = finish
        self.memo_keys: list[int] = []  # where it was memorised, to be replaced by the value when there is one


def hashable(items: Iterable) -> list:
    """Return the items of a set or the keys of a dict.

    Raises:
        InputError: they are not single values or short tuples of these: anything else can take for ever to hash.
    """
    items = list(items)
    for item in items:
        if type(item) is tuple and len(item) > KEY_PARTS:
            raise InputError(f"has a key of {len(item):,} parts; at most {KEY_PARTS} are read")
        for part in item if type(item) is tuple else (item,):
            if not (type(part) in SINGLE or isinstance(part, NUMPY_SINGLE)):
                raise InputError(
                    f"has a key of type {type(item).__name__}; keys that are not single values are refused"
                )
            if isinstance(part, TEXT) and len(part) > KEY_LENGTH:
                raise InputError(f"has text of {len(part):,} characters as a key; at most {KEY_LENGTH:,} are read")
            if type(part) is int and part.bit_length() > KEY_BITS:
                raise InputError(f"has {show_value(part)} as a key; at most {KEY_BITS} bits are read, use names")
    return items


def dict_of(pairs: Mapping | Iterable[tuple]) -> dict:
    """Return a dict of (key, value) pairs or of another one; raise InputError as `hashable`."""
    pairs = list(pairs.items() if isinstance(pairs, dict) else pairs)
    return dict(zip(hashable(key for key, _ in pairs), (value for _, value in pairs), strict=True))


class Budget:
    """What reading one file may still cost.

    A pickle can name one large list or tuple again and again, a few bytes each time, and have it copied by a call or
    put into further tuples; so what is copied and repeated is counted, and the opcodes are.
    """

    def __init__(self, size: int):
        """Start with what a file of `size` bytes may cost."""
        self.steps = MOST_STEPS
        self.copies = MOST_COPIES * size + 1_000_000

    def step(self) -> None:
        """Count one opcode; raise InputError where they are too many."""
        self.steps -= 1
        if self.steps < 0:
            raise InputError(f"is a pickle of more than {MOST_STEPS:,} steps; check which file this is")

    def copy(self, count: int) -> None:
        """Count values or bytes that are copied or repeated; raise InputError where they are too many."""
        self.copies -= count
        if self.copies < 0:
            raise InputError(
                "would take far longer to read than its length allows: it describes many times more than its own "
                "size, so it is damaged or made to fill the memory"
            )

    def copy_all(self, values: Iterable) -> None:
        """Count what a call may copy of its arguments: text, bytes, arrays and the items of containers."""
        for value in values:
            if isinstance(value, SIZED):
                self.copy(len(value))
            elif isinstance(value, np.ndarray):
                self.copy(value.nbytes)


# ------------------------------------------------------------------------------ stepping through a pickle
class PickleMachine:
    """Follows the opcodes of one pickle up to its STOP.

    Nothing is imported, no attribute is set, and no function is called but those that the caller gives.
    """

    def __init__(
        self,
        meanings: Mapping[str, Callable | None],
        budget: Budget,
        persistent: Callable[[tuple], object] | None = None,
    ):
        """Prepare an empty stack and memo.

        Args:
            meanings: module.name -> function that makes an inert value of the arguments of a call; None for a name
                that is only ever mentioned.
            budget: what the pickle may cost.
            persistent: makes a value of a persistent id, a tuple; None: the pickle may hold no such id.
        """
        self.meanings, self.budget, self.persistent = meanings, budget, persistent
        self.stack: list = []
        self.marks: list[int] = []  # places in the stack
        self.memo: dict[int, object] = {}
        self.tuples: list[tuple] = []  # kept, so that nothing else gets their ids
        self.weights: dict[int, int] = {}  # of tuples, by id: how many values each stands for

    def run(self, stream: BinaryIO) -> object:
        """Return the object that the pickle at the current position of `stream` describes.

        Raises:
            InputError: it names what is not in the table, or costs too much.
            ValueError and others of DAMAGE: it is not a whole pickle.
        """
        for opcode, argument, _ in pickletools.genops(stream):  # fails where a length is beyond the end of the file
            self.budget.step()
            if opcode.name in LITERALS:
                self.stack.append(argument)
            else:
                self.follow(opcode.name, argument)
        return self.stack.pop()  # as Python does, whatever lies below

    def follow(self, opcode: str, argument: object) -> None:
        """Follow one opcode; the most frequent ones come first."""
        match opcode:
            case "MEMOIZE":
                self.memorise(len(self.memo))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memorise(argument)
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise ValueError(f"its memo has no value {argument}")
                self.repeat(self.memo[argument])
            case "DUP":
                self.repeat(self.stack[-1])
            case "APPEND":
                self.extend_list(self.take(1))
            case "APPENDS":
                self.extend_list(self.take_to_mark())
            case "SETITEM":
                self.set_items(self.take(2))
            case "SETITEMS":
                self.set_items(self.take_to_mark())
            case "ADDITEMS":
                self.extend_set(self.take_to_mark())
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.push_tuple(self.take(int(opcode[-1])))
            case "TUPLE":
                self.push_tuple(self.take_to_mark())
            case "LIST":
                self.stack.append(self.take_to_mark())
            case "DICT":
                pairs = self.take_to_mark()
                self.stack.append({})
                self.set_items(pairs)
            case "FROZENSET":
                self.stack.append(frozenset(hashable(self.take_to_mark())))
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                self.stack.append(EMPTY[opcode]())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.stack.append(CONSTANTS[opcode])
            case "POP" if self.marks and self.marks[-1] == len(self.stack):
                self.marks.pop()
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self.take_to_mark()
            case "GLOBAL":
                self.stack.append(self.look_up(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.stack.append(self.look_up(*self.take(2)))
            case "REDUCE" | "NEWOBJ":
                self.call(*self.take(2))
            case "INST":
                self.call(self.look_up(*argument.split(" ", 1)), tuple(self.take_to_mark()))
            case "OBJ":
                function, *arguments = self.take_to_mark()
                self.call(function, tuple(arguments))
            case "BUILD":
                self.build(*self.take(2))
            case "BINPERSID":
                self.stack.append(self.load_persistent(*self.take(1)))
            case "PERSID":
                self.stack.append(self.load_persistent(argument))
            case "EXT1" | "EXT2" | "EXT4":
                raise ValueError(f"name {argument} of the extension registry, which is not in the file")
            case "NEXT_BUFFER" | "READONLY_BUFFER":
                raise ValueError("a buffer that is not in the file")
            case "PROTO":
                if argument > LATEST_PROTOCOL:
                    raise ValueError(f"it has the protocol {argument}; the latest is {LATEST_PROTOCOL}")
            case "FRAME" | "STOP":
                return
            case _:
                raise ValueError(f"opcode {opcode} has no place in plain data")

    def take(self, count: int) -> list:
        """Remove and return the last values on the stack."""
        if len(self.stack) < count:
            raise ValueError("it takes more values from its stack than it put there")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def take_to_mark(self) -> list:
        """Remove and return the values behind the last mark, and the mark."""
        if not self.marks:
            raise ValueError("a list without a beginning")
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def push_tuple(self, items: list) -> None:
        """Push a tuple, and remember how many values it stands for, those of the tuples in it as often as these do."""
        made = tuple(items)
        weight = 1 + len(made)
        for item in made:
            if type(item) is tuple:
                weight += self.weights.get(id(item), 1) - 1
        self.weights[id(made)] = weight
        self.tuples.append(made)
        self.stack.append(made)

    def repeat(self, value: object) -> None:
        """Push a value once more: 60 tuples, each of twice the one before, stand for 2 ** 60 values."""
        self.budget.copy(self.weights.get(id(value), 1) - 1)
        self.stack.append(value)

    def memorise(self, key: int) -> None:
        """Keep the last value on the stack in the memo."""
        value = self.memo[key] = self.stack[-1]
        if isinstance(value, Unfinished):
            value.memo_keys.append(key)

    def extend_list(self, items: list) -> None:
        """Put items into the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise ValueError("items for something that is not a list")
        self.stack[-1].extend(items)

    def extend_set(self, items: list) -> None:
        """Put items into the set on the stack."""
        if type(self.stack[-1]) is not set:
            raise ValueError("items for something that is not a set")
        self.stack[-1].update(hashable(items))

    def set_items(self, pairs: list) -> None:
        """Put keys and values, which take turns in `pairs`, into the dict on the stack."""
        if type(self.stack[-1]) is not dict:
            raise ValueError("items for something that is not a dict")
        self.stack[-1].update(dict_of(zip(pairs[::2], pairs[1::2], strict=True)))

    def look_up(self, module: object, attribute: object) -> Name:
        """Return a name that is in the table of meanings; raise InputError for any other."""
        if type(module) is not str or type(attribute) is not str:
            raise ValueError("a name that is not text")
        python_3 = NAME_MAPPING.get((module, attribute), (IMPORT_MAPPING.get(module, module), attribute))
        full_name = ".".join(python_3)
        if full_name not in self.meanings:
            raise InputError(
                f"names '{show_value(full_name, 100)}', which is not plain data and which Python itself would run; "
                "here nothing was run. Do not open the file elsewhere unless you trust its sender"
            )
        return Name(full_name)

    def call(self, function: object, arguments: object) -> None:
        """Push the value that a call means."""
        if not isinstance(function, Name) or type(arguments) is not tuple:
            raise ValueError("a call of something that is not a name")
        meaning = self.meanings[function.full_name]
        if meaning is None:
            raise ValueError(f"{function.full_name} is called")
        self.budget.copy_all(arguments)
        try:
            self.stack.append(meaning(*arguments))
        except (TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"{function.full_name} with other arguments than it takes: {error}") from None

    def build(self, target: object, state: object) -> None:
        """Push what `state` makes of an object; no attribute is set."""
        if isinstance(target, Unfinished):
            self.budget.copy_all(state if type(state) is tuple else (state,))
            value = target.finish(state)
            for key in target.memo_keys:
                if self.memo[key] is target:
                    self.memo[key] = value
            target.memo_keys.clear()
            self.stack.append(value)
        elif isinstance(target, np.dtype):
            self.stack.append(target.newbyteorder(state[1]) if state[1] in ("<", ">") else target)
        elif isinstance(target, dict | Inert):
            self.stack.append(target)
        else:
            raise ValueError(f"a state for a {type(target).__name__}")

    def load_persistent(self, identifier: object) -> object:
        """Return what a persistent id stands for."""
        if self.persistent is None or type(identifier) is not tuple:
            raise ValueError("a persistent id where none can be")
        return self.persistent(identifier)


# ----------------------------------------------------------------------- what names of Python and numpy mean
def numpy_dtype(code: str, *_align_and_copy) -> np.dtype:
    """Return the type of an array of numbers or text of fixed width; raise InputError for any other."""
    if not re.fullmatch(r"[biufcSU]\d{1,9}", code):
        raise InputError(f"holds a numpy array of type {show_value(code)}; only numbers and fixed-width text are read")
    return np.dtype(code)


def fill_array(state: tuple) -> np.ndarray | list:
    """Return the array that numpy's `_reconstruct` left to the BUILD opcode; one of objects is a list in a pickle."""
    _version, shape, dtype, is_fortran, data = state
    if dtype.kind == "O" and type(data) is list:
        return data
    return array_of_buffer(raw_bytes(data), dtype, shape, "F" if is_fortran else "C")


def array_of_buffer(data: bytes, dtype: np.dtype, shape: tuple, order: str, axis_order: object = None) -> np.ndarray:
    """Return a read-only array with the content of `data`."""
    if not isinstance(dtype, np.dtype):  # numpy would take text and lists for a description of a type
        raise ValueError("a numpy array whose type is none")
    if axis_order is not None:
        raise ValueError("a numpy array with its axes in an order of its own")
    array = np.frombuffer(data, dtype)
    if dtype.kind == "U" and (array.view(np.dtype("u4").newbyteorder(dtype.byteorder)) > sys.maxunicode).any():
        raise ValueError("a numpy array of text with characters that do not exist")  # numpy fails when it is looked at
    return array.reshape(shape, order=order)


def numpy_scalar(dtype: np.dtype, data: bytes | str) -> np.generic:
    """Return one number or text of numpy."""
    return array_of_buffer(raw_bytes(data), dtype, (-1,), "C")[0]


def raw_bytes(data: bytes | str) -> bytes:
    """Return bytes, which Python 2 wrote as text in latin-1."""
    return data.encode("latin-1") if isinstance(data, str) else data


def encode(text: str, encoding: str) -> bytes:
    """Return the bytes that Python 3 writes as text in latin-1 in pickles of protocols 0 to 2."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {show_value(encoding)}")
    return text.encode("latin-1")


def first_argument(value: object, *_) -> object:
    """Return the first argument: the meaning of a class around a value that is needed without it."""
    return value


NUMPY = {
    "builtins.set": lambda items=(): set(hashable(items)),
    "builtins.frozenset": lambda items=(): frozenset(hashable(items)),
    "_codecs.encode": encode,
    "numpy.dtype": numpy_dtype,
    "numpy.ndarray": None,
}
for _module in ("numpy.core", "numpy._core"):  # before and since numpy 2
    NUMPY[f"{_module}.multiarray._reconstruct"] = lambda *_: Unfinished(fill_array)
    NUMPY[f"{_module}.multiarray.scalar"] = numpy_scalar
    NUMPY[f"{_module}.numeric._frombuffer"] = array_of_buffer


# ------------------------------------------------------------------------------------------- reading files
def read_open_file(file: BinaryIO, start: bytes = b"") -> bytes:
    """Return all of an open file or pipe as far as memory allows.

    Args:
        file: open for reading in binary.
        start: what has been read of it already, to look at.

    Raises:
        InputError: it does not fit into the free memory, or too much comes through a pipe.
    """
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode):
        require_memory(status.st_size, "reading the file takes", "give a smaller file, or use a larger machine")
        file.seek(0)
        return file.read()
    data = bytearray(start)
    while piece := file.read(2**20):
        data += piece
        if len(data) > MOST_PIPED:
            raise InputError(f"is more than {MOST_PIPED:,} bytes through a pipe; give a file")
    return bytes(data)
