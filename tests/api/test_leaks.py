"""After many containers, execs and attached clients nothing is there that was not before (short form)."""

import pytest

import soak
from engines import RealEngine


@pytest.fixture
def alone(tmp_path):
    """An engine that nobody else uses: the one of the suite keeps other tests' containers."""
    engine = RealEngine(tmp_path)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.destroy()


def test_nothing_is_left_behind(alone):
    counts = dict(zip(soak.LOADS, (50, 10, 50, 20), strict=True))
    for name, _, _, before, after in soak.soak(alone, counts, seed=1):
        assert not after.left(before), name
        assert after.memory["onggid"] < before.memory["onggid"] + 8192, name
