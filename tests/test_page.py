"""Pages: every text is text, every kind of block is shown, and a page needs nothing but itself."""

import math

import jinja2
import pytest
from runs import HOSTILE
from test_report import Checker

from core import page
from core.figures import clean_text

PICTURE = '<svg viewBox="0 0 1 1" role="img" aria-label="1 dot"><path d="M0 0z" /></svg>'


def render(*blocks, **more) -> tuple[str, str]:
    """A page of one section with these blocks, and the text that a reader sees."""
    parts = {name: name for name in ("title", "heading", "above", "below", "lead", "verdict", "footer")}
    parts |= {"figure": page.Figure(PICTURE), "sections": [page.Section("A section", blocks)], **more}
    html = page.render_page(page.Page(**parts))
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return html, " ".join(" ".join(checker.text).split())


def test_blocks_of_all_kinds():
    rows = [["a", "1", "2"], ["b", page.Cell("7", "70 %", "warn", 0.7), "3"]]
    html, text = render(
        "A paragraph.",
        {"Time": "3 s", "Device": "CPU"},
        page.Bullets(["one", "two"], "List", warn=True),
        page.Bullets([], "Empty list"),
        page.Code("python a.py", "Command"),
        page.Figure(PICTURE, "A caption"),
        page.Columns([[page.Table("Counts", ["name", "count", "old"], rows, "b", "old", "Table")], ["right"]]),
    )
    for told in ("A paragraph.", "Time 3 s Device CPU", "List one two", "Command python a.py", "A caption", "right"):
        assert told in text
    assert "Table name count old a 1 2 b 7 70 % 3" in text
    assert "Empty list" not in text
    assert html.count(PICTURE) == 2
    assert '<td>1</td><td class="quiet">2</td>' in html
    assert html.count('class="quiet"') == 2
    assert '<tr class="strong"><th scope="row">b</th><td class="shade" style="--c:var(--warn);--share:0.700">' in html
    assert '<ul class="warn">' in html


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_are_only_texts_wherever_they_stand(text):
    table = page.Table(text, [text, text], [[text, page.Cell(text, text, "low", 1)]], title=text)
    places = dict.fromkeys(("title", "heading", "above", "below", "lead", "verdict", "footer"), text)
    blocks = (text, {text: text}, page.Bullets([text], text), page.Code(text, text), page.Figure(PICTURE, text), table)
    plain, _ = render("x", {"x": "x"}, page.Bullets(["x"], "x"), page.Code("x", "x"), page.Figure(PICTURE, "x"))
    html, shown = render(*blocks, page.Columns([[text]]), **places)
    assert shown.count(" ".join(clean_text(text).split())) >= 7 + 10
    assert html.count("<script") == plain.count("<script") == 0
    assert html.encode("utf-8")
    assert not set(html) & set(map(chr, range(32))) - {"\n", "\t"}


def test_the_palette_stands_in_the_style_for_light_and_dark():
    html, _ = render(palette={"one": ("#010101", "#fefefe")})
    light, dark = html.split("prefers-color-scheme: dark")
    assert "--one: #010101;" in light
    assert "--ink: #1d2226;" in light
    assert "--one: #fefefe;" in dark


def test_nothing_is_fetched_and_nothing_runs():
    html, _ = render("text", page.Code("http://example.org", "Command"))
    for remote in ("https:", "//", "<script", "<link", "<img", "@import", "url(", "javascript"):
        assert remote not in html.replace("http://example.org", "").replace("</", "<"), remote


def test_what_a_template_does_not_know_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render(page.Columns([[object()]]))


def test_numbers_as_text():
    assert [page.show_number(value) for value in (0.9034, -0.5, math.nan)] == ["0.903", "−0.500", "–"]
    assert page.show_number(0.126, "{:.2f}") == "0.13"
    assert [page.show_count(value) for value in (12345, -3, math.nan)] == ["12,345", "−3", "–"]
    assert [page.show_percent(share) for share in (0.8449, 1, math.nan)] == ["84.5\xa0%", "100.0\xa0%", "–"]
    assert [page.show_seconds(seconds) for seconds in (812.3, math.nan)] == ["13 min 32 s", "–"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (123_456, "123 kB"), (999_600, "1000 kB"), (3.8e6, "3.8 MB"),
     (2.5e9, "2.5 GB"), (math.nan, "–")],
)  # fmt: skip
def test_sizes(count, expected):
    assert page.show_size(count) == expected


def test_dates():
    assert page.show_date("2026-11-21T10:13:32+00:00") == "21 November 2026, 10:13 UTC"
    assert page.show_date("2026-01-02T03:04") == "2 January 2026, 03:04"
    assert page.show_date("yesterday") == "yesterday"
