"""The layer of a COPY: what is copied where, above which tree, and that nothing leads out of the sources."""

import os
import tarfile

import pytest

import jobs


class Place:
    """A tree of sources and one that the layer will lie on."""

    def __init__(self, root):
        self.context, self.image, self.canary = root / "context", root / "image", root / "canary"
        for directory in (self.context / "src/deep", self.context / "other", self.image / "usr/lib"):
            directory.mkdir(parents=True)
        for name in ("a.txt", "b.txt", "src/x.py", "src/y.md", "src/deep/z.py", "other/o"):
            (self.context / name).write_text(name)
        self.canary.write_text("secret")
        (self.image / "lib").symlink_to("usr/lib")
        (self.image / "file").write_text("")
        os.chmod(self.image / "usr/lib", 0o711)
        self.output = root / "layer.tar"

    def copy(self, *sources, to, **changed):
        """Members by name, or the error."""
        arguments = {"sources": sources, "destination": to, "files": [], "owner": (0, 0), "mode": ""}
        arguments |= {"time_ns": 5_000_000_000, "exclude": [], "parents": False, "make": False}
        arguments |= {"lowers": [str(self.image)]} | changed
        root = os.open(self.context, os.O_RDONLY | os.O_DIRECTORY)
        out = os.open(self.output, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            answer = jobs.run("gather", arguments, [root, out])
        finally:
            os.close(root)
            os.close(out)
        if "error" in answer:
            return answer["error"]
        with tarfile.open(self.output) as archive:
            return {it.name: archive.extractfile(it).read() if it.isfile() else it for it in archive}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("sources", "to", "more", "names"),
    [
        (["a.txt"], "/new", {}, {"new"}),
        (["a.txt"], "/dir/", {}, {"dir", "dir/a.txt"}),
        (["a.txt"], "/usr", {}, {"usr", "usr/a.txt"}),
        (["*.txt"], "/d", {}, {"d", "d/a.txt", "d/b.txt"}),
        (["src"], "/app", {}, {"app", "app/x.py", "app/y.md", "app/deep", "app/deep/z.py"}),
        (["src"], "/app", {"exclude": ["**/*.py"]}, {"app", "app/y.md", "app/deep"}),
        (["src"], "/app", {"exclude": ["deep"]}, {"app", "app/x.py", "app/y.md"}),
        (["src"], "/app", {"exclude": ["*.py", "!x.py", "deep"]}, {"app", "app/x.py", "app/y.md"}),
        (["src/deep"], "/", {}, {"z.py"}),
        (["src/deep/z.py"], "/p/", {"parents": True}, {"p", "p/src", "p/src/deep", "p/src/deep/z.py"}),
        (["src/./deep/z.py"], "/p/", {"parents": True}, {"p", "p/deep", "p/deep/z.py"}),
        (["../../a.txt"], "/new", {}, {"new"}),
        (["a.txt"], "/lib/", {}, {"usr", "usr/lib", "usr/lib/a.txt"}),
        ([], "/w/d", {"make": True}, {"w", "w/d"}),
        ([], "/e/", {"files": [("doc", "text")]}, {"e", "e/doc"}),
    ],
)
def test_what_is_copied_where(place, sources, to, more, names):
    assert set(place.copy(*sources, to=to, **more)) == names


def test_headers_are_the_callers_but_for_directories_that_are_there(place):
    os.chown(place.context / "src", 7, 8)
    found = place.copy("src/x.py", to="/usr/lib/sub/", owner=(3, 4), mode="0640")
    with tarfile.open(place.output) as archive:
        seen = {it.name: (it.mode, it.uid, it.gid, it.mtime) for it in archive}
    assert seen["usr/lib"] == (0o711, 0, 0, 5)
    assert seen["usr/lib/sub"] == (0o755, 3, 4, 5)
    assert seen["usr/lib/sub/x.py"] == (0o640, 3, 4, 5)
    assert found["usr/lib/sub/x.py"] == b"src/x.py"


@pytest.mark.parametrize("link", ["{canary}", "../canary", "/../canary", "../../../../../../{canary}"])
def test_links_do_not_lead_out_of_the_sources(place, link):
    (place.context / "link").symlink_to(link.format(canary=place.canary))
    assert place.copy("link", to="/new").startswith("NotFound")
    (place.context / "way").symlink_to(place.canary.parent)
    assert place.copy("way/canary", to="/new").startswith("NotFound")
    inside = place.copy(".", to="/all/")
    assert inside["all/link"].issym()
    assert b"secret" not in place.output.read_bytes()


@pytest.mark.parametrize("to", ["/file/x", "/file/", "/lib/../../x/"])
def test_destinations_stay_in_the_image(place, to):
    found = place.copy("a.txt", "b.txt", to=to)
    assert found.startswith("InvalidArgument") if "file" in to else set(found) == {"x", "x/a.txt", "x/b.txt"}


def test_a_file_does_not_take_the_place_of_a_directory(place):
    (place.context / "tree").mkdir()
    (place.context / "tree/usr").write_text("file")
    assert place.copy("tree", to="/") == "InvalidArgument: cannot replace to directory /usr with file"
    (place.context / "tree/usr").unlink()
    (place.context / "tree/lib").mkdir()
    assert place.copy("tree", to="/") == "InvalidArgument: cannot copy to non-directory: /lib"


def test_equal_files_make_equal_layers(place):
    place.copy(".", to="/app/")
    before = place.output.read_bytes()
    for path in place.context.rglob("*"):
        os.utime(path, (77, 77), follow_symlinks=False)
        os.chown(path, 12, 13)
    place.copy(".", to="/app/")
    assert place.output.read_bytes() == before


def layer_names(upper, base, *targets):
    """Members of the layer of an upper directory."""
    tree = {"top": str(upper), "lowers": [str(base)], "place": "/", "masks": [], "whole": False}
    out = os.memfd_create("layer")
    answer = jobs.run("pack_layer", {"trees": [tree], "targets": targets, "latest_ns": 9_000_000_000}, [out])
    assert "result" in answer, answer
    os.lseek(out, 0, os.SEEK_SET)
    with os.fdopen(out, "rb") as file, tarfile.open(fileobj=file) as archive:
        return {it.name: it.mtime for it in archive}


def test_empty_mount_points_are_no_part_of_a_layer(tmp_path):
    upper, base = tmp_path / "upper", tmp_path / "base"
    for path in (
        upper / "root/.cache/pip",
        upper / "run/secrets",
        upper / "used",
        base / "root",
        base / "var",
    ):
        path.mkdir(parents=True)
    (upper / "run/secrets/key").write_text("")
    (upper / "used/file").write_text("kept")
    (upper / "run/new").write_text("")
    os.utime(upper / "run/new", (3, 3))
    found = layer_names(upper, base, "/root/.cache/pip", "/run/secrets/key", "/used", "/var", "/none")
    assert found == {"run": 9, "run/new": 3, "used": 9, "used/file": 9}


def test_a_mount_point_that_became_a_link_leads_nowhere(tmp_path):
    upper, base, canary = tmp_path / "upper", tmp_path / "base", tmp_path / "canary"
    for path in (upper, base, canary):
        path.mkdir()
    (upper / "mnt").symlink_to(canary)
    assert set(layer_names(upper, base, "/mnt/x", "/mnt")) == {"mnt"}
    assert list(canary.parent.iterdir())
