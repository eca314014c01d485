"""The job that fills a volume from an image: it mounts the image's root in a mount namespace of its own,
gives up its rights, and copies one directory of it.
"""

from __future__ import annotations

import os
from errno import ENOENT, ENOTDIR
from typing import Any

from onggi.archive.confine import WRITER, confine
from onggi.archive.merging import copy_directory
from onggi.errors import KernelError
from onggi.kernel import mounts
from onggi.kernel.paths import open_in
from onggi.runtime import plan as plans
from onggi.runtime.trees import mount_root

Json = Any


def copy_up(fds: list[int], arguments: Json) -> Json:
    """Copy the directory ``path`` of a root into the directory ``fds[0]`` if that is empty.

    ``arguments``: ``root`` (a plan's root, without upper directories) and ``path``. The answer's ``kind`` is
    what the path leads to: ``directory``, ``other`` or ``absent``.
    """
    (target,) = fds
    mounts.enter_private()
    root = mount_root(plans.load_root(arguments["root"]))
    try:
        source = open_in(root, arguments["path"], os.O_RDONLY | os.O_DIRECTORY)
    except KernelError as error:
        kinds = {ENOENT: "absent", ENOTDIR: "other"}
        if error.errno not in kinds:
            raise
        return {"kind": kinds[error.errno]}
    confine(target, WRITER._replace(files=2304))  # two for each directory on the deepest path
    try:
        if not os.listdir(target):
            copy_directory(source, target)
    except OSError as error:
        raise KernelError("copy", error.errno or 0, str(error.filename or "")) from None
    return {"kind": "directory"}
