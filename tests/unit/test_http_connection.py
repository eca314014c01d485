"""Connections over a real socket pair: keep-alive, pipelining, limits, streams, and the hijack."""

import asyncio
import os
import socket
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from onggi.api.errors import answer_error
from onggi.api.http import connection as connection_module
from onggi.api.http import relay
from onggi.api.http.connection import Connection
from onggi.api.http.message import Response, Stream
from onggi.api.routes import streams

DEADLINE_S = 30


class Site:
    """A server of one handler."""

    standing_headers = "Server: test\r\n"
    max_connections = 2

    def __init__(self, handler):
        self.handler, self.connections, self.tasks = handler, set(), set()

    async def handle(self, request):
        try:
            return await self.handler(request)
        except ConnectionError:
            raise
        except Exception as error:
            return answer_error(error, "test")

    def refuse(self, error):
        return answer_error(error, "test")

    def adopt(self, task):
        self.tasks.add(task)


@asynccontextmanager
async def connected(handler):
    """(site, non-blocking client socket) of one connection."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    site = Site(handler)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(site), ours)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield site, theirs
    finally:
        theirs.close()
        for one in list(site.connections):
            one.abort()
        await asyncio.sleep(0)


async def send(client, data):
    await asyncio.get_running_loop().sock_sendall(client, data)


async def receive(client, until=None):
    """Read until ``until`` is at the end, or to EOF."""
    data = b""
    while until is None or not data.endswith(until):
        piece = await asyncio.get_running_loop().sock_recv(client, 65536)
        if not piece:
            break
        data += piece
    return data


async def echo(request):
    return Response(200, request.path.encode() + b"=" + await request.body.read(1000))


def run(scene):
    asyncio.run(scene())


def test_keep_alive_and_pipelining():
    async def scene():
        async with connected(echo) as (_, client):
            await send(client, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert (await receive(client, b"/a=hi")).startswith(b"HTTP/1.1 200 OK\r\nServer: test\r\n")
            two = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            await send(client, two)
            answers = await receive(client)
            assert answers.index(b"/b=") < answers.index(b"/c=")
            assert answers.count(b"HTTP/1.1 200 OK") == 2

    run(scene)


def test_bytes_one_by_one():
    async def scene():
        async with connected(echo) as (_, client):
            for (
                byte
            ) in b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n":
                await send(client, bytes([byte]))
                await asyncio.sleep(0)
            assert await receive(client, b"/a=hi")

    run(scene)


def test_go_ahead_is_given_when_the_body_is_read():
    async def scene():
        async with connected(echo) as (_, client):
            await send(
                client, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
            )
            assert await receive(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await send(client, b"hi")
            assert await receive(client, b"/a=hi")

    run(scene)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"BAD\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
    ],
)
def test_broken_heads_are_answered_and_closed(head, status):
    async def scene():
        async with connected(echo) as (_, client):
            await send(client, head)
            answer = await receive(client)
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert b'{"message":' in answer

    run(scene)


def test_ten_megabytes_of_headers_are_refused_in_bounded_memory():
    async def scene():
        async with connected(echo) as (site, client):
            line = b"X-Filler: " + b"a" * 990 + b"\r\n"
            sending = asyncio.create_task(send(client, b"GET / HTTP/1.1\r\nHost: x\r\n" + line * 10_000))
            answer = await receive(client)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"Connection: close" in answer
            await sending
            (one,) = site.connections
            assert len(one._buffer) == 0

    run(scene)


def test_too_many_connections_are_told_so():
    async def scene():
        async with connected(echo) as (site, _):
            site.max_connections = 1
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: Connection(site), ours)
            assert (await receive(theirs)).startswith(b"HTTP/1.1 503 ")
            theirs.close()

    run(scene)


def test_an_unread_upload_gets_its_answer():
    async def refuse(request):
        return Response(404, b"no")

    async def scene():
        async with connected(refuse) as (_, client):
            await send(
                client, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 3_000_000
            )
            answer = await receive(client)
            assert answer.startswith(b"HTTP/1.1 404")
            assert answer.endswith(b"no")

    run(scene)


def test_streams_are_chunked_and_a_reader_that_stops_holds_them():
    produced = 0

    async def endless():
        nonlocal produced
        while True:
            produced += 1
            yield b"x" * 65536

    async def stream(request):
        request.until_eof = True
        return Stream(endless())

    async def scene():
        async with connected(stream) as (site, client):
            await send(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while produced == 0:
                await asyncio.sleep(0)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert produced < 100
            assert b"Transfer-Encoding: chunked" in await asyncio.get_running_loop().sock_recv(client, 4096)
            client.close()
            await asyncio.wait(site.tasks)

    run(scene)


def test_a_client_that_goes_cancels_what_only_serves_it():
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def wait_for_ever(request):
        request.until_eof = True
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async def scene():
        async with connected(wait_for_ever) as (_, client):
            await send(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.wait()
            client.close()
            await ended.wait()

    run(scene)


def test_who_cleans_up_behind_a_client_is_not_cut_short():
    """The end of what a client sends and the loss of its connection come one after the other."""
    begun, cleaning, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    cleaned = []

    async def wait_for_ever(request):
        request.until_eof = True
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cleaning.set()
            await go_on.wait()
            cleaned.append(True)

    async def scene():
        async with connected(wait_for_ever) as (site, client):
            await send(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.wait()
            (connection,) = site.connections
            client.close()
            await cleaning.wait()
            connection._transport.abort()
            while site.connections:
                await asyncio.sleep(0)
            go_on.set()
            await asyncio.wait(site.tasks)

    run(scene)
    assert cleaned


def test_a_client_that_goes_does_not_stop_a_change():
    begun, gone, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def change(request):
        begun.set()
        await gone.wait()
        done.set()
        return Response(204)

    async def scene():
        async with connected(change) as (site, client):
            await send(client, b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.wait()
            client.close()
            while site.connections and not next(iter(site.connections))._input_ended:
                await asyncio.sleep(0)
            gone.set()
            await done.wait()

    run(scene)


HIJACK = b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def answer_in_thread(fd: int, early: bytes) -> None:
    """What a monitor does: read to EOF on its own copy of the socket, then answer and close."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(True)
    data = early
    while piece := sock.recv(65536):
        data += piece
    sock.sendall(b"got " + data)
    sock.close()


async def hijacking(request):
    hijacked = await request.hijack("application/vnd.docker.raw-stream")()
    threading.Thread(target=answer_in_thread, args=hijacked).start()


def test_hijack_gives_the_socket_away_with_early_bytes_and_half_close():
    async def scene():
        async with connected(hijacking) as (site, client):
            await send(client, HIJACK + b"early ")
            head = await receive(client, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
            for line in (
                b"Content-Type: application/vnd.docker.raw-stream",
                b"Connection: Upgrade",
                b"Upgrade: tcp",
            ):
                assert line in head
            while site.connections:
                await asyncio.sleep(0)
            await send(client, b"late")
            client.shutdown(socket.SHUT_WR)
            assert await receive(client) == b"got early late"

    run(scene)


def test_hijack_after_the_half_close():
    async def scene():
        async with connected(hijacking) as (_, client):
            await send(client, HIJACK + b"all of it")
            client.shutdown(socket.SHUT_WR)
            assert (await receive(client)).endswith(b"\r\n\r\ngot all of it")

    run(scene)


def test_a_half_close_seen_before_the_answer_does_not_end_the_connection():
    """`echo hi | docker run -i`: the end of input is read while the handler is still at work."""
    site_of = {}

    async def slow(request):
        (one,) = site_of["site"].connections
        while not one._input_ended:
            await asyncio.sleep(0)
        if request.path == "/attach":
            return await hijacking(request)
        return Response(200, b"answered")

    async def scene():
        for head, end in [(HIJACK + b"all", b"got all"), (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"answered")]:
            async with connected(slow) as (site, client):
                site_of["site"] = site
                await send(client, head)
                client.shutdown(socket.SHUT_WR)
                assert (await receive(client)).endswith(end)

    run(scene)


def test_old_clients_hijack_without_asking():
    async def scene():
        async with connected(hijacking) as (_, client):
            await send(client, b"POST /attach HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            head = await receive(client, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Content-Length" not in head
            client.shutdown(socket.SHUT_WR)
            assert await receive(client) == b"got "

    run(scene)


def test_hijack_never_shuts_the_socket_down(monkeypatch):
    def forbidden(*_):
        raise AssertionError("shutdown acts on every copy of the socket")

    async def scene():
        async with connected(hijacking) as (site, client):
            monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "write_eof", forbidden)
            await send(client, HIJACK)
            await receive(client, b"\r\n\r\n")
            while site.connections:
                await asyncio.sleep(0)
            client.shutdown(socket.SHUT_WR)
            assert await receive(client) == b"got "

    run(scene)


WEBSOCKET = (
    b"GET /containers/one/attach/ws?%b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("query", "reads", "at_once"),
    [
        (b"stream=1&stdin=1&stdout=1&stderr=1", True, False),
        (b"stream=1&stdin=1&stdout=1&stderr=1", False, True),  # no open standard input
        (b"stream=1&stdout=1&stderr=1", True, True),
        (b"stream=1&stdin=1", True, True),
        (b"logs=1&stdout=1", True, False),
    ],
)
def test_a_websocket_that_closes_is_answered_at_once_where_nothing_is_to_come(
    monkeypatch, query, reads, at_once
):
    """The container goes on and says nothing; the grace is for ever, or none."""
    monkeypatch.setattr(relay, "PARTING_S", 3600 if at_once else 0)
    given = []

    async def attach(ref, options, hijack):
        given.append((await hijack()).fd)

    containers = SimpleNamespace(takes_input=lambda ref: reads, attach=attach)

    async def handler(request):
        request.params = {"id": "one"}
        return await streams.attach_websocket(SimpleNamespace(containers=containers), request)

    async def scene():
        async with connected(handler) as (_, client):
            await send(client, WEBSOCKET % query + b"\x88\x80\0\0\0\0")
            assert (await receive(client)).endswith(b"\r\n\r\n\x88\x02\x03\xe8")
            os.close(given.pop())

    run(scene)


def test_idle_and_half_heads_expire(monkeypatch):
    async def scene():
        async with connected(echo) as (site, client):
            (one,) = site.connections
            one.expire(one._since + connection_module.IDLE_TIMEOUT_S - 1)
            assert not one._transport.is_closing()
            await send(client, b"GET / HTTP/1.1\r\n")
            while not one._buffer:
                await asyncio.sleep(0)
            one.expire(one._since + connection_module.HEAD_TIMEOUT_S + 1)
            assert await receive(client) == b""

    run(scene)


def test_descriptors_do_not_grow():
    async def scene():
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            async with connected(hijacking) as (site, client):
                await send(client, HIJACK)
                client.shutdown(socket.SHUT_WR)
                await receive(client)
                while site.connections:
                    await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= before + 2

    run(scene)
