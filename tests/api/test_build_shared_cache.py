"""Caches that builds share: in a fresh data root nothing is done again, and what is wrong is not used."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile

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


MOUNTS = """
    FROM busybox
    RUN --mount=type=cache,target=/c,id=one \\
        cat /c/word > /first; echo {} >> /c/word; touch -d @99 /c; chown 5:6 /c
    RUN --mount=type=cache,target=/c,id=one,from=busybox,source=etc cat /c/word > /second; echo {} >> /c/word
    RUN --mount=type=cache,target=/p,sharing=private cat /p/word > /third; echo {} >> /p/word
    RUN --mount=type=secret,id=s --mount=type=cache,target=/empty true
    RUN --mount=type=cache,target=/c,id=one stat -c %Y:%u:%g /c > /told
"""
CANARY = b"canary-of-a-secret"


def found(machine, tag="made"):
    return machine.builds.run(tag, "cat", "/first", "/second", "/third")


def contains(cache, word):
    return any(word in it.read_bytes() or word in gunzipped(it) for it in blobs(cache).values())


def gunzipped(path):
    return gzip.decompress(data) if (data := path.read_bytes())[:2] == b"\x1f\x8b" else b""


def test_cache_mounts_go_along_when_asked(machine, registry, tmp_path):
    one, two = machine(), machine()
    cache, again, place = (
        tmp_path / "cache",
        tmp_path / "again",
        f"type=registry,ref={registry.host}/mounts:x",
    )
    (tmp_path / "secret").write_bytes(CANARY)
    secret, plain = f"--secret=id=s,src={tmp_path}/secret", f"--cache-to=type=local,dest={tmp_path}/plain"
    text = MOUNTS.format(1, 1, 1)
    told = one.build(text, secret, f"--cache-to=type=local,dest={cache},mounts=true", plain)
    assert "Wrote 5 steps and 4 cache mounts to the cache" in told
    assert contains(cache, b"word")
    assert not contains(cache, CANARY)
    assert not contains(tmp_path / "plain", b"word")
    # Where nothing was built: each cache has what it had there, under its own name.
    text = MOUNTS.format(2, 2, 2)
    two.build(text, f"--cache-from=type=local,src={cache}", f"--cache-to=type=local,dest={again},mounts=true")
    assert found(two) == "1\n" * 3
    assert two.builds.run("made", "cat", "/told") == one.builds.run("made", "cat", "/told")
    # Who does not name the cache never meets it, and then has one of his own.
    two.build(MOUNTS.format(3, 3, 3), tag="apart")
    assert found(two, "apart") == ""
    two.build(MOUNTS.format(4, 4, 4), f"--cache-from=type=local,src={again}")
    assert found(two) == "3\n" * 3
    # Steps that are found carry theirs on, also if nobody opened them.
    two.engine.docker("rmi", "made", "apart", check=True)
    two.engine.docker("builder", "prune", "-af", check=True)
    assert not os.listdir(f"{two.engine.data_root}/build/caches")
    two.build(text, f"--cache-from=type=local,src={again}", f"--cache-to={place},mounts=true")
    two.build(MOUNTS.format(5, 5, 5), f"--cache-from={place}")
    assert found(two) == "1\n2\n" * 3
    assert two.engine.onggi("system", "fsck").returncode == 0


def layers_of(cache):
    """The manifest of a cache's layout, and its name."""
    index = json.loads((cache / "index.json").read_text())
    name = index["manifests"][0]["digest"][7:]
    return name, json.loads(blobs(cache)[name].read_text())


@pytest.mark.parametrize("what", ["bytes", "size", "link", "outside", "device"])
def test_hostile_cache_mounts_are_not_used(builds, engine, tmp_path, what):
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    outside.mkdir()
    (outside / "word").write_bytes(CANARY)
    text = "FROM busybox\nRUN --mount=type=cache,target=/c,id={} cat /c/word; echo x > /c/word; echo {}\n"
    builds.write("Dockerfile", text.format(what, 1))
    flags = ["build", "--progress=plain", "--no-cache", str(builds.context)]
    assert engine.onggi(*flags, f"--cache-to=type=local,dest={cache},mounts=true").returncode == 0
    name, manifest = layers_of(cache)
    layer = next(it for it in manifest["layers"] if "cachemount" in it["mediaType"])
    path = blobs(cache)[layer["digest"][7:]]
    data = path.read_bytes()
    if what == "size":
        layer["size"] += 1
    elif what == "bytes":
        data = b"x" * len(data)
    else:
        data = hostile(what, outside)
        layer.update(size=len(data), digest=f"sha256:{hashlib.sha256(data).hexdigest()}")
    path.chmod(0o644)
    path.write_bytes(data)
    path.rename(path.with_name(layer["digest"][7:]))
    renamed(cache, name, json.dumps(manifest).encode())
    engine.docker("builder", "prune", "-af", check=True)
    done = engine.onggi(*flags, f"--cache-from=type=local,src={cache}")
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, told
    assert CANARY.decode() not in told
    assert what == "outside" or "a cache mount of a cache is not used" in told, told
    assert [it.name for it in outside.iterdir()] == ["word"]
    assert (outside / "word").read_bytes() == CANARY


def hostile(what, outside):
    """A tar whose top is no directory, or that leads out of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        if what == "outside":
            archive.addfile(tarfile.TarInfo("copy/"))
            for member in ("copy/word", f"../../../../..{outside}/new", f"copy/link{outside}/new"):
                archive.addfile(tarfile.TarInfo(member))
        top = tarfile.TarInfo("copy/link" if what == "outside" else "copy")
        top.type = tarfile.CHRTYPE if what == "device" else tarfile.SYMTYPE
        top.linkname = "/" if what == "outside" else str(outside)
        archive.addfile(top)
        if what != "device":
            archive.addfile(tarfile.TarInfo(f"{top.name}/word"))
    return buffer.getvalue()


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
        ({"CacheTo": [{"Type": "inline", "Mounts": True}]}, "400"),
        ({"CacheTo": [{"Type": "local", "Path": "relative"}]}, "400"),
        ({"CacheTo": [{"Type": "registry", "Ref": "x", "Mode": "most"}]}, "400"),
        ({"CacheFrom": [{"Type": "registry", "Ref": "../x"}]}, "400"),
    ],
)
def test_caches_that_are_refused(engine, header, status):
    told = Wire(engine, {"Dockerfile": "FROM busybox"}, header).rest()
    assert told.startswith(f"HTTP/1.1 {status}")
