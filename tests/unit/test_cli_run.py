"""``onggi run`` and its kin against a fake engine: streams, exit codes, signals and the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, Request, frame, render, upgrade

SOURCE = Path(__file__).parents[2] / "src"
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
ID = "a" * 64
DEADLINE_S = 60
DENIED = (
    "pull access denied for nope, repository does not exist or may require 'docker login': "
    "denied: requested access to the resource is denied"
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    fake = FakeEngine(tmp_path)
    yield fake
    fake.close()


def argv(*words: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE), *words]


def environment(engine: FakeEngine) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_CONFIG": str(engine.path.parent / "none")}


def onggi(engine: FakeEngine, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        argv(*words),
        env=environment(engine),
        input=stdin,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )


def status_frames(code: int, **more: Any) -> tuple[bytes, bytes]:
    early = frame(5, json.dumps({"Id": ID, "Warnings": more.pop("warnings", [])}).encode())
    return early, frame(4, json.dumps({"Id": ID, "StatusCode": code, **more}).encode())


def echo_container(connection: socket.socket, request: Request) -> None:
    """Answer with all that came by standard input, after its end."""
    upgrade(connection)
    early, final = status_frames(7, warnings=["be careful"], Warnings=["no weight"])
    connection.sendall(early)
    data = b""
    if request.json["Attach"]["Stdin"]:
        while piece := connection.recv(4096):
            data += piece
    connection.sendall(frame(1, b"out " + data) + frame(2, b"err\n") + final)


def test_private_run_relays_streams_and_exit_code(engine: FakeEngine) -> None:
    engine.routes["POST /onggi/v1/run"] = echo_container
    big = bytes(range(256)) * 4096
    done = onggi(engine, "run", "-i", "--rm", "--name", "n", "host", "cat", stdin=big)
    assert (done.returncode, done.stdout) == (7, b"out " + big)
    assert done.stderr == b"WARNING: be careful\nerr\nWARNING: no weight\n"
    body = engine.sent("POST /onggi/v1/run")[0].json
    assert body["Name"] == "n"
    assert body["Wait"]
    assert body["Config"]["HostConfig"]["AutoRemove"]
    assert body["Attach"] == {"Stdin": True, "Stdout": True, "Stderr": True, "Tty": None, "DetachKeys": ""}


def test_detached_run_prints_the_id_and_writes_the_cidfile(engine: FakeEngine, tmp_path: Path) -> None:
    engine.routes["POST /onggi/v1/run"] = (200, {"Id": ID, "Warnings": ["w"]})
    cidfile = tmp_path / "cid"
    done = onggi(engine, "run", "-d", "--cidfile", str(cidfile), "host", "sleep", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ID}\n".encode(), b"WARNING: w\n")
    assert cidfile.read_text() == ID
    again = onggi(engine, "run", "-d", "--cidfile", str(cidfile), "host")
    assert again.returncode == 125
    assert b"container ID file found" in again.stderr


def test_detached_run_that_does_not_start_leaves_its_id(engine: FakeEngine, tmp_path: Path) -> None:
    failed = {"Id": ID, "Warnings": [], "StatusCode": 127, "Error": {"Message": "no such program"}}
    engine.routes["POST /onggi/v1/run"] = (200, failed)
    cidfile = tmp_path / "cid"
    done = onggi(engine, "run", "-d", "--cidfile", str(cidfile), "host", "nope")
    assert (done.returncode, done.stdout, cidfile.read_text()) == (127, f"{ID}\n".encode(), ID)
    assert done.stderr.startswith(b"onggi: Error response from daemon: no such program\n\nRun 'onggi run")


def test_unknown_image_is_told_in_three_lines(engine: FakeEngine, tmp_path: Path) -> None:
    engine.routes["POST /onggi/v1/run"] = (404, {"message": "No such image: nope:latest"})
    engine.routes["POST /images/create"] = (404, {"message": DENIED})
    cidfile = tmp_path / "cid"
    done = onggi(engine, "run", "--cidfile", str(cidfile), "nope")
    assert done.returncode == 125
    assert not cidfile.exists()
    assert done.stderr.decode() == (
        "Unable to find image 'nope:latest' locally\n"
        f"onggi: Error response from daemon: {DENIED}\n\nRun 'onggi run --help' for more information\n"
    )


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "nope": executable file not found in $PATH: unknown', 127),
        ('exec: "/etc": is a directory: permission denied: unknown', 126),
        ('Conflict. The container name "/n" is already in use', 125),
    ],
)
def test_errors_before_the_start_give_dockers_codes(engine: FakeEngine, message: str, code: int) -> None:
    engine.routes["POST /onggi/v1/run"] = (400, {"message": message})
    assert onggi(engine, "run", "host", "nope").returncode == code


def test_engine_that_went_away_is_asked_again(engine: FakeEngine) -> None:
    def vanish(connection: socket.socket, request: Request) -> None:
        upgrade(connection)
        connection.sendall(status_frames(0)[0] + frame(1, b"half"))

    engine.routes["POST /onggi/v1/run"] = vanish
    engine.routes[f"POST /containers/{ID}/wait"] = (200, {"StatusCode": 9})
    done = onggi(engine, "run", "--rm", "host", "x")
    assert (done.returncode, done.stdout) == (9, b"half")
    assert engine.sent(f"POST /containers/{ID}/wait")[0].query == "condition=removed"


def test_foreign_engine_gets_dockers_calls(engine: FakeEngine) -> None:
    started = threading.Event()

    def attach(connection: socket.socket, request: Request) -> None:
        upgrade(connection)
        assert started.wait(DEADLINE_S)
        connection.sendall(frame(1, b"hello\n"))

    def start(connection: socket.socket, request: Request) -> None:
        connection.sendall(render("POST", 204, b""))
        started.set()

    engine.routes["POST /containers/create"] = (201, {"Id": ID, "Warnings": []})
    engine.routes[f"POST /containers/{ID}/attach"] = attach
    engine.routes[f"POST /containers/{ID}/start"] = start
    engine.routes[f"POST /containers/{ID}/wait"] = (200, {"StatusCode": 3})
    done = onggi(engine, "run", "busybox", "true")
    assert (done.returncode, done.stdout) == (3, b"hello\n")
    order = [request.path.rpartition("/")[2] for request in engine.requests]
    assert order == ["run", "create", "attach", "wait", "start"]


def test_signals_are_forwarded(engine: FakeEngine) -> None:
    killed, running = threading.Event(), threading.Event()

    def serve(connection: socket.socket, request: Request) -> None:
        upgrade(connection)
        early, final = status_frames(143)
        connection.sendall(early + frame(1, b"ready\n"))
        running.set()
        assert killed.wait(DEADLINE_S)
        connection.sendall(final)

    def kill(connection: socket.socket, request: Request) -> None:
        connection.sendall(render("POST", 204, b""))
        killed.set()

    engine.routes["POST /onggi/v1/run"] = serve
    engine.routes[f"POST /containers/{ID}/kill"] = kill
    with subprocess.Popen(
        argv("run", "host", "x"), env=environment(engine), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 143
    assert engine.sent(f"POST /containers/{ID}/kill")[0].query == "signal=TERM"


class Terminal:
    """The CLI on a terminal of its own."""

    def __init__(self, engine: FakeEngine, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (30, 100))
        self.before = termios.tcgetattr(self.slave)
        ends = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        self.process = subprocess.Popen(argv(*words), env=environment(engine), start_new_session=True, **ends)
        self.seen = b""

    def expect(self, words: bytes) -> None:
        """Read until the words have been seen."""
        while words not in self.seen:
            assert select.select([self.master], [], [], DEADLINE_S)[0], self.seen
            self.seen += os.read(self.master, 4096)

    def end(self) -> int:
        """Wait; the terminal must be as it was before."""
        status = self.process.wait(DEADLINE_S)
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return status


def shell(connection: socket.socket, request: Request) -> None:
    """A terminal program: echoes, ends at ``q``, vanishes at ``!``; goes on when its client detaches."""
    assert request.json["Attach"]["Tty"] == {"rows": 30, "cols": 100}
    upgrade(connection)
    early, final = status_frames(5)
    connection.sendall(early + frame(1, b"prompt> "))
    typed = b""
    while piece := connection.recv(64):
        typed += piece
        if typed.endswith(b"!"):
            return
        if typed.endswith(b"\x10\x11"):
            continue
        connection.sendall(frame(1, b"<" + piece + b">"))
        if typed.endswith(b"q"):
            connection.sendall(final)
            return


def test_terminal_is_raw_and_restored(engine: FakeEngine) -> None:
    engine.routes["POST /onggi/v1/run"] = shell
    terminal = Terminal(engine, "run", "-it", "--rm", "host", "sh")
    terminal.expect(b"prompt> ")
    os.write(terminal.master, b"\x03")
    terminal.expect(b"<\x03>")
    os.write(terminal.master, b"q")
    assert terminal.end() == 5


def test_detach_keys_leave_the_container(engine: FakeEngine) -> None:
    engine.routes["POST /onggi/v1/run"] = shell
    terminal = Terminal(engine, "run", "-it", "host", "sh")
    terminal.expect(b"prompt> ")
    os.write(terminal.master, b"\x10\x11")
    assert terminal.end() == 0


def test_terminal_is_restored_when_the_engine_dies(engine: FakeEngine) -> None:
    engine.routes["POST /onggi/v1/run"] = shell
    engine.routes[f"POST /containers/{ID}/wait"] = (404, {"message": f"No such container: {ID}"})
    terminal = Terminal(engine, "run", "-it", "host", "sh")
    terminal.expect(b"prompt> ")
    os.write(terminal.master, b"!")
    assert terminal.end() == 125


def test_terminal_is_restored_when_the_client_is_ended(engine: FakeEngine) -> None:
    engine.routes["POST /onggi/v1/run"] = shell
    terminal = Terminal(engine, "run", "-it", "--sig-proxy=false", "host", "sh")
    terminal.expect(b"prompt> ")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == -signal.SIGTERM


@pytest.mark.parametrize("answers", [True, False])
def test_a_third_signal_ends_the_command(engine: FakeEngine, answers: bool) -> None:
    """As docker's: where the program ignores it, and also where the engine does not answer."""
    waiting = threading.Event()

    def stay(connection: socket.socket, request: Request) -> None:
        if answers:
            upgrade(connection)
            connection.sendall(status_frames(0)[0])
        waiting.set()
        connection.recv(1)

    engine.routes[f"POST /containers/{ID}/kill"] = (204, None)
    engine.routes["POST /onggi/v1/run"] = stay
    process = subprocess.Popen(
        argv("run", "host", "stubborn"),
        env=environment(engine),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert waiting.wait(DEADLINE_S)
    for _ in range(DEADLINE_S * 20):  # signals that have not been taken yet merge into one
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
    assert process.stderr is not None
    with process.stderr:
        words = process.stderr.read()
    assert (process.returncode, words) == (1, b"\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n")


def test_a_new_window_size_is_sent(engine: FakeEngine) -> None:
    resized = threading.Event()

    def resize(connection: socket.socket, request: Request) -> None:
        connection.sendall(render("POST", 200, b""))
        resized.set()

    engine.routes["POST /onggi/v1/run"] = shell
    engine.routes[f"POST /containers/{ID}/resize"] = resize
    terminal = Terminal(engine, "run", "-it", "host", "sh")
    terminal.expect(b"prompt> ")
    termios.tcsetwinsize(terminal.slave, (40, 120))
    terminal.process.send_signal(signal.SIGWINCH)
    assert resized.wait(DEADLINE_S)
    assert engine.sent(f"POST /containers/{ID}/resize")[-1].query == "h=40&w=120"
    os.write(terminal.master, b"q")
    assert terminal.end() == 5


def test_a_terminal_is_refused_without_one(engine: FakeEngine) -> None:
    done = onggi(engine, "run", "-it", "host", "sh")
    assert (done.returncode, done.stderr) == (1, b"the input device is not a TTY\n")
    assert engine.requests == []


@pytest.mark.parametrize("typed", ["run", "container run", "create", "container create"])
def test_a_line_without_an_image_is_told_as_typed(engine, typed):
    done = onggi(engine, *typed.split())
    words = f"onggi: 'onggi {typed}' requires at least 1 argument\n\nUsage:  onggi {typed} [OPTIONS] IMAGE"
    assert (done.returncode, done.stderr.decode().startswith(words)) == (1, True)
