"""Families of homologous genes: read from a table, spread over folds so that none is split."""

from pathlib import Path

import numpy as np
import pandas as pd

from core import InputError, examples, shorten
from core.names import GENE_BRIDGES, join_names
from core.tables import read_columns

MOST_ROWS = 2_000_000  # of a table of families: no genome has as many genes


def read_families(path: Path) -> pd.Series:
    """Read the family of each gene from a table with the columns gene_id and family, as lcre_homology.py writes it.

    Returns:
        Families, str, indexed by gene id.

    Raises:
        InputError: no such table, too many rows, an empty cell, a gene in two families.
    """
    table = read_columns(path, ["gene_id", "family"], "FAMILIES", most=MOST_ROWS).map(str.strip)
    empty = table.index[(table == "").any(axis=1)]
    if len(empty):
        raise InputError(f"FAMILIES: {len(empty):,} rows of {path} lack a gene id or a family: {examples(empty)}")
    table = table.drop_duplicates()
    twice = table.loc[table["gene_id"].duplicated(), "gene_id"].unique()
    if len(twice):
        raise InputError(
            f"FAMILIES: {len(twice):,} genes of {path} stand in two families: {examples(map(shorten, twice))}; join "
            "these families, or remove rows"
        )
    return table.set_index("gene_id")["family"]


def group_by_families(
    genes: pd.DataFrame, families: pd.Series, folds: int, layout, notes: list[str], warnings: list[str]
) -> list[str]:
    """Spread the genes over folds in which no family is split.

    Adds to `genes`: family (a number) and group (the name of the fold; "" for genes without windows).

    Args:
        genes: of the annotation, labelled, with window_fits and status.
        families: as `read_families` gives them; genes without a row are families of their own.
        folds: how many.
        layout: of the windows, a `lcre_classifier.WindowLayout`.
        notes, warnings: sentences for the user, added to.

    Returns:
        The names of the folds.

    Raises:
        InputError: no gene of the table is in the annotation.
    """
    ids, fits = genes["gene_id"], genes["window_fits"].to_numpy(bool)
    partner = join_names(families.index, ids, GENE_BRIDGES, "FAMILIES and GTF have no gene", notes)
    family, names = pd.factorize(ids.map({gene: families[name] for name, gene in partner.items()}))
    alone = np.flatnonzero(family < 0)
    family[alone] = len(names) + np.arange(len(alone))
    groups = [f"family{number}" for number in range(1, folds + 1)]
    genes["family"], genes["group"] = family, ""
    fold = spread_families(family[fits], genes["target"].to_numpy()[fits], folds)
    genes.loc[fits, "group"] = np.array(groups, object)[fold]

    sizes = np.unique(family[fits], return_counts=True)[1]
    notes.append(
        f"{len(fold):,} genes with windows are of {len(sizes):,} families, {(sizes > 1).sum():,} of them of several "
        f"genes; the largest has {sizes.max():,}"
    )
    if unlisted := int(fits[alone].sum()):
        said = warnings if unlisted > len(fold) // 10 else notes
        said.append(f"{unlisted:,} of {len(fold):,} genes are not in FAMILIES: each is taken as a family of its own")
    if sharing := count_sharing(genes[fits], layout):
        warnings.append(
            f"{sharing:,} of {len(fold):,} genes ({sharing / len(fold):.0%}) have windows that share bases of the "
            "genome with the window of a gene of another fold, mostly a neighbour's, which may train while they are "
            "held out; folds of chromosomes have no such genes"
        )
    return groups


def spread_families(family: np.ndarray, target: np.ndarray, folds: int) -> np.ndarray:
    """Spread whole families over folds that are even in low, in high and in other genes.

    The largest families come first, each to the fold that has the fewest genes of the kinds that it has itself.

    Args:
        family: number of each gene's family, (genes,).
        target: 0 low, 1 high, anything else for the others, (genes,).
        folds: how many.

    Returns:
        The fold of each gene, from 0, (genes,).
    """
    _, first, place = np.unique(family, return_index=True, return_inverse=True)
    kind = np.where(target == 0, 0, np.where(target == 1, 1, 2))
    sizes = np.zeros((len(first), 3), np.int64)  # low, high and other genes of each family
    np.add.at(sizes, (place, kind), 1)
    order = np.lexsort((first, -sizes.sum(axis=1), -sizes[:, :2].sum(axis=1)))
    filled, fold = np.zeros((folds, 3), np.int64), np.zeros(len(first), np.int64)
    for one in order:
        fold[one] = np.argmin(filled @ sizes[one])
        filled[fold[one]] += sizes[one]
    return fold[place]


def count_sharing(genes: pd.DataFrame, layout) -> int:
    """Count the genes whose window shares bases of the genome with the window of a gene of another fold that may train.

    Args:
        genes: those with windows: chromosome, start, end, group (the fold) and status; those that are `used` may train.
        layout: of the windows, a `lcre_classifier.WindowLayout`.
    """
    left, right = layout.locate(genes["start"].to_numpy(), genes["end"].to_numpy())
    begin, used = np.stack([left, right]), (genes["status"] == "used").to_numpy()  # regions x genes
    end, sharing = begin + layout.region_size, np.zeros(len(genes), bool)
    for _, rows in genes.groupby("chromosome", sort=False).indices.items():
        group = genes["group"].to_numpy(str)[rows]
        for fold in np.unique(group):
            own, others = rows[group == fold], rows[(group != fold) & used[rows]]
            # of the others' regions, those that begin before this one ends, less those that end before it begins
            before = np.searchsorted(np.sort(begin[:, others], axis=None), end[:, own])
            gone = np.searchsorted(np.sort(end[:, others], axis=None), begin[:, own], side="right")
            sharing[own] = (before > gone).any(axis=0)
    return int(sharing.sum())
