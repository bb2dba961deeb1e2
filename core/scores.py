"""Scores of predictions: auROC, auPR, accuracy and loss of classes, correlation and error of numbers, the bootstrap.

And whether two predictions of the same rows differ by more than chance: DeLong's and McNemar's tests.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# ------------------------------------------------------------------------------------------------ two classes


def auroc(target: np.ndarray, probability: np.ndarray) -> float:
    """Return the area under the ROC curve: the chance that a high gene scores above a low one, ties half.

    Args:
        target: 0 or 1, shape (n,).
        probability: any score, shape (n,).

    Returns:
        The area, or nan where only one class is present or a score is nan.
    """
    from sklearn.metrics import roc_auc_score

    target, probability = np.asarray(target), np.asarray(probability)
    if len(np.unique(target)) < 2 or np.isnan(probability).any():
        return float("nan")
    return float(roc_auc_score(target, probability))


def auroc_error(low: int, high: int, area: float = 0.9) -> float:
    """Return the standard error of an auROC on so many low and high genes.

    Hanley and McNeil, Radiology 143, 29 (1982).
    """
    above, twice = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (high - 1) * (above - area**2) + (low - 1) * (twice - area**2)
    return float(np.sqrt(spread / (low * high)))


def auroc_interval(target: np.ndarray, probability: np.ndarray, seed: int, draws: int = 2000) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the auROC, genes drawn with replacement within classes.

    (nan, nan) where `auroc` is nan.
    """
    target, probability = np.asarray(target), np.asarray(probability)
    if np.isnan(auroc(target, probability)):
        return float("nan"), float("nan")
    classes = [np.flatnonzero(target == label) for label in (0, 1)]
    return interval(bootstrap(Ranking(target, probability).auroc, classes, draws, seed))


class Ranking:
    """A score sorted once, so that the areas under its curves cost little in each of many bootstrap draws.

    Args:
        target: 0 or 1, shape (n,).
        score: any numbers, shape (n,); equal ones are ties.
    """

    def __init__(self, target: np.ndarray, score: np.ndarray):
        self.target = np.asarray(target)
        values, self.level = np.unique(np.asarray(score), return_inverse=True)
        self.levels = len(values)

    def _count(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many rows of class 0 and of class 1 have each value of the score, in ascending order."""
        high = np.where(self.target == 1, times, 0)
        return tuple(np.bincount(self.level, part, minlength=self.levels) for part in (times - high, high))

    def auroc(self, times: np.ndarray) -> float:
        """Return `auroc` of rows taken `times` each, shape (n,); nan where only one class is taken."""
        low, high = self._count(times)
        pairs = low.sum() * high.sum()
        return float((high * (np.cumsum(low) - low / 2)).sum() / pairs) if pairs else float("nan")

    def auprc(self, times: np.ndarray) -> float:
        """Return `auprc` of rows taken `times` each, shape (n,); nan where none of class 1 is taken."""
        low, high = (np.cumsum(counts[::-1]) for counts in self._count(times))  # at or above each threshold
        if not high[-1]:
            return float("nan")
        precision = high / np.maximum(low + high, 1)
        return float((np.diff(high, prepend=0) * precision).sum() / high[-1])


def placements(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of every high gene the fraction of low genes below it, and of every low gene that of high genes above it.

    Ties count half; the mean of either is the auROC. Found by midranks (Sun and Xu, IEEE Signal Processing Letters 21,
    1389, 2014).

    Args:
        target: 0 or 1, shape (n,), both of them there.
        score: any numbers, shape (n,).

    Returns:
        Two arrays, of shapes (high genes,) and (low genes,).
    """
    from scipy.stats import rankdata

    high, low = score[target == 1], score[target == 0]
    ranks = rankdata(np.concatenate([high, low]))
    of_high = (ranks[: len(high)] - rankdata(high)) / len(low)
    of_low = 1 - (ranks[len(high) :] - rankdata(low)) / len(high)
    return of_high, of_low


class Difference(NamedTuple):
    """A difference between two scores, its 95 % interval, and the two-sided p-value that there is none."""

    difference: float
    low: float
    high: float
    p: float


def delong_test(target: np.ndarray, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Difference:
    """Return the difference in auROC between two predictions of the same genes, by DeLong's paired test.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44, 837 (1988). Genes are taken for independent of one another, and
    the networks that predict for fixed. Of several predictions of a kind, one a seed, each gene's placement is
    averaged, so that seeds are no further observations.

    Args:
        target: 0 or 1, shape (n,).
        ours: one or more predictions, each any numbers of shape (n,).
        theirs: those to compare with.

    Returns:
        `ours` less `theirs`; all nan where a class is absent or a prediction is nan, interval and p nan where a class
        has one gene only, and p nan where a difference has no variance (as with very few genes).
    """
    from scipy.stats import norm

    nan = float("nan")
    counts = [int(np.sum(target == label)) for label in (0, 1)]
    if not all(counts) or np.isnan([*ours, *theirs]).any():
        return Difference(nan, nan, nan, nan)
    differences = []
    for side in (0, 1):
        first = np.mean([placements(target, score)[side] for score in ours], axis=0)
        differences.append(first - np.mean([placements(target, score)[side] for score in theirs], axis=0))
    mean = float(differences[0].mean())
    if min(counts) < 2:
        return Difference(mean, nan, nan, nan)
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in differences)))
    p_value = float(2 * norm.sf(abs(mean) / error)) if error else nan if mean else 1.0
    return Difference(mean, mean - 1.96 * error, mean + 1.96 * error, p_value)


def bootstrap_test(
    target: np.ndarray, ours: np.ndarray, theirs: np.ndarray, seed: int, draws: int = 2000
) -> Difference:
    """Return the difference in auROC between two predictions of the same genes, by a paired bootstrap over genes.

    Genes are drawn with replacement within classes, and each draw scores both predictions.

    Args:
        target: 0 or 1, shape (n,).
        ours: any numbers, shape (n,).
        theirs: the prediction to compare with.
        seed: of the random numbers.
        draws: how many samples; p is at least 2 / (draws + 1).

    Returns:
        `ours` less `theirs`; all nan where `auroc` of either is nan.
    """
    difference = auroc(target, ours) - auroc(target, theirs)
    if np.isnan(difference):
        return Difference(*[float("nan")] * 4)
    first, second = Ranking(target, ours), Ranking(target, theirs)
    classes = [np.flatnonzero(target == label) for label in (0, 1)]
    values = bootstrap(lambda times: first.auroc(times) - second.auroc(times), classes, draws, seed)
    return Difference(difference, *interval(values), two_sided_p(values))


def mcnemar_p(only_ours: int, only_theirs: int) -> float:
    """Return McNemar's exact two-sided p-value that two ways of calling are right equally often.

    McNemar, Psychometrika 12, 153 (1947): of the genes that one of the two alone calls rightly, either has half.

    Args:
        only_ours: genes that the first alone calls rightly.
        only_theirs: genes that the second alone calls rightly.
    """
    from scipy.stats import binomtest

    discordant = only_ours + only_theirs
    return float(binomtest(only_ours, discordant, 0.5).pvalue) if discordant else 1.0


def log_loss(target: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean binary cross-entropy in nats, probabilities clipped at 1e-7 as Keras does."""
    probability = np.clip(probability, 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(target == 1, np.log(probability), np.log1p(-probability))))


def accuracy(target: np.ndarray, probability: np.ndarray) -> float:
    """Return the share of genes on the right side of 0.5."""
    return float(np.mean((np.asarray(probability) > 0.5) == (np.asarray(target) == 1)))


def auprc(target: np.ndarray, probability: np.ndarray) -> float:
    """Return the average precision (area under the precision-recall curve); nan without high genes or with a nan."""
    from sklearn.metrics import average_precision_score

    if not np.any(target) or np.isnan(probability).any():
        return float("nan")
    return float(average_precision_score(target, probability))


def precision_recall(target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision-recall curve: recall, rising from 0 to 1, and precision.

    Steps whose height is the precision at their right end enclose the average precision. Ties count as one step, and
    points between two others of the same recall are left out, as in scikit-learn.

    Args:
        target: 0 or 1, shape (n,).
        score: any numbers, shape (n,).

    Returns:
        Two arrays of one shape, empty without a row of class 1.
    """
    from sklearn.metrics import precision_recall_curve

    if not (np.asarray(target) == 1).any():
        return np.empty(0), np.empty(0)
    precision, recall, _ = precision_recall_curve(target, score, drop_intermediate=True)
    return recall[::-1], precision[::-1]


# ---------------------------------------------------------------------------------------------------- numbers
class Agreement:
    """Two arrays summed and sorted once, so that correlation and error cost little in each of many bootstrap draws.

    Args:
        x, y: any numbers, shape (n,).
        unit: the unit that each row belongs to, shape (n,), from 0; the rows of a unit (a gene's cells) are drawn
            together. None: each row is a unit.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, unit: np.ndarray | None = None):
        x, y = np.asarray(x, float), np.asarray(y, float)
        self.unit = np.arange(len(x)) if unit is None else unit
        self.squares = np.array([np.mean(values**2) if len(x) else 0.0 for values in (x, y)])
        self.levels = [np.unique(values, return_inverse=True)[1] for values in (x, y)]
        self.known = not (np.isnan(x).any() or np.isnan(y).any())
        error = np.abs(x - y)
        if len(x):
            x, y = x - x.mean(), y - y.mean()  # so that sums of squares lose no digits
        parts = (np.ones(len(x)), x, y, x * x, y * y, x * y, error)
        self.sums = np.column_stack([np.bincount(self.unit, part) for part in parts])  # (units, 7)

    def pearson(self, times: np.ndarray) -> float:
        """Return `pearson` of units taken `times` each, shape (units,)."""
        rows, x, y, xx, yy, xy, _ = times @ self.sums
        if not rows or not self.known:
            return float("nan")
        squares = np.array([xx, yy])
        variances = squares - np.array([x, y]) ** 2 / rows
        if (variances <= 1e-12 * squares + 1e-24 * rows * self.squares).any():  # what rounding leaves of a constant
            return float("nan")
        return float((xy - x * y / rows) / np.sqrt(variances.prod()))

    def spearman(self, times: np.ndarray) -> float:
        """Return `spearman` of units taken `times` each, shape (units,): ranks are those among the rows taken."""
        if not self.known:
            return float("nan")
        times = np.asarray(times, float)[self.unit]
        total = times.sum()
        variances, deviations = [], []
        for level in self.levels:
            count = np.bincount(level, times)
            deviation = np.cumsum(count) - (count + total) / 2  # of the mean rank of equal values from that of all
            variances.append((count * deviation**2).sum())
            deviations.append(deviation[level])
        if not all(variances):
            return float("nan")
        return float((times * deviations[0] * deviations[1]).sum() / np.sqrt(variances[0] * variances[1]))

    def mean_absolute_error(self, times: np.ndarray) -> float:
        """Return `mean_absolute_error` of units taken `times` each, shape (units,)."""
        rows, *_, error = times @ self.sums
        return float(error / rows) if rows else float("nan")


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Return Pearson's correlation of two arrays of shape (n,); nan where one is constant or has a nan."""
    return Agreement(x, y).pearson(np.ones(len(x)))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's rank correlation of two arrays of shape (n,), ties sharing their mean rank; nan as above."""
    return Agreement(x, y).spearman(np.ones(len(x)))


def mean_absolute_error(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean of |x - y|, arrays of shape (n,); nan without rows."""
    return Agreement(x, y).mean_absolute_error(np.ones(len(x)))


# -------------------------------------------------------------------------------------------------- bootstrap
def bootstrap(
    statistic: Callable[[np.ndarray], float | np.ndarray], strata: Sequence[np.ndarray], draws: int, seed: int
) -> np.ndarray:
    """Return a statistic of samples drawn with replacement.

    Several statistics that are to be compared belong in one `statistic` that returns an array: they then see the
    same draws, and their differences are paired.

    Args:
        statistic: takes how often each unit was drawn, (n,), and returns a number or an array.
        strata: indices of the units that are drawn among themselves; together 0 to n - 1. One array draws all alike.
        draws: how many samples.
        seed: of the random numbers.

    Returns:
        The statistic of each sample, shape (draws, ...).
    """
    random = np.random.default_rng(seed)
    size = sum(map(len, strata))
    values = []
    for _ in range(draws):
        drawn = np.concatenate([random.choice(units, len(units)) for units in strata])
        values.append(statistic(np.bincount(drawn, minlength=size)))
    return np.array(values)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of bootstrap values, shape (draws,); nan among them are left out."""
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def two_sided_p(differences: np.ndarray) -> float:
    """Return the two-sided bootstrap p-value that a difference is 0, from its bootstrap values, shape (draws,).

    Twice the fraction of draws on the rarer side of 0, one added to each count: 1,000 draws give at least 0.002.
    """
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return float("nan")
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1, 2 * (rarer + 1) / (len(differences) + 1)))
