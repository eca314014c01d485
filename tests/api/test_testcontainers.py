"""Testcontainers for Python, unchanged: strategies, networks, volumes, exec, logs; with a reaper and not."""

import contextlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from engines import DEADLINE_S, wait_until

HERE = Path(__file__).parent
RYUK = "testcontainers/ryuk:0.8.1"
LABEL = "org.testcontainers.session-id"


@pytest.fixture
def volume(client):
    volume = client.volumes.create(f"t{secrets.token_hex(4)}")
    yield volume.name
    volume.remove()


@pytest.fixture(scope="module")
def ryuk(engine):
    """An image of Ryuk's name and port whose program is reaper.py, on the view of this machine."""
    python = os.path.realpath(sys.executable)
    engine.docker("create", "--name", "ryuk", "host", check=True)
    engine.docker("cp", str(HERE / "reaper.py"), "ryuk:/reaper.py", check=True)
    changes = ["-c", f'CMD ["{python}", "/reaper.py"]', "-c", "EXPOSE 8080"]
    engine.docker("commit", *changes, "ryuk", RYUK, check=True)
    engine.docker("rm", "ryuk", check=True)
    yield
    engine.docker("rmi", "-f", RYUK)


@contextlib.contextmanager
def session(engine, volume, **settings):
    """A session that has done its work and still runs: its process and its id."""
    environment = {
        **engine.environment,
        "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
        "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
        "TC_POOLING_INTERVAL": "0.05",
        "TC_MAX_TRIES": "1200",
        **settings,
    }
    pipe = subprocess.PIPE
    command = [sys.executable, str(HERE / "testcontainers_session.py"), volume]
    process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    try:
        told = process.stdout.readline().strip()
        assert told, process.communicate()[1]
        yield process, told
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def left(client, told):
    """What of a session is still there; one request each, as what is listed may go meanwhile."""
    filters = {"label": f"{LABEL}={told}"}
    return client.api.containers(all=True, filters=filters) + client.api.networks(filters=filters)


def test_a_session_cleans_up_after_itself(engine, client, volume):
    with session(engine, volume, TESTCONTAINERS_RYUK_DISABLED="true") as (process, told):
        assert len(left(client, told)) == 2
        _, complaints = process.communicate("", timeout=DEADLINE_S)
        assert process.returncode == 0, complaints
        assert left(client, told) == []


def test_the_reaper_removes_what_a_killed_session_left(engine, client, volume, ryuk):
    with session(engine, volume, RYUK_RECONNECTION_TIMEOUT="0s") as (process, told):
        assert len(left(client, told)) == 2
        reaper = client.containers.get(f"testcontainers-ryuk-{told}")
        assert reaper.status == "running"
        process.kill()
        wait_until(lambda: left(client, told) == [], "the end of what the session left")
        wait_until(lambda: not client.api.containers(filters={"id": reaper.id}), "the end of the reaper")
