"""Confined Python work by the name of a function: a fork of the launcher that gives up its rights and reports
an outcome.

A job gets JSON arguments and descriptors; it answers one JSON object on its socket and ends. The table is
fixed: nothing a message says can name another function.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from onggi.archive import jobs as archive_jobs
from onggi.errors import NotFound
from onggi.kernel import sealed, syscalls
from onggi.kernel.sockets import send_message
from onggi.launch import protocol, views
from onggi.launch.copy_up import copy_up

Json = Any
Job = Callable[[list[int], Json], Json]
TABLE: dict[str, Job] = {**archive_jobs.TABLE, **views.TABLE, "copy_up": copy_up}


def main(name: str, fds: list[int]) -> NoReturn:
    """Run one job in a fresh fork: ``fds`` are the arguments, the answer socket, then the job's own.

    Descriptors in an answer travel beside it, as its ``fds``.
    """
    arguments_fd, answer_fd, *own = fds
    sock = socket.socket(fileno=answer_fd)
    syscalls.set_name(f"onggi-{name}")
    try:
        if name not in TABLE:
            raise NotFound(f"no such job: {name}")
        result = TABLE[name](own, protocol.decode(sealed.read(arguments_fd), [])[0])
        given = result.pop("fds", [])
        message: Json = {"result": result}
    except BaseException as error:
        message, given = {"error": protocol.failure_of(error)}, []
    with contextlib.suppress(OSError):
        payload, sent, _ = protocol.encode(message, given)
        send_message(sock, payload, sent)
    os._exit(0)
