"""Sequences a second of the training step, as the trainer runs it and otherwise, and its fraction of the CPU's rate.

`python benchmarks/training.py [--models cnn_lstm_kmer published] [--repeats 5]` measures in turn, each in a process
of its own, on random windows of 3,020 columns, and prints medians and the ratio pair by pair.

ours: uint8 codes, one-hot inside the graph, batches as the trainer makes them, deterministic operations, an LSTM in one
operation, gradients of convolutions by matrix products, of the network only what is trained, its branches side by side.
plain: the whole network and the same optimizer, one-hot float32 array given to `model.fit`. Other ways are ours but for
what they name; XLA's steps are not repeatable.

The fraction is the operations of the step (matrix products of convolutions, LSTM and dense layers, forward and
backward, as many as the mathematics needs) a second, against those of a product of two float32 matrices of 2,048 x
2,048 in the same process.
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
GENES = 768
WAYS = {  # way: what is unlike ours
    "plain, oneDNN off": {"one_dnn": "0"},
    "plain": {},
    "ours, oneDNN off": {"one_dnn": "0"},
    "ours": {},
    "ours, Keras' loop for LSTMs": {"fused": False},
    "ours, Keras' loop for LSTMs, XLA": {"fused": False, "xla": True},  # XLA knows no fused LSTM
    "ours, TensorFlow's gradients of convolutions": {"products": False},
    "ours, every operation on all cores": {"branches": 1},
    "ours, batches of 32": {"batch": 32},
    "ours, batches of 128": {"batch": 128},
}


def measure(model_name: str, way: str) -> tuple[float, float]:
    """Train in a process of its own; return sequences a second of the steps after the first epoch, and the fraction."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", model_name, way],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": WAYS[way].get("one_dnn", "1")},
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(json.loads(done.stdout.strip().split("\n")[-1]))


def count_operations(model, whole: bool) -> int:
    """Return the floating-point operations of a training step for one window, two for each multiply-and-add.

    Forward, the gradient of what is trained, and the gradient of every layer's input that depends on it; of the whole
    network, or without the layers that are not trained.
    """
    import keras

    total, dependent = 0, set()
    for layer in model.layers:
        behind = any(id(tensor) in dependent for tensor in keras.tree.flatten(layer.input))
        if behind or layer.trainable_weights:
            dependent |= {id(tensor) for tensor in keras.tree.flatten(layer.output)}
        if not (whole or layer.trainable):
            continue
        kind, products = type(layer).__name__, 0
        if kind == "Conv1D":
            products = layer.output.shape[1] * layer.kernel.shape.num_elements()
        elif kind == "Dense":
            products = layer.kernel.shape.num_elements()
        elif kind in ("LSTM", "Bidirectional"):
            sides = [layer.forward_layer, layer.backward_layer] if kind == "Bidirectional" else [layer]
            kernels = [kernel for side in sides for kernel in (side.cell.kernel, side.cell.recurrent_kernel)]
            products = layer.input.shape[1] * sum(kernel.shape.num_elements() for kernel in kernels)
        total += 2 * products * (1 + layer.trainable + behind)
    return total


def measure_product() -> float:
    """Return the floating-point operations a second of a product of two matrices, the best of 20."""
    import tensorflow as tf

    size, seconds = 2048, []
    first, second = (tf.random.normal((size, size)) for _ in range(2))
    for _ in range(20):
        began = time.perf_counter()
        tf.reduce_sum(first @ second).numpy()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def measure_here(model_name: str, way: str) -> tuple[float, float]:
    """Train one epoch to build the graph and two that are timed."""
    import numpy as np

    import lcre_classifier as lcre
    from core.device import import_tensorflow, share_cores, start_tensorflow
    from core.genome import one_hot
    from lcre import speed

    ours, unlike = way.startswith("ours"), WAYS[way]
    entry, layout = lcre.MODELS[model_name], lcre.WindowLayout(1000, 500, 20)
    batch = unlike.get("batch", 64)
    branches = unlike.get("branches", entry.branches)
    if unlike.get("xla"):  # knows no repeatable gradient of max-pooling
        share_cores(branches)
        import_tensorflow()
    elif ours:
        start_tensorflow(branches)
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    random = np.random.default_rng(1)
    codes = random.integers(0, 4, (GENES, layout.columns)).astype(np.uint8)
    target = random.integers(0, 2, GENES).astype(np.float32)
    for way, name in (("fused", "fuse_lstms"), ("products", "multiply_kernel_gradients")):
        if not unlike.get(way, True):
            setattr(speed, name, lambda model: None)
    if ours:
        trainer = lcre.Trainer(entry, codes, layout)
        model, step = trainer.network.model, trainer.step
        if unlike.get("xla"):
            step = tf.function(step.python_function, jit_compile=True)

        def train() -> None:
            for rows in np.array_split(random.permutation(GENES), GENES // batch):
                float(step(rows, target[rows], 1e-3)[0])  # waits for it, as the trainer does
    else:
        array, model = one_hot(codes, np.float32), entry.build(layout).model
        model.compile(entry.optimizer(entry.learning_rate), "binary_crossentropy", metrics=["accuracy"])

        def train() -> None:
            model.fit(array, target, batch_size=batch, verbose=0)

    train()
    began = time.perf_counter()
    train()
    train()
    rate = 2 * GENES / (time.perf_counter() - began)
    return rate, rate * count_operations(model, not ours) / measure_product()


def main() -> int:
    """Measure every model in every way, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["cnn_lstm_kmer", "published"])
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY", help="; ".join(WAYS)
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all ways")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_here(*arguments.one)))
        return 0
    cases = [(model, way) for model in arguments.models for way in arguments.ways]
    found = {case: [] for case in cases}
    for _ in range(arguments.repeats):
        for case in cases:
            found[case].append(measure(*case))
    first = arguments.ways[0]
    print(f"| network | way | sequences a second (range) | against {first} | fraction of the matrix rate |")
    print("|---|---|---|---|---|")
    for (model, way), pairs in found.items():
        rates, fractions = zip(*pairs, strict=True)
        ratio = statistics.median(rate / base for rate, (base, _) in zip(rates, found[model, first], strict=True))
        spread = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
        print(f"| {model} | {way} | {spread} | {ratio:.2f} | {statistics.median(fractions):.0%} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
