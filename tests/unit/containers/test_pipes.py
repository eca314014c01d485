"""Streams between clients and jobs: who leaves waits for the job, whatever becomes of it."""

import asyncio
import gc
import os

import pytest

from onggi.containers import pipes
from onggi.errors import KernelError


async def nothing():
    for piece in ():
        yield piece


def test_who_leaves_a_stream_at_its_end_waits_for_the_job():
    complaints, order = [], []

    async def leave():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        all_is_written, may_end = asyncio.Event(), asyncio.Event()

        async def job(fd):
            await asyncio.to_thread(os.read, fd, 1)  # the end of the stream
            all_is_written.set()
            await may_end.wait()
            order.append("job")
            raise KernelError("extract", 2)

        feeding = asyncio.create_task(pipes.feed(nothing(), job))
        await all_is_written.wait()
        feeding.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await feeding
        order.append("feed")
        del feeding
        gc.collect()

    asyncio.run(leave())
    assert order == ["job", "feed"]
    assert not complaints
