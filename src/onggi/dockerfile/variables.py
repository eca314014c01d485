"""What variables mean where: the arguments before the first FROM, those of a stage, and what may use them.

ARG and ENV are one row of values, later over earlier, as in BuildKit. A stage sees an argument from before
the first FROM only where its own ARG names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from onggi.dockerfile import instructions as typed
from onggi.dockerfile import mounts
from onggi.dockerfile.expansion import Expanded, Mode, expand
from onggi.dockerfile.failure import hint, placed
from onggi.errors import InvalidArgument
from onggi.oci import platform
from onggi.oci.platform import Platform

_T = TypeVar("_T", bound=typed.Instruction)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
# Fields with variables in them: of one word, and of several.
_WORDS: dict[type[typed.Instruction], tuple[str, ...]] = {
    typed.Copy: ("chown", "chmod", "destination"),
    typed.Add: ("chown", "chmod", "checksum", "destination"),
    typed.Workdir: ("path",),
    typed.User: ("user",),
    typed.Stopsignal: ("signal",),
}
_ROWS: dict[type[typed.Instruction], tuple[str, ...]] = {
    typed.Copy: ("sources",),
    typed.Add: ("sources",),
    typed.Volume: ("paths",),
}
# The text of a file has quotes of its own.
_IN_FILES = Mode(plain_quotes=True)


class Platforms(NamedTuple):
    """Where the build runs, and what it is for."""

    build: Platform
    target: Platform


class Base(NamedTuple):
    """What a FROM names, its variables replaced; the platform is None where none was asked for."""

    name: str
    platform: Platform | None
    used: frozenset[str]


class Taken(NamedTuple):
    """An instruction with its variables replaced, and the names that had no value."""

    instruction: typed.Instruction
    missing: frozenset[str]


def global_values(
    dockerfile: typed.Dockerfile, build_args: Mapping[str, str], platforms: Platforms, target: str = ""
) -> dict[str, str]:
    """What FROM lines see: platforms, and the ARGs before the first FROM; ``target`` is the stage wanted."""
    values = platform_values(platforms, target or dockerfile.stages[-1].origin.name or "default")
    values |= {name: build_args[name] for name in values if name in build_args}
    for arg in dockerfile.args:
        for variable in arg.variables:
            value = build_args.get(variable.name)
            if value is None and variable.default is not None:
                with placed(arg):
                    value = expand(variable.default, values, dockerfile.escape).text
            if value is not None:
                values[variable.name] = value
    return values


def platform_values(platforms: Platforms, stage: str) -> dict[str, str]:
    """The arguments that every build has, by name."""
    values: dict[str, str] = {}
    for prefix, where in (("BUILD", platforms.build), ("TARGET", platforms.target)):
        # What every arm64 machine is needs no name.
        variant = "" if (where.architecture, where.variant) == ("arm64", "v8") else where.variant
        values |= {
            f"{prefix}PLATFORM": str(Platform(where.os, where.architecture, variant)),
            f"{prefix}OS": where.os,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": where.architecture,
            f"{prefix}VARIANT": variant,
        }
    return {**values, "TARGETSTAGE": stage}


def base_of(origin: typed.From, values: Mapping[str, str], escape: str = "\\") -> Base:
    """What a FROM names; raises DockerfileError."""
    with placed(origin):
        name = expand(origin.base, values, escape)
        wanted = expand(origin.platform, values, escape)
        if not name.text:
            raise InvalidArgument(f"base name ({origin.base}) should not be blank{_near(name, values)}")
        if not origin.platform:
            return Base(name.text, None, name.used)
        return Base(name.text, _platform(origin.platform, wanted, values), name.used | wanted.used)


def _platform(written: str, wanted: Expanded, values: Mapping[str, str]) -> Platform:
    try:
        if not wanted.text:
            raise InvalidArgument(f"empty platform value from expression {written}")
        return platform.parse(wanted.text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error}{_near(wanted, values)}") from None


def _near(found: Expanded, values: Mapping[str, str]) -> str:
    """What may have been meant by a name without a value."""
    return next((near for name in sorted(found.missing) if (near := hint(name, values))), "")


class StageScope:
    """Goes through the instructions of one stage in their order, and knows what each of them sees.

    ``variables`` is what the next instruction sees and a step's environment has; ``args`` are the ARGs so far
    with their values, None for those without one.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        outside: Mapping[str, str],
        build_args: Mapping[str, str],
        escape: str = "\\",
    ) -> None:
        """Begin with the environment of the base image; ``outside`` is what `global_values` gave."""
        self.variables = dict(environment)
        self.args: list[typed.Variable] = []
        self._outside, self._build_args, self._escape = outside, build_args, escape

    def child(self) -> StageScope:
        """The scope of a stage that begins on this one, which has its variables and its ARGs."""
        scope = StageScope(self.variables, self._outside, self._build_args, self._escape)
        scope.args = list(self.args)
        return scope

    def take(self, instruction: typed.Instruction) -> Taken:
        """The instruction as it is to be done; ARG and ENV count from the next one on.

        Raises DockerfileError.
        """
        if isinstance(instruction, typed.Arg):
            return self._take_arg(instruction)
        missing: set[str] = set()

        def value_of(text: str) -> str:
            result = expand(text, self.variables, self._escape)
            missing.update(result.missing)
            return result.text

        def text_of(text: str) -> str:
            result = expand(text, self.variables, mode=_IN_FILES)
            missing.update(result.missing)
            return result.text

        with placed(instruction):
            expanded = _expanded(instruction, value_of, text_of)
            if isinstance(expanded, typed.Expose):
                expanded = self._expose(expanded)
        if isinstance(expanded, typed.Env):
            self.variables |= {pair.name: pair.value for pair in expanded.pairs}
        return Taken(expanded, frozenset(missing - {arg.name for arg in self.args}))

    def _take_arg(self, instruction: typed.Arg) -> Taken:
        missing: set[str] = set()
        taken: list[typed.Variable] = []
        for variable in instruction.variables:
            value = self._build_args.get(variable.name)
            if value is None and variable.default is not None:
                with placed(instruction):
                    result = expand(variable.default, self.variables, self._escape)
                missing |= result.missing - {arg.name for arg in self.args}
                value = result.text
            elif value is None:
                value = self._outside.get(variable.name)
            if value is not None:
                self.variables[variable.name] = value
            taken.append(typed.Variable(variable.name, value))
            self.args.append(taken[-1])
        return Taken(msgspec.structs.replace(instruction, variables=tuple(taken)), frozenset(missing))

    def _expose(self, instruction: typed.Expose) -> typed.Expose:
        words = [
            word for port in instruction.ports for word in expand(port, self.variables, self._escape).words
        ]
        return msgspec.structs.replace(instruction, ports=tuple(words))


def _expanded(instruction: _T, value_of: Callable[[str], str], text_of: Callable[[str], str]) -> _T:
    """The instruction with every word replaced that may hold variables."""
    kind = type(instruction)
    changes: dict[str, Any] = {name: value_of(getattr(instruction, name)) for name in _WORDS.get(kind, ())}
    for name in _ROWS.get(kind, ()):
        changes[name] = tuple(value_of(word) for word in getattr(instruction, name))
    match instruction:
        case typed.Env(pairs=pairs) | typed.Label(pairs=pairs):
            changes["pairs"] = tuple(
                typed.Pair(value_of(pair.name), value_of(pair.value), pair.legacy) for pair in pairs
            )
        case typed.Run(mount_options=options):
            changes["mounts"] = tuple(mounts.parse(option, value_of) for option in options)
        case typed.Copy(files=files) | typed.Add(files=files):
            changes["files"] = tuple(
                msgspec.structs.replace(file, content=text_of(file.content)) if file.expand else file
                for file in files
            )
    return msgspec.structs.replace(instruction, **changes) if changes else instruction


def proxy_values(build_args: Mapping[str, str]) -> dict[str, str]:
    """The proxies among the build arguments, which steps get without an ARG and which leave no trace."""
    values: dict[str, str] = {}
    for name in sorted(build_args):
        if name.upper() in _PROXIES:
            values |= {name.upper(): build_args[name], name.lower(): build_args[name]}
    return values


def unused_build_args(dockerfile: typed.Dockerfile, build_args: Mapping[str, str]) -> list[str]:
    """Names given with --build-arg that nothing asks for, sorted."""
    body = [instruction for stage in dockerfile.stages for instruction in stage.instructions]
    declared = {
        variable.name
        for arg in (*dockerfile.args, *body)
        if isinstance(arg, typed.Arg)
        for variable in arg.variables
    }
    # What ONBUILD declares is known in the images built on this one only.
    known = declared | set(proxy_values(build_args)) | {"SOURCE_DATE_EPOCH"}
    return sorted(name for name in build_args if name not in known and not name.startswith("BUILDKIT_"))
