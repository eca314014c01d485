"""What a process in a container cannot do, whether it came by run or by exec (rules R3, R5, R15-R17, R19)."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from engines import paths_below, wait_until

ENTRIES = ["run", "exec"]
CALLS = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *arguments):
    ctypes.set_errno(0)
    return libc.syscall(number, *arguments) == -1 and errno.errorcode[ctypes.get_errno()]
def no_socket(family):
    try:
        socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_STREAM).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return False
handle = ctypes.create_string_buffer(bytes([8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]), 32)
print(json.dumps({
    "open_by_handle_at": refused(304, os.open("/", os.O_RDONLY), handle, 0),
    "fsopen": refused(430, b"ext4", 0),
    "unshare user": refused(272, 0x10000000),
    "unshare user, mount, cgroup": refused(272, 0x10000000 | 0x00020000 | 0x02000000),
    "mount": refused(165, b"none", b"/tmp", b"cgroup", 0, b"memory"),
    "clone3": refused(435, 0, 0),
    "AF_ALG": no_socket(38),
    "AF_VSOCK": no_socket(40),
}))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86-64")
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("call", "number"),
    [
        pytest.param("open_by_handle_at", "EPERM", id="shocker"),
        pytest.param("fsopen", "EPERM", id="cve_2022_0185"),
        pytest.param("unshare user", "EPERM", id="cve_2021_3493"),
        pytest.param("unshare user, mount, cgroup", "EPERM", id="cve_2022_0492"),
        pytest.param("mount", "EPERM", id="cve_2022_0492 mount"),
        pytest.param("clone3", "ENOSYS", id="cve_2024_1086"),
        pytest.param("AF_ALG", "EPERM", id="cve_2026_31431"),
        pytest.param("AF_VSOCK", "EPERM", id="cve_2026_31431 vsock"),
    ],
)
def test_cve_2022_0492_and_others_calls_are_refused(onggi, entry, call, number):
    """shocker, CVE-2022-0185, 2021-3493, 2021-22555, 2024-1086, 2026-31431: entry points of the kernel."""
    assert onggi.probe(CALLS, entry=entry)[call] == number


STATUS = """
import json
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({name: int(lines["Cap" + name], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}))
"""


@pytest.mark.parametrize("entry", ENTRIES)
def test_cve_2016_8867_a_user_has_no_capability(onggi, entry):
    """CVE-2018-10856: permitted, effective and ambient are empty for anybody but root."""
    found = onggi.probe(STATUS, "--user=1000", entry=entry)
    assert (found["Prm"], found["Eff"], found["Amb"], found["Inh"]) == (0, 0, 0, 0)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "options", [[], ["--cap-add=NET_ADMIN"], ["--privileged"]], ids=["default", "add", "privileged"]
)
def test_cve_2022_24769_nothing_is_inheritable(onggi, entry, options):
    """CVE-2022-27649, 2022-27650, 2022-27651, 2022-29162: inheritable and ambient sets are empty."""
    found = onggi.probe(STATUS, *options, entry=entry)
    assert (found["Inh"], found["Amb"]) == (0, 0)
    assert found["Prm"] == found["Eff"] == found["Bnd"] != 0


WRITES = """
import json
def opens(path):
    try:
        with open(path, "r+b", buffering=0) as file:
            return "/null" not in path and bool(file.read(1) or True)
    except OSError:
        return False
paths = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"]
paths += ["/proc/sys/vm/panic_on_oom"]
def content(path):
    try:
        with open(path, "rb") as file:
            return file.read(64).decode("latin-1")
    except OSError:
        return ""
masked = ["/proc/kcore", "/proc/keys", "/proc/timer_list"]
print(json.dumps({"writable": [p for p in paths if opens(p)], "readable": [p for p in masked if content(p)]}))
"""


@pytest.mark.parametrize("entry", ENTRIES)
def test_cve_2015_3630_procfs_is_masked(onggi, entry):
    assert onggi.probe(WRITES, entry=entry) == {"writable": [], "readable": []}


@pytest.mark.parametrize("place", ["/proc", "/proc/sys", "/proc/1/attr", "/sys/../proc"])
def test_cve_2015_3631_nothing_is_mounted_over_proc(onggi, canary, place):
    """CVE-2019-16884, CVE-2019-19921: a bind mount cannot stand in for procfs."""
    assert onggi("run", "--rm", "-v", f"{canary}:{place}", "busybox", "true", status=None).returncode != 0


def test_cve_2020_15257_nothing_listens_on_abstract_sockets(onggi):
    """A container on the host's network sees none of ours."""
    code = (
        'import json; print(json.dumps([line.split()[-1] for line in open("/proc/net/unix") if "@" in line]))'
    )
    assert not [name for name in onggi.probe(code, "--network=host") if "onggi" in name]


def test_cve_2020_14370_environments_do_not_mix(onggi):
    """CVE-2021-21334, CVE-2021-3602: neither another container's nor the caller's."""
    with onggi.container("-e", "SECRET_OF_ONE=1", "busybox", "sleep", "1000000"):
        names = onggi.probe("import json, os; print(json.dumps(list(os.environ)))")
    assert set(names) <= {"PATH", "HOME", "HOSTNAME", "TERM", "LC_CTYPE"}


def test_cve_2019_13509_secrets_are_not_logged(onggi, engine):
    onggi("run", "--rm", "-e", "TOKEN=hunter2-of-the-test", "busybox", "true")
    assert "TOKEN" not in engine.log()
    logs = [path for path in paths_below(engine.directory) if re.fullmatch(r".*onggi.*\.log", path.name)]
    assert logs
    assert not [path for path in logs if b"hunter2-of-the-test" in path.read_bytes()]


@pytest.mark.parametrize("number", [*range(3, 31), 100])
def test_cve_2024_21626_a_working_directory_is_inside(onggi, number):
    """By run and by exec: a descriptor of ours is no way out."""
    where = f"/proc/self/fd/{number}"
    done = onggi(
        "run", "--rm", "-w", where, "busybox", "sh", "-c", "cat ../../../../../../etc/shadow", status=None
    )
    assert done.returncode != 0
    assert "root:" not in done.stdout


def test_cve_2024_21626_by_exec(onggi):
    with onggi.container("busybox", "sleep", "1000000") as name:
        for number in range(3, 31):
            done = onggi("exec", "-w", f"/proc/self/fd/{number}", name, "ls", "/", status=None)
            assert done.returncode != 0, number


SHARED = """
import json
from pathlib import Path
Path("/dev/shm/big").write_bytes(bytes(20 << 20))
usage = [Path("/sys/fs/cgroup", name) for name in ("memory/memory.usage_in_bytes", "memory.current")]
print(json.dumps(max(int(path.read_text()) for path in usage if path.exists())))
"""


def test_cve_2024_3056_shared_memory_is_charged_to_the_writer(onggi):
    assert onggi.probe(SHARED) > 20 << 20


INTERPRETER = Path(os.path.realpath("/usr/bin/python3"))
OVERWRITE = """
import glob, json, os
opened = []
for path in glob.glob("/proc/[0-9]*/exe"):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
        opened.append(os.readlink(path))
    except OSError:
        continue
print(json.dumps(opened))
"""


def test_cve_2019_5736_the_interpreter_cannot_be_written(onggi, rootfs):
    """An entrypoint that is `#!/proc/self/exe` runs nobody's interpreter but a sealed copy."""
    before = hashlib.sha256(INTERPRETER.read_bytes()).digest()
    (rootfs / "evil").write_text("#!/proc/self/exe\nimport os; os.open('/proc/self/exe', os.O_WRONLY)\n")
    (rootfs / "evil").chmod(0o755)
    onggi("run", "--rm", "--rootfs", str(rootfs), "/evil", status=None)
    assert onggi.probe(OVERWRITE, "--cap-add=SYS_PTRACE", entry="exec") == []
    assert hashlib.sha256(INTERPRETER.read_bytes()).digest() == before


WATCH = """
import glob, os, signal
seen, stopping = set(), []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
print("watching", flush=True)
while not stopping:
    for path in glob.glob("/proc/[0-9]*/fd/*") + glob.glob("/proc/[0-9]*/cwd"):
        if path.split("/")[2] != str(os.getpid()):
            try:
                seen.add(os.readlink(path))
            except OSError:
                continue
print("\\n".join(sorted(seen)))
"""
OWN = ("pipe:", "socket:", "/dev/null", "/dev/pts")
LOADER = ("/usr/lib/", "/lib/", "/etc/ld.so")  # what the program itself opens as it starts, in its own root


def test_cve_2016_9962_exec_shows_no_descriptor_of_the_host(onggi):
    """While programs are executed, root inside, with SYS_PTRACE, looks at every process it can see."""
    with onggi.container("--cap-add=SYS_PTRACE", "host", "/usr/bin/python3", "-I", "-c", WATCH) as name:
        wait_until(lambda: "watching" in onggi("logs", name).stdout, "the watcher")
        for _ in range(30):
            onggi("exec", name, "true")
        onggi("kill", "-s", "TERM", name)
        onggi("wait", name)
        seen = onggi("logs", name).stdout.splitlines()
    assert seen[0] == "watching"
    assert not [link for link in seen[1:] if not link.startswith(OWN + LOADER) and link != "/"]


def test_cve_2025_52565_the_console_is_of_our_own_devpts(onggi):
    code = 'import json, os; print(json.dumps([os.major(os.stat("/dev/console").st_rdev), os.ttyname(0)]))'
    assert onggi.probe(code, "-t") == [136, "/dev/pts/0"]
