"""A run that is stopped at any change of a file, or has an error of the disk there, goes on to the same CSVs.

The script's own `main` trains a small network in this process. A copy of its folder at a change is what a kill at that
moment leaves. Real kills, disks and permissions: `python tests/faults runs`.
"""

import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import LONG, is_running, read_numbers, write
from test_checkpoints import COLUMNS, ToyModel, choose_last, row
from test_resume import make_files, small_model, train

import lcre_classifier
from core.checkpoints import Checkpoints
from lcre import records

from . import disturb
from .events import Changes

FLAGS = ("--chromosomes", "I", "--epochs", "2")
QUICK = 2  # of the moments, in every run of the tests; all with LCRE_LONG=1


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(lcre_classifier.MODELS, "published", small_model())


@pytest.fixture(scope="module")
def species(tmp_path_factory) -> list[str]:
    return make_files(tmp_path_factory.mktemp("species"), ["I", "II", "III"])


@pytest.fixture(scope="module")
def states(tmp_path_factory, species) -> list[Path]:
    """Copies of a run's folder before each of its changes, of equal ones the first; the last is that of its end."""
    folder, copies, known = tmp_path_factory.mktemp("run") / "models", tmp_path_factory.mktemp("states"), {}
    folder.mkdir()

    def keep(number: int, *_) -> None:
        content = tuple(
            (str(path.relative_to(folder)), path.is_file() and not path.name.endswith(".lock") and path.read_bytes())
            for path in sorted(folder.rglob("*"))
        )
        if content not in known:
            known[content] = Path(shutil.copytree(folder, copies / f"{number:03}"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(lcre_classifier.MODELS, "published", small_model())
        changes = Changes(str(folder), keep)
        assert train(folder, species, *FLAGS) == 0
        changes.is_on = False
    keep(999)
    return list(known.values())


def choose(count: int, most: int = QUICK) -> list[int]:
    """Return so many places of `count`, at even distances; all of them with LCRE_LONG=1."""
    return (
        list(range(count))
        if os.environ.get("LCRE_LONG")
        else [count * (2 * at + 1) // (2 * most) for at in range(most)]
    )


def test_what_a_kill_leaves_at_any_change_is_gone_on_with(states, species, tmp_path):
    whole = read_numbers(states[-1])
    assert len(states) > 40
    assert len(whole) == 6
    for place in choose(len(states) - 1):
        folder = Path(shutil.copytree(states[place], tmp_path / states[place].name))
        assert disturb.half_files(folder) == []
        assert train(folder, species, *FLAGS) == 0, place
        assert read_numbers(folder) == whole, place
        assert disturb.half_files(folder) == disturb.leftovers(folder) == []


def test_an_error_of_the_disk_at_any_change_is_one_line(states, species, tmp_path, capsys):
    """No room, no permission, a disk that fails: exit status 2, and the next start ends as if nothing had been."""
    whole, wrong = read_numbers(states[-1]), [errno.ENOSPC, errno.EROFS, errno.EIO]
    at, changes = [0], []

    def fail(number: int, event: str, path: str) -> None:
        if number >= at[0] and not path.endswith(".lock"):  # from here on
            raise OSError(code := wrong[at[0] % 3], os.strerror(code), path)

    last = int(states[-2].name)
    for place in range(1, last, 3) if os.environ.get("LCRE_LONG") else [last // 2]:
        folder = tmp_path / str(place)
        folder.mkdir()
        at[0] = place
        changes.append(Changes(str(folder), fail))
        status = train(folder, species, *FLAGS)
        changes[-1].is_on = False
        error = capsys.readouterr().err
        assert status == 2, (place, error)
        assert error.startswith("lcre_classifier.py: ")
        assert error.count("\n") == 1
        assert disturb.half_files(folder) == []
        assert train(folder, species, *FLAGS) == 0
        assert read_numbers(folder) == whole
        assert disturb.leftovers(folder) == []


def test_every_kill_while_an_epoch_is_written_costs_that_epoch_at_most(tmp_path):
    """All states on disk of two epochs of a training without a network: the log never names what is lost."""
    folder, states = tmp_path / "run", []
    folder.mkdir()

    def keep(number: int, *_) -> None:
        states.append(Path(shutil.copytree(folder, tmp_path / str(number))))

    changes = Changes(str(folder), keep)
    found = Checkpoints(folder / "fold", "run 1", COLUMNS)
    found.read(2)
    for epoch in range(2):
        found.finish_epoch(epoch, ToyModel(), row(epoch), choose_last)
    changes.is_on = False
    assert len(states) > 12
    for state in states:
        again = Checkpoints(state / "fold", "run 1", COLUMNS)
        assert again.read(2) == []  # nothing is damaged
        assert list(again.log) == list(range(len(again.log)))
        for epoch in range(len(again.log), 2):
            again.finish_epoch(epoch, ToyModel(), row(epoch), choose_last)
        again.keep_best(again.log, choose_last)
        assert again.log_file.read_bytes() == found.log_file.read_bytes()
        assert all(again.is_whole(path, 1, again.show_row(row(1))) for path in (again.file(1), again.best_file))


# ---------------------------------------------------------------------------------------------------- inputs
@pytest.mark.parametrize("begin", ["describe_run", pytest.param("open_run", marks=[LONG])])
def test_an_input_that_changes_while_it_is_read_is_refused(species, tmp_path, capsys, monkeypatch, begin):
    """Between reading and hashing; else the record would name another content than the numbers are of."""
    table = Path(species[species.index("--tpm") + 1])
    content, function = table.read_bytes(), getattr(records, begin)

    def edit_first(*arguments):
        table.write_bytes(content.replace(b".", b".9", 1))
        return function(*arguments)

    monkeypatch.setattr(records, begin, edit_first)
    try:
        status = train(tmp_path / "models", species, *FLAGS, "--epochs", "1")
    finally:
        table.write_bytes(content)
    assert status == (2 if begin == "describe_run" else 0)
    if status:
        assert "TPM: the file was changed while it was read; start again" in capsys.readouterr().err
        assert not (tmp_path / "models").exists()


# ------------------------------------------------------------------------------------- what looks at the faults
def test_half_files_are_found(tmp_path):
    whole = {"a.csv": "a,b\n1,2\n", "a.json": "{}", "a.html": "<html></html>\n"}
    half = {
        "b.csv": "a,b\n1,2",
        "c.csv": "a,b\n1\n",
        "d.csv": "",
        "b.json": '{"a": ',
        "b.html": "<html>",
        "b.keras": "PK",
    }
    for name, content in (whole | half | {".e-abcdefgh.csv": "a"}).items():
        write(tmp_path / name, content)
    assert sorted(disturb.half_files(tmp_path)) == sorted(half)
    assert disturb.leftovers(tmp_path) == [".e-abcdefgh.csv"]


def test_differing_numbers_are_found():
    rows = {"a.csv": [{"x": "1"}, {"x": "2"}]}
    assert disturb.compare(rows, rows) == ""
    assert disturb.compare({"a.csv": [{"x": "1"}, {"x": "3"}]}, rows) == "a.csv: {'x': '3'}, expected {'x': '2'}"
    assert disturb.compare({"a.csv": [{"x": "1"}]}, rows) == "a.csv: 1 rows, expected 2"
    assert disturb.compare({}, rows) == "a.csv: None rows, expected 2"


def test_each_way_to_damage_a_file_changes_it(tmp_path):
    other, said = write(tmp_path / "other", "other"), set()
    for number in range(40):
        path = write(tmp_path / "file", bytes(range(1, 250)))
        said.add(disturb.damage(path, [other], random.Random(number)).split(" ")[0])
        assert not path.exists() or path.read_bytes() != bytes(range(1, 250))
    assert said == {"cut", "a", "zeros", "removed", "replaced", "random"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_processes_that_a_start_leaves_are_found_and_killed():
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('on', flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"on\n"
    process.wait()
    process.stdout.close()
    (left,) = disturb.list_session(process.pid)
    disturb.kill_session(process.pid)
    while is_running(left):
        pass
    assert disturb.list_session(process.pid) == {}


@LONG
def test_every_fault_once(tmp_path):
    bench, said = disturb.Bench(tmp_path / "bench"), []
    found = disturb.run_trials(bench, dict.fromkeys(disturb.KINDS, 1), 5, said.append)
    assert [trial.ended for trials in found.values() for trial in trials] == ["equal"] * sum(map(len, found.values()))
    assert not [trial.remarks for trials in found.values() for trial in trials if trial.remarks], said
