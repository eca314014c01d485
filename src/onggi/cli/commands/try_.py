"""``onggi try``: a first container on this machine, with what it sees, beside what the machine sees."""

from __future__ import annotations

import os
from time import monotonic_ns

from onggi.cli import probes
from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.launch import Plan
from onggi.cli.parser import parse
from onggi.cli.runflags import CONTAINER_FLAGS, RUN_FLAGS
from onggi.client.errors import ClientError, EngineError

PRIVATE_RUN = "/onggi/v1/run"
MORE = 10
SLOW_NS = 1_000_000_000
LIMITS = ["--memory", "512m", "--pids-limit", "512"]
# A first look changes nothing of the machine: no bridge, no rule of a firewall.
NETWORK = ["--network", "none"]
_NEXT = """Next:
  sudo ./onggi run -it --rm host bash     another container of your own
  sudo ./onggi ps -a                      what runs, and what has ended
  sudo ./onggi doctor                     what this machine can and cannot do"""
# bash where the image has one, since it is kinder to a visitor.
_SHELL = ["sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"]


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Start a container of the machine itself, show it from both sides, and leave the user in it."""
    try:
        return _try(cli)
    except ClientError as error:
        raise Failure(f"onggi: {error}") from None


def _try(cli: Cli) -> int:
    began = monotonic_ns()
    version = cli.engine.get("/version")
    cli.out(f"Engine {version['Version']} answers after {_ms(monotonic_ns() - began)}.")
    first = Start(cli, ["sleep", "infinity"])
    try:
        path = f"/onggi-try-{os.urandom(3).hex()}"
        within = probes.inside(cli.engine, first.container, path)
        both = probes.table(within, probes.outside(path), path)
        cli.out(f"A container of this machine's own files, nothing downloaded:\n\n{both}\n")
        _times(cli, first)
        cli.out(_NEXT)
        return _visit(cli, first.container) if os.isatty(0) and os.isatty(1) else 0
    finally:
        _remove(cli, first.container)


class Start:
    """A container started in the background by one request: ``container`` is its id; ``sent_ns`` and
    ``answered_ns`` are on CLOCK_MONOTONIC.
    """

    def __init__(self, cli: Cli, command: list[str]) -> None:
        typed = ["--detach", "--rm", "--trace", *LIMITS, *NETWORK, "host", *command]
        flags, words = parse(typed, CONTAINER_FLAGS + RUN_FLAGS, interspersed=False)
        body = Plan(flags, words, "run").body
        body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False)
        request = {"Name": "", "Config": body, "Attach": None, "Wait": False, "Trace": True}
        self.sent_ns = monotonic_ns()
        answer = cli.engine.post(PRIVATE_RUN, body=request)
        self.answered_ns = monotonic_ns()
        self.container, self._trace = str(answer["Id"]), answer.get("Trace") or []

    @property
    def took_ns(self) -> int:
        """Time from the request to the answer that the program runs."""
        return self.answered_ns - self.sent_ns

    def trace(self) -> str:
        """Where the time went, as a table."""
        from onggi.cli.trace import table

        return table(self._trace, self.sent_ns, self.answered_ns)


def _times(cli: Cli, first: Start) -> None:
    """Start some more, print the median and where the last one's time went."""
    more = []
    for _ in range(MORE):
        more.append(Start(cli, ["true"]))
        _gone(cli, more[-1].container)
    ordered = sorted(start.took_ns for start in more)
    median = (ordered[MORE // 2 - 1] + ordered[MORE // 2]) // 2
    took = f"{_ms(first.took_ns)} for this container; median of {MORE} more: {_ms(median)}"
    cli.out(f"From request to running: {took}.")
    if first.took_ns > SLOW_NS:
        cli.out("(The first one of an engine waits until the machine has been searched for secrets to hide.)")
    cli.out(f"Where the time of the last one went:\n\n{more[-1].trace()}\n")


def _gone(cli: Cli, container: str) -> None:
    try:
        cli.engine.post(f"/containers/{container}/wait", {"condition": "removed"})
    except EngineError as error:
        if error.status != 404:  # already gone is what we wait for
            raise


def _remove(cli: Cli, container: str) -> None:
    try:
        cli.engine.delete(f"/containers/{container}", {"force": True})
    except EngineError as error:
        if error.status not in (404, 409):  # it was removed meanwhile
            raise


def _visit(cli: Cli, container: str) -> int:
    """Give the user a shell in the container; it is removed when they leave."""
    from onggi.cli.commands.exec_ import COMMAND as EXEC

    cli.out("\nYou are in the container now; 'exit' leaves it and removes it.")
    flags, words = parse(["-it", container, *_SHELL], EXEC.flags, EXEC.interspersed)
    EXEC.run(cli, flags, words)
    return 0


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"


COMMAND = Command("try", run)
