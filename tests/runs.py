"""A finished run whose networks are known by hand: each adds one weight for every base of a window."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from genomes import Gene, read_window

from lcre import records

UPSTREAM, DOWNSTREAM, PADDING = 60, 40, 4
COLUMNS = 2 * (UPSTREAM + DOWNSTREAM) + PADDING


@dataclass
class ToyRun:
    """Where the run is, and what its folds answer."""

    prefix: Path
    weights: dict[str, np.ndarray]  # fold -> (columns, 4)

    def probability(self, fold: str, window: str) -> float:
        """The answer of a fold to a window given as letters; anything but ACGT counts nothing."""
        at = [("ACGT".index(base), column) for column, base in enumerate(window) if base in "ACGT"]
        return 1 / (1 + np.exp(-sum(self.weights[fold][column, base] for base, column in at)))

    def of_gene(self, fold: str, sequence: str, gene: Gene) -> float:
        """The answer of a fold to a gene, read off its chromosome base by base."""
        return self.probability(fold, read_window(sequence, gene, UPSTREAM, DOWNSTREAM, PADDING, masked=3))


def save_adder(path: Path, weights: np.ndarray) -> None:
    """Write a network that adds weights, (columns, 4), and takes the sigmoid."""
    from keras import Sequential, layers

    model = Sequential([layers.Input(weights.shape), layers.Flatten(), layers.Dense(1, "sigmoid", use_bias=False)])
    model.set_weights([weights.reshape(-1, 1)])
    model.save(path)


def write_run(prefix: Path, folds: list[str], genes: list[Gene], inputs: dict[str, Path], seed: int = 1) -> ToyRun:
    """Write a finished run of these folds; genes of the held-out chromosomes are test, the others train."""
    random = np.random.default_rng(seed)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    weights = {fold: random.normal(0, 0.1, (COLUMNS, 4)).astype(np.float32) for fold in folds}
    hashes = {}
    for fold in folds:
        folder = records.fold_folder(prefix, fold)
        folder.mkdir()
        save_adder(folder / "best_model.keras", weights[fold])
        hashes[fold] = records.hash_file(folder / "best_model.keras")
        roles = [(gene.gene_id, "test" if gene.chromosome in fold.split("+") else "train") for gene in genes]
        lines = ["gene_id,role", *(f"{name},{role}" for name, role in roles)]
        (folder / "genes.csv").write_text("\n".join(lines) + "\n")
    record = {
        "settings": {"UPSTREAM": UPSTREAM, "DOWNSTREAM": DOWNSTREAM, "PADDING": PADDING},
        "inputs": {
            name: {"file": path.name, "bytes": path.stat().st_size, "sha256": records.hash_file(path)}
            for name, path in inputs.items()
        },
        "folds": folds,
        "finished": "2026-01-01T00:00:00+00:00",
        "models": hashes,
    }
    Path(f"{prefix}_run.json").write_text(json.dumps(record))
    return ToyRun(prefix, weights)
