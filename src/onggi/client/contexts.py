"""Docker's contexts: named engines below ``contexts/`` of the client configuration, in docker's layout.

``meta/<sha256 of the name>/meta.json`` says where the engine is, ``tls/<the same>/<endpoint>/`` holds its
certificates. The context ``default`` is what flags and environment say, and is kept nowhere.
"""

from __future__ import annotations

import os

from onggi.client.codec import decode, encode
from onggi.client.config import replace_file
from onggi.client.endpoint import config_directory
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from onggi.client.codec import Json

DEFAULT, DOCKER = "default", "docker"
_RULE = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_MEMORY = "<IN MEMORY>"


def check_name(name: str) -> None:
    """Raise ClientError, in docker's words, for what cannot name a context."""
    if not name:
        raise ClientError("context name cannot be empty")
    if name == DEFAULT:
        raise ClientError(f'"{DEFAULT}" is a reserved context name')
    if len(name) < 2 or name[0] not in _WORD or not (_WORD | set("_.+-")).issuperset(name):
        rule = f'names are validated against regexp "{_RULE}"'
        raise ClientError(f'context name "{name}" is invalid, {rule}')


class Contexts:
    """The contexts of a configuration; ``host`` is the address of the default one. Raises ClientError."""

    def __init__(self, env: Mapping[str, str], host: str) -> None:
        self._root = os.path.join(config_directory(env), "contexts")
        self._host = host

    def list(self) -> list[Json]:
        """Return the metadata of all, the default one too, by name."""
        try:
            ids = os.listdir(os.path.join(self._root, "meta"))
        except FileNotFoundError:
            ids = []
        paths = [self._meta_path(each) for each in ids]
        found = [_read(path) for path in paths if os.path.isfile(path)]
        return sorted([*found, self.get(DEFAULT)], key=lambda meta: _natural(str(meta.get("Name") or "")))

    def get(self, name: str) -> Json:
        """Return the metadata of one."""
        if name == DEFAULT:
            endpoint = {"Host": self._host, "SkipTLSVerify": False}
            return {"Name": DEFAULT, "Metadata": {}, "Endpoints": {DOCKER: endpoint}}
        path = self._meta_path(_id(name))
        try:
            return _read(path)
        except FileNotFoundError:
            reason = f"context not found: open {path}: no such file or directory"
            raise ClientError(f'context "{name}": {reason}') from None

    def exists(self, name: str) -> bool:
        """Whether a context is kept under the name."""
        return os.path.exists(os.path.dirname(self._meta_path(_id(name))))

    def put(self, meta: Json) -> None:
        """Keep a context, new or changed."""
        path = self._meta_path(_id(meta["Name"]))
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        replace_file(path, encode(meta), 0o644)

    def remove(self, name: str) -> None:
        """Forget a context and its certificates."""
        _remove(os.path.dirname(self._meta_path(_id(name))))
        _remove(self._tls_path(name))

    def storage(self, name: str) -> dict[str, str]:
        """Return where a context is kept."""
        if name == DEFAULT:
            return {"MetadataPath": _MEMORY, "TLSPath": _MEMORY}
        return {"MetadataPath": os.path.dirname(self._meta_path(_id(name))), "TLSPath": self._tls_path(name)}

    def tls(self, name: str) -> dict[str, dict[str, bytes]]:
        """Return the certificates of a context: by endpoint, by file name."""
        found: dict[str, dict[str, bytes]] = {}
        root = self._tls_path(name)
        for endpoint in sorted(os.listdir(root)) if name != DEFAULT and os.path.isdir(root) else []:
            folder = os.path.join(root, endpoint)
            files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
            found[endpoint] = {file: _bytes(os.path.join(folder, file)) for file in files}
        return found

    def set_tls(self, name: str, endpoint: str, files: Mapping[str, bytes]) -> None:
        """Replace the certificates of one endpoint; none at all removes its directory."""
        folder = os.path.join(self._tls_path(name), endpoint)
        _remove(folder)
        if files:
            os.makedirs(self._root, 0o755, exist_ok=True)
            for path in (os.path.join(self._root, "tls"), self._tls_path(name), folder):
                if not os.path.isdir(path):
                    os.mkdir(path, 0o700)
        for file, data in files.items():
            replace_file(os.path.join(folder, file), data)

    def _meta_path(self, identity: str) -> str:
        return os.path.join(self._root, "meta", identity, "meta.json")

    def _tls_path(self, name: str) -> str:
        return os.path.join(self._root, "tls", _id(name))


def _id(name: str) -> str:
    from hashlib import sha256  # only here: hashlib loads OpenSSL

    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read(path: str) -> Json:
    """Return metadata with docker's keys, however they are written. Raises FileNotFoundError."""
    try:
        found = decode(_bytes(path))
    except ValueError:
        raise ClientError(f"parsing {path}: not a JSON document") from None
    lowered = {str(key).lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
    keys = ("Name", "Metadata", "Endpoints")
    return {key: lowered[key.lower()] for key in keys if lowered.get(key.lower()) is not None}


def _remove(path: str) -> None:
    """Remove a directory of ours: two levels deep at most, and no link is followed."""
    if not os.path.isdir(path) or os.path.islink(path):
        return
    for name in os.listdir(path):
        inner = os.path.join(path, name)
        if os.path.isdir(inner) and not os.path.islink(inner):
            _remove(inner)
        else:
            os.unlink(inner)
    os.rmdir(path)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers within names by their value."""
    parts: list[tuple[int, str]] = []
    for character in name:
        digit = character.isdigit()
        if parts and digit and parts[-1][1].isdigit():
            text = parts[-1][1] + character
            parts[-1] = (int(text), text)
        else:
            parts.append((int(character) if digit else ord(character) + (1 << 62), character))
    return parts
