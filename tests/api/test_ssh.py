"""``-H ssh://``: both commands reach the engine through an ssh that stays on this machine."""

import os
import shlex
import shutil
import subprocess

import pytest

from engines import DEADLINE_S, ONGGI

SSH = """#!/bin/sh
echo "$@" >> "$SSH_LOG"
while [ "$1" != "--" ]; do shift; done
shift 2
exec sh -c "$*"
"""


@pytest.fixture(params=["onggi", "docker"])
def far(engine, tmp_path, request):
    """A function that runs a command line with ``-H ssh://…``, and the arguments that ssh got."""
    shim = f'#!/bin/sh\nDOCKER_HOST={engine.url} exec {shlex.join(ONGGI)} "$@"\n'
    for name, text in [("ssh", SSH), ("remote/onggi", shim), ("remote/docker", shim)]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"
    program = ONGGI if request.param == "onggi" else [shutil.which("docker")]

    def run(host, *arguments, input=b""):
        path = f"{tmp_path}:{tmp_path}/remote:{os.environ['PATH']}"
        env = {"PATH": path, "HOME": str(tmp_path), "SSH_LOG": str(log)}
        return subprocess.run(
            [*program, "-H", host, *arguments], input=input, capture_output=True, timeout=DEADLINE_S, env=env
        )

    return run, log


def test_a_container_far_away(far):
    run, log = far
    done = run(
        "ssh://kim@far.example:2222", "run", "--rm", "-i", "--network", "none", "busybox", "cat", input=b"hi"
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"hi", b"", 0)
    for line in log.read_text().splitlines():
        assert line.startswith("-o ConnectTimeout=30 -T -l kim -p 2222 -- far.example ")
        assert "system dial-stdio" in line


def test_a_path_is_a_socket_there(far, engine):
    run, log = far
    done = run(f"ssh://far.example{engine.socket}", "ps")
    assert done.stdout.startswith(b"CONTAINER ID"), done
    assert f"unix://{engine.socket}" in log.read_text().replace("'", "")


@pytest.mark.parametrize(
    "host", ["ssh://-oProxyCommand=x", "ssh://a;b@far", "ssh://kim:pw@far", "ssh://", "ssh://fa$r"]
)
def test_what_is_no_host(engine, host):
    done = engine.onggi("-H", host, "ps")
    assert done.returncode == 1
    assert b"invalid ssh URL" in done.stderr


def test_an_ssh_that_fails(engine, tmp_path):
    (tmp_path / "ssh").write_text("#!/bin/sh\necho no route >&2\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    env = engine.environment | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [*ONGGI, "-H", "ssh://far.example", "ps"]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, env=env)
    assert done.returncode == 1
    assert done.stderr.startswith(b"no route\n")
    assert b"ssh to ssh://far.example has ended: make sure that it works" in done.stderr
