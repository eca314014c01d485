"""Builds a container's root inside its own mount namespace, by descriptor, and moves into it.

Runs in the container's first process, in the order: ``trees.clone_sources`` (still in the engine's
namespace), ``kernel.mounts.enter_private``, ``Builder.build``, ``Builder.enter``.
Everything mounted here lives in the container's namespace only and dies with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from onggi.errors import InvalidArgument, KernelError, OnggiError
from onggi.kernel import mounts, netns, syscalls, terminal
from onggi.kernel.paths import make_dirs_in, make_file_in, open_beneath, open_in
from onggi.runtime import sysctl
from onggi.runtime.plan import (
    Bind,
    Console,
    Device,
    Domainname,
    Filesystem,
    HidePath,
    Hostname,
    LoopbackUp,
    Op,
    Part,
    ReadOnlyPath,
    RemountReadOnly,
    Root,
    Symlink,
    Sysctl,
    WorkingDirectory,
)
from onggi.runtime.shelf import Shelf
from onggi.runtime.trees import mount_root

_NODE_TYPES = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_STRICT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS


class Builder:
    """Executes the operations of a plan below one root descriptor.

    ``console`` is called with (master, slave) when the plan opens a terminal.
    """

    def __init__(self, sources: list[int], console: Callable[[int, int], None], shelf: Shelf) -> None:
        self.sources, self.console, self.shelf = sources, console, shelf
        self.root_fd = -1
        self.proc_fd = -1
        self.step = "root"
        self._null = _verified_null()

    def build(self, root: Root, ops: Sequence[Op]) -> None:
        """Mount the root and execute every operation; KernelError.step names the one that failed."""
        self.root_fd = mount_root(root)
        for op in ops:
            self.step = type(op).__name__.lower()
            _EXECUTE[type(op)](self, op)
        self.step = "root"
        if root.readonly:
            mounts.set_attributes(self.root_fd, syscalls.MOUNT_ATTR_RDONLY)

    def enter(self, propagation: int, *, pivot: bool = True) -> None:
        """pivot_root into the root and forget the engine's tree; without ``pivot`` (a root on a ramdisk) it
        is moved over ``/``.
        """
        self.step = "pivot_root"
        os.fchdir(self.root_fd)
        if pivot:
            syscalls.pivot_root(".", ".")
            # The old root is now stacked on the new one; detaching it takes every mount of the host along.
            syscalls.umount(".", syscalls.MNT_DETACH)
        else:
            syscalls.mount(".", "/", "", syscalls.MS_MOVE)
            os.chroot(".")
        os.chdir("/")
        if propagation:
            syscalls.mount("", "/", "", propagation)

    # -- mounts --------------------------------------------------------------------------------------------

    def filesystem(self, op: Filesystem) -> None:
        target = self._directory(op)
        try:
            fd = self._new_filesystem(op)
            if op.fstype == "proc" and self.proc_fd < 0:
                self.proc_fd = fd
            if op.copy_up:
                _copy_up(target, fd)
            mounts.attach(fd, target)
            _propagate(fd, op.propagation)
            if fd != self.proc_fd:
                os.close(fd)
        finally:
            os.close(target)

    def _new_filesystem(self, op: Filesystem) -> int:
        made = self.shelf.take(op)
        if made is not None:
            return made
        return mounts.filesystem(op.fstype, op.source, op.options, op.attributes)

    def _directory(self, op: Filesystem) -> int:
        if not op.strict:
            return make_dirs_in(self.root_fd, op.target)
        # /proc, /sys and /dev must be real directories: a link there moved mounts elsewhere again and again
        # (CVE-2015-1335, 2019-19921, 2023-27561, 2026-41579).
        try:
            return syscalls.openat2(self.root_fd, op.target, os.O_PATH | os.O_DIRECTORY, 0, _STRICT)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return make_dirs_in(self.root_fd, op.target)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidArgument(
                    f"{op.target} in the root file system is not a real directory"
                ) from None
            raise

    def bind(self, op: Bind) -> None:
        tree = self.sources[op.source]
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        target = (make_dirs_in if is_directory else make_file_in)(self.root_fd, op.target)
        try:
            _check_kinds(target, is_directory, op.target)
            mounts.attach(tree, target)
            if op.set or op.clear:
                mounts.set_attributes(tree, op.set, op.clear)
            if op.recursive_set or op.recursive_clear:
                mounts.set_attributes(tree, op.recursive_set, op.recursive_clear, recursive=True)
            _propagate(tree, op.propagation)
        finally:
            os.close(target)
            os.close(tree)

    def hide(self, op: HidePath) -> None:
        target = self._existing(op.path)
        if target < 0:
            return
        try:
            if stat.S_ISDIR(os.fstat(target).st_mode):
                mounts.attach(self._empty_directory(), target)
            else:
                mounts.attach(mounts.clone_tree("", self._null), target)
        finally:
            os.close(target)

    def _empty_directory(self) -> int:
        return mounts.filesystem("tmpfs", "tmpfs", (("size", "0"),), syscalls.MOUNT_ATTR_RDONLY)

    def readonly_path(self, op: ReadOnlyPath) -> None:
        target = self._existing(op.path)
        if target < 0:
            return
        tree = mounts.clone_tree("", target)
        mounts.set_attributes(tree, syscalls.MOUNT_ATTR_RDONLY, recursive=True)
        mounts.attach(tree, target)
        os.close(tree)
        os.close(target)

    def remount_readonly(self, op: RemountReadOnly) -> None:
        fd = open_in(self.root_fd, op.path, os.O_PATH)
        mounts.set_attributes(fd, syscalls.MOUNT_ATTR_RDONLY)
        os.close(fd)

    def _existing(self, path: str) -> int:
        try:
            return open_in(self.root_fd, path, os.O_PATH)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                return -1
            raise

    # -- nodes ---------------------------------------------------------------------------------------------

    def symlink(self, op: Symlink) -> None:
        parent, name = self._parent(op.path)
        try:
            os.symlink(op.target, name, dir_fd=parent)
        except FileExistsError:
            pass  # the image brings its own
        finally:
            os.close(parent)

    def device(self, op: Device) -> None:
        parent, name = self._parent(op.path)
        try:
            self._make_node(parent, name, op)
        finally:
            os.close(parent)

    def _make_node(self, parent: int, name: str, op: Device) -> None:
        node_type, number = _NODE_TYPES[op.kind], os.makedev(op.major, op.minor)
        try:
            os.mknod(name, node_type | op.mode, number, dir_fd=parent)
        except FileExistsError:
            info = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(info.st_mode) == node_type and (op.kind == "p" or info.st_rdev == number):
                return
            raise KernelError("mknod", errno.EEXIST, op.path, "device") from None
        os.chmod(name, op.mode, dir_fd=parent)  # whatever the umask
        os.chown(name, op.uid, op.gid, dir_fd=parent, follow_symlinks=False)

    def _parent(self, path: str) -> tuple[int, str]:
        directory, _, name = path.rstrip("/").rpartition("/")
        return make_dirs_in(self.root_fd, directory or "/"), name

    def open_console(self, op: Console) -> None:
        master, slave = terminal.open_pair(self.root_fd)
        if op.rows or op.columns:
            terminal.set_size(master, op.rows, op.columns)
        target = make_file_in(self.root_fd, "/dev/console", 0o600)
        # The node that was opened is bound, not a name below /dev/pts (CVE-2025-52565).
        mounts.attach(mounts.clone_tree("", slave), target)
        os.close(target)
        self.console(master, slave)

    def working_directory(self, op: WorkingDirectory) -> None:
        with contextlib.suppress(OnggiError):  # the chdir that follows says what is wrong with it
            os.close(make_dirs_in(self.root_fd, op.path))

    # -- the container's own kernel state ------------------------------------------------------------------

    def sysctl(self, op: Sysctl) -> None:
        if self.proc_fd < 0:
            self.proc_fd = mounts.filesystem("proc", "proc")
        sysctl.write(self.proc_fd, op.key, op.value)

    def hostname(self, op: Hostname) -> None:
        syscalls.sethostname(op.name)

    def domainname(self, op: Domainname) -> None:
        syscalls.setdomainname(op.name)

    def loopback_up(self, _: LoopbackUp) -> None:
        netns.loopback_up()


def _narrow(builder: Builder, op: Part) -> None:
    # Only what is attached can be cloned in part: the tree lies on the root meanwhile, seen by nobody.
    tree = builder.sources[op.source]
    mounts.attach(tree, builder.root_fd)
    try:
        fd = open_beneath(tree, op.path, os.O_PATH)
        builder.sources[op.source] = mounts.clone_tree("", fd)
        os.close(fd)
    except KernelError as error:
        if error.errno == errno.EXDEV:
            words = f"path concatenation escapes the base directory, subpath: {op.path}"
        else:
            words = f"cannot access path {op.path}: {os.strerror(error.errno).lower()}"
        raise InvalidArgument(words) from None
    finally:
        syscalls.umount(f"/proc/self/fd/{tree}", syscalls.MNT_DETACH)
        os.close(tree)


_EXECUTE: dict[type[Any], Callable[[Builder, Any], None]] = {
    Filesystem: Builder.filesystem,
    Bind: Builder.bind,
    Part: _narrow,
    HidePath: Builder.hide,
    ReadOnlyPath: Builder.readonly_path,
    RemountReadOnly: Builder.remount_readonly,
    Symlink: Builder.symlink,
    Device: Builder.device,
    Console: Builder.open_console,
    Sysctl: Builder.sysctl,
    Hostname: Builder.hostname,
    Domainname: Builder.domainname,
    LoopbackUp: Builder.loopback_up,
    WorkingDirectory: Builder.working_directory,
}


def _propagate(fd: int, flags: int) -> None:
    if flags:
        recursive = bool(flags & syscalls.MS_REC)
        mounts.set_attributes(fd, propagation=flags & ~syscalls.MS_REC, recursive=recursive)


def _check_kinds(target: int, is_directory: bool, path: str) -> None:
    if stat.S_ISDIR(os.fstat(target).st_mode) != is_directory:
        raise KernelError("mount", errno.ENOTDIR, path, "bind")


def _verified_null() -> int:
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    info = os.fstat(fd)
    # CVE-2025-31133: what masks files must be the null device itself, never a link to something else.
    if not stat.S_ISCHR(info.st_mode) or info.st_rdev != os.makedev(1, 3):
        raise KernelError("open", errno.ENODEV, "/dev/null", "mask")
    return fd


def _copy_up(source_fd: int, tmpfs_fd: int) -> None:
    """Copy what the image has at a mount point into the new tmpfs (the ``tmpcopyup`` option): modes, owners,
    links.
    """
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source_fd)
    writing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tmpfs_fd)
    try:
        info = os.fstat(reading)
        os.fchown(writing, info.st_uid, info.st_gid)
        os.fchmod(writing, stat.S_IMODE(info.st_mode))
        for name in os.listdir(reading):
            _copy_entry(reading, writing, name)
    finally:
        os.close(reading)
        os.close(writing)


def _copy_entry(source: int, target: int, name: str) -> None:
    info = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        from_fd, to_fd = os.open(name, flags, dir_fd=source), os.open(name, flags, dir_fd=target)
        _copy_up(from_fd, to_fd)
        os.close(from_fd)
        os.close(to_fd)
    elif stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISREG(info.st_mode):
        _copy_file(source, target, name, info)


def _copy_file(source: int, target: int, name: str, info: os.stat_result) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source)
    writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
    while chunk := os.read(reading, 1 << 16):
        os.write(writing, chunk)
    os.fchown(writing, info.st_uid, info.st_gid)
    os.fchmod(writing, stat.S_IMODE(info.st_mode))
    os.close(reading)
    os.close(writing)
