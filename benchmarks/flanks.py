"""The k-mer regression on flanks: what is counted next to TSS and TES, in bins of which size.

`python benchmarks/flanks.py --fasta F --gtf G --tpm T --held-out IV+VII+XV` fits the ridge regression of
`cnn_lstm_kmer` on the k-mers outside of the gene alone, and with several kinds of finer bins next to TSS and TES, on
the training genes of the fold, and prints the auROC on the genes that choose the epoch and on the held-out ones. No
network is trained. `--penalties` are multiples of a gene's sum of squared scaled counts. `--genes` draws so many
training genes where all would take too long. The kinds of counts that `cnn_lstm_kmer_fine` has (`lcre.kmers.FINE`) were
chosen by such tables.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from core.cli import run_script  # noqa: E402

TRIES = {  # k, bp of a bin, how far from TSS and TES in bp
    "as the default": (),
    "4-mers in 20 bp": ((4, 20, 200),),
    "4-mers in 20 bp, single bases": ((4, 20, 200), (1, 1, 50)),
    "3-mers in 10 bp": ((3, 10, 100),),
    "5-mers in 50 bp": ((5, 50, 300),),
    "6-mers": ((6, 300, 300),),
    "7-mers": ((7, 300, 300),),
    "5-mers, 4-mers, 2-mers, single bases": ((5, 50, 300), (4, 20, 200), (2, 5, 100), (1, 1, 20)),
    "6-mers, 4-mers, 2-mers, single bases (FINE)": ((6, 300, 300), (4, 20, 200), (2, 5, 100), (1, 1, 20)),
    "6-mers, 4-mers, 2-mers": ((6, 300, 300), (4, 20, 200), (2, 5, 100)),
    "6-mers within 500 bp, 4-mers, 2-mers, single bases": ((6, 500, 500), (4, 20, 200), (2, 5, 100), (1, 1, 20)),
    "5-mers, 6-mers, 4-mers, 2-mers, single bases": (
        *((5, 50, 300), (6, 300, 300), (4, 20, 200)),
        *((2, 5, 100), (1, 1, 20)),
    ),
}


def run(argv: Sequence[str]) -> None:
    """Fit the regressions and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--fasta", "--gtf", "--tpm"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    parser.add_argument("--held-out", dest="chromosomes", required=True, help="chromosomes, such as IV+VII")
    parser.add_argument("--tries", nargs="+", choices=list(TRIES), default=list(TRIES), metavar="TRY")
    parser.add_argument("--penalties", nargs="+", type=float, default=[2.0, 4.0])
    parser.add_argument("--genes", type=int, help="training genes that are drawn [all]")
    arguments = parser.parse_args(argv)

    from accuracy import load

    import lcre_classifier as lcre
    from core.scores import auroc
    from lcre.kmers import kmers_in_bins, plan_bins, plan_fine_bins, solve_ridge

    arguments.name = "flanks"
    data, settings = load(arguments, "cnn_lstm_kmer")
    fold, layout, genes = lcre.make_folds(data, settings)[0], data.layout, data.with_windows
    labels, log_odds = genes["target"].to_numpy(), lcre.rank_log_odds(genes["rank"].to_numpy())
    training = fold.training
    if arguments.genes and arguments.genes < len(training):
        training = np.sort(np.random.default_rng(1).permutation(training)[: arguments.genes])
    what = f"counted besides ({arguments.chromosomes} held out, {len(training):,} training genes)"
    print(f"| {what} | counts | penalty | auROC on {fold.chosen_on} | held out |")
    print("|---|---|---|---|---|")
    for name in arguments.tries:
        sites = list(layout.sites.values())
        bins = plan_bins(layout.outside, [], layout.region_size) + plan_fine_bins(layout.outside, sites, TRIES[name])
        parts = [
            [kmers_in_bins(data.windows[rows], *one) for one in bins] for rows in (training, fold.validation, fold.test)
        ]
        blocks = [block.shape[1] for block in parts[0]]
        train, validation, test = (np.concatenate(part, axis=1) for part in parts)
        for penalty in arguments.penalties:
            weights, _ = solve_ridge(train.copy(), log_odds[training], penalty, blocks)
            areas = [
                auroc(labels[rows], features @ weights)
                for rows, features in ((fold.validation, validation), (fold.test, test))
            ]
            print(f"| {name} | {train.shape[1]:,} | {penalty:g} | {areas[0]:.4f} | {areas[1]:.4f} |", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "rows that were printed are whole")


if __name__ == "__main__":
    sys.exit(main())
