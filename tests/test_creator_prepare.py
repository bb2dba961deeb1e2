"""`CREaTor.py prepare`: what it reads against plain loops, what it refuses, and what a stop leaves."""

import importlib.util
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import pack
from creator_inputs import ELEMENTS, LENGTHS, prepare, random_signal, write_bigwig, write_inputs, write_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from core import InputError
from core.files import read_json
from core.intervals import read_intervals
from core.tracks import open_track
from creator import CHANNELS, regions
from creator.prepare import write_tokens
from creator.regions import find_reach
from creator.rows import element_rows
from creator.store import MANIFEST, open_store

ROOT = Path(__file__).resolve().parents[1]


# --------------------------------------------------------------------------------------- against plain loops
def plain_row(begin: int, end: int, width: int, crop: str, pad: str) -> list[int | None]:
    """The base in each column of an element's row, None for padding: as the description says it, column by column."""
    bases = list(range(begin, end))
    while len(bases) > width:
        if crop == "start" or len(bases) % 2 == width % 2:
            bases = bases[:-1] if crop == "start" else bases[1:-1]
        else:
            bases = bases[:-1]  # of an odd number of bases too many, one more goes at the end
    row = list(bases)
    while len(row) < width:
        row = [*row, None] if pad == "end" or (width - len(row)) % 2 else [None, *row, None]
    return row


@settings(max_examples=40)
@given(
    elements=st.lists(st.tuples(st.integers(0, 90), st.integers(1, 40)), min_size=1, max_size=8),
    width=st.sampled_from([5, 10, 15]),
    crop=st.sampled_from(["centre", "start"]),
    pad=st.sampled_from(["both", "end"]),
    order=st.permutations("ACGT"),
    codes=st.lists(st.integers(0, 4), min_size=130, max_size=130),
)
def test_tokens_are_the_bases_of_the_rows(elements, width, crop, pad, order, codes, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "tokens.npy"
    options = {"width": width, "crop": crop, "pad": pad, "token_order": "".join(order)}
    frame = pd.DataFrame([(0, begin, begin + size) for begin, size in sorted(elements)])
    frame.columns = ["chromosome", "start", "end"]
    genome = SimpleNamespace(codes=lambda name: np.array(codes, np.uint8))
    write_tokens(path, genome, ["1"], element_rows(frame, options), options["token_order"], lambda count: None)
    for row, begin, end in zip(np.load(path), frame["start"], frame["end"], strict=True):
        expected = [
            0 if at is None or codes[at] == 4 else order.index("ACGT"[codes[at]]) + 1
            for at in plain_row(begin, end, width, crop, pad)
        ]
        assert row.tolist() == expected


@settings(max_examples=60)
@given(
    elements=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 500), st.integers(1, 60)), min_size=1, max_size=25),
    genes=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 560)), min_size=1, max_size=12),
    reach=st.integers(1, 300),
    most=st.integers(0, 4),
    position=st.sampled_from(["centre", "start"]),
    at_once=st.integers(1, 30),
)
def test_reach_lists_equal_a_loop_over_all_pairs(elements, genes, reach, most, position, at_once):
    elements = pd.DataFrame(sorted((on, begin, begin + size) for on, begin, size in elements))
    elements.columns = ["chromosome", "start", "end"]
    genes = pd.DataFrame(sorted(genes), columns=["chromosome", "tss"])
    expected = []
    for gene in genes.itertuples():
        near = []
        for number, element in enumerate(elements.itertuples()):
            in_reach = any(abs(base - gene.tss) <= reach for base in range(element.start, element.end))
            if element.chromosome == gene.chromosome and in_reach:
                place = element.start if position == "start" else (element.start + element.end) // 2
                near.append((abs(place - gene.tss), number))
        expected.append(sorted(number for _, number in sorted(near)[: most or None]))
    options = {"reach": reach, "max_elements": most, "element_position": position}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "PAIRS_AT_ONCE", at_once)
        if not any(expected):
            with pytest.raises(regions.InputError, match="no gene has a cCRE within"):
                find_reach(elements, genes, options)
            return
        indptr, indices = find_reach(elements, genes, options)
    assert [indices[begin:end].tolist() for begin, end in zip(indptr[:-1], indptr[1:], strict=True)] == expected


@pytest.mark.parametrize("kind", ["bigwig", "bedgraph"])
@pytest.mark.parametrize("transform", ["none", "log1p", "arcsinh"])
def test_signal_equals_an_array_of_every_base(kind, transform, tmp_path):
    flags = write_inputs(tmp_path)
    random = np.random.default_rng(5)
    whole, intervals = {}, []
    for name, length in LENGTHS.items():
        found, whole[name] = random_signal(random, length)
        intervals += [(f"chr{name}", *interval) for interval in found]
    if kind == "bigwig":
        write_bigwig(tmp_path / "a.bw", intervals)
    else:
        order = random.permutation(len(intervals))  # need not be sorted
        text = "track type=bedGraph\n" + "".join("{}\t{}\t{}\t{}\n".format(*intervals[number]) for number in order)
        (tmp_path / "a.bw.txt").write_bytes(pack(text.encode()))
        write_samples(tmp_path, ["A\tDNase\ta.bw.txt"])
    elements = sorted({(int(at), int(at + size)) for at, size in zip(*random.integers(1, 500, (2, 40)), strict=True)})
    (tmp_path / "ccres.bed").write_text("".join(f"chr1\t{begin}\t{min(end, 1000)}\n" for begin, end in elements))
    assert prepare(flags, tmp_path / "S", "--width", "200", "--transform", transform, "--scale", "dnase=2") == 0
    store = open_store(tmp_path / "S")
    function = {"none": lambda x: x, "log1p": np.log1p, "arcsinh": np.arcsinh}[transform]
    for row, begin, end in zip(
        store.read_signal(0, slice(None))[:, :, CHANNELS.index("DNase")],
        store.element_start,
        store.element_end,
        strict=True,
    ):
        places = plain_row(int(begin), int(end), 200, "centre", "both")
        expected = [0 if at is None else function(whole["1"][at] / 2) for at in places]
        np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_half_precision_is_close_and_says_what_it_cannot_hold(tmp_path, capsys):
    flags = write_inputs(tmp_path)
    write_bigwig(tmp_path / "a.bw", [("chr1", 100, 101, 1e6), ("chr1", 101, 102, 12.345)])
    assert prepare(flags, tmp_path / "S", "--signal-type", "float16") == 0
    store = open_store(tmp_path / "S")
    assert store.signals[0].dtype == np.float16
    np.testing.assert_allclose(store.read_signal(0, [1])[0, :2, 1], [65504, 12.345], rtol=1e-3)
    assert "1 values of DNase of A are set to 65,504" in capsys.readouterr().out
    assert store.manifest["signal"][0]["DNase"]["clipped"] == 1


def test_rows_of_elements():
    options = {"width": 10, "crop": "centre", "pad": "both"}
    elements = pd.DataFrame({"chromosome": 0, "start": [100, 100, 100], "end": [107, 110, 125]})
    found = element_rows(elements, options)
    assert (found.begins.tolist(), found.taken.tolist(), found.columns.tolist()) == (
        [100, 100, 107],
        [7, 10, 10],
        [1, 0, 0],
    )


# ------------------------------------------------------------------------------------------- files of peaks
PEAKS = {
    "three columns": ("p.bed", "chr1\t10\t20\n", 1),
    "bedGraph": ("p.bedgraph", "chr1\t10\t20\t2.5\n", 2.5),
    "bedGraph with blanks": ("p.bedgraph", "#x\nbrowser position\ntrack\nchr1 10 20 2.5\n", 2.5),
    "score of a BED": ("p.bed", "chr1\t10\t20\tpeak\t700\t+\n", 700),
    "narrowPeak": ("p.narrowPeak", "chr1\t10\t20\tpeak\t700\t.\t3.25\t5\t4\t1\n", 3.25),
    "packed broadPeak": ("p.broadPeak.gz", pack(b"chr1\t10\t20\tpeak\t700\t.\t3.25\t5\t4\n"), 3.25),
}


@pytest.mark.parametrize("name", PEAKS)
def test_value_of_a_peak(name, tmp_path):
    file, content, value = PEAKS[name]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = open_track(tmp_path / file, "peaks").read("chr1", [8], [12])
    assert found.tolist() == [0, 0, value, value]


@given(
    peaks=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(-3, 5)), min_size=1, max_size=12),
    begin=st.integers(0, 40),
    size=st.integers(1, 20),
)
def test_overlapping_peaks_give_the_largest(peaks, begin, size, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "peaks.bedgraph"
    path.write_text("".join(f"c\t{at}\t{at + length}\t{value}\n" for at, length, value in peaks))
    (found,) = open_track(path, "peaks").read("c", [begin], [begin + size])
    for base, value in zip(range(begin, begin + size), found, strict=True):
        over = [height for at, length, height in peaks if at <= base < at + length]
        assert value == max(over, default=0)


def test_intervals_come_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("core.intervals.BATCH", 2)
    path = tmp_path / "x.bed"
    path.write_text("".join(f"1\t{at}\t{at + 1}\tn{at}\n" for at in range(5)))
    frames = list(read_intervals(path, "BED", 3))
    assert [len(frame) for frame in frames] == [2, 2, 1]
    assert frames[2].iloc[0].to_dict() == {"line": 5, "chromosome": "1", "start": 4, "end": 5, "text": "n4"}


def test_nan_in_a_bigwig_is_a_gap(tmp_path):
    path = write_bigwig(tmp_path / "x.bw", [("chr1", 0, 2, float("nan")), ("chr1", 2, 3, 1.0)])
    (found,) = open_track(path, "DNase of A").read("chr1", [0], [4])
    assert found.tolist() == [0, 0, 1, 0]


# ------------------------------------------------------------------------------------------------- what is said
def test_report_has_the_numbers(tmp_path, capsys):
    assert prepare(write_inputs(tmp_path), tmp_path / "S") == 0
    said = capsys.readouterr()
    assert said.err == ""
    for sentence in (
        "cCREs and FASTA: 2 names differ by a 'chr' prefix ('chr1' is '1')",
        "4 cCREs on 2 chromosomes",
        "3 genes; TSS is the 5' end of the gene",
        "2 of the 3 genes are in tpm.csv",
        "14 of 16 tracks are in no cell and are zeros: CTCF, EP300",
        "warning: cell A lacks H3K27ac, which others have: zeros are used",
        "3 pairs of a gene and a cCRE within 150 bp of its TSS",
        "2 genes have no cCRE in reach",
        "4 cCREs, 3 genes, 3 pairs, 2 cells",
    ):
        assert sentence in said.out, sentence
    manifest = read_json(tmp_path / "S" / MANIFEST)
    assert manifest["counts"] == {"elements": 4, "genes": 3, "pairs": 3}
    assert manifest["signal"][0]["DNase"]["mean"] == pytest.approx(  # 7 + 10 + 10 + 10 bases
        (sum(range(100, 110)) + sum(range(307, 317))) / 37
    )
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith("S")) == ["S"]
    left = {file.name for file in (tmp_path / "S").iterdir()}
    assert {name for name in left if not name.endswith(".npy")} == {MANIFEST}


def test_cells_without_tpm_are_said(tmp_path, capsys):
    flags = write_inputs(tmp_path)
    write_samples(tmp_path, ["A\tDNase\ta.bw", "B\tDNase\ta.bw", "B\tTPM\ttpm.csv"])
    assert prepare(flags, tmp_path / "S") == 0
    assert "1 of 2 cells have no TPM ('A')" in capsys.readouterr().out
    assert np.isnan(open_store(tmp_path / "S").expression[:, 0]).all()
    write_samples(tmp_path, ["A\tDNase\ta.bw"])
    assert prepare(flags, tmp_path / "T") == 0
    assert "no cell has a TPM table" in capsys.readouterr().out


def test_cell_without_signal_is_zeros(tmp_path, capsys):
    flags = write_inputs(tmp_path)
    write_samples(tmp_path, ["A\tTPM\ttpm.csv", "B\tDNase\ta.bw"])
    assert prepare(flags, tmp_path / "S") == 0
    assert "cell A lacks DNase" in capsys.readouterr().out
    assert not open_store(tmp_path / "S").read_signal(0, slice(None)).any()


def test_column_and_relative_paths_of_samples(tmp_path):
    flags = write_inputs(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "a.bw").rename(tmp_path / "more" / "a.bw")
    lines = ["x\tDNase\tmore/a.bw\t", f"x\ttpm\t{tmp_path / 'tpm.csv'}\tB"]
    write_samples(tmp_path, lines, "cell\ttrack\tpath\tcolumn")
    assert prepare(flags, tmp_path / "S") == 0
    store = open_store(tmp_path / "S")
    assert store.cells == ("x",)
    np.testing.assert_array_equal(store.expression[:, 0], np.float32([2, 4, np.nan]))


def test_own_tracks(tmp_path):
    flags = write_inputs(tmp_path)
    write_samples(tmp_path, ["A\tatac\ta.bw", "B\tRNA\ta.bw"])
    assert prepare(flags, tmp_path / "S", "--tracks", "RNA,ATAC") == 0
    store = open_store(tmp_path / "S")
    assert store.tracks == ("RNA", "ATAC")
    assert store.read_signal(0, [1])[0, 0].tolist() == [0, 100]
    assert store.read_signal(1, [1])[0, 0].tolist() == [100, 0]


def test_names_of_elements(tmp_path, capsys):
    flags = write_inputs(tmp_path)
    (tmp_path / "ccres.bed").write_text("chr1\t100\t110\nchr1\t100\t110\nchr2\t5\t9\nscaffold\t1\t5\n")
    assert prepare(flags, tmp_path / "S") == 0
    assert open_store(tmp_path / "S").element_name.tolist() == [b"1:100-110", b"2:5-9"]
    said = capsys.readouterr().out
    assert "1 of 4 cCREs are left out: the FASTA has no chromosome 'scaffold'" in said
    assert "1 cCREs stand twice" in said
    assert "they are called chromosome:start-end" in said


# --------------------------------------------------------------------------------------------------- refusals
def put(name: str, content: str | bytes):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def samples(*lines: str, header: str = "cell\ttrack\tpath"):
    return lambda folder: write_samples(folder, list(lines), header)


def bigwig(lengths: dict[str, int], *intervals):
    return lambda folder: write_bigwig(folder / "a.bw", intervals, lengths)


def make_folder(name: str):
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return change


WRONG = {
    "bigWig of another genome": (
        bigwig({"Chr9": 100}, ("Chr9", 0, 5, 1.0)),
        "bigWig and FASTA have no chromosome in common",
    ),
    "bigWig of another assembly": (
        bigwig({"chr1": 900, "chr2": 600}, ("chr1", 0, 5, 1.0), ("chr2", 0, 5, 1.0)),
        None,  # one of two chromosomes: a warning
    ),
    "bigWig of another assembly throughout": (
        bigwig({"chr1": 900, "chr2": 500}, ("chr1", 0, 5, 1.0)),
        "is of another genome: chr1 has 900 bp there and 1,000 in the FASTA",
    ),
    "text called bigWig": (put("a.bw", "hello\n" * 20), "is not a bigWig, as its name says"),
    "cut bigWig": (put("a.bw", b"\x26\xfc\x8f\x88" + bytes(20)), "damaged bigWig"),
    "bigBed": (put("a.bw", b"\xeb\xf2\x89\x87" + bytes(80)), "is a bigBed"),
    "empty signal": (put("a.bw", ""), "is empty"),
    "infinite signal": (bigwig({"chr1": 1000}, ("chr1", 100, 105, float("inf"))), "is infinite at chr1:100"),
    "huge signal": (bigwig({"chr1": 1000}, ("chr1", 100, 105, 1e12)), "has values beyond 1e+09"),
    "peaks beyond the chromosome": (put("b.bedgraph", "chr2\t5\t700\t1\n"), "is of another genome: intervals end"),
    "peaks without numbers": (put("b.bedgraph", "chr2\t5\t70\tname\n"), "has the value 'name' in column 4, no number"),
    "a wiggle": (put("b.bedgraph", "fixedStep chrom=chr1 start=1\n5\n"), "is a wiggle file"),
    "start after end": (put("ccres.bed", "chr1\t1\t5\nchr1\t9\t7\n"), "line 2 of"),
    "empty interval": (put("ccres.bed", "chr1\t7\t7\n"), "start must be smaller than end"),
    "negative start": (put("ccres.bed", "chr1\t-7\t7\n"), "is no chromosome, start and end"),
    "beyond the chromosome": (put("ccres.bed", "chr2\t590\t601\n"), "end beyond their chromosome"),
    "endless interval": (put("ccres.bed", "chr2\t1\t" + "9" * 500 + "\n"), "no chromosome is that long"),
    "heading in BED": (put("ccres.bed", "chrom\tstart\tend\n"), "put # in front if it is a heading"),
    "no BED": (put("ccres.bed", ">1\nACGT\n"), "is no chromosome, start and end"),
    "binary BED": (put("ccres.bed", bytes(range(256))), "line 1"),
    "no cCRE": (put("ccres.bed", "# nothing\n"), "holds no interval"),
    "cCREs of another genome": (put("ccres.bed", "Chr9\t1\t5\n"), "cCREs and FASTA have no chromosome in common"),
    "cCREs out of reach": (put("ccres.bed", "chr1\t990\t1000\n"), "no gene has a cCRE within 150 bp"),
    "long names": (put("ccres.bed", f"chr1\t100\t110\t{'x' * 300}\n"), "is longer than 200 letters"),
    "unknown track": (samples("A\tATAC\ta.bw"), f"unknown track ATAC; known are {', '.join(CHANNELS)}"),
    "missing file": (samples("A\tDNase\tnone.bw"), "no file"),
    "folder for a file": (samples("A\tDNase\t."), "is a folder"),
    "track twice": (samples("A\tDNase\ta.bw", "A\tdnase\ta.bw"), "lines 2 and 3 of"),
    "TPM twice": (samples("A\tTPM\ttpm.csv", "A\tTPM\ttpm.csv"), "both give TPM of A"),
    "cell in two ways": (samples("A\tDNase\ta.bw", "a\tTPM\ttpm.csv"), "is that one cell?"),
    "no sample": (samples(), "has no line below its first"),
    "no columns": (samples("A,DNase,a.bw", header="cell,track,path"), "has no column cell, track, path"),
    "a column missing": (samples("A\ta.bw", header="cell\tpath"), "has no column track"),
    "an empty cell": (samples("A\t\ta.bw"), "line 2 of"),
    "a column too many": (samples("A\tDNase\ta.bw\tx"), "has 4 columns, the first line names 3"),
    "no such column of TPM": (samples("C\tDNase\ta.bw", "C\tTPM\ttpm.csv"), "has no column 'C'"),
    "negative TPM": (put("tpm.csv", "gene_id,A,B\ng1,1,2\ng2,-1,2\n"), "has negative values (gene g2)"),
    "TPM that is text": (put("tpm.csv", "gene_id,A,B\ng1,1,2\ng2,x,2\n"), "are not finite numbers: 'g2' has 'x'"),
    "TPM that is not known": (put("tpm.csv", "gene_id,A,B\ng1,1,2\ng2,,2\n"), "are not finite numbers: 'g2' has ''"),
    "endless TPM": (put("tpm.csv", "gene_id,A,B\ng1,1,2\ng2,1e300,2\n"), "values beyond 1,000,000,000 (gene g2)"),
    "TPM of other genes": (put("tpm.csv", "gene_id,A,B\nx,1,2\n"), "GTF and TPM have no gene in common"),
    "TPM that is no table": (put("tpm.csv", b"\x89PNG\r\n"), "TPM: "),
    "signal for TPM": (samples("A\tDNase\ta.bw", "A\tTPM\ta.bw"), "TPM: "),
    "GTF of another genome": (
        put("genes.gtf", 'Chr9\tx\tgene\t1\t9\t.\t+\t.\tgene_id "g1";\n'),
        "GTF and FASTA have no chromosome in common",
    ),
    "genes beyond the chromosome": (
        put("genes.gtf", '1\tx\tgene\t5000\t6000\t.\t+\t.\tgene_id "g1";\n'),
        "begin beyond the end of their chromosome",
    ),
    "genes without strand": (put("genes.gtf", '1\tx\tgene\t50\t60\t.\t.\t.\tgene_id "g1";\n'), "has a strand"),
    "no genome": (put("genome.fa", "ACGT\n"), "does not begin with '>'"),
    "no such FASTA": (lambda folder: (folder / "genome.fa").unlink(), "no file"),
    "folder for cCREs": (make_folder("ccres.bed"), "is a folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_leaves_nothing(name, tmp_path, capfd):
    flags = write_inputs(tmp_path)
    change, message = WRONG[name]
    change(tmp_path)
    before = sorted(tmp_path.iterdir())
    status = prepare(flags, tmp_path / "S")
    said = capfd.readouterr()
    if message is None:
        assert status == 0
        assert "warning: DNase of A: chr1 has 900 bp there" in said.out
        return
    assert status == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert len(said.err) < 700
    late = name in ("infinite signal", "huge signal")  # only the whole units of a store under another name stay
    assert sorted(tmp_path.iterdir()) == sorted([*before, *([tmp_path / "S.part"] if late else [])])


FLAGS = {
    "--width 12": "is not a multiple of 5, the bases of one token; give 10 or 15",
    "--width 0": "is not between 5 and 20,000",
    "--width x": "invalid int value",
    "--reach 0": "is not between 1 and",
    "--crop middle": "middle is not one of centre, start",
    "--token-order AACG": "is not an order of A, C, G and T",
    "--transform log": "is not one of none, log1p, arcsinh",
    "--tracks A,a": "is there twice",
    "--scale ATAC=2": "unknown track ATAC",
    "--fast": "no flag --fast",
}


@pytest.mark.parametrize("words", FLAGS)
def test_wrong_flags_are_one_line(words, tmp_path, capfd):
    assert prepare(write_inputs(tmp_path), tmp_path / "S", *words.split()) == 2
    said = capfd.readouterr().err
    assert FLAGS[words] in said
    assert said.count("\n") == 1
    assert not (tmp_path / "S").exists()


def test_log_of_negative_signal_is_refused(tmp_path, capfd):
    flags = write_inputs(tmp_path)
    write_bigwig(tmp_path / "a.bw", [("chr1", 100, 105, -0.5)])
    assert prepare(flags, tmp_path / "S", "--transform", "log1p") == 2
    assert "negative values (-0.5), of which log1p cannot be taken" in capfd.readouterr().err
    assert prepare(flags, tmp_path / "T", "--transform", "arcsinh") == 0


def test_places_where_no_store_can_be(tmp_path, capfd):
    flags = write_inputs(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for out, message in {"none/S": "there is no folder", "tpm.csv": "is a file", "mine": "no finished store"}.items():
        for more in ([], ["--overwrite"]):
            assert prepare(flags, tmp_path / out, *more) == 2
            assert message in capfd.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
    (tmp_path / "mine.part").mkdir()
    (tmp_path / "mine" / "thesis.txt").rename(tmp_path / "mine.part" / "thesis.txt")
    assert prepare(flags, tmp_path / "mine", "--overwrite") == 2  # mine is empty now, mine.part is not ours
    assert "is in the way and no unfinished store" in capfd.readouterr().err
    (tmp_path / "mine.part" / "thesis.txt").rename(tmp_path / "thesis.txt")
    (tmp_path / "mine.part").rmdir()
    assert prepare(flags, tmp_path / "mine") == 0  # an empty folder becomes the store


def test_damage_in_a_bigwig_is_one_line(tmp_path, capfd):
    """pybigtools panics, asks for more memory than there is, or notices nothing; never more than a line comes of it."""
    path = write_bigwig(tmp_path / "a.bw", [("chr1", at, at + 1, float(at)) for at in range(90, 320)])
    whole, outcomes, lines = path.read_bytes(), [], 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            open_track(path, "DNase of A").read("chr1", [100], [110])
            outcomes.append("read")
        except InputError as error:
            outcomes.append("panicked" if "Result::unwrap" in str(error) else "refused")
            lines += str(error).count("\n")
        except KeyError:  # the damage is in the name of the chromosome
            outcomes.append("another name")
    assert {"read", "refused", "panicked"} <= set(outcomes)
    assert lines == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_bigwig_that_is_cut_is_refused(part, tmp_path):
    random = np.random.default_rng(2)
    values = [("chr1", at, at + 1, float(random.random())) for at in range(0, 60_000)]
    path = write_bigwig(tmp_path / "a.bw", values, {"chr1": 60_000})
    data_end = struct.unpack("<Q", path.read_bytes()[24:32])[0]  # where the index begins
    path.write_bytes(path.read_bytes()[: int(part * data_end)])
    with pytest.raises(InputError, match="damaged bigWig .it ends after"):
        open_track(path, "DNase of A")


# ------------------------------------------------------------------------------------ starting again, resuming
def snapshot(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.iterdir()}


def test_other_options_and_inputs_are_refused_by_name(tmp_path, capfd):
    flags = write_inputs(tmp_path)
    out = tmp_path / "S"
    assert prepare(flags, out) == 0
    before = snapshot(out)
    capfd.readouterr()
    assert prepare(flags, out) == 0
    assert "is finished already" in capfd.readouterr().out
    assert prepare(flags, out, "--pad", "end", "--reach", "200") == 2
    said = capfd.readouterr().err
    assert "pad (end in the command, both in the store); reach (200 in the command, 150 in the store)" in said
    write_bigwig(tmp_path / "a.bw", [("chr1", 100, 101, 9.0)])
    assert prepare(flags, out) == 2
    assert "DNase of A; H3K27ac of B; give another name, or --overwrite" in capfd.readouterr().err
    write_samples(tmp_path, ["A\tDNase\ta.bw", "C\tDNase\ta.bw"])
    assert prepare(flags, out) == 2
    assert "the cells of samples.tsv" in capfd.readouterr().err
    assert snapshot(out) == before
    assert prepare(flags, out, "--overwrite") == 0
    assert open_store(out).cells == ("A", "C")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("S.")]


def test_overwriting_in_vain_keeps_the_former_store(tmp_path):
    flags = write_inputs(tmp_path)
    assert prepare(flags, tmp_path / "S") == 0
    before = snapshot(tmp_path / "S")
    write_bigwig(tmp_path / "a.bw", [("chr1", 100, 105, float("inf"))], {"chr1": 1000})
    assert prepare(flags, tmp_path / "S", "--overwrite") == 2
    assert snapshot(tmp_path / "S") == before


KILLED = """
import os, signal, sys
import CREaTor
from creator import prepare, signals
write_cell, write_array = prepare.write_cell, signals.writing_array
def stop(): os.kill(os.getpid(), signal.SIGKILL)
{patch}
CREaTor.main(sys.argv[1:])
"""
PLACES = {
    "before the tokens": "prepare.write_tokens = lambda *a: stop()",
    "in the second cell": (
        "import contextlib\n"
        "@contextlib.contextmanager\n"
        "def half(path, shape, dtype):\n"
        "    with write_array(path, shape, dtype) as append:\n"
        "        yield (lambda rows: (append(rows), stop())) if path.name == 'signal_1.npy' else append\n"
        "signals.writing_array = half"
    ),
    "before the manifest": "prepare.finish = lambda *a: stop()",
    "before it gets its name": "import pathlib; pathlib.Path.rename = lambda *a: stop()",
}


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_process_loses_no_whole_unit(place, tmp_path, capfd):
    flags = write_inputs(tmp_path)
    assert prepare(flags, tmp_path / "whole") == 0
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(patch=PLACES[place]), *flags, "--out", str(tmp_path / "S")],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "S").exists()
    part = tmp_path / "S.part"
    finished = {file.name: file.stat().st_ino for file in part.glob("*.npy") if file.name.startswith(("tok", "sig"))}
    assert ("tokens.npy" in finished) == (place != "before the tokens")
    assert ("signal_0.npy" in finished) == (place != "before the tokens")
    if place == "in the second cell":
        assert "signal_1.npy" not in finished
        assert list(part.glob(".signal_1-*"))  # half of it
    capfd.readouterr()
    assert prepare(flags, tmp_path / "S", "--pad", "end") == 2
    assert "is unfinished and has other options or inputs: pad (end" in capfd.readouterr().err
    assert prepare(flags, tmp_path / "S") == 0
    assert "goes on with what an earlier start has finished" in capfd.readouterr().out
    assert snapshot(tmp_path / "S") == snapshot(tmp_path / "whole")
    assert {name: (tmp_path / "S" / name).stat().st_ino for name in finished} == finished  # not written again


def test_two_processes_do_not_write_the_same_store(tmp_path, capfd):
    from core.locks import claim

    flags = write_inputs(tmp_path)
    with claim(tmp_path / "S.lock", "S"):
        assert prepare(flags, tmp_path / "S") == 2
    assert "is in use by process" in capfd.readouterr().err


def test_the_order_of_the_files_does_not_matter(tmp_path):
    flags = write_inputs(tmp_path)
    assert prepare(flags, tmp_path / "S") == 0
    lines = ["\t".join(map(str, element)) + "\n" for element in ELEMENTS]
    (tmp_path / "ccres.bed").write_bytes(pack("".join(reversed(lines)).encode()))
    assert prepare(flags, tmp_path / "T") == 0
    ours, other = snapshot(tmp_path / "S"), snapshot(tmp_path / "T")
    assert {name: ours[name] for name in ours if name != MANIFEST} == {n: other[n] for n in other if n != MANIFEST}


# --------------------------------------------------------------------------------------------- the made-up world
@pytest.fixture(scope="module")
def world(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("make_world", ROOT / "example" / "make_world.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("world")
    module.make_world(folder / "w", chromosomes=4)
    flags = ["prepare", "--fasta", folder / "w" / "world.fa.gz", "--gtf", folder / "w" / "world.gtf.gz"]
    flags += ["--ccres", folder / "w" / "ccres.bed", "--samples", folder / "w" / "samples.tsv", "--reach", "500000"]
    assert prepare(list(map(str, flags)), folder / "S", "--width", "180", "--pad", "end") == 0
    return module, folder / "w", open_store(folder / "S")


def test_truth_follows_from_the_files_by_the_stated_rule(world):
    """Read off tokens and signal alone: motif by its copies, activity by H3K27ac, links by the distance."""
    module, folder, store = world
    letters = np.array(list(".ACGT"))
    motifs = []
    for row in np.asarray(store.tokens):
        sequence = "".join(letters[row])
        matches = {
            name: sum(
                sum(a == b for a, b in zip(sequence[at:], motif, strict=False)) >= 8 for at in range(len(sequence) - 9)
            )
            for name, motif in module.MOTIFS.items()
        }
        motifs.append(max(matches, key=matches.get))
    acetylated = np.stack(
        [store.read_signal(cell, slice(None))[:, :, CHANNELS.index("H3K27ac")].max(axis=1) for cell in range(5)], axis=1
    )
    active = acetylated > 1.5
    names, ids = store.element_name.astype(str), store.gene_id.astype(str)
    positions, found = store.element_position(), set()
    for gene in range(len(ids)):
        for element in store.in_reach(gene):
            distance = store.gene_tss[gene] - positions[element]
            low, high = module.WINDOWS.get(motifs[element], (0, 0))
            if low <= distance < high and active[element].any():
                cells = ",".join(np.array(module.CELLS)[active[element]])
                found.add((names[element], ids[gene], int(distance), cells))
    truth = pd.read_csv(folder / "truth.tsv", sep="\t")
    assert found == set(truth[["element", "gene_id", "distance", "cells"]].itertuples(index=False, name=None))
    assert truth["distance"].abs().max() < 500_000


def test_expression_of_the_world_is_the_sum_of_its_links(world):
    module, folder, store = world
    truth = pd.read_csv(folder / "truth.tsv", sep="\t")
    tpm = pd.read_csv(folder / "tpm.csv", index_col="gene_id")
    expected = pd.DataFrame(module.BASAL, tpm.index, tpm.columns)
    for link in truth.itertuples():
        for cell in link.cells.split(","):
            expected.loc[link.gene_id, cell] += link.effect
    ratio = np.log(tpm / expected).to_numpy()
    assert abs(ratio.mean()) < 0.01
    assert ratio.std() == pytest.approx(module.NOISE, rel=0.1)


def test_world_is_the_same_every_time(world, tmp_path):
    module, folder, _ = world
    module.make_world(tmp_path, chromosomes=4)
    assert snapshot(tmp_path) == snapshot(folder)


def test_distance_and_signal_do_not_tell_the_links(world):
    from sklearn.metrics import average_precision_score

    module, folder, store = world
    truth = pd.read_csv(folder / "truth.tsv", sep="\t")
    links = {(link.element, link.gene_id) for link in truth.itertuples() if "E" in link.cells}
    signal = store.read_signal(4, slice(None))[:, :, CHANNELS.index("DNase")].sum(axis=1)
    names, ids, positions = store.element_name.astype(str), store.gene_id.astype(str), store.element_position()
    is_link, distance, height = [], [], []
    for gene in range(len(ids)):
        for element in store.in_reach(gene):
            is_link.append((names[element], ids[gene]) in links)
            distance.append(max(abs(positions[element] - store.gene_tss[gene]), 1000))
            height.append(signal[element])
    distance, height = np.array(distance), np.array(height)
    assert average_precision_score(is_link, 1 / distance) < 0.3
    assert average_precision_score(is_link, height / distance) < 0.3


def test_flags_reach_the_store(tmp_path):
    """Every option of the table is a flag, and what is given arrives in the manifest."""
    flags = write_inputs(tmp_path)[:9]
    given = {"width": 15, "crop": "start", "pad": "end", "token_order": "TGCA", "element_position": "start"}
    given |= {"transform": "arcsinh", "scale": "DNase=2", "reach": 160, "max_elements": 2, "minus_strand": "forward"}
    given |= {"genes": "all", "signal_type": "float32"}
    more = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert prepare(flags, tmp_path / "S", *more) == 0
    assert open_store(tmp_path / "S").options == given | {"tracks": ",".join(CHANNELS)}
