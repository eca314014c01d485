"""What was opened for somebody who has gone is closed all the same."""

import asyncio
import os
import select
import threading

import pytest

from onggi.store.content import opened
from onggi.store.opening import descriptor, work


class Writer:
    def __init__(self):
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


def ask_and_go(opens, made, closed):
    """What ``closed`` waits for, when somebody who asked for ``made`` was cancelled before he got it."""
    begun, go_on = threading.Event(), threading.Event()

    def make():
        begun.set()
        assert go_on.wait(30)
        return made

    async def ask():
        async with opens(make):
            raise AssertionError("the asker had gone")

    async def scenario():
        asker = asyncio.create_task(ask())
        assert await asyncio.to_thread(begun.wait, 30)
        asker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asker
        go_on.set()
        return await asyncio.to_thread(closed)

    return asyncio.run(scenario())


def test_a_writer_made_for_somebody_who_has_gone():
    writer = Writer()
    assert ask_and_go(opened, writer, lambda: writer.closed.wait(30))


def test_a_descriptor_opened_for_somebody_who_has_gone():
    reading, writing = os.pipe()
    waiter = select.poll()
    waiter.register(writing, 0)
    found = ask_and_go(descriptor, reading, lambda: waiter.poll(30_000))
    os.close(writing)
    assert found == [(writing, select.POLLERR)]  # nobody can read any more


def test_a_writer_that_failed_inside():
    writer = Writer()

    async def scenario():
        async with opened(lambda: writer):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        asyncio.run(scenario())
    assert writer.closed.is_set()


def test_who_is_cancelled_at_work_leaves_when_the_thread_has_ended():
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def call():
        begun.set()
        assert go_on.wait(30)
        done.set()

    async def scenario():
        worker = asyncio.create_task(work(call))
        assert await asyncio.to_thread(begun.wait, 30)
        worker.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await worker
        return done.is_set()

    assert asyncio.run(scenario())
