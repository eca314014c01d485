"""The few shapes that answers have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from onggi.api.http.message import Response

Json = Any
NO_CONTENT = Response(204)
_encoder = msgspec.json.Encoder()


def answer(value: Json, status: int = 200) -> Response:
    """Return a JSON answer, with the newline that Go's encoder writes."""
    return Response(status, _encoder.encode(value) + b"\n")


def json_line(value: Json) -> bytes:
    """Return one object of a JSON stream."""
    return _encoder.encode(value) + b"\r\n"


async def json_lines(values: AsyncIterator[Json]) -> AsyncIterator[bytes]:
    """Encode a stream of objects."""
    async for value in values:
        yield json_line(value)
