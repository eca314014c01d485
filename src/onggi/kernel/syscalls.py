"""The one narrow door to the kernel: system calls that ``os`` of every Python we support does not offer.

Each function is one man page and raises ``KernelError(call, errno, path)``. Paths are ``str`` and reach the
kernel in the file system encoding; descriptors are plain integers owned by the caller. ``ctypes`` may be used
here and in ``seccomp`` only. Argument types are declared once, at import: setting them per call is shared
state.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from ctypes import c_char_p, c_int, c_long, c_uint, c_uint64, c_ulong, c_void_p
from typing import Any, NamedTuple

from onggi.errors import KernelError

CType = Any  # an argument or a type that ctypes converts
CFunction = Any

libc = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = c_long

# Numbers that differ between architectures; from 424 on they are the same everywhere.
_CALLS = ("pivot_root", "set_mempolicy", "keyctl", "ioprio_set", "sched_setattr", "seccomp", "bpf")
_NUMBERS = {"x86_64": (155, 238, 250, 251, 314, 317, 321), "aarch64": (41, 237, 219, 30, 274, 277, 280)}
_ARCH = dict(zip(_CALLS, _NUMBERS.get(platform.machine(), ()), strict=False))
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLONE3, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 435, 436, 437, 442

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000

CLONE_INTO_CGROUP = 0x200000000
CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 0x1, 0x20, 0x1000, 0x2000, 0x4000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x20000, 0x40000, 0x80000, 0x100000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME = 0x10, 0x20, 0x70
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x200000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
FSOPEN_CLOEXEC = FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 0, 1, 6
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x01, 0x02, 0x04
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x08, 0x10
CLOSE_RANGE_CLOEXEC = 4

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NAME = 1, 4, 8, 15
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
SECCOMP_SET_MODE_FILTER = 1
_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_M_ARENA_MAX = -8


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", c_uint64), ("mode", c_uint64), ("resolve", c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", c_uint), ("pid", c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", c_uint), ("permitted", c_uint), ("inheritable", c_uint))


class _SockFilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", c_char_p))


class Capabilities(NamedTuple):
    """Bit masks over capability numbers, as in capget(2)."""

    effective: int
    permitted: int
    inheritable: int


def _declare(name: str, *argtypes: CType) -> CFunction:
    function = getattr(libc, name)
    function.argtypes, function.restype = argtypes, c_int
    return function


_unshare = _declare("unshare", c_int)
_setns = _declare("setns", c_int, c_int)
_mount = _declare("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = _declare("umount2", c_char_p, c_int)
_prctl = _declare("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_capget = _declare("capget", c_void_p, c_void_p)
_capset = _declare("capset", c_void_p, c_void_p)
_sethostname = _declare("sethostname", c_char_p, ctypes.c_size_t)
_setdomainname = _declare("setdomainname", c_char_p, ctypes.c_size_t)
_personality = _declare("personality", c_ulong)
_inotify_init1 = _declare("inotify_init1", c_int)
_syncfs = _declare("syncfs", c_int)
_fstatfs = _declare("fstatfs", c_int, c_void_p)
_inotify_add_watch = _declare("inotify_add_watch", c_int, c_char_p, ctypes.c_uint32)


def _check(result: int, call: str, path: str = "") -> int:
    if result < 0:
        raise KernelError(call, ctypes.get_errno(), path)
    return result


def _raw(call: str, number: int, *arguments: CType, path: str = "") -> int:
    return _check(_syscall(c_long(number), *arguments), call, path)


def _numbered(call: str) -> int:
    if call not in _ARCH:
        raise KernelError(call, 38, platform.machine())  # ENOSYS: a machine whose numbers we do not know
    return _ARCH[call]


# Keeps the interpreter's lock: nothing of Python may run between these calls and the fork.
_python = ctypes.PyDLL(None, use_errno=True)
_fork_syscall = _python.syscall
_fork_syscall.restype = c_long
_before_fork = _python.PyOS_BeforeFork
_after_fork_parent, _after_fork_child = _python.PyOS_AfterFork_Parent, _python.PyOS_AfterFork_Child
for _hook in (_before_fork, _after_fork_parent, _after_fork_child):
    _hook.argtypes, _hook.restype = (), None


class _CloneArgs(ctypes.Structure):
    _names = ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size")
    _fields_ = tuple((name, c_uint64) for name in (*_names, "tls", "set_tid", "set_tid_size", "cgroup"))


def fork_into(group_fd: int) -> int:
    """fork(2) with the child born in a v2 control group, clone3(2) CLONE_INTO_CGROUP; 0 in the child.

    The C library is not told of the fork: for processes with one thread that exec soon or stay with Python.
    """
    arguments = _CloneArgs(flags=CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=group_fd)
    number, where, size = c_long(_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments))
    _before_fork()
    pid = _fork_syscall(number, where, size)
    if pid == 0:
        _after_fork_child()
        return 0
    _after_fork_parent()
    return _check(int(pid), "clone3")


def share_one_heap() -> None:
    """Let all threads allocate from one heap, mallopt(3): what one has freed serves the next.

    Call it before there are several.
    """
    if mallopt := getattr(libc, "mallopt", None):  # not every C library has such a setting
        mallopt(_M_ARENA_MAX, 1)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_unshare(flags), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """setns(2); ``fd`` is a namespace or, with several flags, a pidfd."""
    _check(_setns(fd, flags), "setns")


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Option data over 4 000 bytes is refused: the kernel cuts it silently at a page (seen)."""
    if len(data) > 4000:
        raise KernelError("mount", 7, target)  # E2BIG
    encode = os.fsencode
    _check(_mount(encode(source), encode(target), encode(fstype), flags, encode(data)), "mount", target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _check(_umount2(os.fsencode(target), flags), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _raw("pivot_root", _numbered("pivot_root"), os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def open_tree(path: str, flags: int, dir_fd: int = AT_FDCWD) -> int:
    """Open or clone a mount, open_tree(2); returns an O_PATH descriptor, close-on-exec."""
    encoded, all_flags = os.fsencode(path), c_uint(flags | OPEN_TREE_CLOEXEC)
    return _raw("open_tree", _OPEN_TREE, c_int(dir_fd), encoded, all_flags, path=path)


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the detached mount ``from_fd`` at ``to_fd``, move_mount(2)."""
    flags = c_uint(MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    _raw("move_mount", _MOVE_MOUNT, c_int(from_fd), b"", c_int(to_fd), b"", flags)


def fsopen(fstype: str) -> int:
    """fsopen(2); returns a file system context."""
    return _raw("fsopen", _FSOPEN, os.fsencode(fstype), c_uint(FSOPEN_CLOEXEC), path=fstype)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """Set one option, fsconfig(2) FSCONFIG_SET_STRING (values are at most 255 bytes)."""
    command, encoded = c_uint(FSCONFIG_SET_STRING), os.fsencode(value)
    _raw("fsconfig", _FSCONFIG, c_int(fd), command, key.encode(), encoded, c_int(0), path=key)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set one option without value, fsconfig(2) FSCONFIG_SET_FLAG."""
    _raw("fsconfig", _FSCONFIG, c_int(fd), c_uint(FSCONFIG_SET_FLAG), key.encode(), None, c_int(0), path=key)


def fsconfig_create(fd: int) -> None:
    """Create the superblock, fsconfig(2) FSCONFIG_CMD_CREATE."""
    _raw("fsconfig", _FSCONFIG, c_int(fd), c_uint(FSCONFIG_CMD_CREATE), None, None, c_int(0))


def fsmount(fd: int, attributes: int = 0) -> int:
    """Make a detached mount of a created context, fsmount(2); returns its O_PATH descriptor."""
    return _raw("fsmount", _FSMOUNT, c_int(fd), c_uint(FSMOUNT_CLOEXEC), c_uint(attributes))


def mount_setattr(fd: int, set_: int = 0, clear: int = 0, *, propagation: int = 0, flags: int = 0) -> None:
    """Change attributes of the mount at ``fd``, mount_setattr(2); ``flags`` may hold AT_RECURSIVE."""
    attr = _MountAttr(set_, clear, propagation, 0)
    given, size = ctypes.byref(attr), ctypes.c_size_t(ctypes.sizeof(attr))
    _raw("mount_setattr", _MOUNT_SETATTR, c_int(fd), b"", c_uint(flags | AT_EMPTY_PATH), given, size)


def openat2(dir_fd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """openat2(2); close-on-exec is added."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    while True:
        result = _syscall(c_long(_OPENAT2), c_int(dir_fd), os.fsencode(path), ctypes.byref(how), size)
        # EAGAIN: somebody renamed a component meanwhile, and the kernel cannot tell whether we would escape.
        if result >= 0 or ctypes.get_errno() not in (4, 11):
            return _check(int(result), "openat2", path)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2)."""
    _raw("close_range", _CLOSE_RANGE, c_uint(first), c_uint(last), c_uint(flags))


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """prctl(2)."""
    return _check(_prctl(option, arg2, arg3, 0, 0), "prctl", str(option))


def set_name(name: str) -> None:
    """Set the command name that ps shows, at most 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_prctl(PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0), "prctl", name)


def set_title(title: str) -> None:
    """Overwrite the arguments that ps shows of this process and its forks, as setproctitle(3) does."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc_pid_stat(5)
    if 0 < start < end:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, title.encode()[: end - start - 1], min(len(title.encode()), end - start - 1))


def capget() -> Capabilities:
    """capget(2) of the caller."""
    header, data = _CapHeader(_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    _check(_capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    low, high = data
    return Capabilities(
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(sets: Capabilities) -> None:
    """capset(2) of the caller."""
    header, data = _CapHeader(_CAPABILITY_VERSION_3, 0), (_CapData * 2)()
    for index in (0, 1):
        shift = 32 * index
        data[index] = _CapData(*((mask >> shift) & 0xFFFFFFFF for mask in sets))
    _check(_capset(ctypes.byref(header), ctypes.byref(data)), "capset")


def sethostname(name: str) -> None:
    """sethostname(2)."""
    encoded = name.encode()
    _check(_sethostname(encoded, len(encoded)), "sethostname", name)


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    encoded = name.encode()
    _check(_setdomainname(encoded, len(encoded)), "setdomainname", name)


def personality(persona: int) -> None:
    """personality(2)."""
    _check(_personality(persona), "personality")


def seccomp_filter(program: bytes, flags: int = 0) -> int:
    """Load a BPF program (array of ``struct sock_filter``), seccomp(2) SECCOMP_SET_MODE_FILTER."""
    prog = _SockFilterProgram(len(program) // 8, program)
    operation = c_uint(SECCOMP_SET_MODE_FILTER)
    return _raw("seccomp", _numbered("seccomp"), operation, c_uint(flags), ctypes.byref(prog))


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2) with a ready ``union bpf_attr``."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _raw("bpf", _numbered("bpf"), c_int(command), ctypes.byref(buffer), c_uint(len(attributes)))


def address_of(data: bytes) -> tuple[int, Any]:
    """Copy ``data`` to stable memory: (address, owner to keep alive), for attributes that hold pointers."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return ctypes.addressof(buffer), buffer


def join_session_keyring() -> None:
    """Give the caller a new anonymous session keyring, keyctl(2)."""
    _raw("keyctl", _numbered("keyctl"), c_int(_KEYCTL_JOIN_SESSION_KEYRING), None)


class _SchedAttr(ctypes.Structure):
    _fields_ = (
        ("size", c_uint), ("policy", c_uint), ("flags", c_uint64), ("nice", c_int), ("priority", c_uint),
        ("runtime", c_uint64), ("deadline", c_uint64), ("period", c_uint64),
    )  # fmt: skip


def set_scheduler(policy: int, flags: int, nice: int, priority: int, *deadline: int) -> None:
    """sched_setattr(2) of the caller; ``deadline`` are runtime, deadline and period in nanoseconds."""
    attr = _SchedAttr(ctypes.sizeof(_SchedAttr), policy, flags, nice, priority, *deadline)
    _raw("sched_setattr", _numbered("sched_setattr"), c_int(0), ctypes.byref(attr), c_uint(0))


def set_io_priority(priority: int) -> None:
    """ioprio_set(2) of the caller."""
    who_process = 1
    _raw("ioprio_set", _numbered("ioprio_set"), c_int(who_process), c_int(0), c_int(priority))


def set_memory_policy(mode: int, nodes: int) -> None:
    """set_mempolicy(2); ``nodes`` is a mask of at most 1 024 NUMA nodes."""
    words = (c_ulong * 16)(*((nodes >> 64 * index) & (2**64 - 1) for index in range(16)))
    # The kernel takes one bit less than it is told of.
    bits = c_ulong(1025 if nodes else 0)
    mask = ctypes.byref(words) if nodes else None
    _raw("set_mempolicy", _numbered("set_mempolicy"), c_int(mode), mask, bits)


def inotify_init() -> int:
    """inotify_init1(2); close-on-exec, and does not block."""
    return _check(_inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """inotify_add_watch(2); returns the watch descriptor."""
    return _check(_inotify_add_watch(fd, os.fsencode(path), mask), "inotify_add_watch", path)


def syncfs(fd: int) -> None:
    """Write everything of the file system that holds ``fd`` to disk, syncfs(2)."""
    _check(_syncfs(fd), "syncfs")


def fstatfs_type(fd: int) -> int:
    """The magic number of the file system that holds ``fd``, fstatfs(2)."""
    buffer = ctypes.create_string_buffer(256)  # more than a struct statfs, whose first word it is
    _check(_fstatfs(fd, ctypes.addressof(buffer)), "fstatfs")
    return c_long.from_buffer(buffer).value & 0xFFFFFFFF
