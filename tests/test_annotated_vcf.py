"""A VCF with effects in INFO: by hand, and as bcftools and tabix read it."""

import shutil
import subprocess

import pytest
from builders import one_line, pack, write

from core import InputError
from lcre import annotated_vcf
from lcre.annotated_vcf import define_fields, open_annotated, survey_input
from lcre.variants import Allele, read_vcf

CONTIGS = "##contig=<ID=1,length=5000>\n##contig=<assembly=x,ID=chr2>\n"
TITLES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
TOP = f"##fileformat=VCFv4.2\n{CONTIGS}"
SITES = "1\t7\trs1\tA\tC,GT\t3.50\tPASS\tDP=1;odd;X=;"
LINES = f"1\t5\t.\tA\tC\t.\t.\t.\n{SITES}\nchr2\t1\t.\tA\tC\t.\t.\tDP=2\n"


def annotate(folder, source, name: str, effects: list[tuple]) -> bytes:
    """Write a VCF with effects (line, allele, gene, region, effect, percentile) and return it as it is on the disk."""
    with open_annotated(source, folder / name, survey_input(source, folder / name), "9.9") as annotator:
        for line, bases, *cells in effects:
            annotator.add(Allele(line, bases, ""), *cells)
    return (folder / name).read_bytes()


EFFECTS = [
    (6, "C", "g1", "promoter", "0.25", "97.5"),
    (6, "C", "a,b;c=d e%", "both", "-1e-05", ""),
    (6, "GT", "g1", "promoter", "1.5", "100"),
    (7, "C", "g2", "terminator", "0", "0.5"),
]
ADDED = (
    "LCRE_ALLELE=C,C,GT;LCRE_GENE=g1,a%2Cb%3Bc%3Dd%20e%25,g1;LCRE_REGION=promoter,both,promoter;"
    "LCRE_EFFECT=0.25,-1e-05,1.5;LCRE_PCT=97.5,.,100"
)


def test_lines_by_hand(tmp_path):
    source = write(tmp_path / "v.vcf", f"{TOP}{TITLES}\n{LINES}")
    expected = (
        f"{TOP}{define_fields('9.9')}{TITLES}\n1\t5\t.\tA\tC\t.\t.\t.\n{SITES}{ADDED}\n"
        "chr2\t1\t.\tA\tC\t.\t.\tDP=2;LCRE_ALLELE=C;LCRE_GENE=g2;LCRE_REGION=terminator;LCRE_EFFECT=0;LCRE_PCT=0.5\n"
    )
    assert annotate(tmp_path, source, "o.vcf", EFFECTS).decode() == expected
    first = [(5, "C", "g1", "promoter", "2", "99")]
    assert (
        f"1\t5\t.\tA\tC\t.\t.\tLCRE_ALLELE=C;LCRE_GENE=g1;LCRE_REGION=promoter;LCRE_EFFECT=2;LCRE_PCT=99\n{SITES}\n"
        in (annotate(tmp_path, source, "first.vcf", first).decode())
    )
    again = annotate(tmp_path, write(tmp_path / "o.vcf", expected), "again.vcf", [])  # the fields of before are gone
    assert again.decode() == f"{TOP}{define_fields('9.9')}{TITLES}\n{LINES}".replace("X=;", "X=")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.vcf", "first.vcf", "o.vcf", "v.vcf"]


def test_all_but_info_stays_byte_for_byte(tmp_path):
    """Bytes that are not UTF-8, quotes, a comment between lines, 3,000 samples, CRLF, and lines without effect."""
    samples = b"\t".join(b"0|1:%d" % number for number in range(3000))
    odd = [
        b'1\t5\trs\xff\xfe;\xc3\xa4\tA\tC\t1e2\tq10;s50\tODD_KEY="a b";\xe9\tGT:DP\t' + samples,
        b"# a comment",
        b"1\t6\t.\tAC\t<DEL>,*\t.\t.\t" + b"LONG=" + b"x" * 100_000 + b"\tGT:DP\t" + samples,
        b"1\t7\t.\tA\tC\t.\t.\t.\tGT:DP\t" + samples,
    ]
    titles = f"{TITLES}\tFORMAT\t".encode() + b"\t".join(b"S%d" % number for number in range(3000))
    lines = [*TOP.encode().splitlines(), titles, *odd]
    for ends in (b"\n", b"\r\n"):
        source = write(tmp_path / "v.vcf.gz", pack(ends.join(lines) + ends))
        numbers = [line.number for line in read_vcf(source)]
        effects = [(number, "C", "g1", "promoter", "1", "50") for number in numbers if number != numbers[1]]
        written = annotate(tmp_path, source, "o.vcf", effects).split(b"\n")
        assert written.pop() == b""
        assert [line for line in written if not line.startswith(b"##INFO=<ID=LCRE")][: len(lines) - 4] == lines[:-4]
        for before, after in zip(odd, written[-4:], strict=True):
            if before.startswith(b"#") or b"<DEL>" in before:
                assert after == before
                continue
            columns, found = before.split(b"\t"), after.split(b"\t")
            added = b"LCRE_ALLELE=C;LCRE_GENE=g1;LCRE_REGION=promoter;LCRE_EFFECT=1;LCRE_PCT=50"
            assert found[7] == (added if columns[7] == b"." else columns[7] + b";" + added)
            assert found[:7] + found[8:] == columns[:7] + columns[8:]


def run_tool(*command: object) -> str:
    """Return what a program prints; skip where it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bcftools_and_tabix_read_it(tmp_path):
    info = '##INFO=<ID=DP,Number=1,Type=Integer,Description="">\n##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n'
    body = LINES.replace("odd;X=;", "DB").replace("\n", "\tGT\t0/1\n")
    source = write(tmp_path / "v.vcf", f"{TOP}{info}{TITLES}\tFORMAT\tS1\n{body}")
    write(tmp_path / "o.vcf.gz.csi", "an index of before")
    annotate(tmp_path, source, "o.vcf.gz", [(line + 2, *cells) for line, *cells in EFFECTS])
    out = tmp_path / "o.vcf.gz"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.vcf.gz", "o.vcf.gz.tbi", "v.vcf"]
    assert (tmp_path / "o.vcf.gz.tbi").stat().st_mtime_ns >= out.stat().st_mtime_ns
    run_tool("bgzip", "--test", out)
    printed = run_tool("bcftools", "query", "-f", "%POS[ %GT] %LCRE_ALLELE %LCRE_GENE %LCRE_EFFECT %LCRE_PCT\\n", out)
    assert printed.splitlines() == [
        "5 0/1 . . . .",
        "7 0/1 C,C,GT g1,a%2Cb%3Bc%3Dd%20e%25,g1 0.25,-1e-05,1.5 97.5,.,100",
        "1 0/1 C g2 0 0.5",
    ]
    sites = "%CHROM %POS %ID %REF %ALT %QUAL %FILTER %DP[ %GT]\\n"
    assert run_tool("bcftools", "query", "-f", sites, out) == run_tool("bcftools", "query", "-f", sites, source)
    found = run_tool("bcftools", "view", "-H", "-i", "LCRE_PCT>99 && ABS(LCRE_EFFECT)>1", out)
    assert [line.split("\t")[1] for line in found.splitlines()] == ["7"]
    assert run_tool("tabix", out, "chr2:1-1").startswith("chr2\t1\t")
    assert run_tool("tabix", out, "1:6-9").startswith("1\t7\t")


@pytest.mark.parametrize(("length", "ending"), [(1 << 29, ".tbi"), ((1 << 29) + 1, ".csi")])
def test_long_contigs_have_another_index(tmp_path, length, ending):
    top = TOP.replace("5000", str(length))
    source = write(tmp_path / "v.vcf", f"{top}{TITLES}\n1\t5\t.\tA\tC\t.\t.\t.\n1\t{length}\t.\tA\tC\t.\t.\t.\n")
    annotate(tmp_path, source, "o.vcf.gz", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.vcf.gz", f"o.vcf.gz{ending}", "v.vcf"]
    assert run_tool("tabix", tmp_path / "o.vcf.gz", f"1:{length}-{length}").startswith(f"1\t{length}\t")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"##fileformat=VCFv4.2\n{TITLES}\n{LINES}", "no ##contig line for 2 of its 2 chromosomes ('1', 'chr2')"),
        (f"{TOP}{TITLES}\n3{LINES}", "no ##contig line for 1 of its 3 chromosomes ('31')"),
        (f"{TOP}{LINES}", "line #CHROM"),
        (f"{TOP}#CHROM\tPOS\tID\tREF\tALT\n{LINES}", "line #CHROM"),
        (f"{TOP}{TITLES}\n1\t5\t.\tA\tC\n", "line 5 of"),
        (f"{TOP}{TITLES}\n{LINES}1\t9\t.\tA\tC\t.\t.\t.\n", "line 8 of"),
        (f"{TOP}{TITLES}\n{LINES}chr2\t0\t.\tA\tC\t.\t.\t.\n", "(chr2:0) is not in order"),
    ],
)
def test_what_cannot_be_written_again(tmp_path, text, says):
    source = write(tmp_path / "v.vcf", text)
    with pytest.raises(InputError) as error:
        survey_input(source, tmp_path / "o.vcf.gz")
    assert says in one_line(error)
    if "order" in says or "line 8" in says:
        assert survey_input(source, tmp_path / "o.vcf").index == ""


def test_without_pysam(tmp_path, monkeypatch):
    source = write(tmp_path / "v.vcf", f"{TOP}{TITLES}\n{LINES}")
    monkeypatch.setattr(annotated_vcf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        survey_input(source, tmp_path / "o.vcf.gz")
    assert "pip install -r requirements-vcf.txt" in one_line(error)
    assert b"LCRE_PCT=97.5" in annotate(tmp_path, source, "o.vcf", EFFECTS)


def test_stop_leaves_the_files_of_before(tmp_path):
    source = write(tmp_path / "v.vcf", f"{TOP}{TITLES}\n{LINES}")
    annotate(tmp_path, source, "o.vcf.gz", EFFECTS)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = tmp_path / "o.vcf.gz"

    def stop() -> None:
        with open_annotated(source, out, survey_input(source, out), "9.9") as annotator:
            annotator.add(Allele(7, "C", ""), "g1", "promoter", "1", "1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
