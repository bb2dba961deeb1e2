"""Training by several workers: steps of several regions, what TF_CONFIG may be, how workers meet, and their loss."""

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from builders import LONG, one_line
from creator_stores import NETWORK, write_store

import CREaTor
from core import InputError
from creator import parallel
from creator.checkpoint import load_model
from creator.parallel import SharedProgress, Workers, differences, make_step, read_cluster

ROOT = Path(__file__).resolve().parents[1]
RECIPE = NETWORK | {"epochs": 3, "warm_up": 4, "learning_rate": 3e-3, "batch_elements": 4, "regions_a_step": 4}
HELD = ["--hold-out-cells", "C", "--hold-out-chromosomes", "3", "--validation-chromosomes", "2"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "STORE")


def free_addresses(count):
    """Addresses of this machine whose ports nobody uses; they are all open at once, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind(("localhost", 0))
        return [f"localhost:{found.getsockname()[1]}" for found in sockets]


def cluster(addresses, index):
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


# --------------------------------------------------------------------------------------------------- the steps
class Line:
    """A network of one slope and one intercept, as a step sees a `Trainer`; it learns by plain descent."""

    class Points(NamedTuple):
        x: np.ndarray
        target: np.ndarray
        weight: np.ndarray

    def __init__(self):
        import tensorflow as tf

        self.model = SimpleNamespace(trainable_variables=[tf.Variable([2.0]), tf.Variable(1.0)])
        self.batch_signature = self.Points(*[tf.TensorSpec((None,))] * 3)

    def total_loss(self, batch, seed):
        import tensorflow as tf

        slope, intercept = self.model.trainable_variables
        return tf.reduce_sum(batch.weight * (slope * batch.x + intercept - batch.target) ** 2)

    def apply_gradients(self, gradients, rate):
        for variable, gradient in zip(self.model.trainable_variables, gradients, strict=True):
            variable.assign_sub(rate * gradient)


def test_gradients_of_regions_count_by_their_genes():
    """Errors are 1 at x = 1 of the first region, 2 at x = 1 and x = 3 of the second; a point without weight is none."""
    line, seed = Line(), np.zeros(2, np.int32)
    first = Line.Points(*np.array([[1, 5], [2, 0], [1, 0]], np.float32))
    second = Line.Points(*np.array([[1, 3], [1, 5], [1, 1]], np.float32))
    step = make_step(line, Workers(), 2)
    assert isinstance(step, parallel.SummedStep)
    assert step([(first, seed), (second, seed)], lambda batch: batch, 0.3) == (9, 3)
    # slope: the mean of 2 * error * x is (2 + 4 + 12) / 3 = 6; intercept: the mean of 2 * error is (2 + 4 + 4) / 3
    slope, intercept = line.model.trainable_variables
    assert (float(slope[0]), float(intercept)) == pytest.approx((2 - 0.3 * 6, 1 - 0.3 * 10 / 3))
    squares, weight = step([(first, seed)], lambda batch: batch, 0.0)  # a last step; nothing is left from before
    assert (squares, weight) == pytest.approx((1.8**2, 1))  # the line is at .2 x + 0 now


def test_one_region_a_step_is_the_step_of_before(store):
    assert isinstance(make_step(None, Workers(), 1), parallel.PlainStep)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [[0, 1, 2, 3, 4]]), (2, [[0, 2, 4], [1, 3]]), (6, [[0], [1], [2], [3], [4], []])]
)
def test_every_region_is_of_one_worker(count, expected):
    addresses = [f"host:{number + 1}" for number in range(count)]
    assert [Workers(addresses, index).part(range(5)) for index in range(count)] == [
        range(5)[i::count] for i in range(count)
    ]
    assert [list(Workers(addresses, index).part(range(5))) for index in range(count)] == expected


def test_a_stop_of_one_worker_stops_all():
    class Two(Workers):
        def sum(self, values):
            return values + 1  # the other one was asked

    assert not SharedProgress(10, Workers()).is_stopping()
    with pytest.raises(KeyboardInterrupt):
        SharedProgress(10, Two()).step("")


def test_a_stop_between_steps_waits_for_the_next_one_where_others_wait():
    with pytest.raises(KeyboardInterrupt):
        SharedProgress(10, Workers()).ask_to_stop(signal.SIGTERM, None)
    progress = SharedProgress(10, Workers(["a:1", "b:1"], 1))
    progress.ask_to_stop(signal.SIGTERM, None)
    assert progress.is_stopping()
    with pytest.raises(KeyboardInterrupt):
        progress.ask_to_stop(signal.SIGTERM, None)  # the second time


# --------------------------------------------------------------------------------------------------- the cluster
def test_without_a_cluster_there_is_one_worker(monkeypatch):
    for text in ("", "{}", '{"task": {"index": 3}}'):
        monkeypatch.setenv("TF_CONFIG", text)
        assert (read_cluster(1).count, read_cluster(1).is_chief) == (1, True)
    monkeypatch.setenv("TF_CONFIG", cluster(["a:1", "b:1"], 1))
    assert (read_cluster(4).count, read_cluster(4).is_chief) == (2, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("worker", "TF_CONFIG: worker cannot be used; give it as {"),
        (cluster(["a:1", "b"], 0), "cannot be used; give it as {"),
        (cluster(["a:1", "b:0"], 0), "cannot be used; give it as {"),
        (cluster("a:1", 0), "cannot be used; give it as {"),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"index": 0}}', "cannot be used; give it as {"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "cannot be used; give it as {"),
        (cluster(["a:1", "b:1"], 2), "there is no worker 2 among its 2; they count from 0"),
        (cluster(["a:1", "a:1"], 0), "'a:1' is there twice"),
        (
            cluster(["a:1", "b:1", "c:1"], 0),
            "--regions-a-step: 4 is not a multiple of the 3 workers of TF_CONFIG; give 6",
        ),
    ],
)
def test_wrong_cluster_is_refused(store, tmp_path, monkeypatch, capsys, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    assert CREaTor.main(["train", str(store), "--out", str(tmp_path / "out"), "--regions-a-step", "4"]) == 2
    line = capsys.readouterr().err
    assert words in line
    assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_differences_are_named():
    mine = {"settings": {"epochs": 3, "seed": 0}, "store": "x"}
    assert list(differences(mine, mine)) == []
    assert list(differences(mine, {"settings": {"epochs": 4, "seed": 0}, "other": 1})) == ["epochs", "store", "other"]
    assert list(differences(mine, None)) == ["everything"]


# ----------------------------------------------------------------------------------------------- before training
def meet(records, block=lambda: None):
    """Let workers with these records meet; the chief does `block`. Returns the error of each, None without one."""
    addresses, found = free_addresses(len(records)), [None] * len(records)

    def take_part(index):
        try:
            with Workers(addresses, index).gather(records[index]):
                if not index:
                    block()
        except InputError as error:
            found[index] = str(error)

    threads = [threading.Thread(target=take_part, args=(index,)) for index in range(len(records))]
    for thread in reversed(threads):  # the chief comes last
        thread.start()
    for thread in threads:
        thread.join(30)
    return addresses, found


def test_workers_of_one_record_meet():
    done = []
    assert meet([{"settings": {"epochs": 3}}] * 3, lambda: done.append(1))[1] == [None, None, None]
    assert done == [1]


def test_workers_with_other_settings_are_refused():
    records = [{"settings": {"epochs": epochs, "seed": 0}} for epochs in (3, 3, 4)]
    addresses, found = meet(records, lambda: pytest.fail("the chief went on"))
    assert found[0].startswith(f"worker 2 ({addresses[2]}) has another training than worker 0, it differs in epochs;")
    assert found == [found[0]] * 3


def test_what_stops_the_chief_stops_the_others():
    def refuse():
        raise InputError("DIR: is another training")

    assert meet([{}, {}], refuse)[1] == ["DIR: is another training"] * 2


@pytest.mark.parametrize("missing", [0, 1])
def test_it_is_said_who_is_waited_for(monkeypatch, capsys, missing):
    monkeypatch.setattr(parallel, "WAIT_SAID", 0.3)
    monkeypatch.setattr(parallel, "WAIT_MOST", 1.2)
    addresses = free_addresses(2)
    with pytest.raises(InputError) as error, Workers(addresses, 1 - missing).gather({}):
        pytest.fail("it went on alone")
    assert f"worker {missing} ({addresses[missing]}) did not come within 1 s" in one_line(error)
    assert f"waiting for worker {missing} ({addresses[missing]}) since" in capsys.readouterr().err


def test_a_worker_that_leaves_before_the_others_come_is_waited_for(monkeypatch):
    monkeypatch.setattr(parallel, "WAIT_MOST", 1.2)
    addresses = free_addresses(3)

    def come_and_leave():
        time.sleep(0.3)
        with socket.create_connection(("localhost", int(addresses[0].split(":")[1]))) as connection:
            connection.sendall(b'{"index": 1}\n')

    thread = threading.Thread(target=come_and_leave)
    thread.start()
    with pytest.raises(InputError) as error, Workers(addresses, 0).gather({}):
        pytest.fail("it went on alone")
    thread.join()
    assert "worker 1" in one_line(error)


def test_a_port_in_use_is_refused():
    with socket.create_server(("", 0)) as other:
        address = f"localhost:{other.getsockname()[1]}"
        with pytest.raises(InputError) as error, Workers([address, free_addresses(1)[0]], 0).gather({}):
            pytest.fail("it went on")
    assert f"worker 0 ({address}) cannot listen at its port" in one_line(error)


# --------------------------------------------------------------------------------------------------- processes
def start(store, out, addresses, index, **values):
    """Start a worker; without addresses it trains alone."""
    flags = [word for name, value in (RECIPE | values).items() for word in ("--" + name.replace("_", "-"), str(value))]
    environment = os.environ | {
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_CONFIG": cluster(addresses, index) if addresses else "",
    }
    command = [sys.executable, "CREaTor.py", "train", str(store), "--out", str(out), *HELD, *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def finish(processes):
    """Return status, stdout and stderr of each."""
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def read_log(out):
    with open(out / "performance_log.csv") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same_numbers(out, other):
    for mine, its in zip(read_log(out), read_log(other), strict=True):
        assert [float(cell) for cell in mine.values()] == pytest.approx(
            [float(cell) for cell in its.values()], rel=1e-4
        )
    for epoch in range(len(read_log(out))):
        pairs = [
            load_model(folder / f"epoch_models/model_epoch_{epoch}.keras").get_weights() for folder in (out, other)
        ]
        for mine, its in zip(*pairs, strict=True):
            assert np.linalg.norm(mine - its) <= 1e-5 * np.linalg.norm(its)


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    ((status, _, error),) = finish([start(store, out, [], 0)])
    assert status == 0, error
    return out


@LONG
def test_two_workers_train_as_one_process(store, alone, tmp_path):
    out, addresses = tmp_path / "out", free_addresses(2)
    chief, other = finish([start(store, out, addresses, index) for index in range(2)])
    assert (chief[0], other[0]) == (0, 0), chief[2] + other[2]
    assert "; 2 workers" in chief[1]
    assert other[1:] == ("", "")
    assert_same_numbers(out, alone)


@LONG
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_ends_the_training_which_goes_on(store, tmp_path, victim):
    out, addresses = tmp_path / "out", free_addresses(2)
    values = {"epochs": 200, "patience": 0}
    processes = [start(store, out, addresses, index, **values) for index in range(2)]
    until = time.monotonic() + 200
    while not (out / "performance_log.csv").exists() and time.monotonic() < until:
        time.sleep(0.05)
    began = time.monotonic()
    processes[victim].send_signal(signal.SIGKILL)
    ended = finish(processes)
    assert time.monotonic() - began < 60
    status, _, error = ended[1 - victim]
    assert status == 2
    assert error == (
        f"CREaTor.py: worker {victim} ({addresses[victim]}) has ended or cannot be reached, and the training with it; "
        "finished epochs are kept: the same command, on all workers, goes on\n"
    )
    assert 0 < len(read_log(out)) < 200


@LONG
def test_a_stopped_training_goes_on_to_the_same_numbers(store, alone, tmp_path):
    out, addresses = tmp_path / "out", free_addresses(2)
    processes = [start(store, out, addresses, index) for index in range(2)]
    until = time.monotonic() + 200
    while not (out / "performance_log.csv").exists() and time.monotonic() < until:
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    ended = finish(processes)
    assert {status for status, *_ in ended} in ({130}, {0}), ended  # 0: it was over before the signal came
    before = len(read_log(out))
    chief, other = finish([start(store, out, addresses, index) for index in range(2)])
    assert (chief[0], other[0]) == (0, 0), chief[2] + other[2]
    assert before == 3 or f"goes on after epoch {before - 1}" in chief[1]
    assert_same_numbers(out, alone)
