"""Byte ranges: of downloads (RFC 9110 section 14), and of chunks (distribution-spec, "Pushing a blob in
chunks").
"""

from __future__ import annotations

import re

from onggi.registry.server.refusals import RangeInvalid, UploadInvalid

_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)
_CONTENT_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)


def requested(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range that a Range header asks for; None: the whole.

    Other units and several ranges at once are answered with the whole, which the RFC allows. Raises
    RangeInvalid for what lies outside of ``size`` bytes or is no range.
    """
    if not header.strip().lower().startswith("bytes=") or "," in header:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None or not any(match.groups()):
        raise _outside(size)
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
    if start >= end:
        raise _outside(size)
    return start, end


def _outside(size: int) -> RangeInvalid:
    return RangeInvalid({"size": size}, headers=(("Content-Range", f"bytes */{size}"),))


def check_chunk(header: str, offset: int, size: int | None) -> None:
    """Check that a chunk begins at ``offset`` and is as long as its range says.

    Raises UploadInvalid for what is no range or another length than ``size`` (of the body, if known),
    RangeInvalid for a chunk out of order.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip())
    first, last = (int(match[1]), int(match[2])) if match else (1, 0)
    if last < first:
        raise UploadInvalid(message="malformed Content-Range: expected FIRST-LAST")
    if first != offset:
        raise RangeInvalid(
            {"offset": offset}, message=f"chunk begins at {first}, the upload stands at {offset}"
        )
    if size is not None and size != last - first + 1:
        raise UploadInvalid(message=f"Content-Range {header.strip()} does not fit the length of the body")
