"""docker's ``until`` filter: a duration before now, a Unix time, or an RFC 3339 time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from onggi.errors import InvalidArgument

_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")


def parse_until(text: str, now_ns: int) -> int:
    """Nanoseconds since the epoch; raises InvalidArgument."""
    if _DURATION.fullmatch(text):
        return now_ns - sum(int(float(number) * _UNITS_NS[unit]) for number, unit in _PART.findall(text))
    if re.fullmatch(r"\d{1,11}(\.\d{1,9})?", text):
        return int(float(text) * 10**9)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(f"failed to parse value as time or duration: {text}") from None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(aware.timestamp() * 10**9)
