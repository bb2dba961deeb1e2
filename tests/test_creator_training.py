"""Training on a store and predicting from it: what is learnt, what is never looked at, resuming, what is refused."""

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import LONG, one_line
from creator_plain import random_input
from creator_stores import CELLS, GENES, NETWORK, REACH, TRACKS, write_store

import CREaTor
from core import InputError
from core.checkpoints import Checkpoints
from creator import CHANNELS
from creator.batches import Region, encoding_ratio, make_regions, reach_mask, read_batch, window_layouts
from creator.checkpoint import CreatorInput, load_model, save_model
from creator.link_evaluation import read_links
from creator.prediction import LinkFiles, adjust, plan_prediction, predict
from creator.settings import SETTINGS
from creator.store import open_store
from creator.training import (
    Trainer,
    best_epoch,
    find_measured,
    is_over,
    learning_rate,
    list_batches,
    make_splits,
    train,
)

ROOT = Path(__file__).resolve().parents[1]
RECIPE = NETWORK | {"epochs": 4, "warm_up": 4, "learning_rate": 3e-3, "batch_elements": 8}
DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


def run(store, out, validation=("2",), cells=("C",), chromosomes=("3",), **values):
    train(store, out, cells, chromosomes, validation, RECIPE | values)
    return out


def read_log(out):
    """Rows of the log without their seconds."""
    with open(out / "performance_log.csv") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights_of(out):
    return load_model(out / "best_model.keras").get_weights()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "STORE")


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    return run(store, tmp_path_factory.mktemp("trained") / "run")


# ------------------------------------------------------------------------------------------------- regions
def test_regions_are_neighbouring_genes_up_to_so_many_ccres(store):
    regions = make_regions(open_store(store), ["1", "3"], 8)
    assert [region.genes.tolist() for region in regions[:3]] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert regions[1].elements.tolist() == list(range(8, 16))
    assert [region.genes[0] for region in regions[3:]] == [24, 28, 32]  # chromosome 3; gene 35 has no cCRE
    assert [len(region.elements) for region in make_regions(open_store(store), ["1"], 1)] == [2] * 11


def test_only_ccres_in_reach_are_allowed(store):
    opened = open_store(store)
    region = make_regions(opened, ["1"], 6)[0]
    expected = [[True, True, False, False, False, False], [False, False, True, True, False, False]]
    assert reach_mask(opened, region)[:2].tolist() == expected


def test_encodings_are_counted_against_distinct_ccres():
    genes = np.array([0])
    regions = [
        Region(genes, np.array([0, 1, 2, 3])),
        Region(genes, np.array([2, 3, 4, 5])),
        Region(genes, np.arange(6)),
    ]
    assert encoding_ratio(regions[:2]) == 8 / 6
    assert encoding_ratio(regions) == 14 / 6


def test_window_layouts_are_one_for_each_strand(store):
    layouts, layout_of = window_layouts(open_store(store))
    assert layouts.shape == (2, 141)
    assert set(layout_of[::2]) == {layout_of[0]} != {layout_of[1]} == set(layout_of[1::2])
    assert layouts[layout_of[0]][[0, -2, -1]].tolist() == [-350, 345, 0]
    assert layouts[layout_of[1]][[0, -2, -1]].tolist() == [350, -345, 0]


# ------------------------------------------------------------------------------------------------- the recipe
def test_learning_rate_rises_and_falls():
    settings = {"learning_rate": 0.1, "warm_up": 4}
    rates = [learning_rate(settings, step, 12) for step in range(13)]
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert rates[8] == pytest.approx(0.05)  # half way down the cosine
    assert rates[12] == pytest.approx(0)


def test_training_is_over_after_epochs_without_a_lower_loss():
    log = {epoch: {"val_loss": loss} for epoch, loss in enumerate(["3", "1", "nan", "1", "2"])}
    assert best_epoch(list(log.values())) == 1
    assert not is_over(log, 4, 3)
    assert is_over(log, 5, 3)
    assert not is_over(log, 5, 0)


def test_network_learns_the_rule(store, tmp_path):
    out = run(store, tmp_path / "run", epochs=25, patience=0, dropout=0, learning_rate=1e-2, batch_elements=4)
    rows = read_log(out)
    assert list(rows[0]) == ["epoch", "loss", "val_loss", "val_pearson", "val_change_pearson", "learning_rate"]
    assert float(rows[-1]["loss"]) < 0.07  # the variance of the targets is .33
    assert max(float(row["val_pearson"]) for row in rows) > 0.8


def test_training_goes_on_as_if_it_had_not_been_stopped(store, trained, tmp_path, monkeypatch):
    finish = Checkpoints.finish_epoch

    def stop(self, epoch, *rest):
        if epoch == 2:
            raise KeyboardInterrupt
        return finish(self, epoch, *rest)

    monkeypatch.setattr(Checkpoints, "finish_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        run(store, tmp_path / "run")
    assert len(read_log(tmp_path / "run")) == 2
    monkeypatch.undo()
    run(store, tmp_path / "run")
    assert read_log(tmp_path / "run") == read_log(trained)
    for mine, other in zip(weights_of(tmp_path / "run"), weights_of(trained), strict=True):
        np.testing.assert_array_equal(mine, other)


KILLED = """
import os, signal, sys
import CREaTor
from core.checkpoints import Checkpoints
from creator import training
read_batch, finish, calls = training.read_batch, Checkpoints.finish_epoch, []
def stop(*_): os.kill(os.getpid(), signal.SIGKILL)
{patch}
CREaTor.main(sys.argv[1:])
"""
PLACES = {  # epochs of six batches of training and six of validation; both places are in epoch 2
    "in the middle of an epoch": (
        "def count(*arguments):\n"
        "    calls.append(1)\n"
        "    return stop() if len(calls) == 2 * 12 + 4 else read_batch(*arguments)\n"
        "training.read_batch = count"
    ),
    "between model and log": (
        "def finish_some(self, epoch, *rest):\n"
        "    if epoch == 2:\n"
        "        self.write_log = stop\n"
        "    return finish(self, epoch, *rest)\n"
        "Checkpoints.finish_epoch = finish_some"
    ),
}


@LONG
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_training_ends_as_one_that_was_not_disturbed(place, store, trained, tmp_path):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in RECIPE.items()]
    flags += ["--hold-out-cells=C", "--hold-out-chromosomes=3", "--validation-chromosomes=2"]
    words, out = ["train", str(store), "--out", str(tmp_path / "run"), *flags], tmp_path / "run"
    code = KILLED.format(patch=PLACES[place])
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [row["epoch"] for row in read_log(out)] == ["0", "1"]
    assert (out / "epoch_models/model_epoch_2.keras").exists() == (place == "between model and log")
    again = subprocess.run([sys.executable, ROOT / "CREaTor.py", *words], capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "goes on after epoch 1" in again.stdout
    assert read_log(out) == read_log(trained)
    for mine, other in zip(weights_of(out), weights_of(trained), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_batches_that_memory_cannot_hold_are_refused(store, tmp_path, monkeypatch):
    from creator.network import training_memory

    monkeypatch.setattr("core.memory.free_memory", lambda: 10**8)
    with pytest.raises(InputError) as error:
        run(store, tmp_path / "run")
    assert "batches of up to 8 cCREs of 20 bases take about 0.5 GB of memory, 0.1 GB are free" in one_line(error)
    assert "give smaller --batch-elements" in one_line(error)
    with pytest.raises(InputError, match="prepare the store with a smaller --reach or with --max-elements") as error:
        run(store, tmp_path / "other", batch_elements=1)
    one_line(error)
    published = {"width": 256, "heads": 4, "hidden": 1024, "element_layers": 2, "regulation_layers": 4}
    for (tracks, count, length), used in {(16, 512, 350): 2.394, (2, 2048, 20): 3.753, (16, 64, 1000): 1.157}.items():
        assert 1 <= training_memory(published, tracks, 1, count, length, 20, False) / 1e9 / used < 2  # GB, measured


def test_what_is_held_out_does_not_matter(store, trained, tmp_path):
    def change(arrays):
        arrays["expression"][:, 2] = 1000 + np.arange(len(arrays["expression"]))  # cell C
        arrays["expression"][2 * GENES :] = np.nan  # chromosome 3

    run(write_store(tmp_path / "STORE", change=change), tmp_path / "run")
    assert read_log(tmp_path / "run") == read_log(trained)
    for mine, other in zip(weights_of(tmp_path / "run"), weights_of(trained), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_record_says_what_was_for_what(trained):
    record = json.loads((trained / "train.json").read_text())
    assert record["splits"] == {
        "training_cells": ["A", "B"],
        "hold_out_cells": ["C"],
        "training_chromosomes": ["1"],
        "validation_chromosomes": ["2"],
        "hold_out_chromosomes": ["3"],
    }
    assert record["settings"] == DEFAULTS | RECIPE
    assert record["options"]["reach"] == REACH


def test_validation_chromosome_is_one_of_the_training_chromosomes(store):
    splits = make_splits(open_store(store), ["A"], ["1"], None)
    assert sorted(splits.training_chromosomes + splits.validation_chromosomes) == ["2", "3"]
    assert splits.training_cells == ["B", "C"]


# ------------------------------------------------------------------------------------------------- the network
@pytest.fixture(scope="module")
def trainer(store):
    opened = open_store(store)
    return Trainer(opened, DEFAULTS | RECIPE, {"options": opened.options}, 1.0)


def test_ccres_out_of_reach_change_nothing(store, trainer):
    opened = open_store(store)
    batch = read_batch(opened, make_regions(opened, ["1"], 8)[0], [0], trainer.layout_of, False)
    before = trainer.forward(batch, None).numpy()
    signal = batch.signal.copy()
    signal[0, 2:4] += 1  # the cCREs of the second gene, 20 kb from those of the others
    after = trainer.forward(batch._replace(signal=signal), None).numpy()
    np.testing.assert_array_equal(np.delete(after, 1, axis=1), np.delete(before, 1, axis=1))
    assert abs(after[0, 1] - before[0, 1]) > 1e-6


def test_dropout_needs_a_seed_and_draws_with_it(store, trainer):
    opened = open_store(store)
    batch = read_batch(opened, make_regions(opened, ["1"], 8)[0], [0], trainer.layout_of, False)
    plain = trainer.forward(batch, None).numpy()
    seed = np.array([1, 2], np.int32)
    dropped = trainer.forward(batch, seed).numpy()
    assert np.abs(dropped - plain).max() > 1e-3
    np.testing.assert_array_equal(dropped, trainer.forward(batch, seed).numpy())
    assert np.abs(dropped - trainer.forward(batch, seed + 1).numpy()).max() > 1e-3


def test_rows_with_room_for_dropout_are_those_of_the_product(store, trainer):
    from creator.network import NO_DROPOUT, element_positions

    opened = open_store(store)
    tokens, signal = opened.tokens[:6].astype(np.int64), opened.read_signal(0, slice(0, 6))
    kernel, offset, _ = trainer.model.block_product(element_positions(tokens.shape[1]))
    rows = trainer.model._embed_with_dropout(tokens, signal, NO_DROPOUT)
    np.testing.assert_allclose(rows, trainer.model._embed(tokens, signal, kernel, offset), rtol=1e-4, atol=1e-5)


def test_cells_that_share_a_batch_have_the_numbers_that_they_have_alone(store, trainer):
    opened = open_store(store)
    region = make_regions(opened, ["1"], 8)[0]
    together = trainer.forward(trainer.read(opened, region, [2, 0]), None).numpy()
    alone = [trainer.forward(trainer.read(opened, region, [cell]), None).numpy()[0] for cell in (2, 0)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_cells_of_a_region_are_drawn_together(store):
    opened = open_store(store)
    regions = make_regions(opened, ["1"], 8)
    measured = find_measured(opened, regions, [0, 1, 2])
    ordered = list_batches(measured, 2)
    assert [cells for _, cells in ordered] == [[0, 1], [2]] * 3
    drawn = list_batches(measured, 2, np.random.default_rng(0))
    assert [cells for _, cells in measured] == [[0, 1, 2]] * 3  # as before, for the next epoch
    assert [len(cells) for _, cells in drawn] == [2, 1] * 3
    assert sorted(cell for _, cells in drawn for cell in cells) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [cells for _, cells in drawn] != [cells for _, cells in ordered]


def test_changes_are_weighed_against_the_mean_over_measured_cells(trainer, monkeypatch):
    errors = np.float32([[1, 5, 2], [3, 7, 9]])  # (cells, genes); the third gene is measured in the first cell alone
    weights = np.float32([[1, 1, 1], [1, 1, 0]])
    assert float(trainer.sum_loss(errors, weights)) == 1 + 25 + 4 + 9 + 49
    monkeypatch.setitem(trainer.settings, "change_weight", 10.0)
    assert float(trainer.sum_loss(errors, weights)) == 88 + 10 * 4 * 1  # each is 1 away from its gene's mean


def test_masked_pads_change_nothing(store):
    from creator.network import Creator, element_vectors

    model, masked = (Creator(**NETWORK, channels=2, training={"mask_pads": masked}) for masked in (False, True))
    masked.set_weights(model.get_weights())
    tokens = np.repeat([[0] * 5 + [1, 2, 3, 4, 0] + [1] * 5 + [0] * 5], 2, axis=0)
    signal = np.ones((2, 20, 2), np.float32)
    signal[1, :5] = signal[1, 15:] = 3  # where the first and the last block have no base
    plain, without = element_vectors(model, tokens, signal), element_vectors(masked, tokens, signal)
    assert np.abs(plain[0] - plain[1]).max() > 1e-4
    np.testing.assert_array_equal(without[0], without[1])


def test_dropped_tracks_are_dropped_of_cells_and_their_genes_alike(trainer, monkeypatch):
    monkeypatch.setitem(trainer.settings, "track_dropout", 0.5)
    signals = np.ones((40, 3, 5, 2), np.float32), np.ones((40, 2, 7, 2), np.float32)
    assert trainer._drop_tracks(None, *signals) == signals
    first, second = (each.numpy() for each in trainer._drop_tracks(np.array([1, 2], np.int32), *signals))
    kept = first[:, 0, 0]
    np.testing.assert_array_equal(first, np.broadcast_to(kept[:, None, None], first.shape))
    np.testing.assert_array_equal(second, np.broadcast_to(kept[:, None, None], second.shape))
    assert 20 < kept.sum() < 60  # of 80


def test_options_beyond_the_published_network_are_used_in_prediction_too(store, tmp_path, capsys):
    options = {"promoter": True, "mask_pads": True, "cells_a_batch": 2, "change_weight": 1.0, "track_dropout": 0.2}
    out = run(store, tmp_path / "run", epochs=1, **options)
    model = load_model(out / "best_model.keras")
    assert model.mask_pads
    assert model.training["promoter"]
    predict(plan_prediction(store, links=False), model, out / "best_model.keras", tmp_path / "first")

    def turn(arrays):
        arrays["gene_tokens"] = 5 - arrays["gene_tokens"]

    other = plan_prediction(write_store(tmp_path / "OTHER", change=turn), links=False)
    predict(other, model, out / "best_model.keras", tmp_path / "second")
    first, second = (read_table(tmp_path / name / "expression.tsv") for name in ("first", "second"))
    assert (first["predicted"] - second["predicted"]).abs().max() > 1e-5  # the promoter is read
    rows = first.dropna()[first.dropna()["split"] == "validation"]
    errors = (rows["predicted"] - rows["observed"]).to_numpy().reshape(2, -1)  # cells A and B
    loss = np.square(errors).mean() + np.square(errors - errors.mean(axis=0)).mean()
    assert loss == pytest.approx(float(read_log(out)[0]["val_loss"]), rel=1e-4)


def test_a_cell_without_tpm_counts_as_held_out(tmp_path):
    def lose(arrays):
        arrays["expression"][:, 1] = np.nan

    splits = make_splits(open_store(write_store(tmp_path / "STORE", change=lose)), ["C"], [], ["2"])
    assert (splits.training_cells, splits.hold_out_cells) == (["A"], ["B", "C"])


def test_more_cells_in_a_batch_than_training_cells_are_refused(store, tmp_path):
    with pytest.raises(InputError, match="--cells-a-batch: 3 is more than there are training cells; give at most 2"):
        run(store, tmp_path / "run", cells_a_batch=3)
    assert not (tmp_path / "run").exists()


def test_a_name_that_differs_by_chr_is_proposed(store):
    with pytest.raises(InputError, match="no chromosome chr3 in the store; it has 1, 2, 3; is 3 meant?"):
        make_splits(open_store(store), [], ["chr3"], None)


def test_changes_need_several_cells_in_a_batch(store, tmp_path):
    with pytest.raises(InputError, match="--change-weight: a change needs several cells in a batch"):
        run(store, tmp_path / "run", change_weight=1.0)


def test_tracks_of_its_own_stay_out_of_the_configuration_of_published_models():
    from creator.network import Creator

    assert "channels" not in Creator(**NETWORK).get_config()
    assert "training" not in Creator(**NETWORK).get_config()
    assert Creator(**NETWORK, channels=2).get_config()["channels"] == 2


# ------------------------------------------------------------------------------------------------- prediction
def test_an_interrupted_prediction_leaves_the_earlier_one(store, trained, predicted, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    shutil.copytree(predicted, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("creator.prediction.read_genes", stop)
    arguments = ["predict", str(store), "-c", str(trained / "best_model.keras"), "--out", str(out)]
    assert CREaTor.main(arguments) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.fixture(scope="module")
def predicted(store, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted") / "out"
    words = [
        "predict",
        str(store),
        "-c",
        str(trained / "best_model.keras"),
        "--out",
        str(out),
        "--ablation",
        "--arcs",
        "1",
    ]
    assert CREaTor.main(words) == 0
    return out


def read_table(path):
    return pd.read_csv(path, sep="\t", dtype={"chromosome": str, "chrom": str})


def test_expression_has_every_gene_in_every_cell(predicted):
    table = read_table(predicted / "expression.tsv")
    names = ["gene_id", "chromosome", "tss", "strand", "cell", "n_ccre", "predicted", "observed", "split"]
    assert list(table) == names
    assert len(table) == 3 * GENES * len(CELLS)
    without = table["n_ccre"] == 0
    assert without.sum() == 3 * len(CELLS)
    assert table["predicted"].isna().equals(without)
    splits = table.groupby(["cell", "chromosome"])["split"].unique().str.join(",")
    assert splits["A"].tolist() == ["train", "validation", "chromosome"]
    assert splits["C"].tolist() == ["cell", "cell", "both"]
    record = json.loads((predicted / "predict.json").read_text())
    assert record["genes_without_ccre"] == 3
    assert record["hold_out_cells"] == ["C"]


def test_predictions_are_those_of_validation(predicted, trained):
    table = read_table(predicted / "expression.tsv").dropna()
    rows = table[table["split"] == "validation"]
    best = min(read_log(trained), key=lambda row: float(row["val_loss"]))
    assert np.square(rows["predicted"] - rows["observed"]).mean() == pytest.approx(float(best["val_loss"]), rel=1e-4)


def test_links_have_attention_distance_and_ablation(predicted):
    links = read_table(predicted / "links.tsv")
    assert len(links) == 2 * 3 * (GENES - 1) * len(CELLS)
    sums = links.groupby(["measuredGeneEnsemblId", "CellType"])["attention"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-4)
    assert sorted(links["distanceToTSS"].unique()) == [1000, 2000]
    first = links[links["distanceToTSS"] == 1000]
    np.testing.assert_allclose(first["adjusted"], first["attention"] / 3, rtol=1e-4)
    assert links["ablation"].notna().all()
    assert links["ablation"].abs().max() > 1e-4
    assert (predicted / "links.bedpe").read_text().count("\n") == 3 * (GENES - 1) * len(CELLS)  # one arc for each


def test_names_that_begin_a_formula_stay_text_in_tables(tmp_path):
    """With an apostrophe, which readers take away; not in links.bedpe, which genome browsers read."""

    def rename(arrays: dict) -> None:
        arrays["gene_id"][0] = b"=A1"
        arrays["element_name"][1] = b"@e"

    store = open_store(write_store(tmp_path / "STORE", change=rename))
    with LinkFiles(store, tmp_path, ablation=False, arcs=0) as files:
        files.add(Region(np.array([0, 1]), np.arange(4)), 0, np.full((2, 4), 0.5), None)
    rows = [line.split("\t") for line in (tmp_path / "links.tsv").read_text().splitlines()[1:]]
    assert [row[3:5] for row in rows] == [["e0", "'=A1"], ["'@e", "'=A1"], ["e2", "g1"], ["e3", "g1"]]
    arcs = [line.split("\t")[6] for line in (tmp_path / "links.bedpe").read_text().splitlines()]
    assert arcs == ["e0>=A1,A", "@e>=A1,A", "e2>g1,A", "e3>g1,A"]
    assert read_links(tmp_path, pd.Series(["=A1"]))["measuredGeneEnsemblId"].tolist() == ["=A1", "=A1"]


def test_distance_below_1_kb_counts_as_1_kb():
    assert adjust(np.array([0.6, 0.6]), np.array([0, 10_000])).tolist() == pytest.approx([0.2, 0.15])


def test_published_weights_see_a_genes_own_ccres_alone(tmp_path):
    from creator.network import Creator, element_vectors, expression

    store = open_store(write_store(tmp_path / "STORE", tracks=CHANNELS))
    model = Creator(**NETWORK)
    save_model(model, tmp_path / "model.keras")
    predict(
        plan_prediction(store.path, ["B"]),
        load_model(tmp_path / "model.keras"),
        tmp_path / "model.keras",
        tmp_path / "out",
    )
    table = read_table(tmp_path / "out/expression.tsv")
    vectors = element_vectors(model, store.tokens[:2], store.read_signal(1, slice(0, 2)))
    window = store.gene_window(0)[None]
    expected = expression(model, vectors, store.element_position(slice(0, 2)), store.gene_tss[:1], window)
    assert table["predicted"][0] == pytest.approx(expected[0], rel=1e-5)
    assert table["split"].isna().all()
    assert "hold_out_cells" not in json.loads((tmp_path / "out/predict.json").read_text())


# ------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cells": ["D"]}, "--hold-out-cells: there is no cell D in the store; it has A, B, C"),
        ({"cells": CELLS}, "all 3 cells of the store are held out"),
        ({"chromosomes": ["X"]}, "--hold-out-chromosomes: there is no chromosome X in the store; it has 1, 2, 3"),
        ({"validation": ["3"]}, "--validation-chromosomes: 3 is held out"),
        ({"chromosomes": ["2", "3"], "validation": None}, "genes to learn from are left on 1 chromosomes"),
        ({"chromosomes": [], "validation": ["1", "2", "3"]}, "no gene is left to train on"),
        ({"chromosomes": ["1", "2", "3"], "validation": None}, "genes to learn from are left on 0 chromosomes"),
        ({"chromosomes": ["1", "2", "3"]}, "--validation-chromosomes: 2 is held out"),
        ({"heads": 3}, "--width: 16 is not a multiple of --heads 3"),
        ({"epochs": 0}, "--epochs: 0 is not between 1 and 100000"),
    ],
)
def test_wrong_training_is_refused(store, tmp_path, arguments, words):
    with pytest.raises(InputError) as error:
        run(store, tmp_path / "run", **arguments)
    assert words in one_line(error)
    assert not (tmp_path / "run").exists()


def test_cells_without_expression_cannot_be_learnt_from(tmp_path):
    def change(arrays):
        arrays["expression"][:, :2] = np.nan

    with pytest.raises(InputError, match="no gene has a cCRE in reach and TPM in a training cell") as error:
        run(write_store(tmp_path / "STORE", change=change), tmp_path / "run")
    one_line(error)


def test_folder_of_another_training_is_refused(store, trained, tmp_path):
    before = (trained / "train.json").read_bytes()
    with pytest.raises(InputError, match=r"differs in epochs \(4 there, 5 here\)") as error:
        run(store, trained, epochs=5)
    one_line(error)
    with pytest.raises(InputError, match=r"hold_out_cells \(C there, none here\)") as error:
        run(store, trained, cells=())
    one_line(error)
    assert (trained / "train.json").read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"has no whole train.json but notes.txt"):
        run(store, tmp_path)


def test_store_of_other_options_than_the_model_is_refused(trained, tmp_path, capsys):
    other = write_store(tmp_path / "STORE", reach=5000, transform="log1p")
    words = ["predict", str(other), "-c", str(trained / "best_model.keras"), "--out", str(tmp_path / "out")]
    assert CREaTor.main(words) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "transform (log1p in the store, none in the model)" in line
    assert "reach (5000 in the store, 3000 in the model)" in line
    assert not (tmp_path / "out").exists()


def test_published_weights_need_the_published_tracks(store, tmp_path):
    from creator.network import Creator

    with pytest.raises(InputError, match="takes the 16 published tracks, the store has up,noise") as error:
        predict(plan_prediction(store), Creator(**NETWORK), tmp_path / "model.keras", tmp_path / "out")
    one_line(error)


def test_wrong_flags_of_predict_are_refused(store, trained, tmp_path, capsys):
    words = ["predict", str(store), "-c", str(trained / "best_model.keras"), "--out", str(tmp_path / "out")]
    for more, message in (
        (["--cells", "A,Z"], "--cells: there is no cell Z in the store; it has A, B, C"),
        (["--arcs", "-1"], "--arcs: -1 is below 0"),
    ):
        assert CREaTor.main([*words, *more]) == 2
        line = capsys.readouterr().err
        assert message in line
        assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_input_of_one_gene_needs_a_model_of_the_published_tracks(trained, tmp_path, capsys):
    values = dict(zip(CreatorInput._fields, random_input(22, 4, 50), strict=True))
    (tmp_path / "input.pkl").write_bytes(pickle.dumps(values))
    words = ["-i", str(tmp_path / "input.pkl"), "-c", str(trained / "best_model.keras")]
    assert CREaTor.main(words) == 2
    assert f"has {len(TRACKS)} tracks of its own" in capsys.readouterr().err
