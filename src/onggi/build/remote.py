"""What ADD and remote contexts fetch: files by HTTP, in a worker thread, with limits of size and time."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import posixpath
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import Any, NamedTuple

from onggi.build import repositories
from onggi.build.context import Place
from onggi.dockerfile import instructions as typed
from onggi.errors import InvalidArgument, ServerFailed
from onggi.images.streams import PIECE
from onggi.kernel.files import write_all
from onggi.registry.cancel import Cancel, Guard
from onggi.store import space

Json = Any
_TIMEOUT_S = 60  # of silence
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


class Bounds(NamedTuple):
    """What one download may take, whatever room there is."""

    seconds: float = 3600
    bytes: int = 16 << 30


BOUNDS = Bounds()


class Fetched(NamedTuple):
    """A file that was fetched: its name in a directory of its own."""

    directory: str
    name: str


def is_remote(source: str) -> bool:
    """Whether a source is fetched."""
    return source.startswith(("http://", "https://")) or repositories.is_git(source)


def shown(url: str) -> str:
    """An address without the name and password in it (rule R14)."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


async def fetch(place: Place, step: typed.Add, source: str) -> Fetched:
    """One source of an ADD. Raises InvalidArgument, Unsupported, ServerFailed."""
    if repositories.is_git(source):
        found = await repositories.clone(place, source, keep_git_dir=bool(step.keep_git_dir))
        if step.checksum and not found.commit.startswith(step.checksum):
            raise InvalidArgument(f"expected checksum to match {step.checksum}, got {found.commit}")
        return Fetched(found.directory, found.subdirectory or ".")
    return await download(place, source, step.checksum)


async def download(place: Place, url: str, checksum: str = "", bounds: Bounds = BOUNDS) -> Fetched:
    """The file behind an address, with mode 0600, of which ``checksum`` is the digest if it is given."""
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise InvalidArgument(f"invalid checksum {checksum!r}: expected sha256:<64 hexadecimal digits>")
    directory, cancel = place.directory(), Cancel()
    try:
        name, digest = await asyncio.to_thread(_download, url, directory, bounds, cancel)
    except asyncio.CancelledError:
        cancel.set()  # a thread is not cancelled: its connection ends
        raise
    if checksum and digest != checksum:
        raise InvalidArgument(f"digest mismatch {digest}: {checksum}")
    return Fetched(directory, name)


def _download(url: str, directory: str, bounds: Bounds, cancel: Cancel) -> tuple[str, str]:
    headers = {"User-Agent": "onggi", "Accept-Encoding": "identity"}
    request = urllib.request.Request(shown(url), headers=headers)
    if user := urllib.parse.urlsplit(url).netloc.rpartition("@")[0]:
        request.add_unredirected_header("Authorization", repositories.basic(user))
    guard = Guard(cancel, bounds.seconds)
    try:
        # No handler for files or anything but http and https, whatever a redirect says.
        with guard, _opener(guard).open(request, timeout=_TIMEOUT_S) as answer:
            name = _name(url, answer.headers.get_filename() or "")
            room = min(space.room(directory), bounds.bytes)
            return name, _save(answer, f"{directory}/{name}", room, guard)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if guard.expired:
            reason = f"it was not here after {bounds.seconds:g} s"
        code = f"response status {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
        raise ServerFailed(f"failed to fetch {shown(url)}: {code}{reason}") from None


def _opener(guard: Guard) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Watched(guard),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Watched(urllib.request.AbstractHTTPHandler):
    """http and https by connections that end with the guard: also while TLS is negotiated or headers come."""

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, http.client.HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, http.client.HTTPSConnection), request)

    def _connection(
        self, kind: type[http.client.HTTPConnection], host: str, **settings: Json
    ) -> http.client.HTTPConnection:
        connection = kind(host, **settings)
        connection._create_connection = self._dial  # type: ignore[attr-defined]
        return connection

    def _dial(self, *arguments: Json) -> socket.socket:
        connection = socket.create_connection(*arguments)
        self._guard.adopt(connection)
        return connection


def _save(answer: http.client.HTTPResponse, path: str, room: int, guard: Guard) -> str:
    digest, size = hashlib.sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while piece := answer.read1(PIECE):
            size += len(piece)
            if size > room:
                raise OSError(f"there is no room for it: {room} bytes may be taken")
            digest.update(piece)
            write_all(fd, piece)
    finally:
        os.close(fd)
    guard.check()
    if answer.length:  # of what the server promised
        raise OSError(f"the connection ended {answer.length} bytes early")
    return "sha256:" + digest.hexdigest()


def _name(url: str, offered: str) -> str:
    """The file's name: what the server says, else the end of the address. Raises InvalidArgument."""
    name = posixpath.basename(offered) or posixpath.basename(urllib.parse.urlsplit(url).path.rstrip("/"))
    name = urllib.parse.unquote(name)
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        return "download"
    return name
