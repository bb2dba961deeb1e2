"""What happens to a run between two starts: damage, other chromosomes, odd names; the CSVs end as if nothing had been.

The script's own `main` trains a small network on a small genome, in this process.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import LONG, read_numbers
from genomes import Gene, random_sequence, write_files

import lcre_classifier
from core import locks
from lcre import records

EPOCHS = 4


def build_small(layout: lcre_classifier.WindowLayout) -> lcre_classifier.Network:
    from keras import Sequential, layers

    parts = [layers.Flatten(), layers.Dropout(0.2), layers.Dense(1, "sigmoid", dtype="float32")]
    return lcre_classifier.Network(Sequential([layers.Input((layout.columns, 4)), *parts]))


def small_model(build: Callable = build_small, **more) -> lcre_classifier.Model:
    return lcre_classifier.Model(build, learning_rate=0.01, batch_size=8, epochs=EPOCHS, **more)


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(lcre_classifier.MODELS, "published", small_model())


def make_files(folder: Path, chromosomes: list[str]) -> list[str]:
    """Write a genome of chromosomes of 40 genes each, and return the flags of a run of `published` on it."""
    random = np.random.default_rng(1)
    sequences = {name: random_sequence(random, 4000) for name in chromosomes}
    genes = [
        Gene(f"{number}g{place}", name, 100 + 95 * place, 160 + 95 * place, "+-"[place % 2])
        for number, name in enumerate(chromosomes)
        for place in range(40)
    ]
    flags = write_files(folder, sequences, genes, {gene.gene_id: float(random.normal()) for gene in genes})
    return [*flags, "--model", "published", "--organism", "toy", "--upstream", "20", "--downstream", "10"]


def train(folder: Path, flags: list[str], *more: str) -> int:
    return lcre_classifier.main([*flags, "--saved-models", str(folder), *more])


@pytest.fixture(scope="module")
def species(tmp_path_factory) -> list[str]:
    return make_files(tmp_path_factory.mktemp("species"), ["I", "II", "III", "IV"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory, species) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lcre_classifier.MODELS, "published", small_model())
        assert train(folder, species, "--chromosomes", "I,II") == 0
    return folder


# ------------------------------------------------------------------------------------------- damaged files
def cut(fraction: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])


def flip(fraction: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int((len(content) - 1) * fraction)] ^= 0x10
        path.write_bytes(content)

    return change


def replace_by(name: str) -> Callable[[Path], None]:
    return lambda path: shutil.copy(path.parent / name, path)


def write_bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


def change_digit(path: Path) -> None:
    """Write another digit into the second cell of the third row, which still looks like a number."""
    lines = path.read_text().splitlines(keepends=True)
    cells = lines[3].split(",")
    cells[1] = f"{cells[1][:-1]}{(int(cells[1][-1]) + 1) % 10}"
    lines[3] = ",".join(cells)
    path.write_text("".join(lines))


LAST, FIRST = "epoch_models/model_epoch_3.keras", "epoch_models/model_epoch_0.keras"
CHECKPOINT_DAMAGE = {
    "last cut to nothing": (LAST, cut(0)),
    "last cut early": (LAST, cut(0.1)),
    "last cut in the middle": (LAST, cut(0.5)),
    "last cut at the end": (LAST, cut(0.999)),
    "last zeroed": (LAST, lambda path: path.write_bytes(bytes(path.stat().st_size))),
    "last is text": (LAST, write_bytes(b"not a model")),
    "last removed": (LAST, Path.unlink),
    "last is another epoch's": (LAST, replace_by("model_epoch_1.keras")),
    "last is another fold's": (LAST, replace_by("../../toy_model_II/epoch_models/model_epoch_3.keras")),
    "first cut": (FIRST, cut(0.7)),
    "first is another epoch's": (FIRST, replace_by("model_epoch_3.keras")),
    **{f"bit flipped at {place}": (LAST, flip(place)) for place in (0, 0.001, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 1)},
    "middle zeroed": ("epoch_models/model_epoch_2.keras", write_bytes(b"")),
}
OTHER_DAMAGE = {
    "best model cut": ("best_model.keras", cut(0.5)),
    "best model removed": ("best_model.keras", Path.unlink),
    "best model of another fold": ("best_model.keras", replace_by("../toy_model_II/best_model.keras")),
    "log of random bytes": ("performance_log.csv", write_bytes(bytes(range(256)) * 20)),
    "log of other columns": ("performance_log.csv", write_bytes(b"a,b\n1,2\n")),
    "log empty": ("performance_log.csv", write_bytes(b"")),
    "log removed": ("performance_log.csv", Path.unlink),
    "log cut": ("performance_log.csv", cut(0.6)),
    "log lacks a row": (
        "performance_log.csv",
        lambda path: path.write_text(
            "".join(path.read_text().splitlines(True)[:2] + path.read_text().splitlines(True)[3:])
        ),
    ),
    "log with a word": ("performance_log.csv", lambda path: path.write_text(path.read_text().replace("\n2,", "\n2,x"))),
    "predictions empty": ("predictions.csv", write_bytes(b"")),
    "predictions cut in a number": ("predictions.csv", lambda path: path.write_bytes(path.read_bytes()[:-6])),
    "predictions cut at a row": (
        "predictions.csv",
        lambda path: path.write_text("".join(path.read_text().splitlines(True)[:-1])),
    ),
    "predictions of random bytes": ("predictions.csv", write_bytes(b"\xff\x00\x80,,\n" * 9)),
    "predictions of another fold": ("predictions.csv", replace_by("../toy_model_II/predictions.csv")),
    "roles removed": ("genes.csv", Path.unlink),
    "log with a line too many": ("performance_log.csv", lambda path: path.write_text(path.read_text() + "junk,x\n")),
    "log doubled": ("performance_log.csv", lambda path: path.write_text(2 * path.read_text())),
    "a probability emptied": (
        "predictions.csv",
        lambda path: path.write_text(re.sub(r"(?m)^(0g3,)[\d.]+", r"\1", path.read_text())),
    ),
    "a probability changed": ("predictions.csv", change_digit),
    "a loss changed": ("performance_log.csv", change_digit),
    "log a pipe": ("performance_log.csv", lambda path: (path.unlink(), os.mkfifo(path))),
    "predictions a link to nowhere": ("predictions.csv", lambda path: (path.unlink(), path.symlink_to("nowhere"))),
    "best model a pipe": ("best_model.keras", lambda path: (path.unlink(), os.mkfifo(path))),
}


QUICK = {  # in every run of the tests; the others with LCRE_LONG=1
    *("last cut in the middle", "last is another epoch's", "last is another fold's", "bit flipped at 0.6"),
    *("best model of another fold", "log lacks a row", "log doubled", "predictions cut in a number"),
    *("a probability emptied", "a probability changed", "roles removed"),
}


def choose(damages: dict) -> list:
    """Return the parameters of a test: some of the ways to damage a file, or all of them."""
    return [pytest.param(name, marks=[] if name in QUICK else [LONG]) for name in damages]


@pytest.mark.parametrize("damage", choose(CHECKPOINT_DAMAGE))
def test_a_damaged_checkpoint_costs_its_epoch(whole, species, tmp_path, capsys, damage):
    """Of a fold that was stopped before its predictions the epoch is trained again."""
    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    name, change = CHECKPOINT_DAMAGE[damage]
    (folder / "toy_model_I/predictions.csv").unlink()
    change(folder / "toy_model_I" / name)
    assert train(folder, species, "--chromosomes", "I,II") == 0
    assert read_numbers(folder) == read_numbers(whole)
    assert f"fold I: {Path(name).name} is damaged or missing: its epoch is trained again" in capsys.readouterr().out
    assert not list(folder.rglob(".*"))


def test_a_finished_fold_needs_no_checkpoints(whole, species, tmp_path, capsys):
    """They may be deleted to save room."""
    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "toy_model_I/epoch_models")
    assert train(folder, species, "--chromosomes", "I,II") == 0
    assert "every fold is finished already" in capsys.readouterr().out
    assert read_numbers(folder) == read_numbers(whole)


@pytest.mark.parametrize("damage", choose(OTHER_DAMAGE))
def test_a_damaged_file_of_a_finished_fold_is_made_again(whole, species, tmp_path, capsys, damage):
    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    name, change = OTHER_DAMAGE[damage]
    change(folder / "toy_model_I" / name)
    assert train(folder, species, "--chromosomes", "I,II") == 0
    assert read_numbers(folder) == read_numbers(whole)
    assert "fold I: " in capsys.readouterr().out or name == "genes.csv"
    best = (folder / "toy_model_I/best_model.keras").read_bytes()
    assert train(folder, species, "--chromosomes", "I,II") == 0
    assert "every fold is finished already" in capsys.readouterr().out
    assert (folder / "toy_model_I/best_model.keras").read_bytes() == best


def test_what_killed_processes_left_is_removed(whole, species, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    names = (
        *("toy_model_I/epoch_models/.model_epoch_2-a1b2c3_d.keras", "toy_model_I/.best_model-abcdefgh.keras"),
        *("toy_model_II/.performance_log-abcdefgh.csv", ".toy_result-abcdefgh.csv", ".toy_run-abcdefgh.json"),
        *(".toy.lock", ".toy_model_I.lock", ".toy_model_I.worker.lock"),
    )
    for name in names:
        (folder / name).write_text("half")
    kept = (".other_result-abcdefgh.csv", ".hidden.csv", "toy_model_I/.notes-of-mine.txt")
    for name in kept:
        (folder / name).write_text("not ours")
    assert train(folder, species, "--chromosomes", "I,II") == 0
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob(".*")) == sorted(kept)


# ---------------------------------------------------------------------------------------- several starts
def test_starts_that_hold_out_different_chromosomes_make_one_run(whole, species, tmp_path, capsys):
    """As an array of jobs: each its chromosome, in any order; the plain command afterwards has nothing to train."""
    assert train(tmp_path, species, "--chromosomes", "II") == 0
    assert train(tmp_path, species, "--chromosomes", "I") == 0
    capsys.readouterr()
    assert train(tmp_path, species, "--chromosomes", "I,II") == 0
    assert "every fold is finished already" in capsys.readouterr().out
    assert read_numbers(tmp_path) == read_numbers(whole)
    record = json.loads((tmp_path / "toy_run.json").read_text())
    assert record["folds"] == ["I", "II"]
    assert record["held_out"] == {"I": ["I"], "II": ["II"]}
    assert record["settings"]["CHROMOSOMES"] == "I,II"
    assert set(record["models"]) == {"I", "II"}
    assert record["finished"]


def test_an_empty_folder_of_a_fold_is_no_earlier_run(whole, species, tmp_path):
    """Snakemake makes the folders of the files that a rule will write."""
    (tmp_path / "toy_model_I/epoch_models").mkdir(parents=True)
    (tmp_path / "toy_model_II").mkdir()
    assert train(tmp_path, species, "--chromosomes", "I,II") == 0
    assert read_numbers(tmp_path) == read_numbers(whole)


def test_a_fold_that_another_start_has_finished_meanwhile_is_in_the_tables(whole, species, tmp_path, monkeypatch):
    finish, seen = lcre_classifier.finish_fold, []

    def finish_beside_another(fold, *rest):
        finish(fold, *rest)
        if not seen:
            seen.append(fold.name)
            assert train(tmp_path, species, "--chromosomes", "I") == 0

    monkeypatch.setattr(lcre_classifier, "finish_fold", finish_beside_another)
    assert train(tmp_path, species, "--chromosomes", "II") == 0
    assert seen == ["II"]
    assert read_numbers(tmp_path) == read_numbers(whole)
    assert json.loads((tmp_path / "toy_run.json").read_text())["folds"] == ["I", "II"]
    assert (tmp_path / "toy_report.html").exists()


def test_a_start_beside_a_process_that_trains_other_folds(species, tmp_path, capsys):
    """What the other process has not finished yet is left open: no page, no finished run; its folds stay."""
    assert train(tmp_path, species, "--chromosomes", "I,II") == 0
    (tmp_path / "toy_model_II/predictions.csv").unlink()
    capsys.readouterr()
    with locks.claim(tmp_path / ".toy_model_II.lock", "fold II"):
        assert train(tmp_path, species, "--chromosomes", "III") == 0
        assert "1 of 3 folds of the run are left to other starts" in capsys.readouterr().out
        assert json.loads((tmp_path / "toy_run.json").read_text())["finished"] is None
        for chromosomes in ("II", "all", "I,II"):
            before = read_numbers(tmp_path)
            assert train(tmp_path, species, "--chromosomes", chromosomes) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"lcre_classifier.py: fold II of {tmp_path / 'toy'} is in use by process ")
            assert error.count("\n") == 1
            assert read_numbers(tmp_path) == before
    assert train(tmp_path, species) == 0
    assert [row["chromosome"] for row in read_numbers(tmp_path)["toy_result.csv"]] == ["I", "II", "III", "IV", "pooled"]
    assert json.loads((tmp_path / "toy_run.json").read_text())["finished"]


def test_overwrite_does_not_delete_what_another_process_trains(whole, species, tmp_path, capsys):
    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    with locks.claim(folder / ".toy_model_II.lock", "fold II"):
        assert train(folder, species, "--chromosomes", "I", "--overwrite") == 2
    assert "fold II" in capsys.readouterr().err
    assert read_numbers(folder) == read_numbers(whole)


def test_a_chromosome_is_held_out_by_one_fold_of_a_run(whole, species, tmp_path, capsys):
    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    assert train(folder, species, "--chromosomes", "I+III") == 2
    error = capsys.readouterr().err
    assert "fold I of" in error
    assert "holds out 'I' already, and fold I+III would again; give another ORGANISM" in error
    assert read_numbers(folder) == read_numbers(whole)


# --------------------------------------------------------------------------------------- what is not read
def test_expression_on_the_held_out_chromosome_makes_no_difference(species, tmp_path, monkeypatch):
    """Shuffled among the genes of chromosome II, it changes neither training nor the choice nor any output there."""
    on_ranks = small_model(targets=lcre_classifier.rank_targets, trains_on_middle_genes=True)
    monkeypatch.setitem(lcre_classifier.MODELS, "published", on_ranks)
    first, *lines = Path(species[species.index("--tpm") + 1]).read_text().splitlines()
    table = dict(line.split(",", 1) for line in lines)
    held_out = [name for name in table if name.startswith("1g")]
    values = [table[name] for name in held_out]
    moved = table | dict(zip(held_out, values[1:] + values[:1], strict=True))
    (tmp_path / "moved.csv").write_text("\n".join([first, *map(",".join, moved.items())]) + "\n")
    assert train(tmp_path / "before", species, "--chromosomes", "II") == 0
    assert train(tmp_path / "after", species, "--chromosomes", "II", "--tpm", str(tmp_path / "moved.csv")) == 0

    def read(folder: Path):
        found = read_numbers(folder)
        log = found["toy_model_II/performance_log.csv"]
        logged = [{name: row[name] for name in row if name[:4] != "test"} for row in log]
        outputs = {row["gene_id"]: row for row in found["toy_model_II/predictions.csv"]}
        probability = {name: row["probability"] for name, row in outputs.items()}
        baselines = {name: (row["kmer"], row["gc"]) for name, row in outputs.items() if row["kmer"]}
        return logged, probability, baselines, {row["test_loss"] for row in log}

    before, after = read(tmp_path / "before"), read(tmp_path / "after")
    assert len(before[0]) == EPOCHS
    assert len(before[1]) == 40
    assert after[:2] == before[:2]
    both = set(before[2]) & set(after[2])
    assert 5 < len(both) < 40
    assert [after[2][name] for name in both] == [before[2][name] for name in both]
    assert not before[3] & after[3]


# --------------------------------------------------------------------------------------- mixed precision
def test_the_best_model_is_float32_also_after_training_in_mixed_precision(species, tmp_path, monkeypatch):
    """As on a GPU: checkpoints are in mixed precision, and the best model is the chosen one of them in float32."""
    import keras

    monkeypatch.setitem(lcre_classifier.MODELS, "published", small_model(build_mixed))
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert train(tmp_path, species, "--chromosomes", "I") == 0
        before = read_numbers(tmp_path)
        fold = tmp_path / "toy_model_I"
        (fold / "predictions.csv").unlink()
        (fold / "epoch_models/model_epoch_3.keras").unlink()
        (fold / "best_model.keras").write_bytes(b"")
        assert train(tmp_path, species, "--chromosomes", "I") == 0
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert read_numbers(tmp_path) == before
    chosen = int(before["toy_result.csv"][0]["best_epoch"])
    checkpoint = keras.models.load_model(fold / f"epoch_models/model_epoch_{chosen}.keras", compile=False)
    best = keras.models.load_model(fold / "best_model.keras", compile=False)
    assert "float16" in {layer.compute_dtype for layer in checkpoint.layers}
    assert {layer.compute_dtype for layer in best.layers} == {"float32"}
    *ours, kernel, bias = best.get_weights()
    *theirs, as_trained, _ = checkpoint.get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    scale = kernel / as_trained  # of the calibration, which is all that differs
    assert scale == pytest.approx(np.full(scale.shape, scale.mean()), rel=1e-5)
    assert scale.mean() > 0
    outputs = before["toy_model_I/predictions.csv"]
    log_odds = np.array([[np.log(float(row[name]) / (1 - float(row[name]))) for row in outputs] for name in PAIR])
    assert log_odds[0] == pytest.approx(
        scale.mean() * log_odds[1] + (log_odds[0] - scale.mean() * log_odds[1]).mean(), abs=1e-4
    )


PAIR = ("probability", "uncalibrated")


def build_mixed(layout: lcre_classifier.WindowLayout) -> lcre_classifier.Network:
    from keras import Sequential, layers

    parts = [
        layers.Flatten(),
        layers.Dense(8, "relu"),
        layers.Dropout(0.2),
        layers.Dense(1, "sigmoid", dtype="float32"),
    ]
    return lcre_classifier.Network(Sequential([layers.Input((layout.columns, 4)), *parts]))


# ------------------------------------------------------------------------------------------- a full disk
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system limits no file sizes")
def test_disk_full_while_a_checkpoint_is_written(whole, species, tmp_path, capsys):
    """Files above a size fail, as on a full disk: one line, exit 2, the earlier epochs whole, and the run goes on."""
    import resource

    folder = tmp_path / "models"
    shutil.copytree(whole, folder)
    fold = folder / "toy_model_II"
    log = (fold / "performance_log.csv").read_text().splitlines(keepends=True)
    (fold / "performance_log.csv").write_text("".join(log[:3]))  # as if stopped in the third epoch
    for epoch in (2, 3):
        (fold / f"epoch_models/model_epoch_{epoch}.keras").unlink()
    (fold / "predictions.csv").unlink()
    left = {path: path.read_bytes() for path in (fold / "epoch_models").iterdir()}
    size = (fold / "epoch_models/model_epoch_1.keras").stat().st_size

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 100, before[1]))
    try:
        status = train(folder, species, "--chromosomes", "I,II")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the same command goes on" in error
    assert (fold / "performance_log.csv").read_text() == "".join(log[:3])
    assert {path: path.read_bytes() for path in (fold / "epoch_models").iterdir()} == left
    assert train(folder, species, "--chromosomes", "I,II") == 0
    assert read_numbers(folder) == read_numbers(whole)


# ------------------------------------------------------------------------------------------------- names
def test_names_of_chromosomes_that_are_no_file_names(tmp_path):
    """Each fold has a folder of its own, and predict, explain and the page find it."""
    names = ["a/b", "a_b", "a%2Fb", "../up", "x+y", "<b>&amp;"]
    flags = make_files(tmp_path, names)
    assert train(tmp_path / "models", flags) == 0
    result = read_numbers(tmp_path / "models")["toy_result.csv"]
    assert [row["chromosome"] for row in result] == [*names, "pooled"]
    folders = [records.fold_folder(tmp_path / "models/toy", name) for name in names]
    assert len(set(folders)) == len(names)
    assert all((folder / "predictions.csv").exists() for folder in folders)
    assert (tmp_path / "models/toy_report.html").exists()

    from lcre.trained import load_run

    run = load_run(tmp_path / "models/toy", lcre_classifier.WindowLayout.of)
    assert run.folds == names
    assert [run.held_out_by(name) for name in names] == [[name] for name in names]
    assert run.held_out_by("x") == []
