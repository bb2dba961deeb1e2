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
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from creator import InputError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a single-stream file
LEGACY_PROTOCOL = 1001

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

        Raises InputError where the view reaches past the end of its storage.
        """
        try:
            values = self._storage.values(self._dtype)
        except DAMAGE as error:
            raise InputError(f"damaged: a tensor of shape {self.shape} cannot be read ({_shown(error)})") from None
        if math.prod(self.shape) == 0:
            return np.empty(self.shape, values.dtype)
        last = self._offset + sum((n - 1) * step for n, step in zip(self.shape, self._stride, strict=True))
        if last >= values.size:
            raise InputError(
                f"damaged: a tensor of shape {self.shape} ends at number {last + 1} of {values.size} stored"
            )
        strides = tuple(step * values.itemsize for step in self._stride)
        return np.lib.stride_tricks.as_strided(values[self._offset :], self.shape, strides, writeable=False)


class Record:
    """An object of a known, harmless class whose content nobody needs (`argparse.Namespace` and the like)."""


class _Name(NamedTuple):
    """A name met in the file; it stands for nothing but itself until `_MEANING` is asked."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


class _Reader(NamedTuple):
    """What stepping through one pickle may depend on."""

    storage: Callable | None = None  # persistent id -> Storage; None: the pickle may not hold any
    embedded: bool = False  # whether tensors may carry their storage inside (plain pickles only)


def read_torch_file(path):
    """Reads one .pth, .pt or .pkl file -> dict, list, tuple, str, numbers, numpy arrays and `Tensor`.

    Raises InputError (one line, without the path) for a file that is damaged, of another kind, or that names
    anything beyond tensors, arrays and plain containers; OSError where it cannot be opened.
    """
    data = Path(path).read_bytes()
    if not data:
        raise InputError("the file is empty; copy or download it again")
    try:
        if data[:4] == b"PK\x03\x04":
            return _read_zip(data)
        if data[:1] not in b"\x80(}])cdIFKMJGN":  # what the first opcode of a pickle can be
            raise InputError(
                f"starts with {data[:8]!r}, so it is no torch file and no pickle; check which file this is"
            )
        if _is_legacy(data):
            return _read_legacy(data)
        return _step_through(io.BytesIO(data), _Reader(embedded=True))
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"damaged or cut short after {len(data):,} bytes ({_shown(error)}); copy or download it again"
        ) from None


def as_array(value):
    """A `Tensor`, array or number out of `read_torch_file` as a numpy array; TypeError for anything else."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, np.ndarray | np.generic | int | float | bool):
        return np.asarray(value)
    raise TypeError(f"a {type(value).__name__} where an array is expected")


def _shown(value):
    """One line of at most 100 characters, whatever the file put into it."""
    # A tuple that holds itself doubled, fifty levels deep, is a small file and an endless text.
    readable = isinstance(value, str | int | float | bytes | Exception)
    text = " ".join(str(value).split()) if readable else ""
    text = text or type(value).__name__
    return "".join(c if c.isprintable() else "?" for c in text[:100])


# --- the three layouts -----------------------------------------------------------------------------------


def _read_zip(data):
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(
            f"a zip file that torch.save did not write: {len(pickles)} data.pkl among "
            f"{len(members)} members ({_shown(', '.join(list(members)[:3]))}); check which file this is"
        )
    root = pickles[0][: -len("data.pkl")]

    def content(name):
        # torch never compresses; refusing to inflate keeps a small file from growing without bound.
        if members[name].compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{_shown(name)} inside the file is compressed; save it again with torch.save")
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

    return _step_through(io.BytesIO(content(pickles[0])), _Reader(storage))


def _is_legacy(data):
    """Whether the first pickle is the magic number: PROTO 2, LONG1 of ten bytes, STOP."""
    magic = LEGACY_MAGIC.to_bytes(10, "little")
    return data[2:15] == b"\x8a\x0a" + magic + b"."


def _read_legacy(data):
    stream = io.BytesIO(data)
    _step_through(stream, _Reader())  # the magic number, checked by _is_legacy
    protocol = _step_through(stream, _Reader())
    if protocol != LEGACY_PROTOCOL:
        raise InputError(f"torch file of protocol {_shown(protocol)}, not {LEGACY_PROTOCOL}; save it again")
    _step_through(stream, _Reader())  # sizes of the writer's C types; the storages are little-endian throughout
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

    root = _step_through(stream, _Reader(storage))
    keys = _step_through(stream, _Reader())
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
    if kind != "storage" or type(key) is not str or type(length) is not int or length < 0:
        raise ValueError("a persistent id that is not a storage's")
    if not isinstance(storage_class, _Name) or storage_class.name not in _STORAGE_CLASSES:
        raise ValueError("a storage of an unknown class")
    return _DTYPES[_STORAGE_CLASSES[storage_class.name]], key, length


def _raw_dtype(dtype):
    return np.dtype("<u2") if dtype == _BFLOAT16 else dtype


def _itemsize(dtype):
    return _raw_dtype(dtype).itemsize


# --- what the names in a file mean -----------------------------------------------------------------------


_SCALARS = (str, bytes, int, float, bool, type(None))


def _keys(items):
    """The items, if they are scalars or tuples of scalars: anything deeper can take for ever to hash."""
    items = list(items)
    for item in items:
        parts = item if type(item) is tuple else (item,)
        if not all(type(part) in _SCALARS or isinstance(part, np.generic) for part in parts):
            raise ValueError(f"a key of type {type(item).__name__}")
    return items


def _dict(pairs):
    pairs = list(pairs.items() if isinstance(pairs, dict) else pairs)
    return dict(zip(_keys(key for key, _ in pairs), (value for _, value in pairs), strict=True))


def _tensor(storage, offset, size, stride, *_requires_grad_and_hooks):
    return Tensor(storage, offset, size, stride)


def _tensor_of_dtype(storage, offset, size, stride, _requires_grad, _hooks, dtype, *_metadata):
    """_rebuild_tensor_v3: the type stands beside an untyped storage."""
    return Tensor(storage, offset, size, stride, _DTYPES[dtype.name])


def _embedded_storage(data):
    root = _read_legacy(data) if _is_legacy(data) else None
    if not isinstance(root, Storage):
        raise ValueError("the bytes inside a tensor are not a torch storage")
    return root


def _numpy_dtype(code, *_align_and_copy):
    if not re.fullmatch(r"[biufcSU]\d{1,9}", code):
        raise InputError(f"holds a numpy array of type {_shown(code)}; only numbers and fixed-width text are read")
    return np.dtype(code)


class _UnfilledArray:
    """What numpy's `_reconstruct` returns; the BUILD that follows brings shape, type and bytes."""


def _filled_array(_version, shape, dtype, is_fortran, data):
    raw = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if is_fortran else "C")


def _array_of_buffer(data, dtype, shape, order, *_axis_order):
    if _axis_order and _axis_order[0] is not None:
        raise ValueError("a numpy array with its axes in an order of its own")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _numpy_scalar(dtype, data):
    return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, dtype)[0]


def _encoded(text, encoding):
    """How Python 3 writes bytes at pickle protocol 2: as text in latin-1."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes in the encoding {_shown(encoding)}")
    return text.encode("latin-1")


def _bytearray(data=b"", encoding="latin-1"):
    """Only from bytes or latin-1 text: from a number, bytearray makes as many zeros as the file likes."""
    return bytearray(data if isinstance(data, bytes) else _encoded(data, encoding))


def _path(*parts):
    return "/".join(parts)


def _record(*_anything, **_named):
    return Record()


def _opaque(name):
    """For names that are only ever mentioned (storage classes, dtypes), not called."""

    def refuse(*_):
        raise ValueError(f"{name} is called")

    return refuse


_MEANING = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.nn.parameter.Parameter": lambda data, *_: data,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": _record,
    "torch.storage._load_from_bytes": _embedded_storage,
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
    _MEANING[f"pathlib.{_name}"] = _MEANING[f"pathlib._local.{_name}"] = _path
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
                f"names {_shown(str(found))}, which is no part of a tensor file; nothing in it was run. "
                "Do not load it elsewhere unless you trust its sender"
            )
        return found

    def call(function, arguments):
        if not isinstance(function, _Name) or type(arguments) is not tuple:
            raise ValueError("a call of something that is not a name")
        if str(function) == "torch.storage._load_from_bytes" and not reader.embedded:
            raise ValueError("a storage inside a storage")
        return _MEANING[str(function)](*arguments)

    def build(target, state):
        if isinstance(target, _UnfilledArray):
            return _filled_array(*state)
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
        match opcode.name:
            case "PROTO" | "FRAME":
                continue
            case "STOP":
                (result,) = stack
                if result is _MARK:
                    raise ValueError("an unfinished list")
                return result
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
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
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
                built = build(target, state)
                if built is not target:  # the unfilled array was memorised before it was filled
                    memo = {key: built if value is target else value for key, value in memo.items()}
                stack.append(built)
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
