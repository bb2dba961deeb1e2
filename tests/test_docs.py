"""What the documents promise: links, headings, commands and flags that exist, every column, pictures that are small."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CHANGELOG.md", "data/README.md", "benchmarks/RESULTS.md", "benchmarks/SEARCH.md"]
DOCUMENTS += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


def anchors(text: str) -> set[str]:
    """Return what a link may have behind `#`: the headings as the pages of a repository name them."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?s)```.*?```", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> list[list[str]]:
    """Return the commands `python SCRIPT.py ...` of a document, in blocks and in the text, split at spaces."""
    joined = text.replace("\\\n", " ")
    return [found.split() for found in re.findall(r"python ((?:\w+/)?\w+\.py[^\n`]*)", joined)]


@cache
def help_of(script: str, *command: str) -> str:
    """Return what a script of the project, or a command of it, prints for --help."""
    done = subprocess.run(
        [sys.executable, ROOT / script, *command, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def table_column(text: str, heading: str) -> list[str]:
    """Return the names in backticks of the first column of the first table below a heading, in their order."""
    below = text.split(f"\n{heading}\n", 1)[1]
    rows = re.search(r"(?m)(^\|.*\n)+", below)[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_helpers_see_what_is_wrong():
    assert anchors("# One, two\n```\n# no heading\n```\n### `O_run.json`") == {"one-two", "o_runjson"}
    assert commands("run `python a.py --x` or\npython b/c.py \\\n  --y 1\n") == [
        ["a.py", "--x"],
        ["b/c.py", "--y", "1"],
    ]
    assert table_column("\n## H\n\ntext\n\n| c | m |\n|---|---|\n| `a`, `b` | `z` |\n| `c` | |\n", "## H") == [*"abc"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```", "", text)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_exist_with_their_flags(name):
    for script, *arguments in commands((ROOT / name).read_text()):
        assert (ROOT / script).is_file(), script
        if script.startswith("lcre_") or script in ("CREaTor.py", "data/fetch.py"):  # the others run for --help too
            command = arguments[:1] if script == "CREaTor.py" and arguments and arguments[0].isalpha() else []
            for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", " ".join(arguments)):
                assert flag in help_of(script, *command), (script, flag)


def test_readme_is_short_and_its_test_command_is_one_line():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if line.startswith("python3 -m venv ")] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt && .venv/bin/python lcre_classifier.py",
        "python3 -m venv .venv-test && .venv-test/bin/pip install -q -r requirements-dev.txt && "
        ".venv-test/bin/python -m pytest",
    ]


def test_pictures_are_small_and_all_are_shown():
    pictures = sorted((ROOT / "docs/pictures").iterdir())
    sizes = {path.name: path.stat().st_size for path in pictures}
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in pictures)
    assert max(sizes.values()) < 300_000
    assert sum(sizes.values()) < 800_000
    text = "".join((ROOT / name).read_text() for name in DOCUMENTS)
    assert [name for name in sizes if f"pictures/{name})" not in text] == []


def test_files_md_has_every_column():
    """The columns stand there as in the code's tables, in their order; behind them a copy may have some of its own."""
    from lcre.comparison import COLUMNS
    from lcre.results import LOG_COLUMNS, RESULT_COLUMNS

    text = (ROOT / "docs/files.md").read_text()
    documented = table_column(text, "### `O_result.csv`")
    assert documented == [column.name for column in RESULT_COLUMNS][: len(documented)]
    assert "seconds" in documented
    rows = "".join(f"| `{column.name}` | {column.meaning} |\n" for column in RESULT_COLUMNS[: len(documented)])
    assert f"|---|---|\n{rows}\n" in text
    assert table_column(text, "### `O_model_C/performance_log.csv`") == list(LOG_COLUMNS)
    assert table_column(text, "### `A_vs_B.csv`") == list(COLUMNS)


def test_files_md_has_what_is_written_of_variants_and_predict_md_what_is_said():
    from lcre.annotated_vcf import FIELDS
    from lcre.variant_effects import EFFECTS_CHECKED
    from lcre_predict import EFFECT_COLUMNS

    text = (ROOT / "docs/files.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("| variants |")]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])] == EFFECT_COLUMNS
    assert re.findall(r"(?m)^\| `(LCRE_\w+)` \| (\w+) \|", text) == [(name, kind) for name, (kind, _) in FIELDS.items()]
    assert EFFECTS_CHECKED in " ".join((ROOT / "docs/predict.md").read_text().replace("\n> ", " ").split())


def test_method_names_the_models_and_developing_every_field_of_one():
    import dataclasses

    from lcre_classifier import MODELS, Model

    method, developing = ((ROOT / f"docs/{name}.md").read_text() for name in ("method", "developing"))
    documented = re.findall(r"\n### `(\w+)`", method)
    assert {"cnn_lstm_kmer", "published"} <= set(documented) <= set(MODELS)
    fields = [field.name for field in dataclasses.fields(Model)]
    assert [name for name in fields if f"`{name}`" not in developing and f"{name}=" not in developing] == [
        "build"  # the function itself
    ]


def test_files_that_developing_names_exist():
    text = (ROOT / "docs/developing.md").read_text()
    named = set(re.findall(r"`((?:\w+/)*\w+\.(?:py|md|html))`", text)) - {"words.csv"}
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_files_md_names_every_status():
    import pandas as pd

    from lcre.check import gene_status

    names = ("coding", "on_genome", "sequence_known", "window_fits", "in_table")
    gene = dict.fromkeys(names, True) | {"strand": "+", "chromosome": "1"}
    changes = [{}, *({name: False} for name in names), {"strand": "."}, {"chromosome": "Mito"}]
    statuses = gene_status(pd.DataFrame([gene | change for change in changes]), {"Mito"})
    text = (ROOT / "docs/files.md").read_text()
    assert len(set(statuses)) == 8
    assert [status for status in statuses if f"`{status}`" not in text] == []
