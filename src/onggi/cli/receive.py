"""Unpacks an archive that arrives in pieces: a thread feeds them to the reader through a socket."""

from __future__ import annotations

import _socket
import _thread

from onggi.cli.unpack import Unpacker
from onggi.client.http import send_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Iterable

    from onggi.cli.cp_paths import Plan


def receive(pieces: Iterable[bytes], plan: Plan) -> int:
    """Unpack as planned; returns how many files lost rights. Raises what reading or unpacking raised.

    A socket, not a pipe: a feeder without a reader would end the program (SIGPIPE).
    """
    unpacker = Unpacker(plan)
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    feeder = _Feeder(pieces, far)
    try:
        unpacker.run(near.fileno())
    except Exception:
        # A stream that broke off is why an archive ends early, not the other way about.
        feeder.check()
        raise
    finally:
        near.close()
    feeder.check()
    return unpacker.without_rights


class _Feeder:
    def __init__(self, pieces: Iterable[bytes], sock: Socket) -> None:
        self._pieces, self._sock = pieces, sock
        self._error: BaseException | None = None
        _thread.start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            for piece in self._pieces:
                send_all(self._sock, piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader gave up and says why
        except BaseException as error:
            self._error = error  # before the reader sees the end
        finally:
            self._sock.close()

    def check(self) -> None:
        """Raise what reading the pieces raised."""
        if self._error is not None:
            raise self._error
