"""Durations and sizes as docker reads them: ``1m30s``, ``1.5g``."""

from __future__ import annotations

import re

from onggi.errors import InvalidArgument

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_PART = re.compile(_NUMBER + r"(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+|[-+]?0")
_SIZE = re.compile(_NUMBER + r" ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_LONGEST = 40  # characters of a number that means something


def duration(text: str) -> int:
    """Nanoseconds of ``1h2m3.5s``; raises InvalidArgument."""
    if len(text) > _LONGEST or not _DURATION.fullmatch(text):
        raise InvalidArgument(
            f'invalid duration "{text[:_LONGEST]}": expected a number with a unit, as in 1m30s'
        )
    total = sum(int(float(number) * _NANOSECONDS[unit]) for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def size(text: str, base: int = 1024) -> int:
    """Bytes of ``64m`` or ``1.5 GiB``, in powers of a base; raises InvalidArgument in docker's words."""
    match = _SIZE.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if not match:
        raise InvalidArgument(f"invalid size: '{text[:_LONGEST]}'")
    return int(float(match[1]) * base ** " kmgtp".index(match[2].lower() or " "))
