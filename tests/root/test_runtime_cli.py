"""onggi-runtime as conmon, podman and containerd use it."""

import array
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from bundles import CAPABILITIES, DEADLINE_S, Bundle, configuration, wait_ended
from onggi.kernel.capabilities import mask

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def bundle(tmp_path):
    made = Bundle(tmp_path)
    yield made
    made.destroy()


@pytest.fixture
def subreaper():
    """This process inherits the containers, as conmon does."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def children() -> set[int]:
    """Those of this process; what an earlier test left is among them."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_a_life_from_create_to_delete(bundle, subreaper):
    bundle.configure(configuration(["/bin/sh", "-c", "echo started; exit 7"]))
    pid = bundle.create()
    assert bundle.state()["status"] == "created"
    assert bundle.output() == ""
    bundle("start", bundle.id)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7  # the caller's subreaper gets the status
    assert bundle.output() == "started\n"
    assert bundle.state()["status"] == "stopped"
    bundle("delete", bundle.id)
    assert "container does not exist" in bundle("state", bundle.id, status=1).stderr


def test_create_leaves_one_process(bundle, subreaper):
    before = children()
    pid = bundle.create()
    assert children() - before == {pid}
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""
    assert json.loads(bundle("ps", "--format", "json", bundle.id).stdout) == [pid]


def test_a_created_container_has_only_its_rights(bundle, subreaper):
    bundle.configure(configuration(["/bin/sleep", "100000"], user={"uid": 1000, "gid": 1000}))
    pid = bundle.create()
    status = status_of(pid)
    assert status["Uid"].split() == ["1000"] * 4
    assert status["CapBnd"] == status["CapEff"] == f"{mask(CAPABILITIES):016x}"
    kept = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2}
    assert {Path(name).name for name in kept} == {"exec.fifo", "result.fifo"}
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:onggi-python")


def test_start_tells_what_hindered_exec(bundle):
    (bundle.rootfs / "bin/broken").write_bytes(b"\x7fELF and no more")
    (bundle.rootfs / "bin/broken").chmod(0o755)
    bundle.configure(configuration(["/bin/broken"]))
    bundle.create()
    assert "exec format error" in bundle("start", bundle.id, status=1).stderr


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("nowhere", "executable file not found in $PATH"),
        ("/bin", "is a directory"),
        ("/etc/passwd", "denied"),
    ],
)
def test_a_missing_program_fails_create(bundle, program, words):
    bundle.configure(configuration([program]))
    log = bundle.directory / "log"
    options = ["--log", str(log), "--log-format", "json"]
    done = bundle(*options, "create", bundle.id, status=1)
    assert words in done.stderr
    record = json.loads(log.read_text().splitlines()[-1])
    assert (record["level"], words in record["msg"]) == ("error", True)
    assert not list(bundle.root.iterdir())


def test_start_twice_and_delete_while_running_are_refused(bundle):
    bundle.configure(configuration(["/bin/sleep", "100000"]))
    bundle.create()
    bundle("start", bundle.id)
    assert "already running" in bundle("start", bundle.id, status=1).stderr
    assert "not stopped" in bundle("delete", bundle.id, status=1).stderr
    assert "already exists" in bundle("create", bundle.id, status=1).stderr


def test_kill_ends_and_then_says_so(bundle):
    bundle.configure(configuration(["/bin/sleep", "100000"]))
    pid = bundle.create()
    bundle("start", bundle.id)
    bundle("kill", bundle.id, "KILL")
    wait_ended(pid)
    assert "container not running" in bundle("kill", bundle.id, "9", status=1).stderr
    bundle("kill", "--all", bundle.id, "9")
    assert "unknown signal" in bundle("kill", bundle.id, "NONSENSE", status=1).stderr


def test_run_gives_the_code_and_leaves_nothing(bundle):
    bundle.configure(configuration(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]))
    done = bundle("run", bundle.id, status=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert not list(bundle.root.iterdir())


def test_run_passes_signals_on(bundle):
    bundle.configure(configuration(["/bin/sh", "-c", "trap 'exit 9' TERM; echo ready; sleep 100000 & wait"]))
    command = bundle.start_args("run", bundle.id)
    with subprocess.Popen(command, cwd=bundle.directory, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(DEADLINE_S) == 9


def test_preserved_descriptors_reach_the_program(bundle):
    bundle.configure(configuration(["/bin/sh", "-c", "cat <&3; ls /proc/self/fd | wc -l"]))
    reading, writing = os.pipe()
    os.write(writing, b"through\n")
    os.close(writing)
    third = os.dup(3)  # this process's own
    os.dup2(reading, 3, inheritable=True)
    try:
        done = bundle("run", "--preserve-fds", "1", bundle.id, pass_fds=(3,))
    finally:
        os.dup2(third, 3, inheritable=False)
        os.close(third)
        os.close(reading)
    assert done.stdout.splitlines()[0] == "through"


# -- exec ----------------------------------------------------------------------------------------------------


@pytest.fixture
def running(bundle):
    bundle.configure(configuration(["/bin/sleep", "100000"]))
    bundle.create()
    bundle("start", bundle.id)
    return bundle


def test_exec_runs_with_what_was_asked(running):
    options = ["--cwd", "/etc", "--env", "A=b", "--user", "1000:1000"]
    script = "pwd; echo $A $HOME; id -u; id -g; grep CapEff /proc/self/status"
    lines = running("exec", *options, running.id, "/bin/sh", "-c", script).stdout.split()
    assert lines == ["/etc", "b", "/home/user", "1000", "1000", "CapEff:", "0" * 16]
    assert running("exec", running.id, "/bin/sh", "-c", "exit 42", status=42).stdout == ""


def test_exec_takes_a_whole_process(running):
    process = configuration(["/bin/hostname"])["process"]
    document = running.directory / "process.json"
    document.write_text(json.dumps(process))
    running("exec", "--process", str(document), running.id)


def test_exec_of_a_missing_program(running):
    done = running("exec", running.id, "nowhere", status=255)
    assert 'exec: "nowhere": executable file not found in $PATH' in done.stderr


def test_a_detached_exec_is_the_callers(running, subreaper):
    running("exec", "-d", "--pid-file", "exec.pid", running.id, "/bin/sh", "-c", "exit 5")
    pid = int((running.directory / "exec.pid").read_text())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


def test_exec_in_a_stopped_container(running):
    pid = running.state()["pid"]
    running("kill", running.id, "KILL")
    wait_ended(pid)
    assert "not running" in running("exec", running.id, "true", status=255).stderr


# -- hooks ---------------------------------------------------------------------------------------------------


def test_hooks_run_in_their_order_and_places(bundle):
    trail = bundle.directory / "trail"
    script = f'read state; echo "$0 $(stat -c %i -L /proc/self/ns/mnt) $state" >> {trail}'

    def outside(name):
        return [{"path": "/bin/sh", "args": ["sh", "-c", script, name]}]

    config = configuration(["/bin/true"])
    names = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    config["hooks"] = {name: outside(name) for name in names}
    inside = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/inside"]}]
    bundle.configure(config | {"hooks": {**config["hooks"], "startContainer": inside}})
    pid = bundle.create()
    bundle("start", bundle.id)
    wait_ended(pid)
    bundle("delete", bundle.id)
    rows = [line.split(" ", 2) for line in trail.read_text().splitlines()]
    assert [row[0] for row in rows] == list(names)
    ours = str(os.stat("/proc/self/ns/mnt").st_ino)
    assert [row[1] == ours for row in rows] == [True, True, False, True, True]
    states = [json.loads(row[2])["status"] for row in rows]
    assert states == ["creating", "creating", "creating", "running", "stopped"]
    assert json.loads((bundle.rootfs / "tmp/inside").read_text())["pid"] == pid


def test_a_hook_that_fails_or_hangs_undoes_create(bundle):
    for args in (["sh", "-c", "exit 1"], ["sh", "-c", "sleep 100000"]):
        config = configuration(["/bin/true"])
        config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": args, "timeout": 1}]}
        bundle.configure(config)
        assert "createRuntime hook /bin/sh" in bundle("create", bundle.id, status=1).stderr
        assert not list(bundle.root.iterdir())


# -- terminals -----------------------------------------------------------------------------------------------


def test_the_console_socket_gets_the_master(bundle):
    bundle.configure(configuration(["/bin/sh", "-c", "tty; stty size"], terminal=True))
    bundle.config["process"]["consoleSize"] = {"height": 33, "width": 99}
    bundle.configure(bundle.config)
    path = bundle.directory / "console.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        bundle.create("--console-socket", str(path))
        peer, _ = listening.accept()
        with peer:
            _, ancillary, _, _ = peer.recvmsg(4096, socket.CMSG_SPACE(4))
    master = array.array("i", ancillary[0][2])[0]
    bundle("start", bundle.id)
    text = b""
    with contextlib.suppress(OSError):  # EIO: the program has ended
        os.set_blocking(master, True)
        while chunk := os.read(master, 4096):
            text += chunk
    os.close(master)
    assert text.split() == [b"/dev/pts/0", b"33", b"99"]


def test_a_terminal_that_nobody_gets_is_refused(bundle):
    bundle.configure(configuration(["/bin/true"], terminal=True))
    assert "console socket" in bundle("create", bundle.id, status=1).stderr


# -- the rest ------------------------------------------------------------------------------------------------


def test_pause_resume_update_and_list(running):
    running("pause", running.id)
    assert running.state()["status"] == "paused"
    running("resume", running.id)
    running("update", "--pids-limit", "77", running.id)
    limits = Path("/sys/fs/cgroup/pids/onggi-runtime-tests", running.id, "pids.max")
    unified = Path("/sys/fs/cgroup/onggi-runtime-tests", running.id, "pids.max")
    assert (limits if limits.exists() else unified).read_text().strip() == "77"
    assert running("list", "-q").stdout.split() == [running.id]
    assert json.loads(running("list", "-f", "json").stdout)[0]["status"] == "running"


@pytest.mark.parametrize(
    "words",
    [
        ["checkpoint", "x"], ["restore", "x"], ["events", "x"], ["--systemd-cgroup", "list"],
        ["--cgroup-manager=systemd", "list"], ["spec", "--rootless"], ["update", "--l3-cache-schema=x", "x"],
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(bundle, words):
    done = bundle(*words, status=1)
    assert "not supported" in done.stderr
    assert any(word.lstrip("-").partition("=")[0] in done.stderr for word in words[:2])


def test_spec_and_features(bundle):
    (bundle.directory / "config.json").unlink()
    bundle("spec")
    assert json.loads((bundle.directory / "config.json").read_text())["process"]["args"] == ["sh"]
    features = json.loads(bundle("features").stdout)
    assert features["ociVersionMin"] == "1.0.0"
    assert "createContainer" in features["hooks"]


def test_plan_prints_and_makes_nothing(bundle):
    text = bundle("plan", str(bundle.directory)).stdout
    assert "process.args ('/bin/true',)" in text
    assert not bundle.root.exists()
