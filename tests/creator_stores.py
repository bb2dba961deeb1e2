"""A tiny store with a rule that a network can learn, written without `prepare`, so that every number is known.

Three chromosomes of 12 genes each, 20 kb apart; each gene has a cCRE 1 kb before its TSS and one 2 kb behind it, and a
reach of 3 kb, but for the last gene of a chromosome, which has none. log1p of a gene's TPM is half the height of the
track `up` on its first cCRE; the track `noise` and the second cCRE mean nothing.
"""

import json
from pathlib import Path

import numpy as np

from creator import GENE_WINDOW
from creator.store import FORMAT

CELLS, CHROMOSOMES, TRACKS = ("A", "B", "C"), ("1", "2", "3"), ("up", "noise")
GENES, STEP, WIDTH, REACH = 12, 20_000, 20, 3000
NETWORK = {"width": 16, "heads": 2, "hidden": 16, "element_layers": 1, "regulation_layers": 2}


def write_store(path: Path, tracks=TRACKS, seed=1, change=None, **options) -> Path:
    """Write the store; `change` takes the arrays, a dict by name, before they are written."""
    random = np.random.default_rng(seed)
    on = np.repeat(np.arange(len(CHROMOSOMES)), GENES)
    tss = np.tile(10_000 + STEP * np.arange(GENES), len(CHROMOSOMES))
    with_elements = np.flatnonzero(np.arange(len(on)) % GENES < GENES - 1)
    starts = (tss[with_elements, None] + [-1010, 1990]).reshape(-1)
    count = len(starts)
    heights = random.uniform(0, 4, (len(CELLS), count, len(tracks)))
    log1p = np.full((len(on), len(CELLS)), 1.0)
    log1p[with_elements] = heights[:, ::2, 0].T / 2
    counts = np.zeros(len(on), np.int64)
    counts[with_elements] = 2
    arrays = {
        "element_chromosome": np.repeat(on[with_elements], 2).astype(np.int32),
        "element_start": starts,
        "element_end": starts + WIDTH,
        "element_name": np.array([f"e{number}" for number in range(count)], "S"),
        "tokens": random.integers(1, 5, (count, WIDTH)).astype(np.uint8),
        "gene_chromosome": on.astype(np.int32),
        "gene_tss": tss,
        "gene_strand": np.where(np.arange(len(on)) % 2, -1, 1).astype(np.int8),
        "gene_id": np.array([f"g{number}" for number in range(len(on))], "S"),
        "gene_tokens": np.tile(np.arange(GENE_WINDOW) % 4 + 1, (len(on), 1)).astype(np.uint8),
        "reach_indptr": np.concatenate([[0], np.cumsum(counts)]),
        "reach_indices": np.arange(count, dtype=np.int32),
        "expression": np.expm1(log1p).astype(np.float32),
    }
    for cell in range(len(CELLS)):
        arrays[f"signal_{cell}"] = np.repeat(heights[cell][:, None], WIDTH, axis=1).astype(np.float32)
        arrays[f"gene_signal_{cell}"] = np.zeros((len(on), GENE_WINDOW, len(tracks)), np.float32)
    if change:
        change(arrays)
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    chosen = {
        "width": WIDTH, "crop": "centre", "pad": "both", "token_order": "ACGT", "element_position": "centre",
        "transform": "none", "scale": "none", "reach": REACH, "max_elements": 0, "minus_strand": "reverse",
        "genes": "coding", "signal_type": "float32", "tracks": ",".join(tracks),
    }  # fmt: skip
    manifest = {
        "format": FORMAT,
        "finished": True,
        "options": chosen | options,
        "tracks": list(tracks),
        "cells": list(CELLS),
        "chromosomes": list(CHROMOSOMES),
        "signal_tracks": [list(tracks)] * len(CELLS),
        "counts": {"elements": count, "genes": len(on), "pairs": count},
        "inputs": {},
        "columns": {},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path
