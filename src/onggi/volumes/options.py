"""Options of the driver ``local``: checked in docker's words, and what they make of a volume.

docker hands ``type``, ``device`` and ``o`` to mount(8) on the volume's directory. Here they say what the
container's first process mounts in its own namespace (docs/decisions/0081).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from onggi.errors import InvalidArgument, Unsupported

_KNOWN = ("type", "o", "device", "size")
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp])?(?:i?b)?", re.IGNORECASE)
_FLAGS = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "strictatime", "nosymfollow")
_CLEARED = ("rw", "suid", "dev", "exec", "atime", "diratime", "relatime", "defaults")
_OF_BINDS = frozenset((*_FLAGS, *_CLEARED))


class Source(NamedTuple):
    """What is mounted: a directory or file of the machine; with ``fstype`` what that file system is mounted
    from; or a read-only view of ``lowers``, directories of layers, top first.
    """

    device: str = ""
    fstype: str = ""
    options: tuple[str, ...] = ()
    recursive: bool = True
    lowers: tuple[str, ...] = ()


def check(options: Mapping[str, str]) -> None:
    """Raise InvalidArgument, in docker's words, or Unsupported for what we cannot do."""
    for name in options:
        if name not in _KNOWN:
            raise InvalidArgument(f'invalid option: "{name}"')
    _check_device(options)
    if "size" in options:
        _refuse_size(options["size"])
    for name, needed in _NEEDS.items():
        for other in needed if name in options else ():
            if other not in options:
                raise InvalidArgument(f'missing required option: "{other}"')
    if _is_bind(options):
        _check_bind(options)


def source(options: Mapping[str, str] | None, directory: str) -> Source:
    """What the volume of that directory is, by its checked options."""
    if not options or not (options.get("device") or options.get("type")):
        return Source(directory)
    words = _words(options)
    if _is_bind(options):
        plain = tuple(word for word in words if word not in ("bind", "rbind", "defaults"))
        return Source(options["device"], options=plain, recursive="rbind" in words)
    return Source(options["device"], options["type"], tuple(words))


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for word in options.get("o", "").split(",") if word]


def _is_bind(options: Mapping[str, str]) -> bool:
    return not {"bind", "rbind"}.isdisjoint(_words(options))


def _check_device(options: Mapping[str, str]) -> None:
    device = options.get("device", "")
    if options.get("type") == "cifs" and device:
        try:
            port = urlsplit(device).port
        except ValueError as error:
            raise InvalidArgument(f"error parsing mount device url: {error}") from None
        if port is not None:
            raise InvalidArgument("port not allowed in CIFS device URL, include 'port' in 'o='")
    if any("\0" in value for value in options.values()):
        raise InvalidArgument("invalid option: a NUL byte")


def _refuse_size(text: str) -> None:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    if float(match[1]) > 0:
        raise InvalidArgument("quota size requested but no quota support")


def _check_bind(options: Mapping[str, str]) -> None:
    if not options["device"].startswith("/"):
        raise InvalidArgument(f"the device of a bind must be an absolute path: {options['device']!r}")
    for word in _words(options):
        if word not in _OF_BINDS and word not in ("bind", "rbind"):
            raise Unsupported(f"option {word!r} has no effect on a bind: leave it out of 'o'")


def resolved(source: Source) -> Source:
    """The source with the server's address where a name was given: the kernel takes numbers only. Blocking.

    Raises InvalidArgument if the name leads nowhere.
    """
    if source.fstype not in ("nfs", "nfs4", "cifs"):
        return source
    return source._replace(options=tuple(map(_with_address, source.options)))


def _with_address(word: str) -> str:
    key, _, name = word.partition("=")
    if key != "addr" or not name:
        return word
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidArgument(
            f"error resolving passed in network volume address {name}: {error.strerror}"
        ) from None
    return f"addr={found[0][4][0]}"
