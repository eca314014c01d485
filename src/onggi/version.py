"""Who we are: version for people, build for processes of different builds that meet after an upgrade.

Standard library only; every process of the engine loads it.
"""

from __future__ import annotations

import os
import zlib
from functools import cache

from onggi import __version__

VERSION = __version__
MINIMUM_API, API = "1.24", "1.51"


@cache
def build_id() -> str:
    """A short name of the installed source, from names, sizes and times of its files (a few milliseconds)."""
    root, digest = os.path.dirname(os.path.abspath(__file__)), 0
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            if name.endswith(".py"):
                status = os.stat(os.path.join(directory, name))
                fact = f"{directory[len(root) :]}/{name} {status.st_size} {status.st_mtime_ns}\n"
                digest = zlib.crc32(fact.encode(), digest)
    return f"{VERSION}-{digest:08x}"
