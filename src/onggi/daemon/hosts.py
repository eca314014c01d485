"""Where an engine listens, as text and checked: unix sockets, and tcp with client certificates alone."""

from __future__ import annotations

import grp
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from onggi.errors import InvalidArgument, Unsupported

Json = Any
TLS_PORT = 2376
_CERTIFICATES = ("tlscacert", "tlscert", "tlskey")
_WITHOUT_TLS = (
    "refusing to serve {} without client certificates: whoever reaches it is root; give --tlsverify with "
    "--tlscacert, --tlscert and --tlskey"
)


class Tls(NamedTuple):
    """PEM files; every client shows a certificate that ``ca`` signed."""

    ca: str
    certificate: str
    key: str


def check_host(host: str) -> str:
    """Return the host as given. Raises InvalidArgument or Unsupported."""
    kind, separator, rest = host.partition("://")
    if not separator:
        raise InvalidArgument(f"invalid bind address format: {host}: use unix://PATH or tcp://HOST:PORT")
    if kind == "tcp":
        address(host)
    elif kind != "unix":
        raise Unsupported(f"listening on {host} is not supported: only unix sockets and tcp are")
    elif not rest.startswith("/"):
        raise InvalidArgument(f"invalid bind address format: {host}: the path must be absolute")
    return host


def address(host: str) -> tuple[str, int]:
    """Name and port of ``tcp://HOST[:PORT]``; an empty name is every address. Raises InvalidArgument."""
    text = host.removeprefix("tcp://").rstrip("/")
    name, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = text, str(TLS_PORT)
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise InvalidArgument(f"invalid bind address format: {host}: expected HOST:PORT")
    return name.strip("[]"), int(port)


def tls(values: Mapping[str, Json], hosts: Sequence[str]) -> Tls | None:
    """The certificates that ``tlsverify`` asks for. Raises where tcp would be served without."""
    if not values.get("tlsverify"):
        if values.get("tls"):
            raise Unsupported("tls without client certificates is not supported: use --tlsverify")
        for host in hosts:
            if host.startswith("tcp://"):
                raise InvalidArgument(_WITHOUT_TLS.format(host))
        return None
    missing = [name for name in _CERTIFICATES if not values.get(name)]
    if missing:
        raise InvalidArgument(f"--tlsverify needs {', '.join(f'--{name}' for name in missing)} too")
    return Tls(*(os.path.abspath(str(values[name])) for name in _CERTIFICATES))


def group_id(name: str) -> int:
    """The id of a group by name or number; -1 for none. Raises InvalidArgument."""
    if not name:
        return -1
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise InvalidArgument(f"could not find group {name}") from None
