"""``run`` as a test wants it: by our own CLI or by docker's, cleaned up afterwards."""

import json
import os
import pty
import secrets
import select
import subprocess
from collections.abc import Sequence

from engines import DEADLINE_S, ONGGI, RealEngine


class Runner:
    """Runs busybox by one of the two CLIs; what it starts is removed by ``close``."""

    def __init__(self, engine: RealEngine, cli: str) -> None:
        self.engine, self.cli = engine, cli
        self._names: list[str] = []

    @property
    def argv(self) -> list[str]:
        """The words that start the CLI."""
        return ONGGI if self.cli == "onggi" else ["docker"]

    def command(self, *arguments: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Any command of the CLI."""
        call = self.engine.onggi if self.cli == "onggi" else self.engine.docker
        return call(*arguments, input=input)

    def done(
        self, *flags: str, sh: str = "true", network: str = "none", input: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """``run --rm FLAGS busybox sh -c SH``, whatever comes of it."""
        return self.command(*_words(flags, ["sh", "-c", sh], network), input=input)

    def __call__(self, *flags: str, sh: str = "true", network: str = "none", input: bytes = b"") -> str:
        """What a run that must succeed printed, stripped."""
        done = self.done(*flags, sh=sh, network=network, input=input)
        assert done.returncode == 0, done
        return done.stdout.decode().strip()

    def refused(self, *flags: str, network: str = "none") -> str:
        """The words with which a run is refused."""
        done = self.done(*flags, network=network)
        assert (done.returncode, done.stdout) == (125, b""), done
        return done.stderr.decode()

    def start(self, *flags: str, command: Sequence[str] = ("sleep", "1000"), network: str = "none") -> str:
        """Start in the background; returns the name."""
        name = f"t{secrets.token_hex(4)}"
        self._names.append(name)
        done = self.command("run", "-d", "--name", name, "--network", network, *flags, "busybox", *command)
        assert done.returncode == 0, done
        return name

    def exec(self, name: str, sh: str) -> str:
        """What a command in a running container prints, stripped."""
        done = self.command("exec", name, "sh", "-c", sh)
        assert done.returncode == 0, done
        return done.stdout.decode().strip()

    def inspect(self, name: str) -> dict:
        """docker's ``inspect`` object."""
        done = self.command("inspect", name)
        assert done.returncode == 0, done
        return json.loads(done.stdout)[0]

    def wait(self, name: str) -> int:
        """The exit code of a container that ends."""
        done = self.command("wait", name)
        assert done.returncode == 0, done
        return int(done.stdout)

    def terminal(self, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
        """The CLI on a terminal of its own, and our side of that; the caller closes it."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [*self.argv, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self.engine.environment,
            start_new_session=True,
        )
        os.close(slave)
        return process, master

    def close(self) -> None:
        """Remove what was started."""
        if self._names:
            self.engine.docker("rm", "-f", *self._names)


def _words(flags: Sequence[str], command: Sequence[str], network: str) -> list[str]:
    return ["run", "--rm", "--network", network, *flags, "busybox", *command]


def read_terminal(master: int, until: bytes) -> bytes:
    """What a terminal shows up to and with ``until``."""
    seen = b""
    while until not in seen:
        assert select.select([master], [], [], DEADLINE_S)[0], seen
        try:
            seen += os.read(master, 4096)
        except OSError:  # EIO: the other side is closed
            break
    assert until in seen, seen
    return seen
