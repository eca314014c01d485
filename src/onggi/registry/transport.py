"""One exchange with one server: a request goes out, the head of an answer comes back.

No redirect is followed here, no credential known, nothing tried twice.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Self

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError, ProxyError
from urllib3.exceptions import SSLError as PoolSSLError

from onggi import version
from onggi.errors import DataLoss, Forbidden, OnggiError
from onggi.registry import addresses, connections, tls
from onggi.registry.cancel import Cancelled, Guard
from onggi.registry.failures import Transient, Unreachable, os_words, tls_words
from onggi.registry.settings import Limits, Settings

CHUNK = 512 << 10
_IDLE_CONNECTIONS = 8
_WORTH_READING = 64 << 10  # bytes of an answer, rather than making another connection
AGENT = f"onggi/{version.VERSION}"


class Request(msgspec.Struct, frozen=True):
    """What is sent. A ``body`` that is no bytes can be sent once only, and needs a Content-Length.

    ``patience_s``: how long the answer may take to begin, where the server has much to do first.
    """

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes | Iterable[bytes] | None = None
    patience_s: float = 0


class Answer:
    """The head of an answer, and its body while it is open. ``close`` it."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, request: Request, guard: Guard, limits: Limits
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = request.url
        self._bodiless = request.method == "HEAD" or response.status in (204, 304)
        self._is_unlimited = False
        self._response = response
        self._guard = guard
        self._limits = limits

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def peer(self) -> str:
        """The address that the answer came from."""
        return self._guard.peer

    def unlimited(self) -> None:
        """The body may take as long as it moves."""
        self._is_unlimited = True
        self._guard.disarm()

    def header(self, name: str) -> str:
        """A header's value; several are joined by commas; empty if there is none."""
        return ", ".join(self.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """How long the body claims to be. Raises DataLoss for nonsense."""
        values = {
            value.strip() for line in self.headers.getlist("content-length") for value in line.split(",")
        }
        if not values:
            return None
        value = values.pop()
        if values or not (value.isascii() and value.isdecimal() and len(value) < 20):
            raise DataLoss(f"{addresses.shown(self.url)}: invalid Content-Length")
        return int(value)

    def read(self, limit: int) -> bytes:
        """The whole body of a small answer. Raises DataLoss if it is longer than ``limit``."""
        if self._bodiless:
            return b""
        if (self.length or 0) > limit:
            raise DataLoss(
                f"{addresses.shown(self.url)}: an answer of {self.length} bytes, at most {limit} are allowed"
            )
        pieces, size = [], 0
        while piece := self._piece(min(CHUNK, limit + 1 - size)):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise DataLoss(
                    f"{addresses.shown(self.url)}: the answer is longer than the {limit} bytes allowed"
                )
        self._check_length(size)
        return b"".join(pieces)

    def read_some(self, most: int) -> bytes:
        """The beginning of the body, as far as it came."""
        return b"" if self._bodiless else self._chunk(most)[0]

    def chunks(self) -> Iterator[bytes]:
        """The body in large pieces. Raises Transient if it breaks off or hardly moves, behind what came."""
        size = 0
        while True:
            chunk, error = self._chunk(CHUNK)
            size += len(chunk)
            if chunk:
                yield chunk
            if error is not None:
                raise error
            if not chunk:
                break
        self._check_length(size)

    def close(self) -> None:
        """End the exchange. A connection whose answer is read, or nearly, is kept for the next one."""
        left = self._response.length_remaining
        if left == 0 or (left is not None and left <= _WORTH_READING and not self._is_unlimited):
            self._response.drain_conn()
        else:
            self._response.close()
        self._response.release_conn()
        self._guard.close()

    def _chunk(self, most: int) -> tuple[bytes, OnggiError | None]:
        """Up to ``most`` bytes, fewer at the end only, or before the error that is returned with them.

        The time that the caller takes between chunks does not count as the registry's.
        """
        pieces: list[bytes] = []
        size, moved, since = 0, 0, time.monotonic()
        while size < most:
            try:
                piece = self._piece(most - size)
            except OnggiError as error:
                return b"".join(pieces), error
            if not piece:
                break
            pieces.append(piece)
            size, moved = size + len(piece), moved + len(piece)
            if time.monotonic() - since > self._limits.stall_s:
                if moved < self._limits.stall_bytes:
                    stalled = Transient(f'Get "{addresses.shown(self.url)}": the transfer stalled')
                    return b"".join(pieces), stalled
                since, moved = time.monotonic(), 0
        return b"".join(pieces), None

    def _piece(self, most: int) -> bytes:
        self._guard.cancel.check()
        try:
            return self._response.read1(most) or b""
        except (HTTPError, http.client.HTTPException, OSError) as error:
            raise _translated(error, self._guard, "GET", self.url) from None

    def _check_length(self, size: int) -> None:
        if self._guard.cancel.is_set or self._guard.expired:
            raise _translated(TimeoutError(), self._guard, "GET", self.url)
        if self.length is not None and size != self.length and "transfer-encoding" not in self.headers:
            raise Transient(f'Get "{addresses.shown(self.url)}": unexpected EOF')


class Transport:
    """Connections to servers, kept for reuse; any thread may use it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._insecure: dict[str, bool] = {}
        self._managers: dict[tuple[str, tuple[str, str, int]], urllib3.PoolManager] = {}

    def exchange(self, request: Request, guard: Guard) -> Answer:
        """Send a request and return the head of its answer. The guard is the answer's from then on.

        Raises Transient for what another attempt may mend, Cancelled, Forbidden.
        """
        limits = self._settings.limits
        pools = self._pools(request.url, guard)
        try:
            with connections.guarded(guard):
                response = pools.urlopen(
                    request.method,
                    request.url,
                    body=request.body,
                    headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **request.headers},
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(
                        connect=limits.connect_s, read=max(limits.read_s, request.patience_s)
                    ),
                )
        except (HTTPError, http.client.HTTPException, OSError, OnggiError, ValueError) as error:
            raise _translated(error, guard, request.method, request.url) from None
        return Answer(response, request, guard, limits)

    def is_insecure(self, host: str, guard: Guard) -> bool:
        """Whether TLS of ``host[:port]`` need not be verified, by the settings."""
        with self._lock:
            known = self._insecure.get(host)
        if known is None:
            known = self._settings.is_insecure(host, lambda name: self._addresses(name, guard))
            with self._lock:
                self._insecure[host] = known
        return known

    def is_proxied(self, url: str) -> bool:
        return bool(self._settings.proxies.of(url))

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            for pools in self._managers.values():
                pools.clear()
            self._managers.clear()

    def _addresses(self, name: str, guard: Guard) -> list[str]:
        try:
            return [found[4][0] for found in connections.look_up(name, 0, guard)]
        except Unreachable:
            return []  # as dockerd: a name without address is in no network

    def _pools(self, url: str, guard: Guard) -> urllib3.PoolManager:
        host = addresses.host_of(url)
        insecure = self.is_insecure(host, guard)
        if url.startswith("http:") and not insecure and not self._settings.is_plain_mirror(url):
            raise Forbidden(f"{host} may not be reached without TLS: it is not among the insecure-registries")
        proxy = self._settings.proxies.of(url)
        key = (proxy, addresses.origin(url))
        with self._lock:
            if key not in self._managers:
                context = tls.context(host.lower(), self._settings.cert_dirs, verify=not insecure)
                self._managers[key] = connections.manager(
                    proxy, ssl_context=context, maxsize=_IDLE_CONNECTIONS, assert_hostname=None
                )
            return self._managers[key]


def _translated(error: Exception, guard: Guard, method: str, url: str) -> OnggiError:
    """What went wrong as an error of ours, in the words of docker's HTTP client."""
    if guard.cancel.is_set:
        return Cancelled()
    where = f'{method.capitalize()} "{addresses.shown(url)}": '
    if guard.expired:
        return Transient(f"{where}context deadline exceeded")
    if isinstance(error, Transient):
        return type(error)(f"{where}{error}")
    if isinstance(error, OnggiError):
        return error
    return _classified(error, where)


def _classified(error: Exception, where: str) -> OnggiError:
    if isinstance(error, ProxyError):
        where, error = f"{where}proxyconnect tcp: ", error.original_error
    if isinstance(error, ProtocolError) and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    if isinstance(error, PoolSSLError) and isinstance(error.args[0], Exception):
        error = error.args[0]
    if isinstance(error, ssl.SSLError):
        return Unreachable(where + tls_words(error))
    if isinstance(error, http.client.RemoteDisconnected):
        return Transient(f"{where}EOF")
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return Transient(f"{where}net/http: timeout awaiting the answer")
    if isinstance(error, http.client.IncompleteRead):
        return Transient(f"{where}unexpected EOF")
    if isinstance(error, OSError):
        return Transient(where + os_words(error))
    return Transient(f"{where}malformed HTTP response: {str(error)[:200]}")
