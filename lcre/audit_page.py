"""The section of a run's page on homologs in training, from O_audit_bins.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from core import figures, page
from core.page import show_count, show_number
from lcre import audit

WIDTH = 380  # units, as the other figures of the page


def make_section(prefix: Path, scored: int, palette: Mapping[str, tuple[str, str]]) -> page.Section | None:
    """Return figure, table and verdict of the audit; None where the run was not audited.

    Args:
        prefix: saved_models/O.
        scored: how many rows of genes and folds the run scores now.
        palette: of the page; its first colour is the network's.

    Raises:
        InputError: O_audit_bins.csv is not as `lcre_homology.py --audit` writes it.
    """
    table = audit.read_bins(prefix)
    if table is None:
        return None
    measure = audit.MEASURES[table["measure"].iloc[0]]
    rows = [
        [
            audit.name_bin(row.bin),
            *map(show_count, (row.genes, row.low, row.high)),
            show_number(row.auROC),
            show_interval(row),
        ]
        for row in table.itertuples()
    ]
    head = [
        f"nearest training gene, {measure.words}",
        "genes",
        "low",
        "high",
        "auROC",
        "95\N{NO-BREAK SPACE}% interval",
    ]
    text = (
        "For each scored gene the nearest of the genes that trained its fold. A gene whose close relative was there to "
        "learn from is not quite held out."
    )
    blocks = [audit.describe(table), text]
    genes = table.loc[table["bin"] == "all", "genes"].iloc[0]
    if genes != scored:
        blocks.append(f"The audit is of {genes:,.0f} scored genes, the run has {scored:,} now: {audit.AUDIT_AGAIN}.")
    told = "; ".join(
        f"{audit.name_bin(row.bin)} {show_number(row.auROC)} ({row.genes:,.0f} genes)" for row in table.itertuples()
    )
    label = f"auROC by similarity to the nearest training gene: {told}."
    caption = "Dots: auROC of the network, with 95 % bootstrap intervals; right: genes."
    figure = page.Figure(draw_bins(table, label, palette), caption)
    columns = page.Columns([[figure], blocks])
    below = page.Table("auROC by similarity", head, rows, bold="all", ruled=audit.name_bin(audit.SUMMARY[0]))
    return page.Section("Homologs in training", [columns, below])


def show_interval(row) -> str:
    """Return 0.895–0.911, or a dash where there is none."""
    low, high = row.auROC_low, row.auROC_high
    return page.DASH if math.isnan(low + high) else f"{low:.3f}–{high:.3f}"


@figures.page_style()
def draw_bins(table: pd.DataFrame, label: str, palette: Mapping[str, tuple[str, str]]) -> str:
    """Draw the auROC of each row of the table as a dot with its interval, and how many genes it has."""
    colour = next(iter(palette.values()))[0]
    height, left = 22 * len(table), 128
    low = math.floor(np.nanmin([0.5, *table["auROC"], *table["auROC_low"]]) * 20 + 1e-9) / 20
    figure = figures.new_figure(WIDTH, 74 + height)
    axis = figures.add_panel(
        figure, (left, 30, WIDTH - left - 54, height), (low, 1), (len(table), 0), "auROC", ticks=(5, 0)
    )
    axis.axvline(0.5, color=figures.QUIET, linewidth=1)
    places = np.arange(len(table)) + 0.5
    axis.hlines(places, table["auROC_low"], table["auROC_high"], color=colour, linewidth=2, alpha=0.55)
    figures.draw_marks(axis, table["auROC"], places, colour)
    figures.write(axis, "genes", (1, 0), (50, 8), ha="right", color=figures.QUIET, size=11)
    summary = table["bin"].tolist().index(audit.SUMMARY[0])
    axis.axhline(summary, color=figures.QUIET, linewidth=0.5)
    for place, row in zip(places, table.itertuples(), strict=True):
        weight = "bold" if row.bin == "all" else "normal"
        figures.write(axis, audit.name_bin(row.bin), (low, place), (-10, -4), ha="right", weight=weight)
        figures.write(axis, show_count(row.genes), (1, place), (50, -4), ha="right", weight=weight)
    return figures.to_svg(figure, label, palette)
