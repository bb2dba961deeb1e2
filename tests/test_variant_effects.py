"""Percentiles of effects: which random substitutions there are, against every base tried in turn, and ranks by hand."""

import numpy as np
import pytest
from genomes import Gene, random_sequence
from test_variants import Chromosomes, make_windows

from core.progress import Progress
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


def open_background(windows, score) -> Background:
    return Background(windows, Chromosomes(c=SEQUENCE), score, Progress(1))


def test_background_is_scored_once_where_it_is_needed(monkeypatch, capsys):
    """The n-th random substitution has the effect -n, so of 50 of them the effect 10.2 is larger than 11."""
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 50)
    monkeypatch.setattr(variant_effects, "BATCH", 7)
    scored = []

    def score(genes, rows):
        assert ((rows != windows.codes[genes]).sum(axis=1) >= 1).all()
        scored.extend(genes)
        return -np.arange(len(scored) - len(genes), len(scored), dtype=float)

    windows = make_windows(SEQUENCE, GENES, SIZES)
    background = open_background(windows, score)
    assert background.rank(["promoter"] * 4, np.array([10.2, -10.2, 10, 0])).tolist() == [22, 22, 21, 1]
    assert background.rank(["promoter"], np.array([10 - 1e-6])).tolist() == [21]  # that is what rounding makes of 10
    assert len(scored) == 50
    assert background.rank(["terminator", "promoter"], np.array([100, 100.0])).tolist() == [100, 100]
    assert len(scored) == 100
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"percentiles: scoring 50 random substitutions in {name}s" for name in ("promoter", "terminator")
    ]


def test_regions_without_a_base(monkeypatch):
    """Of genes without short ones, both is either; where nothing is shown there is nothing to rank among."""
    monkeypatch.setattr(variant_effects, "SUBSTITUTIONS", 10)
    windows = make_windows(SEQUENCE, GENES[:2], SIZES)
    effects = iter([np.full(10, 1.0), np.full(10, 3.0)])  # of promoters, then of terminators
    background = open_background(windows, lambda genes, rows: next(effects))
    assert background.rank(["both", "promoter", "terminator"], np.full(3, 2.0)).tolist() == [50, 100, 0]
    windows.codes[:, windows.layout.regions["terminator"]] = 4  # as a control that shows the promoter only
    background = open_background(windows, lambda genes, rows: np.ones(len(genes)))
    found = background.rank(["terminator", "both", "promoter"], np.array([0, 1, 1.0]))
    assert np.array_equal(found, [np.nan, 50, 50], equal_nan=True)
    windows.codes[:] = 4
    assert np.isnan(open_background(windows, None).rank(["both", "promoter"], np.zeros(2))).all()
