"""Reads a FASTA (plain, gzip or bgzip) through pyfaidx and sorts its chromosomes.

Names of chromosomes are always `str`: one called "1" must never become the number 1, which means "the second record" to
pyfaidx.
"""

import contextlib
import gzip
import os
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from core import InputError
from core.bgzip import Blocks, find_blocks, open_blocks
from core.files import check_file, is_gzip

ORGANELLE = re.compile(r"^(chr)?(m|mt|mtdna|mito|mitochondri\w*|c|pt|ptdna|cp|chloroplast|plastid\w*)$", re.I)
ORGANELLE_HEADER = re.compile(r"mitochondri|chloroplast|plastid", re.I)
SCAFFOLD = re.compile(
    r"scaffold|contig|ctg|unplaced|unlocali|unanchor|_random|chrUn|^Un|^super|^N[WT]_"
    r"|(^|ch|chr|chromosome)[_\-]?0+$",  # chromosome 0 of tomato and others is the pile of unplaced sequences
    re.I,
)

BASE_CODES = bytearray([4]) * 256  # of every letter: 0..3 = ACGT (U is T) in either case, 4 = anything else
for base, code in zip(b"AaCcGgTtUu", (0, 0, 1, 1, 2, 2, 3, 3, 3, 3), strict=True):
    BASE_CODES[base] = code


# Letters that no nucleotide code has. X is not among them: some programs mask with it. Of the letters of 6,600 yeast
# proteins these are 35 %, and at least 4 % of every single one; of a genome, with its N, IUPAC codes and gaps, none.
PROTEIN_LETTERS = b"EFIJLOPQZefijlopqz"
MOST_PROTEIN_LETTERS = 0.05
LOOKED_AT = 1 << 14  # bytes of each record, and of each megabyte of a longer one, in which these letters are counted


def one_hot(codes: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    """Return base codes as one-hot columns in the order of ACGT, shape (..., 4); code 4 is all zeros."""
    return np.eye(5, 4, dtype=dtype)[codes]


class Genome:
    """Chromosomes of an open FASTA: names, lengths in bp, descriptions, and base codes on demand.

    Args:
        fasta: an open pyfaidx.Fasta, of letters, or of base codes with each sequence on one line.
        of_codes: which of the two.
    """

    def __init__(self, fasta, of_codes: bool):
        self.fasta, self.of_codes = fasta, of_codes
        self.latest: tuple[str, np.ndarray] | None = None  # the chromosome that was read last, and its codes
        self.lengths = {str(name): len(fasta[name]) for name in fasta.keys()}  # noqa: SIM118 (not a dict)

    def describe(self, name: str) -> str:
        """Return the whole header line of a chromosome; letters that are not UTF-8 are replaced."""
        place, file = self.fasta.faidx.index[name], self.fasta.faidx.file
        with self.fasta.faidx.lock:
            file.seek(place.prev_bend)
            header = file.read(place.offset - place.prev_bend)
        return header.decode("utf-8", "replace").strip().removeprefix(">").strip()

    def codes(self, name: str) -> np.ndarray:
        """Return a chromosome as uint8 codes, shape (bp,): 0..3 = ACGT in either case, 4 = anything else.

        It is read from where pyfaidx' index says that it lies: fetched, it would be copied four times.
        """
        place = self.fasta.faidx.index[name]
        if not place.rlen:
            return np.zeros(0, np.uint8)
        if self.of_codes:
            return np.memmap(self.fasta.filename, np.uint8, "r", place.offset, (place.rlen,))
        if self.latest and self.latest[0] == name:
            return self.latest[1]
        self.latest = None  # two chromosomes at once would take twice the memory
        codes = np.empty(place.rlen, np.uint8)
        together, file = max(READ // place.lenb, 1), self.fasta.faidx.file  # together: lines
        with self.fasta.faidx.lock:
            file.seek(place.offset)
            for begin in range(0, place.rlen, together * place.lenc):
                some = codes[begin : begin + together * place.lenc]
                letters = file.read(len(some) // place.lenc * place.lenb + len(some) % place.lenc)
                some[:] = np.frombuffer(letters.translate(BASE_CODES, LINE_ENDS), np.uint8)
        self.latest = name, codes
        return codes

    def piece(self, name: str, begin: int, end: int) -> np.ndarray:
        """Return the codes of [begin, end), 0-based half-open; fewer where the chromosome ends before."""
        found = str(self.fasta[name][begin:end]).encode("latin-1")
        return np.frombuffer(found if self.of_codes else found.translate(BASE_CODES), np.uint8)


def sort_chromosomes(genome: Genome, names: dict[str, str]) -> tuple[list[str], set[str], set[str]]:
    """Sort chromosomes into nuclear ones, organelles and scaffolds.

    An organelle is known by its name or its header; a scaffold by its name, or by being shorter than a
    hundredth of the longest chromosome.

    Args:
        genome: the open genome.
        names: the genome's name -> the name to use, for those that matter.

    Returns:
        Nuclear chromosomes in the order of the FASTA, organelles, scaffolds.
    """
    longest = max(genome.lengths[name] for name in names)
    nuclear, organelles, scaffolds = [], set(), set()
    for name, length in genome.lengths.items():
        if name not in names:
            continue
        if ORGANELLE.match(name) or ORGANELLE_HEADER.search(genome.describe(name)):
            organelles.add(names[name])
        elif SCAFFOLD.search(name) or length < longest / 100:
            scaffolds.add(names[name])
        else:
            nuclear.append(names[name])
    return nuclear, organelles, scaffolds


@contextlib.contextmanager
def open_genome(path: Path) -> Iterator[Genome]:
    """Open a FASTA (plain, gzip or bgzip) through pyfaidx and give its `Genome`.

    A plain or bgzip FASTA whose lines are of equal length is read in place, by an index in a scratch folder: pyfaidx
    itself trusts an old .fai, and writes beside the FASTA. Any other is copied to the scratch folder, one sequence a
    line, as base codes already: plain gzip is read from its begin only, and pyfaidx cuts wrong sequences from lines of
    unequal length or with blanks at their end.

    Raises:
        InputError: not a FASTA, a FASTA of proteins, damaged gzip, a name twice or none, no room for the scratch copy.
    """
    import pyfaidx

    path = check_file(path, "FASTA")
    with tempfile.TemporaryDirectory(prefix="lcre-") as scratch:
        try:
            blocks = find_blocks(path) if is_gzip(path) else None
            file, index = path, find_sequences(path, blocks)
            copied = index is None
            if copied or blocks:
                file = Path(scratch) / "genome.fa"
                file.touch()
            if copied:
                require_room(path, Path(scratch))
                index = lay_out(path, file)
            fai = Path(scratch) / "genome.fai"
            lines = ("\t".join(map(str, (name, *sequence))) for name, sequence in index.items())
            fai.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            changed = file.stat().st_mtime_ns
            os.utime(fai, ns=(changed, changed))  # an older index would be made again
            fasta = pyfaidx.Fasta(str(file), indexname=str(fai), as_raw=True)
            if blocks and not copied:  # pyfaidx has opened an empty file; of bgzip itself it reads with other packages
                fasta.faidx.file.close()
                fasta.faidx.file = open_blocks(path, blocks)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"FASTA: {path} is a damaged gzip file ({error}); download it again") from None
        except (pyfaidx.FastaIndexingError, ValueError, RuntimeError) as error:
            raise InputError(f"FASTA: {path} cannot be indexed ({' '.join(str(error).split())})") from None
        except OSError as error:
            raise InputError(
                f"FASTA: {path} cannot be read or copied to {scratch} ({error.strerror or error}); TMPDIR names "
                "another folder for the copy"
            ) from None
        with fasta:
            yield Genome(fasta, of_codes=copied)


BLANKS = bytes(range(33))
LINE_ENDS = b"\r\n"
READ = 1 << 24  # bytes of a sequence that are looked at together
LONGEST_LINE = 1 << 20  # bytes of a line of a FASTA that is read in place


class Sequence(NamedTuple):
    """Where a sequence lies in a FASTA, as a line of a .fai has it."""

    length: int  # bp
    offset: int  # bytes
    bases: int  # of a line; of the last one there may be fewer
    size: int  # bytes of a line, with its end


def find_sequences(path: Path, blocks: Blocks | None) -> dict[str, Sequence] | None:
    """Return the sequences of a FASTA by name where it can be read in place, None where it cannot.

    It can where it is plain or bgzip, all lines of a sequence but the last have one length, and there is no blank or
    empty line. Anything else that is unusual gives None as well, and is explained by `lay_out`.

    Args:
        path: the FASTA.
        blocks: of bgzip; None: it is another file.
    """
    if not blocks and (is_gzip(path) or path.suffix.lower() in (".gz", ".bgz")):  # pyfaidx goes by the name
        return None
    found: dict[str, Sequence] = {}
    with open_blocks(path, blocks) if blocks else open(path, "rb") as file:
        while header := file.readline(LONGEST_LINE):
            title = header[1:].decode("utf-8", "replace").strip()
            if (
                not header.startswith(b">")
                or not header.endswith(b"\n")
                or not title
                or b"\r" in header.rstrip(LINE_ENDS)
            ):
                return None
            sequence = measure_sequence(file)
            if sequence is None or found.setdefault(title.split()[0], sequence) is not sequence:
                return None
    return found or None


def measure_sequence(file: BinaryIO) -> Sequence | None:
    """Return where the sequence that begins here lies, and go to the next header; None where it has irregular lines."""
    offset, first = file.tell(), file.readline(LONGEST_LINE)
    file.seek(offset)
    if first[:1] in (b"", b">"):
        return Sequence(0, offset, 0, 1)
    bases, size = len(first.rstrip(LINE_ENDS)), len(first)
    length, end = 0, first[bases:]
    if not bases or size == LONGEST_LINE:
        return None
    while block := file.read(READ // size * size):
        letters, header, _ = block.partition(b">")
        whole = len(letters) // size * size
        lines = np.frombuffer(letters[:whole], np.uint8).reshape(-1, size)
        rest = letters[whole:]
        last = rest.rstrip(LINE_ENDS)
        regular = (lines[:, :bases] > BLANKS[-1]).all() and (lines[:, bases:] == list(end)).all()
        regular &= len(last.translate(None, BLANKS)) == len(last) and rest[len(last) :] in (b"", end)
        some = letters[:LOOKED_AT]
        of_proteins = len(some) - len(some.translate(None, PROTEIN_LETTERS))
        if not regular or of_proteins > MOST_PROTEIN_LETTERS * len(some):
            return None
        length += len(lines) * bases + len(last)
        if header:
            file.seek(len(letters) - len(block), os.SEEK_CUR)
        if header or rest:
            break
    return Sequence(length, offset, bases, size)


def require_room(path: Path, folder: Path) -> None:
    """Raise InputError where a folder has no room for the scratch copy of a FASTA."""
    size, free = unpacked_size(path), shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"FASTA: the scratch copy of {path} takes about {size / 1e6:,.0f} MB, and {folder.parent} has "
            f"{free / 1e6:,.0f} MB free; TMPDIR names another folder for it. A FASTA that is plain or packed by bgzip, "
            "with lines of equal length, needs no copy"
        )


def unpacked_size(path: Path) -> int:
    """Return the bytes that a plain, gzip or bgzip file holds; of large gzip files that is an estimate."""
    size = path.stat().st_size
    if not is_gzip(path):
        return size
    if blocks := find_blocks(path):
        return blocks.begins[-1]
    with open(path, "rb") as file:
        file.seek(max(size - 4, 0))
        total = sum(struct.unpack("<I", file.read(4).ljust(4, b"\0")))  # of gzip the last four bytes, modulo 4 GiB
    while size > 1 << 30 and total < 2 * size:  # no genome is packed worse
        total += 1 << 32
    return total


def lay_out(path: Path, target: Path) -> dict[str, Sequence]:
    """Write the FASTA `path` to `target` with each sequence as one line of base codes; returns where they lie."""
    opener = gzip.open if is_gzip(path) else open
    index: dict[str, list[int]] = {}  # name -> length in bp, offset in the file
    name = ""
    seen = of_proteins = 0  # bytes looked at for letters of proteins
    with opener(path, "rb") as source, open(target, "wb") as file:
        while chunk := source.read(1 << 20):
            before, *records = re.split(rb"(>[^\r\n]*)", chunk + source.readline())
            before = before.removeprefix(b"\xef\xbb\xbf") if not name else before
            sequence = before.translate(BASE_CODES, BLANKS)
            if sequence and not name:
                begin = before.strip()[:8].decode("ascii", "replace")
                raise InputError(f"FASTA: {path} does not begin with '>' but with {begin!r}; give a FASTA")
            if name:
                index[name][0] += file.write(sequence)
            for header, lines in zip(records[::2], records[1::2], strict=True):
                title = header[1:].decode("utf-8", "replace").strip()
                if not title:
                    raise InputError(f"FASTA: {path} has a record without a name; write one behind its '>'")
                name = title.split()[0]
                if name in index:
                    raise InputError(f"FASTA: {path} has two records named {name!r}; rename or remove one")
                file.write(b"\n" * bool(index) + f">{title}\n".encode())
                index[name] = [0, file.tell()]
                index[name][0] = file.write(lines.translate(BASE_CODES, BLANKS))
            for piece in (before, *records[1::2]):
                piece = piece[:LOOKED_AT]
                seen += len(piece)
                of_proteins += len(piece) - len(piece.translate(None, PROTEIN_LETTERS))
            if of_proteins > MOST_PROTEIN_LETTERS * seen:
                raise InputError(
                    f"FASTA: {path} is no genome: {of_proteins / seen:.0%} of its letters are E, F, I, L, P, Q and "
                    "others that stand for amino acids only; give the FASTA of the chromosomes, not of the proteins"
                )
        if not index:
            raise InputError(f"FASTA: {path} holds nothing; copy or download it again")
        file.write(b"\n")
    return {name: Sequence(length, offset, length, length + 1) for name, (length, offset) in index.items()}
