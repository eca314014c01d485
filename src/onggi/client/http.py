"""HTTP/1.1 over a unix or tcp socket: requests, streamed answers, uploads, and the upgrade to a raw stream.

One connection carries one exchange. ``_socket`` is used instead of ``socket`` (which imports ``enum`` and
``selectors``); TLS pulls in ``ssl`` only when an endpoint asks for it.
"""

from __future__ import annotations

import _socket
import os

from onggi.client.errors import ClientError, Disconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Iterable, Iterator

CHUNK = 1 << 16
HEAD_LIMIT = 1 << 20
SUN_PATH_LIMIT = 107  # unix(7): sun_path holds 108 bytes with the closing zero


def connect_unix(path: str, timeout_s: float | None = None) -> Socket:
    """Connect to the stream socket at ``path``; a path too long for sockaddr_un goes by its directory's fd.

    Raises OSError.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    sock.settimeout(timeout_s)
    try:
        if len(os.fsencode(path)) <= SUN_PATH_LIMIT:
            sock.connect(path)
        else:
            _connect_by_directory(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_by_directory(sock: Socket, path: str) -> None:
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)


def connect_tcp(host: str, port: int) -> Socket:
    """Connect to the first address of ``host`` that answers. Raises OSError."""
    failure = OSError(f"no address for {host}")
    for family, kind, protocol, _, address in _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM):
        sock = _socket.socket(family, kind, protocol)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
            continue
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return sock
    raise failure


class Response:
    """The head of an answer; the body is read once, by one of ``read``, ``chunks`` or ``take_over``."""

    def __init__(self, sock: Socket, status: int, headers: dict[str, str], early: bytes) -> None:
        self.status, self.headers = status, headers
        self._sock, self._buffer = sock, bytearray(early)
        self.bodyless = False  # its length, if given, is of what a GET would bring

    def take_over(self) -> tuple[Socket, bytes]:
        """Give the caller the socket and the bytes that followed the head (after status 101)."""
        return self._sock, bytes(self._buffer)

    def read(self) -> bytes:
        """Return the whole body and close."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, then close. Raises Disconnected if cut short."""
        try:
            if self.bodyless or self.status in (204, 304):
                return
            if "chunked" in self.headers.get("transfer-encoding", "").lower():
                yield from self._chunked()
            elif "content-length" in self.headers:
                yield from self._exactly(int(self.headers["content-length"]))
            else:
                yield from self._until_closed()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; safe to call again."""
        self._sock.close()

    def _fill(self) -> bool:
        data = self._sock.recv(CHUNK)
        self._buffer += data
        return bool(data)

    def _until_closed(self) -> Iterator[bytes]:
        while self._buffer or self._fill():
            data = bytes(self._buffer)
            self._buffer.clear()
            yield data

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer and not self._fill():
                raise Disconnected("unexpected EOF")
            data = bytes(self._buffer[:size])
            del self._buffer[: len(data)]
            size -= len(data)
            yield data

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if not self._fill():
                raise Disconnected("unexpected EOF")
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return bytes(line).rstrip(b"\r")

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self._line().split(b";")[0], 16):
            yield from self._exactly(size)
            self._line()
        while self._line():  # trailers
            continue


def exchange(
    sock: Socket,
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes | Iterable[bytes] | None = None,
) -> Response:
    """Send one request and read the head of its answer. ``body``: bytes, or pieces to be sent chunked.

    Raises OSError and Disconnected; the caller closes ``sock`` then.
    """
    fields = dict(headers)
    if isinstance(body, bytes):
        fields["Content-Length"] = str(len(body))
    elif body is not None:
        fields["Transfer-Encoding"] = "chunked"
    elif method not in ("GET", "HEAD"):
        fields["Content-Length"] = "0"
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
    raw = head.encode("latin-1")
    if body is None or isinstance(body, bytes):
        send_all(sock, raw + (body or b""))
    else:
        send_all(sock, raw)
        _send_chunks(sock, body)
    response = read_head(sock)
    response.bodyless = method == "HEAD"
    return response


def send_all(sock: Socket, data: bytes) -> None:
    """Send every byte; a closed peer is an OSError, never a signal."""
    view = memoryview(data)
    while view:
        view = view[sock.send(view, _socket.MSG_NOSIGNAL) :]


def _send_chunks(sock: Socket, pieces: Iterable[bytes]) -> None:
    try:
        for piece in pieces:
            if piece:
                send_all(sock, b"%x\r\n%b\r\n" % (len(piece), piece))
        send_all(sock, b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        return  # the engine refused early: its answer says why


def read_head(sock: Socket, early: bytes = b"") -> Response:
    """Read up to the end of the answer's head; ``early`` was read already.

    Raises Disconnected, ClientError if it is not HTTP.
    """
    data = bytearray(early)
    while (end := data.find(b"\r\n\r\n")) < 0:
        piece = sock.recv(CHUNK)
        if not piece:
            raise Disconnected("the engine closed the connection without an answer")
        data += piece
        if len(data) > HEAD_LIMIT:
            raise ClientError("the answer's head is too long")
    lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ClientError("the peer does not speak HTTP")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    response = Response(sock, int(words[1]), headers, bytes(data[end + 4 :]))
    if response.status == 100:
        return read_head(sock, bytes(data[end + 4 :]))
    return response
