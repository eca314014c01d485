"""The directories of the store, made with explicit modes whatever the umask (rule R22).

<data-root>/                      0700
  blobs/sha256/ab/abcd…           immutable, 0444, name = digest
  ingest/<digest>                 partial blobs that are continued, also by the next process
  ingest/tmp-<n>                  partial blobs that are not; removed at start
  snapshots/overlay/<n>/fs        unpacked layer, or upper directory of a container
  snapshots/overlay/<n>/work      overlayfs' work directory, containers only
  snapshots/overlay/<n>/mounts/<digest of target>/{fs,work}     other file systems of a `host` container
  snapshots/copy/<n>/fs           the same of a store that cannot mount overlays
  mountpoints/<digest>            see mountpoints
  trash/<n>                       trees that no row names any more, being deleted
  host-key                        seals images that stand on the `host` view
  host-masks.json                 cache of what the `host` image hides
  meta.db                         every fact
  meta.db-reserve                 room that is given back to a full disk by what makes room
"""

from __future__ import annotations

import os

import msgspec

from onggi.errors import KernelError

_PRIVATE = 0o700


class Layout(msgspec.Struct, frozen=True):
    """Paths below one data root; ``snapshots_of`` is the kind of snapshots it keeps."""

    root: str
    snapshots_of: str = "overlay"

    @property
    def database(self) -> str:
        return f"{self.root}/meta.db"

    @property
    def blobs(self) -> str:
        return f"{self.root}/blobs/sha256"

    @property
    def ingest(self) -> str:
        return f"{self.root}/ingest"

    @property
    def snapshots(self) -> str:
        return f"{self.root}/snapshots/{self.snapshots_of}"

    @property
    def trash(self) -> str:
        return f"{self.root}/trash"

    @property
    def mountpoints(self) -> str:
        return f"{self.root}/mountpoints"

    @property
    def host_masks(self) -> str:
        return f"{self.root}/host-masks.json"

    @property
    def host_key(self) -> str:
        """The key that seals images committed from ``host``."""
        return f"{self.root}/host-key"

    def snapshot(self, number: int) -> str:
        """The directory of one snapshot."""
        return f"{self.snapshots}/{number}"

    def create(self) -> None:
        """Make every directory that is absent, and take rights of group and others away from those that
        exist.
        """
        names = ("", "/blobs", "/blobs/sha256", "/ingest", "/trash", "/mountpoints", "/snapshots")
        if not os.path.isdir(self.root):
            os.makedirs(self.root, exist_ok=True)
        for name in (*names, f"/snapshots/{self.snapshots_of}"):
            make_private(self.root + name)


def make_private(path: str) -> None:
    """A directory of mode 0700, made or corrected; raises KernelError."""
    try:
        try:
            os.mkdir(path, _PRIVATE)
        except FileExistsError:
            pass  # from an earlier start
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, path) from None
    try:
        os.fchmod(fd, _PRIVATE)
    finally:
        os.close(fd)
