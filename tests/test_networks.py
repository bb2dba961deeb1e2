"""The networks: what their parts do on windows whose answer is known by hand, and how they are taught."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lcre_classifier as lcre
from lcre.baselines import count_kmers
from lcre.networks import (
    PENALTY,
    Workbench,
    fit_regression,
    fuse_lstms,
    kernel_gradient,
    make_predictor,
    make_trainer,
    match_words,
    quicken_convolutions,
    seed_layers,
)

COLUMNS, UPSTREAM, DOWNSTREAM = 450, 150, 60  # 30 of padding
WORDS = 2 * (11 * 64 + 3 * 256) + 2 * (5 * 64 + 256) + 6 * 3 * 64


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return lcre.build_motifs_and_words(COLUMNS, UPSTREAM, DOWNSTREAM)


def some_codes(rows: int = 6) -> np.ndarray:
    codes = np.random.default_rng(1).integers(0, 4, (rows, COLUMNS)).astype(np.uint8)
    codes[:, 210:240] = 4  # as padding is
    return codes


def output_of(model, layer: str, codes: np.ndarray) -> np.ndarray:
    import keras

    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return part(lcre.one_hot(codes).astype(np.float32)).numpy()


def test_a_word_answers_where_it_stands_and_nowhere_else():
    kernel, bias = match_words(3)
    assert (kernel.shape, bias.shape) == ((3, 4, 64), (64,))
    words = list(itertools.product(range(4), repeat=3))
    for codes in ([0, 1, 2], [3, 3, 0], [2, 2, 2]):
        answers = np.maximum(np.einsum("pb,pbw->w", np.eye(4)[codes], kernel) + bias, 0)
        assert [words[at] for at in np.flatnonzero(answers)] == [tuple(codes)]
        assert answers.sum() == 1
    unknown = np.maximum(np.einsum("pb,pbw->w", np.eye(5, 4)[[0, 4, 2]], kernel) + bias, 0)
    assert not unknown.any()


def count_in_stretches(codes: np.ndarray, length: int, stride: int, places: list[int]) -> np.ndarray:
    """Counts of words in stretches of so many places, a shorter one scaled to the length of the longest."""
    starts = np.arange(0, codes.shape[1] - length + 1, stride)
    assert sum(places) == len(starts)
    hits = np.stack([count_kmers(codes[:, at : at + length], length) for at in starts], axis=1)
    stretches = np.split(hits, np.cumsum(places)[:-1], axis=1)
    return np.concatenate([part.mean(axis=1) * max(places) for part in stretches], axis=1)


def test_word_counts_are_those_of_the_window(model):
    """Before and behind TSS and TES every 3-mer and 4-mer in stretches; inside the gene, codons by frame.

    Half a window has 210 columns: 3-mers are counted at 14 places, 4-mers at 70, codons at 8. What is over is shared
    out: of the 148 3-mers before the TSS the first and the last 11 stand alone.
    """
    codes = some_codes()
    outside, inside = (codes[:, :150], codes[:, 300:]), (codes[:, 150:210], codes[:, 240:300])
    expected = []
    for part in (outside[0], *inside, outside[1]):
        long = part.shape[1] == 150
        expected.append(count_in_stretches(part, 3, 1, [11, *[14] * 9, 11] if long else [8, 14, 14, 14, 8]))
        expected.append(count_in_stretches(part, 4, 1, [39, 70, 38] if long else [57]))
    for part in inside:
        expected.append(count_in_stretches(part, 3, 3, [6, 8, 6]))
        expected += [count_in_stretches(part[:, frame:], 3, 3, [6, 8, 5]) for frame in (1, 2)]
    expected = np.concatenate(expected, axis=1)
    assert expected.shape == (6, WORDS)
    assert output_of(model, "words", codes) == pytest.approx(expected, abs=1e-3)
    assert expected.sum() > 6 * 800


def test_parts_too_short_for_a_word_are_left_out():
    """Two bases outside the gene hold no 3-mer, four inside one codon in each of two frames."""
    short = lcre.build_motifs_and_words(40, 2, 8)  # 6 3-mers and 2 codons a frame, each a stretch of its own
    assert short.get_layer("words").output.shape == (None, 2 * (6 * 64 + 2 * 256) + 6 * 2 * 64)
    shorter = lcre.build_motifs_and_words(28, 4, 4)
    assert shorter.get_layer("words").output.shape == (None, 4 * (2 * 64 + 256) + 4 * 64)


def test_the_answer_adds_the_words_to_the_mean_of_the_detectors(model):
    codes = some_codes()
    layer = model.get_layer("regression")
    layer.set_weights([np.full(layer.kernel.shape, 0.01), np.array([-5.0])])
    taught, words = output_of(model, "taught", codes), output_of(model, "regression", codes)
    assert taught.shape == (6, 2)
    assert words[:, 0] == pytest.approx(output_of(model, "words", codes).sum(axis=1) * 0.01 - 5, abs=1e-4)
    assert abs(words).min() > 0.01
    log_odds = taught.mean(axis=1) + words[:, 0]
    assert make_predictor(model)(codes) == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-6)


def test_the_regression_is_the_ridge_solution(model):
    """Zero slope of the penalised squares at the solution, on counts scaled as the k-mer regressions scale theirs."""
    codes, wanted = some_codes(40), np.linspace(-3, 2, 40)
    assert fit_regression(model, codes, wanted) == WORDS
    words = output_of(model, "words", codes).astype(float)
    kernel, bias = (part.astype(float) for part in model.get_layer("regression").get_weights())
    spread = words.std(axis=0)
    scale = np.sqrt(np.maximum(spread, spread.mean() / 100) * spread.mean())
    scaled, weights = (words - words.mean(axis=0)) / scale, kernel[:, 0] * scale
    missing = wanted - (words @ kernel[:, 0] + bias)
    assert missing.mean() == pytest.approx(0, abs=1e-3)
    penalty = PENALTY * np.square(scaled).sum(axis=1).mean()
    assert scaled.T @ missing == pytest.approx(penalty * weights, abs=1e-3 * abs(penalty * weights).max())
    assert abs(missing).mean() < abs(wanted - wanted.mean()).mean()


def test_the_regression_is_not_taught_by_steps():
    """Neither counts nor regression are part of what is trained; everything else is."""
    import keras

    model = lcre.build_motifs_and_words(COLUMNS, UPSTREAM, DOWNSTREAM)
    model.compile(keras.optimizers.Adam(0.01))
    before = {weight.path: weight.numpy() for weight in model.weights}
    train = make_trainer(model, some_codes())
    train(np.arange(6), np.linspace(0, 1, 6, dtype=np.float32), 0.01)
    moved = {weight.path for weight in model.weights if (weight.numpy() != before[weight.path]).any()}
    averages = {path for path in before if "moving_" in path}
    assert len(averages) == 8
    assert moved == averages | {weight.path for weight in model.trainable_variables}
    operations = [node.type for node in train.get_concrete_function().graph.get_operations()]
    assert operations.count("Conv2D") == 8  # four of each detector, none that counts words


def test_answers_are_taught_apart():
    """A step with one answer already right still teaches the other as much as if it stood alone."""
    import keras

    windows = keras.layers.Input((2, 4))
    flat = keras.layers.Flatten()(windows)
    right = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(9), name="right")(flat)
    blank = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="blank")(flat)
    both = keras.layers.Concatenate(name="taught")([right, blank])
    total = keras.layers.Dense(1, "sigmoid", use_bias=False, kernel_initializer="ones", trainable=False)(both)
    model = keras.Model(windows, total)
    model.compile(keras.optimizers.SGD(0.5))
    train = make_trainer(model, np.zeros((4, 2), np.uint8))  # AA, high: `right` says 18
    loss, accuracy = train(np.arange(4), np.ones(4, np.float32), 1.0)
    # binary cross-entropy: log 2 of the blank one, next to nothing of the other; their mean
    assert float(loss) == pytest.approx(np.log(2) / 2, abs=1e-4)
    assert float(accuracy) == 1
    moved = model.get_layer("blank").kernel.numpy()[[0, 4], 0]
    assert moved == pytest.approx(0.25, abs=1e-5)  # half the loss is its own; its slope is (1 - 1/2) at each base
    assert model.get_layer("right").kernel.numpy()[0, 0] == pytest.approx(9, abs=1e-4)
    assert int(model.optimizer.iterations) == 1


def test_a_network_without_such_a_layer_is_trained_as_it_is():
    import keras

    answer = keras.layers.Dense(1, "sigmoid", use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.layers.Input((2, 4)), keras.layers.Flatten(), answer])
    model.compile(keras.optimizers.SGD(0.5))
    assert fit_regression(model, np.zeros((4, 2), np.uint8), np.array([1, 1, 1, 0])) == 0
    train = make_trainer(model, np.array([[3, 3], [0, 0], [0, 0], [0, 0], [0, 0]], np.uint8))
    loss, accuracy = train(np.arange(1, 5), np.array([1, 1, 1, 0], np.float32), 1.0)
    assert float(loss) == pytest.approx(np.log(2), abs=1e-6)
    assert float(accuracy) == 0.25  # 0.5 is not called high
    assert answer.kernel.numpy()[[0, 4], 0] == pytest.approx(0.25, abs=1e-6)  # 3/4 - 1/2 at each base


def make_bench() -> Workbench:
    """A dense layer behind dropout, so that random states take part."""
    import keras

    def build(columns, upstream, downstream):
        layers = keras.layers
        answer = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(3, "relu"), layers.Dense(1, "sigmoid")]
        return keras.Sequential([layers.Input((columns, 4)), *answer])

    return Workbench(lcre.Recipe(build, 1e-2, one_cycle=True), some_codes(8), UPSTREAM, DOWNSTREAM)


def test_a_fold_learns_nothing_from_the_one_before_it(tmp_path):
    """The same bits on a bench where another fold was trained; and from a checkpoint, with the optimizer's state."""
    import keras

    def train(bench, steps):
        for step in steps:
            seed_layers(bench.model, np.random.default_rng(step))
            bench.train(np.arange(8), np.linspace(0, 1, 8, dtype=np.float32), 0.01 * (1 + step))

    def state(bench):
        kept = *bench.model.weights, *bench.model.optimizer.variables
        return [variable.numpy().tolist() for variable in kept]

    keras.utils.set_random_seed(1)
    used = make_bench()
    used.begin()
    train(used, range(3))
    keras.utils.set_random_seed(2)
    used.begin()
    train(used, range(2))
    used.model.save(tmp_path / "model.keras")
    train(used, [2])
    keras.utils.set_random_seed(9)
    fresh = make_bench()
    keras.utils.set_random_seed(2)
    fresh.begin()
    train(fresh, range(3))
    assert state(fresh) == state(used)
    other = make_bench()
    other.model.load_weights(tmp_path / "model.keras")
    train(other, [2])
    assert state(other) == state(used)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])  # as on GPUs, where the loss is scaled
def test_the_rate_is_that_of_the_step(precision):
    """Adam's first step moves a weight by the learning rate, whatever its slope; at rate 0 nothing moves."""
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        bench = make_bench()
    finally:
        keras.mixed_precision.set_global_policy(before)
    for rate in (0, 0.125):
        bench.begin()
        old = [weight.numpy() for weight in bench.model.trainable_weights]
        bench.train(np.arange(8), np.ones(8, np.float32), rate)
        moved = [abs(weight.numpy() - value) for weight, value in zip(bench.model.trainable_weights, old, strict=True)]
        assert max(part.max() for part in moved) == pytest.approx(rate, rel=0.02)  # a hundredth of it is weight decay


def test_one_cycle_is_the_schedule_of_keras():
    import keras

    recipe = lcre.Recipe(None, learning_rate=2e-3, one_cycle=True)
    for steps in (1, 4, 35, 1000):
        warmup = max(steps // 5, 1)
        theirs = keras.optimizers.schedules.CosineDecay(
            2e-3 / 25, max(steps - warmup, 1), alpha=1e-3, warmup_target=2e-3, warmup_steps=warmup
        )
        ours = [recipe.find_rate(step, steps) for step in range(steps)]
        assert ours == pytest.approx([float(theirs(step)) for step in range(steps)], abs=1e-9)
    assert max(ours) == ours[200] == 2e-3
    assert lcre.Recipe(None, learning_rate=1e-4).find_rate(7, 9) == 1e-4


def test_ranks_are_taught_around_one_half():
    assert lcre.rank_log_odds(np.array([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == [-3, -1.5, 0, 1.5, 3]


def make_reader(**options):
    import keras

    layers = keras.layers
    inputs = layers.Input((7, 4))
    lstm = layers.LSTM(4, return_sequences=True, recurrent_initializer="normal", **options)
    last = layers.LSTM(2, bias_initializer="normal")(lstm(inputs))
    both = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(inputs)
    return keras.Model(inputs, layers.Concatenate()([layers.Flatten()(both), last]))


@pytest.mark.parametrize("go_backwards", [False, True])
def test_a_fused_lstm_answers_and_learns_as_keras_does(go_backwards, tmp_path):
    import keras
    import tensorflow as tf

    def look(model):
        with tf.GradientTape() as tape:
            tape.watch(windows)
            answers = model(windows)
            loss = tf.reduce_sum(answers**2)
        return [answers, *tape.gradient(loss, [windows, *model.trainable_weights])]

    windows = tf.constant(np.random.default_rng(1).normal(size=(3, 7, 4)).astype(np.float32))
    model = make_reader(go_backwards=go_backwards)
    before = look(model)
    fuse_lstms(model)
    function = tf.function(model)
    operations = {node.type for node in function.get_concrete_function(windows).graph.get_operations()}
    assert "BlockLSTM" in operations
    assert "While" not in operations
    after = look(model)
    assert len(before) == 14
    for theirs, ours in zip(before, after, strict=True):
        assert ours.numpy() == pytest.approx(theirs.numpy(), abs=1e-5)
    model.save(tmp_path / "model.keras")
    alone = keras.models.load_model(tmp_path / "model.keras")
    assert alone(windows).numpy() == pytest.approx(before[0].numpy(), abs=1e-6)


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"activation": "relu"}, {"use_bias": False}, {"unroll": True}])
def test_an_lstm_that_does_more_is_left_to_keras(options):
    model = make_reader(**options)
    fuse_lstms(model)
    assert ["inner_loop" in vars(layer) for layer in model.layers[1:3]] == [False, False]


def test_layers_of_a_subclass_keep_their_own_computation():
    """A user's layer is a Conv1D or LSTM to Python, and computes something else."""
    import keras

    class Twice(keras.layers.Conv1D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    class Reversed(keras.layers.LSTM):
        def inner_loop(self, sequences, initial_state, mask, training=False):
            return super().inner_loop(sequences[:, ::-1], initial_state, mask, training)

    class Both(keras.layers.Bidirectional):
        pass

    model = keras.Sequential(
        [
            keras.layers.Input((20, 4)),
            Twice(3, 5, padding="same"),
            Reversed(2, return_sequences=True),
            Both(keras.layers.LSTM(2)),
        ]
    )
    windows = np.random.default_rng(1).random((2, 20, 4), np.float32)
    before = model(windows).numpy()
    fuse_lstms(model)
    quicken_convolutions(model)
    assert np.array_equal(model(windows).numpy(), before)
    assert "call" not in vars(model.layers[0])
    assert "inner_loop" not in vars(model.layers[1])
    assert "inner_loop" not in vars(model.layers[2].forward_layer)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 3),
    columns=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4, 12, 24, 30]),
    filters=st.integers(1, 3),
    width=st.integers(1, 15),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_gradient_of_a_kernel_is_the_sum_over_all_places(count, columns, channels, filters, width, seed):
    random = np.random.default_rng(seed)
    sequences = random.integers(-3, 4, (count, columns, channels)).astype(np.float32)  # so that sums are exact
    upstream = random.integers(-3, 4, (count, columns, filters)).astype(np.float32)
    before = (width - 1) // 2
    padded = np.pad(sequences, [(0, 0), (before, width - 1 - before), (0, 0)])
    expected = [np.einsum("ntc,ntf->cf", padded[:, place : place + columns], upstream) for place in range(width)]
    assert np.array_equal(kernel_gradient(sequences, upstream, width), expected)


def test_quickened_convolutions_answer_and_learn_as_keras_does(tmp_path):
    import keras
    import tensorflow as tf

    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = layers.Input((50, 4))
    first = layers.Conv1D(5, 12, padding="same", use_bias=False)(inputs)
    second = layers.Conv1D(3, 6, padding="same", activation="relu", bias_initializer="normal")(first)
    model = keras.Model(inputs, layers.Conv1D(2, 1, padding="same", activation="tanh")(second))
    windows = tf.constant(np.random.default_rng(1).normal(size=(3, 50, 4)).astype(np.float32))

    def look():
        with tf.GradientTape() as tape:
            tape.watch(windows)
            answers = model(windows)
            loss = tf.reduce_sum(answers**2)
        return [answers, *tape.gradient(loss, [windows, *model.trainable_weights])]

    before = look()
    quicken_convolutions(model)
    after = look()
    assert ["call" in vars(layer) for layer in model.layers] == [False, True, True, True]
    assert len(before) == 7
    for theirs, ours in zip(before, after, strict=True):
        assert np.abs(theirs).max() > 0.01
        assert ours.numpy() == pytest.approx(theirs.numpy(), abs=1e-4)
    operations = {node.type for node in tf.function(look).get_concrete_function().graph.get_operations()}
    assert not operations & {"Conv2DBackpropFilter", "_MklNativeConv2DBackpropFilter"}
    model.save(tmp_path / "model.keras")
    alone = keras.models.load_model(tmp_path / "model.keras")
    assert alone(windows).numpy() == pytest.approx(before[0].numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "options", [{"strides": 2}, {"dilation_rate": 2}, {"padding": "valid"}, {"trainable": False}, {"groups": 2}]
)
def test_a_convolution_that_does_more_is_left_to_keras(options):
    import keras

    model = keras.Sequential(
        [keras.layers.Input((20, 4)), keras.layers.Conv1D(**{"padding": "same"} | options, filters=2, kernel_size=3)]
    )
    quicken_convolutions(model)
    assert "call" not in vars(model.layers[0])
