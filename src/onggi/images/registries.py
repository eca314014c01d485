"""What embedded registries serve: the store, or a mirror of another registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import msgspec

from onggi.errors import InvalidArgument
from onggi.images.catalog import Catalog
from onggi.images.mirroring import Mirror
from onggi.images.serving import Serving
from onggi.oci.reference import Reference
from onggi.registry.credentials import domain_of, for_registry
from onggi.registry.repository import Repository
from onggi.registry.session import Session
from onggi.registry.settings import Limits, Settings
from onggi.store.content import Content
from onggi.store.gc import Collector

# Somebody waits, and there may be a cached answer: less patience than with a pull.
_LIMITS = Limits(connect_s=10.0, document_s=30.0, attempts=2)


class Registries:
    """Opens what a registry serves."""

    def __init__(self, content: Content, collector: Collector, catalog: Catalog, settings: Settings) -> None:
        self.storage = Serving(content, collector, catalog)
        self._content, self._settings = content, settings

    @asynccontextmanager
    async def mirror(self, url: str, auth: str) -> AsyncIterator[Mirror]:
        """A cache of the registry at ``url``. Raises InvalidArgument."""
        domain, is_plain = parse_url(url)
        settings = msgspec.structs.replace(self._settings, mirrors=(), limits=_LIMITS)
        if is_plain:
            hosts = settings.insecure_hosts | {domain}
            settings = msgspec.structs.replace(settings, insecure_hosts=hosts)
        with Session(settings, for_registry(auth, domain)) as session:

            def connect(path: str) -> Repository:
                return session.repository(Reference(domain, path))

            mirror = Mirror(self._content, self.storage, domain, connect)
            try:
                yield mirror
            finally:
                await mirror.close()


def parse_url(url: str) -> tuple[str, bool]:
    """The domain of a registry's URL, and whether it says that it is spoken to without TLS."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidArgument(f"invalid mirror {url!r}: not a valid URI") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise InvalidArgument(f"invalid mirror {url!r}: expected https://HOST[:PORT]")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidArgument(f"invalid mirror {url!r}: only scheme, host and port are taken; log in instead")
    return domain_of(url), parts.scheme == "http"
