"""Opens a finished run: its settings, its folds' networks and each gene's role in them.

A model file is a program as well as numbers, so it is looked through before Keras sees it, and Keras loads it in
its safe mode.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from lcre import InputError, examples, records
from lcre.networks import fuse_lstms

MODEL_CLASSES = {
    "keras": {"Sequential", "Functional", "Model", "DTypePolicy", "FloatDTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.models.sequential": {"Sequential"},
}
PLAIN_PACKAGES = {"keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints"}
PLAIN_VALUES = {"__tuple__", "__keras_tensor__"}  # how Keras writes what JSON has no word for
RUNS_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}  # Keras' layers around other code


class Models(Mapping):
    """The networks of a run by fold, each loaded when it is first asked for."""

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
    folds: list[str]  # their names, in the order of training
    models: Models  # fold -> keras.Model, computing in float32

    @property
    def columns(self) -> int:
        """Columns of a window: promoter, padding, terminator."""
        return count_columns(self.settings)

    def roles(self, fold: str):
        """Return each gene's role in a fold, a pandas series gene_id -> train, validation, test or unused."""
        import pandas as pd

        path = records.fold_folder(self.prefix, fold) / "genes.csv"
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            return table.set_index("gene_id")["role"]
        except (KeyError, ValueError, OSError):
            raise InputError(f"models: {path} is not a table of gene_id and role; train the run again") from None

    def held_out_by(self, chromosome: str) -> list[str]:
        """Return the folds that held a chromosome out (a fold IV+VII held out both), by the annotation's name."""
        held_out = records.held_out_chromosomes(self.record)
        return [fold for fold in self.folds if chromosome in held_out[fold]]

    def is_own(self, fasta: Path, gtf: Path) -> bool:
        """Tell whether genome and annotation are, byte for byte, the files that the run was trained on."""
        for name, path in (("FASTA", fasta), ("GTF", gtf)):
            known = self.record["inputs"].get(name, {})
            if known.get("bytes") != Path(path).stat().st_size or known.get("sha256") != records.hash_file(path):
                return False
        return True


def count_columns(settings: SimpleNamespace) -> int:
    """Return the columns of a window: promoter, padding, terminator."""
    return 2 * (settings.UPSTREAM + settings.DOWNSTREAM) + settings.PADDING


def load_run(prefix: Path) -> Run:
    """Open the run whose files begin with `prefix` (saved_models/O); its networks are loaded when asked for.

    Raises:
        InputError: no such run, one that is not finished, a model file that is missing, of another run, or not a
            plain Keras network.
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
    sizes = [getattr(settings, name, None) for name in ("UPSTREAM", "DOWNSTREAM", "PADDING")]
    if not all(type(size) is int and size >= 0 for size in sizes) or not record["folds"]:
        raise InputError(f"models: {record_file} does not say the window sizes and folds of a run; train it again")
    files = {fold: records.fold_folder(prefix, fold) / "best_model.keras" for fold in record["folds"]}
    missing = [fold for fold, path in files.items() if not path.exists()]
    if missing:
        raise InputError(f"models: {len(missing)} folds of {prefix} have no best_model.keras: {examples(missing)}")
    layers = {fold: inspect_model(path) for fold, path in files.items()}
    refuse_mixed(prefix, record, files, layers)
    return Run(prefix, record, settings, list(files), Models(files, count_columns(settings)))


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
    wrong = [fold for fold, path in files.items() if fold in known and records.hash_file(path) != known[fold]]
    wrong = wrong or [fold for fold in files if layers[fold] != layers[first]]
    if wrong:
        raise InputError(
            f"models: models of two runs are mixed: {files[wrong[0]]} is not the one that the run {prefix} wrote "
            f"({len(wrong)} of {len(files)} folds); copy the run's folders again, or train it again"
        )


# ------------------------------------------------------------------------------------------- model files
def inspect_model(path: Path) -> list[str]:
    """Look through a .keras file without Keras and return the kinds of its layers.

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
        layers = [layer["class_name"] for layer in config["config"]["layers"]]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, RecursionError, NotImplementedError):
        raise InputError(f"models: {path} is not a Keras model as lcre_classifier.py saves it (.keras)") from None
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
    return layers


def is_plain(node: dict) -> bool:
    """Tell whether an object of a model's config is Keras' own and calls no other code."""
    name, module = node["class_name"], node.get("module")
    if module is None:
        return name in PLAIN_VALUES
    if not isinstance(name, str) or name in RUNS_CODE or node.get("registered_name") not in (None, name):
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
            "its answers (None, 1): the model is of another run"
        )
    if any(layer.compute_dtype != "float32" for layer in model.layers):
        weights = model.get_weights()
        model = type(model).from_config(in_float32(model.get_config()))
        model.set_weights(weights)
    fuse_lstms(model)
    return model


def without_sigmoid(model):
    """Return the network up to the log-odds of being high, of which its answer is the sigmoid.

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
