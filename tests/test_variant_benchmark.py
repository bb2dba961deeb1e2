"""The benchmark of effects of variants: places, counts, regressions and choices known by hand."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import write

from lcre_classifier import WindowLayout

ROOT = Path(__file__).resolve().parents[1]
specification = importlib.util.spec_from_file_location("variants_benchmark", ROOT / "benchmarks/variants.py")
benchmark = importlib.util.module_from_spec(specification)
sys.modules["variants_benchmark"] = benchmark
specification.loader.exec_module(benchmark)


def test_reverse_complements_are_numbered():
    assert benchmark.reverse_numbers(2).tolist()[:5] == [15, 11, 7, 3, 14]  # AA TT, AC GT, AG CT, AT AT, CA TG


def test_kmers_of_both_strands_are_one():
    """AAAC has AA twice and AC once; GTTT the same on the other strand."""
    codes = np.array([[0, 0, 0, 1], [2, 3, 3, 3]], np.uint8)
    padded = np.full((2, benchmark.REACH), 4, np.uint8)
    padded[:, -4:] = codes
    counts = benchmark.count_promoters(padded, 2, True, [(0, 4)])
    assert counts.shape == (2, 10)  # 16 2-mers, of which AT, CG, GC and TA are their own complements
    assert np.array_equal(counts[0], counts[1])
    assert counts[0].tolist()[:2] == [2, 1]


def test_variants_stand_on_the_strand_of_their_gene():
    layout = WindowLayout(upstream=6, downstream=4, padding=2)
    genes = pd.DataFrame({"gene_id": ["a", "b"], "start": [20, 20], "end": [40, 40], "strand": ["+", "-"]})
    codes = np.zeros((2, layout.columns), np.uint8)  # A on the gene's strand
    table = pd.DataFrame(
        {"gene": ["a", "b", "b", "c"], "pos": [18, 43, 43, 18], "ref": ["A", "T", "A", "A"], "alt": list("CGCC")}
    )
    placed = benchmark.place_variants(table, genes, codes, layout)
    # a: position 17 is 3 bp before the TSS; b: position 42 is 2 bp behind its last base, 39, and so 3 bp before its TSS
    assert placed[["row", "column", "base", "other"]].to_numpy().tolist() == [[0, 3, 0, 1], [1, 3, 0, 1]]


@pytest.fixture
def promoters():
    """400 genes in two groups, whose expression counts CCC in the last 100 bp; variants break or add one."""
    random = np.random.default_rng(1)
    codes = random.choice([0, 1, 2, 3], (400, benchmark.REACH), p=[0.3, 0.2, 0.2, 0.3]).astype(np.uint8)
    codes[:, -50:-45] = 0
    codes[200:, -49:-46] = 1
    table = pd.DataFrame({"row": np.arange(400), "other": [1] * 200 + [0] * 200})
    codes[:200, [-49, -47]] = 1
    column = np.full(400, benchmark.REACH - 48)
    groups = np.arange(400) % 2
    made = benchmark.Promoters(table, codes, groups, column)
    target = ((codes[:, -100:-2] == 1) & (codes[:, -99:-1] == 1) & (codes[:, -98:] == 1)).sum(axis=1).astype(float)
    return made, target


@pytest.mark.parametrize("composition", [False, True])
def test_regressions_find_what_expression_depends_on(promoters, composition):
    made, target = promoters
    effects = made.regress(target, [(3, False, [(0, 100)])], composition)
    assert (effects[:200] > 0).all()
    assert (effects[200:] < 0).all()


def test_common_kmers_need_no_expression(promoters):
    made, _ = promoters
    made.promoters[:, -300:-100] = 0  # AAAAAA is common
    made.changed = made.promoters[made.row].copy()
    made.changed[:, -200] = 1
    assert (made.enrich(3) < 0).all()


def test_choice_is_made_on_other_groups():
    """`good` is right but in group 0, where `bad` is right: group 0 gets `good`, as the others say."""
    random = np.random.default_rng(1)
    measured, group = random.normal(size=90), np.repeat([0, 1, 2], 30)
    table = pd.DataFrame({"measured": measured, "significant": True})
    effects = {"bad": np.where(group == 0, measured, -measured), "good": np.where(group == 0, -measured, measured)}
    chosen, names = benchmark.choose(table, effects, group, 0)
    assert names[0] == "good"
    assert np.corrcoef(chosen[group == 0], measured[group == 0])[0, 1] == pytest.approx(-1)


def test_a_table_without_its_columns_is_one_line(tmp_path, capsys):
    path = write(tmp_path / "v.tsv", "chrom\tpos\tref\talt\n1\t5\tA\tC\n")
    demo = ROOT / "data/demo"
    flags = ["--variants", str(path), "--models", str(tmp_path / "none")]
    for name, file in (("fasta", "demo.fa.gz"), ("gtf", "demo.gtf.gz"), ("tpm", "demo_tpm.csv")):
        flags += [f"--{name}", str(demo / file)]
    assert benchmark.main(flags) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no column gene, log2_fold_change, label (it has chrom, pos, ref, alt)" in said
