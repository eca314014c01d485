"""The grammar of WWW-Authenticate: which proofs of identity a registry takes (RFC 9110 §11)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

_MAX_TEXT = 16 << 10
_MAX_CHALLENGES = 16
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_SEPARATORS = re.compile(r"[ \t]*(?:,[ \t]*)*")
_COMPLETE = re.compile(r"[ \t]*(?=,|$)")
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t,]|$)")
_PARAMETER = re.compile(rf"[ \t]*({_TOKEN})[ \t]*=[ \t]*({_TOKEN}|{_QUOTED})[ \t]*(?=,|$)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_NEXT_PARAMETER = re.compile(rf"[ \t]*(?:,[ \t]*)+(?={_TOKEN}[ \t]*=[ \t]*[^=, \t])")


class Challenge(msgspec.Struct, frozen=True):
    """One way to authenticate; scheme and names of parameters are lower-case."""

    scheme: str
    parameters: dict[str, str] = {}


def parse(lines: Iterable[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate lines. A mistake ends a line, with the challenge it is in."""
    found: list[Challenge] = []
    for line in lines:
        if len(line) <= _MAX_TEXT:
            found += _challenges(line)
    return found[:_MAX_CHALLENGES]


def _challenges(line: str) -> Iterator[Challenge]:
    at = _end(_SEPARATORS.match(line, 0), 0)
    while scheme := _SCHEME.match(line, at):
        parameters, at, clean = _parameters(line, scheme.end())
        if not _COMPLETE.match(line, at):
            return
        if clean:
            yield Challenge(scheme[1].lower(), parameters)
        at = _end(_SEPARATORS.match(line, at), at)


def _parameters(line: str, at: int) -> tuple[dict[str, str], int, bool]:
    """The parameters behind a scheme, where they end, and whether no name stood there twice."""
    found: dict[str, str] = {}
    clean = True
    parameter = _PARAMETER.match(line, at)
    if parameter is None:
        return {}, _end(_TOKEN68.match(line, at), at), True
    while parameter:
        name = parameter[1].lower()
        clean = clean and name not in found
        found[name] = _unquoted(parameter[2])
        at = parameter.end()
        more = _NEXT_PARAMETER.match(line, at)
        parameter = _PARAMETER.match(line, more.end()) if more else None
    return found, at, clean


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return match.end() if match else otherwise


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
