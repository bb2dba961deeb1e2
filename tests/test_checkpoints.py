"""Which epochs on disk are whole: every cut and every flipped bit of a checkpoint, every kind of damaged log."""

import shutil
import zipfile
from pathlib import Path

import pytest
from builders import write

from core.checkpoints import Checkpoints, read_log

COLUMNS = {"epoch": (0, 1e9), "loss": (0, 1e300), "val_auROC": (0, 1)}
CONTENT = {"config.json": b'{"a": 1}', "model.weights.h5": bytes(range(200))}


ROW = b"1,0.15,"  # of the second epoch


class ToyModel:
    """Saves as Keras does: a zip file."""

    def save(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in CONTENT.items():
                archive.writestr(name, content)


def row(epoch: int) -> dict[str, str]:
    return {"epoch": str(epoch), "loss": f"0.{epoch}5", "val_auROC": ""}


def choose_last(rows: list[dict]) -> int:
    return len(rows) - 1


@pytest.fixture
def training(tmp_path) -> Checkpoints:
    """Three epochs."""
    found = Checkpoints(tmp_path / "fold", "run 1 fold I", COLUMNS)
    assert found.read(3) == []
    for epoch in range(3):
        assert found.finish_epoch(epoch, ToyModel(), row(epoch), choose_last) == epoch
    return found


def again(training: Checkpoints, label: str = "run 1 fold I", epochs: int = 3) -> tuple[list[int], list[str]]:
    """Return which epochs the next start finds whole, and what it says."""
    found = Checkpoints(training.log_file.parent, label, COLUMNS)
    said = found.read(epochs)
    assert read_log(found.log_file, COLUMNS) == found.log
    return list(found.log), said


def test_what_is_whole_is_kept(training):
    assert again(training) == ([0, 1, 2], [])
    assert again(training, epochs=2) == ([0, 1], [])
    assert training.log_file.read_text() == "epoch,loss,val_auROC\n0,0.05,\n1,0.15,\n"


def test_an_epoch_without_a_row_is_no_damage(training):
    training.write_log({0: row(0), 1: row(1)})
    assert again(training) == ([0, 1], [])


def test_an_epoch_whose_model_is_lost_is_trained_again(training):
    training.file(1).unlink()
    said = ["model_epoch_1.keras is damaged or missing: its epoch is trained again"]
    assert again(training) == ([0, 2], said)


def test_an_epoch_whose_row_is_lost_is_trained_again(training):
    training.write_log({0: row(0), 2: row(2)})
    assert again(training) == ([0, 2], ["performance_log.csv lacks epoch 1: it is trained again"])


def test_an_epoch_whose_row_was_changed_is_trained_again(training):
    """A digit of a number is another, which still looks like one."""
    training.log_file.write_text(training.log_file.read_text().replace("1,0.15", "1,0.25"))
    assert again(training)[0] == [0, 2]


def test_models_from_before_rows_were_hashed_are_kept(training):
    for epoch in range(3):
        training.write_model(training.file(epoch), epoch, ToyModel())
    assert again(training) == ([0, 1, 2], [])


@pytest.mark.parametrize("other", [0, 2])
def test_a_model_in_the_place_of_another_is_found(training, other):
    shutil.copy(training.file(other), training.file(1))
    assert again(training)[0] == [0, 2]


def test_models_of_another_run_or_fold_are_found(training):
    assert again(training, "run 1 fold II")[0] == []


def test_models_of_older_versions_have_no_hash(training):
    ToyModel().save(training.file(2))
    assert again(training) == ([0, 1, 2], [])
    content = training.file(2).read_bytes()
    training.file(2).write_bytes(content.replace(CONTENT["model.weights.h5"][:9], b"otherwise"))
    assert again(training)[0] == [0, 1]


def test_a_model_with_its_hash_is_a_zip_file_as_before(training):
    with zipfile.ZipFile(training.file(1)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == CONTENT


def test_every_cut_is_found(training):
    content = training.file(1).read_bytes()
    for size in range(len(content)):
        training.file(1).write_bytes(content[:size])
        assert not training.is_whole(training.file(1), 1, ROW), size


def test_flipped_bits_are_found(training):
    content = training.file(1).read_bytes()
    for at in range(0, 8 * len(content), 5):
        changed = bytearray(content)
        changed[at // 8] ^= 1 << at % 8
        training.file(1).write_bytes(changed)
        assert not training.is_whole(training.file(1), 1, ROW), at


def test_the_best_model_is_a_copy(training):
    assert training.best_file.read_bytes() == training.file(2).read_bytes()
    training.keep_best(training.log, lambda rows: 1)
    assert training.best_file.read_bytes() == training.file(1).read_bytes()
    assert training.is_whole(training.best_file, 1, ROW)
    assert not training.is_whole(training.best_file, 2, ROW)
    training.best_file.write_bytes(b"changed")
    training.keep_best(training.log, lambda rows: 1)  # it is there
    assert training.best_file.read_bytes() == b"changed"


def test_the_best_of_the_epochs_that_are_there_is_kept(tmp_path):
    """Rows 0 and 2 of a log that lost row 1: the second row of it is epoch 2."""
    found = Checkpoints(tmp_path / "fold", "run 1 fold I", COLUMNS)
    found.read(4)
    for epoch in (0, 2):
        best = found.finish_epoch(epoch, ToyModel(), row(epoch), choose_last)
    assert best == 2
    assert found.finish_epoch(1, ToyModel(), row(1), choose_last) == 2
    assert list(found.log) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "epochs"),
    [
        ("epoch,loss,val_auROC\n0,0.5,0.5\n1,0.4,nan\n", [0, 1]),
        ("epoch,loss,val_auROC,new\n0,0.5,0.5,9\n", [0]),
        ("loss,epoch,val_auROC\n0.5,0,0.5\n", [0]),
        ("epoch,loss\n0,0.5\n", []),
        ("epoch,loss,val_auROC\nx,0.5,0.5\n1,0.5,0.5\n", [1]),
        ("epoch,loss,val_auROC\n0,,0.5\n1,inf,0.5\n2,0.5,\n", [1, 2]),
        ("epoch,loss,val_auROC\n-1,0.5,0.5\n0.5,0.5,0.5\n1e300,0.5,0.5\nnan,1,1\n", []),
        ("epoch,loss,val_auROC\n0,0.5,7.5\n1,-1,0.5\n2,0.5,1\n", [2]),
        ("\x00\xff,,\n\n\n,", []),
    ],
)
def test_damaged_rows_of_a_log_are_left_out(tmp_path, text, epochs):
    found = read_log(write(tmp_path / "log.csv", text), COLUMNS)
    assert list(found) == epochs
    assert all(list(cells) == list(COLUMNS) for cells in found.values())
