"""``onggi system dial-stdio``: what ``docker -H ssh://…`` runs on the engine's machine."""

from __future__ import annotations

import _thread
import os

from onggi.cli.command import Cli, Command, Options
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket


_PIECE = 65536
_WRITE = 1  # SHUT_WR


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Join standard input and output to a connection of the engine, until it closes."""
    sock = cli.engine.connect()
    # Two threads: who is slow in one direction must not hold up the other.
    _thread.start_new_thread(_send, (sock,))
    while data := sock.recv(_PIECE):
        write_all(1, data)


def _send(sock: Socket) -> None:
    while data := os.read(0, _PIECE):
        sock.sendall(data)
    sock.shutdown(_WRITE)


COMMAND = Command("system dial-stdio", run, about="Join standard input and output to the engine")
