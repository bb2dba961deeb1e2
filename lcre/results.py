"""Gathers what the folds left in their folders into the result table and the predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from core import scores
from core.checkpoints import read_log
from core.files import MOST_NAMED, count_columns, remove_leftovers, unescape_cells, write_csv
from lcre import check
from lcre.hold_out import WAYS

LOG_COLUMNS = {  # -> least and largest number
    "epoch": (0, 1e9),
    "loss": (0, 1e300),
    "accuracy": (0, 1),
    "val_loss": (0, 1e300),
    "val_accuracy": (0, 1),
    "val_auROC": (0, 1),
    "test_loss": (0, 1e300),
    "test_accuracy": (0, 1),
    "test_auROC": (0, 1),
    "learning_rate": (0, 10),
    "seconds": (0, 1e12),
}

BASELINES = ("kmer", "gc")  # columns of a fold's predictions.csv that every version wrote
LATER_BASELINES = ("outside", "inside", "codon")  # and those that older runs, or windows without such parts, lack


@dataclass(frozen=True)
class FinishedFold:
    """A fold, what it left in its folder, and the epoch that was chosen."""

    fold: object  # of `lcre_classifier.Fold`
    log: list[dict]  # rows of its performance log
    best_epoch: int
    tested: pd.DataFrame  # its test genes: target (0 or 1), probability, and those of the baselines


@dataclass(frozen=True)
class Scored:
    """What a row of the result table is computed from: one fold, or all folds together in the row `pooled`."""

    name: str
    organism: str
    folds: Sequence[FinishedFold]
    pooled: bool
    seed: int  # of the bootstrap

    @cached_property
    def tested(self) -> pd.DataFrame:
        """The test genes of all folds: target (0 or 1), probability, kmer, gc, outside, inside and codon."""
        return pd.concat([fold.tested for fold in self.folds])

    def score(self, measure: Callable, column: str = "probability") -> float:
        """Return a measure of `core.scores` of a column of `tested`."""
        return measure(self.tested["target"].to_numpy(), self.tested[column].to_numpy())

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the auROC."""
        target, probability = self.tested["target"].to_numpy(), self.tested["probability"].to_numpy()
        return scores.auroc_interval(target, probability, self.seed)

    def of_fold(self, value: Callable[[FinishedFold], object]):
        """Return what only a single fold has; None in the row `pooled`."""
        return None if self.pooled else value(self.folds[0])

    @property
    def optimistic(self) -> float:
        """The auROC of the best epoch on the test genes; of several folds the mean, weighted by their test genes."""
        areas = [float(fold.log[best_epoch(fold.log, "test")]["test_auROC"]) for fold in self.folds]
        return float(np.average(areas, weights=[len(fold.tested) for fold in self.folds]))

    @property
    def seconds(self) -> float:
        """The training time of all folds."""
        return sum(float(row["seconds"]) for fold in self.folds for row in fold.log)


@dataclass(frozen=True)
class Column:
    """A column of O_result.csv: the printed table, the page and the documentation follow from it."""

    name: str
    value: Callable[[Scored], object]
    format: str  # text, count, score (from 0 to 1) or seconds
    label: str  # on the page
    meaning: str  # in docs/files.md
    short: str = ""  # in the printed table; "" where the column is not printed
    of_network: bool = False  # a score of the network, marked optimistic where the epoch was chosen on the test genes


RESULT_COLUMNS = (
    Column(
        "chromosome",
        lambda row: row.name,
        "text",
        "fold",
        "what the fold held out: a chromosome, a fold of families or a species, or several joined by `+`; `pooled` in "
        "the last row",
        short="held out",
    ),
    Column(
        "accuracy",
        lambda row: row.score(scores.accuracy),
        "score",
        "accuracy",
        "share of test genes on the right side of probability 0.5",
        short="accuracy",
        of_network=True,
    ),
    Column(
        "auROC",
        lambda row: row.score(scores.auroc),
        "score",
        "auROC",
        "area under the ROC curve on the test genes; 0.5 is guessing",
        short="auROC",
        of_network=True,
    ),
    Column(
        "auPR",
        lambda row: row.score(scores.auprc),
        "score",
        "auPR",
        "average precision on the test genes",
        short="auPR",
        of_network=True,
    ),
    Column("organism", lambda row: row.organism, "text", "organism", "ORGANISM of the run"),
    Column(
        "training_size",
        lambda row: row.of_fold(lambda one: len(one.fold.training)),
        "count",
        "training genes",
        "genes that trained",
    ),
    Column(
        "validation_size",
        lambda row: row.of_fold(lambda one: len(one.fold.validation)),
        "count",
        "validation genes",
        "genes that chose the epoch",
    ),
    Column(
        "test_size",
        lambda row: len(row.tested),
        "count",
        "scored genes",
        "low and high genes that were held out and are scored",
        short="genes",
    ),
    Column(
        "best_epoch",
        lambda row: row.of_fold(lambda one: one.best_epoch),
        "count",
        "epoch",
        "the chosen epoch, from 0",
        short="epoch",
    ),
    Column(
        "auROC_low",
        lambda row: row.interval[0],
        "score",
        "auROC, lower end",
        "lower end of the 95 % bootstrap interval of the auROC",
    ),
    Column(
        "auROC_high",
        lambda row: row.interval[1],
        "score",
        "auROC, upper end",
        "upper end of the 95 % bootstrap interval of the auROC",
    ),
    Column(
        "kmer_auROC",
        lambda row: row.score(scores.auroc, "kmer"),
        "score",
        "k-mers",
        "auROC of the k-mer regression on the same genes",
        short="k-mers",
    ),
    Column(
        "gc_auROC",
        lambda row: row.score(scores.auroc, "gc"),
        "score",
        "base composition",
        "auROC of the regression on base composition on the same genes",
        short="composition",
    ),
    Column(
        "auROC_optimistic",
        lambda row: row.optimistic,
        "score",
        "best test epoch (optimistic)",
        "auROC of the network's best epoch on the test genes; pooled: its mean over genes",
        short="optimistic",
    ),
    Column(
        "seconds", lambda row: row.seconds, "seconds", "time", "training time of the fold; pooled: the sum over folds"
    ),
    Column(
        "outside_auROC",
        lambda row: row.score(scores.auroc, "outside"),
        "score",
        "k-mers outside",
        "auROC of a ridge regression on k-mers before the TSS and behind the TES; empty with UPSTREAM 0",
        short="outside",
    ),
    Column(
        "inside_auROC",
        lambda row: row.score(scores.auroc, "inside"),
        "score",
        "k-mers inside",
        "auROC of a ridge regression on k-mers and codons inside the gene; empty with DOWNSTREAM 0",
        short="inside",
    ),
    Column(
        "codon_auROC",
        lambda row: row.score(scores.auroc, "codon"),
        "score",
        "codons",
        "auROC of a ridge regression on codon usage and lengths of the CDS; empty where the annotation has no CDS",
        short="codons",
    ),
)
PRINTED_ORDER = ("chromosome", "test_size", "best_epoch", "accuracy", "auPR", "auROC")  # baselines, those of the table


def best_epoch(log: list[dict], select_on: str, tolerance: float = 0.0) -> int:
    """Return the row of a performance log with the highest auROC on what chooses, the first of equals.

    With some `tolerance`, for training whose rate ends at zero, the last row, unless that is lower by more: its epochs
    differ more by chance than the last one is worse. An epoch whose network gave no numbers (training diverged) is
    never better than one that did.
    """
    column = "val_auROC" if select_on == "validation" else "test_auROC"
    values = np.nan_to_num([float(row[column]) for row in log], nan=-1.0)
    best = int(np.argmax(values))
    return len(log) - 1 if tolerance and values[-1] >= values[best] - tolerance else best


def score_cells(prefix: str, target: np.ndarray, probability: np.ndarray) -> dict[str, str]:
    """Return loss, accuracy and auROC as cells of the performance log; empty where there are no genes."""
    measures = {"loss": scores.log_loss, "accuracy": scores.accuracy, "auROC": scores.auroc}
    return {
        f"{prefix}_{name}": f"{measure(target, probability):.6f}" if len(target) else ""
        for name, measure in measures.items()
    }


def write_roles(folder: Path, fold, gene_ids: pd.Series) -> None:
    """Make a fold's folder and write its genes.csv: train, validation, test or unused for each gene."""
    roles = pd.DataFrame({"gene_id": gene_ids, "role": "unused"})
    for role, rows in (("train", fold.training), ("validation", fold.validation), ("test", fold.test)):
        roles.loc[rows, "role"] = role
    folder.mkdir(exist_ok=True)
    remove_leftovers(folder, "genes|predictions|performance_log|best_model")
    remove_leftovers(folder / "epoch_models", r"model_epoch_\d+")
    write_csv(folder / "genes.csv", roles)


def read_finished(folder: Path, fold, gene_ids: np.ndarray) -> tuple[pd.DataFrame, list[dict]] | None:
    """Return what a finished fold has left: the predictions of its held-out genes, and its performance log.

    Args:
        folder: of the fold.
        fold: held_out and test (rows of `gene_ids`).
        gene_ids: of the genes with windows.

    Returns:
        The predictions (probability and, for test genes, those of the baselines; nan in columns that are not there) by
        row of `gene_ids`, and the rows of the log; None where the fold is not finished or one of the two files is
        damaged.
    """
    path, needed = folder / "predictions.csv", ["probability", *BASELINES]
    numbers = [*needed, *LATER_BASELINES]
    if not path.is_file() or not path.read_bytes().endswith(b"\n") or count_columns(path) > MOST_NAMED:
        return None
    missing = dict.fromkeys(numbers, [""])  # a gene may be called NA
    try:
        found = pd.read_csv(path, dtype={"gene_id": str}, keep_default_na=False, na_values=missing)
        same = unescape_cells(found["gene_id"]).tolist() == gene_ids[fold.held_out].tolist()
        same = same and set(needed) <= set(found)
        found = found.set_index(fold.held_out).reindex(columns=numbers).astype(float) if same else None
    except (KeyError, OSError, OverflowError, ValueError):
        return None
    if found is None or found.loc[fold.test, list(BASELINES)].isna().any(axis=None):
        return None
    empty = found.loc[fold.test, list(LATER_BASELINES)].isna()
    if (empty.any() & ~empty.all()).any():
        return None
    missing = found["probability"].isna()  # a network that diverged has none for any gene
    if ((found < 0) | (found > 1)).any(axis=None) or (missing.any() and not missing.all()):
        return None
    log_file = folder / "performance_log.csv"
    log = read_log(log_file, LOG_COLUMNS)
    if not log or list(log) != list(range(len(log))) or log_file.read_bytes().count(b"\n") != len(log) + 1:
        return None
    return found, list(log.values())


def collect_results(
    prefix: Path, folders: list[Path], folds: list, genes: pd.DataFrame, select_on: str, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather the finished folds, and write O_result.csv and O_predictions.csv.

    Args:
        prefix: saved_models/O.
        folders: of the folds.
        folds: name, tolerance, training, validation, test and held_out (rows of `genes`) of each.
        genes: those with windows: gene_id, chromosome, target, logMaxTPM.
        select_on: what the epoch is chosen on.
        seed: of the bootstrap.

    Returns:
        The result table (a row a fold, then `pooled` over the test genes of all; no rows where nothing is
        finished) and the predictions of every gene with a window.
    """
    predictions = genes[["gene_id", "chromosome", "target", "logMaxTPM"]].copy()
    predictions["target"] = predictions["target"].where(predictions["target"] >= 0).astype("Int8")
    predictions["probability"] = np.nan
    target, found = genes["target"].to_numpy(), []
    for folder, fold in zip(folders, folds, strict=True):
        finished = read_finished(folder, fold, genes["gene_id"].to_numpy())
        if finished is None:
            continue
        held_out, log = finished
        predictions.loc[fold.held_out, "probability"] = held_out["probability"]
        tested = held_out.loc[fold.test].assign(target=target[fold.test])
        found.append(FinishedFold(fold, log, best_epoch(log, select_on, fold.tolerance), tested))
    rows = [Scored(one.fold.name, prefix.name, [one], False, seed) for one in found]
    if found:
        rows.append(Scored("pooled", prefix.name, found, True, seed))
    result, predictions = tabulate(rows), predictions.round(6)
    write_csv(Path(f"{prefix}_predictions.csv"), predictions)
    write_csv(Path(f"{prefix}_result.csv"), result)
    return result, predictions


def tabulate(rows: Sequence[Scored]) -> pd.DataFrame:
    """Return the result table, a row for each of `rows`, rounded as in O_result.csv."""
    cells = [{column.name: column.value(row) for column in RESULT_COLUMNS} for row in rows]
    result = pd.DataFrame(cells, columns=[column.name for column in RESULT_COLUMNS])
    for column in RESULT_COLUMNS:
        if column.format == "count":
            result[column.name] = result[column.name].astype("Int64")
        elif column.format == "score":
            result[column.name] = result[column.name].astype(float).round(6)
        elif column.format == "seconds":
            result[column.name] = result[column.name].astype(float).round(1)
    return result


def show_fold(result: pd.DataFrame, name: str) -> str:
    """Return one line on a finished fold."""
    row = result[result["chromosome"] == name].iloc[0]
    return (
        f"fold {name}: auROC {row['auROC']:.3f} [{row['auROC_low']:.3f}, {row['auROC_high']:.3f}] at epoch "
        f"{row['best_epoch']}; k-mers {row['kmer_auROC']:.3f}, composition {row['gc_auROC']:.3f}"
    )


def show_results(result: pd.DataFrame, select_on: str, hold_out: str = "chromosome") -> str:
    """Return the result table as people read it, with a line on what was held out."""
    way = WAYS[hold_out]
    printed = {column.name: column.short for column in RESULT_COLUMNS if column.short}
    baselines = [f"{name}_auROC" for name in (*BASELINES, *LATER_BASELINES)]
    for name in baselines[len(BASELINES) :]:
        if result[name].isna().all():
            del printed[name]
    order = [name for name in dict.fromkeys([*PRINTED_ORDER, *baselines, *printed]) if name in printed]
    shown = result[order].rename(columns=printed)
    shown.insert(len(PRINTED_ORDER), "95 % interval", [show_interval(row) for _, row in result.iterrows()])
    chosen = way.chosen_on if select_on == "validation" else "ON THE TEST GENES, which is optimistic"
    return (
        f"Low against high genes of held-out {way.what}, epoch chosen {chosen}. Behind the interval: auROC of\n"
        "regressions on the same genes; optimistic: auROC of the network's best epoch on the test genes, pooled: its "
        "mean over genes\n"
        f"{check.show_table(shown)}"
    )


def show_interval(row: pd.Series) -> str:
    """Return the interval of a row's auROC, as in 0.895-0.911; a dash where there is none."""
    return "-" if np.isnan(row["auROC_low"]) else f"{row['auROC_low']:.3f}-{row['auROC_high']:.3f}"
