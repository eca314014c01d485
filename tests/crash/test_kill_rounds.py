"""The short form of the kill rounds; docs/proofs/kill-rounds.md tells of the long one."""

from __future__ import annotations

from pathlib import Path

import kill_rounds

ROUNDS = 12


def test_kill_rounds(tmp_path: Path) -> None:
    counts = kill_rounds.play(tmp_path, ROUNDS, 2)
    assert counts["operations"] == ROUNDS * kill_rounds.CLIENTS * kill_rounds.STEPS
