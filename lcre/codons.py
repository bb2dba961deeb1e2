"""What the coding sequence (CDS) of a gene is like, apart from any regulatory sequence: lengths and codon usage."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.coding import coding_sequence, read_cds
from lcre.kmers import number_kmers


def describe_coding(codes: np.ndarray, parts: np.ndarray, start: int, end: int, strand: str) -> np.ndarray:
    """Return what a gene is like, apart from its regulatory sequence, (133,).

    The logarithm of one more than: the bp of the gene, of its CDS, before and behind the CDS, the number of its parts,
    and how often each codon stands in it; and the codons as fractions of all. Codons in the order of ACGT, those with
    unknown bases left out.

    Args:
        codes: base codes of the chromosome, uint8, (bp,).
        parts: of the CDS, 0-based half-open, (parts, 2), ascending.
        start, end: of the gene, 0-based half-open.
        strand: '+' or '-'.
    """
    spliced = coding_sequence(codes, parts, strand)
    number, known = (found[::3] for found in number_kmers(spliced, 3)) if len(spliced) else (np.empty(0, int), [])
    counts = np.bincount(number[known], minlength=64)
    around = [parts[0, 0] - start, end - parts[-1, 1]]
    lengths = [end - start, len(spliced), *(around[::-1] if strand == "-" else around), len(parts)]
    return np.concatenate([np.log1p(np.concatenate([lengths, counts])), counts / max(counts.sum(), 1)])


def read_coding(path: Path, genome, genes, partner: Mapping[str, str]) -> np.ndarray | None:
    """Describe the CDS of every gene that has a window.

    Args:
        path: of the annotation.
        genome: an open `core.genome.Genome`.
        genes: frame with gene_id, chromosome, start, end, strand and window_fits.
        partner: the annotation's name of a chromosome -> the genome's.

    Returns:
        `describe_coding` of each, float32, (genes with windows, 133), nan where a gene has no CDS; None where none has.
    """
    fitting = genes[genes["window_fits"]].reset_index(drop=True)
    cds = read_cds(path, fitting["gene_id"])
    if not cds:
        return None
    features = np.full((len(fitting), 133), np.nan, np.float32)
    for name, here in fitting.groupby("chromosome", sort=False):
        codes = genome.codes(partner[name])
        columns = (here[column].tolist() for column in ("gene_id", "start", "end", "strand"))
        for row, gene, start, end, strand in zip(here.index, *columns, strict=True):
            if gene in cds:
                features[row] = describe_coding(codes, cds[gene], start, end, strand)
    return features
