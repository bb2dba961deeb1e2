"""Figures: what is drawn stands in the SVG at coordinates known by hand, and texts of users are only texts."""

import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from runs import HOSTILE

from core import figures

ROOT = Path(__file__).resolve().parents[1]
PALETTE = {"network": ("#0069ad", "#62b5f2")}


@figures.page_style()
def draw(content=lambda axis: None, label: str = "a figure of 1 line", **panel) -> str:
    """A panel of 100 x 100 units at (20, 30), data from 0 to 10, with what `content` draws."""
    figure = figures.new_figure(200, 160)
    axis = figures.add_panel(figure, **{"box": (20, 30, 100, 100), "x_range": (0, 10), "y_range": (0, 10), **panel})
    content(axis)
    return figures.to_svg(figure, label, PALETTE)


def drawn_in(svg: str, colour: str) -> list:
    """The shapes of a picture that are drawn in a CSS variable."""
    return [shape for shape in ElementTree.fromstring(svg) if f"var(--{colour})" in shape.get("style", "")]


def test_lines_stand_where_the_data_say():
    svg = draw(lambda axis: axis.plot([0, 5, 10], [0, 10, 2.5], color="#0069ad", linewidth=2))
    (line,) = drawn_in(svg, "network")
    assert line.get("d") == "M20 130 70 30 120 105"
    assert line.get("style") == "stroke:var(--network);stroke-width:2"


def test_lines_break_at_gaps_and_lone_points_are_dots():
    nan = math.nan
    svg = draw(lambda axis: figures.draw_line(axis, [0, 1, 2, 3, 4], [0, 1, nan, 3, nan], "a<b", color="#0069ad"))
    line, dot = drawn_in(svg, "network")
    assert line.get("d").startswith("M20 130 30 120")
    assert dot.get("transform") == "translate(50 100)"
    assert "C" in dot.get("d")
    assert {shape.findtext("title") for shape in (line, dot)} == {"a<b"}


def test_marks_become_paths_of_their_own():
    svg = draw(lambda axis: axis.plot([1, 2], [1, 2], "s", color="#0069ad", markersize=4))
    assert [mark.get("transform") for mark in drawn_in(svg, "network")] == ["translate(30 120)", "translate(40 110)"]
    assert {mark.get("d") for mark in drawn_in(svg, "network")} == {"M-2 2 2 2 2 -2 -2 -2z"}


def test_a_picture_names_itself_and_holds_nothing_that_acts_outside_it():
    svg = draw(lambda axis: axis.fill_between([0, 1], [1, 2]), label="5 genes, \"a\" & 'b'", x_label="x", y_label="y")
    picture = ElementTree.fromstring(svg)
    assert picture.get("viewBox") == "0 0 200 160"
    assert (picture.get("role"), picture.get("aria-label")) == ("img", "5 genes, \"a\" & 'b'")
    assert {element.tag for element in picture.iter()} == {"svg", "path", "text"}
    names = {name for element in picture.iter() for name in element.attrib} - {"viewBox", "role", "aria-label"}
    assert names == {"fill", "font-size", "d", "style", "x", "y", "transform"}
    for acts in ("url(", "http", "<style", " id=", "font-family", "clip-path"):
        assert acts not in svg


def test_everything_of_the_style_is_drawn_in_variables():
    svg = draw(lambda axis: figures.write(axis, "text", (1, 1)), x_label="x", y_label="y")
    assert not re.search("#[0-9a-f]{6}", svg)
    assert {"ink", "quiet", "grid"} == set(re.findall(r"var\(--(\w+)\)", svg))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_of_users_are_drawn_as_they_are(text):
    def content(axis):
        figures.write(axis, text, (5, 5))
        figures.draw_line(axis, [0, 1], [0, 1], title=text)

    svg = draw(content, label=f"1 {text}", x_label=text, y_label=text)
    picture = ElementTree.fromstring(svg)
    clean = figures.clean_text(text)
    shown = "".join(element.text or "" for element in picture.iter("text"))
    assert shown.count(clean.replace("\n", "")) >= 3
    assert clean.replace("\n", " ") in [element.text for element in picture.iter("title")]
    assert picture.get("aria-label") == f"1 {clean}"
    assert {element.tag for element in picture.iter()} <= {"svg", "path", "text", "title"}


def test_clean_text():
    assert figures.clean_text("a\x00\x1b\x7f\ufffe\tb\n\ud800") == "a" + "\ufffd" * 4 + "\tb\n?"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-1000, 500, [-1000, -500, 0, 500]),
        (0.5, 1, [0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        (0, 0.012, [0, 0.005, 0.01]),
        (3, 4.1, [3, 3.5, 4]),
    ],
)
def test_ticks_are_round(low, high, expected):
    svg = draw(x_range=(low, high), ticks=(5, 0))
    shown = [text.text.replace("\N{MINUS SIGN}", "-").replace(",", "") for text in drawn_in(svg, "quiet") if text.text]
    assert [float(text) for text in shown] == pytest.approx(expected)


def test_numbers_of_ticks():
    assert [figures.tick_text(value) for value in (0.5, 1000, -500, 0.1 + 0.2)] == ["0.5", "1,000", "−500", "0.3"]


def test_labels_are_moved_apart_in_order_and_inside():
    assert figures.spread([50, 48, 90], [20, 20, 20], 0, 100) == [68, 48, 90]
    assert figures.spread([5, 5], [10, 10], 0, 100) == [5, 15]
    assert figures.spread([99, 98], [10, 10], 0, 100) == [95, 85]
    assert figures.spread([30, 20, 10], [2, 2, 2], 0, 100) == [30, 20, 10]
    assert figures.spread([], [], 0, 100) == []


def test_a_row_of_labels_stays_inside_the_picture():
    labels = [(0, "left", "#0069ad"), (0.1, "second", "#0069ad"), (10, "right end", "#0069ad")]
    svg = draw(lambda axis: figures.write_row(axis, labels, 10, 5), box=(5, 30, 190, 100))
    places = {text.text: (float(text.get("x")), float(text.get("y"))) for text in drawn_in(svg, "network")}
    # a letter takes 7 units and a label 10 more: 38, 52 and 73 units wide
    assert places == {"left": (19, 25), "second": (38 + 26, 25), "right end": (200 - 36.5, 25)}
    assert "var(--network)" not in draw(lambda axis: figures.write_row(axis, [], 10, 5))


def test_thinned_curves_keep_ends_and_only_original_points():
    xs = np.linspace(0, 1, 5000)
    thin_x, thin_y = figures.thin(xs, xs**2, 100)
    assert len(thin_x) <= 101
    assert (thin_x[0], thin_x[-1]) == (0, 1)
    assert np.isin(thin_x, xs).all()
    assert (thin_y == thin_x**2).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1, 3, (1, 3)), (2, 2, (1.5, 2.5)), (0, 0, (-0.5, 0.5)), (1e12, 1e12 + 1, (1e12 - 1e6, 1e12 + 1 + 1e6))],
)
def test_ranges_of_axes(low, high, expected):
    assert figures.fit_range(low, high, 0.5) == expected


def test_the_same_in_any_process_whatever_matplotlib_is_set_to(tmp_path):
    """Neither time, nor random ids, nor the user's own style change a byte; nothing of pyplot is there."""
    code = (
        "import sys; sys.path[:0] = ['tests']; import test_figures as t\n"
        "svg = t.draw(lambda axis: axis.plot([0, 5], [0, 1], 'o-', label='a'), x_label='$x$', y_label='y')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "print(svg)"
    )
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nfont.size: 30\naxes.facecolor: red\nlines.linewidth: 9\n"
    )
    told = []
    for more in ({}, {"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "3", "SOURCE_DATE_EPOCH": "0"}):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert told[0] == told[1]
    assert ">$x$</text>" in told[0]


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw()
    assert dict(matplotlib.rcParams) == before


def test_importing_loads_no_matplotlib():
    code = "import sys, core.figures, core.page; print([m for m in ('matplotlib', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
