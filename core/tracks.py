"""Reads a signal along the genome: a bigWig through pybigtools, or the values of peaks in a BED-like file.

Both give one float a base, 0 where the file says nothing. Names of chromosomes are those of the file; whoever asks
bridges them (`core.names`). A bigWig is also written here.
"""

import contextlib
import itertools
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, shorten
from core.files import check_file, replacing
from core.intervals import count_columns, read_intervals

BIGWIG = (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")  # first bytes of a file, of either byte order
BIGBED = (b"\xeb\xf2\x89\x87", b"\x87\x89\xf2\xeb")
PEAK_FILE = re.compile(r"\.(narrow|broad)Peak(\.gz)?$", re.IGNORECASE)  # their value is in column 7
MOST_PEAKS = 20_000_000  # lines of a BED-like file, which is held in memory; a bigWig is read piece by piece


def open_track(path: Path, what: str) -> "BigWig | Peaks":
    """Open a signal: a bigWig is known by its first bytes, everything else is read as BED.

    Args:
        path: the file.
        what: its role, which begins each message.

    Raises:
        InputError: no such file, a bigBed, a damaged bigWig, not BED.
    """
    path = check_file(path, what)
    with open(path, "rb") as file:
        first = file.read(4)
    if first in BIGBED:
        raise InputError(f"{what}: {path} is a bigBed; convert it to BED (bigBedToBed) or give a bigWig")
    if first not in BIGWIG and path.suffix.lower() in (".bw", ".bigwig"):
        raise InputError(f"{what}: {path} is not a bigWig, as its name says; copy or download it again")
    return BigWig(path, what) if first in BIGWIG else Peaks(path, what)


class BigWig:
    """An open bigWig.

    Attributes:
        lengths: chromosome -> bp, as in the file.
        source: what its values are, in words.
    """

    source = "bigWig"

    def __init__(self, path: Path, what: str):
        import pybigtools

        self.path, self.what = path, what
        if reason := find_damage(path):
            raise InputError(f"{what}: {path} is a damaged bigWig ({reason}); copy or download it again")
        with self._explaining():
            self._file = pybigtools.open(str(path))
            self.lengths = {str(name): int(length) for name, length in self._file.chroms().items()}

    def read(self, chromosome: str, begins: Sequence[int], ends: Sequence[int]) -> list[np.ndarray]:
        """Return the values of each [begin, end) of a chromosome, float64, 0 where the file has none."""
        with self._explaining():
            found = [
                self._file.values(chromosome, int(begin), int(end), fillna=0.0, oob=0.0)
                for begin, end in zip(begins, ends, strict=True)
            ]
        for begin, values in zip(begins, found, strict=True):
            values[np.isnan(values)] = 0.0  # some programs write their gaps as NaN
            if np.isinf(values).any():
                at = int(begin + np.argmax(np.isinf(values)))
                raise InputError(f"{self.what}: {self.path} is infinite at {shorten(chromosome)}:{at:,}; correct it")
        return found

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn what pybigtools makes of a damaged file into one line.

        It panics there, which is no `Exception` in Python, after it has printed a trace of its own.
        """
        try:
            with silent_stderr():
                yield
        except Exception as error:
            reason = str(error)
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            reason = str(error)
        else:
            return
        reason = shorten(" ".join(reason.split()), 100)
        raise InputError(f"{self.what}: {self.path} is a damaged bigWig ({reason}); copy or download it again")


def write_bigwig(path: Path, lengths: Mapping[str, int], records: Iterable[tuple[str, int, int, float]]) -> int:
    """Write a bigWig in one step, reading `records` as it goes; without records, no file: a bigWig cannot be empty.

    Args:
        path: of the file.
        lengths: chromosome -> bp; the file lists those that have a record.
        records: chromosome, start and end (0-based half-open, bp) and value, sorted by start, chromosome by chromosome.

    Returns:
        How many records were written.

    Raises:
        InputError: the file cannot be written, as on a full disk.
        Exception: whatever `records` raises.
    """
    import pybigtools

    records = iter(records)
    first = next(records, None)
    if first is None:
        return 0
    count, ended, raised = 0, False, []

    def counted() -> Iterator[tuple[str, int, int, float]]:
        nonlocal count, ended
        try:
            for record in itertools.chain([first], records):
                yield record
                count += 1
            ended = True
        except GeneratorExit:  # pybigtools stopped early; it may not say so
            raise
        except BaseException as error:  # pybigtools would print it and end the file there
            raised.append(error)

    with replacing(path) as temporary:
        try:
            with silent_stderr():
                pybigtools.open(str(temporary), "w").write(dict(lengths), counted())
            reason = find_damage(temporary) if ended else f"it took {count:,} values and no more"
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = shorten(" ".join(str(error).split()), 100)
        if raised:
            raise raised[0]
        if reason:
            raise InputError(f"{path} cannot be written as a bigWig ({reason}); is there room on the disk?")
    return count


CHROMOSOME_TREE, INDEX = 0x78CA8C91, 0x2468ACE0  # first numbers of the two trees of a bigWig
BRANCH = [("place", "4u4"), ("offset", "u8")]  # an entry of a node of the index: which bases, where in the file
LEAF = [*BRANCH, ("size", "u8")]


def find_damage(path: Path) -> str:
    """Return in words what of a bigWig lies beyond its end, or "".

    pybigtools asks for as much memory as the file says that its parts need: where that number is damaged it is refused,
    and the process ends without a word. A download that broke off is found here as well.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        order = "<" if file.read(4) == BIGWIG[0] else ">"

        def read(offset: int, form: str) -> tuple:
            file.seek(min(offset, size))
            return struct.unpack(order + form, file.read(struct.calcsize(order + form)))

        try:
            chromosomes, _, index = read(8, "QQQ")
            magic, _, key_size, value_size, count = read(chromosomes, "IIIIQ")
            if magic != CHROMOSOME_TREE or count * (key_size + value_size) > size:
                return "its list of chromosomes"
            if read(index, "I") != (INDEX,):
                return "it has no index"
            nodes, seen = [index + 48], set()
            while nodes:
                offset = nodes.pop()
                is_leaf, _, count = read(offset, "BBH")
                kind = np.dtype(LEAF if is_leaf else BRANCH).newbyteorder(order)
                entries = np.frombuffer(file.read(count * kind.itemsize), kind, count)
                seen.add(offset)
                if is_leaf and (entries["offset"].astype(float) + entries["size"].astype(float) > size).any():
                    return f"it ends after {size:,} bytes, before its data do"
                if not is_leaf:
                    nodes += [int(child) for child in entries["offset"] if int(child) not in seen]
        except (struct.error, ValueError):
            return f"it ends after {size:,} bytes, before its index does"
    return ""


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what libraries that are not Python write to standard error."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # closed: there is nothing to discard
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nothing)
        os.close(kept)


class Peaks:
    """The values of the intervals of a BED, bedGraph, narrowPeak or broadPeak file; the largest where they overlap.

    The value is the fourth column where there are four (bedGraph), the seventh of a file named .narrowPeak or
    .broadPeak, otherwise the fifth (the score of a BED), and 1 where there are three.

    Attributes:
        lengths: chromosome -> None: such a file does not tell.
        source: which column the values are from.
    """

    def __init__(self, path: Path, what: str):
        columns = count_columns(path, what)
        self.path, self.what = path, what
        column = 6 if PEAK_FILE.search(path.name) else {3: 3, 4: 3}.get(columns, 4)
        self.source = f"column {column + 1} of a BED" if columns > 3 else "1 in each interval of a BED without values"
        parts: dict[str, list[pd.DataFrame]] = {}
        count = 0
        for batch in read_intervals(path, what, column):
            count += len(batch)
            if count > MOST_PEAKS:
                raise InputError(f"{what}: {path} has more than {MOST_PEAKS:,} intervals; convert it to bigWig")
            batch["value"] = self._to_values(batch) if columns > 3 else 1.0
            for name, part in batch.groupby("chromosome", sort=False):
                parts.setdefault(name, []).append(part[["start", "end", "value"]])
        self.lengths = dict.fromkeys(parts)
        self._peaks = {name: self._sorted(pd.concat(found)) for name, found in parts.items()}

    def read(self, chromosome: str, begins: Sequence[int], ends: Sequence[int]) -> list[np.ndarray]:
        """Return the values of each [begin, end) of a chromosome, float64, 0 where no interval is."""
        starts, stops, values, latest = self._peaks[chromosome]
        found = []
        for begin, end in zip(begins, ends, strict=True):
            signal = np.zeros(end - begin)
            first, last = np.searchsorted(latest, begin, "right"), np.searchsorted(starts, end)
            inside = np.arange(first, last)
            for peak in inside[np.argsort(values[first:last], kind="stable")]:  # the largest is written last
                if stops[peak] > begin:
                    signal[max(starts[peak] - begin, 0) : stops[peak] - begin] = values[peak]
            found.append(signal)
        return found

    def last_end(self, chromosome: str) -> int:
        """Return the largest end of an interval of a chromosome, bp."""
        return int(self._peaks[chromosome][3][-1])

    def _to_values(self, batch: pd.DataFrame) -> np.ndarray:
        """Return the text of a batch as finite numbers; raise InputError that names the first that is none."""
        values = pd.to_numeric(batch["text"], errors="coerce").to_numpy(np.float64)
        wrong = ~np.isfinite(values)
        if wrong.any():
            first = batch.iloc[int(wrong.argmax())]
            raise InputError(
                f"{self.what}: line {first['line']:,} of {self.path} has the value {shorten(first['text'])!r} in "
                f"{self.source.removesuffix(' of a BED')}, no number; give bedGraph, or a BED with a score in column 5"
            )
        return values

    @staticmethod
    def _sorted(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return starts, ends and values by start, and the largest end so far, which finds what reaches a place."""
        frame = frame.sort_values("start", kind="stable")
        starts, ends = frame["start"].to_numpy(), frame["end"].to_numpy()
        return starts, ends, frame["value"].to_numpy(), np.maximum.accumulate(ends)
