"""Whose chains would drop our packets, and what is done about it. Pure."""

from onggi.networks import foreign
from onggi.networks.foreign import Opening, Place

DROP = [{"counter": {}}, {"drop": None}]


def chain(family, table, name, **facts):
    return {"chain": {"family": family, "table": table, "name": name, **facts}}


def rule(family, table, name, expr, handle=1, comment=""):
    facts = {"family": family, "table": table, "chain": name, "handle": handle, "expr": expr}
    return {"rule": facts | ({"comment": comment} if comment else {})}


def view(*entries):
    return foreign.view_of({"nftables": [{"metainfo": {}}, *entries]})


def test_what_drops_is_found():
    seen = view(
        chain("ip", "filter", "FORWARD", hook="forward", policy="drop"),
        chain("ip", "filter", "INPUT", hook="input", policy="drop"),
        chain("inet", "firewalld", "filter_FORWARD", hook="forward", policy="accept"),
        rule("inet", "firewalld", "filter_FORWARD", [{"reject": {}}]),
        chain("ip", "calm", "f", hook="forward", policy="accept"),
        rule("ip", "calm", "f", [{"match": {}}, {"drop": None}]),
        chain("ip", "onggi", "forward", hook="forward", policy="drop"),
        chain("bridge", "x", "f", hook="forward", policy="drop"),
    )
    assert foreign.obstacles(seen, "onggi") == [
        Place("ip", "filter", "FORWARD"),
        Place("inet", "firewalld", "filter_FORWARD"),
    ]


def test_rules_of_ours_do_not_hide_a_closed_end():
    place = ("ip", "t", "f")
    seen = view(
        chain(*place, hook="forward", policy="accept"),
        rule(*place, DROP),
        rule(*place, [{"accept": None}], 9, "onggi:in:br0"),
    )
    assert foreign.obstacles(seen, "onggi") == [Place(*place)]


def test_openings_come_and_go():
    seen = view(
        chain("ip", "filter", "FORWARD", hook="forward", policy="drop"),
        chain("ip", "filter", "DOCKER-USER"),
        rule("ip", "filter", "DOCKER-USER", [], 7, "onggi:in:gone"),
        rule("ip", "filter", "DOCKER-USER", [], 8, "onggi:in:br0"),
        rule("ip", "filter", "DOCKER-USER", [], 9, "onggi-other:in:br1"),
    )
    user = Place("ip", "filter", "DOCKER-USER")
    ought = foreign.wanted(seen, "onggi", [("br0", False), ("br0", True)])
    assert ought == {Opening(user, "br0", True), Opening(user, "br0", False)}
    text = foreign.transaction("onggi", foreign.present(seen, "onggi"), ought)
    assert text == (
        "delete rule ip filter DOCKER-USER handle 7\n"
        'insert rule ip filter DOCKER-USER iifname "br0" counter accept comment "onggi:out:br0"\n'
    )
