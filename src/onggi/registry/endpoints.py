"""Where a registry is to be found: its own host or its mirrors, with the schemes to try, as data."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onggi.oci.reference import DEFAULT_DOMAIN

HUB = "registry-1.docker.io"


class Endpoint(msgspec.Struct, frozen=True):
    """One host; ``urls`` are alternatives of it, tried in order until one can be spoken to.

    A mirror is another host: the user's credentials for the registry are not for it.
    """

    urls: tuple[str, ...]
    is_mirror: bool = False


def endpoints(
    domain: str, mirrors: Sequence[str], *, insecure: bool, pushing: bool = False
) -> list[Endpoint]:
    """The endpoints of a registry in the order to try them. Only docker.io has mirrors, and only for reading.

    Without TLS only a registry that is named as insecure is spoken to (CVE-2014-5277).
    """
    host = HUB if domain == DEFAULT_DOMAIN else domain
    urls = (f"https://{host}", f"http://{host}") if insecure else (f"https://{host}",)
    first = [Endpoint((url,), is_mirror=True) for url in mirrors] if domain == DEFAULT_DOMAIN else []
    return [*([] if pushing else first), Endpoint(urls)]
