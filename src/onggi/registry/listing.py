"""Lists that a registry gives page by page (distribution-spec, "Listing Tags"; RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from onggi.errors import DataLoss
from onggi.registry import addresses
from onggi.registry.client import Document

Json = Any
PAGE = 1000
_MAX_PAGES, _MAX_TAGS = 1000, 1_000_000
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_LINK = re.compile(
    r'<([^<>]*)>[ \t]*((?:;[ \t]*[\w*-]+[ \t]*(?:=[ \t]*(?:"[^"]*"|[^",; \t]+))?[ \t]*)*)(?:,|$)'
)
_NEXT = re.compile(
    r';[ \t]*rel[ \t]*=[ \t]*(?:"(?:[^"]*[ \t])?next(?:[ \t][^"]*)?"|next(?=[ \t;]|$))', re.IGNORECASE
)
_MAX_LINK = 16 << 10


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


def tags(first: str, read: Callable[[str], Document]) -> list[str]:
    """Every tag, from the page at ``first`` on. Raises DataLoss for what is no list, or has no end."""
    found: list[str] = []
    url, seen = first, set[str]()
    while url:
        seen.add(url)
        page = read(url)
        found += _parse(page)
        url = _next(page)
        if url in seen or len(seen) > _MAX_PAGES or len(found) > _MAX_TAGS:
            raise DataLoss(f"{addresses.shown(first)}: the registry's list of tags has no end")
    return found


def _parse(page: Document) -> list[str]:
    try:
        found = msgspec.json.decode(page.data, type=_Tags).tags or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = [""]
    if not all(map(_TAG.fullmatch, found)):
        raise DataLoss(f"{addresses.shown(page.url)}: the answer is no list of tags")
    return found


def _next(page: Document) -> str:
    """The URL of the next page; always of the same registry."""
    further = following(page.header("link"))
    if not further:
        return ""
    target = addresses.follow(page.url, further)
    if addresses.origin(target) != addresses.origin(page.url):
        raise DataLoss(f"{addresses.shown(page.url)}: the list of tags goes on elsewhere")
    return target


def following(link: str) -> str:
    """The target of a Link header's ``next``, empty if there is none."""
    for match in _LINK.finditer(link[:_MAX_LINK]):
        if _NEXT.search(match[2]):
            return match[1]
    return ""
