"""Reads files written by torch.save and pickle.dump without torch, and without running anything in them.

Three layouts are read, told apart by their first bytes:

- zip (torch >= 1.6): `*/data.pkl`, and each storage as a stored (uncompressed) member `*/data/KEY`;
- single stream (torch < 1.6): magic number, protocol, system information, the object, the list of storage
  keys, then each storage as an int64 length and its raw bytes;
- plain pickle, in which a torch tensor carries its storage as bytes in the single-stream layout.

The pickles in them go through `core.unpickle`, which knows of torch what the table `TORCH` says. A tensor stays in the
file until it is asked for (`Tensor.numpy`), so the optimizer state beside the weights costs nothing. numpy arrays and
scalars are read as well.
"""

import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

from core import InputError, show_value, unpickle
from core.unpickle import (
    NUMPY,
    Budget,
    Inert,
    Name,
    PickleMachine,
    Record,
    dict_of,
    encode,
    first_argument,
    read_open_file,
)

ZIP = b"PK\x03\x04"  # how such a file begins
PICKLE = b"\x80(}])cdIFKMJGN"  # what the first opcode of a pickle can be
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a single-stream file
LEGACY_PROTOCOL = 1001
MOST_AXES = 32  # of a tensor
DAMAGE = (*unpickle.DAMAGE, zipfile.BadZipFile, zlib.error)  # all that a damaged or hostile file can raise

BFLOAT16 = "bfloat16"  # the upper half of a float32; numpy has no such type
DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
        *("bool", "complex64", "complex128"),
    )
}
DTYPES[BFLOAT16] = BFLOAT16
STORAGE_CLASSES = {
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


# --------------------------------------------------------------------------------- storages and tensors
class Storage:
    """A flat run of numbers of one type in the file, read when first asked for."""

    def __init__(self, dtype: np.dtype | str, read: Callable[[], bytes]):
        """Describe a storage.

        Args:
            dtype: of numpy, or BFLOAT16.
            read: returns the raw little-endian bytes.
        """
        self.dtype = dtype
        self._read = read
        self._raw = None

    def values(self, dtype: np.dtype | str) -> np.ndarray:
        """Return all numbers of the storage, shape (length,), as `dtype`: an untyped storage does not know its own."""
        if self._raw is None:
            self._raw = self._read()
        if dtype == BFLOAT16:
            halves = np.frombuffer(self._raw, "<u2").astype(np.uint32)
            return (halves << np.uint32(16)).view(np.float32)
        return np.frombuffer(self._raw, dtype)


class Tensor(Inert):
    """A strided view of a storage, as torch keeps it; nothing is read until `numpy()`."""

    def __init__(
        self,
        storage: Storage,
        offset: int,
        shape: tuple[int, ...],
        stride: tuple[int, ...],
        dtype: np.dtype | str | None = None,
    ):
        """Describe a tensor.

        Args:
            storage: what it is a view of.
            offset: of its first number in the storage, in numbers.
            shape: of the array.
            stride: steps of each dimension, in numbers.
            dtype: None for that of the storage.

        Raises:
            ValueError: these do not describe a tensor.
        """
        numbers = (offset, *shape, *stride)
        if not isinstance(storage, Storage) or len(shape) != len(stride):
            raise ValueError("a tensor without a storage, or with strides that do not fit its shape")
        if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
            raise ValueError("a tensor whose offset, shape or strides are not whole numbers from 0 up")
        self._storage, self._offset, self._stride = storage, offset, tuple(stride)
        self._dtype = storage.dtype if dtype is None else dtype
        self.shape = tuple(shape)

    @property
    def dtype(self) -> np.dtype:
        """Return the numpy type of `numpy()`: float32 for bfloat16, which numpy does not have."""
        return np.dtype(np.float32) if self._dtype == BFLOAT16 else self._dtype

    def numpy(self) -> np.ndarray:
        """Return the values, shape `shape`; a read-only view where the storage allows it.

        Raises:
            InputError: the view reaches past the end of its storage, or no array can have its shape.
        """
        shape = shape_text(self.shape)
        if len(self.shape) > MOST_AXES:
            raise InputError(f"damaged: a tensor of {len(self.shape):,} dimensions; at most {MOST_AXES} are read")
        try:
            values = self._storage.values(self._dtype)
        except DAMAGE as error:
            raise InputError(f"damaged: a tensor of shape {shape} cannot be read ({show_value(error, 120)})") from None
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


def as_array(value: object) -> np.ndarray:
    """Return a tensor, array or number out of `read_torch_file` as a numpy array; raise TypeError for anything else."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, int) and value.bit_length() > 64:
        raise TypeError(f"{show_value(value)} where an array is expected")
    if isinstance(value, np.ndarray | np.generic | int | float | bool):
        return np.asarray(value)
    raise TypeError(f"a {type(value).__name__} where an array is expected")


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as text, cut short where it has more dimensions than a message should show."""
    if len(shape) <= 5:
        return str(tuple(shape))
    return f"({', '.join(map(str, shape[:4]))}, ... {len(shape):,} dimensions)"


# ------------------------------------------------------------------------- what the names of torch mean
def tensor_of(storage: Storage, offset: int, size: tuple, stride: tuple, *_requires_grad_and_hooks) -> Tensor:
    """Return what torch's `_rebuild_tensor_v2` makes."""
    return Tensor(storage, offset, size, stride)


def tensor_of_dtype(
    storage: Storage, offset: int, size: tuple, stride: tuple, _requires_grad: bool, _hooks: object, dtype: Name, *_more
) -> Tensor:
    """Return what torch's `_rebuild_tensor_v3` makes: the type stands beside an untyped storage."""
    return Tensor(storage, offset, size, stride, DTYPES[dtype.full_name.removeprefix("torch.")])


def bytearray_of(data: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
    """Return bytes or latin-1 text as a bytearray; of a number, Python makes as many zeros as the file likes."""
    return bytearray(data if isinstance(data, bytes) else encode(data, encoding))


def storage_inside_storage(_data: bytes) -> Storage:
    """Refuse bytes in which a tensor carries its storage; they are only looked at in a plain pickle."""
    raise ValueError("a storage inside a storage")


EMBEDDED = "torch.storage._load_from_bytes"
TORCH = {
    **NUMPY,
    "builtins.dict": lambda pairs=(): dict_of(pairs),
    "builtins.list": lambda items=(): list(items),
    "builtins.tuple": lambda items=(): tuple(items),
    "builtins.bytearray": bytearray_of,
    "collections.OrderedDict": lambda pairs=(): dict_of(pairs),
    "collections.defaultdict": lambda _factory=None, pairs=(): dict_of(pairs),
    "collections.Counter": lambda pairs=(): dict_of(pairs),
    "argparse.Namespace": Record,
    "types.SimpleNamespace": Record,
    "torch._utils._rebuild_tensor": tensor_of,
    "torch._utils._rebuild_tensor_v2": tensor_of,
    "torch._utils._rebuild_tensor_v3": tensor_of_dtype,
    "torch._utils._rebuild_parameter": first_argument,
    "torch.nn.parameter.Parameter": first_argument,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": Record,
    EMBEDDED: storage_inside_storage,
}
for _name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"):
    TORCH[f"pathlib.{_name}"] = TORCH[f"pathlib._local.{_name}"] = Record
for _module in ("torch", "torch.cuda", "torch.storage"):
    TORCH |= dict.fromkeys(f"{_module}.{_name}" for _name in STORAGE_CLASSES)  # mentioned only
TORCH |= dict.fromkeys(f"torch.{_name}" for _name in DTYPES)


class StorageId(NamedTuple):
    """What a persistent id says of a storage."""

    dtype: np.dtype | str
    key: str
    length: int  # in numbers

    @property
    def raw_dtype(self) -> np.dtype:
        """Return the type of the numbers as they lie in the file."""
        return np.dtype("<u2") if self.dtype == BFLOAT16 else self.dtype

    @property
    def size(self) -> int:
        """Return the bytes of the storage."""
        return self.length * self.raw_dtype.itemsize


def storage_id(identifier: tuple) -> StorageId:
    """Return what ('storage', class, key, device, length, ...) says; raise ValueError for any other tuple."""
    kind, storage_class, key, _device, length = identifier[:5]
    if kind != "storage" or type(key) is not str or type(length) is not int or not 0 <= length < 2**62:
        raise ValueError("a persistent id that is not a storage's")
    name = storage_class.full_name.rpartition(".")[2] if isinstance(storage_class, Name) else ""
    if name not in STORAGE_CLASSES:
        raise ValueError("a storage of an unknown class")
    return StorageId(DTYPES[STORAGE_CLASSES[name]], key, length)


# ------------------------------------------------------------------------------------- the three layouts
def read_torch_file(path: str | os.PathLike) -> object:
    """Read one .pth, .pt or .pkl file.

    Returns:
        Dicts, lists, tuples, text, numbers, numpy arrays and `Tensor`.

    Raises:
        InputError: (one line, without the path) it is damaged, of another kind, too large, or names anything beyond
            tensors, arrays and plain containers.
        OSError: it cannot be opened.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        if not start:
            raise InputError("the file is empty; copy or download it again")
        if start[:4] != ZIP and start[:1] not in PICKLE:
            raise InputError(f"starts with {start!r}, so it is no torch file and no pickle; check which file this is")
        data = read_open_file(file, start)
    budget = Budget(len(data))
    try:
        if start[:4] == ZIP:
            return read_zip(data, budget)
        if is_legacy(data):
            return read_legacy(data, budget)
        embedded = {EMBEDDED: lambda content: embedded_storage(content, budget)}
        return read_object(io.BytesIO(data), budget, TORCH | embedded)
    except DAMAGE as error:
        reason = show_value(error, 120)
        raise InputError(
            f"damaged or cut short after {len(data):,} bytes ({reason}); copy or download it again"
        ) from None


def read_object(
    stream: BinaryIO,
    budget: Budget,
    meanings: Mapping[str, Callable | None] = TORCH,
    persistent: Callable[[tuple], Storage] | None = None,
) -> object:
    """Return what the next pickle of `stream` describes, and nothing beside it; the rest is as in PickleMachine."""
    machine = PickleMachine(meanings, budget, persistent)
    root = machine.run(stream)
    if machine.stack:
        raise ValueError(f"{len(machine.stack) + 1:,} objects where one is expected")
    return root


def read_zip(data: bytes, budget: Budget) -> object:
    """Return the object in a file of the zip layout."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(
            f"a zip file that torch.save did not write: {len(pickles)} data.pkl among {len(members)} members "
            f"({show_value(', '.join(list(members)[:3]), 100)}); check which file this is"
        )
    root = pickles[0].removesuffix("data.pkl")

    def refuse_compressed(name: str) -> None:
        # torch never compresses; refusing to inflate keeps a small file from growing without bound.
        if members[name].compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{show_value(name, 100)} inside the file is compressed; save it again with torch.save")

    for name in (pickles[0], f"{root}byteorder"):
        if name in members:
            refuse_compressed(name)
    big_endian = f"{root}byteorder" in members and archive.read(f"{root}byteorder").strip() == b"big"
    storages = {}

    def storage(identifier: tuple) -> Storage:
        found = storage_id(identifier)
        name = f"{root}data/{found.key}"
        if name not in members:
            raise ValueError(f"storage {found.key} is missing")
        refuse_compressed(name)
        if members[name].file_size < found.size:
            raise ValueError(f"storage {found.key} holds {members[name].file_size} bytes of {found.size}")

        def read() -> bytes:
            raw = memoryview(archive.read(name))[: found.size]
            return np.frombuffer(raw, found.raw_dtype).byteswap().tobytes() if big_endian else raw

        return storages.setdefault(found.key, Storage(found.dtype, read))

    return read_object(io.BytesIO(archive.read(pickles[0])), budget, persistent=storage)


def is_legacy(data: bytes) -> bool:
    """Tell whether the first pickle is the magic number: PROTO 2, LONG1 of ten bytes, STOP."""
    return data[2:15] == b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."


def read_legacy(data: bytes, budget: Budget) -> object:
    """Return the object in a file of the single-stream layout."""
    stream = io.BytesIO(data)
    read_object(stream, budget)  # the magic number
    protocol = read_object(stream, budget)
    if protocol != LEGACY_PROTOCOL:
        raise InputError(f"torch file of protocol {show_value(protocol)}, not {LEGACY_PROTOCOL}; save it again")
    read_object(stream, budget)  # sizes of the writer's C types; the storages are little-endian throughout
    storages, starts = {}, {}

    def raw(key: str) -> memoryview:
        return memoryview(data)[starts[key] : starts[key] + storages[key][0].size]

    def storage(identifier: tuple) -> Storage:
        found = storage_id(identifier)
        known, whole = storages.setdefault(found.key, (found, Storage(found.dtype, lambda: raw(found.key))))
        if known != found:
            raise ValueError(f"storage {found.key} is described twice, differently")
        view = identifier[5] if len(identifier) > 5 else None
        if view is None:
            return whole
        _key, offset, length = view
        if not (type(offset) is int and type(length) is int and 0 <= offset <= offset + length <= found.length):
            raise ValueError(f"storage {found.key} has a view outside itself")
        itemsize = found.raw_dtype.itemsize
        part = slice(offset * itemsize, (offset + length) * itemsize)
        return Storage(found.dtype, lambda: raw(found.key)[part])

    root = read_object(stream, budget, persistent=storage)
    keys = read_object(stream, budget)
    start = stream.tell()
    for key in keys:
        if type(key) is not str or key not in storages:
            raise ValueError("a storage that no tensor uses")
        found, _ = storages[key]
        (stored,) = struct.unpack_from("<q", data, start)
        if stored != found.length:
            raise ValueError(f"storage {key} holds {stored} numbers of {found.length}")
        starts[key] = start + 8
        start = starts[key] + found.size
        if start > len(data):
            raise ValueError(f"storage {key} ends {start - len(data):,} bytes after the end of the file")
    if absent := storages.keys() - starts.keys():
        raise ValueError(f"storage {min(absent)} is missing")
    return root


def embedded_storage(data: bytes, budget: Budget) -> Storage:
    """Return the storage that a tensor in a plain pickle carries as bytes of the single-stream layout."""
    root = read_legacy(data, budget) if is_legacy(data) else None
    if not isinstance(root, Storage):
        raise ValueError("the bytes inside a tensor are not a torch storage")
    return root
