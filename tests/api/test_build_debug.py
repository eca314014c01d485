"""``build --debug``: a shell in the state before the step that failed; and steps that can be run."""

import os
import re

import pytest

from builds import Wire
from engines import DEADLINE_S, wait_until
from runner import Runner, read_terminal

DOCKERFILE = """FROM busybox
WORKDIR /app
RUN echo before > file
USER user
ENV A=7
RUN --mount=type=secret,id=s,target=/s,mode=0444 echo lost > /tmp/lost; echo last words; exit 3
"""


@pytest.fixture
def shell(engine, tmp_path):
    """A build whose step has failed, on a terminal: its process and our side of the terminal."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "s").write_text("secret\n")
    arguments = ("build", "--debug", f"--secret=id=s,src={tmp_path}/s", str(tmp_path))
    process, master = Runner(engine, "onggi").terminal(*arguments)
    try:
        seen = read_terminal(master, b"/app $ ")
        assert b"last words" in seen
        yield process, master, seen
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        os.close(master)


def of_steps(engine):
    """Containers that have the variable of the step."""
    found = engine.docker("ps", "-aq", "--no-trunc", "--filter", "status=running", check=True).stdout.split()
    env = [engine.docker("inspect", "-f", "{{.Config.Env}}", it.decode()).stdout for it in found]
    return [it for it in env if b"A=7" in it]


def test_a_failed_step_leads_into_a_shell(engine, shell):
    process, master, seen = shell
    os.write(master, b"echo $(id -un) $(pwd) $A $(cat file /s) $(ls /tmp) end$((1+1))\n")
    shown = read_terminal(master, b" end2").decode()
    assert "user /app 7 before secret end2" in shown, "and not what the step itself has written"
    os.write(master, b"exit\n")
    assert b"returned a non-zero code: 3" in read_terminal(master, b"code: 3")
    assert process.wait(DEADLINE_S) == 1
    assert not of_steps(engine)
    image = re.search(rb"run --rm -it (\w{12}) sh", seen)[1].decode()
    done = engine.onggi("run", "--rm", "--network=none", image, "cat", "file")
    assert done.stdout == b"before\n", done.stderr


def test_who_leaves_the_shell_leaves_nothing(engine, shell):
    process, _, _ = shell
    assert of_steps(engine)
    process.kill()
    process.wait(DEADLINE_S)
    wait_until(lambda: not of_steps(engine), "the container of the shell is gone")
    builds = engine.data_root / "build"
    wait_until(lambda: {it.name for it in builds.iterdir()} <= {"caches"}, "the build is gone")


def test_a_shell_needs_a_terminal(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    done = engine.onggi("build", "--debug", str(tmp_path))
    assert done.returncode == 125
    assert b"must be a terminal" in done.stderr


@pytest.mark.parametrize("query", [{"rm": "0"}, {"rm": "1", "forcerm": "0"}])
def test_steps_leave_images_and_no_containers(engine, query):
    before = set(engine.docker("ps", "-aq", check=True).stdout.split())
    text = "FROM busybox\nRUN echo left > /here\nENV B=2\nRUN exit 4\n"
    told = Wire(engine, {"Dockerfile": text}, **query).rest()
    assert "returned a non-zero code: 4" in told
    assert "Running in" not in told
    assert set(engine.docker("ps", "-aq", check=True).stdout.split()) <= before
    image = re.findall(r" ---> (\w{12})", told.replace("\\u003e", ">"))[-1]
    done = engine.onggi("run", "--rm", "--network=none", image, "sh", "-c", "cat /here; echo $B")
    assert done.stdout == b"left\n2\n", done.stderr
