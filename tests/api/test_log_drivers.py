"""Log drivers that send away, to sockets of the test's own, and what `logs` can read of each driver."""

import contextlib
import os
import socket

import pytest

from engines import DEADLINE_S, wait_until

SAY = ("busybox", "sh", "-c", "echo out; echo err >&2")
NOT_READ = b"Error response from daemon: configured logging driver does not support reading"


@contextlib.contextmanager
def listening(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(DEADLINE_S)
        yield server


@pytest.fixture
def logged(run):
    """A function that runs the two lines with a driver and its options."""

    def logged(driver, *options):
        flags = [word for option in options for word in ("--log-opt", option)]
        return run.command(
            "run", "--network", "none", "--name", "logged", "--log-driver", driver, *flags, *SAY
        )

    yield logged
    run.command("rm", "-f", "logged")


def test_what_does_not_wait(logged, tmp_path):
    with listening(tmp_path / "log") as server:
        address = f"syslog-address=unixgram://{tmp_path}/log"
        done = logged("syslog", address, "mode=non-blocking", "max-buffer-size=1m", "tag=x{{.ContainerName}}")
        assert done.returncode == 0, done
        got = sorted(server.recv(9999) for _ in range(2))
    assert [line.partition(b"x/")[2].partition(b"[")[0] for line in got] == [b"logged", b"logged"]
    assert [line.rpartition(b" ")[2] for line in got] == [b"err\n", b"out\n"]


def test_what_waits_for_a_daemon_that_reads_again(ours, tmp_path):
    """The container says nothing more, and goes on."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "log"))
        server.listen()
        server.settimeout(DEADLINE_S)
        options = (f"syslog-address=unix://{tmp_path}/log", "mode=non-blocking", "max-buffer-size=8m")
        flags = [word for option in options for word in ("--log-opt", option)]
        say = "seq 20000; echo the end; exec sleep 1000"
        name = ours.start("--log-driver", "syslog", *flags, command=("sh", "-c", say))
        with server.accept()[0] as peer, peer.makefile("rb") as lines:
            peer.settimeout(DEADLINE_S)
            wait_until(lambda: ours.command("logs", "-n", "1", name).stdout == b"the end\n", "the last line")
            said = [int(next(lines).rpartition(b": ")[2]) for _ in range(20_000)]
            assert next(lines).endswith(b": the end\n")
    assert said == list(range(1, 20_001))


@pytest.fixture
def journal(mounted):
    """The journal's socket, in a /run of this test's own."""
    mounted("/run")
    os.makedirs("/run/systemd/journal")
    with listening("/run/systemd/journal/socket") as server:
        yield server


def test_syslog(run, logged, tmp_path):
    with listening(tmp_path / "log") as server:
        done = logged("syslog", f"syslog-address=unixgram://{tmp_path}/log")
        assert done.returncode == 0, done
        got = sorted(server.recv(9999) for _ in range(2))
    identity = run.inspect("logged")["Id"][:12].encode()
    assert [(it[:4], identity in it, it.rpartition(b": ")[2]) for it in got] == [
        (b"<27>", True, b"err\n"),
        (b"<30>", True, b"out\n"),
    ]
    read = run.command("logs", "logged")
    assert (read.stdout, read.stderr) == (b"out\n", b"err\n")


def test_journald(run, logged, journal):
    done = logged("journald", "tag={{.Name}}")
    assert done.returncode == 0, done
    got = sorted(journal.recv(9999) for _ in range(2))
    for entry, message in zip(got, (b"err", b"out"), strict=True):
        lines = entry.split(b"\n")
        assert b"MESSAGE=" + message in lines
        assert b"CONTAINER_NAME=logged" in lines
        assert b"SYSLOG_IDENTIFIER=logged" in lines
    assert run.command("logs", "logged").stdout == b"out\n"


def test_no_journal(logged, mounted):
    mounted("/run")
    done = logged("journald")
    assert done.returncode == 125
    assert b"failed to initialize logging driver: journald is not enabled on this host" in done.stderr


@pytest.mark.parametrize(
    ("driver", "options"),
    [("none", []), ("syslog", ["syslog-address=udp://127.0.0.1:9", "cache-disabled=true"])],
)
def test_what_cannot_be_read(run, logged, driver, options):
    assert logged(driver, *options).returncode == 0
    read = run.command("logs", "logged")
    assert (read.returncode, read.stdout) == (1, b"")
    assert NOT_READ in read.stderr


def test_local(run, logged):
    assert logged("local", "max-size=1m").returncode == 0
    read = run.command("logs", "--tail", "1", "logged")
    assert read.stdout + read.stderr in (b"out\n", b"err\n")
