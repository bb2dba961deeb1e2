"""Small genomes written as files, and windows read off them base by base, the way the description says it."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

import lcre_classifier
from core.cli import parse_settings
from lcre.settings import RULES

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
LETTERS = "ACGT."  # of the base codes; '.' is anything that is not a base: unknown, padding or masked


@dataclass
class Gene:
    """A gene, 0-based half-open."""

    gene_id: str
    chromosome: str
    start: int
    end: int
    strand: str = "+"
    biotype: str = "protein_coding"


def random_sequence(random: np.random.Generator, length: int) -> str:
    return "".join(random.choice(list("ACGT"), length))


def reverse_complement(sequence: str) -> str:
    return "".join(COMPLEMENT.get(base, base) for base in reversed(sequence))


def show_codes(codes: np.ndarray) -> str:
    """Base codes as a string, '.' for 4."""
    return "".join(LETTERS[code] for code in codes)


def read_window(sequence: str, gene, upstream: int, downstream: int, padding: int, masked: int = 0) -> str | None:
    """The window of a gene, base by base; None where a base of it lies outside the chromosome.

    Distances count from the TSS downstream (the first base of the gene is 0) and from the TES downstream (the last
    base of the gene is -1); the first `masked` bases from the TSS and the last `masked` before the TES are left out.
    """

    def base(distance: int, inwards: bool) -> str | None:
        if gene.strand == "+":
            at = (gene.start if inwards else gene.end) + distance
        else:
            at = (gene.end if inwards else gene.start) - 1 - distance
        if not 0 <= at < len(sequence):
            return None
        letter = sequence[at].upper()
        letter = letter if gene.strand == "+" else COMPLEMENT.get(letter, letter)
        return letter if letter in COMPLEMENT else "."

    promoter = [base(distance, True) for distance in range(-upstream, downstream)]
    terminator = [base(distance, False) for distance in range(-downstream, upstream)]
    if None in promoter or None in terminator:
        return None
    for place in range(min(masked, downstream)):
        promoter[upstream + place] = terminator[downstream - 1 - place] = "."
    return "".join(promoter) + "." * padding + "".join(terminator)


def write_fasta(path: Path, chromosomes: dict[str, str], width: int = 60) -> Path:
    lines = []
    for header, sequence in chromosomes.items():
        lines.append(f">{header}")
        lines += [sequence[at : at + width] for at in range(0, len(sequence), width)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_gtf(path: Path, genes: list[Gene]) -> Path:
    with open(path, "w") as file:
        for gene in genes:
            file.write(
                f"{gene.chromosome}\ttest\tgene\t{gene.start + 1}\t{gene.end}\t.\t{gene.strand}\t.\t"
                f'gene_id "{gene.gene_id}"; gene_biotype "{gene.biotype}";\n'
            )
    return path


def write_files(
    folder: Path, chromosomes: dict[str, str], genes: list[Gene], expression: dict[str, float], listed=None
) -> list[str]:
    """Write genome, annotation, table and, if given, the listed genes; return the flags that name them."""
    table = pd.DataFrame({"gene_id": list(expression), "logMaxTPM": list(expression.values())})
    table.to_csv(folder / "toy_tpm.csv", index=False)
    flags = ["--fasta", str(write_fasta(folder / "toy.fa", chromosomes))]
    flags += ["--gtf", str(write_gtf(folder / "toy.gtf", genes)), "--tpm", str(folder / "toy_tpm.csv")]
    flags += ["--saved-models", str(folder / "models")]
    if listed is not None:
        (folder / "listed.txt").write_text("\n".join(listed) + "\n")
        flags += ["--validation-genes", str(folder / "listed.txt")]
    return flags


def settings_of(flags: list[str]) -> SimpleNamespace:
    """The settings in force for a command line."""
    script = Path(lcre_classifier.__file__)
    values, space = parse_settings(script, vars(lcre_classifier), RULES, "0", lcre_classifier.ACTIONS, flags)
    return lcre_classifier.choose_settings(values, space.overrides)


def load(flags: list[str]):
    """The data set and the settings of a command line."""
    settings = settings_of(flags)
    return lcre_classifier.load_data(settings), settings
