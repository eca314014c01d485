"""Content-addressed files: immutable, mode 0444, named by their sha256."""

from __future__ import annotations

import os
import uuid
from collections.abc import Set as AbstractSet
from glob import escape, iglob

from onggi.errors import DataLoss, KernelError, NotFound
from onggi.kernel.files import sync_directory, write_all
from onggi.oci.digest import hex_of, sha256
from onggi.store.layout import Layout, make_private

MAX_DOCUMENT = 8 << 20  # bytes of a config or manifest


class Blobs:
    """The blobs of one store. Blocking; call it from worker threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def path(self, digest: str) -> str:
        """Where a blob lies or would lie; raises InvalidArgument for a malformed digest before it becomes a
        path.
        """
        name = hex_of(digest)
        return f"{self._layout.blobs}/{name[:2]}/{name}"

    def put(self, data: bytes) -> str:
        """Keep some bytes and return their digest; durable when it returns. Idempotent."""
        digest = sha256(data)
        target = self.path(digest)
        if os.path.exists(target):
            return digest
        partial = f"{self._layout.ingest}/{uuid.uuid4().hex}"
        try:
            self._write(partial, data)
            make_private(os.path.dirname(target))
            os.rename(partial, target)
        except OSError as error:
            raise KernelError("write", error.errno or 0, target) from None
        sync_directory(os.path.dirname(target))
        sync_directory(self._layout.blobs)
        return digest

    def read(self, digest: str, limit: int = MAX_DOCUMENT) -> bytes:
        """The bytes of a small blob, verified. Raises NotFound, or DataLoss if they are not what the name
        says.
        """
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}") from None
        if len(data) > limit or sha256(data) != digest:
            raise DataLoss(f"blob {digest} is damaged")
        return data

    def remove(self, digest: str) -> None:
        """Delete a blob. Idempotent."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return  # gone already

    def remove_all_but(self, known: AbstractSet[str]) -> None:
        """Delete every blob that is not ``known``."""
        for path in iglob(f"{escape(self._layout.blobs)}/*/*"):
            if f"sha256:{os.path.basename(path)}" not in known:
                os.unlink(path)

    @staticmethod
    def _write(path: str, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, data)
            os.fchmod(fd, 0o444)
            os.fsync(fd)
        finally:
            os.close(fd)
