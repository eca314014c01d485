"""Times as docker writes them."""

from __future__ import annotations

from onggi.logs.times import format_ns

ZERO = "0001-01-01T00:00:00Z"


def rfc3339(time_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds, docker's zero time for 0."""
    return format_ns(time_ns) if time_ns else ZERO


def duration(ns: int) -> str:
    """A time as Go writes it."""
    if ns == 0:
        return "0s"
    for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
        if ns < 10**9 and ns >= size:
            return f"{ns / size:g}{unit}"
    minutes, rest = divmod(ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 10**9:g}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
