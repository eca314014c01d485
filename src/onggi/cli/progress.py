"""Progress messages (pull, push, load, import) as docker shows them: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import os

from onggi.cli.command import console_size
from onggi.cli.times import human_size
from onggi.client.errors import ClientError
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onggi.client.codec import Json

_BAR, _BAR_NEEDS, _TIME_NEEDS, _NO_TERMINAL = 50, 110, 50, 200


def show(messages: Iterable[Json], fd: int = 1, aux: Callable[[Json], None] | None = None) -> None:
    """Print messages to ``fd`` (-1: nowhere) as they come; what travels beside them goes to ``aux``.

    Raises ClientError for an error message.
    """
    terminal = fd >= 0 and os.isatty(fd)
    screen = _Screen(fd) if terminal else _Lines(fd)
    for message in messages:
        if message.get("aux") is not None:
            if aux is not None:
                aux(message["aux"])
            continue
        screen.show(message)
        if error := error_of(message):
            raise ClientError(error)


def error_of(message: Json) -> str:
    """Return why the engine gave up, "" for a message of another kind."""
    detail = message.get("errorDetail") or {}
    return str(detail.get("message") or message.get("error") or "")


def _prefix(message: Json) -> str:
    moment = message.get("timeNano") or (message.get("time") or 0) * 10**9
    start = ""
    if moment:
        from onggi.cli.times import rfc3339

        start = rfc3339(moment // 10**9, f".{moment % 10**9:09d}") + " "
    start += f"{message['id']}: " if message.get("id") else ""
    return start + (f"(from {message['from']}) " if message.get("from") else "")


def _plain(message: Json) -> str:
    """Return the text of a message that is no bar, with its line end."""
    if message.get("progress"):  # as engines before API 1.8 drew it
        return f"{_prefix(message)}{message.get('status', '')} {message['progress']}"
    if message.get("stream"):
        return _prefix(message) + str(message["stream"])
    return f"{_prefix(message)}{message.get('status', '')}\n"


class _Lines:
    """Where nobody watches: everything but bars, one line each."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def show(self, message: Json) -> None:
        """Print one message."""
        if self._fd < 0 or error_of(message) or bar(message.get("progressDetail") or {}, _NO_TERMINAL, 0):
            return
        _write(self._fd, _plain(message))


class _Screen:
    """A terminal: messages with an id and progress rewrite their line.

    Lines are cut to the width, which is asked for anew each time: a line that wraps would move the others.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._rows: dict[str, int] = {}

    def show(self, message: Json) -> None:
        """Print one message."""
        detail, key = message.get("progressDetail"), message.get("id") or ""
        up, start = 0, ""
        if key and (detail is not None or message.get("progress")):
            if key not in self._rows:
                self._rows[key] = len(self._rows)
                start = "\n"
            up = len(self._rows) - self._rows[key]
            start += f"\033[{up}A"
        else:
            self._rows.clear()  # what follows does not know where the lines above are
        text = "" if error_of(message) else self._text(message, detail)
        # Lines further up have scrolled away for good.
        if up < (console_size(self._fd)[0] or _NO_TERMINAL):
            _write(self._fd, f"{start}{text}\033[{up}B" if up else text)

    def _text(self, message: Json, detail: Json) -> str:
        if detail is None:
            return _plain(message)
        width = console_size(self._fd)[1] or _NO_TERMINAL
        shown = bar(detail, width, _now_s(detail))
        if message.get("stream"):
            return "" if shown else _plain(message)
        line = f"{_prefix(message)}{message.get('status', '')} {shown}"
        return f"\033[2K\r{line if len(line) <= width else line[: max(width - 1, 0)]}\r"


def _now_s(detail: Json) -> float:
    if not detail.get("start"):
        return 0.0
    from time import time

    return time()


def bar(detail: Json, width: int, now_s: float) -> str:
    """Return a progress detail as text: a bar where there is room, amounts, the time that is left."""
    current, total = detail.get("current") or 0, detail.get("total") or 0
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{current} {detail['units']}" if detail.get("units") else f"{human_size(current):>8}"
    done = min(int(current / total * 100) // 2, _BAR)
    drawn = f"[{'=' * done}>{' ' * (_BAR - done)}] " if width > _BAR_NEEDS else ""
    return drawn + _amounts(detail, current, total) + _time_left(detail, done, width, now_s)


def _amounts(detail: Json, current: int, total: int) -> str:
    units = detail.get("units")
    if detail.get("hidecounts"):
        return ""
    if units:
        return f"{current}/{total} {units}" if current <= total else f"{current} {units}"
    return f"{human_size(current):>8}" + (f"/{human_size(total)}" if current <= total else "")


def _time_left(detail: Json, done: int, width: int, now_s: float) -> str:
    current, start = detail.get("current") or 0, detail.get("start") or 0
    if width <= _TIME_NEEDS or current <= 0 or start <= 0 or done >= _BAR:
        return ""
    seconds = round(((detail.get("total") or 0) - current) * (now_s - start) / current)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    text = f"{seconds % 60}s" if not hours and not minutes else f"{minutes}m{seconds % 60}s"
    return f" {hours}h{text}" if hours else f" {text}"


def _write(fd: int, text: str) -> None:
    write_all(fd, text.encode("utf-8", "surrogateescape"))
