"""Connections to an engine elsewhere: ``ssh`` runs ``system dial-stdio`` there. Imported when one is made."""

from __future__ import annotations

import _socket
import os

from onggi.client.errors import Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Mapping

    from onggi.client.endpoint import Endpoint

# Whichever of the two is there; both know the command.
_REMOTE = (
    "if command -v onggi >/dev/null 2>&1; then exec onggi{0} system dial-stdio; "
    "else exec docker{0} system dial-stdio; fi"
)
_running: list[int] = []


def connect(endpoint: Endpoint, env: Mapping[str, str]) -> Socket:
    """Return a socket whose other end is a new ssh's standard input and output. Raises Unreachable."""
    _reap()
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    fd = theirs.fileno()
    actions = [(os.POSIX_SPAWN_DUP2, fd, 0), (os.POSIX_SPAWN_DUP2, fd, 1)]
    try:
        _running.append(os.posix_spawnp("ssh", command(endpoint), dict(env), file_actions=actions))
    except OSError as error:
        ours.close()
        raise Unreachable(f"cannot run ssh for {endpoint.host}: {error.strerror}") from None
    finally:
        theirs.close()
    return ours


def command(endpoint: Endpoint) -> list[str]:
    """The command line of ssh, as docker's client has it."""
    user = ["-l", endpoint.user] if endpoint.user else []
    port = ["-p", str(endpoint.port)] if endpoint.port else []
    host = " --host unix://" + _quoted(endpoint.path) if endpoint.path else ""
    options = ["-o", "ConnectTimeout=30", "-T", *user, *port]
    return ["ssh", *options, "--", endpoint.address, _REMOTE.format(host)]


def _quoted(text: str) -> str:
    """For a shell on the other side."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _reap() -> None:
    """Take the status of those that have ended."""
    for pid in list(_running):
        if os.waitpid(pid, os.WNOHANG)[0]:
            _running.remove(pid)
