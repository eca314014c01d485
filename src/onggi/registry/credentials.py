"""Who the user is, as docker's clients tell it: X-Registry-Auth and X-Registry-Config (base64url of JSON).

Secrets never appear in messages of errors, nor in what a debugger or a log would show of an ``AuthConfig``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from onggi.errors import InvalidArgument
from onggi.oci.reference import DEFAULT_DOMAIN

Json = Any
_MAX_FIELD = 16 << 10
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class AuthConfig(msgspec.Struct, frozen=True, rename="lower", kw_only=True):
    """One user at one registry; empty members were not given.

    ``identity_token`` buys tokens at the registry's realm; ``registry_token`` is such a token.
    """

    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = msgspec.field(default="", name="serveraddress")
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")

    def __repr__(self) -> str:
        return f"AuthConfig(server_address={self.server_address!r}, ...)"

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of an Authorization header, empty without a user."""
        if not self.username:
            return ""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


class Keyring:
    """Credentials by registry; each is for its own registry and for no other."""

    def __init__(self, by_domain: Mapping[str, AuthConfig] | None = None) -> None:
        self._by_domain = {domain: auth for domain, auth in (by_domain or {}).items() if auth}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyring) and self._by_domain == other._by_domain

    def __hash__(self) -> int:
        return hash(frozenset(self._by_domain.items()))

    def of(self, domain: str) -> AuthConfig | None:
        """The credentials for a registry as it stands in references, if there are some."""
        return self._by_domain.get(domain.lower())


def for_registry(header: str, domain: str) -> Keyring:
    """Read X-Registry-Auth, given for one registry. Raises InvalidArgument, also if it names another one."""
    auth = decode(header)
    named = domain_of(auth.server_address)
    # Some clients fill in the hub's address whatever they talk to.
    if named not in ("", DEFAULT_DOMAIN, domain.lower()):
        raise InvalidArgument(f"the credentials are for {named}, not for {domain}: log in to {domain}")
    return Keyring({domain.lower(): auth})


def for_registries(header: str) -> Keyring:
    """Read X-Registry-Config: credentials by address of registry. Raises InvalidArgument."""
    document = document_of(header, "X-Registry-Config")
    return Keyring({domain_of(host): from_json(it, "X-Registry-Config") for host, it in document.items()})


def decode(header: str) -> AuthConfig:
    """Read X-Registry-Auth; nothing is anonymous, and so is a text without JSON. Raises InvalidArgument.

    Docker's API wants a header for every push, and clients without a user fill it with any word.
    """
    return from_json(document_of(header, "X-Registry-Auth", otherwise={}), "X-Registry-Auth")


def domain_of(address: str) -> str:
    """The registry of an address as clients keep it: ``https://index.docker.io/v1/`` is ``docker.io``."""
    host = re.sub(r"^https?://", "", address.strip().lower()).partition("/")[0]
    return DEFAULT_DOMAIN if host in _HUB else host


def document_of(header: str, what: str, otherwise: dict[str, Json] | None = None) -> dict[str, Json]:
    """The JSON object of a header in base64url, empty without one; ``otherwise`` where it holds no JSON.

    Raises InvalidArgument, which does not tell what is in it.
    """
    if not header:
        return {}
    padded = header.rstrip("=") + "=" * (-len(header.rstrip("=")) % 4)
    try:
        text = base64.b64decode(padded.translate({43: "-", 47: "_"}), altchars=b"-_", validate=True)
        document = msgspec.json.decode(text)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        if otherwise is not None:
            return otherwise
        raise InvalidArgument(f"invalid {what} header: expected base64url of JSON") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidArgument(f"invalid {what} header: expected an object")
    return document


def from_json(document: Json, what: str = "auth configuration") -> AuthConfig:
    """The JSON of one user, as the body of ``POST /auth``; null is nothing. Raises InvalidArgument."""
    if isinstance(document, dict):
        document = {name: value for name, value in document.items() if value is not None}
    try:
        auth = msgspec.convert(document, AuthConfig)
    except msgspec.ValidationError:
        raise InvalidArgument(f"invalid {what} header: every member must be a string") from None
    for text in msgspec.structs.astuple(auth):
        if len(text) > _MAX_FIELD or any(ord(it) < 32 or ord(it) == 127 for it in text):
            raise InvalidArgument(f"invalid {what} header: a member is too long or holds control characters")
    if auth.registry_token and not _BEARER.fullmatch(auth.registry_token):
        raise InvalidArgument(f"invalid {what} header: registrytoken is no token")
    if ":" in auth.username:
        raise InvalidArgument(f"invalid {what} header: username holds a colon")
    return _with_pair(auth, what)


def _with_pair(auth: AuthConfig, what: str) -> AuthConfig:
    """The same with the user and password that ``auth`` (base64 of both) holds, as configuration files do."""
    if not auth.auth or auth.username:
        return msgspec.structs.replace(auth, auth="")
    try:
        name, colon, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidArgument(f"invalid {what} header: auth is no base64 of user:password") from None
    if not colon:
        raise InvalidArgument(f"invalid {what} header: auth is no base64 of user:password")
    plain = msgspec.structs.replace(auth, auth="", username=name, password=password.rstrip("\0"))
    return from_json(msgspec.to_builtins(plain), what)
