"""Streams of progress messages (pull, import) as docker shows them: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import os

from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Json = Any


def show(messages: Iterable[Json], fd: int = 1) -> None:
    """Print messages to ``fd`` (-1: nowhere) as they come. Raises ClientError for an error message."""
    screen = _Screen(fd) if fd >= 0 and os.isatty(fd) else None
    for message in messages:
        error = message.get("errorDetail") or {}
        if error or message.get("error"):
            raise ClientError(str(error.get("message") or message["error"]))
        if screen is not None:
            screen.show(message)
        elif fd >= 0 and not message.get("progressDetail"):
            _write(fd, _line(message) + "\n")


def _line(message: Json) -> str:
    if "stream" in message:
        return str(message["stream"]).rstrip("\n")
    prefix = f"{message['id']}: " if message.get("id") else ""
    return f"{prefix}{message.get('status', '')}"


class _Screen:
    """Lines with an id are rewritten in place."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rows: dict[str, int] = {}

    def show(self, message: Json) -> None:
        """Print one message."""
        key = message.get("id") or ("\0" if message.get("progressDetail") else "")
        text = _line(message) + (" " + message["progress"] if message.get("progress") else "")
        if not key:
            self._rows.clear()
            _write(self._fd, text + "\n")
            return
        if key not in self._rows:
            self._rows[key] = len(self._rows)
            _write(self._fd, "\n")
        up = len(self._rows) - self._rows[key]
        _write(self._fd, f"\033[{up}A\033[2K\r{text}\033[{up}B\r")


def _write(fd: int, text: str) -> None:
    os.write(fd, text.encode())
