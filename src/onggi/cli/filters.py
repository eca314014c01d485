"""List filters and the truncation of columns. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def filters(texts: list[str]) -> dict[str, dict[str, bool]] | None:
    """Return ``name=value`` filters as the API takes them, None without any."""
    result: dict[str, dict[str, bool]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if text:
            result.setdefault(name, {})[value] = True
    return {name: dict(sorted(result[name].items())) for name in sorted(result)} or None


def prune_filters(config: Json, typed: list[str]) -> dict[str, dict[str, bool]] | None:
    """Return the filters of a prune: those typed, and those configured that do not contradict them."""
    opposite = {"label": "label!", "label!": "label"}
    added = []
    for text in config.get("pruneFilters") or []:
        name, equals, value = text.partition("=")
        if equals and f"{opposite.get(name, '')}={value}" not in typed:
            added.append(text)
    return filters([*typed, *added])


def natural(item: Json) -> list[tuple[int, str]]:
    """Return a key that sorts objects by their names, ``v2`` before ``v10``."""
    parts, digits = [""], False
    for character in item["Name"]:
        if character.isdigit() != digits:
            parts.append("")
            digits = not digits
        parts[-1] += character
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def short_id(text: str) -> str:
    """Return the first twelve characters of an ID without its algorithm."""
    return text.rpartition(":")[2][:12]


def ellipsis(text: str, most: int) -> str:
    """Return at most ``most`` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"
