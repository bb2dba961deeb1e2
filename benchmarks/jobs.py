"""Folds side by side: one job against two, and what a lost worker of a Dask cluster costs.

`python benchmarks/jobs.py [--dataset demo] [--chromosomes 1,2] [--repeats 3]` trains the folds in turn by one job on
one core, by two jobs with a core each, and by one job on both cores; each run begins anew, from the command to the
page. Printed are seconds of the whole command and of a fold, the memory of all its processes together, and ratios pair
by pair. The CSVs of all runs on one core a fold must agree.

`--dask` compares one job with two Dask workers of one thread each, on this machine, and with the same where one of the
two is killed with all its processes once it has trained an epoch. Linux only: it pins processes, and reads /proc.
"""

import argparse
import contextlib
import csv
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.cli import run_script  # noqa: E402

ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
WAYS = {  # jobs, cores
    "one job, one core": (1, 1),
    "two jobs, a core each": (2, 2),
    "one job, both cores": (1, 2),
}


def find_processes(first: int) -> list[int]:
    """Return a process and all that it started, and those that these did."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [first]
    for process in found:
        found += [other for other, parent in parents.items() if parent == process]
    return found


def count_memory(first: int) -> int:
    """Return the bytes that a process and all that it started hold in memory, shared pages divided."""
    total = 0
    for process in find_processes(first):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) * 1024
    return total


def train(
    flags: Sequence[str], cores: int, threads: dict[str, str], see: Callable[[str], None] = lambda line: None
) -> tuple[float, int]:
    """Train in a process of its own; return its seconds and the most memory of its processes together.

    Args:
        flags: of lcre_classifier.py.
        cores: that it may use.
        threads: environment that says how many threads compute.
        see: is shown each line that it prints.
    """
    command = [sys.executable, "-u", str(ROOT / "lcre_classifier.py"), *flags]
    environment = os.environ | threads | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    usable = sorted(os.sched_getaffinity(0))[:cores]
    began, most = time.perf_counter(), [0]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, usable)
    )

    def watch() -> None:
        while process.poll() is None:
            most[0] = max(most[0], count_memory(process.pid))
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for line in process.stdout:
        see(line)
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"lcre_classifier.py ended with exit status {process.returncode}: {' '.join(flags)}")
    return time.perf_counter() - began, most[0]


def read_run(folder: Path) -> tuple[dict[str, list[dict]], float]:
    """Return the rows of every CSV of a run without the column seconds, and the mean seconds of a fold."""
    found, seconds = {}, []
    for path in sorted(folder.rglob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if path.name == "performance_log.csv":
            seconds.append(sum(float(row["seconds"]) for row in rows))
        found[str(path.relative_to(folder))] = [
            {name: cell for name, cell in row.items() if name != "seconds"} for row in rows
        ]
    return found, statistics.mean(seconds)


def spread(values: Sequence[float], form: str) -> str:
    """Return the median of values with their range."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def compare_jobs(flags: Sequence[str], repeats: int) -> None:
    """Print the table of `WAYS`."""
    measured, numbers = {way: [] for way in WAYS}, []
    for _ in range(repeats):
        for way, (jobs, cores) in WAYS.items():
            alone = cores == jobs  # one core a fold
            with tempfile.TemporaryDirectory() as folder:
                more = ["--jobs", str(jobs), "--saved-models", folder]
                seconds, memory = train([*flags, *more], cores, ONE_THREAD if alone else {})
                found, of_fold = read_run(Path(folder))
            measured[way].append((seconds, of_fold, memory))
            numbers += [found] if alone else []
            print(
                f"{way}: {seconds:.0f} s, a fold {of_fold:.0f} s, {memory / 1e6:,.0f} MB", file=sys.stderr, flush=True
            )
    assert all(found == numbers[0] for found in numbers), "the CSVs differ"
    print("| way | whole command, s | epochs of a fold, s | memory, MB |")
    print("|---|---|---|---|")
    for way, runs in measured.items():
        seconds, of_fold, memory = zip(*runs, strict=True)
        print(f"| {way} | {spread(seconds, '.0f')} | {spread(of_fold, '.0f')} | {max(memory) / 1e6:,.0f} |")
    alone, two, both = ([seconds for seconds, *_ in runs] for runs in measured.values())
    for name, slow in (("one job on one core", alone), ("one job on both cores", both)):
        ratios = [one / other for one, other in zip(slow, two, strict=True)]
        print(f"two jobs with a core each, times as fast as {name}: {spread(ratios, '.2f')}")
    print(f"CSVs of the {len(numbers)} runs with one core a fold: the same")


@contextlib.contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """Start a scheduler and two workers of one thread, each in its own session; give the address and the workers."""
    from distributed import Client

    file, quiet = folder / "scheduler.json", {"stderr": subprocess.DEVNULL, "start_new_session": True}
    command, environment = [sys.executable, "-m", "dask"], os.environ | ONE_THREAD
    arguments = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([*command, *arguments], env=environment, **quiet)
    arguments = ["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
    workers = [subprocess.Popen([*command, *arguments], env=environment, cwd=folder, **quiet) for _ in range(2)]
    try:
        while not file.exists():
            time.sleep(0.1)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            yield client.scheduler.address, workers
    finally:
        for process in (*workers, scheduler):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            process.wait()


def compare_dask(flags: Sequence[str], repeats: int) -> None:
    """Print the table of one job on one core, of two Dask workers, and of two of which one is killed."""
    ways, numbers = {"one job, one core": [], "two Dask workers": [], "two, one killed": []}, []
    for _ in range(repeats):
        for way, seconds in ways.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if way == "one job, one core":
                    more = ["--jobs", "1", "--saved-models", str(folder / "runs")]
                    seconds.append(train([*flags, *more], 1, ONE_THREAD)[0])
                else:
                    with dask_cluster(folder) as (address, workers):
                        more = ["--scheduler", address, "--saved-models", str(folder / "runs")]
                        killer = Killer(workers[0].pid if way == "two, one killed" else None)
                        seconds.append(train([*flags, *more], 2, ONE_THREAD, killer.see)[0])
                    assert killer.killed or way == "two Dask workers"
                numbers.append(read_run(folder / "runs")[0])
            print(f"{way}: {seconds[-1]:.0f} s", file=sys.stderr, flush=True)
    assert all(found == numbers[0] for found in numbers), "the CSVs differ"
    print("| way | whole command, s |\n|---|---|")
    for way, seconds in ways.items():
        print(f"| {way} | {spread(seconds, '.0f')} |")
    later = [one - other for one, other in zip(ways["two, one killed"], ways["two Dask workers"], strict=True)]
    print(f"later with one killed: {spread(later, '.0f')} s")
    print(f"CSVs of the {len(numbers)} runs: the same")


class Killer:
    """Kills a process, and all that it started, at the second epoch that is printed; None: nobody."""

    def __init__(self, victim: int | None):
        self.victim, self.epochs, self.killed = victim, 0, False

    def see(self, line: str) -> None:
        """Take a line of the training."""
        self.epochs += " epoch " in line
        if self.victim and not self.killed and self.epochs > 1:
            for process in find_processes(self.victim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self.killed = True


def run(argv: Sequence[str]) -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--chromosomes", default="1,2", help="folds [%(default)s]")
    parser.add_argument("--epochs", help="of each [as many as the model trains]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dask", action="store_true", help="two Dask workers instead")
    arguments = parser.parse_args(argv)
    flags = ["--dataset", arguments.dataset, "--chromosomes", arguments.chromosomes]
    flags += ["--epochs", arguments.epochs] if arguments.epochs else []
    (compare_dask if arguments.dask else compare_jobs)(flags, arguments.repeats)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 2 the input is wrong, 130 interrupted."""
    return run_script(Path(__file__).name, run, argv, "nothing is left")


if __name__ == "__main__":
    sys.exit(main())
