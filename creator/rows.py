"""Where the bases of cCREs, and of the genes' own windows, stand in rows of one width; for tokens as for signals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from creator import GENE_WINDOW


@dataclass(frozen=True)
class Rows:
    """Intervals of the genome as rows of `width` columns, in the order of the chromosomes; what is no base is 0.

    Attributes:
        chromosome: index, ascending, (n,).
        begins: first base that is taken, (n,) int64, bp.
        taken: number of bases, (n,) int64.
        columns: of the first base, (n,) int64.
        reverse: the row is turned round afterwards, bases complemented, (n,) bool.
        width: columns.
    """

    chromosome: np.ndarray
    begins: np.ndarray
    taken: np.ndarray
    columns: np.ndarray
    reverse: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, part: slice) -> "Rows":
        arrays = (self.chromosome, self.begins, self.taken, self.columns, self.reverse)
        return Rows(*(array[part] for array in arrays), self.width)

    def split(self, most: int) -> Iterator[tuple[int, "Rows"]]:
        """Yield parts of at most `most` rows, each on one chromosome: its index and the rows."""
        for index in np.unique(self.chromosome):
            begin, end = np.searchsorted(self.chromosome, [index, index + 1])
            for first in range(begin, end, most):
                yield int(index), self[first : min(first + most, end)]

    def turn(self, values: np.ndarray) -> np.ndarray:
        """Return values, (n, width, ...), with those of reversed rows in the other order."""
        values[self.reverse] = values[self.reverse, ::-1]
        return values


def element_rows(elements: pd.DataFrame, options: Mapping) -> Rows:
    """Return the rows of cCREs.

    Args:
        elements: chromosome, start, end; sorted by these.
        options: width, crop, pad.
    """
    starts, ends, width = elements["start"].to_numpy(), elements["end"].to_numpy(), options["width"]
    lengths = ends - starts
    taken = np.minimum(lengths, width)
    begins = starts + ((lengths - taken) // 2 if options["crop"] == "centre" else 0)
    columns = (width - taken) // 2 if options["pad"] == "both" else np.zeros_like(taken)
    return Rows(elements["chromosome"].to_numpy(), begins, taken, columns, np.zeros(len(starts), bool), width)


def gene_rows(genes: pd.DataFrame, lengths: Sequence[int], options: Mapping) -> Rows:
    """Return the rows of the genes' own windows: column j is the base at coordinate j of `Store.gene_window`.

    Args:
        genes: chromosome, tss, strand; sorted by chromosome.
        lengths: of the chromosomes, bp.
        options: minus_strand; where it is 'reverse' these windows are read along the strand.
    """
    chromosome, tss = genes["chromosome"].to_numpy(), genes["tss"].to_numpy()
    reverse = (genes["strand"].to_numpy() < 0) & (options["minus_strand"] == "reverse")
    starts = tss - GENE_WINDOW // 2 + reverse  # of the 700 positions one more is before the TSS than behind it
    begins = np.maximum(starts, 0)
    ends = np.minimum(starts + GENE_WINDOW, np.asarray(lengths)[chromosome])
    return Rows(chromosome, begins, ends - begins, begins - starts, reverse, GENE_WINDOW)
