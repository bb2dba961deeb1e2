"""Figures on real genomes that an independent cut gives; skipped where the files are not beside the project."""

import gzip

import genomes
import numpy as np
import pytest
from builders import REALDATA as REAL

import lcre_classifier

SPECIES = {
    "yeast": ("yeast/Saccharomyces_cerevisiae.R64-1-1", ".dna.toplevel.fa.gz", ".96.gtf.gz", "yeast/yeast_counts.csv"),
    "worm": ("celegans/celegans_WS220", ".fa.gz", ".gtf.gz", "celegans/celegans_stage_tpm.csv"),
}


def load(name: str):
    stem, fasta, gtf, tpm = SPECIES[name]
    files = {"--fasta": REAL / (stem + fasta), "--gtf": REAL / (stem + gtf), "--tpm": REAL / tpm}
    for path in files.values():
        if not path.exists():
            pytest.skip(f"{path} is not there")
    return genomes.load([str(part) for pair in files.items() for part in pair])


@pytest.mark.parametrize(
    ("name", "coding", "fitting", "in_table", "atg"),
    [("yeast", 6600, 6554, 6526, 6590), ("worm", 17574, 17569, 16544, None)],
)
def test_gene_funnel(name, coding, fitting, in_table, atg):
    data, _ = load(name)
    genes = data.genes
    assert int(genes["coding"].sum()) == coding
    assert len(data.windows) == int(genes["window_fits"].sum()) == fitting
    assert int((genes["window_fits"] & genes["in_table"]).sum()) == in_table
    if atg:
        assert (data.audit["start_with_ATG"], data.audit["coding_genes"]) == (atg, coding)


def test_yeast_windows_against_the_chromosome_itself():
    """The windows of 40 genes of chromosome IV, cut from the unpacked text by hand."""
    data, _ = load("yeast")
    text = gzip.decompress((REAL / (SPECIES["yeast"][0] + SPECIES["yeast"][1])).read_bytes()).decode()
    record = next(part for part in text.split(">") if part.startswith("IV "))
    sequence = "".join(record.split("\n")[1:]).upper()
    swap = str.maketrans("ACGT", "TGCA")
    genes = data.with_windows
    rows = np.flatnonzero(genes["chromosome"] == "IV")[::21]
    assert len(rows) == 40
    for row in rows:
        gene = genes.loc[row]
        left = sequence[gene["start"] - 1000 : gene["start"] + 500]
        right = sequence[gene["end"] - 500 : gene["end"] + 1000]
        if gene["strand"] == "-":
            left, right = right.translate(swap)[::-1], left.translate(swap)[::-1]
        masked = left[:1000] + "..." + left[1003:] + "." * 20 + right[:497] + "..." + right[500:]
        assert "".join("ACGT."[code] for code in data.windows[row]) == masked


def test_worm_folds_leave_no_gene_of_the_held_out_chromosome():
    data, settings = load("worm")
    chromosome = data.with_windows["chromosome"].to_numpy(str)
    folds = lcre_classifier.make_folds(data, settings)
    assert [fold.name for fold in folds] == ["I", "II", "III", "IV", "V"]
    for fold in folds:
        others = np.concatenate([fold.training, fold.validation])
        assert fold.name not in chromosome[others]
        assert "MtDNA" not in chromosome[others]
        assert set(chromosome[fold.test]) == {fold.name}
