"""``engine``: a real onggid with the image busybox, one for the whole suite; ``client``: docker-py on it."""

import pytest

from engines import RealEngine


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
