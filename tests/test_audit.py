"""What homologs in training did to a run: the nearest training gene, auROC by similarity, the verdict, the page."""

import subprocess
import sys
from pathlib import Path

import genomes
import numpy as np
import pandas as pd
import pytest
from builders import one_line, write
from test_homology import hit, refused, start
from test_report import make_run

from core import InputError
from lcre import audit, kmers, records, report

ROOT = Path(__file__).resolve().parents[1]
IDENTITY = audit.MEASURES["identity"]


# ------------------------------------------------------------------------------------------------- k-mers
def test_similar_windows_by_hand():
    random = np.random.default_rng(1)
    windows = random.integers(0, 4, (5, 300)).astype(np.uint8)
    windows[3, 100:200] = windows[1, 20:120]  # 100 bases: 89 of 289 12-mers
    windows[4, :50] = 3 - windows[0, 250:][::-1]  # 50 on the other strand: 39
    windows[2, :] = 4  # nothing known
    first, second, similarity = kmers.find_similar(windows)
    assert list(zip(first, second, strict=True)) == [(0, 4), (1, 3)]
    assert similarity == pytest.approx([39 / 289, 89 / 289], abs=0.004)  # the same 12-mer twice is one
    assert len(kmers.find_similar(windows, 0.2)[0]) == 1
    assert [len(part) for part in kmers.find_similar(windows[:0])] == [0, 0, 0]


def test_similar_windows_are_the_same_in_blocks_and_repeats_do_not_count(monkeypatch):
    random = np.random.default_rng(2)
    windows = random.integers(0, 4, (120, 200)).astype(np.uint8)
    windows[:, :60] = windows[0, :60]  # a repeat in all of them
    windows[70, 100:160] = windows[5, 120:180]
    found = kmers.find_similar(windows)
    assert (found[0].tolist(), found[1].tolist()) == ([5], [70])
    monkeypatch.setattr(kmers, "MOST_COUNTS", 500)  # four windows at once
    for one, other in zip(found, kmers.find_similar(windows), strict=True):
        assert one.tolist() == other.tolist()
    monkeypatch.setattr(kmers, "MOST_BASES", windows.size // 4)
    assert len(kmers.list_kmers(windows, 4)[0]) == pytest.approx(len(kmers.list_kmers(windows)[0]) / 4, rel=0.2)
    sampled = kmers.find_similar(windows)
    assert (sampled[0].tolist(), sampled[1].tolist()) == ([5], [70])
    assert sampled[2][0] == pytest.approx(found[2][0], abs=0.2)


# -------------------------------------------------------------------------------------- the nearest gene
def test_nearest_training_gene_by_hand(tmp_path):
    """Of fold A the test genes are a0 to a3; b0 and b1 train, b2 chose the epoch, so it does not count."""
    folder = records.fold_folder(tmp_path / "toy", "A")
    folder.mkdir()
    roles = dict.fromkeys(["a0", "a1", "a2", "a3"], "test") | {"b0": "train", "b1": "train", "b2": "validation"}
    write(folder / "genes.csv", "gene_id,role\n" + "".join(f"{gene},{role}\n" for gene, role in roles.items()))
    place = {gene: number for number, gene in enumerate(["a0", "a1", "a2", "b0", "b1", "b2"])}
    pairs = pd.DataFrame(
        [(0, 3, 90.0, 80.0), (0, 4, 45.0, 200.0), (1, 5, 99.0, 300.0), (0, 1, 99.0, 400.0), (2, 3, 80.0, 55.0)],
        columns=["first", "second", "identity", "bit_score"],
    )
    scored = pd.DataFrame({"gene_id": ["a0", "a1", "a2", "a3"], "fold": "A", "target": [0, 1, 0, 1]})
    scored["probability"] = [0.1, 0.9, 0.2, 0.8]
    found = audit.find_nearest(tmp_path / "toy", scored, place, pairs, IDENTITY)
    assert found["nearest"].tolist() == ["b1", "", "b0", ""]
    assert found["identity"].fillna(-1).tolist() == [45, -1, 80, -1]
    assert found["bit_score"].fillna(-1).tolist() == [200, -1, 55, -1]
    assert found["bin"].tolist() == ["40-60 %", "none", "80 % or more", "no protein"]
    with pytest.raises(InputError) as error:
        audit.find_nearest(tmp_path / "toy", scored, {"x": 0}, pairs, IDENTITY)
    assert "none of the 4 scored genes" in one_line(error)


def make_found(*groups: tuple) -> pd.DataFrame:
    """Rows of (genes, identity, how many pairs of low and high genes are in the wrong order)."""
    parts = []
    for number, identity, wrong in groups:
        target = np.repeat([0, 1], number // 2)
        probability = np.where(target, 0.9, 0.1)
        probability[:wrong] = 0.95  # low genes above all high ones
        part = pd.DataFrame({"target": target, "probability": probability, "identity": float(identity)})
        parts.append(part)
    found = pd.concat(parts, ignore_index=True)
    return found.assign(bin=IDENTITY.sort(found["identity"].to_numpy()))


def test_table_and_verdict_by_hand():
    """40 close relatives are all right; of 60 other genes 9 of 30 low ones lie above all high ones: auROC .7."""
    found = make_found((40, 90, 0), (40, np.nan, 6), (20, 30, 3))
    table = audit.tabulate(found, IDENTITY).set_index("bin")
    assert list(table.index) == [*IDENTITY.bins, *audit.SUMMARY]
    assert table["genes"].tolist() == [40, 20, 0, 0, 40, 40, 60, 100]
    assert table["low"].tolist() == [20, 10, 0, 0, 20, 20, 30, 50]
    known = {
        "none": 0.7,
        "below 40 %": 0.7,
        "80 % or more": 1,
        "close relative": 1,
        "no close relative": 0.7,
        "all": 0.82,
    }
    assert table.loc[list(known), "auROC"].tolist() == pytest.approx(list(known.values()))
    assert table["auROC"].isna().sum() == 2
    assert (table["auROC_low"] <= table["auROC"]).sum() == 6
    row = table.loc["all"]
    assert row["difference"] == pytest.approx(0.12)
    assert 0.02 < row["difference_low"] < 0.12 < row["difference_high"] < 0.25
    text = audit.describe(table.reset_index())
    assert text.startswith("40 of 100 scored genes (40.0%) have a close relative")
    assert "without these the auROC is 0.700 instead of 0.820" in text
    assert text.endswith("close relatives flatter the score.")


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([(40, np.nan, 6), (20, 30, 3)], "None of the 60 scored genes has a close relative"),
        ([(20, 30, 3)], "20 have a more distant one."),
        ([(40, 90, 6), (40, np.nan, 6)], "cannot be told from chance"),
        ([(40, 90, 15), (60, np.nan, 0)], "harder to tell apart"),
        ([(40, 90, 0)], "no auROC without them"),
    ],
)
def test_verdicts(groups, says):
    assert says in audit.describe(audit.tabulate(make_found(*groups), IDENTITY))


def test_bins_of_values_on_their_edges():
    values = np.array([np.nan, 0, 39.9, 40, 59.9, 60, 80, 100])
    none, below, middle, upper, top = IDENTITY.bins
    assert IDENTITY.sort(values).tolist() == [none, below, below, middle, middle, upper, top, top]


# ------------------------------------------------------------------------------------- the whole command
@pytest.fixture
def toy(tmp_path) -> tuple[Path, pd.DataFrame]:
    """A finished run of two folds and its genes; the first five rows have no class."""
    prefix = make_run(tmp_path, "toy", {"1": 120, "2": 120}, settings={"UPSTREAM": 60, "DOWNSTREAM": 40, "PADDING": 4})
    found = report.read_run(prefix).scored
    return prefix, found


def test_audit_from_hits_writes_tables_and_the_page(toy, capsys, monkeypatch):
    prefix, scored = toy
    mine = scored.loc[scored["fold"] == "1", "gene_id"].tolist()
    theirs = scored.loc[scored["fold"] == "2", "gene_id"].tolist()[10:]  # the first ten choose the epoch
    pairs = zip(mine[:30], theirs, strict=False)
    text = "".join(hit(one, other, 85) for one, other in pairs)
    write(prefix.parent / "hits.tsv", text + hit(mine[40], mine[41], 99) + hit(mine[40], theirs[0], 30))
    assert "Homologs in training" not in report.build_page(report.read_run(prefix))
    done = start(prefix.parent, capsys, monkeypatch, "--audit", "toy", "--hits", "hits.tsv")
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(f"{prefix}_audit.csv", keep_default_na=False).set_index("gene_id")
    assert list(found.columns) == ["fold", "target", "probability", "nearest", "identity", "bit_score", "bin"]
    assert len(found) == len(scored)
    assert found.loc[mine[3], ["nearest", "bin"]].tolist() == [theirs[3], "80 % or more"]
    assert found.loc[mine[40], ["nearest", "bin"]].tolist() == [theirs[0], "below 40 %"]
    table = pd.read_csv(f"{prefix}_audit_bins.csv").set_index("bin")
    assert table.loc["close relative", "genes"] == (found["bin"] == "80 % or more").sum()
    assert table.loc["close relative", "genes"] == 30 + 20  # in fold 2 the first ten of fold 1 choose the epoch
    assert "have a close relative among the genes that trained their fold" in done.stdout
    html = Path(f"{prefix}_report.html").read_text()
    assert "Homologs in training" in html
    assert "instead of" in html
    assert "of which" not in html
    with open(f"{prefix}_audit_bins.csv", "a") as file:
        file.write("more,identity,1,,,,,,,,\n")
    again = report.read_run(prefix)
    with pytest.raises(InputError) as error:
        report.build_page(again)
    assert "--audit" in one_line(error)


def test_audit_from_windows_finds_the_copied_one(toy, capsys, monkeypatch):
    """Genes of 200 bp, 320 bp apart, in the order of the predictions; one window of fold 1 is copied into fold 2."""
    prefix, scored = toy
    random = np.random.default_rng(3)
    ids = pd.read_csv(f"{prefix}_genes.csv")
    genes, chromosomes = [], {}
    for name, part in ids.groupby("chromosome", sort=False):
        chromosomes[str(name)] = genomes.random_sequence(random, 320 * len(part) + 100)
        for number, gene in enumerate(part["gene_id"]):
            genes.append(genomes.Gene(gene, str(name), 100 + 320 * number, 300 + 320 * number, "+"))
    place = {gene.gene_id: gene for gene in genes}
    roles = pd.read_csv(records.fold_folder(prefix, "1") / "genes.csv").set_index("gene_id")["role"]
    one = place[roles.index[roles == "test"][17]]
    other = place[roles.index[roles == "train"][9]]
    text = chromosomes["2"]
    copied = chromosomes["1"][one.start - 60 : one.end + 60]
    chromosomes["2"] = text[: other.start - 60] + copied + text[other.end + 60 :]
    fasta = genomes.write_fasta(prefix.parent / "toy.fa", chromosomes)
    gtf = genomes.write_gtf(prefix.parent / "toy.gtf", genes)
    done = start(prefix.parent, capsys, monkeypatch, "--audit", "toy", "--fasta", fasta, "--gtf", gtf)
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(f"{prefix}_audit.csv", keep_default_na=False).set_index("gene_id")
    near = found[found["bin"] != "none"]
    assert near.loc[one.gene_id, "nearest"] == other.gene_id
    assert float(near.loc[one.gene_id, "similarity"]) == 100
    assert len(near) == 2  # the other one is tested in fold 2, where the first trains
    assert near["bin"].unique().tolist() == ["40 % or more"]
    assert "12-mers shared by the windows" in Path(f"{prefix}_report.html").read_text()


def test_runs_and_files_that_do_not_fit_are_refused(toy, capsys, monkeypatch):
    prefix, scored = toy
    folder = prefix.parent
    write(folder / "hits.tsv", hit("AT1G01010", "AT1G01020"))
    before = sorted(path.name for path in folder.iterdir())
    here = (folder, capsys, monkeypatch)
    assert "no run at nobody" in refused(start(*here, "--audit", "nobody", "--hits", "hits.tsv"))
    assert "2 of 2 ids" in refused(start(*here, "--audit", "toy", "--hits", "hits.tsv"))
    genomes.write_fasta(folder / "x.fa", {"1": "ACGT" * 200})
    genomes.write_gtf(folder / "x.gtf", [genomes.Gene("AT1G01010", "1", 100, 300)])
    said = refused(start(*here, "--audit", "toy", "--fasta", "x.fa", "--gtf", "x.gtf"))
    assert "none of the" in said
    assert sorted({path.name for path in folder.iterdir()} - {"x.fa", "x.gtf"}) == before
    done = subprocess.run(
        [sys.executable, ROOT / "lcre_homology.py", "--audit", "no/run", "--hits", folder / "hits.tsv"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "no run at no/run" in refused(done)
