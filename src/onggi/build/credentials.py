"""Credentials for the registries of a build, as X-Registry-Config brings them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from onggi.errors import InvalidArgument
from onggi.oci.reference import DEFAULT_DOMAIN

Json = Any
_MAX = 1 << 20
_HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


def decode(header: str, name: str) -> Json:
    """The JSON object of a header in base64, empty without one. Raises InvalidArgument, which does not tell
    what is in it.
    """
    if not header:
        return {}
    if len(header) > _MAX:
        raise InvalidArgument(f"{name} is too large")
    try:
        padded = header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4)
        value = msgspec.json.decode(base64.urlsafe_b64decode(padded))
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise InvalidArgument(f"{name} must be base64 of a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"{name} must be base64 of a JSON object")
    return value


def for_image(auths: Mapping[str, Json], domain: str) -> str:
    """The X-Registry-Auth for a registry; empty without credentials."""
    names = _HUB if domain == DEFAULT_DOMAIN else (domain, f"https://{domain}", f"http://{domain}")
    found = next((auths[name] for name in names if isinstance(auths.get(name), dict)), None)
    return base64.urlsafe_b64encode(msgspec.json.encode(found)).decode() if found else ""
