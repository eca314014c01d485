"""Mounts made by descriptor (rule R2): created detached, then attached to a directory that was opened, never
to a name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import syscalls
from onggi.kernel.files import read_small

MAX_LAYERS = 127  # docker's limit
_FSCONFIG_MAX = 255
# Distributions ship other defaults; with these an upper directory is a complete diff that needs no
# interpreter.
_OVERLAY_OPTIONS = (("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off"))


class Mount(NamedTuple):
    """One line of proc_pid_mountinfo(5)."""

    id: int
    parent: int
    device: str
    root: str
    target: str
    fstype: str
    source: str
    options: str
    super_options: str
    propagation: str


def mountinfo(text: str | None = None) -> list[Mount]:
    """The mounts of the caller's namespace, in the kernel's order."""
    if text is None:
        text = os.fsdecode(read_small("/proc/self/mountinfo", 1 << 24))
    return [_parse(line) for line in text.splitlines()]


def _parse(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    id_, parent, device, root, target, options, *optional = left.split(" ")
    fstype, source, super_options = [*right.split(" "), "", ""][:3]
    names = (_unescape(root), _unescape(target), fstype, _unescape(source))
    return Mount(int(id_), int(parent), device, *names, options, super_options, " ".join(optional))


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def filesystem(
    fstype: str, source: str = "", options: Iterable[tuple[str, str]] = (), attributes: int = 0
) -> int:
    """Make a detached mount of a new superblock; options without value have ``""``. Its descriptor."""
    context = syscalls.fsopen(fstype)
    try:
        if source:
            syscalls.fsconfig_string(context, "source", source)
        for key, value in options:
            if value:
                syscalls.fsconfig_string(context, key, value)
            else:
                syscalls.fsconfig_flag(context, key)
        try:
            syscalls.fsconfig_create(context)
        except KernelError as error:
            raise KernelError("mount", error.errno, fstype) from None
        return syscalls.fsmount(context, attributes)
    finally:
        os.close(context)


def overlay(
    lowers: Sequence[str], upper: str = "", work: str = "", *, append: bool = True, volatile: bool = False
) -> int:
    """Make a detached overlay mount; ``lowers`` are top first, at most 127; without ``upper`` it is read-
    only.

    ``append`` says whether the kernel takes layers one by one (``lowerdir+``, Linux 6.7). A ``volatile`` one
    syncs nothing, not even when it is unmounted, and marks its work directory: it is refused a second time.
    """
    if not 1 <= len(lowers) <= MAX_LAYERS:
        raise InvalidArgument(f"an overlay takes 1 to {MAX_LAYERS} layers, not {len(lowers)}")
    opened: list[int] = []
    try:
        short = [_short(path, opened, force=not append) for path in lowers]
        layers = [("lowerdir+", path) for path in short] if append else [("lowerdir", ":".join(short))]
        writable = [("upperdir", _short(upper, opened)), ("workdir", _short(work, opened))] if upper else []
        extra = [("volatile", "")] if volatile and upper else []
        # `lowerdir` comes first: whatever a kernel may cut off, it cannot invent a layer.
        return filesystem("overlay", "overlay", [*layers, *writable, *_OVERLAY_OPTIONS, *extra])
    finally:
        for fd in opened:
            os.close(fd)


def _short(path: str, opened: list[int], force: bool = False) -> str:
    """The path, or a name of its descriptor where fsconfig(2) could not take it (over 255 bytes, or a ``:``
    in a list).
    """
    if len(os.fsencode(path)) <= _FSCONFIG_MAX and not (force and ":" in path):
        return path
    opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    return f"/proc/self/fd/{opened[-1]}"


@contextlib.contextmanager
def inside(namespace_fd: int) -> Iterator[None]:
    """Be in another mount namespace, where paths begin at its root, and come back to ours and its root."""
    own_fd, root_fd = (os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/self/ns/mnt", "/"))
    try:
        syscalls.setns(namespace_fd, syscalls.CLONE_NEWNS)
        try:
            yield
        finally:
            syscalls.setns(own_fd, syscalls.CLONE_NEWNS)
            os.fchdir(root_fd)
            os.chroot(".")
    finally:
        os.close(own_fd)
        os.close(root_fd)


def clone_tree(path: str, dir_fd: int = syscalls.AT_FDCWD, *, recursive: bool = True) -> int:
    """A detached copy of the mount tree at ``path`` (``""`` with ``dir_fd``: that descriptor itself)."""
    flags = syscalls.OPEN_TREE_CLONE | (syscalls.AT_RECURSIVE if recursive else 0)
    return syscalls.open_tree(path, flags | (0 if path else syscalls.AT_EMPTY_PATH), dir_fd)


def attach(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount on the directory or file that ``target_fd`` is."""
    syscalls.move_mount(mount_fd, target_fd)


def set_attributes(
    mount_fd: int, set_: int = 0, clear: int = 0, *, propagation: int = 0, recursive: bool = False
) -> None:
    """mount_setattr(2) on a mount's descriptor; a new access-time policy replaces the old one."""
    if set_ & syscalls.MOUNT_ATTR__ATIME or clear & syscalls.MOUNT_ATTR__ATIME:
        clear |= syscalls.MOUNT_ATTR__ATIME
    flags = syscalls.AT_RECURSIVE if recursive else 0
    syscalls.mount_setattr(mount_fd, set_, clear, propagation=propagation, flags=flags)


def enter_private() -> None:
    """Leave the caller's mount namespace: mounts made from now on stay here, later mounts of the host still
    arrive.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_SLAVE | syscalls.MS_REC)
