"""Whatever is wrong with the input: one line that says so, exit status 2, nothing written."""

import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from builders import pack

import lcre_classifier

ROOT = Path(__file__).resolve().parents[1]


class RunsCode:
    """What someone could mail: reading it plainly would call print."""

    def __reduce__(self):
        return print, ("this must never be printed",)


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def species(tmp_path) -> dict[str, Path]:
    """Three chromosomes of 12 genes each; windows of 2 x 30 bp fit."""
    random = np.random.default_rng(3)
    fasta, gtf, tpm = [], [], ["gene_id,logMaxTPM"]
    for chromosome in ("1", "2", "3"):
        fasta.append(f">{chromosome}\n{''.join(random.choice(list('ACGT'), 1400))}\n")
        for number in range(12):
            gene, start = f"g{chromosome}_{number}", 40 + 110 * number
            attributes = f'gene_id "{gene}"; gene_biotype "protein_coding";'
            gtf.append(f"{chromosome}\tx\tgene\t{start}\t{start + 70}\t.\t+\t.\t{attributes}")
            tpm.append(f"{gene},{number / 10 + int(chromosome) / 100}")
    files = {"fasta": tmp_path / "in/x.fa", "gtf": tmp_path / "in/x.gtf", "tpm": tmp_path / "in/x.csv"}
    (tmp_path / "in").mkdir()
    for name, lines in (("fasta", fasta), ("gtf", gtf), ("tpm", tpm)):
        files[name].write_text("\n".join(lines) + "\n")
    return files


def flags(species: dict[str, Path], *more: str) -> list[str]:
    given = [part for name, path in species.items() for part in (f"--{name}", str(path))]
    folder = species["fasta"].parents[1] / "models"
    return [*given, "--upstream", "20", "--downstream", "10", "--saved-models", str(folder), *more]


def refuse(species, capsys, *more: str) -> str:
    """Run with what is wrong; return the one line on stderr."""
    folder = species["fasta"].parents[1]
    before = sorted(path for path in folder.rglob("*"))
    try:
        status = lcre_classifier.main(flags(species, *more))
    except SystemExit as stopped:  # argparse leaves this way
        status = stopped.code
    printed = capsys.readouterr()
    assert status == 2, printed.out
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("lcre_classifier.py: ")
    assert "Traceback" not in printed.err
    assert sorted(path for path in folder.rglob("*")) == before
    return printed.err


def test_the_species_itself_is_good(species, capsys):
    assert lcre_classifier.main(flags(species, "--check")) == 0
    assert "36 coding genes with windows of 80 columns" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fasta", "gtf", "tpm"])
def test_missing_empty_folder_and_png(species, capsys, name):
    path = species[name]
    content = path.read_bytes()
    path.write_bytes(b"")
    assert "is empty" in refuse(species, capsys)
    path.write_bytes(png())
    assert str(path) in refuse(species, capsys)
    path.write_bytes(pack(content)[:-20])
    assert "gzip" in refuse(species, capsys)
    path.unlink()
    assert "no file" in refuse(species, capsys)
    path.mkdir()
    assert "is a folder" in refuse(species, capsys)


def test_gtf_without_genes(species, capsys):
    text = species["gtf"].read_text().replace("\tgene\t", "\texon\t")
    species["gtf"].write_text(text)
    assert "no line with the feature 'gene'" in refuse(species, capsys)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        (6, ".", "they have no strand: the seventh column of the GTF must be + or -"),
        (6, "?", "they have no strand"),
        (4, "2000000", "'g1_0' at 2,000,000 where the longest has 1,400 bp: are GTF and FASTA of the same assembly?"),
        (4, "99999999999", "they end beyond their chromosome"),
        (4, "1" + "0" * 30, "line 1 of"),
        (4, "9" * 5000, "no chromosome is that long"),
        (8, "a" * 60_000, "they have none (line 1)"),
        (8, "", "they have none (line 1)"),
    ],
)
def test_gtf_whose_lines_all_lack_something(species, capsys, column, value, says):
    lines = [line.split("\t") for line in species["gtf"].read_text().splitlines()]
    lines = ["\t".join([*line[:column], value, *line[column + 1 :]]) for line in lines]
    species["gtf"].write_text("\n".join(lines) + "\n")
    line = refuse(species, capsys)
    assert says in line
    assert "UPSTREAM smaller" not in line
    assert len(line) < 600


def test_gtf_and_gff3_in_one_file(species, capsys):
    lines = species["gtf"].read_text().splitlines()
    lines[20:] = [line.replace('gene_id "', "ID=gene:").replace('";', ";") for line in lines[20:]]
    species["gtf"].write_text("\n".join(lines) + "\n")
    line = refuse(species, capsys)
    assert "16 of 36 gene lines" in line
    assert "no attribute 'gene_id', the first on line 21: it has 'ID'" in line


def test_genes_without_strand_are_warned_of(species, capsys):
    lines = species["gtf"].read_text().splitlines()
    lines = [line.replace("\t+\t", "\t?\t") if at % 2 else line for at, line in enumerate(lines)]
    species["gtf"].write_text("\n".join(lines) + "\n")
    assert lcre_classifier.main(flags(species, "--check")) == 0
    shown = capsys.readouterr().out
    assert "warning: 18 coding genes have no strand + or - in the seventh column of the annotation" in shown


def test_table_whose_rows_are_longer_than_its_header(species, capsys):
    """Commas at the ends of lines are nothing; R's row names are believed if they are gene ids."""
    rows = [line.split(",") for line in species["tpm"].read_text().splitlines()[1:]]

    def check(header: str, row: str) -> None:
        lines = [row.format(number, *cells) for number, cells in enumerate(rows, 1)]
        species["tpm"].write_text("\n".join([header, *lines]) + "\n")

    check("gene_id,logMaxTPM,exons", "{1},{2},7,")
    assert lcre_classifier.main(flags(species, "--check")) == 0
    expected = capsys.readouterr().out
    assert "low: logMaxTPM <= 0.29;" in expected
    check("logMaxTPM\texons", "{1}\t{2}\t7")
    assert lcre_classifier.main(flags(species, "--check")) == 0
    assert capsys.readouterr().out == expected
    check("gene_id,logMaxTPM,exons", "{1},{2},7,8")
    assert "one cell more than its header" in refuse(species, capsys)
    check("leaf,logMaxTPM", "{0},{1},{2}")
    assert "TPM has '1', '2', '3', ..." in refuse(species, capsys)
    species["gtf"].write_text(species["gtf"].read_text().replace('"g1_7"', '"3"'))
    assert "only 1 are gene ids of the GTF; name every column" in refuse(species, capsys)


def test_genome_of_proteins(species, capsys):
    species["fasta"].write_text("".join(f">{name}\n{'MKVLEPFIQR' * 140}\n" for name in "123"))
    assert "give the FASTA of the chromosomes, not of the proteins" in refuse(species, capsys)


@pytest.mark.parametrize("name", ["fasta", "gtf", "tpm"])
def test_pipe(species, capsys, name):
    species[name].unlink()
    os.mkfifo(species[name])
    assert "is not a regular file" in refuse(species, capsys)


def test_gtf_of_another_genome(species, capsys):
    lines = species["gtf"].read_text().splitlines()
    species["gtf"].write_text("\n".join("SL4.0ch0" + line for line in lines) + "\n")
    line = refuse(species, capsys)
    assert "no chromosome in common" in line
    assert "'SL4.0ch01', 'SL4.0ch02', 'SL4.0ch03'" in line
    assert "'1', '2', '3'" in line


def test_table_of_another_species(species, capsys):
    species["tpm"].write_text("gene_id,logMaxTPM\nAT1G01010,1\nAT1G01020,2\nAT1G01030,3\nAT1G01040,4\n")
    line = refuse(species, capsys)
    assert "no gene in common" in line
    assert "'AT1G01010', 'AT1G01020', 'AT1G01030', ..." in line
    assert "'g1_0', 'g1_1', 'g1_2', ..." in line


@pytest.mark.parametrize("value", ["", "NaN", "inf", "-inf", "high"])
def test_target_that_is_no_number(species, capsys, value):
    lines = species["tpm"].read_text().splitlines()
    lines[3] = f"g1_2,{value}"
    species["tpm"].write_text("\n".join(lines) + "\n")
    line = refuse(species, capsys)
    assert "1 values of column 'logMaxTPM'" in line
    assert "g1_2" in line


def test_gene_ids_twice(species, capsys):
    text = species["tpm"].read_text()
    species["tpm"].write_text(text + "g2_3,0.5\n")
    assert "'g2_3'" in refuse(species, capsys)
    species["tpm"].write_text(text)
    lines = species["gtf"].read_text().splitlines()
    species["gtf"].write_text("\n".join([*lines, lines[4]]) + "\n")
    assert "'g1_4'" in refuse(species, capsys)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--low-percentile", "80", "--high-percentile", "20"], "need 0 < low < high < 100"),
        (["--low-percentile", "0"], "need 0 < low < high < 100"),
        (["--chromosomes", "9"], "no gene has a window on '9'; there are '1', '2', '3'"),
        (["--chromosomes", "1+2,2"], "names a chromosome twice"),
        (["--chromosomes", "1+2+3"], "nothing else is left to choose the epoch on"),
        (["--chromosomes", "1+2"], "are left to train on"),
        (["--upstream", "5000"], "no coding gene has windows of 5000 + 10 bp"),
        (["--epochs", "0"], "EPOCHS: 0 is too small; give 1 or more"),
        (["--epoch", "5"], "no flag --epoch; did you mean --epochs?"),
        (["--epochs", "many"], "--epochs"),
        (["--model", "transformer"], "MODEL: 'transformer' is none of"),
        (["--select-on", "train"], "SELECT_ON: 'train' is none of validation, test"),
        (["--dataset", "potato"], "DATASET: 'potato' is none of demo, tomato"),
        (["--target-column", "logMaxTPN"], "did you mean 'logMaxTPM'?"),
        (["--organism", "../x"], "ORGANISM"),
        (["--learning-rate", "-1"], "LEARNING_RATE"),
        (["--export-windows", "/nowhere/x.npz"], "--export-windows"),
    ],
)
def test_settings_that_cannot_be(species, capsys, more, says):
    assert says in refuse(species, capsys, *more)


def test_single_class(species, capsys):
    lines = species["tpm"].read_text().splitlines()
    same = [lines[0], *(line.split(",")[0] + ",0" for line in lines[1:])]
    species["tpm"].write_text("\n".join(same) + "\n")
    assert "a single class" in refuse(species, capsys)
    # the high genes of the table are none of the annotation
    elsewhere = [f"other{number},{5 + number}" for number in range(30)]
    species["tpm"].write_text("\n".join([*lines, *elsewhere]) + "\n")
    assert "none is high" in refuse(species, capsys)


def test_pickles(species, capsys):
    listed = species["fasta"].with_name("genes.pickle")
    listed.write_bytes(pickle.dumps({"sol": [RunsCode()]}))
    line = refuse(species, capsys, "--validation-genes", str(listed), "--pickle-key", "sol")
    assert "'builtins.print'" in line
    listed.write_bytes(pickle.dumps({"sol": ["g1_1"], "ara": ["AT1G01010"]}))
    line = refuse(species, capsys, "--validation-genes", str(listed), "--pickle-key", "zea")
    assert "no key 'zea'" in line
    assert "'sol', 'ara'" in line
    line = refuse(species, capsys, "--validation-genes", str(listed), "--pickle-key", "ara")
    assert "no gene in common" in line
    listed.write_bytes(pickle.dumps({}))
    assert "has no keys: its dictionary is empty" in refuse(species, capsys, "--validation-genes", str(listed))
    listed.write_bytes(pickle.dumps({"sol": ["g1_1", 1 << 3_000_000]}))
    assert "a whole number of 3,000,001 bits" in refuse(species, capsys, "--validation-genes", str(listed))
    doubled = b"N" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))
    listed.write_bytes(b"\x80\x04}" + doubled + b"Ns.")
    assert "would take far longer" in refuse(species, capsys, "--validation-genes", str(listed))


def test_species_in_part(species, capsys):
    del species["tpm"]
    assert "FASTA and GTF given without TPM" in refuse(species, capsys)


def test_folder_that_cannot_be_written(species, capsys):
    """It is said before the inputs, of which one is damaged here, are read."""
    Path(species["fasta"]).write_text("no genome")
    models = Path(species["tpm"]) / "models/here"
    message = refuse(species, capsys, "--saved-models", str(models))
    assert f"SAVED_MODELS: cannot write to {models}: {species['tpm']} is a file; name another folder" in message


def test_data_set_that_is_not_there_names_the_command(tmp_path, capsys, monkeypatch):
    nowhere = {**lcre_classifier.DATASETS["tomato"], "FASTA": tmp_path / "genome.fa"}
    monkeypatch.setitem(lcre_classifier.DATASETS, "tomato", nowhere)
    assert lcre_classifier.main(["--dataset", "tomato"]) == 2
    assert "python data/fetch.py tomato" in capsys.readouterr().err


def test_from_the_shell(species):
    done = subprocess.run(
        [sys.executable, ROOT / "lcre_classifier.py", *flags(species, "--epoch", "5")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "lcre_classifier.py: no flag --epoch; did you mean --epochs?\n"
