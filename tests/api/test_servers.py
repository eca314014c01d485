"""Servers as their users run them, from Debian's packages: PostgreSQL on a named volume that outlives
containers, nginx behind a published port, redis found by name."""

import http.client
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_networks import addresses, network  # noqa: F401 - a fixture
from test_ports import outside  # noqa: F401 - a fixture

from engines import DEADLINE_S, wait_until
from hosts import reachable

VERSION = "15"
DATA = "/var/lib/postgresql"
SERVER = [
    f"/usr/lib/postgresql/{VERSION}/bin/postgres",
    *("-D", f"{DATA}/{VERSION}/main", "-c", f"config_file=/etc/postgresql/{VERSION}/main/postgresql.conf"),
]


@pytest.fixture(scope="module")
def servers(engine, debian):
    """The image, with a volume for the cluster that PostgreSQL's package has made."""
    engine.docker("create", "--name", "servers", debian, "true", check=True)
    engine.docker("commit", "-c", f"VOLUME {DATA}", "servers", "servers:debian", check=True)
    engine.docker("rm", "servers", check=True)
    return "servers:debian"


@pytest.fixture
def volume(engine):
    name = f"pg{secrets.token_hex(4)}"
    yield name
    engine.docker("volume", "rm", "-f", name)


@pytest.fixture
def serve(engine, servers, volume):
    """A function that starts a server on the volume and returns one that runs SQL in it."""
    names = []

    def start():
        names.append(f"pg{secrets.token_hex(4)}")
        flags = ["--network", "none", "-u", "postgres", "--tmpfs", "/run/postgresql:mode=1777"]
        mount = ["-v", f"{volume}:{DATA}"]
        engine.docker("run", "-d", "--name", names[-1], *flags, *mount, servers, *SERVER, check=True)

        def ask(sql):
            done = engine.docker("exec", "-u", "postgres", names[-1], "psql", "-XAtqc", sql)
            return done.stdout.decode().strip() if done.returncode == 0 else None

        wait_until(lambda: ask("SELECT 1") == "1", f"the server of {names[-1]}", 2 * DEADLINE_S)
        return names[-1], ask

    yield start
    for name in names:
        engine.docker("rm", "-fv", name)


def test_data_on_a_named_volume(engine, serve, volume):
    first, ask = serve()
    assert ask("CREATE TABLE t AS SELECT generate_series(1, 100000) AS n; SELECT count(*) FROM t") == "100000"
    engine.docker("stop", first, check=True)
    engine.docker("rm", "-v", first, check=True)
    second, ask = serve()
    assert ask("SELECT sum(n) FROM t") == "5000050000"
    assert ask("INSERT INTO t VALUES (7) RETURNING n") == "7"
    engine.docker("rm", "-fv", second, check=True)  # killed in the midst of it: it recovers
    _, ask = serve()
    assert ask("SELECT count(*), sum(n) FROM t") == "100001|5000050007"
    assert volume in engine.docker("volume", "ls", "-q", check=True).stdout.decode().split()


def pages(address, count):
    """How many of ``count`` pages asked for on one kept connection are nginx's."""
    connection, good = http.client.HTTPConnection(address, 8080, timeout=DEADLINE_S), 0
    for _ in range(count):
        connection.request("GET", "/")
        answer = connection.getresponse()
        good += b"Welcome to nginx!" in answer.read() and answer.status == 200
    connection.close()
    return good


def test_a_web_server_under_load(engine, servers, outside):  # noqa: F811
    run = ["run", "-d", "--name", "site", "-p", "8080:80", servers]
    engine.docker(*run, "nginx", "-g", "daemon off;", check=True)
    try:
        wait_until(lambda: reachable(outside.world, 8080, outside), "nginx")
        with ThreadPoolExecutor(16) as clients:
            found = list(clients.map(lambda _: outside.inside(pages, outside.world, 250), range(32)))
        assert found == [250] * 32
        assert engine.docker("logs", "site").stderr == b""
    finally:
        engine.docker("rm", "-f", "site", check=True)


def test_a_store_and_its_client_by_name(engine, servers, network):  # noqa: F811
    name = network()
    server = ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
    engine.docker("run", "-d", "--name", "store", "--network", name, servers, *server, check=True)

    def ask(*words):
        flags = ["--rm", "--network", name, servers, "redis-cli", "-h", "store"]
        return engine.docker("run", *flags, *words).stdout.decode().split()

    address = addresses(engine, "store")[0]
    wait_until(lambda: reachable(address, 6379), "redis")
    assert ask("SET", "colour", "blue") == ["OK"]
    assert ask("GET", "colour") == ["blue"]
    load = ["run", "--rm", "--network", name, servers, "redis-benchmark", "-h", "store"]
    done = engine.docker(*load, "-q", "-t", "incr", "-n", "20000", "-c", "20", check=True)
    assert b"requests per second" in done.stdout
    assert ask("GET", "counter:__rand_int__") == ["20000"]
