"""``build --ssh``: the person's ssh agents for RUN --mount=type=ssh, by connections that wait at the engine.

Each leads to one talk with an agent: the engine says which by a line, and the next one is made at once.
"""

from __future__ import annotations

import _thread
import os
import stat
from time import sleep

from onggi.cli.command import Failure
from onggi.client.errors import ClientError, EngineError
from onggi.client.http import connect_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Mapping

    from onggi.cli.context import Cli

_PIECE = 65536
_WRITE = 1  # SHUT_WR
_RETRY_S = 0.1  # the build may not have begun
_PATIENCE = 3
_MAX_KNOWN = 100 << 10


class Agents:
    """The agents that a build may talk to: sockets by id."""

    def __init__(self, texts: list[str], env: Mapping[str, str]) -> None:
        self.sockets = dict(_socket_of(text, env) for text in texts)
        self.token = os.urandom(16).hex() if texts else ""
        self._known_hosts = _known_hosts(env) if "default" in self.sockets else ""
        self._over = False

    def header(self) -> dict[str, object] | None:
        """What the engine is told."""
        if not self.sockets:
            return None
        return {"Token": self.token, "Ids": list(self.sockets), "KnownHosts": self._known_hosts}

    def start(self, cli: Cli) -> None:
        """Let a connection wait from now on."""
        if self.sockets:
            _thread.start_new_thread(self._serve, (cli,))

    def end(self) -> None:
        """The build is over."""
        self._over = True

    def _serve(self, cli: Cli) -> None:
        failures = 0
        while not self._over and failures < _PATIENCE:
            try:
                sock, early = cli.engine.upgrade("/onggi/v1/build/ssh", {"token": self.token}).take_over()
                name, rest = _line(sock, early)
            except EngineError:
                sleep(_RETRY_S)
                continue
            except (ClientError, OSError):
                failures += 1
                continue
            if name in self.sockets:
                _thread.start_new_thread(_join, (sock, rest, self.sockets[name]))


def _known_hosts(env: Mapping[str, str]) -> str:
    """The hosts that the person and this machine know, for what is fetched by git over ssh."""
    found = ""
    for path in (f"{env.get('HOME', '')}/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                found += file.read(_MAX_KNOWN).rstrip("\n") + "\n"
        except OSError:
            continue
    return found


def _line(sock: Socket, data: bytes) -> tuple[str, bytes]:
    while b"\n" not in data:
        piece = sock.recv(_PIECE)
        if not piece:
            return "", b""
        data += piece
    name, _, rest = data.partition(b"\n")
    return name.decode("utf-8", "replace"), rest


def _join(sock: Socket, early: bytes, path: str) -> None:
    try:
        agent = connect_unix(path)
        agent.sendall(early)
        _thread.start_new_thread(_copy, (sock, agent))
        _copy(agent, sock)
    except OSError:
        sock.close()  # the step sees a closed agent


def _copy(source: Socket, target: Socket) -> None:
    try:
        while data := source.recv(_PIECE):
            target.sendall(data)
        target.shutdown(_WRITE)
    except OSError:
        return  # one side has gone, and so goes the other


def _socket_of(text: str, env: Mapping[str, str]) -> tuple[str, str]:
    """An id and the path of an agent's socket. Raises Failure."""
    name, _, path = text.partition("=")
    name = name or "default"
    path = path or env.get("SSH_AUTH_SOCK", "")
    if not path:
        raise Failure(f"--ssh {text}: invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set", 125)
    try:
        kind = os.stat(path).st_mode
    except OSError as error:
        raise Failure(f"--ssh {text}: {path}: {(error.strerror or '').lower()}", 125) from None
    if not stat.S_ISSOCK(kind):
        raise Failure(f"--ssh {text}: {path} is no agent's socket: give its key to one (ssh-add)", 125)
    return name, path
