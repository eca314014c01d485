"""Samples: interleaved rounds, CPU of cgroups, CPU of everybody else, medians."""

import os
import random
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

CGROUPS = Path("/sys/fs/cgroup")
TICKS = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """One measured operation; times in seconds, `cpu` None where nobody can say, `foreign` in cores."""

    wall: float
    cpu: float | None
    foreign: float = 0.0


# A case performs its operation once and says what it took.
Case = Callable[[], Sample]


def group_cpu(name: str) -> float | None:
    """Seconds of CPU that the cgroup `name` and all below it ever used; None if it is not there."""
    v1, v2 = CGROUPS / "cpuacct" / name / "cpuacct.usage", CGROUPS / name / "cpu.stat"
    if v1.exists():
        return int(v1.read_text()) / 1e9
    if v2.exists():
        return int(v2.read_text().split()[1]) / 1e6
    return None


def busy() -> float:
    """Seconds of CPU that the machine has spent on anything but idling (proc_stat(5))."""
    with open("/proc/stat") as file:
        fields = [int(word) for word in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def measured(case: Case) -> Sample:
    """Run a case and note what others used meanwhile."""
    before, began = busy(), time.monotonic()
    sample = case()
    others = busy() - before - (sample.cpu or 0.0)
    return sample._replace(foreign=max(0.0, others / max(time.monotonic() - began, 1e-9)))


def interleave(
    cases: Mapping[str, Case], rounds: int, warm: int = 3, pause_s: float = 0.3
) -> dict[str, list[Sample]]:
    """One sample of every case in each round, in an order of chance; the first `warm` rounds are thrown away.

    Every sample comes after the same pause: after one, the first write to a control group's list of processes
    waits for a grace period of the kernel (4 to 20 ms), which who comes right behind another does not pay.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    order, chance = list(cases), random.Random(1)
    for number in range(-warm, rounds):
        chance.shuffle(order)
        for name in order:
            case = cases[name]
            time.sleep(pause_s)
            sample = measured(case)
            if number >= 0:
                samples[name].append(sample)
    return samples


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def row(name: str, samples: list[Sample]) -> list[str]:
    """A line of the table: medians and extremes in ms."""
    walls = [sample.wall * 1000 for sample in samples]
    cpus = [sample.cpu * 1000 for sample in samples if sample.cpu is not None]
    cpu = f"{median(cpus):.1f}" if cpus else "-"
    foreign = f"{median([sample.foreign for sample in samples]):.2f}"
    return [
        name,
        str(len(walls)),
        f"{median(walls):.1f}",
        f"{min(walls):.1f}",
        f"{max(walls):.1f}",
        cpu,
        foreign,
    ]


def table(results: Mapping[str, list[Sample]]) -> str:
    """The results as a Markdown table."""
    head = ["case", "n", "median ms", "min", "max", "cpu ms", "foreign cores"]
    rows = [
        head,
        ["---", *["--:"] * 6],
        *(row(name, samples) for name, samples in results.items() if samples),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def ratio(results: Mapping[str, list[Sample]], ours: str, peer: str) -> float:
    """Median of ours over median of the peer's."""
    return median([s.wall for s in results[ours]]) / median([s.wall for s in results[peer]])
