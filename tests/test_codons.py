"""Lengths and codon usage of coding sequences, against a gene that is written down by hand."""

import genomes
import numpy as np
import pytest
from genomes import Gene
from test_baselines import codes_of

from core.scores import auroc
from lcre import baselines
from lcre.codons import describe_coding

# 3 bases, then ATGGCC, an intron of 4, GCCTA, and an A behind it that completes TAA
SEQUENCE = "CCC" + "ATGGCC" + "GTAG" + "GCCTAA" + "TT"
PARTS = np.array([[3, 9], [13, 19]])


def codon(letters: str) -> int:
    return int("".join(str("ACGT".index(letter)) for letter in letters), 4)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_gene_by_hand(strand):
    """21 bp, a CDS of 12 in two parts, 3 bp before and 2 behind it: ATG GCC GCC TAA."""
    sequence, parts = SEQUENCE, PARTS
    if strand == "-":
        sequence, parts = genomes.reverse_complement(SEQUENCE), np.array([[2, 8], [12, 18]])
    features = describe_coding(codes_of([sequence])[0], parts, 0, 21, strand)
    assert np.expm1(features[:5]) == pytest.approx([21, 12, 3, 2, 2])
    counts = np.zeros(64)
    counts[[codon("ATG"), codon("GCC"), codon("TAA")]] = 1, 2, 1
    assert np.expm1(features[5:69]) == pytest.approx(counts)
    assert features[69:] == pytest.approx(counts / 4)


def test_codons_with_unknown_bases_are_left_out():
    codes = codes_of([SEQUENCE.replace("ATGGCC", "ATGGNC")])[0]
    assert np.expm1(describe_coding(codes, PARTS, 0, 21, "+")[5:69]).sum() == pytest.approx(3)
    features = describe_coding(codes[:15], PARTS, 0, 21, "+")  # beyond the chromosome
    assert features[5:].sum() == 0


def test_codon_usage_is_found_and_genes_without_a_cds_are_in_the_middle():
    random, target = np.random.default_rng(1), np.arange(300) % 2
    features = random.normal(0, 1, (300, 6)).astype(np.float32)
    features[:, 2] += 2 * target
    features[::10] = np.nan
    features[:, 5] = 3  # the same in all
    fold = type("Fold", (), {"training": np.arange(200), "test": np.arange(200, 300)})
    found = baselines.coding_baseline(features, 3.0 * (2 * target - 1), fold)
    known = ~np.isnan(features[200:, 0])
    assert auroc(target[200:][known], found[known]) > 0.85
    assert found[~known] == pytest.approx(np.full((~known).sum(), found.mean()), abs=0.1)
    assert len(set(found[~known].tolist())) == 1
    assert baselines.coding_baseline(None, target, fold) is None
    assert baselines.coding_baseline(np.full((300, 6), np.nan), target, fold) is None


def test_features_of_a_data_set_stand_in_the_order_of_its_windows(tmp_path):
    """Genes on two chromosomes; the first and the last have a CDS, the second none, one has no window."""
    chromosomes = {"1": "ACGT" * 50, "2": "TTAGC" * 40}
    genes = [Gene("b", "2", 60, 90), Gene("edge", "1", 0, 30), Gene("a", "1", 60, 90, "-"), Gene("c", "1", 100, 130)]
    flags = genomes.write_files(tmp_path, chromosomes, genes, {gene.gene_id: n for n, gene in enumerate(genes)})
    flags += ["--upstream", "20", "--downstream", "10"]
    data, _ = genomes.load(flags)
    assert data.coding is None
    with open(tmp_path / "toy.gtf", "a") as file:
        for gene, chromosome, start, end, strand in (("c", "1", 100, 112, "+"), ("b", "2", 62, 77, "+")):
            place = f"{chromosome}\ttest\tCDS\t{start + 1}\t{end}\t.\t{strand}\t0"
            file.write(f'{place}\tgene_id "{gene}"; transcript_id "{gene}.1";\n')
    data, _ = genomes.load(flags)
    assert data.with_windows["gene_id"].tolist() == ["b", "a", "c"]
    assert np.expm1(data.coding[:, 1]) == pytest.approx([15, np.nan, 12], nan_ok=True)
    assert np.expm1(data.coding[2, 5 + codon("ACG")]) == pytest.approx(1)
