"""What layers unpack to is what their archives say: hard links, whiteouts, opaque directories, links on the
way, members given twice, attributes."""

import io
import os
import tarfile

import pytest

from onggi.archive import overlay
from onggi.archive.compare import Comparison
from onggi.archive.extract import Limits, extract
from onggi.archive.overlay import mark_opaque


def member(name, kind=tarfile.REGTYPE, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(data), 1_600_000_000
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


MEMBERS = [
    member("./", tarfile.DIRTYPE, mode=0o750),
    member("usr/lib", tarfile.DIRTYPE, mode=0o2755),
    member("lib", tarfile.SYMTYPE, linkname="usr/lib"),
    member("lib/through", data=b"a link", mode=0o4755, uid=7, gid=8),
    member("usr/lib/hard", tarfile.LNKTYPE, linkname="lib/through"),
    member("twice", data=b"first"),
    member("twice", data=b"second"),
    member("made/on/the/way", data=b"x"),
    member("fifo", tarfile.FIFOTYPE),
    member("null", tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("gone/.wh.name"),
    member("hides", tarfile.DIRTYPE),
    member("hides/.wh..wh..opq"),
    member("hides/.wh.needless"),
    member("attributes", data=b"y", pax_headers={"SCHILY.xattr.user.key": "value"}),
]


@pytest.fixture
def layer(tmp_path):
    """(archive, directory) of a layer with everything."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in MEMBERS:
            archive.addfile(info, io.BytesIO(data))
    path = tmp_path / "layer.tar"
    path.write_bytes(buffer.getvalue())
    fs = tmp_path / "fs"
    fs.mkdir()
    root_fd, fd = os.open(fs, os.O_RDONLY), os.open(path, os.O_RDONLY)
    result = extract(fd, root_fd, Limits(), layer=overlay.OVERLAY)
    mark_opaque(root_fd, result.opaque)
    os.close(fd)
    os.close(root_fd)
    return path, fs


def compared(layer):
    path, fs = layer
    root_fd, fd = os.open(fs, os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        return Comparison(root_fd, Limits().depth).run(fd)
    finally:
        os.close(fd)
        os.close(root_fd)


def test_an_unpacked_layer_is_as_its_archive(layer):
    assert compared(layer) == (len(MEMBERS), 0, [])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda fs: os.chmod(fs / "usr/lib/hard", 0o755), "/lib/through has the mode 755 instead of 4755"),
        (lambda fs: (fs / "usr/lib/hard").unlink(), "/usr/lib/hard is missing"),
        (lambda fs: (fs / "twice").write_bytes(b"first"), "/twice has another time"),
        (lambda fs: (fs / "gone/name").unlink(), "/gone/name is missing"),
        (lambda fs: (fs / "made/on/the/other").touch(), "/made/on/the/other is not in its archive"),
        (lambda fs: (fs / "made/empty").mkdir(), "/made/empty is not in its archive"),
        (lambda fs: os.removexattr(fs / "attributes", "user.key"), "/attributes has another attribute"),
        (lambda fs: os.removexattr(fs / "hides", "trusted.overlay.opaque"), "/hides does not hide"),
        (lambda fs: (fs / "lib").unlink(), "/lib/through is missing, with its directory"),
        (lambda fs: os.chmod(fs, 0o700), "/ has the mode 700 instead of 750"),
    ],
)  # fmt: skip
def test_what_was_changed_is_told(layer, damage, told):
    damage(layer[1])
    found = compared(layer)
    assert found.differences
    assert any(it.startswith(told) for it in found.told), found
