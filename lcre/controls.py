"""Controls: runs in which the network is denied something, beside the real run.

What a run reaches says little by itself: it counts against what the same network reaches when its training windows are
shuffled, its labels permuted, or only a part of the window is shown. The parts that are shown are masks of
`WindowLayout` in the trainer, and so are moved windows; what changes the training rows is here.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core import InputError
from lcre.shuffle import UNKNOWN, shuffle_sequences

PARTS = ("promoter", "terminator", "outside", "inside")  # of a window, the rest of which is masked
CONTROLS = {  # name -> what it is, in words
    "shuffled": "the bases of promoter and terminator of every training gene are in random order",
    "dinucleotides": "promoter and terminator of every training gene are shuffled, dinucleotide counts kept",
    "permuted": "the labels of the training genes are permuted",
    "promoter": "only the promoter is shown",
    "terminator": "only the terminator is shown",
    "outside": "only the flanks are shown: the inside of the gene is masked",
    "inside": "only the inside of the gene is shown: the flanks are masked",
    "shifted": "the windows are moved {shift:,.0f} bp away from TSS and TES",
}
BATCH = 512  # windows that are shuffled at once


def prefix_of(prefix: Path, control: str | None) -> Path:
    """Return what the files of a control begin with: saved_models/O_control_NAME beside the real run's saved_models/O.

    Args:
        prefix: of the real run.
        control: one of `CONTROLS`; None: the real run itself.
    """
    return Path(f"{prefix}_control_{control}") if control else prefix


def describe(control: str, shift: int) -> str:
    """Return in a sentence what a control is.

    Args:
        control: one of `CONTROLS`.
        shift: SHIFT, in bp.
    """
    return f"a control, CONTROL {control}: {CONTROLS[control].format(shift=shift)}"


def parse_controls(text: str) -> list[str]:
    """Return the controls that a comma-separated list names, `all` of them in their order.

    Raises:
        InputError: a name that is none.
    """
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if name not in ("all", *CONTROLS)]
    if wrong:
        raise InputError(f"--controls: {wrong[0][:60]!r} is neither 'all' nor one of {', '.join(CONTROLS)}")
    names = list(CONTROLS) if "all" in names else names
    return list(dict.fromkeys(names))


def shuffle_windows(windows: np.ndarray, regions: Iterable[slice], control: str, seed: int) -> np.ndarray:
    """Shuffle the known bases of each region of each window, as the control says; bases of code 4 stay in place.

    Args:
        windows: base codes, uint8, (genes, columns).
        regions: the columns that are shuffled apart, promoter and terminator.
        control: `shuffled` (single bases), `dinucleotides` (Altschul and Erickson 1985), or another one.
        seed: of the random draws.

    Returns:
        Base codes, uint8, (genes, columns): `windows` itself for another control.
    """
    if control not in ("shuffled", "dinucleotides"):
        return windows
    shuffled, random, regions = windows.copy(), np.random.default_rng([seed, len(windows)]), list(regions)
    for begin in range(0, len(windows), BATCH):
        rows = range(begin, min(begin + BATCH, len(windows)))
        pieces = [
            (row, np.flatnonzero(windows[row, region] != UNKNOWN) + region.start) for row in rows for region in regions
        ]
        pieces = sorted((piece for piece in pieces if len(piece[1]) > 3), key=lambda piece: -len(piece[1]))
        sequences = [windows[row, columns] for row, columns in pieces]
        if control == "shuffled":
            sequences = [random.permutation(sequence) for sequence in sequences]
        else:
            sequences = [walks[0] for walks in shuffle_sequences(sequences, 1, random)]
        for (row, columns), sequence in zip(pieces, sequences, strict=True):
            shuffled[row, columns] = sequence
    return shuffled


def permute_labels(
    labels: np.ndarray, ranks: np.ndarray, groups: Iterable[np.ndarray], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange labels and ranks at random among the genes of each group.

    Args:
        labels: 0 low, 1 high, 2 middle, (genes,).
        ranks: of expression, (genes,); a gene's label and rank move together.
        groups: rows, of the low and high genes that train and of the middle ones: so the classes stay as large.
        random: drawn from.

    Returns:
        Labels and ranks, (genes,) each; rows in no group keep theirs.
    """
    labels, ranks = labels.copy(), ranks.copy()
    for rows in groups:
        drawn = random.permutation(rows)
        labels[rows], ranks[rows] = labels[drawn], ranks[drawn]
    return labels, ranks
