"""Flags of ``run`` about networks, each by its effect; networks as such are in ``test_networks``."""

import json

import docker
import pytest


@pytest.fixture
def network(engine):
    name = "flagged"
    engine.docker("network", "create", "--ipv6", "--subnet", "10.94.0.0/24", name, check=True)
    yield name
    found = engine.docker("ps", "-aq", "--filter", f"network={name}").stdout.decode().split()
    if found:
        engine.docker("rm", "-f", *found)
    engine.docker("network", "rm", name, check=True)


def endpoint(run, name, network):
    return run.inspect(name)["NetworkSettings"]["Networks"][network]


def test_flag_network(run):
    count = "ls /sys/class/net"
    assert run(sh=count) == "lo"
    assert run(network="bridge", sh=count).split() == ["eth0", "lo"]
    assert run(network="default", sh=count).split() == ["eth0", "lo"]
    other = run.start()
    inside = run.exec(other, "readlink /proc/self/ns/net")
    assert run(network=f"container:{other}", sh="readlink /proc/self/ns/net") == inside
    assert "network mine not found" in run.refused(network="mine")


@pytest.mark.parametrize("mode", ["host", "none", "bridge"])
def test_each_run_on_a_network_has_a_sandbox(ours, mode):
    def shown():
        found = ours.inspect(name)
        settings = found["NetworkSettings"]
        assert settings["SandboxKey"] == (
            f"/proc/{found['State']['Pid']}/ns/net" if settings["SandboxID"] else ""
        )
        return settings["SandboxID"]

    name = ours.start(network=mode)
    first = shown()
    assert len(bytes.fromhex(first)) == 32
    assert shown() == first
    joining = ours.inspect(ours.start(network=f"container:{name}"))
    assert [joining["NetworkSettings"][f"Sandbox{name}"] for name in ("ID", "Key")] == ["", ""]
    assert ours.command("kill", name).returncode == 0
    assert shown() == ""
    assert ours.command("start", name).returncode == 0
    assert shown() not in ("", first)


def test_flag_ip(run, network):
    assert "inet 10.94.0.77/24" in run("--ip", "10.94.0.77", network=network, sh="ip addr show eth0")


def test_flag_ip6(run, network, engine):
    subnet = json.loads(engine.docker("network", "inspect", network).stdout)[0]["IPAM"]["Config"][1]["Subnet"]
    refused = run.refused("--ip6", "2001:db8::9", network=network)
    assert "invalid endpoint settings" in refused
    six = "six"
    engine.docker("network", "create", "--ipv6", "--subnet", "2001:db8:94::/64", six, check=True)
    try:
        shown = run("--ip6", "2001:db8:94::9", network=six, sh="ip addr show eth0")
        assert "inet6 2001:db8:94::9/64" in shown
    finally:
        engine.docker("network", "rm", six, check=True)
    assert subnet.startswith("fd")


def test_flag_mac_address(run, network):
    shown = run("--mac-address", "92:d0:c6:0a:29:33", network=network, sh="cat /sys/class/net/eth0/address")
    assert shown == "92:d0:c6:0a:29:33"
    assert "is not a valid mac address" in run.refused("--mac-address", "xx", network=network)


def test_flag_link_local_ip(run, network):
    shown = run("--link-local-ip", "169.254.1.9", network=network, sh="ip addr show eth0")
    assert "inet 169.254.1.9/16" in shown


def test_flag_network_alias(run, network):
    name = run.start("--network-alias", "other", network=network)
    entry = endpoint(run, name, network)
    assert entry["Aliases"] == ["other"]
    assert entry["DNSNames"][:2] == [name, "other"]
    words = "network-scoped aliases are only supported for user-defined networks"
    assert words in run.refused("--network-alias", "other", network="bridge")


def test_flag_link(run):
    other = run.start("--expose", "80", "--env", "WORD=yes", network="bridge")
    address = endpoint(run, other, "bridge")["IPAddress"]
    hosts = run("--link", f"{other}:db", network="bridge", sh="cat /etc/hosts; env")
    assert f"{address}\tdb " in hosts
    assert other in hosts
    assert f"DB_PORT_80_TCP=tcp://{address}:80" in hosts
    assert "DB_ENV_WORD=yes" in hosts
    me = run.start("--link", f"{other}:db", network="bridge")
    assert run.command("rm", "--link", f"{me}/db").returncode == 0
    assert run.inspect(me)["HostConfig"]["Links"] is None
    assert run.command("rm", "--link", f"{me}/db").returncode == 1


def test_a_link_names_what_it_leads_to(run):
    other = run.start(network="bridge")
    me = run.start("--link", f"{other}:db", network="bridge")
    assert run.inspect(me)["HostConfig"]["Links"] == [f"/{other}:/{me}/db"]
    assert run.inspect(f"{me}/db")["Name"] == f"/{other}"
    shown = run.command("ps", "--no-trunc", "--filter", f"name={me}/db", "--format", "{{.Names}}").stdout
    assert sorted(shown.decode().strip().split(",")) == sorted([other, f"{me}/db"])
    for renamed, name in ((other, "left"), (me, "right")):
        assert run.command("rename", renamed, f"{renamed}{name}").returncode == 0
    assert run.inspect(f"{me}right/db")["Name"] == f"/{other}left"
    for renamed, name in ((other, "left"), (me, "right")):
        assert run.command("rename", f"{renamed}{name}", renamed).returncode == 0
    assert run.command("rm", "--link", f"/{me}/db").returncode == 0
    assert run.command("inspect", f"{me}/db").returncode == 1
    assert run.inspect(other)["State"]["Running"]


def test_a_link_to_what_does_not_run_is_refused_at_the_start(ours):
    other = ours.start("--expose", "80", network="bridge")
    assert ours.command("kill", other).returncode == 0
    link = ("--network", "bridge", "--link", f"{other}:db")
    made = ours.command("create", *link, "--name", f"{other}-l", "busybox", "env")
    try:
        assert made.returncode == 0, made
        refused = ours.command("start", f"{other}-l")
        words = f"Cannot link to a non running container: /{other} AS /{other}-l/db"
        assert (refused.returncode, words in refused.stderr.decode()) == (1, True), refused
        assert ours.command("start", other).returncode == 0
        assert b"DB_PORT=tcp://" in ours.command("start", "-a", f"{other}-l").stdout
    finally:
        ours.command("rm", f"{other}-l")


def test_a_running_container_follows_what_it_links(ours):
    other = ours.start(network="bridge")
    before = endpoint(ours, other, "bridge")["IPAddress"]
    me = ours.start("--link", f"{other}:db", network="bridge")
    ours.exec(me, "echo 192.0.2.1 mine >>/etc/hosts")
    assert ours.command("kill", other).returncode == 0
    assert ours.command("start", other).returncode == 0
    after = endpoint(ours, other, "bridge")["IPAddress"]
    assert after != before  # the pool goes round
    lines = ours.exec(me, "cat /etc/hosts").splitlines()
    assert [line.split()[:2] for line in lines if "\tdb " in line] == [[after, "db"]]
    assert lines[-1] == "192.0.2.1 mine"


def test_what_links_needs_what_it_links(ours, client):
    other = ours.start(network="bridge")
    me = ours.start("--link", f"{other}:db", network="bridge")
    assert f"DB_NAME=/{me}/db" in ours.exec(me, "env").splitlines()
    assert ours.command("kill", other).returncode == 0
    words = f"Cannot link to a non running container: /{other} AS /{me}/db"
    refused = ours.command("exec", me, "true")
    assert (refused.returncode, words in refused.stderr.decode()) == (1, True), refused
    client.api.kill(me)
    for verb in (client.api.start, client.api.restart):
        with pytest.raises(docker.errors.APIError) as error:
            verb(me)
        prefix = f"Cannot restart container {me}: " if verb == client.api.restart else ""
        assert (error.value.status_code, error.value.explanation) == (500, prefix + words)


def test_a_link_keeps_the_last_name_of_what_is_removed(ours):
    other = ours.start(network="bridge")
    me = ours.start("--link", f"{other}:db", network="bridge")
    assert ours.command("kill", me).returncode == 0
    last = f"{other}-later"
    another = ours.start(network="bridge")
    for command in (["rename", other, last], ["rm", "-f", last], ["rename", another, last]):
        assert ours.command(*command).returncode == 0
    assert ours.inspect(me)["HostConfig"]["Links"] == [f"/{last}:/{me}/db"]
    refused = ours.command("start", me)
    assert f"Cannot link to a non running container: /{last} AS /{me}/db" in refused.stderr.decode()
    assert ours.command("rename", last, another).returncode == 0
    assert ours.command("rm", "--link", f"{me}/db").returncode == 0
    assert ours.command("start", me).returncode == 0


def test_links_lead_to_the_default_network(ours, network):
    other = ours.start(network=network)
    words = f"container {ours.inspect(other)['Id']} not attached to default bridge network"
    assert words in ours.refused("--link", f"{other}:db", network="bridge")
    other = ours.start(network="host")
    assert "host type networking can't be used with links" in ours.refused(
        "--link", f"{other}:db", network="bridge"
    )


def test_flag_publish(run):
    name = run.start("-p", "127.0.0.1:18080:80", "-p", "18081-18082:81-82/udp", network="bridge")
    ports = run.inspect(name)["NetworkSettings"]["Ports"]
    assert ports["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "18080"}]
    assert {"HostIp": "0.0.0.0", "HostPort": "18082"} in ports["82/udp"]
    assert run.command("port", name, "80").stdout == b"127.0.0.1:18080\n"


def test_flag_publish_all(run):
    name = run.start("-P", "--expose", "80", network="bridge")
    (first, *_) = run.inspect(name)["NetworkSettings"]["Ports"]["80/tcp"]
    assert int(first["HostPort"]) >= 1024
