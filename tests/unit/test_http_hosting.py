"""The end of an HTTP service: requests are finished, streams without end are cut, nothing is left."""

import asyncio
import socket

from onggi.api.http.hosting import Hosting
from onggi.api.http.message import Response, Stream

DEADLINE_S = 30
FOR_EVER_S = 3600.0


async def asked(hosting, path):
    """A connection that has sent one request."""
    ours, theirs = socket.socketpair()
    await asyncio.get_running_loop().connect_accepted_socket(hosting.connection, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


def run(scene):
    async def limited():
        async with asyncio.timeout(DEADLINE_S):
            await scene()

    asyncio.run(limited())


def test_a_stream_without_end_does_not_hold_up_the_end():
    async def endless():
        yield b"first"
        await asyncio.Event().wait()

    async def handle(request):
        request.until_eof = True
        return Stream(endless())

    async def scene():
        hosting = Hosting(handle, None, "")
        reader, writer = await asked(hosting, "/")
        await reader.readuntil(b"first\r\n")
        await hosting.close(FOR_EVER_S)
        assert hosting.busy == 0
        assert await reader.read() == b""
        writer.close()

    run(scene)


def test_what_was_begun_is_finished():
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(request):
        begun.set()
        await go_on.wait()
        return Response(200, b"done")

    async def scene():
        hosting = Hosting(handle, None, "")
        reader, writer = await asked(hosting, "/")
        await begun.wait()
        closing = asyncio.ensure_future(hosting.close(FOR_EVER_S))
        go_on.set()
        await closing
        assert (await reader.read()).endswith(b"\r\n\r\ndone")
        writer.close()

    run(scene)


def test_what_does_not_finish_is_cut():
    async def handle(request):
        await asyncio.Event().wait()

    async def scene():
        hosting = Hosting(handle, None, "")
        reader, writer = await asked(hosting, "/")
        while not hosting.busy:
            await asyncio.sleep(0)
        await hosting.close(0.01)
        assert hosting.busy == 0
        assert await reader.read() == b""
        writer.close()

    run(scene)
