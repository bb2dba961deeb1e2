"""Networks whose contribution scores are known by hand, shuffles counted base by base, and planted k-mers."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import InputError
from core.genome import one_hot
from lcre.attribution import Network, Profile, in_silico_mutagenesis, integrated_gradients
from lcre.enrichment import KmerEnrichment
from lcre.kmers import spell
from lcre.shuffle import TREES, WAYS, find_runs, shuffle_dinucleotides
from lcre_classifier import WindowLayout

COLUMNS = 30
MOTIF = np.array([2, 0, 3, 3, 0, 1, 0], np.uint8)  # GATTACA


def random_codes(random: np.random.Generator, columns: int = COLUMNS, unknown: bool = True) -> np.ndarray:
    codes = random.integers(0, 4, columns).astype(np.uint8)
    if unknown:
        codes[12:15] = codes[20] = 4
    return codes


def linear(weights: np.ndarray, bias: float = 0.0, activation: str = "sigmoid"):
    """A network whose logit is the sum of weights, (columns, 4), under the bases, and a bias."""
    from keras import Sequential, layers

    last = layers.Dense(1, activation=activation)
    model = Sequential([layers.Input(weights.shape), layers.Flatten(), last])
    last.set_weights([weights.reshape(-1, 1), np.array([bias])])
    return model


def motif_finder(columns: int = COLUMNS):
    """A network that says whether GATTACA stands somewhere: a matched filter, ReLU, the maximum, a dense layer."""
    from keras import Sequential, layers

    filter_, last = layers.Conv1D(1, len(MOTIF), activation="relu"), layers.Dense(1, activation="sigmoid")
    model = Sequential([layers.Input((columns, 4)), filter_, layers.GlobalMaxPooling1D(), last])
    filter_.set_weights([one_hot(MOTIF)[:, :, None], np.array([-3.0])])
    last.set_weights([np.array([[2.0]]), np.array([-1.0])])
    return model


def bent(random: np.random.Generator):
    """A network without symmetry whose logit bends between any two windows."""
    from keras import Sequential, layers, utils

    utils.set_random_seed(int(random.integers(1000)))
    return Sequential(
        [
            *(
                layers.Input((COLUMNS, 4)),
                layers.Conv1D(8, 5, activation="relu"),
                layers.Conv1D(8, 5, activation="tanh"),
            ),
            *(layers.MaxPooling1D(3), layers.Flatten(), layers.Dense(1, activation="sigmoid")),
        ]
    )


# ------------------------------------------------------------------------------------------ integrated gradients
def test_linear_network_is_explained_exactly():
    """Each base contributes its weight less the mean weight of the references' bases in that place."""
    random = np.random.default_rng(1)
    weights, codes = random.normal(size=(COLUMNS, 4)).astype(np.float32), random_codes(random)
    references = shuffle_dinucleotides(codes, 6, random)
    found = integrated_gradients(Network(linear(weights, 0.3)), codes, references, steps=3)
    expected = np.zeros((COLUMNS, 4))
    for place, base in itertools.product(np.flatnonzero(codes != 4), range(4)):
        expected[place, base] = weights[place, base] - weights[place, references[:, place]].mean()
    np.testing.assert_allclose(found.hypothetical, expected, atol=1e-5)
    np.testing.assert_allclose(found.contributions, expected * one_hot(codes), atol=1e-5)
    assert found.logit == pytest.approx((weights * one_hot(codes)).sum() + 0.3, abs=1e-5)
    assert found.reference_logit == pytest.approx((weights * one_hot(references)).sum() / 6 + 0.3, abs=1e-5)
    assert found.completeness_gap < 1e-4


@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_logit_is_explained_not_the_probability(activation):
    """With a bias of 40 the probability is 1 to the last bit and has no gradient; the logit has."""
    random = np.random.default_rng(2)
    weights, codes = random.normal(size=(COLUMNS, 4)).astype(np.float32), random_codes(random)
    references = shuffle_dinucleotides(codes, 4, random)
    certain = integrated_gradients(Network(linear(weights, 40.0, activation)), codes, references, 5)
    open_minded = integrated_gradients(Network(linear(weights, 0.0)), codes, references, 5)
    np.testing.assert_allclose(certain.contributions, open_minded.contributions, atol=1e-5)
    assert certain.logit == pytest.approx(open_minded.logit + 40, abs=1e-4)


def test_network_stays_as_it_was():
    model, codes = motif_finder(), random_codes(np.random.default_rng(3))
    before = model.predict(one_hot(codes[None]), verbose=0)
    logit = Network(model).logits(codes[None])
    assert model.predict(one_hot(codes[None]), verbose=0) == before
    assert 1 / (1 + np.exp(-logit[0])) == pytest.approx(before[0, 0], abs=1e-6)


def test_contributions_add_up_and_better_with_more_steps():
    random = np.random.default_rng(4)
    network, codes = Network(bent(random)), random_codes(random)
    references = shuffle_dinucleotides(codes, 5, random)
    gaps = [integrated_gradients(network, codes, references, steps).completeness_gap for steps in (1, 400)]
    assert gaps[1] < 0.01
    assert gaps[1] < gaps[0]


def test_columns_without_a_base_contribute_nothing():
    random = np.random.default_rng(5)
    network, codes = Network(bent(random)), random_codes(random)
    references = shuffle_dinucleotides(codes, 5, random)
    for found in (
        integrated_gradients(network, codes, references, 5),
        in_silico_mutagenesis(network, codes, references),
    ):
        assert not found.hypothetical[codes == 4].any()
        assert not found.contributions[codes == 4].any()
        assert (found.contributions[np.arange(COLUMNS), np.minimum(codes, 3)] == found.contributions.sum(axis=1)).all()


def test_references_with_other_gaps_are_refused():
    codes = random_codes(np.random.default_rng(6))
    filled = np.where(codes == 4, 0, codes).astype(np.uint8)
    with pytest.raises(ValueError, match="code 4"):
        integrated_gradients(Network(motif_finder()), codes, filled[None], 5)


def test_size_of_batches_changes_nothing():
    random = np.random.default_rng(7)
    network, codes = Network(bent(random)), random_codes(random)
    references = shuffle_dinucleotides(codes, 1, random).repeat(4, axis=0)
    whole = integrated_gradients(network, codes, references, 7).hypothetical
    by_mutagenesis = in_silico_mutagenesis(network, codes, references).hypothetical
    network.batch = 3  # cuts in the middle of a reference's steps
    np.testing.assert_allclose(integrated_gradients(network, codes, references, 7).hypothetical, whole, atol=1e-5)
    np.testing.assert_allclose(
        in_silico_mutagenesis(network, codes, references).hypothetical, by_mutagenesis, atol=1e-5
    )


def test_bases_that_do_the_same_contribute_the_same():
    """The network counts A twice over and cannot tell columns apart: all A of the window, against C, are equal."""
    weights = np.tile(np.array([2.0, 0, 0, 0], np.float32), (COLUMNS, 1))
    codes = np.tile(np.array([0, 1], np.uint8), COLUMNS // 2)
    found = integrated_gradients(Network(linear(weights)), codes, np.ones((1, COLUMNS), np.uint8), 4)
    np.testing.assert_allclose(found.contributions.sum(axis=1), np.where(codes == 0, 2.0, 0.0), atol=1e-6)


@pytest.mark.parametrize("method", ["gradients", "mutagenesis"])
def test_planted_motif_is_found(method):
    random = np.random.default_rng(8)
    network = Network(motif_finder(120))
    codes = random.choice([1, 2], 120).astype(np.uint8)
    codes[70:77] = MOTIF
    references = shuffle_dinucleotides(codes, 20, random)
    if method == "gradients":
        found = integrated_gradients(network, codes, references, 50)
        assert found.completeness_gap < 0.05
    else:
        found = in_silico_mutagenesis(network, codes, references)
    values = np.abs(found.contributions.sum(axis=1))
    assert values[70:77].mean() > 20 * np.delete(values, np.s_[70:77]).mean()
    # what TF-MoDISco sees: the base that would be best in each place of the motif is the motif's
    assert (found.hypothetical[70:77].argmax(axis=1) == MOTIF).all()


def test_mutagenesis_of_a_linear_network():
    random = np.random.default_rng(9)
    weights, codes = random.normal(size=(COLUMNS, 4)).astype(np.float32), random_codes(random)
    found = in_silico_mutagenesis(Network(linear(weights)), codes, shuffle_dinucleotides(codes, 2, random))
    expected = (weights - weights.mean(axis=1, keepdims=True)) * (codes != 4)[:, None]
    np.testing.assert_allclose(found.hypothetical, expected, atol=1e-5)


def test_networks_that_end_otherwise_are_refused():
    from keras import Sequential, layers

    start = [layers.Input((COLUMNS, 4)), layers.Flatten()]
    for last in (
        layers.Dense(2, activation="sigmoid"),
        layers.Dense(1, activation="tanh"),
        layers.Activation("sigmoid"),
    ):
        with pytest.raises(InputError, match="Dense"):
            Network(Sequential([*start, last]))


# ------------------------------------------------------------------------------------------------------ shuffles
def pairs(codes) -> Counter:
    return Counter(zip(codes[:-1].tolist(), codes[1:].tolist(), strict=True))


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 2**32))
def test_shuffles_keep_every_dinucleotide(letters, seed):
    codes = np.array(letters, np.uint8)
    for shuffled in shuffle_dinucleotides(codes, 3, np.random.default_rng(seed)):
        assert ((shuffled == 4) == (codes == 4)).all()
        for run in find_runs(codes):
            assert pairs(shuffled[run]) == pairs(codes[run])
            assert (shuffled[run[[0, -1]]] == codes[run[[0, -1]]]).all()


@given(st.lists(st.integers(0, 4), min_size=10, max_size=60), st.integers(1, 9), st.integers(0, 2**32))
def test_shuffles_of_pieces_across_gaps(letters, border, seed):
    codes = np.array(letters, np.uint8)
    known = np.flatnonzero(codes != 4)
    pieces = [known[known < border], known[known >= border]]
    for shuffled in shuffle_dinucleotides(codes, 2, np.random.default_rng(seed), pieces):
        assert ((shuffled == 4) == (codes == 4)).all()
        for piece in pieces:
            assert pairs(shuffled[piece]) == pairs(codes[piece])


@pytest.mark.parametrize("letters", ["ACAGCAACGA", "AACCGTACGT", "ACACACACAG"])
def test_every_possible_shuffle_is_equally_likely(letters):
    codes = np.array(["ACGT".index(letter) for letter in letters], np.uint8)
    possible = {
        (codes[0], *middle, codes[-1])
        for middle in itertools.permutations(codes[1:-1].tolist())
        if pairs(np.array([codes[0], *middle, codes[-1]])) == pairs(codes)
    }
    draws = 300 * len(possible)
    seen = Counter(map(tuple, shuffle_dinucleotides(codes, draws, np.random.default_rng(1)).tolist()))
    assert set(seen) == possible
    chi_square = sum((count - 300) ** 2 / 300 for count in seen.values())
    freedom = len(possible) - 1
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom) + 5


def test_last_steps_are_the_trees_of_four_bases():
    """Cayley: 4 ** 2 trees on four labelled points, so 16 into each root."""
    assert TREES.sum(axis=1).tolist() == [16] * 4
    for root, trees in enumerate(TREES):
        for way in WAYS[trees]:
            for base in range(4):
                for _ in range(3):
                    base = way[base]
                assert base == root


def test_shuffles_of_a_long_window_differ():
    random = np.random.default_rng(3)
    codes = random_codes(random, 3000)
    shuffled = shuffle_dinucleotides(codes, 20, random)
    assert len(np.unique(shuffled, axis=0)) == 20
    assert 0.6 < (shuffled != codes).mean() < 0.85


# ----------------------------------------------------------------------------------------------- profile and k-mers
def test_profile_is_the_mean_over_the_genes_that_have_one():
    profile = Profile(3)
    profile.add(np.array([[1.0, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 0]]), np.array([True, True, False]), 1)
    profile.add(np.array([[0, 0, 3.0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), np.array([True, False, False]), 1)
    np.testing.assert_array_equal(profile.means, [[np.nan] * 3, [2.0, 2.0, np.nan]])


def test_planted_kmer_comes_first_and_where_it_was_planted():
    random = np.random.default_rng(5)
    layout = WindowLayout(upstream=80, downstream=20, padding=4)  # the terminator begins in column 104
    windows, values = [], []
    for _ in range(60):
        codes, value = random.integers(0, 4, 204).astype(np.uint8), random.normal(0, 0.01, 204)
        codes[100:104] = 4
        at = int(random.integers(38, 43))
        codes[at : at + 7], value[at : at + 7] = MOTIF, -1.0
        windows.append(codes)
        values.append(value)
    enrichment = KmerEnrichment(layout, 6, 6.5)
    for codes, value in zip(windows, values, strict=True):
        enrichment.measure(codes, value)
    for codes, value in zip(windows, values, strict=True):
        enrichment.count(codes, value, enrichment.threshold)
    found = enrichment.top_kmers(5)
    first = found[found["region"] == "promoter"].iloc[0]
    assert first["word"] in ("GATTAC", "ATTACA")
    assert first["high"] >= 59
    assert first["mean_contribution"] == pytest.approx(-6, abs=0.2)
    assert -42 <= first["position_low"] <= first["position"] <= first["position_high"] <= -37
    assert first["p_value"] < 1e-50
    assert (found["region"] == "promoter").sum() <= 5
    assert found["p_value"].is_monotonic_increasing
    places = enrichment.places["promoter"].sum() + enrichment.places["terminator"].sum()
    assert places == 60 * 2 * 95  # no k-mer reaches over the padding
    high = sum(counts.sum() for counts in enrichment.high.values())
    assert high <= 0.02 * places


def test_kmers_are_spelled():
    assert [spell(kmer, 3) for kmer in (0, 1, 4, 63)] == ["AAA", "AAC", "ACA", "TTT"]
