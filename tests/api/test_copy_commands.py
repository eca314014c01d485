"""``cp``, ``diff``, ``export`` and ``commit`` on a real engine, by our command and by docker's."""

import io
import os
import stat
import tarfile

import pytest


@pytest.fixture
def container(run):
    """A running container with a few files."""
    name = run.start()
    made = (
        "mkdir -p /w/sub; echo one > /w/a; ln -s a /w/l; ln /w/a /w/hard; chmod 640 /w/a; echo two > /w/sub/b"
    )
    run.exec(name, made)
    return name


def ok(run, *words, input=b""):
    done = run.command(*words, input=input)
    assert done.returncode == 0, done
    return done.stdout


def test_there_and_back(run, container, tmp_path):
    ok(run, "cp", f"{container}:/w", str(tmp_path / "w"))
    copied = tmp_path / "w"
    assert (copied / "a").read_text() == "one\n"
    assert os.readlink(copied / "l") == "a"
    assert stat.S_IMODE((copied / "a").stat().st_mode) == 0o640
    assert (copied / "hard").stat().st_ino == (copied / "a").stat().st_ino
    (copied / "a").write_text("changed\n")
    ok(run, "cp", f"{copied}/.", f"{container}:/back")
    ok(run, "cp", str(copied / "sub"), f"{container}:/back/new")
    found = run.exec(container, "cat /back/a /back/hard /back/new/b; stat -c %a /back/a; readlink /back/l")
    assert found.splitlines() == ["changed", "changed", "two", "640", "a"]


def test_one_file_and_streams(run, container, tmp_path):
    ok(run, "cp", f"{container}:/w/a", str(tmp_path / "renamed"))
    assert (tmp_path / "renamed").read_text() == "one\n"
    ok(run, "cp", "-L", f"{container}:/w/l", str(tmp_path))
    assert (tmp_path / "l").read_text() == "one\n"
    with tarfile.open(fileobj=io.BytesIO(ok(run, "cp", f"{container}:/w/sub", "-"))) as archive:
        assert archive.getnames() == ["sub", "sub/b"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("sent")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"sent"))
    ok(run, "cp", "-", f"{container}:/w/sub", input=buffer.getvalue())
    assert run.exec(container, "cat /w/sub/sent") == "sent"


def test_owners_stay_or_become_the_containers_user(run, tmp_path):
    owned = tmp_path / "owned"
    owned.write_text("x")
    os.chown(owned, 4711, 4712)
    container = run.start("--user", "11:12")
    ok(run, "cp", str(owned), f"{container}:/plain")
    ok(run, "cp", "-a", str(owned), f"{container}:/archived")
    assert run.exec(container, "stat -c %u:%g /plain /archived").split() == ["4711:4712", "11:12"]


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("{c}:/nosuch", "{d}/x", "Could not find the file /nosuch in container"),
        ("{c}:/w", "{d}/file", "cannot copy directory"),
        ("{d}/file", "{c}:/w/nosuch/", "no such directory"),
        ("{d}", "{c}:/w/a", "cannot copy directory"),
    ],
)
def test_what_docker_refuses(run, container, tmp_path, source, target, words):
    (tmp_path / "file").write_text("x")
    places = {"c": container, "d": tmp_path}
    done = run.command("cp", source.format(**places), target.format(**places))
    assert (done.returncode, words in done.stderr.decode()) == (1, True), done


def test_a_stopped_container(run, container, tmp_path):
    ok(run, "kill", container)
    run.wait(container)
    ok(run, "cp", f"{container}:/w/sub/b", str(tmp_path))
    assert (tmp_path / "b").read_text() == "two\n"
    ok(run, "cp", str(tmp_path / "b"), f"{container}:/w/c")
    assert b"A /w/c\n" in ok(run, "diff", container)


def test_changes_as_text_and_archive(run, container, tmp_path):
    assert {b"A /w", b"A /w/a", b"A /w/sub/b"} <= set(ok(run, "diff", container).splitlines())
    ok(run, "export", "-o", str(tmp_path / "x.tar"), container)
    with tarfile.open(tmp_path / "x.tar") as archive:
        assert archive.extractfile("w/a").read() == b"one\n"
