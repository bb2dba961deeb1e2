"""Benchmarks: differences, shared k-mers, shifts and other ways of predicting, on cases known by hand; short runs."""

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from builders import LONG, pack

from core import InputError
from core.genome import one_hot
from lcre import kmers

ROOT = Path(__file__).resolve().parents[1]


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


accuracy, afterwards = load("accuracy"), load("afterwards")


def test_shared_kmers_on_either_strand():
    random = np.random.default_rng(1)
    trained = random.integers(0, 4, (3, 200)).astype(np.uint8)
    windows = random.integers(0, 4, (4, 200)).astype(np.uint8)
    windows[0, 10:60] = trained[1, 100:150]  # 50 bases: 27 24-mers
    windows[1, 20:44] = 3 - trained[2, 30:54][::-1]  # one 24-mer, on the other strand
    windows[1, [19, 44]] = trained[2, [54, 29]]  # and no base more: its complement would match
    windows[2, 30:70] = trained[0, 30:70]
    windows[2, 50] = 4  # an unknown base: 20 and 19 known ones are no 24-mer
    assert kmers.count_shared(windows, trained).tolist() == [27, 1, 0, 0]


def test_seconds_until_a_score_is_reached():
    epochs = {"test_auROC": [0.6, 0.8, 0.7, 0.9], "seconds": [10.4, 10, 10, 10]}
    assert [accuracy.first_reaching(epochs, least) for least in (0.5, 0.75, 0.85, 0.95)] == ["10", "20", "40", "-"]


def test_of_a_finished_fold_test_genes_and_log_are_kept(tmp_path):
    folder = tmp_path / "runs" / "toy_model_I+II"
    folder.mkdir(parents=True)
    inputs = {"FASTA": "f", "GTF": "g", "TPM": "t"}
    record = {"finished": "today", "seconds": 30.5, "cpu_seconds": 50.0}
    record["inputs"] = {name: {"sha256": value} for name, value in inputs.items()}
    (tmp_path / "runs" / "toy_run.json").write_text(json.dumps(record))
    (folder / "predictions.csv").write_text(
        "gene_id,probability,kmer,gc\nNA,0.25,0.5,0.5\nmiddle,0.5,,\n7,0.1234567,0,0\n"
    )
    (folder / "performance_log.csv").write_text("epoch,test_auROC,seconds\n0,0.5,10.5\n1,0.75,9.5\n")
    path, flags = tmp_path / "kept" / "toy_net_1_I+II.json.gz", ["--epochs", "2"]
    expected = {
        "finished": "today",
        "inputs": inputs,
        "flags": ["--epochs", "2"],
        "seconds": 30.5,
        "cpu_seconds": 50.0,
        "epochs": {"test_auROC": [0.5, 0.75], "seconds": [10.5, 9.5]},
        "probability": {"NA": 0.25, "7": 0.123457},
        "baselines": {"kmer": [0.5, 0.0], "gc": [0.5, 0.0]},
    }
    accuracy.keep(tmp_path / "runs" / "toy", "I+II", path, flags, timed=True)
    assert accuracy.read_kept(path, inputs, flags) == expected
    for other, passed, reason in ((inputs | {"TPM": "u"}, flags, "other files"), (inputs, [], "flags .*, not ")):
        with pytest.raises(InputError, match=reason):
            accuracy.read_kept(path, other, passed)
    accuracy.keep(tmp_path / "runs" / "toy", "I+II", path, flags, timed=False)
    untimed = expected | {"seconds": None, "epochs": {"test_auROC": [0.5, 0.75], "seconds": None}}
    assert accuracy.read_kept(path, inputs, flags) == untimed


def test_folds_of_other_files_are_refused_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    files = {name: tmp_path / name for name in ("fasta", "gtf", "tpm")}
    for path in files.values():
        path.write_text("")
    kept = {"inputs": {"FASTA": "f", "GTF": "g", "TPM": "t"}, "epochs": {"test_auROC": [0.5]}}
    (tmp_path / "toy_published_1_II.json.gz").write_bytes(pack(json.dumps(kept).encode()))
    trained = []
    monkeypatch.setattr(accuracy, "load", lambda *_: (None, None))
    monkeypatch.setattr("lcre_classifier.make_folds", lambda *_: [])
    monkeypatch.setattr(accuracy, "train", lambda *fold: trained.append(fold))
    argv = ["--name", "toy", "--chromosomes", "I,II", "--models", "published", "--kept", str(tmp_path)]
    assert accuracy.main([*argv, *(part for name, path in files.items() for part in (f"--{name}", str(path)))]) == 2
    assert "toy_published_1_II.json.gz is of other files" in capsys.readouterr().err
    assert not trained


def test_a_finished_fold_is_not_trained_again(tmp_path, monkeypatch):
    arguments = SimpleNamespace(name="toy", kept=tmp_path)
    accuracy.kept_file(arguments, "published", 1, "I+II").write_bytes(b"")
    monkeypatch.setattr(accuracy.subprocess, "run", lambda *_, **__: pytest.fail("trained again"))
    accuracy.train(arguments, "published", 1, "I+II")


@pytest.mark.parametrize("flag", ["--seed=3", "--model", "--check", "--organism"])
def test_flags_that_are_set_here_are_not_passed_on(capsys, flag):
    argv = ["--name", "toy", "--fasta", "f", "--gtf", "g", "--tpm", "t", "--chromosomes", "I", flag, "x"]
    assert accuracy.main(argv) == 2
    assert f"{flag} cannot be passed on" in capsys.readouterr().err


@LONG
def test_one_command_trains_compares_and_refuses(tmp_path):
    """The demo with windows of 100 columns: network and regressions have a row each."""
    demo = ROOT / "data/demo"
    command = [sys.executable, str(ROOT / "benchmarks/accuracy.py"), "--name", "small", "--seeds", "1"]
    command += ["--models", "published"]
    command += ["--fasta", str(demo / "demo.fa.gz"), "--gtf", str(demo / "demo.gtf.gz")]
    command += ["--tpm", str(demo / "demo_tpm.csv"), "--runs", str(tmp_path)]
    command += ["--upstream", "30", "--downstream", "10", "--epochs", "1", "--chromosomes"]
    done, wrong = (
        subprocess.run([*command, more], capture_output=True, text=True, check=False) for more in ("2", "banana")
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "folds/small_published_1_2.json.gz").exists()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in done.stdout.split("\n\n")[1].splitlines()}
    assert [*rows][2:] == ["published", "k-mer regression alone", "k-mers, four parts", "k-mers, two regions"]
    pooled, within = float(rows["k-mer regression alone"][2]), float(rows["k-mer regression alone"][4])
    assert pooled == within  # there is one fold
    assert pooled > 0.55
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert "banana" in wrong.stderr

    together = [*command, "2,4", "--jobs", "2", "--kept", str(tmp_path / "together_folds")]
    done = subprocess.run(together, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone, beside = (
        json.loads(gzip.decompress((tmp_path / folder / "small_published_1_2.json.gz").read_bytes()))
        for folder in ("folds", "together_folds")
    )
    assert beside["seconds"] is beside["cpu_seconds"] is None
    assert beside["probability"] == pytest.approx(alone["probability"], abs=2e-6)
    assert (tmp_path / "together_folds/small_published_1_4.json.gz").exists()


def test_a_shift_moves_each_region_and_leaves_the_padding():
    codes, regions = np.array([[0, 1, 2, 4, 3, 2, 1]], np.uint8), (slice(0, 3), slice(4, 7))
    assert afterwards.shift(codes, regions, 1).tolist() == [[4, 0, 1, 4, 4, 3, 2]]
    assert afterwards.shift(codes, regions, -2).tolist() == [[2, 4, 4, 4, 1, 4, 4]]
    assert codes.tolist() == [[0, 1, 2, 4, 3, 2, 1]]


def test_longer_kmers_join_those_of_a_network(tmp_path):
    """A window of A alone: each part holds AAAAA at every place."""
    import lcre_classifier as lcre

    layout = lcre.WindowLayout(upstream=30, downstream=10, padding=20)
    network = lcre.build_cnn_lstm_kmer(layout)
    counts = afterwards.count_longer(network, layout)
    few = network.kmer_counts.output_shape[1]
    codes = np.zeros((1, layout.columns), np.uint8)
    found = counts(one_hot(codes, np.float32)).numpy()[0]
    assert len(found) == few + 4 * 4**5
    assert found[:few] == pytest.approx(network.kmer_counts(one_hot(codes, np.float32)).numpy()[0])
    assert {place - few: count for place, count in enumerate(found) if count and place >= few} == {
        0: 26,
        1024: 6,
        2048: 6,
        3072: 26,
    }


@LONG
def test_ways_of_predicting_from_checkpoints(tmp_path):
    """Two checkpoints of a network: what is added, weighted and averaged follows from their own predictions."""
    import keras

    import lcre_classifier as lcre
    from lcre.trained import load_model, make_predictor

    layout, random = lcre.WindowLayout(upstream=30, downstream=10, padding=20), np.random.default_rng(1)
    codes = random.integers(0, 4, (20, layout.columns)).astype(np.uint8)
    layout.hide(codes)
    network, checkpoints, outputs = lcre.build_cnn_lstm_kmer(layout), [], []
    for number in range(2):
        kernel = network.regression.kernel
        network.regression.set_weights([random.normal(0, 0.1, kernel.shape), np.array([0.5])])
        checkpoints.append(tmp_path / f"model_epoch_{number}.keras")
        network.model.save(checkpoints[-1])
        keras.backend.clear_session()  # as in a new process
        probability = make_predictor(load_model(checkpoints[-1], layout.columns))(codes)
        outputs.append(np.log(probability / (1 - probability)))
    ways = afterwards.predict_otherwise(checkpoints, codes, (codes, random.normal(0, 1, 20)), layout)
    assert ways["as it is"] == pytest.approx(outputs[1], abs=1e-4)
    assert ways["branches alone"] + ways["k-mers alone"] == pytest.approx(ways["as it is"], abs=1e-5)
    assert ways["branches alone"] + ways["k-mers alone"] / 2 == pytest.approx(ways["k-mers times 0.5"], abs=1e-5)
    both = ways["branch 1 and k-mers"] + ways["branch 2 and k-mers"]
    assert both / 2 == pytest.approx(ways["as it is"], abs=1e-5)
    assert ways["mean output of the last 2 epochs"] == pytest.approx(np.mean(outputs, axis=0), abs=1e-4)
    assert not np.allclose(ways["5-mers too"], ways["as it is"])
    assert not np.allclose(ways["mean of 3 shifts"], ways["as it is"])


@LONG
def test_scoring_made_up_variants_is_measured():
    """benchmarks/prediction.py: a run whose inputs nobody knows is scored by all folds."""
    demo = ROOT / "data/demo"
    command = [sys.executable, str(ROOT / "benchmarks/prediction.py"), "variants", "--count", "200"]
    command += ["--fasta", str(demo / "demo.fa.gz"), "--gtf", str(demo / "demo.gtf.gz"), "--network", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tiny: 200 variants in " in done.stdout.rstrip().splitlines()[-1]
