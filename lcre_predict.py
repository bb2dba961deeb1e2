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
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from core import InputError, show_value
from core.cli import OneLineParser, run_script
from core.files import check_file, escape_cell, replacing
from core.progress import Progress
from lcre.records import TABLES

BATCH = 2048  # windows that are gathered before they are scored: enough for full batches in every fold
LINES = 1000  # of a VCF that are joined with the windows at once
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
        self, windows: np.ndarray, known: np.ndarray, rows: np.ndarray, gene: np.ndarray, wanted: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-odds of windows and of the same windows with variants, (genes, folds) and (variants, folds).

        Args:
            windows: base codes, uint8, (genes, columns).
            known: log-odds that were computed before, else nan, (genes, folds).
            rows: base codes of windows with variants, uint8, (variants, columns).
            gene: the row of `windows` that each is a change of, (variants,).
            wanted: which folds score which gene, booleans, (genes, folds).
        """
        own, changed = known.copy(), np.full((len(rows), len(self.folds)), np.nan)
        for number, network in enumerate(self.networks):
            genes, here = np.flatnonzero(wanted[:, number]), np.flatnonzero(wanted[gene, number])
            if len(here):
                place = np.searchsorted(genes, gene[here])
                found = network().score_variants(windows[genes], known[genes, number], rows[here], place)
                own[genes, number], changed[here, number] = found
        return own, changed


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
            f"{coding - len(codes):,} of {coding:,} coding genes have no windows of {layout.upstream} + "
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
                f"{int(never.sum()):,} {which} that no fold held out are scored by all folds; "
                f"{int((never & trained_on).sum()):,} of them were trained on, which flatters their probability"
            )
    elif trained_on.any():
        notes.append(
            f"{int(trained_on.sum()):,} genes have ids of genes that some folds were trained on; if they are the same "
            "genes, the mean over all folds flatters them: give the very files of the run, packed as they were"
        )
    return wanted


def find_own(run, arguments: argparse.Namespace) -> str | None:
    """Return which of the run's own genomes is to be scored, see `lcre.trained.Run.find_own`; None: by all folds."""
    return None if arguments.all_folds else run.find_own(arguments.fasta, arguments.gtf)


def write_genes(ids, chromosomes, batches: Iterator[np.ndarray], wanted: np.ndarray, scorer: Scorer, out: Path) -> None:
    """Score windows batch by batch and write a row each.

    Args:
        ids, chromosomes: of all windows.
        batches: base codes of `BATCH` windows at a time, uint8, (n, columns).
        wanted: which folds score which window, (windows, folds).
        scorer: of the run.
        out: the CSV to write.
    """
    progress, done = Progress(len(ids)), 0
    with replacing(out) as temporary, open_csv(temporary) as write:
        write(["gene_id", "chromosome", "probability", "sd", *(f"fold_{fold}" for fold in scorer.folds)])
        for codes in batches:
            here = slice(done, done + len(codes))
            with progress.whole_steps():
                probability = sigmoid(scorer.score(codes, wanted[here]))
                done += len(codes)
                progress.step(f"{done:,} of {len(ids):,}", len(codes))
            means = zip(*mean_and_sd(probability), probability, strict=True)
            for gene, chromosome, (mean, sd, folds) in zip(ids[here], chromosomes[here], means, strict=True):
                write([escape_cell(gene), escape_cell(chromosome), *map(show_number, (mean, sd, *folds))])
    progress.line(f"{show_value(out, 1000)}: {len(ids):,} rows")


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
    scorer = start(run, notes)
    batches = (codes[begin : begin + BATCH] for begin in range(0, len(codes), BATCH))
    write_genes(genes["gene_id"].tolist(), genes["chromosome"].tolist(), batches, wanted, scorer, arguments.out)


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

        def read_batch(names: list[str]) -> np.ndarray:
            codes = np.stack([sequences.codes(name) for name in names])
            layout.hide(codes)
            return codes

        if len(run.folds) > 1:
            print("windows are scored by all folds; of a gene of the run, all folds but one were trained on it")
        batches = (read_batch(ids[begin : begin + BATCH]) for begin in range(0, len(ids), BATCH))
        wanted = np.ones((len(ids), len(run.folds)), bool)
        write_genes(ids, [""] * len(ids), batches, wanted, start(run, []), arguments.out)


# ============================================================================================== variants
class VariantTable:
    """Scores pairs of gene and variant in batches and writes them in the order they come.

    The effect is the difference in log-odds: where a gene is all but certainly high or low, the probability hardly
    moves whatever a variant breaks. Each gene's own window is scored once, with the first variant that lies in it.
    """

    def __init__(self, scorer: Scorer, windows, ids: list[str], wanted: np.ndarray, write: Callable):
        self.scorer, self.windows, self.ids, self.wanted, self.write = scorer, windows, ids, wanted, write
        self.rank = None  # gives the percentiles of effects, `lcre.variant_effects.Background.rank`
        self.reference = np.full(wanted.shape, np.nan)  # log-odds, of the genes that were scored
        self.pairs, self.rows, self.written = [], np.empty((BATCH, windows.codes.shape[1]), np.uint8), 0

    def add(self, gene: int, allele, region: str, row: np.ndarray) -> None:
        """Take a pair: a gene's window with a `lcre.variants.Allele` in it, uint8, (columns,)."""
        self.rows[len(self.pairs)] = row
        self.pairs.append((gene, allele, region))
        if len(self.pairs) == BATCH:
            self.flush()

    def flush(self) -> None:
        """Score and write the pairs that wait."""
        if not self.pairs:
            return
        genes, regions = np.array([gene for gene, *_ in self.pairs]), [region for *_, region in self.pairs]
        reference, alternative = self.score(genes, self.rows[: len(genes)])
        effect, sd = mean_and_sd(alternative - reference)
        means = (mean_and_sd(sigmoid(log_odds))[0] for log_odds in (reference, alternative))
        cells = zip(*means, effect, sd, self.rank(regions, effect), strict=True)
        for (gene, allele, region), numbers in zip(self.pairs, cells, strict=True):
            self.write(allele, self.ids[gene], region, *map(show_number, numbers))
        self.written += len(self.pairs)
        self.pairs.clear()

    def score(self, genes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-odds of genes' windows without and with changes in them, each (pairs, folds).

        Args:
            genes: the gene of each pair, (pairs,).
            rows: its window with the change, uint8, (pairs, columns).
        """
        here, gene = np.unique(genes, return_inverse=True)
        self.reference[here], alternative = self.scorer.score_variants(
            self.windows.codes[here], self.reference[here], rows, gene, self.wanted[here]
        )
        return self.reference[genes], alternative

    def score_effects(self, genes: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the effects of changes in genes' windows, mean over folds, (pairs,)."""
        reference, alternative = self.score(genes, rows)
        return mean_and_sd(alternative - reference)[0]


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
        scorer, progress = start(run, notes), Progress(lines)
        reject = stack.enter_context(open_csv(stack.enter_context(replacing(rejected_path))))
        write = stack.enter_context(open_effects(arguments, survey))
        table = VariantTable(scorer, windows, genes["gene_id"].tolist(), wanted, write)
        table.rank = Background(windows, genome, table.score_effects, progress).rank
        reject(["line", "variant", "reason"])
        counts, shown, tenth, written = Counter(), 0, 0, 0
        number, file = 0, variants.read_vcf(arguments.vcf)
        while batch := list(itertools.islice(file, LINES)):
            number += len(batch)
            with progress.whole_steps():
                place_variants(batch, vcf_partner, genome, windows, table, reject, counts)
            if table.written == written:
                continue
            written = table.written  # a batch was scored, which is what takes the time
            progress.step(f"{number:,} of {lines:,} lines, {written:,} rows", number - shown)
            shown = number
            if number * 10 // lines > tenth:
                tenth = number * 10 // lines
                progress.line(f"{number:,} of {lines:,} lines of the VCF, {written:,} rows  {progress.time_left()}")
        with progress.whole_steps():
            table.flush()
    if not counts["rejected"]:
        rejected_path.unlink()
    index = f" and {survey.index}" if survey and survey.index else ""
    progress.line(f"{show_value(arguments.out, 1000)}{index}: {table.written:,} effects, one a gene and variant")
    scored = counts.pop("scored", 0)
    listed = counts.pop("rejected", 0)
    print(f"{scored:,} variants lie in windows and are scored")
    for reason, count in (+counts).most_common():
        print(f"{count:,} are not scored: {reason}")
    if listed:
        where = show_value(rejected_path, 1000)
        print(f"{where}: the {listed:,} that cannot be scored, each with its reason")
    print(f"note: {EFFECTS_CHECKED}")


def place_variants(
    lines: Sequence, partner: dict[str, str], genome, windows, table: VariantTable, reject: Callable, counts: Counter
) -> None:
    """Hand the alleles of lines of a VCF to the table, or to the rejected ones with the reason, and count them.

    Args:
        lines: of `lcre.variants.Line`.
        partner: the VCF's name of a chromosome -> the genome's.
        genome, windows: open genome; the `lcre.variants.Windows` of all genes.
        table: takes the windows with the variants in them.
        reject: writes a row of line, variant, reason.
        counts: added to: `scored`, `rejected` and each reason.
    """
    from lcre import variants

    alleles = []  # line, allele, and the reason why it cannot be scored, or what it changes
    for line in lines:
        reason = variants.explain_reference(line, partner, genome)
        for alternative in line.alternatives:
            wrong = reason or variants.explain_alternative(line.reference, alternative)
            allele = variants.Allele(line.number, alternative, line.name(alternative))
            alleles.append((line, allele, wrong or variants.make_edit(line, alternative)))
    edits = [(partner[line.chromosome], edit) for line, _, edit in alleles if not isinstance(edit, str)]
    found = iter(windows.find([name for name, _ in edits], [edit for _, edit in edits]))

    def refuse(allele, reason: str) -> None:
        reject([allele.line, escape_cell(allele.name), reason])
        counts.update(["rejected", reason.split(":")[0]])

    for _, allele, edit in alleles:
        if isinstance(edit, str):
            refuse(allele, edit)
            continue
        genes, scored = next(found), False
        for gene, region in genes:
            row = windows.edit(gene, genome, edit)
            if row is None:
                refuse(allele, f"deletes a whole gene: {table.ids[gene]}")
            else:
                table.add(gene, allele, region, row)
                scored = True
        counts["scored"] += scored
        counts["outside of all windows"] += not genes


# ============================================================================================== main
def start(run, notes: list[str]) -> Scorer:
    """Say what is done, start TensorFlow and load the models of a run."""
    from core.device import start_tensorflow

    print("".join(f"note: {note}\n" for note in notes), end="")
    device = start_tensorflow()
    import tensorflow as tf

    # A GPU's short form of float32 would make the same window differ from batch to batch by more than small effects.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    scorer = Scorer(run)
    print(f"{len(run.folds)} folds of {show_value(run.prefix, 1000)}; computing on {device}", flush=True)
    return scorer


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what the command line asks for, or leave with one line and exit status 2."""
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
    parser.add_argument("--version", action="version", version=f"lcre_predict {__version__}")
    arguments = parser.parse_args(argv)
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
        raise InputError(f"out: {arguments.out} is not a file in a folder that exists")
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
