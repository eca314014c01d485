"""What can follow the words of a command line, by the commands' tables and, for names, a running engine."""

from __future__ import annotations

from onggi.cli import registry
from onggi.cli.command import Cli, Command, Flag, UsageError
from onggi.cli.parser import HelpWanted, parse
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onggi.client.codec import Json

    Candidate = tuple[str, str]  # the word and what it means

FILES = (":files", "")
_ALIVE = ("running", "paused")
_ANY = 99
# What the arguments of commands are: kind, up to which argument, modules.
_ARGUMENTS = (
    ("running", 1, ("attach", "exec_", "port", "top")),
    ("running", _ANY, ("lifecycle:KILL", "lifecycle:PAUSE", "stats", "lifecycle:STOP", "wait")),
    ("stopped", _ANY, ("start",)),
    ("containers", 1, ("commit", "diff", "export", "logs", "rename")),
    ("containers", _ANY, ("inspect:CONTAINER", "lifecycle:RESTART", "rm", "lifecycle:UNPAUSE", "update")),
    ("images", 1, ("create", "history", "images", "push", "run")),
    ("images", 2, ("tag",)),
    ("images", _ANY, ("inspect:IMAGE", "rmi", "save")),
    ("objects", _ANY, ("inspect",)),
    ("copies", 2, ("cp",)),
    ("volumes", 1, ("volume:EXPORT", "volume:IMPORT")),
    ("volumes", _ANY, ("inspect:VOLUME", "volume:RM")),
    ("files", 2, ("volume:IMPORT",)),
    ("networks", 1, ("network:CONNECT", "network:DISCONNECT")),
    ("networks", _ANY, ("inspect:NETWORK", "network:RM")),
    ("contexts", 1, ("context_archive:EXPORT", "context:UPDATE", "context:USE")),
    ("contexts", _ANY, ("context:INSPECT", "context:RM")),
    ("files", 1, ("import_",)),
    ("shells", 1, ("completion",)),
)
_FLAGS = (
    ("contexts", ("context", "from")),
    ("networks", ("net", "network")),
    ("containers", ("volumes-from",)),
    ("signals", ("signal",)),
    ("formats", ("format",)),
    ("pulls", ("pull",)),
    ("restarts", ("restart",)),
    ("platforms", ("platform",)),
    ("types", ("type",)),
    ("files", ("cidfile", "config", "device", "env-file", "host-show", "htpasswd", "input", "label-file")),
    ("files", ("output", "rootfs", "tls-cert", "tls-key", "tlscacert", "tlscert", "tlskey", "volume")),
)
_WORDS = {
    "formats": ("json", "table"),
    "pulls": ("always", "missing", "never"),
    "restarts": ("always", "no", "on-failure", "unless-stopped"),
    "platforms": ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/riscv64"),
    "types": ("container", "image", "network", "volume"),
    "shells": ("bash", "fish", "zsh"),
}


def complete(
    cli: Cli, words: list[str], flags: tuple[Flag, ...], load: Callable[[str], Command]
) -> list[Candidate]:
    """Return the candidates for the last word, ``FILES`` for files; ``flags`` are the global ones."""
    current, before = (words or [""])[-1], words[:-1]
    _heed(cli, before, flags)
    rest, waiting = _scan(before, flags, interspersed=False)
    if waiting is not None:
        return _begin(current, _of_flag(cli, waiting))
    if not rest:
        return _begin(current, _flag_words(flags) if current.startswith("-") else _commands())
    name, module, used = registry.find(rest)
    if name and not module and len(rest) == used:
        return _begin(current, registry.members(name))
    return _of_command(cli, load(module), module, (rest[used:], current)) if module else []


def _heed(cli: Cli, words: list[str], flags: tuple[Flag, ...]) -> None:
    """Ask the engine that the global flags of the line name."""
    try:
        cli.options = parse(words, flags, interspersed=False)[0]
    except (UsageError, HelpWanted):
        return  # a line that is not whole yet


def _of_command(cli: Cli, command: Command, module: str, typed: tuple[list[str], str]) -> list[Candidate]:
    before, current = typed
    arguments, waiting = _scan(before, command.flags, command.interspersed)
    if waiting is not None:
        return _begin(current, _of_flag(cli, waiting))
    if current.startswith("-") and (command.interspersed or not arguments):
        name, equals, value = current.partition("=")
        if not equals:
            return _begin(current, _flag_words(command.flags))
        found = _begin(value, _of_flag(cli, name.lstrip("-")))
        return [item if item == FILES else (f"{name}={item[0]}", item[1]) for item in found]
    for kind, most, modules in _ARGUMENTS:
        if module in modules and len(arguments) < most:
            return _begin(current, _of_kind(cli, kind))
    return []


def _scan(words: list[str], flags: tuple[Flag, ...], interspersed: bool) -> tuple[list[str], str | None]:
    """Return the arguments among ``words``, and the flag that waits for its value."""
    arguments: list[str] = []
    waiting: str | None = None
    for at, word in enumerate(words):
        if waiting is not None:
            waiting = None
        elif word.startswith("-") and word not in ("-", "--"):
            waiting = _waiting(word, flags)
        elif word == "--" or not interspersed:
            return [*arguments, *words[at + (word == "--") :]], None
        else:
            arguments.append(word)
    return arguments, waiting


def _waiting(word: str, flags: tuple[Flag, ...]) -> str | None:
    """Return the flag that ends ``word`` without its value."""
    if word.startswith("--"):
        return next((flag[0] for flag in flags if word == f"--{flag[0]}" and flag[2] != "bool"), None)
    for at, letter in enumerate(word[1:], 2):
        flag = next((flag for flag in flags if flag[1] == letter), None)
        if flag is None or flag[2] != "bool":
            return flag[0] if flag is not None and at == len(word) else None
    return None


def _begin(current: str, candidates: Iterable[Candidate]) -> list[Candidate]:
    return [item for item in candidates if item == FILES or item[0].startswith(current)]


def _commands() -> list[Candidate]:
    return [(row[0], row[2]) for row in registry.ROWS if row[3]]


def _flag_words(flags: tuple[Flag, ...]) -> list[Candidate]:
    shown = [(f"--{flag[0]}", flag[4]) for flag in flags if flag[4]]
    return [*shown, ("--help", "Print the help")]


def _of_flag(cli: Cli, name: str) -> list[Candidate]:
    return next((_of_kind(cli, kind) for kind, names in _FLAGS if name in names), [])


def _of_kind(cli: Cli, kind: str) -> list[Candidate]:
    if kind == "files":
        return [FILES]
    if kind == "signals":
        from onggi.cli.signals import NAMES

        return [(name, "") for name in sorted(NAMES.values())]
    if kind in _WORDS:
        return [(word, "") for word in _WORDS[kind]]
    try:
        if kind in ("running", "stopped"):
            return _containers(cli, kind)
        return _NAMED[kind](cli) if kind in _NAMED else []
    except (ClientError, OSError, ValueError):
        return []  # no engine, no names: nobody wants to read errors while typing


def _containers(cli: Cli, kind: str = "") -> list[Candidate]:
    items: list[Json] = cli.engine.get("/containers/json", {"all": True}) or []
    if kind:
        items = [item for item in items if (item.get("State") in _ALIVE) == (kind == "running")]
    return [(name.lstrip("/"), str(item.get("Image") or "")) for item in items for name in item["Names"]]


def _contexts(cli: Cli) -> list[Candidate]:
    from onggi.cli.context_values import contexts

    return [(str(meta.get("Name") or ""), "") for meta in contexts(cli).list()]


def _copies(cli: Cli) -> list[Candidate]:
    return [FILES, *((f"{name}:", about) for name, about in _containers(cli))]


def _images(cli: Cli) -> list[Candidate]:
    items: list[Json] = cli.engine.get("/images/json") or []
    return [(tag, "") for item in items for tag in item.get("RepoTags") or [] if tag != "<none>:<none>"]


def _volumes(cli: Cli) -> list[Candidate]:
    return [(item["Name"], "") for item in (cli.engine.get("/volumes") or {}).get("Volumes") or []]


def _networks(cli: Cli) -> list[Candidate]:
    return [(item["Name"], str(item.get("Driver") or "")) for item in cli.engine.get("/networks") or []]


def _objects(cli: Cli) -> list[Candidate]:
    return [*_containers(cli), *_images(cli)]


_NAMED: dict[str, Callable[[Cli], list[Candidate]]] = {
    "containers": _containers,
    "contexts": _contexts,
    "copies": _copies,
    "images": _images,
    "networks": _networks,
    "objects": _objects,
    "volumes": _volumes,
}
