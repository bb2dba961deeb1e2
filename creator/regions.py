"""What stands on the genome: cCREs, genes with their TSS and expression, and which cCRE is in reach of which gene."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, examples, shorten, show_value
from core.annotation import read_annotation
from core.intervals import read_intervals
from core.memory import require_memory
from core.names import CHROMOSOME_BRIDGES, GENE_BRIDGES, join_names
from core.tables import read_values, require_row_names, take_column
from creator.samples import EXPRESSION, Inputs, Sample

PAIRS_AT_ONCE = 1 << 20  # of elements and genes that one interval join gives, about
LARGEST_TPM = 1e9  # counts are let pass; what is larger is no expression
LONGEST_NAME = 200  # bytes of a name of a cCRE or a gene; the store gives each as many as the longest has


def read_regions(
    inputs: Inputs, lengths: Mapping[str, int], notes: list[str], warnings: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, list[str]]:
    """Read cCREs, genes and expression, and put them in the order of the genome.

    Args:
        inputs: the files and the options.
        lengths: of the chromosomes of the genome, bp.
        notes, warnings: sentences for the user, added to.

    Returns:
        Elements: chromosome (index), start, end (bp), name (bytes). Genes: chromosome, tss (bp), strand (1, -1),
        gene_id (bytes). TPM, (genes, cells) float32, nan where there is none. The chromosomes that have any of them, as
        the FASTA calls them and in its order.
    """
    elements = read_elements(inputs.ccres, lengths, notes)
    genes, expression = read_genes(inputs, lengths, notes, warnings)
    used = {*elements["on"], *genes["on"]}
    chromosomes = [name for name in lengths if name in used]
    for frame in (elements, genes):
        frame["chromosome"] = pd.Index(chromosomes).get_indexer(frame["on"]).astype(np.int32)
    elements = elements.sort_values(["chromosome", "start", "end"], ignore_index=True)
    genes = genes.sort_values(["chromosome", "tss"], kind="stable")
    return elements, genes.reset_index(drop=True), expression[genes.index], chromosomes


# --------------------------------------------------------------------------------------------------- elements
def read_elements(path: Path, lengths: Mapping[str, int], notes: list[str]) -> pd.DataFrame:
    """Read the cCREs.

    Args:
        path: BED; names are its fourth column where that has one for each, else chromosome:start-end.
        lengths: of the chromosomes of the genome, bp.
        notes: sentences for the user, added to.

    Returns:
        A frame of unique intervals: on (chromosome as in the FASTA), start, end (bp), name (bytes, unique).

    Raises:
        InputError: not BED, no chromosome in common, an interval beyond the end of its chromosome.
    """
    frame = pd.concat(list(read_intervals(path, "cCREs", 3)), ignore_index=True)
    names = frame["chromosome"].unique()
    partner = join_names(names, lengths, CHROMOSOME_BRIDGES, "cCREs and FASTA have no chromosome", notes)
    frame["on"] = frame["chromosome"].map(partner)
    outside = frame["on"].isna()
    if outside.any():
        left = frame.loc[outside, "chromosome"].unique()
        notes.append(
            f"{outside.sum():,} of {len(frame):,} cCREs are left out: the FASTA has no chromosome {examples(left)}"
        )
        frame = frame[~outside]
    beyond = frame["end"] > frame["on"].map(lengths)
    if beyond.any():
        first = frame[beyond].iloc[0]
        raise InputError(
            f"cCREs: {beyond.sum():,} of {len(frame):,} intervals of {path} end beyond their chromosome, the first on "
            f"line {first['line']:,}: {shorten(first['chromosome'])}:{first['start']}-{first['end']}, of "
            f"{lengths[first['on']]:,} bp in the FASTA; are both of the same assembly?"
        )
    twice = frame.duplicated(["on", "start", "end"])
    if twice.any():
        notes.append(f"{twice.sum():,} cCREs stand twice in {path.name}: the first of each is used")
        frame = frame[~twice]
    frame = frame.reset_index(drop=True)
    text = frame["text"]
    if (text == "").any() or (text == ".").any() or text.duplicated().any():
        notes.append("the cCREs have no names of their own (column 4 of the BED): they are called chromosome:start-end")
        text = frame["on"] + ":" + frame["start"].astype(str) + "-" + frame["end"].astype(str)
    frame["name"] = encode_names(text, "cCREs")
    lacking = set(lengths) - set(frame["on"])
    shown_count = f"{frame['on'].nunique()} of {len(lengths)} chromosomes" if lacking else f"{len(lengths)} chromosomes"
    middle = (frame["end"] - frame["start"]).median()
    notes.append(f"{len(frame):,} cCREs on {shown_count}, median length {middle:,.0f} bp")
    return frame[["on", "start", "end", "name"]]


def encode_names(names: pd.Series, what: str) -> list[bytes]:
    """Return names as UTF-8; raise InputError where one is too long."""
    encoded = [str(name).encode("utf-8", "replace") for name in names]
    longest = max(encoded, key=len)
    if len(longest) > LONGEST_NAME:
        text = shorten(longest.decode("utf-8", "replace"))
        raise InputError(f"{what}: the name {text} is longer than {LONGEST_NAME} letters; give shorter names")
    return encoded


# ------------------------------------------------------------------------------------------------------ genes
def read_genes(
    inputs: Inputs, lengths: Mapping[str, int], notes: list[str], warnings: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Read genes and their expression.

    Returns:
        A frame gene_id (bytes), on (chromosome as in the FASTA), tss (bp), strand (1, -1); and TPM, (genes, cells)
        float32, nan where there is none.

    Raises:
        InputError: files that cannot be read or do not belong together, negative TPM.
    """
    tables = read_tables(inputs.samples)
    known = dict.fromkeys(gene for values in tables.values() for gene in values.index)
    genes, more = read_annotation(inputs.gtf, known)
    notes += more
    if inputs.options["genes"] == "coding":
        notes.append(f"{genes['coding'].sum():,} of {len(genes):,} genes of the annotation are protein coding")
        genes = genes[genes["coding"]]
    names = genes["chromosome"].unique()
    partner = join_names(names, lengths, CHROMOSOME_BRIDGES, "GTF and FASTA have no chromosome", notes)
    genes = genes.assign(on=genes["chromosome"].map(partner))
    lost = {"no chromosome in the FASTA": genes["on"].isna(), "no strand, so no TSS": ~genes["strand"].isin(["+", "-"])}
    for reason, without in lost.items():
        if without.any():
            notes.append(f"{without.sum():,} genes are left out: {reason} ({examples(genes.loc[without, 'gene_id'])})")
    genes = genes[~np.logical_or.reduce(list(lost.values()))].reset_index(drop=True)
    if genes.empty:
        raise InputError(f"GTF: no gene of {inputs.gtf} has a strand and a chromosome of the FASTA")
    forward = genes["strand"] == "+"
    genes["tss"] = np.where(forward, genes["start"], genes["end"] - 1)
    genes["strand"] = np.where(forward, 1, -1).astype(np.int8)
    beyond = genes["tss"] >= genes["on"].map(lengths)
    if beyond.any():
        raise InputError(
            f"GTF: {beyond.sum():,} genes begin beyond the end of their chromosome in the FASTA "
            f"({examples(genes.loc[beyond, 'gene_id'])}); are both of the same assembly?"
        )
    notes.append(f"{len(genes):,} genes; TSS is the 5' end of the gene, so of its transcripts the first one's")
    expression = match_expression(inputs, tables, genes["gene_id"], notes, warnings)
    genes["gene_id"] = encode_names(genes["gene_id"], "GTF")
    return genes[["gene_id", "on", "tss", "strand"]], expression


def read_tables(samples: Sequence[Sample]) -> dict[Path, pd.DataFrame]:
    """Read each expression table once, as text."""
    chosen = {sample.path: sample.column for sample in samples if sample.track == EXPRESSION}
    return {path: read_values(path, column) for path, column in chosen.items()}


def match_expression(
    inputs: Inputs, tables: Mapping[Path, pd.DataFrame], ids: pd.Series, notes: list[str], warnings: list[str]
) -> np.ndarray:
    """Return the TPM of genes in each cell, (genes, cells) float32, nan where there is none."""
    expression = np.full((len(ids), len(inputs.cells)), np.nan, np.float32)
    partners = {}
    for path, values in tables.items():
        partner = join_names(ids, values.index, GENE_BRIDGES, "GTF and TPM have no gene", notes)
        require_row_names(values, partner, len(ids), path)
        partners[path] = ids.map(partner)
        notes.append(f"{len(partner):,} of the {len(ids):,} genes are in {path.name}")
    for sample in inputs.samples:
        if sample.track != EXPRESSION:
            continue
        tpm = take_column(tables[sample.path], sample.column, sample.path)
        if (tpm < 0).any():
            raise InputError(
                f"TPM: column {show_value(sample.column, 100)} of {sample.path} has negative values (gene "
                f"{shorten(str((tpm < 0).idxmax()))}); give TPM, not its logarithm or a change"
            )
        if (tpm > LARGEST_TPM).any():
            raise InputError(
                f"TPM: column {show_value(sample.column, 100)} of {sample.path} has values beyond {LARGEST_TPM:,.0f} "
                f"(gene {shorten(str((tpm > LARGEST_TPM).idxmax()))}); give TPM, of which a cell has 1,000,000"
            )
        expression[:, inputs.cells.index(sample.cell)] = partners[sample.path].map(tpm)
    without = [cell for cell in inputs.cells if cell not in {s.cell for s in inputs.samples if s.track == EXPRESSION}]
    if len(without) == len(inputs.cells):
        warnings.append("no cell has a TPM table: the store can be predicted from, but nothing can be learnt from it")
    elif without:
        warnings.append(
            f"{len(without)} of {len(inputs.cells)} cells have no TPM ({examples(without)}): they can be predicted only"
        )
    return expression


# ------------------------------------------------------------------------------------------------------ reach
def find_reach(elements: pd.DataFrame, genes: pd.DataFrame, options: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Find the elements of which a base lies within `reach` bp of each TSS.

    Args:
        elements: chromosome, start, end; sorted by these.
        genes: chromosome, tss; sorted by these.
        options: reach, max_elements, element_position.

    Returns:
        indptr (G + 1,) int64 and indices (P,) int32, ascending for each gene, as in `creator.store.Store`.

    Raises:
        InputError: no element in reach of any gene, more pairs than memory.
    """
    reach = options["reach"]
    tss = genes["tss"].to_numpy()
    windows = pd.DataFrame({"Chromosome": "1", "Start": np.maximum(tss - reach, 0), "End": tss + reach + 1})
    windows["gene"] = np.arange(len(genes))
    ranges = pd.DataFrame({"Chromosome": "1", "Start": elements["start"], "End": elements["end"]})
    ranges["element"] = np.arange(len(elements))
    blocks = list(split_joins(elements, genes, windows, PAIRS_AT_ONCE))
    candidates = sum(count for *_, count in blocks)
    needed = 100 * PAIRS_AT_ONCE + 8 * candidates
    require_memory(needed, f"{candidates:,} pairs of a gene and a cCRE take", "give a smaller --reach")
    counts, found = np.zeros(len(genes), np.int64), []
    positions = elements["start"] if options["element_position"] == "start" else elements.eval("(start + end) // 2")
    for of_genes, of_elements, _ in blocks:
        pairs = join_ranges(windows[of_genes], ranges[of_elements])
        if options["max_elements"]:
            distance = np.abs(positions.to_numpy()[pairs["element"]] - tss[pairs["gene"]])
            pairs = keep_nearest(pairs, distance, options["max_elements"])
        pairs = pairs.sort_values(["gene", "element"])
        counts += np.bincount(pairs["gene"], minlength=len(genes))
        found.append(pairs["element"].to_numpy(np.int32))
    if not counts.any():
        raise InputError(
            f"no gene has a cCRE within {reach:,} bp of its TSS; are GTF and cCREs of the same assembly? Otherwise "
            "give a larger --reach"
        )
    return np.concatenate([[0], np.cumsum(counts)]), np.concatenate(found)


def split_joins(
    elements: pd.DataFrame, genes: pd.DataFrame, windows: pd.DataFrame, most: int
) -> Iterator[tuple[slice, slice, int]]:
    """Split the join of genes and elements into parts of one chromosome and about `most` pairs.

    Yields:
        The genes of the part, the elements that may overlap a window of theirs, and at most how many pairs there are.
    """
    for chromosome in genes["chromosome"].unique():
        first, last = np.searchsorted(genes["chromosome"], [chromosome, chromosome + 1])
        begin, end = np.searchsorted(elements["chromosome"], [chromosome, chromosome + 1])
        if begin == end:
            continue
        starts = elements["start"].to_numpy()[begin:end]
        longest = (elements["end"].to_numpy()[begin:end] - starts).max()
        low = np.searchsorted(starts, windows["Start"].to_numpy()[first:last] - longest)
        high = np.searchsorted(starts, windows["End"].to_numpy()[first:last])
        part = np.cumsum(high - low) // most
        for number in np.unique(part):
            of_part = np.flatnonzero(part == number)
            from_, to = of_part[0], of_part[-1] + 1
            chosen = slice(begin + low[from_:to].min(), begin + high[from_:to].max())
            if chosen.start < chosen.stop:
                yield slice(first + from_, first + to), chosen, int((high - low)[from_:to].sum())


def join_ranges(windows: pd.DataFrame, ranges: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of windows and ranges of one chromosome that overlap: gene, element."""
    import pyranges

    pairs = pyranges.PyRanges(windows).join(pyranges.PyRanges(ranges)).df
    return pairs[["gene", "element"]] if len(pairs) else pd.DataFrame({"gene": [], "element": []}, dtype=np.int64)


def keep_nearest(pairs: pd.DataFrame, distance: np.ndarray, most: int) -> pd.DataFrame:
    """Return of each gene's pairs the `most` of least distance; of equal ones the first on the genome."""
    ordered = pairs.assign(distance=distance).sort_values(["gene", "distance", "element"])
    return ordered.groupby("gene", sort=False).head(most)[["gene", "element"]]


def describe_reach(indptr: np.ndarray, count: int, options: Mapping, notes: list[str]) -> None:
    """Add to `notes` how many elements the genes have in reach."""
    counts = np.diff(indptr)
    most = f", at most {options['max_elements']:,}" if options["max_elements"] else ""
    notes.append(
        f"{counts.sum():,} pairs of a gene and a cCRE within {options['reach']:,} bp of its TSS{most}: a gene has "
        f"{counts.min():,} to {counts.max():,}, median {np.median(counts):,.0f}; a cCRE is in reach of "
        f"{counts.sum() / count:,.1f} genes"
    )
    if (counts == 0).any():
        notes.append(f"{(counts == 0).sum():,} genes have no cCRE in reach: they cannot be predicted")
