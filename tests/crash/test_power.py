"""The short form of the power rounds; docs/proofs/power-loss.md tells of the long one."""

from __future__ import annotations

from pathlib import Path

import power_rounds
import pytest


def test_what_was_promised_is_there_behind_a_power_loss(tmp_path: Path) -> None:
    outage = power_rounds.Outage(tmp_path, 1)
    outage.play(4)
    assert outage.counts["cuts"] == 4
    assert outage.counts["promises"] > 4


@pytest.mark.parametrize("step", ["store.sync.file", "store.sync.tree"])
def test_without_a_sync_the_rounds_find_something(tmp_path: Path, step: str) -> None:
    """The proof that the rounds look. The sync of directories is not missed on ext4, whose journal is one."""
    with pytest.raises(AssertionError, match=r"^seed 2, image\d behind \d+ flushes:\n"):
        power_rounds.Outage(tmp_path, 2).play(6, step)
