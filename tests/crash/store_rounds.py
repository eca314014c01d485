"""Kill rounds for the store: clients import, load, pull, push, build, commit and remove images while the
engine dies, at a named point or at any moment.

    python tests/crash/store_rounds.py --rounds 300 --seed 1 [--table docs/proofs/store-kills.md]

After each round the next engine must serve, find its store sound (fsck), have what it promised and nothing
that it said was gone, with the bytes it was given; and a prune must leave nothing that nobody refers to.
Needs root; enters private namespaces by itself.
"""

from __future__ import annotations

import collections
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve()
if __name__ == "__main__":
    for folder in ("tests/crash", "tests/unit", "tests", "src"):
        sys.path.insert(0, str(HERE.parents[2] / folder))

from consistency import Consistency  # noqa: E402
from fake_registry import FakeRegistry  # noqa: E402
from image_clients import ImageClient, fsck, left_over, thin_out  # noqa: E402
from tally import ANY, Tally  # noqa: E402

import private_world  # noqa: E402
import proofs  # noqa: E402
from running_engine import RunningEngine, engine_in, wait_for  # noqa: E402

CLIENTS, STEPS, SPREAD_S, KEPT = 3, 8, 2.0, 5
POINTS = (
    "store.blob.before_rename", "store.blob.after_rename", "store.blob.after_row",
    "store.layer.before_commit", "images.layer.after_row",
    "store.gc.before_commit", "store.gc.after_commit", "images.remove.after_row",
    "images.import.before_layer", "images.import.before_blob", "images.import.before_row",
    "images.load.before_row", "images.push.before_manifest",
    "images.pull.before_row", "images.pull.before_layer", "images.pull.before_commit",
    "images.commit.before_layer", "images.commit.before_blob", "images.commit.before_row",
)  # fmt: skip
LEASES = "SELECT id FROM leases WHERE id != 'build-cache'"  # which stays, empty


class Rounds:
    """One data root through many engines."""

    def __init__(self, engine: RunningEngine, registry: FakeRegistry, seed: int) -> None:
        self.engine, self.registry, self.seed = engine, registry, seed
        self.checker = Consistency(engine)
        self.counts: collections.Counter[str] = collections.Counter()
        self.tally = Tally(POINTS)

    def play(self, number: int, point: str = "", without: str = "") -> None:
        """One round, which ends at a point; fails with what is wrong behind it.

        ``without`` a step of the store there should be something wrong.
        """
        chance = random.Random(f"{self.seed} {number}")
        point = ANY if without else point or self.tally.next(number)
        # An engine that starts has collected once before it serves.
        passes = chance.choice((1, 1, 2, 3)) + (point == "store.gc.before_commit")
        armed = f"{without}=skip" if without else f"{point}#{passes}"
        child = self.engine.start(env={"ONGGI_FAILPOINT": armed})
        clients = [
            ImageClient(self.engine, self.registry, f"{self.seed} {number} {index}", STEPS)
            for index in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        if point == ANY:
            time.sleep(chance.uniform(0.05, SPREAD_S))
        for client in clients:
            client.join(0 if point == ANY else 300)
        reached = any(client.doing for client in clients)
        if not reached or point == ANY:
            child.kill()
        assert child.wait(60) == -9, self.engine.log()[-4000:]
        for client in clients:
            client.join(300)
        doings = [client.doing for client in clients if client.doing]
        self.tally.add(point, doings, reached=reached or point == ANY)
        self._count(clients)
        self._judge(number, clients)

    def _count(self, clients: list[ImageClient]) -> None:
        self.counts["kills"] += 1
        for client in clients:
            self.counts.update(client.counts)
            self.counts["refusals"] += len(client.refusals)

    def _judge(self, number: int, clients: list[ImageClient]) -> None:
        judge = self.engine.start()
        failures = [failure for client in clients for failure in client.failures]
        wait_for("an empty trash", lambda: not os.listdir(f"{self.engine.data_root}/trash"))
        failures += [f"fsck: {finding}" for finding in fsck(self.engine)]
        failures += [wrong for client in clients for wrong in client.judge()]
        thin_out(self.engine, KEPT)
        self.engine.call("POST", "/build/prune?all=1")
        self.engine.call("POST", "/images/prune")
        wait_for("an empty trash", lambda: not left_over(self.engine))
        again = self.engine.call("POST", "/images/prune")
        if again["SpaceReclaimed"]:
            failures.append(f"a second prune still freed {again['SpaceReclaimed']} bytes")
        failures += [f"fsck behind a prune: {finding}" for finding in fsck(self.engine)]
        failures += [f"leases: {row}" for row in self.checker.query(LEASES)]
        failures += self.checker.rows()
        judge.terminate()
        judge.wait(60)
        assert not failures, f"seed {self.seed}, round {number}:\n" + "\n".join(failures)


def play(root: Path, rounds: int, seed: int, points: Sequence[str] = (), without: str = "") -> Rounds:
    """All rounds on one data root; with ``points`` each of them in turn."""
    registry = FakeRegistry()
    try:
        for engine in engine_in(root):
            game = Rounds(engine, registry, seed)
            for number in range(rounds):
                game.play(number, points[number % len(points)] if points else "", without)
                if rounds > 50 and number % 20 == 19:
                    print(number + 1, dict(game.counts), flush=True)
            return game
    finally:
        registry.close()
    raise AssertionError("no engine")


def main() -> int:
    parser = proofs.parser(rounds=40, seed=1)
    parser.add_argument("--without", default="", help="put a step out of force, such as store.lease.protect")
    given = parser.parse_args()
    private_world.enter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        game = play(Path(root), given.rounds, given.seed, (), given.without)
    operations = sum(count for name, count in game.counts.items() if name not in ("kills", "refusals"))
    found = f"{operations} operations, {game.counts['kills']} kills, 0 disagreements"
    text = f"{proofs.told(given, began)}, {found}.\n\n{game.tally.table()}"
    proofs.publish(given, "The store survives kills", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
