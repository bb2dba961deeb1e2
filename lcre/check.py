"""The look before training: where genes are lost, and whether the sequences are what they should be."""

import numpy as np
import pandas as pd

from core import InputError, examples
from lcre import records

START_CODON = np.array([0, 3, 2], np.uint8)  # ATG as base codes
STEPS = ("in annotation", "protein coding", "sequence known", "window fits", "in table", "low", "middle", "high")


def gene_funnel(genes: pd.DataFrame) -> pd.DataFrame:
    """Count how many genes are left after each step, for the whole genome and each chromosome.

    Args:
        genes: one row a gene: chromosome, the flags coding, sequence_known, window_fits, in_table (each
            looked at only where those before it hold), and target (0 low, 1 high, 2 middle, -1 none).

    Returns:
        A frame with the columns chromosome and `STEPS`; the first row is 'all'.
    """
    left = pd.DataFrame({"chromosome": genes["chromosome"], "in annotation": True})
    left["protein coding"] = genes["coding"]
    left["sequence known"] = left["protein coding"] & genes["sequence_known"]
    left["window fits"] = left["sequence known"] & genes["window_fits"]
    left["in table"] = left["window fits"] & genes["in_table"]
    for target, name in enumerate(("low", "high", "middle")):
        left[name] = left["in table"] & (genes["target"] == target)
    counts = left.groupby("chromosome", sort=False)[list(STEPS)].sum()
    total = counts.sum().to_frame("all").T
    return pd.concat([total, counts]).rename_axis("chromosome").reset_index()


def starts_with_atg(codes: np.ndarray, start: np.ndarray, end: np.ndarray, strand: np.ndarray) -> np.ndarray:
    """Tell for each gene whether ATG stands at its TSS, read on its own strand; never for one without a strand.

    Args:
        codes: base codes of the chromosome, uint8, shape (bp,).
        start, end: 0-based half-open gene coordinates inside the chromosome, each shape (genes,).
        strand: '+' or '-', shape (genes,).

    Returns:
        Booleans, shape (genes,).
    """
    inside = np.arange(3)
    plus = strand == "+"
    at = np.where(plus[:, None], start[:, None] + inside, end[:, None] - 1 - inside)
    bases = codes[np.clip(at, 0, len(codes) - 1)]
    bases = np.where(plus[:, None] | (bases == 4), bases, 3 - bases)
    return (bases == START_CODON).all(axis=1) & (end - start >= 3) & np.isin(strand, ["+", "-"])


def audit_genes(genes: pd.DataFrame, atg: np.ndarray, downstream: int) -> dict[str, int]:
    """Count coding genes whose sequence is known, those that start with ATG, and those shorter than `downstream` bp.

    Args:
        genes: start, end, and the flags coding, sequence_known and window_fits.
        atg: what `starts_with_atg` says of each.
    """
    return {
        "start_with_ATG": int(atg.sum()),
        "coding_genes": int((genes["coding"] & genes["sequence_known"]).sum()),
        "short_genes": int((genes["window_fits"] & (genes["end"] - genes["start"] < downstream)).sum()),
    }


def audit_windows(windows: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Measure what is odd about windows: unknown bases, and the same sequence in several genes.

    Args:
        windows: base codes, uint8, shape (genes, columns).
        real: the columns that are neither padding nor masked, booleans, shape (columns,).

    Returns:
        share_N: share of bases that are not A, C, G or T; duplicate_windows: genes whose windows equal
        those of another gene to the last base.
    """
    unknown = sum(int(((windows[part] == 4) & real).sum()) for part in slices(len(windows), 1024))
    fingerprints = pd.Series(fingerprint_windows(windows))
    return {
        "share_N": unknown / max(real.sum() * len(windows), 1),
        "duplicate_windows": int(fingerprints.duplicated(keep=False).sum()),
    }


def fingerprint_windows(windows: np.ndarray) -> np.ndarray:
    """Return a number for each window that is the same for the same sequence, int64, (genes,)."""
    return np.array([hash(window.tobytes()) for window in windows], np.int64)


def slices(length: int, size: int) -> list[slice]:
    """Return the slices of `size` that cover `length`."""
    return [slice(begin, begin + size) for begin in range(0, length, size)]


def describe_audit(audit: dict) -> list[str]:
    """Return the audit as sentences with what to make of each figure."""
    coding, atg = audit["coding_genes"], audit["start_with_ATG"]
    share = atg / coding if coding else 0.0
    if share > 0.5:
        meaning = "an annotation without 5' UTRs: the start codon itself is masked"
    elif share > 0.1:
        meaning = "5' UTRs are annotated for a part of the genes; for the others the masked columns are the start codon"
    else:
        meaning = "5' UTRs are annotated (1.6 % is chance)"
    return [
        f"{atg:,} of {coding:,} coding genes ({share:.1%}) have ATG at the TSS on their strand: {meaning}",
        f"{audit['share_N']:.2%} of the window bases are not A, C, G or T",
        f"{audit['duplicate_windows']:,} genes have windows identical to those of another gene; such a gene does not "
        "train where the other is held out or chooses the epoch",
        f"{audit['short_genes']:,} genes with windows are shorter than DOWNSTREAM: their regions overlap and pass the "
        "other end of the gene",
    ]


def describe_ties(values: pd.Series, low: float, high: float, percentiles: tuple[float, float]) -> list[str]:
    """Return a sentence for each class that ties have made larger than its percentile says.

    Args:
        values: expression of every gene of the table.
        low, high: the thresholds.
        percentiles: the percentiles they stand for.
    """
    sentences = []
    for name, taken, threshold, expected in (
        ("low", values <= low, low, percentiles[0]),
        ("high", values >= high, high, 100 - percentiles[1]),
    ):
        share, tied = 100 * taken.mean(), int((values == threshold).sum())
        if share > expected + 1 and tied > 1:
            sentences.append(
                f"ties: {int(taken.sum()):,} of {len(values):,} genes of the table ({share:.0f} %, not {expected:g} %) "
                f"are {name}, because {tied:,} have the very value {threshold:g}"
            )
    return sentences


def gene_status(genes: pd.DataFrame, organelles: set[str]) -> np.ndarray:
    """Return for each gene `used` or the one reason why not; arguments as in `gene_funnel`, and on_genome."""
    reasons = {
        "not protein coding": ~genes["coding"],
        "chromosome not in genome": ~genes["on_genome"],
        "beyond chromosome end": ~genes["sequence_known"],
        "no strand": ~genes["strand"].isin(["+", "-"]),
        "window leaves chromosome": ~genes["window_fits"],
        "organelle": genes["chromosome"].isin(organelles),
        "not in table": ~genes["in_table"],
    }
    return np.select(list(reasons.values()), list(reasons), "used")


def describe_losses(genes: pd.DataFrame) -> list[str]:
    """Return a sentence on coding genes lost for what annotation or genome lack, if there are any."""
    remarks = {
        "chromosome not in genome": "stand on chromosomes that the FASTA does not have",
        "beyond chromosome end": "end beyond their chromosome: is the GTF of another assembly, or the FASTA cut?",
        "no strand": "have no strand + or - in the seventh column of the annotation and are left out",
    }
    lost = {status: genes.loc[genes["status"] == status, "gene_id"] for status in remarks}
    return [
        f"{len(ids):,} coding genes {remarks[status]} ({examples(ids)})" for status, ids in lost.items() if len(ids)
    ]


def require_windows(genes: pd.DataFrame, layout, longest: int, remedy: str) -> None:
    """Raise InputError unless a gene has windows; the message names the reason of most coding genes, and the others.

    Args:
        genes: as in `gene_status`, and gene_id and end.
        layout: of the windows, a `lcre_classifier.WindowLayout`.
        longest: length of the longest chromosome, bp.
        remedy: what to do where windows leave their chromosome, in words.
    """
    if genes["window_fits"].any():
        return
    coding = genes[genes["coding"]]
    status = pd.Series(gene_status(coding, set()), coding.index)
    counts = status.value_counts()  # the most frequent first
    first = coding[status == counts.index[0]]
    advice = {
        "chromosome not in genome": "their chromosomes are not in the FASTA: are GTF and FASTA of the same assembly?",
        "beyond chromosome end": f"they end beyond their chromosome, {first['gene_id'].iloc[0][:40]!r} at "
        f"{first['end'].iloc[0]:,} where the longest has {longest:,} bp: are GTF and FASTA of the same assembly?",
        "no strand": "they have no strand: the seventh column of the GTF must be + or -",
        "window leaves chromosome": f"their windows leave their chromosome (the longest has {longest:,} bp); {remedy}",
    }
    others = "".join(f"; {count:,} others: {name}" for name, count in counts.iloc[1:].items())
    raise InputError(
        f"no coding gene has windows of {layout.upstream} + {layout.downstream} bp inside its chromosome: of "
        f"{len(first):,} genes ({examples(first['gene_id'].str[:40])}), {advice[counts.index[0]]}{others}"
    )


def describe_data(data, folds: list) -> dict:
    """Return what the run's record says of the data: funnel, audit, notes, warnings and the names of the folds."""
    return {
        "funnel": gene_funnel(data.genes).to_dict("records"),
        "audit": data.audit,
        "notes": [data.labels, *data.notes],
        "warnings": data.warnings,
        "folds": records.sort_folds({fold.name: fold.groups for fold in folds}, data.order),
        "held_out": {fold.name: fold.groups for fold in folds},
    }


def describe_chromosomes(organelles: set[str], scaffolds: set[str], hold_out: str = "chromosome") -> list[str]:
    """Return what becomes of organelles and scaffolds, if there are any; `hold_out` is HOLD_OUT."""
    sentences = {
        f"{len(scaffolds)} scaffolds train but are not held out": scaffolds,
        "organelles neither train nor are held out": organelles,
    }
    if hold_out != "chromosome":
        sentences = {"organelles neither train nor are scored": organelles}
    return [f"{sentence}: {examples(sorted(names))}" for sentence, names in sentences.items() if names]


def require_classes(genes: pd.DataFrame, labels: str) -> None:
    """Raise InputError unless there are low and high genes among the used ones; `labels` says what these are."""
    used = genes.loc[genes["status"] == "used", "target"]
    for target, name in enumerate(("low", "high")):
        if not (used == target).any():
            hint = "; ".join(describe_losses(genes)) or "is it expression?"
            raise InputError(f"a single class: of {len(used):,} usable genes none is {name} ({labels}); {hint}")


def describe_counts(data) -> str:
    """Return how many genes there are and of which class, in words."""
    counts = np.bincount(data.with_windows["target"].to_numpy() + 1, minlength=4)
    return (
        f"{len(data.genes):,} genes in the annotation, {len(data.windows):,} coding genes with windows of "
        f"{data.windows.shape[1]:,} columns: {counts[1]:,} low, {counts[3]:,} middle, {counts[2]:,} high, "
        f"{counts[0]:,} not in the table"
    )


def print_remarks(notes: list[str], warnings: list[str]) -> None:
    """Print notes and warnings, a line each."""
    for kind, sentences in (("note", notes), ("warning", warnings)):
        for sentence in sentences:
            print(f"{kind}: {sentence}", flush=True)


def print_check(genes: pd.DataFrame, labels: str, audit: dict) -> None:
    """Print the gene funnel by chromosome, how the labels were made, and the audit."""
    funnel = gene_funnel(genes)
    shown = funnel[(funnel.index == 0) | (funnel["window fits"] > 0)]
    print("\ngenes left after each step\n" + show_table(shown.head(41)))
    if len(shown) > 41:
        print(f"... and {len(shown) - 41} more chromosomes and scaffolds with windows")
    print(f"\n{labels}\n\nsequences\n  " + "\n  ".join(describe_audit(audit)), flush=True)


def print_folds(folds: list) -> None:
    """Print how many genes have which role in each fold."""
    table = pd.DataFrame(
        {
            "fold": fold.name,
            "epoch chosen on": fold.chosen_on or "itself",
            "train": len(fold.training),
            "validation": len(fold.validation),
            "test": len(fold.test),
            "held out": len(fold.held_out),
        }
        for fold in folds
    )
    print("\nfolds, in genes\n" + show_table(table))


def show_table(frame: pd.DataFrame) -> str:
    """Return a frame as aligned plain text: numbers to the right, names to the left, '-' for missing."""
    cells = [[show_cell(value) for value in row] for row in frame.itertuples(index=False)]
    columns = list(zip(*[list(frame.columns), *cells], strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in [list(frame.columns), *cells]:
        first, *rest = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    return "\n".join(lines)


def show_cell(value) -> str:
    """Return one value as a table shows it."""
    if isinstance(value, (bool, str)):
        return str(value)
    if value is None or pd.isna(value):
        return "-"
    return f"{value:,}" if isinstance(value, (int, np.integer)) else f"{value:.3f}"
