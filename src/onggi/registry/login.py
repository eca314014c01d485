"""``POST /auth``: whether a registry takes a user's name and password."""

from __future__ import annotations

import msgspec

from onggi.errors import ServerFailed, Unauthenticated
from onggi.registry.cancel import Cancel
from onggi.registry.credentials import AuthConfig, Keyring, domain_of
from onggi.registry.failures import status_line
from onggi.registry.session import Session
from onggi.registry.settings import Settings
from onggi.registry.transport import Request

_HUB = "https://index.docker.io/v1/"


class LoggedIn(msgspec.Struct, frozen=True):
    """``identity_token``, if the registry gave one, is to be kept in place of the password."""

    status: str
    identity_token: str = ""


def log_in(settings: Settings, auth: AuthConfig, cancel: Cancel | None = None) -> LoggedIn:
    """Ask the registry of ``auth.server_address`` (the hub if empty). Raises in docker's words."""
    cancel = cancel or Cancel()
    domain = domain_of(auth.server_address or _HUB)
    with Session(settings, Keyring({domain: auth}), offline=True) as session:
        endpoint = session.endpoints(domain, cancel, pushing=True)[-1]
        client = session.client(domain, endpoint, cancel)
        url = f"{client.url}/v2/"
        try:
            found = client.document(Request("GET", url), "", cancel)
        except Unauthenticated as error:
            raise Unauthenticated(str(error) if url in str(error) else f'Get "{url}": {error}') from None
        if found.status != 200:
            kind = Unauthenticated if found.status in (401, 403) else ServerFailed
            raise kind(f"login attempt to {url} failed with status: {status_line(found.status)}")
        return LoggedIn("Login Succeeded", client.authorizer.identity_token)
