"""Standard streams of a container or an exec: outputs, one input, any number of attached clients.

Attach is lossless and pushes back: while a client's buffer is full, the streams it listens to are not read,
as with a pipe. The log is written first. Everything is non-blocking; descriptors are owned here and closed
when done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from onggi.frames import FINAL_STATUS, STDOUT, frame
from onggi.launch.loop import ENDED, IN, OUT, Loop

_CHUNK = 65536
_CLIENT_LIMIT = 1 << 20
_INPUT_LIMIT = 1 << 18
_DRAIN_READS = 64  # whoever inherited the pipe may go on writing


class Sink(Protocol):
    """Where output is recorded."""

    def write(self, stream: int, data: bytes, now_ns: int) -> None:
        """Take bytes of stdout (1) or stderr (2)."""


class Wish(NamedTuple):
    """What a client asked for; ``detach_keys`` is the byte sequence that lets it leave a terminal, ``name``
    what it is called when it does. ``status`` asks for a last frame about the end.
    """

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = False
    detach_keys: bytes = b""
    name: str = ""
    status: bool = False


class Output:
    """One readable end: a pipe of the process, or its terminal."""

    def __init__(self, streams: Streams, fd: int, number: int) -> None:
        self.streams, self.fd, self.number, self.paused = streams, fd, number, False
        os.set_blocking(fd, False)
        streams.loop.watch(fd, IN, self._ready)

    def _ready(self, _: int) -> None:
        self.read()

    def read(self) -> bool:
        """Read once; False when there is nothing more for now or for ever."""
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the last holder of a terminal closed it
        if not data:
            self.close()
            return False
        self.streams.emit(self.number, data)
        return True

    def pause(self, paused: bool) -> None:
        """Stop or resume reading."""
        if self.fd >= 0 and paused != self.paused:
            self.paused = paused
            if self.fd == self.streams.input.fd:
                self.streams.input.rewatch()
            elif paused:
                self.streams.loop.forget(self.fd)
            else:
                self.streams.loop.watch(self.fd, IN, self._ready)

    def close(self) -> None:
        """End of stream; idempotent."""
        if self.fd >= 0:
            self.streams.loop.forget(self.fd)
            if self.fd != self.streams.input.fd:
                os.close(self.fd)
            self.fd = -1
            self.streams.on_change()


class Client:
    """One attached socket."""

    def __init__(self, streams: Streams, fd: int, wish: Wish) -> None:
        self.streams, self.fd, self.wish = streams, fd, wish
        self.pending = bytearray()
        self.leaving = False  # it gets what is pending, and then its end
        self._reading = True
        self._ended = False
        self._keys_matched = 0
        os.set_blocking(fd, False)
        self._rewatch()

    def wants(self, stream: int) -> bool:
        """Whether the client listens to a stream."""
        if self.leaving:
            return False
        return self.wish.stdout if stream == STDOUT else self.wish.stderr

    def send(self, stream: int, data: bytes) -> None:
        """Send or keep output."""
        if self.wish.framed:
            data = frame(stream, data)
        if self.pending:
            self.pending += data
        else:
            self.pending += data[self._write(data) :]
            if self.pending:
                self._rewatch()

    def receive(self, data: bytes) -> None:
        """Take bytes for stdin, looking for the detach keys."""
        if not self.wish.stdin:
            return
        if self.wish.detach_keys:
            data, detached = self._filter(data)
            self.streams.input.feed(data)
            if detached:
                self.streams.detached(self)
            return
        self.streams.input.feed(data)

    def _filter(self, data: bytes) -> tuple[bytes, bool]:
        keys, passed = self.wish.detach_keys, bytearray()
        for byte in data:
            if byte == keys[self._keys_matched]:
                self._keys_matched += 1
                if self._keys_matched == len(keys):
                    return bytes(passed), True
                continue
            passed += keys[: self._keys_matched]
            self._keys_matched = 0
            if byte == keys[0]:
                self._keys_matched = 1
            else:
                passed.append(byte)
        return bytes(passed), False

    def full(self) -> bool:
        """Whether the client is behind by more than its buffer."""
        return len(self.pending) >= _CLIENT_LIMIT

    def listen(self, reading: bool) -> None:
        """Read from the client, or let it wait because the input is full."""
        if reading != self._reading and self.fd >= 0 and not self._ended:
            self._reading = reading
            self._rewatch()

    def close(self) -> None:
        """Let the client see EOF; idempotent."""
        if self.fd >= 0:
            self.streams.loop.forget(self.fd)
            os.close(self.fd)
            self.fd = -1
            self.pending.clear()

    def _rewatch(self) -> None:
        events = (IN if self._reading else 0) | (OUT if self.pending else 0)
        self.streams.loop.watch(self.fd, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & OUT and self.pending:
            del self.pending[: self._write(self.pending)]
            if self.fd >= 0:
                self._rewatch()
                self.streams.sent(self)
        if self.fd >= 0 and self._reading and events & (IN | ENDED):
            self._read()
        elif self.fd >= 0 and events & ENDED:
            self.streams.drop(self)

    def _read(self) -> None:
        try:
            data = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.streams.drop(self)
            return
        if data:
            self.receive(data)
        else:
            # Half-close: no more input from this client, but its output may go on.
            self.listen(False)
            self._ended = True
            self.streams.input_ended(self)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.streams.drop(self)
            return len(data)


class Input:
    """The writable end of stdin: a pipe, or a terminal that ``Output`` reads. Bytes wait while it is full."""

    def __init__(self, loop: Loop, on_room: Callable[[bool], None]) -> None:
        self._loop, self._on_room = loop, on_room
        self.fd = -1
        self.expected = True  # early keystrokes wait for a terminal that is not there yet
        self._terminal: Output | None = None
        self._pending = bytearray()
        self._ending = False

    def set_pipe(self, fd: int) -> None:
        """Take over the end of a pipe."""
        os.set_blocking(fd, False)
        self.fd = fd

    def set_terminal(self, output: Output) -> None:
        """Share the descriptor of a terminal's output."""
        self.fd, self._terminal = output.fd, output
        self._flush()

    def feed(self, data: bytes) -> None:
        """Queue bytes; what nobody will read is thrown away."""
        if self.fd >= 0 or self.expected:
            self._pending += data
            self._flush()

    def end(self) -> None:
        """Let the process see EOF behind what is queued; a terminal has no such end."""
        if self._terminal is None:
            self._ending = True
            self._flush()

    def close(self) -> None:
        """Close it now; idempotent."""
        self.expected = False
        if self.fd >= 0:
            self._loop.forget(self.fd)
            os.close(self.fd)
            self.fd = -1

    def _flush(self) -> None:
        if self.fd < 0:
            return
        while self._pending:
            try:
                del self._pending[: os.write(self.fd, self._pending[:_CHUNK])]
            except BlockingIOError:
                break
            except OSError:
                self._pending.clear()  # nobody reads any more
                self._ending = True
        self.rewatch()
        self._on_room(len(self._pending) < _INPUT_LIMIT)
        if self._ending and not self._pending and self._terminal is None:
            self.close()

    def rewatch(self) -> None:
        """Wait for just what is possible now: what is not read may not wake us, or the loop would spin."""
        reading = IN if self._terminal and not self._terminal.paused else 0
        wanted = reading | (OUT if self._pending else 0)
        if wanted:
            self._loop.watch(self.fd, wanted, self._ready)
        else:
            self._loop.forget(self.fd)

    def _ready(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if events & (IN | ENDED) and self._terminal and self._terminal.fd >= 0:
            self._terminal.read()


class Streams:
    """The set of streams of one process.

    ``once`` closes stdin, which is no terminal, after the first client's EOF; ``on_change`` is called when
    outputs end or clients go, ``on_detach`` with its name when one left by its detach keys.
    """

    def __init__(self, loop: Loop, sink: Sink | None, once: bool, on_change: Callable[[], None]) -> None:
        self.loop, self.sink, self.once, self.on_change = loop, sink, once, on_change
        self.on_detach: Callable[[str], None] = lambda _: on_change()
        self.input = Input(loop, self._room)
        self.outputs: list[Output] = []
        self.clients: list[Client] = []
        self.finished = False

    def add_output(self, fd: int, number: int) -> None:
        """Take over a readable end."""
        self.outputs.append(Output(self, fd, number))

    def set_terminal(self, master: int) -> None:
        """Take over a terminal: one descriptor, both directions."""
        self.add_output(master, STDOUT)
        self.input.set_terminal(self.outputs[-1])

    def attach(self, fd: int, wish: Wish, early: bytes = b"") -> None:
        """Add a client, and the bytes it had sent already."""
        client = Client(self, fd, wish)
        self.clients.append(client)
        if early:
            client.receive(early)

    def emit(self, stream: int, data: bytes) -> None:
        """Record output, then send it to who listens."""
        if self.sink:
            self.sink.write(stream, data, time.time_ns())
        full = False
        for client in [client for client in self.clients if client.wants(stream)]:
            client.send(stream, data)
            full = full or client.full()
        if full:
            self._balance()

    def sent(self, client: Client) -> None:
        """A client took some of what was kept for it."""
        self._balance()
        if (self.finished or client.leaving) and not client.pending:
            self.drop(client)

    def input_ended(self, client: Client) -> None:
        """A client has no more input. Where stdin is for one client, the process sees EOF, and output goes
        on. Elsewhere the client leaves with that, as in docker, unless a last frame is for it.
        """
        if not client.wish.stdin:
            return
        if self.once:
            self.input.end()
        elif not client.wish.status:
            client.leaving = True
            if not client.pending:
                self.drop(client)

    def drop(self, client: Client) -> None:
        """A client went away."""
        if client in self.clients:
            self.clients.remove(client)
            client.close()
            self.input_ended(client)
            self._balance()
            self.on_change()

    def detached(self, client: Client) -> None:
        """A client left by its detach keys: the process keeps its stdin."""
        if client in self.clients:
            self.clients.remove(client)
            client.close()
            self.on_detach(client.wish.name)

    def ended(self) -> bool:
        """Whether no output is open any more."""
        return all(output.fd < 0 for output in self.outputs)

    def drain(self) -> None:
        """Read what the ended process left, also for clients that are behind: it is bounded by its pipe."""
        for output in list(self.outputs):
            for _ in range(_DRAIN_READS):
                if output.fd < 0 or not output.read():
                    break

    def tell(self, status: bytes) -> None:
        """Send a last frame behind the output to the clients that asked for it."""
        for client in [client for client in self.clients if client.wish.status]:
            client.send(FINAL_STATUS, status)

    def finish(self) -> None:
        """Close the outputs and stdin; clients see EOF as soon as they have what is theirs."""
        self.finished = True
        for output in list(self.outputs):
            output.close()
        self.input.close()
        self._release()

    def _room(self, room: bool) -> None:
        """Clients that write to stdin wait while it is full."""
        for client in self.clients:
            client.listen(room or not client.wish.stdin)

    def _balance(self) -> None:
        """Pause the outputs that somebody cannot take, resume the others."""
        for output in self.outputs:
            output.pause(any(client.full() and client.wants(output.number) for client in self.clients))

    def _release(self) -> None:
        """Close every client that has everything."""
        for client in [client for client in self.clients if not client.pending]:
            self.clients.remove(client)
            client.close()
