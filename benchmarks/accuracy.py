"""Accuracy of networks against k-mer regressions: same folds, same seeds, paired differences with p-values, times.

`python benchmarks/accuracy.py --name yeast --fasta F --gtf G --tpm T --chromosomes I+II,III+IV
--models cnn_lstm_kmer published --seeds 1 2 3 --runs FOLDER` trains every model with every seed by
`lcre_classifier.py`, fold by fold, in FOLDER, and prints tables. The trainer's other flags (`--epochs`, `--upstream`,
`--validation-genes` ...) can be given as well and hold for every model. Ctrl-C stops it, and the same command goes on.
Of a finished fold the probabilities of its test genes and its log are kept, and folds that are there are not trained
again: a day's folds are added to those of the day before. With `--kept benchmarks/folds` the tables of RESULTS.md are
printed within minutes. With `--jobs N` or `--scheduler ADDRESS` the folds of a model and seed are trained side by side
in one run, in FOLDER/together, and no times are kept. A fold does not depend on which others are trained beside it;
delete its file to train it anew.

Two k-mer regressions are fitted on the low and high genes that train; k and strength are chosen on the validation
chromosome. Two regions: promoter and terminator apart, as in the trainer's result table. Four parts: before and behind
TSS and TES apart. The k-mer regression alone is that of the default network without its branches, fitted in seconds.
Within folds: the auROC of each fold, averaged over the test genes, where pooled ranks the genes of all folds together.

Differences are tested by DeLong's paired test (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 837, 1988)
on the genes of all folds; each gene's placement is averaged over the seeds, so seeds are no further observations.
"Seeds averaged" is the auROC of the mean log-odds: of one model made of several.

The test takes genes for independent of one another and the trained networks for fixed: relatives among the test genes
make its p-values too small, and only several seeds show what another training would have given.

A test gene has a close relative if at least 100 of its window's 24-mers stand, on either strand, in the windows that
trained its fold with any of the seeds: whole chromosomes are held out, so those are copies, not overlaps.
"""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core import InputError  # noqa: E402
from core.cli import run_script  # noqa: E402
from lcre.controls import prefix_of  # noqa: E402

RELATED = 100  # of about 3,000
INPUTS = ("FASTA", "GTF", "TPM")
OWN_FLAGS = {"--organism", "--saved-models", "--model", "--seed", "--check", "--export-windows", "--overwrite"}
REGRESSIONS = {"alone": "k-mer regression alone", "parts": "k-mers, four parts", "regions": "k-mers, two regions"}


def kept_file(arguments: argparse.Namespace, model: str, seed: int, fold: str) -> Path:
    """Return where a finished fold is kept."""
    return arguments.kept / f"{arguments.name}_{model}_{seed}_{fold}.json.gz"


def train(arguments: argparse.Namespace, model: str, seed: int, fold: str, control: str | None = None) -> None:
    """Train one fold in a process of its own, or go on with it, and keep it, if it is not kept already.

    Args:
        arguments: of the command line.
        model, seed, fold: which one.
        control: the CONTROL that `arguments.flags` give.

    Raises:
        InputError: the trainer refused, or it failed.
    """
    path = kept_file(arguments, model, seed, fold)
    if not path.exists():
        run = start_trainer(arguments, model, seed, fold, arguments.runs / fold, [])
        keep(prefix_of(run, control), fold, path, arguments.flags, not arguments.untimed)


def train_together(arguments: argparse.Namespace, model: str, seed: int, folds: Sequence[str]) -> None:
    """Train those folds that are not kept, side by side, in one command of the trainer, and keep them without times.

    Args:
        arguments: of the command line; jobs and scheduler are the trainer's.
        model, seed, folds: which ones.

    Raises:
        InputError: the trainer refused, or it failed.
    """
    missing = [fold for fold in folds if not kept_file(arguments, model, seed, fold).exists()]
    if not missing:
        return
    flags = ["--jobs", str(arguments.jobs)] if arguments.jobs else []
    flags += ["--scheduler", arguments.scheduler] if arguments.scheduler else []
    run = start_trainer(arguments, model, seed, ",".join(missing), arguments.runs / "together", flags)
    for fold in missing:
        keep(run, fold, kept_file(arguments, model, seed, fold), arguments.flags, False, alone=False)


def start_trainer(
    arguments: argparse.Namespace, model: str, seed: int, chromosomes: str, runs: Path, more: list[str]
) -> Path:
    """Train in a process of its own, or go on with it.

    Args:
        arguments: of the command line.
        model, seed, chromosomes: which one.
        runs: folder of the run.
        more: flags for the trainer, besides those of the command line.

    Returns:
        The prefix of the run's files.

    Raises:
        InputError: the trainer refused, or it failed.
    """
    name = f"{arguments.name}_{model}_{seed}"
    command = [sys.executable, str(ROOT / "lcre_classifier.py"), "--organism", name, "--saved-models", str(runs)]
    command += [
        "--fasta",
        arguments.fasta,
        "--gtf",
        arguments.gtf,
        "--tpm",
        arguments.tpm,
        "--chromosomes",
        chromosomes,
    ]
    command += ["--model", model, "--seed", str(seed), *arguments.flags, *more]
    runs.mkdir(parents=True, exist_ok=True)
    log = runs / f"{name}.log"
    print(f"{name} {chromosomes}: training; tail -f {log} shows how far", file=sys.stderr, flush=True)
    with open(log, "a", encoding="utf-8") as file:
        status = subprocess.run(command, stdout=file, stderr=file).returncode
    if status == 130:
        raise KeyboardInterrupt
    if status:
        last = log.read_text(encoding="utf-8").strip().split("\n")[-1]
        raise InputError(
            f"{name} {chromosomes} was not trained (exit status {status}): {last}; all it said is in {log}"
        )
    return runs / name


def keep(prefix: Path, fold: str, path: Path, flags: list[str], timed: bool, alone: bool = True) -> None:
    """Write what is kept of a finished fold.

    Args:
        prefix: of the run's files.
        fold: its name.
        path: of the file, gzip-compressed JSON: finished (date), inputs (their hashes), flags, seconds and cpu_seconds
            of the run, epochs (auROC on the test genes and seconds of each), probability (of each test gene) and
            baselines (the same, column by column, of what else predictions.csv has of the test genes).
        flags: that were given to the trainer besides.
        timed: False leaves wall-clock seconds out.
        alone: False leaves seconds of CPU time out, which are of a run of several folds.
    """
    import gzip

    import pandas as pd

    from core.files import replacing
    from lcre import records

    record, folder = json.loads(Path(f"{prefix}_run.json").read_text()), records.fold_folder(prefix, fold)
    found = pd.read_csv(folder / "predictions.csv", dtype={"gene_id": str}, keep_default_na=False, na_values=[""])
    tested = found[found["kmer"].notna()]
    log = pd.read_csv(folder / "performance_log.csv")
    kept = {
        "finished": record["finished"],
        "inputs": {name: record["inputs"][name]["sha256"] for name in INPUTS},
        "flags": flags,
        "seconds": record["seconds"] if timed else None,
        "cpu_seconds": record.get("cpu_seconds") if alone else None,
        "epochs": {"test_auROC": log["test_auROC"].tolist(), "seconds": log["seconds"].tolist() if timed else None},
        "probability": dict(zip(tested["gene_id"], tested["probability"].round(6), strict=True)),
        "baselines": {name: tested[name].round(6).tolist() for name in found.columns[2:] if tested[name].notna().all()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(kept).encode(), mtime=0))


def read_kept(path: Path, inputs: dict[str, str], flags: list[str]) -> dict:
    """Return what `keep` wrote; raise InputError where it is of other inputs (name -> SHA-256) or flags."""
    import gzip

    kept = json.loads(gzip.decompress(path.read_bytes()))
    if kept["inputs"] != inputs:
        raise InputError(f"{path} is of other files; give another --name, or delete it to train it anew")
    trained = kept.get("flags", [])
    if trained != flags:
        raise InputError(f"{path} was trained with flags {trained}, not {flags}; delete it to train it anew")
    return kept


def read_all_kept(arguments: argparse.Namespace) -> dict[tuple[str, int, str], dict]:
    """Return what is kept of the folds wanted, by model, seed and fold; raise InputError where one is of others."""
    from core.files import hash_file

    inputs = {name: hash_file(Path(vars(arguments)[name.lower()])) for name in INPUTS}
    folds = itertools.product(arguments.models, arguments.seeds, arguments.chromosomes.split(","))
    paths = {one: kept_file(arguments, *one) for one in folds}
    return {one: read_kept(path, inputs, arguments.flags) for one, path in paths.items() if path.exists()}


def load(arguments: argparse.Namespace, model: str, flags: Sequence[str] = ()):
    """Return data and settings as the trainer has them; `arguments` has name, fasta, gtf, tpm and chromosomes."""
    import lcre_classifier as lcre
    from core.cli import parse_settings
    from lcre.settings import RULES

    argv = ["--organism", arguments.name, "--fasta", arguments.fasta, "--gtf", arguments.gtf, "--tpm", arguments.tpm]
    argv += ["--model", model, "--chromosomes", arguments.chromosomes, *flags]
    values, space = parse_settings(Path(lcre.__file__), vars(lcre), RULES, lcre.__version__, lcre.ACTIONS, argv)
    settings = lcre.choose_settings(values, space.overrides)
    return lcre.load_data(settings), settings


def score_regressions(data, settings, seed: int):
    """Return the test genes of all folds, a frame: gene_id, fold, target, related, and a column by each regression."""
    import keras
    import numpy as np
    import pandas as pd

    import lcre_classifier as lcre
    from lcre.baselines import kmer_baseline
    from lcre.kmers import count_shared, fit_ridge
    from lcre.trained import make_predictor

    settings.SEED = seed  # it draws which genes of the larger class train
    folds = lcre.make_folds(data, settings)
    genes = data.with_windows
    target = genes["target"].to_numpy()
    layout = lcre.WindowLayout.of(settings)
    log_odds = lcre.rank_log_odds(genes["rank"].to_numpy())
    network = lcre.build_cnn_lstm_kmer(layout)
    counts = network.kmer_counts
    predict = make_predictor(keras.Model(counts.inputs, network.regression(counts.outputs[0])))
    parts = []
    for fold in folds:
        rows = fold.balanced, fold.validation, fold.test
        part = pd.DataFrame({"gene_id": genes["gene_id"].to_numpy()[fold.test], "target": target[fold.test]})
        part["fold"] = fold.name
        part["regions"] = kmer_baseline(data.windows, list(layout.regions.values()), target, *rows)[0]
        part["parts"] = kmer_baseline(data.windows, layout.parts, target, *rows)[0]
        fit_ridge(network.regression, counts, data.windows[fold.training], log_odds[fold.training])
        part["alone"] = 1 / (1 + np.exp(-predict(data.windows[fold.test])))
        part["related"] = count_shared(data.windows[fold.test], data.windows[fold.training]) >= RELATED
        print(f"{settings.ORGANISM} seed {seed} fold {fold.name}: regressions fitted", file=sys.stderr, flush=True)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    if not np.isfinite(frame[list(REGRESSIONS)].to_numpy()).all():
        raise InputError(f"{settings.ORGANISM}: a regression gave no number")
    return frame


def label(name: str) -> str:
    """Return what the tables call a model or a regression."""
    return REGRESSIONS.get(name, name)


def show_range(areas: Sequence[float]) -> str:
    """Return the mean of an auROC over seeds, and behind it the lowest and the highest where there are several."""
    spread = f" ({min(areas):.4f} to {max(areas):.4f})" if len(areas) > 1 else ""
    return f"{sum(areas) / len(areas):.4f}{spread}"


def first_reaching(epochs: dict, least: float) -> str:
    """Return the seconds after which the auROC on the test genes first was `least`, or '-'."""
    log = zip(epochs["test_auROC"], itertools.accumulate(epochs["seconds"]), strict=True)
    return next((f"{spent:.0f}" for area, spent in log if area >= least), "-")


def print_tables(arguments: argparse.Namespace, data, settings) -> None:
    """Print what was measured, from the folds that are kept; `data` and `settings` are of `load`."""
    import numpy as np
    from scipy.special import logit

    from core.device import start_tensorflow
    from core.scores import auroc, auroc_interval, delong_test

    names, models = arguments.chromosomes.split(","), arguments.models
    kept = read_all_kept(arguments)
    scores, targets, folds, related = {}, None, None, []
    start_tensorflow()
    for seed in arguments.seeds:
        frame = score_regressions(data, settings, seed)
        for model in models:
            found = {gene: value for fold in names for gene, value in kept[model, seed, fold]["probability"].items()}
            scores[model, seed] = frame["gene_id"].map(found).to_numpy()
        for name in REGRESSIONS:
            scores[name, seed] = frame[name].to_numpy()
        targets, folds = frame["target"].to_numpy(), frame["fold"].to_numpy()
        related.append(frame["related"].to_numpy())
    if any(np.isnan(score).any() for score in scores.values()):
        raise InputError(f"{arguments.name}: a test gene has no score; were the folds trained on the same files?")

    def spend(model: str, key: str) -> str:
        """Return the mean over seeds of the seconds of all folds."""
        spent = [[kept[model, seed, fold][key] for fold in names] for seed in arguments.seeds]
        return "-" if any(None in one for one in spent) else f"{np.mean([sum(one) for one in spent]):.0f} s"

    of_folds = {
        (name, fold): [auroc(targets[folds == fold], scores[name, seed][folds == fold]) for seed in arguments.seeds]
        for name, fold in itertools.product([*models, *REGRESSIONS], dict.fromkeys(folds))
    }
    related = np.any(related, axis=0)  # seeds differ in which genes of the larger class train
    relatives = f"{related.sum():,} with a close relative in training"
    print(f"\n{arguments.name}: {len(targets):,} test genes, {relatives}; pooled\n")
    heads = ["seeds", "auROC, mean (range)", "95 % interval, first seed", "within folds", "without close relatives"]
    heads += ["seeds averaged", "wall", "CPU"]
    print("| | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    for name in [*models, *REGRESSIONS]:
        areas = [auroc(targets, scores[name, seed]) for seed in arguments.seeds]
        within = sum(np.mean(of_folds[name, fold]) * np.mean(folds == fold) for fold in dict.fromkeys(folds))
        alone = np.mean([auroc(targets[~related], scores[name, seed][~related]) for seed in arguments.seeds])
        log_odds = [logit(np.clip(scores[name, seed], 1e-6, 1 - 1e-6)) for seed in arguments.seeds]
        averaged = auroc(targets, np.mean(log_odds, axis=0))
        low, high = auroc_interval(targets, scores[name, arguments.seeds[0]], seed=1)
        spent = [spend(name, key) if name in models else "-" for key in ("seconds", "cpu_seconds")]
        cells = [label(name), len(areas), show_range(areas), f"{low:.4f} to {high:.4f}"]
        cells += [f"{within:.4f}", f"{alone:.4f}", f"{averaged:.4f}", *spent]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")

    print("\n| difference in auROC | mean | 95 % interval | p |")
    print("|---|---|---|---|")
    for first, second in itertools.combinations([*models, *REGRESSIONS], 2):
        found = delong_test(targets, *([scores[name, seed] for seed in arguments.seeds] for name in (first, second)))
        interval = f"{found.low:+.4f} to {found.high:+.4f}"
        p_value = "< 1e-10" if found.p < 1e-10 else f"{found.p:.1g}"
        print(f"| {label(first)} - {label(second)} | {found.difference:+.4f} | {interval} | {p_value} |")

    print("\n| fold | genes | " + " | ".join(map(label, [*models, *REGRESSIONS])) + " |")
    print("|---|---|" + "---|" * len([*models, *REGRESSIONS]))
    for fold in dict.fromkeys(folds):
        cells = [show_range(of_folds[name, fold]) for name in [*models, *REGRESSIONS]]
        print(f"| {fold} | {(folds == fold).sum():,} | " + " | ".join(cells) + " |")

    seed = arguments.seeds[0]
    if any(kept[model, seed, fold]["epochs"]["seconds"] is None for model in models for fold in names):
        print("\nThe first seed's folds were not timed.")
        return
    print("\nFirst seed: seconds of training until the auROC on the test genes first was that of a regression,")
    print("and that of the best epoch of another model\n")
    print("| fold | model | its best epoch | " + " | ".join(REGRESSIONS.values()) + " | others' best |")
    print("|---|---|---|" + "---|" * (len(REGRESSIONS) + 1))
    for fold in dict.fromkeys(folds):
        logs = {model: kept[model, seed, fold]["epochs"] for model in models}
        rivals = [of_folds[name, fold][0] for name in REGRESSIONS]
        for model, log in logs.items():
            best = max(log["test_auROC"])
            others = [
                f"{other}: {first_reaching(log, max(rival['test_auROC']))} of its {sum(rival['seconds']):.0f}"
                for other, rival in logs.items()
                if other != model
            ]
            reached = " | ".join(first_reaching(log, rival) for rival in rivals)
            itself = f"{best:.4f} at {first_reaching(log, best)} s"
            print(f"| {fold} | {model} | {itself} | {reached} | {', '.join(others) or '-'} |")


def run(argv: Sequence[str]) -> None:
    """Train what is missing and print the tables."""
    import lcre_classifier as lcre

    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # the trainer's --seed is not --seeds
    )
    parser.add_argument("--name", required=True, help="of the data set, such as yeast")
    for name in ("--fasta", "--gtf", "--tpm", "--chromosomes"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    networks = list(lcre.MODELS)
    parser.add_argument("--models", nargs="+", choices=networks, default=["cnn_lstm_kmer"], help="the default alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="1 2 3")
    parser.add_argument("--runs", type=Path, default=Path("accuracy_runs"), help="folder of the runs: accuracy_runs")
    parser.add_argument("--kept", type=Path, help="folder of finished folds: folds in that of the runs")
    parser.add_argument("--untimed", action="store_true", help="keep no wall-clock times: the machine is shared")
    parser.add_argument("--jobs", type=int, metavar="N", help="train folds side by side, as lcre_classifier.py does")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that trains, tcp://host:8786")
    arguments, arguments.flags = parser.parse_known_args(argv)
    if own := [flag for flag in arguments.flags if flag.split("=")[0] in OWN_FLAGS]:
        raise InputError(
            f"{', '.join(own)} cannot be passed on to the trainer: this script sets it, or the run would end"
        )
    arguments.kept = arguments.kept or arguments.runs / "folds"
    data, settings = load(arguments, arguments.models[0], arguments.flags)
    lcre.make_folds(data, settings)  # what is wrong is said before hours of training
    read_all_kept(arguments)
    folds = arguments.chromosomes.split(",")
    if arguments.jobs or arguments.scheduler:
        for seed, model in itertools.product(arguments.seeds, arguments.models):
            train_together(arguments, model, seed, folds)
    else:
        for seed, fold, model in itertools.product(arguments.seeds, folds, arguments.models):
            train(arguments, model, seed, fold)
    print_tables(arguments, data, settings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "finished folds are kept, and the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
