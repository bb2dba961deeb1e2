"""Scores of expression and links on tables small enough for paper, and on the real benchmark where it is there."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import REALDATA, pack, write
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

import CREaTor
from core import scores
from creator import baselines, evaluation, link_evaluation
from creator.baselines import Prediction
from creator.prediction import mean_over_tracks

NAN = float("nan")
CRISPR = REALDATA / "crispr" / "EPCrisprBenchmark_combined_data.training_K562.GRCh38.tsv.gz"
WORM = REALDATA / "celegans"

drawn_rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=25)


def refused(capfd, *arguments) -> str:
    """Return the one line that a command ends with; exit status 2, nothing on stdout."""
    try:
        status = CREaTor.main(["evaluate", *map(str, arguments)])
    except SystemExit as error:  # argparse
        status = error.code
    seen = capfd.readouterr()
    assert (status, seen.out) == (2, "")
    assert seen.err.startswith("CREaTor.py")
    assert seen.err.count("\n") == 1
    return seen.err


# ------------------------------------------------------------------------------------------------- statistics
@pytest.mark.parametrize(
    ("x", "y", "pearson", "spearman", "error"),
    [
        ([1, 2, 3], [2, 4, 6], 1, 1, 2),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8, 0.8, 0.5),
        ([1, 2, 2, 3], [1, 2, 3, 4], 3 / np.sqrt(10), 4.5 / np.sqrt(4.5 * 5), 0.5),  # ties share ranks 2 and 3
        ([5, 5, 5], [1, 2, 3], NAN, NAN, 3),
        ([0.1, 0.1, 0.1], [1, 2, 4], NAN, NAN, 2.2333333),  # its mean is not exactly 0.1
        ([1, NAN, 3], [1, 2, 3], NAN, NAN, NAN),
        ([], [], NAN, NAN, NAN),
    ],
)
def test_correlation_and_error_by_hand(x, y, pearson, spearman, error):
    x, y = np.array(x, float), np.array(y, float)
    assert scores.pearson(x, y) == pytest.approx(pearson, nan_ok=True)
    assert scores.spearman(x, y) == pytest.approx(spearman, nan_ok=True)
    assert scores.mean_absolute_error(x, y) == pytest.approx(error, nan_ok=True)


@settings(max_examples=60)
@given(drawn_rows)
def test_rows_taken_several_times_are_rows_repeated(rows):
    x, y, times = np.array(rows).T
    agreement = scores.Agreement(x, y)
    x, y = np.repeat(x, times), np.repeat(y, times)
    if len(x) and np.ptp(x) and np.ptp(y):
        assert agreement.pearson(times) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
        assert agreement.spearman(times) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-9)
    else:
        assert np.isnan([agreement.pearson(times), agreement.spearman(times)]).all()
    assert agreement.mean_absolute_error(times) == pytest.approx(np.abs(x - y).mean() if len(x) else NAN, nan_ok=True)


def test_rows_of_a_unit_are_taken_together():
    x, y, unit = np.array([1, 2, 4, 8.0]), np.array([1, 3, 3, 9.0]), np.array([1, 0, 1, 0])
    agreement = scores.Agreement(x, y, unit)
    rows = [1, 3, 1, 3, 0, 2]  # unit 0 twice, unit 1 once
    times = np.array([2, 1])
    assert agreement.pearson(times) == pytest.approx(np.corrcoef(x[rows], y[rows])[0, 1])
    assert agreement.spearman(times) == pytest.approx(stats.spearmanr(x[rows], y[rows])[0])
    assert agreement.mean_absolute_error(times) == pytest.approx(5 / 6)


@settings(max_examples=60)
@given(drawn_rows)
def test_areas_of_rows_taken_several_times_are_those_of_rows_repeated(rows):
    score, target, times = np.array(rows).T
    target = target % 2
    ranking = scores.Ranking(target, score / 4)
    score, target = np.repeat(score, times), np.repeat(target, times)
    if len(set(target)) == 2:
        assert ranking.auroc(times) == pytest.approx(metrics.roc_auc_score(target, score))
    else:
        assert np.isnan(ranking.auroc(times))
    if target.any():
        assert ranking.auprc(times) == pytest.approx(metrics.average_precision_score(target, score))
    else:
        assert np.isnan(ranking.auprc(times))


def test_bootstrap_draws_within_strata_and_again_the_same():
    strata = [np.array([0, 3]), np.array([1, 2, 4])]
    draws = scores.bootstrap(lambda times: times, strata, 200, seed=1)
    assert draws.shape == (200, 5)
    assert (draws[:, [0, 3]].sum(axis=1) == 2).all()
    assert (draws[:, [1, 2, 4]].sum(axis=1) == 3).all()
    assert set(draws[:, 0]) == {0, 1, 2}
    assert (draws == scores.bootstrap(lambda times: times, strata, 200, seed=1)).all()
    assert (draws != scores.bootstrap(lambda times: times, strata, 200, seed=2)).any()


def test_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(3).normal(size=400)
    draws = scores.bootstrap(lambda times: times @ values / 400, [np.arange(400)], 2000, seed=1)
    error = 1.96 * values.std() / 20
    assert scores.interval(draws) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.1] * 999, 0.002),  # none at the other side of 0
        ([-0.1] * 999, 0.002),
        ([0.1] * 950 + [-0.1] * 49, 0.1),
        ([0.0] * 10, 1.0),
        ([-1, 1, 1, 1], 0.8),
        ([1, NAN, 1, -1, 1], 0.8),
        ([NAN], NAN),
    ],
)
def test_p_value_by_hand(differences, p):
    assert scores.two_sided_p(np.array(differences, float)) == pytest.approx(p, nan_ok=True)


# ------------------------------------------------------------------------------------------------------ pairs
HEADER = [*link_evaluation.PLACED, "extra", *link_evaluation.SCORED]


def pairs_table(*rows: tuple, delimiter: str = "\t") -> str:
    """A table of pairs; a row is element, gene, regulated, distance, H3K27ac, H3K27ac of the wider region, DNase."""
    lines = [delimiter.join(HEADER)]
    for (chromosome, start, end), gene, *scored in rows:
        lines.append(delimiter.join(map(str, (chromosome, start, end, gene, "K562", "x", *scored))))
    return "\n".join(lines) + "\n"


ELEMENT = ("chr1", 100, 600)
FOUR = (  # in the order of distance: regulated, not, regulated, not
    (ELEMENT, "G1", "TRUE", 1000, 1, 9, 1),
    (ELEMENT, "G2", "FALSE", -2000, 1, 4, 4),
    (ELEMENT, "G3", "true", 4000, 8, 25, 1),
    (ELEMENT, "G4", "0", 200000, 0, 100, 100),
)


def test_baselines_by_hand(tmp_path):
    """1/distance ranks + - + -: average precision (1 + 2/3) / 2, 3 of 4 pairs in order.

    H3K27ac / distance is .001, .0005, .002, 0: the regulated ones first. Below 5 kb contact is the same, so the third
    ranks by sqrt(DNase x H3K27ac) = 3, 4, 5, and 100 x 40 ** -1.024 = 2.3 in the same unit: + - + - again.
    """
    rows, _, notes = link_evaluation.evaluate_links(write(tmp_path / "pairs.tsv", pairs_table(*FOUR)), draws=50)
    assert notes == []
    found = {(row["distance"], row["score"]): (row["AUPRC"], row["AUROC"]) for row in rows}
    assert list(found)[:3] == [("all", name) for name in link_evaluation.BASELINES]
    assert found["all", "inverse_distance"] == pytest.approx((5 / 6, 0.75))
    assert found["all", "signal_by_distance"] == (1, 1)
    assert found["all", "activity_by_contact"] == pytest.approx((5 / 6, 0.75))
    assert found["below 10 kb", "inverse_distance"] == pytest.approx((5 / 6, 0.5))
    assert found["below 10 kb", "activity_by_contact"] == pytest.approx((5 / 6, 0.5))
    row = rows[1]
    assert (row["pairs"], row["regulated"], row["with_link"]) == (4, 2, "")
    assert row["AUPRC_minus_inverse_distance"] == pytest.approx(1 / 6)
    assert np.isnan(row["AUPRC_minus_signal_by_distance"])
    for row in rows[6:]:  # none between 10 and 100 kb, one class above
        assert row["pairs"] == (1 if row["distance"] == "above 100 kb" else 0)
        assert all(np.isnan(value) for name, value in row.items() if name.startswith("AU"))


def test_equal_scores_count_half():
    regulated, distance = np.array([1, 0, 1, 0]), np.full(4, 5000.0)
    rows = link_evaluation.score_links(regulated, distance, dict.fromkeys(link_evaluation.BASELINES, np.ones(4)))
    assert (rows[0]["AUPRC"], rows[0]["AUROC"]) == (0.5, 0.5)
    assert (rows[0]["AUROC_low"], rows[0]["AUROC_high"]) == (0.5, 0.5)
    assert (rows[1]["AUPRC_minus_inverse_distance"], rows[1]["AUPRC_minus_inverse_distance_p"]) == (0, 1)


def test_ranges_of_distance_meet_at_their_bounds():
    distance = np.array([9_999, 10_000, 100_000, 100_001])
    inside = link_evaluation.distance_bins(distance)
    assert {name: mask.tolist() for name, mask in inside.items()} == {
        "all": [True] * 4,
        "below 10 kb": [True, False, False, False],
        "10 to 100 kb": [False, True, True, False],
        "above 100 kb": [False, False, False, True],
    }


@pytest.mark.parametrize("kind", ["tsv", "gzip", "csv"])
def test_links_command(tmp_path, capfd, monkeypatch, kind):
    text = pairs_table(*FOUR, delimiter="," if kind == "csv" else "\t")
    path = write(tmp_path / "pairs", pack(text.encode()) if kind == "gzip" else text)
    monkeypatch.chdir(tmp_path)
    assert CREaTor.main(["evaluate", "--links", str(path)]) == 0
    seen = capfd.readouterr().out
    assert "all: 4 pairs, 2 regulated" in seen
    assert seen.endswith("written: links_eval.csv\n")
    table = pd.read_csv("links_eval.csv")
    assert table["AUPRC"].tolist()[:3] == [0.833333, 1, 0.833333]
    assert table["AUPRC"].isna().tolist() == [False] * 6 + [True] * 6
    assert CREaTor.main(["evaluate", "--links", str(path), "--to", "other.csv"]) == 0
    assert (tmp_path / "other.csv").read_text() == (tmp_path / "links_eval.csv").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Regulated", "regulated", "has no column 'Regulated'; its first line has 'chrom'"),
        ("\tDHS.RPM", "", "has no column 'DHS.RPM'"),
        ("\textra", "", "is not a table: 'row 1', 'row 2', 'row 3', ... has more cells than its header has names (10)"),
        ("TRUE", "yes", "1 values of column 'Regulated'"),
        ("\t8\t", "\tmany\t", "column 'H3K27ac.RPM' in"),
        ("\t8\t", "\t\t", "are not finite numbers: 'row 3' has ''"),
        ("\t8\t", "\tinf\t", "'row 3' has 'inf'"),
        ("\t8\t", "\t-8\t", "column 'H3K27ac.RPM' of"),
        ("\t-2000\t", "\tfar\t", "column 'distanceToTSS' in"),
    ],
)
def test_wrong_pairs(tmp_path, capfd, old, new, message):
    text = pairs_table(*FOUR)
    assert old in text
    path = write(tmp_path / "pairs.tsv", text.replace(old, new))
    assert message in refused(capfd, "--links", path, "--to", tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_pairs_without_rows_or_of_no_file(tmp_path, capfd):
    path = write(tmp_path / "pairs.tsv", pairs_table())
    assert "has a header and no rows" in refused(capfd, "--links", path)
    assert "no file" in refused(capfd, "--links", tmp_path / "none.tsv")
    assert "is a folder" in refused(capfd, "--links", tmp_path)


# ------------------------------------------------------------------------------------------------------ links
def links_table(*rows: tuple, columns=("attention", "adjusted", "ablation")) -> str:
    """A table of links; a row is cCRE, gene, cell and the scores."""
    lines = ["\t".join([*link_evaluation.PLACED, *columns])]
    for (chromosome, start, end), gene, cell, *found in rows:
        lines.append("\t".join(map(str, (chromosome, start, end, gene, cell, *found))))
    return "\n".join(lines) + "\n"


LINKS = (
    (("1", 50, 101), "G1.3", "K562", 0.5, 0.25, 1),
    (("1", 599, 700), "G1.3", "K562", 0.25, 0.125, ""),
    (("1", 600, 700), "G1.3", "K562", 9, 9, 9),  # begins where the element ends
    (("1", 0, 100), "G1.3", "K562", 9, 9, 9),
    (("2", 100, 600), "G1.3", "K562", 9, 9, 9),
    (("1", 100, 600), "G1.3", "liver", 7, 7, 7),
    (("1", 100, 600), "G2.1", "K562", 0.125, 0, -2),
    (("1", 100, 600), "G9.1", "K562", 9, 9, 9),
)


def linked(folder, *rows, **keywords):
    """Write links.tsv into `folder` and return it."""
    folder.mkdir(exist_ok=True)
    write(folder / "links.tsv", links_table(*rows, **keywords))
    return folder


def test_links_are_summed_over_the_overlapping_ccres_of_gene_and_cell(tmp_path):
    path = write(tmp_path / "pairs.tsv", pairs_table(*FOUR))
    pairs = link_evaluation.read_pairs(path, placed=True).places
    links = link_evaluation.read_links(linked(tmp_path / "out", *LINKS), pairs["measuredGeneEnsemblId"])
    assert links["measuredGeneEnsemblId"].unique().tolist() == ["G1.3", "G2.1"]
    notes = []
    found, matched = link_evaluation.join_links(pairs, links, True, notes)
    assert {name: score.tolist() for name, score in found.items()} == {
        "attention": [0.75, 0.125, 0, 0],
        "adjusted": [0.375, 0, 0, 0],
        "ablation": [1, -2, 0, 0],
    }
    assert matched.tolist() == [True, True, False, False]
    assert "'chr' prefix" in " ".join(notes)
    assert "version suffix" in " ".join(notes)


def test_links_command_with_links(tmp_path, capfd):
    path = write(tmp_path / "pairs.tsv", pairs_table(*FOUR))
    folder = linked(tmp_path / "out", *LINKS)
    assert CREaTor.main(["evaluate", "--links", str(path), "--out", str(folder)]) == 0
    assert "2 of 4 pairs have a link; the others have the score 0" in capfd.readouterr().out
    table = pd.read_csv(folder / "links_eval.csv")
    assert table["score"].tolist()[:6] == [*link_evaluation.BASELINES, "attention", "adjusted", "ablation"]
    # attention ranks + - (+ -): precision 1 at the first, 2 of 4 at the two that are equal; adjusted and ablation:
    # + (- + -) and + (+ -) -
    assert table["AUPRC"].tolist()[3:6] == pytest.approx([0.75, 0.75, 0.5 + 0.5 * 2 / 3], abs=1e-6)
    assert table["AUROC"].tolist()[3:6] == pytest.approx([2.5 / 4, 3 / 4, 3.5 / 4])
    assert table["with_link"].tolist()[:6] == [2] * 6


def test_links_of_another_cell_are_taken_where_the_user_says_so(tmp_path, capfd):
    path = write(tmp_path / "pairs.tsv", pairs_table(*FOUR))
    folder = linked(tmp_path / "out", *((place, gene, "HepG2", *rest) for place, gene, _, *rest in LINKS))
    message = refused(capfd, "--links", path, "--out", folder)
    assert "tested in 'K562', the links are of 'HepG2'; say with --cell" in message
    assert "no cell 'K562'; --cell is one of 'HepG2'" in refused(
        capfd, "--links", path, "--out", folder, "--cell", "K562"
    )
    assert CREaTor.main(["evaluate", "--links", str(path), "--out", str(folder), "--cell", "HepG2"]) == 0
    assert pd.read_csv(folder / "links_eval.csv")["AUPRC"][3] < 1  # the cell liver is HepG2 here, too


def test_pairs_of_cells_without_links_are_left_out(tmp_path, capfd):
    text = pairs_table(*FOUR, (ELEMENT, "G1", "FALSE", 10, 1, 1, 1))
    text = text.rsplit("K562", 1)[0] + "WTC11" + text.rsplit("K562", 1)[1]
    folder = linked(tmp_path / "out", *LINKS)
    path = write(tmp_path / "pairs.tsv", text)
    assert CREaTor.main(["evaluate", "--links", str(path), "--out", str(folder)]) == 0
    assert "1 pairs are left out: there are no links in 'WTC11'" in capfd.readouterr().out
    assert pd.read_csv(folder / "links_eval.csv")["AUPRC"][0] == 0.833333


def test_scores_that_were_not_written_are_not_compared(tmp_path, capfd):
    rows = [row[:4] for row in LINKS]
    folder = linked(tmp_path / "out", *rows, columns=("attention",))
    path = write(tmp_path / "pairs.tsv", pairs_table(*FOUR))
    assert CREaTor.main(["evaluate", "--links", str(path), "--out", str(folder)]) == 0
    assert set(pd.read_csv(folder / "links_eval.csv")["score"]) == {*link_evaluation.BASELINES, "attention"}


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([(ELEMENT, "X1", "K562", 1)], ["attention"], "has no link of the 4 genes of the pairs, 'G1', 'G2', 'G3', ..."),
        ([(ELEMENT, "G1", "K562", 1)], ["score"], "has none of the columns 'attention'"),
        ([(ELEMENT, "G1", "K562", "high")], ["attention"], "'row 1' has 'high'"),
        ([(("chr1", 7, 7), "G1", "K562", 1)], ["attention"], "chromStart is not before chromEnd: 'row 1'"),
        ([(("chr1", 700, 800), "G1", "K562", 1)], ["attention"], "overlaps its element; are both of the same genome"),
        ([(("chrZ", 100, 600), "G1", "K562", 1)], ["attention"], "pairs and links have no chromosome in common"),
    ],
)
def test_wrong_links(tmp_path, capfd, rows, columns, message):
    path = write(tmp_path / "pairs.tsv", pairs_table(*FOUR))
    folder = linked(tmp_path / "out", *rows, columns=columns)
    assert message in refused(capfd, "--links", path, "--out", folder)
    assert not (folder / "links_eval.csv").exists()


def test_arguments_that_do_not_fit_together(tmp_path, capfd):
    path = write(tmp_path / "pairs.tsv", pairs_table(*FOUR))
    either = "give either a folder that predict wrote, or --links"
    assert either in refused(capfd)
    assert either in refused(capfd, tmp_path, "--links", path)
    assert "--out goes with --links" in refused(capfd, tmp_path, "--out", tmp_path)
    assert "--cell goes with --out" in refused(capfd, "--links", path, "--cell", "K562")
    assert "--store goes with a folder" in refused(capfd, "--links", path, "--store", tmp_path)
    assert "has no links.tsv" in refused(capfd, "--links", path, "--out", tmp_path)
    assert "no folder" in refused(capfd, "--links", path, "--out", tmp_path / "none")
    assert "there is no folder" in refused(capfd, "--links", path, "--to", tmp_path / "none" / "x.csv")
    assert "no flag --wrong" in refused(capfd, "--wrong")


def test_published_benchmark():
    """Average precision; H3K27ac is that of the element, but for the activity that of the wider region."""
    if not CRISPR.exists():
        pytest.skip(f"{CRISPR} is not there")
    rows, _, _ = link_evaluation.evaluate_links(CRISPR, draws=20)
    assert (rows[0]["pairs"], rows[0]["regulated"]) == (10_356, 471)
    assert [row["AUPRC"] for row in rows[:3]] == pytest.approx([0.438, 0.473, 0.519], abs=0.002)
    assert [row["pairs"] for row in rows[3::3]] == [223, 1597, 8536]


# -------------------------------------------------------------------------------------------------- baselines
def test_signal_is_the_mean_over_the_bases_of_the_element_itself():
    """Elements of 3 and 10 bases in 5 columns: zeros behind the first do not count, the second was cropped."""
    signal = np.array([[[6], [3], [3], [0], [0]], [[5], [5], [5], [5], [10]]], np.float32)
    store = SimpleNamespace(
        tracks=("DNase",),
        tokens=np.zeros((2, 5)),
        element_start=np.array([100, 200]),
        element_end=np.array([103, 210]),
        read_signal=lambda cell, part: signal[part] * cell,
    )
    assert baselines.mean_signal(store, 1).tolist() == [[4], [6]]
    assert baselines.mean_signal(store, 2).tolist() == [[8], [12]]
    assert baselines.mean_signal(store, 1, np.array([1])).tolist() == [[6]]


def test_signal_of_links_is_the_mean_over_the_tracks_of_the_cell():
    """A track that the cell lacks is not counted as zeros; without any track it is 0."""
    signal = np.zeros((2, 5, 3), np.float32)
    signal[:, :3, 0], signal[:, :, 2] = 6, 3  # the first cCRE has three bases
    store = SimpleNamespace(
        tracks=("a", "b", "c"),
        tokens=np.zeros((2, 5)),
        element_start=np.array([100, 200]),
        element_end=np.array([103, 205]),
        read_signal=lambda cell, part: signal[part],
        signal_tracks=(np.array([0, 2]), np.array([], int)),
    )
    signal[0, 3:, 2] = 0
    assert mean_over_tracks(store, 0, np.array([0, 1])).tolist() == pytest.approx([4.5, (3.6 + 3) / 2])
    assert mean_over_tracks(store, 1, np.array([0, 1])).tolist() == [0, 0]


def test_baselines_take_the_logarithm_of_signal_that_has_none_yet():
    signal = np.array([[[3], [5]], [[-1], [-1]]], np.float32)
    store = SimpleNamespace(
        tracks=("DNase",),
        tokens=np.zeros((2, 2)),
        element_start=np.array([0, 10]),
        element_end=np.array([2, 12]),
        read_signal=lambda cell, part: signal[part],
    )
    expected = {"none": [[np.log(5)], [0]], "log1p": [[4], [-1]], "arcsinh": [[4], [-1]]}
    for transform, values in expected.items():
        store.options = {"transform": transform}
        assert baselines.baseline_signal(store, 0) == pytest.approx(np.array(values))


def test_sums_of_signal_by_hand():
    """Gene 0 (TSS 1,000) has cCREs at 1,000 and 3,000, gene 1 (TSS 5,000) one at 3,000, gene 2 none."""
    indptr, indices = np.array([0, 2, 3, 3]), np.array([0, 1, 1])
    distance = baselines.distances_to_tss(indptr, indices, np.array([1000, 3000]), np.array([1000, 5000, 9000]))
    assert distance.tolist() == [0, 2000, 2000]
    signal = np.array([[2.0, 1.0], [4.0, 0.0]])
    near = baselines.promoter_features(indptr, indices, distance, [signal])
    assert near[:, 0] == pytest.approx(np.array([[2, 1], [0, 0], [0, 0]]))
    around = baselines.distance_features(indptr, indices, distance, [signal, 0 * signal], scales=[1000, 2000])
    e, e2 = np.exp(-1), np.exp(-2)
    assert around.shape == (3, 2, 4)
    assert around[:, 0] == pytest.approx(np.array([[2 + 4 * e2, 1, 2 + 4 * e, 1], [4 * e2, 0, 4 * e, 0], [0] * 4]))
    assert (around[:, 1] == 0).all()


def test_mean_over_the_other_training_cells_by_hand():
    values = np.array([[1, 3, 5, 7], [2, NAN, 4, 1], [NAN, NAN, 6, 1]])
    training = np.array([True, True, True, False])
    mean = baselines.training_mean(values, training)
    assert mean == pytest.approx(np.array([[4, 3, 2, 3], [4, 3, 2, 3], [6, 6, NAN, 6]]), nan_ok=True)
    change = baselines.change_against_training(values, training)
    assert change[0].tolist() == [-3, 0, 3, 4]
    assert np.isnan(change[1]).tolist() == [False, True, False, False]
    alone = baselines.training_mean(values, np.array([True, False, False, False]))
    assert alone[0] == pytest.approx([NAN, 1, 1, 1], nan_ok=True)


def toy_expression(genes: int = 120, cells: int = 4, seed: int = 1):
    """Features and an expression that is 1 + 2 a - b of them, exactly."""
    features = np.random.default_rng(seed).normal(size=(genes, cells, 2))
    return features, 1 + 2 * features[..., 0] - features[..., 1]


def test_ridge_finds_a_linear_rule_and_leaves_out_what_is_not_known():
    features, target = toy_expression()
    train, validation = np.zeros(target.shape, bool), np.zeros(target.shape, bool)
    train[:60, :3], validation[60:80, :3] = True, True
    seen = np.where(train | validation, target, 1e6)  # what is held out must not matter
    seen[0, 0] = NAN
    predicted = baselines.ridge_predictions(features, seen, train, validation, penalties=[1e-9, 1e9])
    assert predicted == pytest.approx(target, abs=1e-6)
    worse = baselines.ridge_predictions(features, seen, train, validation, penalties=[1e9])
    assert worse.std() < 1e-3  # so the penalty was chosen
    assert np.isnan(baselines.ridge_predictions(features, target, train & False, validation)).all()


def test_ridge_has_the_usual_penalty_where_none_can_be_chosen():
    """One feature of variance 1: the slope is 2 n / (n + 100)."""
    features = np.tile([[-1.0], [1.0]], (50, 1)).reshape(100, 1, 1)
    train = np.ones((100, 1), bool)
    predicted = baselines.ridge_predictions(features, 2 * features[:, :, 0], train, ~train)
    assert predicted[1, 0] == pytest.approx(2 * 100 / 200)


def test_baselines_never_see_what_is_held_out():
    features, target = toy_expression()
    training_cells = np.array([True, True, True, False])
    training_genes, validation_genes = np.arange(120) < 60, (np.arange(120) >= 60) & (np.arange(120) < 80)
    arguments = features, features, training_cells, training_genes, validation_genes
    before = baselines.fit_baselines(target, *arguments)
    assert list(before) == list(evaluation.PREDICTORS)[1:]
    other = target.copy()
    other[:, 3] += 5  # cell held out
    other[80:] *= -1  # chromosome held out
    after = baselines.fit_baselines(other, *arguments)
    for name in ("promoter_ridge", "distance_ridge", "change_ridge"):
        assert after[name].change == pytest.approx(before[name].change)
    assert after["distance_ridge"].level == pytest.approx(before["distance_ridge"].level)
    assert after["gene_mean"].level[:80] == pytest.approx(before["gene_mean"].level[:80])
    assert (before["gene_mean"].change == 0).all()
    assert before["change_ridge"].change == pytest.approx(
        baselines.change_against_training(target, training_cells), abs=0.1
    )
    assert before["change_ridge"].level - before["change_ridge"].change == pytest.approx(before["gene_mean"].level)


def test_first_look_at_the_worm():
    """Figures that were measured before, without this code: L3 and chromosome IV held out."""
    if not WORM.is_dir():
        pytest.skip(f"{WORM} is not there")
    pytest.importorskip("pybigtools")
    benchmark = pytest.importorskip("benchmarks.creator_baselines")
    sites, signals = benchmark.read_sites(WORM)
    genes, expression = benchmark.read_genes(WORM)
    indptr, indices = benchmark.find_reach(genes, sites)
    position = ((sites["start"] + sites["end"]) // 2).to_numpy()
    distance = baselines.distances_to_tss(indptr, indices, position, genes["tss"].to_numpy())
    held_out = genes["chromosome"].to_numpy(str) == "IV"
    stages = np.array([0, 1, 2, 4, 5])
    training_cells = np.isin(np.arange(6), stages)
    change = baselines.change_against_training(expression, training_cells)
    found = {}
    for scales in (benchmark.SCALES, (1000,)):
        features = baselines.distance_features(indptr, indices, distance, signals, scales)
        found[scales] = baselines.fit_baselines(
            expression, features, features, training_cells, ~held_out, held_out & False
        )
    levels = found[benchmark.SCALES]["distance_ridge"].level[held_out][:, stages]
    assert scores.pearson(levels.ravel(), expression[held_out][:, stages].ravel()) == pytest.approx(0.555, abs=6e-4)
    mean = found[(1000,)]["gene_mean"].level
    assert scores.pearson(mean[held_out, 3], expression[held_out, 3]) == pytest.approx(0.950, abs=6e-4)
    for scales, expected in ((benchmark.SCALES, 0.246), ((1000,), 0.254)):
        changes = found[scales]["change_ridge"].change[held_out, 3]
        assert scores.pearson(changes, change[held_out, 3]) == pytest.approx(expected, abs=6e-4)


# ------------------------------------------------------------------------------------------------- expression
def test_splits():
    training = evaluation.Training(["L3"], ["IV"], ["I"])
    found = {(cell, name): training.split(cell, name) for cell in ("L1", "L3") for name in ("I", "II", "IV")}
    assert found == {
        ("L1", "I"): "validation",
        ("L1", "II"): "train",
        ("L1", "IV"): "chromosome",
        ("L3", "I"): "cell",
        ("L3", "II"): "cell",
        ("L3", "IV"): "both",
    }


def by_row(rows: list[dict]) -> dict:
    return {(row["split"], row["cell"], row["predictor"]): row for row in rows}


def test_scores_of_quadrants_by_hand():
    """Four genes in two cells; the second two genes are on a held-out chromosome, the second cell is held out."""
    observed = np.array([[1, 2], [2, 4], [1, 3], [NAN, 5.0]])
    network = np.array([[2, 2], [4, 4], [3, 1], [9, 3.0]])
    constant = np.ones((4, 2))
    split = np.array([["train", "cell"]] * 2 + [["chromosome", "both"]] * 2)
    change = np.array([[0, 1], [0, 2], [0, 2], [0, 3.0]])
    predictors = {
        "network": Prediction(network, np.array([[0, 2], [0, 1], [0, 1], [0, 2.0]])),
        "gene_mean": Prediction(constant, 0 * constant),
    }
    rows = by_row(evaluation.score_expression(observed, change, predictors, split, ["A", "B"], draws=30))
    assert list(rows)[:4] == [
        ("train", "all", "network"),
        ("train", "all", "gene_mean"),
        ("train", "A", "network"),
        ("train", "A", "gene_mean"),
    ]
    assert {key[:2] for key in rows} == {
        (name, cell)
        for name, seen in (("train", "A"), ("chromosome", "A"), ("cell", "B"), ("both", "B"))
        for cell in ("all", seen)
    }
    row = rows["train", "all", "network"]
    assert (row["cells"], row["chromosomes"], row["genes"], row["values"]) == ("seen", "seen", 2, 2)
    assert (row["Pearson"], row["Spearman"], row["MAE"]) == (pytest.approx(1), pytest.approx(1), 1.5)
    row = rows["chromosome", "all", "network"]  # one gene: the other is not measured
    assert (row["genes"], row["MAE"]) == (1, 2)
    assert np.isnan(row["Pearson"])
    row = rows["cell", "B", "network"]
    assert (row["cells"], row["chromosomes"], row["MAE"]) == ("held out", "seen", 0)
    assert row["change_Pearson"] == pytest.approx(-1)
    row = rows["both", "B", "network"]
    assert (row["MAE"], row["change_Pearson"]) == (2, pytest.approx(1))
    row = rows["both", "B", "gene_mean"]
    assert (row["MAE"], row["MAE_difference"]) == (3, -1)
    assert np.isnan([row["Pearson"], row["change_Pearson"], row["Pearson_difference"]]).all()


def test_intervals_draw_genes_with_all_of_their_cells():
    """Two genes, the first without error in 5 cells, the second with error 1: MAE of a draw is 0, 1/2 or 1."""
    observed = np.zeros((2, 5))
    network = Prediction(np.array([[0.0] * 5, [1.0] * 5]), observed)
    other = Prediction(network.level + 1, observed)
    rows = evaluation.score_expression(
        observed, observed, {"network": network, "gene_mean": other}, np.full((2, 5), "train"), list("ABCDE"), draws=300
    )
    first, second = rows[:2]
    assert (first["MAE"], first["MAE_low"], first["MAE_high"]) == (0.5, 0, 1)
    assert (second["MAE_difference"], second["MAE_difference_low"], second["MAE_difference_high"]) == (-1, -1, -1)
    assert second["MAE_difference_p"] == pytest.approx(2 / 301)


def test_all_predictors_are_scored_on_the_same_rows():
    """The third gene has no mean over training cells and the fourth no prediction."""
    observed = np.array([[1.0], [2.0], [3.0], [4.0]])
    change = np.array([[0.1], [0.3], [NAN], [0.2]])
    network = Prediction(np.array([[1.0], [2.0], [3.0], [NAN]]), np.zeros((4, 1)))
    mean = Prediction(np.array([[2.0], [2.0], [NAN], [9.0]]), np.zeros((4, 1)))
    rows = evaluation.score_expression(
        observed, change, {"network": network, "gene_mean": mean}, np.full((4, 1), "cell"), ["A"], draws=10
    )
    assert [row["values"] for row in rows] == [2] * 4
    assert [row["MAE"] for row in rows] == [0, 0.5, 0, 0.5]
    without = evaluation.score_expression(
        observed, change * NAN, {"network": network, "gene_mean": Prediction(mean.level * NAN, change * NAN)},
        np.full((4, 1), "cell"), ["A"], draws=10,
    )  # fmt: skip
    assert without[0]["values"] == 3
    assert np.isnan(without[1]["MAE"])


# ---------------------------------------------------------------------------------------------- a whole folder
def toy_store():
    """Chromosomes I (training), II (validation) and III (held out) of 40 genes each, each with a cCRE at its TSS.

    log1p of TPM is the gene's own level plus the log1p of the signal at the TSS, which differs between the cells.
    """
    random = np.random.default_rng(7)
    genes, cells = 120, ("A", "B", "C", "D")
    signal = random.uniform(0, 3, (genes, len(cells)))
    level = random.uniform(0, 1, (genes, 1)) + signal
    return SimpleNamespace(
        cells=cells,
        tracks=("DNase",),
        options={"transform": "none"},
        chromosomes=("I", "II", "III"),
        gene_id=np.array([f"g{number:03}".encode() for number in range(genes)]),
        gene_chromosome=np.repeat([0, 1, 2], 40).astype(np.int32),
        gene_tss=np.arange(genes) * 10_000 + 50,
        element_start=np.arange(genes) * 10_000,
        element_end=np.arange(genes) * 10_000 + 100,
        element_position=lambda: np.arange(genes) * 10_000 + 50,
        tokens=np.zeros((genes, 100), np.uint8),
        reach_indptr=np.arange(genes + 1),
        reach_indices=np.arange(genes, dtype=np.int32),
        read_signal=lambda cell, part: np.tile(np.expm1(signal[part, cell])[:, None, None], (1, 100, 1)),
        expression=np.expm1(level).astype(np.float32),
    )


TRAINING = {"hold_out_cells": ["D"], "hold_out_chromosomes": ["III"], "validation_chromosomes": ["II"]}


def predicted_folder(folder, store, record=None, edit=lambda table: table):
    """A folder as `predict` writes it, whose network is right but for 1 added to the prediction in cell D."""
    training = evaluation.Training(**TRAINING)
    observed = np.log1p(store.expression)
    rows = []
    for gene, cell in np.ndindex(observed.shape):
        name, chromosome = store.cells[cell], store.chromosomes[store.gene_chromosome[gene]]
        value = observed[gene, cell]
        rows.append(
            {
                "gene_id": store.gene_id[gene].decode(),
                "chromosome": chromosome,
                "tss": store.gene_tss[gene],
                "strand": "+",
                "cell": name,
                "n_ccre": 1,
                "predicted": value + (name == "D"),
                "observed": value,
                "split": training.split(name, chromosome) if record is None else "",
            }
        )
    folder.mkdir(exist_ok=True)
    edit(pd.DataFrame(rows)).to_csv(folder / "expression.tsv", sep="\t", index=False)
    (folder / "predict.json").write_text(json.dumps({"store": "../store"} | (TRAINING if record is None else record)))
    return folder


@pytest.fixture
def store(monkeypatch):
    """A store in memory that opens under any name; `opened` has the names."""
    found = toy_store()
    found.opened = []

    def open_store(path):
        found.opened.append(path)
        return found

    monkeypatch.setitem(sys.modules, "creator.store", SimpleNamespace(open_store=open_store))
    return found


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(evaluation, "DRAWS", 40)


@pytest.mark.usefixtures("few_draws")
def test_folder_beside_baselines(tmp_path, store, capfd):
    folder = predicted_folder(tmp_path / "out", store)
    assert CREaTor.main(["evaluate", str(folder)]) == 0
    assert store.opened == [folder / "../store"]
    seen = capfd.readouterr().out
    assert "both (cells held out, chromosomes held out): 40 genes, 40 values" in seen
    assert "train (cells seen, chromosomes seen): 40 genes, 120 values" in seen
    table = pd.read_csv(folder / "eval.csv")
    assert table["split"].drop_duplicates().tolist() == ["train", "validation", "chromosome", "cell", "both"]
    assert table["predictor"].tolist()[:5] == list(evaluation.PREDICTORS)
    rows = table.set_index(["split", "cell", "predictor"])
    network = rows.loc["both", "D", "network"]
    assert (network["Pearson"], network["Spearman"], network["change_Pearson"]) == (1, 1, 1)
    assert network["MAE"] == pytest.approx(1, abs=1e-5)
    assert rows.loc[("train", "A", "network"), "MAE"] == 0
    # seen at the TSS only: both regressions have the same feature, up to a factor; changes are exactly the signal's
    for name in ("promoter_ridge", "distance_ridge"):
        assert 0.9 < rows.loc[("both", "D", name), "Pearson"] < 1
        assert rows.loc[("both", "D", name), "change_Pearson"] > 0.999
    assert rows.loc[("both", "D", "change_ridge"), "change_Pearson"] > 0.999
    assert rows.loc[("both", "D", "promoter_ridge"), "Pearson_difference_p"] < 0.05
    assert rows.loc[("both", "D", "promoter_ridge"), "Pearson_difference_low"] > 0
    mean = np.log1p(store.expression[80:, :3]).mean(axis=1)
    expected = np.corrcoef(mean, np.log1p(store.expression[80:, 3]))[0, 1]
    assert rows.loc[("both", "D", "gene_mean"), "Pearson"] == pytest.approx(expected, abs=1e-5)
    assert rows.loc[("both", "D", "gene_mean")].isna()[["change_Pearson", "change_Pearson_low"]].all()


@pytest.mark.usefixtures("few_draws")
def test_rows_without_prediction_or_measurement_are_counted(tmp_path, store, capfd):
    def edit(table):
        table.loc[table.index[:3], "predicted"] = NAN
        table.loc[table.index[3:8], "observed"] = NAN
        return table

    folder = predicted_folder(tmp_path / "out", store, edit=edit)
    assert CREaTor.main(["evaluate", str(folder), "--store", "elsewhere"]) == 0
    assert [str(path) for path in store.opened] == ["elsewhere"]
    seen = capfd.readouterr().out
    assert "3 of 480 rows are left out: without prediction (no cCRE in reach)" in seen
    assert "5 of 480 rows are left out: without measured expression" in seen
    assert pd.read_csv(folder / "eval.csv")["values"][0] == 120 - 3 - 3  # two of the eight are of cell D


@pytest.mark.usefixtures("few_draws")
def test_a_model_trained_elsewhere_has_no_baselines(tmp_path, store, capfd):
    folder = predicted_folder(tmp_path / "out", store, record={})
    assert CREaTor.main(["evaluate", str(folder), "--to", str(tmp_path / "x.csv")]) == 0
    assert "does not say what the model was trained on" in capfd.readouterr().out
    assert not store.opened
    table = pd.read_csv(tmp_path / "x.csv")
    assert table["predictor"].unique().tolist() == ["network"]
    assert table["split"].isna().all()


@pytest.mark.usefixtures("few_draws")
def test_cells_of_which_none_was_trained_on(tmp_path, store, capfd):
    def edit(table):
        return table[table["cell"] == "D"]

    folder = predicted_folder(tmp_path / "out", store, edit=edit)
    assert CREaTor.main(["evaluate", str(folder)]) == 0
    assert "no predictions for two training cells" in capfd.readouterr().out
    rows = pd.read_csv(folder / "eval.csv").set_index(["split", "cell", "predictor"])
    assert np.isnan(rows.loc[("both", "D", "network"), "change_Pearson"])
    assert rows.loc[("both", "D", "change_ridge"), "change_Pearson"] > 0.999


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda table: table.drop(columns="observed"), "has no column 'observed'"),
        (lambda table: table.assign(predicted="low"), "'row 1' has 'low'"),
        (lambda table: table.assign(split="test"), "column 'split' in"),
        (lambda table: table.assign(split="train"), "the splits of"),
        (lambda table: pd.concat([table, table[:1]]), "1 genes of"),
        (
            lambda table: table.assign(gene_id="x" + table["gene_id"]),
            "120 genes of expression.tsv are not in the store",
        ),
        (
            lambda table: table[table["cell"] == "A"].assign(cell="Z"),
            "1 cells of expression.tsv are not in the store: 'Z'",
        ),
        (lambda table: table.assign(observed=NAN), "has no row with both"),
        (lambda table: table[:0], "has a header and no rows"),
    ],
)
def test_wrong_predictions(tmp_path, store, capfd, edit, message):
    folder = predicted_folder(tmp_path / "out", store, edit=edit)
    assert message in refused(capfd, folder)
    assert not (folder / "eval.csv").exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"store": 1}',
        '{"store": "s", "hold_out_cells": "A"}',
        '{"store": "s", "hold_out_cells": [1]}',
    ],
)
def test_damaged_record(tmp_path, store, capfd, content):
    folder = predicted_folder(tmp_path / "out", store)
    write(folder / "predict.json", content)
    assert "predict.json is damaged; write the folder again" in refused(capfd, folder)
    (folder / "predict.json").unlink()
    assert "has no predict.json; give a folder that predict wrote" in refused(capfd, folder)
