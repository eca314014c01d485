"""Finds what nothing refers to, by tracing from images and containers."""

from __future__ import annotations

import sqlite3

import msgspec

from onggi.store.rootfs import Spec


def drop_unused_layers(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Drop the rows of layers that no image and no container stands on; returns (chain id, snapshot number).

    Their files go behind the durable commit.
    """
    query = "SELECT chain_id FROM images WHERE chain_id IS NOT NULL"
    roots = {row[0] for row in connection.execute(query)} | _stood_on(connection)
    parents = dict(connection.execute("SELECT chain_id, parent FROM layers").fetchall())
    live: set[str] = set()
    for root in roots:
        chain_id: str | None = root
        while chain_id and chain_id not in live:
            live.add(chain_id)
            chain_id = parents.get(chain_id)
    rows = connection.execute("SELECT chain_id, number FROM layers").fetchall()
    dead = [(str(chain_id), int(number)) for chain_id, number in rows if chain_id not in live]
    for chain_id, number in dead:
        connection.execute("DELETE FROM layers WHERE chain_id = ?", (chain_id,))
        connection.execute("DELETE FROM snapshots WHERE number = ?", (number,))
    return dead


def _stood_on(connection: sqlite3.Connection) -> set[str]:
    """The topmost layers of containers."""
    rows = connection.execute("SELECT spec FROM snapshots WHERE kind = 'container'").fetchall()
    specs = (msgspec.json.decode(row[0], type=Spec) for row in rows)
    return {spec.chain[-1] for spec in specs if spec.chain}
