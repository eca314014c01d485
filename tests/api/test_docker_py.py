"""docker-py and raw requests against a real engine."""

import contextlib
import json
import os
import platform
import secrets
import socket
import struct

import docker
import pytest

from engines import DEADLINE_S, wait_until

SLEEP = ["sleep", "1000"]


def make(client, name, command, **options):
    host_config = client.api.create_host_config(network_mode="none")
    return client.api.create_container("busybox", command, name=name, host_config=host_config, **options)[
        "Id"
    ]


def frames(sock):
    """(type, payload) of docker's frames to the end of the stream."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    while data:
        kind, size = struct.unpack_from(">BxxxI", data)
        yield kind, data[8 : 8 + size]
        data = data[8 + size :]


def raw(engine, head, body=b""):
    """Send one request; return the socket and the answer's head."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)
    sock.connect(str(engine.socket))
    sock.sendall(f"{head}\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode())
    sock.sendall((b"Content-Type: application/json\r\n" if body else b"") + b"\r\n" + body)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(1)
        assert piece, data
        data += piece
    return sock, data


def test_several_attached_before_the_start_see_everything(client, name):
    make(client, name, ["sh", "-c", "echo out; echo err >&2"])
    wanted = {"stdout": 1, "stderr": 1, "stream": 1}
    sockets = [client.api.attach_socket(name, wanted) for _ in range(3)]
    client.api.start(name)
    for one in sockets:
        with one._sock as sock:
            assert sorted(frames(sock)) == [(1, b"out\n"), (2, b"err\n")]
        one.close()


def test_wait_conditions(client, name):
    make(client, name, ["sh", "-c", "exit 3"])
    assert client.api.wait(name)["StatusCode"] == 0
    client.api.start(name)
    assert client.api.wait(name, condition="not-running")["StatusCode"] == 3
    with pytest.raises(docker.errors.APIError, match="invalid condition"):
        client.api.wait(name, condition="sometimes")


def test_start_and_stop_twice_is_not_modified(engine, client, name):
    make(client, name, SLEEP)
    client.api.start(name)
    for verb in ("start", "stop?t=0", "stop?t=0"):
        sock, head = raw(engine, f"POST /containers/{name}/{verb} HTTP/1.1")
        sock.close()
    assert head.startswith(b"HTTP/1.1 304 ")


def test_exec_stream_and_code(client, name):
    make(client, name, SLEEP)
    client.api.start(name)
    exec_id = client.api.exec_create(name, ["sh", "-c", "echo out; echo err >&2; exit 4"])["Id"]
    assert client.api.exec_start(exec_id, demux=True) == (b"out\n", b"err\n")
    assert client.api.exec_inspect(exec_id)["ExitCode"] == 4


def test_stats(client, name):
    make(client, name, SLEEP)
    client.api.start(name)
    sample = client.api.stats(name, stream=False)
    assert sample["name"] == f"/{name}"
    assert sample["precpu_stats"]["system_cpu_usage"] < sample["cpu_stats"]["system_cpu_usage"]
    assert sample["memory_stats"]["usage"] > 0
    samples = client.api.stats(name, decode=True)
    assert next(samples)["id"] == next(samples)["id"]
    samples.close()
    assert sample["blkio_stats"].keys() >= {"io_service_bytes_recursive", "io_queue_recursive"}
    client.api.stop(name, timeout=0)
    assert client.api.stats(name, stream=False)["cpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_without_an_upgrade_a_stream_is_called_raw(client, engine, name):
    """Also where it has docker's headers, as with dockerd."""
    make(client, name, SLEEP)
    client.api.start(name)
    sock, answer = raw(engine, f"POST /containers/{name}/attach?stream=1&stdout=1 HTTP/1.1")
    sock.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: application/vnd.docker.raw-stream\r\n" in answer


def test_a_websocket_that_closes_is_answered(client, engine, name):
    """Though the container goes on: a browser waits for that."""
    make(client, name, ["sh", "-c", "while read x; do echo got $x; done"], stdin_open=True)
    client.api.start(name)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(engine.socket))
        sock.sendall(
            f"GET /containers/{name}/attach/ws?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            + b"\x82\x83\0\0\0\0hi\n\x88\x80\0\0\0\0"
        )
        data = b""
        while piece := sock.recv(4096):
            data += piece
    assert b"got hi" in data
    assert data.endswith(b"\x88\x02\x03\xe8")


@pytest.mark.parametrize("tty", [False, True])
def test_who_ends_an_input_that_goes_on_leaves_with_it(client, name, tty):
    """As with dockerd: its stream ends, the program reads on from the next client; terminals never end."""
    command = ["sh", "-c", "while read x; do echo got $x; done"]
    config = client.api.create_container_config("busybox", command, stdin_open=True, tty=tty)
    client.api.create_container_from_config({**config, "StdinOnce": tty}, name)
    client.api.start(name)
    for word in (b"one", b"two"):
        attached = client.api.attach_socket(name, {"stdin": 1, "stdout": 1, "stream": 1})
        with attached._sock as sock:
            sock.settimeout(DEADLINE_S)
            sock.sendall(word + b"\n")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
        attached.close()
    wait_until(lambda: b"got two" in (said := client.api.logs(name)) and b"got one" in said, "both words")
    assert client.api.inspect_container(name)["State"]["Running"]


def test_who_ends_the_input_of_an_exec(client, name):
    """Without a terminal its program sees the end; with one the stream ends, as with dockerd."""
    make(client, name, SLEEP)
    client.api.start(name)
    for tty in (False, True):
        command = ["sh", "-c", "sleep 1000" if tty else "cat; echo end"]
        exec_id = client.api.exec_create(name, command, stdin=True, tty=tty)["Id"]
        started = client.api.exec_start(exec_id, tty=tty, socket=True)
        with started._sock as sock:
            sock.settimeout(DEADLINE_S)
            sock.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: sock.recv(4096), b""))
        started.close()
        assert said.endswith(b"" if tty else b"end\n")
        assert client.api.exec_inspect(exec_id)["Running"] == tty


def test_a_name_that_is_none(client, name):
    make(client, name, SLEEP)
    with pytest.raises(docker.errors.APIError, match=r"allocating new name: Invalid container name \(/-x\)"):
        client.api.rename(name, "-x")


def test_names_and_prefixes(client, name):
    container_id = make(client, name, SLEEP)
    assert client.api.inspect_container(container_id[:12])["Name"] == f"/{name}"
    with pytest.raises(docker.errors.APIError, match=f'The container name "/{name}" is already in use'):
        make(client, name, SLEEP)
    with pytest.raises(docker.errors.NotFound, match="No such container: nosuch"):
        client.api.inspect_container("nosuch")


def test_unknown_image(client):
    with pytest.raises(docker.errors.ImageNotFound, match="No such image: nosuch:latest"):
        client.api.create_container("nosuch")


def test_a_platform_however_it_is_spelled(client):
    """SWE-bench asks for ``linux/x86_64``; refusals name the platform as docker does."""
    machine = platform.machine()
    for asked in (f"linux/{machine}", machine, f"Linux/{machine.upper()}", "linux"):
        client.containers.create("busybox", platform=asked).remove()
    with pytest.raises(docker.errors.NotFound, match=r"the specified platform \(linux/386\)"):
        client.containers.create("busybox", platform="linux/i386")
    with pytest.raises(docker.errors.APIError, match="cannot parse platform specifier") as caught:
        client.containers.create("busybox", platform="linux/a/b/c")
    assert caught.value.status_code == 400


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.40", "1.44", "1.51"])
def test_versions(engine, version):
    client = docker.DockerClient(base_url=engine.url, version=version, timeout=DEADLINE_S)
    name = f"v{secrets.token_hex(4)}"
    make(client, name, ["true"])
    client.api.start(name)
    assert client.api.wait(name)["StatusCode"] == 0
    assert client.api.containers(all=True, filters={"name": name})[0]["Names"] == [f"/{name}"]
    client.api.remove_container(name)
    client.close()


def run_body(command, **more):
    host_config = {"NetworkMode": "none", "AutoRemove": True}
    config = {
        "Image": "busybox",
        "Cmd": command,
        "OpenStdin": True,
        "StdinOnce": True,
        "HostConfig": host_config,
    }
    return json.dumps({"Name": "", "Config": config, "Wait": True, **more}).encode()


def test_private_run_in_one_round_trip(engine, client):
    attach = {"Stdin": True, "Stdout": True, "Stderr": True}
    body = run_body(["sh", "-c", "cat; echo err >&2; exit 5"], Attach=attach)
    head = "POST /onggi/v1/run HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp"
    sock, answer = raw(engine, head, body)
    with sock:
        assert answer.startswith(b"HTTP/1.1 101 UPGRADED")
        sock.sendall(b"input")
        sock.shutdown(socket.SHUT_WR)
        seen = list(frames(sock))
    assert [kind for kind, _ in seen if kind in (1, 2)] in ([1, 2], [2, 1])
    assert dict(seen)[1] == b"input"
    status = json.loads(dict(seen)[4])
    assert (seen[-1][0], status["StatusCode"]) == (4, 5)
    assert client.api.containers(all=True, filters={"id": status["Id"]}) == []


def test_private_run_without_streams(engine):
    sock, answer = raw(
        engine, "POST /onggi/v1/run HTTP/1.1\r\nConnection: close", run_body(["sh", "-c", "exit 6"])
    )
    with sock:
        data = b""
        while piece := sock.recv(65536):
            data += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(data)["StatusCode"] == 6


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", b"400"),
        (b"[]", b"400"),
        (b'{"Image": 5}', b"400"),
        (b'{"Image": "nosuch"}', b"404"),
        (b"{}", b"400"),
    ],
)
def test_bad_bodies_leave_nothing(engine, client, body, status):
    def there():
        return {it["Id"] for it in client.api.containers(all=True)}

    before = there()
    sock, answer = raw(engine, "POST /containers/create HTTP/1.1", body)
    sock.close()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert there() <= before


def test_ten_megabytes_of_headers(engine, client):
    filler = "\r\n".join(f"X-{number}: {'a' * 990}" for number in range(10_000))
    sock = socket.socket(socket.AF_UNIX)
    with sock:
        sock.settimeout(DEADLINE_S)
        sock.connect(str(engine.socket))
        with contextlib.suppress(BrokenPipeError):  # refused, it is not read for ever
            sock.sendall(f"GET /info HTTP/1.1\r\nHost: x\r\n{filler}\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 431 ")
    assert client.ping()


def test_clients_that_go_leave_no_descriptor(engine, client, name):
    make(client, name, ["sh", "-c", "echo begun; exec sleep 1000"])
    client.api.start(name)
    directory = f"/proc/{engine.process.pid}/fd"
    client.ping()
    before = len(os.listdir(directory))
    requests = (
        f"GET /containers/{name}/logs?follow=1&stdout=1 HTTP/1.1",
        f"POST /containers/{name}/wait HTTP/1.1",
        f"GET /containers/{name}/stats HTTP/1.1",
        "GET /events HTTP/1.1",
        f"POST /containers/{name}/attach?stream=1&stdout=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp",
    )
    for request in requests * 4:
        sock, _ = raw(engine, request)
        sock.close()
    wait_until(lambda: len(os.listdir(directory)) <= before, "descriptors of clients that went")


def test_who_listens_for_events_is_counted(engine, client):
    def listeners():
        return client.info()["NEventsListener"]

    wait_until(lambda: listeners() == 0, "those who listened before have gone")
    open_ones = [raw(engine, "GET /events HTTP/1.1")[0] for _ in range(2)]
    assert listeners() == 2
    for sock in open_ones:
        sock.close()
    wait_until(lambda: listeners() == 0, "both are gone")


def test_a_client_that_goes_in_the_middle_of_an_import(engine, client):
    before = client.api.images()
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(engine.socket))
    sock.sendall(
        b"POST /images/create?fromSrc=-&repo=half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    )
    sock.sendall(b"\0" * 100_000)
    sock.close()
    ingest = engine.data_root / "ingest"
    wait_until(lambda: not ingest.exists() or not list(ingest.iterdir()), "half an import")
    assert client.api.images() == before
