"""Measures what homologs in training did to the score of a finished run.

Each scored gene has a nearest gene among those that trained its fold: its best protein hit, or the window that shares
most 12-mers with its own. The auROC of genes with and without near ones says what a score owes to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, examples, scores, shorten
from core.files import write_csv
from lcre.records import fold_folder
from lcre.trained import read_columns

SEED = 1  # of the bootstrap
DRAWS = 2000
AUDIT_AGAIN = "'lcre_homology.py --audit' writes it again"


@dataclass(frozen=True)
class Measure:
    """How near two genes are: a percentage, and what the audit makes of it."""

    column: str  # of O_audit.csv
    words: str
    edges: tuple[int, ...]  # of the bins, besides 0 and 100; a value on an edge is in the bin above it
    close: int  # genes with this or more are close relatives

    @property
    def bins(self) -> list[str]:
        """The names of the bins, from no similarity to the highest."""
        between = [f"{low}-{high} %" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return [NO_HIT, f"below {self.edges[0]} %", *between, f"{self.edges[-1]} % or more"]

    def sort(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value as text, `NO_HIT` for nan."""
        number = 1 + np.digitize(np.nan_to_num(values), self.edges)
        return np.array(self.bins, object)[np.where(np.isnan(values), 0, number)]

    @property
    def describe_close(self) -> str:
        """What a close relative is, in words."""
        return f"{self.close} % or more of {self.words}"


MEASURES = {
    "identity": Measure("identity", "protein identity", (40, 60, 80), 40),
    "similarity": Measure("similarity", "12-mers shared by the windows", (10, 20, 40), 10),
}
NO_HIT = "none"  # the bin of genes without any similar gene in training
UNKNOWN = "no protein"  # the bin of genes that could not be compared
SUMMARY = ("close relative", "no close relative", "all")  # rows below those of the bins
NUMBERS = ["genes", "low", "high", "auROC", "auROC_low", "auROC_high"]
DIFFERENCE = ["difference", "difference_low", "difference_high"]  # all less no close relative; in the row `all`


def find_nearest(
    prefix: Path, scored: pd.DataFrame, place: dict[str, int], pairs: pd.DataFrame, measure: Measure
) -> pd.DataFrame:
    """Return the nearest training gene of each scored gene.

    Args:
        prefix: saved_models/O.
        scored: gene_id, fold, target (0 or 1) and probability, a row a gene.
        place: gene id -> its number in `pairs`.
        pairs: first, second, identity (per cent) and bit_score.
        measure: what `identity` is.

    Returns:
        The rows of `scored` with nearest (gene id, "" where none is similar), the measure's column (per cent),
        bit_score (nan where there is none) and bin.

    Raises:
        InputError: a fold's genes.csv is missing or damaged; none of the scored genes has a number.
    """
    names = {number: gene for gene, number in place.items()}
    known = scored["gene_id"].isin(place)
    if not known.any():
        raise InputError(
            f"audit: none of the {len(scored):,} scored genes of {prefix}, such as "
            f"{examples(map(shorten, scored['gene_id']))}, is among those compared, such as "
            f"{examples(map(shorten, place))}; give the files of the run's own species"
        )
    both = pd.concat([pairs, pairs.rename(columns={"first": "second", "second": "first"})], ignore_index=True)
    both = both.sort_values(["bit_score", "identity"], ascending=False, kind="stable")
    first, second = both["first"].to_numpy(), both["second"].to_numpy()
    parts = []
    for fold, tested in scored.groupby("fold", sort=False):
        roles = read_columns(fold_folder(prefix, fold) / "genes.csv", ["gene_id", "role"])
        trained = [place[gene] for gene in roles.loc[roles["role"] == "train", "gene_id"] if gene in place]
        mine = both[np.isin(first, tested["gene_id"].map(place).dropna()) & np.isin(second, trained)]
        best = mine.drop_duplicates("first").set_index("first")  # the first row is the best hit
        number = tested["gene_id"].map(place)
        part = tested.assign(
            nearest=number.map(best["second"]).map(names).fillna(""),
            **{measure.column: number.map(best["identity"]), "bit_score": number.map(best["bit_score"])},
        )
        parts.append(part)
    found = pd.concat(parts, ignore_index=True)
    found["bin"] = measure.sort(found[measure.column].to_numpy(float))
    found.loc[~found["gene_id"].isin(place), "bin"] = UNKNOWN
    return found


def tabulate(found: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """Return genes, classes and auROC with its interval by bin, and with and without close relatives.

    Args:
        found: of `find_nearest`.
        measure: of its similarity.
    """
    close = (found[measure.column] >= measure.close).to_numpy()
    unknown = (found["bin"] == UNKNOWN).to_numpy()
    rows = {name: (found["bin"] == name).to_numpy() for name in [*measure.bins, UNKNOWN]}
    rows = {name: mask for name, mask in rows.items() if mask.any() or name != UNKNOWN}
    rows |= dict(zip(SUMMARY, (close, ~close & ~unknown, np.ones(len(found), bool)), strict=True))
    target, probability = found["target"].to_numpy(int), found["probability"].to_numpy(float)
    table = []
    for name, mask in rows.items():
        low, high = scores.auroc_interval(target[mask], probability[mask], SEED, DRAWS)
        counts = [int(mask.sum()), int((target[mask] == 0).sum()), int((target[mask] == 1).sum())]
        table.append([name, *counts, scores.auroc(target[mask], probability[mask]), low, high])
    table = pd.DataFrame(table, columns=["bin", *NUMBERS])
    difference = compare_without(target, probability, rows[SUMMARY[1]])
    for column, value in zip(DIFFERENCE, difference, strict=True):
        table[column] = np.where(table["bin"] == "all", value, np.nan)
    table.insert(1, "measure", measure.column)
    return table


def compare_without(target: np.ndarray, probability: np.ndarray, without: np.ndarray) -> tuple[float, float, float]:
    """Return by how much the auROC of all genes is above that of some of them, with its 95 % interval.

    Args:
        target: 0 or 1, (genes,).
        probability: any score, (genes,).
        without: which genes are left, booleans, (genes,).

    Returns:
        The difference and the ends of its interval, from draws of genes within class and group; nan without both
        classes.
    """
    ranking = scores.Ranking(target, probability)

    def difference(times: np.ndarray) -> float:
        return ranking.auroc(times) - ranking.auroc(times * without)

    value = difference(np.ones(len(target)))
    if np.isnan(value):
        return float("nan"), float("nan"), float("nan")
    groups = [np.flatnonzero((target == label) & (without == kept)) for label in (0, 1) for kept in (False, True)]
    drawn = scores.bootstrap(difference, [group for group in groups if len(group)], DRAWS, SEED)
    return float(value), *scores.interval(drawn)


def describe(table: pd.DataFrame) -> str:
    """Return the verdict of a table of `tabulate` in one sentence."""
    measure = MEASURES[table["measure"].iloc[0]]
    rows = table.set_index("bin")
    close, alone, every = (rows.loc[name] for name in SUMMARY)
    total = int(every["genes"])
    if not close["genes"]:
        distant = int(rows.loc[measure.bins[1], "genes"])
        text = (
            f"None of the {total:,} scored genes has a close relative among the genes that trained its fold "
            f"({measure.describe_close}): no relative flatters the score"
        )
        return text + (f"; {distant:,} have a more distant one." if distant else ".")
    text = (
        f"{int(close['genes']):,} of {total:,} scored genes ({close['genes'] / total:.1%}) have a close relative among "
        f"the genes that trained their fold ({measure.describe_close})"
    )
    if np.isnan(every["difference"]):
        return f"{text}; the others are of one class, so there is no auROC without them."
    value, low, high = every[DIFFERENCE]
    told = f"without these the auROC is {alone['auROC']:.3f} instead of {every['auROC']:.3f}"
    interval = f"they change it by {value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0:
        verdict = "close relatives flatter the score"
    elif high < 0:
        verdict = "close relatives do not flatter the score, they are harder to tell apart"
    else:
        verdict = "whether close relatives change the score cannot be told from chance"
    return f"{text}; {told} ({interval}): {verdict}."


def name_bin(name: str) -> str:
    """Return the name of a row of `tabulate` as people read it."""
    return "no similar gene" if name == NO_HIT else name


def show_table(table: pd.DataFrame) -> str:
    """Return a table of `tabulate` as people read it."""
    from lcre import check

    shown = table[["bin", "genes", "low", "high", "auROC"]].copy()
    shown["bin"] = shown["bin"].map(name_bin)
    shown["95 % interval"] = [
        "-" if np.isnan(low + high) else f"{low:.3f}-{high:.3f}"
        for low, high in zip(table["auROC_low"], table["auROC_high"], strict=True)
    ]
    return check.show_table(shown.rename(columns={"bin": MEASURES[table["measure"].iloc[0]].words}))


def write_audit(prefix: Path, found: pd.DataFrame, table: pd.DataFrame) -> list[Path]:
    """Write O_audit.csv and O_audit_bins.csv; returns their paths."""
    paths = [Path(f"{prefix}_audit.csv"), Path(f"{prefix}_audit_bins.csv")]
    for path, frame in zip(paths, (found.round(6), table.round(6)), strict=True):
        write_csv(path, frame)
    return paths


def read_bins(prefix: Path) -> pd.DataFrame | None:
    """Return the table in O_audit_bins.csv; None where the run was not audited.

    Raises:
        InputError: the file is not as `write_audit` writes it.
    """
    path = Path(f"{prefix}_audit_bins.csv")
    if not path.exists():
        return None
    table = read_columns(path, ["bin", "measure"], [*NUMBERS, *DIFFERENCE], AUDIT_AGAIN)
    measure = MEASURES.get(table["measure"].iloc[0] if len(table) else "")
    wanted = [*measure.bins, *SUMMARY] if measure else []
    if not measure or [name for name in table["bin"] if name != UNKNOWN] != wanted or table["genes"].isna().any():
        raise InputError(f"{path} does not have the rows of an audit: {AUDIT_AGAIN}")
    return table


def similar_windows(windows: np.ndarray, places: Sequence[int]) -> pd.DataFrame:
    """Return pairs of genes whose windows share 12-mers, as `lcre.homology.read_hits` gives pairs of hits.

    Args:
        windows: base codes, uint8, (windows, columns).
        places: number of the gene of each window, ascending.

    Returns:
        first, second, identity (per cent of 12-mers that are shared) and bit_score (nan).
    """
    from lcre.kmers import find_similar

    first, second, similarity = find_similar(windows)
    places = np.asarray(places)
    pairs = pd.DataFrame({"first": places[first], "second": places[second], "identity": 100 * similarity})
    return pairs.assign(bit_score=np.nan)
