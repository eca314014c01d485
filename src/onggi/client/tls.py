"""TLS for tcp endpoints. Imported only when one is used: ``ssl`` costs more than a whole fast command."""

from __future__ import annotations

import os
import socket
import ssl

from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Mapping

    from typing_extensions import Buffer


class _Sender(ssl.SSLSocket):
    """An SSLSocket whose ``send`` takes the flags that the plain path uses (no signal can come from here)."""

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send; ``flags`` concern the plain socket only."""
        return super().send(data)


def wrap(sock: Socket, host: str, files: Mapping[str, str]) -> Socket:
    """Return ``sock`` speaking TLS as docker's client does. Raises ClientError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _Sender
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files["verify"]:
            context.load_verify_locations(files["ca"])
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if os.path.exists(files["cert"]):
            context.load_cert_chain(files["cert"], files["key"])
        plain = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        return context.wrap_socket(plain, server_hostname=host)
    except OSError as error:
        raise ClientError(f"TLS with {host} failed: {error}") from None
