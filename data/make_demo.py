"""Writes the demo genome: made-up chromosomes whose genes are switched by elements that are known exactly.

`python data/make_demo.py` writes data/demo/ again, to the last byte of content as it is there. Five chromosomes carry
genes on both strands. In promoters and terminators stand ten elements; each raises or lowers expression where it stands
in its own orientation and at its own distance from the TSS or TES, and does nothing elsewhere: a gene may carry it
turned round or out of place. So counting k-mers is not enough. A coding gene holds an open reading frame between two
short untranslated ends; codons are drawn alike for all genes. Some genes come in families with a member on several
chromosomes, related in their bases and their proteins; validation_genes.pickle lists those without relatives, as one
should score them. `--without-elements --out FOLDER` writes a genome in which no sequence tells how a gene is expressed.

Files: demo.fa.gz, demo.gtf.gz (genes, and the CDS of the coding ones), demo_tpm.csv (three tissues and logMaxTPM),
validation_genes.pickle (key `demo`), and truth.csv: a row a gene with its noise-free expression and its elements, each
as name:region:position:strand:weight, position in bp from the TSS or TES (negative: before it) to the element's first
base on the gene's strand, weight between 0 (no effect) and 1. Its first line gives the auROC that the noise-free
expression reaches.
"""

import argparse
import gzip
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 7
CHROMOSOMES = ("1", "2", "3", "4", "5")
GENES_PER_CHROMOSOME = 900
FAMILIES = 80  # of two to four members, each on another chromosome
DIVERGENCE = 0.08  # share of bases in which a member of a family differs from the first
KEPT_CODONS = 0.5  # share of changes of an amino acid that selection does not let pass
NOISE = 0.7  # standard deviation; that of the sum of the elements is about 1.2
REACH = 300  # bp before the TSS and after the TES in which elements stand


@dataclass(frozen=True)
class Element:
    """A planted element: its sequence, where it works, and by how much it changes the score there.

    region: promoter (positions count from the TSS) or terminator (from the TES).
    near, far: the range of distances, in bp outside the gene, in which it works; with `fades` the effect
    falls evenly from full at `near` to none at `far`.
    one_way: works only as written on the gene's strand.
    """

    name: str
    sequence: str
    region: str
    effect: float
    near: int
    far: int
    fades: bool = False
    one_way: bool = True

    def weight(self, distance: int, forward: bool) -> float:
        """Return which part of the effect an element has at this distance and in this orientation."""
        if not self.near <= distance <= self.far or (self.one_way and not forward):
            return 0.0
        return 1 - (distance - self.near) / (self.far - self.near) if self.fades else 1.0


ELEMENTS = (
    Element("TATA-like", "CTATAAATAGCG", "promoter", 1.0, 20, 60),
    Element("CCAAT-like", "GAGCCAATCAGC", "promoter", 0.8, 50, 150, one_way=False),
    Element("G-box-like", "TGCCACGTGGAC", "promoter", 0.9, 15, 250, fades=True, one_way=False),
    Element("initiator", "TTCAGTCTTGCC", "promoter", 0.8, 10, 110),
    Element("W-box-like", "CGTTGACCGATT", "promoter", -0.9, 20, 140),
    Element("silencer", "AAGGTACCTCGA", "promoter", -0.8, 90, 270),
    Element("poly(A)-like", "TGAATAAAGCTC", "terminator", 0.9, 10, 80),
    Element("upstream-U", "TTGTATTTCGTC", "terminator", 0.7, 40, 160),
    Element("decay", "CATTTAATGCCA", "terminator", -0.9, 10, 130),
    Element("read-through", "GGCATGCAACCT", "terminator", -0.7, 60, 240, one_way=False),
)
COMPLEMENT = np.array([3, 2, 1, 0], np.uint8)


def to_codes(sequence: str) -> np.ndarray:
    """Return a sequence as codes 0..3 = ACGT."""
    return np.array(["ACGT".index(base) for base in sequence], np.uint8)


@dataclass
class Gene:
    """A gene read on its own strand: `sequence` covers REACH before the TSS, the gene, and REACH after the TES."""

    sequence: np.ndarray
    length: int
    elements: list[str]
    score: float
    coding: bool = True
    family: int = -1
    frame: tuple[int, int] = (0, 0)  # of the coding sequence from start codon to stop codon, in `sequence`


def make_gene(random: np.random.Generator, elements: Sequence[Element]) -> Gene:
    """Draw a gene: background sequence, then each element in place, out of place, turned round, or not at all."""
    length = int(random.integers(150, 1400))
    background = random.choice(4, 2 * REACH + length, p=[0.3, 0.2, 0.2, 0.3]).astype(np.uint8)
    gene = Gene(background, length, [], 0.0)
    taken = np.zeros(len(background), bool)
    for element in elements:
        draw = random.random()
        if draw < 0.35:
            distance, forward = int(random.integers(element.near, element.far + 1)), True
            forward = element.one_way or random.random() < 0.5
        elif draw < 0.85:  # a decoy: anywhere, in any orientation
            distance, forward = int(random.integers(10, REACH - 10)), random.random() < 0.5
        else:
            continue
        width = len(element.sequence)
        # the distance is from the TSS back to the element's last base, or from the TES on to its first base
        position = -distance - width if element.region == "promoter" else distance
        begin = position + REACH + (0 if element.region == "promoter" else length)
        if begin < 0 or begin + width > len(background) or taken[max(begin - 2, 0) : begin + width + 2].any():
            continue
        taken[begin : begin + width] = True
        codes = to_codes(element.sequence)
        background[begin : begin + width] = codes if forward else COMPLEMENT[codes[::-1]]
        weight = element.weight(distance, forward)
        gene.score += weight * element.effect
        sign = "+" if forward else "-"
        gene.elements.append(f"{element.name}:{element.region}:{position}:{sign}:{weight:.2f}")
    return gene


def translate(codons: np.ndarray) -> np.ndarray:
    """Return the amino acids of codons, (codons, 3), as letters; '*' is a stop."""
    table = np.frombuffer(b"KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF", "S1")
    return table[codons @ (16, 4, 1)]


def open_frame(gene: Gene, random: np.random.Generator) -> None:
    """Make the inside of a gene an open reading frame between untranslated ends of 3 to 10 % of its length each.

    Its bases stay as they are but for the start codon, the stop codon, and one base of each stop codon in between.
    """
    ends = random.integers(int(0.03 * gene.length), int(0.1 * gene.length), 2)
    begin, end = REACH + int(ends[0]), REACH + gene.length - int(ends[1])
    end -= (end - begin) % 3
    gene.frame = begin, end
    codons = gene.sequence[begin:end].reshape(-1, 3).astype(np.int64)
    stops = translate(codons) == b"*"
    codons[stops, 0] = random.integers(0, 3, int(stops.sum()))  # T is what all three stop codons begin with
    codons[0], codons[-1] = to_codes("ATG"), to_codes(("TAA", "TAG", "TGA")[random.integers(3)])
    gene.sequence[begin:end] = codons.ravel()


def copy_gene(gene: Gene, random: np.random.Generator, selection: np.random.Generator) -> Gene:
    """Return a relative of a gene: some bases differ, elements, expression and most of the protein stay."""
    sequence = gene.sequence.copy()
    changed = random.random(len(sequence)) < DIVERGENCE
    for entry in gene.elements:  # selection keeps the elements
        _, region, position, _, _ = entry.split(":")
        begin = int(position) + REACH + (0 if region == "promoter" else gene.length)
        changed[begin : begin + 12] = False
    sequence[changed] = (sequence[changed] + random.integers(1, 4, int(changed.sum()))) % 4
    begin, end = gene.frame
    before, after = (bases[begin:end].reshape(-1, 3).astype(np.int64) for bases in (gene.sequence, sequence))
    stays = translate(after) == b"*"  # a start codon and a stop codon stay as well
    stays |= (translate(after) != translate(before)) & (selection.random(len(after)) < KEPT_CODONS)
    stays[[0, -1]] = True
    sequence[begin:end] = np.where(stays[:, None], before, after).ravel()
    return Gene(sequence, gene.length, list(gene.elements), gene.score, family=gene.family, frame=gene.frame)


def place_genes(random: np.random.Generator, elements: Sequence[Element]) -> dict[str, list[Gene]]:
    """Return the genes of each chromosome in order: single genes, members of families, some non-coding ones."""
    places: dict[str, list[Gene]] = {name: [] for name in CHROMOSOMES}
    frames = np.random.default_rng([SEED, 1])  # of its own: reading frames change nothing else
    for family in range(FAMILIES):
        first = make_gene(random, elements)
        first.family = family
        open_frame(first, frames)
        for name in random.permutation(CHROMOSOMES)[: random.integers(2, 5)]:
            places[str(name)].append(copy_gene(first, random, frames))
    for genes in places.values():
        while len(genes) < GENES_PER_CHROMOSOME - 1:
            genes.append(make_gene(random, elements))
            genes[-1].coding = random.random() > 0.03
            if genes[-1].coding:
                open_frame(genes[-1], frames)
        random.shuffle(genes)
        bare = random.integers(0, 4, 2 * REACH + 500).astype(np.uint8)
        genes.insert(0, Gene(bare, 500, [], 0.0))  # stands too close to the end of the chromosome for a window
        open_frame(genes[0], frames)
    return places


def write_gzip(path: Path, text: str) -> None:
    """Write text gzipped, without the time, so that the same text gives the same file."""
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())


def describe_cds(gene_id: str, chromosome: str, strand: str, start: int, gene: Gene) -> str:
    """Return the CDS line of a gene that starts at `start`, 0-based; as in most GTF files without the stop codon."""
    begin, end = gene.frame[0] - REACH, gene.frame[1] - REACH - 3
    first, last = (begin + 1, end) if strand == "+" else (gene.length - end + 1, gene.length - begin)
    return (
        f"{chromosome}\tdemo\tCDS\t{start + first}\t{start + last}\t.\t{strand}\t0\t"
        f'gene_id "{gene_id}"; transcript_id "{gene_id}.1"; protein_id "{gene_id}.1";'
    )


def write_demo(folder: Path, elements: Sequence[Element] = ELEMENTS) -> float:
    """Write all files of the demo into `folder`, and return the auROC that a reader of the truth would reach."""
    random = np.random.default_rng(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    fasta, gtf, table, truth, alone = [], ["#!genome-build LCRE-demo"], [], [], []
    expected, observed = [], []
    for chromosome, genes in place_genes(random, elements).items():
        pieces, position = [random.integers(0, 4, 100).astype(np.uint8)], 100
        for number, gene in enumerate(genes):
            gene_id = f"Demo{chromosome}g{number + 1:04d}"
            strand = "+" if random.random() < 0.5 else "-"
            piece = gene.sequence if strand == "+" else COMPLEMENT[gene.sequence[::-1]]
            begin = REACH
            if number == 0:
                piece, begin = piece[REACH:], 0
            start = position + begin
            kind = "protein_coding" if gene.coding else "lncRNA"
            gtf.append(
                f"{chromosome}\tdemo\tgene\t{start + 1}\t{start + gene.length}\t.\t{strand}\t.\t"
                f'gene_id "{gene_id}"; gene_source "demo"; gene_biotype "{kind}";'
            )
            if gene.coding:
                gtf.append(describe_cds(gene_id, chromosome, strand, start, gene))
            gap = random.integers(0, 4, int(random.integers(0, 200))).astype(np.uint8)
            pieces += [piece, gap]
            position += len(piece) + len(gap)
            if not gene.coding:
                continue
            level = 1.5 + 0.45 * gene.score
            value = max(level + 0.45 * NOISE * random.normal(), 0.02)
            tissues = (10**value - 1) * np.array([1, *random.uniform(0.1, 0.9, 2)])
            shown = random.permutation(tissues)
            cells = ",".join(f"{tpm:.4f}" for tpm in shown)
            log_max = np.log10(max(float(f"{shown.max():.4f}"), 0) + 1)
            table.append(f"{gene_id},{cells},{log_max:.5f}")
            truth.append(f"{gene_id},{chromosome},{level:.5f},{log_max:.5f},{';'.join(gene.elements)}")
            expected.append(level)
            observed.append(log_max)
            if gene.family < 0:
                alone.append(gene_id)
        bases = np.frombuffer(b"ACGT", np.uint8)[np.concatenate(pieces)].tobytes().decode()
        lines = "\n".join(bases[begin : begin + 80] for begin in range(0, len(bases), 80))
        fasta.append(f">{chromosome} demo chromosome\n{lines}\n")

    low, high = np.percentile(observed, [25, 75])
    levels = [np.array(expected)[pick] for pick in (np.array(observed) <= low, np.array(observed) >= high)]
    difference = levels[1][:, None] - levels[0][None, :]
    area = float((difference > 0).mean() + (difference == 0).mean() / 2)
    write_gzip(folder / "demo.fa.gz", "".join(fasta))
    write_gzip(folder / "demo.gtf.gz", "\n".join(gtf) + "\n")
    (folder / "demo_tpm.csv").write_text("gene_id,leaf,root,fruit,logMaxTPM\n" + "\n".join(table) + "\n")
    (folder / "truth.csv").write_text(
        f"# auROC of expected for low against high genes: {area:.4f}\n"
        "gene_id,chromosome,expected,logMaxTPM,elements\n" + "\n".join(truth) + "\n"
    )
    (folder / "validation_genes.pickle").write_bytes(pickle.dumps({"demo": alone}, protocol=4))
    return area


def main(argv: list[str] | None = None) -> int:
    """Write the demo and say what it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "demo", help="folder to write")
    parser.add_argument("--without-elements", action="store_true", help="plant none: there is nothing to learn")
    arguments = parser.parse_args(argv)
    folder = arguments.out
    area = write_demo(folder, () if arguments.without_elements else ELEMENTS)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{folder}: {size:.1f} MB; a reader of the truth would reach an auROC of {area:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
