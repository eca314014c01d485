"""The life of a container: what freezes, counts, enters and removes groups; devices; namespaces."""

import os

from tries import (
    DISK,
    GROUPS,
    SPIN,
    command,
    counters,
    docker,
    equal,
    group,
    inspect,
    run,
    start,
    tried,
    until,
)


@tried
def stats() -> str:
    """`docker stats --no-stream`: processor, memory, limit, processes"""
    name = start("-m", "64m", argv=SPIN)
    words = "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}} {{.BlockIO}}"
    said = docker("stats", "--no-stream", "--format", words, name)
    equal("processor", float(said.split("%")[0]) > 5, True)
    equal("limit", "/ 64MiB" in said, True)
    return said


@tried
def pause() -> str:
    """pause, exec refused, unpause; stop of a paused one; kill of a paused one"""
    name = start(argv=SPIN)
    docker("pause", name)
    equal("frozen", "frozen 1" in (group(name) / "cgroup.events").read_text(), True)
    before = counters(group(name) / "cpu.stat")["usage_usec"]
    said = docker("exec", name, "true", status=1)
    equal("stands still", counters(group(name) / "cpu.stat")["usage_usec"], before)
    docker("unpause", name)
    until(lambda: counters(group(name) / "cpu.stat")["usage_usec"] > before, "going on")
    docker("pause", name)
    docker("stop", "-t", "1", name)
    equal("status", inspect(name, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137")
    return said.splitlines()[-1]


@tried
def exec_and_top() -> str:
    """exec is in the container's group, with its limits; top"""
    name = start("--cpuset-cpus", "1", "-m", "64m")
    equal("group", docker("exec", name, "cat", "/proc/self/cgroup"), "0::/")
    docker("exec", "-d", name, "sleep", "5000")
    until(lambda: len((group(name) / "cgroup.procs").read_text().split()) == 2, "two processes")
    equal("top", docker("top", name).count("sleep"), 2)
    return "0::/, two processes"


@tried
def removed() -> str:
    """stop and rm leave no group"""
    name = start("--stop-timeout", "1")
    equal("there", group(name).is_dir(), True)
    docker("rm", "-f", name)
    equal("gone", group(name).exists(), False)
    return "group gone"


@tried
def namespaces() -> str:
    """--cgroupns private and host: the path that is seen, the files of its own group, read-only"""
    show = "cat /proc/self/cgroup; cat /sys/fs/cgroup/memory.max; mkdir /sys/fs/cgroup/x"
    private = run("-m", "64m", sh=show, status=1)
    equal("private", private.splitlines()[:2], ["0::/", str(64 << 20)])
    host = run("--cgroupns", "host", sh="cat /proc/self/cgroup; ls /sys/fs/cgroup")
    equal("host", host.startswith("0::/onggi/c/") and "memory.max" in host, True)
    return f"private 0::/, host {host.splitlines()[0][:24]}…; {private.splitlines()[-1]}"


@tried
def devices() -> str:
    """eBPF: no device but the allowed; --device, --device-cgroup-rule, --privileged"""
    make = "mknod /tmp/d b 254 0 && dd if=/tmp/d of=/dev/null bs=512 count=1"
    own = "--tmpfs=/tmp:dev"
    number = f"{os.major(os.stat(DISK).st_rdev)} {os.minor(os.stat(DISK).st_rdev)}"
    make = make.replace("254 0", number)
    denied = run(own, sh=make, status=1)
    equal("denied", "not permitted" in denied, True)
    rule = f"b {number.replace(' ', ':')} r"
    said = run(own, "--device-cgroup-rule", rule, sh=make, status=None)
    run(own, "--device-cgroup-rule", rule + "m", sh=make)
    run("--device", f"{DISK}:/dev/disk:r", sh="dd if=/dev/disk of=/dev/null bs=512 count=1")
    write = "dd if=/dev/zero of=/dev/disk bs=512 count=0 2>&1"
    refused = run("--device", f"{DISK}:/dev/disk:r", sh=write, status=1)
    run("--privileged", sh=f"dd if={DISK} of=/dev/null bs=512 count=1")
    return f"{denied.splitlines()[-1]}; rule without m: {said.splitlines()[-1]}; write: {refused}"


@tried
def devices_updated() -> str:
    """an update of limits leaves the devices' program attached"""
    name = start("--device-cgroup-rule", "c 1:1 r")
    docker("update", "-m", "64m", "--memory-swap", "64m", name)
    said = docker("exec", name, "sh", "-c", "mknod /k c 1 2 && cat /k", status=1)
    equal("denied", "not permitted" in said, True)
    return said


@tried
def parent_group() -> str:
    """--cgroup-parent: a path of its own, a systemd slice by its path; removed with the container"""
    found = []
    for parent in ("/tries/a", "/tries.slice"):
        name = start("--cgroup-parent", parent, "-m", "64m", "--pids-limit", "9")
        place = next(GROUPS.glob(f"{parent[1:]}/**/{name}*"))
        equal(f"limit below {parent}", (place / "memory.max").read_text(), f"{64 << 20}\n")
        equal(f"pids below {parent}", (place / "pids.max").read_text(), "9\n")
        found.append(str(place.relative_to(GROUPS)).replace(name, "ID"))
        docker("rm", "-f", name)
        equal("gone", place.exists(), False)
    return ", ".join(found)


@tried
def parent_below_a_unit() -> str:
    """--cgroup-parent below a delegated service that has processes in its own group: told, or limited"""
    unit = "tries-delegated"
    command("systemd-run", "--unit", unit, "-p", "Delegate=yes", "sleep", "100000")
    parent = f"/system.slice/{unit}.service/below"
    try:
        plain = start("--cgroup-parent", parent)
        equal("runs there", any(GROUPS.glob(f"{parent[1:]}/**/{plain}*")), True)
        equal("unit", (GROUPS / f"system.slice/{unit}.service/cgroup.type").read_text(), "domain\n")
        said = docker("run", "--cgroup-parent", parent, "-m", "64m", "box", "true", status=None)
        docker("rm", "-f", plain)
    finally:
        command("systemctl", "stop", unit)
    return f"without limits it runs; -m: {' '.join(said.split()) or 'limited'}"
