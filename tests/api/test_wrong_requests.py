"""Requests that schemathesis found to be answered otherwise than by dockerd 28.5; the statuses are dockerd's.

`{run}` is a running container, `{exec}` an exec of it that is not started. How they were found:
tests/conformance/schemathesis_run.py.
"""

from urllib.parse import urlencode

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
        ("POST /containers/create", {"Image": "busybox", "HostConfig": False}, 400),
        ("POST /containers/{run}/update", {"RestartPolicy": False}, 400),
        ("POST /containers/{run}/update", {"KernelMemoryTCP": "x"}, 400),
        ("POST /containers/{run}/update", {"Init": "x"}, 400),
        ("POST /containers/{run}/update", {"Init": True}, 501),  # dockerd ignores it
        ("POST /networks/create", {"Name": "wrong", "EnableIPv4": False}, 400),
        ("POST /networks/bridge/connect", {"Container": "x", "EndpointConfig": {"DNSNames": [{}]}}, 400),
        ("POST /commit?container={run}&changes=", {}, 400),
        ("POST /exec/{exec}/start", {"Detach": "x"}, 400),
        ("POST /exec/{exec}/start", {"Detach": True, "Tty": 1}, 400),
        ("POST /exec/{exec}/start", [], 400),
        ("POST /exec/{exec}/resize?h=1&w=1", None, 409),  # dockerd waits 10 s for it, and says 500
    ],
)
def test_wrong_requests(engine, names, operation, body, status):
    method, _, target = operation.format(**names).partition(" ")
    answer = ask(str(engine.socket), method, target, body)
    assert (answer.status, bool(answer.message)) == (status, True), answer


def test_nothing_is_a_body(engine, names):
    """Null is what was not given, and some operations can do without a body."""
    path = str(engine.socket)
    made = ask(path, "POST", "/volumes/create")
    assert made.status == 201
    assert ask(path, "DELETE", f"/volumes/{made.json()['Name']}").status == 204
    assert ask(path, "POST", f"/containers/{names['run']}/update").status == 200
    made = ask(path, "POST", f"/commit?container={names['run']}", {"Labels": None, "ArgsEscaped": None})
    assert made.status == 201
    assert ask(path, "DELETE", f"/images/{made.json()['Id']}").status == 200


PLATFORM = '{{"os":"linux","architecture":"{}"}}'


@pytest.mark.parametrize(
    ("platforms", "status", "message"),
    [
        (["x"], 400, "failed to parse platform: "),
        (["{}"], 400, "both OS and Architecture must be provided"),
        ([PLATFORM.format("s390x")], 404, "image with reference wrong:1 was found but its platform "),
        ([PLATFORM.format("amd64"), PLATFORM.format("arm64")], 400, "multiple platforms are not supported"),
    ],
)
def test_an_image_of_another_platform_is_not_removed(engine, platforms, status, message):
    engine.docker("tag", "busybox", "wrong:1", check=True)
    query = urlencode({"platforms": platforms}, doseq=True)
    answer = ask(str(engine.socket), "DELETE", f"/images/wrong:1?{query}")
    assert (answer.status, answer.message[: len(message)]) == (status, message)
    assert engine.docker("image", "rm", "wrong:1").returncode == 0


def test_an_image_is_saved_for_one_platform(engine):
    both = [("platform", PLATFORM.format(name)) for name in ("amd64", "arm64")]
    answer = ask(str(engine.socket), "GET", f"/images/busybox/get?{urlencode(both)}")
    assert (answer.status, answer.message) == (400, "multiple platform parameters not supported")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("net.core.somaxconn", "x", "write /proc/sys/net/core/somaxconn: invalid argument"),
        ("net.nosuch", "1", "open /proc/sys/net/nosuch: no such file or directory"),
    ],
)
def test_a_sysctl_that_the_kernel_does_not_take(engine, key, value, words):
    """dockerd has the words, behind its runtime's, and says 500."""
    done = engine.docker("run", "--rm", "--network=none", "--sysctl", f"{key}={value}", "busybox", "true")
    assert words in done.stderr.decode()
    body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none", "Sysctls": {key: value}}}
    made = ask(str(engine.socket), "POST", "/containers/create", body).json()["Id"]
    assert ask(str(engine.socket), "POST", f"/containers/{made}/start").status == 400
    assert ask(str(engine.socket), "DELETE", f"/containers/{made}").status == 204


def test_usage_of_one_kind_has_a_number_of_layers(engine):
    usage = ask(str(engine.socket), "GET", "/system/df?type=volume").json()
    assert usage["LayersSize"] == 0
    assert usage["Images"] is None
