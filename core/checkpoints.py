"""The epochs of one training on disk: a model and a row of the log each, and what of them is whole.

The zip comment at the end of a model file is a hash of its content, of the training, of the epoch and of what is
written beside it, as its row of the log. A checkpoint that is damaged, or lies where another belongs, is found before
it is loaded, and so is a number of the log that was changed; the epoch is trained again.
"""

import hashlib
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from core.files import read_rows, replacing, write_rows

HASH = 64  # letters of a SHA-256
END = b"PK\5\6"  # how the last part of a zip file begins, of 22 bytes where there is no comment
# What reading a damaged zip file raises.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(KeyError, NotImplementedError, OverflowError, RuntimeError, ValueError),
)


class Checkpoints:
    """The epochs of one training.

    Attributes:
        log: epoch -> row of performance_log.csv, of the epochs whose checkpoint is whole too; in ascending order.
        best_file: the model that the training ends with.
        best: the epoch that was written as the best one by this process; None before.
    """

    def __init__(self, folder: Path, label: str, columns: Mapping[str, tuple[float, float]]):
        """Name the files of a training; nothing is read.

        Args:
            folder: of the training.
            label: tells this training from every other one.
            columns: of its log, `epoch` among them -> least and largest number that may stand there.
        """
        self.folder, self.label, self.columns = folder / "epoch_models", label, columns
        self.log_file, self.best_file = folder / "performance_log.csv", folder / "best_model.keras"
        self.log: dict[int, dict[str, str]] = {}
        self.best: int | None = None

    def file(self, epoch: int) -> Path:
        """Return where the model of an epoch is."""
        return self.folder / f"model_epoch_{epoch}.keras"

    def hash_content(self, content: bytes, epoch: int, beside: bytes = b"") -> bytes:
        """Return the hash of a model file's content up to its comment, for this training and epoch.

        Args:
            content: of the file.
            epoch: of the model.
            beside: what is written beside it and belongs to it.
        """
        more = hashlib.sha256(beside).hexdigest() + "\n" if beside else ""
        return hashlib.sha256(f"{self.label}\n{epoch}\n{more}".encode() + content).hexdigest().encode()

    def is_whole(self, path: Path, epoch: int, beside: bytes = b"") -> bool:
        """Tell whether `path` is this epoch's model, undamaged, and what is beside it as it was written.

        Models of older versions have no hash, or one of themselves alone.
        """
        if not path.is_file():  # a pipe would be waited for
            return False
        try:
            content = path.read_bytes()
            if content[-HASH:] in (self.hash_content(content[:-HASH], epoch, part) for part in (beside, b"")):
                return True
            if content[-22:-18] != END or content[-2:] != b"\0\0":
                return False
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None and "model.weights.h5" in archive.namelist()
        except DAMAGE:
            return False

    def show_row(self, row: Mapping[str, str]) -> bytes:
        """Return a row of the log as the hash of its model takes it."""
        return ",".join(row[name] for name in self.columns).encode()

    def write_model(self, path: Path, epoch: int, model, beside: bytes = b"") -> None:
        """Write a Keras model with its hash, which takes in `beside`, as zip comment, in one step."""
        with replacing(path) as temporary:
            model.save(temporary)
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = bytes(HASH)
            content = temporary.read_bytes()[:-HASH]
            temporary.write_bytes(content + self.hash_content(content, epoch, beside))

    def read(self, epochs: int) -> list[str]:
        """Find the whole ones of so many epochs, and write a log of only these.

        Returns:
            A sentence for each epoch that was finished and has to be trained again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        found = {epoch: row for epoch, row in read_log(self.log_file, self.columns).items() if epoch < epochs}
        damaged = [
            epoch for epoch, row in found.items() if not self.is_whole(self.file(epoch), epoch, self.show_row(row))
        ]
        said = [f"{self.file(epoch).name} is damaged or missing: its epoch is trained again" for epoch in damaged]
        lost = [epoch for epoch in range(max(found, default=-1)) if epoch not in found]
        said += [f"{self.log_file.name} lacks epoch {epoch}: it is trained again" for epoch in lost]
        self.write_log({epoch: found[epoch] for epoch in sorted(set(found) - set(damaged))})
        return said

    def finish_epoch(self, epoch: int, model, row: dict[str, str], choose: Callable) -> int:
        """Write what an epoch leaves behind: its model, then the best model, then its row of the log.

        The row is last: an epoch without it is trained again.

        Args:
            epoch: that was trained.
            model: keras.Model; it is written with its optimizer.
            row: of the log.
            choose: returns the place of the best epoch among the rows of a log.

        Returns:
            The best epoch so far.
        """
        self.write_model(self.file(epoch), epoch, model, self.show_row(row))
        log = dict(sorted((self.log | {epoch: row}).items()))
        self.keep_best(log, choose)
        self.write_log(log)
        return self.best

    def write_log(self, log: dict[int, dict[str, str]]) -> None:
        """Write the log."""
        write_rows(self.log_file, list(log.values()))
        self.log = log

    def keep_best(self, log: dict[int, dict[str, str]], choose: Callable) -> None:
        """Write the model of the best epoch as the best one, unless it is there.

        Args:
            log: epoch -> row, one at least; the model of each is whole.
            choose: returns the place of the best epoch among the rows of a log.
        """
        best = list(log)[choose(list(log.values()))]
        if best == self.best:
            return
        with replacing(self.best_file) as temporary:
            temporary.write_bytes(self.file(best).read_bytes())
        self.best = best


def read_log(path: Path, columns: Mapping[str, tuple[float, float]]) -> dict[int, dict[str, str]]:
    """Return the rows of a performance log by epoch, with these columns; damaged rows are left out."""
    found = {}
    for row in read_rows(path):
        cells = {name: row.get(name) for name in columns}
        if all(
            is_number(cell, *columns[name]) or (cell == "" and name.startswith("val_")) for name, cell in cells.items()
        ):
            epoch = float(row["epoch"])
            if epoch.is_integer() and 0 <= epoch < 1e9:
                found[int(epoch)] = {name: row[name] for name in columns}
    return found


def is_number(text: str | None, least: float, most: float) -> bool:
    """Tell whether a cell holds a number in this range, or nan or inf: training can diverge."""
    try:
        value = float(text or "")
    except ValueError:
        return False
    return not math.isfinite(value) or least <= value <= most
