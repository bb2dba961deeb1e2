"""A page: blocks of text, tables and figures become one HTML file that needs no network and runs no script.

Everything that a block holds is text and is escaped, but the SVG of a figure. The template has the looks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from core.figures import COLOURS, clean_text
from core.progress import show_duration

TEMPLATES = Path(__file__).parent / "templates"
DASH = "–"  # where there is no number


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `css` is text, lead, verdict, facts or kicker."""

    kind: ClassVar[str] = "paragraph"
    text: str
    css: str = "text"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences under a small heading; nothing is shown where there are none."""

    kind: ClassVar[str] = "bullets"
    items: Sequence[str]
    title: str = ""
    warn: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure (SVG of `core.figures.to_svg`) and what to see in it."""

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table with a second line, and a share from 0 to 1 that is shown as depth of a colour."""

    text: str
    note: str
    colour: str  # CSS variable
    share: float


@dataclass(frozen=True)
class Heading:
    """The head of a column; `meaning` shows where the mouse rests."""

    text: str
    meaning: str = ""
    quiet: bool = False


@dataclass(frozen=True)
class Table:
    """A table that scrolls in its own box; first cells name the rows, those named in `strong` are bold."""

    kind: ClassVar[str] = "table"
    name: str
    head: Sequence[Heading]
    rows: Sequence[Sequence[str | Cell]]
    strong: Sequence[str] = ()
    title: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and what is said of each."""

    kind: ClassVar[str] = "facts"
    entries: Mapping[str, str]


@dataclass(frozen=True)
class Code:
    """A command or a file, letter by letter, under a small heading."""

    kind: ClassVar[str] = "code"
    text: str
    title: str


@dataclass(frozen=True)
class Columns:
    """Lists of blocks side by side where the screen is wide enough; `small` for many small figures."""

    kind: ClassVar[str] = "columns"
    columns: Sequence[Sequence["Block"]]
    small: bool = False


Block = Paragraph | Bullets | Figure | Table | Facts | Code | Columns


@dataclass(frozen=True)
class Section:
    """A headed part of the page."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """What a page says; `palette` has the colours of its figures: CSS variable -> on white, on dark."""

    title: str  # of the browser's window
    heading: str
    kicker: str  # small, above the heading
    facts: str  # small, below it
    lead: Sequence[Block]
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
        finalize=clean_value,
    )
    return environment.get_template("page.html").render(page=page, palette={**COLOURS, **page.palette})


def clean_value(value: object) -> object:
    """Return what the template writes, text without control characters; what is HTML already stays as it is."""
    return clean_text(value) if type(value) is str else value


# --------------------------------------------------------------------------------------- numbers as text
def show_decimal(value: float, digits: int = 3) -> str:
    """Return 0.903, or a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def show_count(value: float) -> str:
    """Return 12,345, or a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")


def show_percent(share: float) -> str:
    """Return 84.5 % of a share of 0.845, or a dash for NaN."""
    return DASH if math.isnan(share) else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def show_seconds(seconds: float) -> str:
    """Return 13 min 32 s, or a dash for NaN."""
    return DASH if math.isnan(seconds) else show_duration(seconds)


def show_size(count: float) -> str:
    """Return bytes as kB, MB or GB (powers of 1000), or a dash for NaN."""
    if math.isnan(count):
        return DASH
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}" if count / power < 999.5 else f"{count / power:.0f} {unit}"
    return f"{count:.0f} bytes"


def show_date(text: str) -> str:
    """Return an ISO time as 21 November 2026, 10:00 UTC; anything else as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = moment.strftime(" %Z") if moment.tzinfo else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"
