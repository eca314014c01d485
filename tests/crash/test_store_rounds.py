"""The short form of the store's kill rounds, and collections that run all the time while images come in.
docs/proofs/store-kills.md tells of the long form.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import store_rounds
from fake_registry import FakeRegistry
from image_clients import ImageClient, fsck

from running_engine import RunningEngine

POINTS = (
    "store.blob.after_rename",
    "store.layer.before_commit",
    "store.gc.after_commit",
    "images.pull.before_layer",
    store_rounds.ANY,
)
IMAGES = 8


def test_store_rounds(tmp_path: Path) -> None:
    game = store_rounds.play(tmp_path, 2 * len(POINTS), 3, POINTS)
    assert game.counts["kills"] == 2 * len(POINTS)


def harm(engine: RunningEngine, failpoint: str, enough: Callable[[list[str]], bool]) -> list[str]:
    """What goes wrong while images come in and two clients collect all the time, until it is enough."""
    engine.start(env={"ONGGI_FAILPOINT": failpoint})
    registry, done = FakeRegistry(), threading.Event()
    client = ImageClient(engine, registry, "leases", 0)

    def prune() -> None:
        while not done.is_set():
            engine.call("POST", "/images/prune")

    pruners = [threading.Thread(target=prune) for _ in range(2)]
    for pruner in pruners:
        pruner.start()
    try:
        for _ in range(IMAGES):
            for make in (client.load, client.pull, client.import_):
                make()
            if enough(wrong := [*client.refusals, *fsck(engine), *client.judge()]):
                return wrong
    finally:
        done.set()
        for pruner in pruners:
            pruner.join(60)
        registry.close()
    return wrong


def test_collections_do_not_eat_what_is_on_its_way_in(engine: RunningEngine) -> None:
    assert harm(engine, "", lambda wrong: False) == []


def test_without_leases_they_do(engine: RunningEngine) -> None:
    """The proof that the test above looks: with protection out of force it finds something."""
    assert harm(engine, "store.lease.protect=skip", bool)
