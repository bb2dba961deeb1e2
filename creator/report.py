"""The page of a folder that `predict` wrote: its scores, predictions, links and training as tables and figures.

Reads what `predict`, `train` and `evaluate` wrote, as far as it is there, and writes report.html into the folder. The
order of this file: read, draw the figures (`core.figures`), say what stands in the sections, put the page together
(`core.page`).
"""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from core import PATH_LENGTH, InputError, figures, page, show_value
from core.files import hash_file, read_json, read_rows, write_text
from core.page import show_count, show_number
from core.tables import read_columns, to_numbers
from creator import __version__, training
from creator.baselines import mean_signal
from creator.evaluation import EXPRESSION_SCORED, MEASURES, NETWORK, PREDICTORS, RECORD, SPLITS, TABLE
from creator.link_evaluation import BASELINES, CURVES, LINK_SCORES, LINKS_SCORED, find_links

PAGE = "report.html"
SIGNED = "{:+.3f}"  # pattern of differences
HARDEST = ("both", "chromosome", "cell", "validation", "train", "")  # splits, the hardest first
PLACES = {  # split -> where it is, in a sentence
    "both": "in held-out cells on held-out chromosomes",
    "chromosome": "in training cells on held-out chromosomes",
    "cell": "in held-out cells on chromosomes of the training",
    "validation": "in training cells on the validation chromosomes, on which the epoch was chosen",
    "train": "in training cells on training chromosomes",
    "": "in all cells on all chromosomes (what the model was trained on is not known)",
}
NAMES = {  # predictor or score of links -> as figures and tables call it
    NETWORK: "CREaTor",
    "gene_mean": "gene mean",
    "promoter_ridge": "promoter ridge",
    "distance_ridge": "distance ridge",
    "change_ridge": "change ridge",
    "inverse_distance": "1 / distance",
    "signal_by_distance": "H3K27ac / distance",
    "activity_by_contact": "activity by contact",
    "attention": "attention",
    "adjusted": "adjusted attention",
    "ablation": "ablation",
}
EXPLAINED = {
    "gene_mean": "the gene's mean log1p(TPM) over the (other) training cells",
    "promoter_ridge": "ridge regression on the signal of the cCREs within 1 kb of the TSS",
    "distance_ridge": "ridge regression on the distance-weighted signal of the cCREs in reach",
    "change_ridge": "the gene's mean plus a ridge regression of the change on changes of that signal",
    "ablation": "drop in the prediction when the gene may not attend to the cCRE",
    "adjusted": "attention / log10(distance), distance at least 1 kb",
    "attention": "weight of the cCRE for the gene, averaged over layers and heads",
    "activity_by_contact": "sqrt(DNase x H3K27ac) x distance^-1.024, distance at least 5 kb",
    "signal_by_distance": "H3K27ac signal of the element / distance",
    "inverse_distance": "1 / distance of element and TSS",
}
LOG1P = "log1p(TPM)"
BEST_LINKS = 12  # arcs of the locus, at most
LEAST_ARC = 0.01  # of the highest score: lower ones are not drawn
HANDFUL = 4  # fewest cCREs in reach of the gene whose locus is shown
NAMED_GENES = 6  # most genes of the locus whose names are written
MOST_TRACKS = 16
FIGURE_WIDTH, WIDE = 380, 760  # units

PALETTE = {  # CSS variable -> on white, on dark
    "network": ("#0069ad", "#62b5f2"),
    "baseline": ("#b84a00", "#f2935a"),
    "adjusted": ("#00765a", "#42c9a0"),
    "attention": ("#a03c79", "#e591c3"),
}
NETWORK_COLOUR, BASELINE_COLOUR, ADJUSTED_COLOUR, ATTENTION_COLOUR = (white for white, _ in PALETTE.values())
LINES = {  # score of links -> colour and line of its curve
    "ablation": (NETWORK_COLOUR, "solid"),
    "adjusted": (ADJUSTED_COLOUR, "solid"),
    "attention": (ATTENTION_COLOUR, "solid"),
    "activity_by_contact": (BASELINE_COLOUR, "solid"),
    "signal_by_distance": (BASELINE_COLOUR, (0, (5, 2))),
    "inverse_distance": (BASELINE_COLOUR, (0, (1.5, 2))),
}
REFERENCE = {"color": figures.QUIET, "linewidth": 1}
REMARK = {"color": figures.QUIET, "size": 11}
Content = TypeVar("Content")


# -------------------------------------------------------------------------------------------------- reading
class Locus(NamedTuple):
    """A gene in a cell with the cCREs around it.

    Attributes:
        gene, cell, chromosome, split: names.
        tss: bp.
        strand: "+" or "-".
        score: column of `links` that the arcs show.
        start, end: of the interval shown, bp.
        links: of the gene to the cCREs in the interval, by position: chromStart, chromEnd and the score; `best` tells
            which have an arc.
        in_reach: cCREs in reach of the gene.
        genes: those with a TSS in the interval: gene_id, tss, strand.
        tracks: name -> mean signal of each of these cCREs.
    """

    gene: str
    cell: str
    chromosome: str
    split: str
    tss: int
    strand: str
    score: str
    start: int
    end: int
    links: pd.DataFrame
    in_reach: int
    genes: pd.DataFrame
    tracks: Mapping[str, np.ndarray]


@dataclass
class Run:
    """What is there of a folder that `predict` wrote; None or empty where it is not."""

    folder: Path
    record: dict = field(default_factory=dict)  # predict.json
    predictions: pd.DataFrame | None = None  # expression.tsv
    scored: pd.DataFrame | None = None  # eval.csv, rows over all cells of a split
    links: pd.DataFrame | None = None  # links_eval.csv
    curves: pd.DataFrame | None = None  # links_curves.csv
    log: pd.DataFrame | None = None  # performance_log.csv beside the model
    train: dict = field(default_factory=dict)  # train.json beside the model
    locus: Locus | None = None
    absent: list[str] = field(default_factory=list)  # sentences on what the page does not show
    doubts: list[str] = field(default_factory=list)

    @property
    def splits(self) -> list[str]:
        """The splits that are scored, the hardest first."""
        there = set(self.scored["split"]) if self.scored is not None else set()
        return [name for name in HARDEST if name in there]

    def rows(self, split: str) -> pd.DataFrame:
        """The rows of a split in the table of scores, the network's first."""
        rows = self.scored[self.scored["split"] == split]
        return rows.sort_values("predictor", key=lambda names: names != NETWORK, kind="stable")

    def read(self, what: str, read: Callable[[], Content]) -> Content | None:
        """Return what `read` returns; where it raises InputError, None, and a sentence says what is left out."""
        try:
            return read()
        except InputError as error:
            self.absent.append(f"{what}: {error}.")
            return None


def read_run(folder: Path, store_path: Path | None = None) -> Run:
    """Read what is there of a folder that `predict` wrote, and of the training beside the model that it names.

    Args:
        folder: with some of expression.tsv, predict.json, links.tsv, eval.csv, links_eval.csv and links_curves.csv.
        store_path: where the store is; None: where predict.json says.
    """
    run = Run(folder)
    run.record = read_json(folder / RECORD) or {}
    if not run.record:
        run.absent.append(f"Options, model and training: {RECORD} is not there, or damaged.")
    if (folder / TABLE).is_file():
        run.predictions = run.read("Predicted against measured expression", lambda: read_expression(folder / TABLE))
    else:
        run.absent.append(f"Predicted against measured expression: {TABLE} is not there; predict writes it.")
    if (folder / EXPRESSION_SCORED).is_file():
        run.scored = run.read("Scores of expression", lambda: read_scored(folder / EXPRESSION_SCORED))
    else:
        run.absent.append(
            f"Scores of expression: {EXPRESSION_SCORED} is not there; CREaTor.py evaluate {folder} writes it."
        )
    if (folder / LINKS_SCORED).is_file():
        run.links = run.read("Scores of links", lambda: read_links_scored(folder / LINKS_SCORED))
        if (folder / CURVES).is_file():
            run.curves = run.read("Precision-recall curves", lambda: read_curves(folder / CURVES))
        else:
            run.absent.append(f"Precision-recall curves: {CURVES} is not there; evaluate --links writes it.")
    else:
        run.absent.append(
            f"Links against tested pairs: {LINKS_SCORED} is not there; CREaTor.py evaluate --links pairs.tsv --out "
            f"{folder} writes it."
        )
    if run.record:
        read_training(run)
    if find_links(folder) is None:
        run.absent.append("Links of one gene: links.tsv is not there; predict writes it, without --no-links.")
    elif run.predictions is not None:
        run.locus = run.read("Links of one gene", lambda: read_locus(run, store_path))
    for table, source in ((EXPRESSION_SCORED, TABLE), (LINKS_SCORED, "links.tsv")):
        dates = [path.stat().st_mtime for path in (folder / table, folder / source) if path.is_file()]
        if len(dates) == 2 and dates[0] < dates[1]:
            run.doubts.append(f"{table} is older than {source}: it may be of earlier predictions. Evaluate again.")
    return run


def read_numbers(path: Path, texts: Sequence[str], numbers: Sequence[str], optional: Sequence[str] = ()):
    """Return columns of a table, `numbers` and `optional` ones as floats with nan for an empty cell.

    Raises:
        InputError: see `core.tables.read_columns` and `to_numbers`.
    """
    table = read_columns(path, [*texts, *numbers], path.name, optional)
    there = [name for name in table.columns if name not in texts]
    return table.assign(**{name: to_numbers(table[name], path, path.name, empty=True) for name in there})


def read_expression(path: Path) -> pd.DataFrame:
    """Read expression.tsv with TSS and strand where it has them."""
    texts = ["gene_id", "chromosome", "cell", "split"]
    table = read_columns(path, [*texts, "predicted", "observed"], TABLE, ("tss", "strand"))
    numbers = [name for name in ("predicted", "observed", "tss") if name in table.columns]
    return table.assign(**{name: to_numbers(table[name], path, TABLE, empty=True) for name in numbers})


def read_scored(path: Path) -> pd.DataFrame:
    """Read the rows of eval.csv that are over all cells of a split."""
    numbers = ["genes", "values"]
    for name in MEASURES:
        numbers += [name, *(f"{name}_{part}" for part in ("low", "high", "difference", "difference_low"))]
        numbers += [f"{name}_difference_{part}" for part in ("high", "p")]
    table = read_numbers(path, ["split", "cell", "predictor"], numbers)
    table = table[(table["cell"] == "all") & table["split"].isin(SPLITS) & table["predictor"].isin(PREDICTORS)]
    if not (table["predictor"] == NETWORK).any():
        raise InputError(f"{path} has no row of the network over all cells of a split")
    return table


def read_links_scored(path: Path) -> pd.DataFrame:
    """Read links_eval.csv."""
    numbers = ["pairs", "regulated", "AUPRC", "AUPRC_low", "AUPRC_high", "AUROC", "AUROC_low", "AUROC_high"]
    differences = [f"AUPRC_minus_{name}{part}" for name in BASELINES for part in ("", "_p")]
    table = read_numbers(path, ["distance", "score"], [*numbers, *differences])
    return table[table["score"].isin(LINES)]


def read_curves(path: Path) -> pd.DataFrame:
    """Read links_curves.csv."""
    return read_numbers(path, ["distance", "score"], ["recall", "precision"])


def read_training(run: Run) -> None:
    """Read log and record beside the model that predict.json names, if that is still the same model."""
    what, model = "Training curves", run.record.get("model")
    if not isinstance(model, str) or not Path(model).is_file():
        run.absent.append(f"{what}: the model that {RECORD} names is not where it was.")
        return
    model = Path(model)
    if run.record.get("model_sha256", "") not in ("", hash_file(model)):
        run.absent.append(f"{what}: {show_value(model, PATH_LENGTH)} is no longer the model that predicted.")
        return
    run.train = read_json(model.parent / training.RECORD) or {}
    log = pd.DataFrame(read_rows(model.parent / "performance_log.csv"))
    names = [name for name in ("epoch", "loss", "val_loss", "val_pearson") if name in log.columns]
    if "epoch" not in names or "val_loss" not in names:
        run.absent.append(f"{what}: there is no performance_log.csv of train beside the model.")
        return
    run.log = log[names].apply(pd.to_numeric, errors="coerce")


# ---------------------------------------------------------------------------------------------------- a locus
def read_locus(run: Run, store_path: Path | None) -> Locus:
    """Choose a gene and read the links around it: of the hardest split the one with the highest score of a link.

    links.tsv is read in pieces, twice.

    Raises:
        InputError: no links of genes that are scored, or a table that cannot be read.
    """
    path = find_links(run.folder)
    if "tss" not in run.predictions or "strand" not in run.predictions:
        raise InputError(f"{TABLE} has no columns tss and strand")
    split = next((name for name in HARDEST if (run.predictions["split"] == name).any()), "")
    there = run.predictions[run.predictions["split"] == split]
    gene, cell, score = choose_gene(path, set(there["chromosome"]), set(there["cell"]))
    row = there[(there["gene_id"] == gene) & (there["cell"] == cell)]
    if row.empty or row[["tss"]].isna().any(axis=None):
        raise InputError(f"gene {show_value(gene)} of {path.name} is not in {TABLE}, or has no TSS there")
    row = row.iloc[0]
    links = read_gene_links(path, gene, cell, score)
    size = links[score].abs()
    links["best"] = (size >= LEAST_ARC * size.max()) & (size.rank(ascending=False, method="first") <= BEST_LINKS)
    best = links[links["best"]]
    tss = int(row["tss"])
    start, end = min(tss, best["chromStart"].min()), max(tss, best["chromEnd"].max())
    margin = max(0.04 * (end - start), 500)
    start, end = int(start - margin), int(end + margin)
    inside = links[(links["chromEnd"] > start) & (links["chromStart"] < end)].reset_index(drop=True)
    genes = there[
        (there["cell"] == cell) & (there["chromosome"] == row["chromosome"]) & there["tss"].between(start, end)
    ]
    place = {"gene": gene, "cell": cell, "chromosome": row["chromosome"], "split": split, "tss": tss}
    tracks = read_tracks(run, store_path, gene, cell, inside)
    return Locus(
        **place, strand=row["strand"], score=score, start=start, end=end, links=inside, in_reach=len(links),
        genes=genes[["gene_id", "tss", "strand"]].sort_values("tss"), tracks=tracks,
    )  # fmt: skip


def choose_gene(path: Path, chromosomes: set[str], cells: set[str]) -> tuple[str, str, str]:
    """Return the gene and the cell of the highest score of a link, and the column of the score.

    The score is ablation, else adjusted, else attention. Genes with a handful of cCREs in reach come first; of equal
    scores the one that stands first in the table.

    Raises:
        InputError: none of these columns, no link on these chromosomes in these cells.
    """
    highest: dict[tuple[str, str], float] = {}
    counts: dict[tuple[str, str], int] = {}
    found = []

    def note(piece: pd.DataFrame) -> pd.Series:
        """Keep the highest score and the number of links of each gene and cell, and no row."""
        scores = [name for name in reversed(LINK_SCORES) if name in piece.columns]
        if not scores:
            raise InputError(f"{path.name} has none of the columns {', '.join(LINK_SCORES)}")
        found[:] = scores[:1]
        some = piece[piece["chrom"].isin(chromosomes) & piece["CellType"].isin(cells)]
        numbers = pd.to_numeric(some[scores[0]], errors="coerce")
        groups = numbers.groupby([some["measuredGeneEnsemblId"], some["CellType"]], sort=False)
        for key, best, count in zip(groups.groups, groups.max(), groups.size(), strict=True):
            highest[key] = max(highest.get(key, -math.inf), best) if best == best else highest.get(key, -math.inf)
            counts[key] = counts.get(key, 0) + count
        return pd.Series(False, index=piece.index)

    read_columns(path, ["chrom", "measuredGeneEnsemblId", "CellType"], path.name, LINK_SCORES, note)
    enough = [key for key in highest if counts[key] >= HANDFUL] or list(highest)
    if not enough or highest[max(enough, key=highest.get)] == -math.inf:
        raise InputError(f"{path.name} has no link of the genes and cells of {TABLE}")
    return *max(enough, key=highest.get), found[0]


def read_gene_links(path: Path, gene: str, cell: str, score: str) -> pd.DataFrame:
    """Return the links of a gene in a cell by place: chromStart, chromEnd, the score, and signal where it is there."""
    keys = ["measuredGeneEnsemblId", "CellType"]
    numbers = ["chromStart", "chromEnd", score]
    table = read_columns(
        path, [*keys, *numbers], path.name, ("signal",), lambda piece: (piece[keys] == [gene, cell]).all(axis=1)
    )
    numbers += [name for name in ("signal",) if name in table.columns]
    table = pd.DataFrame({name: to_numbers(table[name], path, path.name, empty=True) for name in numbers})
    return table.dropna(subset=["chromStart", "chromEnd", score]).sort_values("chromStart", ignore_index=True)


def read_tracks(run: Run, store_path: Path | None, gene: str, cell: str, links: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the mean signal of the cCREs of links in each track of the store, else the column signal of links.tsv."""
    from creator.store import open_store

    def read() -> dict[str, np.ndarray]:
        if store_path is None and not isinstance(run.record.get("store"), str):
            raise InputError(f"{RECORD} names no store")
        store = open_store(run.folder / run.record["store"] if store_path is None else store_path)
        if run.record.get("store_identity", "") not in ("", store.identity()):
            raise InputError(f"{store.path} is no longer the store that was predicted from")
        number = {name: place for place, name in enumerate(np.asarray(store.gene_id).tolist())}.get(gene.encode())
        if number is None or cell not in store.cells:
            raise InputError(f"{store.path} does not have gene {show_value(gene)} and cell {show_value(cell)}")
        near = store.in_reach(number)
        ends = zip(store.element_start[near].tolist(), store.element_end[near].tolist(), strict=True)
        place = dict(zip(ends, near.tolist(), strict=True))
        wanted = [place.get((int(row.chromStart), int(row.chromEnd))) for row in links.itertuples()]
        if None in wanted:
            raise InputError(f"{store.path} lacks cCREs of the links")
        there = store.cells.index(cell)
        signal = mean_signal(store, there, np.array(wanted))
        return {store.tracks[track]: signal[:, track] for track in store.signal_tracks[there]}

    tracks = run.read("Tracks of the locus", read)
    if tracks is None and "signal" in links:
        return {"mean of the tracks": links["signal"].to_numpy()}
    return tracks or {}


# -------------------------------------------------------------------------------------------------- figures
class Dot(NamedTuple):
    """A value with its interval, and how it is drawn."""

    name: str
    value: float
    low: float
    high: float
    colour: str
    mark: str


def write_title(axis, text: str, up: float = 26) -> None:
    """Write the title of a figure above the label of y of its first panel."""
    corner = (axis.get_xlim()[0], axis.get_ylim()[1])
    figures.write(axis, text, corner, (-30, up), weight="bold")


@figures.page_style()
def draw_dots(title: str, x_label: str, groups: Mapping[str, Sequence[Dot]], label: str) -> str:
    """Draw a row for each dot below the name of its group: value, interval, and the value as text."""
    dots = [dot for group in groups.values() for dot in group]
    left = 16 + 7 * max(len(dot.name) for dot in dots)
    known = [number for dot in dots for number in (dot.value, dot.low, dot.high) if not math.isnan(number)]
    low = math.floor(10 * min([0, *known]) + 1e-9) / 10
    high = max(math.ceil(10 * max([0, *known]) - 1e-9) / 10, low + 0.1)
    head = 22 if len(groups) > 1 else 0
    height = sum(head + 19 * len(group) + 8 for group in groups.values())
    figure = figures.new_figure(FIGURE_WIDTH, 24 + height + 40)
    box = (left, 24, FIGURE_WIDTH - left - 46, height)
    axis = figures.add_panel(figure, box, (low, high), (height, 0), x_label, ticks=(5, 0))
    figures.write(axis, title, (low, 0), (-left, 12), weight="bold")
    axis.axvline(0, **REFERENCE)
    y = 4
    for name, group in groups.items():
        if head:
            over = {"facecolor": figures.PAGE, "edgecolor": "none", "pad": 2}  # the lines of the panel
            figures.write(axis, name, (low, y + 13), (-left, 0), color=figures.QUIET, bbox=over)
            y += head
        for dot in group:
            place, strong = y + 9.5, {"weight": "bold"} if dot.colour == NETWORK_COLOUR else {}
            figures.write(axis, dot.name, (low, place), (-10, -4), ha="right", **strong)
            if not math.isnan(dot.value):
                axis.hlines(place, dot.low, dot.high, color=dot.colour, linewidth=2, alpha=0.55)
                figures.draw_marks(axis, [dot.value], [place], dot.colour, dot.mark)
            figures.write(axis, show(dot.value), (high, place), (44, -4), ha="right", color=dot.colour, **strong)
            y += 19
        y += 8
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_scatter(title: str, predicted: np.ndarray, observed: np.ndarray, ends: tuple[float, float], label: str) -> str:
    """Draw predicted against measured expression as counts in cells of the panel; dashed: equal."""
    figure = figures.new_figure(FIGURE_WIDTH, 380)
    x_label, y_label = f"measured {LOG1P}", f"predicted {LOG1P}"
    axis = figures.add_panel(figure, (40, 50, 324, 286), ends, ends, x_label, y_label)
    write_title(axis, title)
    cells = 48 if len(observed) >= 3000 else 32
    figures.draw_density(axis, observed, predicted, (cells, cells))
    axis.plot(ends, ends, linestyle=figures.DASHED, **REFERENCE)
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_log(log: pd.DataFrame, chosen: int, title: str, columns: Mapping[str, tuple[str, str]], y_label: str) -> str:
    """Draw columns of a log by epoch, the chosen epoch marked; a column has a name and a colour."""
    values = log[list(columns)].stack().dropna()
    low, high = figures.fit_range(float(values.min()), float(values.max()), 0.1)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    first, last = figures.fit_range(float(log["epoch"].min()), float(log["epoch"].max()), 0.5)
    figure = figures.new_figure(FIGURE_WIDTH, 270)
    axis = figures.add_panel(figure, (46, 50, 248, 176), (first, last), (low, high), "epoch", y_label)
    axis.xaxis.get_major_locator().set_params(integer=True)
    write_title(axis, title)
    figures.draw_line(axis, [chosen, chosen], [low, high], f"epoch {chosen} chosen", **REFERENCE)
    figures.write(axis, f"epoch {chosen} chosen", (last, high), (70, 10), ha="right", **REMARK)
    ends, told = [], []
    at_chosen = log[log["epoch"] == chosen]
    for column, (name, colour) in columns.items():
        known = log[["epoch", column]].dropna()
        if known.empty:
            continue
        figures.draw_line(axis, *figures.thin(*known.to_numpy().T, 400), name, color=colour, linewidth=1.8)
        ends.append((known[column].iloc[-1], name, colour))
        value = at_chosen[column].iloc[0]
        if not math.isnan(value):
            figures.draw_marks(axis, [chosen], [value], colour)
            told.append(f"{name} {show(value)}")
    unit = (high - low) / axis.bbox.height
    places = figures.spread([end for end, _, _ in ends], [14 * unit] * len(ends), low, high)
    for (_, name, colour), place in zip(ends, places, strict=True):
        figures.write(axis, name, (last, place), (6, -4), color=colour)
    label = f"{title}, {len(log)} epochs; at epoch {chosen}, which was chosen: {', '.join(told)}."
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_curves(title: str, curves: Mapping[str, pd.DataFrame], areas: Mapping[str, float], fraction: float) -> str:
    """Draw precision against recall for each score of links, with a key of names and AUPRC below."""
    rows = -(-len(curves) // 2)
    figure = figures.new_figure(FIGURE_WIDTH, 360 + 18 * rows)
    y_label = "precision: fraction that is regulated"
    x_label = "recall: fraction of the regulated pairs that is found"
    axis = figures.add_panel(figure, (40, 50, 324, 264), (0, 1), (0, 1), x_label, y_label)
    write_title(axis, title)
    axis.plot([0, 1], [fraction] * 2, linestyle=figures.DASHED, **REFERENCE)
    key = figures.add_panel(figure, (40, 360, 324, 18 * rows), (0, 324), (18 * rows, 0), ticks=(0, 0))
    key.spines["bottom"].set_visible(False)
    for number, (name, curve) in enumerate(curves.items()):
        colour, dashes = LINES[name]
        told = f"{NAMES[name]} {show(areas.get(name, math.nan))}"
        style = {"color": colour, "linestyle": dashes, "linewidth": 1.8}
        found = curve[curve["recall"] > 0]
        recall, precision = [0, *found["recall"]], [*found["precision"][:1], *found["precision"]]
        figures.draw_line(axis, recall, precision, told, drawstyle="steps-pre", **style)
        x, y = 192 * (number // rows) - 34, 18 * (number % rows) + 9
        key.plot([x, x + 22], [y, y], clip_on=False, **style)
        figures.write(key, told, (x + 28, y), (0, -4), color=colour)
    told = ", ".join(f"{NAMES[name]} {show(areas.get(name, math.nan))}" for name in curves)
    label = f"Precision against recall, {title}. Area under the curve (AUPRC): {told}; at random {fraction:.3f}."
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_locus(locus: Locus, unit: str, label: str) -> str:
    """Draw arcs from a gene to its best cCREs, below them genes, cCREs and the signal of each track."""
    tracks = list(locus.tracks.items())[:MOST_TRACKS]
    left, wide, arcs, row = 96, WIDE - 96 - 16, 150, 36
    figure = figures.new_figure(WIDE, 50 + arcs + 62 + row * len(tracks) + 44)
    ends = (locus.start / 1000, locus.end / 1000)  # kb
    best = locus.links[locus.links["best"]]
    low, high = min(0.0, best[locus.score].min()), max(0.0, best[locus.score].max())
    low, high = figures.fit_range(1.06 * low, 1.06 * high, 0.1)
    axis = figures.add_panel(figure, (left, 50, wide, arcs), ends, (low, high), "", unit, ticks=(0, 4))
    write_title(axis, f"{show_value(locus.gene, 30)} in {show_value(locus.cell, 30)}")
    axis.spines["bottom"].set_visible(False)
    axis.axhline(0, **REFERENCE)
    step, most = np.linspace(0, np.pi, 61), best[locus.score].abs().max() or 1
    for link in best.sort_values(locus.score, key=abs).itertuples():
        value, middle = getattr(link, locus.score), (link.chromStart + link.chromEnd) / 2
        xs = (locus.tss + middle) / 2 - (middle - locus.tss) / 2 * np.cos(step)
        colour = NETWORK_COLOUR if value > 0 else BASELINE_COLOUR
        told = f"{middle - locus.tss:+,.0f} bp: {value:.4g}"
        width = 1 + 3 * abs(value) / most
        figures.draw_line(axis, xs / 1000, value * np.sin(step), told, color=colour, linewidth=width, alpha=0.8)
    strip = figures.add_panel(figure, (left, 50 + arcs + 4, wide, 54), ends, (54, 0), ticks=(0, 0))
    strip.spines["bottom"].set_visible(False)
    named = locus.genes if len(locus.genes) <= NAMED_GENES else locus.genes[locus.genes["gene_id"] == locus.gene]
    draw_genes(strip, locus, named)
    starts, stops = (locus.links[name].clip(locus.start, locus.end) / 1000 for name in ("chromStart", "chromEnd"))
    least = 2.5 * (ends[1] - ends[0]) / wide
    middles, widths = (starts + stops) / 2, np.maximum(stops - starts, least)
    strip.bar(middles, 10, widths, 40, color=figures.COUNT)
    figures.write(strip, "cCREs", (ends[0], 45), (-10, -4), ha="right")
    for number, (name, signal) in enumerate(tracks):
        last = number == len(tracks) - 1
        top = 50 + arcs + 62 + row * number
        most = float(np.nanmax(signal, initial=0)) or 1
        panel = figures.add_panel(figure, (left, top + 6, wide, row - 6), ends, (0, most), ticks=(0, 0))
        if last:
            set_kb_axis(panel, locus)
        panel.bar(middles, signal, widths, color=figures.COUNT, alpha=0.75)
        figures.write(panel, show_value(name, 13), (ends[0], most / 2), (-10, -1), ha="right")
        figures.write(
            panel, f"0 to {most:.3g}", (ends[0], most / 2), (-10, -13), ha="right", color=figures.QUIET, size=9.5
        )
    if not tracks:
        set_kb_axis(strip, locus)
    return figures.to_svg(figure, label, PALETTE)


def draw_genes(axis, locus: Locus, named: pd.DataFrame) -> None:
    """Draw the TSSs of a locus as arrows in the direction of transcription, and write the names of some genes."""
    span = (locus.end - locus.start) / 1000
    for row in locus.genes.itertuples():
        colour, width = (NETWORK_COLOUR, 2) if row.gene_id == locus.gene else (figures.QUIET, 1.2)
        x, ahead = row.tss / 1000, 0.012 * span * (1 if row.strand == "+" else -1)
        figures.draw_line(
            axis, [x, x, x + ahead], [36, 26, 26], row.gene_id, color=colour, linewidth=width, clip_on=False
        )
        tip = [26 - 3, 26, 26 + 3]
        axis.plot([x + 0.6 * ahead, x + ahead, x + 0.6 * ahead], tip, color=colour, linewidth=width, clip_on=False)
    labels = [
        (row.tss / 1000, show_value(row.gene_id, 20), NETWORK_COLOUR if row.gene_id == locus.gene else figures.QUIET)
        for row in named.itertuples()
    ]
    figures.write_row(axis, labels, 26, 8)
    figures.write(axis, "TSS", (locus.start / 1000, 30), (-10, -4), ha="right")


def set_kb_axis(axis, locus: Locus) -> None:
    """Give a panel the axis of positions."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axis.spines["bottom"].set_visible(True)
    axis.set_xlabel(f"position on chromosome {show_value(locus.chromosome, 30)}, kb")


# -------------------------------------------------------------------------------------------------- sections
def headline(run: Run) -> tuple[str, str]:
    """Return the result on the hardest split in a sentence, and in a second one what the baselines make of it."""
    if not run.splits:
        return headline_of_links(run)
    split = run.splits[0]
    rows = run.rows(split)
    network = rows.iloc[0]
    if math.isnan(network["Pearson"]):
        return f"There is no Pearson correlation {PLACES[split]}.", "One gene only, or a constant prediction."
    first = f"{PLACES[split][0].upper()}{PLACES[split][1:]}, predicted and measured expression correlate at Pearson "
    first += f"{tell(network, 'Pearson')}; {network['genes']:,.0f} genes, {network['values']:,.0f} values."
    if not math.isnan(network["change_Pearson"]):
        first += f" Changes against the gene's mean over training cells correlate at {tell(network, 'change_Pearson')}."
    others = rows[(rows["predictor"] != NETWORK) & rows["Pearson_difference"].notna()]
    if others.empty:
        return first, "No baseline is known here, so there is nothing to compare these numbers with."
    return first, compare(split, others)


def compare(split: str, others: pd.DataFrame) -> str:
    """Return whether the network is above all baselines of a split, by the intervals of the paired differences."""
    above, below = others["Pearson_difference_low"] > 0, others["Pearson_difference_high"] < 0
    hard = "" if split == "both" else " No held-out cell is scored on held-out chromosomes: this is the hardest split."
    strongest = others.loc[others["Pearson"].idxmax()]
    gap = f"{show(strongest['Pearson_difference'], SIGNED)}, p {show(strongest['Pearson_difference_p'])}"
    if above.all():
        return (
            f"The network is above all {len(others)} baselines there; from the strongest, "
            f"{NAMES[strongest['predictor']]}, it differs by {gap}.{hard}"
        )
    parts = []
    for verdict, some in (("below", below), ("not distinguishable from", ~(above | below)), ("above", above)):
        if some.any():
            parts.append(f"{verdict} {join([NAMES[name] for name in others.loc[some, 'predictor']])}")
    return f"The network is not above all baselines there: it is {'; '.join(parts)}.{hard}"


def headline_of_links(run: Run) -> tuple[str, str]:
    """Return what the scores of links say, where there are none of expression."""
    rows = run.links[run.links["distance"] == "all"].set_index("score") if run.links is not None else pd.DataFrame()
    ours = [name for name in LINK_SCORES if name in rows.index and not math.isnan(rows.loc[name, "AUPRC"])]
    if not ours:
        return "Nothing is scored yet.", "CREaTor.py evaluate scores expression and links."
    best = max(ours, key=lambda name: rows.loc[name, "AUPRC"])
    row = rows.loc[best]
    first = (
        f"{row['pairs']:,.0f} pairs of an element and a gene, {row['regulated']:,.0f} of them regulated, are ranked "
    )
    first += f"best by {NAMES[best]}, of CREaTor's {len(ours)} scores: AUPRC {tell(row, 'AUPRC')}."
    other = max(BASELINES, key=lambda name: rows.loc[name, "AUPRC"] if name in rows.index else -1)
    gap, p = row[f"AUPRC_minus_{other}"], row[f"AUPRC_minus_{other}_p"]
    verdict = "not distinguishable from" if p >= 0.05 or math.isnan(p) else "above" if gap > 0 else "below"
    return first, (f"That is {verdict} the strongest baseline, {NAMES[other]}: {show(gap, SIGNED)}, p {show(p)}.")


def join(names: Sequence[str]) -> str:
    """Return names as in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def tell(row: pd.Series, name: str) -> str:
    """Return 0.361 (95 % interval 0.266 to 0.452) of a measure."""
    low, high = (show(row[f"{name}_{end}"]) for end in ("low", "high"))
    return f"{show(row[name])} (95\N{NO-BREAK SPACE}% interval {low} to {high})"


def span(row: pd.Series, name: str, pattern: str = "{:.3f}") -> str:
    """Return 0.266 to 0.452, the interval of a measure; a dash where it has none."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return page.DASH if math.isnan(low + high) else f"{show(low, pattern)} to {show(high, pattern)}"


def show(value: float, pattern: str = "{:.3f}") -> str:
    """Return 0.361, or a number of three decimals in another pattern, never as -0.000; a dash for nan."""
    return show_number(round(value, 3) + 0.0, pattern)


def expression_dots(rows: pd.DataFrame, measure: str) -> list[Dot]:
    """Return a measure of each predictor of a split."""
    return [
        Dot(
            NAMES[row["predictor"]],
            *(row[f"{measure}{end}"] for end in ("", "_low", "_high")),
            *((NETWORK_COLOUR, "o") if row["predictor"] == NETWORK else (BASELINE_COLOUR, "D")),
        )
        for _, row in rows.iterrows()
    ]


def link_dots(rows: pd.DataFrame) -> list[Dot]:
    """Return the AUPRC of each score of a range of distances, CREaTor's first."""
    rows = rows.sort_values("score", key=lambda names: names.map(list(LINES).index), kind="stable")
    return [
        Dot(
            NAMES[row["score"]],
            *(row[f"AUPRC{end}"] for end in ("", "_low", "_high")),
            *((NETWORK_COLOUR, "o") if row["score"] in LINK_SCORES else (BASELINE_COLOUR, "D")),
        )
        for _, row in rows.iterrows()
    ]


def describe_dots(title: str, groups: Mapping[str, Sequence[Dot]]) -> str:
    """Return the values of a figure of dots in words."""
    told = [
        f"{name or 'all'}: " + ", ".join(f"{dot.name} {show(dot.value)}" for dot in group)
        for name, group in groups.items()
    ]
    return f"{title}. {'; '.join(told)}."


def make_headline_figure(run: Run) -> page.Figure:
    """Return the headline as a figure."""
    if run.splits:
        split = run.splits[0]
        groups = {name_split(split): expression_dots(run.rows(split), "Pearson")}
        title, x_label = f"Expression, {name_split(split)}", "Pearson correlation"
    elif run.links is not None and len(run.links):
        groups = {"all": link_dots(run.links[run.links["distance"] == run.links["distance"].iloc[0]])}
        title, x_label = "AUPRC, all tested pairs", "AUPRC (average precision)"
    else:
        groups = {"": [Dot(NAMES[NETWORK], *[math.nan] * 3, NETWORK_COLOUR, "o")]}
        title = x_label = "Pearson correlation"
    caption = "Dot: CREaTor; diamonds: baselines. Bars: 95\N{NO-BREAK SPACE}% bootstrap intervals."
    return page.Figure(draw_dots(title, x_label, groups, describe_dots(title, groups)), caption)


def name_split(split: str) -> str:
    """Return a split and what it is."""
    cells, chromosomes = SPLITS[split]
    return f"{split}: cells {cells}, chromosomes {chromosomes}" if split else "trained elsewhere"


def make_result(run: Run) -> page.Section | None:
    """Return a table for each split: the network beside the baselines."""
    if not run.splits:
        return page.Section("Result", [page.Bullets(run.doubts, warn=True)]) if run.doubts else None
    text = (
        "Each table is a split of cells and chromosomes, the hardest first; a predictor has a row. Intervals are of "
        "1,000 bootstrap draws of genes. Columns 'CREaTor minus it' have the paired difference on the same draws, with "
        "its two-sided p-value. MAE is the mean absolute error in log1p(TPM). Changes are against the gene's mean over "
        "the (other) training cells. A dash: not defined, as for a constant prediction."
    )
    baselines = explain([name for name in run.scored["predictor"].unique() if name != NETWORK])
    tables = [make_split_table(split, run.rows(split)) for split in run.splits]
    return page.Section("Result", [page.Bullets(run.doubts, warn=True), text, baselines, *tables])


def explain(names: Sequence[str], title: str = "") -> page.Bullets:
    """Return what predictors or scores are."""
    return page.Bullets([f"{NAMES[name]}: {EXPLAINED[name]}" for name in names], title)


def make_split_table(split: str, rows: pd.DataFrame) -> page.Table:
    """Return the scores of a split as a table."""
    interval, minus = "95\N{NO-BREAK SPACE}% interval", "CREaTor minus it"
    head = ["", "Pearson", interval, minus, interval, "p", "Spearman", "MAE"]
    head += ["Pearson of changes", interval, minus, "p"]
    lines = []
    for _, row in rows.iterrows():
        cells = [NAMES[row["predictor"]], show(row["Pearson"]), span(row, "Pearson")]
        cells += [show(row["Pearson_difference"], SIGNED), span(row, "Pearson_difference", SIGNED)]
        cells += [show(row[name]) for name in ("Pearson_difference_p", "Spearman", "MAE", "change_Pearson")]
        cells += [span(row, "change_Pearson"), show(row["change_Pearson_difference"], SIGNED)]
        lines.append([*cells, show(row["change_Pearson_difference_p"])])
    known = [place for place in range(len(head)) if any(line[place] != page.DASH for line in lines)]
    head, lines = [head[place] for place in known], [[line[place] for place in known] for line in lines]
    first = rows.iloc[0]
    title = f"{name_split(split)} ({show_count(first['genes'])} genes, {show_count(first['values'])} values)"
    return page.Table(f"Scores, {name_split(split)}", head, lines, bold=NAMES[NETWORK], title=title)


def make_scatter(run: Run) -> page.Section | None:
    """Return predicted against measured expression, a figure for each split."""
    if run.predictions is None:
        return None
    known = run.predictions.dropna(subset=["predicted", "observed"])
    if known.empty:
        return None
    values = known[["predicted", "observed"]].to_numpy()
    ends = figures.fit_range(float(values.min()), float(values.max()), 0.5)
    panels = []
    for split in HARDEST:
        some = known[known["split"] == split]
        if some.empty:
            continue
        title, count = name_split(split), f"{len(some):,} values of {some['gene_id'].nunique():,} genes"
        caption = f"{count}; grey: number of values in each square; dashed: predicted equals measured."
        label = f"Predicted against measured expression, {title}: {count}."
        if split in run.splits:
            row = run.rows(split).iloc[0]
            label += f" Pearson {show(row['Pearson'])}, mean absolute error {show(row['MAE'])}."
            if row["values"] < len(some):
                caption += (
                    f" {len(some) - int(row['values']):,} are not scored: see {EXPRESSION_SCORED} in the documentation."
                )
        svg = draw_scatter(title, some["predicted"].to_numpy(), some["observed"].to_numpy(), ends, label)
        panels.append([page.Figure(svg, caption)])
    text = "All splits have the same axes. Points above the dashed line are predicted too high."
    return page.Section("Predicted against measured expression", [text, page.Columns(panels)])


def make_baselines(run: Run) -> page.Section | None:
    """Return Pearson of expression and of changes of each split and predictor as dots with intervals."""
    if not run.splits:
        return None
    panels = []
    for measure, title, x_label in (
        ("Pearson", "Expression", "Pearson correlation"),
        ("change_Pearson", "Changes between cells", "Pearson correlation of changes"),
    ):
        groups = {name_split(split): expression_dots(run.rows(split), measure) for split in run.splits}
        if any(not math.isnan(dot.value) for group in groups.values() for dot in group):
            svg = draw_dots(title, x_label, groups, describe_dots(x_label, groups))
            caption = "Dots: CREaTor; diamonds: baselines, on the same values. Bars: 95\N{NO-BREAK SPACE}% intervals."
            panels.append([page.Figure(svg, f"{caption} Further right is better.")])
    text = (
        "Intervals that overlap may still belong to a clear difference: predictors are compared on the same draws of "
        "genes, see the column 'CREaTor minus it' above."
    )
    return page.Section("Beside the baselines", [text, page.Columns(panels)]) if panels else None


def make_training(run: Run) -> page.Section | None:
    """Return loss and correlation by epoch."""
    if run.log is None:
        return None
    log = run.log.dropna(subset=["epoch", "val_loss"])
    if log.empty:
        return None
    chosen = int(log["epoch"].iloc[training.best_epoch(log.to_dict("records"))])
    text = (
        f"Training chose epoch {chosen}, which has the lowest loss on the validation chromosomes in training cells. "
        "Nothing of held-out cells and chromosomes was looked at. Epochs count from 0."
    )
    weight = run.train.get("settings", {}).get("change_weight", 0)
    changes = f", with {weight:g} times that of changes between cells" if weight else ""
    panels = []
    for title, y_label, names, caption in (
        (
            "Loss by epoch",
            "loss" if changes else "mean squared error",
            {"loss": ("training", figures.QUIET), "val_loss": ("validation", NETWORK_COLOUR)},
            f"Mean squared error of {LOG1P}{changes}; lower is better. The training loss is taken while weights "
            "change, with dropout. A validation loss that rises while the other falls is overfitting.",
        ),
        (
            "Correlation by epoch",
            "Pearson correlation",
            {"val_pearson": ("validation", NETWORK_COLOUR)},
            f"Predicted and measured {LOG1P} on the validation chromosomes; higher is better. It did not choose the "
            "epoch.",
        ),
    ):
        there = {name: style for name, style in names.items() if name in log and log[name].notna().any()}
        if there:
            panels.append([page.Figure(draw_log(log, chosen, title, there, y_label), caption)])
    return page.Section("Training", [text, page.Columns(panels)])


def make_links(run: Run) -> page.Section | None:
    """Return the scores of links on tested pairs: dots, curves and table by distance."""
    if run.links is None:
        return None
    ranges = list(dict.fromkeys(run.links["distance"]))
    text = (
        "Pairs of an element and a gene that were tested by silencing the element: are the pairs in which expression "
        "fell ranked first? Ranges are of the distance between element and TSS."
    )
    groups, panels = {}, []
    for distance in ranges:
        rows = run.links[run.links["distance"] == distance]
        first = rows.iloc[0]
        name = f"{distance}: {show_count(first['pairs'])} pairs, {show_count(first['regulated'])} regulated"
        groups[name] = link_dots(rows)
        if run.curves is None:
            continue
        some = run.curves[run.curves["distance"] == distance]
        there = {score: some[some["score"] == score] for score in LINES if (some["score"] == score).any()}
        if there:
            areas = dict(zip(rows["score"], rows["AUPRC"], strict=True))
            svg = draw_curves(name, there, areas, first["regulated"] / max(first["pairs"], 1))
            panels.append([page.Figure(svg, "Higher is better; numbers are AUPRC. Dashed: at random.")])
    title = "AUPRC by distance"
    x_label = "AUPRC (average precision)"
    caption = (
        "Dots: CREaTor's scores; diamonds: scores by distance and signal alone. Bars: 95\N{NO-BREAK SPACE}% bootstrap "
        "intervals. Compare within a range: the AUPRC at random is the fraction of regulated pairs."
    )
    dots = page.Figure(draw_dots(title, x_label, groups, describe_dots(title, groups)), caption)
    there = [name for name in LINES if (run.links["score"] == name).any()]
    explained = [
        explain([name for name in there if name in LINK_SCORES], "CREaTor's scores"),
        explain([name for name in there if name in BASELINES], "Baselines"),
    ]
    blocks = [page.Columns([[dots], [text, *explained]]), page.Columns(panels), make_link_table(run.links, ranges)]
    return page.Section("Links against tested pairs", [block for block in blocks if block != page.Columns([])])


def make_link_table(links: pd.DataFrame, ranges: Sequence[str]) -> page.Table:
    """Return the scores of links as a table."""
    interval = "95\N{NO-BREAK SPACE}% interval"
    head = ["score", "distance", "AUPRC", interval, "AUROC", interval]
    head += [f"AUPRC minus that of {NAMES[name]} (p)" for name in BASELINES]
    lines = []
    for distance in ranges:
        for _, row in links[links["distance"] == distance].iterrows():
            cells = [NAMES[row["score"]], distance]
            for measure in ("AUPRC", "AUROC"):
                cells += [show(row[measure]), span(row, measure)]
            for name in BASELINES:
                gap, p = row[f"AUPRC_minus_{name}"], row[f"AUPRC_minus_{name}_p"]
                told = show(gap, SIGNED)
                cells.append(told if told == page.DASH else f"{told} ({show(p)})")
            lines.append(cells)
    return page.Table("Scores of links by distance", head, lines)


def make_locus(run: Run) -> page.Section | None:
    """Return the arcs of one gene."""
    locus = run.locus
    if locus is None:
        return None
    name = NAMES[locus.score]
    unit = f"{name}: drop in predicted {LOG1P}" if locus.score == "ablation" else f"{name}, no unit"
    best = locus.links[locus.links["best"]]
    row = best.loc[best[locus.score].idxmax()]
    distance = (row["chromStart"] + row["chromEnd"]) / 2 - locus.tss
    side = "downstream" if (distance > 0) == (locus.strand == "+") else "upstream"
    text = (
        f"Of all genes {PLACES[locus.split]}, {show_value(locus.gene)} has the link of the highest score: {name} "
        f"{row[locus.score]:.4g} of the cCRE {abs(distance):,.0f} bp {side} of its TSS. "
        f"It was not chosen by hand, and it is no typical gene. {locus.in_reach:,} cCREs are in its reach, "
        f"{len(locus.links):,} in this interval."
    )
    caption = f"Arcs: from the TSS of {show_value(locus.gene)} to its {len(best)} best cCREs; height and width: score. "
    if locus.score == "ablation":
        caption += "Arcs upwards: the cCRE raises the prediction; downwards: it lowers it. "
    if locus.tracks:
        caption += (
            "Bars below: mean signal of each cCRE per base, as it stands in the store; each row has its own scale. "
        )
    caption += "Arrows: TSSs and the direction of transcription."
    label = (
        f"Links of {show_value(locus.gene)} in {show_value(locus.cell)} on chromosome {show_value(locus.chromosome)}, "
        f"{locus.start:,} to {locus.end:,} bp. "
        + "; ".join(
            f"cCRE at {(link.chromStart + link.chromEnd) / 2 - locus.tss:+,.0f} bp: {getattr(link, locus.score):.3g}"
            for link in best.itertuples()
        )
    )
    return page.Section(
        "Links of one gene", [text, page.Figure(draw_locus(locus, unit, f"{label}."), caption, wide=True)]
    )


def make_absent(run: Run) -> page.Section | None:
    """Return what is left out, and why."""
    return page.Section("Not on this page", [page.Bullets(run.absent)]) if run.absent else None


def make_facts(run: Run) -> page.Section:
    """Return store, model, options, settings, versions and the command."""
    import matplotlib

    record, trained = run.record, run.train

    def show(value: object) -> str:
        if isinstance(value, list):
            return ", ".join(map(str, value)) or "none"
        if isinstance(value, dict):
            return " · ".join(f"{name} {show(each)}" for name, each in value.items())
        return f"{value:g}" if isinstance(value, float) else str(value)

    facts = {
        "Folder": run.folder.resolve(),
        "Store": record.get("store"),
        "Identity of the store": record.get("store_identity"),
        "Model": record.get("model"),
        "SHA-256 of the model": record.get("model_sha256"),
        "Cells predicted": record.get("cells"),
        "Genes": record.get("genes"),
        "Genes without cCRE in reach": record.get("genes_without_ccre"),
        "Held-out cells": record.get("hold_out_cells"),
        "Held-out chromosomes": record.get("hold_out_chromosomes"),
        "Validation chromosomes": record.get("validation_chromosomes"),
        "Options of the store": record.get("options"),
        "Settings of the training": trained.get("settings"),
        "CREaTor": " · ".join(
            f"{what} {source['creator_version']}"
            for what, source in (("trained with", trained), ("predicted with", record), ("page by", VERSION))
            if "creator_version" in source
        ),
        "Versions": f"Python {platform.python_version()} · numpy {np.__version__} · pandas {pd.__version__} · "
        f"matplotlib {matplotlib.__version__} (of the page)",
    }
    known = {name: show(value) for name, value in facts.items() if value is not None}
    return page.Section(
        "What was run", [known, page.Code(f"python CREaTor.py evaluate {run.folder}", "Write it again")]
    )


VERSION = {"creator_version": __version__}
SECTIONS = (
    make_result, make_scatter, make_baselines, make_training, make_links, make_locus, make_absent, make_facts,
)  # fmt: skip


# -------------------------------------------------------------------------------------------------- the page
def build_page(run: Run) -> str:
    """Return the whole page as HTML."""
    lead, verdict = headline(run)
    name = show_value(run.folder.resolve().name, 80)
    facts = []
    for key, what in (("genes", "gene"), ("cells", "cell")):
        value = run.record.get(key)
        count = len(value) if isinstance(value, list) else value
        if isinstance(count, int):
            facts.append(f"{count:,} {what}{'s' * (count != 1)}")
    facts.append(f"CREaTor {__version__}")
    sections = [make_section(run) for make_section in SECTIONS]
    return page.render_page(
        page.Page(
            title=f"{name}: CREaTor report",
            heading=name,
            above="CREaTor · gene expression and cCRE-gene links from cis-regulatory elements",
            below=" · ".join(facts),
            lead=lead,
            verdict=verdict,
            figure=make_headline_figure(run),
            sections=[section for section in sections if section],
            footer="Written by CREaTor.py evaluate from the files of the folder. Methods: docs/creator_evaluate.md.",
            palette=PALETTE,
        )
    )


def write_report(folder: Path, store_path: Path | None = None) -> Path:
    """Write report.html into a folder that `predict` wrote, from what is there, and return its path.

    Args:
        folder: see `read_run`.
        store_path: where the store is; None: where predict.json says.

    Raises:
        InputError: a folder has the page's name.
        OSError: the page cannot be written; an earlier one stays as it was.
    """
    html = build_page(read_run(folder, store_path))
    write_text(folder / PAGE, html)
    return folder / PAGE
