"""What every test gets: repeatable random input, listed skips, and a private world for those that need root.

The suites of ROOT_SUITES touch namespaces, mounts and cgroups. Before the first of them runs, this process
enters a mount and a network namespace of its own, with its own /dev and loopback up, so that a mistake in a
test can neither mount on the machine nor replace its /dev/null. ctypes is used here, as Python 3.11 has no
os.unshare.
"""

import ctypes
import fcntl
import os
import socket
import stat
import struct
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
ROOT_SUITES = {"contracts", "root", "api", "crash", "security"}
SETUP_SUITE = "setup"  # needs root, and the machine's own network for packages

CLONE_NEWNS, CLONE_NEWNET = 0x0002_0000, 0x4000_0000
MS_NOSUID, MS_BIND, MS_REC, MS_PRIVATE = 2, 4096, 16384, 1 << 18
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}

hypothesis.settings.register_profile("onggi", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("onggi")

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    call(libc.mount, source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def enter_private_world() -> None:
    """Unshare the mount and network namespaces of this process and furnish them."""
    # For a fixture that gets packages, and for nothing else: nsenter --net=/proc/PID/fd/FD.
    machine_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    os.environ["ONGGI_TEST_MACHINE_NETWORK"] = f"/proc/{os.getpid()}/fd/{machine_network}"
    call(libc.unshare, CLONE_NEWNS | CLONE_NEWNET)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    loopback_up()
    furnish_dev()
    os.environ["ONGGI_HERE"] = "1"  # an engine refuses to start in namespaces of its caller's own


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("h", request, 16)[0]
        struct.pack_into("h", request, 16, flags | IFF_UP)
        fcntl.ioctl(control, SIOCSIFFLAGS, request)


def furnish_dev() -> None:
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=16m")
    for name, minor in DEVICES.items():
        node(f"/dev/{name}", 1, minor)
    node("/dev/tty", 5, 0)
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name, kind, data in [
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
        ("mqueue", "mqueue", ""),
    ]:
        os.mkdir(f"/dev/{name}")
        mount(kind, f"/dev/{name}", kind, MS_NOSUID, data)


def node(path: str, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.chmod(path, 0o666)  # mknod obeys the umask


def suite_of(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if suite_of(item) in {*ROOT_SUITES, SETUP_SUITE}:
                item.add_marker(pytest.mark.skip(reason="needs root"))
    elif not config.option.collectonly and any(suite_of(item) in ROOT_SUITES for item in items):
        enter_private_world()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip whose reason is not listed in skips.txt fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    listed = [line for line in (TESTS / "skips.txt").read_text().splitlines() if line and line[0] != "#"]
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped if report.longrepr}
    unlisted = sorted(reason for reason in reasons if not any(reason.startswith(line) for line in listed))
    if unlisted:
        reporter.write_line(f"skip reasons that tests/skips.txt does not list: {unlisted}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
