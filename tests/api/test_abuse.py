"""Many clients, slow ones and ones that hang: others are served, and nothing is held on to (short form of
tests/abuse.py; docs/proofs/abuse.md tells of the long one).
"""

import abuse


def test_others_are_served_and_nothing_is_held(own):
    counts = abuse.counts_of(rounds=40, megabytes=20, clients=24)
    for name, _, _, before, after, _ in abuse.abuse(own, counts, seed=1):
        assert after.has_no_more_than(before), (name, vars(before), vars(after))
        grown = {who: after.memory[who] - before.memory[who] for who in after.memory}
        assert max(grown.values()) < 16 * 1024, (name, grown)
