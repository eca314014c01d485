"""The least that a forking Python needs for a container, beside crun; see README.md. Needs root and crun."""

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import peers, records, sampling  # noqa: E402

LEAST, PEER = "least of a forking Python", "crun"
CLIENTS = 16
# What is promised of ours, of crun's time, with everything that an engine does.
PROMISED = {"run": 0.5, "exec": 0.5, f"{CLIENTS} clients": 1 / 1.5, "run, streak": 0.5}
MEMORY_STEPS = ("a fork", "with loop and children", "with a request")
MONITOR_KB = 1200  # what is promised of a monitor that has started a container


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--streak", type=int, default=500, help="containers in a row without a pause")
    parser.add_argument("--each", type=int, default=5, help="containers of each of 16 clients at once")
    parser.add_argument("--forks", type=int, default=50, help="at once, for the memory of one")
    parser.add_argument("--crun", default=shutil.which("crun"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


class Floor:
    """One process of floor_process.py with a root file system and a control group."""

    def __init__(self, place: Path, number: int) -> None:
        for name in ("files", "root"):
            (place / name).mkdir(parents=True)
        peers.busybox_root(place / "lower")
        for name in ("hosts", "hostname", "resolv.conf"):
            (place / "files" / name).touch()
            (place / "lower/etc" / name).touch()
        command = [sys.executable, "-I", "-S", str(HERE / "floor_process.py"), str(place)]
        self._process = subprocess.Popen(
            [*command, f"onggi-bench-floor-{os.getpid()}-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, word: str) -> sampling.Sample:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        wall, cpu = map(float, self._process.stdout.readline().split())
        return sampling.Sample(wall, cpu)

    def close(self) -> None:
        self._process.communicate()


@contextlib.contextmanager
def floors(scratch: Path, count: int) -> Iterator[list[Floor]]:
    with contextlib.ExitStack() as stack:
        made = [Floor(scratch / f"floor-{number}", number) for number in range(count)]
        for floor in made:
            stack.callback(floor.close)
        yield made


def crowd(made: list[Floor], each: int) -> sampling.Sample:
    """All at once, so many lives each."""
    samples: list[sampling.Sample] = []
    threads = [
        threading.Thread(target=lambda floor=floor: samples.extend(floor.ask("life") for _ in range(each)))
        for floor in made
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sampling.Sample(time.perf_counter() - began, sum(sample.cpu or 0 for sample in samples))


def memory(forks: int) -> dict[str, int]:
    """kB of each step of floor_memory.py."""
    command = [sys.executable, "-I", "-S", str(HERE / "floor_memory.py"), str(HERE.parent / "src")]
    done = subprocess.run([*command, str(forks)], check=True, capture_output=True, text=True)
    return dict(zip(MEMORY_STEPS, map(int, done.stdout.split()), strict=True))


def measure(options: argparse.Namespace, stack: contextlib.ExitStack) -> tuple[dict[str, Any], str]:
    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onggi-floor-", dir="/var/tmp")))
    worker = peers.Worker(f"onggi-bench-peers-{os.getpid()}", scratch / "output", {})
    stack.callback(worker.close)
    crun = peers.OciRuntime(options.crun, worker, scratch, peers.busybox_root(scratch / "busybox"))
    first, *others = stack.enter_context(floors(scratch, CLIENTS + 1))
    first.ask("hold")
    held, free = first, others[0]
    cases = {
        f"{LEAST}: run": lambda: free.ask("life"),
        f"{LEAST}: exec": lambda: held.ask("exec"),
        f"{PEER}: run": crun.life,
        f"{PEER}: exec": stack.enter_context(crun.executing()),
    }
    results = sampling.interleave(cases, options.rounds)
    for name in (f"{LEAST}: run", f"{PEER}: run"):
        results[f"{name}, streak"] = [cases[name]() for _ in range(options.streak)]
    crowds = {
        f"{LEAST}: {CLIENTS} clients": lambda: crowd(others, options.each),
        f"{PEER}: {CLIENTS} clients": lambda: crun.lives(CLIENTS, options.each),
    }
    return results | sampling.interleave(crowds, max(3, options.rounds // 10), warm=1), crun.version()


def main() -> int:
    options = arguments()
    with contextlib.ExitStack() as stack:
        results, version = measure(options, stack)
    held = memory(options.forks)
    verdicts = [
        records.verdict(
            f"{case}: {LEAST} / {PEER}",
            sampling.ratio(results, f"{LEAST}: {case}", f"{PEER}: {case}"),
            promised,
        )
        for case, promised in PROMISED.items()
    ]
    verdicts += [records.verdict(f"PSS in kB: {step}", kb, MONITOR_KB) for step, kb in held.items()]
    records.write("floor", options.results, verdicts, results, {"versions": {"crun": version}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
