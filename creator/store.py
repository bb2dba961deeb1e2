"""The store: what CREaTor learns from and predicts from, as arrays on disk that are mapped, not read.

A folder with `manifest.json` and plain .npy files. Sequence and signal of a cCRE stand in it once, however many genes
it may act on; a gene has a list of the cCREs in its reach. `creator.prepare` writes it. The manifest is written last,
into a folder that has another name until then, so a store is whole or it is not there.

Elements (cCREs) are in the order of the genome, and so are genes, by their TSS; coordinates are 0-based half-open.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import PATH_LENGTH, InputError, show_value
from core.files import read_json, replacing
from creator import BLOCK, CHANNELS, GENE_WINDOW
from creator.checkpoint import LONGEST_ELEMENT

FORMAT = 2  # of the store; another number is another layout of files
MANIFEST = "manifest.json"
UNFINISHED = ".part"  # behind the name of a store while it is being written


# ------------------------------------------------------------------------------------------------- options
@dataclass(frozen=True)
class Option:
    """A choice that shapes the store: a flag of `prepare`, kept in store and model, and compared by name.

    Attributes:
        name: as in the manifest; the flag has '-' for '_'.
        default: what the published description says or leaves open, see `help`.
        help: unit and advice.
        choices: what it may be; empty for numbers and text.
        least, most: bounds of a number, both allowed.
    """

    name: str
    default: int | str
    help: str
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0

    @property
    def flag(self) -> str:
        """The flag of `prepare`."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: int | str) -> int | str:
        """Return `value` if it is allowed; raise InputError that names the flag otherwise."""
        if isinstance(self.default, int) and not self.least <= value <= self.most:
            raise InputError(f"{self.flag}: {show_value(value, 100)} is not between {self.least:,} and {self.most:,}")
        if self.name == "width" and value % BLOCK:
            near = max(BLOCK, value // BLOCK * BLOCK)
            raise InputError(
                f"{self.flag}: {value} is not a multiple of {BLOCK}, the bases of one token; give {near} or {near + 5}"
            )
        if self.choices and value not in self.choices:
            raise InputError(f"{self.flag}: {show_value(value, 100)} is not one of {', '.join(self.choices)}")
        if self.name == "token_order" and sorted(value) != list("ACGT"):
            raise InputError(f"{self.flag}: {show_value(value, 100)} is not an order of A, C, G and T such as ACGT")
        return value


OPTIONS = (
    Option(
        "width", 350, "bases of each cCRE, a multiple of 5; about as long as most of them are", (), 5,
        LONGEST_ELEMENT // BLOCK * BLOCK,
    ),
    Option("crop", "centre", "the part of a longer cCRE that is kept", ("centre", "start")),
    Option("pad", "both", "where a shorter cCRE is filled up with zeros", ("both", "end")),
    Option("token_order", "ACGT", "bases that tokens 1 to 4 stand for; that of the published network is not known"),
    Option("element_position", "centre", "the coordinate of a cCRE, from which distances count", ("centre", "start")),
    Option("transform", "none", "of the signal, after --scale; log1p or arcsinh where peaks differ a thousandfold",
           ("none", "log1p", "arcsinh")),
    Option("scale", "none", "divisors of tracks, as in DNase=10,H3K27ac=2.5; so that values are around 1"),
    Option("reach", 1_000_000, "bp from the TSS to either side in which a cCRE may act; the paper goes to 2 Mb", (), 1,
           100_000_000),
    Option("max_elements", 0, "cCREs a gene, the nearest ones; 0: all in reach", (), 0, 1_000_000),
    Option("minus_strand", "reverse", "coordinates of a gene's own window on the minus strand: from high to low "
           "(reverse) or from low to high (forward)", ("reverse", "forward")),
    Option("genes", "coding", "protein-coding genes only, or all of the annotation", ("coding", "all")),
    Option("signal_type", "float16", "numbers of the signal on disk; float32 takes twice the room and is exact",
           ("float16", "float32")),
)  # fmt: skip


def differences(options: Mapping, others: Mapping, here: str, there: str) -> list[str]:
    """Return what differs between two sets of options, tracks included, as messages say it.

    Args:
        options, others: as in `Store.options`.
        here, there: what they are the options of, as in "store" and "model".
    """
    names = [*options, *(name for name in others if name not in options)]
    return [
        f"{name} ({show_value(options.get(name, 'not known'), 100)} in the {here}, "
        f"{show_value(others.get(name, 'not known'), 100)} in the "
        f"{there})"
        for name in names
        if options.get(name) != others.get(name)
    ]


def choose_tracks(names: str | None) -> tuple[str, ...]:
    """Return the tracks of a store: the published ones, or those of --tracks.

    Raises:
        InputError: a name that is empty, TPM, or there twice.
    """
    if names is None:
        return CHANNELS
    tracks = tuple(name.strip() for name in names.split(","))
    for place, name in enumerate(tracks):
        if not name or name.upper() == "TPM" or "=" in name:
            raise InputError(
                f"--tracks: {show_value(name, 100) if name else 'an empty name'} is no name for a track; give NAME,NAME"
            )
        if name.lower() in [other.lower() for other in tracks[:place]]:
            raise InputError(f"--tracks: {show_value(name, 100)} is there twice; give each track once")
    return tracks


def check_scale(text: str, tracks: Sequence[str]) -> str:
    """Return --scale in the order of the tracks; raise InputError where it is not TRACK=number,..."""
    if text == "none":
        return text
    divisors = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            divisor = float(number)
        except ValueError:
            divisor = float("nan")
        if not 1e-9 <= divisor <= 1e9:
            raise InputError(
                f"--scale: {show_value(part, 100)} is not TRACK=number; give divisors as in DNase=10,H3K27ac=2.5"
            )
        track = {track.lower(): track for track in tracks}.get(name.strip().lower())
        if track is None:
            raise InputError(f"--scale: unknown track {show_value(name, 100)}; known are {', '.join(tracks)}")
        if track in divisors:
            raise InputError(f"--scale: {track} is there twice; give each track once")
        divisors[track] = divisor
    return ",".join(f"{track}={divisors[track]:.10g}" for track in tracks if track in divisors)


def divisor_of(scale: str, track: str) -> float:
    """Return the number by which the option `scale` divides a track."""
    divisors = dict(part.split("=") for part in scale.split(",") if scale != "none")
    return float(divisors.get(track, 1.0))


# --------------------------------------------------------------------------------------------------- store
@dataclass(frozen=True)
class Store:
    """An open store. Arrays are mapped read-only: what is used of them is read when it is used.

    Attributes:
        path: its folder.
        options: name -> value of each of `OPTIONS`, and `tracks`, their names joined by commas.
        tracks: names of the signal's channels, in the order in which the network takes them.
        cells: their names, in the order of samples.tsv.
        chromosomes: names as in the FASTA, in its order.
        element_name: (N,) bytes, UTF-8; names are unique.
        element_chromosome: (N,) int32, index into `chromosomes`.
        element_start, element_end: (N,) int64, bp.
        tokens: (N, width) uint8; 0 pad or unknown, 1..4 bases in the order of the option token_order.
        signals: of each cell (N, width, tracks that the cell has), float16 or float32, scaled and transformed.
        signal_tracks: of each cell the indices of these tracks; every other track of the cell is zeros.
        gene_id: (G,) bytes, UTF-8.
        gene_chromosome: (G,) int32.
        gene_tss: (G,) int64, bp; the first transcribed base, on either strand.
        gene_strand: (G,) int8, 1 or -1.
        gene_tokens: (G, 700) uint8, of the bases at the coordinates of `gene_window`, complemented where the window
            runs from high to low.
        gene_signals: of each cell (G, 700, tracks that the cell has), likewise.
        reach_indptr, reach_indices: (G + 1,) int64, (P,) int32; elements in reach of gene g, in the order of the
            genome, are reach_indices[reach_indptr[g] : reach_indptr[g + 1]].
        expression: (G, cells) float32, TPM; nan where a gene or a cell has none.
        manifest: everything else, see docs/files.md.
    """

    path: Path
    options: dict
    tracks: tuple[str, ...]
    cells: tuple[str, ...]
    chromosomes: tuple[str, ...]
    element_name: np.ndarray
    element_chromosome: np.ndarray
    element_start: np.ndarray
    element_end: np.ndarray
    tokens: np.ndarray
    signals: tuple[np.ndarray, ...]
    signal_tracks: tuple[np.ndarray, ...]
    gene_id: np.ndarray
    gene_chromosome: np.ndarray
    gene_tss: np.ndarray
    gene_strand: np.ndarray
    gene_tokens: np.ndarray
    gene_signals: tuple[np.ndarray, ...]
    reach_indptr: np.ndarray
    reach_indices: np.ndarray
    expression: np.ndarray
    manifest: dict

    def in_reach(self, gene: int) -> np.ndarray:
        """Return the elements in reach of a gene, in the order of the genome, int32."""
        return self.reach_indices[self.reach_indptr[gene] : self.reach_indptr[gene + 1]]

    def element_position(self, elements: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the coordinate of elements as the option element_position says, int64, bp."""
        starts = np.asarray(self.element_start[elements])
        if self.options["element_position"] == "start":
            return starts
        return (starts + self.element_end[elements]) // 2

    def read_signal(self, cell: int, elements: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Return the signal of elements in a cell, (n, width, tracks) float32, zeros where the cell lacks a track."""
        return self._all_tracks(cell, self.signals[cell][elements])

    def read_gene_signal(self, cell: int, genes: np.ndarray | slice) -> np.ndarray:
        """Return the signal of the genes' own windows in a cell, (n, 700, tracks) float32."""
        return self._all_tracks(cell, self.gene_signals[cell][genes])

    def _all_tracks(self, cell: int, found: np.ndarray) -> np.ndarray:
        """Return a cell's signal, (n, columns, tracks that it has), with zeros for the other tracks of the store."""
        dense = np.zeros((*found.shape[:2], len(self.tracks)), np.float32)
        dense[:, :, self.signal_tracks[cell]] = found
        return dense

    def gene_window(self, gene: int) -> np.ndarray:
        """Return the coordinates of a gene's own window around its TSS, (700,) int64, as the network takes them."""
        offsets = np.arange(GENE_WINDOW) - GENE_WINDOW // 2
        reverse = self.options["minus_strand"] == "reverse" and self.gene_strand[gene] < 0
        return self.gene_tss[gene] + (-offsets if reverse else offsets)

    def identity(self) -> str:
        """Return a hash of options and inputs: two stores with the same one hold the same numbers."""
        return identify(self.manifest)


def identify(manifest: Mapping) -> str:
    """Return the SHA-256 of what makes the numbers of a store: format, options, tracks, cells and inputs."""
    inputs = {key: entry["sha256"] for key, entry in manifest["inputs"].items()}
    content = [manifest["format"], manifest["options"], manifest["cells"], inputs, manifest["columns"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# ------------------------------------------------------------------------------------------------- reading
ARRAYS = (  # name, type, shape in words of `counts` and `options`; the signals and tables of names are beside
    ("element_chromosome", "int32", ("elements",)),
    ("element_start", "int64", ("elements",)),
    ("element_end", "int64", ("elements",)),
    ("tokens", "uint8", ("elements", "width")),
    ("gene_chromosome", "int32", ("genes",)),
    ("gene_tss", "int64", ("genes",)),
    ("gene_strand", "int8", ("genes",)),
    ("gene_tokens", "uint8", ("genes", "window")),
    ("reach_indptr", "int64", ("bounds",)),
    ("reach_indices", "int32", ("pairs",)),
    ("expression", "float32", ("genes", "cells")),
)
NAMES = (("element_name", "elements"), ("gene_id", "genes"))


def open_store(path: str | Path) -> Store:
    """Open a store that `prepare` has finished.

    Raises:
        InputError: no store, one that is not finished or of another format, files that are missing or cut.
    """
    path = Path(path)
    name = show_value(path, PATH_LENGTH)
    manifest = read_manifest(path)
    if manifest is None:
        raise InputError(describe_absence(path))
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{name}: is a store of format {show_value(manifest.get('format'), 100)}, not {FORMAT} as this program "
            "reads; "
            "prepare it again"
        )
    try:
        return _open(path, manifest)
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{name}: {MANIFEST} lacks what belongs into it; prepare the store again") from None


def read_manifest(path: Path) -> dict | None:
    """Return the manifest of a finished store, None where there is none."""
    manifest = read_json(path / MANIFEST)
    return manifest if manifest and manifest.get("finished") is True else None


def describe_absence(path: Path) -> str:
    """Return why there is no store of this name."""
    name = show_value(path, PATH_LENGTH)
    if not path.exists():
        if unfinished_path(path).is_dir():
            unfinished = show_value(unfinished_path(path), PATH_LENGTH)
            return f"{name}: is not finished ({unfinished}); start prepare again, it goes on"
        return f"no store {name}; check the name, or make it with prepare"
    if not path.is_dir():
        return f"{name}: is a file, a store is a folder; give the folder that prepare wrote"
    if (path / MANIFEST).exists():
        return f"{name}: {MANIFEST} is damaged; prepare the store again"
    return (
        f"{name}: is no finished store, it has no {MANIFEST}; give the folder that prepare wrote, or prepare it again"
    )


def unfinished_path(path: Path) -> Path:
    """Return the folder in which a store is written before it gets its name."""
    return path.with_name(path.name + UNFINISHED)


def _open(path: Path, manifest: dict) -> Store:
    """Map the arrays that a manifest describes."""
    cells, tracks = tuple(manifest["cells"]), tuple(manifest["tracks"])
    counts, width = manifest["counts"], manifest["options"]["width"]
    sizes = {**counts, "width": width, "window": GENE_WINDOW, "bounds": counts["genes"] + 1}
    sizes["cells"] = len(cells)
    arrays = {name: _map(path, name, kind, [sizes[part] for part in shape]) for name, kind, shape in ARRAYS}
    arrays |= {name: _map(path, name, "S", [sizes[part]]) for name, part in NAMES}
    signal_tracks = tuple(np.array([tracks.index(name) for name in found], int) for found in manifest["signal_tracks"])
    kind = manifest["options"]["signal_type"]

    def map_signals(name: str, rows: int, columns: int) -> tuple[np.ndarray, ...]:
        return tuple(
            _map(path, f"{name}_{cell}", kind, [rows, columns, len(found)])
            if len(found)
            else np.zeros((rows, columns, 0), kind)
            for cell, found in enumerate(signal_tracks)
        )

    signals = map_signals("signal", sizes["elements"], width)
    gene_signals = map_signals("gene_signal", sizes["genes"], GENE_WINDOW)
    return Store(
        path, manifest["options"], tracks, cells, tuple(manifest["chromosomes"]), **arrays, signals=signals,
        gene_signals=gene_signals, signal_tracks=signal_tracks, manifest=manifest,
    )  # fmt: skip


def _map(path: Path, name: str, kind: str, shape: list[int]) -> np.ndarray:
    """Map one array; raise InputError where it is missing, cut, or of another type or shape."""
    file = path / f"{name}.npy"
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{show_value(path, PATH_LENGTH)}: {file.name} is missing; prepare the store again") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{show_value(path, PATH_LENGTH)}: {file.name} is cut or damaged ({show_value(error, 100)}); prepare the "
            "store again"
        ) from None
    as_expected = array.dtype.kind == "S" if kind == "S" else array.dtype == kind
    if not as_expected or list(array.shape) != shape:
        raise InputError(
            f"{show_value(path, PATH_LENGTH)}: {file.name} is {array.dtype} {array.shape}, expected {kind} "
            f"{tuple(shape)}; prepare "
            "the store again"
        )
    return array


# ------------------------------------------------------------------------------------------------- writing
@contextlib.contextmanager
def writing_array(path: Path, shape: tuple[int, ...], dtype) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an .npy file piece by piece; give the function that appends rows. The file appears when it is whole."""
    dtype = np.dtype(dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(map(int, shape))}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()
        yield lambda rows: file.write(np.ascontiguousarray(rows, dtype).data.cast("B") if rows.size else b"")
        if file.tell() - begin != dtype.itemsize * int(np.prod(shape)):
            raise RuntimeError(f"{path.name} has other rows than its header says")
