"""data/fetch.py against a server on this machine: no test needs the network."""

import contextlib
import errno
import importlib.util
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import pack
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).parents[1] / "data" / "fetch.py"
spec = importlib.util.spec_from_file_location("lcre_fetch", SCRIPT)
fetch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch)

FASTA = "genomes/Solanum_lycopersicum.SL3.0.dna.toplevel.fa"
GTF = "gene_models/Solanum_lycopersicum.SL3.0.52.gtf"
FASTA_URL = "/" + fetch.SPECIES["tomato"]["fasta"]
GTF_URL = "/" + fetch.SPECIES["tomato"]["gtf"]

RANDOM = random.Random(52)

# Random bases do not pack well: some 70 kB of gzip, enough to break off in the middle.
GENOME = b">1 dna:chromosome\n" + bytes(b"ACGT"[b & 3] for b in RANDOM.randbytes(240_000)) + b"\n"
ANNOTATION = b'1\tens\tgene\t1001\t2000\t.\t+\t.\tgene_id "Solyc01g000010";\n' * 50


class Server:
    """Files by path, how the server behaves, and the requests it has seen."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.requests: list[tuple[str, str | None, str | None, int]] = []  # path, Range, If-Range, status
        self.ranges = True  # False: responds 200 with the whole file whatever is requested
        self.etag = True  # False: Last-Modified only
        self.cut: dict[str, list[int]] = {}  # path -> bytes after which the next responses end
        self.fail: dict[str, list[int]] = {}  # path -> statuses of the next responses
        self.headers: dict[str, tuple[int, dict[str, str]]] = {}  # path -> status and headers, and no body
        self.reason: str | None = None  # what the next failing response gives besides its status
        self.stall: set[str] = set()  # paths whose next response hangs in the middle
        self.wrong_part = 0  # responses that send another range than requested
        self.released = threading.Event()
        self.url = ""

    def add(self, path: str, content: bytes, etag: str = '"one"') -> None:
        self.files[path], self.etags[path] = content, etag

    def list_sums(self) -> None:
        """Write CHECKSUMS as Ensembl does: one a folder, lines `sum blocks name`."""
        for path in [path for path in self.files if not path.endswith("CHECKSUMS")]:
            folder, name = path.rsplit("/", 1)
            number, blocks = fetch.sum_plain(self.files[path]), -(-len(self.files[path]) // 1024)
            self.add(folder + "/CHECKSUMS", f"00001 1 README\n{number:05d} {blocks} {name}\n".encode())

    def requested(self, path: str) -> list[tuple[str | None, int]]:
        return [(wanted, status) for where, wanted, _, status in self.requests if where == path]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server: Server = self.server.state
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        content = server.files.get(self.path)
        status, first = 200, 0
        if server.fail.get(self.path):
            status = server.fail[self.path].pop(0)
        elif content is None:
            status = 404
        elif wanted and server.ranges:
            current = server.etags[self.path] if server.etag else "Tue, 01 Mar 2022 10:00:00 GMT"
            if condition in (None, current):
                first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                status = 206 if first < len(content) else 416
        if self.path in server.headers:
            status, headers = server.headers[self.path]
            server.requests.append((self.path, wanted, condition, status))
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        server.requests.append((self.path, wanted, condition, status))
        self.send_response(status, server.reason if status >= 400 else None)
        if status not in (200, 206):
            if status == 416:
                self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if status == 206:
            if server.wrong_part:
                server.wrong_part -= 1
                first = 0
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if server.etag:
            self.send_header("ETag", server.etags[self.path])
        self.send_header("Last-Modified", "Tue, 01 Mar 2022 10:00:00 GMT")
        body = content[first:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut.get(self.path):
            body = body[: server.cut[self.path].pop(0)]
        with contextlib.suppress(ConnectionError):
            if self.path in server.stall:
                server.stall.discard(self.path)
                self.wfile.write(body[:5000])
                server.released.wait(5)
                return
            self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "BACKOFF", 0.001)
    monkeypatch.setattr(fetch, "TIMEOUT", 5.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()
    state.add(FASTA_URL, pack(GENOME))
    state.add(GTF_URL, pack(ANNOTATION))
    state.list_sums()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    listener.state = state
    state.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    state.released.set()
    listener.shutdown()
    listener.server_close()
    thread.join()


def run(server: Server, data: Path, *more: str) -> int:
    return fetch.main(["tomato", "--data", str(data), "--base-url", server.url, *more])


def files(data: Path) -> list[str]:
    return sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())


def one_line(capsys) -> str:
    """The one line of an error, after checking that it is one."""
    error = capsys.readouterr().err
    assert error.startswith("fetch.py: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


def begin(server: Server, data: Path, monkeypatch, size: int = 30_000) -> None:
    """Leave the genome's .part with `size` bytes, as a run does that is stopped in the middle."""
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "ATTEMPTS", 1)
        server.cut[FASTA_URL] = [size]
        assert run(server, data) == 2
    assert (data / (FASTA + ".gz.part")).stat().st_size == size
    server.requests.clear()


# --- The whole way ------------------------------------------------------------------------------


def test_full_download(server, tmp_path, capsys):
    assert run(server, tmp_path) == 0
    assert (tmp_path / FASTA).read_bytes() == GENOME
    assert (tmp_path / GTF).read_bytes() == ANNOTATION
    assert files(tmp_path) == sorted([FASTA, GTF])  # no archive, part or memo stays
    said = capsys.readouterr().out
    assert "\r" not in said  # not a terminal: plain lines
    assert "python lcre_classifier.py --dataset tomato" in said
    assert said.count("still missing") == 2
    assert str(tmp_path / "tpm_counts" / "solanum_counts.csv") in said
    assert str(tmp_path / "validation_genes.pickle") in said


def test_already_there_is_not_asked_for(server, tmp_path, capsys):
    assert run(server, tmp_path) == 0
    server.requests.clear()
    (tmp_path / "tpm_counts").mkdir()
    (tmp_path / "tpm_counts" / "solanum_counts.csv").write_text("gene_id,logMaxTPM\n")
    (tmp_path / "validation_genes.pickle").write_bytes(b"\x80\x04}.")
    capsys.readouterr()
    assert run(server, tmp_path) == 0
    assert server.requests == []
    said = capsys.readouterr().out
    assert said.count("already here") == 2
    assert "still missing" not in said


def test_empty_file_is_not_a_complete_one(server, tmp_path):
    (tmp_path / "genomes").mkdir()
    (tmp_path / FASTA).touch()
    assert run(server, tmp_path) == 0
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_archive_already_there_is_checked_and_unpacked(server, tmp_path):
    (tmp_path / "genomes").mkdir()
    (tmp_path / (FASTA + ".gz")).write_bytes(server.files[FASTA_URL])
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == []
    assert files(tmp_path) == sorted([FASTA, GTF])


def test_default_folder_gives_the_short_command():
    said = fetch.next_steps("tomato", SCRIPT.parent.resolve())
    assert said.endswith("  python lcre_classifier.py --dataset tomato")


def test_other_folder_is_named_in_the_command(tmp_path):
    command = fetch.next_steps("sorghum", tmp_path).splitlines()[-1]
    assert f"--tpm {tmp_path}/tpm_counts/sorghum_counts.csv" in command
    assert f"--validation-genes {tmp_path}/validation_genes.pickle" in command


# --- Broken off and resumed ---------------------------------------------------------------------


def test_broken_download_is_resumed_in_the_same_run(server, tmp_path):
    server.cut[FASTA_URL] = [20_000, 15_000]
    assert run(server, tmp_path) == 0
    assert (tmp_path / FASTA).read_bytes() == GENOME
    assert server.requested(FASTA_URL) == [(None, 200), ("bytes=20000-", 206), ("bytes=35000-", 206)]


@pytest.mark.parametrize("etag", [True, False])
def test_resumed_by_the_next_run(server, tmp_path, monkeypatch, etag):
    server.etag = etag
    begin(server, tmp_path, monkeypatch)
    assert run(server, tmp_path) == 0
    assert (tmp_path / FASTA).read_bytes() == GENOME
    expected = '"one"' if etag else "Tue, 01 Mar 2022 10:00:00 GMT"
    requested = [request for request in server.requests if request[0] == FASTA_URL]
    assert requested == [(FASTA_URL, "bytes=30000-", expected, 206)]
    assert files(tmp_path) == sorted([FASTA, GTF])


def test_weak_etag_is_not_used_for_ranges(server, tmp_path, monkeypatch):
    server.add(FASTA_URL, server.files[FASTA_URL], etag='W/"one"')
    begin(server, tmp_path, monkeypatch)
    run(server, tmp_path)
    assert server.requests[1][2] == "Tue, 01 Mar 2022 10:00:00 GMT"


def test_server_that_ignores_ranges(server, tmp_path, monkeypatch):
    begin(server, tmp_path, monkeypatch)
    server.ranges = False
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == [("bytes=30000-", 200)]
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_server_that_ignores_ranges_and_always_breaks_off_is_given_up(server, tmp_path, capsys):
    server.ranges = False
    server.cut[FASTA_URL] = [10_000] * 50
    assert run(server, tmp_path) == 2
    assert len(server.requested(FASTA_URL)) == fetch.ATTEMPTS
    assert "10 kB of" in one_line(capsys)


def test_file_changed_on_the_server(server, tmp_path, monkeypatch):
    begin(server, tmp_path, monkeypatch)
    changed = GENOME.replace(b"A", b"T")
    server.add(FASTA_URL, pack(changed), etag='"two"')
    server.list_sums()
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == [("bytes=30000-", 200)]
    assert (tmp_path / FASTA).read_bytes() == changed


@pytest.mark.parametrize(
    "memo",
    [
        None,
        "{",
        "[]",
        "[" * 200_000,
        '{"url": "http://elsewhere/x", "validator": "\\"one\\""}',
        '{"url": "URL", "validator": 7.5, "size": "x"}',
        '{"url": "URL", "validator": "one", "size": [1]}',
        '{"url": "URL", "validator": "one", "size": -1}',
        '{"url": "URL", "validator": "one", "size": 1' + "0" * 400 + "}",
        '{"url": "URL", "validator": "one", "size": 1' + "0" * 5000 + "}",
        '{"url": "URL", "validator": "one\\r\\nX: y", "size": 7}',
        '{"url": "URL", "validator": ["one"], "size": true}',
    ],
    ids=range(12),
)
def test_part_of_unknown_origin_is_begun_again(server, tmp_path, monkeypatch, memo):
    begin(server, tmp_path, monkeypatch)
    path = tmp_path / (FASTA + ".gz.part.json")
    path.unlink() if memo is None else path.write_text(memo.replace("URL", server.url + FASTA_URL))
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == [(None, 200)]
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_all_bytes_there_but_not_renamed(server, tmp_path, monkeypatch):
    begin(server, tmp_path, monkeypatch)
    (tmp_path / (FASTA + ".gz.part")).write_bytes(server.files[FASTA_URL])
    assert run(server, tmp_path) == 0
    assert [status for _, status in server.requested(FASTA_URL)] == [416]
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_more_bytes_than_the_server_has(server, tmp_path, monkeypatch):
    begin(server, tmp_path, monkeypatch)
    (tmp_path / (FASTA + ".gz.part")).write_bytes(server.files[FASTA_URL] + b"more")
    assert run(server, tmp_path) == 0
    assert [status for _, status in server.requested(FASTA_URL)] == [416, 200]
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_another_part_than_asked_for(server, tmp_path, monkeypatch):
    begin(server, tmp_path, monkeypatch)
    server.wrong_part = 1
    assert run(server, tmp_path) == 0
    assert [status for _, status in server.requested(FASTA_URL)] == [206, 200]
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_server_that_hangs(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 0.2)
    server.stall.add(FASTA_URL)
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == [(None, 200), ("bytes=5000-", 206)]
    assert (tmp_path / FASTA).read_bytes() == GENOME


def test_passing_server_errors(server, tmp_path):
    server.fail[FASTA_URL] = [503, 429, 500]
    server.fail[FASTA_URL.rsplit("/", 1)[0] + "/CHECKSUMS"] = [502]
    assert run(server, tmp_path) == 0
    assert [status for _, status in server.requested(FASTA_URL)] == [503, 429, 500, 200]


def test_waiting_doubles_and_begins_anew_after_progress(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(fetch.time, "sleep", waits.append)
    monkeypatch.setattr(fetch, "BACKOFF", 1.0)
    server.fail[FASTA_URL] = [503, 503, 503]
    server.cut[FASTA_URL] = [20_000, 10_000]
    assert run(server, tmp_path) == 0
    assert waits == [1, 2, 4, 1, 1]


def test_interrupted_keeps_the_part(server, tmp_path):
    server.stall.add(FASTA_URL)
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    command = [sys.executable, SCRIPT, "tomato", "--data", tmp_path, "--base-url", server.url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    part = tmp_path / (FASTA + ".gz.part")
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == 5000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 130
    assert "goes on" in error
    assert error.count("\n") == 1
    server.requests.clear()
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == [("bytes=5000-", 206)]
    assert (tmp_path / FASTA).read_bytes() == GENOME


# --- What goes wrong ----------------------------------------------------------------------------


def test_wrong_checksum_removes_the_file(server, tmp_path, capsys):
    right = server.files[FASTA_URL]
    server.files[FASTA_URL] = right[:1000] + bytes([right[1000] ^ 1]) + right[1001:]
    assert run(server, tmp_path) == 2
    error = one_line(capsys)
    assert "checksum" in error
    assert "run the same command again" in error
    assert files(tmp_path) == []
    server.files[FASTA_URL] = right
    assert run(server, tmp_path) == 0


def test_missing_file(server, tmp_path, capsys):
    del server.files[FASTA_URL]
    assert run(server, tmp_path) == 2
    assert FASTA_URL in one_line(capsys)
    assert len(server.requested(FASTA_URL)) == 1  # not worth a second try
    assert files(tmp_path) == []


def test_refused_file(server, tmp_path, capsys):
    server.fail[FASTA_URL] = [403]
    assert run(server, tmp_path) == 2
    assert "403" in one_line(capsys)


SUMS_URL = FASTA_URL.rsplit("/", 1)[0] + "/CHECKSUMS"


@pytest.mark.parametrize("path", [SUMS_URL, FASTA_URL])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_loop_is_one_line(server, tmp_path, capsys, path, status):
    server.headers[path] = (status, {"Location": path})
    assert run(server, tmp_path) == 2
    error = one_line(capsys)
    assert f"{status} The HTTP server returned a redirect error that would lead to an infinite loop." in error
    assert f"--base-url {fetch.MIRROR_URL}" in error
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1/x",
        "http://host:port/x",
        "http://host:99999999999999/x",
        f"http://{'a' * 70}.org/x",
        f"http://{'a.' * 200}org/x",
        "file:///etc/passwd",
        "http://",
        "//",
        "http:///x",
        "gopher://x/y",
        "http://127.0.0.1:1/\x01\x1b[31m",
    ],
)
def test_redirect_to_what_cannot_be_opened(server, tmp_path, capsys, address):
    server.headers[FASTA_URL] = (302, {"Location": address})
    assert run(server, tmp_path) == 2
    assert FASTA_URL in one_line(capsys)
    assert files(tmp_path) == []


def test_redirects_that_arrive_are_followed(server, tmp_path):
    server.add("/elsewhere/x.gz", server.files[FASTA_URL])
    server.headers[FASTA_URL] = (302, {"Location": "/elsewhere/x.gz"})
    assert run(server, tmp_path) == 0
    assert (tmp_path / FASTA).read_bytes() == GENOME


@pytest.mark.parametrize("status", [403, 503])
def test_control_characters_of_a_server_are_shown_escaped(server, tmp_path, capsys, status):
    server.fail[FASTA_URL] = [status] * fetch.ATTEMPTS
    server.reason = "no\x1b[31m\x85 red\tletters"
    assert run(server, tmp_path) == 2
    assert rf"{status} no\x1b[31m red letters" in one_line(capsys)


@pytest.mark.parametrize("line", ["{big} 12 {name}", "00012 {big} {name}", "{big} {big} other.gz", "0{big} 1 x/{name}"])
def test_checksums_that_are_no_numbers(server, tmp_path, capsys, line):
    line = line.format(big="9" * 5000, name=FASTA_URL.rsplit("/", 1)[1])
    server.add(SUMS_URL, f"00001 1 README\n{line}\n".encode())
    assert run(server, tmp_path) == 2
    error = one_line(capsys)
    assert "CHECKSUMS: the line of" in error
    assert len(error) < 400
    assert files(tmp_path) == []


@pytest.mark.parametrize("length", ["9" * 5000, "²", "-5", "1e3", "9" * 18])
def test_lengths_that_no_file_has(server, tmp_path, capsys, length):
    server.headers[FASTA_URL] = (200, {"Content-Length": length})
    assert run(server, tmp_path) == 2
    one_line(capsys)


@pytest.mark.parametrize(
    "part", ["bytes 30000-{big}/{big}", "bytes {big}-{big}/*", "bytes ٣-٤/٥", "bytes 30000-40000/"]
)
def test_ranges_that_no_file_has(server, tmp_path, monkeypatch, capsys, part):
    begin(server, tmp_path, monkeypatch)
    server.headers[FASTA_URL] = (206, {"Content-Range": part.format(big="9" * 5000).encode().decode("latin-1")})
    capsys.readouterr()
    assert run(server, tmp_path) == 2
    one_line(capsys)


def test_line_break_in_a_name(server, tmp_path, capsys):
    (tmp_path / "a\nb").write_text("no folder")
    assert run(server, tmp_path / "a\nb") == 2
    assert r"a\nb" in one_line(capsys)
    assert fetch.main(["tomato\n\x1b[31m"]) == 2
    assert r"\x1b[31m" in one_line(capsys)


def test_unreachable_server(server, tmp_path, capsys):
    with socket.socket() as closed:  # bound and never listening: the port is known to refuse
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert fetch.main(["tomato", "--data", str(tmp_path), "--base-url", url]) == 2
    error = one_line(capsys)
    assert f"{fetch.ATTEMPTS} times" in error
    assert "--base-url" in error


def test_untrusted_certificate_is_not_tried_again(tmp_path, monkeypatch, capsys):
    calls = []

    def untrusted(*args, **kwargs):
        calls.append(args)
        fault = ssl.SSLCertVerificationError(1, "certificate verify failed")
        fault.verify_message = "certificate has expired"
        raise fetch.urllib.error.URLError(fault)

    monkeypatch.setattr(fetch.urllib.request, "urlopen", untrusted)
    assert fetch.main(["tomato", "--data", str(tmp_path)]) == 2
    assert "certificate has expired" in one_line(capsys)
    assert len(calls) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty inside"])
def test_damaged_gzip(server, tmp_path, capsys, damage):
    packed = server.files[FASTA_URL]
    middle = len(packed) // 2
    server.files[FASTA_URL] = {
        "cut": packed[:middle],
        "flip": packed[:middle] + bytes([packed[middle] ^ 255]) + packed[middle + 1 :],
        "text": b"<html>please log in</html>",
        "empty inside": pack(b""),
    }[damage]
    server.list_sums()  # the server lists the damaged file: only gzip can tell
    assert run(server, tmp_path) == 2
    assert "damaged gzip" in one_line(capsys)
    assert files(tmp_path) == []


def test_without_checksums_gzip_has_to_do(server, tmp_path, capsys):
    for path in [path for path in server.files if path.endswith("CHECKSUMS")]:
        del server.files[path]
    assert run(server, tmp_path) == 0
    assert "lists no checksum" in capsys.readouterr().out


def test_disk_full_while_unpacking(server, tmp_path, monkeypatch, capsys):
    real = fetch.gzip.open

    def full_after_one_chunk(source):
        reader = real(source)
        chunks = iter([reader.read(1000)])

        class Reader:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                reader.close()

            def read(self, size):
                for chunk in chunks:
                    return chunk
                raise OSError(errno.ENOSPC, "No space left on device")

        return Reader()

    with monkeypatch.context() as patch:
        patch.setattr(fetch.gzip, "open", full_after_one_chunk)
        assert run(server, tmp_path) == 2
    assert "disk is full" in one_line(capsys)
    assert files(tmp_path) == [FASTA + ".gz"]  # checked already: the next run only unpacks
    server.requests.clear()
    assert run(server, tmp_path) == 0
    assert server.requested(FASTA_URL) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_full_while_downloading(server, tmp_path, capsys):
    (tmp_path / "genomes").mkdir()
    (tmp_path / (FASTA + ".gz.part")).symlink_to("/dev/full")
    assert run(server, tmp_path) == 2
    assert "disk is full" in one_line(capsys)
    assert not (tmp_path / FASTA).exists()


def test_too_little_room_is_said_before_writing(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert run(server, tmp_path) == 2
    assert "1 kB free" in one_line(capsys)
    assert files(tmp_path) == []


def test_folder_that_is_a_file(server, tmp_path, capsys):
    (tmp_path / "genomes").write_text("")
    assert run(server, tmp_path) == 2
    assert "genomes" in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tomatoe"], "did you mean tomato?"),
        (["banana"], "known: tomato, arabidopsis, maize, sorghum"),
        ([], "name a species"),
        (["tomato", "--base-url", "ftp://example.org/x"], "not an http"),
        (["tomato", "--base-url", "http://example.org:99999/x"], "not an http"),
        (["tomato", "--base-url", "file:///etc"], "not an http"),
        (["tomato", "--bogus"], "--bogus"),
    ],
)
def test_wrong_command_line(capsys, arguments, expected):
    assert fetch.main(arguments) == 2
    assert expected in one_line(capsys)


def test_list(tmp_path, capsys):
    (tmp_path / "genomes").mkdir()
    (tmp_path / FASTA).write_text(">1\nA\n")
    assert fetch.main(["--list", "--data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(fetch.SPECIES)
    assert lines[0].endswith("here: fasta")
    assert lines[1].endswith("here: nothing yet")


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(fetch.sys.stdout, "isatty", lambda: True, raising=False)
    clock = iter([0.0, 10.0, 10.1])
    monkeypatch.setattr(fetch.time, "monotonic", lambda: next(clock))
    progress = fetch._Progress("genome", 100_000_000)
    progress.update(25_000_000)
    progress.update(25_100_000)  # too soon after the last: not shown
    said = capsys.readouterr().out
    assert said.rstrip() == "\rgenome: 25 % of 100 MB, 2.5 MB/s, 0:30 left"


def test_importing_costs_nothing():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import fetch; print('numpy' in sys.modules)"
    said = subprocess.check_output([sys.executable, "-c", code, SCRIPT.parent], text=True)
    assert said == "False\n"


# --- The checksum -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"\x01", 1),
        (b"\x01\x00", 0x8000),  # the low bit comes back at the top
        (b"\x02\x01", 2),
        (b"\x01\x00\x00\x01", 0x2001),
        (b"\x00\x01\xff", 0x80FF),
        (b"ACGT", 24720),  # these four: the sum program
        (b"hello\n", 36979),
        (b"A" * 1024, 65409),
        (b"\xff" * 1025, 49916),
    ],
)
def test_known_sums(data, expected):
    assert fetch.sum_plain(data) == expected
    assert fetch.sum_fast(data) == expected


# Zeros keep the state at 0 or 65535, high bytes make it carry often: both are rare in random bytes.
BYTES = st.one_of(
    st.binary(max_size=3000),
    st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 128, 254, 255]), max_size=400).map(bytes),
    st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 200)).map(lambda both: both[0] * both[1]),
)
STATES = st.one_of(st.sampled_from([0, 1, 255, 32767, 32768, 65279, 65534, 65535]), st.integers(0, 65535))


@settings(max_examples=300, deadline=None)
@given(BYTES, STATES)
def test_fast_sum_is_the_plain_sum(data, state):
    assert fetch.sum_fast(data, state) == fetch.sum_plain(data, state)


@settings(max_examples=50, deadline=None)
@given(BYTES, BYTES)
def test_sum_goes_on_where_it_stopped(one, two):
    assert fetch.sum_fast(two, fetch.sum_fast(one)) == fetch.sum_fast(one + two)


@pytest.mark.parametrize("kind", ["random", "high", "zeros", "mostly zeros", "mixed"])
def test_fast_sum_over_several_batches(kind):
    size = 3 * fetch.SUM_BATCH + 12_345
    noise = RANDOM.randbytes(size)
    data = {
        "random": noise,
        "high": b"\xff" * size,
        "zeros": bytes(size),
        "mostly zeros": bytes(b if b > 250 else 0 for b in noise),
        "mixed": noise[:100_000] + bytes(70_000) + noise[100_000:],
    }[kind]
    assert fetch.sum_fast(data) == fetch.sum_plain(data)


def test_sum_file_counts_blocks(tmp_path):
    for size, blocks in [(0, 0), (1, 1), (1024, 1), (1025, 2), (fetch.CHUNK + 1, 1025)]:
        (tmp_path / "file").write_bytes(b"\x07" * size)
        assert fetch.sum_file(tmp_path / "file") == (fetch.sum_plain(b"\x07" * size), blocks)


@pytest.mark.skipif(shutil.which("sum") is None, reason="needs the sum program")
def test_sum_file_against_the_sum_program(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(RANDOM.randbytes(1_000_003))
    said = subprocess.run(["sum", path], capture_output=True, text=True, check=True).stdout.split()
    assert fetch.sum_file(path) == (int(said[0]), int(said[1]))


def test_parse_checksums():
    text = "55610 198719 a.fa.gz\n00042     3 /nfs/x/b.gtf.gz\n\nnot a line\n12 c.gz\n"
    assert fetch.parse_checksums(text) == {"a.fa.gz": (55610, 198719), "b.gtf.gz": (42, 3)}
