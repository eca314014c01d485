"""The connection to the launcher."""

import contextlib
import os
import socket
import threading

import pytest

from onggi.containers import link
from onggi.containers.link import LauncherLink
from onggi.errors import Unavailable
from onggi.kernel.sockets import bind_unix
from onggi.launch import protocol
from onggi.launch.protocol import Header

DEADLINE_S = 60


class OldLauncher(threading.Thread):
    """One of another build, which tells of spares, is slow to listen, and ends when it is told to."""

    def __init__(self, exec_root):
        super().__init__()
        self.listener = bind_unix(f"{exec_root}/launcher.sock", socket.SOCK_SEQPACKET)
        self.receive, self.listens = protocol.receive_header, threading.Event()
        self.stopped = False

    def run(self):
        sock, _ = self.listener.accept()
        with sock, self.listener, contextlib.suppress(ConnectionError):
            hello, _ = self.receive(sock)
            protocol.send_header(sock, Header(protocol.HELLO, hello.number, "older", os.getpid()))
            for spare in "a", "b":
                protocol.send_header(sock, Header(protocol.SPARE, 0, spare))
            self.listens.wait(DEADLINE_S)
            stop, _ = self.receive(sock)
            self.stopped = stop is not None and stop.verb == protocol.STOP


def test_a_launcher_of_another_build_has_ended_before_the_next_begins(tmp_path, monkeypatch):
    """Its spares hold the ids of containers that were created: their starts would wait for it for ever."""
    old = OldLauncher(tmp_path)
    old.start()
    received, stopped = [], []

    def receive(sock):
        received.append(sock)
        if len(received) == 4:  # the greeting and both spares are read, nothing but its end is to come
            old.listens.set()
        return old.receive(sock)

    def start(*_):
        stopped.append(old.stopped)
        old.listens.set()
        raise Unavailable("this is far enough")

    monkeypatch.setattr(protocol, "receive_header", receive)
    monkeypatch.setattr(link, "start_launcher", start)
    with pytest.raises(Unavailable, match="far enough"):
        LauncherLink(str(tmp_path), "newer", "/none", 2).open(-1)
    old.join(DEADLINE_S)
    assert (stopped, old.stopped) == ([True], True)
