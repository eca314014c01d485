"""The embedded registry over HTTP: framing, who is let in, the access log, and where it may listen."""

import asyncio
import base64
import hashlib
import json
import os
import socket
from contextlib import asynccontextmanager

import bcrypt
import pytest
from memory_registry import MemoryStorage

from onggi.api import registry, registry_site
from onggi.api.registry_site import Site
from onggi.errors import InvalidArgument, KernelError, Unavailable
from onggi.registry.server.htpasswd import Users
from onggi.registry.server.service import Registry

DEADLINE_S = 30
DATA = os.urandom(1 << 20)
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


@asynccontextmanager
async def connected(storage, users=None, local_only=False):
    """(site, reader, writer) of one connection."""
    ours, theirs = socket.socketpair()
    site = Site(Registry(storage, storage), users, local_only=local_only)
    await asyncio.get_running_loop().connect_accepted_socket(site.hosting.connection, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield site, reader, writer
    finally:
        writer.close()
        await site.close()


async def ask(reader, writer, request, bare=False):
    """(status, headers, body) of one request, whose blank line is added."""
    writer.write(request.encode() + b"\r\n\r\n")
    return await answer(reader, bare)


async def answer(reader, bare=False):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = b"" if bare else await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers, body


def run(scene):
    asyncio.run(scene())


@pytest.fixture
def storage():
    it = MemoryStorage()
    it.blobs["a", DIGEST] = DATA
    return it


def test_a_blob_has_its_length_and_the_connection_goes_on(storage):
    async def scene():
        async with connected(storage) as (_, reader, writer):
            for _ in range(2):
                status, headers, body = await ask(
                    reader, writer, f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: x"
                )
                assert (status, body) == (200, DATA)
                assert headers["docker-distribution-api-version"] == "registry/2.0"
                assert "transfer-encoding" not in headers
            status, headers, _ = await ask(
                reader, writer, f"HEAD /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: x", True
            )
            assert (status, headers["content-length"]) == (200, str(len(DATA)))
            status, headers, _ = await ask(reader, writer, "HEAD /v2/a/tags/list HTTP/1.1\r\nHost: x", True)
            assert (status, headers["content-type"]) == (200, "application/json")

    run(scene)


def test_upload_with_percent_and_go_ahead(storage):
    async def scene():
        async with connected(storage) as (_, reader, writer):
            digest = DIGEST.replace(":", "%3A")
            writer.write(
                f"POST /v2/b/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\n"
                f"Expect: 100-continue\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
            )
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(DATA)
            status, headers, _ = await answer(reader)
            assert (status, headers["location"]) == (201, f"/v2/b/blobs/{DIGEST}")

    run(scene)


def test_chunked_upload(storage):
    async def scene():
        async with connected(storage) as (_, reader, writer):
            _, headers, _ = await ask(
                reader, writer, "POST /v2/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0"
            )
            location = headers["location"]
            writer.write(
                f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            )
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(DATA), DATA))
            assert (await answer(reader))[0] == 202
            put = f"PUT {location}?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 0"
            assert (await ask(reader, writer, put))[0] == 201

    run(scene)


def test_a_body_that_does_not_come(storage, monkeypatch):
    monkeypatch.setattr(registry_site, "STALL_S", 0.05)

    async def scene():
        async with connected(storage) as (_, reader, writer):
            status, _, body = await ask(
                reader,
                writer,
                f"POST /v2/b/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 9",
            )
            assert status == 408
            assert json.loads(body)["errors"][0]["code"] == "UNKNOWN"
            assert storage.uploads[0].cancelled

    run(scene)


def test_a_body_that_trickles(storage, monkeypatch):
    monkeypatch.setattr(registry_site, "STALL_S", 0.2)

    async def scene():
        async with connected(storage) as (_, reader, writer):
            post = f"POST /v2/b/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999"
            writer.write(f"{post}\r\n\r\n".encode())
            answered = asyncio.ensure_future(answer(reader))
            while not answered.done():
                writer.write(b"x")
                await asyncio.sleep(0.01)
            assert answered.result()[0] == 408

    run(scene)


def test_a_client_that_takes_no_bytes_is_cut(storage, monkeypatch):
    monkeypatch.setattr(registry_site, "STALL_S", 0.05)
    read = []

    async def endless(start, end):
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            read.append("closed")

    async def scene():
        async with connected(storage) as (site, _, writer):
            blob = await storage.blob("a", DIGEST)

            async def large(*_):
                return blob._replace(size=1 << 40, read=endless)

            storage.blob = large
            writer.write(f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while site.hosting.connections:
                await asyncio.sleep(0.01)
            assert read == ["closed"]

    run(scene)


def test_a_client_that_leaves_amid_its_chunk_may_come_back(storage):
    async def scene():
        async with connected(storage) as (site, reader, writer):
            _, headers, _ = await ask(
                reader, writer, "POST /v2/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0"
            )
            writer.write(
                f"PATCH {headers['location']} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode()
            )
            writer.close()
            while site.hosting.connections or site.hosting.busy:
                await asyncio.sleep(0.01)
            assert storage.uploads[0].offset == 4
            assert not storage.uploads[0].cancelled

    run(scene)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (KernelError("write", 28, "/x"), 500, "UNKNOWN"), (Unavailable("down"), 503, "UNKNOWN"),
        (RuntimeError("bug"), 500, "UNKNOWN"), (InvalidArgument("odd"), 400, "UNKNOWN"),
    ],
)  # fmt: skip
def test_errors_of_the_engine(storage, error, status, code):
    async def fail(*_):
        raise error

    async def scene():
        storage.blob = fail
        async with connected(storage) as (_, reader, writer):
            answered, _, body = await ask(reader, writer, f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: x")
            assert (answered, json.loads(body)["errors"][0]["code"]) == (status, code)

    run(scene)


def test_what_is_no_request_gets_an_answer_too(storage):
    async def scene():
        async with connected(storage) as (_, reader, writer):
            status, _, body = await ask(reader, writer, "GET /v2/\x01 HTTP/1.1")
            assert status == 400
            assert json.loads(body)["errors"]

    run(scene)


def users():
    return Users("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode())


def test_passwords(storage):
    async def scene():
        async with connected(storage, users()) as (_, reader, writer):
            for credentials, wanted in [
                (b"", 401),
                (b"ann:wrong", 401),
                (b"ann:secret", 200),
                (b"ann:secret", 200),
            ]:
                header = (
                    f"\r\nAuthorization: Basic {base64.b64encode(credentials).decode()}"
                    if credentials
                    else ""
                )
                for path in ("/v2/", f"/v2/a/blobs/{DIGEST}", "/v2/_catalog"):
                    status, headers, body = await ask(
                        reader, writer, f"GET {path} HTTP/1.1\r\nHost: x{header}"
                    )
                    assert status == wanted
                    if wanted == 401:
                        assert headers["www-authenticate"].startswith("basic realm=")
                        assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"

    run(scene)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:5000", 200), ("localhost", 200), ("[::1]:5000", 200), ("127.8.8.8", 200),
        ("evil.example:5000", 403), ("", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("192.0.2.1:5000", 403),
    ],
)  # fmt: skip
def test_web_pages_do_not_reach_loopback(storage, host, status):
    """DNS rebinding: a page of evil.example whose name now means 127.0.0.1."""

    async def scene():
        async with connected(storage, local_only=True) as (_, reader, writer):
            assert (await ask(reader, writer, f"GET /v2/ HTTP/1.1\r\nHost: {host}"))[0] == status

    run(scene)


def test_access_log(storage, monkeypatch):
    async def scene():
        async with connected(storage) as (site, reader, writer):
            lines = site.lines()
            await ask(
                reader, writer, "GET /v2/a/manifests/x?y=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: t\x80\xff\t1"
            )
            line = await anext(lines)
            assert " 404 " in line
            assert "GET /v2/a/manifests/x?y=1 t" in line
            assert line.isascii()
            assert line.isprintable()
            await ask(reader, writer, f"GET /{'x' * 10_000} HTTP/1.1\r\nHost: x")
            assert len(await anext(lines)) <= 1000
            await lines.aclose()

    run(scene)


def test_access_log_that_nobody_reads_is_bounded(storage):
    async def scene():
        async with connected(storage) as (site, reader, writer):
            for _ in range(1100):
                await ask(reader, writer, "GET /v2/ HTTP/1.1\r\nHost: x")
            assert len(site._lines) == 1000

    run(scene)


def test_closing_forgets_uploads(storage):
    async def scene():
        async with connected(storage) as (_, reader, writer):
            await ask(reader, writer, "POST /v2/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0")
        assert storage.uploads[0].cancelled

    run(scene)


# options


class Registries:
    """What the engine offers: one storage, and a mirror that is the same to be read."""

    def __init__(self, storage):
        self.storage, self.open = storage, []

    @asynccontextmanager
    async def mirror(self, url, auth):
        self.open.append((url, auth))
        try:
            yield self.storage
        finally:
            self.open.clear()


@pytest.mark.parametrize("address", ["0.0.0.0:5000", ":5000", "[::]:5000", "192.0.2.1:1", "example.org:5000"])
def test_beyond_loopback_tls_and_passwords_are_needed(address):
    tls = {"Certificate": "/c", "Key": "/k"}
    for less in ({}, tls, {"Htpasswd": "/h"}):
        with pytest.raises(InvalidArgument, match="without TLS and passwords"):
            registry.parse_options({"Address": address, **less})
    for enough in ({**tls, "Htpasswd": "/h"}, {"Insecure": True}):
        assert registry.parse_options({"Address": address, **enough}).address == address


def test_loopback_needs_nothing():
    assert registry.parse_options({}).address == "127.0.0.1:5000"
    for address in ("localhost:5000", "127.0.0.1:0", "[::1]:5000"):
        registry.parse_options({"Address": address})


@pytest.mark.parametrize(
    "body",
    [
        [], {"Adress": ":1"}, {"Address": 5000}, {"Address": "5000"}, {"Address": "127.0.0.1:x"},
        {"Address": "127.0.0.1:65536"}, {"Address": "127.0.0.1:-1"}, {"Certificate": "/c"}, {"Key": "/k"},
        {"ReadOnly": "yes"}, {"Address": "127.0.0.1:\u0665"}, {"Address": ""},
    ],
)  # fmt: skip
def test_malformed_options(body):
    with pytest.raises(InvalidArgument):
        registry.parse_options(body)


def refusal(**options):
    async def scene():
        asked = registry.parse_options({"Address": "127.0.0.1:0", **options})
        stream = registry.serve(Registries(MemoryStorage()), asked, "")
        with pytest.raises(InvalidArgument) as refused:
            await anext(stream)
        return str(refused.value)

    return asyncio.run(scene())


def test_files_are_small_regular_and_absolute(tmp_path):
    assert "not an absolute path" in refusal(Htpasswd="users")
    assert "no such file" in refusal(Htpasswd=str(tmp_path / "none"))
    assert "no regular file" in refusal(Htpasswd="/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in refusal(Certificate=str(tmp_path / "fifo"), Key=str(tmp_path / "fifo"))
    (tmp_path / "large").write_bytes(b"#" * ((1 << 20) + 1))
    assert "larger than" in refusal(Htpasswd=str(tmp_path / "large"))
    assert "larger than" in refusal(Certificate=str(tmp_path / "large"), Key="/dev/null")
    (tmp_path / "empty").touch()
    assert "could not load TLS" in refusal(Certificate=str(tmp_path / "empty"), Key=str(tmp_path / "empty"))


def test_serving_on_a_port_until_closed(storage):
    async def scene():
        options = registry.parse_options({"Address": "127.0.0.1:0", "ReadOnly": True})
        stream = registry.serve(Registries(storage), options, "")
        address = (await anext(stream))["Address"]
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert (await ask(reader, writer, f"GET /v2/ HTTP/1.1\r\nHost: {address}"))[0] == 200
        push = f"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0"
        status, _, body = await ask(reader, writer, push)
        assert (status, json.loads(body)["errors"][0]["message"]) == (405, "this registry is read-only")
        assert "127.0.0.1 200 " in (await anext(stream))["Line"]
        await stream.aclose()
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))

    run(scene)


def test_a_mirror_takes_no_pushes_and_is_closed(storage):
    async def scene():
        offered = Registries(storage)
        options = registry.parse_options({"Address": "127.0.0.1:0", "Mirror": "https://up.example"})
        stream = registry.serve(offered, options, "secret")
        address = (await anext(stream))["Address"]
        assert offered.open == [("https://up.example", "secret")]
        reader, writer = await asyncio.open_connection(*address.split(":"))
        assert (await ask(reader, writer, f"GET /v2/a/blobs/{DIGEST} HTTP/1.1\r\nHost: {address}"))[2] == DATA
        push = f"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0"
        status, _, body = await ask(reader, writer, push)
        message = json.loads(body)["errors"][0]["message"]
        assert (status, message) == (405, "this registry mirrors https://up.example; push there")
        await stream.aclose()
        assert offered.open == []
        writer.close()

    run(scene)
