"""Agents of ``build --ssh`` with keys of files: theirs is the time of the command, however that ends."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines import wait_until
from onggi.cli.build_ssh import Agents
from onggi.cli.command import Failure

pytestmark = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="OpenSSH is not installed")
HOLD = """
import os, sys
from onggi.cli.build_ssh import Agents
print(Agents([sys.argv[1]], os.environ).sockets["k"], flush=True)
sys.stdin.read()
"""


def key(path: Path, phrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", path], check=True)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}


def test_an_agent_has_the_keys_and_ends_with_the_build(tmp_path: Path, environment: dict[str, str]) -> None:
    agents = Agents([f"k={key(tmp_path / 'a')},{key(tmp_path / 'b')}"], environment)
    listed = subprocess.run(
        ["ssh-add", "-l"], env=environment | {"SSH_AUTH_SOCK": agents.sockets["k"]}, capture_output=True
    )
    assert listed.stdout.count(b"(ED25519)") == 2
    agents.end()
    wait_until(lambda: not os.path.exists(agents.sockets["k"]), "the agent's end")


def test_an_agent_ends_with_a_command_that_is_killed(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", HOLD, f"k={key(tmp_path / 'a')}"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout
        path = held.stdout.readline().strip()
        assert os.path.exists(path)
        os.kill(held.pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(path), "the agent's end")


def test_keys_that_no_agent_gets(tmp_path: Path, environment: dict[str, str]) -> None:
    a, locked = key(tmp_path / "a"), key(tmp_path / "locked", "secret")
    (tmp_path / "text").write_text("no key\n")
    a.chmod(0o644)  # docker's command does not mind either
    agents = Agents([f"k={a}"], environment)
    for text, words in (
        (f"k={locked}", "a key has a passphrase: give it to an agent (ssh-add), and name that"),
        (f"k={a},{locked}", "a key has a passphrase"),
        (f"k={a},{agents.sockets['k']}", "one agent's socket, or files with keys"),
        (f"k={a},{tmp_path}/none", "none: no such file or directory"),
        (f"k={tmp_path}/text", "Error loading key"),
    ):
        with pytest.raises(Failure, match=words.replace("(", ".").replace(")", ".")):
            Agents([text], environment)
    with pytest.raises(Failure, match="keys in files need OpenSSH's ssh-agent and ssh-add"):
        Agents([f"k={a}"], environment | {"PATH": "/none"})
    agents.end()
    wait_until(lambda: not list(tmp_path.glob("ssh-*")), "the agents' end")
