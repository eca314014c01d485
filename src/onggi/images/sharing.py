"""How much of each image others have too."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import NamedTuple


class Sharing(NamedTuple):
    """Bytes of file data: of all layers, each once; and of each image (by id) what another image has too."""

    layers: int
    shared: dict[str, int]


def sharing(connection: sqlite3.Connection) -> Sharing:
    """Add up the layers of every image."""
    rows = connection.execute("SELECT chain_id, parent, size FROM layers").fetchall()
    parents, sizes = {row[0]: row[1] for row in rows}, {row[0]: int(row[2]) for row in rows}
    chains: dict[str, list[str]] = {}
    for image_id, chain_id in connection.execute("SELECT id, chain_id FROM images").fetchall():
        chains[image_id] = chain = []
        while chain_id in parents:
            chain.append(chain_id)
            chain_id = parents[chain_id]
    users = Counter(chain_id for chain in chains.values() for chain_id in chain)
    shared = {
        image_id: sum(sizes[chain_id] for chain_id in chain if users[chain_id] > 1)
        for image_id, chain in chains.items()
    }
    return Sharing(sum(sizes.values()), shared)
