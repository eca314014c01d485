"""What a person sees of a build: live on a terminal, line by line elsewhere, on standard error."""

from __future__ import annotations

import _thread
import os
from time import monotonic, sleep

from onggi.cli.command import console_size
from onggi.cli.progress import error_of
from onggi.client.codec import encode
from onggi.client.errors import ClientError
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onggi.client.codec import Json

MODES = ("auto", "plain", "tty", "quiet", "rawjson")
_FD = 2
_TAIL = 6  # lines of a running step that are shown
_KEPT = 20  # lines of a failed one
_TICK_S = 0.1
_WIDTH, _HEIGHT = 80, 24


class Step:
    """One step: its number in the order of beginning, its title, what it said last."""

    def __init__(self, number: int, title: str) -> None:
        self.number, self.title, self.began = number, title, monotonic()
        self.state, self.seconds = "", 0.0
        self.cached, self.image = False, ""  # the image that it led to
        self.lines: list[str] = []
        self._rest = ""

    def hear(self, text: str) -> list[str]:
        """Take output; return the lines that it completes."""
        *lines, self._rest = (self._rest + text).split("\n")
        heard = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        self.lines = [*self.lines, *heard][-_KEPT:]
        return heard

    def end(self, state: str, seconds: float) -> list[str]:
        """Note how it ended; return the line that had no end."""
        self.state, self.seconds = state, seconds
        return self.hear("\n") if self._rest else []

    def elapsed(self) -> float:
        """Return the seconds that it took, or takes."""
        return self.seconds if self.state else monotonic() - self.began


class _Plain:
    """A line for everything that happens."""

    def begin(self, step: Step) -> None:
        """A step begins."""
        _line(f"#{step.number} {step.title}")

    def heard(self, step: Step, lines: list[str]) -> None:
        """A step said something."""
        for line in lines:
            _line(f"#{step.number} {step.elapsed():.3f} {line}")

    def ended(self, step: Step) -> None:
        """A step is over."""
        if step.image:
            _line(f"#{step.number} ---> {step.image}")
        words = {"done": f"DONE {step.seconds:.1f}s", "cached": "CACHED"}
        _line(f"#{step.number} {words.get(step.state, step.state.upper())}\n")

    def said(self, text: str) -> None:
        """The build said something."""
        _line(text)

    def finish(self) -> None:
        """Nothing is left to draw."""


class _Nothing(_Plain):
    def begin(self, step: Step) -> None:
        pass

    def heard(self, step: Step, lines: list[str]) -> None:
        pass

    def ended(self, step: Step) -> None:
        pass

    def said(self, text: str) -> None:
        pass


class _Screen(_Plain):
    """A block of lines that is drawn anew, by a thread of its own: times go on while nothing happens.

    What the build says of itself comes below, at the end.
    """

    def __init__(self) -> None:
        self._words: list[str] = []
        self._steps: list[Step] = []
        self._began, self._drawn, self._over = monotonic(), 0, False
        self._lock = _thread.allocate_lock()
        _thread.start_new_thread(self._tick, ())

    def begin(self, step: Step) -> None:
        with self._lock:
            self._steps.append(step)

    def heard(self, step: Step, lines: list[str]) -> None:
        pass

    def ended(self, step: Step) -> None:
        self._draw()

    def said(self, text: str) -> None:
        self._words.append(text)

    def finish(self) -> None:
        with self._lock:
            over, self._over = self._over, True
        if over:
            return
        self._draw()
        for text in self._words:
            _line(text)

    def _tick(self) -> None:
        while not self._over:
            sleep(_TICK_S)
            if not self._over:
                self._draw()

    def _draw(self) -> None:
        with self._lock:
            rows, columns = console_size(_FD)
            lines = self._lines(columns or _WIDTH)[-max((rows or _HEIGHT) - 2, 1) :]
            head = (
                f"[+] Building {monotonic() - self._began:.1f}s ({self._count()}){self._over * ' FINISHED'}"
            )
            up = f"\033[{self._drawn}A\r" if self._drawn else ""
            text = "".join(f"\033[2K{line}\n" for line in (head, *lines))
            write_all(_FD, f"{up}{text}\033[J".encode("utf-8", "surrogateescape"))
            self._drawn = len(lines) + 1

    def _count(self) -> str:
        return f"{sum(bool(step.state) for step in self._steps)}/{len(self._steps)}"

    def _lines(self, width: int) -> list[str]:
        lines: list[str] = []
        for step in self._steps:
            time = f"{step.elapsed():.1f}s"
            mark = {"cached": "CACHED ", "failed": "ERROR ", "canceled": "CANCELED "}.get(step.state, "")
            room = max(width - len(time) - 5, 10)
            lines.append(f" => {_fit(mark + step.title, room):<{room}} {time}")
            if not step.state:
                lines += [f" => => # {_fit(line, max(width - 9, 10))}" for line in step.lines[-_TAIL:]]
        return lines


def show(
    messages: Iterable[Json], mode: str, *, explain: bool = False, debug: Callable[[Json], None] | None = None
) -> str:
    """Show a build, with ``explain`` also what it says of its cache, and return the id of its image. Raises
    ClientError in the engine's words. ``debug`` is called with what the engine offers of a failed step.
    """
    if mode == "rawjson":
        return _raw(messages)
    if mode == "auto":
        mode = "tty" if os.isatty(_FD) else "plain"
    view = {"tty": _Screen, "quiet": _Nothing}.get(mode, _Plain)()
    build = _Build(view)
    try:
        for message in messages:
            offered = (message.get("aux") or {}).get("Debug")
            if offered and debug:
                build.pause(message["onggi"], quiet=mode == "quiet")
                debug(offered)
            build.take(message)
    finally:
        view.finish()
    if explain and mode != "quiet":
        _line(build.explained())
    return build.finish(quiet=mode == "quiet")


def _raw(messages: Iterable[Json]) -> str:
    found, failed = "", ""
    for message in messages:
        write_all(_FD, encode(message) + b"\n")
        found = str((message.get("aux") or {}).get("ID") or found)
        failed = error_of(message) or failed
    if failed:
        raise ClientError(failed)
    return found


class _Build:
    """Sorts messages by their steps."""

    def __init__(self, view: _Plain) -> None:
        self._view, self._steps = view, dict[tuple[str, int], Step]()
        self._image, self._failed = "", ""
        self._said = ""
        self._warnings: list[Json] = []
        self._whys: list[str] = []
        self._told = False  # which step has failed

    def take(self, message: Json) -> None:
        """One message of the engine."""
        if failed := error_of(message):
            self._failed = failed
        elif message.get("aux"):
            self._image = str(message["aux"].get("ID") or self._image)
            self._warnings += message["aux"].get("Warnings") or []
        elif facts := message.get("onggi"):
            self._step(facts, message)
        elif text := _text(message):
            self._said = text
            self._view.said(text.rstrip("\n"))

    def finish(self, *, quiet: bool) -> str:
        """Return the image's id; what failed is told with the last words of its step."""
        if self._warnings and not quiet:
            _line(_unwise(self._warnings))
        if self._failed:
            self._last_words(quiet)
            raise ClientError(self._failed)
        return self._image or self._said.strip()

    def pause(self, facts: Json, *, quiet: bool) -> None:
        """A step has failed and somebody looks into it: say so now, and of the others nothing more."""
        if step := self._steps.get((str(facts["Stage"]), int(facts["Step"]))):
            step.end("failed", float(facts["Seconds"]))
            self._view.ended(step)
        self._view.finish()
        self._told = True
        self._last_words(quiet)
        self._steps.clear()
        self._view = _Nothing()

    def explained(self) -> str:
        """Return what was said of the cache."""
        return "\n".join(["Cache:", *(self._whys or [" nothing: this engine explains no builds"])])

    def _step(self, facts: Json, message: Json) -> None:
        key = (str(facts["Stage"]), int(facts["Step"]))
        self._told |= facts["Event"] == "failed"
        if not key[1]:  # it makes no layer
            if facts["Event"] == "output":
                self._view.said(_text(message).rstrip("\n"))
            return
        step = self._steps.get(key)
        if step is None:
            place = f"{key[0]} {key[1]}/{facts['Steps']}".lstrip()
            title = f"[{place}] {_text(message).partition(' : ')[2].strip()}"
            step = self._steps[key] = Step(len(self._steps) + 1, title)
            self._view.begin(step)
        elif facts["Event"] == "output":
            self._view.heard(step, step.hear(_text(message) + "\n" * ("stream" not in message)))
        elif facts["Event"] == "why":
            word = {True: "HIT", False: "MISS"}.get(facts.get("Hit"), "")
            self._whys.append(f" {word:4} {step.title}: {facts.get('Why')}")
        step.cached |= facts["Event"] == "cached"
        if facts["Event"] in ("done", "failed") and not step.state:
            if facts["Event"] == "done":
                step.image = _text(message).strip().removeprefix("---> ")
            state = "cached" if step.cached else facts["Event"]
            rest = step.end(state, float(facts.get("Seconds") or 0))
            self._view.heard(step, rest)
            self._view.ended(step)

    def _last_words(self, quiet: bool) -> None:
        for step in self._steps.values():
            if not step.state:
                step.end("canceled" if self._told else "failed", step.elapsed())
                self._view.ended(step)
            if step.state == "failed" and step.lines and not quiet:
                _line("\n".join(["------", f" > {step.title}:", *step.lines, "------"]))


def _unwise(warnings: list[Json]) -> str:
    some = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    lines = [f" - {it['rule']}: {it['message']} (line {it['first_line']})" for it in warnings]
    return "\n".join([f"\n {some} found (use --check to expand):", *lines])


def _text(message: Json) -> str:
    """The words of a message; of a bar only what it is about."""
    if message.get("stream"):
        return str(message["stream"])
    name = f"{message['id']}: " if message.get("id") else ""
    return "" if message.get("progressDetail") else f"{name}{message.get('status', '')}"


def _fit(text: str, room: int) -> str:
    plain = "".join(character for character in text if character.isprintable())
    return plain if len(plain) <= room else f"{plain[: room - 1]}…"


def _line(text: str) -> None:
    write_all(_FD, f"{text}\n".encode("utf-8", "surrogateescape"))
