"""A writer whose asker has gone is closed all the same."""

import asyncio
import threading

import pytest

from onggi.store.content import opened


class Writer:
    def __init__(self):
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


def test_a_writer_made_for_somebody_who_has_gone():
    writer, begun, go_on = Writer(), threading.Event(), threading.Event()

    def make():
        begun.set()
        assert go_on.wait(30)
        return writer

    async def ask():
        async with opened(make):
            raise AssertionError("the asker had gone")

    async def scenario():
        asker = asyncio.create_task(ask())
        assert await asyncio.to_thread(begun.wait, 30)
        asker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asker
        go_on.set()
        assert await asyncio.to_thread(writer.closed.wait, 30)

    asyncio.run(scenario())


def test_a_writer_that_failed_inside():
    writer = Writer()

    async def scenario():
        async with opened(lambda: writer):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        asyncio.run(scenario())
    assert writer.closed.is_set()
