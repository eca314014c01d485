"""``GET /images/search``: the old search of registries, ``GET /v1/search``.

Only docker's hub and few others have it; others say so in their way, and we in ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec

from onggi.errors import InvalidArgument, ServerFailed, Unsupported
from onggi.oci.reference import DEFAULT_DOMAIN
from onggi.registry.cancel import Cancel
from onggi.registry.credentials import domain_of
from onggi.registry.endpoints import Endpoint
from onggi.registry.failures import status_line
from onggi.registry.session import Session
from onggi.registry.transport import Request

Json = Any
_HUB_INDEX = Endpoint(("https://index.docker.io",))
_MOST = 100
_MAX_TEXT = 10_000
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Result(msgspec.Struct, frozen=True):
    """One repository that was found, with docker's names of its members."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class Filters(msgspec.Struct, frozen=True):
    """What ``filters`` asks for."""

    official: bool | None = None
    automated: bool | None = None
    stars: int = 0

    def take(self, found: Result) -> bool:
        return (
            self.official in (None, found.is_official)
            and self.automated in (None, found.is_automated)
            and found.star_count >= self.stars
        )


def filters(values: dict[str, Iterable[str]]) -> Filters:
    """The filters of a request. Raises InvalidArgument in docker's words."""
    unknown = sorted(set(values) - {"is-official", "is-automated", "stars"})
    if unknown:
        raise InvalidArgument(f"invalid filter '{unknown[0]}'")
    stars = [_stars(it) for it in values.get("stars", ())]
    return Filters(_boolean(values, "is-official"), _boolean(values, "is-automated"), max(stars, default=0))


def split(term: str) -> tuple[str, str]:
    """The registry and what to look for in it. Raises InvalidArgument."""
    if "://" in term or not term:
        raise InvalidArgument(f"invalid repository name: repository name ({term}) should not have a scheme")
    first, slash, rest = term.partition("/")
    if slash and (set(first) & set(".:") or first == "localhost"):
        domain, wanted = domain_of(first), rest
    else:
        domain, wanted = DEFAULT_DOMAIN, term
    return domain, wanted.removeprefix("library/") if domain == DEFAULT_DOMAIN else wanted


def search(session: Session, term: str, limit: int = 0, cancel: Cancel | None = None) -> list[Result]:
    """What a registry finds for a term, ``limit`` results at most (25 if 0). Blocks.

    Raises InvalidArgument, ServerFailed; Unsupported for a registry without search.
    """
    cancel = cancel or Cancel()
    if not 0 <= limit <= _MOST:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MOST}]")
    domain, wanted = split(term)
    endpoint = _HUB_INDEX if domain == DEFAULT_DOMAIN else session.endpoints(domain, cancel)[-1]
    client = session.client(domain, endpoint, cancel)
    request = Request("GET", f"{client.url}/v1/search?{urlencode({'q': wanted, 'n': limit or 25})}")
    found = client.document(request, "", cancel)
    if found.status == 404:
        raise Unsupported(f"{domain} has no search: docker's hub and few other registries have one")
    if found.status != 200:
        raise ServerFailed(f"Unexpected status code {status_line(found.status)} of the search of {domain}")
    return _results(found.data, domain)[: limit or 25]


def _results(data: bytes, domain: str) -> list[Result]:
    try:
        return [_result(it) for it in msgspec.json.decode(data)["results"]]
    except (msgspec.DecodeError, RecursionError, ValueError, LookupError, TypeError, AttributeError):
        raise ServerFailed(f"{domain} answered its search with something else than results") from None


def _result(entry: dict[str, Json]) -> Result:
    known = {name: entry[name] for name in Result.__struct_fields__ if entry.get(name) is not None}
    result = msgspec.convert(known, Result)
    return msgspec.structs.replace(
        result, name=_printable(result.name), description=_printable(result.description)
    )


def _printable(text: str) -> str:
    return "".join(it if it.isprintable() else " " for it in text[:_MAX_TEXT])


def _boolean(values: dict[str, Iterable[str]], name: str) -> bool | None:
    found = {_BOOLEANS.get(it) for it in values.get(name, ())}
    if None in found or len(found) > 1:
        raise InvalidArgument(f"invalid filter '{name}={list(values[name])}'")
    return found.pop() if found else None


def _stars(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidArgument(f"invalid filter 'stars={[text]}'")
    return int(text)
