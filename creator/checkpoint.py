"""Reads the published checkpoint and the input of one run, checks both, and keeps models in `.keras` files.

Nothing here needs torch (`creator.torchfile` reads its files), and Keras is only imported by the functions
that make or load a model, so that a wrong input is refused at once.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from creator import BLOCK, BUCKETS, CHANNELS, GENE_WINDOW, REGULATION_SCALES, TOKENS, InputError
from creator.torchfile import DAMAGE, Tensor, as_array, read_torch_file

# All that a model is built from.
SIZES = ("width", "heads", "hidden", "element_layers", "regulation_layers")
HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins


class CreatorInput(NamedTuple):
    """What `-i` holds: N cCREs of W bp, and G genes (one, as published) that see all of them."""

    E_ge: np.ndarray  # (N, W) int64, tokens 0 pad or N, 1..4 bases
    E_chp: np.ndarray  # (N, W, 16) float32, signal per base, channels as in creator.CHANNELS
    E_pos: np.ndarray  # (N,) int64, bp
    G_pos: np.ndarray  # (G,) int64, TSS in bp
    G_gpos: np.ndarray  # (G, 700) int64, coordinates of the gene window


# --- the published checkpoint ----------------------------------------------------------------------------


def published_shapes(width=256, heads=4, hidden=1024, element_layers=2, regulation_layers=4):
    """Names and shapes of the arrays in a published checkpoint, in its order: 87 at the default sizes."""
    shapes = {
        "embed_genome.0.weight": (TOKENS, width),
        "embed_chipseq.0.weight": (width, len(CHANNELS)),
        "embed_chipseq.0.bias": (width,),
        "projection.conv.weight": (width, width, BLOCK),
        "projection.conv.bias": (width,),
        "rp_bias_1.relative_attention_bias.weight": (BUCKETS, heads),
    }
    for i in range(len(REGULATION_SCALES)):
        shapes[f"rp_bias_2.rp_bias.{i}.relative_attention_bias.weight"] = (BUCKETS, heads)
    for encoder, count in (("encoder1", element_layers), ("encoder2", regulation_layers)):
        for i in range(count):
            for name, shape in _layer_shapes(width, hidden).items():
                shapes[f"{encoder}.layers.{i}.{name}"] = shape
    return shapes | {
        "layer_norm_after.weight": (width,),
        "layer_norm_after.bias": (width,),
        "fc.0.weight": (1, width),
        "fc.0.bias": (1,),
    }


def _layer_shapes(width, hidden):
    square = {f"attn.fc_{name}.weight": (width, width) for name in ("query", "key", "value", "out")}
    return {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        **square,
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "ffn.ff.0.weight": (hidden, width),
        "ffn.ff.0.bias": (hidden,),
        "ffn.ff.3.weight": (width, hidden),
        "ffn.ff.3.bias": (width,),
    }


def read_published_arrays(path):
    """The arrays of a published `.pth` by name, without `module.` -> dict of float32 arrays.

    Zip and single-stream files are read, and what lies beside the weights (optimizer, epoch, arguments) is
    passed over. Raises InputError where an array is missing, has another shape or holds no finite numbers,
    and where the file holds further layers of a deeper network.
    """
    root = read_torch_file(path)
    state = root.get("state_dict", root) if isinstance(root, dict) else root
    if not isinstance(state, dict):
        raise InputError(f"holds a {type(state).__name__}, not the state_dict of a network")
    found = {str(name).removeprefix("module."): value for name, value in state.items()}
    shapes = published_shapes()

    missing = [f"{name} {shape}" for name, shape in shapes.items() if name not in found]
    misshaped = [
        f"{name} is {_described(found[name])}, not {shape}"
        for name, shape in shapes.items()
        if name in found and not _is_weight(found[name], shape)
    ]
    ours = {name.partition(".")[0] for name in shapes}
    foreign = [name for name in found if name not in shapes and name.partition(".")[0] in ours]
    if missing or misshaped or foreign:
        problems = [
            f"{len(items)} {problem}: {', '.join(items)}"
            for problem, items in (("missing", missing), ("of another shape or type", misshaped), ("too many", foreign))
            if items
        ]
        raise InputError(
            f"is the checkpoint of another network (of {len(shapes)} arrays, {'; '.join(problems)}); "
            "give the authors' file or a .keras model of CREaTor"
        )
    arrays = {name: np.asarray(as_array(found[name]), np.float32) for name in shapes}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(
                f"{name} holds {_first_bad(array, ~np.isfinite(array))}; training diverged, or it is damaged"
            )
    return arrays


def _is_weight(value, shape):
    return isinstance(value, Tensor | np.ndarray) and value.shape == shape and value.dtype.kind == "f"


def _described(value):
    return f"{value.dtype} {value.shape}" if isinstance(value, Tensor | np.ndarray) else type(value).__name__


def set_published_arrays(model, arrays):
    """Gives a `creator.network.Creator` the arrays of a published checkpoint, by name, whatever its sizes."""

    def dense(layer, name):
        layer.kernel.assign(arrays[f"{name}.weight"].T)  # torch keeps (out, in)
        if layer.use_bias:
            layer.bias.assign(arrays[f"{name}.bias"])

    def norm(layer, name):
        layer.gamma.assign(arrays[f"{name}.weight"])
        layer.beta.assign(arrays[f"{name}.bias"])

    def transformer(layer, name):
        norm(layer.norm1, f"{name}.norm1")
        for part in ("query", "key", "value", "out"):
            dense(getattr(layer, part), f"{name}.attn.fc_{part}")
        norm(layer.norm2, f"{name}.norm2")
        dense(layer.expand, f"{name}.ffn.ff.0")
        dense(layer.contract, f"{name}.ffn.ff.3")

    model.token_table.assign(arrays["embed_genome.0.weight"])
    dense(model.signal, "embed_chipseq.0")
    model.projection.kernel.assign(arrays["projection.conv.weight"].transpose(2, 1, 0))  # (out, in, kernel)
    model.projection.bias.assign(arrays["projection.conv.bias"])
    model.element_bias.tables[0].assign(arrays["rp_bias_1.relative_attention_bias.weight"])
    for i, table in enumerate(model.regulation_bias.tables):
        table.assign(arrays[f"rp_bias_2.rp_bias.{i}.relative_attention_bias.weight"])
    for i, layer in enumerate(model.element_layers):
        transformer(layer, f"encoder1.layers.{i}")
    for i, layer in enumerate(model.regulation_layers):
        transformer(layer, f"encoder2.layers.{i}")
    norm(model.norm, "layer_norm_after")
    dense(model.head, "fc.0")


# --- models ----------------------------------------------------------------------------------------------


def load_model(path):
    """A published `.pth` or one of our `.keras` files, told apart by content -> `creator.network.Creator`.

    Raises InputError (one line, without the path) where it is neither, OSError where it cannot be opened.
    """
    return _load_keras(path) if is_keras_file(path) else load_published(path)


def load_published(path):
    """A published `.pth` as a `creator.network.Creator`; raises InputError, OSError."""
    arrays = read_published_arrays(path)
    from creator.network import Creator

    model = Creator()
    set_published_arrays(model, arrays)
    return model


def is_keras_file(path):
    """Whether the file is a zip with the members of Keras 3."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"config.json", "model.weights.h5"} <= set(archive.namelist())
    except DAMAGE:  # torchfile tells what is wrong with it
        return False


def _load_keras(path):
    # Keras would build whatever class config.json names. Only the sizes are taken from it, and checked.
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(damaged)
            with archive.open("model.weights.h5") as weights:
                if weights.read(len(HDF5)) != HDF5:
                    raise ValueError("weights that are not HDF5")
            config = json.loads(archive.read("config.json"))
        name, sizes = config["class_name"], {key: config["config"].get(key) for key in SIZES}
    except DAMAGE as error:
        raise InputError(f"is a damaged .keras file ({_one_line(error)}); copy it again") from None
    if name != "Creator":
        raise InputError(f"is a Keras model of class {name!r:.60}, not a CREaTor model")
    if not all(type(size) is int and 1 <= size <= 8192 for size in sizes.values()):
        raise InputError(f"has sizes {sizes}; each must be a whole number from 1 to 8192")
    if sizes["width"] % sizes["heads"]:
        raise InputError(f"has width {sizes['width']}, which is not a multiple of its {sizes['heads']} heads")
    if Path(path).suffix != ".keras":
        raise InputError("is a Keras model by content; give it a name that ends in .keras")

    from creator.network import Creator

    model = Creator(**sizes)
    try:
        model.load_weights(path)
    except (*DAMAGE, OSError) as error:
        raise InputError(f"is a damaged .keras file (weights: {_one_line(error)}); copy it again") from None
    for variable in model.weights:
        if not np.isfinite(variable.numpy()).all():
            raise InputError(f"{variable.path} holds numbers that are not finite; training diverged")
    return model


def _one_line(error):
    return " ".join(str(error).split())[:120]


def save_model(model, path):
    """Writes a `creator.network.Creator` as `.keras`, first under a temporary name beside it."""
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError(f"the model would be written to {path.name}; give a name that ends in .keras")
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.keras")
    try:
        model.save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# --- the input of one run --------------------------------------------------------------------------------


def read_input(path):
    """The pickle of `-i`, torch tensors or numpy arrays -> CreatorInput, checked.

    Raises InputError (one line, without the path): what is wrong, the value seen, what to change; OSError
    where the file cannot be opened.
    """
    root = read_torch_file(path)
    if not isinstance(root, dict):
        raise InputError(f"holds a {type(root).__name__}, not a dict with {', '.join(CreatorInput._fields)}")
    if missing := [key for key in CreatorInput._fields if key not in root]:
        seen = ", ".join(repr(key)[:20] for key in list(root)[:5]) or "nothing"
        raise InputError(f"has no {', '.join(missing)} (it holds {seen}); write all five keys")
    arrays = {}
    for key in CreatorInput._fields:
        try:
            arrays[key] = as_array(root[key])
        except TypeError as error:
            raise InputError(f"{key} is {error}; save a tensor or a numpy array") from None
        except InputError as error:
            raise InputError(f"{key} is {error}") from None
    return checked_input(**arrays)


def checked_input(E_ge, E_chp, E_pos, G_pos, G_gpos):
    """The five arrays as CreatorInput, of the types the network takes; raises InputError as `read_input`."""
    for key, array, axes, shape in (
        ("E_ge", E_ge, 2, "(N, W)"),
        ("E_chp", E_chp, 3, "(N, W, 16)"),
        ("E_pos", E_pos, 1, "(N,)"),
        ("G_pos", G_pos, 1, "(1,)"),
        ("G_gpos", G_gpos, 2, f"(1, {GENE_WINDOW})"),
    ):
        if array.ndim != axes:
            raise InputError(f"{key} has shape {array.shape}; it must be {shape}")
    count, length = E_ge.shape
    genes = len(G_pos)
    if count == 0:
        raise InputError(
            f"E_ge has shape {E_ge.shape}, no cCRE at all; a gene is predicted from the cCREs within its "
            "reach, give at least one or leave the gene out"
        )
    if genes == 0:
        raise InputError("G_pos has shape (0,), no gene at all; give the TSS of at least one")
    if length == 0 or length % BLOCK:
        raise InputError(
            f"E_ge has W = {length} bases a cCRE, which is not a multiple of {BLOCK}; "
            f"cut or pad (token 0) to {max(BLOCK, length // BLOCK * BLOCK)}"
        )
    _check_whole_numbers("E_ge", E_ge, "tokens")
    if (wrong := (E_ge < 0) | (E_ge >= TOKENS)).any():
        raise InputError(f"E_ge holds {_first_bad(E_ge, wrong)}; tokens are 0 (pad or N), 1 to 4 (bases) and 5 (CLS)")

    if E_chp.shape[-1] != len(CHANNELS):
        raise InputError(
            f"E_chp has {E_chp.shape[-1]} channels (shape {E_chp.shape}); it must have {len(CHANNELS)}, in "
            "the published order, with zeros for a track that you do not have"
        )
    if E_chp.shape[:2] != E_ge.shape:
        raise InputError(f"E_chp has shape {E_chp.shape}; to fit E_ge it must be {(*E_ge.shape, len(CHANNELS))}")
    if E_chp.dtype.kind not in "fiu":
        raise InputError(f"E_chp holds {E_chp.dtype}; signal is float32, save E_chp.float()")
    if not (finite := np.isfinite(E_chp)).all():
        raise InputError(f"E_chp holds {_first_bad(E_chp, ~finite)}; write 0 where a track has no signal")

    for key, array, shape in (
        ("E_pos", E_pos, (count,)),
        ("G_pos", G_pos, (genes,)),
        ("G_gpos", G_gpos, (genes, GENE_WINDOW)),
    ):
        if array.shape != shape:
            raise InputError(f"{key} has shape {array.shape}; it must be {shape}")
        _check_whole_numbers(key, array, "coordinates in bp")
    return CreatorInput(
        np.ascontiguousarray(E_ge, np.int64),
        np.ascontiguousarray(E_chp, np.float32),
        *(np.ascontiguousarray(array, np.int64) for array in (E_pos, G_pos, G_gpos)),
    )


def _check_whole_numbers(key, array, what):
    # Smaller integers are refused although they would fit: coordinates in them have already overflowed, and
    # the published network does not take them.
    if array.dtype not in (np.int64, np.int32):
        value = f" (first value {array.flat[0]})" if array.size else ""
        raise InputError(f"{key} holds {array.dtype}{value}; {what} are int64, save {key}.long()")


def _first_bad(array, wrong):
    """'nan at [3, 120, 4] and 7 more' for the values where `wrong`."""
    where = np.argwhere(wrong)
    more = f" and {len(where) - 1:,} more" if len(where) > 1 else ""
    return f"{array[tuple(where[0])]} at {where[0].tolist()}{more}"
