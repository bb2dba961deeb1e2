"""What predicted expression is compared with: ridge regressions on the signal of the cCREs around a TSS, and a mean.

Arrays of genes and cells have shape (G, C) and are nan where a value is not known; expression is log1p of TPM.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SCALES = (300, 1_000, 3_000, 10_000, 50_000)  # bp: the signal of a cCRE at distance d counts exp(-d / scale)
PROMOTER = 1_000  # bp to either side of the TSS in which a cCRE belongs to the promoter
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)  # of the ridge, on features of variance 1
USUAL_PENALTY = 100.0  # where there is no validation chromosome to choose on
PIECE = 2_000  # elements whose signal is in memory at a time


class Prediction(NamedTuple):
    """Predicted expression of genes in cells.

    Attributes:
        level: log1p of TPM, (G, C).
        change: against the gene's mean over training cells, (G, C), see `change_against_training`.
    """

    level: np.ndarray
    change: np.ndarray


# ------------------------------------------------------------------------------------------------- features
def mean_signal(store, cell: int, elements: np.ndarray | None = None) -> np.ndarray:
    """Return the mean signal of cCREs over their own bases in a cell, (n, tracks) float32.

    Args:
        store: as `creator.store.open_store` gives it.
        cell: index of the cell.
        elements: indices of the cCREs, (n,); None: all.
    """
    if elements is None:
        elements = np.arange(len(store.element_start))
    bases = np.minimum(store.element_end[elements] - store.element_start[elements], store.tokens.shape[1])
    means = np.empty((len(elements), len(store.tracks)), np.float32)
    for start in range(0, len(elements), PIECE):
        part = slice(start, start + PIECE)
        total = store.read_signal(cell, elements[part]).sum(axis=1)  # columns beside a shorter cCRE are 0
        means[part] = total / bases[part, None]
    return means


def baseline_signal(store, cell: int) -> np.ndarray:
    """Return the signal of each cCRE from which baselines are fitted, (N, tracks).

    That is log1p of its mean where the store has the signal as it was measured. Where `prepare` has transformed it
    already (log1p, arcsinh) it is the mean itself.

    Args:
        store, cell: as of `mean_signal`.
    """
    signal = mean_signal(store, cell)
    return np.log1p(np.maximum(signal, 0)) if store.options["transform"] == "none" else signal


def distances_to_tss(
    indptr: np.ndarray, indices: np.ndarray, element_position: np.ndarray, gene_tss: np.ndarray
) -> np.ndarray:
    """Return the distance of each cCRE in reach of each gene to its TSS, (P,), bp, in the order of `indices`."""
    genes = np.repeat(np.arange(len(gene_tss)), np.diff(indptr))
    return np.abs(element_position[indices] - gene_tss[genes])


def sum_signal(indptr: np.ndarray, indices: np.ndarray, weight: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return for each gene the weighted sum of the signal of the cCREs in its reach, (G, tracks).

    Args:
        indptr: (G + 1,); the cCREs of gene g are `indices[indptr[g]:indptr[g + 1]]`.
        indices: (P,).
        weight: of each of them, (P,).
        signal: of each cCRE, (N, tracks).
    """
    from scipy.sparse import csr_matrix

    weights = csr_matrix((weight, indices, indptr), shape=(len(indptr) - 1, len(signal)))
    return weights @ signal


def promoter_features(
    indptr: np.ndarray, indices: np.ndarray, distance: np.ndarray, signals: Sequence[np.ndarray]
) -> np.ndarray:
    """Return the summed signal of the cCREs within `PROMOTER` of the TSS, (G, C, tracks); `signals` by cell."""
    near = (distance <= PROMOTER).astype(np.float32)
    return np.stack([sum_signal(indptr, indices, near, signal) for signal in signals], axis=1)


def distance_features(
    indptr: np.ndarray,
    indices: np.ndarray,
    distance: np.ndarray,
    signals: Sequence[np.ndarray],
    scales: Sequence[float] = SCALES,
) -> np.ndarray:
    """Return the sums of signal x exp(-distance / scale), (G, C, scales x tracks); `signals` by cell."""
    by_scale = []
    for scale in scales:
        weight = np.exp(-distance / scale).astype(np.float32)
        by_scale.append(np.stack([sum_signal(indptr, indices, weight, signal) for signal in signals], axis=1))
    return np.concatenate(by_scale, axis=2)


# -------------------------------------------------------------------------------------------------- changes
def training_mean(values: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the mean over the training cells of each gene, for each cell without that cell itself.

    What is to be predicted in a training cell is thereby never part of what it is compared with. In a cell held out
    this is the mean over all training cells.

    Args:
        values: (G, C) or (G, C, features); nan: not known, left out of the mean.
        training: which cells are training cells, (C,) bool.

    Returns:
        Of the shape of `values`; nan where no other training cell has a value.
    """
    known = np.isfinite(values) & _by_cell(training, values)
    filled = np.where(known, values, 0)
    others = known.sum(axis=1, keepdims=True) - known
    total = filled.sum(axis=1, keepdims=True) - filled
    return np.divide(total, others, out=np.full(values.shape, np.nan), where=others > 0)


def change_against_training(values: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return values minus `training_mean` of them; arguments as there."""
    return values - training_mean(values, training)


def _by_cell(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a mask of cells in a shape that broadcasts against (G, C, ...)."""
    return mask.reshape((1, -1) + (1,) * (values.ndim - 2))


# ---------------------------------------------------------------------------------------------------- ridge
def ridge_predictions(
    features: np.ndarray,
    target: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    penalties: Sequence[float] = PENALTIES,
) -> np.ndarray:
    """Fit a ridge regression and predict every gene in every cell.

    Features are scaled to mean 0 and variance 1 over the training rows. The penalty with the least squared error on the
    validation rows is taken; the model is not fitted again with them.

    Args:
        features: (G, C, F).
        target: (G, C).
        train: rows to fit on, (G, C) bool; those without target or features are left out.
        validation: rows to choose the penalty on; where there is none it is `USUAL_PENALTY`.
        penalties: to choose from.

    Returns:
        Predictions, (G, C); nan throughout where there are fewer than two rows to fit on, and where features are nan.
    """
    usable = np.isfinite(target) & np.isfinite(features).all(axis=2)
    train, validation = train & usable, validation & usable
    predicted = np.full(target.shape, np.nan)
    if train.sum() < 2:
        return predicted
    rows, values = features[train].astype(np.float64), target[train]
    mean, deviation, level = rows.mean(axis=0), rows.std(axis=0), values.mean()
    varying = deviation > 0  # tracks that no cell has are 0 throughout
    mean, deviation = mean[varying], deviation[varying]
    rows = (rows[:, varying] - mean) / deviation
    squares, products = rows.T @ rows, rows.T @ (values - level)

    def predict(some: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        return level + (some[:, varying] - mean) / deviation @ slopes

    candidates = penalties if validation.any() else [USUAL_PENALTY]
    fits = [np.linalg.solve(squares + penalty * np.eye(len(squares)), products) for penalty in candidates]
    best = 0
    if validation.any():
        errors = [np.mean((predict(features[validation], slopes) - target[validation]) ** 2) for slopes in fits]
        best = int(np.argmin(errors))
    for cell in range(target.shape[1]):  # not all at once: features of an atlas are large
        known = np.isfinite(features[:, cell]).all(axis=1)
        predicted[known, cell] = predict(features[known, cell], fits[best])
    return predicted


def fit_baselines(
    expression: np.ndarray,
    promoter: np.ndarray,
    around: np.ndarray,
    training_cells: np.ndarray,
    training_genes: np.ndarray,
    validation_genes: np.ndarray,
) -> dict[str, Prediction]:
    """Return what the network is compared with.

    Args:
        expression: log1p of TPM, (G, C); only training genes in training cells are fitted on, validation genes in
            training cells choose the penalty.
        promoter: of `promoter_features`.
        around: of `distance_features`.
        training_cells: (C,) bool.
        training_genes: on training chromosomes, (G,) bool.
        validation_genes: on validation chromosomes, (G,) bool.

    Returns:
        By name: gene_mean, the gene's mean over the (other) training cells; promoter_ridge and distance_ridge, fitted
        on levels; change_ridge, distance features fitted on changes, whose level is the gene's mean plus the change.
    """
    train = training_genes[:, None] & training_cells
    validation = validation_genes[:, None] & training_cells
    mean = training_mean(expression, training_cells)
    found = {"gene_mean": Prediction(mean, np.where(np.isfinite(mean), 0.0, np.nan))}
    for name, features in (("promoter_ridge", promoter), ("distance_ridge", around)):
        level = ridge_predictions(features, expression, train, validation)
        found[name] = Prediction(level, change_against_training(level, training_cells))
    changes = change_against_training(around, training_cells)
    change = ridge_predictions(changes, expression - mean, train, validation)
    return found | {"change_ridge": Prediction(mean + change, change)}


def store_baselines(
    store, training_cells: np.ndarray, training_genes: np.ndarray, validation_genes: np.ndarray
) -> dict[str, Prediction]:
    """Return `fit_baselines` on the signals and the expression of a store; arguments as there."""
    indptr, indices = np.asarray(store.reach_indptr), np.asarray(store.reach_indices)
    distance = distances_to_tss(indptr, indices, np.asarray(store.element_position()), np.asarray(store.gene_tss))
    signals = [baseline_signal(store, cell) for cell in range(len(store.cells))]
    return fit_baselines(
        np.log1p(np.asarray(store.expression, np.float64)),
        promoter_features(indptr, indices, distance, signals),
        distance_features(indptr, indices, distance, signals),
        training_cells,
        training_genes,
        validation_genes,
    )
