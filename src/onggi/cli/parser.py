"""Command lines by pflag's rules, from the tables of the command modules.

``-it``, ``-p80:80``, ``-p=80:80``, ``--rm=false``, ``--flag value``, ``--``; flags end at the first argument
where a command says so.
"""

from __future__ import annotations

from onggi.cli import registry
from onggi.cli.command import PROGRAM, ArgumentError, Command, Flag, Options, UsageError

HELP: Flag = ("help", "", "bool", "", "")
_SYNONYMS = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}


class HelpWanted(Exception):
    """``--help`` was typed."""


def parse(argv: list[str], flags: tuple[Flag, ...], interspersed: bool = True) -> tuple[Options, list[str]]:
    """Return the options and the arguments. Raises UsageError, HelpWanted."""
    reader = _Reader(argv, flags)
    while reader.rest:
        word = reader.rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            reader.long(word[2:])
        elif word.startswith("-") and word != "-":
            reader.shorts(word[1:])
        else:
            reader.arguments.append(word)
            if not interspersed:
                break
    return reader.options, reader.arguments + reader.rest


class _Reader:
    def __init__(self, argv: list[str], flags: tuple[Flag, ...]) -> None:
        self.rest, self.arguments = list(argv), list[str]()
        self._long = {flag[0]: flag for flag in flags}
        self._short = {flag[1]: flag for flag in flags if flag[1]}
        self._long.setdefault("help", HELP)
        self._short.setdefault("h", HELP)
        self.options = Options({flag[0]: _default(flag) for flag in flags})

    def long(self, body: str) -> None:
        """Read ``name`` or ``name=value``."""
        name, equals, value = body.partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: --{body}")
        flag = self._long.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: --{name}")
        if not equals:
            value = "true" if flag[2] == "bool" else self._next(f"flag needs an argument: --{name}")
        self._set(flag, value)

    def shorts(self, group: str) -> None:
        """Read ``i``, ``it``, ``p80``, ``p=80``."""
        whole = group
        while group:
            letter, group = group[0], group[1:]
            flag = self._short.get(letter)
            if flag is None:
                raise UsageError(f"unknown shorthand flag: {_quoted(letter)} in -{whole}")
            if len(group) > 1 and group[0] == "=":
                value, group = group[1:], ""
            elif flag[2] == "bool":
                value = "true"
            elif group:
                value, group = group, ""
            else:
                value = self._next(f"flag needs an argument: {_quoted(letter)} in -{whole}")
            self._set(flag, value)

    def _next(self, complaint: str) -> str:
        if not self.rest:
            raise UsageError(complaint)
        return self.rest.pop(0)

    def _set(self, flag: Flag, text: str) -> None:
        name, short, kind, _, _ = flag
        if flag is HELP or name == "help":
            raise HelpWanted
        try:
            value = convert(kind, text)
        except ValueError as error:
            shown = f"-{short}, --{name}" if short else f"--{name}"
            raise UsageError(f'invalid argument "{text}" for "{shown}" flag: {error}') from None
        name = _SYNONYMS.get(name, name)
        self.options.set(name, [*self.options.many(name), value] if repeats(kind) else value)


def _quoted(letter: str) -> str:
    return f"'{letter}'"


_SCALARS = ("bool", "string", "int", "uint", "uint16", "bytes", "swap", "decimal", "duration", "ip", "count")


def repeats(kind: str) -> bool:
    """Whether a flag of this kind may be given several times, each adding a value."""
    return kind.split(":")[0] not in _SCALARS


def _default(flag: Flag) -> object:
    kind, default = flag[2].split(":")[0], flag[3]
    if repeats(kind):
        return []
    if kind in ("string", "ip"):
        return default
    return default == "true" if kind == "bool" else int(default or 0)


def convert(kind: str, text: str) -> object:
    """Return the value of a flag's text; the checks live in ``cli/values.py``. Raises ValueError."""
    if kind in ("string", "list"):
        return text
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    from onggi.cli import values

    return values.convert(kind, text)


def check_arguments(command: Command, arguments: list[str]) -> None:
    """Raise ArgumentError if there are too few or too many."""
    least, most = command.arguments
    if not least <= len(arguments) <= (len(arguments) if most is None else most):
        raise ArgumentError(least, most)


def wrong_count(command: Command, name: str, error: ArgumentError) -> str:
    """Return docker's words for a wrong number of arguments."""
    wanted, hint = _wanted(error.least, error.most)
    return (
        f"{PROGRAM}: '{PROGRAM} {name}' {wanted}\n\nUsage:  {PROGRAM} {used_as(command, name)}\n\n"
        f"{hint} '{PROGRAM} {name} --help' for more information"
    )


def used_as(command: Command, name: str) -> str:
    """Return the usage line of a command that was typed as ``name``, one of its aliases."""
    words = command.use.split(" ")
    own = next((number for number, word in enumerate(words) if not word.islower()), len(words))
    group = name.rpartition(" ")[0]
    names = [alias for alias in registry.aliases(name) if alias.rpartition(" ")[0] == group]
    return " ".join([*(names[:1] or words[:own]), *words[own:]])


def _wanted(least: int, most: int | None) -> tuple[str, str]:
    if most == 0:
        return "accepts no arguments", "Run"
    if most is None:
        return f"requires at least {least} argument{'' if least == 1 else 's'}", "See"
    if least == most:
        return f"requires {least} argument{'' if least == 1 else 's'}", "Run"
    if least == 0:
        return f"requires at most {most} argument{'' if most == 1 else 's'}", "See"
    return f"requires at least {least} and at most {most} arguments", "Run"
