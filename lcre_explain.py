"""Shows which bases a trained network reads: contribution scores, profiles around TSS and TES, logos, k-mers, motifs.

`python lcre_explain.py --models saved_models/demo` explains the genes of a finished run that were predicted correctly,
each by the fold that held it out, and writes to saved_models/demo_explain. The script reads top to bottom:
it chooses genes, cuts their windows, computes contribution scores gene by gene, and writes tables, figures and the
files that TF-MoDISco reads.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from core import InputError, examples, show_value
from core.cli import OneLineParser, flag_of, run_script
from core.files import check_file, file_names, replacing, write_csv
from core.genome import one_hot
from core.progress import Progress, show_duration

METHODS = ("integrated-gradients", "mutagenesis")
CLASSES = ("low", "high")
COLOURS = {"low": "#a03c79", "high": "#00765a"}  # those of the report
TOP_KMERS = 100  # of each region
LOGO_WIDTH = 60  # bp that are readable in one row
MOST_ID = 10_000  # characters of a gene id: in contributions.npz every id takes four bytes for each of the longest
TOGETHER = 32  # genes that a process is given at a time
OFF_BY = 0.02  # probabilities that differ by more are not those of this run's files


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the command line; raises InputError where a number is out of range."""
    from core.executor import check_scheduler
    from lcre.settings import RULES
    from lcre_classifier import __version__

    parser = OneLineParser(
        prog="lcre_explain.py",
        description=__doc__,
        epilog="Exit status: 0 done, 2 the input is wrong (one line says what), 130 interrupted.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_argument_group("what to explain")
    what.add_argument(
        "--models",
        type=Path,
        default=Path("saved_models/demo"),
        help="the run: what its files begin with [saved_models/demo]",
    )
    what.add_argument("--fasta", type=Path, help="genome; not given: the file that the run was trained on")
    what.add_argument("--gtf", type=Path, help="annotation; not given: the file that the run was trained on")
    what.add_argument(
        "--genes",
        default="all",
        help="all: every held-out gene that is predicted correctly; a number: as many of them, low and high alike; or "
        "gene ids, comma-separated or in a .txt or .csv: those, right or wrong [all]",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--method", choices=METHODS, default=METHODS[0], help=f"[{METHODS[0]}]")
    how.add_argument("--steps", type=int, default=20, metavar="N", help="gradients for each reference [20]")
    how.add_argument(
        "--references", type=int, default=10, metavar="N", help="shuffles of a gene's window it is compared with [10]"
    )
    how.add_argument("--seed", type=int, default=1, metavar="N", help="of the shuffles and of the choice of genes [1]")
    side = parser.add_argument_group("side by side")
    side.add_argument("--jobs", type=int, metavar="N", help="processes on this machine [1]; of Dask, tasks at a time")
    side.add_argument("--scheduler", metavar="ADDRESS", help="tcp://host:8786 of a Dask cluster that computes")
    out = parser.add_argument_group("what is written")
    out.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder [MODELS_explain, where the report looks for it; genes given by name: MODELS_explain_named]",
    )
    out.add_argument("--logos", type=int, default=6, metavar="N", help="single genes to draw [6]")
    out.add_argument("--word", type=int, default=6, metavar="K", help="bases of the k-mers in words.csv, 3 to 7 [6]")
    out.add_argument("--motifs", action="store_true", help="run TF-MoDISco as well (requirements-motifs.txt)")
    out.add_argument(
        "--meme",
        type=Path,
        metavar="FILE",
        help="known motifs: --motifs matches its own to them (Tomtom); with --bed they are looked for instead",
    )
    out.add_argument("--bigwig", action="store_true", help="contributions along the genome, contributions.bw")
    out.add_argument(
        "--bed",
        action="store_true",
        help="places of the motifs of --meme, or without it those of --motifs, in the windows (FIMO), motif_hits.bed",
    )
    parser.add_argument("--version", action="version", version=f"lcre_explain {__version__}")
    arguments = parser.parse_args(argv)
    for name, least, most in (
        *(("steps", 1, 100_000), ("references", 1, 1000), ("logos", 0, 1000), ("word", 3, 7), ("seed", 0, 2**31)),
    ):
        if not least <= getattr(arguments, name) <= most:
            raise InputError(f"--{name} {getattr(arguments, name)} is out of range; give {least} to {most}")
    RULES["JOBS"].check("--jobs", arguments.jobs)
    check_scheduler(arguments.scheduler, "--scheduler")
    if arguments.scheduler is None and arguments.jobs is None:
        arguments.jobs = 1
    if arguments.bed and not (arguments.motifs or arguments.meme):
        raise InputError("--bed needs motifs: give known ones with --meme FILE, or find some with --motifs")
    if arguments.out and arguments.out.suffix.lower() in (".bw", ".bigwig", ".bed"):
        raise InputError(
            f"--out {arguments.out} is the name of a folder; --bigwig and --bed write files of fixed names into it"
        )
    arguments.motifs = arguments.motifs or (arguments.meme is not None and not arguments.bed)
    arguments.out = arguments.out or Path(f"{arguments.models}_explain{'_named' if read_ids(arguments.genes) else ''}")
    return arguments


# ============================================================================================== genes and windows
def choose_genes(run, wanted: str, seed: int, species: str = ""):
    """Choose the genes to explain, and the fold that explains each.

    Args:
        run: the `lcre.trained.Run`.
        wanted: all, a number, ids, or a file of ids, as `--genes` says.
        seed: of the draw where `wanted` is a number.
        species: whose genes are explained, where the run holds out species.

    Returns:
        A frame in the order of the run's predictions: gene_id, chromosome, fold, target (0 low, 1 high, 2 middle,
        -1 none) and probability.

    Raises:
        InputError: no such genes, or none that was held out.
    """
    from lcre.trained import read_columns

    path = Path(f"{run.prefix}_predictions.csv")
    names, numbers = ["gene_id", "chromosome"], ["target", "probability"]
    genes = read_columns(path, names, numbers)[names + numbers]
    long = genes.loc[genes["gene_id"].str.len() > MOST_ID, "gene_id"]
    if len(long):
        shown = examples(map(show_value, long))
        raise InputError(f"models: {path} has gene ids of more than {MOST_ID:,} characters, which fill memory: {shown}")
    genes["target"] = genes["target"].fillna(-1).astype(int)
    front = f"{species}:" if species else ""
    genes = genes[genes["gene_id"].str.startswith(front)].reset_index(drop=True)
    genes[names] = genes[names].apply(run.without_species)
    held_out = run.find_held_out(genes, species)
    genes.insert(2, "fold", np.array(run.folds, object)[held_out.argmax(axis=1)])  # the first that held it out
    genes = genes[held_out.any(axis=1) & genes["probability"].notna()]
    ids = read_ids(wanted)
    if ids:
        missing = [name for name in ids if name not in set(genes["gene_id"])]
        if missing:
            raise InputError(
                f"--genes: {len(missing)} of {len(ids)} genes have no prediction by a fold that held them out in "
                f"{path.name}: {examples(map(show_value, missing))}"
            )
        return genes[genes["gene_id"].isin(set(ids))].reset_index(drop=True)
    tested = set()
    for fold in run.folds:
        roles = run.roles(fold)
        tested |= set(roles.index[roles == "test"])
    correct = (genes["probability"] > 0.5) == (genes["target"] == 1)
    scored = genes["target"].isin([0, 1]) & (front + genes["gene_id"]).isin(tested)
    genes = genes[correct & scored].reset_index(drop=True)
    if genes.empty:
        raise InputError(f"no held-out gene of {run.prefix} is predicted correctly; name some with --genes")
    return genes if wanted == "all" else genes.loc[draw_evenly(genes["target"].to_numpy(), int(wanted), seed)]


def read_ids(wanted: str) -> list[str]:
    """Return the gene ids that `--genes` names; none where it asks for all or for a number."""
    from core.tables import read_gene_list

    if wanted == "all":
        return []
    if wanted.removeprefix("-").isdecimal():
        if len(wanted) > 9 or int(wanted) < 1:
            raise InputError(f"--genes {show_value(wanted)} is out of range; give 1 to 999999999, ids, or all")
        return []
    if wanted.endswith((".txt", ".csv", ".tsv")):
        check_file(Path(wanted), "--genes")
        return read_gene_list(Path(wanted), None)
    ids = [name.strip() for name in wanted.split(",") if name.strip()]
    if not ids:
        raise InputError("--genes names no gene; give ids, a number, or all")
    return ids


def draw_evenly(target: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` rows, as many low (0) as high (1) as far as there are, in ascending order."""
    random = np.random.default_rng(seed)
    low, high = (random.permutation(np.flatnonzero(target == value)) for value in (0, 1))
    of_low = min(max(count // 2, count - len(high)), len(low))
    return np.sort(np.concatenate([low[:of_low], high[: count - of_low]]))


def find_input(run, name: str, given: Path | None) -> Path:
    """Return the genome or annotation: the one given, that of the run, or that of the run's data set here."""
    from lcre.settings import locate
    from lcre_classifier import DATASETS, FOLDERS

    if given is not None:
        return given
    if run.way == "species":
        raise InputError(f"{name}: a run of several species needs {flag_of(name)}: one of {examples(run.species, 12)}")
    recorded = getattr(run.settings, name, None)
    if not recorded:
        raise InputError(f"{name}: {run.prefix}_run.json does not say which was trained on; give {flag_of(name)}")
    recorded = Path(recorded)
    bundled = locate(DATASETS.get(getattr(run.settings, "DATASET", None), {}).get(name, recorded), FOLDERS)
    for path in (recorded, bundled):
        if path and os.path.isfile(path) and path.name == recorded.name:  # a name too long is no file either
            return path
    shown = show_value(recorded, 200)
    raise InputError(f"{name}: the run was trained on {shown}, which is not there; give {flag_of(name)}")


def find_species(run, fasta: Path, gtf: Path) -> str:
    """Return which species of the run genome and annotation are; "" for a run that does not hold out species."""
    if run.way != "species":
        return ""
    species = run.find_own(fasta, gtf)
    if species is None:
        raise InputError(
            f"FASTA and GTF are not, byte for byte, those of a species of {run.prefix}: {examples(run.species, 12)}; "
            "give those of one"
        )
    return species


def read_windows(run, genes, fasta: Path, gtf: Path):
    """Cut the windows of `genes`, a frame with gene_id.

    Returns:
        Their base codes in its order, uint8, (genes, columns), and their `lcre.genome_tracks.Places`.
    """
    from core.annotation import read_annotation
    from core.genome import open_genome
    from core.names import CHROMOSOME_BRIDGES, GENE_BRIDGES, join_names
    from lcre.genome_tracks import Places
    from lcre_classifier import cut_genome

    notes: list[str] = []
    annotation, _ = read_annotation(gtf, genes["gene_id"])
    partner = join_names(genes["gene_id"], annotation["gene_id"], GENE_BRIDGES, "models and GTF have no gene", notes)
    back = {other: name for name, other in partner.items()}
    annotation = annotation[annotation["gene_id"].isin(back)].reset_index(drop=True)
    with open_genome(fasta) as genome:
        names = join_names(
            annotation["chromosome"], genome.lengths, CHROMOSOME_BRIDGES, "GTF and FASTA have no chromosome", notes
        )
        windows, _ = cut_genome(genome, annotation, names, run.layout)
        lengths = genome.lengths
    print("".join(f"note: {note}\n" for note in notes), end="")
    annotation = annotation[annotation["window_fits"]]
    row_of = {back[name]: row for row, name in enumerate(annotation["gene_id"])}
    missing = [name for name in genes["gene_id"] if name not in row_of]
    if missing:
        shown = examples(map(show_value, missing))
        raise InputError(
            f"{len(missing)} of {len(genes)} genes have no window in {fasta.name} and {gtf.name} ({shown}); give "
            "the genome and annotation that the run was trained on"
        )
    rows = [row_of[name] for name in genes["gene_id"]]
    there = annotation.iloc[rows]
    chromosome, minus = there["chromosome"].map(names).to_numpy(str), (there["strand"] == "-").to_numpy()
    start, end = there["start"].to_numpy(), there["end"].to_numpy()
    return windows[rows], Places(genes["gene_id"].to_numpy(str), chromosome, start, end, minus, lengths, run.layout)


# ============================================================================================== contributions
@dataclass
class Results:
    """What was computed, on disk, a row a gene."""

    hypothetical: np.ndarray  # float32, (genes, columns, 4)
    contributions: np.ndarray  # float32, (genes, columns, 4)
    one_hot: np.ndarray  # uint8, (genes, columns, 4)


@contextlib.contextmanager
def open_results(folder: Path, genes: int, columns: int) -> Iterator[Results]:
    """Give arrays that lie in a scratch folder in `folder`, which is gone afterwards: memory stays small."""
    with tempfile.TemporaryDirectory(prefix=".lcre-", dir=folder) as scratch:

        def array(name: str, kind) -> np.ndarray:
            file = Path(scratch) / f"{name}.npy"
            return np.lib.format.open_memmap(file, "w+", kind, (genes, columns, 4))

        yield Results(array("hypothetical", np.float32), array("contributions", np.float32), array("codes", np.uint8))


def explain_genes(run, genes, windows: np.ndarray, results: Results, arguments: argparse.Namespace) -> None:
    """Explain every gene by its fold, into `results`; adds logit, reference_logit and completeness_gap to `genes`."""
    from core.device import start_tensorflow
    from core.executor import open_workers

    progress, values, tasks, places = Progress(len(genes)), np.zeros((len(genes), 3)), {}, {}
    how = {name: getattr(arguments, name) for name in ("method", "steps", "references", "seed")}
    for fold, rows in genes.groupby("fold", sort=False).indices.items():
        for begin in range(0, len(rows), TOGETHER):
            some = rows[begin : begin + TOGETHER]
            name = f"fold {fold}, genes {begin + 1:,} to {begin + len(some):,}"
            tasks[name] = fold, genes["gene_id"].iloc[some].tolist(), windows[some], how
            places[name] = some
    left = genes["fold"].value_counts()
    with open_workers(arguments.jobs, arguments.scheduler, len(tasks)) as workers:
        if workers.here:
            print(f"computing on {start_tensorflow()}")
            explain = partial(explain_some, run)
        else:
            progress.line(f"genes side by side: {workers.where}")
            explain = explain_some_in_worker
            tasks = {name: (run.prefix.absolute(), *task) for name, task in tasks.items()}
        for name, explained in workers.run(explain, tasks.items(), progress):
            rows = places[name]
            for row, codes, explanation in zip(rows, windows[rows], explained, strict=True):
                results.hypothetical[row] = explanation.hypothetical
                results.contributions[row] = explanation.contributions
                results.one_hot[row] = one_hot(codes)
                values[row] = explanation.logit, explanation.reference_logit, explanation.completeness_gap
            fold = tasks[name][-4]
            left[fold] -= len(rows)
            if not left[fold]:
                progress.line(f"fold {show_value(fold)}: {(genes['fold'] == fold).sum():,} genes", with_time_left=True)
    progress.line(f"{len(genes):,} genes explained")
    genes[["logit", "reference_logit", "completeness_gap"]] = values


def explain_some(run, fold: str, gene_ids: Sequence[str], windows: np.ndarray, how: dict, progress: Progress) -> list:
    """Explain genes by a fold.

    Args:
        run: the `lcre.trained.Run`.
        fold: whose network it is.
        gene_ids: of the genes.
        windows: their base codes, uint8, (genes, columns).
        how: method, steps, references and seed.
        progress: of all genes.

    Returns:
        The `lcre.attribution.Explanation` of each gene.
    """
    from lcre.attribution import Network, in_silico_mutagenesis, integrated_gradients
    from lcre.shuffle import shuffle_dinucleotides

    key = run.prefix, fold
    if key not in NETWORKS:
        NETWORKS.clear()
        NETWORKS[key] = Network(run.models[fold])
    network, explained = NETWORKS[key], []
    for gene_id, codes in zip(gene_ids, windows, strict=True):
        # a gene's references depend on the gene and the seed only, not on which others are explained
        random = np.random.default_rng([how["seed"], zlib.crc32(gene_id.encode())])
        references = shuffle_dinucleotides(codes, how["references"], random, find_pieces(codes, run.layout))
        if how["method"] == "mutagenesis":
            explained.append(in_silico_mutagenesis(network, codes, references))
        else:
            explained.append(integrated_gradients(network, codes, references, how["steps"]))
        progress.step(f"gene {show_value(gene_id)}  fold {show_value(fold)}")
    return explained


NETWORKS: dict = {}  # prefix and fold -> the network that this process used last
RUNS: dict = {}  # of a worker process: prefix -> the run that it explained last


def explain_some_in_worker(prefix: Path, *task, progress: Progress) -> list:
    """Explain genes in a process that loads the run by itself, once; see `explain_some`."""
    from core.device import start_tensorflow
    from lcre import trained
    from lcre_classifier import WindowLayout

    if prefix not in RUNS:
        RUNS.clear()
        progress.line(f"{progress.worker}computing on {start_tensorflow()}")
        RUNS[prefix] = trained.load_run(prefix, WindowLayout.of)
    return explain_some(RUNS[prefix], *task, progress=progress)


def find_pieces(codes: np.ndarray, layout) -> list[np.ndarray]:
    """Return the columns of promoter and of terminator that have a base: each is shuffled as one sequence.

    So the bases next to the masked codons move too; only the first and the last of each region stay where they are.
    """
    return [columns.start + np.flatnonzero(codes[columns] != 4) for columns in layout.regions.values()]


def compare_with_run(genes) -> str:
    """Return a warning if the probabilities found here are not those that the run wrote, else ''."""
    probability = 1 / (1 + np.exp(-genes["logit"]))
    off = genes.loc[(probability - genes["probability"]).abs() > OFF_BY, "gene_id"]
    if off.empty:
        return ""
    return (
        f"warning: {len(off):,} of {len(genes):,} genes have another probability here than in the run's predictions "
        f"({examples(map(show_value, off))}): genome or annotation are not those it was trained on"
    )


def describe_gap(gap: np.ndarray, method: str) -> str:
    """Return a line on how well the contributions add up to the difference in logit."""
    said = (
        f"completeness gap: median {np.median(gap):.2%} of the difference in logit, {np.mean(gap > 0.05):.0%} of the "
    )
    if method == "mutagenesis":
        return said + "genes above 5 %; contributions by in-silico mutagenesis need not add up"
    return said + "genes above 5 %" + ("; more --steps bring it down" if np.median(gap) > 0.05 else "")


# ============================================================================================== tables
def name_columns(layout):
    """Return what each visible column of a window is: a frame of column, region, position.

    The position is in bp from the TSS (promoter) or the TES (terminator), on the gene's strand; negative: before it.
    """
    import pandas as pd

    column = np.flatnonzero(layout.visible)
    region = np.where(column < layout.regions["promoter"].stop, "promoter", "terminator")
    position = column - np.array([layout.sites[name] for name in region])
    return pd.DataFrame({"column": column, "region": region, "position": position})


def make_profile(genes, windows: np.ndarray, results: Results, layout, method: str):
    """Return the mean absolute contribution by position, as profile.csv has it: a frame.

    Without the outermost bases of each region where references were shuffled: those have their base in every shuffle.
    """
    import pandas as pd

    from lcre.attribution import Profile

    profile = Profile(windows.shape[1])
    for row, target in enumerate(genes["target"]):
        if target not in (0, 1):
            continue
        compared = windows[row] != 4
        if method != "mutagenesis":
            for piece in find_pieces(windows[row], layout):
                compared[piece[[0, -1]] if len(piece) else piece] = False
        profile.add(results.contributions[row], compared, target)
    columns = name_columns(layout)
    frames = []
    for target, name in enumerate(CLASSES):
        means = profile.means[target][columns["column"]]
        frames.append(columns.drop(columns="column").assign(**{"class": name, "mean_abs_contribution": means}))
    return (
        pd.concat(frames)
        .dropna()
        .round({"mean_abs_contribution": 8})[["position", "region", "class", "mean_abs_contribution"]]
    )


def find_kmers(windows: np.ndarray, results: Results, layout, k: int):
    """Return the k-mers that are enriched where contributions are high, as words.csv has them: a frame."""
    from lcre.enrichment import KmerEnrichment

    largest = max((float(np.abs(one.sum(axis=1)).max()) for one in results.contributions), default=0.0) * k
    enrichment = KmerEnrichment(layout, k, largest)
    for codes, values in zip(windows, results.contributions, strict=True):
        enrichment.measure(codes, values.sum(axis=1))
    threshold = enrichment.threshold
    for codes, values in zip(windows, results.contributions, strict=True):
        enrichment.count(codes, values.sum(axis=1), threshold)
    kmers = enrichment.top_kmers(TOP_KMERS)
    kmers["p_value"] = kmers["p_value"].map(lambda value: f"{value:.3g}")
    return kmers.round({"enrichment": 3, "mean_contribution": 6})


def clear(out: Path) -> None:
    """Remove what an earlier explanation left in its folder: the files of two must not stand side by side.

    A folder without contributions.npz held no explanation, and nothing in it is touched.
    """
    if not (out / "contributions.npz").exists():
        return
    written = ("contributions", "modisco_sequences", "modisco_attributions", "genes", "profile", "words", "motifs")
    for stem in (*written, "motif_hits"):
        for suffix in (".npz", ".csv", ".png", ".svg", ".h5", ".bw", ".bed"):
            (out / f"{stem}{suffix}").unlink(missing_ok=True)
    for picture in (out / "logos").glob("*.[ps][nv]g"):
        picture.unlink()


def write_arrays(out: Path, genes, results: Results) -> None:
    """Write contributions.npz and the pair that `modisco motifs` reads, whose arrays are (genes, 4, columns)."""
    with replacing(out / "contributions.npz") as temporary:
        np.savez_compressed(
            temporary,
            gene_id=genes["gene_id"].to_numpy(str),
            one_hot=results.one_hot,
            contributions=results.contributions,
            hypothetical=results.hypothetical,
            logit=genes["logit"].to_numpy(),
            reference_logit=genes["reference_logit"].to_numpy(),
            completeness_gap=genes["completeness_gap"].to_numpy(),
        )
    for name, array in (("modisco_sequences", results.one_hot), ("modisco_attributions", results.hypothetical)):
        with replacing(out / f"{name}.npz") as temporary:
            np.savez_compressed(temporary, array.transpose(0, 2, 1))


# ============================================================================================== figures
@contextlib.contextmanager
def drawing() -> Iterator[object]:
    """Give pyplot, drawing to files in one style, and close what was drawn."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {
        **{"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"},
        **{"axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "svg.hashsalt": "lcre"},
        # ids of genes are no formulas: $, ^, _, % and backslashes are drawn as they are, whatever matplotlibrc says
        **{"text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False},
    }
    with plt.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")  # letters beyond the font: a box in the PNG
        try:
            yield plt
        finally:
            plt.close("all")


def save_figure(figure, path: Path) -> None:
    """Write a figure as .png, to look at, and .svg, for print; `path` is without suffix."""
    for suffix, more in ((".png", {"dpi": 200}), (".svg", {"metadata": {"Date": None}})):
        with replacing(path.with_name(path.name + suffix)) as temporary:
            figure.savefig(temporary, bbox_inches="tight", **more)


def draw_profile(path: Path, profile, counts: dict[str, int]) -> None:
    """Draw profile.csv: one panel around the TSS, one around the TES, low and high genes apart.

    Args:
        profile: as `make_profile` gives it.
        counts: genes of each class.
    """
    with drawing() as plt:
        figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
        for axis, (region, site) in zip(axes, (("promoter", "TSS"), ("terminator", "TES")), strict=True):
            here = profile[profile["region"] == region]
            smooth = max(1, round((here["position"].max() - here["position"].min()) / 80)) if len(here) else 1
            for name in CLASSES:
                one = here[here["class"] == name].set_index("position")["mean_abs_contribution"]
                if one.empty:
                    continue
                one = one.reindex(range(one.index.min(), one.index.max() + 1))  # a gap where codons are masked
                label = f"{name} ({counts[name]:,} genes)"
                axis.plot(one.index, one, color=COLOURS[name], linewidth=0.5, alpha=0.35)
                mean = one.rolling(smooth, center=True, min_periods=1).mean().where(one.notna())
                axis.plot(mean.index, mean, color=COLOURS[name], linewidth=1.6, label=label)
            axis.axvline(0, color="#888888", linewidth=0.8, linestyle="--", zorder=0)
            axis.set_title(f"{region}: around the {site}")
            axis.set_xlabel(f"position from the {site}, bp")
            axis.margins(x=0.01)
        axes[0].set_ylabel("mean |contribution| to the logit")
        axes[0].set_ylim(bottom=0)
        axes[0].legend(
            frameon=False, title=f"means of {smooth} bp; thin: each bp" if smooth > 1 else None, alignment="left"
        )
        save_figure(figure, path)


def find_peak(values: np.ndarray, columns: slice, width: int) -> slice:
    """Return the `width` columns within `columns` with the largest sum of |values|."""
    width = min(width, columns.stop - columns.start)
    sums = np.convolve(np.abs(values[columns]), np.ones(width), mode="valid")
    begin = columns.start + int(np.argmax(sums))
    return slice(begin, begin + width)


def draw_gene(path: Path, gene, contributions: np.ndarray, layout) -> None:
    """Draw one gene: contributions along the whole window, and its strongest bases of each region as letters.

    Args:
        gene: a row of the genes' frame.
        contributions: of the gene, (columns, 4).
        layout: of the windows.
    """
    import logomaker
    import pandas as pd

    values = contributions.sum(axis=1)
    sites = {"promoter": "TSS", "terminator": "TES"}
    peaks = {name: find_peak(values, columns, LOGO_WIDTH) for name, columns in layout.regions.items()}
    with drawing() as plt:
        figure = plt.figure(figsize=(10, 6.2), layout="constrained")
        grid = figure.add_gridspec(3, 2, height_ratios=[1, 1.1, 1.1])
        limits = [min(values.min(), 0) * 1.08, max(values.max(), 0) * 1.08 or 1]
        for place, (name, columns) in enumerate(layout.regions.items()):
            zero = layout.sites[name]
            axis = figure.add_subplot(grid[0, place])
            position = np.arange(columns.start, columns.stop) - zero
            axis.bar(position, values[columns], width=1.0, color="#3d4850", linewidth=0)
            axis.axvspan(peaks[name].start - zero - 0.5, peaks[name].stop - zero - 0.5, color="#ffd76a", alpha=0.45)
            axis.axvline(-0.5, color="#888888", linewidth=0.8, linestyle="--", zorder=0)
            axis.axhline(0, color="#888888", linewidth=0.5)
            axis.set_ylim(limits)
            axis.margins(x=0.01)
            axis.set_title(name)
            axis.set_xlabel(f"position from the {sites[name]}, bp")
            if not place:
                axis.set_ylabel("contribution\nto the logit")
            axis = figure.add_subplot(grid[place + 1, :])
            letters = pd.DataFrame(contributions[peaks[name]], columns=list("ACGT"))
            letters.index = np.arange(peaks[name].start, peaks[name].stop) - zero
            if letters.to_numpy().any():
                logomaker.Logo(letters, ax=axis, color_scheme="classic", flip_below=False)
            axis.axhline(0, color="#888888", linewidth=0.5)
            axis.set_ylim(limits)
            axis.set_title(f"{name}, strongest {len(letters)} bp")
            axis.set_xlabel(f"position from the {sites[name]}, bp")
            axis.set_ylabel("contribution\nto the logit")
        said = {0: "low", 1: "high", 2: "middle"}.get(gene["target"], "not measured")
        gene_id, fold = show_value(gene["gene_id"], 40), show_value(gene["fold"], 30)
        figure.suptitle(
            f"{gene_id}: {said}; probability of being high {gene['probability']:.3f} (fold {fold}); "
            f"logit {gene['logit']:.2f}, its shuffles {gene['reference_logit']:.2f}",
            x=0.01,
            ha="left",
        )
        save_figure(figure, path)


def choose_logos(genes, wanted: str, count: int) -> list[int]:
    """Return the rows to draw: those given by name in their order, else the most certain low and high ones."""
    if read_ids(wanted):
        return list(range(min(count, len(genes))))
    rows = []
    for target, of_class in ((1, count - count // 2), (0, count // 2)):
        here = np.flatnonzero(genes["target"] == target)
        rows += here[np.argsort(-np.abs(genes["logit"].to_numpy()[here]), kind="stable")][:of_class].tolist()
    return rows


def write_motifs(out: Path, layout, known: dict) -> list:
    """Find motifs by TF-MoDISco and write motifs.h5, motifs.csv and their figure.

    Args:
        out: folder of the explanation.
        layout: of the windows.
        known: motifs to match with, as `lcre.motifs.read_known` gives them.

    Returns:
        The `lcre.motifs.Motif`s.
    """
    from lcre import motifs

    found = motifs.find_motifs(out, layout, known)
    write_csv(out / "motifs.csv", motifs.tabulate(found))
    for suffix in (".png", ".svg"):  # of an earlier run
        (out / f"motifs{suffix}").unlink(missing_ok=True)
    if found:
        with drawing() as plt:
            save_figure(motifs.draw_motifs(plt, found), out / "motifs")
    hint = "" if found else "; TF-MoDISco needs a hundred pieces of high contribution and more: give more genes"
    print(f"{show_value(out, 1000)}/motifs.csv: {len(found)} motifs{hint}")
    return found


# ============================================================================================== main
def run(argv: Sequence[str]) -> None:
    """Do what the command line asks for."""
    began = time.perf_counter()
    arguments = parse_arguments(argv)
    from core.executor import find_scheduler
    from lcre import genome_tracks, motifs, trained
    from lcre_classifier import WindowLayout

    if arguments.motifs:
        motifs.need_extra("modiscolite", "memelite")
    elif arguments.bed:
        motifs.need_extra("memelite")
    known_motifs = motifs.read_known(arguments.meme) if arguments.meme else {}
    find_scheduler(arguments.scheduler)
    trained_run = trained.load_run(arguments.models, WindowLayout.of)
    fasta, gtf = (find_input(trained_run, name, getattr(arguments, name.lower())) for name in ("FASTA", "GTF"))
    species = find_species(trained_run, fasta, gtf)
    genes = choose_genes(trained_run, arguments.genes, arguments.seed, species).reset_index(drop=True)
    counts = {name: int((genes["target"] == target).sum()) for target, name in enumerate(CLASSES)}
    others = f", {len(genes) - sum(counts.values()):,} of neither class" if len(genes) > sum(counts.values()) else ""
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"held-out genes to explain: {len(genes):,} ({said}{others}); {arguments.method}")
    windows, places = read_windows(trained_run, genes, fasta, gtf)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=arguments.out).close()
    except OSError as error:
        raise InputError(f"--out: cannot write to {arguments.out} ({error.strerror}); name another folder") from None

    layout, shown_out = trained_run.layout, show_value(arguments.out, 1000)
    with open_results(arguments.out, *windows.shape) as results:
        explain_genes(trained_run, genes, windows, results, arguments)
        print(compare_with_run(genes) or "probabilities agree with the run's predictions")
        print(describe_gap(genes["completeness_gap"].to_numpy(), arguments.method))
        clear(arguments.out)
        write_arrays(arguments.out, genes, results)
        write_csv(arguments.out / "genes.csv", genes.round(6))
        profile = make_profile(genes, windows, results, layout, arguments.method)
        write_csv(arguments.out / "profile.csv", profile)
        write_csv(arguments.out / "words.csv", find_kmers(windows, results, layout, arguments.word))
        if len(profile):  # genes given by name may all be middle ones
            draw_profile(arguments.out / "profile", profile, counts)
        else:
            print("no low and no high gene among them: profile.csv is empty and no profile is drawn")
        if arguments.logos:
            (arguments.out / "logos").mkdir(exist_ok=True)
        drawn = choose_logos(genes, arguments.genes, arguments.logos)
        for row, name in zip(drawn, file_names(genes["gene_id"].iloc[drawn]), strict=True):
            draw_gene(arguments.out / "logos" / name, genes.iloc[row], results.contributions[row], layout)
        if arguments.bigwig:
            bases = genome_tracks.write_contributions(
                arguments.out / "contributions.bw", places, windows, results.contributions
            )
            print(f"{shown_out}/contributions.bw: {bases:,} bases")
        if arguments.motifs:
            found_motifs = write_motifs(arguments.out, layout, known_motifs)
        else:
            print(
                f"for motifs: --motifs, or modisco motifs -s {shown_out}/modisco_sequences.npz -a "
                f"{shown_out}/modisco_attributions.npz -n 5000 -w {windows.shape[1]}"
            )
        if arguments.bed:
            sought = known_motifs or {motif.name: motif.frequencies.T for motif in found_motifs}
            hits = genome_tracks.find_hits(sought, places, windows, results.contributions)
            genome_tracks.write_bed(arguments.out / "motif_hits.bed", hits)
            of = f"{hits['name'].nunique():,} of {len(sought):,} motifs"
            print(f"{shown_out}/motif_hits.bed: {len(hits):,} hits of {of}")
    print(f"done in {show_duration(time.perf_counter() - began)}; everything is in {shown_out}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script("lcre_explain.py", run, argv, "every file that is there is whole; start again")


if __name__ == "__main__":
    sys.exit(main())
