"""Small disks of a test's own: ext4 on loop devices, for what needs a block device, fills one or cuts its
power.
"""

import contextlib
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engines import wait_until

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
    make_file_system(image)
    with mounted(image, mountpoint) as disk:
        yield disk


def make_file_system(image: Path) -> None:
    """ext4 in a file, without work that is put off."""
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    subprocess.run(["mkfs.ext4", "-q", "-E", options, str(image)], check=True)


@contextlib.contextmanager
def mounted(image: Path, mountpoint: Path) -> Iterator[Disk]:
    """A file with a file system, mounted on a directory that exists."""
    device = _free_loop()
    subprocess.run(["losetup", str(device), str(image)], check=True)
    try:
        subprocess.run(["mount", str(device), str(mountpoint)], check=True)
        try:
            yield Disk(device, mountpoint)
        finally:
            wait_until(lambda: _unmounted(mountpoint), f"nobody to use {mountpoint}")
    finally:
        subprocess.run(["losetup", "-d", str(device)], check=True)


def _unmounted(mountpoint: Path) -> bool:
    """Unmount; False while a process that is just ending has a file of it open."""
    done = subprocess.run(["umount", str(mountpoint)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "busy" in done.stderr, done.stderr
    return done.returncode == 0


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


class PowerDisk(NamedTuple):
    """A disk whose power can be cut and that can fail; see ``write_log``."""

    directory: Path
    server: subprocess.Popen[str]

    def cut(self, image: Path, seed: str) -> tuple[int, int, int]:
        """Make the image of this disk without power: (flushes before, writes since that it has, and lost)."""
        return self._ask(f"cut {image} {seed}")

    def fail(self, what: str) -> None:
        """Answer ``reads``, ``writes`` or ``nothing`` with EIO from now on."""
        self._ask(f"fail {what}")

    def mount_again(self) -> None:
        """As behind a repair: nobody has a file of it open."""
        device = f"/dev/loop{os.minor(os.stat(self.directory).st_dev)}"
        wait_until(lambda: _unmounted(self.directory), f"nobody to use {self.directory}")
        # Nor is it mounted anywhere else: what failed would go on failing with it.
        wait_until(lambda: not Path("/sys/fs/ext4", Path(device).name).exists(), f"nobody to use {device}")
        subprocess.run(["mount", device, str(self.directory)], check=True)

    def _ask(self, line: str) -> tuple[int, int, int]:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{line}\n")
        self.server.stdin.flush()
        word, *numbers = self.server.stdout.readline().split()
        assert word == "done"
        return int(numbers[0]), int(numbers[1]), int(numbers[2])


@contextlib.contextmanager
def power_disk(directory: Path, size_bytes: int) -> Iterator[PowerDisk]:
    """Make one below ``directory``, mounted in this mount namespace only; gone at the end."""
    log, mountpoint = directory / "log", directory / "mnt"
    for path in (log, mountpoint, directory / "disk"):
        path.mkdir()
    if not Path("/dev/fuse").exists():
        os.mknod("/dev/fuse", stat.S_IFCHR | 0o600, os.makedev(10, 229))
    command = [sys.executable, str(Path(__file__).with_name("write_log.py")), str(log), str(size_bytes)]
    command.append(str(directory / "disk"))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "mounted\n"
        try:
            make_file_system(log / "disk")
            with mounted(log / "disk", mountpoint):
                os.sync()
                yield PowerDisk(mountpoint, server)
        finally:
            subprocess.run(["umount", str(log)], check=True)
