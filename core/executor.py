"""Tasks side by side: one after another in this process, in processes of this machine, or on the workers of Dask.

`open_workers` gives a `concurrent.futures` executor of either kind with what belongs to it, and `run` hands it tasks. A
task is a function that workers can import, called with its arguments and `progress`. What it tells this progress is
shown by the process that started it, which alone prints.
"""

import contextlib
import hashlib
import importlib.util
import logging
import multiprocessing
import os
import pickle
import queue
import re
import signal
import sys
import threading
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from core import InputError, one_line, show_value
from core.device import list_gpus, usable_cores
from core.memory import free_memory
from core.progress import Progress

MOST_RETAKEN = 3  # times that a task whose worker died is taken up by another
MEMORY_OF_TASK = 3 * 10**9  # bytes that are free for each task before another one is run at once by default
GRACE = 10  # seconds in which a worker that is asked to stop ends its step; then it is killed, which loses no file
ANSWER = 10  # seconds in which a Dask scheduler has to answer
STEPS_EVERY = 0.5  # seconds between two reports of a worker on its steps


class WorkerLost(Exception):
    """A worker ended in the middle of a task; the message names the worker and says how it ended."""


# ------------------------------------------------------------------------------------------------ the workers
@dataclass
class Workers:
    """An executor with what belongs to it.

    Attributes:
        executor: runs the tasks.
        at_once: how many tasks it is given at a time; None: all.
        here: it runs them in this process.
        messages: what workers and executor report: name of the task ("": all of them), kind, content.
        where: on what they run, in words.
        prepare: returns what the executor is given for a function: called with name and arguments of a task.
        describe_loss: returns how a task was lost where its error says that its workers died, else "".
    """

    executor: Executor
    at_once: int | None
    here: bool = False
    where: str = ""
    messages: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    prepare: Callable[[Callable], Callable] = lambda function: function
    describe_loss: Callable[[Exception], str] = lambda error: ""

    def run(
        self, function: Callable, tasks: Iterable[tuple[str, tuple]], progress: Progress, finish_others: bool = True
    ) -> Iterator[tuple[str, object]]:
        """Run tasks and yield the name of each with its result, in the order in which they end.

        A task whose worker died is taken up by another, `MOST_RETAKEN` times; a task with which that goes on is given
        up.

        Args:
            function: called with the arguments of a task and `progress`; it can be imported by the workers.
            tasks: name and arguments of each; one is taken when a worker is free for it.
            progress: of all tasks.
            finish_others: whether the other tasks are run to their end before an error says that one was given up.

        Raises:
            InputError: the workers of a task died again and again; the scheduler of Dask is gone.
            Exception: the first one that a task raises.
        """
        call, shares, running = self.prepare(function), {}, {}
        losses, given_up = Counter(), []
        waiting, again = iter(tasks), deque()
        while True:
            while self.at_once is None or len(shares) < self.at_once:
                task = again.popleft() if again else next(waiting, None)
                if task is None:
                    break
                name, arguments = task
                shares[name], running[name] = Share(name, progress), arguments
                self.submit(call, name, arguments, progress)
            if not shares:
                break
            name, kind, content = self.wait()
            if kind == "lost":
                for share in shares.values():
                    share.take(kind, content)
                continue
            if kind != "done":
                shares.get(name, Share(name, progress)).take(kind, content)  # of Dask some come behind the end
                continue
            share, arguments = shares.pop(name), running.pop(name)
            try:
                result = content.result()
            except WorkerLost as error:
                share.forget()
                losses[name] += 1
                if losses[name] <= MOST_RETAKEN:
                    times = f"{losses[name]} of {MOST_RETAKEN} times"
                    progress.line(f"{one_line(name)}: {error}; another takes it up ({times})")
                    again.append((name, arguments))
                else:
                    given_up.append(f"{name}: {error}, the {losses[name]}th that it lost")
            except CancelledError:  # by Dask: nobody else cancels
                raise InputError(
                    f"the scheduler ended, or the connection to it, while tasks ran {self.where}; start one, and give "
                    "the same command again"
                ) from None
            except Exception as error:
                if not (lost := self.describe_loss(error)):
                    raise
                given_up.append(f"{name}: {lost}")
            else:
                yield name, result
            if given_up and not finish_others:
                break
        if given_up:
            raise InputError(
                f"{'; '.join(given_up)}; a worker that is killed often had too little memory: run fewer at once"
            )

    def run_in_order(
        self, function: Callable, tasks: Iterable[tuple[str, tuple]], progress: Progress
    ) -> Iterator[tuple[str, object]]:
        """Run tasks as `run` does, and yield their results in the order of the tasks, each as soon as it can be.

        Where a task is given up, the error is raised at once: what comes behind it could not be yielded.
        """
        names, ended = deque(), {}

        def take() -> Iterator[tuple[str, tuple]]:
            for name, arguments in tasks:
                names.append(name)
                yield name, arguments

        for name, result in self.run(function, take(), progress, finish_others=False):
            ended[name] = result
            while names and names[0] in ended:
                first = names.popleft()
                yield first, ended.pop(first)

    def submit(self, call: Callable, name: str, arguments: tuple, progress: Progress) -> None:
        """Hand a task to the executor; its end is a message."""
        if self.here:
            future = self.executor.submit(call, *arguments, progress=progress)
        else:
            future = self.executor.submit(call, name, arguments)
        future.add_done_callback(lambda done: self.messages.put((name, "done", done)))

    def wait(self) -> tuple[str, str, object]:
        """Return the next message."""
        while True:
            with contextlib.suppress(queue.Empty):
                return self.messages.get(timeout=1)  # without an end Windows would not see Ctrl-C


@dataclass
class Share:
    """What one task has added to the progress of all."""

    name: str
    progress: Progress
    worker: str = ""  # of Dask
    lost: bool = False  # whether it waits for another worker
    counted: int = 0  # steps that it made or skipped

    def take(self, kind: str, content) -> None:
        """Show what is reported of the task.

        Args:
            kind: `begin`, `line`, `skip` or `step`, by a worker; `lost`: a worker has ended.
            content: the worker; text, and whether the time left is printed too; how many steps; text and how many
                steps; the worker.
        """
        if kind == "lost":
            if self.worker == content:
                self.progress.line(f"{self.name}: worker {self.worker} ended; another takes it up when it is free")
                self.forget()
                self.worker, self.lost = "", True
        elif kind == "begin":
            if self.worker:
                self.progress.line(f"{self.name}: worker {self.worker} ended; {content} takes it up")
                self.forget()
            elif self.lost:
                self.progress.line(f"{self.name}: {content} takes it up")
            self.worker, self.lost = content, False
        elif kind == "line":
            self.progress.line(*content)
        elif kind == "skip":
            self.progress.skip(content)
            self.counted += content
        elif kind == "step":
            text, count = content
            self.progress.step(text, count)
            self.counted += count

    def forget(self) -> None:
        """Put the steps back: who takes the task up skips those that are on disk."""
        self.progress.skip(-self.counted)
        self.counted = 0


class WorkerProgress(Progress):
    """The progress of a task in a worker: what it is told goes to the process that started the task.

    Args:
        send: takes kind and content of a message.
        is_unwanted: tells whether to stop.
        worker: its name.
    """

    def __init__(self, send: Callable[[str, object], None], is_unwanted: Callable[[], bool], worker: str):
        self.send, self.is_unwanted, self.worker = send, is_unwanted, f"{worker}: "
        self.in_step, self.text, self.count, self.sent = False, "", 0, 0.0

    def is_stopping(self) -> bool:
        """Tell whether to end here."""
        return self.is_unwanted()

    def skip(self, steps: int) -> None:
        """Take steps that are done already out of the count."""
        self.send("skip", steps)

    def time_left(self) -> str:
        """Return '': the process that started the tasks knows the others."""
        return ""

    def step(self, text: str, count: int = 1) -> None:
        """Count `count` steps and end here if a stop was asked for."""
        self.text, self.count = text, self.count + count
        if time.monotonic() - self.sent > STEPS_EVERY:
            self.report()
        if self.is_stopping():
            raise KeyboardInterrupt

    def report(self) -> None:
        """Send the steps that are not sent yet."""
        if self.count:
            self.send("step", (self.text, self.count))
        self.count, self.sent = 0, time.monotonic()

    def line(self, text: str, with_time_left: bool = False) -> None:
        """Have a line printed that stays."""
        self.report()
        self.send("line", (text, with_time_left))
        if self.is_stopping() and not self.in_step:
            raise KeyboardInterrupt


def check_scheduler(address: str | None, what: str) -> None:
    """Raise InputError unless an address may be that of a Dask scheduler, and Dask is installed, or it is None.

    Args:
        address: as `dask scheduler` prints it.
        what: says where it stands.
    """
    if address is None:
        return
    if not re.fullmatch(r"(tcp|tls|ucx|wss?)://[^\s/]+:\d{1,5}/?", address):
        raise InputError(
            f"{what}: {show_value(address)} is no address of a Dask scheduler; give it as tcp://host:8786, as 'dask "
            "scheduler' prints it"
        )
    missing = [name for name in ("dask", "distributed") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{what} needs {' and '.join(missing)}, not installed; pip install -r requirements-dask.txt brings them"
        )


def find_scheduler(address: str | None) -> None:
    """Raise InputError unless a Dask scheduler answers at an address, or it is None.

    Dask's own client would wait much longer for what takes a connection and never says anything.
    """
    if address is None:
        return
    import asyncio

    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> dict:
        async with rpc(address, timeout=ANSWER, connection_args=Security().get_connection_args("client")) as there:
            return await asyncio.wait_for(there.identity(), ANSWER)

    try:
        kind = asyncio.run(ask()).get("type")
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        said = one_line(show_value(error, 200)) or type(error).__name__
        raise InputError(
            f"no Dask scheduler answers at {address} within {ANSWER} s ({said}); start one with 'dask scheduler', "
            "which prints its address"
        ) from None
    if kind != "Scheduler":
        raise InputError(f"{address} is a {kind} of Dask; give the address that 'dask scheduler' prints")


def choose_jobs(jobs: int | None, tasks: int) -> int:
    """Return how many tasks to run at once, at least 1, at most as many as there are.

    Args:
        jobs: how many are asked for; None: so many that each has two cores and `MEMORY_OF_TASK`.
        tasks: how many there are.
    """
    fitting = min(usable_cores() // 2, free_memory() // MEMORY_OF_TASK)
    return max(1, min(jobs or fitting, tasks))


@contextlib.contextmanager
def open_workers(jobs: int | None, scheduler: str | None, tasks: int) -> Iterator[Workers]:
    """Open what runs tasks, for the block; workers that still have one at its end are stopped.

    Args:
        jobs: tasks at a time; None: as `choose_jobs`, and of Dask as many as it has workers.
        scheduler: address of the scheduler of a Dask cluster; None: this machine.
        tasks: how many there are.

    Raises:
        InputError: no scheduler answers.
    """
    if scheduler:
        with open_dask(scheduler, jobs) as workers:
            yield workers
        return
    jobs = choose_jobs(jobs, tasks)
    if jobs == 1:
        yield Workers(ExecutorHere(), 1, here=True)
        return
    cores = split_cores(jobs)
    where = f"{jobs} at once, each by a process with {len(cores[0])} of {usable_cores()} cores"
    with ProcessExecutor(cores, list_gpus()) as executor:
        prepare = partial(partial, run_in_process)
        yield Workers(executor, jobs, False, where, executor.messages, prepare)


class ExecutorHere(Executor):
    """An executor that runs what it is given at once, in this process."""

    def submit(self, function: Callable, /, *arguments, **named) -> Future:
        """Return a future that is done."""
        future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


# ------------------------------------------------------------------------------- processes of this machine
class ProcessExecutor(Executor):
    """An executor of processes, each with a thread here that feeds it; a process that dies costs its task alone.

    The cores are shared out evenly, the GPUs in turn. Each process has a pipe of its own, so that none can block
    another by being killed while it writes. It ends when this process ends, in whatever way.

    Args:
        cores: that each of the processes may use; they are started when there is something for them.
        gpus: given out in turn; none: as this process has them.
    """

    def __init__(self, cores: Sequence[Sequence[int]], gpus: Sequence[str] = ()):
        self.tasks, self.messages = queue.SimpleQueue(), queue.SimpleQueue()
        self.lock, self.connections, self.processes, self.closed = threading.Lock(), {}, {}, False
        self.threads = [
            threading.Thread(target=self.serve, args=(number, few, gpus), daemon=True)
            for number, few in enumerate(cores, 1)
        ]
        for thread in self.threads:
            thread.start()

    def submit(self, function: Callable, /, *arguments, **named) -> Future:
        """Return the future of a call by one of the processes, which can import the function."""
        future = Future()
        self.tasks.put((future, (function, arguments, named)))
        return future

    def serve(self, number: int, cores: Sequence[int], gpus: Sequence[str]) -> None:
        """Feed one process with tasks; its thread.

        The process inherits from this thread which cores it may use, and that Ctrl-C, which a terminal sends to all
        processes, and SIGTERM, which a cluster does, are left to the process that started it.
        """
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)  # of this thread
        environment = {"CUDA_VISIBLE_DEVICES": gpus[(number - 1) % len(gpus)]} if gpus else {}
        while (item := self.tasks.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self.perform(number, pickle.dumps(call), len(cores), environment))
            except BaseException as error:
                future.set_exception(error)
        self.end(number)

    def perform(self, number: int, call: bytes, cores: int, environment: dict):
        """Have process `number`, which is started unless it runs, do a call; return its result or raise its error.

        Raises:
            WorkerLost: the process ended.
        """
        if number not in self.connections:
            self.start(number, cores, environment)
        connection, process = self.connections[number], self.processes[number]
        try:
            with self.lock:
                connection.send_bytes(call)
            while True:
                kind, content = connection.recv()
                if kind == "result":
                    return content
                if kind == "error":
                    raise content
                self.messages.put(content)
        except (EOFError, ConnectionError):
            self.end(number)
            raise WorkerLost(f"worker {number} (process {process.pid}) {describe_end(process.exitcode)}") from None

    def start(self, number: int, cores: int, environment: dict) -> None:
        """Start process `number`."""
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may never end
        connection, other = context.Pipe()
        process = context.Process(target=work, args=(other, number, cores, environment), name=f"worker {number}")
        with self.lock:
            if self.closed:
                raise WorkerLost("the workers are closed")
            process.start()
            self.connections[number], self.processes[number] = connection, process
        other.close()  # so that reading ends where the process does

    def end(self, number: int) -> None:
        """Close the pipe of process `number`, at which it ends, and wait for that."""
        with self.lock:
            connection = self.connections.pop(number, None)
        if connection is not None:
            connection.close()
            self.processes[number].join()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, those that have a task behind the step that they are in."""
        with self.lock:
            self.closed = True
            for connection in self.connections.values():
                with contextlib.suppress(OSError):
                    connection.send_bytes(STOP)
        with contextlib.suppress(queue.Empty):
            while True:
                self.tasks.get_nowait()[0].cancel()
        for _ in self.threads:
            self.tasks.put(None)
        deadline = time.monotonic() + GRACE
        try:
            for thread in self.threads:
                thread.join(max(deadline - time.monotonic(), 0))
        finally:  # a second Ctrl-C does not wait
            for process in self.processes.values():
                process.kill()
            for thread in self.threads:
                thread.join()


STOP = b"stop"
CHANNEL = None  # of a worker process: takes a message for the process that started it, and tells whether to stop


def work(connection, number: int, cores: int, environment: dict[str, str]) -> None:
    """Do what comes through a pipe until it is closed: the main function of a worker process."""
    global CHANNEL
    os.environ.update(environment)
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows: TensorFlow would take all cores
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, str(cores))
    calls, stop = queue.SimpleQueue(), threading.Event()

    def listen() -> None:
        try:
            while (content := connection.recv_bytes()) != STOP:
                calls.put(content)
            stop.set()
            connection.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)  # the process that started this one is gone, or has no more use for it

    CHANNEL = lambda message: connection.send(("message", message)), stop.is_set, number
    threading.Thread(target=listen, daemon=True).start()
    while True:
        content = calls.get()
        try:
            function, arguments, named = pickle.loads(content)
            answer = "result", function(*arguments, **named)
        except KeyboardInterrupt:
            os._exit(130)
        except BaseException as error:
            answer = "error", make_portable(error)
        connection.send(answer)


def run_in_process(function: Callable, name: str, arguments: tuple, worker: str = ""):
    """Return the result of a task of this name, in a worker process; `worker` is that of Dask which started it."""
    send, is_unwanted, number = CHANNEL
    worker = f"{worker or f'worker {number}'} (process {os.getpid()})"
    progress = WorkerProgress(lambda *content: send((name, *content)), is_unwanted, worker)
    result = function(*arguments, progress=progress)
    progress.report()
    return result


def make_portable(error: BaseException) -> Exception:
    """Return an error as it can be sent to another process: itself, or one that says the same."""
    if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's own MemoryError
        return MemoryError()
    if not isinstance(error, InputError):
        error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def split_cores(count: int) -> list[list[int]]:
    """Return the cores that each of `count` processes may use: equally many, since their number moves last digits."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(usable_cores()))
    size = len(cores) // count
    if not size:
        return [[cores[number % len(cores)]] for number in range(count)]
    return [cores[number * size : (number + 1) * size] for number in range(count)]


def describe_end(status: int | None) -> str:
    """Return how a process ended, in words, from its exit status: below 0 that of a signal."""
    if status is None or status >= 0:
        return f"ended with exit status {status}"
    with contextlib.suppress(ValueError):
        return f"was killed ({signal.Signals(-status).name})"
    return f"was killed (signal {-status})"


# ------------------------------------------------------------------------------------------------------ Dask
@contextlib.contextmanager
def open_dask(address: str, jobs: int | None) -> Iterator[Workers]:
    """Open the workers of a Dask cluster, for the block; see `open_workers`."""
    from distributed import Client
    from distributed.scheduler import KilledWorker

    find_scheduler(address)
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said here, in one line
    client = Client(address, timeout=ANSWER, set_as_default=False)
    topic, messages = f"tasks-{uuid.uuid4().hex}", queue.SimpleQueue()
    client.subscribe_topic(topic, lambda event: messages.put(tuple(event[1])))

    def see(event: tuple) -> None:
        what = event[1]
        if isinstance(what, dict) and what.get("action") == "remove-worker":
            messages.put(("", "lost", what["worker"]))

    client.subscribe_topic("all", see)  # of the scheduler

    def describe_loss(error: Exception) -> str:
        if not isinstance(error, KilledWorker):
            return ""
        return f"worker {error.last_worker.address} ended, the {error.allowed_failures + 1}th that it lost"

    executor = client.get_executor(pure=False)
    try:
        where = f"on the {len(client.nthreads())} workers of the Dask cluster {address}"
        where += f", {jobs} at once" if jobs else ""
        yield Workers(executor, jobs, False, where, messages, partial(prepare_for_dask, topic=topic), describe_loss)
    finally:
        executor.shutdown(wait=False)  # what is not done is no longer wanted, which the workers see
        client.unsubscribe_topic(topic)
        client.unsubscribe_topic("all")
        client.close()


def prepare_for_dask(function: Callable, topic: str) -> Callable:
    """Return what a Dask worker is given for a function: it imports this project from the same folder.

    It travels as code, because a worker that was started anywhere cannot import any of this before; it therefore uses
    nothing but what it holds. A worker that has imported another version of the project lets go of that.
    """
    folder, version = str(Path(__file__).resolve().parents[1]), hash_sources()
    script = sys.modules[function.__module__].__file__
    module, name = Path(script).stem if function.__module__ == "__main__" else function.__module__, function.__name__
    folder = str(Path(script).resolve().parent) if function.__module__ == "__main__" else folder

    def call(task: str, arguments: tuple):
        import importlib
        import os
        import socket
        import sys

        if not os.path.isdir(folder):
            raise FileNotFoundError(2, f"the Dask worker on {socket.gethostname()} does not see this folder", folder)
        known = sys.modules.get("core.executor")
        if known is not None and version != known.VERSION:
            known.close_on_dask()
            for other in [other for other in sys.modules if other.partition(".")[0] == "core"]:
                del sys.modules[other]
        if sys.path[:1] != [folder]:
            sys.path.insert(0, folder)
        importlib.invalidate_caches()
        executor = importlib.import_module("core.executor")
        executor.VERSION = version
        return executor.run_on_dask(module, name, topic, task, arguments)

    return call


VERSION = None  # of a Dask worker: hash of the sources that it has imported
ON_DASK: dict[int, ProcessExecutor] = {}  # by thread of a Dask worker: the process that computes for it


def hash_sources() -> str:
    """Return a hash of the project's folder and its Python files."""
    root = Path(__file__).resolve().parents[1]
    paths = [*root.glob("*.py"), *(path for name in ("core", "lcre") for path in (root / name).glob("*.py"))]
    content = [os.fsencode(path) + hashlib.sha256(path.read_bytes()).digest() for path in sorted(paths)]
    return hashlib.sha256(b"".join(content)).hexdigest()


def run_on_dask(module: str, name: str, topic: str, task: str, arguments: tuple):
    """Return the result of a task, in a Dask worker; None where it is no longer wanted.

    It is computed by a process that the worker starts for each of its threads, with its share of the cores: Dask's own
    threads draw from the random numbers of Python, from which Keras draws its weights.
    """
    from distributed import get_worker

    worker, thread = get_worker(), threading.get_ident()
    key = worker.get_current_task()
    if thread not in ON_DASK:
        multiprocessing.current_process().daemon = False  # Dask's are, and might not start any
        cores = split_cores(worker.state.nthreads)
        ON_DASK[thread] = ProcessExecutor([cores[len(ON_DASK) % len(cores)]])
    executor = ON_DASK[thread]
    worker.log_event(topic, (task, "begin", worker.address))
    future = executor.submit(run_by_name, module, name, worker.address, task, arguments)
    while not (future.done() and executor.messages.empty()):
        state = worker.state.tasks.get(key)
        if state is None or state.state not in ("executing", "long-running"):
            ON_DASK.pop(thread).shutdown()
            return None
        with contextlib.suppress(queue.Empty):
            worker.log_event(topic, executor.messages.get(timeout=0.2))
    try:
        return future.result()
    except WorkerLost as error:
        raise WorkerLost(f"{worker.address}: {error}") from None


def run_by_name(module: str, name: str, worker: str, task: str, arguments: tuple):
    """Return the result of a task, in the process of a Dask worker, whose address is given."""
    return run_in_process(getattr(importlib.import_module(module), name), task, arguments, worker)


def close_on_dask() -> None:
    """End the processes of a Dask worker."""
    for thread in list(ON_DASK):
        ON_DASK.pop(thread).shutdown()
