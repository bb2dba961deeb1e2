"""Shuffles sequences so that the count of every dinucleotide stays exactly as it is.

A sequence is a walk over its bases, its dinucleotides the edges. A shuffle is another walk that takes the same edges:
Altschul and Erickson, Molecular Biology and Evolution 2, 526 (1985). Which edge leaves each base for the last time is
drawn exactly, in proportion to the number of walks it allows, so every shuffle is equally likely and none is rejected.
"""

import itertools

import numpy as np

UNKNOWN = 4


def last_steps() -> tuple[np.ndarray, np.ndarray]:
    """Return every way in which four bases can each have a last next base, and whether all lead to base `root`.

    Returns:
        Next bases, (256, 4); and for each root whether the way is a tree into it, booleans, (4, 256). The root is
        never left for the last time: its own next base is itself there.
    """
    ways = np.array(list(itertools.product(range(4), repeat=4)))
    reached = np.broadcast_to(np.arange(4), ways.shape)
    for _ in range(3):
        reached = np.take_along_axis(ways, reached, axis=1)
    trees = [(ways[:, root] == root) & (reached == root).all(axis=1) for root in range(4)]
    return ways, np.array(trees)


WAYS, TREES = last_steps()


def find_runs(codes: np.ndarray) -> list[np.ndarray]:
    """Return the columns of every run of known bases, in order."""
    known = np.concatenate([[False], codes != UNKNOWN, [False]])
    edges = np.flatnonzero(known[1:] != known[:-1]).reshape(-1, 2)
    return [np.arange(begin, end) for begin, end in edges]


def draw_last_steps(run: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw for `count` shuffles the base that follows each base for the last time.

    Args:
        run: base codes 0..3, (bp,).

    Returns:
        Next bases, (count, 4); of the run's last base, itself.
    """
    root = int(run[-1])
    pairs = np.bincount(run[:-1].astype(np.int64) * 4 + run[1:], minlength=16).reshape(4, 4).astype(float)
    pairs[pairs.sum(axis=1) == 0, root] = 1  # a base that does not occur must not forbid anything
    pairs[root] = 1
    weight = pairs[np.arange(4), WAYS].prod(axis=1) * TREES[root]
    cumulated = np.cumsum(weight)
    drawn = np.searchsorted(cumulated, random.random(count) * cumulated[-1], side="right")
    return WAYS[drawn]


def shuffle_dinucleotides(
    codes: np.ndarray, count: int, random: np.random.Generator, pieces: list[np.ndarray] | None = None
) -> np.ndarray:
    """Shuffle a window `count` times; in each piece, every dinucleotide occurs as often as before.

    The first and the last base of a piece stay, as they must. All shuffles of a piece are equally likely.

    Args:
        codes: base codes, uint8, (columns,): 0..3 = ACGT, 4 = anything else, which stays where it is.
        count: how many shuffles.
        random: drawn from.
        pieces: columns that are read in a row as one sequence, each piece for itself; none of code 4. Not given: every
            run of known bases.

    Returns:
        Base codes, uint8, (count, columns).
    """
    shuffled = np.repeat(codes[None], count, axis=0)
    pieces = find_runs(codes) if pieces is None else pieces
    pieces = [columns for columns in pieces if len(columns) > 3]  # three bases have one walk only
    pieces.sort(key=len, reverse=True)
    walks = shuffle_sequences([codes[columns] for columns in pieces], count, random)
    for columns, walk in zip(pieces, walks, strict=True):
        shuffled[:, columns] = walk
    return shuffled


def shuffle_sequences(sequences: list[np.ndarray], count: int, random: np.random.Generator) -> list[np.ndarray]:
    """Shuffle each of several sequences `count` times, all together; every dinucleotide occurs as often as before.

    Args:
        sequences: base codes 0..3, uint8, each (bp,), the longest first, none shorter than 2 bp.
        count: how many shuffles of each.
        random: drawn from.

    Returns:
        Of each sequence the shuffles, uint8, (count, bp).
    """
    if not sequences or not count:
        return [np.empty((count, len(sequence)), np.uint8) for sequence in sequences]
    longest = len(sequences[0])
    walkers = len(sequences) * count
    targets = np.zeros((walkers, longest - 1), np.uint8)
    pointers = np.zeros((walkers, 4), np.int64)
    walks = np.zeros((walkers, longest), np.uint8)
    for place, sequence in enumerate(sequences):
        mine = slice(place * count, (place + 1) * count)
        targets[mine, : len(sequence) - 1] = order_edges(sequence, count, random)
        pointers[mine] = np.searchsorted(np.sort(sequence[:-1]), np.arange(4))
        walks[mine, 0] = sequence[0]
    lengths = np.array([len(sequence) for sequence in sequences])  # those still walking are always the first ones
    rows, flat = np.arange(walkers), pointers.reshape(-1)
    for step in range(1, longest):
        walking = int((lengths > step).sum()) * count
        row = rows[:walking]
        at = row * 4 + walks[:walking, step - 1]
        walks[:walking, step] = targets[row, flat[at]]
        flat[at] += 1
    return [walks[place * count : (place + 1) * count, :length] for place, length in enumerate(lengths)]


def order_edges(sequence: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw for `count` shuffles the order in which each base is left for its next bases.

    Args:
        sequence: base codes 0..3, uint8, (bp,).

    Returns:
        Next bases, those after A first, then those after C and so on, each in the order to take; (count, bp - 1).
    """
    source, target = sequence[:-1], sequence[1:]
    key = source + random.random((count, len(source))) * 0.5
    last = draw_last_steps(sequence, count, random)
    first_of = np.full((4, 4), -1)  # any of several equal edges can be the last: they look the same
    pairs, where = np.unique(source * np.uint8(4) + target, return_index=True)
    first_of[pairs // 4, pairs % 4] = where
    for base in range(4):
        edge = first_of[base, last[:, base]]
        chosen = np.flatnonzero((edge >= 0) & (base != sequence[-1]))
        key[chosen, edge[chosen]] = base + 0.75  # behind all others of this base
    return target[np.argsort(key, axis=1)]
