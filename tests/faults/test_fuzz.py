"""Damaged files: each reader takes them or refuses them in one line; what fuzzing found stays mended."""

import struct

import pytest
from builders import LONG, one_line
from hypothesis import HealthCheck, Phase, given, settings

from core import InputError

from . import corpus, fuzz
from .mutations import damaged
from .readers import all_readers, write_neighbours

READERS = [pytest.param(name, marks=[LONG] if name == "MEME" else []) for name in all_readers()]
SLOW = {"FASTA", "FASTA of bgzip", "GTF, GFF3", "expression table", "gene list"}  # each is a whole --check


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name, tmp_path):
    """A few of them in this process; LCRE_LONG=1 and `python tests/faults fuzz` hand in more, with limits."""
    reader = all_readers()[name]

    @settings(
        max_examples=3 if name in SLOW else 10,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(reader.seeds, reader.changes, packed=False))
    def check(case: tuple[str, bytes]) -> None:
        if len(case[1]) > 50_000:
            return
        write_neighbours(tmp_path)
        (tmp_path / case[0]).write_bytes(case[1])
        assert fuzz.outcome(reader, tmp_path / case[0]) in ("accepted", "refused")

    check()


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(name, tmp_path):
    """Else nothing behind the first lines would be fuzzed."""
    reader, accepted = all_readers()[name], 0
    for file, content in reader.seeds[: 1 if name in SLOW else None]:
        write_neighbours(tmp_path)
        (tmp_path / file).write_bytes(content)
        found = fuzz.outcome(reader, tmp_path / file)
        assert found in ("accepted", "refused")
        accepted += found == "accepted"
    assert accepted


def put(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


FOUND = {  # by fuzzing: reader, file name, content, what the message says
    "a file of 300 letters in species": (
        "species",
        "a.tsv",
        corpus.species().replace(b"genome.fa", b"a" * 300),
        "no file",
    ),
    "a file of 140,000 letters in species": (
        *("species", "a.tsv", corpus.species().replace(b"genome.fa", b"a" * 140_000), "no file"),
    ),
    "a file of 300 letters in samples": (
        *("samples.tsv", "a.tsv", corpus.sample_sheet().replace(b"genome.fa", b"a" * 300), "File name too long"),
    ),
    "a cell of 140,000 letters": (
        *(
            "samples.tsv",
            "a.tsv",
            corpus.sample_sheet().replace(b"A\t", b"a" * 140_000 + b"\t"),
            "larger than field limit",
        ),
    ),
    "a table of species of two million rows": (
        *("species", "a.tsv", corpus.species() + b"g1_0\t1\n" * 2_000_000, "more than 1,000 rows"),
    ),
    "samples.tsv of two million lines": (
        *("samples.tsv", "a.tsv", corpus.sample_sheet() + b"g1_0\t1\n" * 2_000_000, "more than 100,000 lines"),
    ),
    "a million pairs": (*("pairs", "a.tsv", corpus.pairs() + b"1\n" * 1_000_001, "more than 1,000,000 rows"),),
    "a sample whose name has 3,000 letters": (
        *("expression table", "a.csv"),
        corpus.expression().replace(b"logMaxTPM", b"a" * 3000).replace(b"\ng2_7,", b"\ng2_7,one"),
        "not finite numbers",
    ),
    "pairs of 5,000 columns": (
        *(
            "pairs",
            "a.tsv",
            corpus.pairs().replace(b"\n", b"\tx" * 5000 + b"\n", 1),
            "names; give the table that was meant",
        ),
    ),
    "a performance log of 5,000 columns": (
        *(
            "performance log",
            "a.csv",
            corpus.log().replace(b"\n", b",x" * 5000 + b"\n", 1),
            "its line of names has 5,0",
        ),
    ),
    "a result table of 5,000 columns": (
        *(
            "result table",
            "a.csv",
            corpus.result().replace(b"\n", b",x" * 5000 + b"\n", 1),
            "its line of names has 5,0",
        ),
    ),
    "a bigWig whose blocks unpack to 1.8 GB": (
        "bigWig",
        "a.bw",
        put(corpus.bigwig(), 52, b"llll"),
        "its blocks unpack to",
    ),
    "a result table without rows": (
        "result table",
        "a.csv",
        corpus.result().split(b"\n")[0] + b"\n",
        "no row `pooled`",
    ),
    "a zip file that begins before its beginning": (
        *(".keras", "a.keras"),
        put(corpus.keras_model(), corpus.keras_model().rfind(b"PK\5\6") + 16, struct.pack("<I", 2**31 - 1)),
        "cannot be read as a .keras file",
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_fuzzing_found_is_refused_in_one_line(what, tmp_path):
    name, file, content, message = FOUND[what]
    write_neighbours(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as error:
        all_readers()[name].read(tmp_path / file)
    assert message in one_line(error)


def test_hypothesis_makes_the_same_cases_again():
    reader = all_readers()["BED"]
    assert fuzz.make_cases(reader, 7, 20) == fuzz.make_cases(reader, 7, 20)
    assert fuzz.make_cases(reader, 7, 20) != fuzz.make_cases(reader, 8, 20)


# ----------------------------------------------------------------------------------- the limits themselves
def misbehave(path) -> None:
    """A reader that does what the first letters of its file say."""
    match path.read_bytes()[:5]:
        case b"loop ":
            while True:
                pass
        case b"bytes":
            bytearray(3 << 30)
        case b"write":
            (path.parents[1] / "tmp/left").write_text("left")
        case b"steal":
            (path.parents[2] / "elsewhere").write_text("written")
        case b"start":
            __import__("subprocess").run(["true"])
        case b"abort":
            __import__("os").abort()
        case b"wrong":
            raise KeyError("a")
        case b"long ":
            raise InputError("a" * 5000)
        case b"bad  ":
            raise InputError("it is bad")


@LONG
def test_a_reader_that_misbehaves_is_found_out(monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    reader = all_readers()["BED"]._replace(read=misbehave)
    words = ("good ", "loop ", "bytes", "write", "steal", "start", "abort", "wrong", "long ", "bad  ", "good ")
    found = [how for how, _ in fuzz.run_cases(reader, [("a", word.encode()) for word in words])]
    beginnings = ("accepted", "more than 1 s", "MemoryError", "it leaves left", "it does more than read: open")
    beginnings += ("it does more than read", "exit status -6", "KeyError", "a message of 5,000", "refused", "accepted")
    assert [how.startswith(begin) for how, begin in zip(found, beginnings, strict=True)] == [True] * len(words), found


@LONG
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_within_limits(name):
    tally = fuzz.Tally()
    fuzz.fuzz(all_readers()[name], 1, tally)
    assert tally.cases == fuzz.BATCH
    assert not tally.findings
