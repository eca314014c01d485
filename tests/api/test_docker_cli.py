"""The unchanged docker CLI against a real engine."""

import json
import os
import pty
import secrets
import select
import struct
import subprocess
import termios
import time
from fcntl import ioctl

import pytest

from engines import DEADLINE_S
from image_archives import layer


@pytest.fixture
def name(engine):
    name = f"t{secrets.token_hex(4)}"
    yield name
    engine.docker("rm", "-f", name)


def test_run_rm(engine):
    done = engine.docker("run", "--network", "none", "--rm", "busybox", "echo", "hello")
    assert (done.stdout, done.stderr, done.returncode) == (b"hello\n", b"", 0), done
    assert engine.docker("ps", "-aq").stdout == b""


def test_the_default_network_is_the_bridge(engine):
    done = engine.docker("run", "--rm", "busybox", "ls", "/sys/class/net")
    assert (done.stdout.split(), done.stderr, done.returncode) == ([b"eth0", b"lo"], b"", 0)


def test_half_close(engine):
    done = engine.docker("run", "--network", "none", "--rm", "-i", "busybox", "cat", input=b"hi\n")
    assert (done.stdout, done.returncode) == (b"hi\n", 0), done


def test_streams_stay_apart(engine):
    done = engine.docker(
        "run", "--network", "none", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["nosuch"], 127, b'exec: "nosuch": executable file not found in $PATH'),
        (["/etc"], 126, b'exec: "/etc": is a directory'),
        (["sh", "-c", "exit 9"], 9, b""),
    ],
)
def test_exit_codes(engine, command, code, words):
    done = engine.docker("run", "--network", "none", "--rm", "busybox", *command)
    assert done.returncode == code, done
    assert words in done.stderr
    assert engine.docker("ps", "-aq").stdout == b""


def test_unknown_image(engine):
    done = engine.docker("run", "--network", "none", "--rm", "nosuch")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 125
    assert lines[0] == "Unable to find image 'nosuch:latest' locally"
    # There is no network here, and so no registry.
    assert lines[1].startswith('docker: Error response from daemon: Get "https://registry-1.docker.io/v2/": ')
    assert lines[3] == "Run 'docker run --help' for more information"


def test_life_of_a_detached_container(engine, name):
    started = engine.docker(
        "run", "--network", "none", "-d", "--name", name, "busybox", "sh", "-c", "echo one; exec sleep 1000"
    )
    assert started.returncode == 0, started
    listed = engine.docker("ps", "--format", "{{.Names}} {{.Image}} {{.State}}", "--filter", f"name={name}")
    assert listed.stdout.decode().strip() == f"{name} busybox running"
    facts = json.loads(engine.docker("inspect", name).stdout)[0]
    assert facts["State"]["Running"]
    assert facts["Id"] == started.stdout.decode().strip()
    assert engine.docker("exec", name, "sh", "-c", "echo in; exit 3").returncode == 3
    assert engine.docker("exec", "-i", name, "cat", input=b"to exec").stdout == b"to exec"
    assert b"sleep 1000" in engine.docker("top", name).stdout
    assert engine.docker("pause", name).returncode == 0
    assert engine.docker("unpause", name).returncode == 0
    assert engine.docker("stop", "-t", "0", name).returncode == 0
    assert engine.docker("wait", name).stdout == b"137\n"
    assert engine.docker("logs", name).stdout == b"one\n"
    assert engine.docker("start", name).returncode == 0
    assert engine.docker("rm", name).returncode == 1
    assert engine.docker("rm", "-f", name).returncode == 0
    gone = engine.docker("inspect", name)
    assert gone.returncode == 1


def test_logs_follow_to_the_end(engine, name):
    script = "for i in 1 2 3; do echo $i; sleep 0.1; done"
    engine.docker("run", "--network", "none", "-d", "--name", name, "busybox", "sh", "-c", script, check=True)
    assert engine.docker("logs", "-f", name).stdout == b"1\n2\n3\n"
    assert engine.docker("logs", "--tail", "1", name).stdout == b"3\n"


class Terminal:
    """A command on a pseudo-terminal of a size."""

    def __init__(self, environment, *arguments, rows=33, columns=77):
        self.fd, child = pty.openpty()
        ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            ["docker", *arguments],
            env=environment,
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        self.seen = b""

    def expect(self, words):
        end = time.monotonic() + DEADLINE_S
        while words not in self.seen:
            readable, _, _ = select.select([self.fd], [], [], end - time.monotonic())
            assert readable, f"{words} not in {self.seen}"
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                raise AssertionError(f"{words} not in {self.seen}") from None

    def type(self, data):
        os.write(self.fd, data)

    def close(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)
        os.close(self.fd)


def test_terminal_with_its_size_and_resize(engine, name):
    terminal = Terminal(
        engine.environment, "run", "--network", "none", "-it", "--name", name, "busybox", "sh"
    )
    try:
        terminal.expect(b"#")
        terminal.type(b"tty; while [ \"$(stty size)\" != '33 77' ]; do :; done; echo sized\n")
        terminal.expect(b"\nsized")
        terminal.expect(b"/dev/pts/0")
        ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("4H", 44, 88, 0, 0))
        os.kill(terminal.process.pid, 28)  # SIGWINCH: the terminal is nobody's controlling one
        terminal.type(b"while [ \"$(stty size)\" != '44 88' ]; do :; done; echo again\n")
        terminal.expect(b"\nagain")
        terminal.type(b"exit 5\n")
        assert terminal.process.wait(DEADLINE_S) == 5
    finally:
        terminal.close()


def test_detach_keys_and_attach(engine, name):
    terminal = Terminal(
        engine.environment, "run", "--network", "none", "-it", "--name", name, "busybox", "sh"
    )
    try:
        terminal.expect(b"#")
        terminal.type(b"\x10\x11")
        assert terminal.process.wait(DEADLINE_S) == 0
    finally:
        terminal.close()
    assert engine.docker("inspect", "-f", "{{.State.Running}}", name).stdout == b"true\n"
    terminal = Terminal(engine.environment, "attach", name)
    try:
        terminal.type(b"echo back$((1+1))\n")
        terminal.expect(b"back2")
    finally:
        terminal.close()


def test_exec_terminal(engine, name):
    engine.docker("run", "--network", "none", "-d", "--name", name, "busybox", "sleep", "1000", check=True)
    terminal = Terminal(engine.environment, "exec", "-it", name, "sh", "-c", "tty; exit 4")
    try:
        terminal.expect(b"/dev/pts/")
        assert terminal.process.wait(DEADLINE_S) == 4
    finally:
        terminal.close()


def test_version_and_info(engine):
    version = json.loads(engine.docker("version", "-f", "{{json .Server}}").stdout)
    assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.51", "1.24")
    info = json.loads(engine.docker("info", "-f", "{{json .}}").stdout)
    assert info["OSType"] == "linux"
    assert "ServerErrors" not in info or not info["ServerErrors"]


def test_events_of_a_life(engine, name):
    since = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    engine.docker("run", "--network", "none", "--name", name, "busybox", "true", check=True)
    engine.docker("rm", name, check=True)
    now = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    filters = ("--filter", f"container={name}", "--format", "{{.Action}}")
    for begin in (since, "0"):  # zero is a moment, not the lack of one
        seen = engine.docker("events", "--since", begin, "--until", now, *filters).stdout.decode().split()
        assert [it for it in seen if it != "attach"] == ["create", "start", "die", "destroy"]


def test_events_of_a_start_that_fails(engine, name):
    since = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    for _ in range(5):
        done = engine.docker("run", "--name", name, "busybox", "nosuch")
        assert (done.returncode, b"Error waiting for container" in done.stderr) == (127, False), done
        container = engine.docker("inspect", "-f", "{{.Id}}", name).stdout.decode().strip()
        engine.docker("rm", name, check=True)
    now = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    lines = engine.docker("events", "--since", since, "--until", now, "--format", "{{json .}}").stdout
    seen = [it for it in map(json.loads, lines.splitlines()) if container in json.dumps(it["Actor"])]
    actions = [(it["Type"], it["Action"]) for it in seen if it["Action"] != "attach"]
    assert actions == [
        ("container", "create"), ("network", "connect"), ("network", "disconnect"), ("container", "destroy"),
    ]  # fmt: skip


def test_events_of_images_have_their_labels(engine, name, tmp_path):
    since = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    image = f"{name}:1"
    made = engine.docker("import", "-c", f"LABEL of={name}", "-", image, input=layer({"a": b""}), check=True)
    engine.docker("save", "-o", str(tmp_path / "saved.tar"), image, check=True)
    engine.docker("rmi", image, check=True)
    engine.docker("load", "-i", str(tmp_path / "saved.tar"), check=True)
    engine.docker("tag", image, f"{name}:2", check=True)
    engine.docker("rmi", f"{name}:1", f"{name}:2", check=True)
    now = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    seen = engine.docker(
        "events", "--since", since, "--until", now, "--filter", f"label=of={name}", "--format",
        "{{.Action}} {{.ID}} {{.Actor.Attributes.name}}",
    ).stdout.decode().splitlines()  # fmt: skip
    same = made.stdout.decode().strip()
    assert [line.split()[0] for line in seen] == [
        "tag",
        "import",
        "save",
        "untag",
        "load",
        "tag",
        "untag",
        "untag",
    ]
    assert {line.split()[1] for line in seen} == {same}


def test_buildx_is_told_that_there_is_no_buildkit(engine):
    """It inspects its stand-in first, and makes it where the answer is a 404."""
    asked = engine.docker("container", "inspect", "buildx_buildkit_default")
    assert b"BuildKit is not part of this engine: build with `DOCKER_BUILDKIT=0 docker build`" in asked.stderr
    engine.docker("create", "--name", "buildx_buildkit_default", "busybox", "true", check=True)
    assert engine.docker("container", "inspect", "buildx_buildkit_default").returncode == 0
    engine.docker("rm", "buildx_buildkit_default", check=True)


def test_an_end_alone_shows_the_events_before_it(engine, name):
    engine.docker("create", "--name", name, "busybox", "true", check=True)
    now = engine.docker("info", "-f", "{{.SystemTime}}").stdout.decode().strip()
    seen = engine.docker("events", "--until", now, "--filter", f"container={name}", "--format", "{{.Action}}")
    assert seen.stdout.split() == [b"create"]


def test_ps_shows_the_image_by_id_once_its_name_is_anothers(engine, name):
    engine.docker("tag", "busybox", f"{name}:1", check=True)
    engine.docker("create", "--name", name, f"{name}:1", "true", check=True)
    shown = ("ps", "-a", "--no-trunc", "--filter", f"name={name}", "--format", "{{.Image}}")
    assert engine.docker(*shown).stdout.decode().strip() == f"{name}:1"
    engine.docker("commit", "-m", "another", name, f"{name}:1", check=True)
    image_id = engine.docker("inspect", "-f", "{{.Image}}", name).stdout
    assert engine.docker(*shown).stdout == image_id
    engine.docker("rm", name, check=True)
    engine.docker("rmi", f"{name}:1", check=True)


def test_ps_finds_what_was_built_from_an_image(engine, name):
    for image, base in (("0", "busybox"), ("1", "busybox"), ("2", f"{name}0")):
        text = f"FROM {base}\nLABEL of={image}\n"
        engine.docker("build", "-t", f"{name}{image}", "-", input=text.encode(), check=True)
    for image in ("0", "1", "2"):
        engine.docker("create", "--name", f"{name}{image}", f"{name}{image}", "true", check=True)
    shown = ("ps", "-a", "--format", "{{.Names}}", "--filter", f"name={name}", "--filter")
    found = [
        sorted(line[-1:] for line in engine.docker(*shown, f"ancestor={image}").stdout.decode().splitlines())
        for image in ("busybox", f"{name}0", f"{name}1", f"{name}2", f"{name}3")
    ]
    assert found == [["0", "1", "2"], ["0", "2"], ["1"], ["2"], []]
    engine.docker("rm", *(f"{name}{image}" for image in "012"), check=True)
    engine.docker("rmi", *(f"{name}{image}" for image in "210"), check=True)


def test_a_network_is_joined_through_another_that_joins_it(engine, name):
    networks = [("none", "full.example.com"), (f"container:{name}0", ""), (f"container:{name}1", "")]
    for number, (network, hostname) in enumerate(networks):
        flags = [*("--network", network, "--stop-signal", "KILL"), *(["-h", hostname] if hostname else [])]
        started = engine.docker("run", "-d", "--name", f"{name}{number}", *flags, "busybox", "sleep", "1000")
        assert started.returncode == 0, started
    read = [engine.docker("exec", f"{name}{number}", "cat", "/etc/hostname").stdout for number in range(3)]
    assert read == [b"full.example.com\n"] * 3
    engine.docker("rm", "-f", *(f"{name}{number}" for number in range(3)), check=True)


def test_images(engine):
    assert b"busybox" in engine.docker("images").stdout
    assert engine.docker("tag", "busybox", "busybox:two").returncode == 0
    assert b"Untagged: busybox:two" in engine.docker("rmi", "busybox:two").stdout
    assert engine.docker("image", "inspect", "busybox:two").returncode == 1
    assert engine.docker("history", "busybox").returncode == 0


def test_what_is_not_offered_is_refused_by_name(engine):
    done = engine.docker("plugin", "install", "--grant-all-permissions", "x")
    assert done.returncode == 1
    assert b"plugins are not offered by this engine" in done.stderr, done


def test_removal_of_containers_with_execs(engine, name):
    """The monitor is the parent of what was exec'd: it must reap while it waits for process 1 to end.

    Four removals, 10 s each if it does not, share one deadline of 30 s.
    """
    names = [f"{name}-{number}" for number in range(4)]
    for one in names:
        engine.docker("run", "-d", "--network", "none", "--name", one, "busybox", "sleep", "1000", check=True)
        engine.docker("exec", "-d", one, "sleep", "1000", check=True)
    script = "for name; do docker rm -f $name || exit; done"
    subprocess.run(["sh", "-c", script, "sh", *names], env=engine.environment, timeout=30, check=True)
