"""Files that a run leaves behind: written whole or not at all, hashed, claimed by the process that writes them."""

import contextlib
import csv
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lcre import InputError, examples, locks


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, of the same suffix; on success it becomes `path` in one step.

    A reader never sees half a file, and a full disk or a stop leaves the earlier file as it was.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~current_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, stem: str) -> None:
    """Remove the temporary files that killed processes left in `folder`; no other process may be writing there.

    Args:
        folder: where `replacing` was used.
        stem: pattern of the names without suffix that it was used for.
    """
    leftover = re.compile(rf"\.(?:{stem})-[a-z0-9_]{{8}}\.[a-z]+")
    for path in folder.glob(".*-*"):
        if leftover.fullmatch(path.name):
            path.unlink(missing_ok=True)


def current_umask() -> int:
    """Return the process's umask (which can only be read by setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict) -> None:
    """Write `content` to `path` as JSON in one step."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_csv(path: Path, frame) -> None:
    """Write a pandas frame to `path` in one step, without its index."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)


def read_rows(path: Path) -> list[dict]:
    """Return the whole rows of the CSV at `path` as dicts of strings; a last row cut short is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")  # cut in the middle of a letter
    try:
        rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
    except csv.Error:  # a cell of more letters than any of ours
        return []
    return [row for row in rows if None not in row and None not in row.values()]


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write `rows` (dicts of the same keys) to the CSV at `path` in one step; no rows, no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the file at `path` in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_memory_bytes() -> int | None:
    """Return the largest resident memory of this process so far, in bytes; None where the system cannot say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# ----------------------------------------------------------------------------------------- a run's record
# Settings in which starts of one run may differ: files count by content, and a run may grow by other chromosomes.
FREE_TO_DIFFER = {"SAVED_MODELS", "DATASET", "FASTA", "GTF", "TPM", "VALIDATION_GENES", "CHROMOSOMES"}
TABLES = ("run.json", "result.csv", "predictions.csv", "genes.csv", "report.html")  # of a run, besides its folds


def describe_run(settings: dict, version: str, argv: Sequence[str], more: dict) -> dict:
    """Return what O_run.json says at the start of a run: settings, versions, hashes of the inputs, and `more`."""
    inputs = {}
    for name in ("FASTA", "GTF", "TPM", "VALIDATION_GENES"):
        if settings[name] is not None:
            path = Path(settings[name])
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


def open_run(prefix: Path, run: dict, overwrite: bool, held: contextlib.ExitStack) -> dict:
    """Make the folder of a run ready, claim its folds and return its record: the earlier one where a run goes on.

    Folds that earlier starts trained and this one does not hold out stay part of the run.

    Args:
        prefix: saved_models/O; a fold C has the folder saved_models/O_model_C.
        run: as `describe_run` gives it, with the names of the folds and the chromosomes that each holds out.
        overwrite: delete an earlier run of this prefix.
        held: keeps the claims on the folds until it is closed.

    Raises:
        InputError: a run of other settings or inputs is there, or files of no run; a fold is being trained by another
            process, or its chromosomes are held out by other folds; the folder cannot be written.
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
        if earlier is None and not overwrite and any(fold_folder(prefix, name).exists() for name in folds):
            raise InputError(f"{prefix}_model_* is there without {record.name}; give --overwrite, or another ORGANISM")
        if earlier is not None and not overwrite:
            refuse_other_run(record, earlier, run)
        for name in folds if overwrite else run["folds"]:
            folder = fold_folder(prefix, name)
            held.enter_context(locks.claim(folder.with_name(f".{folder.name}.lock"), f"fold {name} of {prefix}"))
        remove_leftovers(prefix.parent, f"{re.escape(prefix.name)}_(?:run|result|predictions|genes|report)")
        if overwrite:
            for name in folds:
                shutil.rmtree(fold_folder(prefix, name), ignore_errors=True)
            for name in TABLES:
                Path(f"{prefix}_{name}").unlink(missing_ok=True)
        elif earlier is not None:
            run = join_runs(record, earlier, run)
        write_json(record, run)
    return run


def join_runs(record: Path, earlier: dict, run: dict) -> dict:
    """Return the record of a run that goes on: the earlier one, with the folds of this start in front.

    Raises:
        InputError: a fold of this start holds out a chromosome that another fold of the run holds out already.
    """
    before = held_out_chromosomes(earlier)
    for name, chromosomes in run["held_out"].items():
        for other, theirs in before.items():
            if other != name and (shared := set(chromosomes) & set(theirs)):
                raise InputError(
                    f"CHROMOSOMES: fold {other} of {record} holds out {examples(sorted(shared))} already, and fold "
                    f"{name} would again; give another ORGANISM"
                )
    more = {name: chromosomes for name, chromosomes in before.items() if name not in run["held_out"]}
    return earlier | {
        "folds": [*run["folds"], *more],
        "held_out": run["held_out"] | more,
        "settings": earlier["settings"] | {"CHROMOSOMES": run["settings"]["CHROMOSOMES"]},
        "finished": earlier.get("finished") if set(run["folds"]) <= set(before) else None,
    }


def held_out_chromosomes(run: dict) -> dict[str, list[str]]:
    """Return the chromosomes that each fold of a run holds out; in older records they are the fold's name."""
    return {name: run.get("held_out", {}).get(name) or name.split("+") for name in run["folds"]}


def read_run(record: Path) -> dict:
    """Return what O_run.json says; raise InputError where it is not the record of a run."""
    try:
        run = json.loads(record.read_text(encoding="utf-8"))
        if {"settings", "inputs", "folds"} <= set(run):
            return run
    except (ValueError, TypeError):
        pass
    raise InputError(f"{record} is not the record of a run; remove it, or give another ORGANISM")


def refuse_other_run(record: Path, earlier: dict, run: dict) -> None:
    """Raise InputError that says in what `run` differs from the `earlier` one, if it does."""
    before, after = earlier["settings"], run["settings"]
    differing = [
        f"{name} is {after[name]} and was {before.get(name)}"
        for name in after
        if name not in FREE_TO_DIFFER and after[name] != before.get(name)
    ]
    before, after = earlier["inputs"], run["inputs"]
    differing += [
        f"{name} is another file than {before.get(name, {}).get('file', 'none')} was"
        for name in {**before, **after}
        if before.get(name, {}).get("sha256") != after.get(name, {}).get("sha256")
    ]
    if differing:
        raise InputError(
            f"{record} is a run with other settings: {'; '.join(differing)}. Give the same to go on, --overwrite to "
            "begin anew, or another ORGANISM to keep both"
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
            run["cpu_seconds"] = round(run["cpu_seconds"] + time.process_time(), 1)
        run["peak_memory_bytes"] = max(run["peak_memory_bytes"] or 0, peak_memory_bytes() or 0) or None
        run["device"] = device or run["device"]
        run["finished"] = (run["finished"] or now()) if finished else None
        if finished and (device or "models" not in run):  # trained just now: whoever loads them can tell them
            files = {name: folder / "best_model.keras" for name, folder in folders.items()}
            run["models"] = {name: hash_file(path) for name, path in files.items() if path.exists()}
        write_json(record, run)
    return finished


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
