"""The jobs of this room: functions that the launcher runs by name in a confined fork."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from typing import Any

from onggi.archive import comparing, copyin, diff, modes, stubs
from onggi.archive import gather as gathering
from onggi.archive import look as looking
from onggi.archive import pack as packing
from onggi.archive.base import Base
from onggi.archive.below import Below
from onggi.archive.compare import Comparison
from onggi.archive.confine import DIFFER, NOTHING, READER, WRITER, confine, take_rights
from onggi.archive.copyin import Options
from onggi.archive.extract import Limits, extract
from onggi.archive.ignore import Ignored
from onggi.archive.overlay import COPY, OVERLAY, Marks, mark_opaque
from onggi.archive.walk import Found, Opener

Json = Any
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PIPE = 1 << 20  # bytes; 16 times the default saves as many changes between two processes


def unpack(fds: list[int], arguments: Json) -> Json:
    """Unpack a plain tar stream as a root file system: ``fds`` are the stream and the new directory.

    ``arguments`` has ``entries``, ``bytes`` and ``depth`` (see ``Limits``); the answer has ``entries`` and
    ``bytes``.
    """
    stream_fd, root_fd = fds
    _widen(stream_fd)
    confine(root_fd, WRITER)
    result = extract(stream_fd, root_fd, Limits(**arguments))
    return {"entries": result.entries, "bytes": result.bytes}


def unpack_layer(fds: list[int], arguments: Json) -> Json:
    """``unpack`` of an image layer: its whiteouts become overlay's.

    The answer has also ``implied``: directories on the way to members that no member describes, without
    leading ``/``, parents first (``""`` is the root itself). They are 0755 and root's here; what they are is
    for a lower layer to say. ``implied_cut`` is true if there were too many to report.
    """
    return _unpack_layer(fds, arguments, OVERLAY)


def unpack_layer_to_copy(fds: list[int], arguments: Json) -> Json:
    """``unpack_layer`` for a store whose layers are never mounted: other marks, for any file system."""
    return _unpack_layer(fds, arguments, COPY)


def _unpack_layer(fds: list[int], arguments: Json, marks: Marks) -> Json:
    stream_fd, root_fd = fds
    _widen(stream_fd)
    confine(root_fd, WRITER._replace(later=("SYS_ADMIN",)))
    result = extract(stream_fd, root_fd, Limits(**arguments), layer=marks)
    if result.opaque:
        take_rights()  # attributes in the name space `trusted` are the system administrator's
        mark_opaque(root_fd, result.opaque, marks)
    return {
        "entries": result.entries,
        "bytes": result.bytes,
        "implied": result.implied,
        "implied_cut": result.implied_cut,
    }


def compare_layer(fds: list[int], arguments: Json) -> Json:
    """Compare an unpacked layer with the plain tar stream that it came from: ``fds`` are the stream and the
    directory.

    ``arguments`` has ``depth``, see ``Limits``; the answer has ``entries``, ``differences`` (how many) and
    ``told`` (the first of them).
    """
    stream_fd, root_fd = fds
    _widen(stream_fd)
    confine(root_fd, DIFFER)
    return Comparison(root_fd, int(arguments["depth"])).run(stream_fd)._asdict()


def copy_in(fds: list[int], arguments: Json) -> Json:
    """Unpack a plain tar stream into a container: ``fds`` are the stream and the container's root.

    ``arguments`` has ``path`` and those of ``copyin.Options``; the answer has ``entries`` and ``bytes``.
    """
    stream_fd, root_fd = fds
    _widen(stream_fd)
    confine(root_fd, WRITER)
    keep_kinds, owner = bool(arguments["keep_kinds"]), arguments["owner"]
    options = Options(keep_kinds, (int(owner[0]), int(owner[1])) if owner else None)
    result = copyin.copy_in(stream_fd, root_fd, arguments["path"], Limits(), options)
    return {"entries": result.entries, "bytes": result.bytes}


def look(fds: list[int], arguments: Json) -> Json:
    """What a container has at ``path``, see ``look.look``: ``fds`` is the container's root."""
    confine(fds[0], READER)
    return looking.look(fds[0], arguments["path"])


def pack(fds: list[int], arguments: Json) -> Json:
    """Write a tar of what a container has at a path: ``fds`` are the container's root and the pipe.

    ``arguments`` has ``path`` and ``name``, see ``pack.pack``; the answer has ``entries`` and ``bytes``.
    """
    root_fd, out_fd = fds
    _widen(out_fd)
    opener = Opener()
    confine(root_fd, READER)
    return packing.pack(root_fd, out_fd, arguments["path"], arguments["name"], opener)


def pack_layer(fds: list[int], arguments: Json) -> Json:
    """Write what a container changed as an image layer: ``fds`` is the pipe.

    ``arguments`` has ``trees``: each with ``top`` (an upper directory of overlay or, with ``whole``, a tree
    that has everything, which may be the number of a further descriptor), ``lowers`` (directories of layers,
    top first), ``place`` (where it lies in the container) and ``masks`` ((kind, path) of what is hidden of
    the last of ``lowers``); paths of ours, never of a container. A whole tree may have ``own``: directories
    of layers whose files are part of it even if those below look the same, as times in images say little.

    It may have ``targets``, where things were mounted, whose empty mount points are left out, and
    ``latest_ns``. The answer has ``entries`` and ``bytes``.
    """
    trees, opener = _enter_trees(fds, arguments)
    targets = [os.fsencode(target) for target in arguments.get("targets", ())]
    trees = [tree._replace(stubs=stubs.find(tree.top.fd, tree.base, targets)) for tree in trees]
    return diff.pack_layer(trees, fds[0], opener, int(arguments.get("latest_ns", -1)))


def gather(fds: list[int], arguments: Json) -> Json:
    """Write the layer of a COPY: ``fds`` are the root of the sources and the file or pipe.

    ``arguments`` has ``lowers``, directories of the layers below (top first, paths of ours), and those of
    ``gather.Wish``. The answer has ``entries`` and ``bytes``.
    """
    root_fd, out_fd = fds
    _widen(out_fd)
    below = Below(Base([os.open(path, _DIRECTORY) for path in arguments["lowers"]]))
    opener = Opener()
    confine(root_fd, DIFFER)
    owner = arguments["owner"]
    wish = gathering.Wish(
        sources=[os.fsencode(it) for it in arguments["sources"]],
        destination=os.fsencode(arguments["destination"]),
        files=[(os.fsencode(name), content.encode()) for name, content in arguments["files"]],
        owner=(int(owner[0]), int(owner[1])) if owner else None,
        mode=modes.parse(arguments["mode"]) if arguments["mode"] else None,
        time_ns=int(arguments["time_ns"]),
        exclude=Ignored(arguments["exclude"]),
        parents=bool(arguments["parents"]),
        make=bool(arguments["make"]),
    )
    return gathering.gather(root_fd, out_fd, below, wish, opener)


def compare(fds: list[int], arguments: Json) -> Json:
    """What differs between two layers: ``fds`` are some directory and two files with plain tars.

    ``arguments`` has ``limit`` and ``times``; the answer is that of ``comparing.compare``.
    """
    directory_fd, before_fd, now_fd = fds
    confine(directory_fd, NOTHING)
    return comparing.compare(before_fd, now_fd, int(arguments["limit"]), times=bool(arguments["times"]))


def changes(fds: list[int], arguments: Json) -> Json:
    """Write what a container changed as docker's JSON; arguments as of ``pack_layer``."""
    trees, opener = _enter_trees(fds, arguments)
    return {"entries": diff.write_changes(trees, fds[0], opener)}


def _enter_trees(fds: list[int], arguments: Json) -> tuple[list[diff.Tree], Opener]:
    _widen(fds[0])
    trees, opener = [_open_tree(tree, fds) for tree in arguments["trees"]], Opener()
    confine(trees[0].top.fd, DIFFER)
    return trees, opener


def _open_tree(tree: Json, fds: list[int]) -> diff.Tree:
    top = tree["top"]
    if isinstance(top, int):
        top = os.open(".", _DIRECTORY, dir_fd=fds[top])
    else:
        top = os.open(top, _DIRECTORY)
    lowers = [os.open(path, _DIRECTORY) for path in tree["lowers"]]
    masks = {os.fsencode(path): kind for kind, path in tree["masks"]}
    base = Base(lowers, masks=masks, lowest=lowers[-1] if masks else -1)
    found = Found(b"", -1, b"", os.fstat(top), top)
    place, touched = os.fsencode(tree["place"].strip("/")), _files(tree.get("own", ()))
    return diff.Tree(found, base, place, bool(tree["whole"]), touched=touched)


def _files(directories: Sequence[str]) -> frozenset[bytes]:
    """The paths of all that is no directory in some of ours."""
    return frozenset(
        os.path.relpath(os.path.join(folder, name), top)
        for top in map(os.fsencode, directories)
        for folder, directories_, files in os.walk(top)
        for name in (*files, *(it for it in directories_ if os.path.islink(os.path.join(folder, it))))
    )


def _widen(pipe_fd: int) -> None:
    with contextlib.suppress(OSError):  # no pipe, or more than this user may have
        fcntl.fcntl(pipe_fd, fcntl.F_SETPIPE_SZ, _PIPE)


TABLE: dict[str, Callable[[list[int], Json], Json]] = {
    "unpack": unpack,
    "unpack_layer": unpack_layer,
    "unpack_layer_to_copy": unpack_layer_to_copy,
    "compare_layer": compare_layer,
    "copy_in": copy_in,
    "look": look,
    "pack": pack,
    "pack_layer": pack_layer,
    "gather": gather,
    "changes": changes,
    "compare": compare,
}
