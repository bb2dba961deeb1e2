"""The network of CREaTor as a Keras model, and its use on genes that share cCREs.

Two stages (Li et al. 2023, Genome Biology 24:266). The element encoder turns the sequence and chromatin of
one cCRE into a vector; the regulation encoder lets the cCREs within reach of a gene attend to each other,
and the gene to them, and reads the expression from the gene's row. By default everything is as published,
also where one would do it differently today, because the published weights need it:

- row 0 of the token table is used as stored, and nothing is masked where an element is padded;
- the gene passes through the element encoder with 700 empty tokens and no signal, so its vector depends on
  the coordinates of its window relative to its TSS, and on no sequence.

What is computed is what the published network computes; what is not computed is what cannot change the
result:

- an element's vector does not depend on the gene: `element_vectors` once, then any number of genes;
- token table, signal projection and convolution are linear, so five bases are one matrix product of
  5 x 6 + 5 x 16 = 110 inputs;
- the last layer of the element encoder is only needed for the token that becomes the vector;
- nobody attends to a gene, so the cCREs' rows do not depend on it: they are computed once for all genes
  with the same cCREs, and a gene is one row that reads them;
- genes whose windows lie alike around their TSS have one vector;
- elements are encoded in chunks, and the numbers of elements, cCREs and genes are padded to a few sizes, so
  that memory does not grow with N and a graph is traced a few times.

Everything here takes and returns arrays; files are the business of `creator.checkpoint`.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from creator import BLOCK, BUCKETS, CHANNELS, ELEMENT_SCALES, GENE_WINDOW, REGULATION_SCALES, TOKENS

CLS = TOKENS - 1
BUCKET_EDGES = (*range(1, 16), 16, 20, 23, 27, 32, 39, 46, 54, 64, 77, 91, 108, 128, 153, 182, 216)

BASES_AT_A_TIME = 44_800  # in a chunk of elements; more takes memory in proportion, and no less time
ROWS_AT_A_TIME = 256  # gene rows that read the same cCREs together
SIZES = (1, 4, 16, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)  # what N and G are padded to
TRAINING_BYTES = 450_000_000  # that training takes whatever is trained: graphs, buffers
PREDICTION_BYTES = 60_000_000  # likewise of prediction
MOST_READ = 4096  # cCREs whose signal is read from a store at a time
FORBIDDEN = -1e9  # added to a logit; its attention weight after the softmax is exactly 0


def relative_bucket(steps: np.ndarray) -> np.ndarray:
    """Return the bucket of each relative position.

    Distances below 16 have a bucket each, longer ones share logarithmic buckets up to 216, and 32 is added
    for a negative step; so bucket 32 never occurs.

    Args:
        steps: position of the query less that of the key, integers of any shape.

    Returns:
        Buckets, int64, 0..63, of the same shape.
    """
    steps = np.asarray(steps, np.int64)
    return np.searchsorted(BUCKET_EDGES, np.abs(steps), side="right") + 32 * (steps < 0)


def _bucket_intervals(scales: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the intervals of distance in bp on which the bucket is constant at every scale.

    The bucket of floor(d / r) changes where d reaches r e (going up) or r (1 - e) (going down) for an edge e,
    so one search among the integers d replaces a division and a search at every scale.

    Args:
        scales: bp of one step of relative position.

    Returns:
        Lower edges of all intervals but the first, (S - 1,), and buckets, (S, len(scales)).
    """
    edges = np.unique([side * scale for scale in scales for e in BUCKET_EDGES for side in (e, 1 - e)])
    inside = np.concatenate([edges[:1] - 1, edges])
    return edges, np.stack([relative_bucket(inside // scale) for scale in scales], axis=1)


class RelativeBias(layers.Layer):
    """Attention bias from relative position: one table, (64, heads), a scale, looked up and summed."""

    def __init__(self, scales: Sequence[int], heads: int, **kwargs):
        super().__init__(**kwargs)
        self._edges, self._buckets = _bucket_intervals(scales)
        self.tables = [
            self.add_weight((BUCKETS, heads), keras.initializers.RandomNormal(0, 0.02), name=f"table_{scale}")
            for scale in scales
        ]
        self.built = True

    def call(self, queries, keys):
        """Return the bias, (..., heads, Q, K), of positions in bp, integers (..., Q) and (..., K)."""
        distance = queries[..., :, None] - keys[..., None, :]
        interval = ops.searchsorted(self._edges, ops.reshape(distance, (-1,)), side="right")
        table = sum(ops.take(table, self._buckets[:, i], axis=0) for i, table in enumerate(self.tables))
        bias = ops.reshape(ops.take(table, interval, axis=0), (*ops.shape(distance), -1))
        return ops.moveaxis(bias, -1, -3)


class Dropout:
    """Dropout from a seed that is given, so that a network has no random state of its own.

    Each call draws other numbers from the same seed. Without a seed everything passes.
    """

    def __init__(self, rate: float, seed=None):
        self.rate, self.seed, self.calls = rate, seed, 0

    def __call__(self, x):
        """Return `x` with a fraction `rate` of its numbers set to zero and the others enlarged in return."""
        if self.seed is None or not self.rate:
            return x
        self.calls += 1
        return tf.nn.experimental.stateless_dropout(x, self.rate, self.seed + [0, self.calls])


NO_DROPOUT = Dropout(0.0)


class LayerNorm(layers.LayerNormalization):
    """Layer normalisation over the last axis, in fewer passes over the rows than Keras takes."""

    def call(self, x):
        """Return rows, (..., width), each with mean 0 and variance 1, scaled and shifted."""
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * (1 / ops.sqrt(variance + self.epsilon)) * self.gamma + self.beta


class TransformerLayer(layers.Layer):
    """Pre-norm transformer layer on rows (..., T, width): x += attention(LN(x)), x += feed-forward(LN(x))."""

    def __init__(self, width: int, heads: int, hidden: int, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.norm1 = LayerNorm(epsilon=1e-5, name="norm1")
        self.query, self.key, self.value, self.out = (
            layers.Dense(width, use_bias=False, name=name) for name in ("query", "key", "value", "out")
        )
        self.norm2 = LayerNorm(epsilon=1e-5, name="norm2")
        self.expand = layers.Dense(hidden, activation="relu", name="expand")
        self.contract = layers.Dense(width, name="contract")
        for layer in (self.norm1, self.query, self.key, self.value, self.out, self.norm2, self.expand):
            layer.build((None, width))
        self.contract.build((None, hidden))
        self.built = True

    def call(self, x, bias, drop=NO_DROPOUT):
        """Let every row attend to every row.

        Args:
            x: rows, (..., T, width).
            bias: added to the logits, (..., heads, T, T).
            drop: applied to attention weights and at both places of the feed-forward part; in training only.

        Returns:
            New rows, (..., T, width).
        """
        normed = self.norm1(x)
        mixed, _ = _attention(self._queries(normed), *self._keys_values(normed), bias, drop=drop)
        return self._finished(x, mixed, drop)

    def read_last(self, x, bias, drop=NO_DROPOUT):
        """Do what `call` does for the last row alone.

        A single query is brought to the rows through the key matrix, which is cheaper than bringing every
        row to a key; the value matrix likewise meets the average of the rows instead of each of them.

        Args:
            x: rows, (..., T, width).
            bias: of the last row, (..., heads, 1, T).
            drop: as of `call`.

        Returns:
            The new last row, (..., width).
        """
        normed = self.norm1(x)
        by_head = (self.width, self.heads, self.width // self.heads)
        query = self._queries(normed[..., -1:, :])[..., 0, :]
        by_row = ops.einsum("...hd,chd->...hc", query, ops.reshape(self.key.kernel, by_head))
        weights = drop(tf.nn.softmax(by_row @ ops.swapaxes(normed, -1, -2) + bias[..., 0, :]))
        read = ops.einsum("...hc,chd->...hd", weights @ normed, ops.reshape(self.value.kernel, by_head))
        return self._finished(x[..., -1, :], ops.reshape(read, ops.shape(x[..., -1, :])), drop)

    def keys_values(self, x):
        """Return keys, (..., heads, d, K), and values, (..., heads, K, d), of rows, (..., K, width)."""
        return self._keys_values(self.norm1(x))

    def attend(self, rows, keys, values, bias, allowed=None, drop=NO_DROPOUT):
        """Let rows attend to those of `keys_values`.

        Args:
            rows: (..., R, width).
            keys: (..., heads, d, K).
            values: (..., heads, K, d).
            bias: (..., heads, R, K).
            allowed: which row may attend to which key, booleans, (R, K); None: all. A row allowed nothing reads
                nothing.
            drop: as of `call`.

        Returns:
            New rows, (..., R, width), and attention weights, (..., heads, R, K).
        """
        queries = self._queries(self.norm1(rows))
        mixed, attention = _attention(queries, keys, values, bias, allowed, drop)
        return self._finished(rows, mixed, drop), attention

    def _queries(self, normed):
        # Scaling the kernel instead of the queries saves a pass over every row.
        scale = (self.width // self.heads) ** -0.5
        return ops.swapaxes(self._by_head(ops.tensordot(normed, self.query.kernel * scale, 1)), -2, -3)

    def _keys_values(self, normed):
        keys, values = self._by_head(self.key(normed)), self._by_head(self.value(normed))
        return ops.moveaxis(keys, -3, -1), ops.swapaxes(values, -2, -3)

    def _by_head(self, x):
        *lead, rows, width = ops.shape(x)
        return ops.reshape(x, (*lead, rows, self.heads, width // self.heads))

    def _finished(self, rows, mixed, drop):
        rows = rows + self.out(mixed)
        return rows + drop(self.contract(drop(self.expand(self.norm2(rows)))))


def _attention(queries, keys, values, bias, allowed=None, drop=NO_DROPOUT):
    """Return what queries, (..., heads, R, d), read, (..., R, heads * d), and attention weights, (..., heads, R, K)."""
    logits = queries @ keys + bias
    if allowed is not None:
        logits = ops.where(allowed, logits, FORBIDDEN)
    weights = tf.nn.softmax(logits)
    if allowed is not None:  # where nothing is allowed the softmax is uniform, and must not be
        weights = weights * ops.cast(allowed, weights.dtype)
    mixed = ops.swapaxes(drop(weights) @ values, -2, -3)
    *lead, rows, heads, depth = ops.shape(mixed)
    return ops.reshape(mixed, (*lead, rows, heads * depth)), weights


@keras.saving.register_keras_serializable("creator")
class Creator(keras.Model):
    """CREaTor's network: cCREs and genes -> expression on the log1p scale.

    The sizes of Li et al. 2023 are the defaults: 5,068,545 numbers in 87 arrays. `call` runs all of it and
    can be trained; its three parts are public, for callers who use one part more often than another.
    """

    def __init__(
        self,
        width: int = 256,
        heads: int = 4,
        hidden: int = 1024,
        element_layers: int = 2,
        regulation_layers: int = 4,
        channels: int = len(CHANNELS),
        training: dict | None = None,
        **kwargs,
    ):
        """Build the network.

        Args:
            width, heads, hidden, element_layers, regulation_layers: sizes.
            channels: tracks of the signal.
            training: what the weights were trained on (`creator.training.describe_training`), kept with them; None
                where that is not known, as of published weights. Its entry `mask_pads` says whether attention leaves
                out blocks of five bases that only pad an element; the published network does not.
        """
        super().__init__(**kwargs)
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.sizes = {
            "width": width,
            "heads": heads,
            "hidden": hidden,
            "element_layers": element_layers,
            "regulation_layers": regulation_layers,
        }
        if channels != len(CHANNELS):  # published models are described by the five
            self.sizes["channels"] = channels
        self.channels, self.training_record = channels, json.dumps(training)
        self.mask_pads = bool(training and training.get("mask_pads"))
        self.dropout = 0.1  # in training, where a seed is given
        self.token_table = self.add_weight((TOKENS, width), keras.initializers.RandomNormal(0, 1), name="token_table")
        self.signal = layers.Dense(width, name="signal")
        self.signal.build((None, channels))
        self.projection = layers.Conv1D(width, BLOCK, strides=BLOCK, name="projection")
        self.projection.build((None, None, width))
        self.element_bias = RelativeBias(ELEMENT_SCALES, heads, name="element_bias")
        self.element_layers = [
            TransformerLayer(width, heads, hidden, name=f"element_layer_{i}") for i in range(element_layers)
        ]
        self.regulation_bias = RelativeBias(REGULATION_SCALES, heads, name="regulation_bias")
        self.regulation_layers = [
            TransformerLayer(width, heads, hidden, name=f"regulation_layer_{i}") for i in range(regulation_layers)
        ]
        self.norm = LayerNorm(epsilon=1e-5, name="norm")
        self.norm.build((None, width))
        self.head = layers.Dense(1, activation="softplus", name="head")
        self.head.build((None, width))
        self.built = True

    def get_config(self) -> dict:
        """Return what a model is built from: its sizes and, of one of ours, what it was trained on."""
        training = {} if self.training is None else {"training": self.training}
        return {**super().get_config(), **self.sizes, **training}

    @property
    def training(self) -> dict | None:
        """What the weights were trained on; None where that is not known."""
        return json.loads(self.training_record)

    @property
    def reach(self) -> int | None:
        """How far cCREs attended to each other in training, bp; None, as of published weights: all of a gene did."""
        return (self.training or {}).get("options", {}).get("reach")

    @tf.function
    def block_product(self, positions):
        """Return what all elements of a length have in common.

        Token table, signal projection and convolution are one product of 5 x 6 + 5 x 16 inputs.

        Args:
            positions: coordinate in bp of each block of five bases, the last one of the CLS block, integers, (..., T).

        Returns:
            Kernel, (110, width), offset, (width,), and attention bias, (..., heads, T, T).
        """
        width = self.sizes["width"]
        tokens = ops.einsum("vi,kio->kvo", self.token_table, self.projection.kernel)
        signal = ops.einsum("ci,kio->kco", self.signal.kernel, self.projection.kernel)
        kernel = ops.concatenate([ops.reshape(tokens, (-1, width)), ops.reshape(signal, (-1, width))])
        offset = self.projection.bias + ops.einsum("i,kio->o", self.signal.bias, self.projection.kernel)
        return kernel, offset, self.element_bias(positions, positions)

    @tf.function
    def encode(self, tokens, signal, kernel, offset, bias, seed=None):
        """Return the vectors of elements (stage 1).

        Args:
            tokens: (n, W).
            signal: (n, W, channels).
            kernel, offset, bias: as `block_product` returns them.
            seed: of dropout, integers, (2,); None: nothing is dropped.

        Returns:
            Vectors, (n, width).
        """
        drop = Dropout(self.dropout, seed)
        if seed is None or not self.dropout:
            x = self._embed(tokens, signal, kernel, offset)
        else:
            x = self._embed_with_dropout(tokens, signal, drop)
        if self.mask_pads:
            bias = bias + self._pad_bias(tokens)
        for layer in self.element_layers[:-1]:
            x = layer(x, bias, drop=drop)
        return self.element_layers[-1].read_last(x, bias[..., -1:, :], drop)

    def _pad_bias(self, tokens):
        """Return what keeps attention from blocks without a base, (n, 1, 1, W / 5 + 1); the CLS block is never kept."""
        n, length = ops.shape(tokens)
        empty = ops.all(ops.reshape(tokens, (n, length // BLOCK, BLOCK)) == 0, axis=-1)
        empty = ops.concatenate([empty, ops.zeros((n, 1), "bool")], axis=1)
        return ops.where(empty, FORBIDDEN, 0.0)[:, None, None, :]

    def _embed(self, tokens, signal, kernel, offset):
        """Return the rows of blocks and of the CLS block, (n, W / 5 + 1, width), through the product of all inputs."""
        n, length = ops.shape(tokens)
        blocks = length // BLOCK
        one_hot = ops.reshape(ops.one_hot(tokens, TOKENS), (n, blocks, BLOCK * TOKENS))
        signal = ops.reshape(signal, (n, blocks, BLOCK * self.channels))
        x = ops.tensordot(ops.concatenate([one_hot, signal], axis=-1), kernel, 1)
        cls = ops.sum(ops.reshape(kernel[: BLOCK * TOKENS], (BLOCK, TOKENS, -1))[:, CLS], axis=0)
        return ops.concatenate([x, ops.broadcast_to(cls, (n, 1, *cls.shape))], axis=1) + offset

    def _embed_with_dropout(self, tokens, signal, drop):
        """Return what `_embed` does, with dropout behind the signal projection, which the product cannot have."""
        n, length = ops.shape(tokens)
        tokens = ops.concatenate([ops.cast(tokens, "int32"), ops.full((n, BLOCK), CLS, "int32")], axis=1)
        signal = ops.concatenate([signal, ops.zeros((n, BLOCK, self.channels))], axis=1)
        x = ops.tensordot(ops.one_hot(tokens, TOKENS), self.token_table, 1) + drop(self.signal(signal))
        width = self.sizes["width"]
        x = ops.reshape(x, (n, length // BLOCK + 1, BLOCK * width))
        return ops.tensordot(x, ops.reshape(self.projection.kernel, (BLOCK * width, width)), 1) + self.projection.bias

    @tf.function
    def relate(self, vectors, positions, present, reach=None, seed=None):
        """Return keys and values of every layer of stage 2 for cCREs; nobody attends to a gene, so none is involved.

        Args:
            vectors: of the cCREs, (N, width), or of several cells, (cells, N, width).
            positions: in bp, (N,).
            present: booleans, (N,), False for rows that only pad.
            reach: bp; a cCRE attends to those no farther away than this. None: to all, as published.
            seed: as of `encode`.

        Returns:
            A pair as of `TransformerLayer.keys_values` for each layer.
        """
        return self._relate(vectors, positions, present, reach, Dropout(self.dropout, seed))[0]

    @tf.function
    def contacts(self, vectors, positions, present, rows, reach=None):
        """Return the attention of some cCREs to each other in stage 2, of every layer but the last.

        In the last layer only genes read, so there is none between cCREs.

        Args:
            vectors, positions, present, reach: as of `relate`; the softmax runs over all of these cCREs.
            rows: indices of those whose attention is returned, (n,).

        Returns:
            Attention weights, (layers - 1, heads, n, n); a row attends to the columns.
        """
        _, attention = self._relate(vectors, positions, present, reach, NO_DROPOUT, rows)
        return ops.stack(attention)

    def _relate(self, vectors, positions, present, reach, drop, rows=None):
        """Return keys and values of every layer and, for `rows`, their attention in every one but the last."""
        bias = self.regulation_bias(positions, positions) + ops.where(present, 0.0, FORBIDDEN)
        if reach is not None:
            near = ops.abs(positions[:, None] - positions[None, :]) <= reach
            bias = bias + ops.where(near, 0.0, FORBIDDEN)
        by_layer, attention = [], []
        for layer in self.regulation_layers:
            by_layer.append(layer.keys_values(vectors))
            if layer is not self.regulation_layers[-1]:
                vectors, weights = layer.attend(vectors, *by_layer[-1], bias, drop=drop)
                if rows is not None:
                    attention.append(ops.take(ops.take(weights, rows, axis=1), rows, axis=2))
        return by_layer, attention

    @tf.function
    def express(self, gene_vectors, gene_positions, positions, keys_values, allowed, seed=None):
        """Return the expression of genes, each of which reads the cCREs of `relate` (stage 2).

        Args:
            gene_vectors: (G, width), or (cells, G, width).
            gene_positions: TSS in bp, (G,).
            positions: of the cCREs, (N,).
            keys_values: as `relate` returns them; of several cells, all results begin with an axis of the cells.
            allowed: which cCREs a gene may attend to, booleans, (G, N).
            seed: as of `encode`.

        Returns:
            Expression, (G,), and the attention weights of every layer, (heads, G, N) each.
        """
        bias = self.regulation_bias(gene_positions, positions)
        drop = Dropout(self.dropout, seed)
        rows, attention = gene_vectors, []
        for layer, pair in zip(self.regulation_layers, keys_values, strict=True):
            rows, weights = layer.attend(rows, *pair, bias, allowed, drop)
            attention.append(weights)
        return self.head(self.norm(rows))[..., 0], attention

    def call(self, inputs):
        """Return the expression, (G,), of the five arrays of `predict_expression` as a dict; differentiable."""
        tokens, signal, positions, tss = (inputs[key] for key in ("E_ge", "E_chp", "E_pos", "G_pos"))
        n, g = tokens.shape[0], tss.shape[0]
        shared = self.block_product(element_positions(tokens.shape[1]))
        vectors = self.encode(tokens, signal, *shared)
        window = ops.concatenate([inputs["G_gpos"], tss[:, None]], axis=1)[:, ::BLOCK]
        genes = self.encode(*empty_windows(g, self.channels), *self.block_product(window))
        keys_values = self.relate(vectors, positions, ops.ones(n, "bool"))
        return self.express(genes, tss, positions, keys_values, ops.ones((g, n), "bool"))[0]


def element_positions(length: int) -> np.ndarray:
    """Return the coordinate of each block of an element of `length` bp, and of its CLS block, (length / 5 + 1,)."""
    return np.arange(0, length + BLOCK, BLOCK)


def promoter_positions() -> np.ndarray:
    """Return the coordinate of each block of a gene's own window against its TSS, and of its CLS block, (141,), bp.

    A window whose sequence is read (`promoter`) is read along the strand, so these are the same for every gene.
    """
    return np.append(np.arange(0, GENE_WINDOW, BLOCK) - GENE_WINDOW // 2, 0)


def empty_windows(genes: int, channels: int = len(CHANNELS)) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens, (genes, 700), and signal, (genes, 700, channels), of genes for the element encoder: zeros."""
    return np.zeros((genes, GENE_WINDOW), np.int64), np.zeros((genes, GENE_WINDOW, channels), np.float32)


# --- use -------------------------------------------------------------------------------------------------


def predict_expression(
    model: Creator, E_ge: np.ndarray, E_chp: np.ndarray, E_pos: np.ndarray, G_pos: np.ndarray, G_gpos: np.ndarray
) -> np.ndarray:
    """Return the expression of genes that all see the same cCREs, on the log1p scale.

    Args:
        model: the network.
        E_ge: tokens of the cCREs, 0..5, (N, W), W a multiple of 5.
        E_chp: their signal, (N, W, 16).
        E_pos: their coordinates in bp, (N,).
        G_pos: TSS of the genes in bp, (G,).
        G_gpos: coordinates of the gene windows, (G, 700).

    Returns:
        float32, (G,).
    """
    return expression(model, element_vectors(model, E_ge, E_chp), E_pos, G_pos, G_gpos)


def prediction_memory(sizes: dict[str, int], count: int, length: int, genes: int) -> int:
    """Return about how many bytes `predict_expression` takes beside its input, rather too many than too few.

    Of it were used .5 for one cCRE of 20,000 bp, .7 for 8,000 cCREs, .9 for 1,500 cCREs and 32 heads.

    Args:
        sizes: of the model, `Creator.sizes`.
        count: cCREs, N.
        length: bases of each, W.
        genes: G.
    """
    heads = sizes["heads"]
    chunk = min(max(1, BASES_AT_A_TIME // length), _padded_size(count))
    windows = min(BASES_AT_A_TIME // GENE_WINDOW, _padded_size(genes))
    # Each gene's window has a bias of its own.
    gene_biases = windows * (GENE_WINDOW // BLOCK + 1) ** 2 * (24 + 4 * heads)
    rows_read = min(genes, ROWS_AT_A_TIME) * _padded_size(count) * (24 + 12 * heads * sizes["regulation_layers"])
    return max(
        stage_memory(sizes, chunk, length // BLOCK + 1),
        stage_memory(sizes, windows, GENE_WINDOW // BLOCK + 1) + gene_biases,
        stage_memory(sizes, 1, _padded_size(count)) + rows_read,
    )


def stage_memory(sizes: dict[str, int], elements: int, rows: int) -> int:
    """Return about how many bytes the layers of a stage take where `rows` attend to each other, `elements` times."""
    heads, width, hidden = sizes["heads"], sizes["width"], sizes["hidden"]
    # Squared: distances, their intervals and a bias by head; logits and attention by head for each element.
    return rows**2 * (24 + 4 * heads * (1 + 2 * elements)) + elements * rows * 4 * (hidden + 8 * width)


def contact_memory(sizes: dict[str, int], count: int, shown: int) -> int:
    """Return about how many bytes a map of `shown` of `count` cCREs takes, with its picture, at most twice too many.

    Of default sizes 3.6 GB were used for 4,000 of 4,000 cCREs, 1.2 for 500 of them.
    """
    layers = sizes["regulation_layers"] - 1
    return stage_memory(sizes, 1, _padded_size(count)) + (12 * layers * sizes["heads"] + 48) * shown**2


def region_memory(sizes: dict[str, int], tracks: int, on_chromosome: int, length: int, count: int, genes: int) -> int:
    """Return about how many bytes the prediction of a store takes beside its tables, at most twice too many.

    Of default sizes .2 GB were used for regions of 512 cCREs of 350 bp and 20 genes, .3 with 1,000 genes, 4.7 for
    regions of 8,000 cCREs of 20 bp.

    Args:
        sizes, tracks: of the network.
        on_chromosome: cCREs of the chromosome that has the most.
        length: bases of each.
        count: cCREs of the largest region.
        genes: of the region with the most.
    """
    part = min(on_chromosome, MOST_READ)
    chunk = min(max(1, BASES_AT_A_TIME // length), _padded_size(part))
    encoding = part * length * (6 * tracks + 1) + stage_memory(sizes, chunk, length // BLOCK + 1)
    vectors = 2 * 4 * on_chromosome * sizes["width"]
    rows = min(genes, ROWS_AT_A_TIME) * _padded_size(count) * (24 + 12 * sizes["heads"] * sizes["regulation_layers"])
    links = 300 * genes * count
    return PREDICTION_BYTES + encoding + vectors + stage_memory(sizes, 1, _padded_size(count)) + rows + links


def training_memory(
    sizes: dict[str, int], tracks: int, cells: int, count: int, length: int, genes: int, promoter: bool
) -> int:
    """Return about how many bytes training takes for batches of so many cCREs and genes, at most twice too many.

    The number of rows of a stage that are kept for the gradient is counted from the layers and was compared with what
    was used: of default sizes 2.4 GB for 512 cCREs of 350 bp, 3.8 for 2,048 of 20, 7.8 for 4,096 of 20.

    Args:
        sizes: of the network.
        tracks: of the store.
        cells: of a batch.
        count: cCREs of the largest batch.
        length: bases of each.
        genes: of the batch with the most.
        promoter: whether their own windows are encoded, too.
    """
    heads, width, hidden = sizes["heads"], sizes["width"], sizes["hidden"]
    layers, above = sizes["element_layers"], sizes["regulation_layers"]
    row = 4 * (10 * width + 4 * hidden)  # bytes of a row in a layer, with those of its feed-forward part

    def element(length: int) -> int:
        blocks = length // BLOCK + 1
        bases = 4 * (length + BLOCK) * (4 * width + 3 * tracks)
        return bases + (layers - 1) * (blocks * row + 12 * heads * blocks**2) + 16 * blocks * width

    pairs = count**2 * (24 + 4 * heads * (12 * (above - 1) + 4)) + 24 * heads * above * genes * count
    weights = (layers + above) * (4 * width**2 + 2 * width * hidden) + BLOCK * width**2  # the tables are small
    windows = genes * element(GENE_WINDOW) if promoter else 0
    return TRAINING_BYTES + 24 * weights + cells * (count * (element(length) + above * row) + windows + pairs)


def element_vectors(model: Creator, E_ge: np.ndarray, E_chp: np.ndarray) -> np.ndarray:
    """Return the vectors of cCREs, float32, (N, width); arguments as of `predict_expression`.

    A vector depends on its own element alone; compute it once a cell type and use it for every gene in reach.
    """
    return _encode_chunks(model, E_ge, E_chp, element_positions(E_ge.shape[1]))


def _encode_chunks(model: Creator, tokens: np.ndarray, signal: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the vectors, (n, width), of elements that share the coordinates of their blocks, chunk by chunk."""
    count, length = tokens.shape
    vectors = np.empty((count, model.sizes["width"]), np.float32)
    chunk = max(1, BASES_AT_A_TIME // length)
    size = chunk if count > chunk else min(chunk, _padded_size(count))
    with _full_float32():
        shared = model.block_product(positions)
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        with _full_float32():
            encoded = model.encode(_padded(tokens[part], size), _padded(signal[part], size, np.float32), *shared)
        vectors[part] = encoded[: count - start]
    return vectors


def gene_vectors(model: Creator, G_pos: np.ndarray, G_gpos: np.ndarray) -> np.ndarray:
    """Return the vectors of genes, float32, (G, width); arguments as of `predict_expression`.

    Only the window relative to the TSS matters, so genes laid out alike are computed once.
    """
    windows = np.concatenate([G_gpos[:, ::BLOCK], G_pos[:, None]], axis=1) - G_pos[:, None]
    layouts, layout_of = np.unique(windows, axis=0, return_inverse=True)
    chunk = BASES_AT_A_TIME // GENE_WINDOW
    vectors = []
    for start in range(0, len(layouts), chunk):
        part = layouts[start : start + chunk]
        window = _padded(part, min(chunk, _padded_size(len(part))))
        with _full_float32():
            encoded = model.encode(*empty_windows(len(window), model.channels), *model.block_product(window))
        vectors.append(encoded[: len(part)].numpy())
    return np.concatenate(vectors)[layout_of.reshape(-1)]


def promoter_vectors(model: Creator, tokens: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return the vectors of genes that see sequence and signal of their own windows, float32, (G, width).

    Args:
        model: trained with `promoter`.
        tokens: (G, 700), see `creator.store.Store.gene_tokens`.
        signal: (G, 700, channels).
    """
    return _encode_chunks(model, tokens, signal, promoter_positions())


def expression(
    model: Creator,
    vectors: np.ndarray,
    E_pos: np.ndarray,
    G_pos: np.ndarray,
    G_gpos: np.ndarray,
    in_reach: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Return the expression of genes from vectors computed before, on the log1p scale, float32, (G,).

    Args:
        model: the network.
        vectors: of the cCREs, as `element_vectors` returns them, (N, width).
        E_pos, G_pos, G_gpos: as of `predict_expression`.
        in_reach: for each gene the indices of the cCREs that it sees, at least one; None: all. Genes with the same
            cCREs share the work on them, and cCREs out of a gene's reach have no part in its number at all.

    Raises:
        ValueError: a gene sees no cCRE, or `in_reach` is of other genes.
    """
    genes = gene_vectors(model, G_pos, G_gpos)
    predicted = np.empty(len(G_pos), np.float32)
    for members, of in _shared_sets(len(E_pos), len(G_pos), in_reach):
        elements = RelatedElements(model, vectors[members], E_pos[members])
        for part in _parts(of):
            predicted[part] = elements.read(genes[part], G_pos[part])[0]
    return predicted


def gene_attention(
    model: Creator, vectors: np.ndarray, E_pos: np.ndarray, G_pos: np.ndarray, G_gpos: np.ndarray
) -> np.ndarray:
    """Return the attention weight of each cCRE for each gene, float32, (G, layers, heads, N); over N they sum to 1.

    Arguments are those of `expression`.
    """
    genes = gene_vectors(model, G_pos, G_gpos)
    elements = RelatedElements(model, vectors, E_pos)
    parts = [elements.read(genes[part], G_pos[part])[1] for part in _parts(np.arange(len(G_pos)))]
    return np.concatenate(parts)


def ablation_scores(
    model: Creator, vectors: np.ndarray, E_pos: np.ndarray, G_pos: np.ndarray, G_gpos: np.ndarray
) -> np.ndarray:
    """Return the drop in expression when a gene may not attend to a cCRE, float32, (G, N).

    Only the gene's row is kept from the cCRE, in every layer; the cCREs go on attending to each other, so what a cCRE
    does through its neighbours remains. A positive score is an element that raises the prediction. A gene that sees a
    single cCRE reads nothing without it. Cost: the cCREs once, then one row for each score. Arguments are those of
    `expression`.
    """
    genes = gene_vectors(model, G_pos, G_gpos)
    elements = RelatedElements(model, vectors, E_pos)
    scores = np.empty((len(G_pos), len(E_pos)), np.float32)
    for gene, (vector, tss) in enumerate(zip(genes, G_pos, strict=True)):
        (intact,), _ = elements.read(vector[None], tss[None])
        for part in _parts(np.arange(len(E_pos))):
            rows = np.repeat(vector[None], len(part), axis=0), np.repeat(tss, len(part))
            scores[gene, part] = intact - elements.read(*rows, forbidden=part)[0]
    return scores


def contact_attention(
    model: Creator, vectors: np.ndarray, positions: np.ndarray, rows: np.ndarray, reach: int | None = None
) -> np.ndarray:
    """Return the attention of cCREs to each other, float32, (layers - 1, heads, n, n); a row attends to the columns.

    Args:
        model: the network, of at least two layers of stage 2; in the last one only genes read.
        vectors: of all cCREs that take part, as `element_vectors` returns them, (N, width).
        positions: of these, bp, (N,).
        rows: indices of those whose attention is returned, (n,).
        reach: bp in which cCREs attend to each other; None: all do, as published.
    """
    size = _padded_size(len(positions))
    with _full_float32():
        attention = model.contacts(
            _padded(vectors, size, np.float32),
            _padded(positions, size),
            np.arange(size) < len(positions),
            np.asarray(rows, np.int64),
            None if reach is None else np.int64(reach),
        )
    return attention.numpy()


class RelatedElements:
    """A set of cCREs after stage 2, ready to be read by any number of genes.

    Args:
        model: the network.
        vectors: of the cCREs, (N, width).
        positions: of the cCREs, bp, (N,).
    """

    def __init__(self, model: Creator, vectors: np.ndarray, positions: np.ndarray):
        self.model, self.count = model, len(positions)
        self.size = _padded_size(self.count)
        self.positions = _padded(positions, self.size)
        present = np.arange(self.size) < self.count
        with _full_float32():
            self.keys_values = model.relate(
                _padded(vectors, self.size, np.float32),
                self.positions,
                present,
                None if model.reach is None else np.int64(model.reach),
            )

    def read(self, genes, positions, forbidden=None, in_reach=None):
        """Return the expression of genes, (G,), and attention weights, (G, layers, heads, N).

        Args:
            genes: vectors, (G, width).
            positions: TSS in bp, (G,).
            forbidden: for each gene one cCRE that it may not attend to, (G,); None: it may attend to all.
            in_reach: which cCREs it may attend to otherwise, booleans, (G, N); None: all.
        """
        count = len(genes)
        size = _padded_size(count)
        allowed = np.zeros((size, self.size), bool)
        allowed[:count, : self.count] = True if in_reach is None else in_reach
        if forbidden is not None:
            allowed[np.arange(count), forbidden] = False
        with _full_float32():
            predicted, attention = self.model.express(
                _padded(genes, size, np.float32), _padded(positions, size), self.positions, self.keys_values, allowed
            )
        attention = np.stack([weights[..., :count, : self.count] for weights in attention])
        return predicted[:count].numpy(), attention.transpose(2, 0, 1, 3)


def _shared_sets(count: int, genes: int, in_reach: Sequence[np.ndarray] | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each distinct set of cCREs, and the genes that see exactly it, as index arrays."""
    if in_reach is None:
        return [(np.arange(count), np.arange(genes))]
    if len(in_reach) != genes:
        raise ValueError(f"in_reach holds the cCREs of {len(in_reach)} genes, there are {genes}")
    sets = {}
    for gene, members in enumerate(in_reach):
        members = np.asarray(members, np.int64)
        if members.size == 0:
            raise ValueError(f"gene {gene} sees no cCRE; its expression cannot be predicted, leave it out")
        sets.setdefault(members.tobytes(), (members, []))[1].append(gene)
    return [(members, np.array(of)) for members, of in sets.values()]


def _parts(indices: np.ndarray) -> list[np.ndarray]:
    """Return pieces of at most `ROWS_AT_A_TIME` of an array."""
    return [indices[i : i + ROWS_AT_A_TIME] for i in range(0, len(indices), ROWS_AT_A_TIME)]


def _padded_size(count: int) -> int:
    """Return the smallest of SIZES that holds `count`; beyond them, the next multiple of 1024."""
    return next((size for size in SIZES if size >= count), -(-count // 1024) * 1024)


def _padded(array: np.ndarray, size: int, dtype: type = np.int64) -> np.ndarray:
    """Return the array with zeros appended along its first axis up to `size`."""
    padding = [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)
    return np.pad(np.asarray(array, dtype), padding)


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Keep a GPU from rounding the factors of float32 products to 10 bits (TF32): a digit is lost."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)
