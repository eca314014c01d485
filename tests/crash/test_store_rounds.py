"""The short form of the store's kill rounds; docs/proofs/store-kills.md tells of the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
import store_rounds

POINTS = (
    "store.blob.after_rename",
    "store.layer.before_commit",
    "store.gc.after_commit",
    "images.pull.before_layer",
    store_rounds.ANY,
)


def test_store_rounds(tmp_path: Path) -> None:
    game = store_rounds.play(tmp_path, 2 * len(POINTS), 3, POINTS)
    assert game.counts["kills"] == 2 * len(POINTS)


def test_without_leases_the_rounds_find_something(tmp_path: Path) -> None:
    """The proof that the rounds look: protection out of force, collections eat what is on its way in."""
    with pytest.raises(AssertionError, match="seed 1, round"):
        store_rounds.play(tmp_path, 10, 1, without="store.lease.protect")
