"""Clients that do random things with images of one engine, and remember what they were told: what was
answered must be so whatever happens next, what was not may be either way.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fake_registry import FakeRegistry, descriptor

from image_archives import CONFIG, LAYER_GZIP, MANIFEST, config, docker_archive, layer
from running_engine import RunningEngine

UNREACHED = (http.client.HTTPException, OSError)
AUTH = {"X-Registry-Auth": base64.urlsafe_b64encode(b"{}").decode()}
BASE = layer({"base/": None, "base/file": b"what many images have" * 1000})


class Gone(Exception):
    """The engine did not answer to the end."""


class Known:
    """One name: whether it exists (None: an answer never came), and what files the image has."""

    def __init__(self) -> None:
        self.exists: bool | None = None
        self.files: dict[str, str] = {}


class ImageClient(threading.Thread):
    """One user with names of his own; ends when the engine does. ``doing`` is what was not answered."""

    def __init__(self, engine: RunningEngine, registry: FakeRegistry, seed: str, steps: int) -> None:
        super().__init__()
        self.engine, self.registry, self.random, self.steps = engine, registry, random.Random(seed), steps
        self.prefix = "i" + hashlib.sha256(seed.encode()).hexdigest()[:8]
        self.known: dict[str, Known] = collections.defaultdict(Known)
        self.counts: collections.Counter[str] = collections.Counter()
        self.refusals: list[str] = []
        self.failures: list[str] = []
        self.doing = ""
        # Who asks for the next promise of an image has it made, and nothing done behind it until ``go``.
        self.asked, self.made, self.go = threading.Event(), threading.Event(), threading.Event()
        self.number = 0

    def run(self) -> None:
        makers = (self.import_, self.load, self.pull, self.build)
        others = (self.commit, self.tag, self.remove, self.remove, self.save, self.prune, self.prune)
        steps = (*makers, *others, self.push, self.push, self.contain)
        try:
            while self.steps > 0:
                self.steps -= 1
                step = self.random.choice(steps if self.existing() else makers)
                self.doing = step.__name__.strip("_")
                self.counts[self.doing] += 1
                step()
                self.doing = ""
        except Gone:
            return
        except Exception as error:  # an assertion of a thread is the round's
            self.failures.append(f"{self.doing}: {type(error).__name__}: {error}")

    # -- talking -------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """(status, answer to its end). Raises Gone."""
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = {} if isinstance(body, bytes) or body is None else {"Content-Type": "application/json"}
        try:
            with contextlib.closing(self.engine.connection()) as connection:
                connection.request(method, path, payload, {**kind, **headers})
                response = connection.getresponse()
                data = response.read()
        except UNREACHED:
            raise Gone from None
        if response.status >= 400:
            self.refusals.append(f"{method} {path.split('?')[0]}: {response.status} {data[:300]!r}")
        return response.status, data

    def worked(self, method: str, path: str, body: Any = None, **headers: str) -> bool:
        """Whether a call that answers with messages ended well."""
        status, data = self.ask(method, path, body, **headers)
        messages = [json.loads(line) for line in data.splitlines() if line.strip()]
        errors = [it["error"] for it in messages if isinstance(it, dict) and "error" in it]
        self.refusals += [f"{method} {path.split('?')[0]}: {error}" for error in errors]
        return status < 400 and not errors

    # -- names ---------------------------------------------------------------------------------------------

    def _fresh(self) -> str:
        """A new name, or one that is known and moves."""
        if self.known and self.random.random() < 0.3:
            return self.random.choice(sorted(self.known))
        self.number += 1
        return f"{self.prefix}-{self.number}:latest"

    def existing(self) -> list[str]:
        return sorted(name for name, known in self.known.items() if known.exists)

    def _any(self) -> str:
        return self.random.choice(self.existing())

    def _files(self) -> dict[str, bytes | None]:
        size = self.random.choice((10, 1000, 100_000, 1_000_000))
        count = self.random.randrange(1, 8)
        names = [f"d{self.random.randrange(3)}/f{number}" for number in range(count)]
        return {name: self.random.randbytes(self.random.randrange(size)) for name in names}

    @contextlib.contextmanager
    def making(self, name: str, *files: dict[str, bytes | None]) -> Iterator[list[bool]]:
        """The body makes the image ``name`` with these files and says whether it did."""
        known = self.known[name]
        before = known.exists, known.files
        known.exists = None
        result: list[bool] = []
        yield result
        known.exists, known.files = before
        if result[0]:
            contents = {path: data for one in files for path, data in one.items() if data is not None}
            known.exists, known.files = True, {path: digest(data) for path, data in contents.items()}
            self._stand_still()

    def _stand_still(self) -> None:
        if self.asked.is_set():
            self.asked.clear()
            self.made.set()
            self.go.wait(120)
            self.go.clear()

    # -- doing ---------------------------------------------------------------------------------------------

    def import_(self) -> None:
        name, files = self._fresh(), self._files()
        data = layer(files)
        data = self.random.choice((lambda it: it, lambda it: gzip.compress(it, 1)))(data)
        with self.making(name, files) as result:
            repository, _, tag = name.partition(":")
            result.append(self.worked("POST", f"/images/create?fromSrc=-&repo={repository}&tag={tag}", data))

    def load(self) -> None:
        name, files, more = self._fresh(), self._files(), self._files()
        archive = docker_archive([BASE, layer(files), layer(more)], tags=(name,))
        with self.making(name, files, more) as result:
            result.append(self.worked("POST", "/images/load", archive))

    def pull(self) -> None:
        files, more = self._files(), self._files()
        self.number += 1
        repository = f"{self.prefix}/pulled{self.number}"
        add_image(self.registry, repository, [BASE, layer(files), layer(more)])
        name = f"{self.registry.host}/{repository}:latest"
        with self.making(name, files, more) as result:
            call = f"/images/create?fromImage={quote(name.removesuffix(':latest'))}&tag=latest"
            result.append(self.worked("POST", call))

    def build(self) -> None:
        """Steps that are settled by the last, or, of a build that fails, by whoever promises next."""
        name, files, more = self._fresh(), self._files(), self._files()
        steps = [f"FROM {self._any() if self.existing() and self.random.random() < 0.5 else 'scratch'}"]
        steps += [f"COPY {path} /{path}" for path in ("one", "more")]
        fails = self.random.random() < 0.3
        document = "\n".join([*steps, "COPY absent /"] if fails else steps).encode()
        sent = {"Dockerfile": document, **prefixed("one", files), **prefixed("more", more)}
        with self.making(name, prefixed("one", files), prefixed("more", more)) as result:
            result.append(self.worked("POST", f"/build?t={quote(name)}", layer(sent)))
        if fails and not result[0]:
            self.refusals.pop()

    def commit(self) -> None:
        """What a container of the machine's view wrote becomes an image."""
        name, text = self._fresh(), f"{self.random.random()}"
        command = ["sh", "-c", f"mkdir /opt/made; echo {text} > /opt/made/file"]
        body = {"Image": "host", "Cmd": command, "HostConfig": {"NetworkMode": "none"}}
        status, data = self.ask("POST", "/containers/create", body)
        if status != 201:
            return
        container = json.loads(data)["Id"]
        self.ask("POST", f"/containers/{container}/start")
        self.ask("POST", f"/containers/{container}/wait")
        repository, _, tag = name.partition(":")
        with self.making(name, {"opt/made/file": f"{text}\n".encode()}) as result:
            status, _ = self.ask("POST", f"/commit?container={container}&repo={repository}&tag={tag}", {})
            result.append(status == 201)
        self.ask("DELETE", f"/containers/{container}?force=1")

    def tag(self) -> None:
        source, name = self._any(), self._fresh()
        if source == name:
            return
        known, files = self.known[name], self.known[source].files
        before, known.exists = known.exists, None
        repository, _, tag = name.rpartition(":")
        status, _ = self.ask("POST", f"/images/{quote(source)}/tag?repo={quote(repository)}&tag={tag}")
        known.exists = True if status == 201 else before
        known.files = files if status == 201 else known.files

    def remove(self) -> None:
        known = self.known[name := self._any()]
        known.exists = None
        status, _ = self.ask("DELETE", f"/images/{quote(name)}?force=1")
        known.exists = status not in (200, 404)

    def save(self) -> None:
        status, data = self.ask("GET", f"/images/{quote(self._any())}/get")
        assert status == 200, data[:300]
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert "index.json" in archive.getnames()

    def prune(self) -> None:
        self.ask("POST", "/images/prune")

    def push(self) -> None:
        self.number += 1
        source, repository = self._any(), f"{self.registry.host}/{self.prefix}/pushed{self.number}"
        known = self.known[f"{repository}:latest"]
        if self.ask("POST", f"/images/{quote(source)}/tag?repo={quote(repository)}&tag=latest")[0] != 201:
            known.exists = False
            return
        known.exists, known.files = True, self.known[source].files
        if self.worked("POST", f"/images/{quote(repository)}/push?tag=latest", None, **AUTH):
            kind, data = self.registry.manifests[f"{self.prefix}/pushed{self.number}/latest"]
            assert all(it["digest"] in self.registry.blobs for it in json.loads(data)["layers"]), kind

    def contain(self) -> None:
        """A container stands on an image, for a while."""
        body = {"Image": self._any(), "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}
        status, data = self.ask("POST", "/containers/create", body)
        if status == 201 and self.random.random() < 0.7:
            self.ask("DELETE", f"/containers/{json.loads(data)['Id']}?force=1")

    # -- judging -------------------------------------------------------------------------------------------

    def judge(self) -> list[str]:
        """What the engine says of our names against what it told us; then we know again."""
        wrong = judge(self.engine, self.known)
        told = names(self.engine)
        for name, known in self.known.items():
            if known.exists is None:
                known.files = {}  # which of the two it is, nobody said
            known.exists = name in told
        return wrong

    def promised(self) -> dict[str, Known]:
        """What was told up to now."""
        found = {}
        for name, known in list(self.known.items()):
            copy = found[name] = Known()
            copy.exists, copy.files = known.exists, known.files
        return found


def names(engine: RunningEngine) -> set[str]:
    """Names of all images."""
    return {name for image in engine.call("GET", "/images/json") for name in image["RepoTags"]}


def judge(engine: RunningEngine, promised: Mapping[str, Known]) -> list[str]:
    """Every promise that an engine does not keep."""
    told, wrong = names(engine), []
    for name, known in promised.items():
        if known.exists is not None and known.exists != (name in told):
            wrong.append(f"{name} was told to exist: {known.exists}, is there: {name in told}")
        elif known.exists:
            wrong += _differs(engine, name, known.files)
    return wrong


def _differs(engine: RunningEngine, name: str, files: Mapping[str, str]) -> list[str]:
    data = engine.call("GET", f"/images/{quote(name)}/json")["GraphDriver"]["Data"]
    layers = [data["UpperDir"], *filter(None, data["LowerDir"].split(":"))]
    return [
        f"{name}: {path} is not as it was stored"
        for path, expected in files.items()
        if expected != digest(first(layers, path))
    ]


def first(layers: list[str], path: str) -> bytes:
    """A file of the topmost layer that has it; empty if none has."""
    for directory in layers:
        with contextlib.suppress(FileNotFoundError):
            return Path(directory, path).read_bytes()
    return b"missing"


def prefixed(directory: str, files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """The same files in a directory."""
    return {f"{directory}/{path}": data for path, data in files.items()}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def add_image(registry: FakeRegistry, name: str, layers: list[bytes]) -> None:
    """An image that can be pulled: its layers as gzip."""
    document = config(layers)
    blobs = [gzip.compress(it, 1, mtime=0) for it in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, registry.add_blob(document), document),
        "layers": [descriptor(LAYER_GZIP, registry.add_blob(it), it) for it in blobs],
    }
    registry.add_manifest(name, manifest)


def thin_out(engine: RunningEngine, most: int) -> None:
    """Remove containers, and images but for the ``most`` newest."""
    for container in engine.call("GET", "/containers/json?all=1"):
        engine.call("DELETE", f"/containers/{container['Id']}?force=1")
    images = [it for it in engine.call("GET", "/images/json") if it["RepoTags"] != ["host:latest"]]
    for image in images[most:]:
        engine.call("DELETE", f"/images/{image['Id']}?force=1")


def fsck(engine: RunningEngine) -> list[str]:
    """What the engine finds wrong with its store."""
    with contextlib.closing(engine.connection()) as connection:
        connection.request("POST", "/onggi/v1/fsck", "{}", {"Content-Type": "application/json"})
        lines = connection.getresponse().read().splitlines()
    findings = [json.loads(line).get("Finding") for line in lines]
    assert "Checked" in json.loads(lines[-1])
    return [f"{it['Object']}: {it['Problem']}" for it in findings if it]


def left_over(engine: RunningEngine) -> list[str]:
    """What a prune should have taken."""
    places = [Path(engine.data_root, name) for name in ("ingest", "trash")]
    return [f"left: {path / name}" for path in places for name in os.listdir(path)]
