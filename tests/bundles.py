"""Bundles with busybox and the `onggi-runtime` command, for tests of the OCI command line."""

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
COMMAND = REPOSITORY / "onggi-runtime"
DEADLINE_S = 60
CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
]  # fmt: skip
MOUNTS = [
    ("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
]


def configuration(args, **process):
    """A configuration with docker's capabilities and all namespaces."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "args": list(args), "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            **process,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": target, "type": kind, "source": kind, "options": options}
            for target, kind, options in MOUNTS
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "mount", "uts", "ipc", "network", "cgroup")],
            "maskedPaths": ["/proc/kcore", "/proc/acpi"],
            "readonlyPaths": ["/proc/sys"],
        },
    }  # fmt: skip


class Bundle:
    """One container: its directory, its configuration, and the command with its state root."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.root = directory, directory / "state"
        self.id = f"test-{uuid.uuid4().hex[:12]}"
        self.rootfs = directory / "rootfs"
        make_rootfs(self.rootfs)
        self.configure(configuration(["/bin/true"]))

    def configure(self, config) -> None:
        config.setdefault("linux", {})["cgroupsPath"] = f"/onggi-runtime-tests/{self.id}"
        self.config = config
        (self.directory / "config.json").write_text(json.dumps(config))

    def start_args(self, *words: str) -> list[str]:
        return [str(COMMAND), "--root", str(self.root), *words]

    def __call__(self, *words: str, status: int | None = 0, **options) -> subprocess.CompletedProcess[str]:
        """Run the command; `status` None allows any."""
        done = subprocess.run(
            self.start_args(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=DEADLINE_S, cwd=self.directory, check=False, **options,
        )  # fmt: skip
        assert status is None or done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done

    def create(self, *words: str) -> int:
        """Create in the background of this process; the init's pid. Its output goes to `output`."""
        with open(self.directory / "output", "wb") as output:
            done = subprocess.run(
                self.start_args("create", "--pid-file", "pid", *words, self.id), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, timeout=DEADLINE_S, cwd=self.directory, check=False,
            )  # fmt: skip
        assert done.returncode == 0, (self.directory / "output").read_text()
        return int((self.directory / "pid").read_text())

    def output(self) -> str:
        return (self.directory / "output").read_text()

    def state(self):
        return json.loads(self("state", self.id).stdout)

    def destroy(self) -> None:
        self("delete", "--force", self.id, status=None)
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, _, tail = line.partition(" - ")
            if tail.startswith("cgroup"):
                group = Path(fields.split()[4], "onggi-runtime-tests")
                if group.is_dir() and not any(entry.is_dir() for entry in group.iterdir()):
                    group.rmdir()


def make_rootfs(directory: Path) -> None:
    """busybox and its applets."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (directory / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is not installed"
    shutil.copy(busybox, directory / "bin/busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
    for applet in listed.split():
        if applet != "busybox":
            (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"
    )


def wait_ended(pid: int) -> None:
    """Until a process that is no child of ours has ended."""
    import select

    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(DEADLINE_S * 1000), f"{pid} goes on"
    finally:
        os.close(fd)
