"""What is asked of registries without moving an image: login, search, and what a name stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from onggi.images.flights import Workers
from onggi.oci import reference as references
from onggi.oci.manifest import Index, Manifest, parse
from onggi.registry import search
from onggi.registry.cancel import Cancel
from onggi.registry.credentials import for_registry, from_json
from onggi.registry.login import log_in
from onggi.registry.repository import Fetched, Repository
from onggi.registry.session import Session
from onggi.registry.settings import Settings

Json = Any
T = TypeVar("T")
_MAX_CONFIG = 8 << 20


class Questions:
    """Asks registries; every call is cancelled with its caller."""

    def __init__(self, settings: Settings, workers: Workers) -> None:
        self._settings, self._workers = settings, workers

    async def log_in(self, body: Json) -> Json:
        """Answer of POST /auth. Raises Unauthenticated in docker's words."""
        auth, cancel = from_json(body), Cancel()
        found = await self._run(partial(log_in, self._settings, auth, cancel), cancel)
        return {"Status": found.status, "IdentityToken": found.identity_token}

    async def search(
        self, term: str, limit: int, filters: Mapping[str, Sequence[str]], auth: str
    ) -> Sequence[Json]:
        """Answer of GET /images/search. Raises Unsupported for a registry that has no search."""
        wanted, cancel = search.filters({key: list(values) for key, values in filters.items()}), Cancel()
        domain, _ = search.split(term)

        def ask() -> list[search.Result]:
            with Session(self._settings, for_registry(auth, domain)) as session:
                return search.search(session, term, limit, cancel)

        return [msgspec.to_builtins(it) for it in await self._run(ask, cancel) if wanted.take(it)]

    async def distribution(self, name: str, auth: str) -> Json:
        """Answer of GET /distribution/{name}/json."""

        def ask(repository: Repository) -> Json:
            found = repository.resolve()
            document = parse(found.data, found.media_type)
            return {"Descriptor": _descriptor(found), "Platforms": _platforms(repository, document)}

        return await self._ask(name, auth, ask)

    async def manifest(self, name: str, auth: str, *, every: bool) -> Json:
        """The document that a name stands for, as it is; with ``every`` also those that an index names.

        ``{"Reference", "Descriptor", "Document", "Manifests": [{"Descriptor", "Document"}]}``; a document is
        text.
        """

        def ask(repository: Repository) -> Json:
            found = repository.resolve()
            document = parse(found.data, found.media_type)
            entries = document.manifests if every and isinstance(document, Index) else []
            return {
                "Reference": str(repository.reference),
                "Descriptor": _descriptor(found),
                "Document": found.data.decode(),
                "Manifests": [_entry(repository.resolve(it.digest), it.platform) for it in entries],
            }

        return await self._ask(name, auth, ask)

    async def _ask(self, name: str, auth: str, ask: Callable[[Repository], T]) -> T:
        reference = references.parse(name).with_default_tag()
        keyring, cancel = for_registry(auth, reference.domain), Cancel()

        def work() -> T:
            with Session(self._settings, keyring) as session:
                return ask(session.repository(reference, cancel))

        return await self._run(work, cancel)

    async def _run(self, work: Callable[[], T], cancel: Cancel) -> T:
        return await self._workers.run(work, cancel.set)


def _descriptor(found: Fetched) -> Json:
    return {"mediaType": found.media_type, "digest": found.digest, "size": len(found.data)}


def _entry(found: Fetched, platform: Json) -> Json:
    named = {"platform": platform} if platform else {}
    return {"Descriptor": _descriptor(found) | named, "Document": found.data.decode()}


def _platforms(repository: Repository, document: Manifest | Index) -> list[Json]:
    if isinstance(document, Index):
        return [it.platform for it in document.manifests if isinstance(it.platform, dict)]
    config = document.config
    with repository.blob(config.digest, size=min(config.size, _MAX_CONFIG)) as opened:
        facts = msgspec.json.decode(b"".join(opened.chunks))
    keys = ("architecture", "os", "os.version", "os.features", "variant")
    return [{key: facts[key] for key in keys if facts.get(key)}]
