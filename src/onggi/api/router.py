"""Finds the handler of a request: version prefix, then the table of routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from onggi.api.http.message import Request, Response, Stream
from onggi.errors import InvalidArgument, NotFound
from onggi.version import API, MINIMUM_API

Answer = Response | Stream | None
Handler = Callable[[Any, Request], Awaitable[Answer]]

_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)")
_PARAMETER = re.compile(r"\{(\w+)(\*?)\}")
_SLASHES = re.compile(r"/{2,}")


def _parse_version(text: str) -> tuple[tuple[int, int], bool]:
    """Return two numbers of ``text`` (what is missing is 0, as for Docker), and whether more follow."""
    major, minor, *rest = [int(piece[:9] or 0) for piece in f"{text}.".split(".")]
    return (major, minor), any(rest)


MIN_VERSION, MAX_VERSION = _parse_version(MINIMUM_API)[0], _parse_version(API)[0]


class Route(NamedTuple):
    """``pattern`` has ``{name}`` for one segment and ``{name*}`` for several (image names contain slashes).

    ``until_eof``: the handler only serves its client and is cancelled when that goes.
    """

    method: str
    pattern: str
    handler: Handler
    until_eof: bool = False


def negotiate(text: str) -> tuple[int, int]:
    """Return the version of a path prefix. Raises InvalidArgument outside of our range."""
    version, followed = _parse_version(text)
    if version < MIN_VERSION:
        raise InvalidArgument(
            f"client version {text} is too old. Minimum supported API version is "
            f"{MINIMUM_API}, please upgrade your client to a newer version"
        )
    if (version, followed) > (MAX_VERSION, False):
        raise InvalidArgument(f"client version {text} is too new. Maximum supported API version is {API}")
    return version


def _compile(pattern: str) -> re.Pattern[str]:
    pieces, end = [], 0
    for match in _PARAMETER.finditer(pattern):
        pieces.append(re.escape(pattern[end : match.start()]))
        pieces.append(f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})")
        end = match.end()
    return re.compile("".join(pieces) + re.escape(pattern[end:]))


class Router:
    """The table of routes, by method and first segment of the path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            room = route.pattern.split("/")[1]
            self._routes.setdefault((route.method, room), []).append((_compile(route.pattern), route))

    def find(self, request: Request) -> Route:
        """Fill in path, version and parameters of ``request``; raises NotFound or InvalidArgument."""
        path, version = request.path, MAX_VERSION
        if match := _VERSIONED.fullmatch(path):
            version, path = negotiate(match[1]), match[2]
        path = _SLASHES.sub("/", unquote(path))
        request.path, request.api_version = path, version
        for pattern, route in self._routes.get(
            (request.method, path.split("/", 2)[1] if "/" in path else ""), ()
        ):
            if match := pattern.fullmatch(path):
                request.params = match.groupdict()
                request.until_eof = route.until_eof
                return route
        raise NotFound("page not found")
