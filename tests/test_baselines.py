"""k-mer counts against counting in strings, and regressions that find what was planted, and only that way."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from genomes import random_sequence, show_codes
from hypothesis import given, settings
from hypothesis import strategies as st

from core.genome import BASE_CODES
from core.scores import auroc
from lcre import baselines
from lcre.kmers import count_kmers
from lcre_classifier import WindowLayout

REGION = 60
REGIONS = (slice(0, REGION), slice(REGION + 5, 2 * REGION + 5))


@pytest.fixture
def short(monkeypatch):
    """Shorter k-mers, which are faster."""
    monkeypatch.setattr(baselines, "LENGTHS", (4, 3))


def codes_of(sequences: list[str]) -> np.ndarray:
    return np.array([np.frombuffer(sequence.encode().translate(BASE_CODES), np.uint8) for sequence in sequences])


def count_in_string(sequence: str, kmer: str) -> int:
    """Occurrences, overlapping ones too."""
    return sum(sequence[at : at + len(kmer)] == kmer for at in range(len(sequence)))


# ------------------------------------------------------------------------------------------------ counting
@settings(max_examples=40)
@given(
    st.integers(1, 25).flatmap(lambda n: st.lists(st.text("ACGTN", min_size=n, max_size=n), min_size=1, max_size=4)),
    st.integers(1, 4),
)
def test_counts_are_those_of_the_strings(sequences, k):
    counts = count_kmers(codes_of(sequences), k)
    kmers = ["".join(letters) for letters in itertools.product("ACGT", repeat=k)]
    assert counts.dtype == np.float32
    assert counts.tolist() == [[count_in_string(sequence, kmer) for kmer in kmers] for sequence in sequences]


def test_counts_of_more_sequences_than_are_counted_together():
    random = np.random.default_rng(1)
    codes = random.integers(0, 5, (600, 40), dtype=np.uint8)
    counts = count_kmers(codes, 6)
    assert counts.shape == (600, 4096)
    for row in (0, 255, 256, 511, 512, 599):
        sequence = show_codes(codes[row])
        seen = [sequence[at : at + 6] for at in range(35) if "." not in sequence[at : at + 6]]
        assert counts[row].sum() == len(seen)
        for kmer in set(seen):
            place = int("".join(str("ACGT".index(letter)) for letter in kmer), 4)
            assert counts[row, place] == seen.count(kmer)


def test_sequences_shorter_than_k_and_no_sequences():
    assert count_kmers(codes_of(["ACG"]), 4).tolist() == [[0] * 256]
    assert count_kmers(np.zeros((0, 10), np.uint8), 2).shape == (0, 16)


def test_promoter_and_terminator_are_counted_apart_and_padding_not_at_all():
    window = codes_of(["AAAA" + "NN" + "CCCC"])
    features = baselines.kmer_features(window, (slice(0, 4), slice(6, 10)), 2)
    assert features.shape == (1, 32)
    assert np.flatnonzero(features).tolist() == [0, 16 + 5]  # AA of the promoter, CC of the terminator
    assert features[0, [0, 21]] == pytest.approx(np.sqrt(3))
    fractions = baselines.composition_features(codes_of(["AACN" + "NN" + "NNNN"]), (slice(0, 4), slice(6, 10)))
    assert fractions == pytest.approx(np.array([[2 / 3, 1 / 3, 0, 0, 0, 0, 0, 0]]))


# ---------------------------------------------------------------------------------------------- regression
def planted(genes: int = 240, motif: str = "GATTACA", region: int = 0, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Windows and targets: genes that are high have the motif in one region, the others in the other."""
    random = np.random.default_rng(seed)
    target = np.arange(genes) % 2
    sequences = []
    for high in target:
        regions = [random_sequence(random, REGION), random_sequence(random, REGION)]
        which, at = region if high else 1 - region, random.integers(0, REGION - len(motif))
        regions[which] = regions[which][:at] + motif + regions[which][at + len(motif) :]
        sequences.append(regions[0] + "N" * 5 + regions[1])
    return codes_of(sequences), target


def split(genes: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.arange(genes)
    return rows[:160], rows[160:200], rows[200:]


@pytest.mark.parametrize("region", [0, 1])
def test_a_planted_motif_is_found_in_its_region(region):
    windows, target = planted(region=region)
    train, choose, test = split()
    probability, choice = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test)
    assert probability.shape == (40,)
    assert ((probability > 0) & (probability < 1)).all()
    assert auroc(target[test], probability) > 0.95
    assert choice["k"] in baselines.LENGTHS
    assert choice["strength"] in baselines.STRENGTHS
    assert choice["choose_auROC"] > 0.95


@pytest.mark.usefixtures("short")
def test_composition_does_not_find_a_motif_that_all_genes_have_but_finds_composition():
    windows, target = planted()
    train, _, test = split()
    assert 0.2 < auroc(target[test], baselines.composition_baseline(windows, REGIONS, target, train, test)) < 0.8
    windows[target == 1, :10] = 2  # a run of G
    assert auroc(target[test], baselines.composition_baseline(windows, REGIONS, target, train, test)) > 0.95


@pytest.mark.usefixtures("short")
def test_without_anything_to_find_nothing_is_found():
    random = np.random.default_rng(8)
    windows, target = random.integers(0, 4, (240, 125), dtype=np.uint8), random.integers(0, 2, 240)
    train, choose, test = split()
    probability, _ = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test)
    assert 0.25 < auroc(target[test], probability) < 0.75


@pytest.mark.usefixtures("short")
def test_targets_of_test_genes_change_nothing():
    windows, target = planted()
    train, choose, test = split()
    expected, choice = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test)
    composition = baselines.composition_baseline(windows, REGIONS, target, train, test)
    hidden = target.copy()
    for value in (np.random.default_rng(0).permutation(target[test]), 1 - target[test], 2, -1):
        hidden[test] = value
        found = baselines.kmer_baseline(windows, REGIONS, hidden, train, choose, test)
        assert np.array_equal(found[0], expected)
        assert found[1] == choice
        assert np.array_equal(baselines.composition_baseline(windows, REGIONS, hidden, train, test), composition)


@pytest.mark.usefixtures("short")
def test_test_genes_do_not_shift_each_other():
    windows, target = planted()
    train, choose, test = split()
    together, _ = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test)
    alone, _ = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test[7:8])
    assert alone == pytest.approx(together[7:8], abs=1e-6)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("choose", [[], [0], [0, 2, 4]])
def test_genes_to_choose_on_that_decide_nothing(choose):
    """None, or of one class: there is a prediction all the same."""
    windows, target = planted()
    train, _, test = split()
    probability, choice = baselines.kmer_baseline(windows, REGIONS, target, train, np.array(choose, int), test)
    assert np.isfinite(probability).all()
    assert np.isnan(choice["choose_auROC"])


@pytest.mark.usefixtures("short")
def test_what_is_the_same_in_all_training_genes_counts_for_nothing():
    windows, target = planted()
    train, choose, test = split()
    windows[:, 20:28] = 0  # the same AAAAAAAA in every gene ...
    plain, _ = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test)
    changed = windows.copy()
    changed[test[0], 20:28] = 3  # ... but in one of the test genes
    probability, _ = baselines.kmer_baseline(changed, REGIONS, target, train, choose, test)
    assert probability[1:] == pytest.approx(plain[1:], abs=1e-6)
    assert 0.01 < probability[0] < 0.99


@pytest.mark.usefixtures("short")
def test_windows_are_left_as_they_were():
    windows, target = planted()
    before = windows.copy()
    baselines.kmer_baseline(windows, REGIONS, target, *split())
    assert np.array_equal(windows, before)


@pytest.mark.usefixtures("short")
def test_windows_of_unknown_bases_only():
    windows, target = np.full((240, 125), 4, np.uint8), np.arange(240) % 2
    train, choose, test = split()
    probability, _ = baselines.kmer_baseline(windows, REGIONS, target, train, choose, test)
    assert probability == pytest.approx(np.full(40, 0.5))
    assert baselines.composition_baseline(windows, REGIONS, target, train, test) == pytest.approx(np.full(40, 0.5))


# ------------------------------------------------------------------------------------- outside and inside
def fold_of(genes: int = 240) -> SimpleNamespace:
    train, choose, test = split(genes)
    return SimpleNamespace(balanced=train, training=train, validation=choose, test=test)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(("begin", "sees"), [(5, "outside"), (42, "inside"), (70, "inside"), (102, "outside")])
def test_regressions_see_their_part_only(begin, sees):
    """Regions of 60 bp, 40 of them before the TSS or behind the TES; high genes have GATTACA somewhere in a part."""
    random, target = np.random.default_rng(2), np.arange(240) % 2
    windows = random.integers(0, 4, (240, 2 * REGION + 5), dtype=np.uint8)
    windows[:, REGION : REGION + 5] = 4
    for row in np.flatnonzero(target):
        at = begin + random.integers(0, 8)
        windows[row, at : at + 7] = codes_of(["GATTACA"])[0]
    layout = WindowLayout(40, 20, 5)
    found = baselines.predict_baselines(windows, layout, target, 3.0 * (2 * target - 1), fold_of(), random)
    assert list(found) == ["kmer", "gc", "outside", "inside", "codon"]
    test = fold_of().test
    assert found["codon"] is None
    assert auroc(target[test], found[sees]) > 0.9
    assert 0.2 < auroc(target[test], found["inside" if sees == "outside" else "outside"]) < 0.8


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("layout", "missing"), [(WindowLayout(0, 60, 5), "outside"), (WindowLayout(60, 0, 5), "inside")]
)
def test_windows_without_a_part(layout, missing):
    windows, target = planted()
    found = baselines.predict_baselines(windows, layout, target, target - 0.5, fold_of(), np.random.default_rng(1))
    assert [name for name in found if found[name] is None] == [missing, "codon"]


@pytest.mark.usefixtures("short")
def test_a_part_that_is_masked_in_all_genes_says_nothing():
    windows, target = planted()
    windows[:, 40:60] = windows[:, 65:85] = 4
    found = baselines.predict_baselines(
        windows, WindowLayout(40, 20, 5), target, target - 0.5, fold_of(), np.random.default_rng(1)
    )
    assert auroc(target[fold_of().test], found["inside"]) == 0.5


@pytest.mark.usefixtures("short")
def test_ranks_of_test_genes_change_nothing():
    windows, target = planted()
    fold, log_odds = fold_of(), 3.0 * (2 * target - 1)
    layout, hidden = WindowLayout(40, 20, 5), log_odds.copy()
    hidden[np.concatenate([fold.validation, fold.test])] = np.nan
    first, second = (
        baselines.predict_baselines(windows, layout, target, odds, fold, np.random.default_rng(1))
        for odds in (log_odds, hidden)
    )
    assert np.array_equal(first["outside"], second["outside"])
    assert np.array_equal(first["inside"], second["inside"])
