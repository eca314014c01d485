"""Extensions of exec: a signal for one of them, and a time after which it is killed."""

import pytest

from engines import wait_until
from specification_walk import ask


@pytest.fixture
def container(ours):
    return ours.start()


def created(engine, container, *command):
    body = {"Cmd": list(command)}
    return ask(str(engine.socket), "POST", f"/containers/{container}/exec", body).json()["Id"]


def started(engine, exec_id):
    answer = ask(str(engine.socket), "POST", f"/exec/{exec_id}/start", {"Detach": True})
    assert answer.status == 200, answer


def ended(engine, exec_id):
    """The exit code, once there is one."""

    def facts():
        return ask(str(engine.socket), "GET", f"/exec/{exec_id}/json").json()

    wait_until(lambda: not facts()["Running"], "the exec to end")
    return facts()["ExitCode"]


def extension(engine, exec_id, what):
    return ask(str(engine.socket), "POST", f"/onggi/v1/exec/{exec_id}/{what}")


def test_kill_one_exec(engine, container):
    victim, other = (created(engine, container, "sleep", "1000") for _ in range(2))
    assert extension(engine, victim, "kill").status == 409  # it does not run yet
    started(engine, victim)
    started(engine, other)
    assert extension(engine, victim, "kill?signal=NOSUCH").status == 400
    assert extension(engine, victim, "kill?signal=TERM").status == 204
    assert ended(engine, victim) == 143
    assert ask(str(engine.socket), "GET", f"/exec/{other}/json").json()["Running"]
    assert extension(engine, other, "kill").status == 204
    assert ended(engine, other) == 137
    assert extension(engine, "nosuch", "kill").status == 404


def test_a_time_for_an_exec(engine, container):
    quick, slow = created(engine, container, "true"), created(engine, container, "sleep", "1000")
    for exec_id, seconds in ((quick, 100), (slow, 1)):
        assert extension(engine, exec_id, "timeout?seconds=0").status == 400
        assert extension(engine, exec_id, f"timeout?seconds={seconds}").status == 204
        started(engine, exec_id)
    assert ended(engine, quick) == 0
    assert ended(engine, slow) == 137
    assert extension(engine, slow, "timeout?seconds=1").status == 409
