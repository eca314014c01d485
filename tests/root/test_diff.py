"""Differences of a container to its image, as docker's list and as a layer that makes the same tree again."""

import contextlib
import json
import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobs
from onggi.kernel import mounts
from tree import describe


class Place:
    """Layers, an upper directory, and where they are mounted."""

    def __init__(self, root):
        self.root = root
        names = ("bottom", "middle", "upper", "work", "merged", "layer", "again")
        self.bottom, self.middle, self.upper, self.work, self.merged, self.layer, self.again = (
            root / name for name in names
        )
        for directory in (root / name for name in names):
            directory.mkdir()
        for name in ("a", "d/x", "d/y", "d/deep/z", "e/x", "gone"):
            path = self.bottom / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("bottom")
        for name in ("m", "d/m"):
            path = self.middle / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("middle")
        os.mknod(self.middle / "gone", 0o020000, 0)

    @contextlib.contextmanager
    def mounted(self, at, *lowers, upper=True):
        """An overlay, attached at a directory."""
        extra = (str(self.upper), str(self.work)) if upper else ()
        fd = mounts.overlay([str(path) for path in lowers], *extra)
        target = os.open(at, os.O_PATH)
        mounts.attach(fd, target)
        os.close(fd)
        os.close(target)
        try:
            yield at
        finally:
            subprocess.run(["umount", str(at)], check=True)

    def container(self):
        return self.mounted(self.merged, self.middle, self.bottom)

    def arguments(self, **changed):
        tree = {"top": str(self.upper), "lowers": [str(self.middle), str(self.bottom)], "place": "/"}
        return {"trees": [tree | {"masks": [], "whole": False} | changed]}

    def changes(self, **changed):
        """docker's list, as "A /path"."""
        data, answer = jobs.streamed("changes", self.arguments(**changed))
        assert "result" in answer, answer
        return [f"{'CAD'[it['Kind']]} {it['Path']}" for it in json.loads(data)]

    def committed(self, **changed):
        """The tree that the committed layer makes, and what the container sees."""
        data, answer = jobs.streamed("pack_layer", self.arguments(**changed))
        assert "result" in answer, answer
        answer = jobs.unpack(data, self.layer)
        assert "result" in answer, answer
        with self.container():
            wanted = describe(self.merged, times=False)
        with self.mounted(self.again, self.layer, self.middle, self.bottom, upper=False):
            return describe(self.again, times=False), wanted


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def add(root):
    (root / "new").mkdir()
    (root / "new/file").write_text("x")
    (root / "d/deep/file").write_text("x")


def modify(root):
    (root / "d/x").write_text("changed")
    os.chown(root / "e", 5, 6)


def delete(root):
    (root / "a").unlink()
    shutil.rmtree(root / "d/deep")
    (root / "m").unlink()


def replace(root):
    shutil.rmtree(root / "d")
    (root / "d").mkdir()
    (root / "d/y").write_text("mine")
    shutil.rmtree(root / "e")
    (root / "e").write_text("a file")
    (root / "a").unlink()
    (root / "a").mkdir()
    (root / "a/inside").touch()


def come_and_go(root):
    (root / "d/brief").touch()
    (root / "d/brief").unlink()
    (root / "brief").mkdir()
    (root / "brief").rmdir()


def link(root):
    os.link(root / "d/x", root / "d/x2")
    os.symlink("../a", root / "d/link")
    os.mkfifo(root / "pipe")


CHANGES = {
    add: ["C /d", "C /d/deep", "A /d/deep/file", "A /new", "A /new/file"],
    modify: ["C /d", "C /d/x", "C /e"],
    delete: ["D /a", "C /d", "D /d/deep", "D /m"],
    replace: ["C /a", "A /a/inside", "C /d", "D /d/deep", "D /d/m", "D /d/x", "C /d/y", "C /e"],
    come_and_go: [],
    link: ["C /d", "A /d/link", "C /d/x", "A /d/x2", "A /pipe"],
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_those_of_docker(place, change):
    with place.container():
        change(place.merged)
        assert place.changes() == CHANGES[change]  # as it runs


@pytest.mark.parametrize("change", CHANGES)
def test_a_committed_layer_makes_the_same_tree(place, change):
    with place.container():
        change(place.merged)
    again, wanted = place.committed()
    assert again == wanted


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_compared_with_its_layers(place, change):
    """The storage driver without overlays."""
    copy = place.root / "copy"
    with place.container():
        subprocess.run(["cp", "-a", f"{place.merged}/.", copy], check=True)
        change(place.merged)
    change(copy)
    # What a copy cannot know: that a file which looks the same was touched.
    expected = [line for line in CHANGES[change] if line != "C /d/x" or change is modify]
    assert place.changes(top=str(copy), whole=True) == expected
    again, wanted = place.committed(top=str(copy), whole=True)
    for tree in (again, wanted):
        for facts in tree.values():
            del facts["same"]
    assert again == wanted


def test_the_same_changes_are_the_same_layer(place):
    with place.container():
        link(place.merged)
        add(place.merged)
        delete(place.merged)
    first, second = (jobs.streamed("pack_layer", place.arguments()) for _ in range(2))
    assert len(first[0]) > 5000
    assert first == second


def test_a_view_hides_what_its_masks_say(place):
    """Of the machine's files only what is shown can be changed or deleted."""
    masks = [["whiteout", "/gone"], ["opaque", "/d"], ["whiteout", "/e/x"]]
    for name in ("gone", "d", "e/x"):
        path = place.upper / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine") if name != "d" else path.mkdir()
    (place.upper / "d/x").write_text("mine")
    lowers = [str(place.bottom)]
    expected = ["C /d", "A /d/x", "C /e", "A /e/x", "A /gone"]
    assert place.changes(masks=masks, lowers=lowers) == expected


def test_other_file_systems_have_a_place(place):
    with place.container():
        add(place.merged)
    both = place.arguments()["trees"] + place.arguments(place="/srv/data")["trees"]
    data, _ = jobs.streamed("changes", {"trees": both})
    paths = [it["Path"] for it in json.loads(data)]
    assert paths == [line[2:] for line in CHANGES[add]] + ["/srv/data"] + [
        f"/srv/data{line[2:]}" for line in CHANGES[add]
    ]


def test_names_like_whiteouts_are_no_deletions(place):
    with place.container():
        (place.merged / ".wh.a").touch()
    _, answer = jobs.streamed("pack_layer", place.arguments())
    assert answer["error"].startswith("InvalidArgument: /.wh.a has a name that means a deletion")
    assert place.changes() == ["A /.wh.a"]


CHECKS_LEFT_OUT = [
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
]  # slow is the machine, not the data
NAMES = st.sampled_from(["a", "d", "d/x", "d/m", "d/deep", "d/deep/z", "e", "e/x", "new", "new/n", "gone"])
STEPS = st.tuples(
    st.sampled_from(["write", "mkdir", "remove", "link", "symlink", "chmod", "rename"]), NAMES, NAMES
)


def act(root, step):
    """One step, where it is possible."""
    what, name, other = step
    path = root / name
    with contextlib.suppress(OSError, shutil.Error):
        if what == "write":
            path.write_text(other)
        elif what == "mkdir":
            path.mkdir()
        elif what == "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif what == "link":
            os.link(path, root / other, follow_symlinks=False)
        elif what == "symlink":
            path.symlink_to(other)
        elif what == "chmod" and not path.is_symlink():
            path.chmod(0o711)
        elif what == "rename":
            path.rename(root / other)


@settings(max_examples=40, suppress_health_check=CHECKS_LEFT_OUT)
@given(steps=st.lists(STEPS, max_size=12))
def test_any_changes_are_committed_whole(tmp_path_factory, steps):
    place = Place(tmp_path_factory.mktemp("place"))
    with place.container():
        for step in steps:
            act(place.merged, step)
    again, wanted = place.committed()
    assert again == wanted


@settings(max_examples=40, suppress_health_check=CHECKS_LEFT_OUT)
@given(steps=st.lists(STEPS, max_size=12))
def test_any_changes_of_a_copy_are_committed_whole(tmp_path_factory, steps):
    place = Place(tmp_path_factory.mktemp("place"))
    copy = place.root / "copy"
    with place.container():
        subprocess.run(["cp", "-a", f"{place.merged}/.", copy], check=True)
    for step in steps:
        act(copy, step)
    again, _ = place.committed(top=str(copy), whole=True)
    wanted = describe(copy, times=False)
    for tree in (again, wanted):
        del tree["."]
        for facts in tree.values():
            del facts["same"]  # a link to what did not change becomes a file of its own
    assert again == wanted
