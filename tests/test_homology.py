"""Homologous genes: proteins and their genes, tables of hits, the lists that are written, what is refused."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import genomes
import numpy as np
import pandas as pd
import pytest
from builders import cut_gzip, one_line, pack, write

import lcre_homology
from core import InputError
from core.tables import read_gene_list
from lcre import homology

ROOT = Path(__file__).resolve().parents[1]
GENES = [genomes.Gene(name, name[0], 0, 90) for name in ("1a", "1b", "2a", "2b", "3a")]
IDS = [gene.gene_id for gene in GENES]


def hit(query: str, subject: str, identity=90.0, evalue="1e-20", score=100.0) -> str:
    return f"{query}\t{subject}\t{identity}\t50\t5\t0\t1\t50\t1\t50\t{evalue}\t{score}\n"


HITS = "".join(
    [
        "# BLASTP 2.16\n",
        hit("1a", "1a", 100, "0.0", 300),  # itself
        hit("1a", "1b"),  # on its own chromosome
        hit("2a", "1a", 70, "1e-9", 60),
        hit("1a", "2a", 65, "1e-10", 61.5),  # the better one of the two directions
        hit("2b", "3a", 90, "1e-20", 49.9),  # a bit score below 50
        hit("3a", "2b", 90, "0.001", 80),  # an e-value that is not below 0.001
    ]
)


def run(folder: Path, *flags, path: str | None = None) -> subprocess.CompletedProcess:
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    command = [sys.executable, ROOT / "lcre_homology.py", *map(str, flags)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def start(folder: Path, capsys, monkeypatch, *flags) -> SimpleNamespace:
    """The same within this process, which takes a tenth of the time."""
    monkeypatch.chdir(folder)
    try:
        status = lcre_homology.main([str(flag) for flag in flags])
    except SystemExit as end:  # of the parser
        status = end.code
    said = capsys.readouterr()
    return SimpleNamespace(returncode=status, stdout=said.out, stderr=said.err)


def refused(done: subprocess.CompletedProcess) -> str:
    """The one line on stderr of a script that ended with status 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 700
    assert done.stderr.startswith("lcre_homology.py: ")
    return done.stderr


@pytest.fixture
def files(tmp_path) -> Path:
    genomes.write_gtf(tmp_path / "toy.gtf", GENES)
    write(tmp_path / "hits.tsv", HITS)
    return tmp_path


# --------------------------------------------------------------------------------------------------- names
def test_names_of_genes_proteins_and_versions():
    names = homology.GeneNames(
        ["AT1G01010", "Solyc01g005000.3", "F28H1.3", "ENSG00000186092"], {"P1.1": "F28H1.3", "NP_1": "AT1G01010"}
    )
    found = {
        "AT1G01010": 0, "gene:AT1G01010": 0, "AT1G01010.1": 0, "NP_1.2": 0, "NP_1": 0,
        "Solyc01g005000.3": 1, "Solyc01g005000.3.1": 1, "Solyc01g005000": 1, "Solyc01g005000.2": 1,
        "F28H1.3": 2, "F28H1.3.1": 2, "P1.1": 2, "F28H1.4": None, "P1.2": None,
        "ENSG00000186092.7": 3, "nobody": None,
    }  # fmt: skip
    assert {name: names.find(name) for name in found} == found


def test_proteins_find_their_genes_and_the_longest_is_taken(tmp_path):
    names = homology.GeneNames(["A", "B", "C", "D"], {"tr7": "C"})
    text = (
        ">p1 pep chromosome:1 gene:A transcript:x\nMKV\nLL*\n>p2.1 pep gene:A.2 gene_biotype:x\nMKVLLSA*\n"
        ">x pacid=1 locus=B\nmkw\n>tr7\nMEF\n>D.1 some words\nMED\n>q gene:Z\nMMM\n"
    )
    proteins, notes = homology.read_proteins(write(tmp_path / "p.fa.gz", pack(text.encode())), names)
    assert proteins == {0: "MKVLLSA", 1: "MKW", 2: "MEF", 3: "MED"}
    assert "'Z'" in notes[-1]
    with pytest.raises(InputError, match="belong to no gene"):
        homology.read_proteins(write(tmp_path / "o.fa", ">a gene:OS1\nMKV\n>b gene:OS2\nMK\n>A\nM\n"), names)
    with pytest.raises(InputError, match="holds nucleotides"):
        homology.read_proteins(write(tmp_path / "n.fa", ">A\nACGTTGCA\n>B\nACGNNA\n"), names)
    with pytest.raises(InputError, match="does not begin with '>'"):
        homology.read_proteins(write(tmp_path / "t.fa", "A\tB\n"), names)


# ---------------------------------------------------------------------------------------------------- hits
def test_pairs_lists_and_families_by_hand(files):
    names = homology.GeneNames(IDS, {})
    for path in (files / "hits.tsv", write(files / "hits.gz", pack(HITS.encode()))):
        pairs, notes = homology.read_hits(path, names)
        pairs = pairs.sort_values(["first", "second"])
        assert pairs.to_numpy().tolist() == [[0, 1, 90, 100], [0, 2, 65, 61.5]]
        assert notes == []
    chromosomes = np.array([gene.chromosome for gene in GENES])
    kept = homology.without_homologs(pairs, chromosomes, np.ones(5, bool))
    assert kept.tolist() == [False, True, False, True, True]
    assert homology.without_homologs(pairs, chromosomes, np.arange(5) < 4).tolist() == [False, True, False, True, False]
    assert homology.number_families(pairs, 5).tolist() == [1, 1, 1, 2, 3]
    none, _ = homology.read_hits(write(files / "n.tsv", "#\n"))
    assert homology.number_families(none, 3).tolist() == [1, 2, 3]


def test_ids_may_be_those_of_proteins_and_pieces_of_a_table_are_joined(files, monkeypatch):
    monkeypatch.setattr(homology, "CHUNK", 2)
    names = homology.GeneNames(IDS, {"P1": "1a", "P2": "2a"})
    text = hit("P1", "3a", score=70) + hit("P1", "P2") + hit("3a", "1a", score=80) + hit("1a", "X", score=80)
    text += "".join(hit("P1", f"{gene}.1") for gene in IDS) + hit("1b.2", "2b.2")
    pairs, notes = homology.read_hits(write(files / "p.tsv", text), names)
    best = {(a, b): score for a, b, _, score in pairs.to_numpy().tolist()}
    assert best == {(0, 1): 100, (0, 2): 100, (0, 3): 100, (0, 4): 100, (1, 3): 100}
    assert "1 of 12 ids" in notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no hit"),
        ("1a,1b,90\n", "line 1 of bad.tsv has 1 columns"),
        ("#\n1a\t2a\t90\t50\t1e-9\t60\n", "line 2 of bad.tsv has 6 columns"),
        (hit("1a", "2a", 120), "'120' in column 3"),
        (hit("1a", "2a") + hit("1a", "2a", evalue="-1"), "line 2 of bad.tsv has '-1' in column 11"),
        (hit("1a", "2a", score="nan"), "'nan' in column 12"),
        (hit("1a", "2a", score=""), "''' in column 12"),
        (hit("1a", "AT1G01010"), "1 of 2 ids"),
        ("\x00\x01\n", "'\\x00\\x01'"),
    ],
)
def test_tables_that_are_none_are_refused(files, capsys, monkeypatch, content, says):
    write(files / "bad.tsv", content or "#\n")
    done = start(files, capsys, monkeypatch, "--hits", "bad.tsv", "--gtf", "toy.gtf", "--out", "v.csv")
    assert says in refused(done)
    assert sorted(path.name for path in files.iterdir()) == ["bad.tsv", "hits.tsv", "toy.gtf"]


# ------------------------------------------------------------------------------------------------ the lists
@pytest.mark.parametrize("name", ["v.csv", "v.txt", "v.pickle"])
def test_lists_are_what_the_trainer_reads(files, capsys, monkeypatch, name):
    flags = ["--hits", "hits.tsv", "--gtf", "toy.gtf", "--out", name]
    done = start(files, capsys, monkeypatch, *flags, *(["--key", "toy"] if name == "v.pickle" else []))
    assert done.returncode == 0, done.stderr
    assert "3 of 5 genes have no homolog" in done.stdout
    assert read_gene_list(files / name, "toy") == ["1b", "2b", "3a"]
    assert (files / "families.csv").read_text() == "gene_id,family\n1a,1\n1b,1\n2a,1\n2b,2\n3a,3\n"


def test_pickles_keep_other_species(files):
    """As the file of the description: a dict of lists, which pickle.load reads."""
    path = files / "validation_genes.pickle"
    path.write_bytes(pickle.dumps({"ara": ["AT1"], "toy": ["old"]}, protocol=4))
    homology.write_gene_list(path, ["x", "y"], "toy")
    assert pickle.loads(path.read_bytes()) == {"ara": ["AT1"], "toy": ["x", "y"]}
    path.write_bytes(pickle.dumps(["a"]))
    with pytest.raises(InputError) as error:
        homology.write_gene_list(path, ["x"], "toy")
    assert "no gene ids by species" in one_line(error)
    assert pickle.loads(path.read_bytes()) == ["a"]


def test_input_that_cannot_be_used(files, capsys, monkeypatch):
    """Each ends in one line and exit status 2, and leaves the earlier list as it was."""
    write(files / "v.csv", "gene_id\nold\n")
    write(files / "families.csv", "gene_id,family\nAT1,1\n")
    hits = ["--hits", "hits.tsv", "--gtf", "toy.gtf"]
    assert "not .pickle, .csv or .txt" in refused(start(files, capsys, monkeypatch, *hits, "--out", "v.json"))
    assert "not of these genes" in refused(start(files, capsys, monkeypatch, *hits, "--out", "v.csv"))
    assert "--key" in refused(start(files, capsys, monkeypatch, *hits, "--out", "v.pickle"))
    assert "place of --hits" in refused(
        start(files, capsys, monkeypatch, *hits, "--out", "v.csv", "--families", "hits.tsv")
    )
    cut = write(files / "cut.gz", cut_gzip(HITS.encode() * 99))
    families = ["--out", "v.csv", "--families", "f.csv"]
    assert "damaged gzip" in refused(start(files, capsys, monkeypatch, "--hits", cut, "--gtf", "toy.gtf", *families))
    write(files / "all.tsv", hit("1a", "2a") + hit("1b", "2b") + hit("1b", "3a"))
    assert "every one of 5 genes" in refused(
        start(files, capsys, monkeypatch, "--hits", "all.tsv", "--gtf", "toy.gtf", *families)
    )
    genomes.write_fasta(files / "toy.fa", dict.fromkeys("123", "ACGT" * 30))
    sources = {"--fasta": "toy.fa", "--proteins": write(files / "p.fa", ">1a\nMKV\n")}
    for flag, path in sources.items():
        done = run(files, flag, path, "--gtf", "toy.gtf", *families, path=str(files))
        assert "apt install diamond-aligner" in refused(done)
    assert (files / "v.csv").read_text() == "gene_id\nold\n"
    assert not (files / "f.csv").exists()


def test_command_lines_that_do_not_say_what_to_do(files, capsys, monkeypatch):
    for flags, says in (
        (["--gtf", "toy.gtf"], "give --out"),
        (["--gtf", "toy.gtf", "--out", "v.csv"], "give one of --proteins, --fasta and --hits"),
        (["--hits", "h", "--fasta", "f", "--gtf", "toy.gtf", "--out", "v.csv"], "--hits, not --fasta and --hits"),
        (["--hits", "h", "--gtf", "toy.gtf", "--out", "v.csv", "--audit", "r"], "these are two commands"),
        (["--hits", "h", "--gtf", "toy.gtf", "--out", "v.csv", "--key", "sol"], "--key is the name of the species"),
        (["--hits", "h", "--gtf", "toy.gtf", "--audit", "r", "--families", "f.csv"], "--audit writes no families"),
        (["--fasta", "f", "--gtf", "toy.gtf", "--audit", "r", "--save-hits", "h.tsv"], "and hits only of --proteins"),
        (["--hits", "h", "--gtf", "toy.gtf", "--out", "o.csv", "--save-hits", "i.tsv"], "--hits are there already"),
        (["--hits", "hits.tsv", "--out", "v.csv"], "--out takes --gtf"),
        (["--hits", "hits.tsv", "--gtf", "toy.gtf", "--out", "v.csv", "--threads", "0"], "1 or more"),
        (["--hits", "none.tsv", "--gtf", "toy.gtf", "--out", "v.csv"], "no file none.tsv"),
    ):
        assert says in refused(start(files, capsys, monkeypatch, *flags))


# --------------------------------------------------------------------------------------------- translating
def write_coding(folder: Path, random: np.random.Generator) -> list[str]:
    """Write a genome of three genes a chromosome; the first ones of chromosomes 1 and 2 encode one protein."""
    codons = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in ("TAA", "TAG", "TGA")]
    synonyms = {"CTA": "CTG", "GTC": "GTA", "TCC": "TCG", "CGT": "CGA", "GGC": "GGA", "ACT": "ACC", "CCA": "CCT"}
    lines, ids = [], []
    shared = ["ATG", *random.choice(codons, 99)]
    chromosomes = {}
    for name in "12":
        pieces, at = [], 0
        for number in range(3):
            mine = shared if number == 0 else ["ATG", *random.choice(codons, 99)]
            mine = [synonyms.get(codon, codon) for codon in mine] if name == "2" else mine
            text, strand = "".join(mine) + "TAA", "+-"[number % 2]
            spacer = genomes.random_sequence(random, 50)
            pieces += [spacer, text if strand == "+" else genomes.reverse_complement(text)]
            at += 50
            gene = f"g{name}{number}"
            ids.append(gene)
            more = f'gene_id "{gene}"; gene_biotype "protein_coding";'
            lines.append(f"{name}\tx\tgene\t{at + 1}\t{at + 303}\t.\t{strand}\t.\t{more}\n")
            shift = 0 if strand == "+" else 3
            lines.append(f"{name}\tx\tCDS\t{at + 1 + shift}\t{at + 300 + shift}\t.\t{strand}\t0\t{more}\n")
            at += 303
        chromosomes[name] = "".join(pieces)
    genomes.write_fasta(folder / "toy.fa", chromosomes)
    write(folder / "toy.gtf", "".join(lines))
    return ids


def test_genes_are_translated_from_cds_lines(tmp_path):
    from core.annotation import read_annotation

    write_coding(tmp_path, np.random.default_rng(1))
    genes, _ = read_annotation(tmp_path / "toy.gtf")
    proteins, notes = homology.translate_genes(tmp_path / "toy.fa", tmp_path / "toy.gtf", genes)
    assert {place: (len(text), text[0]) for place, text in proteins.items()} == dict.fromkeys(range(6), (100, "M"))
    assert proteins[0] == proteins[3]
    assert len(set(proteins.values())) == 5
    assert notes == ["6 genes are translated from their CDS lines"]
    genomes.write_fasta(tmp_path / "other.fa", dict.fromkeys("12", "TAGCTAACTGA" * 200))
    with pytest.raises(InputError) as error:
        homology.translate_genes(tmp_path / "other.fa", tmp_path / "toy.gtf", genes)
    assert "stop codon inside" in one_line(error)
    with pytest.raises(InputError) as error:
        homology.translate_genes(tmp_path / "toy.fa", genomes.write_gtf(tmp_path / "bare.gtf", GENES), genes)
    assert "has no CDS lines" in one_line(error)


@pytest.mark.parametrize("program", ["diamond", "blastp"])
def test_search_finds_the_two_genes_of_one_protein(tmp_path, program):
    """The whole command with DIAMOND, or BLAST where there is no DIAMOND on the PATH."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    ids = write_coding(tmp_path, np.random.default_rng(2))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in {"diamond": ["diamond"], "blastp": ["blastp", "makeblastdb"]}[program]:
        (tools / name).symlink_to(shutil.which(name))
    flags = ["--fasta", "toy.fa", "--gtf", "toy.gtf", "--out", "v.txt", "--save-hits", "hits.tsv.gz", "--threads", "1"]
    done = run(tmp_path, *flags, path=str(tools))
    assert done.returncode == 0, done.stderr
    assert f"6 proteins of 600 amino acids, all against all by {program} on 1 thread: about 1 s" in done.stdout
    assert read_gene_list(tmp_path / "v.txt", None) == [gene for gene in ids if gene not in ("g10", "g20")]
    families = pd.read_csv(tmp_path / "families.csv")
    assert families["family"].tolist() == [1, 2, 3, 1, 4, 5]
    first = (tmp_path / "v.txt").read_bytes()
    again = run(tmp_path, "--hits", "hits.tsv.gz", "--gtf", "toy.gtf", "--out", "v.txt")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "v.txt").read_bytes() == first


def test_program_that_fails_is_told_in_one_line(tmp_path):
    write_coding(tmp_path, np.random.default_rng(3))
    tools = tmp_path / "tools"
    tools.mkdir()
    script = write(tools / "diamond", "#!/bin/sh\necho first\necho 'Error: no space left' >&2\nexit 3\n")
    script.chmod(0o755)
    flags = ["--fasta", "toy.fa", "--gtf", "toy.gtf", "--out", "v.txt"]
    said = refused(run(tmp_path, *flags, path=f"{tools}:/bin:/usr/bin"))
    assert "diamond failed (exit status 3): Error: no space left" in said
    assert not (tmp_path / "v.txt").exists()


def test_time_is_estimated_from_residues():
    """Measured on proteins of yeast, 2.9 million residues: 24 s of one core; twice the threads, half the time."""
    assert 15 < homology.estimate_seconds("diamond", 2_900_000, 1) < 40
    assert homology.estimate_seconds("diamond", 2_900_000, 2) * 2 == homology.estimate_seconds("diamond", 2_900_000, 1)
    assert homology.estimate_seconds("blastp", 2_900_000, 1) > homology.estimate_seconds("diamond", 2_900_000, 1)
    assert homology.split_batches({1: "M" * 1_500_000, 2: "M" * 600_000, 3: "M"}) == [[1, 2], [3]]
