"""Image references as docker writes them: ``busybox`` is ``docker.io/library/busybox:latest``.

Source: the grammar in the documentation of distribution/reference, and docker's normalisation of familiar
names. Read here for the engine and for our command, which has no time for regular expressions.
"""

from __future__ import annotations

from onggi.errors import InvalidArgument

DEFAULT_DOMAIN, _LEGACY_DOMAIN = "docker.io", "index.docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_WORD = _LETTERS | _DIGITS
_PATH_LIMIT, _TAG_LIMIT, _SHORTEST_DIGEST, _ID_LENGTH = 255, 128, 32, 64
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_BAD = "invalid reference format"


class Reference:
    """A normal reference: ``domain`` and ``path`` are whole, ``tag`` and ``digest`` empty where not given."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain, self.path, self.tag, self.digest = domain, path, tag, digest

    def __str__(self) -> str:
        """The canonical form, as stored."""
        return self.name + self._suffix()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

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

    def with_default_tag(self) -> Reference:
        """The same with tag ``latest`` if there is neither tag nor digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Return the normal reference of what a person wrote. Raises InvalidArgument in docker's words."""
    if is_id(text):
        raise InvalidArgument(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidArgument(f"{_BAD}: repository name ({remote}) must be lowercase")
    named, at, digest = rest.partition("@")
    path, colon, tag = named.partition(":")
    legal = _is_domain(domain) and all(_is_component(part) for part in path.split("/"))
    if not legal or (colon and not _is_tag(tag)) or (at and not _is_digest(digest)):
        raise InvalidArgument(_BAD)
    if len(path) > _PATH_LIMIT:
        raise InvalidArgument(f"repository name must not be more than {_PATH_LIMIT} characters")
    if digest:
        check_digest(digest)
    return Reference(domain, path, tag, digest)


def is_id(text: str) -> bool:
    """Whether it is an image's id, which no reference may look like."""
    return len(text) == _ID_LENGTH and _HEX.issuperset(text) and text == text.lower()


def _split_domain(text: str) -> tuple[str, str]:
    """Split the registry's host off; a name without one is of the Hub."""
    domain, slash, rest = text.partition("/")
    if not slash or not (set(domain) & set(".:") or domain == "localhost" or domain != domain.lower()):
        domain, rest = DEFAULT_DOMAIN, text
    if domain in (DEFAULT_DOMAIN, _LEGACY_DOMAIN):
        return DEFAULT_DOMAIN, rest if "/" in rest else _OFFICIAL + rest
    return domain, rest


def _is_domain(text: str) -> bool:
    host, port = text, "0"
    if text.startswith("["):
        inner, bracket, tail = text[1:].partition("]")
        legal = bool(inner) and bool(bracket) and (_HEX | {":"}).issuperset(inner)
        return legal and (not tail or (tail[0] == ":" and bool(tail[1:]) and _DIGITS.issuperset(tail[1:])))
    if ":" in text:
        host, _, port = text.partition(":")
    labels = host.split(".")
    return bool(port) and _DIGITS.issuperset(port) and all(_is_label(label) for label in labels)


def _is_label(text: str) -> bool:
    return bool(text) and (_WORD | {"-"}).issuperset(text) and text[0] != "-" and text[-1] != "-"


def _is_component(text: str) -> bool:
    """Whether ``text`` is lower-case words joined by a period, one or two underscores, or dashes."""
    joint = "."
    for character in text:
        if character in _WORD and character == character.lower():
            if joint not in ("", ".", "_", "__") and joint.strip("-"):
                return False
            joint = ""
        elif character in "._-":
            joint += character
        else:
            return False
    return bool(text) and text[0] in _WORD and not joint


def _is_tag(text: str) -> bool:
    legal = (_WORD | {"_", ".", "-"}).issuperset(text)
    return legal and 0 < len(text) <= _TAG_LIMIT and text[0] not in ".-"


def _is_digest(text: str) -> bool:
    algorithm, colon, digits = text.partition(":")
    for joint in "-_+.":
        algorithm = algorithm.replace(joint, "/")
    parts = algorithm.split("/")
    legal = all(part and part[0] in _LETTERS and _WORD.issuperset(part) for part in parts)
    return legal and bool(colon) and len(digits) >= _SHORTEST_DIGEST and _HEX.issuperset(digits)


def check_digest(text: str) -> None:
    """Refuse what cannot be a digest, in the words of docker's parser (CVE-2024-3727)."""
    algorithm, _, digits = text.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        raise InvalidArgument("unsupported digest algorithm")
    if len(digits) != _DIGEST_LENGTHS[algorithm]:
        raise InvalidArgument("invalid checksum digest length")
    if not _HEX.issuperset(digits) or digits != digits.lower():
        raise InvalidArgument("invalid checksum digest format")
