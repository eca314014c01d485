"""Platforms as people type them (``os[(version)][/arch[/variant]]``), by containerd's rules. Pure but for the
machine's own architecture."""

from __future__ import annotations

import os

from onggi.cli.command import Failure, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_SYSTEMS = (
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl",
    "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
)  # fmt: skip
_ARCHITECTURES = (
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64", "mips",
    "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x",
    "sparc", "sparc64", "wasm",
)  # fmt: skip
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
# The patterns that docker shows; "." may stand in all but the name of the system.
_SYSTEM_RULE = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$"
_RULE = "^[A-Za-z0-9_.-]+$"
_SYNONYMS = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_ARM64_VARIANTS = {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}


def parse_platform(text: str) -> dict[str, str]:
    """Return the platform with OCI's keys, in their order. Raises ValueError in docker's words."""
    if "*" in text:
        raise ValueError(f'"{text}": wildcards not yet supported: invalid argument')
    parts = text.split("/", 3)
    system, version = _check(text, parts)
    if len(parts) == 1:
        return _guess(text, system, version)
    if len(parts) > 3:
        raise ValueError(f'"{text}": cannot parse platform specifier: invalid argument')
    architecture, variant = _normal(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) == 2 and (architecture, variant) == ("arm", "v7"):
        variant = ""
    if len(parts) == 3 and (architecture, variant) == ("arm64", ""):
        variant = "v8"
    return _platform(system, version, architecture, variant)


def _check(text: str, parts: list[str]) -> tuple[str, str]:
    """Check the characters; returns the system and its version."""
    name, bracket, version = parts[0].partition("(")
    legal = bool(name) and _WORD.issuperset(name)
    if bracket:
        legal = legal and version.endswith(")") and (_WORD | {"."}).issuperset(version[:-1])
    if not legal:
        rule = f'OSAndVersion specifier component must match "{_SYSTEM_RULE}"'
        raise ValueError(f'"{parts[0]}" is an invalid OS component of "{text}": {rule}: invalid argument')
    for part in parts[1:]:
        if not part or not (_WORD | {"."}).issuperset(part):
            rule = f'platform specifier component must match "{_RULE}"'
            raise ValueError(f'"{part}" is an invalid component of "{text}": {rule}: invalid argument')
    return {"macos": "darwin"}.get(name.lower(), name.lower()), version.removesuffix(")")


def _guess(text: str, system: str, version: str) -> dict[str, str]:
    """Read a single word: a system, else an architecture."""
    if system in _SYSTEMS:
        return _platform(system, version, own_architecture(), "")
    architecture, variant = _normal(text, "")
    if architecture not in _ARCHITECTURES:
        raise ValueError(f'"{text}": unknown operating system or architecture: invalid argument')
    return _platform("linux", "", architecture, "" if variant == "v7" else variant)


def own_architecture() -> str:
    """Return this machine's architecture."""
    return _normal(os.uname().machine, "")[0]


def _platform(system: str, version: str, architecture: str, variant: str) -> dict[str, str]:
    result = {"architecture": architecture, "os": system}
    if version:
        result["os.version"] = version
    if variant:
        result["variant"] = variant
    return result


def _normal(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    architecture = _SYNONYMS.get(architecture, architecture)
    if architecture in ("armhf", "armel"):
        return "arm", "v7" if architecture == "armhf" else "v6"
    if architecture == "arm" and variant in ("", "5", "6", "7", "8"):
        return architecture, f"v{variant or 7}"
    if architecture == "arm64":
        return architecture, _ARM64_VARIANTS.get(variant, variant)
    dropped = architecture == "386" or (architecture == "amd64" and variant == "v1")
    return architecture, "" if dropped else variant


def format_platform(platform: Mapping[str, str]) -> str:
    """Return ``os/arch[/variant]``; "unknown" without a system."""
    parts = [platform.get(key) or "" for key in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if part) if parts[0] else "unknown"


def asked(options: Options, prefix: str = "") -> dict[str, str] | None:
    """Return the platform of ``--platform`` if given. Raises Failure, its words behind ``prefix``."""
    if not options.text("platform"):
        return None
    try:
        return parse_platform(options.text("platform"))
    except ValueError as error:
        raise Failure(prefix + str(error)) from None


def typed_or_default(options: Options, env: Mapping[str, str]) -> str:
    """Return ``--platform`` as typed, else DOCKER_DEFAULT_PLATFORM, for the commands that heed it."""
    default = env.get("DOCKER_DEFAULT_PLATFORM", "")
    return options.text("platform") if "platform" in options.given else default
