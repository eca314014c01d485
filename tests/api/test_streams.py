"""Much output, whole and in order, with flat memory; a client that does not read hinders nobody."""

import flood

MEGABYTES = 32


def test_much_output_is_whole_everywhere_and_memory_flat(engine):
    facts = flood.prove(engine, MEGABYTES)
    assert facts["client whole"]
    assert facts["log whole"]
    assert facts["client whole, rotated"]
    first, last, whole = facts["tail"]
    assert whole
    assert last == flood.lines_of(MEGABYTES) - 1
    assert 0 < first < last
    assert facts["stalled client whole"]
    for most in (facts["memory"], facts["memory rotated"]):
        assert most["monitor"] < 32 * 1024
        assert most["onggid"] < facts["onggid idle"] + 16 * 1024
