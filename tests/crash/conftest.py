"""``engine``: not started yet; ``consistent``: its checker, run once more at the end of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from consistency import Consistency
from hijack import close_all

from running_engine import RunningEngine, engine_in


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[RunningEngine]:
    try:
        yield from engine_in(tmp_path)
    finally:
        close_all()


@pytest.fixture
def consistent(engine: RunningEngine) -> Iterator[Consistency]:
    checker = Consistency(engine)
    yield checker
    checker.check()
