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
from onggi.containers.streams import frame, send_all
from onggi.errors import Conflict, InvalidArgument, NotFound

Json = Any


class Attacher:
    """Connects clients with containers."""

    def __init__(self, context: Context, logs: ContainerLogs) -> None:
        self._context, self._logs = context, logs

    def is_tty(self, ref: str) -> bool:
        """Whether streams of this container are raw (a terminal) rather than framed."""
        return self._context.find(ref).spec.config.tty

    async def attach(self, ref: str, options: AttachOptions, hijack: Hijack) -> None:
        """Answer 101 and hand the stream on; before a start it waits in the container's list."""
        container = self._context.find(ref)
        if container.state.paused:
            raise Conflict(f"container {ref} is paused, unpause the container before attach")
        if container.state.restarting:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        parse_detach_keys(options.detach_keys)
        if not options.stream and not options.logs:
            raise InvalidArgument("either logs or stream must be asked for")
        fd, early = await hijack()
        stream = attachment(container, options, fd, early)
        try:
            if options.logs:
                await self._replay(container, options, stream)
        except BaseException:
            os.close(fd)
            raise
        if options.stream:
            await self.connect(container, stream)
        else:
            os.close(fd)
        self._context.publish(container, "attach")

    async def connect(self, container: Container, stream: Attach) -> None:
        """Give a stream to the monitor, or keep it for the next start.

        The descriptor is taken in any case.
        """
        async with container.lock:
            if not container.alive:
                if container.removing:
                    os.close(stream.fd)
                else:
                    container.attachments.append(stream)
                return
        try:
            await self._context.runtime.call(container.id, "attach", attach_arguments(stream), [stream.fd])
        except NotFound:
            return  # ended meanwhile: the client sees the end of its stream

    async def _replay(self, container: Container, options: AttachOptions, stream: Attach) -> None:
        query = LogQuery(stdout=options.stdout, stderr=options.stderr)
        async for record in self._logs.read(container, query):
            data = record.data if not stream.framed else frame(record.stream, record.data)
            await send_all(stream.fd, data)

    async def resize(self, ref: str, h: int, w: int) -> None:
        """Set the terminal's size; before a start it is remembered."""
        container = self._context.find(ref)
        check_size(h, w)
        container.size = (h, w)
        if not container.alive:
            raise Conflict(f"container {container.id} is not running")
        await self._context.runtime.call(container.id, "resize", {"rows": h, "cols": w})
        self._context.publish(container, "resize", height=str(h), width=str(w))


def check_size(rows: int, columns: int) -> None:
    """Rows and columns fit the kernel's ``struct winsize``."""
    if not (0 <= rows < 65536 and 0 <= columns < 65536):
        raise InvalidArgument(f"invalid terminal size {rows}x{columns}")


def attachment(container: Container, options: AttachOptions, fd: int, early: bytes) -> Attach:
    """The record of one client's stream."""
    config = container.spec.config
    return Attach(
        fd=fd,
        early=early,
        stdin=options.stdin and config.open_stdin,
        stdout=options.stdout,
        stderr=options.stderr,
        framed=not config.tty if options.framed is None else options.framed,
        detach_keys=parse_detach_keys(options.detach_keys) if config.tty else "",
    )


def attach_arguments(stream: Attach) -> Json:
    """The arguments of the monitor's ``attach``; the descriptor travels beside them."""
    return {
        "stdin": stream.stdin,
        "stdout": stream.stdout,
        "stderr": stream.stderr,
        "framed": stream.framed,
        "status": stream.status,
        "detach_keys": stream.detach_keys,
        "early": stream.early.hex(),
    }
