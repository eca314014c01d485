"""``manifest inspect`` prints what docker's command prints of the same registry."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from parity import Parity

OCI, DOCKER = "application/vnd.oci.image", "application/vnd.docker"
CONFIG = json.dumps({"architecture": "arm64", "os": "linux", "variant": "v8", "rootfs": {}}).encode()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def document(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def manifest(media_type: str, config_type: str) -> bytes:
    layer = {"mediaType": "application/octet-stream", "size": 9, "digest": "sha256:" + "1" * 64}
    config = {"mediaType": config_type, "size": len(CONFIG), "digest": digest_of(CONFIG)}
    return document({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]})


MANIFESTS = {
    f"{OCI}.manifest.v1+json": manifest(f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json"),
    f"{DOCKER}.distribution.manifest.v2+json": manifest(
        f"{DOCKER}.distribution.manifest.v2+json", f"{DOCKER}.container.image.v1+json"
    ),
}
PLATFORMS = [
    {"architecture": "amd64", "os": "linux"},
    {"architecture": "arm", "os": "linux", "variant": "v7"},
]
ENTRIES = [
    {"mediaType": kind, "size": len(data), "digest": digest_of(data), "platform": platform}
    for (kind, data), platform in zip(MANIFESTS.items(), PLATFORMS, strict=True)
]
DOCUMENTS: dict[str, tuple[str, bytes]] = {
    "oci": next(iter(MANIFESTS.items())),
    "docker": list(MANIFESTS.items())[1],
    "index": (
        f"{OCI}.index.v1+json",
        document({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": ENTRIES,
                  "annotations": {"a": "b"}}),
    ),
    "list": (
        f"{DOCKER}.distribution.manifest.list.v2+json",
        document({"schemaVersion": 2, "mediaType": f"{DOCKER}.distribution.manifest.list.v2+json",
                  "manifests": ENTRIES[::-1]}),
    ),
}  # fmt: skip
DOCUMENTS |= {digest_of(data): (kind, data) for kind, data in MANIFESTS.items()}


class Registry(BaseHTTPRequestHandler):
    """Just enough of the distribution protocol for docker's command."""

    def handle(self) -> None:
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS: docker tries it first
            self.connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        super().handle()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        kind, data = DOCUMENTS.get(name, ("", b""))
        if self.path == "/v2/":
            data = b"{}"
        elif "/blobs/" in self.path:
            data = CONFIG
        elif not data:
            data = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}'
        self.send_response(404 if b"MANIFEST_UNKNOWN" in data else 200)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", digest_of(data))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(60)
    server.server_close()


def described(kind: str, data: bytes, **more: Any) -> Any:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data), **more}


@pytest.fixture
def parity(tmp_path: Path, registry: str) -> Iterator[Parity]:
    fake = FakeEngine(tmp_path)
    for name, (kind, data) in DOCUMENTS.items():
        entries = json.loads(data).get("manifests", [])
        below = [(DOCUMENTS[entry["digest"]], entry["platform"]) for entry in entries]
        fake.routes[f"GET /onggi/v1/manifests/{registry}/x:{name}"] = (200, {
            "Reference": f"{registry}/x:{name}", "Descriptor": described(kind, data),
            "Document": data.decode(),
            "Manifests": [
                {"Descriptor": described(*found, platform=platform), "Document": found[1].decode()}
                for found, platform in below
            ],
        })  # fmt: skip
        platforms = [{"architecture": "arm64", "os": "linux", "variant": "v8"}]
        fake.routes[f"GET /distribution/{registry}/x:{name}/json"] = (200, {"Platforms": platforms})
    fake.routes["GET /onggi/v1/manifests/*"] = (404, {"message": "manifest unknown"})
    yield Parity(fake, tmp_path)
    fake.close()


@pytest.mark.parametrize("flags", ["", "-v "])
@pytest.mark.parametrize("name", ["oci", "docker", "index", "list", "nosuch"])
def test_the_same_as_docker(parity: Parity, registry: str, name: str, flags: str) -> None:
    line = f"manifest inspect --insecure {flags}{registry}/x:{name}"
    theirs, ours = parity.docker(line), parity.ours(line)
    assert (ours.status, ours.out, ours.err) == (theirs.status, theirs.out, theirs.err)


def test_what_the_engine_decides_is_not_asked_for_in_vain(parity: Parity) -> None:
    done = parity.ours("manifest inspect --insecure r.example/x")
    assert (done.status, "insecure-registries" in done.err, done.requests) == (125, True, [])
    assert parity.ours("manifest inspect a b").status == 125
    assert parity.check("manifest inspect A").status == 1
    parity.engine.routes["GET /onggi/v1/manifests/*"] = (404, {"message": "page not found"})
    assert "not supported by this engine" in parity.ours("manifest inspect x").err
