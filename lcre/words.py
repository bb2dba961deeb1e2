"""Finds the words that stand in stretches of high contribution more often than elsewhere, and where they stand.

Every place of every window is a word of K bases with a score: the sum of its bases' contributions. The places whose
absolute score is in the top share are the high ones; a word is enriched if more of its places are high than chance
would have it.
"""

import numpy as np
import pandas as pd

TOP_SHARE = 0.02  # of all places: on the demo the planted elements cover a little more than that
LEAST = 5  # high places that a word must have
LEAST_P_VALUE = 1e-300  # smaller ones are shown as this
BINS = 20_000


class WordCounter:
    """Counts words window by window, in memory that does not grow with the genes; two rounds over the windows.

    The first round (`measure`) finds the score from which a place is high, to one in 20,000 of the largest score that
    was foreseen; the second (`count`) counts words.

    Args:
        regions: name -> columns and the column where position 0 is, as in {"promoter": (slice(0, 400), 300)}.
        size: bases of a word.
        largest: absolute scores above are taken as this.
    """

    def __init__(self, regions: dict[str, tuple[slice, int]], size: int, largest: float):
        self.regions, self.size, self.largest = regions, size, max(largest, 1e-12)
        self.histogram = np.zeros(BINS + 1, np.int64)
        self.places = {name: np.zeros(4**size, np.int64) for name in regions}
        self.total = {name: np.zeros(4**size) for name in regions}
        self.high = {
            name: np.zeros((4**size, max(columns.stop - columns.start - size + 1, 0)), np.int32)
            for name, (columns, _) in regions.items()
        }

    def read_words(self, codes: np.ndarray, values: np.ndarray):
        """Yield region, words as numbers, their places in the region, and their scores, (words,) each.

        Args:
            codes: base codes, uint8, (columns,); words with code 4 are left out.
            values: contribution of each column, (columns,).
        """
        digits = 4 ** np.arange(self.size - 1, -1, -1)
        for name, (columns, _) in self.regions.items():
            here = codes[columns].astype(np.int64)
            if len(here) < self.size:
                continue
            letters = np.lib.stride_tricks.sliding_window_view(here, self.size)
            at = np.flatnonzero((letters != 4).all(axis=1))
            sums = np.convolve(values[columns].astype(np.float64), np.ones(self.size), mode="valid")
            yield name, letters[at] @ digits, at, sums[at]

    def measure(self, codes: np.ndarray, values: np.ndarray) -> None:
        """Take a window into account for what is high; arguments as of `read_words`."""
        for _, _, _, scores in self.read_words(codes, values):
            bins = np.minimum(np.abs(scores) / self.largest, 1) * BINS
            self.histogram += np.bincount(bins.astype(np.int64), minlength=BINS + 1)

    @property
    def threshold(self) -> float:
        """The absolute score from which a place is high: at most `TOP_SHARE` of all places are."""
        above = np.cumsum(self.histogram[::-1])[::-1]
        return float(np.argmax(above <= TOP_SHARE * above[0]) / BINS * self.largest)

    def count(self, codes: np.ndarray, values: np.ndarray, threshold: float) -> None:
        """Count the words of a window; arguments as of `read_words`, and of `threshold`."""
        for name, words, at, scores in self.read_words(codes, values):
            self.places[name] += np.bincount(words, minlength=4**self.size)
            self.total[name] += np.bincount(words, scores, minlength=4**self.size)
            high = np.abs(scores) >= threshold
            np.add.at(self.high[name], (words[high], at[high]), 1)

    def top_words(self, most: int) -> pd.DataFrame:
        """Return the most enriched words of each region, those with the smallest p-value first.

        Returns:
            A frame with the columns word, region, places (how often it occurs), high (how often among the high
            places), enrichment (high against what chance gives), p_value (binomial, as if places were independent),
            mean_contribution (over all its places), and position (median of its first base's at the high places, bp
            from TSS or TES), position_low and position_high (the middle half of them).
        """
        from scipy.stats import binom

        rows = []
        for name, (_, zero) in self.regions.items():
            places, high = self.places[name], self.high[name].sum(axis=1)
            share = high.sum() / max(places.sum(), 1)
            for word in np.flatnonzero(high >= LEAST):
                where = np.repeat(np.arange(self.high[name].shape[1]), self.high[name][word]) - zero
                low, middle, far = np.percentile(where, [25, 50, 75], method="nearest")
                rows.append(
                    {
                        "word": spell(int(word), self.size),
                        "region": name,
                        "places": int(places[word]),
                        "high": int(high[word]),
                        "enrichment": float(high[word] / places[word] / share),
                        "p_value": max(float(binom.sf(high[word] - 1, places[word], share)), LEAST_P_VALUE),
                        "mean_contribution": float(self.total[name][word] / places[word]),
                        **{"position": int(middle), "position_low": int(low), "position_high": int(far)},
                    }
                )
        columns = ["word", "region", "places", "high", "enrichment", "p_value", "mean_contribution"]
        frame = pd.DataFrame(rows, columns=[*columns, "position", "position_low", "position_high"])
        frame = frame[frame["enrichment"] > 1].sort_values(["p_value", "enrichment"], ascending=[True, False])
        return frame.groupby("region", sort=False).head(most).reset_index(drop=True)


def spell(word: int, size: int) -> str:
    """Return the letters of a word that is given as a number in base four."""
    return "".join("ACGT"[word // 4**place % 4] for place in range(size - 1, -1, -1))
