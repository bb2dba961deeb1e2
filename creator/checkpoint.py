"""Reads the published checkpoint and the input of one run, checks both, and keeps models in `.keras` files.

Nothing here needs torch (`creator.torchfile` reads its files), and Keras is only imported by the functions that make or
load a model, so that a wrong input is refused at once.
"""

import io
import json
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core import InputError, memory, show_value
from creator import BLOCK, BUCKETS, CHANNELS, GENE_WINDOW, REGULATION_SCALES, TOKENS
from creator.torchfile import DAMAGE, Tensor, as_array, read_torch_file, shape_text

if TYPE_CHECKING:
    from keras import layers

    from creator.network import Creator

# All that a model is built from.
SIZES = ("width", "heads", "hidden", "element_layers", "regulation_layers")
SPLITS = ("hold_out_cells", "hold_out_chromosomes", "validation_chromosomes")  # what training was kept from
MOST_SIZE, MOST_LAYERS = 8192, 64
HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins
CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # members of a .keras file
MOST_CONFIG = 1_000_000  # bytes; ours have 400

# What an input may ask for: a file of a few bytes can describe more than any memory holds.
LONGEST_ELEMENT = 20_000  # bp of a cCRE; attention inside one takes memory with the square of its length
LARGEST_SIGNAL = 1e9  # of a track at a base; the network squares sums of it in float32, which ends at 3e38
LARGEST_COORDINATE = 10**12  # bp to either side of 0: no chromosome is longer, and differences stay within int64


def require_memory(needed: int, what: str) -> None:
    """Refuse `needed` bytes where they are not free; `what` begins the message, as in "5 cCREs of 700 bases take"."""
    memory.require_memory(needed, what, "use a smaller input or model, or a larger machine")


class CreatorInput(NamedTuple):
    """What `-i` holds: N cCREs of W bp, and G genes (one, as published) that see all of them."""

    E_ge: np.ndarray  # (N, W) int64, tokens 0 pad or N, 1..4 bases
    E_chp: np.ndarray  # (N, W, 16) float32, signal per base, channels as in creator.CHANNELS
    E_pos: np.ndarray  # (N,) int64, bp
    G_pos: np.ndarray  # (G,) int64, TSS in bp
    G_gpos: np.ndarray  # (G, 700) int64, coordinates of the gene window


# --- the published checkpoint ----------------------------------------------------------------------------


def published_shapes(
    width: int = 256,
    heads: int = 4,
    hidden: int = 1024,
    element_layers: int = 2,
    regulation_layers: int = 4,
    channels: int = len(CHANNELS),
) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the arrays in a published checkpoint, in its order: 87 at the default sizes."""
    shapes = {
        "embed_genome.0.weight": (TOKENS, width),
        "embed_chipseq.0.weight": (width, channels),
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


def _layer_shapes(width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the arrays of one transformer layer."""
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


def read_published_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a published `.pth`; what lies beside them (optimizer, epoch, arguments) is passed over.

    Args:
        path: file of torch, in the zip or the single-stream layout.

    Returns:
        Float32 arrays by name, without `module.`, in the order of `published_shapes`.

    Raises:
        InputError: an array is missing, has another shape or holds no finite numbers, or there are further layers of
            a deeper network.
        OSError: the file cannot be opened.
    """
    root = read_torch_file(path)
    state = root.get("state_dict", root) if isinstance(root, dict) else root
    if not isinstance(state, dict):
        raise InputError(f"holds a {type(state).__name__}, not the state_dict of a network")
    found = {name.removeprefix("module."): value for name, value in state.items() if isinstance(name, str)}
    shapes = published_shapes()

    missing = [f"{name} {shape}" for name, shape in shapes.items() if name not in found]
    misshaped = [
        f"{name} is {_described(found[name])}, not {shape}"
        for name, shape in shapes.items()
        if name in found and not _is_weight(found[name], shape)
    ]
    ours = {name.partition(".")[0] for name in shapes}
    foreign = [show_value(name, 100) for name in found if name not in shapes and name.partition(".")[0] in ours]
    if missing or misshaped or foreign:
        problems = [
            f"{len(items):,} {problem}: {_examples(items)}"
            for problem, items in (("missing", missing), ("of another shape or type", misshaped), ("too many", foreign))
            if items
        ]
        raise InputError(
            f"is the checkpoint of another network (of {len(shapes)} arrays, {'; '.join(problems)}); "
            "give the authors' file or a .keras model of CREaTor"
        )
    return {name: _weight(name, found[name]) for name in shapes}


def _weight(name: str, value) -> np.ndarray:
    """Return one array of a checkpoint as float32; raise InputError where it holds numbers that are not finite."""
    try:
        stored = as_array(value)
    except InputError as error:
        raise InputError(f"{name} is {error}") from None
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite, and is refused
        array = np.asarray(stored, np.float32)
    if not (finite := np.isfinite(array)).all():
        raise InputError(f"{name} holds {_first_bad(stored, ~finite)}; training diverged, or it is damaged")
    return array


def _examples(items: list[str], most: int = 3) -> str:
    """Return the first items, joined by commas."""
    return ", ".join(items[:most]) + (", ..." if len(items) > most else "")


def _is_weight(value: object, shape: tuple[int, ...]) -> bool:
    """Tell whether a value of a checkpoint is an array of floats of this shape."""
    return isinstance(value, Tensor | np.ndarray) and value.shape == shape and value.dtype.kind == "f"


def _described(value: object) -> str:
    """Return type and shape of an array, or the value if it is none."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{value.dtype} {shape_text(value.shape)}"
    return show_value(value, 100)


def set_published_arrays(model: "Creator", arrays: Mapping[str, np.ndarray]) -> None:
    """Give a network the arrays of a published checkpoint, by name, whatever its sizes.

    Args:
        model: a `creator.network.Creator`.
        arrays: of `read_published_arrays`, or of the same names in the shapes of `published_shapes`.
    """

    def dense(layer: "layers.Dense", name: str) -> None:
        layer.kernel.assign(arrays[f"{name}.weight"].T)  # torch keeps (out, in)
        if layer.use_bias:
            layer.bias.assign(arrays[f"{name}.bias"])

    def norm(layer: "layers.LayerNormalization", name: str) -> None:
        layer.gamma.assign(arrays[f"{name}.weight"])
        layer.beta.assign(arrays[f"{name}.bias"])

    def transformer(layer: "layers.Layer", name: str) -> None:
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


def load_model(path: str | Path) -> "Creator":
    """Load a published `.pth` or a `.keras` file of `save_model`; they are told apart by content.

    Raises:
        InputError: (one line, without the path) it is neither, or damaged.
        OSError: it cannot be opened.
    """
    _check_kind(path)
    return _load_keras(path) if is_keras_file(path) else load_published(path)


def describe_model(path: str | Path) -> dict | None:
    """Return what the model of a file was trained on, `Creator.training`, without Keras; None of a published `.pth`.

    Raises:
        InputError, OSError: as of `load_model`.
    """
    _check_kind(path)
    if is_keras_file(path):
        return _read_keras(path)[1]
    read_published_arrays(path)  # what is no checkpoint is not taken for one that knows nothing of its training
    return None


def _check_kind(path: str | Path) -> None:
    """Raise InputError for what can be read only once, OSError where there is nothing."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError("is a pipe or a device, which can be read only once; give a file")


def load_published(path: str | Path) -> "Creator":
    """Load a published `.pth`; raise InputError and OSError as `read_published_arrays`."""
    arrays = read_published_arrays(path)
    from creator.network import Creator

    model = Creator()
    set_published_arrays(model, arrays)
    return model


def is_keras_file(path: str | Path) -> bool:
    """Tell whether the file is a zip with the members of Keras 3."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {CONFIG, WEIGHTS} <= set(archive.namelist())
    except DAMAGE:  # creator.torchfile tells what is wrong with it
        return False


def _load_keras(path: str | Path) -> "Creator":
    """Load a `.keras` file; raise InputError where it is damaged or no CREaTor model."""
    sizes, training = _read_keras(path)
    from creator.network import Creator

    model = Creator(**sizes, training=training)
    try:
        model.load_weights(path)
    except (*DAMAGE, OSError) as error:
        raise InputError(f"is a damaged .keras file (weights: {show_value(error, 120)}); copy it again") from None
    for variable in model.weights:
        if not np.isfinite(variable.numpy()).all():
            raise InputError(f"{variable.path} holds numbers that are not finite; training diverged")
    return model


def _read_keras(path: str | Path) -> tuple[dict[str, int], dict | None]:
    """Return the sizes of the network in a `.keras` file and its training; raise InputError as `_load_keras`."""
    # Keras would build whatever class config.json names. Only the sizes are taken from it, and checked, also against
    # the shapes of the arrays: a file of a few bytes can ask for a network that no memory holds.
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = _keras_sizes(archive)
            _check_keras_weights(archive, sizes)
            training = _keras_training(archive)
    except (*DAMAGE, OSError) as error:
        raise InputError(f"is a damaged .keras file ({show_value(error, 120)}); copy it again") from None
    if Path(path).suffix != ".keras":
        raise InputError("is a Keras model by content; give it a name that ends in .keras")
    return sizes, training


def _keras_sizes(archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the sizes of the network in a .keras file, by the names in SIZES.

    Raises:
        InputError: the file holds no CREaTor model, or sizes that none has.
        ValueError, LookupError and others of DAMAGE: its configuration cannot be read.
    """
    length = archive.getinfo(CONFIG).file_size
    if length > MOST_CONFIG:
        raise InputError(
            f"has a {CONFIG} of {length:,} bytes, that of a CREaTor model has a few hundred; check the file"
        )
    config = json.loads(archive.read(CONFIG))
    name, values = config["class_name"], config["config"]
    if name != "Creator":
        raise InputError(f"is a Keras model of class '{show_value(name, 60)}', not a CREaTor model")
    sizes = {key: values.get(key) for key in SIZES}
    if "channels" in values:  # of a model with tracks of its own
        sizes["channels"] = values["channels"]
    most = {key: MOST_LAYERS if key.endswith("layers") else MOST_SIZE for key in sizes}
    if not all(type(size) is int and 1 <= size <= most[key] for key, size in sizes.items()):
        found = ", ".join(f"{key} {show_value(size, 20)}" for key, size in sizes.items())
        raise InputError(
            f"has the sizes {found}; each must be a whole number from 1 to {MOST_SIZE}, of layers to {MOST_LAYERS}"
        )
    if sizes["width"] % sizes["heads"]:
        raise InputError(f"has width {sizes['width']}, which is not a multiple of its {sizes['heads']} heads")
    return sizes


def _keras_training(archive: zipfile.ZipFile) -> dict | None:
    """Return what the model of a .keras file says about its training; None where it says nothing.

    Raises:
        InputError: it is not as `creator.training.describe_training` writes it.
    """
    training = json.loads(archive.read(CONFIG))["config"].get("training")
    if training is None:
        return None
    whole = (
        isinstance(training, dict)
        and isinstance(training.get("options"), dict)
        and all(type(value) in (int, str) for value in training["options"].values())
        and type(training["options"].get("reach")) is int
        and all(_is_names(training.get(key)) for key in SPLITS)
        and type(training.get("batch_elements")) is int
    )
    if not whole:
        raise InputError("has a damaged record of its training; copy it again")
    return training


def _is_names(value: object) -> bool:
    """Tell whether a value is a list of text."""
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def keras_shapes(**sizes: int) -> Counter:
    """Return the shapes of the arrays of a `creator.network.Creator` and how many there are of each.

    Args:
        sizes: as of `published_shapes`, which gives them in torch's layout.
    """
    tables = ("embed_genome.", "rp_bias_")
    return Counter(
        shape if name.startswith(tables) else shape[::-1] for name, shape in published_shapes(**sizes).items()
    )


def _check_keras_weights(archive: zipfile.ZipFile, sizes: dict[str, int]) -> None:
    """Compare the arrays of a .keras file with what its sizes ask for, before a network is built.

    Raises:
        InputError: they differ, or so much memory is not free.
        ValueError, OSError and others of DAMAGE: they cannot be read.
    """
    expected = keras_shapes(**sizes)
    numbers = sum(int(np.prod(shape)) * count for shape, count in expected.items())
    asked = f"sizes {', '.join(f'{key} {size}' for key, size in sizes.items())} ask for {numbers:,} numbers"
    length = archive.getinfo(WEIGHTS).file_size
    with archive.open(WEIGHTS) as weights:
        if weights.read(len(HDF5)) != HDF5:
            raise ValueError("weights that are not HDF5")
    # Beside the weights an optimizer may have left two more arrays of each shape.
    if not 4 * numbers <= length <= 16 * numbers + 100_000_000:
        raise InputError(f"does not fit together: its {asked}, its {WEIGHTS} has {length:,} bytes; copy it again")
    require_memory(3 * length, f"loading it (its {asked}) takes")
    found = _hdf5_shapes(archive.read(WEIGHTS))
    if found != expected:
        wrong = [f"{count} of {shape_text(shape)} missing" for shape, count in (expected - found).items()]
        wrong += [f"{count} of {shape_text(shape)} too many" for shape, count in (found - expected).items()]
        raise InputError(f"does not fit together: its {asked}, but of its arrays {_examples(wrong)}")


def _hdf5_shapes(data: bytes) -> Counter:
    """Return the shapes of the float arrays in an HDF5 file, but for those of an optimizer, and how many of each.

    Raises:
        ValueError: it links to other files, or holds anything but groups and arrays of floats.
    """
    import h5py

    shapes, groups, entries = Counter(), [], 0
    with h5py.File(io.BytesIO(data)) as file:
        groups.append(file)
        while groups:
            group = groups.pop()
            for name in group:
                entries += 1
                if entries > 10_000:  # groups can hold themselves
                    raise ValueError("more than 10,000 groups and arrays")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{show_value(name, 100)} is a link to elsewhere")
                item = group[name]
                if isinstance(item, h5py.Group):
                    if group.name != "/" or name != "optimizer":
                        groups.append(item)
                elif isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
                    if item.is_virtual or item.external:
                        raise ValueError(f"{show_value(name, 100)} is kept in another file")
                    shapes[item.shape] += 1
                else:
                    raise ValueError(f"{show_value(name, 100)} is no array of floats")
    return shapes


def save_model(model: "Creator", path: str | Path) -> None:
    """Write a model as `.keras`, first under a temporary name beside it; raise InputError for another suffix."""
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


def read_input(path: str | Path) -> CreatorInput:
    """Read and check the pickle of one run, of torch tensors or numpy arrays.

    Raises:
        InputError: (one line, without the path) what is wrong, the value seen, what to change.
        OSError: the file cannot be opened.
    """
    root = read_torch_file(path)
    if not isinstance(root, dict):
        raise InputError(
            f"holds an object of type {type(root).__name__}, not a dict with {', '.join(CreatorInput._fields)}"
        )
    if missing := [key for key in CreatorInput._fields if key not in root]:
        seen = ", ".join(f"'{show_value(key, 20)}'" for key in list(root)[:5]) or "nothing"
        raise InputError(f"has no {', '.join(missing)} (it holds {seen}); write all five keys")
    arrays = {}
    for key in CreatorInput._fields:
        value = root[key]
        try:
            arrays[key] = value if isinstance(value, Tensor) else as_array(value)
        except TypeError as error:
            raise InputError(f"{key} is {error}; save a tensor or a numpy array") from None
    check_shapes(**{key: array.shape for key, array in arrays.items()})  # before a tensor is read
    for key, value in arrays.items():
        try:
            arrays[key] = as_array(value)
        except InputError as error:
            raise InputError(f"{key} is {error}") from None
    return checked_input(**arrays)


def check_shapes(
    E_ge: tuple[int, ...],
    E_chp: tuple[int, ...],
    E_pos: tuple[int, ...],
    G_pos: tuple[int, ...],
    G_gpos: tuple[int, ...],
) -> None:
    """Check the shapes of the five arrays of an input.

    Raises:
        InputError: one is not as in CreatorInput, or the arrays need more memory than is free: a tensor that is
            expanded from a single number takes nothing in a file, whatever its shape.
    """
    for key, shape, axes, expected in (
        ("E_ge", E_ge, 2, "(N, W)"),
        ("E_chp", E_chp, 3, f"(N, W, {len(CHANNELS)})"),
        ("E_pos", E_pos, 1, "(N,)"),
        ("G_pos", G_pos, 1, "(1,)"),
        ("G_gpos", G_gpos, 2, f"(1, {GENE_WINDOW})"),
    ):
        if len(shape) != axes:
            raise InputError(f"{key} has shape {shape_text(shape)}; it must be {expected}")
    count, length = E_ge
    (genes,) = G_pos
    if count == 0:
        raise InputError(
            f"E_ge has shape {E_ge}, no cCRE at all; a gene is predicted from the cCREs within its "
            "reach, give at least one or leave the gene out"
        )
    if genes == 0:
        raise InputError("G_pos has shape (0,), no gene at all; give the TSS of at least one")
    if length == 0 or length % BLOCK:
        raise InputError(
            f"E_ge has W = {length} bases a cCRE, which is not a multiple of {BLOCK}; "
            f"cut or pad (token 0) to {max(BLOCK, length // BLOCK * BLOCK)}"
        )
    if length > LONGEST_ELEMENT:
        raise InputError(
            f"E_ge has W = {length:,} bases a cCRE; at most {LONGEST_ELEMENT:,} are read, because attention "
            "takes memory with the square of W: cut the cCREs"
        )
    if E_chp[-1] != len(CHANNELS):
        raise InputError(
            f"E_chp has {E_chp[-1]} channels (shape {E_chp}); it must have {len(CHANNELS)}, in "
            "the published order, with zeros for a track that you do not have"
        )
    if E_chp[:2] != E_ge:
        raise InputError(f"E_chp has shape {E_chp}; to fit E_ge it must be {(*E_ge, len(CHANNELS))}")
    for key, shape, expected in (
        ("E_pos", E_pos, (count,)),
        ("G_pos", G_pos, (genes,)),
        ("G_gpos", G_gpos, (genes, GENE_WINDOW)),
    ):
        if shape != expected:
            raise InputError(f"{key} has shape {shape}; it must be {expected}")
    numbers = 8 * (count * length + count + genes * (1 + GENE_WINDOW)) + 4 * count * length * len(CHANNELS)
    # The smallest network, of one head, takes 36 bytes for each pair of cCREs (network.prediction_memory).
    needed = max(3 * numbers // 2, 36 * count**2)
    require_memory(needed, f"an input of N = {count:,}, W = {length:,} and G = {genes:,} takes")


def checked_input(
    E_ge: np.ndarray, E_chp: np.ndarray, E_pos: np.ndarray, G_pos: np.ndarray, G_gpos: np.ndarray
) -> CreatorInput:
    """Return the five arrays in the types that the network takes; raise InputError as `read_input`."""
    check_shapes(E_ge.shape, E_chp.shape, E_pos.shape, G_pos.shape, G_gpos.shape)
    _check_whole_numbers("E_ge", E_ge, "tokens")
    if (wrong := (E_ge < 0) | (E_ge >= TOKENS)).any():
        raise InputError(f"E_ge holds {_first_bad(E_ge, wrong)}; tokens are 0 (pad or N), 1 to 4 (bases) and 5 (CLS)")

    if E_chp.dtype.kind not in "fiu":
        raise InputError(f"E_chp holds {E_chp.dtype}; signal is float32, save E_chp.float()")
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite, and is refused
        signal = np.ascontiguousarray(E_chp, np.float32)
    if not (finite := np.isfinite(E_chp)).all():
        raise InputError(f"E_chp holds {_first_bad(E_chp, ~finite)}; write 0 where a track has no signal")
    if (wrong := (signal < -LARGEST_SIGNAL) | (signal > LARGEST_SIGNAL)).any():
        raise InputError(
            f"E_chp holds {_first_bad(E_chp, wrong)}; signal lies between -{LARGEST_SIGNAL:g} and "
            f"{LARGEST_SIGNAL:g}, larger numbers overflow in the network: scale the tracks"
        )

    coordinates = [_coordinates(key, array) for key, array in (("E_pos", E_pos), ("G_pos", G_pos), ("G_gpos", G_gpos))]
    return CreatorInput(np.ascontiguousarray(E_ge, np.int64), signal, *coordinates)


def _coordinates(key: str, array: np.ndarray) -> np.ndarray:
    """Return coordinates in bp as int64; raise InputError where their differences could leave its range."""
    _check_whole_numbers(key, array, "coordinates in bp")
    array = np.ascontiguousarray(array, np.int64)
    if (wrong := (array < -LARGEST_COORDINATE) | (array > LARGEST_COORDINATE)).any():
        raise InputError(
            f"{key} holds {_first_bad(array, wrong)}; coordinates in bp lie between -{LARGEST_COORDINATE:,} and "
            f"{LARGEST_COORDINATE:,}"
        )
    return array


def _check_whole_numbers(key: str, array: np.ndarray, what: str) -> None:
    """Raise InputError where an array is not int64 or int32; `what` it holds stands in the message."""
    # Smaller integers are refused although they would fit: coordinates in them have already overflowed, and
    # the published network does not take them.
    if array.dtype not in (np.int64, np.int32):
        value = f" (first value {show_value(format(array.flat[0]), 20)})" if array.size else ""
        raise InputError(f"{key} holds {array.dtype}{value}; {what} are int64, save {key}.long()")


def _first_bad(array: np.ndarray, wrong: np.ndarray) -> str:
    """Return 'nan at [3, 120, 4] and 7 more' for the values where `wrong`."""
    more = np.count_nonzero(wrong) - 1
    first = np.unravel_index(np.argmax(wrong), wrong.shape)
    return f"{array[first]} at {[int(i) for i in first]}" + (f" and {more:,} more" if more else "")
