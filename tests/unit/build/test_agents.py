"""A talk with an ssh agent: the connection names the agent, and is over for both sides when it is for one."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from engines import DEADLINE_S
from onggi.build.agents import Agents
from onggi.containers.options import Hijacked


@asynccontextmanager
async def talking(agents, directory):
    """Reader and writer of a step and of the agent that it talks to; the step ends with the block."""
    client, engine = socket.socketpair()

    async def hijack():
        return Hijacked(engine.detach(), b"")

    await agents.wait("token", hijack)
    async with agents.served("token", "mine", str(directory)) as path:
        step = await asyncio.open_unix_connection(path)
        agent = await asyncio.open_connection(sock=client)
        assert await agent[0].readline() == b"mine\n"
        yield step, agent


@pytest.mark.parametrize("first", ["step", "agent", "neither"])
def test_a_talk_is_over_for_both(tmp_path, first):
    async def scenario():
        agents = Agents()
        with agents.open("token"):
            async with asyncio.timeout(DEADLINE_S), talking(agents, tmp_path) as (step, agent):
                step[1].write(b"question")
                assert await agent[0].readexactly(8) == b"question"
                agent[1].write(b"answer")
                assert await step[0].readexactly(6) == b"answer"
                if first != "neither":
                    (step if first == "step" else agent)[1].close()
                    assert await (agent if first == "step" else step)[0].read() == b""
        async with asyncio.timeout(DEADLINE_S):
            assert first != "neither" or [await step[0].read(), await agent[0].read()] == [b"", b""]
        step[1].close()
        agent[1].close()

    asyncio.run(scenario())
