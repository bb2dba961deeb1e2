"""Pickles: plain data is read, whatever would run code is refused by name and does not run."""

import contextlib
import functools
import pickle
import struct
import time
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import PNG, REALDATA, one_line, write
from hypothesis import given, settings
from hypothesis import strategies as st

from core import InputError, unpickle
from core.textlists import read_pickle

PROTOCOLS = range(6)
IDS = ["AT1G01010", "AT1G01020", "Solyc01g005000.3"]


def read_back(tmp_path, content):
    return read_pickle(write(tmp_path / "genes.pickle", content))


# ------------------------------------------------------------------------------------------- what is read
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (IDS, IDS),
        (tuple(IDS), IDS),
        (set(IDS), IDS),
        (frozenset(IDS), IDS),
        ({"ara": IDS, "zea": tuple(IDS[:1]), 3: set(IDS)}, {"ara": IDS, "zea": IDS[:1], 3: IDS}),
        ({"ara": set(), "zea": []}, {"ara": [], "zea": []}),
        (["ä Ω\n", "", 7, 2**70, -1.5, True, None], ["ä Ω\n", "", 7, 2**70, -1.5, True, None]),
        (np.array(IDS), IDS),
        (np.array(IDS).astype(">U20"), IDS),
        (np.array(IDS, dtype=object), IDS),
        (np.array(IDS, dtype="S20"), IDS),
        (np.array(IDS, dtype=np.dtypes.StringDType()), IDS),
        (np.array(IDS * 2)[::3], IDS[:1] * 2),
        ({"ara": np.array(IDS)}, {"ara": IDS}),
        ([np.str_(gene) for gene in IDS], IDS),
        ({np.str_("ara"): IDS}, {"ara": IDS}),
        (np.array([1.5, -2.0], "f4"), [1.5, -2.0]),
        ([np.int64(3), np.float64(0.5)], [3, 0.5]),
        (pd.Index(IDS), IDS),
        (pd.Index(IDS, dtype=object), IDS),
    ],
)
def test_plain_data_of_every_protocol(tmp_path, content, expected, protocol):
    assert read_back(tmp_path, pickle.dumps(content, protocol)) == expected


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    "content",
    [
        pd.Series(IDS),
        pd.Series(IDS, dtype=object),
        pd.Series(IDS, index=list("xyz"), name="genes"),
        pd.Series(IDS, index=[5, 7, 9]),
        pd.Series([*IDS, "last"])[:3],
    ],
    ids=["strings", "objects", "named", "numbered", "sliced"],
)
def test_pandas_series(tmp_path, content, protocol):
    assert read_back(tmp_path, pickle.dumps(content, protocol)) == IDS
    assert read_back(tmp_path, pickle.dumps({"ara": content, "zea": content}, protocol)) == {"ara": IDS, "zea": IDS}


@pytest.mark.parametrize("protocol", range(2, 5))
@pytest.mark.parametrize(
    "content", [np.array(IDS), np.array(IDS, dtype=object), np.str_("AT1G01010")], ids=["str", "object", "scalar"]
)
def test_numpy_1_called_its_core_numpy_core(tmp_path, content, protocol):
    data = pickle.dumps(content, protocol)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    if protocol == 4:  # names there carry their length
        old = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
        old = old[:3] + struct.pack("<Q", len(old) - 11) + old[11:]
    assert old != data
    assert read_back(tmp_path, old) == (IDS if isinstance(content, np.ndarray) else "AT1G01010")


class Part:
    """Writes a pickle that calls `name`, of a library as it was years ago, with these arguments and state."""

    def __init__(self, name: str, *arguments, state=None):
        self.name, self.arguments, self.state = name, arguments, state

    def write(self) -> bytes:
        module, name = self.name.rsplit(".", 1)
        call = f"c{module}\n{name}\n".encode() + b"(" + b"".join(map(part, self.arguments)) + b"tR"
        return call + (b"" if self.state is None else part(self.state) + b"b")


def part(value) -> bytes:
    """Return the opcodes of a value that may hold `Part`s, without PROTO and STOP."""
    if isinstance(value, Part):
        return value.write()
    if isinstance(value, (tuple, list)):
        return b"(" + b"".join(map(part, value)) + (b"t" if isinstance(value, tuple) else b"l")
    if isinstance(value, dict):
        return b"(" + b"".join(part(key) + part(item) for key, item in value.items()) + b"d"
    return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"")


def old_array(ids) -> Part:
    """Return an object array as numpy 1 wrote it."""
    dtype = Part("numpy.dtype", "O8", False, True, state=(3, "|", None, None, None, -1, -1, 63))
    reconstruct = "numpy.core.multiarray._reconstruct"
    return Part(reconstruct, "ndarray", (0,), "b", state=(1, (len(ids),), dtype, False, list(ids)))


def test_pandas_of_earlier_days(tmp_path):
    """Index and Series as pandas 1 and 2 wrote them."""
    index = Part(
        "pandas.core.indexes.base._new_Index", Part("pandas.core.indexes.base.Index"), {"data": old_array(IDS)}
    )
    assert read_back(tmp_path, part(index) + b".") == IDS
    rows = Part("pandas.core.indexes.base._new_Index", Part("pandas.core.indexes.range.RangeIndex"), {"start": 0})
    manager_0 = Part("pandas.core.internals.managers.SingleBlockManager", state=([rows], [old_array(IDS)], [rows], {}))
    series_0 = Part("pandas.core.series.Series", state={"_data": manager_0, "_typ": "series", "name": None})
    assert read_back(tmp_path, part(series_0) + b".") == IDS
    block = Part("pandas._libs.internals._unpickle_block", old_array(IDS), Part("builtins.slice", 0, 3, 1), 1)
    manager_2 = Part("pandas.core.internals.managers.SingleBlockManager", block, rows)
    series_2 = Part("pandas.core.series.Series", state={"_mgr": manager_2, "_typ": "series", "name": None})
    assert read_back(tmp_path, part({"ara": series_2}) + b".") == {"ara": IDS}


@settings(max_examples=100, deadline=None)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_plain_data_reads_back_as_it_was(tmp_path_factory, content, protocol):
    assert read_back(tmp_path_factory.mktemp("pickle"), pickle.dumps(content, protocol)) == content


@pytest.mark.skipif(not (REALDATA / "formats").exists(), reason="the real validation_genes.pickle is not here")
def test_real_validation_genes():
    path = REALDATA / "formats" / "validation_genes.pickle"
    found = read_pickle(path)
    assert sorted(found) == ["ara", "sol", "sor", "zea"]
    with open(path, "rb") as file:
        assert {key: set(ids) for key, ids in found.items()} == {
            key: set(ids) for key, ids in pickle.load(file).items()
        }


# ---------------------------------------------------------------------------------------- what is refused
class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Own:
    """An instance of a class of somebody's own; __setstate__ would run."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __setstate__(self, state):
        Path(state["canary"]).touch()


class OwnDict(dict):
    pass


@pytest.fixture
def canary(tmp_path):
    """Give the path of a file that a pickle's code would make; afterwards it must not be there."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def refuse(tmp_path, content: bytes) -> str:
    """Read a pickle that must be refused and return the message, one line that names the file."""
    with pytest.raises(InputError) as error:
        read_back(tmp_path, content)
    assert "genes.pickle" in one_line(error)
    return one_line(error)


def dangerous(canary) -> dict:
    import builtins
    import os
    import subprocess

    touch = f"touch '{canary}'"
    code = f"open({str(canary)!r}, 'w').close()"
    system = Call(os.system, touch)
    return {
        "system": (system, "posix.system"),
        "eval": (Call(eval, code), "builtins.eval"),
        "exec": (Call(exec, code), "builtins.exec"),
        "getattr": (Call(getattr, Call(__import__, "os"), "system"), "builtins."),
        "import": (Call(__import__, "os"), "builtins.__import__"),
        "open": (Call(open, str(canary), "w"), ".open"),
        "Popen": (Call(subprocess.Popen, ["touch", str(canary)]), "subprocess.Popen"),
        "partial": (functools.partial(os.system, touch), "functools.partial"),
        "nested": ({"ara": ["AT1G01010", {"x": (system,)}]}, "posix.system"),
        "key": ({Call(str, "x"): 1}, "builtins.str"),
        "in a series": (pd.Series(["A", system], dtype=object), "posix.system"),
        "in an array": (np.array(["A", system], dtype=object), "posix.system"),
        "map": (Call(list, Call(map, builtins.print, ["x"])), "builtins."),
        "instance": (Own(canary), "test_pickles.Own"),
        "subclass": (OwnDict(a=1), "test_pickles.OwnDict"),
        "class": (Own, "test_pickles.Own"),
        "function": (os.system, "posix.system"),
        "ordered": (OrderedDict(a=["A"]), "collections.OrderedDict"),
        "default": (defaultdict(list, a=["A"]), "collections.defaultdict"),
        "frame": (pd.DataFrame({"a": IDS}), "pandas.DataFrame"),
        "path": (Path("x"), "pathlib"),
        "bytearray": (Call(bytearray, 10**15), "builtins.bytearray"),
        "read_pickle": (Call(pd.read_pickle, str(canary)), "pandas.read_pickle"),
        "numpy.load": (Call(np.load, str(canary)), "numpy.load"),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", list(dangerous(Path("canary"))))
def test_code_is_refused_by_name_and_does_not_run(tmp_path, canary, name, protocol):
    content, says = dangerous(canary)[name]
    message = refuse(tmp_path, pickle.dumps(content, protocol))
    if protocol < 2 and name in ("instance", "subclass", "frame", "in a series"):
        says = "copyreg._reconstructor"  # the name that comes first there
    assert says in message
    assert "nothing was run" in message


def global_(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stack_global(module: str, name: str) -> bytes:
    return b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in (module, name)) + b"\x93"


@pytest.mark.parametrize(
    ("opcodes", "says"),
    [
        (b"(S'touch CANARY'\nios\nsystem\n.", "os.system"),  # INST
        (b"(" + global_("os", "system") + b"S'touch CANARY'\no.", "os.system"),  # OBJ
        (b"\x80\x04" + stack_global("os", "system") + b"X\x01\x00\x00\x00x\x85R.", "os.system"),
        (b"\x80\x04" + stack_global("numpy", "ndarray.__class__.mro") + b")R.", "numpy.ndarray.__class__.mro"),
        (b"\x80\x04" + stack_global("numpy.core.multiarray", "os.system") + b".", "numpy.core.multiarray.os.system"),
        (b"\x80\x04" + stack_global("builtins", "set.__init__.__globals__") + b".", "builtins.set.__init__"),
        (b"\x80\x04" + stack_global("x\ny\x1b[31m", "z" * 500) + b".", r"x\ny\x1b[31m.zzz"),
        (b"Pevil\n.", "persistent"),  # PERSID
        (b"S'evil'\nQ.", "persistent"),  # BINPERSID
        (b"\x82\xf0.", "extension"),  # EXT1, EXT2, EXT4
        (b"\x83\xf0\xf0.", "extension"),
        (b"\x84\xf0\xf0\x00\x00.", "extension"),
        (b"\x97.", "buffer"),  # NEXT_BUFFER: data that is not in the file
        # BUILD on a class, as a dict and as slots: would set attributes of the class
        (global_("builtins", "set") + b"}S'add'\nI1\nsb.", "not a whole pickle"),
        (global_("builtins", "set") + b"N}S'add'\nI1\ns\x86b.", "not a whole pickle"),
        (global_("numpy", "ndarray") + b"N}S'name'\nS'x'\ns\x86b.", "not a whole pickle"),
        (global_("numpy", "ndarray") + b".", "holds a type"),
        (global_("builtins", "set") + b".", "holds a type"),
        (global_("numpy", "ndarray") + b")R.", "numpy.ndarray"),
        # an array whose bytes are a number: bytes(10**15) would fill the memory
        (
            global_("numpy.core.numeric", "_frombuffer")
            + b"(L1000000000000000L\n"
            + global_("numpy", "dtype")
            + b"(S'U1'\ntRNNtR.",
            "a bytes-like object is required",
        ),
        (b"(lp0\n(lp1\nS'x'\ns.", "not a whole pickle"),
        (b"].q\x00", None),
        (b"(S'a'\nS'b'\nt}.", None),
        (b"}((S'a'\ntI1\nu.", "not single values"),
        (b"]q\x00h\x00a.", "not a whole pickle"),  # a list that holds itself
    ],
)
def test_opcodes_that_pickles_of_data_do_not_need(tmp_path, canary, opcodes, says):
    content = opcodes.replace(b"CANARY", str(canary).encode())
    if says is None:
        read_back(tmp_path, content)
    else:
        assert says in refuse(tmp_path, content)


def test_build_cannot_change_what_is_read_next(tmp_path, canary):
    """State with a __setstate__ or a __class__ of its own stays an entry of a dict."""
    record = global_("numpy", "ndarray") + b")\x81}(S'__setstate__'\nS'x'\nS'__class__'\nS'y'\nub"
    assert "numpy.ndarray" in refuse(tmp_path, b"\x80\x02" + record + b".")
    assert read_back(tmp_path, pickle.dumps(np.array(IDS))) == IDS


def test_a_registered_extension_is_refused_too(tmp_path, canary):
    import copyreg
    import os

    copyreg.add_extension("posix", "system", 240)
    try:
        data = pickle.dumps({"x": os.system}, 2)
        assert b"\x82\xf0" in data
        assert "name 240 of the extension registry" in refuse(tmp_path, data)
    finally:
        copyreg.remove_extension("posix", "system", 240)


def test_lists_of_lists_of_lists_end(tmp_path):
    """Some 200 bytes that hold 2 ** 60 ids if every list is followed each time it stands there."""
    opcodes = b"]" + b"".join(b"q" + bytes([n]) + b"]h" + bytes([n]) + b"ah" + bytes([n]) + b"a" for n in range(60))
    assert len(read_back(tmp_path, b"\x80\x02" + opcodes + b".")) == 2


DOUBLED = b"N" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))  # a tuple of 2 ** 60
TENFOLD = b"(" + b"N" * 9 + b"t" + b"".join(b"p%d\n(" % n + b"g%d\n" % n * 10 + b"t" for n in range(20))
FROZEN = b"(N\x91" + b"".join(
    b"q" + bytes([n]) + b"(h" + bytes([n]) + b"h" + bytes([n]) + b"\x85\x91" for n in range(60)
)
LONGEST = b"(" + b"N" * 50_000 + b"tq\x00"  # a tuple of 50,000
NAMES = b"(" + b"X\x01\x00\x00\x00a" * 20_000 + b"lq\x00"  # a list of 20,000
TEXT = b"X" + struct.pack("<I", 50_000) + b"a" * 50_000 + b"q\x00"
ENCODE = b"c_codecs\nencode\n"


@pytest.mark.parametrize(
    ("opcodes", "says"),
    [
        (b"\x8f(" + DOUBLED + b"\x90.", "far longer"),  # a member of a set
        (b"(" + DOUBLED + b"\x91.", "far longer"),  # of a frozenset
        (b"}" + DOUBLED + b"Ns.", "far longer"),  # a key
        (b"}(" + DOUBLED + b"Nu.", "far longer"),
        (b"(" + DOUBLED + b"Nd.", "far longer"),
        (DOUBLED + b".", "far longer"),
        (b"cbuiltins\nset\n]" + DOUBLED + b"a\x85R.", "far longer"),
        (b"cbuiltins\nfrozenset\n" + DOUBLED + b"\x85R.", "far longer"),
        (b"c__builtin__\nset\n" + DOUBLED + b"\x85\x81.", "far longer"),
        (b"N" + b"2\x86" * 60 + b".", "far longer"),  # DUP
        (b"N" + b"q\x00h\x00h\x00\x87" * 60 + b".", "far longer"),
        (TENFOLD + b".", "far longer"),
        (b"}N" + b"\x85" * 1_000_000 + b"Ns.", "not single values"),  # no stack is as deep
        (b"\x8f(N" + b"\x85" * 101 + b"\x90.", ""),
        (b"(" + b"(" * 500_000 + b"t" * 500_000 + b"t.", "tuples inside tuples"),
        (LONGEST + b"0\x8f(" + b"h\x00" * 50_000 + b"\x90.", "far longer"),  # hashed for each place where it stands
        (LONGEST + b"0\x8f(" + b"h\x00N\x86" * 50_000 + b"\x90.", "far longer"),
        (b"(" + b"N" * 50_000 + b"t" + b"2" * 50_000 + b"l.", "far longer"),
        (NAMES + b"(" + b"cbuiltins\nset\nh\x00\x85R" * 5_000 + b"l.", "far longer"),  # copied each time
        (b"]q\x00\x85q\x01(" + b"X\x01\x00\x00\x00a" * 20_000 + b"l.", None),
        (b"]q\x00\x85q\x010h\x00(" + b"N" * 50_000 + b"e(" + b"cbuiltins\nset\nh\x01R" * 5_000 + b"l.", "far longer"),
        (TEXT + b"(" + (ENCODE + b"h\x00X\x06\x00\x00\x00latin1\x86R") * 5_000 + b"l.", "far longer"),
        # frozensets inside each other, 2 ** 60 if written out
        (FROZEN + b".", "a key of type frozenset; keys that are not single values"),
        (b"(" * 1_000 + b"N" + b"\x91" * 1_000 + b".", "a key of type frozenset; keys that are not single"),
        (b"\x8f(" + global_("numpy", "dtype") + b")R\x90.", "numpy.dtype"),
        (b"(" * 100_000 + b"l" * 100_000 + b".", "lists inside lists"),
        (b"}N" * 100_000 + b"s" * 100_000 + b".", ""),
        (b"N" * 100_000 + b"(t" * 100_000 + b".", None),
        (b"\x8b" + struct.pack("<I", 400_000) + b"\x7f" * 400_000 + b".", "a whole number of 3,199,999 bits"),
        (b"}\x8b" + struct.pack("<I", 400_000) + b"\x7f" * 400_000 + b"Ns.", "an integer of 3,199,999 bits as a key"),
        (b"(\x8b" + struct.pack("<I", 400_000) + b"\xff" * 399_999 + b"\x80l.", "whole number of 3,1"),
        (b"L" + b"9" * 1_000_000 + b"L\n.", "not a whole pickle"),
        (b"I" + b"9" * 1_000_000 + b"\n.", "not a whole pickle"),
        (b"Np" + b"9" * 1_000_000 + b"\n.", "not a whole pickle"),
        (b"g" + b"9" * 1_000_000 + b"\n.", "not a whole pickle"),
        (b"Nq\x00h\x01.", "its memo has no value 1"),
        (b"K\x01Na.", "not a whole pickle"),
    ],
)  # fmt: skip
def test_what_costs_more_than_its_length_is_refused_at_once(tmp_path, opcodes, says):
    began = time.process_time()
    if says is None:
        read_back(tmp_path, b"\x80\x04" + opcodes)
    else:
        assert says in refuse(tmp_path, b"\x80\x04" + opcodes)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("a" * 20_000, "text of 20,000 characters as a key"),
        (5 * (2**61 - 1) * 2**61, "as a key; at most 64 bits"),  # such integers can all have one hash
        (tuple("ABCDEFGHI"), "a key of 9 parts"),
        (np.complex128(1j), "a key of type complex128"),
        (("A", "B"), "not single values"),
    ],
    ids=["long text", "large", "long tuple", "complex", "tuple"],
)
@pytest.mark.parametrize("kind", ["dict", "set"])
def test_keys_that_lists_of_genes_do_not_need(tmp_path, key, says, kind):
    for protocol in (2, 4):
        assert says in refuse(tmp_path, pickle.dumps({key: ["A"]} if kind == "dict" else {key}, protocol))


def test_steps_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MOST_STEPS", 1000)
    assert len(read_back(tmp_path, pickle.dumps([f"g{n}" for n in range(400)]))) == 400
    assert "more than 1,000 steps" in refuse(tmp_path, pickle.dumps([f"g{n}" for n in range(600)]))


def test_ordinary_pickles_cost_little(tmp_path):
    """Tuples, ids that stand in many lists, and numbers of a length that somebody may have."""
    same = tuple(f"AT1G{n:05}" for n in range(3_000))
    content = {"a": same, "b": same, "c": [same, same], "d": [(gene, (n, n)) for n, gene in enumerate(same)]}
    for protocol in PROTOCOLS:
        found = read_back(tmp_path, pickle.dumps(content, protocol))
        assert found["a"] == found["b"] == found["c"][1] == list(same)
        assert found["d"][7] == ["AT1G00007", [7, 7]]
    assert read_back(tmp_path, pickle.dumps([2**1000])) == [2**1000]
    assert read_back(tmp_path, pickle.dumps({frozenset(): 1}.keys() and [frozenset(same)])) == [list(same)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        PNG,
        b"gene_id,x\nA,1\n",
        b"\x80\x04.",
        b".",
        pickle.dumps({"ara": IDS * 50})[:-20],
        pickle.dumps(np.array(IDS))[:-40],
        b"\x80\x63" + pickle.dumps(IDS)[2:],
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"]r\xff\xff\xff\x7fj\xff\xff\xff\x6f.",  # the memo's entry of number 2 ** 31
    ],
    ids=["empty", "png", "text", "nothing", "stop", "cut", "cut-array", "protocol-99", "huge-bytes", "huge-memo"],
)
def test_what_is_not_a_whole_pickle(tmp_path, content):
    assert "not a whole pickle" in refuse(tmp_path, content)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_pickles_end_in_data_or_one_line(tmp_path_factory, data):
    """Bytes exchanged anywhere in a real pickle never end in another exception, nor in gigabytes of memory."""
    source = data.draw(st.sampled_from([{"ara": IDS, "zea": set(IDS)}, np.array(IDS), pd.Series(IDS)]))
    content = bytearray(pickle.dumps(source, data.draw(st.integers(2, 5))))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 127))
    with contextlib.suppress(InputError):
        read_back(tmp_path_factory.getbasetemp(), bytes(content))
