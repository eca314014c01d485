"""The ``host`` image: an instant copy-on-write view of the machine, without its secrets.

The view is live, not frozen. It is made of one overlay for ``/`` and one for every other file system of the
machine that holds shown directories; what is hidden is a layer (``rootfs.Mask``), never a mount, so that
copying and committing see what the container sees. The engine's own directories are always hidden.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from onggi.errors import InvalidArgument, NotFound, Unsupported
from onggi.kernel.mounts import Mount, mountinfo
from onggi.oci.image import DEFAULT_PATH
from onggi.oci.platform import local
from onggi.store import host_rules
from onggi.store.host_scan import Scanner
from onggi.store.rootfs import Mask, Overlay

Json = Any
_REFRESH_S = 300.0
_KERNEL_TREES = ("/proc", "/sys", "/dev")
_PSEUDO = frozenset(
    (
        "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "tracefs", "debugfs",
        "securityfs", "bpf", "nsfs", "pstore", "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs",
        "rpc_pipefs",
        "efivarfs", "selinuxfs",
    )
)  # fmt: skip


class HostView:
    """Plans overlays of the machine. Thread-safe; a call waits while another scans."""

    def __init__(self, scanner: Scanner, engine_directories: Sequence[str]) -> None:
        """``engine_directories`` (data root, run directory) are never shown, whatever is asked for."""
        self._scanner = scanner
        self._engine = tuple(sorted({os.path.realpath(path) for path in engine_directories}))
        self._lock = threading.Lock()
        self._masks: list[Mask] | None = None
        self._stale = False
        self._scanned_at = float("-inf")
        self._plans: dict[tuple[str, ...], list[Overlay]] = {}
        self._mounts_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._mounts_fd, select.POLLPRI)

    def close(self) -> None:
        """Give descriptors back."""
        os.close(self._mounts_fd)
        self._scanner.close()

    def refresh(self) -> None:
        """Scan the shown trees while nothing else wants the processor; about a second on a large machine the
        first time, then some 50 ms. For a worker thread.
        """
        with self._lock:
            self._scan_all()

    def cached(self, show: Sequence[str] = ()) -> list[Overlay] | None:
        """``overlays`` where they are known and nothing changed since, in microseconds; None where they
        must be planned.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._notice()
            return None if self._stale else self._plans.get(tuple(show))
        finally:
            self._lock.release()

    def aged(self) -> bool:
        """Whether the last full scan is so old that somebody should call ``refresh`` beside the work."""
        return time.monotonic() - self._scanned_at > _REFRESH_S

    def overlays(self, show: Sequence[str] = ()) -> list[Overlay]:
        """The view's overlays without upper directories, ``/`` first. ``show`` are directories to show
        besides.

        May take as long as ``refresh``. Raises InvalidArgument, NotFound or Unsupported for a path that
        cannot be shown.
        """
        self._scanner.hurry()
        with self._lock:
            self._notice()
            if self._masks is None:
                self._scan_all()
            elif self._stale:
                self._rescan()
            key = tuple(show)
            if key not in self._plans:
                paths = tuple(sorted({_canonical(path) for path in show}))
                self._plans[key] = plan(self._masks or [], self._scanner, mountinfo(), paths, self._engine)
            return self._plans[key]

    def _notice(self) -> None:
        """Learn what changed: each report of the kernel is given only once."""
        mounts, files = bool(self._poll.poll(0)), self._scanner.dirty()
        self._stale = self._stale or mounts or files

    def _scan_all(self) -> None:
        self._scanner.dirty()
        self._stale = False
        self._masks = self._scanner.whole()
        self._scanned_at = time.monotonic()
        self._plans.clear()

    def _rescan(self) -> None:
        """Read again what is watched; the rest of the masks stays."""
        self._stale = False
        self._masks = self._scanner.again(self._masks or [])
        self._plans.clear()


def plan(
    masks: Sequence[Mask],
    scanner: Scanner,
    mounts: Sequence[Mount],
    show: tuple[str, ...],
    engine: tuple[str, ...],
) -> list[Overlay]:
    """Combine masks of the shown trees, of everything beside them, and of the engine; one overlay per file
    system.
    """
    for path in show:
        _check_showable(path)
    shown = (*host_rules.SHOWN, "/") if "/" in show else host_rules.SHOWN
    wanted = [mask for mask in masks if not host_rules.covers(show, mask.path)]
    beside = _kernel_trees() if "/" in show else [*scanner.beside(shown), *_skeleton()]
    targets = _targets(mounts, shown, show, engine)
    merged = {mask.path: mask for mask in (*wanted, *beside)}
    for path in targets:
        if not host_rules.covers(shown, path) and path != "/":
            merged[path] = Mask("opaque", path)  # an empty directory, where an overlay of its own will be
    for path in engine:
        if _visible(path, merged.values(), targets):
            merged[path] = Mask("opaque", path)
    return [_overlay(target, targets, merged.values(), mounts) for target in targets]


def _visible(path: str, masks: Iterable[Mask], targets: Sequence[str]) -> bool:
    """Whether no opaque directory above hides ``path`` in its overlay already (its very name would be
    shown).
    """
    inside = _owner(path, targets).rstrip("/") + "/"
    above = (mask.path for mask in masks if mask.kind == "opaque" and mask.path.startswith(inside))
    return not any(path.startswith(other + "/") for other in above)


def _targets(
    mounts: Sequence[Mount], shown: tuple[str, ...], show: tuple[str, ...], engine: tuple[str, ...]
) -> list[str]:
    """Where overlays are needed: the root, every other real file system in shown trees, and what is shown
    besides.
    """
    found = {
        it.target
        for it in mounts
        if it.fstype not in _PSEUDO and host_rules.covers((*shown, *show), it.target)
    }
    found |= {path for path in show if not host_rules.covers(shown, path)}
    never = (*_KERNEL_TREES, *engine)
    return [
        "/",
        *sorted(path for path in found - {"/"} if not host_rules.covers(never, path) and os.path.isdir(path)),
    ]


def _overlay(target: str, targets: Sequence[str], masks: Iterable[Mask], mounts: Sequence[Mount]) -> Overlay:
    mine = [
        Mask(mask.kind, _relative(mask.path, target))
        for mask in masks
        if _owner(mask.path, targets) == target
    ]
    stacked = any(mount.target == target and mount.fstype == "overlay" for mount in mounts)
    # Two steps cost nothing measurable and work where a kernel refuses an upper directory below its own
    # lower; on a root that is an overlay itself a second step would exceed the kernel's depth of two.
    return Overlay(
        target, [target], masks=sorted(mine, key=lambda mask: mask.path), nested=bool(mine) and not stacked
    )


def _owner(path: str, targets: Sequence[str]) -> str:
    """The overlay in which a mask is made: the innermost that holds the path, or for a target itself the
    one around it.
    """
    return max(
        (target for target in targets if target != path and host_rules.covers((target,), path)),
        key=len,
        default="/",
    )


def _relative(path: str, target: str) -> str:
    return path if target == "/" else path[len(target) :]


def _skeleton() -> list[Mask]:
    return [Mask("opaque", path) for path in host_rules.SKELETON]


def _kernel_trees() -> list[Mask]:
    return [Mask("opaque", path) for path in _KERNEL_TREES]


def _canonical(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid path to show: {path!r} is not absolute")
    return os.path.realpath(path)


def _check_showable(path: str) -> None:
    if path != "/" and host_rules.covers(_KERNEL_TREES, path):
        raise InvalidArgument(f"invalid path to show: {path} belongs to the kernel, a container has its own")
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        raise NotFound(f"no such file or directory to show: {path}") from None
    if not stat.S_ISDIR(mode) and not host_rules.covers(host_rules.SHOWN, path):
        raise Unsupported(f"cannot show {path}: outside /etc, /opt and /usr only directories can be shown")


def image_config() -> Json:
    """The OCI image config of ``host``: no layers, a shell as command, and not a byte of anybody's
    environment.
    """
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    return {
        "architecture": local().architecture,
        "os": "linux",
        "config": {"Env": [DEFAULT_PATH], "Cmd": [shell], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": "onggi: view of the host"}],
    }
