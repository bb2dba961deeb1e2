"""The real script, run as a user runs it: on the demo genome with tiny windows, stopped, resumed, misused."""

import atexit
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from builders import LONG

from core.scores import auroc_error

ROOT = Path(__file__).resolve().parents[1]
TINY = ["--upstream", "30", "--downstream", "10", "--chromosomes", "2,4", "--epochs", "3"]


@cache
def small_table() -> str:
    """Return a table of every fourth gene of the demo: most of a tiny run is spent on its start as it is."""
    lines = (ROOT / "data/demo/demo_tpm.csv").read_text().splitlines(keepends=True)
    path = Path(tempfile.mkdtemp()) / "quarter.csv"
    path.write_text("".join(lines[:1] + lines[1::4]))
    atexit.register(shutil.rmtree, path.parent)
    return str(path)


def command(folder: Path, *flags: str) -> list[str]:
    files = ["--tpm", small_table(), "--saved-models", str(folder)]
    return [sys.executable, str(ROOT / "lcre_classifier.py"), *TINY, *files, *flags]


def train(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(folder, *flags), capture_output=True, text=True, timeout=300)


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def numbers(folder: Path) -> dict[str, list[dict]]:
    """Return every CSV of a run without the seconds, which no two runs share."""
    found = {}
    for path in sorted(folder.rglob("*.csv")):
        found[str(path.relative_to(folder))] = [
            {name: cell for name, cell in row.items() if name != "seconds"} for row in rows(path)
        ]
    return found


def wait_for(process: subprocess.Popen, log: Path, count: int) -> None:
    """Wait until the log has `count` rows under its header."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.read_text().count("\n") > count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} rows in {log}; exit status {process.poll()}")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A run that was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_writes_every_file_of_the_contract(finished):
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("demo_run.json", "demo_genes.csv", "demo_result.csv", "demo_predictions.csv", "demo_report.html"),
        *("demo_model_2", "demo_model_4", "demo_result_mqc.tsv"),
    }
    for fold in ("2", "4"):
        inside = {
            str(path.relative_to(folder / f"demo_model_{fold}")) for path in folder.glob(f"demo_model_{fold}/**/*")
        }
        assert inside == {
            *("performance_log.csv", "genes.csv", "best_model.keras", "predictions.csv", "epoch_models"),
            *(f"epoch_models/model_epoch_{epoch}.keras" for epoch in range(3)),
        }


def test_columns_are_those_of_the_contract(finished):
    folder, _ = finished

    def header(name: str) -> str:
        return (folder / name).read_text().split("\n", 1)[0]

    assert header("demo_model_2/performance_log.csv") == (
        "epoch,loss,accuracy,val_loss,val_accuracy,val_auROC,test_loss,test_accuracy,test_auROC,learning_rate,seconds"
    )
    assert header("demo_result.csv") == (
        "chromosome,accuracy,auROC,auPR,organism,training_size,validation_size,test_size,best_epoch,"
        "auROC_low,auROC_high,kmer_auROC,gc_auROC,auROC_optimistic,seconds,outside_auROC,inside_auROC,codon_auROC"
    )
    assert header("demo_predictions.csv") == "gene_id,chromosome,target,logMaxTPM,probability"
    assert header("demo_genes.csv") == "gene_id,chromosome,start,end,strand,status"
    assert header("demo_model_2/genes.csv") == "gene_id,role"


def test_numbers_agree_between_files(finished):
    """What the result table says follows from the predictions, the roles and the log."""
    from sklearn.metrics import roc_auc_score

    folder, _ = finished
    predictions = {row["gene_id"]: row for row in rows(folder / "demo_predictions.csv")}
    result = {row["chromosome"]: row for row in rows(folder / "demo_result.csv")}
    assert list(result) == ["2", "4", "pooled"]
    table = [line.split("\t") for line in (folder / "demo_result_mqc.tsv").read_text().splitlines() if line[0] != "#"]
    assert [row[:3] for row in table] == [
        ["Sample", "accuracy", "auROC"],
        *([f"demo {name}", row["accuracy"], row["auROC"]] for name, row in result.items()),
    ]
    everything = []
    for fold in ("2", "4"):
        roles = {row["gene_id"]: row["role"] for row in rows(folder / f"demo_model_{fold}/genes.csv")}
        assert set(roles) == set(predictions)
        tested = [predictions[gene] for gene, role in roles.items() if role == "test"]
        assert {row["chromosome"] for row in tested} == {fold}
        assert all(row["target"] in "01" for row in tested)
        assert len(tested) == int(result[fold]["test_size"])
        assert sum(role == "train" for role in roles.values()) == int(result[fold]["training_size"])
        assert {predictions[gene]["chromosome"] for gene, role in roles.items() if role == "train"} == set("12345") - {
            fold,
            str(int(fold) + 1),
        }
        score = roc_auc_score([int(row["target"]) for row in tested], [float(row["probability"]) for row in tested])
        assert score == pytest.approx(float(result[fold]["auROC"]), abs=2e-5)
        log = rows(folder / f"demo_model_{fold}/performance_log.csv")
        assert [row["epoch"] for row in log] == ["0", "1", "2"]
        validation = [float(row["val_auROC"]) for row in log]
        chosen_on = [predictions[gene]["target"] for gene, role in roles.items() if role == "validation"]
        tolerance = auroc_error(chosen_on.count("0"), chosen_on.count("1"))
        best = 2 if validation[2] >= max(validation) - tolerance else validation.index(max(validation))
        assert best == int(result[fold]["best_epoch"])
        assert float(log[best]["test_auROC"]) == pytest.approx(score, abs=2e-5)
        assert float(result[fold]["auROC_optimistic"]) == max(float(row["test_auROC"]) for row in log)
        everything += tested
    pooled = roc_auc_score(
        [int(row["target"]) for row in everything], [float(row["probability"]) for row in everything]
    )
    assert pooled == pytest.approx(float(result["pooled"]["auROC"]), abs=2e-5)
    # genes of chromosomes that no fold held out have no probability; all those held out have one, middle ones too
    for row in predictions.values():
        assert bool(row["probability"]) == (row["chromosome"] in ("2", "4"))


def test_run_record(finished):
    folder, _ = finished
    record = json.loads((folder / "demo_run.json").read_text())
    assert record["finished"]
    assert record["settings"]["UPSTREAM"] == 30
    assert record["folds"] == ["2", "4"]
    assert record["funnel"][0]["chromosome"] == "all"
    assert len(record["inputs"]["FASTA"]["sha256"]) == 64
    assert record["peak_memory_bytes"] > 1e8
    assert record["seconds"] > 0


def test_last_lines_are_the_result_table(finished):
    _, printed = finished
    lines = printed.rstrip().split("\n")
    assert [line.split()[0] for line in lines[-3:]] == ["2", "4", "pooled"]
    assert "k-mers" in lines[-4]
    assert max(map(len, lines[-4:])) < 120
    assert "\r" not in printed  # no terminal: plain lines


def test_finished_run_is_not_trained_again(finished):
    folder, printed = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.keras")}
    again = train(folder)
    assert again.returncode == 0
    assert again.stdout.rstrip().split("\n")[-3:] == printed.rstrip().split("\n")[-3:]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.keras")} == before


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A run of the smaller network on one chromosome that was never stopped."""
    folder = tmp_path_factory.mktemp("published")
    done = train(folder, *PUBLISHED)
    assert done.returncode == 0, done.stderr
    return folder


PUBLISHED = ["--model", "published", "--chromosomes", "2"]


def test_killed_in_the_second_fold_and_resumed_equals_never_stopped(finished, tmp_path):
    process = subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(process, tmp_path / "demo_model_4/performance_log.csv", 1)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    resumed = train(tmp_path)  # what the dead process had claimed stops nobody
    assert resumed.returncode == 0, resumed.stderr
    assert "fold 4 goes on after epoch" in resumed.stdout
    assert numbers(tmp_path) == numbers(finished[0])
    assert not list(tmp_path.rglob(".*"))  # nothing half-written is left


@LONG
def test_stopped_and_resumed_equals_never_stopped(published, tmp_path):
    flags = [*PUBLISHED, "--epochs", "3"]
    process = subprocess.Popen(command(tmp_path, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(process, tmp_path / "demo_model_2/performance_log.csv", 1)
    process.send_signal(signal.SIGTERM)  # Ctrl-C takes the same way: test_progress.py
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().count("\n") == 0
    assert "same command" in errors
    assert json.loads((tmp_path / "demo_run.json").read_text())["finished"] is None
    resumed = train(tmp_path, *flags)
    assert resumed.returncode == 0, resumed.stderr
    assert numbers(tmp_path) == numbers(published)
    assert not list(tmp_path.rglob(".*"))


def test_of_two_starts_at_the_same_moment_one_trains(published, tmp_path):
    starts = [
        subprocess.Popen(command(tmp_path, *PUBLISHED), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [start.communicate(timeout=200)[1] for start in starts]
    assert sorted(start.returncode for start in starts) == [0, 2]
    winner, loser = sorted(range(2), key=lambda number: starts[number].returncode)
    assert errors[loser].count("\n") == 1
    assert f"fold 2 of {tmp_path / 'demo'} is in use by process {starts[winner].pid} on " in errors[loser]
    assert numbers(tmp_path) == numbers(published)
    assert not list(tmp_path.rglob(".*"))


def test_other_settings_over_a_run_are_refused(finished):
    folder, _ = finished
    before = numbers(folder)
    refused = train(folder, "--seed", "9", "--low-percentile", "20")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "SEED is 9 and was 1" in refused.stderr
    assert "LOW_PERCENTILE is 20.0 and was 25.0" in refused.stderr
    assert numbers(folder) == before


def test_published_model_choosing_on_the_test_genes(tmp_path):
    flags = ["--model", "published", "--select-on", "test", "--epochs", "1", "--chromosomes", "1+3"]
    done = train(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    assert "optimistic" in done.stdout.rstrip().split("\n")[-5]
    log = rows(tmp_path / "demo_model_1+3/performance_log.csv")
    assert log[0]["val_auROC"] == ""
    assert log[0]["learning_rate"] == "0.0001"
    result = rows(tmp_path / "demo_result.csv")
    assert result[0]["chromosome"] == "1+3"
    assert result[0]["validation_size"] == "0"
    assert result[0]["auROC_optimistic"] == log[0]["test_auROC"]


def test_check_is_quick_and_needs_no_tensorflow(tmp_path):
    """`--check` in a Python where importing TensorFlow fails."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not here')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, ROOT / "lcre_classifier.py", *TINY, "--saved-models", tmp_path / "models", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"all +4,500 +4,383 +4,383 +4,383", done.stdout)
    assert not (tmp_path / "models").exists()


def test_importing_the_script_has_no_effect():
    code = (
        "import sys, lcre_classifier; print(sorted({'tensorflow', 'keras', 'pandas', 'pyranges'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_keras_order_of_layers_is_the_published_one():
    """The network of the description, layer by layer, with its shapes and its number of weights by hand."""
    import lcre_classifier

    model = lcre_classifier.build_published(lcre_classifier.WindowLayout(1000, 500, 20)).model
    kinds = [layer.__class__.__name__ for layer in model.layers]
    convolutions = ["Conv1D", "Conv1D", "MaxPooling1D", "Dropout"]
    assert kinds == [
        *(*convolutions, "LayerNormalization", "LSTM", "Dropout", *convolutions, *convolutions),
        *("Flatten", "Dense", "Dropout", "Dense", "Dense"),
    ]
    weights = (
        (8 * 4 * 64 + 64)
        + (8 * 64 * 64 + 64)
        + 2 * 64
        + 4 * (64 * 64 + 64 * 64 + 64)
        + (8 * 64 * 128 + 128)
        + (8 * 128 * 128 + 128)
        + (8 * 128 * 64 + 64)
        + (8 * 64 * 64 + 64)
        + (6 * 64 * 128 + 128)  # 3020 -> 378 -> 48 -> 6 columns of 64
        + (128 * 64 + 64)
        + (64 + 1)
    )
    assert model.count_params() == weights
