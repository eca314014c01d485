"""What command modules declare and get: a command, its flags, the errors that end it, and ``Cli``.

A flag is a tuple ``(name, short, kind, default, help)``. ``kind`` is what help shows after the name;
``list:env`` shows ``list`` and is checked as ``env``. ``bool`` flags take no value. A flag whose help is
empty is accepted and not shown.
"""

from __future__ import annotations

import _thread
import os
import sys

from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from onggi.client.engine import Engine

Flag = tuple[str, str, str, str, str]
PROGRAM = "onggi"
LIST_FORMAT: Flag = (
    "format", "", "string", "", "How to print: 'table', 'table TEMPLATE', 'json', or a Go template"
)  # fmt: skip
FILTER: Flag = ("filter", "f", "filter", "", "Show only what matches (name=value)")
DETACH_KEYS: Flag = ("detach-keys", "", "string", "", "Key sequence that detaches (default ctrl-p,ctrl-q)")
FORMAT: Flag = ("format", "f", "string", "", "How to print: 'json' or a Go template")
AT_ONCE = 50  # as docker


class Command:
    """What a command module exports as ``COMMAND``.

    ``use``: the usage line after the program's name. ``about``: what help says of it, where that is more than
    the line of the registry. ``arguments``: least and most (None: any number).
    ``interspersed``: whether flags may follow the first argument. ``raw``: the words are not read here but
    given on as they are. ``run(cli, options, arguments)`` returns the exit code, None for 0.
    """

    __slots__ = ("about", "arguments", "flags", "interspersed", "raw", "run", "use")

    def __init__(
        self,
        use: str,
        run: Callable[[Cli, Options, list[str]], int | None],
        *,
        about: str = "",
        flags: tuple[Flag, ...] | None = (),
        arguments: tuple[int, int | None] = (0, 0),
        interspersed: bool = True,
    ) -> None:
        self.use, self.about, self.run, self.flags = use, about, run, flags or ()
        self.arguments, self.interspersed = arguments, interspersed
        self.raw = flags is None


class Options:
    """The values of a command's flags: defaults, then what was typed; ``given`` holds the names typed."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self.given: set[str] = set()

    def set(self, name: str, value: object) -> None:
        """Note a typed value."""
        self._values[name] = value
        self.given.add(name)

    def text(self, name: str) -> str:
        """Return the value of a string flag."""
        return str(self._values[name])

    def number(self, name: str) -> int:
        """Return the value of a flag that counts or measures."""
        return int(self._values[name])

    def on(self, name: str) -> bool:
        """Return the value of a bool flag."""
        return bool(self._values[name])

    def many(self, name: str) -> list[Any]:
        """Return the values of a flag that may be repeated."""
        return list(self._values[name])


class UsageError(Exception):
    """A flag is wrong: the sentence, the usage line and the way to help; exit 125."""


class ArgumentError(Exception):
    """There are not as many arguments as wanted: at least, and at most (None: any number); exit 1."""

    def __init__(self, least: int, most: int | None) -> None:
        self.least, self.most = least, most
        super().__init__(least, most)


class Failure(Exception):
    """The command ends with ``status``; the sentence is printed as it is, nothing if empty."""

    def __init__(self, sentence: str = "", status: int = 1) -> None:
        self.status = status
        super().__init__(sentence)


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
            from onggi.client.endpoint import choose
            from onggi.client.engine import Engine

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
        from onggi.client.endpoint import read_config

        return read_config(self.env)

    def detach_keys(self, options: Options) -> str:
        """Return the detach keys: as typed, as configured, or "" for the default."""
        return options.text("detach-keys") or str(self.config().get("detachKeys") or "")

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

    def in_turn(self, names: list[str], act: Callable[[str], object]) -> list[str]:
        """Do ``act`` for each name in turn, tell errors as they come, and return the names they are about."""
        failed = []
        for name in names:
            try:
                act(name)
            except ClientError as error:
                self.err(str(error))
                failed.append(name)
        return failed

    def each(self, names: list[str], act: Callable[[str], object]) -> int:
        """Do ``act`` for each name, several at once, and print the names; errors are printed and make the
        exit code 1. An error without words is passed over."""
        errors: list[ClientError] = []
        for start in range(0, len(names), AT_ONCE):
            calls = [_Call(act, name) for name in names[start : start + AT_ONCE]]
            for call in calls:
                try:
                    call.finish()
                    self.out(call.name)
                except ClientError as error:
                    errors += [error] if str(error) else []
        return self.tell(errors)

    def tell(self, errors: list[ClientError]) -> int:
        """Print errors and return the exit code that they make."""
        for error in errors:
            self.err(str(error))
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


def with_help(sentence: str, command: str) -> str:
    """Return the sentence as run and create print it."""
    return f"{PROGRAM}: {sentence}\n\nRun '{PROGRAM} {command} --help' for more information"


def console_size(fd: int = 1) -> tuple[int, int]:
    """Return (rows, columns) of a terminal, (0, 0) if it is none."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return size.lines, size.columns
