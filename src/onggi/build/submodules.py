"""Submodules of a repository: what .gitmodules says, which nobody trusts, and where their files go.

Nothing of it is ever a setting of git's: addresses and commits are checked like those of a person, each
submodule is a repository of its own in a directory of its own, and its files are moved to their place behind
git's work (rule R26, docs/decisions/0135).
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import files, paths

_KEY = re.compile(r"submodule\.(?P<name>.*)\.(?P<member>path|url|update)", re.DOTALL)
_ENTRY = re.compile(rb"160000 commit ([0-9a-f]{40}(?:[0-9a-f]{24})?)\t", re.DOTALL)


class Module(NamedTuple):
    """Where a submodule's files go, and where they are from."""

    path: str
    url: str


def modules(listed: bytes) -> list[Module]:
    """What ``git config -z`` has listed of .gitmodules; what is not to be updated is left out. Raises
    InvalidArgument.
    """
    *lines, rest = listed.split(b"\0")
    if rest:
        raise InvalidArgument(f"invalid .gitmodules: {os.fsdecode(rest.strip()[:200])}")
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        key, _, value = os.fsdecode(line).partition("\n")
        if match := _KEY.fullmatch(key):
            found.setdefault(match["name"], {})[match["member"]] = value
    wanted = [it for it in found.values() if it.get("path") and it.get("update") != "none"]
    by_path = {it["path"]: Module(it["path"], it.get("url", "")) for it in wanted}
    for path in by_path:
        if any(part.lower() in ("", ".", "..", ".git") for part in path.split("/")):
            raise InvalidArgument(f"invalid path of a submodule: {path[:200]!r}")
    return list(by_path.values())


def commit(listed: bytes) -> str:
    """The commit that ``git ls-tree -z`` has listed for a path; empty if a submodule is not what is there."""
    match = _ENTRY.match(listed)
    return match[1].decode() if match else ""


def absolute(url: str, parent: str) -> str:
    """The address of a submodule, which may be relative to that of its repository. Not checked."""
    if not url.startswith(("./", "../")):
        return url
    base = parent.rstrip("/")
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            base = base.rpartition("/")[0]
        url = url.partition("/")[2]
    return f"{base}/{url}"


def put(source: str, directory: str, path: str) -> None:
    """Move the files of a submodule to their place, an empty directory. Blocking. Raises InvalidArgument."""
    try:
        with files.directory(directory) as root_fd:
            parent_fd = paths.open_beneath(root_fd, os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.rename(source, os.path.basename(path), dst_dir_fd=parent_fd)
            finally:
                os.close(parent_fd)
    except (OSError, KernelError):
        raise InvalidArgument(f"invalid path of a submodule: {path[:200]!r}") from None
