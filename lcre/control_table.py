"""The table of controls: what the network reaches when it is denied something, beside the real run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from core.files import write_csv
from lcre import records
from lcre.check import show_table
from lcre.comparison import compare_runs
from lcre.controls import CONTROLS, prefix_of
from lcre.report import read_result

COLUMNS = (
    *("control", "genes", "auROC", "auROC_low", "auROC_high", "kmer_auROC"),
    *("difference", "difference_low", "difference_high", "p"),
)


def write_controls(prefix: Path) -> pd.DataFrame | None:
    """Compare a finished run with each of its finished controls, and write O_controls.csv.

    Controls that were trained with other settings or on other inputs are no controls of this run.

    Args:
        prefix: saved_models/O, of the real run.

    Returns:
        A row for the run itself (control `none`) and one for each control: pooled auROC with its 95 % bootstrap
        interval, that of the k-mer regression on the same windows, and the run's auROC less the control's on the
        genes that both score, with DeLong's interval and p-value. None where the run is not finished or has no
        control; an earlier table is then removed.
    """
    path, record = Path(f"{prefix}_controls.csv"), Path(f"{prefix}_run.json")
    rows = []
    if record.exists() and (real := records.read_run(record))["finished"]:
        rows = [compare_control(prefix, name) for name in CONTROLS if is_control_of(prefix, real, name)]
    if not rows:
        path.unlink(missing_ok=True)
        return None
    table = pd.DataFrame([describe_run(prefix, "none"), *rows], columns=COLUMNS)
    numbers = [name for name in COLUMNS if name not in ("control", "genes", "p")]
    table[numbers] = table[numbers].astype(float).round(6)
    table["p"] = table["p"].map(lambda p: f"{p:.3g}", na_action="ignore")
    write_csv(path, table)
    return table


def is_control_of(prefix: Path, real: dict, control: str) -> bool:
    """Tell whether a control is finished and was trained as the run was; `real` is the record of the run."""
    record = Path(f"{prefix_of(prefix, control)}_run.json")
    if not record.exists():
        return False
    run = records.read_run(record)
    same = not records.list_differences(real, run, besides=("CONTROL", "SHIFT")) and run["folds"] == real["folds"]
    return bool(run["finished"]) and same


def describe_run(prefix: Path, control: str) -> dict:
    """Return the cells of the table that a run has by itself; `control` is what it is called."""
    pooled = read_result(Path(f"{prefix}_result.csv")).iloc[0]
    scores = {name: pooled[name] for name in ("auROC", "auROC_low", "auROC_high", "kmer_auROC")}
    return {"control": control, "genes": int(pooled["test_size"]), **scores}


def compare_control(prefix: Path, control: str) -> dict:
    """Return a control's row of the table."""
    own = prefix_of(prefix, control)
    found = compare_runs(prefix, own, draws=1).pooled
    difference = {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
    return describe_run(own, control) | {"genes": found.genes} | difference | {"p": found.p}


def show_controls(table: pd.DataFrame) -> str:
    """Return the table of controls as people read it."""
    shown = pd.DataFrame(
        {
            "control": table["control"].replace("none", "the run"),
            "genes": table["genes"],
            "auROC": table["auROC"],
            "95 % interval": [f"{row.auROC_low:.3f}-{row.auROC_high:.3f}" for row in table.itertuples()],
            "k-mers": table["kmer_auROC"],
            "run - control": table["difference"],
            "p": table["p"],
        }
    )
    what = "What the network reads: the run and the same training with something denied, pooled over folds"
    return f"{what}\n{show_table(shown)}"
