"""What of a Dockerfile is legal but unwise: the rules of docker's build checks, in its words."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from onggi.archive.ignore import Ignored
from onggi.dockerfile import instructions as typed
from onggi.dockerfile import rules
from onggi.dockerfile.expansion import expand
from onggi.dockerfile.failure import DockerfileError, excerpt, hint
from onggi.dockerfile.variables import Platforms, StageScope, global_values
from onggi.errors import InvalidArgument
from onggi.oci import platform, reference

_RESERVED = ("context", "scratch")
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_LAST_COUNTS = (typed.Cmd, typed.Entrypoint, typed.Healthcheck)
_EVERYTHING = ("*", "**", "**/*")
_REMOTE = re.compile(r"(?:https?|git|ssh)://|git@")


class Finding(msgspec.Struct, frozen=True):
    """One warning: its rule, what is to be said, the lines."""

    rule: str
    message: str
    first_line: int
    last_line: int


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a build gives a Dockerfile.

    ``environment`` tells the variables of an image, None if unknown; ``reached`` are the numbers of the
    stages that are built, None for all.
    """

    platforms: Platforms
    build_args: Mapping[str, str] = {}
    ignored: Ignored | None = None
    environment: Callable[[str], Mapping[str, str] | None] = lambda _: None
    reached: frozenset[int] | None = None


class _Said(NamedTuple):
    """A finding before it is known whether its rule counts."""

    rule: str
    message: str
    place: typed.Instruction


class _Progress(NamedTuple):
    """What a stage leaves to those that begin on it."""

    scope: StageScope
    known: bool
    shell: bool
    workdir: bool


def check(dockerfile: typed.Dockerfile, around: Surroundings) -> list[Finding]:
    """Every finding, by line. Raises InvalidArgument for a bad ``check`` directive."""
    chosen = _choice(dockerfile, around)
    found = [
        Finding("NoEmptyContinuation", "Empty continuation line", line, line)
        for line in dockerfile.empty_continuations
        if chosen.counts("NoEmptyContinuation")
    ]
    for rule, message, place in _all(dockerfile, around):
        if chosen.at(place.comments).counts(rule):
            found.append(Finding(rule, message, place.first_line, place.last_line))
    return sorted(found, key=lambda finding: finding.first_line)


def fatal(dockerfile: typed.Dockerfile, around: Surroundings, found: Sequence[Finding]) -> str:
    """The error that findings are where ``error=true`` is set, "" otherwise."""
    if not found or not _choice(dockerfile, around).fatal:
        return ""
    return f"lint violation found for rules: {', '.join(sorted({finding.rule for finding in found}))}"


def report(dockerfile: typed.Dockerfile, found: Sequence[Finding]) -> str:
    """What ``--check`` prints."""
    some = f"{len(found)} warning{'s have' if len(found) > 1 else ' has'} been found!"
    pieces = [f"Check complete, {some if found else 'no warnings found.'}\n"]
    for finding in found:
        place = DockerfileError("", finding.first_line, finding.last_line)
        pieces += [
            f"\nWARNING: {finding.rule} - {rules.page(finding.rule)}\n{finding.message}\n",
            excerpt(place, dockerfile.name, dockerfile.lines) + "\n",
        ]
    return "".join(pieces)


def _choice(dockerfile: typed.Dockerfile, around: Surroundings) -> rules.Choice:
    given = around.build_args.get("BUILDKIT_DOCKERFILE_CHECK")
    return rules.choice(dockerfile.check.split(" ")[0] if given is None else given)


def _all(dockerfile: typed.Dockerfile, around: Surroundings) -> Iterator[_Said]:
    for arg in dockerfile.args:
        yield from _described("ARG", [variable.name for variable in arg.variables], arg)
    yield from _casing(dockerfile)
    yield from _stage_names(dockerfile)
    yield from _bases(dockerfile, around)
    yield from _Stages(dockerfile, around).run()


# -- the file as a whole -------------------------------------------------------------------------------------


def _casing(dockerfile: typed.Dockerfile) -> Iterator[_Said]:
    """Keywords that are not written as most others are."""
    every = [it for stage in dockerfile.stages for it in (stage.origin, *stage.instructions)]
    lower = sum(it.keyword.islower() for it in every)
    upper = sum(it.keyword.isupper() for it in every)
    wanted, case = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
    for instruction in every:
        if instruction.keyword != wanted(instruction.keyword):
            yield _Said(
                "ConsistentInstructionCasing",
                f"Command '{instruction.keyword}' should match the case of the command majority ({case})",
                instruction,
            )


def _stage_names(dockerfile: typed.Dockerfile) -> Iterator[_Said]:
    seen: set[str] = set()
    for origin in (stage.origin for stage in dockerfile.stages):
        name = origin.name
        if not name:
            continue
        word, written = origin.text.split()[-2:]
        if written != name:
            yield _Said("StageNameCasing", f"Stage name '{written}' should be lowercase", origin)
        if _other_case(origin.keyword, word):
            clash = f"'{word}' and '{origin.keyword}' keywords' casing do not match"
            yield _Said("FromAsCasing", clash, origin)
        if name in _RESERVED:
            reserved = f'Stage name should not use the same name as reserved stage "{name}"'
            yield _Said("ReservedStageName", reserved, origin)
        if name in seen:
            twice = f'Duplicate stage name "{name}", stage names should be unique'
            yield _Said("DuplicateStageName", twice, origin)
        seen.add(name)
        yield from _described("FROM", [name], origin)


def _other_case(keyword: str, word: str) -> bool:
    if keyword.islower():
        return not word.islower()
    return keyword.isupper() and not word.isupper()


def _described(what: str, names: Sequence[str], place: typed.Instruction) -> Iterator[_Said]:
    """A comment above a definition that does not begin with its name."""
    if place.comments and place.comments[-1].split(" ")[0] not in names:
        example = names[0] if len(names) == 1 else "<arg_key>"
        message = f"Comment for {what} should follow the format: `# {example} <description>`"
        yield _Said("InvalidDefinitionDescription", message, place)


# -- what FROM names -----------------------------------------------------------------------------------------


def _bases(dockerfile: typed.Dockerfile, around: Surroundings) -> Iterator[_Said]:
    values = global_values(dockerfile, around.build_args, around.platforms)
    defaults = global_values(dockerfile, {}, around.platforms)
    declared = set(values) | {variable.name for arg in dockerfile.args for variable in arg.variables}
    for origin in (stage.origin for stage in dockerfile.stages):
        try:
            if not _is_reference(expand(origin.base, defaults, dockerfile.escape).text):
                invalid = f"Default value for ARG {origin.base} results in empty or invalid base image name"
                yield _Said("InvalidDefaultArgInFrom", invalid, origin)
            base = expand(origin.base, values, dockerfile.escape)
            wanted = expand(origin.platform, values, dockerfile.escape)
        except InvalidArgument:
            continue
        for name in sorted((base.missing | wanted.missing) - declared):
            undeclared = f"FROM argument '{name}' is not declared{hint(name, declared)}"
            yield _Said("UndefinedArgInFrom", undeclared, origin)
        if origin.platform and not wanted.missing:
            yield from _platform(origin, wanted.text, wanted.used, values)


def _platform(
    origin: typed.From, wanted: str, used: frozenset[str], values: Mapping[str, str]
) -> Iterator[_Said]:
    if used == {"TARGETPLATFORM"} and wanted == values["TARGETPLATFORM"]:
        redundant = f"Setting platform to predefined {origin.platform} in FROM is redundant"
        yield _Said("RedundantTargetPlatform", f"{redundant} as this is the default behavior", origin)
    if used:
        return
    try:
        parsed = platform.parse(wanted)
    except InvalidArgument:
        return
    if parsed.os not in origin.name and parsed.architecture not in origin.name:
        constant = f'FROM --platform flag should not use constant value "{wanted}"'
        yield _Said("FromPlatformFlagConstDisallowed", constant, origin)


def _is_reference(text: str) -> bool:
    try:
        reference.parse(text)
    except InvalidArgument:
        return False
    return True


# -- stages --------------------------------------------------------------------------------------------------


class _Stages:
    """Goes through the stages in their order, each beginning where the one it stands on ended."""

    def __init__(self, dockerfile: typed.Dockerfile, around: Surroundings) -> None:
        self._dockerfile, self._around = dockerfile, around
        self._values = global_values(dockerfile, around.build_args, around.platforms)
        self._done: dict[str, _Progress] = {}

    def run(self) -> Iterator[_Said]:
        for number, stage in enumerate(self._dockerfile.stages):
            if self._around.reached is not None and number not in self._around.reached:
                continue
            progress = self._begin(stage.origin)
            last: dict[type[typed.Instruction], typed.Instruction] = {}
            for instruction in stage.instructions:
                try:
                    yield from self._instruction(instruction, progress)
                except DockerfileError:
                    break  # the build says so itself
                if before := last.get(type(instruction)):
                    yield _multiple(before, instruction)
                if isinstance(instruction, _LAST_COUNTS):
                    last[type(instruction)] = instruction
                progress = progress._replace(
                    shell=progress.shell or isinstance(instruction, typed.Shell),
                    workdir=progress.workdir or isinstance(instruction, typed.Workdir),
                )
            if stage.origin.name:
                self._done[stage.origin.name] = progress

    def _begin(self, origin: typed.From) -> _Progress:
        escape, build_args = self._dockerfile.escape, self._around.build_args
        try:
            base = expand(origin.base, self._values, escape).text
        except InvalidArgument:
            base = ""
        if below := self._done.get(base):
            return below._replace(scope=below.scope.child())
        environment = {} if base == "scratch" else self._around.environment(base)
        scope = StageScope({"PATH": "", **(environment or {})}, self._values, build_args, escape)
        return _Progress(scope, known=environment is not None, shell=False, workdir=False)

    def _instruction(self, instruction: typed.Instruction, progress: _Progress) -> Iterator[_Said]:
        options = list(progress.scope.variables)
        taken = progress.scope.take(instruction)
        if progress.known:
            for name in sorted(taken.missing):
                near = hint(name, options).replace("mean ", "mean $")
                yield _Said("UndefinedVar", f"Usage of undefined variable '${name}'{near}", instruction)
        yield from _by_itself(instruction)
        match taken.instruction:
            case typed.Cmd(command=command) | typed.Entrypoint(command=command):
                if command.shell and not progress.shell:
                    yield _json(instruction)
            case typed.Workdir(path=path) if not progress.workdir and not path.startswith("/"):
                relative = f'Relative workdir "{path}" can have unexpected results if the base image changes'
                yield _Said("WorkdirRelativePath", relative, instruction)
            case typed.Expose(ports=ports):
                yield from _ports(ports, instruction)
            case typed.Copy(origin="", sources=sources):
                yield from self._sources("Copy", sources, instruction)
            case typed.Add(sources=sources):
                local = [source for source in sources if not _REMOTE.match(source)]
                yield from self._sources("Add", local, instruction)

    def _sources(self, verb: str, sources: Sequence[str], place: typed.Instruction) -> Iterator[_Said]:
        """Sources that the ignore file leaves out; with a ``!`` in it there is no telling."""
        ignored = self._around.ignored
        if ignored is None or ignored.takes_back:
            return
        for source in sources:
            path = posixpath.normpath(source)
            whole = path in (".", "/")
            if whole and not any(rule.pattern in _EVERYTHING for rule in ignored.rules):
                continue
            if whole or path.lstrip("/") in ignored:
                lost = f'Attempting to {verb} file "{path}" that is excluded by .dockerignore'
                yield _Said("CopyIgnoredFile", lost, place)


def _by_itself(instruction: typed.Instruction) -> Iterator[_Said]:
    """What needs no more than the instruction."""
    match instruction:
        case typed.Maintainer():
            deprecated = "Maintainer instruction is deprecated in favor of using label"
            yield _Said("MaintainerDeprecated", deprecated, instruction)
        case typed.Arg(variables=variables):
            names = [variable.name for variable in variables]
            yield from _described("ARG", names, instruction)
            yield from _secrets("ARG", names, instruction)
        case typed.Env(pairs=pairs):
            yield from _legacy(pairs, instruction)
            yield from _secrets("ENV", [pair.name for pair in pairs], instruction)
        case typed.Label(pairs=pairs):
            yield from _legacy(pairs, instruction)


def _secrets(what: str, names: Sequence[str], place: typed.Instruction) -> Iterator[_Said]:
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            message = f'Do not use ARG or ENV instructions for sensitive data ({what} "{name}")'
            yield _Said("SecretsUsedInArgOrEnv", message, place)


def _legacy(pairs: Sequence[typed.Pair], place: typed.Instruction) -> Iterator[_Said]:
    keyword = place.keyword
    for pair in pairs:
        if pair.legacy:
            message = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            yield _Said("LegacyKeyValueFormat", message, place)


def _json(place: typed.Instruction) -> _Said:
    why = "to prevent unintended behavior related to OS signals"
    return _Said("JSONArgsRecommended", f"JSON arguments recommended for {place.keyword} {why}", place)


def _multiple(before: typed.Instruction, instruction: typed.Instruction) -> _Said:
    message = f"Multiple {instruction.keyword} instructions should not be used in the same stage"
    return _Said(
        "MultipleInstructionsDisallowed", f"{message} because only the last one will be used", before
    )


def _ports(ports: Sequence[str], place: typed.Instruction) -> Iterator[_Said]:
    for port in ports:
        protocol = port.rpartition(":")[2].partition("/")[2]
        if protocol != protocol.lower():
            casing = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
            yield _Said("ExposeProtoCasing", casing, place)
        if ":" in port:
            mapped = "EXPOSE instruction should not define an IP address or host-port mapping"
            yield _Said("ExposeInvalidFormat", f"{mapped}, found '{port}'", place)
