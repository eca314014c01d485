"""What an instruction makes of a state: the configuration behind it, and a line of its history. Pure.

Source: histories of images that docker 28 built.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import msgspec

from onggi.build.state import State
from onggi.dockerfile import instructions as typed
from onggi.dockerfile.effects import effect, labels, ports, times
from onggi.times import duration

_WITH_LAYERS = (typed.Run, typed.Transfer, typed.Workdir)


def apply(state: State, instruction: typed.Instruction) -> State | None:
    """The state behind an instruction whose words are expanded; None for one that makes a layer.

    Raises InvalidArgument.
    """
    if isinstance(instruction, _WITH_LAYERS):
        return None
    made = effect(state.config, instruction)
    match instruction:
        case typed.Cmd():
            state = msgspec.structs.replace(state, own_command=True)
            made["ArgsEscaped"] = True
        case typed.Entrypoint() if not state.own_command:
            made["Cmd"] = None
        case typed.Maintainer(name=name):
            state = state.member("author", name)
    state = state.changed(**made) if made else state
    told = _told(state, instruction)
    return state.told(told) if told else state


def with_labels(state: State, given: Mapping[str, str]) -> State:
    """With the labels of a request, which no step tells of."""
    made = labels(state.config, given)
    return state.changed(**made) if made else state


def _told(state: State, instruction: typed.Instruction) -> str:
    """An instruction as the history tells it, in the state behind it; empty for what it does not tell."""
    match instruction:
        case typed.Env(pairs=pairs):
            return "ENV" + _listed(pairs)
        case typed.Label(pairs=pairs):
            return "LABEL" + _listed(pairs)
        case typed.Arg(variables=variables):
            return " ".join(["ARG", *(_variable(it) for it in variables)])
        case typed.User(user=user):
            return f"USER {user}"
        case typed.Expose():
            return f"EXPOSE [{' '.join(ports(instruction))}]"
        case typed.Volume(paths=paths):
            return f"VOLUME [{' '.join(paths)}]"
        case typed.Cmd():
            return f"CMD {_quoted(state.config['Cmd'])}"
        case typed.Entrypoint():
            return f"ENTRYPOINT {_quoted(state.config['Entrypoint'])}"
        case typed.Healthcheck(test=test, retries=retries):
            return f"HEALTHCHECK &{{{_quoted(test)} {_times(instruction)} {_rune(retries)}}}"
        case typed.Shell(words=words):
            return f"SHELL [{' '.join(words)}]"
        case typed.Stopsignal(signal=signal):
            return f"STOPSIGNAL {signal}"
        case typed.Maintainer(name=name):
            return f"MAINTAINER {name}"
    return ""


def _listed(pairs: Iterable[typed.Pair]) -> str:
    found = {pair.name: pair.value for pair in pairs}
    return "".join(f" {name}={value}" for name, value in found.items())


def _variable(variable: typed.Variable) -> str:
    return variable.name if variable.default is None else f"{variable.name}={variable.default}"


def _quoted(words: Iterable[str]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _times(instruction: typed.Healthcheck) -> str:
    return " ".join(f'"{duration(ns)}"' for name, ns in times(instruction).items() if name != "Retries")


def _rune(number: int) -> str:
    """A number as Go quotes it: as the character that it is of."""
    known = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 39: "\\'", 92: "\\\\"}
    if number in known:
        return f"'{known[number]}'"
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        return "'\ufffd'"
    character = chr(number)
    return f"'{character}'" if character.isprintable() else f"'\\x{number:02x}'"
