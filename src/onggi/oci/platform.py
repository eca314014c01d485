"""Platforms of images, ``os/architecture[/variant]`` (OCI image-spec, image-index.md "platform")."""

from __future__ import annotations

import json
import platform
import re
from typing import Any

import msgspec

from onggi.errors import InvalidArgument, NotFound, Unsupported

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
_OLD_ARMS = {"armhf": "v7", "armel": "v6"}
_ARCHITECTURES = frozenset([
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "wasm",
])  # fmt: skip
_KNOWN_OS = ("linux", "windows", "darwin", "freebsd")
# As docker's refusals show them.
_OS = re.compile(r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$")
_WORD = re.compile(r"^[A-Za-z0-9_.-]+$")


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
    return Platform("linux", *_of_machine(platform.machine()))


def architecture_of(machine: str) -> str:
    """The architecture of a machine, named as uname(2) does."""
    return _of_machine(machine)[0]


def _of_machine(name: str) -> tuple[str, str]:
    return _MACHINES.get(name, (name, ""))


def parse(text: str) -> Platform:
    """Parse ``linux/arm64/v8``, ``linux`` or ``arm64``; raises InvalidArgument."""
    parts = text.lower().split("/")
    parts[0] = "darwin" if parts[0] == "macos" else parts[0]
    _check(text)
    here = local()
    if len(parts) == 1:
        only_os = parts[0] in _KNOWN_OS
        if not only_os and _architecture(parts[0]) not in _ARCHITECTURES:
            raise InvalidArgument(f'"{text}": unknown operating system or architecture: invalid argument')
        return Platform(parts[0], here.architecture) if only_os else _platform(here.os, parts[0])
    return _platform(*parts)


def _check(text: str) -> None:
    """Raises InvalidArgument, in docker's words, for what is no platform."""
    system, *parts = text.split("/")
    rules = [(system, "OS component", "OSAndVersion specifier", _OS)]
    rules += [(part, "component", "platform specifier", _WORD) for part in parts]
    for part, kind, what, pattern in rules:
        if not pattern.fullmatch(part):
            raise InvalidArgument(
                f"{_quoted(part)} is an invalid {kind} of {_quoted(text)}: {what} component must match "
                f"{_quoted(pattern.pattern)}: invalid argument"
            )
    if len(parts) > 2:
        raise InvalidArgument(f"{_quoted(text)}: cannot parse platform specifier: invalid argument")
    if "(" in system:
        raise Unsupported(f"{_quoted(text)}: versions of operating systems are not told apart here")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _platform(system: str, name: str, variant: str = "") -> Platform:
    """With docker's spelling: 7 is v7, and armel is the arm of version 6."""
    architecture = _architecture(name)
    if architecture in ("arm", "arm64") and variant.isdigit():
        variant = f"v{variant}"
    return Platform(system, architecture, _OLD_ARMS.get(name, variant))


def _architecture(name: str) -> str:
    return _ALIASES.get(name, name)
