"""`onggi-runtime` against hostile bundles and hostile containers; the engine's path has tests of its own."""

import array
import fcntl
import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from bundles import CAPABILITIES, REPOSITORY, Bundle, configuration, wait_ended

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
SECRET = "canary of the host"
SLEEP = ["/bin/sleep", "100000"]


@pytest.fixture
def bundle(tmp_path):
    made = Bundle(tmp_path)
    yield made
    made.destroy()


@pytest.fixture
def canary(tmp_path):
    """A directory of the host with a file that nobody may see or change."""
    directory = tmp_path / "host"
    directory.mkdir()
    (directory / "file").write_text(SECRET)
    yield directory
    assert [entry.name for entry in directory.iterdir()] == ["file"]
    assert (directory / "file").read_text() == SECRET


def start(bundle, *args, **process):
    bundle.configure(configuration(args or SLEEP, **process))
    bundle.create()
    bundle("start", bundle.id)


def of_interpreter(expression):
    """A path that the Python of the command knows."""
    code = f"import os, sys; print({expression})"
    command = ["python3", "-I", "-S", "-c", code]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def digest_of_interpreter():
    return hashlib.sha256(of_interpreter("os.path.realpath(sys.executable)").read_bytes()).hexdigest()


def test_cve_2019_5736_the_interpreter_is_sealed(bundle):
    """What a container could open through /proc/PID/exe of a waiting process can never be written."""
    bundle.configure(configuration(SLEEP))
    pid = bundle.create()
    fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
    try:
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS == SEALS
    finally:
        os.close(fd)


def test_cve_2019_5736_an_entrypoint_that_is_ourselves(bundle):
    before = digest_of_interpreter()
    (bundle.rootfs / "bin/evil").write_text("#!/proc/self/exe\n")
    (bundle.rootfs / "bin/evil").chmod(0o755)
    bundle.configure(configuration(["/bin/evil"]))
    bundle("run", bundle.id, status=None)
    (bundle.rootfs / "bin/itself").symlink_to("/proc/self/exe")
    bundle.configure(configuration(["/bin/itself"]))
    bundle("run", bundle.id, status=None)
    assert digest_of_interpreter() == before


@pytest.fixture
def leaked(canary):
    """The canary as an inherited descriptor, as runc once leaked its own."""
    low = os.open(canary, os.O_RDONLY | os.O_DIRECTORY)
    fd = fcntl.fcntl(low, fcntl.F_DUPFD, 100)  # a number that nothing else of this process has
    os.close(low)
    yield fd
    os.close(fd)


LEAKED = [*range(3, 16), "leaked"]


@pytest.mark.parametrize("number", LEAKED)
def test_cve_2024_21626_no_working_directory_outside_by_run(bundle, leaked, number):
    script = "cat file ../host/file ../../*/host/file"
    number = leaked if number == "leaked" else number
    bundle.configure(configuration(["/bin/sh", "-c", script], cwd=f"/proc/self/fd/{number}"))
    done = bundle("run", bundle.id, status=None, pass_fds=(leaked,))
    assert SECRET not in done.stdout
    assert done.returncode != 0


@pytest.mark.parametrize("number", LEAKED)
def test_cve_2024_21626_no_working_directory_outside_by_exec(bundle, leaked, number):
    start(bundle)
    number = leaked if number == "leaked" else number
    words = ["--cwd", f"/proc/self/fd/{number}", bundle.id, "/bin/cat", "file", "../host/file"]
    done = bundle("exec", *words, status=None, pass_fds=(leaked,))
    assert SECRET not in done.stdout
    assert done.returncode != 0


def test_cve_2016_9962_exec_shows_nothing_of_the_host(bundle):
    """A container with CAP_SYS_PTRACE watches for exec'd processes and reads all their links."""
    links = "for f in $p/cwd $p/root $p/fd/*; do readlink $f; done"
    watch = f"while :; do for p in /proc/[0-9]*; do {links}; done; done"
    names = [*CAPABILITIES, "CAP_SYS_PTRACE"]
    traced = {"bounding": names, "effective": names, "permitted": names}
    start(bundle, "/bin/sh", "-c", watch, capabilities=traced)
    for length in ("0", "0.05", "0.1", "0.3") * 3:
        bundle("exec", bundle.id, "/bin/sleep", length)
    pid = bundle.state()["pid"]
    bundle("kill", bundle.id, "KILL")
    wait_ended(pid)
    seen = {
        line.rstrip("\n") for line in bundle.output().splitlines(True) if line.endswith("\n")
    }  # whole ones
    own = {"/dev/null", str(bundle.directory / "output")}  # what the test gave it as standard streams
    foreign = {link for link in seen if link.startswith(("/tmp/", "/root", "/run", "/work", "/usr"))} - own
    assert "/" in seen
    assert not foreign


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_cve_2015_1335_mount_points_are_no_links(bundle, canary, name):
    """CVE-2018-18837, 2019-19921, 2023-27561 (/proc, /sys), 2026-41579 (/dev)."""
    for target in (str(canary), "tmp"):
        point = bundle.rootfs / name
        if point.is_symlink():
            point.unlink()
        else:
            point.rmdir()
        point.symlink_to(target)
        assert "not a real directory" in bundle("run", bundle.id, status=1).stderr
    assert not list((bundle.rootfs / "tmp").iterdir())


def test_cve_2025_31133_masks_are_the_null_device(bundle, canary):
    """/dev is somebody else's here, and its null is a link: nothing of it becomes a mask."""
    devices = bundle.directory / "devices"
    devices.mkdir()
    (devices / "null").symlink_to("/tmp/shown")
    (bundle.rootfs / "tmp/shown").write_text(SECRET)
    config = configuration(["/bin/cat", "/proc/version"])
    config["linux"]["maskedPaths"] = ["/proc/version"]
    config["mounts"] = [mount for mount in config["mounts"] if not mount["destination"].startswith("/dev")]
    config["mounts"].append(
        {"destination": "/dev", "type": "bind", "source": str(devices), "options": ["rbind"]}
    )
    bundle.configure(config)
    assert bundle("run", bundle.id).stdout == ""


def test_cve_2025_52565_the_console_is_a_terminal_of_the_container(bundle, canary):
    (bundle.rootfs / "dev/console").symlink_to(canary / "file")
    bundle.configure(configuration(["/bin/stat", "-c", "%F %t", "/dev/console"], terminal=True))
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
    os.set_blocking(master, True)
    text = b""
    while not text.endswith(b"\n"):
        text += os.read(master, 4096)
    os.close(master)
    assert text.split() == [b"character", b"special", b"file", b"88"]


@pytest.mark.parametrize("entry", ["run", "exec"])
def test_cve_2016_8867_a_user_has_no_capability(bundle, entry):
    """CVE-2018-10856; and CVE-2022-24769, 2022-27649 to 27652: nothing is inheritable."""
    show = ["/bin/grep", "Cap", "/proc/self/status"]
    if entry == "run":
        bundle.configure(configuration(show, user={"uid": 1000, "gid": 1000}))
        text = bundle("run", bundle.id).stdout
    else:
        start(bundle)
        text = bundle("exec", "--user", "1000:1000", bundle.id, *show).stdout
    sets = dict(line.split() for line in text.splitlines())
    assert {name for name, value in sets.items() if int(value, 16)} == {"CapBnd:"}


def test_no_code_of_the_container_runs_in_our_interpreter(bundle):
    """A root that ships the standard library and our package as traps, and FIFOs where our sources lie."""
    trap = "open('/tmp/sprung', 'w').close()\n"
    for path in of_interpreter("os.path.dirname(os.__file__)").glob("*.py"):
        copy = bundle.rootfs / str(path).lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(trap)
    for path in (REPOSITORY / "src").rglob("*.py"):
        copy = bundle.rootfs / str(path).lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "__init__.py":
            copy.write_text(trap)
        else:
            os.mkfifo(copy)
    bundle("run", bundle.id)
    bundle.configure(configuration(["nowhere"]))
    bundle("run", bundle.id, status=1)
    bundle.configure(configuration(["/bin/true"], cwd="/bin/busybox"))
    bundle("run", bundle.id, status=1)
    start(bundle)
    bundle("exec", bundle.id, "/bin/true")
    bundle("exec", bundle.id, "nowhere", status=255)
    assert not (bundle.rootfs / "tmp/sprung").exists()
