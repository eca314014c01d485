"""Proxies of docker's client configuration as variables of a container, as docker's own CLI gives them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_KEYS = {
    "HTTP_PROXY": "httpProxy",
    "HTTPS_PROXY": "httpsProxy",
    "FTP_PROXY": "ftpProxy",
    "NO_PROXY": "noProxy",
    "ALL_PROXY": "allProxy",
}


def proxy_variables(config: Mapping[str, Any], host: str, given: list[str]) -> list[str]:
    """Return ``NAME=value`` in both cases for what is configured for this engine or by ``default``.

    What is in ``given`` already stays as it is.
    """
    proxies = config.get("proxies") or {}
    chosen = proxies.get(host) or proxies.get("default") or {}
    names = {entry.partition("=")[0] for entry in given}
    return [
        f"{spelled}={chosen[key]}"
        for name, key in _KEYS.items()
        if chosen.get(key)
        for spelled in (name, name.lower())
        if spelled not in names
    ]
