"""How much faster and smaller creator/network.py is than the plain network, as ratios measured in one run.

    python benchmarks/creator.py                about ten minutes on two cores

Both compute the same numbers from the same random weights of the published sizes (the largest relative
difference is printed). The plain network is tests/creator_plain.py: compiled as well, but every gene encodes
all of its cCREs again, in one batch, and every layer computes every row. The two run in turn; medians are
compared. Tracing is left out of the times; memory is the peak of a process of its own, TensorFlow included.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
LENGTH = 700  # bases a cCRE


def main(argv=None):
    """Prints a table of ratios; with --memory, the peak memory of one prediction."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--elements", type=int, default=500, help="cCREs a gene sees (default: %(default)s)")
    parser.add_argument("--genes", type=int, default=50, help="neighbouring genes (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="of one gene (default: %(default)s)")
    parser.add_argument("--gene-repeats", type=int, default=3, help="of many genes (default: %(default)s)")
    parser.add_argument("--along-repeats", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--memory-elements", type=int, default=1000, help="cCREs (default: %(default)s)")
    parser.add_argument("--memory", choices=("plain", "fast", "idle"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.memory:
        print(peak_memory(options.memory, options.memory_elements))
        return 0

    # Memory first: a child's peak begins at what its parent held when starting it, which is little as yet.
    count = ("--memory-elements", str(options.memory_elements))
    idle, plain, fast = (
        int(subprocess.check_output([sys.executable, __file__, "--memory", kind, *count], text=True))
        for kind in ("idle", "plain", "fast")
    )
    print("| what | plain | CREaTor.py | ratio | largest relative difference |\n|---|---|---|---|---|")
    what = f"peak memory, one gene, {options.memory_elements:,} cCREs ({idle:,} MB before the prediction)"
    print(f"| {what} | {plain:,} MB | {fast:,} MB | {fast / plain:.2f} of it | |", flush=True)
    for what, plain, fast, difference in speed(options):
        ratio = f"{plain / fast:.1f} x faster"
        print(f"| {what} | {plain:.2f} s | {fast:.2f} s | {ratio} | {difference:.1e} |", flush=True)
    return 0


def plain_network(seed=1):
    """The plain network, compiled, as a function of the five arrays of an input -> expression (G,)."""
    import tensorflow as tf
    from creator_plain import plain_gene, random_arrays

    arrays = {name: tf.constant(array) for name, array in random_arrays(seed).items()}
    compiled = tf.function(plain_gene, autograph=False)

    def plain(tokens, signal, positions, tss, window):
        genes = [(tss[g : g + 1], window[g : g + 1]) for g in range(len(tss))]
        return np.array([compiled(arrays, tokens, signal, positions, *gene)[0].numpy() for gene in genes])

    return plain


def fast_network(seed=1):
    """Ours, with the same weights."""
    from creator_plain import random_arrays

    from creator.checkpoint import set_published_arrays
    from creator.network import Creator

    model = Creator()
    set_published_arrays(model, random_arrays(seed))
    return model


def speed(options):
    """One row a comparison: what, seconds of the plain network, seconds of ours, largest difference."""
    from creator_plain import random_input

    from creator.network import element_vectors, expression, predict_expression

    plain, model = plain_network(), fast_network()

    def fast(*inputs):
        return predict_expression(model, *inputs)

    one = random_input(2, options.elements, LENGTH)
    yield f"one gene, {options.elements} cCREs", *in_turn(plain, fast, one, options.repeats)
    many = random_input(3, options.elements, LENGTH, options.genes)
    what = f"{options.genes} genes, the same {options.elements} cCREs"
    yield what, *in_turn(plain, fast, many, options.gene_repeats, warm=one)

    # Along a chromosome each gene has a window of its own: here each next gene leaves one in eighteen of
    # its cCREs behind and meets as many new ones, so that a cCRE lies in 18 windows.
    step = max(1, options.elements // 18)
    total = options.elements + step * (options.genes - 1)
    along = random_input(4, total, LENGTH, options.genes)
    in_reach = [np.arange(g * step, g * step + options.elements) for g in range(options.genes)]

    def plain_along(tokens, signal, positions, tss, window):
        if len(tokens) < total:  # the run that traces
            return plain(tokens, signal, positions, tss, window)
        return np.concatenate(
            [plain(tokens[m], signal[m], positions[m], tss[[g]], window[[g]]) for g, m in enumerate(in_reach)]
        )

    def fast_along(tokens, signal, positions, tss, window):
        return expression(model, element_vectors(model, tokens, signal), positions, tss, window, in_reach)

    what = f"{options.genes} genes, {options.elements} each of {total:,} cCREs"
    yield what, *in_turn(plain_along, fast_along, along, options.along_repeats, warm=one)


def in_turn(plain, fast, inputs, repeats, warm=None):
    """Median seconds of both, run alternately after a run that traces, and the largest difference."""
    plain(*(warm or inputs)), fast(*inputs)
    seconds = {plain: [], fast: []}
    for _ in range(repeats):
        results = []
        for network in (plain, fast):
            start = time.perf_counter()
            results.append(network(*inputs))
            seconds[network].append(time.perf_counter() - start)
    difference = np.max(np.abs(results[1] / results[0] - 1))
    return statistics.median(seconds[plain]), statistics.median(seconds[fast]), difference


def peak_memory(kind, elements):
    """Peak resident memory in MB of this process after one prediction by `kind` ("idle": after none)."""
    from creator_plain import random_input

    from creator.network import predict_expression

    plain = plain_network() if kind == "plain" else None
    model = fast_network() if kind != "plain" else None
    inputs = random_input(5, elements, LENGTH)
    if kind == "plain":
        plain(*inputs)
    elif kind == "fast":
        predict_expression(model, *inputs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
