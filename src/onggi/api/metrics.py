"""What Prometheus reads: docker's names of an engine's figures, in the text format 0.0.4."""

from __future__ import annotations

import bisect
import os
import resource
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from onggi.api.http.hosting import Hosting
from onggi.api.http.message import HeadError, Request, Response, Stream
from onggi.api.listen import listen_stream

Json = Any
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ACTIONS = {
    ("GET", "/containers/{id*}/changes"): "changes",
    ("POST", "/commit"): "commit",
    ("POST", "/containers/create"): "create",
    ("DELETE", "/containers/{id}"): "delete",
    ("POST", "/containers/{id*}/start"): "start",
}
_STATES = "engine_daemon_container_states_containers"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Timings:
    """How long requests about containers took, by docker's names of actions."""

    def __init__(self) -> None:
        self._counts = {action: [0] * (len(_BUCKETS) + 1) for action in _ACTIONS.values()}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def add(self, method: str, pattern: str, seconds: float) -> None:
        """Count a request if it is one of those."""
        action = _ACTIONS.get((method, pattern))
        if action is not None:
            self._counts[action][bisect.bisect_left(_BUCKETS, seconds)] += 1
            self._sums[action] += seconds

    def lines(self) -> Iterator[str]:
        """The histogram."""
        name = "engine_daemon_container_actions_seconds"
        yield from _head(name, "The number of seconds it takes to process each container action", "histogram")
        for action, counts in self._counts.items():
            total = 0
            for limit, count in zip((*map(_number, _BUCKETS), "+Inf"), counts, strict=True):
                total += count
                yield f'{name}_bucket{{action="{action}",le="{limit}"}} {total}'
            yield f'{name}_sum{{action="{action}"}} {_number(self._sums[action])}'
            yield f'{name}_count{{action="{action}"}} {total}'


def render(facts: Mapping[str, Json], totals: Mapping[str, int], timings: Timings) -> str:
    """Return the text; ``facts`` are those of GET /info, ``totals`` the counters by their names."""
    states = {it: facts[f"Containers{it.capitalize()}"] for it in ("paused", "running", "stopped")}
    info = {
        "architecture": facts["Architecture"],
        "commit": facts["RuncCommit"]["ID"],
        "daemon_id": facts["ID"],
        "graphdriver": facts["Driver"],
        "kernel": facts["KernelVersion"],
        "os": facts["OperatingSystem"],
        "os_type": facts["OSType"],
        "os_version": facts["OSVersion"],
        "version": facts["ServerVersion"],
    }
    named = ",".join(f'{key}="{_escape(str(value))}"' for key, value in info.items())
    lines = [
        *_head(_STATES, "The count of containers in various states", "gauge"),
        *(f'{_STATES}{{state="{state}"}} {number}' for state, number in states.items()),
        *_figure("engine_daemon_engine_cpus_cpus", "The number of cpus of the host", "gauge", facts["NCPU"]),
        *_figure(
            "engine_daemon_engine_memory_bytes", "The number of bytes of memory of the host", "gauge",
            facts["MemTotal"],
        ),
        *_head("engine_daemon_engine_info", "The engine and the operating system it runs on", "gauge"),
        f"engine_daemon_engine_info{{{named}}} 1",
        *(line for name, total in totals.items() for line in _figure(name, _HELP[name], "counter", total)),
        *timings.lines(),
        *_process(),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


_HELP = {
    "engine_daemon_events_total": "The number of events logged",
    "engine_daemon_health_checks_total": "The total number of health checks",
    "engine_daemon_health_checks_failed_total": "The total number of failed health checks",
}


def _head(name: str, text: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _figure(name: str, text: str, kind: str, value: float) -> tuple[str, str, str]:
    return (*_head(name, text, kind), f"{name} {_number(value)}")


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(int(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _process() -> Iterator[str]:
    """The figures that Prometheus' own libraries give of a process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    page, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    cpu = round(used.ru_utime + used.ru_stime, 2)
    figures = (
        ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter", cpu),
        ("process_max_fds", "Maximum number of open file descriptors.", "gauge", _max_fds()),
        ("process_open_fds", "Number of open file descriptors.", "gauge", len(os.listdir("/proc/self/fd"))),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", int(fields[21]) * page),
        (
            "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge",
            int(booted + int(fields[19]) / ticks),
        ),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", int(fields[20])),
    )  # fmt: skip
    for figure in figures:
        yield from _figure(*figure)


def _max_fds() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Metrics:
    """The service behind ``metrics-addr``: GET /metrics, for whoever reaches it, and nothing else."""

    def __init__(self, text: Callable[[], Awaitable[str]]) -> None:
        self._text = text
        self._hosting = Hosting(self._handle, _refuse, "", max_connections=64)

    async def serve(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError."""
        listener = await listen_stream(self._hosting.connection, host, port, None)
        self._hosting.add(listener)
        return listener.port

    async def close(self) -> None:
        """Stop."""
        await self._hosting.close(1.0)

    async def _handle(self, request: Request) -> Response | Stream | None:
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")
        return Response(200, (await self._text()).encode(), _TEXT)


def _refuse(error: HeadError) -> Response:
    return Response(error.status, f"{error}\n".encode(), "text/plain; charset=utf-8")
