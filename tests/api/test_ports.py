"""Published ports: from whom they are reached, with which address, who else has them, and what is left."""

import os
import socket
import subprocess
import time

import pytest
from test_networks import WEB, addresses, can_fetch

from engines import wait_until
from hosts import Machine, fetch, reachable


@pytest.fixture
def outside():
    machine = Machine()
    yield machine
    machine.close()


def web(ours, *flags, network="bridge"):
    name = ours.start(*flags, command=["sh", "-c", WEB], network=network)
    address = addresses(ours.engine, name)[0]
    wait_until(lambda: reachable(address, 80), f"{name} at {address}")
    return name


def ruleset():
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def own_rules(engine):
    """The tables of this engine; those of engines that have ended may be there as well."""
    shown = [
        subprocess.run(["nft", "list", "table", family, engine.table], capture_output=True, text=True).stdout
        for family in ("ip", "ip6")
    ]
    return "".join(shown)


def test_from_everywhere_with_the_source_kept(ours, outside):
    name = web(ours, "-p", "8080:80")
    hostname = ours.inspect(name)["Config"]["Hostname"]
    assert outside.fetch(outside.world, 8080) == hostname
    assert outside.address in outside.fetch(outside.world, 8080, "/cgi-bin/ip")
    for address in ("127.0.0.1", "127.0.0.9", outside.world, "::1", outside.world6):
        assert fetch(address, 8080) == hostname, address
    assert outside.fetch(outside.world6, 8080) == hostname  # relayed: the container has no IPv6
    gateway = ours.inspect(name)["NetworkSettings"]["Gateway"]
    assert fetch(gateway, 8080) == hostname
    # The loopback never shows inside.
    assert "127.0.0" not in fetch("127.0.0.1", 8080, "/cgi-bin/ip")


def test_hairpins(ours, engine):
    """From the container itself, from its neighbour and from another network, by the machine's address."""
    name, neighbour = web(ours, "-p", "8080:80"), ours.start(network="bridge")
    gateway = ours.inspect(name)["NetworkSettings"]["Gateway"]
    engine.docker("network", "create", "hairpin", check=True)
    stranger = ours.start(network="hairpin")
    try:
        for where in (name, neighbour, stranger):
            assert can_fetch(engine, where, f"http://{gateway}:8080/"), where
    finally:
        engine.docker("rm", "-f", stranger)
        engine.docker("network", "rm", "hairpin", check=True)


def test_an_address_of_ones_own(ours, outside):
    web(ours, "-p", "127.0.0.1:8080:80", "-p", f"{outside.world}:8081:80")
    assert fetch("127.0.0.1", 8080)
    assert not reachable(outside.world, 8080, outside)
    assert outside.fetch(outside.world, 8081)
    assert not reachable("127.0.0.1", 8081)
    assert "cannot assign requested address" in ours.refused("-p", "192.0.2.99:80:80", network="bridge")


def test_ipv6_is_translated_where_the_container_has_it(ours, engine, outside):
    engine.docker("network", "create", "--ipv6", "ports6", check=True)
    try:
        name = web(ours, "-p", "8080:80", network="ports6")
        assert outside.address6 in outside.fetch(outside.world6, 8080, "/cgi-bin/ip")
        assert outside.address in outside.fetch(outside.world, 8080, "/cgi-bin/ip")
        engine.docker("rm", "-f", name)
    finally:
        engine.docker("network", "rm", "ports6", check=True)


ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 53))
while True:
    data, peer = sock.recvfrom(100)
    sock.sendto(data + peer[0].encode(), peer)
"""


def test_udp(engine, outside):
    command = ["run", "-d", "--name", "udp", "-p", "5353:53/udp", "host", "/usr/bin/python3", "-c", ECHO]
    engine.docker(*command, check=True)

    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.sendto(b"hello ", (outside.world, 5353))
            try:
                return sock.recv(100)
            except OSError:
                return b""

    try:
        wait_until(lambda: outside.inside(ask) == f"hello {outside.address}".encode(), "an answer over udp")
    finally:
        engine.docker("rm", "-f", "udp", check=True)


def test_taken_ports(ours):
    name = web(ours, "-p", "8080:80")
    words = ours.refused("-p", "8080:80", network="bridge")
    assert "driver failed programming external connectivity on endpoint" in words
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in words
    assert name in words
    with socket.create_server(("127.0.0.1", 18099)):
        refused = ours.refused("-p", "127.0.0.1:18099:80", network="bridge")
        assert "failed to bind host port 127.0.0.1:18099/tcp: address already in use" in refused
    assert "port is already allocated" not in ours.done("-p", "18098:80", network="bridge").stderr.decode()
    with pytest.raises(OSError, match="in use"):  # nobody else takes it while it is published
        socket.create_server(("0.0.0.0", 8080)).close()


def test_ports_are_free_again(ours, engine):
    name = web(ours, "-p", "8080:80")
    ours.command("stop", "-t", "0", name)
    assert not reachable("127.0.0.1", 8080)
    socket.create_server(("0.0.0.0", 8080)).close()
    wait_until(lambda: "8080" not in own_rules(engine), "the rule to go")
    ours.command("start", name)
    wait_until(lambda: reachable("127.0.0.1", 8080), "the port again")


def test_a_range_takes_the_first_free_one(ours):
    first, second = (web(ours, "-p", "8090-8091:80") for _ in range(2))
    ports = [
        ours.inspect(name)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] for name in (first, second)
    ]
    assert sorted(ports) == ["8090", "8091"]
    assert "port is already allocated" in ours.refused("-p", "8090-8091:80", network="bridge")


def test_rules_come_back_after_a_flush(ours, engine, outside):
    """CVE-2025-54388, 54410: a reload of the firewall opens and closes nothing for long; it is told."""
    name = web(ours, "-p", "8080:80")
    address = addresses(ours.engine, name)[0]
    since = str(int(time.time()) - 1)
    before = own_rules(engine)
    assert before
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    wait_until(lambda: own_rules(engine) == before, "our rules")
    assert outside.fetch(outside.world, 8080)
    assert not reachable(address, 80, outside)
    done = ours.engine.docker(
        *("events", "--since", since, "--until", str(int(time.time()) + 2), "--filter", "type=network")
    )
    assert b"network reload" in done.stdout
    table = next(line.split()[2] for line in before.splitlines() if line.startswith("table ip onggi"))
    subprocess.run(["nft", "flush", "chain", "ip", table, "guard"], check=True)
    wait_until(lambda: own_rules(engine) == before, "the guard")


def test_ports_and_addresses_outlive_the_engine(ours, engine, outside):
    name = web(ours, "-p", "8080:80")
    before = ours.inspect(name)["NetworkSettings"]
    engine.kill()
    assert outside.fetch(outside.world, 8080)  # the filter is the kernel's
    engine.start()
    assert ours.inspect(name)["NetworkSettings"] == before
    assert outside.fetch(outside.world, 8080)
    assert fetch("::1", 8080)
    assert "port is already allocated" in ours.refused("-p", "8080:80", network="bridge")
    other = ours.start(network="bridge")
    assert addresses(engine, other)[0] != before["IPAddress"]
    engine.kill()
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    ours.engine.start()
    assert outside.fetch(outside.world, 8080)


def test_five_hundred_ports(ours, engine):
    """One process, whatever the number of ports."""
    children = len(os.listdir(f"/proc/{engine.process.pid}/task"))
    name = ours.start("-p", "20000-20499:20000-20499", network="bridge", command=["sh", "-c", WEB])
    assert len(ours.inspect(name)["NetworkSettings"]["Ports"]) == 500
    assert len(os.listdir(f"/proc/{engine.process.pid}/task")) < children + 50
    assert not reachable("127.0.0.1", 20300)


def test_what_reaches_a_relay_and_ends_is_closed(ours, outside):
    """A relayed connection whose container does not answer ends, and the engine goes on."""
    name = ours.start("-p", "8080:81", network="bridge")
    with socket.create_connection(("::1", 8080), 30) as sock:
        sock.settimeout(30)
        assert sock.recv(1) == b""
    assert ours.inspect(name)["State"]["Running"]
