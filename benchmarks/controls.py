"""What a network reads: every control beside the real run, same folds, same seed, paired differences.

`python benchmarks/controls.py --name yeast --fasta F --gtf G --tpm T --chromosomes I+II,III+IV --runs FOLDER` trains
the run and each control of `lcre_classifier.py --controls all`, fold by fold, and prints one table. Finished folds are
kept as those of `benchmarks/accuracy.py` are; with `--kept benchmarks/folds` the table of RESULTS.md is printed within
a minute. `--only` takes some of the controls; without `none`, the run itself, there are no differences to it. A second
table holds the network against the ridge regression on the k-mers of the part that a control shows.

Pooled ranks the genes of all folds together, within folds averages the folds' auROC over their genes. Differences are
those of the pooled auROC, by DeLong's paired test, on the genes that the run and the control both score.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from core.cli import run_script  # noqa: E402


def print_table(arguments: argparse.Namespace, kept: dict[str, list[dict]], target: dict[str, int]) -> None:
    """Print a row for each control.

    Args:
        arguments: of the command line.
        kept: control (`none`: the run itself) -> its folds, as `accuracy.read_kept` gives them.
        target: class of each gene, 0 low or 1 high.
    """
    import numpy as np

    from core.scores import auroc, auroc_interval, delong_test

    pooled = {
        name: {gene: p for fold in folds for gene, p in fold["probability"].items()} for name, folds in kept.items()
    }
    print(f"\n{arguments.name}, {arguments.model}, seed {arguments.seed}, {arguments.chromosomes}\n")
    print("| control | genes | auROC, pooled | 95 % interval | within folds | run less control | 95 % interval | p |")
    print("|---|---|---|---|---|---|---|---|")
    for name, folds in kept.items():
        genes = list(pooled[name])
        labels, scores = np.array([target[gene] for gene in genes]), np.array([pooled[name][gene] for gene in genes])
        low, high = auroc_interval(labels, scores, seed=1)
        areas = [
            auroc([target[gene] for gene in fold["probability"]], list(fold["probability"].values())) for fold in folds
        ]
        within = np.average(areas, weights=[len(fold["probability"]) for fold in folds])
        cells = [name, f"{len(genes):,}", f"{auroc(labels, scores):.4f}", f"{low:.4f} to {high:.4f}", f"{within:.4f}"]
        if name != "none" and "none" in kept:
            shared = [gene for gene in genes if gene in pooled["none"]]
            labels = np.array([target[gene] for gene in shared])
            both = [[np.array([pooled[one][gene] for gene in shared])] for one in ("none", name)]
            found = delong_test(labels, *both)
            p = "< 1e-10" if found.p < 1e-10 else f"{found.p:.1g}"
            cells += [f"{found.difference:+.4f}", f"{found.low:+.4f} to {found.high:+.4f}", p]
        print("| " + " | ".join(cells + [""] * (8 - len(cells))) + " |")


def print_regressions(kept: dict[str, list[dict]], target: dict[str, int]) -> None:
    """Print, for the controls that show the outside or the inside of genes, the network less the ridge on that part."""
    import numpy as np

    from core.scores import auroc, delong_test

    print("\n| control | network | ridge regression on the k-mers of this part | difference | 95 % interval | p |")
    print("|---|---|---|---|---|---|")
    for name in ("outside", "inside"):
        folds = kept.get(name, [])
        if not folds or any(name not in fold.get("baselines", {}) for fold in folds):
            continue
        genes = [gene for fold in folds for gene in fold["probability"]]
        labels = np.array([target[gene] for gene in genes])
        network = np.array([p for fold in folds for p in fold["probability"].values()])
        ridge = np.array([p for fold in folds for p in fold["baselines"][name]])
        found = delong_test(labels, [network], [ridge])
        cells = [name, f"{auroc(labels, network):.4f}", f"{auroc(labels, ridge):.4f}", f"{found.difference:+.4f}"]
        print("| " + " | ".join([*cells, f"{found.low:+.4f} to {found.high:+.4f}", f"{found.p:.1g}"]) + " |")


def run(argv: Sequence[str]) -> None:
    """Train what is missing and print the table."""
    from accuracy import INPUTS, kept_file, load, read_kept, train

    import lcre_classifier as lcre
    from core.files import hash_file
    from lcre.controls import CONTROLS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--name", required=True, help="of the data set, such as yeast")
    for name in ("--fasta", "--gtf", "--tpm", "--chromosomes"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    parser.add_argument("--model", choices=list(lcre.MODELS), default="cnn_lstm_kmer")
    parser.add_argument("--seed", type=int, default=1)
    names = ["none", *CONTROLS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="all of them; none: the run itself")
    parser.add_argument("--runs", type=Path, default=Path("control_runs"), help="folder of the runs: control_runs")
    parser.add_argument("--kept", type=Path, help="folder of finished folds: folds in that of the runs")
    parser.add_argument(
        "--trained", action="store_true", help="print those that are trained already, and train nothing"
    )
    arguments = parser.parse_args(argv)
    arguments.kept, arguments.untimed = arguments.kept or arguments.runs / "folds", True
    inputs = {name: hash_file(Path(vars(arguments)[name.lower()])) for name in INPUTS}
    data, _ = load(arguments, arguments.model)
    genes = data.genes
    target = dict(zip(genes["gene_id"], genes["target"], strict=True))

    own, folds, kept = arguments.name, arguments.chromosomes.split(","), {}
    for name, fold in itertools.product(arguments.only, folds):
        control = None if name == "none" else name
        arguments.flags = ["--control", control] if control else []
        arguments.name = f"{own}_{control}" if control else own
        path = kept_file(arguments, arguments.model, arguments.seed, fold)
        if not arguments.trained:
            train(arguments, arguments.model, arguments.seed, fold, control)
        if path.exists():
            kept.setdefault(name, []).append(read_kept(path, inputs, arguments.flags))
    arguments.name = own
    kept = {name: found for name, found in kept.items() if len(found) == len(folds)}
    print_table(arguments, kept, target)
    print_regressions(kept, target)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "finished folds are kept, and the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
