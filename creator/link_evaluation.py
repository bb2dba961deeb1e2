"""Links between cCREs and genes against the pairs of a CRISPR benchmark, beside simpler scores of the same pairs.

The table of pairs has the column names of the public benchmark (Gschwind et al. 2023, bioRxiv 2023.11.09.563812).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import InputError, examples, shorten
from core.figures import thin
from core.names import CHROMOSOME_BRIDGES, GENE_BRIDGES, join_names, strip_gene_prefix, strip_version
from core.scores import Ranking, auprc, auroc, bootstrap, interval, precision_recall, two_sided_p
from core.tables import read_columns, to_numbers

LINKS_SCORED, CURVES = "links_eval.csv", "links_curves.csv"  # are written
CURVE_COLUMNS = ("distance", "score", "recall", "precision")
CURVE_POINTS = 200  # of a curve, at most
SCORED = ("Regulated", "distanceToTSS", "H3K27ac.RPM", "H3K27ac.RPM.expandedRegion", "DHS.RPM")  # columns of pairs
PLACED = ("chrom", "chromStart", "chromEnd", "measuredGeneEnsemblId", "CellType")  # of pairs and of links
LINK_SCORES = ("attention", "adjusted", "ablation")  # columns of links, as far as they are there
BASELINES = {
    "inverse_distance": "1 / distance",
    "signal_by_distance": "H3K27ac / distance",
    "activity_by_contact": "sqrt(DNase x H3K27ac) x distance^-1.024",
}
CONTACT_EXPONENT = 1.024  # how contact falls with distance, Fulco et al. 2019, Nature Genetics 51, 1664
NEAREST_CONTACT = 5_000  # bp; nearer pairs have the contact of this distance
NEAR, FAR = 10_000, 100_000  # bp, bounds of the distances that are scored apart
MOST_PAIRS = 1_000_000  # rows of the table; published benchmarks have some ten thousand
TRUE, FALSE = ("TRUE", "1"), ("FALSE", "0")
MEASURES = ("AUPRC", "AUROC")


class Pairs(NamedTuple):
    """Tested pairs of an element and a gene.

    Attributes:
        regulated: 1 where the gene's expression drops when the element is silenced, (n,) int8.
        distance: of element and TSS, bp, at least 1, (n,).
        baselines: name -> score, (n,); the names of `BASELINES`.
        places: a row a pair: the columns `PLACED`, start and end as integers; None unless asked for.
    """

    regulated: np.ndarray
    distance: np.ndarray
    baselines: dict[str, np.ndarray]
    places: pd.DataFrame | None


# -------------------------------------------------------------------------------------------------- reading
def read_pairs(path: Path, placed: bool) -> Pairs:
    """Read a benchmark's table of pairs (TSV or CSV, plain or gzip).

    Args:
        path: the table.
        placed: read the columns that tell where elements are and which gene they were tested on, too.

    Raises:
        InputError: a column that is not there, a value that cannot be, too many rows.
    """
    table = read_columns(path, [*SCORED, *(PLACED if placed else ())], "pairs", most=MOST_PAIRS)
    answers = table["Regulated"].str.strip().str.upper()
    wrong = table.index[~answers.isin([*TRUE, *FALSE])]
    if len(wrong):
        raise InputError(
            f"pairs: {len(wrong):,} values of column 'Regulated' in {path} are neither TRUE nor FALSE: "
            f"{examples(wrong)} has {shorten(table.loc[wrong[0], 'Regulated'])!r}; correct or remove these rows"
        )
    numbers = {name: to_numbers(table[name], path, "pairs") for name in SCORED[1:]}
    for name, values in numbers.items():
        if name != "distanceToTSS" and (values < 0).any():
            raise InputError(
                f"pairs: column {name!r} of {path} has negative values ({examples(values.index[values < 0])}); "
                "a signal is 0 or more"
            )
    distance = np.maximum(np.abs(numbers["distanceToTSS"].to_numpy()), 1)
    acetylation, activity = numbers["H3K27ac.RPM"], numbers["DHS.RPM"] * numbers["H3K27ac.RPM.expandedRegion"]
    baselines = {
        "inverse_distance": 1 / distance,
        "signal_by_distance": acetylation.to_numpy() / distance,
        "activity_by_contact": np.sqrt(activity.to_numpy())
        * np.maximum(distance, NEAREST_CONTACT) ** -CONTACT_EXPONENT,
    }
    places = parse_places(table[list(PLACED)], path, "pairs") if placed else None
    return Pairs(answers.isin(TRUE).to_numpy(np.int8), distance, baselines, places)


def find_links(folder: Path) -> Path | None:
    """Return the path of `links.tsv` or `links.tsv.gz` in a folder of `predict`; None where there is neither."""
    paths = [folder / name for name in ("links.tsv", "links.tsv.gz")]
    return next((path for path in paths if path.is_file()), None)


def read_links(folder: Path, genes: pd.Series) -> pd.DataFrame:
    """Read the links of some genes from `links.tsv` or `links.tsv.gz` in a folder that `predict` wrote.

    Args:
        folder: with the table.
        genes: their ids, in whatever form; versions and prefixes of ids are ignored here.

    Returns:
        A frame with the columns `PLACED` and those of `LINK_SCORES` that the table has; nan for an empty score.

    Raises:
        InputError: no table, no score, a value that cannot be, none of the genes.
    """
    path = find_links(folder)
    if path is None:
        raise InputError(f"links: {folder} has no links.tsv; give a folder that predict wrote without --no-links")
    wanted = {plain_id(name) for name in genes.unique()}

    def keep(piece: pd.DataFrame) -> pd.Series:
        names = piece["measuredGeneEnsemblId"]
        return names.isin([name for name in names.unique() if plain_id(name) in wanted])

    table = read_columns(path, PLACED, "links", LINK_SCORES, keep)
    scores = [name for name in LINK_SCORES if name in table.columns]
    if not scores:
        raise InputError(f"links: {path} has none of the columns {examples(LINK_SCORES)}; write it with predict")
    if table.empty:
        raise InputError(
            f"links: {path} has no link of the {len(wanted):,} genes of the pairs, {examples(genes.unique())}; is "
            "column 'measuredGeneEnsemblId' of both from the same annotation?"
        )
    numbers = {name: to_numbers(table[name], path, "links", empty=True) for name in scores}
    return parse_places(table[list(PLACED)], path, "links").assign(**numbers)


def plain_id(name: str) -> str:
    """Return a gene id without prefix and version."""
    return strip_version(strip_gene_prefix(name))


def parse_places(table: pd.DataFrame, path: Path, what: str) -> pd.DataFrame:
    """Return the columns `PLACED` with start and end as integers; raise InputError where start is not before end."""
    ends = {name: to_numbers(table[name], path, what).astype(np.int64) for name in ("chromStart", "chromEnd")}
    wrong = table.index[ends["chromStart"] >= ends["chromEnd"]]
    if len(wrong):
        raise InputError(
            f"{what}: in {len(wrong):,} rows of {path} chromStart is not before chromEnd: {examples(wrong)}; correct "
            "or remove these rows"
        )
    return table.assign(**ends)


# -------------------------------------------------------------------------------------------------- joining
def choose_cells(pairs: pd.DataFrame, links: pd.DataFrame, cell: str | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Choose the cells in which links and pairs are compared.

    Args:
        pairs, links: frames with the columns `PLACED`.
        cell: take the links of this cell for every pair; None: those of the cell that the pair was tested in.

    Returns:
        `links` of these cells, with the pairs' names of cells, or all of one name where `cell` is given; and which
        pairs were tested in one of them, (n,) bool.

    Raises:
        InputError: there are no links in that cell.
    """
    there = links["CellType"].unique()
    if cell is not None:
        if cell not in there:
            raise InputError(f"links: there is no cell {cell!r}; --cell is one of {examples(there, 12)}")
        return links[links["CellType"] == cell], np.ones(len(pairs), bool)
    tested = pairs["CellType"].isin(there).to_numpy()
    if not tested.any():
        raise InputError(
            f"links: the pairs were tested in {examples(pairs['CellType'].unique())}, the links are of "
            f"{examples(there, 12)}; say with --cell whose links to take"
        )
    return links, tested


def join_links(
    pairs: pd.DataFrame, links: pd.DataFrame, same_cell: bool, notes: list[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scores of pairs, summed over the links of the pair's gene whose cCRE overlaps its element.

    The sum, because silencing an element silences all the cCREs in it. A pair without link has the score 0.

    Args:
        pairs, links: frames with the columns `PLACED`; `links` with some of `LINK_SCORES`, nan counting as 0.
        same_cell: only links in the cell that the pair was tested in count.
        notes: sentences for the user, added to.

    Returns:
        Score name -> (n,); and which pairs have a link, (n,) bool.

    Raises:
        InputError: pairs and links have no gene or no chromosome in common.
    """
    import pyranges

    scores = [name for name in LINK_SCORES if name in links.columns]
    genes = join_names(
        pairs["measuredGeneEnsemblId"],
        links["measuredGeneEnsemblId"],
        GENE_BRIDGES,
        "pairs and links have no gene",
        notes,
    )
    chromosomes = join_names(
        pairs["chrom"], links["chrom"], CHROMOSOME_BRIDGES, "pairs and links have no chromosome", notes
    )

    def to_ranges(table: pd.DataFrame, gene: pd.Series, chromosome: pd.Series, **columns):
        """An interval join within gene, chromosome and cell: together they stand for pyranges' chromosome."""
        parts = [gene, chromosome, *([table["CellType"]] if same_cell else [])]
        key = pd.Series(["|".join(["key", *names]) for names in zip(*parts, strict=True)], index=table.index, dtype=str)
        ends = {"Chromosome": key, "Start": table["chromStart"], "End": table["chromEnd"]}
        return pyranges.PyRanges(pd.DataFrame(ends | columns).reset_index(drop=True))

    known = pairs[pairs["measuredGeneEnsemblId"].isin(genes) & pairs["chrom"].isin(chromosomes)]
    rows = pd.Series(np.arange(len(pairs)), index=pairs.index)[known.index]
    tested = to_ranges(known, known["measuredGeneEnsemblId"].map(genes), known["chrom"].map(chromosomes), pair=rows)
    linked = to_ranges(
        links, links["measuredGeneEnsemblId"], links["chrom"], **{name: links[name].fillna(0) for name in scores}
    )
    joined = tested.join(linked).df
    found = {name: np.zeros(len(pairs)) for name in scores}
    matched = np.zeros(len(pairs), bool)
    if not joined.empty:
        matched[joined["pair"]] = True
        for name in scores:
            np.add.at(found[name], joined["pair"].to_numpy(), joined[name].to_numpy(float))
    return found, matched


# -------------------------------------------------------------------------------------------------- scoring
def distance_bins(distance: np.ndarray) -> dict[str, np.ndarray]:
    """Return which pairs each range of distances has, (n,) bool; exactly 10 kb and 100 kb are in the middle one."""
    return {
        "all": np.ones(len(distance), bool),
        "below 10 kb": distance < NEAR,
        "10 to 100 kb": (distance >= NEAR) & (distance <= FAR),
        "above 100 kb": distance > FAR,
    }


def score_links(
    regulated: np.ndarray,
    distance: np.ndarray,
    scores: Mapping[str, np.ndarray],
    matched: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 1,
) -> list[dict]:
    """Return the areas under the curves of scores of pairs, a row for each range of distances and score.

    Intervals are of the bootstrap over pairs, drawn within the regulated and within the others, so that each draw has
    the same fraction of regulated pairs, on which the AUPRC depends. All scores see the same draws: differences are
    paired.

    Args:
        regulated: 1 or 0, (n,).
        distance: bp, (n,).
        scores: name -> (n,); differences are taken against those named in `BASELINES`.
        matched: which pairs have a link, (n,) bool; None: no links are compared.
        draws: of the bootstrap.
        seed: of its random numbers.

    Returns:
        Rows of links_eval.csv; nan where there is one class only.
    """
    rows = []
    for label, inside in distance_bins(distance).items():
        target = regulated[inside]
        counts = {"distance": label, "pairs": len(target), "regulated": int(target.sum())}
        counts["with_link"] = "" if matched is None else int(matched[inside].sum())
        values = {name: score[inside] for name, score in scores.items()}
        areas = {name: np.array([auprc(target, value), auroc(target, value)]) for name, value in values.items()}
        drawn = {name: np.full((draws, 2), np.nan) for name in scores}
        classes = [np.flatnonzero(target == label) for label in (0, 1)]
        if all(map(len, classes)):
            rankings = [Ranking(target, value) for value in values.values()]
            samples = bootstrap(
                lambda times, rankings=rankings: [[one.auprc(times), one.auroc(times)] for one in rankings],
                classes,
                draws,
                seed,
            )
            drawn = {name: samples[:, number] for number, name in enumerate(scores)}
        else:
            areas = dict.fromkeys(scores, np.full(2, np.nan))
        rows += [counts | {"score": name} | describe_areas(name, areas, drawn) for name in scores]
    return rows


def describe_areas(name: str, areas: dict[str, np.ndarray], drawn: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the columns of one score: areas, intervals and differences from the baselines.

    Args:
        name: of the score.
        areas: of each score the two `MEASURES`.
        drawn: of each score the same of each bootstrap draw, (draws, 2).
    """
    row = {}
    for number, measure in enumerate(MEASURES):
        row[measure] = areas[name][number]
        row[f"{measure}_low"], row[f"{measure}_high"] = interval(drawn[name][:, number])
        for baseline in BASELINES:
            column = f"{measure}_minus_{baseline}"
            differences = drawn[name][:, number] - drawn[baseline][:, number]
            if baseline == name:
                differences = np.full(len(differences), np.nan)
            row[column] = areas[name][number] - areas[baseline][number] if baseline != name else np.nan
            row[f"{column}_low"], row[f"{column}_high"] = interval(differences)
            row[f"{column}_p"] = two_sided_p(differences)
    return row


def link_curves(regulated: np.ndarray, distance: np.ndarray, scores: Mapping[str, np.ndarray]) -> list[dict]:
    """Return the precision-recall curves of scores of pairs for each range of distances.

    Args:
        regulated: 1 or 0, (n,).
        distance: bp, (n,).
        scores: name -> (n,).

    Returns:
        Rows of links_curves.csv, recall rising, at most `CURVE_POINTS` a curve; none without a regulated pair.
    """
    rows = []
    for label, inside in distance_bins(distance).items():
        for name, score in scores.items():
            points = zip(*thin(*precision_recall(regulated[inside], score[inside]), CURVE_POINTS), strict=True)
            rows += [dict(zip(CURVE_COLUMNS, (label, name, *point), strict=True)) for point in points]
    return rows


def evaluate_links(
    pairs_path: Path, folder: Path | None = None, cell: str | None = None, draws: int = 1000, seed: int = 1
) -> tuple[list[dict], list[dict], list[str]]:
    """Score the pairs of a benchmark by the baselines and, where a folder is given, by its links.

    Args:
        pairs_path: the benchmark's table.
        folder: that `predict` wrote, with links.tsv; None: baselines only.
        cell: see `choose_cells`.
        draws, seed: see `score_links`.

    Returns:
        Rows of `score_links`, rows of `link_curves`, and notes for the user.

    Raises:
        InputError: see `read_pairs`, `read_links`, `choose_cells`, `join_links`.
    """
    pairs = read_pairs(pairs_path, placed=folder is not None)
    if folder is None:
        known = pairs.regulated, pairs.distance, pairs.baselines
        return score_links(*known, draws=draws, seed=seed), link_curves(*known), []
    notes: list[str] = []
    links, tested = choose_cells(pairs.places, read_links(folder, pairs.places["measuredGeneEnsemblId"]), cell)
    if not tested.all():
        others = pairs.places["CellType"][~tested].unique()
        notes.append(f"{(~tested).sum():,} pairs are left out: there are no links in {examples(others)}")
    found, matched = join_links(pairs.places[tested], links, cell is None, notes)
    if not matched.any():
        raise InputError(
            f"links: no cCRE of {folder} that is linked to the gene of a pair overlaps its element; are both of the "
            "same genome build?"
        )
    notes.append(
        f"{matched.sum():,} of {len(matched):,} pairs have a link; the others have the score 0 in {', '.join(found)}"
    )
    scores = {name: score[tested] for name, score in pairs.baselines.items()} | found
    known = pairs.regulated[tested], pairs.distance[tested], scores
    return score_links(*known, matched, draws, seed), link_curves(*known), notes


def show_links(rows: list[dict]) -> str:
    """Return the table of `score_links` as people read it."""
    lines = [f"{'':22}{'AUPRC (95 %)':>24}{'AUROC (95 %)':>24}   AUPRC above 1 / distance by"]
    for row in rows:
        if row["score"] == rows[0]["score"]:
            lines += ["", f"{row['distance']}: {row['pairs']:,} pairs, {row['regulated']:,} regulated"]
        cells = [show_interval(row[name], row[f"{name}_low"], row[f"{name}_high"]) for name in MEASURES]
        name = "AUPRC_minus_inverse_distance"
        gain = show_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], "+")
        p = "" if np.isnan(row[f"{name}_p"]) else f"   p {row[f'{name}_p']:.3f}"
        lines.append(f"  {row['score']:20}{cells[0]:>24}{cells[1]:>24}   {gain}{p}".rstrip())
    return "\n".join(lines)


def show_interval(value: float, low: float, high: float, sign: str = "") -> str:
    """Return a value and its interval as text, "" for nan."""
    if np.isnan(value):
        return ""
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
