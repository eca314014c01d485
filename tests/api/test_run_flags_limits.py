"""Flags of ``run`` that set limits: each arrives in the container's control group, whose files it reads.

What the limits then do is shown by test_limits.py and test_limits_memory.py.
"""

import os

import pytest

# Flag, command line, (files of v1, value), (file of v2, value): what is there is read.
SETS = [
    (
        "--blkio-weight", ["--blkio-weight", "300"],
        ("blkio/blkio.weight blkio/blkio.bfq.weight", "300"), ("io.weight", "default 2930"),
    ),
    ("--cpu-period", ["--cpu-period", "50000"], ("cpu/cpu.cfs_period_us", "50000"), ("cpu.max", "max 50000")),
    ("--cpu-quota", ["--cpu-quota", "20000"], ("cpu/cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 100000")),
    (
        "--cpu-rt-period", ["--cpu-rt-period", "500000"],
        ("cpu/cpu.rt_period_us", "500000"), ("cpu.rt_period_us", "500000"),
    ),
    (
        "--cpu-rt-runtime", ["--cpu-rt-runtime", "1000", "--cpu-rt-period", "500000"],
        ("cpu/cpu.rt_runtime_us", "1000"), ("cpu.rt_runtime_us", "1000"),
    ),
    ("--cpu-shares", ["-c", "512"], ("cpu/cpu.shares", "512"), ("cpu.weight", "59")),
    ("--cpus", ["--cpus", "1.5"], ("cpu/cpu.cfs_quota_us", "150000"), ("cpu.max", "150000 100000")),
    ("--cpuset-cpus", ["--cpuset-cpus", "0"], ("cpuset/cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ("--cpuset-mems", ["--cpuset-mems", "0"], ("cpuset/cpuset.mems", "0"), ("cpuset.mems", "0")),
    ("--memory", ["-m", "64m"], ("memory/memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")),
    (
        "--memory-reservation", ["--memory-reservation", "32m"],
        ("memory/memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432"),
    ),
    (
        "--memory-swap", ["-m", "64m", "--memory-swap", "96m"],
        ("memory/memory.memsw.limit_in_bytes", "100663296"), ("memory.swap.max", "33554432"),
    ),
    (
        "--memory-swappiness", ["--memory-swappiness", "33"],
        ("memory/memory.swappiness", "33"), ("memory.swappiness", "33"),
    ),
    (
        "--oom-kill-disable", ["-m", "64m", "--oom-kill-disable"],
        ("memory/memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"),
        ("memory.oom_control", ""),
    ),
    ("--pids-limit", ["--pids-limit", "77"], ("pids/pids.max", "77"), ("pids.max", "77")),
]  # fmt: skip
# Flag -> (rate, file of v1, what io.max of v2 says beside the device's numbers)
THROTTLES = {
    "--device-read-bps": ("1mb", "blkio/blkio.throttle.read_bps_device", "1048576"),
    "--device-write-bps": ("2mb", "blkio/blkio.throttle.write_bps_device", "2097152"),
    "--device-read-iops": ("11", "blkio/blkio.throttle.read_iops_device", "11"),
    "--device-write-iops": ("12", "blkio/blkio.throttle.write_iops_device", "12"),
}
# What a kernel lacks is a warning as in docker; real-time needs a budget of the parent group.
SAID = (b"your kernel does not support", b"cpu.rt_runtime_us")


def read(*files: str) -> str:
    """A shell line that prints the first of these files of the group that exists, else ``lacking``."""
    look = f"for f in {' '.join(files)}; do [ -e $f ] && cat $f && exit; done; echo lacking"
    return f"cd /sys/fs/cgroup; {look}"


@pytest.mark.parametrize(("flags", "v1", "v2"), [row[1:] for row in SETS], ids=[row[0] for row in SETS])
def test_limit_arrives(run, flags, v1, v2):
    """Or is said not to."""
    done = run.done(*flags, sh=read(v1[0], v2[0]))
    if done.stdout in (b"", b"lacking\n"):
        assert any(words in done.stderr.lower() for words in SAID), done
    else:
        assert done.stdout.decode().strip() in (v1[1], v2[1]), done


@pytest.mark.parametrize("flag", THROTTLES)
def test_throttle_arrives(run, disk, flag):
    rate, file, value = THROTTLES[flag]
    numbers = os.stat(disk.device).st_rdev
    device = f"{os.major(numbers)}:{os.minor(numbers)}"
    done = run.done(flag, f"{disk.device}:{rate}", sh=read(file, "io.max"))
    if done.stdout in (b"", b"lacking\n"):
        assert any(words in done.stderr.lower() for words in SAID), done
    else:
        words = done.stdout.decode().split()
        assert device in words, done
        assert value in words or any(word.endswith(f"={value}") for word in words), done
    missing = run.done(flag, f"/dev/nosuch:{rate}")
    assert missing.returncode in (125, 127)
    assert b"/dev/nosuch" in missing.stderr


def test_flag_blkio_weight_device(run, disk):
    """A device's weight counts with the scheduler BFQ only, which loop devices do not have."""
    name = run.start("--blkio-weight-device", f"{disk.device}:200")
    weights = run.inspect(name)["HostConfig"]["BlkioWeightDevice"]
    assert weights == [{"Path": str(disk.device), "Weight": 200}]
    assert "/dev/nosuch" in run.done("--blkio-weight-device", "/dev/nosuch:200").stderr.decode()
    assert "invalid weight for device" in run.refused("--blkio-weight-device", f"{disk.device}:9")


def test_flag_kernel_memory(ours):
    """docker's client drops the option in silence; ours says that nothing would come of it."""
    assert "--kernel-memory is not supported" in ours.refused("--kernel-memory", "10m")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-m", "5m"], "Minimum memory limit allowed is 6MB"),
        (
            ["-m", "64m", "--memory-swap", "32m"],
            "Minimum memoryswap limit should be larger than memory limit",
        ),
        (["--memory-swappiness", "101"], "Valid memory swappiness range is 0-100"),
        (["--cpus", "1000"], "range of CPUs is from 0.01 to"),
        (["--cpus", "1", "--cpu-quota", "5000"], "Nano CPUs and CPU Quota cannot both be set"),
        (["--cpuset-cpus", "4000"], "Requested CPUs are not available - requested 4000, available: "),
        (["--cpuset-cpus", "x"], "Invalid value x for cpuset cpus"),
        (["--blkio-weight", "9"], "Range of blkio weight is from 10 to 1000"),
        (["--cpu-shares", "-1"], "invalid CPU shares (-1)"),
    ],
)
def test_limits_that_cannot_be(run, flags, words):
    assert words in run.refused(*flags)
