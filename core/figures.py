"""Figures of a page: arrays are drawn by matplotlib and become SVG text that stands inside HTML.

Lengths are units of the picture, from the top left; a letter of 12 units is as large as one of 12 px. What is drawn in
a colour of the palette is shown in the CSS variable of that name: one picture serves light and dark screens and paper.
"""

import contextlib
import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

COLOURS = {  # CSS variable -> on white and on dark; a page has these and those of its caller
    "page": ("#ffffff", "#15181b"),
    "ink": ("#1d2226", "#e3e7ea"),
    "quiet": ("#5b656d", "#9ba6ae"),
    "rule": ("#d9dee2", "#3a4248"),
    "grid": ("#e9edf0", "#272d32"),
    "soft": ("#f4f6f7", "#1d2226"),
    "count": ("#3d4850", "#c3ccd2"),
    "warn": ("#b34700", "#f2905a"),
}
PAGE, INK, QUIET, COUNT = (COLOURS[name][0] for name in ("page", "ink", "quiet", "count"))
STYLE_FILE = Path(__file__).parent / "templates" / "figures.mplstyle"
DASHED = (0, (3, 4))  # lines that are there to compare with
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
TITLE = "title: "  # begins the id of what shows a text where the mouse rests
NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")  # neither XML nor HTML can hold these
NOT_NEEDED = {"font-family", "stroke-linejoin", "stroke-dashoffset", "font-size:12px", "text-anchor:start", "fill:none"}


def clean_text(text: str) -> str:
    """Return text that XML and HTML can hold: control characters become U+FFFD, halves of surrogate pairs `?`."""
    return NOT_TEXT.sub("\ufffd", text.encode("utf-8", "replace").decode("utf-8"))


# ------------------------------------------------------------------------------------------------ drawing
@contextlib.contextmanager
def page_style() -> Iterator[None]:
    """Draw in the style of the page, whatever the user's matplotlibrc says; `@page_style()` for a whole function."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE_FILE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")  # the browser has the letter
        yield


def new_figure(width: float, height: float):
    """Return an empty matplotlib figure of this size in units."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def add_panel(figure, box: Sequence[float], x_range, y_range=(0, 1), x_label="", y_label="", ticks=(5, 5)):
    """Add axes to a figure; the label of y stands level above its axis, where it can be read.

    Args:
        figure: of `new_figure`.
        box: left, top, width and height in units.
        x_range: of the data; likewise `y_range`.
        x_label: below the axis; `y_label` above it.
        ticks: about how many round numbers x and y show; 0 for none.

    Returns:
        The matplotlib axes.
    """
    from matplotlib.ticker import MaxNLocator, NullLocator

    left, top, wide, high = box
    width, height = figure.get_size_inches() * 72
    axis = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
    axis.set(xlim=x_range, ylim=y_range, xlabel=x_label)
    axis.grid(axis="x" if ticks[1] else "y", visible=False)
    for scale, count in zip((axis.xaxis, axis.yaxis), ticks, strict=True):
        scale.set_major_locator(MaxNLocator(count, steps=[1, 2, 5, 10], min_n_ticks=1) if count else NullLocator())
        scale.set_major_formatter(lambda value, _: tick_text(value))
    write(axis, y_label, (x_range[0], y_range[1]), (-30, 10))
    return axis


def tick_text(value: float) -> str:
    """Return a number as an axis shows it: 0.5, 1,000 or −500."""
    return f"{value:,.6g}".replace("-", "\N{MINUS SIGN}")


def draw_line(axis, xs: Sequence[float], ys: Sequence[float], title: str = "", **style) -> None:
    """Draw a line through data points; a NaN interrupts it, and a point without neighbours becomes a dot.

    Args:
        axis: of `add_panel`.
        xs: of the points; likewise `ys`.
        title: shows where the mouse rests.
        **style: of matplotlib's `plot`.
    """
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    known = np.pad(~np.isnan(xs + ys), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    (line,) = axis.plot(xs, ys, marker="o", markersize=5, markevery=alone, **style)
    line.set_gid(TITLE + clean_text(title))


def draw_marks(axis, xs: Sequence[float], ys: Sequence[float], colour: str, mark: str = "o", hollow=False) -> None:
    """Draw the marks of a method; hollow where its scores are optimistic."""
    face, edge, width = (PAGE, colour, 1.8) if hollow else (colour, PAGE, 1)
    size = 8.4 if mark == "o" else 7
    axis.plot(xs, ys, mark, markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=width)


def draw_density(axis, xs: np.ndarray, ys: np.ndarray, cells: tuple[int, int], colour: str = COUNT) -> None:
    """Shade cells (columns, rows of the panel) by how many points they hold, with the key above the panel.

    Neighbours of one shade in a row are one piece of a thick line: each shade is a single path of the picture.
    """
    counts, x_edges, y_edges = np.histogram2d(xs, ys, cells, (axis.get_xlim(), axis.get_ylim()))
    steps = [step for step in (1, 3, 10, 30, 100, 300, 1000) if step <= counts.max()]
    shades = np.linspace(0.14 if len(steps) > 2 else 0.4, 0.84, len(steps))
    level = np.searchsorted(steps, counts, side="right")
    for i, (step, shade) in enumerate(zip(steps, shades, strict=True), start=1):
        change = np.diff((level == i).astype(int), axis=0, prepend=0, append=0).T  # rows x edges of columns
        row, first = np.nonzero(change == 1)
        _, last = np.nonzero(change == -1)
        ends = np.column_stack([x_edges[first], x_edges[last], np.full(len(row), np.nan)])
        heights = np.repeat((y_edges[row] + y_edges[row + 1]) / 2, 3)
        width = axis.bbox.height / cells[1]
        axis.plot(ends.ravel(), heights, color=colour, alpha=shade, linewidth=width, label=f"≥{step}")
    key = {"ncols": len(steps), "loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2, "frameon": False}
    axis.legend(fontsize=9.5, handlelength=1, handletextpad=0.3, columnspacing=0.8, labelcolor=QUIET, **key)


def write(axis, text: str, at: tuple[float, float], shift: tuple[float, float] = (0, 0), **style) -> None:
    """Write text beside a point of the data, `shift` units to the right and up."""
    axis.annotate(text, at, shift, textcoords="offset points", annotation_clip=False, **style)


def write_row(axis, labels: Sequence[tuple[float, str, str]], y: float, up: float, leader: dict | None = None) -> None:
    """Write labels centred over their places on x, but moved apart and inside the picture.

    Args:
        axis: of `add_panel`.
        labels: x, text and colour of each.
        y: of the places.
        up: distance of the row from there in units.
        leader: style of lines from the labels to their places, if there are to be any.
    """
    width = axis.figure.bbox.width
    places = [axis.transData.transform((x, y))[0] for x, _, _ in labels]
    middles = spread(places, [7 * len(text) + 10 for _, text, _ in labels], 0, width)
    for (x, text, colour), place, middle in zip(labels, places, middles, strict=True):
        line = {"arrowstyle": "-", "color": colour, "relpos": (0.5, 0), **leader} if leader else None
        write(axis, text, (x, y), (middle - place, up), ha="center", color=colour, arrowprops=line)


def fit_range(low: float, high: float, margin: float) -> tuple[float, float]:
    """Return the range of an axis from `low` to `high`, with a margin where the two are hardly apart."""
    largest = max(abs(low), abs(high))
    if high - low > 1e-9 * max(largest, 1):
        return low, high
    margin = max(margin, 1e-6 * largest)
    return low - margin, high + margin


def spread(positions: Sequence[float], sizes: Sequence[float], low: float, high: float) -> list[float]:
    """Return the middles of labels of these widths (or heights), moved apart in their order, within [low, high]."""
    order = np.argsort(positions, kind="stable")
    placed, half = np.asarray(positions, float)[order], np.asarray(sizes, float)[order] / 2
    for i in range(len(placed)):
        placed[i] = max(placed[i], low + half[i] if i == 0 else placed[i - 1] + half[i - 1] + half[i])
    for i in reversed(range(len(placed))):
        last = i == len(placed) - 1
        placed[i] = min(placed[i], high - half[i] if last else placed[i + 1] - half[i + 1] - half[i])
    return placed[np.argsort(order)].tolist()


def thin(xs: np.ndarray, ys: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return about `most` points of a curve, evenly along it; both ends stay, every point is an original."""
    if len(xs) <= most:
        return xs, ys
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(xs), np.diff(ys)))])
    keep = np.searchsorted(length, np.linspace(0, length[-1], most))
    keep = np.unique(np.append(keep, len(xs) - 1))
    return xs[keep], ys[keep]


# --------------------------------------------------------------------------------------------- SVG for HTML
def to_svg(figure, label: str, palette: Mapping[str, tuple[str, str]]) -> str:
    """Return a figure as SVG for a page: no ids, no styles for the whole page, no links, always the same bytes.

    Args:
        figure: of `new_figure`.
        label: says in words, with the numbers, what the figure shows.
        palette: CSS variable -> its colour on white, which is drawn, and on dark; those of `COLOURS` are added.
    """
    variables = {light: f"var(--{name})" for name, (light, _) in {**COLOURS, **palette}.items()}
    return ElementTree.tostring(make_picture(figure, label, variables), encoding="unicode")


def to_svg_file(figure, label: str) -> str:
    """Return a figure as the text of an SVG file that any program shows: in the colours drawn, on white.

    Args:
        figure: of `new_figure`.
        label: as of `to_svg`.
    """
    picture = make_picture(figure, label, {})
    width, height = picture.get("viewBox").split()[2:]
    picture.attrib |= {"xmlns": SVG.strip("{}"), "width": width, "height": height, "font-family": "sans-serif"}
    picture.insert(0, ElementTree.Element("rect", {"width": width, "height": height, "fill": PAGE}))
    return ElementTree.tostring(picture, encoding="unicode") + "\n"


def make_picture(figure, label: str, variables: dict[str, str]):
    """Return a figure as an `svg` element; arguments as of `to_svg` and `list_shapes`."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(clean_text(text.get_text()))
    for background in (figure.patch, *(axis.patch for axis in figure.axes)):
        background.set_visible(False)
    file = io.StringIO()
    figure.savefig(file, format="svg")
    drawn = ElementTree.fromstring(file.getvalue())
    attributes = {"viewBox": drawn.get("viewBox"), "role": "img", "aria-label": clean_text(label)}
    picture = ElementTree.Element("svg", {**attributes, "fill": "none", "font-size": "12"})
    for shape in list_shapes(drawn, variables, {}):
        picture.append(shape)
    return picture


def list_shapes(group, variables: dict[str, str], markers: dict[str, str], title: str = "") -> Iterator:
    """Yield the paths, texts and images of matplotlib's SVG, taken out of their groups and made short.

    Args:
        group: the element whose children are listed.
        variables: colour -> what is written in its place.
        markers: link -> path data, filled on the way; where a marker is used, it becomes a path of its own.
        title: of what the group belongs to.
    """
    for element in group:
        kind, name = element.tag.removeprefix(SVG), element.get("id", "")
        x, y = (round_numbers(element.get(axis, "0")) for axis in ("x", "y"))
        style = {"style": shorten_style(element.get("style", ""), variables)}
        if kind == "g":
            inner = name.removeprefix(TITLE) if name.startswith(TITLE) else title
            yield from list_shapes(element, variables, markers, inner)
        elif kind == "defs":
            markers |= {f"#{path.get('id')}": path.get("d") for path in element.iter(f"{SVG}path")}
        elif kind == "text":
            shape = ElementTree.Element("text", {"x": x, "y": y, **style})
            shape.text = element.text
            yield shape
        elif kind == "image":
            places = {key: round_numbers(element.get(key)) for key in ("width", "height", "transform")}
            yield ElementTree.Element("image", {"x": x, "y": y, **places, **style, "href": element.get(HREF)})
        elif kind == "use" or element.get("d"):  # a line of NaN has no data
            data = element.get("d") or markers[element.get(HREF)]
            moved = {"transform": f"translate({x} {y})"} if kind == "use" else {}
            shape = ElementTree.Element("path", {"d": shorten_path(data), **moved, **style})
            if title:
                ElementTree.SubElement(shape, "title").text = title
            yield shape


def shorten_style(style: str, variables: dict[str, str]) -> str:
    """Return CSS declarations with variables for colours, without what the page or the picture says anyway."""
    pairs = [[part.strip() for part in declaration.split(":")] for declaration in style.split(";") if declaration]
    kept = [(name, value) for name, value in pairs if not {name, f"{name}:{value}"} & NOT_NEEDED]
    return ";".join(f"{name}:{variables.get(value, value)}" for name, value in kept)


def shorten_path(data: str) -> str:
    """Return path data with one decimal and without the letters that the pairs of a line do not need."""
    data = " ".join(round_numbers(data).split())
    if "C" not in data and "Q" not in data:
        data = data.replace(" L ", " ")
    return re.sub(r" ?([MLCQz]) ?", r"\1", data)


def round_numbers(text: str) -> str:
    """Return text whose numbers have at most one decimal."""
    return re.sub(r"-?\d+\.\d+", lambda found: f"{round(float(found[0]), 1) + 0:g}", text)
