"""The networks: what their parts do on windows whose answer is known by hand, and how members are taught."""

import itertools

import numpy as np
import pytest

import lcre_classifier as lcre
from lcre.baselines import count_kmers
from lcre.networks import make_batches, make_predictor, make_trainer

COLUMNS, TSS, SAMPLES = 150, 50, 3


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return lcre.build_motifs_and_words(COLUMNS, TSS, SAMPLES, detectors=1)


def some_codes(rows: int = 6) -> np.ndarray:
    codes = np.random.default_rng(1).integers(0, 4, (rows, COLUMNS)).astype(np.uint8)
    codes[:, 70:80] = 4  # as padding is
    return codes


def words_of(model, codes: np.ndarray) -> np.ndarray:
    """What the regression on words is given: the input of the dropout behind the concatenated counts."""
    import keras

    counts = next(layer for layer in model.layers if layer.name.startswith("concatenate") and len(layer.input) == 3)
    return keras.Model(model.inputs[0], counts.output)(lcre.one_hot(codes).astype(np.float32)).numpy()


def test_a_word_answers_where_it_stands_and_nowhere_else():
    kernel, bias = lcre.match_words(3)
    assert (kernel.shape, bias.shape) == ((3, 4, 64), (64,))
    words = list(itertools.product(range(4), repeat=3))
    for codes in ([0, 1, 2], [3, 3, 0], [2, 2, 2]):
        answers = np.maximum(np.einsum("pb,pbw->w", np.eye(4)[codes], kernel) + bias, 0)
        assert [words[at] for at in np.flatnonzero(answers)] == [tuple(codes)]
        assert answers.sum() == 1
    unknown = np.maximum(np.einsum("pb,pbw->w", np.eye(5, 4)[[0, 4, 2]], kernel) + bias, 0)
    assert not unknown.any()


def stretch_means(hits: np.ndarray, stretches: int) -> np.ndarray:
    """Means of (rows, places, words) over equal stretches, those at the ends cut where the places end."""
    size = -(-hits.shape[1] // stretches)
    first = -((size * -(-hits.shape[1] // size) - hits.shape[1]) // 2)
    edges = [max(at, 0) for at in range(first, hits.shape[1], size)]
    return size * np.stack([part.mean(axis=1) for part in np.split(hits, edges[1:], axis=1)], axis=1)


def test_word_counts_are_those_of_the_window(model):
    """How often every 3-mer, every 4-mer, and every codon in the frame of the TSS stands in each stretch."""
    codes = some_codes()
    parts = np.split(words_of(model, codes) * 10, np.cumsum([30 * 64, 12 * 256]), axis=1)
    for part, k, stretches in zip(parts[:2], (3, 4), (30, 12), strict=True):
        hits = [count_kmers(codes[:, at : at + k], k) for at in range(COLUMNS - k + 1)]
        expected = stretch_means(np.stack(hits, axis=1), stretches)
        assert part.reshape(len(codes), stretches, 4**k) == pytest.approx(expected, abs=1e-3)
    codons = [count_kmers(codes[:, at : at + 3], 3) for at in range(TSS % 3, COLUMNS - 2, 3)]  # 2, 5, ... 50 ...
    expected = stretch_means(np.stack(codons, axis=1), 6)
    assert parts[2].reshape(len(codes), -1, 64) == pytest.approx(expected, abs=1e-3)
    assert expected.sum() > 6 * 40


def test_the_answer_is_the_sigmoid_of_the_members_sum(model):
    import keras

    codes = some_codes()
    members = keras.Model(model.inputs[0], model.get_layer("members").output)(lcre.one_hot(codes).astype(np.float32))
    assert members.shape == (len(codes), 2 + SAMPLES)
    own = members.numpy()[:, :2].sum(axis=1)
    assert make_predictor(model)(codes) == pytest.approx(1 / (1 + np.exp(-own)), abs=1e-6)
    assert lcre.build_motifs_and_words(COLUMNS, TSS, 0).get_layer("members").output.shape == (None, 3)


def test_members_are_taught_apart():
    """A step with one member already right still teaches the other as much as if it stood alone."""
    import keras

    windows = keras.layers.Input((2, 4))
    flat = keras.layers.Flatten()(windows)
    right = keras.layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(9), name="right")(flat)
    blank = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="blank")(flat)
    members = keras.layers.Concatenate(name="members")([right, blank])
    total = keras.layers.Dense(1, "sigmoid", use_bias=False, kernel_initializer="ones", trainable=False)(members)
    model = keras.Model(windows, total)
    model.compile(keras.optimizers.SGD(1.0))
    trained = make_trainer(model)
    codes = np.zeros((4, 2), np.uint8)  # AA, high: `right` says 18
    import tensorflow as tf

    history = trained.fit(
        make_batches(tf.constant(codes), np.arange(4), np.ones((4, 1)), 4), shuffle=False, verbose=0
    ).history
    # binary cross-entropy: log 2 of the blank member, next to nothing of the other; their mean
    assert history["loss"][0] == pytest.approx(np.log(2) / 2, abs=1e-4)
    assert history["accuracy"][0] == 1
    moved = model.get_layer("blank").kernel.numpy()[[0, 4], 0]
    assert moved == pytest.approx(0.25, abs=1e-5)  # half the loss is its own; its slope is (1 - 1/2) at each base
    assert model.get_layer("right").kernel.numpy()[0, 0] == pytest.approx(9, abs=1e-4)
    assert trained.optimizer is model.optimizer


def test_samples_weigh_as_much_as_the_members():
    """One member and two samples, all blank: each sample's slope is half that of the member's."""
    import keras
    import tensorflow as tf

    windows = keras.layers.Input((2, 4))
    heads = [keras.layers.Dense(size, use_bias=False, kernel_initializer="zeros") for size in (1, 2)]
    flat = keras.layers.Flatten()(windows)
    members = keras.layers.Concatenate(name="members")([head(flat) for head in heads])
    total = keras.layers.Dense(1, "sigmoid", use_bias=False, trainable=False)
    model = keras.Model(windows, total(members))
    total.set_weights([np.array([[1], [0], [0]])])
    model.compile(keras.optimizers.SGD(1.0))
    taught = np.tile([1.0, 1.0, 0.0], (4, 1))
    batches = make_batches(tf.constant(np.zeros((4, 2), np.uint8)), np.arange(4), taught, 4)
    history = make_trainer(model).fit(batches, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(np.log(2), abs=1e-6)
    assert heads[0].kernel.numpy()[0, 0] == pytest.approx(0.25, abs=1e-6)
    assert heads[1].kernel.numpy()[0] == pytest.approx([0.125, -0.125], abs=1e-6)
    assert make_predictor(model)(np.zeros((1, 2), np.uint8)) == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-6)


def test_a_network_without_members_is_trained_as_it_is():
    import keras

    answer = keras.layers.Dense(1, "sigmoid", use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.layers.Input((2, 4)), keras.layers.Flatten(), answer])
    model.compile(keras.optimizers.SGD(1.0))
    trained = make_trainer(model)
    import tensorflow as tf

    batches = make_batches(tf.constant(np.zeros((4, 2), np.uint8)), np.arange(4), np.array([[1], [1], [1], [0]]), 4)
    history = trained.fit(batches, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(np.log(2), abs=1e-6)
    assert history["accuracy"][0] == 0.25  # 0.5 is not called high
    assert answer.kernel.numpy()[[0, 4], 0] == pytest.approx(0.25, abs=1e-6)  # 3/4 - 1/2 at each base


def test_ranks_are_taught_around_one_half():
    taught = lcre.rank_targets(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert taught == pytest.approx([0.0474259, 0.1824255, 0.5, 0.8175745, 0.9525741], abs=1e-6)  # logistic(-3 .. 3)
