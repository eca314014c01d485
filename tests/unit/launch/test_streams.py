"""Streams of a process whose pipes are the test's own: what becomes of a client that ends its input."""

import socket
import threading
from contextlib import contextmanager

import pytest

from onggi.launch.loop import IN, Loop
from onggi.launch.streams import STDOUT, Streams, Wish

DEADLINE_S = 30


def pair():
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    return ours, theirs


class Process:
    """Its ends of standard input and output."""

    def __init__(self, *, once):
        self.loop = Loop()
        self.streams = Streams(self.loop, None, once, lambda: None)
        self.stdin, given = pair()
        self.stdout, printed = pair()
        self.streams.input.set_pipe(given.detach())
        self.streams.add_output(printed.detach(), STDOUT)

    def attach(self, **wish):
        client, theirs = pair()
        self.streams.attach(theirs.detach(), Wish(**wish))
        return client

    @contextmanager
    def served(self):
        wake, woken = socket.socketpair()
        self.loop.watch(woken.fileno(), IN, lambda _: self.loop.stop())
        thread = threading.Thread(target=self.loop.run)
        thread.start()
        try:
            yield
        finally:
            wake.close()
            thread.join(DEADLINE_S)
            self.streams.finish()
            for end in (woken, self.stdin, self.stdout):
                end.close()


def rest(sock):
    return b"".join(iter(lambda: sock.recv(1 << 20), b""))


def test_who_ends_an_input_that_goes_on_leaves_with_it():
    """As in docker, also of a terminal; what was kept for that client it gets."""
    process, kept = Process(once=False), b"x" * 900_000
    with process.attach(stdin=True) as client, process.attach() as other, other.makefile("rb") as seen:
        process.streams.emit(STDOUT, kept)
        with process.served():
            client.sendall(b"typed")
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == kept
            assert process.stdin.recv(99) == b"typed"
            process.stdout.sendall(b"more")
            assert seen.read(len(kept) + 4) == kept + b"more"
            process.stdin.setblocking(False)
            with pytest.raises(BlockingIOError):  # no end of file
                process.stdin.recv(99)


@pytest.mark.parametrize(
    ("once", "wish", "ends"),
    [
        (True, {"stdin": True}, True),  # of one client only: the process sees the end
        (False, {"stdin": False}, False),  # not its input
        (False, {"stdin": True, "status": True}, False),  # a last frame is still to come
    ],
)
def test_output_goes_on_behind_the_end_of_other_inputs(once, wish, ends):
    process = Process(once=once)
    with process.attach(**wish) as client, process.served():
        client.shutdown(socket.SHUT_WR)
        if ends:
            assert process.stdin.recv(99) == b""
        process.stdout.sendall(b"out")
        assert client.recv(99) == b"out"
