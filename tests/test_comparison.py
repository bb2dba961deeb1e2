"""Two runs compared: differences known by hand, runs that cannot be compared, the page and the table."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import one_line
from runs import HOSTILE
from test_report import FOUR, check_page, make_run

import lcre_report
from core import InputError, show_value
from core.figures import clean_text
from lcre import comparison

RIGHT = FOUR.assign(probability=[0.1, 0.2, 0.7, 0.9, 0.5])  # the same genes, low ones below high ones
NAN = float("nan")


def make_pair(folder: Path, first=FOUR, second=RIGHT, **record) -> tuple[Path, Path]:
    """Write two runs, named one and two, and return their prefixes; `record` is of the second."""
    return make_run(folder, "one", genes=first, epochs=2), make_run(folder, "two", genes=second, epochs=2, **record)


def compare(*prefixes: Path) -> tuple[str, str]:
    """Compare two runs by the script and return the page's HTML and text."""
    assert lcre_report.main([str(prefix) for prefix in prefixes]) == 0
    return check_page(prefixes[0].with_name(f"{prefixes[0].name}_vs_{prefixes[1].name}.html"))


def two_folds(genes: int = 60, seed: int = 1, **more) -> pd.DataFrame:
    """Genes on chromosomes 2 and 4 with probabilities drawn at random."""
    random = np.random.default_rng(seed)
    target = np.arange(genes) % 2
    frame = {"gene_id": [f"g{i}" for i in range(genes)], "chromosome": np.repeat(["2", "4"], genes // 2)}
    frame |= {"target": target, "logMaxTPM": target + 0.5, "probability": random.random(genes).round(3)}
    return pd.DataFrame(frame | more)


def test_four_genes_by_hand(tmp_path):
    """Run one ranks three of four pairs rightly, run two all.

    Placements of run one less those of run two: (-1/2, 0) at the high genes, (0, -1/2) at the low ones; variance 1/8
    over two genes, twice: error sqrt(1/8), z = -.7071, p = .4795.
    """
    found = comparison.compare_runs(*make_pair(tmp_path), draws=20)
    pooled = found.pooled
    assert (pooled.name, pooled.genes, pooled.auroc_A, pooled.auroc_B) == ("pooled", 4, 0.75, 1)
    assert pooled.difference == -0.25
    assert (pooled.low, pooled.high) == pytest.approx((-0.25 - 0.6930, -0.25 + 0.6930), abs=1e-4)
    assert pooled.p == pytest.approx(0.4795, abs=1e-4)
    assert -1 <= pooled.bootstrap_low <= -0.25 <= pooled.bootstrap_high <= 0
    assert [row.name for row in found.folds] == ["1"]
    assert found.folds[0].difference == -0.25
    assert found.genes["gene_id"].tolist() == [*"abcd"]
    assert found.genes["called_A"].tolist() == [0, 0, 0, 1]
    assert found.genes["called_B"].tolist() == [0, 0, 1, 1]
    assert found.genes["changed_side"].tolist() == [0, 0, 1, 0]
    assert [part["gene_id"].tolist() for part in found.only_right] == [[], ["c"]]
    assert found.remarks == []


def test_script_prints_and_writes(tmp_path, capsys):
    prefixes = make_pair(tmp_path, UPSTREAM=500)
    before = set(tmp_path.iterdir())
    _, text = compare(*prefixes)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "one_vs_two.html", tmp_path / "one_vs_two.csv"}
    said = "two is 0.250 above one (95 % interval −0.443 to 0.943, p = 0.48): pooled auROC 1.000 against 0.750 on the "
    assert f"{said}same 4 genes. The two runs cannot be told apart" in text
    assert "1 gene of 4 changed side" in text
    assert "one is right about 0 of them and two about 1" in text
    assert "has p = 1.00 (McNemar's exact test). Accuracy: one 75.0 %, two 100.0 %" in text
    assert re.search(r"two right two wrong one right 3 75.0.% 0 0.0.% one wrong 1 25.0.% 0 0.0.%", text)
    assert "c 1 high 0.350 0.700" in text
    table = pd.read_csv(tmp_path / "one_vs_two.csv")
    assert list(table.columns) == list(comparison.COLUMNS)
    assert table.iloc[2].tolist() == ["c", 1, 1, 1, 1.8, 0.35, 0.7, 0, 1, 1]
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"A: {prefixes[0]}", f"B: {prefixes[1]}"]
    assert told[4].split()[:6] == ["pooled", "4", "0.750", "1.000", "-0.250", "-0.943"]
    assert told[5].startswith("two is 0.250 above one (95 % interval -0.443 to 0.943, p = 0.48)")
    assert [line.split(" (")[0] for line in told[-2:]] == [f"{tmp_path}/one_vs_two.{kind}" for kind in ("html", "csv")]


def test_either_order_says_the_same(tmp_path):
    one, two = make_pair(tmp_path)
    found, turned = comparison.compare_runs(one, two, draws=20), comparison.compare_runs(two, one, draws=20)
    assert comparison.describe_difference(found) == comparison.describe_difference(turned)
    assert turned.pooled.difference == 0.25
    assert turned.pooled.low == -found.pooled.high


def test_equal_runs_do_not_differ(tmp_path):
    found = comparison.compare_runs(*make_pair(tmp_path, FOUR, FOUR), draws=20)
    assert (found.pooled.difference, found.pooled.p, found.pooled.bootstrap_p) == (0, 1, 1)
    assert (
        "one is level with two (95\xa0% interval 0.000 to 0.000, p = 1.00)" in comparison.describe_difference(found)[0]
    )
    assert "none of" not in comparison.build_page(found)
    assert "0 genes of 4 changed side" in comparison.build_page(found)


@pytest.mark.parametrize(
    ("p", "bootstrap", "says"),
    [
        (0.03, (0.001, 0.02), "can be told apart: one ranks these genes better"),
        (1e-9, (0.001, 0.02), "can be told apart: one ranks"),
        (0.07, (-0.001, 0.02), "cannot be told apart"),
        (0.06, (0.001, 0.02), "do not agree"),
        (0.04, (-0.001, 0.02), "do not agree"),
        (NAN, (-0.001, 0.02), "too few genes for a test"),
    ],
)
def test_verdict(tmp_path, p, bootstrap, says):
    found = comparison.compare_runs(*make_pair(tmp_path), draws=2)
    row = dataclasses.replace(found.pooled, difference=0.01, low=0, high=0.02, p=p)
    row = dataclasses.replace(row, bootstrap_low=bootstrap[0], bootstrap_high=bootstrap[1])
    first, second = comparison.describe_difference(dataclasses.replace(found, rows=[row]))
    assert says in second
    assert ("p < 0.0001" in first) == (p < 1e-4)


def test_genes_that_one_run_scores_are_left_out_and_counted(tmp_path):
    more = pd.concat([FOUR, FOUR[:1].assign(gene_id="e"), FOUR[:1].assign(gene_id="f", probability=np.nan)])
    less = RIGHT.assign(probability=[0.1, 0.2, np.nan, 0.9, 0.5])
    found = comparison.compare_runs(*make_pair(tmp_path, more, less), draws=2)
    assert found.genes["gene_id"].tolist() == [*"abd"]
    assert found.remarks == ["2 genes of 5 scored by one but not by two are left out."]
    assert "2 genes of 5 scored by one" in comparison.build_page(found)


def test_a_run_may_lack_folds_of_the_other(tmp_path):
    genes = two_folds()
    found = comparison.compare_runs(*make_pair(tmp_path, genes, genes[genes["chromosome"] == "4"]), draws=2)
    assert [row.name for row in found.rows] == ["pooled", "4"]
    assert found.remarks == [
        "30 genes of 60 scored by one but not by two are left out, all of its fold '2' among them."
    ]


def test_a_fold_of_one_class_has_no_difference(tmp_path):
    genes = two_folds()
    genes = genes[(genes["chromosome"] == "2") | (genes["target"] == 1)]
    found = comparison.compare_runs(*make_pair(tmp_path, genes, genes.assign(probability=0.5)), draws=20)
    assert np.isnan(found.rows[2].difference)
    assert "4 15 – – – – – – –" in compare(tmp_path / "one", tmp_path / "two")[1]
    assert re.search(r"\n4 +15( +-){7}\n", comparison.show_comparison(found))


ONE_CLASS = FOUR.assign(probability=[NAN, NAN, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (
            FOUR,
            FOUR.assign(target=[0, 1, 0, 1, 2]),
            "other labels for 2 of 5 common genes ('b: low and high', 'c: high",
        ),
        (FOUR, FOUR.assign(target=[0, 0, 1, 1, 1]), "('m: middle and high'); train both with the same expression"),
        (FOUR, FOUR.assign(target=[0, 0, 1, 1, np.nan]), "('m: middle and without a value')"),
        (FOUR, FOUR.assign(gene_id=[*"vwxyz"]), "have no gene in common; compare runs on one annotation"),
        (FOUR, FOUR.assign(fold="1+2"), "have other folds: '1' of the first are not in the second, and '1+2' of"),
        (
            two_folds(),
            two_folds(fold=["4"] * 9 + ["2"] * 51),
            "hold out 39 of 60 common genes in other folds ('g0: 2 an",
        ),
        (two_folds()[:30], two_folds()[30:], "have no gene in common"),
        (two_folds(), two_folds(fold=["2"] * 30 + ["5"] * 30), "have other folds: '4' of the first"),
        (ONE_CLASS, FOUR, "the 2 genes that both .* score are all high"),
        (
            FOUR.assign(probability=[0.1, NAN, 0.35, NAN, 0.6]),
            FOUR.assign(probability=[NAN, 0.4, NAN, 0.8, 0.6]),
            "no gene is sc",
        ),
    ],
)
def test_runs_that_cannot_be_compared(tmp_path, capsys, first, second, says):
    prefixes = make_pair(tmp_path, first, second)
    before = set(tmp_path.iterdir())
    with pytest.raises(InputError, match=re.escape(says).replace(r"\.\*", ".*")) as error:
        comparison.compare_runs(*prefixes)
    assert str(prefixes[1]) in one_line(error)
    assert lcre_report.main([str(prefix) for prefix in prefixes]) == 2
    assert set(tmp_path.iterdir()) == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "pattern", "says"),
    [
        ("predictions", r"0\.\d+$", "two_predictions.csv has no probability for any test gene"),
        ("result", "pooled", "two_result.csv has no row `pooled` below its folds: the run is unfinished"),
    ],
)
def test_a_run_without_numbers_or_unfinished_is_refused_as_by_its_own_page(tmp_path, name, pattern, says):
    prefixes = make_pair(tmp_path)
    path = Path(f"{prefixes[1]}_{name}.csv")
    path.write_text(re.sub(f"(?m){pattern}", "", path.read_text()))
    with pytest.raises(InputError, match=re.escape(says)):
        comparison.compare_runs(*prefixes)


def test_other_misuse_is_one_line_and_writes_nothing(tmp_path, capsys):
    one, two = map(str, make_pair(tmp_path))
    (tmp_path / "mine.csv").write_text("gene_id,mine\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for argv, says in (
        ([one, one], "is compared with itself"),
        ([one, f"{tmp_path}/x/../two/../one"], "is compared with itself"),
        ([one, f"{tmp_path}/three"], "no run at"),
        ([one, two, "--out", f"{tmp_path}/page"], "needs a name that ends in .html"),
        ([one, two, "--out", f"{tmp_path}/none/page.html"], "there is no folder"),
        ([one, two, "--out", f"{one}_report.html"], "would take the place of a file of the run"),
        ([one, two, "--out", f"{two}_predictions.html"], "would take the place of a file of the run"),
        ([one, two, "--out", f"{tmp_path}/mine.html"], "is no table of a comparison"),
    ):
        assert lcre_report.main(argv) == 2
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        assert says in told.err, argv
    with pytest.raises(SystemExit) as left:
        lcre_report.main([one, "--out", f"{tmp_path}/page.html"])
    assert left.value.code == 2
    assert "--out is for a comparison" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    prefixes = [
        make_run(tmp_path / name, "yeast", genes=genes, epochs=2) for name, genes in (("a", FOUR), ("b", RIGHT))
    ]
    assert comparison.compare_runs(*prefixes, draws=2).names == tuple(map(str, prefixes))
    out = tmp_path / "both.html"
    for _ in range(2):  # a comparison may be written again
        assert lcre_report.main([*map(str, prefixes), "--out", str(out)]) == 0
    assert (tmp_path / "both.csv").exists()
    assert show_value(prefixes[1]) in check_page(out)[1]


def test_what_differs_is_named_and_nothing_else(tmp_path):
    prefixes = make_pair(tmp_path)
    path = Path(f"{prefixes[1]}_run.json")
    record = json.loads(path.read_text())
    record["settings"] |= {"UPSTREAM": 250, "FASTA": "elsewhere/one.fa.gz", "CONTROL": "inside", "LATER": None}
    record["inputs"]["TPM"]["sha256"] = "d" * 64
    record["versions"]["keras"] = "3.9.0"
    record |= {"seconds": 71, "finished": None}
    path.write_text(json.dumps(record))
    _, text = compare(*prefixes)
    facts = text[text.index("What differs between the runs") : text.index("Written from the files")]
    for row in (
        "UPSTREAM 1000 250",
        "CONTROL – inside",
        "TPM counts.csv, SHA-256 cccccccccccc… counts.csv, SHA-256 dddddddddddd…",
        "keras 3.15.1 3.9.0",
        "finished 21 November 2026, 10:13 UTC –",
        "time 13 min 32 s 1 min 11 s",
    ):
        assert row in facts
    for name in ("DOWNSTREAM", "LATER", "ORGANISM", "FASTA", "GTF", "python", "device", "genes scored"):
        assert name not in facts


def test_warnings_of_the_runs_stand_on_the_page(tmp_path):
    prefixes = [
        make_run(tmp_path, name, folds={"1": 90, "2": 90}, epochs=2, validation=name == "one")
        for name in ("one", "two")
    ]
    _, text = compare(*prefixes)
    assert "Both runs: No validation list" in text
    assert "two: SELECT_ON=test" in text
    assert "one: SELECT_ON" not in text
    assert "two (optimistic) chose its epoch on the very genes that are scored" in text
    for name in ("auROC", "Accuracy: one .*,"):
        assert re.search(rf"{name} two \(optimistic\) ", text)
        assert not re.search(rf"{name} two \d", text)


def test_long_names_are_a_and_b_in_figures_and_tables(tmp_path):
    long = "a_run_with_a_long_name"
    page, text = compare(
        make_run(tmp_path, "one", genes=FOUR, epochs=2), make_run(tmp_path, long, genes=RIGHT, epochs=2)
    )
    assert f"{long} is 0.250 above one" in text
    assert f"A: one · B: {long}" in text
    assert "auROC A auROC B" in text
    assert ">B alone right: 1</text>" in page


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    names = {"".join(letter for letter in name if letter not in "\0\ud800\n") or "x" for name in HOSTILE.values()}
    genes = pd.DataFrame({"gene_id": sorted(names), "chromosome": "<i>&1", "logMaxTPM": 1.0})
    genes["target"] = np.arange(len(genes)) % 2
    organisms = "<b>&\"'x", "$x^{2}$ <i>"
    prefixes = [
        make_run(tmp_path, name, genes=genes.assign(probability=np.abs(genes["target"] - chance)), epochs=2)
        for name, chance in zip(organisms, (0.1, 0.8), strict=True)
    ]
    page, text = compare(*prefixes)
    for name in names:  # all changed side
        assert " ".join(clean_text(show_value(name)).split()) in text
    assert "<script>" not in page
    assert "<i>&1" in text
    assert not re.search("<b>&|<i>&", page)
    assert all(name in text for name in organisms)


def test_the_genes_with_the_largest_difference_come_first_and_are_twenty(tmp_path):
    first, second = (two_folds(100, seed) for seed in (1, 2))
    found = comparison.compare_runs(*make_pair(tmp_path, first, second), draws=2)
    for part in found.only_right:
        assert (part["probability_A"] - part["probability_B"]).abs().is_monotonic_decreasing
        assert len(part) > comparison.LISTED_GENES
    ours, theirs = found.only_right
    assert (ours["called_A"] == ours["target"]).all()
    assert (theirs["called_B"] == theirs["target"]).all()
    assert len(ours) + len(theirs) == found.genes["changed_side"].sum()
    page = comparison.build_page(found)
    assert f"<h3>one alone is right: {len(ours)} genes</h3>" in page
    listed = comparison.list_genes(ours, ("one", "two"), "title")[0].rows
    assert [row[0] for row in listed] == ours["gene_id"].tolist()[:20]


def test_a_clear_difference_is_found_and_drawn(tmp_path):
    """One run follows the target, the other chance; of two folds, each is in the figure."""
    good = two_folds(200)
    good["probability"] = (0.25 * good["probability"] + 0.5 * good["target"] + 0.1).round(3)
    page, text = compare(*make_pair(tmp_path, good, two_folds(200, seed=3)))
    assert "The two runs can be told apart: one ranks these genes better." in text
    assert "p < 0.0001" in text
    assert "one is above two in 2 of 2 folds" in text
    assert page.count('aria-label="Difference in auROC by fold: pooled +0.') == 1
    labels = re.findall(r'aria-label="(Probability of high of [^"]*)"', page)
    assert [re.search("that are (low|high)", label)[1] for label in labels] == ["low", "high"]
    assert "ROC curves of both runs on the same 200 genes: auROC one 1.000, two 0.4" in page
