"""Files: checked and opened for reading, written whole or not at all, hashed."""

import contextlib
import csv
import gzip
import hashlib
import json
import os
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from core import PATH_LENGTH, InputError, show_value

MOST_NAME = 100  # characters of a file's name; file systems take 255 bytes, of which a suffix and more are needed


# ------------------------------------------------------------------------------------------------- reading
def check_file(path: Path, what: str) -> Path:
    """Return `path` if it is a file with something in it; raise InputError that names `what` otherwise."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{what}: {path} is a folder; give the file itself")
        if not path.exists():
            raise InputError(f"{what}: no file {path}; check the name and the folder you start from")
        if not path.is_file():  # inputs are opened more than once, and a pipe can be read only once
            raise InputError(f"{what}: {path} is not a regular file but a pipe or a device; write it to a file first")
        if not path.stat().st_size:
            raise InputError(f"{what}: {path} is empty; copy or download it again")
    except OSError as error:
        raise InputError(f"{what}: {error.strerror}: {show_value(path, 300)}; give another name") from None
    return path


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether the file is gzip (bgzip is a kind of gzip)."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextlib.contextmanager
def open_text(path: Path, what: str, errors: str = "replace") -> Iterator[TextIO]:
    """Open a plain or gzip text file; damage shows as InputError.

    Args:
        path: the file.
        what: it is, for messages.
        errors: what becomes of bytes that are not UTF-8, as Python's `open` takes it.
    """
    opener = gzip.open if is_gzip(path) else open
    with open(path, "rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):  # what a spreadsheet calls Unicode text
            raise InputError(f"{what}: {path} is text in UTF-16; save it as UTF-8, or as CSV")
    try:
        with opener(path, "rt", encoding="utf-8-sig", errors=errors) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{what}: {path} is a damaged gzip file ({error}); download it again") from None
    except OSError as error:
        raise InputError(f"{what}: {path} cannot be read ({error.strerror or error})") from None


# ------------------------------------------------------------------------------------------------- writing
@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, of the same suffix; on success it becomes `path` in one step.

    A reader never sees half a file, and a full disk or a stop leaves the earlier file as it was.
    """
    path = Path(path)
    if not path.is_symlink() and (path.is_dir() or path.is_char_device() or path.is_block_device()):
        raise InputError(f"{path} is a folder or a device where a file is to be written; give another name, or move it")
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


def file_names(names: Iterable[str]) -> list[str]:
    """Return the name of a file for each name, without suffix, no two of which are one on any file system.

    A name of ASCII letters, digits and `_.+-` stays as it is. In another, each other character becomes an underscore,
    it is cut where it is long, and the first digits of its SHA-256 are added; so they are where names differ only in
    case, which some file systems do not tell apart.
    """
    names = list(names)
    plain = [re.sub(r"[^A-Za-z0-9_.+-]|^\.", "_", name)[:MOST_NAME] or "_" for name in names]
    alike = Counter(name.lower() for name in plain)
    return [
        short if short == name and alike[short.lower()] == 1 else f"{short}-{hash_text(name)[:12]}"
        for short, name in zip(plain, names, strict=True)
    ]


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


def read_json(path: Path) -> dict | None:
    """Return the JSON object at `path`; None where there is no such file, or none that is whole."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


FORMULA = r"'*[=+\-@\t\r]."  # how a cell begins that a spreadsheet computes, or one that has been escaped


def escape_cell(cell: str) -> str:
    """Return a name as a cell that stays text in a spreadsheet: with an apostrophe before what begins a formula.

    Numbers such as -0.5, and a sign alone, stay as they are. `unescape_cells` takes the apostrophe away.
    """
    if not re.match(FORMULA, cell, re.DOTALL):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def unescape_cells(cells):
    """Return a pandas series of str without the apostrophes of `escape_cell`."""
    if not cells.str.startswith("'").any():  # of millions of cells this takes a tenth of the time
        return cells
    return cells.str.replace(f"^'(?={FORMULA})", "", regex=True, flags=re.DOTALL)


def escape_names(frame):
    """Return a pandas frame whose cells of text are escaped by `escape_cell`."""
    names = frame.select_dtypes(exclude=["number", "bool"]).columns
    escaped = {
        name: frame[name].map(lambda cell: escape_cell(cell) if isinstance(cell, str) else cell) for name in names
    }
    return frame.assign(**escaped)


def write_csv(path: Path, frame) -> None:
    """Write a pandas frame to `path` in one step, without its index; its names are escaped by `escape_cell`."""
    with replacing(path) as temporary:
        escape_names(frame).to_csv(temporary, index=False)


# Of a table that is read by the names of its columns: a cell for each name and row is made, however short the rows are.
MOST_NAMED = 1000


def count_columns(path: Path) -> int:
    """Return how many columns the first line of a CSV names."""
    with open(path, "rb") as file:
        return file.readline().count(b",") + 1


def read_rows(path: Path) -> list[dict]:
    """Return the whole rows of the CSV at `path` as dicts of strings; a last row cut short is left out.

    None of a table with more than `MOST_NAMED`, or with a cell of more letters than any of ours.
    """
    if not path.is_file() or count_columns(path) > MOST_NAMED:  # a pipe would be waited for
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


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the file at `path` in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder unless it is there.

    Raises:
        InputError: the folder that it is to be in is missing, or a file has its name.
    """
    name = show_value(path, PATH_LENGTH)
    if not path.parent.is_dir():
        raise InputError(f"{name}: there is no folder {show_value(path.parent, PATH_LENGTH)}; make it first")
    if path.exists() and not path.is_dir():
        raise InputError(f"{name}: is a file; give the name of a folder")
    path.mkdir(exist_ok=True)
