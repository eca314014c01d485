"""Changes to an image config in Dockerfile words: the ``--change`` of import and commit.

Source: docker's reference of ``docker import`` and the Dockerfile reference of each instruction.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any

from onggi.errors import InvalidArgument
from onggi.images.words import pairs, words
from onggi.oci.image import without_reserved
from onggi.oci.signals import parse_signal

Json = Any
_SHELL = ["/bin/sh", "-c"]
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PORT = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?")
_HEALTH_FLAG = re.compile(r"--(interval|timeout|start-period|start-interval|retries)=(\S+)\s*")
_HEALTH_KEYS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}


def apply(config: Json, changes: Sequence[str]) -> Json:
    """The config with the changes made, in order; raises InvalidArgument with docker's words."""
    config = json.loads(json.dumps(config))
    seen: set[str] = set()
    for line in changes:
        name, _, rest = line.strip().partition(" ")
        handler = _HANDLERS.get(name.upper())
        if handler is None:
            raise InvalidArgument(f"{name.upper()} is not a valid change command")
        rest = rest.strip()
        if not rest:
            raise InvalidArgument(f"{name.upper()} requires at least one argument")
        handler(config, rest)
        if name.upper() == "ENTRYPOINT" and "CMD" not in seen and rest != "[]":
            config.pop("Cmd", None)
        seen.add(name.upper())
    return config


def _cmd(config: Json, rest: str) -> None:
    config["Cmd"] = _command(rest)


def _entrypoint(config: Json, rest: str) -> None:
    """An empty list is none, and leaves what is there, as in docker."""
    config["Entrypoint"] = _command(rest) or config.get("Entrypoint")


def _command(rest: str) -> list[str]:
    listed = _json_list(rest)
    return [*_SHELL, rest] if listed is None else listed


def _json_list(rest: str) -> list[str] | None:
    """The exec form, or None if this is the shell form."""
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _env(config: Json, rest: str) -> None:
    known = dict(item.partition("=")[::2] for item in config.get("Env") or [])
    known |= dict(pairs("ENV", rest, known))
    config["Env"] = [f"{name}={value}" for name, value in known.items()]


def _label(config: Json, rest: str) -> None:
    labels = (config.get("Labels") or {}) | dict(pairs("LABEL", rest, _environment(config)))
    config["Labels"] = without_reserved(labels)


def _expose(config: Json, rest: str) -> None:
    ports = config.setdefault("ExposedPorts", {})
    for word in words(rest, _environment(config)):
        match = _PORT.fullmatch(word.lower())
        first = int(match[1]) if match else -1
        last = int(match[2] or first) if match else -1
        if match is None or not 0 < first <= last <= 65535:
            raise InvalidArgument(f"invalid containerPort: {word}")
        for port in range(first, last + 1):
            ports[f"{port}/{match[3] or 'tcp'}"] = {}


def _user(config: Json, rest: str) -> None:
    config["User"] = _one("USER", rest, config)


def _volume(config: Json, rest: str) -> None:
    volumes = config.setdefault("Volumes", {})
    for path in _json_list(rest) or words(rest, _environment(config)):
        if not path.strip():
            raise InvalidArgument("VOLUME specified can not be an empty string")
        volumes[path] = {}


def _workdir(config: Json, rest: str) -> None:
    before = config.get("WorkingDir") or "/"
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", before, _one("WORKDIR", rest, config)))


def _stopsignal(config: Json, rest: str) -> None:
    config["StopSignal"] = _one("STOPSIGNAL", rest, config)
    parse_signal(config["StopSignal"])


def _onbuild(config: Json, rest: str) -> None:
    trigger = rest.split()[0].upper()
    if trigger == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
    config.setdefault("OnBuild", []).append(rest)


def _healthcheck(config: Json, rest: str) -> None:
    check: Json = {}
    while match := _HEALTH_FLAG.match(rest):
        name, value = match[1], match[2]
        check[_HEALTH_KEYS[name]] = _count(value) if name == "retries" else _duration(name, value)
        rest = rest[match.end() :]
    if rest.startswith("--"):
        raise InvalidArgument(f"unknown flag: {rest.partition('=')[0]}")
    check["Test"] = _probe(*rest.partition(" ")[::2])
    # What is not said stays that of the container, as in docker.
    said = {key: value for key, value in check.items() if value}
    config["Healthcheck"] = (config.get("Healthcheck") or {}) | said


def _probe(kind: str, command: str) -> list[str]:
    command = command.strip()
    match kind.upper():
        case "NONE" if command:
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        case "NONE":
            return ["NONE"]
        case "CMD" if not command:
            raise InvalidArgument("Missing command after HEALTHCHECK CMD")
        case "CMD":
            listed = _json_list(command)
            return ["CMD-SHELL", command] if listed is None else ["CMD", *listed]
    raise InvalidArgument(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')


def _duration(name: str, text: str) -> int:
    """Nanoseconds of a Go duration."""
    if not _DURATION.fullmatch(text):
        raise InvalidArgument(f'time: invalid duration "{text}"')
    found = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    total = sum(int(float(number) * _UNITS[unit]) for number, unit in found)
    if 0 < total < 10**6:
        raise InvalidArgument(f'Interval "{name}" cannot be less than 1ms')
    return total


def _count(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise InvalidArgument(f"--retries cannot be negative ({text})")
    return int(text)


def _one(name: str, rest: str, config: Json) -> str:
    found = words(rest, _environment(config))
    if len(found) != 1:
        raise InvalidArgument(f"{name} requires exactly one argument")
    return found[0]


def _environment(config: Json) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in config.get("Env") or [])


_HANDLERS: dict[str, Callable[[Json, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
