"""Listening sockets: unix ones private to their owner; tcp beyond loopback only with TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from onggi.api.http.tls import TlsLayer
from onggi.errors import InvalidArgument
from onggi.kernel.sockets import BACKLOG, bind_unix

log = logging.getLogger(__name__)


class TlsFiles(NamedTuple):
    """PEM files; with ``ca`` every client must show a certificate signed by it (dockerd's --tlsverify)."""

    certificate: str
    key: str
    ca: str | None = None


class Listener:
    """One listening socket; ``path`` is removed at close if it is still ours."""

    def __init__(self, server: asyncio.Server, path: str | None = None, port: int = 0) -> None:
        self.path, self.port = path, port
        self._server = server
        self._inode = os.lstat(path).st_ino if path else 0

    def close(self) -> None:
        """Stop to accept; connections go on."""
        self._server.close()
        if self.path is None:
            return
        try:
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except FileNotFoundError:
            return


async def listen_unix(
    factory: Callable[[], asyncio.Protocol], path: str, mode: int = 0o600, gid: int = -1
) -> Listener:
    """Listen at ``path`` (rule R6: 0600, in a directory made 0700 where it is missing).

    With ``gid`` that group may connect too, as docker's group does.
    """
    directory = os.path.dirname(path)
    if directory and not os.path.isdir(directory):
        os.makedirs(directory, 0o700)
    sock = bind_unix(path, socket.SOCK_STREAM, mode)
    if gid >= 0:
        os.chown(path, -1, gid)
        os.chmod(path, mode | 0o060)
    sock.setblocking(False)
    # Not create_unix_server: on 3.13 it unlinks the path by name, even when another engine has replaced it.
    server = await asyncio.get_running_loop().create_server(factory, sock=sock, backlog=BACKLOG)
    return Listener(server, path)


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a server context; TLS 1.2 at least. Raises InvalidArgument naming the file that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.ca is not None:
            context.load_verify_locations(files.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise InvalidArgument(f"could not load TLS files {', '.join(filter(None, files))}: {error}") from None
    return context


def is_loopback(host: str) -> bool:
    """Whether an address or name can only be this machine; an empty one is every address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def listen_tcp(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, tls: TlsFiles | None
) -> Listener:
    """Listen on tcp. Raises InvalidArgument for access beyond this machine without client certificates."""
    verified = tls is not None and tls.ca is not None
    if not verified and not is_loopback(host):
        raise InvalidArgument(
            f"refusing to serve tcp://{host}:{port} without client certificates: whoever reaches it is root; "
            "give --tlsverify with --tlscacert, --tlscert and --tlskey"
        )
    if not verified:
        log.warning("tcp://%s:%d is open to every process of this machine: that is root access", host, port)
    return await listen_stream(factory, host, port, tls_context(tls) if tls is not None else None)


async def listen_stream(
    factory: Callable[[], asyncio.Protocol], host: str, port: int, context: ssl.SSLContext | None
) -> Listener:
    """Listen on tcp, whoever may reach it: the caller has decided that. Raises InvalidArgument."""
    outer = factory if context is None else lambda: TlsLayer(context, factory)
    try:
        server = await asyncio.get_running_loop().create_server(outer, host or None, port)
    except OSError as error:  # of a name that is not found the number is the resolver's
        words = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise InvalidArgument(f"cannot listen on {host}:{port}: {(words or str(error)).lower()}") from None
    bound: int = server.sockets[0].getsockname()[1]
    return Listener(server, port=bound)
