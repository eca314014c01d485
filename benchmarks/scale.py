#!/usr/bin/env python3
"""Many images and containers on one engine, beside dockerd: lists, one more start, recovery of onggid.

Both engines get as many images, which are listed and removed, and as many containers, of which so many run;
the docker command asks both in turn. Needs root, docker, busybox and curl; it makes mount and network
namespaces of its own.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import records, sampling  # noqa: E402
from benchmarks.engines import CHECKOUT, busybox_archive, dockerd, onggi, wait_for  # noqa: E402
from benchmarks.made_image import write_many  # noqa: E402
from benchmarks.sampling import Case, Sample, busy, median  # noqa: E402

IMAGE, AT_ONCE = "bench", 4
Restart = Callable[[], contextlib.AbstractContextManager[str]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--containers", type=int, default=1000)
    parser.add_argument("--running", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dockerd-root", type=Path, help="where usr/sbin/dockerd ... lie")
    parser.add_argument("--docker-cli", default=shutil.which("docker"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


class Side:
    """One engine, driven by the docker command."""

    def __init__(self, name: str, address: str, cli: str) -> None:
        self.name, self._address, self._base = name, address, [cli, "-H", address]

    def docker(self, *words: str) -> str:
        return _output(*self._base, *words)

    def timed(self, *words: str) -> Sample:
        return _timed(lambda: self.docker(*words))

    def own(self, *words: str) -> Sample:
        """By our own command."""
        return _timed(lambda: _output(str(CHECKOUT / "onggi"), "-H", self._address, *words))

    def asked(self, path: str) -> Sample:
        """By the API alone."""
        socket, url = self._address.removeprefix("unix://"), f"http://localhost{path}"
        return _timed(lambda: _output("curl", "-sf", "--unix-socket", socket, url))

    def create(self, count: int) -> list[str]:
        """Names of new containers that sleep."""
        names = [f"c{number}" for number in range(count)]
        command = ["create", "--network", "none", "--name"]
        with ThreadPoolExecutor(AT_ONCE) as workers:
            list(workers.map(lambda name: self.docker(*command, name, IMAGE, "sleep", "100000"), names))
        return names

    def start(self, names: list[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as workers:
            list(workers.map(lambda name: self.docker("start", name), names))

    def one_more(self, name: str) -> Sample:
        """A start; the container is stopped again."""
        sample = self.timed("start", name)
        self.docker("kill", name)
        return sample


def _output(*command: str) -> str:
    return subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
    ).stdout.strip()


def _timed(operation: Callable[[], object]) -> Sample:
    began, used = time.perf_counter(), busy()
    operation()
    return Sample(time.perf_counter() - began, busy() - used)


def lists_of_images(sides: list[Side], scratch: Path, options: argparse.Namespace) -> dict[str, list[Sample]]:
    """So many images, listed by the docker command, by ours and by the API; they are removed again."""
    archive = scratch / "many.tar"
    write_many(archive, options.images)
    cases: dict[str, Case] = {}
    for side in sides:
        side.docker("load", "-q", "-i", str(archive))
        cases[f"{side.name}: docker images"] = partial(side.timed, "images")
        cases[f"{side.name}: API /images/json"] = partial(side.asked, "/v1.51/images/json")
    cases["onggi: onggi images"] = partial(sides[0].own, "images")
    found = sampling.interleave(cases, options.rounds)
    for side in sides:
        side.docker("image", "prune", "-af")
    return found


def recovery(side: Side, data: Path, running: int, restart: Restart) -> float:
    """Seconds from the start of an engine whose last one was killed to the answer that shows them all."""
    pid = int((data / "onggid.lock").read_text().strip())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") or _zombie(pid), "the engine's end")
    began = time.perf_counter()
    with restart():
        found = 0
        while found != running:
            with contextlib.suppress(subprocess.CalledProcessError):
                found = len(side.docker("ps", "-q").splitlines())
        took = time.perf_counter() - began
        side.docker("rm", "-f", *side.docker("ps", "-aq").splitlines())
    return took


def _zombie(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    archive = busybox_archive(scratch)
    results: dict[str, list[Sample]] = {}
    with contextlib.ExitStack() as stack:
        cli = options.docker_cli
        sides = [Side("onggi", stack.enter_context(onggi(scratch / "ours", scratch, cli)), cli)]
        if options.dockerd_root:
            theirs = dockerd(scratch / "theirs", scratch, cli, options.dockerd_root)
            sides.append(Side("docker", stack.enter_context(theirs), cli))
        results |= lists_of_images(sides, scratch, options)
        for side in sides:
            side.docker("import", str(archive), IMAGE)
            side.create(options.containers)
        results |= _starts(sides, "first", options.rounds)
        for side in sides:
            side.start([f"c{number}" for number in range(options.running)])
        results |= _starts(sides, "with all", options.rounds)
        results |= sampling.interleave(
            {f"{side.name}: ps -a": lambda side=side: side.timed("ps", "-a") for side in sides},  # type: ignore[misc]
            options.rounds,
        )
        for side in sides[1:]:
            side.docker("rm", "-f", *side.docker("ps", "-aq").splitlines())
        took = recovery(
            sides[0],
            scratch / "ours/data",
            options.running,
            lambda: onggi(scratch / "ours", scratch, cli, again=True),
        )
    return {"results": results, "recovery": took}


def _starts(sides: list[Side], when: str, rounds: int) -> dict[str, list[Sample]]:
    last = {side.name: side.docker("create", "--network", "none", IMAGE, "sleep", "100000") for side in sides}
    return sampling.interleave(
        {f"{side.name}: start, {when}": lambda side=side: side.one_more(last[side.name]) for side in sides},  # type: ignore[misc]
        rounds,
    )


def verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    walls = {name: median([it.wall for it in samples]) for name, samples in found["results"].items()}
    rows = [
        ("images, s", walls["onggi: onggi images"], 0.06),
        ("ps -a, s", walls["onggi: ps -a"], 0.15),
        ("one more start / the first", walls["onggi: start, with all"] / walls["onggi: start, first"], 2.0),
        ("recovery, s", found["recovery"], 3.0),
    ]
    return [records.verdict(*row) for row in rows]


def versions(options: argparse.Namespace) -> dict[str, str]:
    commands = {"docker command": options.docker_cli}
    if options.dockerd_root:
        commands["dockerd"] = str(options.dockerd_root / "usr/sbin/dockerd")
    return {name: records.version(command, "--version") for name, command in commands.items()}


def main() -> None:
    options = arguments()
    records.alone(__file__)
    with tempfile.TemporaryDirectory(prefix="onggi-bench-", dir="/var/tmp") as directory:
        found = measure(options, Path(directory))
    facts = {"versions": versions(options), "recovery_s": found["recovery"]}
    records.write("scale", options.results, verdicts(found), found["results"], facts)


if __name__ == "__main__":
    main()
