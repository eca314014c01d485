"""Beside other people's packet filters: ours pass, by the smallest rule, and theirs stay as they were."""

import contextlib
import json
import os
import re
import subprocess

import pytest
from test_networks import WEB, addresses, network  # noqa: F401 - a fixture
from test_ports import ruleset, web

from engines import RealEngine, delete_tables, wait_until
from hosts import Machine, fetch, inside, reachable
from onggi.networks import rules
from onggi.networks.model import NAME, Network, Subnet

IPTABLES = {
    "policy": ["-P FORWARD DROP"],
    "dockerd": [
        "-P FORWARD DROP", "-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN",
        "-N DOCKER-FORWARD", "-A FORWARD -j DOCKER-FORWARD",
    ],
    "ufw": [
        "-P INPUT DROP", "-P FORWARD DROP", "-N ufw-before-forward", "-N ufw-user-forward",
        "-N ufw-before-input",
        "-A INPUT -j ufw-before-input", "-A ufw-before-input -i lo -j ACCEPT",
        "-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A FORWARD -j ufw-before-forward", "-A ufw-before-forward -j ufw-user-forward",
        "-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ],
}  # fmt: skip
NFTABLES = {
    "nftables": "table inet mine {\n"
    " chain forward { type filter hook forward priority 0; policy drop; }\n}\n",
    "firewalld": "table inet firewalld {\n chain filter_FORWARD { type filter hook forward priority 10; "
    "policy accept; ct state established accept; reject with icmpx admin-prohibited; }\n}\n",
}


def lines_of(text):
    """The lines of a rule set without what was counted."""
    return {re.sub(r"packets \d+ bytes \d+", "", line).strip() for line in text.splitlines()}


def ours_in(text):
    """Rules of a user's network; the default bridge may be there as well."""
    return [line for line in text.splitlines() if 'comment "onggi' in line and '"br-' in line]


@pytest.fixture
def outside():
    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture(params=[*IPTABLES, *NFTABLES])
def filter_of(request):
    """A function that puts somebody's filter in place; gone afterwards."""

    def install():
        for line in IPTABLES.get(request.param, ()):
            subprocess.run(["iptables", "-w", *line.split()], check=True)
        if request.param in NFTABLES:
            subprocess.run(["nft", "-f", "-"], input=NFTABLES[request.param].encode(), check=True)

    yield install
    for table in ("ip filter", "inet mine", "inet firewalld"):
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["nft", "delete", "table", *table.split()], check=True, stderr=subprocess.DEVNULL)


def test_a_filter_that_was_there_first(ours, network, outside, filter_of):  # noqa: F811
    filter_of()
    before = ruleset()
    name = network()
    server = web(ours, "-p", "8080:80", network=name)
    assert outside.fetch(outside.world, 8080)
    listener = outside.listen(7000)
    ours.start(network=name, command=["sh", "-c", f"echo hi | nc {outside.address} 7000; sleep 100"])
    listener.accept()[0].close()
    rules = ours_in(ruleset())
    assert len(rules) == 2, rules
    assert subprocess.run(["iptables", "-S"], capture_output=True).returncode == 0
    ours.command("rm", "-f", server)
    for container in ours.engine.docker("ps", "-aq", "--filter", f"network={name}").stdout.decode().split():
        ours.engine.docker("rm", "-f", container)
    ours.engine.docker("network", "rm", name, check=True)
    assert not ours_in(ruleset())
    assert lines_of(before) <= lines_of(ruleset())


def test_a_filter_that_comes_later(ours, network, outside, filter_of):  # noqa: F811
    name = network()
    web(ours, "-p", "8080:80", network=name)
    filter_of()
    wait_until(lambda: len(ours_in(ruleset())) >= 2, "our rules in their chain")
    assert outside.fetch(outside.world, 8080)
    assert not reachable(outside.world, 8081, outside)


def test_beside_an_engine_that_forwards_for_nobody_else(ours, network, outside):  # noqa: F811
    """An engine that switched forwarding on refuses to forward for strangers, not for engines beside it."""
    elsewhere = Network(
        id="f" * 64, name="n", options={NAME: "other0"}, subnets=[Subnet(subnet="10.99.0.0/24")]
    )
    closed = rules.Ruleset(rules.segments([elsewhere]), closed=True)
    subprocess.run(["nft", "-f", "-"], input=rules.transaction("onggi-other", closed).encode(), check=True)
    try:
        for options in ((), ("-o", "com.docker.network.bridge.name=mine0")):
            name = network(*options)
            server = web(ours, "-p", "8080:80", network=name)
            assert outside.fetch(outside.world, 8080)
            address = addresses(ours.engine, server)[0]
            page = ["wget", "-qO-", f"http://{address}/"]
            ours.engine.docker("run", "--rm", "--network", name, "busybox", *page, check=True)
            ours.command("rm", "-f", server)
    finally:
        delete_tables("onggi-other")


UFW = """table inet admin {
 chain input { type filter hook input priority 0; policy drop; iifname "lo" accept;
  ct state established,related accept; jump user; }
 chain user { tcp dport 22 accept; }
}
"""


def test_published_ports_that_obey(tmp_path, outside):
    """The admin's rules for the machine's own ports decide who comes from outside; ``--obey-firewall``."""
    engine = RealEngine(tmp_path, "--obey-firewall")
    subprocess.run(["nft", "-f", "-"], input=UFW.encode(), check=True)
    try:
        engine.start()
        engine.import_busybox()
        run = ["run", "-d", "-p", "8080:80", "busybox", "sh", "-c", WEB]
        name = engine.docker(*run, check=True).stdout.decode().strip()
        wait_until(lambda: reachable("127.0.0.1", 8080), "the web server")
        assert fetch(outside.world, 8080) == name[:12]
        assert not reachable(outside.world, 8080, outside)
        subprocess.run(
            ["nft", "add", "rule", "inet", "admin", "user", "tcp", "dport", "8080", "accept"], check=True
        )
        assert outside.fetch(outside.world, 8080) == name[:12]
        engine.kill()
        engine.start()
        assert outside.fetch(outside.world, 8080) == name[:12]
        refused = engine.docker("run", "--rm", "-p", "53:53/udp", "busybox", "true")
        assert (refused.returncode, b"obey-firewall" in refused.stderr) == (125, True)
    finally:
        engine.destroy()
        subprocess.run(["nft", "delete", "table", "inet", "admin"], check=True)


METADATA = "169.254.169.254"


def test_metadata_of_a_cloud_may_be_closed(tmp_path, outside):
    """Rule R21: what hands out the machine's rights is no container's, with ``--close-metadata``."""
    subprocess.run(["ip", "addr", "add", "169.254.169.1/24", "dev", outside.link], check=True)
    outside.inside(lambda: subprocess.run(["ip", "addr", "add", f"{METADATA}/24", "dev", "eth0"], check=True))
    outside.listen(80)
    engine = RealEngine(tmp_path)

    def seen(*addresses):
        """Which of the addresses a container reaches."""
        pid = json.loads(engine.docker("inspect", "it", check=True).stdout)[0]["State"]["Pid"]
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            return [it for it in addresses if inside(namespace, reachable, it, 80)]
        finally:
            os.close(namespace)

    try:
        engine.start()
        engine.import_busybox()
        engine.docker("run", "-d", "--name", "it", "busybox", "sleep", "1000", check=True)
        assert seen(METADATA, outside.address) == [METADATA, outside.address]
        engine.stop()
        engine.options = ("--close-metadata",)
        engine.start()
        assert seen(METADATA, outside.address) == [outside.address]
        assert reachable(METADATA, 80)  # by the machine itself
    finally:
        engine.destroy()
