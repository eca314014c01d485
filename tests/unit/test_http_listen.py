"""Listening: who may connect (rule R6), TLS with client certificates, and streams relayed through TLS."""

import asyncio
import os
import socket
import ssl
import threading
from pathlib import Path

import pytest

from onggi.api.http.connection import Connection
from onggi.api.http.message import Response
from onggi.api.listen import TlsFiles, listen_tcp, listen_unix
from onggi.errors import InvalidArgument

TLS = Path(__file__).parent / "tls"
FILES = TlsFiles(str(TLS / "server.pem"), str(TLS / "server.pem"), str(TLS / "ca.pem"))
DEADLINE_S = 30


class Site:
    standing_headers, max_connections = "", 10

    def __init__(self):
        self.connections, self.tasks = set(), set()

    async def handle(self, request):
        if request.path == "/hijack":
            hijacked = await request.hijack("application/vnd.docker.raw-stream")()
            threading.Thread(target=upper_case, args=hijacked).start()
            return None
        return Response(200, b"hello")

    def adopt(self, task):
        self.tasks.add(task)


def upper_case(fd, early):
    """A container that is `tr a-z A-Z`, far slower to read than the client to write."""
    with socket.socket(fileno=fd) as sock:
        sock.setblocking(True)
        sock.sendall(early.upper())
        while piece := sock.recv(4096):
            sock.sendall(piece.upper())


def client_context(certificate=True):
    context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    if certificate:
        context.load_cert_chain(str(TLS / "client.pem"))
    return context


def run(scene):
    async def limited():
        async with asyncio.timeout(DEADLINE_S):
            await scene()

    asyncio.run(limited())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
@pytest.mark.parametrize("tls", [None, FILES._replace(ca=None)], ids=["plain", "without client certificates"])
def test_tcp_beyond_loopback_needs_client_certificates(host, tls):
    """CVE-2021-4024 and every open docker port: whoever reaches it is root."""

    async def scene():
        with pytest.raises(InvalidArgument, match="whoever reaches it is root"):
            await listen_tcp(asyncio.Protocol, host, 2375, tls)

    run(scene)


def test_wrong_tls_files_are_named():
    async def scene():
        with pytest.raises(InvalidArgument, match=r"/nonexistent"):
            await listen_tcp(asyncio.Protocol, "127.0.0.1", 0, TlsFiles("/nonexistent", "/nonexistent"))

    run(scene)


def test_tls_serves_who_shows_a_certificate():
    async def scene():
        site = Site()
        listener = await listen_tcp(lambda: Connection(site), "127.0.0.1", 0, FILES)
        reader, writer = await asyncio.open_connection("localhost", listener.port, ssl=client_context())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await refused_exchange(listener.port)
        listener.close()

    run(scene)


async def refused_exchange(port):
    # TLS 1.3 tells the client of a refusal with the first read.
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context(certificate=False))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        if not await reader.read():
            raise ConnectionResetError
    finally:
        writer.close()


def test_hijack_over_tls_is_relayed_whole():
    async def scene():
        site = Site()
        listener = await listen_tcp(lambda: Connection(site), "127.0.0.1", 0, FILES)
        reader, writer = await asyncio.open_connection("localhost", listener.port, ssl=client_context())
        writer.write(b"POST /hijack HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nearly ")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(6) == b"EARLY "
        sent = os.urandom(1 << 20).hex().encode()

        async def feed():
            writer.write(sent)
            await writer.drain()

        feeding = asyncio.create_task(feed())
        assert await reader.readexactly(len(sent)) == sent.upper()
        await feeding
        writer.close()
        while site.connections:
            await asyncio.sleep(0)
        listener.close()

    run(scene)


def test_unix_socket_modes(tmp_path):
    """CVE-2014-3499: a control socket that everybody may use."""

    async def scene():
        path = str(tmp_path / "made" / "onggi.sock")
        old = os.umask(0)
        try:
            listener = await listen_unix(asyncio.Protocol, path)
        finally:
            os.umask(old)
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(tmp_path / "made").st_mode & 0o777 == 0o700
        listener.close()
        assert not os.path.exists(path)

    run(scene)


def test_a_successor_keeps_its_socket(tmp_path):
    async def scene():
        path = str(tmp_path / "onggi.sock")
        first = await listen_unix(asyncio.Protocol, path)
        second = await listen_unix(asyncio.Protocol, path)
        first.close()
        assert os.path.exists(path)
        second.close()

    run(scene)


def test_a_long_path(tmp_path):
    async def scene():
        path = str(tmp_path / ("d" * 100) / ("e" * 100) / "onggi.sock")
        listener = await listen_unix(asyncio.Protocol, path)
        assert os.path.exists(path)
        listener.close()

    run(scene)
