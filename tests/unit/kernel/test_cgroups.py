"""Groups of cgroup v2 on a directory tree that only looks like one; the kernel's own is in tests/root."""

import pytest

from onggi.errors import KernelError, Unsupported
from onggi.kernel import cgroup_stats, cgroup_tree
from onggi.kernel.cgroups import Group, Hierarchies, Mount, OomWatch

CPU_STAT = """\
usage_usec 5
user_usec 3
system_usec 2
nr_periods 4
nr_throttled 1
throttled_usec 9
"""
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")


@pytest.fixture
def hierarchies(tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("")
    return Hierarchies((Mount(2, CONTROLLERS, str(tmp_path), "/"),))


@pytest.fixture
def writes(monkeypatch):
    """(path, value) of everything written by the tree."""
    found = []
    monkeypatch.setattr(cgroup_tree, "write", lambda path, value: found.append((path, value)))
    return found


def group_with(hierarchies, tmp_path, **files):
    group = Group(hierarchies, "/onggi")
    directory = tmp_path / "onggi"
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return group


def test_controllers_are_enabled_from_the_root_down(hierarchies, tmp_path, writes, monkeypatch):
    monkeypatch.setattr(cgroup_tree, "read", lambda path: "")
    Group(hierarchies, "/onggi/c/x").create()
    assert (tmp_path / "onggi/c/x").is_dir()
    levels = [path.removeprefix(str(tmp_path)) for path, value in writes if value == "+memory"]
    assert set(levels) == {
        "/cgroup.subtree_control",
        "/onggi/cgroup.subtree_control",
        "/onggi/c/cgroup.subtree_control",
    }
    assert levels[0] == "/cgroup.subtree_control"
    assert "+hugetlb" not in {value for _, value in writes}


def inhabit(directory, kind, procs):
    directory.mkdir(exist_ok=True)
    (directory / "cgroup.subtree_control").write_text("")
    (directory / "cgroup.procs").write_text(procs)
    if kind:
        (directory / "cgroup.type").write_text(kind)


def test_no_controller_is_enabled_below_a_group_with_processes(hierarchies, tmp_path, writes):
    """The kernel would take cpu, cpuset and pids, and make the group a threaded one."""
    inhabit(tmp_path / "unit", "domain\n", "12\n")
    Group(hierarchies, "/unit/below").create()
    assert (tmp_path / "unit/below").is_dir()
    assert writes == []


@pytest.mark.parametrize("kind", ["", "domain\n"], ids=["the kernel's root", "an empty group"])
def test_others_get_them(hierarchies, tmp_path, writes, kind):
    inhabit(tmp_path, "", "1\n")
    inhabit(tmp_path / "unit", kind, "" if kind else "1\n")
    Group(hierarchies, "/unit/below").create()
    assert (f"{tmp_path}/unit/cgroup.subtree_control", "+pids") in writes


def test_limits_reach_their_files(hierarchies, tmp_path):
    files = {"memory__max": "", "memory__swap__max": "", "cpu__max": "", "io__weight": "", "pids__max": ""}
    group = group_with(hierarchies, tmp_path, **files)
    resources = {
        "memory": {"limit": 1 << 20, "swap": 1 << 21},
        "cpu": {"quota": 50000},
        "pids": {"limit": 7},
        "blockIO": {"weight": 10},
    }
    assert group.apply(resources) == []
    texts = {name: (tmp_path / "onggi" / name.replace("__", ".")).read_text() for name in files}
    assert texts == {
        "memory__max": "1048576", "memory__swap__max": "1048576", "cpu__max": "50000 100000",
        "io__weight": "default 1", "pids__max": "7",
    }  # fmt: skip


def test_a_missing_file_is_dockers_warning_or_an_error(hierarchies, tmp_path):
    group = group_with(hierarchies, tmp_path, memory__max="")
    warnings = group.apply({"memory": {"limit": 1, "swap": 2}, "pids": {"limit": 1}})
    lacks = "Your kernel does not support {} capabilities or the cgroup is not mounted. {}."
    assert warnings == [
        lacks.format("swap limit", "Memory limited without swap"),
        lacks.format("PIDs limit", "PIDs limit discarded"),
    ]
    with pytest.raises(Unsupported, match=r"cpu\.idle"):
        group.apply({"cpu": {"idle": 1}})


def test_a_limit_that_a_group_above_withholds_is_refused(hierarchies, tmp_path):
    """docker's warnings are of kernels; below a group with processes this one could, and may not."""
    group = group_with(hierarchies, tmp_path, cgroup__controllers="cpu pids\n", pids__max="")
    assert group.apply({"pids": {"limit": 1}}) == []
    for wish in ({"memory": {"limit": 1}}, {"blockIO": {"weight": 10}}):
        with pytest.raises(Unsupported, match="take another cgroup parent"):
            group.apply(wish)


def test_who_has_no_cgroup_namespace_finds_its_group_in_the_whole_tree(hierarchies, tmp_path):
    assert hierarchies.places("/onggi/c/x") == (("", str(tmp_path)),)


def test_a_missing_group_is_no_missing_feature(hierarchies):
    with pytest.raises(KernelError, match="no such file"):
        Group(hierarchies, "/absent").apply({"pids": {"limit": 1}})


def test_limits_below_what_is_used_are_refused_when_asked(hierarchies, tmp_path):
    group = group_with(hierarchies, tmp_path, memory__max="", memory__current="2000\n")
    with pytest.raises(KernelError, match="busy"):
        group.apply({"memory": {"limit": 1000, "checkBeforeUpdate": True}})
    group.apply({"memory": {"limit": 1000}})


def test_oom_kills_are_counted_once_and_absence_is_zero(hierarchies, tmp_path):
    group = group_with(hierarchies, tmp_path, memory__events="low 0\noom 5\noom_kill 2\n")
    watch = OomWatch(group)
    assert (watch.fileno(), watch.count()) == (-1, 2)
    (tmp_path / "onggi/memory.events").unlink()
    assert watch.count() == 0
    watch.close()


def test_processes_of_nested_groups_count(hierarchies, tmp_path):
    group = group_with(hierarchies, tmp_path, cgroup__procs="12\n7\n")
    (tmp_path / "onggi/deep/er").mkdir(parents=True)
    (tmp_path / "onggi/deep/er/cgroup.procs").write_text("9\n")
    assert group.pids() == [7, 9, 12]


def test_stats_of_v2(hierarchies, tmp_path):
    group = group_with(
        hierarchies, tmp_path,
        cpu__stat=CPU_STAT,
        memory__current="4096\n", memory__max="8192\n", memory__stat="anon 1\ninactive_file 7\n",
        pids__current="3\n", pids__max="max\n",
        io__stat="8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
    )  # fmt: skip
    stats = group.stats()
    assert stats["cpu_stats"] == {
        "cpu_usage": {"total_usage": 5000, "usage_in_kernelmode": 2000, "usage_in_usermode": 3000},
        "throttling_data": {"periods": 4, "throttled_periods": 1, "throttled_time": 9000},
    }
    assert stats["memory_stats"] == {"usage": 4096, "limit": 8192, "stats": {"anon": 1, "inactive_file": 7}}
    assert stats["pids_stats"] == {"current": 3, "limit": 2**64 - 1}
    assert stats["blkio_stats"]["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 10},
        {"major": 8, "minor": 0, "op": "write", "value": 20},
    ]
    assert stats["blkio_stats"]["io_queue_recursive"] is None


def test_machine_cpu_time_is_read():
    total, cpus = cgroup_stats.system_cpu()
    assert total > 0
    assert cpus >= 1
