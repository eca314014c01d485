"""Lists that a registry gives page by page (distribution-spec, "Content Discovery"; RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from onggi.errors import DataLoss, InvalidArgument
from onggi.oci.digest import check
from onggi.registry import addresses
from onggi.registry.client import Document

T = TypeVar("T")
Read = Callable[[str], Document]
PAGE = 1000
_MAX_PAGES, _MAX_ENTRIES = 1000, 1_000_000
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_LINK = re.compile(
    r'<([^<>]*)>[ \t]*((?:;[ \t]*[\w*-]+[ \t]*(?:=[ \t]*(?:"[^"]*"|[^",; \t]+))?[ \t]*)*)(?:,|$)'
)
_NEXT = re.compile(
    r';[ \t]*rel[ \t]*=[ \t]*(?:"(?:[^"]*[ \t])?next(?:[ \t][^"]*)?"|next(?=[ \t;]|$))', re.IGNORECASE
)
_MAX_LINK = 16 << 10


class Referrer(msgspec.Struct, frozen=True, rename="camel"):
    """A document that refers to another one, as the registry describes it."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: dict[str, str] | None = None


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Referrers(msgspec.Struct):
    manifests: list[Referrer] | None = None


def tags(first: str, read: Read) -> list[str]:
    """Every tag, from the page at ``first`` on. Raises DataLoss for what is no list, or has no end."""
    return _every(first, read, _parse_tags)


def referrers(first: str, read: Read) -> list[Referrer]:
    """Every referrer, as ``tags``."""
    return _every(first, read, _parse_referrers)


def _every(first: str, read: Read, parse: Callable[[bytes], list[T]]) -> list[T]:
    found: list[T] = []
    url, seen = first, set[str]()
    while url:
        seen.add(url)
        page = read(url)
        try:
            found += parse(page.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidArgument):
            raise DataLoss(f"{addresses.shown(page.url)}: the answer is not the list asked for") from None
        url = _next(page)
        if url in seen or len(seen) > _MAX_PAGES or len(found) > _MAX_ENTRIES:
            raise DataLoss(f"{addresses.shown(first)}: the registry's list has no end")
    return found


def _parse_tags(data: bytes) -> list[str]:
    found = msgspec.json.decode(data, type=_Tags).tags or []
    if not all(map(TAG.fullmatch, found)):
        raise InvalidArgument("invalid tag")
    return found


def _parse_referrers(data: bytes) -> list[Referrer]:
    found = msgspec.json.decode(data, type=_Referrers).manifests or []
    for it in found:
        check(it.digest)
    return found


def _next(page: Document) -> str:
    """The URL of the next page; always of the same registry."""
    further = following(page.header("link"))
    if not further:
        return ""
    target = addresses.follow(page.url, further)
    if addresses.origin(target) != addresses.origin(page.url):
        raise DataLoss(f"{addresses.shown(page.url)}: the list goes on elsewhere")
    return target


def following(link: str) -> str:
    """The target of a Link header's ``next``, empty if there is none."""
    for match in _LINK.finditer(link[:_MAX_LINK]):
        if _NEXT.search(match[2]):
            return match[1]
    return ""
