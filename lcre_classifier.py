"""LCRE: learn from a genome, its annotation and an expression table which genes are low and which are high.

`python lcre_classifier.py` trains on tomato where its files are, and otherwise on the bundled demo genome; edit the
constants below, or give the flags of the same names, to train on your own. The script reads top to bottom: it loads
TPM, GTF and FASTA, cuts promoter and terminator windows, encodes them, labels genes low or high, balances the classes,
leaves one chromosome out at a time (or a set of gene families, or a species), trains a CNN + LSTM on the others, and
logs everything to CSV.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "tensorflow>=2.19,<3",
#   "keras>=3.8,<4",
#   "pandas>=2.2,<4",
#   "numpy>=2.0,<3",
#   "pyranges>=0.1.4,<0.2",
#   "pyfaidx>=0.8.1,<1",
#   "pybigtools>=0.3,<0.4",
#   "scikit-learn>=1.5,<2",
#   "matplotlib>=3.9,<4",
#   "logomaker>=0.8,<1",
#   "jinja2>=3.1,<4",
# ]
# ///

import contextlib
import itertools
import math
import sys
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from core import InputError, examples, one_line
from core.checkpoints import Checkpoints
from core.cli import explain_constants, parse_settings, run_script
from core.files import escape_cell, replacing, write_csv
from core.genome import one_hot
from core.memory import require_memory
from core.progress import Progress, interrupt_on_sigterm, show_duration
from core.scores import auroc_error
from lcre import controls, records
from lcre.hold_out import WAYS
from lcre.kmers import PENALTY

__version__ = "0.1.0"
if __name__ == "__main__":
    explain_constants(__file__)  # an edit below that Python cannot evaluate ends in one line, without a traceback

# ------------------------------------------------------------------------------------------ what to train on
DATASET = "tomato"  # tomato, demo, arabidopsis, maize or sorghum: fills what is left at None here, from the table below
ORGANISM: str | None = None  # prefix of everything written; None: of the data set, else of the GTF's name
FASTA: str | None = None  # genome, plain, gzip or bgzip; give FASTA, GTF and TPM together for a species of your own
GTF: str | None = None  # annotation, GTF or GFF3, plain or gzip
TPM: str | None = None  # expression table, CSV or TSV, gene ids in the first column
TARGET_COLUMN = "logMaxTPM"  # column to label by; where logMaxTPM is absent, log10(max over the samples + 1) is taken
VALIDATION_GENES: str | None = None  # genes that may be scored: .pickle, .csv or .txt; best those without homologs
PICKLE_KEY: str | None = None  # key of the species in a .pickle of several

# ------------------------------------------------------------------------------------------ windows
UPSTREAM: int | None = None  # bp before the TSS and after the TES; None: of the data set, else 1000
DOWNSTREAM: int | None = None  # bp after the TSS and before the TES; None: of the data set, else 500
PADDING = 20  # zero columns between promoter and terminator

# ------------------------------------------------------------------------------------------ labels and folds
LOW_PERCENTILE = 25.0  # genes at or below this percentile of the table are low
HIGH_PERCENTILE = 75.0  # genes at or above this one are high; those between are predicted, never scored
HOLD_OUT = "chromosome"  # chromosome; family: no family of genes is split; species: of several, each in turn
FAMILIES: str | None = None  # for HOLD_OUT family: table gene_id,family, the families.csv of lcre_homology.py
FOLDS = 5  # of HOLD_OUT family, called family1, family2, ...: 2 to 100
SPECIES: str | None = None  # for HOLD_OUT species: table of organism,fasta,gtf,tpm, one species a row
CHROMOSOMES = "all"  # or folds, species: to hold out in turn, comma-separated; IV+VII together; all: each nuclear one
SELECT_ON = "validation"  # validation: the epoch is chosen on another chromosome; test: as published, optimistic

# ------------------------------------------------------------------------------------------ controls
CONTROL: str | None = None  # what the network is denied: shuffled, dinucleotides, permuted, promoter, terminator, ...
SHIFT = 5000  # bp by which CONTROL shifted moves the windows away from TSS and TES

# ------------------------------------------------------------------------------------------ training
MODEL = "cnn_lstm_kmer"  # cnn_lstm_kmer; cnn_lstm_kmer_fine: for flanks; published: of the LCRE description
EPOCHS: int | None = None  # None: of the demo 7, else of the model: for 700 steps, 6 to 40; published: 35
BATCH_SIZE: int | None = None  # sequences a step; None: of the model (64)
LEARNING_RATE: float | None = None  # None: of the model (cnn_lstm_kmer: 2e-3 at its peak; published: 1e-4)
SEED = 1  # of every random draw; another seed is another run: keep them apart with ORGANISM
SAVED_MODELS = "saved_models"  # folder where everything is written

# ------------------------------------------------------------------------------------------ folds side by side
JOBS: int | None = None  # folds at a time, each by a process with its share of cores and GPUs; None: cores / 2
SCHEDULER: str | None = None  # tcp://host:8786 of a Dask cluster that trains the folds; None: this machine

# What each data set puts in place of None. Its files are looked for in these folders; VALIDATION_GENES are optional.
HERE = Path(__file__).resolve().parent
FOLDERS = (HERE / "data", HERE)  # where data/fetch.py puts them; beside the script, as the LCRE description has them
FIRST_SPECIES = "tomato"  # while it is not here, a plain run trains the demo


def ensembl_plants(organism: str, assembly: str, key: str) -> dict:
    """Return the files of a species of Ensembl Plants release 52, named as in the LCRE description."""
    return {
        "ORGANISM": organism,
        "FASTA": f"genomes/{assembly}.dna.toplevel.fa",
        "GTF": f"gene_models/{assembly}.52.gtf",
        "TPM": f"tpm_counts/{organism}_counts.csv",
        "VALIDATION_GENES": "validation_genes.pickle",
        "PICKLE_KEY": key,
    }


DATASETS = {
    "demo": {
        "ORGANISM": "demo",
        "FASTA": "demo/demo.fa.gz",
        "GTF": "demo/demo.gtf.gz",
        "TPM": "demo/demo_tpm.csv",
        "VALIDATION_GENES": "demo/validation_genes.pickle",
        "PICKLE_KEY": "demo",
        "UPSTREAM": 300,  # the demo's genes stand close together
        "DOWNSTREAM": 100,
        "EPOCHS": 7,  # more give little
    },
    "tomato": ensembl_plants("solanum", "Solanum_lycopersicum.SL3.0", "sol"),
    "arabidopsis": ensembl_plants("arabidopsis", "Arabidopsis_thaliana.TAIR10", "ara"),
    "maize": ensembl_plants("zea", "Zea_mays.Zm-B73-REFERENCE-NAM-5.0", "zea"),
    "sorghum": ensembl_plants("sorghum", "Sorghum_bicolor.Sorghum_bicolor_NCBIv3", "sor"),
}
FALLBACKS = {"UPSTREAM": 1000, "DOWNSTREAM": 500}
COMPUTED_COLUMN = "logMaxTPM"  # the one that is computed where a table lacks it
RANK_SLOPE = 6  # a gene of rank r, from 0 to 1, gets the log-odds of being high 6 (r - 1/2)
CHOOSE_ON = 500  # low and high genes, at most, that choose the epoch
MASKED = 3  # columns of start and stop codon set to zero: without UTRs they would give the reading frame away


# ============================================================================================== inputs
@dataclass
class Dataset:
    """Everything a run reads, once for all folds."""

    genes: object  # pandas frame, one row a gene of the annotation, with its fate in `status`
    windows: np.ndarray  # base codes of the genes with windows, uint8, (n, columns), in the order of `with_windows`
    training_windows: np.ndarray  # the same as genes that train show them: shuffled by some controls
    layout: "WindowLayout"  # of the windows
    chromosomes: list[str]  # nuclear ones in the order of the FASTA (no organelles, no scaffolds)
    groups: list[str]  # to hold out in turn, by column `group` of the genes: these chromosomes, or folds, or species
    labels: str  # how the labels were made, in words
    audit: dict  # figures on the sequences
    notes: list[str]
    warnings: list[str]
    coding: np.ndarray | None = None  # of the genes' CDS, float, (n, features), as `windows`; None without CDS lines

    @property
    def with_windows(self):
        """The genes that have a row in `windows`, in its order."""
        return self.genes[self.genes["window_fits"]].reset_index(drop=True)

    @property
    def order(self) -> list[str]:
        """What can be held out, chromosomes in the order of the genome; what is held out only by name comes last."""
        return list(dict.fromkeys([*self.groups, *self.genes["group"]]))


def load_data(settings: SimpleNamespace) -> Dataset:
    """Read everything a run needs: a genome, or with HOLD_OUT species several.

    Raises:
        InputError: a file that cannot be read, or files that do not belong together.
    """
    load = {"chromosome": load_genome, "family": load_families, "species": load_species}[settings.HOLD_OUT]
    data = load(settings)
    if settings.CONTROL:
        data.warnings.append(controls.describe(settings.CONTROL, settings.SHIFT))
        regions = data.layout.regions.values()
        data.training_windows = controls.shuffle_windows(data.windows, regions, settings.CONTROL, settings.SEED)
    return data


def load_families(settings: SimpleNamespace) -> Dataset:
    """Read a genome and spread its genes over FOLDS folds in which no family of FAMILIES is split."""
    from lcre.families import group_by_families, read_families

    families = read_families(settings.FAMILIES)  # what is wrong with it is said before the genome is read
    data = load_genome(settings)
    if settings.VALIDATION_GENES:
        data.warnings.append(
            "only genes of VALIDATION_GENES are scored; for genes without homologs, folds of families change nothing"
        )
    data.groups = group_by_families(data.genes, families, settings.FOLDS, data.layout, data.notes, data.warnings)
    return data


def load_species(settings: SimpleNamespace) -> Dataset:
    """Read the genomes of SPECIES one behind the other; genes are labelled within their species.

    Names of genes and chromosomes get the name of the species in front, as in `yeast:IV`: two species may have the
    same ones.
    """
    import pandas as pd

    from lcre import check
    from lcre.settings import read_species

    parts: list[Dataset] = []
    for species in read_species(settings.SPECIES):
        name = species["ORGANISM"]
        try:
            part = load_genome(SimpleNamespace(**vars(settings) | species))
        except InputError as error:
            raise InputError(f"species {name}: {error}") from None
        for column in ("gene_id", "chromosome"):
            part.genes[column] = f"{name}:" + part.genes[column]
        part.genes["group"], part.groups, part.labels = name, [name], f"{name}: {part.labels}"
        part.chromosomes = [f"{name}:{chromosome}" for chromosome in part.chromosomes]
        part.notes, part.warnings = ([f"{name}: {text}" for text in said] for said in (part.notes, part.warnings))
        parts.append(part)
    layout, size = parts[0].layout, sum(part.windows.nbytes for part in parts)
    require_memory(size, f"windows of {len(parts)} species take", "make UPSTREAM and DOWNSTREAM smaller")
    windows = np.concatenate([part.windows for part in parts])
    audit = {name: sum(part.audit[name] for part in parts) for name in parts[0].audit}

    def join(name: str) -> list[str]:
        return [one for part in parts for one in getattr(part, name)]

    return Dataset(
        genes=pd.concat([part.genes for part in parts], ignore_index=True),
        windows=windows,
        training_windows=windows,
        layout=layout,
        chromosomes=join("chromosomes"),
        groups=join("groups"),
        labels="; ".join(part.labels for part in parts),
        audit=audit | check.audit_windows(windows, layout.visible),
        notes=join("notes"),
        warnings=[*join("warnings"), "this score does not exclude orthologs: those of held-out genes may have trained"],
        coding=None if any(part.coding is None for part in parts) else np.concatenate([part.coding for part in parts]),
    )


def load_genome(settings: SimpleNamespace) -> Dataset:
    """Read TPM, GTF, FASTA and the validation genes of a genome, label the genes and cut their windows."""
    from core.annotation import read_annotation
    from core.genome import open_genome, sort_chromosomes
    from core.names import CHROMOSOME_BRIDGES, GENE_BRIDGES, join_names
    from core.tables import read_expression, read_gene_list, require_row_names
    from lcre import check
    from lcre.codons import read_coding

    column, layout = settings.TARGET_COLUMN, WindowLayout.of(settings)
    expression, notes = read_expression(settings.TPM, column, computed=column == COMPUTED_COLUMN)
    genes, more = read_annotation(settings.GTF, expression.index)
    notes += more
    ids, bridges = genes["gene_id"], GENE_BRIDGES
    partner = join_names(ids, expression.index, bridges, "GTF and TPM have no gene", notes)
    require_row_names(expression, partner, len(genes), settings.TPM)
    notes.append(f"{len(partner):,} of {len(expression):,} genes of the table are in the annotation")
    genes["in_table"] = ids.isin(partner)
    genes["logMaxTPM"] = ids.map(partner).map(expression)
    low, high = find_thresholds(expression, settings)
    genes["target"] = label_genes(genes["logMaxTPM"].to_numpy(float), low, high)
    genes["rank"] = ids.map(partner).map(expression.rank(pct=True))
    notes += check.describe_ties(expression, low, high, (settings.LOW_PERCENTILE, settings.HIGH_PERCENTILE))

    warnings = []
    if settings.VALIDATION_GENES:
        listed = read_gene_list(settings.VALIDATION_GENES, settings.PICKLE_KEY)
        partner = join_names(listed, ids, bridges, "VALIDATION_GENES and GTF have no gene", notes)
        genes["scorable"] = ids.isin(partner.values())
        notes.append(
            f"{len(partner):,} of {len(listed):,} validation genes are in the annotation: only these are scored"
        )
    else:
        genes["scorable"] = True
        if settings.HOLD_OUT == "chromosome":
            warnings.append("no validation genes are given: homologs of test genes in training flatter the score")

    with open_genome(settings.FASTA) as genome:
        what, bridges = "GTF and FASTA have no chromosome", CHROMOSOME_BRIDGES
        partner = join_names(genes["chromosome"], genome.lengths, bridges, what, notes)
        genes["on_genome"] = genes["chromosome"].isin(partner)
        windows, atg = cut_genome(genome, genes, partner, layout)
        coding = read_coding(settings.GTF, genome, genes, partner)
        names = {other: name for name, other in partner.items()}
        nuclear, organelles, scaffolds = sort_chromosomes(genome, names)
        longest = max(genome.lengths.values())
    check.require_windows(genes, layout, longest, "make UPSTREAM smaller")
    genes["status"] = check.gene_status(genes, organelles)
    warnings += check.describe_losses(genes)
    notes += check.describe_chromosomes(organelles, scaffolds, settings.HOLD_OUT)
    labels = f"low: {column} <= {low:.4g}; high: >= {high:.4g}"
    check.require_classes(genes, labels)
    audit = check.audit_genes(genes, atg, layout.downstream) | check.audit_windows(windows, layout.visible)
    genes["group"] = genes["chromosome"]
    return Dataset(genes, windows, windows, layout, nuclear, nuclear, labels, audit, notes, warnings, coding)


# ============================================================================================== windows
@dataclass(frozen=True)
class WindowLayout:
    """Which base of a gene stands in which column of its window: [promoter][padding][terminator].

    The promoter has `upstream` bases before the TSS and `downstream` from it on; the terminator the last `downstream`
    bases of the gene and `upstream` behind it. Both are read on the gene's strand, promoter first. Genes shorter than
    `downstream` are legal: their two regions overlap.
    """

    upstream: int  # bp before the TSS and behind the TES
    downstream: int  # bp from the TSS on and before the TES
    padding: int  # columns of zeros between promoter and terminator
    shown: str | None = None  # the only part that is shown: promoter, terminator, outside or inside; None: all
    shift: int = 0  # bp by which both regions are moved away from the gene

    @classmethod
    def of(cls, settings: SimpleNamespace) -> "WindowLayout":
        """Return the layout that the constants say; runs of older versions have no CONTROL."""
        control = getattr(settings, "CONTROL", None)
        shift = settings.SHIFT if control == "shifted" else 0
        shown = control if control in controls.PARTS else None
        return cls(settings.UPSTREAM, settings.DOWNSTREAM, settings.PADDING, shown, shift)

    @property
    def region_size(self) -> int:
        """Columns of the promoter, and of the terminator."""
        return self.upstream + self.downstream

    @property
    def columns(self) -> int:
        """Columns of a window."""
        return 2 * self.region_size + self.padding

    @property
    def regions(self) -> dict[str, slice]:
        """The columns of promoter and terminator."""
        size = self.region_size
        return {"promoter": slice(0, size), "terminator": slice(self.columns - size, self.columns)}

    @property
    def sites(self) -> dict[str, int]:
        """The column of position 0 of each region: of the TSS, of the first base behind the TES; moved, if they are."""
        return {"promoter": self.upstream, "terminator": self.columns - self.upstream}

    @property
    def parts(self) -> list[slice]:
        """The columns before and behind the TSS, before and behind the TES; the two in the middle are in the gene."""
        promoter, terminator = self.regions.values()
        tss, tes = self.sites.values()
        cuts = [promoter.start, tss, promoter.stop], [terminator.start, tes, terminator.stop]
        return [slice(begin, end) for three in cuts for begin, end in itertools.pairwise(three)]

    @property
    def inside(self) -> list[slice]:
        """The columns inside the gene, behind the TSS and before the TES."""
        return self.parts[1:3]

    @property
    def outside(self) -> list[slice]:
        """The columns outside the gene, before the TSS and behind the TES."""
        return self.parts[::3]

    @property
    def visible(self) -> np.ndarray:
        """Which columns show their base: of the part that is shown, all but the padding and the masked codons.

        Returns:
            Booleans, (columns,).
        """
        promoter, terminator = self.regions.values()
        tss, tes = self.sites.values()
        visible = np.ones(self.columns, bool)
        visible[promoter.stop : terminator.start] = False
        masked = min(MASKED, self.downstream)
        visible[tss : tss + masked] = False  # from the TSS inwards
        visible[tes - masked : tes] = False  # the last bases before the TES
        if self.shown:
            parts = {"promoter": [promoter], "terminator": [terminator]}
            parts |= {"outside": self.outside, "inside": self.inside}
            shown = np.zeros(self.columns, bool)
            for part in parts[self.shown]:
                shown[part] = True
            visible &= shown
        return visible

    def hide(self, windows: np.ndarray) -> None:
        """Set the columns that are not visible to code 4, in place."""
        for column in np.flatnonzero(~self.visible):
            windows[..., column] = 4

    def locate(self, start, end) -> tuple:
        """Return where the two regions of genes [start, end) begin on the chromosome, the left one first, 0-based."""
        return start - self.upstream - self.shift, end - self.downstream + self.shift

    def fits(self, start: np.ndarray, end: np.ndarray, length) -> np.ndarray:
        """Tell which genes have both regions inside their chromosome of `length` bp, first and last base included."""
        left, right = self.locate(start, end)
        return (np.minimum(left, right) >= 0) & (np.maximum(left, right) + self.region_size <= length)


def cut_windows(
    codes: np.ndarray, start: np.ndarray, end: np.ndarray, strand: np.ndarray, layout: WindowLayout
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the windows of genes of one chromosome; nothing is masked.

    Args:
        codes: base codes of the chromosome, uint8, (bp,).
        start, end: 0-based half-open, (genes,). strand: '+' or '-', (genes,).
        layout: of the windows.

    Returns:
        Which genes have a window, booleans, (genes,): it lies inside the chromosome and the strand is known; and the
        base codes of those, uint8, (genes with a window, columns), 4 in the padding.
    """
    fits = layout.fits(start, end, len(codes)) & np.isin(strand, ["+", "-"])
    windows = np.full((int(fits.sum()), layout.columns), 4, np.uint8)
    if not len(windows):
        return fits, windows
    pieces = np.lib.stride_tricks.sliding_window_view(codes, layout.region_size)
    for columns, begin in zip(layout.regions.values(), layout.locate(start[fits], end[fits]), strict=True):
        windows[:, columns] = pieces[begin]
    minus = (strand == "-")[fits]
    complement = np.array([3, 2, 1, 0, 4], np.uint8)
    windows[minus] = complement[windows[minus, ::-1]]  # reversing the whole row also swaps the regions
    return fits, windows


def cut_genome(genome, genes, partner: dict[str, str], layout: WindowLayout) -> tuple[np.ndarray, np.ndarray]:
    """Cut the windows of all coding genes, chromosome by chromosome, and mask start and stop codons.

    Adds to `genes`: sequence_known and window_fits (booleans).

    Args:
        genome: an open `core.genome.Genome`.
        genes: as `core.annotation.read_annotation` gives them.
        partner: the annotation's name of a chromosome -> the genome's.
        layout: of the windows.

    Returns:
        Base codes in the order of `genes`, uint8, (genes with windows, columns); and which genes start with ATG.
    """
    from lcre.check import starts_with_atg

    start, end, strand = genes["start"].to_numpy(), genes["end"].to_numpy(), genes["strand"].to_numpy(str)
    length = genes["chromosome"].map(partner).map(genome.lengths).fillna(0).to_numpy(np.int64)
    known = genes["coding"].to_numpy(bool) & (end <= length)
    fits = known & np.isin(strand, ["+", "-"]) & layout.fits(start, end, length)
    genes["sequence_known"], genes["window_fits"] = known, fits
    count, advice = int(fits.sum()), "make UPSTREAM and DOWNSTREAM smaller"
    require_memory(count * layout.columns, f"windows of {count:,} genes with {layout.columns:,} columns take", advice)
    atg, place = np.zeros(len(genes), bool), np.cumsum(fits) - 1
    windows = np.empty((count, layout.columns), np.uint8)
    for name, here in genes[known].groupby("chromosome", sort=False).groups.items():
        here = here.to_numpy()
        codes = genome.codes(partner[name])
        atg[here] = starts_with_atg(codes, start[here], end[here], strand[here])
        for some in np.array_split(here[fits[here]], len(here) // 1000 + 1):  # few at a time: less memory
            windows[place[some]] = cut_windows(codes, start[some], end[some], strand[some], layout)[1]
    layout.hide(windows)
    return windows, atg


# ============================================================================================== labels
def find_thresholds(expression, settings: SimpleNamespace) -> tuple[float, float]:
    """Return the values at the low and the high percentile over all genes of the table."""
    percentiles = [settings.LOW_PERCENTILE, settings.HIGH_PERCENTILE]
    low, high = (float(value) for value in np.percentile(expression, percentiles))
    if low == high:
        raise InputError(
            f"a single class: the {percentiles[0]:g}th and the {percentiles[1]:g}th percentile of "
            f"{settings.TARGET_COLUMN} are both {low:g}; too many genes have that very value"
        )
    return low, high


def label_genes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 for values <= low, 1 for values >= high, 2 between, -1 for nan; int8, (genes,)."""
    return np.select([np.isnan(values), values <= low, values >= high], [-1, 0, 1], 2).astype(np.int8)


# ============================================================================================== folds
@dataclass
class Fold:
    """What is held out together: rows of the windows, nothing copied. No held-out row trains or chooses."""

    name: str
    groups: list[str]  # held out: chromosomes, folds of families, or species
    chosen_on: str | None  # the chromosome, or fold of families, whose genes choose the epoch
    balanced: np.ndarray  # low and high genes that train, as many of each
    middle: np.ndarray  # the genes between them that train, for a model that trains on them; else none
    validation: np.ndarray  # low and high genes that may be scored, of those that choose the epoch
    test: np.ndarray  # low and high genes that may be scored, of those that are held out
    held_out: np.ndarray  # every gene with a window that is held out
    tolerance: float  # differences in auROC on the validation genes that are taken for chance

    @property
    def training(self) -> np.ndarray:
        """The rows of every gene that trains."""
        return np.concatenate([self.balanced, self.middle])

    def entropy(self, seed: int) -> list[int]:
        """Return the entropy of this fold's random draws: it depends on its name, not on the other folds."""
        return fold_entropy(self.name, seed)


def fold_entropy(name: str, seed: int) -> list[int]:
    """Return the entropy of the random draws of the fold `name`."""
    return [seed, zlib.crc32(name.encode())]


@dataclass
class Candidates:
    """What decides which genes may train, choose the epoch and test; arrays over the genes with windows, (genes,)."""

    target: np.ndarray  # 0 low, 1 high, 2 middle, -1 none
    group: np.ndarray  # a gene is held out with its chromosome, its fold of families, or its species
    block: np.ndarray  # and chooses the epoch with its chromosome, or its fold of families
    family: np.ndarray | None  # a number; None unless families are held out
    start: np.ndarray
    end: np.ndarray
    used: np.ndarray  # may train: status `used`
    scorable: np.ndarray  # low and high genes that may be scored; of organelles only where chromosomes are held out
    window: np.ndarray  # a number that is the same for identical windows
    reach: int  # bp of a window beyond its gene

    @classmethod
    def of(cls, data: Dataset, hold_out: str) -> "Candidates":
        """Return those of a data set; `hold_out` is chromosome, family or species."""
        from lcre.check import fingerprint_windows

        genes = data.with_windows
        target, used = genes["target"].to_numpy(), (genes["status"] == "used").to_numpy()
        scorable = np.isin(target, [0, 1]) & (genes["scorable"] & genes["in_table"]).to_numpy(bool)
        return cls(
            target=target,
            group=genes["group"].to_numpy(str),
            block=genes["group" if hold_out == "family" else "chromosome"].to_numpy(str),
            family=genes["family"].to_numpy() if hold_out == "family" else None,
            start=genes["start"].to_numpy(),
            end=genes["end"].to_numpy(),
            used=used,
            scorable=scorable if hold_out == "chromosome" else scorable & used,
            window=fingerprint_windows(data.windows),
            reach=max(data.layout.upstream, data.layout.downstream),
        )

    def have_both_classes(self, rows: np.ndarray) -> bool:
        """Tell whether there are low and high genes among `rows`."""
        return {0, 1} <= set(self.target[rows].tolist())

    def count_classes(self, rows: np.ndarray) -> tuple[int, int]:
        """Return the numbers of low and of high genes among `rows`."""
        return int((self.target[rows] == 0).sum()), int((self.target[rows] == 1).sum())

    def identical_to(self, rows: np.ndarray) -> np.ndarray:
        """Tell which genes have a window that is identical to one of `rows`, those included."""
        return np.isin(self.window, self.window[rows])


def make_folds(data: Dataset, settings: SimpleNamespace, groups: list[list[str]] | None = None) -> list[Fold]:
    """Split the genes for leaving groups of them out in turn: chromosomes, folds of families, or species.

    Args:
        data: the genes, labelled.
        settings: HOLD_OUT says what the groups are, CHROMOSOMES which of them to hold out.
        groups: to hold out together, fold by fold, instead of those.

    Raises:
        InputError: a group that does not exist, stands twice or has only one class; nothing left to train on.
    """
    genes = Candidates.of(data, settings.HOLD_OUT)
    able = genes.scorable & genes.used
    blocks = data.groups if settings.HOLD_OUT == "family" else data.chromosomes
    order = [name for name in blocks if genes.have_both_classes(able & (genes.block == name))]
    if settings.HOLD_OUT == "species":  # the largest chromosome of the next species chooses
        sizes = {name: (able & (genes.block == name)).sum() for name in order}
        order.sort(key=lambda name: (data.groups.index(name.partition(":")[0]), -sizes[name]))
    each = order if settings.HOLD_OUT == "chromosome" else data.groups
    groups = groups or name_groups(settings, each, genes.group)
    if not groups:
        low, high = genes.count_classes(able)
        raise InputError(
            f"no chromosome has both low and high genes that may be scored (in all {low:,} low and {high:,} high; "
            "scaffolds and organelles are not held out); CHROMOSOMES can hold out several together, as in I+II"
        )
    return [make_fold(genes, group, order, settings) for group in groups]


def name_groups(settings: SimpleNamespace, each: list[str], present: np.ndarray) -> list[list[str]]:
    """Return the groups to hold out together, fold by fold: CHROMOSOMES 'IV+VII,X' gives [[IV, VII], [X]].

    Args:
        settings: CHROMOSOMES and HOLD_OUT.
        each: the groups that CHROMOSOMES 'all' holds out, in their order.
        present: group of every gene with a window.
    """
    from core.names import CHROMOSOME_BRIDGES, bridge_names

    chromosomes, by_chromosome = settings.CHROMOSOMES, settings.HOLD_OUT == "chromosome"
    if chromosomes == "all":
        return [[name] for name in each]
    known = list(dict.fromkeys(present.tolist())) if by_chromosome else each
    groups = [[group.strip()] if group.strip() in known else group.split("+") for group in chromosomes.split(",")]
    groups = [[part.strip() for part in group] for group in groups]
    wanted = [part for group in groups for part in group]
    meant, _ = bridge_names(wanted, known, CHROMOSOME_BRIDGES if by_chromosome else ())
    wrong = [name for name in wanted if name not in meant]
    if wrong:
        lacks = "no gene has a window on" if by_chromosome else f"HOLD_OUT {settings.HOLD_OUT} has no"
        raise InputError(f"CHROMOSOMES: {lacks} {examples(wrong)}; there are {examples(known, 12)}")
    if len({meant[name] for name in wanted}) < len(wanted):
        raise InputError(f"CHROMOSOMES: {chromosomes!r} names a {WAYS[settings.HOLD_OUT].fold} twice")
    return [[meant[part] for part in group] for group in groups]


def make_fold(genes: Candidates, group: list[str], order: list[str], settings: SimpleNamespace) -> Fold:
    """Return the fold that holds out the genes of `group`.

    Args:
        genes: all of them.
        group: chromosomes, folds of families, or species to hold out.
        order: the blocks (chromosomes, or folds of families) that can choose the epoch, in their order.
        settings: HOLD_OUT, MODEL, SELECT_ON and SEED.

    Raises:
        InputError: nothing to test on, to choose the epoch on, or to train on.
    """
    name, model, way = "+".join(group), MODELS[settings.MODEL], WAYS[settings.HOLD_OUT]
    if name == "pooled":
        raise InputError("a chromosome is called 'pooled', as a row of the result table is; rename it in the inputs")
    held_out = np.isin(genes.group, group)
    test = held_out & genes.scorable
    if not genes.have_both_classes(test):
        low, high = genes.count_classes(test)
        raise InputError(
            f"CHROMOSOMES: {name} has no low or no high genes that may be scored ({low} low, {high} high); "
            f"{way.too_few}"
        )
    identical = genes.used & genes.identical_to(held_out) & ~held_out
    train = genes.used & ~held_out & ~identical  # a held-out window that stands elsewhere too is given away
    told = f" ({identical.sum():,} other genes have windows identical to held-out ones)" if identical.any() else ""
    validation, chosen, tolerance = np.zeros(len(train), bool), None, 0.0
    if settings.SELECT_ON == "validation":
        places = [order.index(block) for block in set(genes.block[held_out].tolist()) if block in order]
        last = max(places, default=-1)
        chosen = choose_block(genes, train, order[last + 1 :] + order[: last + 1])
        if chosen is None:
            ways = "hold out fewer, or try SELECT_ON test"
            if settings.HOLD_OUT == "species" and identical.any():
                ways = "are two rows of SPECIES the same genome?"
            raise InputError(f"fold {name}: nothing else is left to choose the epoch on{told}; {ways}")
        if genes.family is None:
            validation, aside = split_chromosome(genes, train, chosen)
        else:
            random = np.random.default_rng(fold_entropy(name, settings.SEED))
            validation, aside = split_families(genes, train, chosen, random)
        train &= ~aside & ~genes.identical_to(validation)
        tolerance = auroc_error(*genes.count_classes(validation)) if model.prefers_last_epoch else 0.0
    if not genes.have_both_classes(train):
        raise InputError(f"fold {name}: no low or no high genes are left to train on{told}; hold out fewer {way.what}")
    middle = train & (genes.target == 2) & model.trains_on_middle_genes
    low_and_high = np.flatnonzero(train & np.isin(genes.target, [0, 1]))
    parts = (np.flatnonzero(rows) for rows in (middle, validation, test, held_out))
    fold = Fold(name, group, chosen, low_and_high, *parts, tolerance)
    fold.balanced = balance(low_and_high, genes.target, np.random.default_rng(fold.entropy(settings.SEED)))
    return fold


def choose_block(genes: Candidates, train: np.ndarray, order: list[str]) -> str | None:
    """Return the first block of `order` that has low and high genes to choose the epoch on; None if none has.

    Args:
        genes: all of them.
        train: which of them may train, booleans, (genes,): none that is held out.
        order: behind the held-out ones, round the genome.
    """
    able = train & genes.scorable
    return next((name for name in order if genes.have_both_classes(able & (genes.block == name))), None)


def split_chromosome(genes: Candidates, train: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Split the chromosome that chooses the epoch: all of it, or, of a large one, the genes of its first end.

    Args:
        genes: all of them.
        train: which of them may train, booleans, (genes,).
        name: of the chromosome.

    Returns:
        The low and high genes that choose the epoch, and the genes that therefore do not train: those up to there,
        and those behind whose windows overlap theirs; booleans, (genes,).
    """
    aside = genes.block == name
    validation = train & genes.scorable & aside
    first = validation & (genes.start <= np.sort(genes.start[validation])[:CHOOSE_ON][-1])
    if first.sum() == validation.sum() or not genes.have_both_classes(first):
        return validation, aside
    return first, aside & (genes.start < genes.end[first].max() + 2 * genes.reach)


def split_families(
    genes: Candidates, train: np.ndarray, name: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split the fold of families that chooses the epoch: all of it, or, of a large one, families drawn from it.

    Args:
        genes: all of them.
        train: which of them may train, booleans, (genes,).
        name: of the fold of families.
        random: draws the families.

    Returns:
        The low and high genes that choose the epoch, and all genes of their families, which therefore do not train;
        booleans, (genes,).
    """
    inside = genes.block == name
    validation = train & genes.scorable & inside
    families, sizes = np.unique(genes.family[validation], return_counts=True)
    drawn = random.permutation(len(families))
    enough = np.searchsorted(np.cumsum(sizes[drawn]), CHOOSE_ON) + 1
    aside = np.isin(genes.family, families[drawn[:enough]])
    if not genes.have_both_classes(validation & aside):
        return validation, inside
    return validation & aside, aside


def balance(rows: np.ndarray, target: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return `rows` with the larger class down-sampled to the size of the smaller, in ascending order."""
    low, high = rows[target[rows] == 0], rows[target[rows] == 1]
    size = min(len(low), len(high))
    return np.sort(np.concatenate([random.permutation(low)[:size], random.permutation(high)[:size]]))


# ============================================================================================== models
@dataclass
class Network:
    """A network as it is trained. `model` is what is saved; the other parts share its layers.

    Attributes:
        model: keras.Model from one-hot windows, float32, (genes, columns, 4), to the probability of being high,
            (genes, 1).
        trained: keras.Model from the same windows to what the training step fits to the targets, (genes, outputs).
        kmer_counts: keras.Model from the same windows to k-mer counts, (genes, features); None without a regression.
        regression: Dense layer on these counts, fitted before the first step.
        blocks: sizes of the kinds of counts that are scaled apart for the regression; none: all together.
    """

    model: object
    trained: object = None
    kmer_counts: object = None
    regression: object = None
    blocks: Sequence[int] = ()

    def __post_init__(self):
        self.trained = self.trained or self.model


def build_published(layout: WindowLayout) -> Network:
    """Build the network of the LCRE description; all of it is trained."""
    from keras import Sequential, layers

    def convolutions(filters: int) -> list:
        return [layers.Conv1D(filters, 8, padding="same", activation="relu") for _ in range(2)]

    def pooling() -> list:
        return [layers.MaxPooling1D(8, padding="same"), layers.Dropout(0.25)]

    model = Sequential(
        [
            layers.Input((layout.columns, 4)),
            *convolutions(64),
            *pooling(),
            layers.LayerNormalization(),
            layers.LSTM(64, return_sequences=True),
            layers.Dropout(0.25),
            *convolutions(128),
            *pooling(),
            *convolutions(64),
            *pooling(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.25),
            layers.Dense(64, activation="relu"),
            layers.Dense(1, activation="sigmoid", dtype="float32"),
        ],
        name="published",
    )
    return Network(model)


def build_cnn_lstm_kmer(
    layout: WindowLayout, branches: int = 2, fine: bool = False, branch_weight: float = 1.0
) -> Network:
    """Build a network that adds the logits of CNN-BiLSTM branches and of a regression on k-mer counts.

    Branches are alike but for their random weights. Each has two stems: one looks for motifs anywhere, the other moves
    by codons and sees where the reading frame is, which is the same in every window. Both pool at once, so that
    nearly everything runs on short sequences. Each branch is trained by itself, and the mean of their logits counts:
    trained together they would lean on the one that overfits.

    The regression is linear in how often every 3-mer stands in each 100 bp (of regions of 1,500 bp; else in proportion)
    and every 4-mer in each 500 bp before and behind TSS and TES, and inside the gene every codon of each of the three
    frames in each 180 bp. It is fitted before the branches are trained (`fit_kmer_regression`).

    Args:
        layout: of the windows.
        branches: how many CNN-BiLSTM branches.
        fine: count k-mers next to TSS and TES, outside of the gene, in fine bins as well (`lcre.kmers.FINE`), each kind
            scaled by itself.
        branch_weight: of the mean of the branches' logits while it trains, that of the regression being 1.
    """
    import keras
    from keras import layers

    from lcre.kmers import count_in_bins, plan_bins, plan_fine_bins

    def normalise(sequence):  # behind pooling, where few columns are left
        return layers.Dropout(0.25)(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(sequence)))

    def branch(windows):
        anywhere = layers.Conv1D(96, 12, padding="same", use_bias=False)(windows)
        in_frame = layers.Conv1D(96, 15, strides=3, padding="same", use_bias=False)(windows)
        stems = [layers.MaxPooling1D(9, padding="same")(anywhere), layers.MaxPooling1D(3, padding="same")(in_frame)]
        sequence = normalise(layers.Concatenate()(stems))
        sequence = layers.Conv1D(128, 6, padding="same", use_bias=False)(sequence)
        sequence = normalise(layers.MaxPooling1D(4, padding="same")(sequence))
        sequence = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(sequence)
        sequence = layers.Conv1D(32, 1, activation="relu")(layers.Dropout(0.25)(sequence))
        bins = layers.Flatten()(layers.AveragePooling1D(8, padding="same")(sequence))
        return layers.Dense(1)(layers.Dropout(0.5)(layers.Dense(64, activation="relu")(bins)))

    windows = layers.Input((layout.columns, 4))
    branch_logits = layers.Concatenate(dtype="float32")([branch(windows) for _ in range(branches)])
    bins = plan_bins(layout.parts, layout.inside, layout.region_size)
    bins += plan_fine_bins(layout.outside, list(layout.sites.values())) if fine else []
    counts = [count_in_bins(windows, *one) for one in bins]
    kmer_counts = layers.Concatenate(dtype="float32")(counts)
    regression = layers.Dense(1, kernel_initializer="zeros", trainable=False, dtype="float32")
    logits = layers.Concatenate(dtype="float32")([branch_logits, regression(kmer_counts)])
    total = layers.Dense(1, "sigmoid", use_bias=False, trainable=False, dtype="float32")
    model = keras.Model(windows, total(logits), name="cnn_lstm_kmer")
    total.set_weights([np.array([[branch_weight / branches]] * branches + [[1]])])
    blocks = [one.shape[1] for one in counts] if fine else []
    return Network(model, keras.Model(windows, branch_logits), keras.Model(windows, kmer_counts), regression, blocks)


def class_targets(labels: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return 0 for low and 1 for high genes, float32, (genes,); see `Model.targets`."""
    return labels.astype(np.float32)


def rank_targets(labels: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the probability of being high by the rank of each gene's expression; see `Model.targets`."""
    return (1 / (1 + np.exp(-rank_log_odds(ranks)))).astype(np.float32)


def rank_log_odds(ranks: np.ndarray) -> np.ndarray:
    """Return the log-odds of being high that a gene of each rank of expression, 0 to 1, gets as its target."""
    return RANK_SLOPE * (ranks - 0.5)


def fit_kmer_regression(
    network: Network, codes: np.ndarray, labels: np.ndarray, ranks: np.ndarray, penalty: float = PENALTY
) -> str:
    """Fit the regression on k-mer counts to the log-odds by rank; penalty as in `fit_ridge`. See `Model.fit_first`."""
    from lcre.kmers import fit_ridge

    fit_ridge(network.regression, network.kmer_counts, codes, rank_log_odds(ranks), penalty, network.blocks)
    return f"regression on {network.kmer_counts.output_shape[1]:,} k-mer counts fitted"


def crossentropy(targets, outputs, from_logits: bool = False):
    """Return the mean binary cross-entropy of every output, (genes, outputs), against its gene's target, (genes,)."""
    import keras
    import tensorflow as tf

    loss = keras.losses.BinaryCrossentropy(from_logits=from_logits)
    return loss(tf.broadcast_to(targets[:, None], tf.shape(outputs)), outputs)


def adam(learning_rate: float):
    """Return Keras' Adam."""
    import keras

    return keras.optimizers.Adam(learning_rate)


def adamw(learning_rate: float):
    """Return Keras' AdamW with a weight decay of 0.01."""
    import keras

    return keras.optimizers.AdamW(learning_rate, weight_decay=0.01)


def constant_rate(peak: float, step: int, steps: int) -> float:
    """Return the same learning rate for every step; see `Model.schedule`."""
    return peak


def one_cycle(peak: float, step: int, steps: int) -> float:
    """Return a rate that goes up in a straight line over a fifth of the steps and down a half cosine over the rest."""
    warmup = max(steps // 5, 1)
    if step < warmup:
        return peak * (1 + 24 * step / warmup) / 25
    down = (step - warmup) / max(steps - warmup, 1)
    return peak * (0.001 + 0.999 * (1 + math.cos(math.pi * down)) / 2)


@dataclass(frozen=True)
class Model:
    """All that makes a model: how it is built, what it is trained on, and how. A new one is an entry of `MODELS`."""

    build: Callable[[WindowLayout], Network]
    learning_rate: float  # at its peak
    targets: Callable = class_targets  # labels (0 low, 1 high, 2 middle) and ranks (0 to 1) -> targets, float32
    trains_on_middle_genes: bool = False
    fit_first: Callable | None = None  # network, codes, labels, ranks of the training genes; returns what it did
    loss: Callable = crossentropy  # targets (genes,) and outputs (genes, outputs) -> a number
    called_high_above: float = 0.5  # by the mean of the outputs that are trained; 0 for logits
    optimizer: Callable = adam  # peak of the learning rate -> keras.Optimizer
    schedule: Callable = constant_rate  # peak, step from 0, steps of the whole training -> learning rate
    prefers_last_epoch: bool = False  # unless another is better by more than chance: where the rate ends at zero
    batch_size: int = 64
    epochs: int | None = None  # None: as many as make about `steps` steps
    steps: int = 700
    branches: int = 1  # alike in work, to be computed side by side
    branch_weights: Sequence[float] = ()  # of branches beside a regression, to choose from where the epoch is chosen
    loss_note: str = ""  # what the page has to say of the loss in training

    def count_steps(self, genes: int) -> int:
        """Return the steps of an epoch over this many genes."""
        return -(-genes // self.batch_size)

    def count_epochs(self, steps_per_epoch: int) -> int:
        """Return the epochs for this many steps in each: short of data, more of them, within 6 to 40."""
        return self.epochs or min(max(round(self.steps / steps_per_epoch), 6), 40)


MODELS = {
    "published": Model(build_published, learning_rate=1e-4, epochs=35),
    "cnn_lstm_kmer": Model(
        build_cnn_lstm_kmer,
        learning_rate=2e-3,
        targets=rank_targets,
        trains_on_middle_genes=True,
        fit_first=fit_kmer_regression,
        loss=partial(crossentropy, from_logits=True),
        called_high_above=0.0,
        optimizer=adamw,
        schedule=one_cycle,
        prefers_last_epoch=True,
        branches=2,
        loss_note="This network's loss in training is that of its branches on the rank of every gene, middle ones too: "
        "it stays above .47 even for a perfect network, and does not compare with the other two.",
    ),
}
MODELS["cnn_lstm_kmer_fine"] = replace(
    MODELS["cnn_lstm_kmer"],
    build=partial(build_cnn_lstm_kmer, fine=True, branch_weight=0.3),
    branch_weights=(0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    fit_first=partial(fit_kmer_regression, penalty=4.0),
)


def choose_model(settings: SimpleNamespace) -> Model:
    """Return the entry of `MODELS` with what the settings say in place of its own."""
    said = {"epochs": settings.EPOCHS, "batch_size": settings.BATCH_SIZE, "learning_rate": settings.LEARNING_RATE}
    return replace(MODELS[settings.MODEL], **{name: value for name, value in said.items() if value is not None})


# ============================================================================================== training
class Trainer:
    """A network with its training step and its predictor, which serve one fold after another.

    Building their graphs anew takes as long as many steps. What one fold leaves behind no other sees: it begins with
    `begin`, or with the `load_weights` of the model, which brings the state of the optimizer too.

    Args:
        model: what is trained, and how.
        codes: base codes of all windows as training shows them, uint8, (genes, columns).
        layout: of the windows.
    """

    def __init__(self, model: Model, codes: np.ndarray, layout: WindowLayout):
        from lcre.speed import speed_up
        from lcre.trained import make_predictor

        self.model, self.layout = model, layout
        self.network = model.build(layout)
        self.optimizer = model.optimizer(model.learning_rate)
        self.network.model.compile(self.optimizer)  # so that it is saved with the model
        speed_up(self.network.model)
        self.step = self.make_step(codes)
        self.predict = make_predictor(self.network.model)
        self.unused = [variable.numpy() for variable in self.optimizer.variables]

    def begin(self) -> None:
        """Take the weights of a network built anew, and bring the optimizer back to where it was before any step."""
        self.network.model.set_weights(self.model.build(self.layout).model.get_weights())
        for variable, value in zip(self.optimizer.variables, self.unused, strict=True):
            variable.assign(value)

    def make_step(self, codes: np.ndarray) -> Callable:
        """Return the training step, a tf.function.

        It takes rows of `codes`, int64, (batch,), the target of each, float32, (batch,), and the learning rate; it
        returns loss and accuracy before the step.
        """
        import tensorflow as tf

        trained, optimizer = self.network.trained, self.optimizer
        weights = self.network.model.trainable_variables
        if not optimizer.built:
            optimizer.build(weights)
        with tf.device("CPU:0"):  # windows are held and encoded there, also for a GPU
            held = tf.constant(codes)

        # XLA is left off: on CPUs it made every network here slower.
        arguments = ((None,), tf.int64), ((None,), tf.float32), ((), tf.float32)

        @tf.function(input_signature=[tf.TensorSpec(*one) for one in arguments])
        def step(rows, targets, rate):
            with tf.device("CPU:0"):
                windows = tf.one_hot(tf.gather(held, rows), 4)
            with tf.GradientTape() as tape:
                outputs = trained(windows, training=True)
                loss = self.model.loss(targets, outputs)
                scaled = optimizer.scale_loss(loss)
            optimizer.learning_rate = rate
            optimizer.apply(tape.gradient(scaled, weights), weights)
            high = tf.reduce_mean(outputs, axis=1) > self.model.called_high_above
            return loss, tf.reduce_mean(tf.cast(high == (targets > 0.5), tf.float32))

        return step

    def seed_dropout(self, random: np.random.Generator) -> None:
        """Draw the random state of every Dropout layer anew; Keras leaves it out of checkpoints."""
        for variable in self.network.model.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign([random.integers(2**31), 0])


def train_fold(
    fold: Fold, data: Dataset, trainer: Trainer, settings: SimpleNamespace, checkpoints: Checkpoints, progress: Progress
) -> None:
    """Train the epochs of one fold that are not on disk yet, and keep the best model.

    After each epoch its checkpoint (weights and optimizer) is written and then its row of the log; an epoch of which
    one is missing or damaged is trained, from the checkpoint before it. Everything random in an epoch, the order of the
    data and what is dropped out, depends on seed, fold and epoch only, so nothing else needs to be kept.

    Args:
        fold: its rows of the windows.
        data: windows, labels and ranks.
        trainer: of the run.
        settings: SELECT_ON and SEED.
        checkpoints: of the fold.
        progress: of the run.
    """
    import keras

    from lcre.results import best_epoch, score_cells

    windows, model, network = data.windows, trainer.model, trainer.network.model
    labels, ranks = label_rows(fold, data, settings)
    targets, training = model.targets(labels, ranks), fold.training
    steps = model.count_steps(len(training))
    epochs = model.count_epochs(steps)
    for sentence in checkpoints.read(epochs):
        progress.line(f"fold {fold.name}: {sentence}")
    progress.skip(steps * len(checkpoints.log))
    waiting = [epoch for epoch in range(epochs) if epoch not in checkpoints.log]
    if waiting and waiting[0]:
        progress.line(f"fold {fold.name} goes on after epoch {waiting[0] - 1}")
    choose = partial(best_epoch, select_on=settings.SELECT_ON, tolerance=fold.tolerance)
    measure = "val_auROC" if settings.SELECT_ON == "validation" else "test_auROC"
    reached = None  # the epoch behind which the network is
    entropy = fold.entropy(settings.SEED)
    keras.utils.set_random_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1))
    began = time.perf_counter()  # what is fitted first belongs to the first epoch
    for epoch in waiting:
        if epoch == 0:
            trainer.begin()
            if model.fit_first:
                codes = data.training_windows[training]
                said = model.fit_first(trainer.network, codes, labels[training], ranks[training])
                progress.line(f"fold {fold.name}  {said}")
        elif reached != epoch - 1:
            network.load_weights(checkpoints.file(epoch - 1))
        random = np.random.default_rng([*entropy, epoch])
        order = random.permutation(training)
        trainer.seed_dropout(random)
        sums = np.zeros(3)  # of genes, and of their loss and accuracy
        with progress.whole_steps():
            for step, rows in enumerate(np.array_split(order, steps), 1):  # even: a few genes upset normalisation
                rate = model.schedule(model.learning_rate, epoch * steps + step - 1, epochs * steps)
                sums += np.multiply([1, *trainer.step(rows, targets[rows], rate)], len(rows))
                _, loss, accuracy = sums / sums[0]
                progress.step(f"fold {fold.name}  epoch {epoch}/{epochs - 1}  step {step}/{steps}  loss {loss:.3f}")
        row = {
            "epoch": str(epoch),
            "loss": f"{loss:.6f}",
            "accuracy": f"{accuracy:.6f}",
            **score_cells("val", labels[fold.validation], trainer.predict(windows[fold.validation])),
            **score_cells("test", labels[fold.test], trainer.predict(windows[fold.test])),
            "learning_rate": f"{rate:.6g}",
            "seconds": f"{time.perf_counter() - began:.2f}",
        }
        chosen = checkpoints.finish_epoch(epoch, network, row, choose)
        reached = epoch
        scored = f"loss {float(row['loss']):.3f}  {measure} {float(row[measure]):.3f} (chosen: epoch {chosen})"
        line = f"fold {fold.name}  epoch {epoch:>2}/{epochs - 1}  {scored}  {row['seconds']} s"
        progress.line(line, with_time_left=True)
        began = time.perf_counter()
    checkpoints.keep_best(checkpoints.log, choose)


def label_rows(fold: Fold, data: Dataset, settings: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Return label and rank of each gene with a window, (genes,) each; CONTROL permuted exchanges those that train."""
    genes = data.with_windows
    labels, ranks = genes["target"].to_numpy(), genes["rank"].to_numpy()
    if settings.CONTROL != "permuted":
        return labels, ranks
    return controls.permute_labels(
        labels, ranks, [fold.balanced, fold.middle], np.random.default_rng([*fold.entropy(settings.SEED), len(labels)])
    )


def finish_fold(
    fold: Fold, data: Dataset, settings: SimpleNamespace, checkpoints: Checkpoints, progress: Progress
) -> None:
    """Calibrate the network of the chosen epoch, predict the held-out genes, and fit the baselines.

    Writes best_model.keras, calibrated on the genes that chose the epoch and computing in float32, so that it gives the
    same numbers on any machine; then predictions.csv, the sign that the fold is finished: gene_id, probability, and for
    test genes kmer, gc, outside, inside and codon; and each gene's probability before calibration, uncalibrated.

    Args:
        fold: its rows of the windows.
        data: windows, labels and ranks.
        settings: CONTROL, MODEL and SEED.
        checkpoints: of the fold, all epochs trained.
        progress: of the run.
    """
    import pandas as pd
    from scipy.special import expit

    from lcre.baselines import predict_baselines
    from lcre.calibration import fit_calibration, fold_into, weigh_branches
    from lcre.trained import load_model, make_predictor, without_sigmoid

    genes, windows, (labels, ranks) = data.with_windows, data.windows, label_rows(fold, data, settings)
    network = load_model(checkpoints.file(checkpoints.best), data.layout.columns)
    choosing = fold.validation if len(fold.validation) else fold.test  # SELECT_ON test
    if weights := MODELS[settings.MODEL].branch_weights:
        weight = weigh_branches(network, windows[choosing], labels[choosing], weights)
        progress.line(f"fold {fold.name}  weight of the branches, on {len(choosing):,} genes: {weight or 'as it was'}")
    predict = make_predictor(without_sigmoid(network))
    others = np.setdiff1d(np.flatnonzero(np.isin(labels, [0, 1])), fold.held_out)
    scale, offset = fit_calibration(predict(windows[choosing]), labels[choosing], labels[others].mean())
    calibrated = fold_into(network, scale, offset)
    progress.line(
        f"fold {fold.name}  probabilities calibrated on {len(choosing):,} genes: log-odds x {scale:.3f} {offset:+.3f}"
    )
    log_odds = predict(windows[fold.held_out])
    frame = pd.DataFrame(index=fold.held_out)
    frame["gene_id"] = genes["gene_id"].map(escape_cell).to_numpy()[fold.held_out]
    frame["probability"] = expit(scale * log_odds + offset)
    if data.training_windows is not windows:  # the baselines train on what the network trains on
        windows = windows.copy()
        windows[fold.training] = data.training_windows[fold.training]
    random = np.random.default_rng(fold.entropy(settings.SEED))
    baselines = predict_baselines(windows, data.layout, labels, rank_log_odds(ranks), fold, random, data.coding)
    for name, probability in baselines.items():
        frame.loc[fold.test, name] = probability
    frame["uncalibrated"] = expit(log_odds)
    with replacing(checkpoints.log_file.parent / "predictions.csv") as temporary:
        frame.round(8).to_csv(temporary, index=False)
        beside = show_tables(checkpoints, temporary, list(checkpoints.log.values()))
        checkpoints.write_model(checkpoints.best_file, checkpoints.best, calibrated, beside)


def show_tables(checkpoints: Checkpoints, predictions: Path, log: list[dict[str, str]]) -> bytes:
    """Return the tables of a finished fold as the hash in best_model.keras takes them, which tells when one is changed.

    Args:
        checkpoints: of the fold.
        predictions: the file of its predictions.
        log: rows of its log.
    """
    return b"\n".join([*map(checkpoints.show_row, log), predictions.read_bytes()])


# ============================================================================================== leave one out
def leave_one_chromosome_out(
    data: Dataset, folds: list[Fold], settings: SimpleNamespace, prefix: Path, run: dict
) -> str:
    """Train every fold that is not finished, writing results as they come.

    Args:
        data: genes and windows.
        folds: to train.
        settings: of the run.
        prefix: saved_models/O.
        run: the record of the run.

    Returns:
        What it was computed on, in words; "" where every fold was finished.
    """
    from core.executor import open_workers
    from lcre.results import show_fold, write_roles
    from lcre.settings import with_absolute_paths

    genes, model, identity = data.with_windows, choose_model(settings), records.identify_run(run)
    known, waiting = {fold.name: fold for fold in folds}, []
    for fold in folds:
        checkpoints = open_checkpoints(fold, prefix, identity)
        write_roles(records.fold_folder(prefix, fold.name), fold, genes["gene_id"])
        epochs = model.count_epochs(model.count_steps(len(fold.training)))
        if not is_finished(fold, epochs, genes["gene_id"].to_numpy(), checkpoints, settings):
            waiting.append(fold)
    if not waiting:
        print("every fold is finished already; --overwrite begins anew")
        return ""
    records.forget_models(prefix)
    steps = [model.count_steps(len(fold.training)) for fold in waiting]
    progress = Progress(sum(count * model.count_epochs(count) for count in steps))
    tasks = {f"fold {fold.name}": (fold, prefix.absolute(), identity) for fold in waiting}
    with open_workers(settings.JOBS, settings.SCHEDULER, len(tasks)) as workers:
        if workers.here:
            trainer, device = start_training(data, settings, progress)
            train = partial(train_one, trainer, data, settings)
        else:
            progress.line(f"folds side by side: {workers.where}")
            train, hashes = train_one_in_worker, {name: file["sha256"] for name, file in run["inputs"].items()}
            shared = with_absolute_paths(settings), hashes
            tasks = {name: (*shared, fold.groups, *task) for name, (fold, *task) in tasks.items()}
        for name, computed_on in workers.run(train, tasks.items(), progress):
            device = computed_on or device
            progress.line(show_fold(write_tables(prefix, known, data, settings), name.removeprefix("fold ")))
    return device


def open_checkpoints(fold: Fold, prefix: Path, identity: str) -> Checkpoints:
    """Return the epochs of a fold on disk; `identity` is a hash of the run."""
    from lcre.results import LOG_COLUMNS

    return Checkpoints(records.fold_folder(prefix, fold.name), f"{identity} {fold.name}", LOG_COLUMNS)


def start_training(data: Dataset, settings: SimpleNamespace, progress: Progress) -> tuple[Trainer, str]:
    """Start TensorFlow and build the network; return its trainer and what it is computed on, in words."""
    from core.device import start_tensorflow

    model = choose_model(settings)
    device = start_tensorflow(model.branches)
    progress.line(f"{progress.worker}computing on {device}")
    return Trainer(model, data.training_windows, data.layout), device


def train_one(
    trainer: Trainer,
    data: Dataset,
    settings: SimpleNamespace,
    fold: Fold,
    prefix: Path,
    identity: str,
    progress: Progress,
) -> None:
    """Train a fold, and predict what it holds out.

    The process that was started for the fold holds the claim on it. The lock taken here is that of who trains it: a
    worker that its scheduler has given up, because it did not answer, may still be at it.

    Args:
        trainer: of the run.
        data: windows, labels and ranks.
        settings: of the run.
        fold: its rows of the windows.
        prefix: saved_models/O.
        identity: hash of the run.
        progress: of the run.
    """
    progress.line(
        f"fold {fold.name}: {len(fold.training):,} genes train, {len(fold.validation):,} on "
        f"{fold.chosen_on or 'no others'} choose the epoch, {len(fold.test):,} test"
    )
    checkpoints = open_checkpoints(fold, prefix, identity)
    with records.lock_fold(prefix, fold.name):
        train_fold(fold, data, trainer, settings, checkpoints, progress)
        finish_fold(fold, data, settings, checkpoints, progress)


LOADED: dict[str, tuple[Dataset, Trainer, str]] = {}  # by a worker process, for the run whose fold it trained last


def train_one_in_worker(
    settings: SimpleNamespace, inputs: dict[str, str], groups: list[str], *task, progress: Progress
) -> str:
    """Train a fold in a process that reads the files by itself, once for all its folds.

    Args:
        settings: of the run, with absolute paths.
        inputs: SHA-256 of each file.
        groups: that the fold holds out: chromosomes, folds of families, or species.
        task: prefix and identity, as of `train_one`.
        progress: of the task.

    Returns:
        What it was computed on, in words.

    Raises:
        InputError: a file has changed since the run was started.
    """
    key = repr((settings, inputs))
    if key not in LOADED:
        LOADED.clear()
        with records.unchanged_inputs(vars(settings)):
            records.require_same_inputs(vars(settings), inputs)
            data = load_data(settings)
        LOADED[key] = data, *start_training(data, settings, progress)
    data, trainer, device = LOADED[key]
    train_one(trainer, data, settings, make_folds(data, settings, [groups])[0], *task, progress=progress)
    return device


def is_finished(
    fold: Fold, epochs: int, gene_ids: np.ndarray, checkpoints: Checkpoints, settings: SimpleNamespace
) -> bool:
    """Tell whether a fold is finished; the results of one of which something is damaged are removed, and that is said.

    Args:
        fold: its files are looked at.
        epochs: that it trains.
        gene_ids: of the genes with windows.
        checkpoints: of the fold.
        settings: SELECT_ON.
    """
    from lcre.results import best_epoch, read_finished

    folder = checkpoints.log_file.parent
    predictions = folder / "predictions.csv"  # the sign that the fold was finished
    if not predictions.exists():
        return False
    found = read_finished(folder, fold, gene_ids)
    if found is not None and len(found[1]) == epochs:
        chosen = best_epoch(found[1], settings.SELECT_ON, fold.tolerance)
        if checkpoints.is_whole(checkpoints.best_file, chosen, show_tables(checkpoints, predictions, found[1])):
            return True
    names = [predictions.name, checkpoints.log_file.name, *([] if found is None else [checkpoints.best_file.name])]
    print(f"fold {fold.name}: {', '.join(names)}: one is damaged or missing, and is made again", flush=True)
    predictions.unlink()
    return False


def write_tables(prefix: Path, known: dict[str, Fold], data: Dataset, settings: SimpleNamespace):
    """Write O_result.csv, O_result_mqc.tsv and O_predictions.csv of the run's finished folds, whoever trained them.

    Args:
        prefix: saved_models/O.
        known: name -> fold; those that other starts have added to the run meanwhile are put in.
        data: genes and windows.
        settings: of the run.

    Returns:
        The result table, a pandas frame.
    """
    from lcre.multiqc import write_multiqc
    from lcre.results import collect_results

    with records.lock_tables(prefix):
        run = records.read_run(Path(f"{prefix}_run.json"))
        others = [groups for name, groups in records.held_out_groups(run).items() if name not in known]
        if others:
            known |= {fold.name: fold for fold in make_folds(data, settings, others)}
        folds = [known[name] for name in run["folds"]]
        folders = [records.fold_folder(prefix, fold.name) for fold in folds]
        result, _ = collect_results(prefix, folders, folds, data.with_windows, settings.SELECT_ON, settings.SEED)
        write_multiqc(prefix)
    return result


# ============================================================================================== main
def export_windows(data: Dataset, path: Path) -> None:
    """Write gene_id and one_hot (uint8, genes x columns x 4, ACGT, masked as in training) as .npz."""
    with replacing(path) as temporary:
        ids = data.with_windows["gene_id"].to_numpy(str)
        np.savez_compressed(temporary, gene_id=ids, one_hot=one_hot(data.windows))
    print(f"{path}: one-hot windows of {len(data.windows):,} genes, {data.windows.shape[1]:,} columns")


ACTIONS = {
    "--check": "read everything, print the gene funnel, a sequence audit and the folds, and stop; no TensorFlow",
    "--export-windows": "write the one-hot windows of all genes to a .npz, and stop FILE",
    "--overwrite": "delete the earlier run of this ORGANISM and begin anew",
    "--controls": "train the run, and then each of these controls: all, or some, comma-separated NAMES",
}


def choose_settings(values: dict, overrides: Collection[str] = ()) -> SimpleNamespace:
    """Return the settings in force; a plain run trains the demo, and says so, where the first species is not here.

    Args:
        values: constant -> value from the command line or the script.
        overrides: the constants that the command line gives.

    Raises:
        InputError: as `lcre.settings.resolve_settings`.
    """
    from lcre.settings import missing_files, resolve_settings

    plain = values["DATASET"] == FIRST_SPECIES and "DATASET" not in overrides and values["SPECIES"] is None
    missing = missing_files(values, DATASETS[FIRST_SPECIES], FOLDERS) if plain else []
    if missing:
        values = values | {"DATASET": "demo"}
    settings = resolve_settings(values, DATASETS, FALLBACKS, tuple(MODELS), FOLDERS)
    if missing:
        print(
            f"{FIRST_SPECIES} is not here ({missing[0]} is missing; 'python data/fetch.py {FIRST_SPECIES}' gets it, or "
            "says where it comes from): the bundled demo genome is used instead"
        )
    return settings


def list_runs(settings: SimpleNamespace, names: str | None) -> list[SimpleNamespace]:
    """Return the settings of the run and of each of its controls, to be trained one after another.

    Args:
        settings: of the run.
        names: of --controls.

    Raises:
        InputError: an unknown control, one whose part the windows do not have, controls of a control.
    """
    runs = [settings]
    if names is not None:
        if settings.CONTROL:
            raise InputError(f"--controls: CONTROL is {settings.CONTROL}, a control itself; leave one of the two out")
        each = [SimpleNamespace(**vars(settings) | {"CONTROL": name}) for name in controls.parse_controls(names)]
        if names.strip() == "all":
            without = [one.CONTROL for one in each if not WindowLayout.of(one).visible.any()]
            each = [one for one in each if one.CONTROL not in without]
            if without:
                print(f"note: no control {' and '.join(without)}: nothing of these windows is there that is not masked")
        runs += each
    for one in runs:
        if not WindowLayout.of(one).visible.any():
            sizes = f"UPSTREAM {one.UPSTREAM} and DOWNSTREAM {one.DOWNSTREAM}"
            raise InputError(
                f"CONTROL {one.CONTROL}: windows of {sizes} have no {one.CONTROL} of the gene that is not masked; make "
                "them larger, or leave this control out"
            )
    return runs


def check_used(overrides: Collection[str], runs: Sequence[SimpleNamespace]) -> None:
    """Raise InputError where the command line gives a setting that none of these runs looks at.

    Args:
        overrides: the constants that the command line gives.
        runs: settings of the run and of its controls.
    """
    if "FOLDS" in overrides and runs[0].HOLD_OUT != "family":
        raise InputError(
            f"--folds is the number of folds of --hold-out family; with --hold-out {runs[0].HOLD_OUT} leave it out "
            "(--chromosomes I+II,III+IV holds out several together)"
        )
    if "DATASET" in overrides and runs[0].HOLD_OUT == "species":
        raise InputError("--dataset goes without --hold-out species: the table of --species names all files")
    if "SHIFT" in overrides and all(one.CONTROL != "shifted" for one in runs):
        raise InputError("--shift is how far --control shifted moves the windows; give that too, or leave it out")


def run_prefix(settings: SimpleNamespace) -> Path:
    """Return what the files of a run begin with: saved_models/O, of a control saved_models/O_control_NAME."""
    return controls.prefix_of(Path(settings.SAVED_MODELS) / settings.ORGANISM, settings.CONTROL)


def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    from lcre.settings import RULES

    interrupt_on_sigterm()
    values, arguments = parse_settings(Path(__file__), globals(), RULES, __version__, ACTIONS, argv)
    settings = choose_settings(values, arguments.overrides)
    runs = list_runs(settings, arguments.controls)
    check_used(arguments.overrides, runs)
    export = arguments.export_windows
    if export and (export.suffix != ".npz" or not export.absolute().parent.is_dir()):
        raise InputError(f"--export-windows: {export} is not a .npz file in a folder that exists")
    for name, value in arguments.overrides.items():
        if value != globals().get(name):
            print(one_line(f"{name} = {value}  (in the script: {globals().get(name)})"))
    if values["MODEL"] != settings.MODEL:
        print(f"note: {values['MODEL']} is now called {settings.MODEL}")
    if export:
        return export_windows(load_data(settings), export)
    if arguments.check:
        return check_inputs(settings)
    for number, one in enumerate(runs, 1):
        if len(runs) > 1:
            print(f"\n{number} of {len(runs)} runs: {run_prefix(one).name}")
        train_run(one, argv, arguments.overwrite)


def check_inputs(settings: SimpleNamespace) -> None:
    """Read everything, and print the gene funnel, a sequence audit and the folds; no TensorFlow."""
    from lcre import check

    data = load_data(settings)
    print(f"{settings.ORGANISM}: {check.describe_counts(data)}")
    check.print_remarks(data.notes, data.warnings)
    check.print_check(data.genes, data.labels, data.audit)
    check.print_folds(make_folds(data, settings))


def train_run(settings: SimpleNamespace, argv: Sequence[str], overwrite: bool) -> None:
    """Train what is not trained of a run, and write its tables and its page.

    Args:
        settings: of the run.
        argv: of the command line, for the record.
        overwrite: delete an earlier run of the same name.
    """
    from core.executor import find_scheduler
    from lcre import check
    from lcre.report import write_report
    from lcre.results import show_results

    began = time.perf_counter()
    prefix = run_prefix(settings)
    records.require_place(prefix.parent)
    find_scheduler(settings.SCHEDULER)
    with records.unchanged_inputs(vars(settings)):
        data = load_data(settings)
        print(f"{settings.ORGANISM}: {check.describe_counts(data)}")
        check.print_remarks(data.notes, data.warnings)
        folds = make_folds(data, settings)
        more = check.describe_data(data, folds) | {"loss_note": MODELS[settings.MODEL].loss_note}
        record = records.describe_run(vars(settings), __version__, argv, more)
    with contextlib.ExitStack() as held:
        record = records.open_run(prefix, record, overwrite, held, data.order)
        device = ""
        try:
            with records.lock_tables(prefix):
                columns = ["gene_id", "chromosome", "start", "end", "strand", "status"]
                write_csv(Path(f"{prefix}_genes.csv"), data.genes[columns])
            device = leave_one_chromosome_out(data, folds, settings, prefix, record)
        finally:
            records.close_run(prefix, time.perf_counter() - began, device)
        known = {fold.name: fold for fold in folds}
        result = write_tables(prefix, known, data, settings)
        left = len(known) - int((result["chromosome"] != "pooled").sum())
        print()
        if not left:
            with records.lock_tables(prefix):
                print(f"{write_report(prefix)} shows the run as a page")
        else:
            print(f"{left} of {len(known)} folds of the run are left to other starts; the page comes with the last one")
    print(f"done in {show_duration(time.perf_counter() - began)}; everything is in {prefix}_*\n")
    print(show_results(result, settings.SELECT_ON, settings.HOLD_OUT), flush=True)
    if not left:
        compare_controls(Path(settings.SAVED_MODELS) / settings.ORGANISM, settings.CONTROL)


def compare_controls(prefix: Path, control: str | None = None) -> None:
    """Write and print the table of controls of a run, saved_models/O, and its page with them, where it has some.

    Args:
        prefix: saved_models/O, of the run itself.
        control: that was trained just now, which is then compared with it.
    """
    from lcre.control_table import show_controls, write_controls
    from lcre.report import write_report

    with records.lock_tables(prefix):
        table = write_controls(prefix)
        if table is not None:
            write_report(prefix)
            print(f"\n{show_controls(table)}", flush=True)
        elif control:
            print(
                f"\nnote: {prefix} itself is not trained with these settings; controls are compared with it", flush=True
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(
        Path(__file__).name,
        run,
        argv,
        "what was written is whole, and the same command goes on behind the last finished epoch",
    )


if __name__ == "__main__":
    sys.exit(main())
