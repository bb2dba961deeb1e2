"""Contributions and motifs in genome coordinates: bigWig and BED, read back by other programs."""

import math
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from builders import LONG, write
from genomes import random_sequence, reverse_complement, show_codes, write_fasta

from core import InputError
from core.tracks import open_track, write_bigwig
from lcre import genome_tracks
from lcre.genome_tracks import HIT_COLUMNS, Places
from lcre_classifier import WindowLayout, cut_windows

LAYOUT = WindowLayout(4, 5, 2)  # regions of 9 bp, 20 columns; 4 to 6 and 13 to 15 are masked codons
LENGTHS = {"2": 100, "10": 60}  # in the order of the FASTA
GENES = [  # of a and b, whose windows overlap; c is so short that its own regions do
    ("a", "2", 20, 40, "+"),  # promoter 16 to 25, terminator 35 to 44
    ("b", "2", 22, 36, "-"),  # terminator 18 to 27, promoter 31 to 40
    ("c", "10", 20, 28, "+"),  # promoter 16 to 25, terminator 23 to 32
]
PLACES = Places(
    *(np.array([gene[column] for gene in GENES]) for column in range(4)),
    np.array([gene[4] == "-" for gene in GENES]),
    LENGTHS,
    LAYOUT,
)
VALUES = np.arange(3)[:, None] * 100.0 + np.arange(20)  # of gene and column: a 0 to 19, b 100 to 119, c 200 to 219


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    codes = np.tile(np.arange(20, dtype=np.uint8) % 4, (3, 1))
    codes[0, 3] = 4  # an unknown base
    LAYOUT.hide(codes)
    return codes


@pytest.fixture(scope="module")
def contributions(windows) -> np.ndarray:
    return (np.eye(5, 4)[windows] * VALUES[:, :, None]).astype(np.float32)


def column_of(gene: tuple, base: int) -> list[int]:
    """The columns of a gene's window that show a base of its chromosome, counted from TSS and TES by hand."""
    _, _, start, end, strand = gene
    from_tss = base - start if strand == "+" else end - 1 - base
    from_tes = base - end if strand == "+" else start - 1 - base
    columns = [4 + from_tss] if -4 <= from_tss < 5 and from_tss not in (0, 1, 2) else []
    return columns + ([16 + from_tes] if -5 <= from_tes < 4 and from_tes not in (-1, -2, -3) else [])


def test_bigwig_has_the_mean_of_each_base_and_nothing_elsewhere(tmp_path, windows, contributions):
    reader = pytest.importorskip("pyBigWig", reason="pyBigWig is not installed; requirements-dev.txt brings it")
    path = tmp_path / "scores.bw"
    bases = genome_tracks.write_contributions(path, PLACES, windows, contributions)
    with reader.open(str(path)) as file:
        assert file.chroms() == LENGTHS
        found = {name: file.values(name, 0, length) for name, length in LENGTHS.items()}
    for name, length in LENGTHS.items():
        for base in range(length):
            genes = [(row, gene) for row, gene in enumerate(GENES) if gene[1] == name]
            shown = [VALUES[row, column] for row, gene in genes for column in column_of(gene, base)]
            shown = [value for value in shown if value != 3]  # the unknown base of a
            assert found[name][base] == np.mean(shown) if shown else math.isnan(found[name][base]), (name, base)
    assert sum(not math.isnan(value) for values in found.values() for value in values) == bases
    assert found["2"][16] == 0  # the first base of a's promoter
    assert found["2"][18] == (2 + 119) / 2  # a's promoter, and the far end of b's terminator: on the minus strand
    assert found["2"][19:21] == [118, 117]  # unknown and masked in a: those of b alone
    assert found["2"][39] == 100  # masked in a; the far end of b's promoter
    assert found["10"][23:25] == [(207 + 211) / 2, (208 + 212) / 2]  # both regions of c
    assert all(math.isnan(value) for value in found["10"][25:28])  # c's stop codon


def test_bigwig_that_cannot_be_written_leaves_the_earlier_file(tmp_path):
    path = write(tmp_path / "scores.bw", "earlier")

    def broken():
        yield "1", 0, 1, 1.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bigwig(path, {"1": 10}, broken())
    with pytest.raises(InputError, match="cannot be written as a bigWig"):
        write_bigwig(path, {"1": 10}, iter([("1", 5, 6, 1.0), ("1", 0, 1, 1.0)]))  # not sorted
    assert write_bigwig(path, {"1": 10}, iter(())) == 0
    assert [one.read_text() for one in tmp_path.iterdir()] == ["earlier"]
    assert write_bigwig(path, {"1": 10}, [("1", 2, 3, 0.5)]) == 1
    assert open_track(path, "track").read("1", [0], [4])[0].tolist() == [0, 0, 0.5, 0]


# ------------------------------------------------------------------------------------------------------- motifs
SEQUENCE = random_sequence(np.random.default_rng(3), 300)
WORDS = {  # of genes p, 100 to 160, and m, 104 to 164 on the minus strand: regions of 20 bp outside, 10 inside
    "up stream": SEQUENCE[85:93],  # in p's promoter, 80 to 110, and m's terminator, 84 to 114
    "back": reverse_complement(SEQUENCE[165:173]),  # in p's terminator, 150 to 180, and m's promoter, 154 to 184
    "masked": SEQUENCE[156:164],  # over p's stop and m's start codon
    "joined": SEQUENCE[106:110] + SEQUENCE[150:154],  # from p's promoter into its terminator: no padding is between
}
HITS = [
    ("1", 85, 93, "up_stream", 482, "+", 85, 93, "160,60,121", 1, 8, 0, "1.53e-05", "m", "terminator", -4.0),
    ("1", 85, 93, "up_stream", 482, "+", 85, 93, "0,118,90", 1, 8, 0, "1.53e-05", "p", "promoter", 4.0),
    ("1", 165, 173, "back", 482, "-", 165, 173, "160,60,121", 1, 8, 0, "1.53e-05", "m", "promoter", -4.0),
    ("1", 165, 173, "back", 482, "-", 165, 173, "0,118,90", 1, 8, 0, "1.53e-05", "p", "terminator", 4.0),
]


def exact_fimo(motifs, sequences, threshold):
    """Find the words that motifs spell, on both strands, in FIMO's format; an unknown base is any, as in FIMO."""
    import pandas as pd

    codes = np.where(sequences.any(axis=1), sequences.argmax(axis=1), 4)
    found = []
    for matrix in motifs.values():
        word, rows = "".join("ACGT"[base] for base in matrix.argmax(axis=0)), []
        for strand, wanted in (("+", word), ("-", reverse_complement(word))):
            pattern = "(?=" + "".join(f"[{base}.]" for base in wanted) + ")"
            for number, one in enumerate(codes):
                for hit in re.finditer(pattern, show_codes(one)):
                    rows.append((number, hit.start(), hit.start() + len(word), strand, 0.25 ** len(word)))
        found.append(pd.DataFrame(rows, columns=["sequence_name", "start", "end", "strand", "p-value"]))
    return found


def find_hits(words: dict[str, str]):
    layout = WindowLayout(20, 10, 0)
    start, end, strand = np.array([100, 104]), np.array([160, 164]), np.array(["+", "-"])
    codes = np.array(["ACGT".index(base) for base in SEQUENCE], np.uint8)
    windows = cut_windows(codes, start, end, strand, layout)[1]
    layout.hide(windows)
    places = Places(np.array(["p", "m"]), np.array(["1", "1"]), start, end, strand == "-", {"1": 300}, layout)
    contributions = np.eye(5, 4)[windows] * np.array([0.5, -0.5])[:, None, None]
    motifs = {name: np.eye(4)[["ACGT".index(base) for base in word]].T for name, word in words.items()}
    return genome_tracks.find_hits(motifs, places, windows, contributions)


def test_hits_in_genome_coordinates(monkeypatch):
    monkeypatch.setitem(sys.modules, "memelite", SimpleNamespace(fimo=exact_fimo))
    found = find_hits(WORDS)
    assert tuple(found.columns) == HIT_COLUMNS
    assert list(found.itertuples(index=False, name=None)) == HITS


@LONG  # memelite compiles itself when it is used first
def test_fimo_gives_these_hits_and_p_values():
    pytest.importorskip("memelite", reason="memelite is not installed; requirements-motifs.txt brings it")
    assert list(find_hits(WORDS).itertuples(index=False, name=None)) == HITS


def test_bed_holds_the_motif_on_its_strand(tmp_path, monkeypatch):
    """What bedtools cuts out for each line is the motif that the line names."""
    if not shutil.which("bedtools"):
        pytest.skip("bedtools is not installed")
    monkeypatch.setitem(sys.modules, "memelite", SimpleNamespace(fimo=exact_fimo))
    fasta, bed = write_fasta(tmp_path / "genome.fa", {"1": SEQUENCE}), tmp_path / "hits.bed"
    genome_tracks.write_bed(bed, find_hits(WORDS))
    assert bed.read_text().split("\n", 1)[0] == "#" + "\t".join(HIT_COLUMNS)
    command = ["bedtools", "getfasta", "-s", "-name", "-tab", "-fi", str(fasta), "-bed", str(bed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cut = [line.split("\t") for line in done.stdout.splitlines()]
    words = {name.replace(" ", "_"): word for name, word in WORDS.items()}
    assert [name.partition("(")[0].partition("::")[0] for name, _ in cut] == [hit[3] for hit in HITS]
    assert [word for _, word in cut] == [words[hit[3]] for hit in HITS]
    near = write(tmp_path / "near.bed", "1\t90\t91\n")
    command = ["bedtools", "intersect", "-u", "-a", str(bed), "-b", str(near)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split("\t")[13] for line in done.stdout.splitlines()] == ["m", "p"]


def test_a_p_value_is_never_below_that_of_one_sequence(monkeypatch):
    """FIMO rounds scores, and gives 0 to some that lie above its table; one of 4^8 sequences is the least there is."""

    def rounded(*arguments, **named):
        return [hits.assign(**{"p-value": 0.0}) for hits in exact_fimo(*arguments, **named)]

    monkeypatch.setitem(sys.modules, "memelite", SimpleNamespace(fimo=rounded))
    assert list(find_hits(WORDS).itertuples(index=False, name=None)) == HITS


def test_no_hit_is_a_bed_of_its_first_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "memelite", SimpleNamespace(fimo=exact_fimo))
    for number, words in enumerate(({"none": "ACGT" * 5}, {})):
        genome_tracks.write_bed(tmp_path / f"{number}.bed", find_hits(words))
        assert (tmp_path / f"{number}.bed").read_text() == "#" + "\t".join(HIT_COLUMNS) + "\n"
