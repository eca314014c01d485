"""Runs one command line with docker's command and with ours against the same fake engine, for comparison.

What is compared: exit code, standard output and error, the requests with their credentials, and the
configuration file afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from fake_engine import FakeEngine, Request

SOURCE = Path(__file__).parents[2] / "src"
BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from onggi.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
OURS = [sys.executable, "-I", "-S", "-c", BOOT, str(SOURCE)]
DEADLINE_S = 60


class Outcome(NamedTuple):
    """What came of a command line."""

    status: int
    out: str
    err: str
    requests: list[str]
    config: Any


def request_line(request: Request) -> str:
    """Return a request as one line: query in order, credentials decoded."""
    query = sorted(parse_qsl(request.query, keep_blank_values=True))
    auth = request.headers.get("x-registry-auth")
    shown = f" {json.loads(base64.urlsafe_b64decode(auth))}" if auth else ""
    body = f" {json.dumps(request.json, sort_keys=True)}" if request.path == "/auth" else ""
    return f"{request.method} {request.path} {query}{shown}{body}"


class Parity:
    """A fake engine and a scratch directory for both programs; ``config`` is what config.json holds before
    each run, ``env`` what is added to the environment."""

    def __init__(self, engine: FakeEngine, directory: Path) -> None:
        self.engine, self.directory = engine, directory
        self.config: Any = None
        self.env: dict[str, str] = {}

    def docker(self, line: str, stdin: bytes | None = None) -> Outcome:
        """Run docker's command; its program's name is replaced by ours."""
        if shutil.which("docker") is None:
            pytest.skip("docker CLI is not installed")
        theirs = self._run([shutil.which("docker") or "docker"], line, stdin)
        return theirs._replace(out=as_ours(theirs.out), err=as_ours(theirs.err))

    def ours(self, line: str, stdin: bytes | None = None) -> Outcome:
        """Run our command."""
        return self._run(OURS, line, stdin)

    def check(self, line: str, stdin: bytes | None = None) -> Outcome:
        """Both must do the same; returns what they did."""
        theirs, ours = self.docker(line, stdin), self.ours(line, stdin)
        assert ours == theirs
        return ours

    def environment(self) -> dict[str, str]:
        """The environment for a run, with a fresh configuration."""
        folder = self.directory / "config"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if self.config is not None:
            (folder / "config.json").write_text(json.dumps(self.config))
        base = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        fixed = {"DOCKER_HOST": self.engine.host, "DOCKER_CONFIG": str(folder), "TZ": "UTC"}
        return {**base, **fixed, **self.env}

    def _run(self, program: list[str], line: str, stdin: bytes | None) -> Outcome:
        env, before = self.environment(), len(self.engine.requests)
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [*program, *shlex.split(line)], env=env, cwd=self.directory, capture_output=True,
            timeout=DEADLINE_S, check=False, **given,
        )  # fmt: skip
        asked = [request_line(request) for request in self.engine.requests[before:]]
        after = Path(env["DOCKER_CONFIG"]) / "config.json"
        config = json.loads(after.read_text()) if after.exists() else None
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return Outcome(done.returncode, out, err, [each for each in asked if "/_ping" not in each], config)

    def terminal(
        self, line: str, typed: list[tuple[bytes, bytes]], size: tuple[int, int]
    ) -> tuple[bytes, bytes]:
        """Return what both programs write to a terminal of ``size`` (rows, columns): theirs and ours.

        ``typed`` holds pairs: after the first is seen, the second is typed.
        """
        if shutil.which("docker") is None:
            pytest.skip("docker CLI is not installed")
        theirs = on_terminal(
            [shutil.which("docker") or "", *shlex.split(line)], self.environment(), typed, size
        )
        ours = on_terminal([*OURS, *shlex.split(line)], self.environment(), typed, size)
        return as_ours(theirs.decode()).encode(), ours


def as_ours(text: str) -> str:
    """Return docker's words with our program's name."""
    return (
        text.replace("'docker ", "'onggi ")
        .replace("docker:", "onggi:")
        .replace("Usage:  docker ", "Usage:  onggi ")
        .replace("\tdocker ", "\tonggi ")
    )


def on_terminal(
    argv: list[str], env: dict[str, str], typed: list[tuple[bytes, bytes]], size: tuple[int, int]
) -> bytes:
    """Return what a program writes to a terminal of its own."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, size)
    ends: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = subprocess.Popen(argv, env=env, start_new_session=True, **ends)
    os.close(slave)
    seen, waiting = b"", list(typed)
    try:
        while select.select([master], [], [], DEADLINE_S)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break  # the last user of the other end is gone
            if waiting and waiting[0][0] in seen:
                os.write(master, waiting.pop(0)[1])
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert not waiting, seen
    return seen
