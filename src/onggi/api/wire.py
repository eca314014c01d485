"""Docker's stream formats: content types, and log lines."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote_plus

from onggi.frames import frame
from onggi.logs.record import Record
from onggi.times import rfc3339_fixed

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"


def stream_type(tty: bool, api_version: tuple[int, int]) -> str:
    """Return the content type of attach, exec and logs; the multiplexed one exists since API 1.42."""
    return MULTIPLEXED_STREAM if not tty and api_version >= (1, 42) else RAW_STREAM


def _details(attributes: Mapping[str, str]) -> bytes:
    pairs = (f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attributes.items()))
    return ",".join(pairs).encode("ascii") + b" "


def log_line(record: Record, *, timestamps: bool, details: bool, framed: bool) -> bytes:
    """Return one record as ``GET /containers/ID/logs`` sends it."""
    line = record.data
    if details:
        line = _details(record.attributes) + line
    if timestamps:
        line = f"{rfc3339_fixed(record.time_ns)} ".encode() + line
    return frame(record.stream, line) if framed else line
