#!/usr/bin/env python3
"""Memory while an image of 2 GB is pulled, saved, loaded and pushed: peaks of onggid and all its children.

The image is made up: layers whose files are half noise. What is sampled, every 20 ms, is the sum over all
processes of the engine of what each has for itself and its share of the rest (PSS, proc_pid_smaps(5)). Needs
root, docker, docker-registry and skopeo; it makes mount and network namespaces of its own.
"""

import argparse
import contextlib
import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks import records  # noqa: E402
from benchmarks.engines import onggi, run  # noqa: E402
from benchmarks.images import SOURCE, registry  # noqa: E402
from benchmarks.made_image import finish_layout  # noqa: E402
from benchmarks.ours import smaps  # noqa: E402

LAYERS, LIMIT_MB, PAUSE_S = 4, 150, 0.02
NAME = f"{SOURCE}/big:1"
BLOCK = 1 << 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--docker-cli", default=shutil.which("docker"))
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


def write_layer(place: Path, number: int, megabytes: int) -> tuple[str, str, int]:
    """Diff id, digest and size of a layer among the blobs at ``place``."""
    plain, packed = place / "plain", place / "packed"
    with tarfile.open(plain, "w") as archive:
        for at in range(megabytes):
            info = tarfile.TarInfo(f"{number}-{at}")
            info.size = BLOCK
            archive.addfile(info, BytesIO(os.urandom(BLOCK // 2) + bytes(BLOCK // 2)))
    with open(plain, "rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target, BLOCK)
    diff_id, digest = map(_digest, (plain, packed))
    plain.unlink()
    packed.rename(place / digest[7:])
    return diff_id, digest, (place / digest[7:]).stat().st_size


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def write_layout(place: Path, megabytes: int) -> None:
    """An OCI layout of so many megabytes, unpacked."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    made = [write_layer(blobs, number, megabytes // LAYERS) for number in range(LAYERS)]
    finish_layout(place, [it[0] for it in made], [it[1:] for it in made])


class Peak(threading.Thread):
    """Watches a process and its descendants while the context is open; ``bytes`` is the most they had."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.bytes = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.bytes = max(self.bytes, sum(map(_pss, family(self._pid))))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            children += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return [pid, *(it for child in children for it in family(child))]


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):  # it has ended
        return smaps(pid).get("Pss", 0) << 10
    return 0


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Megabytes at the peak of each operation; nothing runs between them."""
    write_layout(scratch / "layout", options.megabytes)
    saved = str(scratch / "saved.tar")
    operations = [
        ("pull", ["pull", "-q", NAME]),
        ("save", ["save", "-o", saved, NAME]),
        ("", ["image", "rm", NAME]),
        ("load", ["load", "-q", "-i", saved]),
        ("", ["tag", NAME, f"{SOURCE}/pushed:1"]),
        ("push", ["push", "-q", f"{SOURCE}/pushed:1"]),
    ]
    found = {}
    with registry(SOURCE, scratch / "registry", scratch):
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        run(*copy, f"oci:{scratch / 'layout'}:1", f"docker://{NAME}")
        shutil.rmtree(scratch / "layout")
        with onggi(scratch / "ours", scratch, options.docker_cli) as address:
            pid = int((scratch / "ours/data/onggid.lock").read_text())
            for what, words in operations:
                if what == "push":  # of content that the registry does not have yet
                    shutil.rmtree(scratch / "registry")
                with Peak(pid) as peak:
                    began = time.monotonic()
                    run(options.docker_cli, "-H", address, *words, quiet=True)
                    took = time.monotonic() - began
                if what:
                    found[what] = peak.bytes / 1e6
                    print(f"{what}: {found[what]:.0f} MB, {took:.1f} s", flush=True)
    return found


def main() -> None:
    options = arguments()
    records.alone(__file__)
    with tempfile.TemporaryDirectory(prefix="onggi-bench-", dir="/var/tmp") as directory:
        found = measure(options, Path(directory))
    verdicts = [records.verdict(f"{case}, MB", value, LIMIT_MB) for case, value in found.items()]
    records.write("memory", options.results, verdicts, {}, {"peaks_mb": found})


if __name__ == "__main__":
    main()
