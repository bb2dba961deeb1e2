"""Does explaining find what was planted, do contributions add up, and what does it cost? On the demo's run.

`python benchmarks/explanation.py --models saved_models/demo [--explained saved_models/demo_explain]` prints, from what
lcre_explain.py wrote, for each planted element the contributions inside its working sites (weight above 0.5) against
those in the rest of the same windows, and the completeness gap; then it times integrated gradients for one gene
against one forward and backward pass of the same network, in turn (A B A B ...), and prints the ratio pair by pair.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 (the project's own modules lie beside this folder)
import pandas as pd  # noqa: E402

from lcre import trained  # noqa: E402
from lcre_classifier import WindowLayout  # noqa: E402

WIDTH = 12  # bp of every planted element
WEIGHT = 0.5  # of a site that counts as working


def read_sites(truth: Path, layout: WindowLayout) -> pd.DataFrame:
    """Return the working sites: gene_id, element, begin (column of the window)."""
    rows = []
    table = pd.read_csv(truth, comment="#", dtype={"gene_id": str}, keep_default_na=False)
    for gene_id, elements in zip(table["gene_id"], table["elements"], strict=True):
        for entry in filter(None, elements.split(";")):
            element, region, position, _, weight = entry.split(":")
            if float(weight) > WEIGHT:
                rows.append((gene_id, element, layout.sites[region] + int(position)))
    return pd.DataFrame(rows, columns=["gene_id", "element", "begin"])


def compare_sites(explained: Path, layout: WindowLayout) -> pd.DataFrame:
    """Compare working sites with the rest of the same windows.

    The rest is every base of those windows that is in no working site of any element; decoys belong to it.

    Returns:
        A row an element: sites; contribution (mean over its sites' bases, with its sign); and three ratios, inside to
        rest. signed: of mean contributions. site: of the absolute mean contribution of 12 bp in a row. base: of the
        mean absolute contribution of single bases, in which the noise of every base counts in full.
    """
    with np.load(explained / "contributions.npz") as arrays:
        row_of = {name: row for row, name in enumerate(arrays["gene_id"])}
        values = arrays["contributions"].sum(axis=2, dtype=np.float64)
        rest = arrays["one_hot"].any(axis=2)
    sites = read_sites(ROOT / "data/demo/truth.csv", layout)
    sites = sites[sites["gene_id"].isin(row_of.keys())].assign(row=lambda frame: frame["gene_id"].map(row_of))
    for row, begin in zip(sites["row"], sites["begin"], strict=True):
        rest[row, begin : begin + WIDTH] = False
    by_place = np.lib.stride_tricks.sliding_window_view(values, WIDTH, axis=1).mean(axis=2)
    in_rest = np.lib.stride_tricks.sliding_window_view(rest, WIDTH, axis=1).all(axis=2)
    table = []
    for element, here in sites.groupby("element", sort=False):
        inside = np.array(
            [values[row, begin : begin + WIDTH] for row, begin in zip(here["row"], here["begin"], strict=True)]
        )
        windows = here["row"].unique()
        outside = values[windows][rest[windows]]
        by_site = np.abs(inside.mean(axis=1)).mean() / np.abs(by_place[windows][in_rest[windows]]).mean()
        by_base = np.abs(inside).mean() / np.abs(outside).mean()
        table.append((element, len(here), inside.mean(), abs(inside.mean() / outside.mean()), by_site, by_base))
    columns = ["element", "sites", "contribution", "signed", "site", "base"]
    return pd.DataFrame(table, columns=columns).sort_values("base", ascending=False)


def time_pairs(model, codes: np.ndarray, steps: int, references: int, repeats: int) -> list[float]:
    """Return pair by pair how many forward-and-backward passes over one window one explanation takes.

    Args:
        model: the keras.Model.
        codes: base codes of the window, uint8, (columns,).
    """
    import tensorflow as tf

    from lcre.attribution import Network, integrated_gradients
    from lcre.shuffle import shuffle_dinucleotides

    @tf.function
    def forward_and_backward(encoded):
        with tf.GradientTape() as tape:
            tape.watch(encoded)
            value = model(encoded, training=False)
        return tape.gradient(value, encoded)

    network, encoded = Network(model), tf.one_hot(codes[None], 4)
    random = np.random.default_rng(1)

    def explain() -> None:
        integrated_gradients(network, codes, shuffle_dinucleotides(codes, references, random), steps)

    def one_pass() -> None:
        for _ in range(20):
            forward_and_backward(encoded).numpy()

    ratios = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        one_pass()
        middle = time.perf_counter()
        explain()
        ended = time.perf_counter()
        if number:  # the first pair builds the graphs
            ratios.append((ended - middle) / ((middle - began) / 20))
    return ratios


def main(argv: list[str] | None = None) -> int:
    """Print sites, gap and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("saved_models/demo"))
    parser.add_argument("--explained", type=Path, help="what lcre_explain.py wrote [MODELS_explain]")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args(argv)
    explained = arguments.explained or Path(f"{arguments.models}_explain")
    run = trained.load_run(arguments.models, WindowLayout.of)
    if run.settings.DATASET == "demo":
        table = compare_sites(explained, run.layout)
        print("contributions in working sites against the rest of the same windows, as ratios")
        print(table.to_string(index=False, float_format="%.3f"))
        for ratio in ("signed", "site", "base"):
            print(f"{ratio}: {(table[ratio] >= 5).sum()} of {len(table)} elements at 5 times or more")
    with np.load(explained / "contributions.npz") as arrays:
        gap, encoded = arrays["completeness_gap"], arrays["one_hot"][0]
    median, upper = np.quantile(gap, [0.5, 0.75])
    print(f"completeness gap: median {median:.2%}, upper quartile {upper:.2%} ({len(gap):,} genes)")

    from core.device import start_tensorflow

    print(f"computing on {start_tensorflow()}")
    codes = np.where(encoded.any(axis=1), encoded.argmax(axis=1), 4).astype(np.uint8)
    model = run.models[run.folds[0]]
    for references in (1, 10):
        ratios = time_pairs(model, codes, 50, references, arguments.repeats)
        print(
            f"50 steps, {references} reference(s), shuffling included: as long as {statistics.median(ratios):.1f} "
            f"forward-and-backward passes of one window ({min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} pairs)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
