"""How the administrator wants registries to be reached: daemon.json's keys, checked once.

The keys and the words of their errors are dockerd's: ``registry-mirrors``, ``insecure-registries``,
``proxies``, ``max-download-attempts``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from onggi.errors import InvalidArgument
from onggi.registry.proxies import Proxies
from onggi.registry.proxies import build as build_proxies

Json = Any
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
CERT_DIRS = ("/etc/docker/certs.d", "/etc/onggi/certs.d")
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Time and size limits of exchanges with registries."""

    connect_s: float = 30.0
    read_s: float = 60.0  # for the next bytes to arrive or leave
    document_s: float = 120.0  # for a whole small answer, and for the head of a large one
    stall_s: float = 60.0  # a body that brings less than stall_bytes in this time is given up
    stall_bytes: int = 16 << 10
    attempts: int = 5
    backoff_s: float = 1.0  # before the second attempt; doubles with every other
    document_bytes: int = 4 << 20
    redirects: int = 10


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a session needs to know of this machine."""

    mirrors: tuple[str, ...] = ()
    insecure_hosts: frozenset[str] = frozenset()
    insecure_networks: tuple[Network, ...] = ()
    proxies: Proxies = Proxies()
    cert_dirs: tuple[str, ...] = CERT_DIRS
    limits: Limits = Limits()
    downloads: int = 3  # blobs on their way at the same time
    uploads: int = 5

    def facts(self) -> Json:
        """docker's ``RegistryServiceConfig``, which GET /info shows."""
        hub = {
            "Name": "docker.io",
            "Mirrors": [f"{it}/" for it in self.mirrors],
            "Secure": True,
            "Official": True,
        }
        others = {
            host: {"Name": host, "Mirrors": [], "Secure": False, "Official": False}
            for host in sorted(self.insecure_hosts)
        }
        return {
            "InsecureRegistryCIDRs": [str(it) for it in (*self.insecure_networks, *_LOOPBACK)],
            "IndexConfigs": {"docker.io": hub, **others},
            "Mirrors": hub["Mirrors"] or None,
        }

    def is_plain_mirror(self, url: str) -> bool:
        """Whether the administrator wrote down a mirror at this very origin, without TLS."""
        return any(url.startswith(f"{mirror}/") for mirror in self.mirrors if mirror.startswith("http:"))

    def is_insecure(self, host: str, lookup: Callable[[str], list[str]]) -> bool:
        """Whether a registry (``host[:port]``) may be spoken to without verified TLS.

        Loopback always is. A name belongs to a configured network if all its addresses do; ``lookup`` is
        asked only if there are networks.
        """
        name = host_name(host)
        if host.lower() in self.insecure_hosts or name in self.insecure_hosts or name == "localhost":
            return True
        literal = _address(name)
        if literal is not None:
            return any(literal in network for network in (*_LOOPBACK, *self.insecure_networks))
        if not self.insecure_networks:
            return False
        found = [_address(address) for address in lookup(name)]
        return bool(found) and all(
            it is not None and any(it in network for network in self.insecure_networks) for it in found
        )


def build(values: Mapping[str, Json], env: Mapping[str, str]) -> Settings:
    """The settings of daemon.json's ``values`` and the engine's environment. Raises InvalidArgument."""
    hosts, networks = _insecure(_strings(values, "insecure-registries"))
    return Settings(
        mirrors=tuple(map(_mirror, _strings(values, "registry-mirrors"))),
        insecure_hosts=hosts,
        insecure_networks=networks,
        proxies=build_proxies(values.get("proxies", {}), env),
        limits=Limits(attempts=_count(values, "max-download-attempts", Limits().attempts)),
        downloads=_count(values, "max-concurrent-downloads", Settings().downloads),
        uploads=_count(values, "max-concurrent-uploads", Settings().uploads),
    )


def _count(values: Mapping[str, Json], key: str, default: int) -> int:
    count = values.get(key, default)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 100:
        raise InvalidArgument(f"invalid {key.replace('-', ' ')}: {count}")
    return count


def host_name(host: str) -> str:
    """The lower-case name or address of ``host[:port]`` without port and brackets."""
    return (urlsplit(f"//{host}").hostname or "").lower()


def _strings(values: Mapping[str, Json], key: str) -> list[str]:
    found = values.get(key, [])
    if not isinstance(found, list | tuple) or not all(isinstance(it, str) for it in found):
        raise InvalidArgument(f"{key} must be a list of strings")
    return list(found)


def _mirror(text: str) -> str:
    try:
        url = urlsplit(text)
        port_is_fine = url.port is None or url.port > 0
    except ValueError:
        raise InvalidArgument(f"invalid mirror: {text!r} is not a valid URI") from None
    if url.scheme not in ("http", "https"):
        raise InvalidArgument(f'invalid mirror: unsupported scheme "{url.scheme}" in "{text}"')
    if "@" in url.netloc:
        raise InvalidArgument("invalid mirror: username/password not allowed in URI")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise InvalidArgument(f'invalid mirror: path, query, or fragment at end of the URI "{text}"')
    if not port_is_fine or not _HOST.fullmatch(url.netloc):
        raise InvalidArgument(f"invalid mirror: {text!r} is not a valid URI")
    return f"{url.scheme}://{url.netloc}"


def _insecure(entries: list[str]) -> tuple[frozenset[str], tuple[Network, ...]]:
    hosts, networks = set(), []
    for entry in entries:
        text = re.sub(r"^https?://", "", entry).rstrip("/")
        if "/" in text:
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError:
                raise InvalidArgument(f"insecure registry {entry} is not valid: invalid CIDR") from None
        elif _HOST.fullmatch(text):
            hosts.add(text.lower())
        else:
            raise InvalidArgument(f'insecure registry {entry} is not valid: invalid host "{text}"')
    return frozenset(hosts), tuple(networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
