"""What the default network would give otherwise, from checkpoints, without training it again.

`python benchmarks/afterwards.py --name yeast --fasta F --gtf G --tpm T --chromosomes I+II,III+IV --seeds 1 2 3
--runs FOLDER` looks into the runs that `benchmarks/accuracy.py` with the same arguments left in FOLDER and prints, for
each way of answering, the difference in auROC to the last epoch's answer as it is: on the chromosome that chooses the
epoch (what a choice may go by) and on the held-out ones, mean and range over folds and seeds. Folds that are not there
are left out.

"5-mers too" solves the regression again, with 5-mers of each part of the window as well. A shift moves the sequence of
either half of a window by 3 or 6 columns, which keeps the reading frame, and fills up with unknown bases.
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


def shift(codes: np.ndarray, halves: tuple[slice, slice], by: int) -> np.ndarray:
    """Return windows, base codes (n, columns), whose halves are moved by so many columns to the right."""
    moved = codes.copy()
    for half in halves:
        moved[:, half] = np.roll(codes[:, half], by, axis=1)
        moved[:, half][:, slice(0, by) if by > 0 else slice(by, None)] = 4
    return moved


def count_longer(model, parts: list[tuple[int, int]], length: int = 5, stretch: int = 1000):
    """Return a network of the regression alone, not yet solved, on the model's words and longer ones of each part."""
    import keras

    from lcre.networks import count_words

    windows = keras.layers.Input(model.input_shape[1:])
    counts = [count_words(windows, *part, length, 1, stretch) for part in parts]
    longer = keras.Model(windows, keras.layers.Concatenate()(counts), name="longer")  # names of its own
    words = keras.layers.Concatenate(name="all_words")([model.get_layer("words").output, longer(model.inputs[0])])
    regression = keras.layers.Dense(1, kernel_initializer="zeros", trainable=False, name="regression")
    return keras.Model(model.inputs, regression(words))


def answer(checkpoints: list[Path], codes: np.ndarray, taught: tuple, settings) -> dict[str, np.ndarray]:
    """Return the log-odds of windows by every way of answering; "as it is" is the last checkpoint's.

    Args:
        checkpoints: of the fold, in the order of its epochs.
        codes: of the windows asked for, uint8, (n, columns).
        taught: codes and log-odds of the genes that train.
        settings: of the run.
    """
    import keras
    import tensorflow as tf

    import lcre_classifier as lcre
    from lcre.networks import BATCH, fit_regression, make_predictor
    from lcre.trained import load_model

    halves = lcre.window_halves(settings)
    model = load_model(checkpoints[-1], codes.shape[1])
    members = keras.Model(model.inputs, [model.get_layer("taught").output, model.get_layer("regression").output])

    @tf.function(input_signature=[tf.TensorSpec((None, codes.shape[1]), tf.uint8)])
    def forward(batch):
        return members(tf.one_hot(batch, 4), training=False)

    def ask(codes):
        """Return the log-odds of the detectors, (n, detectors), and of the words, (n, 1)."""
        parts = [forward(codes[at : at + BATCH]) for at in range(0, len(codes), BATCH)]
        return [np.concatenate([part.numpy() for part in member]) for member in zip(*parts, strict=True)]

    def total(detectors, words):
        return detectors.mean(axis=1) + words[:, 0]

    detectors, words = ask(codes)
    found = {"as it is": total(detectors, words)}
    found["detectors alone"], found["words alone"] = detectors.mean(axis=1), words[:, 0]
    for share in (0.5, 0.75, 1.5):
        found[f"words times {share}"] = total(detectors, share * words)
    for number in range(detectors.shape[1]):
        found[f"detector {number + 1} and words"] = total(detectors[:, [number]], words)
    longer = count_longer(model, lcre.window_parts(codes.shape[1], settings.UPSTREAM, settings.DOWNSTREAM))
    fit_regression(longer, *taught)
    found["5-mers too"] = total(detectors, make_predictor(longer)(codes)[:, None])
    moved = {by: total(*ask(shift(codes, halves, by))) for by in (-6, -3, 3, 6)}
    for reach in (3, 6):
        kept = [found["as it is"], *(moved[by] for by in moved if abs(by) <= reach)]
        found[f"mean of {len(kept)} shifts"] = np.mean(kept, axis=0)
    weights, answers = [model.get_weights()], [found["as it is"]]
    for count, checkpoint in enumerate(checkpoints[-2:-4:-1], 2):
        model.load_weights(checkpoint)
        weights.append(model.get_weights())
        answers.append(total(*ask(codes)))
        found[f"mean answer of the last {count} epochs"] = np.mean(answers, axis=0)
    model.set_weights([np.mean(of_epochs, axis=0) for of_epochs in zip(*weights, strict=True)])
    found["mean weights of the last 3 epochs"] = total(*ask(codes))
    return found


def run(argv: Sequence[str]) -> None:
    """Ask every finished fold and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the data set, such as yeast")
    for name in ("--fasta", "--gtf", "--tpm", "--chromosomes"):
        parser.add_argument(name, required=True, help="as for lcre_classifier.py")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("accuracy_runs"), help="folder of the runs")
    asked = parser.parse_args(argv)

    from accuracy import load

    import lcre_classifier as lcre
    from core.device import start_tensorflow
    from core.scores import auroc
    from lcre.records import fold_folder

    data, settings = load(asked, "motifs_and_words")
    target = data.with_windows["target"].to_numpy()
    log_odds = lcre.rank_log_odds(data.with_windows["rank"].to_numpy())
    start_tensorflow()
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in asked.seeds:
        settings.SEED = seed
        for fold in lcre.make_folds(data, settings):
            folder = fold_folder(asked.runs / fold.name / f"{asked.name}_motifs_and_words_{seed}", fold.name)
            if not (folder / "predictions.csv").exists():
                continue
            print(f"{asked.name} seed {seed} fold {fold.name}", file=sys.stderr, flush=True)
            checkpoints = sorted(folder.glob("epoch_models/*"), key=lambda path: int(path.stem.split("_")[-1]))
            rows = np.concatenate([fold.validation, fold.test])
            parts = slice(0, len(fold.validation)), slice(len(fold.validation), None)
            taught = data.windows[fold.taught], log_odds[fold.taught]
            for way, values in answer(checkpoints, data.windows[rows], taught, settings).items():
                areas = tuple(auroc(target[rows][part], values[part]) for part in parts)
                found.setdefault(way, []).append(areas)
    if not found:
        raise InputError(f"no finished fold in {asked.runs}; run benchmarks/accuracy.py with the same arguments first")
    usual = np.array(found.pop("as it is"))
    print(f"| {asked.name}, {len(usual)} folds | choosing chromosome, mean (range) | held out, mean (range) |")
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
