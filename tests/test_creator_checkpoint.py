"""creator.checkpoint and CREaTor.py: what is accepted, what is refused in one line, and the real script."""

import io
import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict
from pathlib import Path

import h5py
import numpy as np
import pytest
from creator_files import checkpoint_value, dumps, embedded, embedded_tensor, legacy_file, storage_id, strided, zip_file
from creator_plain import plain_expression, random_arrays, random_input

import CREaTor
from core import InputError, memory
from creator.checkpoint import (
    CreatorInput,
    is_keras_file,
    keras_shapes,
    published_shapes,
    read_input,
    read_published_arrays,
)

EXAMPLE = 3.9370  # what example/run_example.sh prints; the rule of the made-up world says 4.109
ROOT = Path(__file__).resolve().parents[1]
BESIDE = {
    "epoch": 7,
    "optimizer": {"state": {0: {"step": 3, "exp_avg": np.zeros(4)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
    "args": Namespace(width=256),
    "best": np.float64(0.5),
    "history": OrderedDict(loss=[1.0, 0.5]),
}


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(21)


@pytest.fixture(scope="module")
def checkpoint(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "chk.pth"
    path.write_bytes(zip_file(*checkpoint_value(arrays, **BESIDE)))
    return path


def write_input(path, torch=False, changes=None, **more):
    values = dict(zip(CreatorInput._fields, random_input(22, 4, 50), strict=True)) | (changes or {}) | more
    values = {key: value for key, value in values.items() if value is not None}
    if torch:
        values = {key: embedded_tensor(value) for key, value in values.items()}
    path.write_bytes(dumps(values) if torch else pickle.dumps(values))
    return path


def refused(capfd, *arguments):
    """The one line of a run that ends with status 2."""
    assert CREaTor.main([str(argument) for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_published_layout_has_87_arrays():
    shapes = published_shapes()
    assert len(shapes) == 87
    assert sum(np.prod(shape) for shape in shapes.values()) == 5_068_545


@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("layout", ["zip", "stream"])
def test_published_file_is_read(arrays, tmp_path, layout, prefix):
    write = zip_file if layout == "zip" else legacy_file
    path = tmp_path / "chk.pth"
    path.write_bytes(write(*checkpoint_value(arrays, layout == "stream", prefix, **BESIDE)))
    read = read_published_arrays(path)
    assert list(read) == list(published_shapes())
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_bare_state_dict_in_half_precision(arrays, tmp_path):
    value, storages = checkpoint_value({n: a.astype(np.float16) for n, a in arrays.items()})
    path = tmp_path / "chk.pth"
    path.write_bytes(zip_file(value["state_dict"], storages))
    read = read_published_arrays(path)
    assert all(array.dtype == np.float32 for array in read.values())
    np.testing.assert_allclose(read["fc.0.weight"], arrays["fc.0.weight"], rtol=1e-3)


def test_checkpoint_of_another_network_lists_what_differs(arrays, tmp_path, capfd):
    path = tmp_path / "chk.pth"
    other = dict(arrays)
    del other["fc.0.bias"]
    other["layer_norm_after.weight"] = np.ones(128, np.float32)
    other["encoder2.layers.4.norm1.weight"] = np.ones(256, np.float32)
    other["epochs_seen"] = np.ones(1, np.float32)  # no part of the network: passed over
    path.write_bytes(zip_file(*checkpoint_value(other)))
    line = refused(capfd, "-i", write_input(tmp_path / "input.pkl"), "-c", path)
    assert "1 missing: fc.0.bias (1,);" in line
    assert "1 of another shape or type: layer_norm_after.weight is float32 (128,), not (256,);" in line
    assert "1 too many: encoder2.layers.4.norm1.weight)" in line

    path.write_bytes(zip_file(*checkpoint_value({"conv1.weight": np.ones((64, 3), np.float32)})))
    assert "87 missing: embed_genome.0.weight (6, 256)" in refused(capfd, "convert", path, tmp_path / "m.keras")


def test_diverged_checkpoint(arrays, tmp_path):
    bad = {**arrays, "fc.0.bias": np.float32([np.nan])}
    path = tmp_path / "chk.pth"
    path.write_bytes(zip_file(*checkpoint_value(bad)))
    with pytest.raises(InputError, match=r"fc.0.bias holds nan at \[0\]"):
        read_published_arrays(path)


@pytest.mark.parametrize("torch", [True, False])
def test_input_is_read(tmp_path, torch):
    read = read_input(write_input(tmp_path / "input.pkl", torch))
    for array, expected in zip(read, random_input(22, 4, 50), strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def test_input_of_neighbouring_genes_and_smaller_types(tmp_path):
    tokens, signal, positions, tss, window = random_input(23, 3, 10, genes=2)
    path = write_input(
        tmp_path / "input.pkl",
        **{"E_ge": tokens.astype(np.int32), "E_chp": signal.astype(np.float64), "E_pos": positions},
        **{"G_pos": tss, "G_gpos": window},
    )
    read = read_input(path)
    assert [array.dtype.name for array in read] == ["int64", "float32", "int64", "int64", "int64"]
    assert read.G_gpos.shape == (2, 700)


WRONG_INPUTS = {
    "no cCRE": ({"E_ge": np.zeros((0, 50), np.int64)}, "shape (0, 50), no cCRE at all"),
    "no gene": ({"G_pos": np.zeros(0, np.int64)}, "no gene at all"),
    "float positions": ({"E_pos": np.arange(4) + 0.5}, "E_pos holds float64 (first value 0.5)"),
    "float TSS": ({"G_pos": np.float32([5e6])}, "G_pos holds float32 (first value 5000000.0)"),
    "uint8 tokens": ({"E_ge": np.ones((4, 50), np.uint8)}, "save E_ge.long()"),
    "float tokens": ({"E_ge": np.ones((4, 50))}, "E_ge holds float64"),
    "odd W": ({"E_ge": np.ones((4, 52), np.int64)}, "W = 52 bases a cCRE, which is not a multiple of 5"),
    "W of 3": ({"E_ge": np.ones((4, 3), np.int64)}, "cut or pad (token 0) to 5"),
    "token 6": ({"E_ge": np.full((4, 50), 6)}, "E_ge holds 6 at [0, 0] and 199 more"),
    "token -1": ({"E_ge": np.full((4, 50), -1)}, "E_ge holds -1"),
    "15 channels": ({"E_chp": np.zeros((4, 50, 15), np.float32)}, "E_chp has 15 channels"),
    "short signal": ({"E_chp": np.zeros((4, 45, 16), np.float32)}, "it must be (4, 50, 16)"),
    "nan signal": ({"E_chp": np.full((4, 50, 16), np.nan, np.float32)}, "nan at [0, 0, 0] and 3,199 more"),
    "signal of text": ({"E_chp": np.full((4, 50, 16), "a")}, "E_chp holds <U1"),
    "missing key": ({"E_pos": None, "G_gpos": None}, "has no E_pos, G_gpos (it holds 'E_ge', 'E_chp', 'G_pos')"),
    "a list": ({"E_pos": [1, 2, 3, 4]}, "E_pos is a list where an array is expected"),
    "too many positions": ({"E_pos": np.arange(5)}, "E_pos has shape (5,); it must be (4,)"),
    "short gene window": ({"G_gpos": np.zeros((1, 699), np.int64)}, "it must be (1, 700)"),
    "flat signal": ({"E_chp": np.zeros((4, 50), np.float32)}, "E_chp has shape (4, 50); it must be (N, W, 16)"),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_wrong_input_is_one_line(tmp_path, capfd, case):
    changes, text = WRONG_INPUTS[case]
    line = refused(capfd, "-i", write_input(tmp_path / "input.pkl", **changes))
    assert line.startswith(f"CREaTor.py: {tmp_path}/input.pkl: ")
    assert text in line


def test_default_checkpoint_is_beside_the_script_or_in_the_working_directory(tmp_path, capfd, monkeypatch):
    script, working = tmp_path / "script", tmp_path / "working"
    for folder in (script, working):
        (folder / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr(CREaTor, "SCRIPT_FOLDER", script)
    monkeypatch.chdir(working)
    for flag in ("-i", "--pkl", "--input"):
        line = refused(capfd, flag, write_input(tmp_path / "input.pkl"))
        assert "no checkpoint checkpoints/chk.pth" in line
        assert f"{script}/checkpoints/chk.pth" in line
        assert f"{working}/checkpoints/chk.pth" in line
        assert "README" in line
    (working / "checkpoints/chk.pth").touch()
    assert CREaTor.find_checkpoint() == working / "checkpoints/chk.pth"
    (script / "checkpoints/chk.pth").touch()
    assert CREaTor.find_checkpoint() == script / "checkpoints/chk.pth"
    assert "no checkpoint absent.pth;" in refused(capfd, "-i", tmp_path / "input.pkl", "-c", "absent.pth")


WRONG_ARGUMENTS = {
    (): "CREaTor.py: give an input: -i INPUT",
    ("-x",): "CREaTor.py: no flag -x; --help lists the flags",
    ("-i", "a", "-x"): "no flag -x",
    ("foo",): "no command 'foo'; give an input with -i INPUT",
    ("-i", "a", "foo"): "no command 'foo'",
    ("-i",): "expected one argument",
    ("--pkl",): "expected one argument",
    ("-c", "a"): "give an input",
    ("--inp", "a"): "no flag --inp; did you mean --input?",
    ("--check", "a"): "no flag --check; did you mean --checkpoint?",
    ("convert",): "required: chk.pth, model.keras",
    ("convert", "a"): "required: model.keras",
    ("convert", "a", "b", "c"): "convert takes two files and nothing else",
    ("convert", "a", "b.keras", "-i", "c"): "convert takes two files",
    ("-i", "c", "convert", "a", "b.keras"): "convert takes two files",
    ("-c", "c", "convert", "a", "b.keras"): "convert takes two files",
    ("--a\n\x1b[31mb",): r"no flag --a\n\x1b[31mb",
    ("a\n\x1b[31mb",): r"no command 'a\n\x1b[31mb'",
}


@pytest.mark.parametrize("arguments", WRONG_ARGUMENTS, ids=ascii)
def test_wrong_arguments_are_one_line(capfd, arguments):
    with pytest.raises(SystemExit, match="2"):
        CREaTor.main(arguments)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert WRONG_ARGUMENTS[arguments] in err


def test_file_names_with_control_characters_are_escaped(tmp_path, capfd, checkpoint):
    wrong = tmp_path / "a\n\x1b[31mb.pkl"
    assert r"a\n\x1b[31mb.pkl: No such file" in refused(capfd, "-i", wrong)
    wrong.write_bytes(b"E_ge")
    assert r"a\n\x1b[31mb.pkl: starts with b'E_ge'" in refused(capfd, "-i", wrong)
    good = write_input(tmp_path / "input.pkl")
    assert r"a\n\x1b[31mb.pkl: starts with" in refused(capfd, "-i", good, "-c", wrong)
    assert r"a\n\x1b[31mb.pkl: a converted model is" in refused(capfd, "convert", checkpoint, wrong)
    assert r"there is no folder " in refused(capfd, "convert", checkpoint, tmp_path / "\n" / "model.keras")


def test_unreadable_files_are_one_line(tmp_path, capfd, checkpoint):
    good = write_input(tmp_path / "input.pkl")
    assert "No such file" in refused(capfd, "-i", tmp_path / "absent.pkl")
    assert "Is a directory" in refused(capfd, "-i", tmp_path)
    picture = tmp_path / "chk.pth"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert "PNG" in refused(capfd, "-i", good, "-c", picture)
    assert "PNG" in refused(capfd, "-i", picture)
    picture.write_bytes(checkpoint.read_bytes()[:1_000_000])
    assert "damaged or cut short" in refused(capfd, "-i", good, "-c", picture)
    assert "must" not in refused(capfd, "convert", picture, tmp_path / "m.keras")
    assert "ends in .keras" in refused(capfd, "convert", checkpoint, tmp_path / "model.h5")


def test_pipes_are_read_where_once_is_enough(tmp_path, capfd):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    good = write_input(tmp_path / "input.pkl")
    assert "is a pipe or a device" in refused(capfd, "-i", good, "-c", pipe)
    assert "starts with" in refused(capfd, "-i", "/dev/zero")
    writer = threading.Thread(target=lambda: pipe.write_bytes(good.read_bytes()))
    writer.start()
    np.testing.assert_array_equal(read_input(pipe).E_ge, read_input(good).E_ge)
    writer.join()


BIG = 2**40_000  # Python writes no integer of more than 4,300 digits
HOSTILE_INPUTS = {
    "signal of 1e308": ({"E_chp": np.full((4, 50, 16), 1e308)}, "E_chp holds 1e+308 at [0, 0, 0] and 3,199 more"),
    "signal of 3e38": ({"E_chp": np.full((4, 50, 16), 3e38, np.float32)}, "signal lies between -1e+09 and 1e+09"),
    "signal of -1e10": ({"E_chp": np.full((4, 50, 16), -1e10)}, "E_chp holds -10000000000.0"),
    "infinite signal": ({"E_chp": np.full((4, 50, 16), -np.inf)}, "E_chp holds -inf"),
    "last TSS": ({"G_pos": np.array([2**63 - 1])}, "G_pos holds 9223372036854775807 at [0]; coordinates in bp lie"),
    "first cCRE": ({"E_pos": np.full(4, -(2**63))}, "E_pos holds -9223372036854775808 at [0] and 3 more"),
    "far gene window": ({"G_gpos": np.full((1, 700), 10**12 + 1)}, "G_gpos holds 1000000000001"),
    "W of 500,000": (
        {
            **{"E_ge": np.ones((1, 500_000), np.int64), "E_chp": np.zeros((1, 500_000, 16), np.float32)},
            "E_pos": np.zeros(1, np.int64),
        },
        "W = 500,000 bases a cCRE; at most 20,000 are read",
    ),
    "huge integer": ({"E_pos": BIG}, "E_pos is an integer of 40,001 bits where an array is expected"),
    "huge key": ({BIG: 1}, "has an integer of 40,001 bits as a key"),
    "huge key in a tuple": ({(1, BIG): 1}, "has an integer of 40,001 bits as a key"),
    "text": ({"E_pos": np.array(["\n\x1b[31m"] * 4)}, r"E_pos holds <U6 (first value \n\x1b[31m)"),
    "keys with control characters": ({"E_pos": None, "\n\x1b[31m": 1}, r"'G_gpos', '\n\x1b[31m')"),
}


@pytest.mark.parametrize("case", HOSTILE_INPUTS)
def test_hostile_input_is_one_line(tmp_path, capfd, case):
    changes, text = HOSTILE_INPUTS[case]
    line = refused(capfd, "-i", write_input(tmp_path / "input.pkl", changes=changes))
    assert text in line
    assert line[:-1].isprintable()


def test_negative_signal_and_coordinates_are_read(tmp_path):
    changes = {"E_chp": np.full((4, 50, 16), -1e9), "E_pos": np.full(4, -(10**12))}
    read = read_input(write_input(tmp_path / "input.pkl", changes=changes))
    assert read.E_chp.dtype == np.float32
    assert read.E_pos.tolist() == [-(10**12)] * 4


def expanded(*shape, dtype="int64"):
    """A torch tensor of any shape whose numbers are all the same one in the file."""
    return strided(embedded(bytes(8), dtype, 8 // np.dtype(dtype).itemsize), 0, shape, (0,) * len(shape))


def write_expanded(path, **changes):
    values = {
        key: embedded_tensor(value) for key, value in zip(CreatorInput._fields, random_input(22, 4, 50), strict=True)
    }
    path.write_bytes(dumps(values | changes))
    return path


@pytest.mark.parametrize("key", CreatorInput._fields)
@pytest.mark.parametrize("shape", [(1,) * 100, (0, 2**61, 2**61), (2**61,), (2**61, 5), (2**40, 2**40, 16), ()])
def test_absurd_shapes_are_one_line(tmp_path, capfd, key, shape):
    line = refused(capfd, "-i", write_expanded(tmp_path / "input.pkl", **{key: expanded(*shape)}))
    assert "shape" in line
    assert len(line) < 400


def test_expanded_tensors_are_refused_before_they_are_read(tmp_path, capfd):
    """A file of some kilobytes that asks for terabytes: by its bases, by its pairs of cCREs, by its genes."""
    for count, length in ((10**8, 10_000), (10**6, 5)):
        elements = {
            **{"E_ge": expanded(count, length), "E_chp": expanded(count, length, 16, dtype="float32")},
            "E_pos": expanded(count),
        }
        line = refused(capfd, "-i", write_expanded(tmp_path / "input.pkl", **elements))
        assert f"an input of N = {count:,}, W = {length:,} and G = 1 takes about" in line
    genes = {"G_pos": expanded(10**11), "G_gpos": expanded(10**11, 700)}
    assert "G = 100,000,000,000 takes" in refused(capfd, "-i", write_expanded(tmp_path / "input.pkl", **genes))


def test_the_step_of_a_dimension_of_one_does_not_matter(tmp_path):
    tss = strided(embedded(np.array([7]).tobytes(), "int64", 1), 0, (1,), (2**62 - 1,))
    assert read_input(write_expanded(tmp_path / "input.pkl", G_pos=tss)).G_pos.tolist() == [7]


def test_memory_is_asked_for_before_it_is_taken(tmp_path, capfd, monkeypatch):
    good = write_input(tmp_path / "input.pkl")
    monkeypatch.setattr(memory, "free_memory", lambda: 10_000)
    assert "reading the file takes about" in refused(capfd, "-i", good)
    many = dict(zip(CreatorInput._fields, random_input(24, 300, 50), strict=True))
    monkeypatch.setattr(memory, "free_memory", lambda: 8_000_000)
    line = refused(capfd, "-i", write_input(good, changes=many), "-c", ROOT / "example" / "model.keras")
    assert "300 cCREs of 50 bases take about" in line


def test_free_memory_knows_the_limits_of_containers_and_shells(tmp_path, monkeypatch):
    free = memory.free_memory()
    assert 10**7 < free < 10**14
    limit = tmp_path / "limit"
    limit.write_text("1000000\n")
    monkeypatch.setattr(memory, "CONTAINER_LIMITS", [limit, tmp_path / "absent"])
    assert memory.free_memory() == 0  # this process has more than that
    limit.write_text(f"{10**15}\n")
    assert memory.free_memory() > 10**7
    limit.write_text("max\n")
    assert memory.free_memory() > 10**7
    monkeypatch.setattr(memory.resource, "getrlimit", lambda which: (memory._own_memory()[0] + 5_000_000, -1))
    assert 0 < memory.free_memory() <= 6_000_000


def test_names_in_a_checkpoint_are_escaped(arrays, tmp_path, capfd):
    good, path = write_input(tmp_path / "input.pkl"), tmp_path / "chk.pth"
    name = "fc.\n\nTraceback: \x1b[31mfake"
    path.write_bytes(zip_file(*checkpoint_value(arrays | {name: np.ones(1, np.float32)})))
    line = refused(capfd, "-i", good, "-c", path)
    assert r"1 too many: fc.\n\nTraceback: \x1b[31mfake)" in line
    many = {f"fc.{i}": np.ones(1, np.float32) for i in range(2000)}
    path.write_bytes(zip_file(*checkpoint_value(arrays | many)))
    assert "2,000 too many: fc.0, fc.1, fc.2, ...)" in refused(capfd, "-i", good, "-c", path)


def test_hostile_checkpoints_are_one_line(arrays, tmp_path, capfd):
    good, path = write_input(tmp_path / "input.pkl"), tmp_path / "chk.pth"

    def line_of(value, storages):
        path.write_bytes(zip_file(value, storages))
        return refused(capfd, "-i", good, "-c", path)

    assert "has an integer of 40,001 bits as a key" in line_of(*checkpoint_value(arrays, optimizer={BIG: 1}))
    assert "fc.0.bias is an integer of 40,001 bits, not (1,)" in line_of({"fc.0.bias": BIG}, {})
    for shape in ((1,) * 10_000, (0, 2**61, 2**61), (2**61,)):
        bias = strided(storage_id("0", "float32", 1), 0, shape, (0,) * len(shape))
        line = line_of({"fc.0.bias": bias}, {"0": (1, bytes(4))})
        assert "fc.0.bias is float32 (" in line
        assert len(line) < 600
    value, storages = checkpoint_value(arrays)
    bias = strided(storage_id("one", "float64", 1), 0, (1,), (1,))
    value["state_dict"]["module.fc.0.bias"], storages["one"] = bias, (1, np.float64(1e308).tobytes())
    assert "fc.0.bias holds 1e+308 at [0]; training diverged" in line_of(value, storages)
    value["state_dict"]["module.fc.0.bias"] = strided(storage_id("one", "float64", 1), 2**61, (1,), (1,))
    assert "fc.0.bias is damaged: a tensor of shape (1,) ends at number 2305843009213693953" in line_of(value, storages)


def test_names_that_are_no_text_are_passed_over(arrays, tmp_path):
    value, storages = checkpoint_value(arrays)
    value["state_dict"].update({5: 1, (1, "a"): 2})
    path = tmp_path / "chk.pth"
    path.write_bytes(zip_file(value, storages))
    np.testing.assert_array_equal(read_published_arrays(path)["fc.0.bias"], arrays["fc.0.bias"])


def test_a_network_without_a_finite_output_prints_none(arrays, tmp_path, capfd):
    good, path = write_input(tmp_path / "input.pkl"), tmp_path / "chk.pth"
    path.write_bytes(zip_file(*checkpoint_value({name: np.float32(1e30) * a for name, a in arrays.items()})))
    line = refused(capfd, "-i", good, "-c", path)
    assert "output for gene 1 of 1 is nan, no finite number" in line


def keras_file(path, config, weights=b"\x89HDF\r\n\x1a\n no more", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("config.json", config if isinstance(config, str) else creator_config(config))
        archive.writestr("model.weights.h5", weights)
    return path


def creator_config(sizes):
    return json.dumps({"class_name": "Creator", "config": sizes})


SMALL = {"width": 8, "heads": 2, "hidden": 8, "element_layers": 1, "regulation_layers": 1}
WRONG_KERAS_FILES = {
    "no JSON": ("{", "damaged .keras file"),
    "nested": ("[" * 200_000, "damaged .keras file"),
    "a list": ("[]", "damaged .keras file"),
    "another class": ('{"class_name": "Sequential", "config": {}}', "Keras model of class 'Sequential'"),
    "a class with control characters": (r'{"class_name": "a\n\u001b[31m", "config": {}}', r"class 'a\n\x1b[31m'"),
    "a float": ('{"class_name": "Creator", "config": {"width": 1e9}}', "must be a whole number"),
    "true": (SMALL | {"width": True}, "width True, heads 2"),
    "an integer of 4,000 digits": (SMALL | {"width": 10**4000}, "width an integer of 13,288 bits"),
    "an integer of 5,000 digits": ('{"class_name": "Creator", "config": {"width": 9' + "9" * 5000 + "}}", "damaged"),
    "text": (SMALL | {"width": "\n\x1b[31m" * 1000}, r"width \n\x1b[31m"),
    "heads": (SMALL | {"heads": 3}, "multiple of its 3 heads"),
    "8192 throughout": (dict.fromkeys(SMALL, 8192), "of layers to 64"),
    "8192 wide": (SMALL | {"width": 8192}, "numbers, its model.weights.h5 has 16 bytes"),
    "deep": (SMALL | {"element_layers": 64, "regulation_layers": 64}, "its model.weights.h5 has 16 bytes"),
}


@pytest.mark.parametrize("case", WRONG_KERAS_FILES)
def test_wrong_keras_files_are_one_line(tmp_path, capfd, case):
    config, text = WRONG_KERAS_FILES[case]
    path = keras_file(tmp_path / "model.keras", config)
    line = refused(capfd, "-i", write_input(tmp_path / "input.pkl"), "-c", path)
    assert text in line
    assert line[:-1].isprintable()
    assert len(line) < 600


def test_damaged_weights_of_keras_files_are_one_line(tmp_path, capfd):
    good, path = write_input(tmp_path / "input.pkl"), tmp_path / "model.keras"
    keras_file(path, SMALL, b"no HDF5")
    assert "weights that are not HDF5" in refused(capfd, "-i", good, "-c", path)
    path.write_bytes(path.read_bytes().replace(b"no HDF5", b"NO HDF5"))
    assert "damaged .keras file (Bad CRC-32 for file 'model.weights.h5')" in refused(capfd, "-i", good, "-c", path)


def test_keras_files_are_not_inflated_without_bound(tmp_path, capfd):
    good, path = write_input(tmp_path / "input.pkl"), tmp_path / "model.keras"
    keras_file(path, " " * 50_000_000, compression=zipfile.ZIP_DEFLATED)
    assert "has a config.json of 50,000,000 bytes" in refused(capfd, "-i", good, "-c", path)
    weights = b"\x89HDF\r\n\x1a\n" + bytes(150_000_000)
    keras_file(path, SMALL, weights, zipfile.ZIP_DEFLATED)
    assert "its model.weights.h5 has 150,000,008 bytes" in refused(capfd, "-i", good, "-c", path)


def edited_weights(edit):
    """The weights of the example's model after `edit` changed the HDF5 file."""
    with zipfile.ZipFile(ROOT / "example" / "model.keras") as archive:
        stream = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(stream, "r+") as file:
        edit(file)
    return stream.getvalue()


def replaced(name, value):
    def edit(file):
        if name in file:
            del file[name]
        file[name] = value(file) if callable(value) else value

    return edited_weights(edit)


EXAMPLE_SIZES = {"width": 64, "heads": 8, "hidden": 128, "element_layers": 1, "regulation_layers": 4}
KERAS_WEIGHTS = {
    "an empty one": ({}, lambda: replaced("x", h5py.Empty("f4")), "damaged"),
    "other sizes": ({"hidden": 127}, lambda: edited_weights(len), "5 of (64, 127) missing"),
    "other heads": ({"heads": 2}, lambda: edited_weights(len), "6 of (64, 2) missing, 6 of (64, 8) too many"),
    "an array too many": ({}, lambda: replaced("more\n\x1b", np.zeros(3, np.float32)), "1 of (3,) too many"),
    "text": ({}, lambda: replaced("head/vars/0", np.zeros((64, 1), "S5")), "0 is no array of floats"),
    "a link": ({}, lambda: replaced("head", h5py.ExternalLink("/etc/hostname", "x")), "head is a link to elsewhere"),
    "a circle": ({}, lambda: replaced("layers/again", lambda file: file["layers"]), "more than 10,000 groups"),
    "no number": ({}, lambda: replaced("head/vars/1", np.full(1, np.nan, np.float32)), "not finite; training diverged"),
}


@pytest.mark.parametrize("case", KERAS_WEIGHTS)
def test_weights_that_do_not_fit_the_sizes_are_one_line(tmp_path, capfd, case):
    sizes, weights, text = KERAS_WEIGHTS[case]
    path = keras_file(tmp_path / "model.keras", EXAMPLE_SIZES | sizes, weights())
    line = refused(capfd, "-i", write_input(tmp_path / "input.pkl"), "-c", path)
    assert text in line
    assert line[:-1].isprintable()


def test_shapes_of_a_keras_model_are_those_of_its_network():
    from creator.network import Creator

    sizes = {"width": 6, "heads": 3, "hidden": 7, "element_layers": 1, "regulation_layers": 2}
    shapes = [tuple(variable.shape) for variable in Creator(**sizes).weights]
    assert keras_shapes(**sizes) == Counter(shapes)


def test_compressed_models_and_those_with_an_optimizer_are_read(tmp_path, capfd):
    weights = replaced("optimizer/vars/0", np.zeros(3, np.float32))
    with zipfile.ZipFile(ROOT / "example" / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))["config"]  # with the reach of its training
    path = keras_file(tmp_path / "model.keras", config, weights, zipfile.ZIP_DEFLATED)
    assert CREaTor.main(["-i", str(ROOT / "example" / "input.pkl"), "-c", str(path)]) == 0
    assert float(capfd.readouterr().out) == pytest.approx(EXAMPLE, rel=1e-4)


def run(*command, cwd=ROOT):
    environment = {**os.environ, "PYTHON": sys.executable, "TF_NUM_INTRAOP_THREADS": "1"}
    return subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)


def test_convert_and_predict(tmp_path, checkpoint, arrays, capfd):
    path = write_input(tmp_path / "input.pkl", torch=True)
    model = tmp_path / "model.keras"
    assert CREaTor.main(["convert", str(checkpoint), str(model)]) == 0
    assert "5,068,545 numbers" in capfd.readouterr().out
    assert is_keras_file(model)
    assert CREaTor.main(["-i", str(path), "-c", str(model)]) == 0
    number = float(capfd.readouterr().out)
    np.testing.assert_allclose(number, plain_expression(arrays, *read_input(path)), rtol=5e-6)

    script = run(sys.executable, ROOT / "CREaTor.py", "-i", path, "-c", checkpoint)
    assert (script.returncode, float(script.stdout)) == (0, pytest.approx(number, rel=1e-6))


def test_the_example_prints_one_number():
    example = run("./run_example.sh", cwd=ROOT / "example")
    assert example.returncode == 0, example.stderr
    assert float(example.stdout) == pytest.approx(EXAMPLE, rel=1e-4)
    files = [ROOT / "example" / name for name in ("input.pkl", "model.keras")]
    assert sum(file.stat().st_size for file in files) < 3_000_000


def test_help_and_errors_need_no_tensorflow(tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import CREaTor
assert CREaTor.main(["-i", {str(tmp_path / "absent.pkl")!r}]) == 2
assert not {{"tensorflow", "keras", "torch"}} & set(sys.modules)
CREaTor.main(["--help"])
"""
    result = run(sys.executable, "-c", script)
    assert result.returncode == 0
    assert "convert" in result.stdout
    assert result.stderr.count("\n") == 1


def test_no_input_at_all():
    result = run(sys.executable, "CREaTor.py")
    assert result.returncode == 2
    assert result.stderr == "CREaTor.py: give an input: -i INPUT\n"


def test_malicious_files_through_the_script(tmp_path):
    marker = tmp_path / "marker"

    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    attack = tmp_path / "attack.pkl"
    attack.write_bytes(pickle.dumps({"E_ge": Attack()}))
    good = write_input(tmp_path / "input.pkl")
    for arguments in (("-i", attack), ("-i", good, "-c", attack), ("convert", attack, tmp_path / "m.keras")):
        result = run(sys.executable, "CREaTor.py", *arguments)
        assert result.returncode == 2
        assert result.stderr.count("\n") == 1
        assert (
            "system', which is not plain data and which Python itself would run; here nothing was run" in result.stderr
        )
    assert not marker.exists()
