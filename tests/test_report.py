"""The page of a run: numbers known by hand, hostile names, runs at their smallest and largest."""

import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import DAMAGE, HOSTILE, of_older_version
from sklearn.metrics import average_precision_score, roc_auc_score

import lcre_report
from core import scores, show_value
from core.figures import clean_text
from lcre import records, report

RESULT = ["chromosome", "accuracy", "auROC", "auPR", "organism", "training_size", "validation_size", "test_size"]
RESULT += ["best_epoch", "auROC_low", "auROC_high", "kmer_auROC", "gc_auROC", "auROC_optimistic", "seconds"]
VOID = {"meta", "br", "link", "img", "hr", "input"}


def score(frame: pd.DataFrame, **more) -> dict:
    """A row of the result table from frame columns target and probability."""
    value = roc_auc_score(frame["target"], frame["probability"]) if frame["target"].nunique() == 2 else ""
    half = 1 / math.sqrt(len(frame))
    return {
        "accuracy": ((frame["probability"] > 0.5) == frame["target"]).mean(),
        "auROC": value,
        "auPR": average_precision_score(frame["target"], frame["probability"]),
        "test_size": len(frame),
        "auROC_low": value and max(value - half, 0),
        "auROC_high": value and min(value + half, 1),
        **more,
    }


def make_run(
    folder: Path,
    organism: str = "yeast",
    folds: dict | None = None,
    epochs: int = 12,
    seed: int = 1,
    genes: pd.DataFrame | None = None,
    validation: bool = True,
    profile: bool = False,
    skill: float = 1.6,
    **record,
) -> Path:
    """Write all files of a finished run as the trainer does and return its prefix.

    `folds` maps a fold's name to its number of genes with a window; `genes` (gene_id, chromosome, target, logMaxTPM,
    probability) replaces the drawn genes.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    prefix = folder / organism
    folds = folds or {"IV": 790, "VII+XV": 1100, "XII": 540, "II": 430}
    if genes is None:
        parts = []
        for fold, number in folds.items():
            expression = np.maximum(0, rng.normal(1.4, 0.62, number))
            signal = skill * (expression - 1.4) / 0.62 + rng.normal(rng.normal(0, 0.25), 1.3, number)
            chromosomes = rng.choice(fold.split("+"), number)
            ids = [f"Y{fold}_{i:05d}" for i in range(number)]
            part = {"gene_id": ids, "chromosome": chromosomes, "fold": fold, "logMaxTPM": expression}
            parts.append(pd.DataFrame({**part, "probability": 1 / (1 + np.exp(-1.25 * signal))}))
        genes = pd.concat(parts, ignore_index=True)
        low, high = np.quantile(genes["logMaxTPM"], [0.25, 0.75])
        genes["target"] = np.where(genes["logMaxTPM"] <= low, 0, np.where(genes["logMaxTPM"] >= high, 1, 2))
        genes.loc[genes.index[:5], ["logMaxTPM", "target"]] = np.nan
        genes.loc[genes.index[5:9], "probability"] = np.nan
    if "fold" not in genes:
        genes = genes.assign(fold=genes["chromosome"])
    scored = genes[genes["target"].isin([0, 1]) & genes["probability"].notna()]

    rows = []
    for fold in dict.fromkeys(genes["fold"]):
        test = scored[scored["fold"] == fold]
        part = records.fold_folder(prefix, fold)
        part.mkdir(exist_ok=True)
        others = scored.loc[scored["fold"] != fold, "gene_id"]
        roles = {"test": list(test["gene_id"]), "train": list(others[10:]), "validation": list(others[:10])}
        pairs = [(gene, role) for role, members in roles.items() for gene in members]
        pd.DataFrame(pairs, columns=["gene_id", "role"]).to_csv(part / "genes.csv", index=False)
        value = score(test)["auROC"]
        time = np.arange(epochs)
        log = pd.DataFrame({"epoch": time})
        for name, gap, floor in (("", 0.0, 0.18), ("val_", 0.08, 0.4), ("test_", 0.06, 0.38)):
            rise = 0.012 * np.maximum(0, time - 0.7 * epochs) * (name != "")
            loss = gap + floor + (0.69 - floor) * np.exp(-time / (0.2 * epochs))
            log[f"{name}loss"] = loss + rise + rng.normal(0, 0.012, epochs)
            log[f"{name}accuracy"] = 0.5 + 0.4 * (1 - np.exp(-time / (0.2 * epochs)))
            if name:
                top = (value or 0.5) - 0.5
                noise = rng.normal(0, 0.01, epochs)
                area = 0.5 + top * (1 - np.exp(-(time + 0.6) / (0.15 * epochs))) + noise - rise / 4
                log[f"{name}auROC"] = np.clip(area, 0, 1)
        log["learning_rate"], log["seconds"] = 1e-3, 14.2
        if not validation:
            log[["val_loss", "val_accuracy", "val_auROC"]] = ""
        log.to_csv(part / "performance_log.csv", index=False)
        best = int(log["test_auROC"].idxmax()) if not validation else int(log["val_auROC"].idxmax())
        more = {"chromosome": fold, "best_epoch": best, "training_size": 2 * len(others) // 2, "validation_size": 300}
        if value:
            more |= {"kmer_auROC": value - 0.06 + rng.normal(0, 0.02), "gc_auROC": 0.62 + rng.normal(0, 0.02)}
            more["auROC_optimistic"] = min(value + 0.006, 1)
        rows.append(score(test, **more, seconds=200.5))
    pooled = score(scored, chromosome="pooled", seconds=802.0)
    if pooled["auROC"]:
        pooled |= {"kmer_auROC": pooled["auROC"] - 0.06, "gc_auROC": 0.615}
        pooled["auROC_optimistic"] = min(pooled["auROC"] + 0.005, 1)
    pd.DataFrame([*rows, pooled]).assign(organism=organism).reindex(columns=RESULT).to_csv(
        f"{prefix}_result.csv", index=False
    )
    genes.drop(columns="fold").assign(target=genes["target"].astype("Int64")).to_csv(
        f"{prefix}_predictions.csv", index=False
    )
    fates = genes[["gene_id", "chromosome"]].assign(start=1000, end=2000, strand="+", status="used")
    fates.loc[fates.index[:3], "status"] = "window leaves the chromosome"
    fates.loc[fates.index[3:5], "status"] = "not in the table"
    fates.to_csv(f"{prefix}_genes.csv", index=False)

    def funnel(name: str, part: pd.DataFrame) -> dict:
        classes = {name: int((part["target"] == i).sum()) for i, name in enumerate(("low", "high", "middle"))}
        steps = {"in annotation": len(part) + 60, "protein coding": len(part) + 9, "sequence known": len(part) + 9}
        steps |= {"window fits": len(part), "in table": int(part["target"].notna().sum())}
        return {"chromosome": name, **steps, **{key: classes[key] for key in ("low", "middle", "high")}}

    info = {
        "lcre_version": "0.1.0",
        "organism": organism,
        "command": f"lcre_classifier.py --fasta {organism}.fa.gz --gtf {organism}.gtf.gz --tpm counts.csv "
        f"--organism {organism} --chromosomes {','.join(folds)}",
        "started": "2026-11-21T10:00:00+00:00",
        "finished": "2026-11-21T10:13:32+00:00",
        "seconds": 812.3,
        "peak_memory_bytes": 912345678,
        "device": "CPU, 2 cores",
        "settings": {
            "ORGANISM": organism, "UPSTREAM": 1000, "DOWNSTREAM": 500, "PADDING": 20, "LOW_PERCENTILE": 25.0,
            "HIGH_PERCENTILE": 75, "CHROMOSOMES": ",".join(folds), "MODEL": "default", "EPOCHS": epochs,
            "BATCH_SIZE": 64, "LEARNING_RATE": 0.002, "SEED": seed,
            "SELECT_ON": "validation" if validation else "test", "JOBS": 1, "SCHEDULER": None,
        },
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
        "inputs": {
            "FASTA": {"file": f"{organism}.fa.gz", "bytes": 3_800_000, "sha256": "a1b2c3d4e5f6" + "0" * 52},
            "GTF": {"file": f"{organism}.gtf.gz", "bytes": 590_000, "sha256": "b" * 64},
            "TPM": {"file": "counts.csv", "bytes": 1_900_000, "sha256": "c" * 64},
        },
        "funnel": [
            funnel("all", genes),
            *(funnel(name, part) for name, part in genes.groupby("chromosome", sort=False)),
        ],
        "audit": {"start_with_ATG": 6590, "coding_genes": 6600, "share_N": 0.0, "duplicate_windows": 12},
        "notes": ["Chromosome names differ by the prefix chr and were bridged."],
        "warnings": ["No validation list: homologs elsewhere flatter the score."],
        "folds": list(folds),
        **record,
    }  # fmt: skip
    Path(f"{prefix}_run.json").write_text(json.dumps(info), encoding="utf-8")
    if profile:
        explain = Path(f"{prefix}_explain")
        explain.mkdir(exist_ok=True)
        parts = []
        for region, start, end, centre in (("promoter", -1000, 500, -90), ("terminator", -500, 1000, 40)):
            at = np.arange(start, end)
            for name, height in (("low", 0.004), ("high", 0.009)):
                values = 0.002 + height * np.exp(-(((at - centre) / 70.0) ** 2)) + rng.gamma(2, 2e-4, len(at))
                frame = {"position": at, "region": region, "class": name, "mean_abs_contribution": values}
                parts.append(pd.DataFrame(frame))
        pd.concat(parts).to_csv(explain / "profile.csv", index=False)
    return prefix


class Checker(HTMLParser):
    """Fails on tags that do not close in order; collects the words that a reader sees."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice: {tag} {attrs}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert "svg" in self.open, f"<{tag}/> outside a picture"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def check_page(path: Path) -> tuple[str, str]:
    """Check what holds for every page; returns its HTML and the text in it."""
    page = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert pictures
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert re.search(r"\d", root.get("aria-label"))
        for element in root.iter():
            numbers = " ".join(element.get(name, "") for name in ("d", "x", "y", "cx", "cy", "width", "height"))
            assert not re.search("nan|inf", numbers), numbers
    for remote in ("http:", "https:", "//", "<script", "<link", "<img", "@import", "url("):
        assert remote not in page.replace("</", "<"), remote
    text = re.sub(r"\s+", " ", " ".join(checker.text))
    assert not re.search(r"\bnan\b|\binf\b|None", text)
    return page, text


def write_page(prefix: Path) -> tuple[str, str]:
    """Write and check the page of a run."""
    assert lcre_report.main([str(prefix)]) == 0
    return check_page(Path(f"{prefix}_report.html"))


FOUR = pd.DataFrame(
    {
        "gene_id": ["a", "b", "c", "d", "m"],
        "chromosome": "1",
        "target": [0, 0, 1, 1, 2],
        "logMaxTPM": [0.1, 0.2, 1.8, 2.0, 1.0],
        "probability": [0.1, 0.4, 0.35, 0.8, 0.6],
    }
)  # pairs ranked rightly: (c over a), (d over a), (d over b) of four: auROC 3/4


def test_numbers_of_four_genes_are_those_counted_by_hand(tmp_path):
    page, text = write_page(make_run(tmp_path, genes=FOUR))
    assert "75.0 times out of 100 (pooled auROC 0.750" in text
    # false and true positive rates (0,0) (0,.5) (.5,.5) (.5,1) (1,1) in an area of 324 x 300 from (40, 26)
    assert 'd="M40 326 40 176 202 176 202 26 364 26"' in page
    # recalls 0, .5, .5, 1, 1 at precisions 1, 1, 1/2, 2/3, 1/2, a step going up or down before it goes on
    assert 'd="M40 26 40 26 202 26 202 176 202 176 202 126 364 126 364 176 364 176"' in page
    assert "auPR 0.833" in text  # (1 + 2/3) / 2
    assert "Brier score 0.158 (saying 0.50 of every gene would give 0.250)" in text
    assert "Accuracy 75.0 % of scored genes" in text
    assert re.search(r"low 2 100.0.% 0 0.0.% high 1 50.0.% 1 50.0.% middle \(not scored\) 0 0.0.% 1 100.0.%", text)
    assert "One fold only" in text
    assert "Fewer than 50 scored genes in a class" in text
    assert "low ≤ 0.20" in text
    assert "high ≥ 1.80" in text
    headline = ElementTree.fromstring(re.search("<svg.*?</svg>", page)[0])
    ticks = ["0.4", "0.6", "0.8", "1"]
    words = [text.text for text in headline.iter("text")]
    assert sorted(words) == sorted([*ticks, "auROC; 0.5 is guessing", "0.750", "network", "k-mers", "base composition"])


def test_roc_and_precision_recall_points():
    false_rate, true_rate = report.roc_points(FOUR[:4])
    assert false_rate.tolist() == [0, 0, 0.5, 0.5, 1]
    assert true_rate.tolist() == [0, 0.5, 0.5, 1, 1]
    recall, precision = report.precision_recall_points(FOUR[:4])
    area = float(np.sum(np.diff(recall) * precision[1:]))
    assert area == pytest.approx(5 / 6)
    assert len(report.roc_points(FOUR[:2])[0]) == 0
    assert math.isnan(scores.auroc(FOUR[:2]["target"], FOUR[:2]["probability"]))


def test_calibration_of_a_hand_made_case():
    bins, brier, error = report.calibration([0, 1, 1, 1], [0.15, 0.15, 0.95, 1.0])
    assert bins["bin"].tolist() == [1, 9]
    assert bins["genes"].tolist() == [2, 2]
    assert bins["share_high"].tolist() == [0.5, 1]
    assert bins["mean_probability"].tolist() == pytest.approx([0.15, 0.975])
    assert brier == pytest.approx((0.0225 + 0.7225 + 0.0025) / 4)
    assert error == pytest.approx((2 * 0.35 + 2 * 0.025) / 4)


def test_calibration_bins_begin_at_their_tenth():
    bins, _, _ = report.calibration([0] * 11, [i / 10 for i in range(11)])
    assert bins["genes"].tolist() == [1] * 9 + [2]


def test_wilson_interval():
    low, high = report.wilson_interval(pd.Series([0.5]), pd.Series([10.0]))
    assert (round(low[0], 4), round(high[0], 4)) == (0.2366, 0.7634)


def test_a_probability_of_one_half_is_called_low():
    genes = pd.DataFrame({"target": [0, 1, 1], "probability": [0.5, 0.5, 0.51]})
    assert report.confusion(genes).loc["high"].tolist() == [1, 1]
    assert report.confusion(genes).loc["low"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("value", "low", "high", "kmer", "expected"),
    [
        (0.9, 0.88, 0.92, 0.83, "The network beats the k-mer baseline by 0.070."),
        (0.84, 0.82, 0.86, 0.83, "this run does not tell the two apart"),
        (0.8, 0.78, 0.82, 0.83, "does not beat the k-mer baseline (0.030 below it)"),
        (0.83, 0.8, 0.85, 0.83, "does not beat the k-mer baseline (equal to it)"),
        (0.52, 0.49, 0.55, 0.5, "not distinguishable from guessing"),
        (0.9, "", "", "", "nothing to hold this number against"),
        ("", "", "", "", "No auROC"),
    ],
)
def test_the_verdict_is_honest(tmp_path, value, low, high, kmer, expected):
    prefix = make_run(tmp_path, folds={"1": 60, "2": 60}, epochs=2)
    table = pd.read_csv(f"{prefix}_result.csv", dtype=str)
    table.loc[2, ["auROC", "auROC_low", "auROC_high", "kmer_auROC"]] = [str(x) for x in (value, low, high, kmer)]
    table.to_csv(f"{prefix}_result.csv", index=False)
    assert expected in write_page(prefix)[1]


@pytest.mark.parametrize(
    ("network", "outside", "inside", "codons", "says"),
    [
        (0.93, 0.807, 0.906, 0.921, "0.906, one on codon usage and lengths of the whole coding sequence 0.921; from"),
        (
            0.93,
            0.807,
            0.906,
            0.921,
            "0.807: most of what this run tells apart can be told without regulatory sequence.",
        ),
        (
            0.952,
            0.83,
            0.92,
            math.nan,
            "reaches an auROC of 0.920; from the outside alone k-mers reach 0.830: most of what",
        ),
        (0.952, 0.83, 0.92, math.nan, "can be told without the sequence around the gene."),
        (
            0.923,
            0.912,
            0.507,
            math.nan,
            "0.912: little of what this run tells apart can be told without the sequence around",
        ),
        (0.9, 0.8, 0.61, 0.7, "a part of what this run tells apart can be told without regulatory sequence."),
        (0.51, 0.5, 0.6, 0.6, "the network itself tells little apart."),
    ],
)
def test_what_part_needs_no_regulatory_sequence(network, outside, inside, codons, says):
    row = {"auROC": network, "outside_auROC": outside, "inside_auROC": inside, "codon_auROC": codons}
    assert says in report.describe_parts(pd.Series(row), None)


@pytest.mark.parametrize(
    ("control", "says"),
    [
        ("outside", "all that this run tells apart lies in the flanks. On the same flanks a regression on k-mers by "),
        ("inside", "all that this run tells apart lies inside the gene."),
        ("promoter", "most of what this run tells apart can be told without regulatory sequence."),
        ("permuted", ""),
        ("shifted", ""),
    ],
)
def test_of_a_control_no_more_is_said_than_it_shows(control, says):
    row = pd.Series({"auROC": 0.856, "outside_auROC": 0.807, "inside_auROC": 0.515, "codon_auROC": 0.921})
    text = report.describe_parts(row, control)
    assert says in text
    assert bool(text) == bool(says)
    assert ("0.515" in text) == (control in ("inside", "promoter"))


@pytest.mark.parametrize(
    ("network", "others", "control", "says"),
    [
        (
            0.929,
            (0.807, 0.906, 0.921),
            None,
            ", on codon usage and lengths of the coding sequence, reaches 0.921, 0.008 below",
        ),
        (
            0.90,
            (0.807, 0.906, math.nan),
            None,
            ", on k-mers and codons by place inside the gene, reaches 0.906, 0.006 above it.",
        ),
        (0.9, (0.5, 0.6, 0.7), None, ""),  # all below the k-mer baseline
        (0.9, (0.807, 0.906, 0.921), "inside", "inside the gene, reaches 0.906, 0.006 above it."),
        (0.856, (0.807, 0.515, 0.921), "outside", "outside of the gene, reaches 0.807, 0.049 below the network."),
        (0.5, (0.807, 0.906, 0.921), "permuted", "inside the gene, reaches 0.906"),
    ],
)
def test_the_strongest_regression_stands_beside_the_headline(network, others, control, says):
    names = ("outside_auROC", "inside_auROC", "codon_auROC")
    row = pd.Series({"auROC": network, "kmer_auROC": 0.8, **dict(zip(names, others, strict=True))})
    text = report.describe_strongest(row, control)
    assert says in text
    assert bool(text) == bool(says)


def test_of_an_older_run_nothing_is_said_of_parts(tmp_path):
    assert report.describe_parts(pd.Series({"auROC": 0.9}), None) == ""
    prefix = make_run(tmp_path)
    assert "of what this run tells apart" not in report.build_page(report.read_run(prefix))
    path = Path(f"{prefix}_result.csv")
    pd.read_csv(path).assign(outside_auROC=0.6, inside_auROC=0.9).to_csv(path, index=False)
    page = report.build_page(report.read_run(prefix))
    assert "most of what this run tells apart can be told without the sequence around the gene" in page
    assert "k\N{NON-BREAKING HYPHEN}mers outside" in page


def test_a_run_that_chose_its_epoch_on_the_test_genes_is_marked_wherever_it_is_scored(tmp_path):
    page, text = write_page(make_run(tmp_path, validation=False, epochs=3))
    assert "Optimistic: the epoch was chosen on the very genes that are scored" in text
    assert "SELECT_ON=test" in text
    assert "SELECT_ON test (default validation)" in text
    for name in ("auROC", "auPR", "Brier score", "Accuracy", "Expected calibration error"):
        assert not re.search(rf"{name} \d", text), name
        assert re.search(rf"{name} \(optimistic\)", text), name
    assert count_hollow(page) == 1 + 5 + 4  # the headline, the rows of folds and pooled, the chosen epoch of each fold
    assert "The epoch was chosen on the held-out genes themselves" in text
    assert "validation" not in [element.text for element in ElementTree.fromstring(learning_picture(page)).iter()]


def count_hollow(page: str) -> int:
    """How many marks of the network are drawn hollow: filled with the colour of the paper, the edge in its own."""
    return len(re.findall('style="fill:var\\(--page\\);stroke:var\\(--network\\)', page))


def learning_picture(page: str) -> str:
    """The first picture of learning curves."""
    return re.search(r'<svg[^>]*aria-label="Learning curves.*?</svg>', page, flags=re.DOTALL)[0]


def test_columns_of_other_versions_in_the_result_table(tmp_path):
    """What no figure needs may be missing, what the page does not know is passed over, and the order is the page's."""
    prefix = make_run(tmp_path, folds={"1": 80, "2": 80}, epochs=2)
    path = Path(f"{prefix}_result.csv")
    table = pd.read_csv(path, dtype=str).drop(columns=["auPR", "seconds", "organism"])
    table.insert(0, "later_auROC", "what?")
    table.assign(chromosome=table.pop("chromosome")).to_csv(path, index=False)
    page, text = write_page(prefix)
    heads = re.findall('<th scope="col">(.*?)</th>', page)
    assert heads[: heads.index("measured")] == [
        *("fold", "auROC", "95\xa0% interval", "k\u2011mers", "base composition", "accuracy"),
        *("training genes", "validation genes", "scored genes", "epoch", "best test epoch (optimistic)"),
    ]
    assert "what?" not in text
    assert page.count('<td class="quiet">') == 3


def test_the_optimistic_column_is_named_so_in_any_run(tmp_path):
    page, text = write_page(make_run(tmp_path, epochs=3))
    assert "best test epoch (optimistic)" in text
    assert "auROC (optimistic)" not in text
    assert count_hollow(page) == 0


def test_learning_curves_mark_the_chosen_epoch(tmp_path):
    prefix = make_run(tmp_path, folds={"IV": 300}, epochs=5)
    log = pd.read_csv(tmp_path / "yeast_model_IV" / "performance_log.csv")
    chosen = int(log["val_auROC"].idxmax())
    picture = ElementTree.fromstring(learning_picture(write_page(prefix)[0]))
    assert f"epoch {chosen} chosen, held-out auROC {log['test_auROC'][chosen]:.3f} there" in picture.get("aria-label")
    marks = [path.get("d") for path in picture.iter("path") if path.findtext("title") == f"epoch {chosen} chosen"]
    x = f"{34 + 138 * chosen / 4:g}"
    assert marks == [f"M{x} 112 {x} 38", f"M{x} 226 {x} 142"]
    words = [element.text for element in picture.iter() if element.tag == "text"]
    assert {"training", "validation", "held-out"} <= set(words)


def test_a_note_on_the_loss_stands_with_the_learning_curves(tmp_path):
    """A loss that does not compare with that of other networks is explained by who trains it, not by the page."""
    _, text = write_page(make_run(tmp_path / "with", epochs=2, loss_note="The loss is on the ranks of <all> genes."))
    learning = text[text.index("Learning curves") : text.index("Genes")]
    assert "Epochs count from 0. The loss is on the ranks of <all> genes." in learning
    for i, note in enumerate((None, 7, ["a"], "")):
        page, _ = write_page(make_run(tmp_path / str(i), epochs=2, loss_note=note))
        assert re.search(r"Epochs count from 0\.\s*</p>", page)


def test_names_from_files_are_text_and_nothing_else(tmp_path):
    evil = "<script>alert(1)<&\"'\x1b"
    genes = FOUR.assign(chromosome="<i>&1", gene_id=["<b>a", "&b", '"c', "'d", "NA"])
    prefix = make_run(tmp_path, organism="<b>&\"'x", genes=genes, notes=["</style><img src=x onerror=alert(1)>"])
    fates = pd.read_csv(f"{prefix}_genes.csv", keep_default_na=False).assign(status=evil)
    fates.to_csv(f"{prefix}_genes.csv", index=False)
    record = json.loads(Path(f"{prefix}_run.json").read_text())
    record |= {
        "versions": {evil: evil},
        "command": evil,
        "device": evil,
        "inputs": {"FASTA": {"file": evil, "bytes": 1, "sha256": "0" * 64}},
        "settings": {evil: evil},
    }
    record["lcre_version"] = "\ud800"
    Path(f"{prefix}_run.json").write_text(json.dumps(record))
    page, text = write_page(prefix)
    assert page.count("&lt;script&gt;") >= 5
    assert "</style><img src=x onerror=alert(1)>" in text
    assert "<i>&1" in text


def test_all_numeric_chromosomes_and_genes_called_na(tmp_path):
    genes = pd.concat([FOUR.assign(gene_id=FOUR["gene_id"] + "1"), FOUR.assign(chromosome="NA")])
    genes.iloc[-2, 0] = "NA"
    _, text = write_page(make_run(tmp_path, genes=genes))
    assert "8 scored genes" in text


def test_groups_of_chromosomes_count_each_chromosome(tmp_path):
    prefix = make_run(tmp_path, epochs=2)
    scored = pd.read_csv(f"{prefix}_predictions.csv", dtype={"chromosome": str})
    scored = scored[scored["target"].isin([0, 1]) & scored["probability"].notna()]
    _, text = write_page(prefix)
    genes = text[text.index("Left out, by reason") :]
    for chromosome, count in scored["chromosome"].value_counts().items():
        assert re.search(rf" {chromosome} [\d, ]+ {count} ", genes), chromosome
    assert "VII+XV" in text


def test_funnel_and_reasons(tmp_path):
    _, text = write_page(make_run(tmp_path, folds={"1": 400}, epochs=2))
    assert "window leaves the chromosome: 3" in text
    assert "protein coding 409 \N{MINUS SIGN}51" in text
    assert "6,590 of 6,600 coding genes (99.8 %) start with ATG." in text
    assert "Windows identical to another gene's: 12." in text


def test_only_settings_that_differ_are_said_to_differ(tmp_path):
    settings = {"UPSTREAM": 500, "DOWNSTREAM": 500, "LOW_PERCENTILE": 25.0, "CHROMOSOMES": "", "SEED": 7, "EPOCHS": 2}
    settings |= {"MODEL": "motifs_and_words", "BATCH_SIZE": None}
    _, text = write_page(make_run(tmp_path / "a", genes=FOUR, settings=settings))
    assert "Not the default UPSTREAM 500 (default 1000); EPOCHS 2 (default that of the model) All settings" in text
    _, text = write_page(make_run(tmp_path / "b", genes=FOUR, settings={"UPSTREAM": 1000}))
    assert "Not the default nothing, apart from the data All settings" in text


def test_a_scaffold_rich_genome_has_a_short_table(tmp_path):
    rows = [{"chromosome": name, "in annotation": 2, "in table": 1} for name in ["all", *map(str, range(5000))]]
    page, text = write_page(make_run(tmp_path, genes=FOUR, funnel=rows))
    assert "4,940 others 9,880 4,940" in text
    assert len(page) < 100_000


def test_a_record_with_nothing_in_it(tmp_path):
    prefix = make_run(tmp_path, folds={"1": 80, "2": 80}, epochs=2)
    Path(f"{prefix}_run.json").write_text("{}")
    _, text = write_page(prefix)
    assert "in annotation 160" in text
    assert "used 155" in text
    assert "Run it again" not in text


def test_a_fold_of_one_class_and_a_run_of_one_class(tmp_path):
    other = pd.DataFrame(
        {"gene_id": ["x", "y"], "chromosome": "2", "target": 1, "logMaxTPM": 2.0, "probability": [0.6, 0.7]}
    )
    _, text = write_page(make_run(tmp_path / "a", genes=pd.concat([FOUR, other])))
    assert "2 – –" in text
    _, text = write_page(make_run(tmp_path / "b", genes=other))
    assert "No auROC: the scored genes are all of one class." in text
    assert "no curves" in text


def test_genes_without_probability_are_counted(tmp_path):
    prefix = make_run(tmp_path, genes=FOUR)
    table = pd.read_csv(f"{prefix}_predictions.csv")
    table.loc[0, "probability"] = np.nan
    table.to_csv(f"{prefix}_predictions.csv", index=False)
    _, text = write_page(prefix)
    assert "1 test genes have no probability" in text
    assert "The result table gives a pooled auROC of 0.750, the predictions 0.500" in text


def test_a_held_out_gene_in_training_is_shouted_about(tmp_path):
    prefix = make_run(tmp_path, epochs=2)
    assert "LEAK" not in write_page(prefix)[1]
    roles = tmp_path / "yeast_model_IV" / "genes.csv"
    predictions = pd.read_csv(f"{prefix}_predictions.csv")
    middle = predictions[(predictions["chromosome"] == "IV") & (predictions["target"] == 2)]["gene_id"].iloc[0]
    roles.write_text(roles.read_text() + f"{middle},train\n")
    assert "LEAK: 1 genes of held-out IV took part in its training." in write_page(prefix)[1]


def test_the_contribution_profile_is_shown_when_it_is_there(tmp_path):
    _, text = write_page(make_run(tmp_path / "with", epochs=2, profile=True))
    assert "Where the network looks" in text
    assert "position from the TES, bp" in text
    assert "means of 5 bp" in text
    _, text = write_page(make_run(tmp_path / "without", epochs=2))
    assert "Where the network looks" not in text


@pytest.mark.parametrize(("folds", "genes", "epochs"), [(24, 1700, 40), (12, 4200, 60)])
def test_large_runs_stay_under_400_kilobytes(tmp_path, folds, genes, epochs):
    prefix = make_run(tmp_path, folds={str(i): genes for i in range(folds)}, epochs=epochs, profile=True, skill=1.0)
    page, text = write_page(prefix)
    assert len(page.encode()) < 400_000
    assert f"{folds} folds of held-out chromosomes" in text


# ------------------------------------------------------------------------------------- what files may hold
class Collector(HTMLParser):
    """Collects the kinds of tags and the names of attributes of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_from_a_file_becomes_markup(tmp_path):
    """Every text that the page takes from a file holds markup and a number: all come out as text, none as a tag."""
    plain, evil = make_run(tmp_path / "plain", epochs=2, profile=True), []
    tags = []
    for prefix in (plain, None):
        if prefix is None:

            def mark(what: str) -> str:
                evil.append(what)
                return f"{what}</title></style></svg>--><script>alert(1)</script><x onload='a' b=\"{what}\">&lt;&amp;"

            fold = "+".join(mark(name) for name in ("first", "second"))
            prefix = make_run(tmp_path / "evil", folds={fold: 300, "IV": 300}, epochs=2, profile=True)
            record = json.loads(Path(f"{prefix}_run.json").read_text())
            record["organism"] = mark("organism")
            for name in ("lcre_version", "command", "started", "finished", "device"):
                record[name] = mark(name)
            record["notes"], record["warnings"] = [mark("note")], [mark("warning")]
            record["settings"] |= {mark("setting"): mark("value"), "TARGET_COLUMN": "<b>'&\"", "UPSTREAM": 7}
            record["settings"]["MODEL"] = mark("model")
            record["versions"] |= {mark("package"): mark("version")}
            record["inputs"] |= {mark("input"): {"file": mark("file"), "bytes": 1, "sha256": "0" * 64}}
            record["funnel"][0][mark("step")] = 5
            record["funnel"].append({"chromosome": mark("row"), "in annotation": 5})
            Path(f"{prefix}_run.json").write_text(json.dumps(record))
            fates = pd.read_csv(f"{prefix}_genes.csv", keep_default_na=False)
            fates.loc[:2, "status"] = mark("status")
            fates.to_csv(f"{prefix}_genes.csv", index=False)
        page, text = write_page(prefix)
        found = Collector()
        found.feed(page)
        tags.append((found.tags, found.attributes))
    assert tags[0] == tags[1]
    assert not {"script", "x"} & tags[1][0]
    for what in evil:
        assert what in text.replace("…", ""), what
        assert f'b="{what}">' not in page
    assert "measured expression, &lt;b&gt;'&amp;\"</text>" in page  # the label of an axis, in a picture
    assert "javascript" not in page


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_that_mean_something_elsewhere(tmp_path, name):
    """Names that are formulas to matplotlib, markup to a browser or nothing to a font stand in figures and tables."""
    record = {"device": name, "loss_note": name, "notes": [name], "warnings": [name]}
    settings = {"TARGET_COLUMN": name, name: name}
    funnel = [{"chromosome": "all", "in annotation": 9, name: 7}, {"chromosome": name, "in annotation": 9, name: 7}]
    fold = "".join(letter for letter in name if letter not in "\0\n\x1b\x7f\ud800")[:40] or "V"  # as a run can have
    prefix = make_run(tmp_path, folds={fold: 60, "IV": 60}, epochs=2, **record, settings=settings, funnel=funnel)
    path = Path(f"{prefix}_run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"organism": name}))
    page, text = write_page(prefix)
    clean = " ".join(clean_text(name).split())
    assert text.count(clean) >= 10
    assert " ".join(clean_text(fold).split()) in text
    assert f">{escape(show_value(fold, 18), quote=False)}</text>" in page  # above its learning curves
    assert f">measured expression, {escape(show_value(name, 40), quote=False)}</text>" in page


@pytest.mark.parametrize("what", DAMAGE)
def test_a_record_that_was_edited_or_damaged(tmp_path, capsys, what):
    change, says = DAMAGE[what]
    prefix = make_run(tmp_path, genes=FOUR)
    record = Path(f"{prefix}_run.json")
    record.write_bytes(change(json.loads(record.read_text())))
    assert lcre_report.main([str(prefix)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    for text in ("lcre_report.py: ", str(record), says, "restore it from a copy"):
        assert text in told.err
    assert not Path(f"{prefix}_report.html").exists()


def test_a_run_of_an_older_version(tmp_path):
    """Its record lacks what is written today and has fields that nobody knows; its tables have other columns too."""
    prefix = make_run(tmp_path, folds={"1": 80, "2": 80}, epochs=2, profile=True)
    record = Path(f"{prefix}_run.json")
    record.write_bytes(of_older_version(json.loads(record.read_text())))
    tables = [Path(f"{prefix}_{name}.csv") for name in ("result", "predictions", "genes")]
    tables += [folder / name for folder in tmp_path.glob("*_model_*") for name in ("genes.csv", "performance_log.csv")]
    tables.append(Path(f"{prefix}_explain/profile.csv"))
    for path in tables:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.insert(0, "auROC_new", "?")
        table.assign(codon_auROC="", note="a,b").to_csv(path, index=False)
    for path in tmp_path.glob("*_model_*/performance_log.csv"):  # columns that the page does not draw
        pd.read_csv(path).drop(columns=["accuracy", "seconds", "learning_rate"]).to_csv(path, index=False)
    _, text = write_page(prefix)
    assert "GONE 1,a" in text
    assert "ALSO 2.5" in text
    assert "Where the network looks" in text
    assert "Versions" not in text
    assert "Time" not in text


def test_a_package_without_a_version_is_left_out(tmp_path):
    """TensorFlow may be installed as tensorflow-cpu."""
    _, text = write_page(make_run(tmp_path, genes=FOUR, versions={"python": "3.11", "tensorflow": None}))
    assert "Versions python 3.11" in text


def test_folds_whose_names_are_no_names_of_folders(tmp_path):
    _, text = write_page(make_run(tmp_path, folds={"chr/1": 80, "2|..": 80}, epochs=2))
    assert "chr/1" in text


PROFILE = "position,region,class,mean_abs_contribution\n"
POINTS = "".join(f"{at},promoter,{name},0.{at % 7}\n" for name in ("low", "high") for at in range(-100, 50))


@pytest.mark.parametrize(
    ("content", "drawn"),
    [
        (PROFILE, False),
        (PROFILE + POINTS, True),
        (PROFILE + POINTS + "50,promoter,low,nan\n51,promoter,low,inf\n52,promoter,low,\n,promoter,low,1\n", True),
        (PROFILE + POINTS + "50,promoter,low,1e400\n", True),
        (PROFILE + POINTS + "50,promoter,low\n", True),  # cut in the middle of a row
        (PROFILE + POINTS + "50,promoter", True),
        (PROFILE + POINTS + "50,promoter,low,5e-324\n", True),
        (PROFILE + "50,promoter,low,5e-324\n", True),
        (PROFILE + "50,promoter,low,0\n", True),
        (PROFILE + "1e9,promoter,low,1e9\n-1e9,promoter,low,1e9\n", True),
        (PROFILE + "0.5,promoter,low,1\n0.5,promoter,low,1\n", True),
        (PROFILE + "50,promoter,low,nan\n", False),
        (PROFILE + "50,elsewhere,low,1\n", False),
        (PROFILE + "50,promoter,neither,1\n", False),
        ("\ufeff" + PROFILE + POINTS, True),
        ("more," + PROFILE + POINTS.replace("\n", "\nx,").removesuffix("x,").replace("-100,", "x,-100,", 1), True),
    ],
)
def test_a_profile_is_drawn_from_what_is_finite(tmp_path, content, drawn):
    prefix = make_run(tmp_path, genes=FOUR, profile=True)
    Path(f"{prefix}_explain/profile.csv").write_text(content)
    assert ("Where the network looks" in write_page(prefix)[1]) == drawn


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "cannot be read as CSV"),
        (PROFILE + "50,promoter,low,1e308\n", "mean_abs_contribution holds '1e308' where a number from 0 to 1e+09"),
        (PROFILE + "50,promoter,low,-1\n", "mean_abs_contribution holds '-1' where a number from 0"),
        (PROFILE + "1e308,promoter,low,1\n", "position holds '1e308' where a number from -1e+09"),
        (PROFILE + "here\n\x1b,promoter,low,1\n", "position holds 'here', '\\\\x1b' where a number belongs"),
        (PROFILE + "50,promoter,low,much\n", "mean_abs_contribution holds 'much' where a number belongs"),
        (PROFILE.replace("class", "kind") + POINTS, "has no column class"),
        (PROFILE + "50,promoter,low,1,more\n", "rows have more cells"),
        (PROFILE + POINTS + "50,promoter,low,1,more\n", "Expected 4 fields"),
        ("\0\0\0", "profile.csv"),
        ("[" * 100_000, "profile.csv"),
    ],
)
def test_a_profile_that_is_damaged_gives_one_line(tmp_path, capsys, content, says):
    prefix = make_run(tmp_path, genes=FOUR, profile=True)
    path = Path(f"{prefix}_explain/profile.csv")
    path.write_text(content)
    assert lcre_report.main([str(prefix)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    for text in (str(path), says, "lcre_explain.py writes it again"):
        assert text in told.err
    assert len(told.err) < 700


def test_tables_of_too_many_rows_are_refused_in_bounded_memory(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lcre.trained.MOST_ROWS", 299)
    prefix = make_run(tmp_path, genes=FOUR, profile=True)
    Path(f"{prefix}_explain/profile.csv").write_text(PROFILE + POINTS)
    assert lcre_report.main([str(prefix)]) == 2
    assert "profile.csv cannot be read as CSV (it has more than 299 rows)" in capsys.readouterr().err
    monkeypatch.setattr("lcre.trained.MOST_ROWS", 300)
    assert lcre_report.main([str(prefix)]) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.iloc[:0],
        lambda table: table.assign(epoch=np.nan),
        lambda table: table.assign(loss=1e299, val_loss=1e299, test_loss=1e299),
        lambda table: table.assign(loss=5e-324, val_loss=0, test_loss=0),
        lambda table: table.assign(loss="inf", val_loss="nan", test_loss="", test_auROC="nan", val_auROC=""),
        lambda table: table.assign(loss=table["epoch"] * 1e290),
        lambda table: table.iloc[::-1],
        lambda table: pd.concat([table, table]),
    ],
)
def test_learning_curves_of_odd_logs(tmp_path, change):
    """Training that diverged, and logs that were cut or edited, have curves as far as there are numbers."""
    prefix = make_run(tmp_path, genes=FOUR, epochs=4)
    path = tmp_path / "yeast_model_1/performance_log.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)
    write_page(prefix)


@pytest.mark.parametrize(
    "values",
    [
        [1e300] * 5,
        [-1e300, 1e300, 0, 1, 2],
        [1e30, 1e30 + 1e15, 1e30, 1e30, 1e30],
        [5e-324, 0, 0, 0, 0],
        [1, 1 + 1e-12, 1, 1, 1],
    ],
)
def test_measured_values_of_any_size_are_drawn(tmp_path, values):
    write_page(make_run(tmp_path, genes=FOUR.assign(logMaxTPM=values)))


def test_a_page_beside_a_path_of_odd_letters(tmp_path, capsys):
    """What is printed of a path stays one line, also where its bytes are no UTF-8."""
    folder = tmp_path / "line\nbreak \x1b[31m \udcff"
    prefix = make_run(folder, genes=FOUR)
    assert lcre_report.main([str(prefix)]) == 0
    told = capsys.readouterr().out
    lines = told[:-1].split("\n")
    assert len(lines) == 2  # the page, the table for MultiQC
    assert all(line.isprintable() for line in lines)
    check_page(Path(f"{prefix}_report.html"))


def break_file(name: str, change):
    """A function that changes the file `name` of a run with `change`(text)."""

    def apply(prefix: Path) -> None:
        path = Path(f"{prefix}{name}")
        path.write_text(change(path.read_text()))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda prefix: Path(f"{prefix}_result.csv").unlink(), "the run is unfinished"),
        (break_file("_result.csv", lambda text: text.replace("pooled", "other")), "no row `pooled`"),
        (break_file("_result.csv", lambda text: text.replace("kmer_auROC", "kmers")), "has no column kmer_auROC"),
        (break_file("_result.csv", lambda text: ""), "cannot be read as CSV"),
        (break_file("_predictions.csv", lambda text: text.replace("probability", "p")), "has no column probability"),
        (break_file("_predictions.csv", lambda text: text.replace("0.35", "high")), "'high' where a number belongs"),
        (
            break_file("_predictions.csv", lambda text: text.replace("0.35", "1.35")),
            "'1.35' where a number from 0 to 1",
        ),
        (break_file("_run.json", lambda text: text[:50]), "is not the record of a run"),
        (break_file("_run.json", lambda text: "[]"), "it is [] where an object belongs"),
        (lambda prefix: Path(f"{prefix}_run.json").unlink(), "run.json is missing"),
        (break_file("_result.csv", lambda text: text.replace("0.75,", "7.5,", 1)), "accuracy holds '7.5' where"),
        (break_file("_result.csv", lambda text: text.replace("200.5", "1e308")), "seconds holds '1e308' where"),
        (break_file("_predictions.csv", lambda text: re.sub("(?m)(?<=\\d)$", ",", text)), "rows have more cells"),
        (break_file("_predictions.csv", lambda text: text.replace("d,1,1", "d,1,7")), "target holds '7' where"),
        (break_file("_predictions.csv", lambda text: text.replace("2.0", "1e301")), "logMaxTPM holds '1e301' where"),
        (
            break_file("_model_1/performance_log.csv", lambda text: text.replace("\n1,", "\n1e99,")),
            "holds '1e99' where",
        ),
        (break_file("_model_1/performance_log.csv", lambda text: ""), "cannot be read as CSV"),
        (break_file("_model_1/genes.csv", lambda text: text.replace("role", "part")), "has no column role"),
        (break_file("_model_1/genes.csv", lambda text: text.replace("test", "unused")), "no probability for any test"),
        (lambda prefix: Path(f"{prefix}_model_1/performance_log.csv").unlink(), "performance_log.csv is missing"),
        (lambda prefix: Path(f"{prefix}_genes.csv").write_bytes(b"\x89PNG\r\n\xff\xfe"), "cannot be read as CSV"),
    ],
)
def test_damaged_runs_give_one_line_and_leave_the_earlier_page(tmp_path, capsys, damage, message):
    prefix = make_run(tmp_path, genes=FOUR)
    earlier = Path(f"{prefix}_report.html")
    earlier.write_text("earlier")
    damage(prefix)
    assert lcre_report.main([str(prefix)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert message in told.err
    assert earlier.read_text() == "earlier"


def test_a_prefix_without_a_run_names_the_runs_that_are_there(tmp_path, capsys):
    make_run(tmp_path, genes=FOUR)
    assert lcre_report.main([str(tmp_path / "yeats")]) == 2
    assert f"give the prefix of a run, here {tmp_path / 'yeast'}\n" in capsys.readouterr().err
    for name in "abc":
        (tmp_path / f"{name}_result.csv").touch()
    assert lcre_report.main([str(tmp_path / "yeats")]) == 2
    assert capsys.readouterr().err.endswith(f"{tmp_path / 'b'}, {tmp_path / 'c'}, ...\n")
    assert lcre_report.main([str(tmp_path / "nowhere" / "x")]) == 2
    assert "train one with lcre_classifier.py" in capsys.readouterr().err


def test_the_page_is_written_whole_and_alone(tmp_path):
    prefix = make_run(tmp_path, genes=FOUR)
    before = set(tmp_path.iterdir())
    path = report.write_report(prefix)
    assert path == tmp_path / "yeast_report.html"
    assert set(tmp_path.iterdir()) - before == {path}
    assert report.write_report(prefix).read_bytes() == path.read_bytes()


def test_importing_loads_neither_tensorflow_nor_scikit_learn():
    heavy = ("tensorflow", "keras", "sklearn", "matplotlib", "jinja2")
    code = f"import sys, lcre_report, lcre.report; print([name for name in {heavy} if name in sys.modules])"
    root = Path(lcre_report.__file__).parent
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_misuse_is_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit) as left:
        lcre_report.main(["saved_models/x", "--frobnicate"])
    assert left.value.code == 2
    assert capsys.readouterr().err == "lcre_report.py: no flag --frobnicate; --help lists the flags\n"
    assert lcre_report.main([str(tmp_path / "none")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("lcre_report.py: ")
    assert told.count("\n") == 1
