"""Engines for benchmarks: ours and dockerd, each on directories, and in a network namespace, of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
WAIT_S = 60
DISK_BYTES = 6 << 30
GROUPS = {"onggi": "onggi-bench", "docker": "onggi-bench-docker"}  # below which containers lie
Inside = tuple[str, ...]  # the words of a command that enters a network namespace


def run(*command: str, quiet: bool = False) -> subprocess.CompletedProcess[bytes]:
    out = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


@contextlib.contextmanager
def fresh_disk(scratch: Path) -> Iterator[Path]:
    """A new file system."""
    image, place = scratch / "disk", scratch / "mnt"
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    place.mkdir(exist_ok=True)
    run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        run("umount", "-l", str(place))
        image.unlink()


def busybox_archive(place: Path) -> Path:
    """busybox as a root file system."""
    root = place / "base"
    (root / "bin").mkdir(parents=True)
    for name in ("dev", "proc", "sys", "tmp", "etc"):
        (root / name).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "echo", "sleep", "true"):
        (root / "bin" / name).symlink_to("busybox")
    run("tar", "-C", str(root), "-cf", str(place / "base.tar"), ".")
    return place / "base.tar"


@contextlib.contextmanager
def process(*command: str, log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, "ab") as out:
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(WAIT_S)


@contextlib.contextmanager
def onggi(disk: Path, scratch: Path, cli: str, inside: Inside = (), *, again: bool = False) -> Iterator[str]:
    """Our engine; yields its address. ``again``: after one that was killed, whose containers run on."""
    data, execution = disk / "data", scratch / "run"
    if not again:
        shutil.rmtree(execution, ignore_errors=True)
    address = f"unix://{execution}/onggi.sock"
    command = [
        *inside,
        *(str(CHECKOUT / "onggi"), "daemon", "--here", "--data-root", str(data)),
        *("--exec-root", str(execution), "--cgroup-parent", f"/{GROUPS['onggi']}"),
    ]
    with process(*command, log=scratch / "onggi.log"):
        wait_for(lambda: _serves(address, cli), "onggi")
        yield address


@contextlib.contextmanager
def dockerd(disk: Path, scratch: Path, cli: str, root: Path, inside: Inside = ()) -> Iterator[str]:
    """dockerd of the unpacked packages at ``root``, with its own containerd; yields its address."""
    state = scratch / "docker-run"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    path = f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}"
    env = dict(os.environ, PATH=path)
    (state / "containerd.toml").write_text(
        f'version = 2\nroot = "{disk}/containerd"\nstate = "{state}/containerd"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{state}/containerd.sock"\n[ttrpc]\naddress = "{state}/containerd.sock.ttrpc"\n'
    )
    (state / "daemon.json").write_text("{}")
    address = f"unix://{state}/docker.sock"
    log = scratch / "docker.log"
    with process("containerd", "--config", str(state / "containerd.toml"), log=log, env=env):
        wait_for(lambda: (state / "containerd.sock").exists(), "containerd")
        command = [
            *(*inside, "dockerd", "--config-file", str(state / "daemon.json"), "-H", address),
            *("--containerd", str(state / "containerd.sock"), "--data-root", str(disk / "docker")),
            *("--exec-root", str(state / "exec"), "--pidfile", str(state / "docker.pid")),
            *("--cgroup-parent", f"/{GROUPS['docker']}"),
        ]
        with process(*command, log=log, env=env):
            wait_for(lambda: _serves(address, cli), "dockerd")
            yield address


def _serves(address: str, cli: str) -> bool:
    done = subprocess.run([cli, "-H", address, "version"], capture_output=True, stdin=subprocess.DEVNULL)
    return done.returncode == 0
