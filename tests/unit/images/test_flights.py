"""Shared work and its messages."""

import asyncio
import gc
import threading

import pytest

from onggi.errors import NotFound
from onggi.images.flights import Flights, Workers
from onggi.images.progress import Progress, Transfer, moving, size

WAIT_S = 30


def run(work):
    return asyncio.run(asyncio.wait_for(work, WAIT_S))


async def listed(messages):
    return [message async for message in messages]


def test_work_asked_for_twice_is_done_once():
    async def main():
        flights, begun, go = Flights(), [], asyncio.Event()

        async def work(progress):
            begun.append(1)
            progress.say("Pulling", id="a")
            await go.wait()
            progress.say("Done")
            return 7

        first = asyncio.ensure_future(listed(flights.follow("x", work)))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(listed(flights.follow("x", work)))
        third = asyncio.ensure_future(flights.share("x", work))
        await asyncio.sleep(0)
        go.set()
        assert await first == await second
        assert [m["status"] for m in await first] == ["Pulling", "Done"]
        assert await third == 7
        assert begun == [1]

    run(main())


def test_work_ends_when_the_last_asker_leaves():
    async def main():
        flights, ended = Flights(), asyncio.Event()

        async def work(_):
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        askers = [asyncio.ensure_future(flights.share("x", work)) for _ in range(2)]
        await asyncio.sleep(0)
        askers[0].cancel()
        await asyncio.wait([askers[0]])
        assert not ended.is_set()
        askers[1].cancel()
        await asyncio.wait([askers[1]])
        assert ended.is_set()

    run(main())


def test_who_asks_while_work_is_given_up_gets_work_of_its_own():
    async def main():
        flights, cleaned, begun = Flights(), asyncio.Event(), []

        async def work(_):
            begun.append(1)
            if len(begun) > 1:
                return 5
            try:
                await asyncio.Event().wait()
            finally:
                await cleaned.wait()

        first = asyncio.ensure_future(flights.share("x", work))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        second = asyncio.ensure_future(flights.share("x", work))
        await asyncio.sleep(0)
        assert begun == [1]
        cleaned.set()
        assert await second == 5

    run(main())


def test_an_error_reaches_every_follower():
    async def main():
        flights = Flights()

        async def work(progress):
            progress.say("Pulling")
            raise NotFound("no such thing")

        async def follow():
            messages = flights.follow("x", work)
            first = await anext(messages)
            with pytest.raises(NotFound):
                await anext(messages)
            return first["status"]

        assert await asyncio.gather(follow(), follow()) == ["Pulling", "Pulling"]

    run(main())


def test_a_cancelled_thread_is_told_and_waited_for():
    async def main():
        workers, stop, ended, logged = Workers(1), threading.Event(), threading.Event(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))

        def work():
            stop.wait(WAIT_S)
            ended.set()
            raise NotFound("what was cancelled")

        task = asyncio.ensure_future(workers.run(work, stop.set))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()
        del task
        await workers.run(gc.collect)  # the thread has let go of what it did before
        assert not logged
        workers.close()

    run(main())


def test_bytes_are_shown_until_something_else_is_said():
    async def main():
        progress, transfer, done = Progress(), Transfer(100), asyncio.Event()
        progress.move("Downloading", "a", transfer)
        transfer.current = 50
        seen = []

        async def follow():
            async for message in progress.follow(done.wait()):
                seen.append(message)
                if len(seen) == 1:
                    progress.say("Pull complete", "a")
                    done.set()

        await follow()
        assert [m["status"] for m in seen] == ["Downloading", "Pull complete"]
        assert seen[0]["progressDetail"] == {"current": 50, "total": 100}

    run(main())


def test_bars_and_sizes_are_dockers():
    transfer = Transfer(2_000_000)
    transfer.current = 1_000_000
    text = moving("Downloading", "a", transfer)["progress"]
    assert text == "[" + "=" * 25 + ">" + " " * 24 + "]      1MB/2MB"
    assert (size(999), size(1234), size(12_345_678)) == ("999B", "1.234kB", "12.35MB")
