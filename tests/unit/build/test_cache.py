"""The cache of steps: found only above the layers it was made on, pruned by use and by docker's filters."""

import asyncio
import time

import pytest

from onggi.build import cache
from onggi.build.cache import Cache, Used
from onggi.errors import InvalidArgument
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
    asyncio.run(steps.prune({}, Used()))
    assert store.database.run_blocking(lambda it: it.execute("SELECT key FROM lease_items").fetchall()) == []


def test_what_was_used_last_stays(store):
    layers(store, BASE, ONE)
    layers(store, BASE, TWO)
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("old", [BASE, ONE], "step"))
    asyncio.run(steps.keep("new", [BASE, TWO], "step"))
    asyncio.run(steps.find("old", [BASE]))
    assert asyncio.run(steps.prune({}, Used(), keep=10))[0] == ["new"]
    assert asyncio.run(steps.prune({}, Used({"old"})))[0] == []
    assert asyncio.run(steps.prune({}, Used()))[0] == ["old"]


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ({"until": ["30m"]}, True),
        ({"until": ["2h"]}, False),
        ({"id": ["ab"]}, True),
        ({"id": ["x"]}, False),
        ({"description": ["make"]}, True),
        ({"type": ["exec.cachemount"]}, False),
        ({"type": ["regular"]}, True),
    ],
)
def test_filters(filters, taken):
    now = time.time_ns()
    entry = cache.Entry("abc", "", "", "RUN make", now, now - 3600 * 10**9, 1)
    assert cache.takes(entry, filters) is taken


def test_a_filter_that_is_not_known():
    entry = cache.Entry("abc", "", "", "RUN make", 0, 0, 1)
    with pytest.raises(InvalidArgument, match="filter inuse is not supported"):
        cache.takes(entry, {"inuse": ["true"]})


def test_images_in_use_stay(store):
    layers(store, BASE, ONE)
    insert = "INSERT INTO images (id, chain_id, size, stored_ns, hidden) VALUES (?, ?, 0, 0, ?)"
    for name, hidden in (("step", 1), ("used", 1), ("shown", 0)):
        row = (name, chain_ids([BASE, ONE])[-1], hidden)
        store.database.run_blocking(lambda it, row=row: it.execute(insert, row))
    steps = Cache(store, Nothing())
    asyncio.run(steps.keep("key", [BASE, ONE], "step"))
    asyncio.run(steps.prune({}, Used((), {"used"})))
    left = store.database.run_blocking(lambda it: it.execute("SELECT id FROM images ORDER BY id").fetchall())
    assert left == [("shown",), ("used",)]
