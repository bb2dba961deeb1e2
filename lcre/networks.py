"""How a network is fed, taught and asked: words counted, its parts made fast, answers taught apart, predictions.

Keras and TensorFlow are imported when they are needed; networks and arrays only, no files.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

BATCH = 64  # windows predicted at once: each takes some 4 MB on its way
PENALTY = 2  # of the regression on words, as a multiple of a gene's sum of squared scaled counts, on average


def match_words(length: int) -> list[np.ndarray]:
    """Return kernel and bias of a convolution whose ReLU is 1 where a word stands and 0 elsewhere.

    Returns:
        float32, (length, 4, 4**length) and (4**length,), words in the order of ACGT.
    """
    bases = np.indices((4,) * length).reshape(length, -1)
    return [np.eye(4, dtype=np.float32)[:, bases].swapaxes(0, 1), np.full(4**length, 1.0 - length, np.float32)]


def count_words(windows, begin: int, end: int, length: int, stride: int, size: int):
    """Return layers that count every word of a length in each stretch of a part of windows.

    The first and the last stretch may be shorter: their counts are in proportion to a whole stretch's.

    Args:
        windows: one-hot, a Keras tensor, (n, columns, 4).
        begin, end: the columns of the part.
        length: of the words, in bp.
        stride: from one place for a word to the next, in bp.
        size: places in a stretch, at least one; what is over is shared out between the first and the last.

    Returns:
        A Keras tensor, (n, stretches * 4**length): stretch by stretch, words in the order of ACGT.
    """
    from keras import layers

    layer = layers.Conv1D(4**length, length, stride, activation="relu", trainable=False)
    found = layer(layers.Cropping1D((begin, windows.shape[1] - end))(windows))
    layer.set_weights(match_words(length))
    size = min(max(size, 1), found.shape[1])
    share = layers.AveragePooling1D(size, padding="same")(found)
    return layers.Flatten()(layers.Rescaling(size)(share))


def fit_regression(model, codes: np.ndarray, log_odds: np.ndarray) -> int:
    """Solve the layer named `regression`, if there is one: linear in what it is given, ridge-penalised.

    Args:
        model: a network with layers as `lcre_classifier.build_motifs_and_words` names them.
        codes: windows that train, base codes, uint8, (n, columns).
        log_odds: of being high, which their regression is to give, (n,).

    Returns:
        The number of features, 0 where there is no such layer.
    """
    import keras
    import tensorflow as tf
    from sklearn.linear_model import Ridge

    from lcre.baselines import scale_features

    if "regression" not in {layer.name for layer in model.layers}:
        return 0
    layer = model.get_layer("regression")
    count = tf.function(keras.Model(model.inputs, layer.input))
    words = np.empty((len(codes), layer.input.shape[1]), np.float32)
    for at in range(0, len(codes), BATCH):
        words[at : at + BATCH] = count(tf.one_hot(codes[at : at + BATCH], 4), training=False)
    centre, scale = scale_features(words, [])
    usual = float(log_odds.mean())
    penalty = PENALTY * float(np.square(words).sum(axis=1, dtype=np.float64).mean())
    ridge = Ridge(penalty, fit_intercept=False, copy_X=False, solver="cholesky")
    weights = ridge.fit(words, (log_odds - usual).astype(np.float32)).coef_ / scale
    layer.set_weights([weights[:, None], np.array([usual - weights @ centre])])
    return len(weights)


def fuse_lstms(model) -> None:
    """Let a network's LSTMs take a whole sequence in one operation: same answers, same file, no loop over columns.

    On CPUs Keras' own loop takes seconds to build, and short windows train more slowly with it. On GPUs Keras has one
    operation of its own, and LSTMs that do more than Keras' default are left alone.
    """
    import keras
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    for layer in model.layers:
        both = type(layer) is keras.layers.Bidirectional
        for one in (layer.forward_layer, layer.backward_layer) if both else (layer,):
            if type(one) is keras.layers.LSTM and has_defaults(one):  # a subclass may compute something else
                one.inner_loop = partial(run_lstm, one)


def has_defaults(lstm) -> bool:
    """Tell whether a Keras LSTM computes what `run_lstm` computes."""
    names = [activation.__name__ for activation in (lstm.activation, lstm.recurrent_activation)]
    if names != ["tanh", "sigmoid"] or not lstm.use_bias or lstm.compute_dtype != "float32":
        return False
    return not (lstm.dropout or lstm.recurrent_dropout or lstm.stateful or lstm.unroll)


def run_lstm(lstm, sequences, initial_state, mask, training=False):
    """Compute what the method `inner_loop` of a Keras LSTM does: last output, all outputs, last states.

    Args:
        lstm: the layer.
        sequences: float32, (n, columns, channels).
        initial_state: output and carry before the first column, (n, units) each.
        mask: None; else Keras' own loop is taken.
        training: makes no difference.
    """
    import tensorflow as tf

    if mask is not None:
        return type(lstm).inner_loop(lstm, sequences, initial_state, mask, training)

    def sort(weights):  # Keras: input, forget, carry, output; BlockLSTM: input, carry, forget, output
        first, forget, carry, output = tf.split(weights, 4, axis=-1)
        return tf.concat([first, carry, forget, output], axis=-1)

    cell, zeros = lstm.cell, tf.zeros(lstm.units)
    columns = tf.transpose(sequences, (1, 0, 2))
    done = tf.raw_ops.BlockLSTM(  # not BlockLSTMV2: its gradient mistakes forget and carry for one another
        seq_len_max=tf.cast(tf.shape(columns)[0], tf.int64),
        x=columns[::-1] if lstm.go_backwards else columns,
        cs_prev=initial_state[1],
        h_prev=initial_state[0],
        w=sort(tf.concat([cell.kernel, cell.recurrent_kernel], 0)),
        wci=zeros,
        wcf=zeros,
        wco=zeros,
        b=sort(tf.convert_to_tensor(cell.bias)),
        forget_bias=0.0,  # Keras has it in the bias
        cell_clip=0.0,
        use_peephole=False,
    )
    return done.h[-1], tf.transpose(done.h, (1, 0, 2)), [done.h[-1], done.cs[-1]]


def quicken_convolutions(model) -> None:
    """Let a network's convolutions find the gradients of their kernels by matrix products: same answers, same file.

    On CPUs with AVX2 TensorFlow's own way takes two fifths of a training step. Graphics cards are left alone, and
    convolutions that have strides, gaps, groups or other padding.
    """
    import keras
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    asked = {"strides": (1,), "dilation_rate": (1,), "groups": 1, "padding": "same", "data_format": "channels_last"}
    asked |= {"compute_dtype": "float32", "trainable": True}
    for layer in model.layers:
        if type(layer) is keras.layers.Conv1D and {name: getattr(layer, name) for name in asked} == asked:
            layer.call = partial(run_convolution, layer)


def run_convolution(layer, inputs):
    """Compute what the method `call` of a Keras Conv1D does."""
    import tensorflow as tf

    outputs = convolve(inputs, tf.convert_to_tensor(layer.kernel))
    if layer.use_bias:
        outputs = outputs + tf.convert_to_tensor(layer.bias)
    return layer.activation(outputs)


def convolve(sequences, kernel):
    """Convolve with zeros around: (n, columns, channels) to (n, columns, filters).

    Args:
        sequences: float32, (n, columns, channels).
        kernel: float32, (width, channels, filters).
    """
    import tensorflow as tf

    @tf.custom_gradient
    def apply(sequences, kernel):
        def gradients(upstream):
            of_sequences = tf.nn.conv1d_transpose(upstream, kernel, tf.shape(sequences), 1, "SAME")
            return of_sequences, kernel_gradient(sequences, upstream, kernel.shape[0])

        return tf.nn.conv1d(sequences, kernel, 1, "SAME"), gradients

    return apply(sequences, kernel)


def kernel_gradient(sequences, upstream, width: int):
    """Return the gradient of a kernel, (width, channels, filters).

    All sequences lie end to end, with room for the kernel between them. Cut into rows of a few columns, they are
    multiplied with the rows of `upstream`, and again moved by a row, until the kernel's width is covered: no column is
    copied for each place in the kernel. Few channels make rows of several columns; then only the pairs of columns that
    a kernel's place joins are taken from the product.

    Args:
        sequences: what was convolved, float32, (n, columns, channels).
        upstream: the gradient of the result, float32, (n, columns, filters).
        width: of the kernel.
    """
    import tensorflow as tf

    columns, channels, filters = sequences.shape[1], sequences.shape[2], upstream.shape[2]
    block = max(24 // channels, 1)  # columns in a row
    moves = -(-(block + width - 1) // block)
    room = block * (-(-columns // block) + moves - 1) - columns
    before = (width - 1) // 2
    rows = tf.reshape(tf.pad(sequences, [(0, 0), (before, room - before), (0, 0)]), (-1, block * channels))
    others = tf.reshape(tf.pad(upstream, [(0, 0), (0, room), (0, 0)]), (-1, block * filters))
    count = tf.shape(rows)[0] - moves + 1
    others = others[:count]
    products = [tf.matmul(rows[move : move + count], others, transpose_a=True) for move in range(moves)]
    pairs = tf.reshape(tf.concat(products, 0), (moves * block, channels, block, filters))
    return tf.add_n([pairs[column : column + width, :, column] for column in range(block)])


class Workbench:
    """A network with its training step and its predictor, which serve one fold after another.

    Building their graphs anew takes as long as many steps. What one fold leaves behind no other sees: it begins with
    `begin`, or with the `load_weights` of the model, which brings the state of the optimizer too.

    Attributes:
        recipe: the `lcre_classifier.Recipe`.
        model: compiled with its optimizer.
        train: as `make_trainer` returns it.
        predict: as `make_predictor` returns it.
    """

    def __init__(self, recipe, codes: np.ndarray, upstream: int, downstream: int):
        self.recipe = recipe
        self.build = partial(recipe.build, codes.shape[1], upstream, downstream)
        self.model = self.build()
        self.model.compile(recipe.make_optimizer())
        fuse_lstms(self.model)
        quicken_convolutions(self.model)
        self.train, self.predict = make_trainer(self.model, codes), make_predictor(self.model)
        self.unused = [variable.numpy() for variable in self.model.optimizer.variables]

    def begin(self) -> None:
        """Take the weights of a network built anew, and bring the optimizer back to where it was before any step."""
        self.model.set_weights(self.build().get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.unused, strict=True):
            variable.assign(value)


def make_trainer(model, codes: np.ndarray) -> Callable:
    """Return a function that trains a network by one step.

    Where a layer is named `taught`, each answer in it is taught by itself: together they would lean on the one that
    learns the training genes by heart. The rest of the network is not even computed.

    Args:
        model: compiled with its optimizer.
        codes: base codes of all windows, uint8, (n, columns).

    Returns:
        A tf.function from rows of codes, (batch,), the probability of being high to teach for each, float32, (batch,),
        and the learning rate to loss and accuracy before the step.
    """
    import keras
    import tensorflow as tf

    apart = "taught" in {layer.name for layer in model.layers}
    trained = keras.Model(model.inputs, model.get_layer("taught").output if apart else model.outputs[0])
    entropy = keras.losses.BinaryCrossentropy(from_logits=apart)
    weights, optimizer = model.trainable_variables, model.optimizer
    if not optimizer.built:
        optimizer.build(weights)
    with tf.device("CPU:0"):  # windows are held and encoded there, also for a GPU
        held = tf.constant(codes)

    # XLA is left off: on CPUs it made every network here slower.
    given = ((None,), tf.int64), ((None,), tf.float32), ((), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec(*one) for one in given])
    def train(rows, taught, rate):
        with tf.device("CPU:0"):
            windows = tf.one_hot(tf.gather(held, rows), 4)
        with tf.GradientTape() as tape:
            answers = trained(windows, training=True)
            loss = entropy(tf.broadcast_to(taught[:, None], tf.shape(answers)), answers)
            scaled = optimizer.scale_loss(loss)
        optimizer.learning_rate = rate
        optimizer.apply(tape.gradient(scaled, weights), weights)
        high = tf.reduce_mean(answers, axis=1) > (0 if apart else 0.5)
        return loss, tf.reduce_mean(tf.cast(high == (taught > 0.5), tf.float32))

    return train


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
