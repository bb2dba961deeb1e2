"""Reads variants from VCF and writes them into the windows of genes.

A variant replaces the bases [begin, end) of a chromosome by others. The gene moves with its bases: its first base
stays in the column of the first base, its last in that of the last, and what an insertion or deletion pushes leaves
or enters a window at its far end. So an edited window is the one that would be cut from the edited chromosome with
the edited annotation.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import InputError, shorten
from core.annotation import FARTHEST, parse_coordinate
from core.files import check_file, open_text
from core.genome import BASE_CODES, Genome
from core.names import CHROMOSOME_BRIDGES, join_names

BASES = re.compile(r"[ACGTN]+", re.IGNORECASE)
SAMPLE = 2000  # lines of a VCF that are compared with the genome before anything is scored
COMPLEMENT = np.array([3, 2, 1, 0, 4], np.uint8)


class Line(NamedTuple):
    """A line of a VCF as far as it is used."""

    number: int  # in the file, from 1
    chromosome: str
    position: int  # of REF's first base, 0-based
    reference: str
    alternatives: list[str]

    def name(self, alternative: str) -> str:
        """Return the variant as CHROM:POS:REF:ALT, in the words of the file."""
        return f"{self.chromosome}:{self.position + 1}:{self.reference}:{alternative}"


class Allele(NamedTuple):
    """An allele of a line."""

    line: int  # its number in the file, from 1
    bases: str  # as ALT has them
    name: str  # CHROM:POS:REF:ALT


class Edit(NamedTuple):
    """The bases [begin, end) of a chromosome (0-based, in bp) and the codes that take their place."""

    begin: int
    end: int
    codes: np.ndarray  # uint8, (bases,)


# --------------------------------------------------------------------------------------------------- VCF
def read_vcf(path: Path) -> Iterator[Line]:
    """Give the lines of a VCF (plain, gzip or bgzip) in the order of the file; genotypes are not looked at.

    Raises:
        InputError: not a VCF, damaged gzip, a line without chromosome, position, REF and ALT.
    """
    with open_text(path, "VCF") as file:
        for number, text in enumerate(file, 1):
            if number == 1 and not text.startswith(("##fileformat=VCF", "#CHROM")):
                raise InputError(f"VCF: {path} does not begin with '##fileformat=VCF'; give a VCF, plain or gzip")
            if text.startswith("#") or not text.strip():
                continue
            fields = text.split("\t", 5)
            position = parse_coordinate(fields[1]) if len(fields) >= 5 and fields[0] and fields[3] else None
            if position is None:
                what = f"VCF: line {number} of {path}"
                if len(fields) >= 5 and fields[0] and fields[3]:
                    raise InputError(f"{what} has the POS {shorten(fields[1])!r}, which is no whole number; correct it")
                raise InputError(f"{what} is not tab-separated CHROM, POS, ID, REF, ALT: {text.strip()[:80]!r}")
            if position == FARTHEST:
                raise InputError(
                    f"VCF: line {number} of {path} has the POS {shorten(fields[1])}; no chromosome is that long"
                )
            alternatives = fields[4].strip().split(",")
            yield Line(number, fields[0], position - 1, fields[3], alternatives)


def survey_vcf(path: Path) -> tuple[int, list[str], list[Line]]:
    """Read a whole VCF once: errors show before anything is scored, and the time left can be told.

    Returns:
        How many lines with variants it has, their chromosomes, and an even sample of at most `SAMPLE` lines.
    """
    check_file(path, "VCF")
    count, chromosomes, sample = 0, {}, []
    draw = random.Random(1)
    for line in read_vcf(path):
        count += 1
        chromosomes[line.chromosome] = None
        if len(sample) < SAMPLE:
            sample.append(line)
        elif (place := int(draw.random() * count)) < SAMPLE:
            sample[place] = line
    if not count:
        raise InputError(f"VCF: {path} has a header and no variant; give a VCF with a line for each variant")
    return count, list(chromosomes), sample


def match_genome(path: Path, genome: Genome, notes: list[str]) -> tuple[int, dict[str, str]]:
    """Make sure that a VCF was made on this genome.

    Returns:
        How many lines with variants it has, and its name of a chromosome -> the genome's.

    Raises:
        InputError: no chromosome in common, or REF is seldom what the genome has.
    """
    count, chromosomes, sample = survey_vcf(path)
    what = "VCF and FASTA have no chromosome"
    partner = join_names(chromosomes, genome.lengths, CHROMOSOME_BRIDGES, what, notes)
    sample = [line for line in sample if line.chromosome in partner and BASES.fullmatch(line.reference)]
    wrong = [line for line in sample if explain_reference(line, partner, genome)]
    if wrong and (len(wrong) == len(sample) or (len(wrong) > len(sample) / 2 and len(sample) >= 10)):
        first = f"{wrong[0].name(','.join(wrong[0].alternatives))[:60]}: {explain_reference(wrong[0], partner, genome)}"
        raise InputError(
            f"VCF: of {len(sample):,} variants compared, the REF of {len(wrong):,} does not match the FASTA (the "
            f"first: {first}); was {path.name} made on another genome or assembly?"
        )
    return count, partner


def explain_reference(line: Line, partner: dict[str, str], genome: Genome) -> str:
    """Return why a line's REF cannot be found in the genome, or "" where it stands there."""
    if line.chromosome not in partner:
        return "chromosome is not in the FASTA"
    if not BASES.fullmatch(line.reference):
        return "REF is not bases"
    name, end = partner[line.chromosome], line.position + len(line.reference)
    if line.position < 0 or end > genome.lengths[name]:
        return "REF lies outside the chromosome"
    found = genome.piece(name, line.position, end)
    if found.tobytes() == line.reference.encode().translate(BASE_CODES):
        return ""
    shown = "".join("ACGTN"[code] for code in found[:20])
    return f"REF does not match the FASTA: {shown}{'...' if len(found) > 20 else ''}"


def explain_alternative(reference: str, alternative: str) -> str:
    """Return why an allele has no sequence to score, or "" where it has."""
    if BASES.fullmatch(alternative):
        return "ALT is REF" if alternative.upper() == reference.upper() else ""
    if alternative in (".", "", "*", "<*>", "<NON_REF>"):
        return "ALT names no allele (., * and the like)"
    if alternative[0] == "<" or "[" in alternative or "]" in alternative or "." in alternative:
        return "ALT is symbolic"
    return "ALT is not bases"


def make_edit(line: Line, alternative: str) -> Edit:
    """Return what an allele changes: the bases that REF and ALT share at the left, then at the right, are left out."""
    reference, alternative = line.reference.upper(), alternative.upper()
    most = min(len(reference), len(alternative))
    left = next((at for at in range(most) if reference[at] != alternative[at]), most)
    most -= left
    right = next((at for at in range(most) if reference[-1 - at] != alternative[-1 - at]), most)
    codes = np.frombuffer(alternative[left : len(alternative) - right].encode().translate(BASE_CODES), np.uint8)
    return Edit(line.position + left, line.position + len(reference) - right, codes)


# ----------------------------------------------------------------------------------------------- windows
def move_boundary(boundary: int, edit: Edit, insertion_before: bool) -> int:
    """Return where the boundary between two bases lies in the edited chromosome.

    Bases of REF become bases of ALT from the left on, one by one; the rest is deleted or inserted behind them.

    Args:
        boundary: of the base behind it, 0-based.
        edit: what is changed.
        insertion_before: what is inserted exactly here goes before the boundary (at a gene's first base), not behind
            it (at its last): it is outside of the gene in both cases.
    """
    begin, end, codes = edit
    if end < boundary or (end == boundary and insertion_before):
        return boundary + len(codes) - (end - begin)
    return begin + min(boundary - begin, len(codes)) if begin < boundary else boundary


def read_edited(genome: Genome, name: str, begin: int, end: int, edit: Edit) -> np.ndarray:
    """Return the codes of [begin, end) of the edited chromosome, uint8, (end - begin,); 4 outside of it."""
    shift = len(edit.codes) - (edit.end - edit.begin)
    behind = edit.begin + len(edit.codes)
    codes = np.full(end - begin, 4, np.uint8)

    def fill(first: int, last: int, source, offset: int) -> None:
        """Put in what lies between first and last, taken from `source` at those places less `offset`."""
        first, last = max(first, begin), min(last, end)
        if first < last:
            codes[first - begin : last - begin] = source(first - offset, last - offset)

    fill(0, edit.begin, lambda first, last: genome.piece(name, first, last), 0)
    fill(edit.begin, behind, lambda first, last: edit.codes[first:last], edit.begin)
    fill(behind, genome.lengths[name] + shift, lambda first, last: genome.piece(name, first, last), shift)
    return codes


@dataclass
class Windows:
    """The windows of genes, where they lie, and what variants make of them."""

    codes: np.ndarray  # base codes, uint8, (genes, columns), masked as in training
    names: list[str]  # the genome's name of each gene's chromosome
    start: np.ndarray  # of the genes, 0-based half-open, (genes,)
    end: np.ndarray
    strand: np.ndarray  # '+' or '-', (genes,)
    layout: object  # of the windows, a `lcre_classifier.WindowLayout`

    @cached_property
    def regions(self):
        """Both regions of every window, a pyranges.PyRanges with gene (row of `codes`) and side (0 left, 1 right)."""
        import pyranges

        sides = [
            pd.DataFrame({"Chromosome": self.names, "Start": begin, "gene": np.arange(len(begin)), "side": side})
            for side, begin in enumerate(self.layout.locate(self.start, self.end))
        ]
        frame = pd.concat(sides)
        return pyranges.PyRanges(frame.assign(End=frame["Start"] + self.layout.region_size))

    def find(self, names: Sequence[str], edits: Sequence[Edit]) -> list[list[tuple[int, str]]]:
        """Return the genes whose windows hold each variant, in their order, and the region: promoter, terminator, both.

        An insertion is inside a region where it changes it: not before its first or behind its last base.

        Args:
            names: the genome's name of the chromosome of each variant.
            edits: the variants.
        """
        import pyranges

        begin = np.array([edit.begin for edit in edits], np.int64)
        end = np.array([edit.end for edit in edits], np.int64)
        size = np.array([len(edit.codes) for edit in edits], np.int64)
        found: list[list[tuple[int, str]]] = [[] for _ in edits]
        if not found:
            return found
        around = {"Chromosome": list(names), "Start": np.maximum(begin - 1, 0), "End": end + 1}  # an insertion is empty
        pairs = pyranges.PyRanges(pd.DataFrame(around | {"variant": np.arange(len(edits))})).join(self.regions).df
        if pairs.empty:
            return found
        pairs = pairs.sort_values(["variant", "gene", "side"])
        variant, gene, side, left = (pairs[name].to_numpy() for name in ("variant", "gene", "side", "Start_b"))
        begin, end, size = begin[variant], end[variant], size[variant]
        right = left + self.layout.region_size
        replaced = (begin < end) & (left < end) & (begin < right)
        # at the TSS or TES an insertion is outside of the gene, and so shown
        site = np.where(side == 0, self.start[gene], self.end[gene])
        at_site = (end == site) & (self.layout.upstream > 0)
        inserted = (size > end - begin) & (((left < end) & (end < right)) | at_site)
        region = np.where((side == 0) == (self.strand[gene] == "+"), "promoter", "terminator")
        for row in np.flatnonzero(replaced | inserted):
            genes = found[variant[row]]
            if genes and genes[-1][0] == gene[row]:
                genes[-1] = int(gene[row]), "both"
            else:
                genes.append((int(gene[row]), str(region[row])))
        return found

    def edit(self, gene: int, genome: Genome, edit: Edit) -> np.ndarray | None:
        """Return a gene's window with a variant in it, uint8, (columns,); None where nothing is left of the gene.

        Bases that move in from outside the chromosome are unknown (code 4).
        """
        start, end = int(self.start[gene]), int(self.end[gene])
        size, row = self.layout.region_size, self.codes[gene].copy()
        forward = row if self.strand[gene] == "+" else row[::-1]  # a view: both regions as the chromosome runs
        pieces = forward[:size], forward[-size:]
        if len(edit.codes) == edit.end - edit.begin:
            for piece, edge in zip(pieces, self.layout.locate(start, end), strict=True):
                first, last = max(edit.begin, edge), min(edit.end, edge + size)
                if first < last:
                    piece[first - edge : last - edge] = self.on_strand(
                        gene, edit.codes[first - edit.begin : last - edit.begin]
                    )
        else:
            start, end = move_boundary(start, edit, True), move_boundary(end, edit, False)
            if start >= end:
                return None
            for piece, edge in zip(pieces, self.layout.locate(start, end), strict=True):
                piece[:] = self.on_strand(gene, read_edited(genome, self.names[gene], edge, edge + size, edit))
        self.layout.hide(row)
        return row

    def on_strand(self, gene: int, codes: np.ndarray) -> np.ndarray:
        """Return codes of the chromosome as they stand on the gene's strand, still in the chromosome's order."""
        return codes if self.strand[gene] == "+" else COMPLEMENT[codes]
