"""The private call that makes, starts and follows an exec in one round trip."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from private_calls import frame, upgraded

from engines import wait_until
from specification_walk import ask

PRIVATE = "/onggi/v1/exec"


@pytest.fixture
def container(ours):
    return ours.start()


def asked(engine, **body):
    return ask(str(engine.socket), "POST", PRIVATE, body)


def attached(engine, container, *command, **config):
    """Frames of an attached exec, whole, without the first; its id."""
    config = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **config}
    sock, stream = upgraded(engine, PRIVATE, {"Container": container, "Config": config, "Attach": True})
    with sock, stream:
        kind, payload = frame(stream)
        assert kind == 5
        return json.loads(payload)["Id"], list(iter(lambda: frame(stream), None))


def test_an_answer_at_the_end_has_the_exit_code(engine, container):
    answer = asked(engine, Container=container, Config={"Cmd": ["sh", "-c", "exit 7"]}, Wait=True)
    assert (answer.status, answer.json()["ExitCode"]) == (200, 7)
    at_once = asked(engine, Container=container, Config={"Cmd": ["sleep", "1000"]}).json()
    assert at_once.keys() == {"Id"}
    assert ask(str(engine.socket), "GET", f"/exec/{at_once['Id']}/json").json()["Running"]


def test_who_waits_hears_that_the_container_was_removed(ours, engine, container):
    body = {"Container": container, "Config": {"Cmd": ["sleep", "1000"]}, "Wait": True}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(asked, engine, **body)
        wait_until(lambda: ours.inspect(container)["ExecIDs"], "the exec")
        assert ours.command("rm", "-f", container).returncode == 0
        assert answer.result(30).json()["ExitCode"] == 137


def test_a_time_after_which_it_is_killed(engine, container):
    body = {"Container": container, "Config": {"Cmd": ["sleep", "1000"]}, "Wait": True}
    assert asked(engine, **body, Seconds=0.2).json()["ExitCode"] == 137
    assert asked(engine, **body, Seconds=-1).status == 400


def test_the_last_frame_has_the_exit_code_behind_all_output(engine, container):
    script = "head -c 3000000 /dev/zero; echo err >&2; exit 3"
    exec_id, frames = attached(engine, container, "sh", "-c", script)
    assert sum(len(payload) for kind, payload in frames if kind == 1) == 3_000_000
    assert (2, b"err\n") in frames
    kind, last = frames[-1]
    assert (kind, json.loads(last)) == (4, {"ExitCode": 3})
    assert ask(str(engine.socket), "GET", f"/exec/{exec_id}/json").json()["ExitCode"] == 3


def test_a_program_that_is_missing_is_output_and_a_code(engine, container):
    """Also where its process is reaped before its word about the failure is read: one of fifty."""
    for _ in range(100):
        _, ((kind, words), (last, status)) = attached(engine, container, "nosuch")
        assert (kind, last, json.loads(status)) == (1, 4, {"ExitCode": 127})
        assert b'exec: "nosuch": executable file not found in $PATH' in words


def test_what_is_wrong_is_refused_before_anything_runs(engine, container):
    wrong = {"Container": container, "Config": {"Cmd": []}}
    assert asked(engine, **wrong).status == 400
    assert asked(engine, Container="nosuch", Config={"Cmd": ["true"]}).status == 404
    assert asked(engine, Config={"Cmd": ["true"]}).status == 400


def test_users_are_those_of_now(ours, container):
    def user_id(name):
        done = ours.command("exec", "-u", name, container, "id", "-u")
        return done.stdout.decode().strip() or done.stderr.decode()

    assert user_id("root") == "0"
    assert "unable to find user new" in user_id("new")
    ours.exec(container, "echo new:x:1234:1234::/:/bin/sh >>/etc/passwd")
    assert user_id("new") == "1234"
    ours.exec(container, "rm /etc/passwd")
    assert "unable to find user root" in user_id("root")


def test_accounts_copied_into_one_container_are_nobody_elses(ours, tmp_path):
    """Before its first run, too: what one container calls root is no user of the next one's."""
    (tmp_path / "passwd").write_text("only:x:0:0::/:/bin/sh\n")
    made = ours.command("create", "-u", "only", "--network", "none", "busybox", "id", "-u")
    first = made.stdout.decode().strip()
    try:
        assert ours.command("cp", str(tmp_path / "passwd"), f"{first}:/etc/passwd").returncode == 0
        assert ours.command("start", "-a", first).stdout == b"0\n"
    finally:
        ours.command("rm", "-f", first)
    assert "unable to find user only" in ours.done("-u", "only", sh="id -u").stderr.decode()
