"""``engine``: a real onggid for the suite; ``onggi``: its command; ``canary``: files of the host."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines import DEADLINE_S, RealEngine, engine_at

SOURCE = Path(__file__).resolve().parents[2] / "src"
BOOT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from onggi.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
SECRET = "canary of the host"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """Started under umask 0, with debug messages on."""
    old = os.umask(0)
    try:
        with engine_at(tmp_path_factory.mktemp("engine"), "--debug") as engine:
            yield engine
    finally:
        os.umask(old)


class Command:
    """The command of the engine under test."""

    def __init__(self, engine: RealEngine) -> None:
        self.start = [sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE), "-H", engine.url]

    def __call__(self, *words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run it; `status` None allows any."""
        done = subprocess.run(
            [*self.start, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert status is None or done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done

    @contextlib.contextmanager
    def container(self, *words: str):
        """A container in the background; gives its id."""
        name = self("run", "-d", *words).stdout.strip()
        try:
            yield name
        finally:
            self("rm", "-f", name)

    def probe(self, code: str, *options: str, entry: str = "run"):
        """What Python code prints as JSON in a `host` container, by run or by exec."""
        python = ["/usr/bin/python3", "-I", "-c", code]
        if entry == "run":
            return json.loads(self("run", "--rm", *options, "host", *python).stdout)
        user = [word for word in options if word.startswith("--user=")]
        with self.container(*options, "host", "sleep", "1000000") as name:
            return json.loads(self("exec", *user, name, *python).stdout)


@pytest.fixture
def onggi(engine):
    return Command(engine)


@pytest.fixture
def canary(tmp_path):
    """A directory of the host's with one file; unchanged at the end."""
    directory = tmp_path / "canary"
    directory.mkdir(mode=0o751)
    (directory / "file").write_text(SECRET)
    yield directory
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert (directory / "file").read_text() == SECRET
    assert directory.stat().st_mode & 0o777 == 0o751


@pytest.fixture
def rootfs(tmp_path):
    """A root file system of busybox alone, to be made hostile."""
    root = tmp_path / "rootfs"
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for name in ("sh", "true", "cat", "sleep", "stat", "ls", "tty", "readlink"):
        (root / "bin" / name).symlink_to("busybox")
    return root
