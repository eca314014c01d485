"""Platforms as people type them, ``os[(version)][/architecture[/variant]]``, by containerd's rules.

Read here for the engine and for our command, which has no time for regular expressions.
"""

from __future__ import annotations

from os import uname

from onggi.errors import InvalidArgument

_SYSTEMS = (
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl",
    "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
)  # fmt: skip
_ARCHITECTURES = (
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64", "mips",
    "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x",
    "sparc", "sparc64", "wasm",
)  # fmt: skip
# As uname(2) names machines.
_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
}
_SYNONYMS = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_ARM64_VARIANTS = {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_WORD = _NAME | {"."}
# The patterns that docker's engine and its command show of a system, and what a version may consist of.
ENGINE = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$", _WORD | {"%", "+"}
COMMAND = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?$", _WORD
_WORD_RULE = "^[A-Za-z0-9_.-]+$"


def of_this_machine() -> tuple[str, str]:
    """This machine's architecture and variant."""
    machine = uname().machine
    return _MACHINES.get(machine, (machine, ""))


def parse(text: str, rule: tuple[str, frozenset[str]] = ENGINE) -> dict[str, str]:
    """Return the platform with OCI's keys, in their order. Raises InvalidArgument in docker's words."""
    if "*" in text:
        raise _invalid(text, "wildcards not yet supported")
    parts = text.split("/", 3)
    system, version = _system(text, parts[0], *rule)
    for part in parts[1:]:
        if not part or not _WORD.issuperset(part):
            raise _illegal(part, "component", text, "platform specifier", _WORD_RULE)
    if len(parts) == 1:
        return _single(text, system, version)
    if len(parts) > 3:
        raise _invalid(text, "cannot parse platform specifier")
    architecture, variant = _normal(parts[1], parts[2] if len(parts) == 3 else "")
    if len(parts) == 2 and (architecture, variant) == ("arm", "v7"):
        variant = ""
    if len(parts) == 3 and (architecture, variant) == ("arm64", ""):
        variant = "v8"
    return _platform(system, version, architecture, variant)


def _system(text: str, part: str, pattern: str, versions: frozenset[str]) -> tuple[str, str]:
    """Check the first part; return the system and its version."""
    name, bracket, version = part.partition("(")
    legal = bool(name) and _NAME.issuperset(name)
    if bracket:
        legal = legal and version.endswith(")") and versions.issuperset(version[:-1])
    if not legal:
        raise _illegal(part, "OS component", text, "OSAndVersion specifier", pattern)
    name = name.lower()
    return "darwin" if name == "macos" else name, version.removesuffix(")")


def _single(text: str, system: str, version: str) -> dict[str, str]:
    """Read a single word: a system, else an architecture."""
    if system in _SYSTEMS:
        return _platform(system, version, of_this_machine()[0], "")
    architecture, variant = _normal(text, "")
    if architecture not in _ARCHITECTURES:
        raise _invalid(text, "unknown operating system or architecture")
    return _platform("linux", "", architecture, "" if variant == "v7" else variant)


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


def _platform(system: str, version: str, architecture: str, variant: str) -> dict[str, str]:
    result = {"architecture": architecture, "os": system, "os.version": version, "variant": variant}
    return {key: value for key, value in result.items() if value}


def _illegal(part: str, kind: str, text: str, what: str, pattern: str) -> InvalidArgument:
    return InvalidArgument(
        f"{_quoted(part)} is an invalid {kind} of {_quoted(text)}: {what} component must match "
        f"{_quoted(pattern)}: invalid argument"
    )


def _invalid(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{_quoted(text)}: {why}: invalid argument")


def _quoted(text: str) -> str:
    from json import dumps

    return dumps(text, ensure_ascii=False)
