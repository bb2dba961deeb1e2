"""Finds the k-mers that stand at places of high contribution more often than elsewhere, and where they stand.

Every place of every window has a k-mer and a score: the sum of its bases' contributions. The places whose absolute
score is in the top fraction are the high ones; a k-mer is enriched if more of its places are high than chance would
have it.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lcre.kmers import number_kmers, spell

TOP_FRACTION = 0.02  # of all places: on the demo the planted elements cover a little more than that
LEAST_HIGH = 5  # high places that a k-mer must have
LEAST_P_VALUE = 1e-300  # smaller ones are shown as this
BINS = 20_000


class KmerEnrichment:
    """Counts k-mers window by window, in memory that does not grow with the genes; two rounds over the windows.

    The first round (`measure`) finds the score from which a place is high, to one in 20,000 of the largest score that
    was foreseen; the second (`count`) counts k-mers.

    Args:
        layout: of the windows, a `lcre_classifier.WindowLayout`.
        k: bases of a k-mer.
        largest: absolute scores above are taken as this.
    """

    def __init__(self, layout, k: int, largest: float):
        self.layout, self.k, self.largest = layout, k, max(largest, 1e-12)
        self.histogram = np.zeros(BINS + 1, np.int64)
        self.places = {name: np.zeros(4**k, np.int64) for name in layout.regions}
        self.total = {name: np.zeros(4**k) for name in layout.regions}
        self.high = {
            name: np.zeros((4**k, max(columns.stop - columns.start - k + 1, 0)), np.int32)
            for name, columns in layout.regions.items()
        }

    def read_kmers(self, codes: np.ndarray, values: np.ndarray) -> Iterator[tuple]:
        """Yield region, numbers of k-mers, their places in the region, and their scores, (k-mers,) each.

        Args:
            codes: base codes, uint8, (columns,); k-mers with code 4 are left out.
            values: contribution of each column, (columns,).
        """
        for name, columns in self.layout.regions.items():
            if columns.stop - columns.start < self.k:
                continue
            number, known = number_kmers(codes[columns], self.k)
            sums = np.convolve(values[columns].astype(np.float64), np.ones(self.k), mode="valid")
            at = np.flatnonzero(known)
            yield name, number[at], at, sums[at]

    def measure(self, codes: np.ndarray, values: np.ndarray) -> None:
        """Take a window into account for what is high; arguments as of `read_kmers`."""
        for _, _, _, scores in self.read_kmers(codes, values):
            bins = np.minimum(np.abs(scores) / self.largest, 1) * BINS
            self.histogram += np.bincount(bins.astype(np.int64), minlength=BINS + 1)

    @property
    def threshold(self) -> float:
        """The absolute score from which a place is high: at most `TOP_FRACTION` of all places are."""
        above = np.cumsum(self.histogram[::-1])[::-1]
        return float(np.argmax(above <= TOP_FRACTION * above[0]) / BINS * self.largest)

    def count(self, codes: np.ndarray, values: np.ndarray, threshold: float) -> None:
        """Count the k-mers of a window; arguments as of `read_kmers`, and of `threshold`."""
        for name, kmers, at, scores in self.read_kmers(codes, values):
            self.places[name] += np.bincount(kmers, minlength=4**self.k)
            self.total[name] += np.bincount(kmers, scores, minlength=4**self.k)
            high = np.abs(scores) >= threshold
            np.add.at(self.high[name], (kmers[high], at[high]), 1)

    def top_kmers(self, most: int) -> pd.DataFrame:
        """Return the most enriched k-mers of each region, those with the smallest p-value first.

        Returns:
            A frame with the columns word (the k-mer), region, places (how often it occurs), high (how often among the
            high places), enrichment (high against what chance gives), p_value (binomial, as if places were
            independent), mean_contribution (over all its places), and position (median of its first base's at the high
            places, bp from TSS or TES), position_low and position_high (the middle half of them).
        """
        from scipy.stats import binom

        rows = []
        for name, columns in self.layout.regions.items():
            zero = self.layout.sites[name] - columns.start
            places, high = self.places[name], self.high[name].sum(axis=1)
            fraction = high.sum() / max(places.sum(), 1)
            for kmer in np.flatnonzero(high >= LEAST_HIGH):
                where = np.repeat(np.arange(self.high[name].shape[1]), self.high[name][kmer]) - zero
                low, middle, far = np.percentile(where, [25, 50, 75], method="nearest")
                rows.append(
                    {
                        "word": spell(int(kmer), self.k),
                        "region": name,
                        "places": int(places[kmer]),
                        "high": int(high[kmer]),
                        "enrichment": float(high[kmer] / places[kmer] / fraction),
                        "p_value": max(float(binom.sf(high[kmer] - 1, places[kmer], fraction)), LEAST_P_VALUE),
                        "mean_contribution": float(self.total[name][kmer] / places[kmer]),
                        "position": int(middle),
                        "position_low": int(low),
                        "position_high": int(far),
                    }
                )
        columns = ["word", "region", "places", "high", "enrichment", "p_value", "mean_contribution"]
        frame = pd.DataFrame(rows, columns=[*columns, "position", "position_low", "position_high"])
        frame = frame[frame["enrichment"] > 1].sort_values(["p_value", "enrichment"], ascending=[True, False])
        return frame.groupby("region", sort=False).head(most).reset_index(drop=True)
