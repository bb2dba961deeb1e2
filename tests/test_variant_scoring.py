"""Windows with variants in them, scored by slices: the same numbers as of whole windows."""

import copy

import numpy as np
import pytest
from builders import LONG
from hypothesis import given, settings
from hypothesis import strategies as st

import lcre_classifier as lcre
from lcre.trained import without_sigmoid
from lcre.variant_scoring import WIDTH, Columns, Field, VariantScorer, share_graphs

LAYOUT = lcre.WindowLayout(upstream=150, downstream=80, padding=20)


def draw_weights(model, seed: int = 1) -> None:
    """Give every weight of a network a random value, also those that begin at 0 and 1."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        weights = [np.asarray(one) for one in layer.get_weights()]
        drawn = [random.normal(0, 1 / np.sqrt(max(np.prod(one.shape[:-1]), 4)), one.shape) for one in weights]
        if type(layer).__name__ == "BatchNormalization":  # its variance is above 0
            drawn = [np.abs(one) + 0.5 for one in drawn]
        if not layer.trainable and len(weights) == 2 and weights[0].ndim == 3:
            drawn = weights  # the kernels that find k-mers are what they are
        layer.set_weights(drawn)


def build(name: str):
    model = lcre.MODELS[name].build(LAYOUT).model
    draw_weights(model)
    return without_sigmoid(model)


def build_odd():
    """Build a network with what those of the project do not have: other paddings, strides, dilation, groups, crops."""
    import keras
    from keras import layers

    windows = layers.Input((480, 4))
    one = layers.Conv1D(6, 5, strides=2, padding="valid", activation="tanh")(windows)
    one = layers.MaxPooling1D(4, strides=3, padding="same")(layers.Conv1D(6, 3, padding="causal")(one))
    two = layers.Conv1D(8, 4, dilation_rate=3, padding="same", groups=2)(windows)
    two = layers.BatchNormalization()(layers.AveragePooling1D(6, padding="valid")(two))
    two = layers.Conv1D(6, 2, padding="same")(layers.LeakyReLU()(two))
    one = layers.Concatenate()([one, layers.Conv1D(5, 3, padding="same")(one)])
    both = layers.Cropping1D((2, 1))(layers.Add()([one, one]))
    apart = layers.Dot(axes=1)([layers.Cropping1D((3, 1))(windows), layers.Cropping1D((0, 4))(windows)])
    rest = [layers.Flatten()(one) for one in (both, two, apart)]
    last = layers.LSTM(3)(layers.LayerNormalization()(two))
    model = keras.Model(windows, layers.Dense(1)(layers.Concatenate()([*rest, last])))
    draw_weights(model)
    return model


def draw_windows(genes: int, seed: int = 2) -> np.ndarray:
    """Windows as they are cut: unknown bases here and there, the padding and the codons masked."""
    random = np.random.default_rng(seed)
    windows = random.integers(0, 4, (genes, LAYOUT.columns)).astype(np.uint8)
    windows[random.random(windows.shape) < 0.01] = 4
    LAYOUT.hide(windows)
    return windows


def change(window: np.ndarray, at: int, width: int, by: int = 1) -> np.ndarray:
    """Return a window with other bases in `width` columns from `at` on."""
    row = window.copy()
    row[at : at + width] = (row[at : at + width] + by) % 5
    return row


def count_whole(scorer: VariantScorer) -> list[int]:
    """Return a list to which the numbers of windows are added that a scorer scores whole from now on."""
    counts, score = [], scorer.score_whole
    scorer.score_whole = lambda codes: counts.extend([len(codes)] if len(codes) else []) or score(codes)
    return counts


@pytest.fixture(scope="module")
def odd() -> VariantScorer:
    return VariantScorer(build_odd())


@pytest.mark.parametrize("name", ["published", "cnn_lstm_kmer", pytest.param("cnn_lstm_kmer_fine", marks=LONG), "odd"])
def test_slices_give_the_numbers_of_whole_windows(odd, name):
    """Variants at both ends, around the padding and the masked codons, and anywhere, several of each gene."""
    scorer = copy.copy(odd) if name == "odd" else share_graphs([build(name)])[0]()
    windows = draw_windows(3)
    edges = [0, 1, 2, 5, LAYOUT.columns - 1, LAYOUT.columns - 2, LAYOUT.columns - 6]
    middle = [LAYOUT.regions["promoter"].stop, LAYOUT.regions["terminator"].start, *LAYOUT.sites.values()]
    places = edges + [column + step for column in middle for step in (-7, -4, -1, 0, 2)] + list(range(20, 470, 9))
    pairs = [(gene, at, width) for at in places for gene, width in ((at % 3, 1), ((at + 1) % 3, 1 + at % WIDTH))]
    gene = np.array([gene for gene, *_ in pairs])
    rows = np.stack([change(windows[gene], at, width, 1 + at % 3) for gene, at, width in pairs])
    reference, whole = scorer.predict(windows), scorer.predict(rows)
    counts = count_whole(scorer)
    own, changed = scorer.score_variants(windows, rows, gene)
    assert sum(counts) == 0
    assert np.abs(own - reference).max() < 1e-5
    assert np.abs(changed - whole).max() < 1e-5
    assert np.abs(whole - reference[gene]).std() > 1e-4  # these networks see the variants


@settings(deadline=None, max_examples=25)
@given(
    at=st.integers(0, LAYOUT.columns - 1),
    width=st.integers(1, WIDTH + 2),
    by=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_any_change_of_any_window_is_scored_as_the_whole_window(odd, at, width, by, seed):
    windows = draw_windows(1, seed)
    rows = change(windows[0], at, width, by)[None]
    own, changed = odd.score_variants(windows, rows, np.zeros(1, int))
    assert np.abs(np.concatenate([own - odd.predict(windows), changed - odd.predict(rows)])).max() < 1e-5


def test_what_is_scored_whole(odd):
    """Changes of more than WIDTH columns, with the gene's own window, and the window that nothing changes."""
    windows = draw_windows(3)
    rows = [change(windows[0], 30, WIDTH + 1), change(windows[1], 300, 1), windows[2]]
    scorer = copy.copy(odd)
    expected = scorer.predict(np.stack(rows))
    counts = count_whole(scorer)
    own, changed = scorer.score_variants(windows, np.stack(rows), np.arange(3))
    assert counts == [2, 1]  # the windows of genes 0 and 2; the row of gene 0
    assert changed[2] == own[2]
    assert changed == pytest.approx(expected, abs=1e-5)


def test_columns_that_a_change_reaches_by_hand():
    """Of 12 columns: a convolution of 3 with zeros around it, then a pooling of 4."""
    at = Columns(np.arange(12, dtype=np.int32), 1)
    by_convolution = Field(size=3, before=1).changes(at, 12)
    assert (by_convolution.width, by_convolution.begin.tolist()) == (3, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9])
    by_pooling = Field(size=4, stride=4).changes(by_convolution, 3)  # columns 3 to 5 lie in two of its bins
    assert (by_pooling.width, by_pooling.begin.tolist()) == (2, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    reads = Field(size=3, before=1).reads(Columns(np.array([0, 4]), 2))
    assert (reads.width, reads.begin.tolist(), reads.is_inside(12)) == (4, [-1, 3], False)


def test_a_network_of_unknown_layers_is_scored_whole():
    import keras
    from keras import layers

    class Doubled(layers.Conv1D):
        def call(self, inputs):
            return 2 * super().call(inputs)

    windows = layers.Input((LAYOUT.columns, 4))
    shared = layers.Conv1D(4, 3, padding="same")
    for convolved in (Doubled(4, 3)(windows), layers.UpSampling1D(2)(shared(windows)), shared(shared(windows))):
        model = keras.Model(windows, layers.Dense(1)(layers.Flatten()(convolved)))
        scorer = VariantScorer(model)
        assert scorer.network is None
        rows = draw_windows(2)
        counts = count_whole(scorer)
        own, changed = scorer.score_variants(rows[:1], rows[1:], np.zeros(1, int))
        assert counts == [1, 1]
        assert changed - own == pytest.approx(np.diff(model(np.eye(5)[rows][..., :4])[:, 0]), abs=1e-5)


def test_networks_of_the_same_layers_share_a_graph():
    """Each has its own numbers, whichever is used in between; one of other sizes has a graph of its own."""
    import keras
    from keras import layers

    def build_small(filters: int, seed: int):
        convolution = [layers.Conv1D(filters, 3, padding="same", activation="relu"), layers.GlobalMaxPooling1D()]
        model = keras.Sequential([layers.Input((LAYOUT.columns, 4)), *convolution, layers.Dense(1, "sigmoid")])
        draw_weights(model, seed)
        return without_sigmoid(model)

    models, codes = [build_small(5, 1), build_small(5, 2), build_small(6, 3)], draw_windows(2)
    expected = [model(np.eye(5)[codes][..., :4])[:, 0] for model in models]
    networks = share_graphs(models)
    assert networks[0]() is networks[1]() is not networks[2]()
    for number in (0, 1, 2, 0, 1, 0):
        assert networks[number]().predict(codes) == pytest.approx(np.array(expected[number]), abs=1e-6)
    assert np.array(models[0](np.eye(5)[codes][..., :4])[:, 0]) == pytest.approx(np.array(expected[0]))
