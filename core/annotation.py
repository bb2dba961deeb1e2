"""Reads the genes of a GTF or GFF3 in the dialects that occur.

Names of chromosomes and genes are always `str`: a chromosome called "1" must never become the number 1, which matches
nothing in a frame.
"""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd

from core import InputError, examples, shorten
from core.files import check_file, open_text
from core.names import strip_version

GENE_FEATURES = {"gene", "ncRNA_gene", "pseudogene"}
TRANSCRIPT_FEATURES = {"mRNA", "transcript"}
BIOTYPE_KEYS = ("gene_biotype", "gene_type", "biotype")
GENE_ID_KEYS = ("gene_id", "ID", "Name", "gene", "locus_tag")  # in order of preference


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
                    if "Parent" in found:
                        parent_of[found.get("ID")] = found["Parent"]
    return lines, attributes, {parent_of.get(name, name) for name in coding} - {""}


GFF3_PAIR = re.compile(r"\s*[^\s=;]+=")
# Begins where a key begins, and gives back nothing that it has taken: the time grows with the length of the line only.
QUOTED = re.compile(r'(?<![\w.\-])([\w.\-]++)\s++(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]++))\s*+(?:;|$)')
PLAIN_QUOTED = re.compile(r'(?:[\w.\-]+ "[^"\\]*"; ?)+')


def parse_attributes(text: str) -> dict[str, str]:
    """Return the ninth column, in GTF style (key "value";) or GFF3 style (key=value;); the first of equal keys."""
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
        try:
            with open(file, "w", encoding="utf-8") as written:
                for number, line in enumerate(lines):  # nothing that may hold a quote
                    strand = line.strand if line.strand in ("+", "-") else "."
                    place = f"{line.start}\t{line.end}\t.\t{strand}"
                    written.write(f'gene\t.\tgene\t{place}\t.\tgene_id "{number}";\n')
        except OSError as error:
            raise InputError(
                f"GTF: the gene lines of {path} cannot be written to {scratch} ({error.strerror}); TMPDIR names "
                "another folder for them"
            ) from None
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
