"""Which of what builds keep may go, and how far: docker's rules, filters and defaults. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from onggi import quantities
from onggi.errors import InvalidArgument, Unsupported
from onggi.filters import Filters, check_names
from onggi.oci.until import parse_until

Json = Any
STEP, MOUNT, CONTEXT = "regular", "exec.cachemount", "source.local"
_TRUE, _FALSE = ("", "1", "true"), ("0", "false")
_FLAGS = ("inuse", "shared", "private")
_TEXTS = ("until", "unused-for", "id", "type", "description", "parent", "label", "label!")
_SIZES = {
    "reservedSpace": "reserved",
    "keepStorage": "reserved",
    "maxUsedSpace": "max_used",
    "minFreeSpace": "min_free",
}
_TEMPORARY = 512_000_000


class Entry(NamedTuple):
    """One thing that is kept: a step with its layer, a cache mount, or a context.

    ``shared``: an image has it too. ``above``: when the last of what stands on it was used, and how many
    layers are below it: what stands on others goes before them.
    """

    key: str
    kind: str
    description: str
    created_ns: int
    used_ns: int
    uses: int = 1
    size: int = 0
    shared: bool = False
    in_use: bool = False
    chain_id: str = ""
    above: tuple[int, int] = (0, 0)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What may go, that used least lately first, until no more is taken than these bytes allow.

    Without any of the three everything goes. ``all``: also what images share.
    """

    all: bool = False
    filters: Filters = {}
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0

    def limit(self, total: int, free: int) -> int | None:
        """How much may stay of ``total``; None: nothing needs to."""
        if not (self.reserved or self.max_used or self.min_free):
            return None
        limits = [self.max_used] if self.max_used else []
        limits += [total - self.min_free + free] if self.min_free > free else []
        return max(min(limits, default=0), self.reserved)


def default_rules(disk: int, reserved: int = 0, max_used: int = 0, min_free: int = 0) -> list[Rule]:
    """dockerd's rule of thumb for a disk of so many bytes, where nothing else is wanted: a tenth of it stays
    whatever happens, no more than eight, and a fifth is left to others.
    """
    reserved = reserved or disk // 10
    space = Rule(reserved=reserved, max_used=max_used or disk * 8 // 10, min_free=min_free or disk // 5)
    easy = {"type": [MOUNT, CONTEXT], "unused-for": ["48h"]}
    return [
        Rule(filters=easy, max_used=max(_TEMPORARY, reserved // 7)),
        msgspec.structs.replace(space, filters={"unused-for": ["1440h"]}),
        space,
        msgspec.structs.replace(space, all=True),
    ]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What daemon.json says of it; without ``rules`` the usual ones hold, with these sizes."""

    enabled: bool = True
    rules: tuple[Rule, ...] = ()
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0

    def on(self, disk: int) -> Sequence[Rule]:
        """The rules for a disk of so many bytes."""
        if not self.enabled:
            return ()
        return self.rules or default_rules(disk, self.reserved, self.max_used, self.min_free)


def chosen(entries: Sequence[Entry], rule: Rule, free: int) -> list[Entry]:
    """What goes by a rule, while ``free`` bytes of the disk are. Raises InvalidArgument."""
    total = sum(entry.size for entry in entries if not entry.shared)
    limit, gone = rule.limit(total, free), []
    for entry in sorted(entries, key=_age):
        if limit is not None and total <= limit:
            break
        if not entry.in_use and (rule.all or not entry.shared) and takes(entry, rule.filters):
            gone.append(entry)
            total -= 0 if entry.shared else entry.size
    return gone


def _age(entry: Entry) -> tuple[int, int]:
    return entry.above if entry.above[0] else (entry.used_ns, 0)


def takes(entry: Entry, filters: Filters) -> bool:
    """Whether docker's filters let something go. Raises InvalidArgument."""
    return all(_takes(entry, name, values) for name, values in filters.items())


def _takes(entry: Entry, name: str, values: Sequence[str]) -> bool:
    match name:
        case "until" | "unused-for":
            return all(entry.used_ns < parse_until(value, time.time_ns()) for value in values)
        case "id":
            return any(entry.key.startswith(value) for value in values)
        case "description":
            return any(value in entry.description for value in values)
        case "type":
            return entry.kind in values
        case "inuse" | "shared" | "private":
            facts = {"inuse": entry.in_use, "shared": entry.shared, "private": not entry.shared}
            return all(facts[name] is _truth(name, value) for value in values)
    # `system prune` sends labels here too, and none of these has one; nor is told what it stands on.
    return name == "label!"


def check(filters: Filters) -> Filters:
    """Filters that we know. Raises InvalidArgument."""
    check_names(filters, (*_FLAGS, *_TEXTS))
    for name, values in filters.items():
        for value in values:
            if name in _FLAGS:
                _truth(name, value)
            elif name in ("until", "unused-for"):
                parse_until(value, 0)
    return filters


def _truth(name: str, value: str) -> bool:
    if value.lower() not in (*_TRUE, *_FALSE):
        raise InvalidArgument(f"invalid filter '{name}={value}'")
    return value.lower() in _TRUE


def from_settings(values: Json) -> Policy:
    """The policy of daemon.json's member ``builder``. Raises InvalidArgument, Unsupported."""
    _members(values, "builder", ("gc", "entitlements"))
    if values.get("entitlements"):
        raise Unsupported(
            "builder.entitlements is not supported: what a step may have is said by each build's flags"
        )
    given = values.get("gc", {})
    sizes = {f"default{name[0].upper()}{name[1:]}": member for name, member in _SIZES.items()}
    _members(given, "builder.gc", ("enabled", "policy", *sizes))
    rules = given.get("policy", [])
    if not isinstance(given.get("enabled", True), bool) or not isinstance(rules, list):
        raise InvalidArgument("builder.gc has members of a wrong type")
    return Policy(
        enabled=given.get("enabled", True),
        rules=tuple(_rule(rule) for rule in rules),
        **_sizes(given, sizes),
    )


def _rule(given: Json) -> Rule:
    _members(given, "builder.gc.policy", ("all", "filter", *_SIZES))
    if not isinstance(given.get("all", False), bool):
        raise InvalidArgument("builder.gc.policy: all is true or false")
    return Rule(all=given.get("all", False), filters=_filters(given.get("filter")), **_sizes(given, _SIZES))


def _filters(given: Json) -> Filters:
    """``["name=value"]``, or docker's objects."""
    if isinstance(given, list) and all(isinstance(text, str) for text in given):
        found: dict[str, list[str]] = {}
        for text in given:
            name, _, value = text.partition("=")
            found.setdefault(name.strip(), []).append(value.lstrip("=").strip())
        return check(found)
    try:
        objects = msgspec.convert(given or {}, dict[str, dict[str, bool] | list[str]])
    except msgspec.ValidationError:
        raise InvalidArgument('builder.gc.policy: filter is a list of "name=value"') from None
    return check({name: [*values] for name, values in objects.items()})


def _sizes(given: Json, names: Mapping[str, str]) -> dict[str, int]:
    return {member: size_of(given[name], name) for name, member in names.items() if name in given}


def size_of(value: Json, name: str) -> int:
    """Bytes of docker's "10GB". Raises InvalidArgument."""
    try:
        return quantities.size(value if isinstance(value, str) else "")
    except InvalidArgument:
        raise InvalidArgument(f"invalid {name}: {value!r} is no size such as 10GB") from None


def _members(values: Json, where: str, known: Sequence[str]) -> None:
    if not isinstance(values, dict):
        raise InvalidArgument(f"{where} has a wrong type")
    if unknown := sorted(set(values) - set(known)):
        raise InvalidArgument(f"{where} has no member {', '.join(unknown)}")
