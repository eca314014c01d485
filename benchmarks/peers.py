"""The others: OCI runtimes by path with a bundle made here, and a dockerd by its socket."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.sampling import CGROUPS, Case, Sample, group_cpu

HERE = Path(__file__).resolve().parent
CAPABILITIES = [
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID"),
    *("CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL"),
    "CAP_AUDIT_WRITE",
]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEMORY = 512 << 20
PIDS = 512
# docker's default mounts: destination, type, options.
MOUNTS = [
    ("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    ("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
]
MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def remove_group(name: str) -> None:
    """Remove a cgroup and all below it from every hierarchy, once its last process has ended."""
    deadline = time.monotonic() + 30
    for group in [*CGROUPS.glob(f"*/{name}"), CGROUPS / name]:
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(FileNotFoundError):  # spares that end remove their own
                while Path(directory, "cgroup.procs").read_text() and time.monotonic() < deadline:
                    time.sleep(0.01)
                os.rmdir(directory)


class Worker:
    """A process in a mount namespace without the cgroup2 mount of hybrid hosts, in a cgroup of its own."""

    def __init__(self, group: str, output: Path, env: Mapping[str, str]) -> None:
        self.group, self._output = group, str(output)
        prepare = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", prepare, "sh"]
        command = [*argv, sys.executable, str(HERE / "worker.py"), group]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **env}
        )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def run(self, commands: list[list[str]], concurrency: int = 1, groups: list[str] | None = None) -> Sample:
        """Run commands to their ends. CPU is that of the worker's own group and of `groups`."""
        counted = [self.group, *(groups or [])]
        before = [group_cpu(name) for name in counted]
        request = {"commands": commands, "concurrency": concurrency, "output": self._output}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer["failed"]:
            raise RuntimeError(
                f"{answer['failed']} of {commands[0]} failed: {Path(self._output).read_text()[-500:]}"
            )
        pairs = zip((group_cpu(name) for name in counted), before, strict=True)
        used = [now - then for now, then in pairs if now is not None and then is not None]
        return Sample(answer["wall"], sum(used) if used else None)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        remove_group(self.group)


def busybox_root(directory: Path) -> Path:
    """A root file system of nothing but busybox-static."""
    for name in ("bin", "sbin", "usr/bin", "usr/sbin", "etc", "proc", "sys", "dev", "tmp", "root", "var"):
        (directory / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", directory / "bin/busybox")
    listed = subprocess.run(["/bin/busybox", "--list-full"], capture_output=True, text=True, check=True)
    for name in set(listed.stdout.split()) - {"bin/busybox"}:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).symlink_to("/bin/busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\n")
    return directory


def bundle_config(root: Path, group: str, command: list[str]) -> dict[str, Any]:
    """An OCI configuration with docker's defaults and two limits; no seccomp, which favours the peer."""
    mounts = [
        {"destination": where, "type": kind, "source": kind, "options": list(options)}
        for where, kind, options in MOUNTS
    ]
    resources = {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": MEMORY},
        "pids": {"limit": PIDS},
    }
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": [PATH],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": mounts,
        "linux": {
            "cgroupsPath": f"/{group}",
            "resources": resources,
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": MASKED,
            "readonlyPaths": READONLY,
        },
    }


_numbers = itertools.count()  # containers of all runtimes of this process have different names


class OciRuntime:
    """crun or runc, run as a command; bundles differ by cgroup so that many can run at once."""

    def __init__(self, path: str, worker: Worker, scratch: Path, root: Path) -> None:
        self.name, self._path, self._worker = os.path.basename(path), path, worker
        self._scratch, self._root = scratch / os.path.basename(path), root
        self._bundles: dict[str, Path] = {}

    def _bundle(self, name: str, command: list[str]) -> str:
        if name not in self._bundles:
            directory = self._bundles[name] = self._scratch / name
            directory.mkdir(parents=True)
            config = bundle_config(self._root, f"{self._worker.group}/{self.name}-{name}", command)
            (directory / "config.json").write_text(json.dumps(config))
        return str(self._bundles[name])

    def _run(self, name: str, command: list[str], *options: str) -> list[str]:
        container = f"bench-{os.getpid()}-{next(_numbers)}"
        return [self._path, "run", *options, "-b", self._bundle(name, command), container]

    def life(self) -> Sample:
        """One container that runs true."""
        return self._worker.run([self._run("true", ["/bin/true"])])

    def lives(self, clients: int, each: int) -> Sample:
        """`clients` times `each` containers, `clients` at once."""
        # A bundle each: a bundle names a cgroup, which one container at a time may have.
        commands = [self._run(f"many-{number}", ["/bin/true"]) for number in range(clients * each)]
        return self._worker.run(commands, clients)

    @contextlib.contextmanager
    def executing(self) -> Iterator[Case]:
        """A case that executes true in a sleeping container."""
        start = self._run("sleep", ["/bin/sleep", "1000000"], "-d")
        self._worker.run([start])
        try:
            yield lambda: self._worker.run([[self._path, "exec", start[-1], "/bin/true"]])
        finally:
            self._worker.run([[self._path, "delete", "-f", start[-1]]])

    def version(self) -> str:
        return output([self._path, "--version"])


class Docker:
    """The docker command against the engine at `host`; `groups` are the cgroups whose CPU is the engine's."""

    def __init__(self, cli: str, host: str, worker: Worker, groups: list[str]) -> None:
        self._command = [cli, "-H", host]
        self._worker, self._groups = worker, groups

    def life(self, image: str) -> Sample:
        command = [*self._command, "run", "--rm", "--network", "none", image, "true"]
        return self._worker.run([command], groups=self._groups)

    def import_busybox(self, root: Path, name: str) -> None:
        tar = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(
            [*self._command, "import", "-", name], stdin=tar.stdout, check=True, capture_output=True
        )
        tar.wait()

    def version(self) -> str:
        return output([*self._command, "version", "--format", "{{.Client.Version}} {{.Server.Version}}"])


def podman_command(path: str, directory: Path, *, helpers: Path | None = None) -> list[str]:
    """The words that run podman with all it keeps in ``directory``; ``helpers`` is where netavark lies."""
    directory.mkdir()
    storage, settings = directory / "storage.conf", directory / "containers.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
    )
    places = f'helper_binaries_dir = ["{helpers}", "/usr/lib/podman"]\n' if helpers else ""
    backend = 'network_backend = "netavark"\n' if helpers else ""
    # Its default limits are above what a machine without CAP_SYS_RESOURCE may set.
    settings.write_text(
        '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{directory}/tmp"\n{places}'
        f'[network]\n{backend}network_config_dir = "{directory}/networks"\n'
    )
    names = {"CONTAINERS_STORAGE_CONF": storage, "CONTAINERS_CONF": settings}
    return ["env", *(f"{name}={value}" for name, value in names.items()), path]


class Podman:
    """podman with a storage and a configuration of its own, crun below it."""

    def __init__(self, path: str, worker: Worker, scratch: Path) -> None:
        self._worker, self._directory = worker, scratch / "podman"
        self._command = podman_command(path, self._directory)

    def life(self, image: str) -> Sample:
        group = ["--cgroup-parent", f"/{self._worker.group}"]
        return self._worker.run([[*self._command, "run", "--rm", *group, "--network", "none", image, "true"]])

    def import_busybox(self, root: Path, name: str) -> None:
        archive = self._directory / "busybox.tar"
        subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
        self._worker.run([[*self._command, "import", "-q", str(archive), name]])

    def version(self) -> str:
        return output([*self._command, "--version"])


def output(command: list[str]) -> str:
    """The first line that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or done.stderr.splitlines() or [""])[0].strip()
