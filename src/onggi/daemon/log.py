"""The daemon's own log: one line per event on standard error, ``time level message key=value``."""

from __future__ import annotations

import logging
import sys
import time

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}


class Formatter(logging.Formatter):
    """UTC times with milliseconds; newlines in messages are escaped, so that nobody can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        return f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name}: {text}"


def set_up(level: str) -> None:
    """Log to standard error from ``level`` on; calling it again changes the level."""
    root = logging.getLogger()
    root.setLevel(_LEVELS[level])
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Formatter())
        root.addHandler(handler)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
