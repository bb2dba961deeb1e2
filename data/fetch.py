"""Download the genome and the annotation of a real species into data/, ready for lcre_classifier.py.

    python data/fetch.py tomato              both files; stopped and started again, it goes on
    python data/fetch.py arabidopsis maize   several at once
    python data/fetch.py --list              the species, their size, and what is already here

The files are those of Ensembl Plants release 52. The expression table and the validation genes are not on
that server: at its end the script says which of them are missing, where they come from and where they go.
"""

import argparse
import difflib
import errno
import functools
import gzip
import http.client
import json
import os
import re
import shlex
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

# Where the genomes come from: the paths in SPECIES are below this address.
RELEASE_URL = "https://ftp.ensemblgenomes.ebi.ac.uk/pub/plants/release-52"
MIRROR_URL = "https://ftp.ebi.ac.uk/ensemblgenomes/pub/release-52/plants"  # the same tree, named in errors

# Unpacked, "fasta" lies in genomes/ and "gtf" in gene_models/; "tpm" is the table's name in tpm_counts/ and
# "pickle_key" the key in validation_genes.pickle. "megabases": size of the genome, so megabytes on disk.
SPECIES = {
    "tomato": {
        "latin": "Solanum lycopersicum",
        "fasta": "fasta/solanum_lycopersicum/dna/Solanum_lycopersicum.SL3.0.dna.toplevel.fa.gz",
        "gtf": "gtf/solanum_lycopersicum/Solanum_lycopersicum.SL3.0.52.gtf.gz",
        "tpm": "solanum_counts.csv",
        "pickle_key": "sol",
        "megabases": 828,
    },
    "arabidopsis": {
        "latin": "Arabidopsis thaliana",
        "fasta": "fasta/arabidopsis_thaliana/dna/Arabidopsis_thaliana.TAIR10.dna.toplevel.fa.gz",
        "gtf": "gtf/arabidopsis_thaliana/Arabidopsis_thaliana.TAIR10.52.gtf.gz",
        "tpm": "arabidopsis_counts.csv",
        "pickle_key": "ara",
        "megabases": 120,
        "authors_table": "src/deepCRE/tpm_counts/arabidopsis_leaf_counts.csv",
    },
    "maize": {
        "latin": "Zea mays",
        "fasta": "fasta/zea_mays/dna/Zea_mays.Zm-B73-REFERENCE-NAM-5.0.dna.toplevel.fa.gz",
        "gtf": "gtf/zea_mays/Zea_mays.Zm-B73-REFERENCE-NAM-5.0.52.gtf.gz",
        "tpm": "zea_counts.csv",
        "pickle_key": "zea",
        "megabases": 2180,
    },
    "sorghum": {
        "latin": "Sorghum bicolor",
        "fasta": "fasta/sorghum_bicolor/dna/Sorghum_bicolor.Sorghum_bicolor_NCBIv3.dna.toplevel.fa.gz",
        "gtf": "gtf/sorghum_bicolor/Sorghum_bicolor.Sorghum_bicolor_NCBIv3.52.gtf.gz",
        "tpm": "sorghum_counts.csv",
        "pickle_key": "sor",
        "megabases": 709,
    },
}

# What Ensembl does not have. "authors_table" above: where the authors' repository keeps a species' table.
ARTICLE = "Peleke et al. 2024, Nature Communications 15, 3488, https://doi.org/10.1038/s41467-024-47744-0"
TABLE_SOURCE = "supplementary data of the article below"
TABLE_REPOSITORY = "https://github.com/NAMlab/deepCRE_reimplemented"
VALIDATION_SOURCE = "model/validation_genes.pickle in https://github.com/NAMlab/DeepCRE"

# Patience with the network.
TIMEOUT = 60.0  # seconds without a single byte before a connection is given up
ATTEMPTS = 6  # tries in a row that bring nothing before the script gives up
BACKOFF = 1.0  # seconds before the second try; doubles with each further one

CHUNK = 1 << 20  # bytes written or unpacked at a time
SUM_BATCH = 1 << 16  # bytes summed at a time: the arrays of one batch stay in the processor's cache
SUM_WINDOW = 64  # rows of 16 bytes searched for the next carry; random bytes carry once in 514


class FetchError(Exception):
    """Something the user can mend; its text is the one line printed before exit status 2."""


class _TransientError(Exception):
    """A request that failed in a way the next one may not; `reached`: the bytes of the file there are now."""

    def __init__(self, reason: str, reached: int = 0):
        super().__init__(reason)
        self.reached = reached


# --- Ensembl's checksum: the `sum` program's 16-bit rotate-and-add --------------------------------


def sum_plain(data: bytes, state: int = 0) -> int:
    """Return the BSD checksum of `data` following on `state`: rotate right, add the byte, keep 16 bits.

    The definition, and what sum_fast() is tested against.
    """
    for byte in data:
        state = ((state >> 1) + ((state & 1) << 15) + byte) & 0xFFFF
    return state


@functools.cache
def _rotations():
    """All 16-bit numbers, each rotated right by 0 to 15 bits: shape (65536, 16), uint16."""
    import numpy as np

    number = np.arange(1 << 16, dtype=np.uint32)[:, None]
    return ((number << 16 | number) >> np.arange(16, dtype=np.uint32)).astype(np.uint16)


def sum_fast(data: bytes, state: int = 0) -> int:
    """Return what sum_plain() returns, about five times as fast, with numpy.

    Modulo 65535 a rotation by one bit is a division by two, so all states of a batch come from one cumulative
    sum, but for this: a carry out of bit 15 is dropped, which takes 1 from the state, and a power of two from
    the cumulative sum after it. Carries are rare, one in 514 random bytes. The sum is made once without them;
    each carry is then searched for in a window, and enters as a correction of all that follows.
    """
    for start in range(0, len(data), SUM_BATCH):
        state = _sum_batch(data[start : start + SUM_BATCH], state)
    return state


def _sum_batch(data: bytes, state: int) -> int:
    import numpy as np

    size = len(data)
    byte = np.zeros(-(-size // 16) * 16, dtype=np.uint8)
    byte[:size] = np.frombuffer(data, dtype=np.uint8)
    column = np.arange(16, dtype=np.uint64)

    # linear[j] rotated right by j bits is the state that byte j is added to, had the batch begun at 0 and no
    # carry been dropped. Kept less one, so that one comparison finds all bytes that need a closer look.
    weighted = np.left_shift(byte.reshape(-1, 16), column, dtype=np.uint64).ravel()
    linear = ((np.cumsum(weighted) - weighted) % np.uint64(65535)).astype(np.uint32)
    linear |= linear << 16
    less_one = (linear.reshape(-1, 16) >> column.astype(np.uint32)).astype(np.uint16) - np.uint16(1)
    limit = np.uint16(65535) - byte
    rotations = _rotations()

    def rotated_state(position: int) -> int:
        """The state that byte `position` is added to, where the byte before it needed no closer look."""
        row, bit = divmod(position, 16)
        value = ((int(less_one[row, bit]) + 1) & 0xFFFF) - int(rotations[correction, bit])
        # 0 and 65535 are the same modulo 65535. It cannot be 0: that follows only on a 0 or on a carry.
        return value % 65535 or 65535

    rotated = (state >> 1) + ((state & 1) << 15)
    correction = -rotated % 65535  # the state before the batch, as if it were a carry of the opposite sign
    position = known = looks = 0  # `rotated` is exact at position `known`
    while position < size:
        row = position // 16
        difference = (less_one[row : row + SUM_WINDOW] - rotations[correction]).ravel()
        # True where the state is 0 or 65535, where adding the byte carries, and where it just fails to.
        found = (difference >= limit[row * 16 : (row + SUM_WINDOW) * 16])[position % 16 :]
        first = int(found.argmax())
        if not found[first]:
            position = (row + SUM_WINDOW) * 16
            continue
        position += first
        if position >= size:
            break
        state = (rotated if position == known else rotated_state(position)) + int(byte[position])
        if state > 0xFFFF:
            state -= 0x10000
            correction = (correction + (1 << position % 16)) % 65535
        rotated = (state >> 1) + ((state & 1) << 15)
        position = known = position + 1
        looks += 1
        if looks == 1024:  # eight times what random bytes need (a run of zeros?): the window no longer pays
            return sum_plain(data[position:], state)
    return state if known == size else rotated_state(size - 1) + int(byte[size - 1])


def sum_file(path: Path, progress: Callable[[int], None] = lambda done: None) -> tuple[int, int]:
    """Return (checksum, blocks of 1024 bytes) of a file, the two numbers that `sum FILE` prints.

    `progress` is called with the bytes read so far. Raises OSError if the file cannot be read.
    """
    state = size = 0
    with open(path, "rb") as handle:
        while data := handle.read(CHUNK):
            state = sum_fast(data, state)
            size += len(data)
            progress(size)
    return state, -(-size // 1024)


def parse_checksums(text: str) -> dict[str, tuple[int, int]]:
    """Return file name -> (checksum, blocks) from the text of a CHECKSUMS file; other lines are ignored.

    Raises FetchError where a number has more digits than any size: the file could not be compared with it.
    """
    entries = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"\s*([0-9]+)\s+([0-9]+)\s+(\S+)\s*", line):
            name = match[3].rsplit("/", 1)[-1]  # some releases list names with their folders
            numbers = _number(match[1]), _number(match[2])
            if None in numbers:
                raise FetchError(
                    f"CHECKSUMS: the line of {name[:80]} holds no checksum but {line.strip()[:40]}...; try the mirror: "
                    f"--base-url {MIRROR_URL}"
                )
            entries[name] = numbers
    return entries


def _number(text: str) -> int | None:
    """Return a whole number written in at most 18 digits, None for any other text."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


# --- What the user sees ---------------------------------------------------------------------------


class _Progress:
    """Share done, speed, time left: one changing line on a terminal, elsewhere a plain line every tenth."""

    def __init__(self, label: str, total: int | None, done: int = 0):
        self.label, self.total, self.first = label, total, done
        self.began = self.shown = time.monotonic()
        self.tenth = 10 * done // total if total else 0
        self.terminal = sys.stdout.isatty()

    def update(self, done: int) -> None:
        now = time.monotonic()
        if self.terminal:
            if now - self.shown >= 0.2:
                self.shown = now
                width = shutil.get_terminal_size().columns - 1
                print("\r" + self.line(done, now)[:width].ljust(width), end="", flush=True)
        elif self.total and 10 * done // self.total > self.tenth:
            self.tenth = 10 * done // self.total
            print(self.line(done, now), flush=True)

    def line(self, done: int, now: float) -> str:
        rate = (done - self.first) / max(now - self.began, 1e-9)
        if not self.total:
            return f"{self.label}: {_size(done)}, {_size(rate)}/s"
        text = f"{self.label}: {100 * done // self.total} % of {_size(self.total)}, {_size(rate)}/s"
        if rate > 0 and done < self.total:
            minutes, seconds = divmod(round((self.total - done) / rate), 60)
            text += f", {minutes}:{seconds:02d} left"
        return text

    def end(self) -> None:
        if self.terminal:
            print("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r", end="", flush=True)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _one_line(text: object) -> str:
    """Return a text from a server or the command line as one line: other than printable characters escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def _say(text: str) -> None:
    print(text, flush=True)


def _shown(path: Path) -> str:
    """The path as short as it can be said from the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _disk_error(path: Path, error: OSError) -> FetchError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FetchError(f"{_shown(path)}: the disk is full; free some space and run the same command again")
    return FetchError(f"{_shown(path)}: {error.strerror or error}")


# --- The network ----------------------------------------------------------------------------------


def _patiently(action: Callable[[], object], url: str) -> object:
    """Call `action` until it does not raise _TransientError, waiting longer each time it gets no further."""
    failures = furthest = 0
    while True:
        try:
            return action()
        except _TransientError as fault:
            failures = 1 if fault.reached > furthest else failures + 1
            furthest = max(furthest, fault.reached)
            if failures >= ATTEMPTS:
                raise FetchError(
                    f"{url}: {fault}, {ATTEMPTS} times in a row; check the connection and run the same "
                    f"command again, or try the mirror: --base-url {MIRROR_URL}"
                ) from None
            wait = BACKOFF * 2 ** (failures - 1)
            _say(f"{url}: {fault}; trying again in {wait:g} s")
            time.sleep(wait)


def _open(url: str, headers: dict[str, str]):
    """Return the response, also to 404 and 416; raise _TransientError for what may pass, else FetchError."""
    request = urllib.request.Request(url, headers={"User-Agent": "lcre-fetch", **headers})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code in (404, 416):
            return error
        error.close()
        answer = f"the server answers {error.code} {_reason(error)}"
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _TransientError(answer) from None
        raise FetchError(f"{url}: {answer}; try the mirror: --base-url {MIRROR_URL}") from None
    except (ValueError, http.client.InvalidURL) as error:  # our own address has been looked at
        raise FetchError(
            f"{url}: the server redirects to an address that cannot be opened ({_reason(error)}); try the mirror: "
            f"--base-url {MIRROR_URL}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise FetchError(
                f"{url}: the server's certificate is not trusted ({reason.verify_message}); check this "
                f"computer's date and certificates, or try the mirror: --base-url {MIRROR_URL}"
            ) from None
        raise _TransientError(_reason(error)) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return _one_line(" ".join(text.split()))[:200]


def read_checksums(url: str) -> dict[str, tuple[int, int]]:
    """Return the entries of the CHECKSUMS file at `url`; empty where the server has none.

    Raises FetchError if the server cannot be reached.
    """

    def attempt() -> dict[str, tuple[int, int]]:
        with _open(url, {}) as response:
            if response.status == 404:
                return {}
            try:
                return parse_checksums(response.read(1 << 24).decode("utf-8", "replace"))
            except (OSError, http.client.HTTPException) as error:
                raise _TransientError(_reason(error)) from None

    return _patiently(attempt, url)


def download(url: str, archive: Path) -> None:
    """Download `url` to the file `archive`, by way of `archive`.part, going on where an earlier run stopped.

    A byte range is asked for only together with If-Range and the ETag or date that the first answer carried
    (kept in `archive`.part.json), so that the halves of two different files are never joined. Raises
    FetchError when there is no such file, the server stays out of reach, or the disk does not take it; what
    has arrived stays for the next run.
    """
    part = archive.with_name(archive.name + ".part")
    memo = archive.with_name(archive.name + ".part.json")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        _patiently(lambda: _request_part(url, part, memo), url)
        os.replace(part, archive)
        memo.unlink(missing_ok=True)
    except OSError as error:  # only the disk's: the network's have become the two exceptions above
        raise _disk_error(part, error) from None


def _request_part(url: str, part: Path, memo: Path) -> None:
    """Make one request and write its answer; returns when `part` is complete, else raises _TransientError."""
    start = part.stat().st_size if part.exists() else 0
    kept = _read_memo(memo) if start else {}
    headers = {}
    if kept.get("url") == url and kept.get("validator"):
        headers = {"Range": f"bytes={start}-", "If-Range": kept["validator"]}
    else:
        start = 0
    with _open(url, headers) as response:
        if response.status == 404:
            raise FetchError(f"{url}: not on the server; --base-url is the folder with fasta/ and gtf/")
        # The bytes of this answer and the size of the whole, either of which the server may leave open.
        content = re.fullmatch(r"bytes ([0-9]+|\*)(?:-[0-9]+)?/(\S+)", response.headers.get("Content-Range", ""))
        first, whole = content.groups() if content else ("*", "*")
        total = kept.get("size") if _number(whole) is None else _number(whole)
        if response.status == 416:
            if start and start == total:
                return  # all of it had arrived, and only the renaming was missing
            part.unlink(missing_ok=True)
            raise _TransientError("the server does not have the rest of what was begun; starting again")
        if response.status == 206:
            if first != str(start) or kept.get("size") not in (None, total):
                part.unlink(missing_ok=True)
                raise _TransientError("the server sent another part than was asked for; starting again")
            _say(f"{part.name}: going on after {_size(start)}")
        else:
            if start:
                _say(f"{part.name}: changed on the server, or it sends whole files only; starting again")
            start = 0
            total = _number(response.headers.get("Content-Length", ""))
        _check_space(part, (total or 0) - start)
        with open(part, "ab" if start else "wb", buffering=0) as handle:
            if not start:
                # After the truncation: a new validator beside old bytes would vouch for them.
                _write_memo(memo, url, response.headers, total)
            _receive(response, handle, start, total, part.name.removesuffix(".part"))


def _receive(response, handle, start: int, total: int | None, label: str) -> None:
    done = start
    progress = _Progress(label, total, start)
    try:
        while True:
            try:
                data = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _TransientError(f"{_reason(error)} after {_size(done)}", reached=done) from None
            if not data:
                break
            rest = memoryview(data)
            while rest:  # an unbuffered file may take less than it is given
                rest = rest[handle.write(rest) :]
            done += len(data)
            progress.update(done)
    finally:
        progress.end()
    if total is not None and done < total:
        raise _TransientError(f"the connection ended after {_size(done)} of {_size(total)}", reached=done)


def _check_space(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise FetchError(f"{_shown(part)}: {_size(needed)} to come, {_size(free)} free on the disk")


def _read_memo(memo: Path) -> dict:
    """Return what `_write_memo` wrote, or nothing where the file is not what it writes."""
    try:
        kept = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    good = (
        isinstance(kept, dict)
        and re.fullmatch(r"[ -~]+", str(kept.get("validator")))  # it becomes the line of a header
        and (kept.get("size") is None or _number(str(kept["size"])) is not None)
    )
    return kept if good else {}


def _write_memo(memo: Path, url: str, headers, total: int | None) -> None:
    etag = headers.get("ETag") or ""
    # If-Range wants a strong validator: a weak ETag may stay the same when bytes change.
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    temporary = memo.with_name(memo.name + ".new")
    temporary.write_text(json.dumps({"url": url, "validator": validator, "size": total}), encoding="utf-8")
    os.replace(temporary, memo)


# --- From the server to the plain file ------------------------------------------------------------


def verify(archive: Path, entry: tuple[int, int] | None) -> None:
    """Compare a file with its line in CHECKSUMS; raise FetchError, and remove the file, when they differ.

    `entry` None: the server lists no checksum, which is said; gzip's own then has to do.
    """
    if entry is None:
        _say(f"{archive.name}: the server lists no checksum; relying on the one inside the gzip file")
        return
    progress = _Progress(f"checking {archive.name}", archive.stat().st_size)
    found = sum_file(archive, progress.update)
    progress.end()
    if found != entry:
        archive.unlink()
        raise FetchError(
            f"{_shown(archive)}: checksum {found[0]:05d} and {found[1]} blocks, the server lists "
            f"{entry[0]:05d} and {entry[1]}; the file was removed: run the same command again, "
            f"or with --base-url {MIRROR_URL}"
        )
    _say(f"{archive.name}: checksum {found[0]:05d} is right")


def unpack(archive: Path, target: Path) -> None:
    """Unpack a gzip file to `target` and remove it; `target` appears complete or not at all.

    Raises FetchError when the gzip file is damaged (it is removed) or the disk does not take it (it is kept).
    """
    temporary = target.with_name(target.name + ".unpacking")
    progress = _Progress(f"unpacking {archive.name}", archive.stat().st_size)
    try:
        with open(archive, "rb") as packed, gzip.open(packed) as source, open(temporary, "wb") as sink:
            while data := source.read(CHUNK):
                sink.write(data)
                progress.update(packed.tell())
            if not sink.tell():
                raise EOFError("nothing in it")
        os.replace(temporary, target)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        archive.unlink()
        raise FetchError(
            f"{_shown(archive)}: damaged gzip file ({error}); it was removed: run the same command again"
        ) from None
    except OSError as error:
        raise _disk_error(target, error) from None
    finally:
        progress.end()
        temporary.unlink(missing_ok=True)
    archive.unlink()


def fetch_file(url: str, target: Path) -> None:
    """Bring the gzip file at `url` to the plain file `target`: download, compare with CHECKSUMS, unpack.

    Does nothing when `target` is there; goes on from a .gz or .gz.part beside it. Raises FetchError.
    """
    if target.is_file() and target.stat().st_size:
        _say(f"{_shown(target)}: already here")
        return
    archive = target.with_name(target.name + ".gz")
    entries = read_checksums(url.rsplit("/", 1)[0] + "/CHECKSUMS")
    if not archive.is_file():
        _say(f"{url}")
        download(url, archive)
    verify(archive, entries.get(archive.name))
    unpack(archive, target)
    _say(f"{_shown(target)}: {_size(target.stat().st_size)}")


def local_files(name: str, data: Path) -> dict[str, Path]:
    """Return where the four files of a species lie under `data`: keys fasta, gtf, tpm, validation_genes."""
    species = SPECIES[name]
    return {
        "fasta": data / "genomes" / Path(species["fasta"]).stem,
        "gtf": data / "gene_models" / Path(species["gtf"]).stem,
        "tpm": data / "tpm_counts" / species["tpm"],
        "validation_genes": data / "validation_genes.pickle",
    }


def next_steps(name: str, data: Path) -> str:
    """Return what to say after a download: the files still missing, their sources, how to train."""
    species, files = SPECIES[name], local_files(name, data)
    lines = []
    if not files["tpm"].is_file():
        source = TABLE_SOURCE
        if "authors_table" in species:
            source = f"{species['authors_table']} in {TABLE_REPOSITORY}"
        lines += [
            f"{name}: still missing: the expression table {_shown(files['tpm'])}",
            "  CSV, gene ids in the first column, then logMaxTPM or the TPM of each sample; its source:",
            f"  {source}",
        ]
    if not files["validation_genes"].is_file():
        lines += [
            f"{name}: still missing: the genes that may be scored, {_shown(files['validation_genes'])}",
            f"  pickle of a dictionary, used is its key {species['pickle_key']!r}; its source:",
            f"  {VALIDATION_SOURCE}",
        ]
    if lines:
        lines.append(f"Article: {ARTICLE}")
    command = ["python", "lcre_classifier.py", "--dataset", name]
    if data != Path(__file__).resolve().parent:  # the only folder that the trainer's table of data sets knows
        for key, path in files.items():
            command += ["--" + key.replace("_", "-"), str(path)]
    when = "When they are there, train" if lines else f"{name}: everything is here. Train"
    lines += [f"{when} (in the folder of lcre_classifier.py) with:", "  " + shlex.join(command)]
    return "\n".join(lines)


def species_table(data: Path) -> str:
    """Return the lines of --list: name, size on disk and what is here already, one species a line."""
    lines = []
    for name, species in SPECIES.items():
        here = [key.replace("_", " ") for key, path in local_files(name, data).items() if path.is_file()]
        size = f"about {_size(1e6 * species['megabases'])}"
        lines.append(f"{name:<12} {species['latin']:<21} {size:<14} here: {', '.join(here) or 'nothing yet'}")
    return "\n".join(lines)


# --- Command line ---------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise FetchError(f"{message} (--help lists what can be given)")


def _parse(argv: Iterable[str] | None) -> argparse.Namespace:
    parser = _Parser(description=__doc__.split("\n", 1)[0])
    known = ", ".join(SPECIES)
    parser.add_argument("species", nargs="*", metavar="SPECIES", help=f"one or more of: {known}")
    parser.add_argument("--list", action="store_true", help="list the species and what is here, and stop")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder to fill (default: the script's)")
    parser.add_argument(
        "--base-url",
        default=RELEASE_URL,
        metavar="URL",
        help="folder with fasta/ and gtf/ on a server (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    for name in options.species:
        if name not in SPECIES:
            close = difflib.get_close_matches(name.lower(), SPECIES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {known}"
            raise FetchError(f"unknown species {name!r}; {hint}")
    if not options.species and not options.list:
        raise FetchError(f"name a species to download: {known}")
    options.data = (options.data or Path(__file__).parent).resolve()
    options.base_url = options.base_url.rstrip("/")
    try:
        address = urllib.parse.urlsplit(options.base_url)
        good = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"[\s?#]", options.base_url):
        raise FetchError(f"--base-url {options.base_url!r} is not an http:// or https:// address")
    return options


def main(argv: Iterable[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 done, 2 for what the user can mend, 130 interrupted."""
    try:
        options = _parse(argv)
        if options.list:
            _say(species_table(options.data))
            return 0
        names = list(dict.fromkeys(options.species))
        for name in names:
            files = local_files(name, options.data)
            for key in ("fasta", "gtf"):
                fetch_file(f"{options.base_url}/{SPECIES[name][key]}", files[key])
        for name in names:
            _say("\n" + next_steps(name, options.data))
        return 0
    except FetchError as error:
        print(f"fetch.py: {_one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fetch.py: {_one_line(_disk_error(Path(error.filename or '.'), error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fetch.py: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
