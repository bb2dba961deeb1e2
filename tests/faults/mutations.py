"""Ways to damage a file, for hypothesis: bytes flipped, cut, repeated, numbers and cells exchanged, packed, bombs."""

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

from builders import bgzf, pack
from hypothesis import strategies as st

MOST_BYTES = 2_000_000  # of a damaged file before it is packed
BOMB = 48 << 20  # bytes that a bomb of gzip holds
NUMBERS = (
    *("0", "-1", "1e308", "-1e308", "1e999", "nan", "inf", "-0.0", "0.1e-320", "1,5", "1.5", "0x10", "1_000", "٣", "½"),
    *(
        str(2**31 - 1),
        str(2**31),
        str(2**32),
        str(2**63 - 1),
        str(2**63),
        str(2**64),
        "9" * 30,
        "9" * 5000,
        "1" + "0" * 400,
    ),
)
CELLS = (
    *("", " ", ".", "NA", "null", "=1+1", "+1", "-1", "@SUM(1)", "a" * 300, "a" * 140_000, "<script>alert(1)</script>"),
    *(
        '"',
        "'",
        '"a',
        '""',
        "a b",
        "a;b",
        "a,b",
        "a\tb",
        "\\",
        "%",
        "%00",
        "%s",
        "{}",
        "$x$",
        "../../x",
        "/dev/zero",
        "\x00",
    ),
    *("\x1b[31m", "\u202e", "\ud7ff", "\ufeff", "é", "染色体", "\U0001f9ec", "chr1", "1", "2", "pooled", "all", "g1_0"),
)
INTEGERS = (0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
NUMBER = re.compile(rb"\d+(?:\.\d+)?")
CELL = re.compile(rb"[^\t,;\n]+")


def place(content: bytes, draw: random.Random) -> int:
    """Return a place in the content, as often near its beginning, where headers are, as anywhere."""
    return draw.randrange(min(len(content), draw.choice((64, 1 << 40))) + 1)


def flip_bit(content: bytes, draw: random.Random) -> bytes:
    """Flip a bit."""
    changed, at = bytearray(content), place(content, draw)
    if at < len(changed):
        changed[at] ^= 1 << draw.randrange(8)
    return bytes(changed)


def put_bytes(content: bytes, draw: random.Random) -> bytes:
    """Write a few bytes over others."""
    at = place(content, draw)
    some = draw.choice(
        (b"\x00", b"\xff", b"\n", b"\r", b'"', b"\t", b"\x80", bytes(draw.choices(range(256), k=8)), bytes(40))
    )
    return content[:at] + some + content[at + len(some) :]


def put_integer(content: bytes, draw: random.Random) -> bytes:
    """Write a whole number of 2, 4 or 8 bytes over what is there: a length, an offset, a count."""
    at, size, order = place(content, draw), draw.choice("HIQ"), draw.choice("<>")
    raw = struct.pack(order + size, draw.choice(INTEGERS) % 2 ** (8 * struct.calcsize(size)))
    return content[:at] + raw + content[at + len(raw) :]


def cut_end(content: bytes, draw: random.Random) -> bytes:
    """Cut the end off."""
    return content[: place(content, draw)]


def cut_out(content: bytes, draw: random.Random) -> bytes:
    """Cut a part out."""
    at = place(content, draw)
    return content[:at] + content[at + draw.choice((1, 1, 2, 7, 60, 1000)) :]


def repeat(content: bytes, draw: random.Random) -> bytes:
    """Repeat a part, now and then a thousand times."""
    at = place(content, draw)
    part = content[at : at + draw.choice((1, 4, 30, 500))]
    return content[:at] + part * draw.choice((2, 3, 20, 1000)) + content[at:]


def insert(content: bytes, draw: random.Random) -> bytes:
    """Insert a text anywhere."""
    at = place(content, draw)
    return content[:at] + draw.choice(CELLS + NUMBERS).encode("utf-8", "surrogatepass") + content[at:]


def replace_match(pattern: re.Pattern, texts: Sequence[str]) -> Callable[[bytes, random.Random], bytes]:
    """Return a change that writes one of the texts over a match of the pattern, or over all that are like it."""

    def change(content: bytes, draw: random.Random) -> bytes:
        found = pattern.search(content, place(content, draw))
        if not found:
            return content
        text = draw.choice(texts).encode("utf-8", "surrogatepass")
        if draw.random() < 0.2 and len(found[0]) > 2:
            return content.replace(found[0], text)
        return content[: found.start()] + text + content[found.end() :]

    return change


def replace_column(content: bytes, draw: random.Random) -> bytes:
    """Write one text into a column of every line."""
    separator = max((b"\t", b",", b" "), key=content.count)
    lines = [line.split(separator) for line in content.split(b"\n")]
    column = draw.randrange(max(map(len, lines)))
    text = draw.choice(CELLS[:10] + NUMBERS).encode()
    if len(text) > 1000:
        text = text[:1000]
    for cells in lines:
        if column < len(cells):
            cells[column] = text
    return b"\n".join(separator.join(cells) for cells in lines)


def change_lines(content: bytes, draw: random.Random) -> bytes:
    """Remove, repeat, exchange, join, shuffle or sort lines."""
    lines = content.split(b"\n")
    at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    match draw.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[at]] * draw.choice((1, 1, 3, 2000))
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at : at + 2] = [b"".join(lines[at : at + 2])]
        case 4:
            draw.shuffle(lines)
        case 5:
            lines.sort()
    return b"\n".join(lines)


def change_ends(content: bytes, draw: random.Random) -> bytes:
    """Give the lines other ends, or none, or the file blank lines and comments at its beginning or end."""
    ends = (b"\r\n", b"\r", b"\x0b", b"\x0c", b"\x85", b"\n\n", b" \n", b"\t\n", b",\n", b"")
    more = (b"\n" * 50, b"# a\n", b"\x00" * 50, b"\xef\xbb\xbf", b">", b" ")
    match draw.randrange(3):
        case 0:
            return content.replace(b"\n", draw.choice(ends))
        case 1:
            return draw.choice(more) + content
    return content + draw.choice(more)


def change_separator(content: bytes, draw: random.Random) -> bytes:
    """Separate cells by something else."""
    return content.replace(draw.choice((b"\t", b",", b" ")), draw.choice((b"\t", b",", b";", b" ", b"  ", b"|", b"")))


def encode(content: bytes, draw: random.Random) -> bytes:
    """Write the text in another encoding."""
    how = draw.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037"))
    return content.decode("latin-1").encode(how, "replace")


def wrap(content: bytes, draw: random.Random) -> bytes:
    """Pack the file: gzip, bgzip, twice, cut, with something behind it, or with far more inside than outside."""
    match draw.randrange(7):
        case 0:
            return pack(content)
        case 1:
            return bgzf(content)
        case 2:
            return pack(pack(content))
        case 3:
            return cut_end(pack(content), draw)
        case 4:
            return flip_bit(pack(content), draw)
        case 5:
            return pack(content) + draw.choice((b"\x00" * 20, b"junk", pack(b"\n"), content[:100]))
    filling = draw.choice((b"\x00", b"A", b"\n", b"1\t", b",", b"g1_0,1\n", b"#\n", b'"'))
    return pack(content + (filling * (BOMB // len(filling)) if draw.random() < 0.3 else filling * 100_000))


def change_member(content: bytes, draw: random.Random) -> bytes:
    """Damage one member of a zip file and pack them again, so that its checksum is right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: archive.read(member) for member in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, zlib.error, EOFError):
        return content
    if not members:
        return content
    name = draw.choice(list(members))
    changes = (*PLAIN, *PLAIN, lambda content, draw: bytes(BOMB) if draw.random() < 0.2 else content)
    members[name] = draw.choice(changes)(members[name], draw)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return stream.getvalue()


TEXT = (
    *(flip_bit, put_bytes, cut_end, cut_out, repeat, insert, change_lines, change_lines, change_ends, change_separator),
    *(replace_match(NUMBER, NUMBERS), replace_match(NUMBER, NUMBERS), replace_match(CELL, CELLS), replace_column),
)
BINARY = (flip_bit, flip_bit, put_bytes, put_integer, put_integer, put_integer, cut_end, cut_out, repeat, insert)
PLAIN = (
    *BINARY,
    replace_match(NUMBER, NUMBERS),
    replace_match(re.compile(rb'"[^"]*"'), ("null", "[]", "{}", '""', "1")),
)
ARCHIVE = (*BINARY, *(change_member,) * len(BINARY))


@st.composite
def damaged(draw, seeds: Sequence[tuple[str, bytes]], changes: Sequence[Callable], packed: bool = True):
    """Give a file name and its content: one of the seeds with up to four changes, whole ones among them.

    Args:
        draw: of hypothesis.
        seeds: name and content of whole files.
        changes: what may be done to them.
        packed: the last change may be another encoding, or gzip.
    """
    name, content = draw(st.sampled_from(seeds))
    for change in draw(st.lists(st.sampled_from(changes), max_size=4)):
        content = change(content, random.Random(draw(st.integers(0, 2**32))))[:MOST_BYTES]
    if packed and draw(st.integers(0, 5)) == 5:
        content = draw(st.sampled_from((wrap, wrap, encode)))(content, random.Random(draw(st.integers(0, 2**32))))
    return name, content
