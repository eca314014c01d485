"""An engine that cannot or may not mount overlays."""

import subprocess
import sys

import pytest

from engines import DEADLINE_S, engine_at


@pytest.fixture(scope="module")
def copying(tmp_path_factory):
    with engine_at(tmp_path_factory.mktemp("copying"), "--storage-driver", "copy") as engine:
        yield engine


def run(engine, *arguments):
    done = engine.onggi("run", "--network", "none", *arguments)
    assert done.returncode == 0, done
    return done.stdout.decode()


def test_containers_run_on_copies(copying):
    assert run(copying, "--rm", "busybox", "id") == "uid=0(root) gid=0(root) groups=0(root)\n"
    run(copying, "--name", "it", "busybox", "sh", "-c", "echo one >> /file; mount | grep ' / ' && cat /file")
    assert copying.onggi("start", "-a", "it").stdout.endswith(b"one\none\n")
    assert b"one" not in copying.onggi("run", "--rm", "--network", "none", "busybox", "ls", "/").stdout
    copying.kill()
    copying.start()
    assert copying.onggi("start", "-a", "it").stdout.endswith(b"one\none\none\n")
    assert copying.onggi("rm", "it").returncode == 0
    assert len(list((copying.data_root / "snapshots/copy").iterdir())) == 1


def test_what_a_container_changed_is_told(copying):
    script = "echo >/new; rm /bin/ls; chmod 711 /tmp"
    run(copying, "--name", "changed", "busybox", "sh", "-c", script)
    changes = copying.onggi("diff", "changed").stdout.decode().split("\n")[:-1]
    assert changes == ["C /bin", "D /bin/ls", "A /new", "C /tmp"]
    copying.onggi("rm", "changed")
    run(copying, "--name", "unchanged", "busybox", "true")
    assert copying.onggi("diff", "unchanged").stdout == b""
    copying.onggi("rm", "unchanged")


def test_it_is_told(copying):
    assert copying.onggi("info", "--format", "{{.Driver}}").stdout == b"copy\n"
    inspected = copying.docker("image", "inspect", "--format", "{{.GraphDriver.Name}}", "busybox")
    assert inspected.stdout == b"copy\n"


def test_the_view_of_the_machine_is_refused(copying):
    done = copying.onggi("run", "--rm", "--network", "none", "host", "true")
    assert done.returncode == 125
    assert b"needs overlay mounts, which the storage driver copy does without" in done.stderr


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("zfs", b"error initializing graphdriver: driver not supported: zfs"),
        ("overlay2", b"was made with the storage driver copy, not overlay2"),
    ],
)
def test_another_is_refused(copying, asked, words):
    copying.stop()
    try:
        command = [sys.executable, "-m", "onggi.daemon", "--here", "--storage-driver", asked]
        done = subprocess.run(
            [*command, "--cgroup-parent", copying.cgroup_parent],
            env=copying.environment,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode != 0
        assert words in done.stderr + (copying.directory / "onggid.log").read_bytes()
    finally:
        copying.start()


def test_accounts_that_a_layer_deletes_are_none(copying, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN rm /etc/passwd\nCOPY --chown=1000:1000 file /\n")
    done = copying.onggi("build", "--network", "none", "-q", str(tmp_path))
    assert done.returncode == 0, done.stderr
