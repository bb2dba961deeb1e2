"""One self-contained HTML page of a finished run.

Reads only files that the trainer wrote (and profile.csv of lcre_explain.py, if it is there) and writes
saved_models/yeast_report.html: no script, no network, pictures as inline SVG. The order of this file is the
order of the page: read the run, compute, draw, write the sections, put the page together.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, show_value
from core.files import write_text
from lcre.records import fold_folder, read_record
from lcre.trained import TRAIN_AGAIN, read_columns

RESULT_NUMBERS = ["accuracy", "auROC", "auPR", "training_size", "validation_size", "test_size", "best_epoch"]
RESULT_NUMBERS += ["auROC_low", "auROC_high", "kmer_auROC", "gc_auROC", "auROC_optimistic", "seconds"]
LOG_NUMBERS = ["epoch", "loss", "val_loss", "val_auROC", "test_loss", "test_auROC"]
PROFILE_NUMBERS = ["position", "mean_abs_contribution"]
EXPLAIN_AGAIN = "lcre_explain.py writes it again; without the file the page is written without its section"

DEFAULTS = {  # of the trainer; a run that records its own `defaults` overrides them
    "TARGET_COLUMN": "logMaxTPM",
    "CHROMOSOMES": "all",
    "UPSTREAM": 1000,
    "DOWNSTREAM": 500,
    "PADDING": 20,
    "LOW_PERCENTILE": 25,
    "HIGH_PERCENTILE": 75,
    "SELECT_ON": "validation",
    "MODEL": "motifs_and_words",
    "EPOCHS": None,
    "BATCH_SIZE": None,
    "LEARNING_RATE": None,
    "JOBS": 1,
    "SCHEDULER": None,
    "SAVED_MODELS": "saved_models",
}
INPUT_SETTINGS = {"DATASET", "ORGANISM", "FASTA", "GTF", "TPM", "VALIDATION_GENES"}  # told with the files
CLASSES = ("low", "high", "middle")  # by target: 0, 1, 2
CALIBRATION_BINS = 10  # equal widths of probability
CALLED_HIGH_ABOVE = 0.5  # as Keras' binary accuracy: a probability of exactly 0.5 is called low
QUARTILE_GENES = 80  # fewest genes that a point of the running median stands for
TABLE_ROWS = 60  # longest per-chromosome table; the rest of a scaffold-rich genome is one row
CURVE_POINTS = 12_000  # of all curves of one kind together, so that the page stays small with many folds
FIGURE_WIDTH = 380  # SVG units; a phone shows them at about 0.9, a desktop at about 1.2


# Reading the run --------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What the files of one run say; `scored` holds a row for every gene and fold that scores it."""

    prefix: Path
    organism: str
    info: dict  # O_run.json
    folds: pd.DataFrame  # O_result.csv before the row `pooled`
    pooled: pd.Series
    predictions: pd.DataFrame
    genes: pd.DataFrame
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns of predictions, and fold
    logs: dict[str, pd.DataFrame] = field(default_factory=dict)
    profile: pd.DataFrame | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def optimistic(self) -> bool:
        """True where the epoch was chosen on the genes that are scored (SELECT_ON=test)."""
        return str(self.info.get("settings", {}).get("SELECT_ON", "")).lower() == "test"

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
    result = read_columns(result_path, ["chromosome"], RESULT_NUMBERS)
    at = list(result["chromosome"]).index("pooled") if "pooled" in set(result["chromosome"]) else 0
    if at == 0:
        raise InputError(f"{result_path} has no row `pooled` below its folds: the run is unfinished, {TRAIN_AGAIN}")
    info = read_run_record(Path(f"{prefix}_run.json"))
    names = ["gene_id", "chromosome"]
    predictions = read_columns(predictions_path, names, ["target", "logMaxTPM", "probability"])
    run = Run(
        prefix=prefix,
        organism=str(info.get("organism") or prefix.name),
        info=info,
        folds=result.iloc[:at].reset_index(drop=True),
        pooled=result.iloc[at],
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
        held_out = predictions.loc[predictions["chromosome"].isin(set(test["chromosome"])), "gene_id"]
        leaked = set(held_out) & (roles.get("train", set()) | roles.get("validation", set()))
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
    add_own_warnings(run)
    return run


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
    return record


def explain_missing_run(prefix: Path) -> str:
    """One line on why `prefix` is no finished run, with the runs that are there."""
    beside = [path.name for path in prefix.parent.iterdir()] if prefix.parent.is_dir() else []
    if any(name.startswith((f"{prefix.name}_model_", f"{prefix.name}_run.json")) for name in beside):
        return f"{prefix}_result.csv is not there: the run is unfinished, {TRAIN_AGAIN} and it goes on"
    known = sorted(name.removesuffix("_result.csv") for name in beside if name.endswith("_result.csv"))
    here = ", ".join(str(prefix.parent / name) for name in known[:3])
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
    measured, written = auroc(genes), run.pooled["auROC"]
    if abs(measured - written) > 0.002:
        text = f"The result table gives a pooled auROC of {written:.3f}, the predictions {measured:.3f}"
        run.warnings.append(f"{text}: the files may stem from two runs; train again with --overwrite.")


# Computing --------------------------------------------------------------------------------------------------


def auroc(genes: pd.DataFrame) -> float:
    """Area under the ROC curve of columns `target` (0 or 1) and `probability`; NaN with one class only."""
    from sklearn.metrics import roc_auc_score

    if genes["target"].nunique() < 2:
        return math.nan
    return float(roc_auc_score(genes["target"], genes["probability"]))


def roc_points(genes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC curve, from (0, 0) to (1, 1); empty with one class only."""
    from sklearn.metrics import roc_curve

    if genes["target"].nunique() < 2:
        return np.empty(0), np.empty(0)
    false_rate, true_rate, _ = roc_curve(genes["target"], genes["probability"])
    return false_rate, true_rate


def precision_recall_points(genes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Recall (rising) and precision, so that steps between them enclose the average precision.

    Empty without a high gene. Ties count as one step, as in scikit-learn.
    """
    from sklearn.metrics import precision_recall_curve

    if not (genes["target"] == 1).any():
        return np.empty(0), np.empty(0)
    precision, recall, _ = precision_recall_curve(genes["target"], genes["probability"], drop_intermediate=True)
    return recall[::-1], precision[::-1]


def thin(xs: np.ndarray, ys: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """About `limit` points of a curve at most, evenly along it; both ends stay, every point is an original."""
    if len(xs) <= limit:
        return xs, ys
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(xs), np.diff(ys)))])
    keep = np.searchsorted(length, np.linspace(0, length[-1], limit))
    keep = np.unique(np.append(keep, len(xs) - 1))
    return xs[keep], ys[keep]


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


# Text and numbers -------------------------------------------------------------------------------------------


def esc(value: object) -> str:
    """Text that is safe in HTML and SVG, in content and attributes; control characters become U+FFFD."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]", "\ufffd", text), quote=True)


def decimal(value: float, digits: int = 3) -> str:
    """0.903, or a dash for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def whole(value: float) -> str:
    """12,345, or a dash for NaN."""
    return "–" if value is None or math.isnan(value) else f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")


def percent(share: float) -> str:
    """84.5 % of a share of 0.845."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def interval(row: pd.Series) -> str:
    """0.895–0.911, or a dash where the run has no interval."""
    if math.isnan(row["auROC_low"]) or math.isnan(row["auROC_high"]):
        return "–"
    return f"{row['auROC_low']:.3f}–{row['auROC_high']:.3f}"


def duration(seconds: float) -> str:
    """Seconds as 45 s, 13 min 32 s or 2 h 5 min."""
    if math.isnan(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Bytes as kB, MB or GB (powers of 1000)."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}" if count / power < 999.5 else f"{count / power:.0f} {unit}"
    return f"{count:.0f} bytes"


def date(text: object) -> str:
    """An ISO time as 21 November 2026, 10:00 UTC; anything else as it is."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    zone = moment.strftime(" %Z") if moment.tzinfo else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"


def as_number(value: object) -> float:
    """A number of the run record, NaN where it is absent or something else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def shorten(text: str, limit: int) -> str:
    """The text, or its start and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


# Drawing: small functions that return SVG text --------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """A plotting area: a rectangle in SVG units and the ranges of the data that it shows."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float] = (0, 1)

    def x(self, values):
        """Data to SVG units, left to right."""
        low, high = self.x_range
        return self.left + (np.asarray(values, float) - low) / (high - low) * self.width

    def y(self, values):
        """Data to SVG units; SVG counts downwards."""
        low, high = self.y_range
        return self.top + (high - np.asarray(values, float)) / (high - low) * self.height


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{float(value):.1f}".removesuffix(".0")


def svg(width: float, height: float, label: str, *parts: str) -> str:
    """An SVG picture; `label` says in words, with the numbers, what it shows."""
    return (
        f'<svg viewBox="0 0 {number(width)} {number(height)}" role="img" aria-label="{esc(label)}">'
        f"{''.join(parts)}</svg>"
    )


def words(x: float, y: float, text: str, css: str = "", anchor: str = "start") -> str:
    """A piece of text; `anchor` start, middle or end."""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    kind = f' class="{css}"' if css else ""
    return f'<text x="{number(x)}" y="{number(y)}"{at}{kind}>{esc(text)}</text>'


def segment(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<path class="{css}" d="M{number(x1)},{number(y1)} {number(x2)},{number(y2)}"/>'


def path_data(panel: Panel, xs: Sequence[float], ys: Sequence[float]) -> str:
    """The `d` of a curve; a NaN interrupts it, a point by itself becomes a dot."""
    pieces, current = [], []
    for x, y in zip(panel.x(xs), panel.y(ys), strict=True):
        if math.isnan(x) or math.isnan(y):
            pieces.append(current)
            current = []
        else:
            current.append(f"{number(x)},{number(y)}")
    pieces.append(current)
    return "".join("M" + " ".join(piece) + ("h0" if len(piece) == 1 else "") for piece in pieces if piece)


def curve(panel: Panel, xs: Sequence[float], ys: Sequence[float], css: str, title: str = "") -> str:
    """A line through data points; `title` shows where the mouse rests."""
    d = path_data(panel, xs, ys)
    inner = f"<title>{esc(title)}</title>" if title else ""
    point = " point" if d.endswith("h0") else ""
    return f'<path class="{css}{point}" d="{d}">{inner}</path>' if d else ""


def box(x: float, y: float, width: float, height: float, css: str, extra: str = "") -> str:
    """A rectangle."""
    corner = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    return f'<rect class="{css}" {corner}{extra}/>'


def marker(x: float, y: float, css: str, hollow: bool = False) -> str:
    """The mark of a method: network a circle, k-mer a diamond, gc a square; hollow where it is optimistic."""
    x, y = float(x), float(y)
    shape = {
        "network": f'<circle cx="{number(x)}" cy="{number(y)}" r="4.2"',
        "kmer": f'<path d="M{number(x)},{number(y - 5)}l5,5 -5,5 -5,-5z"',
        "gc": f'<path d="M{number(x - 3.4)},{number(y - 3.4)}h6.8v6.8h-6.8z"',
    }[css]
    return f'{shape} class="{css} {"hollow" if hollow else "dot"}"/>'


def fit_range(low: float, high: float, margin: float) -> tuple[float, float]:
    """The range of an axis from `low` to `high`, with a margin where the two are hardly apart."""
    largest = max(abs(low), abs(high))
    if high - low > 1e-9 * max(largest, 1):
        return low, high
    margin = max(margin, 1e-6 * largest)
    return low - margin, high + margin


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten inside [low, high]."""
    step = (high - low) / count
    power = 10.0 ** math.floor(math.log10(step))
    step = next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9)) * power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, last + 1)]


def tick_text(value: float) -> str:
    """0.5, 1,000 or −500."""
    return f"{value:,g}".replace("-", "\N{MINUS SIGN}")


def axes(panel: Panel, x_label: str, y_label: str, x_ticks: list[float], y_ticks: list[float]) -> str:
    """Ticks, faint grid and labels; the label of y stands level above its axis, where it can be read."""
    bottom, right = panel.top + panel.height, panel.left + panel.width
    parts = []
    for value, y in zip(y_ticks, panel.y(y_ticks), strict=True):
        parts.append(segment(panel.left, y, right, y, "rule"))
        parts.append(words(panel.left - 6, y + 4, tick_text(value), "tick", "end"))
    for value, x in zip(x_ticks, panel.x(x_ticks), strict=True):
        parts.append(segment(x, bottom, x, bottom + 4, "axis"))
        parts.append(words(x, bottom + 16, tick_text(value), "tick", "middle"))
    parts.append(segment(panel.left, bottom, right, bottom, "axis"))
    if x_label:
        parts.append(words(panel.left + panel.width / 2, bottom + 33, x_label, "", "middle"))
    if y_label:
        parts.append(words(panel.left - 30, panel.top - 10, y_label))
    return "".join(parts)


def spread(positions: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Move the middles of labels of these widths (or heights) apart, in their order, within [low, high]."""
    order = np.argsort(positions, kind="stable")
    placed, half = np.asarray(positions, float)[order], np.asarray(sizes, float)[order] / 2
    for i in range(len(placed)):
        placed[i] = max(placed[i], low + half[i] if i == 0 else placed[i - 1] + half[i - 1] + half[i])
    for i in reversed(range(len(placed))):
        last = i == len(placed) - 1
        placed[i] = min(placed[i], high - half[i] if last else placed[i + 1] - half[i + 1] - half[i])
    result = np.empty(len(placed))
    result[order] = placed
    return result.tolist()


# Pictures ---------------------------------------------------------------------------------------------------

METHODS = (("auROC", "network", "network"), ("kmer_auROC", "kmer", "k-mers"), ("gc_auROC", "gc", "base content"))
SERIES = (("", "training", "training"), ("val_", "validation", "validation"), ("test_", "network", "held-out"))


def draw_auroc_rows(run: Run, rows: list[tuple[str, pd.Series]], label: str) -> str:
    """Dots and intervals of auROC, a line for each row: network, k-mers and base content side by side."""
    names = [shorten(name, 15) for name, _ in rows]
    left = 12 + 7.9 * max(map(len, names))
    values = [row[column] for _, row in rows for column in ("auROC", "kmer_auROC", "gc_auROC", "auROC_low")]
    low = math.floor(np.nanmin([0.5, *values]) * 20 + 1e-9) / 20
    panel = Panel(left, 42, FIGURE_WIDTH - left - 46, 22 * len(rows), (low, 1))
    parts = [axes(panel, f"auROC{run.mark}; 0.5 is guessing", "", round_ticks(low, 1, 6), [])]
    bottom, guess = panel.top + panel.height, panel.x(0.5)
    parts += [segment(x, panel.top, x, bottom, "rule") for x in panel.x(round_ticks(low, 1, 6))]
    parts.append(segment(guess, panel.top, guess, bottom, "axis"))
    shown = [(panel.x(rows[0][1][c]), css, text) for c, css, text in METHODS if not math.isnan(rows[0][1][c])]
    sizes = [6.6 * len(text) + 14 for _, _, text in shown]
    places = spread([x for x, _, _ in shown], sizes, panel.left - 20, FIGURE_WIDTH)
    for (x, css, text), place in zip(shown, places, strict=True):
        parts.append(words(place, 18, text, css, "middle"))
        parts.append(segment(place, 23, x, panel.top + 4, f"{css} leader"))
    for i, (name, (_, row)) in enumerate(zip(names, rows, strict=True)):
        y = panel.top + 22 * i + 11
        strong = "strong" if name == "pooled" else ""
        parts.append(words(panel.left - 10, y + 4, name, strong, "end"))
        parts.append(
            curve(panel, [row["auROC_low"], row["auROC_high"]], [1 - (i + 0.5) / len(rows)] * 2, "network bar")
        )
        for column, css, _ in reversed(METHODS):
            if not math.isnan(row[column]):
                parts.append(marker(panel.x(row[column]), y, css, run.optimistic and css == "network"))
        parts.append(words(FIGURE_WIDTH - 2, y + 4, decimal(row["auROC"]), f"network {strong}", "end"))
    return svg(FIGURE_WIDTH, bottom + 38, label, *parts)


def draw_roc(run: Run, pooled: pd.DataFrame, precision: bool) -> str:
    """ROC curve, or precision against recall: every fold thin, all scored genes together thick."""
    from sklearn.metrics import average_precision_score

    panel = Panel(40, 26, 324, 300, (0, 1))
    share, ticks = float(pooled["target"].mean()), round_ticks(0, 1)
    if precision:
        name, x_label, y_label = "auPR", "recall: share of high genes found", "precision: share high of those called"
        points, guessing, area = precision_recall_points, (share, share), average_precision_score
    else:
        name, x_label, y_label = "auROC", "share of low genes called high", "share of high genes called high"
        points, guessing, area = roc_points, (0, 1), lambda *both: auroc(pooled)

    def one_curve(genes: pd.DataFrame, limit: int, css: str, title: str) -> str:
        xs, ys = thin(*points(genes), limit)
        if precision:  # steps, as the average precision counts them
            xs, ys = np.repeat(xs, 2)[:-1], np.repeat(ys, 2)[1:]
        return curve(panel, xs, ys, css, title)

    parts = [axes(panel, x_label, y_label, ticks, ticks), curve(panel, [0, 1], guessing, "axis dashed")]
    if precision:
        parts.append(
            words(panel.x(0.02), panel.y(share) + (16 if share > 0.9 else -7), f"guessing {share:.2f}", "quiet")
        )
    else:
        parts.append(words(panel.x(0.62), panel.y(0.56), "guessing", "quiet"))
    limit = max(20, min(200, CURVE_POINTS // len(run.folds)))
    if len(run.folds) > 1:
        for fold, genes in run.scored.groupby("fold", sort=False):
            title = f"fold {fold}: auROC{run.mark} {decimal(auroc(genes))}, {len(genes):,} genes"
            parts.append(one_curve(genes, limit, "network thin", title))
    told = f"{name}{run.mark} {decimal(area(pooled['target'], pooled['probability']))}"
    parts.append(one_curve(pooled, 400, "network line", f"pooled: {told}"))
    x, anchor = (0.03, "start") if precision else (0.97, "end")
    parts.append(words(panel.x(x), panel.y(0.16), "pooled", "network strong", anchor))
    parts.append(words(panel.x(x), panel.y(0.10), told, "network", anchor))
    label = f"{y_label} against {x_label}: pooled {told}, {len(pooled):,} genes, {len(run.folds)} folds."
    return svg(FIGURE_WIDTH, 368, label, *parts)


def draw_calibration(bins: pd.DataFrame, brier: float, error: float) -> str:
    """Reliability curve with Wilson intervals, and the number of genes in each bin below it."""
    panel = Panel(40, 26, 324, 230, (0, 1))
    counts = Panel(40, 314, 324, 44, (0, 1), (0, float(bins["genes"].max())))
    ticks, width = round_ticks(0, 1), counts.width / CALIBRATION_BINS
    parts = [
        axes(panel, "", "measured: share of high genes", [], ticks),
        curve(panel, [0, 1], [0, 1], "axis dashed"),
        words(panel.x(0.98), panel.y(0.05), "dashed: perfect", "quiet", "end"),
        words(10, 290, "genes in the bin"),
    ]
    for row in bins.itertuples():
        parts.append(curve(panel, [row.mean_probability] * 2, [row.low, row.high], "network bar"))
    parts.append(curve(panel, bins["mean_probability"], bins["share_high"], "network line"))
    parts.append(axes(counts, "predicted probability of high", "", ticks, []))
    for row in bins.itertuples():
        parts.append(marker(panel.x(row.mean_probability), panel.y(row.share_high), "network"))
        left, top = counts.left + width * row.bin, float(counts.y(row.genes))
        parts.append(box(left + 1, top, width - 2, counts.top + counts.height - top, "count soft"))
        parts.append(words(left + width / 2, top - 3, whole(row.genes), "tiny", "middle"))
    pairs = "; ".join(
        f"{row.mean_probability:.2f} predicted, {row.share_high:.2f} measured ({row.genes:.0f} genes)"
        for row in bins.itertuples()
    )
    label = f"Reliability curve. Brier score {brier:.3f}, expected calibration error {error:.3f}. Bins: {pairs}."
    return svg(FIGURE_WIDTH, 394, label, *parts)


def draw_expression(genes: pd.DataFrame, correlation: float, measure: str) -> str:
    """Probability against measured expression of all held-out genes: counts in cells, median and quartiles."""
    measured, probability = genes["logMaxTPM"].to_numpy(), genes["probability"].to_numpy()
    low, high = fit_range(float(measured.min()), float(measured.max()), 0.5)
    panel = Panel(40, 64, 324, 250, (low, high))
    columns, rows = (54, 40) if len(genes) >= 3000 else (36, 25)
    counts, _, _ = np.histogram2d(measured, probability, (columns, rows), ((low, high), (0, 1)))
    steps = [step for step in (1, 3, 10, 30, 100, 300, 1000) if step <= counts.max()]
    shades = np.linspace(0.14 if len(steps) > 2 else 0.4, 0.84, len(steps))
    level = np.searchsorted(steps, counts, side="right")
    width, height = panel.width / columns, panel.height / rows
    ticks = round_ticks(low, high)
    parts = [axes(panel, f"measured expression, {measure}", "probability of high", ticks, round_ticks(0, 1))]
    for i, step in enumerate(steps, start=1):  # one path for each shade, a subpath for each cell
        shade = f' fill-opacity="{shades[i - 1]:.2f}"'
        cells = "".join(
            f"M{number(panel.left + column * width)},{number(panel.top + (rows - 1 - row) * height)}"
            f"h{width:.2f}v{height:.2f}h-{width:.2f}z"
            for column, row in zip(*np.nonzero(level == i), strict=True)
        )
        x = FIGURE_WIDTH - 14 - 38 * (len(steps) + 1 - i)
        parts += [f'<path class="count"{shade} d="{cells}"/>', box(x, 46, 9, 9, "count", shade)]
        parts.append(words(x + 12, 54, f"≥{step}", "tiny"))
    for target, name, sign in ((0, "low", "≤"), (1, "high", "≥")):
        values = genes.loc[genes["target"] == target, "logMaxTPM"]
        if len(values):
            edge = values.max() if name == "low" else values.min()
            x, text = float(panel.x(edge)), f"{name} {sign} {edge:.2f}"
            parts.append(segment(x, 36, x, panel.top + panel.height, f"{name} leader"))
            room = 7 * len(text)
            if name == "low":
                parts.append(words(max(x - 5, room), 30, text, name, "end"))
            else:
                parts.append(words(min(x + 5, FIGURE_WIDTH - room), 30 if x > room else 14, text, name))
    middles = running_quartiles(measured, probability)
    for column, css in (
        ("lower", "network thin"),
        ("upper", "network thin"),
        ("median", "halo"),
        ("median", "network line"),
    ):
        if len(middles) > 1:
            parts.append(curve(panel, middles["x"], middles[column], css))
    label = f"Probability of high against measured expression of {len(genes):,} held-out genes"
    return svg(FIGURE_WIDTH, 352, f"{label}; Spearman correlation {decimal(correlation, 2)}.", *parts)


def running_quartiles(xs: np.ndarray, ys: np.ndarray, bins: int = 20) -> pd.DataFrame:
    """Quartiles of y in up to `bins` groups of equal number along x; empty with too few genes for two."""
    bins = min(bins, len(xs) // QUARTILE_GENES)
    if bins < 2:
        return pd.DataFrame()
    edges = np.unique(np.quantile(xs, np.linspace(0, 1, bins + 1)))[1:-1]
    groups = pd.DataFrame({"x": xs, "y": ys}).groupby(np.searchsorted(edges, xs, side="left"))
    quartiles = groups["y"].quantile([0.25, 0.5, 0.75]).unstack()
    return quartiles.set_axis(["lower", "median", "upper"], axis=1).assign(x=groups["x"].median())


def draw_learning(run: Run, row: pd.Series, loss_range: tuple, auroc_range: tuple, limit: int) -> str:
    """Loss and auROC by epoch of the fold in `row`, the chosen epoch marked; ranges are those of all folds."""
    fold, chosen, log = row["chromosome"], row["best_epoch"], run.logs[row["chromosome"]]
    last = max(float(log["epoch"].max()) if len(log) else 0, 1)
    thinned = log.iloc[np.unique(np.linspace(0, len(log) - 1, min(limit, len(log))).astype(int))]
    label, parts = f"Learning curves of fold {fold}, {len(log)} epochs", [words(4, 12, shorten(fold, 18), "strong")]
    if not math.isnan(chosen):
        label += f", epoch {chosen:.0f} chosen"
        parts.append(words(238, 12, f"epoch {chosen:.0f} chosen", "quiet", "end"))
    for column, top, height, y_range in (("loss", 38, 74, loss_range), ("auROC", 142, 84, auroc_range)):
        panel = Panel(34, top, 138, height, (0, last), y_range)
        ticks = [tick for tick in round_ticks(0, last, 4) if tick == int(tick)] if column == "auROC" else []
        name = column + run.mark if column == "auROC" else column
        parts.append(axes(panel, "epoch" if ticks else "", name, ticks, round_ticks(*y_range, 4)))
        if not math.isnan(chosen):
            parts.append(curve(panel, [chosen, chosen], y_range, "chosen"))
        ends = []
        for prefix, css, text in SERIES:
            values = thinned[prefix + column].clip(*y_range) if prefix + column in thinned else pd.Series()
            if values.notna().any():
                parts.append(curve(panel, thinned["epoch"], values, f"{css} fine"))
                ends.append((float(panel.y(values.dropna().iloc[-1])), css, text))
        places = spread([y for y, _, _ in ends], [13] * len(ends), top - 4, top + height + 4)
        for (_, css, text), y in zip(ends, places, strict=True):
            parts.append(words(panel.left + panel.width + 5, y + 4, text, css))
        at = log.loc[log["epoch"] == chosen, "test_auROC"].dropna() if column == "auROC" else []
        if len(at):
            parts.append(marker(panel.x(chosen), panel.y(np.clip(at.iloc[0], *y_range)), "network", run.optimistic))
            label += f", held-out auROC{run.mark} {at.iloc[0]:.3f} there"
    return svg(240, 262, f"{label}.", *parts)


def draw_funnel(steps: list[tuple[str, float]], classes: dict[str, float], scored: dict[str, float]) -> str:
    """Bars of the genes left after each step, the classes of the last, and the genes that were scored."""
    panel = Panel(112, 0, FIGURE_WIDTH - 112 - 88, 1, (0, max([1, *(value for _, value in steps)])))
    parts, y, before = [], 4.0, math.nan
    for name, value in steps:
        end, text = float(panel.x(value)), whole(value)
        parts.append(words(panel.left - 8, y + 14, shorten(name, 17), "", "end"))
        parts.append(box(panel.left, y, end - panel.left, 19, "count soft"))
        parts.append(words(end + 6, y + 14, text, "strong"))
        if value < before:
            parts.append(words(end + 14 + 7.4 * len(text), y + 14, whole(value - before), "quiet"))
        y, before = y + 26, value
    for name, part in (("of these", classes), ("scored", scored)):
        if not part:
            continue
        parts.append(words(panel.left - 8, y + 14, name, "", "end"))
        edges = panel.x(np.cumsum([0, *part.values()]))
        texts = [f"{css} {whole(value)}" for css, value in part.items()]
        sizes = [7 * len(text) + 6 for text in texts]
        places = spread((edges[:-1] + edges[1:]) / 2, sizes, panel.left - 4, FIGURE_WIDTH)
        for i, css in enumerate(part):
            parts.append(box(edges[i], y, max(edges[i + 1] - edges[i] - 1, 0), 19, f"{css} dot"))
            parts.append(words(places[i], y + 33, texts[i], css, "middle"))
        parts.append(words(edges[-1] + 6, y + 14, whole(sum(part.values())), "strong"))
        y += 46
    told = ", ".join(f"{name} {whole(value)}" for name, value in [*steps, *classes.items()])
    return svg(FIGURE_WIDTH, y, f"Genes left after each step: {told}; scored {whole(sum(scored.values()))}.", *parts)


def draw_profile(profile: pd.DataFrame, region: str) -> str:
    """Mean absolute contribution by position around TSS (promoter) or TES (terminator), low and high apart."""
    rows, site = profile[profile["region"] == region], "TSS" if region == "promoter" else "TES"
    start, end = float(rows["position"].min()), float(rows["position"].max())
    bases = max(1, math.ceil((end - start + 1) / 300))  # averaged into one point of the line
    top = float(profile["mean_abs_contribution"].max())
    panel = Panel(46, 30, 318, 170, (start, max(end, start + 1)), (0, 1.05 * top if top > 1e-100 else 1))
    x_ticks, y_ticks = round_ticks(*panel.x_range), round_ticks(*panel.y_range, 4)
    over = f", means of {bases} bp" if bases > 1 else ""
    label = f"{region}: mean |contribution|{over}"
    parts = [axes(panel, f"position from the {site}, bp", label, x_ticks, y_ticks)]
    if start <= 0 <= end:
        parts.append(curve(panel, [0, 0], panel.y_range, "chosen"))
    peak = rows.loc[rows["mean_abs_contribution"].idxmax(), "position"]
    corner = (panel.left + 8, "start") if peak > (start + end) / 2 else (panel.left + panel.width - 4, "end")
    for y, name in ((16, "high"), (33, "low")):
        one = rows[rows["class"] == name]
        if len(one):
            line = one.groupby((one["position"] - start) // bases)[["position", "mean_abs_contribution"]].mean()
            parts.append(curve(panel, line["position"], line["mean_abs_contribution"], f"{name} fine"))
            parts.append(words(corner[0], panel.top + y, f"{name} genes", name, corner[1]))
            best = one.loc[one["mean_abs_contribution"].idxmax()]
            label += f"; {name} genes highest at {best['position']:.0f} bp, {best['mean_abs_contribution']:.3g}"
    return svg(FIGURE_WIDTH, 240, label, *parts)


# Sections of the page ---------------------------------------------------------------------------------------


def section(title: str, *parts: str) -> str:
    """A headed part of the page."""
    return f"<section>\n<h2>{esc(title)}</h2>\n" + "\n".join(part for part in parts if part) + "\n</section>"


def paragraph(text: str, css: str = "text") -> str:
    """A paragraph of plain text."""
    return f'<p class="{css}">{esc(text)}</p>'


def figure(picture: str, caption: str = "") -> str:
    """A picture and what to see in it."""
    return f"<figure>{picture}{f'<figcaption>{esc(caption)}</figcaption>' if caption else ''}</figure>"


def grid(*parts: str, css: str = "pair") -> str:
    """Parts side by side where the screen is wide enough."""
    return f'<div class="{css}">' + "".join(f"<div>{part}</div>" for part in parts) + "</div>"


def bullets(items: Iterable[str], title: str = "") -> str:
    """A list of sentences under a small heading; nothing where there are none."""
    listed = "".join(f"<li>{esc(item)}</li>" for item in items)
    return (f"<h3>{esc(title)}</h3>" if title else "") + f"<ul>{listed}</ul>" if listed else ""


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], quiet: str = "") -> str:
    """A table that scrolls in its own box; first cells name the rows, `pooled` is strong, column `quiet` grey."""
    kinds = [' class="quiet"' if name == quiet else "" for name in head]
    heads = "".join(f'<th scope="col"{kind}>{esc(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td{kind}>{esc(cell)}</td>" for cell, kind in zip(rest, kinds[1:], strict=True))
        strong = ' class="strong"' if first == "pooled" else ""
        body += f'<tr{strong}><th scope="row">{esc(first)}</th>{cells}</tr>\n'
    return scroll_box(caption, f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table>")


def scroll_box(name: str, content: str) -> str:
    """A box that scrolls sideways by itself, also from the keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(name)}">{content}</div>'


def headline(run: Run) -> tuple[str, str]:
    """The result in one sentence, and in a second one what the baselines make of it."""
    value, low, high, kmer, gc = (
        run.pooled[name] for name in ("auROC", "auROC_low", "auROC_high", "kmer_auROC", "gc_auROC")
    )
    if math.isnan(value):
        return "No auROC: the scored genes are all of one class.", "Hold out more chromosomes, or larger ones."
    told = (
        "no interval recorded" if math.isnan(low + high) else f"95\N{NO-BREAK SPACE}% interval {low:.3f} to {high:.3f}"
    )
    first = (
        "Given one lowly and one highly expressed gene of chromosomes that it was not trained on, the network "
        f"tells which is which {100 * value:.1f} times out of 100 (pooled auROC{run.mark} {value:.3f}, {told})"
    )
    first += f"; a regression on k-mer counts {100 * kmer:.1f}" if not math.isnan(kmer) else ""
    first += f"; base content alone {100 * gc:.1f}." if not math.isnan(gc) else "."
    gain = value - kmer
    if low <= 0.5 or value <= 0.5:
        second = "That is not distinguishable from guessing, which is right 50 times."
        second += f" Counting short words is right {100 * kmer:.1f} times." if kmer > max(high, 0.5) else ""
    elif math.isnan(kmer):
        second = "No k-mer baseline is recorded, so there is nothing to hold this number against."
    elif gain < 5e-4:
        far = "equal to it" if gain > -5e-4 else f"{-gain:.3f} below it"
        verdict = "as well" if gain > -0.01 else "better"
        second = f"The network does not beat the k-mer baseline ({far}): counting short words does {verdict}."
    elif low <= kmer:
        second = f"The network is {gain:.3f} above the k-mer baseline, but the baseline lies inside its interval: "
        second += "this run does not tell the two apart."
    else:
        second = f"The network beats the k-mer baseline by {gain:.3f}."
    if run.optimistic:
        help_given = "Optimistic: the epoch was chosen on the very genes that are scored, a help that the baselines"
        second = f"{help_given} did not have. {second}"
    return first, second


def write_headline(run: Run) -> str:
    """Title, the result in words, the same as a picture, and the run in a line."""
    first, second = headline(run)
    facts = f"{len(run.folds)} fold{'s' * (len(run.folds) > 1)} of held-out chromosomes"
    facts += f" · {run.scored['gene_id'].nunique():,} scored genes"
    facts += f" · finished {date(run.info['finished'])}" if run.info.get("finished") else ""
    facts += f" · LCRE {run.info['lcre_version']}" if run.info.get("lcre_version") else ""
    told = ", ".join(f"{text} {decimal(run.pooled[column])}" for column, _, text in METHODS)
    label = f"Pooled auROC{run.mark}: {told}; 95 % interval of the network {interval(run.pooled)}."
    title = paragraph("LCRE · low or high gene expression from regulatory sequence", "kicker")
    title += f"\n<h1>{esc(run.organism)}</h1>\n{paragraph(facts, 'facts')}\n"
    said = paragraph(first, "lead") + paragraph(second, "verdict")
    return f"<header>{title}{grid(said, figure(draw_auroc_rows(run, [('', run.pooled)], label)))}</header>"


def write_warnings(run: Run) -> str:
    """What to keep in mind before believing the numbers, and the trainer's remarks."""
    if not run.warnings and not run.info["notes"]:
        return ""
    warned = f'<div class="warn">{bullets(run.warnings)}</div>' if run.warnings else ""
    return section("Before you believe it" if warned else "Remarks", warned, bullets(run.info["notes"]))


def write_folds(run: Run) -> str:
    """Every fold beside its baselines: picture and table."""
    rows = [("pooled", run.pooled), *((str(row["chromosome"]), row) for _, row in run.folds.iterrows())]
    text = "Each fold holds out one chromosome, or several together: none of its genes was there to learn from."
    known = run.folds.dropna(subset=["auROC"])
    if len(known) > 1:
        best, worst = known.loc[known["auROC"].idxmax()], known.loc[known["auROC"].idxmin()]
        text += f" auROC{run.mark} runs from {worst['auROC']:.3f} ({worst['chromosome']})"
        text += f" to {best['auROC']:.3f} ({best['chromosome']})."
    both = known.dropna(subset=["kmer_auROC"])
    if len(both) > 1:
        text += f" The network is above the k-mer baseline in {(both['auROC'] > both['kmer_auROC']).sum()}"
        text += f" of {len(both)} folds."
    caption = "Circles: network, with 95 % bootstrap intervals. Diamonds: regression on k-mers. Squares: base content."
    caption += " All on the same genes." + (" Hollow: optimistic." if run.optimistic else "")
    doubt = "An interval is a bootstrap over the scored genes of this one run. Another seed moves the number as well; "
    doubt += "genes whose paralogs stood in training flatter it."
    told = "; ".join(f"{name} {decimal(row['auROC'])} (k-mers {decimal(row['kmer_auROC'])})" for name, row in rows)
    columns = (
        (f"auROC{run.mark}", "auROC", decimal),
        ("95\N{NO-BREAK SPACE}% interval", None, interval),
        ("k\N{NON-BREAKING HYPHEN}mers", "kmer_auROC", decimal),
        ("base content", "gc_auROC", decimal),
        (f"auPR{run.mark}", "auPR", decimal),
        (f"accuracy{run.mark}", "accuracy", decimal),
        ("epoch", "best_epoch", whole),
        ("training genes", "training_size", whole),
        ("validation genes", "validation_size", whole),
        ("scored genes", "test_size", whole),
        ("time", "seconds", duration),
        ("best test epoch (optimistic)", "auROC_optimistic", decimal),
    )
    cells = [[name, *(show(row[key] if key else row) for _, key, show in columns)] for name, row in rows]
    return section(
        "Folds",
        grid(
            figure(draw_auroc_rows(run, rows, f"auROC{run.mark} by fold: {told}."), caption),
            paragraph(text) + paragraph(doubt),
        ),
        table("Scores and sizes by fold", ["fold", *(head for head, _, _ in columns)], cells, quiet=columns[-1][0]),
    )


def write_curves(run: Run) -> str:
    """ROC and precision-recall, or why there are none."""
    pooled, title = run.scored.drop_duplicates("gene_id"), "Sensitivity and precision"
    if pooled["target"].nunique() < 2:
        return section(title, paragraph("The scored genes are all of one class: no curves."))
    lines = " Thin: single folds. Thick: all scored genes together." if len(run.folds) > 1 else ""
    roc = figure(draw_roc(run, pooled, False), "ROC curve over all thresholds of the probability." + lines)
    return section(title, grid(roc, figure(draw_roc(run, pooled, True), "Precision against recall." + lines)))


def write_calibration(run: Run) -> str:
    """Reliability, Brier score, expected calibration error, and the calls at 0.5."""
    pooled = run.scored.drop_duplicates("gene_id")
    bins, brier, error = calibration(pooled["target"], pooled["probability"])
    share = float(pooled["target"].mean())
    middle = run.predictions[(run.predictions["target"] == 2) & run.predictions["probability"].notna()]
    rows = ""
    for name, row in confusion(pd.concat([pooled, middle])).iterrows():
        rows += f'<tr><th scope="row">{name}{" (not scored)" if name == "middle" else ""}</th>'
        for called in ("low", "high"):
            part = row[called] / row.sum()
            rows += (
                f'<td class="{called}-cell" style="--share:{part:.3f}"><b>{row[called]:,}</b><br>{percent(part)}</td>'
            )
        rows += "</tr>"
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("measured", "called low", "called high"))
    matrix = f'<table class="confusion"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    correct = float(((pooled["probability"] > CALLED_HIGH_ABOVE) == (pooled["target"] == 1)).mean())
    return section(
        "Probabilities and calls",
        grid(
            figure(
                draw_calibration(bins, brier, error),
                "Of the scored genes given a probability, how many are high? Lines: 95\N{NO-BREAK SPACE}% Wilson "
                f"intervals. Brier score{run.mark} {brier:.3f} (saying {share:.2f} of every gene would give "
                f"{share * (1 - share):.3f}). Expected calibration error{run.mark} {error:.3f}: the mean distance "
                "from the diagonal.",
            ),
            "<h3>Calls at 0.5</h3>"
            + scroll_box("Calls at 0.5", matrix)
            + paragraph(f"Accuracy{run.mark} {percent(correct)} of scored genes; above 0.5 a gene is called high.")
            + paragraph(
                "Percentages are of each row. Middle genes have no right answer here: the row shows where the "
                "network puts them. The probability is that of high against low, not of high among all genes."
            ),
        ),
    )


def write_expression(run: Run) -> str:
    """Probability against measured expression with the middle genes, the ones that no score looks at."""
    genes = run.predictions.dropna(subset=["logMaxTPM", "probability"])
    if len(genes) < 2:
        return ""

    def spearman(part: pd.DataFrame) -> float:
        with np.errstate(invalid="ignore"):  # all of one value: NaN, shown as a dash
            return float(part["logMaxTPM"].rank().corr(part["probability"].rank()))

    middle = genes[genes["target"] == 2]
    text = f"All {len(genes):,} genes of held-out chromosomes with a measured value, scored or not. Spearman "
    text += f"correlation{run.mark} {decimal(spearman(genes), 2)}"
    text += f"; of the {len(middle):,} middle genes alone {decimal(spearman(middle), 2)}." if len(middle) > 2 else "."
    more = "No score on this page looks at middle genes. Where the probability rises through the middle, the network "
    more += "orders expression and does not only tell its two ends apart."
    measure = show_value(plain(run.info["settings"].get("TARGET_COLUMN", "logMaxTPM")), 40)
    picture = draw_expression(genes, spearman(genes), measure)
    caption = "Grey: number of genes." + (
        " Blue: median and quartiles of the probability." if len(genes) >= 2 * QUARTILE_GENES else ""
    )
    title = "Probability against measured expression"
    return section(title, grid(figure(picture, caption), paragraph(text) + paragraph(more)))


def write_learning(run: Run) -> str:
    """Small multiples: loss and auROC of every fold by epoch."""

    def pool(names: Sequence[str]) -> np.ndarray:
        values = np.concatenate([log[name] for log in run.logs.values() for name in names])
        return values[~np.isnan(values)]

    losses, areas = pool(["loss", "val_loss", "test_loss"]), pool(["val_auROC", "test_auROC"])
    if not len(losses):
        return ""
    top = min(losses.max(), 2.5 * np.median(losses))
    loss_range = fit_range(float(losses.min()), float(top), 0.1)
    auroc_range = (math.floor(min([0.5, *areas]) * 20 + 1e-9) / 20, 1.0)
    text = "The epoch was chosen on the validation genes; the held-out curve is shown and was not used."
    if run.optimistic:
        text = "The epoch was chosen on the held-out genes themselves, so the auROC at the mark is optimistic."
    text += " All folds share their scales. Epochs count from 0."
    text += " Losses above the scale are drawn at its upper edge." if losses.max() > top else ""
    if run.info.get("settings", {}).get("MODEL") == "motifs_and_words":
        text += " This network's loss in training is that of its motif detectors on the rank of every gene, middle ones"
        text += " too: it stays above .47 even for a perfect network, and does not compare with the other two."
    limit = max(10, min(200, CURVE_POINTS // (5 * len(run.folds))))
    pictures = [draw_learning(run, row, loss_range, auroc_range, limit) for _, row in run.folds.iterrows()]
    return section("Learning curves", paragraph(text), grid(*map(figure, pictures), css="multiples"))


def write_profile(run: Run) -> str:
    """Contribution by position, if lcre_explain.py has written a profile."""
    if run.profile is None:
        return ""
    usable = run.profile.dropna(subset=PROFILE_NUMBERS)
    usable = usable[usable["class"].isin(["low", "high"])]
    regions = [name for name in ("promoter", "terminator") if (usable["region"] == name).any()]
    pictures = [figure(draw_profile(usable, name)) for name in regions]
    text = "How much each position moves the prediction, on average over correctly predicted held-out genes."
    return section("Where the network looks", paragraph(text), grid(*pictures)) if regions else ""


def write_genes(run: Run) -> str:
    """From the annotation to the scored genes: funnel, reasons, sequence audit, chromosomes."""
    funnel = {str(row.get("chromosome")): row for row in run.info["funnel"]}
    if "all" not in funnel:  # an older record: what O_genes.csv tells
        used = run.genes.assign(**{"in annotation": 1, "used": (run.genes["status"] == "used").astype(int)})
        sums = used.groupby("chromosome", sort=False)[["in annotation", "used"]].sum()
        funnel = {"all": sums.sum().to_dict(), **sums.to_dict("index")}
    total = funnel.pop("all")
    names = [name for name in total if not math.isnan(as_number(total[name]))]
    steps = [(name, as_number(total[name])) for name in names if name not in CLASSES]
    classes = {name: as_number(total[name]) for name in ("low", "middle", "high") if name in names}
    genes = run.scored.drop_duplicates("gene_id")
    scored = {name: float((genes["target"] == i).sum()) for i, name in enumerate(("low", "high"))}
    reasons = run.genes.loc[run.genes["status"] != "used", "status"].value_counts()
    left_out = [f"{reason}: {count:,}" for reason, count in reasons.head(12).items()]
    if len(reasons) > 12:
        left_out.append(f"{len(reasons) - 12} other reasons: {reasons.iloc[12:].sum():,}")

    by_chromosome = genes["chromosome"].value_counts()
    numbers = pd.DataFrame(
        [[*(as_number(row.get(step)) for step in names), by_chromosome.get(name, 0)] for name, row in funnel.items()],
        index=list(funnel),
    )
    rows = [[name, *map(whole, row)] for name, row in numbers.head(TABLE_ROWS).iterrows()]
    rest = numbers.iloc[TABLE_ROWS:]
    if len(rest):
        rows.append([f"{len(rest):,} others", *map(whole, rest.sum())])
    return section(
        "Genes",
        grid(
            figure(draw_funnel(steps, classes, scored), "From the annotation to the scored genes."),
            bullets(left_out, "Left out, by reason") + bullets(audit_sentences(run.info["audit"]), "Sequence audit"),
        ),
        table("Genes by chromosome", ["chromosome", *names, "scored"], rows),
    )


def audit_sentences(audit: dict) -> list[str]:
    """The trainer's sequence audit in words; keys that are absent are left out."""
    names = ("start_with_ATG", "coding_genes", "share_N", "duplicate_windows")
    atg, coding, unknown, twice = (as_number(audit.get(name)) for name in names)
    sentences = []
    if atg >= 0 and coding > 0:
        sentences.append(f"{atg:,.0f} of {coding:,.0f} coding genes ({percent(atg / coding)}) start with ATG.")
    if unknown >= 0:
        sentences.append(f"{percent(unknown)} of the bases in the windows are not A, C, G or T.")
    if twice >= 0:
        sentences.append(f"{twice:,.0f} windows are the same sequence as another.")
    return sentences


def write_run(run: Run) -> str:
    """What was run on what: inputs, settings, versions, time, memory, and the command."""
    info = run.info
    facts = {"Started": date(info.get("started") or "–"), "Time": duration(as_number(info.get("seconds")))}
    memory = as_number(info.get("peak_memory_bytes"))
    facts |= {"Peak memory": "–" if math.isnan(memory) else size(memory), "Device": str(info.get("device") or "–")}
    for name, entry in info["inputs"].items():
        facts[name] = f"{entry['file']}, {size(entry['bytes'])}, SHA-256 {entry['sha256'][:12]}…"
    defaults = {**DEFAULTS, **info["defaults"]}
    settings = {str(name): plain(value) for name, value in info["settings"].items()}
    differing = [
        f"{name} {value} (default {'that of the model' if defaults[name] is None else defaults[name]})"
        for name, value in settings.items()
        if name in defaults and name not in INPUT_SETTINGS and value != plain(defaults[name])
    ]
    facts["Not the default"] = "; ".join(differing) or "nothing, apart from the data"
    facts["All settings"] = " · ".join(f"{name} {value}" for name, value in settings.items())
    facts["Versions"] = " · ".join(f"{name} {value}" for name, value in info["versions"].items() if value)
    told = {name: text for name, text in facts.items() if text not in ("", "–")}
    listed = "".join(f"<dt>{esc(name)}</dt><dd>{esc(text)}</dd>" for name, text in told.items())
    command = str(info.get("command") or "")
    command = command if command.startswith("python") or not command else f"python {command}"
    again = f"<h3>Run it again</h3><pre>{esc(command)}</pre>" if command else ""
    return section("The run", f"<dl>{listed}</dl>", again)


def plain(value: object) -> str:
    """A setting as text; nothing set reads as a dash, a list as its items with commas, 25.0 as 25."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return "–" if value is None or str(value).lower() in ("", "none", "all") else str(value)


# The page ---------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light; --page: #fff; --ink: #1d2226; --quiet: #5b656d; --rule: #d9dee2; --grid: #e9edf0;
  --soft: #f4f6f7; --count: #3d4850; --network: #0069ad; --kmer: #b84a00; --gc: #846100; --low: #a03c79;
  --high: #00765a; }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --page: #15181b; --ink: #e3e7ea;
  --quiet: #9ba6ae; --rule: #3a4248; --grid: #272d32; --soft: #1d2226; --count: #c3ccd2; --network: #62b5f2;
  --kmer: #f2935a; --gc: #d8b545; --low: #e591c3; --high: #42c9a0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 64rem; padding: 2.2rem 1.1rem 4rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -.015em; margin: .1rem 0 .3rem; }
h2 { font-size: 1.2rem; margin: 0 0 .9rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
h1, h2, h3, .verdict, .strong > * { font-weight: 650; }
section { margin-top: 2.4rem; }
p, ul { margin: 0 0 .8rem; }
.text, ul { max-width: 44rem; }
ul { padding-left: 1.15rem; }
li { margin-bottom: .25rem; }
.kicker, .facts, .quiet, dt, thead th, figcaption, footer { color: var(--quiet); }
.kicker { margin: 0; font-size: .9rem; }
.lead { font-size: 1.12rem; }
.pair, .multiples { display: grid; gap: 1.2rem 3rem; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.multiples { grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1.4rem 1.2rem; }
.pair > *, .multiples > * { min-width: 0; }
.pair h3:first-child { margin-top: 0; }
header .pair { margin-top: 1.3rem; }
figure { margin: 0; }
figcaption { font-size: .9rem; margin-top: .35rem; max-width: 29rem; }
.warn { border-left: 3px solid var(--kmer); padding-left: .9rem; margin-bottom: .9rem; }
.warn ul { margin: 0; }
.scroll { overflow-x: auto; margin: .9rem 0; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .28rem .62rem .28rem 0; text-align: right; white-space: nowrap; }
thead th { font-weight: 500; vertical-align: bottom; white-space: normal; overflow-wrap: normal; min-width: 3.3rem;
  border-bottom: 1px solid var(--rule); }
tbody th { font-weight: 500; }
th:first-child { text-align: left; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
.confusion td { padding: .5rem .8rem; min-width: 5rem; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.confusion thead th:not(:first-child) { padding-right: .8rem; }
.low-cell { background: color-mix(in srgb, var(--low) calc(var(--share) * 38%), transparent); }
.high-cell { background: color-mix(in srgb, var(--high) calc(var(--share) * 38%), transparent); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.2rem; margin: 0 0 1rem; }
dd { margin: 0; }
pre { white-space: pre-wrap; background: var(--soft); padding: .7rem .9rem; font-size: .85rem; margin: 0; }
footer { margin-top: 3rem; font-size: .9rem; }
svg { display: block; width: 100%; height: auto; max-width: 29rem; overflow: visible; }
.multiples svg { max-width: 18rem; }
svg text { font-size: 12px; fill: var(--ink); }
svg .tick, svg .tiny, svg .quiet { fill: var(--quiet); font-size: 11px; }
svg .tiny { font-size: 9.5px; }
svg .strong { font-weight: 650; }
svg path { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.network { --c: var(--network); } .kmer { --c: var(--kmer); } .gc { --c: var(--gc); } .low { --c: var(--low); }
.high { --c: var(--high); } .middle, .training { --c: var(--quiet); } .validation { --c: var(--ink); }
svg :is(.network, .kmer, .gc, .low, .high, .middle, .training, .validation) { fill: var(--c); }
svg :is(.line, .fine, .thin, .bar, .leader) { fill: none; stroke: var(--c); }
svg .line { stroke-width: 2.4; }
svg .fine { stroke-width: 1.6; }
svg .thin { stroke-width: 1; stroke-opacity: .45; }
svg .bar { stroke-width: 2; stroke-opacity: .55; }
svg .leader { stroke-width: 1; stroke-opacity: .7; }
svg .training.fine { stroke-dasharray: 4 3; }
svg .fine.point { stroke-width: 6; stroke-dasharray: none; }
svg .dot { fill: var(--c); stroke: var(--page); stroke-width: 1; }
svg .hollow { fill: var(--page); stroke: var(--c); stroke-width: 1.8; }
svg .halo { stroke: var(--page); stroke-width: 5; }
svg .axis, svg .chosen { stroke: var(--quiet); stroke-width: 1; }
svg .dashed { stroke-dasharray: 3 4; }
svg .rule { stroke: var(--grid); stroke-width: 1; }
svg .count { fill: var(--count); }
svg .soft { fill-opacity: .3; }
svg rect.dot { stroke: none; fill-opacity: .8; }
@media (max-width: 30rem) { body { padding-top: 1.2rem; } h1 { font-size: 1.7rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin-bottom: .5rem; } }
@media print { @page { margin: 14mm; } html { font-size: 9.5pt; } body { padding: 0; max-width: none; }
  section, figure, tr, .warn, dl { break-inside: avoid; } h2, h3 { break-after: avoid; }
  section { margin-top: 1.2rem; } .pair svg { max-width: 22rem; }
  .pair { grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; } .multiples { grid-template-columns: repeat(4, 1fr); }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } th, td { padding-right: .4rem; } }
"""


def build_page(run: Run) -> str:
    """The whole page as HTML."""
    parts = [
        write_headline(run),
        write_warnings(run),
        write_folds(run),
        write_curves(run),
        write_calibration(run),
        write_expression(run),
        write_learning(run),
        write_profile(run),
        write_genes(run),
        write_run(run),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{esc(run.organism)}: LCRE report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        "<footer>Written by lcre_report.py from the files of the run; python lcre_report.py "
        f"{esc(run.prefix.as_posix())} writes it again.</footer>\n</body>\n</html>\n"
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
