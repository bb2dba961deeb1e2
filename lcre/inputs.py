"""Reads the user's files in the dialects that occur, and bridges the names between them.

Every reader returns names of chromosomes and genes as `str`: a chromosome called "1" must never become the
number 1, which matches nothing in a frame and means "the second record" to pyfaidx.
"""

import contextlib
import csv
import difflib
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import unquote

import numpy as np
import pandas as pd

from lcre import InputError, examples
from lcre.pickles import read_pickle

GENE_FEATURES = {"gene", "ncRNA_gene", "pseudogene"}
TRANSCRIPT_FEATURES = {"mRNA", "transcript"}
BIOTYPE_KEYS = ("gene_biotype", "gene_type", "biotype")
GENE_ID_KEYS = ("gene_id", "ID", "Name", "gene", "locus_tag")  # in order of preference

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


# ---------------------------------------------------------------------------------------------- any file
def check_file(path: Path, what: str) -> Path:
    """Return `path` if it is a file with something in it; raise InputError that names `what` otherwise."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{what}: {path} is a folder; give the file itself")
    if not path.exists():
        raise InputError(f"{what}: no file {path}; check the name and the folder you start from")
    if not path.is_file():  # inputs are opened more than once, and a pipe can be read only once
        raise InputError(f"{what}: {path} is not a regular file but a pipe or a device; write it to a file first")
    if not path.stat().st_size:
        raise InputError(f"{what}: {path} is empty; copy or download it again")
    return path


def shorten(text: str, most: int = 40) -> str:
    """Return a text as a message shows it: the first `most` characters, and how many there are if that is not all."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether the file is gzip (bgzip is a kind of gzip)."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextlib.contextmanager
def open_text(path: Path, what: str) -> Iterator[TextIO]:
    """Open a plain or gzip text file; damage shows as InputError."""
    opener = gzip.open if is_gzip(path) else open
    with open(path, "rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):  # what a spreadsheet calls Unicode text
            raise InputError(f"{what}: {path} is text in UTF-16; save it as UTF-8, or as CSV")
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{what}: {path} is a damaged gzip file ({error}); download it again") from None
    except OSError as error:
        raise InputError(f"{what}: {path} cannot be read ({error.strerror or error})") from None


# ------------------------------------------------------------------------------------------------ genome
class Genome:
    """Chromosomes of an open FASTA: names, lengths in bp, descriptions, and base codes on demand."""

    def __init__(self, fasta):
        self.fasta = fasta
        self.lengths = {str(name): len(fasta[name]) for name in fasta.keys()}  # noqa: SIM118 (not a dict)

    def describe(self, name: str) -> str:
        """Return the whole header line of a chromosome."""
        return self.fasta[name].long_name

    def codes(self, name: str) -> np.ndarray:
        """Return a chromosome as uint8 codes, shape (bp,): 0..3 = ACGT in either case, 4 = anything else."""
        place = self.fasta.faidx.index[name]
        if not place.rlen:
            return np.zeros(0, np.uint8)
        return np.memmap(self.fasta.filename, np.uint8, "r", place.offset, (place.rlen,))

    def piece(self, name: str, begin: int, end: int) -> np.ndarray:
        """Return the codes of [begin, end), 0-based half-open; fewer where the chromosome ends before."""
        return self.codes(name)[begin:end]


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


# -------------------------------------------------------------------------------------------- annotation
def read_annotation(path: Path, known_ids: Iterable[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Read the genes of a GTF or GFF3 (Ensembl, Phytozome, NCBI; plain or gzip).

    Only the gene lines reach pyranges: its reader fails on comments inside the file and on '; ' inside quotes,
    and half a million exon lines are not needed. Where genes carry no biotype, those with a CDS are coding.

    Args:
        path: the annotation.
        known_ids: gene ids of the expression table; where a GFF3 names a gene in several ways, the way
            that agrees with most of them is taken.

    Returns:
        A frame with one row a gene in the order of the file: gene_id (str), chromosome (str), start and
        end (0-based, half-open, bp), strand, coding (bool); and notes for the user.

    Raises:
        InputError: no gene lines, lines that are not GTF or GFF3, a gene id that stands twice.
    """
    path = check_file(path, "GTF")
    lines, attributes, coding_ids = scan_annotation(path)
    if not lines:
        with open_text(path, "GTF") as file:
            kind = "is a FASTA" if next(file, "").startswith(">") else "has no line with the feature 'gene'"
        raise InputError(f"GTF: {path} {kind}; give a GTF or GFF3 with gene lines, columns separated by tabs")
    genes = intervals_of(lines, path)
    genes["chromosome"] = [line.chromosome for line in lines]
    notes = []

    id_key = choose_id_key(lines, attributes, set(known_ids), path)
    if id_key not in ("gene_id", "ID"):
        notes.append(f"gene ids are taken from the annotation's attribute '{id_key}'")
    genes.insert(0, "gene_id", [clean_id(id_key, found[id_key]) for found in attributes])

    biotypes = [next((found[key] for key in BIOTYPE_KEYS if key in found), None) for found in attributes]
    if any(biotypes):
        genes["coding"] = [biotype == "protein_coding" for biotype in biotypes]
    elif coding_ids:
        own = [found.get("ID", found.get("gene_id")) for found in attributes]
        genes["coding"] = [gene in coding_ids for gene in own]
        notes.append("the annotation has no biotypes: genes with a CDS are taken as protein coding")
    else:
        genes["coding"] = True
        notes.append("the annotation has neither biotypes nor CDS lines: every gene is taken as protein coding")
    genes["coding"] &= np.array([line.feature == "gene" for line in lines])  # not ncRNA_gene, not pseudogene
    if not genes["coding"].any():
        kinds = sorted({biotype for biotype in biotypes if biotype} or {line.feature for line in lines})
        raise InputError(f"GTF: {path} has no gene of biotype 'protein_coding', only {examples(map(shorten, kinds))}")

    split = genes["gene_id"].duplicated(keep=False) & np.array(["part" in found for found in attributes])
    if split.any():  # NCBI writes a trans-spliced gene as several lines of one ID
        names = genes.loc[split, "gene_id"].unique()
        notes.append(f"{len(names)} genes in several parts are left out ({examples(names)})")
        genes = genes[~split].reset_index(drop=True)
    twice = genes.loc[genes["gene_id"].duplicated(), "gene_id"].unique()
    if len(twice):
        raise InputError(
            f"GTF: {len(twice)} gene ids stand on several gene lines of {path}: {examples(map(shorten, twice))}"
        )
    return genes, notes


class GeneLine(NamedTuple):
    """The columns of a gene line that are used, as they stand in the file."""

    number: int  # in the file, from 1
    chromosome: str
    feature: str
    start: str
    end: str
    strand: str


FARTHEST = 10**11  # bp; no chromosome is a tenth as long


def parse_coordinate(text: str) -> int | None:
    """Return a coordinate written in the digits 0 to 9, `FARTHEST` for any beyond that, None for another text."""
    if not (text.isascii() and text.isdecimal()):
        return None
    if len(text) < len(str(FARTHEST)):
        return int(text)
    return min(int(text.lstrip("0")[:20] or "0"), FARTHEST)  # int() itself takes no more than 4,300 digits


def scan_annotation(path: Path) -> tuple[list[GeneLine], list[dict[str, str]], set[str]]:
    """Return gene lines, the attributes of each, and ids of genes with a CDS.

    CDS lines are looked at only while no gene line has shown a biotype.
    """
    lines, attributes = [], []
    coding, parent_of = set(), {}
    biotypes_seen = False
    with open_text(path, "GTF") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("##FASTA"):
                break
            feature = line.split("\t", 3)[2:3]
            if line.startswith("#") or not feature or (biotypes_seen and feature[0] not in GENE_FEATURES):
                continue
            fields, feature = line.rstrip("\r\n").split("\t"), feature[0]
            if feature in GENE_FEATURES:
                start, end = map(parse_coordinate, fields[3:5]) if len(fields) == 9 else (None, None)
                if start is None or end is None:
                    raise InputError(
                        f"GTF: line {number} of {path} is not 9 tab-separated columns with a start and an end: "
                        f"{line.strip()[:80]!r}"
                    )
                if start < 1 or end < start or end == FARTHEST:
                    wrong = "no chromosome is that long" if end == FARTHEST else "coordinates count from 1"
                    raise InputError(
                        f"GTF: line {number} of {path}: a gene from {shorten(fields[3])} to {shorten(fields[4])}; "
                        f"{wrong} and start <= end"
                    )
                lines.append(GeneLine(number, fields[0], feature, str(start), str(end), fields[6]))
                attributes.append(parse_attributes(fields[8]))
                biotypes_seen = biotypes_seen or any(key in attributes[-1] for key in BIOTYPE_KEYS)
            elif len(fields) == 9:
                if feature == "CDS":
                    found = parse_attributes(fields[8])
                    coding.update(found.get("Parent", found.get("gene_id", "")).split(","))
                elif feature in TRANSCRIPT_FEATURES and "Parent=" in fields[8]:
                    found = parse_attributes(fields[8])
                    parent_of[found.get("ID")] = found["Parent"]
    return lines, attributes, {parent_of.get(name, name) for name in coding} - {""}


GFF3_PAIR = re.compile(r"\s*[^\s=;]+=")
# Begins where a key begins, and gives back nothing that it has taken: the time grows with the length of the line only.
QUOTED = re.compile(r'(?<![\w.\-])([\w.\-]++)\s++(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]++))\s*+(?:;|$)')
PLAIN_QUOTED = re.compile(r'(?:[\w.\-]+ "[^"\\]*"; ?)+')


def parse_attributes(text: str) -> dict[str, str]:
    """Return the ninth column as a dict, in GTF style (key "value";) or GFF3 style (key=value;); of twins the first."""
    if PLAIN_QUOTED.fullmatch(text):  # nearly every GTF: all values quoted, nothing escaped
        parts = text.split('"')
        return {key.strip("; "): value for key, value in zip(parts[-3::-2], parts[-2::-2], strict=True)}
    if GFF3_PAIR.match(text):  # values may hold quotes
        pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
        return {key.strip(): unquote(value.strip()) for key, value in pairs}
    found = {}
    for key, quoted, bare in QUOTED.findall(text):
        found.setdefault(key, quoted or bare)
    return found


def clean_id(key: str, value: str) -> str:
    """Return a gene id without the prefix that GFF3 puts before IDs (gene:, gene-)."""
    return re.sub(r"^gene[:\-]", "", value) if key == "ID" else value


def choose_id_key(lines: list[GeneLine], attributes: list[dict[str, str]], known_ids: set[str], path: Path) -> str:
    """Return the attribute that names genes: present on every gene line, agreeing most with `known_ids`."""
    counts = {key: sum(bool(found.get(key)) for found in attributes) for key in GENE_ID_KEYS}
    keys = [key for key, count in counts.items() if count == len(attributes)]
    if not keys:
        raise InputError(explain_missing_ids(lines, attributes, counts, path))
    if len(keys) == 1:
        return keys[0]
    bare = {strip_version(name) for name in known_ids}

    def agreement(key: str) -> tuple[int, int]:
        ids = {clean_id(key, found[key]) for found in attributes}
        return len({strip_version(name) for name in ids} & bare), len(ids & known_ids)

    return max(keys, key=agreement)  # the first of equals


def explain_missing_ids(lines: list[GeneLine], attributes: list[dict[str, str]], counts: dict, path: Path) -> str:
    """Return why no attribute names every gene: the lines without the most frequent one, and what they have.

    Args:
        lines: the gene lines.
        attributes: of each.
        counts: on how many gene lines each of `GENE_ID_KEYS` is.
        path: the annotation.
    """
    best = max(counts, key=counts.get)  # the first of equals
    without = [(line.number, found) for line, found in zip(lines, attributes, strict=True) if not found.get(best)]
    number, found = without[0]
    found = sorted(shorten(key) for key, value in found.items() if value)
    has = f"they have {examples(found)}" if found else "they have none"
    if not counts[best]:
        return f"GTF: the genes of {path} share none of the attributes {', '.join(GENE_ID_KEYS)}; {has} (line {number})"
    has = f"it has {examples(found)}" if found else "it has no attributes at all"
    return (
        f"GTF: {len(without):,} of {len(lines):,} gene lines of {path} have no attribute {best!r}, the first on line "
        f"{number}: {has}; give one GTF or one GFF3, in which each gene has its id"
    )


def intervals_of(lines: list[GeneLine], path: Path) -> pd.DataFrame:
    """Return start, end (0-based, half-open) and strand of gene lines, as pyranges reads them."""
    import pyranges

    with tempfile.TemporaryDirectory(prefix="lcre-") as scratch:
        file = Path(scratch) / "genes.gtf"
        with open(file, "w", encoding="utf-8") as written:
            for number, line in enumerate(lines):  # nothing that may hold a quote
                strand = line.strand if line.strand in ("+", "-") else "."
                written.write(f'gene\t.\tgene\t{line.start}\t{line.end}\t.\t{strand}\t.\tgene_id "{number}";\n')
        try:
            frame = pyranges.read_gtf(str(file), as_df=True)
        except Exception as error:  # whatever pandas makes of a malformed table
            raise InputError(f"GTF: the gene lines of {path} cannot be read ({error})") from None
    return pd.DataFrame(
        {
            "start": frame["Start"].to_numpy(np.int64),
            "end": frame["End"].to_numpy(np.int64),
            "strand": frame["Strand"].astype(str),
        }
    )


# ------------------------------------------------------------------------------------- expression table
def read_expression(path: Path, column: str, computed: bool) -> tuple[pd.Series, list[str]]:
    """Read one value a gene from a CSV or TSV (plain or gzip; gene ids in the first column).

    Args:
        path: the table.
        column: the column to take.
        computed: compute log10(maximum over the numeric columns + 1) where `column` is absent.

    Returns:
        A float series indexed by gene id (str), in the order of the table (its index has the name "" where the table
        is one of R's, see `read_table`); and notes for the user.

    Raises:
        InputError: not a table, gene ids twice, no such column, values that are not finite numbers.
    """
    path = check_file(path, "TPM")
    table = read_table(path, column)
    ids = table.iloc[:, 0]
    values = table.iloc[:, 1:].set_axis(ids, axis=0)
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise InputError(
            f"TPM: {len(twice)} gene ids stand twice in {path}: {examples(map(shorten, twice))}; keep one row a gene"
        )

    if column in values.columns:
        return to_numbers(values[column], path), []
    if not computed:
        names = {name.lower(): name for name in values.columns}
        close = difflib.get_close_matches(column.lower(), names, 1)
        hint = f"did you mean {names[close[0]]!r}?" if close else f"it has {examples(map(shorten, values.columns))}"
        raise InputError(f"TPM: {path} has no column {column!r}; {hint}")
    samples = [name for name in values.columns if is_numeric(values[name])]
    for name in values.columns.difference(samples, sort=False):
        commas = values[name].str.fullmatch(DECIMAL_COMMA).fillna(False).to_numpy(bool)
        if is_numeric(values[name].mask(commas, "0")):
            gene, value = values.index[commas.argmax()], values[name].iloc[commas.argmax()]
            raise InputError(
                f"TPM: column {name!r} of {path} has decimal commas ({shorten(gene)!r} has {shorten(value)!r}); write "
                "decimal points instead"
            )
    if not samples:
        raise InputError(
            f"TPM: {path} has neither a column {column!r} nor numeric sample columns; it has "
            f"{examples(map(shorten, values.columns))}"
        )
    tpm = np.column_stack([to_numbers(values[name], path) for name in samples])
    if (tpm < 0).any():
        gene = values.index[np.argmax((tpm < 0).any(axis=1))]
        raise InputError(f"TPM: {path} has negative values (gene {gene!r}); give TPM, or name a TARGET_COLUMN")
    notes = [f"no column {column!r}: log10(max + 1) over {len(samples)} columns is used: {examples(samples, 30)}"]
    left = [name for name in values.columns if name not in samples]
    notes += [f"columns of the table that are not numbers are left out: {examples(left)}"] * bool(left)
    odd = [name for name in samples if NO_SAMPLE.fullmatch(name)]
    notes += [f"is {examples(odd)} a sample? Remove columns of the table that are not expression"] * bool(odd)
    return pd.Series(np.log10(tpm.max(axis=1) + 1), index=values.index, name=column), notes


DECIMAL_COMMA = r"\s*[-+]?[\d.]*,\d+(?:[eE][-+]?\d+)?\s*"
NO_SAMPLE = re.compile(
    r"length|start|end|width|strand|chr\w*|entrez\w*|p(adj|value)|log2?fc|.*foldchange", re.IGNORECASE
)


# What people call the column of gene ids, and that of names, in lower case without blanks, '_' and the like.
ID_COLUMNS = {"", "id", "ids", "index", "x", "accession", "identifier", "agi", "unnamed0"}
ID_COLUMNS |= {"gene", "genes", "geneid", "geneids", "genestableid", "ensemblid", "ensemblgeneid", "entrezid"}
ID_COLUMNS |= {"locus", "locusid", "locustag", "featureid", "targetid", "trackingid", "transcript", "transcriptid"}
NAME_COLUMNS = {"name", "genename", "symbol", "genesymbol"}


def read_table(path: Path, column: str) -> pd.DataFrame:
    """Read a CSV or TSV (plain or gzip) whose first column holds ids; every cell stays text.

    Empty cells beyond the header are dropped: spreadsheets and scripts end rows with a comma more. A header that is one
    name shorter than every row is read as that of R's write.table, which gives the row names no name.

    Args:
        path: the table.
        column: the column that is wanted.

    Returns:
        A frame of str with unique column names, the first of them "" for a table of R; rows without id are left out.

    Raises:
        InputError: not a table, no ids, rows that do not fit the header.
    """
    with open_text(path, "TPM") as file:
        header, first = (next((line for line in file if line.strip()), "") for _ in range(2))
        text = first + file.read()
    delimiter = max("\t,;", key=lambda mark: (header.count(mark), first.count(mark)))
    if delimiter not in header + first:
        raise InputError(f"TPM: the first line of {path} has one column: {header.strip()[:60]!r}; give CSV or TSV")
    try:
        names, cells = (next(csv.reader([line], delimiter=delimiter), []) for line in (header, first))
    except csv.Error as error:
        raise InputError(f"TPM: {path} is not a table ({error}); give CSV or TSV") from None
    if not text.strip():
        raise InputError(f"TPM: {path} has a header and no genes; copy or export it again")
    names = [name.strip() for name in names]
    numbers = pd.to_numeric(pd.Series(names if len(cells) == len(names) + 1 else names[1:], dtype=str), errors="coerce")
    if np.isfinite(numbers).all() and (numbers % 1).any():  # whole numbers may be names of samples
        raise InputError(
            f"TPM: the first line of {path} holds numbers ({examples(names[1:])}), no names of columns; put a line "
            "such as gene_id,sample1 in front"
        )
    width = max(len(names), len(cells)) + 1
    try:
        table = parse_cells(text, delimiter, width)
    except (ValueError, pd.errors.ParserError) as error:
        rows = measure_rows(path, delimiter)
        reason = describe_long_rows(rows, len(names), delimiter)
        if reason or all(cells <= width for _, cells, _ in rows):
            raise InputError(f"TPM: {path} is not a table ({reason or ' '.join(str(error).split())})") from None
        short = (row[: len(names)] for row in csv.reader(io.StringIO(text), delimiter=delimiter))
        text = io.StringIO()  # again, without the empty cells that some rows have at their end
        csv.writer(text, delimiter=delimiter).writerows(short)
        table = parse_cells(text.getvalue(), delimiter, width)
    table[0] = table[0].str.strip()
    nameless = table[table[0] == ""]  # spreadsheets leave rows of commas
    if (nameless.fillna("").map(str.strip) != "").any(axis=None):
        raise InputError(f"TPM: {len(nameless)} rows of {path} have no gene id in their first column")
    table = table[table[0] != ""]
    if table.empty:
        raise InputError(f"TPM: {path} has a header and no genes")
    return name_columns(table, names, column, path, delimiter)


def parse_cells(text: str, delimiter: str, width: int) -> pd.DataFrame:
    """Return the rows of a table as `width` columns of str; raise ValueError or ParserError where that cannot be."""
    table = pd.read_csv(  # names such as NA and null are gene ids, so nothing is taken as missing here
        io.StringIO(text), sep=delimiter, header=None, names=range(width), dtype=str, keep_default_na=False
    )
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first cells of a longer row for an index
        raise ValueError("the first row has more cells than the header")
    return table


def name_columns(table: pd.DataFrame, names: list[str], column: str, path: Path, delimiter: str) -> pd.DataFrame:
    """Give the columns of a table their names, and drop empty ones without a name; `read_table` says the rest.

    Args:
        table: cells as str, "" behind the end of a row; its columns are numbers, more of them than there are names.
        names: those of the header, stripped.
        column, path, delimiter: as in `read_table`.
    """

    def is_empty(number: int) -> bool:
        return (table[number].fillna("").str.strip() == "").all()

    beyond = len(names)
    fits = all(map(is_empty, range(beyond, table.shape[1])))
    if not fits or names[0] == column:
        rows = measure_rows(path, delimiter)
        if all(cells > beyond for _, cells, _ in rows) and all(map(is_empty, range(beyond + 1, table.shape[1]))):
            if is_name_of_ids(names[0], table):
                shown = examples((shorten(cell) for cell in table.iloc[0, : beyond + 1]), 4)
                raise InputError(
                    f"TPM: the rows of {path} have one cell more than its header (the first: {shown}), whose first "
                    f"name is {names[0]!r}; remove that cell, write decimal points instead of commas, or name every "
                    "column"
                )
            return table.loc[:, :beyond].set_axis(["", *clean_header(names)], axis=1)
        if not fits:
            raise InputError(f"TPM: {path} is not a table ({describe_long_rows(rows, beyond, delimiter)})")
    if names[-1] and is_empty(beyond - 1) and all(cells < beyond for _, cells, _ in measure_rows(path, delimiter)):
        raise InputError(
            f"TPM: no row of {path} has as many cells as its header has names ({beyond}); give each column one name"
        )
    for number in range(1, beyond):
        if not names[number] and not is_empty(number):
            raise InputError(f"TPM: column {number + 1} of {path} has values but no name; name it in the first line")
    table = table.loc[:, : beyond - 1].set_axis(clean_header(names), axis=1)
    return table.loc[:, [True] + [bool(name) for name in names[1:]]]


def is_name_of_ids(name: str, table: pd.DataFrame) -> bool:
    """Tell whether a header's first name is that of the first column, although the rows have one cell more.

    In a table of R it is that of the second: ids again under a name such as gene_id, no numbers under gene_name.
    """
    name = re.sub(r"[\W_]+", "", name).lower()
    if name in ID_COLUMNS:
        return not (table[1].str.strip() == table[0]).all()
    return name in NAME_COLUMNS and is_numeric(table[1])


def measure_rows(path: Path, delimiter: str) -> list[tuple[int, int, int]]:
    """Return of each row below the header its last line, its cells, and how many they are to the last with content.

    Rows of empty cells only are left out. This is for tables whose rows do not fit their header: pandas does not tell
    an empty cell from one that is not there.
    """
    with open_text(path, "TPM") as file:
        rows = csv.reader(file, delimiter=delimiter)
        try:
            filled = ((rows.line_num, row, [at for at, cell in enumerate(row, 1) if cell.strip()]) for row in rows)
            return [(line, len(row), cells[-1]) for line, row, cells in filled if cells][1:]
        except csv.Error as error:
            raise InputError(f"TPM: {path} is not a table ({error}); give CSV or TSV") from None


def describe_long_rows(rows: list[tuple[int, int, int]], most: int, delimiter: str) -> str:
    """Return which rows, as `measure_rows` gives them, have more than `most` cells; "" if none has."""
    found = [f"line {line} has {cells} cells" for line, _, cells in rows if cells > most]
    more = ", ..." if len(found) > 3 else ""
    hint = "; are there decimal commas?" if delimiter == "," else ""
    return f"{', '.join(found[:3])}{more}; its header has {most}{hint}" if found else ""


def clean_header(names: list[str]) -> list[str]:
    """Return column names stripped and made unique; an empty first one is allowed, as R and pandas write it."""
    names = [name.strip() for name in names]
    names[0] = names[0] or "gene_id"
    return [name if names.index(name) == i else f"{name}.{i}" for i, name in enumerate(names)]


def is_numeric(column: pd.Series) -> bool:
    """Tell whether most of a text column reads as numbers (a few that do not are an error, not a label)."""
    return pd.to_numeric(column, errors="coerce").notna().mean() > 0.5


def to_numbers(column: pd.Series, path: Path) -> pd.Series:
    """Return a text column as finite floats; raise InputError that names the first genes that are not."""
    numbers = pd.to_numeric(column, errors="coerce")
    bad = ~np.isfinite(numbers.to_numpy(float, na_value=np.nan))
    if bad.any():
        first = column[bad].head(3).items()
        shown = ", ".join(f"{shorten(gene)!r} has {shorten(str(value))!r}" for gene, value in first)
        comma = column[bad].str.fullmatch(DECIMAL_COMMA).all()
        raise InputError(
            f"TPM: {int(bad.sum())} values of column {column.name!r} in {path} are not finite numbers: {shown}; "
            + ("write decimal points instead of commas" if comma else "correct or remove these rows")
        )
    return numbers.astype(float)


def require_row_names(values: pd.Series, partner: dict[str, str], genes: int, path: Path) -> None:
    """Raise InputError where row names of a table of R (see `read_table`) are not the gene ids of the annotation.

    Args:
        values: of `read_expression`.
        partner: the annotation's id -> the table's, for genes in both.
        genes: how many the annotation has.
        path: the table.
    """
    if values.index.name == "" and 2 * len(partner) < min(len(values), genes):
        raise InputError(
            f"TPM: the rows of {path} have one cell more than its header, as R writes row names, but of these "
            f"({examples(map(shorten, values.index))}) only {len(partner):,} are gene ids of the GTF; name every column"
        )


# ---------------------------------------------------------------------------------------- lists of genes
def read_gene_list(path: Path, key: str | None) -> list[str]:
    """Read the gene ids that may be scored from .pickle (a dict key -> ids, or ids), .csv or .txt.

    Of a .csv the column gene_id is taken, or the first.

    Raises:
        InputError: no such key, nothing in it, a pickle that would run code, an unknown kind of file.
    """
    path = check_file(path, "VALIDATION_GENES")
    suffix = path.suffix.lower()
    if suffix in (".pickle", ".pkl"):
        ids = pickled_ids(path, key)
    elif suffix in (".csv", ".tsv", ".txt"):
        with open_text(path, "VALIDATION_GENES") as file:
            lines = [line for line in map(str.strip, file) if line and not line.startswith("#")]
        delimiter = max("\t,;", key=lines[0].count) if lines and suffix != ".txt" else "\n"
        try:
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error as error:  # a cell beyond the csv module's 131,072 characters
            raise InputError(f"VALIDATION_GENES: {path} is not a list of gene ids ({error}); one id a line") from None
        header = [name.lower() for name in rows[0]] if rows else []
        column = header.index("gene_id") if "gene_id" in header else 0
        ids = [row[column] for row in rows["gene_id" in header :] if len(row) > column and row[column]]
    else:
        raise InputError(f"VALIDATION_GENES: {path} is not .pickle, .csv, .tsv or .txt")
    if not ids:
        raise InputError(f"VALIDATION_GENES: {path} holds no gene ids")
    return list(dict.fromkeys(ids))


def pickled_ids(path: Path, key: str | None) -> list[str]:
    """Return the gene ids of a pickle: a list of them, or those under `key` of a dict."""
    content = read_pickle(path)
    if isinstance(content, dict):
        content = {str(name): ids for name, ids in content.items()}
        if key is None and len(content) == 1:
            key = next(iter(content))
        if not content:
            asked = f"no key {key!r}" if key else "no keys"
            raise InputError(f"VALIDATION_GENES: {path} has {asked}: its dictionary is empty; save the gene ids again")
        if key not in content:
            asked = f"no key {key!r}" if key else "several keys and PICKLE_KEY is not given"
            shown = examples(map(shorten, content), 12)
            raise InputError(f"VALIDATION_GENES: {path} has {asked}; its keys: {shown}")
        content = content[key]
    if not isinstance(content, list):
        raise InputError(f"VALIDATION_GENES: {path} does not hold a list of gene ids but a {type(content).__name__}")
    wrong = [type(gene).__name__ for gene in content if type(gene) not in (str, int)]
    if wrong:
        raise InputError(f"VALIDATION_GENES: {path} holds {len(wrong)} entries that are not gene ids but {wrong[0]}")
    return [str(gene).strip() for gene in content]


# ----------------------------------------------------------------------------------------- bridging names
def join_names(names: Iterable[str], others: Iterable[str], bridges, what: str, notes: list[str]) -> dict[str, str]:
    """Return `bridge_names`, put what was bridged into `notes`, and raise InputError where nothing is in common.

    Args:
        names, others, bridges: as in `bridge_names`.
        what: the two sides and the thing, as in "GTF and FASTA have no chromosome".
        notes: sentences for the user, added to.
    """
    names, others = (list(dict.fromkeys(pd.Index(side).tolist())) for side in (names, others))
    mapping, sentence = bridge_names(names, others, bridges)
    if not mapping:
        left, _, right, *_ = what.split()
        raise InputError(
            f"{what} in common: {left} has {examples(map(shorten, names))}, {right} has "
            f"{examples(map(shorten, others))}; are both of the same species and source?"
        )
    if sentence:
        notes.append(f"{what.split(' have')[0]}: {sentence}")
    return mapping


def strip_version(name: str) -> str:
    """Return a gene id without a final .number."""
    return re.sub(r"\.\d+$", "", name)


def strip_gene_prefix(name: str) -> str:
    """Return a gene id without 'gene:' or 'gene-' in front."""
    return re.sub(r"^gene[:\-]", "", name)


def strip_chr(name: str) -> str:
    """Return a chromosome's name without 'chr' in front, in any case."""
    return re.sub(r"^chr(?:omosome)?[_\-]?(?=.)", "", name, flags=re.IGNORECASE)


def differ_in_number(name: str, other: str) -> bool:
    """Tell whether two names end in different numbers that may tell genes apart, as in F28H1.3 and F28H1.4.

    Behind an accession of five digits or more (ENSG00000000003.14, Solyc01g005000.3) the number is a version.
    """
    versions = re.search(r"\.\d+$", name), re.search(r"\.\d+$", other)
    return all(versions) and versions[0][0] != versions[1][0] and not re.search(r"\d{5}\.\d+$", name)


CHROMOSOME_BRIDGES = (("a 'chr' prefix", strip_chr),)
GENE_BRIDGES = (
    ("a 'gene:' prefix", strip_gene_prefix),
    ("a version suffix", strip_version),
    ("a prefix and a version suffix", lambda name: strip_version(strip_gene_prefix(name))),
)


def bridge_names(names: Iterable[str], others: Iterable[str], bridges) -> tuple[dict[str, str], str]:
    """Map each of `names` to the one of `others` it means, where that is certain.

    Equal names map to each other. The rest are mapped by the first of `bridges` that joins most of them, and only
    where the bridge keeps all names of a side apart (ids like F28H1.3 and F28H1.4 are different genes).

    Returns:
        The mapping (names without a partner are absent), and one sentence on what was bridged, or "".
    """
    names, others = list(dict.fromkeys(names)), set(others)
    mapping = {name: name for name in names if name in others}
    rest = [name for name in names if name not in mapping]
    free = others - set(mapping)
    best, sentence = {}, ""
    if rest and free:
        for label, strip in bridges:
            partner = {strip(other): other for other in free}
            joined = {name: partner[key] for name in rest if (key := strip(name)) in partner}
            if not joined or not all(len(set(map(strip, side))) == len(side) for side in (names, others)):
                continue
            joined = {name: other for name, other in joined.items() if not differ_in_number(name, other)}
            if len(joined) > len(best):
                best = joined
                name, other = next(iter(joined.items()))
                sentence = f"{len(joined)} names differ by {label} ({name!r} is {other!r})"
    return mapping | best, sentence
