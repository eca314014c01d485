"""The container service: one object that the API calls, put together from the parts of this room."""

from __future__ import annotations

import asyncio
from collections import Counter

from onggi.containers.attaching import Attacher
from onggi.containers.committing import Committing
from onggi.containers.context import Context
from onggi.containers.copying import Copying
from onggi.containers.creation import Creator
from onggi.containers.execs import Execs
from onggi.containers.exporting import Exporting
from onggi.containers.health import HealthMonitor
from onggi.containers.launching import Launcher
from onggi.containers.lifecycle import Lifecycle
from onggi.containers.listing import Listing
from onggi.containers.logs import ContainerLogs
from onggi.containers.networking import Networking
from onggi.containers.queries import Queries
from onggi.containers.recovering import Recovery
from onggi.containers.running import Runner
from onggi.containers.runs import Runs
from onggi.containers.updating import Updating
from onggi.containers.views import Views
from onggi.containers.waiting import Waiting


class Containers:
    """Each attribute below is an operation of one part; see there for its contract.

    Bodies are docker's JSON.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        networking = Networking(context)
        launcher = Launcher(context, networking)
        execs = Execs(context, launcher)
        health = HealthMonitor(context, execs)
        runs = Runs(context, launcher, health, networking)
        lifecycle = Lifecycle(context, runs)
        creator = Creator(context, networking)
        queries = Queries(context, networking)
        logs = ContainerLogs(context)
        attacher = Attacher(context, logs)
        updating = Updating(context, lifecycle)
        views = Views(context)
        copying, exporting = Copying(context, views, launcher), Exporting(context, views, lifecycle)

        self.create = creator.create
        self.run = Runner(context, creator, runs).run
        self.start, self.stop, self.restart = lifecycle.start, lifecycle.stop, lifecycle.restart
        self.kill = lifecycle.kill
        self.pause, self.unpause = lifecycle.pause, lifecycle.unpause
        self.rename, self.remove = lifecycle.rename, lifecycle.remove
        self.update, self.prune = updating.update, updating.prune
        self.inspect, self.top, self.stats = queries.inspect, queries.top, queries.stats
        self.list = Listing(context, queries, networking).summaries
        self.network_connect, self.network_disconnect = networking.connect, networking.disconnect
        self.wait = Waiting(context).wait
        self.logs = logs.logs
        self.path_facts, self.archive, self.extract = copying.path_facts, copying.archive, copying.extract
        self.export, self.changes, self.layer = exporting.export, exporting.changes, exporting.layer
        self.commit = Committing(context, exporting.layer).commit
        self.attach, self.resize = attacher.attach, attacher.resize
        self.is_tty, self.takes_input = attacher.is_tty, attacher.takes_input
        self.exec_create, self.exec_start, self.exec_run = execs.exec_create, execs.exec_start, execs.exec_run
        self.exec_inspect, self.exec_resize = execs.exec_inspect, execs.exec_resize
        self.exec_kill, self.exec_timeout = execs.exec_kill, execs.exec_timeout
        self.recover = Recovery(context, lifecycle, runs, execs, health, networking).recover
        self.health = health
        context.runtime.on_event = attacher.told
        context.networks.core.unwired = networking.unwired

    def busy(self) -> bool:
        """Whether there is something to look after: a running container, or one that is to be started
        again.
        """
        return any(entry.state.running or entry.removing for entry in self.context.containers.values())

    def counts(self) -> dict[str, int]:
        """Containers by docker's ``info`` keys."""
        states = [entry.status for entry in self.context.containers.values()]
        running, paused = states.count("running") + states.count("restarting"), states.count("paused")
        return {
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
        }

    def per_image(self) -> Counter[str]:
        """How many containers there are of each image, by its id."""
        return Counter(it.spec.image_id for it in self.context.containers.values())

    def uses_image(self, image_id: str) -> list[str]:
        """Ids of the containers made from an image: it cannot be removed while there are any."""
        known = self.context.containers.values()
        return [it.id for it in known if image_id in (it.spec.image_id, *it.spec.mounted_images)]

    async def close(self) -> None:
        """Let go: containers go on, timers and probes end with this engine."""
        tasks = [task for entry in self.context.containers.values() for task in entry.tasks]
        for entry in self.context.containers.values():
            if entry.restart_timer is not None:
                entry.restart_timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.context.sweeper.close()
        await self.context.events.close()
