"""Names in archives: cleaned of what could lead out of the root, and the whiteouts of image layers.

A whiteout says that a name of a lower layer is gone (``.wh.NAME``), or all that lower layers have in a
directory (``.wh..wh..opq``), see "Whiteouts" of the OCI image specification, layer.md.
"""

from __future__ import annotations

from onggi.errors import InvalidArgument

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_MAX_PATH, _MAX_NAME = 4095, 255


def clean(name: bytes, depth: int) -> bytes:
    """The path of a member relative to the root, without ``.`` and ``..``; raises InvalidArgument if it
    leaves it.
    """
    if len(name) > _MAX_PATH:
        raise InvalidArgument(f"invalid tar: a name of {len(name)} bytes")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArgument(f"invalid tar: {show(name)} leads out of the root file system")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
            if len(part) > _MAX_NAME:
                raise InvalidArgument(f"invalid tar: {show(name)} has a component of {len(part)} bytes")
    if len(parts) > depth:
        raise InvalidArgument(f"invalid tar: {show(name)} is nested deeper than {depth}")
    return b"/".join(parts)


def is_marked(path: bytes) -> bool:
    """Whether a component of the path begins as whiteouts do."""
    return path.startswith(WHITEOUT) or b"/.wh." in path


def hidden_name(path: bytes) -> bytes:
    """What the whiteout at a clean ``path`` hides in its directory; ``b""`` for all that is there.

    Raises InvalidArgument for what only looks like one: such a name would mean something else to others.
    """
    parent, _, name = path.rpartition(b"/")
    if name == OPAQUE and not is_marked(parent):
        return b""
    hidden = name[len(WHITEOUT) :]
    if is_marked(parent) or hidden in (b"", b".", b"..") or hidden.startswith(WHITEOUT):
        raise InvalidArgument(f"invalid layer: {show(path)} is no whiteout and begins like one")
    return hidden


def show(name: bytes) -> str:
    """A name for an error message, short and printable."""
    return ascii(name[:200].decode("utf-8", "replace"))[1:-1]
