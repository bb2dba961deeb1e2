"""Folds side by side by the real script: the CSVs of one job, whatever trains them and whoever is killed."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import LONG, is_running, read_numbers

from core import InputError
from core.executor import find_scheduler

ROOT = Path(__file__).resolve().parents[1]
FLAGS = [
    "--dataset",
    "demo",
    "--upstream",
    "30",
    "--downstream",
    "10",
    "--epochs",
    "2",
    "--model",
    "published",
    "--organism",
    "o",
]
FOLDS = ["--chromosomes", "2,4"]
# a fold computes with as many threads, whichever process trains it
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
WORKER = re.compile(r"worker (\d) \(process (\d+)\): computing")


def start(folder: Path, *flags: str, script: Path = ROOT / "lcre_classifier.py", **more) -> subprocess.Popen:
    command = [sys.executable, script, *FLAGS, "--saved-models", folder, *flags]
    environment = os.environ | ONE_THREAD | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **streams, **more)


def finish(process: subprocess.Popen, see: Callable[[str], None] = lambda line: None) -> tuple[int, str, str]:
    """Return exit status, output and errors of a run; each line is shown to `see` as it comes."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        see(line)
    errors = process.stderr.read()
    return process.wait(), "".join(lines), errors


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


@pytest.fixture(scope="module")
def one_job(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one_job")
    status, _, errors = finish(start(folder, *FOLDS, "--jobs", "1"))
    assert status == 0, errors
    assert len(read_numbers(folder)) == 9
    return folder


@LONG
def test_two_jobs_give_the_numbers_of_one(one_job, tmp_path):
    status, said, errors = finish(start(tmp_path, *FOLDS, "--jobs", "2"))
    assert status == 0, errors
    assert "folds side by side: 2 at once, each by a process with " in said
    assert {number for number, _ in WORKER.findall(said)} == {"1", "2"}
    assert read_numbers(tmp_path) == read_numbers(one_job)
    assert not leftovers(tmp_path)


@LONG
def test_a_worker_that_is_killed_costs_an_epoch(one_job, tmp_path):
    workers, killed = {}, []

    def see(line: str) -> None:
        if found := WORKER.search(line):
            workers[found[1]] = int(found[2])
        if " epoch  0/1 " in line and workers and not killed:
            killed.append(workers.popitem()[1])
            os.kill(killed[0], signal.SIGKILL)

    status, said, errors = finish(start(tmp_path, *FOLDS, "--jobs", "2"), see)
    assert status == 0, errors
    assert f"(process {killed[0]}) was killed (SIGKILL); another takes it up (1 of 3 times)" in said
    assert read_numbers(tmp_path) == read_numbers(one_job)
    assert not leftovers(tmp_path)


@LONG
def test_ctrl_c_stops_all_workers_and_the_same_command_goes_on(one_job, tmp_path):
    """A terminal sends it to all processes at once."""
    process = start(tmp_path, *FOLDS, "--jobs", "2", start_new_session=True)
    seen = []

    def see(line: str) -> None:
        if " epoch  0/1 " in line and not seen:
            seen.append(line)
            os.killpg(process.pid, signal.SIGINT)

    status, said, errors = finish(process, see)
    assert status == 130
    assert errors == (
        "lcre_classifier.py: interrupted; what was written is whole, and the same command goes on behind the last "
        "finished epoch\n"
    )
    assert not leftovers(tmp_path)
    assert not any(is_running(int(worker)) for _, worker in WORKER.findall(said))
    status, said, errors = finish(start(tmp_path, *FOLDS, "--jobs", "1"))
    assert status == 0, errors
    assert "goes on after epoch 0" in said
    assert read_numbers(tmp_path) == read_numbers(one_job)


@LONG
def test_a_fold_whose_workers_die_every_time_is_named_and_the_other_is_whole(one_job, tmp_path):
    """In a copy of the script whose workers are killed when they begin with fold 4."""
    text, place = (ROOT / "lcre_classifier.py").read_text(), "    key = repr((settings, inputs))\n"
    assert text.count(place) == 1
    kill = '    if groups == ["4"]:\n        import os\n\n        os.kill(os.getpid(), 9)\n'
    (tmp_path / "lcre_classifier.py").write_text(text.replace(place, kill + place))
    for name in ("core", "lcre", "example", "demo", "data"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    models = tmp_path / "models"
    process = start(models, *FOLDS, "--jobs", "2", script=tmp_path / "lcre_classifier.py")
    status, said, errors = finish(process)
    assert status == 2
    assert errors.count("\n") == 1
    assert re.match(
        r"lcre_classifier.py: fold 4: worker \d \(process \d+\) was killed \(SIGKILL\), the 4th that it lost", errors
    )
    assert said.count("another takes it up") == 3
    assert read_numbers(models)["o_model_2/predictions.csv"] == read_numbers(one_job)["o_model_2/predictions.csv"]
    status, _, errors = finish(start(models, *FOLDS, "--jobs", "1"))
    assert status == 0, errors
    assert read_numbers(models) == read_numbers(one_job)


@LONG
def test_an_array_of_processes_that_start_at_once_makes_one_run(one_job, tmp_path):
    array = [start(tmp_path, "--chromosomes", chromosome) for chromosome in ("2", "4")]
    assert [finish(process)[0] for process in array] == [0, 0]
    status, said, errors = finish(start(tmp_path, *FOLDS))
    assert status == 0, errors
    assert "every fold is finished already" in said
    assert read_numbers(tmp_path) == read_numbers(one_job)


@LONG
def test_genes_explained_by_two_jobs_have_the_contributions_of_one(one_job, tmp_path):
    """60 genes of two folds: each fold is more than one task."""
    flags = ["--models", one_job / "o", "--genes", "60", "--steps", "2", "--references", "2", "--logos", "0"]
    for jobs in ("1", "2"):
        command = [sys.executable, ROOT / "lcre_explain.py", *flags, "--jobs", jobs, "--out", tmp_path / jobs]
        done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("genes side by side: 2 at once" in done.stdout) == (jobs == "2")
    one, two = (np.load(tmp_path / jobs / "contributions.npz") for jobs in ("1", "2"))
    assert one["gene_id"].shape == (60,)
    assert all(one[name].tobytes() == two[name].tobytes() for name in one.files)
    for name in ("genes.csv", "profile.csv", "words.csv"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


# ---------------------------------------------------------------------------------------------------- Dask
@contextlib.contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """Start a scheduler and two workers in a folder that is not the project's, and give the address."""
    environment = os.environ | ONE_THREAD
    arguments = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", "s.json"]
    command, quiet = [sys.executable, "-m", "dask"], {"cwd": folder, "env": environment, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*command, *arguments], **quiet)]
    for _ in range(2):
        arguments = ["worker", "--scheduler-file", "s.json", "--nthreads", "1", "--no-dashboard"]
        processes.append(subprocess.Popen([*command, *arguments], **quiet))
    try:
        from distributed import Client

        while not (folder / "s.json").exists():
            assert processes[0].poll() is None
        with Client(scheduler_file=str(folder / "s.json"), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            yield client.scheduler.address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


@LONG
def test_dask_gives_the_numbers_of_one_job_also_where_a_worker_is_killed(one_job, tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed; pip install -r requirements-dask.txt brings it")
    (tmp_path / "elsewhere").mkdir()
    with dask_cluster(tmp_path / "elsewhere") as address:
        status, said, errors = finish(start(tmp_path / "whole", *FOLDS, "--scheduler", address))
        assert status == 0, errors
        assert f"folds side by side: on the 2 workers of the Dask cluster {address}" in said
        assert read_numbers(tmp_path / "whole") == read_numbers(one_job)
        processes, killed = re.findall(r"\(process (\d+)\): computing", said), []

        def see(line: str) -> None:
            if " epoch  0/1 " in line and not killed:
                killed.append(int(processes[0]))
                os.kill(killed[0], signal.SIGKILL)

        status, said, errors = finish(start(tmp_path / "killed", *FOLDS, "--scheduler", address), see)
        assert status == 0, errors
        assert f"(process {killed[0]}) was killed (SIGKILL); another takes it up" in said
        assert read_numbers(tmp_path / "killed") == read_numbers(one_job)


@LONG
def test_dask_scores_genes_as_one_process_does(one_job, tmp_path):
    """The demo's 4,383 genes are three batches."""
    pytest.importorskip("distributed", reason="Dask is not installed; pip install -r requirements-dask.txt brings it")
    inputs = ["--fasta", ROOT / "data/demo/demo.fa.gz", "--gtf", ROOT / "data/demo/demo.gtf.gz"]
    command = [sys.executable, ROOT / "lcre_predict.py", "--models", one_job / "o", *inputs, "--out"]
    (tmp_path / "elsewhere").mkdir()
    with dask_cluster(tmp_path / "elsewhere") as address:
        for name, flags in (("one", []), ("dask", ["--scheduler", address])):
            path = tmp_path / f"{name}.csv"
            done = subprocess.run([*command, path, *flags], env=os.environ | ONE_THREAD, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert ("batches side by side: on the 2 workers of the Dask cluster" in done.stdout) == (name == "dask")
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            worker = next(iter(client.nthreads()))
        with pytest.raises(InputError, match=f"{worker} is a Worker of Dask; give the address that 'dask scheduler'"):
            find_scheduler(worker)
    assert (tmp_path / "one.csv").read_text().count("\n") > 4000
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "dask.csv").read_bytes()
