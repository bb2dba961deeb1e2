"""Labels, balance and folds: nothing of a held-out chromosome may ever be learned from or chosen on."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from genomes import Gene, load, random_sequence, write_files
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

import lcre_classifier as lcre
from core import InputError

LOW, HIGH, MIDDLE, NONE = 0, 1, 2, -1
ORGANELLE, SCAFFOLD = "Mt", "scaffold_1"


def make_data(rows: list[tuple], nuclear: list[str]) -> lcre.Dataset:
    """A data set of genes (chromosome, target, scorable); every gene but those with target None has windows."""
    genes = pd.DataFrame(rows, columns=["chromosome", "target", "scorable"])
    genes["gene_id"] = [f"g{number}" for number in range(len(genes))]
    genes["start"] = np.arange(len(genes)) * 100
    genes["end"] = genes["start"] + 90
    genes["window_fits"], genes["group"] = genes["target"].notna(), genes["chromosome"]
    genes["target"] = genes["target"].fillna(NONE).astype(np.int8)
    genes["scorable"] = genes["scorable"].astype(bool)
    genes["in_table"] = genes["target"] != NONE
    genes["status"] = np.where(genes["in_table"], "used", "not in table")
    genes.loc[genes["chromosome"] == ORGANELLE, "status"] = "organelle"
    number = np.arange(int(genes["window_fits"].sum()))
    windows = np.stack([number // 4**place % 4 for place in range(8)], axis=1).astype(np.uint8)  # no two alike
    return lcre.Dataset(genes, windows, windows, lcre.WindowLayout(60, 0, 0), nuclear, nuclear, "", {}, [], [])


def plain_data(names: str = "I II III IV V", low: int = 5, high: int = 3, middle: int = 2) -> lcre.Dataset:
    """Chromosomes that each have the same genes, all scorable, with organelle and scaffold behind them."""
    nuclear = names.split()
    targets = [LOW] * low + [HIGH] * high + [MIDDLE] * middle + [NONE]
    return make_data([(name, t, True) for name in [*nuclear, ORGANELLE, SCAFFOLD] for t in targets], nuclear)


def settings(
    chromosomes: str = "all", select_on: str = "validation", seed: int = 1, model: str = "cnn_lstm_kmer"
) -> SimpleNamespace:
    names = {"CHROMOSOMES": chromosomes, "SELECT_ON": select_on, "SEED": seed, "MODEL": model}
    return SimpleNamespace(HOLD_OUT="chromosome", **names)


def folds_of(data: lcre.Dataset, *args, **more) -> dict[str, lcre.Fold]:
    return {fold.name: fold for fold in lcre.make_folds(data, settings(*args, **more))}


def chromosomes_of(data: lcre.Dataset, rows: np.ndarray) -> set[str]:
    return set(data.with_windows["chromosome"].to_numpy()[rows])


def targets_of(data: lcre.Dataset, rows: np.ndarray) -> list[int]:
    return data.with_windows["target"].to_numpy()[rows].tolist()


def same(one: lcre.Fold, other: lcre.Fold) -> bool:
    """Whether two folds have the same genes in the same order in every role."""
    return one.chosen_on == other.chosen_on and all(
        np.array_equal(getattr(one, role), getattr(other, role))
        for role in ("balanced", "middle", "validation", "test", "held_out")
    )


# ----------------------------------------------------------------------------------------------- labels
def test_thresholds_are_percentiles_of_the_whole_table():
    chosen = SimpleNamespace(LOW_PERCENTILE=25.0, HIGH_PERCENTILE=75.0, TARGET_COLUMN="logMaxTPM")
    low, high = lcre.find_thresholds(pd.Series(np.arange(101.0)), chosen)
    assert (low, high) == (25, 75)
    values = np.array([25, 25.01, np.nan, 74.99, 75, -3, 200])
    assert lcre.label_genes(values, low, high).tolist() == [LOW, MIDDLE, NONE, MIDDLE, HIGH, LOW, HIGH]


def toy_files(folder, expression: dict[str, float], chromosomes: int = 3, **more) -> list[str]:
    """Genes a1, a2, ... b1, ... of the table on chromosomes 1, 2, ... by their letter; others are not annotated."""
    random = np.random.default_rng(2)
    written = {str(number): random_sequence(random, 600) for number in range(1, chromosomes + 1)}
    genes = [
        Gene(gene, str("abcdef".index(gene[0]) + 1), 50 + 10 * int(gene[1:]), 90 + 10 * int(gene[1:]))
        for gene in expression
        if gene[0] in "abcdef"[:chromosomes]
    ]
    return [*write_files(folder, written, genes, expression, **more), "--upstream", "20", "--downstream", "10"]


def test_genes_that_are_only_in_the_table_count_for_the_percentiles(tmp_path):
    expression = {f"{letter}{number}": float(number) for letter in "ab" for number in range(10)}
    expression |= {f"not_annotated{number}": 100.0 + number for number in range(20)}
    flags = [*toy_files(tmp_path, expression, chromosomes=2), "--low-percentile", "25", "--high-percentile", "45"]
    data, _ = load(flags)
    low, high = np.percentile(list(expression.values()), [25, 45])
    target = dict(zip(data.genes["gene_id"], data.genes["target"], strict=True))
    assert target == {
        gene: LOW if value <= low else HIGH if value >= high else MIDDLE
        for gene, value in expression.items()
        if gene[0] in "ab"
    }
    assert sum(label == LOW for label in target.values()) == 10  # a quarter of the table, half of the annotation


def test_ties_at_the_threshold_are_counted_and_said(tmp_path):
    expression = {f"{letter}{number}": max(0.0, number - 5.0) for letter in "abc" for number in range(10)}
    data, _ = load(toy_files(tmp_path, expression))
    assert (data.genes["target"] == LOW).sum() == 18
    assert any("18 of 30 genes of the table (60 %, not 25 %) are low" in note for note in data.notes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0] * 29 + [1.0], "a single class: the 25th and the 75th percentile of logMaxTPM are both 0"),
        ([7.5] * 30, "are both 7.5"),
    ],
)
def test_one_value_for_most_genes_is_a_single_class(tmp_path, values, message):
    names = [f"{letter}{number}" for letter in "abc" for number in range(10)]
    with pytest.raises(InputError, match=message):
        load(toy_files(tmp_path, dict(zip(names, values, strict=True))))


def test_all_usable_genes_in_one_class_is_refused(tmp_path):
    expression = {f"{letter}{number}": float(number) for letter in "ab" for number in range(10)}
    expression |= {f"not_annotated{number}": 100.0 + number for number in range(60)}
    with pytest.raises(InputError, match="a single class: of 20 usable genes none is high"):
        load(toy_files(tmp_path, expression, chromosomes=2))


# ---------------------------------------------------------------------------------------------- balance
@given(st.lists(st.sampled_from([LOW, HIGH]), max_size=40), st.integers(0, 5))
def test_balance_is_exact_and_keeps_the_smaller_class_whole(targets, seed):
    target = np.array([MIDDLE, *targets])
    rows = np.arange(1, len(target))
    kept = lcre.balance(rows, target, np.random.default_rng(seed))
    smaller = min(targets.count(LOW), targets.count(HIGH))
    assert [int((target[kept] == label).sum()) for label in (LOW, HIGH)] == [smaller, smaller]
    assert (np.diff(kept) > 0).all()
    assert set(kept) <= set(rows)


def test_each_gene_of_the_larger_class_is_drawn_equally_often():
    target = np.array([LOW] * 30 + [HIGH] * 10)
    draws = [lcre.balance(np.arange(40), target, np.random.default_rng(seed)) for seed in range(600)]
    counts = np.bincount(np.concatenate(draws), minlength=40)
    assert (counts[30:] == 600).all()
    assert abs(counts[:30] - 200).max() < 60  # five standard deviations


def test_balance_depends_on_seed_and_name_of_the_fold_only():
    data = plain_data(low=30, high=10)
    together, reverse = folds_of(data), folds_of(data, "V,IV,III,II,I")
    for name, fold in together.items():
        assert same(fold, folds_of(data, name)[name])
        assert same(fold, reverse[name])
    assert list(reverse) == ["V", "IV", "III", "II", "I"]
    other_seed = folds_of(data, seed=2)
    assert not np.array_equal(together["I"].balanced, other_seed["I"].balanced)
    assert np.array_equal(together["I"].test, other_seed["I"].test)
    assert together["I"].entropy(1) != together["II"].entropy(1)


# ------------------------------------------------------------------------------------------------ folds
def test_genes_of_the_held_out_chromosome_missing_from_the_list_are_in_no_role(tmp_path):
    """The leak of the first implementation: what was not in the validation list went into training."""
    expression = {f"{letter}{number}": float(number) for letter in "abc" for number in range(12)}
    listed = [f"{letter}{number}" for letter in "abc" for number in (0, 1, 2, 10, 11)]
    data, chosen = load([*toy_files(tmp_path, expression, listed=listed), "--padding", "0"])
    assert any("15 of 15 validation genes are in the annotation" in note for note in data.notes)
    ids = data.with_windows["gene_id"].to_numpy(str)
    folds = lcre.make_folds(data, chosen)
    assert [fold.name for fold in folds] == ["1", "2", "3"]
    for fold, letter, chooser in zip(folds, "abc", "bca", strict=True):
        train, validation, test = (set(ids[rows]) for rows in (fold.balanced, fold.validation, fold.test))
        assert test == {letter + number for number in ("0", "1", "2", "10", "11")}
        assert validation == {chooser + number for number in ("0", "1", "2", "10", "11")}
        (other,) = set("abc") - {letter, chooser}
        assert train == {other + number for number in ("0", "1", "2", "9", "10", "11")}  # 9 is high and not listed
        assert set(ids[fold.held_out]) == {f"{letter}{number}" for number in range(12)}


def test_without_a_list_all_are_scored_with_a_warning(tmp_path):
    expression = {f"{letter}{number}": float(number) for letter in "abc" for number in range(12)}
    data, chosen = load(toy_files(tmp_path, expression))
    assert any("homologs" in warning for warning in data.warnings)
    assert all(len(fold.test) == 6 for fold in lcre.make_folds(data, chosen))


def test_a_group_is_one_fold_of_that_name():
    data = plain_data("I II III IV V VI VII VIII")
    (fold,) = folds_of(data, "IV+VII").values()
    assert fold.name == "IV+VII"
    assert chromosomes_of(data, fold.test) == chromosomes_of(data, fold.held_out) == {"IV", "VII"}
    assert fold.chosen_on == "VIII"
    assert chromosomes_of(data, fold.balanced) == {"I", "II", "III", "V", "VI", SCAFFOLD}
    assert list(folds_of(data, " I + II , V ")) == ["I+II", "V"]


@pytest.mark.parametrize(
    ("held_out", "chooses"),
    [("I", "II"), ("II", "III"), ("V", "I"), ("I+II", "III"), ("I+III", "IV"), ("V+I", "II"), ("IV+V+I+II", "III")],
)
def test_the_next_chromosome_chooses_the_epoch(held_out, chooses):
    data = plain_data(low=6, high=6)
    (fold,) = folds_of(data, held_out).values()
    assert fold.chosen_on == chooses
    assert chromosomes_of(data, fold.validation) == {chooses}
    assert chooses not in chromosomes_of(data, fold.balanced)


@pytest.mark.parametrize("sizes", [(60, 0), (0, 60)])
def test_one_end_of_a_large_chromosome_chooses_and_the_other_trains(sizes):
    """A gene each 100 bp, low, high and middle in turn; windows reach 60 bp beyond its 90: 210 bp on, none overlaps.

    So far reaches the part before the TES, too, of a gene that is shorter than it.
    """
    small, large = [LOW, HIGH] * 40, [LOW, HIGH, MIDDLE] * 400
    rows = [(name, t, True) for name, targets in (("I", small), ("II", large), ("III", small)) for t in targets]
    data = make_data(rows, ["I", "II", "III"])
    data.layout = lcre.WindowLayout(*sizes, 0)
    fold = folds_of(data, "I")["I"]
    second = len(small) + np.arange(len(large))
    assert fold.validation.tolist() == [row for row in second if large[row - len(small)] != MIDDLE][: lcre.CHOOSE_ON]
    last = fold.validation[-1]
    assert last - len(small) == 748  # 250 times low, high, middle, but for the last
    training, behind = set(fold.training.tolist()), set(range(last + 3, len(rows)))
    assert training < behind
    assert targets_of(data, np.array(list(behind - training))) == [HIGH]  # one too many for the low ones
    assert last + 3 in training or last + 4 in training
    # the other way round nothing is left over on the small one
    assert chromosomes_of(data, folds_of(data, "II")["II"].training) == {"I"}


def test_one_end_with_a_single_class_does_not_choose():
    """All low genes stand in front of all high ones: the whole chromosome chooses."""
    rows = [("I", t, True) for t in (LOW, HIGH)] + [("II", t, True) for t in [LOW] * 600 + [HIGH] * 600]
    rows += [("III", t, True) for t in (LOW, HIGH)]
    fold = folds_of(make_data(rows, ["I", "II", "III"]), "I")["I"]
    assert len(fold.validation) == 1200
    assert chromosomes_of(make_data(rows, ["I", "II", "III"]), fold.training) == {"III"}


def test_a_chromosome_without_genes_to_score_is_passed_over_and_trains():
    rows = [(name, target, name != "II") for name in ("I", "II", "III") for target in (LOW, LOW, HIGH, MIDDLE)]
    data = make_data(rows, ["I", "II", "III"])
    folds = folds_of(data)
    assert list(folds) == ["I", "III"]
    assert folds["I"].chosen_on == "III"
    assert chromosomes_of(data, folds["I"].balanced) == {"II"}


def test_select_on_test_trains_on_all_other_chromosomes():
    data = plain_data()
    for name, fold in folds_of(data, select_on="test").items():
        assert fold.chosen_on is None
        assert len(fold.validation) == 0
        assert chromosomes_of(data, fold.balanced) == {"I", "II", "III", "IV", "V", SCAFFOLD} - {name}


def test_two_chromosomes_are_enough_only_where_the_test_genes_choose():
    data = plain_data("I II")
    data.windows = data.windows[(data.with_windows["chromosome"] != SCAFFOLD).to_numpy()]
    data.genes = data.genes[data.genes["chromosome"] != SCAFFOLD].reset_index(drop=True)
    with pytest.raises(InputError, match="no low or no high genes are left to train on"):
        folds_of(data)
    with pytest.raises(InputError, match="SELECT_ON test"):
        folds_of(data, "I+II")
    assert list(folds_of(data, select_on="test")) == ["I", "II"]


def test_organelles_neither_train_nor_are_held_out_unless_named():
    data = plain_data()
    folds = folds_of(data)
    assert list(folds) == ["I", "II", "III", "IV", "V"]
    for fold in folds.values():
        assert ORGANELLE not in chromosomes_of(data, np.concatenate([fold.training, fold.validation, fold.held_out]))
    named = folds_of(data, f"I,{ORGANELLE}")[ORGANELLE]
    assert chromosomes_of(data, named.test) == {ORGANELLE}
    assert len(named.test) == 8


def test_scaffolds_train_and_are_held_out_only_when_named():
    data = plain_data()
    for fold in folds_of(data).values():
        assert SCAFFOLD in chromosomes_of(data, fold.balanced)
        assert fold.chosen_on != SCAFFOLD
    named = folds_of(data, SCAFFOLD)[SCAFFOLD]
    assert SCAFFOLD not in chromosomes_of(data, named.balanced)
    assert named.chosen_on == "I"


def test_a_chr_prefix_in_the_setting_is_bridged():
    assert list(folds_of(plain_data("1 2 3 10"), "chr10,chr2+chr1")) == ["10", "2+1"]
    assert list(folds_of(plain_data("chr1 chr2 chr3"), "1")) == ["chr1"]


@pytest.mark.parametrize(
    ("chromosomes", "message"),
    [
        ("I,XX", "no gene has a window on 'XX'; there are 'I', 'II'"),
        ("I,", "no gene has a window on ''"),
        ("i", "no gene has a window on 'i'"),
        ("I,II,I", "names a chromosome twice"),
        ("I+I", "names a chromosome twice"),
        ("I+II,II", "names a chromosome twice"),
        ("only_low", "only_low has no low or no high genes that may be scored"),
        ("not_listed", "not_listed has no low or no high genes that may be scored"),
    ],
)
def test_chromosomes_that_cannot_be_held_out_are_named(chromosomes, message):
    rows = [(name, target, name != "not_listed") for name in ("I", "II", "not_listed") for target in (LOW, HIGH)]
    data = make_data([*rows, ("only_low", LOW, True), ("only_low", MIDDLE, True)], ["I", "II", "only_low"])
    with pytest.raises(InputError, match=message):
        folds_of(data, chromosomes)


def test_no_chromosome_that_can_be_scored():
    data = make_data([("I", LOW, True), ("II", HIGH, True)], ["I", "II"])
    with pytest.raises(InputError, match="no chromosome has both low and high genes"):
        folds_of(data)


# ------------------------------------------------------------------------------------------ by property
NAMES = ["A", "B", "C", "D", "E", "F", ORGANELLE, SCAFFOLD]
TARGETS = st.sampled_from([LOW, HIGH, MIDDLE, NONE, None])


@st.composite
def genomes(draw):
    """Genes on nuclear chromosomes A to F, organelle and scaffold; A to D can be scored, the others perhaps."""
    sure = [(name, target, True) for name in "ABCD" for target in (LOW, HIGH)]
    more = draw(st.lists(st.tuples(st.sampled_from(NAMES), TARGETS, st.booleans()), max_size=40))
    return make_data(draw(st.permutations(sure + more)), list("ABCDEF"))


@st.composite
def chosen_chromosomes(draw):
    """A setting of CHROMOSOMES: all, or up to three groups of one or two."""
    names = draw(st.permutations(NAMES))
    pairs = ["+".join(names[at : at + draw(st.integers(1, 2))]) for at in (0, 2, 4)]
    return draw(st.sampled_from(["all", pairs[0], ",".join(pairs)]))


def test_a_gene_with_the_sequence_of_a_held_out_gene_does_not_train():
    """The first genes of I and II have identical windows: that of II trains for III only, that of I likewise."""
    data = plain_data("I II III IV", low=6, high=6, middle=0)
    chromosome = data.with_windows["chromosome"].to_numpy(str)
    first, second = np.flatnonzero(chromosome == "I")[0], np.flatnonzero(chromosome == "II")[0]
    data.windows[second] = data.windows[first]
    folds = folds_of(data)
    for name, fold in folds.items():
        others = set(fold.balanced.tolist())
        assert name not in ("I", "IV") or second not in others  # IV: I, with the first gene, chooses the epoch
        assert name not in ("II",) or first not in others


def test_a_gene_with_the_sequence_of_a_held_out_gene_does_not_choose_the_epoch():
    """II chooses for I. One of its genes has the window of a gene of I: it is left out; where all of its high genes
    have, II cannot choose, and III does."""
    data = plain_data("I II III IV", low=6, high=3, middle=0)
    chromosome, target = data.with_windows["chromosome"].to_numpy(str), data.with_windows["target"].to_numpy()
    first = np.flatnonzero((chromosome == "I") & (target == HIGH))
    identical = np.flatnonzero((chromosome == "II") & (target == HIGH))
    data.windows[identical[0]] = data.windows[first[0]]
    fold = folds_of(data)["I"]
    assert fold.chosen_on == "II"
    assert len(fold.validation) == 8
    assert identical[0] not in fold.validation
    data.windows[identical] = data.windows[first]
    fold = folds_of(data)["I"]
    assert fold.chosen_on == "III"
    assert not set(identical) & set(np.concatenate([fold.training, fold.validation]).tolist())


def test_middle_genes_train_only_a_model_whose_targets_are_ranks():
    data = plain_data("I II III", low=5, high=3, middle=2)
    for model, middle in (("cnn_lstm_kmer", 2 * 2), ("published", 0)):  # of one chromosome and the scaffold
        fold = folds_of(data, "I", model=model)["I"]
        assert (len(fold.balanced), len(fold.middle), len(fold.training)) == (2 * 2 * 3, middle, 2 * 2 * 3 + middle)
        assert set(targets_of(data, fold.middle)) == ({MIDDLE} if middle else set())


@budget(max_examples=60)
@given(genomes(), chosen_chromosomes(), st.sampled_from(["validation", "test"]))
def test_no_gene_of_a_held_out_chromosome_is_learned_from(data, chromosomes, select_on):
    genes = data.with_windows
    used, labelled = genes["status"] == "used", genes["target"].isin([LOW, HIGH])
    try:
        folds = lcre.make_folds(data, settings(chromosomes, select_on))
    except InputError:
        scored = genes[labelled & genes["scorable"]].groupby("chromosome")["target"].nunique()
        unsure = {name for name in NAMES if scored.get(name, 0) < 2}
        assert any(unsure & set(group.split("+")) for group in chromosomes.split(","))
        return
    for fold in folds:
        held_out = genes["chromosome"].isin(fold.name.split("+"))
        chooses = genes["chromosome"] == fold.chosen_on
        assert fold.held_out.tolist() == np.flatnonzero(held_out).tolist()
        assert fold.test.tolist() == np.flatnonzero(held_out & labelled & genes["scorable"]).tolist()
        assert fold.validation.tolist() == np.flatnonzero(chooses & used & labelled & genes["scorable"]).tolist()
        assert set(fold.balanced) <= set(np.flatnonzero(used & labelled & ~held_out & ~chooses))
        assert not set(fold.balanced) & set(fold.validation)
        assert not set(fold.held_out) & (set(fold.balanced) | set(fold.validation))
        assert (
            fold.middle.tolist() == np.flatnonzero(used & (genes["target"] == MIDDLE) & ~held_out & ~chooses).tolist()
        )
        train, pool = targets_of(data, fold.balanced), genes.loc[used & labelled & ~held_out & ~chooses, "target"]
        assert train.count(LOW) == train.count(HIGH) == min((pool == LOW).sum(), (pool == HIGH).sum()) > 0
        assert set(targets_of(data, fold.test)) == {LOW, HIGH}
        assert (select_on == "test") == (len(fold.validation) == 0)
