"""Flags of ``run`` that choose namespaces, names and groups: each by its effect."""

import os
from pathlib import Path

import pytest

from engines import wait_until


def namespace(kind: str) -> str:
    """This process's own, which is the engine's as well."""
    return os.readlink(f"/proc/self/ns/{kind}")


@pytest.mark.parametrize(
    ("flag", "kind"), [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")]
)
def test_host_namespaces(run, flag, kind):
    read = f"readlink /proc/self/ns/{kind}"
    assert run(flag, "host", sh=read) == namespace(kind)
    assert run(sh=read) != namespace(kind)


def test_every_user_may_bind_any_port_and_ping(run):
    """As dockerd, in each network namespace that is a container's own."""
    read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"
    machine = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()
    assert run("--user", "1000", sh=read).split() == ["0", "0", "2147483647"]
    assert run(sh=read, network="host").split()[0] == machine != "0"
    asked = run("--sysctl", "net.ipv4.ip_unprivileged_port_start=7", sh=read)
    assert asked.split()[0] == "7"


def test_what_is_joined_must_run(run):
    owner = run.start("--ipc", "shareable", command=["true"])
    wait_until(lambda: run.inspect(owner)["State"]["Status"] == "exited", "the end")
    told = run.refused(network=f"container:{owner}")
    assert f"cannot join network namespace of a non running container: container {owner} is exited" in told
    for flag in ("--ipc", "--pid"):
        told = run.refused(flag, f"container:{owner}")
        assert f"failed to join {flag[2:].upper()} namespace: container " in told


@pytest.mark.parametrize("flag", ["--ipc", "--pid"])
def test_what_is_joined_need_not_run_at_create(ours, flag):
    owner = ours.start(command=["true"])  # its IPC is private: that is for the start to say, too
    ours.wait(owner)
    made = ours.command("create", "--network", "none", flag, f"container:{owner}", "busybox", "true")
    assert made.returncode == 0, made
    me = made.stdout.decode().strip()
    try:
        started = ours.command("start", me)
    finally:
        ours.command("rm", me)
    told = (
        f"failed to join {flag[2:].upper()} namespace: container {ours.inspect(owner)['Id']} is not running"
    )
    assert (started.returncode, told in started.stderr.decode()) == (1, True), started


def test_flag_pid(run):
    other = run.start()
    assert "sleep 1000" in run("--pid", f"container:{other}", sh="cat /proc/1/cmdline | tr '\\0' ' '")
    assert "invalid PID mode" in run.refused("--pid", "nosuch")


def test_flag_ipc(run):
    other = run.start("--ipc", "shareable")
    run.exec(other, "echo shared >/dev/shm/file")
    assert run("--ipc", f"container:{other}", sh="cat /dev/shm/file") == "shared"
    assert run("--ipc", "none", sh="mount | grep -c /dev/shm || true") == "0"
    private = run.start()
    assert "non-shareable IPC" in run.refused("--ipc", f"container:{private}")


def test_flag_uts(run):
    assert run("--uts", "host", sh="hostname") == os.uname().nodename
    for flag in ("--hostname", "--domainname"):
        words = run.refused("--uts", "host", flag, "other")
        assert "conflicting options: hostname and the UTS mode" in words
    assert "invalid UTS mode" in run.refused("--uts", "container:x")


def test_flag_cgroupns(run):
    assert "/" in {line.split(":")[2] for line in run(sh="cat /proc/self/cgroup").splitlines()}
    paths = run("--cgroupns", "host", sh="cat /proc/self/cgroup")
    assert f"{run.engine.cgroup_parent}/c/" in paths
    assert "invalid CGROUP mode" in run.refused("--cgroupns", "nosuch")


def test_flag_cgroup_parent(run):
    parent = f"{run.engine.cgroup_parent}/other"
    paths = run("--cgroup-parent", parent, "--cgroupns", "host", sh="cat /proc/self/cgroup")
    assert f"{parent}/" in paths
    assert "invalid cgroup parent: /a/../../b" in run.refused("--cgroup-parent", "/a/../../b")


def test_flag_userns(run):
    assert run("--userns", "host", sh="readlink /proc/self/ns/user") == namespace("user")
    assert "invalid USER mode" in run.refused("--userns", "nosuch")


def test_flag_add_host(run):
    lines = run(
        "--add-host", "one.example:192.0.2.7", "--add-host", "six=2001:db8::1", sh="cat /etc/hosts"
    ).splitlines()
    assert {"192.0.2.7\tone.example", "2001:db8::1\tsix"} <= set(lines)


def test_flag_dns(run):
    assert "nameserver 192.0.2.53" in run("--dns", "192.0.2.53", sh="cat /etc/resolv.conf").splitlines()
    assert "IP address is not correctly formatted: nosuch" in run.refused("--dns", "nosuch")


def test_flag_dns_option(run):
    assert "options ndots:9" in run("--dns-option", "ndots:9", sh="cat /etc/resolv.conf").splitlines()


def test_flag_dns_search(run):
    assert "search a.example b.example" in run(
        "--dns-search", "a.example", "--dns-search", "b.example", sh="cat /etc/resolv.conf"
    )


def test_flag_expose(run):
    """A note for others, and nothing else: docker's inspect has it."""
    name = run.start("--expose", "80", "--expose", "90-91/udp")
    assert set(run.inspect(name)["Config"]["ExposedPorts"]) == {"80/tcp", "90/udp", "91/udp"}
