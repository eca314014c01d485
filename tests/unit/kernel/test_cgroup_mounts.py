"""Hierarchies from the texts of /proc, on four kinds of machines."""

from onggi.kernel.cgroup_mounts import Mount, probe

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
"""
V1_SELF = "3:cpu,cpuacct:/\n2:memory:/api/1\n1:name=systemd:/\n"
UNIFIED = "35 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_v1_with_joint_and_named_hierarchies():
    found = probe(V1, V1_SELF)
    assert found.mounts == (
        Mount(1, ("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/"),
        Mount(1, ("memory",), "/sys/fs/cgroup/memory", "/api/1"),
        Mount(1, ("name=systemd",), "/sys/fs/cgroup/systemd", "/"),
    )
    assert found.of("cpuacct") == found.mounts[0]
    assert found.of("pids") is None
    assert found.unified is None
    assert not found.pure_v2


def test_hybrid_names_the_version_of_each_controller():
    found = probe(V1 + UNIFIED, V1_SELF + "0::/user\n", "hugetlb")
    assert found.mounts[-1] == Mount(2, ("hugetlb",), "/sys/fs/cgroup/unified", "/user")
    versions = found.versions
    assert (versions["memory"], versions["hugetlb"], versions["devices"], versions["freezer"]) == (1, 2, 2, 2)


def test_pure_v2():
    found = probe(
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
        "0::/init.scope\n",
        "cpu io pids\n",
    )
    assert found.pure_v2
    assert found.of("blkio") == found.mounts[0]
    assert found.versions == {"cpu": 2, "blkio": 2, "pids": 2, "devices": 2, "freezer": 2}


def test_a_mount_of_a_part_of_the_tree_and_a_mount_point_with_a_space():
    line = r"40 31 0:30 /docker/abc /my\040groups/memory rw - cgroup cgroup rw,memory" + "\n"
    found = probe(line, "2:memory:/docker/abc/nested\n")
    assert found.mounts == (Mount(1, ("memory",), "/my groups/memory", "/nested"),)


def test_a_hierarchy_mounted_twice_counts_once():
    assert len(probe(V1 + V1.replace("/sys/fs/cgroup", "/elsewhere"), V1_SELF).mounts) == 3
