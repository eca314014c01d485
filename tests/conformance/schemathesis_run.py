"""Runs schemathesis, which makes requests of all kinds from Docker's specification, on an engine of its own.

    sudo python tests/conformance/schemathesis_run.py --schemathesis VENV --specification v1.51.yaml
        [--rounds N] [--seed N] [--only OPERATION ...] [--dockerd-root DIR] [--json FILE]

VENV is a virtual environment with schemathesis from PyPI. `--rounds` is how many examples each operation gets
besides those that the limits of its parameters give, for right and for wrong data. Checked are: no status
from 500 on but 501 and 503 for what is refused by name; statuses, content types and bodies as documented
(schemathesis_specification.py); that wrong data is refused. With `--dockerd-root` a dockerd that is unpacked
there is asked in the same way, and what it breaks as well is told apart. Fails where a finding is left.

Everything runs in private mount, pid and network namespaces, where the machine is read-only but for tmpfs: a
random request may ask for privileged containers and binds of `/`.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]

import private_world  # noqa: E402 - it is found by the line above
from conformance.dockerd import docker_engine  # noqa: E402
from conformance.schemathesis_specification import prepared  # noqa: E402
from engines import RealEngine, busybox_tar  # noqa: E402
from specification_walk import ask  # noqa: E402

INSIDE = "ONGGI_CONFORMANCE_INSIDE"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection"
)
READ_YAML = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout, default=str)"


class Outcome(NamedTuple):
    """Requests of each operation by status, and the first example of each finding, by its key."""

    asked: dict[str, Counter[int]]
    findings: dict[tuple[str, ...], dict[str, str]]


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--schemathesis", required=True, type=Path, help="a virtual environment that has it")
    parser.add_argument("--specification", required=True, type=Path, help="Docker's v1.51.yaml")
    parser.add_argument("--rounds", type=int, default=20, help="examples for each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="operations, as 'GET /info'")
    parser.add_argument("--dockerd-root", type=Path, help="where a dockerd and a containerd are unpacked")
    parser.add_argument("--output", type=Path, help="keep findings and logs in this directory")
    arguments = parser.parse_args()
    if INSIDE in os.environ:
        return inside(arguments, Path(os.environ[INSIDE]))
    # Groups are named after the directory, and have to be nobody else's.
    with tempfile.TemporaryDirectory(prefix="schemathesis-", dir="/var/tmp") as directory:
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable]
        return subprocess.run([*unshare, *sys.argv], env={**os.environ, INSIDE: directory}).returncode


def inside(arguments: argparse.Namespace, directory: Path) -> int:
    """The run, in namespaces of its own."""
    seal(directory, arguments.output)
    yaml = [arguments.schemathesis / "bin/python", "-c", READ_YAML, arguments.specification]
    specification = json.loads(subprocess.check_output(yaml))
    place = directory / directory.name
    ours = run(arguments, specification, place, onggid(place))
    theirs = Outcome({}, {})
    if arguments.dockerd_root:
        options = ("--storage-driver", "vfs")
        dockerd = docker_engine(arguments.dockerd_root, directory / "dockerd", *options)
        theirs = run(arguments, specification, directory / "dockerd", dockerd)
    if arguments.output:
        keep(arguments.output, place, ours, theirs)
    print(table(ours, theirs))
    return 1 if ours.findings.keys() - theirs.findings.keys() else 0


def keep(output: Path, directory: Path, ours: Outcome, theirs: Outcome) -> None:
    found = {"ours": [*ours.findings.items()], "theirs": [*theirs.findings.items()]}
    (output / "findings.json").write_text(json.dumps(found, indent=1) + "\n")
    for name in ("onggid.log", "schemathesis.txt", "requests"):
        shutil.copy(directory / name, output)


def seal(directory: Path, output: Path | None) -> None:
    """Make everything read-only but the kernel's file systems, ``output``, and tmpfs at other places."""
    private_world.enter()
    if output:
        output.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", output, output], check=True)
    for place in (directory, "/run", "/tmp"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", place], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", "/"], check=True)
    os.environ["TMPDIR"] = os.environ["HOME"] = str(directory)


@contextlib.contextmanager
def onggid(directory: Path) -> Iterator[str]:
    directory.mkdir()
    engine = RealEngine(directory)
    try:
        engine.start()
        yield engine.url
        if engine.process.poll() is not None:
            raise RuntimeError(f"onggid ended:\n{engine.log()}")
    finally:
        engine.destroy()


def run(arguments, specification, directory: Path, serving) -> Outcome:
    """Serve, furnish, and let schemathesis ask."""
    with serving as url, relayed(url.removeprefix("unix://")) as port:
        furnish(url)
        recorded = json.loads((HERE.parent / "api/deviations.json").read_text())
        wanted = directory / "specification.json"
        wanted.write_text(json.dumps(prepared(specification, recorded)))
        requests, address = directory / "requests", f"http://127.0.0.1:{port}/v1.51"
        command = [
            str(arguments.schemathesis / "bin/schemathesis"), "run", str(wanted), "--url", address,
            "--checks", CHECKS, "--phases", "coverage,fuzzing,stateful",
            "--max-examples", str(arguments.rounds), "--seed", str(arguments.seed), "--continue-on-failure",
            "--request-timeout", "20", "--suppress-health-check", "all", "--generation-database", "none",
            "--no-shrink", "--no-color",
            *(word for name in arguments.only for word in ("--include-name", name)),
        ]  # fmt: skip
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "conformance.schemathesis_hooks",
            "SCHEMATHESIS_FINDINGS": str(requests),
            "SCHEMATHESIS_URL": address,
            "PYTHONPATH": str(HERE.parent),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with open(directory / "schemathesis.txt", "wb") as log:
            subprocess.run(command, cwd=directory, env=environment, stdout=log, stderr=log)
        if not requests.exists():
            raise RuntimeError((directory / "schemathesis.txt").read_text())
        return read(requests)


def furnish(url: str) -> None:
    """The image that everything else is made of, by the hooks."""
    command = ["docker", "-H", url, "import", "-c", 'CMD ["sh"]', "-", "busybox:latest"]
    subprocess.run(command, input=busybox_tar(), stdout=subprocess.DEVNULL, check=True)


@contextlib.contextmanager
def relayed(path: str) -> Iterator[int]:
    """A port on the loopback whose connections go to a unix socket: schemathesis knows no others."""

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(path)
                back = threading.Thread(target=copy, args=(engine, self.request))
                back.start()
                copy(self.request, engine, lambda data: with_exec(path, data))
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Relay) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def with_exec(path: str, data: bytes) -> bytes:
    """The request with an exec of its own in place of the word: each can be started once."""
    if b"/exec/exec/" not in data:
        return data
    made = ask(path, "POST", "/containers/c2/exec", {"Cmd": ["true"]}).json()
    return data.replace(b"/exec/exec/", f"/exec/{made.get('Id', 'exec')}/".encode())


def copy(source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes] = bytes) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(change(part))
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def read(path: Path) -> Outcome:
    asked: dict[str, Counter[int]] = defaultdict(Counter)
    findings: dict[tuple[str, ...], dict[str, str]] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "asked" in entry:
            asked[entry["asked"]][entry["status"]] += 1
        else:
            findings.setdefault(tuple(entry.pop("key")), entry)
    return Outcome(asked, findings)


def table(ours: Outcome, theirs: Outcome) -> str:
    """Requests by operation and status, the findings that only ours has, and sums."""
    lines = ["| operation | requests | statuses |", "|---|---:|---|"]
    for name, statuses in sorted(ours.asked.items()):
        counts = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
        lines.append(f"| {name} | {statuses.total()} | {counts} |")
    left = {key: it for key, it in ours.findings.items() if key not in theirs.findings}
    for key, it in sorted(left.items()):
        lines += [" ".join(key), f"    {it['sent'][:400]}", f"    {it['answer'][:200]}"]
    total = sum(statuses.total() for statuses in ours.asked.values())
    kinds = Counter(key[1] for key in left)
    lines.append(f"{len(ours.asked)} operations, {total} requests, {len(left)} findings {dict(kinds)}, ")
    lines.append(f"{len(ours.findings) - len(left)} that dockerd has as well")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
