"""creator.checkpoint and CREaTor.py: what is accepted, what is refused in one line, and the real script."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from creator_files import checkpoint_value, dumps, embedded_tensor, legacy_file, zip_file
from creator_plain import plain_expression, random_arrays, random_input

import CREaTor
from creator import InputError
from creator.checkpoint import CreatorInput, is_keras_file, published_shapes, read_input, read_published_arrays

EXAMPLE = 2.3758  # what example/run_example.sh prints; the made-up rule behind it says 2.271
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


def write_input(path, torch=False, **changes):
    values = dict(zip(CreatorInput._fields, random_input(22, 4, 50), strict=True)) | changes
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


def test_without_a_checkpoint_it_is_said_where_it_goes(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused(capfd, "-i", write_input(tmp_path / "input.pkl"))
    assert "no checkpoint checkpoints/chk.pth" in line
    assert "README" in line


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


def keras_file(path, config, weights=b"\x89HDF\r\n\x1a\n no more"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path


def test_wrong_keras_files_are_one_line(tmp_path, capfd):
    good, path = write_input(tmp_path / "input.pkl"), tmp_path / "model.keras"
    sizes = {"width": 8, "heads": 2, "hidden": 8, "element_layers": 1, "regulation_layers": 1}
    for config, text in (
        ("{", "damaged .keras file"),
        ('{"class_name": "Sequential", "config": {}}', "Keras model of class 'Sequential'"),
        ('{"class_name": "Creator", "config": {"width": 1e9}}', "must be a whole number"),
        (json.dumps({"class_name": "Creator", "config": sizes | {"heads": 3}}), "multiple of its 3 heads"),
    ):
        assert text in refused(capfd, "-i", good, "-c", keras_file(path, config))
    keras_file(path, json.dumps({"class_name": "Creator", "config": sizes}), b"no HDF5")
    assert "weights that are not HDF5" in refused(capfd, "-i", good, "-c", path)
    path.write_bytes(path.read_bytes().replace(b"no HDF5", b"NO HDF5"))
    assert "damaged .keras file (model.weights.h5)" in refused(capfd, "-i", good, "-c", path)


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
    assert "give an input: -i INPUT" in result.stderr


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
        assert "system, which is no part of a tensor file; nothing in it was run" in result.stderr
    assert not marker.exists()
