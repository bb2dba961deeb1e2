"""Scores of predicted probabilities: auROC with its interval, auPR, accuracy, loss."""

import numpy as np


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

    The area is a mean over pairs of genes, so a draw only needs how often each gene was taken: with
    the genes sorted once, each draw is two sums. (nan, nan) where `auroc` is nan.
    """
    target, probability = np.asarray(target), np.asarray(probability)
    if np.isnan(auroc(target, probability)):
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    values, level = np.unique(probability, return_inverse=True)
    low_level, high_level = level[target == 0], level[target == 1]
    areas = np.empty(draws)
    for draw in range(draws):
        low = np.bincount(random.choice(low_level, len(low_level)), minlength=len(values))
        high = np.bincount(random.choice(high_level, len(high_level)), minlength=len(values))
        areas[draw] = (high * (np.cumsum(low) - low / 2)).sum() / (len(low_level) * len(high_level))
    low_end, high_end = np.percentile(areas, [2.5, 97.5])
    return float(low_end), float(high_end)


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
