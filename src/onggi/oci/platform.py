"""Platforms of images, ``os/architecture[/variant]`` (OCI image-spec, image-index.md "platform")."""

from __future__ import annotations

import platform
import re
from typing import Any

import msgspec

from onggi.errors import InvalidArgument, NotFound

Json = Any
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
}
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "armhf": "arm",
    "armel": "arm",
}
_ARCHITECTURES = frozenset([
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
])  # fmt: skip
_KNOWN_OS = ("linux", "windows", "darwin", "freebsd")
_WORD = re.compile(r"[A-Za-z0-9_.-]+")


class Platform(msgspec.Struct, frozen=True):
    """What an image runs on."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def matches(self, other: Platform) -> bool:
        """Whether they are the same, however their variants are spelled."""
        return _plain(self) == _plain(other)


# A variant that is the same as another, or as none.
_VARIANTS = {("arm64", "v8"): "", ("arm", ""): "v7", ("amd64", "v1"): ""}


def _plain(it: Platform) -> tuple[str, str, str]:
    return it.os, it.architecture, _VARIANTS.get((it.architecture, it.variant), it.variant)


def of_config(config: Json) -> Platform:
    """What an image's configuration says."""
    has = [str(config.get(key) or "") for key in ("os", "architecture", "variant")]
    return Platform(*has)


def require(name: str, has: Platform, wanted: Platform | None) -> None:
    """Raise NotFound, in docker's words, if the image of this name is not for the platform."""
    if wanted and not has.matches(wanted):
        raise NotFound(
            f"image with reference {name} was found but its platform ({has}) does not match the specified "
            f"platform ({wanted})"
        )


def local() -> Platform:
    """This machine's platform."""
    architecture, variant = _MACHINES.get(platform.machine(), (platform.machine(), ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """Parse ``linux/arm64/v8``, ``linux`` or ``arm64``; raises InvalidArgument."""
    parts = text.lower().split("/")
    if len(parts) > 3:
        raise InvalidArgument(f'"{text}": cannot parse platform specifier: invalid argument')
    if not all(_WORD.fullmatch(part) for part in parts):
        raise InvalidArgument(f"{text!r} is an invalid platform: expected os[/architecture[/variant]]")
    here = local()
    if len(parts) == 1:
        only_os = parts[0] in _KNOWN_OS
        if not only_os and _architecture(parts[0]) not in _ARCHITECTURES:
            raise InvalidArgument(f'"{text}": unknown operating system or architecture: invalid argument')
        return (
            Platform(parts[0], here.architecture) if only_os else Platform(here.os, _architecture(parts[0]))
        )
    return Platform(parts[0], _architecture(parts[1]), parts[2] if len(parts) == 3 else "")


def _architecture(name: str) -> str:
    return _ALIASES.get(name, name)
