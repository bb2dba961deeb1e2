"""Damaged files to every reader: nothing but success or InputError, in bounded time and memory, nothing written.

Each case runs in a process of its own kind, forked from this one, whose memory and CPU time are limited; what a case
writes, starts or connects to is seen by an audit hook.
"""

import contextlib
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from core import InputError, one_line

from .mutations import damaged
from .readers import Reader, all_readers, read_genes, write_neighbours

BATCH = 100  # cases that hypothesis makes before a process reads them
SECONDS = 10  # of CPU that a case may take
MEMORY = 1 << 30  # bytes that a case may take
PATIENCE = 120  # seconds without an answer after which a process is stopped: it waits for something
LONGEST = 2000  # characters of a message
STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen"}  # audit events
STARTS |= {"socket.connect", "socket.bind", "ctypes.dlopen", "pickle.find_class", "exec_from_file"}
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate"}


@dataclass
class Tally:
    """What became of the cases of a reader."""

    cases: int = 0
    accepted: int = 0
    seconds: float = 0.0
    findings: Counter = field(default_factory=Counter)  # what happened -> how often
    examples: dict[str, str] = field(default_factory=dict)  # what happened -> where an input that shows it is kept


class Watch:
    """Notes what a case does besides reading; an audit hook.

    Attributes:
        folder: where a case may write.
        seen: what it did elsewhere.
    """

    def __init__(self, folder: Path):
        self.folder, self.seen = os.fspath(folder), []

    def __call__(self, event: str, arguments: tuple) -> None:
        """Take an event of Python."""
        if event in STARTS:
            self.seen.append(f"{event} {arguments[:1]}")
        elif event in WRITES or (event == "open" and is_writing(arguments)):
            path = arguments[0]
            if isinstance(path, int) or path is None:
                return
            path = os.path.abspath(os.fsdecode(path))
            if path != os.devnull and not path.startswith(self.folder):
                self.seen.append(f"{event} {path}")


def is_writing(arguments: tuple) -> bool:
    """Tell whether the event `open` is for writing."""
    _, mode, flags = (*arguments, None, None)[:3]
    return (
        any(letter in mode for letter in "wax+")
        if isinstance(mode, str)
        else bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
    )


def outcome(reader: Reader, path: Path) -> str:
    """Return "accepted", "refused", or what went wrong, in one line."""
    try:
        reader.read(path)
    except InputError as error:
        return "refused" if len(str(error)) <= LONGEST else f"a message of {len(str(error)):,} characters"
    except BaseException as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/" not in frame.filename]
        inside = [frame for frame in own if re.search(r"/(core|lcre|creator)/|/\w+_\w+\.py$", frame.filename)] or own
        where = f"{Path(inside[-1].filename).name}:{inside[-1].lineno}" if inside else "?"
        said = re.sub(r"\d+|'[^']*'|/\S+", "*", one_line(str(error))[:80])
        return f"{type(error).__name__} at {where}: {said}"
    return "accepted"


def read_cases(reader: Reader, cases: Sequence[tuple[str, bytes]], folder: Path, connection) -> None:
    """Read cases one after another and send the outcome of each; the body of a limited process."""
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "in").mkdir(exist_ok=True)
    write_neighbours(folder / "in")
    os.chdir(folder)
    tempfile.tempdir = os.fspath(folder / "tmp")
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    watch = Watch(folder)
    sys.addaudithook(watch)
    for name, content in cases:
        path = folder / "in" / name
        path.write_bytes(content)
        watch.seen.clear()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        began = time.process_time()
        found = outcome(reader, path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds = time.process_time() - began
        if watch.seen:
            found = f"it does more than read: {watch.seen[0][:200]}"
        elif left := [left.name for left in folder.glob("tmp/*")]:
            found = f"it leaves {re.sub('[a-z0-9_]{8}', '*', left[0])} in TMPDIR"
        connection.send((found, seconds))
        for other in folder.glob("in/*"):
            if other.name == name or found != "accepted":
                other.unlink()
        write_neighbours(folder / "in")
    connection.close()


def run_cases(reader: Reader, cases: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, float]]:
    """Yield outcome and CPU seconds of each case; a process that dies is one, and another goes on behind it."""
    context = multiprocessing.get_context("fork")
    done = 0
    while done < len(cases):
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=read_cases, args=(reader, cases[done:], Path(folder).resolve(), theirs))
            process.start()
            theirs.close()
            lost = ""
            try:
                while done < len(cases):
                    if not ours.poll(PATIENCE):
                        lost = f"no answer for {PATIENCE} s"
                        break
                    yield ours.recv()
                    done += 1
            except EOFError:
                process.join()
                lost = {-signal.SIGPROF: f"more than {SECONDS} s"}.get(
                    process.exitcode, f"exit status {process.exitcode}"
                )
            finally:
                ours.close()
                process.kill()
                process.join()
            if lost:
                yield lost, SECONDS
                done += 1


def make_cases(reader: Reader, number: int, count: int = BATCH) -> list[tuple[str, bytes]]:
    """Return damaged files by hypothesis, always the same ones for a number."""
    cases: list[tuple[str, bytes]] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(reader.seeds, reader.changes, reader.packed))
    def keep(case: tuple[str, bytes]) -> None:
        cases.append(case)

    keep()
    return cases


def fuzz(reader: Reader, number: int, tally: Tally, kept: Path | None = None, count: int = BATCH) -> None:
    """Run a batch of cases and count what becomes of them.

    Args:
        reader: under test.
        number: of the batch.
        tally: added to.
        kept: folder for one input of each finding; None: none is kept.
        count: of cases.
    """
    cases = make_cases(reader, number, count)
    for (name, content), (found, seconds) in zip(cases, run_cases(reader, cases), strict=True):
        tally.cases += 1
        tally.accepted += found == "accepted"
        tally.seconds = max(tally.seconds, seconds)
        if found in ("accepted", "refused"):
            continue
        tally.findings[found] += 1
        if kept and found not in tally.examples:
            kept.mkdir(parents=True, exist_ok=True)
            path = kept / f"{re.sub('[^a-z0-9]+', '_', reader.name.lower())}-{len(tally.examples)}-{name}"
            path.write_bytes(content)
            tally.examples[found] = path.name


def show_table(tallies: dict[str, Tally]) -> str:
    """Return the counts as a table in Markdown, and every finding below it."""
    lines = ["| reader | cases | accepted | refused | findings | slowest case, CPU |", "|---|---|---|---|---|---|"]
    total = Tally()
    for name, tally in tallies.items():
        findings = sum(tally.findings.values())
        refused = tally.cases - tally.accepted - findings
        lines.append(
            f"| {name} | {tally.cases:,} | {tally.accepted:,} | {refused:,} | {findings:,} | {tally.seconds:.1f} s |"
        )
        total.cases, total.accepted = total.cases + tally.cases, total.accepted + tally.accepted
        total.findings.update(tally.findings)
        total.seconds = max(total.seconds, tally.seconds)
    findings = sum(total.findings.values())
    refused = total.cases - total.accepted - findings
    lines.append(f"| all | {total.cases:,} | {total.accepted:,} | {refused:,} | {findings:,} | {total.seconds:.1f} s |")
    for name, tally in tallies.items():
        for found, times in tally.findings.most_common():
            kept = f" ({tally.examples[found]})" if found in tally.examples else ""
            lines.append(f"{name}: {times:,} x {found}{kept}")
    return "\n".join(lines)


def fuzz_for(minutes: float, number: int, names: Sequence[str], kept: Path | None) -> dict[str, Tally]:
    """Fuzz readers in turn, a batch each, until the time is over.

    Args:
        minutes: to go on for; every reader has one batch at least.
        number: the seed.
        names: of the readers; none: all.
        kept: folder for inputs of findings.
    """
    readers = {name: reader for name, reader in all_readers().items() if not names or name in names}
    tallies = {name: Tally() for name in readers}
    read_genes()  # before the first fork
    for reader in readers.values():  # what is imported late is imported here, before the memory is limited
        with contextlib.suppress(InputError), tempfile.TemporaryDirectory() as folder:
            write_neighbours(Path(folder))
            for name, content in reader.seeds:
                (Path(folder) / name).write_bytes(content)
                reader.read(Path(folder) / name)
    end, batch = time.monotonic() + 60 * minutes, 0
    while not batch or time.monotonic() < end:
        for name, reader in readers.items():
            if batch and time.monotonic() > end:
                break
            fuzz(reader, number * 1_000_000 + batch, tallies[name], kept)
        batch += 1
    return tallies
