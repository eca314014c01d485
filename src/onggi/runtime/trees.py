"""What a container's root is made of: the root itself, and detached mounts of what binds will show.

Sources are cloned while the process is still in the engine's namespace, so that binds keep their propagation;
the root is attached in the container's own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import mounts, syscalls
from onggi.kernel.files import read_small
from onggi.kernel.paths import open_in
from onggi.runtime import masks
from onggi.runtime.plan import Overlay, Root, Source


def clone_sources(sources: Sequence[Source], overlay_append: bool) -> list[int]:
    """Detached mounts of what binds will show."""
    return [_clone_source(source, overlay_append) for source in sources]


def _clone_source(source: Source, overlay_append: bool) -> int:
    if source.lowers:
        return _layers(source.lowers, overlay_append)
    if source.fstype:
        return _mount_outside(source)
    words = source.path.split("/", 4)
    if len(words) == 5 and words[1] == "proc" and words[2].isdigit() and words[3] == "root":
        return _clone_foreign(int(words[2]), f"/{words[4]}", source.recursive)
    return mounts.clone_tree(source.path, recursive=source.recursive)


def _layers(lowers: Sequence[str], append: bool) -> int:
    return mounts.overlay(lowers, append=append) if len(lowers) > 1 else _one_layer(lowers[0])


def _one_layer(lower: str) -> int:
    """What the kernel takes no overlay of: a single layer without an upper directory."""
    tree = mounts.clone_tree(lower, recursive=False)
    mounts.set_attributes(tree, syscalls.MOUNT_ATTR_RDONLY)
    return tree


def _mount_outside(source: Source) -> int:
    """A new mount that speaks through the engine's network (NFS), which a spare has left already."""
    status = read_small("/proc/self/status").decode()
    parent = next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:"))
    places = (f"/proc/{parent}/ns/net", "/proc/self/ns/net")
    outside, own = (os.open(place, os.O_RDONLY | os.O_CLOEXEC) for place in places)
    try:
        syscalls.setns(outside, syscalls.CLONE_NEWNET)
        try:
            return mounts.filesystem(source.fstype, source.path, source.options, source.attributes)
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNET)
    except KernelError as error:
        reason = os.strerror(error.errno).lower()
        raise InvalidArgument(f"{source.what}: {reason}") from None
    finally:
        os.close(outside)
        os.close(own)


def _clone_foreign(pid: int, path: str, recursive: bool) -> int:
    """A tree of another container (``--ipc container:ID``): open_tree(2) copies from the own namespace only.

    The path is resolved with that namespace's root, so that a link there cannot lead to the host.
    """
    foreign = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with mounts.inside(foreign):
            return mounts.clone_tree(path, recursive=recursive)
    finally:
        os.close(foreign)


def mount_root(root: Root) -> int:
    """Attach the root at its target, in the caller's mount namespace, and return its descriptor."""
    if root.directory:
        fd = mounts.clone_tree(root.directory)
        _attach_at(fd, root.target)
        return fd
    first, *others = root.overlays
    fd = _mount_overlay(root, first, root.target)
    for overlay in others:
        target = open_in(fd, overlay.target, os.O_PATH | os.O_DIRECTORY)
        os.close(_mount_overlay(root, overlay, f"/proc/self/fd/{target}"))
        os.close(target)
    return fd


def _mount_overlay(root: Root, overlay: Overlay, target: str) -> int:
    """Attach an overlay at ``target`` and return its descriptor.

    Masks and base are attached there before it, as older kernels take no detached layer, but are named by
    descriptor: ``target`` may be one itself, and such a name never leads into what is mounted on it.
    """
    *above, last = overlay.lowers
    append, base = root.overlay_append, [last]
    with contextlib.ExitStack() as opened:
        if overlay.masks:
            layer = masks.build_layer(overlay.masks, last)
            opened.callback(os.close, layer)
            _attach_at(layer, target)
            base = [f"/proc/self/fd/{layer}", last]
        if overlay.nested:
            # The kernel refuses a layer that lies below another one's root; behind an overlay of its own it
            # does not see it.
            view = mounts.overlay(base, append=append)
            opened.callback(os.close, view)
            _attach_at(view, target)
            base = [f"/proc/self/fd/{view}"]
        lowers = [*above, *base]
        if not overlay.upper and len(lowers) == 1:
            fd = _one_layer(lowers[0])
        else:
            upper, work, volatile = overlay.upper, overlay.work, overlay.volatile
            fd = mounts.overlay(lowers, upper, work, append=append, volatile=volatile)
        _attach_at(fd, target)
    return fd


def _attach_at(mount_fd: int, target: str) -> None:
    fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts.attach(mount_fd, fd)
    finally:
        os.close(fd)
