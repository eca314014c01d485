"""What an instruction makes of an image's configuration, the part that containers start with.

Source: the Dockerfile reference.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from onggi.dockerfile import instructions as typed
from onggi.errors import InvalidArgument
from onggi.oci.image import environment, without_reserved
from onggi.oci.signals import parse_signal

Json = Any
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")


def effect(config: Json, instruction: typed.Instruction) -> Json:
    """The members that an instruction sets, with their values; its words are expanded.

    Raises InvalidArgument.
    """
    match instruction:
        case typed.Env(pairs=pairs):
            values = environment(config) | {pair.name: pair.value for pair in pairs}
            return {"Env": [f"{name}={value}" for name, value in values.items()]}
        case typed.Label(pairs=pairs):
            return labels(config, {pair.name: pair.value for pair in pairs})
        case typed.User(user=user):
            return {"User": user}
        case typed.Workdir(path=path):
            return {"WorkingDir": workdir(config, path)}
        case typed.Expose():
            exposed: Json = {port: {} for port in ports(instruction)}
            return {"ExposedPorts": (config.get("ExposedPorts") or {}) | exposed}
        case typed.Volume(paths=paths):
            return {"Volumes": (config.get("Volumes") or {}) | {path: {} for path in paths}}
        case typed.Cmd(command=command):
            return {"Cmd": command_line(config, command)}
        case typed.Entrypoint(command=command):
            return {"Entrypoint": command_line(config, command)}
        case typed.Healthcheck():
            said = {name: number for name, number in times(instruction).items() if number}
            return {"Healthcheck": {"Test": list(instruction.test), **said}}
        case typed.Shell(words=words):
            return {"Shell": list(words)}
        case typed.Stopsignal(signal=signal):
            parse_signal(signal)
            return {"StopSignal": signal}
        case typed.Onbuild(trigger=trigger):
            return {"OnBuild": [*(config.get("OnBuild") or []), trigger]}
    return {}


def labels(config: Json, given: Mapping[str, str]) -> Json:
    """The member with more labels, none of them reserved; nothing if there are none at all."""
    found = without_reserved({**(config.get("Labels") or {}), **given})
    return {"Labels": found} if found else {}


def workdir(config: Json, path: str) -> str:
    """A working directory, relative to the one before."""
    before = config.get("WorkingDir") or "/"
    return posixpath.normpath(posixpath.join("/", before, path)).replace("//", "/")


def shell(config: Json) -> list[str]:
    """The words before a command in shell form."""
    return list(config.get("Shell") or ("/bin/sh", "-c"))


def command_line(config: Json, command: typed.CommandLine) -> list[str]:
    """The words of a command; a shell form has the shell before it."""
    return [*shell(config), " ".join(command.words)] if command.shell else list(command.words)


def ports(instruction: typed.Expose) -> list[str]:
    """Each port as ``port/protocol``, ranges in full."""
    return [port for word in instruction.ports for port in _ports(word)]


def _ports(word: str) -> list[str]:
    match = _PORT.fullmatch(word.lower())
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if match is None or not 0 < first <= last <= 65535:
        raise InvalidArgument(f"invalid containerPort: {word}")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]


def times(instruction: typed.Healthcheck) -> dict[str, int]:
    """The numbers of a health check by the names of their members, 0 for what is not said."""
    return {
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
