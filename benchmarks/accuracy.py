"""Accuracy of networks against k-mer regressions: same folds, same seeds, paired differences with p-values, times.

`python benchmarks/accuracy.py --name yeast --fasta F --gtf G --tpm T --chromosomes I+II,III+IV
--models motifs_and_words published --seeds 1 2 3 --runs FOLDER` trains every model with every seed by
`lcre_classifier.py`, fold by fold, in FOLDER, and prints tables for RESULTS.md. It can be stopped: the same command
goes on. Of a finished fold the probabilities of its test genes and its log are kept in `benchmarks/folds/`, and folds
that are there are not trained again: the tables of RESULTS.md are printed from them within minutes, and a day's folds
are added to those of the day before. A fold does not depend on which others are trained beside it; delete its file to
train it anew.

The k-mer regressions are fitted on the low and high genes that train; k and strength are chosen on the validation
chromosome. halves: promoter and terminator apart, as in the trainer's result table. regions: before and behind TSS and
TES apart. Differences are tested by DeLong's paired test (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 837, 1988)
on the genes of all folds; each gene's placement is averaged over the seeds, so seeds are no further observations.
"Seeds averaged" is the auROC of the mean log-odds: of one model made of several.

The test takes genes for independent of one another and the trained networks for given: relatives among the test genes
make its p-values too small, and only several seeds show what another training would have given.

A test gene has a close relative if at least 100 of its window's 24-mers stand, on either strand, in the windows that
trained its fold with any of the seeds: whole chromosomes are held out, so those are copies, not overlaps.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WORD = 24  # bp: two windows of a genome hardly share one by chance
RELATED = 100  # of about 3,000
INPUTS = ("FASTA", "GTF", "TPM")


def kept_file(asked: argparse.Namespace, model: str, seed: int, fold: str) -> Path:
    """Return where a finished fold is kept."""
    return asked.kept / f"{asked.name}_{model}_{seed}_{fold}.json.gz"


def train(asked: argparse.Namespace, model: str, seed: int, fold: str) -> None:
    """Train one fold in a process of its own, or go on with it, and keep it, if it is not kept already."""
    if kept_file(asked, model, seed, fold).exists():
        return
    name, runs = f"{asked.name}_{model}_{seed}", asked.runs / fold
    command = [sys.executable, str(ROOT / "lcre_classifier.py"), "--organism", name, "--saved-models", str(runs)]
    command += ["--fasta", asked.fasta, "--gtf", asked.gtf, "--tpm", asked.tpm, "--chromosomes", fold]
    command += ["--model", model, "--seed", str(seed)]
    if model == "published" and asked.epochs:
        command += ["--epochs", str(asked.epochs)]
    runs.mkdir(parents=True, exist_ok=True)
    with open(runs / f"{name}.log", "a", encoding="utf-8") as log:
        print(f"{name} {fold}: see {log.name}", file=sys.stderr, flush=True)
        subprocess.run(command, stdout=log, check=True)
    keep(runs / name, fold, kept_file(asked, model, seed, fold), not asked.untimed)


def keep(prefix: Path, fold: str, path: Path, timed: bool) -> None:
    """Write what is kept of a finished fold.

    Args:
        prefix: of the run's files.
        fold: its name.
        path: of the file, gzip-compressed JSON: finished (date), inputs (their hashes), seconds and cpu_seconds of the
            run, epochs (auROC on the test genes and seconds of each) and probability (of each test gene).
        timed: False leaves wall-clock seconds out.
    """
    import gzip

    import pandas as pd

    from lcre import records

    record, folder = json.loads(Path(f"{prefix}_run.json").read_text()), records.fold_folder(prefix, fold)
    found = pd.read_csv(folder / "predictions.csv", dtype={"gene_id": str}, keep_default_na=False, na_values=[""])
    tested = found[found["kmer"].notna()]
    log = pd.read_csv(folder / "performance_log.csv")
    kept = {
        "finished": record["finished"],
        "inputs": {name: record["inputs"][name]["sha256"] for name in INPUTS},
        "seconds": record["seconds"] if timed else None,
        "cpu_seconds": record.get("cpu_seconds"),
        "epochs": {"test_auROC": log["test_auROC"].tolist(), "seconds": log["seconds"].tolist() if timed else None},
        "probability": dict(zip(tested["gene_id"], tested["probability"].round(6), strict=True)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with records.replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(kept).encode(), mtime=0))


def read_kept(path: Path, inputs: dict[str, str], epochs: int | None = None) -> dict:
    """Return what `keep` wrote; end the program where it is of other inputs (name -> SHA-256) or numbers of epochs."""
    import gzip

    kept = json.loads(gzip.decompress(path.read_bytes()))
    if kept["inputs"] != inputs:
        raise SystemExit(f"{path} is of other files; give another --name, or delete it to train it anew")
    if epochs and len(kept["epochs"]["test_auROC"]) != epochs:
        trained = len(kept["epochs"]["test_auROC"])
        raise SystemExit(f"{path} has {trained} epochs, not {epochs}; delete it to train it anew")
    return kept


def read_all_kept(asked: argparse.Namespace) -> dict[tuple[str, int, str], dict]:
    """Return what is kept of the folds asked for, by model, seed and fold; end the program where one is of others."""
    import lcre_classifier as lcre
    from lcre import records

    inputs = {name: records.hash_file(Path(vars(asked)[name.lower()])) for name in INPUTS}
    epochs = {"published": asked.epochs or lcre.RECIPES["published"].epochs}
    folds = itertools.product(asked.models, asked.seeds, asked.chromosomes.split(","))
    paths = {one: kept_file(asked, *one) for one in folds}
    return {one: read_kept(path, inputs, epochs.get(one[0])) for one, path in paths.items() if path.exists()}


def placements(target, score):
    """Return of every high gene the share of low genes below it, and of every low gene that of high genes above it.

    Ties count half; the mean of either is the auROC.
    """
    import numpy as np
    from scipy.stats import rankdata

    high, low = score[target == 1], score[target == 0]
    ranks = rankdata(np.concatenate([high, low]))
    of_high = (ranks[: len(high)] - rankdata(high)) / len(low)
    of_low = 1 - (ranks[len(high) :] - rankdata(low)) / len(high)
    return of_high, of_low


def compare(target, ours: list, theirs: list) -> dict:
    """Return the mean difference in auROC between two lists of scores (one a seed), its 95 % interval and p-value."""
    import numpy as np
    from scipy.stats import norm

    differences = []
    for side in (0, 1):
        first = np.mean([placements(target, score)[side] for score in ours], axis=0)
        differences.append(first - np.mean([placements(target, score)[side] for score in theirs], axis=0))
    mean = float(differences[0].mean())
    error = float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in differences)))
    p_value = float(2 * norm.sf(abs(mean) / error)) if error else float(mean == 0)
    return {"difference": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error, "p": p_value}


def count_shared(windows, trained, word: int = WORD):
    """Return how many words of each window stand, on either strand, in any of the windows that train, (windows,)."""
    import numpy as np

    def words(codes):
        value, known = 0, True
        for offset in range(word):
            base = codes[:, offset : codes.shape[1] - word + 1 + offset]
            value, known = value * 4 + base.astype(np.uint64), known & (base < 4)
        return value, known

    value, known = words(trained)
    either = [value[known]]
    value, known = words(np.where(trained < 4, 3 - trained, 4)[:, ::-1])
    either.append(value[known])
    there = np.unique(np.concatenate(either))
    value, known = words(windows)
    place = np.minimum(np.searchsorted(there, value), len(there) - 1)
    return ((there[place] == value) & known).sum(axis=1)


def load(asked: argparse.Namespace, model: str):
    """Return data and settings as the trainer has them; `asked` has name, fasta, gtf, tpm and chromosomes."""
    import lcre_classifier as lcre
    from lcre.settings import parse_settings, resolve_settings

    argv = ["--organism", asked.name, "--fasta", asked.fasta, "--gtf", asked.gtf, "--tpm", asked.tpm, "--model", model]
    argv += ["--chromosomes", asked.chromosomes]
    given, _ = parse_settings(Path(lcre.__file__), vars(lcre), lcre.__version__, lcre.ACTIONS, argv)
    settings = resolve_settings(given, lcre.DATASETS, lcre.FALLBACKS, tuple(lcre.RECIPES))
    return lcre.load_data(settings), settings


def score_regressions(data, settings, seed: int):
    """Return the test genes of all folds: gene_id, fold, target, halves, regions, related (a frame)."""
    import numpy as np
    import pandas as pd

    import lcre_classifier as lcre
    from lcre.baselines import kmer_baseline

    settings.SEED = seed  # it draws which genes of the larger class train
    folds = lcre.make_folds(data, settings)
    genes = data.with_windows
    target = genes["target"].to_numpy()
    halves = lcre.window_halves(settings)
    cuts = lcre.window_parts(data.windows.shape[1], settings.UPSTREAM, settings.DOWNSTREAM)
    regions = [slice(*cut) for cut in cuts]
    parts = []
    for fold in folds:
        rows = fold.train, fold.validation, fold.test
        part = pd.DataFrame({"gene_id": genes["gene_id"].to_numpy()[fold.test], "target": target[fold.test]})
        part["fold"] = fold.name
        part["halves"] = kmer_baseline(data.windows, halves, target, *rows)[0]
        part["regions"] = kmer_baseline(data.windows, regions, target, *rows)[0]
        part["related"] = count_shared(data.windows[fold.test], data.windows[fold.taught]) >= RELATED
        print(f"{settings.ORGANISM} seed {seed} fold {fold.name}: regressions fitted", file=sys.stderr, flush=True)
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    if not np.isfinite(frame[["halves", "regions"]].to_numpy()).all():
        raise SystemExit(f"{settings.ORGANISM}: a regression gave no number")
    return frame


def first_reaching(epochs: dict, least: float) -> str:
    """Return the seconds after which the auROC on the test genes first was `least`, or '-'."""
    log = zip(epochs["test_auROC"], itertools.accumulate(epochs["seconds"]), strict=True)
    return next((f"{spent:.0f}" for area, spent in log if area >= least), "-")


def print_tables(asked: argparse.Namespace) -> None:
    """Print what was measured, from the folds that are kept."""
    import numpy as np
    from scipy.special import logit

    from lcre.scores import auroc, auroc_interval

    names, models = asked.chromosomes.split(","), asked.models
    kept = read_all_kept(asked)
    scores, targets, folds, related = {}, None, None, []
    data, settings = load(asked, models[0])
    for seed in asked.seeds:
        frame = score_regressions(data, settings, seed)
        for model in models:
            found = {gene: value for fold in names for gene, value in kept[model, seed, fold]["probability"].items()}
            scores[model, seed] = frame["gene_id"].map(found).to_numpy()
        for name in ("halves", "regions"):
            scores[name, seed] = frame[name].to_numpy()
        targets, folds = frame["target"].to_numpy(), frame["fold"].to_numpy()
        related.append(frame["related"].to_numpy())
    if any(np.isnan(score).any() for score in scores.values()):
        raise SystemExit(f"{asked.name}: a test gene has no score; were the folds trained on the same files?")

    def spend(model: str, key: str) -> str:
        """Return the mean over seeds of the seconds of all folds."""
        spent = [[kept[model, seed, fold][key] for fold in names] for seed in asked.seeds]
        return "-" if any(None in one for one in spent) else f"{np.mean([sum(one) for one in spent]):.0f} s"

    related = np.any(related, axis=0)  # seeds differ in which genes of the larger class train
    print(f"\n{asked.name}: {len(targets):,} test genes, {related.sum():,} with a close relative in training; pooled\n")
    heads = "seeds", "auROC, mean (range)", "95 % interval, first seed", "without close relatives", "seeds averaged"
    print("| | " + " | ".join([*heads, "wall", "CPU"]) + " |")
    print("|---" * (len(heads) + 3) + "|")
    for name in [*models, "halves", "regions"]:
        areas = [auroc(targets, scores[name, seed]) for seed in asked.seeds]
        alone = np.mean([auroc(targets[~related], scores[name, seed][~related]) for seed in asked.seeds])
        log_odds = [logit(np.clip(scores[name, seed], 1e-6, 1 - 1e-6)) for seed in asked.seeds]
        averaged = auroc(targets, np.mean(log_odds, axis=0))
        low, high = auroc_interval(targets, scores[name, asked.seeds[0]], seed=1)
        spent = [spend(name, key) if name in models else "-" for key in ("seconds", "cpu_seconds")]
        kind = name if name in models else f"k-mers, {name}"
        spread = f"{np.mean(areas):.4f} ({min(areas):.4f} to {max(areas):.4f})"
        cells = [kind, len(areas), spread, f"{low:.4f} to {high:.4f}", f"{alone:.4f}", f"{averaged:.4f}", *spent]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")

    print("\n| difference in auROC | mean | 95 % interval | p |")
    print("|---|---|---|---|")
    for first, second in itertools.combinations([*models, "regions", "halves"], 2):
        found = compare(targets, *([scores[name, seed] for seed in asked.seeds] for name in (first, second)))
        interval = f"{found['low']:+.4f} to {found['high']:+.4f}"
        print(f"| {first} - {second} | {found['difference']:+.4f} | {interval} | {found['p']:.1g} |")

    print("\n| fold | genes | " + " | ".join(f"{name}" for name in [*models, "halves", "regions"]) + " |")
    print("|---|---|" + "---|" * (len(models) + 2))
    for fold in dict.fromkeys(folds):
        here = folds == fold
        cells = [
            np.mean([auroc(targets[here], scores[name, seed][here]) for seed in asked.seeds])
            for name in [*models, "halves", "regions"]
        ]
        print(f"| {fold} | {here.sum():,} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")

    seed = asked.seeds[0]
    if any(kept[model, seed, fold]["epochs"]["seconds"] is None for model in models for fold in names):
        print("\nThe first seed's folds were not timed.")
        return
    print("\nFirst seed: seconds of training until the auROC on the test genes first was that of the k-mers, and that")
    print("of the best epoch of another model\n")
    print("| fold | model | its best epoch | k-mers, halves | k-mers, regions | others' best |")
    print("|---|---|---|---|---|---|")
    for fold in dict.fromkeys(folds):
        here = folds == fold
        logs = {model: kept[model, seed, fold]["epochs"] for model in models}
        rivals = [auroc(targets[here], scores[name, seed][here]) for name in ("halves", "regions")]
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


def main() -> int:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the data set, such as yeast")
    for name in ("--fasta", "--gtf", "--tpm", "--chromosomes"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    parser.add_argument("--models", nargs="+", default=["motifs_and_words"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, help="of the published model, instead of its own 35")
    parser.add_argument("--runs", type=Path, default=Path("accuracy_runs"), help="folder of the runs")
    parser.add_argument("--kept", type=Path, default=ROOT / "benchmarks/folds", help="folder of finished folds")
    parser.add_argument("--untimed", action="store_true", help="keep no wall-clock times: the machine is shared")
    asked = parser.parse_args()
    read_all_kept(asked)  # what is of other files is said before hours of training
    for seed, fold, model in itertools.product(asked.seeds, asked.chromosomes.split(","), asked.models):
        train(asked, model, seed, fold)
    print_tables(asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
