"""The stream of a build: docker's messages, those of a stage together, in the order of the Dockerfile."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from onggi.build.graph import Node
from onggi.dockerfile import instructions as typed
from onggi.images.progress import Messages
from onggi.oci.digest import short

Json = Any
STDERR = {"onggi": {"Stderr": True}}  # marks what a step wrote there


class Report:
    """What one build tells; everything runs on one event loop."""

    def __init__(self, nodes: Sequence[Node], *, details: bool) -> None:
        self._details = details
        self._queue: asyncio.Queue[Json] = asyncio.Queue()
        self._waiting = {node.number: deque[Json]() for node in nodes}
        self._order = deque(node.number for node in nodes)
        self._ended: set[int] = set()

    def tell(self, message: Json, number: int = -1) -> None:
        """A message, of stage ``number`` if it is one's: told when its turn has come."""
        if number < 0 or self._details or (self._order and self._order[0] == number):
            self._queue.put_nowait(message)
        else:
            self._waiting[number].append(message)

    def ended(self, number: int) -> None:
        """A stage has told all: the next one's turn."""
        self._ended.add(number)
        while self._order and self._order[0] in self._ended:
            self._order.popleft()
            waiting = self._waiting[self._order[0]] if self._order else deque()
            while waiting:
                self._queue.put_nowait(waiting.popleft())

    async def follow(self, work: asyncio.Task[Any]) -> Messages:
        """Every message until the work is done; then raises what it raised."""
        work.add_done_callback(lambda _: self._queue.put_nowait(None))
        while (message := await self._queue.get()) is not None:
            yield message
        for number in self._order:
            for message in self._waiting[number]:
                yield message
        work.result()


class Steps:
    """What one stage tells of its steps: to docker's clients with the numbers of the whole build, to ours
    with those of the stage, as BuildKit counts; 0 is a step that makes no layer.
    """

    def __init__(self, report: Report, node: Node, first: int, total: int, *, details: str | None) -> None:
        """``details`` is what the stage is called where all is told, None where it is not."""
        self._report, self._node, self._number, self._total = report, node, first - 1, total
        self._details, self._began = details, time.monotonic()
        self._shown, self._done, self._count = 0, 0, _counted(node)

    def begin(self, instruction: typed.Instruction) -> None:
        """The next step."""
        self._number, self._began = self._number + 1, time.monotonic()
        counts = _counts(self._node, instruction)
        self._done += counts
        self._shown = self._done if counts else 0
        self._tell("begin", f"Step {self._number}/{self._total} : {instruction.text}\n")

    def output(self, message: Json) -> None:
        """What a step says; docker's clients get standard error in red, as from dockerd."""
        if self._details is None and message.items() >= STDERR.items():
            message = {"stream": f"\x1b[91m{message['stream']}\x1b[0m"}
        self._report.tell(self._with("output", message), self._node.number)

    def line(self, text: str) -> None:
        """A line about a step."""
        self._tell("output", f" ---> {text}\n")

    def cached(self) -> None:
        """The step was done before."""
        self._tell("cached", " ---> Using cache\n")

    def failed(self) -> None:
        """The step is why the build fails."""
        self._tell("failed", "")

    def done(self, image_id: str) -> None:
        """What the step has led to."""
        self._tell("done", f" ---> {short(image_id)}\n")

    def why(self, hit: bool | None, reasons: str) -> None:
        """Why the step was found in the cache or not, for our own command."""
        self._report.tell(self._with("why", {"stream": "", "onggi": {"Hit": hit, "Why": reasons}}))

    def end(self) -> None:
        """The stage is over."""
        self._report.ended(self._node.number)

    def _tell(self, event: str, text: str) -> None:
        self._report.tell(self._with(event, {"stream": text}), self._node.number)

    def _with(self, event: str, message: Json) -> Json:
        if self._details is None:
            return message
        seconds = round(time.monotonic() - self._began, 3)
        facts = {"Stage": self._details, "Step": self._shown, "Steps": self._count, "Event": event}
        return message | {"onggi": facts | {"Seconds": seconds} | message.get("onggi", {})}


def _counts(node: Node, instruction: typed.Instruction) -> bool:
    if isinstance(instruction, typed.From):
        return node.parent is None and node.image != "scratch"
    return isinstance(instruction, typed.Run | typed.Copy | typed.Add | typed.Workdir)


def _counted(node: Node) -> int:
    return sum(_counts(node, it) for it in (node.stage.origin, *node.stage.instructions))
