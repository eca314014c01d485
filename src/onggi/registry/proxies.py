"""Which proxy a URL goes through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or daemon.json's ``proxies``.

NO_PROXY is a list of names (with what is below them), ``.names`` (only what is below), addresses, networks
and ``*``, each but networks with an optional port. This machine's own names are never reached through a
proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from onggi.errors import InvalidArgument, Unsupported

Json = Any
_KEYS = {"http-proxy": "HTTP_PROXY", "https-proxy": "HTTPS_PROXY", "no-proxy": "NO_PROXY"}
_PORTS = {"http": 80, "https": 443}


class Proxies(msgspec.Struct, frozen=True):
    """URLs of proxies, empty for none."""

    http: str = ""
    https: str = ""
    no_proxy: tuple[str, ...] = ()

    def of(self, url: str) -> str:
        """The proxy for a URL, empty for a direct connection."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        if not proxy or self._is_direct(parts.hostname or "", parts.port or _PORTS[parts.scheme]):
            return ""
        return proxy

    def _is_direct(self, host: str, port: int) -> bool:
        host = host.rstrip(".")
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_matches(entry, host, address, port) for entry in self.no_proxy)


def build(values: Json, env: Mapping[str, str]) -> Proxies:
    """Proxies of daemon.json's ``proxies``, else of the environment. Raises InvalidArgument, Unsupported."""
    if not isinstance(values, Mapping) or not all(isinstance(it, str) for it in values.values()):
        raise InvalidArgument("proxies must be an object of strings")
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise InvalidArgument(
            f"the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    http, https, none = (
        values.get(key) or env.get(var) or env.get(var.lower(), "") for key, var in _KEYS.items()
    )
    entries = tuple(entry.strip().lower() for entry in none.split(",") if entry.strip())
    return Proxies(_checked(http), _checked(https), entries)


def _checked(text: str) -> str:
    if not text:
        return ""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    # The text may hold a password: it is not repeated.
    if not usable:
        raise InvalidArgument("invalid proxy: expected http://[user:password@]host[:port]")
    if parts.scheme not in _PORTS:
        raise Unsupported(f"proxies of the kind {parts.scheme}:// are not supported: only http and https are")
    return url


def _matches(
    entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int
) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _in_network(entry, address)
    name, wanted = _split_port(entry)
    if wanted and wanted != str(port):
        return False
    if address is not None:
        return _address(name) == address
    if name.startswith("*."):
        name = name[1:]
    if name.startswith("."):
        return host.lower().endswith(name)
    return host.lower() == name or host.lower().endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    if _address(entry) is not None:
        return entry, ""
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal():
        return name.strip("[]"), port
    return entry.strip("[]"), ""


def _in_network(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False  # a word that is no network matches nothing, as elsewhere


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
