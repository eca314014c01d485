"""Unix sockets at paths."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from onggi.kernel.sockets import bind_unix


def test_hundreds_may_connect_before_one_is_accepted(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with contextlib.ExitStack() as stack:
        stack.enter_context(bind_unix(path, socket.SOCK_STREAM))
        for _ in range(300):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(path)  # would raise BlockingIOError
