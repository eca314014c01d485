"""Other people's packet filters: where one would drop what we forward, the smallest rule that lets it pass.

A verdict ``accept`` of our table says nothing for another's: whatever drops, drops. Where a chain of somebody
else's drops what it does not know, two rules for each of our bridges stand before its first one, in
DOCKER-USER if there is one, as dockerd's own documentation asks for. They bear our table's name and go with
the bridge. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Json = Any
_USER_CHAIN = "DOCKER-USER"
_FAMILIES = {"ip": (False,), "ip6": (True,), "inet": (False, True)}


class Place(NamedTuple):
    """A chain of somebody else's that rules of ours have to stand in."""

    family: str
    table: str
    chain: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.chain}"


class Opening(NamedTuple):
    """One rule of ours in such a chain; ``handle`` is 0 until the kernel has given it one."""

    place: Place
    bridge: str
    inward: bool
    handle: int = 0


class View(NamedTuple):
    """What `nft -j list ruleset` says, as far as it matters here."""

    chains: Mapping[Place, Json]
    rules: Mapping[Place, Sequence[Json]]


def view_of(answer: Json) -> View:
    """Read the program's answer."""
    chains: dict[Place, Json] = {}
    rules: dict[Place, list[Json]] = {}
    for entry in answer.get("nftables", ()):
        if chain := entry.get("chain"):
            chains[Place(chain["family"], chain["table"], chain["name"])] = chain
        elif rule := entry.get("rule"):
            rules.setdefault(Place(rule["family"], rule["table"], rule["chain"]), []).append(rule)
    return View(chains, rules)


def obstacles(view: View, own_table: str) -> list[Place]:
    """Base chains that drop forwarded packets which they do not know."""
    return [
        place
        for place, chain in view.chains.items()
        if chain.get("hook") == "forward"
        and place.table != own_table
        and place.family in _FAMILIES
        and (chain.get("policy") == "drop" or _ends_closed(view, place))
    ]


def _ends_closed(view: View, place: Place) -> bool:
    """Whether the last rule of a chain drops or rejects whatever comes so far."""
    last = [rule for rule in view.rules.get(place, ()) if not _is_ours(rule)][-1:]
    verdicts = [part for part in (last[0].get("expr", ()) if last else ()) if "counter" not in part]
    return len(verdicts) == 1 and bool({"drop", "reject"} & set(verdicts[0]))


def _is_ours(rule: Json) -> bool:
    return str(rule.get("comment", "")).startswith("onggi")


def wanted(view: View, own_table: str, bridges: Iterable[tuple[str, bool]]) -> set[Opening]:
    """The openings that our ``bridges`` (name, whether IPv6) need in these chains."""
    found: set[Opening] = set()
    for place in obstacles(view, own_table):
        user = place._replace(chain=_USER_CHAIN)
        target = user if user in view.chains else place
        for bridge, six in bridges:
            if six in _FAMILIES[place.family]:
                found |= {Opening(target, bridge, inward) for inward in (False, True)}
    return found


def present(view: View, own_table: str) -> set[Opening]:
    """The openings that are there."""
    found = set()
    for place, rules in view.rules.items():
        for rule in rules:
            owner, _, rest = str(rule.get("comment", "")).partition(":")
            direction, _, bridge = rest.partition(":")
            if owner == own_table and direction in ("in", "out"):
                found.add(Opening(place, bridge, direction == "in", int(rule["handle"])))
    return found


def transaction(own_table: str, is_: set[Opening], ought: set[Opening]) -> str:
    """The commands that lead from what is to what ought to be; empty for none."""
    kept = {entry._replace(handle=0) for entry in is_} & ought
    stale = [entry for entry in sorted(is_) if _plain(entry) not in kept]
    lines = [f"delete rule {entry.place} handle {entry.handle}" for entry in stale]
    lines += [_insert(own_table, entry) for entry in sorted(ought - kept)]
    return "".join(f"{line}\n" for line in lines)


def _plain(entry: Opening) -> Opening:
    return entry._replace(handle=0)


def _insert(own_table: str, entry: Opening) -> str:
    # What is forwarded inward has passed, or will pass, the chain `inward` of our own table.
    side, word = ("oifname", "in") if entry.inward else ("iifname", "out")
    comment = f"{own_table}:{word}:{entry.bridge}"
    return f'insert rule {entry.place} {side} "{entry.bridge}" counter accept comment "{comment}"'
