"""What genes of families gain where relatives are in training: a run by chromosomes against one by families.

`python benchmarks/families.py saved_models/yeast saved_models/yeast_families --families families.csv` takes two
finished runs on the same genes, the first with chromosomes held out (`--hold-out chromosome`), the second with families
(`--hold-out family`), and prints the auROC of both by the size of the gene's family, with DeLong's paired difference.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core import InputError  # noqa: E402
from core.cli import run_script  # noqa: E402

SIZES = ((1, 1), (2, 3), (4, 20), (21, None))  # genes of a family


def read_scored(prefix: Path):
    """Return target and probability of the scored genes of a run, a frame indexed by gene_id."""
    from lcre.trained import read_columns

    path = Path(f"{prefix}_predictions.csv")
    table = read_columns(path, ["gene_id"], ["target", "probability"]).set_index("gene_id")
    return table[table["target"].isin([0, 1]) & table["probability"].notna()]


def run(argv: Sequence[str]) -> None:
    """Print the table."""
    import numpy as np

    from core.scores import auroc, delong_test
    from lcre.families import read_families

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chromosomes", type=Path, help="a run with chromosomes held out")
    parser.add_argument("families", type=Path, help="a run with families held out")
    parser.add_argument("--families", dest="table", type=Path, required=True, help="families.csv of lcre_homology.py")
    arguments = parser.parse_args(argv)

    one, other = read_scored(arguments.chromosomes), read_scored(arguments.families)
    genes = one.index.intersection(other.index)
    if not len(genes):
        raise InputError("the two runs score no gene in common")
    target = one.loc[genes, "target"].to_numpy(int)
    if (target != other.loc[genes, "target"]).any():
        raise InputError("the two runs label genes differently")
    family_of = read_families(arguments.table)
    sizes = family_of.map(family_of.value_counts())
    size = sizes.reindex(genes).fillna(1).to_numpy(int)
    pairs = [table.loc[genes, "probability"].to_numpy(float) for table in (one, other)]
    rows = {
        f"{least}" if least == most else f"{least} to {most}" if most else f"{least} and more": (
            (size >= least) & (size <= (most or size.max()))
        )
        for least, most in SIZES
    }
    rows["all"] = np.ones(len(genes), bool)
    print("| genes of the family | genes | high | by chromosomes | by families | difference | 95 % interval | p |")
    print("|---|---|---|---|---|---|---|---|")
    for name, here in rows.items():
        first, second = (pair[here] for pair in pairs)
        found = delong_test(target[here], [first], [second])
        areas = f"{auroc(target[here], first):.3f} | {auroc(target[here], second):.3f}"
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        share = f"{here.sum():,} | {target[here].mean():.0%}"
        print(f"| {name} | {share} | {areas} | {found.difference:+.3f} | {interval} | {found.p:.1g} |")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "rows that were printed are whole")


if __name__ == "__main__":
    sys.exit(main())
