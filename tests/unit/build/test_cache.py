"""The cache of steps: found only above the layers it was made on, shared with images."""

import asyncio
import time

import pytest

from onggi.build import cache
from onggi.build.cache import Cache
from onggi.oci.digest import chain_ids
from onggi.store.content import Content
from onggi.store.database import Database
from onggi.store.gc import Garbage
from onggi.store.layout import Layout
from onggi.store.schema import MIGRATIONS
from onggi.store.trash import Trash

BASE, ONE, TWO = ("sha256:" + letter * 64 for letter in "abc")


class Nothing:
    """A collector that finds nothing."""

    def collect(self, _):
        return Garbage([], [], set(), 0)

    def discard(self, _):
        """Nothing to be discarded."""


@pytest.fixture
def store(tmp_path):
    layout = Layout(str(tmp_path))
    layout.create()
    database = Database(layout.database, [*MIGRATIONS, *cache.MIGRATIONS])
    trash = Trash(layout.trash)
    yield Content(database, layout, trash)
    trash.close()
    database.close()


def layers(content, *diff_ids, size=10):
    """Rows of layers, above one another."""
    chain = chain_ids(diff_ids)
    for number, (key, diff_id) in enumerate(zip(chain, diff_ids, strict=True)):
        row = (key, chain[number - 1] if number else None, diff_id, hash(key) % 10**9, size)
        content.database.run_blocking(
            lambda it, row=row: it.execute(
                "INSERT OR IGNORE INTO layers VALUES (?, ?, ?, ?, ?, 0, NULL)", row
            )
        )


def test_a_step_is_found_above_its_own_layers_alone(store):
    layers(store, BASE, ONE)
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("key", [BASE, ONE], "step"))
    assert asyncio.run(steps.find("key", [BASE])) == ONE
    assert asyncio.run(steps.find("key", [TWO])) == ""
    assert asyncio.run(steps.find("other", [BASE])) == ""


def test_layers_of_steps_are_kept_by_a_lease_that_does_not_end(store):
    layers(store, BASE, ONE)
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("key", [BASE, ONE], "step"))
    items = store.database.run_blocking(
        lambda it: it.execute("SELECT lease, key FROM lease_items").fetchall()
    )
    assert items == [("build-cache", chain_ids([BASE, ONE])[-1])]
    assert "build-cache" in store.held
    asyncio.run(steps.drop(asyncio.run(steps.entries(())), ()))
    assert store.database.run_blocking(lambda it: it.execute("SELECT key FROM lease_items").fetchall()) == []


def test_what_stands_on_a_step_is_told_with_it(store):
    layers(store, BASE, ONE, TWO)
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("below", [BASE, ONE], "step"))
    asyncio.run(steps.keep("above", [BASE, ONE, TWO], "step"))
    asyncio.run(steps.touch({"above": time.time_ns()}))
    below, above = sorted(asyncio.run(steps.entries(["above"])), key=lambda it: it.key, reverse=True)
    assert (below.used_ns < above.used_ns, below.above[0]) == (True, above.used_ns)
    assert (below.above[1], above.above[1]) == (-2, -3)
    assert [(it.uses, it.in_use) for it in (below, above)] == [(0, False), (1, True)]


def test_layers_of_images_are_shared(store):
    layers(store, BASE, ONE, TWO)
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("below", [BASE, ONE], "step"))
    asyncio.run(steps.keep("above", [BASE, ONE, TWO], "step"))
    row = ("image", chain_ids([BASE, ONE])[-1])
    insert = "INSERT INTO images (id, chain_id, size, stored_ns, hidden) VALUES (?, ?, 0, 0, 0)"
    store.database.run_blocking(lambda it: it.execute(insert, row) and None)
    assert {it.key: it.shared for it in asyncio.run(steps.entries(()))} == {"below": True, "above": False}


def test_images_in_use_stay(store):
    layers(store, BASE, ONE)
    insert = "INSERT INTO images (id, chain_id, size, stored_ns, hidden) VALUES (?, ?, 0, 0, ?)"
    for name, hidden in (("step", 1), ("used", 1), ("shown", 0)):
        row = (name, chain_ids([BASE, ONE])[-1], hidden)
        store.database.run_blocking(lambda it, row=row: it.execute(insert, row))
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("key", [BASE, ONE], "step"))
    asyncio.run(steps.drop(asyncio.run(steps.entries(())), {"used"}))
    left = store.database.run_blocking(lambda it: it.execute("SELECT id FROM images ORDER BY id").fetchall())
    assert left == [("shown",), ("used",)]
