"""A small disk of a test's own: ext4 on a loop device, for what needs a block device."""

import contextlib
import fcntl
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOOP_CTL_GET_FREE = 0x4C82


class Disk(NamedTuple):
    """The block device and where it is mounted."""

    device: Path
    directory: Path


@contextlib.contextmanager
def loop_disk(directory: Path, size_bytes: int) -> Iterator[Disk]:
    """Make one below ``directory``, mounted in this mount namespace only; gone at the end."""
    image, mountpoint = directory / "image", directory / "mnt"
    mountpoint.mkdir()
    with open(image, "wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,nodiscard", str(image)], check=True)
    device = _free_loop()
    subprocess.run(["losetup", str(device), str(image)], check=True)
    try:
        subprocess.run(["mount", str(device), str(mountpoint)], check=True)
        try:
            yield Disk(device, mountpoint)
        finally:
            subprocess.run(["umount", str(mountpoint)], check=True)
    finally:
        subprocess.run(["losetup", "-d", str(device)], check=True)


def _free_loop() -> Path:
    """A node for a loop device that nobody uses, in the tests' own /dev, which has none of itself."""
    control = Path("/dev/loop-control")
    if not control.exists():
        os.mknod(control, stat.S_IFCHR | 0o600, os.makedev(10, 237))
    fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
    try:
        number = fcntl.ioctl(fd, LOOP_CTL_GET_FREE)
    finally:
        os.close(fd)
    node = Path(f"/dev/loop{number}")
    if not node.exists():
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(7, number))
    return node
