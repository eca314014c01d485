"""Requests that schemathesis found to be answered otherwise than by dockerd 28.5; the statuses are dockerd's.

`{run}` is a running container, `{exec}` an exec of it that is not started. How they were found:
tests/conformance/schemathesis_run.py.
"""

import pytest

from specification_walk import ask


@pytest.fixture(scope="module")
def names(engine):
    name = engine.docker("run", "-d", "--network=none", "busybox", "sleep", "1000").stdout.decode().strip()
    made = ask(str(engine.socket), "POST", f"/containers/{name}/exec", {"Cmd": ["true"]}).json()["Id"]
    yield {"run": name, "exec": made}
    engine.docker("rm", "-f", name)


@pytest.mark.parametrize(
    ("operation", "body", "status"),
    [
        ("POST /containers/{run}/exec", {"Cmd": "true"}, 400),
        ("POST /containers/{run}/exec", {"Cmd": ["true"], "ConsoleSize": [-1, 0]}, 400),
        ("POST /containers/create", {"Image": "busybox", "HostConfig": {"ConsoleSize": [-1, 0]}}, 400),
        ("POST /exec/{exec}/start", {"Detach": "x"}, 400),
        ("POST /exec/{exec}/start", {"Detach": True, "Tty": 1}, 400),
        ("POST /exec/{exec}/start", [], 400),
        ("POST /exec/{exec}/resize?h=1&w=1", None, 400),  # dockerd waits 10 s for it, and says 500
    ],
)
def test_wrong_requests(engine, names, operation, body, status):
    method, _, target = operation.format(**names).partition(" ")
    answer = ask(str(engine.socket), method, target, body)
    assert (answer.status, bool(answer.message)) == (status, True), answer


def test_usage_of_one_kind_has_a_number_of_layers(engine):
    usage = ask(str(engine.socket), "GET", "/system/df?type=volume").json()
    assert usage["LayersSize"] == 0
    assert usage["Images"] is None
