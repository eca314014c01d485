"""The short form of the kill rounds; docs/proofs/kill-rounds.md tells of the long one."""

from __future__ import annotations

from pathlib import Path

import kill_rounds
from tally import ANY

POINTS = ("containers.restart.before_start", ANY, "containers.health.after_probe")


def test_kill_rounds(tmp_path: Path) -> None:
    game = kill_rounds.play(tmp_path, range(2 * len(POINTS)), 2, POINTS)
    assert game.tally.kills["at rest"] == 2
