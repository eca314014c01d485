"""Storages of embedded registries."""

from __future__ import annotations

from onggi.errors import Unsupported
from onggi.images.catalog import Catalog
from onggi.images.serving import Serving
from onggi.registry.server.storage import Storage
from onggi.store.content import Content
from onggi.store.gc import Collector


class Registries:
    """Opens what a registry serves."""

    def __init__(self, content: Content, collector: Collector, catalog: Catalog) -> None:
        self._serving = Serving(content, collector, catalog)

    async def storage(self, mirror: str) -> Storage:
        """The store's images and what was pushed; ``mirror`` is refused by name for now."""
        if mirror:
            raise Unsupported("a mirror of another registry is not supported yet")
        return self._serving
