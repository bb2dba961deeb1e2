"""A page: text, tables and figures become one HTML file that needs no network and runs no script.

A block of a section is a text (a paragraph), a mapping (names and what is said of each), or one of the classes below.
All text is escaped; only the SVG of figures is taken as it is. The looks are in templates/page.html.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from core.figures import COLOURS, clean_text
from core.progress import show_duration

TEMPLATES = Path(__file__).parent / "templates"
DASH = "–"  # where there is no number


@dataclass(frozen=True)
class Bullets:
    """A list of sentences, under a small heading or without; nothing is shown where there are none."""

    items: Sequence[str]
    title: str = ""
    warn: bool = False
    kind: str = "bullets"


@dataclass(frozen=True)
class Code:
    """A command as it is typed, under a small heading."""

    text: str
    title: str
    kind: str = "code"


@dataclass(frozen=True)
class Figure:
    """A picture (of `core.figures.to_svg`) and what to see in it; a wide one takes the width of the page."""

    svg: str
    caption: str = ""
    wide: bool = False
    kind: str = "figure"


class Cell(NamedTuple):
    """A cell with a second line, and a share from 0 to 1 shown as the depth of a colour of the palette."""

    text: str
    note: str
    colour: str
    share: float


@dataclass(frozen=True)
class Table:
    """A table that scrolls in its own box; first cells name the rows.

    By its name a row may be bold, or have a rule above it, and a column may be grey.
    """

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    bold: str = ""
    grey: str = ""
    title: str = ""
    ruled: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Columns:
    """Lists of blocks side by side where the screen is wide enough; `small` for many small figures."""

    columns: Sequence[Sequence["Block"]]
    small: bool = False
    kind: str = "columns"


Block = str | Mapping[str, str] | Bullets | Code | Figure | Table | Columns


class Section(NamedTuple):
    """A headed part of the page."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """What a page says; `palette` has the colours of its figures: CSS variable -> on white, on dark."""

    title: str  # of the browser's window
    heading: str
    above: str  # small, above the heading
    below: str  # small, below it
    lead: str  # the result in a sentence
    verdict: str  # what to make of it
    figure: Figure  # beside the lead
    sections: Sequence[Section]
    footer: str
    palette: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def render_page(page: Page) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean_text(value) if type(value) is str else value,  # not what is HTML already
    )
    return environment.get_template("page.html").render(page=page, palette={**COLOURS, **page.palette})


# --------------------------------------------------------------------------------------- numbers as text
def show_number(value: float, pattern: str = "{:.3f}") -> str:
    """Return 0.903, or a number in another pattern of `str.format`; a dash for NaN."""
    return DASH if math.isnan(value) else pattern.format(value).replace("-", "\N{MINUS SIGN}")


def show_count(value: float) -> str:
    """Return 12,345, or a dash for NaN."""
    return show_number(value, "{:,.0f}")


def show_percent(share: float) -> str:
    """Return 84.5 % of a share of 0.845, or a dash for NaN."""
    return show_number(100 * share, "{:.1f}\N{NO-BREAK SPACE}%")


def show_seconds(seconds: float) -> str:
    """Return 13 min 32 s, or a dash for NaN."""
    return DASH if math.isnan(seconds) else show_duration(seconds)


def show_size(count: float) -> str:
    """Return bytes as kB, MB or GB (powers of 1000), or a dash for NaN."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}" if count / power < 999.5 else f"{count / power:.0f} {unit}"
    return show_number(count, "{:.0f} bytes")


def show_date(text: str) -> str:
    """Return an ISO time as 21 November 2026, 10:00 UTC; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = moment.strftime(" %Z") if moment.tzinfo else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"
