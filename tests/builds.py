"""Builds for tests: a context in a directory, docker's classic builder, and what came of it."""

import json
import os
import subprocess
import textwrap
from typing import NamedTuple


class Done(NamedTuple):
    """A build that succeeded, or not."""

    code: int
    output: str
    errors: str
    tag: str
    image: dict

    @property
    def id(self) -> str:
        return self.image["Id"]

    @property
    def history(self) -> list[dict]:
        return self.image["History"]


class Builds:
    """Builds with one engine, of one context."""

    def __init__(self, engine, directory):
        self.engine, self.context = engine, directory / "context"
        self.context.mkdir()
        self.count = 0

    def write(self, name, text, mode=0o644):
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def command(self, *arguments, **more):
        environment = self.engine.environment | {"DOCKER_BUILDKIT": "0"}
        return subprocess.run(
            ["docker", "build", *arguments],
            env=environment,
            capture_output=True,
            timeout=120,
            text=True,
            **more,
        )

    def build(self, dockerfile, *flags, check=True):
        """Build the context with docker's command."""
        self.count += 1
        tag = f"built{os.getpid()}-{self.count}:latest"
        self.write("Dockerfile", textwrap.dedent(dockerfile))
        done = self.command("-t", tag, *flags, str(self.context))
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.engine.log()[-3000:]}"
        image = self.inspect(tag) if done.returncode == 0 else {}
        return Done(done.returncode, done.stdout, done.stderr, tag, image)

    def inspect(self, tag):
        found = json.loads(self.engine.docker("image", "inspect", tag, check=True).stdout)[0]
        lines = self.engine.docker(
            "history", "--no-trunc", "--format", "{{json .}}", tag, check=True
        ).stdout.splitlines()
        return found | {"History": [json.loads(line) for line in lines]}

    def run(self, tag, *command):
        """What a container of the image prints."""
        done = self.engine.docker("run", "--rm", "--network=none", tag, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()
