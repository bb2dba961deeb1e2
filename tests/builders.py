"""Small files for the tests, written byte by byte so that what they hold is known by hand."""

import base64
import csv
import gzip
import os
import struct
import zlib
from pathlib import Path

import pytest

LONG = pytest.mark.skipif(not os.environ.get("LCRE_LONG"), reason="takes long; LCRE_LONG=1 runs it")  # of a test
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
REALDATA = Path(__file__).parents[2] / "shared" / "realdata"


def write(path: Path, content: str | bytes) -> Path:
    """Write a file as it is (no change of line ends) and return its path."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def bgzf(*blocks: bytes) -> bytes:
    """Return BGZF: a gzip member a block, whose extra field BC holds the member's size, and the empty last block."""
    members = []
    for block in (*blocks, b""):
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = packer.compress(block) + packer.flush()
        size = 12 + 6 + len(data) + 8
        header = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", 6)
        extra = b"BC" + struct.pack("<HH", 2, size - 1)
        members.append(header + extra + data + struct.pack("<II", zlib.crc32(block), len(block)))
    return b"".join(members)


def pack(content: bytes) -> bytes:
    """Return gzip, the same at any time: it stands in names of tests, which two workers must read alike."""
    return gzip.compress(content, mtime=0)


def cut_gzip(content: bytes) -> bytes:
    """Return gzip that ends before its end, as after a broken download."""
    packed = pack(content)
    return packed[: len(packed) - 12]


def one_line(error) -> str:
    """Return the message of a caught error after making sure that it is one line of readable length."""
    text = str(error.value)
    assert text
    assert "\n" not in text
    assert "\r" not in text
    assert len(text) < 600
    return text


def read_numbers(folder: Path) -> dict[str, list[dict]]:
    """Return every CSV of a folder without the column seconds: path -> rows."""
    found = {}
    for path in sorted(folder.rglob("*.csv")):
        with open(path, newline="") as file:
            rows = [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]
        found[str(path.relative_to(folder))] = rows
    return found


def is_running(process: int) -> bool:
    """Tell whether a process runs; one that has ended may still be listed."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
