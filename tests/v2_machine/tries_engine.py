"""The machine, the first commands, and the engine as a service of systemd."""

import json
import os
from pathlib import Path

from tries import GROUPS, answers, command, docker, equal, group, inspect, start, tried, until


@tried
def only_version_2() -> str:
    """systemd mounted version 2 and nothing else"""
    kinds = {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if "cgroup" in line}
    equal("hierarchies", kinds, {"cgroup2"})
    equal("booted by systemd", Path("/run/systemd/system").is_dir(), True)
    return f"{(GROUPS / 'cgroup.controllers').read_text().strip()}; Linux {os.uname().release}"


@tried
def service() -> str:
    """`daemon --install`, `systemctl enable --now`: starts, notifies, stays in its unit's group"""
    said = command("systemctl", "show", "-P", "ActiveState", "-P", "Delegate", "-P", "ControlGroup", "onggi")
    equal("unit", set(said.split()), {"active", "yes", "/system.slice/onggi.service"})
    pid = command("systemctl", "show", "-P", "MainPID", "onggi")
    equal("group", Path(f"/proc/{pid}/cgroup").read_text().strip(), "0::/system.slice/onggi.service")
    return "active, delegated, in /system.slice/onggi.service"


@tried
def info() -> str:
    """`docker info`: version 2, driver cgroupfs, no limit missing"""
    found = json.loads(docker("info", "--format", "{{json .}}"))
    equal("version and driver", (found["CgroupVersion"], found["CgroupDriver"]), ("2", "cgroupfs"))
    limits = ("MemoryLimit", "SwapLimit", "CpuCfsQuota", "CpuCfsPeriod", "CPUShares", "CPUSet", "PidsLimit")
    equal("missing", [name for name in limits if not found[name]], [])
    equal("warnings", found["Warnings"] or [], [])
    return ", ".join(limits)


@tried
def doctor() -> str:
    """`onggi doctor` ends well and names version 2"""
    said = command("./onggi", "doctor")
    lines = [line.split() for line in said.split("limits:")[1].split("storage:")[0].splitlines() if line]
    equal("version", lines[0], ["control", "groups", "ok", "v2"])
    equal("lacking", [line for line in lines if "ok" not in line], [])
    return ", ".join(line[0] for line in lines[1:])


@tried
def restart() -> str:
    """`systemctl restart`: containers run on, and can be used after it; limits stay"""
    name = start("-m", "64m")
    pid = inspect(name, "{{.State.Pid}}")
    command("systemctl", "restart", "onggi")
    until(answers, "an answer")
    equal("same process", inspect(name, "{{.State.Running}} {{.State.Pid}}"), f"true {pid}")
    docker("exec", name, "true")
    equal("limit", (group(name) / "memory.max").read_text(), f"{64 << 20}\n")
    return "same process, exec works"


@tried
def stop_and_start() -> str:
    """`systemctl stop`: nothing of the unit is left but containers; `start` finds them; reload"""
    name = start()
    command("systemctl", "stop", "onggi")
    equal("alive", len((group(name) / "cgroup.procs").read_text().split()), 1)
    equal("unit's group gone", (GROUPS / "system.slice/onggi.service").exists(), False)
    command("systemctl", "start", "onggi")
    until(answers, "an answer")
    equal("running", inspect(name, "{{.State.Running}}"), "true")
    command("systemctl", "reload", "onggi")
    until(answers, "an answer after reload")
    return "container alive through stop, start and reload"


@tried
def killed() -> str:
    """kill -9 of the engine, one container running and one that ends meanwhile: systemd starts it again"""
    name = start()
    ended = start(argv=("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.2; done"))
    inner = int(inspect(ended, "{{.State.Pid}}"))
    pid = command("systemctl", "show", "-P", "MainPID", "onggi")
    os.kill(int(pid), 9)
    os.kill(inner, 15)
    until(lambda: command("systemctl", "show", "-P", "MainPID", "onggi") not in ("0", pid), "another engine")
    until(answers, "an answer")
    until(lambda: inspect(ended, "{{.State.Status}} {{.State.ExitCode}}") == "exited 7", "its exit status")
    equal("running", inspect(name, "{{.State.Running}}"), "true")
    docker("exec", name, "true")
    return "the one runs on, the other has exited 7"


@tried
def systemd_reloads() -> str:
    """daemon-reload, daemon-reexec and other units leave controllers and limits as they are"""
    name = start("-m", "64m", "--cpuset-cpus", "1", "--pids-limit", "9")
    for words in (["daemon-reload"], ["daemon-reexec"], ["restart", "systemd-logind"], ["daemon-reload"]):
        command("systemctl", *words)
    found = [(group(name) / file).read_text().strip() for file in ("memory.max", "cpuset.cpus", "pids.max")]
    equal("limits", found, [str(64 << 20), "1", "9"])
    another = start("-m", "32m", "--blkio-weight", "100")
    equal("a new one", (group(another) / "memory.max").read_text(), f"{32 << 20}\n")
    return (GROUPS / "cgroup.subtree_control").read_text().strip()


@tried
def spares() -> str:
    """a waiting first process (decision 33) is born in the group of the id that the next container gets"""

    def waiting() -> set[str]:
        return {path.name for path in Path("/run/onggi/waiting").iterdir()}

    until(lambda: any(group(name).is_dir() for name in waiting()), "a spare")
    before = waiting()
    name = start("-m", "64m")
    equal("one of them", name in before, True)
    equal("limit", (group(name) / "memory.max").read_text(), f"{64 << 20}\n")
    until(lambda: (left := waiting()) and name not in left, "the next spare")
    return f"{len(before)} waiting, one taken"
