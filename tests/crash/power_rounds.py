"""Power loss: clients work on a disk whose power is cut at random instants, with any part of the writes that
were not flushed; what is on it then is mounted and opened by another engine.

    python tests/crash/power_rounds.py --cuts 100 --seed 1 [--table docs/proofs/power-loss.md]

That engine must serve, find its store sound, and have everything that was promised before the cut. Needs
root; enters private namespaces by itself.
"""

from __future__ import annotations

import collections
import os
import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
if __name__ == "__main__":
    for folder in ("tests/crash", "tests/unit", "tests", "src"):
        sys.path.insert(0, str(HERE.parents[2] / folder))

from fake_registry import FakeRegistry  # noqa: E402
from image_clients import ImageClient, Known, fsck, judge  # noqa: E402

import private_world  # noqa: E402
import proofs  # noqa: E402
from disks import PowerDisk, mounted, power_disk  # noqa: E402
from running_engine import RunningEngine, engine_in, wait_for  # noqa: E402

SIZE, CLIENTS, PAUSE_S = 512 << 20, 2, 0.7


class Cut:
    """One instant: the disk's image, and what had been promised."""

    def __init__(self, image: Path, promised: dict[str, Known], numbers: tuple[int, int, int]) -> None:
        self.image, self.promised, self.numbers = image, promised, numbers


class Outage:
    """One engine on a disk, and another for what is left of it."""

    def __init__(self, root: Path, seed: int, clients: int = CLIENTS) -> None:
        self.root, self.seed, self.chance = root, seed, random.Random(seed)
        self.clients = clients
        self.counts: collections.Counter[str] = collections.Counter()
        (root / "after").mkdir()

    def play(self, cuts: int, without: str = "") -> None:
        """Cut, and judge; fails with what is wrong. ``without`` a step there should be something."""
        registry = FakeRegistry()
        try:
            with power_disk(self.root, SIZE) as disk:
                for engine in engine_in(self.root):
                    engine.data_root = str(disk.directory / "data")
                    found = self._work(engine, registry, disk, cuts, f"{without}=skip" if without else "")
        finally:
            registry.close()
        for cut in found:
            self._judge(cut)

    def _work(
        self, engine: RunningEngine, registry: FakeRegistry, disk: PowerDisk, cuts: int, failpoint: str
    ) -> list[Cut]:
        engine.start(env={"ONGGI_FAILPOINT": failpoint})
        clients = [
            ImageClient(engine, registry, f"{self.seed} {index}", 20 * cuts) for index in range(self.clients)
        ]
        found = []
        for client in clients:
            client.start()
        for number in range(cuts):
            if number % 2:
                time.sleep(self.chance.uniform(0.1, 2 * PAUSE_S))
            else:  # the moment at which a promise is youngest
                clients[0].asked.set()
                assert clients[0].made.wait(120), clients[0].refusals
                clients[0].made.clear()
            found.append(self._cut(disk, clients, number))
            if not number % 2:
                clients[0].go.set()
        for client in clients:
            client.steps = 0
            client.join(300)
            assert not client.failures, client.failures
            self.counts.update(client.counts)
        return found

    def _cut(self, disk: PowerDisk, clients: list[ImageClient], number: int) -> Cut:
        before = [client.promised() for client in clients]
        image = self.root / f"image{number}"
        numbers = disk.cut(image, f"{self.seed}-{number}")
        after = [client.promised() for client in clients]
        # What was in doubt before or behind the cut was promised by nobody.
        promised = {
            name: known
            for old, new in zip(before, after, strict=True)
            for name, known in old.items()
            if (known.exists, known.files) == (new[name].exists, new[name].files)
        }
        return Cut(image, promised, numbers)

    def _judge(self, cut: Cut) -> None:
        root = self.root / f"after-{cut.image.name}"
        root.mkdir()
        with mounted(cut.image, self.root / "after") as disk:
            for engine in engine_in(root):
                engine.data_root = str(disk.directory / "data")
                child = engine.start()
                wait_for("an empty trash", lambda at=engine: not os.listdir(f"{at.data_root}/trash"))
                wrong = [f"fsck: {finding}" for finding in fsck(engine)]
                wrong = wrong or judge(engine, cut.promised)  # which damage would answer with errors
                child.terminate()
                child.wait(60)
        cut.image.unlink()
        flushes, kept, lost = cut.numbers
        self.counts.update({"cuts": 1, "writes kept": kept, "writes lost": lost})
        self.counts["promises"] += sum(known.exists is not None for known in cut.promised.values())
        assert not wrong, f"seed {self.seed}, {cut.image.name} behind {flushes} flushes:\n" + "\n".join(wrong)


def facts(counts: collections.Counter[str]) -> list[tuple[str, int]]:
    """What was counted."""
    own = ("cuts", "promises", "writes kept", "writes lost")
    return [
        ("power cuts", counts["cuts"]),
        ("operations", sum(count for name, count in counts.items() if name not in own)),
        ("unflushed writes that the disk had", counts["writes kept"]),
        ("unflushed writes that it had lost", counts["writes lost"]),
        ("promises looked at", counts["promises"]),
        ("promises broken, findings of fsck", 0),
    ]


def main() -> int:
    parser = proofs.parser(cuts=20, seed=1)
    parser.add_argument("--without", default="", help="put a step out of force, such as store.sync.tree")
    given = parser.parse_args()
    private_world.enter()
    began = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    for part in range(0, given.cuts, 20):
        with tempfile.TemporaryDirectory() as root:
            outage = Outage(Path(root), given.seed + part)
            outage.play(min(20, given.cuts - part), given.without)
            counts.update(outage.counts)
            print(dict(counts), flush=True)
    text = f"{proofs.told(given, began)}.\n\n{proofs.counts(facts(counts))}"
    proofs.publish(given, "Nothing promised is lost with the power", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
