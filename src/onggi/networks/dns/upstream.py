"""The resolvers of the machine: whom to ask what is not ours, read again when the file changes.

Questions go out from the engine's own network namespace, so that the machine's stub resolver with its split
views is asked as any program of the machine asks it. There is no resolver to fall back on.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence

from onggi.networks.dns import message

RESOLV_CONF = "/etc/resolv.conf"
_WAIT_S = 4.0
_LIMIT = 1 << 16
_MOST_SERVERS = 3


class Upstream:
    """Asks the machine's resolvers, or those that a container names."""

    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def servers(self) -> Sequence[str]:
        """Those of the file as it is now."""
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._servers = parse_servers(file.read(_LIMIT))
                self._stamp = stamp
        except OSError:
            return ()
        return self._servers

    async def ask(self, query: bytes, servers: Sequence[str], *, stream: bool) -> bytes | None:
        """The first answer that one of ``servers`` gives, under the query's number; None if none does."""
        number = message.number_of(query)
        for server in [*servers][:_MOST_SERVERS]:
            # A number of our own, and a port of the kernel's choice: an answer has to be guessed twice.
            sent = message.renumbered(query, secrets.randbelow(1 << 16))
            try:
                async with asyncio.timeout(_WAIT_S):
                    found = await (_over_stream if stream else _over_datagrams)(server, sent)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            return message.renumbered(found, number)
        return None


def parse_servers(text: str) -> tuple[str, ...]:
    """The ``nameserver`` lines of resolv.conf(5)."""
    rows = [line.split() for line in text.splitlines()]
    return tuple(row[1] for row in rows if len(row) > 1 and row[0] == "nameserver")


def _family(server: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server else socket.AF_INET


async def _over_datagrams(server: str, query: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(_family(server), kind) as sock:
        sock.connect((server, 53))  # only this server's answers arrive
        await loop.sock_sendall(sock, query)
        while True:
            data = await loop.sock_recv(sock, 65535)
            if message.answers(data, query):
                return data


async def _over_stream(server: str, query: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        data = await reader.readexactly(size)
    finally:
        writer.close()
    if not message.answers(data, query):
        raise OSError("the resolver answered another question")
    return data
