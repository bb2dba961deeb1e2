"""creator.network against the plain network of creator_plain.py, and against answers known by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from creator_plain import plain_ablation, plain_attention, plain_bucket, plain_expression, random_arrays, random_input
from hypothesis import given, settings
from hypothesis import strategies as st

from creator import REGULATION_SCALES, network
from creator.checkpoint import CreatorInput, load_model, read_input, save_model, set_published_arrays

NARROW = {"width": 32, "heads": 2, "hidden": 48, "element_layers": 2, "regulation_layers": 3}
PARITY = Path(__file__).resolve().parents[2] / "shared" / "creator_parity"


def model_of(arrays, sizes=NARROW):
    model = network.Creator(**sizes)
    set_published_arrays(model, arrays)
    return model


@pytest.fixture(scope="module")
def arrays():
    return random_arrays(1, NARROW)


@pytest.fixture(scope="module")
def narrow(arrays):
    return model_of(arrays)


@pytest.fixture
def model(narrow, arrays):
    """One model for all tests, because each new one is traced again; with its weights put back."""
    set_published_arrays(narrow, arrays)
    return narrow


def test_buckets_of_the_table():
    edges = [16, 20, 23, 27, 32, 39, 46, 54, 64, 77, 91, 108, 128, 153, 182, 216]
    for bucket, (first, following) in enumerate(zip(edges, [*edges[1:], 10**9], strict=True), start=16):
        assert network.relative_bucket([first, following - 1, -first, 1 - following]).tolist() == [
            *(bucket, bucket),
            *(bucket + 32, bucket + 32),
        ]
    assert network.relative_bucket(np.arange(16)).tolist() == list(range(16))
    assert network.relative_bucket(-np.arange(1, 16)).tolist() == list(range(33, 48))


@given(st.integers(-(2**40), 2**40) | st.integers(-300, 300))
def test_bucket_is_the_counted_one(step):
    assert network.relative_bucket(step) == plain_bucket(step)
    assert network.relative_bucket(step) != 32


@settings(max_examples=300)
@given(
    st.one_of(
        st.integers(-(10**8), 10**8),
        st.builds(
            lambda scale, edge, beside: scale * edge + beside,
            st.sampled_from(REGULATION_SCALES),
            st.integers(-220, 220),
            st.integers(-1, 1),
        ),
    )
)
def test_one_search_finds_the_buckets_of_all_scales(distance):
    edges, buckets = network._bucket_intervals(REGULATION_SCALES)
    found = buckets[np.searchsorted(edges, distance, side="right")]
    assert found.tolist() == [plain_bucket(distance // scale) for scale in REGULATION_SCALES]


@pytest.mark.parametrize(
    ("count", "length", "genes", "sort", "descending"),
    [
        (1, 5, 1, True, False),
        (1, 350, 2, True, True),
        (5, 700, 1, False, False),
        (17, 40, 3, False, True),
        (130, 40, 2, True, False),
    ],
)
def test_agrees_with_the_plain_network(model, arrays, count, length, genes, sort, descending):
    inputs = random_input(count, count, length, genes, sort, descending)
    np.testing.assert_allclose(network.predict_expression(model, *inputs), plain_expression(arrays, *inputs), rtol=3e-6)


def test_agrees_with_the_plain_network_at_the_published_sizes():
    arrays, inputs = random_arrays(3), random_input(4, 6, 350)
    model = model_of(arrays, {})
    assert (len(model.weights), model.count_params()) == (87, 5_068_545)
    np.testing.assert_allclose(network.predict_expression(model, *inputs), plain_expression(arrays, *inputs), rtol=5e-6)


def test_agrees_with_the_published_numbers():
    if not PARITY.is_dir():
        pytest.skip("no ../shared/creator_parity beside the repository")
    expected = json.loads((PARITY / "expected_a.json").read_text())
    model = load_model(PARITY / expected["checkpoint"])
    for name, number in expected["expression"].items():
        predicted = network.predict_expression(model, *read_input(PARITY / name))
        np.testing.assert_allclose(predicted, [number], rtol=1e-5, err_msg=name)


def test_a_network_of_zeros_gives_softplus_of_the_last_bias(model, arrays):
    zeros = {name: np.zeros_like(array) for name, array in arrays.items()} | {"fc.0.bias": np.float32([0.5])}
    set_published_arrays(model, zeros)
    predicted = network.predict_expression(model, *random_input(0, 5, 40))
    np.testing.assert_allclose(predicted, np.log1p(np.exp(0.5)), rtol=1e-6)


def test_row_0_of_the_token_table_counts_as_stored(model, arrays):
    tokens, *others = random_input(8, 5, 40)
    tokens[:, 10:] = 0
    before = network.predict_expression(model, tokens, *others)
    table = arrays["embed_genome.0.weight"] + np.eye(6, 1, dtype=np.float32)
    changed = {**arrays, "embed_genome.0.weight": table}
    set_published_arrays(model, changed)
    after = network.predict_expression(model, tokens, *others)
    assert abs(after - before) > 1e-4
    np.testing.assert_allclose(after, plain_expression(changed, tokens, *others), rtol=3e-6)


def test_only_relative_positions_matter(model):
    tokens, signal, *positions = random_input(5, 5, 40, genes=3)
    moved = [position + 123_456_789_012 for position in positions]
    np.testing.assert_array_equal(
        network.predict_expression(model, tokens, signal, *positions),
        network.predict_expression(model, tokens, signal, *moved),
    )


def test_genes_laid_out_alike_have_one_vector(model, monkeypatch):
    encoded = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda *inputs: encoded.append(len(inputs[0])) or encode(*inputs))
    _, _, _, tss, window = random_input(6, 1, 5, genes=20)
    vectors = network.gene_vectors(model, tss, window)
    assert vectors.shape == (20, 32)
    assert (vectors == vectors[0]).all()
    assert encoded == [1]


def test_chunks_do_not_change_a_vector(model, monkeypatch):
    tokens, signal, *_ = random_input(7, 11, 40)
    whole = network.element_vectors(model, tokens, signal)
    monkeypatch.setattr(network, "BASES_AT_A_TIME", 120)
    np.testing.assert_allclose(network.element_vectors(model, tokens, signal), whole, rtol=1e-5, atol=1e-5)


def test_padded_sizes():
    assert [network._padded_size(n) for n in (1, 2, 4, 65, 500, 4000, 4097, 9000)] == [
        *(1, 4, 4, 128, 512, 4096, 5120, 9216)
    ]


def test_genes_with_cCREs_of_their_own(model):
    tokens, signal, positions, tss, window = random_input(9, 17, 40, genes=4)
    in_reach = [np.arange(12), np.arange(5, 17), np.arange(12), np.array([7])]
    vectors = network.element_vectors(model, tokens, signal)
    together = network.expression(model, vectors, positions, tss, window, in_reach)
    apart = [
        network.predict_expression(model, tokens[m], signal[m], positions[m], tss[[g]], window[[g]])[0]
        for g, m in enumerate(in_reach)
    ]
    np.testing.assert_allclose(together, apart, rtol=3e-6)
    with pytest.raises(ValueError, match="gene 1 sees no cCRE"):
        network.expression(model, vectors, positions, tss[:2], window[:2], [np.arange(3), []])
    with pytest.raises(ValueError, match="1 genes, there are 4"):
        network.expression(model, vectors, positions, tss, window, [np.arange(3)])


def test_attention_and_ablation(model, arrays, monkeypatch):
    monkeypatch.setattr(network, "ROWS_AT_A_TIME", 4)
    inputs = random_input(10, 11, 40, genes=2)
    vectors = network.element_vectors(model, *inputs[:2])
    attention = network.gene_attention(model, vectors, *inputs[2:])
    assert attention.shape == (2, 3, 2, 11)
    np.testing.assert_allclose(attention.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(attention, plain_attention(arrays, *inputs), atol=2e-6)
    scores = network.ablation_scores(model, vectors, *inputs[2:])
    np.testing.assert_allclose(scores, plain_ablation(arrays, *inputs), atol=3e-6)
    assert np.abs(scores).max() > 1e-3


def test_ablation_of_the_only_cCRE_leaves_nothing_to_read(model, arrays):
    """The same drop as when what attention reads in stage 2 is multiplied by zero."""
    tokens, signal, *positions = random_input(11, 1, 40)
    vectors = network.element_vectors(model, tokens, signal)
    scores = network.ablation_scores(model, vectors, *positions)
    intact = network.expression(model, vectors, *positions)
    deaf = {name: array * (not (name.startswith("encoder2") and "fc_out" in name)) for name, array in arrays.items()}
    set_published_arrays(model, deaf)
    np.testing.assert_allclose(scores, [intact - network.expression(model, vectors, *positions)], atol=1e-6)


def test_call_is_the_same_number_and_reaches_every_weight(model, arrays):
    import tensorflow as tf

    inputs = random_input(12, 4, 10, genes=2)
    with tf.GradientTape() as tape:
        predicted = model(dict(zip(CreatorInput._fields, inputs, strict=True)))
    np.testing.assert_allclose(predicted, plain_expression(arrays, *inputs), rtol=3e-6)
    gradients = tape.gradient(predicted, model.trainable_variables)
    assert len(gradients) == 6 + 12 * 5 + 5 + 4
    assert all(np.abs(tf.convert_to_tensor(gradient)).max() > 0 for gradient in gradients)


def test_saved_model_gives_the_same_number(model, tmp_path):
    inputs = random_input(13, 3, 40)
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.get_config().items() >= NARROW.items()
    np.testing.assert_array_equal(
        network.predict_expression(again, *inputs), network.predict_expression(model, *inputs)
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
