"""Contacts between cCREs and vectors of cCREs, as `predict` writes them; what is refused before TensorFlow starts."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import LONG, one_line
from creator_stores import NETWORK, REACH, STEP, TRACKS, write_store

import CREaTor
from core import InputError, figures
from creator import CHANNELS
from creator.checkpoint import describe_model, load_model, save_model
from creator.contacts import average_by_distance, distance_edges, shrink
from creator.prediction import plan_prediction, predict
from creator.store import open_store

ROOT = Path(__file__).resolve().parents[1]
FAR = 25_000  # reach of the store here: a cCRE attends to those of its gene and of both neighbours'
# cCREs of chromosome 2 lie at 9, 12, 29, 32, 49, 52 kb and so on; those of the region below at 29 to 72 kb
REGION, SHOWN = "2:25,000-75,000", slice(24, 30)


def make_model(path, store, layers=3, uniform=False):
    """A network of random weights that says it was trained on such a store; None: that is of no store, as published."""
    from creator.network import Creator

    training = None
    if store:
        held = dict.fromkeys(("hold_out_cells", "hold_out_chromosomes", "validation_chromosomes"), [])
        training = {"options": open_store(store).options, "batch_elements": 8, **held}
    tracks = len(TRACKS) if store else len(CHANNELS)
    model = Creator(**NETWORK | {"regulation_layers": layers}, channels=tracks, training=training)
    if uniform:  # all logits are 0
        for table in model.regulation_bias.tables:
            table.assign(0 * table)
        for layer in model.regulation_layers:
            layer.query.kernel.assign(0 * layer.query.kernel)
    save_model(model, path)
    return model


def write(store, file, out, region=None, cells=("B",), **choices):
    """Predict without links and return the arrays of contacts."""
    plan = plan_prediction(store, cells, region, links=False, **choices)
    predict(plan, load_model(file), file, out)
    return dict(np.load(out / "contacts_B.npz")) if region else None


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "STORE", reach=FAR)


@pytest.fixture(scope="module")
def file(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    make_model(path, store)
    return path


@pytest.fixture(scope="module")
def written(store, file, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "out"
    arguments = ["predict", str(store), "-c", str(file), "--out", str(out), "--vectors", "--contacts", "2:0-400000"]
    assert CREaTor.main(arguments) == 0
    return out


# ------------------------------------------------------------------------------------------------ the map
def test_attention_without_preference_is_one_over_the_ccres_within_reach(store, tmp_path):
    make_model(tmp_path / "model.keras", store, uniform=True)
    found = write(store, tmp_path / "model.keras", tmp_path / "out", REGION)
    assert found["name"].tolist() == [f"e{number}" for number in range(24, 30)]
    assert found["chromosome"].tolist() == ["2"] * 6
    assert found["position"].tolist() == [29_000, 32_000, 49_000, 52_000, 69_000, 72_000]
    assert (found["end"] - found["start"]).tolist() == [20] * 6
    assert found["attention"].shape == (2, 2, 6, 6)
    near = np.abs(found["position"][:, None] - found["position"]) <= FAR
    assert near[0].tolist() == [True] * 4 + [False] * 2
    np.testing.assert_allclose(found["attention"], np.broadcast_to(near / 6, (2, 2, 6, 6)), rtol=1e-5)
    np.testing.assert_allclose(found["mean"].sum(axis=1), [4 / 6, 4 / 6, 1, 1, 4 / 6, 4 / 6], rtol=1e-5)
    table = pd.read_csv(tmp_path / "out/contacts_distance.tsv", sep="\t", dtype={"cell": str})
    assert list(table) == ["cell", "distance_from", "distance_to", "pairs", "attention"]
    assert table[["distance_from", "distance_to", "pairs"]].to_numpy().tolist() == [
        [2000, 5000, 3],
        [10_000, 20_000, 2],  # 17 kb
        [20_000, 50_000, 6],  # 20 and 23 kb
    ]
    assert table["attention"].to_numpy() == pytest.approx(1 / 6, rel=1e-5)


def test_a_part_of_a_map_is_the_map_of_the_part(store, file, written, tmp_path):
    whole = dict(np.load(written / "contacts_B.npz"))
    assert len(whole["name"]) == 22
    np.testing.assert_allclose(whole["attention"].sum(axis=-1), 1, rtol=1e-5)
    part = write(store, file, tmp_path / "out", REGION)
    first = whole["name"].tolist().index(part["name"][0])
    here = slice(first, first + 6)
    assert np.ptp(part["attention"][part["attention"] > 0]) > 1e-3  # it is not alike everywhere
    np.testing.assert_allclose(part["attention"], whole["attention"][..., here, here], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(part["mean"], part["attention"].mean(axis=(0, 1)), rtol=1e-6)


def test_cells_differ_and_other_chromosomes_do_not_matter(store, file, written, tmp_path):
    one, other = (np.load(written / f"contacts_{cell}.npz")["mean"] for cell in "AB")
    assert np.abs(one - other).max() > 1e-4

    def change(arrays):
        arrays["signal_1"][:22] = 9  # chromosome 1

    changed = write_store(tmp_path / "STORE", reach=FAR, change=change)
    again = write(changed, file, tmp_path / "out", "2:0-400,000")
    np.testing.assert_array_equal(again["mean"], other)


def test_with_published_weights_the_ccres_of_the_region_attend_to_each_other(tmp_path):
    store = write_store(tmp_path / "STORE", tracks=CHANNELS)
    make_model(tmp_path / "model.keras", None, layers=2, uniform=True)
    found = write(store, tmp_path / "model.keras", tmp_path / "out", REGION)
    np.testing.assert_allclose(found["attention"], np.full((1, 2, 6, 6), 1 / 6), rtol=1e-5)
    table = pd.read_csv(tmp_path / "out/contacts_distance.tsv", sep="\t")
    assert table["pairs"].sum() == 15  # at any distance


@LONG
def test_large_maps_keep_averages_only(store, file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("creator.contacts.MOST_WEIGHTS", 143)
    found = write(store, file, tmp_path / "out", REGION)
    assert set(found) == {"name", "chromosome", "start", "end", "position", "mean"}
    assert "averages only" in capsys.readouterr().out


def test_picture_is_an_svg_file_with_ticks_at_tss(written):
    text = (written / "contacts_A.svg").read_text()
    picture = ElementTree.fromstring(text)
    assert picture.tag == f"{figures.SVG}svg"
    (image,) = picture.findall(f"{figures.SVG}image")
    assert image.get("href").startswith("data:image/png;base64,")
    assert (image.get("width"), image.get("height")) == ("22", "22")
    words = [shape.text for shape in picture.findall(f"{figures.SVG}text")]
    assert {f"g{number}" for number in range(12, 24)} <= set(words)  # g23 has no cCRE, but a TSS there
    assert "A, 2:0-400,000" in words
    assert "var(" not in text


@LONG
def test_files_of_an_earlier_prediction_go(store, file, tmp_path):
    out = tmp_path / "out"
    write(store, file, out, REGION, vectors=True)
    assert sorted(path.name for path in out.iterdir()) == [
        *("contacts_B.npz", "contacts_B.svg", "contacts_distance.tsv", "expression.tsv", "predict.json"),
        "vectors_B.npz",
    ]
    write(store, file, out)
    assert sorted(path.name for path in out.iterdir()) == ["expression.tsv", "predict.json"]


@LONG
def test_cells_whose_names_are_no_file_names(file, tmp_path):
    store = write_store(tmp_path / "STORE", reach=FAR)
    manifest = json.loads((store / "manifest.json").read_text()) | {"cells": ["../x", "a b", "a_b"]}
    (store / "manifest.json").write_text(json.dumps(manifest))
    predict(plan_prediction(store, contacts=REGION, links=False), load_model(file), file, tmp_path / "out")
    names = sorted(path.stem.split("-")[0] for path in (tmp_path / "out").glob("contacts_*.npz"))
    assert names == ["contacts__._x", "contacts_a_b", "contacts_a_b"]


# -------------------------------------------------------------------------------------------------- distances
def test_bins_of_distance():
    assert distance_edges(0) == [0, 1000]
    assert distance_edges(999) == [0, 1000]
    assert distance_edges(1000) == [0, 1000, 2000]
    assert distance_edges(60_000) == [0, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]


def test_average_by_distance_by_hand():
    mean = np.array([[0.5, 0.2, 0.1], [0.4, 0.5, 0.3], [0.3, 0.1, 0.5]])
    positions = np.array([100, 600, 3100])
    expected = [
        {"distance_from": 0, "distance_to": 1000, "pairs": 1, "attention": "0.3"},  # .2 and .4
        {"distance_from": 2000, "distance_to": 5000, "pairs": 2, "attention": "0.2"},  # .1, .3, .3 and .1
    ]
    assert average_by_distance(mean, positions, None) == expected
    assert average_by_distance(mean, positions, 2500)[1] == expected[1] | {"pairs": 1}  # 3,000 bp are out of reach
    assert average_by_distance(mean[:1, :1], positions[:1], None) == []


def test_shrunk_map_is_of_means():
    values = np.arange(9.0).reshape(3, 3)
    assert shrink(values, 2).tolist() == [[2.0, 3.5], [6.5, 8.0]]
    assert shrink(values, 3).tolist() == values.tolist()


# ---------------------------------------------------------------------------------------------------- vectors
def test_vectors_are_those_of_the_element_encoder(store, file, written):
    from creator.network import element_vectors

    opened, found = open_store(store), np.load(written / "vectors_C.npz")
    assert list(found) == ["name", "chromosome", "start", "end", "vector"]
    assert found["name"].tolist() == [f"e{number}" for number in range(66)]
    assert found["chromosome"].tolist() == ["1"] * 22 + ["2"] * 22 + ["3"] * 22
    assert found["start"][:2].tolist() == [8990, 11_990]
    assert found["vector"].dtype == np.float32
    expected = element_vectors(load_model(file), opened.tokens, opened.read_signal(2, slice(None)))
    np.testing.assert_allclose(found["vector"], expected, rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2", "2 is no region; --contacts takes chromosome:start-end"),
        ("2:1000", "is no region"),
        ("2:a-b", "is no region"),
        ("2:,-,", "is no region"),
        ("2:1-" + "9" * 400, "is no region"),
        ("X:1-1000", "there is no chromosome X in the store; it has 1, 2, 3"),
        ("2:1000-1000", "starts at 1,000, not before its end"),
        ("2:2000-1000", "starts at 2,000, not before its end"),
        ("2:0-8990", "there is no cCRE in 2:0-8990; its cCREs lie from 8,990 to 212,010"),
        ("2:500,000-600,000", "there is no cCRE in"),
    ],
)
def test_wrong_regions_are_refused(store, text, words):
    with pytest.raises(InputError) as error:
        plan_prediction(store, contacts=text)
    assert words in one_line(error)


def test_names_of_chromosomes_are_bridged(store, capsys):
    area = plan_prediction(store, contacts=f"chr2:{10_000 + STEP}-{13_000 + STEP}").area
    assert (area.chromosome, area.elements.tolist()) == (1, [25])
    assert "'chr2' is '2'" in capsys.readouterr().out


def test_one_base_of_a_ccre_is_enough(store):
    assert plan_prediction(store, contacts="2:9009-9010").area.elements.tolist() == [22]
    with pytest.raises(InputError):
        plan_prediction(store, contacts="2:9010-9011")


def test_a_map_that_memory_cannot_hold_is_refused(store, file, tmp_path, monkeypatch):
    from creator.network import contact_memory

    model = load_model(file)
    monkeypatch.setattr("core.memory.free_memory", lambda: 1000)
    monkeypatch.setattr("creator.prediction.require_region_memory", lambda *_: None)
    with pytest.raises(InputError) as error:
        predict(plan_prediction(store, contacts=REGION), model, file, tmp_path / "out")
    assert "--contacts: the 6 cCREs of the region and 6 more that they attend to take about" in one_line(error)
    assert "give a smaller region" in one_line(error)
    assert not (tmp_path / "out").exists()
    published = {"width": 256, "heads": 4, "hidden": 1024, "regulation_layers": 4}
    for (count, shown), used in {(4000, 500): 1.15, (4000, 4000): 3.6, (2000, 2000): 0.94}.items():
        assert 1 <= contact_memory(published, count, shown) / 1e9 / used < 2  # GB, measured


def test_regions_that_memory_cannot_hold_are_refused(store, file, tmp_path, monkeypatch):
    from creator.network import region_memory

    model = load_model(file)
    monkeypatch.setattr("core.memory.free_memory", lambda: 10**7)
    with pytest.raises(InputError) as error:
        predict(plan_prediction(store), model, file, tmp_path / "out")
    assert "regions of up to 8 cCREs of 20 bases and 4 genes take about 0.1 GB of memory" in one_line(error)
    assert "train with smaller --batch-elements" in one_line(error)
    assert not (tmp_path / "out").exists()
    published = {"width": 256, "heads": 4, "hidden": 1024, "element_layers": 2, "regulation_layers": 4}
    for (tracks, count, length, genes), used in {
        (16, 512, 350, 20): 0.192,
        (16, 512, 350, 1000): 0.344,
        (2, 8000, 20, 10): 4.669,
        (16, 64, 350, 20): 0.102,
    }.items():
        assert 1 <= region_memory(published, tracks, count, length, count, genes) / 1e9 / used < 2  # GB, measured


def test_a_model_of_one_regulation_layer_has_no_contacts(store, tmp_path):
    model = make_model(tmp_path / "model.keras", store, layers=1)
    with pytest.raises(InputError) as error:
        predict(plan_prediction(store, contacts=REGION), model, tmp_path / "model.keras", tmp_path / "out")
    assert "has one regulation layer" in one_line(error)


BEFORE = """
import sys
sys.path.insert(0, {root!r})
import CREaTor
for words in {commands!r}:
    assert CREaTor.main(["predict", *words]) == 2
    assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""


def test_wrong_stores_are_refused_before_tensorflow_starts(store, file, tmp_path):
    (tmp_path / "begun.part").mkdir()
    cut = write_store(tmp_path / "CUT", reach=FAR)
    (cut / "tokens.npy").write_bytes((cut / "tokens.npy").read_bytes()[:-5])
    other = write_store(tmp_path / "OTHER", reach=REACH)
    rest = ["-c", str(file), "--out", str(tmp_path / "out")]
    commands = {
        "no store": [str(tmp_path / "none"), *rest],
        "start prepare again": [str(tmp_path / "begun"), *rest],
        "tokens.npy is cut or damaged": [str(cut), *rest],
        "--cells: there is no cell Z": [str(store), *rest, "--cells", "Z"],
        "--contacts: 2 is no region": [str(store), *rest, "--contacts", "2"],
        "reach (3000 in the store, 25000 in the model)": [str(other), *rest],
    }
    code = BEFORE.format(root=str(ROOT), commands=list(commands.values()))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands)
    for line, words in zip(lines, commands, strict=True):
        assert words in line
    assert not (tmp_path / "out").exists()


def test_models_are_described_without_keras(file, tmp_path):
    assert describe_model(file)["options"]["reach"] == FAR
    assert describe_model(file) == load_model(file).training
    (tmp_path / "model.keras").write_bytes(b"whatever")
    with pytest.raises(InputError) as error:
        describe_model(tmp_path / "model.keras")
    assert "is no torch file" in one_line(error)
