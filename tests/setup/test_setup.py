"""Set-up by ./onggi: what it refuses, in one sentence and leaving nothing half done; that it happens once.

Each test runs a copy of the starter in a mount namespace in which the machine lacks something. The network is
the machine's: set-up needs a package index.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 300


@pytest.fixture
def checkout(tmp_path):
    """What the starter needs of a checkout, readable by everybody."""
    for name in ("onggi", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "src").symlink_to(ROOT / "src")
    for directory in [tmp_path, *tmp_path.parents]:
        if directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755)
    return tmp_path


def start(checkout: Path, lacking: str, **variables: str) -> subprocess.Popen:
    """Run `./onggi --help` after the shell lines `lacking` have changed the world it sees."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    env |= {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))
    }
    script = f'{lacking}\nexec "$@"'
    command = ["unshare", "--mount", "sh", "-ec", script, "sh", "./onggi", "--help"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        cwd=checkout,
        env=env | variables,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )


def refusal(checkout: Path, lacking: str, **variables: str) -> str:
    """The one sentence with which it refuses."""
    _, words = (process := start(checkout, lacking, **variables)).communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    left = [path.name for path in (checkout / ".onggi").glob("*") if path.name != "lock"]
    assert not left
    sentences = [line for line in words.splitlines() if line.startswith("onggi: ")]
    assert len(sentences) == 1
    assert words.splitlines()[-1] == sentences[0]
    return sentences[0]


def fake(checkout: Path, name: str, text: str) -> str:
    """The PATH on which a program is replaced by a script."""
    directory = checkout / "fakes"
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{text}\n")
    (directory / name).chmod(0o755)
    return f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"


def test_not_root(checkout):
    drop = 'set -- setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
    assert "must be root" in (words := refusal(checkout, drop))
    assert "sudo ./onggi" in words


def test_python_is_too_old(checkout):
    hide = "for file in /usr/bin/python3*; do [ -h $file ] || mount --bind /bin/false $file; done"
    words = refusal(checkout, hide)
    assert "Python 3.11 or newer is needed" in words
    assert "apt-get install python3" in words


def test_no_package_index(checkout):
    nothing = {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "1"}
    words = refusal(checkout, "", **nothing)
    assert "pip could not install the Python packages (" in words
    assert "package index" in words


def test_kernel_is_too_old(checkout):
    path = fake(checkout, "uname", "echo 5.4.0-150-generic")
    assert "Linux 5.4.0-150-generic is too old, 5.10 is needed" in refusal(checkout, "", PATH=path)


def test_kernel_has_no_overlay(checkout):
    (checkout / "filesystems").write_text("nodev\ttmpfs\n\text4\n")
    path = fake(checkout, "modprobe", "exit 1")
    hide = f"mount --bind {checkout}/filesystems /proc/filesystems"
    assert "no overlay file system; load the module" in refusal(checkout, hide, PATH=path)


def test_no_cgroup_hierarchy(checkout):
    assert "no cgroup hierarchy is mounted; run" in refusal(checkout, "umount -R /sys/fs/cgroup")


def test_it_happens_once(checkout):
    """Of several first calls at once one sets up, the others wait for it; a later call does nothing."""
    running = [start(checkout, "") for _ in range(3)]
    answers = [process.communicate(timeout=DEADLINE_S) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum("Setting up" in words for _, words in answers) == 1
    assert all(text.startswith("Usage:") for text, _ in answers)
    (environment,) = (checkout / ".onggi").glob("env-*")
    made = environment.stat().st_mtime_ns
    _, words = (later := start(checkout, "")).communicate(timeout=DEADLINE_S)
    assert (later.returncode, words) == (0, "")
    assert environment.stat().st_mtime_ns == made


def test_a_broken_environment_is_made_again(checkout):
    """After an upgrade of the distribution the link to the interpreter leads nowhere."""
    name = (checkout / "onggi").read_text().split("environment=", 1)[1][:8]
    broken = checkout / ".onggi" / f"env-{name}" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").symlink_to("/usr/bin/python3.10-gone")
    _, words = (process := start(checkout, "")).communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Setting up" in words
