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
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.cli import run_script  # noqa: E402

BASE = {
    "detectors": 2,  # of motifs
    "stems": ("anywhere", "in_frame"),  # their first convolutions
    "filters": (96, 128),  # of each stem, of the second convolution
    "pool": 9,  # columns behind the stems
    "stretch": 8,  # positions averaged in front of the dense layers; 1: none
    "words": ((3, 100), (4, 500)),  # lengths counted, in stretches of how many bp; (): no regression on words
    "parts": True,  # words are counted before and behind TSS and TES apart, and codons inside the gene only
    "codons": 60,  # in a stretch
    "frames": 3,  # in which they are counted; 1: that of the TSS
    "solved": True,  # the regression on words is solved, or taught like the detectors
    "scale": 0.1,  # of the counts, where the regression is taught
    "logarithm": False,  # of the counts
    "dropout": 0.5,  # in front of the regression, where it is taught
    "apart": True,  # detectors are taught apart, or the sum of all is taught
    "ranks": True,  # ranks of all genes are taught, or low and high only, smoothed by .05
    "rate": 2e-3,
    "batch": 64,
}
TAUGHT = {
    "detectors": 1,
    "filters": (64, 96),
    "words": ((3, 101), (4, 252)),
    "parts": False,
    "codons": 168,
    "frames": 1,
    "solved": False,
}
TRIES = {
    "first try: one stem, low and high genes": TAUGHT
    | {"stems": ("anywhere",), "filters": (128, 128), "pool": 8, "stretch": 1, "words": (), "ranks": False},
    "first try, ranks": TAUGHT | {"stems": ("anywhere",), "filters": (128, 128), "pool": 8, "stretch": 1, "words": ()},
    "averaged stretches": TAUGHT | {"stems": ("anywhere",), "filters": (128, 128), "pool": 8, "words": ()},
    "stem in frame only": TAUGHT | {"stems": ("in_frame",), "filters": (192, 128), "words": ()},
    "both stems": TAUGHT | {"filters": (96, 128), "words": ()},
    "both stems, narrow": TAUGHT | {"words": ()},
    "4-mers and codons, logarithm": TAUGHT | {"detectors": 0, "words": ((4, 252),), "scale": 1.0, "logarithm": True},
    "4-mers and codons": TAUGHT | {"detectors": 0, "words": ((4, 252),)},
    "4-mers and codons, scale .3": TAUGHT | {"detectors": 0, "words": ((4, 252),), "scale": 0.3},
    "4-mers in 6 stretches and codons": TAUGHT | {"detectors": 0, "words": ((4, 503),)},
    "3-mers and codons": TAUGHT | {"detectors": 0, "words": ((3, 126),)},
    "words": TAUGHT | {"detectors": 0},
    "words, scale .2, dropout .3": TAUGHT | {"detectors": 0, "scale": 0.2, "dropout": 0.3},
    "joint": TAUGHT | {"apart": False},
    "apart": TAUGHT,
    "apart, low and high genes": TAUGHT | {"ranks": False},
    "apart, two narrow detectors": TAUGHT | {"detectors": 2},
    "apart, wide": TAUGHT | {"filters": (96, 128)},
    "solved (the default)": {},
    "solved, narrow": {"filters": (64, 96)},
    "solved, one detector": {"detectors": 1},
    "solved, three detectors": {"detectors": 3},
    "solved, codons everywhere": {"words": ((3, 101), (4, 503)), "parts": False, "codons": 84},
    "solved, 4-mers in 250 bp": {"words": ((3, 100), (4, 250))},
    "solved, 5-mers as well": {"words": ((3, 100), (4, 500), (5, 1000))},
    "solved, rate 4e-3": {"rate": 4e-3},
    "solved, batches of 32": {"batch": 32},
}


def build(columns: int, upstream: int, downstream: int, option: SimpleNamespace):
    """Build a try as the trainer's networks are built, with layers `taught` and, if it is solved, `regression`.

    Where answers are not taught apart, `taught` holds their sum alone.
    """
    from keras import Model, layers, ops

    import lcre_classifier as lcre
    from lcre.networks import count_words

    def settle(sequence):
        return layers.Dropout(0.25)(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(sequence)))

    def detect(windows):
        stem = {
            "anywhere": lambda: layers.MaxPooling1D(option.pool, padding="same")(
                layers.Conv1D(option.filters[0], 12, padding="same", use_bias=False)(windows)
            ),
            "in_frame": lambda: layers.MaxPooling1D(option.pool // 3, padding="same")(
                layers.Conv1D(option.filters[0], 15, strides=3, padding="same", use_bias=False)(windows)
            ),
        }
        stems = [stem[name]() for name in option.stems]
        sequence = settle(layers.Concatenate()(stems) if len(stems) > 1 else stems[0])
        sequence = layers.Conv1D(option.filters[1], 6, padding="same", use_bias=False)(sequence)
        sequence = settle(layers.MaxPooling1D(4, padding="same")(sequence))
        sequence = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(sequence)
        sequence = layers.Conv1D(32, 1, activation="relu")(layers.Dropout(0.25)(sequence))
        if option.stretch > 1:
            sequence = layers.AveragePooling1D(option.stretch, padding="same")(sequence)
        dense = layers.Dense(64, activation="relu")(layers.Flatten()(sequence))
        return layers.Dense(1)(layers.Dropout(0.5)(dense))

    windows = layers.Input((columns, 4))
    taught, solved = [detect(windows) for _ in range(option.detectors)], []
    if option.words:
        parts = lcre.window_parts(columns, upstream, downstream)
        parts, inside = (parts, parts[1:3]) if option.parts else ([(0, columns)], [(upstream % 3, columns)])
        counts = [count_words(windows, *part, length, 1, size) for part in parts for length, size in option.words]
        for (begin, end), frame in itertools.product(inside, range(option.frames)):
            counts.append(count_words(windows, begin + frame, end, 3, 3, option.codons))
        words = layers.Concatenate()(counts)
        if option.solved:
            solved = [layers.Dense(1, kernel_initializer="zeros", trainable=False, name="regression")(words)]
        else:
            words = layers.Rescaling(option.scale)(ops.log1p(words) if option.logarithm else words)
            taught.append(layers.Dense(1)(layers.Dropout(option.dropout)(words)))
    if not option.apart:
        taught = [layers.Add()(taught)]
    answers = layers.Concatenate(name="taught")(taught)
    total = layers.Dense(1, "sigmoid", use_bias=False, trainable=False)
    model = Model(windows, total(layers.Concatenate()([answers, *solved])))
    weight = 1 / len(taught) if solved else 1
    total.set_weights([np.array([[weight]] * len(taught) + [[1]] * len(solved))])
    return model


def train(data, fold, sizes: tuple[int, int], option: SimpleNamespace, steps: int, seed: int) -> dict:
    """Train a try, and return its auROC on the validation and the held-out genes and the seconds of training."""
    import keras

    import lcre_classifier as lcre
    from core.scores import auroc
    from lcre.networks import Workbench, fit_regression

    keras.utils.set_random_seed(seed)
    began = time.perf_counter()
    genes = data.with_windows
    target, log_odds = genes["target"].to_numpy(), lcre.rank_log_odds(genes["rank"].to_numpy())
    if option.ranks:
        rows, taught = fold.taught, (1 / (1 + np.exp(-log_odds))).astype(np.float32)
    else:
        rows, taught = fold.train, np.where(target == 1, 0.975, 0.025).astype(np.float32)
    recipe = lcre.Recipe(partial(build, option=option), option.rate, batch_size=option.batch, one_cycle=True)
    an_epoch = recipe.count_steps(len(rows))
    total = max(round(steps / an_epoch), 1) * an_epoch
    bench = Workbench(recipe, data.windows, *sizes)
    fit_regression(bench.model, data.windows[rows], log_odds[rows])
    random = np.random.default_rng(seed)
    for step in range(total):
        if step % an_epoch == 0:
            batches = np.array_split(random.permutation(rows), an_epoch)
        batch = batches[step % an_epoch]
        bench.train(batch, taught[batch], recipe.find_rate(step, total))
    seconds = time.perf_counter() - began

    validation, held_out = (
        auroc(target[rows], bench.predict(data.windows[rows])) for rows in (fold.validation, fold.test)
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
    asked = parser.parse_args(argv)

    from accuracy import load

    import lcre_classifier as lcre
    from core.device import start_tensorflow

    asked.name = "search"
    data, settings = load(asked, "motifs_and_words")
    fold = lcre.make_folds(data, settings)[0]
    start_tensorflow(lcre.RECIPES["motifs_and_words"].branches)
    sizes = settings.UPSTREAM, settings.DOWNSTREAM
    print(f"| try ({asked.chromosomes} held out) | seed | auROC on {fold.validation_chromosome} | held out | seconds |")
    print("|---|---|---|---|---|")
    for name, seed in itertools.product(asked.tries, asked.seeds):
        found = train(data, fold, sizes, SimpleNamespace(**BASE | TRIES[name]), asked.steps, seed)
        scores = f"{found['validation']:.4f} | {found['held out']:.4f} | {found['seconds']:.0f}"
        print(f"| {name} | {seed} | {scores} |", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "rows that were printed are whole")


if __name__ == "__main__":
    sys.exit(main())
