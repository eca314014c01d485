"""Why a step was found in the cache or done anew: its inputs beside those that the build before had. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

Json = Any
_SHOWN = 60  # letters of an instruction
_FACTS = {
    "argv": "its command changed",
    "document": "its here-document changed",
    "user": "the user changed",
    "directory": "the working directory changed",
    "network": "the network changed",
    "hosts": "--add-host changed",
    "time": "SOURCE_DATE_EPOCH, or the base image's time, changed",
    "told": "a variable in the instruction changed",
}


class Made(msgspec.Struct, frozen=True):
    """One step as it was done: what it was made of by name, and its layer's diff id."""

    text: str
    parts: Json
    layer: str = ""

    @property
    def keyword(self) -> str:
        """The first word."""
        return self.text.partition(" ")[0]


class Verdict(NamedTuple):
    """What is to be said of a step; ``compare`` are two diff ids whose files may tell more. FROM is no hit
    and no miss.
    """

    hit: bool | None
    reasons: list[str]
    compare: tuple[str, str] | None = None
    times: bool = True  # whether times of files tell something


class Account:
    """The steps of one stage; ``before`` are those of the build before, None if none is known.

    ``forced`` is the reason why nothing is looked for in the cache, if that is so.
    """

    def __init__(self, before: Sequence[Made] | None, texts: Collection[str], forced: str) -> None:
        self._before, self._texts, self._forced = before, texts, forced
        self.made: list[Made] = []
        self._moved = ""  # the first step that made another layer than before

    def note(self, text: str, parts: Json, layer: str, *, hit: bool) -> Verdict:
        """Take the next step, and say why it was found or not."""
        now = Made(text, msgspec.json.decode(msgspec.json.encode(parts)), layer)
        before = self._partner(now)
        verdict = self._verdict(now, before, hit)
        self.made.append(now)
        if not self._moved and (before is None or _result(before) != _result(now)):
            self._moved = text
        return verdict

    def _partner(self, now: Made) -> Made | None:
        """The same step of the build before: where this one is, else wherever it was."""
        place, before = len(self.made), self._before or ()
        if place < len(before) and (before[place].text == now.text or _is_from(now.text)):
            return before[place]
        return next((it for it in before if it.text == now.text), None)

    def _verdict(self, now: Made, before: Made | None, hit: bool) -> Verdict:
        if _is_from(now.text):
            return Verdict(None, [self._base(now, before)])
        if hit:
            same = before is not None and (before.parts, before.layer) == (now.parts, now.layer)
            return Verdict(True, ["nothing changed" if same else "an earlier build did the same"])
        if self._forced:
            return Verdict(False, [self._forced])
        if before is None:
            return Verdict(False, [self._new(now)])
        reasons = [*self._differences(now, before)]
        others = now.keyword.upper() != "RUN" and before.layer != now.layer
        if not reasons and not others:
            return Verdict(False, ["its layer is no longer in the cache"])
        times = now.parts.get("time") == before.parts.get("time")
        return Verdict(False, reasons, (before.layer, now.layer) if others else None, times)

    def _base(self, now: Made, before: Made | None) -> str:
        if before is None:
            return self._new(now)
        if before.text != now.text:
            return f"the instruction was: {_short(before.text)}"
        return "what it names is the same" if before.parts == now.parts else "what it names changed"

    def _new(self, now: Made) -> str:
        if self._before is None:
            return "no build before this one is known"
        place = len(self.made)
        was = self._before[place] if place < len(self._before) else None
        if was and was.keyword == now.keyword and was.text not in self._texts:
            return f"the instruction was: {_short(was.text)}"
        return "the instruction is new, or was not reached before"

    def _below(self) -> str:
        if not self._moved:
            return "a step above it is gone"
        if _is_from(self._moved):
            return "it is on another base"
        return f"{_short(self._moved)} made another layer"

    def _differences(self, now: Made, before: Made) -> Iterator[str]:
        if now.parts["below"] != before.parts["below"]:
            yield self._below()
        for name, said in _FACTS.items():
            if now.parts.get(name) != before.parts.get(name):
                yield said
        yield from _variables(now.parts, before.parts)
        yield from _mounts(now.parts.get("mounts") or [], before.parts.get("mounts") or [])


def _is_from(text: str) -> bool:
    return text[:5].upper() == "FROM "


def _result(made: Made) -> Json:
    return made.layer or made.parts


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _variables(now: Json, before: Json) -> Iterator[str]:
    """Names only: a value may be what nobody should read in a log."""
    is_, was = (dict(it.partition("=")[::2] for it in parts.get("env") or []) for parts in (now, before))
    args = {*(now.get("args") or ()), *(before.get("args") or ())}
    for name in sorted(is_.keys() | was.keys()):
        if is_.get(name) != was.get(name):
            kind = "build argument" if name in args else "variable"
            how = "is new" if name not in was else "is gone" if name not in is_ else "changed"
            yield f"{kind} {name} {how}"


def _mounts(now: Sequence[Json], before: Sequence[Json]) -> Iterator[str]:
    if len(now) != len(before):
        yield "its mounts changed"
        return
    for new, old in zip(now, before, strict=True):
        if new != old:
            same = new[:4] == old[:4]
            yield f"files mounted at {new[1]} changed" if same else f"the mount at {new[1]} changed"
