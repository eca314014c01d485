"""Sentences that must hold whatever a container holds: no code of its files runs on our side, nothing of one
container is left in the next one's monitor, no module is imported late (rules R4, R14).
"""

import contextlib
import io
import json
import os
import secrets
import shutil
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from engines import ROOT, RealEngine, paths_below, wait_until

TRAP = "open('/trapped', 'a').write(__name__ + ' ' + __file__ + chr(10))\n"
LIBRARIES = [  # what NSS, gconv, locale and the loader would open by name
    "/etc/nsswitch.conf", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/locale.alias",
    "/usr/lib/locale/locale-archive", "/usr/share/locale/locale.alias", "/usr/lib/locale/C.utf8/LC_CTYPE",
    "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules", "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
    "/lib/x86_64-linux-gnu/libnss_files.so.2", "/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/share/zoneinfo/UTC", "/etc/python3/sitecustomize.py",
]  # fmt: skip


def sources() -> list[Path]:
    """Every Python file that our processes could import or print a line of."""
    library = Path(sysconfig.get_path("stdlib"))
    standard = [path for path in library.rglob("*.py") if not {"test", "idlelib"} & set(path.parts)]
    return [*standard, *(ROOT / "src").rglob("*.py")]


def plant_trap(path: Path) -> None:
    path.write_text(TRAP)


@pytest.fixture(params=[plant_trap, os.mkfifo], ids=["traps", "fifos"])
def hostile(request, rootfs):
    """A root file system with something nasty at the place of every source file and library of the host."""
    names = [str(path) for path in sources()] if request.param is plant_trap else []
    if request.param is os.mkfifo:
        names = [str(path) for path in sources() if "onggi" in path.parts or path.parent.name == "encodings"]
        names += [str(Path(sysconfig.get_path("stdlib"), f"{name}.py")) for name in sys.stdlib_module_names]
        names += LIBRARIES
    for name in names:
        path = Path(f"{rootfs}{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        request.param(path)
    (rootfs / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")
    (rootfs / "etc/noexec").write_text("")
    return rootfs


def test_r4_no_python_of_a_container_is_ever_imported(onggi, hostile):
    """Where it runs, where it fails in every way we know, where it is joined: no marker and no hang."""
    root = ["--rootfs", str(hostile)]
    assert onggi("run", "--rm", *root, "/bin/true").returncode == 0
    assert onggi("run", "--rm", "-t", "--user", "user", *root, "/bin/true").returncode == 0
    for status, words in [
        (127, ["/missing"]),
        (126, ["/etc/noexec"]),
        (127, ["-w", "/etc/noexec", "/bin/true"]),
        (125, ["--user", "nobody", "/bin/true"]),
        (127, ["-v", "/proc/self/environ:/etc/noexec/x", "/bin/true"]),
    ]:
        options = words[:-1]
        done = onggi("run", "--rm", *options, *root, words[-1], status=None)
        assert done.returncode in (status, 125, 126), (words, done.stderr)
    with onggi.container(*root, "/bin/sleep", "1000000") as name:
        onggi("exec", name, "/bin/true")
        onggi("exec", "-t", "--user", "user", name, "/bin/true")
        assert onggi("exec", name, "/missing", status=None).returncode == 127
        assert onggi("exec", name, "/etc/noexec", status=None).returncode == 126
        assert onggi("exec", "-w", "/etc/noexec", name, "/bin/true", status=None).returncode != 0
        onggi("top", name)
        onggi("kill", name)
    assert not (hostile / "trapped").exists()


def test_cve_2019_14271_copies_load_nothing_of_the_container(onggi, engine, hostile):
    """Where they work, and where they fail in every way we know: no marker and no hang."""
    with onggi.container("--rootfs", str(hostile), "/bin/sleep", "1000000") as name:
        for stopped in (False, True):
            if stopped:
                onggi("kill", name)
            for path in ("/etc", "/bin/busybox", "/missing", "/bin/busybox/", "/proc/1"):
                engine.docker("cp", f"{name}:{path}", "-")
            for data in (b"nonsense" * 200, tar_of("file"), tar_of("bin/busybox/x"), tar_of("../x")):
                for path in ("/tmp", "/etc/passwd", "/missing"):
                    put(engine, name, path, data)
            assert engine.docker("export", name).returncode == 0
    assert not (hostile / "trapped").exists()


def put(engine, name: str, path: str, data: bytes) -> None:
    """PUT an archive, whatever comes of it."""
    client = engine.client()
    url = client.api._url(f"/containers/{name}/archive?path={path}&copyUIDGID=1")
    client.api.put(url, data=data)
    client.close()


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def memory(pid: int, what: bytes) -> int:
    """How often some bytes are found in the memory of a process; 0 if it has ended."""
    count = 0
    with (
        contextlib.suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{pid}/mem", "rb", 0) as file,
    ):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            start, end = (int(word, 16) for word in span.split("-"))
            if "r" in rights and "[v" not in line:
                with contextlib.suppress(OSError, OverflowError):
                    file.seek(start)
                    count += file.read(end - start).count(what)
    return count


def processes(engine, name: str) -> list[int]:
    """The engine's processes of that name (launcher, monitors), by their comm."""
    found = set()
    for path in (path for group in engine._groups() for path in paths_below(group)):
        if path.name == "cgroup.procs":
            with contextlib.suppress(OSError):  # a group or a process that ended meanwhile
                pids = map(int, path.read_text().split())
                found |= {pid for pid in pids if comm(pid).startswith(name)}
    return sorted(found)


def comm(pid: int) -> str:
    """The process's name, empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def test_r14_one_configuration_is_not_in_anothers_monitor(onggi, engine):
    """Environment, arguments, labels and mounts of one are nowhere in later monitors nor in the launcher."""
    marker = f"marker{secrets.token_hex(16)}"
    words = ["-e", f"A={marker}", "-l", f"x={marker}", "--tmpfs", f"/{marker}", "-w", f"/{marker}"]
    for _ in range(3):
        onggi("run", "--rm", *words, "busybox", "echo", marker)
    assert memory(engine.process.pid, marker.encode())  # the search finds what is there
    with onggi.container(*words, "busybox", "sh", "-c", f"sleep 1000000 # {marker}") as name:
        pid = json.loads(onggi("inspect", name).stdout)[0]["State"]["Pid"]
        owner = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        with onggi.container("busybox", "sleep", "1000000") as other:
            onggi("exec", other, "true")
            monitors = processes(engine, "onggi-monitor")
            assert owner in monitors
            launchers = processes(engine, "onggi-launcher")  # its forks bear its name for a moment
            assert launchers
            searched = {*monitors, *launchers} - {owner}
            assert len(searched) > 1
            assert not [pid for pid in searched if memory(pid, marker.encode())]


RECORD = """
def _record(code, end=__import__("os")._exit, sys=__import__("sys"), os=__import__("os")):
    name = open("/proc/self/comm").read().strip()
    fd = os.open(f"{directory}/{name}-{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, " ".join(sorted(sys.modules)).encode())
    end(code)
__import__("os")._exit = _record
_close = door.close
def _closed():
    _close()
    import_names = " ".join(sorted(__import__("sys").modules))
    open(f"{directory}/closed", "w").write(import_names)
door.close = _closed
"""


def test_decision_25_monitors_import_nothing_late(tmp_path):
    """When a monitor ends, it has the modules that the launcher had when it closed the door."""
    names = tmp_path / "names"
    names.mkdir()
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "src/onggi/launch/launcher.py", "a") as file:
        file.write(f"\ndirectory = {str(names)!r}{RECORD}")
    (tmp_path / "engine").mkdir()

    class Recorded(RealEngine):
        @property
        def environment(self):
            return super().environment | {"PYTHONPATH": str(tmp_path / "src")}

    engine = Recorded(tmp_path / "engine")
    try:
        engine.start()
        for words in (["true"], ["missing"], ["sh", "-c", "exit 3"]):
            assert engine.onggi("run", "--rm", "-e", "A=b", "host", *words).returncode in (0, 127, 3)
        name = engine.onggi("run", "-dt", "host", "sleep", "1000000").stdout.decode().strip()
        assert engine.onggi("exec", name, "true").returncode == 0
        engine.onggi("rm", "-f", name)
        # An answer does not wait for its monitor's last step.
        wait_until(lambda: len([text for text in monitors_in(names).values() if text]) >= 4, "four monitors")
    finally:
        engine.destroy()
    closed = set((names / "closed").read_text().split())
    late = {name: sorted(set(text.split()) - closed) for name, text in monitors_in(names).items()}
    assert not {name: modules for name, modules in late.items() if modules}


def monitors_in(directory: Path) -> dict[str, str]:
    """The modules that each monitor wrote down at its end."""
    return {path.name: path.read_text() for path in directory.glob("onggi-monitor*")}
