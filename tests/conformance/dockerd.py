"""A dockerd and its containerd from a directory where they are unpacked, with storage of their own."""

import contextlib
import glob
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from engines import wait_until

CONTAINERD = """version = 3
root = "{home}/containerd"
state = "{home}/containerd-run"
disabled_plugins = ["io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"]
[grpc]
address = "{home}/containerd.sock"
"""
ALONE = ("--storage-driver", "vfs", "--bridge=none", "--iptables=false", "--ip6tables=false")


@contextlib.contextmanager
def docker_engine(root: Path, home: Path, *options: str) -> Iterator[str]:
    """Serve while the context is open; the engine's address. ``root`` holds usr/sbin and usr/bin.

    Its containers are in a group of its own, which is removed at the end.
    """
    home.mkdir()
    (home / "containerd.toml").write_text(CONTAINERD.format(home=home))
    (home / "daemon.json").write_text("{}")
    address, group = f"unix://{home}/docker.sock", f"/conformance-{os.getpid()}"
    daemon = [
        "dockerd", "--config-file", f"{home}/daemon.json", "-H", address, "--data-root", f"{home}/data",
        "--containerd", f"{home}/containerd.sock", "--exec-root", f"{home}/run", "--pidfile", f"{home}/pid",
        "--cgroup-parent", group, *options,
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}"}
    started = []
    with open(home / "log", "wb") as log:
        try:
            for command in (["containerd", "--config", f"{home}/containerd.toml"], daemon):
                wanted = home / ("containerd.sock" if not started else "docker.sock")
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
                wait_until(wanted.exists, f"{command[0]} to listen")
            version = ["docker", "-H", address, "version"]
            wait_until(lambda: subprocess.run(version, capture_output=True).returncode == 0, "dockerd")
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(60)
            for place in glob.glob(f"/sys/fs/cgroup/*{group}") + glob.glob(f"/sys/fs/cgroup{group}"):
                subprocess.run(["find", place, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
