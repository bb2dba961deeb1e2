"""A finished run whose networks are known by hand: each adds one weight for every base of a window.

And records of runs as they are when they were edited or damaged, or written by another version.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from genomes import Gene, read_window

from core.files import hash_file
from lcre import records

UPSTREAM, DOWNSTREAM, PADDING = 60, 40, 4
COLUMNS = 2 * (UPSTREAM + DOWNSTREAM) + PADDING
HOSTILE = {  # names that are only names, whatever they mean to a browser, to matplotlib or to a font
    "markup": "<script>alert(1)</script>\"'&amp;]]>",
    "formula": "$x^{2}$ \\frac{a} $\\badcommand{$",
    "one dollar": "US$ 5",
    "control characters": "a\x00b\x1b[31mc\x7f",
    "not characters": "\ufffe\uffff",
    "half a pair": "\ud800",
    "emoji": "\U0001f9ec\U0001f600",
    "right to left": "\u202eabc \u05d0",
    "combining": "a" + "\u0301" * 50,
    "Chinese": "染色体",
    "line break": "a\nb",
    "long": "x" * 5000,
    "a colour": "#0069ad; fill: #0069ad",
}


@dataclass
class ToyRun:
    """Where the run is, and the weights of its folds' networks."""

    prefix: Path
    weights: dict[str, np.ndarray]  # fold -> (columns, 4)

    def probability(self, fold: str, window: str) -> float:
        """Return what a fold predicts for a window of letters; anything but ACGT counts nothing."""
        at = [("ACGT".index(base), column) for column, base in enumerate(window) if base in "ACGT"]
        return 1 / (1 + np.exp(-sum(self.weights[fold][column, base] for base, column in at)))

    def of_gene(self, fold: str, sequence: str, gene: Gene) -> float:
        """Return what a fold predicts for a gene, read off its chromosome base by base."""
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
        hashes[fold] = hash_file(folder / "best_model.keras")
        roles = [(gene.gene_id, "test" if gene.chromosome in fold.split("+") else "train") for gene in genes]
        lines = ["gene_id,role", *(f"{name},{role}" for name, role in roles)]
        (folder / "genes.csv").write_text("\n".join(lines) + "\n")
    record = {
        "settings": {"UPSTREAM": UPSTREAM, "DOWNSTREAM": DOWNSTREAM, "PADDING": PADDING},
        "inputs": {
            name: {"file": path.name, "bytes": path.stat().st_size, "sha256": hash_file(path)}
            for name, path in inputs.items()
        },
        "folds": folds,
        "finished": "2026-01-01T00:00:00+00:00",
        "models": hashes,
    }
    Path(f"{prefix}_run.json").write_text(json.dumps(record))
    return ToyRun(prefix, weights)


# ------------------------------------------------------------------------------------------ damaged records
def put(value, *names: str) -> Callable[[dict], bytes]:
    """Return what writes a record with `value` in place of what stands under `names`."""

    def change(record: dict) -> bytes:
        changed = json.loads(json.dumps(record))
        inside = changed
        for name in names[:-1]:
            inside = inside.setdefault(name, {})
        inside[names[-1]] = value
        return json.dumps(changed).encode()

    return change


def put_text(text: str) -> Callable[[dict], bytes]:
    """Return what writes a record with a field `more` that holds `text`, which need not be JSON."""
    return lambda record: json.dumps(record | {"more": "HERE"}).replace('"HERE"', text).encode()


SIZES = ("UPSTREAM", "DOWNSTREAM", "PADDING")
DAMAGE = {  # what happened -> what writes the file, and what the message says
    **{
        f"folds {value!r}": (put(value, "folds"), "a list of different names")
        for value in (
            *([1], [["1"]], 3, None, {}, [], ["1", "1"], [""], "1", [True], [None], ["a\0"], ["a\nb"], ["\ud800"]),
            ["1", 2],
        )
    },
    **{
        f"{name} {value!r}": (put(value, "settings", name), f"settings: {name} is {json.dumps(value)} where a whole")
        for name in SIZES
        for value in (1e12, "1000", -1, True, 10**30, 60.0, None)
    },
    **{
        f"{' '.join(names)} {value!r}": (put(value, *names), f"{names[-1]} is ")
        for names, values in (
            (("settings",), ([], 3, None, {"SEED": {}}, {"SEED": [[1]]})),
            (("settings", "DATASET"), ([], 3)),
            (("settings", "FASTA"), ([], 3)),
            (("inputs",), ([], None, {"FASTA": None}, {"FASTA": "genome.fa"}, {"GTF": []})),
            (("inputs", "FASTA", "sha256"), (3, None, "0", "G" * 64)),
            (("inputs", "GTF", "bytes"), ("3", -1, None)),
            (("inputs", "GTF", "file"), (3, None)),
            (("finished",), (5, True, [])),
            (("models",), ([], None, {"1": 5}, {"1": "0"})),
            (("notes",), ("text", [1], None)),
            (("warnings",), ({}, [["a"]], None)),
            (("funnel",), ({}, [1], [{"chromosome": 1}], [{"chromosome": "1", "in table": -1}], None)),
            (("audit",), ([], {"share_N": -0.5}, {"coding_genes": 1e300}, None)),
            (("seconds",), ("text", -1, None, True, 1e300)),
            (("cpu_seconds",), ("text",)),
            (("peak_memory_bytes",), ("text", -1)),
            (("versions",), ([], {"python": 3})),
            (("device",), (3,)),
            (("organism",), (3,)),
            (("started",), (3,)),
        )
        for value in values
    },
    "input without a hash": (put({"file": "a", "bytes": 1}, "inputs", "FASTA"), "inputs: FASTA has no sha256"),
    "Infinity": (put_text("Infinity"), "Infinity where a finite number"),
    "NaN": (put_text("[NaN]"), "NaN where a finite number"),
    "1e999": (put_text("1e999"), "1e999 where a finite number"),
    "5,000 digits": (put_text("9" * 5000), "a whole number of 5,000 digits"),
    "200,000 lists": (lambda record: b"[" * 200_000, "nested too deeply"),
    "200,000 objects": (put_text('{"a":' * 200_000), "nested too deeply"),
    "invalid UTF-8": (lambda record: json.dumps(record).encode().replace(b"folds", b"f\xffolds"), "not UTF-8"),
    "UTF-16": (lambda record: json.dumps(record).encode("utf-16"), "not UTF-8"),
    "empty": (lambda record: b"", "not JSON"),
    "zeros": (lambda record: bytes(100), "not JSON"),
    "cut": (lambda record: json.dumps(record).encode()[:-20], "not JSON"),
    "a list": (lambda record: b"[]", "it is [] where an object"),
    "a number": (lambda record: b"7", "it is 7 where an object"),
    "null": (lambda record: b"null", "it is null where an object"),
}


def of_older_version(record: dict) -> bytes:
    """Write a record as older versions did, without what was added since, and with fields that are not known today."""
    added = {"cpu_seconds", "peak_memory_bytes", "models", "device", "versions", "audit", "seconds", "defaults"}
    kept = {name: value for name, value in record.items() if name not in added}
    kept["settings"] = kept.get("settings", {}) | {"GONE": [1, "a"], "ALSO": 2.5}
    return b"\xef\xbb\xbf" + json.dumps(kept | {"later": {"a": [{"b": None}]}, "other": -1}).encode()
