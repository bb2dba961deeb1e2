"""Which cCREs of a region of the genome attend to each other: a contact map, and attention by distance.

The cCREs of a map attend to all cCREs of the chromosome within the store's reach, not only to those of the map, and
these to others in turn: one reach for each layer of which the map is made. All of them take part in the computation, so
a part of a map is the map of that part. With published weights, which know no reach, the cCREs of the map attend to
each other and to nothing else.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core import InputError, figures, show_value
from core.files import file_names, replacing
from core.memory import require_memory
from core.names import CHROMOSOME_BRIDGES, bridge_names
from creator.store import Store

if TYPE_CHECKING:
    from creator.network import Creator

DISTANCES = "contacts_distance.tsv"
FORM = "--contacts takes chromosome:start-end in bp, as in 1:1000000-2000000"
MOST_WEIGHTS = 50_000_000  # numbers of the attention by layer and head that a file holds, 200 MB
LEAST_DISTANCE = 1000  # bp, the upper end of the first bin
MOST_PIXELS, MOST_NAMES = 400, 24  # of a side of the map; of genes named beside it
MAP, COLOUR = ("#ffffff", "#0069ad", "#06263c"), "#0069ad"  # from no attention to the most; of the line


class Area(NamedTuple):
    """An interval of a chromosome with the cCREs in it.

    Attributes:
        chromosome: index into the store's chromosomes.
        start, end: bp, 0-based half-open.
        elements: cCREs of which a base lies in it, indices into the store, (n,), in the order of the genome.
    """

    chromosome: int
    start: int
    end: int
    elements: np.ndarray


def find_area(store: Store, text: str, notes: list[str]) -> Area:
    """Return the area that `chromosome:start-end` names.

    Args:
        store: of the cCREs.
        text: as the flag gives it; thousands may be separated by commas.
        notes: sentences for the user, added to.

    Raises:
        InputError: not of this form, a chromosome that is not there, no cCRE in it.
    """
    found = re.fullmatch(r"(.+):([0-9,]{1,15})-([0-9,]{1,15})", text.strip())
    digits = [number.replace(",", "") for number in found.groups()[1:]] if found else [""]
    if not all(digits):
        raise InputError(f"--contacts: {show_value(text)} is no region; {FORM}")
    start, end = map(int, digits)
    if start >= end:
        raise InputError(f"--contacts: {show_value(text)} starts at {start:,}, not before its end; {FORM}")
    partner, sentence = bridge_names([found[1]], store.chromosomes, CHROMOSOME_BRIDGES)
    if not partner:
        raise InputError(
            f"--contacts: there is no chromosome {show_value(found[1])} in the store; it has "
            f"{', '.join(map(show_value, store.chromosomes[:20]))}{', ...' if len(store.chromosomes) > 20 else ''}"
        )
    if sentence:
        notes.append(f"--contacts and store: {sentence}")
    chromosome = store.chromosomes.index(partner[found[1]])
    on_it = np.flatnonzero(store.element_chromosome == chromosome)
    elements = on_it[(store.element_start[on_it] < end) & (store.element_end[on_it] > start)]
    if not len(elements):
        there = "it has none at all"
        if len(on_it):
            there = f"its cCREs lie from {store.element_start[on_it].min():,} to {store.element_end[on_it].max():,}"
        raise InputError(f"--contacts: there is no cCRE in {show_value(text)}; {there}")
    return Area(chromosome, start, end, elements)


def related_elements(store: Store, area: Area, layers: int, reach: int | None) -> np.ndarray:
    """Return all cCREs on which the attention of those of an area depends, indices into the store, ascending.

    Args:
        store: of the cCREs.
        area: with the cCREs of the map.
        layers: of which the map is made.
        reach: bp; None: the cCREs of the map alone.
    """
    if reach is None:
        return area.elements
    on_it = np.flatnonzero(store.element_chromosome == area.chromosome)
    positions, shown = store.element_position(on_it), store.element_position(area.elements)
    flank = layers * reach
    return on_it[(positions >= shown.min() - flank) & (positions <= shown.max() + flank)]


class ContactFiles:
    """Writes contacts_CELL.npz and contacts_CELL.svg of each cell, and contacts_distance.tsv.

    Args:
        store, model: which belong together.
        area: of the map.
        out: the folder.
        stack: closes the files; they get their names when it ends without an error.

    Raises:
        InputError: the model has a single layer of stage 2, or the map needs more memory than is free.
    """

    def __init__(self, store: Store, model: "Creator", area: Area, out: Path, stack: contextlib.ExitStack):
        from creator.network import contact_memory

        self.store, self.model, self.area, self.out, self.stack = store, model, area, out, stack
        layers = model.sizes["regulation_layers"] - 1
        if not layers:
            raise InputError(
                "--contacts: the model has one regulation layer, in which genes read cCREs; these attend to each other "
                "in the layers below the last, of which it has none"
            )
        self.reach = model.reach
        self.related = related_elements(store, area, layers, self.reach)
        count = len(area.elements)
        require_memory(
            contact_memory(model.sizes, len(self.related), count),
            f"--contacts: the {count:,} cCREs of the region and {len(self.related) - count:,} more that they attend to "
            "take",
            "give a smaller region" + (", or a store and model of a smaller --reach" if self.reach else ""),
        )
        self.names, self.rows = file_names(store.cells), []
        self.with_layers = layers * model.sizes["heads"] * count**2 <= MOST_WEIGHTS
        first = area.elements
        self.columns = {
            "name": np.char.decode(store.element_name[first], "utf-8"),
            "chromosome": np.full(count, store.chromosomes[area.chromosome]),
            "start": np.asarray(store.element_start[first]),
            "end": np.asarray(store.element_end[first]),
            "position": store.element_position(first),
        }

    def add(self, cell: int, vectors: np.ndarray) -> None:
        """Write map and picture of a cell.

        Args:
            cell: its index.
            vectors: of the cCREs `related`, (N, width).
        """
        from creator.network import contact_attention

        store, area = self.store, self.area
        positions = store.element_position(self.related)
        shown = np.searchsorted(self.related, area.elements)
        attention = contact_attention(self.model, vectors, positions, shown, self.reach)
        mean = attention.mean(axis=(0, 1))
        arrays = self.columns | ({"attention": attention} if self.with_layers else {}) | {"mean": mean}
        name = store.cells[cell]
        stem = f"contacts_{self.names[cell]}"
        with open(self.stack.enter_context(replacing(self.out / f"{stem}.npz")), "wb") as file:
            np.savez(file, **arrays)
        by_distance = average_by_distance(mean, positions[shown], self.reach)
        self.rows += [{"cell": name, **row} for row in by_distance]
        genes = np.flatnonzero(store.gene_chromosome == area.chromosome)
        genes = genes[(store.gene_tss[genes] >= area.start) & (store.gene_tss[genes] < area.end)]
        tss = dict(zip([store.gene_id[gene].decode() for gene in genes], store.gene_tss[genes].tolist(), strict=True))
        place = f"{store.chromosomes[area.chromosome]}:{area.start:,}-{area.end:,}"
        picture = draw_contacts(mean, positions[shown], tss, by_distance, place, name)
        path = self.stack.enter_context(replacing(self.out / f"{stem}.svg"))
        path.write_text(picture, encoding="utf-8")

    def finish(self) -> None:
        """Write contacts_distance.tsv."""
        path = self.stack.enter_context(replacing(self.out / DISTANCES))
        names = ("cell", "distance_from", "distance_to", "pairs", "attention")
        lines = ["\t".join(names), *("\t".join(str(row[name]) for name in names) for row in self.rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def describe(self) -> str:
        """Return in words what was written."""
        count, more = len(self.area.elements), len(self.related) - len(self.area.elements)
        text = f"contacts of {count:,} cCREs, which attend to these and to {more:,} more"
        if not self.with_layers:
            text += f"; averages only, attention by layer and head would be more than {MOST_WEIGHTS:,} numbers a cell"
        return text


# ------------------------------------------------------------------------------------------------- by distance
def average_by_distance(mean: np.ndarray, positions: np.ndarray, reach: int | None) -> list[dict]:
    """Return the mean attention between two cCREs, in either direction, in bins of their distance; empty bins left out.

    Args:
        mean: attention averaged over layers and heads, (n, n).
        positions: of the cCREs, bp, (n,).
        reach: bp; pairs farther apart are left out, None: none is.

    Returns:
        Rows with distance_from and distance_to (bp, half-open), pairs, and attention as text.
    """
    first, second = np.triu_indices(len(positions), 1)
    distance = np.abs(positions[first] - positions[second])
    weights = (mean[first, second] + mean[second, first]) / 2
    if reach is not None:
        weights, distance = weights[distance <= reach], distance[distance <= reach]
    edges = distance_edges(int(distance.max(initial=0)))
    bin_of = np.searchsorted(edges, distance, side="right") - 1
    pairs = np.bincount(bin_of, minlength=len(edges) - 1)
    total = np.bincount(bin_of, weights, minlength=len(edges) - 1)
    return [
        {
            "distance_from": edges[number],
            "distance_to": edges[number + 1],
            "pairs": int(pairs[number]),
            "attention": f"{total[number] / pairs[number]:.6g}",
        }
        for number in np.flatnonzero(pairs)
    ]


def distance_edges(farthest: int) -> list[int]:
    """Return the edges of bins that hold distances up to `farthest`, bp: 0, 1 kb, 2 kb, 5 kb, 10 kb and so on."""
    edges, step = [0], LEAST_DISTANCE
    while edges[-1] <= farthest:
        edges += [step, 2 * step, 5 * step]
        step *= 10
    return edges[: np.searchsorted(edges, farthest, side="right") + 1]


# ------------------------------------------------------------------------------------------------- the picture
@figures.page_style()
def draw_contacts(
    mean: np.ndarray, positions: np.ndarray, tss: dict[str, int], by_distance: Sequence[dict], place: str, cell: str
) -> str:
    """Draw a contact map with the TSS of genes as ticks, and beside it attention against distance.

    Args:
        mean: attention of rows to columns, (n, n).
        positions: of the cCREs, bp, (n,).
        tss: gene id -> TSS, bp.
        by_distance: of `average_by_distance`.
        place, cell: in words.

    Returns:
        The text of an SVG file.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import NullLocator

    order = np.argsort(positions, kind="stable")
    ordered, count = mean[np.ix_(order, order)], len(order)
    others = ordered[~np.eye(count, dtype=bool)]
    others = others[others > 0]  # beyond reach there is none
    low, top = np.quantile(others, [0.01, 0.99]).tolist() if len(others) else (0.0, 1.0)
    if top - low < 0.01 * top:  # all alike
        low = 0.0
    figure = figures.new_figure(860, 440)
    edge = count - 0.5
    axis = figures.add_panel(figure, (20, 50, 340, 340), (-0.5, edge), (edge, -0.5), ticks=(0, 0))
    figures.write(axis, f"{show_value(cell, 30)}, {place}", (-0.5, -0.5), (0, 22), weight="bold")
    axis.imshow(
        shrink(ordered, MOST_PIXELS), cmap=LinearSegmentedColormap.from_list("map", MAP), vmin=low, vmax=top,
        interpolation="none", extent=(-0.5, edge, edge, -0.5), aspect="auto",
    )  # fmt: skip
    axis.grid(visible=False)
    note = f"{count:,} cCREs in the order of the genome; a row attends to the columns"
    figures.write(axis, note, (-0.5, edge), (0, -18))
    figures.write(axis, f"white: {low:.2g} or less, darkest: {top:.2g} or more; ticks: TSS", (-0.5, edge), (0, -34))
    at = np.interp(list(tss.values()), positions[order], np.arange(count)) if tss else np.array([])
    axis.set_xticks(at, [""] * len(at))
    axis.set_yticks(at, [""] * len(at))
    axis.tick_params(top=True, bottom=False, left=False, right=True, length=5)
    name_genes(axis, list(tss), at, edge)
    most = max([float(row["attention"]) for row in by_distance], default=0)
    middles = [np.sqrt(max(row["distance_from"], 100) * row["distance_to"]) for row in by_distance]
    low, high = (min(middles) / 1.5, max(middles) * 1.5) if middles else (100, 1e6)
    label = "mean attention between two cCREs"
    lines = figures.add_panel(figure, (560, 50, 280, 340), (low, high), (0, 1.1 * most or 1), y_label=label)
    edges = sorted({row[side] for row in by_distance for side in ("distance_from", "distance_to") if row[side]})
    powers = [edge for edge in edges if str(edge).strip("0") == "1"]
    lines.set_xscale("log")
    lines.set_xlabel("distance, bp")
    lines.set_xticks(powers if len(powers) > 1 else edges, minor=False)
    lines.xaxis.set_minor_locator(NullLocator())
    lines.xaxis.set_major_formatter(lambda value, _: figures.tick_text(value))
    figures.draw_line(lines, middles, [float(row["attention"]) for row in by_distance], color=COLOUR, linewidth=1.6)
    told = ", ".join(f"{row['distance_from']:,} to {row['distance_to']:,} bp {row['attention']}" for row in by_distance)
    return figures.to_svg_file(
        figure, f"Attention between {count:,} cCREs of {place} in {show_value(cell)}. Means by distance: {told}."
    )


def name_genes(axis, names: Sequence[str], at: np.ndarray, edge: float) -> None:
    """Write names of genes to the right of a map, moved apart, each with a line to its tick; of many, how many.

    Args:
        axis: of the map.
        names: of the genes.
        at: where each is on y, (genes,).
        edge: right end of x.
    """
    if len(names) > MOST_NAMES:
        figures.write(axis, f"{len(names):,} TSS", (edge, -0.5), (10, 4), color=figures.QUIET)
        return
    box = axis.get_window_extent()
    places = [axis.transData.transform((edge, y))[1] for y in at]
    middles = figures.spread(places, [14] * len(names), box.y0, box.y1)
    for name, y, place, middle in zip(names, at, places, middles, strict=True):
        line = {"arrowstyle": "-", "color": figures.QUIET, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkB": 5}
        shift = (22, middle - place)
        figures.write(axis, show_value(name, 22), (edge, y), shift, va="center", arrowprops=line, color=figures.QUIET)


def shrink(values: np.ndarray, most: int) -> np.ndarray:
    """Return a square array of at most `most` rows, each the mean of as many neighbours."""
    step = -(-len(values) // most)
    starts = np.arange(0, len(values), step)
    sizes = np.diff(np.append(starts, len(values)))
    total = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
    return total / np.outer(sizes, sizes)
