"""Files of a run: whole or not at all, row by row, and never of two runs at once."""

import contextlib
import copy
import csv
import errno
import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest
from builders import one_line, write
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import DAMAGE, of_older_version

from core import InputError, show_value
from core.files import (
    current_umask,
    escape_cell,
    hash_file,
    read_rows,
    replacing,
    unescape_cells,
    write_csv,
    write_json,
    write_rows,
    write_text,
)
from core.memory import peak_memory_bytes
from lcre import records

ROW = {"epoch": "0", "loss": "0.5"}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# ------------------------------------------------------------------------------------- whole or not at all
def test_replacing_gives_a_temporary_of_the_same_suffix_in_the_same_folder(tmp_path):
    path = tmp_path / "model epoch.keras"
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        temporary.write_text("new")
        assert not path.exists()
    assert files_of(tmp_path) == {path.name: b"new"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError(), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_replacing_leaves_the_earlier_file_on_an_error(tmp_path, old, error):
    path = tmp_path / "run.json"
    if old is not None:
        path.write_bytes(old)

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert files_of(tmp_path) == ({} if old is None else {"run.json": old})


def test_replacing_when_the_disk_is_full_at_the_very_end(tmp_path, monkeypatch):
    """Some file systems say only at fsync that the bytes have no place."""
    path = write(tmp_path / "run.json", "old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert files_of(tmp_path) == {"run.json": b"old"}


def test_replacing_when_the_writer_removes_and_makes_the_file_anew(tmp_path):
    path = write(tmp_path / "w.npz", "old")
    with replacing(path) as temporary:
        temporary.unlink()
        temporary.write_text("new")
    assert files_of(tmp_path) == {"w.npz": b"new"}


def test_files_have_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert current_umask() == 0o027
    finally:
        os.umask(before)


def test_writers(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Ω", "n": [1, None]})
    assert (tmp_path / "a.json").read_text() == '{\n "name": "\\u03a9",\n "n": [\n  1,\n  null\n ]\n}\n'
    write_csv(tmp_path / "a.csv", pd.DataFrame({"gene_id": ["01", "NA"], "x": [0.5, None]}))
    assert (tmp_path / "a.csv").read_text() == "gene_id,x\n01,0.5\nNA,\n"
    assert len(files_of(tmp_path)) == 2


# ------------------------------------------------------------------------------------------ rows of a log
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("", []),
        ("epo", []),
        ("epoch,loss", []),
        ("epoch,loss\n", []),
        ("epoch,loss\n0,0.5\n", [ROW]),
        ("epoch,loss\n0,0.5\n1,0.2", [ROW]),
        ("epoch,loss\n0,0.5\n1", [ROW]),
        ("epoch,loss\n0,0.5\n1\n", [ROW]),
        ("epoch,loss\n0,0.5\n1,2,3\n", [ROW]),
        ("epoch,loss\r\n0,0.5\r\n", [ROW]),
        ("epoch,loss\n0,0.5\n\0\0\0\0\0", [ROW]),
        (f"epoch,loss\n0,{'5' * 200_000}\n", []),
    ],
)
def test_a_last_row_cut_short_is_left_out(tmp_path, text, expected):
    path = tmp_path / "log.csv"
    if text is not None:
        path.write_text(text)
    assert read_rows(path) == expected


def test_rows_are_written_again_in_one_step(tmp_path):
    path = write(tmp_path / "log.csv", "epoch,loss\n0,0.5\n1,0.")
    write_rows(path, read_rows(path))
    assert path.read_text() == "epoch,loss\n0,0.5\n"
    write_rows(path, [])
    assert not path.exists()
    write_rows(path, [])


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0", exclude_categories=["C", "Zl", "Zp"]))


@settings(max_examples=30)
@given(st.lists(st.tuples(CELL, CELL), max_size=4), st.integers(0, 100))
def test_what_is_left_of_a_log_is_its_first_rows(tmp_path_factory, cells, cut):
    """Power fails at any byte: what is read back is a beginning of what was written."""
    path = tmp_path_factory.mktemp("log") / "log.csv"
    rows = [{"a": first, "b": second} for first, second in cells]
    write_rows(path, rows)
    assert read_rows(path) == rows
    if rows:
        content = path.read_bytes()
        path.write_bytes(content[: min(cut, len(content))])
        left = read_rows(path)
        assert left == rows[: len(left)]
        whole = content[: min(cut, len(content))].count(b"\n") - 1
        assert len(left) == max(whole, 0)


# ------------------------------------------------------------------------------------------------ the rest
def test_hash_and_memory(tmp_path):
    content = os.urandom(3000)
    assert hash_file(write(tmp_path / "x", content)) == hashlib.sha256(content).hexdigest()
    assert peak_memory_bytes() > 10_000_000


def test_folders_of_folds():
    assert records.fold_folder(Path("m/yeast"), "IV+VII") == Path("m/yeast_model_IV+VII")
    assert records.fold_folder(Path("m/yeast"), "a/b") == Path("m/yeast_model_a%2Fb")
    names = ["a/b", "a_b", "a%2Fb", "a\\b", "a\nb", "a\0b", "..", "/", "x" * 300, "x" * 299 + "y", "é" * 200, "chr 1|2"]
    folders = [records.fold_folder(Path("m/yeast"), name) for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.parent == Path("m")
        assert len(os.fsencode(folder.name)) < 200
        assert folder.name.isprintable()


# ----------------------------------------------------------------------------------------- a run's record
@pytest.fixture
def run(tmp_path):
    """Give the record of a run on four small files."""
    inputs = {name: write(tmp_path / f"{name}.txt", name) for name in ("FASTA", "GTF", "TPM", "VALIDATION_GENES")}
    settings = {
        "ORGANISM": "toy",
        "CHROMOSOMES": "all",
        "EPOCHS": None,
        "SEED": 1,
        "MODEL": "small",
        "SAVED_MODELS": "m",
        **inputs,
    }
    return records.describe_run(settings, "0.1.0", ["--seed", "1"], dict(NOTES))


NOTES = {"folds": ["1", "2"], "held_out": {"1": ["1"], "2": ["2"]}, "notes": []}


def open_run(prefix: Path, run: dict, overwrite: bool = False) -> dict:
    """Open a run as one start does that ends at once."""
    with contextlib.ExitStack() as held:
        return records.open_run(prefix, run, overwrite, held)


def finish(prefix: Path, *folds: str) -> None:
    """Leave the files of finished folds."""
    for name in folds:
        folder = records.fold_folder(prefix, name)
        folder.mkdir(exist_ok=True)
        write(folder / "predictions.csv", "gene_id\n")


@pytest.fixture
def prefix(tmp_path):
    return tmp_path / "saved" / "deep" / "toy"


def test_a_run_is_described(run):
    assert run["lcre_version"] == "0.1.0"
    assert run["organism"] == "toy"
    assert run["command"] == "lcre_classifier.py --seed 1"
    assert run["settings"]["SEED"] == 1
    assert run["settings"]["GTF"].endswith("GTF.txt")
    assert run["inputs"]["GTF"] == {"file": "GTF.txt", "bytes": 3, "sha256": hashlib.sha256(b"GTF").hexdigest()}
    assert set(run["inputs"]) == {"FASTA", "GTF", "TPM", "VALIDATION_GENES"}
    assert run["versions"]["pandas"] == pd.__version__
    assert run["finished"] is None
    assert run["folds"] == ["1", "2"]


def test_a_package_of_another_name_has_no_version(monkeypatch):
    assert records.version_of("lcre-no-such-package") is None


def test_a_new_run_and_the_same_run_again(run, prefix):
    first = open_run(prefix, run)
    assert first == run
    assert (prefix.parent / "toy_run.json").exists()
    assert not records.close_run(prefix, 2.04, "a CPU")
    again = open_run(prefix, copy.deepcopy(run) | {"started": "later"})
    assert (again["started"], again["seconds"], again["device"]) == (run["started"], 2.0, "a CPU")
    assert again["finished"] is None
    assert again["peak_memory_bytes"] > 10_000_000
    finish(prefix, "1", "2")
    assert records.close_run(prefix, 1.0, "")
    last = open_run(prefix, run)
    assert (last["seconds"], last["device"]) == (3.0, "a CPU")
    assert last["finished"]


def test_a_run_keeps_the_hashes_of_its_models(run, prefix):
    """Those of the start that trained them: a later start that finds all done does not vouch for what lies there."""
    open_run(prefix, run)
    assert not records.close_run(prefix, 1.0, "a CPU")
    assert "models" not in open_run(prefix, run)
    finish(prefix, "1", "2")
    for name, content in (("1", "a"), ("2", "b")):
        (records.fold_folder(prefix, name) / "best_model.keras").write_text(content)
    assert records.close_run(prefix, 1.0, "a CPU")
    hashes = open_run(prefix, run)["models"]
    assert hashes == {name: hashlib.sha256(content).hexdigest() for name, content in (("1", b"a"), ("2", b"b"))}
    (records.fold_folder(prefix, "1") / "best_model.keras").write_text("of another run")
    open_run(prefix, run)
    assert records.close_run(prefix, 1.0, "")
    assert open_run(prefix, run)["models"] == hashes


def test_files_count_by_content_not_by_place(run, prefix):
    open_run(prefix, run)
    moved = copy.deepcopy(run)
    moved["settings"] |= {"GTF": "elsewhere/genes.gtf", "SAVED_MODELS": "./m/"}
    moved["inputs"]["GTF"]["file"] = "genes.gtf"
    open_run(prefix, moved)


@pytest.mark.parametrize(
    ("group", "changes", "says"),
    [
        ("settings", {"SEED": 2}, ["SEED is 2 and was 1"]),
        ("settings", {"EPOCHS": 9, "MODEL": "big"}, ["EPOCHS is 9 and was None", "MODEL is big and was small"]),
        ("settings", {"NEW": 1}, ["NEW is 1 and was None"]),
        ("inputs", {"GTF": {"file": "b.gtf", "bytes": 1, "sha256": "0"}}, ["GTF is another file than GTF.txt was"]),
    ],
)
def test_other_settings_or_inputs_are_refused_and_named(run, prefix, group, changes, says):
    open_run(prefix, run)
    before = files_of(prefix.parent)
    other = copy.deepcopy(run)
    other[group] |= changes
    with pytest.raises(InputError) as error:
        open_run(prefix, other)
    for text in [*says, "--overwrite", "toy_run.json"]:
        assert text in one_line(error)
    assert "VALIDATION_GENES" not in one_line(error)
    assert files_of(prefix.parent) == before


@pytest.mark.parametrize("had", [True, False])
def test_a_list_of_genes_more_or_less_is_another_run(run, prefix, had):
    without = copy.deepcopy(run)
    del without["inputs"]["VALIDATION_GENES"]
    first, second = (run, without) if had else (without, run)
    open_run(prefix, first)
    with pytest.raises(InputError) as error:
        open_run(prefix, second)
    assert "VALIDATION_GENES" in one_line(error)


def test_overwrite_deletes_the_earlier_run_and_nothing_else(run, prefix):
    old = copy.deepcopy(run)
    old["folds"], old["held_out"] = ["1", "9"], {"1": ["1"], "9": ["9"]}
    open_run(prefix, old)
    saved = prefix.parent
    for fold in ("toy_model_1", "toy_model_9", "toy2_model_1"):
        (saved / fold / "epoch_models").mkdir(parents=True)
    tables = ("result.csv", "predictions.csv", "genes.csv", "report.html", "audit.csv", "audit_bins.csv")
    for name in (*(f"toy_{name}" for name in tables), "toy2_run.json"):
        write(saved / name, "old")
    other = copy.deepcopy(run)
    other["settings"]["SEED"] = 2
    assert open_run(prefix, other, overwrite=True) == other
    assert sorted(path.name for path in saved.iterdir()) == ["toy2_model_1", "toy2_run.json", "toy_run.json"]


def test_folders_without_a_record_are_not_touched(run, prefix):
    (prefix.parent / "toy_model_2/epoch_models").mkdir(parents=True)
    kept = write(prefix.parent / "toy_model_2/epoch_models/model_epoch_0.keras", "a model")
    with pytest.raises(InputError) as error:
        open_run(prefix, run)
    assert "--overwrite" in one_line(error)
    assert [path for path in prefix.parent.rglob("*") if path.is_file()] == [kept]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"settings": {}}', "\0\0"])
def test_a_record_that_is_none(run, prefix, content, overwrite):
    prefix.parent.mkdir(parents=True)
    write(prefix.parent / "toy_run.json", content)
    with pytest.raises(InputError) as error:
        open_run(prefix, run, overwrite)
    assert "is not the record of a run" in one_line(error)


@pytest.mark.parametrize("what", DAMAGE)
def test_a_record_that_was_edited_or_damaged(run, prefix, what):
    """Whoever starts the run again gets one line that names the file, what is wrong in it, and what to do."""
    change, says = DAMAGE[what]
    record = prefix.parent / "toy_run.json"
    prefix.parent.mkdir(parents=True)
    content = change(run)
    record.write_bytes(content)
    with pytest.raises(InputError) as error:
        open_run(prefix, run)
    for text in (str(record), says, "restore it from a copy, or remove it and train again with --overwrite"):
        assert text in one_line(error)
    assert record.read_bytes() == content


@pytest.mark.parametrize("held_out", [{"1": ["2"], "2": ["1"]}, {"1": ["1"], "9": ["9"]}, {"1": [], "2": ["2"]}])
def test_a_record_whose_folds_hold_out_other_chromosomes(run, tmp_path, held_out):
    write_json(tmp_path / "toy_run.json", run | {"held_out": held_out})
    with pytest.raises(InputError, match="where a fold and its chromosomes belong"):
        records.read_run(tmp_path / "toy_run.json")


def test_a_repaired_model_is_vouched_for_again(run, prefix):
    """A start that makes a model again takes the old hashes out first, so that the next one writes those of today."""
    open_run(prefix, run)
    finish(prefix, "1", "2")
    (records.fold_folder(prefix, "1") / "best_model.keras").write_text("old")
    records.close_run(prefix, 1.0, "a CPU")
    (records.fold_folder(prefix, "1") / "best_model.keras").write_text("new")
    records.forget_models(prefix)
    assert "models" not in open_run(prefix, run)
    assert records.close_run(prefix, 1.0, "")
    assert open_run(prefix, run)["models"] == {"1": hashlib.sha256(b"new").hexdigest()}


@pytest.mark.parametrize("name", ["settings", "inputs", "folds"])
def test_a_record_without_what_every_version_wrote(run, tmp_path, name):
    del run[name]
    write_json(tmp_path / "toy_run.json", run)
    with pytest.raises(InputError, match=f"it has no {name}; restore"):
        records.read_run(tmp_path / "toy_run.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_record_that_is_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "toy_run.json")  # reading it would wait for ever
    with pytest.raises(InputError, match="it is not a file"):
        records.read_run(tmp_path / "toy_run.json")


def test_a_record_that_is_a_folder_or_may_not_be_read(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="it is not a file"):
        records.read_run(tmp_path)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"it cannot be read \(Permission denied\)"):
        records.read_run(write(tmp_path / "toy_run.json", "{}"))


def test_a_run_of_an_older_version_goes_on(run, prefix):
    """Its record lacks what is written today and has fields that no version knows; these stay."""
    prefix.parent.mkdir(parents=True)
    write(prefix.parent / "toy_run.json", of_older_version(run))
    earlier = open_run(prefix, run)
    finish(prefix, "1", "2")
    assert (earlier["seconds"], earlier["device"], earlier["finished"]) == (0.0, "", None)
    assert "cpu_seconds" not in earlier
    assert records.close_run(prefix, 2.0, "a CPU")
    last = records.read_run(prefix.parent / "toy_run.json")
    assert (last["seconds"], last["device"], last["later"]) == (2.0, "a CPU", {"a": [{"b": None}]})
    assert last["finished"]


def test_a_run_of_a_model_by_its_former_name_goes_on(run, prefix):
    """It is the same run, and its record, of which the checkpoints carry a hash, stays as it was."""
    former = copy.deepcopy(run)
    former["settings"]["MODEL"] = "motifs_and_words"
    open_run(prefix, former)
    run["settings"]["MODEL"] = "cnn_lstm_kmer"
    again = open_run(prefix, run)
    assert again["settings"]["MODEL"] == "motifs_and_words"
    assert records.identify_run(again) == records.identify_run(former) != records.identify_run(run)
    run["settings"]["MODEL"] = "small"
    with pytest.raises(InputError, match="MODEL is small and was cnn_lstm_kmer"):
        open_run(prefix, run)


def test_a_record_keeps_the_order_of_its_fields(run, prefix):
    open_run(prefix, run)
    assert list(open_run(prefix, run)) == list(run)


def test_differences_are_one_line_of_bounded_length(run, prefix):
    """An edited record may hold long values, line breaks and more inputs than there are."""
    edited = copy.deepcopy(run)
    edited["settings"] |= {"MODEL": "x" * 10_000, "SEED": "1\n\x1b[31m2"}
    edited["inputs"] |= {f"more {number}\r": run["inputs"]["GTF"] for number in range(1000)}
    open_run(prefix, edited)
    with pytest.raises(InputError) as error:
        open_run(prefix, run)
    assert len(str(error.value).replace(str(prefix.parent), "")) < 800
    assert str(error.value).isprintable()
    for text in (f"MODEL is small and was {'x' * 29}…", "SEED is 1 and was 1\\n\\x1b[31m2", "and 996 more"):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("value", "most", "shown"),
    [
        ("gene:AT1G01010.1", 60, "gene:AT1G01010.1"),
        ("基因 é $\\x$", 60, "基因 é $\\x$"),
        ("a\nb\tc\x1b[31m\u202ed\ud800\0", 60, "a\\nb\\tc\\x1b[31m\\u202ed\\ud800\\x00"),
        ("0123456789", 10, "0123456789"),
        ("0123456789A", 10, "0123…789A"),
        (Path("a/b"), 60, "a/b"),
        (None, 60, "None"),
    ],
)
def test_values_are_shown_on_one_line(value, most, shown):
    assert show_value(value, most) == shown


def test_a_folder_that_cannot_be_written(run, tmp_path):
    blocked = write(tmp_path / "blocked", "a file, not a folder")
    for prefix in (blocked / "toy", blocked / "deeper" / "toy"):
        with pytest.raises(InputError) as error:
            open_run(prefix, run)
        assert "SAVED_MODELS: cannot write to" in one_line(error)


def test_logs_are_read_by_others_as_csv(tmp_path):
    path = tmp_path / "log.csv"
    write_rows(path, [{"name": 'a "b", c', "value": ""}])
    with open(path, newline="") as file:
        assert list(csv.DictReader(file)) == [{"name": 'a "b", c', "value": ""}]


@given(st.lists(st.text(alphabet="=+-@'1.a\t", max_size=5), max_size=5))
def test_escaped_names_are_read_back(names):
    escaped = pd.Series([escape_cell(name) for name in names], dtype=str)
    assert unescape_cells(escaped).tolist() == names


@pytest.mark.parametrize(
    ("name", "cell"),
    [("=A1+1", "'=A1+1"), ("@x", "'@x"), ("-a", "'-a"), ("-0.5", "-0.5"), ("+1e3", "+1e3"), ("-", "-"), ("g=1", "g=1")],
)
def test_names_that_begin_a_formula_are_escaped_in_tables(tmp_path, name, cell):
    write_csv(tmp_path / "t.csv", pd.DataFrame({"gene_id": [name], "value": [-0.5]}))
    assert (tmp_path / "t.csv").read_text() == f"gene_id,value\n{cell},-0.5\n"
