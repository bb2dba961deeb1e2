"""Scores against scikit-learn and by hand, and the result table made of them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from core import scores
from core.files import write_rows
from lcre import results

NAN = float("nan")
both_classes = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40).filter(
    lambda pairs: len({high for high, _ in pairs}) == 2
)


def arrays(pairs) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities in eighths, so that ties abound."""
    return np.array([int(high) for high, _ in pairs]), np.array([level / 8 for _, level in pairs])


# -------------------------------------------------------------------------------------- against scikit-learn
@settings(max_examples=50)
@given(both_classes)
def test_scores_are_those_of_scikit_learn(pairs):
    target, probability = arrays(pairs)
    assert scores.auroc(target, probability) == pytest.approx(metrics.roc_auc_score(target, probability), abs=1e-12)
    assert scores.auprc(target, probability) == pytest.approx(metrics.average_precision_score(target, probability))
    assert scores.accuracy(target, probability) == pytest.approx(
        metrics.accuracy_score(target, probability > 0.5), abs=1e-12
    )
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    assert scores.log_loss(target, probability) == pytest.approx(metrics.log_loss(target, clipped), rel=1e-9)


@pytest.mark.parametrize(
    ("target", "probability", "area"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([1, 0], [0.1, 0.9], 0.0),
        ([0, 1], [0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8], 3.5 / 4),
        ([0, 0, 0, 1], [3, 1, 2, 2], 1.5 / 3),  # any score will do
        ([1, 1], [0.1, 0.9], NAN),
        ([], [], NAN),
        ([0, 1, 1], [0.1, NAN, 0.9], NAN),
    ],
)
def test_auroc_by_hand(target, probability, area):
    found = scores.auroc(np.array(target, int), np.array(probability, float))
    assert found == pytest.approx(area, nan_ok=True)


def test_certain_and_wrong_costs_what_keras_says():
    target, probability = np.array([1, 0, 1]), np.array([0.0, 1.0, 1.0])
    assert scores.log_loss(target, probability) == pytest.approx(2 / 3 * -np.log(1e-7), rel=1e-6)
    assert np.isfinite(scores.log_loss(target, probability.astype(np.float32)))


def test_half_is_not_high():
    assert scores.accuracy(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5
    assert scores.accuracy(np.array([0, 0]), np.array([0.5, 0.5])) == 1


@pytest.mark.parametrize(("target", "probability"), [([0, 0], [0.1, 0.2]), ([0, 1], [0.1, NAN])])
def test_auprc_without_high_genes_or_without_numbers_is_nan(target, probability):
    assert np.isnan(scores.auprc(np.array(target), np.array(probability)))


# ---------------------------------------------------------------------------------------------- bootstrap
def resampled_interval(target: np.ndarray, probability: np.ndarray, draws: int) -> np.ndarray:
    """The interval by drawing genes within their class and comparing all pairs of each draw."""
    random = np.random.default_rng(99)
    areas = []
    for _ in range(draws):
        low, high = (random.choice(probability[target == label], (target == label).sum()) for label in (0, 1))
        areas.append(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))
    return np.percentile(areas, [2.5, 97.5])


@pytest.mark.parametrize("decimals", [1, 6])
def test_interval_is_that_of_plain_resampling(decimals):
    random = np.random.default_rng(5)
    target = (np.arange(150) % 3 == 0).astype(int)
    probability = (1 / (1 + np.exp(-random.normal(target, 1.0)))).round(decimals)
    low, high = scores.auroc_interval(target, probability, seed=1)
    assert low < scores.auroc(target, probability) < high
    assert (low, high) == pytest.approx(tuple(resampled_interval(target, probability, 2000)), abs=0.015)


def test_interval_is_repeatable_and_depends_on_the_seed():
    random = np.random.default_rng(6)
    target, probability = random.integers(0, 2, 60), random.random(60)
    first = scores.auroc_interval(target, probability, seed=1)
    assert scores.auroc_interval(target, probability, seed=1) == first
    assert scores.auroc_interval(target, probability, seed=2) != first


@pytest.mark.parametrize(
    ("target", "probability", "interval"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8], (1, 1)),
        ([1, 1, 0], [0.1, 0.2, 0.7], (0, 0)),
        ([0, 1, 0, 1], [0.5] * 4, (0.5, 0.5)),
        ([0, 1], [0.3, 0.4], (1, 1)),
        ([0, 0], [0.3, 0.4], (NAN, NAN)),
        ([], [], (NAN, NAN)),
        ([0, 1, 1], [0.3, NAN, 0.2], (NAN, NAN)),
    ],
)
def test_interval_by_hand(target, probability, interval):
    found = scores.auroc_interval(np.array(target, int), np.array(probability, float), seed=1, draws=50)
    assert found == pytest.approx(interval, nan_ok=True)


@settings(max_examples=40)
@given(both_classes)
def test_interval_lies_between_zero_and_one_in_order(pairs):
    low, high = scores.auroc_interval(*arrays(pairs), seed=1, draws=30)
    assert 0 <= low <= high <= 1


# ------------------------------------------------------------------------------ two predictions of the same genes
def test_placements_by_hand():
    """High genes score 3 and 1, low ones 2, 1 and 0: 3 is above all, 1 above one and level with one."""
    of_high, of_low = scores.placements(np.array([1, 1, 0, 0, 0]), np.array([3.0, 1, 2, 1, 0]))
    assert of_high == pytest.approx([1, 0.5])
    assert of_low == pytest.approx([0.5, 0.75, 1])


def test_difference_is_that_of_the_areas_and_its_error_that_of_delong():
    """One score right about all, the other right about none but the highest pair, worked out by hand.

    Placements differ by (0, 1) at the high genes and by (1/2, 1/2) at the low: mean 1/2; variances 1/2 and 0, over
    two genes each: error 1/2, z = 1, p = .3173.
    """
    target = np.array([1, 1, 0, 0])
    ours, theirs = np.array([4.0, 3, 2, 1]), np.array([4.0, 1, 2, 3])
    found = scores.delong_test(target, [ours], [theirs])
    assert found.difference == pytest.approx(scores.auroc(target, ours) - scores.auroc(target, theirs))
    assert found == pytest.approx((0.5, 0.5 - 0.98, 0.5 + 0.98, 0.3173), abs=1e-4)
    same = scores.delong_test(target, [ours, theirs], [theirs, ours])
    assert (same.difference, same.p) == (0, 1)


def test_ties_count_half_in_the_test():
    """The first score gives all of four genes the same, the second is right about all: placements differ by 1/2."""
    target, flat, right = np.array([0, 0, 1, 1, 1]), np.zeros(5), np.array([1.0, 2, 3, 4, 5])
    half_right = np.array([1.0, 1, 1, 2, 3])  # the lowest high gene is level with both low ones
    assert scores.delong_test(target, [flat], [right]).difference == -0.5
    # placements of the high genes 1/2, 1, 1 against 1: variance of (-1/2, 0, 0) 1/12, over 3; of the low genes 5/6
    found = scores.delong_test(target, [half_right], [right])
    assert found.difference == pytest.approx(-1 / 6)
    assert found.high - found.difference == pytest.approx(1.96 * (1 / 36) ** 0.5)


@pytest.mark.parametrize(
    ("target", "ours", "theirs", "expected"),
    [
        ([0, 0, 1, 1], [1, 3, 2, 4], [1, 3, 2, 4], (0, 0, 0, 1)),
        ([0, 0, 1, 1], [1, 3, 2, 4], [10, 30, 20, 40], (0, 0, 0, 1)),  # the same ranks
        ([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1], (1, 1, 1, NAN)),  # nothing varies: no p-value
        ([0, 1], [1, 2], [2, 1], (1, NAN, NAN, NAN)),
        ([1, 1], [1, 2], [2, 1], (NAN,) * 4),
        ([0, 0], [1, 2], [2, 1], (NAN,) * 4),
        ([], [], [], (NAN,) * 4),
        ([0, 0, 1, 1], [1, 2, NAN, 4], [4, 3, 2, 1], (NAN,) * 4),
    ],
)
def test_delong_at_its_limits(target, ours, theirs, expected):
    arrays = np.array(target, int), [np.array(ours, float)], [np.array(theirs, float)]
    assert scores.delong_test(*arrays) == pytest.approx(expected, nan_ok=True)


def two_like_scores(genes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A target of both classes and two scores of it, the first a little better, that share most of their noise."""
    random = np.random.default_rng(seed)
    target = np.repeat([0, 1], genes // 2)
    common = random.normal(0, 1, genes)
    return target, *((target + common + random.normal(0, noise, genes)).round(1) for noise in (0.5, 0.8))


def test_delong_and_bootstrap_agree_with_permutation():
    """Where two scores are alike, swapping them gene by gene changes nothing but by chance."""
    target, ours, theirs = two_like_scores(200, seed=4)
    tested = scores.delong_test(target, [ours], [theirs])
    drawn = scores.bootstrap_test(target, ours, theirs, seed=1, draws=1000)
    ranks = [np.unique(score, return_inverse=True)[1] for score in (ours, theirs)]
    random, swapped = np.random.default_rng(2), []
    for _ in range(1000):
        swap = random.random(len(target)) < 0.5
        first, second = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        swapped.append(np.subtract(*(np.mean(scores.placements(target, score)[0]) for score in (first, second))))
    p_value = np.mean(np.abs(swapped) >= abs(tested.difference))
    assert 0.005 < tested.p < 0.5
    assert tested.p == pytest.approx(p_value, abs=0.05)
    assert drawn == pytest.approx(tested, abs=0.03)
    assert drawn.difference == pytest.approx(tested.difference)


def test_paired_bootstrap_draws_both_scores_alike():
    """Scores alike but for one gene: drawn apart, the interval would be as wide as that of either."""
    target, ours, _ = two_like_scores(200, seed=5)
    theirs = ours.copy()
    theirs[0] += 0.5
    found = scores.bootstrap_test(target, ours, theirs, seed=1, draws=300)
    apart = np.ptp(scores.auroc_interval(target, ours, seed=1, draws=300))
    assert found.high - found.low < apart / 10
    assert scores.bootstrap_test(target, ours, theirs, seed=1, draws=300) == found
    assert scores.bootstrap_test(target, ours, ours, seed=1, draws=50) == (0, 0, 0, 1)
    assert np.isnan(scores.bootstrap_test(target * 0, ours, theirs, seed=1)).all()


def test_under_no_difference_p_is_uniform():
    """Two scores equally good by chance, and much alike: p below .1 in about a tenth of the draws.

    A test that forgot that both are of the same genes would hardly ever give so little.
    """
    random = np.random.default_rng(1)
    target = np.repeat([0, 1], 60)
    draws = []
    for _ in range(400):
        common = target + random.normal(0, 1.2, 120)
        draws.append([common + random.normal(0, 0.4, 120) for _ in range(2)])
    p_values = np.array([scores.delong_test(target, [first], [second]).p for first, second in draws])
    assert 0.06 < np.mean(p_values < 0.1) < 0.145
    better = scores.delong_test(target, [target + random.normal(0, 0.3, 120)], [random.normal(0, 1, 120)])
    assert better.difference > 0.3
    assert better.p < 1e-6


@pytest.mark.parametrize(
    ("ours", "theirs", "p"),
    [(0, 0, 1), (1, 0, 1), (5, 5, 1), (0, 5, 2 / 32), (5, 0, 2 / 32), (1, 5, 2 * 7 / 64), (0, 20, 2 / 2**20)],
)
def test_mcnemar_by_counting_coins(ours, theirs, p):
    """Of six genes one or none on the rarer side: 7 of 64 ways, twice for two sides."""
    assert scores.mcnemar_p(ours, theirs) == pytest.approx(p)


# ---------------------------------------------------------------------------------------- the result table
def log_rows(validation: list, test: list, seconds: float = 1.5) -> list[dict]:
    return [
        dict.fromkeys(results.LOG_COLUMNS, "0.5")
        | {"epoch": str(number), "val_auROC": str(one), "test_auROC": str(other), "seconds": str(seconds)}
        for number, (one, other) in enumerate(zip(validation, test, strict=True))
    ]


@pytest.mark.parametrize(
    ("validation", "test", "select_on", "best"),
    [
        ([0.5, 0.7, 0.6], [0.9, 0.6, 0.8], "validation", 1),
        ([0.5, 0.7, 0.6], [0.6, 0.8, 0.9], "test", 2),
        ([0.5, 0.7, 0.7], [0.6, 0.8, 0.9], "validation", 1),  # the first of equals
        (["", ""], [0.6, 0.8], "test", 1),
        ([0.5, NAN, NAN], [0.6, NAN, NAN], "validation", 0),  # training diverged
        ([NAN, 0.4, NAN], [NAN, 0.5, NAN], "test", 1),
        ([NAN, NAN], [NAN, NAN], "validation", 0),
    ],
)
def test_best_epoch(validation, test, select_on, best):
    assert results.best_epoch(log_rows(validation, test), select_on) == best


@pytest.mark.parametrize(
    ("validation", "tolerance", "best"),
    [
        ([0.9, 0.8, 0.88], 0.03, 2),
        ([0.9, 0.8, 0.86], 0.03, 0),  # lower by more than chance
        ([0.8, 0.9, 0.9], 0.03, 2),
        ([0.9, 0.8, NAN], 0.03, 0),
        ([0.9, 0.8, 0.89], 0.0, 0),
    ],
)
def test_the_last_epoch_is_taken_unless_it_is_worse_by_more_than_chance(validation, tolerance, best):
    assert results.best_epoch(log_rows(validation, validation), "validation", tolerance) == best


def test_standard_error_of_an_area():
    """Hanley and McNeil's table III: 50 and 50 pictures, an area of .8: .045; one pair: that of a coin of .9.

    One low and five high genes: (.8 * .2 + 4 (.8 / 1.2 - .64)) / 5 = 4 / 75.
    """
    assert scores.auroc_error(50, 50, 0.8) == pytest.approx(0.045, abs=6e-4)
    assert scores.auroc_error(1, 1) == pytest.approx(0.3)
    assert scores.auroc_error(1, 5, 0.8) == pytest.approx((4 / 75) ** 0.5)


def test_cells_of_the_log_are_empty_without_genes():
    cells = results.score_cells("val", np.zeros(0, int), np.zeros(0))
    assert cells == {"val_loss": "", "val_accuracy": "", "val_auROC": ""}
    cells = results.score_cells("test", np.array([0, 1]), np.array([0.25, 0.75]))
    assert cells == {"test_loss": f"{-np.log(0.75):.6f}", "test_accuracy": "1.000000", "test_auROC": "1.000000"}


def finished_run(folder, diverged: bool = False):
    """A run of three folds, two of them finished, whose numbers are known by hand."""
    genes = pd.DataFrame(
        {
            "gene_id": ["1", "2", "3", "4", "5", "6", "7", "8"],
            "chromosome": ["I", "I", "I", "II", "II", "II", "I", "III"],
            "target": np.array([0, 1, 2, 0, 1, 1, -1, 0], np.int8),
            "logMaxTPM": [0.0, 3.0, 1.0, 0.1, 3.1, 3.2, NAN, 0.2],
        }
    )
    held_out, test = {"I": [0, 1, 2, 6], "II": [3, 4, 5], "III": [7]}, {"I": [0, 1], "II": [3, 4, 5], "III": [7]}
    probability = np.array([0.2, 0.9, 0.5, 0.8, 0.7, 0.9, 0.4, 0.1])
    kmer = np.array([0.9, 0.2, NAN, 0.1, 0.7, 0.9, NAN, NAN])
    folds, folders = [], []
    for name in held_out:
        folder.joinpath(name).mkdir()
        folders.append(folder / name)
        rows = np.array(held_out[name])
        folds.append(
            SimpleNamespace(
                name=name,
                tolerance=0.0,
                training=np.arange(4),
                validation=np.arange(2),
                test=np.array(test[name]),
                held_out=rows,
            )
        )
        frame = pd.DataFrame({"gene_id": genes["gene_id"][rows], "probability": probability[rows], "kmer": kmer[rows]})
        if diverged:
            frame["probability"] = NAN
        if name != "III":
            frame.assign(gc=0.5).to_csv(folders[-1] / "predictions.csv", index=False)
            write_rows(folders[-1] / "performance_log.csv", log_rows([0.5, 0.6], [0.9, 0.8]))
    return folder / "toy", folders, folds, genes


def test_result_table_and_predictions_of_the_finished_folds(tmp_path):
    prefix, folders, folds, genes = finished_run(tmp_path)
    result, predictions = results.collect_results(prefix, folders, folds, genes, "validation", 1)
    assert list(result.columns) == [column.name for column in results.RESULT_COLUMNS]
    assert result["chromosome"].tolist() == ["I", "II", "pooled"]
    assert result["auROC"].tolist() == [1.0, 0.5, round(5 / 6, 6)]
    assert result["kmer_auROC"].tolist() == [0.0, 1.0, round(3.5 / 6, 6)]
    assert result["gc_auROC"].tolist() == [0.5] * 3
    assert result["accuracy"].tolist() == [1.0, round(2 / 3, 6), 0.8]
    assert result["test_size"].tolist() == [2, 3, 5]
    assert result["best_epoch"].tolist() == [1, 1, pd.NA]
    assert result["auROC_optimistic"].tolist() == [0.9, 0.9, 0.9]
    assert result["seconds"].tolist() == [3.0, 3.0, 6.0]
    assert result["organism"].tolist() == ["toy"] * 3
    assert predictions["probability"].tolist()[:7] == [0.2, 0.9, 0.5, 0.8, 0.7, 0.9, 0.4]
    lines = (tmp_path / "toy_predictions.csv").read_text().splitlines()
    assert lines[0] == "gene_id,chromosome,target,logMaxTPM,probability"
    assert lines[1] == "1,I,0,0.0,0.2"
    assert lines[7] == "7,I,,,0.4"  # no value in the table, predicted all the same
    assert lines[8] == "8,III,0,0.2,"  # its fold is not finished
    assert (tmp_path / "toy_result.csv").read_text().splitlines()[0] == ",".join(result.columns)


def test_columns_of_later_versions(tmp_path):
    """Folds of an older version lack them; one of a newer has them, and pooled there is none."""
    prefix, folders, folds, genes = finished_run(tmp_path)
    old, _ = results.collect_results(prefix, folders, folds, genes, "validation", 1)
    assert old[["outside_auROC", "inside_auROC", "codon_auROC"]].isna().all(axis=None)
    assert "outside" not in results.show_results(old, "validation").splitlines()[-4]
    path = folders[1] / "predictions.csv"
    found = pd.read_csv(path)
    found.assign(outside=[0.1, 0.2, 0.3], inside=[0.9, 0.2, 0.9], uncalibrated=0.5).to_csv(path, index=False)
    new, _ = results.collect_results(prefix, folders, folds, genes, "validation", 1)
    assert new["outside_auROC"].tolist() == pytest.approx([NAN, 1.0, NAN], nan_ok=True)
    assert new["inside_auROC"].tolist() == pytest.approx([NAN, 0.25, NAN], nan_ok=True)
    assert new["codon_auROC"].isna().all()
    assert results.show_results(new, "validation").splitlines()[-4].split()[-3:] == ["outside", "inside", "optimistic"]
    found.assign(outside=[0.1, NAN, 0.3]).to_csv(path, index=False)  # damaged
    assert results.read_finished(folders[1], folds[1], genes["gene_id"].to_numpy()) is None


def test_result_table_before_any_fold_is_finished(tmp_path):
    prefix, folders, folds, genes = finished_run(tmp_path)
    result, predictions = results.collect_results(prefix, folders[2:], folds[2:], genes, "validation", 1)
    assert result.empty
    assert predictions["probability"].isna().all()


def test_a_run_that_diverged_has_a_table_too(tmp_path):
    prefix, folders, folds, genes = finished_run(tmp_path, diverged=True)
    result, _ = results.collect_results(prefix, folders, folds, genes, "validation", 1)
    assert result[["auROC", "auROC_low", "auPR"]].isna().all(axis=None)
    assert "nan-nan" not in results.show_results(result, "validation")


@pytest.mark.parametrize(("select_on", "says"), [("validation", "on another chromosome"), ("test", "is optimistic")])
def test_table_for_people_says_what_chose_the_epoch(tmp_path, select_on, says):
    prefix, folders, folds, genes = finished_run(tmp_path)
    result, _ = results.collect_results(prefix, folders, folds, genes, select_on, 1)
    head, *table = results.show_results(result, select_on).splitlines()[1:]
    assert says in results.show_results(result, select_on)
    assert [line.split()[0] for line in table] == ["held", "I", "II", "pooled"][-len(table) :]
    assert table[-1].split()[1:3] == ["5", "-"]
