"""TLS for tcp endpoints. Imported only when one is used: ``ssl`` costs more than a whole fast command.

What is returned is one end of a socket pair; a thread keeps the other and speaks TLS for it. So the client
has plain sockets alone: they can be polled, and shut down on one side, which Python's TLS sockets cannot.
"""

from __future__ import annotations

import _socket
import _thread
import os
import ssl
from select import POLLHUP, POLLIN, POLLOUT, poll

from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Mapping

_PIECE = 1 << 16
_PENDING = 1 << 18  # bytes that wait for a slow side before the other is read no more


def wrap(sock: Socket, host: str, files: Mapping[str, str]) -> Socket:
    """Return a socket whose other end speaks TLS on ``sock`` as docker's client does. Raises ClientError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files["verify"]:
            context.load_verify_locations(files["ca"])
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if os.path.exists(files["cert"]):
            context.load_cert_chain(files["cert"], files["key"])
        relay = _Relay(sock, context, host)
        relay.shake_hands()
    except OSError as error:
        raise ClientError(f"TLS with {host} failed: {error}") from None
    _thread.start_new_thread(relay.run, ())
    return relay.ours


class _Relay:
    """One connection: ``plain`` to our side, ``secret`` to the peer."""

    def __init__(self, secret: Socket, context: ssl.SSLContext, host: str) -> None:
        self.ours, self._plain = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._secret = secret
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._to_peer, self._to_us = bytearray(), bytearray()
        self._input_ended = self._output_ended = False

    def shake_hands(self) -> None:
        """Raises OSError, of which an SSLError is one."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._secret.sendall(self._outgoing.read())
                data = self._secret.recv(_PIECE)
                if not data:
                    raise ConnectionResetError("the peer closed the connection") from None
                self._incoming.write(data)
                continue
            self._to_peer += self._outgoing.read()
            return

    def run(self) -> None:
        """Carry bytes until the peer has ended and our side has them all."""
        self._plain.setblocking(False)
        self._secret.setblocking(False)
        try:
            self._decrypt()
            while not (self._output_ended and not self._to_us):
                self._turn()
        except OSError:
            pass  # either side is gone: closing tells the other
        finally:
            self._secret.close()
            self._plain.close()

    def _turn(self) -> None:
        poller = poll()
        reads_plain = not self._input_ended and len(self._to_peer) < _PENDING
        reads_secret = not self._output_ended and len(self._to_us) < _PENDING
        poller.register(self._plain, (POLLIN if reads_plain else 0) | (POLLOUT if self._to_us else 0))
        wanted = (POLLIN if reads_secret else 0) | (POLLOUT if self._to_peer else 0)
        if wanted:  # or a peer that is gone would wake us all the time
            poller.register(self._secret, wanted)
        for fd, events in poller.poll():
            if fd == self._plain.fileno():
                self._serve_plain(events, reads_plain)
            else:
                self._serve_secret(events, reads_secret)

    def _serve_plain(self, events: int, reads: bool) -> None:
        if events & POLLOUT and self._to_us:
            del self._to_us[: self._plain.send(self._to_us, _socket.MSG_NOSIGNAL)]
        if reads and events & (POLLIN | POLLHUP):
            data = self._plain.recv(_PIECE)
            if data:
                self._tls.write(data)
            else:
                self._input_ended = True
                self._say_end()
            self._to_peer += self._outgoing.read()
        elif events & POLLHUP:
            raise ConnectionResetError  # nobody reads what comes

    def _serve_secret(self, events: int, reads: bool) -> None:
        if events & POLLOUT and self._to_peer:
            del self._to_peer[: self._secret.send(self._to_peer, _socket.MSG_NOSIGNAL)]
        if reads and events & (POLLIN | POLLHUP):
            data = self._secret.recv(_PIECE)
            if data:
                self._incoming.write(data)
                self._decrypt()
            else:
                self._output_ended = True

    def _decrypt(self) -> None:
        while True:
            try:
                self._to_us += self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                self._output_ended = True
                break
        self._to_peer += self._outgoing.read()

    def _say_end(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            return  # sent; the peer says its own when it has finished
