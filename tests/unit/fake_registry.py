"""A registry on loopback that behaves as told: what it has is served, and single answers can be scripted.

    fake.on("GET", "/v2/x/manifests/latest", answer)   asks answer(call) instead; it returns Reply or None
    fake.calls                                         what was asked, in order

An answer may also be raw bytes, a hang, or a connection that breaks off.
"""

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

TLS = Path(__file__).parent / "tls"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Call(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    port: int
    handler: BaseHTTPRequestHandler


class Reply(NamedTuple):
    """``raw`` is written as it is instead of all else; the connection is closed behind it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    raw: bytes | None = None
    close: bool = False


class FakeRegistry:
    def __init__(self, *, tls: bool = False, host: str = "127.0.0.1") -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.calls: list[Call] = []
        self.scripts: list[tuple[str, re.Pattern[str], Callable[[Call], Reply | None]]] = []
        self.uploads: dict[str, bytes] = {}
        self.break_after: list[
            int
        ] = []  # of the next uploads, so many bytes are taken before the line is cut
        self.resumable = True
        self.released = threading.Event()  # ends what hangs
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = lambda self: fake._serve(self)

            def log_message(self, *_args) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_args) -> None:
                return

            def get_request(self):
                connection, address = super().get_request()
                connection.settimeout(60)
                return connection, address

        self.server = Server((host, 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "server.pem")
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.tls = tls
        self.port = self.server.server_address[1]
        self.host = f"{host}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(30)

    def on(self, method: str, pattern: str, answer: Callable[[Call], Reply | None] | Reply) -> None:
        """Ask ``answer`` where the path matches; None leaves it to the next script, then to the store."""
        function = (lambda _call: answer) if isinstance(answer, Reply) else answer
        self.scripts.append((method, re.compile(pattern), function))

    def add_blob(self, data: bytes) -> str:
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def add_manifest(
        self, name: str, document: dict | bytes, tag: str = "latest", kind: str = MANIFEST
    ) -> str:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = digest_of(data)
        self.manifests[f"{name}/{tag}"] = self.manifests[f"{name}/{digest}"] = (kind, data)
        return digest

    def add_image(self, name: str, layers: list[bytes], tag: str = "latest") -> str:
        """A manifest of these layers and a config; returns its digest."""
        config = b"{}"
        kinds = "application/vnd.oci.image.layer.v1.tar"
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", self.add_blob(config), config),
            "layers": [descriptor(kinds, self.add_blob(layer), layer) for layer in layers],
        }
        return self.add_manifest(name, document, tag)

    def seen(self, method: str, pattern: str = "") -> list[Call]:
        return [call for call in self.calls if call.method == method and re.search(pattern, call.path)]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("content-length") or 0)
        cut = self.break_after and length > self.break_after[0] and handler.command in ("PATCH", "PUT")
        body = handler.rfile.read(self.break_after.pop(0) if cut else length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        call = Call(handler.command, url.path, parse_qs(url.query), headers, body, self.port, handler)
        self.calls.append(call)
        reply = self._scripted(call) or self._stored(call)
        self._send(handler, Reply(raw=b"") if cut else reply)

    def _scripted(self, call: Call) -> Reply | None:
        for method, pattern, answer in self.scripts:
            if method in ("*", call.method) and pattern.fullmatch(call.path):
                reply = answer(call)
                if reply is not None:
                    return reply
        return None

    def _stored(self, call: Call) -> Reply:
        if call.path == "/v2/":
            return Reply(200, b"{}")
        if match := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", call.path):
            return self._manifest(call, match[1], match[2])
        if match := re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]*)", call.path):
            return self._upload(call, match[1], match[2])
        if match := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", call.path):
            data = self.blobs.get(match[2])
            missing = error(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return missing if data is None else ranged(call, data)
        if match := re.fullmatch(r"/v2/(.+)/tags/list", call.path):
            names = sorted(key.split("/")[-1] for key in self.manifests if key.startswith(f"{match[1]}/"))
            body = {"name": match[1], "tags": [it for it in names if ":" not in it]}
            return Reply(200, json.dumps(body).encode())
        return error(404, "NAME_UNKNOWN", "repository name not known to registry")

    def _manifest(self, call: Call, name: str, wanted: str) -> Reply:
        if call.method == "PUT":
            self.add_manifest(name, call.body, wanted, call.headers["content-type"])
            return Reply(201, b"", {"Docker-Content-Digest": digest_of(call.body)})
        kind, data = self.manifests.get(f"{name}/{wanted}", ("", b""))
        if not kind:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Reply(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)})

    def _upload(self, call: Call, name: str, upload: str) -> Reply:
        """A fake of docker's registry: an upload's place changes with every answer, and is relative."""
        if call.method == "POST":
            if call.query.get("mount", [""])[0] in self.blobs:
                return Reply(201, b"", {"Location": f"/v2/{name}/blobs/{call.query['mount'][0]}"})
            upload = f"u{len(self.calls)}"
            self.uploads[upload] = b""
            return self._standing(202, name, upload)
        if upload not in self.uploads or (call.method == "GET" and not self.resumable):
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if call.method == "GET":
            return self._standing(204, name, upload)
        wanted = call.headers.get("content-range", "").partition("-")[0]
        if wanted and int(wanted) != len(self.uploads[upload]):
            return error(416, "RANGE_INVALID", "invalid content range")
        self.uploads[upload] += call.body
        if call.method == "PATCH":
            return self._standing(202, name, upload)
        return self._complete(call, self.uploads.pop(upload))

    def _standing(self, status: int, name: str, upload: str) -> Reply:
        place = f"/v2/{name}/blobs/uploads/{upload}?_state={len(self.calls)}"
        last = max(0, len(self.uploads[upload]) - 1)
        return Reply(status, b"", {"Location": place, "Range": f"0-{last}"})

    def _complete(self, call: Call, data: bytes) -> Reply:
        if call.query["digest"] != [digest_of(data)]:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        return Reply(201, b"", {"Docker-Content-Digest": self.add_blob(data)})

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.raw is not None:
            handler.wfile.write(reply.raw)
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        for name, value in headers.items():
            handler.send_header(name, value)
        if reply.close:
            handler.close_connection = True
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(reply.body)


def descriptor(media_type: str, digest: str, data: bytes) -> dict:
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json", **(headers or {})})


def ranged(call: Call, data: bytes) -> Reply:
    wanted = re.fullmatch(r"bytes=(\d+)-", call.headers.get("range", ""))
    if wanted is None:
        return Reply(200, data)
    start = int(wanted[1])
    if start >= len(data):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    return Reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})


def silent_port() -> tuple[socket.socket, int]:
    """A listening socket that accepts no connection but lets the kernel complete them."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]
