"""Times of log files, as ``onggi.times`` writes them, read fast."""

from __future__ import annotations

_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


class Parser:
    """Reads times of log files; lines of one second cost one lookup."""

    def __init__(self) -> None:
        self._text = ""
        self._seconds = 0

    def parse_ns(self, text: str) -> int:
        """``2026-01-31T10:20:30.00015Z`` -> nanoseconds since the epoch; raises ValueError."""
        if not text.endswith("Z"):
            raise ValueError(text)
        if text[:19] != self._text:
            self._seconds = _epoch_seconds(text[:19])
            self._text = text[:19]
        fraction = text[20:-1]
        return self._seconds * 1_000_000_000 + (int(fraction.ljust(9, "0")[:9]) if fraction else 0)


def _epoch_seconds(text: str) -> int:
    year, month, day = int(text[0:4]), int(text[5:7]), int(text[8:10])
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719162
    days += _DAYS_BEFORE_MONTH[month - 1] + (1 if leap and month > 2 else 0) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second
