"""What the protocol logic gets and gives: one HTTP request and its answer, without the HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

Headers = tuple[tuple[str, str], ...]


class Call(NamedTuple):
    """One request.

    ``path`` is decoded; ``query`` has every value of each name; header names are lower case; ``size`` is what
    the head says of the body, None if it says nothing.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]
    size: int | None = None

    def first(self, name: str) -> str:
        """The first value of a query parameter; empty if there is none."""
        values = self.query.get(name)
        return values[0] if values else ""


class Answer(NamedTuple):
    """The answer to a call; ``body`` is whole, or a stream of ``size`` bytes (None: nobody knows)."""

    status: int
    headers: Headers = ()
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    size: int | None = None
