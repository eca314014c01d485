"""Proving who we are to one registry: its challenge, the user's credentials, and tokens from its realm.

Source: the distribution project's token authentication specification (GET form and OAuth 2 form).

Credentials go to the registry itself, or to the realm that it names: over TLS, or, where the registry is
spoken to without, to a realm on the same host. Tokens are kept until they expire, by scope.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from onggi.errors import Forbidden, InvalidArgument, OnggiError, ServerFailed, Unauthenticated
from onggi.registry import addresses
from onggi.registry.cancel import Cancel
from onggi.registry.challenges import Challenge
from onggi.registry.credentials import AuthConfig
from onggi.registry.failures import Refusal
from onggi.registry.transport import Request

Json = Any
CLIENT_ID = "docker"  # some realms know no other
_SHORTEST_S = 60  # of a token's life, as docker takes it
_LONGEST_S = 24 * 3600
_MARGIN_S = 10
_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,65536}", re.ASCII)
_WRONG_METHOD = (404, 405)


class Reply(msgspec.Struct, frozen=True):
    """A small answer, read whole; ``refused`` says why if it is no success."""

    status: int
    data: bytes
    refused: Refusal | None = None


class Asker(Protocol):
    """Sends one request to a realm, following redirects, and reads the small answer."""

    def __call__(self, request: Request, cancel: Cancel) -> Reply: ...


class Token(msgspec.Struct, frozen=True):
    """What a realm gave: ``refresh`` is an identity token, given if one was asked for."""

    text: str
    expires: float
    refresh: str = ""


class Authorizer:
    """Makes the Authorization header for one registry; any thread may use it.

    ``url`` is the registry's own; ``offline`` also asks for an identity token.
    """

    def __init__(self, url: str, auth: AuthConfig | None, ask: Asker, *, offline: bool = False) -> None:
        self._url = url
        self._auth = auth or AuthConfig()
        self._ask = ask
        self._offline = offline
        self._challenge: Challenge | None = None
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str, str], Token] = {}
        self.identity_token = ""

    def learn(self, found: list[Challenge]) -> None:
        """Remember how the registry wants to be convinced: a bearer token if it offers the choice."""
        ranked = [it for scheme in ("bearer", "basic") for it in found if it.scheme == scheme]
        usable = [it for it in ranked if it.scheme == "basic" or it.parameters.get("realm")]
        if usable:
            self._challenge = usable[0]

    @property
    def is_challenged(self) -> bool:
        return self._challenge is not None

    def header(self, scope: str, cancel: Cancel) -> str:
        """The value of Authorization, empty while the registry has not asked.

        Raises Unauthenticated where it asks for a user and none is known, and what its realm refuses.
        """
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            if not self._auth.basic:
                raise Unauthenticated(f'Get "{self._url}/v2/": no basic auth credentials')
            return self._auth.basic
        if self._auth.registry_token:
            return f"Bearer {self._auth.registry_token}"
        return f"Bearer {self._token(scope, cancel)}"

    def forget(self, scope: str) -> None:
        """Drop the kept token of a scope: the registry did not take it."""
        with self._lock:
            self._tokens.pop(self._key(scope), None)

    def _key(self, scope: str) -> tuple[str, str, str]:
        parameters = self._challenge.parameters if self._challenge else {}
        return parameters.get("realm", ""), parameters.get("service", ""), scope

    def _token(self, scope: str, cancel: Cancel) -> str:
        cancel.take(self._lock)
        try:
            key = self._key(scope)
            kept = self._tokens.get(key)
            if kept is None or kept.expires <= time.monotonic():
                kept = self._tokens[key] = self._fetch(*key, cancel)
                self.identity_token = kept.refresh or self.identity_token
            return kept.text
        finally:
            self._lock.release()

    def _fetch(self, realm: str, service: str, scope: str, cancel: Cancel) -> Token:
        _check_realm(realm, self._url)
        if self._auth.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": self._auth.identity_token}
            return _read(self._ask(_post(realm, service, scope, form), cancel), realm)
        reply = self._ask(self._get(realm, service, scope), cancel)
        if reply.status in _WRONG_METHOD and self._auth.username:
            form = {
                "grant_type": "password",
                "username": self._auth.username,
                "password": self._auth.password,
            }
            if self._offline:
                form["access_type"] = "offline"
            reply = self._ask(_post(realm, service, scope, form), cancel)
        return _read(reply, realm)

    def _get(self, realm: str, service: str, scope: str) -> Request:
        query = {"account": self._auth.username, "client_id": CLIENT_ID if self._offline else ""}
        query |= {"offline_token": "true" if self._offline else "", "service": service}
        parts = urlsplit(realm)
        pairs = [*parse_qsl(parts.query), *((name, value) for name, value in query.items() if value)]
        pairs += [("scope", one) for one in scope.split()]
        url = urlunsplit(parts._replace(query=urlencode(pairs), fragment=""))
        return Request("GET", url, {"Authorization": self._auth.basic} if self._auth.basic else {})


def _post(realm: str, service: str, scope: str, form: dict[str, str]) -> Request:
    whole = {"client_id": CLIENT_ID, "service": service, "scope": scope, **form}
    body = urlencode({name: value for name, value in whole.items() if value}).encode()
    return Request("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, body)


def _check_realm(realm: str, registry: str) -> None:
    """Refuse a realm that would get credentials without TLS."""
    try:
        parts = addresses.parse(realm)
    except OnggiError:
        raise InvalidArgument(f"{registry} names an invalid realm for its tokens: {realm[:200]!r}") from None
    ours = addresses.parse(registry)
    if parts.scheme == "https" or (ours.scheme == "http" and parts.hostname == ours.hostname):
        return
    raise Forbidden(f"{registry} names the realm {realm[:200]} for its tokens, which has no TLS: refused")


def _read(reply: Reply, realm: str) -> Token:
    """The token of a realm's answer; raises what it refuses."""
    if reply.refused is not None:
        raise reply.refused.error()
    try:
        document = msgspec.json.decode(reply.data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise ServerFailed(f"the realm {_shown(realm)} answered without JSON")
    text = document.get("token") or document.get("access_token")
    if not isinstance(text, str) or not _BEARER.fullmatch(text):
        raise ServerFailed(f"the realm {_shown(realm)} answered without a token")
    refresh = document.get("refresh_token")
    return Token(text, _expiry(document.get("expires_in")), refresh if isinstance(refresh, str) else "")


def _expiry(seconds: Json) -> float:
    life = seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else _SHORTEST_S
    return time.monotonic() + min(max(life, _SHORTEST_S), _LONGEST_S) - _MARGIN_S


def _shown(realm: str) -> str:
    return realm.partition("?")[0][:200]
