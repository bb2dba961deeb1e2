"""What the constants of lcre_classifier.py may be, and what a data set puts in place of None."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from core import InputError, examples, show_value
from core.cli import Rule, show_setting
from core.executor import check_scheduler
from core.files import check_file
from lcre.controls import CONTROLS
from lcre.hold_out import WAYS, way_of

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
    "HOLD_OUT": Rule(str),
    "FAMILIES": FILE,
    "FOLDS": Rule(int, least=2, most=100),
    "SPECIES": FILE,
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
    "JOBS": Rule(int, optional=True, least=1, most=1000),
    "SCHEDULER": Rule(str, optional=True),
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


# --------------------------------------------------------------------------------------------- several species
SPECIES_FILES = (*FILES, "VALIDATION_GENES")
SPECIES_COLUMNS = ("ORGANISM", *SPECIES_FILES, "PICKLE_KEY", "TARGET_COLUMN")  # in lower case; all constants
MOST_SPECIES = 1000  # rows of the table


def read_species(path: str | Path) -> list[dict]:
    """Read a table of species, a row each: the columns organism, fasta, gtf and tpm, and those of `SPECIES_COLUMNS`.

    Returns:
        For each species the constants that it puts in place of the run's: `SPECIES_COLUMNS`, without TARGET_COLUMN
        where the table names none. Files are relative to the table.

    Raises:
        InputError: no such table, a column, a cell or a file that is missing, fewer than two species or more than
            `MOST_SPECIES`, a name that stands twice or cannot be an ORGANISM.
    """
    from core.tables import read_columns

    columns = [name.lower() for name in SPECIES_COLUMNS]
    table = read_columns(path, columns[:4], "SPECIES", optional=columns[4:], most=MOST_SPECIES)
    species = []
    for where, row in table.iterrows():
        one = dict.fromkeys(SPECIES_COLUMNS) | {name.upper(): cell.strip() or None for name, cell in row.items()}
        missing = [name.lower() for name in SPECIES_COLUMNS[:4] if one[name] is None]
        if missing:
            raise InputError(f"SPECIES: {where} of {path} has no {examples(missing, 4)}")
        check_organism(one["ORGANISM"], f"SPECIES: organism of {where} of {path}")
        if one["ORGANISM"] in ("all", "pooled"):  # CHROMOSOMES all means each of them; a row of the result table
            raise InputError(f"SPECIES: {path} calls a species {one['ORGANISM']!r}, which means all of them; rename it")
        for name in SPECIES_FILES:
            if one[name] is not None:
                file = Path(path).parent / Path(one[name]).expanduser()
                what = f"SPECIES: {name.lower()} of {one['ORGANISM']}"
                if not os.path.exists(file):  # a name that is too long is no file either
                    shown = show_value(file, 300)
                    raise InputError(f"{what}: no file {shown}; paths in {path} begin in the folder of that table")
                one[name] = check_file(file, what)
        if one["TARGET_COLUMN"] is None:
            del one["TARGET_COLUMN"]
        species.append(one)
    names = [one["ORGANISM"].casefold() for one in species]
    twice = [one["ORGANISM"] for place, one in enumerate(species) if names[place] in names[:place]]
    if twice:
        raise InputError(f"SPECIES: {path} names {examples(twice)} twice; capitals make no difference")
    if len(species) < 2:
        raise InputError(f"SPECIES: {path} has one species; one is held out and another trains, so give two at least")
    return species


def name_species_run(organisms: Sequence[str]) -> str:
    """Return the ORGANISM of a run of several species: their names, or how many there are if that is too long."""
    joined = "_and_".join(organisms)
    return joined if len(os.fsencode(joined)) <= MOST_ORGANISM else f"{len(organisms)}_species"


def input_files(settings: Mapping) -> dict[str, Path]:
    """Return the files that a run reads, by the names that its record gives them: GTF, or of a species `yeast GTF`."""
    names = (*FILES, "VALIDATION_GENES", "FAMILIES", "SPECIES")
    files = {name: Path(settings[name]) for name in names if settings.get(name) is not None}
    if way_of(settings) == "species":
        for one in read_species(settings["SPECIES"]):
            files |= {f"{one['ORGANISM']} {name}": one[name] for name in SPECIES_FILES if one[name] is not None}
    return files


def check_hold_out(values: Mapping) -> None:
    """Raise InputError where a table that HOLD_OUT needs is not given, or one that belongs to another way is."""
    way = values["HOLD_OUT"]
    for name, needs, what in (
        ("FAMILIES", "family", "a table gene_id,family, as lcre_homology.py writes it (families.csv)"),
        ("SPECIES", "species", "a table of species with the columns organism,fasta,gtf,tpm"),
    ):
        if way == needs and values[name] is None:
            raise InputError(f"HOLD_OUT {way} needs {name}: {what}")
        if way != needs and values[name] is not None:
            raise InputError(f"{name} is given, but HOLD_OUT is {way}; give HOLD_OUT {needs}, or no {name}")
    own = [name for name in (*SPECIES_FILES, "PICKLE_KEY") if values[name] is not None]
    if way == "species" and own:
        raise InputError(f"{' and '.join(own)} given with HOLD_OUT species: what each species has stands in SPECIES")


# --------------------------------------------------------------------------------------------------- all of them
MOST_ORGANISM = 100  # bytes


def check_organism(name: str, what: str) -> None:
    """Raise InputError unless a name may be an ORGANISM; `what` says where it stands."""
    if not re.fullmatch(r"[\w+][\w.+-]*", name) or len(os.fsencode(name)) > MOST_ORGANISM:
        raise InputError(
            f"{what}: {show_setting(name)} becomes part of file names; use at most 100 letters and digits, none of . "
            "and - in front"
        )


def with_absolute_paths(settings: SimpleNamespace) -> SimpleNamespace:
    """Return the settings with absolute paths, for a process in another folder."""
    paths = {name: os.path.abspath(value) for name, value in vars(settings).items() if value and is_path(name)}
    return SimpleNamespace(**vars(settings) | paths)


def is_path(name: str) -> bool:
    """Tell whether a constant names a file or a folder."""
    return name in RULES and RULES[name].kind is Path


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
            in part, files of the data set that are not there, a table of families or species that is missing or wrong.
    """
    values = {name: RULES[name].check(name, value) for name, value in values.items()}
    values["MODEL"] = FORMER_MODELS.get(values["MODEL"], values["MODEL"])
    values["CONTROL"] = None if values["CONTROL"] == "none" else values["CONTROL"]
    choices = {"DATASET": datasets, "HOLD_OUT": WAYS, "SELECT_ON": ("validation", "test"), "MODEL": models}
    choices["CONTROL"] = (None, *CONTROLS)
    for name, known in choices.items():
        if values[name] not in known:
            several = "; --controls trains several" if name == "CONTROL" else ""
            known = ", ".join(choice for choice in known if choice)
            raise InputError(f"{name}: {show_setting(values[name])} is none of {known}{several}")
    check_hold_out(values)
    if values["HOLD_OUT"] != "family":
        values["FOLDS"] = None  # no other way has a number of folds
    if values["HOLD_OUT"] == "species":
        chosen = {"ORGANISM": name_species_run([one["ORGANISM"] for one in read_species(values["SPECIES"])])}
    else:
        chosen = choose_files(values, datasets[values["DATASET"]], roots)
    if values["FASTA"] or values["GTF"] or values["SPECIES"]:
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
    check_organism(values["ORGANISM"], "ORGANISM")
    check_scheduler(values["SCHEDULER"], "SCHEDULER")
    return SimpleNamespace(**values)
