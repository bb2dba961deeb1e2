"""Time and memory from files to windows, against the size of the genome and the number of genes.

`python benchmarks/scale.py [--folder DIR] [--sizes 0.01 0.1 1 3] [--genes 1000 10000 60000]` writes made-up genomes (in
Gb, ten chromosomes) with annotation and expression, and runs `lcre_classifier.py --check` on each in a process of its
own, on one core where the system can pin it: CPU and wall time, peak memory, and that beside the windows, which are
held as one byte a column. `--packed gzip` has the FASTA packed with gzip, which is copied to the scratch folder first,
`--packed bgzip` with that program, which is read in place.
"""

import argparse
import contextlib
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.cli import run_script  # noqa: E402

CHROMOSOMES = 10
LINE = 60  # bp of a line
LINES = 200_000  # written together
COLUMNS = 3020  # of a window


@contextlib.contextmanager
def open_packed(path: Path, packed: str) -> Iterator[BinaryIO]:
    """Open a file to write to, `packed` by gzip, bgzip or plain."""
    if packed != "bgzip":
        with gzip.open(path, "wb", compresslevel=1) if packed == "gzip" else open(path, "wb") as file:
            yield file
        return
    with (
        open(path, "wb") as target,
        subprocess.Popen(["bgzip", "-l", "1"], stdin=subprocess.PIPE, stdout=target) as tool,
    ):
        yield tool.stdin
    if tool.returncode:
        raise RuntimeError(f"bgzip ended with exit status {tool.returncode}")


def write_genome(folder: Path, size: int, genes: int, packed: str) -> list[str]:
    """Write FASTA, GTF and TPM of `size` bp and `genes` genes into a folder; returns the flags that name them.

    Args:
        folder: where.
        size: bp of all chromosomes together, at least 5,000 a gene.
        genes: how many, evenly spaced, on strands in turn, 2,000 bp each.
        packed: plain, gzip or bgzip.
    """
    random, lines = np.random.default_rng(1), size // CHROMOSOMES // LINE
    letters, fasta = np.frombuffer(b"ACGT", np.uint8), folder / ("genome.fa" if packed == "plain" else "genome.fa.gz")
    with open_packed(fasta, packed) as file:
        for number in range(CHROMOSOMES):
            file.write(b">%d\n" % (number + 1))
            for begin in range(0, lines, LINES):
                text = np.full((min(LINES, lines - begin), LINE + 1), 10, np.uint8)
                text[:, :LINE] = letters[random.integers(0, 4, (len(text), LINE), np.uint8)]
                file.write(text.tobytes())
    each = genes // CHROMOSOMES
    step = lines * LINE // (each + 1)
    with open(folder / "genes.gtf", "w") as gtf, open(folder / "tpm.csv", "w") as tpm:
        tpm.write("gene_id,leaf,root\n")
        for gene in range(each * CHROMOSOMES):
            chromosome, place = divmod(gene, each)
            start = (place + 1) * step - 1000
            fields = [chromosome + 1, "made", "gene", start, start + 1999, ".", "+-"[gene % 2], "."]
            gtf.write("\t".join(map(str, fields)) + f'\tgene_id "g{gene}"; gene_biotype "protein_coding";\n')
            tpm.write(f"g{gene},{random.exponential():.3f},{random.exponential():.3f}\n")
    return ["--fasta", str(fasta), "--gtf", str(folder / "genes.gtf"), "--tpm", str(folder / "tpm.csv")]


def time_check(flags: list[str], folder: Path) -> tuple[float, float, float]:
    """Return wall and CPU seconds and the peak memory in bytes of `lcre_classifier.py --check` in a process."""
    command = [sys.executable, str(ROOT / "lcre_classifier.py"), "--check", *flags, "--organism", "made"]
    command += ["--saved-models", str(folder)]
    begin = time.perf_counter()
    output = os.open(folder / "check.log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    child = os.posix_spawn(
        sys.executable,
        command,
        os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
    )
    os.close(output)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(child, {min(os.sched_getaffinity(0))})
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError((folder / "check.log").read_text(encoding="utf-8").strip())
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss * unit


def run(argv: Sequence[str]) -> None:
    """Write the genomes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where genomes are written, and removed afterwards [TMPDIR]")
    parser.add_argument("--sizes", nargs="+", type=float, default=[0.01, 0.1, 1, 3], help="of genomes, in Gb")
    parser.add_argument("--genes", nargs="+", type=int, default=[1000, 10_000, 60_000])
    parser.add_argument("--packed", choices=("plain", "gzip", "bgzip"), default="plain", help="how the FASTA is packed")
    arguments = parser.parse_args(argv)
    print("| Gb | genes | wall, s | CPU, s | peak memory, MB | beside the windows, MB |")
    print("|---|---|---|---|---|---|")
    for size in arguments.sizes:
        for genes in arguments.genes:
            if genes * 5000 > size * 1e9:
                continue
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                flags = write_genome(Path(folder), int(size * 1e9), genes, arguments.packed)
                wall, cpu, memory = time_check(flags, Path(folder))
            rest = memory - genes * COLUMNS
            print(
                f"| {size:g} | {genes:,} | {wall:.1f} | {cpu:.1f} | {memory / 1e6:,.0f} | {rest / 1e6:,.0f} |",
                flush=True,
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "rows that were printed are whole")


if __name__ == "__main__":
    sys.exit(main())
