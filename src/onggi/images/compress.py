"""gzip while a layer streams by: the fast compressor where it is installed, zlib at its fastest elsewhere."""

from __future__ import annotations

from importlib import import_module
from typing import Any

Json = Any
_FASTEST = 1
_GZIP = 31  # zlib's window bits for a gzip member; isal takes the same


def _module() -> Json:
    try:
        return import_module("isal.isal_zlib")
    except ImportError:
        return import_module("zlib")


_zlib = _module()


class Gzip:
    """One gzip member without a name or time: the same bytes give the same blob."""

    def __init__(self) -> None:
        self._codec = _zlib.compressobj(_FASTEST, _zlib.DEFLATED, _GZIP)

    def feed(self, data: bytes) -> bytes:
        """What these bytes give, perhaps nothing yet."""
        return bytes(self._codec.compress(data))

    def finish(self) -> bytes:
        """The end of the member."""
        return bytes(self._codec.flush())
