"""The page of a folder that `predict` wrote, from files written by hand: no training, no store but where tracks are."""

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import write
from markupsafe import escape

import CREaTor
from core import InputError, scores
from core.figures import clean_text
from core.files import hash_file
from creator import link_evaluation, report
from creator.evaluation import MEASURES, PREDICTORS, SPLITS
from creator.link_evaluation import link_curves

NAN = float("nan")
HOSTILE = "<b>g&\"'</b>"
TRAINING = {"hold_out_cells": ["D"], "hold_out_chromosomes": ["III"], "validation_chromosomes": ["II"]}
SECTIONS = (
    *("Result", "Predicted against measured expression", "Beside the baselines", "Training"),
    *("Links against tested pairs", "Links of one gene", "Not on this page", "What was run"),
)


def score_rows(splits=("both", "train"), network=0.7, low=0.05) -> pd.DataFrame:
    """A table as eval.csv: each baseline is .1 below the one before, and .1, .2, ... below the network."""
    rows = []
    for split in splits:
        for place, name in enumerate(PREDICTORS):
            row = {"split": split, "cells": SPLITS[split][0], "chromosomes": SPLITS[split][1], "cell": "all"}
            row |= {"predictor": name, "genes": 40, "values": 80}
            for measure in MEASURES:
                value = network - 0.1 * place
                row |= {measure: value, f"{measure}_low": value - 0.0512, f"{measure}_high": value + 0.0534}
                gap = NAN if name == "network" else 0.1 * place
                row |= {f"{measure}_difference": gap, f"{measure}_difference_low": low if place == 1 else gap / 2}
                row |= {f"{measure}_difference_high": 2 * gap, f"{measure}_difference_p": gap / 10}
            rows += [row, row | {"cell": "D", "genes": 1234}]
    return pd.DataFrame(rows)


def expression_rows(gene="g{}") -> pd.DataFrame:
    """Two chromosomes of five genes in cells A and D, as expression.tsv; TSSs are 10 kb apart, every second minus."""
    rows = []
    for number in range(10):
        chromosome = "III" if number >= 5 else "I"
        for cell in "AD":
            split = {"IA": "train", "ID": "cell", "IIIA": "chromosome", "IIID": "both"}[chromosome + cell]
            row = {"gene_id": gene.format(number), "chromosome": chromosome, "tss": 10_000 * (number + 1)}
            row |= {"strand": "+-"[number % 2], "cell": cell, "n_ccre": 5, "predicted": number / 2}
            rows.append(row | {"observed": number / 3 if number else NAN, "split": split})
    return pd.DataFrame(rows)


def link_rows(gene="g{}") -> pd.DataFrame:
    """Five links of each gene and cell; gene 6 in D has the highest ablation of a held-out one, .6, at +1 to +3 kb.

    Gene 8 has a higher one, but a single cCRE; genes of other quadrants have more still.
    """
    rows = []
    for row in expression_rows(gene).drop_duplicates(["gene_id", "cell"]).itertuples():
        number = row.tss // 10_000 - 1
        for place in range(1 if number == 8 else 5):
            start = row.tss + 1000 * place + 900
            value = (0.1, 0.6, -0.3, 0.0001, 0.2)[place] if number == 6 else 0.05 * place
            value = {8: 0.9}.get(number, value) if row.split == "both" else 9
            link = {"chrom": row.chromosome, "chromStart": start, "chromEnd": start + 200, "CellType": row.cell}
            link |= {"measuredGeneEnsemblId": row.gene_id, "attention": 0.2, "adjusted": 0.1, "signal": place}
            rows.append(link | {"ablation": value})
    return pd.DataFrame(rows)


def link_score_rows() -> pd.DataFrame:
    """A table as links_eval.csv with the curves' areas."""
    regulated, distance = np.array([1, 0, 1, 0]), np.array([1000, 2000, 4000, 200_000.0])
    names = dict.fromkeys([*link_evaluation.BASELINES, "ablation"], np.array([4, 3, 2, 1.0]))
    return pd.DataFrame(link_evaluation.score_links(regulated, distance, names, draws=5))


def make_folder(path, gene="g{}", record=None, log=True):
    """A folder with everything that the page can show, and the folder of the training beside it."""
    trained, folder = path / "trained", path / "predicted"
    trained.mkdir(parents=True)
    folder.mkdir()
    model = write(trained / "best_model.keras", "a model")
    if log:
        head = "epoch,loss,val_loss,val_pearson,learning_rate,seconds\n"
        write(trained / "performance_log.csv", f"{head}0,1.0,0.9,0.1,1,1\n1,0.8,0.5,0.45,1,1\n2,0.7,0.6,0.4,1,1\n")
        write(trained / "train.json", json.dumps({"creator_version": "0.0.7", "settings": {"warm_up": 123}}))
    known = {"creator_version": "0.0.8", "store": "../store", "model": str(model), "model_sha256": hash_file(model)}
    known |= {"cells": ["A", "D"], "genes": 10, "options": {"width": 20, "tracks": "up,noise"}}
    write(folder / "predict.json", json.dumps(known | TRAINING | (record or {})))
    score_rows().to_csv(folder / "eval.csv", index=False)
    expression_rows(gene).to_csv(folder / "expression.tsv", sep="\t", index=False)
    link_rows(gene).to_csv(folder / "links.tsv", sep="\t", index=False)
    link_score_rows().to_csv(folder / "links_eval.csv", index=False)
    target, ranks = np.array([1, 0, 1, 0]), np.array([4, 3, 2, 1.0])
    curves = link_curves(target, np.full(4, 1e3), {"ablation": ranks, "inverse_distance": -ranks})
    pd.DataFrame(curves).to_csv(folder / "links_curves.csv", index=False)
    return folder


def over_all_cells(*arguments, **keywords) -> report.Run:
    """A run with nothing but the scores of `score_rows`."""
    return report.Run(None, scored=score_rows(*arguments, **keywords).query("cell == 'all'"))


@pytest.fixture
def not_drawn(monkeypatch):
    """Pictures are empty, which saves their time."""
    monkeypatch.setattr("core.figures.to_svg", lambda figure, label, palette: "<svg></svg>")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    """The page of a folder that has everything but the store."""
    folder = make_folder(tmp_path_factory.mktemp("page"))
    return report.write_report(folder).read_text()


def headings(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def text_of(html: str) -> str:
    """What is read on a page: tags become blanks, no-break spaces blanks."""
    body = html.split("</head>")[1].replace("&#39;", "'")
    return " ".join(re.sub(r"<[^>]+>", " ", body).replace("\N{NO-BREAK SPACE}", " ").split())


def pictures(html: str) -> list:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


# ------------------------------------------------------------------------------------------------- the whole page
def test_everything_is_there(whole):
    assert headings(whole) == list(SECTIONS)
    labels = [picture.get("aria-label") for picture in pictures(whole)]
    assert len(labels) == 1 + 4 + 2 + 2 + 1 + 2 + 1  # headline, scatter, baselines, training, links, curves, locus
    assert all(len(label) > 40 for label in labels)
    assert whole.count("<figure") == whole.count("<figcaption>") == len(labels)
    assert not re.search(r"<(script|link|img|iframe)|https?:|url\(", whole)
    assert len(whole) < 400_000


def test_numbers_of_the_tables_are_those_of_eval_csv(whole):
    tables = re.findall(r'aria-label="(Scores, [^"]*)"><table>(.*?)</table>', whole, re.DOTALL)
    assert [name for name, _ in tables] == [
        "Scores, both: cells held out, chromosomes held out",
        "Scores, train: cells seen, chromosomes seen",
    ]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in tables[0][1].split("<tr")[2:]]
    assert [row[0] for row in cells] == ["CREaTor", "gene mean", "promoter ridge", "distance ridge", "change ridge"]
    assert cells[0][:5] == ["CREaTor", "0.700", "0.649 to 0.753", "–", "–"]
    assert cells[1][:8] == [
        "gene mean",
        "0.600",
        "0.549 to 0.653",
        "+0.100",
        "+0.050 to +0.200",
        "0.010",
        "0.600",
        "0.600",
    ]
    assert cells[1][8:] == ["0.600", "0.549 to 0.653", "+0.100", "0.010"]
    assert "1,234" not in whole  # rows of single cells


def test_verdict_is_that_of_the_intervals():
    def verdict(*arguments, **keywords) -> str:
        return " ".join(report.headline(over_all_cells(*arguments, **keywords)))

    told = verdict()
    assert (
        "In held-out cells on held-out chromosomes, predicted and measured expression correlate at Pearson 0.700"
        in told
    )
    assert "The network is above all 4 baselines there; from the strongest, gene mean, it differs by +0.100" in told
    told = verdict(low=-0.01)
    assert "not above all baselines there: it is not distinguishable from gene mean; above promoter ridge, " in told
    assert "hardest split" not in told
    assert "No held-out cell is scored on held-out chromosomes: this is the hardest split." in verdict(
        ["train", "cell"]
    )


def test_a_network_below_a_baseline_is_said_to_be():
    run = over_all_cells(["both"])
    table = run.scored
    below = table["predictor"] == "change_ridge"
    table.loc[below, ["Pearson_difference", "Pearson_difference_low", "Pearson_difference_high"]] = [-0.2, -0.3, -0.1]
    assert "it is below change ridge; above gene mean, promoter" in report.headline(run)[1]


def test_epoch_of_the_lowest_validation_loss_is_marked(whole):
    assert "Training chose epoch 1," in text_of(whole)
    label = next(picture.get("aria-label") for picture in pictures(whole) if "Loss" in picture.get("aria-label"))
    assert label == "Loss by epoch, 3 epochs; at epoch 1, which was chosen: training 0.800, validation 0.500."


def test_what_was_run(whole):
    told = text_of(whole)
    for part in ("trained with 0.0.7", "predicted with 0.0.8", "warm_up 123", "width 20 · tracks up,noise", "../store"):
        assert part in told


# ------------------------------------------------------------------------------------------------------ the locus
def test_locus_is_that_of_the_highest_link_of_a_held_out_gene(tmp_path):
    folder = make_folder(tmp_path)
    run = report.read_run(folder)
    locus = run.locus
    assert (locus.gene, locus.cell, locus.chromosome, locus.split, locus.score) == (
        "g6",
        "D",
        "III",
        "both",
        "ablation",
    )
    assert locus.links["best"].tolist() == [True, True, True, False, True]  # .0001 is too low for an arc
    assert locus.links["ablation"].tolist() == [0.1, 0.6, -0.3, 0.0001, 0.2]
    assert (locus.tss, locus.start, locus.end) == (70_000, 69_500, 75_600)  # from the TSS to +5.1 kb, and 500 bp
    assert locus.genes["gene_id"].tolist() == ["g6"]
    assert {name: signal.tolist() for name, signal in locus.tracks.items()} == {"mean of the tracks": [0, 1, 2, 3, 4]}
    told = text_of(report.build_page(run))
    assert "ablation 0.6 of the cCRE 2,000 bp downstream of its TSS. It was" in told
    assert "Tracks of the locus: no store " in told


def test_arcs_end_at_the_tss_and_are_as_high_as_their_score(tmp_path):
    locus = report.read_run(make_folder(tmp_path)).locus
    picture = ElementTree.fromstring(report.draw_locus(locus, "unit", "label"))
    arcs = {path.findtext("title"): path for path in picture if (path.findtext("title") or "").endswith(("6", "-0.3"))}
    up, down = arcs["+2,000 bp: 0.6"], arcs["+3,000 bp: -0.3"]
    assert "var(--network)" in up.get("style")
    assert "var(--baseline)" in down.get("style")
    points = [np.array(re.findall(r"-?[\d.]+", path.get("d")), float).reshape(-1, 2) for path in (up, down)]
    (begin, *_, end), (other, *_, _) = points
    assert begin == pytest.approx(other, abs=0.11)  # both at the TSS
    assert end[0] - begin[0] == pytest.approx(648 * 2000 / 6100, abs=0.2)
    heights = [begin[1] - points[0][:, 1].min(), points[1][:, 1].max() - begin[1]]
    assert heights[0] / heights[1] == pytest.approx(2, abs=0.02)


def test_tracks_of_the_locus_come_from_the_store(tmp_path, monkeypatch):
    """The store has the links' cCREs in another order; `up` is their number, `noise` is no track of the cell."""
    folder = make_folder(tmp_path, record={"store_identity": "same"})
    ends = link_rows()[lambda table: (table["measuredGeneEnsemblId"] == "g6") & (table["CellType"] == "D")]
    order = [4, 2, 0, 1, 3]
    store = SimpleNamespace(
        path="s", cells=("A", "D"), tracks=("noise", "up"), signal_tracks=([0], [1]), identity=lambda: "same",
        gene_id=np.array([b"g5", b"g6"]), in_reach=lambda gene: np.arange(5) if gene else np.array([], int),
        element_start=ends["chromStart"].to_numpy()[order], element_end=ends["chromEnd"].to_numpy()[order],
        tokens=np.zeros((5, 100)),
        read_signal=lambda cell, some: np.array(order, float)[some][:, None, None] * np.ones((1, 100, 2)) * cell,
    )  # fmt: skip
    monkeypatch.setattr("creator.store.open_store", lambda path: store)
    run = report.read_run(folder)
    assert {name: signal.tolist() for name, signal in run.locus.tracks.items()} == {"up": [0, 1, 2, 3, 4]}
    store.identity = lambda: "another"
    run = report.read_run(folder)
    assert list(run.locus.tracks) == ["mean of the tracks"]
    assert "no longer the store that was predicted from" in " ".join(run.absent)


# ---------------------------------------------------------------------------------------------- curves by hand
def test_curve_of_a_tiny_ranking_by_hand():
    """+ - + -: recall 1/2 at precision 1, 1 at 2/3; below 10 kb the first three, above 100 kb no regulated pair."""
    regulated, distance = np.array([1, 0, 1, 0]), np.array([1000, 2000, 4000, 200_000.0])
    rows = pd.DataFrame(link_curves(regulated, distance, {"ablation": np.array([4, 3, 2, 1.0])}))
    assert rows.columns.tolist() == ["distance", "score", "recall", "precision"]
    assert rows["distance"].unique().tolist() == ["all", "below 10 kb"]
    points = rows.loc[rows["distance"] == "all", ["recall", "precision"]].round(4).to_numpy().tolist()
    assert points[0] == [0, 1]
    assert [0.5, 1] in points
    assert [1, 0.6667] in points
    assert (np.diff(rows.loc[rows["distance"] == "all", "recall"]) >= 0).all()


def test_ties_are_one_step_and_curves_enclose_the_average_precision():
    recall, precision = scores.precision_recall(np.array([1, 0, 1, 0]), np.ones(4))
    assert (recall.tolist(), precision.tolist()) == ([0, 1], [1, 0.5])
    assert [len(points) for points in scores.precision_recall(np.zeros(3), np.arange(3))] == [0, 0]
    random = np.random.default_rng(2)
    target, score = random.integers(0, 2, 300), random.integers(0, 40, 300)
    recall, precision = scores.precision_recall(target, score)
    assert (np.diff(recall) * precision[1:]).sum() == pytest.approx(scores.auprc(target, score))


def test_long_curves_are_thinned():
    random = np.random.default_rng(1)
    target, distance = random.integers(0, 2, 5000), np.full(5000, 50_000.0)
    rows = pd.DataFrame(link_curves(target, distance, {"ablation": random.random(5000)}))
    assert rows.groupby("distance").size().between(100, 200).all()
    assert rows["recall"].max() == 1


# ---------------------------------------------------------------------------------------------- what is absent
@pytest.mark.usefixtures("not_drawn")
@pytest.mark.parametrize(
    ("gone", "sections", "sentence"),
    [
        ("eval.csv", ["Result", "Beside the baselines"], "Scores of expression: eval.csv is not there"),
        ("links_eval.csv", ["Links against tested pairs"], "Links against tested pairs: links_eval.csv is not there"),
        ("links_curves.csv", [], "Precision-recall curves: links_curves.csv is not there"),
        ("links.tsv", ["Links of one gene"], "Links of one gene: links.tsv is not there"),
        (
            "expression.tsv",
            ["Predicted against measured expression", "Links of one gene"],
            "Predicted against measured expression: expression.tsv is not there",
        ),
        ("predict.json", ["Training"], "Options, model and training: predict.json is not there"),
        ("../trained/best_model.keras", ["Training"], "the model that predict.json names is not where it was"),
        ("../trained/performance_log.csv", ["Training"], "there is no performance_log.csv"),
    ],
)
def test_what_is_absent_is_left_out_with_a_sentence(tmp_path, gone, sections, sentence):
    folder = make_folder(tmp_path)
    (folder / gone).unlink()
    html = report.build_page(report.read_run(folder))
    assert headings(html) == [name for name in SECTIONS if name not in sections]
    assert sentence in text_of(html)


@pytest.mark.usefixtures("not_drawn")
def test_what_is_damaged_or_not_of_this_model_is_left_out_with_a_sentence(tmp_path):
    folder = make_folder(tmp_path)
    write(folder / "links_eval.csv", "distance,score\nall,ablation\n")
    write(folder / "../trained/best_model.keras", "another model")
    html = report.build_page(report.read_run(folder))
    assert headings(html) == [name for name in SECTIONS if name not in ("Training", "Links against tested pairs")]
    assert "Scores of links: links_eval.csv: " in text_of(html)
    assert "is no longer the model that predicted" in text_of(html)


@pytest.mark.usefixtures("not_drawn")
def test_a_folder_with_links_only_is_headed_by_them(tmp_path):
    folder = make_folder(tmp_path)
    for name in ("eval.csv", "expression.tsv", "predict.json"):
        (folder / name).unlink()
    html = report.build_page(report.read_run(folder))
    assert "4 pairs of an element and a gene, 2 of them regulated" in text_of(html)
    assert headings(html) == ["Links against tested pairs", "Not on this page", "What was run"]


@pytest.mark.usefixtures("not_drawn")
def test_scores_older_than_the_predictions_are_doubted(tmp_path):
    folder = make_folder(tmp_path)
    os.utime(folder / "eval.csv", (1, 1))
    assert "eval.csv is older than expression.tsv: it may be of earlier predictions" in text_of(
        report.build_page(report.read_run(folder))
    )


def test_a_model_trained_elsewhere_is_not_compared():
    run = over_all_cells([""])
    run.scored = run.scored.query("predictor == 'network'")
    told = report.headline(run)
    assert "what the model was trained on is not known" in told[0]
    assert told[1].startswith("No baseline is known here")


# ---------------------------------------------------------------------------------------- names, files, the command
def test_names_are_only_text(tmp_path):
    folder = make_folder(tmp_path / HOSTILE.replace("/", "|"), gene=f"{HOSTILE}{{}}", record={"cells": [HOSTILE]})
    html = report.build_page(report.read_run(folder))
    assert HOSTILE not in html
    assert str(escape(HOSTILE)) in html
    assert any(f"{clean_text(HOSTILE)}6" in "".join(picture.itertext()) for picture in pictures(html))


@pytest.mark.usefixtures("not_drawn")
def test_the_page_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = make_folder(tmp_path)
    write(folder / "report.html", "earlier")
    monkeypatch.setattr("core.files.os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        report.write_report(folder)
    monkeypatch.undo()
    assert (folder / "report.html").read_text() == "earlier"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html is a folder"):
        report.write_report(folder)


@pytest.mark.usefixtures("not_drawn")
def test_evaluate_names_the_page_and_writes_none_without_a_folder_or_with_another_file(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("creator.evaluation.DRAWS", 20)
    folder = make_folder(tmp_path / "run")
    (folder / "links_curves.csv").unlink()
    head = "\t".join([*link_evaluation.PLACED, *link_evaluation.SCORED])
    lines = [f"III\t71900\t72100\tg6\tD\tTRUE\t{distance}\t1\t1\t1" for distance in (1900, 2000)]
    lines += [f"III\t73900\t74100\tg6\tD\tFALSE\t{distance}\t1\t1\t1" for distance in (3900, 4000)]
    pairs = write(tmp_path / "pairs.tsv", "\n".join([head, *lines]) + "\n")
    arguments = ["evaluate", "--links", str(pairs)]
    assert CREaTor.main([*arguments, "--out", str(folder), "--to", "x.csv"]) == 0
    assert CREaTor.main(arguments) == 0
    assert capfd.readouterr().out.endswith("written: links_eval.csv\n")
    assert not list(tmp_path.rglob("report.html"))
    assert not list(tmp_path.rglob("links_curves.csv"))
    assert CREaTor.main([*arguments, "--out", str(folder)]) == 0
    told = f"written: {folder / 'links_eval.csv'}\npage: {folder / 'report.html'}\n"
    assert capfd.readouterr().out.endswith(told)
    assert "Links against tested pairs" in headings((folder / "report.html").read_text())
    curves = pd.read_csv(folder / "links_curves.csv")
    assert curves["score"].unique().tolist() == [*link_evaluation.BASELINES, *link_evaluation.LINK_SCORES]
