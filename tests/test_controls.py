"""Controls: what each denies the network, by hand, and as runs of the real script beside the real run."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from genomes import random_sequence, reverse_complement, settings_of, show_codes
from hypothesis import given
from hypothesis import strategies as st
from test_run import command, rows, train
from test_windows import codes_of

import lcre_classifier as lcre
from core import InputError
from lcre import controls
from lcre.control_table import write_controls

ROOT = Path(__file__).resolve().parents[1]


def shown(part: str | None, upstream: int = 5, downstream: int = 4, padding: int = 2) -> str:
    """The columns whose base is shown, as a string: # shown, . hidden."""
    visible = lcre.WindowLayout(upstream, downstream, padding, part).visible
    return "".join("#" if column else "." for column in visible)


# --------------------------------------------------------------------------------------------- what is shown
def test_what_each_part_shows():
    """Five bp before the TSS, four from it on, the first three of which are the start codon; mirrored at the TES."""
    assert shown(None) == "#####...#" + ".." + "#...#####"
    assert shown("promoter") == "#####...#" + ".." + "........."
    assert shown("terminator") == "........." + ".." + "#...#####"
    assert shown("outside") == "#####...." + ".." + "....#####"
    assert shown("inside") == "........#" + ".." + "#........"


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 3))
def test_parts_share_no_column_and_leave_none_out(upstream, downstream, padding):
    layouts = {part: lcre.WindowLayout(upstream, downstream, padding, part).visible for part in (None, *controls.PARTS)}
    for one, other in (("outside", "inside"), ("promoter", "terminator")):
        assert not (layouts[one] & layouts[other]).any()
        assert ((layouts[one] | layouts[other]) == layouts[None]).all()


def test_shifted_windows_are_moved_away_from_the_gene():
    """Seven bp further out on both sides, on either strand; a gene that is near an end has no window any more."""
    sequence = random_sequence(np.random.default_rng(1), 80)
    layout = lcre.WindowLayout(4, 3, 2, shift=7)
    start, end, strand = np.array([20, 20, 10, 30]), np.array([40, 40, 40, 70]), np.array(["+", "-", "+", "+"])
    fits, windows = lcre.cut_windows(codes_of(sequence), start, end, strand, layout)
    assert fits.tolist() == [True, True, False, False]  # 10 - 7 - 4 is -1; 70 + 7 + 4 is 81, of 80
    left, right = sequence[20 - 7 - 4 : 20 - 7 + 3], sequence[40 + 7 - 3 : 40 + 7 + 4]
    assert show_codes(windows[0]) == left + ".." + right
    assert show_codes(windows[1]) == reverse_complement(right) + ".." + reverse_complement(left)


def test_the_layout_follows_from_the_settings():
    """Runs of older versions say nothing of a control."""
    tiny = ["--dataset", "demo", "--upstream", "30", "--downstream", "10"]
    assert lcre.WindowLayout.of(settings_of(tiny)) == lcre.WindowLayout(30, 10, 20, None, 0)
    assert lcre.WindowLayout.of(settings_of([*tiny, "--control", "none"])) == lcre.WindowLayout(30, 10, 20, None, 0)
    assert lcre.WindowLayout.of(settings_of([*tiny, "--control", "inside"])).shown == "inside"
    assert lcre.WindowLayout.of(settings_of([*tiny, "--control", "permuted"])).shown is None
    moved = lcre.WindowLayout.of(settings_of([*tiny, "--control", "shifted", "--shift", "9"]))
    assert (moved.shown, moved.shift) == (None, 9)
    older = settings_of(tiny)
    del older.CONTROL, older.SHIFT
    assert lcre.WindowLayout.of(older) == lcre.WindowLayout(30, 10, 20)


# ---------------------------------------------------------------------------------------------- what is shuffled
REGIONS = (slice(0, 40), slice(42, 82))


def make_windows(genes: int) -> np.ndarray:
    """Windows of two regions of 40 bp, two columns of padding, and a masked codon in each region."""
    windows = np.random.default_rng(2).integers(0, 4, (genes, 82)).astype(np.uint8)
    windows[:, 40:42] = windows[:, 20:23] = windows[:, 60:63] = 4
    return windows


def count_words(sequence: np.ndarray, length: int) -> Counter:
    return Counter(tuple(sequence[at : at + length]) for at in range(len(sequence) - length + 1))


@pytest.mark.parametrize(("control", "length"), [("shuffled", 1), ("dinucleotides", 2)])
def test_training_windows_keep_their_composition(control, length):
    """Of 700 genes: bases, or dinucleotides too, of each region by itself; where nothing is known stays so."""
    windows = make_windows(700)
    before = windows.copy()
    shuffled = controls.shuffle_windows(windows, REGIONS, control, seed=1)
    assert (windows == before).all()
    assert ((shuffled == 4) == (windows == 4)).all()
    for region in REGIONS:
        for one, other in zip(windows[:, region], shuffled[:, region], strict=True):
            assert count_words(one[one < 4], length) == count_words(other[other < 4], length)
            assert one.tolist() != other.tolist()
    assert (controls.shuffle_windows(windows, REGIONS, control, seed=1) == shuffled).all()
    assert (controls.shuffle_windows(windows, REGIONS, control, seed=2) != shuffled).any()


def test_single_bases_do_not_keep_dinucleotides():
    windows = make_windows(50)
    shuffled = controls.shuffle_windows(windows, REGIONS, "shuffled", seed=1)
    for one, other in zip(windows, shuffled, strict=True):
        assert count_words(one[:20], 2) != count_words(other[:20], 2)


def test_the_other_controls_shuffle_nothing():
    windows = make_windows(3)
    for control in (None, "permuted", "promoter", "terminator", "outside", "inside", "shifted"):
        assert controls.shuffle_windows(windows, REGIONS, control, seed=1) is windows


def test_permuted_labels_stay_in_their_group():
    """Low and high genes exchange label and rank among themselves, middle ones theirs; others keep them."""
    labels = np.array([0, 1, 0, 1, 2, 2, 2, 1, 0] * 20)
    ranks = np.arange(len(labels)) / len(labels)
    groups = [np.flatnonzero(labels[:160] < 2), np.flatnonzero(labels[:160] == 2)]
    new_labels, new_ranks = controls.permute_labels(labels, ranks, groups, np.random.default_rng(1))
    assert labels[:3].tolist() == [0, 1, 0]
    for group in groups:
        before = sorted(zip(labels[group], ranks[group], strict=True))
        assert sorted(zip(new_labels[group], new_ranks[group], strict=True)) == before
        assert (new_ranks[group] != ranks[group]).mean() > 0.9
    assert (new_ranks[160:] == ranks[160:]).all()
    assert (new_labels[160:] == labels[160:]).all()
    assert 0.3 < (new_labels[groups[0]] != labels[groups[0]]).mean() < 0.7


# ------------------------------------------------------------------------------------------------ which controls
def test_names_of_controls():
    assert controls.parse_controls("all") == list(controls.CONTROLS)
    assert controls.parse_controls("inside, outside,inside") == ["inside", "outside"]
    assert controls.parse_controls("inside,all") == list(controls.CONTROLS)
    with pytest.raises(InputError, match="--controls: 'insides' is neither 'all' nor one of shuffled, dinucleotides"):
        controls.parse_controls("outside,insides")


@pytest.mark.parametrize(
    ("flags", "names", "said"),
    [
        (["--downstream", "3", "--control", "inside"], None, "CONTROL inside: windows of UPSTREAM 30 and DOWNSTREAM 3"),
        (["--downstream", "0"], "promoter,inside", "CONTROL inside: windows of UPSTREAM 30 and DOWNSTREAM 0"),
        (["--upstream", "0", "--downstream", "9"], "outside", "CONTROL outside: windows of UPSTREAM 0 and DOWNSTREAM"),
        (["--control", "outside"], "inside", "--controls: CONTROL is outside, a control itself"),
    ],
)
def test_controls_that_the_windows_cannot_have(flags, names, said):
    settings = settings_of(["--dataset", "demo", "--upstream", "30", *flags])
    with pytest.raises(InputError, match=said):
        lcre.list_runs(settings, names)


def test_all_controls_are_those_that_the_windows_can_have(capsys):
    settings = settings_of(["--dataset", "demo", "--upstream", "30", "--downstream", "0"])
    found = [run.CONTROL for run in lcre.list_runs(settings, "all")]
    assert found == [None, *(name for name in controls.CONTROLS if name != "inside")]
    assert "note: no control inside: nothing of these windows is there" in capsys.readouterr().out


def test_an_unknown_control_is_refused():
    with pytest.raises(InputError, match="CONTROL: 'outsides' is none of shuffled, dinucleotides, permuted, pro"):
        settings_of(["--dataset", "demo", "--control", "outsides"])


# ------------------------------------------------------------------------------------------------ real runs
@pytest.fixture(scope="module")
def controlled(tmp_path_factory) -> tuple[Path, str]:
    """A tiny run and two of its controls, in one command; its folder, and what was printed."""
    folder = tmp_path_factory.mktemp("controlled")
    done = train(folder, "--model", "published", "--epochs", "1", "--controls", "outside,permuted")
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_each_control_is_a_run_of_its_own(controlled):
    folder, printed = controlled
    for name, place in (("demo", 1), ("demo_control_outside", 2), ("demo_control_permuted", 3)):
        assert f"{place} of 3 runs: {name}\n" in printed
        assert [row["chromosome"] for row in rows(folder / f"{name}_result.csv")] == ["2", "4", "pooled"]
    assert (
        "a control, CONTROL outside: only the flanks are shown"
        in (folder / "demo_control_outside_report.html").read_text()
    )
    real, permuted = (rows(folder / f"{name}_predictions.csv") for name in ("demo", "demo_control_permuted"))
    assert [row["target"] for row in real] == [row["target"] for row in permuted]  # what is scored keeps its label
    assert [row["probability"] for row in real] != [row["probability"] for row in permuted]


def test_the_table_of_controls(controlled):
    """A row for the run, then one for each control, with its scores and those differences that the scores give."""
    folder, printed = controlled
    table = rows(folder / "demo_controls.csv")
    assert [row["control"] for row in table] == ["none", "permuted", "outside"]
    assert (table[0]["difference"], table[0]["p"]) == ("", "")
    for row in table:
        name = "demo" if row["control"] == "none" else f"demo_control_{row['control']}"
        pooled = rows(folder / f"{name}_result.csv")[-1]
        for column in ("auROC", "auROC_low", "auROC_high", "kmer_auROC"):
            assert float(row[column]) == pytest.approx(float(pooled[column]), abs=1e-6)
        assert row["genes"] == pooled["test_size"]
    for row in table[1:]:
        difference = float(table[0]["auROC"]) - float(row["auROC"])
        assert float(row["difference"]) == pytest.approx(difference, abs=5e-4)  # rounded probabilities tie
        assert float(row["difference_low"]) < difference < float(row["difference_high"])
        assert 0 <= float(row["p"]) <= 1
    page = (folder / "demo_report.html").read_text()
    assert "What the network reads" in page
    assert "the labels of the training genes are permuted" in page
    last = printed.rstrip().splitlines()[-1].split()
    assert last[:3] == ["outside", table[2]["genes"], f"{float(table[2]['auROC']):.3f}"]


def test_a_control_of_other_settings_is_none_of_the_run(controlled, tmp_path):
    """A control that was trained with another seed is left out, and the table goes where none is left."""
    folder, _ = controlled
    copy = tmp_path / "models"
    shutil.copytree(folder, copy)
    for name, left in (("outside", ["none", "permuted"]), ("permuted", None)):
        path = copy / f"demo_control_{name}_run.json"
        record = json.loads(path.read_text())
        record["settings"]["SEED"] = 2
        path.write_text(json.dumps(record))
        table = write_controls(copy / "demo")
        assert (copy / "demo_controls.csv").exists() == (left is not None)
        assert left is None or table["control"].tolist() == left


def test_a_control_alone_leaves_the_real_run_as_it_is(controlled):
    folder, _ = controlled
    before = {path: path.read_bytes() for path in folder.glob("demo_[prg]*.csv")}
    done = train(folder, "--model", "published", "--epochs", "1", "--control", "outside")
    assert (done.returncode, done.stderr) == (0, "")
    assert "every fold is finished already" in done.stdout
    assert {path: path.read_bytes() for path in before} == before


def test_prediction_masks_what_the_control_masks(controlled, tmp_path):
    """The fold that held a gene out predicts for it what the control's table says."""
    folder, _ = controlled
    genome = ["--fasta", str(ROOT / "data/demo/demo.fa.gz"), "--gtf", str(ROOT / "data/demo/demo.gtf.gz")]
    flags = ["--models", str(folder / "demo_control_outside"), *genome, "--out", str(tmp_path / "genes.csv")]
    subprocess.run(
        [sys.executable, str(ROOT / "lcre_predict.py"), *flags], check=True, capture_output=True, timeout=200
    )
    predicted = {row["gene_id"]: float(row["probability"]) for row in rows(tmp_path / "genes.csv")}
    table = [row for row in rows(folder / "demo_control_outside_predictions.csv") if row["probability"]]
    assert len(table) > 1000
    for row in table:
        assert predicted[row["gene_id"]] == pytest.approx(float(row["probability"]), abs=2e-5)


def test_a_wrong_control_ends_in_one_line(tmp_path):
    for flags in (["--controls", "outsides"], ["--control", "inside", "--downstream", "2"]):
        done = subprocess.run(command(tmp_path, *flags), capture_output=True, text=True, timeout=100)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "CONTROL" in done.stderr.upper()
    assert not list(tmp_path.iterdir())
