"""One request for each status that Docker's specification documents, as data; any engine can be asked.

In paths and bodies ``{name}`` is filled in: ``{run}``, ``{sealed}`` and ``{busy}`` are containers, networks
and volumes that the walk makes once; ``{running}``, ``{exited}``, ``{created}``, ``{paused}``, ``{exec}``,
``{network}``, ``{volume}``, ``{image}`` are made for the case alone; ``{new}`` is a name that nothing has,
``{now}`` the time.
"""

import io
import re
import tarfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from specification import OPERATIONS

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
WEBSOCKET = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "http://localhost",
}  # fmt: skip
TAR = {"Content-Type": "application/x-tar"}
NOBODY = "nosuch"
NONE = "?filters=%7B%22label%22:%5B%22nosuch%22%5D%7D"  # {"label":["nosuch"]}


class Case(NamedTuple):
    """``operation`` and ``status`` as in the specification; ``path`` and ``body`` are what is sent."""

    operation: str
    status: int
    path: str = ""
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def name(self) -> str:
        return f"{self.operation} {self.status}"

    @property
    def target(self) -> str:
        """The path with its query; without one the operation's own path is asked."""
        own = self.operation.partition(" ")[2]
        return own + self.path if self.path[:1] in ("", "?") else self.path


def small_tar() -> bytes:
    """An archive of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("hello")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"hi"))
    return buffer.getvalue()


def _container(good: Case, *others: Case) -> tuple[Case, ...]:
    """``good``, ``others``, and the same request to a container that does not exist."""
    path = good.path
    start = path.index("{", len("/containers"))
    end = path.index("}", start) + 1
    return (good, *others, good._replace(status=404, path=path[:start] + NOBODY + path[end:]))


def _life(verb: str, kind: str, *others: tuple[int, str, str]) -> tuple[Case, ...]:
    operation = f"POST /containers/{{id}}/{verb}"
    rest = [Case(operation, status, f"/containers/{{{of}}}/{verb}{query}") for status, of, query in others]
    return _container(Case(operation, 204, f"/containers/{{{kind}}}/{verb}"), *rest)


ARCHIVE = "/containers/{id}/archive"
CONTAINERS = (
    Case("POST /containers/create", 201, "?name={new}", {"Image": "busybox", "Cmd": ["true"]}),
    Case("POST /containers/create", 400, "?name=%2F%2F", {"Image": "busybox"}),
    Case("POST /containers/create", 404, "?name={new}", {"Image": "nosuch:1"}),
    Case("POST /containers/create", 409, "?name={run}", {"Image": "busybox", "Cmd": ["true"]}),
    Case("GET /containers/json", 200, "?all=1&size=1"),
    Case("GET /containers/json", 400, "?filters=x"),
    *_container(Case("GET /containers/{id}/json", 200, "/containers/{run}/json?size=1")),
    *_container(Case("GET /containers/{id}/top", 200, "/containers/{run}/top")),
    *_container(Case("GET /containers/{id}/logs", 200, "/containers/{run}/logs?stdout=1")),
    *_container(Case("GET /containers/{id}/changes", 200, "/containers/{run}/changes")),
    *_container(Case("GET /containers/{id}/export", 200, "/containers/{run}/export")),
    *_container(Case("GET /containers/{id}/stats", 200, "/containers/{run}/stats?stream=0&one-shot=1")),
    *_container(Case("POST /containers/{id}/resize", 200, "/containers/{tty}/resize?h=24&w=80")),
    *_life("start", "created", (304, "run", "")),
    Case("POST /containers/{id}/start", 400, "/containers/{created}/start", {"HostConfig": {}}),
    *_life("stop", "running", (304, "created", "")),
    *_life("restart", "running"),
    *_life("kill", "running", (409, "created", "")),
    *_life("pause", "running"),
    *_life("unpause", "paused"),
    *_container(
        Case("POST /containers/{id}/update", 200, "/containers/{running}/update", {"CpuShares": 512}),
    ),
    *_container(
        Case("POST /containers/{id}/rename", 204, "/containers/{created}/rename?name={new}"),
        Case("POST /containers/{id}/rename", 409, "/containers/{created}/rename?name={run}"),
    ),
    *_container(
        Case("POST /containers/{id}/attach", 200, "/containers/{exited}/attach?logs=1&stdout=1"),
        Case(
            "POST /containers/{id}/attach", 101, "/containers/{run}/attach?stream=1&stdout=1", None, UPGRADE
        ),
        Case("POST /containers/{id}/attach", 400, "/containers/{run}/attach?detachKeys=ctrl-nosuch"),
    ),
    *_container(
        Case("GET /containers/{id}/attach/ws", 101, "/containers/{run}/attach/ws?stream=1", None, WEBSOCKET),
        Case("GET /containers/{id}/attach/ws", 200, "/containers/{exited}/attach/ws?logs=1&stdout=1"),
        Case("GET /containers/{id}/attach/ws", 400, "/containers/{run}/attach/ws?detachKeys=ctrl-nosuch"),
    ),
    *_container(
        Case("POST /containers/{id}/wait", 200, "/containers/{exited}/wait"),
        Case("POST /containers/{id}/wait", 400, "/containers/{run}/wait?condition=nosuch"),
    ),
    *_container(
        Case("DELETE /containers/{id}", 204, "/containers/{created}"),
        Case("DELETE /containers/{id}", 400, "/containers/{created}?link=1"),
        Case("DELETE /containers/{id}", 409, "/containers/{run}"),
    ),
    *_container(
        Case(f"HEAD {ARCHIVE}", 200, "/containers/{run}/archive?path=/etc/passwd"),
        Case(f"HEAD {ARCHIVE}", 400, "/containers/{run}/archive"),
    ),
    *_container(
        Case(f"GET {ARCHIVE}", 200, "/containers/{run}/archive?path=/etc/passwd"),
        Case(f"GET {ARCHIVE}", 400, "/containers/{run}/archive"),
    ),
    *_container(
        Case(f"PUT {ARCHIVE}", 200, "/containers/{run}/archive?path=/tmp", small_tar(), TAR),
        Case(f"PUT {ARCHIVE}", 400, "/containers/{run}/archive", small_tar(), TAR),
        Case(f"PUT {ARCHIVE}", 403, "/containers/{sealed}/archive?path=/tmp", small_tar(), TAR),
    ),
    Case("POST /containers/prune", 200, NONE),
)

EXEC = (
    *_container(
        Case("POST /containers/{id}/exec", 201, "/containers/{run}/exec", {"Cmd": ["true"]}),
        Case("POST /containers/{id}/exec", 409, "/containers/{paused}/exec", {"Cmd": ["true"]}),
    ),
    Case("POST /exec/{id}/start", 200, "/exec/{exec}/start", {"Detach": True}),
    Case("POST /exec/{id}/start", 404, "/exec/nosuch/start", {"Detach": True}),
    Case("POST /exec/{id}/start", 409, "/exec/{exec of paused}/start", {"Detach": True}),
    Case("POST /exec/{id}/resize", 200, "/exec/{exec running}/resize?h=24&w=80"),
    Case("POST /exec/{id}/resize", 400, "/exec/{exec running}/resize?h=x&w=80"),
    Case("POST /exec/{id}/resize", 404, "/exec/nosuch/resize?h=24&w=80"),
    Case("GET /exec/{id}/json", 200, "/exec/{exec}/json"),
    Case("GET /exec/{id}/json", 404, "/exec/nosuch/json"),
)

IMAGES = (
    Case("GET /images/json", 200),
    Case("POST /images/create", 200, "?fromImage={registry}/busybox&tag=1"),
    Case("POST /images/create", 404, "?fromImage={registry}/nosuch&tag=1"),
    Case("GET /images/{name}/json", 200, "/images/busybox/json"),
    Case("GET /images/{name}/json", 404, "/images/nosuch/json"),
    Case("GET /images/{name}/history", 200, "/images/busybox/history"),
    Case("GET /images/{name}/history", 404, "/images/nosuch/history"),
    Case("POST /images/{name}/push", 200, "/images/{registry}/busybox/push?tag=1"),
    Case("POST /images/{name}/push", 404, "/images/{registry}/nosuch/push?tag=1"),
    Case("POST /images/{name}/tag", 201, "/images/busybox/tag?repo={new}&tag=1"),
    Case("POST /images/{name}/tag", 400, "/images/busybox/tag?repo=UPPER&tag=1"),
    Case("POST /images/{name}/tag", 404, "/images/nosuch/tag?repo={new}&tag=1"),
    Case("POST /images/{name}/tag", 409, "/images/busybox/tag?repo=busybox&tag=latest"),
    Case("DELETE /images/{name}", 200, "/images/{image}"),
    Case("DELETE /images/{name}", 404, "/images/nosuch"),
    Case("DELETE /images/{name}", 409, "/images/{busybox id}"),
    Case("GET /images/search", 200, "?term={index}/busy"),
    Case("POST /images/prune", 200, NONE),
    Case("POST /commit", 201, "?container={run}&repo={new}&tag=1", {}),
    Case("POST /commit", 404, "?container=nosuch", {}),
    Case("GET /images/{name}/get", 200, "/images/busybox/get"),
    Case("GET /images/get", 200, "?names=busybox"),
    Case("POST /images/load", 200, "?quiet=1", "{archive}", TAR),
    Case("GET /distribution/{name}/json", 200, "/distribution/{registry}/busybox:1/json"),
    Case("GET /distribution/{name}/json", 401, "/distribution/{private}/busybox:1/json"),
)

_KIM = {"username": "kim", "password": "s3cret", "serveraddress": "{private}"}
SYSTEM = (
    Case("POST /auth", 200, "", _KIM),
    Case("POST /auth", 204, "", _KIM),
    Case("POST /auth", 401, "", _KIM | {"password": "wrong"}),
    Case("GET /info", 200),
    Case("GET /version", 200),
    Case("GET /_ping", 200),
    Case("HEAD /_ping", 200),
    Case("GET /events", 200, "?since=1&until={now}"),
    Case("GET /events", 400, "?since=2&until=1"),
    Case("GET /system/df", 200),
)

NETWORKS = (
    Case("GET /networks", 200),
    Case("GET /networks/{id}", 200, "/networks/{busy}"),
    Case("GET /networks/{id}", 404, "/networks/nosuch"),
    Case("POST /networks/create", 201, "", {"Name": "{new}"}),
    Case("POST /networks/create", 400, "", {"Name": "{new}", "IPAM": {"Config": [{"Subnet": "x"}]}}),
    Case("POST /networks/create", 403, "", {"Name": "bridge"}),
    Case("POST /networks/create", 404, "", {"Name": "{new}", "Driver": "nosuch"}),
    Case("DELETE /networks/{id}", 204, "/networks/{network}"),
    Case("DELETE /networks/{id}", 403, "/networks/{busy}"),
    Case("DELETE /networks/{id}", 404, "/networks/nosuch"),
    Case("POST /networks/{id}/connect", 200, "/networks/{network}/connect", {"Container": "{created}"}),
    Case("POST /networks/{id}/connect", 400, "/networks/{network}/connect", {}),
    Case("POST /networks/{id}/connect", 403, "/networks/host/connect", {"Container": "{run}"}),
    Case("POST /networks/{id}/connect", 404, "/networks/nosuch/connect", {"Container": "{run}"}),
    Case("POST /networks/{id}/disconnect", 200, "/networks/bridge/disconnect", {"Container": "{created}"}),
    Case("POST /networks/{id}/disconnect", 403, "/networks/host/disconnect", {"Container": "{hosted}"}),
    Case("POST /networks/{id}/disconnect", 404, "/networks/nosuch/disconnect", {"Container": "{run}"}),
    Case("POST /networks/prune", 200, NONE),
)

VOLUMES = (
    Case("GET /volumes", 200),
    Case("POST /volumes/create", 201, "", {"Name": "{new}", "Labels": {"a": "b"}}),
    Case("GET /volumes/{name}", 200, "/volumes/{volume}"),
    Case("GET /volumes/{name}", 404, "/volumes/nosuch"),
    *(
        Case("PUT /volumes/{name}", status, "/volumes/{volume}?version=1", {})
        for status in (200, 400, 404, 503)
    ),
    Case("DELETE /volumes/{name}", 204, "/volumes/{volume}"),
    Case("DELETE /volumes/{name}", 404, "/volumes/nosuch"),
    Case("DELETE /volumes/{name}", 409, "/volumes/{busy}"),
    Case("POST /volumes/prune", 200, NONE),
)

CASES = (*CONTAINERS, *EXEC, *IMAGES, *SYSTEM, *NETWORKS, *VOLUMES)
# Of these tags nothing is offered: each operation is asked, and refused as dockerd refuses it.
REFUSED = {"Config", "Node", "Plugin", "Secret", "Service", "Swarm", "Task"}
# What dockerd would really do: make a swarm, and fetch or make plugins.
NOT_OFFERED = {
    "POST /swarm/init": "swarm mode is", "POST /swarm/join": "swarm mode is",
    "GET /plugins/privileges": "plugins are", "POST /plugins/create": "plugins are",
    "POST /plugins/pull": "plugins are",
    "GET /containers/{id}/checkpoints": "checkpoints are",
    "POST /containers/{id}/checkpoints": "checkpoints are",
    "DELETE /containers/{id}/checkpoints/x": "checkpoints are",
    "POST /containers/{id}/start?checkpoint=x": "checkpoints are",
}  # fmt: skip
# Build has its own suites.
ELSEWHERE = {"POST /build", "POST /build/prune", "POST /session"}


def refused() -> list[Case]:
    """A request for each operation of which nothing is offered, and the status that dockerd answers."""
    operations = [name for name, entry in OPERATIONS.items() if entry["tag"] in REFUSED]
    return [_refused(name) for name in operations if name not in NOT_OFFERED]


def _refused(operation: str) -> Case:
    method, _, path = operation.partition(" ")
    body = None if method != "POST" else [] if path.endswith(("/set", "/upgrade")) else {}
    path = re.sub(r"\{\w+\}", NOBODY, path) + "?version=1&stdout=1&timeout=0&remote=nosuch"
    plugin = "/plugins/" in path
    return Case(operation, 404 if plugin else 200 if path.startswith("/plugins") else 503, path, body)
