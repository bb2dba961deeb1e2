"""The first species: trained where its files are, in either layout; else the demo, and the first line says so."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders import pack
from genomes import Gene, random_sequence, write_files

import lcre_classifier

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "--fasta": "genomes/Solanum_lycopersicum.SL3.0.dna.toplevel.fa",
    "--gtf": "gene_models/Solanum_lycopersicum.SL3.0.52.gtf",
    "--tpm": "tpm_counts/solanum_counts.csv",
}
TINY = ["--upstream", "20", "--downstream", "10", "--model", "published", "--epochs", "1", "--chromosomes", "1"]


@pytest.fixture
def clone(tmp_path) -> Path:
    """The project without what runs left, as a newcomer has it."""
    folder = tmp_path / "clone"
    for name in ("core", "lcre"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data/demo", folder / "data/demo")
    shutil.copy(ROOT / "lcre_classifier.py", folder)
    return folder


def write_tomato(folder: Path, suffix: str = "") -> list[str]:
    """Write a made-up tomato as the description lays it out; returns the gene ids."""
    random = np.random.default_rng(1)
    names = ["00", "1", "2", "3"]  # tomato's chromosome 0 is the pile of unplaced sequences
    sequences = {name: random_sequence(random, 4000) for name in names}
    genes = [
        Gene(f"Solyc{int(name):02d}g{place:06d}.1", name, 100 + 95 * place, 160 + 95 * place)
        for name in names
        for place in range(40)
    ]
    parts = folder.parent / "parts"
    parts.mkdir()
    flags = write_files(parts, sequences, genes, {gene.gene_id: float(random.normal()) for gene in genes})
    for flag, name in FILES.items():
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True)
        content = Path(flags[flags.index(flag) + 1]).read_bytes()
        path.write_bytes(pack(content) if suffix else content)
    return [gene.gene_id for gene in genes]


def start(clone: Path, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, clone / "lcre_classifier.py", *flags]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=200)


def test_a_plain_start_uses_the_demo_and_says_why(clone):
    done = start(clone, "--check")
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("tomato is not here (")
    assert FILES["--fasta"] in first
    assert "'python data/fetch.py tomato' gets it" in first
    assert first.endswith("the bundled demo genome is used instead")
    assert "demo: 4,500 genes" in done.stdout


def test_tomato_is_trained_where_the_description_has_it(clone):
    """Beside the script, without validation genes: all genes are scored, with the warning."""
    write_tomato(clone)
    done = start(clone, *TINY)
    assert done.returncode == 0, done.stderr
    assert "not here" not in done.stdout
    assert "solanum: 160 genes in the annotation" in done.stdout
    assert "warning: no validation genes are given" in done.stdout
    assert "1 scaffolds train but are not held out: '00'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("pooled")
    record = json.loads((clone / "saved_models/solanum_run.json").read_text())
    assert record["settings"]["DATASET"] == "tomato"
    assert record["settings"]["PICKLE_KEY"] == "sol"


def test_tomato_is_found_under_data_packed_or_not_with_its_list(clone):
    listed = write_tomato(clone / "data", ".gz")[40:150]
    (clone / "data/validation_genes.pickle").write_bytes(pickle.dumps({"sol": listed, "ara": ["AT1G01010"]}))
    done = start(clone, "--check")
    assert done.returncode == 0, done.stderr
    assert "solanum: 160 genes in the annotation" in done.stdout
    assert "110 of 110 validation genes are in the annotation" in done.stdout
    folds = done.stdout.split("folds, in genes\n")[1].splitlines()[1:]
    assert [line.split()[0] for line in folds] == ["1", "2", "3"]


@pytest.mark.parametrize("missing", FILES.values())
def test_a_file_that_is_missing_is_named(clone, missing):
    write_tomato(clone / "data")
    (clone / "data" / missing).unlink()
    done = start(clone, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"tomato is not here ({clone / 'data' / missing} is missing;")
    done = start(clone, "--check", "--dataset", "tomato")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"lcre_classifier.py: DATASET tomato: {clone / 'data' / missing} is not there; ")
    assert done.stderr.count("\n") == 1


def test_another_data_set_in_the_script_is_no_wish_for_the_demo(monkeypatch, capsys):
    monkeypatch.setattr(lcre_classifier, "DATASET", "maize")
    assert lcre_classifier.main(["--check"]) == 2
    assert "DATASET maize: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["0", "00", "ch00", "chr00", "Chr0", "SL4.0ch00", "chr_00", "chromosome0"])
def test_chromosome_0_is_a_pile_of_unplaced_sequences(name):
    from core.genome import SCAFFOLD

    assert SCAFFOLD.search(name)


@pytest.mark.parametrize("name", ["10", "chr10", "SL4.0ch10", "100", "ch20", "A0", "2L0"])
def test_other_names_that_end_in_0_are_chromosomes(name):
    from core.genome import SCAFFOLD

    assert not SCAFFOLD.search(name)
