"""Expected calibration error of finished runs, with and without calibration, beside what sampling alone gives.

`python benchmarks/calibration.py saved_models/demo` prints, for each run, the expected calibration error of its scored
genes as the page measures it (ten bins of equal width): of the probabilities before calibration (column `uncalibrated`
of each fold's predictions.csv), as they are, and with the scale and offset that are best for these very genes, which no
run can know. Where every probability is right, classes still fall by chance: the last columns are the mean and the 95th
percentile of the error of classes drawn with the run's own probabilities. An error in that range cannot be told from
none.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core import InputError  # noqa: E402
from core.cli import run_script  # noqa: E402

DRAWS = 1000


def read_scored(prefix: Path):
    """Return the scored genes of a run, a frame with fold, target (0 or 1), probability and uncalibrated.

    Raises:
        InputError: no finished run, or one of an older version.
    """
    import pandas as pd

    from lcre.records import fold_folder, read_run
    from lcre.trained import read_columns

    if not Path(f"{prefix}_run.json").exists():
        raise InputError(f"no run {prefix}: {prefix}_run.json is not there")
    known = read_columns(Path(f"{prefix}_predictions.csv"), ["gene_id"], ["target"]).set_index("gene_id")["target"]
    parts = []
    for fold in read_run(Path(f"{prefix}_run.json"))["folds"]:
        path = fold_folder(prefix, fold) / "predictions.csv"
        found = read_columns(path, ["gene_id", "kmer", "uncalibrated"], ["probability"])
        found = found[found["kmer"] != ""]  # that of a test gene
        parts.append(found.assign(fold=fold, target=found["gene_id"].map(known)))
    scored = pd.concat(parts, ignore_index=True)
    return scored.assign(uncalibrated=scored["uncalibrated"].astype(float))


def measure_error(target, probability) -> float:
    """Return the expected calibration error."""
    from lcre.report import calibration

    return calibration(target, probability)[2]


def simulate_errors(probability, draws: int, seed: int = 1):
    """Return the calibration error of classes drawn with these very probabilities, (draws,)."""
    import numpy as np

    from lcre.report import CALIBRATION_BINS

    bins = np.minimum(np.floor(np.round(probability * CALIBRATION_BINS, 9)), CALIBRATION_BINS - 1).astype(int)
    random, errors = np.random.default_rng(seed), []
    for _ in range(draws):
        away = (random.random(len(probability)) < probability) - probability
        errors.append(np.abs(np.bincount(bins, away)).sum() / len(probability))
    return np.array(errors)


def measure_run(prefix: Path) -> dict[str, object]:
    """Return the row of a run."""
    import numpy as np
    from scipy.special import expit, logit

    from core.scores import auroc
    from lcre.calibration import fit_calibration

    scored = read_scored(prefix)
    target, probability = scored["target"].to_numpy(), scored["probability"].to_numpy()
    log_odds = logit(np.clip(probability, 1e-8, 1 - 1e-8))
    scale, offset = fit_calibration(log_odds, target, target.mean())
    drawn = simulate_errors(probability, DRAWS)
    return {
        "run": prefix.name,
        "genes": len(scored),
        "auROC": auroc(target, probability),
        "uncalibrated": measure_error(target, scored["uncalibrated"].to_numpy()),
        "calibrated": measure_error(target, probability),
        "best possible": measure_error(target, expit(scale * log_odds + offset)),
        "by chance, mean": float(drawn.mean()),
        "95 % of draws below": float(np.quantile(drawn, 0.95)),
    }


def run(argv: Sequence[str]) -> None:
    """Print the table of the runs that are named."""
    import pandas as pd

    from lcre.check import show_table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished runs, as saved_models/demo")
    print(show_table(pd.DataFrame([measure_run(prefix) for prefix in parser.parse_args(argv).runs])))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    return run_script(Path(__file__).name, run, argv, "nothing is written")


if __name__ == "__main__":
    sys.exit(main())
