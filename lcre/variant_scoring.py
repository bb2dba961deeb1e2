"""Scores windows with variants in them, computing again only what the variants can change.

Convolutions and poolings read a few columns at a time, so a substitution changes a few columns of their outputs. These
are computed from a short slice of the window and replace those of the gene's own window; from the first layer that
mixes all columns on (an LSTM, a Flatten), the network runs as ever. Of a mean over columns only the difference is
computed: k-mer counts change by the k-mers at the variant.

What can change follows from the network's layers, so it works for every network of the layers that are known here.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from lcre.speed import has_defaults, run_block, speed_up
from lcre.trained import make_predictor

WIDTH = 6  # bp: variants that change no more are scored by slices; in the default network 6 cost no more than 1
WINDOWS = 16  # scored whole at once: as fast as more, in less memory
GENES = 64  # whose variants are scored together
VARIANTS = 128  # scored by slices at once
LARGEST = 0.5  # of a window: where a slice would need more of it, the whole window is taken

POINTWISE = {  # layers that compute each column by itself
    *("Activation", "BatchNormalization", "LayerNormalization", "LeakyReLU", "ReLU", "Rescaling"),
    *("Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D"),
}
MERGING = {"Add", "Concatenate"}
SLIDING = {"AveragePooling1D", "Conv1D", "Cropping1D", "MaxPooling1D"}
PADDED = {"Conv1D", "MaxPooling1D"}  # what they read over the ends counts as nothing
OTHERS = {  # layers that take whole windows
    *("Average", "Bidirectional", "Dense", "Dot", "Flatten", "GRU", "LSTM", "Maximum", "Multiply", "Reshape"),
    *("GlobalAveragePooling1D", "GlobalMaxPooling1D"),
}


# ------------------------------------------------------------------------------------- what a network computes
@dataclass
class Step:
    """A layer of a network, what it takes and what it gives."""

    layer: object
    inputs: list[int]  # numbers of the steps that it takes the outputs of; none: it is the network's input
    listed: bool  # it takes them as a list
    shape: tuple  # of its output: (None, columns, channels) of a sequence

    def run(self, inputs: list):
        """Return the layer's output for its inputs."""
        return self.layer(inputs if self.listed else inputs[0], training=False)


def read_steps(model) -> list[Step] | None:
    """Return the layers of a network in the order of their computation, the input first.

    Args:
        model: a functional keras.Model.

    Returns:
        None where it holds a layer that is not known here, or one that is called in another way than usual.
    """
    import keras

    known = {getattr(keras.layers, name): name for name in POINTWISE | MERGING | SLIDING | OTHERS}
    steps, number_of = [], {}
    for config in model.get_config()["layers"]:
        layer, calls = model.get_layer(config["name"]), config["inbound_nodes"]
        if not steps and type(layer) is keras.layers.InputLayer:
            steps.append(Step(layer, [], False, model.input_shape))
        else:
            taken = read_call(calls[0]) if len(calls) == 1 else None
            if type(layer) not in known or getattr(layer, "stateful", False) or layer.compute_dtype != "float32":
                return None
            if taken is None or not set(taken) <= number_of.keys():
                return None
            inputs, listed = [number_of[name] for name in taken], isinstance(calls[0]["args"][0], list)
            shapes = [steps[number].shape for number in inputs]
            steps.append(Step(layer, inputs, listed, layer.compute_output_shape(shapes if listed else shapes[0])))
        number_of[config["name"]] = len(steps) - 1
    return steps


def read_call(call: dict) -> list[str] | None:
    """Return the names of the layers whose outputs a layer takes; None where it takes more than these.

    Args:
        call: an entry of `inbound_nodes` of a layer in the config of a functional model.
    """
    plain = all(name in ("mask", "training") and not value for name, value in call["kwargs"].items())
    if len(call["args"]) != 1 or not plain:
        return None
    taken = call["args"][0] if isinstance(call["args"][0], list) else call["args"]
    if not all(isinstance(one, dict) and one.get("class_name") == "__keras_tensor__" for one in taken):
        return None
    return [one["config"]["keras_history"][0] for one in taken]


# ----------------------------------------------------------------------------------------- what a variant can change
@dataclass(frozen=True)
class Field:
    """What columns a layer reads: for column `at` those from at * stride - before on, `size` of them."""

    size: int = 1
    stride: int = 1
    before: int = 0

    def reads(self, columns: "Columns") -> "Columns":
        """Return what is read for columns; it may reach over the ends."""
        width = (columns.width - 1) * self.stride + self.size
        return Columns(columns.begin * self.stride - self.before, width)

    def changes(self, columns: "Columns", length: int) -> "Columns":
        """Return the columns, of `length`, for which any of the changed `columns` is read."""
        first = -((self.size - 1 - columns.begin - self.before) // self.stride)
        width = (columns.width + self.size - 2) // self.stride + 1
        return Columns(first, width).inside(length)


@dataclass(frozen=True)
class Columns:
    """A piece of a sequence for every place at which a variant may begin, all of the same width."""

    begin: np.ndarray  # first column, int32, (places,)
    width: int

    @property
    def at(self) -> np.ndarray:
        """The columns, int32, (places, width)."""
        return self.begin[:, None] + np.arange(self.width, dtype=np.int32)

    def inside(self, length: int) -> "Columns":
        """Return a piece inside [0, length) that holds what of this one lies there."""
        width = min(self.width, length)
        return Columns(np.clip(self.begin, 0, length - width), width)

    def is_inside(self, length: int) -> bool:
        """Tell whether it lies inside [0, length) for every place."""
        return bool(self.begin.min() >= 0 and self.begin.max() + self.width <= length)


def find_field(layer, columns: int) -> Field | None:
    """Return what columns of a sequence of `columns` a known layer reads; None where it reads all of them."""
    name = type(layer).__name__
    if name in MERGING:
        return Field() if name == "Add" or layer.axis in (-1, 2) else None
    if name in POINTWISE:
        axes = np.atleast_1d(getattr(layer, "axis", -1)).tolist()
        return Field() if axes in ([-1], [2]) else None
    if name == "Cropping1D":
        return Field(before=-layer.cropping[0])
    if name not in SLIDING or layer.data_format != "channels_last":
        return None
    if name == "Conv1D":
        size, stride = (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1, layer.strides[0]
    else:
        size, stride = layer.pool_size[0], layer.strides[0]
    if name == "AveragePooling1D" and size != stride:
        return None
    around = max((-(-columns // stride) - 1) * stride + size - columns, 0)
    before = {"valid": 0, "same": around // 2, "causal": size - 1}.get(layer.padding)
    return None if before is None else Field(size, stride, before)


def find_lstms(layer) -> list:
    """Return the LSTM of a layer that gives whole sequences, or both of a bidirectional one; none of another layer.

    On a graphics card Keras' own LSTM is faster than the part of it that is saved.
    """
    import keras
    import tensorflow as tf

    both = type(layer) is keras.layers.Bidirectional
    lstms = [layer.forward_layer, layer.backward_layer] if both else [layer]
    plain = all(type(one) is keras.layers.LSTM and has_defaults(one) and one.return_sequences for one in lstms)
    usual = plain and not lstms[0].go_backwards and (not both or layer.merge_mode == "concat")
    return lstms if usual and not tf.config.list_physical_devices("GPU") else []


class Plan:
    """Which outputs of a network's layers a variant changes in a few columns only, and in which.

    Attributes:
        steps: the layers.
        fields: by number of a step that is computed in slices; not of others.
        changed: the columns of the outputs of these steps, and of the input, that can differ.
        spliced: steps computed in slices whose outputs are taken whole by a later one.
        means: averages computed in slices by what the changed columns add to them.
        kept: steps whose outputs for windows without variants are needed: spliced ones and means.
        recurrent: the LSTMs of steps that begin at the first column that can differ, see `find_lstms`.
    """

    def __init__(self, steps: list[Step]):
        columns = steps[0].shape[1]
        self.steps, self.fields = steps, {}
        self.changed = {0: Columns(np.arange(max(columns - WIDTH + 1, 1), dtype=np.int32), WIDTH).inside(columns)}
        for number, step in enumerate(steps):
            if not step.inputs or not set(step.inputs) <= self.changed.keys() or len(step.shape) != 3:
                continue
            field = find_field(step.layer, steps[step.inputs[0]].shape[1])
            if field is None:
                continue
            before = [self.changed[other] for other in step.inputs]
            begin = np.minimum.reduce([one.begin for one in before])
            end = np.maximum.reduce([one.begin + one.width for one in before])
            changed = field.changes(Columns(begin, int((end - begin).max())), step.shape[1])
            self.fields[number], self.changed[number] = field, changed
            if self.count_read(number, changed) > LARGEST * columns:
                del self.fields[number], self.changed[number]
        taken = {other for number, step in enumerate(steps) if number not in self.fields for other in step.inputs}
        self.spliced = sorted(taken & self.fields.keys())
        self.means = [number for number in self.fields if self.is_mean(number)]
        self.kept = sorted({*self.spliced, *self.means})
        self.recurrent = {
            number: lstms
            for number, step in enumerate(steps)
            if step.inputs and step.inputs[0] in self.spliced and (lstms := find_lstms(step.layer))
        }

    def is_mean(self, number: int) -> bool:
        """Tell whether a step averages over columns."""
        return type(self.steps[number].layer).__name__ == "AveragePooling1D"

    def count_read(self, number: int, columns: Columns) -> int:
        """Return how many columns of the window are read for columns of a step's output."""
        if number == 0:
            return columns.width
        step, mean = self.steps[number], self.is_mean(number)
        reads = [self.changed[other] if mean else self.fields[number].reads(columns) for other in step.inputs]
        return max(self.count_read(other, one) for other, one in zip(step.inputs, reads, strict=True))


# ------------------------------------------------------------------------------------------- computing of slices
class Slices:
    """Computes slices of the outputs of a network's layers, inside a tf.function.

    Args:
        plan: of the network.
        codes: windows with their variants, uint8, (variants, columns).
        reference: the same windows without, uint8, (variants, columns).
        place: where each variant begins, int32, (variants,).
        kept: outputs of the steps `plan.kept` for the windows without variants, each (variants, columns, channels).
    """

    def __init__(self, plan: Plan, codes, reference, place, kept: dict):
        import tensorflow as tf

        self.plan, self.kept, self.found = plan, kept, {}
        self.codes = {False: codes, True: tf.concat([codes, reference], 0)}
        self.places = {False: place, True: tf.concat([place, place], 0)}

    def look_up(self, table: np.ndarray, both: bool = False):
        """Return the rows of a table by place, (places, ...), for each variant, or for both windows."""
        import tensorflow as tf

        key = table.shape, table.dtype.str, table.tobytes(), both
        if key not in self.found:
            with tf.init_scope():  # outside of the graph, whose constants are copied many times while it is built
                constant = tf.constant(table)
            self.found[key] = tf.gather(constant, self.places[both])
        return self.found[key]

    def compute(self, number: int, columns: Columns, both: bool = False):
        """Return columns of a step's output, (variants, width, channels); what lies over the ends means nothing.

        Args:
            number: of the step.
            columns: which.
            both: for the windows with variants and behind them for those without.
        """
        key = number, columns.begin.tobytes(), columns.width, both
        if key not in self.found:
            self.found[key] = self.make(number, columns, both)
        return self.found[key]

    def make(self, number: int, columns: Columns, both: bool):
        """Compute what `compute` returns."""
        import keras
        import tensorflow as tf

        step, plan = self.plan.steps[number], self.plan
        if number == 0:
            return tf.one_hot(self.take(self.codes[both], columns, both), step.shape[2])
        if plan.is_mean(number):
            own = self.take(self.kept[number], columns)
            other = own + self.change_of_mean(number, columns)
            return tf.concat([other, own], 0) if both else other
        layer, name, field = step.layer, type(step.layer).__name__, plan.fields[number]
        reads = field.reads(columns)
        outside = -np.inf if name == "MaxPooling1D" else 0.0
        inputs = []
        for other in step.inputs:
            length, values = plan.steps[other].shape[1], self.compute(other, reads, both)
            if name in PADDED and not reads.is_inside(length):
                there = (reads.at >= 0) & (reads.at < length)
                values = tf.where(self.look_up(there[:, :, None], both), values, outside)
            inputs.append(values)
        if name == "Conv1D":
            options = {"padding": "valid", "data_format": "channels_last", "dilation_rate": layer.dilation_rate}
            outputs = keras.ops.conv(inputs[0], layer.kernel, layer.strides, **options)
            return layer.activation(outputs + layer.bias if layer.use_bias else outputs)
        if name == "MaxPooling1D":
            return keras.ops.max_pool(inputs[0], layer.pool_size, layer.strides, "valid", "channels_last")
        return inputs[0] if name == "Cropping1D" else step.run(inputs)

    def take(self, sequences, columns: Columns, both: bool = False):
        """Return columns of whole sequences, (variants, columns, ...); those over the ends hold anything."""
        import tensorflow as tf

        at = np.clip(columns.at, 0, sequences.shape[1] - 1)
        return tf.gather(sequences, self.look_up(at, both), batch_dims=1)

    def change_of_mean(self, number: int, columns: Columns):
        """Return by how much columns of an average over columns differ from those without variants."""
        import tensorflow as tf

        (other,), field = self.plan.steps[number].inputs, self.plan.fields[number]
        changed, length = self.plan.changed[other], self.plan.steps[other].shape[1]
        values, own = tf.split(self.compute(other, changed, both=True), 2)
        bins = (changed.at + field.before) // field.stride
        begin = bins * field.stride - field.before
        size = np.minimum(begin + field.size, length) - np.maximum(begin, 0)  # those at the ends may be shorter
        share = (columns.at[:, :, None] == bins[:, None]) / size[:, None].astype(np.float32)
        return tf.matmul(self.look_up(share.astype(np.float32)), values - own)

    def splice(self, number: int):
        """Return a step's whole output for the windows with variants, (variants, columns, channels)."""
        import tensorflow as tf

        columns, values = self.plan.changed[number], self.compute(number, self.plan.changed[number])
        rows = tf.repeat(tf.range(tf.shape(values)[0]), columns.width)
        at = tf.reshape(self.look_up(columns.at), [-1])
        values = tf.reshape(values, (-1, values.shape[2]))
        return tf.tensor_scatter_nd_update(self.kept[number], tf.stack([rows, at], 1), values)


# ----------------------------------------------------------------------------------------------------- scoring
class VariantScorer:
    """Scores windows, and windows with variants in them, with one network.

    Args:
        model: functional keras.Model from one-hot windows, (n, columns, 4), to log-odds, (n, 1).
    """

    def __init__(self, model):
        self.model, self.weights = model, None
        self.predict = make_predictor(model)
        steps = read_steps(model)
        plan = Plan(steps) if steps else None
        self.network = SlicedNetwork(plan) if plan and plan.spliced else None

    def load(self, weights: list[np.ndarray]) -> "VariantScorer":
        """Take other weights and return itself."""
        if self.weights is not weights:
            self.model.set_weights(weights)
            self.weights = weights
        return self

    def score_whole(self, codes: np.ndarray) -> np.ndarray:
        """Return what `predict` does, by the graph that slices need anyway."""
        if self.network is None:
            return self.predict(codes)
        parts = [self.network.run_own(codes[at : at + WINDOWS])[0] for at in range(0, len(codes), WINDOWS)]
        return np.concatenate([np.zeros(0), *parts])

    def score_variants(self, windows: np.ndarray, rows: np.ndarray, gene: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-odds of windows and of windows with variants in them, float64, (genes,) and (variants,).

        Args:
            windows: base codes, uint8, (genes, columns).
            rows: base codes of the windows with variants, uint8, (variants, columns).
            gene: which of the windows each is a change of, (variants,).
        """
        own, changed = np.full(len(windows), np.nan), np.full(len(rows), np.nan)
        first, last = find_change(windows, rows, gene)
        short = (first < last) & (last - first <= WIDTH) & (self.network is not None)
        pairs = np.flatnonzero(short)
        pairs = pairs[np.argsort(gene[pairs], kind="stable")]
        genes = np.unique(gene[pairs])
        for begin in range(0, len(genes), GENES):
            some = genes[begin : begin + GENES]
            mine = pairs[slice(*np.searchsorted(gene[pairs], [some[0], some[-1] + 1]))]
            place = np.clip(first[mine], 0, max(windows.shape[1] - WIDTH, 0))
            own[some], changed[mine] = self.network.score(
                windows[some], rows[mine], np.searchsorted(some, gene[mine]), place
            )
        left = np.flatnonzero(np.isnan(own))
        own[left] = self.score_whole(windows[left])
        changed[first == last] = own[gene[first == last]]
        left = np.flatnonzero(np.isnan(changed))
        changed[left] = self.score_whole(rows[left])
        return own, changed


def share_graphs(models: Iterable) -> list[Callable[[], VariantScorer]]:
    """Return for each network the function that returns its scorer, to be used until another one is asked for.

    Networks of the same layers share one graph, which takes seconds to build: it gets their weights in turn.

    Args:
        models: as `VariantScorer` takes one; they stay as they are.
    """
    import keras

    scorers, functions = {}, []
    for model in models:
        config = model.get_config()
        numbers = {layer["name"]: number for number, layer in enumerate(config["layers"])}
        layers = json.dumps(without_names(config["layers"], numbers), sort_keys=True, default=str)
        if layers not in scorers:
            network = keras.models.clone_model(model)
            speed_up(network, training=False)
            scorers[layers] = VariantScorer(network)
        functions.append(partial(scorers[layers].load, model.get_weights()))
    return functions


def without_names(config, numbers: dict[str, int]):
    """Return a part of a model's config with the numbers of its layers instead of their names."""
    if isinstance(config, dict):
        return {key: without_names(value, numbers) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [without_names(value, numbers) for value in config]
    return numbers.get(config, config) if isinstance(config, str) else config


def find_change(windows: np.ndarray, rows: np.ndarray, gene: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first column that each row changes in its window and the one behind the last, 0 and 0 of none.

    Args:
        windows, rows, gene: as `VariantScorer.score_variants` takes them.
    """
    first, last = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    for begin in range(0, len(rows), VARIANTS):
        some = slice(begin, begin + VARIANTS)
        differs = rows[some] != windows[gene[some]]
        found = differs.any(axis=1)
        first[some] = np.where(found, differs.argmax(axis=1), 0)
        last[some] = np.where(found, rows.shape[1] - differs[:, ::-1].argmax(axis=1), 0)
    return first, last


def run_whole(lstms: list, sequences):
    """Return outputs and cell states of the LSTMs of `find_lstms`, side by side, both (n, columns, units of all)."""
    import tensorflow as tf

    columns, found = tf.transpose(sequences, (1, 0, 2)), []
    for lstm in lstms:
        begin = tf.zeros((tf.shape(sequences)[0], lstm.units))
        order = -1 if lstm.go_backwards else 1
        found.append([part[::order] for part in run_block(lstm, columns[::order], [begin, begin])])
    return [tf.transpose(tf.concat(parts, 2), (1, 0, 2)) for parts in zip(*found, strict=True)]


def run_changed(lstms: list, sequences, first, behind, own, cells, gene):
    """Return the outputs of the LSTMs of `find_lstms` for sequences that differ from others in some columns.

    Args:
        lstms: as `run_whole` takes them.
        sequences: of the variants, (variants, columns, channels).
        first, behind: the columns that differ in any of them, [first, behind).
        own, cells: what `run_whole` returns for the genes' own sequences, (genes, columns, units of all).
        gene: of each variant, (variants,).
    """
    import tensorflow as tf

    columns, length = tf.transpose(sequences, (1, 0, 2)), sequences.shape[1]
    ends, found = [(0, 0), (1, 1), (0, 0)], []  # before the first column and behind the last the states are zero
    sizes = [lstm.units for lstm in lstms]
    parts = zip(lstms, tf.split(own, sizes, axis=2), tf.split(cells, sizes, axis=2), strict=True)
    for lstm, outputs, states in parts:
        before = behind + 1 if lstm.go_backwards else first  # where the state stands, with the zeros around
        begin = [tf.gather(tf.pad(one, ends)[:, before], gene) for one in (outputs, states)]
        same = tf.transpose(tf.gather(outputs, gene), (1, 0, 2))
        if lstm.go_backwards:
            found.append(tf.concat([run_block(lstm, columns[:behind][::-1], begin)[0][::-1], same[behind:]], 0))
        else:
            found.append(tf.concat([same[:first], run_block(lstm, columns[first:], begin)[0]], 0))
    return tf.ensure_shape(tf.transpose(tf.concat(found, 2), (1, 0, 2)), (None, length, sum(sizes)))


class SlicedNetwork:
    """Scores windows whole, and short changes of them by slices.

    Attributes:
        run_own: from windows, base codes, uint8, (genes, columns), to their log-odds, (genes,), the outputs of
            `plan.kept`, and of `plan.recurrent` what `run_whole` returns.
        run_changed: from windows; the windows with variants, uint8, (variants, columns); which window each is a change
            of and where it begins, both int32, (variants,); and the outputs and states of `run_own`; to the log-odds of
            the windows with variants, (variants,).
    """

    def __init__(self, plan: Plan):
        import tensorflow as tf

        steps = plan.steps
        codes, numbers = tf.TensorSpec((None, steps[0].shape[1]), tf.uint8), tf.TensorSpec((None,), tf.int32)
        outputs = [tf.TensorSpec(steps[number].shape) for number in plan.kept]
        states = [(tf.TensorSpec(steps[number].shape), tf.TensorSpec(steps[number].shape)) for number in plan.recurrent]
        self.plan = plan
        self.run_own = tf.function(self.compute_own, [codes])
        self.run_changed = tf.function(self.compute_changed, [codes, codes, numbers, numbers, outputs, states])

    def compute_own(self, windows):
        """Compute what `run_own` returns."""
        import tensorflow as tf

        plan, states = self.plan, []
        values = {0: tf.one_hot(windows, plan.steps[0].shape[2])}
        for number, step in enumerate(plan.steps[1:], 1):
            inputs = [values[other] for other in step.inputs]
            if number in plan.recurrent:
                values[number], cells = run_whole(plan.recurrent[number], inputs[0])
                states.append((values[number], cells))
            else:
                values[number] = step.run(inputs)
        return values[len(values) - 1][:, 0], [values[number] for number in plan.kept], states

    def compute_changed(self, windows, rows, gene, place, outputs, states):
        """Compute what `run_changed` returns."""
        import tensorflow as tf

        plan = self.plan
        kept = {number: tf.gather(output, gene) for number, output in zip(plan.kept, outputs, strict=True)}
        slices = Slices(plan, rows, tf.gather(windows, gene), place, kept)
        values = {number: slices.splice(number) for number in plan.spliced}
        values[0] = tf.one_hot(rows, plan.steps[0].shape[2])
        states = dict(zip(plan.recurrent, states, strict=True))
        for number, step in enumerate(plan.steps):
            if number in values or number in plan.fields:
                continue
            inputs = [values[other] for other in step.inputs]
            if number in plan.recurrent:
                changed = plan.changed[step.inputs[0]]
                begin = slices.look_up(changed.begin)
                reach = tf.reduce_min(begin), tf.reduce_max(begin) + changed.width
                values[number] = run_changed(plan.recurrent[number], inputs[0], *reach, *states[number], gene)
            else:
                values[number] = step.run(inputs)
        return values[len(plan.steps) - 1][:, 0]

    def score(
        self, windows: np.ndarray, rows: np.ndarray, gene: np.ndarray, place: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-odds of windows and of short changes of them, see `run_changed`, (genes,) and (variants,)."""
        import tensorflow as tf

        parts = [self.run_own(windows[at : at + WINDOWS]) for at in range(0, len(windows), WINDOWS)]
        own, outputs, states = tf.nest.map_structure(lambda *some: tf.concat(some, 0), *parts)
        changed, order = np.empty(len(rows)), np.argsort(place, kind="stable")  # LSTMs begin where the first differs
        for begin in range(0, len(rows), VARIANTS):
            some = order[begin : begin + VARIANTS]
            numbers = gene[some].astype(np.int32), place[some].astype(np.int32)
            changed[some] = self.run_changed(windows, rows[some], *numbers, outputs, states).numpy()
        return own.numpy(), changed
