"""Connections that another thread can end, and that know to whom they talk.

urllib3 calls ``_new_conn`` for a new connection and ``putrequest`` for each request on it; both look up the
guard of the exchange that this thread is in. Addresses are looked up here and not in urllib3, because the
address that was judged must be the one that is used.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import BaseSSLError, HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from onggi.registry.cancel import Guard
from onggi.registry.failures import Unreachable, os_words

__all__ = ["BaseSSLError", "guarded", "look_up", "manager"]
_guard: ContextVar[Guard] = ContextVar("guard of this thread's exchange")
_RELOOK_S = 0.05


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Within, the connections that this thread makes or uses belong to the guard."""
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


def look_up(host: str, port: int, guard: Guard) -> list[tuple[Any, ...]]:
    """``getaddrinfo`` that the guard can end: a thread of its own waits for the call."""
    answer: list[list[tuple[Any, ...]] | OSError] = []
    done = threading.Event()

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error if isinstance(error, OSError) else OSError("no such host"))
        done.set()

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    while not done.wait(_RELOOK_S):
        guard.check()
    if isinstance(answer[0], OSError):
        raise Unreachable(f"dial tcp: lookup {host}: {_gai_words(answer[0])}")
    return answer[0]


def _gai_words(error: OSError) -> str:
    missing = (socket.EAI_NONAME, socket.EAI_NODATA)
    return "no such host" if error.errno in missing else os_words(error)


def _dial(host: str, port: int, timeout_s: float, *, judged: bool) -> socket.socket:
    """A connection to the first address that takes one."""
    guard = _guard.get()
    failure = Unreachable(f"dial tcp: lookup {host}: no such host")
    for family, kind, protocol, _, address in look_up(host, port, guard):
        if judged:
            guard.admit(address[0])
        connection = socket.socket(family, kind, protocol)
        try:
            guard.adopt(connection)
            _connect(connection, address, timeout_s, guard)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            connection.close()
            guard.check()
            shown = f"[{address[0]}]" if ":" in address[0] else address[0]
            failure = Unreachable(f"dial tcp {shown}:{port}: connect: {os_words(error)}")
        except BaseException:
            connection.close()
            raise
    raise failure


def _connect(connection: socket.socket, address: Any, timeout_s: float, guard: Guard) -> None:  # noqa: ANN401
    """``connect`` that the guard can end: it is looked at again and again, since a socket that is not
    connected yet cannot be shut down.
    """
    connection.setblocking(False)
    number = connection.connect_ex(address)
    poll, end = select.poll(), time.monotonic() + timeout_s
    poll.register(connection, select.POLLOUT)
    while number == errno.EINPROGRESS:
        if poll.poll(_RELOOK_S * 1000):
            number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            break
        guard.check()
        if time.monotonic() > end:
            raise TimeoutError
    if number:
        raise OSError(number, os.strerror(number))
    connection.settimeout(timeout_s)


def _timeout_s(connection: HTTPConnection) -> float:
    timeout = connection.timeout
    return float(timeout) if isinstance(timeout, int | float) else 60.0


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _dial(self._dns_host, self.port, _timeout_s(self), judged=self.proxy is None)

    def putrequest(self, method: str, url: str, *args: bool, **kwargs: bool) -> None:
        """A connection that is used again comes under this exchange's guard."""
        if self.sock is not None:
            guard = _guard.get()
            if self.proxy is None:
                guard.admit(self.sock.getpeername()[0])
            guard.adopt(self.sock)
        super().putrequest(method, url, *args, **kwargs)


class _Secure(_Plain, HTTPSConnection):
    """The same with TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure

    def _validate_conn(self, conn: Any) -> None:  # noqa: ANN401
        """Connect early, without urllib3's warning about hosts that the administrator named as insecure."""
        if conn.is_closed:
            conn.connect()


def manager(proxy: str, **settings: Any) -> urllib3.PoolManager:  # noqa: ANN401
    """Pools of such connections, direct or through a proxy; ``settings`` are urllib3's."""
    if not proxy:
        made = urllib3.PoolManager(**settings)
    else:
        url = urllib3.util.parse_url(proxy)
        headers = urllib3.make_headers(proxy_basic_auth=url.auth) if url.auth else None
        bare = url._replace(auth=None).url
        made = urllib3.ProxyManager(bare, proxy_headers=headers, **settings)
    made.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return made
