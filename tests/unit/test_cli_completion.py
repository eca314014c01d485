"""Completion: what can follow, from tables and a running engine, and the script of bash."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from parity import OURS, Parity

CONTAINERS = [
    {"Id": "a" * 64, "Names": ["/web"], "Image": "busybox", "State": "running"},
    {"Id": "b" * 64, "Names": ["/worn"], "Image": "busybox", "State": "exited"},
]


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parity]:
    directory = tmp_path_factory.mktemp("completion")
    fake = FakeEngine(directory)
    fake.routes |= {
        "GET /containers/json": (200, CONTAINERS),
        "GET /images/json": (200, [{"RepoTags": ["busybox:latest", "busybox:musl"]}, {"RepoTags": None}]),
        "GET /volumes": (200, {"Volumes": [{"Name": "data"}]}),
        "GET /networks": (200, [{"Name": "front", "Driver": "bridge"}]),
    }
    yield Parity(fake, directory)
    fake.close()


def words(parity: Parity, line: str) -> list[str]:
    """Return the candidates for the end of a line."""
    typed = shlex.split(line) + ([""] if line.endswith(" ") or not line else [])
    done = parity.ours("__complete " + shlex.join(typed))
    assert (done.status, done.err) == (0, "")
    return [candidate.split("\t")[0] for candidate in done.out.splitlines()]


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("ru", ["run"]),
        ("-H unix:///x image pru", ["prune"]),
        ("volume ins", ["inspect"]),
        ("nosuch ", []),
        ("image nosuch ", []),
        ("stop ", ["web"]),
        ("start ", ["worn"]),
        ("rm -f w", ["web", "worn"]),
        ("logs --tail 5 w", ["web", "worn"]),
        ("logs web ", []),
        ("exec -it ", ["web"]),
        ("exec web ", []),
        ("run --rm -it b", ["busybox:latest", "busybox:musl"]),
        ("run --rm -u 0 -e A=b busybox:l", ["busybox:latest"]),
        ("run busybox ", []),
        ("run --network ", ["front"]),
        ("run --network=f", ["--network=front"]),
        ("run --pull ", ["always", "missing", "never"]),
        ("run -", None),
        ("run --pul", ["--pull"]),
        ("run -itv ", [":files"]),
        ("run -itv x busybox:m", ["busybox:musl"]),
        ("run --volume=", [":files"]),
        ("cp w", [":files", "web:", "worn:"]),
        ("tag busybox:latest b", ["busybox:latest", "busybox:musl"]),
        ("rmi -- busybox:m", ["busybox:musl"]),
        ("inspect w", ["web", "worn"]),
        ("kill -s USR", ["USR1", "USR2"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("save -o ", [":files"]),
        ("help", []),
    ],
)
def test_candidates(parity: Parity, line: str, candidates: list[str] | None) -> None:
    found = words(parity, line)
    if candidates is None:
        assert {"--rm", "--detach", "--help"} <= set(found)
    else:
        assert found == candidates


def test_without_an_engine_there_are_no_names_and_none_is_started(parity: Parity, tmp_path: Path) -> None:
    parity.env = {"DOCKER_HOST": "", "ONGGI_EXEC_ROOT": str(tmp_path / "run")}
    try:
        assert words(parity, "stop ") == []
        assert "run" in words(parity, "")
    finally:
        parity.env = {}
    assert not (tmp_path / "run").exists()


BASH = r"""
source <("$PROGRAM" completion bash)
for COMP_LINE in "$@"; do
    COMP_POINT=${#COMP_LINE}
    _onggi
    echo "$COMP_LINE: ${COMPREPLY[*]}"
done
"""


def test_bash_completes_what_it_split(parity: Parity, tmp_path: Path) -> None:
    """bash takes ``busybox:la`` for three words; only what is behind the colon may come back."""
    program = tmp_path / "onggi"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(OURS)} "$@"\n')
    program.chmod(0o755)
    lines = [
        f"{program} {line}" for line in ("st", "run busybox:", "run --network=f", "stop ", "volume rm d")
    ]
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", *lines], env={**parity.environment(), "PROGRAM": str(program)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    answers = [
        line.partition(": ")[2] for line in done.stdout.replace("busybox:: ", "busybox: ").splitlines()
    ]
    assert answers == ["start stats stop", "latest musl", "front", "web", "data"]
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_scripts(parity: Parity, shell: str) -> None:
    done = parity.ours(f"completion {shell}")
    assert (done.status, "__complete" in done.out) == (0, True)


def test_a_shell_we_do_not_know(parity: Parity) -> None:
    done = parity.ours("completion powershell")
    assert (done.status, done.out, "bash, fish, zsh" in done.err) == (1, "", True)
