"""Downloads end: by their size, by their time, with their client, and not before everything is here."""

import asyncio
import contextlib
import os
import socket
import threading

import pytest

from onggi.build import remote
from onggi.build.context import Place
from onggi.build.remote import BOUNDS, Bounds
from onggi.errors import InvalidArgument, Unavailable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@contextlib.contextmanager
def served(*pieces, endless=b""):
    """The address of a server that sends these bytes, and then one of ``endless`` now and then."""
    ended = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in pieces:
                connection.sendall(piece)
            while endless:
                connection.sendall(endless)
                if connection.fileno() < 0 or ended.wait(0.02):
                    break
        ended.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/file", ended
    finally:
        ended.set()
        thread.join()
        listening.close()


def download(tmp_path, url, bounds=BOUNDS, checksum=""):
    found = asyncio.run(remote.download(Place(str(tmp_path), ""), url, checksum, bounds))
    with open(f"{found.directory}/{found.name}", "rb") as file:
        return file.read()


def test_what_a_server_sends(tmp_path):
    with served(HEAD + b"Content-Length: 5\r\n\r\nhello") as (url, _):
        assert download(tmp_path, url) == b"hello"
    with served(HEAD + b"Content-Length: 5\r\n\r\nhello") as (url, _), pytest.raises(InvalidArgument):
        download(tmp_path, url, checksum="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("head", "endless"),
    [(HEAD + b"\r\n", b"x"), (HEAD, b"X-More: y\r\n"), (HEAD + b"X-More: ", b"x")],
    ids=["a slow body", "headers without an end", "a header without an end"],
)
def test_a_server_that_takes_for_ever(tmp_path, head, endless):
    words = pytest.raises(Unavailable, match=r"it was not here after 0\.5 s")
    with served(head, endless=endless) as (url, _), words:
        download(tmp_path, url, Bounds(seconds=0.5))


def test_a_file_that_is_too_large(tmp_path):
    words = pytest.raises(Unavailable, match="no room for it: 4096 bytes")
    with served(HEAD + b"\r\n", b"x" * 5000) as (url, _), words:
        download(tmp_path, url, Bounds(bytes=4096))


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 50\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
def test_a_file_of_which_a_part_came(tmp_path, rest):
    with served(HEAD + rest) as (url, _), pytest.raises(Unavailable):
        download(tmp_path, url)


def test_who_leaves_ends_the_download(tmp_path):
    async def leave(url, ended):
        task = asyncio.create_task(remote.download(Place(str(tmp_path), ""), url))
        while not any(os.path.exists(f"{tmp_path}/{name}/file") for name in os.listdir(tmp_path)):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert await asyncio.to_thread(ended.wait, 30)

    with served(HEAD + b"\r\n", endless=b"x") as (url, ended):
        asyncio.run(leave(url, ended))
