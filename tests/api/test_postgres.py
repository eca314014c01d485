"""PostgreSQL as its users run it: Debian's package, its data on a named volume that outlives containers."""

import os
import secrets
import subprocess

import pytest

from engines import DEADLINE_S, wait_until

VERSION = "15"
DATA = "/var/lib/postgresql"
SERVER = [
    f"/usr/lib/postgresql/{VERSION}/bin/postgres",
    *("-D", f"{DATA}/{VERSION}/main", "-c", f"config_file=/etc/postgresql/{VERSION}/main/postgresql.conf"),
]


@pytest.fixture(scope="module")
def postgres(engine, tmp_path_factory):
    """The image, whose package has made a cluster; by the machine's own mirrors."""
    archive = tmp_path_factory.mktemp("postgres") / "root.tar"
    subprocess.run(
        [
            *("nsenter", f"--net={os.environ['ONGGI_TEST_MACHINE_NETWORK']}", "mmdebstrap", "--quiet"),
            *("--variant=minbase", "--include=postgresql", "bookworm", str(archive)),
        ],
        check=True,
        timeout=20 * DEADLINE_S,
        stdin=subprocess.DEVNULL,
    )
    engine.docker("import", "-c", f"VOLUME {DATA}", str(archive), "postgres:debian", check=True)
    archive.unlink()
    return "postgres:debian"


@pytest.fixture
def volume(engine):
    name = f"pg{secrets.token_hex(4)}"
    yield name
    engine.docker("volume", "rm", "-f", name)


@pytest.fixture
def serve(engine, postgres, volume):
    """A function that starts a server on the volume and returns one that runs SQL in it."""
    names = []

    def start():
        names.append(f"pg{secrets.token_hex(4)}")
        flags = ["--network", "none", "-u", "postgres", "--tmpfs", "/run/postgresql:mode=1777"]
        mount = ["-v", f"{volume}:{DATA}"]
        engine.docker("run", "-d", "--name", names[-1], *flags, *mount, postgres, *SERVER, check=True)

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
