"""Copies, exports and differences of containers that fight back: links swapped without pause, traps, devices
(rules R1, R4, R10). ``ONGGI_ROUNDS`` asks for more than a short run.
"""

import io
import lzma
import os
import shutil
import stat
import tarfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

import jobs
from engines import DEADLINE_S
from swapper import exchange, rounds, swapping

ROUNDS = rounds(40)
SLEEP = ["sleep", "1000000"]
SECRET = b"canary of the host"  # what the fixture writes


@pytest.fixture
def client(engine):
    client = engine.client()
    yield client
    client.close()


def ask(client, method, url, data=None):
    """(status, body) of a raw request; a stream that breaks off is a body as well."""
    answer = client.api.request(method, client.api._url(url), data=data, timeout=DEADLINE_S, stream=True)
    body = b""
    try:
        for piece in answer.iter_content(1 << 20):
            body += piece
    except docker.api.client.requests.exceptions.ChunkedEncodingError:
        pass  # what was to be archived changed into something else
    return answer.status_code, body


@contextmanager
def container(client, script="", **options):
    """A running container in which a script has done its work."""
    command = ["sh", "-c", f"{script} : >/ready; sleep 1000000"]
    made = client.containers.run("busybox", command, detach=True, network_mode="none", **options)
    try:
        wait = ["sh", "-c", "while ! [ -e /ready ]; do sleep 0.1; done"]
        assert made.exec_run(wait).exit_code == 0
        made.reload()
        yield made
    finally:
        made.remove(force=True)


def tar_of(*members):
    """A tar of (name, kind, content or target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o777
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


def kind_of(archive):
    """What the first member is; None if the archive breaks off there."""
    with suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(archive)) as members:
        return members.next().type


OVERWRITE = tar_of(
    ("file", tarfile.REGTYPE, "overwritten"),
    ("new", tarfile.REGTYPE, "new"),
    (".", tarfile.DIRTYPE, ""),
    ("hard", tarfile.LNKTYPE, "file"),
)
INTO = tar_of(
    ("d/file", tarfile.REGTYPE, "overwritten"), ("d/new", tarfile.REGTYPE, "x"), ("d", tarfile.DIRTYPE, "")
)


@contextmanager
def contested(directory, canary):
    """In ``directory``, ``d`` is a directory and a link to the canary by turns, absolute or relative."""
    (directory / "d").mkdir()
    (directory / "d/file").write_text("inside")
    (directory / "l").symlink_to(canary)
    (directory / "up").symlink_to("../" * 40 + str(canary)[1:])
    with swapping(directory / "d", directory / "l"), swapping(directory / "l", directory / "up") as count:
        yield
    assert count[0] > ROUNDS


def linked_again(directory, canary):
    """Unpacking a directory in the place of a link ends the contest, unless there are links again."""
    while sum((directory / name).is_symlink() for name in ("d", "l", "up")) < 2:
        (directory / "link").symlink_to(canary)
        exchange(directory / "link", directory / "l")
        if (directory / "link").is_symlink():
            (directory / "link").unlink()
        else:
            shutil.rmtree(directory / "link")


@pytest.mark.swapper
@pytest.mark.parametrize("place", ["volume", "root"])
def test_cve_2018_15664_a_directory_swapped_while_it_is_copied(client, canary, tmp_path, place):
    """CVE-2021-41089 (modes of the host), CVE-2019-10152: whatever a name leads to lies in the container."""
    shared = tmp_path / "shared"
    shared.mkdir()
    with container(client, volumes={str(shared): {"bind": "/work", "mode": "rw"}}) as made:
        root = Path(f"/proc/{made.attrs['State']['Pid']}/root")
        directory = shared if place == "volume" else root / "race"
        if place == "root":
            directory.mkdir()
        inside = "/work" if place == "volume" else "/race"
        url = f"/containers/{made.id}/archive?path={inside}"
        kinds = set()
        with contested(directory, canary):
            for _ in range(ROUNDS):
                linked_again(directory, canary)
                for path in ("/d/file", "/d", "/d/.", "/d/"):
                    status, body = ask(client, "GET", url + path)
                    assert SECRET not in body
                    kinds |= {kind_of(body)} if (path, status) == ("/d", 200) else set()
                    assert ask(client, "HEAD", url + path)[0] in (200, 404, 500)
                for path, data in (("/d", OVERWRITE), ("/d/", OVERWRITE), ("", INTO)):
                    ask(client, "PUT", url + path, data)
        assert {tarfile.DIRTYPE, tarfile.SYMTYPE} <= kinds


@pytest.mark.swapper
@pytest.mark.parametrize("what", ["export", "changes"])
def test_cve_2018_15664_a_root_swapped_while_it_is_read(client, canary, what):
    with container(client) as made:
        directory = Path(f"/proc/{made.attrs['State']['Pid']}/root/race")
        directory.mkdir()
        with contested(directory, canary):
            for _ in range(ROUNDS // 4 + 1):
                status, body = ask(client, "GET", f"/containers/{made.id}/{what}")
                assert status == 200
                assert b"race" in body
                assert SECRET not in body


@pytest.mark.swapper
def test_cve_2018_15664_an_upper_directory_swapped_while_it_is_committed(canary, tmp_path):
    """The layer of a commit: the jobs alone, on directories that somebody changes under them."""
    for name in ("upper/race", "lower/race/d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/race/d/file").write_text("below")
    tree = {"top": str(tmp_path / "upper"), "lowers": [str(tmp_path / "lower")], "place": "/", "masks": []}
    with contested(tmp_path / "upper/race", canary):
        for number in range(ROUNDS * 4):
            out = os.open(tmp_path / "layer", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            job = ("pack_layer", "changes")[number % 2]
            answer = jobs.run(job, {"trees": [tree | {"whole": bool(number & 2)}]}, [out])
            os.close(out)
            assert "result" in answer, answer
            assert SECRET not in (tmp_path / "layer").read_bytes()


@pytest.mark.swapper
def test_cve_2026_41568_mount_points_made_for_a_copy(client, canary, tmp_path):
    """CVE-2026-42306. A container that does not run has its binds mounted for a copy, and places made for
    them: in a volume whose directories somebody swaps for links.
    """
    shared, other = tmp_path / "shared", tmp_path / "other"
    shared.mkdir()
    other.mkdir()
    (other / "precious").write_text("bound")
    binds = {shared: "/v", other: "/v/d/deep/place"}
    volumes = {str(source): {"bind": place, "mode": "rw"} for source, place in binds.items()}
    made = client.containers.create("busybox", SLEEP, volumes=volumes)
    try:
        found = set()
        with contested(shared, canary):
            for _ in range(ROUNDS * 2):
                status, body = ask(client, "GET", f"/containers/{made.id}/archive?path=/v/d/deep/place")
                assert SECRET not in body
                found.add(status)
                ask(client, "PUT", f"/containers/{made.id}/archive?path=/v/d/deep/place", OVERWRITE)
        assert 200 in found
        assert (other / "precious").read_text() == "bound"
    finally:
        made.remove(force=True)


def test_cve_2026_41568_absolute_links_of_a_container_work(client, tmp_path):
    """The other half of it: ``/var/run`` leads to ``/run``, also on the way to a bind's place."""
    (tmp_path / "file").write_text("bound")
    with container(client, "mkdir /run; ln -s /run /var/run;") as first:
        exported = b"".join(first.export())
    client.api.import_image_from_data(exported, repository="linked")
    volumes = {str(tmp_path): {"bind": "/var/run/place", "mode": "rw"}}
    made = client.containers.create("linked", SLEEP, volumes=volumes)
    try:
        for start in (False, True):
            if start:
                made.start()
            for path in ("/var/run/place/file", "/run/place/file"):
                assert b"bound" in b"".join(made.get_archive(path)[0])
            assert made.put_archive("/var/run", tar_of(("pid", tarfile.REGTYPE, "1")))
            assert b"1" in b"".join(made.get_archive("/run/pid")[0])
    finally:
        made.remove(force=True)
        client.images.remove("linked")


def test_cve_2019_18466_a_name_is_no_pattern(engine, client, canary):
    """CVE-2019-10152: and a link is copied as a link, or followed inside the container."""
    script = f"mkdir /d; ln -s {canary}/file /d/x; echo star > '/d/[x]';"
    with container(client, script) as made:
        assert b"Could not find the file /d/*" in engine.docker("cp", f"{made.name}:/d/*", "-").stderr
        assert b"star" in engine.docker("cp", f"{made.name}:/d/[x]", "-").stdout
        assert SECRET not in engine.docker("cp", f"{made.name}:/d", "-").stdout
        done = engine.docker("cp", "-L", f"{made.name}:/d/x", "-")
        assert done.returncode != 0
        assert SECRET not in done.stdout


def test_cve_2026_41567_archives_are_unpacked_by_no_program_of_the_container(client):
    """CVE-2014-9357, twelve years later: ``xz`` and ``unpigz`` came from the container."""
    names = ("xz", "unxz", "xzcat", "unpigz", "gzip", "zstd", "bzip2", "tar")
    trap = "rm -f /bin/{0}; printf '#!/bin/sh\\n: >/ran\\ncat\\n' > /bin/{0}; chmod 755 /bin/{0};"
    with container(client, "".join(trap.format(name) for name in names)) as made:
        data = lzma.compress(tar_of(("file", tarfile.REGTYPE, "content")))
        assert made.put_archive("/tmp", data)
        assert b"content" in b"".join(made.get_archive("/tmp/file")[0])
        assert made.exec_run(["ls", "/ran"]).exit_code != 0


def test_devices_of_a_container_are_not_opened(client):
    """A node is data: what it stands for (a watchdog, a tape) is not touched by who copies it."""
    with container(client, "mkdir /d; mknod /d/node b 240 250; mkfifo /d/fifo;") as made:
        with tarfile.open(fileobj=io.BytesIO(b"".join(made.get_archive("/d")[0]))) as archive:
            kinds = {member.name: member.type for member in archive}
        assert kinds == {"d": tarfile.DIRTYPE, "d/node": tarfile.BLKTYPE, "d/fifo": tarfile.FIFOTYPE}
        nodes = tar_of(("node", tarfile.REGTYPE, "x"), ("fifo", tarfile.REGTYPE, "y"))
        assert made.put_archive("/d", nodes)
        assert b"".join(made.get_archive("/d/node")[0]).count(b"x")


def test_a_copy_during_a_start_never_sees_the_machine(engine, client, canary):
    """A process that is only beginning has the engine's root: its files are nobody's to copy."""
    seen, stop = [], threading.Event()

    def look(url):
        own = engine.client()
        while not stop.is_set():
            status, body = ask(own, "GET", url)
            if status == 200 and (SECRET in body or b"onggi.sock" in body):
                seen.append(url)
        own.close()

    made = client.containers.create("busybox", ["true"], network_mode="none")
    urls = [f"/containers/{made.id}/archive?path={path}" for path in (canary / "file", canary.parent)]
    threads = [threading.Thread(target=look, args=(url,)) for url in urls * 2]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            made.start()
            made.wait()
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
        made.remove(force=True)
    assert not seen


def test_modes_of_the_host_stay(client, canary):
    """CVE-2021-41089, by links that are there from the beginning."""
    before = stat.S_IMODE((canary / "file").stat().st_mode)
    with container(client, f"ln -s {canary} /out; ln -s /out/../../.. /up;") as made:
        for name in ("out", "up", "up" + str(canary), "out/file"):
            ask(client, "PUT", f"/containers/{made.id}/archive?path=/{name}", OVERWRITE)
            data = tar_of((f"{name}/file", tarfile.REGTYPE, "x"), (name, tarfile.DIRTYPE, ""))
            ask(client, "PUT", f"/containers/{made.id}/archive?path=/", data)
    assert stat.S_IMODE((canary / "file").stat().st_mode) == before
