"""Machines for tests of networks: namespaces of their own, joined to the engine's by a cable.

The world of the tests is the engine's machine; a ``Machine`` is somebody else's on the same segment.
"""

import itertools
import os
import re
import socket
import threading

from onggi.kernel import rtnl, syscalls
from onggi.kernel.netlink import Netlink

_numbers = itertools.count(1)


class Machine:
    """``address`` is its own, ``world`` the engine's on the segment between the two."""

    def __init__(self, prefix="203.0.113", six="2001:db8:113"):
        self.number = next(_numbers)
        self.address, self.world = f"{prefix}.2", f"{prefix}.1"
        self.address6, self.world6 = f"{six}::2", f"{six}::1"
        self._sockets = []
        self.link = f"cable{self.number}"
        self.fd = self._new_namespace()
        with Netlink() as netlink:
            # A veth wants a bridge: the other end's address is on it.
            netlink.change([rtnl.add_bridge(self.link, f"02:00:00:00:0{self.number % 10}:01")])
            number = rtnl.link(netlink, self.link).number
            netlink.change(
                [
                    rtnl.add_address(number, f"{self.world}/24"),
                    rtnl.add_address(number, f"{self.world6}/64"),
                    rtnl.add_veth(f"{self.link}v", number, rtnl.Peer("eth0", "02:00:00:00:99:01", self.fd)),
                    rtnl.set_up(f"{self.link}v"),
                ]
            )
        self.inside(self._configure)

    def _new_namespace(self):
        found = []

        def make():
            syscalls.unshare(syscalls.CLONE_NEWNET)
            found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return found[0]

    def _configure(self):
        with Netlink() as netlink:
            number = rtnl.link(netlink, "eth0").number
            netlink.change(
                [
                    rtnl.set_up("lo"),
                    rtnl.set_up("eth0"),
                    rtnl.add_address(number, f"{self.address}/24"),
                    rtnl.add_address(number, f"{self.address6}/64"),
                    rtnl.add_default_route(number, self.world),
                    rtnl.add_default_route(number, self.world6),
                ]
            )

    def inside(self, work, *arguments):
        """What ``work`` returns or raises, done on this machine."""
        return inside(self.fd, work, *arguments)

    def fetch(self, address, port, path="/", timeout=30):
        """The body of a page, asked for from this machine."""
        return self.inside(fetch, address, port, path, timeout)

    def listen(self, port, address="0.0.0.0", kind=socket.SOCK_STREAM):
        """A socket of this machine that listens."""

        def make():
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen(16)
            sock.settimeout(30)
            return sock

        self._sockets.append(self.inside(make))
        return self._sockets[-1]

    def close(self):
        for sock in self._sockets:
            sock.close()
        with Netlink() as netlink:
            netlink.change([rtnl.delete_link(f"{self.link}v"), rtnl.delete_link(self.link)])
        os.close(self.fd)


def inside(namespace, work, *arguments):
    """What ``work`` returns or raises in another network namespace."""
    outcome = []

    def run():
        syscalls.setns(namespace, syscalls.CLONE_NEWNET)
        try:
            outcome.append((work(*arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def heard(listener):
    """Who connects next, and the first bytes."""
    connection, peer = listener.accept()
    with connection:
        connection.settimeout(30)
        return peer[0], connection.recv(65536)


def fetch(address, port, path="/", timeout=30):
    """The body of a page. Raises OSError where nobody answers."""
    with socket.create_connection((address, port), timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return re.split(rb"\r?\n\r?\n", answer, maxsplit=1)[-1].decode().strip()


def reachable(address, port, where=None, timeout=1.5):
    """Whether somebody accepts a connection; ``where`` is a machine, None the engine's own."""

    def attempt():
        try:
            socket.create_connection((address, port), timeout).close()
        except OSError:
            return False
        return True

    return where.inside(attempt) if where else attempt()
