"""The layer of mount points: what an image lacks, nothing that it has, and nothing through its links."""

import os
import stat

from onggi.store.mountpoints import layer, missing

ALL = ["dev", "proc", "sys", "etc", "etc/hostname", "etc/hosts", "etc/resolv.conf"]


def paths(*layers):
    return [point.path for point in missing([str(entry) for entry in layers])]


def image(root, *names):
    for name in names:
        target = root / name.rstrip("/")
        if name.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    return root


def test_an_empty_image_lacks_all(tmp_path):
    assert paths() == ALL
    assert paths(tmp_path) == ALL


def test_what_any_layer_has_is_not_made(tmp_path):
    top = image(tmp_path / "top", "etc/hosts", "proc/")
    base = image(tmp_path / "base", "etc/hostname", "etc/resolv.conf", "dev/", "sys/")
    assert paths(top, base) == []
    assert layer(str(tmp_path / "place"), [str(top), str(base)]) == ""
    assert paths(top) == ["dev", "sys", "etc", "etc/hostname", "etc/resolv.conf"]


def test_a_parent_that_is_a_link_is_left_alone(tmp_path):
    root = image(tmp_path / "root", "dev/", "proc/", "sys/")
    os.symlink("/etc", root / "etc")
    assert paths(root) == []


def test_a_directory_over_a_file_or_link_does_not_join_it(tmp_path):
    top = image(tmp_path / "top", "etc/hosts", *(f"{name}/" for name in ("dev", "proc", "sys")))
    base = image(tmp_path / "base")
    base.mkdir()
    os.symlink(tmp_path, base / "etc")
    image(tmp_path, "hostname", "resolv.conf")
    assert paths(top, base) == ["etc", "etc/hostname", "etc/resolv.conf"]


def test_the_layer_has_the_modes_of_the_image_and_serves_all_alike(tmp_path):
    roots = [image(tmp_path / name, "etc/passwd", "dev/") for name in ("one", "two")]
    for root in roots:
        (root / "etc").chmod(0o2751)
    made = [layer(str(tmp_path / "place"), [str(root)]) for root in roots]
    assert made[0] == made[1]
    assert sorted(os.listdir(made[0])) == ["etc", "proc", "sys"]
    assert stat.S_IMODE(os.stat(f"{made[0]}/etc").st_mode) == 0o2751
    assert stat.S_IMODE(os.stat(f"{made[0]}/etc/hosts").st_mode) == 0o644
    assert os.listdir(tmp_path / "place") == [os.path.basename(made[0])]
