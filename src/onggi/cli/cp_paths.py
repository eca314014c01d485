"""What ``cp`` makes of its paths: docker's rules for trailing slashes, ``/.``, links and what is there
already.

Pure, but for looking at local paths.
"""

from __future__ import annotations

import os
import stat

from onggi.client.errors import reason

_LINKS = 10  # as docker follows at the destination
_DIR, _SYMLINK, _DEVICE, _IRREGULAR = 1 << 31, 1 << 27, 1 << 26, 1 << 19  # of Go's os.FileMode


class End:
    """One end of a copy: its path, what is there, and the name that its archive has instead of its own."""

    __slots__ = ("exists", "is_dir", "path", "rename")

    def __init__(self, path: str, exists: bool = False, is_dir: bool = False, rename: str = "") -> None:
        self.path, self.exists, self.is_dir, self.rename = path, exists, is_dir, rename


class Plan:
    """How an archive becomes files: unpacked in ``directory``, ``old`` in names replaced by ``new``, once, if
    there is a new one. All of it is then called ``top``; "" means that anything may come."""

    __slots__ = ("directory", "new", "old", "top")

    def __init__(self, directory: str, old: str = "", new: str = "", top: str = "") -> None:
        self.directory, self.old, self.new, self.top = directory, old, new, top


class Stat:
    """What the engine says of a path in a container (``X-Docker-Container-Path-Stat``)."""

    __slots__ = ("link", "mode")

    def __init__(self, mode: int, link: str) -> None:
        self.mode, self.link = mode, link

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return bool(self.mode & _DIR)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return bool(self.mode & _SYMLINK)

    @property
    def oddity(self) -> str:
        """Why nothing can be copied to it; "" if something can."""
        if self.mode & _DEVICE:
            return "got a device"
        return "got an irregular file" if self.mode & _IRREGULAR else ""


def split_argument(text: str) -> tuple[str, str]:
    """Return (container, path) of ``CONTAINER:PATH``; no container for a local path."""
    container, colon, path = text.partition(":")
    return ("", text) if text.startswith(("/", ".")) or not colon else (container, path)


def clean(path: str) -> str:
    """Return the shortest path that means the same lexically (Go's ``filepath.Clean``)."""
    cleaned = os.path.normpath(path)
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def base(path: str) -> str:
    """Return the last component; "." for nothing, "/" for the root (Go's ``filepath.Base``)."""
    return path.rstrip("/").rpartition("/")[2] or ("/" if path.startswith("/") else ".")


def is_current(path: str) -> bool:
    """Whether the path ends in ``.``: what is in the directory is meant, not the directory."""
    return base(path) == "."


def split_entry(path: str) -> tuple[str, str]:
    """Return (directory, name) of a path; the name is "." where the path ends in it."""
    cleaned = clean(path)
    if is_current(path):
        cleaned += "/."
    return clean(os.path.dirname(cleaned)), base(cleaned)


def local_path(path: str) -> str:
    """Return the absolute path; a trailing ``/`` or ``/.`` stays, as it says something."""
    return _keep_ending(clean(os.path.join(os.getcwd(), path)), path)


def _keep_ending(cleaned: str, typed: str) -> str:
    if is_current(typed) and not is_current(cleaned):
        cleaned += "." if cleaned.endswith("/") else "/."
    return cleaned + "/" if typed.endswith("/") and not cleaned.endswith("/") else cleaned


def through_link(path: str, link: str) -> str:
    """Return where the symbolic link ``path`` leads, as far as text can tell."""
    return link if link.startswith("/") else clean(os.path.join(split_entry(path)[0], link))


def rebased(path: str, target: str) -> tuple[str, str]:
    """Return the link's target with the ending of ``path``, and its archive's name ("" for its own)."""
    target = _keep_ending(target, path)
    return target, base(path) if base(path) != base(target) else ""


def local_source(path: str, follow: bool) -> End:
    """Return the local end to copy from; links before the last component are followed. Raises OSError."""
    rename = ""
    if follow:
        resolved, rename = rebased(path, os.path.realpath(path, strict=True))
    else:
        folder, name = path[: path.rfind("/") + 1], path[path.rfind("/") + 1 :]
        resolved = os.path.realpath(folder, strict=True) + "/" + name
        if path.endswith("/") and base(path) != base(resolved):
            rename = base(path)
    return End(resolved, True, stat.S_ISDIR(os.lstat(resolved).st_mode), rename)


def local_target(path: str) -> End:
    """Return the local end to copy to; links are followed, also one that leads nowhere yet.

    Raises OSError, ValueError.
    """
    typed = path
    for _ in range(_LINKS + 2):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            parent = split_entry(path)[0]
            mode = _mode(parent)
            if not stat.S_ISDIR(mode):
                absent = f"stat {parent}: no such file or directory"
                raise ValueError("not a directory" if mode else absent) from None
            return End(path)
        if not stat.S_ISLNK(mode):
            return End(path, True, stat.S_ISDIR(mode))
        path = through_link(path, os.readlink(path))
    raise ValueError(f"too many symlinks in {typed}")


def check_target(path: str) -> None:
    """Raise ValueError if nothing can be copied to the local path."""
    folder = os.path.dirname(clean(path))
    if folder and not os.path.exists(folder):
        raise ValueError(f'invalid output path: directory "{folder}" does not exist')
    mode = _mode(path)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise ValueError(f'invalid output path: "{path}" must be a directory or a regular file: got a device')


def _mode(path: str) -> int:
    """Return the mode of what is at a path, 0 for nothing."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ValueError(f"stat {path}: {reason(error)}") from None


def plan(source: End, target: End) -> Plan:
    """Return how the archive of ``source`` becomes ``target``. Raises ValueError in docker's words."""
    folder, name = split_entry(target.path)
    own = split_entry(source.path)[1]
    if target.exists and target.is_dir:
        named = source.rename or own
        return Plan(
            target.path, own if source.rename else "", source.rename, "" if named in (".", "/") else named
        )
    if target.exists and source.is_dir:
        raise ValueError("cannot copy directory")
    if not target.exists and not source.is_dir and (target.path.endswith("/") or is_current(target.path)):
        raise ValueError("no such directory")
    return Plan(folder, own, name, name)


def rename(name: bytes, old: str, new: str) -> bytes:
    """Return the name of a member with its first component replaced as ``plan`` says."""
    if not new:
        return name
    # The root's members begin with the separator that stays.
    return name.replace(os.fsencode("" if old == "/" else old), os.fsencode(new), 1)
