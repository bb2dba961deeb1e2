"""Writes a VCF again with the effects of its variants in INFO.

Lines are taken as text: columns other than INFO stay byte for byte what they were, whatever stands in them. A variant
may lie in windows of several genes and a line may have several alleles, so each field is a list with an entry for each
pair of allele and gene that was scored, and LCRE_ALLELE says the allele, as VEP and SnpEff do. bgzip and the index are
those of HTSlib, by pysam (requirements-vcf.txt); a plain VCF needs neither.
"""

import importlib.util
import re
import string
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from core import InputError, examples, show_value
from core.annotation import parse_coordinate
from core.files import check_file, open_text, replacing
from lcre.variants import Allele

FIELDS = {  # of INFO: type and description
    "LCRE_ALLELE": (
        "String",
        "ALT allele of each entry; the LCRE fields have an entry for each pair of allele and gene",
    ),
    "LCRE_GENE": ("String", "Gene whose window holds the variant; , ; = % and blanks as %2C %3B %3D %25 %20"),
    "LCRE_REGION": ("String", "Region of the gene that holds the variant: promoter, terminator or both"),
    "LCRE_EFFECT": ("Float", "Log of the odds ratio of high expression, ALT against REF, mean over folds"),
    "LCRE_PCT": ("Float", "Percentile of |LCRE_EFFECT| among random substitutions in the same region, 0 to 100"),
}
UNQUOTED = "".join(set(string.punctuation) - set(",;=%"))  # in an entry, besides letters and digits
TBI_LENGTH = 1 << 29  # bp; a .tbi cannot tell positions beyond
PACKED, PLAIN = ".vcf.gz", ".vcf"
CONTIG = re.compile(r"##contig=<(?:.*,)?ID=([^,>]+)")
INFO = 7  # its column, from 0
LENGTH = re.compile(r"##contig=<(?:.*,)?length=(\d+)")


def is_vcf(path: Path) -> bool:
    """Tell by its name whether an output is to be a VCF."""
    return path.name.endswith((PACKED, PLAIN))


# -------------------------------------------------------------------------------------- before anything is scored
@dataclass
class Survey:
    """What is known of the input before it is written again."""

    index: str  # ending of the index: .tbi, .csi, or "" of a plain VCF
    annotated: bool  # has these fields already; they are taken out


def survey_input(source: Path, out: Path) -> Survey:
    """Make sure that a VCF can be written again with effects, and as a file that other programs open.

    Raises:
        InputError: pysam is missing; the header lacks the line #CHROM, columns or contigs; a line lacks columns; the
            lines are not sorted, which an index needs.
    """
    packed = out.name.endswith(PACKED)
    if packed and importlib.util.find_spec("pysam") is None:
        raise InputError(
            f"out: {show_value(out.name)} needs pysam, which is not installed; pip install -r requirements-vcf.txt "
            f"installs it. A name in {PLAIN} or .csv is written without it"
        )
    check_file(source, "VCF")
    contigs, longest, columns, annotated = set(), 0, 0, False
    ends: dict[str, int] = {}  # chromosome -> POS of its last line
    last = ""
    for number, text in enumerate(read_lines(source), 1):
        if text.startswith("##"):
            contigs.update(CONTIG.findall(text))
            longest = max([longest, *map(int, LENGTH.findall(text))])
            annotated |= is_own(text)
        elif text.startswith("#CHROM"):
            columns = text.count("\t") + 1
        elif text.strip() and not text.startswith("#"):
            if min(columns, text.count("\t") + 1) < INFO + 1:
                raise InputError(
                    f"VCF: line {number if columns > INFO else '#CHROM'} of {source} is missing or has less than the 8 "
                    "columns from CHROM to INFO; add them, with . for what is not known, or give --out a name in .csv"
                )
            chromosome, position = text.split("\t", 2)[:2]
            place = parse_coordinate(position) or 0
            in_order = place >= ends[chromosome] and chromosome == last if chromosome in ends else True
            if packed and not in_order:
                raise InputError(
                    f"VCF: line {number} of {source} ({show_value(chromosome)}:{place}) is not in order, and only a "
                    f"sorted VCF can be indexed; sort it with bcftools sort, or give --out a name in {PLAIN}"
                )
            ends[chromosome], last = place, chromosome
    if missing := [name for name in ends if name not in contigs]:
        raise InputError(
            f"VCF: the header of {source} has no ##contig line for {len(missing)} of its {len(ends)} chromosomes "
            f"({examples(missing)}), which other programs need; samtools faidx GENOME.fa and bcftools reheader --fai "
            "GENOME.fa.fai add them"
        )
    index = ".csi" if max([longest, *ends.values()]) > TBI_LENGTH else ".tbi"
    return Survey(index if packed else "", annotated)


def is_own(text: str) -> bool:
    """Tell whether a line of a header defines one of the fields."""
    return text.startswith(tuple(f"##INFO=<ID={name}," for name in FIELDS))


# --------------------------------------------------------------------------------------------------- writing
def define_fields(version: str) -> str:
    """Return the lines of a header that define the fields."""
    source = f'Source="lcre_predict.py",Version="{version}"'
    lines = (f'ID={name},Number=.,Type={kind},Description="{text}",{source}' for name, (kind, text) in FIELDS.items())
    return "".join(f"##INFO=<{line}>\n" for line in lines)


class Annotator:
    """Copies the lines of a VCF, those with effects with their fields.

    Args:
        lines: of the input, with their ends.
        write: takes bytes.
        version: of the program, for the header.
        annotated: the input has such fields, which are taken out.
    """

    def __init__(self, lines: Iterator[str], write: Callable[[bytes], object], version: str, annotated: bool):
        self.lines, self.write, self.version, self.annotated = enumerate(lines, 1), write, version, annotated
        self.text, self.number = "", 0  # the line that waits for its effects
        self.entries: list[tuple[str, ...]] = []

    def add(self, allele: Allele, gene_id: str, region: str, effect: str, percentile: str) -> None:
        """Take an effect; they come in the order of lines."""
        while self.number < allele.line:
            self.copy()
        entry = (allele.bases, quote(gene_id, safe=UNQUOTED), region, effect or ".", percentile or ".")
        self.entries.append(entry)

    def copy(self) -> bool:
        """Write the line that waits and take the next one; tell whether there was one."""
        if self.text.startswith("#"):
            if self.text.startswith("#CHROM"):
                self.write(define_fields(self.version).encode())
            if not self.annotated or not is_own(self.text):
                self.put(self.text)
        elif self.text:
            fields = self.text.split("\t", INFO + 1)
            fields[INFO] = self.extend(fields[INFO])
            self.put("\t".join(fields))
        self.entries.clear()
        self.number, text = next(self.lines, (self.number, None))
        self.text = (text or "").rstrip("\n")
        return text is not None

    def put(self, text: str) -> None:
        """Write a line; bytes that are not UTF-8 as they were read."""
        self.write(f"{text}\n".encode(errors="surrogateescape"))

    def extend(self, info: str) -> str:
        """Return INFO with the fields of the entries behind it."""
        if self.annotated:
            kept = [part for part in info.split(";") if part.partition("=")[0] not in FIELDS]
            info = ";".join(kept) or "."
        if not self.entries:
            return info
        cells = zip(*self.entries, strict=True)
        added = ";".join(f"{name}={','.join(column)}" for name, column in zip(FIELDS, cells, strict=True))
        return added if info in (".", "") else f"{info.removesuffix(';')};{added}"

    def finish(self) -> None:
        """Write what is left of the input."""
        while self.copy():
            pass


@contextmanager
def open_annotated(source: Path, out: Path, survey: Survey, version: str) -> Iterator[Annotator]:
    """Open a VCF that `source` is written to with effects; file and index appear together at the end.

    Args:
        source: the input.
        out: to write, bgzip with an index beside it, or plain, see `survey`.
        survey: of the input by `survey_input`.
        version: of the program, for the header.
    """
    with ExitStack() as stack:
        # The last one opened is renamed first: an index must not be older than its file.
        index = stack.enter_context(replacing(index_file(out, survey.index))) if survey.index else None
        temporary = stack.enter_context(replacing(out))
        with closing(read_lines(source)) as lines, open_output(temporary, packed=bool(index)) as file:
            annotator = Annotator(lines, file.write, version, survey.annotated)
            yield annotator
            annotator.finish()
        if index:
            import pysam

            pysam.tabix_index(str(temporary), preset="vcf", index=str(index), csi=survey.index == ".csi", force=True)
    for ending in {".tbi", ".csi"} - {survey.index}:  # of a file of that name before
        index_file(out, ending).unlink(missing_ok=True)


def index_file(out: Path, ending: str) -> Path:
    """Return the name of an index."""
    return out.with_name(out.name + ending)


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a VCF, numbered as by `lcre.variants.read_vcf`."""
    with open_text(path, "VCF", errors="surrogateescape") as file:
        yield from file


def open_output(path: Path, packed: bool):
    """Open a file for writing bytes, bgzip or plain."""
    if not packed:
        return open(path, "wb")
    import pysam

    return pysam.BGZFile(str(path), "wb")
