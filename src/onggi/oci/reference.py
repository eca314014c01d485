"""Image references as docker writes them: ``busybox`` is ``docker.io/library/busybox:latest``.

Source: the grammar in the documentation of distribution/reference, and docker's normalisation of familiar
names.
"""

from __future__ import annotations

import re

import msgspec

from onggi.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_CHECKSUM_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_HEX_ID = re.compile(r"[a-f0-9]{64}")


class Reference(msgspec.Struct, frozen=True):
    """A normalised reference; ``tag`` and ``digest`` are empty where none was given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """``busybox``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """``busybox:latest``: what people see."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        """The canonical form, as stored."""
        return self.name + self._suffix()

    def with_default_tag(self) -> Reference:
        """The same with tag ``latest`` if there is neither tag nor digest."""
        return self if self.tag or self.digest else msgspec.structs.replace(self, tag=DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Parse and normalise what a person wrote; raises InvalidArgument with docker's words."""
    if _HEX_ID.fullmatch(text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    name = remainder.partition("@")[0].partition(":")[0]
    if name.lower() != name:
        raise InvalidArgument(f"invalid reference format: repository name ({name}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidArgument("invalid reference format")
    _check_digest(match["digest"] or "")
    if len(f"{domain}/{match['path']}") > _MAX_NAME:
        raise InvalidArgument(f"repository name must not be more than {_MAX_NAME} characters")
    return Reference(match["domain"], match["path"], match["tag"] or "", match["digest"] or "")


def _check_digest(digest: str) -> None:
    """Refuse a digest that cannot be one, in the words of docker's parser (CVE-2024-3727)."""
    algorithm, _, checksum = digest.partition(":")
    if not digest:
        return
    if algorithm not in _CHECKSUM_LENGTHS:
        raise InvalidArgument("unsupported digest algorithm")
    if len(checksum) != _CHECKSUM_LENGTHS[algorithm]:
        raise InvalidArgument("invalid checksum digest length")
    if checksum.lower() != checksum:
        raise InvalidArgument("invalid checksum digest format")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first.lower() != first):
        domain, remainder = DEFAULT_DOMAIN, text
    else:
        domain, remainder = first, rest
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def matches(pattern: str, reference: Reference) -> bool:
    """Whether docker's ``reference=`` filter takes it: a shell pattern over the familiar name, with or
    without tag.
    """
    compiled = re.compile(_glob(pattern))
    return any(compiled.fullmatch(text) for text in (reference.familiar, reference.familiar_name))


def _glob(pattern: str) -> str:
    """A path pattern as a regular expression: ``*`` and ``?`` do not match ``/``."""
    translated = "".join({"*": "[^/]*", "?": "[^/]"}.get(piece, piece) for piece in _pieces(pattern))
    try:
        re.compile(translated)
    except re.error:
        raise InvalidArgument(f"syntax error in pattern {pattern!r}") from None
    return translated


def _pieces(pattern: str) -> list[str]:
    found = re.findall(r"\\.|\[[^\]]+\]|\*|\?|.", pattern, re.DOTALL)
    keep = ("*", "?")
    return [it if it in keep or (len(it) > 2 and it[0] == "[") else re.escape(it[-1]) for it in found]
