"""Maps of sparse files in tar archives: which stretches of a file the archive holds.

Four notations (GNU tar manual, "Storing Sparse Files"): old GNU headers, and PAX 0.0, 0.1 and 1.0. A map is a
tuple of (offset, length), in order and without overlap, whose lengths sum up to the data that is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from onggi.errors import InvalidArgument

Map = tuple[tuple[int, int], ...]

BLOCK = 512
PAX_MAP, PAX_OFFSET, PAX_LENGTH = b"GNU.sparse.map", b"GNU.sparse.offset", b"GNU.sparse.numbytes"
_PREFIX = b"GNU.sparse."
_MAX_STRETCHES = 1 << 16
_MAX_DIGITS = 19
_OLD_HEADER, _OLD_EXTENSION = (386, 4), (0, 21)  # (offset of the first pair, number of pairs) in a block
_OLD_MORE, _OLD_REAL_SIZE, _EXTENSION_MORE = 482, slice(483, 495), 504


def old_gnu(header: bytes, next_block: Callable[[], bytes], number: Callable[[bytes, str], int]) -> Map:
    """The map in an old GNU header and the extension blocks that follow it."""
    found = _old_pairs(header, *_OLD_HEADER, number)
    more = header[_OLD_MORE]
    while more:
        block = next_block()
        found += _old_pairs(block, *_OLD_EXTENSION, number)
        if len(found) > _MAX_STRETCHES:
            raise _bad(f"a sparse file of more than {_MAX_STRETCHES} stretches")
        more = block[_EXTENSION_MORE]
    return tuple(found)


def old_real_size(header: bytes, number: Callable[[bytes, str], int]) -> int:
    """The size of the whole file, of an old GNU header."""
    return number(header[_OLD_REAL_SIZE], "size")


def _old_pairs(
    block: bytes, start: int, count: int, number: Callable[[bytes, str], int]
) -> list[tuple[int, int]]:
    found = []
    for position in range(start, start + 24 * count, 24):
        field = block[position : position + 24]
        if not field[0]:
            break
        found.append((number(field[:12], "sparse offset"), number(field[12:], "sparse length")))
    return found


def is_pax(records: dict[bytes, bytes]) -> bool:
    """Whether extended headers say that the member is a sparse file."""
    return any(key.startswith(_PREFIX) for key in records)


def pax_real_size(records: dict[bytes, bytes]) -> int:
    """The size of the whole file, of PAX records."""
    value = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size") or b""
    return _decimal(value)


def pax_name(records: dict[bytes, bytes]) -> bytes | None:
    """The name of the file; the header's own is made up for readers that know no sparse files."""
    return records.get(b"GNU.sparse.name") or None


def pax_map(records: dict[bytes, bytes], data: Callable[[int], bytes]) -> Map:
    """The map in PAX records or, version 1.0, at the beginning of the member's ``data``."""
    version = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    if version == (b"1", b"0"):
        return _data_map(data)
    if version not in ((None, None), (b"0", b"0"), (b"0", b"1")):
        raise _bad("a sparse file of an unknown version")
    text = records.get(PAX_MAP, b"")
    values = [_decimal(value) for value in text.split(b",")] if text else []
    count = records.get(b"GNU.sparse.numblocks")
    if len(values) % 2 or len(values) > 2 * _MAX_STRETCHES or (count and _decimal(count) != len(values) // 2):
        raise _bad("a malformed map of a sparse file")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _data_map(data: Callable[[int], bytes]) -> Map:
    """Decimal numbers, each with a newline: the count, then pairs; padded to a block."""
    text = b""

    def next_number() -> int:
        nonlocal text
        while b"\n" not in text:
            if len(text) > _MAX_DIGITS:
                raise _bad("a malformed map of a sparse file")
            text += data(BLOCK)
        line, _, text = text.partition(b"\n")
        return _decimal(line)

    count = next_number()
    if count > _MAX_STRETCHES:
        raise _bad(f"a sparse file of more than {_MAX_STRETCHES} stretches")
    return tuple((next_number(), next_number()) for _ in range(count))


def check(found: Map, stored: int, real_size: int) -> Map:
    """The map, if it is one of a file of ``real_size`` bytes, ``stored`` of them here; raises
    InvalidArgument.
    """
    ordered = all(start + length <= next_start for (start, length), (next_start, _) in pairwise(found))
    inside = not found or sum(found[-1]) <= real_size
    if not ordered or not inside or sum(length for _, length in found) != stored:
        raise _bad("a malformed map of a sparse file")
    return found


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MAX_DIGITS:
        raise _bad(f"a number {value[:40]!r} in the map of a sparse file")
    return int(value)


def _bad(what: str) -> InvalidArgument:
    return InvalidArgument(f"invalid tar: {what}")
