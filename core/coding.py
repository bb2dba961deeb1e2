"""Reads the coding sequences (CDS lines) of a GTF or GFF3, splices and translates them.

The code is the standard one. Mitochondria and plastids of many species use others, so callers leave organelles out
(`core.genome.sort_chromosomes` tells them).
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core import InputError, one_line
from core.annotation import FARTHEST, GENE_FEATURES, GENE_ID_KEYS, clean_id, parse_attributes, parse_coordinate
from core.files import check_file, open_text

# An amino acid a codon, in the order AAA, AAC, AAG, AAT, ACA ...; '*' is a stop, the last one an unknown base.
AMINO_ACIDS = np.frombuffer(b"KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLFX", np.uint8)
COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)  # of base codes
SKIPPED_FEATURES = {"exon", "five_prime_utr", "three_prime_utr", "five_prime_UTR", "three_prime_UTR", "UTR", "intron"}
PRODUCT_KEYS = ("protein_id", "transcript_id", "ID", "Name")  # attributes that name a transcript or protein
PHASES = {"1": 1, "2": 2}  # bases of an incomplete codon in front; any other text is none


def read_cds(path: Path, gene_ids: Iterable[str]) -> dict[str, np.ndarray]:
    """Read for each gene the coding parts of its transcript with the most coding bp (of equals the first in the file).

    A transcript with a line on another chromosome or strand than its gene, or beyond the gene's ends, is left out. An
    incomplete codon in front of the first part (the phase, column 8) is cut off, so that the first base that is left
    begins a codon. In most GTF files the stop codon is outside of the CDS, in most GFF3 files it is inside.

    Args:
        path: the annotation, GTF or GFF3, plain or gzip.
        gene_ids: of `core.annotation.read_annotation`.

    Returns:
        Gene id -> its parts, 0-based half-open, int64, (parts, 2), ascending on the chromosome; genes without coding
        parts are absent. An annotation without CDS lines gives an empty dict.

    Raises:
        InputError: a CDS line without a start and an end.
    """
    genes, transcripts, _ = scan_cds(check_file(path, "GTF"), set(gene_ids))
    best: dict[str, tuple[int, np.ndarray, str]] = {}  # gene id -> coding bp, start, end and phase of parts, strand
    for (owner, _), lines in transcripts.items():
        if owner not in genes:
            continue
        gene, chromosome, strand, begin, end = genes[owner]
        if {line[:2] for line in lines} != {(chromosome, strand)}:
            continue
        parts = sorted({line[2:] for line in lines})  # a line twice is one part
        length = sum(stop - start for start, stop, _ in parts)
        inside = begin <= parts[0][0] and max(stop for _, stop, _ in parts) <= end
        if inside and length > best.get(gene, (0,))[0]:
            best[gene] = length, np.array(parts, np.int64), strand
    found = {gene: trim_phase(parts, strand) for gene, (_, parts, strand) in best.items()}
    return {gene: parts for gene, parts in found.items() if len(parts)}


def read_products(path: Path, gene_ids: Iterable[str]) -> dict[str, str]:
    """Return the names of transcripts and proteins in an annotation -> gene id, without prefixes such as `transcript:`.

    Args:
        path: the annotation, GTF or GFF3, plain or gzip.
        gene_ids: of `core.annotation.read_annotation`.

    Raises:
        InputError: a CDS line without a start and an end.
    """
    genes, _, products = scan_cds(check_file(path, "GTF"), set(gene_ids))
    return {name: genes[owner][0] for name, owner in products.items() if owner in genes}


def scan_cds(path: Path, gene_ids: set[str]) -> tuple[dict[str, tuple], dict[tuple[str, str], list], dict[str, str]]:
    """Return what the lines of an annotation say of genes, coding parts and products.

    Returns:
        The name by which the file's other lines call a gene -> (gene id, chromosome, strand, start, end); (that name,
        transcript) -> its CDS lines, each (chromosome, strand, start, end, phase), coordinates 0-based half-open; and
        the name of a transcript or protein -> that of its gene.
    """
    lines: list[tuple] = []
    parents: dict[str, str] = {}
    parts: dict[tuple[str, str], list[tuple]] = {}
    named: dict[str, str] = {}
    with open_text(path, "GTF") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("##FASTA"):
                break
            feature = line.split("\t", 3)[2:3]
            if not feature or line.startswith("#") or feature[0] in SKIPPED_FEATURES:
                continue
            fields, feature = line.rstrip("\r\n").split("\t"), feature[0]
            start, end = map(parse_coordinate, fields[3:5]) if len(fields) == 9 else (None, None)
            if start is None or end is None or not 1 <= start <= end < FARTHEST:
                if feature == "CDS":
                    shown = one_line(line.strip()[:80])
                    raise InputError(
                        f"GTF: line {number} of {path} is a CDS without a possible start and end: '{shown}'"
                    )
                continue
            if feature == "CDS":
                found = parse_attributes(fields[8])
                part = (fields[0], fields[6], start - 1, end, PHASES.get(fields[7], 0))
                if "Parent" in found:  # GFF3; a line may be part of several transcripts
                    keys = [(parent, found.get("ID", "")) for parent in found["Parent"].split(",")]
                else:
                    keys = [(found.get("gene_id", ""), found.get("transcript_id", ""))]
                for key in keys:
                    parts.setdefault(key, []).append(part)
                named.update((found[name], keys[0][0]) for name in PRODUCT_KEYS if name in found)
            elif feature in GENE_FEATURES:
                lines.append((parse_attributes(fields[8]), fields[0], fields[6], start - 1, end))
            elif "Parent=" in fields[8] and "Parent" in (found := parse_attributes(fields[8])):
                parents[found.get("ID", "")] = found["Parent"].split(",")[0]
                named.update((found[name], parents[found.get("ID", "")]) for name in PRODUCT_KEYS if name in found)
    genes = name_genes(lines, gene_ids)
    transcripts: dict[tuple[str, str], list[tuple]] = {}
    for (owner, name), found in parts.items():
        # each CDS line of a transcript of a GFF3 may have an ID of its own; below a gene, lines of one ID are one CDS
        key = (owner, name) if owner in genes else (find_gene(owner, parents, genes), owner)
        transcripts.setdefault(key, []).extend(found)
    products = {strip_kind(name): find_gene(owner, parents, genes) for name, owner in named.items()}
    return genes, transcripts, products


def strip_kind(name: str) -> str:
    """Return the name of a transcript or protein without what a GFF3 puts in front (transcript:, CDS:, rna-, cds-)."""
    return re.sub(r"^(?:transcript:|mRNA:|CDS:|rna-|cds-)", "", name)


def name_genes(lines: list[tuple], gene_ids: set[str]) -> dict[str, tuple]:
    """Return the gene's own name in the file -> (gene id, chromosome, strand, start, end).

    The ids are taken from the attribute that agrees with most of `gene_ids`, as `read_annotation` took them.
    """

    def ids_by(key: str) -> list[str]:
        return [clean_id(key, found.get(key, "")) for found, *_ in lines]

    key = max(GENE_ID_KEYS, key=lambda key: len(gene_ids.intersection(ids_by(key))))  # the first of equals
    named = zip(ids_by(key), lines, strict=True)
    return {
        found.get("ID", found.get("gene_id", "")): (gene, *place) for gene, (found, *place) in named if gene in gene_ids
    }


def find_gene(name: str, parents: dict[str, str], genes: dict) -> str:
    """Return the gene that a transcript belongs to, over at most ten parents; the last name where there is none."""
    for _ in range(10):
        if name in genes or name not in parents:
            break
        name = parents[name]
    return name


def trim_phase(parts: np.ndarray, strand: str) -> np.ndarray:
    """Cut the bases of an incomplete codon off the front of a coding sequence.

    Args:
        parts: start, end, phase, (parts, 3), ascending.
        strand: '-' reads from the last part on.

    Returns:
        start, end, (parts, 2); a part that is shorter than its phase is gone.
    """
    order = slice(None, None, -1) if strand == "-" else slice(None)
    parts, cut = parts[order].copy(), int(parts[order][0, 2])
    for row, (start, end, _) in enumerate(parts.tolist()):
        taken = min(cut, end - start)
        parts[row, 1 if strand == "-" else 0] += -taken if strand == "-" else taken
        cut -= taken
        if not cut:
            break
    kept = parts[order][:, :2]
    return kept[kept[:, 0] < kept[:, 1]]


def coding_sequence(codes: np.ndarray, parts: np.ndarray, strand: str) -> np.ndarray:
    """Return the spliced coding sequence of a gene, read on its strand, whole codons only.

    Args:
        codes: base codes of the chromosome, uint8, (bp,).
        parts: of `read_cds`.
        strand: '+' or '-'.

    Returns:
        Base codes, uint8, (bp,); their number is a multiple of three. Nothing where a part lies beyond the chromosome.
    """
    if not len(parts) or parts[:, 1].max() > len(codes):
        return np.empty(0, np.uint8)
    spliced = np.concatenate([codes[start:end] for start, end in parts.tolist()])
    if strand == "-":
        spliced = COMPLEMENT[spliced[::-1]]
    return spliced[: len(spliced) // 3 * 3]


def translate(codes: np.ndarray) -> str:
    """Return the protein of a coding sequence in the standard code, up to its first stop codon, without it.

    Args:
        codes: base codes of whole codons, (bp,).

    Returns:
        One letter an amino acid; X where a base of the codon is unknown.
    """
    codons = np.asarray(codes, np.int64).reshape(-1, 3)
    number = np.where((codons > 3).any(axis=1), 64, codons @ (16, 4, 1))
    return AMINO_ACIDS[number].tobytes().decode().split("*", 1)[0]
