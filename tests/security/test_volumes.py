"""Volumes that somebody else writes to: nothing of the host is shown through them, or written (R1, R10)."""

import contextlib
import io
import json
import os
import secrets
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from engines import DEADLINE_S, busybox_tar
from jobs import in_child
from onggi.archive.confine import WRITER, confine
from onggi.archive.merging import copy_directory
from swapper import rounds, swapping

RACES = rounds(60)


@pytest.fixture
def volume(onggi):
    """(name, content directory)."""
    name = f"v{secrets.token_hex(4)}"
    onggi("volume", "create", name)
    yield name, Path(json.loads(onggi("volume", "inspect", name).stdout)[0]["Mountpoint"])
    onggi("volume", "rm", "-f", name)


@pytest.fixture(scope="module")
def filled(engine):
    """An image with /data/file and /data/link, which leads out."""
    image = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=image, mode="a") as archive:
        for name in ("data", "data/sub"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name in ("data/file", "data/sub/file"):
            entry = tarfile.TarInfo(name)
            entry.size = 10
            archive.addfile(entry, io.BytesIO(b"from image"))
    done = engine.docker("import", "-", "filled:latest", input=image.getvalue())
    assert done.returncode == 0, done
    return "filled:latest"


@pytest.mark.swapper
def test_cve_2017_1002101_a_subpath_is_swapped_for_a_link(onggi, volume, canary):
    """Whoever writes to a volume exchanges what a subpath names, for as long as containers start."""
    name, content = volume
    (content / "sub").mkdir()
    (content / "sub/file").write_text("of the volume")
    (content / "swap").symlink_to(canary)
    spec = f"type=volume,src={name},dst=/x,volume-subpath="
    seen = set()
    with swapping(content / "sub", content / "swap") as count:
        for number in range(RACES):
            path = "sub" if number % 2 else "sub/deep/../."
            words = (
                "run",
                "--rm",
                "--network",
                "none",
                "--mount",
                f"{spec}{path}",
                "busybox",
                "cat",
                "/x/file",
            )
            seen.add(onggi(*words, status=None).stdout)
    assert count[0] > RACES
    assert seen <= {"", "of the volume"}
    assert len(seen) == 2, "the race was never won by either side"


@pytest.mark.parametrize("target", ["{}", "/", "..", "../../../../..", "/proc/self/root", "/proc/1/root"])
def test_cve_2017_1002101_links_that_lead_out(onggi, volume, canary, target):
    name, content = volume
    (content / "sub").symlink_to(target.format(canary))
    (content / "deep").mkdir()
    for path in ("sub", "deep/../sub", "sub/."):
        spec = f"type=volume,src={name},dst=/x,volume-subpath={path}"
        done = onggi("run", "--rm", "--network", "none", "--mount", spec, "busybox", "ls", "/x", status=None)
        assert done.returncode not in (0, 1), done
        assert done.stdout == ""


def test_cve_2020_1726_content_is_not_overwritten(onggi, volume, filled, canary):
    """A volume that has something is left alone; a link in it is nobody's way out."""
    name, content = volume
    (content / "file").symlink_to(canary / "file")
    (content / "sub").symlink_to(canary)
    before = sorted(os.listdir(canary)), (canary / "file").read_text()
    for _ in range(2):
        onggi("run", "--rm", "--network", "none", "-v", f"{name}:/data", filled, "true")
    assert (sorted(os.listdir(canary)), (canary / "file").read_text()) == before
    assert (content / "file").is_symlink()
    assert sorted(os.listdir(content)) == ["file", "sub"]


def test_cve_2020_1726_a_subpath_leads_no_copy_out(onggi, volume, filled, tmp_path):
    name, content = volume
    empty = tmp_path / "empty"
    empty.mkdir()
    (content / "sub").symlink_to(empty)
    spec = f"type=volume,src={name},dst=/data,volume-subpath=sub"
    done = onggi("run", "--rm", "--network", "none", "--mount", spec, filled, "true", status=None)
    assert done.returncode != 0
    assert not os.listdir(empty)


def test_r10_a_copy_up_stays_in_the_volume_under_a_race(tmp_path, canary):
    """Somebody replaces each directory by a link as soon as it is made."""
    source, target, aside = (tmp_path / name for name in ("source", "target", "aside"))
    for path in (target, aside):
        path.mkdir()
    for number in range(300):
        (source / f"d{number}").mkdir(parents=True)
        (source / f"d{number}/planted").write_text("from the image")
    stop, taken = threading.Event(), [0]

    def attack() -> None:
        while not stop.is_set():
            for entry in os.scandir(target):
                if entry.is_dir(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        os.rename(entry.path, aside / f"{taken[0]}")
                        os.symlink(canary, entry.path)
                        taken[0] += 1

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        for _ in range(10):
            _copy(source, target)
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(exist_ok=True)
    finally:
        stop.set()
        attacker.join(30)
    assert taken[0] > 10
    assert not (canary / "planted").exists()


def _copy(source: Path, target: Path) -> None:
    for entry in os.scandir(target):
        with contextlib.suppress(OSError):
            os.unlink(entry.path)
    source_fd, target_fd = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (source, target))

    def job() -> None:
        confine(target_fd, WRITER._replace(files=2304))
        copy_directory(source_fd, target_fd)

    try:
        in_child(job)
    finally:
        os.close(source_fd)
        os.close(target_fd)


def test_cve_2022_23648_image_volumes_lie_where_volumes_lie(engine, onggi, canary):
    up = "/.." * 9 + str(canary)
    done = engine.docker("import", "-c", f"VOLUME {up}", "-", "dots:latest", input=busybox_tar())
    assert done.returncode == 0, done
    with onggi.container("--network", "none", "dots:latest", "sleep", "1000") as name:
        [mount] = json.loads(onggi("inspect", name).stdout)[0]["Mounts"]
        assert onggi("exec", name, "ls", "-A", str(canary)).stdout == ""
    assert mount["Destination"] == str(canary)
    assert mount["Source"].startswith(f"{engine.data_root}/volumes/")


def test_a_volume_gets_nothing_that_the_host_image_hides(onggi, volume, tmp_path):
    """What is copied up of a view of the machine is what a container sees of it."""
    name, content = volume
    onggi("run", "--rm", "--network", "none", "-v", f"{name}:/root", "host", "true")
    assert os.listdir("/root"), "there is something to be hidden"
    assert os.listdir(content) == []


def entries(engine) -> set[str]:
    """What the data root has, but for the database's own files and the cache of what is hidden."""
    return {it for it in os.listdir(engine.data_root) if not it.startswith(("meta.db", "host-masks"))}


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "%2e%2e", "..%2fx", ".trash", "x\0y", "-v"])
def test_names_are_no_paths(engine, onggi, name):
    """CVE-2014-9358 for volumes."""
    client = engine.client()
    try:
        before = entries(engine)
        answer = client.api._post(client.api._url("/volumes/create"), json={"Name": name})
        assert answer.status_code == 400, answer.text
        answer = client.api._delete(client.api._url("/volumes/{0}", name))
        assert answer.status_code in (400, 404), answer.text
        assert entries(engine) == before
    finally:
        client.close()


@pytest.mark.swapper
def test_cve_2023_0778_an_export_shows_nothing_of_the_host(onggi, volume, canary):
    """Directories and files become links, and links become them, while the volume is read."""
    name, content = volume
    for number in range(20):
        (content / f"d{number}").mkdir()
        (content / f"d{number}/file").write_text("of the volume")
    (content / "swap").symlink_to(canary)
    (content / "file").write_text("of the volume")
    (content / "leak").symlink_to(canary / "file")
    with (
        swapping(content / "d10", content / "swap") as directories,
        swapping(content / "file", content / "leak") as files,
    ):
        exports = [_export(onggi, name) for _ in range(RACES)]
    assert min(directories[0], files[0]) > RACES
    whole = [data for data in exports if data]  # what changes while it is read may be an error
    assert len(whole) > RACES // 10
    for data in whole:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found = {archive.extractfile(it).read() for it in archive if it.isreg()}
        assert found == {b"of the volume"}


def _export(onggi, name: str) -> bytes:
    """The archive; empty if the export failed."""
    done = subprocess.run([*onggi.start, "volume", "export", name], capture_output=True, timeout=DEADLINE_S)
    return done.stdout if done.returncode == 0 else b""


@pytest.mark.swapper
def test_cve_2023_0778_an_import_writes_nothing_of_the_host(onggi, volume, canary, tmp_path):
    """Links in the volume, in the archive, and swapped in while it is unpacked."""
    name, content = volume
    archive = tmp_path / "hostile.tar"
    with tarfile.open(archive, "w") as members:
        for number in range(50):
            for path in (f"sub/planted{number}", f"out{number}/planted"):
                if path.startswith("out"):
                    link = tarfile.TarInfo(f"out{number}")
                    link.type, link.linkname = tarfile.SYMTYPE, str(canary)
                    members.addfile(link)
                entry = tarfile.TarInfo(path)
                entry.size = 4
                members.addfile(entry, io.BytesIO(b"evil"))
    (content / "sub").mkdir()
    (content / "swap").symlink_to(canary)
    with swapping(content / "sub", content / "swap") as count:
        for _ in range(RACES // 3):
            onggi("volume", "import", name, str(archive), status=None)
    assert count[0] > RACES // 3
    assert sorted(os.listdir(canary)) == ["file"]
    with tarfile.open(archive, "w") as members:
        for path in ("../../escaped", "/absolute/../../escaped", "x/../../escaped"):
            members.addfile(tarfile.TarInfo(path))
    assert onggi("volume", "import", name, str(archive), status=None).returncode == 1
    assert not list(content.parent.glob("escaped"))
