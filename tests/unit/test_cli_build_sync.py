"""What of a context is sent again: a list of what the engine has, and the changes since."""

import os

import pytest

from onggi.archive.ignore import Ignored
from onggi.cli import build_sync

EVERYTHING = Ignored(())


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A directory of many files, whose times are old enough to be trusted."""
    monkeypatch.setattr(build_sync, "_FRESH_NS", -(1 << 40))
    root = tmp_path / "root"
    for folder in ("a", "a/b", "c"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(100):
            (root / folder / f"f{number}").write_text(folder)
    return root


def sync(tree, rules=EVERYTHING, **env):
    return build_sync.sync_of(str(tree), rules, "unix://x", {"HOME": str(tree.parent), **env})


def after(tree):
    """Notes of a build that is over, and then those of the next."""
    before = sync(tree)
    before.keep()
    return sync(tree)


def test_at_first_everything_is_sent(tree):
    found = sync(tree)
    assert (found.generation, len(found.changed), found.removed()) == ("", 303, [])
    touched = ["a", "c"]
    assert found.header() == {"Id": found.key, "Next": found.next, "Touched": touched}


def test_then_only_what_changed(tree):
    before = sync(tree)
    before.keep()
    (tree / "a" / "f1").write_text("other")
    (tree / "new").mkdir()
    os.replace(tree / "c" / "f1", tree / "new" / "f1")
    os.symlink("f3", tree / "link")
    (tree / "a" / "b").chmod(0o700)
    found = sync(tree)
    assert found.changed == {"a/f1", "a/b", "new", "new/f1", "link"}
    assert found.removed() == ["c/f1"]
    assert found.header()["Previous"] == before.next
    assert found.header()["Touched"] == ["a", "link", "new"]


def test_a_file_of_equal_size_and_time_is_another_one(tree):
    before = sync(tree)
    before.keep()
    status = os.stat(tree / "a" / "f1")
    (tree / "a" / "f1").write_text("A")
    os.utime(tree / "a" / "f1", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sync(tree).changed == {"a/f1"}


def test_of_a_directory_that_is_gone_only_its_name_is_told(tree):
    sync(tree).keep()
    for folder in ("a/b", "c"):
        for number in range(100):
            (tree / folder / f"f{number}").unlink()
        (tree / folder).rmdir()
    for number in range(300):
        (tree / f"g{number}").touch()
    assert sync(tree).removed() == ["a/b", "c"]


def test_too_many_that_are_gone_are_not_told(tree):
    for number in range(300):
        (tree / f"g{number}").touch()
    sync(tree).keep()
    for number in range(300):
        (tree / f"g{number}").unlink()
    assert sync(tree).removed() is None


def test_what_is_ignored_now_is_gone(tree):
    sync(tree).keep()
    found = sync(tree, Ignored(["a/b/f1*", "!a/b/f17"]))
    assert set(found.now) & {"a/b/f17", "a/b/f18"} == {"a/b/f17"}
    assert len(found.removed()) == 10
    assert not found.changed


def test_what_may_change_without_a_trace_is_sent_again(tree, monkeypatch):
    monkeypatch.setattr(build_sync, "_FRESH_NS", 1 << 40)
    found = after(tree)
    assert len(found.changed) == 300


def test_another_engine_has_nothing(tree):
    sync(tree).keep()
    other = build_sync.sync_of(str(tree), EVERYTHING, "unix://y", {"HOME": str(tree.parent)})
    assert other.generation == ""


def test_contexts_that_are_sent_as_a_whole(tree, tmp_path):
    assert sync(tmp_path / "root" / "c") is None  # too small
    assert sync(tree, XDG_CACHE_HOME="relative") is None
    os.link(tree / "c" / "f1", tree / "c" / "hard")
    assert sync(tree) is None
    (tree / "c" / "hard").unlink()
    assert sync(tree) is not None
    os.mkfifo(tree / "pipe")
    assert sync(tree) is None


def test_notes_that_cannot_be_read_are_none(tree):
    found = sync(tree)
    found.keep()
    path = tree.parent / ".cache" / "onggi" / "contexts" / found.key
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"\xff\0")
    assert sync(tree).generation == ""
