"""Signals of cells on the cCREs and around each TSS: their files are looked at, read, transformed, and written."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import core
from core import PATH_LENGTH, InputError, examples, shorten, show_value
from core.files import read_json, write_json
from core.names import CHROMOSOME_BRIDGES, join_names
from core.progress import Progress, show_duration
from core.tracks import BigWig, Peaks, open_track
from creator.checkpoint import LARGEST_SIGNAL
from creator.rows import Rows
from creator.samples import EXPRESSION, Inputs, Sample
from creator.store import divisor_of, writing_array

CHUNK = 16 << 20  # numbers of a block of signal that is in memory at a time, about
MOST_CHUNK = 4096  # rows of such a block
LARGEST_HALF = float(np.finfo(np.float16).max)  # 65,504
LARGEST_SINGLE = 3e38  # what float32 holds, about


# ----------------------------------------------------------------------------------------------------- tracks
def check_tracks(inputs: Inputs, lengths: Mapping[str, int], notes: list[str], warnings: list[str]) -> None:
    """Open every signal once, so that what is wrong with one is known before anything is written."""
    sources = {}
    for cell in inputs.cells:
        for sample in inputs.signals_of(cell):
            opened = open_signal(sample, lengths, notes, warnings)
            sources.setdefault(opened.reader.source, []).append(sample)
    for source, found in sources.items():
        if source != BigWig.source:
            notes.append(f"{len(found)} signals ({examples(sample.label for sample in found)}) are {source}")
    for text in (notes, warnings):
        text[:] = dict.fromkeys(text)  # the same of every file
    used = {sample.track for sample in inputs.samples} - {EXPRESSION}
    missing = [track for track in inputs.tracks if track not in used]
    if missing:
        notes.append(
            f"{len(missing)} of {len(inputs.tracks)} tracks are in no cell and are zeros: {', '.join(missing)}"
        )
    for cell in inputs.cells:
        lacks = used - {sample.track for sample in inputs.signals_of(cell)}
        if lacks:
            warnings.append(
                f"cell {show_value(cell, 100)} lacks {', '.join(sorted(lacks))}, which others have: zeros are used"
            )


@dataclass(frozen=True)
class OpenSignal:
    """A signal of a cell whose file is open.

    Attributes:
        sample: the row of samples.tsv.
        reader: of the file.
        names: the genome's name of each chromosome -> the file's.
    """

    sample: Sample
    reader: BigWig | Peaks
    names: dict[str, str]

    def read(self, chromosome: str, rows: Rows) -> np.ndarray:
        """Return the values under rows of one chromosome, (n, width) float32."""
        signal = np.zeros((len(rows), rows.width), np.float32)
        if chromosome in self.names:
            found = self.reader.read(self.names[chromosome], rows.begins, rows.begins + rows.taken)
            for row, column, values in zip(signal, rows.columns, found, strict=True):
                row[column : column + len(values)] = np.clip(values, -LARGEST_SINGLE, LARGEST_SINGLE)
        return rows.turn(signal)


def open_signal(sample: Sample, lengths: Mapping[str, int], notes: list[str], warnings: list[str]) -> OpenSignal:
    """Open a signal and bridge its names of chromosomes to those of the genome.

    Args:
        sample: the row of samples.tsv.
        lengths: of the chromosomes of the genome, bp.
        notes, warnings: sentences for the user, added to.

    Raises:
        InputError: no signal, no chromosome in common, or another assembly by the chromosomes' lengths.
    """
    reader = open_track(sample.path, sample.label)
    kind = "bigWig" if isinstance(reader, BigWig) else "peaks"
    try:
        what = f"{kind} and FASTA have no chromosome"
        partner = join_names(reader.lengths, lengths, CHROMOSOME_BRIDGES, what, notes)
    except core.InputError as error:
        raise InputError(f"{sample.label} ({show_value(sample.path, PATH_LENGTH)}): {error}") from None
    if isinstance(reader, BigWig):
        other = [name for name in partner if reader.lengths[name] != lengths[partner[name]]]
        text = "; ".join(
            f"{shorten(name)} has {reader.lengths[name]:,} bp there and {lengths[partner[name]]:,} in the FASTA"
            for name in other[:2]
        )
    else:
        other = [name for name in partner if reader.last_end(name) > lengths[partner[name]]]
        text = "; ".join(f"intervals end beyond {shorten(name)}" for name in other[:2])
    if 2 * len(other) > len(partner) or (other and isinstance(reader, Peaks)):
        raise InputError(f"{sample.label} ({show_value(sample.path, PATH_LENGTH)}) is of another genome: {text}")
    if other:
        warnings.append(f"{sample.label}: {text}; are both of the same assembly?")
    return OpenSignal(sample, reader, {chromosome: name for name, chromosome in partner.items()})


# --------------------------------------------------------------------------------------------------- signals
def write_cell(
    folder: Path,
    cell: int,
    inputs: Inputs,
    lengths: Mapping[str, int],
    chromosomes: list[str],
    elements: Rows,
    genes: Rows,
    progress: Progress,
) -> None:
    """Write the signal of one cell, and beside it a mark with its mean and maximum, unless the mark is there.

    Args:
        folder: the unfinished store.
        cell: index of the cell.
        inputs: the files and the options.
        lengths: of the chromosomes of the genome, bp.
        chromosomes: their names by the index that the rows have.
        elements: rows of the cCREs, in `signal_K.npy`.
        genes: rows of the genes' windows, in `gene_signal_K.npy`.
        progress: counts elements.
    """
    name, mark = inputs.cells[cell], folder / f"signal_{cell}.json"
    if read_json(mark) is not None:
        progress.skip(len(elements))
        return
    started = time.monotonic()
    samples = inputs.signals_of(name)
    measures = {sample.track: {"mean": 0.0, "largest": 0.0, "clipped": 0} for sample in samples}
    if samples:
        signals = [open_signal(sample, lengths, [], []) for sample in samples]
        step = partial(progress.step, f"signal of {show_value(name, 100)}")
        shared = (signals, chromosomes, inputs.options)
        write_signal(folder / f"signal_{cell}.npy", elements, *shared, measures, step)
        for found in measures.values():  # those of the cCREs alone
            found["mean"] = found["mean"] / int(elements.taken.sum())
        write_signal(folder / f"gene_signal_{cell}.npy", genes, *shared, copy.deepcopy(measures), lambda count: None)
    write_json(mark, measures)
    means = ", ".join(f"{track} {found['mean']:.3g}" for track, found in measures.items()) or "no signal"
    progress.line(
        f"cell {show_value(name, 100)}: {means} (mean of a base); {show_duration(time.monotonic() - started)}"
    )


def write_signal(
    path: Path,
    rows: Rows,
    signals: Sequence[OpenSignal],
    chromosomes: Sequence[str],
    options: Mapping,
    measures: dict[str, dict],
    progress: Callable[[int], None],
) -> None:
    """Write signals of rows, (n, width, signals), piece by piece.

    Args:
        path: the .npy file.
        rows: where the signals are read.
        signals: of one cell.
        chromosomes: names by the index that the rows have.
        options: signal_type, and those of `transform_signal`.
        measures: of each track, added to by `measure_signal`.
        progress: told the number of rows of each piece.
    """
    most = max(1, min(MOST_CHUNK, CHUNK // (rows.width * len(signals))))
    with writing_array(path, (len(rows), rows.width, len(signals)), options["signal_type"]) as append:
        for index, part in rows.split(most):
            block = np.zeros((len(part), rows.width, len(signals)), np.float32)
            for channel, signal in enumerate(signals):
                values = transform_signal(signal.read(chromosomes[index], part), signal.sample, options)
                block[:, :, channel] = measure_signal(values, measures[signal.sample.track], options)
            append(block)
            progress(len(part))


def transform_signal(signal: np.ndarray, sample: Sample, options: Mapping) -> np.ndarray:
    """Return a signal scaled and transformed as the options say; 0 stays 0.

    Raises:
        InputError: a value that is too large, or negative under log1p.
    """
    if np.abs(signal).max(initial=0) > LARGEST_SIGNAL:
        raise InputError(
            f"{sample.label}: {show_value(sample.path, PATH_LENGTH)} has values beyond {LARGEST_SIGNAL:.0e}; give "
            "signal "
            "such as counts or fold changes"
        )
    signal = signal / np.float32(divisor_of(options["scale"], sample.track))
    if options["transform"] == "log1p":
        if (signal < 0).any():
            raise InputError(
                f"{sample.label}: {show_value(sample.path, PATH_LENGTH)} has negative values ({signal.min():.3g}), of "
                "which log1p "
                "cannot be taken; give --transform arcsinh"
            )
        return np.log1p(signal)
    return np.arcsinh(signal) if options["transform"] == "arcsinh" else signal


def measure_signal(signal: np.ndarray, measures: dict, options: Mapping) -> np.ndarray:
    """Return a signal as the store can hold it, and add its sum and maximum to `measures`.

    What float16 cannot hold is set to the largest that it can, and counted.
    """
    if options["signal_type"] == "float16":
        measures["clipped"] += int((np.abs(signal) > LARGEST_HALF).sum())
        signal = np.clip(signal, -LARGEST_HALF, LARGEST_HALF)
    measures["mean"] += float(signal.sum(dtype=np.float64))
    measures["largest"] = max(measures["largest"], float(signal.max(initial=0)))
    return signal


def describe_clipping(measures: Sequence[Mapping], inputs: Inputs) -> list[str]:
    """Return warnings about values that float16 could not hold; they are printed as well."""
    found = []
    for cell, tracks in zip(inputs.cells, measures, strict=True):
        for track, values in tracks.items():
            if values["clipped"]:
                found.append(
                    f"{values['clipped']:,} values of {track} of {show_value(cell, 100)} are set to "
                    f"{LARGEST_HALF:,.0f}, the "
                    "largest of float16; --transform log1p, --scale or --signal-type float32 avoid that"
                )
    for text in found:
        print(f"warning: {text}")
    return found
