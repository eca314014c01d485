"""Confined jobs of the launcher, run in a fork of the test: confinement cannot be taken back."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from onggi.archive import jobs
from onggi.archive.extract import Limits


def in_child(work: Callable[[], Any]) -> Any:
    """Run ``work`` in a fork and return its JSON answer, {"result": ...} or {"error": "Kind: message"}."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = {"result": work()}
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(write_fd, "w") as file:
            json.dump(answer, file)
            file.flush()
            os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as file:
        answer = json.load(file)
    os.waitpid(pid, 0)
    return answer


def run(name: str, arguments: Any, fds: Sequence[int]) -> Any:
    """The answer of a job."""
    return in_child(lambda: jobs.TABLE[name](list(fds), arguments))


def unpack(data: bytes, target: Any, *, name: str = "unpack_layer", **limits: int) -> Any:
    """The answer of an unpacking job that reads ``data``."""
    stream = os.memfd_create("archive")
    with os.fdopen(os.dup(stream), "wb") as file:
        file.write(data)
    os.lseek(stream, 0, os.SEEK_SET)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return run(name, Limits()._asdict() | limits, [stream, root])
    finally:
        os.close(stream)
        os.close(root)


def streamed(name: str, arguments: Any, fds: Sequence[int] = ()) -> tuple[bytes, Any]:
    """What a job writes into its last descriptor, and its answer."""
    read_fd, write_fd = os.pipe()
    parts = []

    def collect() -> None:
        with os.fdopen(read_fd, "rb") as file:
            parts.append(file.read())

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        answer = run(name, arguments, [*fds, write_fd])
    finally:
        os.close(write_fd)
        thread.join()
    return parts[0], answer
