"""`onggi try`: the probes of both sides and their table."""

import os
import struct

import pytest
from fake_engine import FakeEngine

from onggi.cli import probes
from onggi.client.endpoint import Endpoint
from onggi.client.engine import Engine
from onggi.client.errors import ClientError

NAMES = [
    *("hostname", "process 1", "processes", "interfaces"),
    *("memory limit", "pids limit", "visible secrets", "file"),
]


def test_every_cell_is_probed_on_this_machine(tmp_path):
    facts = probes.outside(str(tmp_path / "absent"))
    assert list(facts) == NAMES
    assert facts["hostname"] == os.uname().nodename
    assert int(facts["processes"]) >= 2
    assert "lo" in facts["interfaces"].split()
    assert facts["file"] == "absent"


def test_a_file_is_found(tmp_path):
    (tmp_path / "there").touch()
    assert probes.outside(str(tmp_path / "there"))["file"] == "there"


def test_values_are_shown_for_people():
    within = {"memory limit": "536870912", "pids limit": "512", "visible secrets": "", "file": "there"}
    without = {"memory limit": "9223372036854771712", "pids limit": "max", "visible secrets": "/a /b /c"}
    rows = [line.split("  ") for line in probes.table(within, without, "/x").splitlines()]
    shown = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert shown == [
        ["inside", "outside"],
        ["memory limit", "512 MiB", "unlimited"],
        ["pids limit", "512", "unlimited"],
        ["visible secrets", "none", "/a, /b and 1 more"],
        ["file /x", "there", "not known"],
    ]


@pytest.fixture
def engine(tmp_path):
    fake = FakeEngine(tmp_path)
    yield fake
    fake.close()


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(payload)) + payload


def exec_routes(stream: bytes, status: int):
    return {
        "POST /containers/abc/exec": (201, {"Id": "e1"}),
        "POST /exec/e1/start": (200, stream),
        "GET /exec/e1/json": (200, {"ExitCode": status}),
    }


def client(fake: FakeEngine) -> Engine:
    return Engine(Endpoint(fake.host), {})


def test_probes_inside_go_by_exec(engine):
    engine.routes |= exec_routes(frame(1, b"hostname=jar\nprocess") + frame(1, b" 1=sleep \n"), 0)
    assert probes.inside(client(engine), "abc", "/f") == {"hostname": "jar", "process 1": "sleep"}
    sent = engine.sent("POST /containers/abc/exec")[0].json
    assert sent["Cmd"][-1] == "/f"
    assert 'echo written >"$1"' in sent["Cmd"][2]


def test_a_failing_probe_is_an_error(engine):
    engine.routes |= exec_routes(frame(2, b"sh: no"), 2)
    with pytest.raises(ClientError, match="status 2: sh: no"):
        probes.inside(client(engine), "abc", "/f")
