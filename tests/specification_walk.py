"""Asks an engine the cases of ``specification_cases``: what they need is made with the API itself."""

import contextlib
import http.client
import http.server
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from docker_registry import DockerRegistry
from engines import DEADLINE_S
from specification import OPERATIONS, Problem, problems
from specification_cases import Case

SLEEP = {"Image": "busybox", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL"}
ENDED = {"Image": "busybox", "Cmd": ["echo", "hi"]}
FOUND = {"num_results": 1, "query": "busy", "results": [
    {"name": "busybox", "description": "Busy", "star_count": 1, "is_official": True, "is_automated": False}
]}  # fmt: skip


class Answer(NamedTuple):
    status: int
    body: bytes
    is_json: bool

    def json(self) -> Any:
        """The first document: streams have several."""
        return json.JSONDecoder().raw_decode(self.body.decode().lstrip())[0]

    @property
    def message(self) -> str:
        """Docker's sentence about an error, if it is one."""
        with contextlib.suppress(ValueError):
            if isinstance(value := self.json(), dict):
                return str(value.get("message", ""))
        return self.body.decode(errors="replace").strip()


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(self._path)


def ask(
    path: str, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request to the engine at the unix socket ``path``; without a version it is of the newest."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} if raw is not None else {}
    with contextlib.closing(_Unix(path)) as connection:
        connection.request(method, quote(target, safe="/?&=%:@"), raw, given | (headers or {}))
        with connection.getresponse() as answer:
            kind = answer.getheader("Content-Type") or ""
            return Answer(answer.status, answer.read(), kind.startswith("application/json"))


@contextlib.contextmanager
def search_index() -> Iterator[str]:
    """The address of a registry that knows nothing but the old search."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Docker-Registry-Version", "0.0")
            self.end_headers()
            self.wfile.write(json.dumps(FOUND).encode())

        def log_message(self, *arguments: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(DEADLINE_S)


class Walk:
    """What the cases name, made when it is first named; ``close`` removes it."""

    def __init__(self, socket_path: str, directory: Path) -> None:
        self._socket = socket_path
        self._stack = contextlib.ExitStack()
        self._names: dict[str, str] = {}
        self._containers: list[str] = []
        public, private = (
            self._stack.enter_context(contextlib.closing(DockerRegistry(directory / name, passwords=closed)))
            for name, closed in (("public", False), ("private", True))
        )
        index = self._stack.enter_context(search_index())
        self._names |= {"registry": public.host, "private": private.host, "index": index}
        self._furnish()

    def _furnish(self) -> None:
        """What several cases share."""
        self._do("POST", "/networks/create", {"Name": self._name("busy")})
        self._do("POST", "/volumes/create", {"Name": self._names["busy"]})
        mount = {"Type": "volume", "Source": self._names["busy"], "Target": "/data"}
        health = {"Test": ["CMD", "true"], "Interval": 1_000_000_000}
        host = {
            "NetworkMode": self._names["busy"],
            "Mounts": [mount],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        }
        self._start(
            "run", SLEEP | {"Healthcheck": health, "ExposedPorts": {"80/tcp": {}}, "HostConfig": host}
        )
        self._start("tty", SLEEP | {"Tty": True})
        self._start("sealed", SLEEP | {"HostConfig": {"ReadonlyRootfs": True, "NetworkMode": "none"}})
        self._start("hosted", SLEEP | {"HostConfig": {"NetworkMode": "host"}})
        self._names["busybox id"] = self._do("GET", "/images/busybox/json").json()["Id"]
        self._do("POST", f"/images/busybox/tag?repo={self._names['registry']}/busybox&tag=1")
        self._do("POST", f"/images/{self._names['registry']}/busybox/push?tag=1", headers=NO_CREDENTIALS)

    def close(self) -> None:
        """Remove what was made."""
        for name in self._containers:
            ask(self._socket, "DELETE", f"/containers/{name}?force=1&v=1")
        self._remove(self._names["busy"])
        ask(self._socket, "DELETE", f"/images/{self._names['registry']}/busybox:1")
        self._stack.close()

    def _remove(self, name: str) -> None:
        """Whatever the name was given to."""
        for kind, tag in (("containers", "?force=1"), ("images", ":1"), ("networks", ""), ("volumes", "")):
            ask(self._socket, "DELETE", f"/{kind}/{name}{tag}")

    def ask(self, case: Case) -> Answer:
        """Send the request of a case, everything it names being there."""
        own: dict[str, str] = {}

        def fill(text: str) -> str:
            return re.sub(r"\{([^{}]+)\}", lambda match: self._made(match[1], own), text)

        def fill_all(value: Any) -> Any:
            if isinstance(value, str):
                return fill(value)
            if isinstance(value, dict):
                return {key: fill_all(part) for key, part in value.items()}
            return [fill_all(part) for part in value] if isinstance(value, list) else value

        method = case.operation.partition(" ")[0]
        body = self._archive() if case.body == "{archive}" else fill_all(case.body)
        headers = NO_CREDENTIALS if "/push" in case.target else {}
        answer = ask(self._socket, method, fill(case.target), body, {**case.headers, **headers})
        if "new" in own:
            self._stack.callback(self._remove, self._names["new"])
        return answer

    def mask(self, text: str) -> str:
        """``text`` without what differs from run to run: names, addresses and ids."""
        for key, name in self._names.items():
            text = text.replace(name, f"<{key}>")
        return re.sub(r"[0-9a-f]{64}|\b[0-9a-f]{12}\b", "<id>", re.sub(r"t[0-9a-f]{8}x", "<name>", text))

    def _archive(self) -> bytes:
        return ask(self._socket, "GET", "/images/busybox/get").body

    def _made(self, word: str, own: dict[str, str]) -> str:
        if word in self._names and word != "new":
            return self._names[word]
        if word not in own:
            kind, _, argument = word.partition(" ")
            maker: Callable[[str], str] = getattr(self, f"_make_{kind}", self._make_name)
            own[word] = maker(argument)
        return own[word]

    def _make_name(self, _: str) -> str:
        return _unique()

    def _make_new(self, _: str) -> str:
        return self._name("new")

    def _make_now(self, _: str) -> str:
        return str(int(time.time()))

    def _make_created(self, _: str) -> str:
        return self._create(SLEEP, _unique())

    def _make_running(self, _: str) -> str:
        return self._start("", SLEEP)

    def _make_paused(self, _: str) -> str:
        name = self._start("", SLEEP)
        self._do("POST", f"/containers/{name}/pause")
        return name

    def _make_exited(self, _: str) -> str:
        name = self._start("", ENDED)
        self._do("POST", f"/containers/{name}/wait")
        return name

    def _make_exec(self, argument: str) -> str:
        """A created exec; one that runs; one of a container that is paused since."""
        container = self._start("", SLEEP)
        body = {"Cmd": ["sleep", "1000"], "Tty": argument == "running"}
        made: str = self._do("POST", f"/containers/{container}/exec", body).json()["Id"]
        if argument == "running":
            self._do("POST", f"/exec/{made}/start", {"Detach": True, "Tty": True})
        if argument == "of paused":
            self._do("POST", f"/containers/{container}/pause")
        return made

    def _make_image(self, _: str) -> str:
        name = _unique()
        self._do("POST", f"/images/busybox/tag?repo={name}&tag=1")
        self._stack.callback(self._remove, name)
        return f"{name}:1"

    def _make_network(self, _: str) -> str:
        name = _unique()
        self._do("POST", "/networks/create", {"Name": name})
        self._stack.callback(self._remove, name)
        return name

    def _make_volume(self, _: str) -> str:
        name = _unique()
        self._do("POST", "/volumes/create", {"Name": name})
        self._stack.callback(self._remove, name)
        return name

    def _name(self, word: str) -> str:
        self._names[word] = name = _unique()
        return name

    def _create(self, body: dict[str, Any], name: str) -> str:
        self._do("POST", f"/containers/create?name={name}", body)
        self._containers.append(name)
        return name

    def _start(self, word: str, body: dict[str, Any]) -> str:
        name = self._create(body, self._name(word) if word else _unique())
        self._do("POST", f"/containers/{name}/start")
        return name

    def _do(self, method: str, target: str, body: Any = None, headers: Any = None) -> Answer:
        answer = ask(self._socket, method, target, body, headers)
        assert answer.status < 400, (method, target, answer)
        return answer


NO_CREDENTIALS = {"X-Registry-Auth": "e30="}


def _unique() -> str:
    return f"t{secrets.token_hex(4)}x"


def broken(case: Case, answer: Answer) -> list[Problem]:
    """What an answer breaks of the schema that the specification has for it."""
    schema = OPERATIONS[case.operation]["responses"].get(str(case.status))
    if not schema or not answer.is_json or not answer.body or answer.status != case.status:
        return []
    return sorted(set(problems(schema, answer.json())))
