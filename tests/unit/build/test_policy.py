"""What of the build cache goes, by docker's rules, and how daemon.json writes them."""

import time

import pytest

from onggi.build import policy
from onggi.build.policy import CONTEXT, MOUNT, STEP, Entry, Rule, chosen
from onggi.errors import InvalidArgument, Unsupported

HOUR_NS = 3600 * 10**9


def entry(key, *, size=10, age_h=0, kind=STEP, **more):
    used_ns = time.time_ns() - age_h * HOUR_NS
    return Entry(key, kind, f"RUN make {key}", 0, used_ns, size=size, above=(used_ns, 0), **more)


def keys(entries, rule, free=1 << 40):
    return [it.key for it in chosen(entries, rule, free)]


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ({"until": ["30m"]}, True),
        ({"unused-for": ["2h"]}, False),
        ({"id": ["ab"]}, True),
        ({"id": ["x"]}, False),
        ({"description": ["make"]}, True),
        ({"type": [MOUNT]}, False),
        ({"type": [MOUNT, STEP]}, True),
        ({"inuse": ["true"]}, False),
        ({"private": ["1"], "shared": ["false"]}, True),
        ({"label": ["a=b"]}, False),
        ({"label!": ["a=b"]}, True),
    ],
)
def test_filters(filters, taken):
    assert policy.takes(entry("abc", age_h=1), policy.check(filters)) is taken


@pytest.mark.parametrize("filters", [{"age": ["1"]}, {"inuse": ["perhaps"]}, {"until": ["never"]}])
def test_filters_that_are_not_known(filters):
    with pytest.raises(InvalidArgument):
        policy.check(filters)


def test_what_was_not_used_for_longest_goes_first():
    kept = [entry("new"), entry("old", age_h=9), entry("used", age_h=99, in_use=True), entry("mid", age_h=5)]
    assert keys(kept, Rule()) == ["old", "mid", "new"]
    assert keys(kept, Rule(reserved=20)) == ["old", "mid"]
    assert keys(kept, Rule(max_used=35)) == ["old"]
    assert keys(kept, Rule(max_used=1, reserved=40)) == []
    assert keys(kept, Rule(min_free=105), free=100) == ["old"]
    assert keys(kept, Rule(min_free=95), free=100) == ["old", "mid", "new"]
    assert keys(kept, Rule(min_free=200, reserved=30), free=100) == ["old"]


def test_what_stands_on_a_layer_goes_before_it():
    below, above = entry("below", age_h=9), entry("above", age_h=1)
    below = below._replace(above=(above.used_ns, -1))
    above = above._replace(above=(above.used_ns, -2))
    assert keys([below, above, entry("x")], Rule(reserved=20)) == ["above"]
    assert keys([below, entry("old", age_h=5)], Rule(reserved=10)) == ["old"]


def test_what_images_share_stays_and_counts_for_nothing():
    kept = [entry("image", size=1000, age_h=9, shared=True), entry("old", age_h=5), entry("new")]
    assert keys(kept, Rule(reserved=20)) == []
    assert keys(kept, Rule(reserved=10)) == ["old"]
    assert keys(kept, Rule()) == ["old", "new"]
    assert keys(kept, Rule(all=True)) == ["image", "old", "new"]


def test_the_usual_rules_take_what_is_easy_to_make_again_first():
    kept = [
        entry("mount", size=600_000_000, age_h=49, kind=MOUNT),
        entry("fresh", size=600_000_000, age_h=1, kind=CONTEXT),
        entry("step", size=600_000_000, age_h=24 * 50),
    ]
    easy, *others = policy.default_rules(100_000_000_000)
    assert keys(kept, easy) == ["mount"]
    assert [keys(kept, rule) for rule in others] == [[], [], []]
    (_, forgotten, capped, _) = policy.default_rules(10_000_000_000)
    assert keys([entry("step", size=9_000_000_000, age_h=24 * 61), entry("new")], forgotten) == ["step"]
    assert keys(kept, capped, free=10**9) == ["step", "mount"]


def test_daemon_json():
    found = policy.from_settings(
        {
            "gc": {
                "enabled": True,
                "defaultKeepStorage": "10GB",
                "policy": [
                    {"keepStorage": "512MB", "filter": ["unused-for=2200h", "type==regular"]},
                    {"reservedSpace": "1.5 kB", "maxUsedSpace": "2k", "minFreeSpace": "7", "all": True},
                    {"filter": {"type": {"exec.cachemount": True}}},
                ],
            }
        }
    )
    assert found.reserved == 10 << 30
    assert found.on(1) == (
        Rule(reserved=512 << 20, filters={"unused-for": ["2200h"], "type": ["regular"]}),
        Rule(reserved=1536, max_used=2048, min_free=7, all=True),
        Rule(filters={"type": ["exec.cachemount"]}),
    )
    assert policy.from_settings({"gc": {"enabled": False}}).on(1 << 40) == ()
    usual = policy.from_settings({"gc": {"defaultReservedSpace": "1GB", "defaultMaxUsedSpace": "2GB"}})
    assert [rule.max_used for rule in usual.on(1 << 40)[1:]] == [2 << 30] * 3


@pytest.mark.parametrize(
    "values",
    [
        {"gc": []},
        {"gc": {"enabled": "yes"}},
        {"gc": {"size": "1GB"}},
        {"gc": {"defaultKeepStorage": 5}},
        {"gc": {"defaultKeepStorage": "much"}},
        {"gc": {"policy": {}}},
        {"gc": {"policy": [{"keepstorage": "1GB"}]}},
        {"gc": {"policy": [{"filter": ["age=1"]}]}},
        {"gc": {"policy": [{"filter": "until=1h"}]}},
        {"builds": {}},
    ],
)
def test_what_is_wrong_in_daemon_json(values):
    with pytest.raises(InvalidArgument):
        policy.from_settings(values)


def test_entitlements_are_refused_by_name():
    with pytest.raises(Unsupported, match="entitlements"):
        policy.from_settings({"entitlements": {"network-host": True}})
