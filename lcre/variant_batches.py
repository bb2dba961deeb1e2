"""Reads a VCF into batches of pairs of gene and variant, in the order of the file, that are scored one by one."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.files import escape_cell
from core.genome import Genome
from core.progress import Progress
from lcre import variants
from lcre.variant_effects import Background

LINES = 1000  # of a VCF that are joined with the windows at once
DRAWN = 256  # random substitutions that are scored together


@dataclass
class Pairs:
    """Pairs of gene and variant that are scored together.

    The effect is the difference in log-odds: where a gene is all but certainly high or low, the probability hardly
    moves whatever a variant breaks.

    Attributes:
        genes: row of the gene of each.
        regions: in which the variant lies.
        alleles: the `lcre.variants.Allele` of each; none of random substitutions.
        rows: the gene's window with the change in it, uint8, (columns,), each.
        drawn: whether these are random substitutions, among which others are ranked.
        lines: of the VCF that are done with this batch.
    """

    genes: list[int] = field(default_factory=list)
    regions: list[str] = field(default_factory=list)
    alleles: list[variants.Allele] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    drawn: bool = False
    lines: int = 0

    def add(self, gene: int, region: str, row: np.ndarray) -> None:
        """Take a pair."""
        self.genes.append(gene)
        self.regions.append(region)
        self.rows.append(row)

    def gather(self, codes: np.ndarray, wanted: np.ndarray) -> tuple["Pairs", tuple]:
        """Return itself without the windows, and the arguments of `Scorer.score_variants`.

        Args:
            codes: base codes of all genes' windows, uint8, (all genes, columns).
            wanted: which folds score which gene, booleans, (all genes, folds).
        """
        here, gene = np.unique(self.genes, return_inverse=True)
        rows, self.rows = np.stack(self.rows), []
        return self, (codes[here], rows, gene, wanted[here])


class VariantBatches:
    """Reads a VCF and makes batches of pairs, and batches of random substitutions before what is ranked among them.

    Args:
        lines: of the VCF, in their order.
        partner: the VCF's name of a chromosome -> the genome's.
        genome: open.
        windows: of all genes.
        ids: of the genes.
        background: of the percentiles.
        reject: writes a row of line, variant, reason.
        progress: of the command.
        size: of a batch, in pairs.

    Attributes:
        counts: of alleles: `scored`, `rejected` and each reason why one is not scored.
    """

    def __init__(
        self,
        lines: Iterator[variants.Line],
        partner: dict[str, str],
        genome: Genome,
        windows: variants.Windows,
        ids: Sequence[str],
        background: Background,
        reject: Callable[[list], object],
        progress: Progress,
        size: int,
    ):
        self.lines, self.partner, self.genome, self.windows, self.ids = lines, partner, genome, windows, ids
        self.background, self.reject, self.progress, self.size = background, reject, progress, size
        self.counts = Counter()

    def __iter__(self) -> Iterator[Pairs]:
        """Yield the batches in the order of the VCF."""
        number, pairs = 0, Pairs()
        while lines := list(itertools.islice(self.lines, LINES)):
            for gene, region, allele, row in self.place(lines):
                yield from self.draw(region)
                pairs.add(gene, region, row)
                pairs.alleles.append(allele)
                if len(pairs.genes) == self.size:
                    pairs.lines, full, pairs = number, pairs, Pairs()
                    yield full
            number += len(lines)
        if pairs.genes:
            pairs.lines = number
            yield pairs

    def draw(self, region: str) -> Iterator[Pairs]:
        """Yield the random substitutions that variants in a region are ranked among, unless that was done before."""
        drawn = self.background.draw(region)
        if drawn:
            self.progress.line(f"percentiles: {len(drawn):,} random substitutions to score")
        for at in range(0, len(drawn), DRAWN):
            pairs = Pairs(drawn=True)
            for gene, edit, one in drawn[at : at + DRAWN]:
                pairs.add(gene, one, self.windows.edit(gene, self.genome, edit))
            yield pairs

    def place(self, lines: Sequence[variants.Line]) -> Iterator[tuple[int, str, variants.Allele, np.ndarray]]:
        """Yield gene, region, allele and the window with it for the alleles of lines; writes and counts the others."""
        alleles = []  # with the reason why it cannot be scored, or the chromosome and what it changes
        for line in lines:
            reason = variants.explain_reference(line, self.partner, self.genome)
            for alternative in line.alternatives:
                wrong = reason or variants.explain_alternative(line.reference, alternative)
                allele = variants.Allele(line.number, alternative, line.name(alternative))
                place = wrong or (self.partner[line.chromosome], variants.make_edit(line, alternative))
                alleles.append((allele, place))
        edits = [place for _, place in alleles if not isinstance(place, str)]
        found = iter(self.windows.find([name for name, _ in edits], [edit for _, edit in edits]))
        for allele, place in alleles:
            if isinstance(place, str):
                self.refuse(allele, place)
                continue
            genes, scored = next(found), False
            for gene, region in genes:
                row = self.windows.edit(gene, self.genome, place[1])
                if row is None:
                    self.refuse(allele, f"deletes a whole gene: {self.ids[gene]}")
                else:
                    yield gene, region, allele, row
                    scored = True
            self.counts["scored"] += scored
            self.counts["outside of all windows"] += not genes

    def refuse(self, allele: variants.Allele, reason: str) -> None:
        """Write and count an allele that cannot be scored."""
        self.reject([allele.line, escape_cell(allele.name), reason])
        self.counts.update(["rejected", reason.split(":")[0]])
