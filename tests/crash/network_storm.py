"""Clients that create, start, kill and remove containers of one network at once, while the engine dies.

    python tests/crash/network_storm.py --kills 40 --seed 1 [--table docs/proofs/network-storm.md]

No address is ever given out twice, no start fails but by the kill it meets, and nothing is left. Needs root;
enters private namespaces by itself.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
if __name__ == "__main__":
    for folder in ("tests", "src"):
        sys.path.insert(0, str(HERE.parents[2] / folder))

import private_world  # noqa: E402
import proofs  # noqa: E402
from engines import DEADLINE_S, RealEngine, engine_at, wait_until  # noqa: E402
from onggi.kernel import rtnl  # noqa: E402
from onggi.kernel.netlink import Netlink  # noqa: E402
from running_engine import UnixConnection  # noqa: E402

NETWORK = "many"
PAUSES_S = (0.3, 2.0)  # between two kills


def links() -> set[str]:
    with Netlink() as netlink:
        return {link.name for link in rtnl.links(netlink)}


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


class Storm:
    """So many lives of containers by so many clients; ``kills`` of the engine at most."""

    def __init__(self, engine: RealEngine, containers: int, clients: int, *, kills: int = 0, seed: int = 1):
        self.engine, self._clients, self._most_kills = engine, clients, kills
        self._seed, self._left = seed, list(range(containers))
        self.counts: collections.Counter[str] = collections.Counter()
        self.failed: list[str] = []  # of starts
        self.twice: list[str] = []
        self._living: set[str] = set()
        self._upheavals = 0  # odd while there is no engine
        self._lock, self._over = threading.Lock(), threading.Event()

    def run(self) -> None:
        threads = [threading.Thread(target=self._client) for _ in range(self._clients)]
        killer = threading.Thread(target=self._kill_engines)
        for thread in (*threads, killer):
            thread.start()
        for thread in threads:
            thread.join(1200)
        self._over.set()
        killer.join(DEADLINE_S)

    def _kill_engines(self) -> None:
        chance = random.Random(self._seed)
        while self.counts["kills"] < self._most_kills and not self._over.wait(chance.uniform(*PAUSES_S)):
            self._upheavals += 1
            self.engine.kill()
            self.engine.start()
            self._upheavals += 1
            self.counts["kills"] += 1

    def _client(self) -> None:
        while number := self._next():
            self._life(number)

    def _next(self) -> int:
        """A number from 1 on; 0 for none."""
        with self._lock:
            return self._left.pop() + 1 if self._left else 0

    def _life(self, number: int) -> None:
        chance, name, address = random.Random(f"{self._seed} {number}"), f"storm{number}", ""
        host = {"NetworkMode": NETWORK, "PortBindings": {} if number % 5 else {"80/tcp": [{}]}}
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host}
        try:
            self._ask("POST", f"/containers/create?name={name}", body, done=409)
            state = self._started(name)
            address = state["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
            self._note(address)
            if chance.random() < 0.3:
                os.kill(state["State"]["Pid"], signal.SIGKILL)
            elif chance.random() < 0.3:
                self._ask("POST", f"/containers/{name}/kill", done=409)
        except (AssertionError, ProcessLookupError) as error:
            self.failed.append(f"{name}: {error}")
        with self._lock:
            self._living.discard(address)
            self.counts["lives"] += 1
        self._ask("DELETE", f"/containers/{name}?force=1", done=404)

    def _started(self, name: str) -> Any:
        """What inspect says of the running container; a start that a kill cut off is made again."""
        while True:
            upheavals = self._upheavals
            self._ask("POST", f"/containers/{name}/start")
            shown = self._ask("GET", f"/containers/{name}/json")
            if shown["State"]["Running"]:
                self.counts["starts"] += 1
                return shown
            self.counts["starts made again"] += 1
            calm = upheavals == self._upheavals and not upheavals % 2
            assert not calm, f"does not run: {json.dumps(shown['State'])}"

    def _ask(self, method: str, path: str, body: Any = None, done: int = 0) -> Any:
        """The answer; a call that was cut off is made again, and answered with ``done`` if it had worked."""
        end = time.monotonic() + 10 * DEADLINE_S
        while True:
            try:
                status, data = self._once(method, path, body)
                break
            except (OSError, http.client.HTTPException):
                self.counts["calls made again"] += 1
                assert time.monotonic() < end, f"no answer to {method} {path}"
                self._over.wait(0.02)
        assert status < 400 or status == done, f"{method} {path}: {status} {data!r}"
        return json.loads(data) if data else None

    def _once(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        with contextlib.closing(UnixConnection(str(self.engine.socket))) as connection:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def _note(self, address: str) -> None:
        with self._lock:
            if address and address in self._living:
                self.twice.append(address)
            self._living.add(address)


def play(engine: RealEngine, storm: Storm) -> None:
    """The whole storm, and that it leaves nothing."""
    engine.docker("network", "create", NETWORK, check=True)
    before, rules = links(), ruleset()
    storm.run()
    assert not storm.twice, storm.twice
    assert not storm.failed, storm.failed
    assert engine.docker("ps", "-aq", check=True).stdout == b""
    wait_until(lambda: links() == before, f"links: {links() - before}")
    wait_until(lambda: ruleset() == rules, "the rules of ports to go")
    shown = json.loads(engine.docker("network", "inspect", NETWORK, check=True).stdout)
    assert shown[0]["Containers"] == {}
    engine.docker("network", "rm", NETWORK, check=True)


def main() -> int:
    parser = proofs.parser(containers=300, clients=16, kills=40, seed=1)
    given = parser.parse_args()
    private_world.enter()
    with tempfile.TemporaryDirectory() as root, engine_at(Path(root)) as engine:
        began = time.monotonic()
        storm = Storm(engine, given.containers, given.clients, kills=given.kills, seed=given.seed)
        play(engine, storm)
    left = ("starts that failed", "addresses given out twice", "links, rules, endpoints left")
    rows = [*sorted(storm.counts.items()), *((what, 0) for what in left)]
    text = f"{proofs.told(given, began)}.\n\n{proofs.counts(rows)}"
    proofs.publish(given, "A network through a storm", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
