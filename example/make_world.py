"""Writes a made-up world in which every link between a cCRE and a gene is known: what `prepare` reads, and the truth.

    python make_world.py FOLDER          a few seconds; the same files every time

The rule, in the order in which it applies:

1. An element works in a cell if it is acetylated there (H3K27ac). A third of the open ones (DNase) is not: they carry
   H3K27me3 instead and do nothing. Which elements work is drawn anew for each cell, so a cell that is held out is a
   new combination.
2. The motif in its sequence says on which genes it works, by the place of their TSS: an element with the motif NEAR on
   those less than 40 kb away, to either side; one with the motif FAR on those 200 to 360 kb to its right (at higher
   coordinates), whatever lies between; one with the motif DECOY on none. Distances count from the element's centre.
3. A gene's TPM is BASAL plus EFFECT x strength of each element that works on it in that cell, times noise. The
   strength of an element is the same in all cells, and its H3K27ac is as high.

So neither distance nor signal alone tells a link: half of the elements beside a gene have another motif, and more than
half of the links skip the genes in between. Nothing about a gene itself matters, and what works on it differs from cell
to cell, so its mean over cells says only a part.

Files: world.fa.gz (chromosomes 1 to 24; BED and bigWigs call them chr1 to chr24), world.gtf.gz, ccres.bed, samples.tsv
and one bigWig for each cell and track, tpm.csv (cells A to D to learn from, E to hold out), and truth.tsv, one row a
link: element, gene_id, chromosome, motif, distance (from the element's centre to the TSS, bp), cells in which the
element works, effect (TPM it adds there). pairs.tsv, for `evaluate --links`, has the columns of the CRISPR benchmark:
every element and gene of chromosomes 23 and 24 less than 500 kb apart, in cell E.
"""

import argparse
import gzip
import sys
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2027
CHROMOSOMES = 24
LENGTH = 2_400_000  # bp of each
GENES, SCATTERED, AT_GENES = 150, 60, 40  # of a chromosome: genes; elements anywhere, and at the TSS of a gene
CELLS = ("A", "B", "C", "D", "E")
TRACKS = ("DNase", "H3K27ac", "H3K27me3")
MOTIFS = {"near": "GGGGCGGGGC", "far": "TAAACAAATA", "decoy": "TTCTCTTTCT"}
HELD_OUT_CELL, HELD_OUT_CHROMOSOMES = "E", 2  # of pairs.tsv: the last chromosomes
REACH = 500_000  # bp from element to TSS, of pairs.tsv
WINDOWS = {"near": (-40_000, 40_000), "far": (200_000, 360_000)}  # TSS - centre of the element, bp, end excluded
FRACTIONS = (0.5, 0.35, 0.15)  # of the elements that carry each
COPIES = 5  # of its motif in an element
ACTIVE, POISED = 0.45, 0.25  # fraction of elements that are acetylated, and open without being so, in each cell
BASAL, EFFECT, NOISE = 10.0, 15.0, 0.1  # TPM, TPM, standard deviation of log TPM
BIN = 10  # bp with one value in a bigWig


def place_genes(random: np.random.Generator) -> pd.DataFrame:
    """Return genes of one chromosome that do not overlap: start, end, strand, tss (0-based half-open, bp)."""
    step = LENGTH // GENES
    lengths = random.integers(1000, 5000, GENES)
    starts = np.arange(GENES) * step + random.integers(500, step - 5500, GENES)
    genes = pd.DataFrame({"start": starts, "end": starts + lengths, "strand": random.choice(["+", "-"], GENES)})
    genes["tss"] = np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1)
    return genes


def place_elements(random: np.random.Generator, tss: np.ndarray) -> pd.DataFrame:
    """Return elements of one chromosome, at least 1 kb apart: start, end (bp), motif, strength."""
    centres = list(random.choice(tss, AT_GENES, replace=False))
    while len(centres) < AT_GENES + SCATTERED:
        centre = int(random.integers(2000, LENGTH - 2000))
        if np.abs(np.array(centres) - centre).min() > 1000:
            centres.append(centre)
    centres, count = np.sort(centres), len(centres)
    lengths = 2 * random.integers(40, 61, count)
    elements = pd.DataFrame({"start": centres - lengths // 2, "end": centres + lengths // 2})
    elements["motif"] = random.choice(list(MOTIFS), count, p=FRACTIONS)
    elements["strength"] = np.exp(random.normal(0, 0.35, count))
    return elements


def write_motif(random: np.random.Generator, sequence: np.ndarray, motif: str) -> None:
    """Write COPIES of a motif, each at another place and with a base in twenty replaced, into a sequence of letters."""
    size = len(motif)
    places = np.sort(random.choice(len(sequence) - COPIES * size, COPIES, replace=False)) + size * np.arange(COPIES)
    for place in places:
        copy = np.frombuffer(motif.encode(), np.uint8).copy()
        replaced = random.random(size) < 0.05
        copy[replaced] = random.choice(np.frombuffer(b"ACGT", np.uint8), replaced.sum())
        sequence[place : place + size] = copy


def draw_signals(random: np.random.Generator, elements: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return which elements work in one cell (n,) and the heights of their peaks in each track (n,), 0 without one."""
    count = len(elements)
    state = random.random(count)
    active, poised = state < ACTIVE, (state >= ACTIVE) & (state < ACTIVE + POISED)
    heights = {
        "DNase": 8 * np.exp(random.normal(0, 0.3, count)) * (active | poised),
        "H3K27ac": 10 * elements["strength"].to_numpy() * np.exp(random.normal(0, 0.1, count)) * active,
        "H3K27me3": 8 * np.exp(random.normal(0, 0.3, count)) * poised,
    }
    return active, heights


def write_bigwig(path: Path, random: np.random.Generator, elements: pd.DataFrame, heights: np.ndarray) -> None:
    """Write peaks as wide as elements on a low background around each; between them the file says nothing."""
    import pybigtools

    offsets = np.arange(-30, 30)
    records = []
    chromosomes = elements["chromosome"].unique()
    for name in chromosomes:
        signal = np.zeros(LENGTH // BIN)
        mine = (elements["chromosome"] == name).to_numpy()
        centres = elements[["start", "end"]].to_numpy()[mine].mean(axis=1) // BIN
        bins = (centres[:, None] + offsets).astype(int).clip(0, len(signal) - 1)
        peaks = heights[mine, None] * np.exp(-((offsets * BIN / 100) ** 2))
        np.maximum.at(signal, bins, peaks + 0.02 + np.abs(random.normal(0, 0.1, bins.shape)))
        covered = np.flatnonzero(signal)
        values = np.round(signal[covered], 3).tolist()
        records += [
            (f"chr{name}", at * BIN, at * BIN + BIN, value) for at, value in zip(covered.tolist(), values, strict=True)
        ]
    pybigtools.open(str(path), "w").write({f"chr{name}": LENGTH for name in chromosomes}, iter(records))


def find_links(elements: pd.DataFrame, genes: pd.DataFrame, active: np.ndarray) -> pd.DataFrame:
    """Return every pair that the rule names and that works in a cell: element, gene (indices) and columns of truth.

    Args:
        elements: chromosome, start, end, motif, strength, name.
        genes: chromosome, tss, gene_id.
        active: (n, cells).
    """
    pairs = elements.reset_index(names="element_index").merge(genes.reset_index(names="gene_index"), on="chromosome")
    pairs["distance"] = pairs["tss"] - (pairs["start_x"] + pairs["end_x"]) // 2
    linked = np.zeros(len(pairs), bool)
    for motif, (low, high) in WINDOWS.items():
        linked |= (pairs["motif"] == motif) & (pairs["distance"] >= low) & (pairs["distance"] < high)
    pairs = pairs[linked & active.any(axis=1)[pairs["element_index"]]]
    works = active[pairs["element_index"]]
    pairs["cells"] = [",".join(np.array(CELLS)[row]) for row in works]
    pairs["effect"] = (EFFECT * pairs["strength"]).round(3)
    return pairs


def list_pairs(elements: pd.DataFrame, genes: pd.DataFrame, links: pd.DataFrame, heights: dict) -> pd.DataFrame:
    """Return every pair of the held-out chromosomes within `REACH`, as a table of pairs tested in the held-out cell.

    Args:
        elements: chromosome, start, end, name.
        genes: chromosome, tss, gene_id.
        links: of `find_links`.
        heights: of the peaks of each track in the held-out cell, (elements,).
    """
    signal = {"H3K27ac.RPM": "H3K27ac", "H3K27ac.RPM.expandedRegion": "H3K27ac", "DHS.RPM": "DNase"}
    elements = elements.assign(**{column: heights[track].round(4) for column, track in signal.items()})
    held_out = elements["chromosome"].unique()[-HELD_OUT_CHROMOSOMES:]
    elements = elements[elements["chromosome"].isin(held_out)]
    pairs = elements.merge(genes[["chromosome", "tss", "gene_id"]], on="chromosome")
    pairs["distanceToTSS"] = (pairs["tss"] - (pairs["start"] + pairs["end"]) // 2).abs()
    pairs = pairs[pairs["distanceToTSS"] < REACH]
    works = links[links["cells"].str.split(",").map(lambda cells: HELD_OUT_CELL in cells)]
    linked = set(zip(works["name"], works["gene_id"], strict=True))
    answers = [pair in linked for pair in zip(pairs["name"], pairs["gene_id"], strict=True)]
    table = pairs.assign(chrom="chr" + pairs["chromosome"], CellType=HELD_OUT_CELL, Regulated=answers)
    table["Regulated"] = table["Regulated"].map({True: "TRUE", False: "FALSE"})
    table = table.rename(columns={"start": "chromStart", "end": "chromEnd", "gene_id": "measuredGeneEnsemblId"})
    columns = ["chrom", "chromStart", "chromEnd", "name", "measuredGeneEnsemblId", "CellType", "Regulated"]
    return table[[*columns, "distanceToTSS", *signal]]


def write_gzip(path: Path, content: bytes) -> None:
    """Write gzip without a time or a name in it, so that it is the same every time."""
    path.write_bytes(gzip.compress(content, 1, mtime=0))


def make_world(folder: Path, seed: int = SEED, chromosomes: int = CHROMOSOMES) -> dict[str, int]:
    """Write the world into a folder, which is made; return what it has, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    fasta, gene_frames, element_frames = [], [], []
    for name in map(str, range(1, chromosomes + 1)):
        genes = place_genes(random).assign(chromosome=name)
        genes.insert(0, "gene_id", [f"gene{name}{number:03}" for number in range(1, GENES + 1)])
        elements = place_elements(random, genes["tss"].to_numpy()).assign(chromosome=name)
        elements.insert(0, "name", [f"cCRE{name}_{number:03}" for number in range(1, len(elements) + 1)])
        sequence = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, LENGTH)]
        for element in elements.itertuples():
            write_motif(random, sequence[element.start : element.end], MOTIFS[element.motif])
        lines = sequence.reshape(-1, 60)
        lines = np.hstack([lines, np.full((len(lines), 1), ord("\n"), np.uint8)])
        fasta.append(f">{name}\n".encode() + lines.tobytes())
        gene_frames.append(genes)
        element_frames.append(elements)
    genes, elements = (pd.concat(frames, ignore_index=True) for frames in (gene_frames, element_frames))

    active, samples = np.zeros((len(elements), len(CELLS)), bool), []
    for number, cell in enumerate(CELLS):
        active[:, number], heights = draw_signals(random, elements)
        if cell == HELD_OUT_CELL:
            held_out_heights = heights
        for track in TRACKS:
            file = f"{cell}_{track}.bw"
            write_bigwig(folder / file, random, elements, heights[track])
            samples.append((cell, track, file, ""))
        samples.append((cell, "TPM", "tpm.csv", cell))

    links = find_links(elements, genes, active)
    received = np.zeros((len(genes), len(CELLS)))
    strengths = elements["strength"].to_numpy()[links["element_index"]]
    np.add.at(received, links["gene_index"].to_numpy(), strengths[:, None] * active[links["element_index"]])
    tpm = (BASAL + EFFECT * received) * np.exp(random.normal(0, NOISE, received.shape))

    write_gzip(folder / "world.fa.gz", b"".join(fasta))
    gtf = [
        f"{gene.chromosome}\tworld\tgene\t{gene.start + 1}\t{gene.end}\t.\t{gene.strand}\t.\t"
        f'gene_id "{gene.gene_id}"; gene_biotype "protein_coding";\n'
        for gene in genes.itertuples()
    ]
    write_gzip(folder / "world.gtf.gz", "".join(gtf).encode())
    bed = elements.assign(on="chr" + elements["chromosome"])[["on", "start", "end", "name"]]
    bed.to_csv(folder / "ccres.bed", sep="\t", header=False, index=False)
    table = pd.DataFrame(tpm.round(4), columns=list(CELLS))
    table.insert(0, "gene_id", genes["gene_id"])
    table.to_csv(folder / "tpm.csv", index=False)
    pd.DataFrame(samples, columns=["cell", "track", "path", "column"]).to_csv(
        folder / "samples.tsv", sep="\t", index=False
    )
    list_pairs(elements, genes, links, held_out_heights).to_csv(folder / "pairs.tsv", sep="\t", index=False)
    columns = {"name": "element", "gene_id": "gene_id", "chromosome": "chromosome", "motif": "motif"}
    columns |= {"distance": "distance", "cells": "cells", "effect": "effect"}
    links.rename(columns=columns)[list(columns.values())].to_csv(folder / "truth.tsv", sep="\t", index=False)
    return {"chromosomes": chromosomes, "genes": len(genes), "elements": len(elements), "links": len(links)}


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files are written; it is made")
    parser.add_argument("--seed", type=int, default=SEED, help=f"another number, another world [{SEED}]")
    arguments = parser.parse_args(argv)
    counts = make_world(arguments.folder, arguments.seed)
    print(f"{arguments.folder}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
