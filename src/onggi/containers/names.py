"""Names and ids of containers: generated names, full ids, unique prefixes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from onggi.errors import InvalidArgument, NotFound

# Words of our own about Korean pottery, food that rests in jars, and the hills around the kilns.
_LEFT = [
    "ashen", "autumn", "baked", "brave", "breathing", "bright", "brown", "calm", "cedar", "clay", "clear",
    "copper", "crackled", "dawn", "deep", "drowsy", "dusky", "earthen", "fired", "fond", "frosty", "gentle",
    "glazed", "golden", "hollow", "humble", "jade", "kind", "lively", "lofty", "lunar", "mellow", "misty",
    "mossy", "nimble", "ochre", "patient", "pearly", "placid", "quiet", "ripe", "river", "round", "rustic",
    "salted", "seasoned", "sincere", "slow", "smoky", "snowy", "spring", "steady", "still", "sturdy", "sunny",
    "tawny", "tender", "thrown", "tidy", "velvet", "warm", "whole", "wild", "winter", "wooden",
]  # fmt: skip
_RIGHT = [
    "baegun", "baekja", "bamboo", "bantam", "bracken", "bunjang", "buncheong", "camellia", "celadon",
    "chestnut", "chili", "chrysanthemum", "crane", "dancheong", "doenjang", "dokkaebi", "dolharubang",
    "gamasot", "gayageum", "gat", "ginkgo", "ginseng", "gochujang", "haenyeo", "hallasan", "hanji", "hanok",
    "heron", "hibiscus", "jangdok", "jindo", "jirisan", "jokduri", "jujube", "kiln", "kimchi", "lotus",
    "magpie", "makgeolli", "mandu", "maple", "millet", "moonjar", "mugwort", "namsan", "naru", "ondol",
    "onggi", "paulownia", "pear", "persimmon", "pine", "plum", "potter", "rooftile", "samulnori", "sansa",
    "seorak", "sesame", "shiitake", "sikhye", "soban", "songpyeon", "sparrow", "taegeuk", "tiger", "toad",
    "wheel", "yakgwa", "yuja",
]  # fmt: skip


def generate(taken: Callable[[str], bool]) -> str:
    """A free ``adjective_noun``; a digit is added when luck fails, as in docker."""
    for attempt in range(100):
        name = f"{secrets.choice(_LEFT)}_{secrets.choice(_RIGHT)}"
        if attempt > 5:
            name += str(secrets.randbelow(10 ** (1 + attempt // 20)))
        if not taken(name):
            return name
    return f"onggi_{secrets.token_hex(8)}"


def new_id(taken: Callable[[str], bool], proposed: str = "") -> str:
    """64 hexadecimal digits; the first twelve are never all decimal (they serve as a hostname)."""
    if proposed and not taken(proposed):
        return proposed
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdigit() and not taken(candidate):
            return candidate


def find_id(ref: str, ids: Iterable[str], by_name: Callable[[str], str | None]) -> str:
    """The id that ``ref`` means: a full id, a name, or a unique prefix, in docker's order."""
    if not ref:
        raise InvalidArgument('invalid name or ID supplied: ""')
    known = ids if isinstance(ids, (dict, set, frozenset)) else set(ids)
    if ref in known:
        return ref
    name = by_name(ref.removeprefix("/"))
    if name is not None:
        return name
    found = [entry for entry in known if entry.startswith(ref)] if set(ref) <= set("0123456789abcdef") else []
    if len(found) > 1:
        raise InvalidArgument(f"multiple IDs found with provided prefix: {ref}")
    if not found:
        raise NotFound(f"No such container: {ref}")
    return found[0]
