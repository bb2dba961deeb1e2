"""The record of a run, O_run.json, and who may write the run: read, checked, compared, claimed, closed."""

import contextlib
import hashlib
import json
import math
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from core import InputError, examples, locks, show_value
from core.files import hash_file, remove_leftovers, write_json
from core.memory import peak_memory_bytes
from lcre.hold_out import WAYS, way_of
from lcre.settings import FORMER_MODELS, input_files

# Settings in which starts of one run may differ: files count by content, and a run may grow by other folds.
FREE_TO_DIFFER = {"SAVED_MODELS", "DATASET", "FASTA", "GTF", "TPM", "VALIDATION_GENES", "FAMILIES", "SPECIES"}
FREE_TO_DIFFER |= {"CHROMOSOMES", "JOBS", "SCHEDULER"}
ADDED_SETTINGS = {"HOLD_OUT": "chromosome"}  # that older records lack -> the value that they were trained with
TABLES = (  # of a run, besides its folds
    *("run.json", "result.csv", "result_mqc.tsv", "predictions.csv", "genes.csv", "report.html"),
    *("audit.csv", "audit_bins.csv", "controls.csv"),
)


def describe_run(settings: dict, version: str, argv: Sequence[str], more: dict) -> dict:
    """Return what O_run.json says at the start of a run: settings, versions, hashes of the inputs, and `more`."""
    inputs = {}
    for name, path in input_files(settings).items():
        inputs[name] = {"file": path.name, "bytes": path.stat().st_size, "sha256": hash_file(path)}
    packages = ("tensorflow", "keras", "numpy", "pandas", "pyranges", "pyfaidx", "scikit-learn")
    return {
        "lcre_version": version,
        "organism": settings["ORGANISM"],
        "command": " ".join(["lcre_classifier.py", *argv]),
        "started": now(),
        "finished": None,
        "seconds": 0.0,
        "cpu_seconds": 0.0,
        "peak_memory_bytes": None,
        "device": "",
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()},
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in packages},
        "inputs": inputs,
        **more,
    }


def version_of(package: str) -> str | None:
    """Return the version of an installed package; None where it is installed under another name (tensorflow-cpu)."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def lock_tables(prefix: Path) -> contextlib.AbstractContextManager:
    """Hold the lock under which a run's record and tables are written, so that no process undoes another's."""
    return locks.wait_for(prefix.parent / f".{prefix.name}.lock")


def lock_fold(prefix: Path, name: str) -> contextlib.AbstractContextManager:
    """Hold the lock of who trains a fold; the claim on it is held by the process that was started for it."""
    return locks.wait_for(worker_lock(fold_folder(prefix, name)))


def worker_lock(folder: Path) -> Path:
    """Return the lock file of who trains the fold that has this folder."""
    return folder.with_name(f".{folder.name}.worker.lock")


def require_same_inputs(settings: dict, hashes: dict[str, str]) -> None:
    """Raise InputError unless the files of a run have these SHA-256."""
    for name, path in input_files(settings).items():
        if hash_file(path) != hashes.get(name):
            raise InputError(f"{name}: {path} has changed since this run was started; start it again")


@contextlib.contextmanager
def unchanged_inputs(settings: dict) -> Iterator[None]:
    """Raise InputError at the end of the block if a file of a run has been changed in it, by its size and time.

    What is read and what is hashed are then of the same content.
    """
    before = look_at_inputs(settings)
    yield
    for name, seen in look_at_inputs(settings).items():
        if seen != before.get(name):
            raise InputError(f"{name}: the file was changed while it was read; start again when it is whole")


def look_at_inputs(settings: dict) -> dict[str, tuple | None]:
    """Return inode, size and time of each file of a run; None where there is none."""
    seen = {}
    for name, path in input_files(settings).items():
        try:
            status = path.stat()
        except OSError:
            seen[name] = None  # who reads it says so
        else:
            seen[name] = status.st_ino, status.st_size, status.st_mtime_ns
    return seen


def require_place(folder: Path) -> None:
    """Raise InputError where a folder of runs can neither be written nor made, before anything is read for them."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"SAVED_MODELS: cannot write to {folder}: {there} is a file; name another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"SAVED_MODELS: cannot write to {folder} (Permission denied); name another folder")


def has_content(path: Path) -> bool:
    """Tell whether a path is a file, or a folder that holds one; workflow managers make the folders before a run."""
    return path.is_symlink() or path.is_file() or any(not inside.is_dir() for inside in path.rglob("*"))


def open_run(prefix: Path, run: dict, overwrite: bool, held: contextlib.ExitStack, order: Sequence[str] = ()) -> dict:
    """Make the folder of a run ready, claim its folds and return its record: the earlier one where a run goes on.

    Folds that earlier starts trained and this one does not hold out stay part of the run.

    Args:
        prefix: saved_models/O; a fold C has the folder saved_models/O_model_C.
        run: as `describe_run` gives it, with the names of the folds and the groups that each holds out.
        overwrite: delete an earlier run of this prefix.
        held: keeps the claims on the folds until it is closed.
        order: what can be held out, in the order that the folds of the run take.

    Raises:
        InputError: a run of other settings or inputs is there, or files of no run; a fold is being trained by another
            process, or its groups are held out by other folds; the folder cannot be written.
    """
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=prefix.parent).close()
    except OSError as error:
        raise InputError(
            f"SAVED_MODELS: cannot write to {prefix.parent} ({error.strerror}); name another folder"
        ) from None
    with lock_tables(prefix):
        record = Path(f"{prefix}_run.json")
        earlier = read_run(record) if record.exists() else None
        folds = dict.fromkeys([*run["folds"], *(earlier or {"folds": []})["folds"]])
        if earlier is None and not overwrite and any(has_content(fold_folder(prefix, name)) for name in folds):
            raise InputError(
                f"{prefix}_model_* is there without {record.name}; restore that from a copy, give another ORGANISM, or "
                "--overwrite, which deletes these folds"
            )
        if earlier is not None and not overwrite:
            refuse_other_run(record, earlier, run)
        for name in folds if overwrite else run["folds"]:
            folder = fold_folder(prefix, name)
            held.enter_context(locks.claim(folder.with_name(f".{folder.name}.lock"), f"fold {name} of {prefix}"))
            locks.remove_unheld(worker_lock(folder))  # of a worker that was killed when its fold was finished
        tables = "|".join(re.escape(Path(name).stem) for name in TABLES)
        remove_leftovers(prefix.parent, f"{re.escape(prefix.name)}_(?:{tables})")
        if overwrite:
            for name in folds:
                folder = fold_folder(prefix, name)
                if folder.is_symlink():
                    folder.unlink()
                shutil.rmtree(folder, ignore_errors=True)
            for name in TABLES:
                Path(f"{prefix}_{name}").unlink(missing_ok=True)
        elif earlier is not None:
            run = join_runs(record, earlier, run, order)
        write_json(record, run)
    return run


def join_runs(record: Path, earlier: dict, run: dict, order: Sequence[str]) -> dict:
    """Return the record of a run that goes on: the earlier one, with the folds of this start; others as in `open_run`.

    Raises:
        InputError: a fold of this start holds out a group that another fold of the run holds out already.
    """
    before = held_out_groups(earlier)
    for name, groups in run["held_out"].items():
        for other, theirs in before.items():
            if other != name and (shared := set(groups) & set(theirs)):
                raise InputError(
                    f"CHROMOSOMES: fold {other} of {record} holds out {examples(sorted(shared))} already, and fold "
                    f"{name} would again; give another ORGANISM"
                )
    more = {name: groups for name, groups in before.items() if name not in run["held_out"]}
    held_out = run["held_out"] | more
    joined = {"folds": sort_folds(held_out, order), "held_out": held_out}
    if set(run["folds"]) <= set(before):
        return earlier | joined
    chromosomes = ",".join(joined["folds"]) if more else run["settings"]["CHROMOSOMES"]
    return earlier | joined | {"settings": earlier["settings"] | {"CHROMOSOMES": chromosomes}, "finished": None}


def sort_folds(held_out: dict[str, list[str]], order: Sequence[str]) -> list[str]:
    """Return the names of folds by where in `order` the first group that each holds out stands."""
    places = {name: place for place, name in enumerate(order)}
    return sorted(held_out, key=lambda name: places.get(held_out[name][0], len(places)))


def held_out_groups(run: dict) -> dict[str, list[str]]:
    """Return what each fold of a run holds out: chromosomes, folds of families, or species.

    In older records it is the fold's name.
    """
    return {name: run.get("held_out", {}).get(name) or name.split("+") for name in run["folds"]}


def read_run(record: Path) -> dict:
    """Return the record of a run, O_run.json, with every field that training, prediction and explanation rely on.

    Runs of older versions lack fields that were added later; those that are counted on get the value they begin with.

    Raises:
        InputError: as `read_record`; or no settings, inputs or folds.
    """
    run = read_record(record, required=("settings", "inputs", "folds"))
    for name, value in {"finished": None, "seconds": 0.0, "peak_memory_bytes": None, "device": ""}.items():
        run.setdefault(name, value)
    return run


MOST_RECORD_BYTES = 1 << 28  # a chromosome takes some 200
MOST_DIGITS = 100  # of a whole number: int to float overflows at 309, and str to int takes quadratic time
MOST_BASES = 10_000_000  # of each part of a window; no memory holds windows of more


def read_record(record: Path, required: Sequence[str] = ()) -> dict:
    """Return what O_run.json says, every field that is there of the kind and in the range that the trainer writes.

    Fields that this version does not know are left as they are.

    Args:
        record: the file.
        required: names of the fields that must be there.

    Raises:
        InputError: it cannot be read, is not JSON, lacks a field, or a field holds what the trainer never writes.
    """
    try:
        if not record.is_file():
            raise ValueError("it is not a file")
        if record.stat().st_size > MOST_RECORD_BYTES:
            raise ValueError(f"it has more than {MOST_RECORD_BYTES:,} bytes")
        run = json.loads(
            record.read_bytes().decode("utf-8-sig"),  # an editor may have put a byte order mark in front
            parse_int=parse_whole_number,
            parse_float=parse_number,
            parse_constant=parse_number,
        )
        check_record(run, required)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror})"
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 text (byte {error.start:,})"
    except json.JSONDecodeError as error:
        reason = f"it is not JSON ({error})"
    except ValueError as error:
        reason = str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    else:
        return run
    raise InputError(
        f"{record} is not the record of a run as lcre_classifier.py writes it: {reason}; restore it from a copy, or "
        "remove it and train again with --overwrite"
    )


def parse_whole_number(text: str) -> int:
    """Return a whole number of JSON; raises ValueError where it has too many digits."""
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it holds a whole number of {len(text):,} digits")
    return int(text)


def parse_number(text: str) -> float:
    """Return a number of JSON; raises ValueError for Infinity, NaN and what is too large for a float."""
    if not math.isfinite(float(text)):
        raise ValueError(f"it holds {show_value(text)} where a finite number belongs")
    return float(text)


def check_record(run, required: Sequence[str]) -> None:
    """Raise ValueError that says what is wrong with the parsed record of a run, if anything is."""
    if not isinstance(run, dict):
        raise ValueError(f"it is {show_json(run)} where an object belongs")
    missing = [name for name in required if name not in run]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    check_fields("", run, RECORD_FIELDS)
    check_fields("settings: ", run.get("settings", {}), SETTINGS_FIELDS)
    for name, groups in run.get("held_out", {}).items():
        if "+".join(groups) != name or name not in run.get("folds", []):
            what = WAYS[way_of(run.get("settings", {}))].what
            raise ValueError(f"held_out: {show_value(name)} is {show_json(groups)} where a fold and its {what} belong")
    for name, file in run.get("inputs", {}).items():
        check_fields(f"inputs: {show_value(name)}: ", file, INPUT_FIELDS)
        lacking = [field for field in INPUT_FIELDS if field not in file]
        if lacking:
            raise ValueError(f"inputs: {show_value(name)} has no {', '.join(lacking)}")


def check_fields(where: str, content: dict, fields: dict[str, tuple[str, Callable]]) -> None:
    """Raise ValueError for the first of `fields`, name -> (kind in words, test), that is there and of another kind."""
    for name, (kind, fits) in fields.items():
        if name in content and not fits(content[name]):
            raise ValueError(f"{where}{name} is {show_json(content[name])} where {kind} belongs")


def is_text(value) -> bool:
    """Tell whether a value is text."""
    return isinstance(value, str)


def is_text_or_null(value) -> bool:
    """Tell whether a value is text or null."""
    return value is None or isinstance(value, str)


def is_amount(value) -> bool:
    """Tell whether a value is a number, not negative, that a count, a size or a time may have."""
    return type(value) in (int, float) and 0 <= value <= 1e15


def is_amount_or_null(value) -> bool:
    """Tell whether a value is an amount or null."""
    return value is None or is_amount(value)


def is_window_size(value) -> bool:
    """Tell whether a value is a number of bases that a part of a window may have."""
    return type(value) is int and 0 <= value <= MOST_BASES


def is_way(value) -> bool:
    """Tell whether a value is one that HOLD_OUT may have."""
    return isinstance(value, str) and value in WAYS


def is_sha256(value) -> bool:
    """Tell whether a value is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def is_fold_name(value) -> bool:
    """Tell whether a value may name a fold, and so a folder: text without control characters and surrogates."""
    return isinstance(value, str) and re.fullmatch("[^\\x00-\\x1f\\x7f\\ud800-\\udfff]+", value) is not None


def are_fold_names(value) -> bool:
    """Tell whether a value is a list of names of folds, one at least and none twice."""
    return isinstance(value, list) and all(map(is_fold_name, value)) and 0 < len(value) == len(set(value))


def are_texts(value) -> bool:
    """Tell whether a value is a list of texts."""
    return isinstance(value, list) and all(map(is_text, value))


def is_plain(value) -> bool:
    """Tell whether a value is text, a number, true, false or null, or a list of these."""
    items = value if isinstance(value, list) else [value]
    return all(item is None or isinstance(item, str | int | float) for item in items)


def is_object_of(fits: Callable) -> Callable:
    """Return a test that tells whether a value is an object all of whose values pass the test `fits`."""
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def has_amounts(value) -> bool:
    """Tell whether a value is an object whose numbers are amounts; what is no number in it is free."""
    return isinstance(value, dict) and all(
        is_amount(item) for item in value.values() if isinstance(item, int | float) and not isinstance(item, bool)
    )


def is_funnel(value) -> bool:
    """Tell whether a value is a list of objects, a chromosome each, whose numbers are amounts."""
    return isinstance(value, list) and all(has_amounts(row) and is_text(row.get("chromosome", "")) for row in value)


RECORD_FIELDS = {  # field -> its kind in words, and the test
    "lcre_version": ("text", is_text),
    "organism": ("text", is_text),
    "command": ("text", is_text),
    "started": ("text", is_text),
    "finished": ("text or null", is_text_or_null),
    "seconds": ("a number from 0 to 1e15", is_amount),
    "cpu_seconds": ("a number from 0 to 1e15", is_amount),
    "peak_memory_bytes": ("a number from 0 to 1e15 or null", is_amount_or_null),
    "device": ("text", is_text),
    "settings": ("an object of texts and numbers", is_object_of(is_plain)),
    "defaults": ("an object of texts and numbers", is_object_of(is_plain)),
    "versions": ("an object of texts", is_object_of(is_text_or_null)),
    "inputs": ("an object of objects with file, bytes and sha256", is_object_of(lambda file: isinstance(file, dict))),
    "folds": ("a list of different names", are_fold_names),
    "held_out": ("an object of lists of texts", is_object_of(are_texts)),
    "models": ("an object of SHA-256 by fold", is_object_of(is_sha256)),
    "notes": ("a list of texts", are_texts),
    "warnings": ("a list of texts", are_texts),
    "funnel": ("a list of objects with a chromosome and counts of genes", is_funnel),
    "audit": ("an object of figures from 0 to 1e15", has_amounts),
}
WINDOW_SIZE = (f"a whole number from 0 to {MOST_BASES:,}", is_window_size)
SETTINGS_FIELDS = {
    "UPSTREAM": WINDOW_SIZE,
    "DOWNSTREAM": WINDOW_SIZE,
    "PADDING": WINDOW_SIZE,
    "DATASET": ("text or null", is_text_or_null),
    "FASTA": ("text or null", is_text_or_null),
    "GTF": ("text or null", is_text_or_null),
    "HOLD_OUT": (f"one of {', '.join(WAYS)}", is_way),
}
INPUT_FIELDS = {
    "file": ("text", is_text),
    "bytes": ("a number from 0 to 1e15", is_amount),
    "sha256": ("a SHA-256 in hexadecimal", is_sha256),
}


def show_json(value) -> str:
    """Return a part of a record as messages show it."""
    return show_value(json.dumps(value, ensure_ascii=False))


def list_differences(earlier: dict, run: dict, besides: Sequence[str] = ()) -> list[str]:
    """Return in what the numbers of a run may differ from those of an `earlier` one: settings and inputs, in words.

    Args:
        earlier, run: their records.
        besides: settings that are not looked at, besides those that are free to differ.
    """
    before, after = ADDED_SETTINGS | earlier["settings"], run["settings"]
    before["MODEL"] = FORMER_MODELS.get(before.get("MODEL"), before.get("MODEL"))
    free = FREE_TO_DIFFER.union(besides, () if after.get("CONTROL") == "shifted" else ("SHIFT",))
    differing = [
        f"{name} is {show_value(after[name])} and was {show_value(before.get(name))}"
        for name in after
        if name not in free and after[name] != before.get(name)
    ]
    before, after = earlier["inputs"], run["inputs"]
    for name in {**before, **after}:
        one, other = before.get(name, {}), after.get(name, {})
        if one and not other:
            differing.append(f"{show_value(name)} is not given and was {show_value(one.get('file', 'a file'))}")
        elif one.get("sha256") != other.get("sha256"):
            was = f"{show_value(one.get('file', 'a file'))} was" if one else "before: there was none"
            differing.append(f"{show_value(name)} is another file than {was}")
    return differing


def refuse_other_run(record: Path, earlier: dict, run: dict) -> None:
    """Raise InputError that says in what `run` differs from the `earlier` one, if it does."""
    differing = list_differences(earlier, run)
    if differing:
        more = f"; and {len(differing) - 6} more" if len(differing) > 6 else ""
        raise InputError(
            f"{record} is a run with other settings: {'; '.join(differing[:6])}{more}. Give the same to go on, "
            "--overwrite to begin anew, or another ORGANISM to keep both"
        )


def close_run(prefix: Path, seconds: float, device: str) -> bool:
    """Write what this start has added to the run into O_run.json, and tell whether all its folds are finished."""
    record = Path(f"{prefix}_run.json")
    with lock_tables(prefix):
        run = read_run(record)
        folders = {name: fold_folder(prefix, name) for name in run["folds"]}
        finished = all((folder / "predictions.csv").exists() for folder in folders.values())
        run["seconds"] = round(run["seconds"] + seconds, 1)
        if "cpu_seconds" in run:  # not in runs that were begun before it was kept: a part of it would mislead
            run["cpu_seconds"] = round(run["cpu_seconds"] + sum(os.times()[:4]), 1)  # of its processes too
        run["peak_memory_bytes"] = max(run["peak_memory_bytes"] or 0, peak_memory_bytes(children=True) or 0) or None
        run["device"] = device or run["device"]
        run["finished"] = (run["finished"] or now()) if finished else None
        if finished and (device or "models" not in run):  # trained just now: whoever loads them can tell them
            files = {name: folder / "best_model.keras" for name, folder in folders.items()}
            run["models"] = {name: hash_file(path) for name, path in files.items() if path.exists()}
        write_json(record, run)
    return finished


def forget_models(prefix: Path) -> None:
    """Take the hashes of the models out of O_run.json: one of them is about to be made again."""
    record = Path(f"{prefix}_run.json")
    with lock_tables(prefix):
        run = read_run(record)
        if run.pop("models", None) is not None:
            write_json(record, run)


def identify_run(run: dict) -> str:
    """Return a hash of the settings and inputs on which a run's numbers depend."""
    settings = {name: value for name, value in run["settings"].items() if name not in FREE_TO_DIFFER}
    inputs = {name: known["sha256"] for name, known in run["inputs"].items()}
    return hashlib.sha256(json.dumps([settings, inputs], sort_keys=True).encode()).hexdigest()


def fold_folder(prefix: Path, name: str) -> Path:
    """Return where a fold's files are: saved_models/O_model_C, another folder for every other name.

    Characters that cannot be part of a file name are written as %XX; of a long name the end is a hash.
    """
    name = re.sub(r"[/\\%\x00-\x1f\x7f]", lambda found: f"%{ord(found[0]):02X}", name)
    if len(os.fsencode(name)) > 100:
        name = f"{name[:25]}~{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return Path(f"{prefix}_model_{name}")
