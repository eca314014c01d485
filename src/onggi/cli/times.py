"""Times, ages and sizes in docker's words (go-units), and times of flags. Pure but for clock and zone."""

from __future__ import annotations

import time

from onggi.cli.command import Failure, Options
from onggi.oci.ages import human_duration

_DAY_S = 86_400
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def ago(created: float) -> str:
    """Return how long ago a Unix time was."""
    return human_duration(time.time() - created) + " ago"


def local_text(created: float) -> str:
    """Return a Unix time as Go's Time.String in the local zone."""
    now = time.localtime(int(created))
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", now)


def rfc3339(seconds: int, fraction: str = "") -> str:
    """Return a Unix time in the local zone (RFC 3339); ``fraction`` stands behind the seconds."""
    now = time.localtime(seconds)
    zone = time.strftime("%z", now)
    shown = "Z" if now.tm_gmtoff == 0 else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", now) + fraction + shown


def human_size(size: float, precision: int = 4) -> str:
    """Return a size in decimal units with ``precision`` significant digits (``4.26MB``)."""
    return _size(size, 1000.0, _SIZES, precision)


def binary_size(size: float) -> str:
    """Return a size in binary units (``1.5GiB``)."""
    return _size(size, 1024.0, _BINARY_SIZES, 4)


def _size(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    at = 0
    while size >= base and at < len(units) - 1:
        size /= base
        at += 1
    return f"{size:.{precision}g}{units[at]}"


def parse_moment(text: str) -> str:
    """Return what ``--since`` and ``--until`` send: ``seconds.nanoseconds`` of a Unix time, a date or an age.

    Raises ValueError.
    """
    from onggi.cli.values import parse_duration

    try:
        nanoseconds = time.time_ns() - parse_duration(text)
        return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
    except ValueError:
        pass  # not an age: a date or a number
    if "-" in text[1:]:
        return _from_date(text)
    whole, point, fraction = text.partition(".")
    if not whole.isdigit() or (point and not fraction.isdigit()):
        raise ValueError(f'failed to parse value as time or duration: "{text}"')
    return text


def moment(options: Options, name: str, wrong: str = "{}") -> str | None:
    """Return the moment that a flag names, None without it; ``wrong`` is how an error is told."""
    if not options.text(name):
        return None
    try:
        return parse_moment(options.text(name))
    except ValueError as error:
        raise Failure(wrong.format(error)) from None


def _from_date(text: str) -> str:
    """Read RFC 3339 and its shorter forms; without a zone the local one counts."""
    date, mark, clock = text.replace("t", "T").partition("T")
    clock, zone = _split_zone(clock)
    clock, _, fraction = clock.partition(".")
    parts = ([*clock.split(":"), "00", "00", "00"])[:3] if mark else ["00", "00", "00"]
    try:
        year, month, day = (int(part) for part in date.split("-"))
        hour, minute, second = (int(part or 0) for part in parts)
        fields = (year, month, day, hour, minute, second, 0, 0, -1)
        seconds = int(time.mktime(fields)) if zone is None else _timegm(fields) - zone
        nanoseconds = int((fraction or "0").ljust(9, "0")[:9])
    except ValueError:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None
    return f"{seconds}.{nanoseconds:09d}"


def _split_zone(clock: str) -> tuple[str, int | None]:
    if clock.endswith(("Z", "z")):
        return clock[:-1], 0
    for sign in "+-":
        head, mark, tail = clock.rpartition(sign)
        if mark and tail.replace(":", "").isdigit():
            digits = tail.replace(":", "").ljust(4, "0")
            offset = int(digits[:2]) * 3600 + int(digits[2:4]) * 60
            return head, offset if sign == "+" else -offset
    return clock, None


def _timegm(fields: tuple[int, ...]) -> int:
    """Return the Unix time of a UTC date (days by the civil calendar)."""
    year, month, day, hour, minute, second = fields[:6]
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("date out of range")
    shifted = year - (month <= 2)
    era_year = shifted % 400
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = (shifted // 400) * 146097 + era_year * 365 + era_year // 4 - era_year // 100 + day_of_year - 719468
    return days * _DAY_S + hour * 3600 + minute * 60 + second
