"""The bundled demo genome is what its truth says, and what data/make_demo.py writes."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import make_demo

DEMO = Path(__file__).resolve().parents[1] / "data/demo"


@pytest.fixture(scope="module")
def genome() -> dict[str, str]:
    records = gzip.decompress((DEMO / "demo.fa.gz").read_bytes()).decode().split(">")[1:]
    return {record.split()[0]: "".join(record.split("\n")[1:]) for record in records}


@pytest.fixture(scope="module")
def genes() -> pd.DataFrame:
    text = gzip.decompress((DEMO / "demo.gtf.gz").read_bytes()).decode()
    rows = [line.split("\t") for line in text.splitlines() if "\tgene\t" in line]
    return pd.DataFrame(
        {
            "gene_id": [row[8].split('"')[1] for row in rows],
            "chromosome": [row[0] for row in rows],
            "start": [int(row[3]) - 1 for row in rows],
            "end": [int(row[4]) for row in rows],
            "strand": [row[6] for row in rows],
        }
    ).set_index("gene_id")


@pytest.fixture(scope="module")
def truth() -> pd.DataFrame:
    return pd.read_csv(DEMO / "truth.csv", comment="#", keep_default_na=False).set_index("gene_id")


def test_written_again_it_is_the_same(tmp_path):
    make_demo.write_demo(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in DEMO.iterdir()}
    for path in tmp_path.iterdir():
        new, old = path.read_bytes(), (DEMO / path.name).read_bytes()
        if path.suffix == ".gz":  # another zlib may pack otherwise
            new, old = gzip.decompress(new), gzip.decompress(old)
        assert new == old, path.name


def test_size_and_names(genome, genes):
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 4e6
    assert list(genome) == ["1", "2", "3", "4", "5"]
    assert set(genes["strand"]) == {"+", "-"}


def test_elements_stand_where_the_truth_says(genome, genes, truth):
    """Every element of the first 500 genes, read from the genome by its position and orientation."""
    sequences = {element.name: element.sequence for element in make_demo.ELEMENTS}
    swap = str.maketrans("ACGT", "TGCA")
    seen = set()
    for gene, row in truth.head(500).iterrows():
        place = genes.loc[gene]
        for entry in filter(None, row["elements"].split(";")):
            name, region, position, orientation, _ = entry.split(":")
            width = len(sequences[name])
            if place["strand"] == "+":
                begin = (place["start"] if region == "promoter" else place["end"]) + int(position)
            else:
                begin = (place["end"] if region == "promoter" else place["start"]) - int(position) - width
            found = genome[place["chromosome"]][begin : begin + width]
            turned = (place["strand"] == "-") != (orientation == "-")
            expected = sequences[name].translate(swap)[::-1] if turned else sequences[name]
            assert found == expected, (gene, entry)
            seen.add((name, orientation, place["strand"]))
    assert len(seen) == 10 * 2 * 2


def test_expression_follows_from_the_elements(truth):
    """1.5 + 0.45 x the sum of effect x weight, up to the two decimals that weights are written with."""
    effects = {element.name: element.effect for element in make_demo.ELEMENTS}
    for _, row in truth.head(200).iterrows():
        parts = [entry.split(":") for entry in filter(None, row["elements"].split(";"))]
        level = 1.5 + 0.45 * sum(effects[name] * float(weight) for name, _, _, _, weight in parts)
        assert row["expected"] == pytest.approx(level, abs=0.01)


def test_truth_states_its_auroc(truth):
    from sklearn.metrics import roc_auc_score

    low, high = truth["logMaxTPM"].quantile([0.25, 0.75])
    outer = truth[(truth["logMaxTPM"] <= low) | (truth["logMaxTPM"] >= high)]
    stated = float((DEMO / "truth.csv").read_text().split("\n")[0].rsplit(" ", 1)[1])
    assert roc_auc_score(outer["logMaxTPM"] >= high, outer["expected"]) == pytest.approx(stated, abs=1e-4)
    assert 0.95 < stated < 1


@pytest.fixture(scope="module")
def proteins() -> pd.Series:
    """The translation of each CDS line, read as other programs read it."""
    from core.annotation import read_annotation
    from lcre.homology import translate_genes

    table, _ = read_annotation(DEMO / "demo.gtf.gz")
    found, notes = translate_genes(DEMO / "demo.fa.gz", DEMO / "demo.gtf.gz", table)
    assert notes == ["4,383 genes are translated from their CDS lines"]
    return pd.Series(found).set_axis(table["gene_id"].to_numpy()[list(found)])


def test_coding_genes_have_reading_frames(truth, proteins):
    """From ATG, without a stop codon inside, over at least 80 % of each gene's 150 bp or more."""
    assert set(proteins.index) == set(truth.index)
    assert set(proteins.str[0]) == {"M"}
    assert proteins.str.len().min() >= 0.8 * 150 / 3 - 2


def test_codons_do_not_tell_expression(truth, proteins):
    """Amino acids of low and high genes without relatives: no frequency differs by more than chance among 20."""
    alone = pickle.loads((DEMO / "validation_genes.pickle").read_bytes())["demo"]
    low, high = truth["logMaxTPM"].quantile([0.25, 0.75])
    counts = [
        pd.Series(list("".join(proteins[proteins.index.isin(truth.index[outer]) & proteins.index.isin(alone)])))
        for outer in (truth["logMaxTPM"] <= low, truth["logMaxTPM"] >= high)
    ]
    table = pd.DataFrame([part.value_counts() for part in counts]).to_numpy()
    assert table.shape == (2, 20)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 43.8  # of 19 degrees of freedom, p = .001


def test_members_of_a_family_have_related_proteins(truth, proteins):
    """Genes with the same four elements or more: those with relatives share most amino acids, the others few."""
    alone = set(pickle.loads((DEMO / "validation_genes.pickle").read_bytes())["demo"])
    related = truth[~truth.index.isin(alone) & (truth["elements"].str.count(";") >= 3)]
    identities = []
    for _, members in related.groupby("elements"):
        first, *others = members.index
        identities += [
            np.mean([a == b for a, b in zip(proteins[first], proteins[other], strict=False)]) for other in others
        ]
    assert len(identities) > 100
    assert min(identities) > 0.6
    assert 0.8 < np.mean(identities) < 0.9


def test_table_and_validation_genes(truth):
    table = pd.read_csv(DEMO / "demo_tpm.csv").set_index("gene_id")
    assert list(table.index) == list(truth.index)
    assert list(table["logMaxTPM"]) == list(truth["logMaxTPM"])
    alone = pickle.loads((DEMO / "validation_genes.pickle").read_bytes())
    assert list(alone) == ["demo"]
    assert set(alone["demo"]) < set(truth.index)
    # members of a family carry the same elements; no listed gene does so with a gene of another chromosome
    listed = truth.loc[alone["demo"]]
    listed = listed[listed["elements"].str.count(";") >= 3]
    shared = truth[truth["elements"].isin(listed["elements"])].groupby("elements")["chromosome"].nunique()
    assert (shared == 1).all()
