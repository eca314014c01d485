"""Compares layers with the archives that are kept of them, and unpacks again what was lost or damaged."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from onggi.errors import NotFound, OnggiError
from onggi.images.layering import Intake, check_diff_id
from onggi.images.progress import Transfer
from onggi.images.recording import kept_blobs
from onggi.store.content import Content
from onggi.store.layers import Layers


class _Lost(NamedTuple):
    diff_id: str
    parents: list[str]
    digest: str
    media_type: str


class Restorer:
    """Restores layers of one store."""

    def __init__(self, content: Content, layers: Layers) -> None:
        self._content, self._layers = content, layers
        self._intake = Intake(content, layers)

    async def restore(self, chain_id: str) -> bool:
        """Give a layer its directory back; False if its archive is not here or not sound. The layers below
        it must be there.
        """
        try:
            lost = await self._content.database.run(lambda it: _look_up(it, chain_id))
            async with self._content.lease() as lease:
                await lease.have_layer(chain_id)
                await lease.have_blob(lost.digest)
                await self._unpack(chain_id, lost)
        except OnggiError:
            return False
        return True

    async def compare(self, chain_id: str, number: int) -> str:
        """What is wrong with a layer's directory; empty if nothing is, or if no sound archive can tell."""
        try:
            lost = await self._content.database.run(lambda it: _look_up(it, chain_id))
            async with self._content.lease(ttl_s=0) as lease:
                await lease.have_layer(chain_id)
                await lease.have_blob(lost.digest)
                diff_id, found = await self._intake.compare(number, lost.digest)
        except OnggiError:
            return ""
        if diff_id != lost.diff_id or not found["differences"]:
            return ""
        more = f", and {found['differences'] - 1} more" if found["differences"] > 1 else ""
        return f"{found['told'][0]}{more}"

    async def _unpack(self, chain_id: str, lost: _Lost) -> None:
        async with self._intake.from_blob(lost.digest, lost.media_type, Transfer()) as arrival:
            check_diff_id(arrival, lost.diff_id)
            layer = await self._layers.settle(arrival.layer, lost.parents)
            await self._content.database.run(
                lambda it: self._layers.replace(it, chain_id, layer), durable=True
            )


def _look_up(connection: sqlite3.Connection, chain_id: str) -> _Lost:
    """What a layer was made of. Raises NotFound if a layer below it, or its archive, is not here."""
    rows = connection.execute("SELECT chain_id, parent, diff_id FROM layers").fetchall()
    layers = {row[0]: (row[1], row[2]) for row in rows}
    chain: list[str] = []
    key: str | None = chain_id
    while key:
        if key not in layers:
            raise NotFound(f"layer {key} is not here")
        key, diff_id = layers[key]
        chain.insert(0, diff_id)
    digest, media_type, _ = kept_blobs(connection, chain[-1:])[0]
    return _Lost(chain[-1], chain[:-1], digest, media_type)
