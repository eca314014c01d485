"""What an instruction makes of an image's configuration. Pure.

Source: the Dockerfile reference, and histories of images that docker 28 built.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from onggi.build.state import State
from onggi.containers.times import duration
from onggi.dockerfile import instructions as typed
from onggi.errors import InvalidArgument
from onggi.oci.image import without_reserved
from onggi.oci.signals import parse_signal

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\w+))?")


def apply(state: State, instruction: typed.Instruction) -> State | None:
    """The state behind an instruction whose words are expanded; None for one that makes a layer.

    Raises InvalidArgument.
    """
    change = _CHANGES.get(type(instruction))
    return change(state, instruction) if change else None


def workdir(state: State, path: str) -> str:
    """A working directory, relative to the one before."""
    return posixpath.normpath(posixpath.join("/", state.directory, path)).replace("//", "/")


def command_line(state: State, command: typed.CommandLine) -> list[str]:
    """The words of a command; a shell form has the stage's shell before it."""
    return [*state.shell, " ".join(command.words)] if command.shell else list(command.words)


def add_env(env: Iterable[str], name: str, value: str) -> list[str]:
    """Variables with one more, in the place of one of its name."""
    found = dict(it.partition("=")[::2] for it in env)
    found[name] = value
    return [f"{key}={text}" for key, text in found.items()]


def with_labels(state: State, labels: Mapping[str, str]) -> State:
    """With the labels of a request, which no step tells of."""
    own = without_reserved(dict(labels))
    return state.changed(Labels={**(state.config.get("Labels") or {}), **own}) if own else state


def _env(state: State, instruction: typed.Env) -> State:
    env = state.config.get("Env") or []
    for pair in instruction.pairs:
        env = add_env(env, pair.name, pair.value)
    found = {pair.name: pair.value for pair in instruction.pairs}
    return state.changed(Env=env).told("ENV" + _listed(found))


def _label(state: State, instruction: typed.Label) -> State:
    found = {pair.name: pair.value for pair in instruction.pairs}
    return with_labels(state, found).told("LABEL" + _listed(found))


def _listed(found: Mapping[str, str]) -> str:
    return "".join(f" {name}={value}" for name, value in found.items())


def _arg(state: State, instruction: typed.Arg) -> State:
    told = [it.name if it.default is None else f"{it.name}={it.default}" for it in instruction.variables]
    return state.told("ARG " + " ".join(told))


def _user(state: State, instruction: typed.User) -> State:
    return state.changed(User=instruction.user).told(f"USER {instruction.user}")


def _expose(state: State, instruction: typed.Expose) -> State:
    ports = [port for word in instruction.ports for port in _ports(word)]
    exposed = {**(state.config.get("ExposedPorts") or {}), **{port: {} for port in ports}}
    return state.changed(ExposedPorts=exposed).told(f"EXPOSE [{' '.join(ports)}]")


def _ports(word: str) -> list[str]:
    match = _PORT.fullmatch(word.lower())
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if match is None or not 0 < first <= last <= 65535 or match[3] not in (None, "tcp", "udp", "sctp"):
        raise InvalidArgument(f"invalid containerPort: {word}")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]


def _volume(state: State, instruction: typed.Volume) -> State:
    volumes = {**(state.config.get("Volumes") or {}), **{path: {} for path in instruction.paths}}
    return state.changed(Volumes=volumes).told(f"VOLUME [{' '.join(instruction.paths)}]")


def _cmd(state: State, instruction: typed.Cmd) -> State:
    words = command_line(state, instruction.command)
    state = state.changed(Cmd=words, ArgsEscaped=True).told(f"CMD {_quoted(words)}")
    return msgspec.structs.replace(state, own_command=True)


def _entrypoint(state: State, instruction: typed.Entrypoint) -> State:
    words = command_line(state, instruction.command)
    changed = {"Entrypoint": words} | ({} if state.own_command else {"Cmd": None})
    return state.changed(**changed).told(f"ENTRYPOINT {_quoted(words)}")


def _quoted(words: Iterable[str]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _healthcheck(state: State, instruction: typed.Healthcheck) -> State:
    names = {
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
    check = {"Test": list(instruction.test)} | {name: value for name, value in names.items() if value}
    shown = f"&{{{_quoted(instruction.test)} {_times(names)} {_rune(instruction.retries)}}}"
    return state.changed(Healthcheck=check).told(f"HEALTHCHECK {shown}")


def _times(names: Mapping[str, int]) -> str:
    return " ".join(f'"{duration(value)}"' for name, value in names.items() if name != "Retries")


def _rune(number: int) -> str:
    """A number as Go quotes it: as the character that it is of."""
    known = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 39: "\\'", 92: "\\\\"}
    if number in known:
        return f"'{known[number]}'"
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        return "'\ufffd'"
    character = chr(number)
    return f"'{character}'" if character.isprintable() else f"'\\x{number:02x}'"


def _shell(state: State, instruction: typed.Shell) -> State:
    return state.changed(Shell=list(instruction.words)).told(f"SHELL [{' '.join(instruction.words)}]")


def _stopsignal(state: State, instruction: typed.Stopsignal) -> State:
    parse_signal(instruction.signal)
    return state.changed(StopSignal=instruction.signal).told(f"STOPSIGNAL {instruction.signal}")


def _onbuild(state: State, instruction: typed.Onbuild) -> State:
    return state.changed(OnBuild=[*(state.config.get("OnBuild") or []), instruction.trigger])


def _maintainer(state: State, instruction: typed.Maintainer) -> State:
    state = msgspec.structs.replace(state, document={**state.document, "author": instruction.name})
    return state.told(f"MAINTAINER {instruction.name}")


_CHANGES: dict[type[typed.Instruction], Callable[[State, Any], State]] = {
    typed.Arg: _arg,
    typed.Env: _env,
    typed.Label: _label,
    typed.User: _user,
    typed.Expose: _expose,
    typed.Volume: _volume,
    typed.Cmd: _cmd,
    typed.Entrypoint: _entrypoint,
    typed.Healthcheck: _healthcheck,
    typed.Shell: _shell,
    typed.Stopsignal: _stopsignal,
    typed.Onbuild: _onbuild,
    typed.Maintainer: _maintainer,
}
