"""The API over a real socket with fake services: the docker CLI, docker-py and raw HTTP."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading

import docker
import pytest
from fake_services import ID, FakeEngine

from onggi.api.server import Server

DEADLINE_S = 30
needs_docker_cli = pytest.mark.skipif(not shutil.which("docker"), reason="needs the docker CLI")


class Serving:
    """A server in a thread of its own."""

    def __init__(self, path):
        self.path, self.fake = path, FakeEngine()
        self.ready, self.loop = threading.Event(), None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.thread.start()
        assert self.ready.wait(DEADLINE_S)

    async def _serve(self):
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        self.server = Server(self.fake)
        await self.server.serve_unix(self.path)
        self.ready.set()
        await self.stop.wait()
        await self.server.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(DEADLINE_S)

    def cli(self, *arguments, input=None, **options):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "DOCKER_HOST": f"unix://{self.path}",
        }
        return subprocess.run(
            ["docker", *arguments],
            input=input,
            capture_output=True,
            timeout=DEADLINE_S,
            env=environment,
            **options,
        )

    def http(self, request, body=b""):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(self.path)
            lines = "Host: x\r\nConnection: close\r\n" + (
                "Content-Type: application/json\r\n" if body else ""
            )
            head = f"{request} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
            sock.sendall(head.encode() + body)
            data = b""
            while piece := sock.recv(65536):
                data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), rest


@pytest.fixture
def served(tmp_path):
    serving = Serving(str(tmp_path / "run" / "onggi.sock"))
    yield serving
    serving.close()
    assert not os.path.exists(serving.path)


def test_socket_is_private(served):
    assert os.stat(served.path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(served.path)).st_mode & 0o777 == 0o700


@needs_docker_cli
def test_cli_run_with_half_close(served):
    done = served.cli("run", "-i", "--name", "one", "busybox", "cat", input=b"hi\n")
    assert (done.stdout, done.stderr, done.returncode) == (b"out:hi\n", b"err\n", 7)
    assert served.fake.containers.calls[0][1] == "one"


@needs_docker_cli
def test_cli_unknown_image(served):
    done = served.cli("run", "nosuch")
    assert done.returncode == 125
    assert b"Unable to find image 'nosuch:latest' locally" in done.stderr
    assert b"pull access denied for nosuch, repository does not exist" in done.stderr


@needs_docker_cli
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ps", "-a", "--filter", "name=o"], 0, b"Up 1 second"),
        (["version"], 0, b"API version:      1.51 (minimum version 1.24)"),
        (["info"], 0, b"Containers: 1"),
        (["stop", "-t", "3", "one"], 0, b"one"),
        (["stop", "two"], 1, b"No such container: two"),
        (["rm", "-f", "one"], 0, b"one"),
        (["exec", "one", "true"], 3, b"err"),
        (["top", "one", "-o", "pid"], 0, b"-o pid"),
        (["wait", "two"], 1, b"No such container: two"),
        (["logs", "one"], 0, b"to stdout"),
        (["kill", "one"], 1, b"is not running"),
        (["events", "--since", "1s", "--until", "2000-01-01"], 1, b"cannot be after `until` time"),
        (["network", "ls"], 0, b"bridge"),
        (["volume", "ls"], 0, b"VOLUME NAME"),
        (["volume", "create", "v1"], 0, b"v1"),
        (["volume", "update", "--availability", "drain", "v1"], 1, b"can only update cluster volumes"),
        (["node", "ls"], 1, b"This node is not a swarm manager."),
        (["cp", "one:/x", "-"], 1, b""),
        (["system", "prune", "-f"], 0, b"Total reclaimed space: 0B"),
        (["builder", "prune", "-f"], 0, b"Total"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_cli_commands(served, arguments, code, words):
    if arguments[0] == "exec":
        served.fake.containers.running = True
    done = served.cli(*arguments, input=b"")
    assert done.returncode == code, done
    assert words in done.stdout + done.stderr


@needs_docker_cli
def test_cli_import_streams_the_body(served):
    size = 5_000_000
    done = served.cli("import", "--change", "CMD x", "-", "small:1", input=b"x" * size)
    assert f"{size} bytes of small:1 ['CMD x']".encode() in done.stdout


@needs_docker_cli
def test_cli_logs_follow_ends_with_the_client(served):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": f"unix://{served.path}"}
    child = subprocess.Popen(
        ["docker", "logs", "-f", "-t", "one"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with child:
        assert child.stdout.readline() == b"1970-01-01T00:00:01.000000001Z to stdout\n"
        child.kill()
    client = docker.DockerClient(base_url=f"unix://{served.path}", timeout=DEADLINE_S)
    while served.server.busy:
        client.ping()
        if served.server.busy <= 1:
            break
    client.close()


def test_docker_py(served):
    client = docker.DockerClient(base_url=f"unix://{served.path}", timeout=DEADLINE_S)
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.51"
    assert client.api.logs("one") == b"to stdout\nto stderr\n"
    assert client.api.logs("one", stderr=False, timestamps=True).startswith(b"1970-01-01T00:00:01.000000001Z")
    container = client.api.create_container("busybox", "cat")
    assert container["Id"] == ID
    sock = client.api.attach_socket("one", {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    sock._sock.sendall(b"hi")
    sock._sock.shutdown(socket.SHUT_WR)
    with sock._sock as stream:
        data = b""
        while piece := stream.recv(100):
            data += piece
    assert data == b"\x01\0\0\0\0\0\0\x06out:hi" + b"\x02\0\0\0\0\0\0\x04err\n"
    sock.close()
    assert client.api.wait("one")["StatusCode"] == 7
    with pytest.raises(docker.errors.NotFound, match="No such container: two"):
        client.api.inspect_container("two")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nosuch")
    client.close()


def test_docker_py_events(served):
    client = docker.DockerClient(base_url=f"unix://{served.path}", timeout=DEADLINE_S)
    events = client.events(decode=True, filters={"type": "container"})
    client.api.start("one")
    assert next(events)["Action"] == "start"
    events.close()
    client.close()


TOO_OLD = (
    "client version 1.23 is too old. Minimum supported API version is 1.24, "
    "please upgrade your client to a newer version"
)
TOO_NEW = "client version 1.99 is too new. Maximum supported API version is 1.51"
NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)
NO_URL = "import from a URL is not supported: fetch http://x/y and import the file"


@pytest.mark.parametrize(
    ("request_line", "status", "message"),
    [
        ("GET /v1.23/info", 400, TOO_OLD),
        ("GET /v1.99/info", 400, TOO_NEW),
        ("GET /v1.51.1/info", 400, TOO_NEW.replace("1.99", "1.51.1")),
        ("GET /nosuch", 404, "page not found"),
        ("PUT /info", 404, "page not found"),
        ("GET /containers/json?filters=x", 400, "invalid filter"),
        ("GET /containers/json?limit=x", 400, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("GET /containers/one/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("POST /containers/one/resize?h=a&w=1", 400, 'invalid resize height "a": invalid syntax'),
        ("POST /containers/one/resize?h=-1&w=1", 400, 'invalid resize height "-1": value out of range'),
        ("POST /containers/create", 400, "invalid JSON: got EOF while reading request body"),
        ("GET /containers/two/attach/ws", 404, "No such container: two"),
        ("GET /containers/one/attach/ws", 400, "not websocket protocol"),
        ("POST /images/create?fromSrc=http://x/y", 501, NO_URL),
        ("GET /services", 503, NO_SWARM),
    ],
)
def test_refusals(served, request_line, status, message):
    got, head, body = served.http(request_line)
    assert (got, json.loads(body)) == (status, {"message": message})
    assert "Api-Version: 1.51" in head


def test_malformed_json(served):
    status, _, body = served.http("POST /v1.51/containers/create", b'{"Image": ')
    assert status == 400
    assert json.loads(body)["message"].startswith("invalid JSON: ")


def test_old_and_new_filters(served):
    for text in ('{"name":["a","b"]}', '{"name":{"a":true,"b":true,"c":false}}'):
        assert served.http(f"GET /v1.24/containers/json?all=1&filters={text}".replace('"', "%22"))[0] == 200
        assert served.fake.containers.calls[-1] == ("list", True, 0, {"name": ["a", "b"]})


def test_shapes_of_old_versions(served):
    assert json.loads(served.http("GET /v1.24/info")[2])["SecurityOptions"] == ["seccomp"]
    served.http("POST /v1.24/containers/create", b'{"Image": "busybox", "HostConfig": {"AutoRemove": true}}')
    assert served.fake.containers.calls[-1][2]["HostConfig"] == {
        "IpcMode": "shareable",
        "CgroupnsMode": "host",
    }


def test_ping(served):
    status, head, body = served.http("HEAD /_ping")
    assert (status, body) == (200, b"")
    for line in ("Builder-Version: 1", "Docker-Experimental: false", "Ostype: linux", "Swarm: inactive"):
        assert line in head
    assert served.http("GET /_ping")[2] == b"OK"


def test_websocket_attach(served):
    served.http("POST /containers/create", b'{"Image": "busybox"}')
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(served.path)
        sock.sendall(
            b"GET /containers/one/attach/ws?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary, text\r\n\r\n"
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        assert b"\r\nSec-WebSocket-Protocol: binary\r\n" in data
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in data  # RFC 6455 section 1.3
        mask = b"\x01\x02\x03\x04"
        sock.sendall(b"\x82\x82" + mask + bytes(a ^ b for a, b in zip(b"hi", mask, strict=False)))
        sock.sendall(b"\x88\x80" + mask)
        data = b""
        while piece := sock.recv(4096):
            data += piece
    assert b"out:hi" in data
    assert data.endswith(b"\x88\x02\x03\xe8")


def test_options_of_any_path(served):
    assert served.http("OPTIONS /v1.51/nosuch")[0] == 200
