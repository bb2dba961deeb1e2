"""The look before training: every figure against one counted by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import one_line
from genomes import Gene, random_sequence, reverse_complement, write_files
from hypothesis import given
from hypothesis import strategies as st

import lcre_classifier as lcre
from core import InputError
from core.genome import BASE_CODES
from lcre import check

LOW, HIGH, MIDDLE, NONE = 0, 1, 2, -1
LAYOUT = lcre.WindowLayout(20, 10, 0)


def gene_table() -> pd.DataFrame:
    """One gene of each fate, and a few that are used."""
    flags = ["coding", "on_genome", "sequence_known", "window_fits", "in_table"]
    columns = ["chromosome", *flags, "target", "strand", "status"]
    rows = [
        ("1", 1, 1, 1, 1, 1, LOW, "+", "used"),
        ("1", 1, 1, 1, 1, 1, HIGH, "-", "used"),
        ("1", 1, 1, 1, 1, 1, HIGH, "-", "used"),
        ("1", 1, 1, 1, 1, 1, MIDDLE, "-", "used"),
        ("1", 1, 1, 1, 1, 0, NONE, "-", "not in table"),
        ("1", 1, 1, 1, 0, 1, LOW, "+", "window leaves chromosome"),
        ("1", 1, 1, 1, 0, 1, LOW, ".", "no strand"),
        ("2", 1, 1, 0, 0, 1, LOW, "+", "beyond chromosome end"),
        ("2", 0, 1, 0, 0, 1, LOW, "+", "not protein coding"),
        ("2", 1, 1, 1, 1, 1, LOW, "+", "used"),
        ("Mt", 1, 1, 1, 1, 1, HIGH, "+", "organelle"),
        ("Mt", 1, 1, 1, 1, 0, NONE, "+", "organelle"),
        ("9", 1, 0, 0, 0, 1, HIGH, "+", "chromosome not in genome"),
        ("9", 0, 0, 0, 0, 0, NONE, ".", "not protein coding"),
    ]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(flags, bool))


def test_funnel_counts_what_is_left_after_each_step():
    funnel = check.gene_funnel(gene_table())
    assert list(funnel.columns) == ["chromosome", *check.STEPS]
    assert funnel.values.tolist() == [
        ["all", 14, 12, 10, 8, 6, 2, 1, 3],
        ["1", 7, 7, 7, 5, 4, 1, 1, 2],
        ["2", 3, 2, 1, 1, 1, 1, 0, 0],
        ["Mt", 2, 2, 2, 2, 1, 0, 0, 1],
        ["9", 2, 1, 0, 0, 0, 0, 0, 0],
    ]


def test_status_is_the_first_reason_that_holds():
    genes = gene_table()
    assert check.gene_status(genes, {"Mt"}).tolist() == genes["status"].tolist()
    assert check.gene_status(genes, set()).tolist()[10:12] == ["used", "not in table"]


def test_losses_are_said():
    genes = gene_table().assign(gene_id=[f"g{number}" for number in range(14)])
    assert check.describe_losses(genes) == [
        "1 coding genes stand on chromosomes that the FASTA does not have ('g12')",
        "1 coding genes end beyond their chromosome: is the GTF of another assembly, or the FASTA cut? ('g7')",
        "1 coding genes have no strand + or - in the seventh column of the annotation and are left out ('g6')",
    ]
    assert check.describe_losses(genes[genes["status"] == "used"]) == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (
            [6] * 5 + [5, 8],
            "of 5 genes ('g6', 'g6', 'g6', ...), they have no strand: the seventh column of the GTF must",
        ),
        (
            [7, 7, 5, 8, 13],
            "of 2 genes ('g7', 'g7'), they end beyond their chromosome, 'g7' at 5,000 where the longest",
        ),
        ([12], "of 1 genes ('g12'), their chromosomes are not in the FASTA"),
        (
            [5, 5, 6],
            "their windows leave their chromosome (the longest has 900 bp); make UPSTREAM smaller; 1 others: no",
        ),
    ],
)
def test_no_windows_at_all_is_explained_by_what_most_genes_lack(rows, says):
    genes = gene_table().assign(gene_id=[f"g{number}" for number in range(14)], end=5000)
    check.require_windows(genes, LAYOUT, 900, "make UPSTREAM smaller")
    with pytest.raises(InputError) as error:
        check.require_windows(genes.iloc[rows].reset_index(drop=True), LAYOUT, 900, "make UPSTREAM smaller")
    assert "no coding gene has windows of 20 + 10 bp" in one_line(error)
    assert says in one_line(error)


# ------------------------------------------------------------------------------------------ ATG at the TSS
@pytest.mark.parametrize(
    ("sequence", "start", "end", "strand", "expected"),
    [
        ("ccATGcc", 2, 7, "+", True),
        ("ATG", 0, 3, "+", True),
        ("ATGATG", 3, 6, "+", True),
        ("atgcc", 0, 5, "+", True),
        ("ccCATcc", 0, 5, "-", True),
        ("CAT", 0, 3, "-", True),
        ("CATcat", 3, 6, "-", True),
        ("ccCATcc", 0, 6, "-", False),
        ("ccATGcc", 1, 7, "+", False),
        ("CATATG", 0, 3, "+", False),
        ("CATATG", 3, 6, "-", False),
        ("ANG", 0, 3, "+", False),
        ("CNT", 0, 3, "-", False),
        ("ATG", 0, 2, "+", False),  # the gene ends inside the codon
        ("xAT", 1, 3, "+", False),  # and here the chromosome too
        ("ATx", 0, 2, "-", False),
        ("CAT", 0, 3, ".", False),
    ],
)
def test_atg_at_the_tss_on_the_genes_strand(sequence, start, end, strand, expected):
    codes = np.frombuffer(sequence.encode().translate(BASE_CODES), np.uint8)
    found = check.starts_with_atg(codes, np.array([start]), np.array([end]), np.array([strand]))
    assert found.tolist() == [expected]


@given(st.text("ACGTN", min_size=4, max_size=40), st.data())
def test_atg_is_found_as_in_the_string(sequence, data):
    start = data.draw(st.integers(0, len(sequence) - 1))
    end = data.draw(st.integers(start + 1, len(sequence)))
    gene = sequence[start:end]
    codes = np.frombuffer(sequence.encode().translate(BASE_CODES), np.uint8)
    found = check.starts_with_atg(codes, np.array([start] * 2), np.array([end] * 2), np.array(["+", "-"]))
    assert found.tolist() == [gene.startswith("ATG"), reverse_complement(gene).startswith("ATG")]


# ------------------------------------------------------------------------------------------------- audit
def test_audit_counts_unknown_bases_and_equal_windows():
    windows = np.array(
        [[0, 1, 4, 2, 4], [0, 1, 4, 2, 4], [4, 4, 4, 2, 3], [0, 1, 4, 2, 3], [4, 4, 4, 2, 3], [3, 3, 4, 3, 3]], np.uint8
    )
    real = np.array([True, True, False, True, True])
    audit = check.audit_windows(windows, real)
    assert audit == {"share_N": 6 / 24, "duplicate_windows": 4}


def test_audit_of_more_windows_than_are_looked_at_together():
    windows = np.random.default_rng(1).integers(0, 5, (2500, 30), dtype=np.uint8)
    windows[1700] = windows[3]
    real = np.arange(30) % 7 != 0
    audit = check.audit_windows(windows, real)
    assert audit["share_N"] == pytest.approx((windows[:, real] == 4).mean())
    assert audit["duplicate_windows"] == 2


@pytest.mark.parametrize(
    ("atg", "percent", "meaning"), [(95, "95.0%", "start codon itself"), (30, "30.0%", "a part"), (2, "2.0%", "chance")]
)
def test_audit_says_what_the_fraction_of_atg_means(atg, percent, meaning):
    audit = {"coding_genes": 100, "start_with_ATG": atg, "share_N": 0.0123, "duplicate_windows": 1234, "short_genes": 3}
    first, second, third, fourth = check.describe_audit(audit)
    assert first.startswith(f"{atg} of 100 coding genes ({percent})")
    assert meaning in first
    assert second.startswith("1.23%")
    assert third.startswith("1,234 genes")
    assert fourth.startswith("3 genes with windows are shorter than DOWNSTREAM")


def test_audit_without_coding_genes():
    audit = {"coding_genes": 0, "start_with_ATG": 0, "share_N": 0.0, "duplicate_windows": 0, "short_genes": 3}
    assert check.describe_audit(audit)[0].startswith("0 of 0 coding genes (0.0%)")


# -------------------------------------------------------------------------------------------------- ties
@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        (range(100), []),
        ([0] * 40 + list(range(1, 61)), ["40 of 100 genes of the table (40 %, not 25 %) are low, because 40 have"]),
        (
            [*range(1, 61), *[99] * 40],
            ["40 of 100 genes of the table (40 %, not 25 %) are high, because 40 have the very value 99"],
        ),
        ([0] * 30 + list(range(1, 41)) + [50] * 30, ["30 of 100 genes", "30 of 100 genes"]),
        ([0, 0, *range(1, 99)], []),  # ties that make no difference
    ],
)
def test_ties_are_said_where_they_make_a_class_larger(values, sentences):
    values = pd.Series(values, dtype=float)
    low, high = np.percentile(values, [25, 75])
    said = check.describe_ties(values, low, high, (25.0, 75.0))
    assert len(said) == len(sentences)
    for found, sentence in zip(said, sentences, strict=True):
        assert sentence in found


# ------------------------------------------------------------------------------------------------ printing
def test_tables_are_aligned():
    frame = pd.DataFrame(
        {
            "name": ["IV", "a longer one"],
            "n": [1234567, 5],
            "score": [0.5, float("nan")],
            "epoch": pd.array([3, None], dtype="Int64"),
            "note": ["x", None],
        }
    )
    assert check.show_table(frame).splitlines() == [
        "name                  n  score  epoch  note",
        "IV            1,234,567  0.500      3     x",
        "a longer one          5      -      -     -",
    ]
    assert check.show_table(frame.head(0)) == "name  n  score  epoch  note"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234, "1,234"),
        (np.int64(1234), "1,234"),
        (0.12345, "0.123"),
        (np.float32(0.5), "0.500"),
        (True, "True"),
        ("I", "I"),
        (None, "-"),
        (pd.NA, "-"),
        (float("nan"), "-"),
    ],
)
def test_cells(value, shown):
    assert check.show_cell(value) == shown


def test_a_genome_of_many_scaffolds_is_cut_short(capsys):
    genes = pd.DataFrame({"chromosome": [f"scaffold_{number}" for number in range(100)], "target": LOW})
    genes = genes.assign(coding=True, sequence_known=True, window_fits=genes.index % 2 == 0, in_table=True)
    audit = {"coding_genes": 100, "start_with_ATG": 0, "share_N": 0.0, "duplicate_windows": 0, "short_genes": 3}
    folds = [SimpleNamespace(name="1", chosen_on=None, training=[1], validation=[], test=[2], held_out=[2])]
    check.print_check(genes, "low: x <= 1; high: >= 2", audit)
    check.print_folds(folds)
    shown = capsys.readouterr().out
    assert shown.count("scaffold_") == 40
    assert "... and 10 more chromosomes and scaffolds with windows" in shown
    assert "itself" in shown


def test_check_prints_funnel_audit_and_folds_and_writes_nothing(tmp_path, capsys):
    random = np.random.default_rng(7)
    genes, chromosomes = [], {}
    for name in ("1", "2", "3"):
        sequence = random_sequence(random, 900)
        for number, at in enumerate(range(100, 760, 60)):
            gene = "ATG" + random_sequence(random, 27)
            strand = "+-"[number % 2]
            gene = gene if strand == "+" else reverse_complement(gene)
            sequence = sequence[:at] + gene + sequence[at + 30 :]
            genes.append(Gene(f"g{name}_{number}", name, at, at + 30, strand))
        chromosomes[name] = sequence
    expression = {gene.gene_id: float(number % 11) for number, gene in enumerate(genes)}
    flags = write_files(tmp_path, chromosomes, genes, expression)
    assert lcre.main([*flags, "--upstream", "50", "--downstream", "20", "--check"]) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.strip()}
    assert rows["all"] == ["33", "33", "33", "33", "33", "9", "15", "9"]
    assert "33 of 33 coding genes (100.0%) have ATG at the TSS" in shown
    assert "0.00% of the window bases" in shown
    assert [line.split() for line in shown.splitlines()[-3:]] == [
        ["1", "2", "11", "6", "6", "11"],
        ["2", "3", "11", "6", "6", "11"],
        ["3", "1", "11", "6", "6", "11"],
    ]
    assert not (tmp_path / "models").exists()
