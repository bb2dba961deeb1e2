"""Reading of FASTA, GTF, GFF3, expression tables and gene lists; bridging of names."""

import errno
import itertools
import math
import os
import pickle
import re
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from builders import PNG, REALDATA, bgzf, cut_gzip, one_line, pack, write
from hypothesis import given, settings
from hypothesis import strategies as st

from core import InputError
from core.annotation import QUOTED, parse_attributes, read_annotation
from core.bgzip import find_blocks, open_blocks
from core.genome import find_sequences, open_genome, sort_chromosomes, unpacked_size
from core.names import CHROMOSOME_BRIDGES, GENE_BRIDGES, bridge_names, join_names
from core.tables import read_expression, read_gene_list, require_row_names

# ------------------------------------------------------------------------------------------------ FASTA
GENOME = b">1 dna:chromosome first\nACGTNacgtn\nRYKMU\n>01\nTTTT\n>2\tsecond one\nGATTACA\nGATTACA\nG\n"
CODES = {"1": "012340123444443", "01": "3333", "2": "203301020330102"}


def read_genome(path) -> dict[str, str]:
    """Return each chromosome's codes as a string of digits, after comparing its length."""
    with open_genome(path) as genome:
        codes = {name: genome.codes(name) for name in genome.lengths}
        assert {name: len(found) for name, found in codes.items()} == genome.lengths
    assert all(found.dtype == np.uint8 for found in codes.values())
    return {name: "".join(map(str, found)) for name, found in codes.items()}


@pytest.mark.parametrize(
    "content",
    [
        GENOME,
        GENOME.rstrip(b"\n"),
        GENOME.replace(b"\n", b"\r\n"),
        GENOME.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + GENOME,
        b"\n\n" + GENOME + b"\n\n\n",
        GENOME.replace(b"\n>", b"\n\n>"),
        pack(GENOME),
        pack(GENOME[:30]) + pack(GENOME[30:]),
        bgzf(GENOME),
        bgzf(GENOME[:13], GENOME[13:41], GENOME[41:]),
        bgzf(GENOME.replace(b"\n", b"\r\n")),
    ],
    ids=[
        "plain",
        "no-final-newline",
        "crlf",
        "cr",
        "bom",
        "blank-ends",
        "blank-between",
        "gzip",
        "gzips",
        "bgzip",
        "bgzips",
        "bgzip-crlf",
    ],
)
def test_genome_is_the_same_however_packed(tmp_path, content):
    assert read_genome(write(tmp_path / "genome.fa", content)) == CODES


@pytest.mark.parametrize("name", ["g.fa.gz", "g", "my genome.fa", "gén ome Ω.fa", "g.fa.bgz"])
def test_genome_by_content_not_by_name(tmp_path, name):
    """A plain file may be called .gz, and names may hold blanks and any letter."""
    assert read_genome(write(tmp_path / name, GENOME)) == CODES


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"ACGT\nAC\nACGT\n", "0123010123"),  # a short line in the middle
        (b"AC\nACGT\n", "010123"),  # a last line longer than the first: pyfaidx alone cuts it wrong
        (b"ACGT \nACGT \nAC\n", "0123012301"),  # blanks at the ends: pyfaidx alone takes them for bases
        (b"ACGT\r\nACGT\nAC", "0123012301"),
        (b"AC GT\n\nAC\tGT\n", "01230123"),
        (b"A\xffC-*.\n", "041444"),
        (b"", ""),
    ],
)
def test_genome_with_ragged_lines(tmp_path, lines, expected):
    content = b">a\n" + lines + (b"" if lines.endswith(b"\n") or not lines else b"\n") + b">b\nGG\n"
    assert read_genome(write(tmp_path / "g.fa", content)) == {"a": expected, "b": "22"}


@settings(max_examples=40, deadline=None)
@given(
    records=st.lists(st.text("ACGTNacgtnRU", max_size=50), min_size=1, max_size=5),
    width=st.integers(1, 12),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
)
def test_genome_is_what_was_written(tmp_path_factory, records, width, end, packed):
    text = ""
    for number, sequence in enumerate(records):
        lines = [sequence[i : i + width] for i in range(0, len(sequence), width)]
        text += end.join([f">{number} x", *lines]) + end
    content = pack(text.encode()) if packed else text.encode()
    code = {"A": "0", "C": "1", "G": "2", "T": "3", "U": "3"}
    expected = {str(n): "".join(code.get(base.upper(), "4") for base in s) for n, s in enumerate(records)}
    assert read_genome(write(tmp_path_factory.mktemp("fasta") / "g.fa", content)) == expected


def test_records_longer_than_the_reading_chunk(tmp_path):
    """Headers and lines that cross the megabyte at which the file is read in parts."""
    bases = "ACGT" * 13 + "ACG"
    content = "".join(f">{number} {'x' * 40}\n" + f"{bases}\n" * 5_000 for number in range(12))
    assert len(content) > 3 << 20
    with open_genome(write(tmp_path / "g.fa", content)) as genome:
        assert genome.lengths == {str(number): 55 * 5_000 for number in range(12)}
        expected = np.array([*range(4)] * 13 + [0, 1, 2], np.uint8)
        assert all(np.array_equal(genome.codes(name), np.tile(expected, 5_000)) for name in genome.lengths)


def test_header_is_kept_and_names_are_text(tmp_path):
    with open_genome(write(tmp_path / "g.fa", GENOME)) as genome:
        assert list(genome.lengths) == ["1", "01", "2"]
        assert genome.describe("1") == "1 dna:chromosome first"
        assert genome.describe("2") == "2\tsecond one"
        assert "".join(map(str, genome.codes("01"))) == "3333"  # the name, not the record of that number


@pytest.mark.parametrize("packer", [bytes, bgzf, pack])
def test_a_header_that_is_not_utf8(tmp_path, packer):
    """As of a file that was written in Latin-1; fuzzing found it."""
    with open_genome(write(tmp_path / "g.fa", packer(b">1 Fran\xe7ois\nACGT\n>2 b\nAC\n"))) as genome:
        assert genome.lengths == {"1": 4, "2": 2}
        assert genome.describe("1") == "1 Fran\N{REPLACEMENT CHARACTER}ois"
        assert genome.describe("2") == "2 b"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("read_only", [False, True])
def test_nothing_is_written_beside_the_genome(tmp_path, packed, read_only):
    folder = tmp_path / "genomes"
    folder.mkdir()
    path = write(folder / "g.fa", bgzf(GENOME) if packed else GENOME)
    folder.chmod(0o555 if read_only else 0o755)
    try:
        assert read_genome(path) == CODES
        assert os.listdir(folder) == ["g.fa"]
    finally:
        folder.chmod(0o755)
    assert path.read_bytes() == (bgzf(GENOME) if packed else GENOME)


@pytest.mark.parametrize("age", [-1000, 1000], ids=["older", "newer"])
@pytest.mark.parametrize("index", ["1\t4\t3\t4\t5\n", "not an index at all\n"])
def test_an_index_beside_the_genome_is_not_trusted(tmp_path, age, index):
    """A .fai newer than the FASTA can still be that of another one (both copied, the FASTA exchanged)."""
    path = write(tmp_path / "g.fa", GENOME)
    beside = write(tmp_path / "g.fa.fai", index)
    when = path.stat().st_mtime + age
    os.utime(beside, (when, when))
    assert read_genome(path) == CODES
    assert beside.read_text() == index


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n \n", "holds nothing"),
        (PNG, "does not begin with '>'"),
        (b"gene_id,logMaxTPM\nA,1\n", "does not begin with '>'"),
        (b"ACGT\n>a\nACGT\n", "does not begin with '>'"),
        (cut_gzip(GENOME * 50), "damaged gzip"),
        (pack(GENOME)[:15], "damaged gzip"),
        (bgzf(GENOME)[:60], "damaged gzip"),
        (b"\x1f\x8b and no gzip at all", "damaged gzip"),
        (pack(b""), "holds nothing"),
        (pack(PNG), "does not begin with '>'"),
        (b">a\nACGT\n>b\nAC\n>a\nGG\n", "two records named 'a'"),
        (b">\nACGT\n", "without a name"),
    ],
)
def test_genome_that_cannot_be_used(tmp_path, content, says):
    path = write(tmp_path / "g.fa", content)
    with pytest.raises(InputError) as error, open_genome(path):
        pass
    assert says in one_line(error)
    assert "g.fa" in one_line(error)
    assert os.listdir(tmp_path) == ["g.fa"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b">sp|P1 kinase\nMSTNPKPQRKTKRNTNRRPQDVKFPGGGQIVGGVYLLPRRGPRLGVRATRKTSERSQPRGRRQPIPKARRPEGRTWAQPG\n",
        b">1\n" + b"ACGTNN\n" * 100 + b">P1\n" + b"MKLVINGKTLKGEITIEGVDAAEAEKIFKQYANDNGVDGEWTYDDATKTFTVTE*\n" * 20,
        b">x\nthe quick brown fox jumps over the lazy dog\n",
        b">x\n" + b"mefilpq\n" * 200_000,
    ],
    ids=["protein", "a-chromosome-too", "prose", "lower-case"],
)
def test_proteins_are_no_genome(tmp_path, content, packed):
    path = write(tmp_path / "g.fa", pack(content) if packed else content)
    with pytest.raises(InputError) as error, open_genome(path):
        pass
    assert "g.fa is no genome" in one_line(error)
    assert "not of the proteins" in one_line(error)


@pytest.mark.parametrize(
    "sequence",
    ["N" * 5000, "acgtnNNryswkmbdhvRYSWKMBDHV" * 200, "-" * 500 + "ACGU" * 9, "X" * 3000 + "ACGT", "x*.-" * 300, ""],
    ids=["n", "iupac", "gaps", "masked-with-x", "marks", "nothing"],
)
def test_a_genome_may_have_any_nucleotide_code(tmp_path, sequence):
    with open_genome(write(tmp_path / "g.fa", f">1\n{sequence}\n>2\nACGT\n")) as genome:
        assert genome.lengths == {"1": len(sequence), "2": 4}


@pytest.mark.parametrize(
    "read",
    [
        lambda path: open_genome(path).__enter__(),
        read_annotation,
        lambda path: read_expression(path, "logMaxTPM", True),
        lambda path: read_gene_list(path, None),
    ],
)
def test_pipes_and_devices_are_not_regular_files(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path / "pipe.txt", "/dev/null"):
        with pytest.raises(InputError) as error:
            read(path)
        assert f"{path} is not a regular file" in one_line(error)


@pytest.mark.parametrize(("name", "says"), [("absent.fa", "no file"), ("", "is a folder")])
@pytest.mark.parametrize(
    "read",
    [
        lambda path: open_genome(path).__enter__(),
        read_annotation,
        lambda path: read_expression(path, "logMaxTPM", True),
        lambda path: read_gene_list(path, None),
    ],
)
def test_missing_file_and_folder(tmp_path, read, name, says):
    with pytest.raises(InputError) as error:
        read(tmp_path / name)
    assert says in one_line(error)


@pytest.mark.parametrize(
    ("content", "in_place"),
    [
        (GENOME, True),
        (GENOME.rstrip(b"\n"), True),
        (GENOME.replace(b"\n", b"\r\n"), True),
        (b">1\n>2\nACGT\n>3 x\n", True),
        (b">1\nACGT\nAC\nACGT\n", False),
        (b">1\nACG\nACGT\n", False),
        (b">1\nAC T\nACGT\n", False),
        (b">1\nACGT\nACG \n", False),
        (b">1\nACGT\nACGT\r\nAC\n", False),
        (b">1\n\nACGT\n", False),
        (b">1\nACGT\n\n>2\nAC\n", True),
        (b">1\nACGT\n\n\n>2\nAC\n", False),
        (GENOME.replace(b"\n", b"\r"), False),
        (pack(GENOME), False),
        (bgzf(GENOME), True),
        (bgzf(GENOME[:13], GENOME[13:41], GENOME[41:]), True),
        (bgzf(b">1\nACG\nACGT\n"), False),
        (bgzf(GENOME)[:-28] + pack(b">x\nA\n"), False),
    ],
)
def test_which_genomes_are_read_in_place(tmp_path, content, in_place):
    path = write(tmp_path / "g.fa", content)
    assert (find_sequences(path, find_blocks(path)) is not None) == in_place


def test_a_genome_in_place_is_read_as_its_copy_is(tmp_path, monkeypatch):
    """Blocks of 28 bytes: headers and line ends cross them. A plain file with the ending of gzip is copied."""
    monkeypatch.setattr("core.genome.READ", 28)
    random = np.random.default_rng(1)
    content = b""
    for number, (length, width, end) in enumerate(itertools.product((1, 7, 60, 61), (1, 7, 20), (b"\n", b"\r\n"))):
        bases = bytes(random.choice(list(b"acgtNRUT"), length).tolist())
        content += b">%d x" % number + end + b"".join(bases[at : at + width] + end for at in range(0, length, width))
    plain, copied = write(tmp_path / "g.fa", content), write(tmp_path / "h.fa.gz", content)
    blocks = write(tmp_path / "i.fa.gz", bgzf(*(content[at : at + 41] for at in range(0, len(content), 41))))
    assert find_sequences(plain, None)
    assert find_sequences(blocks, find_blocks(blocks)) == find_sequences(plain, None)
    assert find_sequences(copied, None) is None
    assert read_genome(plain) == read_genome(copied) == read_genome(blocks)
    with open_genome(plain) as one, open_genome(blocks) as other, open_genome(copied) as expected:
        for name, length in expected.lengths.items():
            begin, end = sorted(random.integers(0, length + 3, 2))
            for found in (one, other):
                assert np.array_equal(found.piece(name, begin, end), expected.piece(name, begin, end))
                assert found.describe(name) == expected.describe(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.fa", "h.fa.gz", "i.fa.gz"]


@given(st.lists(st.binary(max_size=60), max_size=20), st.lists(st.tuples(st.integers(0, 700), st.integers(0, 99))))
def test_bgzip_is_read_at_any_place(tmp_path_factory, contents, reads):
    """Empty blocks too; behind the end there is nothing."""
    path = write(tmp_path_factory.mktemp("bgzip") / "f.gz", bgzf(*contents))
    whole, blocks = b"".join(contents), find_blocks(path)
    assert unpacked_size(path) == len(whole)
    with open_blocks(path, blocks) as file:
        assert file.read() == whole
        for at, size in reads:
            assert file.seek(at) == at
            assert file.read(size) == whole[at : at + size]


def test_damaged_blocks(tmp_path):
    """Another byte in the content of a block; a block that says to hold more than a block can."""
    whole = bgzf(GENOME)
    for at, byte in ((25, 0xFF), (len(whole) - 28 - 5, 1)):
        content = bytearray(whole)
        content[at] ^= byte
        with pytest.raises(InputError, match="damaged gzip"):
            read_genome(write(tmp_path / "g.fa.gz", bytes(content)))
    claim = bytearray(whole)
    claim[-28 - 4 : -28] = b"\xff\xff\xff\x7f"
    assert find_blocks(write(tmp_path / "g.fa.gz", bytes(claim))) is None


def test_no_room_for_the_scratch_copy_is_said_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=50_000))
    monkeypatch.setattr("core.genome.lay_out", None)
    content = b">1\n" + b"ACGT" * 20_000 + b"\n"
    with pytest.raises(InputError) as error, open_genome(write(tmp_path / "g.fa.gz", pack(content))):
        pass
    assert "takes about 0 MB" in one_line(error)
    assert unpacked_size(tmp_path / "g.fa.gz") == len(content)
    for plain in (content, bgzf(content[:30_000], content[30_000:60_000], content[60_000:])):
        with open_genome(write(tmp_path / "g.fa", plain)) as genome:
            assert genome.lengths == {"1": 80_000}


def test_full_disk_while_the_genome_is_laid_out(tmp_path, monkeypatch):
    def fail(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.genome.lay_out", fail)
    with pytest.raises(InputError) as error, open_genome(write(tmp_path / "g.fa", pack(GENOME))):
        pass
    assert "No space left on device" in one_line(error)


def test_chromosomes_organelles_and_scaffolds(tmp_path):
    headers = ["1 x", "Mt", "NC_7 Homo sapiens mitochondrion", "scaffold_9", "short", "2", "NW_01.1", "Pt", "unused"]
    content = "".join(f">{header}\n{'A' * (1 if header == 'short' else 200)}\n" for header in headers)
    with open_genome(write(tmp_path / "g.fa", content)) as genome:
        names = {name: f"chr{name}" for name in genome.lengths if name != "unused"}
        nuclear, organelles, scaffolds = sort_chromosomes(genome, names)
    assert nuclear == ["chr1", "chr2"]
    assert organelles == {"chrMt", "chrPt", "chrNC_7"}
    assert scaffolds == {"chrscaffold_9", "chrNW_01.1", "chrshort"}


# ------------------------------------------------------------------------------------------- annotations
def line(chromosome="1", feature="gene", start=101, end=200, strand="+", attributes="") -> str:
    return "\t".join([chromosome, "src", feature, str(start), str(end), ".", strand, ".", attributes]) + "\n"


def read_lines(tmp_path, *lines: str, known=(), name="a.gtf"):
    return read_annotation(write(tmp_path / name, "".join(lines)), known)


def gtf(gene: str, more: str = 'gene_biotype "protein_coding";', **fields) -> str:
    return line(attributes=f'gene_id "{gene}"; {more}', **fields)


def test_no_room_for_the_gene_lines(tmp_path, monkeypatch):
    def fail(path, *rest, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.annotation.open", fail, raising=False)
    with pytest.raises(InputError) as error:
        read_lines(tmp_path, gtf("a"))
    assert "No space left on device" in one_line(error)
    assert "TMPDIR names another folder" in one_line(error)


ENSEMBL_GTF = (
    "#!genome-build R64\n",
    gtf("G1", 'gene_name "a; b"; gene_source "x"; gene_biotype "protein_coding";', chromosome="01", start=1, end=90),
    line("01", "transcript", 1, 90, attributes='gene_id "G1"; transcript_id "T1"; gene_biotype "protein_coding";'),
    "#a comment in the middle\n",
    gtf("G2", chromosome="1", start=500, end=700, strand="-"),
    "\n",
    gtf("G3", 'gene_biotype "tRNA";', chromosome="2", start=300, end=300),
    gtf("G4", chromosome="1", start=5, end=7, strand="."),
)
ENSEMBL_GENES = {
    "gene_id": ["G1", "G2", "G3", "G4"],
    "start": [0, 499, 299, 4],
    "end": [90, 700, 300, 7],
    "strand": ["+", "-", "+", "."],
    "chromosome": ["01", "1", "2", "1"],
    "coding": [True, True, False, True],
}


@pytest.mark.parametrize(
    "pack",
    [
        str.encode,
        lambda text: pack(text.encode()),
        lambda text: bgzf(text.encode()[:99], text.encode()[99:]),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: "\ufeff".encode() + text.removeprefix("#!genome-build R64\n").encode(),
    ],
    ids=["plain", "gzip", "bgzip", "crlf", "no-final-newline", "bom"],
)
def test_ensembl_gtf(tmp_path, pack):
    genes, notes = read_annotation(write(tmp_path / "my genes.gtf", pack("".join(ENSEMBL_GTF))))
    assert genes.to_dict("list") == ENSEMBL_GENES
    assert all(type(name) is str for name in [*genes["chromosome"], *genes["gene_id"]])
    assert genes["start"].dtype == genes["end"].dtype == np.int64
    assert notes == []


def test_all_numeric_chromosomes_and_gene_ids_stay_text(tmp_path):
    """pandas makes whole numbers of a category column of digits; then "1" matches nothing."""
    genes, _ = read_lines(tmp_path, *(gtf(str(n), chromosome=c) for n, c in [(7, "1"), (8, "01"), (9, "10")]))
    assert (genes["chromosome"] == ["1", "01", "10"]).all()
    assert (genes["gene_id"] == ["7", "8", "9"]).all()
    assert genes[genes["chromosome"] == "1"]["gene_id"].tolist() == ["7"]


def test_ensembl_gff3(tmp_path):
    genes, notes = read_lines(
        tmp_path,
        "##gff-version 3\n",
        line(feature="chromosome", end=9999, attributes="ID=chromosome:1;Alias=CP0"),
        line(attributes='ID=gene:AT1;Name=NAC001;biotype=protein_coding;description=the "A; B" x=y%3B;gene_id=AT1'),
        line(feature="mRNA", attributes="ID=transcript:AT1.1;Parent=gene:AT1;biotype=protein_coding"),
        "###\n",
        line(feature="ncRNA_gene", start=300, end=400, attributes="ID=gene:AT2;biotype=lncRNA;gene_id=AT2"),
        line(feature="pseudogene", start=500, end=600, attributes="ID=gene:AT3;biotype=pseudogene;gene_id=AT3"),
        "##FASTA\n>1\n",
        line(start=700, end=800, attributes="ID=gene:AT4;biotype=protein_coding;gene_id=AT4"),
        name="a.gff3",
    )
    assert genes["gene_id"].tolist() == ["AT1", "AT2", "AT3"]
    assert genes["coding"].tolist() == [True, False, False]
    assert genes["start"].tolist() == [100, 299, 499]
    assert notes == []


def phytozome(*genes: tuple[str, bool], cds_first: bool = False) -> list[str]:
    lines = ["##gff-version 3\n", "##annot-version Araport11\n"]
    for number, (gene, coding) in enumerate(genes):
        place = {"start": 1000 * number + 1, "end": 1000 * number + 600}
        own = [
            line(attributes=f"ID={gene}.TAIR10;Name={gene}", **place),
            line(feature="mRNA", attributes=f"ID={gene}.1.TAIR10;Name={gene}.1;Parent={gene}.TAIR10", **place),
            line(feature="exon", attributes=f"ID={gene}.exon;Parent={gene}.1.TAIR10", **place),
        ]
        cds = line(feature="CDS", attributes=f"ID={gene}.cds;Parent={gene}.1.TAIR10", **place)
        lines += ([cds, *own] if cds_first else [*own, cds]) if coding else own
    return lines


@pytest.mark.parametrize("cds_first", [False, True])
def test_phytozome_gff3(tmp_path, cds_first):
    """No biotypes: a CDS decides, found through the mRNA; the table decides between ID and Name."""
    content = phytozome(("AT1G01010", True), ("AT1G01020", False), ("AT1G01030", True), cds_first=cds_first)
    genes, notes = read_lines(tmp_path, *content, known=["AT1G01010", "AT1G01030", "ATCG1"], name="a.gff3")
    assert genes["gene_id"].tolist() == ["AT1G01010", "AT1G01020", "AT1G01030"]
    assert genes["coding"].tolist() == [True, False, True]
    assert len(notes) == 2
    assert "'Name'" in notes[0]
    assert "CDS" in notes[1]
    genes, _ = read_lines(tmp_path, *content, name="a.gff3")
    assert genes["gene_id"].tolist()[0] == "AT1G01010.TAIR10"
    assert genes["coding"].tolist() == [True, False, True]


def test_a_transcript_whose_attributes_are_damaged_has_no_parent(tmp_path):
    """Fuzzing found it."""
    content = phytozome(("a", True), ("b", True))
    damaged = [text.replace("ID=b.1.TAIR10", "I\u00e9") for text in content]
    assert damaged != content
    genes, _ = read_lines(tmp_path, *damaged, name="a.gff3")
    assert genes["coding"].tolist() == [True, False]


def test_ncbi_gff3(tmp_path):
    """Of the trans-spliced rps12 (two parts, one ID) no single TSS can be said: left out, and said."""
    rps12 = "ID=gene-rps12;Name=rps12;exception=trans-splicing;gene=rps12;gene_biotype=protein_coding"
    genes, notes = read_lines(
        tmp_path,
        "##sequence-region NC_1.1 1 99999\n",
        line("NC_1.1", attributes="ID=gene-LOC1;Dbxref=GeneID:1;description=a%3Bb c=d;gene=LOC1;gene_biotype=lncRNA"),
        line("NC_1.1", start=300, end=400, attributes=f"{rps12};part=1"),
        line("NC_1.1", start=900, end=950, strand="-", attributes=f"{rps12};part=2"),
        line("NC_1.1", start=500, end=600, attributes="ID=gene-a%2Cb;gene=a%2Cb;gene_biotype=protein_coding"),
        line("NC_1.1", "pseudogene", 700, 800, "?", "ID=gene-P;gene=P;gene_biotype=pseudogene;pseudo=true"),
        name="a.gff",
    )
    assert genes["gene_id"].tolist() == ["LOC1", "a,b", "P"]
    assert genes["coding"].tolist() == [False, True, False]
    assert genes["strand"].tolist() == ["+", "+", "."]
    assert genes["start"].tolist() == [100, 499, 699]
    assert genes.index.tolist() == [0, 1, 2]
    assert len(notes) == 1
    assert "'rps12'" in notes[0]


def test_ncbi_gtf(tmp_path):
    attributes = (
        'gene_id "LOC1"; transcript_id ""; db_xref "GeneID:1"; db_xref "HGNC:2"; description "a; gene_id "; '
        'gbkey "Gene"; gene "x y"; gene_biotype "protein_coding"; note "say \\"hi\\"; bye"; pseudo true; '
    )
    genes, notes = read_lines(tmp_path, line("NC_1.1", attributes=attributes), gtf("LOC2", 'gene_biotype "tRNA"'))
    assert genes["gene_id"].tolist() == ["LOC1", "LOC2"]
    assert genes["coding"].tolist() == [True, False]
    assert notes == []
    found = parse_attributes(attributes)
    assert found["db_xref"] == "GeneID:1"
    assert found["description"] == "a; gene_id "
    assert found["note"] == 'say \\"hi\\"; bye'
    assert found["pseudo"] == "true"


def test_gencode_gene_type(tmp_path):
    genes, _ = read_lines(
        tmp_path,
        gtf("ENSG01.5", 'gene_type "protein_coding"; gene_name "A"; level 2; tag "x"; tag "y";', chromosome="chr1"),
        gtf("ENSG02.1", 'gene_type "lncRNA";', chromosome="chrX"),
    )
    assert genes["coding"].tolist() == [True, False]
    assert genes["chromosome"].tolist() == ["chr1", "chrX"]


def test_gtf_without_biotypes(tmp_path):
    cds = line(feature="CDS", attributes='transcript_id "T"; gene_id "G2";')
    genes, notes = read_lines(tmp_path, gtf("G1", ""), gtf("G2", ""), cds)
    assert genes["coding"].tolist() == [False, True]
    assert "CDS" in notes[0]
    genes, notes = read_lines(tmp_path, gtf("G1", ""), gtf("G2", ""), gtf("G3", "", feature="pseudogene"))
    assert genes["coding"].tolist() == [True, True, False]
    assert "every gene" in notes[0]


def test_quotes_outside_the_attributes_swallow_nothing(tmp_path):
    content = "".join([gtf("G1"), gtf("G2"), gtf("G3")]).replace("\tsrc\t", '\t"src\t', 1)
    genes, _ = read_lines(tmp_path, content)
    assert genes["gene_id"].tolist() == ["G1", "G2", "G3"]


def test_gene_ids_agree_with_the_table(tmp_path):
    """Of several names of a gene the one that most ids of the table have is taken, versions aside."""
    lines = [line(attributes=f"ID=gene-{n}a;Name=N{n:05};locus_tag=L{n};biotype=protein_coding") for n in range(3)]
    for known, expected in [
        ([], "0a"),
        (["N00000", "N00001"], "N00000"),
        (["L0", "L2", "N00001"], "L0"),
        (["N00000.1", "N00001.1", "0a"], "N00000"),
    ]:
        genes, _ = read_lines(tmp_path, *lines, known=known, name="a.gff3")
        assert genes["gene_id"][0] == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("#only\n##comments\n", "no line with the feature 'gene'"),
        (line(feature="exon", attributes='gene_id "A";'), "no line with the feature 'gene'"),
        (PNG, "no line with the feature 'gene'"),
        (GENOME, "is a FASTA"),
        (pack(GENOME), "is a FASTA"),
        (cut_gzip("".join(ENSEMBL_GTF).encode()), "damaged gzip"),
        (gtf("A", start="1.5"), "line 1"),
        (gtf("A", start="²"), "line 1"),
        (gtf("A", end="x"), "line 1"),
        (gtf("A", start=-5), "line 1"),
        (gtf("A", start=0), "a gene from 0 to 200"),
        (gtf("A", start=300), "a gene from 300 to 200"),
        (gtf("B") + "1\tsrc\tgene\t1\t5\n", "line 2"),
        (gtf("A") + gtf("B") + gtf("A", chromosome="2"), "'A'"),
        (gtf("A", 'gene_biotype "tRNA";'), "no gene of biotype 'protein_coding', only 'tRNA'"),
        (line(attributes="Note=nothing"), "they have 'Note' (line 1)"),
        (line(attributes="."), "they have none (line 1)"),
        (gtf("A") + "#\n" + line(attributes="") + gtf("B"), "1 of 3 gene lines of"),
        (gtf("A") + "#\n" + line(attributes="") + gtf("B"), "no attribute 'gene_id', the first on line 3: it has no"),
        (gtf("A") + gtf("", 'gene_name "N";'), "no attribute 'gene_id', the first on line 2: it has 'gene_name'"),
        (gtf("A") * 2 + line(attributes="ID=gene:C;biotype=protein_coding") * 2, "line 3: it has 'ID', 'biotype'"),
        (
            line(attributes="ID=gene:C") * 3 + gtf("A"),
            "no attribute 'ID', the first on line 4: it has 'gene_biotype', 'gene_id'",
        ),
        (gtf("A") + line(attributes="k" * 999 + "=x"), "it has '" + "k" * 40 + "... (999 characters)'"),
        (gtf("A") + gtf("B", end=10**11), "line 2 of"),
        (gtf("A", end=10**30), "from 101 to 1000000000000000000000000000000; no chromosome is that long"),
        (gtf("A", end=2**63), "no chromosome is that long"),
        (gtf("A", end=2**64 + 300), "no chromosome is that long"),
        (gtf("A", start=10**30, end=10**30), "no chromosome is that long"),
        (gtf("A", start="9" * 5000), "99... (5,000 characters) to 200"),
        (gtf("A", end="9" * 5000), "99... (5,000 characters); no chromosome is that long"),
        (gtf("A", start="9" * 5000, end="9" * 5000), "no chromosome is that long"),
        (gtf("A", end="٣٠٠"), "line 1"),
        (gtf("A", start="１"), "line 1"),
        (gtf("A", start="0" * 5000), "00... (5,000 characters) to 200; coordinates count from 1"),
        (gtf("A" * 999) * 2, "AA... (999 characters)'"),
        (gtf("A", f'gene_biotype "{"x" * 999}";'), "xx... (999 characters)'"),
    ],
)
def test_annotation_that_cannot_be_used(tmp_path, content, says):
    path = write(tmp_path / "a.gtf", content)
    with pytest.raises(InputError) as error:
        read_annotation(path)
    assert says in one_line(error)
    assert "a.gtf" in one_line(error)


def test_leading_zeros_of_coordinates_count_nothing(tmp_path):
    genes, _ = read_lines(tmp_path, gtf("A", start="0" * 5000 + "7", end="0099"))
    assert genes[["start", "end"]].values.tolist() == [[6, 99]]


SLOW = ["a", "a ", " ", "; ", 'a "', 'a "x" ', "\\", 'a "\\', '\\" ', "=", "a=b;", "a=%", "%41", "a b.", "é ", "\x0b"]


@pytest.mark.parametrize("unit", SLOW)
@pytest.mark.parametrize("begin", ["", 'gene_id "A"; b "', "ID="])
def test_a_long_ninth_column_takes_no_time(begin, unit):
    text = begin + unit * (200_000 // len(unit))
    began = time.process_time()
    parse_attributes(text)
    parse_attributes(text + "!")
    assert time.process_time() - began < 5


def test_gene_line_of_one_letter_is_refused_at_once(tmp_path):
    began = time.process_time()
    with pytest.raises(InputError) as error:
        read_lines(tmp_path, gtf("A"), line(attributes="a" * 1_000_000))
    assert "line 2: it has no attributes at all" in one_line(error)
    assert time.process_time() - began < 5


ATTRIBUTE = st.text('ab ;"\\=.', max_size=12)
OLD_QUOTED = r'([\w.\-]+)\s+(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))\s*(?:;|$)'


@settings(max_examples=500, deadline=None)
@given(st.lists(ATTRIBUTE).map("".join))
def test_attributes_are_found_as_by_the_plain_expression(text):
    """Without anything against slow lines the expression is easier to read; it must find the same."""
    assert QUOTED.findall(text) == re.findall(OLD_QUOTED, text)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**11 - 1), st.integers(0, 10**5), st.sampled_from("+-.")), min_size=1))
def test_coordinates_become_zero_based_half_open(tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("gtf")
    places = [(start, min(start + length, 10**11 - 1), strand) for start, length, strand in places]
    lines = [gtf(str(n), start=start, end=end, strand=s) for n, (start, end, s) in enumerate(places)]
    genes, _ = read_lines(folder, *lines)
    expected = [(start - 1, end, strand) for start, end, strand in places]
    assert list(zip(genes["start"], genes["end"], genes["strand"], strict=True)) == expected


# ------------------------------------------------------------------------------------- expression tables
def read_table(tmp_path, content, column="logMaxTPM", computed=True):
    return read_expression(write(tmp_path / "t.csv", content), column, computed)


PLAIN_TABLE = "gene_id,s1,text,logMaxTPM\nG1,3,high,0.5\n0012,4,low,-2\nNA,5,,1e-3\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN_TABLE,
        PLAIN_TABLE.rstrip("\n"),
        PLAIN_TABLE.replace("\n", "\r\n"),
        PLAIN_TABLE.replace(",", "\t"),
        PLAIN_TABLE.replace(",", ";"),
        "\ufeff" + PLAIN_TABLE,
        "\n" + PLAIN_TABLE + "\n,,,\n",
        PLAIN_TABLE.replace(",", " , "),
        PLAIN_TABLE.removeprefix("gene_id"),
        PLAIN_TABLE.removeprefix("gene_id,"),
        '"s1"\t"text"\t"logMaxTPM"\n"G1"\t3\t"high"\t0.5\n"0012"\t4\t"low"\t-2\n"NA"\t5\t""\t1e-3\n',
        'gene_id,s1,text,logMaxTPM\n"G1",3,"high, and on\ntwo lines",0.5\n"0012",4,low,-2\nNA,5,,1e-3\n',
        pack(PLAIN_TABLE.encode()),
        bgzf(PLAIN_TABLE.encode()),
    ],
    ids=[
        "csv",
        "no-final-newline",
        "crlf",
        "tsv",
        "semicolons",
        "bom",
        "blank-lines",
        "blanks",
        "unnamed",
        "r",
        "r-quoted",
        "quoted",
        "gzip",
        "bgzip",
    ],
)
def test_expression_table(tmp_path, content):
    values, notes = read_table(tmp_path, content)
    assert values.to_dict() == {"G1": 0.5, "0012": -2.0, "NA": 0.001}
    assert values.dtype == float
    assert all(type(gene) is str for gene in values.index)
    assert notes == []


def test_r_table_of_one_column(tmp_path):
    values, _ = read_table(tmp_path, "logMaxTPM\nG1\t1\nG2\t2\n")
    assert values.to_dict() == {"G1": 1.0, "G2": 2.0}


@pytest.mark.parametrize("gene", ["NA", "nan", "NaN", "NULL", "null", "None", "N/A", "n/a", "#N/A", "-", "007", "1e3"])
def test_gene_ids_are_never_taken_as_missing_or_as_numbers(tmp_path, gene):
    values, _ = read_table(tmp_path, f"gene_id,logMaxTPM\n{gene},1\nother,2\n")
    assert values.index.tolist() == [gene, "other"]


def test_logmaxtpm_is_computed_from_the_samples(tmp_path):
    """log10(max + 1): 99 -> 2, 9 -> 1, 0 -> 0; text columns do not count."""
    content = "gene_id,name,a,b,c\nG1,x,9,99,0\nG2,y,9,1.5,3\nG3,z,0,0,0\nG4,w,0.5,1e2,7\n"
    values, notes = read_table(tmp_path, content)
    assert values.to_dict() == pytest.approx({"G1": 2, "G2": 1, "G3": 0, "G4": math.log10(101)})
    assert values.name == "logMaxTPM"
    assert notes == [
        "no column 'logMaxTPM': log10(max + 1) over 3 columns is used: 'a', 'b', 'c'",
        "columns of the table that are not numbers are left out: 'name'",
    ]


def test_a_column_that_is_no_sample_is_asked_about(tmp_path):
    _, notes = read_table(tmp_path, "gene_id,Length,a\nG1,1000,9\nG2,2000,3\n")
    assert notes[-1] == "is 'Length' a sample? Remove columns of the table that are not expression"


def test_decimal_commas_are_named(tmp_path):
    with pytest.raises(InputError) as error:
        read_table(tmp_path, "gene_id;logMaxTPM\nG1;1,5\nG2;2,5\n")
    assert "write decimal points instead of commas" in one_line(error)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("gene_id;a;b", "{};1,5;2,5"),
        ("gene_id;a;b", "{};7;2,5"),  # alone, column a would give other numbers
        ("gene_id\ta", "{}\t1.234,5"),
        ("gene_id,a", '{},"1,5e3"'),
    ],
)
def test_decimal_commas_in_sample_columns_are_named(tmp_path, header, row):
    with pytest.raises(InputError) as error:
        read_table(tmp_path, "\n".join([header, row.format("G1"), row.format("G2")]))
    assert "has decimal commas" in one_line(error)
    assert "'G1'" in one_line(error)


# One more cell than the header has names: of nothing, of R, or of something that would shift the columns.
@pytest.mark.parametrize(
    "content",
    [
        "gene_id,logMaxTPM,exons\nG1,35.2,7,\nG2,1,8,\n",
        "gene_id,logMaxTPM,exons\nG1,35.2,7\nG2,1,8,\n",  # not on every row
        "gene_id,logMaxTPM,exons\nG1,35.2,7,,\nG2,1,8,\n",
        "gene_id,logMaxTPM,exons\nG1,35.2,7\nG2,1,8,,,,,\n",
        "gene_id,logMaxTPM,exons\nG1,35.2,7, \nG2,1,8,  \n",
        "gene_id,logMaxTPM,exons,\nG1,35.2,7,\nG2,1,8,\n",  # in the header too
        "gene_id,logMaxTPM,exons,\nG1,35.2,7,,\nG2,1,8,,\n",
        "gene_id,logMaxTPM,exons,\nG1,35.2,7\nG2,1,8\n",
        "gene_id\tlogMaxTPM\texons\nG1\t35.2\t7\t\nG2\t1\t8\t\n",
        "gene_id;logMaxTPM;exons\nG1;35.2;7;\nG2;1;8;\n",
        '"gene_id","logMaxTPM","exons"\n"G1","35.2","7",""\n"G2","1","8",""\n',
        "\ufeffgene_id,logMaxTPM,exons\r\nG1,35.2,7,\r\nG2,1,8,\r\n",
        "gene_id,logMaxTPM,exons\nG1,35.2,7,\n,,,\n\nG2,1,8,\n",
        "gene_id,logMaxTPM,exons\nG1,35.2\nG2,1,8,\n",  # spreadsheets also leave out empty cells
        "logMaxTPM,exons\nG1,35.2,7\nG2,1,8\n",  # R
        "logMaxTPM,exons\nG1,35.2,\nG2,1,\n",  # R, and nothing in its last column
        "logMaxTPM,exons\nG1,35.2,7,\nG2,1,,\n",
        "gene_id,logMaxTPM\nG1,G1,35.2\nG2,G2,1\n",  # R, with a column of ids besides
        "symbol,logMaxTPM\nG1,p53,35.2\nG2,myc,1\n",
    ],
)
def test_cells_beyond_the_header_shift_no_column(tmp_path, content):
    values, notes = read_table(tmp_path, content)
    assert values.to_dict() == {"G1": 35.2, "G2": 1.0}
    assert notes == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("gene_id,logMaxTPM,exons\nG1,35.2,7,9\nG2,1,8,9\n", "whose first name is 'gene_id'"),
        ("gene_id,logMaxTPM,exons\nG1,35.2,7,\nG2,1,8,x\n", "whose first name is 'gene_id'"),
        ("Gene ID,logMaxTPM\nG1,35,2\nG2,1,8\n", "write decimal points instead of commas"),
        ("Name,logMaxTPM\nG1,35,2\nG2,1,8\n", "whose first name is 'Name'"),
        (",logMaxTPM\nG1,35,2\nG2,1,8\n", "the first: 'G1', '35', '2'"),
        ("gene_id\tlogMaxTPM\n1\tG1\t3\n2\tG2\t4\n", "the first: '1', 'G1', '3'"),  # R's row numbers
        ("gene_id,logMaxTPM\nG1,1\nG2,2,8\nG3,1\n", "line 3 has 3 cells; its header has 2"),
        ("s1,s2\nG1,1,5\nG2,2\nG3,1,4\n", "line 2 has 3 cells, line 4 has 3 cells; its header has 2"),
        ("gene_id,a,b\nG1,1,5,2,5\nG2,2,5,3,5\n", "are there decimal commas?"),
        ("gene_id,logMaxTPM\n\n\nG1,1,5,7,8\nG2,2,5,9,8\n", "line 4 has 5 cells, line 5 has 5 cells"),
        ('gene_id,logMaxTPM,a\nG1,1,"x\ny",4,5,6,7\nG2,2,5,9,8\n', "line 3 has 7 cells"),
        ("gene_id,a,\nG1,35,2\nG2,1,8\n", "column 3 of"),
        ("Bezeichnung,logMaxTPM\nG1,-1,6109\nG2,4,957\n", "write decimal points instead of commas"),
        ("gene_id," + "," * 20_000 + "\nG1,1\n", "give a table with genes in rows and samples in columns"),
        ("gene_id,name,a,b\nG1,1,2\nG2,1,8\n", "as many cells as its header has names (4)"),
        ("gene_id,logMaxTPM\nG1,1\n" + "x" * 200_000 + ",2,3\n", "is not a table (field larger than field limit"),
        ("gene_id,logMaxTPM\nG1,1\nG2,1," + "x" * 200_000 + "\n", "is not a table (field larger than field limit"),
        ("gene_id,logMaxTPM\n" + "G" * 9_000 + ",x\n", "... (9,000 characters)' has 'x'"),
        ("gene_id,logMaxTPM\nG1," + "9" * 9_000 + "\n", "... (9,000 characters)'"),
        ("gene_id,logMaxTPM\n" + ("G" * 9_000 + ",1\n") * 2, "... (9,000 characters)'"),
        ("gene_id,logMaxTPM\nG1,٣\n", "'G1' has '٣'"),
        (b"\xff\xfeg\0e\0n\0e\0\t\0a\0\n\0", "UTF-16"),
    ],
)
def test_rows_that_do_not_fit_their_header(tmp_path, content, says):
    with pytest.raises(InputError) as error:
        read_table(tmp_path, content)
    assert says in one_line(error)
    assert "t.csv" in one_line(error)


def test_row_names_must_be_gene_ids():
    """A table of R is believed only if its row names are known: to half of the table's genes or of the annotation's."""

    def require(name: str, known: int, genes: int) -> None:
        values = pd.Series(range(10), index=pd.Index(map(str, range(10)), name=name))
        require_row_names(values, {str(gene): str(gene) for gene in range(known)}, genes, "t.csv")

    require("gene_id", 1, 10)
    require("", 5, 90)
    require("", 2, 4)
    with pytest.raises(InputError) as error:
        require("", 4, 90)
    assert "only 4 are gene ids of the GTF" in one_line(error)
    assert "'0', '1', '2', ..." in one_line(error)


def test_table_that_is_a_long_pickle(tmp_path):
    """The csv module has a limit on the length of a cell, and says so in its own words."""
    with pytest.raises(InputError) as error:
        read_table(tmp_path, '"' + "x," * 100_000)
    assert "is not a table" in one_line(error)


def test_another_column(tmp_path):
    values, notes = read_table(tmp_path, "gene_id,a,b\nG1,-1,5\nG2,2,6\n", "a", computed=False)
    assert values.to_dict() == {"G1": -1.0, "G2": 2.0}
    assert notes == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (PNG, "t.csv"),
        (pack(PNG), "t.csv"),
        (cut_gzip(PLAIN_TABLE.encode() * 9), "damaged gzip"),
        ("gene_id\nA\nB\n", "one column"),
        ("gene_id logMaxTPM\nA 1\n", "one column"),
        ("gene_id,logMaxTPM\n", "a header and no genes"),
        ("gene_id,logMaxTPM", "a header and no genes"),
        ("gene_id,logMaxTPM\n,\n", "a header and no genes"),
        ("gene_id,logMaxTPM\nA,1\nB,2\n A ,3\n", "1 gene ids stand twice in "),
        ("gene_id,logMaxTPM\nNA,1\nNA,3\n", "'NA'"),
        ("gene_id,logMaxTPM\nA,1\n,3\n", "no gene id"),
        ("A,53.8,1e2\nB,7,8\n", "holds numbers ('53.8', '1e2'), no names of columns"),
        ("A\t0.5\nB\t7\n", "holds numbers ('0.5'), no names of columns"),
        ("gene_id,logMaxTPM\nA,1\nB,2,7\n", "is not a table"),
        ('gene_id,logMaxTPM\n"A,1\nB,2\n', "is not a table"),
        ("gene_id,name\nA,x\nB,y\n", "neither a column 'logMaxTPM' nor numeric"),
        ("gene_id,a,b\nA,1,-0.5\nB,2,3\n", "negative values (gene 'A')"),
        ("gene_id,a,b\nA,1,nan\nB,2,3\nC,4,5\n", "'A' has 'nan'"),
        ("gene_id,logMaxTPM\nA,1\nB\n", "'B' has"),
        ("gene_id;logMaxTPM\nA;1,5\nB;2\n", "'A' has '1,5'"),
    ],
)
def test_table_that_cannot_be_used(tmp_path, content, says):
    with pytest.raises(InputError) as error:
        read_table(tmp_path, content)
    assert says in one_line(error)


@pytest.mark.parametrize("value", ["", "NaN", "nan", "NA", "inf", "-inf", "Infinity", "x", "1 2", "1e999", '"1,5"'])
def test_values_that_are_not_finite_numbers(tmp_path, value):
    with pytest.raises(InputError) as error:
        read_table(tmp_path, f"gene_id,logMaxTPM\nG1,1\nG2,{value}\nG3,3\n")
    assert "1 values of column 'logMaxTPM'" in one_line(error)
    assert "'G2' has" in one_line(error)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("logMaxTMP", "did you mean 'logMaxTPM'?"),
        ("logmaxtpm", "did you mean 'logMaxTPM'?"),
        ("leaf", "it has 's1', 'text', 'logMaxTPM'"),
    ],
)
def test_column_that_is_not_there(tmp_path, column, says):
    with pytest.raises(InputError) as error:
        read_table(tmp_path, PLAIN_TABLE, column, computed=False)
    assert says in one_line(error)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8),
        st.floats(-1e6, 1e6),
        min_size=1,
        max_size=8,
    )
)
def test_a_table_that_pandas_wrote_reads_back(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("tpm") / "t.csv"
    pd.Series(table, name="logMaxTPM").rename_axis("gene_id").to_csv(path)
    values, _ = read_expression(path, "logMaxTPM", True)
    assert values.to_dict() == pytest.approx(table, rel=1e-12)


# ---------------------------------------------------------------------------------------- lists of genes
def read_list(tmp_path, name, content, key=None):
    return read_gene_list(write(tmp_path / name, content), key)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.csv", "gene_id\nA\n0012\nNA\n"),
        ("g.csv", "A\n0012\nNA\n"),
        ("g.CSV", "\ufeffgene_id\r\nA\r\n0012\r\nNA\r\n"),
        ("g.csv", '"gene_id"\n"A"\n"0012"\n"NA"\n'),
        ("g.csv", ',"name","gene_id"\n0,"x, y",A\n1,"z","0012"\n2,,NA\n'),
        ("g.csv", "species,Gene_ID\nara,A\nara,0012\nara, NA \nara,\n"),
        ("g.csv", "# which\ngene_id,x\nA,1\n0012,2\n\nNA,3\n"),
        ("g.csv", "gene_id;x\nA;1\n0012;2\nNA;3\n"),
        ("g.csv", "A,1\n0012,2\nNA,3\n"),
        ("g.tsv", "x\tgene_id\n1\tA\n2\t0012\n3\tNA\n"),
        ("g.txt", "# comment\n\nA\n  0012\n  # more\nNA\nA\n"),
        ("g.txt", "gene_id\nA\n0012\nNA"),
        ("g.txt", pack(b"A\n0012\nNA\n")),
        ("g.pickle", pickle.dumps({"ara": ["A", "0012", "NA"]})),
        ("g.pkl", pickle.dumps(["A", "0012", "NA", "A"])),
        ("g.pickle", pickle.dumps({"ara": np.array(["A", "0012", "NA"])})),
        ("g.pickle", pickle.dumps({"ara": pd.Series(["A", "0012", "NA"])})),
        ("g.pickle", pickle.dumps(("A", "0012", "NA"))),
    ],
)
def test_gene_list(tmp_path, name, content):
    assert read_list(tmp_path, name, content) == ["A", "0012", "NA"]


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_gene_list_of_a_pickle_by_key(tmp_path, kind):
    content = pickle.dumps({"ara": kind(["A", "B"]), "zea": kind([12, 7]), 3: kind(["C"])})
    assert sorted(read_list(tmp_path, "g.pickle", content, "ara")) == ["A", "B"]
    assert sorted(read_list(tmp_path, "g.pickle", content, "zea")) == ["12", "7"]
    assert read_list(tmp_path, "g.pickle", content, "3") == ["C"]


@pytest.mark.parametrize(
    ("name", "content", "key", "says"),
    [
        ("g.pickle", pickle.dumps({"ara": ["A"], "zea": ["B"]}), "sol", "no key 'sol'; its keys: 'ara', 'zea'"),
        ("g.pickle", pickle.dumps({"ara": ["A"]}), "sol", "no key 'sol'; its keys: 'ara'"),
        ("g.pickle", pickle.dumps({"ara": ["A"], "zea": ["B"]}), None, "several keys and PICKLE_KEY is not given"),
        ("g.pickle", pickle.dumps({"a\nb": ["A"], "zea": ["B"]}), None, "several keys"),
        ("g.pickle", pickle.dumps({"ara": []}), "ara", "holds no gene ids"),
        ("g.pickle", pickle.dumps({}), "ara", "no key 'ara'"),
        ("g.pickle", pickle.dumps("AT1G01010"), None, "but a str"),
        ("g.pickle", pickle.dumps({"ara": 7}), "ara", "but a int"),
        ("g.pickle", pickle.dumps({"ara": ["A", float("nan")]}), "ara", "not gene ids but float"),
        ("g.pickle", pickle.dumps({"ara": [["A"], ["B"]]}), "ara", "2 entries that are not gene ids but list"),
        ("g.pickle", pickle.dumps({"ara": ["A", None]}), "ara", "not gene ids but NoneType"),
        ("g.pickle", PNG, "ara", "not a whole pickle"),
        ("g.pickle", b"", "ara", "is empty"),
        ("g.csv", "gene_id\n", None, "holds no gene ids"),
        ("g.pickle", pickle.dumps({}), None, "has no keys: its dictionary is empty"),
        ("g.pickle", pickle.dumps({"k" * 9_000: ["A"], "b": ["B"]}), "c", "... (9,000 characters)', 'b'"),
        ("g.csv", pack(b""), None, "holds no gene ids"),
        ("g.csv", "gene_id,x\nA," + "x" * 200_000 + "\n", None, "field larger than field limit"),
        ("g.tsv", "gene_id\n" + "x" * 200_000 + "\n", None, "field larger than field limit"),
        ("g.txt", "A\n" + "x" * 200_000 + "\n", None, "field larger than field limit"),
        ("g.csv", 'gene_id\n"A\n' + "x\n" * 200_000, None, "field larger than field limit"),
        ("g.txt", b"\xff\xfeA\0\n\0", None, "UTF-16"),
        ("g.txt", "# nothing\n\n", None, "holds no gene ids"),
        ("g.xlsx", "A\n", None, "is not .pickle, .csv, .tsv or .txt"),
        ("genes", "A\n", None, "is not .pickle, .csv, .tsv or .txt"),
    ],
)
def test_gene_list_that_cannot_be_used(tmp_path, name, content, key, says):
    with pytest.raises(InputError) as error:
        read_list(tmp_path, name, content, key)
    assert says in one_line(error)


@pytest.mark.skipif(not (REALDATA / "formats").exists(), reason="the real validation_genes.pickle is not here")
def test_real_validation_genes():
    path = REALDATA / "formats" / "validation_genes.pickle"
    counts = {key: len(read_gene_list(path, key)) for key in ("ara", "zea", "sol", "sor")}
    with open(path, "rb") as file:
        expected = {key: len(set(genes)) for key, genes in pickle.load(file).items()}
    assert counts == expected
    assert read_gene_list(path, "ara")[0].startswith("AT1G")


# ------------------------------------------------------------------------------------------------ bridges
GENES, CHROMOSOMES = GENE_BRIDGES, CHROMOSOME_BRIDGES


@pytest.mark.parametrize(
    ("names", "others", "bridges", "expected"),
    [
        (["1", "2"], ["1", "2", "3"], CHROMOSOMES, {"1": "1", "2": "2"}),
        (["1", "X"], ["chr1", "chrX"], CHROMOSOMES, {"1": "chr1", "X": "chrX"}),
        (["chr1", "chrX"], ["1", "X"], CHROMOSOMES, {"chr1": "1", "chrX": "X"}),
        (["Chr1", "CHR2"], ["chr1", "2"], CHROMOSOMES, {"Chr1": "chr1", "CHR2": "2"}),
        (["chromosome_1"], ["Chr1"], CHROMOSOMES, {"chromosome_1": "Chr1"}),
        (["chr1", "2", "3"], ["1", "chr2", "3"], CHROMOSOMES, {"chr1": "1", "2": "chr2", "3": "3"}),
        (["1", "2"], ["1", "chr1", "chr2"], CHROMOSOMES, {"1": "1"}),  # chr1 beside 1: not one to one
        (["1"], ["01"], CHROMOSOMES, {}),
        (["I", "II"], ["1", "2"], CHROMOSOMES, {}),
        (["chr"], ["1"], CHROMOSOMES, {}),
        (["gene:A", "gene:B"], ["A", "B"], GENES, {"gene:A": "A", "gene:B": "B"}),
        (["A"], ["gene-A"], GENES, {"A": "gene-A"}),
        (["G00001.1", "G00002.4"], ["G00001", "G00002"], GENES, {"G00001.1": "G00001", "G00002.4": "G00002"}),
        (["G1", "G2"], ["G1.1", "G2.1"], GENES, {"G1": "G1.1", "G2": "G2.1"}),
        (["ENSG00001.5"], ["ENSG00001.14"], GENES, {"ENSG00001.5": "ENSG00001.14"}),
        (["gene:G00001"], ["G00001.2"], GENES, {"gene:G00001": "G00001.2"}),
        (["Solyc01g005000.3"], ["Solyc01g005000.3"], GENES, {"Solyc01g005000.3": "Solyc01g005000.3"}),
        (["AT1G01010.1", "AT1G01010.2"], ["AT1G01010"], GENES, {}),  # transcripts, not genes
        (["AT1G01010"], ["AT1G01010.1", "AT1G01010.2"], GENES, {}),
        (["F28H1.3"], ["F28H1.4"], GENES, {}),  # two genes of one worm clone
        (["F28H1.3", "Y1.1"], ["F28H1.4", "Y1.1"], GENES, {"Y1.1": "Y1.1"}),
        (["ZK1010.3", "F28H1.3", "F28H1.4"], ["F28H1.4", "ZK1010.30"], GENES, {"F28H1.4": "F28H1.4"}),
        (["gene:F28H1.3"], ["F28H1.4"], GENES, {}),
        (["gene:F28H1.3"], ["F28H1.3"], GENES, {"gene:F28H1.3": "F28H1.3"}),
        ([], ["A"], GENES, {}),
        (["A"], [], GENES, {}),
    ],
)
def test_bridges(names, others, bridges, expected):
    mapping, sentence = bridge_names(names, others, bridges)
    assert mapping == expected
    assert bool(sentence) == any(name != other for name, other in expected.items())


def test_a_bridge_is_said():
    notes = []
    join_names(["1", "2"], ["chr1", "chr2"], CHROMOSOMES, "GTF and FASTA have no chromosome", notes)
    assert notes == ["GTF and FASTA: 2 names differ by a 'chr' prefix ('1' is 'chr1')"]
    join_names(["A"], ["A", "B"], GENES, "GTF and TPM have no gene", notes)
    assert len(notes) == 1


def test_nothing_in_common_shows_both_sides():
    with pytest.raises(InputError) as error:
        join_names(["A", "B", "C", "D", "A"], ["X"], GENES, "GTF and TPM have no gene", [])
    assert str(error.value) == (
        "GTF and TPM have no gene in common: GTF has 'A', 'B', 'C', ..., TPM has 'X'; give files of the same "
        "species and source, whose ids are the same"
    )


NAME = st.from_regex(r"(gene:|chr|Chr)?[AB]0?[12](00001)?(\.[12])?", fullmatch=True)


@settings(max_examples=100, deadline=None)
@given(st.lists(NAME), st.lists(NAME), st.sampled_from([GENES, CHROMOSOMES]))
def test_bridges_join_one_to_one_and_leave_equal_names_alone(names, others, bridges):
    mapping, _ = bridge_names(names, others, bridges)
    assert set(mapping) <= set(names)
    assert set(mapping.values()) <= set(others)
    assert len(set(mapping.values())) == len(mapping)
    assert all(mapping[name] == name for name in set(names) & set(others))
    backwards, _ = bridge_names(others, names, bridges)
    assert backwards == {other: name for name, other in mapping.items()}
