"""A real engine for tests: its own directories and cgroup parent, gone without a trace at the end.

Suites that use it run in the private mount and network namespaces of tests/conftest.py.
"""

import contextlib
import errno
import glob
import hashlib
import io
import os
import select
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from docker import DockerClient

ROOT = Path(__file__).resolve().parents[1]
DEADLINE_S = 60
BUSYBOX = "/bin/busybox"
BOOT = (
    f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
ONGGI = [sys.executable, "-I", "-S", "-c", BOOT]
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
user:x:1000:1000::/home/user:/bin/sh
"""
GROUP = "root:x:0:\ndaemon:x:1:\naudio:x:29:user\nuser:x:1000:\n"


def busybox_tar() -> bytes:
    """A root file system of busybox-static, in docker's layout."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in [
            ("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("home", 0o755),
            ("home/user", 0o755), ("usr", 0o755), ("usr/sbin", 0o755), ("var", 0o755),
        ]:  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        for name, text in [("etc/passwd", PASSWD), ("etc/group", GROUP)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        entry = archive.gettarinfo(BUSYBOX, "bin/busybox")
        with open(BUSYBOX, "rb") as program:
            archive.addfile(entry, program)
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(entry)
    return buffer.getvalue()


def wait_until(condition, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Look again every few milliseconds; for states that offer no event."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


def paths_below(root: Path | str) -> Iterator[Path]:
    """Everything below a directory in which others make and remove; what goes meanwhile may be left out."""
    for directory, names, files in os.walk(root):
        yield from (Path(directory, name) for name in (*names, *files))


def delete_tables(name: str) -> None:
    """Delete the packet filter's tables of this name, if any. Raises FileNotFoundError without nft."""
    tables = "".join(f"table {it} {name}\ndelete table {it} {name}\n" for it in ("ip", "ip6"))
    subprocess.run(["nft", "-f", "-"], input=tables.encode(), check=True)


def open_files(pid: int) -> dict[int, str]:
    """What the descriptors of a process are, by number; what is closed meanwhile may be left out."""
    found = {}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    return found


class RealEngine:
    """One onggid below ``directory``. ``start`` may be called again after ``kill`` or ``stop``."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory, self.options = directory, options
        self.data_root, self.exec_root = directory / "data", directory / "run"
        self.socket = self.exec_root / "onggi.sock"
        self.cgroup_parent = f"/onggi-test-{os.getpid()}-{directory.name}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def table(self) -> str:
        """The name of its tables in the packet filter."""
        return "onggi-" + hashlib.sha256(str(self.data_root).encode()).hexdigest()[:6]

    @property
    def environment(self) -> dict[str, str]:
        """For commands that shall talk to this engine."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "DOCKER_HOST": self.url,
            "ONGGI_ROOT": str(self.data_root),
            "ONGGI_EXEC_ROOT": str(self.exec_root),
            "PYTHONPATH": str(ROOT / "src"),
        }

    def start(self) -> None:
        """Start in the foreground and return when it serves."""
        ready, child = os.pipe()
        arguments = [
            *("--here", "--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            *("--cgroup-parent", self.cgroup_parent, "--config-file", str(self.directory / "daemon.json")),
            *("--ready-fd", str(child), *self.options),
        ]
        (self.directory / "daemon.json").touch()
        with open(self.directory / "onggid.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "onggi.daemon", *arguments],
                env=self.environment | {"PYTHONDONTWRITEBYTECODE": "1"},
                pass_fds=[child],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(child)
        with os.fdopen(ready, "rb", buffering=0) as pipe:
            readable, _, _ = select.select([pipe], [], [], DEADLINE_S)
            if not readable or not pipe.read(1):
                raise RuntimeError(f"onggid did not start:\n{self.log()}")

    def log(self) -> str:
        """What the engine wrote."""
        return (self.directory / "onggid.log").read_text()

    def kill(self) -> None:
        """SIGKILL to onggid alone; launcher, monitors and containers go on."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def stop(self) -> None:
        """SIGTERM to onggid; containers go on."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)

    def docker(
        self, *arguments: str, input: bytes = b"", check: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the docker CLI."""
        return subprocess.run(
            ["docker", *arguments],
            input=input,
            capture_output=True,
            timeout=DEADLINE_S,
            env=self.environment,
            check=check,
        )

    def onggi(self, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run our own CLI."""
        return subprocess.run(
            [*ONGGI, *arguments], input=input, capture_output=True, timeout=DEADLINE_S, env=self.environment
        )

    def client(self) -> DockerClient:
        """A docker-py client."""
        return DockerClient(base_url=self.url, timeout=DEADLINE_S)

    def import_busybox(self) -> None:
        """Make the image ``busybox:latest``."""
        self.docker("import", "-c", 'CMD ["sh"]', "-", "busybox:latest", input=busybox_tar(), check=True)

    def destroy(self) -> None:
        """End everything of this engine, and remove its groups."""
        self.stop()
        wait_until(self._ended, f"processes of {self.cgroup_parent}")
        # Rules outlive an engine as containers do, and would take the ports of the next one.
        with contextlib.suppress(FileNotFoundError):
            delete_tables(self.table)
        wait_until(self._removed, f"the groups of {self.cgroup_parent} to be empty")

    def _groups(self) -> list[str]:
        return glob.glob(f"/sys/fs/cgroup{self.cgroup_parent}") + glob.glob(
            f"/sys/fs/cgroup/*{self.cgroup_parent}"
        )

    def _removed(self) -> bool:
        """Remove our groups; False while the kernel still counts a process that is listed no more."""
        try:
            for root in self._groups():
                for directory, _, _ in os.walk(root, topdown=False):
                    os.rmdir(directory)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def _ended(self) -> bool:
        """Kill what is in our groups; True when nothing is."""
        pids = set()
        for root in self._groups():
            for directory, _, _ in os.walk(root):
                _thaw(directory)
                with contextlib.suppress(OSError):  # the group ended while we looked
                    pids |= set(map(int, Path(directory, "cgroup.procs").read_text().split()))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids


@contextlib.contextmanager
def engine_at(directory: Path, *options: str) -> Iterator[RealEngine]:
    """An engine of the caller's own, which serves and has the image busybox; gone at the end."""
    engine = RealEngine(directory, *options)
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.destroy()


def _thaw(directory: str) -> None:
    for name, value in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")]:
        with contextlib.suppress(OSError), open(os.path.join(directory, name), "r+") as file:
            file.write(value)
