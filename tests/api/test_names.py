"""Names: containers find each other, the machine's resolvers know the rest, closed networks ask nobody."""

import contextlib
import os
import socket
import struct
import subprocess
import threading

import pytest
from test_networks import can_fetch, network  # noqa: F401 - a fixture

from engines import wait_until
from hosts import inside

ANSWER = "192.0.2.123"


class Upstream:
    """A resolver of the machine: every name it is asked for has one address, and it remembers them."""

    def __init__(self, address, port=53):
        self.asked = []
        self._sockets = [
            socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        ]
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
        self._sockets[1].listen(8)
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._datagrams, self._streams)
        ]
        for thread in self._threads:
            thread.start()

    def _answer(self, data, truncated=False):
        labels, offset = [], 12
        while data[offset]:
            labels.append(data[offset + 1 : offset + 1 + data[offset]].decode())
            offset += 1 + data[offset]
        self.asked.append(".".join(labels))
        end = offset + 5
        kind = struct.unpack_from("!H", data, offset + 1)[0]
        count = 1 if kind == 1 and not truncated else 0
        flags = 0x8380 if truncated else 0x8180
        record = struct.pack("!3HIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(ANSWER) if count else b""
        return data[:2] + struct.pack("!5H", flags, 1, count, 0, 0) + data[12:end] + record

    def _datagrams(self):
        sock = self._sockets[0]
        while True:
            try:
                data, peer = sock.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            sock.sendto(self._answer(data, truncated=b"large" in data), peer)

    def _streams(self):
        while True:
            try:
                client, _ = self._sockets[1].accept()
            except OSError:
                return
            with client, contextlib.suppress(ConnectionError):  # who asked may have had enough
                size = int.from_bytes(client.recv(2), "big")
                if not size:
                    return
                answer = self._answer(client.recv(size))
                client.sendall(len(answer).to_bytes(2, "big") + answer)

    def close(self):
        address = self._sockets[0].getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", address)
        socket.create_connection(self._sockets[1].getsockname()).close()
        for thread in self._threads:
            thread.join(30)
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def upstream(tmp_path):
    """The machine asks 127.0.0.53, as it does with systemd-resolved."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.53\nsearch corp.example\n")
    subprocess.run(["mount", "--bind", str(file), "/etc/resolv.conf"], check=True)
    server = Upstream("127.0.0.53")
    yield server
    server.close()
    subprocess.run(["umount", "-l", "/etc/resolv.conf"], check=True)


def over_tcp(name):
    """The answer to a question for an address, asked as a program in the container would."""
    query = struct.pack("!6H", 9, 0x100, 1, 0, 0, 0) + name + b"\0\0\1\0\1"
    with socket.create_connection(("127.0.0.11", 53), 30) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(sock.recv(2), "big")
        return sock.recv(size)


def resolved(run, name, host):
    done = run.engine.docker("exec", name, "nslookup", host)
    return done.stdout.decode()


def test_containers_find_each_other(ours, network):  # noqa: F811
    name = network("--ipv6")
    web = ours.start("--network-alias", "www", "--hostname", "webhost", network=name)
    me = ours.start("--link", f"{web}:db", network=name)
    key = ours.inspect(web)["Id"]
    entry = ours.inspect(web)["NetworkSettings"]["Networks"][name]
    for known in (web, "www", "WWW", "webhost", key[:12], "db", f"{web}.{name}"):
        shown = resolved(ours, me, known)
        assert entry["IPAddress"] in shown, known
        assert entry["GlobalIPv6Address"] in shown, known
    assert f"{web}.{name}" in resolved(ours, me, entry["IPAddress"])
    assert ours.exec(me, f"ping -c 1 -W 5 {web} >/dev/null && echo yes") == "yes"
    assert "nameserver 127.0.0.11" in ours.exec(me, "cat /etc/resolv.conf")
    gateway = entry["Gateway"]
    assert gateway in resolved(ours, me, "host.docker.internal")
    new = f"renamed{os.urandom(3).hex()}"
    ours.command("rename", web, new)
    assert entry["IPAddress"] in resolved(ours, me, new)
    assert entry["IPAddress"] not in resolved(ours, me, web)
    ours.command("rename", new, web)
    ours.command("stop", "-t", "0", web)
    assert entry["IPAddress"] not in resolved(ours, me, "www")


def test_networks_keep_their_names_to_themselves(ours, network):  # noqa: F811
    web, stranger = ours.start(network=network()), ours.start(network=network())
    address = next(iter(ours.inspect(web)["NetworkSettings"]["Networks"].values()))["IPAddress"]
    assert address not in resolved(ours, stranger, web)


def test_connecting_brings_names(ours, network):  # noqa: F811
    name = network()
    web, me = ours.start(network=name), ours.start(network="bridge")
    assert "127.0.0.11" not in ours.exec(me, "cat /etc/resolv.conf")
    ours.engine.docker("network", "connect", "--alias", "late", name, me, check=True)
    address = ours.inspect(web)["NetworkSettings"]["Networks"][name]["IPAddress"]
    assert address in resolved(ours, me, web)
    own = ours.inspect(me)["NetworkSettings"]["Networks"][name]["IPAddress"]
    assert own in resolved(ours, web, "late")
    ours.engine.docker("network", "disconnect", name, me, check=True)
    assert own not in resolved(ours, web, "late")


def test_names_outlive_the_engine(ours, network, engine):  # noqa: F811
    name = network()
    web, me = ours.start(network=name), ours.start(network=name)
    address = ours.inspect(web)["NetworkSettings"]["Networks"][name]["IPAddress"]
    engine.kill()
    engine.start()
    assert address in resolved(ours, me, web)


def test_a_name_server_of_ones_own_has_port_53(ours, network):  # noqa: F811
    name = network()
    web = ours.start(network=name)
    me = ours.start(network=name)
    ours.exec(me, "nc -l -p 53 >/dev/null & until netstat -ltn | grep -q ':53 '; do sleep 0.05; done")
    assert web in resolved(ours, me, web)


def test_other_names_come_from_the_machine(ours, network, upstream):  # noqa: F811
    me = ours.start(network=network())
    assert ANSWER in resolved(ours, me, "some.example")
    assert "some.example" in upstream.asked
    # Truncated over UDP, asked again over TCP.
    assert ANSWER not in resolved(ours, me, "large.example")
    namespace = os.open(f"/proc/{ours.inspect(me)['State']['Pid']}/ns/net", os.O_RDONLY)
    assert socket.inet_aton(ANSWER) in inside(namespace, over_tcp, b"\x05large\x07example")
    os.close(namespace)


def test_closed_networks_ask_nobody(ours, network, upstream):  # noqa: F811
    """CVE-2024-29018: no question of a container on internal networks alone reaches a resolver outside."""
    name = network("--internal")
    web, me = ours.start(network=name), ours.start(network=name)
    assert web in resolved(ours, me, web)
    assert ANSWER not in resolved(ours, me, "secret.example")
    both = ours.start("--network", network(), network=name)
    assert ANSWER in resolved(ours, both, "open.example")
    assert "open.example" in upstream.asked
    assert not [asked for asked in upstream.asked if "secret" in asked]


def test_resolvers_of_ones_own(ours, network):  # noqa: F811
    server = Upstream("127.0.0.77")
    try:
        me = ours.start("--dns", "127.0.0.77", "--dns-search", "corp.example", network=network())
        assert ANSWER in resolved(ours, me, "own.example")
        assert "search corp.example" in ours.exec(me, "cat /etc/resolv.conf")
        assert "own.example" in server.asked
    finally:
        server.close()


def test_a_full_name_is_known_by_its_first_part_too(ours):
    read = ours.command("run", "--rm", "-h", "web.example.com", "busybox", "tail", "-n1", "/etc/hosts")
    assert read.stdout.split()[1:] == [b"web.example.com", b"web"]


def test_host_gateway(ours):
    shown = ours(
        "--add-host", "host.docker.internal:host-gateway", network="bridge", sh="cat /etc/hosts; ip route"
    )
    gateway = shown.partition("default via ")[2].split()[0]
    assert f"{gateway}\thost.docker.internal" in shown


def test_links_of_the_default_network(ours):
    web = ours.start("--expose", "80", network="bridge", command=["httpd", "-f", "-h", "/"])
    me = ours.start("--link", f"{web}:db", network="bridge")
    wait_until(lambda: can_fetch(ours.engine, me, "http://db/etc/passwd", 3), "the linked server")
