"""``context``: docker's words, and files that docker's command and ours read from each other."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from parity import Outcome, Parity

META = b'{"Name":"other","Metadata":{"Description":"d","extra":1},"Endpoints":{"docker":{"Host":"tcp://h:1","SkipTLSVerify":false}}}'


class Configured(Parity):
    """The configuration stays from line to line; each program has one of its own, under the same path."""

    def scenario(self, lines: list[str], stdin: bytes | None, ours: bool) -> list[tuple[Outcome, Any]]:
        folder = self.directory / "config"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("out.tar", "one.dockercontext", "one2.dockercontext"):
            (self.directory / name).unlink(missing_ok=True)
        shutil.copy(Path(__file__).parent / "tls" / "ca.pem", self.directory / "ca.pem")
        (self.directory / "none.pem").write_text("no certificate")
        run = self.ours if ours else self.docker
        return [(run(line, stdin), kept(folder)) for line in lines]

    def environment(self) -> dict[str, str]:
        base = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        fixed = {"DOCKER_CONFIG": str(self.directory / "config"), "TZ": "UTC", **self.env}
        return {**base, **fixed}


def kept(folder: Path) -> dict[str, Any]:
    """Return modes and contents of what lies below a directory."""
    return {
        str(path.relative_to(folder)): (
            oct(stat.S_IMODE(path.stat().st_mode)), path.read_bytes() if path.is_file() else None
        )
        for path in sorted(folder.rglob("*")) if path.name != "config.json"
    }  # fmt: skip


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Configured]:
    fake = FakeEngine(tmp_path)
    configured = Configured(fake, tmp_path)
    configured.env = {"DOCKER_HOST": "unix:///srv/engine.sock"}
    yield configured
    fake.close()


SCENARIOS = {
    "create and look": [
        "context create one --docker host=tcp://h:2376,ca=ca.pem,skip-tls-verify=true --description note",
        "context ls", "context ls -q", "context ls --format json", "context inspect one",
        "context inspect one nosuch", "context inspect -f {{.Name}} one", "context show",
        "context create two --from one --description other", "context inspect two",
        "context create three --docker from=one", "context inspect three", "context create one",
        "context list",
    ],
    "like the current one": [
        "context create four", "context inspect four default", "context create five --description five",
        "context ls", "context use four", "context create six", "context inspect six",
    ],
    "use and remove": [
        "context create one --docker host=unix:///x.sock", "context use one", "context show", "context ls",
        "context use nosuch", "context use default", "context use one", "context rm one", "context rm -f one",
        "context show", "context rm one", "context rm -f one", "context rm default", "context use one",
        "context remove x y", "--context nosuch context ls", "--context nosuch context show",
    ],
    "update": [
        "context create one --docker host=tcp://h:1,ca=ca.pem", "context update one --description d",
        "context inspect one", "context update one --docker host=tcp://h:2", "context inspect one",
        "context update nosuch", "context update default", "context update",
    ],
    "export and import": [
        "context create one --docker host=tcp://h:1,ca=ca.pem", "context export one", "context export one",
        "context export one out.tar", "context import copy out.tar", "context inspect copy",
        "context import copy out.tar", "context export nosuch x", "context export default -q",
        "context import x nosuch",
    ],
    "what cannot be": [
        "context create default", "context create a", "context create -- -a", "context create 'a b'",
        "context create one --docker host=foo", "context create one --docker nosuch=1",
        "context create one --docker host", "context create one --docker host=tcp://h:1,skip-tls-verify=x",
        "context create one --docker ca=nosuch.pem",
        "context create one --docker host=tcp://h:1,ca=none.pem", "context create one --from nosuch",
        "context create one --docker from=nosuch", "context create one --from a --docker host=tcp://h:1",
        "context create", "context ls x", "context inspect nosuch",
    ],
}  # fmt: skip


@pytest.mark.parametrize("host", ["unix:///srv/engine.sock", ""])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_as_docker(configured: Configured, name: str, host: str) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    if name == "like the current one" and not host:
        return  # ours is at another address
    configured.env["DOCKER_HOST"] = host
    theirs = configured.scenario(SCENARIOS[name], None, ours=False)
    ours = configured.scenario(SCENARIOS[name], None, ours=True)
    for line, mine, wanted in zip(SCENARIOS[name], ours, theirs, strict=True):
        if host or not {"ls", "list"} & set(line.split()):
            assert mine == wanted, line


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


GOOD = {"meta.json": META, "tls/docker/ca.pem": b"ca"}


@pytest.mark.parametrize("pack", [archive, zipped])
@pytest.mark.parametrize(
    "files",
    [
        GOOD,
        {"tls/docker/ca.pem": b"ca"},
        {**GOOD, "tls/docker": b"x"},
        {**GOOD, "other": b"x"},
        {**GOOD, "tls/../../evil": b"x"},
        {**GOOD, "tls/docker/..\\evil": b"x"},
        {**GOOD, "/etc/evil": b"x"},
    ],
    ids=["good", "no metadata", "no file", "another name", "dots", "backslash", "absolute"],
)
def test_archives_as_docker_reads_them(configured: Configured, pack: Any, files: dict[str, bytes]) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker CLI is not installed")
    lines = ["context import new -", "context inspect new"]
    theirs = configured.scenario(lines, pack(**files), ours=False)
    ours = configured.scenario(lines, pack(**files), ours=True)
    if files is GOOD:
        assert ours == theirs
    else:
        assert (ours[0][0].status, theirs[0][0].status) == (1, 1)
        assert not [name for name in ours[0][1] if "evil" in name]


def test_nothing_of_an_archive_lies_outside(configured: Configured) -> None:
    for name in ("tls/docker/../../../../evil", "tls/docker/a/b", "tls//x", "tls/./x"):
        ((done, files),) = configured.scenario(
            ["context import new -"], archive(**{**GOOD, name: b"x"}), ours=True
        )
        assert (done.status, files) == (1, {}), name


def test_archives_are_bounded(configured: Configured) -> None:
    bomb = zipped(**{"meta.json": META, "tls/docker/ca.pem": bytes(11 << 20)})
    for data in (bomb, archive(**{**GOOD, "tls/docker/key.pem": bytes(11 << 20)})):
        ((done, files),) = configured.scenario(["context import new -"], data, ours=True)
        assert (done.status, done.err, files) == (1, "read exceeds the defined limit\n", {})


def test_commands_go_where_the_context_points(configured: Configured) -> None:
    configured.env["DOCKER_HOST"] = ""
    configured.engine.routes["GET /containers/json"] = (200, [])
    lines = [
        f"context create mine --docker host={configured.engine.host}",
        "--context mine ps -q",
        "context use mine",
        "ps -q",
    ]
    done = configured.scenario(lines, None, ours=True)
    asked = [outcome.requests for outcome, _ in done]
    assert asked == [[], ["GET /containers/json []"], [], ["GET /containers/json []"]]


def test_info_and_version_name_the_context_that_counts(configured: Configured) -> None:
    configured.engine.routes |= {"GET /info": (200, {}), "GET /version": (200, {})}
    lines = ["context create it --docker host=" + configured.engine.host, "context use it"]
    asked = ["info -f {{.ClientInfo.Context}}", "version -f {{.Client.Context}}"]
    for env in ({}, {"DOCKER_HOST": configured.engine.host}):
        configured.env = env
        ours, theirs = (configured.scenario([*lines, *asked], None, ours=it) for it in (True, False))
        assert [outcome.out for outcome, _ in ours] == [outcome.out for outcome, _ in theirs]
