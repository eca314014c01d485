"""Measures Onggi beside its peers; see README.md. Needs root and busybox-static."""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import peers, records, sampling  # noqa: E402
from benchmarks.ours import CHECKOUT, IMAGE, Onggi  # noqa: E402

CLIENTS = 16
# What is promised: our case, the peer's, and the greatest ratio of the medians.
PROMISES = [
    ("onggi: life by API", "crun: run", 0.5),
    ("onggi: run", "docker: run", 0.2),
    ("docker command on onggi: run", "docker: run", 0.3),
    ("onggi: exec by API", "crun: exec", 0.5),
    ("onggi: 16 clients", "crun: 16 clients", 1 / 1.5),
]
PEER_IMAGE = "onggi-bench-busybox"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--streak", type=int, default=500, help="containers in a row without a pause")
    parser.add_argument("--each", type=int, default=10, help="containers of each of the 16 clients")
    parser.add_argument("--idle", type=int, default=50, help="sleeping containers for the memory figures")
    parser.add_argument("--spares", type=int, default=2, help="monitors kept ready; 0: the plain path")
    parser.add_argument("--podman", default=shutil.which("podman"))
    parser.add_argument("--crun", default=shutil.which("crun"))
    parser.add_argument("--runc", default=shutil.which("runc"))
    parser.add_argument("--docker", help="address of a dockerd, unix://...")
    parser.add_argument(
        "--docker-cli", default=shutil.which("docker", path="/usr/bin") or shutil.which("docker")
    )
    parser.add_argument("--docker-group", action="append", default=[], help="cgroup of dockerd, for its CPU")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


class Bench:
    """Everything that one run needs, opened in order and closed in reverse."""

    def __init__(self, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.options, self._stack = options, stack
        self.scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="onggi-bench-", dir="/var/tmp"))
        )
        self.root = peers.busybox_root(self.scratch / "busybox")
        self.worker = peers.Worker(f"onggi-bench-peers-{os.getpid()}", self.scratch / "output", {})
        stack.callback(self.worker.close)
        self.onggi = stack.enter_context(Onggi(self.scratch, options.spares).running())
        self.onggi.import_busybox(self.root)
        self.versions: dict[str, str] = {}

    def cases(self) -> dict[str, sampling.Case]:
        """Name -> case, of everything that is here."""
        host, command = f"unix://{self.onggi.socket}", str(CHECKOUT / "onggi")
        typed = [command, "-H", host, "run", "--rm", "--network", "none", IMAGE, "true"]
        found: dict[str, sampling.Case] = {
            "fork and exec of true": lambda: self.worker.run([["true"]]),
            "onggi: life by API": self.onggi.life,
            "onggi: run": lambda: self.worker.run([typed], groups=[self.onggi.group]),
        }
        private, docker = self._stack.enter_context(self.onggi.executing())
        found |= {"onggi: exec by API": private, "onggi: exec by docker's calls": docker}
        for path in (self.options.crun, self.options.runc):
            found |= self._runtime(path) if path else {}
        if self.options.docker_cli:
            ours = peers.Docker(self.options.docker_cli, host, self.worker, [self.onggi.group])
            found["docker command on onggi: run"] = lambda: ours.life(IMAGE)
        found |= self._podman() if self.options.podman else {}
        return found | (self._docker() if self.options.docker else {})

    def _podman(self) -> dict[str, sampling.Case]:
        podman = peers.Podman(self.options.podman, self.worker, self.scratch)
        podman.import_busybox(self.root, PEER_IMAGE)
        self.versions["podman"] = podman.version()
        return {"podman: run": lambda: podman.life(PEER_IMAGE)}

    def _runtime(self, path: str) -> dict[str, sampling.Case]:
        runtime = peers.OciRuntime(path, self.worker, self.scratch, self.root)
        self.versions[runtime.name] = runtime.version()
        execute = self._stack.enter_context(runtime.executing())
        return {f"{runtime.name}: run": runtime.life, f"{runtime.name}: exec": execute}

    def _docker(self) -> dict[str, sampling.Case]:
        options = self.options
        docker = peers.Docker(options.docker_cli, options.docker, self.worker, options.docker_group)
        docker.import_busybox(self.root, PEER_IMAGE)
        self.versions["docker"] = docker.version()
        return {"docker: run": lambda: docker.life(PEER_IMAGE)}

    def crowds(self) -> dict[str, sampling.Case]:
        """Sixteen clients at once."""
        found: dict[str, sampling.Case] = {
            "onggi: 16 clients": lambda: self.onggi.lives(CLIENTS, self.options.each)
        }
        if self.options.crun:
            crun = peers.OciRuntime(self.options.crun, self.worker, self.scratch / "crowd", self.root)
            found["crun: 16 clients"] = lambda: crun.lives(CLIENTS, self.options.each)
        return found

    def streak(self) -> dict[str, list[sampling.Sample]]:
        """Containers in a row, without a pause."""
        found = {"onggi: life by API, streak": [self.onggi.life() for _ in range(self.options.streak)]}
        if self.options.crun:
            crun = peers.OciRuntime(self.options.crun, self.worker, self.scratch / "streak", self.root)
            found["crun: run, streak"] = [crun.life() for _ in range(self.options.streak)]
        return found


def left_over(bench: Bench) -> dict[str, list[str]]:
    """What remains of the measured containers 100 ms after the last answer; the sleeping one is expected."""
    time.sleep(0.1)
    remains = bench.onggi.remains()
    return {kind: found for kind, found in remains.items() if len(found) > (kind == "containers")}


def judge(results: dict[str, list[sampling.Sample]]) -> list[dict[str, Any]]:
    return [
        records.verdict(f"{ours} / {peer}", sampling.ratio(results, ours, peer), limit)
        for ours, peer, limit in PROMISES
        if results.get(ours) and results.get(peer)
    ]


def main() -> int:
    options = arguments()
    with contextlib.ExitStack() as stack:
        bench = Bench(options, stack)
        results = sampling.interleave(bench.cases(), options.rounds)
        results |= bench.streak()
        remains = left_over(bench)
        results |= sampling.interleave(bench.crowds(), max(3, options.rounds // 10), warm=1)
        memory = [bench.onggi.memory(count) for count in (1, options.idle)]
        versions = bench.versions
    verdicts = judge(results)
    facts = {
        "spares": options.spares, "versions": versions, "memory": memory, "left_over": remains
    }  # fmt: skip
    records.write("spares" if options.spares else "plain", options.results, verdicts, results, facts)
    print(f"memory: {memory}\nleft over: {remains or 'nothing'}")
    return int(bool(remains) or not all(verdict["kept"] for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
