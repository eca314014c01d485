"""Content-addressed files: immutable, mode 0444, named by their sha256.

A file counts only with its row (``content``): one without is an orphan, which the next start puts aside.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from glob import escape, iglob

from onggi.errors import DataLoss, KernelError, NotFound
from onggi.kernel.failpoints import failpoint
from onggi.oci.digest import hex_of, sha256
from onggi.store.durable import sync_directory
from onggi.store.layout import Layout, make_private

MAX_DOCUMENT = 8 << 20  # bytes of a config or manifest


class Blobs:
    """The files of one store's blobs. Blocking; call it from worker threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def path(self, digest: str) -> str:
        """Where a blob lies or would lie; raises InvalidArgument for a malformed digest before it becomes a
        path.
        """
        name = hex_of(digest)
        return f"{self._layout.blobs}/{name[:2]}/{name}"

    def publish(self, partial: str, digest: str, *, durable: bool = True) -> None:
        """Give a complete, synced file of the same file system its name; durable when it returns.

        One that is not ``durable``, nor synced, never takes the place of another.
        """
        target = self.path(digest)
        parent = os.path.dirname(target)
        failpoint("store.blob.before_rename")
        make_private(parent)
        try:
            if durable:
                os.rename(partial, target)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(partial, target)
                os.unlink(partial)
        except OSError as error:
            raise KernelError("rename", error.errno or 0, target) from None
        failpoint("store.blob.after_rename")
        if not durable:
            return
        sync_directory(parent)
        sync_directory(self._layout.blobs)

    def read(self, digest: str, limit: int = MAX_DOCUMENT) -> bytes:
        """The bytes of a small blob, verified. Raises NotFound, KernelError, or DataLoss if they are not
        what the name says.
        """
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}") from None
        except OSError as error:
            raise KernelError("read", error.errno or 0, self.path(digest)) from None
        if len(data) > limit or sha256(data) != digest:
            raise DataLoss(f"blob {digest} is damaged")
        return data

    def files(self) -> Iterator[str]:
        """The paths of everything that lies among the blobs."""
        return iglob(f"{escape(self._layout.blobs)}/*/*")
