"""Tiny inputs of `CREaTor.py prepare`, written so that every number of the store is known by hand.

Two chromosomes called 1 and 2 (BED and bigWigs call them chr1, chr2), of 1,000 and 600 bp; the base at place p of both
is ACGT[p % 4]. Signals of cell A count up: value p at place p of chromosome 1, in bigWig and bedGraph alike.
"""

from pathlib import Path

import numpy as np
import pybigtools

import CREaTor

LENGTHS = {"1": 1000, "2": 600}
ELEMENTS = [("chr1", 100, 110, "e1"), ("chr1", 300, 325, "e2"), ("chr2", 590, 600, "e3"), ("chr1", 50, 57, "e0")]
GENES = [("1", 200, 260, "+", "g1"), ("1", 400, 500, "-", "g2"), ("2", 10, 40, "+", "g3")]
TPM = "gene_id,A,B\ng1,1.5,2\ng2,3,4\nother,7,7\n"


def sequence_of(length: int) -> str:
    return ("ACGT" * (length // 4 + 1))[:length]


def write_bigwig(path: Path, intervals, lengths=None) -> Path:
    lengths = lengths or {f"chr{name}": length for name, length in LENGTHS.items()}
    pybigtools.open(str(path), "w").write(lengths, iter(intervals))
    return path


def write_inputs(folder: Path) -> list[str]:
    """Write the inputs; return the command line without --out."""
    (folder / "genome.fa").write_text("".join(f">{name}\n{sequence_of(size)}\n" for name, size in LENGTHS.items()))
    (folder / "genes.gtf").write_text(
        "".join(
            f'{name}\tx\tgene\t{start + 1}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; gene_biotype "protein_coding";\n'
            for name, start, end, strand, gene in GENES
        )
    )
    (folder / "ccres.bed").write_text("".join("\t".join(map(str, element)) + "\n" for element in ELEMENTS))
    (folder / "tpm.csv").write_text(TPM)
    write_bigwig(folder / "a.bw", [("chr1", place, place + 1, float(place)) for place in range(90, 320)])
    (folder / "b.bedgraph").write_text("chr1\t0\t105\t2\nchr1\t103\t104\t5\nchr2\t0\t600\t1\n")
    write_samples(
        folder, ["A\tDNase\ta.bw", "A\tTPM\ttpm.csv", "B\tdnase\tb.bedgraph", "B\tH3K27ac\ta.bw", "B\tTPM\ttpm.csv"]
    )
    return flags_of(folder)


def write_samples(folder: Path, lines: list[str], header: str = "cell\ttrack\tpath") -> None:
    (folder / "samples.tsv").write_text("\n".join([header, *lines]) + "\n")


def flags_of(folder: Path) -> list[str]:
    names = {"fasta": "genome.fa", "gtf": "genes.gtf", "ccres": "ccres.bed", "samples": "samples.tsv"}
    flags = [word for flag, name in names.items() for word in (f"--{flag}", str(folder / name))]
    return ["prepare", *flags, "--width", "10", "--reach", "150", "--signal-type", "float32"]


def prepare(flags: list[str], out: Path, *more: str) -> int:
    """Run the command in this process; return its exit status."""
    try:
        return CREaTor.main([*flags, "--out", str(out), *more])
    except SystemExit as end:  # argparse
        return end.code


def random_signal(random: np.random.Generator, length: int) -> tuple[list[tuple[int, int, float]], np.ndarray]:
    """Return intervals that do not overlap, with gaps, and the value of each base."""
    cuts = np.unique(random.integers(0, length, 40))
    intervals = [
        (int(begin), int(end), float(random.integers(1, 100)) / 4)
        for begin, end in zip(cuts[:-1], cuts[1:], strict=True)
        if random.random() < 0.6
    ]
    values = np.zeros(length)
    for begin, end, value in intervals:
        values[begin:end] = value
    return intervals, values
