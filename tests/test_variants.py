"""Windows with variants in them, against the plainest way: write the chromosome with the variant and cut again."""

import numpy as np
import pytest
from builders import cut_gzip, one_line, pack, write
from genomes import Gene, random_sequence, read_window, show_codes, write_fasta
from hypothesis import given
from hypothesis import strategies as st

import lcre_classifier
from core import InputError
from core.genome import BASE_CODES, open_genome
from lcre import variants

UPSTREAM, DOWNSTREAM, PADDING = 14, 9, 4
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


class Chromosomes:
    """Chromosomes held as strings, with what variants ask of an open genome."""

    def __init__(self, **sequences: str):
        self.sequences = sequences
        self.lengths = {name: len(sequence) for name, sequence in sequences.items()}

    def piece(self, name: str, begin: int, end: int) -> np.ndarray:
        assert 0 <= begin <= end <= self.lengths[name]  # beyond the ends nothing may be read
        return encode(self.sequences[name][begin:end])


def encode(sequence: str) -> np.ndarray:
    return np.frombuffer(sequence.encode().translate(BASE_CODES), np.uint8)


def make_windows(sequence: str, genes: list[Gene], sizes=(UPSTREAM, DOWNSTREAM, PADDING)) -> variants.Windows:
    """The windows of genes of chromosomes with this sequence, cut by the trainer's own functions and masked."""
    start, end = (np.array([getattr(gene, name) for gene in genes]) for name in ("start", "end"))
    strand = np.array([gene.strand for gene in genes])
    layout = lcre_classifier.WindowLayout(*sizes)
    fits, codes = lcre_classifier.cut_windows(encode(sequence), start, end, strand, layout)
    assert fits.all()
    layout.hide(codes)
    return variants.Windows(codes, [gene.chromosome for gene in genes], start, end, strand, layout)


def write_in(sequence: str, position: int, reference: str, alternative: str) -> tuple[str, list[int | None]]:
    """The chromosome with an allele in it, and for each of its bases the place it had (None: inserted).

    The bases that both alleles begin with, then those they end with, are the same bases; of the rest the first of
    REF become the first of ALT.
    """
    assert sequence[position : position + len(reference)].upper() == reference.upper()
    left = 0
    while left < min(len(reference), len(alternative)) and reference[left] == alternative[left]:
        left += 1
    right = 0
    while right < min(len(reference), len(alternative)) - left and reference[-1 - right] == alternative[-1 - right]:
        right += 1
    first, last = position + left, position + len(reference) - right
    new = alternative[left : len(alternative) - right]
    origins = [first + at if first + at < last else None for at in range(len(new))]
    places = [*range(first), *origins, *range(last, len(sequence))]
    return sequence[:first] + new + sequence[last:], places


def move_gene(gene: Gene, places: list[int | None]) -> Gene | None:
    """The gene on the edited chromosome: from its first base that is left to its last."""
    left = [at for at, place in enumerate(places) if place is not None and gene.start <= place < gene.end]
    return Gene(gene.gene_id, "c", left[0], left[-1] + 1, gene.strand) if left else None


def reference_window(sequence: str, gene: Gene, position: int, reference: str, alternative: str, sizes) -> str | None:
    """The gene's window on the edited chromosome, base by base, N beyond the chromosome's ends."""
    edited, places = write_in(sequence, position, reference, alternative)
    moved = move_gene(gene, places)
    if moved is None:
        return None
    flank = 200
    moved = Gene("g", "c", moved.start + flank, moved.end + flank, moved.strand)
    return read_window("N" * flank + edited + "N" * flank, moved, *sizes, masked=3)


def line_of(position: int, reference: str, alternative: str) -> variants.Line:
    return variants.Line(1, "c", position, reference, [alternative])


def check_variant(sequence, genes, position, reference, alternative, sizes=(UPSTREAM, DOWNSTREAM, PADDING)) -> int:
    """Compare every gene with the reference, and return how many hold the variant."""
    return check_variants(sequence, genes, [(position, reference, alternative)], sizes)


def check_variants(sequence, genes, changes, sizes=(UPSTREAM, DOWNSTREAM, PADDING)) -> int:
    """Do what `check_variant` does for variants (position, reference, alternative) that are found together."""
    genome, windows = Chromosomes(c=sequence), make_windows(sequence, genes, sizes)
    edits = [variants.make_edit(line_of(*change), change[-1]) for change in changes]
    before, held = windows.codes.copy(), 0
    for change, edit, found in zip(changes, edits, windows.find(["c"] * len(edits), edits), strict=True):
        check_found(sequence, genes, change, sizes, genome, windows, edit, dict(found))
        held += len(found)
    assert (windows.codes == before).all()
    return held


def check_found(sequence, genes, change, sizes, genome, windows, edit, found: dict[int, str]) -> None:
    """Compare every gene with the reference, where `found` has the genes that hold the variant."""
    for number, gene in enumerate(genes):
        position, reference, alternative = change
        expected = reference_window(sequence, gene, position, reference, alternative, sizes)
        row = windows.edit(number, genome, edit)
        assert (None if row is None else show_codes(row)) == expected, (gene, position, reference, alternative)
        if number not in found:  # what lies outside must change nothing (without DOWNSTREAM that can be the gene)
            assert expected in (show_codes(windows.codes[number]), None if sizes[1] == 0 else "")
        else:
            assert found[number] == reference_region(gene, edit, sizes)


def reference_region(gene: Gene, edit: variants.Edit, sizes) -> str:
    """Which regions hold a replaced base, or an insertion between two of their bases."""
    upstream, downstream, _ = sizes
    regions = {
        "left": (gene.start - upstream, gene.start + downstream),
        "right": (gene.end - downstream, gene.end + upstream),
    }
    replaced = {*range(edit.begin, edit.end)}
    hit = {side for side, (first, last) in regions.items() if {*range(first, last)} & replaced}
    if len(edit.codes) > len(replaced):  # something is inserted before the base edit.end
        hit |= {side for side, edges in regions.items() if {edit.end - 1, edit.end} <= {*range(*edges)}}
        hit |= {side for side, at in (("left", gene.start), ("right", gene.end)) if upstream and edit.end == at}
    names = {"left": "promoter", "right": "terminator"}
    if gene.strand == "-":
        names = {"left": "terminator", "right": "promoter"}
    return "both" if len(hit) == 2 else names[hit.pop()]


def test_every_place_and_kind_of_one_gene_on_each_strand():
    """SNPs, insertions, deletions and replacements at every place of a chromosome, in the way VCF writes them."""
    random = np.random.default_rng(3)
    sequence = random_sequence(random, 90)
    genes = [
        Gene("plus", "c", 20, 68),
        Gene("minus", "c", 22, 66, "-"),
        Gene("short", "c", 40, 45),
        Gene("tiny", "c", 50, 51, "-"),
    ]
    all_changes = []
    for position in range(len(sequence)):
        base = sequence[position]
        other = "ACGT"[("ACGT".index(base) + 1) % 4]
        changes = [(base, other), (base, base + "ACG"), (base, base + other), (base, "TTT" + base)]
        for length in (2, 3, 6, 20):
            deleted = sequence[position : position + length]
            if len(deleted) == length:
                changes += [(deleted, base), (deleted, deleted[-1]), (deleted, "GATTACA"), (deleted, "CA")]
                changes += [(deleted, random_sequence(random, length))]
        all_changes += [(position, reference, other) for reference, other in changes if reference != other]
    assert check_variants(sequence, genes, all_changes) > 3000


bases = st.text("ACGT", min_size=1, max_size=12)


@given(st.data())
def test_any_variant_equals_the_edited_chromosome(data):
    """Random genes, sizes and alleles, long deletions over TSS, TES, window edges and chromosome ends among them."""
    sizes = tuple(data.draw(st.integers(least, most)) for least, most in ((0, 20), (0, 12), (0, 3)))
    if sizes[0] + sizes[1] == 0:
        sizes = (1, *sizes[1:])
    sequence = "".join(data.draw(st.lists(st.sampled_from("ACGTN"), min_size=80, max_size=140)))
    genes = []
    for number in range(data.draw(st.integers(1, 3))):
        edge = max(sizes[:2])
        start = data.draw(st.integers(edge, len(sequence) - edge - 1))
        end = data.draw(st.integers(start + 1, len(sequence) - edge))
        gene = Gene(f"g{number}", "c", start, end, data.draw(st.sampled_from("+-")))
        if read_window(sequence, gene, *sizes) is not None:
            genes.append(gene)
    if not genes:
        return
    position = data.draw(st.integers(0, len(sequence) - 1))
    reference = sequence[position : position + data.draw(st.integers(1, 50))]
    alternative = data.draw(
        st.one_of(bases, bases.map(lambda new: reference[0] + new), st.just(reference[0]), st.just(reference[-1]))
    )
    if alternative != reference:
        check_variant(sequence, genes, position, reference, alternative, sizes)


def test_variants_are_found_together_as_each_alone():
    """Genes on two chromosomes, variants in any order on three: each finds its own genes, in their order."""
    sequence = random_sequence(np.random.default_rng(4), 120)
    genes = [Gene("late", "d", 60, 90), Gene("early", "c", 20, 60, "-"), Gene("first", "d", 20, 45)]
    windows = make_windows(sequence, genes, (14, 9, 0))
    whole = variants.Edit(20, 90, np.zeros(70, np.uint8))
    in_front, behind = variants.Edit(5, 6, np.ones(1, np.uint8)), variants.Edit(104, 104, np.ones(3, np.uint8))
    at_tss = variants.Edit(60, 60, np.ones(1, np.uint8))
    one_base = variants.Edit(6, 7, np.ones(1, np.uint8))
    cases = [
        ("d", whole, [(0, "both"), (2, "both")]),
        ("e", whole, []),
        ("c", whole, [(1, "both")]),
        ("d", behind, []),  # an insertion behind the last base of a terminator
        ("d", in_front, []),
        ("d", at_tss, [(0, "promoter")]),
        ("c", at_tss, [(1, "promoter")]),  # of a gene on the minus strand
        ("c", one_base, [(1, "terminator")]),
    ]
    for some in (cases, cases[::-1], *([case] for case in cases)):
        names, edits, expected = zip(*some, strict=True)
        assert windows.find(names, edits) == list(expected)
    assert windows.find([], []) == []


def test_insertion_pushes_sequence_out_at_the_far_end_only():
    """Drawn by hand: 4 before and 3 after the TSS (nothing masked), plus strand."""
    #           01234567 89...
    sequence = "TTTTACGT" + "GATTACAGATTACA" + "CCCCCCCC"
    genes = [Gene("g", "c", 8, 22)]
    windows = make_windows(sequence, genes, (4, 7, 0))
    genome = Chromosomes(c=sequence)
    assert show_codes(windows.codes[0]) == "ACGT...TACA" + "GATT...CCCC"
    upstream = variants.make_edit(line_of(5, "C", "CAA"), "CAA")
    assert show_codes(windows.edit(0, genome, upstream)) == "AAGT...TACA" + "GATT...CCCC"
    inside = variants.make_edit(line_of(11, "T", "TGG"), "TGG")  # behind GATT
    assert show_codes(windows.edit(0, genome, inside)) == "ACGT...TGGA" + "GATT...CCCC"
    lost = variants.make_edit(line_of(4, "ACG", "A"), "A")  # two upstream bases move in
    assert show_codes(windows.edit(0, genome, lost)) == "TTAT...TACA" + "GATT...CCCC"
    assert windows.find(["c"] * 3, [upstream, inside, lost]) == [[(0, "promoter")]] * 3


def test_bases_from_beyond_the_chromosome_are_unknown():
    sequence = "ACGT" + "GATTACAGATTACA" + "CCCC"
    windows = make_windows(sequence, [Gene("g", "c", 4, 18)], (4, 7, 0))
    edit = variants.make_edit(line_of(0, "ACG", "A"), "A")
    assert show_codes(windows.edit(0, Chromosomes(c=sequence), edit)) == "..AT...TACA" + "GATT...CCCC"


def test_whole_gene_deleted():
    sequence = random_sequence(np.random.default_rng(1), 90)
    windows = make_windows(sequence, [Gene("g", "c", 40, 46)])
    edit = variants.make_edit(line_of(37, sequence[37:50], sequence[37]), sequence[37])
    assert windows.edit(0, Chromosomes(c=sequence), edit) is None


def test_shared_bases_of_the_alleles_are_left_out():
    def edit_of(reference: str, alternative: str) -> tuple[int, int, str]:
        begin, end, codes = variants.make_edit(line_of(10, reference, alternative), alternative)
        return begin, end, show_codes(codes)

    assert edit_of("A", "G") == (10, 11, "G")
    assert edit_of("A", "ACC") == (11, 11, "CC")
    assert edit_of("ACC", "A") == (11, 13, "")
    assert edit_of("TA", "A") == (10, 11, "")
    assert edit_of("AAA", "A") == (11, 13, "")  # of equal bases the later ones go, as VCF writes it
    assert edit_of("acgt", "AGGT") == (11, 12, "G")
    assert edit_of("CAT", "CGGT") == (11, 12, "GG")
    assert edit_of("A", "N") == (10, 11, ".")


@pytest.mark.parametrize(
    ("alternative", "reason"),
    [
        ("G", ""),
        ("acgtn", ""),
        ("A", "ALT is REF"),
        ("a", "ALT is REF"),
        *((text, "ALT names no allele (., * and the like)") for text in (".", "*", "<*>", "<NON_REF>", "")),
        *((text, "ALT is symbolic") for text in ("<DEL>", "<INS:ME>", "G]17:198982]", "]13:123456]T", "A.", ".A")),
        *((text, "ALT is not bases") for text in ("R", "A-", "?")),
    ],
)
def test_alleles_without_sequence(alternative, reason):
    assert variants.explain_alternative("A", alternative) == reason


# --------------------------------------------------------------------------------------------------- VCF
def test_reads_lines_with_and_without_genotypes(tmp_path):
    text = HEADER + "1\t5\trs1\tA\tG,TT\t.\t.\t.\tGT\t0/1\n\nchr2\t7\t.\tACG\t<DEL>\n"
    for content in (text, pack(text.encode()), text.replace("\n", "\r\n")):
        lines = list(variants.read_vcf(write(tmp_path / "v.vcf", content)))
        assert lines == [(3, "1", 4, "A", ["G", "TT"]), (5, "chr2", 6, "ACG", ["<DEL>"])]
    assert lines[0].name("TT") == "1:5:A:TT"
    assert variants.survey_vcf(tmp_path / "v.vcf")[:2] == (2, ["1", "chr2"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (HEADER, "has a header and no variant"),
        (">1\nACGT\n", "##fileformat=VCF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "##fileformat=VCF"),
        (HEADER + "1\tfive\t.\tA\tG\n", "line 3"),
        (HEADER + "1\t-5\t.\tA\tG\n", "line 3"),
        (HEADER + "1\t²\t.\tA\tG\n", "line 3"),
        (HEADER + "1\t٣\t.\tA\tG\n", "line 3"),
        (HEADER + "1\t" + "9" * 5000 + "\t.\tA\tG\n", "99... (5,000 characters); no chromosome is that long"),
        (HEADER + f"1\t{10**30}\t.\tA\tG\n", "line 3"),
        (HEADER + f"1\t{2**63}\t.\tA\tG\n", "has the POS 9223372036854775808; no chromosome is that long"),
        (HEADER + f"1\t{10**11}\t.\tA\tG\n", "no chromosome is that long"),
        (HEADER + "1\t" + "²" * 5000 + "\t.\tA\tG\n", "line 3"),
        (HEADER + "x" * 1_000_000 + "\n", "line 3"),
        (HEADER + "1 5 . A G\n", "line 3"),
        (HEADER + "1\t5\t.\tA\n", "line 3"),
        (cut_gzip((HEADER + "1\t5\t.\tA\tG\n" * 99).encode()), "damaged gzip"),
    ],
)
def test_what_is_not_a_vcf_is_said_in_one_line(tmp_path, content, says):
    with pytest.raises(InputError) as error:
        variants.survey_vcf(write(tmp_path / "v.vcf", content))
    assert says in one_line(error)


def test_positions_with_zeros_in_front_and_far_away(tmp_path):
    text = HEADER + f"1\t{'0' * 5000}7\t.\tA\tG\n1\t0\t.\tA\tG\n1\t{10**11 - 1}\t.\tA\tG\n"
    lines = list(variants.read_vcf(write(tmp_path / "v.vcf", text)))
    assert [line.position for line in lines] == [6, -1, 10**11 - 2]


def test_sample_is_even_and_bounded(tmp_path):
    text = HEADER + "".join(f"1\t{at}\t.\tA\tG\n" for at in range(1, 20_001))
    count, _, sample = variants.survey_vcf(write(tmp_path / "v.vcf", text))
    assert (count, len(sample)) == (20_000, variants.SAMPLE)
    assert abs(np.mean([line.position for line in sample]) - 10_000) < 600


def test_genome_of_the_vcf(tmp_path):
    sequence = random_sequence(np.random.default_rng(5), 400)
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": sequence, "chr2": sequence[::-1]})

    def matched(*rows: str):
        path = write(tmp_path / "v.vcf", HEADER + "".join(row.replace(" ", "\t") + "\n" for row in rows))
        with open_genome(fasta) as genome:
            return variants.match_genome(path, genome, notes)

    notes: list[str] = []
    right = [f"1 {at + 1} . {sequence[at].lower()} <DEL>" for at in range(20)]
    wrong = [f"1 {at + 1} . {'A' if sequence[at] != 'A' else 'C'} G" for at in range(20)]
    assert matched(*right) == (20, {"1": "chr1"})
    assert "'chr' prefix" in notes[0]
    assert matched(*right[:10], *wrong[:9], "MT 5 . A G") == (20, {"1": "chr1"})
    assert matched(right[0], *wrong[:3])[0] == 4  # too few to tell
    for rows in (right[:9] + wrong[:10], wrong[:1], ["1 999 . A G"]):
        with pytest.raises(InputError, match="another genome"):
            matched(*rows)
    with pytest.raises(InputError, match="VCF and FASTA have no chromosome in common"):
        matched("scaffold_7 1 . A G")


def test_why_a_reference_cannot_be_found(tmp_path):
    genome = Chromosomes(c="ACGTNNacgt")

    def reason(position: int, reference: str, name: str = "c") -> str:
        return variants.explain_reference(variants.Line(1, name, position, reference, ["T"]), {"c": "c"}, genome)

    assert reason(0, "ACGTNNACGT") == ""
    assert reason(0, "C") == "REF does not match the FASTA: A"
    assert reason(3, "TNNNC") == "REF does not match the FASTA: TNNAC"
    assert reason(8, "GTA") == reason(-1, "N") == "REF lies outside the chromosome"
    assert reason(0, "R") == "REF is not bases"
    assert reason(0, "A", "d") == "chromosome is not in the FASTA"
