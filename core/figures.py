"""Figures of a page: arrays are drawn by matplotlib and become SVG text that stands inside HTML.

Lengths are SVG units, from the top left; text of 12 units is as large as text of 12 px. What is drawn in a colour of a
palette is shown in the CSS variable of that name, so that one figure serves light and dark screens and paper.
"""

import contextlib
import functools
import io
import math
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

COLOURS = {  # CSS variable -> on white and on dark; a page has these and those of its caller
    "page": ("#ffffff", "#15181b"),
    "ink": ("#1d2226", "#e3e7ea"),
    "quiet": ("#5b656d", "#9ba6ae"),
    "rule": ("#d9dee2", "#3a4248"),
    "grid": ("#e9edf0", "#272d32"),
    "soft": ("#f4f6f7", "#1d2226"),
    "count": ("#3d4850", "#c3ccd2"),
}
PAGE, INK, QUIET, GRID, COUNT = (COLOURS[name][0] for name in ("page", "ink", "quiet", "grid", "count"))
FONT_SIZE = 12
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of genes are no formulas
    "text.usetex": False,
    "text.color": INK,
    "font.size": FONT_SIZE,
    "path.simplify": False,
    "lines.scale_dashes": False,
    "lines.solid_capstyle": "butt",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 1,
    "axes.labelcolor": INK,
    "axes.labelpad": 6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "xtick.major.width": 1,
    "ytick.major.pad": 6,
}
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
TITLE = "title: "  # begins the id of what shows a text where the mouse rests
NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")  # neither XML nor HTML can hold these
UNUSED_STYLES = {"font-family", "stroke-linejoin", "stroke-dashoffset", "stroke-miterlimit"}  # the page's own are good


def clean_text(text: str) -> str:
    """Return text that XML and HTML can hold: control characters become U+FFFD, halves of surrogate pairs `?`."""
    return NOT_TEXT.sub("\ufffd", text.encode("utf-8", "replace").decode("utf-8"))


# ------------------------------------------------------------------------------------------------ drawing
@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of the page, whatever the user's matplotlibrc says."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")  # the browser has the letter
        yield


def styled(draw: Callable[..., str]) -> Callable[..., str]:
    """Make a function that draws a figure draw it in `figure_style`."""

    @functools.wraps(draw)
    def draw_in_style(*args, **kwargs) -> str:
        with figure_style():
            return draw(*args, **kwargs)

    return draw_in_style


def new_figure(width: float, height: float):
    """Return an empty matplotlib figure of this size in units."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def add_panel(
    figure,
    box: tuple[float, float, float, float],
    x_range: tuple[float, float],
    y_range: tuple[float, float] = (0, 1),
    x_label: str = "",
    y_label: str = "",
    x_ticks: int = 5,
    y_ticks: int = 5,
    grid: str = "y",
):
    """Add axes with a faint grid to a figure; the label of y stands level above its axis, where it can be read.

    Args:
        figure: of `new_figure`.
        box: left, top, width and height in units.
        x_range: of the data.
        y_range: of the data.
        x_label: below the axis.
        y_label: above the axis.
        x_ticks: about how many round numbers to show; 0 for none.
        y_ticks: likewise.
        grid: which ticks have lines: x or y.

    Returns:
        The matplotlib axes.
    """
    from matplotlib.ticker import MaxNLocator, NullLocator

    left, top, wide, high = box
    width, height = figure.get_size_inches() * 72
    axis = figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))
    axis.set(xlim=x_range, ylim=y_range)
    axis.set_xlabel(x_label)
    axis.grid(axis="x" if grid == "y" else "y", visible=False)
    for scale, count in ((axis.xaxis, x_ticks), (axis.yaxis, y_ticks)):
        locator = MaxNLocator(count, steps=[1, 2, 5, 10], min_n_ticks=1) if count else NullLocator()
        scale.set_major_locator(locator)
        scale.set_major_formatter(lambda value, _: tick_text(value))
    if y_label:
        write(axis, y_label, (x_range[0], y_range[1]), (-30, 10))
    return axis


def tick_text(value: float) -> str:
    """Return a number as an axis shows it: 0.5, 1,000 or −500."""
    return f"{value:,.6g}".replace("-", "\N{MINUS SIGN}")


def write(axis, text: str, at: tuple[float, float], shift: tuple[float, float] = (0, 0), **style) -> None:
    """Write text beside a point of the data, `shift` units to the right and up."""
    axis.annotate(text, at, shift, textcoords="offset points", annotation_clip=False, **style)


def draw_line(axis, xs: Sequence[float], ys: Sequence[float], title: str = "", **style) -> None:
    """Draw a line through data points; a NaN interrupts it, and a point without neighbours becomes a dot.

    Args:
        axis: of `add_panel`.
        xs: of the points.
        ys: of the points.
        title: shows where the mouse rests.
        **style: of matplotlib's `plot`.
    """
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    known = np.concatenate([[False], ~np.isnan(xs + ys), [False]])
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    (line,) = axis.plot(xs, ys, marker="o", markersize=5, markeredgewidth=0, markevery=alone, **style)
    if title:
        line.set_gid(TITLE + clean_text(title))


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
    result = np.empty(len(placed))
    result[order] = placed
    return result.tolist()


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
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(clean_text(text.get_text()))
    for axis in figure.axes:
        axis.patch.set_visible(False)
    figure.patch.set_visible(False)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    drawn = ElementTree.fromstring(file.getvalue())
    attributes = {"viewBox": drawn.get("viewBox"), "role": "img", "aria-label": clean_text(label)}
    picture = ElementTree.Element("svg", {**attributes, "fill": "none", "font-size": str(FONT_SIZE)})
    variables = {light: f"var(--{name})" for name, (light, _) in {**COLOURS, **palette}.items()}
    picture.extend(list_shapes(drawn, {}, variables))
    return ElementTree.tostring(picture, encoding="unicode")


def list_shapes(group, shapes: dict[str, str], variables: dict[str, str], title: str = "") -> Iterator:
    """Yield the paths and texts of matplotlib's SVG, taken out of their groups.

    Args:
        group: the element whose children are listed.
        shapes: path data of markers by link, filled on the way; each use of a marker becomes a path of its own.
        variables: colour -> what is written in its place.
        title: of the artist that the group belongs to.
    """
    for element in group:
        kind = element.tag.removeprefix(SVG)
        if kind == "g":
            name = element.get("id", "")
            inner = name.removeprefix(TITLE) if name.startswith(TITLE) else title
            yield from list_shapes(element, shapes, variables, inner)
        elif kind == "defs":
            shapes |= {f"#{path.get('id')}": path.get("d") for path in element.iter(f"{SVG}path")}
        elif kind in ("path", "use", "text"):
            yield make_shape(element, kind, shapes, variables, title)


def make_shape(element, kind: str, shapes: dict[str, str], variables: dict[str, str], title: str):
    """Return one path or text as an element of its own; arguments as in `list_shapes`."""
    style = {"style": shorten_style(element.get("style", ""), variables)}
    x, y = (round_numbers(element.get(name, "0")) for name in ("x", "y"))
    if kind == "text":
        shape = ElementTree.Element("text", {"x": x, "y": y, **style})
        shape.text = element.text
        return shape
    data = shapes[element.get(HREF)] if kind == "use" else element.get("d")
    moved = {"transform": f"translate({x} {y})"} if kind == "use" else {}
    shape = ElementTree.Element("path", {"d": shorten_path(data), **moved, **style})
    if title:
        ElementTree.SubElement(shape, "title").text = title
    return shape


def shorten_style(style: str, variables: dict[str, str]) -> str:
    """Return CSS declarations with variables for colours, without what the page or the picture says anyway."""
    pairs = [[part.strip() for part in item.split(":", 1)] for item in style.split(";") if ":" in item]
    kept = {name: variables.get(value, value) for name, value in pairs if name not in UNUSED_STYLES}
    if kept.get("fill") == "none":
        del kept["fill"]
    if kept.get("font-size") == f"{FONT_SIZE}px":
        del kept["font-size"]
    return ";".join(f"{name}:{value}" for name, value in kept.items())


def shorten_path(data: str) -> str:
    """Return path data with one decimal and without the letters that the pairs of a line do not need."""
    data = " ".join(round_numbers(data).split())
    if "C" not in data and "Q" not in data:
        data = data.replace(" L ", " ")
    return re.sub(r" ?([MLCQz]) ?", r"\1", data)


def round_numbers(text: str) -> str:
    """Return text whose numbers have at most one decimal."""
    return re.sub(r"-?\d+\.\d+", lambda found: f"{round(float(found[0]), 1) + 0:g}", text)
