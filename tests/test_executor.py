"""Tasks side by side: results and progress as of one process, workers that die, stops."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import executor_tasks as tasks
import pytest
from builders import is_running, one_line

import lcre_classifier
from core import InputError, executor
from core.device import list_gpus
from core.progress import Progress

ROOT = Path(__file__).resolve().parents[1]


def run(jobs: int, function, arguments: dict, total: int = 10) -> dict:
    """Return the result of each task."""
    with executor.open_workers(jobs, None, len(arguments)) as workers:
        return dict(workers.run(function, arguments.items(), Progress(total)))


def wait_until(holds, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_give_the_same_in_this_process_and_in_others(jobs, capsys):
    assert run(jobs, tasks.square, {"two": (2,), "three": (3,), "five": (5,)}) == {"two": 4, "three": 9, "five": 25}
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[-1] for line in lines) == ["2", "3", "5"]
    assert all(line.startswith("worker ") == (jobs == 2) for line in lines)


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_in_their_order_are_taken_when_a_worker_is_free(jobs):
    """Every second task takes long, so that with two jobs it ends behind the next one."""
    taken = []

    def take():
        for number in range(8):
            taken.append(number)
            yield f"task {number}", (number, 0.1 * (number % 2 == 0))

    found = []
    with executor.open_workers(jobs, None, jobs) as workers:
        for name, result in workers.run_in_order(tasks.wait_and_square, take(), Progress(8)):
            found.append((name, result))
            assert jobs > 1 or len(taken) == len(found)
    assert found == [(f"task {number}", number**2) for number in range(8)]


def test_a_lost_task_ends_those_in_their_order_at_once():
    """What comes behind it would be kept in memory and never be yielded."""
    taken, found = [], []

    def take():
        for number in range(400):
            taken.append(number)
            yield f"task {number}", (3, number)

    with (
        pytest.raises(InputError, match=r"^task 3: worker .* the 4th that it lost"),
        executor.open_workers(2, None, 2) as workers,
    ):
        found += workers.run_in_order(tasks.square_all_but, take(), Progress(400))
    assert found == [(f"task {number}", number**2) for number in range(3)]
    assert len(taken) < 400


def test_a_task_whose_worker_died_is_taken_up_by_another(tmp_path, capsys):
    found = run(2, tasks.die, {"fold a": (str(tmp_path / "a"), 2), "fold b": (str(tmp_path / "b"), 0)})
    assert found == {"fold a": 3, "fold b": 1}
    said = [line for line in capsys.readouterr().out.splitlines() if "SIGKILL" in line]
    assert [line.partition("; ")[2] for line in said] == [
        "another takes it up (1 of 3 times)",
        "another takes it up (2 of 3 times)",
    ]
    assert all(line.startswith("fold a: worker ") for line in said)


def test_a_task_whose_workers_die_every_time_is_named_and_the_others_end(tmp_path):
    arguments, ended = {"fold a": (str(tmp_path / "a"), 99), "fold b": (str(tmp_path / "b"), 1)}, []

    def run_and_list() -> None:
        with executor.open_workers(2, None, 2) as workers:
            for name, _ in workers.run(tasks.die, arguments.items(), Progress(10)):
                ended.append(name)

    with pytest.raises(InputError) as error:
        run_and_list()
    assert ended == ["fold b"]
    message = one_line(error)
    assert message.startswith("fold a: worker ")
    assert "was killed (SIGKILL), the 4th that it lost" in message
    assert (tmp_path / "a").read_text() == "xxxx"
    assert (tmp_path / "b").read_text() == "xx"


def test_an_error_in_a_worker_is_that_of_the_run():
    with pytest.raises(InputError, match="^GTF has changed$"):
        run(2, tasks.refuse, {"a": ("GTF has changed",), "b": ("GTF has changed",)})


def test_workers_are_stopped_behind_their_step(tmp_path):
    marks = [tmp_path / "a", tmp_path / "b"]
    with executor.open_workers(2, None, 2) as workers:
        for mark in marks:
            workers.executor.submit(workers.prepare(tasks.go_on), mark.name, (str(mark),))
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    assert [mark.read_text() for mark in marks] == ["stopped", "stopped"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import executor_tasks as tasks
from core import executor
from core.progress import Progress
if __name__ == "__main__":
    with executor.open_workers(2, None, 2) as workers:
        arguments = {{name: (sys.argv[1] + name,) for name in "ab"}}
        list(workers.run(tasks.go_on, arguments.items(), Progress(9)))
"""
    (tmp_path / "script.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, tmp_path / "script.py", f"{tmp_path}/"], env=environment)
    marks = [tmp_path / "a", tmp_path / "b"]
    wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    workers = [int(mark.read_text()) for mark in marks]
    assert all(map(is_running, workers))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(is_running, workers)), 5)


def test_steps_of_a_task_that_is_taken_up_are_counted_once():
    progress = Progress(10)
    share = executor.Share("fold a", progress)
    share.take("step", ("first", 1))  # is not timed, and leaves 9
    share.take("step", ("four more", 4))
    share.forget()
    assert (progress.done, progress.total) == (4, 14)  # 10 are left
    share.take("skip", 4)
    share.take("step", ("the rest", 6))
    assert progress.done == progress.total


# ------------------------------------------------------------------------------------------ cores and GPUs
@pytest.mark.parametrize(
    ("usable", "count", "shares"),
    [
        (8, 4, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        (8, 3, [[0, 1], [2, 3], [4, 5]]),  # as many each: their number moves last digits
        (2, 3, [[0], [1], [0]]),
        (1, 1, [[0]]),
    ],
)
def test_cores_are_shared_out_evenly(monkeypatch, usable, count, shares):
    monkeypatch.setattr(executor.os, "sched_getaffinity", lambda who: set(range(usable)), raising=False)
    assert executor.split_cores(count) == shares


@pytest.mark.parametrize(
    ("cores", "jobs", "tasks", "chosen"),
    [(1, None, 5, 1), (2, None, 5, 1), (16, None, 5, 5), (16, None, 12, 8), (2, 4, 5, 4), (2, 9, 5, 5), (64, 1, 9, 1)],
)
def test_jobs_are_half_the_cores_and_at_most_the_tasks(monkeypatch, cores, jobs, tasks, chosen):
    monkeypatch.setattr(executor, "usable_cores", lambda: cores)
    monkeypatch.setattr(executor, "free_memory", lambda: 10**12)
    assert executor.choose_jobs(jobs, tasks) == chosen


@pytest.mark.parametrize(("jobs", "free", "chosen"), [(None, 13e9, 4), (None, 1e9, 1), (6, 1e9, 6)])
def test_jobs_are_fewer_where_memory_is_short(monkeypatch, jobs, free, chosen):
    """By default each has 3 GB; a number that is asked for is taken."""
    monkeypatch.setattr(executor, "usable_cores", lambda: 64)
    monkeypatch.setattr(executor, "free_memory", lambda: int(free))
    assert executor.choose_jobs(jobs, 9) == chosen


def test_gpus_are_those_that_cuda_may_see(monkeypatch, tmp_path):
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert list_gpus(tmp_path) == ["0", "1"]  # CUDA counts those that are there
    for value, names in (("", []), ("-1", []), ("2,0", ["2", "0"]), ("GPU-ab, 1,-1,3", ["GPU-ab", "1"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert list_gpus(tmp_path) == names


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not give cores to processes")
def test_workers_have_their_cores_and_this_process_keeps_all():
    before = os.sched_getaffinity(0)
    assert set(run(2, tasks.cores, {"a": (), "b": ()}).values()) == {max(len(before) // 2, 1)}
    assert os.sched_getaffinity(0) == before


# ---------------------------------------------------------------------------------------------------- Dask
def test_a_worker_that_ended_is_named_at_once_and_its_steps_are_counted_again(capsys):
    progress = Progress(10)
    shares = [executor.Share(name, progress) for name in ("fold a", "fold b")]
    for share, worker in zip(shares, ("tcp://one", "tcp://two"), strict=True):
        share.take("begin", worker)
        share.take("step", ("some", 3))
    for share in shares:
        share.take("lost", "tcp://one")
    assert capsys.readouterr().out == "fold a: worker tcp://one ended; another takes it up when it is free\n"
    assert [share.counted for share in shares] == [0, 3]
    shares[0].take("begin", "tcp://two")
    assert capsys.readouterr().out == "fold a: tcp://two takes it up\n"
    shares[0].take("begin", "tcp://three")
    assert capsys.readouterr().out == "fold a: worker tcp://two ended; tcp://three takes it up\n"


class LostConnection(Executor):
    """An executor whose tasks are cancelled, as those of Dask are when the scheduler ends."""

    def submit(self, function, *arguments, **named) -> Future:
        future = Future()
        future.cancel()
        return future


def test_a_scheduler_that_ends_is_one_line():
    workers = executor.Workers(LostConnection(), None, where="on the 2 workers of the Dask cluster tcp://one")
    with pytest.raises(InputError) as error:
        list(workers.run(tasks.square, [("fold 1", (1,))], Progress(1)))
    assert one_line(error).startswith("the scheduler ended, or the connection to it, while tasks ran on the 2 workers")


def test_without_dask_the_line_says_what_to_install(monkeypatch, capsys, tmp_path):
    for name in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    argv = ["--dataset", "demo", "--scheduler", "tcp://host:8786", "--saved-models", str(tmp_path)]
    assert lcre_classifier.main(argv) == 2
    assert capsys.readouterr().err == (
        "lcre_classifier.py: SCHEDULER needs dask and distributed, not installed; pip install -r "
        "requirements-dask.txt brings them\n"
    )
    assert (ROOT / "requirements-dask.txt").read_text().split() == ["dask>=2024.8", "distributed>=2024.8"]
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed; pip install -r requirements-dask.txt brings it")
    monkeypatch.setattr(executor, "ANSWER", 0.5)
    with pytest.raises(InputError) as error, executor.open_workers(None, "tcp://127.0.0.1:9", 2):
        pass
    assert one_line(error).startswith("no Dask scheduler answers at tcp://127.0.0.1:9 within 0.5 s")


def test_what_takes_a_connection_and_says_nothing_is_no_scheduler(monkeypatch, tmp_path, capsys):
    """It is found out before anything is read or written."""
    pytest.importorskip("distributed", reason="Dask is not installed; pip install -r requirements-dask.txt brings it")
    monkeypatch.setattr(executor, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        argv = ["--dataset", "demo", "--scheduler", address, "--saved-models", str(tmp_path)]
        assert lcre_classifier.main(argv) == 2
        assert time.monotonic() - began < 10
    said = capsys.readouterr()
    assert said.err.startswith(
        f"lcre_classifier.py: no Dask scheduler answers at {address} within 0.5 s (TimeoutError)"
    )
    assert "genes in the annotation" not in said.out
    assert list(tmp_path.iterdir()) == []
