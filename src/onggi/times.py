"""Times and durations as docker writes them."""

from __future__ import annotations

from time import gmtime

ZERO = "0001-01-01T00:00:00Z"  # Go's time that nobody has set


def rfc3339(time_ns: int) -> str:
    """Nanoseconds since the epoch -> ``2026-01-31T10:20:30.00015Z``: in UTC, without trailing zeros."""
    fraction = time_ns % 1_000_000_000
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{_seconds(time_ns)}{digits}Z"


def rfc3339_or_zero(time_ns: int) -> str:
    """The same, of a time that may never have come."""
    return rfc3339(time_ns) if time_ns else ZERO


def rfc3339_fixed(time_ns: int) -> str:
    """The same with all nine digits."""
    return f"{_seconds(time_ns)}.{time_ns % 1_000_000_000:09d}Z"


def _seconds(time_ns: int) -> str:
    # Without strftime(3): this is done for each line of a log.
    year, month, day, hour, minute, second = gmtime(time_ns // 1_000_000_000)[:6]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def duration(ns: int) -> str:
    """How long, as Go writes it."""
    if ns == 0:
        return "0s"
    for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
        if ns < 10**9 and ns >= size:
            return f"{ns / size:g}{unit}"
    minutes, rest = divmod(ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 10**9:g}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
