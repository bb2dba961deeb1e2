"""The networks: what their parts do on windows whose answer is known by hand, and how they are trained."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lcre_classifier as lcre
from core.genome import one_hot
from lcre.kmers import PENALTY, count_kmers, kmer_kernel, kmers_in_bins, plan_bins, plan_fine_bins
from lcre.kmers import count_in_bins as layer_of_counts
from lcre.speed import fuse_lstms, kernel_gradient, multiply_kernel_gradients, speed_up
from lcre.trained import make_predictor

LAYOUT = lcre.WindowLayout(upstream=150, downstream=60, padding=30)
KMERS = 2 * (11 * 64 + 3 * 256) + 2 * (5 * 64 + 256) + 6 * 3 * 64


@pytest.fixture(scope="module")
def network() -> lcre.Network:
    import keras

    keras.utils.set_random_seed(1)
    return lcre.build_cnn_lstm_kmer(LAYOUT)


def some_codes(rows: int = 6) -> np.ndarray:
    codes = np.random.default_rng(1).integers(0, 4, (rows, LAYOUT.columns)).astype(np.uint8)
    codes[:, 210:240] = 4  # the padding
    return codes


def output_of(model, codes: np.ndarray) -> np.ndarray:
    return model(one_hot(codes, np.float32)).numpy()


def test_a_kmer_is_found_where_it_stands_and_nowhere_else():
    kernel, bias = kmer_kernel(3)
    assert (kernel.shape, bias.shape) == ((3, 4, 64), (64,))
    kmers = list(itertools.product(range(4), repeat=3))
    for codes in ([0, 1, 2], [3, 3, 0], [2, 2, 2]):
        found = np.maximum(np.einsum("pb,pbk->k", np.eye(4)[codes], kernel) + bias, 0)
        assert [kmers[at] for at in np.flatnonzero(found)] == [tuple(codes)]
        assert found.sum() == 1
    unknown = np.maximum(np.einsum("pb,pbk->k", np.eye(5, 4)[[0, 4, 2]], kernel) + bias, 0)
    assert not unknown.any()


def count_in_bins(codes: np.ndarray, k: int, stride: int, places: list[int]) -> np.ndarray:
    """Counts of k-mers in bins of so many places, a shorter one scaled to the length of the longest."""
    starts = np.arange(0, codes.shape[1] - k + 1, stride)
    assert sum(places) == len(starts)
    hits = np.stack([count_kmers(codes[:, at : at + k], k) for at in starts], axis=1)
    bins = np.split(hits, np.cumsum(places)[:-1], axis=1)
    return np.concatenate([part.mean(axis=1) * max(places) for part in bins], axis=1)


def test_kmer_counts_are_those_of_the_window(network):
    """Before and behind TSS and TES every 3-mer and 4-mer in bins; inside the gene, codons by frame.

    A region has 210 columns: 3-mers are counted at 14 places, 4-mers at 70, codons at 8. What is over is split
    between the first and the last: of the 148 3-mers before the TSS the first and the last 11 stand alone.
    """
    codes = some_codes()
    outside, inside = (codes[:, :150], codes[:, 300:]), (codes[:, 150:210], codes[:, 240:300])
    expected = []
    for part in (outside[0], *inside, outside[1]):
        long = part.shape[1] == 150
        expected.append(count_in_bins(part, 3, 1, [11, *[14] * 9, 11] if long else [8, 14, 14, 14, 8]))
        expected.append(count_in_bins(part, 4, 1, [39, 70, 38] if long else [57]))
    for part in inside:
        expected.append(count_in_bins(part, 3, 3, [6, 8, 6]))
        expected += [count_in_bins(part[:, frame:], 3, 3, [6, 8, 5]) for frame in (1, 2)]
    expected = np.concatenate(expected, axis=1)
    assert expected.shape == (6, KMERS)
    assert output_of(network.kmer_counts, codes) == pytest.approx(expected, abs=1e-3)
    assert expected.sum() > 6 * 800
    bins = plan_bins(
        [slice(0, 150), slice(150, 210), slice(240, 300), slice(300, 450)], [slice(150, 210), slice(240, 300)], 210
    )
    counted = np.concatenate([kmers_in_bins(codes, *one) for one in bins], axis=1)
    assert counted == pytest.approx(expected, abs=1e-3)  # without a network


def test_fine_bins_count_next_to_the_sites_outside_of_the_gene():
    """With 150 bp before the TSS: 6- and 4-mers as far as these, 2-mers for 100 bp, single bases for 20 bp.

    The 145 places of 6-mers make one bin; the 147 of 4-mers eight, what lacks to 160 taken from the first and the last;
    the 99 of 2-mers 20.
    """
    import keras

    layout, codes = lcre.WindowLayout(150, 60, 30), some_codes()
    bins = plan_fine_bins(layout.outside, list(layout.sites.values()))
    counted = np.concatenate([kmers_in_bins(codes, *one) for one in bins], axis=1)
    before, behind = codes[:, :150], codes[:, 300:]
    expected = []
    for k, places in ((6, [145]), (4, [14, *[20] * 6, 13])):
        expected += [count_in_bins(part, k, 1, places) for part in (before, behind)]
    twos = [*[5] * 19, 4]
    expected += [count_in_bins(part, 2, 1, twos) for part in (before[:, 50:], behind[:, :100])]
    expected += [np.eye(4)[part].reshape(6, -1) for part in (before[:, 130:], behind[:, :20])]
    assert counted == pytest.approx(np.concatenate(expected, axis=1), abs=1e-3)
    network = lcre.MODELS["cnn_lstm_kmer_fine"].build(layout)
    everything = output_of(network.kmer_counts, codes)
    assert everything.shape == (6, KMERS + counted.shape[1])
    assert everything[:, KMERS:] == pytest.approx(counted, abs=1e-3)
    windows = keras.layers.Input((450, 4))
    seven = keras.Model(windows, layer_of_counts(windows, slice(0, 40), 7, 1, 40))  # halves of 3 and 4 bp
    assert output_of(seven, codes) == pytest.approx(kmers_in_bins(codes, slice(0, 40), 7, 1, 40), abs=1e-3)
    assert plan_fine_bins([slice(0, 0), slice(20, 20)], [0, 20]) == []  # no flanks, nothing to count


def test_parts_too_short_for_a_kmer_are_left_out():
    """Two bases outside the gene hold no 3-mer, four inside one codon in each of two frames."""

    def count_features(layout: lcre.WindowLayout) -> int:
        return lcre.build_cnn_lstm_kmer(layout).kmer_counts.output_shape[1]

    # padding of 20: 6 3-mers and 2 codons a frame, each a bin of its own
    assert count_features(lcre.WindowLayout(2, 8, 20)) == 2 * (6 * 64 + 2 * 256) + 6 * 2 * 64
    assert count_features(lcre.WindowLayout(4, 4, 12)) == 4 * (2 * 64 + 256) + 4 * 64


def test_the_logit_is_the_regression_plus_the_mean_of_the_branches(network):
    codes, layer = some_codes(), network.regression
    layer.set_weights([np.full(layer.kernel.shape, 0.01), np.array([-5.0])])
    branches = output_of(network.trained, codes)
    assert branches.shape == (6, 2)
    by_kmers = output_of(network.kmer_counts, codes).sum(axis=1) * 0.01 - 5
    assert abs(by_kmers).min() > 0.01
    assert abs(branches[:, 0] - branches[:, 1]).min() > 1e-5  # they differ in their random weights
    log_odds = branches.mean(axis=1) + by_kmers
    assert make_predictor(network.model)(codes) == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-5)


@pytest.mark.parametrize("branches", [1, 3])
def test_any_number_of_branches_has_its_mean(branches):
    network, codes = lcre.build_cnn_lstm_kmer(LAYOUT, branches), some_codes()
    logits = output_of(network.trained, codes)
    assert logits.shape == (6, branches)
    expected = 1 / (1 + np.exp(-logits.mean(axis=1)))  # the regression is not fitted: zero
    assert output_of(network.model, codes)[:, 0] == pytest.approx(expected, abs=1e-6)


def test_the_regression_is_the_ridge_solution(network):
    """Zero slope of the penalised squares at the solution, on counts scaled as the k-mer regressions scale theirs."""
    codes, ranks = some_codes(40), np.linspace(0, 5 / 6, 40)
    log_odds = np.linspace(-3, 2, 40)  # of these ranks
    said = lcre.fit_kmer_regression(network, codes, np.zeros(40, int), ranks)
    assert said == f"regression on {KMERS:,} k-mer counts fitted"
    counts = output_of(network.kmer_counts, codes).astype(float)
    kernel, bias = (part.astype(float) for part in network.regression.get_weights())
    spread = counts.std(axis=0)
    scale = np.sqrt(np.maximum(spread, spread.mean() / 100) * spread.mean())
    scaled, weights = (counts - counts.mean(axis=0)) / scale, kernel[:, 0] * scale
    missing = log_odds - (counts @ kernel[:, 0] + bias)
    assert missing.mean() == pytest.approx(0, abs=1e-3)
    penalty = PENALTY * np.square(scaled).sum(axis=1).mean()
    assert scaled.T @ missing == pytest.approx(penalty * weights, abs=1e-3 * abs(penalty * weights).max())
    assert abs(missing).mean() < abs(log_odds - log_odds.mean()).mean()


def test_the_regression_is_not_trained_by_steps():
    """Neither counts nor regression are part of what is trained; everything else is."""
    trainer = lcre.Trainer(lcre.MODELS["cnn_lstm_kmer"], some_codes(), LAYOUT)
    model = trainer.network.model
    before = {weight.path: weight.numpy() for weight in model.weights}
    trainer.step(np.arange(6), np.linspace(0, 1, 6, dtype=np.float32), 0.01)
    moved = {weight.path for weight in model.weights if (weight.numpy() != before[weight.path]).any()}
    averages = {path for path in before if "moving_" in path}
    assert len(averages) == 8
    assert moved == averages | {weight.path for weight in model.trainable_variables}
    fixed = {weight.path for weight in trainer.network.regression.weights}
    assert len(fixed) == 2
    assert not fixed & moved
    operations = [node.type for node in trainer.step.get_concrete_function().graph.get_operations()]
    assert operations.count("Conv2D") == 8  # four of each branch, none that counts k-mers


def make_model(build, **more) -> lcre.Model:
    """A model trained by plain gradient descent, whose steps are known by hand."""
    import keras

    return lcre.Model(build, **{"learning_rate": 0.5, "optimizer": keras.optimizers.SGD} | more)


TWO_BASES = lcre.WindowLayout(upstream=1, downstream=0, padding=0)


def test_branches_are_trained_apart():
    """A step with one branch already right moves the other as much as if it stood alone."""
    import keras

    def build(layout: lcre.WindowLayout) -> lcre.Network:
        windows = keras.layers.Input((layout.columns, 4))
        flat = keras.layers.Flatten()(windows)
        nine = keras.initializers.Constant(9)
        right = keras.layers.Dense(1, use_bias=False, kernel_initializer=nine, name="right")(flat)
        blank = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="blank")(flat)
        both = keras.layers.Concatenate()([right, blank])
        total = keras.layers.Dense(1, "sigmoid", use_bias=False, kernel_initializer="ones", trainable=False)(both)
        return lcre.Network(keras.Model(windows, total), trained=keras.Model(windows, both))

    of_logits = {"loss": lcre.MODELS["cnn_lstm_kmer"].loss, "called_high_above": 0.0}
    trainer = lcre.Trainer(make_model(build, **of_logits), np.zeros((4, 2), np.uint8), TWO_BASES)
    loss, accuracy = trainer.step(np.arange(4), np.ones(4, np.float32), 1.0)  # AA, high: `right` says 18
    # binary cross-entropy: log 2 of the blank one, next to nothing of the other; their mean
    assert float(loss) == pytest.approx(np.log(2) / 2, abs=1e-4)
    assert float(accuracy) == 1
    model = trainer.network.model
    moved = model.get_layer("blank").kernel.numpy()[[0, 4], 0]
    assert moved == pytest.approx(0.25, abs=1e-5)  # half the loss is its own; its slope is (1 - 1/2) at each base
    assert model.get_layer("right").kernel.numpy()[0, 0] == pytest.approx(9, abs=1e-4)
    assert int(trainer.optimizer.iterations) == 1


def test_a_network_without_branches_is_trained_as_it_is():
    import keras

    output = keras.layers.Dense(1, "sigmoid", use_bias=False, kernel_initializer="zeros")

    def build(layout: lcre.WindowLayout) -> lcre.Network:
        return lcre.Network(keras.Sequential([keras.layers.Input((layout.columns, 4)), keras.layers.Flatten(), output]))

    model = make_model(build)
    assert model.fit_first is None
    codes = np.array([[3, 3], [0, 0], [0, 0], [0, 0], [0, 0]], np.uint8)
    trainer = lcre.Trainer(model, codes, TWO_BASES)
    assert trainer.network.trained is trainer.network.model
    loss, accuracy = trainer.step(np.arange(1, 5), np.array([1, 1, 1, 0], np.float32), 1.0)
    assert float(loss) == pytest.approx(np.log(2), abs=1e-6)
    assert float(accuracy) == 0.25  # 0.5 is not called high
    assert output.kernel.numpy()[[0, 4], 0] == pytest.approx(0.25, abs=1e-6)  # 3/4 - 1/2 at each base


def test_a_model_says_its_own_loss():
    """The squared error of an output of 0 against targets of 1 and 3 is (1 + 9) / 2; its slope is -2 on average."""
    import keras

    output = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")

    def build(layout: lcre.WindowLayout) -> lcre.Network:
        return lcre.Network(keras.Sequential([keras.layers.Input((layout.columns, 4)), keras.layers.Flatten(), output]))

    def squared_error(targets, outputs):
        return keras.ops.mean(keras.ops.square(outputs[:, 0] - targets))

    trainer = lcre.Trainer(make_model(build, loss=squared_error), np.zeros((2, 2), np.uint8), TWO_BASES)
    loss, _ = trainer.step(np.arange(2), np.array([1, 3], np.float32), 0.25)
    assert float(loss) == pytest.approx(5)
    assert output.kernel.numpy()[[0, 4], 0] == pytest.approx(0.25 * 4)


def make_trainer() -> lcre.Trainer:
    """A dense layer behind dropout, so that random states take part."""
    import keras

    def build(layout: lcre.WindowLayout) -> lcre.Network:
        layers = keras.layers
        parts = [layers.Flatten(), layers.Dropout(0.5), layers.Dense(3, "relu"), layers.Dense(1, "sigmoid")]
        return lcre.Network(keras.Sequential([layers.Input((layout.columns, 4)), *parts]))

    model = lcre.Model(build, 1e-2, optimizer=lcre.adamw, schedule=lcre.one_cycle)
    return lcre.Trainer(model, some_codes(8), LAYOUT)


def test_a_fold_learns_nothing_from_the_one_before_it(tmp_path):
    """The same bits of a trainer that trained another fold; and from a checkpoint, with the optimizer's state."""
    import keras

    def train(trainer, steps):
        for step in steps:
            trainer.seed_dropout(np.random.default_rng(step))
            trainer.step(np.arange(8), np.linspace(0, 1, 8, dtype=np.float32), 0.01 * (1 + step))

    def state(trainer):
        kept = *trainer.network.model.weights, *trainer.optimizer.variables
        return [variable.numpy().tolist() for variable in kept]

    keras.utils.set_random_seed(1)
    used = make_trainer()
    used.begin()
    train(used, range(3))
    keras.utils.set_random_seed(2)
    used.begin()
    train(used, range(2))
    used.network.model.save(tmp_path / "model.keras")
    train(used, [2])
    keras.utils.set_random_seed(9)
    fresh = make_trainer()
    keras.utils.set_random_seed(2)
    fresh.begin()
    train(fresh, range(3))
    assert state(fresh) == state(used)
    other = make_trainer()
    other.network.model.load_weights(tmp_path / "model.keras")
    train(other, [2])
    assert state(other) == state(used)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])  # as on GPUs, where the loss is scaled
def test_the_rate_is_that_of_the_step(precision):
    """Adam's first step moves a weight by the learning rate, whatever its slope; at rate 0 nothing moves."""
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        trainer = make_trainer()
    finally:
        keras.mixed_precision.set_global_policy(before)
    weights = trainer.network.model.trainable_weights
    for rate in (0, 0.125):
        trainer.begin()
        old = [weight.numpy() for weight in weights]
        trainer.step(np.arange(8), np.ones(8, np.float32), rate)
        moved = [abs(weight.numpy() - value) for weight, value in zip(weights, old, strict=True)]
        assert max(part.max() for part in moved) == pytest.approx(rate, rel=0.02)  # a hundredth of it is weight decay


def test_one_cycle_is_the_schedule_of_keras():
    import keras

    for steps in (1, 4, 35, 1000):
        warmup = max(steps // 5, 1)
        theirs = keras.optimizers.schedules.CosineDecay(
            2e-3 / 25, max(steps - warmup, 1), alpha=1e-3, warmup_target=2e-3, warmup_steps=warmup
        )
        ours = [lcre.one_cycle(2e-3, step, steps) for step in range(steps)]
        assert ours == pytest.approx([float(theirs(step)) for step in range(steps)], abs=1e-9)
    assert max(ours) == ours[200] == 2e-3
    assert lcre.constant_rate(1e-4, 7, 9) == 1e-4
    assert [lcre.MODELS[name].schedule for name in ("published", "cnn_lstm_kmer")] == [
        lcre.constant_rate,
        lcre.one_cycle,
    ]


def test_targets_by_class_and_by_rank():
    labels, ranks = np.array([0, 2, 1]), np.array([0.0, 0.5, 1.0])
    assert lcre.rank_log_odds(np.array([0.0, 0.25, 0.5, 0.75, 1.0])).tolist() == [-3, -1.5, 0, 1.5, 3]
    by_rank = lcre.rank_targets(labels, ranks)
    assert by_rank == pytest.approx([1 / (1 + np.exp(3)), 0.5, 1 / (1 + np.exp(-3))])
    by_class = lcre.class_targets(np.array([0, 1]), np.array([0.9, 0.1]))
    assert by_class.tolist() == [0, 1]
    assert (by_class.dtype, by_rank.dtype) == (np.float32, np.float32)
    published, default = lcre.MODELS["published"], lcre.MODELS["cnn_lstm_kmer"]
    assert (published.targets, published.trains_on_middle_genes) == (lcre.class_targets, False)
    assert (default.targets, default.trains_on_middle_genes) == (lcre.rank_targets, True)


def make_reader(**options):
    import keras

    layers = keras.layers
    inputs = layers.Input((7, 4))
    lstm = layers.LSTM(4, return_sequences=True, recurrent_initializer="normal", **options)
    last = layers.LSTM(2, bias_initializer="normal")(lstm(inputs))
    both = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(inputs)
    return keras.Model(inputs, layers.Concatenate()([layers.Flatten()(both), last]))


@pytest.mark.parametrize("go_backwards", [False, True])
def test_a_fused_lstm_computes_and_learns_as_keras_does(go_backwards, tmp_path):
    import keras
    import tensorflow as tf

    def look(model):
        with tf.GradientTape() as tape:
            tape.watch(windows)
            outputs = model(windows)
            loss = tf.reduce_sum(outputs**2)
        return [outputs, *tape.gradient(loss, [windows, *model.trainable_weights])]

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


@pytest.mark.parametrize(("gpus", "training", "changed"), [(0, True, "both"), (0, False, "LSTM"), (1, True, "")])
def test_what_is_made_faster_where(monkeypatch, gpus, training, changed):
    """On CPUs LSTMs, and what is going to be trained in convolutions too; on GPUs nothing."""
    import keras
    import tensorflow as tf

    parts = [keras.layers.Conv1D(2, 3, padding="same"), keras.layers.LSTM(2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.layers.Input((8, 4)), *parts])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU"] * gpus if kind == "GPU" else ["CPU"])
    speed_up(model, training)
    assert ("call" in vars(parts[0])) == (changed == "both")
    assert ("inner_loop" in vars(parts[1])) == (changed in ("both", "LSTM"))


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
    speed_up(model)
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


def test_convolutions_by_matrix_products_compute_and_learn_as_keras_does(tmp_path):
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
            outputs = model(windows)
            loss = tf.reduce_sum(outputs**2)
        return [outputs, *tape.gradient(loss, [windows, *model.trainable_weights])]

    before = look()
    multiply_kernel_gradients(model)
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
    multiply_kernel_gradients(model)
    assert "call" not in vars(model.layers[0])
