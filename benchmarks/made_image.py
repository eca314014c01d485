"""An image of about 250 MB for benchmarks: Debian, text that compresses, small files, random bytes.

The same bytes every time (but for Debian's own archive), written as a docker archive with plain layers and as
an OCI layout with gzip layers, without any engine.
"""

import argparse
import gzip
import hashlib
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path

OCI = "application/vnd.oci.image"
WORDS, TEXTS, SMALL, RANDOM_MB = 5000, 50, 12_000, 32


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pack(files: list[tuple[str, bytes]]) -> bytes:
    """A plain layer; directories on the way are members too."""
    buffer, known = io.BytesIO(), set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files:
            parts = name.split("/")
            for depth in range(1, len(parts)):
                directory = "/".join(parts[:depth])
                if directory not in known:
                    known.add(directory)
                    info = tarfile.TarInfo(directory)
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(info)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def generated() -> list[bytes]:
    """Three layers: long texts, small files, random bytes."""
    chance = random.Random(7)
    words = [
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(WORDS)
    ]
    texts = [
        (f"opt/text/t{n}", "\n".join(" ".join(chance.choices(words, k=6)) for _ in range(25_000)).encode())
        for n in range(TEXTS)
    ]
    small = [
        (f"opt/small/d{n % 60}/f{n}", " ".join(chance.choices(words, k=chance.randint(20, 300))).encode())
        for n in range(SMALL)
    ]
    noise = [("opt/rnd/r", b"".join(chance.randbytes(1 << 20) for _ in range(RANDOM_MB)))]
    return [pack(texts), pack(small), pack(noise)]


def debian() -> bytes:
    """A plain tar of Debian, from the machine's mirrors."""
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", "-"], capture_output=True, check=True
    )
    return made.stdout


def config_of(diff_ids: list[str], number: int = 0) -> bytes:
    """A configuration; ``number`` makes images of the same layers differ."""
    labels = {"Labels": {"number": str(number)}} if number else {}
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["true"], **labels},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()


def write_docker_archive(path: Path, layers: list[bytes], name: str) -> None:
    """As docker 20 saves: a directory for each layer, manifest.json last."""
    _write_archive(path, layers, {name: config_of([digest(it) for it in layers])})


def write_many(path: Path, count: int) -> None:
    """A docker archive of so many images that share a layer of one file."""
    layers = [pack([("file", b"content")])]
    configs = {
        f"many{number % 50}:{number}": config_of([digest(it) for it in layers], number)
        for number in range(1, count + 1)
    }
    _write_archive(path, layers, configs)


def _write_archive(path: Path, layers: list[bytes], configs: dict[str, bytes]) -> None:
    names = [f"{digest(it)[7:]}/layer.tar" for it in layers]
    manifest = [
        {"Config": f"{digest(config)[7:]}.json", "RepoTags": [name], "Layers": names}
        for name, config in configs.items()
    ]
    with tarfile.open(path, "w") as archive:
        for member, data in [
            *zip(names, layers, strict=True),
            *((f"{digest(config)[7:]}.json", config) for config in configs.values()),
            ("manifest.json", json.dumps(manifest).encode()),
        ]:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_layout(path: Path, layers: list[bytes]) -> str:
    """An OCI layout with gzip layers; returns the manifest's digest."""
    blobs = [gzip.compress(it, 6, mtime=0) for it in layers]
    place = path / "blobs" / "sha256"
    place.mkdir(parents=True)
    for data in blobs:
        (place / digest(data)[7:]).write_bytes(data)
    return finish_layout(path, [digest(it) for it in layers], [(digest(it), len(it)) for it in blobs])


def finish_layout(path: Path, diff_ids: list[str], blobs: list[tuple[str, int]]) -> str:
    """What an OCI layout needs besides its gzip layers (digest, size); returns the manifest's digest."""
    config = config_of(diff_ids)
    kind = f"{OCI}.layer.v1.tar+gzip"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {
                "mediaType": f"{OCI}.config.v1+json", "digest": digest(config), "size": len(config)
            },
            "layers": [{"mediaType": kind, "digest": it, "size": size} for it, size in blobs],
        }
    ).encode()  # fmt: skip
    for data in (config, manifest):
        (path / "blobs" / "sha256" / digest(data)[7:]).write_bytes(data)
    entry = {"mediaType": f"{OCI}.manifest.v1+json", "digest": digest(manifest), "size": len(manifest)}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return digest(manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "directory", type=Path, help="where big-docker.tar, big-oci/ and debian.tar are written"
    )
    parser.add_argument("--name", default="127.0.0.1:5000/big:1")
    arguments = parser.parse_args()
    base = debian()
    (arguments.directory / "debian.tar").write_bytes(base)
    layers = [base, *generated()]
    write_docker_archive(arguments.directory / "big-docker.tar", layers, arguments.name)
    found = write_layout(arguments.directory / "big-oci", layers)
    print(f"{sum(map(len, layers)) / 1e6:.0f} MB in {len(layers)} layers, {found}")


if __name__ == "__main__":
    main()
