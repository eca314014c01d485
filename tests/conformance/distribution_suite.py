"""Runs the OCI distribution-spec conformance suite on the embedded registry and on docker's registry.

    python tests/conformance/distribution_suite.py --suite DIR [--peer docker-registry] [--every]

DIR is a checkout of github.com/opencontainers/distribution-spec (not copied); Go builds its program, with
the environment that this command has (GOPATH, GOFLAGS, ...); `--program FILE` takes one that is built. Needs
root: an engine of its own serves in private mount and network namespaces, the peer in the same. `--every`
asks also for what the suite leaves out by default: cancelled uploads, tags with a digest, digest headers.
Prints the suite's counts for each registry; fails if a check fails on ours.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2] / "src")]

import private_world  # noqa: E402
from engines import RealEngine, wait_until  # noqa: E402 - it is found by the line above
from registries import serving  # noqa: E402

PORT = 5000
COUNT = re.compile(r"^  (Disabled|Skip|Pass|FAIL|Error|Total)\.*: +(\d+)$", re.MULTILINE)
EVERY = {
    "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    "OCI_API_BLOBS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_TAG_PARAM": "true",
}
PEER_CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--suite", type=Path, help="checkout with conformance/")
    parser.add_argument("--program", type=Path, help="the suite's program, built before")
    parser.add_argument("--peer", help="command of docker's registry")
    parser.add_argument("--every", action="store_true", help="also what the suite leaves out by default")
    parser.add_argument("--output", type=Path, help="keep reports in this directory")
    arguments = parser.parse_args()
    private_world.enter()
    directory = Path(tempfile.mkdtemp(prefix="distribution-"))
    try:
        program = arguments.program or build(arguments.suite, directory)
        results = {"onggi": on_onggi(lambda name: run(program, name, directory, arguments), directory)}
        if arguments.peer:
            results[arguments.peer] = on_peer(
                arguments.peer, lambda name: run(program, name, directory, arguments), directory
            )
        print(json.dumps(results, indent=1))
        if arguments.output:
            shutil.copytree(directory / "reports", arguments.output, dirs_exist_ok=True)
    finally:
        shutil.rmtree(directory)
    return 1 if results["onggi"]["FAIL"] + results["onggi"]["Error"] else 0


def build(suite: Path, directory: Path) -> Path:
    program = directory / "conformance"
    subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", program, "."], cwd=suite / "conformance", check=True
    )
    return program


def run(program: Path, name: str, directory: Path, arguments: argparse.Namespace) -> dict[str, int]:
    """What the suite counts."""
    report = directory / "reports" / name
    report.mkdir(parents=True)
    environment = {
        "PATH": os.environ["PATH"],
        "OCI_REGISTRY": f"127.0.0.1:{PORT}",
        "OCI_TLS": "disabled",
        "OCI_LOG": "error",
        "OCI_RESULTS_DIR": str(report),
        **(EVERY if arguments.every else {}),
    }
    done = subprocess.run([program], env=environment, capture_output=True, text=True, cwd=report)
    (report / "output.txt").write_text(done.stdout + done.stderr)
    return {word: int(number) for word, number in COUNT.findall(done.stdout)}


def on_onggi(check: Callable[[str], dict[str, int]], directory: Path) -> dict[str, int]:
    home = directory / "engine"
    home.mkdir()
    engine = RealEngine(home)
    try:
        engine.start()
        with serving(engine, Address=f"127.0.0.1:{PORT}"):
            return check("onggi")
    finally:
        engine.destroy()


def on_peer(command: str, check: Callable[[str], dict[str, int]], directory: Path) -> dict[str, int]:
    config = directory / "peer.yml"
    config.write_text(PEER_CONFIG.format(directory=directory / "peer", port=PORT))
    with subprocess.Popen([command, "serve", str(config)], stderr=subprocess.DEVNULL) as peer:
        try:
            wait_until(listening, "the peer to listen")
            return check("peer")
        finally:
            peer.terminate()


def listening() -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT)):
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
