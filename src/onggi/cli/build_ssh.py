"""``build --ssh``: the person's ssh agents for RUN --mount=type=ssh, by connections that wait at the engine.

Each leads to one talk with an agent: the engine says which by a line, and the next one is made at once. Files
with keys are given to an agent of this build's own, by OpenSSH, and are nowhere else.
"""

from __future__ import annotations

import _thread
import os
import stat
from time import sleep

from onggi.cli.command import Cli, Failure
from onggi.client.errors import ClientError, EngineError, reason
from onggi.client.http import connect_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Mapping


_PIECE = 65536
_WRITE = 1  # SHUT_WR
_RETRY_S = 0.1  # the build may not have begun
_PATIENCE = 3
_MAX_KNOWN = 100 << 10
# An agent that lives as long as its standard input, however we end; what it says last is its socket.
_OWN_AGENT = """
set -e
if ! { command -v ssh-agent && command -v ssh-add; } >/dev/null; then
    echo "keys in files need OpenSSH's ssh-agent and ssh-add"; exit
fi
exec ssh-agent sh -ec '
    trap "kill $SSH_AGENT_PID" EXIT
    for key; do ssh-add -q - <"$key"; done
    echo "$SSH_AUTH_SOCK"
    exec >/dev/null 2>&1
    cat' sh "$@"
"""


class Agents:
    """The agents that a build may talk to: sockets by id."""

    def __init__(self, texts: list[str], env: Mapping[str, str]) -> None:
        self._own: list[tuple[int, int]] = []  # of agents that we started: what they live by, and their pids
        self.sockets = dict(self._socket_of(text, env) for text in texts)
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
        for fd, pid in self._own:
            os.close(fd)
            os.waitpid(pid, 0)

    def _socket_of(self, text: str, env: Mapping[str, str]) -> tuple[str, str]:
        """An id and the path of its agent's socket. Raises Failure."""
        name, _, given = text.partition("=")
        paths = [path for path in given.split(",") if path] or [env.get("SSH_AUTH_SOCK", "")]
        if not paths[0]:
            raise Failure(
                f"--ssh {text}: invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set", 125
            )
        if not any(_is_socket(path, text) for path in paths):
            return name or "default", self._with_keys(paths, text, env)
        if len(paths) > 1:
            raise Failure(f"--ssh {text}: one agent's socket, or files with keys", 125)
        return name or "default", paths[0]

    def _with_keys(self, paths: list[str], text: str, env: Mapping[str, str]) -> str:
        """The socket of a new agent that has these keys."""
        fd, pid, said = _own_agent(paths, env)
        self._own.append((fd, pid))
        *words, path = said.splitlines() or [""]
        if path.startswith("/") and os.path.exists(path):
            return path
        self.end()
        reason = " ".join([*words, path]).strip()
        if "passphrase" in reason:
            reason = "a key has a passphrase: give it to an agent (ssh-add), and name that"
        raise Failure(f"--ssh {text}: {reason or 'ssh-agent said nothing'}", 125)

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


def _is_socket(path: str, text: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise Failure(f"--ssh {text}: {path}: {reason(error)}", 125) from None


def _own_agent(paths: list[str], env: Mapping[str, str]) -> tuple[int, int, str]:
    """Start an agent; by which descriptor it lives, its pid, and what was said on the way."""
    asked, lives = os.pipe()
    said, says = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, asked, 0), *((os.POSIX_SPAWN_DUP2, says, fd) for fd in (1, 2))]
    argv = ["sh", "-c", _OWN_AGENT, "sh", *map(os.path.abspath, paths)]
    # Without a terminal of its own or a program that asks: who has a passphrase is told so.
    quiet = {**env, "SSH_ASKPASS_REQUIRE": "never"}
    try:
        pid = os.posix_spawn("/bin/sh", argv, quiet, file_actions=actions, setsid=True)
    finally:
        os.close(asked)
        os.close(says)
    with open(said, encoding="utf-8", errors="replace") as file:
        return lives, pid, file.read()
