"""Makes the example: an input and a narrow model, trained on a made-up world in which the answer is known.

    python make_example.py          a few minutes on two cores; writes input.pkl and model.keras

The made-up rule: a cCRE is as active as its H3K27ac is high, H3K27me3 silences it, and a gene receives from
each cCRE in proportion to activity / (1 + distance / 50 kb). Its expression is log1p of the sum. Each
training step is a new made-up region of 24 cCREs and 64 genes. The last line printed is how well genes of
regions never trained on are predicted, and the number that run_example.sh should come near to.
"""

import os
import pickle
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from creator import CHANNELS, GENE_WINDOW
from creator.checkpoint import save_model

HERE = Path(__file__).resolve().parent
SEED = 7
ELEMENTS, LENGTH, GENES = 24, 200, 64  # of a region; bases a cCRE
REACH = 1_000_000  # bp, to either side
STEPS, LEARNING_RATE = 2500, 1e-3
SIZES = {"width": 64, "heads": 4, "hidden": 128}


def made_up_region(random, genes):
    """Arrays of one region as `-i` holds them, and the expression (genes,) that the rule gives."""
    tokens = random.integers(1, 5, (ELEMENTS, LENGTH))
    heights = random.gamma(1.0, 1.0, (ELEMENTS, len(CHANNELS)))
    bases = np.arange(LENGTH) - LENGTH / 2
    peak = np.exp(-((bases / random.uniform(40, 120, (ELEMENTS, 1))) ** 2))
    noise = np.abs(random.normal(0, 0.05, (ELEMENTS, LENGTH, len(CHANNELS))))
    signal = (peak[:, :, None] * heights[:, None, :] + noise).astype(np.float32)
    middle = int(random.integers(10_000_000, 90_000_000))
    positions = np.sort(middle + random.integers(-REACH, REACH, ELEMENTS))
    tss = middle + random.integers(-REACH // 4, REACH // 4, genes)
    window = tss[:, None] + np.arange(GENE_WINDOW) - GENE_WINDOW // 2

    height = dict(zip(CHANNELS, heights.T, strict=True))
    activity = 4 * height["H3K27ac"] / (1 + height["H3K27me3"])
    contact = 1 / (1 + np.abs(tss[:, None] - positions) / 50_000)
    region = {"E_ge": tokens, "E_chp": signal, "E_pos": positions, "G_pos": tss, "G_gpos": window}
    return region, np.log1p(contact @ activity).astype(np.float32)


def train():
    """A narrow network after STEPS made-up regions."""
    import keras
    import tensorflow as tf

    from creator.network import Creator

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    random = np.random.default_rng(SEED)
    model = Creator(**SIZES)
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(0.0, STEPS - 100, warmup_target=LEARNING_RATE, warmup_steps=100),
        clipnorm=1.0,
    )

    @tf.function
    def step(region, expression):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(region) - expression))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    losses = []
    for i in range(1, STEPS + 1):
        region, expression = made_up_region(random, GENES)
        losses.append(float(step({key: tf.constant(value) for key, value in region.items()}, expression)))
        if i % 250 == 0:
            print(f"step {i}: mean squared error {np.mean(losses[-250:]):.3f}", flush=True)
    return model


def main():
    """Writes the two files and tells what to expect of them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    model = train()
    save_model(model, HERE / "model.keras")

    from creator.network import predict_expression

    random = np.random.default_rng(SEED + 1)
    predicted, expected = [], []
    for _ in range(100):
        region, expression = made_up_region(random, 2)
        predicted.extend(predict_expression(model, **region))
        expected.extend(expression)
    region, expression = made_up_region(random, 1)
    with open(HERE / "input.pkl.part", "wb") as file:
        pickle.dump(region, file, protocol=4)
    os.replace(HERE / "input.pkl.part", HERE / "input.pkl")
    correlation = np.corrcoef(predicted, expected)[0, 1]
    number = predict_expression(model, **region)[0]
    print(
        f"{len(expected)} genes of 100 new regions: Pearson r {correlation:.3f}; "
        f"the example: predicted {number:.3f}, by the rule {expression[0]:.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
