"""Reads the intervals of a BED, bedGraph, narrowPeak or broadPeak file (plain or gzip), line by line.

Coordinates are 0-based half-open, as the files have them. Names of chromosomes are always `str`.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from core import InputError, one_line, shorten
from core.annotation import FARTHEST, parse_coordinate
from core.files import check_file, open_text

BATCH = 200_000  # lines of one frame: what is held at a time, however long the file
NO_INTERVAL = ("#", "track", "browser")  # beginnings of lines that say how a browser should draw the file
WIGGLE = ("fixedStep", "variableStep")


def read_intervals(path: Path, what: str, column: int) -> Iterator[pd.DataFrame]:
    """Read a BED-like file in batches of lines.

    Args:
        path: chromosome, start and end in its first three columns, separated by tabs or blanks.
        what: the file's role, which begins each message.
        column: from 0; a further column to keep as text.

    Yields:
        Frames of at most `BATCH` lines: line (in the file, from 1), chromosome (str), start, end (int64, bp) and
        text (str; "" where the line has no such column).

    Raises:
        InputError: not BED, start not before end, no interval at all.
    """
    path = check_file(path, what)
    rows, found = [], False
    with open_text(path, what) as file:
        for number, line in enumerate(file, 1):
            if not line.strip() or line.startswith(NO_INTERVAL):
                continue
            fields = split_line(line)
            start, end = map(parse_coordinate, fields[1:3]) if len(fields) > 2 else (None, None)
            if start is None or end is None or not fields[0]:
                raise InputError(f"{what}: {describe_line(number, path, line)}")
            if start >= end or end == FARTHEST:
                wrong = "no chromosome is that long" if end == FARTHEST else "start must be smaller than end"
                raise InputError(
                    f"{what}: line {number:,} of {path}: {shorten(fields[0])} from {shorten(fields[1])} to "
                    f"{shorten(fields[2])}; {wrong}; correct or remove the line"
                )
            rows.append((number, fields[0], start, end, fields[column] if len(fields) > column else ""))
            found = True
            if len(rows) == BATCH:
                yield to_frame(rows)
                rows = []
    if not found:
        raise InputError(f"{what}: {path} holds no interval; give chromosome, start and end, one interval a line")
    if rows:
        yield to_frame(rows)


def split_line(line: str) -> list[str]:
    """Return the columns of a line: between tabs, or between blanks where there is no tab."""
    if "\t" in line:
        return [field.strip() for field in line.split("\t")]
    return line.split()


def describe_line(number: int, path: Path, line: str) -> str:
    """Return what is wrong with a line that has no chromosome, start and end."""
    shown = one_line(line.strip()[:80])
    if line.startswith(WIGGLE):
        return f"{path} is a wiggle file (line {number:,}: '{shown}'); convert it to bigWig"
    advice = "put # in front if it is a heading" if number == 1 else "correct or remove it"
    return f"line {number:,} of {path} is no chromosome, start and end in whole numbers: '{shown}'; {advice}"


def to_frame(rows: list[tuple]) -> pd.DataFrame:
    """Return rows of intervals as the frame that `read_intervals` yields."""
    frame = pd.DataFrame(rows, columns=["line", "chromosome", "start", "end", "text"])
    return frame.astype({"chromosome": object, "start": "int64", "end": "int64", "text": object})


def count_columns(path: Path, what: str) -> int:
    """Return how many columns the first interval of a BED-like file has; 0 where there is none."""
    with open_text(check_file(path, what), what) as file:
        lines = (line for line in file if line.strip() and not line.startswith(NO_INTERVAL))
        return len(split_line(next(lines, "")))
