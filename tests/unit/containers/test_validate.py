"""Requests that are wrong or come too early, in the words clients see."""

import time

import msgspec
import pytest
from fake_containers import MACHINE

from onggi.containers import clamps
from onggi.containers.host import parse_cpu_list
from onggi.containers.merge import complete
from onggi.containers.mount_points import all_points, image_volumes
from onggi.containers.request import Resources, convert, parse_create
from onggi.containers.validate import check_name, check_request
from onggi.errors import InvalidArgument, Unsupported

WRONG = [
    ({}, {"Memory": 1 << 20}, "Minimum memory limit allowed is 6MB"),
    (
        {},
        {"MemorySwap": 1 << 30},
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    ),
    (
        {},
        {"Memory": 1 << 30, "MemorySwap": 1 << 29},
        "Minimum memoryswap limit should be larger than memory limit",
    ),
    ({}, {"NanoCpus": 3 * 10**9}, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
    (
        {},
        {"NanoCpus": 10**9, "CpuPeriod": 5000},
        "Conflicting options: Nano CPUs and CPU Period cannot both be set",
    ),
    ({}, {"CpusetCpus": "7"}, "Requested CPUs are not available - requested 7, available: 0-1"),
    ({}, {"CpusetCpus": "a"}, "Invalid value a for cpuset cpus"),
    ({}, {"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
    ({}, {"OomScoreAdj": 2000}, r"Invalid value 2000, range for oom score adj is \[-1000, 1000\]"),
    ({}, {"CapAdd": ["NOPE"]}, 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
    (
        {},
        {"NetworkMode": "container:c", "PublishAllPorts": True},
        "conflicting options: port publishing and the",
    ),
    ({}, {"NetworkMode": "container:c", "Links": ["a:b"]}, "container type network can't be used with links"),
    ({}, {"NetworkMode": "host", "Links": ["a:b"]}, "host type networking can't be used with links"),
    ({}, {"NetworkMode": "container:"}, "invalid network mode: invalid container format container:<name|id>"),
    ({}, {"SecurityOpt": ["what"]}, 'invalid --security-opt 1: "what"'),
    ({}, {"SecurityOpt": ["what=x"]}, 'invalid --security-opt 2: "what=x"'),
    (
        {},
        {"Sysctls": {"kernel.core_pattern": "|x"}},
        'sysctl "kernel.core_pattern" is not in a separate kernel namespace',
    ),
    ({}, {"Sysctls": {"kernel.shm_rmid_forced": "1\n+kernel.core_pattern=x"}}, "invalid sysctl"),
    (
        {},
        {"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"},
        "not allowed in host network namespace",
    ),
    (
        {},
        {"Annotations": {"": "a"}},
        "invalid Annotations: the empty string is not permitted as an annotation key",
    ),
    ({}, {"RestartPolicy": {"Name": "maybe"}}, "unknown policy 'maybe'"),
    (
        {},
        {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
        "can't create 'AutoRemove' container with restart policy",
    ),
    (
        {},
        {"Binds": ["/:/x:private"]},
        'must use either propagation mode "rslave" or "rshared" when mount source',
    ),
    ({}, {"Binds": ["/a:b"]}, "invalid mount path: 'b' mount path must be absolute"),
    ({}, {"Binds": ["/a:/b:maybe"]}, "invalid mode: maybe"),
    ({}, {"Binds": ["/a:/"]}, "destination can't be '/'"),
    ({}, {"Binds": ["/a:/x", "/b:/x/"]}, "Duplicate mount point: /x"),
    ({}, {"Binds": ["/a:/x/../proc"]}, "cannot be mounted because it is inside /proc"),
    ({}, {"Tmpfs": {"/x": "lowerdir=/"}}, "invalid tmpfs option"),
    (
        {},
        {"Mounts": [{"Type": "odd", "Target": "/x"}]},
        'invalid mount config for type "odd": mount type unknown',
    ),
    ({}, {"LogConfig": {"Type": "nope"}}, 'error looking up logging plugin nope: plugin "nope" not found'),
    (
        {},
        {"LogConfig": {"Type": "json-file", "Config": {"x": "1"}}},
        "unknown log opt 'x' for json-file log driver",
    ),
    ({}, {"IpcMode": "odd"}, "invalid IPC mode: odd"),
    ({}, {"Runtime": "other"}, "unknown or invalid runtime name: other"),
    ({}, {"ExtraHosts": ["a"]}, 'bad format for add-host: "a"'),
    ({}, {"ExtraHosts": ["a:b"]}, 'invalid IP address in add-host: "b"'),
    ({}, {"Ulimits": [{"Name": "odd"}]}, "invalid ulimit type: odd"),
    ({}, {"ShmSize": -1}, "SHM size can not be less than 0"),
    ({}, {"DeviceCgroupRules": ["x"]}, "invalid device cgroup rule format: 'x'"),
    ({}, {"CgroupParent": "/a/../../b"}, "invalid cgroup parent"),
    ({}, {"CgroupParent": "tries.slice"}, "invalid cgroup parent"),
    ({"WorkingDir": "rel"}, {}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
    ({"Env": ["=x"]}, {}, "invalid environment variable: =x"),
    ({"StopSignal": "SIGNOPE"}, {}, "invalid signal: SIGNOPE"),
    (
        {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}},
        {},
        "Interval in Healthcheck cannot be less than 1ms",
    ),
    ({"Hostname": "bad name"}, {}, "invalid hostname format: bad name"),
    ({}, {"PortBindings": {"80/x": [{}]}}, "invalid proto: x"),
    ({}, {"PortBindings": {"80-81/tcp": [{}]}}, 'invalid port specification: "80-81"'),
    ({}, {"PortBindings": {"99999": [{}]}}, 'invalid port specification: "99999"'),
    ({}, {"PortBindings": {"80": [{"HostPort": "x"}]}}, 'invalid port specification: "x"'),
    ({"ExposedPorts": {"0x50": {}}}, {}, 'invalid port specification: "0x50"'),
]

LATER = [
    ({}, {"StorageOpt": {"size": "1G"}}),
    ({}, {"UsernsMode": "private"}),
    ({}, {"SecurityOpt": ["apparmor=mine"]}),
    ({}, {"SecurityOpt": ["label=type:x"]}),
    ({}, {"LogConfig": {"Type": "gelf"}}),
    ({}, {"DeviceRequests": [{"Capabilities": [["gpu"]]}]}),
    ({}, {"KernelMemory": 1 << 30}),
]


def check(config, host):
    request = parse_create({"Image": "x", "Cmd": ["y"], **config, "HostConfig": host})
    complete(request, "a" * 64, "json-file", "machine")
    warnings = check_request(request, MACHINE)
    all_points(request.config, request.host, [], "/var/lib/onggi")
    return warnings


def test_what_has_the_data_root_in_it_follows_the_machines_mounts():
    binds = [
        "/:/a",
        "/var/lib:/b:ro",
        "/var/lib/onggi/x:/c",
        "/:/d:rshared",
        "/var/lib/ong:/e",
        "/a:/f:private",
    ]
    request = parse_create({"Image": "x", "HostConfig": {"Binds": binds}})
    points = all_points(request.config, request.host, [], "/var/lib/onggi")
    assert [it.propagation for it in points] == ["rslave"] * 3 + ["rshared", "rprivate", "private"]


@pytest.mark.parametrize(("config", "host", "words"), WRONG)
def test_wrong_requests_have_dockers_words(config, host, words):
    with pytest.raises(InvalidArgument, match=words.replace("(", r"\(")):
        check(config, host)


@pytest.mark.parametrize(("config", "host"), LATER)
def test_what_is_not_there_yet_is_refused_by_name(config, host):
    with pytest.raises(Unsupported):
        check(config, host)


@pytest.mark.parametrize("mode", ["", "default", "bridge", "none", "host", "mine"])
def test_networks_give_no_warning(mode):
    assert check({}, {"NetworkMode": mode}) == []


def test_cve_2018_20699_huge_cpusets_are_refused_fast():
    begin = time.process_time()
    for text in ("0-2147483647", "0-99999", "0-", "-1", "1-0", ""):
        with pytest.raises(ValueError, match=f"^{text}$"):
            parse_cpu_list(text)
    assert time.process_time() - begin < 5
    assert parse_cpu_list("0-2,7") == {0, 1, 2, 7}


def test_cve_2019_16884_image_volume_over_proc():
    with pytest.raises(InvalidArgument, match="inside /proc"):
        image_volumes(["/proc"])


def test_cve_2022_23648_image_volume_stays_inside():
    assert list(image_volumes(["/../../canary", "data/../x"])) == ["/canary", "/x"]


@pytest.mark.parametrize("name", ["a", "-x", "a/b", "../x", "x" * 300, "ü1", ""])
def test_names(name):
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        check_name(name)
    assert check_name("/web-1.x_y") == "web-1.x_y"


def test_a_limit_that_the_machine_lacks_is_told_and_discarded():
    machine = msgspec.structs.replace(MACHINE, limits=frozenset({"MemoryLimit"}))
    said = [*clamps.lacking(convert({"Memory": 1 << 30, "BlkioWeight": 500}, Resources), machine)]
    assert said == [
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
    ]
    assert not [*clamps.lacking(convert({"BlkioWeight": 500}, Resources), MACHINE)]
