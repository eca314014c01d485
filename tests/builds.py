"""Builds for tests: a context in a directory, docker's classic builder, and what came of it."""

import base64
import io
import json
import os
import socket
import subprocess
import tarfile
import textwrap
import urllib.parse
from pathlib import Path
from typing import NamedTuple

from engines import DEADLINE_S


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
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        image = self.inspect(tag) if done.returncode == 0 else {}
        return Done(done.returncode, done.stdout, done.stderr, tag, image)

    def inspect(self, tag):
        found = json.loads(self.engine.docker("image", "inspect", tag, check=True).stdout)[0]
        lines = self.engine.docker(
            "history", "--no-trunc", "--format", "{{json .}}", tag, check=True
        ).stdout.splitlines()
        return found | {"History": [json.loads(line) for line in lines]}

    def members(self, tag):
        """Names in the topmost layer of an image."""
        saved = self.engine.docker("save", tag, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
            last = json.load(archive.extractfile("manifest.json"))[0]["Layers"][-1]
            with tarfile.open(fileobj=io.BytesIO(archive.extractfile(last).read())) as layer:
                return set(layer.getnames())

    def run(self, tag, *command):
        """What a container of the image prints."""
        done = self.engine.docker("run", "--rm", "--network=none", tag, *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()


class Wire:
    """A build by raw HTTP, which can be left at any time."""

    def __init__(self, engine, files, header=None, **query):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(str(engine.socket))
        body = files if isinstance(files, bytes) else context_of(files)
        lines = [
            f"POST /v1.47/build?{urllib.parse.urlencode(query, errors='surrogateescape')} HTTP/1.1",
            "Host: x",
        ]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"X-Onggi-Build: {encoded(header)}"] if header else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        self.received = b""

    def until(self, text):
        while text not in self.received:
            piece = self.socket.recv(65536)
            assert piece, self.received
            self.received += piece

    def rest(self):
        while piece := self.socket.recv(65536):
            self.received += piece
        self.socket.close()
        return self.received.decode()


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def context_of(files):
    """A tar of files; a path is a symbolic link to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, Path):
                info.type, info.linkname = tarfile.SYMTYPE, str(content)
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()
