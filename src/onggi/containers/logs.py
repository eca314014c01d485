"""``docker logs``: read a container's log files and follow them while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from onggi.containers.context import Context
from onggi.containers.model import Container, enlist
from onggi.containers.options import LogQuery
from onggi.errors import InvalidArgument, Unsupported
from onggi.logs.options import readable
from onggi.logs.reader import Cursor, Reader, Selection
from onggi.logs.record import STDERR, STDOUT, Record
from onggi.store import opening

_FOLLOW_FALLBACK_S = 5.0


class ContainerLogs:
    """Reads logs of containers, running or not."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def logs(self, ref: str, query: LogQuery) -> AsyncIterator[Record]:
        """Records in order; raises at once for an unknown container or a driver that cannot be read."""
        container = self._context.find(ref)
        if not (query.stdout or query.stderr):
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        log = container.spec.host_config.log_config
        if not readable(log.type, self._context.host.log_options_of(log.type, log.config)):
            raise Unsupported("configured logging driver does not support reading")
        return self.read(container, query)

    async def read(self, container: Container, query: LogQuery) -> AsyncIterator[Record]:
        """Records that are there, then those that come until the run has ended."""
        streams = frozenset(([STDOUT] if query.stdout else []) + ([STDERR] if query.stderr else []))
        selection = Selection(query.tail, query.since_ns, query.until_ns, streams)
        log = container.spec.host_config.log_config
        follow = query.follow and container.state.running
        ended = enlist(container.exit_waiters if container.state.running else [])
        if not container.state.running:
            ended.set_result(None)
        reader = Reader(container.spec.log_directory, log.type)
        begin = partial(reader.open, selection, follow=follow)
        try:
            async with opening.opened(begin, Cursor.close) as cursor:
                while True:
                    # Asked before reading: what was written before the end is then still read.
                    last = not follow or ended.done()
                    records = await opening.work(cursor.read_more)
                    for record in records:
                        yield record
                    if not records and last:
                        return
                    if not records:
                        await _change(cursor, ended)
        finally:
            _forget(container, ended)


def _forget(container: Container, waiter: asyncio.Future[Any]) -> None:
    waiter.cancel()
    if waiter in container.exit_waiters:
        container.exit_waiters.remove(waiter)


async def _change(cursor: Cursor, ended: asyncio.Future[Any]) -> None:
    """Wait until the log may have grown or the run has ended."""
    loop = asyncio.get_running_loop()
    grown: asyncio.Future[Any] = loop.create_future()

    def readable() -> None:
        if not grown.done():
            grown.set_result(None)

    loop.add_reader(cursor.fileno(), readable)
    try:
        await asyncio.wait([grown, ended], timeout=_FOLLOW_FALLBACK_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(cursor.fileno())
