"""Coding sequences: which parts of which transcript, spliced, in frame, translated."""

import time

import genomes
import numpy as np
import pytest
from builders import REALDATA, cut_gzip, one_line, pack, write

from core import InputError
from core.annotation import read_annotation
from core.coding import coding_sequence, read_cds, translate
from core.genome import open_genome


def gtf(*rows: tuple) -> str:
    """Lines of (feature, start, end, strand, phase, gene, transcript), 1-based."""
    return "".join(
        f'1\tx\t{feature}\t{start}\t{end}\t.\t{strand}\t{phase}\tgene_id "{gene}"; transcript_id "{transcript}";\n'
        for feature, start, end, strand, phase, gene, transcript in rows
    )


def gff(*rows: tuple) -> str:
    """Lines of (feature, start, end, strand, phase, attributes), 1-based."""
    return "".join(f"1\tx\t{f}\t{s}\t{e}\t.\t{strand}\t{phase}\t{more}\n" for f, s, e, strand, phase, more in rows)


def parts_of(path, ids=None) -> dict[str, list]:
    return {gene: parts.tolist() for gene, parts in read_cds(path, ids or read_annotation(path)[0]["gene_id"]).items()}


def to_codes(text: str) -> np.ndarray:
    return np.array(["ACGTN".index(base) for base in text], np.uint8)


def test_transcript_with_most_coding_bases_is_taken(tmp_path):
    path = write(
        tmp_path / "a.gtf",
        gtf(
            ("gene", 11, 100, "+", ".", "g", ""),
            ("CDS", 11, 40, "+", "0", "g", "short"),
            ("exon", 11, 100, "+", ".", "g", "long"),
            ("CDS", 61, 72, "+", "2", "g", "long"),
            ("CDS", 11, 37, "+", "0", "g", "long"),
            ("CDS", 11, 37, "+", "0", "g", "long"),  # twice in the file, once in the sequence
            ("gene", 201, 230, "+", ".", "bare", ""),
        ),
    )
    found = read_cds(path, ["g", "bare"])
    assert found["g"].dtype == np.int64
    assert {gene: parts.tolist() for gene, parts in found.items()} == {"g": [[10, 37], [60, 72]]}


@pytest.mark.parametrize(
    ("strand", "phases", "expected"),
    [
        ("+", ("2", "0"), [[12, 20], [30, 40]]),
        ("-", ("0", "1"), [[10, 20], [30, 39]]),
        ("+", (".", "."), [[10, 20], [30, 40]]),
    ],
)
def test_phase_of_the_first_part_is_cut_off(tmp_path, strand, phases, expected):
    lines = gtf(
        ("gene", 11, 40, strand, ".", "g", ""),
        ("CDS", 11, 20, strand, phases[0], "g", "t"),
        ("CDS", 31, 40, strand, phases[1], "g", "t"),
    )
    assert parts_of(write(tmp_path / "a.gtf", lines)) == {"g": expected}


def test_phase_longer_than_the_first_part_reaches_into_the_second(tmp_path):
    lines = gtf(
        ("gene", 11, 40, "+", ".", "g", ""), ("CDS", 11, 11, "+", "2", "g", "t"), ("CDS", 31, 40, "+", "0", "g", "t")
    )
    assert parts_of(write(tmp_path / "a.gtf", lines)) == {"g": [[31, 40]]}


@pytest.mark.parametrize(
    "wrong", [("CDS", 95, 103, "+", "0", "g", "t"), ("CDS", 51, 60, "-", "0", "g", "t")], ids=["outside", "strand"]
)
def test_transcript_that_is_not_within_its_gene_is_left_out(tmp_path, wrong):
    lines = (("gene", 11, 100, "+", ".", "g", ""), ("CDS", 11, 40, "+", "0", "g", "t"), wrong)
    assert parts_of(write(tmp_path / "a.gtf", gtf(*lines))) == {}
    assert parts_of(write(tmp_path / "b.gtf", gtf(*lines, ("CDS", 21, 30, "+", "0", "g", "good")))) == {"g": [[20, 30]]}


def test_gff3_parts_are_joined_through_their_transcript(tmp_path):
    """An ID a line (Phytozome), one ID a CDS (Ensembl), a CDS of two transcripts, a CDS right below its gene (NCBI)."""
    lines = gff(
        ("gene", 1, 100, "-", ".", "ID=gene:a;biotype=protein_coding"),
        ("CDS", 11, 20, "-", "0", "ID=c.2;Parent=transcript:a1,transcript:a2"),
        ("CDS", 41, 50, "-", "1", "ID=c.1;Parent=transcript:a1"),
        ("mRNA", 1, 100, "-", ".", "ID=transcript:a1;Parent=gene:a"),
        ("mRNA", 1, 100, "-", ".", "ID=transcript:a2;Parent=gene:a"),
        ("gene", 201, 300, "+", ".", "ID=gene:b;biotype=protein_coding"),
        ("CDS", 201, 210, "+", "0", "ID=x;Parent=gene:b"),
        ("CDS", 201, 215, "+", "0", "ID=y;Parent=gene:b"),
        ("CDS", 221, 223, "+", "0", "ID=x;Parent=gene:b"),
        ("CDS", 231, 233, "+", "0", "ID=lost;Parent=nobody"),
        ("mRNA", 1, 100, "+", ".", "ID=other;NoParent=gene:b"),
    )
    assert parts_of(write(tmp_path / "a.gff3", lines)) == {"a": [[10, 20], [40, 49]], "b": [[200, 215]]}


def test_gene_ids_are_those_of_read_annotation(tmp_path):
    """Where the expression table names genes by another attribute, the parts are found under that name."""
    lines = gff(
        ("gene", 1, 100, "+", ".", "ID=gene-LOC1;Name=abc;gene_biotype=protein_coding"),
        ("mRNA", 1, 100, "+", ".", "ID=rna-1;Parent=gene-LOC1"),
        ("CDS", 1, 9, "+", "0", "ID=cds-1;Parent=rna-1"),
    )
    path = write(tmp_path / "a.gff3", lines)
    assert read_annotation(path, ["abc"])[0]["gene_id"].tolist() == ["abc"]
    assert parts_of(path, ["abc"]) == {"abc": [[0, 9]]}
    assert parts_of(path, ["LOC1"]) == {"LOC1": [[0, 9]]}


def test_annotation_without_cds_gives_nothing(tmp_path):
    path = genomes.write_gtf(tmp_path / "a.gtf", [genomes.Gene("g", "1", 0, 100)])
    assert parts_of(path) == {}


def test_bad_lines_are_named(tmp_path):
    lines = gtf(("gene", 11, 100, "+", ".", "g", ""), ("CDS", 0, 40, "+", "0", "g", "t"))
    with pytest.raises(InputError) as error:
        read_cds(write(tmp_path / "a.gtf", lines), ["g"])
    assert "line 2 of" in one_line(error)
    with pytest.raises(InputError, match="damaged gzip"):
        read_cds(write(tmp_path / "a.gtf.gz", cut_gzip(lines.replace("\t0\t", "\t11\t").encode() * 50)), ["g"])


@pytest.mark.parametrize(("strand", "expected"), [("+", "ATGGCC"), ("-", "GGCCAT")])
def test_coding_sequence_by_hand(strand, expected):
    codes = to_codes("CCATGTTTGCCAAT")
    parts = np.array([[2, 5], [8, 11]])
    found = coding_sequence(codes, parts, strand)
    assert found.tolist() == to_codes(expected).tolist()
    assert len(coding_sequence(codes, np.array([[2, 5], [8, 13]]), "+")) == 6  # whole codons only
    assert not len(coding_sequence(codes, np.array([[2, 15]]), "+"))


def test_translation_is_the_standard_code():
    """The table of NCBI's code 1, written in its own order TCAG."""
    bases = "TCAG"
    amino = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
    for number, letter in enumerate(amino):
        codon = bases[number // 16] + bases[number // 4 % 4] + bases[number % 4]
        assert translate(to_codes("ATG" + codon)) == "M" + letter.replace("*", "")
    assert translate(to_codes("ATGNAATGACCC")) == "MX"
    assert translate(to_codes("")) == ""


def test_large_annotation_is_read_in_seconds(tmp_path):
    """A fifth of tomato's 170,000 CDS lines take less than half a second; the limit is for a busy machine."""
    rows = []
    for gene in range(7_000):
        begin = gene * 1000 + 1
        rows.append(("gene", begin, begin + 600, "+-"[gene % 2], ".", f"g{gene}", ""))
        rows += [("CDS", begin + 100 * k, begin + 100 * k + 59, "+-"[gene % 2], "0", f"g{gene}", "t") for k in range(5)]
    path = write(tmp_path / "a.gtf.gz", pack(gtf(*rows).encode()))
    began = time.process_time()
    found = read_cds(path, [f"g{gene}" for gene in range(7_000)])
    assert time.process_time() - began < 4
    assert len(found) == 7_000
    assert found["g7"].tolist() == [[7000 + 100 * k, 7060 + 100 * k] for k in range(5)]


def test_yeast_proteins_are_proteins():
    """Of 6,572 nuclear coding sequences none has a stop inside, and YFL039C is actin: 375 amino acids in two exons."""
    stem = "yeast/Saccharomyces_cerevisiae.R64-1-1"
    path = REALDATA / f"{stem}.96.gtf.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    genes, _ = read_annotation(path)
    found = read_cds(path, genes["gene_id"])
    assert len(found) == 6600
    whole = 0
    with open_genome(REALDATA / f"{stem}.dna.toplevel.fa.gz") as genome:
        for gene in genes[genes["gene_id"].isin(found) & (genes["chromosome"] != "Mito")].itertuples():
            sequence = coding_sequence(genome.codes(gene.chromosome), found[gene.gene_id], gene.strand)
            whole += len(translate(sequence)) == len(sequence) // 3
            if gene.gene_id == "YFL039C":
                assert len(found[gene.gene_id]) == 2
                assert translate(sequence).startswith("MDSEVAALVIDNGSGMCKAGFAGDDAPRAVFPSIVGRPRH")
                assert len(translate(sequence)) == 375
    assert whole == 6572
