"""Where the API has containers."""

from __future__ import annotations

from onggi.client.engine import quote


def path(name: str) -> str:
    """Return the API path of a container."""
    return f"/containers/{quote(name.removeprefix('/'))}"
