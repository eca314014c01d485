"""A session: the settings, the user's credentials, and the connections and tokens of one operation."""

from __future__ import annotations

import threading
from typing import Self

from onggi.errors import OnggiError
from onggi.oci.reference import Reference
from onggi.registry import endpoints as places
from onggi.registry.cancel import Cancel, Guard
from onggi.registry.client import Client
from onggi.registry.credentials import Keyring
from onggi.registry.endpoints import Endpoint
from onggi.registry.failures import Unreachable
from onggi.registry.repository import Repository
from onggi.registry.settings import Settings
from onggi.registry.transport import Transport


class Session:
    """Opens repositories. Any thread may use it; ``close`` it in the end.

    ``offline`` asks for identity tokens, as a log-in does.
    """

    def __init__(self, settings: Settings, keyring: Keyring | None = None, *, offline: bool = False) -> None:
        self._offline = offline
        self._settings = settings
        self._keyring = keyring or Keyring()
        self._transport = Transport(settings)
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, Endpoint], Client] = {}

    def repository(
        self, reference: Reference, cancel: Cancel | None = None, *, pushing: bool = False
    ) -> Repository:
        """The repository of a reference, to read from, or to push to: then mirrors are not asked.

        Nothing is asked yet. Setting ``cancel`` ends all its calls.
        """
        return Repository(self, reference, cancel or Cancel(), self._settings.limits, pushing=pushing)

    def endpoints(self, domain: str, cancel: Cancel, *, pushing: bool = False) -> list[Endpoint]:
        """The endpoints of a registry, for ``client``."""
        with Guard(cancel, self._settings.limits.document_s) as guard:
            insecure = self._transport.is_insecure(domain, guard)
        return places.endpoints(domain, self._settings.mirrors, insecure=insecure, pushing=pushing)

    def client(self, domain: str, endpoint: Endpoint, cancel: Cancel) -> Client:
        """The client of an endpoint, connected on the first call. Raises why none of its URLs can be used."""
        with self._lock:
            known = self._clients.get((domain, endpoint))
        if known is None:
            known = self._connected(domain, endpoint, cancel)
            with self._lock:
                known = self._clients.setdefault((domain, endpoint), known)
        return known

    def close(self) -> None:
        """Close the connections that are kept."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self, domain: str, endpoint: Endpoint, cancel: Cancel) -> Client:
        auth = None if endpoint.is_mirror else self._keyring.of(domain)
        failure: OnggiError | None = None
        for url in endpoint.urls:
            client = Client(self._transport, self._settings.limits, url, auth, offline=self._offline)
            try:
                client.connect(cancel)
                return client
            except Unreachable as error:
                failure = error
        assert failure is not None
        raise failure
