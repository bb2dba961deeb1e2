"""The page of a finished run.

Reads only files that the trainer wrote (and profile.csv of lcre_explain.py, if it is there) and writes
saved_models/yeast_report.html. The order of this file: read the run, compute, draw the figures (`core.figures`), say
what stands in the sections, put the page together (`core.page`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, figures, page, scores, show_value
from core.files import write_text
from core.page import show_count, show_date, show_number, show_percent, show_seconds, show_size
from lcre import audit_page
from lcre.controls import CONTROLS
from lcre.hold_out import WAYS, Way, way_of
from lcre.records import fold_folder, held_out_groups, read_record
from lcre.results import RESULT_COLUMNS
from lcre.settings import FORMER_MODELS
from lcre.trained import TRAIN_AGAIN, parse_numbers, read_columns, read_held_out
from lcre.variant_effects import EFFECTS_CHECKED

LOG_NUMBERS = ["epoch", "loss", "val_loss", "val_auROC", "test_loss", "test_auROC"]
PROFILE_NUMBERS = ["position", "mean_abs_contribution"]
CONTROL_NUMBERS = (
    *("genes", "auROC", "auROC_low", "auROC_high", "kmer_auROC"),
    *("difference", "difference_low", "difference_high", "p"),
)
EXPLAIN_AGAIN = "lcre_explain.py writes it again; without the file the page is written without its section"


STRONGER = {  # column of a regression that may be stronger than the k-mer baseline -> what it is on
    "outside_auROC": "k-mers by place outside of the gene",
    "inside_auROC": "k-mers and codons by place inside the gene",
    "codon_auROC": "codon usage and lengths of the coding sequence",
}
NEEDED = ["auROC", "auROC_low", "auROC_high", "kmer_auROC", "gc_auROC", "best_epoch"]  # figures and sentences use them
LEADING = (  # first columns of the page's table
    *("chromosome", "auROC", "auROC_low", "kmer_auROC", "gc_auROC"),
    *("outside_auROC", "inside_auROC", "codon_auROC"),
)
NOT_SHOWN = ("organism", "auROC_high", "seconds")  # stands above; stands with auROC_low; of the run stands below
FORMATS = {"score": show_number, "count": show_count, "seconds": show_seconds, "text": str}

DEFAULTS = {  # of runs before the record had `defaults`
    "TARGET_COLUMN": "logMaxTPM",
    "HOLD_OUT": "chromosome",
    "FOLDS": 5,
    "CHROMOSOMES": "all",
    "UPSTREAM": 1000,
    "DOWNSTREAM": 500,
    "PADDING": 20,
    "LOW_PERCENTILE": 25,
    "HIGH_PERCENTILE": 75,
    "SELECT_ON": "validation",
    "MODEL": "cnn_lstm_kmer",
    "EPOCHS": None,
    "BATCH_SIZE": None,
    "LEARNING_RATE": None,
    "SAVED_MODELS": "saved_models",
}
INPUT_SETTINGS = {"DATASET", "ORGANISM", "FASTA", "GTF", "TPM", "VALIDATION_GENES", "FAMILIES", "SPECIES"}
CLASSES = ("low", "high", "middle")  # by target: 0, 1, 2
CALIBRATION_BINS = 10  # equal widths of probability
CALLED_HIGH_ABOVE = 0.5  # as Keras' binary accuracy: a probability of exactly 0.5 is called low
QUARTILE_GENES = 80  # fewest genes that a point of the running median stands for
TABLE_ROWS = 60  # longest per-chromosome table; the rest of a scaffold-rich genome is one row
CURVE_POINTS = 12_000  # of all curves of one kind together, so that the page stays small with many folds
FIGURE_WIDTH = 380  # units; a phone shows them at about 0.9, a desktop at about 1.2

PALETTE = {  # CSS variable -> on white, on dark
    "network": ("#0069ad", "#62b5f2"),
    "kmer": ("#b84a00", "#f2935a"),
    "gc": ("#846100", "#d8b545"),
    "low": ("#a03c79", "#e591c3"),
    "high": ("#00765a", "#42c9a0"),
}
NETWORK, KMER, GC, LOW, HIGH = (white for white, _ in PALETTE.values())
COLOUR_OF_CLASS = {"low": LOW, "high": HIGH, "middle": figures.QUIET}


# Reading the run --------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What the files of one run say; `scored` holds a row for every gene and fold that scores it."""

    prefix: Path
    organism: str
    info: dict  # O_run.json
    result: pd.DataFrame  # O_result.csv, the row `pooled` first
    predictions: pd.DataFrame
    genes: pd.DataFrame
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns of predictions, and fold
    logs: dict[str, pd.DataFrame] = field(default_factory=dict)
    profile: pd.DataFrame | None = None
    controls: pd.DataFrame | None = None  # O_controls.csv
    warnings: list[str] = field(default_factory=list)

    @property
    def pooled(self) -> pd.Series:
        """The row of all scored genes together."""
        return self.result.iloc[0]

    @property
    def folds(self) -> pd.DataFrame:
        """The rows of single folds."""
        return self.result.iloc[1:]

    @property
    def optimistic(self) -> bool:
        """True where the epoch was chosen on the genes that are scored (SELECT_ON=test)."""
        return str(self.info.get("settings", {}).get("SELECT_ON", "")).lower() == "test"

    @property
    def way(self) -> Way:
        """The words for what the folds hold out."""
        return WAYS[way_of(self.info.get("settings", {}))]

    @property
    def control(self) -> str | None:
        """The control that the run is; None: it is none."""
        return self.info.get("settings", {}).get("CONTROL")

    @property
    def mark(self) -> str:
        """What follows the name of every score of the network."""
        return " (optimistic)" if self.optimistic else ""


def read_run(prefix: Path) -> Run:
    """Read every file of the run whose names start with `prefix` (saved_models/O).

    Raises InputError when there is no run, when it is unfinished, or when a file is not as the trainer
    writes it.
    """
    result_path, predictions_path = Path(f"{prefix}_result.csv"), Path(f"{prefix}_predictions.csv")
    if not result_path.is_file():
        raise InputError(explain_missing_run(prefix))
    result = read_result(result_path)
    info = read_run_record(Path(f"{prefix}_run.json"))
    names = ["gene_id", "chromosome"]
    predictions = read_columns(predictions_path, names, ["target", "logMaxTPM", "probability"])
    run = Run(
        prefix=prefix,
        organism=str(info.get("organism") or prefix.name),
        info=info,
        result=result,
        predictions=predictions,
        genes=read_columns(Path(f"{prefix}_genes.csv"), [*names, "status"]),
        warnings=list(info["warnings"]),
    )
    parts = []
    for fold in run.folds["chromosome"]:
        folder = fold_folder(prefix, fold)
        run.logs[fold] = read_columns(folder / "performance_log.csv", [], LOG_NUMBERS).dropna(subset=["epoch"])
        roles = read_columns(folder / "genes.csv", ["gene_id", "role"]).groupby("role")["gene_id"].agg(set)
        test = predictions[predictions["gene_id"].isin(roles.get("test", set()))]
        parts.append(test[test["target"].isin([0, 1])].assign(fold=fold))
        leaked = find_held_out(run, fold, test) & (roles.get("train", set()) | roles.get("validation", set()))
        if leaked:
            run.warnings.insert(0, f"LEAK: {len(leaked):,} genes of held-out {fold} took part in its training.")
    scored = pd.concat(parts, ignore_index=True)
    run.scored = scored[scored["probability"].notna()].reset_index(drop=True)
    if run.scored.empty:
        raise InputError(f"{predictions_path} has no probability for any test gene: {TRAIN_AGAIN}")
    if len(run.scored) < len(scored):
        without = len(scored) - len(run.scored)
        run.warnings.append(f"{without:,} test genes have no probability and are missing from the pictures.")
    profile = Path(f"{prefix}_explain") / "profile.csv"
    if profile.is_file():
        run.profile = read_columns(profile, ["region", "class"], PROFILE_NUMBERS, EXPLAIN_AGAIN)
    controls = Path(f"{prefix}_controls.csv")
    if controls.is_file():
        run.controls = read_columns(controls, ["control"], [*CONTROL_NUMBERS])
    add_own_warnings(run)
    return run


def find_held_out(run: Run, fold: str, test: pd.DataFrame) -> set[str]:
    """Return the ids of all genes that a fold held out, scored or not, read anew and not by their roles.

    Args:
        run: predictions and record.
        fold: its name.
        test: rows of the predictions that it scores.
    """
    if run.way is WAYS["family"]:
        return set(read_held_out(run.prefix, fold))
    ids, chromosomes = run.predictions["gene_id"], run.predictions["chromosome"]
    if run.way is WAYS["species"]:
        species = held_out_groups(run.info | {"folds": [fold]})[fold]
        return set(ids[ids.str.partition(":")[0].isin(species)])
    return set(ids[chromosomes.isin(set(test["chromosome"]))])


def read_result(path: Path) -> pd.DataFrame:
    """Read O_result.csv, the row `pooled` first; columns that no figure needs may be absent, others may be there.

    Raises InputError as `read_columns` does, and where no row is `pooled`.
    """
    result = read_columns(path, ["chromosome"], NEEDED)
    for column in RESULT_COLUMNS:
        if column.name in result and column.name not in NEEDED and column.format != "text":
            result[column.name] = parse_numbers(path, result[column.name], TRAIN_AGAIN)
    rows = result.index[result["chromosome"] == "pooled"]
    at = rows[0] if len(rows) else 0
    if at == 0:
        raise InputError(f"{path} has no row `pooled` below its folds: the run is unfinished, {TRAIN_AGAIN}")
    return pd.concat([result[at : at + 1], result[:at]])


def read_run_record(path: Path) -> dict:
    """Read O_run.json for the page; what older versions did not write is empty.

    Raises InputError when it is missing or not as the trainer writes it.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: {TRAIN_AGAIN}, it writes what is not there")
    record = read_record(path)
    for name in ("settings", "versions", "inputs", "audit", "defaults"):
        record.setdefault(name, {})
    for name in ("warnings", "notes", "funnel"):
        record.setdefault(name, [])
    if (model := record["settings"].get("MODEL")) in FORMER_MODELS:
        record["settings"]["MODEL"] = FORMER_MODELS[model]
    return record


def explain_missing_run(prefix: Path) -> str:
    """One line on why `prefix` is no finished run, with the runs that are there."""
    beside = [path.name for path in prefix.parent.iterdir()] if prefix.parent.is_dir() else []
    if any(name.startswith((f"{prefix.name}_model_", f"{prefix.name}_run.json")) for name in beside):
        return f"{prefix}_result.csv is not there: the run is unfinished, {TRAIN_AGAIN} and it goes on"
    known = sorted(name.removesuffix("_result.csv") for name in beside if name.endswith("_result.csv"))
    here = ", ".join(str(prefix.parent / name) for name in known[:3]) + ", ..." * (len(known) > 3)
    hint = f"give the prefix of a run, here {here}" if known else "train one with lcre_classifier.py"
    return f"no run at {prefix} ({prefix}_result.csv is missing): {hint}"


def add_own_warnings(run: Run) -> None:
    """Append what the files themselves give reason to doubt."""
    if run.optimistic:
        text = "SELECT_ON=test: the epoch was chosen on the genes that are scored, so every number of the network"
        run.warnings.insert(0, f"{text} on this page is optimistic. SELECT_ON=validation gives one that is not.")
    if len(run.folds) == 1:
        run.warnings.append("One fold only: its genes are one held-out group, not the genome.")
    genes = run.scored.drop_duplicates("gene_id")
    if min((genes["target"] == 0).sum(), (genes["target"] == 1).sum()) < 50:
        run.warnings.append("Fewer than 50 scored genes in a class: the numbers below are rough.")
    measured, written = scores.auroc(genes["target"], genes["probability"]), run.pooled["auROC"]
    if abs(measured - written) > 0.002:
        text = f"The result table gives a pooled auROC of {written:.3f}, the predictions {measured:.3f}"
        run.warnings.append(f"{text}: the files may stem from two runs; train again with --overwrite.")


# Computing --------------------------------------------------------------------------------------------------


def roc_points(genes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, from (0, 0) to (1, 1); empty with one class only."""
    from sklearn.metrics import roc_curve

    if genes["target"].nunique() < 2:
        return np.empty(0), np.empty(0)
    false_rate, true_rate, _ = roc_curve(genes["target"], genes["probability"])
    return false_rate, true_rate


def precision_recall_points(genes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Recall (rising) and precision of the scored genes, see `core.scores.precision_recall`."""
    return scores.precision_recall(genes["target"], genes["probability"])


def calibration(target: Sequence[float], probability: Sequence[float]) -> tuple[pd.DataFrame, float, float]:
    """Reliability of probabilities in ten bins of equal width, [0, 0.1), ... [0.9, 1].

    Returns a frame with a row for each bin that holds genes (bin 0 to 9, mean_probability, share_high, genes,
    and low and high, the 95 % Wilson interval of the share), the Brier score, and the expected calibration
    error: the mean over genes of |share_high - mean_probability| of their bin.
    """
    target, probability = np.asarray(target, float), np.asarray(probability, float)
    # 0.3 * 10 is 3.0000000000000004 in floats, 0.29999... must not become 3: round where floats blur the edge
    bins = np.minimum(np.floor(np.round(probability * CALIBRATION_BINS, 9)), CALIBRATION_BINS - 1)
    frame = pd.DataFrame({"bin": bins, "mean_probability": probability, "share_high": target, "genes": 1.0})
    table = frame.groupby("bin").agg({"mean_probability": "mean", "share_high": "mean", "genes": "sum"})
    table = table.reset_index()
    table["low"], table["high"] = wilson_interval(table["share_high"], table["genes"])
    gap = (table["share_high"] - table["mean_probability"]).abs()
    return (table, float(np.mean((probability - target) ** 2)), float((gap * table["genes"]).sum() / len(target)))


def wilson_interval(share: pd.Series, count: pd.Series) -> tuple[pd.Series, pd.Series]:
    """95 % Wilson score interval of a share among `count` (Wilson 1927)."""
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return middle - half, middle + half


def confusion(genes: pd.DataFrame) -> pd.DataFrame:
    """Counts of genes by measured class (rows low, high, middle: those there are) and call (low, high)."""
    called = np.where(genes["probability"] > CALLED_HIGH_ABOVE, "high", "low")
    measured = genes["target"].map(dict(enumerate(CLASSES)))
    return pd.crosstab(measured, called).reindex(
        index=[name for name in CLASSES if (measured == name).any()], columns=["low", "high"], fill_value=0
    )


def spearman(genes: pd.DataFrame) -> float:
    """Return Spearman's correlation of measured expression and probability; NaN where all are of one value."""
    with np.errstate(invalid="ignore"):
        return float(genes["logMaxTPM"].rank().corr(genes["probability"].rank()))


def running_quartiles(xs: np.ndarray, ys: np.ndarray, bins: int = 20) -> pd.DataFrame:
    """Quartiles of y in up to `bins` groups of equal number along x; empty with too few genes for two."""
    bins = min(bins, len(xs) // QUARTILE_GENES)
    if bins < 2:
        return pd.DataFrame()
    edges = np.unique(np.quantile(xs, np.linspace(0, 1, bins + 1)))[1:-1]
    groups = pd.DataFrame({"x": xs, "y": ys}).groupby(np.searchsorted(edges, xs, side="left"))
    quartiles = groups["y"].quantile([0.25, 0.5, 0.75]).unstack()
    return quartiles.set_axis(["lower", "median", "upper"], axis=1).assign(x=groups["x"].median())


# Figures ----------------------------------------------------------------------------------------------------

METHODS = (  # column, name, colour and mark of a method
    ("auROC", "network", NETWORK, "o"),
    ("kmer_auROC", "k-mers", KMER, "D"),
    ("gc_auROC", "base composition", GC, "s"),
)
SERIES = (  # prefix of columns of a log, name, colour and line of what they are measured on
    ("", "training", figures.QUIET, (0, (4, 3))),
    ("val_", "validation", figures.INK, "solid"),
    ("test_", "held-out", NETWORK, "solid"),
)
INTERVAL = {"color": NETWORK, "linewidth": 2, "alpha": 0.55}
THIN = {"color": NETWORK, "linewidth": 1, "alpha": 0.45}
THICK = {"color": NETWORK, "linewidth": 2.4}
REFERENCE = {"color": figures.QUIET, "linewidth": 1}
REMARK = {"color": figures.QUIET, "size": 11}


@figures.page_style()
def draw_auroc_rows(run: Run, table: pd.DataFrame, label: str) -> str:
    """Draw auROC as dots with intervals, a line for each row: network, k-mers and base composition side by side."""
    names = [show_value(name, 15) if name else "" for name in table["chromosome"]]
    left, height = 12 + 7.9 * max(map(len, names)), 22 * len(table)
    least = table[["auROC", "kmer_auROC", "gc_auROC", "auROC_low"]].min(axis=None)
    low = math.floor(np.nanmin([0.5, least]) * 20 + 1e-9) / 20
    figure = figures.new_figure(FIGURE_WIDTH, 80 + height)
    box, text = (left, 42, FIGURE_WIDTH - left - 46, height), f"auROC{run.mark}; 0.5 is guessing"
    axis = figures.add_panel(figure, box, (low, 1), (len(table), 0), text, ticks=(6, 0))
    axis.axvline(0.5, **REFERENCE)
    places = np.arange(len(table)) + 0.5
    axis.hlines(places, table["auROC_low"], table["auROC_high"], **INTERVAL)
    for column, _, colour, mark in reversed(METHODS):
        figures.draw_marks(axis, table[column], places, colour, mark, run.optimistic and column == "auROC")
    for name, auroc, place in zip(names, table["auROC"], places, strict=True):
        weight = "bold" if name == "pooled" else "normal"
        figures.write(axis, name, (low, place), (-10, -4), ha="right", weight=weight)
        figures.write(axis, show_number(auroc), (1, place), (44, -4), ha="right", color=NETWORK, weight=weight)
    first = [(table[column].iloc[0], name, colour) for column, name, colour, _ in METHODS]
    known = [method for method in first if not math.isnan(method[0])]
    figures.write_row(axis, known, 0.2, 24, leader={"alpha": 0.7, "shrinkA": 0, "shrinkB": 0})
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_roc(run: Run, pooled: pd.DataFrame, precision: bool = False) -> str:
    """Draw the ROC curve, or precision against recall: every fold thin, all scored genes together thick."""
    share = float(pooled["target"].mean())
    if precision:
        x_label, y_label = "recall: share of high genes found", "precision: share of genes called high that are high"
        name, area, points, steps = "auPR", scores.auprc, precision_recall_points, "steps-pre"
        guessing, told_at, side = (share, share), 0.03, "left"
    else:
        x_label, y_label = "share of low genes called high", "share of high genes called high"
        name, area, points, steps = "auROC", scores.auroc, roc_points, "default"
        guessing, told_at, side = (0, 1), 0.97, "right"
    figure = figures.new_figure(FIGURE_WIDTH, 368)
    axis = figures.add_panel(figure, (40, 26, 324, 300), (0, 1), (0, 1), x_label, y_label)
    axis.plot([0, 1], guessing, linestyle=figures.DASHED, **REFERENCE)
    if precision:
        figures.write(axis, f"guessing {share:.2f}", (0.02, share), (0, -16 if share > 0.9 else 7), **REMARK)
    else:
        figures.write(axis, "guessing", (0.62, 0.56), **REMARK)
    if len(run.folds) > 1:
        most = max(20, min(200, CURVE_POINTS // len(run.folds))) // (2 if precision else 1)  # a step has two ends
        for fold, genes in run.scored.groupby("fold", sort=False):
            auroc = show_number(scores.auroc(genes["target"], genes["probability"]))
            title = f"fold {fold}: auROC{run.mark} {auroc}, {len(genes):,} genes"
            figures.draw_line(axis, *figures.thin(*points(genes), most), title, drawstyle=steps, **THIN)
    told = f"{name}{run.mark} {show_number(area(pooled['target'], pooled['probability']))}"
    figures.draw_line(axis, *figures.thin(*points(pooled), 400), f"pooled: {told}", drawstyle=steps, **THICK)
    figures.write(axis, "pooled", (told_at, 0.16), color=NETWORK, ha=side, weight="bold")
    figures.write(axis, told, (told_at, 0.10), color=NETWORK, ha=side)
    label = f"{y_label} against {x_label}: pooled {told}, {len(pooled):,} genes, {len(run.folds)} folds."
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_calibration(bins: pd.DataFrame, brier: float, error: float) -> str:
    """Draw the reliability curve with Wilson intervals, and the number of genes in each bin below it."""
    figure = figures.new_figure(FIGURE_WIDTH, 394)
    y_label = "measured: share of high genes"
    axis = figures.add_panel(figure, (40, 26, 324, 230), (0, 1), (0, 1), "", y_label, ticks=(0, 5))
    axis.plot([0, 1], [0, 1], linestyle=figures.DASHED, **REFERENCE)
    figures.write(axis, "dashed: perfect", (0.98, 0.05), ha="right", **REMARK)
    axis.vlines(bins["mean_probability"], bins["low"], bins["high"], **INTERVAL)
    axis.plot(bins["mean_probability"], bins["share_high"], **THICK)
    figures.draw_marks(axis, bins["mean_probability"], bins["share_high"], NETWORK)

    box, most = (40, 314, 324, 44), float(bins["genes"].max())
    counts = figures.add_panel(figure, box, (0, 1), (0, most), "predicted probability of high", ticks=(5, 0))
    figures.write(counts, "genes in the bin", (0, most), (-30, 24))
    middles = (bins["bin"] + 0.5) / CALIBRATION_BINS
    counts.bar(middles, bins["genes"], 0.94 / CALIBRATION_BINS, color=figures.COUNT, alpha=0.3)
    told = []
    for middle, row in zip(middles, bins.itertuples(), strict=True):
        text = show_count(row.genes)
        figures.write(counts, text, (middle, row.genes), (0, 3), color=figures.QUIET, size=9.5, ha="center")
        told.append(f"{row.mean_probability:.2f} predicted, {row.share_high:.2f} measured ({row.genes:.0f} genes)")
    label = f"Reliability curve. Brier score {brier:.3f}, expected calibration error {error:.3f}."
    return figures.to_svg(figure, f"{label} Bins: {'; '.join(told)}.", PALETTE)


@figures.page_style()
def draw_expression(genes: pd.DataFrame, correlation: float, measure: str) -> str:
    """Draw probability against measured expression of all held-out genes: counts in cells, median and quartiles."""
    measured, probability = genes["logMaxTPM"].to_numpy(), genes["probability"].to_numpy()
    low, high = figures.fit_range(float(measured.min()), float(measured.max()), 0.5)
    figure = figures.new_figure(FIGURE_WIDTH, 342)
    x_label, y_label = f"measured expression, {measure}", "probability of high"
    axis = figures.add_panel(figure, (40, 64, 324, 240), (low, high), (0, 1), x_label, y_label)
    figures.draw_density(axis, measured, probability, (54, 40) if len(genes) >= 3000 else (36, 25))
    lows, highs = (genes.loc[genes["target"] == target, "logMaxTPM"] for target in (0, 1))
    edges = [(lows.max(), f"low ≤ {lows.max():.2f}", LOW), (highs.min(), f"high ≥ {highs.min():.2f}", HIGH)]
    edges = [edge for edge in edges if not math.isnan(edge[0])]
    for x, _, colour in edges:
        axis.plot([x, x], [0, 1.1], color=colour, linewidth=1, alpha=0.7)
    figures.write_row(axis, edges, 1.1, 6)
    middles = running_quartiles(measured, probability)
    if len(middles) > 1:
        axis.plot(middles["x"], middles[["lower", "upper"]], **THIN)
        axis.plot(middles["x"], middles["median"], color=figures.PAGE, linewidth=5)
        axis.plot(middles["x"], middles["median"], **THICK)
    label = f"Probability of high against measured expression of {len(genes):,} held-out genes"
    return figures.to_svg(figure, f"{label}; Spearman correlation {show_number(correlation, '{:.2f}')}.", PALETTE)


@figures.page_style()
def draw_learning(run: Run, row: pd.Series, ranges: dict[str, tuple[float, float]], most: int) -> str:
    """Draw loss and auROC by epoch of the fold in `row`, the chosen epoch marked; `ranges` are those of all folds."""
    fold, chosen, log = row["chromosome"], row["best_epoch"], run.logs[row["chromosome"]]
    last = max(float(log["epoch"].max()) if len(log) else 0, 1)
    thinned = log.iloc[np.unique(np.linspace(0, len(log) - 1, min(most, len(log))).astype(int))]
    label = f"Learning curves of fold {fold}, {len(log)} epochs"
    figure = figures.new_figure(240, 262)
    loss = figures.add_panel(figure, (34, 38, 138, 74), (0, last), ranges["loss"], "", "loss", ticks=(0, 4))
    box, name = (34, 142, 138, 84), f"auROC{run.mark}"
    auroc = figures.add_panel(figure, box, (0, last), ranges["auROC"], "epoch", name, ticks=(4, 4))
    auroc.xaxis.get_major_locator().set_params(integer=True)
    corner = (0, ranges["loss"][1])
    figures.write(loss, f"fold {show_value(fold, 14)}", corner, (-30, 26), weight="bold")
    for axis, column in ((loss, "loss"), (auroc, "auROC")):
        low, high = ranges[column]
        if not math.isnan(chosen):
            figures.draw_line(axis, [chosen, chosen], [low, high], f"epoch {chosen:.0f} chosen", **REFERENCE)
        ends = []
        for prefix, name, colour, dashes in SERIES:
            values = thinned[prefix + column].clip(low, high) if prefix + column in thinned else pd.Series()
            if values.notna().any():
                style = {"color": colour, "linestyle": dashes, "linewidth": 1.6}
                figures.draw_line(axis, thinned["epoch"], values, name, **style)
                ends.append((values.dropna().iloc[-1], name, colour))
        unit = (high - low) / axis.bbox.height
        sizes = [13 * unit] * len(ends)
        places = figures.spread([end for end, _, _ in ends], sizes, low - 4 * unit, high + 4 * unit)
        for (_, name, colour), place in zip(ends, places, strict=True):
            figures.write(axis, name, (last, place), (5, -4), color=colour)
    if not math.isnan(chosen):
        label += f", epoch {chosen:.0f} chosen"
        figures.write(loss, f"epoch {chosen:.0f} chosen", corner, (204, 26), ha="right", **REMARK)
        there = log.loc[log["epoch"] == chosen, "test_auROC"].dropna()
        if len(there):
            figures.draw_marks(auroc, [chosen], there[:1].clip(*ranges["auROC"]), NETWORK, hollow=run.optimistic)
            label += f", held-out auROC{run.mark} {there.iloc[0]:.3f} there"
    return figures.to_svg(figure, f"{label}.", PALETTE)


@figures.page_style()
def draw_funnel(steps: dict[str, float], classes: dict[str, float], scored: dict[str, float]) -> str:
    """Draw bars of the genes left after each step, the classes of the last, and the genes that were scored."""
    parts = {name: part for name, part in (("of these", classes), ("scored", scored)) if part}
    height, most = 26 * len(steps) + 46 * len(parts), max([1, *steps.values()])
    figure = figures.new_figure(FIGURE_WIDTH, height)
    box = (112, 0, FIGURE_WIDTH - 112 - 88, height)
    axis = figures.add_panel(figure, box, (0, most), (height, 0), ticks=(0, 0))  # y in units
    axis.spines["bottom"].set_visible(False)
    y, before = 14, math.nan
    for name, genes in steps.items():
        axis.barh(y, genes, 19, color=figures.COUNT, alpha=0.3)
        count = show_count(genes)
        figures.write(axis, show_value(name, 17), (0, y), (-8, -4), ha="right")
        figures.write(axis, count, (genes, y), (6, -4), weight="bold")
        if genes < before:
            lost = show_count(genes - before)
            figures.write(axis, lost, (genes, y), (14 + 7.4 * len(count), -4), **REMARK)
        y, before = y + 26, genes
    for name, part in parts.items():
        labels, end = [], 0
        for key, genes in part.items():
            axis.barh(y, genes, 19, left=end, color=COLOUR_OF_CLASS[key], alpha=0.8, edgecolor=figures.PAGE)
            labels.append((end + genes / 2, f"{key} {show_count(genes)}", COLOUR_OF_CLASS[key]))
            end += genes
        figures.write(axis, name, (0, y), (-8, -4), ha="right")
        figures.write(axis, show_count(end), (end, y), (6, -4), weight="bold")
        figures.write_row(axis, labels, y, -23)
        y += 46
    told = ", ".join(f"{name} {show_count(genes)}" for name, genes in {**steps, **classes}.items())
    label = f"Genes left after each step: {told}; scored {show_count(sum(scored.values()))}."
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_profile(profile: pd.DataFrame, region: str) -> str:
    """Draw mean absolute contribution by position around TSS (promoter) or TES (terminator), low and high apart."""
    rows, site = profile[profile["region"] == region], "TSS" if region == "promoter" else "TES"
    start, end = float(rows["position"].min()), float(rows["position"].max())
    bases = max(1, math.ceil((end - start + 1) / 300))  # averaged into one point of the line
    top = float(profile["mean_abs_contribution"].max())
    x_range, y_range = (start, max(end, start + 1)), (0, 1.05 * top if top > 1e-100 else 1)
    x_label, label = f"position from the {site}, bp", f"{region}: mean |contribution|"
    label += f", means of {bases} bp" if bases > 1 else ""
    figure = figures.new_figure(FIGURE_WIDTH, 240)
    axis = figures.add_panel(figure, (46, 30, 318, 170), x_range, y_range, x_label, label, ticks=(5, 4))
    if start <= 0 <= end:
        axis.axvline(0, **REFERENCE)
    peak = rows.loc[rows["mean_abs_contribution"].idxmax(), "position"]
    corner, away, side = (x_range[0], 8, "left") if peak > (start + end) / 2 else (x_range[1], -4, "right")
    for down, name in ((16, "high"), (33, "low")):
        one, colour = rows[rows["class"] == name], COLOUR_OF_CLASS[name]
        if len(one):
            line = one.groupby((one["position"] - start) // bases)[["position", "mean_abs_contribution"]].mean()
            line = line.reindex(np.arange(line.index.min(), line.index.max() + 1))  # a gap where codons are masked
            figures.draw_line(axis, line["position"], line["mean_abs_contribution"], color=colour, linewidth=1.6)
            figures.write(axis, f"{name} genes", (corner, y_range[1]), (away, -down), color=colour, ha=side)
            best = one.loc[one["mean_abs_contribution"].idxmax()]
            label += f"; {name} genes highest at {best['position']:.0f} bp, {best['mean_abs_contribution']:.3g}"
    return figures.to_svg(figure, label, PALETTE)


# Sections of the page ---------------------------------------------------------------------------------------


def headline(run: Run) -> tuple[str, str]:
    """Return the result in one sentence, and in a second one what the baselines make of it."""
    value, low, high, kmer, gc = run.pooled[["auROC", "auROC_low", "auROC_high", "kmer_auROC", "gc_auROC"]]
    if math.isnan(value):
        return "No auROC: the scored genes are all of one class.", "Hold out more chromosomes, or larger ones."
    told = f"95\N{NO-BREAK SPACE}% interval {low:.3f} to {high:.3f}"
    told = "no interval recorded" if math.isnan(low + high) else told
    first = (
        f"Given one lowly and one highly expressed gene {run.way.unseen}, the network "
        f"tells which is which {100 * value:.1f} times out of 100 (pooled auROC{run.mark} {value:.3f}, {told})"
    )
    first += "" if math.isnan(kmer) else f"; a regression on k-mer counts {100 * kmer:.1f}"
    first += "." if math.isnan(gc) else f"; base composition alone {100 * gc:.1f}."
    gain = value - kmer
    if low <= 0.5 or value <= 0.5:
        second = "That is not distinguishable from guessing, which is right 50 times."
        second += f" Counting k-mers is right {100 * kmer:.1f} times." if kmer > max(high, 0.5) else ""
    elif math.isnan(kmer):
        second = "No k-mer baseline is recorded, so there is nothing to hold this number against."
    elif gain < 5e-4:
        far = "equal to it" if gain > -5e-4 else f"{-gain:.3f} below it"
        verdict = "as well" if gain > -0.01 else "better"
        second = f"The network does not beat the k-mer baseline ({far}): counting k-mers does {verdict}."
    elif low <= kmer:
        second = f"The network is {gain:.3f} above the k-mer baseline, but the baseline lies inside its interval: "
        second += "this run does not tell the two apart."
    else:
        second = f"The network beats the k-mer baseline by {gain:.3f}."
    second += describe_strongest(run.pooled, run.control)
    if run.optimistic:
        help_given = "Optimistic: the epoch was chosen on the very genes that are scored, a help that the baselines"
        second = f"{help_given} did not have. {second}"
    return first, second


def describe_strongest(row: pd.Series, control: str | None) -> str:
    """Return a sentence on the regression with the highest auROC, if it is above the k-mer baseline; otherwise "".

    Args:
        row: auROC and those of the baselines, as in `describe_parts`.
        control: that the run is, if it is one: regressions that see what is denied to its network do not count.
    """
    shown = {"outside": ["outside_auROC"], "inside": ["inside_auROC"]}.get(control or "", list(STRONGER))
    found = {name: row.get(name, math.nan) for name in shown if not (control and name == "codon_auROC")}
    found = {name: value for name, value in found.items() if value > row["kmer_auROC"]}
    if not found:
        return ""
    best = max(found, key=found.get)
    gain = row["auROC"] - found[best]
    far = (
        f"{gain:.3f} below the network" if gain >= 5e-4 else f"{-gain:.3f} above it" if gain <= -5e-4 else "equal to it"
    )
    return f" The strongest regression, on {STRONGER[best]}, reaches {found[best]:.3f}, {far}."


def describe_parts(row: pd.Series, control: str | None) -> str:
    """Return what part of a result needs no regulatory sequence, by the regressions on parts of a gene.

    Args:
        row: auROC, outside_auROC, inside_auROC and codon_auROC; nan, or absent, where there is none.
        control: that the run is, if it is one.

    Returns:
        A sentence or two; "" where the run has no regression on the inside of the gene, or none outside, and of
        controls that show something else than these parts of the gene.
    """
    network, outside, inside, codons = (
        row.get(name, math.nan) for name in ("auROC", "outside_auROC", "inside_auROC", "codon_auROC")
    )
    if math.isnan(network + outside + inside) or control not in (None, "promoter", "terminator", "outside", "inside"):
        return ""
    if control == "outside":
        return (
            "The inside of the gene is masked: all that this run tells apart lies in the flanks. On the same flanks a "
            f"regression on k-mers by place reaches an auROC of {outside:.3f}."
        )
    if control == "inside":
        return (
            "The flanks are masked: all that this run tells apart lies inside the gene. On the same columns a "
            f"regression on k-mers and codons by place reaches an auROC of {inside:.3f}."
        )
    text = f"From the inside of the gene alone a regression on k-mers reaches an auROC of {inside:.3f}"
    text += "" if math.isnan(codons) else f", one on codon usage and lengths of the whole coding sequence {codons:.3f}"
    text += f"; from the outside alone k-mers reach {outside:.3f}: "
    best = codons if codons > inside else inside  # codons may be nan
    way = "without regulatory sequence" if codons > inside else "without the sequence around the gene"
    if network <= 0.55:
        return f"{text}the network itself tells little apart."
    fraction = (best - 0.5) / (network - 0.5)
    much = "most" if fraction >= 0.75 else "a part" if fraction >= 0.25 else "little"
    return f"{text}{much} of what this run tells apart can be told {way}."


def make_headline_figure(run: Run) -> page.Figure:
    """Return the headline as a figure."""
    told = ", ".join(f"{name} {show_number(run.pooled[column])}" for column, name, _, _ in METHODS)
    label = f"Pooled auROC{run.mark}: {told}; 95 % interval of the network {show_interval(run.pooled)}."
    return page.Figure(draw_auroc_rows(run, run.result[:1].assign(chromosome=""), label))


def describe_in_a_line(run: Run) -> str:
    """Return how large the run is, when it ended and what trained it."""
    facts = [f"{len(run.folds)} fold{'s' * (len(run.folds) > 1)} of held-out {run.way.what}"]
    facts.append(f"{run.scored['gene_id'].nunique():,} scored genes")
    if run.info.get("finished"):
        facts.append(f"finished {show_date(run.info['finished'])}")
    if run.info.get("lcre_version"):
        facts.append(f"LCRE {run.info['lcre_version']}")
    return " · ".join(facts)


def make_warnings(run: Run) -> page.Section | None:
    """Return what to keep in mind before believing the numbers, and the trainer's remarks."""
    if not run.warnings and not run.info["notes"]:
        return None
    title = "Before you believe it" if run.warnings else "Remarks"
    return page.Section(title, [page.Bullets(run.warnings, warn=True), page.Bullets(run.info["notes"])])


def make_folds(run: Run) -> page.Section:
    """Return every fold beside its baselines: figure and table."""
    text = run.way.explained
    known = run.folds.dropna(subset=["auROC"])
    if len(known) > 1:
        best, worst = known.loc[known["auROC"].idxmax()], known.loc[known["auROC"].idxmin()]
        text += f" auROC{run.mark} runs from {worst['auROC']:.3f} ({worst['chromosome']})"
        text += f" to {best['auROC']:.3f} ({best['chromosome']})."
    both = known.dropna(subset=["kmer_auROC"])
    if len(both) > 1:
        above = (both["auROC"] > both["kmer_auROC"]).sum()
        text += f" The network is above the k-mer baseline in {above} of {len(both)} folds."
    parts = describe_parts(run.pooled, run.control)
    doubt = "An interval is a bootstrap over the scored genes of this one run. Another seed moves the number as well"
    doubt += "." if Path(f"{run.prefix}_audit_bins.csv").exists() else f"; {run.way.doubt}."  # the audit measures it
    caption = (
        "Circles: network, with 95 % bootstrap intervals. Diamonds: regression on k-mers. Squares: base composition. "
        "All on the same genes."
    )
    caption += " Hollow: optimistic." if run.optimistic else ""
    rows = zip(run.result["chromosome"], run.result["auROC"], run.result["kmer_auROC"], strict=True)
    told = "; ".join(f"{name} {show_number(auroc)} (k-mers {show_number(kmer)})" for name, auroc, kmer in rows)
    figure = page.Figure(draw_auroc_rows(run, run.result, f"auROC{run.mark} by fold: {told}."), caption)
    return page.Section(
        "Folds", [page.Columns([[figure], [block for block in (text, parts, doubt) if block]]), make_fold_table(run)]
    )


def make_fold_table(run: Run) -> page.Table:
    """Return the result table; columns that an older run does not have are left out."""
    columns = [column for column in RESULT_COLUMNS if column.name in run.result and column.name not in NOT_SHOWN]
    columns.sort(key=lambda column: LEADING.index(column.name) if column.name in LEADING else len(LEADING))
    labels = {column.name: column.label + (run.mark if column.of_network else "") for column in columns}
    labels = {name: label.replace("-", "\N{NON-BREAKING HYPHEN}") for name, label in labels.items()}
    cells = {column.name: run.result[column.name].map(FORMATS[column.format]) for column in columns}
    labels["auROC_low"], cells["auROC_low"] = "95\N{NO-BREAK SPACE}% interval", run.result.apply(show_interval, axis=1)
    rows = list(zip(*cells.values(), strict=True))
    grey = labels.get("auROC_optimistic", "")
    return page.Table("Scores and sizes by fold", list(labels.values()), rows, bold="pooled", grey=grey)


def show_interval(row: pd.Series) -> str:
    """Return 0.895–0.911, or a dash where the run has no interval."""
    low, high = row["auROC_low"], row["auROC_high"]
    return page.DASH if math.isnan(low + high) else f"{low:.3f}–{high:.3f}"


def make_controls(run: Run) -> page.Section | None:
    """Return what the network reaches where it is denied something, if the run has controls: figure and table."""
    if run.controls is None:
        return None
    table = run.controls.assign(chromosome=run.controls["control"].replace("none", "the run"), gc_auROC=math.nan)
    told = "; ".join(
        f"{name} {show_number(auroc)}" for name, auroc in zip(table["chromosome"], table["auROC"], strict=True)
    )
    caption = (
        "Circles: network, with 95 % bootstrap intervals. Diamonds: regression on k-mers of the same windows. "
        "All folds pooled."
    )
    figure = page.Figure(draw_auroc_rows(run, table, f"auROC{run.mark} of the controls: {told}."), caption)
    rows = []
    for row in table.itertuples():
        low, high = show_number(row.difference_low), show_number(row.difference_high)
        interval = page.DASH if math.isnan(row.difference) else f"{low} to {high}"
        p = page.DASH if math.isnan(row.p) else f"{row.p:.2g}"
        cells = [show_count(row.genes), show_number(row.auROC), show_number(row.difference), interval, p]
        rows.append([row.chromosome, *cells])
    head = ["control", "genes", f"auROC{run.mark}", "run less control", "95\N{NO-BREAK SPACE}% interval", "p"]
    text = (
        "Each control is the same training with something denied. With shuffled or permuted training genes, what is "
        "left above 0.5 is base composition or a leak; what only a part of the window reaches shows where the signal "
        "is. Regulatory sequence lies outside of the gene: inside of it, codon usage tells how strongly a gene is "
        "expressed."
    )
    shift = as_number(run.info["settings"].get("SHIFT"))
    meanings = [f"{name}: {CONTROLS[name].format(shift=shift)}" for name in run.controls["control"] if name in CONTROLS]
    tested = "Differences on the genes that both runs score, with interval and p-value by DeLong's paired test."
    return page.Section(
        "What the network reads",
        [page.Columns([[figure, page.Table("Controls", head, rows)], [text, page.Bullets(meanings), tested]])],
    )


def make_audit(run: Run) -> page.Section | None:
    """Return what homologs in training did to the score, if lcre_homology.py has audited the run."""
    return audit_page.make_section(run.prefix, len(run.scored), PALETTE)


def make_curves(run: Run) -> page.Section:
    """Return ROC and precision-recall, or why there are none."""
    pooled, title = run.scored.drop_duplicates("gene_id"), "Sensitivity and precision"
    if pooled["target"].nunique() < 2:
        return page.Section(title, ["The scored genes are all of one class: no curves."])
    lines = " Thin: single folds. Thick: all scored genes together." if len(run.folds) > 1 else ""
    roc = page.Figure(draw_roc(run, pooled), f"ROC curve over all thresholds of the probability.{lines}")
    precision = page.Figure(draw_roc(run, pooled, precision=True), f"Precision against recall.{lines}")
    return page.Section(title, [page.Columns([[roc], [precision]])])


def make_calibration(run: Run) -> page.Section:
    """Return reliability, Brier score, expected calibration error, and the calls at 0.5."""
    pooled = run.scored.drop_duplicates("gene_id")
    bins, brier, error = calibration(pooled["target"], pooled["probability"])
    share = float(pooled["target"].mean())
    caption = (
        "Of the scored genes given a probability, how many are high? Lines: 95\N{NO-BREAK SPACE}% Wilson intervals. "
        f"Brier score{run.mark} {brier:.3f} (saying {share:.2f} of every gene would give {share * (1 - share):.3f}). "
        f"Expected calibration error{run.mark} {error:.3f}: the mean distance from the diagonal."
    )
    figure = page.Figure(draw_calibration(bins, brier, error), caption)
    middle = run.predictions[(run.predictions["target"] == 2) & run.predictions["probability"].notna()]
    rows = []
    for name, row in confusion(pd.concat([pooled, middle])).iterrows():
        shares = row / row.sum()
        cells = [page.Cell(show_count(row[key]), show_percent(shares[key]), key, shares[key]) for key in row.index]
        rows.append([f"{name} (not scored)" if name == "middle" else name, *cells])
    correct = show_percent(scores.accuracy(pooled["target"], pooled["probability"]))
    calls = [
        page.Table("Calls at 0.5", ["measured", "called low", "called high"], rows, title="Calls at 0.5"),
        f"Accuracy{run.mark} {correct} of scored genes; above 0.5 a gene is called high.",
        "Percentages are of each row. Middle genes have no right answer here: the row shows where the network puts "
        "them. The probability is that of high against low, not of high among all genes.",
    ]
    return page.Section("Probabilities and calls", [page.Columns([[figure], calls])])


def make_expression(run: Run) -> page.Section | None:
    """Return probability against measured expression with the middle genes, the ones that no score looks at."""
    genes = run.predictions.dropna(subset=["logMaxTPM", "probability"])
    if len(genes) < 2:
        return None
    middle, correlation = genes[genes["target"] == 2], spearman(genes)
    text = f"All {len(genes):,} genes of held-out {run.way.what} with a measured value, scored or not. "
    text += f"Spearman correlation{run.mark} {show_number(correlation, '{:.2f}')}"
    if len(middle) > 2:
        text += f"; of the {len(middle):,} middle genes alone {show_number(spearman(middle), '{:.2f}')}"
    more = (
        "No score on this page looks at middle genes. Where the probability rises through the middle, the network "
        "orders expression and does not only tell its two ends apart."
    )
    caption = "Grey: number of genes."
    caption += " Blue: median and quartiles of the probability." if len(genes) >= 2 * QUARTILE_GENES else ""
    measure = show_value(show_setting(run.info["settings"].get("TARGET_COLUMN", "logMaxTPM")), 40)
    figure = page.Figure(draw_expression(genes, correlation, measure), caption)
    return page.Section("Probability against measured expression", [page.Columns([[figure], [f"{text}.", more]])])


def make_learning(run: Run) -> page.Section | None:
    """Return loss and auROC of every fold by epoch, as small figures of one scale."""
    logs = pd.concat(run.logs.values())
    losses = logs[["loss", "val_loss", "test_loss"]].stack().dropna()
    if not len(losses):
        return None
    top = min(losses.max(), 2.5 * losses.median())
    least = np.nanmin([0.5, *logs["val_auROC"], *logs["test_auROC"]])
    ranges = {
        "loss": figures.fit_range(float(losses.min()), float(top), 0.1),
        "auROC": (math.floor(least * 20 + 1e-9) / 20, 1.0),
    }
    text = "The epoch was chosen on the validation genes; the held-out curve is shown and was not used."
    if run.optimistic:
        text = "The epoch was chosen on the held-out genes themselves, so the auROC at the mark is optimistic."
    text += " All folds share their scales. Epochs count from 0."
    text += " Losses above the scale are drawn at its upper edge." if losses.max() > top else ""
    text += f" {run.info['loss_note']}" if isinstance(run.info.get("loss_note"), str) else ""
    most = max(10, min(200, CURVE_POINTS // (5 * len(run.folds))))
    small = [[page.Figure(draw_learning(run, row, ranges, most))] for _, row in run.folds.iterrows()]
    return page.Section("Learning curves", [text, page.Columns(small, small=True)])


def make_profile(run: Run) -> page.Section | None:
    """Return contribution by position, if lcre_explain.py has written a profile."""
    if run.profile is None:
        return None
    usable = run.profile.dropna(subset=PROFILE_NUMBERS)
    usable = usable[usable["class"].isin(["low", "high"])]
    regions = [region for region in ("promoter", "terminator") if (usable["region"] == region).any()]
    if not regions:
        return None
    text = "How much each position moves the prediction, on average over correctly predicted held-out genes."
    pair = [[page.Figure(draw_profile(usable, region))] for region in regions]
    return page.Section("Where the network looks", [text, page.Columns(pair)])


def make_variants(run: Run) -> page.Section:
    """Return what predicted effects of variants were worth where they could be checked; the same for every run."""
    return page.Section("Effects of variants", ["lcre_predict.py --vcf scores variants.", EFFECTS_CHECKED])


def make_genes(run: Run) -> page.Section:
    """Return the way from the annotation to the scored genes: funnel, reasons, sequence audit, chromosomes."""
    total, chromosomes = read_funnel(run)
    steps = {name: genes for name, genes in total.items() if name not in CLASSES}
    classes = {name: total[name] for name in ("low", "middle", "high") if name in total}
    genes = run.scored.drop_duplicates("gene_id")
    scored = {name: float((genes["target"] == target).sum()) for target, name in enumerate(("low", "high"))}
    figure = page.Figure(draw_funnel(steps, classes, scored), "From the annotation to the scored genes.")

    reasons = run.genes.loc[run.genes["status"] != "used", "status"].value_counts()
    left_out = [f"{reason}: {count:,}" for reason, count in reasons.head(12).items()]
    if len(reasons) > 12:
        left_out.append(f"{len(reasons) - 12} other reasons: {reasons.iloc[12:].sum():,}")
    audit = page.Bullets(audit_sentences(run.info["audit"]), "Sequence audit")

    by_chromosome = genes["chromosome"].value_counts()
    numbers = chromosomes.assign(scored=[by_chromosome.get(name, 0) for name in chromosomes.index])
    rows = [[name, *map(show_count, row)] for name, row in numbers.head(TABLE_ROWS).iterrows()]
    rest = numbers.iloc[TABLE_ROWS:]
    if len(rest):
        rows.append([f"{len(rest):,} others", *map(show_count, rest.sum())])
    table = page.Table("Genes by chromosome", ["chromosome", *numbers], rows)
    lists = [page.Bullets(left_out, "Left out, by reason"), audit]
    return page.Section("Genes", [page.Columns([[figure], lists]), table])


def read_funnel(run: Run) -> tuple[dict[str, float], pd.DataFrame]:
    """Return the genes left after each step: of all chromosomes, and a frame of chromosomes x steps."""
    funnel = pd.DataFrame({str(row.get("chromosome")): row for row in run.info["funnel"]}).T
    if "all" not in funnel.index:  # an older record: what O_genes.csv tells
        used = run.genes.assign(**{"in annotation": 1, "used": (run.genes["status"] == "used").astype(int)})
        funnel = used.groupby("chromosome", sort=False)[["in annotation", "used"]].sum()
        funnel.loc["all"] = funnel.sum()
    funnel = funnel.map(as_number).dropna(axis=1, subset=["all"])
    return dict(funnel.loc["all"]), funnel.drop(index="all")


def audit_sentences(audit: dict) -> list[str]:
    """Return the trainer's sequence audit in words; keys that are absent are left out."""
    names = ("start_with_ATG", "coding_genes", "share_N", "duplicate_windows")
    atg, coding, unknown, identical = (as_number(audit.get(name)) for name in names)
    sentences = []
    if atg >= 0 and coding > 0:
        sentences.append(f"{atg:,.0f} of {coding:,.0f} coding genes ({show_percent(atg / coding)}) start with ATG.")
    if unknown >= 0:
        sentences.append(f"{show_percent(unknown)} of the bases in the windows are not A, C, G or T.")
    if identical >= 0:
        sentences.append(f"Windows identical to another gene's: {identical:,.0f}.")
    return sentences


def make_facts(run: Run) -> page.Section:
    """Return what was run on what: inputs, settings, versions, time, memory, and the command."""
    info = run.info
    facts = {
        "Started": show_date(info.get("started") or ""),
        "Time": show_seconds(as_number(info.get("seconds"))),
        "Peak memory": show_size(as_number(info.get("peak_memory_bytes"))),
        "Device": info.get("device"),
    }
    for name, entry in info["inputs"].items():
        facts[name] = f"{entry['file']}, {show_size(entry['bytes'])}, SHA-256 {entry['sha256'][:12]}…"
    settings = {name: show_setting(value) for name, value in info["settings"].items()}
    differing = []
    for name, default in {**DEFAULTS, **info["defaults"]}.items():
        unused = name == "FOLDS" and info["settings"].get(name) is None  # of no other way than families
        if name in settings and name not in INPUT_SETTINGS and not unused and settings[name] != show_setting(default):
            told = "that of the model" if default is None else default
            differing.append(f"{name} {settings[name]} (default {told})")
    facts["Not the default"] = "; ".join(differing) or "nothing, apart from the data"
    facts["All settings"] = " · ".join(f"{name} {value}" for name, value in settings.items())
    facts["Versions"] = " · ".join(f"{name} {value}" for name, value in info["versions"].items() if value)
    blocks = [{name: text for name, text in facts.items() if text and text != page.DASH}]
    command = info.get("command")
    if command:
        blocks.append(page.Code(command if command.startswith("python") else f"python {command}", "Run it again"))
    return page.Section("The run", blocks)


def show_setting(value: object) -> str:
    """Return a setting as text; nothing set reads as a dash, a list as its items with commas, 25.0 as 25."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return page.DASH if value is None or str(value).lower() in ("", "none", "all") else str(value)


def as_number(value: object) -> float:
    """Return a number of the run record, NaN where it is absent or something else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


# The page ---------------------------------------------------------------------------------------------------

SECTIONS = (
    make_warnings, make_folds, make_audit, make_controls, make_curves, make_calibration, make_expression,
    make_learning, make_profile, make_variants, make_genes, make_facts,
)  # fmt: skip


def build_page(run: Run) -> str:
    """Return the whole page as HTML."""
    lead, verdict = headline(run)
    control = run.control
    sections = [make_section(run) for make_section in SECTIONS]
    again = f"python lcre_report.py {run.prefix.as_posix()} writes it again."
    return page.render_page(
        page.Page(
            title=f"{run.organism}: LCRE report",
            heading=f"{run.organism}, control {show_value(control, 30)}" if control else run.organism,
            above="LCRE · low or high gene expression from the DNA sequence around TSS and TES",
            below=describe_in_a_line(run),
            lead=lead,
            verdict=verdict,
            figure=make_headline_figure(run),
            sections=[section for section in sections if section],
            footer=f"Written by lcre_report.py from the files of the run; {again}",
            palette=PALETTE,
        )
    )


def write_report(prefix: Path) -> Path:
    """Write the page of the finished run `prefix` (saved_models/O) to saved_models/O_report.html; returns its path.

    Raises InputError when the run is missing or unfinished or a file is not as the trainer writes it, OSError when
    the page cannot be written (an earlier page then stays as it was).
    """
    prefix = Path(prefix)
    page = build_page(read_run(prefix))
    path = Path(f"{prefix}_report.html")
    write_text(path, page)
    return path
