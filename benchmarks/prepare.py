"""Time and memory from files to ready windows for all folds, against a plain reference, as ratios of one run.

`python benchmarks/prepare.py --fasta F --gtf G --tpm T [--repeats 3]` starts each way of preparing in a process of its
own, in turn (A B A B ...), and prints the medians and the ratio pair by pair. Without files it takes the demo genome.

The reference does what the LCRE description says in the plainest way: for every fold it fetches every window base by
base through pyfaidx, turns each base into four float64 numbers by a dictionary, and stacks the arrays.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
CODE = {"A": [1, 0, 0, 0], "C": [0, 1, 0, 0], "G": [0, 0, 1, 0], "T": [0, 0, 0, 1]}


def encode(sequence: str):
    """Return a sequence as float64 one-hot rows, base by base."""
    import numpy as np

    encoded = np.zeros((len(sequence), 4))
    for position, base in enumerate(sequence):
        encoded[position] = CODE.get(base, [0, 0, 0, 0])
    return encoded


def cut_plainly(fasta, gene, up: int, down: int, padding: int):
    """Return one gene's windows, (columns, 4), cut as strings; None where they leave the chromosome."""
    import numpy as np

    chromosome = fasta[gene.chromosome]
    left, right = (gene.start - up, gene.start + down), (gene.end - down, gene.end + up)
    if min(left[0], right[0]) < 0 or max(left[1], right[1]) > len(chromosome):
        return None
    pieces = [str(chromosome[begin:end]).upper() for begin, end in (left, right)]
    if gene.strand == "-":
        pieces = ["".join(COMPLEMENT.get(base, base) for base in reversed(piece)) for piece in reversed(pieces)]
    window = np.concatenate([encode(pieces[0]), np.zeros((padding, 4)), encode(pieces[1])])
    size = up + down
    window[up : up + 3] = 0
    window[size + padding + down - 3 : size + padding + down] = 0
    return window


def prepare_plainly(fasta_file: Path, gtf: Path, tpm: Path) -> dict:
    """Prepare training and held-out arrays of every fold the plain way, keeping one fold at a time."""
    import gzip
    import shutil
    import tempfile

    import numpy as np
    import pandas as pd
    import pyfaidx
    import pyranges

    genes = pyranges.read_gtf(str(gtf), as_df=True)
    genes = genes[(genes["Feature"] == "gene") & (genes["gene_biotype"] == "protein_coding")]
    table = pd.read_csv(tpm, index_col=0)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "genome.fa"
        with gzip.open(fasta_file) as packed, open(plain, "wb") as file:
            shutil.copyfileobj(packed, file)
        fasta = pyfaidx.Fasta(str(plain))
        genes = pd.DataFrame(
            {
                "gene_id": genes["gene_id"].astype(str),
                "chromosome": genes["Chromosome"].astype(str),
                "start": genes["Start"],
                "end": genes["End"],
                "strand": genes["Strand"].astype(str),
            }
        )
        genes["value"] = genes["gene_id"].map(table["logMaxTPM"])
        folds = [name for name in genes["chromosome"].unique() if (genes["chromosome"] == name).sum() > 50]
        count = 0
        for held_out in folds:
            train, test = [], []
            for gene in genes.itertuples():
                window = cut_plainly(fasta, gene, 1000, 500, 20)
                if window is not None:
                    (test if gene.chromosome == held_out else train).append(window)
            train, test = np.array(train), np.array(test)
            count = len(train) + len(test)
    return {"folds": len(folds), "windows": count}


def prepare_ours(fasta: Path, gtf: Path, tpm: Path) -> dict:
    """Prepare every fold as the trainer does."""
    import lcre_classifier as lcre
    from core.cli import parse_settings
    from lcre.settings import RULES

    argv = ["--fasta", str(fasta), "--gtf", str(gtf), "--tpm", str(tpm), "--upstream", "1000", "--downstream", "500"]
    values, space = parse_settings(Path(lcre.__file__), vars(lcre), RULES, lcre.__version__, lcre.ACTIONS, argv)
    settings = lcre.choose_settings(values, space.overrides)
    data = lcre.load_data(settings)
    folds = lcre.make_folds(data, settings)
    return {"folds": len(folds), "windows": len(data.windows)}


WAYS = {"ours": prepare_ours, "reference": prepare_plainly}


def measure(way: str, files: list[str]) -> dict:
    """Prepare one way in a process of its own; seconds from files to windows, peak memory of the process in bytes."""
    done = subprocess.run([sys.executable, __file__, "--way", way, *files], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().split("\n")[-1])


def main() -> int:
    """Measure both ways in turn and print a table."""
    demo = ROOT / "data/demo"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fasta", type=Path, default=demo / "demo.fa.gz", help="genome, gzip")
    parser.add_argument("--gtf", type=Path, default=demo / "demo.gtf.gz", help="annotation, Ensembl style")
    parser.add_argument("--tpm", type=Path, default=demo / "demo_tpm.csv", help="table with logMaxTPM")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        import numpy  # noqa: F401  what both ways import is not timed
        import pandas  # noqa: F401
        import pyfaidx  # noqa: F401
        import pyranges  # noqa: F401

        began = time.perf_counter()
        found = WAYS[arguments.way](arguments.fasta, arguments.gtf, arguments.tpm)
        found["seconds"] = time.perf_counter() - began
        found["bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(found))
        return 0
    files = ["--fasta", str(arguments.fasta), "--gtf", str(arguments.gtf), "--tpm", str(arguments.tpm)]
    measured = {way: [] for way in WAYS}
    for _ in range(arguments.repeats):
        for way in WAYS:
            measured[way].append(measure(way, files))
    print("| way | folds | windows | seconds, median (min to max) | peak memory, median |")
    print("|---|---|---|---|---|")
    for way, runs in measured.items():
        seconds = sorted(run["seconds"] for run in runs)
        memory = statistics.median(run["bytes"] for run in runs)
        print(
            f"| {way} | {runs[0]['folds']} | {runs[0]['windows']:,} | {statistics.median(seconds):.2f} "
            f"({seconds[0]:.2f} to {seconds[-1]:.2f}) | {memory / 2**20:,.0f} MiB |"
        )
    for what in ("seconds", "bytes"):
        ratios = sorted(b[what] / a[what] for a, b in zip(measured["ours"], measured["reference"], strict=True))
        print(
            f"\nreference / ours, {what}, pair by pair: median {statistics.median(ratios):.1f} "
            f"(min {ratios[0]:.1f}, max {ratios[-1]:.1f}, {len(ratios)} pairs)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
