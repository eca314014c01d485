"""``push NAME oci:DIR``: an image written into an OCI layout on disk, beside what is there (image-layout.md).

Blobs come first, the index that names them last and at once, so that a reader never finds half an image.
"""

from __future__ import annotations

import os
import uuid

import msgspec

from onggi.errors import InvalidArgument, KernelError
from onggi.images.layout import CONTAINERD_NAME, REF_NAME, blob_name, index
from onggi.images.progress import Progress
from onggi.images.saving import LAYOUT, Chosen, blobs_of
from onggi.kernel.files import sync_directory, write_atomic
from onggi.oci import media
from onggi.oci.digest import short
from onggi.oci.manifest import Descriptor, Index, parse
from onggi.store.content import Content

_MAX_INDEX = 4 << 20
_PIECE = 64 << 20


def write(content: Content, chosen: Chosen, directory: str, tag: str, progress: Progress) -> None:
    """Write one image under ``tag``; what had the tag loses it. Blocking.

    Raises KernelError, or InvalidArgument if there is a layout that cannot be read.
    """
    try:
        os.makedirs(f"{directory}/blobs/sha256", exist_ok=True)
        before = _read_index(f"{directory}/index.json")
        for digest in blobs_of(chosen):
            progress.say("Copying", short(digest))
            _copy(content.path(digest), f"{directory}/{blob_name(digest)}")
            progress.say("Copied", short(digest))
        write_atomic(f"{directory}/{blob_name(chosen.document.digest)}", chosen.document.data, 0o644)
        sync_directory(f"{directory}/blobs/sha256")
        write_atomic(f"{directory}/oci-layout", LAYOUT, 0o644)
        others = [it for it in before if it.annotations.get(REF_NAME) != tag]
        write_atomic(f"{directory}/index.json", index([*others, _entry(chosen, tag)]), 0o644)
    except OSError as error:
        raise KernelError("write", error.errno or 0, error.filename or directory) from None


def _entry(chosen: Chosen, tag: str) -> Descriptor:
    names = {CONTAINERD_NAME: str(chosen.names[0])} if chosen.names else {}
    return msgspec.structs.replace(chosen.document.descriptor, annotations={**names, REF_NAME: tag})


def _read_index(path: str) -> list[Descriptor]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_INDEX + 1)
    except FileNotFoundError:
        return []
    found = parse(data, media.OCI_INDEX)
    if not isinstance(found, Index):
        raise InvalidArgument(f"{path} is no index of an OCI layout")
    return found.manifests


def _copy(source: str, target: str) -> None:
    if os.path.exists(target):
        return  # named by its digest: it is what it is
    temporary = f"{target}.{uuid.uuid4().hex}.tmp"
    with open(source, "rb") as reader, open(temporary, "xb") as writer:
        left = os.fstat(reader.fileno()).st_size
        while left > 0:
            left -= os.sendfile(writer.fileno(), reader.fileno(), None, min(left, _PIECE)) or left
        os.fsync(writer.fileno())
    os.rename(temporary, target)
