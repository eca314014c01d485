"""What is asked for wrongly: docker's message and exit code, and nothing left behind."""

import contextlib
import glob
import socket
from pathlib import Path

import pytest

from engines import DEADLINE_S, wait_until

HELP = "Run '{} run --help' for more information"


@pytest.fixture(autouse=True)
def nothing_left(engine):
    """No containers, mounts, groups and run directories are there that were not before, a moment later."""
    before = leftovers(engine)

    def left():
        return {what: found for what, those in leftovers(engine).items() if (found := those - before[what])}

    yield
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not left(), "nothing to be left behind", 30)
    assert not left()


def leftovers(engine) -> dict[str, set[str]]:
    groups = f"{engine.cgroup_parent}/c/*/"
    every = glob.glob(f"/sys/fs/cgroup/*{groups}") + glob.glob(f"/sys/fs/cgroup{groups}")
    spares = {Path(path).name for path in glob.glob(f"{engine.exec_root}/waiting/*")}  # come and go
    return {
        "containers": set(engine.docker("ps", "-aq", "--no-trunc").stdout.decode().split()),
        "mounts": set(Path("/proc/self/mountinfo").read_text().splitlines()),
        "groups": {path for path in every if Path(path).name not in spares},
        "run": set(glob.glob(f"{engine.exec_root}/containers/*")),
        "data": set(glob.glob(f"{engine.data_root}/containers/*")),
    }


def failed(run, *arguments: str) -> tuple[int, list[str]]:
    """The exit code and the lines of a command's complaint; it prints nothing else."""
    done = run.command("run", "--rm", "--network", "none", *arguments)
    assert done.stdout == b"", done
    return done.returncode, done.stderr.decode().splitlines()


def program(run) -> str:
    """How the CLI calls itself."""
    return run.cli


def test_unknown_image(run):
    code, lines = failed(run, "nosuch:1", "true")
    assert code == 125
    assert lines[0] == "Unable to find image 'nosuch:1' locally"
    # There is no network here, and so no registry.
    assert lines[1].startswith(f"{program(run)}: Error response from daemon: ")
    assert "registry-1.docker.io" in lines[1]
    assert lines[-1] == HELP.format(program(run))


def test_image_name_that_cannot_be(run):
    code, lines = failed(run, "UPPER", "true")
    assert code == 125
    assert (
        lines[0]
        == f"{program(run)}: invalid reference format: repository name (library/UPPER) must be lowercase"
    )


def test_bad_flag(run):
    code, lines = failed(run, "--nosuch", "busybox")
    assert code == 125
    assert lines[0] == "unknown flag: --nosuch"
    code, lines = failed(run, "--memory", "lots", "busybox")
    assert code == 125
    assert lines[0] == 'invalid argument "lots" for "-m, --memory" flag: invalid size: \'lots\''


def test_no_image(run):
    code, lines = failed(run)
    assert code == 1
    assert lines[0] == f"{program(run)}: '{program(run)} run' requires at least 1 argument"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
        ("/nosuch", 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        ("/etc", 126, 'exec: "/etc": is a directory'),
        ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_programs_that_cannot_run(run, command, code, words):
    found, lines = failed(run, "busybox", command)
    assert found == code, lines
    assert lines[0].startswith(
        f"{program(run)}: Error response from daemon: failed to create task for container: failed to create "
        "shim task: OCI runtime create failed: "
    )
    assert words in lines[0]


def test_what_a_refused_start_leaves(ours, tmp_path):
    (tmp_path / "file").touch()
    for code, words, flags in [
        (127, "Are you trying to mount a directory onto a file", ["-v", f"{tmp_path}:/etc/passwd"]),
        (127, "Are you trying to mount a directory onto a file", ["-v", f"{tmp_path}/file:/etc"]),
        (127, "open /proc/sys/net/nosuch: no such file", ["--sysctl", "net.nosuch=1"]),
        (128, f"creating mount source path '{tmp_path}/file/x'", ["-v", f"{tmp_path}/file/x:/m"]),
        (128, "unable to find user nosuch", ["-u", "nosuch"]),
    ]:
        name = ours.command("create", "--network", "none", *flags, "busybox", "true").stdout.decode().strip()
        try:
            assert words in ours.command("start", name).stderr.decode()
            state = ours.inspect(name)["State"]
            assert (state["Status"], state["ExitCode"], words in state["Error"]) == ("created", code, True)
        finally:
            ours.command("rm", name)


def test_a_detached_run_that_does_not_start_leaves_its_id(run):
    done = run.command("run", "-d", "--network", "none", "busybox", "nosuch")
    name = done.stdout.decode().strip()
    try:
        assert done.returncode == 127
        assert run.inspect(name)["State"]["Status"] == "created"
    finally:
        run.command("rm", name)


def test_unknown_user(run):
    code, lines = failed(run, "-u", "nosuch", "busybox", "true")
    assert code == 125 if run.cli == "onggi" else code in (125, 126)
    assert "unable to find user nosuch: no matching entries in passwd file" in lines[0]
    code, lines = failed(run, "-u", "root:nosuch", "busybox", "true")
    assert "unable to find group nosuch: no matching entries in group file" in lines[0]


def test_workdir_is_a_file(run):
    code, lines = failed(run, "-w", "/etc/passwd", "busybox", "true")
    assert code in (125, 126, 127), lines
    assert "/etc/passwd is not a directory" in lines[0]
    for path, words in (
        ("/etc/passwd", "Cannot mkdir: {} is not a directory"),
        ("/etc/group/x", "lstat {}: not a"),
    ):
        made = run.command("create", "--network", "none", "-w", path, "busybox", "true")
        assert (made.returncode, words.format(path) in made.stderr.decode()) == (1, True), made
    code, lines = failed(run, "-w", "relative", "busybox", "true")
    assert code == 125
    assert "the working directory 'relative' is invalid, it needs to be an absolute path" in lines[0]


def test_bind_source_is_missing(run):
    code, lines = failed(run, "--mount", "type=bind,src=/nosuch,dst=/data", "busybox", "true")
    assert code == 125
    assert lines[0].endswith('invalid mount config for type "bind": bind source path does not exist: /nosuch')


def test_name_is_taken(run):
    name = run.start()
    container = run.inspect(name)["Id"]
    code, lines = failed(run, "--name", name, "busybox", "true")
    assert code == 125
    assert lines[0] == (
        f'{program(run)}: Error response from daemon: Conflict. The container name "/{name}" is already in '
        f'use by container "{container}". You have to remove (or rename) that container to be able to '
        "reuse that name."
    )
    run.close()


def ask(engine, data: bytes) -> bytes:
    """Send bytes to the engine and read until it closes or has answered once."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        client.connect(str(engine.socket))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while b"\r\n\r\n" not in answer:
                part = client.recv(65536)
                if not part:
                    break
                answer += part
        with contextlib.suppress(ConnectionResetError):
            answer += client.recv(65536) if b"Content-Length: 0" not in answer else b""
        return answer


def request(body: bytes, path: str = "/containers/create") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"[]", b'{"Image": 7}', b'{"Image": "busybox", "HostConfig": {"Memory": "x"}}', b"\xff" * 9,
     b'{"Image":' * 20000],
    ids=["cut", "empty", "list", "wrong type", "wrong type below", "no UTF-8", "deep"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/containers/create", "/onggi/v1/run"])
def test_malformed_json(engine, path, body):
    answer = ask(engine, request(body, path))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'"message"' in answer


def test_ten_megabytes_of_headers(engine):
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(10_000))
    answer = ask(engine, b"GET /info HTTP/1.1\r\nHost: d\r\n" + lines + b"\r\n")
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer
    assert engine.docker("version").returncode == 0


@pytest.mark.parametrize("path", ["/containers/create", "/images/create?fromSrc=-", "/onggi/v1/run"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_client_that_goes_away(engine, path, whole):
    """In the middle of its body, or before the answer."""
    body = b'{"Image": "busybox", "Cmd": ["true"], "Bogus": "' + b"x" * 5000
    data = request(body, path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(data if whole else data[:-3000])
    assert engine.docker("version").returncode == 0


def test_a_client_that_goes_away_while_its_container_starts(engine):
    """The container was asked for and is removed when it ends, as --rm said."""
    body = (
        b'{"Name": null, "Config": {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"AutoRemove": true, '
        b'"NetworkMode": "none"}}, "Attach": {"Stdin": false, "Stdout": true, "Stderr": true}, "Wait": true}'
    )
    upgrade = request(body, "/onggi/v1/run").replace(
        b"Connection: close", b"Connection: Upgrade\r\nUpgrade: tcp"
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(engine.socket))
        client.sendall(upgrade)
    assert engine.docker("version").returncode == 0
