"""Entry of the ``onggi`` command: global flags, dispatch, and where errors become words and exit codes."""

from __future__ import annotations

import os
import sys

from onggi.cli import registry
from onggi.cli.command import PROGRAM, ArgumentError, Cli, Command, Failure, Flag, Options, UsageError
from onggi.cli.parser import HelpWanted, check_arguments, parse, used_as, wrong_count
from onggi.cli.signals import die_of_broken_pipe
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


GLOBAL_FLAGS: tuple[Flag, ...] = (
    ("config", "", "string", "", "Directory of docker's client configuration"),
    ("context", "c", "string", "", "Name of the docker context that holds the engine's address"),
    ("debug", "D", "bool", "", "Say more when something goes wrong"),
    ("host", "H", "list", "", "Address of the engine"),
    ("log-level", "l", "string", "info", 'How much to say ("debug", "info", "warn", "error", "fatal")'),
    ("tls", "", "bool", "", "Use TLS; implied by --tlsverify"),
    ("tlscacert", "", "string", "", "Certificate of the authority to trust"),
    ("tlscert", "", "string", "", "Certificate to show"),
    ("tlskey", "", "string", "", "Key of that certificate"),
    ("tlsverify", "", "bool", "", "Use TLS and verify the engine"),
    ("version", "v", "bool", "", "Print the version"),
)
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal", "panic", "trace", "warning")


def main(argv: list[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    die_of_broken_pipe()
    try:
        status = _main(argv)
    except Failure as failure:
        _complain(str(failure))
        status = failure.status
    except ClientError as error:
        _complain(str(error))
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.stdout.flush()
    return status


def entry() -> NoReturn:
    """The program. It ends at once: the interpreter would tidy for 2 ms what the kernel tidies anyway."""
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)


def _complain(sentence: str) -> None:
    sys.stdout.flush()
    if sentence:
        sys.stderr.write(sentence + "\n")


def _main(argv: list[str]) -> int:
    try:
        options, words = parse(argv, GLOBAL_FLAGS, interspersed=False)
    except HelpWanted:
        return _root_help()
    except UsageError as error:
        raise Failure(_usage(str(error), "", "[OPTIONS] COMMAND [ARG...]"), 125) from None
    if options.text("log-level") not in LOG_LEVELS:
        raise Failure(f"Unable to parse logging level: {options.text('log-level')}")
    if options.on("version"):
        from onggi.cli.commands.version import version_line

        print(version_line())
        return 0
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"] if len(words) > 1 else []
    return _dispatch(options, words) if words else _root_help()


def _usage(sentence: str, name: str, use: str) -> str:
    space = " " if name else ""
    return (
        f"{sentence}\n\nUsage:  {PROGRAM} {use}\n\nRun '{PROGRAM}{space}{name} --help' for more information"
    )


def _root_help() -> int:
    from onggi.cli.usage import root_help

    print(root_help(GLOBAL_FLAGS), end="")
    return 0


def _dispatch(options: Options, words: list[str]) -> int:
    name, module, used = registry.find(words)
    rest = words[used:]
    if not name or (not module and rest and not rest[0].startswith("-")):
        return _unknown(words, name)
    if not module:
        return _group(name, rest)
    return _execute(options, name, load(module), rest)


def _execute(options: Options, name: str, command: Command, rest: list[str]) -> int:
    try:
        flags, arguments = parse([] if command.raw else rest, command.flags, command.interspersed)
    except HelpWanted:
        from onggi.cli.usage import command_help

        print(command_help(command, name), end="")
        return 0
    except UsageError as error:
        raise Failure(_usage(str(error), name, used_as(command, name)), 125) from None
    try:
        if not command.raw:
            check_arguments(command, arguments)
        cli = Cli(options, _environment(options), name)
        if os.geteuid():
            _warn_of_config(cli)
        return command.run(cli, flags, rest if command.raw else arguments) or 0
    except ArgumentError as error:
        raise Failure(wrong_count(command, name, error)) from None


def _warn_of_config(cli: Cli) -> None:
    """Say that the configuration counts as none, which root alone need not fear."""
    from onggi.client.endpoint import unreadable_config

    warning = unreadable_config(cli.env)
    if warning:
        cli.err(warning)


def load(place: str) -> Command:
    """Return the command at a place of the registry: ``module``, or ``module:NAME`` where it has several."""
    module, _, name = place.partition(":")
    name = name or "COMMAND"
    command: Command = getattr(__import__(f"onggi.cli.commands.{module}", fromlist=[name]), name)
    return command


def _environment(options: Options) -> dict[str, str]:
    env = dict(os.environ)
    if options.text("config"):
        env["DOCKER_CONFIG"] = options.text("config")
    return env


def _unknown(words: list[str], group: str) -> int:
    if "_".join(words[: 2 if group else 1]) in registry.LATER:
        typed = " ".join(words[: 2 if group else 1])
        raise Failure(f"{PROGRAM}: '{PROGRAM} {typed}' is not supported by this build", 125)
    if group:
        where = f"\n\nUsage:  {PROGRAM} {group}\n\nRun '{PROGRAM} {group} --help' for more information"
        raise Failure(f"{PROGRAM}: unknown command: {PROGRAM} {group} {words[1]}{where}", 1)
    hint = f"\n\nRun '{PROGRAM} --help' for more information"
    raise Failure(f"{PROGRAM}: unknown command: {PROGRAM} {words[0]}{hint}", 1)


def _group(name: str, rest: list[str]) -> int:
    wanted = False
    try:
        parse(rest, ())
    except UsageError as error:
        raise Failure(_usage(str(error), name, f"{name} COMMAND"), 125) from None
    except HelpWanted:
        wanted = True
    from onggi.cli.usage import group_help

    # Who did not ask for help sees it on standard error, as with docker.
    (sys.stdout if wanted else sys.stderr).write(group_help(name))
    return 0
