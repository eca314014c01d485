"""The short form of the kill rounds; docs/proofs/kill-rounds.md tells of the long one."""

from __future__ import annotations

from pathlib import Path

import kill_rounds
from tally import ANY

POINTS = (
    "containers.end.before_row",
    ANY,
    "containers.restart.before_start",
    "containers.health.after_probe",
)


def test_kill_rounds(tmp_path: Path) -> None:
    game = kill_rounds.play(tmp_path, 2 * len(POINTS), 2, POINTS)
    assert game.tally.kills["at rest"] == 3
    assert not game.tally.missed
