"""What a store is made of: the files, which of them is which track of which cell (samples.tsv), and the choices."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core import PATH_LENGTH, InputError, shorten, show_value
from core.files import check_file, open_text

EXPRESSION = "TPM"  # the track that names an expression table
COLUMNS = ("cell", "track", "path")  # that samples.tsv must have
MOST_LINES = 100_000  # of samples.tsv


@dataclass(frozen=True)
class Sample:
    """One row of samples.tsv.

    Attributes:
        line: in the file, from 1.
        cell: its name.
        track: as the store writes it, or TPM.
        path: of the file; relative paths count from the folder of samples.tsv.
        column: of an expression table.
    """

    line: int
    cell: str
    track: str
    path: Path
    column: str

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.track} of {shorten(self.cell)}"


@dataclass(frozen=True)
class Inputs:
    """The files that a store is made of, and the choices.

    Attributes:
        fasta, gtf, ccres: paths.
        samples: rows of samples.tsv.
        tracks: names of the channels of the store.
        options: name -> value of each of `creator.store.OPTIONS`, and `tracks`.
    """

    fasta: Path
    gtf: Path
    ccres: Path
    samples: tuple[Sample, ...]
    tracks: tuple[str, ...]
    options: dict

    @property
    def cells(self) -> list[str]:
        """Names of the cells in the order of samples.tsv."""
        return list(dict.fromkeys(sample.cell for sample in self.samples))

    def signals_of(self, cell: str) -> list[Sample]:
        """Return the samples of a cell that are signals, in the order of the tracks."""
        found = [sample for sample in self.samples if sample.cell == cell and sample.track != EXPRESSION]
        return sorted(found, key=lambda sample: self.tracks.index(sample.track))


def read_samples(path: Path, tracks: Sequence[str]) -> tuple[Sample, ...]:
    """Read samples.tsv: which file is which track of which cell.

    Args:
        path: tab-separated, with a first line that names its columns.
        tracks: names that a signal may have; case does not matter.

    Raises:
        InputError: a column, a cell, a file or a track that is missing, unknown or there twice; too many lines.
    """
    path = check_file(path, "samples")
    with open_text(path, "samples") as file:
        some = enumerate(itertools.islice(file, MOST_LINES + 1), 1)
        lines = [(number, line.rstrip("\r\n")) for number, line in some]
    if len(lines) > MOST_LINES:
        raise InputError(
            f"samples: {show_value(path, PATH_LENGTH)} has more than {MOST_LINES:,} lines; give the table that "
            "was meant"
        )
    lines = [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]
    try:
        rows = list(csv.reader((line for _, line in lines), delimiter="\t", quoting=csv.QUOTE_NONE))
    except csv.Error as error:  # a cell beyond the csv module's 131,072 characters
        raise InputError(f"samples: {show_value(path, PATH_LENGTH)} is not a table ({error})") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"samples: {show_value(path, PATH_LENGTH)} has no column {', '.join(missing)}, its first line is "
            f"{show_value(lines[0][1] if lines else '', 100)!r}; give cell, track and path, separated by tabs"
        )
    samples = []
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        place = f"line {number} of {show_value(path, PATH_LENGTH)}"
        if len(row) > len(header):
            raise InputError(f"samples: {place} has {len(row)} columns, the first line names {len(header)}")
        cells = dict(zip(header, (text.strip() for text in row), strict=False))
        empty = [name for name in COLUMNS if not cells.get(name)]
        if empty:
            raise InputError(f"samples: {place} has no {' and no '.join(empty)}; columns are separated by tabs")
        track = find_track(cells["track"], tracks, place)
        file = path.parent / Path(cells["path"]).expanduser()
        check_file(file, f"samples: {place}: {track} of {show_value(cells['cell'], 100)}")
        samples.append(Sample(number, cells["cell"], track, file, cells.get("column") or cells["cell"]))
    check_repetition(samples, path)
    return tuple(samples)


def find_track(name: str, tracks: Sequence[str], place: str) -> str:
    """Return a track of samples.tsv as the store writes it; raise InputError that lists them where it is unknown."""
    known = {track.lower(): track for track in (*tracks, EXPRESSION)}
    if name.lower() not in known:
        raise InputError(
            f"samples: {place} has the unknown track {show_value(name, 100)}; known are {', '.join(tracks)} and "
            f"{EXPRESSION}; "
            "--tracks NAME,NAME declares others"
        )
    return known[name.lower()]


def check_repetition(samples: Sequence[Sample], path: Path) -> None:
    """Raise InputError where there is no sample, a track stands twice for a cell, or two cells differ in case only."""
    if not samples:
        raise InputError(f"samples: {show_value(path, PATH_LENGTH)} has no line below its first; give one a file")
    seen: dict[tuple[str, str], Sample] = {}
    cells: dict[str, Sample] = {}
    for sample in samples:
        other = cells.setdefault(sample.cell.lower(), sample)
        if other.cell != sample.cell:
            raise InputError(
                f"samples: lines {other.line} and {sample.line} of {show_value(path, PATH_LENGTH)} name cells "
                f"{show_value(other.cell, 100)} "
                f"and {show_value(sample.cell, 100)}; is that one cell? Write each cell in one way"
            )
        other = seen.setdefault((sample.cell, sample.track), sample)
        if other is not sample:
            raise InputError(
                f"samples: lines {other.line} and {sample.line} of {show_value(path, PATH_LENGTH)} both give "
                f"{sample.label}; keep "
                "one of them"
            )
