"""Bridges the names of chromosomes and genes between files: `chr1` and `1`, `gene:` in front, versions behind."""

import re
from collections.abc import Iterable

import pandas as pd

from core import InputError, examples, shorten


def join_names(names: Iterable[str], others: Iterable[str], bridges, what: str, notes: list[str]) -> dict[str, str]:
    """Return `bridge_names`, put what was bridged into `notes`, and raise InputError where nothing is in common.

    Args:
        names, others, bridges: as in `bridge_names`.
        what: the two sides and the thing, as in "GTF and FASTA have no chromosome".
        notes: sentences for the user, added to.
    """
    names, others = (list(dict.fromkeys(pd.Index(side).tolist())) for side in (names, others))
    mapping, sentence = bridge_names(names, others, bridges)
    if not mapping:
        left, _, right, *_ = what.split()
        raise InputError(
            f"{what} in common: {left} has {examples(map(shorten, names))}, {right} has "
            f"{examples(map(shorten, others))}; give files of the same species and source, whose ids are the same"
        )
    if sentence:
        notes.append(f"{what.split(' have')[0]}: {sentence}")
    return mapping


def strip_version(name: str) -> str:
    """Return a gene id without a final .number."""
    return re.sub(r"\.\d+$", "", name)


def strip_gene_prefix(name: str) -> str:
    """Return a gene id without 'gene:' or 'gene-' in front."""
    return re.sub(r"^gene[:\-]", "", name)


def strip_chr(name: str) -> str:
    """Return a chromosome's name without 'chr' in front, in any case."""
    return re.sub(r"^chr(?:omosome)?[_\-]?(?=.)", "", name, flags=re.IGNORECASE)


def differ_in_number(name: str, other: str) -> bool:
    """Tell whether two names end in different numbers that may tell genes apart, as in F28H1.3 and F28H1.4.

    Behind an accession of five digits or more (ENSG00000000003.14, Solyc01g005000.3) the number is a version.
    """
    versions = re.search(r"\.\d+$", name), re.search(r"\.\d+$", other)
    return all(versions) and versions[0][0] != versions[1][0] and not re.search(r"\d{5}\.\d+$", name)


CHROMOSOME_BRIDGES = (("a 'chr' prefix", strip_chr),)
GENE_BRIDGES = (
    ("a 'gene:' prefix", strip_gene_prefix),
    ("a version suffix", strip_version),
    ("a prefix and a version suffix", lambda name: strip_version(strip_gene_prefix(name))),
)


def bridge_names(names: Iterable[str], others: Iterable[str], bridges) -> tuple[dict[str, str], str]:
    """Map each of `names` to the one of `others` it means, where that is certain.

    Equal names map to each other. The rest are mapped by the first of `bridges` that joins most of them, and only
    where the bridge keeps all names of a side apart (ids like F28H1.3 and F28H1.4 are different genes).

    Returns:
        The mapping (names without a partner are absent), and one sentence on what was bridged, or "".
    """
    names, others = list(dict.fromkeys(names)), set(others)
    mapping = {name: name for name in names if name in others}
    rest = [name for name in names if name not in mapping]
    free = others - set(mapping)
    best, sentence = {}, ""
    if rest and free:
        for label, strip in bridges:
            partner = {strip(other): other for other in free}
            joined = {name: partner[key] for name in rest if (key := strip(name)) in partner}
            if not joined or not all(len(set(map(strip, side))) == len(side) for side in (names, others)):
                continue
            joined = {name: other for name, other in joined.items() if not differ_in_number(name, other)}
            if len(joined) > len(best):
                best = joined
                name, other = next(iter(joined.items()))
                sentence = f"{len(joined)} names differ by {label} ({name!r} is {other!r})"
    return mapping | best, sentence
