"""docker's configuration becomes an OCI one: its defaults, and one process part for run and exec."""

import json
from pathlib import Path

import pytest
from fake_containers import MACHINE
from hypothesis import given
from hypothesis import strategies as st

from onggi.containers.merge import command_line, complete, merge_image
from onggi.containers.mount_points import mount_points
from onggi.containers.request import ContainerConfig, Resources, convert, parse_create
from onggi.containers.spec import Command, SpecInput, build_config, first_process, process
from onggi.containers.spec_resources import DeviceNode, resources
from onggi.containers.spec_security import parse_security_options
from onggi.containers.users import Identity
from onggi.errors import InvalidArgument

GOLDEN = Path(__file__).parent / "golden"
ID = "0123456789ab" + "c" * 52
ROOT = Identity(0, 0, (0, 10), "/root")
NODES = {"/dev/sda": [DeviceNode("/dev/sda", "b", 8, 0, 0o660, 0, 6)], "/dev": []}


def spec_input(host=None, image=None, identity=ROOT, **config):
    request = parse_create({"Image": "busybox", "Cmd": ["true"], **config, "HostConfig": host or {}})
    merge_image(request.config, image or {})
    complete(request, ID, "json-file", "machine")
    return SpecInput(
        id=ID,
        config=request.config,
        host_config=request.host,
        mounts=mount_points(request.host, "/var/lib/onggi"),
        identity=identity,
        host=MACHINE,
        files={"/etc/hosts": "/data/hosts"},
        devices=lambda path: NODES.get(path, []),
    )


CASES = {
    "default": ({}, {}),
    "privileged": ({"Privileged": True}, {}),
    "limits": (
        {
            "Memory": 64 << 20,
            "NanoCpus": 500_000_000,
            "PidsLimit": 10,
            "CpusetCpus": "0-1",
            "BlkioWeight": 100,
            "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1000}],
            "OomScoreAdj": 5,
            "OomKillDisable": True,
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/xda", "CgroupPermissions": "r"}],
            "DeviceCgroupRules": ["c 13:* rwm"],
            "Sysctls": {"net.ipv4.ip_forward": "1"},
            "ShmSize": 1 << 20,
        },
        {"Tty": True, "Env": ["A=1", "HOME=/x"], "WorkingDir": "/srv", "Domainname": "example"},
    ),
    "shared": (
        {
            "NetworkMode": "host",
            "PidMode": "host",
            "IpcMode": "host",
            "UTSMode": "host",
            "CgroupnsMode": "host",
            "ReadonlyRootfs": True,
            "Init": True,
            "CapAdd": ["SYS_ADMIN"],
            "CapDrop": ["net_raw"],
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
            "Annotations": {"a": "b", "org.onggi.x": "no"},
            "Binds": ["/src:/dst:ro,rslave"],
            "Tmpfs": {"/run": "size=1m,exec"},
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": "/a",
                    "Target": "/dst/deeper",
                    "BindOptions": {"NonRecursive": True},
                }
            ],
        },
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    host, config = CASES[name]
    text = json.dumps(build_config(spec_input(host, **config)), indent=1) + "\n"
    assert text == (GOLDEN / f"{name}.json").read_text()


@given(
    caps=st.lists(st.sampled_from(["SYS_ADMIN", "CAP_NET_ADMIN", "ALL"])),
    drop=st.lists(st.sampled_from(["CHOWN", "KILL", "ALL"])),
    uid=st.sampled_from([0, 1000]),
    privileged=st.booleans(),
    options=st.lists(st.sampled_from(["no-new-privileges", "no-new-privileges=false"])),
)
def test_exec_has_the_rights_of_run(caps, drop, uid, privileged, options):
    host = {
        "CapAdd": caps,
        "CapDrop": drop,
        "Privileged": privileged,
        "SecurityOpt": options,
        "OomScoreAdj": 7,
    }
    source = spec_input(host, identity=Identity(uid, uid, (uid, 5), "/"))
    run = first_process(source)
    command = Command(
        ["other"], source.config.env, "/", source.identity, False, source.host_config.privileged
    )
    executed = process(command, source.host_config, MACHINE)
    for key in ("user", "capabilities", "noNewPrivileges", "rlimits", "oomScoreAdj"):
        assert run[key] == executed[key]
    assert set(run["capabilities"]) == {"bounding", "effective", "permitted"}
    if uid:
        assert run["capabilities"]["effective"] == run["capabilities"]["permitted"] == []


def test_image_settings_are_defaults_only():
    image = {
        "Env": ["A=image", "B=image"],
        "Entrypoint": ["/entry"],
        "Cmd": ["arg"],
        "User": "app",
        "WorkingDir": "/work",
        "Labels": {"org.onggi.restart": "x", "mine": "y"},
        "StopSignal": "SIGQUIT",
        "HostConfig": {"Privileged": True},
        "SecurityOpt": ["seccomp=unconfined"],
    }
    source = spec_input(image=image, Env=["A=request"], Cmd=["own"])
    assert source.config.env == ["A=request", "B=image"]
    assert first_process(source)["args"] == ["/entry", "own"]
    assert (source.config.labels, source.config.stop_signal) == ({"mine": "y"}, "SIGQUIT")
    assert not source.host_config.privileged
    assert source.host_config.security_opt is None


def test_an_entrypoint_drops_the_images_command():
    source = spec_input(image={"Entrypoint": ["/a"], "Cmd": ["b"]}, Cmd=None, Entrypoint=["/c"])
    assert first_process(source)["args"] == ["/c"]


def test_an_empty_list_drops_the_images_entrypoint():
    source = spec_input(image={"Entrypoint": ["/a"], "Cmd": ["b"]}, Entrypoint=[])
    assert (source.config.entrypoint, command_line(source.config)) == ([], ["true"])


def test_environment_without_a_value_removes_the_variable():
    env = first_process(spec_input(Env=["HOSTNAME", "X=1"]))["env"]
    assert "X=1" in env
    assert not [entry for entry in env if entry.startswith("HOSTNAME")]


def test_numbers_out_of_range_are_refused():
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        parse_create({"Image": "x", "HostConfig": {"Memory": 2**70}})
    with pytest.raises(InvalidArgument, match="expected `int`"):
        parse_create({"Image": "x", "HostConfig": {"Memory": "1"}})


def test_writable_cgroups_needs_no_value():
    for option in ("writable-cgroups", "writable-cgroups=true"):
        assert parse_security_options([option]).writable_cgroups
    assert not parse_security_options(["writable-cgroups=false"]).writable_cgroups


def test_an_empty_entrypoint_is_none_and_an_empty_command_is_one():
    assert command_line(ContainerConfig(entrypoint=[""], cmd=["id"])) == ["id"]
    assert command_line(ContainerConfig(cmd=[""])) == [""]
    with pytest.raises(InvalidArgument, match="no command specified"):
        command_line(ContainerConfig(entrypoint=[""]))


def test_a_throttle_of_what_is_no_disk_is_refused_in_runcs_words():
    terminal = DeviceNode("/dev/tty0", "c", 4, 0, 0o620, 0, 5)
    limits = convert({"BlkioDeviceReadBps": [{"Path": terminal.path, "Rate": 1}]}, Resources)
    with pytest.raises(InvalidArgument, match=r"error setting cgroup config .*: /dev/tty0: no such device"):
        resources(limits, lambda path: [terminal])
    with pytest.raises(InvalidArgument, match="stat /dev/tty0: no such file or directory"):
        resources(limits, lambda path: [])
