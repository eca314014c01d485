"""The client: engine selection, HTTP bodies, frames, JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine, frame
from hypothesis import given
from hypothesis import strategies as st

from onggi.client import codec, http
from onggi.client.endpoint import Endpoint, choose, read_config, unreadable_config
from onggi.client.engine import Engine, query_text
from onggi.client.errors import ClientError, Disconnected, EngineError, Unreachable
from onggi.client.frames import FrameDecoder

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    fake = FakeEngine(tmp_path)
    yield fake
    fake.close()


@given(JSON)
def test_json_is_json(value: object) -> None:
    assert json.loads(codec.encode(value)) == value
    assert codec.decode(json.dumps(value).encode()) == value
    assert codec.indent(value) == json.dumps(value, indent=4, ensure_ascii=False)


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', "1 2", "[1,]", "nul"])
def test_malformed_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON document|Expecting|Illegal"):
        codec.decode(text)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 5]), st.binary(max_size=40))), st.integers(1, 9))
def test_frames_survive_any_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in frames)
    decoder, seen = FrameDecoder(), dict.fromkeys((1, 2, 4, 5), b"")
    for at in range(0, len(stream), step):
        for kind, payload in decoder.feed(memoryview(stream[at : at + step])):
            seen[kind] += bytes(payload)
    for kind, data in seen.items():
        assert data == b"".join(payload for each, payload in frames if each == kind)


def test_a_header_of_no_frame_is_refused() -> None:
    with pytest.raises(ClientError):
        list(FrameDecoder().feed(memoryview(b"HTTP/1.1 400 Bad")))


def answer(raw: bytes) -> http.Response:
    near, far = socket.socketpair()
    with far:
        far.sendall(raw)
    try:
        return http.read_head(near)
    except ClientError:
        near.close()
        raise


def test_bodies_by_length_by_chunks_and_to_the_end() -> None:
    assert answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd").read() == b"abc"
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"
    )
    assert answer(chunked).read() == b"abcde"
    assert answer(b"HTTP/1.1 200 OK\r\n\r\nrest").read() == b"rest"
    assert answer(b"HTTP/1.1 204 No Content\r\n\r\n").read() == b""
    continued = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert answer(continued).read() == b"ok"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_answers_cut_short_are_noticed(raw: bytes) -> None:
    with pytest.raises(Disconnected):
        answer(raw).read()


def test_early_bytes_after_an_upgrade_are_kept() -> None:
    sock, early = answer(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nfirst").take_over()
    sock.close()
    assert early == b"first"


def test_an_upload_is_sent_in_chunks(engine: FakeEngine) -> None:
    engine.routes["POST /images/create"] = (200, {"status": "done"})
    client = Engine(Endpoint(engine.host), {})
    client.request("POST", "/images/create", {"fromSrc": "-"}, iter([b"a" * 100_000, b"", b"b"])).read()
    assert engine.requests[0].body == b"a" * 100_000 + b"b"


def test_an_engine_that_refuses_an_upload_early_is_heard(engine: FakeEngine) -> None:
    refused = threading.Event()

    def pieces() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 65536
            if refused.is_set():
                return

    listener = socket.socket(socket.AF_UNIX)
    path = engine.path.parent / "early.sock"
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 17\r\n\r\n" + b'{"message":"bad"}')
            refused.set()
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(EngineError, match="Error response from daemon: bad"):
        Engine(Endpoint(f"unix://{path}"), {}).request("POST", "/x", None, pieces())
    thread.join(30)
    listener.close()


def test_errors_of_the_engine_carry_its_words(engine: FakeEngine) -> None:
    engine.routes["GET /x"] = (409, {"message": "name taken"})
    engine.routes["GET /plain"] = (500, b"not json")
    client = Engine(Endpoint(engine.host), {})
    with pytest.raises(EngineError, match="Error response from daemon: name taken"):
        client.get("/x")
    with pytest.raises(EngineError, match="not json"):
        client.get("/plain")
    with pytest.raises(EngineError) as caught:
        client.get("/nowhere")
    assert caught.value.route_missing


def test_no_engine_and_long_paths(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="Is the docker daemon running"):
        Engine(Endpoint(f"unix://{tmp_path}/none"), {}).get("/x")
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s")[:100])
    listener.listen()
    (tmp_path / "s").rename(deep / "s")
    http.connect_unix(str(deep / "s")).close()
    listener.close()


def test_queries() -> None:
    assert query_text({"a": True, "b": None, "c": ["x y", "z"], "d": {"k": {"v": True}}, "e": 0}) == (
        "a=1&c=x%20y&c=z&d=%7B%22k%22%3A%7B%22v%22%3Atrue%7D%7D&e=0"
    )


def context(directory: Path, name: str, host: str) -> None:
    meta = directory / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_which_engine_is_chosen(tmp_path: Path) -> None:
    context(tmp_path, "there", "tcp://10.0.0.1:2000")
    env = {"DOCKER_CONFIG": str(tmp_path)}
    own = choose([], "", {}, env)
    assert own.own
    assert own.address == "/run/onggi/onggi.sock"
    assert choose([], "", {}, {**env, "ONGGI_EXEC_ROOT": "/x"}).address == "/x/onggi.sock"
    assert choose(["unix:///a"], "", {}, {**env, "DOCKER_HOST": "unix:///b"}).address == "/a"
    chosen = choose([], "", {}, {**env, "DOCKER_HOST": "unix:///b", "DOCKER_CONTEXT": "there"})
    assert (chosen.address, chosen.own) == ("/b", False)
    assert choose([], "", {}, {**env, "DOCKER_CONTEXT": "there"}).port == 2000
    assert choose([], "there", {}, {**env, "DOCKER_HOST": "unix:///b"}).address == "10.0.0.1"
    assert choose([], "default", {}, {**env, "DOCKER_HOST": "unix:///b"}).own
    (tmp_path / "config.json").write_text('{"currentContext": "there"}')
    assert choose([], "", {}, env).address == "10.0.0.1"
    with pytest.raises(ClientError, match=r"open .*/ca\.pem: no such file"):
        choose(["127.0.0.1"], "", {"tlsverify": "True"}, env)
    (tmp_path / "ca.pem").touch()
    assert choose(["127.0.0.1"], "", {"tlsverify": "True"}, env).port == 2376


def test_configuration_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"DOCKER_CONFIG": str(tmp_path)}
    assert (read_config(env), unreadable_config(env)) == ({}, "")
    path = tmp_path / "config.json"
    path.mkdir()
    with pytest.raises(ClientError, match=f"open {path}: is a directory"):
        read_config(env)

    def denied(*_arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.open", denied)
    assert read_config(env) == {}
    assert unreadable_config(env) == f"WARNING: Error loading config file: open {path}: permission denied"


@pytest.mark.parametrize(
    ("hosts", "context_name", "words"),
    [
        (["foo://bar"], "", "invalid bind address format: foo://bar"),
        (["unix:///a", "unix:///b"], "", "specify only one -H"),
        ([], "nosuch", 'context "nosuch": context not found'),
    ],
)
def test_what_cannot_be_chosen(tmp_path: Path, hosts: list[str], context_name: str, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        choose(hosts, context_name, {}, {"DOCKER_CONFIG": str(tmp_path)})
