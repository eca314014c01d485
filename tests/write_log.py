"""A disk whose power can be cut: a file system of one file, for a loop device, that remembers which writes
the disk has promised to keep.

    python tests/write_log.py MOUNTPOINT SIZE DIRECTORY

What is written before a flush is kept. Of what was written since, a disk may keep any part and in any order:
a line ``cut PATH SEED`` on stdin makes an image of a disk that lost power now, with a part chosen by the
seed, and is answered by ``done FLUSHES KEPT LOST`` on stdout. From a line ``fail reads``, ``fail writes`` or
``fail nothing`` on, these are answered by EIO. Speaks FUSE itself (linux/fuse.h, protocol 7),
so that it needs nothing but /dev/fuse.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

NAME, ROOT, DISK = b"disk", 1, 2
HEADER = struct.Struct("<IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, extensions, padding
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT = (
    1, 2, 3, 4, 14, 15, 16, 17, 18, 20, 25, 26,
)  # fmt: skip
OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 27, 28, 29, 36, 38, 42
SILENT = (FORGET, INTERRUPT, BATCH_FORGET)
MAX_WRITE = 1 << 20
DIRECT_IO, MAX_PAGES = 1 << 0, 1 << 22
DAY_S = 86400


class Disk:
    """Its bytes as they are read, and as they would be without power."""

    def __init__(self, directory: Path, size: int) -> None:
        self.size, self.kept = size, directory / "kept"
        self.current_fd = os.open(directory / "current", os.O_RDWR | os.O_CREAT)
        self.kept_fd = os.open(self.kept, os.O_RDWR | os.O_CREAT)
        for fd in (self.current_fd, self.kept_fd):
            os.ftruncate(fd, size)
        self.pending: list[tuple[int, bytes]] = []
        self.flushes = 0
        self.failing = "nothing"

    def read(self, offset: int, size: int) -> bytes:
        self._work("reads")
        return os.pread(self.current_fd, size, offset)

    def _work(self, what: str) -> None:
        if self.failing == what:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write(self, offset: int, data: bytes) -> None:
        self._work("writes")
        os.pwrite(self.current_fd, data, offset)
        self.pending.append((offset, data))

    def flush(self) -> None:
        self._work("writes")
        for offset, data in self.pending:
            os.pwrite(self.kept_fd, data, offset)
        self.pending.clear()
        self.flushes += 1

    def cut(self, path: str, seed: str) -> tuple[int, int]:
        """Make the image of a disk that lost power; (writes since the flush that it has, that it has not)."""
        chance = random.Random(seed)
        subprocess.run(["cp", "--sparse=always", self.kept, path], check=True)
        likely = chance.choice((0.0, 0.5, 0.9))
        kept = [it for it in self.pending if chance.random() < likely]
        chance.shuffle(kept)
        fd = os.open(path, os.O_RDWR)
        try:
            for offset, data in kept:
                os.pwrite(fd, data, offset)
        finally:
            os.close(fd)
        return len(kept), len(self.pending) - len(kept)


class Server:
    """Answers the kernel."""

    def __init__(self, fd: int, disk: Disk) -> None:
        self.fd, self.disk = fd, disk
        self.answers: dict[int, Callable[[int, bytes], bytes]] = {
            INIT: self._init,
            LOOKUP: self._look_up,
            GETATTR: lambda node, _: struct.pack("<QII", DAY_S, 0, 0) + self._attributes(node),
            SETATTR: lambda node, _: struct.pack("<QII", DAY_S, 0, 0) + self._attributes(node),
            OPEN: lambda *_: struct.pack("<QII", 1, DIRECT_IO, 0),
            OPENDIR: lambda *_: struct.pack("<QII", 1, 0, 0),
            READDIR: lambda *_: b"",
            READ: self._read,
            WRITE: self._write,
            FSYNC: self._flush,
            FLUSH: lambda *_: b"",
            RELEASE: lambda *_: b"",
            RELEASEDIR: lambda *_: b"",
            STATFS: lambda *_: struct.pack("<5Q4I24x", *([1 << 20] * 5), 4096, 255, 4096, 0),
            DESTROY: lambda *_: b"",
        }

    def serve_one(self) -> bool:
        """One request; False at the end of the mount."""
        try:
            message = os.read(self.fd, MAX_WRITE + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        _, opcode, unique, node, *_ = HEADER.unpack_from(message)
        if opcode in SILENT:
            return True
        answer, failure = b"", 0
        try:
            answer = self.answers[opcode](node, message[HEADER.size :])
        except KeyError:
            failure = -errno.ENOSYS
        except OSError as error:
            failure = -(error.errno or errno.EIO)
        os.write(self.fd, struct.pack("<IiQ", 16 + len(answer), failure, unique) + answer)
        return True

    def _init(self, _: int, body: bytes) -> bytes:
        _, _, read_ahead, _ = struct.unpack_from("<IIII", body)
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, read_ahead, MAX_PAGES, 16, 12, MAX_WRITE, 1, 256, 0, 0)

    def _look_up(self, _: int, body: bytes) -> bytes:
        if body.rstrip(b"\0") != NAME:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return struct.pack("<QQQQII", DISK, 0, DAY_S, DAY_S, 0, 0) + self._attributes(DISK)

    def _attributes(self, node: int) -> bytes:
        mode = stat.S_IFREG | 0o600 if node == DISK else stat.S_IFDIR | 0o700
        size = self.disk.size if node == DISK else 0
        numbers = (node, size, size // 512, 0, 0, 0)
        return struct.pack("<QQQQQQIIIIIIIIII", *numbers, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _read(self, _: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return self.disk.read(offset, size)

    def _write(self, _: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        self.disk.write(offset, body[40 : 40 + size])
        return struct.pack("<II", size, 0)

    def _flush(self, *_: object) -> bytes:
        self.disk.flush()
        return b""


def mount(target: str) -> int:
    """Mount it; the descriptor on which the kernel asks."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40700,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"write-log", target.encode(), b"fuse", ctypes.c_ulong(2 | 4), options) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")
    return fd


def main(target: str, size: str, directory: str) -> None:
    disk = Disk(Path(directory), int(size))
    server = Server(mount(target), disk)
    print("mounted", flush=True)
    while True:
        readable, _, _ = select.select([server.fd, sys.stdin], [], [])
        if server.fd in readable and not server.serve_one():
            return
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            verb, *words = line.split()
            kept = lost = 0
            if verb == "fail":
                disk.failing = words[0]
            else:
                kept, lost = disk.cut(*words)
            print("done", disk.flushes, kept, lost, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
