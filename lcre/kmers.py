"""K-mers: numbered, counted in arrays and inside networks, and a ridge regression on their counts.

Every k-mer has one number: its bases as digits in base four, ACGT = 0..3, the first base the highest digit.
"""

from collections.abc import Sequence

import numpy as np

BATCH = 64  # windows that are counted at once inside a network
LONG = 6  # k-mers from this length on are counted without a convolution, in one bin only
SHARED_K = 24  # bp: two windows of a genome hardly share such a k-mer by chance
SIMILAR_K = 12  # bp: unrelated windows share one here and there, related ones many
LEAST_SIMILAR = 0.05  # of a window's 12-mers; what two unrelated windows share stays below
MOST_COUNTS = 5_000_000  # of pairs of windows that are compared at once
MOST_BASES = 5_000_000  # of windows of which all 12-mers are compared; of more a fixed sample, at least an eighth
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


FINE = ((6, 300, 300), (4, 20, 200), (2, 5, 100), (1, 1, 20))  # k, bp of a bin, reach from TSS and TES in bp


def plan_fine_bins(
    parts: Sequence[slice], sites: Sequence[int], kinds: Sequence[tuple[int, int, int]] = FINE
) -> list[tuple[slice, int, int, int]]:
    """Return what is counted in fine bins next to TSS and TES, outside of the gene, as `count_in_bins` takes it.

    Args:
        parts: columns of the flanks, before the TSS and behind the TES.
        sites: the columns of TSS and TES.
        kinds: k, bp of a bin, and how far from TSS and TES it reaches, in bp.
    """
    before, behind = parts
    tss, tes = sites
    bins = []
    for k, size, reach in kinds:
        bins.append((slice(max(tss - reach, before.start), tss), k, 1, size))
        bins.append((slice(tes, min(tes + reach, behind.stop)), k, 1, size))
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


def count_shared(windows: np.ndarray, trained: np.ndarray, k: int = SHARED_K) -> np.ndarray:
    """Return how many k-mers of each window stand, on either strand, in any of the windows that train, (windows,).

    Args:
        windows, trained: base codes, uint8, (windows, columns).
        k: length in bp, at most 32.
    """

    def number(codes):  # in 64 bits, where `number_kmers` has 32
        value, known = 0, True
        for offset in range(k):
            base = codes[:, offset : codes.shape[1] - k + 1 + offset]
            value, known = value * 4 + base.astype(np.uint64), known & (base < 4)
        return value, known

    value, known = number(trained)
    either = [value[known]]
    value, known = number(complement(trained))
    either.append(value[known])
    there = np.unique(np.concatenate(either))
    value, known = number(windows)
    place = np.minimum(np.searchsorted(there, value), len(there) - 1)
    return ((there[place] == value) & known).sum(axis=1)


def complement(codes: np.ndarray) -> np.ndarray:
    """Return the other strand of base codes, (..., columns)."""
    return np.where(codes < 4, 3 - codes, 4)[..., ::-1]


def find_similar(windows: np.ndarray, least: float = LEAST_SIMILAR) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of windows that share 12-mers on either strand, each pair once.

    The similarity is the number of different 12-mers in both, divided by that of the window that has fewer. What stands
    in more than one of 50 windows is a repeat and is not counted. Of large genomes a sample of 12-mers is compared,
    the same ones in every window.

    Args:
        windows: base codes, uint8, (windows, columns).
        least: similarity of the pairs that are returned.

    Returns:
        Rows of `windows`, the first below the second, int64, and the similarity, from `least` to 1, float64; (pairs,).
    """
    if not len(windows):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    kmers, rows = list_kmers(windows, min(8, -(-windows.size // MOST_BASES)))
    frequency = np.bincount(kmers, minlength=4**SIMILAR_K)
    kept = frequency[kmers] <= max(50, len(windows) // 50)
    kmers, rows = kmers[kept], rows[kept]
    size = np.bincount(rows, minlength=len(windows))
    bounds = np.concatenate([[0], np.cumsum(size)])  # of each window's k-mers, which stand window by window
    order = np.argsort(kmers, kind="stable")
    holders = rows[order]  # of each k-mer in turn
    ends = np.cumsum(np.bincount(kmers, minlength=4**SIMILAR_K))
    block = max(1, MOST_COUNTS // max(len(windows), 1))
    found = []
    for begin in range(0, len(windows), block):
        end = min(begin + block, len(windows))
        mine = slice(bounds[begin], bounds[end])
        count = frequency[kmers[mine]]  # of windows that share each
        first = ends[kmers[mine]] - count
        places = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
        pair = np.repeat(rows[mine] - begin, count) * len(windows) + holders[places]
        shared = np.bincount(pair, minlength=(end - begin) * len(windows)).reshape(end - begin, -1)
        fewer = np.maximum(np.minimum(size[begin:end, None], size), 1)
        one, other = np.nonzero(shared >= least * fewer)
        similarity = shared[one, other] / fewer[one, other]
        above = (other > one + begin) & (similarity > 0)
        found.append((one[above] + begin, other[above], similarity[above]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def list_kmers(windows: np.ndarray, sample: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the different 12-mers of each window, of each and its complement the smaller number, window by window.

    Args:
        windows: base codes, uint8, (windows, columns).
        sample: one of so many 12-mers is taken, by a hash of its number.

    Returns:
        Numbers and rows of `windows`, both int64, (k-mers,).
    """
    found = []
    for begin in range(0, len(windows), 256):
        codes = windows[begin : begin + 256]
        number, known = number_kmers(codes, SIMILAR_K)
        other = number_kmers(complement(codes), SIMILAR_K)[0][:, ::-1]
        rows, number = np.arange(begin, begin + len(codes), dtype=np.int64)[:, None], np.minimum(number, other)
        if sample > 1:
            known &= (number * np.int64(2654435761) >> 16) % sample == 0
        found.append(np.unique((rows * 4**SIMILAR_K + number)[known]))
    together = np.concatenate(found)
    return together % 4**SIMILAR_K, together // 4**SIMILAR_K


def scale_features(
    train: np.ndarray, others: list[np.ndarray], blocks: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Centre features and divide them by the square root of their spread, by the training genes, in place.

    Half way to full standardisation, and on held-out chromosomes of yeast and worm better than it: k-mers that
    hardly vary are mostly noise, and stay small.

    Args:
        train: features of the training genes, (n, features).
        others: of other genes.
        blocks: sizes of blocks of features of one kind, which are compared among themselves only; none: all are.

    Returns:
        What was taken off and what was divided by, each (features,).
    """
    spread = train.std(axis=0)
    ends = np.cumsum(blocks) if len(blocks) else [len(spread)]
    usual = np.concatenate([np.full(len(part), part.mean() or 1.0) for part in np.split(spread, ends[:-1])])
    centre, scale = train.mean(axis=0), np.sqrt(np.maximum(spread, usual / 100) * usual)
    for features in (train, *others):
        features -= centre
        features /= scale
    return centre, scale


def solve_ridge(
    features: np.ndarray, log_odds: np.ndarray, penalty: float = PENALTY, blocks: Sequence[int] = ()
) -> tuple[np.ndarray, float]:
    """Fit a ridge regression and return its weights, (features,), and its intercept.

    Args:
        features: of the training genes, float32, (n, features); scaled in place by `scale_features`.
        log_odds: the targets, (n,).
        penalty: as a multiple of a gene's sum of squared scaled features, on average.
        blocks: as `scale_features` takes them.
    """
    from sklearn.linear_model import Ridge

    centre, scale = scale_features(features, [], blocks)
    mean = float(log_odds.mean())
    penalty *= float(np.square(features).sum(axis=1, dtype=np.float64).mean())
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

    if k >= LONG:
        return count_long_kmers(windows, part, k)
    found = find_kmers(windows, part, k, stride)
    size = min(max(size, 1), found.shape[1])
    mean = layers.AveragePooling1D(size, padding="same")(found)
    return layers.Flatten()(layers.Rescaling(size)(mean))


def find_kmers(windows, part: slice, k: int, stride: int = 1):
    """Return a layer that is 1 where a k-mer stands and 0 elsewhere, a Keras tensor (n, places, 4**k).

    Args:
        windows, part, k, stride: as `count_in_bins` takes them.
    """
    from keras import layers

    layer = layers.Conv1D(4**k, k, stride, activation="relu", trainable=False)
    found = layer(layers.Cropping1D((part.start, windows.shape[1] - part.stop))(windows))
    layer.set_weights(kmer_kernel(k))
    return found


def count_long_kmers(windows, part: slice, k: int):
    """Return layers that count every k-mer in a part of windows, as one bin.

    A k-mer is its first half, and behind it the other: the product of two matrices counts all pairs of halves without
    4**k numbers for each place.

    Args:
        windows, part, k: as `count_in_bins` takes them.

    Returns:
        A Keras tensor, (n, 4**k), k-mers in the order of ACGT.
    """
    from keras import layers

    half = k // 2
    first = find_kmers(windows, slice(part.start, part.stop - (k - half)), half)
    second = find_kmers(windows, slice(part.start + half, part.stop), k - half)
    return layers.Flatten()(layers.Dot(axes=1)([first, second]))


def fit_ridge(
    layer, counts, codes: np.ndarray, log_odds: np.ndarray, penalty: float = PENALTY, blocks: Sequence[int] = ()
) -> None:
    """Fit a Dense layer on k-mer counts by ridge regression.

    Args:
        layer: Dense with one output; its weights are set.
        counts: a keras.Model from one-hot windows to the counts that the layer takes, (n, features).
        codes: windows of the training genes, base codes, uint8, (n, columns).
        log_odds: of being high, the targets, (n,).
        penalty, blocks: as `solve_ridge` takes them.
    """
    import tensorflow as tf

    count = tf.function(counts)
    features = np.empty((len(codes), counts.output_shape[1]), np.float32)
    for at in range(0, len(codes), BATCH):
        features[at : at + BATCH] = count(tf.one_hot(codes[at : at + BATCH], 4), training=False)
    weights, intercept = solve_ridge(features, log_odds, penalty, blocks)
    layer.set_weights([weights[:, None], np.array([intercept])])
