"""Seconds-long models that a network has to beat, or that see a part of what it sees: regressions on counts."""

import warnings
from collections.abc import Sequence

import numpy as np

from core.scores import auroc
from lcre.kmers import count_kmers, kmers_in_bins, plan_bins, scale_features, solve_ridge

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


def ridge_baseline(train: np.ndarray, log_odds: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict genes by the ridge regression that is a part of `cnn_lstm_kmer` (`lcre.kmers.solve_ridge`).

    Args:
        train: features of the training genes, float32, (n, features), scaled in place.
        log_odds: targets of the training genes, (n,).
        test: features of the genes to predict, (m, features).

    Returns:
        Their probabilities, (m,).
    """
    from scipy.special import expit

    weights, intercept = solve_ridge(train, log_odds)
    return expit(test @ weights + intercept)


def bin_baseline(windows: np.ndarray, bins: list, log_odds: np.ndarray, fold) -> np.ndarray | None:
    """Predict the test genes of a fold by k-mer counts in bins; None without bins.

    Args:
        windows: base codes, (genes, columns).
        bins: of `lcre.kmers.plan_bins`.
        log_odds: targets, (genes,).
        fold: rows training and test.
    """
    if not bins:
        return None
    train, test = (
        np.concatenate([kmers_in_bins(windows[rows], *one) for one in bins], axis=1)
        for rows in (fold.training, fold.test)
    )
    return ridge_baseline(train, log_odds[fold.training], test)


def coding_baseline(features: np.ndarray | None, log_odds: np.ndarray, fold) -> np.ndarray | None:
    """Predict the test genes of a fold by lengths and codon usage of their CDS; None without features.

    Args:
        features: (genes, features), nan where a gene has none: the mean of the training genes is taken.
        log_odds: targets, (genes,).
        fold: rows training and test.
    """
    if features is None:
        return None
    train, test = features[fold.training], features[fold.test]
    known = ~np.isnan(train).any(axis=1)
    if not known.any():
        return None
    mean, spread = train[known].mean(axis=0), train[known].std(axis=0)
    spread[spread == 0] = 1
    train, test = (np.nan_to_num((part - mean) / spread).astype(np.float32) for part in (train, test))
    return ridge_baseline(train, log_odds[fold.training], test)


def predict_baselines(
    windows: np.ndarray,
    layout,
    target: np.ndarray,
    log_odds: np.ndarray,
    fold,
    random: np.random.Generator,
    coding: np.ndarray | None = None,
) -> dict[str, np.ndarray | None]:
    """Return every baseline's probabilities for the test genes of a fold.

    Without a validation chromosome (SELECT_ON test) a fifth of the training genes chooses the k-mer regression.

    Args:
        windows, target: as in `kmer_baseline`.
        layout: of the windows: regions, outside, inside, region_size.
        log_odds: of being high by the rank of expression, (genes,).
        fold: rows balanced, training, validation and test.
        random: draws that fifth.
        coding: of the genes' CDS, (genes, features); None where the annotation has none.

    Returns:
        Column of the fold's predictions.csv -> probabilities, (test genes,): kmer, gc, outside, inside, codon; None for
        what the windows or the annotation do not have.
    """
    train, choose, regions = fold.balanced, fold.validation, list(layout.regions.values())
    if not len(choose):
        choose, train = np.split(random.permutation(train), [len(train) // 5])
    outside = plan_bins(layout.outside, [], layout.region_size)
    inside = plan_bins(layout.inside, layout.inside, layout.region_size)
    return {
        "kmer": kmer_baseline(windows, regions, target, train, choose, fold.test)[0],
        "gc": composition_baseline(windows, regions, target, fold.balanced, fold.test),
        "outside": bin_baseline(windows, outside, log_odds, fold),
        "inside": bin_baseline(windows, inside, log_odds, fold),
        "codon": coding_baseline(coding, log_odds, fold),
    }
