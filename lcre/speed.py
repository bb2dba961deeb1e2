"""What makes networks faster on CPUs than public Keras does: same outputs, same files.

Each trick replaces a method of single layers. benchmarks/training.py measures what it earns, and benchmarks/RESULTS.md
says it. Graphics cards are left alone: Keras and cuDNN are fast there.
"""

from functools import partial


def speed_up(model, training: bool = True) -> None:
    """Make a network's layers faster on CPUs; its outputs, its weights and the file it is saved to stay the same.

    Args:
        model: a keras.Model.
        training: whether it is going to be trained.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return
    fuse_lstms(model)
    if training:
        multiply_kernel_gradients(model)


def fuse_lstms(model) -> None:
    """Let a network's LSTMs take a whole sequence in one operation instead of a loop over columns.

    Keras' own loop takes two seconds longer to build, and short windows train more slowly with it. LSTMs that do more
    than Keras' default are left alone.
    """
    import keras

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
    columns = tf.transpose(sequences, (1, 0, 2))
    outputs, cells = run_block(lstm, columns[::-1] if lstm.go_backwards else columns, initial_state)
    return outputs[-1], tf.transpose(outputs, (1, 0, 2)), [outputs[-1], cells[-1]]


def run_block(lstm, columns, initial_state):
    """Return outputs and cell states of a Keras LSTM for every column, both (columns, n, units), in one operation.

    Args:
        lstm: the layer; `has_defaults` is true of it.
        columns: float32, (columns, n, channels), in the order in which they are read.
        initial_state: output and cell state before the first column, (n, units) each.
    """
    import tensorflow as tf

    def sort(weights):  # Keras: input, forget, carry, output; BlockLSTM: input, carry, forget, output
        first, forget, carry, output = tf.split(weights, 4, axis=-1)
        return tf.concat([first, carry, forget, output], axis=-1)

    cell, zeros = lstm.cell, tf.zeros(lstm.units)
    done = tf.raw_ops.BlockLSTM(  # not BlockLSTMV2: its gradient mistakes forget and carry for one another
        seq_len_max=tf.cast(tf.shape(columns)[0], tf.int64),
        x=columns,
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
    return done.h, done.cs


def multiply_kernel_gradients(model) -> None:
    """Let a network's convolutions compute the gradients of their kernels by matrix products.

    With AVX2 TensorFlow's own way takes two fifths of a training step; with AVX-512 it is as fast. Convolutions with
    strides, dilation, groups or other padding are left alone.
    """
    import keras

    plain = {"strides": (1,), "dilation_rate": (1,), "groups": 1, "padding": "same", "data_format": "channels_last"}
    plain |= {"compute_dtype": "float32", "trainable": True}
    for layer in model.layers:
        if type(layer) is keras.layers.Conv1D and {name: getattr(layer, name) for name in plain} == plain:
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
