"""The table of operations; one module per noun. Handlers parse, call one service, and shape the answer."""

from __future__ import annotations

from onggi.api.router import Route
from onggi.api.routes import (
    build,
    containers,
    execs,
    files,
    images,
    later,
    networks,
    private,
    streams,
    system,
    transfers,
    volumes,
)


def all_routes() -> list[Route]:
    """Return every route; of two that match, the earlier wins."""
    return [
        *system.ROUTES,
        *containers.ROUTES,
        *streams.ROUTES,
        *execs.ROUTES,
        *files.ROUTES,
        *transfers.ROUTES,
        *images.ROUTES,
        *build.ROUTES,
        *volumes.ROUTES,
        *private.ROUTES,
        *networks.ROUTES,
        *later.ROUTES,
    ]
