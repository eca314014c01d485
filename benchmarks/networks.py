#!/usr/bin/env python3
"""Containers' networks beside dockerd and podman: starts, throughput, requests through a port, 500 ports.

Each engine lives in a network namespace of its own, joined by a cable to another that is the world outside.
One image, Debian with iperf3 and nginx, serves. Every round has one sample of every case, in an order of
chance.
Needs root, docker, mmdebstrap (or ``--image``), iperf3, wrk; for podman also netavark and iptables.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]

from benchmarks import peers, records, sampling  # noqa: E402
from benchmarks.engines import GROUPS, Inside, dockerd, onggi, process, run, wait_for  # noqa: E402
from benchmarks.sampling import Case, Sample, busy, median  # noqa: E402

from onggi.client.endpoint import Endpoint  # noqa: E402
from onggi.client.engine import Engine  # noqa: E402

IMAGE, PORTS, WEB, IPERF = "bench", 500, 8080, 5201
CLIENTS, NO_NETWORK = 16, "onggi: requests inside the container"
OUTSIDE, WORLD = "203.0.113.2", "203.0.113.1"
NGINX = ["nginx", "-g", "daemon off;"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="of container starts")
    parser.add_argument("--flows", type=int, default=9, help="rounds of throughput and requests")
    parser.add_argument("--seconds", type=int, default=3, help="of one flow")
    parser.add_argument("--image", type=Path, help="a root file system archive with iperf3 and nginx")
    parser.add_argument("--dockerd-root", type=Path, help="where usr/sbin/dockerd ... lie")
    parser.add_argument("--docker-cli", default=shutil.which("docker"))
    parser.add_argument("--podman", default=shutil.which("podman"))
    parser.add_argument(
        "--netavark", type=Path, help="the directory with podman's netavark; no podman without"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


# -- namespaces --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def namespace(scratch: Path) -> Iterator[Inside]:
    """A network namespace; yields the words that enter it."""
    with process("unshare", "-n", "sleep", "infinity", log=scratch / "namespace.log") as holder:
        path = f"/proc/{holder.pid}/ns/net"
        wait_for(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"), "a namespace")
        inside = ("nsenter", f"--net={path}")
        run(*inside, "ip", "link", "set", "lo", "up")
        yield inside


@contextlib.contextmanager
def mounts(scratch: Path) -> Iterator[Inside]:
    """A mount namespace for podman, whose crun refuses hybrid hosts; yields the words that enter it."""
    hide = "umount /sys/fs/cgroup/unified 2>/dev/null; exec sleep infinity"
    words = ("unshare", "--mount", "--propagation", "private", "sh", "-c", hide)
    with process(*words, log=scratch / "mounts.log") as holder:
        wait_for(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n", "a mount namespace")
        yield ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt")


def join(world: Inside, outside: Inside) -> None:
    """A cable between two namespaces."""
    run(*world, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "eth0", "netns", _pid(outside))
    for inside, device, address in ((world, "cable", WORLD), (outside, "eth0", OUTSIDE)):
        run(*inside, "ip", "addr", "add", f"{address}/24", "dev", device)
        run(*inside, "ip", "link", "set", device, "up")


def _pid(inside: Inside) -> str:
    return inside[1].split("/")[2]


# -- one engine --------------------------------------------------------------------------------------------


class Side:
    """An engine, its namespace and the world outside of it; ``cli`` drives it by docker's words."""

    def __init__(self, name: str, cli: list[str], world: Inside, outside: Inside, run: list[str]) -> None:
        self.name, self.world, self.outside = name, world, outside
        self.cli, self._run = cli, ["run", *run]
        self.program = Path(cli[-1] if name == "podman" else cli[0]).name

    def docker(self, *words: str) -> str:
        done = subprocess.run([*self.cli, *words], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        return done.stdout.decode().strip()

    def prepare(self, archive: Path) -> None:
        """A server of each kind, published, and a client."""
        self.docker("import", str(archive), IMAGE)
        self.docker("network", "create", "flows")
        common = [*self._run, "-d", "--network", "flows", "--name"]
        self.docker(*common, "iperf", "-p", f"{IPERF}:{IPERF}", IMAGE, "iperf3", "-s")
        self.docker(*common, "web", "-p", f"{WEB}:80", IMAGE, *NGINX)
        self.docker(*common, "client", IMAGE, "sleep", "infinity")
        wait_for(self._answers, f"{self.name}'s web server")
        self._server = self._address("iperf")
        self._gateway = self.docker(
            "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}", "web"
        )

    def _answers(self) -> bool:
        words = [*self.outside, "wrk", "-t1", "-c1", "-d1s", f"http://{WORLD}:{WEB}/"]
        return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0

    def _address(self, name: str) -> str:
        return self.docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)

    # Cases.

    def start(self) -> Sample:
        began, used = time.perf_counter(), busy()
        self.docker(*self._run, "--rm", IMAGE, "true")
        return Sample(time.perf_counter() - began, busy() - used)

    def flow(self, kind: str, seconds: int) -> Sample:
        """``wall`` and ``cpu`` are seconds for a GB."""
        exec_ = ("exec", "client", "iperf3", "-c")
        ask: Callable[[str], str] = {
            "between containers": lambda tail: self.docker(*exec_, self._server, *tail.split()),
            "to the machine": lambda tail: self.docker(*exec_, self._gateway, *tail.split()),
            "to a published port": lambda tail: _output(*self.outside, "iperf3", "-c", WORLD, *tail.split()),
        }[kind]
        used = busy()
        found = json.loads(ask(f"-p {IPERF if kind != 'to the machine' else IPERF + 1} -t {seconds} -J"))
        gigabytes = found["end"]["sum_received"]["bytes"] / 1e9
        return Sample(found["end"]["sum_received"]["seconds"] / gigabytes, (busy() - used) / gigabytes)

    def requests(self, seconds: int, clients: int = CLIENTS) -> Sample:
        """``wall`` and ``cpu`` are seconds for a request, kept alive, through the port on loopback."""
        return self._load(self.world, WEB, seconds, clients)

    def requests_inside(self, seconds: int) -> Sample:
        """The same with the client in the server's own namespace: no port, no bridge, no filter."""
        pid = self.docker("inspect", "-f", "{{.State.Pid}}", "web")
        return self._load(("nsenter", f"--net=/proc/{pid}/ns/net"), 80, seconds, CLIENTS)

    @staticmethod
    def _load(inside: Inside, port: int, seconds: int, clients: int) -> Sample:
        used = busy()
        address = f"http://127.0.0.1:{port}/"
        text = _output(*inside, "wrk", "-t1", f"-c{clients}", f"-d{seconds}s", address)
        match = re.search(r"(\d+) requests in", text)
        if match is None or "Socket errors" in text:
            raise RuntimeError(text)
        count = int(match[1])
        return Sample(seconds / count, (busy() - used) / count)

    def ports(self) -> dict[str, float]:
        """Seconds and bytes that 500 published ports cost more than none."""

        def started(*flags: str) -> tuple[float, int]:
            before, began = self.memory(), time.perf_counter()
            self.docker(*self._run, "-d", "--name", "ports", *flags, IMAGE, "sleep", "infinity")
            took = time.perf_counter() - began
            grown = self.memory() - before
            self.docker("rm", "-f", "ports")
            return took, grown

        started()  # what the first start allocates is no port's
        bare, many = started(), started("-p", f"20000-{20000 + PORTS - 1}:20000-{20000 + PORTS - 1}")
        return {"seconds": many[0] - bare[0], "bytes": many[1] - bare[1]}

    def memory(self) -> int:
        """Bytes (PSS) of all processes in the engine's network namespace: engine, proxies, monitors."""
        own, total = os.readlink(f"/proc/{_pid(self.world)}/ns/net"), 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(entry / "ns/net") == own:
                        total += _pss(entry / "smaps_rollup")
        return total


def _pss(path: Path) -> int:
    return next(
        int(line.split()[1]) << 10 for line in path.read_text().splitlines() if line.startswith("Pss:")
    )


def _output(*command: str) -> str:
    return subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
    ).stdout


class Api:
    """Whole lives by one call of our own API, on a bridge and without a network."""

    def __init__(self, address: str) -> None:
        self._client = Engine(Endpoint(address), {})

    def life(self, network: str) -> Sample:
        config = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": network, "AutoRemove": True}}
        began, used = time.perf_counter(), busy()
        answer = self._client.post(
            "/onggi/v1/run", body={"Config": config, "Attach": None, "Wait": True, "Trace": False}
        )
        assert not answer.get("StatusCode"), answer
        return Sample(time.perf_counter() - began, busy() - used)


# -- the run -----------------------------------------------------------------------------------------------

FLOWS = ("between containers", "to the machine", "to a published port")


def starts(sides: list[Side]) -> dict[str, Case]:
    cases: dict[str, Case] = {f"{side.name}: {side.program} run": side.start for side in sides}
    api = Api(sides[0].cli[2])
    cases["onggi: api, bridge"] = lambda: api.life("bridge")
    cases["onggi: api, none"] = lambda: api.life("none")
    return cases


def flows(sides: list[Side], seconds: int) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for side in sides:
        for kind in FLOWS:
            cases[f"{side.name}: {kind}"] = lambda side=side, kind=kind: side.flow(kind, seconds)
        cases[f"{side.name}: requests"] = lambda side=side: side.requests(seconds)
        cases[f"{side.name}: requests of one"] = lambda side=side: side.requests(seconds, clients=1)
    cases[NO_NETWORK] = lambda: sides[0].requests_inside(seconds)
    return cases


def verdicts(results: dict[str, list[Sample]], ports: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Each promise, what was found, whether it is kept."""
    bridge = sampling.ratio(results, "onggi: api, bridge", "onggi: api, none")
    rows = [
        records.verdict("api, bridge / none", bridge, 2.0),
        records.verdict("500 ports: s", ports["onggi"]["seconds"], 2.0),
        records.verdict("500 ports: MB", ports["onggi"]["bytes"] / 1e6, 5.0),
    ]
    if "docker" not in ports:
        return rows
    runs = sampling.ratio(results, "onggi: docker run", "docker: docker run")
    rows.append(records.verdict("docker run / docker's", runs, 0.2))
    for name in [name for name in ports if name != "onggi"]:
        for kind in FLOWS:
            rate = sampling.ratio(results, f"{name}: {kind}", f"onggi: {kind}")
            work = _cpu(results, f"onggi: {kind}") / _cpu(results, f"{name}: {kind}")
            rows.append(records.verdict(f"{kind}: throughput / {name}'s", rate, 0.95, least=True))
            rows.append(records.verdict(f"{kind}: CPU per byte / {name}'s", work, 1.0))
        # podman's path is ours, a translation; docker's is a process.
        least = 2.0 if name == "docker" else 0.95
        for case in ("requests", "requests of one"):
            rate = sampling.ratio(results, f"{name}: {case}", f"onggi: {case}")
            rows.append(records.verdict(f"{case} a second / {name}'s", rate, least, least=True))
    # What is there to win at most: no engine can be faster than no network.
    most = sampling.ratio(results, "docker: requests", NO_NETWORK)
    rows.append(records.verdict("requests without a network / docker's", most, 2.0, least=True))
    return rows


def _cpu(results: dict[str, list[Sample]], name: str) -> float:
    return median([sample.cpu or 0 for sample in results[name]])


def archive_of(options: argparse.Namespace, scratch: Path) -> Path:
    if options.image:
        return Path(options.image)
    path = scratch / "root.tar"
    packages = "--include=iperf3,nginx-light"
    run("mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", str(path))
    return path


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    archive = archive_of(options, scratch)
    with contextlib.ExitStack() as stack:
        sides = []
        for name in names(options):
            world, outside = (stack.enter_context(namespace(scratch)) for _ in range(2))
            join(world, outside)
            cli, run_options = stack.enter_context(command(name, options, scratch, world))
            side = Side(name, cli, world, outside, run_options)
            stack.callback(lambda side=side: side.docker("rm", "-f", "iperf", "web", "client"))
            side.prepare(archive)
            stack.enter_context(
                process(*world, "iperf3", "-s", "-p", str(IPERF + 1), log=scratch / "iperf.log")
            )
            sides.append(side)
        results = sampling.interleave(starts(sides), options.rounds)
        results |= sampling.interleave(flows(sides, options.seconds), options.flows, warm=1)
        ports = {side.name: side.ports() for side in sides}
    return {"results": results, "ports": ports}


def names(options: argparse.Namespace) -> list[str]:
    """The engines to be measured, ours first."""
    docker = ["docker"] if options.dockerd_root else []
    return ["onggi", *docker, *(["podman"] if options.netavark and options.podman else [])]


@contextlib.contextmanager
def command(
    name: str, options: argparse.Namespace, scratch: Path, world: Inside
) -> Iterator[tuple[list[str], list[str]]]:
    """The words that drive an engine, while it runs, and those that a run of it needs."""
    cli, root = options.docker_cli, options.dockerd_root
    disk = scratch / f"{name}-disk"
    if name == "podman":
        own = peers.podman_command(options.podman, disk, helpers=options.netavark)
        with mounts(scratch) as inside:
            yield [*world, *inside, *own], ["--cgroup-parent", f"/{GROUPS['docker']}-podman"]
        return
    disk.mkdir()
    started = (
        onggi(disk, scratch, cli, world) if name == "onggi" else dockerd(disk, scratch, cli, root, world)
    )
    with started as address:
        yield [cli, "-H", address], []


def versions(options: argparse.Namespace) -> dict[str, str]:
    commands = {"docker command": (options.docker_cli, "--version"), "iperf3": ("iperf3", "--version")}
    if options.dockerd_root:
        commands["dockerd"] = (f"{options.dockerd_root}/usr/sbin/dockerd", "--version")
    if "podman" in names(options):
        commands["podman"] = (options.podman, "--version")
        commands["netavark"] = (f"{options.netavark}/netavark", "--version")
    return {name: records.version(*command) for name, command in commands.items()}


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="onggi-bench-", dir="/var/tmp") as directory:
        found = measure(options, Path(directory))
    facts = {
        "versions": versions(options),
        "units": "docker run, api: s; flows: s per GB; requests: s per request; ports: s and bytes of 500",
        "ports": found["ports"],
    }
    rows = verdicts(found["results"], found["ports"])
    records.write("networks", options.results, rows, found["results"], facts)


if __name__ == "__main__":
    main()
