"""``engine``: a real onggid with the image busybox, one for the whole suite; ``own``: one of the test's own;
``client``: docker-py on the first; ``name``: for a container that is removed at the end; ``run``: containers
started by our CLI and then by docker's, ``ours``: by ours alone.
"""

import os
import secrets
import subprocess

import docker
import pytest

from disks import loop_disk
from engines import DEADLINE_S, engine_at
from runner import Runner

SERVERS = "--include=postgresql,nginx-light,redis-server"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    with engine_at(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def own(tmp_path):
    with engine_at(tmp_path) as engine:
        yield engine


@pytest.fixture(scope="session")
def debian(engine, tmp_path_factory):
    """``debian:bookworm`` with servers from its packages, by the machine's own mirrors: a minute's work."""
    archive = tmp_path_factory.mktemp("debian") / "root.tar"
    network = f"--net={os.environ['ONGGI_TEST_MACHINE_NETWORK']}"
    make = ["mmdebstrap", "--quiet", "--variant=minbase", SERVERS, "bookworm", str(archive)]
    subprocess.run(["nsenter", network, *make], check=True, timeout=20 * DEADLINE_S, stdin=subprocess.DEVNULL)
    engine.docker("import", str(archive), "debian:bookworm", check=True)
    archive.unlink()
    return "debian:bookworm"


@pytest.fixture
def client(engine):
    client = engine.client()
    yield client
    client.close()


@pytest.fixture
def name(client):
    name = f"c{secrets.token_hex(4)}"
    yield name
    try:
        client.api.remove_container(name, force=True)
    except docker.errors.NotFound:
        return


@pytest.fixture(params=["onggi", "docker"])
def run(engine, request):
    runner = Runner(engine, request.param)
    yield runner
    runner.close()


@pytest.fixture
def ours(engine):
    runner = Runner(engine, "onggi")
    yield runner
    runner.close()


@pytest.fixture
def mounted():
    """A function that mounts a small tmpfs on a directory, with options of mount(8); undone at the end."""
    done = []

    def mount(path, *options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path)], check=True)
        done.append(path)
        for option in options:
            subprocess.run(["mount", option, str(path)], check=True)
        return path

    yield mount
    for path in reversed(done):
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture(scope="session")
def disk(tmp_path_factory, engine):
    with loop_disk(tmp_path_factory.mktemp("disk"), 64 << 20) as disk:
        yield disk
