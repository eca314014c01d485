"""Clients as no engine wants them: very many, slow ones, ones that hang, and large loads; others are served.

    sudo python3 tests/abuse.py --rounds 10000 --seed 1 --megabytes 2000 --table docs/proofs/abuse.md

``--rounds`` is how often clients attach to and resize one terminal; the other loads follow from it. Memory,
descriptors and threads of onggid, of the launcher and of the monitor of a container that is always there are
counted before and after each load. While each goes on, other requests are made one after another and the
slowest is noted: no figure is asserted, that they are answered is. tests/api/test_abuse.py is the short form.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import random
import socket
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import private_world
import proofs
from engines import engine_at, wait_until
from flood import MEGABYTE, PRINT, Beside, attach_run, drained, expected, lines_of
from soak import HOST, Api, attach_once, descriptors, launcher_of, parent_of, rested, rss_kb

KEEPER = "keeper"
CHATTER = 8  # megabytes: more than all buffers between a program and a client hold
PROGRAM = ["awk", PRINT % lines_of(CHATTER)]


class Footprint:
    """What onggid, the launcher and the keeper's monitor hold now."""

    def __init__(self, engine) -> None:
        api = Api(engine.socket)
        pid = api.call("GET", f"/containers/{KEEPER}/json")["State"]["Pid"]
        api.close()
        pids = {"onggid": engine.process.pid, "launcher": launcher_of(engine), "monitor": parent_of(pid)}
        self.memory = {who: rss_kb(pid) for who, pid in pids.items()}
        self.descriptors = {who: sum(descriptors(pid).values()) for who, pid in pids.items()}
        self.threads = {who: len(os.listdir(f"/proc/{pid}/task")) for who, pid in pids.items()}

    def has_no_more_than(self, before) -> bool:
        """Whether no more descriptors are open, and as many threads of launcher and monitor run.

        A few come and go with what an engine does by itself; a load that leaves one leaves as many as it is.
        """
        return all(self.descriptors[who] <= before.descriptors[who] + 4 for who in self.descriptors) and all(
            self.threads[who] == before.threads[who] for who in ("launcher", "monitor")
        )


class Others(Beside):
    """Requests of everyday, one after another, while a load goes on: the slowest of each, in seconds."""

    def __init__(self, engine) -> None:
        super().__init__()
        self.engine = engine
        self.slowest: dict[str, float] = {}
        self.failures: list[str] = []
        self.count = 0

    def run(self) -> None:
        calls = {
            "ping": lambda api: api.call("GET", "/_ping"),
            "ps": lambda api: api.call("GET", "/containers/json"),
            "inspect": lambda api: api.call("GET", f"/containers/{KEEPER}/json"),
            "images": lambda api: api.call("GET", "/images/json"),
            "run": lambda api: api.run("true"),
            "exec": lambda api: api.execute(KEEPER, "true"),
        }
        while not self.done.is_set() or not self.count:
            for name, call in calls.items():
                begun = time.monotonic()
                try:
                    api = Api(self.engine.socket)
                    call(api)
                    api.close()
                except Exception as error:  # whatever it was, it is told
                    self.failures.append(f"{name}: {type(error).__name__}: {error}")
                self.slowest[name] = max(self.slowest.get(name, 0), time.monotonic() - begun)
            self.count += 1
            self.done.wait(0.02)

    def has_gone_round(self) -> None:
        """Wait for a whole round of requests that begins now."""
        begun = self.count
        wait_until(lambda: self.count > begun + 1 or self.failures, "answers to others", 120)
        assert not self.failures, self.failures


def request(engine, text, body=b""):
    """A connection on which this was sent."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(120)
    sock.connect(str(engine.socket))
    sock.sendall(text.encode() + b"\r\n" + body)
    return sock


def get(path, *headers):
    return f"GET /v1.51{path} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{it}\r\n" for it in headers)


# -- loads: each takes how many --------------------------------------------------------------------


def parallel_clients(engine, others, count, chance):
    """So many clients at once, each with a life of a container, a log, a list."""
    failures = []

    def client(seed) -> None:
        own, api = random.Random(seed), Api(engine.socket)
        try:
            for _ in range(3):
                match own.randrange(4):
                    case 0:
                        api.run("sh", "-c", "echo x")
                    case 1:
                        api.call("GET", "/containers/json", query="?all=1")
                    case 2:
                        api.execute(KEEPER, "true")
                    case _:
                        api.call("GET", f"/containers/{KEEPER}/json")
        except Exception as error:  # whatever it was, it is told
            failures.append(f"{type(error).__name__}: {error}")
        finally:
            api.close()

    threads = [threading.Thread(target=client, args=(chance.random(),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:5]
    others.has_gone_round()


def slow_readers(engine, others, count, chance):
    """Clients of attach, logs and events that do not read; at last the attached ones have every byte."""
    api = Api(engine.socket)
    attached = [attach_run(engine, PROGRAM) for _ in range(max(1, count // 8))]
    [followed] = [api.run(*PROGRAM, wait=False, AutoRemove=False)["Id"]]
    hanging = [request(engine, get(f"/containers/{followed}/logs?stdout=1&follow=1")) for _ in range(count)]
    hanging += [request(engine, get("/events?since=1")) for _ in range(count)]
    # Nobody who follows a log holds up its container; who is attached does.
    wait_until(lambda: not state(api, followed)["Running"], "the end of a container whose log is not read")
    others.has_gone_round()
    assert all(state(api, container)["Running"] for _, _, container in attached)
    for sock, frames, container in attached:
        assert drained(frames)[0] == expected(CHATTER), container
        sock.close()
        api.call("DELETE", f"/containers/{container}", query="?force=1")
    for sock in hanging:
        sock.close()
    api.call("DELETE", f"/containers/{followed}")
    api.close()


def state(api, container):
    return api.call("GET", f"/containers/{container}/json")["State"]


def half_open(engine, others, count, chance):
    """Connections with nothing, half a head, half a body, half a stream; and those that only listen on."""
    attach = f"POST /v1.51/containers/{KEEPER}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
    create = "POST /v1.51/containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    kinds = (
        "",
        "GET /v1.51/_ping HTT",
        f"{create}Content-Length: 1000\r\n",
        f"{create}Transfer-Encoding: chunked\r\n",
        "POST /v1.51/images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n",
        f"{attach}Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n",
    )
    open_ones = []
    for number in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(120)
        sock.connect(str(engine.socket))
        text = kinds[number % len(kinds)]
        sock.sendall(f"{text}\r\n".encode() if text.endswith("\r\n") else text.encode())
        open_ones.append(sock)
    others.has_gone_round()
    for _ in range(count):  # what was asked for is answered though nothing more can come
        with request(engine, get("/_ping", "Connection: close")) as sock:
            sock.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda sock=sock: sock.recv(4096), b""))
            assert answer.endswith(b"OK"), answer
    for sock in open_ones:
        sock.close()


def attach_and_resize(engine, others, count, chance):
    """Clients come and go on the keeper's terminal, each after a resize."""
    api = Api(engine.socket)
    for _ in range(count):
        query = f"?h={chance.randint(1, 100)}&w={chance.randint(1, 200)}"
        api.call("POST", f"/containers/{KEEPER}/resize", query=query)
        attach_once(engine, KEEPER)
    api.close()


def ends_of_streams(engine, others, count, chance):
    """When ``wait`` has answered, the attached client has the last byte and the end, without waiting."""
    api = Api(engine.socket)
    for _ in range(count):
        size, code = chance.randrange(1, 60_000), chance.randrange(200)
        script = f"head -c {size} /dev/zero; exit {code}"
        body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "Tty": True, "HostConfig": HOST}
        container = api.call("POST", "/containers/create", body)["Id"]
        attach = f"POST /v1.51/containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
        with request(engine, f"{attach}Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n") as sock:
            stream = sock.makefile("rb")
            while stream.readline() != b"\r\n":
                continue
            api.call("POST", f"/containers/{container}/start")
            assert api.call("POST", f"/containers/{container}/wait")["StatusCode"] == code
            sock.setblocking(False)
            seen = b""
            while data := stream.read1():  # a BlockingIOError would be an end that comes behind wait's answer
                seen += data
            assert len(seen) == size, (len(seen), size)
        api.call("DELETE", f"/containers/{container}")
    api.close()


class Archive(io.RawIOBase):
    """An image archive whose layer has one file of so many random bytes, made while it is read."""

    def __init__(self, megabytes, chance) -> None:
        self.size, self.chance = megabytes * MEGABYTE, chance

    def chunks(self):
        """Its bytes; the block of random ones repeats with a number, so that its digest is soon known."""
        block = self.chance.randbytes(MEGABYTE - 8)
        layer_head = _head("file", self.size)
        padding = bytes(-self.size % 512 + 1024)
        digest = hashlib.sha256(layer_head)
        for number in range(self.size // MEGABYTE):
            digest.update(number.to_bytes(8, "big") + block)
        digest.update(padding)
        config = json.dumps(
            {"architecture": "amd64", "os": "linux", "config": {},
             "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]}}
        ).encode()  # fmt: skip
        manifest = [{"Config": "config.json", "RepoTags": ["large:latest"], "Layers": ["layer.tar"]}]
        for name, data in (("config.json", config), ("manifest.json", json.dumps(manifest).encode())):
            yield _head(name, len(data)) + data + bytes(-len(data) % 512)
        size = len(layer_head) + self.size + len(padding)
        yield _head("layer.tar", size) + layer_head
        for number in range(self.size // MEGABYTE):
            yield number.to_bytes(8, "big") + block
        yield padding + bytes(-size % 512) + bytes(1024)


def _head(name, size) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def large_load(engine, others, megabytes, chance):
    """A large image comes in, and is collected again."""
    api = Api(engine.socket)
    api.timeout = 600
    chunks = Archive(megabytes, chance).chunks()
    api.request(
        "POST", "/v1.51/images/load", chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    answer = api.getresponse()
    text = answer.read()
    assert b"large:latest" in text, (answer.status, text)
    others.has_gone_round()
    api.call("DELETE", "/images/large:latest", query="?force=1")
    api.call("POST", "/images/prune")
    wait_until(lambda: not os.listdir(engine.data_root / "trash"), "an empty trash", 120)
    others.has_gone_round()
    api.close()


LOADS = {
    "parallel clients": parallel_clients,
    "slow readers of each of logs and events, an eighth attached": slow_readers,
    "half-open connections": half_open,
    "attach and resize cycles": attach_and_resize,
    "ends of streams": ends_of_streams,
    "MB of `docker load`, then gc": large_load,
}


def abuse(engine, counts, seed, say=lambda text: None):
    """Run each load; rows of (load, count, seconds, before, after, slowest of the others)."""
    api = Api(engine.socket)
    config = {"Image": "busybox", "Cmd": ["cat"], "Tty": True, "OpenStdin": True, "HostConfig": HOST}
    api.call("POST", "/containers/create", config, f"?name={KEEPER}")
    api.call("POST", f"/containers/{KEEPER}/start")
    chance, rows = random.Random(seed), []
    with Others(engine) as others:  # first uses of everything: pools, caches, modules
        for load in LOADS.values():
            load(engine, others, 8, chance)
    for name, load in LOADS.items():
        if not (count := counts[name]):
            continue
        rested(engine)
        before = Footprint(engine)
        begun = time.monotonic()
        with Others(engine) as others:
            load(engine, others, count, chance)
        seconds = time.monotonic() - begun
        assert not others.failures, others.failures
        after = settled(engine, before)
        say(f"{name}: {count} in {seconds:.0f} s, {after.__dict__}, others {others.slowest}")
        rows.append((name, count, seconds, before, after, others.slowest))
    api.close()  # an engine closes what is idle for minutes
    api.call("DELETE", f"/containers/{KEEPER}", query="?force=1")
    api.close()
    return rows


def settled(engine, before):
    """The footprint once what was let go of is closed; after a deadline, as it is."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: Footprint(engine).has_no_more_than(before), "closed descriptors", 60)
    return Footprint(engine)


def table(rows, given) -> str:
    """The proof as Markdown."""
    lines = [
        f"{proofs.command(given)} on Linux {platform.release()} with {os.cpu_count()} cores.",
        "Before → after each load, behind a warm-up: resident memory in MB, open descriptors and threads of",
        "onggid, of the launcher and of the monitor of one container that was there all the time; and the",
        "slowest, in seconds, of other requests that were made one after another meanwhile.",
        "",
        "| load | count | s | memory | descriptors | threads | slowest of the others |",
        "|---|---:|---:|---|---|---|---|",
    ]
    for name, count, seconds, before, after, slowest in rows:
        memory = [f"{before.memory[it] / 1024:.1f} → {after.memory[it] / 1024:.1f}" for it in before.memory]
        others = ", ".join(f"{name} {seconds:.2f}" for name, seconds in slowest.items())
        cells = [", ".join(memory), _arrows(before.descriptors, after.descriptors)]
        cells += [_arrows(before.threads, after.threads), others]
        lines.append(f"| {name} | {count} | {seconds:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _arrows(before, after) -> str:
    return ", ".join(f"{before[who]} → {after[who]}" for who in before)


def counts_of(rounds, megabytes, clients):
    """How large each load is."""
    figures = (clients, min(clients, 24 + rounds // 100), 5 * clients, rounds, 8 + rounds // 50, megabytes)
    return dict(zip(LOADS, figures, strict=True))


def main() -> int:
    given = proofs.parser(rounds=100, megabytes=100, clients=200, seed=1).parse_args()
    private_world.enter()
    counts = counts_of(given.rounds, given.megabytes, given.clients)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory, engine_at(Path(directory)) as engine:
        rows = abuse(engine, counts, given.seed, print)
    proofs.publish(given, "Clients as no engine wants them", table(rows, given))
    return 0 if all(after.has_no_more_than(before) for _, _, _, before, after, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
