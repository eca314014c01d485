"""The plan of writes for OCI resources, on v1, v2 and hybrid machines."""

import pytest

from onggi.errors import InvalidArgument, Unsupported
from onggi.kernel.cgroup_resources import (
    available,
    plan,
    weight_from_blkio,
    weight_from_shares,
)

NAMES = ("cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "devices", "freezer")
V1 = dict.fromkeys(NAMES, 1)
V2 = dict.fromkeys(NAMES, 2)
HYBRID = {**V1, "hugetlb": 2}
DISK = {"major": 8, "minor": 0}


def lines(resources, versions):
    return [f"{write.file}={write.value}" for write in plan(resources, versions).writes]


@pytest.mark.parametrize(
    ("resources", "v1", "v2"),
    [
        ({}, [], []),
        ({"memory": {"limit": 64}}, ["memory.limit_in_bytes=64"], ["memory.max=64"]),
        (
            {"memory": {"limit": 64, "swap": 100}},
            ["memory.limit_in_bytes=64", "memory.memsw.limit_in_bytes=100"],
            ["memory.swap.max=36", "memory.max=64"],
        ),
        (
            {"memory": {"limit": -1}},
            ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
            ["memory.swap.max=max", "memory.max=max"],
        ),
        (
            {"memory": {"limit": 64, "swap": -1, "reservation": 32}},
            ["memory.limit_in_bytes=64", "memory.memsw.limit_in_bytes=-1", "memory.soft_limit_in_bytes=32"],
            ["memory.swap.max=max", "memory.max=64", "memory.low=32"],
        ),
        ({"cpu": {"shares": 1024}}, ["cpu.shares=1024"], ["cpu.weight=100"]),
        (
            {"cpu": {"quota": 50000, "period": 100000}},
            ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"],
            ["cpu.max=50000 100000"],
        ),
        ({"cpu": {"quota": -1}}, ["cpu.cfs_quota_us=-1"], ["cpu.max=max 100000"]),
        ({"cpu": {"idle": 1}}, *[["cpu.idle=1"]] * 2),
        ({"cpu": {"burst": 0}}, ["cpu.cfs_burst_us=0"], ["cpu.max.burst=0"]),
        ({"cpu": {"cpus": "0-1", "mems": "0"}}, *[["cpuset.cpus=0-1", "cpuset.mems=0"]] * 2),
        ({"pids": {"limit": 10}}, *[["pids.max=10"]] * 2),
        ({"pids": {"limit": -1}}, *[["pids.max=max"]] * 2),
        ({"pids": {"limit": 0}}, [], []),
        (
            {"blockIO": {"weight": 500, "throttleReadBpsDevice": [{**DISK, "rate": 1024}]}},
            ["blkio.weight=500", "blkio.throttle.read_bps_device=8:0 1024"],
            ["io.bfq.weight=500", "io.max=8:0 rbps=1024"],
        ),
        (
            {"blockIO": {"throttleWriteIOPSDevice": [{**DISK, "rate": 0}]}},
            ["blkio.throttle.write_iops_device=8:0 0"],
            ["io.max=8:0 wiops=max"],
        ),
        (
            {"blockIO": {"weightDevice": [{**DISK, "weight": 10}]}},
            ["blkio.weight_device=8:0 10"],
            ["io.bfq.weight=8:0 10"],
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
            ["hugetlb.2MB.limit_in_bytes=4194304"],
            ["hugetlb.2MB.max=4194304"],
        ),
    ],
)  # fmt: skip
def test_each_limit_has_its_file_in_both_versions(resources, v1, v2):
    assert lines(resources, V1) == v1
    assert lines(resources, V2) == v2


def test_a_controller_left_in_v2_is_written_the_v2_way():
    resources = {"memory": {"limit": 1}, "hugepageLimits": [{"pageSize": "1GB", "limit": 0}]}
    assert lines(resources, HYBRID) == ["memory.limit_in_bytes=1", "hugetlb.1GB.max=0"]


def test_swap_options_of_v1():
    memory = {"swappiness": 0, "disableOOMKiller": True, "kernelTCP": 9}
    assert lines({"memory": memory}, V1) == [
        "memory.kmem.tcp.limit_in_bytes=9", "memory.swappiness=0", "memory.oom_control=1",
    ]  # fmt: skip


def test_v2_warns_of_what_docker_warns_of():
    warnings = plan({"memory": {"swappiness": 60, "disableOOMKiller": True}}, V2).warnings
    assert [warning.split(".")[0] for warning in warnings] == [
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted",
        "Your kernel does not support OomKillDisable",
    ]


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": {"realtimeRuntime": 1}},
        {"memory": {"kernelTCP": 1}},
        {"blockIO": {"leafWeight": 10}},
    ],
)
def test_v2_refuses_by_name_what_it_cannot_do(resources):
    with pytest.raises(Unsupported, match="not supported on cgroup v2"):
        plan(resources, V2)


@pytest.mark.parametrize(
    "resources",
    [
        {"memory": {"swap": 100}},
        {"memory": {"limit": 100, "swap": 50}},
        {"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]},
        {"hugepageLimits": [{"pageSize": "MB", "limit": 1}]},
        {"devices": [{"allow": True, "type": "x"}]},
        {"devices": [{"allow": True, "type": "c", "access": "rx"}]},
        {"unified": {"../x.y": "1"}},
        {"unified": {"cgroup.procs": "1"}},
        {"unified": {"memory": "1"}},
    ],
)
def test_values_that_cannot_be_meant_are_refused(resources):
    with pytest.raises(InvalidArgument):
        plan(resources, V2)


def test_swappiness_has_a_range():
    with pytest.raises(InvalidArgument, match="0-100"):
        plan({"memory": {"swappiness": 101}}, V1)


def test_unified_entries_pass_where_their_controller_is_v2():
    assert lines({"unified": {"memory.high": "5", "cgroup.max.depth": "2"}}, V2) == [
        "memory.high=5", "cgroup.max.depth=2",
    ]  # fmt: skip
    with pytest.raises(Unsupported, match=r"memory\.high"):
        plan({"unified": {"memory.high": "5"}}, HYBRID)


def test_device_rules_are_lines_on_v1_and_a_program_on_v2():
    devices = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "wr"}]
    assert lines({"devices": devices}, V1) == ["devices.deny=a", "devices.allow=c 1:* rw"]
    assert lines({"devices": devices}, V2) == []
    assert [rule.text() for rule in plan({"devices": devices}, V2).devices] == ["a", "c 1:* rw"]


def test_shares_keep_default_and_ends():
    assert [weight_from_shares(shares) for shares in (0, 2, 1024, 262144, 999999)] == [
        1,
        1,
        100,
        10000,
        10000,
    ]
    weights = [weight_from_shares(shares) for shares in range(2, 5000, 7)]
    assert weights == sorted(weights)


def test_blkio_weights_keep_their_ends():
    assert (weight_from_blkio(10), weight_from_blkio(1000)) == (1, 10000)


def test_available_asks_for_the_file_of_the_version():
    asked = []

    def has(controller, file):
        asked.append((controller, file))
        return True

    found = available({"memory": 2, "cpu": 1}, has)
    assert found["MemoryLimit"]
    assert found["CPUShares"]
    assert not found["PidsLimit"]
    assert not found["OomKillDisable"]
    assert ("memory", "memory.max") in asked
    assert ("cpu", "cpu.shares") in asked
