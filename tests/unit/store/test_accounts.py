"""Every file below the data root belongs to one account, and their sum is what du(1) says."""

import os
import subprocess

from onggi.images.sharing import sharing
from onggi.store import accounts
from onggi.store.layout import Layout


def fill(layout):
    for path, size in [
        (f"{layout.blobs}/ab/{'ab' * 32}", 9000),
        (f"{layout.ingest}/{'cd' * 32}", 5000),
        (f"{layout.snapshot(1)}/fs/dir/file", 70_000),
        (f"{layout.snapshot(2)}/fs/written", 3000),
        (f"{layout.root}/containers/c1/c1-json.log", 10_000),
        (f"{layout.root}/containers/c1/hosts", 10),
        (f"{layout.root}/volumes/v/_data/x", 20_000),
        (f"{layout.trash}/x/y", 4000),
        (f"{layout.root}/host-masks.json", 100),
    ]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(os.urandom(size))
    os.link(f"{layout.snapshot(1)}/fs/dir/file", f"{layout.snapshot(1)}/fs/link")


def du(path):
    return int(subprocess.run(["du", "-s", "-B1", path], capture_output=True, check=True).stdout.split()[0])


def test_the_sum_is_what_du_says(store):
    fill(store.layout)
    measured = accounts.measure(store.layout, {1: None})
    assert sum(measured.sizes.values()) == du(store.layout.root)
    assert set(measured.sizes) <= set(accounts.KINDS)
    assert measured.sizes["layers"] >= du(store.layout.snapshot(1)) > 70_000
    assert measured.layers == {1: du(store.layout.snapshot(1))}
    assert measured.written == {2: du(store.layout.snapshot(2))}
    assert measured.blobs == {"sha256:" + "ab" * 32: 12288}
    assert measured.downloads == {"cd" * 32: 8192}
    assert measured.beside["logs", "c1"] == 12288
    assert measured.things["logs"] == measured.things["volumes"] == 1


def test_layers_are_measured_once(store):
    fill(store.layout)
    store.execute("INSERT INTO layers VALUES ('c', NULL, 'd', 1, 0, 0, NULL)")
    known = store.database.run_blocking(accounts.known_layers)
    assert known == {1: None}
    found = accounts.measure(store.layout, known).layers
    store.database.run_blocking(lambda it: accounts.remember(it, found))
    known = store.database.run_blocking(accounts.known_layers)
    assert known == found
    assert accounts.measure(store.layout, {1: 5}).layers == {1: 5}


def test_what_goes_meanwhile_is_no_error(tmp_path):
    assert accounts.tree(str(tmp_path / "absent")) == 0
    assert accounts.measure(Layout(str(tmp_path / "absent")), {}).sizes.total() == 0


def test_a_preview_changes_nothing(store):
    for table, row in [
        ("images", "('one', 'c', 0, NULL, 0, 0, NULL)"),
        ("layers", "('c', NULL, 'd', 1, 0, 0, NULL)"),
        ("snapshots", "(1, 'layer', 'c', x'')"),
        ("blobs", "('one', 1, 0)"),
        ("leases", "('left', 99999999999999999)"),
        ("lease_items", "('left', 'blob', 'one')"),
    ]:
        store.execute(f"INSERT INTO {table} VALUES {row}")
    look = lambda it: store.collector.preview(it, frozenset(), frozenset())  # noqa: E731
    garbage = store.database.run_blocking(look)
    assert (garbage.layers, garbage.blobs) == ([("c", 1)], ["one"])
    for table in ("images", "layers", "snapshots", "blobs", "leases", "lease_items"):
        assert len(store.rows(table)) == 1
    kept = store.database.run_blocking(lambda it: store.collector.preview(it, {"one"}, frozenset()))
    assert (kept.layers, kept.blobs) == ([], [])


def test_shared_layers_are_added_up(store):
    layers = [("base", None, 10), ("top", "base", 5), ("other", "base", 7)]
    for number, (name, parent, size) in enumerate(layers):
        row = (name, parent, name, number, size)
        store.execute("INSERT INTO layers VALUES (?, ?, ?, ?, ?, 0, NULL)", *row)
    for image, chain in [("a", "top"), ("b", "other"), ("c", "other"), ("d", None)]:
        store.execute(
            "INSERT INTO images (id, chain_id, size, base, stored_ns) VALUES (?, ?, 0, NULL, 0)", image, chain
        )
    found = store.database.run_blocking(sharing)
    assert (found.layers, found.shared) == (22, {"a": 10, "b": 17, "c": 17, "d": 0})
