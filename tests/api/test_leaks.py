"""After many containers, execs and attached clients nothing is there that was not before (short form)."""

import soak


def test_nothing_is_left_behind(own):
    counts = dict(zip(soak.LOADS, (50, 10, 50, 20), strict=True))
    for name, _, _, before, after in soak.soak(own, counts, seed=1):
        assert not after.left(before), name
        assert after.memory["onggid"] < before.memory["onggid"] + 8192, name
