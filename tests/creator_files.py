"""Writes torch files in their three layouts by hand, so that the tests need no torch."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np

from creator.torchfile import LEGACY_MAGIC, LEGACY_PROTOCOL

STORAGE_CLASS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


class Call:
    """Pickles as a call of any name, importable or not."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class Name(str):
    """Pickles as a bare name."""


class Persistent(tuple):
    """Pickles as a persistent id."""


class Writer(pickle._Pickler):
    """Writes names as torch's own pickles hold them, without torch."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_name(self, name):
        self.write(b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n")

    def save_call(self, call):
        self.save_name(call.name)
        self.save(call.arguments)
        self.write(pickle.REDUCE)

    def save_persistent(self, identifier):
        self.save(tuple(identifier))
        self.write(pickle.BINPERSID)

    dispatch[Name] = save_name
    dispatch[Call] = save_call
    dispatch[Persistent] = save_persistent


def dumps(value, protocol=2):
    stream = io.BytesIO()
    Writer(stream, protocol).dump(value)
    return stream.getvalue()


def storage_id(key, dtype, length, legacy=False):
    return Persistent(("storage", Name(f"torch.{STORAGE_CLASS[dtype]}"), key, "cpu", length, *([None] * legacy)))


def strided(storage, offset, shape, stride):
    return Call("torch._utils._rebuild_tensor_v2", storage, offset, shape, stride, False, OrderedDict())


def legacy_file(value, storages):
    """Single-stream layout; storages: {key: (number of elements, raw bytes)}."""
    head = [LEGACY_MAGIC, LEGACY_PROTOCOL, {"protocol_version": LEGACY_PROTOCOL, "little_endian": True}]
    parts = [dumps(part) for part in (*head, value, list(storages))]
    return b"".join(parts) + b"".join(struct.pack("<q", n) + raw for n, raw in storages.values())


def zip_file(value, storages, byteorder=None, compression=zipfile.ZIP_STORED, root="archive"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", dumps(value))
        if byteorder:
            archive.writestr(f"{root}/byteorder", byteorder)
        for key, (_, raw) in storages.items():
            archive.writestr(f"{root}/data/{key}", raw)
    return stream.getvalue()


def embedded(raw, dtype, length):
    """A storage as a plain pickle of a torch tensor carries it."""
    inner = legacy_file(storage_id("94", dtype, length, legacy=True), {"94": (length, raw)})
    return Call("torch.storage._load_from_bytes", inner)


def embedded_tensor(array):
    """A plain pickle's torch tensor with the values of an array."""
    array = np.ascontiguousarray(array)
    stride = tuple(step // array.itemsize for step in array.strides)
    return strided(embedded(array.tobytes(), array.dtype.name, array.size), 0, array.shape, stride)


def layouts(array, dtype, offset, shape, stride):
    """The same tensor in the three layouts."""
    size, raw = array.size, array.tobytes()
    in_zip = strided(storage_id("0", dtype, size), offset, shape, stride)
    in_stream = strided(storage_id("0", dtype, size, legacy=True), offset, shape, stride)
    return {
        "zip": zip_file({"x": in_zip}, {"0": (size, raw)}),
        "stream": legacy_file({"x": in_stream}, {"0": (size, raw)}),
        "pickle": dumps({"x": strided(embedded(raw, dtype, size), offset, shape, stride)}),
    }


def checkpoint_value(arrays, legacy=False, prefix="module.", **beside):
    """A published checkpoint: torch.save's value and storages, ready for `zip_file` or `legacy_file`."""
    state, storages = OrderedDict(), {}
    for i, (name, array) in enumerate(arrays.items()):
        array = np.ascontiguousarray(array)
        stride = tuple(step // array.itemsize for step in array.strides)
        identifier = storage_id(str(i), array.dtype.name, array.size, legacy)
        state[prefix + name] = strided(identifier, 0, array.shape, stride)
        storages[str(i)] = (array.size, array.tobytes())
    return {"state_dict": state, **beside}, storages
