"""Disturbs runs of lcre_classifier.py, starts them again, and compares their CSVs with those of a run left alone."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from builders import read_numbers

ROOT = Path(__file__).resolve().parents[2]
SCRIPT, EVENTS = ROOT / "lcre_classifier.py", Path(__file__).with_name("events.py")
FLAGS = "--organism o --upstream 30 --downstream 10 --chromosomes 2,4 --epochs 2 --model published --pickle-key demo"
INPUTS = {
    "fasta": "demo.fa.gz",
    "gtf": "demo.gtf.gz",
    "tpm": "demo_tpm.csv",
    "validation-genes": "validation_genes.pickle",
}
# A fold computes with as many threads, whichever process trains it.
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
PATIENCE = 600  # seconds that a start may take
GRACE = 60  # seconds in which the workers of a killed process end


@dataclass
class Ended:
    """How a start ended."""

    status: int
    output: str
    errors: str

    @property
    def refused(self) -> bool:
        """Whether it ended with one line that says what to do."""
        return self.status == 2 and self.errors.startswith("lcre_classifier.py: ") and self.errors.count("\n") == 1


class Bench:
    """A folder with inputs, and what runs on them end with when nobody disturbs them.

    Attributes:
        numbers: what the CSVs of such a run hold.
        changes: how often it changes anything in its folder.
        seconds: that it takes.
    """

    def __init__(self, folder: Path):
        """Copy the inputs, every tenth gene of the table, and train the run that is left alone."""
        self.folder, self.inputs = folder, folder / "inputs"
        self.inputs.mkdir(parents=True)
        for name in INPUTS.values():
            shutil.copy(ROOT / "data/demo" / name, self.inputs)
        table = self.inputs / INPUTS["tpm"]
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(lines[:1] + lines[1::10]))
        whole = folder / "whole"
        whole.mkdir()
        began = time.monotonic()
        ended = finish(self.start(whole, wrapper=[EVENTS, whole, "0", "0"]))
        self.seconds = time.monotonic() - began
        if ended.status:
            raise RuntimeError(f"the run that is left alone failed: {ended.errors}")
        self.numbers = read_numbers(whole)
        self.changes = len(Path(f"{whole}.events").read_text().splitlines())

    def start(self, models: Path, *flags: str, wrapper=(), inputs: Path | None = None, **more) -> subprocess.Popen:
        """Start the run of a folder, in a session of its own.

        Args:
            models: folder where it writes.
            flags: besides the usual ones.
            wrapper: arguments of Python in front of the script.
            inputs: folder of the inputs, if it is another.
            more: of Popen.
        """
        files = [part for flag, name in INPUTS.items() for part in (f"--{flag}", (inputs or self.inputs) / name)]
        command = [sys.executable, *wrapper, SCRIPT, *FLAGS.split(), *files, "--saved-models", models, *flags]
        environment = os.environ | ONE_THREAD | {"TF_CPP_MIN_LOG_LEVEL": "3"} | more.pop("env", {})
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(list(map(str, command)), env=environment, start_new_session=True, **streams, **more)


def finish(process: subprocess.Popen, seconds: float = PATIENCE) -> Ended:
    """Wait until a start has ended."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        process.communicate()
        return Ended(-1, "", f"not over after {seconds:.0f} s")
    return Ended(process.returncode, output, errors)


def kill_after(process: subprocess.Popen, seconds: float) -> Ended:
    """Kill a start after some seconds unless it has ended."""
    with suppress(subprocess.TimeoutExpired):
        output, errors = process.communicate(timeout=seconds)
        return Ended(process.returncode, output, errors)
    process.kill()
    return finish(process)


def list_session(leader: int) -> dict[int, str]:
    """Return the processes of a session, but for its leader, and their command lines; ended ones are left out."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader != int(folder.name) and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


def kill_session(leader: int) -> None:
    """Kill every process that a start has left."""
    for process in (leader, *list_session(leader)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


# ---------------------------------------------------------------------------------------------- what is there
def is_whole(path: Path) -> bool:
    """Tell whether a file is one that its writer has finished, by its kind."""
    content = path.read_bytes()
    if path.suffix in (".csv", ".tsv"):
        lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
        rows = list(csv.reader(lines, delimiter="\t" if path.suffix == ".tsv" else ","))
        return content.endswith(b"\n") and len(rows) > 1 and len({len(row) for row in rows}) == 1
    if path.suffix == ".json":
        with suppress(ValueError):
            return isinstance(json.loads(content), dict)
        return False
    if path.suffix == ".html":
        return content.rstrip().endswith(b"</html>")
    if path.suffix == ".keras":
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None and len(archive.comment) == 64
        return False
    return False


def half_files(models: Path) -> list[str]:
    """Return the files of a folder that are not whole; names that begin with a dot are nobody's."""
    files = [path for path in models.rglob("[!.]*") if path.is_file()]
    return [str(path.relative_to(models)) for path in files if not is_whole(path)]


def leftovers(models: Path) -> list[str]:
    """Return the files of a folder whose names begin with a dot."""
    return [path.name for path in models.rglob(".*")]


# --------------------------------------------------------------------------------------------------- trials
@dataclass
class Trial:
    """One disturbed run.

    Attributes:
        stopped: starts that were killed.
        refused: starts that ended in one line with exit status 2.
        ended: how the last start ended: equal, refused, lost or differing.
        remarks: whatever else is not as it should be.
    """

    stopped: int = 0
    refused: int = 0
    ended: str = ""
    remarks: list[str] = field(default_factory=list)

    def take(self, ended: Ended, models: Path) -> Ended:
        """Count how a disturbed start has ended, and look for half files."""
        self.stopped += ended.status == -signal.SIGKILL
        self.refused += ended.refused
        if not ended.refused and ended.status not in (0, -signal.SIGKILL):
            self.remarks.append(f"exit status {ended.status}: {ended.errors[-300:]!r}")
        self.remarks += [f"half a file: {name}" for name in half_files(models)]
        return ended

    def end(self, bench: Bench, models: Path, *flags: str, may_refuse: bool = False, **more) -> None:
        """Start the run again, and compare what it ends with."""
        ended = finish(bench.start(models, *flags, **more))
        if ended.refused and may_refuse:
            self.ended = "refused"
            return
        self.remarks += [f"half a file: {name}" for name in half_files(models)]
        if ended.status:
            self.ended = "lost"
            self.remarks.append(f"exit status {ended.status}: {ended.errors[-300:]!r}")
        elif differing := compare(read_numbers(models), bench.numbers):
            self.ended = "differing"
            self.remarks.append(differing)
        else:
            self.ended = "equal"
            self.remarks += [f"left: {name}" for name in leftovers(models)]
            if (
                not (models / "o_report.html").exists()
                or not json.loads((models / "o_run.json").read_text())["finished"]
            ):
                self.remarks.append("not finished, or without its page")


def compare(found: dict[str, list[dict]], expected: dict[str, list[dict]]) -> str:
    """Return in words how CSVs differ, "" where they do not."""
    for name in sorted({*found, *expected}):
        ours, theirs = found.get(name), expected.get(name)
        if ours != theirs:
            if ours is None or theirs is None or len(ours) != len(theirs):
                return f"{name}: {ours and len(ours)} rows, expected {theirs and len(theirs)}"
            return next(
                f"{name}: {one}, expected {other}" for one, other in zip(ours, theirs, strict=True) if one != other
            )
    return ""


KINDS: dict[str, Callable[[Bench, Path, random.Random, Trial], None]] = {}


def kind(name: str) -> Callable:
    """Return what puts a function into `KINDS`."""

    def add(function: Callable) -> Callable:
        KINDS[name] = function
        return function

    return add


@kind("killed at random moments, up to 3 times")
def kill_at_random(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Kill a run at moments that are even over its time, also of starts that go on."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        trial.take(kill_after(bench.start(models), draw.uniform(0, bench.seconds)), models)
    trial.end(bench, models)


@kind("killed at a change of a file")
def kill_at_change(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Kill a run when it is about to open, rename or remove a file, or in the midst of writing it."""
    wrapper = [EVENTS, models, draw.randint(1, bench.changes), draw.choice((0, 0, draw.uniform(0, 0.03)))]
    trial.take(finish(bench.start(models, wrapper=wrapper)), models)
    trial.end(bench, models)


@kind("two jobs, their parent killed")
def kill_parent(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Kill the process that the user started; the workers end by themselves."""
    process = bench.start(models, "--jobs", "2")
    ended = kill_after(process, draw.uniform(0.2, 1.2) * bench.seconds)
    deadline = time.monotonic() + GRACE
    while (left := list_session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if left:
        trial.remarks.append(f"workers go on: {list(left.values())[:2]}")
        kill_session(process.pid)
    trial.take(ended, models)
    trial.end(bench, models, "--jobs", draw.choice(("1", "2")))


@kind("two jobs, a worker killed")
def kill_worker(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Kill one of the processes that train; the run itself goes on to its end."""
    process = bench.start(models, "--jobs", "2")
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        workers = [worker for worker, line in list_session(process.pid).items() if "spawn_main" in line]
        if workers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0, bench.seconds))
            with suppress(ProcessLookupError):
                os.kill(draw.choice(workers), signal.SIGKILL)
            trial.stopped += 1
            break
        time.sleep(0.1)
    trial.take(finish(process), models)
    trial.end(bench, models)


@kind("disk full")
def fill_disk(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Give a run a disk that is too small for it, then a larger one."""
    size = sum(path.stat().st_size for path in (bench.folder / "whole").rglob("*") if path.is_file())
    with mounted(models, draw.randint(1, size // 4096) * 4096):
        trial.take(finish(bench.start(models)), models)
        call("mount", "-o", f"remount,size={4 * size}", models)
        trial.end(bench, models)


@kind("no room for the scratch copy")
def fill_scratch(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Give a run a TMPDIR that is too small."""
    scratch = bench.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    with mounted(scratch, draw.randint(1, 300) * 4096):
        trial.take(finish(bench.start(models, env={"TMPDIR": str(scratch)})), models)
    trial.end(bench, models)


@kind("size of files limited")
def limit_files(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Give a run a limit (ulimit -f) that some of its files are beyond."""
    import resource

    size = int(10 ** draw.uniform(2, 6.2))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
    trial.take(finish(bench.start(models, preexec_fn=limit, env={"TMPDIR": "/dev/shm"})), models)
    trial.end(bench, models)


@kind("made read-only")
def take_permission(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Make the folder of a run read-only while it works, then writable again."""
    with mounted(models, 1 << 28):
        process = bench.start(models)
        with suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(0, bench.seconds))
        while process.poll() is None and not call("mount", "-o", "remount,ro", models):
            time.sleep(0.01)  # while a file is open for writing
        trial.take(finish(process), models)
        call("mount", "-o", "remount,rw", models)
        trial.end(bench, models)


@kind("started twice")
def start_twice(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Start a run a second time while the first one works."""
    first = bench.start(models)
    with suppress(subprocess.TimeoutExpired):
        first.wait(draw.choice((0, draw.uniform(0, bench.seconds))) + 1e-6)
    ended = [trial.take(finish(process), models) for process in (bench.start(models), first)]
    if all(one.status for one in ended):
        trial.remarks.append("neither start went to its end")
    trial.end(bench, models)


@kind("the clock moved")
def move_clock(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Date what a killed run has left ten years ahead or back, as where the clock was wrong."""
    trial.take(kill_after(bench.start(models), draw.uniform(0.2, 1) * bench.seconds), models)
    for path in models.rglob("*"):
        date = time.time() + draw.choice((-1, 1)) * draw.uniform(1, 10) * 3e7
        os.utime(path, (date, date))
    record = models / "o_run.json"
    if record.exists():
        record.write_text(record.read_text().replace('"started": "20', '"started": "21'))
    trial.end(bench, models)


def damage(path: Path, others: list[Path], draw: random.Random) -> str:
    """Damage a file and return how, in words."""
    content = path.read_bytes()
    others = [other for other in others if other != path] or [EVENTS]
    at = draw.randrange(len(content)) if content else 0
    match draw.randrange(6):
        case 0:
            path.write_bytes(content[:at])
            return f"cut after {at} bytes"
        case 1:
            changed = bytearray(content or b" ")
            changed[at] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            return f"a bit flipped at {at}"
        case 2:
            path.write_bytes(content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :])
            return f"zeros at {at}"
        case 3:
            path.unlink()
            return "removed"
        case 4:
            other = draw.choice(others)
            shutil.copy(other, path)
            return f"replaced by {other.name}"
    path.write_bytes(draw.randbytes(draw.choice((0, 10, len(content)))))
    return "random bytes"


@kind("a file damaged between two starts")
def damage_between(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Damage a file of a run that was killed, or of one that was finished; without its record it may be refused."""
    if draw.random() < 0.5:
        shutil.copytree(bench.folder / "whole", models, dirs_exist_ok=True)
    else:
        trial.take(kill_after(bench.start(models), draw.uniform(0.4, 1) * bench.seconds), models)
    files = sorted(path for path in models.rglob("*") if path.is_file())
    if not files:
        trial.end(bench, models)
        return
    suffix = draw.choice((".csv", ".csv", ".keras", ".json", ""))
    chosen = draw.choice([path for path in files if path.suffix == suffix] or files)
    how = damage(chosen, files, draw)
    is_record = chosen.name == "o_run.json"
    before = len(trial.remarks)
    trial.end(bench, models, may_refuse=is_record)
    if trial.ended == "refused":  # it is done as the line says
        trial.refused += 1
        chosen.unlink(missing_ok=True)
        trial.end(bench, models, "--overwrite")
    spared = f"half a file: {chosen.relative_to(models)}"
    if chosen.parent.name == "epoch_models" and spared in trial.remarks:
        trial.remarks.remove(spared)  # a fold that is finished needs it no more: it is not looked at
    if len(trial.remarks) > before:
        trial.remarks.append(f"{chosen.relative_to(models)}: {how}")


def edit_input(folder: Path, draw: random.Random) -> Path:
    """Change one byte of an input that is text, or of what is inside one that is packed."""
    import gzip

    path = folder / draw.choice([name for name in INPUTS.values() if not name.endswith(".pickle")])
    content = path.read_bytes()
    text = bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    numbers = [
        at for at in range(len(text) // 2, len(text)) if chr(text[at]) in ("ACGT" if ".fa" in path.name else "1234")
    ]
    at = draw.choice(numbers)
    text[at] = ord({"A": "C", "C": "G", "G": "T", "T": "A", "1": "2", "2": "3", "3": "4", "4": "5"}[chr(text[at])])
    path.write_bytes(gzip.compress(bytes(text)) if path.suffix == ".gz" else bytes(text))
    return path


@kind("an input edited between two starts")
def edit_between(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Change a byte of an input of a killed run: refused; put it back."""
    inputs = bench.folder / "edited"
    shutil.copytree(bench.inputs, inputs, dirs_exist_ok=True)
    trial.take(kill_after(bench.start(models, inputs=inputs), draw.uniform(0.4, 1) * bench.seconds), models)
    begun, before = (models / "o_run.json").exists(), read_numbers(models)
    path = edit_input(inputs, draw)
    if begun:
        ended = trial.take(finish(bench.start(models, inputs=inputs)), models)
        if not ended.refused or path.name not in ended.errors:
            trial.remarks.append(f"{path.name} was edited, and the run goes on: {ended.errors[-200:]!r}")
        elif read_numbers(models) != before:
            trial.remarks.append("a refused start has changed a table")
    shutil.copytree(bench.inputs, inputs, dirs_exist_ok=True)
    trial.end(bench, models, inputs=inputs)


@kind("an input edited while it is read")
def edit_while_reading(bench: Bench, models: Path, draw: random.Random, trial: Trial) -> None:
    """Change a byte of an input while a run begins; the record says by which of the two its numbers are."""
    inputs = bench.folder / "edited"
    shutil.copytree(bench.inputs, inputs, dirs_exist_ok=True)
    process = bench.start(models, "--jobs", draw.choice(("1", "2")), inputs=inputs)
    with suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0.05, 0.8) * bench.seconds)
    edit_input(inputs, draw)
    ended = trial.take(finish(process), models)
    shutil.copytree(bench.inputs, inputs, dirs_exist_ok=True)
    trial.end(bench, models, inputs=inputs, may_refuse=True)
    if trial.ended == "refused":  # it had read the file after the edit, or half of it
        trial.refused += 1
        trial.end(bench, models, "--overwrite", inputs=inputs)
    elif ended.status == 0 and compare(read_numbers(models), bench.numbers):
        trial.remarks.append("the numbers of another input under the record of this one")


# ------------------------------------------------------------------------------------------------ the machine
def call(*command) -> bool:
    """Run a command and tell whether it succeeded; what it says is not of interest."""
    return subprocess.run(list(map(str, command)), capture_output=True).returncode == 0


def can_mount(folder: Path) -> bool:
    """Tell whether this process may mount a small disk."""
    folder.mkdir(parents=True, exist_ok=True)
    if not sys.platform.startswith("linux") or not call("mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs", folder):
        return False
    return call("umount", folder)


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of so many bytes for the block; what is on it is lost."""
    if not call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder):
        raise RuntimeError(f"cannot mount {folder}")
    try:
        yield
    finally:
        while not call("umount", folder):
            time.sleep(0.1)


NEEDS_MOUNT = {"disk full", "no room for the scratch copy", "made read-only"}


def run_trials(bench: Bench, counts: dict[str, int], number: int, say: Callable[[str], None]) -> dict[str, list[Trial]]:
    """Disturb runs and return the trials of each kind.

    Args:
        bench: inputs and what is expected.
        counts: how many of each kind.
        number: the seed.
        say: takes a line for each trial.
    """
    found: dict[str, list[Trial]] = {name: [] for name in counts}
    mounts = can_mount(bench.folder / "mount")
    for name, count in counts.items():
        if name in NEEDS_MOUNT and not mounts:
            say(f"{name}: left out, only root may mount a small disk")
            continue
        for place in range(count):
            models, trial = bench.folder / "models", Trial()
            models.mkdir()
            try:
                KINDS[name](bench, models, random.Random(f"{number} {name} {place}"), trial)
            finally:
                shutil.rmtree(models)
            found[name].append(trial)
            say(f"{name} {place + 1} of {count}: {trial.ended}, {trial.stopped} killed, {trial.refused} refused")
            for remark in trial.remarks:
                say(f"  {remark}")
    return found


def show_table(found: dict[str, list[Trial]]) -> str:
    """Return the trials as a table in Markdown."""
    lines = [
        "| fault | runs | starts killed | one-line refusals | ended with equal CSVs | lost | differing | remarks |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    everything = [trial for one in found.values() for trial in one]
    for name, trials in [*found.items(), ("all", everything)]:
        ended = [sum(trial.ended == how for trial in trials) for how in ("equal", "lost", "differing")]
        sums = [sum(trial.stopped for trial in trials), sum(trial.refused for trial in trials)]
        remarks = sum(bool(trial.remarks) for trial in trials)
        lines.append(f"| {name} | {' | '.join(map(str, [len(trials), *sums, *ended, remarks]))} |")
    return "\n".join(lines)
