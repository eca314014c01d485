"""Platforms of images, ``os/architecture[/variant]`` (OCI image-spec, image-index.md "platform")."""

from __future__ import annotations

from typing import Any

import msgspec

from onggi.errors import NotFound, Unsupported
from onggi.oci import platform_specifier
from onggi.oci.platform_specifier import of_this_machine

Json = Any


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
    return Platform("linux", *of_this_machine())


def parse(text: str) -> Platform:
    """Parse ``linux/arm64/v8``, ``linux`` or ``arm64``; raises InvalidArgument, Unsupported."""
    found = platform_specifier.parse(text)
    if "os.version" in found:
        raise Unsupported(f'"{text}": versions of operating systems are not told apart here')
    return of_config(found)
