"""Gathers what the folds left in their folders into the result table and the predictions."""

from pathlib import Path

import numpy as np
import pandas as pd

from core import scores
from core.checkpoints import read_log
from core.files import remove_leftovers, write_csv
from lcre import check

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
RESULT_COLUMNS = [
    *("chromosome", "accuracy", "auROC", "auPR", "organism", "training_size", "validation_size", "test_size"),
    *("best_epoch", "auROC_low", "auROC_high", "kmer_auROC", "gc_auROC", "auROC_optimistic", "seconds"),
]


def best_epoch(log: list[dict], select_on: str, leeway: float = 0.0) -> int:
    """Return the row of a performance log with the highest auROC on what chooses, the first of equals.

    With some `leeway`, for training whose rate ends at zero, the last row, unless that is lower by more: its epochs
    differ more by chance than the last one is worse. An epoch whose network gave no numbers (training diverged) is
    never better than one that did.
    """
    column = "val_auROC" if select_on == "validation" else "test_auROC"
    values = np.nan_to_num([float(row[column]) for row in log], nan=-1.0)
    best = int(np.argmax(values))
    return len(log) - 1 if leeway and values[-1] >= values[best] - leeway else best


def score_cells(prefix: str, target: np.ndarray, probability: np.ndarray) -> dict[str, str]:
    """Return loss, accuracy and auROC as cells of the performance log; empty where there are no genes."""
    measures = {"loss": scores.log_loss, "accuracy": scores.accuracy, "auROC": scores.auroc}
    return {
        f"{prefix}_{name}": f"{measure(target, probability):.6f}" if len(target) else ""
        for name, measure in measures.items()
    }


def score_row(name: str, tested: pd.DataFrame, seed: int) -> dict:
    """Return the scores of one row of the result table.

    Args:
        name: of the fold.
        tested: the test genes with target (0 or 1), probability, kmer and gc.
        seed: of the bootstrap.
    """
    target, probability = tested["target"].to_numpy(), tested["probability"].to_numpy()
    low, high = scores.auroc_interval(target, probability, seed)
    return {
        "chromosome": name,
        "accuracy": scores.accuracy(target, probability),
        "auROC": scores.auroc(target, probability),
        "auPR": scores.auprc(target, probability),
        "test_size": len(tested),
        "auROC_low": low,
        "auROC_high": high,
        "kmer_auROC": scores.auroc(target, tested["kmer"]),
        "gc_auROC": scores.auroc(target, tested["gc"]),
    }


def write_roles(folder: Path, fold, gene_ids: pd.Series) -> None:
    """Make a fold's folder and write its genes.csv: train, validation, test or unused for each gene."""
    roles = pd.DataFrame({"gene_id": gene_ids, "role": "unused"})
    for role, rows in (("train", fold.taught), ("validation", fold.validation), ("test", fold.test)):
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
        The predictions (probability, and for test genes kmer and gc) by row of `gene_ids`, and the rows of the log;
        None where the fold is not finished or one of the two files is damaged.
    """
    path, numbers = folder / "predictions.csv", ["probability", "kmer", "gc"]
    if not path.is_file() or not path.read_bytes().endswith(b"\n"):
        return None
    missing = dict.fromkeys(numbers, [""])  # a gene may be called NA
    try:
        found = pd.read_csv(path, dtype={"gene_id": str}, keep_default_na=False, na_values=missing)
        same = found["gene_id"].tolist() == gene_ids[fold.held_out].tolist()
        found = found.set_index(fold.held_out)[numbers].astype(float) if same else None
    except (KeyError, OSError, OverflowError, ValueError):
        return None
    if found is None or found.loc[fold.test, ["kmer", "gc"]].isna().any(axis=None):
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
        folds: name, leeway, taught, validation, test and held_out (rows of `genes`) of each.
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
    rows, pooled = [], []
    for folder, fold in zip(folders, folds, strict=True):
        finished = read_finished(folder, fold, genes["gene_id"].to_numpy())
        if finished is None:
            continue
        held_out, log = finished
        predictions.loc[fold.held_out, "probability"] = held_out["probability"]
        pooled.append(held_out.loc[fold.test].assign(target=genes["target"].to_numpy()[fold.test]))
        rows.append(
            score_row(fold.name, pooled[-1], seed)
            | {
                "training_size": len(fold.taught),
                "validation_size": len(fold.validation),
                "best_epoch": best_epoch(log, select_on, fold.leeway),
                "auROC_optimistic": float(log[best_epoch(log, "test")]["test_auROC"]),
                "seconds": sum(float(row["seconds"]) for row in log),
            }
        )
    if rows:
        rows.append(
            score_row("pooled", pd.concat(pooled), seed)
            | {
                "auROC_optimistic": np.average(
                    [row["auROC_optimistic"] for row in rows], weights=[row["test_size"] for row in rows]
                ),
                "seconds": sum(row["seconds"] for row in rows),
            }
        )
    result = pd.DataFrame(rows, columns=RESULT_COLUMNS).assign(organism=prefix.name)
    for name in ("training_size", "validation_size", "test_size", "best_epoch"):
        result[name] = result[name].astype("Int64")
    result, predictions = result.round(6).round({"seconds": 1}), predictions.round(6)
    write_csv(Path(f"{prefix}_predictions.csv"), predictions)
    write_csv(Path(f"{prefix}_result.csv"), result)
    return result, predictions


def show_fold(result: pd.DataFrame, name: str) -> str:
    """Return one line on a finished fold."""
    row = result[result["chromosome"] == name].iloc[0]
    return (
        f"fold {name}: auROC {row['auROC']:.3f} [{row['auROC_low']:.3f}, {row['auROC_high']:.3f}] at epoch "
        f"{row['best_epoch']}; k-mers {row['kmer_auROC']:.3f}, composition {row['gc_auROC']:.3f}"
    )


def show_results(result: pd.DataFrame, select_on: str) -> str:
    """Return the result table as people read it."""
    shown = result[["chromosome", "test_size", "best_epoch", "accuracy", "auPR", "auROC"]].copy()
    shown["95 % interval"] = [
        "-" if np.isnan(low) else f"{low:.3f}-{high:.3f}"
        for low, high in zip(result.auROC_low, result.auROC_high, strict=True)
    ]
    shown["k-mers"], shown["composition"] = result["kmer_auROC"], result["gc_auROC"]
    shown["optimistic"] = result["auROC_optimistic"]
    shown = shown.rename(columns={"chromosome": "held out", "test_size": "genes", "best_epoch": "epoch"})
    chosen = "on another chromosome" if select_on == "validation" else "ON THE TEST GENES, which is optimistic"
    return (
        f"Low against high genes of held-out chromosomes, epoch chosen {chosen}. k-mers and composition: auROC of "
        "regressions\non the same genes; optimistic: auROC of the network's best epoch on the test genes, pooled: its "
        "mean over genes\n"
        f"{check.show_table(shown)}"
    )
