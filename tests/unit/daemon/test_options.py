"""The daemon's command line and daemon.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from onggi.daemon import config
from onggi.daemon.options import parse, usage
from onggi.errors import InvalidArgument, OnggiError, Unsupported


def load(
    *argv: str, env: dict[str, str] | None = None, file: object = None, path: Path | None = None
) -> config.Config:
    words = list(argv)
    if path is not None:
        path.write_text(file if isinstance(file, str) else json.dumps(file))
        words += ["--config-file", str(path)]
    return config.load(parse(words), env or {})


def test_flags_in_every_spelling() -> None:
    hosts = ["-H", "unix:///a", "-Hunix:///b", "--host=unix:///c"]
    options = parse(["--data-root=/d", *hosts, "-dD", "--here=false"])
    assert options.given == {
        "data-root": "/d",
        "host": ["unix:///a", "unix:///b", "unix:///c"],
        "detach": True,
        "debug": True,
        "here": False,
    }


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--iptables", "none"], "unknown flag: --iptables"),
        (["--bip", "172.17.0.1"], "it needs the subnet's length"),
        (["--bridge", "a/b"], "invalid bridge name"),
        (["--mtu", "20"], "invalid default MTU value: 20"),
        (["--ip", "x"], "invalid network address"),
        (["--default-address-pool", "base=10.0.0.0/16,size=8"], "has a smaller prefix"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--data-root"], "flag needs an argument: --data-root"),
        (["extra"], "accepts no arguments: extra"),
        (["--here=perhaps"], 'invalid argument "perhaps" for "--here" flag'),
        (["--ready-fd", "-1"], 'invalid argument "-1" for "--ready-fd" flag'),
        (["-H", "tcp://0.0.0.0:2375"], "refusing to serve tcp://0.0.0.0:2375 without client certificates"),
        (["-H", "/run/x.sock"], "invalid bind address format"),
        (["-H", "unix://x.sock"], "the path must be absolute"),
        (["--log-level", "loud"], "invalid logging level: loud"),
        (["--log-driver", "gelf"], "log driver 'gelf' is not supported"),
        (["--log-opt", "max-size"], "NAME=VALUE"),
        (["--log-opt", "colour=red"], "unknown log opt 'colour' for json-file log driver"),
        (["--default-profile", "hardened"], "default-profile=hardened is not supported"),
        (["--cgroup-parent", "/../x"], "invalid cgroup-parent"),
        (["--label", "nokey"], "bad attribute format: nokey"),
        (["--config-file", "/nonexistent/daemon.json"], "no such file"),
    ],
)
def test_refusals(argv: list[str], words: str) -> None:
    with pytest.raises(OnggiError) as caught:
        load(*argv)
    assert words in str(caught.value)


def test_defaults_and_environment() -> None:
    assert load().socket_path == "/run/onggi/onggi.sock"
    env = {"ONGGI_ROOT": "/d", "ONGGI_EXEC_ROOT": "/e", "ONGGI_IDLE_TIMEOUT": "2", "ONGGI_HERE": "1"}
    moved = load(env=env)
    assert (moved.data_root, moved.exec_root, moved.idle_timeout_s, moved.here) == ("/d", "/e", 2, True)
    assert load("--exec-root", "/f", env={"ONGGI_EXEC_ROOT": "/e"}).exec_root == "/f"


def test_the_file_has_dockerds_keys(tmp_path: Path) -> None:
    values = {
        "data-root": "/d",
        "hosts": ["unix:///a"],
        "debug": True,
        "log-opts": {"max-size": "1m"},
        "labels": ["a=b"],
        "live-restore": True,
    }
    found = load(file=values, path=tmp_path / "daemon.json")
    assert (found.data_root, found.unix_sockets, found.debug) == ("/d", ("/a",), True)
    assert (found.log_opts, found.labels) == ({"max-size": "1m"}, ("a=b",))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"storage-opts": [], "iptables": "x"},
            "don't match any configuration option: iptables, storage-opts",
        ),
        ({"debug": "yes"}, "debug has a wrong type"),
        ({"hosts": [1]}, "hosts must hold strings"),
        ({"log-opts": {"max-file": 3}}, "log-opts must hold strings"),
        ({"live-restore": False}, "live-restore=false is not supported"),
        ({"idle-timeout": True}, "idle-timeout has a wrong type"),
        ("[]", "it is no JSON object"),
        ("{", "unable to configure the daemon with file"),
    ],
)
def test_the_file_is_checked(tmp_path: Path, values: object, words: str) -> None:
    with pytest.raises((InvalidArgument, Unsupported)) as caught:
        load(file=values, path=tmp_path / "daemon.json")
    assert words in str(caught.value)


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    assert load(file="\n", path=tmp_path / "daemon.json").data_root == "/var/lib/onggi"


def test_flag_and_file_may_not_both_speak(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"both as a flag.*data-root: \(from flag: /x, from file: /d\)"):
        load("--data-root", "/x", file={"data-root": "/d"}, path=tmp_path / "daemon.json")


def test_reload_changes_what_may_change(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    before = load(file={"data-root": "/d"}, path=path)
    changed = {"data-root": "/other", "debug": True, "labels": ["x=y"], "log-opts": {"max-file": "2"}}
    path.write_text(json.dumps(changed))
    after = config.reload(before)
    assert (after.data_root, after.debug, after.labels) == ("/d", True, ("x=y",))
    assert after.log_opts == {"max-file": "2"}


def test_usage_names_what_people_may_give() -> None:
    assert "--cgroup-parent" in usage()
    assert not [flag for flag in ("on-demand ", "ready-fd", "detached") if f"--{flag}" in usage()]
    assert "-H, --host" in usage()
    rows = usage().splitlines()[5:]
    heads = [re.match(r" +(-\w,)? +--\S+ +", row) for row in rows]
    assert len({head and head.end() for head in heads}) == 1  # one column
