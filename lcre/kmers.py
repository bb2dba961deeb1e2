"""K-mers: numbered, counted in arrays and inside networks, and a ridge regression on their counts.

Every k-mer has one number: its bases as digits in base four, ACGT = 0..3, the first base the highest digit.
"""

from collections.abc import Sequence

import numpy as np

BATCH = 64  # windows that are counted at once inside a network
PENALTY = 2  # of the ridge regression, as a multiple of a gene's sum of squared scaled counts, on average


def number_kmers(codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the k-mer that begins at each place of sequences, and whether all its bases are known.

    Args:
        codes: base codes, uint8, (..., columns); 4 = unknown.
        k: length in bp, at most the number of columns.

    Returns:
        Numbers, int32, and booleans, both (..., columns - k + 1); the number of a k-mer with an unknown base means
        nothing.
    """
    places = codes.shape[-1] - k + 1
    number = np.zeros((*codes.shape[:-1], places), np.int32)
    known = np.ones(number.shape, bool)
    for offset in range(k):
        base = codes[..., offset : offset + places]
        number = number * 4 + base
        known &= base < 4
    return number, known


def spell(number: int, k: int) -> str:
    """Return the letters of the k-mer with this number."""
    return "".join("ACGT"[number // 4**place % 4] for place in range(k - 1, -1, -1))


def count_kmers(codes: np.ndarray, k: int) -> np.ndarray:
    """Count every k-mer of one strand in each sequence; k-mers with an unknown base are not counted.

    Args:
        codes: base codes, uint8, shape (genes, columns); 4 = unknown.
        k: length in bp.

    Returns:
        Counts, float32, shape (genes, 4**k), k-mers in the order of ACGT.
    """
    genes, columns = codes.shape
    if columns < k:
        return np.zeros((genes, 4**k), np.float32)
    counts = np.empty((genes, 4**k), np.float32)
    for begin in range(0, genes, 256):
        part = codes[begin : begin + 256]
        number, known = number_kmers(part, k)
        number += np.arange(len(part), dtype=np.int32)[:, None] * 4**k
        found = np.bincount(number[known], minlength=len(part) * 4**k)
        counts[begin : begin + 256] = found.reshape(len(part), 4**k)
    return counts


def plan_bins(parts: Sequence[slice], inside: Sequence[slice], region_size: int) -> list[tuple[slice, int, int, int]]:
    """Return what the k-mer regression counts: columns, k, stride and bin size, as `count_in_bins` takes them.

    3-mers in bins of 100 bp and 4-mers in bins of 500 bp of each part and, inside the gene, the codons of all three
    frames in bins of 180 bp, where a region has 1,500 bp; else in proportion. Parts shorter than k have no k-mers.

    Args:
        parts: columns in which 3- and 4-mers are counted.
        inside: columns in which codons are counted.
        region_size: columns of promoter or terminator.
    """
    bins = [(part, k, 1, size) for part in parts for k, size in ((3, region_size // 15), (4, region_size // 3))]
    for part in inside:
        bins += [(slice(part.start + frame, part.stop), 3, 3, region_size // 25) for frame in range(3)]
    return [(part, k, *places) for part, k, *places in bins if part.stop - part.start >= k]


def kmers_in_bins(codes: np.ndarray, part: slice, k: int, stride: int, size: int) -> np.ndarray:
    """Count every k-mer in each bin of a part of windows, without a network: what `count_in_bins` gives.

    Args:
        codes: base codes, uint8, (genes, columns).
        part, k, stride, size: as there.

    Returns:
        float32, (genes, bins * 4**k): bin by bin, k-mers in the order of ACGT.
    """
    numbers, known = (found[:, ::stride] for found in number_kmers(codes[:, part], k))
    genes, places = numbers.shape
    size = min(max(size, 1), places)
    bins = -(-places // size)
    bin_of = (np.arange(places) + (bins * size - places) // 2) // size
    whole = (size / np.bincount(bin_of)).astype(np.float32)  # what is over is split between the first and the last bin
    numbers += bin_of.astype(np.int32) * 4**k
    counts = np.empty((genes, bins, 4**k), np.float32)
    for begin in range(0, genes, 256):
        some = slice(begin, begin + 256)
        rows = np.arange(len(numbers[some]))[:, None] * (bins * 4**k) + numbers[some]
        counts[some] = np.bincount(rows[known[some]], minlength=counts[some].size).reshape(counts[some].shape)
    return (counts * whole[:, None]).reshape(genes, -1)


def scale_features(train: np.ndarray, others: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Centre features and divide them by the square root of their spread, by the training genes, in place.

    Half way to full standardisation, and on held-out chromosomes of yeast and worm better than it: k-mers that
    hardly vary are mostly noise, and stay small.

    Returns:
        What was taken off and what was divided by, each (features,).
    """
    spread = train.std(axis=0)
    usual = spread.mean() or 1.0
    centre, scale = train.mean(axis=0), np.sqrt(np.maximum(spread, usual / 100) * usual)
    for features in (train, *others):
        features -= centre
        features /= scale
    return centre, scale


def solve_ridge(features: np.ndarray, log_odds: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a ridge regression and return its weights, (features,), and its intercept.

    Args:
        features: of the training genes, float32, (n, features); scaled in place by `scale_features`.
        log_odds: the targets, (n,).
    """
    from sklearn.linear_model import Ridge

    centre, scale = scale_features(features, [])
    mean = float(log_odds.mean())
    penalty = PENALTY * float(np.square(features).sum(axis=1, dtype=np.float64).mean())
    if not penalty:  # the same features in all genes
        return np.zeros(len(scale), np.float32), mean
    ridge = Ridge(penalty, fit_intercept=False, copy_X=False, solver="cholesky")
    weights = ridge.fit(features, (log_odds - mean).astype(np.float32)).coef_ / scale
    return weights, mean - weights @ centre


# ------------------------------------------------------------------------------------------ inside a network
def kmer_kernel(k: int) -> list[np.ndarray]:
    """Return kernel and bias of a convolution whose ReLU is 1 where a k-mer stands and 0 elsewhere.

    Returns:
        float32, (k, 4, 4**k) and (4**k,), k-mers in the order of ACGT.
    """
    kmers = np.arange(4**k)
    bases = kmers // 4 ** np.arange(k - 1, -1, -1)[:, None] % 4  # (k, 4**k)
    return [np.eye(4, dtype=np.float32)[:, bases].swapaxes(0, 1), np.full(4**k, 1.0 - k, np.float32)]


def count_in_bins(windows, part: slice, k: int, stride: int, size: int):
    """Return layers that count every k-mer in each bin of a part of windows.

    The first and the last bin may be shorter: their counts are in proportion to a whole bin's.

    Args:
        windows: one-hot, a Keras tensor, (n, columns, 4).
        part: its columns.
        k: length of the k-mers, in bp.
        stride: from one place for a k-mer to the next, in bp.
        size: places in a bin, at least one; what is over is split between the first and the last.

    Returns:
        A Keras tensor, (n, bins * 4**k): bin by bin, k-mers in the order of ACGT.
    """
    from keras import layers

    layer = layers.Conv1D(4**k, k, stride, activation="relu", trainable=False)
    found = layer(layers.Cropping1D((part.start, windows.shape[1] - part.stop))(windows))
    layer.set_weights(kmer_kernel(k))
    size = min(max(size, 1), found.shape[1])
    mean = layers.AveragePooling1D(size, padding="same")(found)
    return layers.Flatten()(layers.Rescaling(size)(mean))


def fit_ridge(layer, counts, codes: np.ndarray, log_odds: np.ndarray) -> None:
    """Fit a Dense layer on k-mer counts by ridge regression.

    Args:
        layer: Dense with one output; its weights are set.
        counts: a keras.Model from one-hot windows to the counts that the layer takes, (n, features).
        codes: windows of the training genes, base codes, uint8, (n, columns).
        log_odds: of being high, the targets, (n,).
    """
    import tensorflow as tf

    count = tf.function(counts)
    features = np.empty((len(codes), counts.output_shape[1]), np.float32)
    for at in range(0, len(codes), BATCH):
        features[at : at + BATCH] = count(tf.one_hot(codes[at : at + BATCH], 4), training=False)
    weights, intercept = solve_ridge(features, log_odds)
    layer.set_weights([weights[:, None], np.array([intercept])])
