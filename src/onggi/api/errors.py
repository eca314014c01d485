"""The one place where an error's category becomes an HTTP status and docker's ``{"message": ...}``."""

from __future__ import annotations

import errno
import logging
import traceback

import msgspec

from onggi import errors
from onggi.api.http.message import HeadError, Response

log = logging.getLogger(__name__)
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (errors.InvalidArgument, 400),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.NotModified, 304),
    (errors.CommandNotFound, 400),
    (errors.NotExecutable, 400),
    (errors.Unsupported, 501),
    (errors.ServerFailed, 500),  # docs/decisions/0144
    (errors.Unavailable, 503),
    (errors.DataLoss, 500),
    (errors.KernelError, 500),
    (TimeoutError, 408),
)


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, HeadError):
        return error.status
    return next((status for category, status in STATUS if isinstance(error, category)), 500)


def message_of(error: Exception) -> str:
    """Return the sentence for the client; an unforeseen error is named by its type and kept in the log.

    What a disk may do to any write (it is full, it is broken) is not unforeseen.
    """
    if isinstance(error, errors.OnggiError):
        return str(error)
    if isinstance(error, TimeoutError):
        return str(error) or "the request was not completed in time"
    if isinstance(error, OSError) and error.errno in _OF_DISKS:
        return str(errors.KernelError("write", error.errno, error.filename or ""))
    return f"internal error: {type(error).__name__}: {error}"


def answer_error(error: Exception, where: str) -> Response:
    """Render an error as an answer; ``where`` names the request in the log."""
    status = status_of(error)
    if status == 304:
        return Response(304)
    if status == 500:
        trace = "" if isinstance(error, errors.OnggiError) else "".join(traceback.format_exception(error))
        log.error("%s: %s %s", where, message_of(error), trace)
    return Response(status, msgspec.json.encode({"message": message_of(error)}) + b"\n")
