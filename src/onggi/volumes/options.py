"""Options of the driver ``local``: checked in docker's words, and what they make of a volume.

docker hands ``type``, ``device`` and ``o`` to mount(8) on the volume's directory. Here they say what the
container's first process mounts in its own namespace (docs/decisions/0081).
"""

from __future__ import annotations

import functools
import operator
import re
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from onggi import quantities
from onggi.errors import InvalidArgument, Unsupported

_KNOWN = ("type", "o", "device", "size")
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_FLAGS = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "strictatime", "nosymfollow")
_CLEARED = ("rw", "suid", "dev", "exec", "atime", "diratime", "relatime", "defaults")
_OF_BINDS = frozenset((*_FLAGS, *_CLEARED))
# mount(2)'s numbers, which docker tells when a mount fails; other words are the file system's.
_NUMBERS = {
    **dict.fromkeys((*_CLEARED, "async"), 0),
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "dirsync": 128,
    "noatime": 1 << 10,
    "nodiratime": 1 << 11,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
}


class Source(NamedTuple):
    """What is mounted: a directory or file of the machine; with ``fstype`` what that file system is mounted
    from, and ``place``, where docker would mount it; or a read-only view of ``lowers``, directories of
    layers, top first.
    """

    device: str = ""
    fstype: str = ""
    options: tuple[str, ...] = ()
    recursive: bool = True
    lowers: tuple[str, ...] = ()
    place: str = ""


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
    return Source(options["device"], options["type"], tuple(words), place=directory)


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
    if quantities.size(text) > 0:
        raise InvalidArgument("quota size requested but no quota support")


def _check_bind(options: Mapping[str, str]) -> None:
    if not options["device"].startswith("/"):
        raise InvalidArgument(f"the device of a bind must be an absolute path: {options['device']!r}")
    for word in _words(options):
        if word not in _OF_BINDS and word not in ("bind", "rbind"):
            raise Unsupported(f"option {word!r} has no effect on a bind: leave it out of 'o'")


def told(source: Source) -> str:
    """The beginning of docker's words for a mount that fails, without a password."""
    words = [re.sub("^password=.+", "password=********", word) for word in source.options]
    flags = functools.reduce(operator.or_, (_NUMBERS.get(word, 0) for word in words), 0)
    data = ",".join(word for word in words if word not in _NUMBERS)
    text = f"mount {source.device}:{source.place}"
    text += (f", flags: {flags:#x}" if flags else "") + (f", data: {data}" if data else "")
    return f"error while mounting volume '{source.place}': failed to mount local volume: {text}"


def resolved(source: Source) -> Source:
    """The source with its server's address where a name was given: the kernel takes numbers only. Blocking.

    Raises InvalidArgument if the name leads nowhere.
    """
    if source.fstype not in ("nfs", "nfs4", "cifs"):
        return source
    try:
        return source._replace(device=_device(source), options=tuple(map(_with_address, source.options)))
    except OSError as error:
        reason = "no such host" if error.errno == socket.EAI_NONAME else str(error.strerror).lower()
        raise InvalidArgument(
            f"error while mounting volume '{source.place}': error resolving passed in network volume "
            f"address: lookup {error.filename}: {reason}"
        ) from None


def _device(source: Source) -> str:
    host = urlsplit(source.device).netloc if source.fstype == "cifs" else ""
    named = any(word.startswith("addr=") for word in source.options)
    return source.device if named or not host else source.device.replace(host, _address(host), 1)


def _with_address(word: str) -> str:
    key, _, name = word.partition("=")
    return f"addr={_address(name)}" if key == "addr" and name else word


def _address(name: str) -> str:
    """The number of a host's name, IPv4 before IPv6, as docker has it. Raises OSError."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        error.filename = name
        raise
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])
