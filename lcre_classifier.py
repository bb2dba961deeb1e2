"""LCRE: learn from a genome, its annotation and an expression table which genes are low and which are high.

`python lcre_classifier.py` trains on tomato where its files are, and otherwise on the bundled demo genome; edit the
constants below, or give the flags of the same names, to train on your own. The script reads top to bottom: it loads
TPM, GTF and FASTA, cuts promoter and terminator windows, encodes them, labels genes low or high, balances the classes,
leaves one chromosome out at a time, trains a CNN + LSTM on the others, and logs everything to CSV.
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
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from core import InputError, examples, one_line
from core.checkpoints import Checkpoints
from core.cli import explain_constants, parse_settings, run_script
from core.files import replacing, write_csv
from core.memory import require_memory
from core.progress import Progress, interrupt_on_sigterm, show_duration
from core.scores import auroc_error
from lcre import records

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
CHROMOSOMES = "all"  # to hold out in turn, comma-separated; IV+VII are held out together; all: each nuclear one
SELECT_ON = "validation"  # validation: the epoch is chosen on another chromosome; test: as published, optimistic

# ------------------------------------------------------------------------------------------ training
MODEL = "motifs_and_words"  # motifs_and_words, or published: the network of the LCRE description, layer by layer
EPOCHS: int | None = None  # None: of the demo 7, else of the model: for 700 steps, 6 to 40; published: 35
BATCH_SIZE: int | None = None  # sequences a step; None: of the model (64)
LEARNING_RATE: float | None = None  # None: of the model (motifs_and_words: 2e-3 at its peak; published: 1e-4)
SEED = 1  # of every random draw; another seed is another run: keep them apart with ORGANISM
SAVED_MODELS = "saved_models"  # folder where everything is written

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
RANK_SLOPE = 6  # a gene of rank r, from 0 to 1, is taught to be high with log-odds of 6 (r - 1/2)
CHOOSE_ON = 500  # low and high genes, at most, that choose the epoch
MASKED = 3  # columns of start and stop codon set to zero: without UTRs they would give the reading frame away


# ============================================================================================== inputs
@dataclass
class Dataset:
    """Everything a run reads, once for all folds."""

    genes: object  # pandas frame, one row a gene of the annotation, with its fate in `status`
    windows: np.ndarray  # base codes of the genes with windows, uint8, (n, columns), in the order of `with_windows`
    chromosomes: list[str]  # nuclear ones in the order of the FASTA (no organelles, no scaffolds)
    labels: str  # how the labels were made, in words
    audit: dict  # figures on the sequences
    notes: list[str]
    warnings: list[str]

    @property
    def with_windows(self):
        """The genes that have a row in `windows`, in its order."""
        return self.genes[self.genes["window_fits"]].reset_index(drop=True)

    @property
    def order(self) -> list[str]:
        """Chromosomes in the order of the genome, those that are not held out by themselves last."""
        return list(dict.fromkeys([*self.chromosomes, *self.genes["chromosome"]]))


def load_data(settings: SimpleNamespace) -> Dataset:
    """Read TPM, GTF, FASTA and the validation genes, label the genes and cut their windows.

    Raises:
        InputError: a file that cannot be read, or files that do not belong together.
    """
    from core.annotation import read_annotation
    from core.genome import open_genome, sort_chromosomes
    from core.names import CHROMOSOME_BRIDGES, GENE_BRIDGES, join_names
    from core.tables import read_expression, read_gene_list, require_row_names
    from lcre import check

    column = settings.TARGET_COLUMN
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
        warnings.append("no validation genes are given: homologs of test genes in training flatter the score")

    with open_genome(settings.FASTA) as genome:
        what, bridges = "GTF and FASTA have no chromosome", CHROMOSOME_BRIDGES
        partner = join_names(genes["chromosome"], genome.lengths, bridges, what, notes)
        genes["on_genome"] = genes["chromosome"].isin(partner)
        windows, atg = cut_genome(genome, genes, partner, settings)
        names = {other: name for name, other in partner.items()}
        nuclear, organelles, scaffolds = sort_chromosomes(genome, names)
        longest = max(genome.lengths.values())
    check.require_windows(genes, (settings.UPSTREAM, settings.DOWNSTREAM), longest, "make UPSTREAM smaller")
    genes["status"] = check.gene_status(genes, organelles)
    warnings += check.describe_losses(genes)
    notes += check.describe_chromosomes(organelles, scaffolds)
    labels = f"low: {column} <= {low:.4g}; high: >= {high:.4g}"
    check.require_classes(genes, labels)
    audit = check.audit_genes(genes, atg, settings.DOWNSTREAM) | check.audit_windows(windows, real_columns(settings))
    return Dataset(genes, windows, nuclear, labels, audit, notes, warnings)


# ============================================================================================== windows
def window_halves(settings: SimpleNamespace) -> tuple[slice, slice]:
    """Return the columns of promoter and terminator: [promoter][padding][terminator]."""
    half = settings.UPSTREAM + settings.DOWNSTREAM
    return slice(0, half), slice(half + settings.PADDING, 2 * half + settings.PADDING)


def window_parts(columns: int, upstream: int, downstream: int) -> list[tuple[int, int]]:
    """Return first and last column + 1 of the window's parts: before and behind the TSS, before and behind the TES."""
    half = upstream + downstream
    cuts = (0, upstream, half), (columns - half, columns - upstream, columns)
    return [pair for three in cuts for pair in itertools.pairwise(three)]


def real_columns(settings: SimpleNamespace) -> np.ndarray:
    """Return which columns hold sequence: all but the padding and the masked codons; booleans, (columns,)."""
    promoter, terminator = window_halves(settings)
    real = np.ones(terminator.stop, bool)
    real[promoter.stop : terminator.start] = False
    masked = min(MASKED, settings.DOWNSTREAM)
    real[settings.UPSTREAM : settings.UPSTREAM + masked] = False  # from the TSS inwards
    tes = terminator.start + settings.DOWNSTREAM
    real[tes - masked : tes] = False  # the last bases before the TES
    return real


def windows_fit(start: np.ndarray, end: np.ndarray, length, upstream: int, downstream: int) -> np.ndarray:
    """Tell which genes have both windows inside their chromosome of `length` bp, its first and last base included."""
    return (np.minimum(start - upstream, end - downstream) >= 0) & (
        np.maximum(start + downstream, end + upstream) <= length
    )


def cut_windows(
    codes: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    strand: np.ndarray,
    upstream: int,
    downstream: int,
    padding: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the windows of genes of one chromosome.

    Promoter: `upstream` bases before the TSS and `downstream` from it on; terminator: the last `downstream`
    bases of the gene and `upstream` after it; both read on the gene's strand, promoter first, `padding`
    columns between. Genes shorter than `downstream` are legal: their halves overlap.

    Args:
        codes: base codes of the chromosome, uint8, (bp,).
        start, end: 0-based half-open, (genes,). strand: '+' or '-', (genes,).

    Returns:
        Which genes fit, booleans, (genes,): both windows lie inside the chromosome, its first and last base
        included; and the base codes of those, uint8, (fitting genes, 2 * (upstream + downstream) + padding).
    """
    half = upstream + downstream
    left, right = start - upstream, end - downstream
    fits = windows_fit(start, end, len(codes), upstream, downstream) & np.isin(strand, ["+", "-"])
    minus = (strand == "-")[fits]
    windows = np.full((int(fits.sum()), 2 * half + padding), 4, np.uint8)
    if not len(windows):
        return fits, windows
    pieces = np.lib.stride_tricks.sliding_window_view(codes, half)
    windows[:, :half] = pieces[left[fits]]
    windows[:, half + padding :] = pieces[right[fits]]
    complement = np.array([3, 2, 1, 0, 4], np.uint8)
    windows[minus] = complement[windows[minus, ::-1]]  # reversing the whole row also swaps the halves
    return fits, windows


def cut_genome(genome, genes, partner: dict[str, str], settings: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Cut the windows of all coding genes, chromosome by chromosome, and mask start and stop codons.

    Adds to `genes`: sequence_known and window_fits (booleans).

    Args:
        genome: an open `core.genome.Genome`.
        genes: as `core.annotation.read_annotation` gives them.
        partner: the annotation's name of a chromosome -> the genome's.

    Returns:
        Base codes in the order of `genes`, uint8, (genes with windows, columns); and which genes start with ATG.
    """
    from lcre.check import starts_with_atg

    start, end, strand = genes["start"].to_numpy(), genes["end"].to_numpy(), genes["strand"].to_numpy(str)
    length = genes["chromosome"].map(partner).map(genome.lengths).fillna(0).to_numpy(np.int64)
    known = genes["coding"].to_numpy(bool) & (end <= length)
    sizes = settings.UPSTREAM, settings.DOWNSTREAM
    fits = known & np.isin(strand, ["+", "-"]) & windows_fit(start, end, length, *sizes)
    genes["sequence_known"], genes["window_fits"] = known, fits
    columns = window_halves(settings)[1].stop
    advice = "make UPSTREAM and DOWNSTREAM smaller"
    require_memory(int(fits.sum()) * columns, f"windows of {fits.sum():,} genes with {columns:,} columns take", advice)
    atg, place = np.zeros(len(genes), bool), np.cumsum(fits) - 1
    windows = np.empty((int(fits.sum()), columns), np.uint8)
    for name, here in genes[known].groupby("chromosome", sort=False).groups.items():
        here = here.to_numpy()
        codes = genome.codes(partner[name])
        atg[here] = starts_with_atg(codes, start[here], end[here], strand[here])
        for some in np.array_split(here[fits[here]], len(here) // 1000 + 1):  # few at a time: less memory
            windows[place[some]] = cut_windows(codes, start[some], end[some], strand[some], *sizes, settings.PADDING)[1]
    for column in np.flatnonzero(~real_columns(settings)):
        windows[:, column] = 4
    return windows, atg


def one_hot(codes: np.ndarray) -> np.ndarray:
    """Return base codes as one-hot columns in the order of ACGT, uint8, shape (..., 4); code 4 is all zeros."""
    return np.eye(5, 4, dtype=np.uint8)[codes]


# ============================================================================================== labels
def find_thresholds(expression, settings: SimpleNamespace) -> tuple[float, float]:
    """Return the values at the low and the high percentile over all genes of the table."""
    asked = [settings.LOW_PERCENTILE, settings.HIGH_PERCENTILE]
    low, high = (float(value) for value in np.percentile(expression, asked))
    if low == high:
        raise InputError(
            f"a single class: the {asked[0]:g}th and the {asked[1]:g}th percentile of {settings.TARGET_COLUMN} are "
            f"both {low:g}; too many genes have that very value"
        )
    return low, high


def label_genes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 for values <= low, 1 for values >= high, 2 between, -1 for nan; int8, (genes,)."""
    return np.select([np.isnan(values), values <= low, values >= high], [-1, 0, 1], 2).astype(np.int8)


def rank_log_odds(rank: np.ndarray) -> np.ndarray:
    """Return the log-odds of being high that a gene of each rank of expression, 0 to 1, is taught to have."""
    return RANK_SLOPE * (rank - 0.5)


# ============================================================================================== folds
@dataclass
class Fold:
    """One held-out chromosome or group: rows of the windows, nothing copied. No held-out row trains or chooses."""

    name: str
    chromosomes: list[str]  # held out
    validation_chromosome: str | None
    train: np.ndarray  # low and high genes, balanced
    middle: np.ndarray  # the genes between them on the same chromosomes, for a network that is taught ranks; else none
    validation: np.ndarray  # low and high genes that may be scored, of the chromosome that chooses the epoch
    test: np.ndarray  # low and high genes that may be scored, on the held-out chromosomes
    held_out: np.ndarray  # every gene with a window on the held-out chromosomes
    leeway: float  # differences in auROC on the validation genes that are taken for chance

    @property
    def taught(self) -> np.ndarray:
        """The rows of every gene that trains."""
        return np.concatenate([self.train, self.middle])

    def entropy(self, seed: int) -> list[int]:
        """Return the entropy of this fold's random draws: it depends on its name, not on the other folds."""
        return [seed, zlib.crc32(self.name.encode())]


def make_folds(data: Dataset, settings: SimpleNamespace, groups: list[list[str]] | None = None) -> list[Fold]:
    """Split the genes for leaving chromosomes out in turn.

    The epoch is chosen on the next chromosome of the genome behind the held-out ones that has genes to score: on all
    of it, or, of a large one, on the low and high genes of one end; the genes of the other train.

    Args:
        data: the genes, labelled.
        settings: CHROMOSOMES says which to hold out.
        groups: chromosomes to hold out together, fold by fold, instead of those.

    Raises:
        InputError: a chromosome that does not exist, stands twice or has only one class; nothing left to train on.
    """
    from lcre.check import fingerprint_windows

    genes = data.with_windows
    target, chromosome = genes["target"].to_numpy(), genes["chromosome"].to_numpy(str)
    used, scorable = (genes["status"] == "used").to_numpy(), genes["scorable"].to_numpy()
    start, end = genes["start"].to_numpy(), genes["end"].to_numpy()
    labelled = (target == 0) | (target == 1)
    twins = fingerprint_windows(data.windows)

    def both_classes(rows: np.ndarray) -> bool:
        return {0, 1} <= set(target[rows].tolist())

    candidates = labelled & used & scorable
    ring = [name for name in data.chromosomes if both_classes(candidates & (chromosome == name))]
    folds = []
    for group in groups or name_groups(settings.CHROMOSOMES, ring, chromosome):
        name, held_out = "+".join(group), np.isin(chromosome, group)
        if name == "pooled":
            raise InputError(
                "a chromosome is called 'pooled', as a row of the result table is; rename it in the inputs"
            )
        test = held_out & labelled & scorable & genes["in_table"].to_numpy()
        if not both_classes(test):
            raise InputError(
                f"CHROMOSOMES: {name} has no low or no high genes that may be scored ({(target[test] == 0).sum()} low, "
                f"{(target[test] == 1).sum()} high); hold out another chromosome, or several together"
            )
        # the sequence of a held-out gene, standing elsewhere as well, would give it away
        train = used & ~np.isin(twins, twins[held_out])
        validation, chosen = np.zeros(len(genes), bool), None
        if settings.SELECT_ON == "validation":
            after = max((ring.index(part) for part in group if part in ring), default=-1) + 1
            able, order = train & labelled & scorable, ring[after:] + ring[:after]
            chosen = next((part for part in order if both_classes(able & (chromosome == part))), None)
            if chosen is None:
                ways = "hold out fewer, or try SELECT_ON test"
                raise InputError(f"fold {name}: no other chromosome is left to choose the epoch on; {ways}")
            validation, aside = able & (chromosome == chosen), chromosome == chosen
            few = validation & (start <= np.sort(start[validation])[:CHOOSE_ON][-1])
            if few.sum() < validation.sum() and both_classes(few):  # the others train, unless windows overlap
                reach = max(settings.UPSTREAM, settings.DOWNSTREAM)  # of a window, beyond its gene
                validation, aside = few, aside & (start < end[few].max() + 2 * reach)
            train &= ~aside & ~np.isin(twins, twins[validation])
        if not both_classes(train):
            raise InputError(f"fold {name}: no low or no high genes are left to train on; hold out fewer chromosomes")
        middle = train & (target == 2) & RECIPES[settings.MODEL].ranks
        parts = train & labelled, middle, validation, test, held_out
        low, high = ((validation & (target == label)).sum() for label in (0, 1))
        leeway = auroc_error(low, high) if chosen and RECIPES[settings.MODEL].one_cycle else 0.0
        fold = Fold(name, group, chosen, *(np.flatnonzero(rows) for rows in parts), leeway)
        fold.train = balance(fold.train, target, np.random.default_rng(fold.entropy(settings.SEED)))
        folds.append(fold)
    if not folds:
        raise InputError(
            "no chromosome has both low and high genes that may be scored (in all "
            f"{(target[candidates] == 0).sum():,} low and {(target[candidates] == 1).sum():,} high; scaffolds and "
            "organelles are not held out); CHROMOSOMES can hold out several together, as in I+II"
        )
    return folds


def name_groups(chromosomes: str, ring: list[str], present: np.ndarray) -> list[list[str]]:
    """Return the chromosomes to hold out together, fold by fold: 'IV+VII,X' gives [[IV, VII], [X]].

    Args:
        chromosomes: the setting; 'all' holds out each of `ring`.
        present: chromosome of every gene with a window.
    """
    from core.names import CHROMOSOME_BRIDGES, bridge_names

    if chromosomes == "all":
        return [[name] for name in ring]
    names = set(present.tolist())
    groups = [[group.strip()] if group.strip() in names else group.split("+") for group in chromosomes.split(",")]
    groups = [[part.strip() for part in group] for group in groups]
    asked, known = [part for group in groups for part in group], list(dict.fromkeys(present.tolist()))
    meant, _ = bridge_names(asked, known, CHROMOSOME_BRIDGES)
    wrong = [name for name in asked if name not in meant]
    if wrong:
        raise InputError(f"CHROMOSOMES: no gene has a window on {examples(wrong)}; there are {examples(known, 12)}")
    if len({meant[name] for name in asked}) < len(asked):
        raise InputError(f"CHROMOSOMES: {chromosomes!r} names a chromosome twice")
    return [[meant[part] for part in group] for group in groups]


def balance(rows: np.ndarray, target: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return `rows` with the larger class down-sampled to the size of the smaller, in ascending order."""
    low, high = rows[target[rows] == 0], rows[target[rows] == 1]
    size = min(len(low), len(high))
    return np.sort(np.concatenate([random.permutation(low)[:size], random.permutation(high)[:size]]))


# ============================================================================================== models
def build_published(columns: int, upstream: int, downstream: int):
    """Build the network of the LCRE description.

    Args:
        columns: of the input, which is one-hot, float32, (genes, columns, 4).
        upstream, downstream: as in `build_motifs_and_words`; of no use to this network.

    Returns:
        A keras.Model whose output is the probability of being high, (genes, 1).
    """
    from keras import Sequential, layers

    def convolutions(filters: int) -> list:
        return [layers.Conv1D(filters, 8, padding="same", activation="relu") for _ in range(2)]

    def pooling() -> list:
        return [layers.MaxPooling1D(8, padding="same"), layers.Dropout(0.25)]

    return Sequential(
        [
            layers.Input((columns, 4)),
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


def build_motifs_and_words(columns: int, upstream: int, downstream: int, detectors: int = 2):
    """Build a network of two kinds of evidence, detectors of motifs and counts of words, whose log-odds are added.

    Detectors, alike but for their random weights, have two stems each. One looks for motifs anywhere; the other moves
    by codons: it sees where the reading frame is, which is the same in every window. Both pool at once, so that
    nearly everything runs on short sequences. They are taught apart, and the mean of their answers counts. Words: a
    linear regression on how often every 3-mer stands in each 100 bp (of half windows of 1,500; else in proportion)
    and every 4-mer in each 500 bp before and behind TSS and TES, and inside the gene every codon of each of the
    three frames in each 180 bp; `lcre.networks.fit_regression` solves it before the detectors are taught.

    Args:
        columns: of the input, which is one-hot, float32, (genes, columns, 4).
        upstream, downstream: how many of them lie outside and inside the gene, at either end.
        detectors: how many.

    Returns:
        A keras.Model whose output is the probability of being high, (genes, 1). Its layer `taught` has the log-odds
        of the detectors, (genes, detectors), its layer `regression` those of the words, (genes, 1), of `words`.
    """
    from keras import Model, layers

    from lcre.networks import count_words

    def settle(sequence):  # behind pooling, where few columns are left to normalise
        return layers.Dropout(0.25)(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(sequence)))

    def detect(windows):
        anywhere = layers.Conv1D(96, 12, padding="same", use_bias=False)(windows)
        in_frame = layers.Conv1D(96, 15, strides=3, padding="same", use_bias=False)(windows)
        stems = [layers.MaxPooling1D(9, padding="same")(anywhere), layers.MaxPooling1D(3, padding="same")(in_frame)]
        sequence = settle(layers.Concatenate()(stems))
        sequence = layers.Conv1D(128, 6, padding="same", use_bias=False)(sequence)
        sequence = settle(layers.MaxPooling1D(4, padding="same")(sequence))
        sequence = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(sequence)
        sequence = layers.Conv1D(32, 1, activation="relu")(layers.Dropout(0.25)(sequence))
        stretches = layers.Flatten()(layers.AveragePooling1D(8, padding="same")(sequence))
        return layers.Dense(1)(layers.Dropout(0.5)(layers.Dense(64, activation="relu")(stretches)))

    windows = layers.Input((columns, 4))
    taught = layers.Concatenate(name="taught", dtype="float32")([detect(windows) for _ in range(detectors)])
    parts, half = window_parts(columns, upstream, downstream), upstream + downstream
    asked = [(*part, *word) for part in parts for word in ((3, 1, half // 15), (4, 1, half // 3))]
    asked += [(begin + frame, end, 3, 3, half // 25) for begin, end in parts[1:3] for frame in range(3)]
    counts = [count_words(windows, *one) for one in asked if one[1] - one[0] >= one[2]]
    words = layers.Concatenate(name="words", dtype="float32")(counts)
    regression = layers.Dense(1, kernel_initializer="zeros", trainable=False, name="regression", dtype="float32")
    evidence = layers.Concatenate(dtype="float32")([taught, regression(words)])
    total = layers.Dense(1, "sigmoid", use_bias=False, trainable=False, dtype="float32")
    model = Model(windows, total(evidence), name="motifs_and_words")
    total.set_weights([np.array([[1 / detectors]] * detectors + [[1]])])
    return model


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `epochs` None: as many as make about `steps` steps."""

    build: Callable
    learning_rate: float
    batch_size: int = 64
    epochs: int | None = None
    steps: int = 700
    one_cycle: bool = False
    ranks: bool = False  # taught each gene's rank of expression, middle genes too, instead of low and high
    branches: int = 1  # of the network, alike in work, to be computed side by side

    def count_steps(self, genes: int) -> int:
        """Return the steps of an epoch over this many genes."""
        return -(-genes // self.batch_size)

    def count_epochs(self, steps_per_epoch: int) -> int:
        """Return the epochs for this many steps in each: short of data, more of them, within 6 to 40."""
        return self.epochs or min(max(round(self.steps / steps_per_epoch), 6), 40)

    def make_optimizer(self):
        """Return the optimizer, whose learning rate `find_rate` gives step by step."""
        import keras

        if self.one_cycle:
            return keras.optimizers.AdamW(self.learning_rate, weight_decay=0.01)
        return keras.optimizers.Adam(self.learning_rate)

    def find_rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, from 0, of a training of so many.

        One cycle: up in a straight line over a fifth of the steps, down a half cosine over the rest.
        """
        if not self.one_cycle:
            return self.learning_rate
        warmup = max(steps // 5, 1)
        if step < warmup:
            return self.learning_rate * (1 + 24 * step / warmup) / 25
        down = (step - warmup) / max(steps - warmup, 1)
        return self.learning_rate * (0.001 + 0.999 * (1 + math.cos(math.pi * down)) / 2)


RECIPES = {
    "published": Recipe(build_published, learning_rate=1e-4, epochs=35),
    "motifs_and_words": Recipe(build_motifs_and_words, learning_rate=2e-3, one_cycle=True, ranks=True, branches=2),
}


def choose_recipe(settings: SimpleNamespace) -> Recipe:
    """Return the model's recipe with what the settings say in place of its own."""
    given = {"epochs": settings.EPOCHS, "batch_size": settings.BATCH_SIZE, "learning_rate": settings.LEARNING_RATE}
    return replace(RECIPES[settings.MODEL], **{name: value for name, value in given.items() if value is not None})


# ============================================================================================== training
def train_fold(fold: Fold, data: Dataset, bench, settings: SimpleNamespace, checkpoints: Checkpoints, watch) -> None:
    """Train the epochs of one fold that are not on disk yet, and keep the best model.

    After each epoch its checkpoint (weights and optimizer) is written and then its row of the log; an epoch of which
    one is missing or damaged is trained, from the checkpoint before it. Everything random in an epoch, the order of the
    data and what is dropped out, depends on seed, fold and epoch only, so nothing else needs to be kept.

    Args:
        fold: its rows of the windows.
        data: windows, labels and ranks.
        bench: the `lcre.networks.Workbench` of the run.
        checkpoints: the `core.checkpoints.Checkpoints` of the fold.
        watch: the `core.progress.Progress` of the run.
    """
    import keras

    from lcre.networks import fit_regression, seed_layers
    from lcre.results import best_epoch, score_cells
    from lcre.trained import load_model

    genes, windows, recipe, model = data.with_windows, data.windows, bench.recipe, bench.model
    target = genes["target"].to_numpy()
    log_odds = rank_log_odds(genes["rank"].to_numpy())
    taught = (1 / (1 + np.exp(-log_odds)) if recipe.ranks else target).astype(np.float32)
    steps = recipe.count_steps(len(fold.taught))
    epochs = recipe.count_epochs(steps)
    for sentence in checkpoints.read(epochs):
        watch.line(f"fold {fold.name}: {sentence}")
    watch.skip(steps * len(checkpoints.log))
    waiting = [epoch for epoch in range(epochs) if epoch not in checkpoints.log]
    if waiting and waiting[0]:
        watch.line(f"fold {fold.name} goes on after epoch {waiting[0] - 1}")
    # in mixed precision the best model is written as float32, so that it gives the same numbers on any machine
    mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    convert = partial(load_model, columns=windows.shape[1]) if mixed else None
    best, reached = None, None  # the epoch that was written as the best one; the epoch behind which the network is
    entropy = fold.entropy(settings.SEED)
    keras.utils.set_random_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1))
    began = time.perf_counter()  # the regression belongs to the first epoch
    for epoch in waiting:
        if epoch == 0:
            bench.begin()
            if counts := fit_regression(model, windows[fold.taught], log_odds[fold.taught]):
                watch.line(f"fold {fold.name}  regression on {counts:,} word counts solved")
        elif reached != epoch - 1:
            model.load_weights(checkpoints.file(epoch - 1))
        random = np.random.default_rng([*entropy, epoch])
        order = random.permutation(fold.taught)
        seed_layers(model, random)
        sums = np.zeros(3)  # of genes, and of their loss and accuracy
        with watch.whole_steps():
            for step, rows in enumerate(np.array_split(order, steps), 1):  # even: a few genes upset normalisation
                rate = recipe.find_rate(epoch * steps + step - 1, epochs * steps)
                sums += np.multiply([1, *bench.train(rows, taught[rows], rate)], len(rows))
                _, loss, accuracy = sums / sums[0]
                watch.step(f"fold {fold.name}  epoch {epoch}/{epochs - 1}  step {step}/{steps}  loss {loss:.3f}")
        row = {
            "epoch": str(epoch),
            "loss": f"{loss:.6f}",
            "accuracy": f"{accuracy:.6f}",
            **score_cells("val", target[fold.validation], bench.predict(windows[fold.validation])),
            **score_cells("test", target[fold.test], bench.predict(windows[fold.test])),
            "learning_rate": f"{rate:.6g}",
            "seconds": f"{time.perf_counter() - began:.2f}",
        }
        checkpoints.save(epoch, model)
        log = checkpoints.log_with(epoch, row)
        chosen = list(log)[best_epoch(list(log.values()), settings.SELECT_ON, fold.leeway)]
        if chosen != best:
            checkpoints.keep_best(chosen, convert)
            best = chosen
        checkpoints.write_log(log)  # last: an epoch without its row is trained again
        reached = epoch
        measure = "val_auROC" if settings.SELECT_ON == "validation" else "test_auROC"
        scored = f"loss {float(row['loss']):.3f}  {measure} {float(row[measure]):.3f} (chosen: epoch {chosen})"
        watch.line(
            f"fold {fold.name}  epoch {epoch:>2}/{epochs - 1}  {scored}  {row['seconds']} s  {watch.time_left()}"
        )
        began = time.perf_counter()
    chosen = best_epoch(list(checkpoints.log.values()), settings.SELECT_ON, fold.leeway)
    if chosen != best:
        checkpoints.keep_best(chosen, convert)


def finish_fold(fold: Fold, data: Dataset, target: np.ndarray, settings: SimpleNamespace, folder: Path) -> None:
    """Predict the held-out genes with the chosen epoch, fit the baselines, and write both to predictions.csv.

    The file is the sign that the fold is finished: gene_id, probability, and for test genes kmer and gc.
    """
    import pandas as pd

    from lcre.baselines import predict_baselines
    from lcre.networks import make_predictor
    from lcre.trained import load_model

    predict = make_predictor(load_model(folder / "best_model.keras", data.windows.shape[1]))
    random = np.random.default_rng(fold.entropy(settings.SEED))
    frame = pd.DataFrame(index=fold.held_out)
    frame["gene_id"] = data.with_windows["gene_id"].to_numpy()[fold.held_out]
    frame["probability"] = predict(data.windows[fold.held_out])
    halves = window_halves(settings)
    frame.loc[fold.test, ["kmer", "gc"]] = predict_baselines(data.windows, halves, target, fold, random)
    write_csv(folder / "predictions.csv", frame.round(8))


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
    from core.device import start_tensorflow
    from lcre.networks import Workbench
    from lcre.results import LOG_COLUMNS, show_fold, write_roles

    genes, recipe = data.with_windows, choose_recipe(settings)
    target, waiting = genes["target"].to_numpy(), []
    known = {fold.name: fold for fold in folds}
    for fold in folds:
        folder = records.fold_folder(prefix, fold.name)
        write_roles(folder, fold, genes["gene_id"])
        checkpoints = Checkpoints(folder, f"{records.identify_run(run)} {fold.name}", LOG_COLUMNS)
        epochs = recipe.count_epochs(recipe.count_steps(len(fold.taught)))
        if not is_finished(fold, epochs, genes["gene_id"].to_numpy(), checkpoints, settings):
            waiting.append((fold, folder, checkpoints))
    if not waiting:
        print("every fold is finished already; --overwrite begins anew")
        return ""
    records.forget_models(prefix)
    device = start_tensorflow(recipe.branches)
    print(f"computing on {device}")
    bench = Workbench(recipe, data.windows, settings.UPSTREAM, settings.DOWNSTREAM)
    steps = [recipe.count_steps(len(fold.taught)) for fold, *_ in waiting]
    watch = Progress(sum(count * recipe.count_epochs(count) for count in steps))
    for number, (fold, folder, checkpoints) in enumerate(waiting, 1):
        watch.line(
            f"fold {fold.name} ({number} of {len(waiting)}): {len(fold.taught):,} genes train, "
            f"{len(fold.validation):,} on {fold.validation_chromosome or 'no other chromosome'} choose the epoch, "
            f"{len(fold.test):,} test"
        )
        train_fold(fold, data, bench, settings, checkpoints, watch)
        finish_fold(fold, data, target, settings, folder)
        watch.line(show_fold(write_tables(prefix, known, data, settings), fold.name))
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
        chosen = best_epoch(found[1], settings.SELECT_ON, fold.leeway)
        if checkpoints.is_whole(checkpoints.best_file, chosen):
            return True
    names = [predictions.name, checkpoints.log_file.name] if found is None else [checkpoints.best_file.name]
    print(f"fold {fold.name}: {' or '.join(names)} is damaged or missing, and is made again", flush=True)
    predictions.unlink()
    return False


def write_tables(prefix: Path, known: dict[str, Fold], data: Dataset, settings: SimpleNamespace):
    """Write O_result.csv and O_predictions.csv of all folds of the run that are finished, whoever trained them.

    Args:
        prefix: saved_models/O.
        known: name -> fold; those that other starts have added to the run meanwhile are put in.
        data: genes and windows.
        settings: of the run.

    Returns:
        The result table, a pandas frame.
    """
    from lcre.results import collect_results

    with records.lock_tables(prefix):
        run = records.read_run(Path(f"{prefix}_run.json"))
        for name, chromosomes in records.held_out_chromosomes(run).items():
            if name not in known:
                known[name] = make_folds(data, settings, [chromosomes])[0]
        folds = [known[name] for name in run["folds"]]
        folders = [records.fold_folder(prefix, fold.name) for fold in folds]
        result, _ = collect_results(prefix, folders, folds, data.with_windows, settings.SELECT_ON, settings.SEED)
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
}


def choose_settings(values: dict, given: Container[str] = ()) -> SimpleNamespace:
    """Return the settings in force; a plain run trains the demo, and says so, where the first species is not here.

    Args:
        values: constant -> value from the command line or the script.
        given: the constants that the command line gives.

    Raises:
        InputError: as `lcre.settings.resolve_settings`.
    """
    from lcre.settings import missing_files, resolve_settings

    plain = values["DATASET"] == FIRST_SPECIES and "DATASET" not in given
    missing = missing_files(values, DATASETS[FIRST_SPECIES], FOLDERS) if plain else []
    if missing:
        values = values | {"DATASET": "demo"}
    settings = resolve_settings(values, DATASETS, FALLBACKS, tuple(RECIPES), FOLDERS)
    if missing:
        print(
            f"{FIRST_SPECIES} is not here ({missing[0]} is missing; 'python data/fetch.py {FIRST_SPECIES}' gets it, or "
            "says where it comes from): the bundled demo genome is used instead"
        )
    return settings


def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    from lcre.settings import RULES

    began = time.perf_counter()
    interrupt_on_sigterm()
    values, asked = parse_settings(Path(__file__), globals(), RULES, __version__, ACTIONS, argv)
    settings = choose_settings(values, asked.given)
    export = asked.export_windows
    if export and (export.suffix != ".npz" or not export.absolute().parent.is_dir()):
        raise InputError(f"--export-windows: {export} is not a .npz file in a folder that exists")
    from lcre import check
    from lcre.report import write_report
    from lcre.results import show_results

    for name, value in asked.given.items():
        if value != globals().get(name):
            print(one_line(f"{name} = {value}  (in the script: {globals().get(name)})"))
    data = load_data(settings)
    print(f"{settings.ORGANISM}: {check.describe_counts(data)}")
    if export:
        return export_windows(data, export)
    check.print_remarks(data.notes, data.warnings)
    if asked.check:
        check.print_check(data.genes, data.labels, data.audit)
    folds = make_folds(data, settings)
    if asked.check:
        return check.print_folds(folds)

    prefix = Path(settings.SAVED_MODELS) / settings.ORGANISM
    record = records.describe_run(vars(settings), __version__, argv, check.describe_data(data, folds))
    with contextlib.ExitStack() as held:
        record = records.open_run(prefix, record, asked.overwrite, held, data.order)
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
    print(show_results(result, settings.SELECT_ON), flush=True)


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
