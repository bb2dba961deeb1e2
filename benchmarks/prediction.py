"""Prediction against Keras' own `predict`, effects of broken elements, and the memory of a million variants.

`python benchmarks/prediction.py throughput` windows a second of lcre_predict.py against `model.predict` on a ready
float32 array, in turn (A B A B ...), as a ratio pair by pair: both networks, random windows of 3,020 columns.

`python benchmarks/prediction.py effects saved_models/demo` makes variants on the demo that break planted elements where
these work, and the same kinds of change where nothing is planted, and prints the auROC of |effect| telling them apart.

`python benchmarks/prediction.py variants --fasta F --gtf G [--count 1000000]` scores made-up variants of a genome (nine
SNPs to one insertion or deletion) and prints seconds and peak memory. The network is not trained, which makes no
difference to either; `--network tiny` shows the cost of everything but the network.

`python benchmarks/prediction.py vcf RUN --fasta F --gtf G [--vcf V | --count 5000] [--before FOLDER]` scores the same
variants by whole windows and by slices, in turn, each in a process of its own, and prints variants a second, their
ratio pair by pair, peak memory and the largest difference between the effects. Whole windows are those of this version,
or of the checkout in FOLDER.
"""

import argparse
import csv
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WINDOWS, COLUMNS = 1024, 3020
SIZES = {"upstream": 1000, "downstream": 500, "padding": 20}
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n"


# -------------------------------------------------------------------------------------------- throughput
def measure_throughput(repeats: int) -> None:
    """Print windows a second of both ways and their ratio, for each network."""
    import numpy as np

    import lcre_classifier as lcre
    from core.device import start_tensorflow
    from core.genome import one_hot
    from lcre.trained import BATCH
    from lcre_predict import Scorer, sigmoid

    print(f"{start_tensorflow()}; {WINDOWS:,} windows of {COLUMNS:,} columns, batches of {BATCH}")
    codes = np.random.default_rng(1).integers(0, 4, (WINDOWS, COLUMNS)).astype(np.uint8)
    array = one_hot(codes, np.float32)
    print("| network | ours, windows a second | model.predict | ours / model.predict, median (range) |")
    print("|---|---|---|---|")
    for name, entry in lcre.MODELS.items():
        model = entry.build(lcre.WindowLayout(**SIZES)).model
        scorer = Scorer(SimpleNamespace(folds=["1"], models={"1": model}))
        wanted = np.ones((WINDOWS, 1), bool)
        ways = {
            "ours": lambda scorer=scorer, wanted=wanted: sigmoid(scorer.score(codes, wanted)[:, 0]),
            "keras": lambda model=model: model.predict(array, batch_size=BATCH, verbose=0)[:, 0],
        }
        outputs = {way: score() for way, score in ways.items()}  # also builds the graphs
        assert np.abs(outputs["ours"] - outputs["keras"]).max() < 1e-5
        seconds = {way: [] for way in ways}
        for _ in range(repeats):
            for way, score in ways.items():
                began = time.perf_counter()
                score()
                seconds[way].append(time.perf_counter() - began)
        ratios = sorted(theirs / ours for ours, theirs in zip(seconds["ours"], seconds["keras"], strict=True))
        rates = [f"{WINDOWS / statistics.median(seconds[way]):.0f}" for way in ways]
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {rates[0]} | {rates[1]} | {spread} |")


# ----------------------------------------------------------------------------------------------- effects
def plan_effects(truth: Path, gtf: Path) -> list[tuple[str, str, int, int]]:
    """Return (gene, chromosome, first base, kind) of pieces of 10 bp: kind 1 on a working element, 0 on none.

    Each element that works fully is matched by a piece of the same gene and region that touches no element.
    """
    import random

    from core.annotation import read_annotation

    draw = random.Random(1)
    genes = read_annotation(gtf)[0].set_index("gene_id")
    planned = []
    with open(truth, newline="", encoding="utf-8") as file:
        table = csv.DictReader(line for line in file if not line.startswith("#"))
        for row in table:
            elements = [entry.split(":") for entry in row["elements"].split(";") if entry]
            gene = genes.loc[row["gene_id"]]
            for region in ("promoter", "terminator"):
                here = [(int(at), float(weight)) for _, side, at, _, weight in elements if side == region]
                reach = range(-285, -20) if region == "promoter" else range(20, 285)
                free = [at for at in reach if all(abs(at - taken) > 16 for taken, _ in here)]
                for at, weight in here:
                    if weight == 1 and abs(at) < 285 and free:
                        for kind, place in ((1, at), (0, free.pop(draw.randrange(len(free))))):
                            planned.append((row["gene_id"], gene["chromosome"], locate(gene, region, place), kind))
                    if not free:
                        break
    return planned


def locate(gene, region: str, at: int) -> int:
    """Return the leftmost base, 0-based, of the 10 bp that begin `at` bp from the TSS or TES on the gene's strand."""
    if gene["strand"] == "+":
        return (gene["start"] if region == "promoter" else gene["end"]) + at
    return (gene["end"] if region == "promoter" else gene["start"]) - at - 10


def measure_effects(prefix: Path) -> None:
    """Print the auROC of |effect| for variants that break planted elements against those that do not."""
    import random

    import numpy as np
    import pandas as pd

    import lcre_predict
    from core import scores
    from core.genome import open_genome

    demo = ROOT / "data/demo"
    planned = plan_effects(demo / "truth.csv", demo / "demo.gtf.gz")
    draw, other = random.Random(2), {"A": "C", "C": "A", "G": "T", "T": "G"}
    sizes, kinds_of_all = [], []
    print("| change | variants on an element / on none | auROC of the size of the effect |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, open_genome(demo / "demo.fa.gz") as genome:
        vcf, out = Path(folder) / "v.vcf", Path(folder) / "v.csv"
        for change in ("SNP in the middle", "10 bp replaced", "10 bp deleted"):
            lines, kinds = [], {}
            for gene, chromosome, first, kind in planned:
                begin, end = (first + 4, first + 5) if change.startswith("SNP") else (first - 1, first + 10)
                ref = "".join("ACGTN"[code] for code in genome.piece(chromosome, begin, end))
                if change.startswith("SNP"):
                    alt = other[ref]
                elif change.endswith("replaced"):
                    alt = ref[0] + "".join(draw.choice("ACGT".replace(base, "")) for base in ref[1:])
                else:
                    alt = ref[0]
                lines.append(f"{chromosome}\t{begin + 1}\t.\t{ref}\t{alt}\n")
                kinds[gene, f"{chromosome}:{begin + 1}:{ref}:{alt}"] = kind
            vcf.write_text(HEADER + "".join(lines))
            files = ["--fasta", str(demo / "demo.fa.gz"), "--gtf", str(demo / "demo.gtf.gz"), "--vcf", str(vcf)]
            quiet = open(Path(folder) / "printed", "w")  # noqa: SIM115
            printed, sys.stdout = sys.stdout, quiet
            try:
                status = lcre_predict.main(["--models", str(prefix), *files, "--out", str(out)])
            finally:
                sys.stdout = printed
                quiet.close()
            if status:
                raise SystemExit(status)
            found = pd.read_csv(out, dtype={"gene_id": str})
            kind = pd.Series([kinds.get(pair) for pair in zip(found["gene_id"], found["variant"], strict=True)])
            own = kind.notna().to_numpy()  # a variant also lies in windows of the gene next door
            target = kind[own].to_numpy(int)
            size = found.loc[own, "effect"].abs().to_numpy()
            sizes, kinds_of_all = [*sizes, *size], [*kinds_of_all, *target]
            print(f"| {change} | {target.sum():,} / {(1 - target).sum():,} | {scores.auroc(target, size):.3f} |")
    target = np.array(kinds_of_all)
    all_three = scores.auroc(target, np.array(sizes))
    print(f"| all three together | {target.sum():,} / {(1 - target).sum():,} | {all_three:.3f} |")


# ---------------------------------------------------------------------------------------------- variants
def write_untrained_run(prefix: Path, network: str) -> None:
    """Write what a finished run of one fold leaves, with an untrained network."""
    from core.device import start_tensorflow
    from core.files import write_json
    from lcre import records

    start_tensorflow()
    from keras import Sequential, layers

    import lcre_classifier as lcre

    if network == "tiny":
        pooled = [layers.AveragePooling1D(20), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
        model = Sequential([layers.Input((COLUMNS, 4)), *pooled])
    else:
        model = lcre.MODELS[network].build(lcre.WindowLayout(**SIZES)).model
    folder = records.fold_folder(prefix, "none")
    folder.mkdir()
    model.save(folder / "best_model.keras")
    (folder / "genes.csv").write_text("gene_id,role\n")
    settings = {name.upper(): size for name, size in SIZES.items()}
    record = {"settings": settings, "inputs": {}, "folds": ["none"], "finished": "untrained"}
    write_json(Path(f"{prefix}_run.json"), record)


def write_variants(fasta: Path, path: Path, count: int) -> None:
    """Write made-up variants, sorted: nine SNPs to one insertion or deletion of 1 to 50 bases."""
    import numpy as np

    from core.genome import open_genome

    random = np.random.default_rng(1)
    with open_genome(fasta) as genome, gzip.open(path, "wt", compresslevel=1) as file:
        file.write(HEADER)
        total = sum(genome.lengths.values())
        for name, length in genome.lengths.items():
            codes = genome.codes(name)
            for at in np.sort(random.integers(1, max(length - 60, 2), round(count * length / total))).tolist():
                base, kind = "ACGTN"[codes[at]], random.integers(20)
                alt = "ACGT"[(codes[at] + 1 + random.integers(3)) % 4]
                if kind == 0:
                    alt = base + "".join("ACGT"[code] for code in random.integers(0, 4, random.integers(1, 51)))
                if kind == 1:
                    base, alt = "".join("ACGTN"[code] for code in codes[at : at + random.integers(2, 52)]), base
                file.write(f"{name}\t{at + 1}\t.\t{base}\t{alt}\n")


def measure_variants(fasta: Path, gtf: Path, count: int, network: str) -> None:
    """Print seconds and peak memory of scoring made-up variants in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_untrained_run(folder / "run", network)
        write_variants(fasta, folder / "v.vcf.gz", count)
        files = ["--fasta", str(fasta), "--gtf", str(gtf), "--vcf", str(folder / "v.vcf.gz")]
        command = ["--models", str(folder / "run"), "--all-folds", *files, "--out", str(folder / "v.csv")]
        code = (
            "import json, sys, lcre_predict; from core.memory import peak_memory_bytes; "
            "status = lcre_predict.main(sys.argv[1:]); print(json.dumps([status, peak_memory_bytes()]))"
        )
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - began
        *printed, last = done.stdout.strip().split("\n")
        status, peak = json.loads(last)
        if status:
            raise SystemExit(status)
        print("\n".join(printed))
        print(f"{network}: {count:,} variants in {seconds:.0f} s, peak memory {peak / 2**20:,.0f} MiB")


# --------------------------------------------------------------------------------------------------- vcf
SCORE = """
import json, sys, time
import lcre_predict
from core.memory import peak_memory_bytes
score, batches = lcre_predict.Scorer.score_variants, []
def timed(*arguments):
    began = time.perf_counter(), time.process_time()
    found = score(*arguments)
    batches.append([time.perf_counter() - began[0], time.process_time() - began[1], len(found[1])])
    return found
lcre_predict.Scorer.score_variants = timed
if sys.argv.pop(1) == "whole":
    from lcre import variant_scoring
    variant_scoring.WIDTH = 0
status = lcre_predict.main(sys.argv[1:])
print(json.dumps([status, peak_memory_bytes(), batches]))
"""


def compare_vcf(arguments: argparse.Namespace) -> None:
    """Print the table of scoring variants by whole windows and by slices, in turn."""
    import numpy as np
    import pandas as pd

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vcf = arguments.vcf or folder / "v.vcf.gz"
        if not arguments.vcf:
            write_variants(arguments.fasta, vcf, arguments.count)
        places = {"models": arguments.models, "fasta": arguments.fasta, "gtf": arguments.gtf, "vcf": vcf}
        command = [part for name, path in places.items() for part in (f"--{name}", str(path.resolve()))]
        ways = {"whole windows": (arguments.before or ROOT, "" if arguments.before else "whole"), "slices": (ROOT, "")}
        measured = {way: [] for way in ways}  # seconds of all, of scoring, after its first batch; CPU; peak memory
        for _ in range(arguments.repeats):
            for way, (root, how) in ways.items():
                out, began = folder / f"{way}.csv", time.perf_counter()
                argv = [sys.executable, "-c", SCORE, how, *command, "--out", str(out)]
                done = subprocess.run(argv, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
                total = time.perf_counter() - began
                status, peak, batches = json.loads(done.stdout.strip().split("\n")[-1])
                if status:
                    raise SystemExit(status)
                seconds, cpu, rows = np.array(batches).T
                later = slice(int(rows.argmax()) + 1, None)  # random substitutions come before the first full batch
                measured[way].append([total, seconds.sum(), seconds[later].sum(), cpu.sum(), cpu[later].sum(), peak])
        tables = [pd.read_csv(folder / f"{way}.csv") for way in ways]
        same = ["gene_id", "variant", "region"]
        assert tables[0][same].equals(tables[1][same])
        apart = np.abs(tables[0]["effect"] - tables[1]["effect"]).max()
    variants, genes = (tables[0][name].nunique() for name in ("variant", "gene_id"))
    print(f"{len(tables[0]):,} rows of {variants:,} variants in {genes:,} genes")
    numbers = {way: np.array(found) for way, found in measured.items()}
    names = ["whole script", "scoring", "scoring after the first batch", "CPU of scoring", "CPU after the first batch"]
    print(f"| way | {' | '.join(f'{name}, s' for name in names)} | rows a second | peak memory |")
    print(f"|{'---|' * 8}")
    for way, found in numbers.items():
        middle = np.median(found, axis=0)
        cells = [*(f"{one:.1f}" for one in middle[:5]), f"{len(tables[0]) / middle[1]:,.0f}"]
        print(f"| {way} | {' | '.join(cells)} | {found[:, 5].max() / 2**20:,.0f} MiB |")
    ratios = numbers["whole windows"] / numbers["slices"]
    for name, found in zip(names, ratios.T, strict=False):
        if np.isfinite(found).all():
            print(f"{name}: {np.median(found):.2f} times as fast ({found.min():.2f} to {found.max():.2f})")
    print(f"largest difference between effects: {apart:.1e}")


def main() -> int:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="what", required=True)
    throughput = kinds.add_parser("throughput")
    throughput.add_argument("--repeats", type=int, default=7, help="pairs of measurements")
    effects = kinds.add_parser("effects")
    effects.add_argument("models", type=Path, help="a finished run on the demo")
    variants = kinds.add_parser("variants")
    variants.add_argument("--fasta", type=Path, required=True)
    variants.add_argument("--gtf", type=Path, required=True)
    variants.add_argument("--count", type=int, default=1_000_000)
    variants.add_argument("--network", choices=("tiny", "cnn_lstm_kmer", "published"), default="tiny")
    vcf = kinds.add_parser("vcf")
    vcf.add_argument("models", type=Path, help="a finished run")
    vcf.add_argument("--fasta", type=Path, required=True)
    vcf.add_argument("--gtf", type=Path, required=True)
    vcf.add_argument("--vcf", type=Path, help="variants to score; without it they are made up")
    vcf.add_argument("--count", type=int, default=5000, help="of made-up variants")
    vcf.add_argument("--before", type=Path, help="a checkout that scores whole windows")
    vcf.add_argument("--repeats", type=int, default=3, help="pairs of measurements")
    arguments = parser.parse_args()
    if arguments.what == "throughput":
        measure_throughput(arguments.repeats)
    elif arguments.what == "effects":
        measure_effects(arguments.models)
    elif arguments.what == "vcf":
        compare_vcf(arguments)
    else:
        measure_variants(arguments.fasta, arguments.gtf, arguments.count, arguments.network)
    return 0


if __name__ == "__main__":
    sys.exit(main())
