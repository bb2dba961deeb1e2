"""How unusual the effect of a variant is: its rank among random substitutions of the same genes' windows.

A random substitution puts one of the three other bases in the place of a base that a window shows; all such bases of
all genes with windows are equally likely. Each region has its own: bases of the promoter only, of the terminator only,
and of both, where the regions of a short gene overlap.
"""

from collections.abc import Sequence

import numpy as np

from lcre.variants import Edit, Windows

SUBSTITUTIONS = 2000  # random ones of each region
SEED = 1
TIE = 1e-5  # effects are compared as multiples of it: sums that are rounded in another order differ by less
GENES = 1000  # whose windows are looked at together
DRAWN = 1000  # genes, at random, of which promoters and terminators are drawn
REGIONS = "promoter", "terminator", "both"

# What is known of the predicted effects where they could be checked; benchmarks/RESULTS.md has the figures.
EFFECTS_CHECKED = (
    "On 382 SNPs of yeast promoters with a significant effect in a reporter assay, predicted effects had the measured "
    "sign in 55 % (95 % interval 50 to 60) by the default network and 58 % (53 to 63) by one trained on flanks only; "
    "their size did not tell significant from other measured SNPs (auROC .489, .461 to .520, and .497, .468 to .527). "
    "Use them to see what the network has learned, not to choose variants."
)


# -------------------------------------------------------------------------------------- random substitutions
def find_shown(windows: Windows, genes: np.ndarray, region: str) -> np.ndarray:
    """Tell which bases of a region the windows of genes show.

    Args:
        windows: of all genes.
        genes: rows of `windows.codes`, (genes,).
        region: promoter or terminator, the bases that are in this one only; both: those that are in both.

    Returns:
        Booleans, (genes, columns of a region): of the terminator's columns for that region, else of the promoter's. A
        base that is in both regions is shown if one of its two columns shows it.
    """
    size = windows.layout.region_size
    promoter, terminator = (windows.codes[genes, place] < 4 for place in windows.layout.regions.values())
    left, right = windows.layout.locate(windows.start[genes], windows.end[genes])
    ahead = left - right if region == "terminator" else right - left
    other = np.arange(size) - ahead[:, None]  # column of the same base in the other region
    in_both = (other >= 0) & (other < size)
    if region == "both":
        return in_both & (promoter | np.take_along_axis(terminator, other.clip(0, size - 1), axis=1))
    return (promoter if region == "promoter" else terminator) & ~in_both


def draw_substitutions(
    windows: Windows, region: str, count: int, seed: int, genes: np.ndarray | None = None
) -> list[tuple[int, Edit]]:
    """Return random substitutions of bases of a region: the gene (row of `windows.codes`) and the change.

    The bases, in the order of genes and columns, are cut into `count` equal parts, and one of each part is drawn: every
    base is as likely as any other, and the genes share the draws more evenly than by chance.

    Args:
        windows: of all genes.
        region: promoter, terminator or both, as in `find_shown`.
        count: how many to draw; bases are drawn again where there are fewer.
        seed: of the draws.
        genes: rows of `windows.codes` to draw from, ascending; None: all of them.

    Returns:
        None of them where no window shows a base of the region.
    """
    genes = np.arange(len(windows.codes)) if genes is None else genes
    parts = [genes[at : at + GENES] for at in range(0, len(genes), GENES)]
    shown = np.concatenate([find_shown(windows, part, region).sum(axis=1) for part in parts])
    ends = shown.cumsum()
    if not ends[-1]:
        return []
    random = np.random.default_rng([seed, list(REGIONS).index(region)])
    drawn = ((np.arange(count) + random.random(count)) / count * ends[-1]).astype(np.int64).clip(0, ends[-1] - 1)
    steps = random.integers(1, 4, count)  # from the base to another one
    found = []
    for base, step in zip(drawn, steps, strict=True):
        place = int(np.searchsorted(ends, base, side="right"))
        gene = int(genes[place])
        columns = np.flatnonzero(find_shown(windows, np.array([gene]), region)[0])
        found.append((gene, substitute(windows, gene, region, columns[base - ends[place] + shown[place]], step)))
    return found


def substitute(windows: Windows, gene: int, region: str, column: int, step: int) -> Edit:
    """Return the change of the base in a column of a region to the one `step` further in ACGT, on the gene's strand."""
    size, strand = windows.layout.region_size, windows.strand[gene]
    left, right = map(int, windows.layout.locate(windows.start[gene], windows.end[gene]))
    terminator = region == "terminator"
    place = windows.layout.regions["terminator" if terminator else "promoter"]
    code = windows.codes[gene, place.start + column]
    if code > 3:  # masked in the promoter, shown in the terminator
        code = windows.codes[gene, windows.layout.regions["terminator"].start + column - (right - left)]
    edge = left if terminator == (strand == "-") else right
    position = int(edge + column if strand == "+" else edge + size - 1 - column)
    return Edit(position, position + 1, windows.on_strand(gene, np.array([(code + step) % 4], np.uint8)))


# ----------------------------------------------------------------------------------------------------- ranks
def round_size(effects: np.ndarray) -> np.ndarray:
    """Return |effect| as whole multiples of `TIE`."""
    return np.rint(np.abs(effects) / TIE)


def find_percentiles(sizes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the percentage of `others` that are smaller, those that are equal counted half; nan without others.

    Args:
        sizes: to rank, (n,).
        others: to rank them among, sorted, (m,).
    """
    if not len(others):
        return np.full(len(sizes), np.nan)
    smaller, not_larger = (np.searchsorted(others, sizes, side=side) for side in ("left", "right"))
    return 50 * (smaller + not_larger) / len(others)


class Background:
    """The effects of random substitutions, which are asked for when a variant in their region first needs them.

    Args:
        windows: of all genes.
    """

    def __init__(self, windows: Windows):
        self.windows, self.drawn = windows, set()  # regions
        self.effects: dict[str, list[np.ndarray]] = {region: [] for region in REGIONS}
        self.scored = 0
        genes = np.random.default_rng(SEED).permutation(len(windows.codes))
        self.genes = np.sort(genes[:DRAWN])

    def draw(self, region: str) -> list[tuple[int, Edit, str]]:
        """Return what is to be scored before variants in a region can be ranked: gene, change and its region.

        Promoter and terminator are drawn together, of the same genes, whose own windows are then scored once. What was
        drawn before is not returned again. Where no base is shown in both regions, a variant that reaches from one to
        the other is ranked among the substitutions of either.
        """
        if region in self.drawn:
            return []
        if region == "both":
            self.drawn.add(region)
            drawn = draw_substitutions(self.windows, region, SUBSTITUTIONS, SEED)
            return [(gene, edit, region) for gene, edit in drawn] or self.draw("promoter")
        self.drawn |= {"promoter", "terminator"}
        found = [
            (gene, edit, one)
            for one in ("promoter", "terminator")
            for gene, edit in draw_substitutions(self.windows, one, SUBSTITUTIONS, SEED, self.genes)
        ]
        return sorted(found, key=lambda substitution: substitution[0])

    def add(self, regions: Sequence[str], effects: np.ndarray) -> None:
        """Take the effects of some of what was drawn, (n,)."""
        self.scored += len(effects)
        for region in set(regions):
            self.effects[region].append(effects[np.array(regions) == region])

    def of(self, region: str) -> np.ndarray:
        """Return the sizes of effects that variants in a region are ranked among, sorted, in multiples of `TIE`."""
        effects = self.effects[region]
        if region == "both" and not effects:
            effects = self.effects["promoter"] + self.effects["terminator"]
        return np.sort(round_size(np.concatenate([np.zeros(0), *effects])))

    def rank(self, regions: Sequence[str], effects: np.ndarray) -> np.ndarray:
        """Return the percentile of |effect| among the random substitutions of each one's region, 0 to 100, (n,).

        It is nan where there are none to rank it among.
        """
        sizes, percentiles, regions = round_size(effects), np.full(len(effects), np.nan), np.array(regions)
        for region in np.unique(regions):
            here = regions == region
            percentiles[here] = find_percentiles(sizes[here], self.of(str(region)))
        return percentiles
