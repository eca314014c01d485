"""The steps that make files durable, under names by which a test can put one out of force and see it missed:
``store.sync.file``, ``store.sync.directory``, ``store.sync.tree``.
"""

from __future__ import annotations

import os

from onggi.kernel import files, syscalls
from onggi.kernel.failpoints import skipped


def sync_file(fd: int) -> None:
    """Make a file's data durable."""
    if not skipped("store.sync.file"):
        os.fsync(fd)


def sync_directory(path: str) -> None:
    """Make renames and new names in a directory durable."""
    if not skipped("store.sync.directory"):
        files.sync_directory(path)


def sync_tree(fd: int) -> None:
    """Make everything on the file system of ``fd`` durable."""
    if not skipped("store.sync.tree"):
        syscalls.syncfs(fd)
