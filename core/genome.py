"""Reads a FASTA (plain, gzip or bgzip) through pyfaidx and sorts its chromosomes.

Names of chromosomes are always `str`: one called "1" must never become the number 1, which means "the second record" to
pyfaidx.
"""

import contextlib
import gzip
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from core import InputError
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
    """Chromosomes of an open FASTA: names, lengths in bp, descriptions, and base codes on demand."""

    def __init__(self, fasta):
        self.fasta = fasta
        self.lengths = {str(name): len(fasta[name]) for name in fasta.keys()}  # noqa: SIM118 (not a dict)

    def describe(self, name: str) -> str:
        """Return the whole header line of a chromosome."""
        return self.fasta[name].long_name

    def codes(self, name: str) -> np.ndarray:
        """Return a chromosome as uint8 codes, shape (bp,): 0..3 = ACGT in either case, 4 = anything else.

        It is mapped from where pyfaidx' index says that it lies: fetched, it would be copied four times.
        """
        place = self.fasta.faidx.index[name]
        if not place.rlen:
            return np.zeros(0, np.uint8)
        return np.memmap(self.fasta.filename, np.uint8, "r", place.offset, (place.rlen,))

    def piece(self, name: str, begin: int, end: int) -> np.ndarray:
        """Return the codes of [begin, end), 0-based half-open; fewer where the chromosome ends before."""
        return np.frombuffer(str(self.fasta[name][begin:end]).encode("latin-1"), np.uint8)


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

    pyfaidx reads no plain gzip, trusts an old .fai, writes its index beside the FASTA, and cuts wrong sequences
    from lines of unequal length or with blanks at their end. So the genome is laid out in a scratch folder, one
    sequence a line, as base codes already, and indexed there.

    Raises:
        InputError: not a FASTA, a FASTA of proteins, damaged gzip, a name twice or none, no room for the scratch copy.
    """
    import pyfaidx

    path = check_file(path, "FASTA")
    with tempfile.TemporaryDirectory(prefix="lcre-") as scratch:
        try:
            plain = Path(scratch) / "genome.fa"
            lay_out(path, plain)
            fasta = pyfaidx.Fasta(str(plain), as_raw=True)
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
            yield Genome(fasta)


BLANKS = bytes(range(33))


def lay_out(path: Path, target: Path) -> None:
    """Write the FASTA `path` to `target` with each sequence as one line of base codes, and its index beside it."""
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
    entries = [f"{name}\t{length}\t{offset}\t{length}\t{length + 1}\n" for name, (length, offset) in index.items()]
    target.with_name(target.name + ".fai").write_text("".join(entries), encoding="utf-8")
