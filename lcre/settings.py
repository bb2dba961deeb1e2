"""What the constants of lcre_classifier.py may be, and what a data set puts in place of None."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from core import InputError
from core.cli import Rule, show_setting
from lcre.controls import CONTROLS

FORMER_MODELS = {"motifs_and_words": "cnn_lstm_kmer"}  # a model's name in runs of older versions -> its name today
FILE = Rule(Path, optional=True)
RULES = {  # of the constants of lcre_classifier.py
    "DATASET": Rule(str),
    "ORGANISM": Rule(str, optional=True),
    "FASTA": FILE,
    "GTF": FILE,
    "TPM": FILE,
    "TARGET_COLUMN": Rule(str),
    "VALIDATION_GENES": FILE,
    "PICKLE_KEY": Rule(str, optional=True),
    "UPSTREAM": Rule(int, optional=True, least=0, most=100_000),
    "DOWNSTREAM": Rule(int, optional=True, least=0, most=100_000),
    "PADDING": Rule(int, least=0, most=10_000),
    "LOW_PERCENTILE": Rule(float),
    "HIGH_PERCENTILE": Rule(float),
    "CHROMOSOMES": Rule(str),
    "SELECT_ON": Rule(str),
    "CONTROL": Rule(str, optional=True),
    "SHIFT": Rule(int, least=1, most=10_000_000),
    "MODEL": Rule(str),
    "EPOCHS": Rule(int, optional=True, least=1, most=1_000_000),
    "BATCH_SIZE": Rule(int, optional=True, least=1, most=1_000_000),
    "LEARNING_RATE": Rule(float, optional=True),
    "SEED": Rule(int, least=0, most=2**63 - 1),
    "SAVED_MODELS": Rule(Path),
}


# -------------------------------------------------------------------------------------------------- data sets
FILES = ("FASTA", "GTF", "TPM")  # a data set needs these; its validation genes are optional


def locate(name: str | Path, roots: Sequence[Path]) -> Path | None:
    """Return where a file of a data set is, plain or gzip: in the first of the folders `roots` that has it, or None."""
    paths = [Path(f"{root / name}{suffix}") for root in roots for suffix in ("", ".gz")]
    return next((path for path in paths if os.path.exists(path)), None)


def missing_files(values: Mapping, dataset: Mapping, roots: Sequence[Path]) -> list[Path]:
    """Return the needed files of a data set that are not there, as they would be named in the first of `roots`.

    Args:
        values: constant -> value; what is given there is not looked for.
        dataset: constant -> what the data set puts in place of None.
        roots: folders.
    """
    if values["FASTA"] or values["GTF"]:  # a species of the user's own
        return []
    needed = [dataset[name] for name in FILES if values[name] is None and name in dataset]
    return [roots[0] / name for name in needed if locate(name, roots) is None]


def choose_files(values: Mapping, dataset: Mapping, roots: Sequence[Path]) -> dict:
    """Return what takes the place of None: of the data set, its files located, or of a species of the user's own.

    Raises:
        InputError: files of an own species given in part, files of the data set that are not there.
    """
    own = [name for name in FILES if values[name] is not None]
    if values["FASTA"] or values["GTF"]:
        if len(own) < len(FILES):
            missing = " and ".join(name for name in FILES if name not in own)
            raise InputError(f"{' and '.join(own)} given without {missing}: a species of your own needs all three")
        stem = Path(values["GTF"]).name.split(".")[0].lower()
        return {"ORGANISM": re.sub(r"[^\w+-]+", "_", stem)[:60]}
    if missing := missing_files(values, dataset, roots):
        name = values["DATASET"]
        raise InputError(
            f"DATASET {name}: {missing[0]} is not there; 'python data/fetch.py {name}' gets it, or says where it comes "
            "from"
        )
    chosen = dict(dataset)
    if values["VALIDATION_GENES"]:
        chosen.pop("PICKLE_KEY", None)  # it is the key of the data set's own list
    for name in (*FILES, "VALIDATION_GENES"):
        if name in chosen:
            chosen[name] = locate(chosen[name], roots)
    return chosen


# --------------------------------------------------------------------------------------------------- all of them
def resolve_settings(
    values: Mapping, datasets: Mapping, fallbacks: Mapping, models: Sequence[str], roots: Sequence[Path] = (Path(),)
) -> SimpleNamespace:
    """Check the settings and fill those left at None from the data set.

    Args:
        values: constant -> value from the command line or the script.
        datasets: name -> what the data set puts in place of None.
        fallbacks: what takes the place of None where the data set has nothing.
        models: the names MODEL may have.
        roots: folders in which the files of data sets are looked for.

    Raises:
        InputError: a value of another type or out of range, an unknown data set or model, files of an own species given
            in part, files of the data set that are not there.
    """
    values = {name: RULES[name].check(name, value) for name, value in values.items()}
    values["MODEL"] = FORMER_MODELS.get(values["MODEL"], values["MODEL"])
    values["CONTROL"] = None if values["CONTROL"] == "none" else values["CONTROL"]
    choices = {"DATASET": datasets, "SELECT_ON": ("validation", "test"), "MODEL": models, "CONTROL": (None, *CONTROLS)}
    for name, known in choices.items():
        if values[name] not in known:
            known = ", ".join(choice or "none" for choice in known)
            raise InputError(f"{name}: {show_setting(values[name])} is none of {known}")
    chosen = choose_files(values, datasets[values["DATASET"]], roots)
    if values["FASTA"] or values["GTF"]:
        values["DATASET"] = None  # nothing is taken from it
    for name, value in (fallbacks | chosen).items():
        if values[name] is None:
            values[name] = value
    if values["UPSTREAM"] + values["DOWNSTREAM"] < 8:
        raise InputError("UPSTREAM + DOWNSTREAM: a window of less than 8 bp holds nothing to learn from")
    rate = values["LEARNING_RATE"]
    if rate is not None and not 0 < rate < 10:
        raise InputError(f"LEARNING_RATE: {rate} is not a learning rate; try 1e-3")
    low, high = values["LOW_PERCENTILE"], values["HIGH_PERCENTILE"]
    if not 0 < low < high < 100:
        raise InputError(
            f"LOW_PERCENTILE {low:g}, HIGH_PERCENTILE {high:g}: need 0 < low < high < 100, as in 25 and 75"
        )
    organism = values["ORGANISM"]
    if not re.fullmatch(r"[\w+][\w.+-]*", organism) or len(os.fsencode(organism)) > 100:
        raise InputError(
            f"ORGANISM: {show_setting(organism)} becomes part of file names; use at most 100 letters and digits, none "
            "of . and - in front"
        )
    return SimpleNamespace(**values)
