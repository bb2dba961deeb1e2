"""Opens a finished run: its settings, its tables, its folds' networks and each gene's role in them.

A model file is a program as well as numbers, so it is looked through before Keras sees it, and Keras loads it in
its safe mode.
"""

import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from core import InputError, examples, show_value
from core.files import MOST_NAMED, count_columns, hash_file, unescape_cells
from lcre import records
from lcre.hold_out import way_of
from lcre.results import LOG_COLUMNS, RESULT_COLUMNS
from lcre.speed import speed_up

MODEL_CLASSES = {
    "keras": {"Sequential", "Functional", "Model", "DTypePolicy", "FloatDTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
}
PLAIN_PACKAGES = {"keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints"}
PLAIN_VALUES = {"__tuple__", "__keras_tensor__"}  # how Keras writes what JSON has no word for
BATCH = 64  # windows predicted at once: each takes some 4 MB on its way
RUNS_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}  # Keras' layers around other code


class Models(Mapping):
    """The networks of a run by fold, each loaded when it is first needed."""

    def __init__(self, files: dict[str, Path], columns: int):
        self.files, self.columns, self.loaded = files, columns, {}

    def __getitem__(self, fold: str):
        if fold not in self.loaded:
            self.loaded[fold] = load_model(self.files[fold], self.columns)
        return self.loaded[fold]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass
class Run:
    """A finished run."""

    prefix: Path  # saved_models/O
    record: dict  # what O_run.json says
    settings: SimpleNamespace  # of the run, by the names of the trainer's constants
    layout: object  # of its windows, a `lcre_classifier.WindowLayout`
    folds: list[str]  # their names, in the order of training
    models: Models  # fold -> keras.Model, computing in float32

    def roles(self, fold: str):
        """Return each gene's role in a fold, a pandas series gene_id -> train, validation, test or unused."""
        path = records.fold_folder(self.prefix, fold) / "genes.csv"
        return read_columns(path, ["gene_id", "role"]).set_index("gene_id")["role"]

    @property
    def way(self) -> str:
        """What the folds hold out: chromosome, family or species."""
        return way_of(self.record["settings"])

    @property
    def species(self) -> list[str]:
        """The species of a run that holds out species; none of another run."""
        inputs = self.record["inputs"] if self.way == "species" else {}
        return list(dict.fromkeys(name.partition(" ")[0] for name in inputs if " " in name))

    def without_species(self, names):
        """Return names of genes or chromosomes, a pandas series of str, as their annotation has them.

        In the files of a run that holds out species, the species stands in front of them.
        """
        return names.str.replace("^[^:]*:", "", regex=True) if self.way == "species" else names

    def held_out_by(self, group: str) -> list[str]:
        """Return the folds that held out a chromosome (by the annotation's name), a fold of families, or a species.

        A fold IV+VII held out both.
        """
        held_out = records.held_out_groups(self.record)
        return [fold for fold in self.folds if group == fold or group in held_out[fold]]

    def find_held_out(self, genes, species: str = "") -> np.ndarray:
        """Tell which folds held out which gene, booleans, (genes, folds).

        Args:
            genes: a frame with gene_id and chromosome, by the annotation's names.
            species: the one of the run that the genes are of, where it holds out species.

        Raises:
            InputError: a fold's predictions, which say what families it held out, are missing or damaged.
        """
        if self.way == "family":
            return np.column_stack([genes["gene_id"].isin(read_held_out(self.prefix, fold)) for fold in self.folds])
        groups = genes["chromosome"].tolist() if self.way == "chromosome" else [species] * len(genes)
        folds = {group: np.isin(self.folds, self.held_out_by(group)) for group in set(groups)}
        return np.array([folds[group] for group in groups], bool).reshape(len(genes), len(self.folds))

    def find_own(self, fasta: Path, gtf: Path) -> str | None:
        """Return which genome of the run these files are, byte for byte; None where they are none of it.

        Returns:
            The name of a species where the run holds out species, otherwise "".

        Raises:
            InputError: the run's record does not say which files its genomes were.
        """
        known, files = self.record["inputs"], {"FASTA": Path(fasta), "GTF": Path(gtf)}
        genomes = {genome: f"{genome} " for genome in self.species} or {"": ""}  # -> what the record puts in front
        unknown = [f"{front}{name}" for front in genomes.values() for name in files if f"{front}{name}" not in known]
        if unknown:
            raise InputError(
                f"models: {self.prefix}_run.json does not say which {' and '.join(unknown)} the run was trained on, so "
                "it is not known which folds did not train on a gene; restore it from a copy, or take --all-folds"
            )
        sizes = {name: path.stat().st_size for name, path in files.items()}
        for genome, front in genomes.items():
            recorded = {name: known[f"{front}{name}"] for name in files}
            if all(sizes[name] == recorded[name]["bytes"] for name in files) and all(
                hash_file(path) == recorded[name]["sha256"] for name, path in files.items()
            ):
                return genome
        return None


# ------------------------------------------------------------------------------------------------ tables
TRAIN_AGAIN = "start the run's command again"
MOST_ROWS = 2_000_000  # of a table: no annotation has as many genes, no window as many columns
FORMAT_LIMITS = {"count": (0, 1e12), "score": (0, 1), "seconds": (0, 1e12)}
LIMITS = {  # of what stands in a column: least, largest
    **LOG_COLUMNS,
    **{column.name: FORMAT_LIMITS[column.format] for column in RESULT_COLUMNS if column.format in FORMAT_LIMITS},
    "probability": (0, 1),
    "target": (0, 2),
    "logMaxTPM": (-1e300, 1e300),
    "position": (-1e9, 1e9),
    "mean_abs_contribution": (0, 1e9),
    **dict.fromkeys(("difference", "difference_low", "difference_high"), (-2, 2)),
    **dict.fromkeys(("genes", "low", "high"), (0, 1e12)),
    "p": (0, 1),
}


def read_columns(path: Path, columns: Iterable[str], numbers: Sequence[str] = (), again: str = TRAIN_AGAIN):
    """Read a CSV that a script wrote, as text, and turn `numbers` into floats.

    Names stay text: a chromosome may be called 1, a gene NA. Other columns may be there.

    Args:
        path: the file.
        columns: those that must be there, besides `numbers`.
        numbers: columns of numbers; empty cells, nan and inf become NaN.
        again: what writes the file again, in words.

    Raises:
        InputError: the file is missing, empty, no CSV or of too many rows, lacks a column, or a cell of `numbers`
            holds text, or a number beyond those that the column can have.
    """
    import pandas as pd

    if not os.path.lexists(path):
        raise InputError(f"{path} is missing: {again}, it writes what is not there")
    try:
        if not path.is_file():
            raise ValueError("it is not a file")
        if count_columns(path) > MOST_NAMED:
            raise ValueError(f"its line of names has {count_columns(path):,}")
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", nrows=MOST_ROWS + 1)
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("its rows have more cells than its line of names")
        if len(frame) > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows")
    except (ValueError, OSError) as error:
        reason = show_value(str(error).strip() or type(error).__name__, 200)
        raise InputError(f"{path} cannot be read as CSV ({reason}): {again}") from None
    missing = [name for name in [*columns, *numbers] if name not in frame]
    if missing:
        has = ", ".join(map(show_value, frame.columns[:15]))
        raise InputError(f"{path} has no column {', '.join(missing)} (it has {has}): {again}")
    frame = frame.fillna("").apply(unescape_cells)  # cells that a row cut short lacks are nan
    for name in numbers:
        frame[name] = parse_numbers(path, frame[name], again)
    return frame


def read_held_out(prefix: Path, fold: str) -> list[str]:
    """Return the ids of the genes that a fold of the run `prefix` held out; raises InputError as `read_columns`."""
    return read_columns(records.fold_folder(prefix, fold) / "predictions.csv", ["gene_id"])["gene_id"].tolist()


def parse_numbers(path: Path, cells, again: str):
    """Return a column of text, a pandas series, as floats; raises InputError where a cell is out of place."""
    import pandas as pd

    values = pd.to_numeric(cells, errors="coerce").astype(float)
    least, most = LIMITS[cells.name]
    belongs = "a number"
    wrong = cells[values.isna() & ~cells.str.strip().str.lower().isin(["", "nan"])]
    values = values.where(values.abs() < float("inf"))
    if not len(wrong):
        belongs = f"a number from {least:g} to {most:g}"
        wrong = cells[(values < least) | (values > most)]
    if len(wrong):
        shown = examples(map(show_value, wrong[:3]))
        raise InputError(f"{path}: column {cells.name} holds {shown} where {belongs} belongs: {again}")
    return values


# ------------------------------------------------------------------------------------------------- a run
def load_run(prefix: Path, layout_of: Callable) -> Run:
    """Open the run whose files begin with `prefix` (saved_models/O); its networks are loaded when they are needed.

    Args:
        prefix: saved_models/O.
        layout_of: returns the layout of windows that settings say, `lcre_classifier.WindowLayout.of`.

    Raises:
        InputError: no such run, one that is not finished, a record that is damaged, a model file that is missing, of
            another run, or not a plain Keras network.
    """
    prefix = Path(prefix)
    record_file = Path(f"{prefix}_run.json")
    if not record_file.exists():
        raise InputError(f"models: no run {prefix}: {record_file} is not there; {suggest_runs(prefix)}")
    record = records.read_run(record_file)
    if not record.get("finished"):
        raise InputError(
            f"models: the run {prefix} is not finished; the command that trains it goes on where it stopped"
        )
    settings = SimpleNamespace(**record["settings"])
    unknown = [name for name in ("UPSTREAM", "DOWNSTREAM", "PADDING") if not hasattr(settings, name)]
    if unknown:
        raise InputError(
            f"models: {record_file} does not say the window sizes of the run: settings has no {', '.join(unknown)}; "
            "restore it from a copy, or train the run again"
        )
    files = {fold: records.fold_folder(prefix, fold) / "best_model.keras" for fold in record["folds"]}
    missing = [fold for fold, path in files.items() if not os.path.isfile(path)]  # a name too long is no file either
    if missing:
        shown = examples(map(show_value, missing))
        raise InputError(f"models: {len(missing)} folds of {prefix} have no best_model.keras: {shown}")
    parts = {fold: inspect_model(path) for fold, path in files.items()}
    refuse_mixed(prefix, record, files, {fold: layers for fold, (layers, _) in parts.items()})
    layout = layout_of(settings)
    refuse_other_windows(record_file, files, {fold: shape for fold, (_, shape) in parts.items()}, layout)
    return Run(prefix, record, settings, layout, list(files), Models(files, layout.columns))


def suggest_runs(prefix: Path) -> str:
    """Return what to give instead of a prefix that is no run."""
    folder = prefix if prefix.is_dir() else prefix.parent
    runs = sorted(str(path).removesuffix("_run.json") for path in folder.glob("*_run.json"))
    return f"there are {examples(runs, 6)}" if runs else f"{folder} holds no run; lcre_classifier.py trains one"


def refuse_mixed(prefix: Path, record: dict, files: dict[str, Path], layers: dict[str, list[str]]) -> None:
    """Raise InputError where a fold's model is not the one that the run wrote.

    Args:
        record: the run's; its `models` are the SHA-256 by fold (runs of 0.1.0 before they were kept have none).
        files: best_model.keras by fold.
        layers: their kinds by fold.
    """
    known = record.get("models", {})
    first = next(iter(files))
    wrong = [fold for fold, path in files.items() if fold in known and hash_file(path) != known[fold]]
    wrong = wrong or [fold for fold in files if layers[fold] != layers[first]]
    if wrong:
        raise InputError(
            f"models: models of two runs are mixed: {files[wrong[0]]} is not the one that the run {prefix} wrote "
            f"({len(wrong)} of {len(files)} folds); copy the run's folders again, or train it again"
        )


def refuse_other_windows(record_file: Path, files: dict[str, Path], shapes: dict[str, list], layout) -> None:
    """Raise InputError where a model's input does not have the columns that the run's record says.

    Args:
        record_file: O_run.json.
        files: best_model.keras by fold.
        shapes: of their inputs by fold, [None, columns, 4]; empty where the file does not say it.
        layout: of the run's windows.
    """
    for fold, path in files.items():
        if shapes[fold] and shapes[fold] != [None, layout.columns, 4]:
            sizes = f"UPSTREAM {layout.upstream}, DOWNSTREAM {layout.downstream} and PADDING {layout.padding}"
            raise InputError(
                f"models: {path} takes {records.show_json(shapes[fold])}; this run's windows are (None, "
                f"{layout.columns}, 4) by {sizes} in {record_file}: the model is of another run, or the record was "
                "edited; restore it from a copy"
            )


# ------------------------------------------------------------------------------------------- model files
UNREADABLE = (  # what reading a file raises that is no archive, a damaged one, or one of something else
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError),
)


def inspect_model(path: Path) -> tuple[list[str], list]:
    """Look through a .keras file without Keras and return the kinds of its layers and the shape of its input.

    Raises:
        InputError: not a .keras file, or one that would run code that is not Keras' own.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > 1 << 24:
                raise ValueError
            config = json.loads(archive.read("config.json"))
            archive.getinfo("model.weights.h5")
        waiting = [{name: part for name, part in config.items() if name != "compile_config"}]  # that is not loaded
        layers = config["config"]["layers"]
        kinds = [layer["class_name"] for layer in layers]
        shape = layers[0]["config"].get("batch_shape") or []
    except UNREADABLE:
        raise InputError(f"models: {path} is not a Keras model as lcre_classifier.py saves it (.keras)") from None
    except OSError as error:  # of a damaged archive too: an offset before its beginning
        raise InputError(f"models: {path} cannot be read as a .keras file ({error.strerror}); copy it again") from None
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if "class_name" in node and not is_plain(node):
                named = ".".join(str(node[key]) for key in ("module", "class_name") if node.get(key))
                raise InputError(
                    f"models: {path} holds {named[:80]!r}, which could run code of its own; nothing was run. Models "
                    "that lcre_classifier.py trains hold only Keras' own layers"
                )
    return kinds, shape


def is_plain(node: dict) -> bool:
    """Tell whether an object of a model's config is Keras' own and calls no other code."""
    name, module = node["class_name"], node.get("module")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if module is None:
        return name in PLAIN_VALUES
    if name in RUNS_CODE or node.get("registered_name") not in (None, name):
        return False
    return module in PLAIN_PACKAGES or name in MODEL_CLASSES.get(module, ())


def load_model(path: Path, columns: int):
    """Load a network in Keras' safe mode, computing in float32, whatever it was trained in.

    In half precision the same window would get slightly different numbers in another batch.

    Raises:
        InputError: it cannot be loaded, or does not take windows of `columns` columns.
    """
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        shapes = model.input_shape, model.output_shape
    except Exception as error:  # whatever Keras and HDF5 make of a damaged or foreign file
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"models: {path} cannot be loaded ({reason}); train the run again") from None
    if shapes != ((None, columns, 4), (None, 1)):
        raise InputError(
            f"models: {path} takes {shapes[0]} and gives {shapes[1]}; this run's windows are (None, {columns}, 4) and "
            "its outputs (None, 1): the model is of another run"
        )
    if any(layer.compute_dtype != "float32" for layer in model.layers):
        weights = model.get_weights()
        model = type(model).from_config(in_float32(model.get_config()))
        model.set_weights(weights)
    speed_up(model, training=False)
    return model


def without_sigmoid(model):
    """Return the network up to the log-odds of being high, of which its output is the sigmoid.

    Near 0 and 1 a probability in float32 has few digits left; the log-odds keep theirs.
    """
    import keras

    head = model.layers[-1]
    dense = isinstance(head, keras.layers.Dense) and head.units == 1
    if not dense or head.activation is not keras.activations.sigmoid:
        raise InputError(
            f"models: the last layer {head.name!r} of a model is no Dense layer with a sigmoid; train it again"
        )
    linear = keras.layers.Dense(1, use_bias=head.use_bias, dtype="float32", name="log_odds")
    log_odds = keras.Model(model.inputs[0], linear(head.input))
    linear.set_weights(head.get_weights())
    return log_odds


def in_float32(config):
    """Return a model's config with every layer's precision replaced by float32."""
    if isinstance(config, dict):
        return {key: "float32" if key == "dtype" else in_float32(value) for key, value in config.items()}
    return [in_float32(value) for value in config] if isinstance(config, list) else config


def make_predictor(model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from base codes, uint8, (n, columns), to probabilities of being high, float64, (n,)."""
    import tensorflow as tf

    columns = model.input_shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, columns), tf.uint8)])
    def forward(codes):
        return model(tf.one_hot(codes, 4), training=False)[:, 0]

    def predict(codes: np.ndarray) -> np.ndarray:
        parts = [forward(codes[at : at + BATCH]).numpy() for at in range(0, len(codes), BATCH)]
        return np.concatenate([np.zeros(0), *parts])

    return predict
