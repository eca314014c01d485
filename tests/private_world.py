"""Mount and network namespaces of a process's own, in which a mistake harms nobody.

ctypes is used here, as Python 3.11 has no os.unshare.
"""

import ctypes
import fcntl
import os
import socket
import stat
import struct

CLONE_NEWNS, CLONE_NEWNET = 0x0002_0000, 0x4000_0000
MS_NOSUID, MS_REC, MS_PRIVATE = 2, 16384, 1 << 18
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}

libc = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """Unshare the mount and network namespaces of this process; with its own /dev, and loopback up.

    A mistake can then neither mount on the machine nor replace its /dev/null.
    """
    # For a fixture that gets packages, and for nothing else: nsenter --net=/proc/PID/fd/FD.
    machine_network = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    os.environ["ONGGI_TEST_MACHINE_NETWORK"] = f"/proc/{os.getpid()}/fd/{machine_network}"
    _call(libc.unshare, CLONE_NEWNS | CLONE_NEWNET)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _loopback_up()
    _furnish_dev()
    os.environ["ONGGI_HERE"] = "1"  # an engine refuses to start in namespaces of its caller's own


def _call(function, *arguments) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}{arguments}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _call(libc.mount, source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("h", request, 16)[0]
        struct.pack_into("h", request, 16, flags | IFF_UP)
        fcntl.ioctl(control, SIOCSIFFLAGS, request)


def _furnish_dev() -> None:
    _mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=16m")
    for name, minor in DEVICES.items():
        _node(f"/dev/{name}", 1, minor)
    _node("/dev/tty", 5, 0)
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")
    for name, kind, data in [
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
        ("mqueue", "mqueue", ""),
    ]:
        os.mkdir(f"/dev/{name}")
        _mount(kind, f"/dev/{name}", kind, MS_NOSUID, data)


def _node(path: str, major: int, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    os.chmod(path, 0o666)  # mknod obeys the umask
