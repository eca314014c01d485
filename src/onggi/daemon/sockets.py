"""Which unix sockets an engine may serve: those that nobody else serves."""

from __future__ import annotations

import os
import socket

from onggi.daemon.config import DOCKER_SOCKET, Config
from onggi.errors import Conflict
from onggi.kernel.sockets import connect_unix

MODE = 0o600  # rule R6: the socket is root


def served(path: str) -> bool:
    """Whether somebody answers there; a stale socket does not count."""
    try:
        connect_unix(path, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def paths(config: Config) -> list[str]:
    """Every path to serve, each once and with its directory made. Raises Conflict if one is taken.

    The engine's own socket is always among them: commands on this machine look for it.
    """
    wanted = [config.socket_path, *config.unix_sockets, *([DOCKER_SOCKET] if config.docker_socket else [])]
    chosen: list[str] = []
    for path in wanted:
        if os.path.realpath(path) in map(os.path.realpath, chosen):
            continue
        if path != config.socket_path and served(path):
            raise Conflict(f"{path} is already served by another engine")
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        chosen.append(path)
    return chosen
