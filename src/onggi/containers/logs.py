"""``docker logs``: read a container's log files and follow them while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from onggi.containers.context import Context
from onggi.containers.model import Container, enlist
from onggi.containers.options import LogQuery
from onggi.containers.streams import wake
from onggi.errors import Unsupported
from onggi.frames import STDERR, STDOUT
from onggi.logs.options import readable
from onggi.logs.reader import Cursor, Reader, Selection
from onggi.logs.record import Record, Render
from onggi.store import opening

_FOLLOW_FALLBACK_S = 5.0


class ContainerLogs:
    """Reads logs of containers, running or not."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def logs(self, ref: str, query: LogQuery, render: Render) -> AsyncIterator[bytes]:
        """What ``render`` makes of the records, many at once; raises at once for an unknown container or a
        driver that cannot be read.
        """
        container = self._context.find(ref)
        log = container.spec.host_config.log_config
        if not readable(log.type, self._context.host.log_options_of(log.type, log.config)):
            raise Unsupported("configured logging driver does not support reading")
        return self.read(container, query, render)

    async def read(self, container: Container, query: LogQuery, render: Render) -> AsyncIterator[bytes]:
        """Records that are there, then those that come until the run has ended.

        Read and rendered in threads, and not before somebody asks: of who does not go on, a block is held.
        """
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
                    block = await opening.work(lambda: _rendered(cursor.read_more(), render))
                    if block is not None:
                        yield block
                    elif last:
                        return
                    else:
                        await _change(cursor, ended)
        finally:
            _forget(container, ended)


def _rendered(records: list[Record], render: Render) -> bytes | None:
    return b"".join(map(render, records)) if records else None


def _forget(container: Container, waiter: asyncio.Future[Any]) -> None:
    waiter.cancel()
    if waiter in container.exit_waiters:
        container.exit_waiters.remove(waiter)


async def _change(cursor: Cursor, ended: asyncio.Future[Any]) -> None:
    """Wait until the log may have grown or the run has ended."""
    loop = asyncio.get_running_loop()
    grown: asyncio.Future[None] = loop.create_future()
    loop.add_reader(cursor.fileno(), wake, grown)
    try:
        await asyncio.wait([grown, ended], timeout=_FOLLOW_FALLBACK_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(cursor.fileno())
