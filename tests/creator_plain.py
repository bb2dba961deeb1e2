"""CREaTor's network step by step, without the savings of creator/network.py: the reference of the tests.

Every gene encodes all of its cCREs again, in one batch, through separate lookup, projection and
convolution, and every layer computes every row. Weights are a dict by published name, in torch's layout.
"""

import numpy as np
import tensorflow as tf

# Lower edges of buckets 16..31; bucket b < 16 holds the distance b alone.
LONG_EDGES = (16, 20, 23, 27, 32, 39, 46, 54, 64, 77, 91, 108, 128, 153, 182, 216)


def plain_bucket(step):
    """Bucket of one relative position, by counting."""
    distance = abs(step)
    bucket = distance if distance < 16 else 15 + sum(edge <= distance for edge in LONG_EDGES)
    return bucket + 32 if step < 0 else bucket


def random_arrays(seed, sizes=None, scale=1.0):
    """Weights of the given sizes, drawn so that every array matters to the result."""
    from creator.checkpoint import published_shapes

    random = np.random.default_rng(seed)
    arrays = {}
    for name, shape in published_shapes(**(sizes or {})).items():
        if name == "embed_genome.0.weight":
            array = random.normal(size=shape)
        elif "rp_bias" in name:
            array = 0.5 * random.normal(size=shape)
        elif "norm" in name:
            array = 0.2 * random.normal(size=shape) + name.endswith("weight")
        else:
            array = scale * random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 100)
        arrays[name] = array.astype(np.float32)
    return arrays


def random_input(seed, count, length=350, genes=1, sort=True, descending=False):
    """E_ge, E_chp, E_pos, G_pos, G_gpos of cCREs within 1 Mb of a gene, or of neighbouring genes."""
    random = np.random.default_rng(seed)
    tokens = random.integers(0, 5, (count, length))
    signal = random.standard_normal((count, length, 16), np.float32)
    np.maximum(signal, 0, out=signal)
    tss = 5_000_000 + random.integers(-50_000, 50_000, genes)
    positions = 5_000_000 + random.integers(-1_000_000, 1_000_000, count)
    offsets = np.arange(-350, 350)
    window = tss[:, None] + (offsets[::-1] if descending else offsets)
    return tokens, signal, np.sort(positions) if sort else positions, tss, window


def plain_expression(arrays, E_ge, E_chp, E_pos, G_pos, G_gpos):
    """Expression of each gene by itself -> (G,) float32."""
    one = tf.function(plain_gene, autograph=False)
    return np.array([one(arrays, E_ge, E_chp, E_pos, *gene)[0].numpy() for gene in _one_by_one(G_pos, G_gpos)])


def plain_attention(arrays, E_ge, E_chp, E_pos, G_pos, G_gpos):
    """Attention of each gene's row to the cCREs -> (G, layers, heads, N)."""
    return np.stack([plain_gene(arrays, E_ge, E_chp, E_pos, *gene)[1].numpy() for gene in _one_by_one(G_pos, G_gpos)])


def plain_ablation(arrays, E_ge, E_chp, E_pos, G_pos, G_gpos):
    """Drop of each gene's expression as each cCRE is hidden from its row in turn -> (G, N)."""
    drops = np.empty((len(G_pos), len(E_pos)), np.float32)
    for g, gene in enumerate(_one_by_one(G_pos, G_gpos)):
        intact = plain_gene(arrays, E_ge, E_chp, E_pos, *gene)[0]
        for n in range(len(E_pos)):
            drops[g, n] = intact - plain_gene(arrays, E_ge, E_chp, E_pos, *gene, hidden=n)[0]
    return drops


def _one_by_one(G_pos, G_gpos):
    return [(G_pos[g : g + 1], G_gpos[g : g + 1]) for g in range(len(G_pos))]


def plain_gene(arrays, E_ge, E_chp, E_pos, G_pos, G_gpos, hidden=None):
    """One gene -> expression, attention of its row (layers, heads, N)."""
    length = E_ge.shape[1]
    elements = _encode(arrays, E_ge, E_chp, tf.range(0, length + 5, 5, tf.int64)[None])
    gene_positions = tf.concat([G_gpos, G_pos[:, None]], axis=1)[:, ::5]
    nothing = tf.zeros((1, 700), tf.int64), tf.zeros((1, 700, 16))
    gene = _encode(arrays, *nothing, gene_positions)

    x = tf.concat([elements, gene], axis=0)[None]
    positions = tf.concat([E_pos, G_pos], axis=0)
    bias = 0.0
    for i, scale in enumerate((150, 600, 2400, 10000, 40000)):
        table = arrays[f"rp_bias_2.rp_bias.{i}.relative_attention_bias.weight"]
        bias += _bias(table, (positions[:, None] - positions[None, :]) // scale)
    count = E_ge.shape[0] + 1
    gene_column = np.zeros((count, count), np.float32)
    gene_column[:, -1] = -1e6
    if hidden is not None:
        gene_column[-1, hidden] = -1e9
    bias += gene_column
    attention = []
    for i in range(_layers(arrays, "encoder2")):
        x, shares = _layer(arrays, f"encoder2.layers.{i}", x, bias)
        attention.append(shares[0, :, -1, :-1])
    row = _norm(arrays, "layer_norm_after", x[0, -1:])
    return tf.nn.softplus(_dense(arrays, "fc.0", row))[0, 0], tf.stack(attention)


def _encode(arrays, tokens, signal, positions):
    n = tokens.shape[0]
    tokens = tf.concat([tokens, tf.fill((n, 5), tf.constant(5, tf.int64))], axis=1)
    signal = tf.concat([signal, tf.zeros((n, 5, 16))], axis=1)
    x = tf.gather(arrays["embed_genome.0.weight"], tokens) + _dense(arrays, "embed_chipseq.0", signal)
    kernel = tf.transpose(arrays["projection.conv.weight"], (2, 1, 0))
    x = tf.nn.conv1d(x, kernel, stride=5, padding="VALID") + arrays["projection.conv.bias"]
    step = (positions[:, :, None] - positions[:, None, :]) // 5
    bias = _bias(arrays["rp_bias_1.relative_attention_bias.weight"], step)
    for i in range(_layers(arrays, "encoder1")):
        x, _ = _layer(arrays, f"encoder1.layers.{i}", x, bias)
    return x[:, -1]


def _layers(arrays, encoder):
    return 1 + max(int(name.split(".")[2]) for name in arrays if name.startswith(f"{encoder}.layers."))


def _bias(table, step):
    distance = tf.abs(step)
    long = tf.searchsorted(LONG_EDGES, tf.reshape(tf.cast(distance, tf.int32), (-1,)), side="right")
    bucket = tf.where(distance < 16, tf.cast(distance, tf.int32), 15 + tf.reshape(long, distance.shape))
    bucket += 32 * tf.cast(step < 0, tf.int32)
    bias = tf.gather(table, bucket)
    return tf.transpose(bias, (0, 3, 1, 2) if len(bias.shape) == 4 else (2, 0, 1))


def _layer(arrays, name, x, bias):
    n, length, width = x.shape
    heads = bias.shape[-3]
    normed = _norm(arrays, f"{name}.norm1", x)
    query, key, value = (
        tf.transpose(tf.reshape(_dense(arrays, f"{name}.attn.fc_{part}", normed), (n, length, heads, -1)), (0, 2, 1, 3))
        for part in ("query", "key", "value")
    )
    logits = tf.matmul(query, key, transpose_b=True) / np.float32(np.sqrt(width // heads))
    shares = tf.nn.softmax(logits + bias)
    mixed = tf.reshape(tf.transpose(shares @ value, (0, 2, 1, 3)), (n, length, width))
    x += _dense(arrays, f"{name}.attn.fc_out", mixed)
    hidden = tf.nn.relu(_dense(arrays, f"{name}.ffn.ff.0", _norm(arrays, f"{name}.norm2", x)))
    return x + _dense(arrays, f"{name}.ffn.ff.3", hidden), shares


def _dense(arrays, name, x):
    product = tf.tensordot(x, tf.transpose(arrays[f"{name}.weight"]), 1)
    return product + arrays[f"{name}.bias"] if f"{name}.bias" in arrays else product


def _norm(arrays, name, x):
    mean = tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5) * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]
