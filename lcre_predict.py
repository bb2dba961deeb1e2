"""Scores genes, ready windows and variants with the trained folds of a run.

  python lcre_predict.py --models saved_models/O --fasta F --gtf G --out genes.csv
      every coding gene of a genome, of the run's own species or another: the probability of being high
  python lcre_predict.py --models saved_models/O --windows W.fa --out windows.csv
      sequences that are windows already
  python lcre_predict.py --models saved_models/O --fasta F --gtf G --vcf V.vcf.gz --out variants.csv
      what each variant does to each gene whose promoter or terminator holds it: the effect is the log-odds of being
      high with it less those without
  python lcre_predict.py --models saved_models/O --fasta F --gtf G --vcf V.vcf.gz --out annotated.vcf.gz
      the same as the VCF itself with the effects in INFO, bgzip, and its index

Probabilities and effects are means over folds, with their standard deviation. On the run's own genome a gene is
scored by the folds that held it out (its chromosome, family or species) and were not trained on it; --all-folds takes
all of them.
"""

import argparse
import csv
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from core import InputError, show_value
from core.cli import OneLineParser, run_script
from core.executor import check_scheduler, find_scheduler, open_workers
from core.files import check_file, escape_cell, replacing
from core.progress import Progress
from lcre.records import TABLES

BATCH = 2048  # windows that are gathered before they are scored: enough for full batches in every fold
BATCHES_AT_ONCE = 32  # of the workers of Dask
EFFECT_COLUMNS = [
    *("gene_id", "variant", "region", "reference_probability", "alternative_probability", "effect", "sd", "percentile")
]


# ============================================================================================== scoring
class Scorer:
    """Scores windows with the folds of a run."""

    def __init__(self, run):
        from lcre.trained import without_sigmoid
        from lcre.variant_scoring import share_graphs

        self.folds = run.folds
        self.networks = share_graphs(without_sigmoid(run.models[fold]) for fold in run.folds)

    def score(self, codes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return the log-odds of being high, float64, (windows, folds); nan where a fold is not wanted.

        Args:
            codes: base codes, uint8, (windows, columns).
            wanted: which folds score which window, booleans, (windows, folds).
        """
        log_odds = np.full(wanted.shape, np.nan)
        for number, network in enumerate(self.networks):
            rows = np.flatnonzero(wanted[:, number])
            if len(rows):
                log_odds[rows, number] = network().predict(codes if len(rows) == len(codes) else codes[rows])
        return log_odds

    def score_variants(
        self, windows: np.ndarray, rows: np.ndarray, gene: np.ndarray, wanted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-odds of windows without and with variants, each (variants, folds); nan of folds not wanted.

        Args:
            windows: base codes, uint8, (genes, columns).
            rows: base codes of windows with variants, uint8, (variants, columns).
            gene: the row of `windows` that each is a change of, (variants,).
            wanted: which folds score which gene, booleans, (genes, folds).
        """
        own, changed = np.full(wanted.shape, np.nan), np.full((len(rows), len(self.folds)), np.nan)
        for number, network in enumerate(self.networks):
            genes, here = np.flatnonzero(wanted[:, number]), np.flatnonzero(wanted[gene, number])
            if len(here):
                place = np.searchsorted(genes, gene[here])
                own[genes, number], changed[here, number] = network().score_variants(windows[genes], rows[here], place)
        return own[gene], changed


SCORERS: dict = {}  # of a worker process: prefix -> the scorer of the run that it was asked for last


def open_scorer(run) -> tuple[Scorer, str]:
    """Start TensorFlow and return the scorer of a run, and on what it computes."""
    from core.device import start_tensorflow

    device = start_tensorflow()
    import tensorflow as tf

    # A GPU's short form of float32 would make the same window differ from batch to batch by more than small effects.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return Scorer(run), device


def score_batch(scorer: Scorer, method: str, arrays: tuple, progress: Progress):
    """Return what a method of a scorer returns for arrays."""
    with progress.whole_steps():
        return getattr(scorer, method)(*arrays)


def score_batch_in_worker(prefix: Path, method: str, arrays: tuple, progress: Progress):
    """Return what `score_batch` does, in a process that loads the run by itself, once."""
    from lcre.trained import load_run
    from lcre_classifier import WindowLayout

    if prefix not in SCORERS:
        SCORERS.clear()
        SCORERS[prefix], device = open_scorer(load_run(prefix, WindowLayout.of))
        progress.line(f"{progress.worker}computing on {device}")
    return score_batch(SCORERS[prefix], method, arrays, progress)


def score_batches(
    run, arguments: argparse.Namespace, method: str, batches: Iterable[tuple[object, tuple]], progress: Progress
) -> Iterator[tuple[object, object]]:
    """Score batches by the folds of a run, here or side by side, and yield what belongs to each with its scores.

    They come in the order of the batches, and each is the same numbers wherever it is scored.

    Args:
        run: a `lcre.trained.Run`.
        arguments: of the command line.
        method: of `Scorer`.
        batches: what belongs to a batch, and the arguments of the method; drawn as they are needed.
        progress: of all of them.
    """
    waiting = deque()

    def number_tasks(scorer: Scorer | Path) -> Iterator[tuple[str, tuple]]:  # a worker makes its own, of the prefix
        for number, (what, arrays) in enumerate(batches, 1):
            waiting.append(what)
            yield f"batch {number:,}", (scorer, method, arrays)

    jobs = arguments.jobs or (BATCHES_AT_ONCE if arguments.scheduler else 1)
    folds = f"{len(run.folds)} folds of {show_value(run.prefix, 1000)}"
    with open_workers(jobs, arguments.scheduler, jobs) as workers:
        if workers.here:
            scorer, device = open_scorer(run)
            progress.line(f"{folds}; computing on {device}")
            score, tasks = score_batch, number_tasks(scorer)
        else:
            progress.line(f"{folds}; batches side by side: {workers.where}")
            score, tasks = score_batch_in_worker, number_tasks(run.prefix.absolute())
        for _, scores in workers.run_in_order(score, tasks, progress):
            yield waiting.popleft(), scores


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """Return the probabilities of log-odds."""
    return 1 / (1 + np.exp(-np.clip(log_odds, -700, 700)))


def mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (n - 1) over the folds that are not nan, each (rows,); of one fold nan."""
    count = np.sum(~np.isnan(values), axis=1)
    mean = np.nansum(values, axis=1) / count
    squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
    return mean, np.sqrt(np.divide(squares, count - 1, out=np.full(len(values), np.nan), where=count > 1))


def show_number(value: float) -> str:
    """Return a number as a cell: seven digits, or nothing for nan."""
    return "" if value != value else f"{value:.7g}"


# ============================================================================================== genes
def read_genes(genome, gtf: Path, run):
    """Read an annotation and cut the windows of its coding genes as in training.

    Args:
        genome: an open `core.genome.Genome`.
        gtf: the annotation.
        run: the `lcre.trained.Run` that says the layout of windows.

    Returns:
        A frame of the genes with windows; their base codes, uint8, (genes, columns); the annotation's name of a
        chromosome -> the genome's; and notes for the user.

    Raises:
        InputError: an annotation that cannot be read or belongs to another genome; no gene whose windows fit.
    """
    from core.annotation import read_annotation
    from core.names import CHROMOSOME_BRIDGES, join_names
    from lcre.check import require_windows
    from lcre_classifier import cut_genome

    known_ids = run.without_species(run.roles(run.folds[0]).index.to_series())
    genes, notes = read_annotation(gtf, known_ids)
    bridges, what = CHROMOSOME_BRIDGES, "GTF and FASTA have no chromosome"
    partner = join_names(genes["chromosome"], genome.lengths, bridges, what, notes)
    genes["on_genome"], genes["in_table"] = genes["chromosome"].isin(partner), True
    codes, _ = cut_genome(genome, genes, partner, run.layout)
    layout, coding = run.layout, int(genes["coding"].sum())
    require_windows(genes, layout, max(genome.lengths.values()), "these models need longer sequences")
    if len(codes) < coding:
        notes.append(
            f"coding genes left out: {coding - len(codes):,} of {coding:,}, without windows of {layout.upstream} + "
            f"{layout.downstream} bp inside the FASTA"
        )
    return genes[genes["window_fits"]].reset_index(drop=True), codes, partner, notes


def choose_folds(genes, run, own: str | None, notes: list[str]) -> np.ndarray:
    """Return which folds score which gene, booleans, (genes, folds).

    On the run's own genome those that held the gene out, with its chromosome, family or species; a gene that no fold
    held out, and every gene of another genome, gets all folds.

    Args:
        genes: gene_id and chromosome of each.
        run: the `lcre.trained.Run`.
        own: which of the run's own genomes this is, see `lcre.trained.Run.find_own`; None: another one, or all folds
            are wanted.
        notes: sentences for the user, added to.
    """
    wanted = np.ones((len(genes), len(run.folds)), bool)
    seen = set()
    for fold in run.folds:
        roles = run.roles(fold)
        ids = roles.index[roles.isin(["train", "validation"])].to_series()
        seen.update(run.without_species(ids[ids.str.startswith(f"{own}:")] if own else ids))
    trained_on = genes["gene_id"].isin(seen).to_numpy()
    if own is not None:
        wanted = run.find_held_out(genes, own)
        never = ~wanted.any(axis=1)
        wanted[never] = True
        unit = {"chromosome": "its chromosome", "family": "its family", "species": f"its species, {own},"}[run.way]
        notes.append(f"this is the run's own genome: a gene is scored by the folds that held {unit} out")
        if never.any():
            which = "genes on chromosomes" if run.way == "chromosome" else "genes"
            notes.append(
                f"{which} that no fold held out ({int(never.sum()):,}) are scored by all folds; those that trained a "
                f"fold ({int((never & trained_on).sum()):,}) get a flattered probability"
            )
    elif trained_on.any():
        notes.append(
            f"genes with ids of genes that some folds were trained on: {int(trained_on.sum()):,}; if they are the same "
            "genes, the mean over all folds flatters them: give the very files of the run, packed as they were"
        )
    return wanted


def find_own(run, arguments: argparse.Namespace) -> str | None:
    """Return which of the run's own genomes is to be scored, see `lcre.trained.Run.find_own`; None: by all folds."""
    return None if arguments.all_folds else run.find_own(arguments.fasta, arguments.gtf)


def write_genes(
    run, arguments: argparse.Namespace, ids: Sequence[str], chromosomes: Sequence[str], read: Callable, wanted
) -> None:
    """Score windows batch by batch and write a row each.

    Args:
        run: the `lcre.trained.Run`.
        arguments: of the command line.
        ids, chromosomes: of all windows.
        read: returns the base codes of a slice of the windows, uint8, (n, columns).
        wanted: which folds score which window, booleans, (windows, folds).
    """
    progress, done = Progress(len(ids)), 0
    places = (slice(begin, begin + BATCH) for begin in range(0, len(ids), BATCH))
    batches = ((here, (read(here), wanted[here])) for here in places)
    with replacing(arguments.out) as temporary, open_csv(temporary) as write:
        write(["gene_id", "chromosome", "probability", "sd", *(f"fold_{fold}" for fold in run.folds)])
        for here, log_odds in score_batches(run, arguments, "score", batches, progress):
            probability = sigmoid(log_odds)
            means = zip(*mean_and_sd(probability), probability, strict=True)
            for gene, chromosome, (mean, sd, folds) in zip(ids[here], chromosomes[here], means, strict=True):
                write([escape_cell(gene), escape_cell(chromosome), *map(show_number, (mean, sd, *folds))])
            done += len(probability)
            progress.step(f"{done:,} of {len(ids):,}", len(probability))
    progress.line(f"{show_value(arguments.out, 1000)}: {len(ids):,} rows")


@contextmanager
def open_csv(path: Path) -> Iterator[Callable]:
    """Open a CSV for writing and give the function that writes a row."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield csv.writer(file, lineterminator="\n").writerow


def score_genome(run, arguments: argparse.Namespace) -> None:
    """Score the coding genes of a genome."""
    from core.genome import open_genome

    with open_genome(arguments.fasta) as genome:
        genes, codes, _, notes = read_genes(genome, arguments.gtf, run)
    wanted = choose_folds(genes, run, find_own(run, arguments), notes)
    print_notes(notes)
    ids, chromosomes = genes["gene_id"].tolist(), genes["chromosome"].tolist()
    write_genes(run, arguments, ids, chromosomes, codes.__getitem__, wanted)


# ============================================================================================== ready windows
def score_windows(run, arguments: argparse.Namespace) -> None:
    """Score the sequences of a FASTA that are windows already; the gene id is the sequence's name."""
    from core.genome import open_genome

    layout = run.layout
    with open_genome(check_file(arguments.windows, "windows")) as sequences:
        ids = list(sequences.lengths)
        wrong = {name: length for name, length in sequences.lengths.items() if length != layout.columns}
        if wrong:
            shown = ", ".join(f"{name!r} has {length:,}" for name, length in list(wrong.items())[:3])
            raise InputError(
                f"windows: {len(wrong):,} of {len(ids):,} sequences of {arguments.windows} do not have "
                f"{layout.columns:,} bases ({shown}); this run's windows are {layout.region_size:,} of promoter, "
                f"{layout.padding} N and {layout.region_size:,} of terminator, on the gene's strand"
            )

        def read(here: slice) -> np.ndarray:
            codes = np.stack([sequences.codes(name) for name in ids[here]])
            layout.hide(codes)
            return codes

        if len(run.folds) > 1:
            print("windows are scored by all folds; of a gene of the run, all folds but one were trained on it")
        write_genes(run, arguments, ids, [""] * len(ids), read, np.ones((len(ids), len(run.folds)), bool))


# ============================================================================================== variants
def write_pairs(pairs, scores: tuple[np.ndarray, np.ndarray], background, ids, write: Callable) -> None:
    """Write the effects of pairs, or hand those of random substitutions to the background.

    Args:
        pairs: `lcre.variant_batches.Pairs` that were scored.
        scores: log-odds without and with the changes, each (pairs, folds).
        background: a `lcre.variant_effects.Background`.
        ids: of all genes.
        write: of `open_effects`.
    """
    reference, alternative = scores
    effect, sd = mean_and_sd(alternative - reference)
    if pairs.drawn:
        background.add(pairs.regions, effect)
        return
    means = (mean_and_sd(sigmoid(log_odds))[0] for log_odds in (reference, alternative))
    cells = zip(*means, effect, sd, background.rank(pairs.regions, effect), strict=True)
    for allele, gene, region, numbers in zip(pairs.alleles, pairs.genes, pairs.regions, cells, strict=True):
        write(allele, ids[gene], region, *map(show_number, numbers))


@contextmanager
def open_effects(arguments: argparse.Namespace, survey) -> Iterator[Callable]:
    """Open the CSV or VCF of effects and give the function that writes an effect: an allele, then the cells.

    Args:
        arguments: of the command line.
        survey: of the input where a VCF is written, a `lcre.annotated_vcf.Survey`; otherwise None.
    """
    from lcre.annotated_vcf import open_annotated
    from lcre_classifier import __version__

    if survey:
        with open_annotated(arguments.vcf, arguments.out, survey, __version__) as annotator:

            def write_effect(allele, gene_id, region, reference, alternative, effect, sd, percentile) -> None:
                annotator.add(allele, gene_id, region, effect, percentile)

            yield write_effect
        return
    with replacing(arguments.out) as temporary, open_csv(temporary) as write:
        write(EFFECT_COLUMNS)
        yield lambda allele, gene_id, *cells: write([escape_cell(gene_id), escape_cell(allele.name), *cells])


def rejected_file(out: Path) -> Path:
    """Return the name of the table of variants that cannot be scored, beside the output."""
    return out.with_name(out.name.removesuffix(".gz")).with_suffix(".rejected.csv")


def score_variants(run, arguments: argparse.Namespace) -> None:
    """Score the variants of a VCF in every gene whose windows hold them, in the order of the file."""
    from core.genome import open_genome
    from lcre import annotated_vcf, variants
    from lcre.variant_batches import VariantBatches
    from lcre.variant_effects import EFFECTS_CHECKED, Background

    survey = annotated_vcf.survey_input(arguments.vcf, arguments.out) if annotated_vcf.is_vcf(arguments.out) else None
    rejected_path = rejected_file(arguments.out)
    with ExitStack() as stack:
        genome = stack.enter_context(open_genome(arguments.fasta))
        genes, codes, partner, notes = read_genes(genome, arguments.gtf, run)
        lines, vcf_partner = variants.match_genome(arguments.vcf, genome, notes)
        wanted = choose_folds(genes, run, find_own(run, arguments), notes)
        windows = variants.Windows(
            codes,
            genes["chromosome"].map(partner).tolist(),
            genes["start"].to_numpy(),
            genes["end"].to_numpy(),
            genes["strand"].to_numpy(str),
            run.layout,
        )
        print_notes(notes)
        progress, ids, written, shown, tenth = Progress(lines), genes["gene_id"].tolist(), 0, 0, 0
        reject = stack.enter_context(open_csv(stack.enter_context(replacing(rejected_path))))
        write = stack.enter_context(open_effects(arguments, survey))
        reject(["line", "variant", "reason"])
        background, file = Background(windows), variants.read_vcf(arguments.vcf)
        batches = VariantBatches(file, vcf_partner, genome, windows, ids, background, reject, progress, BATCH)
        arrays = (pairs.gather(windows.codes, wanted) for pairs in batches)
        for pairs, scores in score_batches(run, arguments, "score_variants", arrays, progress):
            write_pairs(pairs, scores, background, ids, write)
            if pairs.drawn:
                progress.show(f"percentiles: {background.scored:,} random substitutions scored")
                continue
            written += len(pairs.genes)
            progress.step(f"{pairs.lines:,} of {lines:,} lines, {written:,} rows", pairs.lines - shown)
            shown = pairs.lines
            if shown * 10 // lines > tenth:
                tenth = shown * 10 // lines
                progress.line(f"{shown:,} of {lines:,} lines of the VCF, {written:,} rows", with_time_left=True)
    counts = batches.counts
    if not counts["rejected"]:
        rejected_path.unlink()
    index = f" and {survey.index}" if survey and survey.index else ""
    progress.line(f"{show_value(arguments.out, 1000)}{index}: {written:,} effects, one a gene and variant")
    scored = counts.pop("scored", 0)
    listed = counts.pop("rejected", 0)
    print(f"variants in windows, scored: {scored:,}")
    for reason, count in (+counts).most_common():
        print(f"not scored: {count:,}, {reason}")
    if listed:
        where = show_value(rejected_path, 1000)
        print(f"{where}: the {listed:,} that cannot be scored, each with its reason")
    print(f"note: {EFFECTS_CHECKED}")


# ============================================================================================== main
def print_notes(notes: Sequence[str]) -> None:
    """Print sentences for the user."""
    print("".join(f"note: {note}\n" for note in notes), end="", flush=True)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what the command line asks for, or leave with one line and exit status 2."""
    from lcre.settings import RULES
    from lcre_classifier import __version__

    parser = OneLineParser(
        prog="lcre_predict.py",
        description=(__doc__ or "").strip(),
        epilog="Exit status: 0 done, 2 the input is wrong (one line says what), 130 interrupted; in both nothing is "
        "written.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--models", type=Path, required=True, metavar="RUN", help="a finished run, as saved_models/demo"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="to write: .csv; with --vcf also .vcf.gz, .vcf"
    )
    parser.add_argument("--fasta", type=Path, metavar="FILE", help="genome, plain, gzip or bgzip")
    parser.add_argument("--gtf", type=Path, metavar="FILE", help="annotation, GTF or GFF3, plain or gzip")
    parser.add_argument("--vcf", type=Path, metavar="FILE", help="variants on that genome, plain, gzip or bgzip")
    parser.add_argument("--windows", type=Path, metavar="FILE", help="FASTA of ready windows, instead of a genome")
    parser.add_argument(
        "--all-folds",
        action="store_true",
        help="score the run's own genes with all folds, also those that trained on them",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="processes on this machine [1]; of Dask, batches at a time"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="tcp://host:8786 of a Dask cluster that computes")
    parser.add_argument("--version", action="version", version=f"lcre_predict {__version__}")
    arguments = parser.parse_args(argv)
    RULES["JOBS"].check("--jobs", arguments.jobs)
    check_scheduler(arguments.scheduler, "--scheduler")
    if arguments.windows and (arguments.fasta or arguments.gtf or arguments.vcf):
        parser.error("--windows goes without --fasta, --gtf and --vcf")
    if not arguments.windows and not (arguments.fasta and arguments.gtf):
        parser.error("give --fasta and --gtf, or --windows")
    return arguments


def check_kind(out: Path, of_variants: bool) -> None:
    """Raise InputError where the name of an output is not that of a kind that can be written."""
    from lcre.annotated_vcf import is_vcf

    if of_variants and not (out.suffix == ".csv" or is_vcf(out)):
        raise InputError(f"out: --vcf writes .csv, .vcf.gz and .vcf, not {show_value(out.name)}; give such a name")
    if not of_variants and is_vcf(out):
        raise InputError(f"out: {show_value(out.name)} is the name of a VCF, which takes --vcf; give a name in .csv")


def check_out(arguments: argparse.Namespace) -> None:
    """Raise InputError where the output cannot be written or would take the place of an input."""
    from lcre.annotated_vcf import index_file

    if arguments.out.is_dir() or not arguments.out.absolute().parent.is_dir():
        raise InputError(
            f"out: {arguments.out} is a folder, or in none that exists; make it first, or give another name"
        )
    check_kind(arguments.out, bool(arguments.vcf))
    beside = arguments.out.resolve().parent == arguments.models.resolve().parent
    of_run = [f"{arguments.models.name}_{name}" for name in TABLES]
    inside = any(
        folder.name.startswith(f"{arguments.models.name}_model_") for folder in arguments.out.resolve().parents
    )
    if inside or (beside and arguments.out.name in of_run):
        raise InputError(
            f"out: {show_value(arguments.out, 1000)} would take the place of a file of the run; give another name"
        )
    written = arguments.out, rejected_file(arguments.out), *(index_file(arguments.out, end) for end in (".tbi", ".csi"))
    for name in ("fasta", "gtf", "vcf", "windows"):
        path = getattr(arguments, name)
        if path and path.exists() and path.resolve() in [file.resolve() for file in written]:
            raise InputError(f"out: {arguments.out} would take the place of --{name}; give another name")


def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    from lcre.trained import load_run
    from lcre_classifier import WindowLayout

    arguments = parse(argv)
    check_out(arguments)
    find_scheduler(arguments.scheduler)
    trained = load_run(arguments.models, WindowLayout.of)
    for name in ("fasta", "gtf", "vcf"):
        if getattr(arguments, name):
            check_file(getattr(arguments, name), name.upper())
    action = score_windows if arguments.windows else score_variants if arguments.vcf else score_genome
    action(trained, arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script("lcre_predict.py", run, argv, "nothing was written")


if __name__ == "__main__":
    sys.exit(main())
