"""``engine``: a real onggid with the image busybox, one for the whole suite; ``client``: docker-py on it;
``run``: containers started by our CLI and then by docker's, ``ours``: by ours alone.
"""

import pytest

from engines import RealEngine
from runner import Runner


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    engine = RealEngine(tmp_path_factory.mktemp("engine"))
    try:
        engine.start()
        engine.import_busybox()
        yield engine
    finally:
        engine.destroy()


@pytest.fixture
def client(engine):
    client = engine.client()
    yield client
    client.close()


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
