"""Training by several processes at once: each computes a part of the regions of a step, and their gradients are added.

The workers and their ports are those of the environment variable TF_CONFIG. They meet at the port of worker 0, the
chief, which compares what each of them is about to train. From then on they are connected by TensorFlow's
MultiWorkerMirroredStrategy, of which `all_reduce` is used and nothing else. Network and optimizer are made outside its
scope: Keras 3.15 builds them inside it, but `fit` fails there with several workers, and a loop of one's own needs no
variables other than those of a training by one process. The weights stay equal, since each worker applies the same sum
of gradients; the chief's are taken over at the beginning of each epoch.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core import InputError, examples, show_value
from core.progress import Progress, show_duration

WAIT_SAID, WAIT_MOST = 20, 600  # seconds after which it is said which workers are waited for, and no longer waited
FIND = 5  # seconds in which a worker that has ended is looked for: its port closes a moment after its connections
STAY = 15  # seconds that a worker stays after that: another one that still looks must find it alive
MOST_BYTES = 1 << 26  # of a worker's record
EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass
class Workers:
    """The processes that train together, seen from one of them.

    Attributes:
        addresses: host:port of each; of a training by one process there may be none.
        index: of this process.
    """

    addresses: Sequence[str] = ()
    index: int = 0

    def __post_init__(self):
        self.count = max(len(self.addresses), 1)
        self.is_chief = self.index == 0
        self._reduce: Callable | None = None

    def name(self, index: int) -> str:
        """Return a worker as messages show it."""
        return f"worker {index} ({show_value(self.addresses[index])})"

    # ------------------------------------------------------------------------------------------ before training
    @contextlib.contextmanager
    def gather(self, record: dict) -> Iterator[None]:
        """Wait until all workers are there with the same record; the block is what the chief does before they go on.

        Args:
            record: of the training, as JSON takes it.

        Raises:
            InputError: a worker does not come, or has another record; in the others also what the block raised.
        """
        if self.count == 1:
            yield
        elif not self.is_chief:
            self._join(record)
            yield
        else:
            with self._open_port() as server:
                present = self._wait_for_all(server)
            with contextlib.ExitStack() as stack:
                for connection, _ in present.values():
                    stack.enter_context(connection)
                problem = f"{self.name(0)} ended before the training began; its own message says why"
                try:
                    self._compare(record, {index: found for index, (_, found) in present.items()})
                    yield
                    problem = ""
                except InputError as error:
                    problem = str(error)
                    raise
                finally:
                    for connection, _ in present.values():
                        with contextlib.suppress(OSError):  # it has ended: TensorFlow notices it
                            connection.sendall(json.dumps({"problem": problem}).encode() + b"\n")

    def _open_port(self) -> socket.socket:
        """Return a socket that listens at this worker's port; raise InputError where that is in use."""
        try:
            server = socket.create_server(("", split_address(self.addresses[self.index])[1]))
        except OSError as error:
            raise InputError(
                f"TF_CONFIG: {self.name(self.index)} cannot listen at its port ({error.strerror or error}); wait until "
                "an earlier training there has ended, or give another port to all workers"
            ) from None
        server.settimeout(0.5)
        return server

    def _wait_for_all(self, server: socket.socket) -> dict[int, tuple[socket.socket, dict]]:
        """Return connection and record of each other worker."""
        present: dict[int, tuple[socket.socket, dict]] = {}
        patience = Patience()
        while len(present) < self.count - 1:
            try:
                connection = server.accept()[0]
                connection.settimeout(10)
                found = read_message(connection)
                connection.settimeout(0)
                if found.get("index") in range(1, self.count):
                    present[found["index"]] = connection, found
            except (OSError, ValueError):  # nobody for now, or somebody else
                pass
            present = {index: pair for index, pair in present.items() if not has_ended(pair[0])}
            missing = [self.name(index) for index in range(1, self.count) if index not in present]
            patience.wait_for(", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else ""))
        for connection, _ in present.values():
            connection.settimeout(10)
        return present

    def _compare(self, record: dict, others: dict[int, dict]) -> None:
        """Raise InputError where another worker is about to train something else."""
        mine = json.loads(json.dumps({"workers": list(self.addresses), "record": record}))
        for index, other in sorted(others.items()):
            different = [*differences(mine["record"], other.get("record"))]
            if other.get("workers") != mine["workers"]:
                different = ["the workers of TF_CONFIG"]
            if different:
                more = f" and {len(different) - 4} more" if different[4:] else ""
                raise InputError(
                    f"{self.name(index)} has another training than worker 0, it differs in "
                    f"{', '.join(map(show_value, different[:4]))}{more}; start all workers with the same command, "
                    "store and version"
                )

    def _join(self, record: dict) -> None:
        """Send the chief this worker's record and wait for its word; raise InputError with it if there is a problem."""
        self._open_port().close()
        message = {"index": self.index, "workers": list(self.addresses), "record": record}
        patience = Patience()
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError):  # it is not there yet, or an earlier one still is
                with socket.create_connection(split_address(self.addresses[0]), timeout=5) as connection:
                    connection.sendall(json.dumps(message).encode() + b"\n")
                    connection.settimeout(WAIT_MOST + 60)  # the chief waits for the others
                    problem = str(read_message(connection)["problem"])
                break
            patience.wait_for(self.name(0))
            time.sleep(0.5)
        if problem:
            raise InputError(problem)

    # ------------------------------------------------------------------------------------------------- training
    def connect(self) -> None:
        """Connect the workers; to be called after TensorFlow is imported and before it computes anything."""
        if self.count == 1:
            return
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            hosts = [split_address(address)[0] for address in self.addresses]
            before = hosts[: self.index].count(hosts[self.index])  # workers of this machine
            tf.config.set_visible_devices(gpus[before % len(gpus)], "GPU")
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            raise InputError(f"{self.name(self.index)} is not connected: {show_value(error, 300)}") from None

        def add(values):  # the identity gives the values a device
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))

        self._reduce = tf.function(lambda values: strategy.run(add, args=(values,)), reduce_retracing=True)

    def sum(self, values):
        """Return the sum over all workers, as a tensor; each must call this in the same order.

        Args:
            values: vector, of the same length and type in each worker.

        Raises:
            InputError: a worker has ended.
        """
        if self._reduce is None:
            return values
        import tensorflow as tf

        try:
            return self._reduce(tf.convert_to_tensor(values))
        except tf.errors.OpError as error:
            problem = str(error)
        lost = self._find_lost(problem)
        if self.count > 2:
            time.sleep(STAY)
        raise InputError(
            f"{lost} has ended or cannot be reached, and the training with it; finished epochs are kept: the same "
            "command, on all workers, goes on"
        )

    def _find_lost(self, problem: str) -> str:
        """Return the name of the workers that have ended; `problem` is TensorFlow's message."""
        others = [index for index in range(self.count) if index != self.index]
        silent = problem.partition("sending heartbeats):")[2].split()
        lost = [index for index in others if f"/job:worker/replica:0/task:{index}" in silent]
        until = time.monotonic() + FIND
        while not lost and time.monotonic() < until:
            time.sleep(0.5)
            lost = [index for index in others if not is_reachable(self.addresses[index])]
        if not lost and len(others) == 1:
            lost = others
        return ", ".join(map(self.name, lost)) or "one of the workers"

    def part(self, items: Sequence) -> Sequence:
        """Return what is this worker's part of something."""
        return items[self.index :: self.count]

    def share_text(self, text: str) -> str:
        """Return the chief's text, in every worker."""
        if self.count == 1:
            return text
        content = np.frombuffer(text.encode() if self.is_chief else b"", np.uint8).astype(np.float64)
        length = int(self.sum(np.array([len(content)], np.float64))[0])
        received = self.sum(content if self.is_chief else np.zeros(length))
        return np.asarray(received).astype(np.uint8).tobytes().decode()

    def share_variables(self, variables: Sequence) -> None:
        """Give every worker the chief's values of Keras variables; float64 holds all of them as they are."""
        if self.count == 1:
            return
        values = [np.asarray(variable.numpy(), np.float64) for variable in variables]
        flat = np.concatenate([value.reshape(-1) for value in values])
        received = np.asarray(self.sum(flat if self.is_chief else np.zeros_like(flat)))
        places = np.cumsum([value.size for value in values])[:-1]
        for variable, value, part in zip(variables, values, np.split(received, places), strict=True):
            variable.assign(part.reshape(value.shape).astype(variable.numpy().dtype))


class SharedProgress(Progress):
    """Progress of all workers: the chief prints; if one of them is asked to stop, all stop after the same step."""

    def __init__(self, total: int, workers: Workers):
        self.workers = workers
        super().__init__(total)
        self.terminal = self.terminal and workers.is_chief

    def ask_to_stop(self, number, frame) -> None:
        """Take a signal; of several workers none ends between steps either, where the others would not know why."""
        self.in_step = self.in_step or self.workers.count > 1
        super().ask_to_stop(number, frame)

    def is_stopping(self) -> bool:
        """Tell whether a worker was asked to stop."""
        return bool(np.asarray(self.workers.sum(np.array([self.stop_asked], np.float32)))[0])

    def line(self, text: str) -> None:
        """Print a line that stays."""
        if self.workers.is_chief:
            super().line(text)


class Patience:
    """Says after a while what is waited for, and ends the wait after a long one."""

    def __init__(self):
        self.began, self.said = time.monotonic(), 0.0

    def wait_for(self, what: str) -> None:
        """Take note that `what`, if it is not '', is still waited for; raise InputError if that is too long."""
        waited = time.monotonic() - self.began
        if what and waited > WAIT_MOST:
            raise InputError(
                f"TF_CONFIG: {what} did not come within {show_duration(WAIT_MOST)}; start all workers, and see that "
                "their ports are open to each other"
            )
        if what and waited - self.said > WAIT_SAID:
            self.said = waited
            print(f"waiting for {what} since {show_duration(waited)}", file=sys.stderr, flush=True)


# ----------------------------------------------------------------------------------------------------- the steps
class SummedStep:
    """A step of several regions: their gradients are added over regions and workers, then divided, clipped, applied.

    They are added in float64: the order, which depends on the number of workers, is lost when the sum is rounded to
    float32.

    Args:
        trainer: `creator.training.Trainer`.
        workers: those that take part.
    """

    def __init__(self, trainer, workers: Workers):
        import tensorflow as tf

        self.workers = workers
        variables = trainer.model.trainable_variables
        shapes = [tuple(variable.shape) for variable in variables]
        sizes = [int(np.prod(shape)) for shape in shapes] + [1, 1]
        total = tf.Variable(tf.zeros(sum(sizes), tf.float64), trainable=False)  # gradients, loss, weight

        @tf.function(input_signature=[trainer.batch_signature, tf.TensorSpec((2,), tf.int32)])
        def add(batch, seed):
            with tf.GradientTape() as tape:
                loss = trainer.total_loss(batch, seed)
            parts = [tf.reshape(gradient, [-1]) for gradient in tape.gradient(loss, variables)]
            found = tf.concat([*parts, [loss], [tf.reduce_sum(batch.weight)]], 0)
            total.assign_add(tf.cast(found, tf.float64))

        @tf.function(input_signature=[tf.TensorSpec((sum(sizes),), tf.float64), tf.TensorSpec((), tf.float32)])
        def apply(summed, rate):
            *gradients, loss, weight = tf.split(summed, sizes)
            means = [tf.cast(part / weight, tf.float32) for part in gradients]
            trainer.apply_gradients([tf.reshape(*pair) for pair in zip(means, shapes, strict=True)], rate)
            total.assign(tf.zeros_like(total))
            return loss[0], weight[0]

        self.total, self.add, self.apply = total, add, apply

    def __call__(self, regions: Sequence, read: Callable, rate: float) -> tuple[float, float]:
        """Make a step.

        Args:
            regions: of all workers: for each what `read` takes, and the seed of its dropout, (2,).
            read: returns a region's batch.
            rate: of learning.

        Returns:
            Sum of the loss over the values of all of them, and number of values.
        """
        for region, seed in self.workers.part(regions):
            self.add(read(region), seed)
        loss, weight = self.apply(self.workers.sum(self.total), np.float32(rate))
        return float(loss), float(weight)


class PlainStep:
    """A step of one region; as `SummedStep`, of which it differs in rounding only."""

    def __init__(self, trainer):
        self.trainer = trainer

    def __call__(self, regions: Sequence, read: Callable, rate: float) -> tuple[float, np.float32]:
        """Make a step; see `SummedStep`."""
        ((region, seed),) = regions
        batch = read(region)
        return float(self.trainer.step(batch, seed, np.float32(rate))), batch.weight.sum()


def make_step(trainer, workers: Workers, regions: int) -> PlainStep | SummedStep:
    """Return the step for so many regions."""
    return PlainStep(trainer) if regions == 1 else SummedStep(trainer, workers)


# --------------------------------------------------------------------------------------------------- the cluster
def read_cluster(regions_a_step: int) -> Workers:
    """Return the workers that TF_CONFIG names; one where it is not set.

    Raises:
        InputError: it cannot be used, or the regions of a step cannot be divided by the number of workers.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    try:
        config = json.loads(text or "{}")
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        if not cluster:
            return Workers()
        addresses, index = cluster["worker"], task["index"]
        unusable = [address for address in addresses if not all(split_address(address))]
        if unusable or set(cluster) != {"worker"} or task.get("type", "worker") != "worker" or type(index) is not int:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"TF_CONFIG: {show_value(text, 200)} cannot be used; give it as {EXAMPLE}") from None
    if index not in range(len(addresses)):
        raise InputError(f"TF_CONFIG: there is no worker {index} among its {len(addresses)}; they count from 0")
    if len(set(addresses)) < len(addresses):
        twice = [address for address in dict.fromkeys(addresses) if addresses.count(address) > 1]
        raise InputError(f"TF_CONFIG: {examples(twice)} is there twice; give each worker a port of its own")
    count = max(len(addresses), 1)
    if regions_a_step % count:
        more = -(-regions_a_step // count) * count
        raise InputError(
            f"--regions-a-step: {regions_a_step} is not a multiple of the {count} workers of TF_CONFIG; give {more}"
        )
    return Workers(addresses, index)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of host:port; raise ValueError where it is not such."""
    host, _, port = address.rpartition(":")
    if not host or not 0 < int(port) < 65_536:
        raise ValueError
    return host.strip("[]"), int(port)


def is_reachable(address: str) -> bool:
    """Tell whether somebody listens at an address."""
    try:
        socket.create_connection(split_address(address), timeout=3).close()
    except OSError:
        return False
    return True


def read_message(connection: socket.socket) -> dict:
    """Return the JSON object that is the next line; raise ValueError or OSError where there is none."""
    with connection.makefile("rb") as file:
        found = json.loads(file.readline(MOST_BYTES))
    if not isinstance(found, dict):
        raise ValueError
    return found


def has_ended(connection: socket.socket) -> bool:
    """Tell whether the other side of a connection that does not block, and has nothing to say, is gone."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def differences(mine, other, name: str = "") -> Iterator[str]:
    """Yield the names of the values in which two records differ."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*mine, *other]):
            yield from differences(mine.get(key), other.get(key), key)
    elif mine != other:
        yield name or "everything"
