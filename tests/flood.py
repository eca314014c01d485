"""A container that prints a great deal: whole and in order at its client and in its log, with flat memory.

    sudo python3 tests/flood.py --megabytes 1000 --table docs/proofs/streams.md

Lines are numbered and 1000 bytes long. tests/api/test_streams.py is the short form.
"""

import hashlib
import json
import platform
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import private_world
import proofs
from engines import engine_at
from soak import Api, launcher_of, processes_of, rss_kb

LINE = 1000
MEGABYTE = 1_000_000
PRINT = 'BEGIN { for (i = 0; i < %d; i++) printf "%%0999d\\n", i }'


def lines_of(megabytes):
    return megabytes * MEGABYTE // LINE


def expected(megabytes) -> str:
    digest = hashlib.sha256()
    for start in range(0, lines_of(megabytes), 1000):
        digest.update(b"".join(b"%0999d\n" % number for number in range(start, start + 1000)))
    return digest.hexdigest()


class Frames:
    """docker's frames from a socket or file: (kind, payload)."""

    def __init__(self, stream) -> None:
        self.stream = stream

    def __iter__(self):
        while len(head := self.stream.read(8)) == 8:
            kind, size = struct.unpack(">BxxxL", head)
            yield kind, self.stream.read(size)


def attach_run(engine, command, **host):
    """The private run call: its socket, and the frames behind the early status."""
    config = {"Image": "busybox", "Cmd": command, "HostConfig": {"NetworkMode": "none", **host}}
    body = json.dumps({"Config": config, "Attach": {"Stdout": True, "Stderr": True}, "Wait": True}).encode()
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(120)
    sock.connect(str(engine.socket))
    sock.sendall(
        b"POST /onggi/v1/run HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n"
        b"Upgrade: tcp\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    stream = sock.makefile("rb", buffering=1 << 16)
    while stream.readline() not in (b"\r\n", b""):
        pass
    frames = iter(Frames(stream))
    _, early = next(frames)
    return sock, frames, json.loads(early)["Id"]


class Beside(threading.Thread):
    """A thread that goes on until ``done``, which the end of its ``with`` block sets."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.done.set()
        self.join()


class Watch(Beside):
    """The largest RSS, in kB, of onggid, of any monitor, and of this client, while it runs."""

    def __init__(self, engine) -> None:
        super().__init__()
        self.engine = engine
        self.most = {"monitor": 0, "onggid": 0, "client": 0}
        self.launcher = launcher_of(engine)

    def run(self) -> None:
        while not self.done.wait(0.2):
            for pid, name in processes_of(self.engine).items():
                if name == "onggi-monitor":
                    self._note("monitor", pid)
            self._note("onggid", self.engine.process.pid)
            self._note("client", "self")

    def _note(self, who, pid) -> None:
        try:
            self.most[who] = max(self.most[who], rss_kb(pid))
        except (OSError, ValueError):
            return


def drained(frames):
    """sha256 of what comes on standard output until the stream ends, and the status if one comes."""
    digest, status = hashlib.sha256(), None
    for kind, payload in frames:
        if kind == 1:
            digest.update(payload)
        elif kind == 4:
            status = json.loads(payload)
    return digest.hexdigest(), status


def flood(engine, megabytes, **log):
    """(sha256 at the client, frames' status, seconds, container id, largest memory)."""
    options = {"LogConfig": {"Type": "json-file", "Config": log}}
    with Watch(engine) as watch:
        begun = time.monotonic()
        sock, frames, container = attach_run(engine, ["awk", PRINT % lines_of(megabytes)], **options)
        digest, status = drained(frames)
        seconds = time.monotonic() - begun
        sock.close()
    return digest, status, seconds, container, watch.most


def logged(engine, container):
    """Digest, first and last line number, and whether nothing is missing in between."""
    api = Api(engine.socket)
    api.request("GET", f"/v1.51/containers/{container}/logs?stdout=1")
    digest, rest, first, following = hashlib.sha256(), b"", None, None
    whole = True
    for kind, payload in Frames(api.getresponse()):
        assert kind == 1
        digest.update(payload)
        *lines, rest = (rest + payload).split(b"\n")
        for line in lines:
            number = int(line)
            first = number if first is None else first
            whole = whole and following in (None, number) and len(line) == LINE - 1
            following = number + 1
    api.close()
    return digest.hexdigest(), first, (following or 0) - 1, whole and not rest


def stalled(engine):
    """Seconds that others take while one client does not read, and whether it has all bytes afterwards."""
    megabytes = 16
    sock, frames, container = attach_run(engine, ["awk", PRINT % lines_of(megabytes)])
    time.sleep(1)  # the pipe, our buffer and the socket's are full by now, whatever the machine does
    api = Api(engine.socket)
    assert api.call("GET", f"/containers/{container}/json")["State"]["Running"]
    times = {}
    for name, action in (
        ("run beside it", lambda: api.run("true")),
        ("exec in it", lambda: api.execute(container, "true")),
        ("16 MB beside it", lambda: remove(engine, flood(engine, megabytes)[3])),
    ):
        begun = time.monotonic()
        action()
        times[name] = time.monotonic() - begun
    assert api.call("GET", f"/containers/{container}/json")["State"]["Running"]
    digest, _ = drained(frames)
    api.close()
    sock.close()
    remove(engine, container)
    return times, digest == expected(megabytes)


def remove(engine, container) -> None:
    api = Api(engine.socket)
    api.call("DELETE", f"/containers/{container}", query="?force=1")
    api.close()


def prove(engine, megabytes):
    """Facts by name."""
    right = expected(megabytes)
    idle = rss_kb(engine.process.pid)
    at_client, status, seconds, container, most = flood(engine, megabytes, **{"max-size": "-1"})
    facts = {
        "client whole": at_client == right and status["StatusCode"] == 0,
        "seconds": seconds,
        "memory": most,
        "onggid idle": idle,
    }
    facts["log whole"] = logged(engine, container)[0] == right
    remove(engine, container)
    at_client, _, facts["seconds rotated"], container, facts["memory rotated"] = flood(engine, megabytes)
    facts["client whole, rotated"] = at_client == right
    _, first, last, whole = logged(engine, container)
    facts["tail"] = (first, last, whole and last == lines_of(megabytes) - 1)
    remove(engine, container)
    facts["others"], facts["stalled client whole"] = stalled(engine)
    return facts


def report(facts, given) -> str:
    def memory(most):
        return ", ".join(f"{who} {kilobytes / 1024:.1f} MB" for who, kilobytes in most.items())

    first, last, whole = facts["tail"]
    others = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in facts["others"].items())
    rows = [
        ("`max-size` off: sha256 at the attached client", facts["client whole"], f"{facts['seconds']:.0f} s"),
        ("`max-size` off: sha256 of `logs`", facts["log whole"], ""),
        ("default rotation: sha256 at the client", facts["client whole, rotated"],
         f"{facts['seconds rotated']:.0f} s"),
        ("default rotation: `logs` is an unbroken tail", whole, f"lines {first} to {last}"),
        ("a client that does not read for a while gets all", facts["stalled client whole"], ""),
        ("others meanwhile", True, others),
        ("most memory (RSS), `max-size` off", True, memory(facts["memory"])),
        ("most memory (RSS), rotating", True, memory(facts["memory rotated"])),
    ]  # fmt: skip
    lines = [
        f"{proofs.command(given)} on Linux {platform.release()}: numbered lines of 1000 bytes.",
        f"onggid has {facts['onggid idle'] / 1024:.1f} MB before the first of them.",
        "",
        "| what | holds | |",
        "|---|---|---|",
        *(f"| {what} | {'yes' if holds else '**no**'} | {more} |" for what, holds, more in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    given = proofs.parser(megabytes=64).parse_args()
    private_world.enter()
    with tempfile.TemporaryDirectory() as directory, engine_at(Path(directory)) as engine:
        text = report(prove(engine, given.megabytes), given)
    proofs.publish(given, f"{given.megabytes} MB of output", text)
    return 1 if "**no**" in text else 0


if __name__ == "__main__":
    sys.exit(main())
