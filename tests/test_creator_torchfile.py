"""creator.torchfile: torch files and pickles are read right, and nothing in them is run."""

import contextlib
import os
import pickle
import subprocess
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from creator_files import STORAGE_CLASS, Call, dumps, layouts, legacy_file, storage_id, strided, zip_file
from hypothesis import given, settings
from hypothesis import strategies as st

from core import InputError, show_value, unpickle
from creator.torchfile import Tensor, as_array, read_torch_file


def read_bytes(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    return read_torch_file(path)


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
@pytest.mark.parametrize("dtype", [dtype for dtype in STORAGE_CLASS if dtype != "bfloat16"])
def test_every_layout_and_type(tmp_path, layout, dtype):
    values = np.array([[1, 0, 3], [4, 5, 200]]).astype(dtype)
    read = read_bytes(tmp_path, layouts(values, dtype, 0, (2, 3), (3, 1))[layout])["x"]
    assert as_array(read).dtype == values.dtype
    np.testing.assert_array_equal(as_array(read), values)


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
def test_bfloat16_is_the_upper_half_of_float32(tmp_path, layout):
    halves = np.array([0x3F80, 0xC040, 0x7F80], np.uint16)  # 1, -3, infinity
    read = read_bytes(tmp_path, layouts(halves, "bfloat16", 0, (3,), (1,))[layout])["x"]
    assert as_array(read).tolist() == [1.0, -3.0, float("inf")]
    assert read.dtype == as_array(read).dtype == np.float32


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
@pytest.mark.parametrize(
    ("offset", "shape", "stride", "expected"),
    [
        (0, (3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),  # transposed
        (7, (2, 2), (2, 1), [[7, 8], [9, 10]]),  # a view that begins later
        (1, (3,), (4,), [1, 5, 9]),  # every fourth
        (2, (2, 3), (1, 0), [[2, 2, 2], [3, 3, 3]]),  # expanded
        (0, (0, 5), (5, 1), np.empty((0, 5)).tolist()),
        (11, (), (), 11),
    ],
)
def test_views_and_strides(tmp_path, layout, offset, shape, stride, expected):
    read = read_bytes(tmp_path, layouts(np.arange(12.0), "float64", offset, shape, stride)[layout])["x"]
    assert as_array(read).tolist() == expected
    assert read.shape == shape


def test_view_beyond_its_storage_is_refused(tmp_path):
    for data in layouts(np.arange(12.0), "float64", 0, (3, 5), (5, 1)).values():
        with pytest.raises(InputError, match="ends at number 15 of 12"):
            as_array(read_bytes(tmp_path, data)["x"])


def test_huge_expanded_view_takes_no_memory(tmp_path):
    for data in layouts(np.ones(1), "float64", 0, (10**6, 10**6), (0, 0)).values():
        assert as_array(read_bytes(tmp_path, data)["x"])[10**5, 10**5] == 1


def test_big_endian_zip(tmp_path):
    values = np.arange(5, dtype=">f4")
    tensor = strided(storage_id("0", "float32", 5), 0, (5,), (1,))
    read = read_bytes(tmp_path, zip_file(tensor, {"0": (5, values.tobytes())}, byteorder="big"))
    assert as_array(read).tolist() == [0, 1, 2, 3, 4]


def test_two_tensors_of_one_storage(tmp_path):
    both = [strided(storage_id("0", "int64", 6, True), start, (3,), (1,)) for start in (0, 3)]
    first, second = read_bytes(tmp_path, legacy_file(both, {"0": (6, np.arange(6).tobytes())}))
    assert as_array(first).tolist() + as_array(second).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_and_plain_containers(tmp_path, protocol):
    value = {
        "array": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "other end": np.arange(3, dtype=">i4"),
        "text": np.array(["GATA1", "CTCF"]),
        "number": np.float32(2.5),
        "ordered": OrderedDict(a=1, b=[2.5, None, True]),
        "mixed": ((1, 2, 3, 4), {5}, frozenset([6]), b"seven", bytearray(b"8"), -9, 2**70, "ten"),
    }
    read = read_bytes(tmp_path, pickle.dumps(value, protocol))
    for key in ("array", "columns", "other end", "text", "number"):
        np.testing.assert_array_equal(read[key], value[key])
    assert read["ordered"] == value["ordered"]
    assert read["mixed"] == value["mixed"]


def test_numpy_names_from_before_numpy_2(tmp_path):
    data = pickle.dumps({"x": np.arange(3), "y": np.float64(4)}, 2).replace(b"numpy._core", b"numpy.core")
    read = read_bytes(tmp_path, data)
    assert (read["x"].tolist(), read["y"]) == ([0, 1, 2], 4)


class Runs:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def attacks(marker):
    touch = f"touch {marker}"
    return {
        "os.system": (Runs(os.system, touch), "system"),
        "eval": (Runs(eval, f"open({str(marker)!r}, 'w')"), "eval"),
        "getattr": (Runs(getattr, touch, "upper"), "getattr"),
        "popen": (Runs(subprocess.Popen, touch), "Popen"),
        "nested": ({"E_ge": [({"deep": Runs(os.system, touch)},)]}, "system"),
        "as argument": (Runs(OrderedDict, Runs(os.system, touch)), "system"),
        "torch name": (Call("torch._utils._import_dotted_name", "os.system"), "_import_dotted_name"),
        "torch load": (Call("torch.serialization.load", "other.pth"), "torch.serialization.load"),
        "inside a tensor": (Call("torch.storage._load_from_bytes", legacy_file(Runs(os.system, touch), {})), "system"),
    }


@pytest.mark.parametrize("attack", attacks(""))
@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
def test_nothing_is_run(tmp_path, attack, layout):
    marker = tmp_path / "marker"
    value, name = attacks(marker)[attack]
    if attack == "inside a tensor" and layout != "pickle":
        name = "a storage inside a storage"  # where no tensor carries its storage, the bytes are not looked at
    data = {
        "zip": lambda: zip_file(value, {}),
        "stream": lambda: legacy_file(value, {}),
        "pickle": lambda: dumps(value),
    }[layout]()
    with pytest.raises(InputError, match=name) as refused:
        read_bytes(tmp_path, data)
    assert not marker.exists()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # protocol 0
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x02ccollections\nOrderedDict\n)R}(X\x01\x00\x00\x00aK\x01ub0cos\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # a name from the extension registry
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)Rcbuiltins\ndict\nb.",  # state from a name
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",  # state for a name
    ],
)
def test_hand_made_programs(tmp_path, data):
    with pytest.raises(InputError):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
def test_cut_short_anywhere(tmp_path, layout):
    whole = layouts(np.arange(50.0), "float64", 0, (50,), (1,))[layout]
    for length in range(0, len(whole) - 1, 7):
        with pytest.raises(InputError) as refused:
            as_array(read_bytes(tmp_path, whole[:length])["x"])
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "end", [b"}h\x00K\x01s.", b"\x8f(h\x00\x90.", b"h\x00h\x00\x93.", b"h\x00Q.", b"h\x00}R.", b"N."]
)
def test_what_doubles_fifty_times_is_refused_at_once(tmp_path, end):
    doubled = b"\x80\x04K\x01\x94" + b"0h\x00h\x00\x86q\x00" * 50
    with pytest.raises(InputError):
        read_bytes(tmp_path, doubled + b"0" + end)


def test_arrays_are_filled_wherever_they_were_memorised(tmp_path):
    array = np.arange(3)
    read = read_bytes(tmp_path, pickle.dumps([array, {"again": array}, (array, array)]))
    assert all(value is read[0] for value in (read[1]["again"], *read[2]))
    assert read[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [2, 4])
def test_thousands_of_memorised_arrays_take_linear_time(tmp_path, protocol):
    seconds = []
    for count in (1_500, 15_000):
        data = pickle.dumps([np.full(2, i) for i in range(count)], protocol)
        start = time.process_time()
        assert read_bytes(tmp_path, data)[-1].tolist() == [count - 1] * 2
        seconds.append(time.process_time() - start)
    assert seconds[1] < 40 * seconds[0] + 1  # 10 times; with the memo copied for each array, 100


def test_one_unfilled_array_memorised_and_filled_again_and_again(tmp_path):
    """Each memo entry is replaced once, however often the array is built."""
    fill = b"(K\x01K\x01\x85cnumpy\ndtype\nX\x02\x00\x00\x00i1\x85R\x89C\x01\x07tb0"
    unfilled = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\n)R"
    memorised = b"".join(b"r" + i.to_bytes(4, "little") for i in range(20_000))
    data = unfilled + memorised + b"2" * 2_000 + fill * 2_000 + b"h\x05."
    start = time.process_time()
    with pytest.raises(InputError, match="2 objects where one is expected"):
        read_bytes(tmp_path, data)
    assert time.process_time() - start < 5


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value


LONG_LIST = b"\x80\x02](" + b"N" * 100_000 + b"eq\x000"
LONG_TEXT = b"\x80\x02" + text(b"a" * 1_000_000) + b"q\x000"
STORAGE = legacy_file(storage_id("9", "uint8", 100_000, legacy=True), {"9": (100_000, bytes(100_000))})
LONG_STORAGE = b"\x80\x03B" + len(STORAGE).to_bytes(4, "little") + STORAGE + b"q\x000"
AGAIN, AGAIN_AS_LATIN1 = b"h\x01h\x00\x85R" * 100_000 + b".", b"h\x01h\x00h\x02\x86R" * 100_000 + b"."
BOMBS = {  # a few bytes each time for a copy of something large
    "list": LONG_LIST + b"cbuiltins\nlist\nq\x01" + AGAIN,
    "tuple": LONG_LIST + b"cbuiltins\ntuple\nq\x01" + AGAIN,
    "torch.Size": LONG_LIST + b"ctorch\nSize\nq\x01" + AGAIN,
    "bytes": LONG_TEXT + text(b"latin1") + b"q\x020c_codecs\nencode\nq\x01" + AGAIN_AS_LATIN1,
    "bytearray": LONG_TEXT + text(b"latin1") + b"q\x020cbuiltins\nbytearray\nq\x01" + AGAIN_AS_LATIN1,
    "storage": LONG_STORAGE + b"ctorch.storage\n_load_from_bytes\nq\x01" + AGAIN,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_small_files_that_copy_without_end_are_refused(tmp_path, bomb):
    start = time.process_time()
    with pytest.raises(InputError, match="many times more than its own size"):
        read_bytes(tmp_path, BOMBS[bomb])
    assert time.process_time() - start < 5


def test_paths_that_double_are_not_joined(tmp_path):
    path = b"\x80\x02" + text(b"a" * 16) + b"q\x00" + b"0cpathlib\nPosixPath\nh\x00h\x00\x86Rq\x00" * 60 + b"."
    assert not isinstance(read_bytes(tmp_path, path), str)


def test_endless_pickles_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MOST_STEPS", 1000)
    with pytest.raises(InputError, match="a pickle of more than 1,000 steps"):
        read_bytes(tmp_path, b"\x80\x02" + b"N0" * 1000 + b"N.")


def test_deep_nesting_is_read(tmp_path):
    for data in (b"\x80\x02)" + b"\x85" * 200_000 + b".", b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."):
        assert type(read_bytes(tmp_path, data)) in (tuple, list)


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (2**40_000, "an integer of 40,001 bits as a key"),
        (-(2**3_000_000), "an integer of 3,000,001 bits as a key"),
        (5 * (2**61 - 1) * 2**61, "as a key"),  # such integers can all have one hash
        (("a", 2**40_000), "an integer of 40,001 bits as a key"),
        (tuple(range(100)), "a key of 100 parts"),
        ("a" * 20_000, "text of 20,000 characters as a key"),
        (np.complex128(1j), "a key of type complex128"),
    ],
    ids=["40,000 bits", "3 million bits", "125 bits", "in a tuple", "long tuple", "long text", "complex"],
)
@pytest.mark.parametrize("kind", ["dict", "set"])
def test_keys_that_no_tensor_file_has_are_refused(tmp_path, key, problem, kind):
    value = {key: 1} if kind == "dict" else {key}
    for data in (pickle.dumps(value, 4), pickle.dumps(value, 2), dumps({"state_dict": {"deep": [value]}})):
        with pytest.raises(InputError, match=problem):
            read_bytes(tmp_path, data)


def test_integers_too_long_for_text_are_refused(tmp_path):
    for data in (b"I" + b"9" * 5000 + b"\n.", b"L" + b"9" * 5000 + b"L\n.", b"K\x01p" + b"9" * 5000 + b"\n."):
        with pytest.raises(InputError) as refused:
            read_bytes(tmp_path, b"(" + data if data[:1] == b"L" else data)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
@pytest.mark.parametrize(
    ("shape", "stride", "problem"),
    [
        ((1,) * 100, (1,) * 100, "100 dimensions; at most 32 are read"),
        ((0, 2**61, 2**61), (1, 1, 1), "more numbers than an array can hold"),
        ((2**61,), (0,), "more numbers than an array can hold"),
        ((2**31, 2**31, 2**31), (0, 0, 0), "more numbers than an array can hold"),
        ((2,), (2**62 - 1,), "ends at number 4611686018427387904 of 12 stored"),
    ],
    ids=["100 dimensions", "none of many", "2^61", "2^93", "far"],
)
def test_absurd_tensors_are_refused(tmp_path, layout, shape, stride, problem):
    read = read_bytes(tmp_path, layouts(np.arange(12.0), "float64", 0, shape, stride)[layout])["x"]
    with pytest.raises(InputError, match=problem):
        as_array(read)


@pytest.mark.parametrize("layout", ["zip", "stream", "pickle"])
def test_the_step_of_a_dimension_of_one_is_never_taken(tmp_path, layout):
    data = layouts(np.arange(12.0), "float64", 3, (1, 2, 1), (2**62 - 1, 4, 2**62 - 1))[layout]
    assert as_array(read_bytes(tmp_path, data)["x"]).tolist() == [[[3], [7]]]


@pytest.mark.parametrize("length", [2**62, 2**63, 2**70_000], ids=["2^62", "2^63", "2^70,000"])
def test_absurd_storages_are_refused(tmp_path, length):
    tensor = strided(storage_id("0", "float32", length), 0, (1,), (1,))
    with pytest.raises(InputError, match="persistent id"):
        read_bytes(tmp_path, zip_file({"x": tensor}, {"0": (1, bytes(4))}))


def test_names_are_escaped(tmp_path):
    for data in (
        b"cos\x1b[31m\nsys\x07tem\n.",
        zip_file(strided(storage_id("\x1b[31m\u202e\u2028", "float32", 1), 0, (1,), (1,)), {}),
        zip_file({}, {}, root="a\n\x1b[31m").replace(b"data.pkl", b"data.txt"),
    ):
        with pytest.raises(InputError) as refused:
            read_bytes(tmp_path, data)
        assert str(refused.value).isprintable()
        assert r"\x1b[31m" in str(refused.value)


def test_what_is_shown_is_one_short_line():
    assert show_value("GATA1") == "GATA1"
    assert show_value("a\nb\x1b\udc80\u202e\xa0é") == r"a\nb\x1b\udc80\u202e\xa0é"
    assert show_value("a" * 10**6, 100) == "a" * 49 + "…" + "a" * 49
    assert show_value(b"\x00" * 10**6, 10) == r"b'\x…x00'"
    assert show_value(ValueError("two\n lines")) == "two lines"
    assert show_value(ValueError()) == "ValueError"
    assert show_value(2**70) == str(2**70)
    assert show_value(2**40_000) == "an integer of 40,001 bits"
    assert show_value([[]]) == "a list"
    assert show_value(None) == "None"
    assert show_value("") == "''"
    assert show_value(np.float32(2.5)) == "2.5"
    assert show_value(np.int64(7)) == "7"


def test_only_types_of_numpy_describe_its_arrays(tmp_path):
    """numpy would read text and lists as types as well, also such as take for ever."""
    for dtype in ("f8", [("a", "f8")], None):
        data = dumps(Call("numpy._core.numeric._frombuffer", b"12345678", dtype, (1,), "C"), 3)
        with pytest.raises(InputError, match="a numpy array whose type is none"):
            read_bytes(tmp_path, data)


@pytest.mark.parametrize("protocol", [3, 5])
@pytest.mark.parametrize(
    "value", [np.array(["ab"], "<U2"), np.array(["ab"], ">U2"), np.str_("ab")], ids=["<", ">", "1"]
)
def test_text_of_characters_that_do_not_exist_is_refused(tmp_path, value, protocol):
    """numpy takes any four bytes for a character, and fails when the text is looked at."""
    data = pickle.dumps(value, protocol)
    for character, beyond in ((b"a\0\0\0", b"\0\0\x11\0"), (b"\0\0\0a", b"\0\x11\0\0")):
        data = data.replace(character, beyond)
    with pytest.raises(InputError, match="characters that do not exist"):
        read_bytes(tmp_path, data)


def test_other_kinds_of_files(tmp_path):
    for data, text in (
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b"", "empty"),
        (b"E_ge\tE_chp\n", "no torch file and no pickle"),
        (zip_file({}, {}).replace(b"data.pkl", b"data.txt"), "torch.save did not write"),
    ):
        with pytest.raises(InputError, match=text):
            read_bytes(tmp_path, data)


def test_compressed_storage_is_not_inflated(tmp_path):
    tensor = strided(storage_id("0", "uint8", 10**7), 0, (10**7,), (1,))
    data = zip_file(tensor, {"0": (10**7, bytes(10**7))}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_bytes(tmp_path, data)


WHOLE = list(layouts(np.arange(20.0), "float64", 0, (4, 5), (5, 1)).values())
WHOLE.append(pickle.dumps({"x": np.arange(20.0), "y": [1, (2, 3), {"z": None}]}, 4))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
def test_damaged_bytes_are_read_or_refused(tmp_path_factory, whole, changes):
    """Whatever happens to a file, it gives an InputError or plain data, and no other exception."""
    data = bytearray(whole)
    for position, byte in changes:
        data[position % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        root = read_torch_file(path)
        if isinstance(root, dict) and isinstance(root.get("x"), Tensor):
            root["x"].numpy()
