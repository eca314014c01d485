"""What a killed engine was doing, by the point at which it died: one table for images and for containers."""

from __future__ import annotations

import collections
from collections.abc import Iterable

ANY = "any moment"


class Tally:
    """Kills counted by point, and operations in flight by point and operation."""

    def __init__(self, points: Iterable[str]) -> None:
        self.points = tuple(points)
        self.kills: collections.Counter[str] = collections.Counter()
        self.missed: collections.Counter[str] = collections.Counter()
        self.flying: collections.Counter[tuple[str, str]] = collections.Counter()

    def next(self, number: int) -> str:
        """By turns any moment and the point with the fewest kills: rounds miss some of them."""
        return ANY if number % 2 else min(self.points, key=self.kills.__getitem__)

    def add(self, point: str, doings: Iterable[str] = (), *, reached: bool = True) -> None:
        """One kill; of a point that no operation reached it counts as one at any moment."""
        if not reached:
            self.missed[point] += 1
            point = ANY
        self.kills[point] += 1
        self.flying.update((point, doing) for doing in doings)

    def update(self, others: Tally) -> None:
        """Count in what another one counted."""
        self.kills.update(others.kills)
        self.missed.update(others.missed)
        self.flying.update(others.flying)

    def table(self) -> str:
        """Operations in flight, a row for each point."""
        doings = sorted({doing for _, doing in self.flying})
        rows = [
            "Operations in flight when the engine was killed, by the point at which it died:",
            "",
            "| killed at | kills | " + " | ".join(doings) + " |",
            "|---|---:|" + "---:|" * len(doings),
        ]
        for point in (*self.points, ANY):
            counts = [self.kills[point], *(self.flying[point, doing] for doing in doings)]
            rows.append(f"| {point} | " + " | ".join(map(str, counts)) + " |")
        return "\n".join([*rows, ""])
