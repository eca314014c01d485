"""What a command gets besides its own flags: the engine, the environment and the streams."""

from __future__ import annotations

import _thread
import os
import sys

from onggi.client.endpoint import choose, read_config
from onggi.client.engine import Engine
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from onggi.cli.command import Options

AT_ONCE = 50  # as docker


class Cli:
    """One run of the program: global ``options``, environment, and the ``name`` of the command as typed.

    The engine is chosen when first asked for.
    """

    def __init__(self, options: Options, env: Mapping[str, str], name: str = "") -> None:
        self.options, self.env, self.name = options, env, name
        self._engine: Engine | None = None
        self.start_engine = True  # where our own engine is asked and does not run

    @property
    def engine(self) -> Engine:
        """The engine that flags and environment ask for. Raises ClientError."""
        if self._engine is None:
            if self.options.many("host") and self.options.text("context"):
                raise ClientError("conflicting options: cannot specify both --host and --context")
            names = ("tls", "tlscacert", "tlscert", "tlskey", "tlsverify")
            flags = {name: self._flag(name) for name in names}
            try:
                endpoint = choose(self.options.many("host"), self.options.text("context"), flags, self.env)
            except ClientError as error:
                raise ClientError(f"Failed to initialize: {error}") from None
            endpoint.own = endpoint.own and self.start_engine
            self._engine = Engine(endpoint, self.env)
        return self._engine

    def _flag(self, name: str) -> str:
        value = self.options.text(name)
        return "" if value == "False" else value

    def config(self) -> dict[str, Any]:
        """Return docker's client configuration; {} where there is none. Raises ClientError."""
        return read_config(self.env)

    def detach_keys(self, typed: str) -> str:
        """Return the detach keys: as typed, as configured, or "" for the default."""
        return typed or str(self.config().get("detachKeys") or "")

    def out(self, text: str) -> None:
        """Print a line."""
        sys.stdout.write(text + "\n")

    def flush(self) -> None:
        """Let out what was printed, before somebody writes to the descriptor itself."""
        sys.stdout.flush()

    def err(self, text: str) -> None:
        """Print a line to standard error."""
        self.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def each(self, names: list[str], act: Callable[[str], object]) -> int:
        """Do ``act`` for each name, several at once, and print the names; errors are printed and make the
        exit code 1. An error without words is passed over."""
        errors: list[str] = []
        for start in range(0, len(names), AT_ONCE):
            calls = [_Call(act, name) for name in names[start : start + AT_ONCE]]
            for call in calls:
                try:
                    call.finish()
                    self.out(call.name)
                except ClientError as error:
                    errors += [str(error)] if str(error) else []
        for sentence in errors:
            self.err(sentence)
        return 1 if errors else 0


class _Call:
    """``act(name)`` in a thread of its own (``_thread``: ``threading`` costs 2 ms)."""

    def __init__(self, act: Callable[[str], object], name: str) -> None:
        self.name, self._act = name, act
        self._error: BaseException | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._act(self.name)
        except BaseException as error:
            self._error = error
        finally:
            self._done.release()

    def finish(self) -> None:
        """Wait for the end; raises what ``act`` raised."""
        self._done.acquire()
        if self._error is not None:
            raise self._error


def console_size(fd: int = 1) -> tuple[int, int]:
    """Return (rows, columns) of a terminal, (0, 0) if it is none."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return size.lines, size.columns
