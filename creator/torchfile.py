"""Reads files written by torch.save and pickle.dump without torch, and without running anything in them.

A pickle is a program, and `pickle.load` runs it: a file can call `os.system` as easily as it can hold a
tensor. So the pickle module does not see the file at all. Its opcodes are stepped through here, and a name
in the file is looked up in one table, `_MEANING`, of functions of ours that only build numbers and
containers; a name that is not in the table is refused before anything else happens.

Three layouts are read, told apart by their first bytes:

- zip (torch >= 1.6): `*/data.pkl`, and each storage as a stored (uncompressed) member `*/data/KEY`;
- single stream (torch < 1.6): magic number, protocol, system information, the object, the list of storage
  keys, then each storage as an int64 length and its raw bytes;
- plain pickle, in which a torch tensor carries its storage as bytes in the single-stream layout.

A tensor stays in the file until it is asked for (`Tensor.numpy`), so the optimizer state beside the weights
costs nothing. numpy arrays and scalars are read as well.
"""

import io
import math
import os
import pickletools
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from creator import InputError, limits, shown

ZIP = b"PK\x03\x04"  # how such a file begins
PICKLE = b"\x80(}])cdIFKMJGN"  # what the first opcode of a pickle can be
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a single-stream file
LEGACY_PROTOCOL = 1001

# What a file may ask for. Checkpoints with their optimizer stay far below all of these.
MOST_STEPS = 2_000_000  # opcodes; five seconds
MOST_COPIES = 4  # times that a call may copy each byte of the file
MOST_AXES = 32  # of a tensor
MOST_PIPED = 10**9  # bytes that come through a pipe
KEY_BITS = 64  # of an integer as a key: larger ones can be chosen so that all have one hash
KEY_LENGTH = 10_000  # of text as a key
KEY_PARTS = 8  # of a tuple as a key

# What a damaged or hostile stream can raise while it is stepped through; all of it means "not readable".
DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)

# bfloat16 is the upper half of a float32; numpy has no such type.
_BFLOAT16 = "bfloat16"

_DTYPES = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": _BFLOAT16,
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
    "complex64": np.dtype("<c8"),
    "complex128": np.dtype("<c16"),
}

_STORAGE_CLASSES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}


class Storage:
    """A flat run of numbers of one type in the file, read when first asked for."""

    def __init__(self, dtype, length, read):
        self.dtype = dtype  # numpy dtype, or "bfloat16"
        self.length = length  # in elements
        self._read = read  # () -> buffer of the raw little-endian (or, if said, big-endian) bytes
        self._values = None

    def values(self, dtype=None):
        """All numbers of the storage, shape (length,); `dtype` reinterprets an untyped storage."""
        if self._values is None:
            self._values = self._read()
        dtype = self.dtype if dtype is None else dtype
        if dtype == _BFLOAT16:
            halves = np.frombuffer(self._values, "<u2").astype(np.uint32)
            return (halves << np.uint32(16)).view(np.float32)
        return np.frombuffer(self._values, dtype)


class Tensor:
    """A strided view of a storage, as torch keeps it; nothing is read until `numpy()`."""

    def __init__(self, storage, offset, shape, stride, dtype=None):
        numbers = (offset, *shape, *stride)
        if not isinstance(storage, Storage) or len(shape) != len(stride):
            raise ValueError("a tensor without a storage, or with strides that do not fit its shape")
        if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
            raise ValueError("a tensor whose offset, shape or strides are not whole numbers from 0 up")
        self._storage, self._offset, self._stride = storage, offset, tuple(stride)
        self._dtype = storage.dtype if dtype is None else dtype
        self.shape = tuple(shape)

    @property
    def dtype(self):
        """numpy type of `numpy()`: float32 for bfloat16, which numpy does not have."""
        return np.dtype(np.float32) if self._dtype == _BFLOAT16 else self._dtype

    def numpy(self):
        """The values, shape `shape`; a read-only view where the storage allows it.

        Raises:
            InputError: if the view reaches past the end of its storage, or no array can have its shape.
        """
        shape = shape_text(self.shape)
        if len(self.shape) > MOST_AXES:
            raise InputError(f"damaged: a tensor of {len(self.shape):,} dimensions; at most {MOST_AXES} are read")
        try:
            values = self._storage.values(self._dtype)
        except DAMAGE as error:
            raise InputError(f"damaged: a tensor of shape {shape} cannot be read ({shown(error)})") from None
        if math.prod(n or 1 for n in self.shape) * values.itemsize >= 2**63:  # numpy counts so when a side is 0, too
            raise InputError(f"damaged: a tensor of shape {shape} has more numbers than an array can hold")
        if 0 in self.shape:
            return np.empty(self.shape, values.dtype)
        last = self._offset + sum((n - 1) * step for n, step in zip(self.shape, self._stride, strict=True))
        if last >= values.size:
            raise InputError(f"damaged: a tensor of shape {shape} ends at number {last + 1} of {values.size} stored")
        # The step of a dimension of 1 is never taken, so it may be anything, also more than numpy can count.
        strides = (step * values.itemsize if n > 1 else 0 for n, step in zip(self.shape, self._stride, strict=True))
        return np.lib.stride_tricks.as_strided(values[self._offset :], self.shape, tuple(strides), writeable=False)


class Record:
    """An object of a known, harmless class whose content nobody needs (`argparse.Namespace` and the like)."""


class _Name(NamedTuple):
    """A name met in the file; it stands for nothing but itself until `_MEANING` is asked."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


class _Work:
    """What reading one file may still cost, so that a small file cannot take hours or all memory.

    A pickle can name one large list again and again, a few bytes each time, and have it copied by a call; so what
    calls copy is counted, and the opcodes are.
    """

    def __init__(self, size: int):
        self.steps = MOST_STEPS
        self.copies = MOST_COPIES * size + 1_000_000

    def step(self) -> None:
        """Count one opcode; raise InputError where they are too many."""
        self.steps -= 1
        if self.steps < 0:
            raise InputError(f"is a pickle of more than {MOST_STEPS:,} steps, as no tensor file is; check which it is")

    def copy(self, arguments: tuple) -> None:
        """Count what a call copies: text, bytes and containers among its arguments; raise InputError likewise."""
        for argument in arguments:
            if isinstance(argument, _SIZED):
                self.copies -= len(argument)
            elif isinstance(argument, np.ndarray):
                self.copies -= argument.nbytes
        if self.copies < 0:
            raise InputError("describes many times more than its own size; it is damaged or made to fill the memory")


_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


class _Reader(NamedTuple):
    """What stepping through one pickle may depend on."""

    work: _Work
    storage: Callable | None = None  # persistent id -> Storage; None: the pickle may not hold any
    embedded: bool = False  # whether tensors may carry their storage inside (plain pickles only)


def read_torch_file(path):
    """Reads one .pth, .pt or .pkl file -> dict, list, tuple, str, numbers, numpy arrays and `Tensor`.

    Raises InputError (one line, without the path) for a file that is damaged, of another kind, or that names
    anything beyond tensors, arrays and plain containers; OSError where it cannot be opened.
    """
    data = _read_bytes(path)
    work = _Work(len(data))
    try:
        if data[:4] == ZIP:
            return _read_zip(data, work)
        if _is_legacy(data):
            return _read_legacy(data, work)
        return _step_through(io.BytesIO(data), _Reader(work, embedded=True))
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"damaged or cut short after {len(data):,} bytes ({shown(error)}); copy or download it again"
        ) from None


def _read_bytes(path) -> bytes:
    """Return all of a file, of which the beginning is looked at before the rest is read.

    Raises:
        InputError: if it is empty, neither zip nor pickle, or larger than the free memory.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        data = file.read(8)
        if not data:
            raise InputError("the file is empty; copy or download it again")
        if data[:4] != ZIP and data[:1] not in PICKLE:
            raise InputError(f"starts with {data!r}, so it is no torch file and no pickle; check which file this is")
        if stat.S_ISREG(status.st_mode):
            limits.require_memory(status.st_size, "reading the file takes")
            file.seek(0)
            return file.read()
        while piece := file.read(2**20):
            data += piece
            if len(data) > MOST_PIPED:
                raise InputError(f"is more than {MOST_PIPED:,} bytes through a pipe; give a file")
        return data


def as_array(value):
    """A `Tensor`, array or number out of `read_torch_file` as a numpy array; TypeError for anything else."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, int) and value.bit_length() > 64:
        raise TypeError(f"{shown(value)} where an array is expected")
    if isinstance(value, np.ndarray | np.generic | int | float | bool):
        return np.asarray(value)
    raise TypeError(f"a {type(value).__name__} where an array is expected")


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as text, cut short where it has more dimensions than a message should show."""
    if len(shape) <= 5:
        return str(tuple(shape))
    return f"({', '.join(map(str, shape[:4]))}, ... {len(shape):,} dimensions)"


# --- the three layouts -----------------------------------------------------------------------------------


def _read_zip(data, work):
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(
            f"a zip file that torch.save did not write: {len(pickles)} data.pkl among "
            f"{len(members)} members ({shown(', '.join(list(members)[:3]))}); check which file this is"
        )
    root = pickles[0][: -len("data.pkl")]

    def content(name):
        # torch never compresses; refusing to inflate keeps a small file from growing without bound.
        if members[name].compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{shown(name)} inside the file is compressed; save it again with torch.save")
        return archive.read(name)

    big_endian = f"{root}byteorder" in members and content(f"{root}byteorder").strip() == b"big"
    storages = {}

    def storage(persistent_id):
        dtype, key, length = _storage_id(persistent_id)
        name = f"{root}data/{key}"
        if name not in members:
            raise ValueError(f"storage {key} is missing")
        size = length * _itemsize(dtype)
        if members[name].file_size < size:
            raise ValueError(f"storage {key} holds {members[name].file_size} bytes of {size}")

        def read():
            raw = memoryview(content(name))[:size]
            return np.frombuffer(raw, _raw_dtype(dtype)).byteswap().tobytes() if big_endian else raw

        return storages.setdefault(key, Storage(dtype, length, read))

    return _step_through(io.BytesIO(content(pickles[0])), _Reader(work, storage))


def _is_legacy(data):
    """Whether the first pickle is the magic number: PROTO 2, LONG1 of ten bytes, STOP."""
    magic = LEGACY_MAGIC.to_bytes(10, "little")
    return data[2:15] == b"\x8a\x0a" + magic + b"."


def _read_legacy(data, work):
    stream = io.BytesIO(data)
    _step_through(stream, _Reader(work))  # the magic number, checked by _is_legacy
    protocol = _step_through(stream, _Reader(work))
    if protocol != LEGACY_PROTOCOL:
        raise InputError(f"torch file of protocol {shown(protocol)}, not {LEGACY_PROTOCOL}; save it again")
    _step_through(stream, _Reader(work))  # sizes of the writer's C types; the storages are little-endian throughout
    storages, start_of = {}, {}

    def storage(persistent_id):
        dtype, key, length = _storage_id(persistent_id)
        known = storages.setdefault(key, (Storage(dtype, length, lambda: raw(key)), dtype, length))
        if known[1:] != (dtype, length):
            raise ValueError(f"storage {key} is described twice, differently")
        view = persistent_id[5] if len(persistent_id) > 5 else None
        if view is None:
            return known[0]
        _, offset, length = view
        if not (type(offset) is int and type(length) is int and 0 <= offset <= offset + length <= known[2]):
            raise ValueError(f"storage {key} has a view outside itself")
        size = _itemsize(dtype)
        return Storage(dtype, length, lambda: raw(key)[offset * size : (offset + length) * size])

    def raw(key):
        _, dtype, length = storages[key]
        return memoryview(data)[start_of[key] : start_of[key] + length * _itemsize(dtype)]

    root = _step_through(stream, _Reader(work, storage))
    keys = _step_through(stream, _Reader(work))
    start = stream.tell()
    for key in keys:
        if type(key) is not str or key not in storages:
            raise ValueError("a storage that no tensor uses")
        _, dtype, length = storages[key]
        (stored,) = struct.unpack_from("<q", data, start)
        if stored != length:
            raise ValueError(f"storage {key} holds {stored} numbers of {length}")
        start_of[key] = start + 8
        start = start_of[key] + length * _itemsize(dtype)
        if start > len(data):
            raise ValueError(f"storage {key} ends {start - len(data):,} bytes after the end of the file")
    if absent := storages.keys() - start_of.keys():
        raise ValueError(f"storage {min(absent)} is missing")
    return root


def _storage_id(persistent_id):
    """('storage', class, key, device, length, ...) -> dtype, key, length."""
    kind, storage_class, key, _, length = persistent_id[:5]
    if kind != "storage" or type(key) is not str or type(length) is not int or not 0 <= length < 2**62:
        raise ValueError("a persistent id that is not a storage's")
    if not isinstance(storage_class, _Name) or storage_class.name not in _STORAGE_CLASSES:
        raise ValueError("a storage of an unknown class")
    return _DTYPES[_STORAGE_CLASSES[storage_class.name]], key, length


def _raw_dtype(dtype):
    return np.dtype("<u2") if dtype == _BFLOAT16 else dtype


def _itemsize(dtype):
    return _raw_dtype(dtype).itemsize


# --- what the names in a file mean -----------------------------------------------------------------------


_TEXT = (str, bytes)
_SCALARS = (*_TEXT, int, float, bool, type(None))
_NUMPY_SCALARS = (np.integer, np.floating, np.bool_, np.str_, np.bytes_)  # complex ones can all have one hash


def _keys(items):
    """The items, if they are scalars or short tuples of scalars: anything else can take for ever to hash."""
    items = list(items)
    for item in items:
        if type(item) is tuple and len(item) > KEY_PARTS:
            raise ValueError(f"a key of {len(item):,} parts")
        for part in item if type(item) is tuple else (item,):
            if not (type(part) in _SCALARS or isinstance(part, _NUMPY_SCALARS)):
                raise ValueError(f"a key of type {type(item).__name__}")
            if isinstance(part, _TEXT) and len(part) > KEY_LENGTH:
                raise InputError(f"has text of {len(part):,} characters as a key, which no tensor file has")
            if type(part) is int and part.bit_length() > KEY_BITS:
                raise InputError(f"has {shown(part)} as a key, which no tensor file has; use names")
    return items


def _dict(pairs):
    pairs = list(pairs.items() if isinstance(pairs, dict) else pairs)
    return dict(zip(_keys(key for key, _ in pairs), (value for _, value in pairs), strict=True))


def _tensor(storage, offset, size, stride, *_requires_grad_and_hooks):
    return Tensor(storage, offset, size, stride)


def _tensor_of_dtype(storage, offset, size, stride, _requires_grad, _hooks, dtype, *_metadata):
    """_rebuild_tensor_v3: the type stands beside an untyped storage."""
    return Tensor(storage, offset, size, stride, _DTYPES[dtype.name])


def _embedded_storage(data, work):
    root = _read_legacy(data, work) if _is_legacy(data) else None
    if not isinstance(root, Storage):
        raise ValueError("the bytes inside a tensor are not a torch storage")
    return root


def _numpy_dtype(code, *_align_and_copy):
    if not re.fullmatch(r"[biufcSU]\d{1,9}", code):
        raise InputError(f"holds a numpy array of type {shown(code)}; only numbers and fixed-width text are read")
    return np.dtype(code)


class _UnfilledArray:
    """What numpy's `_reconstruct` returns; the BUILD that follows brings shape, type and bytes."""

    def __init__(self):
        self.memo_keys = []  # where it was memorised, to be replaced by the array when there is one


def _raw(data):
    return data.encode("latin-1") if isinstance(data, str) else data


def _checked_dtype(dtype):
    if not isinstance(dtype, np.dtype):  # numpy would take text and lists for a description of a type
        raise ValueError("a numpy array whose type is none")
    return dtype


def _filled_array(_version, shape, dtype, is_fortran, data):
    return np.frombuffer(_raw(data), _checked_dtype(dtype)).reshape(shape, order="F" if is_fortran else "C")


def _array_of_buffer(data, dtype, shape, order, *_axis_order):
    if _axis_order and _axis_order[0] is not None:
        raise ValueError("a numpy array with its axes in an order of its own")
    return np.frombuffer(data, _checked_dtype(dtype)).reshape(shape, order=order)


def _numpy_scalar(dtype, data):
    return np.frombuffer(_raw(data), _checked_dtype(dtype))[0]


def _encoded(text, encoding):
    """How Python 3 writes bytes at pickle protocol 2: as text in latin-1."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {shown(encoding)}")
    return text.encode("latin-1")


def _bytearray(data=b"", encoding="latin-1"):
    """Only from bytes or latin-1 text: from a number, bytearray makes as many zeros as the file likes."""
    return bytearray(data if isinstance(data, bytes) else _encoded(data, encoding))


def _record(*_anything, **_named):
    return Record()


def _opaque(name):
    """For names that are only ever mentioned (storage classes, dtypes), not called."""

    def refuse(*_):
        raise ValueError(f"{name} is called")

    return refuse


EMBEDDED = "torch.storage._load_from_bytes"
_MEANING = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.nn.parameter.Parameter": lambda data, *_: data,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": _record,
    EMBEDDED: _embedded_storage,
    "collections.OrderedDict": lambda pairs=(): _dict(pairs),
    "collections.defaultdict": lambda _factory=None, pairs=(): _dict(pairs),
    "collections.Counter": lambda pairs=(): _dict(pairs),
    "argparse.Namespace": _record,
    "types.SimpleNamespace": _record,
    "_codecs.encode": _encoded,
    "numpy.dtype": _numpy_dtype,
    "numpy.ndarray": _opaque("numpy.ndarray"),
}
for _module in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _MEANING[f"{_module}.multiarray._reconstruct"] = lambda *_: _UnfilledArray()
    _MEANING[f"{_module}.multiarray.scalar"] = _numpy_scalar
    _MEANING[f"{_module}.numeric._frombuffer"] = _array_of_buffer
for _module in ("builtins", "__builtin__"):  # as Python 3 and Python 2 call it
    _MEANING[f"{_module}.dict"] = lambda pairs=(): _dict(pairs)
    _MEANING[f"{_module}.list"] = lambda items=(): list(items)
    _MEANING[f"{_module}.tuple"] = lambda items=(): tuple(items)
    _MEANING[f"{_module}.set"] = lambda items=(): set(_keys(items))
    _MEANING[f"{_module}.frozenset"] = lambda items=(): frozenset(_keys(items))
    _MEANING[f"{_module}.bytearray"] = _bytearray
for _name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"):
    _MEANING[f"pathlib.{_name}"] = _MEANING[f"pathlib._local.{_name}"] = _record
for _name in _STORAGE_CLASSES:
    for _module in ("torch", "torch.cuda", "torch.storage"):
        _MEANING[f"{_module}.{_name}"] = _opaque(_name)
for _name in _DTYPES:
    _MEANING[f"torch.{_name}"] = _opaque(_name)


# --- stepping through a pickle ---------------------------------------------------------------------------

_MARK = object()


def _step_through(stream, reader):
    """Follows the opcodes of one pickle up to its STOP -> the object it describes.

    Nothing is imported, no attribute is set and no function is called but those in `_MEANING`.
    """
    stack, memo = [], {}

    def pop_to_mark():
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is _MARK:
                items = stack[i + 1 :]
                del stack[i:]
                return items
        raise ValueError("a list without a beginning")

    def name(module, attribute):
        if type(module) is not str or type(attribute) is not str:
            raise ValueError("a name that is not text")
        found = _Name(module, attribute)
        if str(found) not in _MEANING:
            raise InputError(
                f"names {shown(str(found))}, which is no part of a tensor file; nothing in it was run. "
                "Do not load it elsewhere unless you trust its sender"
            )
        return found

    def call(function, arguments):
        if not isinstance(function, _Name) or type(arguments) is not tuple:
            raise ValueError("a call of something that is not a name")
        reader.work.copy(arguments)
        if str(function) == EMBEDDED:
            if not reader.embedded:
                raise ValueError("a storage inside a storage")
            return _embedded_storage(*arguments, reader.work)
        return _MEANING[str(function)](*arguments)

    def memorise(key, value):
        memo[key] = value
        if isinstance(value, _UnfilledArray):
            value.memo_keys.append(key)

    def build(target, state):
        if isinstance(target, _UnfilledArray):
            reader.work.copy(state)
            array = _filled_array(*state)
            for key in target.memo_keys:
                if memo[key] is target:
                    memo[key] = array
            target.memo_keys.clear()
            return array
        if isinstance(target, np.dtype):
            return target.newbyteorder(state[1]) if state[1] in ("<", ">") else target
        if isinstance(target, dict | Record | Tensor):  # attributes of a state_dict, a namespace, a Parameter
            return target
        raise ValueError(f"a state for a {type(target).__name__}")

    def set_items(pairs):
        if type(stack[-1]) is not dict:
            raise ValueError("items for something that is not a dict")
        stack[-1].update(_dict(zip(pairs[::2], pairs[1::2], strict=True)))

    def extend(kind, items):
        if type(stack[-1]) is not kind:
            raise ValueError(f"items for something that is not a {kind.__name__}")
        (stack[-1].extend if kind is list else stack[-1].update)(items if kind is list else _keys(items))

    def persistent(identifier):
        if reader.storage is None or type(identifier) is not tuple:
            raise ValueError("a storage where none can be")
        return reader.storage(identifier)

    for opcode, argument, _position in pickletools.genops(stream):
        reader.work.step()
        match opcode.name:
            case "PROTO" | "FRAME":
                continue
            case "STOP":
                if len(stack) != 1 or stack[0] is _MARK:
                    raise ValueError(f"{len(stack):,} objects where one is expected")
                return stack[0]
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "POP_MARK":
                pop_to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "NONE":
                stack.append(None)
            case "NEWTRUE":
                stack.append(True)
            case "NEWFALSE":
                stack.append(False)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_SET":
                stack.append(set())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(_inert(stack[-count:]))]
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "LIST":
                stack.append(pop_to_mark())
            case "FROZENSET":
                stack.append(frozenset(_keys(pop_to_mark())))
            case "DICT":
                pairs = pop_to_mark()
                stack.append(_dict(zip(pairs[::2], pairs[1::2], strict=True)))
            case "SETITEM":
                set_items(_inert([stack.pop(-2), stack.pop()]))
            case "SETITEMS":
                set_items(pop_to_mark())
            case "APPEND":
                extend(list, _inert([stack.pop()]))
            case "APPENDS":
                extend(list, pop_to_mark())
            case "ADDITEMS":
                extend(set, pop_to_mark())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memorise(argument, stack[-1])
            case "MEMOIZE":
                memorise(len(memo), stack[-1])
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(name(module, attribute))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(call(function, arguments))
            case "BUILD":
                state, target = stack.pop(), stack.pop()
                stack.append(build(target, state))
            case "BINPERSID":
                stack.append(persistent(stack.pop()))
            case _ if opcode.name in _LITERALS:
                stack.append(argument)
            case _:
                raise ValueError(f"opcode {opcode.name} has no place in a tensor file")
    raise EOFError("no STOP")


def _inert(items):
    """The items, unless a mark is among them: a mark belongs to the stack and never to a value."""
    if any(item is _MARK for item in items):
        raise ValueError("a mark used as a value")
    return items


_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
