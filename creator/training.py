"""Trains CREaTor's network on a store: cells and chromosomes are held out, and nothing of them is looked at.

A batch is a region (`creator.batches`) in one cell, or in several. Its cCREs are encoded once a cell and attend to
each other within the store's reach, and each of its genes reads those in its own reach. The loss is the mean squared
error of log1p(TPM). The epoch is chosen by the loss on validation chromosomes in training cells.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core import PATH_LENGTH, InputError, show_value
from core.checkpoints import Checkpoints
from core.files import hash_text, make_folder, read_json, write_json
from core.locks import claim
from core.memory import require_memory
from core.names import CHROMOSOME_BRIDGES, bridge_names
from creator import GENE_WINDOW, __version__
from creator.batches import Batch, Region, encoding_ratio, make_regions, read_batch, window_layouts
from creator.parallel import SharedProgress, Workers, make_step, read_cluster
from creator.settings import NETWORK, SETTINGS
from creator.store import Store, open_store

RECORD = "train.json"  # in the folder of a training
COLUMNS = {  # of performance_log.csv -> least and largest number
    "epoch": (0, 1e9),
    "loss": (0, math.inf),
    "val_loss": (0, math.inf),
    "val_pearson": (-1, 1),
    "val_change_pearson": (-1, 1),
    "learning_rate": (0, math.inf),
    "seconds": (0, math.inf),
}
VALIDATION_PART = 0.1  # of the training genes, about: the chromosome nearest to it is the default


@dataclass(frozen=True)
class Splits:
    """Names of the cells and chromosomes that a training learns from, chooses its epoch on, and never looks at."""

    training_cells: list[str]
    hold_out_cells: list[str]
    training_chromosomes: list[str]
    validation_chromosomes: list[str]
    hold_out_chromosomes: list[str]


# ------------------------------------------------------------------------------------------------ the command
def train(
    store_path: Path,
    out: Path,
    hold_out_cells: Sequence[str],
    hold_out_chromosomes: Sequence[str],
    validation_chromosomes: Sequence[str] | None,
    values: dict[str, int | float],
) -> None:
    """Train a network, or go on with its training, and write model, log and record into `out`.

    Args:
        store_path: of `prepare`.
        out: folder, made if need be.
        hold_out_cells, hold_out_chromosomes: names; may be none.
        validation_chromosomes: names; None: one of the training chromosomes.
        values: name -> value of `SETTINGS`; defaults for those that are absent.

    Raises:
        InputError: a setting or a name is wrong, nothing is left to train on, `out` belongs to another training.
    """
    settings = {setting.name: setting.check(values.get(setting.name, setting.default)) for setting in SETTINGS}
    if settings["width"] % settings["heads"]:
        raise InputError(f"--width: {settings['width']} is not a multiple of --heads {settings['heads']}")
    if settings["change_weight"] and settings["cells_a_batch"] < 2:
        raise InputError("--change-weight: a change needs several cells in a batch; give --cells-a-batch 2 or more")
    workers = read_cluster(settings["regions_a_step"])
    store = open_store(store_path)
    splits = make_splits(store, hold_out_cells, hold_out_chromosomes, validation_chromosomes)
    together, most = settings["cells_a_batch"], len(splits.training_cells)
    if together > most:
        raise InputError(f"--cells-a-batch: {together} is more than there are training cells; give at most {most}")
    record = {
        "creator_version": __version__,
        "store": store.identity(),
        "options": dict(store.options),
        "settings": settings,
        "splits": asdict(splits),
    }
    name = show_value(out, PATH_LENGTH)
    with contextlib.ExitStack() as held:
        with workers.gather(record):
            if workers.is_chief:
                make_folder(out)
                held.enter_context(claim(out / "train.lock", name))
                check_folder(out, record)
                write_json(out / RECORD, record)
        train_epochs(store, splits, settings, describe_training(record), out, workers)


def describe_training(record: dict) -> dict:
    """Return what a model keeps of the record of its training: what must fit a store, and what was held out."""
    splits = record["splits"]
    held = {name: splits[name] for name in ("hold_out_cells", "hold_out_chromosomes", "validation_chromosomes")}
    chosen = {name: record["settings"][name] for name in ("batch_elements", "promoter", "mask_pads")}
    return {"options": record["options"], **held, **chosen}


def check_folder(out: Path, record: dict) -> None:
    """Raise InputError where a folder holds another training, or something else."""
    name = show_value(out, PATH_LENGTH)
    found = read_json(out / RECORD)
    if found is None:
        others = sorted(path.name for path in out.iterdir() if path.name != "train.lock")
        if others:
            raise InputError(
                f"{name}: has no whole {RECORD} but {show_value(others[0])}; give a folder that is not there yet"
            )
        return
    different = [
        f"{key} ({show_value(found_part.get(key, 'not there'))} there, {show_value(part.get(key, 'not there'))} here)"
        if not isinstance(part.get(key), list)
        else f"{key} ({', '.join(map(show_value, found_part.get(key) or ['none']))} there, "
        f"{', '.join(map(show_value, part[key] or ['none']))} here)"
        for part, found_part in (
            (record[group], dict(found.get(group) or {})) for group in ("settings", "splits", "options")
        )
        for key in part
        if part[key] != found_part.get(key)
    ]
    if not different and found.get("store") != record["store"]:
        different = ["the inputs of the store"]
    if different:
        raise InputError(
            f"{name}: is another training, which differs in {'; '.join(different[:4])}; give another --out"
        )


# ------------------------------------------------------------------------------------------------- the splits
def make_splits(
    store: Store,
    hold_out_cells: Sequence[str],
    hold_out_chromosomes: Sequence[str],
    validation_chromosomes: Sequence[str] | None,
) -> Splits:
    """Return which cells and chromosomes are for what; a cell without TPM counts as held out.

    Raises:
        InputError: a name that the store does not have, a chromosome for two purposes, nothing left.
    """
    check_names(hold_out_cells, store.cells, "--hold-out-cells", "cell")
    check_names(hold_out_chromosomes, store.chromosomes, "--hold-out-chromosomes", "chromosome")
    check_names(validation_chromosomes or (), store.chromosomes, "--validation-chromosomes", "chromosome")
    both = [name for name in validation_chromosomes or () if name in hold_out_chromosomes]
    if both:
        raise InputError(f"--validation-chromosomes: {show_value(both[0])} is held out; give another one")
    cells = [name for name in store.cells if name not in hold_out_cells]
    if not cells:
        raise InputError(
            f"--hold-out-cells: all {len(store.cells)} cells of the store are held out; leave one at least"
        )
    cells = [name for name in cells if np.isfinite(store.expression[:, store.cells.index(name)]).any()]
    hold_out_cells = [name for name in store.cells if name not in cells]
    genes = count_genes(store, cells)
    if not any(genes.values()):
        raise InputError(
            "no gene has a cCRE in reach and TPM in a training cell; hold out fewer cells, or give TPM tables"
        )
    usable = {name: count for name, count in genes.items() if count and name not in hold_out_chromosomes}
    if validation_chromosomes is None:
        if len(usable) < 2:
            raise InputError(
                f"--hold-out-chromosomes: genes to learn from are left on {len(usable)} chromosomes, two are needed, "
                "one of them for validation; hold out fewer"
            )
        wanted = VALIDATION_PART * sum(usable.values())
        validation_chromosomes = [min(usable, key=lambda name: abs(usable[name] - wanted))]
    elif not any(name in usable for name in validation_chromosomes):
        raise InputError(
            "--validation-chromosomes: no gene on them has a cCRE in reach and TPM in a training cell; give others"
        )
    training = [name for name in usable if name not in validation_chromosomes]
    if not training:
        raise InputError("no gene is left to train on; hold out fewer chromosomes, or validate on fewer")
    in_order = [
        [name for name in known if name in chosen]
        for known, chosen in ((store.cells, hold_out_cells), (store.chromosomes, validation_chromosomes))
    ]
    held = [name for name in store.chromosomes if name in hold_out_chromosomes]
    return Splits(cells, in_order[0], training, in_order[1], held)


def check_names(names: Sequence[str], known: Sequence[str], flag: str, what: str) -> None:
    """Raise InputError where a name is not among those of the store."""
    for name in names:
        if name not in known:
            listed = ", ".join(map(show_value, known[:20])) + (", ..." if len(known) > 20 else "")
            partner, _ = bridge_names([name], known, CHROMOSOME_BRIDGES)
            meant = f"; is {show_value(partner[name])} meant?" if partner else ""
            raise InputError(f"{flag}: there is no {what} {show_value(name)} in the store; it has {listed}{meant}")


def count_genes(store: Store, cells: Sequence[str]) -> dict[str, int]:
    """Return how many genes of each chromosome have a cCRE in reach and TPM in one of these cells."""
    columns = [store.cells.index(name) for name in cells]
    usable = np.isfinite(store.expression[:, columns]).any(axis=1) & (np.diff(store.reach_indptr) > 0)
    counts = np.bincount(store.gene_chromosome[usable], minlength=len(store.chromosomes))
    return dict(zip(store.chromosomes, counts.tolist(), strict=True))


# ---------------------------------------------------------------------------------------------------- training
class Trainer:
    """The network with its training step and its predictor.

    Args:
        store: what is learnt from.
        settings: values of `SETTINGS`.
        training: kept in the model, `describe_training`.
        mean: of the training targets, with which the network begins.
    """

    def __init__(self, store: Store, settings: dict, training: dict, mean: float):
        import keras

        from creator.network import Creator

        keras.utils.set_random_seed(settings["seed"])
        sizes = {name: settings[name] for name in NETWORK}
        self.model = Creator(**sizes, channels=len(store.tracks), training=training)
        self.model.dropout = settings["dropout"]
        self.model.head.bias.assign([math.log(math.expm1(max(mean, 1e-3)))])  # softplus of it is the mean
        self.optimizer = keras.optimizers.AdamW(settings["learning_rate"], weight_decay=settings["weight_decay"])
        self.optimizer.build(self.model.trainable_variables)
        self.model.compile(self.optimizer)  # so that it is saved with the model
        self.layouts, self.layout_of = window_layouts(store)
        self.settings = settings
        self.step, self.predict = self._make_graphs(store.options["width"], len(store.tracks))

    def _make_graphs(self, width: int, tracks: int) -> tuple[Callable, Callable]:
        """Return the training step and the predictor; each is traced once, for batches of any size.

        The step takes a batch, the seed of its dropout, (2,), and the learning rate, and returns the sum of the loss
        over its values; the predictor takes a batch and returns expression, (K, G).
        """
        import tensorflow as tf

        n, g, values = (None,), (None,), (None, None)
        batch = Batch(
            tf.TensorSpec((None, width), tf.int64),
            tf.TensorSpec((None, None, width, tracks), tf.float32),
            tf.TensorSpec(n, tf.int64),
            tf.TensorSpec(g, tf.int64),
            tf.TensorSpec(g, tf.int64),
            tf.TensorSpec((None, None), tf.bool),
            tf.TensorSpec((None, GENE_WINDOW), tf.int64),
            tf.TensorSpec((None, None, GENE_WINDOW, tracks), tf.float32),
            tf.TensorSpec(values, tf.float32),
            tf.TensorSpec(values, tf.float32),
        )
        self.batch_signature, variables = batch, self.model.trainable_variables

        @tf.function(input_signature=[batch, tf.TensorSpec((2,), tf.int32), tf.TensorSpec((), tf.float32)])
        def step(batch, seed, rate):
            with tf.GradientTape() as tape:
                total = self.total_loss(batch, seed)
                loss = total / tf.reduce_sum(batch.weight)
            gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
            self.apply_gradients(gradients, rate)
            return total

        @tf.function(input_signature=[batch])
        def predict(batch):
            return self.forward(batch, None)

        return step, predict

    def read(self, store: Store, region: Region, cells: Sequence[int]) -> Batch:
        """Read the batch of a region in some cells."""
        return read_batch(store, region, cells, self.layout_of, self.settings["promoter"])

    def apply_gradients(self, gradients: Sequence, rate) -> None:
        """Clip the gradients of the trainable variables together, and take the optimizer's step."""
        import tensorflow as tf

        gradients, _ = tf.clip_by_global_norm(gradients, self.settings["clip_norm"])
        self.optimizer.learning_rate = rate
        self.optimizer.apply(gradients, self.model.trainable_variables)

    def total_loss(self, batch: Batch, seed):
        """Return the sum of the loss over the values of a batch; `seed` as of `forward`."""
        return self.sum_loss(self.forward(batch, seed) - batch.target, batch.weight)

    def sum_loss(self, errors, weights):
        """Return the sum of the loss over values: squared errors and, with `change_weight`, those of the changes.

        Args:
            errors: predicted minus measured, (K, G).
            weights: 1 for measured values, else 0, (K, G).
        """
        import tensorflow as tf

        total = tf.reduce_sum(weights * tf.square(errors))
        if self.settings["change_weight"]:
            measured = tf.reduce_sum(weights, axis=0)
            mean = tf.math.divide_no_nan(tf.reduce_sum(weights * errors, axis=0), measured)
            total += self.settings["change_weight"] * tf.reduce_sum(weights * tf.square(errors - mean))
        return total

    def forward(self, batch: Batch, seed):
        """Return the expression of the genes of a batch, (K, G); `seed` of dropout, (2,), None: nothing is dropped."""
        import tensorflow as tf

        from creator.network import element_positions, empty_windows, promoter_positions

        model = self.model
        seeds = [None] * 5 if seed is None else [seed + [part << 16, 0] for part in range(5)]
        signal, gene_signal = self._drop_tracks(seeds[4], batch.signal, batch.gene_signal)
        positions = element_positions(batch.tokens.shape[1])
        vectors = self._encode_cells(batch.tokens, signal, positions, seeds[0])
        if self.settings["promoter"]:
            genes = self._encode_cells(batch.gene_tokens, gene_signal, promoter_positions(), seeds[1])
        else:
            windows = empty_windows(len(self.layouts), model.channels)
            layouts = model.encode(*windows, *model.block_product(self.layouts), seeds[1])
            genes = tf.gather(layouts, batch.layout)
        present = tf.ones_like(batch.positions, tf.bool)
        keys_values = model.relate(vectors, batch.positions, present, np.int64(model.reach), seeds[2])
        return model.express(genes, batch.tss, batch.positions, keys_values, batch.allowed, seeds[3])[0]

    def _encode_cells(self, tokens, signal, positions: np.ndarray, seed):
        """Return vectors, (K, n, width), of elements with tokens, (n, W), and signal, (K, n, W, tracks)."""
        import tensorflow as tf

        cells, n, width, _ = tf.unstack(tf.shape(signal))
        shared = self.model.block_product(positions)
        flat = tf.reshape(signal, (cells * n, width, signal.shape[-1]))
        vectors = self.model.encode(tf.tile(tokens, (cells, 1)), flat, *shared, seed)
        return tf.reshape(vectors, (cells, n, self.model.sizes["width"]))

    def _drop_tracks(self, seed, *signals):
        """Return signals, (K, n, W, tracks), with some tracks of each cell set to zero in training."""
        import tensorflow as tf

        if seed is None or not self.settings["track_dropout"]:
            return signals
        cells, _, _, tracks = tf.unstack(tf.shape(signals[0]))
        kept = tf.random.stateless_uniform((cells, 1, 1, tracks), seed) >= self.settings["track_dropout"]
        return [signal * tf.cast(kept, signal.dtype) for signal in signals]


def learning_rate(settings: dict, step: int, steps: int) -> float:
    """Return the learning rate of a step: a linear rise over the warm-up, then a cosine to 0 at the end."""
    peak, warm_up = settings["learning_rate"], settings["warm_up"]
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


def train_epochs(store: Store, splits: Splits, settings: dict, training: dict, out: Path, workers: Workers) -> None:
    """Train the epochs that are not on disk yet, and keep the best model; of several workers the chief alone writes.

    Everything random in an epoch depends on the seed and the epoch only, so nothing but the model with its optimizer
    has to be kept to go on.
    """
    from core.device import start_tensorflow

    device = start_tensorflow(mixed=False)
    workers.connect()
    cells = [store.cells.index(name) for name in splits.training_cells]
    regions = make_regions(store, splits.training_chromosomes, settings["batch_elements"])
    together = settings["cells_a_batch"]
    measured = find_measured(store, regions, cells)
    in_validation = make_regions(store, splits.validation_chromosomes, settings["batch_elements"])
    validation = list_batches(find_measured(store, in_validation, cells), together)
    require_training_memory(store, settings, [*regions, *in_validation])
    targets = np.concatenate([measured_targets(store, region, cells) for region in regions])
    epochs, a_step = settings["epochs"], settings["regions_a_step"]
    count = len(list_batches(measured, together))
    steps = math.ceil(count / a_step)
    progress = SharedProgress(steps * epochs, workers)
    progress.line(
        f"{len(targets):,} values of {len(splits.training_chromosomes)} chromosomes and {len(cells)} cells; "
        f"{count:,} batches an epoch encode each cCRE {encoding_ratio(regions):.2f} times in each cell; {device}"
        + (f"; {workers.count} workers" if workers.count > 1 else "")
    )
    held = [*splits.hold_out_chromosomes, *(f"cell {name}" for name in splits.hold_out_cells)]
    progress.line(
        f"validation: chromosome {', '.join(map(show_value, splits.validation_chromosomes))}; held out: "
        f"{', '.join(map(show_value, held)) or 'nothing'}"
    )
    if steps * epochs <= settings["warm_up"]:
        progress.line(
            f"warning: the warm-up of {settings['warm_up']:,} steps does not end within the {steps * epochs:,} steps "
            "of the training; give more --epochs, a smaller --warm-up or smaller --batch-elements"
        )
    trainer = Trainer(store, settings, training, float(targets.mean()))
    label = hash_text(str([store.identity(), sorted(settings.items()), asdict(splits)]))
    checkpoints = Checkpoints(out, label, COLUMNS)
    for sentence in checkpoints.read(epochs) if workers.is_chief else ():
        progress.line(sentence)
    rows = json.loads(workers.share_text(json.dumps([*checkpoints.log.values()])))
    checkpoints.log = {int(row["epoch"]): row for row in rows}
    progress.skip(steps * len(checkpoints.log))
    waiting = [epoch for epoch in range(epochs) if epoch not in checkpoints.log]
    if waiting and waiting[0]:
        progress.line(f"goes on after epoch {waiting[0] - 1}")
    take_step = make_step(trainer, workers, a_step)
    reached = -1
    began = time.perf_counter()
    for epoch in waiting:
        if is_over(checkpoints.log, epoch, settings["patience"]):
            progress.line(f"no lower val_loss in {settings['patience']} epochs: training ends before epoch {epoch}")
            break
        if reached != epoch - 1 and workers.is_chief:
            trainer.model.load_weights(checkpoints.file(epoch - 1))
        workers.share_variables([*trainer.model.variables, *trainer.optimizer.variables])
        random = np.random.default_rng([settings["seed"], epoch])
        batches = list_batches(measured, together, random)
        order = random.permutation(count)
        total, values = 0.0, 0
        with progress.whole_steps():
            for number, chosen in enumerate(np.array_split(order, range(a_step, count, a_step)), 1):
                seeded = [(batches[index], random.integers(2**30, size=2, dtype=np.int32)) for index in chosen]
                rate = learning_rate(settings, epoch * steps + number - 1, epochs * steps)
                added, weight = take_step(seeded, lambda batch: trainer.read(store, *batch), rate)
                total, values = total + added, values + weight
                progress.step(f"epoch {epoch}/{epochs - 1}  step {number}/{steps}  loss {total / values:.3f}")
        val_loss, val_pearson, val_change_pearson = validate(store, trainer, validation, workers)
        row = {
            "epoch": str(epoch),
            "loss": f"{total / values:.6f}",
            "val_loss": f"{val_loss:.6f}",
            "val_pearson": f"{val_pearson:.6f}",
            "val_change_pearson": f"{val_change_pearson:.6f}",
            "learning_rate": f"{rate:.6g}",
            "seconds": f"{time.perf_counter() - began:.2f}",
        }
        if workers.is_chief:
            checkpoints.finish_epoch(epoch, trainer.model, row, best_epoch)
        else:
            checkpoints.log[epoch] = row
        reached = epoch
        progress.line(
            f"epoch {epoch:>3}/{epochs - 1}  loss {total / values:.3f}  val_loss {val_loss:.3f}  val_pearson "
            f"{val_pearson:.3f} (chosen: epoch {checkpoints.best})  {row['seconds']} s  {progress.time_left()}"
        )
        began = time.perf_counter()
    if not workers.is_chief:
        return
    checkpoints.keep_best(checkpoints.log, best_epoch)
    best = checkpoints.log[checkpoints.best]
    progress.line(
        f"{show_value(checkpoints.best_file, PATH_LENGTH)}: epoch {checkpoints.best}, val_loss {best['val_loss']}, "
        f"val_pearson {best['val_pearson']}"
    )


def require_training_memory(store: Store, settings: dict, regions: Sequence[Region]) -> None:
    """Raise InputError where the largest of these regions needs more memory than is free."""
    from creator.network import training_memory

    sizes = {name: settings[name] for name in NETWORK}
    count, genes = (max(map(len, each)) for each in zip(*((r.elements, r.genes) for r in regions), strict=True))
    shape = (settings["cells_a_batch"], count, store.options["width"], genes)
    needed = training_memory(sizes, len(store.tracks), *shape, settings["promoter"])
    advice = "give smaller --batch-elements" + (" or --cells-a-batch" if settings["cells_a_batch"] > 1 else "")
    if count > settings["batch_elements"]:  # a gene by itself has so many
        advice = "prepare the store with a smaller --reach or with --max-elements, or train a smaller network"
    require_memory(needed, f"batches of up to {count:,} cCREs of {store.options['width']:,} bases take", advice)


def find_measured(store: Store, regions: Sequence[Region], cells: Sequence[int]) -> list[tuple[Region, list[int]]]:
    """Return each region with those of the cells, by index, in which one of its genes is measured."""
    return [(region, [cell for cell in cells if len(measured_targets(store, region, [cell]))]) for region in regions]


def list_batches(
    measured: Sequence[tuple[Region, list[int]]], together: int, random: np.random.Generator | None = None
) -> list[tuple[Region, list[int]]]:
    """Return the batches of an epoch: every region in every cell in which it is measured, each once.

    Args:
        measured: of `find_measured`.
        together: cells of a batch.
        random: draws which cells of a region share a batch; None: as they are ordered.
    """
    batches = []
    for region, cells in measured:
        ordered = list(cells)
        if random is not None and together > 1:
            random.shuffle(ordered)
        batches += [(region, ordered[start : start + together]) for start in range(0, len(ordered), together)]
    return batches


def measured_targets(store: Store, region: Region, cells: Sequence[int]) -> np.ndarray:
    """Return log1p of TPM of the genes of a region where they are measured in some cells."""
    expression = store.expression[region.genes][:, list(cells)]
    return np.log1p(expression[np.isfinite(expression)])


def validate(
    store: Store, trainer: Trainer, batches: Sequence[tuple[Region, list[int]]], workers: Workers
) -> tuple[float, float, float]:
    """Return loss, Pearson correlation, and that of changes, over all measured genes of batches, of all workers.

    A change is the level minus the gene's mean over the cells in which it is measured.
    """
    predicted = np.zeros(store.expression.T.shape, np.float32)  # of which each worker fills in its part
    observed = np.full(predicted.shape, np.nan)
    for region, cells in workers.part(batches):
        predicted[np.ix_(cells, region.genes)] = trainer.predict(trainer.read(store, region, cells)).numpy()
    for region, cells in batches:
        observed[np.ix_(cells, region.genes)] = np.log1p(store.expression[region.genes][:, cells].T)
    predicted = np.asarray(workers.sum(predicted.reshape(-1)), float).reshape(observed.shape)
    measured = np.isfinite(observed)
    errors = np.where(measured, predicted - observed, 0)
    loss = float(trainer.sum_loss(errors, measured.astype(float))) / measured.sum()
    predicted[~measured] = np.nan
    known = measured.any(axis=0)
    changes = (values - np.nanmean(values, axis=0) for values in (predicted[:, known], observed[:, known]))
    return loss, correlate(predicted, observed), correlate(*changes)


def correlate(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Return the Pearson correlation of two arrays where they are known; nan where it is not defined."""
    known = np.isfinite(predicted) & np.isfinite(observed)
    predicted, observed = predicted[known], observed[known]
    varies = len(predicted) > 1 and predicted.std() > 0 and observed.std() > 0
    return float(np.corrcoef(predicted, observed)[0, 1]) if varies else math.nan


def best_epoch(rows: Sequence[dict[str, str]]) -> int:
    """Return the place of the lowest val_loss among the rows of a log; the first of equal ones."""
    losses = [float(row["val_loss"]) for row in rows]
    return int(np.argmin([loss if math.isfinite(loss) else math.inf for loss in losses]))


def is_over(log: dict[int, dict[str, str]], epoch: int, patience: int) -> bool:
    """Tell whether the log before an epoch has had no lower val_loss for `patience` epochs."""
    before = [row for number, row in log.items() if number < epoch]
    return bool(patience and before) and len(before) - 1 - best_epoch(before) >= patience
