"""Images made by hand for tests: layers, docker's archives, OCI layouts; every part can be made wrong."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

OCI = "application/vnd.oci.image"
MANIFEST, INDEX, CONFIG = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json", f"{OCI}.config.v1+json"
LAYER, LAYER_GZIP = f"{OCI}.layer.v1.tar", f"{OCI}.layer.v1.tar+gzip"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hexadecimal(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def layer(files: dict[str, bytes | None], **members) -> bytes:
    """A tar of files (None: a directory); ``members`` are ready TarInfo objects."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size, info.mode = len(data), 0o644
                archive.addfile(info, io.BytesIO(data))
        for info in members.values():
            archive.addfile(info)
    return buffer.getvalue()


def config(layers: list[bytes], **more) -> bytes:
    """An image configuration for plain layers."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(it) for it in layers]},
    }
    return json.dumps(document | more).encode()


def tar(members: dict[str, bytes]) -> bytes:
    """An archive of members, in order."""
    return layer(members)


def docker_archive(layers: list[bytes], tags=("made:1",), **wrong) -> bytes:
    """What docker 20 saves: a directory for each layer, manifest.json last."""
    document = config(layers, **wrong)
    name = f"{hexadecimal(document)}.json"
    members = {f"{hexadecimal(it)}/layer.tar": it for it in layers}
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": list(members)}]
    return tar({**members, name: document, "manifest.json": json.dumps(manifest).encode()})


def oci_members(layers: list[bytes], name="docker.io/library/made:2", compress=True) -> dict[str, bytes]:
    """The files of an OCI layout."""
    document = config(layers)
    blobs = [gzip.compress(it, mtime=0) for it in layers] if compress else layers
    kind = LAYER_GZIP if compress else LAYER
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest(document), "size": len(document)},
            "layers": [{"mediaType": kind, "digest": digest(it), "size": len(it)} for it in blobs],
        }
    ).encode()
    entry = {"mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest)}
    if name:
        entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    parts = {f"blobs/sha256/{hexadecimal(it)}": it for it in (*blobs, document, manifest)}
    return {**parts, "index.json": index, "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}


def write_layout(directory: Path, members: dict[str, bytes]) -> None:
    """An OCI layout on disk."""
    for name, data in members.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
