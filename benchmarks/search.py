"""What was tried for the default network and its training, as a script: one row a try, on chromosomes held out once.

`python benchmarks/search.py --fasta F --gtf G --tpm T --held-out IV+VII+XV [--tries joint apart] [--seeds 1]
[--steps 800]` trains each try on all chromosomes but those held out, without the genes on the next one that choose the
epoch in the trainer, and prints the auROC on these (what the choice goes by) and on the held-out ones after the last
step, with the seconds of training.

The default was chosen on yeast IV+VII+XV and worm I. Every try is an entry of TRIES: what differs from BASE.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.cli import run_script  # noqa: E402

BASE = {
    "branches": 2,  # CNN-BiLSTM branches
    "stems": ("anywhere", "in_frame"),  # their first convolutions
    "filters": (96, 128),  # of each stem, of the second convolution
    "pool": 9,  # columns behind the stems
    "bin": 8,  # positions averaged in front of the dense layers; 1: none
    "kmers": ((3, 100), (4, 500)),  # lengths counted, in bins of how many bp; (): no regression on k-mers
    "parts": True,  # k-mers are counted before and behind TSS and TES apart, and codons inside the gene only
    "codons": 60,  # in a bin
    "frames": 3,  # in which they are counted; 1: that of the TSS
    "fitted": True,  # the regression on k-mers is fitted first, or trained by steps like the branches
    "scale": 0.1,  # of the counts, where the regression is trained by steps
    "logarithm": False,  # of the counts
    "dropout": 0.5,  # in front of the regression, where it is trained by steps
    "apart": True,  # every branch is trained by itself, or the sum of all is trained
    "ranks": True,  # the targets are ranks of all genes, or low and high only, smoothed by .05
    "rate": 2e-3,
    "batch": 64,
}
BY_STEPS = {
    "branches": 1,
    "filters": (64, 96),
    "kmers": ((3, 101), (4, 252)),
    "parts": False,
    "codons": 168,
    "frames": 1,
    "fitted": False,
}
TRIES = {
    "first try: one stem, low and high genes": BY_STEPS
    | {"stems": ("anywhere",), "filters": (128, 128), "pool": 8, "bin": 1, "kmers": (), "ranks": False},
    "first try, ranks": BY_STEPS | {"stems": ("anywhere",), "filters": (128, 128), "pool": 8, "bin": 1, "kmers": ()},
    "averaged bins": BY_STEPS | {"stems": ("anywhere",), "filters": (128, 128), "pool": 8, "kmers": ()},
    "stem in frame only": BY_STEPS | {"stems": ("in_frame",), "filters": (192, 128), "kmers": ()},
    "both stems": BY_STEPS | {"filters": (96, 128), "kmers": ()},
    "both stems, narrow": BY_STEPS | {"kmers": ()},
    "4-mers and codons, logarithm": BY_STEPS | {"branches": 0, "kmers": ((4, 252),), "scale": 1.0, "logarithm": True},
    "4-mers and codons": BY_STEPS | {"branches": 0, "kmers": ((4, 252),)},
    "4-mers and codons, scale .3": BY_STEPS | {"branches": 0, "kmers": ((4, 252),), "scale": 0.3},
    "4-mers in 6 bins and codons": BY_STEPS | {"branches": 0, "kmers": ((4, 503),)},
    "3-mers and codons": BY_STEPS | {"branches": 0, "kmers": ((3, 126),)},
    "k-mers": BY_STEPS | {"branches": 0},
    "k-mers, scale .2, dropout .3": BY_STEPS | {"branches": 0, "scale": 0.2, "dropout": 0.3},
    "joint": BY_STEPS | {"apart": False},
    "apart": BY_STEPS,
    "apart, low and high genes": BY_STEPS | {"ranks": False},
    "apart, two narrow branches": BY_STEPS | {"branches": 2},
    "apart, wide": BY_STEPS | {"filters": (96, 128)},
    "fitted (the default)": {},
    "fitted, narrow": {"filters": (64, 96)},
    "fitted, one branch": {"branches": 1},
    "fitted, three branches": {"branches": 3},
    "fitted, codons everywhere": {"kmers": ((3, 101), (4, 503)), "parts": False, "codons": 84},
    "fitted, 4-mers in 250 bp": {"kmers": ((3, 100), (4, 250))},
    "fitted, 5-mers as well": {"kmers": ((3, 100), (4, 500), (5, 1000))},
    "fitted, rate 4e-3": {"rate": 4e-3},
    "fitted, batches of 32": {"batch": 32},
}


def build(layout, option: SimpleNamespace):
    """Build a try, a `lcre_classifier.Network`; where logits are not trained apart, its trained output is their sum."""
    from keras import Model, layers, ops

    import lcre_classifier as lcre
    from lcre.kmers import count_in_bins

    def normalise(sequence):
        return layers.Dropout(0.25)(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(sequence)))

    def branch(windows):
        stem = {
            "anywhere": lambda: layers.MaxPooling1D(option.pool, padding="same")(
                layers.Conv1D(option.filters[0], 12, padding="same", use_bias=False)(windows)
            ),
            "in_frame": lambda: layers.MaxPooling1D(option.pool // 3, padding="same")(
                layers.Conv1D(option.filters[0], 15, strides=3, padding="same", use_bias=False)(windows)
            ),
        }
        stems = [stem[name]() for name in option.stems]
        sequence = normalise(layers.Concatenate()(stems) if len(stems) > 1 else stems[0])
        sequence = layers.Conv1D(option.filters[1], 6, padding="same", use_bias=False)(sequence)
        sequence = normalise(layers.MaxPooling1D(4, padding="same")(sequence))
        sequence = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(sequence)
        sequence = layers.Conv1D(32, 1, activation="relu")(layers.Dropout(0.25)(sequence))
        if option.bin > 1:
            sequence = layers.AveragePooling1D(option.bin, padding="same")(sequence)
        dense = layers.Dense(64, activation="relu")(layers.Flatten()(sequence))
        return layers.Dense(1)(layers.Dropout(0.5)(dense))

    windows, columns = layers.Input((layout.columns, 4)), layout.columns
    trained, kmers, regression = [branch(windows) for _ in range(option.branches)], None, None
    if option.kmers:
        parts, inside = layout.parts, layout.parts[1:3]
        if not option.parts:
            parts, inside = [slice(0, columns)], [slice(layout.upstream % 3, columns)]
        counts = [count_in_bins(windows, part, k, 1, size) for part in parts for k, size in option.kmers]
        for part, frame in itertools.product(inside, range(option.frames)):
            counts.append(count_in_bins(windows, slice(part.start + frame, part.stop), 3, 3, option.codons))
        kmers = layers.Concatenate()(counts)
        if option.fitted:
            regression = layers.Dense(1, kernel_initializer="zeros", trainable=False)
        else:
            kmers = layers.Rescaling(option.scale)(ops.log1p(kmers) if option.logarithm else kmers)
            trained.append(layers.Dense(1)(layers.Dropout(option.dropout)(kmers)))
    if not option.apart:
        trained = [layers.Add()(trained)]
    logits = layers.Concatenate()(trained)
    fitted = [regression(kmers)] if regression else []
    total = layers.Dense(1, "sigmoid", use_bias=False, trainable=False)
    model = Model(windows, total(layers.Concatenate()([logits, *fitted])))
    weight = 1 / len(trained) if fitted else 1
    total.set_weights([np.array([[weight]] * len(trained) + [[1]] * len(fitted))])
    counts = Model(windows, kmers) if regression else None
    return lcre.Network(model, Model(windows, logits), counts, regression)


def train(data, fold, layout, option: SimpleNamespace, steps: int, seed: int) -> dict:
    """Train a try, and return its auROC on the validation and the held-out genes and the seconds of training."""
    import keras

    import lcre_classifier as lcre
    from core.scores import auroc

    keras.utils.set_random_seed(seed)
    began = time.perf_counter()
    genes = data.with_windows
    labels, ranks = genes["target"].to_numpy(), genes["rank"].to_numpy()
    if option.ranks:
        rows, targets = fold.training, lcre.rank_targets(labels, ranks)
    else:
        rows, targets = fold.balanced, np.where(labels == 1, 0.975, 0.025).astype(np.float32)
    default = lcre.MODELS["cnn_lstm_kmer"]
    model = replace(default, build=partial(build, option=option), learning_rate=option.rate, batch_size=option.batch)
    an_epoch = model.count_steps(len(rows))
    total = max(round(steps / an_epoch), 1) * an_epoch
    trainer = lcre.Trainer(model, data.windows, layout)
    if trainer.network.regression:
        lcre.fit_kmer_regression(trainer.network, data.windows[rows], labels[rows], ranks[rows])
    random = np.random.default_rng(seed)
    for step in range(total):
        if step % an_epoch == 0:
            batches = np.array_split(random.permutation(rows), an_epoch)
        batch = batches[step % an_epoch]
        trainer.step(batch, targets[batch], model.schedule(option.rate, step, total))
    seconds = time.perf_counter() - began

    validation, held_out = (
        auroc(labels[rows], trainer.predict(data.windows[rows])) for rows in (fold.validation, fold.test)
    )
    return {"validation": validation, "held out": held_out, "seconds": seconds}


def run(argv: Sequence[str]) -> None:
    """Train the tries and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--fasta", "--gtf", "--tpm"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    parser.add_argument("--held-out", dest="chromosomes", required=True, help="chromosomes, such as IV+VII")
    parser.add_argument(
        "--tries", nargs="+", choices=list(TRIES), default=list(TRIES), metavar="TRY", help="; ".join(TRIES)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args(argv)

    from accuracy import load

    import lcre_classifier as lcre
    from core.device import start_tensorflow

    arguments.name = "search"
    data, settings = load(arguments, "cnn_lstm_kmer")
    fold = lcre.make_folds(data, settings)[0]
    start_tensorflow(lcre.MODELS["cnn_lstm_kmer"].branches)
    layout = lcre.WindowLayout.of(settings)
    chosen_on = fold.chosen_on
    print(f"| try ({arguments.chromosomes} held out) | seed | auROC on {chosen_on} | held out | seconds |")
    print("|---|---|---|---|---|")
    for name, seed in itertools.product(arguments.tries, arguments.seeds):
        found = train(data, fold, layout, SimpleNamespace(**BASE | TRIES[name]), arguments.steps, seed)
        scores = f"{found['validation']:.4f} | {found['held out']:.4f} | {found['seconds']:.0f}"
        print(f"| {name} | {seed} | {scores} |", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "rows that were printed are whole")


if __name__ == "__main__":
    sys.exit(main())
