"""Our engine in a scratch directory of its own, and what is measured of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import MEMORY, PIDS, remove_group
from benchmarks.sampling import CGROUPS, Case, Sample, group_cpu

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "src"))

from onggi.client.endpoint import Endpoint  # noqa: E402
from onggi.client.engine import Engine  # noqa: E402

IMAGE = "busybox"
READY_S = 60


def create_body(command: list[str], *, remove: bool) -> dict[str, Any]:
    """What `docker run --network none -m 512m --pids-limit 512` sends, in short."""
    host = {"NetworkMode": "none", "Memory": MEMORY, "PidsLimit": PIDS, "AutoRemove": remove}
    return {"Image": IMAGE, "Cmd": command, "HostConfig": host}


class Onggi:
    """An engine of this checkout, running while the context is open."""

    def __init__(self, scratch: Path, spares: int) -> None:
        self._spares = spares
        self.group = f"onggi-bench-{os.getpid()}"
        self.socket = scratch / "onggi.sock"
        self._scratch = scratch
        self.client = Engine(Endpoint(f"unix://{self.socket}"), {})

    @contextlib.contextmanager
    def running(self) -> Iterator["Onggi"]:
        roots = ["--data-root", str(self._scratch / "data"), "--exec-root", str(self._scratch / "run")]
        place = [
            "--spares",
            str(self._spares),
            "-H",
            f"unix://{self.socket}",
            "--cgroup-parent",
            f"/{self.group}",
        ]
        with open(self._scratch / "onggid.log", "wb") as log:
            daemon = subprocess.Popen([CHECKOUT / "onggi", "daemon", *roots, *place], stdout=log, stderr=log)
        try:
            self._await(daemon)
            yield self
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(READY_S)
            remove_group(self.group)

    def _await(self, daemon: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + READY_S
        while not self.socket.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"the engine did not start: {(self._scratch / 'onggid.log').read_text()[-2000:]}"
                )
            time.sleep(0.02)

    def import_busybox(self, root: Path) -> None:
        tar = subprocess.run(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE, check=True)
        query = {"fromSrc": "-", "repo": IMAGE, "tag": "latest"}
        self.client.request("POST", "/images/create", query, iter([tar.stdout])).read()

    def run_true(self) -> None:
        """One whole life through the private call: create, start, exit, removed."""
        request = {"Config": create_body(["true"], remove=True), "Attach": None, "Wait": True, "Trace": False}
        answer = self.client.post("/onggi/v1/run", body=request)
        if answer.get("StatusCode"):
            raise RuntimeError(str(answer))

    def counted(self, operation: Callable[[], None]) -> Sample:
        """Time an operation of this process; CPU of the engine's groups and of this process."""
        before, own, began = group_cpu(self.group), time.process_time(), time.perf_counter()
        operation()
        wall, own = time.perf_counter() - began, time.process_time() - own
        after = group_cpu(self.group)
        return Sample(wall, after - before + own if after is not None and before is not None else None)

    def life(self) -> Sample:
        return self.counted(self.run_true)

    def lives(self, clients: int, each: int) -> Sample:
        """`clients` processes, each running `each` containers one after another."""

        def work() -> None:
            children = [self._fork(each) for _ in range(clients)]
            failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
            if failed:
                raise RuntimeError(f"{failed} of {clients} clients failed")

        return self.counted(work)

    def _fork(self, count: int) -> int:
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            for _ in range(count):
                self.run_true()
            status = 0
        finally:
            os._exit(status)

    @contextlib.contextmanager
    def sleeping(self, count: int = 1) -> Iterator[list[str]]:
        """Ids of containers that sleep."""
        request = {"Config": create_body(["sleep", "1000000"], remove=True), "Attach": None, "Wait": False}
        made = [str(self.client.post("/onggi/v1/run", body=request)["Id"]) for _ in range(count)]
        try:
            yield made
        finally:
            for container in made:
                self.client.delete(f"/containers/{container}", {"force": True})

    @contextlib.contextmanager
    def executing(self) -> Iterator[tuple[Case, Case]]:
        """Cases that execute true in a sleeping container: by the private call, and by docker's three."""
        with self.sleeping() as (container,):
            yield (
                lambda: self.counted(lambda: self._exec_true(container)),
                lambda: self.counted(lambda: self._exec_by_docker_calls(container)),
            )

    def _exec_true(self, container: str) -> None:
        body = {"Container": container, "Config": {"Cmd": ["true"]}, "Wait": True}
        if self.client.post("/onggi/v1/exec", body=body)["ExitCode"] != 0:
            raise RuntimeError("exec failed")

    def _exec_by_docker_calls(self, container: str) -> None:
        body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        exec_id = self.client.post(f"/containers/{container}/exec", body=body)["Id"]
        response = self.client.upgrade(f"/exec/{exec_id}/start", body={"Detach": False, "Tty": False})
        sock, _ = response.take_over()
        while sock.recv(4096):
            continue
        sock.close()
        if self.client.get(f"/exec/{exec_id}/json")["ExitCode"] != 0:
            raise RuntimeError("exec failed")

    def remains(self) -> dict[str, list[str]]:
        """What is still there of containers that should be gone."""
        listed = [str(row["Id"]) for row in self.client.get("/containers/json", {"all": True})]
        with open("/proc/self/mountinfo") as file:
            mounts = [line for line in file if str(self._scratch) in line]
        groups = [path for path in CGROUPS.glob(f"*/{self.group}/c/*") if path.is_dir()]
        waiting = os.listdir(self._scratch / "run/waiting")  # groups of spares, not of containers
        groups = [str(path) for path in groups if path.name not in [*listed, *waiting]]
        return {"containers": listed, "mounts": mounts, "cgroups": groups}

    def memory(self, count: int) -> dict[str, float]:
        """With `count` sleeping containers, in kB: mean PSS of monitors and launcher; RSS of onggid."""
        with self.sleeping(count):
            time.sleep(2)
            monitors = [smaps(pid)["Pss"] for pid in self._pids("monitors")]
            engine = sum(smaps(pid)["Rss"] for pid in self._pids("engine"))
        return {"containers": count, "monitor_pss_kb": sum(monitors) / len(monitors), "engine_rss_kb": engine}

    def _pids(self, leaf: str) -> list[int]:
        for base in (CGROUPS / "cpuacct", CGROUPS):
            file = base / self.group / leaf / "cgroup.procs"
            if file.exists():
                return [int(word) for word in file.read_text().split()]
        return []


def smaps(pid: int) -> dict[str, int]:
    """Sums of /proc/PID/smaps_rollup in kB (proc_pid_smaps(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return {words[0].rstrip(":"): int(words[1]) for line in lines if len(words := line.split()) == 3}
