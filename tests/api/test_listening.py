"""Where an engine listens: a group's socket, tcp with client certificates alone, and Prometheus' metrics."""

import contextlib
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from docker_registry import free_port
from engines import BOOT, DEADLINE_S, ONGGI, engine_at, wait_until

TLS = Path(__file__).parents[1] / "unit/tls"
FILES = [f"--tlscacert={TLS}/ca.pem", f"--tlscert={TLS}/server.pem", f"--tlskey={TLS}/server.pem"]


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """An engine that listens everywhere; its ports."""
    directory = tmp_path_factory.mktemp("listening")
    port, metrics = free_port(), free_port()
    options = [f"--host=tcp://127.0.0.1:{port}", f"--host=unix://{directory}/shared.sock", "--group=29"]
    options += ["--tlsverify", *FILES, f"--metrics-addr=127.0.0.1:{metrics}"]
    with engine_at(directory, *options) as engine:
        yield engine, port, metrics


def docker(engine, port, *flags):
    return subprocess.run(
        ["docker", "-H", f"tcp://127.0.0.1:{port}", *flags, "version", "--format", "{{.Server.APIVersion}}"],
        capture_output=True, timeout=DEADLINE_S, env=engine.environment,
    )  # fmt: skip


def answered(port, context):
    """Whether the engine says a word to a client without a certificate."""
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain,
        contextlib.suppress(OSError),
        context.wrap_socket(plain, server_hostname="localhost") as stream,
    ):
        stream.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b"HTTP" in stream.recv(4096)
    return False


def test_tcp_is_for_clients_with_a_certificate(listening):
    engine, port, _ = listening
    flags = ["--tlsverify", f"--tlscacert={TLS}/ca.pem"]
    own = [f"--tlscert={TLS}/client.pem", f"--tlskey={TLS}/client.pem"]
    done = docker(engine, port, *flags, *own)
    assert done.stdout == b"1.51\n", done
    assert docker(engine, port, *flags, "--tlscert=/nosuch", "--tlskey=/nosuch").returncode != 0
    assert b"Client sent an HTTP request to an HTTPS server." in docker(engine, port).stderr
    assert not answered(port, ssl.create_default_context(cafile=str(TLS / "ca.pem")))
    ours = engine.onggi("-H", f"tcp://127.0.0.1:{port}", *flags, *own, "ps")
    assert ours.stdout.startswith(b"CONTAINER ID"), ours


@pytest.mark.parametrize("command", ["onggi", "docker"])
def test_streams_go_through_tls(listening, command):
    """Both ways, with the end of each; more than any buffer holds."""
    engine, port, _ = listening
    program = ONGGI if command == "onggi" else ["docker"]
    files = [f"--tlscacert={TLS}/ca.pem", f"--tlscert={TLS}/client.pem", f"--tlskey={TLS}/client.pem"]
    words = ["run", "-i", "--rm", "--network", "none", "busybox", "cat"]
    data = os.urandom(3_000_000)
    done = subprocess.run(
        [*program, "-H", f"tcp://127.0.0.1:{port}", "--tlsverify", *files, *words],
        input=data, capture_output=True, timeout=DEADLINE_S, env=engine.environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout == data) == (0, b"", True)


def test_the_group_may_use_named_sockets(listening):
    engine, _, _ = listening
    shared, own = os.stat(engine.directory / "shared.sock"), os.stat(engine.socket)
    assert (shared.st_gid, stat.S_IMODE(shared.st_mode)) == (29, 0o660)
    assert (own.st_gid, stat.S_IMODE(own.st_mode)) == (0, 0o600)
    program = f"import os; os.setgroups([]); os.setgid(29); os.setuid(1000); {BOOT}"
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        program,
        "-H",
        f"unix://{engine.directory}/shared.sock",
        "ps",
    ]
    for directory in (engine.directory, *engine.directory.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o001)
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, env=engine.environment)
    assert done.stdout.startswith(b"CONTAINER ID"), done


LINE = re.compile(r"# (HELP|TYPE) \w+ .+|\w+(\{[^{}]*\})? [0-9.e+-]+")


def fetched(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=DEADLINE_S) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def figures(port):
    text, kind = fetched(f"http://127.0.0.1:{port}/metrics")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert [line for line in text.splitlines() if not LINE.fullmatch(line)] == []
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    return {name: float(value) for name, value in pairs}


def test_metrics(listening):
    engine, _, port = listening
    states = [f'engine_daemon_container_states_containers{{state="{it}"}}' for it in ("running", "stopped")]
    wait_until(lambda: not any(figures(port)[it] for it in states), "the containers of other tests to go")
    before = figures(port)
    engine.docker("create", "--name", "counted", "busybox", "true", check=True)
    after = figures(port)
    for name, more in (
        ('engine_daemon_container_states_containers{state="stopped"}', 1),
        ('engine_daemon_container_actions_seconds_count{action="create"}', 1),
        ('engine_daemon_container_actions_seconds_bucket{action="create",le="+Inf"}', 1),
        ("engine_daemon_events_total", 1),
        ('engine_daemon_container_states_containers{state="running"}', 0),
    ):
        assert after[name] - before[name] == more, name
    assert after["process_open_fds"] > 3
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetched(f"http://127.0.0.1:{port}/info")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-H", "tcp://127.0.0.1:0"], "refusing to serve tcp://127.0.0.1:0 without client certificates"),
        (["-H", "tcp://127.0.0.1:0", "--tls"], "tls without client certificates is not supported"),
        (
            ["-H", "tcp://127.0.0.1:0", "--tlsverify"],
            "--tlsverify needs --tlscacert, --tlscert, --tlskey too",
        ),
        (["-H", "tcp://:x"], "invalid bind address format"),
        (["-H", "fd://"], "listening on fd:// is not supported"),
        (["-G", "nosuch"], "could not find group nosuch"),
        (["--metrics-addr", "127.0.0.1:x"], "invalid bind address format"),
    ],
)
def test_refusals(engine, flags, words):
    done = engine.onggi("daemon", "--validate", *flags)
    assert done.returncode == 1
    assert words in done.stderr.decode()
