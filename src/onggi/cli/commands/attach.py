"""``onggi attach``."""

from __future__ import annotations

from onggi.cli.attached import Attachment, check_terminal
from onggi.cli.command import DETACH_KEYS, Cli, Command, Failure, Options, console_size
from onggi.cli.containers import path
from onggi.cli.foreign import exit_code, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

DETACHED = "read escape sequence"


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Join the streams of a running container; returns its exit code."""
    facts = cli.engine.get(f"{path(arguments[0])}/json")
    _check_running(facts["State"])
    tty = bool(facts["Config"]["Tty"])
    stdin = not options.on("no-stdin") and bool(facts["Config"]["OpenStdin"])
    check_terminal(stdin, tty)
    keys = cli.detach_keys(options)
    target = f"/containers/{facts['Id']}"
    query = {
        "stream": True,
        "stdin": stdin or None,
        "stdout": True,
        "stderr": True,
        "detachKeys": keys or None,
    }
    with Attachment(
        cli, tty=tty, stdin=stdin, detach_keys=keys, proxy=options.on("sig-proxy") and not tty
    ) as attachment:
        waiting = wait_for(cli, facts["Id"], "not-running")
        stream = cli.engine.upgrade(f"{target}/attach", query)
        attachment.known_as(target)
        attachment.enter_terminal()
        if tty:
            _redraw(cli, target, attachment)
        pump = attachment.pump(stream, framed=not tty)
        attachment.run(pump)
    if pump.detached:
        raise Failure(DETACHED)
    return exit_code(waiting)


def _check_running(state: Json) -> None:
    if not state.get("Running"):
        raise Failure("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Failure("cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise Failure("cannot attach to a restarting container, wait until it is running")


def _redraw(cli: Cli, target: str, attachment: Attachment) -> None:
    """Change the size twice: a program redraws its screen only when the size changes."""
    rows, columns = console_size()
    if rows or columns:
        cli.engine.request("POST", f"{target}/resize", {"h": rows + 1, "w": columns + 1}).read()
        attachment.resize()


COMMAND = Command(
    "attach [OPTIONS] CONTAINER",
    run,
    flags=(
        DETACH_KEYS,
        ("no-stdin", "", "bool", "", "Do not join standard input"),
        ("sig-proxy", "", "bool", "true", "Forward signals to the process"),
    ),
    arguments=(1, 1),
)
