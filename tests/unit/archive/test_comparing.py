"""What differs between two layers."""

from __future__ import annotations

import io
import os
import tarfile

from onggi.archive.comparing import compare


def archive(**members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (content, facts) in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for fact, value in facts.items():
                setattr(info, fact, value)
            tar.addfile(info, io.BytesIO(content))
    fd = os.memfd_create("archive")
    os.write(fd, buffer.getvalue())
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def differences(before, now, limit=10):
    return compare(archive(**before), archive(**now), limit)


def test_the_same_has_none():
    both = {"a": (b"x", {}), "d": (b"", {"type": tarfile.DIRTYPE})}
    assert differences(both, both) == {"found": [], "count": 0}


def test_every_respect_has_its_word():
    link = {"type": tarfile.SYMTYPE, "linkname": "x"}
    before = {"a": (b"x", {}), "b": (b"x", {}), "c": (b"", link), "e": (b"", {}), "gone": (b"", {})}
    now = {
        "a": (b"y", {"mtime": 5}),
        "b": (b"x", {"mode": 0o600, "uid": 3}),
        "c": (b"", link | {"linkname": "y"}),
        "e": (b"", link),
        "new": (b"", {}),
    }
    assert differences(before, now)["found"] == [
        ["a", ["content", "time"]],
        ["b", ["mode", "owner"]],
        ["c", ["link"]],
        ["e", ["kind"]],
        ["gone", ["removed"]],
        ["new", ["added"]],
    ]
    assert compare(archive(**before), archive(**now), 1, times=False)["found"] == [["a", ["content"]]]
    assert differences(before, now, limit=1) == {"found": [["a", ["content", "time"]]], "count": 6}
