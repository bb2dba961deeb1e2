"""lcre_explain.py over a run of two folds whose networks are linear, so that every number it writes is known."""

import csv
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import PNG, one_line, write
from genomes import Gene, random_sequence, read_window, show_codes, write_fasta, write_gtf
from runs import DAMAGE, of_older_version

import lcre_explain
from core import InputError, show_value
from core.files import file_names, replacing
from lcre import motifs, trained
from lcre.motifs import Motif
from lcre_classifier import WindowLayout

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM, DOWNSTREAM, PADDING = 30, 15, 4
COLUMNS = 2 * (UPSTREAM + DOWNSTREAM) + PADDING
FILES = {"contributions.npz", "genes.csv", "logos", "modisco_attributions.npz", "modisco_sequences.npz", "profile.csv"}
FILES |= {"profile.png", "profile.svg", "words.csv"}


@dataclass
class ToyRun:
    """A run on disk and what is known about it."""

    prefix: Path
    weights: dict[str, np.ndarray]  # fold -> of its network, (columns, 4)
    codes: dict[str, np.ndarray]  # gene -> its window
    probability: dict[str, float]
    target: dict[str, int]

    def command(self, out: Path, *flags: str) -> list[str]:
        return ["--models", str(self.prefix), "--out", str(out), "--references", "4", "--steps", "2", *flags]


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, table: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)


def save_linear(path: Path, weights: np.ndarray) -> None:
    from keras import Sequential, layers

    last = layers.Dense(1, activation="sigmoid")
    model = Sequential([layers.Input(weights.shape), layers.Flatten(), last])
    last.set_weights([weights.reshape(-1, 1), np.zeros(1)])
    model.save(path)


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> ToyRun:
    """Twelve genes on each of two chromosomes, both strands; every third is predicted wrongly, one is middle."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(11)
    sequences = {name: random_sequence(random, 2600) for name in ("1", "2")}
    genes = [
        Gene(f"g{name}_{place}", name, 100 + 200 * place, 100 + 200 * place + 90, "+-"[place % 2])
        for name in sequences
        for place in range(12)
    ]
    weights = {name: random.normal(0, 0.3, (COLUMNS, 4)).astype(np.float32) for name in sequences}
    codes, probability, target, table = {}, {}, {}, []
    for place, gene in enumerate(genes):
        window = read_window(sequences[gene.chromosome], gene, UPSTREAM, DOWNSTREAM, PADDING, masked=3)
        codes[gene.gene_id] = np.array(["ACGT.".index(letter) for letter in window], np.uint8)
        logit = float((weights[gene.chromosome] * np.eye(5, 4)[codes[gene.gene_id]]).sum())
        probability[gene.gene_id] = 1 / (1 + np.exp(-logit))
        right = int(logit > 0)
        target[gene.gene_id] = 2 if place == 1 else 1 - right if place % 3 == 2 else right
        table.append(
            {
                **{"gene_id": gene.gene_id, "chromosome": gene.chromosome, "target": target[gene.gene_id]},
                **{"logMaxTPM": 1.0, "probability": f"{probability[gene.gene_id]:.6f}"},
            }
        )
    prefix = folder / "toy"
    write_rows(Path(f"{prefix}_predictions.csv"), table)
    for name in sequences:
        (folder / f"toy_model_{name}").mkdir()
        save_linear(folder / f"toy_model_{name}/best_model.keras", weights[name])
        roles = [("test" if gene.chromosome == name else "train") for gene in genes]
        roles[1] = "unused"
        both = [{"gene_id": gene.gene_id, "role": role} for gene, role in zip(genes, roles, strict=True)]
        write_rows(folder / f"toy_model_{name}/genes.csv", both)
    fasta, gtf = write_fasta(folder / "toy.fa", sequences), write_gtf(folder / "toy.gtf", genes)
    settings = {"DATASET": "demo", "ORGANISM": "toy", "FASTA": str(fasta), "GTF": str(gtf), "UPSTREAM": UPSTREAM}
    settings |= {"DOWNSTREAM": DOWNSTREAM, "PADDING": PADDING}
    record = {"settings": settings, "inputs": {}, "folds": ["1", "2"], "finished": "2026-01-01T00:00:00+00:00"}
    Path(f"{prefix}_run.json").write_text(json.dumps(record))
    return ToyRun(prefix, weights, codes, probability, target)


@pytest.fixture(scope="module")
def explained(toy, tmp_path_factory) -> Path:
    """What the plain command writes."""
    out = tmp_path_factory.mktemp("explained")
    assert lcre_explain.main(toy.command(out, "--logos", "2")) == 0
    return out


def arrays(out: Path) -> dict[str, np.ndarray]:
    with np.load(out / "contributions.npz") as file:
        return dict(file)


def fails(capsys, command: list[str]) -> str:
    """Return the one line on stderr of a command that must end with status 2."""
    capsys.readouterr()
    try:
        status = lcre_explain.main(command)
    except SystemExit as left:  # the command line's parser
        status = left.code
    errors = capsys.readouterr().err
    assert status == 2, errors
    assert errors.startswith("lcre_explain.py: ")
    assert errors.count("\n") == 1
    assert len(errors) < 600
    return errors


# --------------------------------------------------------------------------------------------- what is written
def test_writes_every_file_and_nothing_half(explained):
    assert {path.name for path in explained.iterdir()} == FILES
    assert len(list((explained / "logos").iterdir())) == 4  # two genes, .png and .svg
    for path in explained.rglob("*.png"):
        assert path.read_bytes().startswith(PNG[:8])


def test_correct_held_out_genes_are_explained_each_by_its_own_fold(toy, explained):
    found = arrays(explained)
    correct = [
        gene for gene, target in toy.target.items() if target in (0, 1) and (toy.probability[gene] > 0.5) == target
    ]
    assert found["gene_id"].tolist() == correct
    for row, gene in enumerate(correct):
        codes, weights = toy.codes[gene], toy.weights[gene[1]]
        assert show_codes(np.where(found["one_hot"][row].any(1), found["one_hot"][row].argmax(1), 4)) == show_codes(
            codes
        )
        # linear: differences between bases of one column are those of the weights, whatever the references
        hypothetical = found["hypothetical"][row][codes != 4]
        expected = weights[codes != 4]
        spread = hypothetical - hypothetical.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(spread, expected - expected.mean(axis=1, keepdims=True), atol=1e-4)
        assert not found["hypothetical"][row][codes == 4].any()
        np.testing.assert_array_equal(found["contributions"][row], found["hypothetical"][row] * found["one_hot"][row])
        sums = float(found["contributions"][row].sum())
        assert sums == pytest.approx(found["logit"][row] - found["reference_logit"][row], abs=1e-3)
        assert 1 / (1 + np.exp(-found["logit"][row])) == pytest.approx(toy.probability[gene], abs=1e-5)
    assert np.median(found["completeness_gap"]) < 1e-3
    table = rows(explained / "genes.csv")
    assert [row["gene_id"] for row in table] == correct
    assert [row["fold"] for row in table] == [gene[1] for gene in correct]
    assert float(table[0]["completeness_gap"]) == pytest.approx(found["completeness_gap"][0], abs=1e-6)


def test_arrays_are_as_the_contract_says(explained):
    found = arrays(explained)
    genes = len(found["gene_id"])
    assert {name: (found[name].shape, found[name].dtype) for name in ("one_hot", "contributions", "hypothetical")} == {
        "one_hot": ((genes, COLUMNS, 4), np.dtype("uint8")),
        "contributions": ((genes, COLUMNS, 4), np.dtype("float32")),
        "hypothetical": ((genes, COLUMNS, 4), np.dtype("float32")),
    }
    for name, of in (("modisco_sequences", "one_hot"), ("modisco_attributions", "hypothetical")):
        with np.load(explained / f"{name}.npz") as pair:
            assert pair.files == ["arr_0"]
            np.testing.assert_array_equal(pair["arr_0"], found[of].transpose(0, 2, 1))


def test_profile_by_hand(toy, explained):
    found, table = arrays(explained), rows(explained / "profile.csv")
    assert list(table[0]) == ["position", "region", "class", "mean_abs_contribution"]
    target = np.array([toy.target[gene] for gene in found["gene_id"]])
    values = np.abs(found["contributions"].sum(axis=2))
    zero = {"promoter": UPSTREAM, "terminator": UPSTREAM + DOWNSTREAM + PADDING + DOWNSTREAM}
    for row in table:
        column = zero[row["region"]] + int(row["position"])
        expected = values[target == ("low", "high").index(row["class"]), column].mean()
        assert float(row["mean_abs_contribution"]) == pytest.approx(expected, abs=1e-6)
    places = {(row["region"], int(row["position"])) for row in table}
    assert len(table) == 2 * len(places)
    # masked codons, and the outermost bases of each region, which shuffles leave in their place, are left out
    assert places == {("promoter", at) for at in range(-29, 14) if at not in (0, 1, 2)} | {
        ("terminator", at) for at in range(-14, 29) if at not in (-3, -2, -1)
    }


def test_report_reads_the_profile(explained):
    from lcre.report import PROFILE_NUMBERS, draw_profile, read_columns

    profile = read_columns(explained / "profile.csv", ["region", "class"], PROFILE_NUMBERS)
    for region, site in (("promoter", "TSS"), ("terminator", "TES")):
        assert f"position from the {site}" in draw_profile(profile, region)


def test_same_command_same_numbers_and_no_gene_depends_on_the_others(toy, explained, tmp_path):
    whole = arrays(explained)
    gene = str(whole["gene_id"][3])
    assert lcre_explain.main(toy.command(tmp_path, "--genes", gene, "--logos", "0")) == 0
    np.testing.assert_allclose(arrays(tmp_path)["hypothetical"][0], whole["hypothetical"][3], atol=1e-6)
    assert not (tmp_path / "logos").exists()


def test_mutagenesis(toy, tmp_path, capsys):
    assert lcre_explain.main(toy.command(tmp_path, "--method", "mutagenesis", "--genes", "2", "--logos", "0")) == 0
    found = arrays(tmp_path)
    for row, gene in enumerate(found["gene_id"]):
        known, weights = toy.codes[gene] != 4, toy.weights[gene[1]]
        expected = (weights - weights.mean(axis=1, keepdims=True)) * known[:, None]
        np.testing.assert_allclose(found["hypothetical"][row], expected, atol=1e-4)
    assert "need not add up" in capsys.readouterr().out
    assert ("-30", "promoter") in {(row["position"], row["region"]) for row in rows(tmp_path / "profile.csv")}


# ------------------------------------------------------------------------------------------------ which genes
def test_genes_by_name_are_explained_right_or_wrong(toy, tmp_path):
    names = ["g2_2", "g1_1"]  # predicted wrongly; of middle expression
    (tmp_path / "list.txt").write_text("\n".join(names))
    for wanted in (",".join(names), str(tmp_path / "list.txt")):
        assert lcre_explain.main(toy.command(tmp_path / "out", "--genes", wanted)) == 0
        assert sorted(arrays(tmp_path / "out")["gene_id"]) == sorted(names)
    assert (tmp_path / "out/logos/g1_1.png").exists()


def test_bigwig_and_bed_of_a_run(toy, tmp_path, monkeypatch, capsys):
    """Two genes of 90 bp: g1_4 from base 900 of chromosome 1 on, g2_1 from 300 of 2 on, on the minus strand."""
    reader = pytest.importorskip("pyBigWig", reason="pyBigWig is not installed; requirements-dev.txt brings it")
    import pandas as pd

    genome = (toy.prefix.parent / "toy.fa").read_text().replace("\n", "").split(">")
    motif = genome[2][1:][405:413]  # behind the name 2; columns 7 to 15 of g2_1, whose window begins at base 419
    hit = {"sequence_name": [1], "start": [7], "end": [15], "strand": ["-"], "p-value": [2e-5]}
    known = {"k": np.eye(4)[["ACGT".index(base) for base in motif]].T}
    monkeypatch.setattr(motifs, "need_extra", lambda *packages: None)
    monkeypatch.setattr(motifs, "read_known", lambda path: known)
    monkeypatch.setitem(sys.modules, "memelite", SimpleNamespace(fimo=lambda *_, **__: [pd.DataFrame(hit)]))
    flags = ["--genes", "g1_4,g2_1", "--logos", "0", "--bigwig", "--bed", "--meme", "known.meme"]
    assert lcre_explain.main(toy.command(tmp_path, *flags)) == 0
    told, found = capsys.readouterr().out, arrays(tmp_path)
    assert "contributions.bw: 168 bases" in told  # two windows of 90 columns, without six masked bases each
    assert "motif_hits.bed: 1 hits of 1 of 1 motifs" in told
    values = found["contributions"].sum(axis=2)
    with reader.open(str(tmp_path / "contributions.bw")) as file:
        assert file.chroms() == {"1": 2600, "2": 2600}
        assert file.values("1", 870, 900) == values[0, :30].tolist()  # before the TSS
        assert file.values("1", 990, 1020) == values[0, -30:].tolist()  # behind the TES
        assert file.values("2", 390, 420) == values[1, 29::-1].tolist()
        assert file.values("2", 270, 300) == values[1, :-31:-1].tolist()
        assert np.isnan(file.values("2", 387, 390)).all()
        assert len(file.intervals("1")) == len(file.intervals("2")) == 84
    line = (tmp_path / "motif_hits.bed").read_text().splitlines()[1].split("\t")
    assert line[:6] == ["2", "405", "413", "k", "470", "+"]
    assert line[12:15] == ["2e-05", "g2_1", "promoter"]
    assert float(line[15]) == pytest.approx(values[1, 7:15].sum(), abs=1e-5)
    assert lcre_explain.main(toy.command(tmp_path, "--genes", "g1_4", "--logos", "0")) == 0
    assert not [path.name for path in tmp_path.iterdir() if path.suffix in (".bw", ".bed")]  # of the run before


def test_an_explanation_leaves_nothing_of_an_earlier_one_beside_it(toy, tmp_path, capsys):
    """Two genes of which one is drawn in the profile, then one of middle expression, which is not."""
    (tmp_path / "logos").mkdir(parents=True)
    for name in ("logos/g2_2.png", "motifs.csv", "contributions.npz", "mine.txt", "logos/mine.txt"):
        (tmp_path / name).write_text("old")
    assert lcre_explain.main(toy.command(tmp_path, "--genes", "g2_2,g1_1", "--logos", "0")) == 0
    assert "held-out genes to explain: 2 (" in capsys.readouterr().out
    assert (tmp_path / "profile.png").exists()
    assert lcre_explain.main(toy.command(tmp_path, "--genes", "g1_1", "--logos", "0")) == 0
    told = capsys.readouterr().out
    assert "held-out genes to explain: 1 (0 low, 0 high, 1 of neither class)" in told
    assert "no profile is drawn" in told
    assert rows(tmp_path / "profile.csv") == []
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    arrays_there = {"contributions.npz", "modisco_sequences.npz", "modisco_attributions.npz"}
    assert left == arrays_there | {"genes.csv", "profile.csv", "words.csv", "mine.txt", "logos/mine.txt"}


def test_a_folder_that_held_no_explanation_keeps_what_is_in_it(tmp_path):
    (tmp_path / "logos").mkdir()
    for name in ("logos/institute.png", "motifs.csv"):
        (tmp_path / name).write_text("mine")
    lcre_explain.clear(tmp_path)
    assert [path.read_text() for path in tmp_path.rglob("*.*")] == ["mine", "mine"]


def test_named_genes_do_not_replace_the_explanation_of_the_run():
    def folder(*flags: str) -> str:
        return lcre_explain.parse_arguments(["--models", "saved_models/mine", *flags]).out.name

    assert [folder(), folder("--genes", "20"), folder("--genes", "g20")] == [
        *("mine_explain", "mine_explain", "mine_explain_named")
    ]
    assert folder("--genes", "g20", "--out", "here") == "here"


def test_a_number_of_genes_is_drawn_from_both_classes():
    target = np.array([0] * 50 + [1] * 50)
    drawn = lcre_explain.draw_evenly(target, 10, 1)
    assert target[drawn].tolist() == [0] * 5 + [1] * 5
    assert not np.array_equal(drawn, lcre_explain.draw_evenly(target, 10, 2))
    few = lcre_explain.draw_evenly(np.array([0, 0, 1]), 3, 1)
    assert few.tolist() == [0, 1, 2]
    assert len(lcre_explain.draw_evenly(np.array([0, 1, 1, 1, 1]), 4, 1)) == 4
    assert len(lcre_explain.draw_evenly(np.array([0, 1]), 99, 1)) == 2


def test_another_genome_of_the_same_names_is_noticed(toy, tmp_path, capsys):
    """Another genome of the same names: the run's predictions do not come out, and that is said."""
    random = np.random.default_rng(5)
    fasta = write_fasta(tmp_path / "other.fa", {name: random_sequence(random, 2600) for name in "12"})
    assert lcre_explain.main(toy.command(tmp_path / "out", "--fasta", str(fasta), "--logos", "0")) == 0
    assert "warning: " in capsys.readouterr().out


# --------------------------------------------------------------------------------------------------- misuse
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--genes", "nobody,g1_0"], "1 of 2 genes"),
        (["--genes", "0"], "--genes 0 is out of range"),
        (["--genes", "9" * 5000], "is out of range; give 1 to 999999999"),
        (["--genes", "nobody\n\x1b[31m" + "x" * 5000], "1 of 1 genes"),
        (["--genes", ","], "names no gene"),
        (["--genes", "missing.txt"], "missing.txt"),
        (["--steps", "0"], "--steps 0"),
        (["--word", "20"], "--word 20"),
        (["--references", "0"], "--references 0"),
        (["--steps", "many"], "many"),
        (["--method", "guessing"], "guessing"),
        (["--gene", "g1_0"], "did you mean --genes"),
        (["--fasta", "missing.fa"], "missing.fa"),
        (["--bed"], "--bed needs motifs: give known ones with --meme FILE"),
        (["--genes", "-3"], "--genes -3 is out of range"),
        (["--bigwig", "scores.bw"], "scores.bw is one argument too many"),
        (["--bigwig", "--out", "scores.bw"], "--out scores.bw is the name of a folder"),
    ],
)
def test_misuse_is_one_line(toy, tmp_path, capsys, flags, told):
    assert told in fails(capsys, toy.command(tmp_path / "out", *flags))
    assert not (tmp_path / "out").exists()


def test_no_run_and_other_species(toy, tmp_path, capsys):
    assert "nothing" in fails(capsys, ["--models", str(tmp_path / "nothing")])
    other = write_gtf(tmp_path / "other.gtf", [Gene("h1", "1", 100, 200)])
    assert "no gene in common" in fails(capsys, toy.command(tmp_path / "out", "--gtf", str(other)))
    other = write_fasta(tmp_path / "other.fa", {"X": "ACGT" * 100})
    assert "no chromosome in common" in fails(capsys, toy.command(tmp_path / "out", "--fasta", str(other)))
    write(tmp_path / "file", "x")
    assert "--out" in fails(capsys, toy.command(tmp_path / "file"))


@pytest.fixture
def copied(toy, tmp_path) -> ToyRun:
    """Give a copy of the run, with its genome and annotation, that a test may spoil."""
    shutil.copytree(toy.prefix.parent, tmp_path / "run")
    text = Path(f"{toy.prefix}_run.json").read_text().replace(str(toy.prefix.parent), str(tmp_path / "run"))
    (tmp_path / "run/toy_run.json").write_text(text)
    return ToyRun(tmp_path / "run/toy", toy.weights, toy.codes, toy.probability, toy.target)


@pytest.mark.parametrize("what", DAMAGE)
def test_a_record_that_was_edited_or_damaged(copied, tmp_path, capsys, what):
    change, says = DAMAGE[what]
    record = Path(f"{copied.prefix}_run.json")
    record.write_bytes(change(json.loads(record.read_text())))
    told = fails(capsys, copied.command(tmp_path / "out"))
    for text in (str(record), says, "restore it from a copy"):
        assert text in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"FASTA": None}, "FASTA: "),
        ({"GTF": ""}, "give --gtf"),
        ({"FASTA": "x" * 5000, "DATASET": None}, "is not there; give --fasta"),
        ({"FASTA": "a\0b\nc"}, "trained on a\\x00b\\nc, which is not there; give --fasta"),
        ({"FASTA": "\ud800"}, "which is not there; give --fasta"),
        ({"UPSTREAM": UPSTREAM + 1}, f"takes [null, {COLUMNS}, 4]"),
    ],
)
def test_a_record_that_does_not_name_its_files(copied, tmp_path, capsys, settings, says):
    record = Path(f"{copied.prefix}_run.json")
    content = json.loads(record.read_text())
    content["settings"] |= settings
    record.write_text(json.dumps(content))
    assert says in fails(capsys, copied.command(tmp_path / "out"))


def test_a_run_of_an_older_version(copied, toy, explained, tmp_path):
    """Its record lacks DATASET and what came later, its tables have columns more: the same numbers come out."""
    record = Path(f"{copied.prefix}_run.json")
    content = json.loads(record.read_text())
    del content["settings"]["DATASET"]
    record.write_bytes(of_older_version(content))
    for path in (Path(f"{copied.prefix}_predictions.csv"), *copied.prefix.parent.glob("toy_model_*/genes.csv")):
        table = [{"codon": "?", **row, "more": "a,b"} for row in rows(path)]
        for row in table:
            row.pop("logMaxTPM", None)
        write_rows(path, table)
    assert lcre_explain.main(copied.command(tmp_path / "out", "--logos", "0")) == 0
    for name in ("genes.csv", "profile.csv", "words.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (explained / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: "", "cannot be read as CSV"),
        (lambda text: text.splitlines()[0] + "\n", "no held-out gene"),
        (lambda text: text.replace("probability", "p"), "has no column probability"),
        (lambda text: text + "g9,1,2,1.0,1e308\n", "probability holds '1e308' where a number from 0 to 1"),
        (lambda text: text + "g9,1,1e308,1.0,0.5\n", "target holds '1e308' where a number from 0 to 2"),
        (lambda text: text + "g9,1,high,1.0,0.5\n", "target holds 'high' where a number"),
        (lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1), "rows have more cells"),
        (lambda text: text + "x" * 20_000 + ",1,1,1.0,0.5\n", "ids of more than 10,000 characters"),
        (lambda text: "\x89PNG\0", "predictions.csv"),
    ],
)
def test_predictions_that_are_damaged(copied, tmp_path, capsys, change, says):
    path = Path(f"{copied.prefix}_predictions.csv")
    path.write_text(change(path.read_text()))
    told = fails(capsys, copied.command(tmp_path / "out"))
    assert says in told
    assert str(copied.prefix) in told


def test_predictions_that_are_not_finite_are_none(copied, tmp_path):
    """A cell without a finite number is an empty one, and so is one that a row cut short has not."""
    path = Path(f"{copied.prefix}_predictions.csv")
    path.write_text(path.read_text() + "n1,1,1,1.0,nan\nn2,1,1,1.0,inf\nn3,1,nan,1.0,0.5\nn4,1,1")
    genes = lcre_explain.choose_genes(trained.load_run(copied.prefix, WindowLayout.of), "n3,g1_0", 1)
    assert genes["gene_id"].tolist() == ["g1_0", "n3"]
    assert genes["target"].tolist() == [copied.target["g1_0"], -1]
    with pytest.raises(InputError, match="3 of 3 genes have no prediction"):
        lcre_explain.choose_genes(trained.load_run(copied.prefix, WindowLayout.of), "n1,n2,n4", 1)


# ------------------------------------------------------------------------------------------- ids of any letters
def svg_texts(path: Path) -> str:
    """The texts of a picture, which is well-formed XML."""
    return "\n".join("".join(element.itertext()) for element in ElementTree.parse(path).getroot().iter())


ODD_IDS = [r"$\x$", r"a_{b}^c\frac%&#~", "$", "$$", r"\$5\\", "<b>&\"'", "基因1 é", "line\nbreak\x1b[31m", "\u202egene"]
ODD_IDS.append("x" * 3000)


@pytest.mark.parametrize("gene_id", ODD_IDS)
def test_ids_are_drawn_as_they_are(tmp_path, gene_id, recwarn):
    """No id is a formula, whatever the user's matplotlibrc says; what cannot be seen is written as in Python."""
    import matplotlib
    import pandas as pd

    gene = {"gene_id": gene_id, "target": 1, "probability": 0.5, "fold": gene_id, "logit": 0.0, "reference_logit": 0.0}
    contributions = np.eye(4)[np.arange(18) % 4]
    with matplotlib.rc_context({"text.usetex": True, "axes.formatter.use_mathtext": True}):
        lcre_explain.draw_gene(tmp_path / "gene", pd.Series(gene), contributions, WindowLayout(4, 4, 2))
    told = svg_texts(tmp_path / "gene.svg")
    assert f"{show_value(gene_id, 40)}: high; probability" in told
    assert f"(fold {show_value(gene_id, 30)}); logit" in told
    assert (tmp_path / "gene.png").stat().st_size < 200_000
    assert not recwarn.list


def test_names_of_known_motifs_are_drawn_as_they_are(tmp_path):
    found = [motif(match=r"$\x^{_$%", match_p_value=0.01), motif(match="$" * 100, match_p_value=0.01)]
    with lcre_explain.drawing() as plt:
        lcre_explain.save_figure(motifs.draw_motifs(plt, found), tmp_path / "motifs")
    assert r"like $\x^{_$%" in svg_texts(tmp_path / "motifs.svg")


def test_genes_of_odd_ids_are_explained_each_into_its_own_picture(copied, tmp_path, capsys):
    """Ids that are a formula, a path, too long for a file, and one name where case does not count."""
    odd = {"g1_0": r"$\x$", "g1_3": "a/b", "g1_4": "A_B", "g2_0": "x" * 300}
    run = copied.prefix.parent
    for path in (run / "toy_predictions.csv", run / "toy.gtf", *run.glob("toy_model_*/genes.csv")):
        text = path.read_text()
        for name, other in odd.items():
            for begin, end in (("\n", ","), ('"', '"')):
                text = text.replace(f"{begin}{name}{end}", f"{begin}{other}{end}")
        path.write_text(text)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    write(tmp_path / "ids.txt", "\n".join(odd.values()))
    out = tmp_path / "out"
    assert lcre_explain.main(copied.command(out, "--genes", str(tmp_path / "ids.txt"))) == 0
    assert capsys.readouterr().err == ""
    assert sorted(arrays(out)["gene_id"]) == sorted(odd.values())
    pictures = [path.name for path in (out / "logos").iterdir()]
    assert len({name.lower() for name in pictures}) == len(pictures) == 2 * len(odd)
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(out) or path.name == "ids.txt" for path in new)


def test_interrupted_run_leaves_the_earlier_one_whole(toy, explained, tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    assert lcre_explain.main(toy.command(tmp_path, "--genes", "g1_0", "--logos", "0")) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("lcre.attribution.integrated_gradients", interrupted)
    assert lcre_explain.main(toy.command(tmp_path, "--genes", "g1_3")) == 130
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert capsys.readouterr().err.count("\n") == 1


def test_importing_has_no_effect_and_help_names_every_flag():
    code = "import sys, lcre_explain; print(sorted({'tensorflow', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    shown = subprocess.run(
        [sys.executable, ROOT / "lcre_explain.py", "--help"], capture_output=True, text=True, timeout=30
    ).stdout
    for flag in ("models", "fasta", "gtf", "genes", "method", "steps", "references", "seed", "out", "logos", "word"):
        assert f"  --{flag} " in shown
    for flag in ("motifs", "meme", "bigwig", "bed"):
        assert f"  --{flag}" in shown


# --------------------------------------------------------------------------------------------------- motifs
def test_without_the_extra_one_line_says_how_to_get_it(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(motifs.importlib.util, "find_spec", lambda name: None)
    for flag in (["--motifs"], ["--meme", "motifs.meme"], ["--bed", "--meme", "motifs.meme"]):
        told = fails(capsys, toy.command(tmp_path / "out", *flag))
        assert "pip install -r requirements-motifs.txt" in told
    assert (ROOT / "requirements-motifs.txt").exists()


def motif(name: str = "raises_0", **more) -> Motif:
    frequencies = np.eye(4)[[2, 0, 3, 3, 0, 1, 0]] * 0.9 + 0.025
    values = {"effect": "raises", "seqlets": 4, "region": "promoter", "positions": np.array([-50, -40, -40, -30])}
    return Motif(name, frequencies=frequencies, contributions=frequencies, **(values | more))


def test_motifs_are_read_trimmed_and_placed(tmp_path):
    """A results file in TF-MoDISco's layout: one motif that raises, with weak ends, in the terminator."""
    import h5py

    letters = np.eye(4)[[0, 2, 0, 3, 3, 0, 1, 0, 0]]
    strength = np.array([0.01, 1, 1, 1, 1, 1, 1, 1, 0.02])[:, None]
    with h5py.File(tmp_path / "motifs.h5", "w") as file:
        pattern = file.create_group("pos_patterns/pattern_0")
        pattern["sequence"], pattern["contrib_scores"] = letters, letters * strength
        pattern["seqlets/start"], pattern["seqlets/end"] = [60, 62, 10], [70, 72, 20]
    layout = WindowLayout(upstream=30, downstream=10, padding=4)  # the TES is between columns 53 and 54
    (found,) = motifs.read_motifs(tmp_path / "motifs.h5", layout)
    assert (found.word, found.effect, found.seqlets, found.region) == ("GATTACA", "raises", 3, "terminator")
    assert found.positions.tolist() == [11, 13]
    row = motifs.tabulate([found]).iloc[0]
    assert (row["motif"], row["position"], row["match"]) == ("raises_0", 12, "")


def test_motif_table_and_figure(tmp_path):
    found = [motif(match="MA0001 GATA", match_p_value=0.0123), motif("lowers_0", effect="lowers")]
    table = motifs.tabulate(found)
    assert table["match_p_value"].tolist() == ["0.0123", ""]
    assert table.loc[0, ["position_low", "position", "position_high"]].tolist() == [-42, -40, -38]
    with lcre_explain.drawing() as plt:
        lcre_explain.save_figure(motifs.draw_motifs(plt, found), tmp_path / "motifs")
    assert {path.name for path in tmp_path.iterdir()} == {"motifs.png", "motifs.svg"}
    assert motifs.tabulate([]).empty


def test_best_match_is_taken_and_its_p_value_corrected_for_the_number_of_known_motifs(monkeypatch):
    def tomtom(queries, targets):
        assert [query.shape for query in queries] == [(4, 7), (4, 7)]
        assert len(targets) == 3
        return np.array([[0.5, 0.001, 0.2], [0.9, 0.8, 0.7]]), None

    monkeypatch.setitem(sys.modules, "memelite", SimpleNamespace(tomtom=tomtom))
    found = [motif(), motif("lowers_0")]
    motifs.match_motifs(found, {name: np.eye(4) for name in ("a", "b", "c")})
    assert [(one.match, one.match_p_value) for one in found] == [("b", 0.003), ("c", 1.0)]


def test_known_motifs(tmp_path):
    pytest.importorskip("memelite")
    matrix = "\n".join("0.1 0.2 0.3 0.4" for _ in range(3))
    text = f"MEME version 4\n\nMOTIF MA1 GATA\nletter-probability matrix: alength= 4 w= 3\n{matrix}\n"
    assert motifs.read_known(write(tmp_path / "good.meme", text))["MA1 GATA"].shape == (4, 3)
    faults = {
        PNG: "--meme: ",
        "nothing": "holds no motif",
        "MOTIF x\nletter-probability matrix: w= 2\na b\n": "line 3 should hold the probabilities of A, C, G and T",
        text.replace("0.3 0.4", "0.3", 1): "line 5 should hold the probabilities of A, C, G and T",
        text.replace("w= 3", ""): "line 4 has no w= N",
        text.replace("w= 3", "w= " + "9" * 5000): "line 4 has no w= N",  # fuzzing found it
    }
    for content, expected in faults.items():
        with pytest.raises(InputError, match=expected) as error:
            motifs.read_known(write(tmp_path / "bad.meme", content))
        assert one_line(error).startswith("--meme: ")


def test_gene_ids_become_file_names():
    plain = ["AT1G01010.1", "Solyc01g005000.3", "YAL001C", "LOC_Os01g01010", "a+b", "-x"]
    assert file_names(plain) == plain
    assert file_names(["a/b"]) == ["a_b-c14cddc033f6"]
    assert file_names([]) == []


@pytest.mark.parametrize(
    "ids",
    [
        ["a/b", "a_b", "a:b", "a b", "a\\b", "a\0b", "a\nb"],
        ["abc", "ABC", "Abc"],
        ["..", ".", "", "/", "../x", "/etc/x", "~", ".hidden"],
        ["x" * 300, "x" * 301, "x" * 300 + "y", "X" * 300],
        ["é", "e\u0301", "基因", "因基", "ſ", "s"],
    ],
)
def test_no_two_genes_share_a_file(tmp_path, ids):
    names = file_names(ids)
    assert len({name.lower() for name in names}) == len(ids)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*", name)
        assert len(name) < 120
        with replacing(tmp_path / f"{name}.svg") as temporary:
            temporary.write_text(name)
    assert len(list(tmp_path.iterdir())) == len(ids)
    assert names == [file_names(list(reversed(ids)))[len(ids) - 1 - place] for place in range(len(ids))]
