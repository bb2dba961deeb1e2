"""What the default network would give otherwise, from checkpoints, without training it again.

`python benchmarks/afterwards.py --name yeast --fasta F --gtf G --tpm T --chromosomes I+II,III+IV --seeds 1 2 3
--runs FOLDER` looks into the runs that `benchmarks/accuracy.py` with the same arguments left in FOLDER and prints, for
each way of predicting, the difference in auROC to the last epoch's output as it is: on the chromosome that chooses the
epoch (what a choice may go by) and on the held-out ones, mean and range over folds and seeds. Folds that are not there
are left out.

"5-mers too" fits the regression again, with 5-mers of each part of the window as well. A shift moves the sequence of
either region of a window by 3 or 6 columns, which keeps the reading frame, and fills up with unknown bases.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core import InputError  # noqa: E402
from core.cli import run_script  # noqa: E402


def shift(codes: np.ndarray, regions: Sequence[slice], by: int) -> np.ndarray:
    """Return windows, base codes (n, columns), whose regions are moved by so many columns to the right."""
    moved = codes.copy()
    for region in regions:
        moved[:, region] = np.roll(codes[:, region], by, axis=1)
        moved[:, region][:, slice(0, by) if by > 0 else slice(by, None)] = 4
    return moved


def count_longer(network, layout, k: int = 5, size: int = 1000):
    """Return a keras.Model from windows to a network's k-mer counts and those of longer k-mers in each part.

    Args:
        network: of `lcre_classifier.build_cnn_lstm_kmer`.
        layout: of the windows.
        k: length of the longer k-mers, in bp.
        size: places in a bin.
    """
    import keras

    from lcre.kmers import count_in_bins

    windows = network.kmer_counts.inputs[0]
    counts = [count_in_bins(windows, part, k, 1, size) for part in layout.parts]
    return keras.Model(windows, keras.layers.Concatenate()([network.kmer_counts.outputs[0], *counts]))


def predict_otherwise(checkpoints: list[Path], codes: np.ndarray, training: tuple, layout) -> dict[str, np.ndarray]:
    """Return the log-odds of windows by every way of predicting; "as it is" is the last checkpoint's.

    Args:
        checkpoints: of the fold, in the order of its epochs.
        codes: of the windows, uint8, (n, columns).
        training: codes and log-odds of the genes that train.
        layout: of the windows.
    """
    import keras
    import tensorflow as tf

    import lcre_classifier as lcre
    from lcre.kmers import fit_ridge
    from lcre.speed import speed_up
    from lcre.trained import BATCH, make_predictor

    network, regions = lcre.build_cnn_lstm_kmer(layout), list(layout.regions.values())
    model = network.model
    model.load_weights(checkpoints[-1])
    speed_up(model, training=False)
    by_kmers = network.regression(network.kmer_counts.outputs[0])
    logits = keras.Model(model.inputs, [network.trained.outputs[0], by_kmers])

    @tf.function(input_signature=[tf.TensorSpec((None, layout.columns), tf.uint8)])
    def forward(batch):
        return logits(tf.one_hot(batch, 4), training=False)

    def predict(codes):
        """Return the logits of the branches, (n, branches), and of the k-mer regression, (n, 1)."""
        parts = [forward(codes[at : at + BATCH]) for at in range(0, len(codes), BATCH)]
        return [np.concatenate([part.numpy() for part in kind]) for kind in zip(*parts, strict=True)]

    def total(branches, kmers):
        return branches.mean(axis=1) + kmers[:, 0]

    branches, kmers = predict(codes)
    found = {"as it is": total(branches, kmers)}
    found["branches alone"], found["k-mers alone"] = branches.mean(axis=1), kmers[:, 0]
    for weight in (0.5, 0.75, 1.5):
        found[f"k-mers times {weight}"] = total(branches, weight * kmers)
    for number in range(branches.shape[1]):
        found[f"branch {number + 1} and k-mers"] = total(branches[:, [number]], kmers)
    counts, regression = count_longer(network, layout), keras.layers.Dense(1, kernel_initializer="zeros")
    longer = make_predictor(keras.Model(counts.inputs, regression(counts.outputs[0])))
    fit_ridge(regression, counts, *training)
    found["5-mers too"] = total(branches, longer(codes)[:, None])
    moved = {by: total(*predict(shift(codes, regions, by))) for by in (-6, -3, 3, 6)}
    for reach in (3, 6):
        kept = [found["as it is"], *(moved[by] for by in moved if abs(by) <= reach)]
        found[f"mean of {len(kept)} shifts"] = np.mean(kept, axis=0)
    weights, outputs = [model.get_weights()], [found["as it is"]]
    for count, checkpoint in enumerate(checkpoints[-2:-4:-1], 2):
        model.load_weights(checkpoint)
        weights.append(model.get_weights())
        outputs.append(total(*predict(codes)))
        found[f"mean output of the last {count} epochs"] = np.mean(outputs, axis=0)
    model.set_weights([np.mean(of_epochs, axis=0) for of_epochs in zip(*weights, strict=True)])
    found["mean weights of the last 3 epochs"] = total(*predict(codes))
    return found


def run(argv: Sequence[str]) -> None:
    """Look into every finished fold and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the data set, such as yeast")
    for name in ("--fasta", "--gtf", "--tpm", "--chromosomes"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("accuracy_runs"), help="folder of the runs")
    arguments = parser.parse_args(argv)

    from accuracy import load

    import lcre_classifier as lcre
    from core.device import start_tensorflow
    from core.scores import auroc
    from lcre.records import fold_folder

    data, settings = load(arguments, "cnn_lstm_kmer")
    layout = lcre.WindowLayout.of(settings)
    target = data.with_windows["target"].to_numpy()
    log_odds = lcre.rank_log_odds(data.with_windows["rank"].to_numpy())
    start_tensorflow()
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in arguments.seeds:
        settings.SEED = seed
        for fold in lcre.make_folds(data, settings):
            folder = fold_folder(arguments.runs / fold.name / f"{arguments.name}_cnn_lstm_kmer_{seed}", fold.name)
            if not (folder / "predictions.csv").exists():
                continue
            print(f"{arguments.name} seed {seed} fold {fold.name}", file=sys.stderr, flush=True)
            checkpoints = sorted(folder.glob("epoch_models/*"), key=lambda path: int(path.stem.split("_")[-1]))
            rows = np.concatenate([fold.validation, fold.test])
            parts = slice(0, len(fold.validation)), slice(len(fold.validation), None)
            training = data.windows[fold.training], log_odds[fold.training]
            for way, values in predict_otherwise(checkpoints, data.windows[rows], training, layout).items():
                areas = tuple(auroc(target[rows][part], values[part]) for part in parts)
                found.setdefault(way, []).append(areas)
    if not found:
        raise InputError(
            f"no finished fold in {arguments.runs}; run benchmarks/accuracy.py with the same arguments first"
        )
    usual = np.array(found.pop("as it is"))
    print(f"| {arguments.name}, {len(usual)} folds | choosing chromosome, mean (range) | held out, mean (range) |")
    print("|---|---|---|")
    print("| as it is, auROC | " + " | ".join(f"{area:.4f}" for area in usual.mean(axis=0)) + " |")
    for way, areas in found.items():
        more = (np.array(areas) - usual).T
        cells = [f"{part.mean():+.4f} ({part.min():+.4f} to {part.max():+.4f})" for part in more]
        print(f"| {way} | " + " | ".join(cells) + " |")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "nothing was written")


if __name__ == "__main__":
    sys.exit(main())
