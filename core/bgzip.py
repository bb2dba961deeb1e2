"""Reads a file of bgzip, which is gzip in blocks of at most 64 KiB, at any place."""

import bisect
import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

HEAD = 18  # bytes of a block before its packed content, where it is as bgzip writes it
EXTRA = b"\x1f\x8b\x08\x04", b"\x06\x00BC\x02\x00"  # at the begin of a block, and at its byte 10
LARGEST = 1 << 16  # bytes of the content of a block
KEPT = 8  # unpacked blocks


class Blocks(NamedTuple):
    """Where the blocks of a file lie.

    Attributes:
        packed: first byte of each block in the file.
        begins: first byte of each block's content, and the size of all contents at the end.
    """

    packed: list[int]
    begins: list[int]


def find_blocks(path: Path) -> Blocks | None:
    """Return the blocks of a file, None where it is no file of bgzip from its begin to its end."""
    packed, begins, size, at = [], [0], path.stat().st_size, 0
    with open(path, "rb") as file:
        while at < size:
            head = file.read(HEAD)
            if len(head) < HEAD or head[:4] != EXTRA[0] or head[10:16] != EXTRA[1]:
                return None
            length = struct.unpack_from("<H", head, 16)[0] + 1
            if length < HEAD + 8 or at + length > size:
                return None
            file.seek(at + length - 4)
            content = struct.unpack("<I", file.read(4))[0]
            if content > LARGEST:
                return None
            if content:
                packed.append(at)
                begins.append(begins[-1] + content)
            at += length
    return Blocks(packed, begins) if at else None


def open_blocks(path: Path, blocks: Blocks) -> BinaryIO:
    """Open a file of bgzip to read its content at any place."""
    return io.BufferedReader(BlockReader(path, blocks), LARGEST)


class BlockReader(io.RawIOBase):
    """The content of a file of bgzip as a file that can be read at any place.

    Args:
        path: the file.
        blocks: of `find_blocks`.
    """

    def __init__(self, path: Path, blocks: Blocks):
        super().__init__()
        self.file, self.blocks, self.at = path.open("rb"), blocks, 0
        self.unpacked: dict[int, bytes] = {}  # number of a block -> its content, of the last ones

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte of the content."""
        self.at = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.blocks.begins[-1]}[whence], 0)
        return self.at

    def tell(self) -> int:
        """Return at which byte of the content it stands."""
        return self.at

    def readinto(self, buffer) -> int:
        """Read into a buffer, at most to the end of a block; returns how many bytes, 0 at the end.

        Raises:
            zlib.error: the block is damaged.
        """
        if self.at >= self.blocks.begins[-1]:
            return 0
        number = bisect.bisect_right(self.blocks.begins, self.at) - 1
        begin = self.at - self.blocks.begins[number]
        some = self.unpack(number)[begin : begin + len(buffer)]
        buffer[: len(some)] = some
        self.at += len(some)
        return len(some)

    def unpack(self, number: int) -> bytes:
        """Return the content of a block."""
        if number in self.unpacked:
            return self.unpacked[number]
        at, size = self.blocks.packed[number], self.blocks.begins[number + 1] - self.blocks.begins[number]
        self.file.seek(at)
        head = self.file.read(HEAD)
        length = struct.unpack_from("<H", head, 16)[0] + 1
        rest = self.file.read(length - HEAD)
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(rest[:-8], size + 1)
        if len(content) != size or zlib.crc32(content) != struct.unpack_from("<I", rest, len(rest) - 8)[0]:
            raise zlib.error(f"the block at byte {at:,} is not what was packed")
        if len(self.unpacked) == KEPT:
            del self.unpacked[next(iter(self.unpacked))]
        self.unpacked[number] = content
        return content

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()
