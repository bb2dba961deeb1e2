"""Puts contribution scores and hits of motifs in genome coordinates: a bigWig, and a BED.

A window is two regions of the genome, promoter and terminator, read on the gene's strand. Here its columns go back to
the bases they were cut from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core.files import replacing
from core.genome import one_hot
from core.tracks import write_bigwig

P_VALUE = 1e-4  # of a hit, at most: that of FIMO
TOGETHER = 256  # windows that are scanned at a time
COLOURS = {1: "0,118,90", -1: "160,60,121", 0: "128,128,128"}  # by sign of the contribution, as in the figures
HIT_COLUMNS = (
    *("chrom", "start", "end", "name", "score", "strand", "thickStart", "thickEnd", "itemRgb"),
    *("blockCount", "blockSizes", "blockStarts", "p_value", "gene_id", "region", "contribution"),
)


@dataclass(frozen=True)
class Places:
    """Where the windows of genes lie, each array of shape (genes,)."""

    gene_id: np.ndarray  # str
    chromosome: np.ndarray  # str, as the FASTA names them
    start: np.ndarray  # of the gene, 0-based half-open, bp
    end: np.ndarray
    minus: np.ndarray  # booleans: on the minus strand
    lengths: Mapping[str, int]  # chromosome -> bp, in the order of the FASTA
    layout: object  # of the windows, a `lcre_classifier.WindowLayout`

    def on_chromosome(self, row: int, values: np.ndarray) -> np.ndarray:
        """Return values along the window of a gene, (columns, ...), in the direction of the chromosome."""
        return values[::-1] if self.minus[row] else values

    def regions(self) -> pd.DataFrame:
        """Return where each region lies: row of the gene, chromosome, begin (0-based), its first column, its name.

        The column counts in the direction of the chromosome, where a terminator comes first on the minus strand.
        """
        names = list(self.layout.regions)
        frames = [
            pd.DataFrame(
                {
                    "row": np.arange(len(self.start)),
                    "chromosome": self.chromosome,
                    "begin": begin,
                    "column": columns.start,
                    "region": np.where(self.minus, names[1 - side], names[side]),
                }
            )
            for side, (columns, begin) in enumerate(
                zip(self.layout.regions.values(), self.layout.locate(self.start, self.end), strict=True)
            )
        ]
        return pd.concat(frames, ignore_index=True)


# ------------------------------------------------------------------------------------------------- contributions
def write_contributions(path: Path, places: Places, windows: np.ndarray, contributions: np.ndarray) -> int:
    """Write contributions as a bigWig: for each base that a window shows, the contribution of the base that is there.

    Where several windows, or both regions of a short gene, show a base, it is their mean. Bases that no window shows
    (masked codons, unknown bases, all outside of the windows) are absent.

    Args:
        path: of the file; it is not written where no window shows a base.
        places: of the windows.
        windows: base codes, uint8, (genes, columns).
        contributions: (genes, columns, 4).

    Returns:
        The bases that have a value.
    """
    return write_bigwig(path, places.lengths, average_bases(places, windows, contributions))


def average_bases(
    places: Places, windows: np.ndarray, contributions: np.ndarray
) -> Iterator[tuple[str, int, int, float]]:
    """Give chromosome, start, end and mean contribution of each base; arguments as in `write_contributions`.

    Regions that overlap are averaged together, one such group after another, so that memory stays small.
    """
    size, of_chromosome = places.layout.region_size, dict(list(places.regions().groupby("chromosome")))
    for chromosome in places.lengths:
        if chromosome not in of_chromosome:
            continue
        here = of_chromosome[chromosome].sort_values("begin", kind="stable")
        group = (here["begin"].diff() > size).cumsum()
        for _, some in here.groupby(group):
            begin, means = average_group(some, places, windows, contributions)
            for at in np.flatnonzero(~np.isnan(means)).tolist():
                yield chromosome, begin + at, begin + at + 1, float(means[at])


def average_group(
    regions: pd.DataFrame, places: Places, windows: np.ndarray, contributions: np.ndarray
) -> tuple[int, np.ndarray]:
    """Return the first base of regions that overlap, 0-based, and the mean of each base, float64, NaN for none."""
    size, first = places.layout.region_size, int(regions["begin"].iloc[0])
    total = np.zeros(int(regions["begin"].iloc[-1]) + size - first)
    count = np.zeros(len(total), np.int32)
    for row, begin, column in zip(regions["row"], regions["begin"] - first, regions["column"], strict=True):
        columns = slice(column, column + size)
        shown = places.on_chromosome(row, windows[row])[columns] != 4
        values = places.on_chromosome(row, contributions[row])[columns].sum(axis=1, dtype=np.float64)
        total[begin : begin + size] += np.where(shown, values, 0)
        count[begin : begin + size] += shown
    with np.errstate(invalid="ignore"):
        return first, total / count  # 0 / 0 is NaN


# ------------------------------------------------------------------------------------------------------- motifs
def find_hits(
    motifs: Mapping[str, np.ndarray], places: Places, windows: np.ndarray, contributions: np.ndarray
) -> pd.DataFrame:
    """Scan windows for motifs with FIMO (Grant et al., Bioinformatics 2011; here that of memelite), both strands.

    A hit lies within one region and covers no masked or unknown base. Its p-value is that of its score among random
    sequences in which the four bases are equally frequent; it is not corrected for how many places are looked at.

    Args:
        motifs: name -> frequencies of ACGT, (4, width).
        places, windows, contributions: as in `write_contributions`.

    Returns:
        A row for each hit of each gene, with the columns `HIT_COLUMNS`, sorted by chromosome, start and end.
    """
    from memelite import fimo

    if not motifs:
        return pd.DataFrame(columns=HIT_COLUMNS)
    found = []
    for first in range(0, len(windows), TOGETHER):
        codes = windows[first : first + TOGETHER]
        hidden = np.pad(np.cumsum(codes == 4, axis=1), ((0, 0), (1, 0)))  # before each column
        sequences = np.ascontiguousarray(one_hot(codes, np.int8).transpose(0, 2, 1))
        for name, hits in zip(motifs, fimo(dict(motifs), sequences, threshold=P_VALUE), strict=True):
            row, start, end = (hits[column].to_numpy(np.int64) for column in ("sequence_name", "start", "end"))
            shown = hidden[row, start] == hidden[row, end]
            frame = pd.DataFrame({"row": row + first, "start": start, "end": end, "name": clean_name(name)})
            p_value = np.maximum(hits["p-value"].to_numpy(float), 0.25 ** (end - start))  # rounding gives some 0
            frame["p_value"], frame["reverse"] = p_value, hits["strand"].to_numpy(str) == "-"
            found.append(frame[shown])
    return to_bed(pd.concat(found, ignore_index=True), places, contributions)


def to_bed(hits: pd.DataFrame, places: Places, contributions: np.ndarray) -> pd.DataFrame:
    """Turn hits in windows into rows of a BED in genome coordinates.

    Args:
        hits: row of the gene, start and end (columns of its window), name, p_value, reverse (found on the other strand
            of the window).
        places, contributions: as in `write_contributions`.

    Returns:
        As `find_hits`; without hits that reach from one region into the other.
    """
    within = zip(hits["row"], hits["start"], hits["end"], strict=True)
    contribution = np.array([contributions[row, start:end].sum(dtype=np.float64) for row, start, end in within], float)
    hits, size = hits.assign(contribution=contribution), places.layout.region_size
    minus, width = places.minus[hits["row"]], hits["end"] - hits["start"]
    hits["at"] = np.where(minus, places.layout.columns - hits["end"], hits["start"])  # along the chromosome
    both = hits.assign(width=width, minus=minus).merge(places.regions(), on="row")
    both = both[(both["at"] >= both["column"]) & (both["at"] + both["width"] <= both["column"] + size)]
    start = both["begin"] + both["at"] - both["column"]
    bed = pd.DataFrame(
        {
            **{"chrom": both["chromosome"], "start": start, "end": start + both["width"], "name": both["name"]},
            "score": (-100 * np.log10(both["p_value"])).clip(0, 1000).round().astype(int),
            "strand": np.where(both["reverse"] ^ both["minus"], "-", "+"),
            **{"thickStart": start, "thickEnd": start + both["width"]},
            "itemRgb": np.sign(both["contribution"]).astype(int).map(COLOURS),
            **{"blockCount": 1, "blockSizes": both["width"], "blockStarts": 0},
            "p_value": [f"{value:.3g}" for value in both["p_value"]],
            "gene_id": places.gene_id[both["row"]],
            **{"region": both["region"], "contribution": both["contribution"].round(6)},
        },
        columns=HIT_COLUMNS,
    )
    return bed.sort_values(["chrom", "start", "end", "name", "gene_id", "region"], kind="stable", ignore_index=True)


def clean_name(name: str) -> str:
    """Return the name of a motif as one word: a blank would end a column of a BED for some programs."""
    return "_".join(name.split()) or "motif"


def write_bed(path: Path, hits: pd.DataFrame) -> None:
    """Write hits as a BED: a line of names that begins with #, then a line a hit, columns separated by tabs."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        file.write("#")
        hits.to_csv(file, sep="\t", index=False, lineterminator="\n")
