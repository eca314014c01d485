"""Moments as nanoseconds since 1970: RFC 3339 times, and docker's ``until`` filter."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

from onggi import quantities
from onggi.errors import InvalidArgument

_FRACTION = re.compile(r"\.(\d{1,9})")
_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?")


def instant_ns(text: str) -> int:
    """The moment of a date or time, in UTC unless it says otherwise. Raises ValueError."""
    fraction = _FRACTION.search(text)  # of which Python reads six digits
    when = datetime.fromisoformat(_FRACTION.sub("", text))
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 10**9 + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def parse_until(text: str, now_ns: int) -> int:
    """A duration before now, a Unix time, or an RFC 3339 time; raises InvalidArgument."""
    if since_1970 := _SECONDS.fullmatch(text):
        return int(since_1970[1]) * 10**9 + int((since_1970[2] or "").ljust(9, "0"))
    with suppress(InvalidArgument):
        return now_ns - quantities.duration(text)
    try:
        return instant_ns(text)
    except (ValueError, OverflowError):
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"') from None
