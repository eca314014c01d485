"""``build --debug``: a shell in the state before a step that failed, with all that the step had."""

from __future__ import annotations

from typing import Any

from onggi.build.workshop import Tell, Workshop
from onggi.containers.creation import Step
from onggi.errors import NotFound

Json = Any
_TERMINAL = {"Tty": True, "OpenStdin": True, "StdinOnce": True, "AttachStdin": True}


async def offer(workshop: Workshop, body: Json, step: Step, shell: str, tell: Tell) -> None:
    """Make a container as the step's, tell the client, who starts it, and wait until it is removed; it goes
    with the build in any case.
    """
    container_id, _ = await workshop.containers.create(None, {**body, **_TERMINAL, "Cmd": [shell]}, step=step)
    try:
        removed = await workshop.containers.wait(container_id, "removed")
        tell({"aux": {"Debug": {"Container": container_id, "Image": body["Image"]}}})
        await removed
    finally:
        await workshop.content.finish(remove(workshop, container_id))


async def remove(workshop: Workshop, container_id: str) -> None:
    """Remove a step's container, whatever it does."""
    try:
        await workshop.containers.remove(container_id, force=True, volumes=True)
    except NotFound:
        return  # somebody else was faster
