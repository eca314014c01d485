"""Our own upgraded calls: the connection leaves HTTP, then frames, also of the types 4 and 5."""

import json
import socket
import struct


def upgraded(engine, path, body):
    """The socket of a call that was answered with 101, and a file that reads what follows."""
    payload = json.dumps(body).encode()
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(engine.socket))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n"
        f"Upgrade: tcp\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    sock.sendall(head.encode() + payload)
    stream = sock.makefile("rb")
    assert b" 101 " in stream.readline()
    while stream.readline() not in (b"\r\n", b""):
        pass
    return sock, stream


def frame(stream):
    """The next (kind, payload); None at the end."""
    head = stream.read(8)
    if not head:
        return None
    kind, size = struct.unpack(">BxxxL", head)
    return kind, stream.read(size)
