"""``login``, ``logout`` and credentials: docker's words, files and helper protocol."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from parity import Parity

from onggi.client.config import ConfigFile
from onggi.client.credentials import Credentials, Store, hostname
from onggi.client.errors import ClientError

HELPER = r"""#!/bin/sh
data=$(cat)
printf '%s %s\n' "$1" "$data" >> LOG
case $1 in
get) case $data in
  known*) echo '{"ServerURL":"'$data'","Username":"hu","Secret":"hs"}';;
  token*) echo '{"ServerURL":"'$data'","Username":"<token>","Secret":"idt"}';;
  broken*) echo oops; exit 3;;
  *) echo "credentials not found in native keychain"; exit 1;; esac;;
store) case "$data" in *broken*) echo "no credentials username"; exit 1;; esac;;
erase) case "$data" in *broken*) echo "cannot"; exit 1;; esac;;
esac
"""
HELPERS = {"known.example": "fake", "token.example": "fake", "broken.example": "fake"}
CONFIGS: dict[str, Any] = {
    "no file": None,
    "credentials in the file": {
        "auths": {"r.example": {"auth": "dTpw"}, "https://index.docker.io/v1/": {"auth": "dTpw"}}
    },
    "a store": {"credsStore": "fake"},
    "helpers": {"credHelpers": HELPERS},
    "a store that is not there": {"credsStore": "nosuch"},
}
LINES: list[tuple[str, bytes | None]] = [
    ("login -u u -p pw r.example", None),
    ("login -u u --password-stdin https://r.example/v2/", b"sec ret\r\n"),
    ("login -u u -p pw", None),
    ("login -u u -p p docker.io", None),
    ("login r.example", None),
    ("login", None),
    ("login known.example", None),
    ("login token.example", None),
    ("login broken.example", None),
    ("login -u u -p p broken.example", None),
    ("login -p x", None),
    ("login -u '' r", None),
    ("login --password-stdin r", b"x"),
    ("login -u u -p p --password-stdin r", b"x"),
    ("pull known.example/a:b", None),
    ("pull token.example/a:b", None),
]


@pytest.fixture
def parity(tmp_path: Path) -> Iterator[Parity]:
    fake = FakeEngine(tmp_path)
    fake.routes |= {
        "POST /auth": (200, {"Status": "Login Succeeded", "IdentityToken": ""}),
        "POST /images/create": (200, b'{"status":"x"}\n'),
    }
    programs = tmp_path / "programs"
    programs.mkdir()
    helper = programs / "docker-credential-fake"
    helper.write_text(HELPER.replace("LOG", str(tmp_path / "helper.log")))
    helper.chmod(0o755)
    parity = Parity(fake, tmp_path)
    parity.env = {
        "PATH": f"{programs}:{os.environ['PATH']}", "DOCKER_CLI_DISABLE_OAUTH_LOGIN": "1",
    }  # fmt: skip
    yield parity
    fake.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_as_docker(parity: Parity, name: str) -> None:
    parity.config = CONFIGS[name]
    for line, stdin in LINES:
        if not (name.endswith("not there") and line.startswith("pull")):
            parity.check(line, stdin)


@pytest.mark.parametrize("line", ["logout r.example", "logout https://r.example/v1/", "logout"])
@pytest.mark.parametrize("name", ["no file", "credentials in the file", "a store", "helpers"])
def test_logout_is_the_same_as_dockers(parity: Parity, name: str, line: str) -> None:
    parity.config = CONFIGS[name]
    parity.check(line)


MANY = [
    ("login r.example", [(b"Username:", b"me\n"), (b"Password:", b"secret\n")]),
    ("login -u me r.example", [(b"Password:", b"secret\n")]),
    ("login -u me r.example", [(b"Password:", b"\n")]),
    ("login r.example", [(b"Username:", b"\n")]),
    ("login", [(b"Username:", b"me\n"), (b"Password:", b"secret\n")]),
]


@pytest.mark.parametrize(("line", "typed"), MANY)
def test_questions_are_dockers(parity: Parity, line: str, typed: list[tuple[bytes, bytes]]) -> None:
    theirs, ours = parity.terminal(line, typed, (24, 120))
    assert ours == theirs
    assert b"secret" not in ours


@pytest.mark.parametrize(
    "answer", [(200, {"Status": "ok"}), (401, {"message": "no"}), (500, {"message": "no"})]
)
def test_stored_credentials_are_tried_first(parity: Parity, answer: tuple[int, Any]) -> None:
    parity.config = {"auths": {"r.example": {"auth": "dTpw"}}}
    parity.engine.routes["POST /auth"] = answer
    typed = [] if answer[0] == 200 else [(b"Username (u):", b"\n"), (b"Password:", b"secret\n")]
    theirs, ours = parity.terminal("login r.example", typed, (24, 120))
    assert ours == theirs


def test_a_registry_that_wants_to_know_better_is_told(parity: Parity) -> None:
    parity.engine.routes["POST /images/create"] = (401, {"message": "unauthorized"})
    parity.config = {"auths": {"r.example": {"auth": "dTpw"}}}
    typed = [(b"Username (u):", b"me\n"), (b"Password:", b"secret\n")]
    _, ours = parity.terminal("pull r.example/a", typed, (24, 120))
    assert ours.endswith(b"Error response from daemon: unauthorized\r\n")
    auth = parity.engine.requests[-1].headers["x-registry-auth"]
    asked = {"username": "me", "password": "secret", "serveraddress": "r.example"}
    assert json.loads(base64.urlsafe_b64decode(auth)) == asked
    assert parity.ours("pull r.example/a").status == 1  # nobody to ask


def test_an_identity_token_is_kept_instead_of_the_password(parity: Parity) -> None:
    parity.engine.routes["POST /auth"] = (200, {"Status": "Login Succeeded", "IdentityToken": "idt"})
    done = parity.check("login -u u -p p r.example")
    assert done.config["auths"]["r.example"] == {"auth": "dTo=", "identitytoken": "idt"}
    parity.config = {"credsStore": "fake"}
    parity.check("login -u u -p p r.example")
    log = (parity.directory / "helper.log").read_text().splitlines()
    stored = {"ServerURL": "r.example", "Username": "<token>", "Secret": "idt"}
    assert json.loads(log[-1].removeprefix("store ")) == stored


def test_helpers_that_fail_are_told(parity: Parity) -> None:
    parity.config = {"credHelpers": HELPERS}
    pulled = parity.ours("pull broken.example/a")
    assert pulled.status == 0
    assert "WARNING: error getting credentials - err: exit status 3, out: `oops`" in pulled.err
    parity.config = {"credsStore": "fake"}
    assert "https://broken.example: error erasing" in parity.ours("logout broken.example").err


def test_run_and_create_stop_where_a_helper_fails(parity: Parity) -> None:
    parity.config = {"credHelpers": HELPERS}
    parity.engine.routes["POST /containers/create"] = (404, {"message": "No such image: x"})
    assert parity.check("create broken.example/a").status == 1


def test_the_file_is_replaced_whole_and_what_we_do_not_know_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"HttpHeaders": {"A": "b"}, "of tomorrow": [1]}')
    path.chmod(0o640)
    inode = path.stat().st_ino
    config = ConfigFile({"DOCKER_CONFIG": str(tmp_path)})
    assert Store(config, "r", {}).store(Credentials("r", "u", "p:ü"))
    written = json.loads(path.read_text())
    assert written["of tomorrow"] == [1]
    assert list(written) == ["auths", "HttpHeaders", "of tomorrow"]
    assert (path.stat().st_mode & 0o777, path.stat().st_ino != inode) == (0o640, True)
    assert os.listdir(tmp_path) == ["config.json"]
    found = Store(ConfigFile({"DOCKER_CONFIG": str(tmp_path)}), "r", {}).get()
    assert (found.username, found.password, found.server) == ("u", "p:ü", "r")


def test_a_new_file_is_for_its_owner_only_and_links_are_followed(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "dotfiles"
    home.mkdir()
    elsewhere.mkdir()
    (home / "config.json").symlink_to("../dotfiles/docker.json")
    old = os.umask(0)
    try:
        Store(ConfigFile({"DOCKER_CONFIG": str(home)}), "r", {}).store(Credentials("r", "u", "p"))
    finally:
        os.umask(old)
    assert (home / "config.json").is_symlink()
    assert (elsewhere / "docker.json").stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"auths": {"old": {}}}')
    config = ConfigFile({"DOCKER_CONFIG": str(tmp_path)})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClientError, match="no space left on device"):
        Store(config, "r", {}).store(Credentials("r", "u", "p"))
    assert os.listdir(tmp_path) == ["config.json"]
    assert json.loads(path.read_text()) == {"auths": {"old": {}}}


def test_hosts_of_servers() -> None:
    servers = ("r.example", "https://r.example/v1/", "http://r.example:5000", "r.example/x", "[::1]:5000")
    hosts = ["r.example", "r.example", "r.example:5000", "r.example", "[::1]:5000"]
    assert [hostname(server) for server in servers] == hosts
