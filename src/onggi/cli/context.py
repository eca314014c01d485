"""What a command gets besides its own flags: the engine, the environment and the streams."""

from __future__ import annotations

import os
import sys

from onggi.client.endpoint import choose, read_config
from onggi.client.engine import Engine
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onggi.cli.command import Options


class Cli:
    """One run of the program. ``options`` are the global flags; the engine is chosen when first asked for."""

    def __init__(self, options: Options, env: Mapping[str, str]) -> None:
        self.options, self.env = options, env
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine that flags and environment ask for. Raises ClientError."""
        if self._engine is None:
            names = ("tls", "tlscacert", "tlscert", "tlskey", "tlsverify")
            flags = {name: self._flag(name) for name in names}
            try:
                endpoint = choose(self.options.many("host"), self.options.text("context"), flags, self.env)
            except ClientError as error:
                raise ClientError(f"Failed to initialize: {error}") from None
            self._engine = Engine(endpoint, self.env)
        return self._engine

    def _flag(self, name: str) -> str:
        value = self.options.text(name)
        return "" if value == "False" else value

    def detach_keys(self, typed: str) -> str:
        """Return the detach keys: as typed, as configured, or "" for the default."""
        return typed or str(read_config(self.env).get("detachKeys") or "")

    def out(self, text: str) -> None:
        """Print a line."""
        sys.stdout.write(text + "\n")

    def err(self, text: str) -> None:
        """Print a line to standard error."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def each(self, names: list[str], act: Callable[[str], None]) -> int:
        """Do ``act`` for each name and print the name; errors are printed and make the exit code 1."""
        status = 0
        for name in names:
            try:
                act(name)
                self.out(name)
            except ClientError as error:
                self.err(str(error))
                status = 1
        return status


def console_size(fd: int = 1) -> tuple[int, int]:
    """Return (rows, columns) of a terminal, (0, 0) if it is none."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return size.lines, size.columns
