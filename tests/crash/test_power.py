"""The short form of the power rounds; docs/proofs/power-loss.md tells of the long one."""

from __future__ import annotations

from pathlib import Path

import power_rounds
import pytest
from image_clients import ImageClient


def test_what_was_promised_is_there_behind_a_power_loss(tmp_path: Path) -> None:
    outage = power_rounds.Outage(tmp_path, 1)
    outage.play(4)
    assert outage.counts["cuts"] == 4
    assert outage.counts["promises"] > 4


@pytest.mark.parametrize(
    ("step", "only"),
    [("store.sync.file", "import_"), ("store.sync.tree", "import_"), ("store.sync.tree", "load")],
)
def test_without_a_sync_the_rounds_find_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, only: str
) -> None:
    """The proof that the rounds look. The sync of directories is not missed on ext4, whose journal is one.

    One client, and one way in: what comes behind a file, by another client or as the layers of a pull, is
    synced with all that was before it.
    """
    for name in ("import_", "load", "pull"):
        monkeypatch.setattr(ImageClient, name, getattr(ImageClient, only))
    with pytest.raises(AssertionError, match=r"^seed 2, image\d behind|is damaged"):
        power_rounds.Outage(tmp_path, 2, clients=1).play(4, step)
