"""Networks through storms, kills of the engine and reboots: nothing leaks, nothing is given out twice."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from network_storm import Storm, links, play

from engines import RealEngine, engine_at, wait_until
from onggi.kernel import rtnl
from onggi.kernel.netlink import Netlink

CONTAINERS, CLIENTS = 60, 12  # more by network_storm.py: docs/proofs/network-storm.md


@pytest.fixture
def engine(tmp_path):
    try:
        with engine_at(tmp_path) as engine:
            yield engine
    finally:
        with Netlink() as netlink:
            ours = [link.name for link in rtnl.links(netlink) if link.kind == "bridge"]
            netlink.change([rtnl.delete_link(name) for name in ours if name.startswith(("br-", "onggi"))])
        subprocess.run(["nft", "flush", "ruleset"], check=True)


def networks_of(engine, name):
    shown = json.loads(engine.docker("inspect", name, check=True).stdout)[0]["NetworkSettings"]
    return {key: entry["IPAddress"] for key, entry in shown["Networks"].items()}


def test_a_storm_leaves_nothing(engine):
    descriptors = len(os.listdir(f"/proc/{engine.process.pid}/fd"))
    play(engine, Storm(engine, CONTAINERS, CLIENTS))
    wait_until(
        lambda: (
            len(os.listdir(f"/proc/{engine.process.pid}/fd")) < descriptors + CLIENTS
        ),  # what a life left there would be as many as lives
        "descriptors to be closed",
    )


def test_a_storm_with_kills_of_the_engine_leaves_nothing(engine):
    play(engine, Storm(engine, CONTAINERS // 5, CLIENTS // 3, kills=1))


def test_a_killed_engine_finds_its_networks(engine):
    """Addresses stay taken, what ended meanwhile is free, strays are removed, and new ones work."""
    engine.docker("network", "create", "--subnet", "10.92.0.0/24", "many", check=True)
    for name in ("stays", "ends"):
        engine.docker(
            "run", "-d", "--name", name, "--network", "many", "busybox", "sleep", "1000", check=True
        )
    before = networks_of(engine, "stays")
    pid = json.loads(engine.docker("inspect", "ends").stdout)[0]["State"]["Pid"]
    engine.kill()
    os.kill(pid, signal.SIGKILL)
    with Netlink() as netlink:  # the other end of a container that nobody knows
        bridge = next(link for link in rtnl.links(netlink) if link.name.startswith("br-"))
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        netlink.change(
            [rtnl.add_veth("veth0000000", bridge.number, rtnl.Peer("stray0", "02:00:00:00:00:05", own))]
        )
        os.close(own)
    engine.start()
    assert networks_of(engine, "stays") == before
    wait_until(lambda: networks_of(engine, "ends") == {"many": ""}, "the end of what was killed meanwhile")
    assert "veth0000000" not in links()
    engine.docker("run", "-d", "--name", "new", "--network", "many", "busybox", "sleep", "1000", check=True)
    assert networks_of(engine, "new") != before
    assert engine.docker("exec", "new", "ping", "-c", "1", "-W", "30", "stays").returncode == 0


def test_an_engine_killed_before_go_leaves_no_half_container(engine, monkeypatch):
    """Between ``prepared`` and ``go`` nobody knows how far the wiring came: the run is ended."""
    engine.docker("create", "--name", "half", "-p", "8080:80", "busybox", "sleep", "1000", check=True)
    engine.stop()
    chosen = engine.environment | {"ONGGI_FAILPOINT": "containers.start.after_wire"}
    with monkeypatch.context() as patch:
        patch.setattr(RealEngine, "environment", chosen)
        engine.start()
    before = links()
    engine.docker("start", "half")
    engine.process.wait(60)
    engine.start()
    state = json.loads(engine.docker("inspect", "half").stdout)[0]["State"]
    assert not state["Running"]
    wait_until(lambda: not [name for name in links() - before if name.startswith("veth")], "its link to go")
    assert engine.docker("start", "half").returncode == 0
    assert json.loads(engine.docker("inspect", "half").stdout)[0]["State"]["Running"]


def test_networks_after_a_reboot(engine):
    """Bridges, rules and the run directory are gone; the networks are there again."""
    engine.docker("network", "create", "--subnet", "10.92.0.0/24", "many", check=True)
    engine.docker("run", "-d", "--name", "web", "--network", "many", "busybox", "sleep", "1000", check=True)
    shown = engine.docker("network", "inspect", "many", "-f", "{{.Id}} {{json .IPAM}}").stdout
    pid = int(engine.docker("inspect", "web", "-f", "{{.State.Pid}}").stdout)
    engine.stop()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the container's end")
    with Netlink() as netlink:
        bridges = [link.name for link in rtnl.links(netlink) if link.name.startswith("br-")]
        netlink.change([rtnl.delete_link(name) for name in bridges])
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    (engine.exec_root / "boot_id").unlink(missing_ok=True)
    for entry in ("containers", "forwarding"):
        shutil.rmtree(engine.exec_root / entry, ignore_errors=True)
    engine.start()
    assert engine.docker("network", "inspect", "many", "-f", "{{.Id}} {{json .IPAM}}").stdout == shown
    assert set(bridges) <= links()
    assert engine.docker("start", "web").returncode == 0
    assert networks_of(engine, "web")["many"].startswith("10.92.0.")
