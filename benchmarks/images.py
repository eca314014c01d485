#!/usr/bin/env python3
"""Moves images beside dockerd: pull, load, push, save of one image of about 280 MB, on fresh file systems.

Every sample begins with a new ext4 file system in a file (ext4 is slow for a minute after many files were
deleted), an engine started on it and an empty registry. The same docker command drives both engines. Pull and
load are timed to the end of a following `run --rm --network none IMAGE true` and a sync of the file system.
Needs root, docker, docker-registry, skopeo; runs in mount and network namespaces of its own.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import records, sampling  # noqa: E402
from benchmarks.engines import dockerd, fresh_disk, onggi, process, run, wait_for  # noqa: E402
from benchmarks.sampling import Sample  # noqa: E402

REGISTRY, SOURCE = "127.0.0.1:5000", "127.0.0.1:5001"  # to push to; to pull from
PROMISES = [("pull", 0.25), ("load", 0.25), ("push imported", 0.5), ("push pulled", 0.5), ("save", 0.7)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fixtures", type=Path, required=True, help="what made_image.py wrote")
    parser.add_argument(
        "--dockerd-root", type=Path, help="where usr/sbin/dockerd, usr/bin/containerd ... lie"
    )
    parser.add_argument("--docker-cli", default=shutil.which("docker"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


@contextlib.contextmanager
def registry(address: str, storage: Path, scratch: Path) -> Iterator[None]:
    """Debian's docker-registry."""
    configuration = scratch / f"registry-{address.rpartition(':')[2]}.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with process("docker-registry", "serve", str(configuration), log=scratch / "registry.log"):
        wait_for(lambda: _answers(address), f"registry {address}")
        yield


def _answers(address: str) -> bool:
    done = subprocess.run(
        ["skopeo", "list-tags", "--tls-verify=false", f"docker://{address}/nothing"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    return b"connection refused" not in done.stderr


class Docker:
    """The docker command on one engine; every call is timed."""

    def __init__(self, address: str, disk: Path, cli: str) -> None:
        self._base, self._disk = [cli, "-H", address], disk

    def quietly(self, *words: str) -> None:
        run(*self._base, *words, quiet=True)

    def timed(self, *words: str, then_run: str = "") -> Sample:
        """One command; with ``then_run`` to the end of a container of that image, and a sync."""
        began, busy = time.monotonic(), sampling.busy()
        self.quietly(*words)
        if then_run:
            self.quietly("run", "--rm", "--network", "none", then_run, "true")
            run("sync", "-f", str(self._disk))
        return Sample(time.monotonic() - began, sampling.busy() - busy)


def sample(engine: str, scratch: Path, options: argparse.Namespace) -> dict[str, Sample]:
    """Every case once, each group on a file system of its own."""

    def start(disk: Path) -> contextlib.AbstractContextManager[str]:
        if engine == "onggi":
            return onggi(disk, scratch, options.docker_cli)
        return dockerd(disk, scratch, options.docker_cli, options.dockerd_root)

    found: dict[str, Sample] = {}
    big, name = f"{SOURCE}/big:1", f"{REGISTRY}/big:1"
    with fresh_disk(scratch) as disk, start(disk) as address:
        docker = Docker(address, disk, options.docker_cli)
        found["pull"] = docker.timed("pull", big, then_run=big)
        found["save"] = docker.timed("save", "-o", str(scratch / "saved.tar"), big)
        (scratch / "saved.tar").unlink()
        docker.quietly("tag", big, name)
        with registry(REGISTRY, disk / "registry", scratch):
            found["push pulled"] = docker.timed("push", name)
    with fresh_disk(scratch) as disk, start(disk) as address:
        docker = Docker(address, disk, options.docker_cli)
        loaded = options.fixtures / "big-docker.tar"
        found["load"] = docker.timed("load", "-i", str(loaded), then_run=name)
    with fresh_disk(scratch) as disk, start(disk) as address:
        docker = Docker(address, disk, options.docker_cli)
        docker.quietly("import", str(options.fixtures / "debian.tar"), f"{REGISTRY}/debian:1")
        with registry(REGISTRY, disk / "registry", scratch):
            found["push imported"] = docker.timed("push", f"{REGISTRY}/debian:1")
    return found


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, list[Sample]]:
    engines = ["onggi", *(["docker"] if options.dockerd_root else [])]
    results: dict[str, list[Sample]] = {f"{it}: {case}": [] for case, _ in PROMISES for it in engines}
    with registry(SOURCE, scratch / "source", scratch):
        run(
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"),
            *(f"oci:{options.fixtures}/big-oci:1", f"docker://{SOURCE}/big:1"),
        )
        for _ in range(options.rounds):
            for engine in engines:
                for case, it in sample(engine, scratch, options).items():
                    results[f"{engine}: {case}"].append(it)
                    print(f"{engine}: {case}: {it.wall:.2f} s, {it.cpu:.2f} s of CPU", flush=True)
    return results


def verdicts(results: dict[str, list[Sample]]) -> list[dict[str, Any]]:
    return [
        records.verdict(case, sampling.ratio(results, f"onggi: {case}", f"docker: {case}"), limit)
        for case, limit in PROMISES
        if results.get(f"docker: {case}")
    ]


def versions(options: argparse.Namespace) -> dict[str, str]:
    found = {"docker command": records.version(options.docker_cli, "--version")}
    if options.dockerd_root:
        found["dockerd"] = records.version(str(options.dockerd_root / "usr/sbin/dockerd"), "--version")
    return found


def main() -> None:
    options = arguments()
    records.alone(__file__)
    with tempfile.TemporaryDirectory(prefix="onggi-bench-", dir="/var/tmp") as directory:
        results = measure(options, Path(directory))
    size = (options.fixtures / "big-docker.tar").stat().st_size
    facts = {"versions": versions(options), "image_bytes": size}
    records.write("images", options.results, verdicts(results), results, facts)


if __name__ == "__main__":
    main()
