"""``onggi start``."""

from __future__ import annotations

from onggi.cli.command import DETACH_KEYS, Cli, Command, Failure, Options
from onggi.cli.containers import path


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Start containers; with ``-a`` or ``-i`` one of them, joined to its streams."""
    if options.on("attach") or options.on("interactive"):
        if len(arguments) > 1:
            raise Failure("you cannot start and attach multiple containers at once")
        return _attached(cli, options, arguments[0])
    if options.text("checkpoint"):
        if len(arguments) > 1:
            raise Failure("you cannot restore multiple containers at once")
        query = {
            "checkpoint": options.text("checkpoint"),
            "checkpoint-dir": options.text("checkpoint-dir") or None,
        }
        cli.engine.post(f"{path(arguments[0])}/start", query)
        return 0
    return _background(cli, arguments)


def _background(cli: Cli, names: list[str]) -> int:
    def start(name: str) -> None:
        cli.engine.post(f"{path(name)}/start")
        cli.out(name)

    if failed := cli.in_turn(names, start):
        raise Failure(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(cli: Cli, options: Options, name: str) -> int:
    from onggi.cli.attached import Attachment
    from onggi.cli.foreign import attached_start

    facts = cli.engine.get(f"{path(name)}/json")
    tty = bool(facts["Config"]["Tty"])
    stdin = options.on("interactive") and bool(facts["Config"]["OpenStdin"])
    keys = cli.detach_keys(options)
    attachment = Attachment(cli, tty=tty, stdin=stdin, detach_keys=keys, proxy=not tty)
    streams = {"stdin": stdin, "stdout": True, "stderr": True}
    auto_remove = bool(facts["HostConfig"].get("AutoRemove"))
    return attached_start(cli, facts["Id"], attachment, streams, auto_remove=auto_remove)


COMMAND = Command(
    "start [OPTIONS] CONTAINER [CONTAINER...]",
    run,
    flags=(
        ("attach", "a", "bool", "", "Join its output and forward signals"),
        ("checkpoint", "", "string", "", "Restore this checkpoint"),
        ("checkpoint-dir", "", "string", "", "Directory of checkpoints"),
        DETACH_KEYS,
        ("interactive", "i", "bool", "", "Join its standard input"),
    ),
    arguments=(1, None),
)
