"""``onggi network`` beside ``docker network``, on one engine: the same words in, the same words out."""

import os
import re

import pytest

COMMANDS = ("connect", "create", "disconnect", "inspect", "ls", "prune", "rm")


def both(engine, *arguments):
    """(exit code, output, error) of ours and docker's."""
    results = [call("network", *arguments) for call in (engine.onggi, engine.docker)]
    return [(done.returncode, done.stdout.decode(), done.stderr.decode()) for done in results]


@pytest.fixture
def mine(engine):
    name = f"n{os.urandom(4).hex()}"
    done = engine.onggi(
        *(
            "network",
            "create",
            "--subnet",
            "10.93.0.0/24",
            "--gateway",
            "10.93.0.1",
            "--label",
            "a=b",
            "--ipv6",
        ),
        *("--ip-range", "10.93.0.128/25", "--aux-address", "x=10.93.0.200", "--internal", name),
    )
    assert done.returncode == 0, done
    yield name
    engine.onggi("network", "rm", "-f", name)


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_dockers(engine, command):
    ours, docker = both(engine, command, "--help")
    flags = [set(re.findall(r"--[a-z0-9-]+", text)) for _, text, _ in (ours, docker)]
    assert flags[1] <= flags[0] | {"--help"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["ls", "-q", "--no-trunc"],
        ["ls", "--format", "json"],
        ["ls", "--format", "{{.ID}} {{.Label \"a\"}} {{.IPv6}} {{.Internal}} {{.CreatedAt}}"],
        ["ls", "--filter", "label=a=b"],
        ["ls", "--filter", "nosuch=1"],
        ["inspect", "bridge", "NAME"],
        ["inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", "NAME"],
        ["inspect", "nosuch"],
        ["rm", "nosuch"],
        ["rm", "bridge"],
        ["create", "NAME"],
        ["create", "--gateway", "10.0.0.1", "x"],
        ["create", "--subnet", "10.93.0.0/25", "x"],
        ["create", "--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1", "x"],
        ["create", "--subnet", "10.1.0.0/24", "--ip-range", "10.2.0.0/25", "x"],
        ["create", "--subnet", "10.1.0.0/24", "--gateway", "10.1.0.1", "--gateway", "10.1.0.2", "x"],
        ["create", "--subnet", "10.1.0.0/24", "--subnet", "10.1.0.0/16", "x"],
        ["create", "-d", "nosuch", "x"],
        ["connect", "nosuch", "nobody"],
        ["disconnect", "NAME", "nobody"],
        ["prune", "-f", "--filter", "label=nosuch"],
    ],
)  # fmt: skip
def test_answers_are_dockers(engine, mine, arguments):
    ours, docker = both(engine, *[mine if word == "NAME" else word for word in arguments])
    assert ours == docker


def test_a_life(engine, mine, ours):
    name = ours.start(network="none")
    ours.command("rm", "-f", name)
    name = ours.start(network="bridge")
    done = engine.onggi(
        "network", "connect", "--ip", "10.93.0.77", "--alias", "other", "--gw-priority", "-1", mine, name
    )
    assert done.returncode == 0, done
    entry = ours.inspect(name)["NetworkSettings"]["Networks"][mine]
    assert (entry["IPAddress"], entry["Aliases"], entry["GwPriority"]) == ("10.93.0.77", ["other"], -1)
    assert b"has active endpoints" in engine.onggi("network", "rm", mine).stderr
    assert engine.onggi("network", "disconnect", mine, name).returncode == 0
    assert engine.onggi("network", "rm", mine).stdout.decode().strip() == mine
    assert engine.onggi("network", "create", mine).returncode == 0
    assert mine in engine.onggi("network", "prune", "-f").stdout.decode()
