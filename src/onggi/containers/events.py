"""What happened, as docker's event messages: published, replayed and filtered.

The last 1000 events, none older than 1000 s, are kept in memory, and for the next engine, written behind, in
the ``events`` table. Order is by the time of the event, so that a death found at recovery stands where it
belongs.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import msgspec

from onggi.containers import repository
from onggi.containers.model import Statement
from onggi.errors import OnggiError
from onggi.filters import check_names, has_labels
from onggi.store.database import Database

Json = Any
logger = logging.getLogger(__name__)
KEEP_NS = 1000 * 1_000_000_000
KEEP_COUNT = 1000  # dockerd keeps 256
BACKLOG = 10_000  # events a subscriber may lag behind before it is cut off
_FLUSH_S = 0.5
_FILTERS = frozenset([
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope",
    "secret", "service", "type", "volume",
])  # fmt: skip


class _Subscriber:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Json] = asyncio.Queue(BACKLOG)
        self.lost = False

    def offer(self, message: Json) -> None:
        """Never blocks the publisher: a subscriber that lags too far is ended instead."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.lost = True


class EventBus:
    """Publish and subscribe on one event loop."""

    def __init__(self, storage: Database | None = None, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._storage, self._clock_ns = storage, clock_ns
        self.published = 0
        self._messages: list[Json] = []
        self._unwritten: list[Json] = []
        self._subscribers: set[_Subscriber] = set()
        self._flush: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        """How many read the events now."""
        return len(self._subscribers)

    async def load(self) -> None:
        """Read back what an earlier engine published."""
        if self._storage is not None:
            rows = await self._storage.run(repository.load_events)
            self._messages = [msgspec.json.decode(message) for _, message in rows[-KEEP_COUNT:]]

    def publish(
        self, type: str, action: str, id: str, attributes: Mapping[str, str], time_ns: int = 0
    ) -> None:
        """Tell everybody; ``time_ns`` 0 is now."""
        when = time_ns or self._clock_ns()
        self.published += 1
        message = _message(type, action, id, dict(attributes), when)
        if self._messages and when < self._messages[-1]["timeNano"]:
            bisect.insort(self._messages, message, key=_time)
        else:
            self._messages.append(message)
        self._forget()
        for subscriber in self._subscribers:
            subscriber.offer(message)
        if self._storage is not None:
            self._unwritten.append(message)
            if self._flush is None or self._flush.done():
                self._flush = asyncio.create_task(self._write_behind())

    async def subscribe(
        self, since_ns: int = 0, until_ns: int = 0, filters: Mapping[str, list[str]] | None = None
    ) -> AsyncIterator[Json]:
        """Past events from ``since_ns`` (0: none), then new ones until ``until_ns`` (0: for ever)."""
        wanted = make_filter(filters or {})
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            for message in self._past(since_ns, until_ns):
                if wanted(message):
                    yield message
            async for message in self._live(subscriber, until_ns):
                if wanted(message):
                    yield message
        finally:
            self._subscribers.discard(subscriber)

    async def close(self) -> None:
        """Write what is still unwritten."""
        if self._flush is not None:
            self._flush.cancel()
        await self._write()

    def _past(self, since_ns: int, until_ns: int) -> list[Json]:
        if not since_ns:
            return []
        end = until_ns or self._clock_ns()
        return [message for message in self._messages if since_ns <= message["timeNano"] <= end]

    async def _live(self, subscriber: _Subscriber, until_ns: int) -> AsyncIterator[Json]:
        while not subscriber.lost:
            left_s = (until_ns - self._clock_ns()) / 1e9 if until_ns else None
            if left_s is not None and left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    message = await subscriber.queue.get()
            except TimeoutError:
                return
            if not until_ns or message["timeNano"] <= until_ns:
                yield message

    def _forget(self) -> None:
        oldest = self._clock_ns() - KEEP_NS
        if len(self._messages) > KEEP_COUNT or self._messages[0]["timeNano"] < oldest - KEEP_NS // 10:
            keep_from = bisect.bisect_left(self._messages, oldest, key=_time)
            del self._messages[: max(keep_from, len(self._messages) - KEEP_COUNT)]

    async def _write_behind(self) -> None:
        await asyncio.sleep(_FLUSH_S)
        try:
            await self._write()
        except OnggiError as error:
            logger.warning("events are written with the next ones: %s", error)

    async def _write(self) -> None:
        if self._unwritten and self._storage is not None:
            with self.written_along() as statement:
                await self._storage.run(statement)

    @contextlib.contextmanager
    def written_along(self) -> Iterator[Statement]:
        """Write what is unwritten in a transaction that somebody else needs; if it fails, later."""
        messages, self._unwritten = self._unwritten, []
        rows = [(message["timeNano"], msgspec.json.encode(message)) for message in messages]
        try:
            yield repository.append_events(rows, self._clock_ns() - KEEP_NS)
        except OnggiError:
            self._unwritten = (messages + self._unwritten)[-KEEP_COUNT:]
            raise


def _time(message: Json) -> int:
    time_ns: int = message["timeNano"]
    return time_ns


def _message(type: str, action: str, id: str, attributes: dict[str, str], time_ns: int) -> Json:
    message: Json = {}
    if type in ("container", "image"):
        # The oldest clients read these three.
        message = {"status": action, "id": id}
        if type == "container":
            message["from"] = attributes.get("image", "")
    message |= {
        "Type": type,
        "Action": action,
        "Actor": {"ID": id, "Attributes": attributes},
        "scope": "local",
        "time": time_ns // 1_000_000_000,
        "timeNano": time_ns,
    }
    return message


def make_filter(filters: Mapping[str, list[str]]) -> Callable[[Json], bool]:
    """A predicate over messages: values of one filter are alternatives, filters and labels add up."""
    check_names(filters, _FILTERS)

    def wanted(message: Json) -> bool:
        return all(_matches(message, name, values) for name, values in filters.items() if values)

    return wanted


def _matches(message: Json, name: str, values: list[str]) -> bool:
    attributes, actor = message["Actor"]["Attributes"], message["Actor"]["ID"]
    action = message["Action"]
    match name:
        case "event":
            return action in values or action.partition(":")[0] in values
        case "type":
            return message["Type"] in values
        case "scope":
            return message["scope"] in values
        case "label":
            return has_labels(attributes, {name: values})
        case "image":
            of_image = message["Type"] == "image"
            name = attributes.get("name" if of_image else "image", "")
            names = {name, name.rpartition(":")[0], actor if of_image else ""}
            return any(value in names for value in values)
        case _:
            # As docker: beginnings, and whatever has such a name, be it of another type.
            beginnings = tuple(values)
            return any(text.startswith(beginnings) for text in (actor, attributes.get("name", "")))
