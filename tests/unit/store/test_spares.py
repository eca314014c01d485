"""Directories that are used again are empty, private, and few."""

import os

from onggi.store.spares import Spares


def test_a_removed_directory_serves_again(tmp_path):
    spares = Spares(str(tmp_path / "spares"))
    first, second = tmp_path / "first", tmp_path / "second"
    spares.make(str(first))
    (first / "known").touch()
    inode = first.stat().st_ino
    spares.remove(str(first), ["known", "absent"])
    assert not first.exists()
    spares.make(str(second))
    assert (second.stat().st_ino, second.stat().st_mode & 0o777, os.listdir(second)) == (inode, 0o700, [])


def test_what_is_not_empty_is_deleted(tmp_path):
    spares = Spares(str(tmp_path / "spares"))
    spares.make(str(tmp_path / "full"))
    (tmp_path / "full/below").mkdir()
    (tmp_path / "full/below/file").touch()
    spares.remove(str(tmp_path / "full"), ["known"])
    assert os.listdir(tmp_path) == ["spares"]
    assert os.listdir(tmp_path / "spares") == []


def test_only_an_empty_directory_is_removed_if_asked_so(tmp_path):
    spares = Spares(str(tmp_path / "spares"))
    (tmp_path / "full/below").mkdir(parents=True)
    assert not spares.remove_empty(str(tmp_path / "full"))
    assert (tmp_path / "full/below").exists()
    assert spares.remove_empty(str(tmp_path / "full/below"))
    assert spares.remove_empty(str(tmp_path / "absent"))


def test_an_absent_directory_is_fine_and_few_are_kept(tmp_path):
    spares = Spares(str(tmp_path / "spares"))
    spares.remove(str(tmp_path / "absent"))
    paths = [str(tmp_path / str(number)) for number in range(40)]
    for path in paths:
        spares.make(path)
    for path in paths:
        spares.remove(path)
    assert os.listdir(tmp_path) == ["spares"]
    assert len(os.listdir(tmp_path / "spares")) == 32


def test_spares_of_an_earlier_engine_are_dropped(tmp_path):
    before = Spares(str(tmp_path / "spares"))
    before.make(str(tmp_path / "one"))
    before.remove(str(tmp_path / "one"))
    Spares(str(tmp_path / "spares"))
    assert os.listdir(tmp_path / "spares") == []
