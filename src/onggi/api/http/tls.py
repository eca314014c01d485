"""TLS over a plain transport, with both ends of a stream: asyncio's own ends the answer with the question.

A client that has sent all its input says so (close_notify) and reads on; asyncio's TLS then closes the whole
connection, and the output of ``docker run -i`` is lost. RFC 8446 section 6.1 lets each direction end alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

HANDSHAKE_TIMEOUT_S = 30.0
_READ = 1 << 16
_NO_TLS = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"  # as Go's


class TlsLayer(asyncio.Protocol):
    """Between a plain transport and a protocol, which it makes when the handshake is done."""

    def __init__(self, context: ssl.SSLContext, factory: Callable[[], asyncio.Protocol]) -> None:
        self.context, self._factory = context, factory
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._inner: asyncio.Protocol | None = None
        self._paused = self._ended = False
        self.plain: asyncio.Transport
        self._timer: asyncio.TimerHandle

    # the plain side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a handshake, but not for ever."""
        self.plain = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT_S, self.plain.abort)

    def data_received(self, data: bytes) -> None:
        """Decrypt what came."""
        self._incoming.write(data)
        if self._inner is None and not self._shake_hands():
            return
        self.deliver()

    def eof_received(self) -> bool:
        """Without close_notify the input may have been cut: that is no end, but a loss."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol."""
        self._timer.cancel()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._inner is not None:
            self._inner.resume_writing()

    # the inner side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._flush()

    def pause(self, on: bool) -> None:
        """Deliver nothing for a while, or again."""
        self._paused = on
        if not self.plain.is_closing():
            (self.plain.pause_reading if on else self.plain.resume_reading)()
        if not on:
            # Not at once: who resumes is in the middle of something.
            asyncio.get_running_loop().call_soon(self.deliver)

    def close(self) -> None:
        """Say the end, and close when all is sent."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer has not said its own: nobody waits for it
        self._flush()
        self.plain.close()

    def deliver(self) -> None:
        """Hand on what can be decrypted."""
        while not (self._paused or self._ended or self.plain.is_closing()):
            try:
                data = self._tls.read(_READ)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError:
                self.plain.abort()
                break
            self._hand_on(data)
        self._flush()  # key updates have answers

    def _hand_on(self, data: bytes) -> None:
        assert self._inner is not None
        if data:
            self._inner.data_received(data)
            return
        self._ended = True
        if not self._inner.eof_received():
            self.close()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                self.plain.write(_NO_TLS)
            else:
                self._flush()  # the alert that says why
            self.plain.close()
            return False
        self._flush()
        self._timer.cancel()
        self._inner = self._factory()
        self._inner.connection_made(TlsTransport(self))
        return True

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self.plain.is_closing():
            self.plain.write(data)


class TlsTransport(asyncio.Transport):
    """What the protocol sees."""

    def __init__(self, layer: TlsLayer) -> None:
        super().__init__({"sslcontext": layer.context})
        self._layer = layer

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's
        """The context is this layer's, all else the plain transport's."""
        found = super().get_extra_info(name)
        return self._layer.plain.get_extra_info(name, default) if found is None else found

    def is_closing(self) -> bool:
        """Whether the plain transport is."""
        return self._layer.plain.is_closing()

    def close(self) -> None:
        """Send what is left, then close."""
        if not self.is_closing():
            self._layer.close()

    def abort(self) -> None:
        """Close at once."""
        self._layer.plain.abort()

    def pause_reading(self) -> None:
        """No more ``data_received`` for now."""
        self._layer.pause(True)

    def resume_reading(self) -> None:
        """Go on."""
        self._layer.pause(False)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The plain transport's, of encrypted bytes."""
        self._layer.plain.set_write_buffer_limits(high, low)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if not self.is_closing():
            self._layer.write(data)

    def can_write_eof(self) -> bool:
        """An end of output alone is not offered."""
        return False
