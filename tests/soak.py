"""Many containers and execs, one after another and at once; afterwards nothing is there that was not before.

    sudo python3 tests/soak.py --rounds 1000 --at-once 100 --execs 5000 --table docs/proofs/leaks.md

``Census`` is what an engine holds of the machine: mounts, control groups, processes (zombies too), namespaces
of these, descriptors of onggid and launcher, and its files. tests/api/test_leaks.py is the short form.
"""

import collections
import contextlib
import glob
import http.client
import json
import os
import platform
import random
import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import private_world
import proofs
from engines import engine_at, wait_until

KINDS = ("mounts", "groups", "processes", "namespaces", "descriptors", "files")
HOST = {"NetworkMode": "none"}
SPARES = 2  # that an engine keeps, unless it is told otherwise


class Api(http.client.HTTPConnection):
    """JSON over the engine's socket."""

    def __init__(self, path) -> None:
        super().__init__("engine", timeout=120)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def call(self, method, path, body=None, query=""):
        """The decoded answer; an error status raises."""
        text = None if body is None else json.dumps(body)
        self.request(method, f"/v1.51{path}{query}", text, {"Content-Type": "application/json"})
        answer = self.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {data!r}")
        return json.loads(data) if data and answer.headers.get_content_type() == "application/json" else None

    def run(self, *command, wait=True, **host):
        """The private call: create, start, wait and remove."""
        config = {"Image": "busybox", "Cmd": command, "HostConfig": {**HOST, "AutoRemove": True, **host}}
        self.request(
            "POST", "/onggi/v1/run", json.dumps({"Config": config, "Wait": wait}),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        answer = json.loads(self.getresponse().read())
        if wait and answer.get("StatusCode") != 0:
            raise RuntimeError(f"run: {answer}")
        return answer

    def execute(self, container, *command):
        """``docker exec``, detached, to its end."""
        body = {"Cmd": command, "AttachStdout": False}
        exec_id = self.call("POST", f"/containers/{container}/exec", body)["Id"]
        self.call("POST", f"/exec/{exec_id}/start", {"Detach": True})
        return exec_id


def groups_of(engine):
    """Every directory of the engine's control groups."""
    parent = engine.cgroup_parent
    roots = glob.glob(f"/sys/fs/cgroup{parent}") + glob.glob(f"/sys/fs/cgroup/*{parent}")
    return sorted(directory for root in set(roots) for directory, _, _ in os.walk(root))


def processes_of(engine):
    """Pid -> name and state of all in the engine's groups, and of their children wherever they are."""
    pids = set()
    for directory in groups_of(engine):
        with contextlib.suppress(OSError):  # a spare's, that just ended
            pids |= set(map(int, Path(directory, "cgroup.procs").read_text().split()))
    pids.add(engine.process.pid)
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = Path(path).read_text()
        except OSError:
            continue
        pid, name, state, parent = re.fullmatch(r"(\d+) \((.*)\) (\S) (\d+) .*\n", text, re.DOTALL).groups()
        if int(pid) in pids or int(parent) in pids:
            found[int(pid)] = f"{name} {'Z' if state == 'Z' else ''}".strip()
    return found


def launcher_of(engine):
    # A fork of it bears its name for a moment, and may have a lower number.
    named = [pid for pid, name in processes_of(engine).items() if name == "onggi-launcher"]
    [launcher] = [pid for pid in named if parent_of(pid) not in (0, *named)]
    return launcher


def parent_of(pid):
    """The parent of a process, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descriptors(pid):
    """Kinds of open descriptors, without what differs from one to the next."""
    found = collections.Counter()
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        found[re.sub(r"\d+|/tmp/[^ ]*", "", target)] += 1
    return found


def namespaces(pids):
    found = set()
    for pid in pids:
        for kind in ("mnt", "net", "pid", "uts", "ipc", "cgroup", "time", "user"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return found


def files_of(engine):
    """Names below data root and exec root, but for the database's own, the cache of what is secret on this
    machine, and empty directories kept for use.
    """
    found = set()
    for root in (engine.data_root, engine.exec_root):
        for directory, below, names in os.walk(root):
            below[:] = [name for name in below if name != "spares"]
            found |= {os.path.relpath(os.path.join(directory, name), root) for name in (*below, *names)}
    return {name for name in found if not name.startswith(("meta.db", "host-masks"))}


def nameless(engine, names):
    """Names counted, with the ids of the spares that wait left out: these come and go."""
    ids = os.listdir(engine.exec_root / "waiting")
    pattern = re.compile("|".join(ids) or "none waits")
    return collections.Counter(pattern.sub("SPARE", name) for name in names)


class Census:
    """What the engine holds now."""

    def __init__(self, engine) -> None:
        processes = processes_of(engine)
        pid, launcher = engine.process.pid, launcher_of(engine)
        self.mounts = collections.Counter(
            line.partition(" ")[2] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        )
        self.groups = nameless(engine, groups_of(engine))
        self.processes = collections.Counter(processes.values())
        self.namespaces = collections.Counter({"namespaces": len(namespaces(processes))})
        self.descriptors = collections.Counter(
            {(who, kind): count for who, of in (("onggid", pid), ("launcher", launcher))
             for kind, count in descriptors(of).items()}
        )  # fmt: skip
        self.files = nameless(engine, files_of(engine))
        self.memory = {"onggid": rss_kb(pid), "launcher": rss_kb(launcher)}

    def left(self, before) -> dict[str, list[str]]:
        """What is here and was not in ``before``, by kind."""
        found = {kind: getattr(self, kind) - getattr(before, kind) for kind in KINDS}
        return {kind: sorted(map(str, extra.elements())) for kind, extra in found.items() if extra}

    def count(self, kind):
        return sum(getattr(self, kind).values())


def rss_kb(pid):
    [line] = [
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1])


def rested(engine):
    """Wait until the launcher has the spares that it keeps: what counts before must not be less than ever."""
    wait_until(lambda: len(os.listdir(engine.exec_root / "waiting")) >= SPARES, "spares", 60)


def at_rest(engine):
    """The census while all spares are there and nothing changes from one look to the next."""
    last = Census(engine)

    def quiet():
        nonlocal last
        before, last = last, Census(engine)
        return not (last.left(before) or before.left(last))

    rested(engine)
    wait_until(quiet, "an engine at rest", 60)
    return last


def settled(engine, before):
    """The census once nothing is left over; after a deadline, with whatever is."""
    found = Census(engine)

    def gone():
        nonlocal found
        found = Census(engine)
        return not found.left(before)

    try:
        wait_until(gone, "what was left", 60)
    except TimeoutError:
        pass
    return found


def one_after_another(engine, count, chance):
    api = Api(engine.socket)
    for _ in range(count):
        api.run(
            *chance.choice([("true",), ("sh", "-c", "echo x"), ("touch", "/new"), ("mkdir", "-p", "/a/b")])
        )
    api.close()


def all_at_once(engine, count, chance):
    """``count`` containers run together: each lives until all run."""
    api = Api(engine.socket)
    made = []

    def begin(number):
        own = Api(engine.socket)
        made.append(own.run("sleep", "1000", wait=False)["Id"])
        own.close()

    for start in range(0, count, 16):
        threads = [threading.Thread(target=begin, args=(n,)) for n in range(start, min(start + 16, count))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    running = api.call("GET", "/containers/json")
    assert len(running) >= count, f"{len(running)} of {count} run"
    chance.shuffle(made)
    for container in made:
        api.call("DELETE", f"/containers/{container}", query="?force=1")
    api.close()


def many_execs(engine, count, chance):
    api = Api(engine.socket)
    container = api.run("sleep", "100000", wait=False)["Id"]
    for _ in range(count):
        exec_id = api.execute(container, *chance.choice([("true",), ("sh", "-c", "exit 3")]))
    wait_until(lambda: not api.call("GET", f"/exec/{exec_id}/json")["Running"], "the last exec")
    api.call("DELETE", f"/containers/{container}", query="?force=1")
    api.close()


def attach_and_resize(engine, count, chance):
    """Clients come and go on one terminal, each after a resize."""
    api = Api(engine.socket)
    config = {"Image": "busybox", "Cmd": ["cat"], "Tty": True, "OpenStdin": True, "HostConfig": HOST}
    container = api.call("POST", "/containers/create", config)["Id"]
    api.call("POST", f"/containers/{container}/start")
    for _ in range(count):
        query = f"?h={chance.randint(1, 100)}&w={chance.randint(1, 200)}"
        api.call("POST", f"/containers/{container}/resize", query=query)
        attach_once(engine, container)
    api.call("DELETE", f"/containers/{container}", query="?force=1")
    api.close()


def attach_once(engine, container):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(engine.socket))
        sock.sendall(
            f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n".encode()
        )
        seen = b""
        while b"\r\n\r\n" not in seen:
            seen += sock.recv(4096)
        sock.sendall(b"ping\n")
        while b"ping" not in seen:
            seen += sock.recv(4096)


LOADS = {
    "containers one after another": one_after_another,
    "containers at once": all_at_once,
    "execs in one container": many_execs,
    "attach and resize cycles": attach_and_resize,
}


def soak(engine, counts, seed, say=lambda text: None):
    """Run each load; rows of (load, count, seconds, census before, census after)."""
    chance = random.Random(seed)
    for load in LOADS.values():
        load(engine, 8, chance)  # first uses of everything: pools, caches, modules
    rows, before = [], at_rest(engine)
    for name, load in LOADS.items():
        if not counts.get(name):
            continue
        begun = time.monotonic()
        load(engine, counts[name], chance)
        seconds = time.monotonic() - begun
        after = settled(engine, before)
        say(f"{name}: {counts[name]} in {seconds:.0f} s, left {after.left(before)}, memory {after.memory}")
        rows.append((name, counts[name], seconds, before, after))
    return rows


def table(rows, given) -> str:
    """The proof as Markdown."""
    lines = [
        f"{proofs.command(given)} on Linux {platform.release()}.",
        "Counted before, behind a warm-up, and after each load: mounts in the engine's namespace, control",
        "groups, processes with zombies, their namespaces, descriptors of onggid and launcher, files of data",
        "root and exec root.",
        "",
        "| load | count | s | " + " | ".join(KINDS) + " | onggid MB | launcher MB | left over |",
        "|---|---:|---:|" + "---:|" * len(KINDS) + "---:|---:|---|",
    ]
    for name, count, seconds, before, after in rows:
        cells = [f"{before.count(kind)} → {after.count(kind)}" for kind in KINDS]
        memory = [
            f"{before.memory[who] / 1024:.1f} → {after.memory[who] / 1024:.1f}" for who in before.memory
        ]
        left = after.left(before)
        cells += [*memory, json.dumps(left) if left else "nothing"]
        lines.append(f"| {name} | {count} | {seconds:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    given = proofs.parser(rounds=50, at_once=10, execs=50, cycles=50, seed=1).parse_args()
    private_world.enter()
    asked = (given.rounds, given.at_once, given.execs, given.cycles)
    with tempfile.TemporaryDirectory() as directory, engine_at(Path(directory)) as engine:
        rows = soak(engine, dict(zip(LOADS, asked, strict=True)), given.seed, print)
    proofs.publish(given, "Nothing is left behind", table(rows, given))
    return 1 if any(after.left(before) for *_, before, after in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
