"""Streams are bounded: output, attach and resize leave neither memory nor descriptors behind (rule R24)."""

import json
import os
from pathlib import Path

from engines import wait_until
from onggi.client.endpoint import Endpoint
from onggi.client.engine import Engine

FLOOD = 256 << 20
CYCLES = 300
FEW = CYCLES // 20  # an engine starts threads and opens files by itself; a cycle that leaves one leaves 300


def memory_kb(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def above(pid: int, top: int) -> list[int]:
    """A process and all that it descends from, up to ``top``."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return [pid] if pid == top else [pid, *above(parent, top)]


def held(pid: int) -> tuple[int, int]:
    """Numbers of descriptors and threads."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_cve_2022_31030_output_is_not_kept(onggi, engine):
    """CVE-2022-1708, CVE-2022-23471: a flood of an exec's output stays in nobody's memory."""
    with onggi.container("busybox", "sleep", "1000000") as name:
        onggi("exec", name, "true")
        # its first process, its monitor, the launcher and the engine: all that such output could pass
        first = json.loads(onggi("inspect", name).stdout)[0]["State"]["Pid"]
        before = {pid: memory_kb(pid) for pid in above(first, engine.process.pid)}
        assert len(before) >= 4
        script = f"head -c {FLOOD} /dev/zero | tr '\\0' x"
        assert len(onggi("exec", name, "sh", "-c", script).stdout) == FLOOD
        grown = {pid: memory_kb(pid) - kb for pid, kb in before.items()}
    assert max(grown.values()) < 16 << 10, grown


def test_cve_2025_64329_attach_and_resize_leave_nothing(onggi, engine):
    """CVE-2022-23471: clients that attach and go, and sizes that change."""
    client = Engine(Endpoint(engine.url), {})
    with onggi.container("-it", "busybox", "cat") as name:

        def cycle() -> None:
            query = {"stream": True, "stdin": True, "stdout": True}
            sock, _ = client.upgrade(f"/containers/{name}/attach", query).take_over()
            client.post(f"/containers/{name}/resize", {"h": 24, "w": 80})
            sock.close()

        cycle()
        # its own processes, the launcher and the engine: what stands ready for the next container still grows
        pid = client.get(f"/containers/{name}/json")["State"]["Pid"]
        before = {pid: held(pid) for pid in above(pid, engine.process.pid)}
        assert len(before) >= 4
        for _ in range(CYCLES):
            cycle()

        def grown() -> dict[int, tuple[int, int]]:
            """How many descriptors and threads each has more than before."""
            now = {pid: held(pid) for pid in before}
            return {pid: (now[pid][0] - fds, now[pid][1] - threads) for pid, (fds, threads) in before.items()}

        wait_until(
            lambda: all(fds < FEW and threads < FEW for fds, threads in grown().values()),
            "descriptors and threads as before",
        )
