"""Seconds-long models that a network has to beat: regression on k-mer counts and on base composition."""

import warnings

import numpy as np

from lcre.scores import auroc

LENGTHS = (4, 5, 6)
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # inverse of the ridge penalty on standardised counts


def count_kmers(codes: np.ndarray, k: int) -> np.ndarray:
    """Count every k-mer of one strand in each sequence; k-mers with an unknown base are not counted.

    Args:
        codes: base codes, uint8, shape (genes, columns); 4 = unknown.
        k: length in bp.

    Returns:
        Counts, float32, shape (genes, 4**k), k-mers in the order of ACGT.
    """
    genes, columns = codes.shape
    places = columns - k + 1
    if places < 1:
        return np.zeros((genes, 4**k), np.float32)
    counts = np.empty((genes, 4**k), np.float32)
    for begin in range(0, genes, 256):
        part = codes[begin : begin + 256]
        number = np.zeros((len(part), places), np.int32)
        known = np.ones((len(part), places), bool)
        for offset in range(k):
            base = part[:, offset : offset + places]
            number = number * 4 + base
            known &= base < 4
        number += np.arange(len(part), dtype=np.int32)[:, None] * 4**k
        found = np.bincount(number[known], minlength=len(part) * 4**k)
        counts[begin : begin + 256] = found.reshape(len(part), 4**k)
    return counts


def kmer_features(windows: np.ndarray, halves: tuple[slice, slice], k: int) -> np.ndarray:
    """Return square roots of the k-mer counts of promoter and terminator side by side, (genes, 2 * 4**k)."""
    return np.sqrt(np.concatenate([count_kmers(windows[:, half], k) for half in halves], axis=1))


def composition_features(windows: np.ndarray, halves: tuple[slice, slice]) -> np.ndarray:
    """Return the shares of A, C, G, T in promoter and terminator, (genes, 8)."""
    counts = np.concatenate([count_kmers(windows[:, half], 1) for half in halves], axis=1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def fit_predict(train: np.ndarray, target: np.ndarray, others: list[np.ndarray], strengths) -> list[list]:
    """Fit a ridge-penalised logistic regression at each strength.

    Features are standardised by the training genes, in place.

    Returns:
        For each strength the probabilities of being high for each array of `others`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    centre, spread = train.mean(axis=0), train.std(axis=0) + 1e-6
    for features in (train, *others):
        features -= centre
        features /= spread
    model = LogisticRegression(max_iter=200, tol=1e-3, warm_start=True)
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline near its optimum is good enough
        for strength in strengths:
            model.set_params(C=strength)
            model.fit(train, target)
            results.append([model.predict_proba(features)[:, 1] for features in others])
    return results


def kmer_baseline(
    windows: np.ndarray,
    halves: tuple[slice, slice],
    target: np.ndarray,
    train: np.ndarray,
    choose: np.ndarray,
    test: np.ndarray,
) -> tuple[np.ndarray, dict]:
    """Predict held-out genes by the k-mer regression that does best on the genes set aside for choosing.

    Args:
        windows: base codes, shape (genes, columns).
        halves: the columns of promoter and terminator.
        target: 0 or 1 for the genes of `train` and `choose`, shape (genes,).
        train, choose, test: rows of `windows`; length and strength are chosen on `choose`.

    Returns:
        The probability of being high of each gene of `test`, and the choice {"k", "strength", "choose_auROC"}.
    """
    best, choice = None, {"choose_auROC": -1.0}
    for k in LENGTHS:
        parts = [kmer_features(windows[rows], halves, k) for rows in (train, choose, test)]
        fitted = fit_predict(parts[0], target[train], parts[1:], STRENGTHS)
        for strength, (chosen, tested) in zip(STRENGTHS, fitted, strict=True):
            score = auroc(target[choose], chosen)
            if score > choice["choose_auROC"]:
                best, choice = tested, {"k": k, "strength": strength, "choose_auROC": score}
    return best, choice


def composition_baseline(
    windows: np.ndarray, halves: tuple[slice, slice], target: np.ndarray, train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Predict held-out genes by logistic regression on base composition; arguments as in `kmer_baseline`."""
    parts = [composition_features(windows[rows], halves) for rows in (train, test)]
    return fit_predict(parts[0], target[train], parts[1:], [1.0])[0][0]
