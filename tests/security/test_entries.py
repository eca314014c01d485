"""Run, exec and health checks give the same process, and nobody catches it half-made: R3, R5, R15, R20."""

import json

import pytest

from engines import wait_until

FIELDS = "^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|SigIgn|SigBlk|Umask|TracerPid):"
SAME = (
    f"grep -E '{FIELDS}' /proc/self/status; cat /proc/self/cgroup /proc/self/limits;"
    " pwd -P; cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done; cd /proc/self/fd; echo fds *"
)
OPTIONS = {
    "default": [],
    "user": ["--user=1000:1000", "--group-add=29", "--group-add=4242"],
    "name": ["--user=user"],
    "drop": ["--cap-drop=ALL"],
    "nnp": ["--security-opt=no-new-privileges"],
    "ptrace": ["--cap-add=SYS_PTRACE"],
    "ulimit": ["--ulimit=nofile=77:88", "--ulimit=core=0"],
    "privileged": ["--privileged"],
}


def by_health_check(onggi, name: str) -> str:
    """The output of the first health check."""
    found: list[dict] = []

    def checked() -> bool:
        health = json.loads(onggi("inspect", name).stdout)[0]["State"].get("Health") or {}
        found.extend(health.get("Log") or [])
        return bool(found)

    wait_until(checked, "a health check")
    return found[0]["Output"]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_cve_2022_24769_every_entry_makes_the_same_process(onggi, options):
    """CVE-2022-27649, 27650, 27651, 29162 (capabilities); CVE-2022-36109, 2022-2989, 2022-2990, 2023-25173
    (groups); CVE-2016-8867, 2018-10856 (users): exec and health checks have what run has, no more, no less.
    """
    check = ["--health-cmd", SAME, "--health-interval=1s", "--health-start-interval=10ms"]
    with onggi.container(*options, *check, "busybox", "sh", "-c", f"({SAME}); sleep 1000000") as name:
        by_exec = onggi("exec", name, "sh", "-c", f"({SAME})").stdout
        wait_until(lambda: "fds" in onggi("logs", name).stdout, "output of the first process")
        by_run = onggi("logs", name).stdout
        health = by_health_check(onggi, name)
    assert by_run == by_exec
    assert health.splitlines() == by_run.splitlines()
    status = dict(line.split(":\t", 1) for line in by_run.splitlines() if ":\t" in line)
    assert (int(status["CapInh"], 16), int(status["CapAmb"], 16)) == (0, 0)
    expected = {"user": "29 1000 4242", "name": "29 1000"}
    kind = next(key for key, value in OPTIONS.items() if value is options)
    if kind in expected:
        assert " ".join(sorted(status["Groups"].split())) == " ".join(sorted(expected[kind].split()))
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0


@pytest.mark.parametrize("options", [[], ["-t"], ["--privileged"], ["--cap-add=SYS_PTRACE"]])
def test_cve_2024_21626_only_standard_descriptors(onggi, options):
    """CVE-2016-9962: what a program inherits is 0, 1 and 2, by run and by exec; 3 is ls's own."""
    words = ["ls", "/proc/self/fd"]
    assert onggi("run", "--rm", *options, "busybox", *words).stdout.split() == ["0", "1", "2", "3"]
    terminal = ["-t"] if "-t" in options else []
    with onggi.container(*options, "busybox", "sleep", "1000000") as name:
        assert onggi("exec", *terminal, name, *words).stdout.split() == ["0", "1", "2", "3"]


TRACE = """
import ctypes, glob, json, os, signal
libc = ctypes.CDLL(None, use_errno=True)
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # without the SIGSTOP of PTRACE_ATTACH
own = dict(line.split(":", 1) for line in open("/proc/self/status"))
root = os.stat("/")[:2]
caught, wrong = [0, 0], set()

def examine(pid):
    at = f"/proc/{pid}"
    exe = os.readlink(f"{at}/exe")
    caught["memfd" in exe] += 1
    status = dict(line.split(":", 1) for line in open(f"{at}/status"))
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        if int(status[name], 16) & ~int(own[name], 16):
            wrong.add(f"{name} {status[name].strip()}")
    if status["Seccomp"] != own["Seccomp"] and "memfd" not in exe:
        wrong.add("no seccomp filter")
    for place in ("root", "cwd"):
        if os.stat(f"{at}/{place}")[:2] != root:
            wrong.add(place)
    for name in ("mnt", "net", "ipc", "uts", "cgroup", "pid"):
        if os.readlink(f"{at}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"):
            wrong.add(f"namespace {name}")
    for path in glob.glob(f"{at}/fd/*"):
        link = os.readlink(path)
        loading = "memfd" not in exe and link.startswith(("/etc/ld.so", "/usr/lib/", "/lib/"))
        if not loading and not link.startswith(("pipe:", "socket:", "/dev/null", "/dev/pts")):
            wrong.add(link)
    try:
        os.close(os.open(f"{at}/exe", os.O_WRONLY))
        wrong.add("writable interpreter")
    except OSError:
        pass

stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
print("tracing", flush=True)
following = os.getpid() + 1
while not stopping:
    for pid in range(following, following + 4):
        if libc.ptrace(SEIZE, pid, 0, 0) != 0:
            continue
        following = pid + 1
        libc.ptrace(INTERRUPT, pid, 0, 0)
        if os.WIFSTOPPED(os.waitpid(pid, 0x40000000)[1]):
            try:
                examine(pid)
            except OSError as error:
                wrong.add(str(error))
            libc.ptrace(DETACH, pid, 0, 0)
        break
    else:  # what came and went while we did not run is not waited for
        following = max(following, int(open("/proc/loadavg").read().split()[-1]))
print(json.dumps([caught, sorted(wrong)]))
"""


def test_cve_2016_9962_exec_under_a_tracer(onggi):
    """R5: root inside, with SYS_PTRACE, attaches to whatever appears while fifty programs are executed."""
    with onggi.container("--cap-add=SYS_PTRACE", "host", "/usr/bin/python3", "-I", "-c", TRACE) as name:
        wait_until(lambda: "tracing" in onggi("logs", name).stdout, "the tracer")
        for _ in range(50):
            onggi("exec", name, "true")
        onggi("kill", "-s", "TERM", name)
        onggi("wait", name)
        caught, wrong = json.loads(onggi("logs", name).stdout.splitlines()[-1])
    print("caught", caught)
    assert sum(caught) > 0
    assert wrong == []
