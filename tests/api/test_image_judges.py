"""What others push we pull, and the reverse: docker-registry, skopeo, umoci and podman agree with us."""

import contextlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from engines import busybox_tar
from image_archives import digest, layer, oci_members, write_layout
from judges import SKOPEO, described, docker_registry, run, skopeo_copy, skopeo_digest, umoci_tree

NAME = "docker.io/library/judged:1"


def varied_layer() -> bytes:
    """One of everything that a layer can hold."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name, kind=tarfile.REGTYPE, data=b"", **facts):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1_600_000_000
            for key, value in facts.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))

        add("d", tarfile.DIRTYPE, mode=0o1777, uid=3, gid=4)
        add("d/setuid", data=b"x", mode=0o4755)
        add("d/owned", data=b"y", uid=1000, gid=1001, mode=0o640)
        add("d/hard", tarfile.LNKTYPE, linkname="d/owned")
        add("d/soft", tarfile.SYMTYPE, linkname="../etc/passwd", mode=0o777)
        add("d/absolute", tarfile.SYMTYPE, linkname="/etc/passwd", mode=0o777)
        add("d/fifo", tarfile.FIFOTYPE, mode=0o600)
        add("d/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        add("d/" + "long" * 40, data=b"long name")
        add("d/cap", data=b"c", mode=0o755, pax_headers={"SCHILY.xattr.user.note": "kept"})
        add("d/precise", data=b"t", pax_headers={"mtime": "1600000000.123456789"})
        add("gone", data=b"soon")
        add("emptied", tarfile.DIRTYPE, mode=0o755)
        add("emptied/old", data=b"o")
    return buffer.getvalue()


def hiding_layer() -> bytes:
    return layer({".wh.gone": b"", "emptied": None, "emptied/.wh..wh..opq": b"", "emptied/new": b"n"})


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """An OCI layout with the tag 1, of a varied image on busybox."""
    place = tmp_path_factory.mktemp("layout")
    members = oci_members([varied_layer(), busybox_tar(), hiding_layer()], name="1")
    write_layout(place, members)
    return place


@pytest.fixture
def pulled(engine, registry, layout):
    """The image, pushed by skopeo and pulled by us."""
    name = f"{registry}/judged:1"
    skopeo_copy(f"oci:{layout}:1", f"docker://{name}")
    engine.docker("pull", name, check=True)
    yield name
    engine.docker("rmi", "-f", name)


@contextlib.contextmanager
def merged(engine, image, tmp_path):
    """An image's tree as containers see it."""
    data = json.loads(engine.docker("image", "inspect", image, check=True).stdout)[0]["GraphDriver"]["Data"]
    layers = [data["UpperDir"], *filter(None, data["LowerDir"].split(":"))]
    if len(layers) == 1:  # an overlay of one layer is none
        yield Path(layers[0])
        return
    place = tmp_path / "merged"
    place.mkdir()
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={':'.join(layers)}", place)
    try:
        yield place
    finally:
        run("umount", place)


def test_what_skopeo_pushed_is_pulled_with_its_digest_and_run(engine, registry, pulled):
    facts = json.loads(engine.docker("image", "inspect", pulled, check=True).stdout)[0]
    wanted = skopeo_digest(f"docker://{pulled}")
    assert facts["RepoDigests"] == [f"{registry}/judged@{wanted}"]
    done = engine.docker("run", "--rm", "--network", "none", pulled, "ls", "/emptied", check=True)
    assert done.stdout == b"new\n"


def test_our_tree_is_umocis(engine, layout, pulled, tmp_path):
    with merged(engine, pulled, tmp_path) as ours:
        assert described(ours) == described(umoci_tree(f"{layout}:1", tmp_path))


def test_what_we_push_has_the_digest_that_was_pulled(engine, registry, pulled):
    other = f"{registry}/other/name:2"
    engine.docker("tag", pulled, other, check=True)
    try:
        engine.docker("push", other, check=True)
        assert skopeo_digest(f"docker://{other}") == skopeo_digest(f"docker://{pulled}")
    finally:
        engine.docker("rmi", other, check=True)


def test_what_we_made_is_pulled_by_skopeo_and_unpacked_by_umoci(engine, registry, tmp_path):
    name = f"{registry}/made:1"
    engine.docker("import", "-", name, input=varied_layer(), check=True)
    try:
        engine.docker("push", name, check=True)
        skopeo_copy(f"docker://{name}", f"oci:{tmp_path}/oci:1")
        theirs = umoci_tree(f"{tmp_path}/oci:1", tmp_path)
        with merged(engine, name, tmp_path) as ours:
            assert described(theirs) == described(ours)
    finally:
        engine.docker("rmi", "-f", name, check=True)


def test_what_we_save_skopeo_reads_in_both_formats(engine, pulled, tmp_path):
    archive = tmp_path / "saved.tar"
    engine.docker("save", "-o", str(archive), pulled, check=True)
    skopeo_copy(f"docker-archive:{archive}", f"dir:{tmp_path}/from-docker")
    skopeo_copy(f"oci-archive:{archive}", f"dir:{tmp_path}/from-oci")
    manifest = (tmp_path / "from-oci/manifest.json").read_bytes()
    assert digest(manifest) == skopeo_digest(f"docker://{pulled}")


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_skopeo_saves_we_load(engine, layout, tmp_path, kind):
    archive = tmp_path / "theirs.tar"
    skopeo_copy(f"oci:{layout}:1", f"{kind}:{archive}:{NAME}")
    try:
        assert b"judged:1" in engine.docker("load", "-i", str(archive), check=True).stdout
        assert engine.docker("run", "--rm", "--network", "none", "judged:1", "cat", "/d/hard").stdout == b"y"
    finally:
        engine.docker("rmi", "-f", "judged:1")


@pytest.fixture
def podman():
    """podman with a store of its own, in a short path as it wants."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/var/tmp") as place:
        root = ("--root", f"{place}/s", "--runroot", f"{place}/r", "--storage-driver", "vfs")
        yield lambda *words: run("podman", *root, *words)


def test_podman_pulls_what_we_push_and_we_load_what_it_saves(engine, registry, pulled, podman, tmp_path):
    name = f"{registry}/for-podman:1"
    engine.docker("tag", pulled, name, check=True)
    engine.docker("push", name, check=True)
    podman("pull", "--tls-verify=false", name)
    found = json.loads(podman("image", "inspect", name))[0]
    ours = json.loads(engine.docker("image", "inspect", name, check=True).stdout)[0]
    assert f"sha256:{found['Id']}" == ours["Id"]
    assert found["RootFS"]["Layers"] == ours["RootFS"]["Layers"]
    podman("save", "-o", tmp_path / "podman.tar", name)
    engine.docker("rmi", name, check=True)
    assert name.encode() in engine.docker("load", "-i", str(tmp_path / "podman.tar"), check=True).stdout
    engine.docker("rmi", name, check=True)


def test_every_tag_of_a_repository(engine, registry, layout):
    for tag in ("1", "2", "3"):
        skopeo_copy(f"oci:{layout}:1", f"docker://{registry}/many:{tag}")
    done = engine.docker("pull", "-a", f"{registry}/many", check=True)
    listed = engine.docker("images", "--format", "{{.Tag}}", f"{registry}/many", check=True).stdout.split()
    assert sorted(listed) == [b"1", b"2", b"3"], done
    engine.docker("rmi", *(f"{registry}/many:{tag}" for tag in ("1", "2", "3")), check=True)


def test_by_digest(engine, registry, pulled):
    wanted = skopeo_digest(f"docker://{pulled}")
    engine.docker("rmi", pulled, check=True)
    name = f"{registry}/judged@{wanted}"
    engine.docker("pull", name, check=True)
    assert engine.docker("images", "-q", f"{registry}/judged", check=True).stdout
    done = engine.docker("run", "--rm", "--network", "none", name, "cat", "/d/owned", check=True)
    assert done.stdout == b"y"
    assert f"Untagged: {name}".encode() in engine.docker("rmi", name, check=True).stdout


def test_two_who_pull_at_once_download_once(engine, registry, layout):
    name = f"{registry}/shared:1"
    skopeo_copy(f"oci:{layout}:1", f"docker://{name}")
    clients = [
        subprocess.Popen(["docker", "pull", name], env=engine.environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = [client.communicate(timeout=120)[0] for client in clients]
    assert [client.returncode for client in clients] == [0] * 4, outputs
    engine.docker("rmi", name, check=True)


def test_an_absent_image_is_pulled_by_run(engine, registry, layout):
    name = f"{registry}/absent:1"
    skopeo_copy(f"oci:{layout}:1", f"docker://{name}")
    for command in (engine.docker, engine.onggi):
        done = command("run", "--rm", "--network", "none", name, "cat", "/d/owned")
        assert done.stdout == b"y", done
        assert f"Unable to find image '{name}' locally".encode() in done.stderr
        engine.docker("rmi", name, check=True)


def test_zstd_layers(engine, registry, layout, tmp_path):
    compress = ("--dest-compress", "--dest-compress-format", "zstd")
    run(*SKOPEO, "copy", "--quiet", *compress, f"oci:{layout}:1", f"oci:{tmp_path}/zstd:1")
    name = f"{registry}/zstd:1"
    skopeo_copy(f"oci:{tmp_path}/zstd:1", f"docker://{name}")
    engine.docker("pull", name, check=True)
    done = engine.docker("run", "--rm", "--network", "none", name, "cat", "/d/owned")
    assert done.stdout == b"y", done
    engine.docker("rmi", name, check=True)
