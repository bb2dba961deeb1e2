"""Locks between processes: one holder at a time, none left by a process that died, no file left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builders import one_line

from core import InputError, locks

ROOT = Path(__file__).resolve().parents[1]
HOLD = """
import sys, time
from pathlib import Path
from core import locks
with locks.claim(Path(sys.argv[1]), "the thing"):
    print("held", flush=True)
    time.sleep(60)
"""
COUNT = """
import sys
from pathlib import Path
from core import locks
counter = Path(sys.argv[1]) / "counter"
for _ in range(50):
    with locks.wait_for(Path(sys.argv[1]) / ".lock"):
        counter.write_text(str(int(counter.read_text()) + 1))
"""
needs_locks = pytest.mark.skipif(locks.fcntl is None, reason="this system has no file locks")


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / ".lock"], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@needs_locks
def test_what_another_process_holds_is_refused_and_the_process_is_named(holder, tmp_path):
    with pytest.raises(InputError) as error, locks.claim(tmp_path / ".lock", "fold 2"):
        pass
    message = one_line(error)
    assert message.startswith(f"fold 2 is in use by process {holder.pid} on ")
    assert "wait until that ends, or stop it" in message


@needs_locks
def test_a_killed_process_keeps_no_lock(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with locks.claim(tmp_path / ".lock", "it"):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert list(tmp_path.iterdir()) == []


@needs_locks
def test_a_lock_file_is_removed_unless_it_is_held(holder, tmp_path):
    locks.remove_unheld(tmp_path / ".lock")
    assert (tmp_path / ".lock").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    locks.remove_unheld(tmp_path / ".lock")
    locks.remove_unheld(tmp_path / ".never")
    assert list(tmp_path.iterdir()) == []


@needs_locks
def test_a_claim_is_for_one_holder_within_a_process_too(tmp_path):
    with locks.claim(tmp_path / ".lock", "it"), pytest.raises(InputError), locks.claim(tmp_path / ".lock", "it"):
        pass
    assert list(tmp_path.iterdir()) == []


@needs_locks
def test_processes_that_wait_for_each_other_lose_nothing(tmp_path):
    (tmp_path / "counter").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, tmp_path], cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert (tmp_path / "counter").read_text() == "200"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch):
    def no_locks(handle, how):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    if locks.fcntl:
        monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with locks.claim(tmp_path / ".lock", "it"), locks.claim(tmp_path / ".lock", "it"):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


@needs_locks
def test_waiting_ends(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    with pytest.raises(InputError, match=f"is held by process {holder.pid} on"), locks.wait_for(tmp_path / ".lock"):
        pass
