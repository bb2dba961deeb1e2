"""What docs/developing.md promises: a model takes lcre_classifier.py alone, a result column lcre/results.py alone.

Both are added to a copy of the project by replacing text; then the scripts of the copy train, predict and explain.
"""

import csv
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (".*", "__pycache__", "saved_models", "folds", "genomes", "gene_models", "tpm_counts", "accuracy_runs")

BUILDER = '''
def build_one_motif(layout: WindowLayout) -> Network:
    """Build a network that looks for the best place of each of 16 motifs."""
    from keras import Sequential, layers

    motifs = [layers.Conv1D(16, 8, activation="relu"), layers.GlobalMaxPooling1D()]
    return Network(Sequential([layers.Input((layout.columns, 4)), *motifs, layers.Dense(1, "sigmoid")]))


'''
ENTRY = '    "one_motif": Model(build_one_motif, learning_rate=1e-2),\n'
COLUMN = """    Column(
        "high_fraction",
        lambda row: row.tested["target"].mean(),
        "score",
        "fraction of high genes",
        "fraction of the scored genes that are high",
        short="high",
    ),
"""


@dataclass
class Copy:
    """A copy of the project with a model and a column more, its run, and what its scripts printed."""

    folder: Path
    printed: dict[str, str]  # by script

    def path(self, name: str) -> Path:
        return self.folder / "saved_models" / name

    def rows(self, name: str) -> list[dict]:
        with open(self.path(name), newline="") as file:
            return list(csv.DictReader(file))


def insert_before(path: Path, place: str, text: str) -> None:
    """Put text in front of a place that the file has once."""
    content = path.read_text()
    assert content.count(place) == 1, place
    path.write_text(content.replace(place, text + place))


@pytest.fixture(scope="module")
def developed(tmp_path_factory) -> Copy:
    """Train two folds for an epoch with the new model, predict the genome's genes and explain two of them."""
    folder = tmp_path_factory.mktemp("developed") / "project"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    insert_before(folder / "lcre_classifier.py", "MODELS = {\n", BUILDER.lstrip())
    insert_before(folder / "lcre_classifier.py", '    "published": Model(', ENTRY)
    insert_before(folder / "lcre/results.py", ")\nPRINTED_ORDER", COLUMN)
    genome = ["--fasta", "data/demo/demo.fa.gz", "--gtf", "data/demo/demo.gtf.gz"]
    sizes = ["--upstream", "30", "--downstream", "10", "--chromosomes", "2,4", "--epochs", "1"]
    commands = {
        "lcre_classifier.py": ["--dataset", "demo", "--model", "one_motif", *sizes],
        "lcre_predict.py": ["--models", "saved_models/demo", *genome, "--out", "saved_models/genes.csv"],
        "lcre_explain.py": ["--models", "saved_models/demo", "--genes", "2", "--logos", "0"],
    }
    printed = {}
    for script, flags in commands.items():
        done = subprocess.run(
            [sys.executable, script, *flags], cwd=folder, capture_output=True, text=True, timeout=200, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        printed[script] = done.stdout
    return Copy(folder, printed)


def test_a_model_of_ones_own_is_an_entry_of_the_trainer(developed):
    """It is trained, it predicts every gene and its genes are explained; the page says its name."""
    for fold in ("2", "4"):
        (log,) = developed.rows(f"demo_model_{fold}/performance_log.csv")
        assert log["learning_rate"] == "0.01"
    predicted = {row["gene_id"]: row for row in developed.rows("genes.csv")}
    assert len(predicted) == 4383
    for row in developed.rows("demo_predictions.csv"):
        if row["probability"]:  # its chromosome was held out: the fold that did so scores it again
            assert float(predicted[row["gene_id"]]["probability"]) == pytest.approx(float(row["probability"]), abs=1e-5)
    assert len(developed.rows("demo_explain/genes.csv")) == 2
    assert "one_motif" in developed.path("demo_report.html").read_text()


def test_a_column_of_ones_own_is_an_entry_of_the_result_table(developed):
    """The fraction of high genes, counted in the predictions: in the CSV, in what is printed, and on the page."""
    target = {row["gene_id"]: int(row["target"]) for row in developed.rows("demo_predictions.csv") if row["target"]}
    expected, everything = [], []
    for fold in ("2", "4"):
        roles = developed.rows(f"demo_model_{fold}/genes.csv")
        tested = [target[row["gene_id"]] for row in roles if row["role"] == "test"]
        expected.append(sum(tested) / len(tested))
        everything += tested
    expected.append(sum(everything) / len(everything))
    result = developed.rows("demo_result.csv")
    assert list(result[0])[-2:] == ["codon_auROC", "high_fraction"]
    assert [row["chromosome"] for row in result] == ["2", "4", "pooled"]
    assert [float(row["high_fraction"]) for row in result] == pytest.approx(expected, abs=1e-6)
    assert len(set(expected)) == 3

    head, *table = [line.split() for line in developed.printed["lcre_classifier.py"].rstrip().splitlines()[-4:]]
    assert head[-1] == "high"
    assert [line[-1] for line in table] == [f"{value:.3f}" for value in expected]
    assert "fraction of high genes" in developed.path("demo_report.html").read_text()


def test_the_page_of_a_run_with_a_model_and_a_column_that_are_not_known(developed):
    """The project as it was reads the run: neither is an error."""
    before = developed.path("demo_report.html").read_bytes()
    done = subprocess.run(
        [sys.executable, str(ROOT / "lcre_report.py"), str(developed.path("demo"))],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    page = developed.path("demo_report.html").read_text()
    developed.path("demo_report.html").write_bytes(before)
    assert (done.returncode, done.stderr) == (0, "")
    assert "one_motif" in page
