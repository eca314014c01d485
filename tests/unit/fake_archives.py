"""``/containers/{id}/archive`` of a fake engine: a directory is the container's file system."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import stat
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fake_engine import FakeEngine, Request, render

_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}


class FakeArchives:
    """Answers for container ``c``, whose root is ``root``; ``received`` are the members of the last upload.

    ``devices`` are paths that are said to be devices, ``replacement`` is sent instead of a packed path;
    ``missing`` is by how much an answer is shorter than it says.
    """

    def __init__(self, engine: FakeEngine, root: Path) -> None:
        self._root = root
        self.received: list[Any] = []
        self.devices = ["/device"]
        self.replacement: bytes | None = None
        self.missing = 0
        for method in ("GET", "HEAD", "PUT"):
            engine.routes[f"{method} /containers/c/archive"] = self._answer

    def _answer(self, connection: socket.socket, request: Request) -> None:
        path = parse_qs(request.query, keep_blank_values=True)["path"][0]
        if request.method == "PUT":
            self.received = members(request.body)
            connection.sendall(render("PUT", 200, b""))
            return
        real = self._inside(path)
        if not path or not os.path.lexists(real):
            words = f"Could not find the file {path} in container c"
            connection.sendall(
                render(request.method, 404, {"message": words}).replace(
                    b"\r\n", b"\r\nConnection: close\r\n", 1
                )
            )
            return
        body = self._pack(path, real) if request.method == "GET" else b""
        head = base64.b64encode(json.dumps(self._stat(path, real)).encode()).decode()
        length = len(body) + self.missing
        start = (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/x-tar\r\n"
            f"X-Docker-Container-Path-Stat: {head}\r\nContent-Length: {length}\r\n\r\n"
        )
        connection.sendall(start.encode() + body)

    def _inside(self, path: str) -> str:
        """Links before the last component, and behind a trailing slash, are followed in the root."""
        real = os.path.join(
            self._root, path.lstrip("/").rstrip("/") if not path.endswith("/.") else path.lstrip("/")
        )
        followed = path.endswith(("/", "/."))
        return os.path.realpath(real) if followed else real

    def _stat(self, path: str, real: str) -> dict[str, Any]:
        status = os.lstat(real)
        mode = status.st_mode & 0o777 | _GO_KINDS.get(stat.S_IFMT(status.st_mode), 0)
        if path in self.devices:
            mode = 0o666 | _GO_KINDS[stat.S_IFCHR]
        link = os.readlink(real) if os.path.islink(real) else ""
        return {"name": os.path.basename(real), "size": status.st_size, "mode": mode, "linkTarget": link}

    def _pack(self, path: str, real: str) -> bytes:
        if self.replacement is not None:
            return self.replacement
        name = "." if path.endswith("/.") else os.path.basename(path.rstrip("/"))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(real, arcname=name or "/")
        data = buffer.getvalue().rstrip(b"\0")  # docker's archives end with two blocks, not with a record
        return data + bytes(-len(data) % 512 + 1024)


def members(data: bytes) -> list[Any]:
    """Return what the members of an archive say, data included."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            records = {
                key: value for key, value in member.pax_headers.items() if key not in ("path", "linkpath")
            }
            facts = (member.name, member.type, oct(member.mode), member.uid, member.gid, int(member.mtime))
            found.append((*facts, member.linkname, records, content.read() if content else b""))
    return found


def tree(root: Path) -> dict[str, Any]:
    """Return what lies below a directory: kind, mode, content or target, time."""
    found: dict[str, Any] = {}
    for folder, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content: Any = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            found[os.path.relpath(path, root)] = (oct(status.st_mode), content, int(status.st_mtime))
    return found
