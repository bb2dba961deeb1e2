"""How a network is fed, taught and asked: batches of base codes, members taught apart, predictions.

Keras and TensorFlow are imported when they are needed; networks and arrays only, no files.
"""

from collections.abc import Callable

import numpy as np

BATCH = 64  # windows predicted at once: counting words takes 4 MB for each


def make_trainer(model):
    """Return a network compiled with `model`'s optimizer, as it is trained: same weights, same optimizer.

    Where a layer is named `members`, each of them is taught by itself: together they would lean on the one that
    learns the training genes by heart. Answers for samples, behind those of the members, weigh as much as these.
    """
    import keras
    from keras import ops

    apart = "members" in {layer.name for layer in model.layers}
    members = int(model.layers[-1].kernel.numpy().sum()) if apart else 1  # the last layer adds them, and no samples
    trained = keras.Model(model.inputs, model.get_layer("members").output if apart else model.outputs[0])
    binary_crossentropy = keras.losses.BinaryCrossentropy(from_logits=apart)

    def teach(taught, answers):
        return binary_crossentropy(ops.tile(taught, (1, answers.shape[1] // taught.shape[1])), answers)

    def loss(taught, answers):
        own = teach(taught[:, :1], answers[:, :members])
        return (own + teach(taught[:, 1:], answers[:, members:])) / 2 if answers.shape[1] > members else own

    def accuracy(taught, answers):
        high = ops.sum(answers[:, :members], axis=1) > (0 if apart else 0.5)
        return ops.mean(ops.cast(high == (taught[:, 0] > 0.5), "float32"))

    # XLA is left off: on CPUs it made every network here slower.
    trained.compile(model.optimizer, loss, metrics=[accuracy], jit_compile=False)
    return trained


def make_batches(codes, rows: np.ndarray, taught: np.ndarray, batch_size: int):
    """Return a tf.data set of one epoch's batches; codes become one-hot inside its graph.

    The batches are as even as can be: a last batch of a few genes would upset batch normalisation.

    Args:
        codes: all windows as a tensor, uint8, (n, columns).
        rows: which of them, in order.
        taught: the probabilities of being high to teach for each of `rows`, (rows, 1 or 1 + samples).
        batch_size: at most.
    """
    import tensorflow as tf

    even = -(-len(rows) // -(-len(rows) // batch_size))
    batches = tf.data.Dataset.from_tensor_slices((rows, taught.astype(np.float32))).batch(even)
    return batches.map(lambda row, label: (tf.one_hot(tf.gather(codes, row), 4), label)).prefetch(2)


def seed_layers(model, random: np.random.Generator) -> None:
    """Draw the random state of every layer that has one (Dropout) anew; Keras leaves it out of checkpoints."""
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign([random.integers(2**31), 0])


def make_predictor(model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from base codes, uint8, (n, columns), to probabilities of being high, float64, (n,)."""
    import tensorflow as tf

    columns = model.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, columns), tf.uint8)])
    def forward(codes):
        return model(tf.one_hot(codes, 4), training=False)[:, 0]

    def predict(codes: np.ndarray) -> np.ndarray:
        parts = [forward(codes[at : at + BATCH]).numpy() for at in range(0, len(codes), BATCH)]
        return np.concatenate([np.zeros(0), *parts])

    return predict
