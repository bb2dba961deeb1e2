"""Windows: against hand-made chromosomes, against a reading base by base, and from files."""

import numpy as np
import pandas as pd
import pytest
from genomes import (
    COMPLEMENT,
    Gene,
    load,
    random_sequence,
    read_window,
    reverse_complement,
    settings_of,
    show_codes,
    write_files,
)
from hypothesis import given
from hypothesis import strategies as st

import lcre_classifier as lcre
from core import InputError
from core.genome import BASE_CODES, one_hot

#           0         10        20        30
SEQUENCE = "ACGTTGCATTACGGATCCATAGCTTGACCA"


def codes_of(sequence: str) -> np.ndarray:
    return np.frombuffer(sequence.encode().translate(BASE_CODES), np.uint8)


def cut(sequence: str, genes: list[Gene], upstream: int, downstream: int, padding: int) -> list[str | None]:
    """What cut_windows makes of each gene, as a string; None where it does not fit."""
    start, end = (np.array([getattr(gene, name) for gene in genes], np.int64) for name in ("start", "end"))
    strand = np.array([gene.strand for gene in genes], str)
    fits, windows = lcre.cut_windows(
        codes_of(sequence), start, end, strand, lcre.WindowLayout(upstream, downstream, padding)
    )
    assert windows.dtype == np.uint8
    assert windows.shape == (fits.sum(), 2 * (upstream + downstream) + padding)
    shown = iter(windows)
    return [show_codes(next(shown)) if fit else None for fit in fits]


def mask(upstream: int, downstream: int, padding: int) -> str:
    """The columns whose base is visible, as a string: # visible, . hidden."""
    return "".join("#" if visible else "." for visible in lcre.WindowLayout(upstream, downstream, padding).visible)


class Genome:
    """A genome in memory that counts how often each chromosome is read."""

    def __init__(self, chromosomes: dict[str, str]):
        self.chromosomes, self.read = chromosomes, []
        self.lengths = {name: len(sequence) for name, sequence in chromosomes.items()}

    def codes(self, name: str) -> np.ndarray:
        self.read.append(name)
        return codes_of(self.chromosomes[name])


# ---------------------------------------------------------------------------------------------- by hand
@pytest.mark.parametrize(
    ("start", "end", "strand", "window"),
    [
        (10, 20, "+", "CATT" + "ACG" + ".." + "CAT" + "AGCT"),
        (10, 20, "-", "AGCT" + "ATG" + ".." + "CGT" + "AATG"),
        (14, 16, "+", "ACGG" + "ATC" + ".." + "GAT" + "CCAT"),  # shorter than downstream: the regions overlap
        (14, 16, "-", "ATGG" + "ATC" + ".." + "GAT" + "CCGT"),
        (4, 26, "+", "ACGT" + "TGC" + ".." + "TTG" + "ACCA"),  # from the very first to the very last base
        (4, 26, "-", "TGGT" + "CAA" + ".." + "GCA" + "ACGT"),
        (3, 20, "+", None),  # one base too far to the left
        (3, 20, "-", None),
        (10, 27, "+", None),  # and to the right
        (10, 27, "-", None),
        (10, 20, ".", None),  # no strand, no promoter
    ],
)
def test_promoter_padding_terminator_on_the_genes_strand(start, end, strand, window):
    assert cut(SEQUENCE, [Gene("g", "1", start, end, strand)], 4, 3, 2) == [window]


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize(("upstream", "downstream", "padding"), [(0, 8, 0), (8, 0, 3), (0, 1, 1), (5, 1, 0), (3, 9, 2)])
def test_window_fits_up_to_the_first_and_the_last_base(strand, upstream, downstream, padding):
    length = 40
    sequence = random_sequence(np.random.default_rng(3), length)
    inside = Gene("g", "1", upstream, length - upstream, strand)
    beyond = [
        Gene("g", "1", upstream - 1, length - upstream, strand),
        Gene("g", "1", 12, length - upstream + 1, strand),
    ]
    expected = read_window(sequence, inside, upstream, downstream, padding)
    assert cut(sequence, [inside, *beyond], upstream, downstream, padding) == [expected, None, None]


@pytest.mark.parametrize("strand", "+-")
def test_a_gene_shorter_than_downstream_near_an_end_of_the_chromosome(strand):
    sequence = random_sequence(np.random.default_rng(4), 30)
    genes = [Gene("g", "1", start, start + 3, strand) for start in (2, 3, 24, 25)]
    first, last = (read_window(sequence, gene, 2, 6, 0) for gene in genes[1:3])
    assert cut(sequence, genes, 2, 6, 0) == [None, first, last, None]
    assert None not in (first, last)


def test_a_chromosome_shorter_than_a_region_and_no_genes():
    assert cut("ACGTACGT", [Gene("g", "1", 3, 5)], 6, 3, 1) == [None]
    assert cut("", [Gene("g", "1", 0, 0)], 1, 1, 1) == [None]
    assert cut("ACGTACGT", [], 2, 2, 1) == []


def test_lower_case_is_read_and_other_letters_are_not_a_base():
    sequence = "acgTNacgRYKMSWBDHVn-*ugtACG"
    window, flipped = cut(sequence, [Gene("g", "1", 2, 25, strand) for strand in "+-"], 2, 25, 0)
    assert window[:27] == "ACGT.ACG.............TGTACG"  # U is the T of RNA
    assert flipped == reverse_complement(window)


@pytest.mark.parametrize(
    ("sizes", "columns"),
    [
        ((4, 5, 2), "####...##" + ".." + "##...####"),
        ((4, 3, 1), "####..." + "." + "...####"),
        ((4, 2, 0), "####.." + "..####"),
        ((4, 1, 0), "####." + ".####"),
        ((4, 0, 2), "####" + ".." + "####"),
        ((0, 8, 0), "...#####" + "#####..."),
    ],
)
def test_masked_columns(sizes, columns):
    assert mask(*sizes) == columns


def test_default_window_has_3020_columns():
    settings = settings_of(["--fasta", "x", "--gtf", "y.gtf", "--tpm", "z"])
    layout = lcre.WindowLayout.of(settings)
    assert (layout.columns, layout.region_size) == (3020, 1500)
    assert layout.visible.shape == (3020,)
    assert np.flatnonzero(~layout.visible).tolist() == [1000, 1001, 1002, *range(1500, 1520), 2017, 2018, 2019]


@pytest.mark.parametrize("strand", "+-")
def test_start_and_stop_codon_are_masked_on_both_strands(strand):
    gene = "ATG" + "C" * 20 + "TAA"
    sequence = "C" * 10 + (gene if strand == "+" else reverse_complement(gene)) + "C" * 10
    genes = gene_frame([Gene("g", "1", 10, 10 + len(gene), strand)])
    windows, atg = lcre.cut_genome(Genome({"1": sequence}), genes, {"1": "1"}, lcre.WindowLayout(6, 8, 2))
    flank = "C" if strand == "+" else "G"
    assert show_codes(windows[0]) == flank * 6 + "..." + "CCCCC" + ".." + "CCCCC" + "..." + flank * 6
    assert atg.tolist() == [True]


# ------------------------------------------------------------------------------------ cut_genome, one_hot
def gene_frame(genes: list[Gene]) -> pd.DataFrame:
    columns = ("gene_id", "chromosome", "start", "end", "strand")
    frame = pd.DataFrame({name: [getattr(gene, name) for gene in genes] for name in columns})
    return frame.assign(coding=[gene.biotype == "protein_coding" for gene in genes])


def test_cut_genome_keeps_the_order_of_the_genes_and_reads_each_chromosome_once():
    random = np.random.default_rng(5)
    chromosomes = {name: random_sequence(random, 60) for name in ("x", "y", "unused")}
    genes = [
        Gene("a", "chrY", 10, 30, "-"),
        Gene("b", "chrX", 12, 40),
        Gene("not coding", "chrX", 12, 40, "+", "lncRNA"),
        Gene("c", "chrY", 20, 25),
        Gene("edge", "chrY", 2, 25),
        Gene("beyond", "chrY", 20, 61),
        Gene("elsewhere", "chrZ", 20, 30),
        Gene("d", "chrX", 20, 44, "-"),
    ]
    frame, genome = gene_frame(genes), Genome(chromosomes)
    partner = {"chrX": "x", "chrY": "y"}
    windows, _ = lcre.cut_genome(genome, frame, partner, lcre.WindowLayout(8, 6, 3))
    inside = [gene for gene in genes if gene.gene_id in "abcd"]
    assert frame.loc[frame["window_fits"], "gene_id"].tolist() == list("abcd")
    assert frame.loc[frame["sequence_known"], "gene_id"].tolist() == ["a", "b", "c", "edge", "d"]
    assert [show_codes(window) for window in windows] == [
        read_window(chromosomes[partner[gene.chromosome]], gene, 8, 6, 3, masked=3) for gene in inside
    ]
    assert sorted(genome.read) == ["x", "y"]


def test_one_hot_columns_are_acgt_and_unknown_is_all_zero():
    encoded = one_hot(np.array([[0, 1, 2, 3, 4]], np.uint8))
    assert encoded.dtype == np.uint8
    assert encoded.tolist() == [[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]]


# ------------------------------------------------------------------------------------------ by property
@st.composite
def chromosomes_with_genes(draw):
    sequence = draw(st.text("ACGTNacgtnRY", max_size=70))
    edges = st.integers(0, len(sequence))
    genes = []
    pairs = st.tuples(edges, edges).filter(lambda pair: pair[0] < pair[1])
    for number, (start, end) in enumerate(draw(st.lists(pairs, max_size=6)) if sequence else []):
        genes.append(Gene(f"g{number}", "1", start, end, draw(st.sampled_from("+-"))))
    return sequence, genes


sizes = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 4)).filter(lambda size: size[0] + size[1])


@given(chromosomes_with_genes(), sizes)
def test_windows_equal_those_read_base_by_base(chromosome, size):
    sequence, genes = chromosome
    assert cut(sequence, genes, *size) == [read_window(sequence, gene, *size) for gene in genes]


@given(chromosomes_with_genes(), sizes)
def test_masked_windows_equal_those_read_base_by_base(chromosome, size):
    sequence, genes = chromosome
    frame = gene_frame(genes)
    windows, _ = lcre.cut_genome(Genome({"1": sequence}), frame, {"1": "1"}, lcre.WindowLayout(*size))
    expected = [read_window(sequence, gene, *size, masked=3) for gene in genes]
    assert [show_codes(window) for window in windows] == [window for window in expected if window]
    assert frame["window_fits"].tolist() == [window is not None for window in expected]


@given(chromosomes_with_genes(), sizes)
def test_turning_the_chromosome_around_changes_no_window(chromosome, size):
    sequence, genes = chromosome
    turned = "".join(COMPLEMENT.get(base, "N") for base in reversed(sequence.upper()))
    swap, length = {"+": "-", "-": "+"}, len(sequence)
    flipped = [Gene(gene.gene_id, "1", length - gene.end, length - gene.start, swap[gene.strand]) for gene in genes]
    assert cut(sequence, genes, *size) == cut(turned, flipped, *size)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_one_hot_rows_sum_to_one_for_a_base_and_to_zero_otherwise(codes):
    codes = np.array(codes, np.uint8)
    assert (one_hot(codes).sum(axis=-1) == (codes < 4)).all()


# ------------------------------------------------------------------------------------------- from files
def spaced_genes(chromosomes: dict[str, str], flank: int = 60, length: int = 50, gap: int = 90) -> list[Gene]:
    """Genes on alternating strands all along each chromosome."""
    return [
        Gene(f"G{name}_{at}", name, at, at + length, "+-"[number % 2])
        for name, sequence in chromosomes.items()
        for number, at in enumerate(range(flank, len(sequence) - length - flank, gap))
    ]


def ramp(genes: list[Gene]) -> dict[str, float]:
    """Expression that goes up and down along the genome, so that every chromosome has every class."""
    return {gene.gene_id: float(number * 7 % len(genes)) for number, gene in enumerate(genes)}


WINDOW = ["--upstream", "40", "--downstream", "20", "--padding", "5"]


@pytest.mark.parametrize(
    ("in_fasta", "in_gtf"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["3 the third", "1 dna:chromosome", "2"], ["1", "2", "3"]),
        (["chr10", "chr2", "chr1"], ["1", "2", "10"]),
        (["2", "1", "10"], ["chr1", "chr2", "chr10"]),
        (["I", "II"], ["II", "I"]),
    ],
)
def test_windows_come_from_the_right_chromosome(tmp_path, in_fasta, in_gtf):
    random = np.random.default_rng(11)
    written = {header: random_sequence(random, 700) for header in in_fasta}
    by_number = {header.split()[0].removeprefix("chr"): sequence for header, sequence in written.items()}
    chromosomes = {name: by_number[name.removeprefix("chr")] for name in in_gtf}
    genes = spaced_genes(chromosomes)
    data, _ = load([*write_files(tmp_path, written, genes, ramp(genes)), *WINDOW])
    assert data.with_windows["gene_id"].tolist() == [gene.gene_id for gene in genes]
    assert data.with_windows["chromosome"].tolist() == [gene.chromosome for gene in genes]
    assert [show_codes(window) for window in data.windows] == [
        read_window(chromosomes[gene.chromosome], gene, 40, 20, 5, masked=3) for gene in genes
    ]
    prefixed = [header.startswith("chr") for header in (in_fasta[0], in_gtf[0])]
    assert any("chr" in note for note in data.notes) == (prefixed[0] != prefixed[1])
    order = [header.split()[0].removeprefix("chr") for header in in_fasta]
    assert [name.removeprefix("chr") for name in data.chromosomes] == order


def test_each_gene_has_the_one_reason_why_it_is_not_used(tmp_path):
    random = np.random.default_rng(12)
    written = {
        "1": random_sequence(random, 3000),
        "2": random_sequence(random, 3000),
        "Mt": random_sequence(random, 600),
        "plastid_x chloroplast genome": random_sequence(random, 600),
        "scaffold_7": random_sequence(random, 600),
    }
    genes = spaced_genes({name: written[name] for name in ("1", "2")}) + [
        Gene("lnc", "1", 100, 200, "+", "lncRNA"),
        Gene("elsewhere", "9", 100, 200),
        Gene("beyond", "1", 2950, 3001),
        Gene("no strand", "1", 100, 200, "."),
        Gene("left", "1", 39, 200),
        Gene("right", "1", 2800, 2961, "-"),
        Gene("mito", "Mt", 100, 200),
        Gene("plastid", "plastid_x", 100, 200),
        Gene("no value", "1", 100, 200),
        Gene("on scaffold", "scaffold_7", 100, 200),
        Gene("first base", "2", 40, 200),
        Gene("last base", "2", 2800, 2960, "-"),
    ]
    expression = ramp(genes)
    del expression["no value"]
    data, _ = load([*write_files(tmp_path, written, genes, expression), *WINDOW])
    status = dict(zip(data.genes["gene_id"], data.genes["status"], strict=True))
    assert {gene: status[gene] for gene in status if status[gene] != "used"} == {
        "lnc": "not protein coding",
        "elsewhere": "chromosome not in genome",
        "beyond": "beyond chromosome end",
        "no strand": "no strand",
        "left": "window leaves chromosome",
        "right": "window leaves chromosome",
        "mito": "organelle",
        "plastid": "organelle",
        "no value": "not in table",
    }
    assert data.chromosomes == ["1", "2"]
    assert {"mito", "plastid", "no value", "on scaffold"} <= set(data.with_windows["gene_id"])
    assert any("'elsewhere'" in warning for warning in data.warnings)
    assert any("'beyond'" in warning for warning in data.warnings)


def test_export_holds_every_coding_gene_whose_windows_fit(tmp_path, capsys):
    random = np.random.default_rng(13)
    chromosomes = {name: random_sequence(random, 700) for name in ("1", "2")}
    genes = spaced_genes(chromosomes)
    expression = ramp(genes)
    genes += [Gene("no value", "2", 300, 420, "-"), Gene("lnc", "2", 300, 420, "+", "lncRNA"), Gene("edge", "1", 5, 90)]
    out = tmp_path / "windows.npz"
    flags = [*write_files(tmp_path, chromosomes, genes, expression), *WINDOW, "--export-windows", str(out)]
    assert lcre.main(flags) == 0
    assert f"{out}: one-hot windows of {len(genes) - 2} genes, 125 columns" in capsys.readouterr().out
    exported = np.load(out)
    assert sorted(exported) == ["gene_id", "one_hot"]
    assert exported["gene_id"].dtype.kind == "U"
    assert exported["gene_id"].tolist() == [gene.gene_id for gene in genes[:-2]]
    assert exported["one_hot"].dtype == np.uint8
    assert exported["one_hot"].shape == (len(genes) - 2, 125, 4)
    for gene, encoded in zip(genes, exported["one_hot"], strict=False):
        window = read_window(chromosomes[gene.chromosome], gene, 40, 20, 5, masked=3)
        assert ["ACGT".find(base) for base in window] == [row.argmax() if row.any() else -1 for row in encoded]
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["windows.csv", "no_such_folder/windows.npz"])
def test_export_to_a_bad_place_is_refused_before_anything_is_read(tmp_path, capsys, name):
    genes = [Gene("g", "1", 50, 60)]
    flags = write_files(tmp_path, {"1": "A" * 200}, genes, {"g": 1.0})
    assert lcre.main([*flags, "--export-windows", str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert name in said.err
    assert not said.out


def test_windows_longer_than_every_chromosome_are_refused(tmp_path):
    random = np.random.default_rng(14)
    chromosomes = {"1": random_sequence(random, 700)}
    genes = spaced_genes(chromosomes)
    with pytest.raises(InputError, match=r"1,000 \+ 20 bp.*700 bp|1000 \+ 20 bp.*700 bp"):
        load([*write_files(tmp_path, chromosomes, genes, ramp(genes)), "--upstream", "1000", "--downstream", "20"])


def test_parts_of_a_window():
    """1000 before and 500 behind the TSS, 20 of padding, 500 before and 1000 behind the TES."""

    def parts(*sizes: int) -> list[tuple[int, int]]:
        return [(part.start, part.stop) for part in lcre.WindowLayout(*sizes).parts]

    assert parts(1000, 500, 20) == [(0, 1000), (1000, 1500), (1520, 2020), (2020, 3020)]
    assert parts(0, 8, 0) == [(0, 0), (0, 8), (8, 16), (16, 16)]


def test_regions_and_sites_of_a_window():
    """The TSS is the first column behind UPSTREAM; the TES stands in front of the last UPSTREAM columns."""
    layout = lcre.WindowLayout(upstream=4, downstream=3, padding=2)
    assert (layout.region_size, layout.columns) == (7, 16)
    assert layout.regions == {"promoter": slice(0, 7), "terminator": slice(9, 16)}
    assert layout.sites == {"promoter": 4, "terminator": 12}
    row = np.arange(16) % 4
    layout.hide(row)
    assert np.flatnonzero(row == 4).tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert layout == lcre.WindowLayout(4, 3, 2)
