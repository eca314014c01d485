"""``load`` and ``save`` through a real engine: docker's archives, OCI layouts, and what may be wrong."""

import gzip
import io
import json
import lzma
import os
import tarfile

import pytest
from docker.errors import APIError

from image_archives import (
    config,
    digest,
    docker_archive,
    hexadecimal,
    layer,
    oci_members,
    tar,
    write_layout,
)  # fmt: skip
from onggi.images.decompress import _zstd_module as zstd

BASE = layer({"etc": None, "etc/a": b"one", "etc/b": b"two"})
TOP = layer({"etc/.wh.a": b"", "etc/c": b"three"})


def shown(engine, image: str, path: str) -> bytes | None:
    """A file of an image, read through a container that is never started."""
    created = engine.docker("create", image, "x", check=True).stdout.decode().split()[-1]
    try:
        upper = json.loads(engine.docker("image", "inspect", image, check=True).stdout)[0]["GraphDriver"][
            "Data"
        ]
        directories = [upper["UpperDir"], *filter(None, upper["LowerDir"].split(":"))]
        for directory in directories:
            try:
                with open(f"{directory}/{path}", "rb") as file:
                    return file.read()
            except FileNotFoundError:
                continue
            except OSError:
                return None  # a whiteout
        return None
    finally:
        engine.docker("rm", created)


def members_of(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {it.name: archive.extractfile(it).read() for it in archive if it.isfile()}


@pytest.fixture
def clean(engine):
    """Nothing that a test loads is left, nor partial files; pulls that failed elsewhere leave theirs."""
    before = set((engine.data_root / "ingest").iterdir())
    yield
    for name in ("made:1", "made:2", "made:3"):
        engine.docker("rmi", "-f", name)
    assert set((engine.data_root / "ingest").iterdir()) <= before


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress, lzma.compress, lambda data: zstd.compress(data)])
def test_a_docker_archive_is_loaded(engine, clean, squeeze):
    loaded = engine.docker("load", input=squeeze(docker_archive([BASE, TOP])))
    assert loaded.stdout == b"Loaded image: made:1\n"
    assert shown(engine, "made:1", "etc/b") == b"two"
    assert shown(engine, "made:1", "etc/c") == b"three"
    facts = json.loads(engine.docker("image", "inspect", "made:1", check=True).stdout)[0]
    assert facts["RootFS"]["Layers"] == [digest(BASE), digest(TOP)]
    assert facts["Id"] == digest(config([BASE, TOP]))


def test_the_answers_head_says_that_an_image_is_loaded(engine, client, clean):
    """docker-squash reads no more of it, nor asks for silence; docker's default of ``quiet`` is true."""
    answer = client.api.load_image(docker_archive([layer({"big": os.urandom(8 << 20)})]))
    assert [image.tags for image in client.images.list("made")] == [["made:1"]]
    assert [*answer] == [{"stream": "Loaded image: made:1\n"}]


@pytest.mark.parametrize("compress", [True, False])
def test_an_oci_layout_is_loaded(engine, clean, compress):
    loaded = engine.docker("load", input=tar(oci_members([BASE, TOP], compress=compress)))
    assert loaded.stdout == b"Loaded image: made:2\n"
    assert shown(engine, "made:2", "etc/c") == b"three"


def test_whiteouts_hide(engine, clean):
    engine.docker("load", input=docker_archive([BASE, TOP]), check=True)
    assert shown(engine, "made:1", "etc/a") is None


def test_what_is_saved_is_an_oci_layout_and_loads_again(engine, clean):
    engine.docker("load", input=tar(oci_members([BASE, TOP])), check=True)
    engine.docker("tag", "made:2", "made:3", check=True)
    saved = engine.docker("save", "made:2", "made:3", check=True).stdout
    assert engine.docker("save", "made:2", "made:3", check=True).stdout == saved
    members = members_of(saved)
    for name, data in members.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hexadecimal(data)}"
    (entry,) = json.loads(members["manifest.json"])
    assert entry["RepoTags"] == ["made:2", "made:3"]
    assert set(entry["Layers"]) | {entry["Config"]} <= set(members)
    index = json.loads(members["index.json"])
    assert len({it["digest"] for it in index["manifests"]}) == 1
    # What came in with a manifest goes out with the same one.
    original = json.loads(oci_members([BASE, TOP])["index.json"])["manifests"][0]["digest"]
    assert index["manifests"][0]["digest"] == original
    engine.docker("rmi", "made:2", "made:3", check=True)
    assert b"made:3" in engine.docker("load", input=saved, check=True).stdout
    assert shown(engine, "made:3", "etc/c") == b"three"


def test_a_saved_archive_of_docker_py_loads(engine, client, clean):
    engine.docker("load", input=docker_archive([BASE]), check=True)
    image = client.images.get("made:1")
    data = b"".join(image.save(named=True))
    client.images.remove("made:1")
    (loaded,) = client.images.load(data)
    assert loaded.tags == ["made:1"]
    assert loaded.id == image.id


def test_one_layer_above_different_ones_has_two_places(engine, clean):
    one, two = docker_archive([BASE, TOP]), docker_archive([TOP], tags=["made:3"])
    engine.docker("load", input=one, check=True)
    engine.docker("load", input=two, check=True)
    assert shown(engine, "made:3", "etc/c") == b"three"
    assert shown(engine, "made:3", "etc/b") is None


def test_a_name_moves_to_what_is_loaded(engine, clean):
    engine.docker("load", input=docker_archive([BASE]), check=True)
    loaded = engine.docker("load", input=docker_archive([BASE, TOP]), check=True).stdout.decode()
    assert loaded.startswith("The image made:1 already exists, renaming the old one with ID sha256:")
    engine.docker("image", "prune", "-f", check=True)


def wrong_digest() -> bytes:
    members = oci_members([BASE])
    name = next(name for name, data in members.items() if data[:2] == b"\x1f\x8b")
    members[name] = gzip.compress(TOP, mtime=0)
    return tar(members)


def missing_layer() -> bytes:
    members = members_of(docker_archive([BASE, layer({"only": b"here"})]))
    del members[f"{hexadecimal(layer({'only': b'here'}))}/layer.tar"]
    return tar(members)


def ambiguous() -> bytes:
    members = oci_members([BASE])
    (entry,) = json.loads(members["index.json"])["manifests"]
    old = json.loads(members.pop(f"blobs/sha256/{entry['digest'][7:]}"))
    new = json.dumps(old | {"manifests": []}).encode()
    members[f"blobs/sha256/{hexadecimal(new)}"] = new
    index = {"schemaVersion": 2, "manifests": [entry | {"digest": digest(new), "size": len(new)}]}
    members["index.json"] = json.dumps(index).encode()
    return tar(members)


def outward_links() -> bytes:
    info = tarfile.TarInfo("manifest.json")
    info.type, info.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
    return layer({}, manifest=info)


def config_of_other_layers() -> bytes:
    return docker_archive([BASE], rootfs={"type": "layers", "diff_ids": [digest(TOP)]})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", b"invalid"),
        (b"not a tar at all" * 100, b"invalid tar"),
        (docker_archive([BASE])[:6000], b"unexpected end"),
        (gzip.compress(docker_archive([BASE]), mtime=0)[:-20], b"unexpected end"),
        (tar({"x": b"y" * 2000}), b"neither manifest.json nor index.json"),
        (tar({"../x": b"{}"}), b"leads out"),
        (wrong_digest(), b"digest"),
        (missing_layer(), b"is not in it"),
        (ambiguous(), b"ambiguous"),
        (outward_links(), b"leads out"),
        (config_of_other_layers(), b"don't match image configuration"),
        (docker_archive([BASE], rootfs={"type": "layers", "diff_ids": []}), b"length mismatch"),
        (docker_archive([BASE], tags=["UPPER"]), b"must be lowercase"),
    ],
    ids=lambda value: value[:20].hex() if isinstance(value, bytes) and len(value) > 60 else None,
)
def test_bad_archives_are_refused_and_leave_nothing(engine, clean, data, words):
    before = {path.name for path in (engine.data_root / "snapshots/overlay").iterdir()}
    done = engine.docker("load", input=data)
    assert done.returncode != 0
    assert words in done.stderr, done
    assert {path.name for path in (engine.data_root / "snapshots/overlay").iterdir()} <= before


def test_what_is_not_here_cannot_be_saved(client):
    with pytest.raises(APIError, match="No such image: nothere"):
        list(client.api.get_image("nothere"))


def test_an_oci_layout_on_disk_is_pulled_and_pushed(engine, clean, tmp_path):
    write_layout(tmp_path / "made", oci_members([BASE, TOP]))
    assert b"Loaded image: made:2" in engine.onggi("pull", f"oci:{tmp_path}/made").stdout
    assert shown(engine, "made:2", "etc/c") == b"three"
    for tag in ("a", "b", "a"):
        done = engine.onggi("push", "made:2", f"oci:{tmp_path}/other:{tag}")
        assert done.returncode == 0, done
    index = json.loads((tmp_path / "other/index.json").read_text())
    names = [it["annotations"]["org.opencontainers.image.ref.name"] for it in index["manifests"]]
    assert sorted(names) == ["a", "b"]
    original = json.loads((tmp_path / "made/index.json").read_text())["manifests"][0]["digest"]
    assert {it["digest"] for it in index["manifests"]} == {original}
    engine.docker("rmi", "made:2", check=True)
    assert engine.onggi("pull", f"oci:{tmp_path}/other").returncode == 1  # which?
    assert engine.onggi("pull", f"oci:{tmp_path}/other:b").returncode == 0
    assert shown(engine, "made:2", "etc/b") == b"two"


def test_a_layout_with_a_fifo_or_a_link_outward_is_refused(engine, clean, tmp_path):
    members = oci_members([BASE])
    write_layout(tmp_path / "made", members)
    blob = next(tmp_path / "made" / name for name, data in members.items() if data[:2] == b"\x1f\x8b")
    blob.unlink()
    os.mkfifo(blob)
    done = engine.onggi("pull", f"oci:{tmp_path}/made")
    assert done.returncode == 1
    assert b"no regular file" in done.stderr
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    assert engine.onggi("pull", f"oci:{tmp_path}/made").returncode == 1


PLATFORMS = {
    "made:1": {"architecture": "amd64"},
    "made:2": {"architecture": "arm64", "variant": "v8"},
    "made:3": {"architecture": "arm", "variant": "v6"},
}


@pytest.mark.parametrize(
    ("platform", "loaded"),
    [
        ("linux/amd64", ["made:1"]),
        ("linux/arm64", ["made:2"]),
        ("linux/arm64/v8", ["made:2"]),
        ("linux/arm/v6", ["made:3"]),
        ("linux/arm", []),  # which means v7
    ],
)
def test_load_takes_what_is_for_a_platform(engine, clean, platform, loaded):
    documents = [config([BASE], **words) for words in PLATFORMS.values()]
    members = {f"{hexadecimal(it)}.json": it for it in documents} | {"l/layer.tar": BASE}
    entries = [
        {"Config": f"{hexadecimal(document)}.json", "RepoTags": [name], "Layers": ["l/layer.tar"]}
        for name, document in zip(PLATFORMS, documents, strict=True)
    ]
    archive = tar({"manifest.json": json.dumps(entries).encode()} | members)
    done = engine.docker("load", "--platform", platform, input=archive)
    said = done.stdout.decode()
    assert [name for name in PLATFORMS if f"Loaded image: {name}\n" in said] == loaded
    assert (done.returncode == 0) == bool(loaded)
    for name in loaded:
        assert engine.docker("save", "--platform", platform, name).returncode == 0
        refused = engine.docker("save", "--platform", "linux/s390x", name).stderr.decode()
        assert "no suitable export target found for platform linux/s390x" in refused
