"""``docker ps``: the summary of each container and docker's filters."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

from onggi.containers import links
from onggi.containers.context import Context
from onggi.containers.failures import during
from onggi.containers.merge import command_line
from onggi.containers.model import Container
from onggi.containers.networking import Networking
from onggi.containers.queries import Queries
from onggi.containers.spec_mounts import inspect_entries
from onggi.errors import InvalidArgument, OnggiError
from onggi.filters import Filters, check_names, has_labels
from onggi.oci.ages import human_duration
from onggi.oci.image import Image

Json = Any
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_NAMES = frozenset([
    "ancestor", "before", "expose", "exited", "health", "id", "is-task", "isolation", "label", "name",
    "network", "publish", "since", "status", "volume",
])  # fmt: skip


class Listing:
    """Answers the list."""

    def __init__(self, context: Context, queries: Queries, networking: Networking) -> None:
        self._context, self._queries, self._networking = context, queries, networking

    async def summaries(
        self, *, all: bool = False, limit: int = 0, size: bool = False, filters: Filters | None = None
    ) -> list[Json]:
        """docker's ``ContainerSummary`` list, newest first."""
        filters = filters or {}
        check_filters(filters, _NAMES)
        wanted = self._predicate(filters, await self._descendants(filters.get("ancestor", [])))
        everything = all or limit > 0 or bool(filters.get("status") or filters.get("exited"))
        newest_first = sorted(
            self._context.containers.values(), key=lambda entry: (entry.created_ns, entry.id), reverse=True
        )
        names = links.all_names(self._context.containers, self._context.names)
        found = [entry for entry in newest_first if (everything or entry.state.running) and wanted(entry)]
        answers = []
        for container in found[: limit or None]:
            sizes = await self._queries.sizes(container) if size else {}
            image = {"Image": await self._image_name(container)}
            answers.append(
                summary(container, names[container.id]) | image | self._network_part(container) | sizes
            )
        return answers

    def _network_part(self, container: Container) -> Json:
        shown = self._networking.networks(container)
        ports = _ports(container, self._networking.ports(container))
        return {"Ports": ports, "NetworkSettings": {"Networks": shown}}

    def _on_network(self, container: Container, value: str) -> bool:
        shown = self._networking.networks(container)
        return value in shown or any(entry["NetworkID"].startswith(value) for entry in shown.values())

    async def _image_name(self, container: Container) -> str:
        """As it was asked for while that still is the image; then its id."""
        spec = container.spec
        if not spec.image_id:
            return spec.image
        image = await self._image(spec.image)
        return spec.image if image and image.id == spec.image_id else spec.image_id

    async def _image(self, ref: str) -> Image | None:
        try:
            return await self._context.images.get(ref)
        except OnggiError:
            return None

    async def _descendants(self, refs: Sequence[str]) -> set[str]:
        """The ids of containers' images that are one of these images or were built from one."""
        if not refs:
            return set()
        bases = [image for ref in refs if (image := await self._image(ref))]
        used = {entry.spec.image_id for entry in self._context.containers.values()}
        images = [image for image_id in used if (image := await self._image(image_id))]
        return {image.id for image in images if any(map(image.is_from, bases))}.union(refs)

    def _predicate(self, filters: Filters, descendants: set[str]) -> Callable[[Container], bool]:
        """All filters hold; values of one filter are alternatives, labels add up."""
        tests: list[Callable[[Container], bool]] = [
            _test(name, values) for name, values in filters.items() if values and name in _TESTS
        ]
        if networks := filters.get("network"):
            tests.append(lambda entry: any(self._on_network(entry, network) for network in networks))
        if patterns := filters.get("name"):
            names = links.all_names(self._context.containers, self._context.names)
            tests.append(lambda entry: any(_has_name(names[entry.id], pattern) for pattern in patterns))
        if descendants:  # the filters' words among them
            tests.append(lambda entry: not descendants.isdisjoint((entry.spec.image_id, entry.spec.image)))
        for name, newer in (("before", False), ("since", True)):
            tests += [_by_age(self._context.find(ref), newer) for ref in filters.get(name, [])]
        return lambda entry: all(test(entry) for test in tests)


def check_filters(filters: Filters, known: frozenset[str]) -> None:
    """docker's words for an unknown filter or a wrong value."""
    check_names(filters, known)
    for name, what, values in (("status", "state", _STATES), ("health", "health", _HEALTH)):
        for value in filters.get(name, []):
            if value not in values:
                raise InvalidArgument(
                    f"invalid filter '{name}={value}': invalid value for {what} ({value}): must be one of "
                    f"{', '.join(values)}"
                )
    for value in filters.get("exited", []):
        if re.fullmatch(r"-?[0-9]{1,9}", value) is None:
            reason = "value out of range" if re.fullmatch(r"[+-]?[0-9]+", value) else "invalid syntax"
            words = f'strconv.Atoi: parsing "{value}": {reason}'
            raise InvalidArgument(f"invalid filter 'exited={value}': {words}")
    tasks = filters.get("is-task", [])
    if len(tasks) > 1 or any(value.lower() not in ("0", "1", "true", "false") for value in tasks):
        raise InvalidArgument(f"invalid filter 'is-task=[{' '.join(tasks)}]'")
    for name in ("expose", "publish"):
        for value in filters.get(name, []):
            with during(f"error while looking up for {name} {value}"):
                _port_range(value)


def _by_age(reference: Container, newer: bool) -> Callable[[Container], bool]:
    if newer:
        return lambda entry: entry.created_ns > reference.created_ns
    return lambda entry: entry.created_ns < reference.created_ns


def _has_name(names: list[str], pattern: str) -> bool:
    try:
        return any(re.search(pattern, name) or re.search(pattern, name[1:]) for name in names)
    except re.error:
        return any(pattern in name for name in names)


def _health(container: Container) -> str:
    return container.state.health.status if container.state.health else "none"


def _exited(container: Container, value: str) -> bool:
    return container.status == "exited" and container.state.exit_code == int(value)


def _uses(container: Container, volume: str) -> bool:
    points = container.spec.mounts
    return any(volume in (point.name or point.source, point.destination) for point in points)


def _port_range(text: str) -> tuple[range, str]:
    """The ports and the protocol of ``80-90/udp``."""
    ports, _, protocol = text.partition("/")
    first, _, last = ports.partition("-")
    for number in (first, last or first):
        if re.fullmatch(r"[0-9]{1,5}", number) is None or int(number) > 65535:
            reason = "value out of range" if re.fullmatch(r"[0-9]+", number) else "invalid syntax"
            raise InvalidArgument(f'strconv.ParseUint: parsing "{number}": {reason}')
    if int(last or first) < int(first):
        raise InvalidArgument(f"Invalid range specified for the Port: {ports}")
    return range(int(first), int(last or first) + 1), protocol or "tcp"


def _exposes(container: Container, value: str) -> bool:
    wanted, protocol = _port_range(value)
    exposed = (port.partition("/") for port in container.spec.config.exposed_ports)
    return any(
        number.isdigit() and int(number) in wanted and (kind or "tcp") == protocol
        for number, _, kind in exposed
    )


def _publishes(container: Container, value: str) -> bool:
    wanted, protocol = _port_range(value)
    return any(
        name.partition("/")[2] in ("", protocol) and _published(entry, wanted)
        for name, entries in container.spec.host_config.port_bindings.items()
        for entry in entries or ()
    )


_TESTS: dict[str, Callable[[Container, str], bool]] = {
    "id": lambda entry, value: bool(value) and entry.id.startswith(value),
    "label": lambda entry, value: has_labels(entry.spec.config.labels, {"label": [value]}),
    "status": lambda entry, value: entry.status == value,
    "health": lambda entry, value: _health(entry) == value,
    "exited": _exited,
    "volume": _uses,
    "expose": _exposes,
    "publish": _publishes,
    "is-task": lambda entry, value: value.lower() not in ("1", "true"),
    "isolation": lambda entry, value: value == (entry.spec.host_config.isolation or "default"),
}


def _test(name: str, values: Sequence[str]) -> Callable[[Container], bool]:
    test, quantifier = _TESTS[name], all if name == "label" else any
    return lambda entry: quantifier(test(entry, value) for value in values)


def summary(container: Container, names: list[str]) -> Json:
    """docker's ``ContainerSummary``."""
    spec = container.spec
    host: Json = {"NetworkMode": spec.host_config.network_mode}
    if spec.host_config.annotations:
        host["Annotations"] = spec.host_config.annotations
    return {
        "Id": container.id,
        "Names": names,
        "Image": spec.image,
        "ImageID": spec.image_id,
        "Command": _command(command_line(spec.config)),
        "Created": container.created_ns // 1_000_000_000,
        "Labels": spec.config.labels,
        "State": container.status,
        "Status": status_text(container),
        "HostConfig": host,
        "Mounts": inspect_entries(spec.mounts, spec.host_config),
    }


def _command(argv: list[str]) -> str:
    """docker's one line: arguments with blanks or quotes stand in quotes."""
    shown = (shlex.quote(word) if re.search(r"[\s'\"]", word) or not word else word for word in argv[1:])
    return " ".join([argv[0], *shown])


def _published(binding: Json, wanted: range) -> bool:
    port = str(binding.get("HostPort") or "")
    return port.isdigit() and int(port) in wanted


def _ports(container: Container, ports: Json) -> list[Json]:
    if not container.alive:
        return []
    rows: list[Json] = []
    for name, bindings in ports.items():
        number, _, kind = name.partition("/")
        if not bindings and number.isdigit():
            rows.append({"PrivatePort": int(number), "Type": kind})
        for binding in bindings or ():
            public = int(binding["HostPort"])
            rows.append(
                {"IP": binding["HostIp"], "PrivatePort": int(number), "PublicPort": public, "Type": kind}
            )
    return rows


def status_text(container: Container) -> str:
    """docker's human status: ``Up 3 minutes (healthy)``, ``Exited (0) 5 seconds ago``."""
    state, now_ns = container.state, time.time_ns()
    up, since = (human_duration((now_ns - then) / 1e9) for then in (state.started_ns, state.finished_ns))
    match container.status:
        case "paused":
            return f"Up {up} (Paused)"
        case "restarting":
            return f"Restarting ({state.exit_code}) {since} ago"
        case "running":
            if state.health is None:
                return f"Up {up}"
            health = state.health.status
            return f"Up {up} ({'health: starting' if health == 'starting' else health})"
        case "removing":
            return "Removal In Progress"
        case "dead":
            return "Dead"
        case "created":
            return "Created"
        case _:
            return f"Exited ({state.exit_code}) {since} ago"
