"""Probes of health checks that do not behave."""

import asyncio
import os

from fake_containers import World

from onggi.containers import health

MILLISECOND_NS = 1_000_000
CHECK = {
    "Test": ["CMD", "hang"],
    "Interval": MILLISECOND_NS,
    "Timeout": MILLISECOND_NS,
    "Retries": 2,
}


def test_a_probe_that_no_kill_ends_holds_up_no_other(tmp_path, monkeypatch):
    """Like one that hangs in the kernel: it was killed, holds its output, and is never reaped."""
    monkeypatch.setattr(health, "_KILL_GRACE_S", 0)

    async def scene():
        world, held = World(tmp_path), []
        call = world.runtime.call

        async def holding(container_id, verb, arguments, fds=()):
            held.extend(os.dup(fd) for fd in fds)
            return await call(container_id, verb, arguments, fds)

        world.runtime.call = holding
        try:
            await world.create(Healthcheck=CHECK)
            await world.containers.start("c1")
            async with asyncio.timeout(30):
                while "health_status: unhealthy" not in world.actions():
                    await asyncio.sleep(0)
            shown = (await world.containers.inspect("c1", False))["State"]["Health"]["Log"]
        finally:
            await world.close()
            for fd in held:
                os.close(fd)
        killed = [asked["signal"] for verb, asked in world.runtime.calls if verb == "exec_signal"]
        assert killed[:2] == [9, 9]
        assert [(entry["ExitCode"], entry["Output"]) for entry in shown[:2]] == [
            (-1, "Health check exceeded timeout (1ms)")
        ] * 2

    asyncio.run(scene())
