"""Image references as people type them, by docker's grammar (distribution's ``reference``). Pure."""

from __future__ import annotations

from onggi.cli.command import Failure

HUB, HUB_INDEX = "docker.io", "index.docker.io"
LIBRARY, LATEST = "library/", "latest"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_WORD = _LETTERS | _DIGITS
_PATH_LIMIT, _TAG_LIMIT, _SHORTEST_DIGEST, _ID_LENGTH = 255, 128, 32, 64
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_BAD = "invalid reference format"


class Reference:
    """A normal reference: ``domain`` and ``path`` are whole, ``tag`` and ``digest`` are as typed or empty."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain, self.path, self.tag, self.digest = domain, path, tag, digest

    @property
    def name(self) -> str:
        """The repository: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: ``busybox``."""
        if self.domain != HUB:
            return self.name
        short = self.path.removeprefix(LIBRARY)
        return short if "/" not in short else self.path

    @property
    def name_only(self) -> bool:
        """Whether neither tag nor digest is given."""
        return not self.tag and not self.digest

    @property
    def api_tag(self) -> str:
        """What the API takes as ``tag``: the digest where one is given, else the tag."""
        return self.digest or self.tag or LATEST

    def __str__(self) -> str:
        return self.name + self._suffix()

    def familiar(self) -> str:
        """Return the whole reference as people write it."""
        return self.familiar_name + self._suffix()

    def with_default_tag(self) -> Reference:
        """Return the reference with ``latest`` where neither tag nor digest is given."""
        return Reference(self.domain, self.path, LATEST) if self.name_only else self

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Return the normal reference of ``text``. Raises ValueError in docker's words."""
    if _is_id(text):
        raise ValueError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote.lower() != remote:
        raise ValueError(f"{_BAD}: repository name ({remote}) must be lowercase")
    named, at, digest = rest.partition("@")
    path, colon, tag = named.partition(":")
    legal = _is_domain(domain) and all(_is_component(part) for part in path.split("/"))
    if not legal or (colon and not _is_tag(tag)) or (at and not _is_digest(digest)):
        raise ValueError(_BAD)
    if len(path) > _PATH_LIMIT:
        raise ValueError(f"repository name must not be more than {_PATH_LIMIT} characters")
    if digest:
        _check_digest(digest)
    return Reference(domain, path, tag, digest)


def typed_reference(text: str) -> Reference:
    """Return the normal reference of what was typed. Raises Failure."""
    try:
        return parse_reference(text)
    except ValueError as error:
        raise Failure(str(error)) from None


def parse_any(text: str) -> Reference | None:
    """Return the reference of what ``run`` is given, None if it is an image's ID. Raises ValueError."""
    if _is_id(text):
        return None
    try:
        _check_digest(text)
    except ValueError:
        return parse_reference(text)
    return None


def _is_id(text: str) -> bool:
    return len(text) == _ID_LENGTH and _HEX.issuperset(text) and text == text.lower()


def _split_domain(text: str) -> tuple[str, str]:
    """Split the registry's host off; a name without one is of the Hub."""
    first, slash, rest = text.partition("/")
    if not slash:
        return HUB, LIBRARY + text
    if first == HUB_INDEX:
        first = HUB
    if first != HUB and not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return HUB, text
    return first, LIBRARY + rest if first == HUB and "/" not in rest else rest


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


def _check_digest(text: str) -> None:
    algorithm, _, digits = text.partition(":")
    if algorithm not in _DIGEST_LENGTHS:
        raise ValueError("unsupported digest algorithm")
    if len(digits) != _DIGEST_LENGTHS[algorithm]:
        raise ValueError("invalid checksum digest length")
    if not _HEX.issuperset(digits) or digits != digits.lower():
        raise ValueError("invalid checksum digest format")
