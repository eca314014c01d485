"""Many clients, slow ones and ones that hang: others are served, and nothing is held on to (short form of
tests/abuse.py; docs/proofs/abuse.md tells of the long one).
"""

import pytest

import abuse
from engines import RealEngine


@pytest.fixture
def alone(tmp_path):
    """An engine that nobody else uses: what it holds is counted."""
    engine = RealEngine(tmp_path)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.destroy()


def test_others_are_served_and_nothing_is_held(alone):
    counts = abuse.counts_of(rounds=40, megabytes=20, clients=24)
    for name, _, _, before, after, _ in abuse.abuse(alone, counts, seed=1):
        assert after.has_no_more_than(before), (name, vars(before), vars(after))
        grown = {who: after.memory[who] - before.memory[who] for who in after.memory}
        assert max(grown.values()) < 24 * 1024, (name, grown)
