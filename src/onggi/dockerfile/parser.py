"""From statements to typed instructions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from onggi import quantities
from onggi.dockerfile import instructions as typed
from onggi.dockerfile import mounts, syntax
from onggi.dockerfile.expansion import SPACE, expand
from onggi.dockerfile.failure import DockerfileError, hint, placed
from onggi.dockerfile.flags import Flags, Kind
from onggi.dockerfile.syntax import Statement
from onggi.errors import InvalidArgument, Unsupported

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_LEAST_INTERVAL = 10**6
_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")
_TEXT, _TRUTH = Kind.TEXT, Kind.BOOLEAN
_TRANSFER = {"chown": _TEXT, "chmod": _TEXT, "link": _TRUTH, "exclude": Kind.TEXTS}
_FLAGS: dict[str, dict[str, Kind]] = {
    "FROM": {"platform": _TEXT},
    "RUN": {"mount": Kind.TEXTS, "network": _TEXT, "security": _TEXT, "device": Kind.REFUSED},
    "COPY": {**_TRANSFER, "from": _TEXT, "parents": _TRUTH},
    "ADD": {**_TRANSFER, "checksum": _TEXT, "keep-git-dir": _TRUTH, "unpack": _TRUTH},
    "HEALTHCHECK": dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), _TEXT),
}


def parse(data: bytes, name: str = "Dockerfile") -> typed.Dockerfile:
    """Parse a whole file; raises DockerfileError, or Unsupported for what is not done here."""
    source = syntax.read(data)
    args: list[typed.Arg] = []
    stages: list[tuple[typed.From, list[typed.Instruction]]] = []
    for statement in source.statements:
        instruction = type_statement(statement)
        if isinstance(instruction, typed.From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, typed.Arg):
            args.append(instruction)
        else:
            raise _placed(statement, "no build stage in current context (expected FROM before it)")
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build (expected a FROM)")
    return typed.Dockerfile(
        stages=tuple(typed.Stage(origin, tuple(body)) for origin, body in stages),
        args=tuple(args),
        escape=source.escape,
        check=source.directives.get("check", ""),
        empty_continuations=source.empty_continuations,
        name=name,
        lines=source.lines,
    )


def parse_trigger(text: str, origin: typed.From) -> typed.Instruction:
    """The instruction of an ONBUILD in a base image, with the lines of the FROM that named the image."""
    source = syntax.read(text.encode())
    if len(source.statements) != 1:
        raise _placed(origin, "onbuild trigger should be a single expression")
    place = {"first_line": origin.first_line, "last_line": origin.last_line}
    instruction = type_statement(msgspec.structs.replace(source.statements[0], **place))
    if isinstance(instruction, typed.From | typed.Onbuild | typed.Maintainer):
        raise _placed(origin, f"{instruction.keyword.upper()} isn't allowed as an ONBUILD trigger")
    return instruction


def _placed(place: Statement | typed.Instruction, problem: str) -> DockerfileError:
    return DockerfileError(problem, place.first_line, place.last_line)


def type_statement(statement: Statement) -> typed.Instruction:
    """One statement as its instruction; raises DockerfileError with its lines."""
    keyword = statement.keyword.upper()
    make = _MAKERS.get(keyword)
    if make is None:
        unknown = f"unknown instruction: {statement.keyword}"
        raise _placed(statement, unknown + hint(statement.keyword, syntax.KEYWORDS, fold=True))
    if any("\0" in word for word in statement.words):
        raise _placed(statement, f"{keyword} cannot have a NUL byte in its arguments")
    try:
        with placed(statement):
            return make(statement, Flags(statement.flags, _FLAGS.get(keyword, {})))
    except Unsupported as error:
        raise Unsupported(f"{keyword} {error} (dockerfile line {statement.first_line})") from None


def _base(statement: Statement) -> dict[str, Any]:
    """The fields that every instruction has."""
    return {
        "first_line": statement.first_line,
        "last_line": statement.last_line,
        "text": statement.text.strip(SPACE),
        "keyword": statement.keyword,
        "comments": statement.comments,
    }


def _only(statement: Statement) -> str:
    if len(statement.words) != 1:
        raise InvalidArgument(f"{statement.keyword.upper()} requires exactly one argument")
    return statement.words[0]


def _some(statement: Statement) -> tuple[str, ...]:
    if not statement.words:
        raise InvalidArgument(f"{statement.keyword.upper()} requires at least one argument")
    return statement.words


def _from(statement: Statement, flags: Flags) -> typed.From:
    name = ""
    match statement.words:
        case (base,):
            pass
        case (base, middle, written) if middle.upper() == "AS":
            name = written.lower()
            if not _STAGE_NAME.fullmatch(name):
                raise InvalidArgument(
                    f'invalid name for build stage: "{written}", '
                    "name can't start with a number or contain symbols"
                )
        case _:
            raise InvalidArgument("FROM requires either one or three arguments")
    return typed.From(**_base(statement), base=base, name=name, platform=flags.text("platform"))


def _command(statement: Statement, words: tuple[str, ...]) -> typed.CommandLine:
    return typed.CommandLine(words, shell=not statement.json)


def _run(statement: Statement, flags: Flags) -> typed.Run:
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in _NETWORKS:
        raise InvalidArgument(f'invalid network mode "{network}"{hint(network, _NETWORKS)}')
    if security not in _SECURITY:
        raise InvalidArgument(f'security "{security}" is not valid{hint(security, _SECURITY)}')
    for option in flags.texts("mount"):
        mounts.check(option)
    if not any(statement.words):
        raise InvalidArgument("RUN requires at least one argument")
    return typed.Run(
        **_base(statement),
        command=_command(statement, statement.words),
        heredocs=statement.heredocs,
        mount_options=flags.texts("mount"),
        network=network,
        security=security,
    )


def _transfer(statement: Statement, flags: Flags) -> dict[str, Any]:
    """The fields that COPY and ADD share."""
    keyword = statement.keyword.upper()
    if len(statement.words) < 2:
        only = ", but only one was provided" if statement.words else ""
        raise InvalidArgument(
            f"{keyword} requires at least two arguments{only}. Destination could not be determined"
        )
    *sources, destination = statement.words
    if syntax.heredoc_of(destination):
        raise InvalidArgument(f"{keyword} cannot accept a heredoc as a destination")
    documents = {heredoc.name: heredoc for heredoc in statement.heredocs}
    files = [(source, syntax.heredoc_of(source)) for source in sources]
    return {
        "sources": tuple(source for source, heredoc in files if not heredoc),
        "files": tuple(documents.get(heredoc.name, heredoc) for _, heredoc in files if heredoc),
        "destination": destination,
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": flags.true("link"),
        "exclude": flags.texts("exclude"),
    }


def _copy(statement: Statement, flags: Flags) -> typed.Copy:
    origin = flags.text("from")
    if expand(origin, {}).text != origin:
        raise InvalidArgument(
            "variable expansion is not supported for --from, "
            "define a new stage with FROM using ARG from global scope as a workaround"
        )
    return typed.Copy(
        **_base(statement),
        **_transfer(statement, flags),
        origin=origin,
        parents=flags.true("parents"),
    )


def _add(statement: Statement, flags: Flags) -> typed.Add:
    return typed.Add(
        **_base(statement),
        **_transfer(statement, flags),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.maybe("keep-git-dir"),
        unpack=flags.maybe("unpack"),
    )


def _pairs(statement: Statement) -> tuple[typed.Pair, ...]:
    words = _some(statement)
    rows = [words[i : i + 3] for i in range(0, len(words), 3)]
    if not all(name for name, _, _ in rows):
        raise InvalidArgument(f"{statement.keyword.upper()} names can not be blank")
    return tuple(typed.Pair(name, value, legacy=not separator) for name, value, separator in rows)


def _env(statement: Statement, flags: Flags) -> typed.Env:
    return typed.Env(**_base(statement), pairs=_pairs(statement))


def _label(statement: Statement, flags: Flags) -> typed.Label:
    return typed.Label(**_base(statement), pairs=_pairs(statement))


def _arg(statement: Statement, flags: Flags) -> typed.Arg:
    parts = [word.partition("=") for word in _some(statement)]
    if not all(name for name, _, _ in parts):
        raise InvalidArgument("ARG names can not be blank")
    variables = [typed.Variable(name, value if equals else None) for name, equals, value in parts]
    return typed.Arg(**_base(statement), variables=tuple(variables))


def _workdir(statement: Statement, flags: Flags) -> typed.Workdir:
    return typed.Workdir(**_base(statement), path=_only(statement))


def _user(statement: Statement, flags: Flags) -> typed.User:
    return typed.User(**_base(statement), user=_only(statement))


def _expose(statement: Statement, flags: Flags) -> typed.Expose:
    return typed.Expose(**_base(statement), ports=tuple(sorted(_some(statement))))


def _volume(statement: Statement, flags: Flags) -> typed.Volume:
    paths = tuple(word.strip(SPACE) for word in _some(statement))
    if not all(paths):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    return typed.Volume(**_base(statement), paths=paths)


def _cmd(statement: Statement, flags: Flags) -> typed.Cmd:
    return typed.Cmd(**_base(statement), command=_command(statement, statement.words))


def _entrypoint(statement: Statement, flags: Flags) -> typed.Entrypoint:
    return typed.Entrypoint(**_base(statement), command=_command(statement, statement.words))


def _healthcheck(statement: Statement, flags: Flags) -> typed.Healthcheck:
    kind, *command = _some(statement)
    match kind.upper():
        case "NONE" if command:
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        case "NONE":
            return typed.Healthcheck(**_base(statement), test=("NONE",))
        case "CMD" if not command:
            raise InvalidArgument("Missing command after HEALTHCHECK CMD")
        case "CMD":
            head = "CMD" if statement.json else "CMD-SHELL"
        case _:
            raise InvalidArgument(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    return typed.Healthcheck(
        **_base(statement),
        test=(head, *command),
        interval=_interval(flags, "interval"),
        timeout=_interval(flags, "timeout"),
        start_period=_interval(flags, "start-period"),
        start_interval=_interval(flags, "start-interval"),
        retries=_retries(flags.text("retries", "0")),
    )


def _interval(flags: Flags, name: str) -> int:
    value = quantities.duration(flags.text(name) or "0")
    if value and value < _LEAST_INTERVAL:
        raise InvalidArgument(f'Interval "{name}" cannot be less than 1ms')
    return value


def _retries(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]+", text):
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > len("-2147483648") or abs(int(text)) >= 1 << 31:
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": value out of range')
    if int(text) < 0:
        raise InvalidArgument(f"--retries cannot be negative ({int(text)})")
    return int(text)


def _shell(statement: Statement, flags: Flags) -> typed.Shell:
    words = _some(statement)
    if not statement.json:
        raise InvalidArgument("SHELL requires the arguments to be in JSON form")
    return typed.Shell(**_base(statement), words=words)


def _stopsignal(statement: Statement, flags: Flags) -> typed.Stopsignal:
    return typed.Stopsignal(**_base(statement), signal=_only(statement))


def _onbuild(statement: Statement, flags: Flags) -> typed.Onbuild:
    nested = statement.nested
    if nested is None:
        raise InvalidArgument("ONBUILD requires at least one argument")
    keyword = nested.keyword.upper()
    if keyword == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise InvalidArgument(f"{keyword} isn't allowed as an ONBUILD trigger")
    documents = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    trigger = re.sub(r"(?i)^\s*ONBUILD\s*", "", statement.text)
    return typed.Onbuild(**_base(statement), trigger=trigger + documents)


def _maintainer(statement: Statement, flags: Flags) -> typed.Maintainer:
    return typed.Maintainer(**_base(statement), name=_only(statement))


_MAKERS: dict[str, Callable[[Statement, Flags], typed.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
