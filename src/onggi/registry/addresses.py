"""URLs and addresses that registries name, judged before anything is sent there (rule R11).

A registry on the internet has no business with addresses behind this machine's firewall: neither by redirects
nor by the realm of its tokens (CVE-2026-33990).
"""

from __future__ import annotations

import ipaddress
import re
from typing import NoReturn
from urllib.parse import SplitResult, urljoin, urlsplit

from onggi.errors import Forbidden, InvalidArgument

_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?", re.ASCII
)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")
_PORTS = {"http": 80, "https": 443}
_MAX_URL = 16 << 10
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif found in _NAT64:
            found = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.is_global and not found.is_multicast


def refuse_private(address: str) -> None:
    """Raise Forbidden for an address that is not the internet's."""
    if not is_public(address):
        refuse(address)


def refuse(host: str) -> NoReturn:
    """Raise Forbidden for what is not the internet's."""
    raise Forbidden(f"a public registry leads to the private address {host}: refused")


def parse(url: str) -> SplitResult:
    """A URL of a registry in its parts. Raises InvalidArgument for all but plain http and https URLs."""
    if len(url) > _MAX_URL or _UNSAFE.search(url):
        raise InvalidArgument("invalid URL of a registry: it is too long or holds unsafe characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidArgument(f"invalid URL of a registry: {url[:200]!r}") from None
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or port == 0:
        raise InvalidArgument(f"invalid URL of a registry: {url[:200]!r}")
    if "@" in parts.netloc:
        raise InvalidArgument("invalid URL of a registry: it holds a user or a password")
    return parts


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to."""
    parts = parse(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme]


def host_of(url: str) -> str:
    """``host[:port]`` as written."""
    return parse(url).netloc


def shown(url: str) -> str:
    """A URL for messages: without its query, which may be a signature that opens somebody's storage."""
    return url.partition("?")[0][:500]


def follow(url: str, location: str) -> str:
    """The URL that a ``Location`` means. Raises Forbidden for one that leaves TLS (CVE-2019-10214)."""
    if len(location) > _MAX_URL or _UNSAFE.search(location):
        raise InvalidArgument("invalid redirect of a registry: it is too long or holds unsafe characters")
    try:
        target = urljoin(url, location).partition("#")[0]
    except ValueError:
        raise InvalidArgument(f"invalid redirect of a registry: {location[:200]!r}") from None
    parts = parse(target)
    if parts.scheme == "http" and parse(url).scheme == "https":
        raise Forbidden(
            f"{host_of(url)} leads from https to http://{parts.netloc}: refused "
            "(a registry behind a TLS proxy must be told of it by X-Forwarded-Proto)"
        )
    return target


def literal_is_private(url: str) -> bool:
    """Whether the host of a URL is a private address as written, or this machine's own name."""
    host = (parse(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not is_public(host)
    except ValueError:
        return False
