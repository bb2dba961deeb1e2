"""Percentiles of effects: which random substitutions there are, against every base tried in turn, and ranks by hand."""

import numpy as np
import pytest
from genomes import Gene, random_sequence
from test_variants import Chromosomes, make_windows

from lcre import variant_effects
from lcre.variant_effects import REGIONS, Background, draw_substitutions, find_percentiles, find_shown, substitute
from lcre.variants import Edit

SIZES = (14, 9, 4)
SEQUENCE = random_sequence(np.random.default_rng(6), 90).replace("GA", "NA")
GENES = [
    Gene("long", "c", 20, 68),
    Gene("minus", "c", 22, 66, "-"),
    Gene("short", "c", 40, 45),
    Gene("half", "c", 30, 44, "-"),
    Gene("tiny", "c", 50, 51, "-"),
]


def try_every_base(windows) -> dict[str, set[tuple[int, int]]]:
    """Return the bases (gene, position) of each region that change a window, by changing each one."""
    genome, found = Chromosomes(c=SEQUENCE), {region: set() for region in REGIONS}
    codes = [np.array([("ACGTN".index(base) + 1) % 4], np.uint8) for base in SEQUENCE]
    edits = [Edit(position, position + 1, code) for position, code in enumerate(codes)]
    for edit, genes in zip(edits, windows.find(["c"] * len(edits), edits), strict=True):
        for gene, region in genes:
            if SEQUENCE[edit.begin] != "N" and (windows.edit(gene, genome, edit) != windows.codes[gene]).any():
                found[region].add((gene, edit.begin))
    return found


@pytest.mark.parametrize("sizes", [SIZES, (0, 9, 0), (14, 2, 1), (3, 30, 0)])
def test_shown_bases_are_those_that_change_a_window(sizes):
    genes = [gene for gene in GENES if gene.start >= max(sizes[:2]) and gene.end <= 90 - max(sizes[:2])]
    windows = make_windows(SEQUENCE, genes, sizes)
    expected = try_every_base(windows)
    numbers = np.arange(len(genes))
    for region in REGIONS:
        shown = find_shown(windows, numbers, region)
        found = [(int(g), substitute(windows, g, region, column, 1).begin) for g, column in np.argwhere(shown)]
        assert len(found) == len(set(found))
        assert set(found) == expected[region], region
    assert sum(map(len, expected.values())) > 20


def test_draws_are_all_bases_alike_and_another_base_each():
    windows = make_windows(SEQUENCE, GENES, SIZES)
    for region, bases in try_every_base(windows).items():
        drawn = draw_substitutions(windows, region, 3 * len(bases), 1)
        assert sorted((gene, edit.begin) for gene, edit in drawn) == sorted([*bases] * 3)
        changes = {(SEQUENCE[edit.begin], "ACGT"[edit.codes[0]]) for _, edit in drawn}
        assert all(before != after for before, after in changes)
        assert len(changes) > 6
        again, other = (draw_substitutions(windows, region, 3 * len(bases), seed) for seed in (1, 2))
        assert str(again) == str(drawn) != str(other)
        assert len(draw_substitutions(windows, region, 5, 1)) == 5


def test_mid_ranks_by_hand():
    others = np.array([0, 0, 1, 4, 4, 4, 7, 9.0])
    percentiles = find_percentiles(np.array([0, 0.5, 1, 4, 8, 9, 10]), others)
    assert percentiles.tolist() == [12.5, 25, 31.25, 56.25, 87.5, 93.75, 100]
    assert np.isnan(find_percentiles(np.array([1.0]), np.zeros(0))).all()


def test_background_is_drawn_once_where_it_is_needed(monkeypatch):
    """The promoters' have the effects 0, -1 to -49, so of 50 of them the effect 10.2 is larger than 11."""
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 50)
    background = Background(make_windows(SEQUENCE, GENES, SIZES))
    drawn = background.draw("promoter")
    assert sorted(region for *_, region in drawn) == ["promoter"] * 50 + ["terminator"] * 50
    number = {"promoter": 0, "terminator": 0}
    for begin in range(0, 100, 7):
        some = [region for *_, region in drawn[begin : begin + 7]]
        effects = []
        for region in some:
            effects.append(-number[region] if region == "promoter" else 7.0)
            number[region] += 1
        background.add(some, np.array(effects, float))
    assert background.scored == 100
    assert background.draw("promoter") == background.draw("terminator") == []
    assert background.rank(["promoter"] * 4, np.array([10.2, -10.2, 10, 0])).tolist() == [22, 22, 21, 1]
    assert background.rank(["promoter"], np.array([10 - 1e-6])).tolist() == [21]  # that is what rounding makes of 10
    assert background.rank(["terminator", "promoter", "terminator"], np.array([8, 100, 7.0])).tolist() == [100, 100, 50]
    assert {region for *_, region in background.draw("both")} == {"both"}


def test_regions_without_a_base(monkeypatch):
    """Of genes without short ones, both is either; where nothing is shown there is nothing to rank among."""
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 10)
    windows = make_windows(SEQUENCE, GENES[:2], SIZES)
    background = Background(windows)
    regions = [region for *_, region in background.draw("both")]
    background.add(regions, np.array([1.0 if region == "promoter" else 3.0 for region in regions]))
    assert background.rank(["both", "promoter", "terminator"], np.full(3, 2.0)).tolist() == [50, 100, 0]
    assert background.draw("promoter") == background.draw("both") == []
    windows.codes[:, windows.layout.regions["terminator"]] = 4  # as a control that shows the promoter only
    background = Background(windows)
    regions = [region for *_, region in background.draw("terminator")]
    assert regions == ["promoter"] * 10
    background.add(regions, np.ones(10))
    found = background.rank(["terminator", "both", "promoter"], np.array([0, 1, 1.0]))
    assert np.array_equal(found, [np.nan, 50, 50], equal_nan=True)
    windows.codes[:] = 4
    background = Background(windows)
    assert background.draw("both") == []
    assert np.isnan(background.rank(["both", "promoter"], np.zeros(2))).all()
