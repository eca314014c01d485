"""Who begins when more want to than may."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from onggi.containers import turns
from onggi.containers.turns import Turn, Turns

DEADLINE_S = 30


def play(scene: Coroutine[None, None, None]) -> None:
    """To its end; raises TimeoutError when somebody waits for a place that is not given back."""

    async def in_time() -> None:
        await asyncio.wait_for(scene, DEADLINE_S)

    asyncio.run(in_time())


async def crowd(of: Turns, count: int) -> tuple[list[int], list[asyncio.Task[Turn]]]:
    """In which order so many who ask at once come in, as it grows, and their turns."""
    order: list[int] = []

    async def enter(number: int) -> Turn:
        turn = await of.take()
        order.append(number)
        return turn

    tasks = [asyncio.ensure_future(enter(number)) for number in range(count)]
    await asyncio.sleep(0)
    return order, tasks


async def ended(task: asyncio.Task[Turn]) -> None:
    (await task).end()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_places_are_limited_and_go_to_the_last_and_to_the_first() -> None:
    async def body() -> None:
        order, tasks = await crowd(Turns(2), 8)
        assert order == [0, 1]
        for place in range(8):
            await ended(tasks[order[place]])
            assert len(order) == min(8, place + 3)
        assert order == [0, 1, 7, 6, 2, 5, 4, 3]

    play(body())


def test_a_turn_gives_one_place_back_however_often_it_ends() -> None:
    async def body() -> None:
        order, tasks = await crowd(Turns(1), 3)
        with await tasks[0] as turn:
            turn.end()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == [0, 2]
        await ended(tasks[2])
        await ended(tasks[1])
        assert order == [0, 2, 1]

    play(body())


def test_who_no_longer_wants_is_passed_over_and_loses_no_place() -> None:
    async def body() -> None:
        of = Turns(1)
        order, tasks = await crowd(of, 4)
        tasks[3].cancel()
        await asyncio.sleep(0)
        (await tasks[0]).end()
        tasks[2].cancel()  # the place is his already, and he has not yet heard of it
        await asyncio.wait(tasks[:2])
        assert order == [0, 1]
        await ended(tasks[1])
        (await of.take()).end()

    play(body())


def test_who_takes_long_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.01)

    async def body() -> None:
        order, tasks = await crowd(Turns(1), 2)
        await tasks[1]
        assert order == [0, 1]
        (await tasks[0]).end()

    play(body())
