"""Seconds-long models that a network has to beat: regression on k-mer counts and on base composition."""

import warnings
from collections.abc import Sequence

import numpy as np

from core.scores import auroc
from lcre.kmers import count_kmers, scale_features

LENGTHS = (6, 5, 4)
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3)  # inverse of the ridge penalty on scaled counts


def kmer_features(windows: np.ndarray, regions: Sequence[slice], k: int) -> np.ndarray:
    """Return square roots of the k-mer counts of each region side by side, (genes, regions * 4**k)."""
    return np.sqrt(np.concatenate([count_kmers(windows[:, region], k) for region in regions], axis=1))


def composition_features(windows: np.ndarray, regions: Sequence[slice]) -> np.ndarray:
    """Return the bases of each region as shares of all known ones, (genes, regions * 4)."""
    counts = np.concatenate([count_kmers(windows[:, region], 1) for region in regions], axis=1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def fit_predict(train: np.ndarray, target: np.ndarray, others: list[np.ndarray], strengths) -> list[list[np.ndarray]]:
    """Fit a ridge-penalised logistic regression at each strength.

    Features are scaled in place by `scale_features`.

    Returns:
        For each strength the probabilities of being high for each array of `others`.
    """
    from scipy.special import expit
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    scale_features(train, others)
    model = LogisticRegression(max_iter=200, tol=1e-3, warm_start=True)
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline near its optimum is good enough
        for strength in strengths:
            model.set_params(C=strength)
            model.fit(train, target)
            # by hand, because the model refuses to predict no genes
            results.append([expit(features @ model.coef_[0] + model.intercept_[0]) for features in others])
    return results


def kmer_baseline(
    windows: np.ndarray,
    regions: Sequence[slice],
    target: np.ndarray,
    train: np.ndarray,
    choose: np.ndarray,
    test: np.ndarray,
) -> tuple[np.ndarray, dict]:
    """Predict held-out genes by the k-mer regression that does best on the genes set aside for choosing.

    Args:
        windows: base codes, shape (genes, columns).
        regions: the columns that are counted apart: promoter and terminator.
        target: 0 or 1 for the genes of `train` and `choose`, shape (genes,).
        train, choose, test: rows of `windows`; length and strength are chosen on `choose`. Where these genes are
            of one class and decide nothing (choose_auROC is nan), the first of each is taken.

    Returns:
        The probability of being high of each gene of `test`, and the choice {"k", "strength", "choose_auROC"}.
    """
    best, choice = None, {}
    for k in LENGTHS:
        parts = [kmer_features(windows[rows], regions, k) for rows in (train, choose, test)]
        fitted = fit_predict(parts[0], target[train], parts[1:], STRENGTHS)
        for strength, (chosen, tested) in zip(STRENGTHS, fitted, strict=True):
            score = auroc(target[choose], chosen)
            if best is None or score > choice["choose_auROC"]:
                best, choice = tested, {"k": k, "strength": strength, "choose_auROC": score}
    return best, choice


def composition_baseline(
    windows: np.ndarray, regions: Sequence[slice], target: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Predict held-out genes by logistic regression on base composition; arguments as in `kmer_baseline`."""
    parts = [composition_features(windows[rows], regions) for rows in (train, test)]
    return fit_predict(parts[0], target[train], parts[1:], [1.0])[0][0]


def predict_baselines(
    windows: np.ndarray, regions: Sequence[slice], target: np.ndarray, fold, random: np.random.Generator
) -> np.ndarray:
    """Return both baselines for the test genes of a fold, (genes, 2): k-mers, composition.

    Without a validation chromosome (SELECT_ON test) a fifth of the training genes chooses the k-mer regression.

    Args:
        windows, regions, target: as in `kmer_baseline`.
        fold: rows balanced, validation and test.
        random: draws that fifth.
    """
    train, choose = fold.balanced, fold.validation
    if not len(choose):
        choose, train = np.split(random.permutation(train), [len(train) // 5])
    kmers, _ = kmer_baseline(windows, regions, target, train, choose, fold.test)
    return np.column_stack([kmers, composition_baseline(windows, regions, target, fold.balanced, fold.test)])
