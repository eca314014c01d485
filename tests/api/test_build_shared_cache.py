"""Caches that builds share: in a fresh data root nothing is done again, and what is wrong is not used."""

import contextlib
import hashlib
import json
import os
import shutil

import pytest

from builds import Builds, Wire
from docker_registry import DockerRegistry
from engines import RealEngine

TEXT = """
    FROM busybox AS tools
    RUN cat /proc/sys/kernel/random/uuid > /tool
    FROM busybox
    COPY file /file
    WORKDIR /work
    RUN --mount=type=cache,target=/c cat /proc/sys/kernel/random/uuid > /first
    COPY --from=tools /tool /tool
    ENV A=1
    RUN cat /proc/sys/kernel/random/uuid > /second
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with contextlib.closing(DockerRegistry(tmp_path_factory.mktemp("registry") / "r")) as found:
        yield found


class Machine:
    """An engine of its own, with our command."""

    def __init__(self, directory, base):
        directory.mkdir()
        self.engine = RealEngine(directory)
        self.engine.start()
        self.engine.docker("load", input=base, check=True)
        self.builds = Builds(self.engine, directory)
        self.builds.write("file", "hello\n")

    def build(self, text, *flags, tag="made", check=True):
        self.builds.write("Dockerfile", "\n".join(line.strip() for line in text.strip().splitlines()))
        context = str(self.builds.context)
        done = self.engine.onggi("build", "--progress", "plain", "-t", tag, *flags, context)
        told = (done.stdout + done.stderr).decode()
        assert not check or done.returncode == 0, told
        return told

    def times(self, tag="made"):
        return self.builds.run(tag, "cat", "/tool", "/first", "/second")

    def id(self, tag="made"):
        return self.engine.docker("image", "inspect", "-f", "{{.Id}}", tag, check=True).stdout


@pytest.fixture
def machine(tmp_path, engine):
    made, base = [], engine.docker("save", "busybox", check=True).stdout

    def make():
        made.append(Machine(tmp_path / f"machine{len(made)}", base))
        return made[-1]

    try:
        yield make
    finally:
        for it in made:
            it.engine.destroy()


def test_a_cache_in_a_directory(machine, tmp_path):
    one, two = machine(), machine()
    cache = tmp_path / "cache"
    told = one.build(TEXT, "--cache-to", f"type=local,dest={cache},mode=max")
    assert "Wrote 3 steps to the cache" in told
    told = two.build(TEXT, "--cache-from", f"type=local,src={cache}")
    assert (two.times(), two.id()) == (one.times(), one.id())
    assert two.engine.docker("ps", "-aq").stdout == b""
    # What came so stays out of this machine's own cache.
    two.engine.docker("rmi", "made", check=True)
    two.build(TEXT, tag="other")
    assert two.times("other") != one.times()
    # Of the image's own steps alone the other stage is done again.
    two.engine.docker("rmi", "other", check=True)
    two.engine.docker("builder", "prune", "-af", check=True)
    one.build(TEXT, "--cache-to", f"type=local,dest={cache},mode=min,tag=small")
    told = two.build(TEXT, "--cache-from", f"type=local,src={cache},tag=small", tag="third")
    assert two.times("third").splitlines()[1] == one.times().splitlines()[1]
    two.engine.docker("builder", "prune", "-af", check=True)
    assert two.engine.onggi("system", "fsck").returncode == 0


def test_a_cache_in_a_registry_and_in_an_image(machine, registry):
    one, two = machine(), machine()
    place = f"{registry.host}/cache:max"
    one.build(TEXT, "--cache-to", f"type=registry,ref={place},mode=max", "--cache-to", "type=inline")
    two.build(TEXT, "--cache-from", f"type=registry,ref={place}", "--cache-to", "type=inline")
    assert (two.times(), two.id()) == (one.times(), one.id())
    image = f"{registry.host}/image:inline"
    one.engine.docker("tag", "made", image, check=True)
    one.engine.docker("push", image, check=True)
    three = machine()
    three.build(TEXT.replace("/tool /tool", "/etc/passwd /tool"), "--cache-from", image)
    assert three.times().splitlines()[-2] == one.times().splitlines()[1]
    told = three.build("FROM busybox", "--cache-from", f"{registry.host}/nothing:1")
    assert "is not used" in told


def test_layers_of_an_image_serve_where_its_history_is_the_same(builds, engine):
    random = "RUN cat /proc/sys/kernel/random/uuid"
    text = f"FROM busybox\nENV A={{}}\n{random} > /first\n{random} > /second\n"
    first = builds.build(text.format(1))
    engine.docker("builder", "prune", "-af", check=True)
    again = builds.build(text.format(1), "--cache-from", first.tag)
    assert (again.output.count("Using cache"), again.id) == (2, first.id)
    other = builds.build(text.format(2), "--cache-from", first.tag)
    assert other.output.count("Using cache") == 0
    engine.docker("builder", "prune", "-af", check=True)
    timed = ("--build-arg", "SOURCE_DATE_EPOCH=1000000000")
    assert builds.build(text.format(1), "--cache-from", first.tag, *timed).output.count("Using cache") == 0
    assert builds.build(text.format(1), "--cache-from", "nothing:here").output.count("Using cache") == 0


@pytest.fixture
def builds(engine, tmp_path):
    return Builds(engine, tmp_path)


def blobs(cache):
    return {path.name: path for path in (cache / "blobs/sha256").iterdir()}


def renamed(cache, old, data):
    """The layout with other bytes in place of a document, and everything that names it."""
    new = hashlib.sha256(data).hexdigest()
    path = cache / "blobs/sha256" / old
    size = path.stat().st_size
    path.unlink()
    (cache / "blobs/sha256" / new).write_bytes(data)
    for other in (cache / "index.json", *blobs(cache).values()):
        text = other.read_bytes()
        if old.encode() in text and other.name != new:
            document = json.loads(text.replace(old.encode(), new.encode()))
            for it in (
                *document.get("manifests", ()),
                document.get("config", {}),
                *document.get("layers", ()),
            ):
                if it.get("digest") == f"sha256:{new}" and it["size"] == size:
                    it["size"] = len(data)
            data_ = json.dumps(document).encode()
            if other.name == "index.json":
                other.write_bytes(data_)
            else:
                renamed(cache, other.name, data_)


def test_hostile_caches_are_not_used(machine, tmp_path):
    one, two = machine(), machine()
    cache = tmp_path / "cache"
    one.build(TEXT, "--cache-to", f"type=local,dest={cache},mode=max")
    index = json.loads((cache / "index.json").read_text())
    manifest = json.loads(blobs(cache)[index["manifests"][0]["digest"][7:]].read_text())
    config = manifest["config"]["digest"][7:]
    document = json.loads(blobs(cache)[config].read_text())
    layers = [it["blob"][7:] for it in document["layers"]]

    def spoiled(name, change):
        copy = tmp_path / name
        shutil.copytree(cache, copy)
        change(copy)
        told = two.build(TEXT, "--no-cache-filter=tools", "--cache-from", f"type=local,src={copy}", tag=name)
        two.engine.docker("builder", "prune", "-af", check=True)
        return told

    def other_bytes(copy):
        for name in layers:
            os.chmod(copy / "blobs/sha256" / name, 0o644)
            (copy / "blobs/sha256" / name).write_bytes(b"x" * 5000)

    def swapped(copy):
        # Each key has the layer of another step, under the diff id of its own.
        ids = [it["annotations"]["diffID"] for it in document["layers"]]
        for layer, diff_id in zip(document["layers"], [*ids[1:], ids[0]], strict=True):
            layer["annotations"]["diffID"] = diff_id
        renamed(copy, config, json.dumps(document).encode())

    def link(copy):
        for name in layers:
            (copy / "blobs/sha256" / name).unlink()
            (copy / "blobs/sha256" / name).symlink_to("/etc/shadow")

    assert "a layer of a cache is not used" in spoiled("other-bytes", other_bytes)
    assert two.times("other-bytes").split()[1:] != one.times().split()[1:]
    assert "a layer of a cache is not used" in spoiled("swapped", swapped)
    assert two.times("swapped").split()[1:] != one.times().split()[1:]
    assert "a layer of a cache is not used" in spoiled("links", link)
    for name, data in (("list", b"[]"), ("key", b'{"records":[{"digest":"../x","layers":[{"layer":0}]}]}')):
        told = spoiled(name, lambda copy, data=data: renamed(copy, config, data))
        assert "is not used: invalid" in told, told
    told = spoiled("digest", lambda copy: blobs(copy)[config].write_bytes(b"{}"))
    assert "is not used: invalid" in told, told
    assert two.engine.onggi("system", "fsck").returncode == 0


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({"CacheFrom": [{"Type": "gha"}]}, "501"),
        ({"CacheTo": [{"Type": "local", "Path": "relative"}]}, "400"),
        ({"CacheTo": [{"Type": "registry", "Ref": "x", "Mode": "most"}]}, "400"),
        ({"CacheFrom": [{"Type": "registry", "Ref": "../x"}]}, "400"),
    ],
)
def test_caches_that_are_refused(engine, header, status):
    told = Wire(engine, {"Dockerfile": "FROM busybox"}, header).rest()
    assert told.startswith(f"HTTP/1.1 {status}")
