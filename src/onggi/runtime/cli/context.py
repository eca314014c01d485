"""What every command gets: the global options, made usable."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from onggi.errors import InvalidArgument
from onggi.kernel.cgroups import Group, Hierarchies
from onggi.runtime.cli import bundle
from onggi.runtime.cli.options import Option, Values
from onggi.runtime.cli.report import Log
from onggi.runtime.cli.state import Directory, State

DEFAULT_ROOT = "/run/onggi-runtime"


class Context(NamedTuple):
    """The root of all state, the log, and who manages control groups (``cgroupfs`` or ``disabled``)."""

    root: str
    log: Log
    manager: str

    def hierarchies(self) -> Hierarchies:
        """The hierarchies that containers are placed in."""
        return bundle.hierarchies(self.manager)

    def directory(self, arguments: list[str]) -> Directory:
        """The container named by the only positional argument."""
        if len(arguments) != 1:
            raise InvalidArgument(f"expected one container ID, got {len(arguments)} arguments")
        return Directory(self.root, arguments[0])

    def group(self, state: State) -> Group | None:
        """A container's control group, if it has one."""
        found = self.hierarchies()
        return Group(found, state.cgroup) if state.cgroup and found.mounts else None


class Command(NamedTuple):
    """A command: what it does in one line, the words after its options, its options, and the function."""

    help: str
    words: str
    options: tuple[Option, ...]
    run: Callable[[Context, Values, list[str]], int]
