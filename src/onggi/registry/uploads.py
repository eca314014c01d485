"""Sending one blob (distribution-spec, "Pushing Blobs"): small ones in one piece, large ones resumably.

    POST  uploads/         a place to send to: Location
    PATCH location         the bytes from where the registry stands
    PUT   location?digest  done; of a small blob with its bytes

When a connection breaks, GET location tells how far the registry is (Range); where it has forgotten the
upload, another one begins. Before that it is asked for the blob: perhaps only the answer was lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

import msgspec

from onggi.errors import DataLoss, InvalidArgument, NotFound, ServerFailed
from onggi.registry.cancel import Cancel
from onggi.registry.client import Client, Document, pause_s
from onggi.registry.failures import Transient
from onggi.registry.settings import Limits
from onggi.registry.transport import Request

OpenReader = Callable[[], AbstractContextManager[BinaryIO]]
Progress = Callable[[int], None]
_PIECE = 512 << 10
_SMALL = 1 << 20
_COMMIT_S = 900.0  # a registry may copy and hash a large blob before it answers
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})", re.ASCII)


class UploadTarget(msgspec.Struct, frozen=True):
    """Where a blob goes; ``blobs`` is the URL of the repository's blobs."""

    client: Client
    blobs: str
    scope: str
    cancel: Cancel
    limits: Limits


class Source(msgspec.Struct, frozen=True):
    """What is sent: ``open_reader`` gives a file that can seek; ``progress`` hears how much was sent."""

    digest: str
    size: int
    open_reader: OpenReader
    progress: Progress


class Upload:
    """One blob on its way; ``location`` is an upload that the registry offered already."""

    def __init__(self, target: UploadTarget, source: Source, location: str = "") -> None:
        self._target = target
        self._source = source
        self._location = location
        self._offset = 0

    def run(self) -> None:
        """Send it. Raises what the registry refuses, Transient after too many attempts without progress."""
        failures = reached = 0
        while True:
            try:
                return self._send()
            except Transient:
                failures += 1
                if failures >= self._target.limits.attempts:
                    raise
            self._target.cancel.sleep(pause_s(self._target.limits, failures))
            if self._is_there():
                return self._source.progress(self._source.size)
            self._find_out()
            if self._offset > reached:
                failures, reached = 0, self._offset

    def _send(self) -> None:
        self._location = self._location or self._begin()
        if self._source.size <= _SMALL and self._offset == 0:
            return self._finish(self._whole())
        if self._offset < self._source.size:
            self._patch()
        return self._finish(b"")

    def _begin(self) -> str:
        self._offset = 0
        found = self._ask(Request("POST", f"{self._target.blobs}/uploads/")).accepted()
        if found.status != 202 or not found.header("location"):
            raise ServerFailed(f"{found.url}: the registry began no upload (HTTP status {found.status})")
        return self._target.client.location(found)

    def _whole(self) -> bytes:
        with self._source.open_reader() as reader:
            data = reader.read(self._source.size)
        if len(data) != self._source.size:
            raise DataLoss(f"{self._source.digest} is shorter than {self._source.size} bytes")
        return data

    def _patch(self) -> None:
        start, size = self._offset, self._source.size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size - start)}
        if start:
            headers["Content-Range"] = f"{start}-{size - 1}"
        with self._source.open_reader() as reader:
            reader.seek(start)
            body = self._pieces(reader, size - start)
            found = self._ask(Request("PATCH", self._location, headers, body, _COMMIT_S))
        self._moved(found.accepted())

    def _pieces(self, reader: BinaryIO, left: int) -> Iterator[bytes]:
        while left:
            piece = reader.read(min(_PIECE, left))
            if not piece:
                raise DataLoss(f"{self._source.digest} is shorter than {self._source.size} bytes")
            left -= len(piece)
            yield piece
            self._source.progress(self._source.size - left)

    def _moved(self, found: Document) -> None:
        """Go on at the place and offset that the registry answered."""
        if found.header("location"):
            self._location = self._target.client.location(found)
        told = _RANGE.fullmatch(found.header("range"))
        self._offset = int(told[1]) + 1 if told else self._source.size
        if self._offset != self._source.size:
            raise Transient(f"{self._source.digest}: the registry has {self._offset} bytes of the upload")

    def _finish(self, data: bytes) -> None:
        mark = "&" if "?" in self._location else "?"
        url = f"{self._location}{mark}digest={self._source.digest}"
        headers = {"Content-Type": "application/octet-stream"}
        found = self._ask(Request("PUT", url, headers, data, _COMMIT_S)).accepted()
        told = found.header("docker-content-digest")
        if told.startswith("sha256:") and told != self._source.digest:
            raise DataLoss(f"the registry took the blob {self._source.digest} for {told}")
        self._source.progress(self._source.size)

    def _is_there(self) -> bool:
        found = self._ask(Request("HEAD", f"{self._target.blobs}/{self._source.digest}"), attempts=0)
        return found.status == 200

    def _find_out(self) -> None:
        """Ask how far the registry is; without a good answer begin again."""
        if self._location:
            try:
                found = self._ask(Request("GET", self._location), attempts=0).accepted()
                told = _RANGE.fullmatch(found.header("range"))
                if found.header("location"):
                    self._location = self._target.client.location(found)
                last = int(told[1]) if told else 0  # some say 0-0 for nothing at all
                if 0 < last < self._source.size:
                    self._offset = last + 1
                    return
            except (NotFound, InvalidArgument, Transient):
                pass
        self._location, self._offset = "", 0

    def _ask(self, request: Request, attempts: int = 1) -> Document:
        return self._target.client.document(request, self._target.scope, self._target.cancel, attempts)
