"""Predicted expression against measured expression, beside what a simpler prediction of the same genes gives.

A cell and a chromosome are each seen in training or held out, which makes four quadrants; the validation chromosome of
the training cells, on which training chose its epoch, is a row of its own. Expression is log1p of TPM.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core import InputError, examples, shorten
from core.files import write_csv
from core.scores import Agreement, bootstrap, interval, two_sided_p
from core.tables import read_columns, to_numbers
from creator.baselines import Prediction, change_against_training, store_baselines
from creator.link_evaluation import CURVE_COLUMNS, CURVES, LINKS_SCORED, evaluate_links, show_interval, show_links

TABLE, RECORD = "expression.tsv", "predict.json"  # in the folder that `predict` wrote
EXPRESSION_SCORED = "eval.csv"  # is written
SPLITS = {  # split -> (cells, chromosomes) as eval.csv says them
    "train": ("seen", "seen"),
    "validation": ("seen", "validation"),
    "chromosome": ("seen", "held out"),
    "cell": ("held out", "seen"),
    "both": ("held out", "held out"),
    "": ("", ""),  # trained elsewhere: nothing is known of its training
}
LISTS = ("hold_out_cells", "hold_out_chromosomes", "validation_chromosomes")  # keys of the record
DRAWS, SEED = 1000, 1  # of the bootstrap
NETWORK = "network"
PREDICTORS = {
    NETWORK: "CREaTor",
    "gene_mean": "the gene's mean over training cells",
    "promoter_ridge": "ridge on the promoter's signal",
    "distance_ridge": "ridge on distance-weighted signal",
    "change_ridge": "the gene's mean + ridge on changes",
}
MEASURES = ("Pearson", "Spearman", "MAE", "change_Pearson")


class Predictions(NamedTuple):
    """A folder's predictions as arrays of G genes and C cells, nan where there is none.

    Attributes:
        gene_id: (G,) str.
        chromosome: (G,) str.
        cells: names, (C,).
        predicted: log1p of TPM, (G, C).
        observed: log1p of TPM, (G, C).
        split: a key of `SPLITS`, or "no row" where the table has none, (G, C) str.
    """

    gene_id: np.ndarray
    chromosome: np.ndarray
    cells: list[str]
    predicted: np.ndarray
    observed: np.ndarray
    split: np.ndarray


class Training(NamedTuple):
    """What a model was trained on: names of the cells and chromosomes that were kept from it."""

    hold_out_cells: list[str]
    hold_out_chromosomes: list[str]
    validation_chromosomes: list[str]

    def split(self, cell: str, chromosome: str) -> str:
        """Return the split of genes of a chromosome in a cell, a key of `SPLITS`."""
        if chromosome in self.hold_out_chromosomes:
            return "both" if cell in self.hold_out_cells else "chromosome"
        if cell in self.hold_out_cells:
            return "cell"
        return "validation" if chromosome in self.validation_chromosomes else "train"


# -------------------------------------------------------------------------------------------------- reading
def read_record(folder: Path) -> dict:
    """Read the record of a folder that `predict` wrote: `store`, its path, and the lists of `LISTS` if they are known.

    Raises:
        InputError: no record, or one that is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InputError(f"{folder} has no {RECORD}; give a folder that predict wrote")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = [record[name] for name in LISTS if record.get(name) is not None]
        whole = isinstance(record["store"], str) and all(
            isinstance(names, list) and all(isinstance(name, str) for name in names) for names in found
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged; write the folder again with predict")
    return record


def read_training(record: Mapping) -> Training | None:
    """Return what a record says of the training; None where it is not known, as of published weights."""
    lists = [record.get(name) for name in LISTS]
    return None if None in lists else Training(*lists)


def read_predictions(path: Path, training: Training | None) -> Predictions:
    """Read `expression.tsv`.

    Args:
        path: the table, columns gene_id, chromosome, cell, predicted, observed (empty: none) and split.
        training: that the splits must agree with; None: not known.

    Raises:
        InputError: a column that is not there, a value that cannot be, a gene twice in a cell.
    """
    what = "predictions"
    table = read_columns(path, ("gene_id", "chromosome", "cell", "predicted", "observed", "split"), what)
    twice = table[table.duplicated(["gene_id", "cell"])]
    if len(twice):
        shown = (
            f"{shorten(gene)} in {shorten(cell)}" for gene, cell in zip(twice["gene_id"], twice["cell"], strict=True)
        )
        raise InputError(f"{what}: {len(twice):,} genes of {path} have two rows for a cell: {examples(shown)}")
    unknown = table[~table["split"].isin(SPLITS)]
    if len(unknown):
        raise InputError(
            f"{what}: {len(unknown):,} values of column 'split' in {path} are unknown: "
            f"{examples(unknown['split'].unique())}; it is one of {', '.join(filter(None, SPLITS))}"
        )
    if training is not None:
        groups = table.groupby(["cell", "chromosome", "split"]).size().index
        wrong = [
            f"{cell}, {chromosome}: {split}"
            for cell, chromosome, split in groups
            if split != training.split(cell, chromosome)
        ]
        if wrong:
            raise InputError(
                f"{what}: the splits of {path} are not those of {RECORD} beside it: {examples(wrong)}; write the "
                "folder again with predict"
            )
    genes, gene = np.unique(table["gene_id"].to_numpy(str), return_inverse=True)
    cells = list(dict.fromkeys(table["cell"]))
    cell = table["cell"].map({name: number for number, name in enumerate(cells)}).to_numpy()
    chromosome = np.empty(len(genes), dtype=object)
    chromosome[gene] = table["chromosome"]
    arrays = []
    for name in ("predicted", "observed"):
        numbers = to_numbers(table[name], path, what, empty=True).to_numpy()
        arrays.append(np.full((len(genes), len(cells)), np.nan))
        arrays[-1][gene, cell] = numbers
    split = np.full((len(genes), len(cells)), "no row", dtype=object)
    split[gene, cell] = table["split"]
    return Predictions(genes, chromosome.astype(str), cells, *arrays, split.astype(str))


# ----------------------------------------------------------------------------------------------- predictors
def compare_with_store(
    predictions: Predictions, store, training: Training | None, notes: list[str]
) -> tuple[dict[str, Prediction], np.ndarray]:
    """Return the network's predictions and those of the baselines for the same genes and cells.

    The change that a predictor predicts is its prediction minus the mean of its own predictions for the gene over the
    (other) training cells, on seen and on held-out chromosomes. The gene's measured mean in its place would reward or
    punish what is no prediction of a change: the mean is part of the measured change as well, so that even a constant
    prediction correlates with it (stages of the worm: -.13).

    Args:
        predictions: of the network.
        store: as `creator.store.open_store` gives it; None where `training` is.
        training: what the network was trained on; None: not known.
        notes: sentences for the user, added to.

    Returns:
        Name -> prediction, (G, C); baselines only where the store has training cells. And the measured change, (G, C).

    Raises:
        InputError: genes or cells that the store does not have.
    """
    alone = {NETWORK: Prediction(predictions.predicted, np.full(predictions.predicted.shape, np.nan))}
    unknown_change = np.full(predictions.predicted.shape, np.nan)
    if training is None:
        notes.append(f"{RECORD} does not say what the model was trained on: nothing to compare with is fitted")
        return alone, unknown_change
    gene_ids = np.asarray(store.gene_id).astype(str)
    genes = find_names(predictions.gene_id, gene_ids, "genes")
    cells = find_names(predictions.cells, store.cells, "cells")
    training_cells = ~np.isin(store.cells, training.hold_out_cells)
    if not training_cells.any():
        notes.append("the store has no training cell: nothing to compare with is fitted")
        return alone, unknown_change
    chromosomes = np.asarray(store.chromosomes)[np.asarray(store.gene_chromosome)]
    held_out = np.isin(chromosomes, training.hold_out_chromosomes)
    validation = np.isin(chromosomes, training.validation_chromosomes) & ~held_out
    here = np.ix_(genes, cells)
    expression = np.log1p(np.asarray(store.expression, np.float64))
    measured_change = change_against_training(expression, training_cells)[here]
    found = store_baselines(store, training_cells, ~(held_out | validation), validation)
    change = change_against_training(predictions.predicted, training_cells[cells])
    if not np.isfinite(change).any():
        notes.append(f"{TABLE} has no predictions for two training cells: changes of the network are not known")
    network = {NETWORK: Prediction(predictions.predicted, change)}
    return network | {
        name: Prediction(one.level[here], one.change[here]) for name, one in found.items()
    }, measured_change


def find_names(names, there, what: str) -> np.ndarray:
    """Return the places of names among those of the store; raise InputError where it lacks one."""
    place = {name: number for number, name in enumerate(there)}
    missing = [name for name in names if name not in place]
    if missing:
        raise InputError(
            f"predictions: {len(missing):,} {what} of {TABLE} are not in the store: {examples(missing)}; is it the "
            "store that they were predicted from?"
        )
    return np.array([place[name] for name in names])


# -------------------------------------------------------------------------------------------------- scoring
def score_expression(
    observed: np.ndarray,
    observed_change: np.ndarray,
    predictors: Mapping[str, Prediction],
    split: np.ndarray,
    cells: list[str],
    draws: int = 1000,
    seed: int = 1,
) -> list[dict]:
    """Return the scores of predictors by split, over all of its cells and for each of them.

    A row counts if it is measured and predicted by the network; where any such gene has a mean over other training
    cells, only those that have one count. All predictors are scored on the same rows. Intervals are of the bootstrap
    over genes (a drawn gene brings all of its cells); all predictors see the same draws: differences are paired.

    Args:
        observed: log1p of TPM, (G, C), nan where not measured.
        observed_change: against the mean over the (other) training cells, (G, C).
        predictors: name -> prediction; differences are those of `NETWORK` from the others.
        split: a key of `SPLITS`, (G, C); anything else is not scored.
        cells: names, (C,).
        draws: of the bootstrap.
        seed: of its random numbers.

    Returns:
        Rows of eval.csv; nan where a score is not defined.
    """
    usable = np.isfinite(observed) & np.isfinite(predictors[NETWORK].level)
    rows = []
    for name, (cell_seen, chromosome_seen) in SPLITS.items():
        inside = usable & (split == name)
        if (inside & np.isfinite(observed_change)).any():
            inside &= np.isfinite(observed_change)
        if not inside.any():
            continue
        places = {"split": name, "cells": cell_seen, "chromosomes": chromosome_seen}
        for label, some in [("all", range(len(cells))), *((cell, [number]) for number, cell in enumerate(cells))]:
            chosen = np.zeros_like(inside)
            chosen[:, some] = inside[:, some]
            if chosen.any():
                scored = score_rows(observed, observed_change, predictors, chosen, draws, seed)
                rows += [places | {"cell": label} | row for row in scored]
    return rows


def score_rows(
    observed: np.ndarray,
    observed_change: np.ndarray,
    predictors: Mapping[str, Prediction],
    chosen: np.ndarray,
    draws: int,
    seed: int,
) -> list[dict]:
    """Return a row for each predictor on the chosen genes and cells, (G, C) bool; `score_expression` says the rest."""
    genes, gene = np.unique(np.nonzero(chosen)[0], return_inverse=True)
    levels = [Agreement(one.level[chosen], observed[chosen], gene) for one in predictors.values()]
    changes = [Agreement(one.change[chosen], observed_change[chosen], gene) for one in predictors.values()]

    def measure(times: np.ndarray) -> np.ndarray:
        """Return the `MEASURES` of each predictor, (predictors, 4), for genes taken so often each."""
        return np.array(
            [
                (level.pearson(times), level.spearman(times), level.mean_absolute_error(times), change.pearson(times))
                for level, change in zip(levels, changes, strict=True)
            ]
        )

    scores = measure(np.ones(len(genes), int))
    drawn = bootstrap(measure, [np.arange(len(genes))], draws, seed)
    network = list(predictors).index(NETWORK)
    rows = []
    for number, name in enumerate(predictors):
        row = {"predictor": name, "genes": len(genes), "values": len(gene)}
        for place, measure_name in enumerate(MEASURES):
            value = scores[number, place]
            low, high = interval(drawn[:, number, place]) if np.isfinite(value) else (np.nan, np.nan)
            row |= {measure_name: value, f"{measure_name}_low": low, f"{measure_name}_high": high}
            differences = drawn[:, network, place] - drawn[:, number, place]
            difference = scores[network, place] - value
            if name == NETWORK or not np.isfinite(difference):
                difference, differences = np.nan, np.full(draws, np.nan)
            row[f"{measure_name}_difference"] = difference
            row[f"{measure_name}_difference_low"], row[f"{measure_name}_difference_high"] = interval(differences)
            row[f"{measure_name}_difference_p"] = two_sided_p(differences)
        rows.append(row)
    return rows


def evaluate_folder(
    folder: Path, store_path: Path | None = None, draws: int = DRAWS, seed: int = SEED
) -> tuple[list[dict], list[str]]:
    """Score the predictions of a folder that `predict` wrote.

    Args:
        folder: with `expression.tsv` and `predict.json`.
        store_path: where the store is; None: where the record says, from the folder if that is relative.
        draws, seed: see `score_expression`.

    Returns:
        Rows of `score_expression`, and notes for the user.

    Raises:
        InputError: see `read_record`, `read_predictions`, `compare_with_store`, and `creator.store.open_store`.
    """
    record = read_record(folder)
    training = read_training(record)
    predictions = read_predictions(folder / TABLE, training)
    notes: list[str] = []
    store = None
    if training is not None:
        from creator.store import open_store

        try:
            store = open_store(folder / record["store"] if store_path is None else store_path)
        except InputError as error:
            moved = "" if store_path else "; if it was moved, say with --store where it is"
            raise InputError(f"{error}{moved}") from None
    predictors, change = compare_with_store(predictions, store, training, notes)
    counted = predictions.split != "no row"
    for values, problem in (
        (predictions.predicted, "without prediction (no cCRE in reach)"),
        (predictions.observed, "without measured expression"),
    ):
        missing = int((counted & ~np.isfinite(values)).sum())
        if missing:
            notes.append(f"{missing:,} of {int(counted.sum()):,} rows are left out: {problem}")
    rows = score_expression(predictions.observed, change, predictors, predictions.split, predictions.cells, draws, seed)
    if not rows:
        raise InputError(f"predictions: {folder / TABLE} has no row with both a prediction and a measured expression")
    return rows, notes


def show_expression(rows: list[dict]) -> str:
    """Return the scores over all cells of each split as people read them."""
    head = f"{'':38}{'Pearson (95 %)':>24}{'Spearman':>10}{'MAE':>8}{'Pearson of changes':>26}"
    lines = [f"{head}   Pearson of CREaTor above it by"]
    for row in rows:
        if row["cell"] != "all":
            continue
        if row["predictor"] == NETWORK:
            where = f"cells {row['cells']}, chromosomes {row['chromosomes']}" if row["split"] else "trained elsewhere"
            lines += ["", f"{row['split'] or 'all'} ({where}): {row['genes']:,} genes, {row['values']:,} values"]
        cells = {
            name: show_interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
            for name in ("Pearson", "change_Pearson")
        }
        difference = show_interval(
            row["Pearson_difference"], row["Pearson_difference_low"], row["Pearson_difference_high"], "+"
        )
        difference += f"   p {row['Pearson_difference_p']:.3f}" if difference else ""
        numbers = [f"{row[name]:.3f}" if np.isfinite(row[name]) else "" for name in ("Spearman", "MAE")]
        lines.append(
            f"  {PREDICTORS[row['predictor']]:36}{cells['Pearson']:>24}{numbers[0]:>10}{numbers[1]:>8}"
            f"{cells['change_Pearson']:>26}   {difference}".rstrip()
        )
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------- command
def evaluate_command(
    folder: Path | None,
    links: Path | None = None,
    out: Path | None = None,
    to: Path | None = None,
    store: Path | None = None,
    cell: str | None = None,
) -> Path | None:
    """Do what `CREaTor.py evaluate` is asked for: print a table and write it as CSV.

    Args:
        folder: that `predict` wrote; its expression is scored.
        links: a benchmark's table of pairs, to be scored instead.
        out: a folder that `predict` wrote, whose links are scored on these pairs; its links_eval.csv is written.
        to: the file to write, and nothing else; None: eval.csv in `folder`, links_eval.csv in `out` or else in the
            working directory.
        store: where the store of `folder` is, if it was moved.
        cell: whose links are scored; None: of the cell that a pair was tested in.

    Returns:
        The folder whose page is to be written; None where nothing was written into one.

    Raises:
        InputError: arguments that do not fit together, and whatever is wrong with the files.
    """
    if (folder is None) == (links is None):
        raise InputError("evaluate: give either a folder that predict wrote, or --links and a table of tested pairs")
    for given, flag, partner in ((out, "--out", links), (cell, "--cell", out), (store, "--store", folder)):
        if given is not None and partner is None:
            needed = {"--out": "--links", "--cell": "--out", "--store": "a folder that predict wrote"}[flag]
            raise InputError(f"evaluate: {flag} goes with {needed}")
    source = folder or out
    if source is not None and not source.is_dir():
        raise InputError(f"no folder {source}; give one that predict wrote")
    target = to or (source or Path()) / (EXPRESSION_SCORED if links is None else LINKS_SCORED)
    if not target.parent.is_dir():
        raise InputError(f"--to {target}: there is no folder {target.parent}; make it first")
    curves = []
    if links is None:
        rows, notes = evaluate_folder(folder, store, DRAWS)
        shown = show_expression(rows)
    else:
        rows, curves, notes = evaluate_links(links, out, cell, DRAWS)
        shown = show_links(rows)
    write_csv(target, pd.DataFrame(rows).round(6))
    if source is not None and to is None and links is not None:
        write_csv(source / CURVES, pd.DataFrame(curves, columns=CURVE_COLUMNS).round(6))
    print(*notes, shown, f"\nwritten: {target}", sep="\n", flush=True)
    return source if to is None else None
