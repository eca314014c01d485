"""``docker attach`` and resizing: clients' sockets are handed to the monitor, or wait here for the start."""

from __future__ import annotations

import os
from typing import Any

from onggi.containers.context import Context
from onggi.containers.detach import parse_detach_keys
from onggi.containers.logs import ContainerLogs
from onggi.containers.model import Container
from onggi.containers.options import AttachOptions, Hijack, LogQuery
from onggi.containers.runtime import Attach
from onggi.containers.streams import send_all, until_head_is_read
from onggi.errors import Conflict, InvalidArgument, NotFound
from onggi.frames import frame
from onggi.logs.record import Record

Json = Any
RUN_CLIENT = "run"  # the client of the private run call, whose socket has a copy here


class Attacher:
    """Connects clients with containers."""

    def __init__(self, context: Context, logs: ContainerLogs) -> None:
        self._context, self._logs = context, logs

    def told(self, container_id: str, event: Json) -> None:
        """The monitor's events: a client has left by its detach keys."""
        container = self._context.containers.get(container_id)
        if container is None or event["event"] != "detached":
            return
        if event.get("name") == RUN_CLIENT and container.run_client is not None:
            container.run_client.close()
        self._context.publish(container, "detach")

    def is_tty(self, ref: str) -> bool:
        """Whether streams of this container are raw (a terminal) rather than framed."""
        return self._context.find(ref).spec.config.tty

    def takes_input(self, ref: str) -> bool:
        """Whether the standard input of this container is open to clients."""
        return self._context.find(ref).spec.config.open_stdin

    async def attach(self, ref: str, options: AttachOptions, hijack: Hijack) -> None:
        """Answer 101 and hand the stream on; before a start it waits in the container's list."""
        container = self._context.find(ref)
        if container.state.paused:
            raise Conflict(f"container {ref} is paused, unpause the container before attach")
        if container.state.restarting:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        parse_detach_keys(options.detach_keys)
        if not options.stream or not (options.stdin or options.stdout or options.stderr):
            os.close((await self._answer(container, options, hijack)).fd)
        elif container.alive:
            await self._connect(container, await self._answer(container, options, hijack))
        else:
            await self._enlist(container, options, hijack)
        self._context.publish(container, "attach")

    async def _answer(self, container: Container, options: AttachOptions, hijack: Hijack) -> Attach:
        """Answer 101 and write what was logged before; the stream that may follow."""
        fd, early = await hijack()
        stream = attachment(container, options, fd, early)
        try:
            await until_head_is_read(fd)
            if options.logs:
                await self._replay(container, options, stream)
        except BaseException:
            os.close(fd)
            raise
        return stream

    async def _enlist(self, container: Container, options: AttachOptions, hijack: Hijack) -> None:
        """Keep the stream for the next start.

        A client starts the container as soon as it has seen our answer, so no start may begin before the
        stream is on the list: the lock is held from the answer on.
        """
        async with container.lock:
            stream = await self._answer(container, options, hijack)
            if container.removing:
                os.close(stream.fd)
                return
            if not container.alive:
                container.attachments.append(stream)
                return
        await self._connect(container, stream)

    async def _connect(self, container: Container, stream: Attach) -> None:
        """Give a stream to the monitor, which takes the descriptor; who came too late sees the end."""
        if not container.alive:
            os.close(stream.fd)
            return
        try:
            await self._context.runtime.call(container.id, "attach", attach_arguments(stream), [stream.fd])
        except NotFound:
            return  # ended meanwhile: the client sees the end of its stream

    async def _replay(self, container: Container, options: AttachOptions, stream: Attach) -> None:
        query = LogQuery(stdout=options.stdout, stderr=options.stderr)

        def render(record: Record) -> bytes:
            return frame(record.stream, record.data) if stream.framed else record.data

        async for block in self._logs.read(container, query, render):
            await send_all(stream.fd, block)

    async def resize(self, ref: str, h: int, w: int) -> None:
        """Set the terminal's size; before a start it is remembered."""
        container = self._context.find(ref)
        check_size(h, w)
        container.size = (h, w)
        container.require_alive()
        await self._context.runtime.call(container.id, "resize", {"rows": h, "cols": w})
        self._context.publish(container, "resize", height=str(h), width=str(w))


def check_size(rows: int, columns: int) -> None:
    """Rows and columns fit the kernel's ``struct winsize``."""
    if not (0 <= rows < 65536 and 0 <= columns < 65536):
        raise InvalidArgument(f"invalid terminal size {rows}x{columns}")


def attachment(
    container: Container, options: AttachOptions, fd: int, early: bytes, *, status: bool = False
) -> Attach:
    """The record of one client's stream."""
    config = container.spec.config
    return Attach(
        fd=fd,
        early=early,
        stdin=options.stdin and config.open_stdin,
        stdout=options.stdout,
        stderr=options.stderr,
        framed=not config.tty if options.framed is None else options.framed,
        status=status,
        detach_keys=parse_detach_keys(options.detach_keys) if config.tty else "",
    )


def attach_arguments(stream: Attach) -> Json:
    """The arguments of the monitor's ``attach``; the descriptor travels beside them."""
    return {
        "stdin": stream.stdin,
        "stdout": stream.stdout,
        "stderr": stream.stderr,
        "framed": stream.framed,
        "name": RUN_CLIENT if stream.status else "",
        "detach_keys": stream.detach_keys,
        "status": stream.exit_code,
        "early": stream.early.hex(),
    }
