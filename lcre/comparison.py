"""Two runs compared gene by gene: whether their auROC differs by more than chance, and on which genes their calls do.

Reads what `lcre.report.read_run` reads and writes saved_models/A_vs_B.html and A_vs_B.csv. The order of this file: pair
the genes, test, draw the figures, say what stands in the sections, write.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from core import PATH_LENGTH, InputError, examples, figures, page, scores, show_value
from core.files import write_csv, write_text
from core.page import show_count, show_date, show_number, show_percent, show_seconds
from lcre import check, report
from lcre.records import TABLES

COLUMNS = (  # of A_vs_B.csv
    "gene_id",
    "chromosome",
    "fold",
    "target",
    "logMaxTPM",
    "probability_A",
    "probability_B",
    "called_A",
    "called_B",
    "changed_side",
)
SEED, DRAWS = 1, 2000  # of the bootstrap
CALLED_APART = 0.05  # largest p at which two runs are said to differ
LISTED_GENES = 20
MOST_LETTERS = 16  # of a name in a figure or at the head of a column
UNIMPORTANT = report.INPUT_SETTINGS | {"SAVED_MODELS"}  # files count by content, and have rows of their own

PALETTE = {  # CSS variable -> on white, on dark
    "first": report.PALETTE["network"],
    "second": report.PALETTE["kmer"],
    "low": report.PALETTE["low"],
    "high": report.PALETTE["high"],
}
FIRST, SECOND = (PALETTE[name][0] for name in ("first", "second"))
LEAST_LOG_ODDS, MOST_LOG_ODDS = 0.9, 6.95  # probabilities .71 and .999: how far the axes of a scatter reach
TICKS = (  # probabilities on the axes of a scatter, by how far these reach
    (4.0, (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)),
    (1.5, (0.05, 0.2, 0.5, 0.8, 0.95)),
    (0.0, (0.3, 0.4, 0.5, 0.6, 0.7)),
)


# Pairing ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """One fold, or all folds `pooled`: auROC of both runs, and A less B with 95 % interval and two-sided p-value."""

    name: str
    genes: int
    auroc_A: float
    auroc_B: float
    difference: float
    low: float  # of DeLong's interval
    high: float
    p: float  # of DeLong's paired test
    bootstrap_low: float  # of the paired bootstrap over genes
    bootstrap_high: float
    bootstrap_p: float


@dataclass(frozen=True)
class Comparison:
    """Two runs, A and B, on the genes that both of them score."""

    runs: tuple[report.Run, report.Run]
    names: tuple[str, str]  # what A and B are called
    genes: pd.DataFrame  # a row a gene, the columns COLUMNS
    rows: Sequence[Compared]  # pooled, then every fold
    remarks: Sequence[str]  # what was left out

    @property
    def pooled(self) -> Compared:
        """All paired genes together."""
        return self.rows[0]

    @property
    def folds(self) -> Sequence[Compared]:
        """Every fold by itself."""
        return self.rows[1:]

    @property
    def shown(self) -> tuple[str, str]:
        """The names as sentences have them, marked where the epoch was chosen on the genes that are scored."""
        return tuple(show_value(name) + run.mark for name, run in zip(self.names, self.runs, strict=True))

    @property
    def short(self) -> tuple[str, str]:
        """The names as figures and tables have them: A and B where one of them is long."""
        names = [show_value(name) for name in self.names]
        names = names if max(map(len, names)) <= MOST_LETTERS else "AB"
        return tuple(name + run.mark for name, run in zip(names, self.runs, strict=True))

    @cached_property
    def only_right(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The genes that A alone calls rightly, and those that B alone does; the largest difference first."""
        changed = self.genes[self.genes["changed_side"] == 1]
        gap = (changed["probability_A"] - changed["probability_B"]).abs()
        changed = changed.loc[gap.sort_values(ascending=False, kind="stable").index]
        right = changed["called_A"] == changed["target"]
        return changed[right], changed[~right]


def compare_runs(prefix_a: Path, prefix_b: Path, draws: int = DRAWS) -> Comparison:
    """Compare two finished runs, A and B, on the genes that both score.

    The pairs are the test genes of both runs that have a probability in both. Genes that one of them does not score
    are left out, and `remarks` says how many.

    Args:
        prefix_a: saved_models/A.
        prefix_b: saved_models/B.
        draws: of the bootstrap.

    Returns:
        The paired genes, and for all of them and every fold the difference in auROC, A less B, with interval and
        p-value: `compare_runs(a, b).pooled.difference`.

    Raises:
        InputError: the two are one run, or as `report.read_run` and `pair_genes`.
    """
    prefixes = Path(prefix_a), Path(prefix_b)
    if prefixes[0].resolve() == prefixes[1].resolve():
        raise InputError(f"{show_path(prefixes[0])} is compared with itself; give the prefixes of two runs")
    runs = report.read_run(prefixes[0]), report.read_run(prefixes[1])
    names = tuple(prefix.name for prefix in prefixes)
    if names[0] == names[1]:
        names = tuple(prefix.as_posix() for prefix in prefixes)
    genes, remarks = pair_genes(runs, names)
    parts = [("pooled", genes), *genes.groupby("fold", sort=False)]
    rows = [compare_genes(name, part, draws) for name, part in parts]
    return Comparison(runs, names, genes, rows, remarks)


def pair_genes(runs: Sequence[report.Run], names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the genes that both runs score, columns COLUMNS, in the order of A; and sentences on those left out.

    Raises:
        InputError: no gene is in both; a gene has another label, or is held out by another fold; each has a fold that
            the other does not have; the genes that both score are of one class.
    """
    told = [show_path(run.prefix) for run in runs]
    check_labels(runs, told)
    check_folds(runs, told)
    first, second = (run.scored.drop_duplicates("gene_id") for run in runs)
    both = first.merge(second[["gene_id", "fold", "probability"]], on="gene_id", suffixes=("_A", "_B"))
    if both.empty:
        raise InputError(f"no gene is scored by both {told[0]} and {told[1]}; compare runs with common test genes")
    moved = both[both["fold_A"] != both["fold_B"]]
    if len(moved):
        shown = examples(moved["gene_id"] + ": " + moved["fold_A"] + " and " + moved["fold_B"])
        raise InputError(
            f"{told[0]} and {told[1]} hold out {len(moved):,} of {len(both):,} common genes in other folds ({shown}): "
            "a network of one was trained on what the other is tested on; train both with the same folds"
        )
    if both["target"].nunique() < 2:
        label = report.CLASSES[int(both["target"].iloc[0])]
        raise InputError(
            f"the {len(both):,} genes that both {told[0]} and {told[1]} score are all {label}: there is nothing to "
            "rank; compare runs that score genes of both classes"
        )
    for run in "AB":
        both[f"called_{run}"] = (both[f"probability_{run}"] > report.CALLED_HIGH_ABOVE).astype(int)
    both["changed_side"] = (both["called_A"] != both["called_B"]).astype(int)
    both["target"] = both["target"].astype(int)
    remarks = []
    for name, other, scored in ((names[0], names[1], first), (names[1], names[0], second)):
        if alone := len(scored) - len(both):
            absent = [fold for fold in dict.fromkeys(scored["fold"]) if fold not in set(both["fold_A"])]
            folds = f", all of its fold{'s' * (len(absent) > 1)} {examples(absent)} among them" if absent else ""
            remarks.append(
                f"{count_genes(alone)} of {len(scored):,} scored by {show_value(name)} but not by {show_value(other)} "
                f"{'is' if alone == 1 else 'are'} left out{folds}."
            )
    return both.rename(columns={"fold_A": "fold"})[list(COLUMNS)], remarks


def check_labels(runs: Sequence[report.Run], told: Sequence[str]) -> None:
    """Raise InputError where no gene is in both runs, or where one is labelled otherwise, scored or not."""
    labels = [run.predictions.drop_duplicates("gene_id").set_index("gene_id")["target"].fillna(-1) for run in runs]
    first, second = labels[0].align(labels[1], join="inner")
    if first.empty:
        shown = [examples(label.index, 2) for label in labels]
        raise InputError(
            f"{told[0]} ({shown[0]}) and {told[1]} ({shown[1]}) have no gene in common; compare runs on one annotation"
        )
    other = first.index[first != second]
    if len(other):
        name = {-1: "without a value", **dict(enumerate(report.CLASSES))}
        shown = examples(f"{gene}: {name[first[gene]]} and {name[second[gene]]}" for gene in other)
        raise InputError(
            f"{told[0]} and {told[1]} have other labels for {len(other):,} of {len(first):,} common genes ({shown}); "
            "train both with the same expression table, target column and percentiles"
        )


def check_folds(runs: Sequence[report.Run], told: Sequence[str]) -> None:
    """Raise InputError where each run has a fold that the other does not have; a run may have some of the other's."""
    first, second = (list(run.folds["chromosome"]) for run in runs)
    only = [[fold for fold in ours if fold not in theirs] for ours, theirs in ((first, second), (second, first))]
    if all(only):
        raise InputError(
            f"{told[0]} and {told[1]} have other folds: {examples(only[0])} of the first are not in the second, and "
            f"{examples(only[1])} of the second not in the first; train both with the same folds"
        )


def compare_genes(name: str, genes: pd.DataFrame, draws: int) -> Compared:
    """Compare both runs on some of the paired genes; scores are nan where they are of one class."""
    target, first, second = (genes[column].to_numpy() for column in ("target", "probability_A", "probability_B"))
    tested = scores.delong_test(target, [first], [second])
    drawn = scores.bootstrap_test(target, first, second, SEED, draws)
    areas = scores.auroc(target, first), scores.auroc(target, second)
    return Compared(str(name), len(genes), *areas, *tested, drawn.low, drawn.high, drawn.p)


# Words ------------------------------------------------------------------------------------------------------


def count_genes(count: int) -> str:
    """Return 1 gene, or 1,234 genes."""
    return f"{count:,} gene{'s' * (count != 1)}"


def show_path(prefix: Path) -> str:
    """Return a prefix as messages show it."""
    return show_value(prefix, PATH_LENGTH)


def show_p(p: float) -> str:
    """Return = 0.48, = 0.003, = 0.0004 or < 0.0001; = and a dash for NaN."""
    digits = 2 if p >= 0.1 else 3 if p >= 0.001 else 4
    return "< 0.0001" if p < 1e-4 else f"= {show_number(p, f'{{:.{digits}f}}')}"


def show_range(low: float, high: float) -> str:
    """Return −0.004 to 0.020, or a dash where there is no interval."""
    return page.DASH if math.isnan(low + high) else f"{show_number(low)} to {show_number(high)}"


def describe_difference(comparison: Comparison) -> tuple[str, str]:
    """Return the pooled difference in one sentence, and in a second one whether the two runs can be told apart."""
    row, names = comparison.pooled, comparison.shown
    difference, ends, areas = row.difference, (row.low, row.high), (row.auroc_A, row.auroc_B)
    if difference < 0:
        difference, ends, areas, names = -difference, (-row.high, -row.low), areas[::-1], names[::-1]
    interval = f"95\N{NO-BREAK SPACE}% interval {show_range(*ends)}, p {show_p(row.p)}"
    far = f"{difference:.3f} above" if difference >= 5e-4 else "level with"
    first = f"{names[0]} is {far} {names[1]} ({interval})"
    first += f": pooled auROC {areas[0]:.3f} against {areas[1]:.3f} on the same {count_genes(row.genes)}."
    apart, drawn = row.p < CALLED_APART, row.bootstrap_low > 0 or row.bootstrap_high < 0
    if math.isnan(row.p):
        second = "There are too few genes for a test."
    elif apart != drawn:
        second = (
            "DeLong's test and the bootstrap do not agree on whether the difference could be 0: the two runs can "
            "hardly be told apart on these genes."
        )
    elif apart:
        second = f"The two runs can be told apart: {names[0]} ranks these genes better."
    else:
        second = (
            "The two runs cannot be told apart on these genes: every difference within the interval, 0 among them, "
            "agrees with what they predict."
        )
    helped = [name for name, run in zip(comparison.shown, comparison.runs, strict=True) if run.optimistic]
    if len(helped) == 1:
        second = (
            f"{helped[0]} chose its epoch on the very genes that are scored, a help that the other had not. {second}"
        )
    return first, second


def show_comparison(comparison: Comparison) -> str:
    """Return the comparison as people read it in a terminal: a line a fold, then pooled, and the result."""
    lines = [f"{letter}: {show_path(run.prefix)}{run.mark}" for letter, run in zip("AB", comparison.runs, strict=True)]
    table = []
    for row in [*comparison.folds, comparison.pooled]:
        cells = {"held out": show_value(row.name), "genes": row.genes, "auROC A": row.auroc_A, "auROC B": row.auroc_B}
        cells["A - B"] = show_number(row.difference, "{:+.3f}")
        cells["95 % interval"] = show_range(row.low, row.high)
        cells["p"] = show_p(row.p).removeprefix("= ")
        cells["bootstrap interval"] = show_range(row.bootstrap_low, row.bootstrap_high)
        cells["bootstrap p"] = show_p(row.bootstrap_p).removeprefix("= ")
        table.append(cells)
    lines += [check.show_table(pd.DataFrame(table)), *comparison.remarks, *describe_difference(comparison)]
    return "\n".join(lines).replace("\N{MINUS SIGN}", "-").replace(page.DASH, "-").replace("\N{NO-BREAK SPACE}", " ")


# Figures ----------------------------------------------------------------------------------------------------


@figures.page_style()
def draw_differences(rows: Sequence[Compared], names: Sequence[str], label: str) -> str:
    """Draw the difference in auROC, A less B, with DeLong's interval, a line for each row; an unnamed row is alone."""
    labels = [show_value(row.name, 15) for row in rows] if len(rows) > 1 else [""]
    left, height = 12 + 7.9 * max(map(len, labels)), 22 * len(rows)
    values = np.array([[row.difference, row.low, row.high] for row in rows])
    most = 1.05 * max(0.001, float(np.nanmax(np.abs(np.append(values, 0)))))
    figure = figures.new_figure(report.FIGURE_WIDTH, 84 + height)
    box = (left, 38, report.FIGURE_WIDTH - left - 56, height)
    axis = figures.add_panel(figure, box, (-most, most), (len(rows), 0), "difference in auROC", ticks=(5, 0))
    axis.axvline(0, **report.REFERENCE)
    places = np.arange(len(rows)) + 0.5
    colours = [FIRST if row.difference > 0 else SECOND if row.difference < 0 else figures.QUIET for row in rows]
    axis.hlines(places, values[:, 1], values[:, 2], colors=colours, linewidth=2, alpha=0.55)
    for name, row, place, colour in zip(labels, rows, places, colours, strict=True):
        weight = "bold" if name == "pooled" else "normal"
        figures.draw_marks(axis, [row.difference], [place], colour)
        figures.write(axis, name, (-most, place), (-10, -4), ha="right", weight=weight)
        told = show_number(row.difference, "{:+.3f}")
        figures.write(axis, told, (most, place), (54, -4), ha="right", color=colour, weight=weight)
    for name, shift, side, colour in ((names[0], 8, "left", FIRST), (names[1], -8, "right", SECOND)):
        figures.write(axis, f"{name} better", (0, 0), (shift, 14), ha=side, color=colour)
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_roc_curves(comparison: Comparison) -> str:
    """Draw the ROC curves of both runs over all paired genes."""
    x_label, y_label = "share of low genes called high", "share of high genes called high"
    figure = figures.new_figure(report.FIGURE_WIDTH, 368)
    axis = figures.add_panel(figure, (40, 26, 324, 300), (0, 1), (0, 1), x_label, y_label)
    axis.plot([0, 1], [0, 1], linestyle=figures.DASHED, **report.REFERENCE)
    told, pooled = [], comparison.pooled
    both = zip(comparison.short, "AB", (pooled.auroc_A, pooled.auroc_B), (FIRST, SECOND), (0.16, 0.10), strict=True)
    for name, letter, area, colour, place in both:
        points = report.roc_points(comparison.genes.rename(columns={f"probability_{letter}": "probability"}))
        told.append(f"{name} {area:.3f}")
        figures.draw_line(axis, *figures.thin(*points, 400), f"{name}: auROC {area:.3f}", color=colour, linewidth=2)
        figures.write(axis, told[-1], (0.97, place), color=colour, ha="right", weight="bold")
    label = f"ROC curves of both runs on the same {count_genes(pooled.genes)}: auROC {', '.join(told)}."
    return figures.to_svg(figure, label, PALETTE)


@figures.page_style()
def draw_probabilities(genes: pd.DataFrame, names: Sequence[str], target: int, reach: float) -> str:
    """Draw the probability by B against that by A of the genes of one class, on axes of log-odds."""
    name, colour = report.CLASSES[target], (report.LOW, report.HIGH)[target]
    part = genes[genes["target"] == target]
    xs, ys = (log_odds(part[f"probability_{letter}"], reach) for letter in "AB")
    figure = figures.new_figure(report.FIGURE_WIDTH, 394)
    axis = figures.add_panel(figure, (40, 52, 324, 300), (-reach, reach), (-reach, reach), *names)
    ticks = next(np.array(ticks) for least, ticks in TICKS if reach >= least)
    ticks = ticks[np.abs(np.log(ticks / (1 - ticks))) <= reach]
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks(np.log(ticks / (1 - ticks)), labels=[figures.tick_text(tick) for tick in ticks])
    axis.axvline(0, **report.REFERENCE)
    axis.axhline(0, **report.REFERENCE)
    axis.plot([-reach, reach], [-reach, reach], linestyle=figures.DASHED, **report.REFERENCE)
    figures.draw_density(axis, xs, ys, (54, 50) if len(part) >= 3000 else (36, 33), colour)
    figures.write(axis, f"{name} genes", (-reach, reach), (-30, 32), color=colour, weight="bold")
    right = [part[f"called_{letter}"] == target for letter in "AB"]
    alone = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    corners = ((-reach, reach, 6, -16, "left"), (reach, -reach, -6, 8, "right"))  # of x and y, and the shift from there
    corners = corners if target == 0 else corners[::-1]
    for run, count, (x, y, aside, up, side) in zip(names, alone, corners, strict=True):
        text = f"{run} alone right: {count:,}"
        figures.write(axis, text, (x, y), (aside, up), ha=side, **report.REMARK)
    label = f"Probability of high of {count_genes(len(part))} that are {name}, {names[1]} against {names[0]}: "
    label += f"{names[0]} alone right {alone[0]:,}, {names[1]} alone right {alone[1]:,}."
    return figures.to_svg(figure, label, PALETTE)


def log_odds(probability: Sequence[float], reach: float = MOST_LOG_ODDS) -> np.ndarray:
    """Return log-odds, no farther from 0 than `reach`."""
    probability = np.clip(np.asarray(probability, float), 1e-6, 1 - 1e-6)
    return np.clip(np.log(probability / (1 - probability)), -reach, reach)


# Sections of the page ---------------------------------------------------------------------------------------


def make_warnings(comparison: Comparison) -> page.Section | None:
    """Return what to keep in mind before believing the numbers: what was left out, and the warnings of the runs."""
    first, second = (dict.fromkeys(run.warnings) for run in comparison.runs)
    warnings = [f"Both runs: {text}" for text in first if text in second]
    for name, own, other in zip(comparison.names, (first, second), (second, first), strict=True):
        warnings += [f"{show_value(name)}: {text}" for text in own if text not in other]
    if not warnings and not comparison.remarks:
        return None
    return page.Section("Before you believe it", [page.Bullets([*comparison.remarks, *warnings], warn=True)])


def make_folds(comparison: Comparison) -> page.Section:
    """Return the difference of every fold, and what is tested."""
    names, short, folds = comparison.shown, comparison.short, comparison.folds
    told = "; ".join(f"{row.name} {show_number(row.difference, '{:+.3f}')}" for row in comparison.rows)
    figure = draw_differences(comparison.rows, short, f"Difference in auROC by fold: {told}.")
    caption = f"auROC of {names[0]} less that of {names[1]}, with DeLong's 95\N{NO-BREAK SPACE}% intervals."
    tested = (
        "The test asks: if the two networks of each fold scored other genes of the same kind, could the difference in "
        "auROC be 0? Both score the same genes, so what is easy or hard for both cancels out. The interval and p are "
        "DeLong's; the bootstrap draws genes within their class again and again, the same for both runs."
    )
    doubt = (
        "Genes count as independent, so relatives among them make p too small. The networks count as fixed: another "
        "seed gives other networks, and only several seeds show what another training would have given."
    )
    text = [tested, doubt]
    known = [row for row in folds if not math.isnan(row.difference)]
    if len(known) > 1:
        above = sum(row.difference > 0 for row in known)
        within = np.average([row.difference for row in known], weights=[row.genes for row in known])
        text.append(
            f"{names[0]} is above {names[1]} in {above} of {len(known)} folds. Pooled ranks the genes of all folds "
            "together, although each fold has its own network; ranked within their folds, the mean difference is "
            f"{show_number(within, '{:+.3f}')}."
        )
    head = ["fold", "genes", f"auROC {short[0]}", f"auROC {short[1]}", "difference", "95\N{NO-BREAK SPACE}% interval"]
    head += ["p", "bootstrap interval", "bootstrap p"]
    rows = [
        [
            row.name,
            show_count(row.genes),
            show_number(row.auroc_A),
            show_number(row.auroc_B),
            show_number(row.difference, "{:+.3f}"),
            show_range(row.low, row.high),
            show_p(row.p).removeprefix("= "),
            show_range(row.bootstrap_low, row.bootstrap_high),
            show_p(row.bootstrap_p).removeprefix("= "),
        ]
        for row in comparison.rows
    ]
    table = page.Table("auROC of both runs by fold", head, rows, bold="pooled")
    return page.Section("The difference by fold", [page.Columns([[page.Figure(figure, caption)], text]), table])


def make_probabilities(comparison: Comparison) -> page.Section:
    """Return the two probabilities of every gene against each other, and both ROC curves."""
    genes, names = comparison.genes, comparison.short
    farthest = max(np.abs(log_odds(genes[f"probability_{letter}"])).max() for letter in "AB")
    reach = max(LEAST_LOG_ODDS, 1.02 * farthest)
    pair = [[page.Figure(draw_probabilities(genes, names, target, reach))] for target in (0, 1)]
    text = (
        "Probability of high by both runs, on axes of log-odds; the shade is the number of genes. On the dashed line "
        "both say the same. Lines at 0.5 part the genes called low from those called high."
    )
    return page.Section("Both predictions of every gene", [text, page.Columns(pair)])


def make_calls(comparison: Comparison) -> page.Section:
    """Return how many genes changed side, who is right about them, and the genes with the largest difference."""
    genes, names, short = comparison.genes, comparison.shown, comparison.short
    right = [genes[f"called_{letter}"] == genes["target"] for letter in "AB"]
    alone = [len(part) for part in comparison.only_right]
    share = [show_percent(float(one.mean())) for one in right]
    rows = []
    for told, first in ((f"{short[0]} right", right[0]), (f"{short[0]} wrong", ~right[0])):
        counts = [int((first & second).sum()) for second in (right[1], ~right[1])]
        colours = ("count", "first") if first is right[0] else ("second", "count")
        parts = [count / len(genes) for count in counts]
        cells = zip(map(show_count, counts), map(show_percent, parts), colours, parts, strict=True)
        rows.append([told, *(page.Cell(*cell) for cell in cells)])
    text = (
        f"{count_genes(sum(alone))} of {len(genes):,} changed side: one run calls them high (above 0.5) and the other "
        f"low. {names[0]} is right about {alone[0]:,} of them and {names[1]} about {alone[1]:,}; by chance alone a "
        f"split as uneven as that has p {show_p(scores.mcnemar_p(*alone))} (McNemar's exact test). "
        f"Accuracy: {names[0]} {share[0]}, {names[1]} {share[1]}."
    )
    table = page.Table("Calls of both runs", ["", f"{short[1]} right", f"{short[1]} wrong"], rows)
    curves = page.Figure(draw_roc_curves(comparison), "ROC curves of both runs on the same genes, all folds pooled.")
    blocks = [page.Columns([[text, table], [curves]])]
    lists = [
        list_genes(part, short, f"{name} alone is right")
        for name, part in zip(short, comparison.only_right, strict=True)
        if len(part)
    ]
    if lists:
        told = f"The genes that one run alone calls rightly; of each list the first {LISTED_GENES} by difference."
        blocks += [told, page.Columns(lists)]
    return page.Section("Genes that changed side", blocks)


def list_genes(part: pd.DataFrame, names: Sequence[str], title: str) -> list[page.Block]:
    """Return a table of the genes that one run alone calls rightly, the first LISTED_GENES of `part`."""
    rows = [
        [
            show_value(gene.gene_id),
            show_value(gene.fold, 20),
            report.CLASSES[gene.target],
            show_number(gene.probability_A),
            show_number(gene.probability_B),
        ]
        for gene in part.head(LISTED_GENES).itertuples()
    ]
    title = f"{title}: {count_genes(len(part))}"
    return [page.Table(title, ["gene", "fold", "measured", *names], rows, title=title)]


def make_facts(comparison: Comparison) -> page.Section:
    """Return in what the two runs differ: settings, inputs, versions, time."""
    first, second = (list_facts(run) for run in comparison.runs)
    rows = []
    for key in {**first, **second}:
        values = first.get(key, (None, page.DASH)), second.get(key, (None, page.DASH))
        if values[0][0] != values[1][0] and any(text != page.DASH for _, text in values):
            rows.append([show_value(key[1]), *(show_value(text, 80) for _, text in values)])
    shown = page.Table("What differs between the runs", ["", *comparison.short], rows)
    where = {letter: show_path(run.prefix) for letter, run in zip("AB", comparison.runs, strict=True)}
    same = "Settings, inputs and versions that do not stand here are the same in both."
    return page.Section("What differs between the runs", [where, shown, same])


def list_facts(run: report.Run) -> dict[tuple[str, str], tuple[object, str]]:
    """Return (group, name) -> what is compared and what is shown, of all that may differ between runs."""
    info = run.info
    facts = {}
    for name, value in info["settings"].items():
        if name not in UNIMPORTANT:
            facts["settings", name] = (report.show_setting(value),) * 2
    for name, entry in info["inputs"].items():
        facts["inputs", name] = entry["sha256"], f"{entry['file']}, SHA-256 {entry['sha256'][:12]}…"
    for name, version in {"LCRE": info.get("lcre_version"), **info["versions"]}.items():
        facts["versions", name] = version, version or page.DASH
    facts["run", "device"] = info.get("device"), info.get("device") or page.DASH
    facts["run", "finished"] = info.get("finished"), show_date(info.get("finished") or page.DASH)
    facts["run", "time"] = info.get("seconds"), show_seconds(report.as_number(info.get("seconds")))
    facts["run", "genes scored"] = len(run.scored), show_count(len(run.scored))
    return facts


# The page ---------------------------------------------------------------------------------------------------

SECTIONS = (make_warnings, make_folds, make_probabilities, make_calls, make_facts)


def build_page(comparison: Comparison) -> str:
    """Return the whole page as HTML."""
    lead, verdict = describe_difference(comparison)
    names, row = [show_value(name) for name in comparison.names], comparison.pooled
    told = f"{show_number(row.difference, '{:+.3f}')}, 95 % interval {show_range(row.low, row.high)}"
    figure = draw_differences(
        [row], comparison.short, f"Pooled auROC, {comparison.short[0]} less {comparison.short[1]}: {told}."
    )
    folds = len(comparison.folds)
    sections = [make_section(comparison) for make_section in SECTIONS]
    again = " ".join(run.prefix.as_posix() for run in comparison.runs)
    return page.render_page(
        page.Page(
            title=f"{names[0]} against {names[1]}: LCRE comparison",
            heading=f"{names[0]} against {names[1]}",
            above="LCRE · two runs compared on the same genes",
            below=f"A: {names[0]} · B: {names[1]} · {count_genes(row.genes)} · {folds} fold{'s' * (folds > 1)}",
            lead=lead,
            verdict=verdict,
            figure=page.Figure(figure),
            sections=[section for section in sections if section],
            footer=f"Written from the files of the two runs; python lcre_report.py {again} writes it again.",
            palette=PALETTE,
        )
    )


def choose_out(prefixes: Sequence[Path], out: Path | None) -> tuple[Path, Path]:
    """Return where page and table of a comparison go: `out` and the CSV beside it, or saved_models/A_vs_B.html.

    Raises:
        InputError: `out` does not end in .html or is in no folder; a file there is one of a run, or another table.
    """
    if out is None:
        out = prefixes[0].with_name(f"{prefixes[0].name}_vs_{prefixes[1].name}.html")
    elif out.suffix.lower() != ".html":
        raise InputError(
            f"{show_path(out)}: the page needs a name that ends in .html; the table goes beside it as .csv"
        )
    elif not out.absolute().parent.is_dir():
        raise InputError(f"{show_path(out)}: there is no folder {show_path(out.absolute().parent)}; make it first")
    told, table = show_path(out), out.with_suffix(".csv")
    of_runs = [Path(f"{prefix}_{name}").resolve() for prefix in prefixes for name in TABLES]
    if {out.resolve(), table.resolve()} & set(of_runs):
        raise InputError(f"{told}: page or table would take the place of a file of the run; give another name")
    if table.is_file() and not table.read_bytes().startswith(",".join(COLUMNS).encode()):
        raise InputError(f"{show_path(table)} is there and is no table of a comparison; give another name")
    return out, table


def write_comparison(prefix_a: Path, prefix_b: Path, out: Path | None = None) -> tuple[Comparison, Path, Path]:
    """Compare two runs and write page and table; returns the comparison and the two paths.

    Args:
        prefix_a: saved_models/A.
        prefix_b: saved_models/B.
        out: the page; the table goes beside it. None: saved_models/A_vs_B.html.

    Raises:
        InputError: as `compare_runs` and `choose_out`; nothing is written then.
    """
    prefixes = Path(prefix_a), Path(prefix_b)
    out, table = choose_out(prefixes, out)
    comparison = compare_runs(*prefixes)
    content = build_page(comparison)
    write_csv(table, comparison.genes)
    write_text(out, content)
    return comparison, out, table
