"""What CREaTor's prepare and train cost, and what regions save, as ratios measured in one run.

    python benchmarks/creator_training.py STORE                     of a store that prepare wrote; minutes
    python benchmarks/creator_training.py --prepare 50000,100000    cCREs of made-up stores; minutes

With STORE: operations (multiplications) and seconds of training on regions, against the plain way, where each gene is a
batch by itself and all its cCREs are encoded anew. Both use the same graph and run in turn on the same genes; medians
of --repeats are compared. Memory is the peak of this process, TensorFlow included. With --prepare: seconds, cCREs a
second and peak memory of `CREaTor.py prepare` in a process of its own.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from creator import BLOCK, GENE_WINDOW, TOKENS  # noqa: E402
from creator.batches import Region, encoding_ratio, make_regions  # noqa: E402
from creator.settings import SETTINGS  # noqa: E402
from creator.store import open_store  # noqa: E402
from creator.training import Trainer  # noqa: E402

SIGNAL_EVERY = 25  # bp with one value in a made-up bigWig
ELEMENT, SPACING = 300, 1500  # bp of a made-up cCRE, and from one to the next


def main(argv=None):
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--prepare", metavar="N,N", help="numbers of cCREs")
    parser.add_argument("--cells", type=int, default=2, help="of --prepare, one track each (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of the two ways in turn (default: %(default)s)")
    parser.add_argument("--regions", type=int, default=2, help="that are timed (default: %(default)s)")
    parser.add_argument("--plain-genes", type=int, default=40, help="of them, one by one (default: %(default)s)")
    for name in ("width", "hidden", "batch_elements", "dropout"):
        setting = next(setting for setting in SETTINGS if setting.name == name)
        parser.add_argument(setting.flag, type=type(setting.default), default=setting.default)
    options = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.prepare:
        compare_sizes([int(count) for count in options.prepare.split(",")], options.cells)
    if options.store:
        compare_ways(options)
    return 0


# --------------------------------------------------------------------------------------------------- training
def compare_ways(options):
    """Print operations and seconds of both ways of training."""
    store = open_store(options.store)
    settings = {setting.name: setting.default for setting in SETTINGS}
    settings |= {name: getattr(options, name) for name in ("width", "hidden", "batch_elements", "dropout")}
    regions = make_regions(store, store.chromosomes, settings["batch_elements"])
    alone = [single(store, gene) for region in regions for gene in region.genes]
    counts = [sum(count_operations(region, store, settings) for region in ways) for ways in (regions, alone)]
    print(f"{len(regions):,} regions of {len(alone):,} genes; each cCRE is encoded {encoding_ratio(regions):.2f} times")
    print(f"a cCRE is in reach of {sum(len(region.elements) for region in alone) / len(store.tokens):.1f} genes\n")
    print("| for one pass over all genes in one cell | plain | regions | ratio |\n|---|---|---|---|")
    encoded = [sum(len(region.elements) for region in ways) for ways in (alone, regions)]
    print(f"| encodings of a cCRE | {encoded[0]:,} | {encoded[1]:,} | {encoded[0] / encoded[1]:.1f} |")
    print(
        f"| multiplications, forwards | {counts[1]:.2e} | {counts[0]:.2e} | {counts[1] / counts[0]:.1f} |", flush=True
    )

    trainer = Trainer(store, settings, {"options": store.options}, 1.0)
    step = np.random.default_rng(0)
    chosen = [regions[index] for index in step.permutation(len(regions))[: options.regions]]
    genes = [gene for region in chosen for gene in region.genes]
    sample = [single(store, gene) for gene in step.permutation(genes)[: options.plain_genes]]
    seconds = {"regions": [], "plain": []}
    run(trainer, store, chosen[:1])  # traces the graph
    for _ in range(options.repeats):
        seconds["regions"].append(run(trainer, store, chosen) / len(genes))
        seconds["plain"].append(run(trainer, store, sample) / len(sample))
    ours, plain = (statistics.median(seconds[name]) for name in ("regions", "plain"))
    ratios = sorted(b / a for a, b in zip(seconds["regions"], seconds["plain"], strict=True))
    print(f"| seconds of training a gene | {plain:.4f} | {ours:.4f} | {plain / ours:.1f} |")
    print(f"\nratio of {options.repeats} rounds: {ratios[0]:.1f} to {ratios[-1]:.1f}")
    elements = sum(len(region.elements) for region in chosen)
    print(
        f"regions: {1 / (ours * len(genes) / len(chosen)):.2f} steps a second, "
        f"{elements / (ours * len(genes)):,.0f} cCREs a second; peak memory {peak_memory():,} MB"
    )


def single(store, gene: int) -> Region:
    """Return a gene with the cCREs in its reach: a batch of the plain way."""
    return Region(np.array([gene]), np.asarray(store.in_reach(gene), np.int64))


def count_operations(region: Region, store, settings: dict) -> float:
    """Return the multiplications of a region in one cell, forwards, both stages; the genes' vector is a constant."""
    width, hidden = settings["width"], settings["hidden"]
    n, g, rows = len(region.elements), len(region.genes), store.options["width"] // BLOCK + 1
    layer = 4 * width**2 + 2 * width * hidden  # of a row, without attention
    inputs = BLOCK * (TOKENS + len(store.tracks)) * width
    element = rows * inputs + (settings["element_layers"] - 1) * (rows * layer + 2 * rows**2 * width)
    element += layer + 2 * rows * width * (1 + settings["heads"])  # the last layer, of the last row alone
    between = (settings["regulation_layers"] - 1) * (n * layer + 2 * n**2 * width) + 2 * n * width**2
    genes = settings["regulation_layers"] * (g * layer + 2 * g * n * width)
    return n * element + between + genes


def run(trainer: Trainer, store, regions) -> float:
    """Train on regions in the first cell; return seconds."""
    began = time.perf_counter()
    for number, region in enumerate(regions):
        batch = trainer.read(store, region, [0])
        float(trainer.step(batch, np.array([number, 1], np.int32), np.float32(1e-4)))
    return time.perf_counter() - began


def peak_memory() -> int:
    """Return the peak resident memory of this process, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


# ---------------------------------------------------------------------------------------------------- prepare
def compare_sizes(counts, cells):
    """Print what prepare takes for so many cCREs and cells."""
    print(
        "| cCREs | cells | seconds | cCREs x cells a second | peak memory, MB | store, MB |\n|---|---|---|---|---|---|"
    )
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_inputs(folder, count, cells)
            command = [
                sys.executable,
                str(ROOT / "CREaTor.py"),
                "prepare",
                "--fasta",
                "genome.fa",
                "--gtf",
                "genes.gtf",
            ]
            command += [
                "--ccres",
                "ccres.bed",
                "--samples",
                "samples.tsv",
                "--out",
                "STORE",
                "--tracks",
                "DNase",
                "--width",
                "100",
            ]
            began = time.perf_counter()
            child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            if status:
                raise SystemExit(f"prepare ended with status {status}")
            seconds = time.perf_counter() - began
            size = sum(file.stat().st_size for file in (folder / "STORE").iterdir()) / 1e6
            rate = cells * count / seconds
            print(
                f"| {count:,} | {cells} | {seconds:.1f} | {rate:,.0f} | {usage.ru_maxrss // 1024:,} | {size:,.0f} |",
                flush=True,
            )


def write_inputs(folder: Path, count: int, cells: int) -> None:
    """Write a genome with a cCRE every 1.5 kb, a gene every 50 kb, and cells that share two bigWigs."""
    import pybigtools

    random = np.random.default_rng(1)
    length = count * SPACING + 2 * GENE_WINDOW
    bases = np.frombuffer(b"ACGT", np.uint8)
    with open(folder / "genome.fa", "wb") as file:
        file.write(b">1\n")
        for start in range(0, length, 60_000):
            line = bases[random.integers(0, 4, min(60_000, length - start))].tobytes()
            file.write(b"\n".join(line[at : at + 60] for at in range(0, len(line), 60)) + b"\n")
    starts = GENE_WINDOW + SPACING * np.arange(count)
    (folder / "ccres.bed").write_text("".join(f"1\t{start}\t{start + ELEMENT}\te{start}\n" for start in starts))
    tss = range(GENE_WINDOW, length - 2000, 50_000)
    (folder / "genes.gtf").write_text(
        "".join(
            f'1\tx\tgene\t{at + 1}\t{at + 1000}\t.\t+\t.\tgene_id "g{at}"; gene_biotype "protein_coding";\n'
            for at in tss
        )
    )
    (folder / "tpm.csv").write_text("gene_id,A,B\n" + "".join(f"g{at},{at % 7},{at % 5}\n" for at in tss))
    lines = ["cell\ttrack\tpath\tcolumn"]
    for name in "AB":
        places = (starts[:, None] + np.arange(0, ELEMENT, SIGNAL_EVERY)).reshape(-1)
        values = random.gamma(1, 2, len(places)).round(2)
        records = (
            ("1", int(at), int(at) + SIGNAL_EVERY, float(value)) for at, value in zip(places, values, strict=True)
        )
        pybigtools.open(str(folder / f"{name}.bw"), "w").write({"1": length}, records)
    for cell in range(cells):
        name = "AB"[cell % 2]
        lines += [f"cell{cell}\tDNase\t{name}.bw\t", f"cell{cell}\tTPM\ttpm.csv\t{name}"]
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
