"""Genes that share cCREs, as batches: a cCRE is encoded once for all genes of a region.

A region is a run of neighbouring genes of one chromosome with all cCREs in reach of any of them. The cCREs of two
neighbouring regions overlap by twice the reach, so a region should be several times as long as that: otherwise the
cCREs at its ends are most of it, and each is encoded again in the next one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from creator import BLOCK
from creator.store import Store


class Region(NamedTuple):
    """Genes of one chromosome that are computed together.

    Attributes:
        genes: indices into the store, (G,), ascending.
        elements: the cCREs in reach of any of them, indices into the store, (N,), ascending.
    """

    genes: np.ndarray
    elements: np.ndarray


class Batch(NamedTuple):
    """A region in K cells, as the network takes it."""

    tokens: np.ndarray  # (N, W) int64
    signal: np.ndarray  # (K, N, W, tracks) float32
    positions: np.ndarray  # of the cCREs, (N,) int64, bp
    tss: np.ndarray  # (G,) int64, bp
    layout: np.ndarray  # of each gene's window, (G,) int64, row of `window_layouts`
    allowed: np.ndarray  # cCREs in reach of each gene, (G, N) bool
    gene_tokens: np.ndarray  # of the genes' own windows, (G, 700) int64; (0, 700) where the network does not see them
    gene_signal: np.ndarray  # (K, G, 700, tracks) float32, likewise
    target: np.ndarray  # log1p of TPM, (K, G) float32; 0 where there is none
    weight: np.ndarray  # 1 for genes with a target, else 0, (K, G) float32


def make_regions(store: Store, chromosomes: Iterable[str], most: int) -> list[Region]:
    """Cut chromosomes into regions; genes without a cCRE in reach are in none.

    Args:
        store: the genes and what is in reach of each.
        chromosomes: names.
        most: cCREs of a region; one of a single gene may have more.

    Returns:
        Regions in the order of the genome, which depend on nothing but the store and `most`.
    """
    regions = []
    for name in chromosomes:
        of_chromosome = np.flatnonzero(store.gene_chromosome == store.chromosomes.index(name))
        genes, elements = [], np.array([], np.int64)
        for gene in of_chromosome:
            in_reach = store.in_reach(gene)
            if not len(in_reach):
                continue
            together = np.union1d(elements, in_reach)
            if genes and len(together) > most:
                regions.append(Region(np.array(genes), elements))
                genes, together = [], np.asarray(in_reach, np.int64)
            genes.append(gene)
            elements = together
        if genes:
            regions.append(Region(np.array(genes), elements))
    return regions


def reach_mask(store: Store, region: Region) -> np.ndarray:
    """Return which cCREs of a region are in reach of which of its genes, booleans, (G, N)."""
    allowed = np.zeros((len(region.genes), len(region.elements)), bool)
    for row, gene in enumerate(region.genes):
        allowed[row, np.searchsorted(region.elements, store.in_reach(gene))] = True
    return allowed


def window_layouts(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct windows of genes relative to their TSS, and which of them each gene has.

    Returns:
        Coordinates of blocks, the TSS last, (layouts, 141) int64, and row of each gene, (genes,).
    """
    windows = np.empty((len(store.gene_tss), len(store.gene_window(0)[::BLOCK]) + 1), np.int64)
    for gene, tss in enumerate(store.gene_tss):
        windows[gene] = np.append(store.gene_window(gene)[::BLOCK], tss) - tss
    layouts, layout_of = np.unique(windows, axis=0, return_inverse=True)
    return layouts, layout_of.reshape(-1)


def read_batch(store: Store, region: Region, cells: Sequence[int], layout_of: np.ndarray, promoter: bool) -> Batch:
    """Read what the network needs for a region in some cells.

    Args:
        store: of the region.
        region: genes and cCREs.
        cells: indices, (K,).
        layout_of: of each gene of the store, see `window_layouts`.
        promoter: the network sees sequence and signal of the genes' own windows.
    """
    expression = np.log1p(store.expression[region.genes][:, list(cells)].T)
    measured = np.isfinite(expression)
    seen = region.genes if promoter else region.genes[:0]
    return Batch(
        np.asarray(store.tokens[region.elements], np.int64),
        np.stack([store.read_signal(cell, region.elements) for cell in cells]),
        store.element_position(region.elements),
        np.asarray(store.gene_tss[region.genes]),
        layout_of[region.genes],
        reach_mask(store, region),
        np.asarray(store.gene_tokens[seen], np.int64),
        np.stack([store.read_gene_signal(cell, seen) for cell in cells]),
        np.where(measured, expression, 0).astype(np.float32),
        measured.astype(np.float32),
    )


def encoding_ratio(regions: Sequence[Region]) -> float:
    """Return how often a cCRE of these regions is encoded for one pass over them in one cell; 1 is the least."""
    encoded = sum(len(region.elements) for region in regions)
    return encoded / len(np.unique(np.concatenate([region.elements for region in regions])))
