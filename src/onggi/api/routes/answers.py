"""The few shapes that answers have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar, cast

import msgspec

from onggi.api.errors import message_of
from onggi.api.http.message import Response

Json = Any
Item = TypeVar("Item")
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
    async with aclosing(cast(Any, values)):
        async for value in values:
            yield json_line(value)


async def begun(first: Item, rest: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """The stream again whose ``first`` piece was waited for, so that what fails before it is an answer."""
    async with aclosing(cast(Any, rest)):
        yield first
        async for item in rest:
            yield item


async def told(first: Json, rest: AsyncIterator[Json]) -> AsyncIterator[bytes]:
    """Encode docker's messages, ``first`` (None for none) and the ``rest``; an error is the last of them."""
    try:
        async with aclosing(cast(Any, rest)):
            if first is not None:
                yield json_line(first)
            async for message in rest:
                yield json_line(message)
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except Exception as error:
        code = getattr(error, "code", None)  # of a program that ended
        detail: Json = {"code": code} if isinstance(code, int) and code else {}
        yield json_line({"errorDetail": detail | {"message": message_of(error)}, "error": message_of(error)})
