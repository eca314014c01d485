"""Contexts that stay: which changes fit, who may have one, how many there are."""

import asyncio
import os
from types import SimpleNamespace

import pytest

from onggi.build import keeping
from onggi.build.context import Place
from onggi.build.options import Kept
from onggi.errors import Conflict, InvalidArgument

ID = "a" * 64


class Content:
    async def finish(self, work):
        return await work


@pytest.fixture
def workshop(tmp_path):
    return SimpleNamespace(directory=f"{tmp_path}/build", secrets=f"{tmp_path}/secrets", content=Content())


def build(workshop, kept, held=None, files=(), done=True):
    """What is in the context when this build begins, and whether it stays."""

    async def run():
        async with keeping.place(workshop, set() if held is None else held, kept) as place:
            found = sorted(os.listdir(place.context))
            for name in files:
                os.mknod(f"{place.context}/{name}")
            return found, done and keeping.keep(place, kept)

    return asyncio.run(run())


def test_changes_meet_what_was_sent(workshop):
    assert build(workshop, Kept(ID, "1"), files=["a", "b"]) == ([], True)
    assert build(workshop, Kept(ID, "2", "1", ["b", "x/y"])) == (["a"], True)
    assert build(workshop, Kept(ID, "3")) == ([], True)


def test_changes_of_another_generation_do_not_fit(workshop):
    build(workshop, Kept(ID, "1"))
    with pytest.raises(Conflict, match="context is not here as it was"):
        build(workshop, Kept(ID, "3", "2"))
    with pytest.raises(Conflict, match="context is not here as it was"):
        build(workshop, Kept("b" * 64, "2", "1"))


def test_a_context_that_was_not_received_whole_is_not_here(workshop):
    build(workshop, Kept(ID, "1"))
    build(workshop, Kept(ID, "2", "1"), done=False)
    with pytest.raises(Conflict):
        build(workshop, Kept(ID, "3", "1"))
    with pytest.raises(Conflict):
        build(workshop, Kept(ID, "3", "2"))


def test_nothing_counts_after_a_start_of_the_machine(workshop, monkeypatch):
    build(workshop, Kept(ID, "1"))
    monkeypatch.setattr(keeping, "boot_id", lambda: "another")
    with pytest.raises(Conflict):
        build(workshop, Kept(ID, "2", "1"))


def test_one_build_has_a_context_at_a_time(workshop):
    build(workshop, Kept(ID, "1"), files=["a"])
    with pytest.raises(Conflict, match="context is in use by another build"):
        build(workshop, Kept(ID, "2", "1"), held={ID})
    assert build(workshop, Kept(ID, "2"), held={ID}) == ([], False)
    assert build(workshop, Kept(ID, "2", "1")) == (["a"], True)


def test_the_oldest_go(workshop):
    ids = [f"{number:064x}" for number in range(keeping.MAX_KEPT + 3)]
    for age, name in enumerate(ids):
        build(workshop, Kept(name, "1"))
        os.utime(f"{workshop.directory}/caches/contexts/{name}/generation", (age, age))
    assert sorted(os.listdir(f"{workshop.directory}/caches/contexts")) == ids[3:]


@pytest.mark.parametrize("name", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63])
def test_ids_are_no_paths(workshop, name):
    with pytest.raises(InvalidArgument, match="invalid id of a context"):
        build(workshop, Kept(name, "1"))


@pytest.mark.parametrize("path", ["..", "a/..", "/", "."])
def test_nothing_outside_is_removed(workshop, path):
    build(workshop, Kept(ID, "1"), files=["a"])
    with pytest.raises(InvalidArgument, match="invalid name in a context"):
        build(workshop, Kept(ID, "2", "1", [path]))
    assert os.path.exists(f"{workshop.directory}/caches/contexts/{ID}/tree/a")


def test_no_link_leads_a_removal_out(workshop, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").touch()
    build(workshop, Kept(ID, "1"))
    os.symlink(tmp_path / "outside", f"{workshop.directory}/caches/contexts/{ID}/tree/link")
    build(workshop, Kept(ID, "2", "1", ["link/canary"]))
    assert (tmp_path / "outside" / "canary").exists()


def test_what_was_just_sent_is_new():
    place = Place("", "", touched=frozenset({"src", "a"}))
    assert all(place.is_new([it]) for it in (".", "src", "./src/x", "/a", "src/", "*", "s*c"))
    assert not place.is_new(["b", "other/src"])
    assert not Place("", "").is_new(["."])
