"""Directory trees: one of everything, and trees as data, to compare what two tools made of one archive."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

DEFAULT_ACL = "system.posix_acl_default"
ACL = bytes.fromhex(
    "0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff"
)
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def describe(root: str | Path, *, times: bool = True) -> dict[str, dict[str, Any]]:
    """Path below ``root`` -> all that counts of it; ``same`` is the first path of its inode."""
    found: dict[str, dict[str, Any]] = {}
    inodes: dict[int, str] = {}
    base = os.fsencode(root)
    for path in [base, *sorted(_walk(base))]:
        name = os.fsdecode(path[len(base) :].lstrip(b"/")) or "."
        found[name] = _describe(path, inodes.setdefault(os.lstat(path).st_ino, name), times)
    return found


def _walk(directory: bytes) -> list[bytes]:
    found = []
    for above, directories, files in os.walk(directory):
        found += [os.path.join(above, name) for name in directories + files]
    return found


def _describe(path: bytes, same_as: str, times: bool) -> dict[str, Any]:
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    facts: dict[str, Any] = {
        "mode": oct(status.st_mode),
        "owner": (status.st_uid, status.st_gid),
        "same": same_as,
        "xattrs": {key: os.getxattr(path, key, follow_symlinks=False) for key in _xattrs(path)},
    }
    if times:
        facts["mtime"] = status.st_mtime_ns
    if kind == stat.S_IFLNK:
        facts["link"] = os.readlink(path)
    elif kind == stat.S_IFREG:
        facts["size"], facts["holes"] = status.st_size, status.st_blocks * 512 < status.st_size
        facts["data"] = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        facts["device"] = status.st_rdev
    return facts


def _xattrs(path: bytes) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def make_zoo(root: Path, format: str) -> None:
    """Everything that an archive of the format can hold."""
    for name, mode in (("d", 0o755), ("d/sticky", 0o1777), ("d/group", 0o2750), ("closed", 0)):
        (root / name).mkdir()
        os.chown(root / name, 3, 4)
        (root / name).chmod(mode)
    for name, mode, owner in (
        ("plain", 0o644, (0, 0)),
        ("d/suid", 0o4755, (0, 0)),
        ("suid2", 0o6711, (1, 2)),
    ):
        (root / name).write_bytes(name.encode() * 1000)
        os.chown(root / name, *owner)
        (root / name).chmod(mode)
    (root / "empty").touch()
    (root / ("d/" + "n" * 90)).write_text("long")
    os.link(root / "plain", root / "d/hard")
    os.symlink("../../../plain", root / "d/link")
    os.lchown(root / "d/link", 7, 8)
    if format != "v7":
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(root / "d/disk", stat.S_IFBLK | 0o640, os.makedev(8, 1))
        os.mkfifo(root / "fifo", 0o600)
    if format in ("gnu", "posix"):
        (root / ("l" * 200)).mkdir()
        (root / ("l" * 200) / ("m" * 250)).write_text("longer")
        os.symlink("t" * 300, root / "far")
        os.chown(root / "empty", 4294967294, 2097152)
    if format == "posix":
        os.setxattr(root / "d/suid", "security.capability", CAPABILITY)
        os.setxattr(root / "plain", "user.note", b"\x00\xff=\n")
        os.setxattr(root / "d", DEFAULT_ACL, ACL)
        os.setxattr(root / "empty", "system.posix_acl_access", ACL)
        os.utime(root / "plain", ns=(1_234_567_890_123_456_789,) * 2)
        (root / "\udcff\udcfe name").write_text("no text")
