"""Help, laid out as docker's, from the tables that the parser reads. Imported only to show it."""

from __future__ import annotations

from onggi.cli import registry
from onggi.cli.command import PROGRAM, Command, Flag, console_size
from onggi.cli.parser import used_as

_DEFAULT_WIDTH = 80
_SLOP = 5  # a last word may run over by this much rather than stand alone
_NARROW = 24


def command_help(command: Command, name: str) -> str:
    """Return the help of a command that was typed as ``name``."""
    parts = [f"Usage:  {PROGRAM} {used_as(command, name)}", command.about or registry.title(name)]
    if aliases := registry.aliases(name):
        parts.append("Aliases:\n  " + ", ".join(f"{PROGRAM} {alias}" for alias in aliases))
    table = flag_table(command.flags)
    if table:
        parts.append("Options:\n" + table)
    return "\n\n".join(parts) + "\n"


def group_help(group: str) -> str:
    """Return the help of a group of commands."""
    rows = "".join(f"  {name:<12}{about}\n" for name, about in registry.members(group))
    title = registry.about(group)
    end = f"Run '{PROGRAM} {group} COMMAND --help' for more information on a command."
    return f"Usage:  {PROGRAM} {group} COMMAND\n\n{title}\n\nCommands:\n{rows}\n{end}\n"


def root_help(flags: tuple[Flag, ...]) -> str:
    """Return the help of the program."""
    parts = [
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND\n\nContainers on this machine, as docker's commands know them\n"
    ]
    for heading in (registry.COMMON, registry.OWN, registry.MANAGEMENT, registry.PLAIN):
        rows = [f"  {row[0]:<12}{row[2]}\n" for row in registry.ROWS if row[3] == heading]
        parts.append(f"{heading}:\n{''.join(rows)}")
    parts.append(f"Global Options:\n{flag_table(flags)}\n")
    parts.append(f"Run '{PROGRAM} COMMAND --help' for more information on a command.\n")
    return "\n".join(parts)


def flag_table(flags: tuple[Flag, ...]) -> str:
    """Return one line per shown flag, in the order of names, wrapped to the terminal's width."""
    shown = sorted((flag for flag in flags if flag[4]), key=lambda flag: flag[0])
    heads = [_head(flag) for flag in shown]
    column = max((len(head) for head in heads), default=0) + 3
    width = console_size()[1] or _DEFAULT_WIDTH
    lines = [
        f"{head:<{column}}{wrap(column, width, _text(flag))}" for head, flag in zip(heads, shown, strict=True)
    ]
    return "\n".join(lines)


def _head(flag: Flag) -> str:
    name, short, kind, _, _ = flag
    kind = kind.split(":")[0]
    start = f"  -{short}, --{name}" if short else f"      --{name}"
    return start if kind == "bool" else f"{start} {'string' if kind == 'ip' else kind}"


def _text(flag: Flag) -> str:
    name, _, kind, default, text = flag
    if not default or default == "0" or name == "help":
        return text
    quoted = f'"{default}"' if kind == "string" else default
    return f"{text} (default {quoted})"


def wrap(indent: int, width: int, text: str) -> str:
    """Wrap ``text`` so that it fits between columns ``indent`` and ``width``; a narrow column moves below."""
    room, lead = width - indent, ""
    if room < _NARROW:
        indent, room = 16, width - 16
        lead = "\n" + " " * indent
    if room < _NARROW:
        return lead + text
    margin = "\n" + " " * indent
    lines = []
    for paragraph in text.split("\n"):
        lines += _lines(paragraph, room - _SLOP)
    return lead + margin.join(lines)


def _lines(text: str, room: int) -> list[str]:
    lines = []
    while len(text) > room + _SLOP:
        at = text.rfind(" ", 0, room)
        if at <= 0:
            break
        lines.append(text[:at])
        text = text[at + 1 :]
    return [*lines, text]
