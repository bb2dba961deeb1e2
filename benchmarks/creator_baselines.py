"""What CREaTor has to beat on the worm: ridge regressions on distance-weighted ATAC signal, and the gene's mean.

    python benchmarks/creator_baselines.py ../shared/realdata/celegans        about a minute

Stage L3 and chromosome IV are held out. The first rows are fitted on all other chromosomes with a penalty of 100; in
the last, as in `CREaTor.py evaluate`, chromosome I is left out to choose the penalty on. The folder has
accessible_sites.bed, atac/STAGE.bw, celegans_WS220.gtf.gz and celegans_stage_tpm.csv; no store is needed. Every gene
of annotation and table counts, coding or not. All numbers are Pearson correlations.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.annotation import read_annotation  # noqa: E402
from core.scores import pearson  # noqa: E402
from creator import baselines  # noqa: E402

STAGES = ("embryo", "L1", "L2", "L3", "L4", "YA")
HELD_OUT_STAGE, HELD_OUT_CHROMOSOME, VALIDATION_CHROMOSOME = "L3", "IV", "I"
SCALES = (300, 1_000, 3_000, 10_000)  # bp
REACH = 100_000  # bp; at the largest scale what lies beyond counts less than exp(-10)


def main(argv=None):
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    sites, signals = read_sites(options.folder)
    genes, expression = read_genes(options.folder)
    indptr, indices = find_reach(genes, sites)
    position = ((sites["start"] + sites["end"]) // 2).to_numpy()
    distance = baselines.distances_to_tss(indptr, indices, position, genes["tss"].to_numpy())
    promoter = baselines.promoter_features(indptr, indices, distance, signals)
    chromosome = genes["chromosome"].to_numpy(str)
    training_cells = np.array([stage != HELD_OUT_STAGE for stage in STAGES])
    held_out, nowhere = chromosome == HELD_OUT_CHROMOSOME, np.zeros(len(genes), bool)
    print(f"{len(genes):,} genes, {held_out.sum():,} on {HELD_OUT_CHROMOSOME}; {len(sites):,} cCREs\n")
    print(f"| baseline | {HELD_OUT_CHROMOSOME}, training stages | {HELD_OUT_CHROMOSOME}, {HELD_OUT_STAGE} | changes |")
    print("|---|---|---|---|")
    change = baselines.change_against_training(expression, training_cells)
    fits = [(scales, nowhere) for scales in (SCALES, *((scale,) for scale in SCALES))]
    for scales, validation in [*fits, (baselines.SCALES, chromosome == VALIDATION_CHROMOSOME)]:
        around = baselines.distance_features(indptr, indices, distance, signals, scales)
        found = baselines.fit_baselines(
            expression, promoter, around, training_cells, ~(held_out | validation), validation
        )
        note = f" ({VALIDATION_CHROMOSOME} left out)" if validation.any() else ""
        if len(scales) > 1:
            print_row("the gene's mean over (other) training stages", found["gene_mean"], expression, change, held_out)
            print_row(f"promoter signal{note}", found["promoter_ridge"], expression, change, held_out)
        label = ", ".join(f"{scale:,}" for scale in scales) + note
        print_row(f"scales {label}; levels", found["distance_ridge"], expression, change, held_out)
        print_row(f"scales {label}; changes", found["change_ridge"], expression, change, held_out)
    mean = baselines.training_mean(expression, training_cells)
    stage = STAGES.index(HELD_OUT_STAGE)
    constant = pearson(-mean[held_out, stage], change[held_out, stage])
    print(f"\nA constant prediction minus the gene's measured mean, against the measured change: {constant:.3f}")
    return 0


def print_row(label: str, predicted: baselines.Prediction, expression: np.ndarray, change: np.ndarray, genes) -> None:
    """Print how a baseline does on the held-out chromosome."""
    stage = STAGES.index(HELD_OUT_STAGE)
    others = [number for number in range(len(STAGES)) if number != stage]
    pooled = pearson(predicted.level[genes][:, others].ravel(), expression[genes][:, others].ravel())
    level = pearson(predicted.level[genes, stage], expression[genes, stage])
    changes = pearson(predicted.change[genes, stage], change[genes, stage])
    print(f"| {label} | {pooled:.3f} | {level:.3f} | {changes:.3f} |", flush=True)


def read_sites(folder: Path) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Read the cCREs (chromosome as in the GTF, start, end) and log1p of their mean ATAC signal, by stage (N, 1)."""
    import pybigtools

    sites = pd.read_csv(folder / "accessible_sites.bed", sep="\t", header=None, usecols=[0, 1, 2])
    sites.columns = ["name", "start", "end"]
    sites["chromosome"] = sites["name"].str.removeprefix("chr")
    sites = sites.sort_values(["chromosome", "start"], ignore_index=True)
    signals = []
    for stage in STAGES:
        track = pybigtools.open(str(folder / "atac" / f"{stage}.bw"))
        signal = np.zeros((len(sites), 1))
        for name, part in sites.groupby("name"):
            values = track.values(name, fillna=0)  # whole chromosome
            signal[part.index, 0] = [
                values[start:end].mean() for start, end in zip(part["start"], part["end"], strict=True)
            ]
        signals.append(np.log1p(signal))
    return sites, signals


def read_genes(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read the genes (gene_id, chromosome, tss) that are in annotation and table, and their log1p TPM by stage."""
    genes, _ = read_annotation(folder / "celegans_WS220.gtf.gz")
    tpm = pd.read_csv(folder / "celegans_stage_tpm.csv", index_col=0)
    nuclear = genes["chromosome"].isin(["I", "II", "III", "IV", "V"])
    genes = genes[nuclear & genes["gene_id"].isin(tpm.index)].reset_index(drop=True)
    genes["tss"] = np.where(genes["strand"] == "+", genes["start"], genes["end"] - 1)
    return genes, np.log1p(tpm.loc[genes["gene_id"], list(STAGES)].to_numpy())


def find_reach(genes: pd.DataFrame, sites: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the cCREs whose centre lies within `REACH` of each TSS as (indptr, indices); sites are in order."""
    lists = []
    of_chromosome = {name: part.index.to_numpy() for name, part in sites.groupby("chromosome")}
    centre = ((sites["start"] + sites["end"]) // 2).to_numpy()
    for name, tss in zip(genes["chromosome"], genes["tss"], strict=True):
        rows = of_chromosome[name]
        first, last = np.searchsorted(centre[rows], [tss - REACH, tss + REACH + 1])
        lists.append(rows[first:last])
    return np.cumsum([0, *map(len, lists)]), np.concatenate(lists)


if __name__ == "__main__":
    sys.exit(main())
