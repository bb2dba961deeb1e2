"""Several trainings of CREaTor side by side: what `evaluate` wrote of each, as means and ranges.

    python benchmarks/creator_runs.py PREDICTED PREDICTED ...

Each folder has eval.csv and, where links were scored, links_eval.csv; they are of one store and split, and of seeds
that differ. Of a score the mean over the folders is printed and its range, of paired differences the largest p-value.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from creator.evaluation import PREDICTORS, SPLITS  # noqa: E402


def main(argv=None):
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args(argv).folders
    print_expression([pd.read_csv(folder / "eval.csv", keep_default_na=False, na_values=[""]) for folder in folders])
    links = [folder / "links_eval.csv" for folder in folders]
    if all(path.is_file() for path in links):
        print()
        print_links([pd.read_csv(path) for path in links])
    return 0


def print_expression(tables: list[pd.DataFrame]) -> None:
    """Print the scores over all cells of each split."""
    columns = ("cells, chromosomes", "predictor", "Pearson", "of changes", "the network above it", "p")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    found = pd.concat(tables)
    for (split, predictor), rows in found[found["cell"] == "all"].groupby(["split", "predictor"], sort=False):
        place = ", ".join(SPLITS[split])
        scores = " | ".join(show_range(rows[name]) for name in ("Pearson", "change_Pearson", "Pearson_difference"))
        print(f"| {place} | {PREDICTORS[predictor]} | {scores} | {show_p(rows['Pearson_difference_p'])} |")


def print_links(tables: list[pd.DataFrame]) -> None:
    """Print the areas under the precision-recall curves."""
    print("| pairs | score | AUPRC | above 1 / distance | above signal / distance | p |\n|---|---|---|---|---|---|")
    for (distance, score), found in pd.concat(tables).groupby(["distance", "score"], sort=False):
        gains = [f"AUPRC_minus_{name}" for name in ("inverse_distance", "signal_by_distance")]
        shown = " | ".join(show_range(found[column]) for column in ("AUPRC", *gains))
        print(f"| {distance} | {score} | {shown} | {show_p(found[f'{gains[1]}_p'])} |")


def show_range(values: pd.Series) -> str:
    """Return the mean of values and their range, "" where there is none."""
    if values.isna().any():
        return ""
    mean, low, high = (f"{value:.3f}" for value in (values.mean(), values.min(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"


def show_p(values: pd.Series) -> str:
    """Return the largest of some p-values, "" where there is none."""
    return "" if values.isna().any() else f"{values.max():.3f}"


if __name__ == "__main__":
    sys.exit(main())
