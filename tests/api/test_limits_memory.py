"""Limits on memory, each by what it does."""

import pytest

from engines import wait_until

HOG = "x=$(head -c 100000000 /dev/zero | tr '\\0' x)"  # a shell variable of 100 MB
EXEC_HOG = f"echo 1000 >/proc/self/oom_score_adj; {HOG}"  # the kernel never takes the first process for it
FIND = "m=/sys/fs/cgroup/memory; [ -d $m ] || m=/sys/fs/cgroup"
LIMIT = ("--memory", "32m", "--memory-swap", "32m")


def ended(run, name: str) -> tuple[int, bool]:
    code = run.wait(name)
    state = run.inspect(name)["State"]
    assert state["ExitCode"] == code
    return code, state["OOMKilled"]


def test_memory_kills(run):
    """128 + SIGKILL, and OOMKilled says why."""
    assert ended(run, run.start(*LIMIT, command=["sh", "-c", HOG])) == (137, True)
    assert ended(run, run.start(*LIMIT, command=["true"])) == (0, False)


def test_without_a_limit_it_lives(run):
    assert ended(run, run.start(command=["sh", "-c", HOG])) == (0, False)


def test_an_exec_is_killed_as_well(run):
    """docker remembers the kill; the container lives on unless the kernel chose it as well."""
    name = run.start(*LIMIT)
    done = run.command("exec", name, "sh", "-c", EXEC_HOG)
    assert done.returncode == 137
    run.command("kill", name)
    assert ended(run, name) == (137, True)


def test_a_kill_in_a_nested_group_counts(run):
    """v1 counts only kills in the group itself; the limit is of the container's."""
    flags = (*LIMIT, "--privileged", "-e", f"HOG={HOG}")
    nested = 'mkdir $m/nested && echo 0 >$m/nested/cgroup.procs && sh -c "$HOG"; exit 9'
    name = run.start(*flags, command=["sh", "-c", f"{FIND}; {nested}"])
    code, killed = ended(run, name)
    assert killed
    assert code in (9, 137)  # the kernel may take the shell along


def test_shared_memory_is_charged_to_its_writer(run):
    """CVE-2024-3056: /dev/shm counts, also that of another container that was joined."""
    fill = "dd if=/dev/zero of=/dev/shm/file bs=1M count=100"
    assert ended(run, run.start(*LIMIT, "--shm-size", "200m", command=["sh", "-c", fill])) == (137, True)
    owner = run.start("--ipc", "shareable", "--shm-size", "200m")
    name = run.start(*LIMIT, "--ipc", f"container:{owner}", command=["sh", "-c", fill])
    assert ended(run, name) == (137, True)
    assert run.inspect(owner)["State"]["Running"]


def test_a_tmpfs_is_charged(run):
    fill = "dd if=/dev/zero of=/t/file bs=1M count=100"
    assert ended(run, run.start(*LIMIT, "--tmpfs", "/t", command=["sh", "-c", fill])) == (137, True)


def test_update_of_a_running_container(run):
    """More memory while it runs: what was killed before now lives, and the other way round."""
    name = run.start(*LIMIT)
    assert run.command("exec", name, "sh", "-c", EXEC_HOG).returncode == 137
    assert run.command("update", "--memory", "512m", "--memory-swap", "512m", name).returncode == 0
    assert run.command("exec", name, "sh", "-c", EXEC_HOG).returncode == 0
    # What the hog had is given back a moment after its end; a limit below what is used is refused.
    less = ["update", "--memory", "32m", "--memory-swap", "32m", name]
    wait_until(lambda: run.command(*less).returncode == 0, "the lower limit")
    assert run.command("exec", name, "sh", "-c", EXEC_HOG).returncode == 137
    assert run.inspect(name)["HostConfig"]["Memory"] == 32 << 20


def test_oom_kill_disable(ours):
    """The hog stands still instead; only v1 can do this, on v2 docker's warning says so."""
    done = ours.done(*LIMIT, "--oom-kill-disable", "-d", sh=HOG)
    if b"OomKillDisable discarded" in done.stderr:
        return
    container = done.stdout.decode().strip()
    pid = ours.inspect(container)["State"]["Pid"]
    wait_until(lambda: "under_oom 1" in oom_control(pid), "the limit")
    assert ours.inspect(container)["State"]["Running"]
    assert ours.command("rm", "-f", container).returncode == 0


def oom_control(pid: int) -> str:
    """The state of the memory group of a process."""
    with open(f"/proc/{pid}/cgroup") as groups:
        path = next(line.split(":")[2].strip() for line in groups if ":memory:" in line)
    with open(f"/sys/fs/cgroup/memory{path}/memory.oom_control") as control:
        return control.read()


@pytest.mark.parametrize("swap", ["64m", "-1"])
def test_memory_and_swap(ours, swap):
    """Without swap on the machine the limit of memory is what kills, whatever swap is allowed."""
    name = ours.start("--memory", "32m", "--memory-swap", swap, command=["sh", "-c", HOG])
    assert ended(ours, name) == (137, True)
