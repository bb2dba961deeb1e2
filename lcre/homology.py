"""Homologous genes: proteins, all against all by DIAMOND or BLAST, genes without homologs elsewhere, families.

Two genes are homologous where a protein alignment of the two has an e-value below 0.001 and a bit score of at least 50,
as in Peleke et al., Nature Communications 15, 3488 (2024).
"""

from __future__ import annotations

import gzip
import itertools
import math
import pickle
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, examples, shorten, show_value
from core.files import check_file, escape_cell, open_text, replacing, write_csv
from core.names import differ_in_number, strip_gene_prefix, strip_version
from core.progress import Progress, show_duration

E_VALUE = 1e-3  # hits have less
BIT_SCORE = 50  # hits have this or more
TABLE = [  # columns of outfmt 6
    *("qseqid", "sseqid", "pident", "length", "mismatch", "gapopen"),
    *("qstart", "qend", "sstart", "send", "evalue", "bitscore"),
]
USED = {name: TABLE.index(name) for name in ("qseqid", "sseqid", "pident", "evalue", "bitscore")}
RANGES = {"pident": (0, 100), "evalue": (0, math.inf), "bitscore": (0, math.inf)}
WANTED = "give the 12 columns of outfmt 6, separated by tabs"
MOST_UNKNOWN = 0.1  # of the ids in a table of hits; more, and the table is of other genes
GENE_IN_HEADER = re.compile(r"(?:^|[\s\[])(?:gene|locus|locus_tag|gene_id)[:=]([^\s\]]+)")
NUCLEOTIDES = b"ACGTUNacgtun"
NOT_AMINO_ACIDS = re.compile("[^ACDEFGHIKLMNPQRSTVWY]")
BATCH_RESIDUES = 2_000_000  # of queries that are searched at once, so that the time left is known
CHUNK = 200_000  # lines of a table of hits that are held as text at a time
# CPU seconds of searching a million residues in themselves, and how they grow: measured on proteins of yeast
SEARCH_SECONDS = {"diamond": (7.0, 1.25), "blastp": (60.0, 1.9)}
INSTALL = (
    "neither 'diamond' nor 'blastp' is installed; 'apt install diamond-aligner' or 'conda install -c bioconda diamond' "
    "brings DIAMOND, 'apt install ncbi-blast+' or 'conda install -c bioconda blast' BLAST; or search elsewhere and "
    "give the table (outfmt 6) by --hits"
)


# ------------------------------------------------------------------------------------------- names of genes
class GeneNames:
    """Finds the gene that a name of a gene, transcript or protein means.

    Args:
        gene_ids: of the annotation, in its order.
        products: names of transcripts and proteins -> gene id.
    """

    def __init__(self, gene_ids: Sequence[str], products: Mapping[str, str]):
        self.ids = list(gene_ids)
        self.products = products
        self.place = {gene: number for number, gene in enumerate(self.ids)}
        short: dict[str, list[str]] = {}
        for gene in self.ids:
            short.setdefault(strip_version(gene), []).append(gene)
        self.short = {name: found[0] for name, found in short.items() if len(found) == 1}  # apart without versions

    def find(self, name: str) -> int | None:
        """Return the place in the annotation of the gene that is meant; None where there is none."""
        name = strip_gene_prefix(name)
        if name in self.place:
            return self.place[name]
        for alias in (name, strip_version(name)):
            if alias in self.products:
                return self.place[self.products[alias]]
            if alias in self.place:
                return self.place[alias]
        gene = self.short.get(strip_version(name))
        return None if gene is None or differ_in_number(name, gene) else self.place[gene]


# ------------------------------------------------------------------------------------------------ proteins
def read_proteins(path: Path, names: GeneNames) -> tuple[dict[int, str], list[str]]:
    """Read the proteins of an annotation, the longest one of each gene.

    The gene is what the header says (`gene:ID` of Ensembl, `locus=ID` of Phytozome, `[locus_tag=ID]` of NCBI), or the
    one whose protein or transcript has the name of the record, or the one of that name.

    Args:
        path: FASTA, plain or gzip.
        names: of the annotation's genes.

    Returns:
        Place of the gene in the annotation -> protein; and notes for the user.

    Raises:
        InputError: no FASTA of proteins, or not those of the annotation.
    """
    proteins: dict[int, str] = {}
    records, lost = 0, []
    for header, sequence in read_fasta(path):
        records += 1
        name = (header.split() or [""])[0]
        said = [found[1] for found in GENE_IN_HEADER.finditer(header)]
        places = (names.find(alias) for alias in [*said, name])
        gene = next((place for place in places if place is not None), None)
        if gene is None:
            lost.append(said[0] if said else name)
        elif len(sequence) > len(proteins.get(gene, "")):
            proteins[gene] = sequence
    if not records:
        raise InputError(f"proteins: {path} holds no record; give a FASTA of proteins")
    if 2 * len(lost) > records:
        raise InputError(
            f"proteins: {len(lost):,} of {records:,} records of {path} belong to no gene of the GTF: it has "
            f"{examples(map(shorten, names.ids))}, the proteins are of {examples(map(shorten, lost))}; give files "
            "of the same species and source"
        )
    of_bases = sum(len(text.encode().translate(None, NUCLEOTIDES)) == 0 for text in list(proteins.values())[:100])
    if 2 * of_bases > min(len(proteins), 100):
        raise InputError(f"proteins: {path} holds nucleotides (ACGT), no amino acids; give the proteins")
    notes = [f"{records:,} proteins of {len(proteins):,} genes; of each gene the longest is taken"]
    notes += [f"{len(lost):,} proteins belong to no gene of the GTF ({examples(map(shorten, lost))})"] * bool(lost)
    return proteins, notes


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """Yield header (without '>') and sequence of each record of a FASTA of proteins; what ends with * ends before it.

    Raises:
        InputError: it does not begin with '>'.
    """
    header, parts = None, []
    with open_text(check_file(path, "proteins"), "proteins") as file:
        for line in file:
            if line.startswith(">"):
                if header is not None:
                    yield header, "".join(parts).upper().rstrip("*.")
                header, parts = line[1:].strip(), []
            elif header is None:
                if line.strip():
                    raise InputError(f"proteins: {path} does not begin with '>'; give a FASTA of proteins")
            else:
                parts.append(line.strip())
    if header is not None:
        yield header, "".join(parts).upper().rstrip("*.")


def translate_genes(fasta: Path, gtf: Path, genes: pd.DataFrame) -> tuple[dict[int, str], list[str]]:
    """Translate the longest coding sequence of each coding gene, in the standard code; organelles are left out.

    Args:
        fasta: the genome.
        gtf: the annotation, with CDS lines.
        genes: of `core.annotation.read_annotation`.

    Returns:
        Place of the gene in the annotation -> protein; and notes for the user.

    Raises:
        InputError: no CDS lines, or none on the genome.
    """
    from core.coding import coding_sequence, read_cds, translate
    from core.genome import open_genome, sort_chromosomes
    from core.names import CHROMOSOME_BRIDGES, join_names

    parts = read_cds(gtf, genes["gene_id"])
    if not parts:
        raise InputError(f"GTF: {gtf} has no CDS lines, so nothing can be translated; give the proteins by --proteins")
    proteins, notes, broken, left = {}, [], 0, 0
    with open_genome(fasta) as genome:
        partner = join_names(
            genes["chromosome"], genome.lengths, CHROMOSOME_BRIDGES, "GTF and FASTA have no chromosome", notes
        )
        _, organelles, _ = sort_chromosomes(genome, {other: name for name, other in partner.items()})
        by_chromosome = genes.assign(place=np.arange(len(genes))).sort_values("chromosome", kind="stable")
        for gene in by_chromosome.itertuples():  # one chromosome is in memory at a time
            if gene.gene_id not in parts or not gene.coding or gene.chromosome not in partner:
                continue
            if gene.chromosome in organelles:
                left += 1
                continue
            sequence = coding_sequence(genome.codes(partner[gene.chromosome]), parts[gene.gene_id], gene.strand)
            protein = translate(sequence)
            broken += len(protein) + 1 < len(sequence) // 3
            if protein:
                proteins[gene.place] = protein
    proteins = dict(sorted(proteins.items()))
    if not proteins:
        raise InputError(f"GTF: no CDS of {gtf} can be read on {fasta}; are both of the same assembly?")
    notes.append(f"{len(proteins):,} genes are translated from their CDS lines")
    if left:
        notes.append(f"{left:,} genes of organelles are left out: their code is another")
    if broken:
        notes.append(f"{broken:,} of the translations end at a stop codon inside of the CDS")
    if 2 * broken > len(proteins):
        raise InputError(
            f"GTF: {broken:,} of {len(proteins):,} coding sequences of {gtf} have a stop codon inside: the CDS lines "
            f"and {fasta} are not of the same assembly"
        )
    return proteins, notes


# -------------------------------------------------------------------------------------------------- search
def find_program() -> str:
    """Return the program that searches: diamond, or blastp where there is no diamond.

    Raises:
        InputError: neither is there.
    """
    for name in SEARCH_SECONDS:
        if shutil.which(name):
            return name
    raise InputError(INSTALL)


def estimate_seconds(program: str, residues: int, threads: int) -> float:
    """Return about how long a search of so many amino acids in themselves takes."""
    rate, power = SEARCH_SECONDS[program]
    return rate * (residues / 1e6) ** power / threads


def search_all(proteins: dict[int, str], threads: int, folder: Path) -> Path:
    """Search all proteins in all, and return the table of hits (outfmt 6, proteins named by their keys).

    Args:
        proteins: number -> amino acids.
        threads: to compute on.
        folder: for the table and temporary files.

    Raises:
        InputError: no program to search with, or it failed.
    """
    program = find_program()
    clean = {number: NOT_AMINO_ACIDS.sub("X", protein) for number, protein in proteins.items()}
    residues = sum(map(len, clean.values()))
    about = show_duration(max(estimate_seconds(program, residues, threads), 1))
    print(
        f"{len(clean):,} proteins of {residues:,} amino acids, all against all by {program} on {threads} "
        f"thread{'s' * (threads > 1)}: about {about}",
        flush=True,
    )
    write_fasta(folder / "all.fa", clean)
    table = folder / "hits.tsv"
    if program == "diamond":
        call([program, "makedb", "--in", "all.fa", "--db", "all", "--quiet"], folder)
        options = ["--db", "all", "--very-sensitive", "--evalue", str(E_VALUE), "--max-target-seqs", "0", "--quiet"]
        command = [program, "blastp", *options, "--threads", str(threads), "--outfmt", "6", "--tmpdir", "."]
        query, out = "--query", "--out"
    else:
        call(["makeblastdb", "-in", "all.fa", "-dbtype", "prot", "-out", "all"], folder)
        options = ["-db", "all", "-evalue", str(E_VALUE), "-max_target_seqs", "100000", "-outfmt", "6"]
        command = [program, *options, "-num_threads", str(threads)]
        query, out = "-query", "-out"
    batches = split_batches(clean)
    progress = Progress(len(batches))
    with open(table, "wb") as file:
        for number, batch in enumerate(batches, 1):
            write_fasta(folder / "batch.fa", {gene: clean[gene] for gene in batch})
            call([*command, query, "batch.fa", out, "batch.tsv"], folder)
            with open(folder / "batch.tsv", "rb") as part:
                shutil.copyfileobj(part, file)
            progress.step(f"searched {number} of {len(batches)} parts")
            if not progress.terminal and len(batches) > 4 and number % 4 == 0:
                progress.line(f"searched {number} of {len(batches)} parts  {progress.time_left()}")
    progress.line("searched")
    return table


def split_batches(proteins: dict[int, str]) -> list[list[int]]:
    """Return the keys of proteins in batches of about `BATCH_RESIDUES` amino acids each."""
    batches, size = [[]], 0
    for number, protein in proteins.items():
        if size >= BATCH_RESIDUES:
            batches.append([])
            size = 0
        batches[-1].append(number)
        size += len(protein)
    return batches


def write_fasta(path: Path, proteins: dict[int, str]) -> None:
    """Write proteins named by their keys."""
    path.write_text("".join(f">{number}\n{protein}\n" for number, protein in proteins.items() if protein))


def call(command: list[str], folder: Path) -> None:
    """Run a program in `folder`; it ends with this process. Raises InputError with its last words where it fails."""
    with open(folder / "said", "wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            status = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if status:
        words = (folder / "said").read_text(errors="replace").strip().splitlines()
        raise InputError(
            f"{command[0]} failed (exit status {status}): {show_value((words or ['it said nothing'])[-1], 300)}"
        )


# ---------------------------------------------------------------------------------------------------- hits
def read_hits(path: Path, names: GeneNames | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read a table of hits and return the pairs of homologous genes.

    Args:
        path: outfmt 6 of BLAST or DIAMOND (12 columns or more, tabs), plain or gzip; lines with # are left out.
        names: finds the genes that the ids mean; None where the ids are places of genes already.

    Returns:
        A frame of pairs of genes, each pair once: first and second (places of genes, first < second), identity (per
        cent of the alignment) and bit_score of its best hit; and notes for the user.

    Raises:
        InputError: another format, numbers that cannot be, ids of other genes.
    """
    path = check_file(path, "hits")
    known: dict[str, int] = {}
    pieces = []
    with open_text(path, "hits") as file:
        numbered = enumerate(file, 1)
        while lines := list(itertools.islice(numbered, CHUNK)):
            hits = parse_hits(lines, path)
            ids = pd.unique(np.concatenate([hits["qseqid"], hits["sseqid"]]))
            for name in ids:
                if name not in known:
                    place = int(name) if names is None else names.find(name)
                    known[name] = -1 if place is None else place
            first, second = (hits[name].map(known).to_numpy(np.int64) for name in ("qseqid", "sseqid"))
            strong = (hits["evalue"] < E_VALUE) & (hits["bitscore"] >= BIT_SCORE)
            kept = strong.to_numpy() & (first != second) & (first >= 0) & (second >= 0)
            piece = pd.DataFrame({"first": np.minimum(first, second), "second": np.maximum(first, second)})
            piece["identity"], piece["bit_score"] = hits["pident"].to_numpy(), hits["bitscore"].to_numpy()
            pieces.append(keep_best(piece[kept]))
    if not known and names is not None:
        raise InputError(f"hits: {path} holds no hit; give the table of a search of all proteins in all (outfmt 6)")
    lost = [name for name, place in known.items() if place < 0]
    if len(lost) > MOST_UNKNOWN * len(known):
        raise InputError(
            f"hits: {len(lost):,} of {len(known):,} ids of {path} are neither genes nor proteins that are looked for "
            f"({examples(map(shorten, lost))}; these are called {examples(map(shorten, names.ids))}); give hits of the "
            "same species and source, with the same names"
        )
    notes = [f"{len(lost):,} of {len(known):,} ids of the hits are in no gene ({examples(map(shorten, lost))})"]
    empty = pd.DataFrame(columns=["first", "second", "identity", "bit_score"], dtype=float)
    pairs = keep_best(pd.concat(pieces, ignore_index=True) if pieces else empty)
    return pairs.astype({"first": np.int64, "second": np.int64}).reset_index(drop=True), notes * bool(lost)


def parse_hits(lines: Iterable[tuple[int, str]], path: Path) -> pd.DataFrame:
    """Return lines of outfmt 6 as a frame of the columns that are used; ids are text.

    Args:
        lines: number in the file and text of each.
        path: the file.

    Raises:
        InputError: too few columns, or numbers that cannot be.
    """
    numbers, rows = [], []
    for number, line in lines:
        if not line.strip() or line[0] == "#":
            continue
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < len(TABLE):
            raise InputError(
                f"hits: line {number:,} of {path} has {len(cells)} columns, no table of hits: "
                f"'{show_value(line.strip(), 80)}'; {WANTED}"
            )
        numbers.append(number)
        rows.append([cells[place] for place in USED.values()])
    frame = pd.DataFrame(rows, columns=list(USED), dtype=object)
    for name, (least, most) in RANGES.items():
        values = pd.to_numeric(frame[name], errors="coerce").astype(float)
        wrong = ~values.between(least, most).to_numpy()
        if wrong.any():
            place = int(wrong.argmax())
            raise InputError(
                f"hits: line {numbers[place]:,} of {path} has '{show_value(frame[name][place])}' in column "
                f"{TABLE.index(name) + 1}, where a number of {name} belongs; {WANTED}"
            )
        frame[name] = values
    return frame


def keep_best(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return each pair once, with its highest bit score."""
    return pairs.sort_values("bit_score", ascending=False, kind="stable").drop_duplicates(["first", "second"])


def save_hits(table: Path, ids: Sequence[str], path: Path) -> None:
    """Write a table of `search_all` with gene ids in place of numbers, gzipped where the name ends with .gz."""
    with replacing(path) as temporary:
        opener = gzip.open if path.suffix == ".gz" else open
        with open(table, encoding="utf-8") as file, opener(temporary, "wt", encoding="utf-8") as out:
            for line in file:
                query, subject, rest = line.split("\t", 2)
                out.write(f"{ids[int(query)]}\t{ids[int(subject)]}\t{rest}")


# ------------------------------------------------------------------------- genes without homologs, families
def without_homologs(pairs: pd.DataFrame, chromosomes: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Tell which genes have no homolog on another chromosome.

    Args:
        pairs: of `read_hits`.
        chromosomes: of each gene, (genes,).
        judged: which genes were searched; the others are not returned, booleans, (genes,).

    Returns:
        Booleans, (genes,).
    """
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    apart = chromosomes[first] != chromosomes[second]
    kept = judged.copy()
    kept[first[apart]] = kept[second[apart]] = False
    return kept


def number_families(pairs: pd.DataFrame, genes: int) -> np.ndarray:
    """Return the family of each gene: connected components of the pairs, numbered from 1 in the order of the genes."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(pairs), bool), (pairs["first"], pairs["second"])), shape=(genes, genes))
    _, component = connected_components(links, directed=False)
    _, begins, family = np.unique(component, return_index=True, return_inverse=True)
    order = np.empty(len(begins), np.int64)
    order[np.argsort(begins)] = np.arange(1, len(begins) + 1)
    return order[family]


def write_families(path: Path, gene_ids: np.ndarray, families: np.ndarray) -> None:
    """Write gene_id and family as CSV."""
    write_csv(path, pd.DataFrame({"gene_id": gene_ids, "family": families}))


def write_gene_list(path: Path, gene_ids: Iterable[str], key: str | None) -> None:
    """Write gene ids as .csv, .txt or .pickle; other keys of a pickle that is there are kept.

    Args:
        path: `check_list_file` has looked at it.
        gene_ids: of the genes.
        key: of the species in a pickle.
    """
    ids = list(gene_ids)
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            temporary.write_text("gene_id\n" + "".join(f"{escape_cell(gene)}\n" for gene in ids), encoding="utf-8")
        elif path.suffix == ".txt":
            temporary.write_text("".join(f"{gene}\n" for gene in ids), encoding="utf-8")
        else:
            content = check_list_file(path, key)
            temporary.write_bytes(pickle.dumps({**content, key: ids}, protocol=4))


def check_list_file(path: Path, key: str | None) -> dict[str, list[str]]:
    """Return what stands in the pickle `path` already, nothing for other files.

    Raises:
        InputError: another suffix, no folder of that name, a pickle without a key, or one that holds something else.
    """
    from core.textlists import read_pickle

    if path.suffix not in (".pickle", ".csv", ".txt"):
        raise InputError(f"out: {path} is not .pickle, .csv or .txt; give a name that ends with one of these")
    check_place(path, "out")
    if path.suffix != ".pickle":
        return {}
    if not key:
        raise InputError(f"out: {path} holds gene ids by species; name this one by --key, such as --key sol")
    if not path.exists():
        return {}
    content = read_pickle(check_file(path, "out"), "give another name, or move the file")
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(ids, list) for name, ids in content.items()
    ):
        raise InputError(f"out: {path} holds no gene ids by species; give another name, or move the file")
    return content


def check_place(path: Path, what: str) -> None:
    """Raise InputError where no file of this name can be written."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{what}: {path} is a folder, or in none that exists; make it first, or give another name")


def largest(families: np.ndarray) -> int:
    """Return how many genes the largest family has."""
    return int(np.unique(families, return_counts=True)[1].max(initial=0))


def refuse_other_families(path: Path, names: GeneNames) -> None:
    """Raise InputError where `path` is a table of families of other genes, which would be lost."""
    if not path.exists():
        return
    try:
        with open_text(check_file(path, "families"), "families") as file:
            header, *rows = file.read(1 << 16).splitlines()
    except (InputError, ValueError):
        header, rows = "", []
    ids = [row.split(",")[0] for row in rows[:1000]]
    if header != "gene_id,family" or not any(names.find(name) is not None for name in ids):
        raise InputError(
            f"families: {path} is there already and is not of these genes; name another file by --families"
        )
