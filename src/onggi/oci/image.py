"""An image as the rest of the engine sees it."""

from __future__ import annotations

from typing import Any

import msgspec

Json = Any
# The environment of an image that says nothing of it: docker's.
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST = "host"  # name of the image that is a view of the machine


class Image(msgspec.Struct, frozen=True):
    """``id`` is the digest of the config's bytes; ``layers`` are diff ids, base first; ``size`` is bytes
    unpacked.

    ``digests`` are ``name@digest`` of what the image was pulled or pushed as.
    ``config`` is an OCI image config (config.md); ``created`` is RFC 3339 or empty; ``base`` is ``host``
    for the view of the machine and what was committed from it, else None; ``parent`` is the id of the image
    of the container that was committed, as long as that image is here.
    """

    id: str
    config: Json
    tags: list[str]
    size: int
    created: str
    layers: list[str]
    base: str | None = None
    digests: list[str] = []
    parent: str = ""

    def is_from(self, base: Image) -> bool:
        """Whether this is ``base`` or was built from it: its layers and its history begin with that one's."""
        if base.id == self.id:
            return True
        layers, steps = len(base.layers), _history(base)
        told = bool(steps) or 0 < layers < len(self.layers)  # without a history, only what has more layers
        return told and self.layers[:layers] == base.layers and _history(self)[: len(steps)] == steps


def _history(image: Image) -> list[Json]:
    return image.config.get("history") or []


def environment(config: Json) -> dict[str, str]:
    """The variables of a config, by name."""
    return dict(entry.partition("=")[::2] for entry in config.get("Env") or [])


_RESERVED_LABELS = ("onggi.", "dev.onggi.", "io.onggi.")


def without_reserved(labels: dict[str, str]) -> dict[str, str]:
    """Labels without those that only the engine itself may set (rule R12): an image is data and decides
    nothing.
    """
    return {key: value for key, value in labels.items() if not key.lower().startswith(_RESERVED_LABELS)}
