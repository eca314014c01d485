"""Other people's tools as judges of images: Debian's docker-registry, skopeo and umoci, on loopback."""

import contextlib
import http.client
import os
import socket
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from engines import DEADLINE_S, wait_until

SKOPEO = ("skopeo", "--insecure-policy")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def docker_registry(directory: Path) -> Iterator[str]:
    """A registry with nothing in it; yields its ``127.0.0.1:PORT``."""
    address = f"127.0.0.1:{free_port()}"
    configuration = directory / "registry.yml"
    configuration.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/registry}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with open(directory / "registry.log", "wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: _answers(address), "docker-registry")
        yield address
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=DEADLINE_S):
            return True
    except (OSError, http.client.HTTPException):
        return False


def run(*command: str | Path, check: bool = True) -> str:
    """A judge's words."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=4 * DEADLINE_S,
        check=False,
    )
    assert not check or done.returncode == 0, done
    return done.stdout.decode()


def skopeo_copy(source: str, target: str) -> None:
    run(*SKOPEO, "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)


def skopeo_digest(image: str) -> str:
    """The digest of what a reference names."""
    return run(*SKOPEO, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", image).strip()


def umoci_tree(layout: str, directory: Path) -> Path:
    """The root file system of ``DIR:TAG`` as umoci unpacks it."""
    run("umoci", "unpack", "--image", layout, directory / "bundle")
    return directory / "bundle" / "rootfs"


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that two trees must share: kind, mode, owner, time, content, links, devices, attributes."""
    found: dict[str, tuple[object, ...]] = {}
    inodes: dict[tuple[int, int], str] = {}
    for directory, names, files in os.walk(root):
        for name in sorted([*names, *files]):
            path = Path(directory, name)
            status = path.lstat()
            relative = str(path.relative_to(root))
            facts: list[object] = [oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns]
            if stat.S_ISREG(status.st_mode):
                first = inodes.setdefault((status.st_dev, status.st_ino), relative)
                facts += [path.read_bytes(), first]
            elif stat.S_ISLNK(status.st_mode):
                facts.append(os.readlink(path))
            elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                facts.append(status.st_rdev)
            if not stat.S_ISLNK(status.st_mode):
                attributes = [it for it in os.listxattr(path) if not it.startswith("trusted.overlay")]
                facts += [(it, os.getxattr(path, it)) for it in sorted(attributes)]
            found[relative] = tuple(facts)
    return found
