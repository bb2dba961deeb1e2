"""Makes the example of `CREaTor.py -i` from the made-up world: an input, and the model that run_world.sh has trained.

    ./run_world.sh world && python make_example.py world          writes input.pkl and model.keras

The input is a gene of a chromosome that was held out, in the cell that was held out. The last line printed says what
its expression is by the rule of the world (make_world.py), and what the model predicts from the input.
"""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from make_world import BASAL, HELD_OUT_CELL  # noqa: E402

from core.files import replacing  # noqa: E402
from creator.store import Store, open_store  # noqa: E402

GENE = "gene23055"


def main(folder: Path) -> int:
    """Write the two files."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from creator.checkpoint import load_model, save_model
    from creator.network import predict_expression

    store = open_store(folder / "store")
    inputs = gene_input(store, GENE, HELD_OUT_CELL)
    with replacing(HERE / "input.pkl") as temporary:
        temporary.write_bytes(pickle.dumps(inputs, protocol=4))
    model = load_model(folder / "training_0" / "best_model.keras")
    save_model(model, HERE / "model.keras")  # without the state of its optimizer
    predicted = predict_expression(model, **inputs)[0]
    print(f"{GENE}: predicted {predicted:.4f}, by the rule {expression_by_rule(folder, GENE, HELD_OUT_CELL):.4f}")
    return 0


def gene_input(store: Store, name: str, cell: str) -> dict[str, np.ndarray]:
    """Return what `-i` reads (docs/creator.md) of a gene and the cCREs in its reach in a cell."""
    gene = store.gene_id.tolist().index(name.encode())
    elements = store.in_reach(gene)
    return {
        "E_ge": store.tokens[elements].astype(np.int64),
        "E_chp": store.read_signal(store.cells.index(cell), elements),
        "E_pos": store.element_position(elements),
        "G_pos": np.array([store.gene_tss[gene]]),
        "G_gpos": store.gene_window(gene)[None],
    }


def expression_by_rule(folder: Path, name: str, cell: str) -> float:
    """Return log1p of the TPM that the links of a gene add up to, without noise."""
    links = pd.read_csv(folder / "truth.tsv", sep="\t")
    works = links["cells"].str.split(",").map(lambda cells: cell in cells)
    return float(np.log1p(BASAL + links.loc[works & (links["gene_id"] == name), "effect"].sum()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "world")))
