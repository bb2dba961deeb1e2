"""Sequences a second of the training step, against a plain `model.fit` on a float32 array, oneDNN on and off.

`python benchmarks/training.py [--models motifs_and_words published] [--repeats 5]` measures in turn, each in a process
of its own, on random windows of 3,020 columns, and prints medians and the ratio pair by pair.

ours: uint8 codes, one-hot inside the graph, batches as the trainer makes them. plain: the same network and optimizer,
one-hot float32 array given to `model.fit`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
GENES, COLUMNS = 768, 3020


def measure(model_name: str, way: str, onednn: str) -> float:
    """Train in a process of its own and return sequences a second of the steps after the first epoch."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", model_name, way],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.strip().split("\n")[-1])


def measure_here(model_name: str, way: str) -> float:
    """Train one epoch to build the graph and two that are timed."""
    import numpy as np

    import lcre_classifier as lcre
    from lcre.device import start_tensorflow
    from lcre.networks import make_batches, make_trainer

    if way == "ours":
        start_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    codes = random.integers(0, 4, (GENES, COLUMNS)).astype(np.uint8)
    target = random.integers(0, 2, GENES).astype(np.float32)
    recipe = lcre.RECIPES[model_name]
    model = recipe.build(COLUMNS, 1000)
    model.compile(recipe.make_optimizer(100))
    trained = make_trainer(model)
    if way == "ours":
        held = tf.constant(codes)

        def train() -> None:
            batches = make_batches(held, random.permutation(GENES), target, recipe.batch_size)
            trained.fit(batches, shuffle=False, verbose=0)
    else:
        array = lcre.one_hot(codes).astype(np.float32)
        model.compile(model.optimizer, "binary_crossentropy", metrics=["accuracy"])

        def train() -> None:
            model.fit(array, target, batch_size=recipe.batch_size, verbose=0)

    train()
    began = time.perf_counter()
    train()
    train()
    return 2 * GENES / (time.perf_counter() - began)


def main() -> int:
    """Measure every model both ways with oneDNN on and off, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["motifs_and_words", "published"])
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all ways")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure_here(*asked.one)))
        return 0
    cases = [(model, way, onednn) for model in asked.models for onednn in "10" for way in ("ours", "plain")]
    rates = {case: [] for case in cases}
    for _ in range(asked.repeats):
        for case in cases:
            rates[case].append(measure(*case))
    print("| network | way | oneDNN | sequences a second (range) | against plain, oneDNN off |")
    print("|---|---|---|---|---|")
    for (model, way, onednn), found in rates.items():
        ratios = [rate / base for rate, base in zip(found, rates[model, "plain", "0"], strict=True)]
        spread = f"{statistics.median(found):.0f} ({min(found):.0f} to {max(found):.0f})"
        switch = "on" if onednn == "1" else "off"
        print(f"| {model} | {way} | {switch} | {spread} | {statistics.median(ratios):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
