"""Contribution scores of single bases of a window: integrated gradients and in-silico mutagenesis (ISM).

What is explained is the logit, the number before the last sigmoid: contributions add up there, and they do not fade
where a gene is predicted with certainty. Arrays and Keras networks only; no files.
"""

from dataclasses import dataclass

import numpy as np

from core.genome import one_hot
from lcre.trained import without_sigmoid

BATCH_COLUMNS = 100_000  # columns of sequence in one pass: larger batches cost memory and save no time


@dataclass
class Explanation:
    """What one window's bases contribute to its logit."""

    hypothetical: np.ndarray  # what each base would contribute there, float32, (columns, 4); zero at code 4
    contributions: np.ndarray  # the same where the base is the window's own, zero elsewhere, float32, (columns, 4)
    logit: float
    reference_logit: float  # mean over the references

    @property
    def difference(self) -> float:
        """The difference in logit that the contributions are to explain."""
        return self.logit - self.reference_logit

    @property
    def completeness_gap(self) -> float:
        """How far the sum of contributions is from the difference in logit, as a fraction of that difference."""
        missing = abs(float(self.contributions.sum(dtype=np.float64)) - self.difference)
        return missing / max(abs(self.difference), 1e-12)


class Network:
    """A trained network seen as a function from windows to logits that has a gradient.

    Args:
        model: a keras.Model from one-hot windows (n, columns, 4) to probabilities (n, 1), whose last layer is
            Dense(1) with a sigmoid, or without activation; it stays as it is.

    Raises:
        InputError: the network ends in something else.
    """

    def __init__(self, model):
        import keras
        import tensorflow as tf

        last = model.layers[-1]
        ends = getattr(last, "activation", None) is keras.activations.linear and last.output.shape == (None, 1)
        network = model if ends else without_sigmoid(model)
        self.columns = model.input_shape[1]
        self.batch = max(BATCH_COLUMNS // self.columns, 1)

        def logits(encoded):
            return tf.cast(network(encoded, training=False), tf.float32)[:, 0]

        @tf.function(input_signature=[tf.TensorSpec((None, self.columns), tf.uint8)])
        def of_codes(codes):
            return logits(tf.one_hot(codes, 4))

        @tf.function(
            input_signature=[
                tf.TensorSpec((self.columns,), tf.uint8),
                tf.TensorSpec((None, self.columns), tf.uint8),
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None,), tf.float32),
            ]
        )
        def of_path(codes, references, which, fraction):
            begin = tf.gather(tf.one_hot(references, 4), which)
            points = begin + fraction[:, None, None] * (tf.one_hot(codes, 4) - begin)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                value = logits(points)
            gradient = tape.gradient(value, points)
            return tf.math.unsorted_segment_sum(gradient, which, tf.shape(references)[0])

        self._of_codes, self._of_path = of_codes, of_path

    def logits(self, codes: np.ndarray) -> np.ndarray:
        """Return the logits of windows.

        Args:
            codes: base codes, uint8, (n, columns); 4 is encoded as zeros.

        Returns:
            float64, (n,).
        """
        parts = [self._of_codes(codes[at : at + self.batch]).numpy() for at in range(0, len(codes), self.batch)]
        return np.concatenate([np.zeros(0), *parts])

    def sum_gradients(self, codes: np.ndarray, references: np.ndarray, fraction: np.ndarray) -> np.ndarray:
        """Sum the logit's gradients at points on the straight lines from references to a window.

        Args:
            codes: of the window, uint8, (columns,).
            references: base codes, uint8, (references, columns).
            fraction: how far from the reference to the window each point lies, 0 to 1, (references, steps).

        Returns:
            float64, (references, columns, 4).
        """
        which = np.repeat(np.arange(len(references), dtype=np.int32), fraction.shape[1])
        flat = fraction.astype(np.float32).reshape(-1)
        total = np.zeros((len(references), self.columns, 4))
        for at in range(0, len(which), self.batch):
            here = slice(at, at + self.batch)
            first, last = which[here][0], which[here][-1] + 1
            some = references[first:last]
            total[first:last] += self._of_path(codes, some, which[here] - first, flat[here]).numpy()
        return total


def integrated_gradients(network: Network, codes: np.ndarray, references: np.ndarray, steps: int) -> Explanation:
    """Explain a window by integrated gradients, averaged over references (expected gradients).

    Along the straight line from a reference to the window the gradient is averaged; times the difference between the
    two it is the contribution of each base, and their sum is the difference in logit, up to the completeness gap:
    Sundararajan, Taly and Yan, ICML 2017; over references: Erion et al., Nature Machine Intelligence 3, 620 (2021).
    With one reference the gradients are taken in the middle of `steps` equal parts of the line; with several, each
    reference's points are shifted against those of the others, so that their errors cancel.

    Args:
        network: the network.
        codes: base codes of the window, uint8, (columns,).
        references: as many windows as there are references, uint8, (references, columns), with code 4 where the window
            has it.
        steps: gradients for each reference.

    Raises:
        ValueError: a reference has bases where the window has none, or none where it has.
    """
    known = codes != 4
    if not np.array_equal(references != 4, np.broadcast_to(known, references.shape)):
        raise ValueError("references must have code 4 exactly where the window has it")
    count = len(references)
    offset = (np.arange(count) + 0.5) / count
    fraction = (np.arange(steps)[None, :] + offset[:, None]) / steps
    slopes = network.sum_gradients(codes, references, fraction) / steps
    # instead of the reference's base, base b would add its slope less that of the reference's base
    own = np.take_along_axis(slopes, np.minimum(references, 3)[:, :, None].astype(np.int64), axis=2)
    hypothetical = (slopes - own).mean(axis=0) * known[:, None]
    return explain(network, codes, references, hypothetical)


def in_silico_mutagenesis(network: Network, codes: np.ndarray, references: np.ndarray) -> Explanation:
    """Explain a window by putting every base in every place of it, one at a time (in-silico mutagenesis, ISM).

    A base's contribution is its logit less the mean logit of all four bases in that place. These contributions need
    not add up to the difference in logit: the completeness gap tells how much elements work together.

    Args:
        network: the network.
        codes: base codes of the window, uint8, (columns,).
        references: of the completeness gap only, uint8, (references, columns).
    """
    places = np.flatnonzero(codes != 4)
    places_at_once = max(network.batch // 3, 1)
    hypothetical = np.zeros((len(codes), 4))
    hypothetical[places] = network.logits(codes[None])[0]
    for at in range(0, len(places), places_at_once):
        here = np.repeat(places[at : at + places_at_once], 3)
        base = (codes[here] + np.tile([1, 2, 3], len(here) // 3)) % 4
        mutants = np.repeat(codes[None], len(here), axis=0)
        mutants[np.arange(len(here)), here] = base
        hypothetical[here, base] = network.logits(mutants)
    hypothetical -= hypothetical.mean(axis=1, keepdims=True)
    return explain(network, codes, references, hypothetical)


def explain(network: Network, codes: np.ndarray, references: np.ndarray, hypothetical: np.ndarray) -> Explanation:
    """Return the explanation of a window whose hypothetical contributions, (columns, 4), are known."""
    values = network.logits(np.concatenate([codes[None], references]))
    hypothetical = hypothetical.astype(np.float32)
    return Explanation(
        hypothetical, hypothetical * one_hot(codes, np.float32), float(values[0]), float(values[1:].mean())
    )


class Profile:
    """Mean absolute contribution of every column, over the genes of each class, added gene by gene.

    Args:
        columns: of the windows.
    """

    def __init__(self, columns: int):
        self.total, self.genes = np.zeros((2, columns)), np.zeros((2, columns), np.int64)

    def add(self, contributions: np.ndarray, compared: np.ndarray, target: int) -> None:
        """Add a gene: contributions, (columns, 4); which columns have one, booleans, (columns,); 0 low, 1 high."""
        self.total[target] += np.abs(contributions.sum(axis=1)) * compared
        self.genes[target] += compared

    @property
    def means(self) -> np.ndarray:
        """Means over the genes that have one there; rows low and high, nan where none has; (2, columns)."""
        with np.errstate(invalid="ignore"):
            return np.where(self.genes > 0, self.total / np.maximum(self.genes, 1), np.nan)
