"""A command joined to a container's streams: terminal, signals and detach keys around ``client/streams``."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Failure, Options, console_size
from onggi.cli.signals import Watch, die_by
from onggi.client.errors import ClientError
from onggi.client.streams import DetachKeys, Ends, Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from onggi.client.http import Response


class Attachment:
    """One attached stream. ``target`` is the path that takes ``/resize`` and ``/kill``; it may be set later.

    As a context manager it catches signals from its begin, and leaves all as it was.
    """

    def __init__(
        self, cli: Cli, *, tty: bool, stdin: bool, detach_keys: str = "", proxy: bool = True
    ) -> None:
        self._cli, self.tty, self._stdin, self.detach_keys = cli, tty, stdin, detach_keys
        keys = self._sequence(detach_keys)  # refused if they are none, whoever would read them
        self.keys = keys if tty and stdin else None
        terminal = tty and (os.isatty(0) or os.isatty(1))
        self._watch = Watch(proxy, terminal) if proxy or terminal else None
        self._raw: Any = None
        self.target = ""
        self._held: list[str] = []

    def __enter__(self) -> Self:
        self.watch()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sequence(self, text: str) -> DetachKeys:
        from onggi.cli.terminal import detach_sequence

        try:
            return DetachKeys(detach_sequence(text))
        except ValueError as error:
            raise Failure(f"invalid detach keys ({text}): {error}") from None

    def watch(self) -> None:
        """Catch signals from now on; those that come before the target is known are kept for it."""
        if self._watch is not None:
            self._watch.start()

    def enter_terminal(self) -> None:
        """Put the terminal into raw mode where there is one to put."""
        if self.tty and self._stdin and os.isatty(0):
            from onggi.cli.terminal import RawMode

            self._raw = RawMode(0)
            self._raw.enter()

    def pump(self, response: Response, *, framed: bool, stdout: bool = True, stderr: bool = True) -> Pump:
        """Return the pump for a hijacked answer; ``run`` it."""
        sock, early = response.take_over()
        ends = Ends(0 if self._stdin else -1, 1 if stdout else -1, (1 if self.tty else 2) if stderr else -1)
        pump = Pump(sock, early, ends, framed=framed, keys=self.keys)
        if self._watch is not None:
            pump.wake, pump.on_wake = self._watch.fd, self._signalled
        return pump

    def run(self, pump: Pump) -> None:
        """Run the pump to its end with terminal and signals in order before and after."""
        try:
            pump.run()
        finally:
            self.close()

    def close(self) -> None:
        """Restore the terminal and the signals; safe to call again."""
        if self._raw is not None:
            self._raw.leave()
        if self._watch is not None:
            self._watch.stop()

    def _signalled(self) -> None:
        if self._watch is not None:
            self._watch.handle(self.forward, self.resize, self._give_up)

    def forward(self, signal: str) -> None:
        """Send a signal to the container; kept until the container is known."""
        if not self.target:
            self._held.append(signal)
            return
        self._quietly("/kill", {"signal": signal})

    def known_as(self, target: str) -> None:
        """Name the target and send it the signals that were kept."""
        self.target = target
        held, self._held = self._held, []
        for signal in held:
            self.forward(signal)

    def resize(self) -> None:
        """Tell the engine the size of our terminal."""
        rows, columns = console_size()
        if self.target and self.tty and (rows or columns):
            self._quietly("/resize", {"h": rows, "w": columns})

    def _quietly(self, verb: str, query: dict[str, Any]) -> None:
        try:
            self._cli.engine.request("POST", self.target + verb, query).read()
        except ClientError:
            return  # the process may have ended meanwhile; its exit arrives by the stream

    def _give_up(self, number: int) -> None:
        self.close()
        die_by(number)


def attachment_of(cli: Cli, options: Options, body: dict[str, Any]) -> Attachment:
    """Return the streams that ``run`` asks for."""
    return Attachment(
        cli,
        tty=body["Tty"],
        stdin=body["AttachStdin"],
        detach_keys=cli.detach_keys(options),
        proxy=options.on("sig-proxy"),
    )


def check_terminal(stdin: bool, tty: bool) -> None:
    """Refuse a terminal for the container where standard input is none."""
    if stdin and tty and not os.isatty(0):
        raise Failure("the input device is not a TTY")
