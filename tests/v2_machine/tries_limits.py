"""Limits, by the files of version 2 and by what they do."""

import os
import time

from tries import DISK, SPIN, Failed, counters, docker, equal, group, inspect, start, tried, until


@tried
def cpus() -> str:
    """--cpus 0.5: cpu.max, and the kernel throttles; `update --cpus`"""
    name = start("--cpus", "0.5", argv=SPIN)
    equal("cpu.max", (group(name) / "cpu.max").read_text(), "50000 100000\n")
    until(lambda: counters(group(name) / "cpu.stat")["nr_throttled"] > 3, "throttling")
    docker("update", "--cpus", "0.2", name)
    equal("after update", (group(name) / "cpu.max").read_text(), "20000 100000\n")
    return str(counters(group(name) / "cpu.stat")["nr_throttled"]) + " periods throttled"


@tried
def cpu_shares() -> str:
    """--cpu-shares 256 beside 1024 on one processor: a quarter"""
    small = start("--cpuset-cpus", "0", "--cpu-shares", "256", argv=SPIN)
    large = start("--cpuset-cpus", "0", "--cpu-shares", "1024", argv=SPIN)
    files = [group(name) / "cpu.stat" for name in (small, large)]
    before = [counters(file)["usage_usec"] for file in files]

    def used() -> list[int]:
        return [counters(file)["usage_usec"] - was for file, was in zip(files, before, strict=True)]

    until(lambda: sum(used()) > 8_000_000, "eight seconds of the processor")
    ratio = used()[1] / used()[0]
    if not 2.5 <= ratio <= 6:
        raise Failed(f"ratio {ratio}")
    weights = [(group(name) / "cpu.weight").read_text().strip() for name in (small, large)]
    return f"weights {' and '.join(weights)}, ratio {ratio:.1f}"


@tried
def cpuset() -> str:
    """--cpuset-cpus 1: cpuset.cpus.effective, nproc; `update --cpuset-cpus`"""
    name = start("--cpuset-cpus", "1")
    equal("effective", (group(name) / "cpuset.cpus.effective").read_text(), "1\n")
    equal("nproc", docker("exec", name, "nproc"), "1")
    docker("update", "--cpuset-cpus", "0", name)
    equal("affinity", os.sched_getaffinity(int(inspect(name, "{{.State.Pid}}"))), {0})
    return "1, then 0"


@tried
def memory() -> str:
    """-m 64m --memory-reservation --memory-swap: memory.max, memory.low, memory.swap.max; `update -m`"""
    name = start("-m", "64m", "--memory-reservation", "32m", "--memory-swap", "96m")
    files = ("memory.max", "memory.low", "memory.swap.max")
    found = [int((group(name) / file).read_text()) >> 20 for file in files]
    equal("files", found, [64, 32, 32])
    docker("update", "-m", "80m", "--memory-swap", "100m", name)
    equal("after update", [int((group(name) / file).read_text()) >> 20 for file in files], [80, 32, 20])
    return "MiB: 64, 32, 32; after update 80, 32, 20"


@tried
def out_of_memory() -> str:
    """beyond -m without swap: 137, OOMKilled, an event oom"""
    began = str(int(time.time()) - 1)
    eat = ("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
    said = docker("run", "--name", "eater", "-m", "48m", "--memory-swap", "48m", "box", *eat, status=137)
    equal("OOMKilled", inspect("eater", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137")
    events = docker(
        "events", "--since", began, "--until", str(int(time.time()) + 1), "--format", "{{.Action}}"
    )
    equal("event", "oom" in events.split(), True)
    return "137, OOMKilled, event" + (f" ({said})" if said else "")


@tried
def out_of_memory_in_a_child() -> str:
    """a child beyond -m ends; its container goes on, and is OOMKilled in the end"""
    name = start("-m", "48m", "--memory-swap", "48m")
    said = docker("exec", name, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1", status=137)
    equal("running", inspect(name, "{{.State.Running}}"), "true")
    until(lambda: counters(group(name) / "memory.events")["oom_kill"] == 1, "the count")
    return f"exec 137 {said}".strip()


@tried
def swap() -> str:
    """beyond -m with --memory-swap: it is swapped, and lives"""
    name = start("-m", "48m", "--memory-swap", "200m")
    docker("exec", name, "dd", "if=/dev/zero", "of=/dev/null", "bs=90M", "count=1")
    docker("exec", name, "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60")
    used = int((group(name) / "memory.swap.current").read_text())
    equal("swapped", used > 1 << 20, True)
    return f"{used >> 20} MiB swapped"


@tried
def no_swap() -> str:
    """--memory-swap equal to -m: nothing of it is swapped"""
    name = start("-m", "48m", "--memory-swap", "48m")
    docker("exec", name, "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=24")
    docker("exec", name, "dd", "if=/dev/zero", "of=/dev/null", "bs=90M", "count=1", status=137)
    equal("swapped", (group(name) / "memory.swap.current").read_text(), "0\n")
    return "0 swapped"


@tried
def swappiness() -> str:
    """--memory-swappiness, --kernel-memory, --oom-kill-disable: version 1 alone has them"""
    said = docker("run", "--rm", "--memory-swappiness", "10", "box", "true", status=None)
    said += "; " + docker("run", "--rm", "--oom-kill-disable", "-m", "32m", "box", "true", status=None)
    return said.replace("\n", " ")


@tried
def processes() -> str:
    """--pids-limit 20: pids.max, and fork fails"""
    name = start("--pids-limit", "20")
    equal("pids.max", (group(name) / "pids.max").read_text(), "20\n")
    docker("exec", "-d", name, "sh", "-c", "while :; do sleep 100 & done")
    until(lambda: counters(group(name) / "pids.events")["max"] > 0, "a refused fork")
    equal("not more", int((group(name) / "pids.current").read_text()) <= 20, True)
    return "20, refused"


@tried
def block_weight() -> str:
    """--blkio-weight 300 with the scheduler BFQ: io.bfq.weight"""
    name = start("--blkio-weight", "300")
    file = group(name) / "io.bfq.weight"
    equal("weight", file.read_text().split(), ["default", "300"])
    return "io.bfq.weight 300"


@tried
def block_device_weight() -> str:
    """--blkio-weight-device: io.bfq.weight of the device"""
    name = start("--blkio-weight-device", f"{DISK}:200")
    text = (group(name) / "io.bfq.weight").read_text()
    equal("weight", text.split()[-1], "200")
    return " ".join(text.split())


@tried
def block_rates() -> str:
    """--device-read-bps, --device-write-iops: io.max"""
    name = start("--device-read-bps", f"{DISK}:1mb", "--device-write-iops", f"{DISK}:50")
    text = (group(name) / "io.max").read_text().strip()
    equal("io.max", text.split()[1:], ["rbps=1048576", "wbps=max", "riops=max", "wiops=50"])
    return text
