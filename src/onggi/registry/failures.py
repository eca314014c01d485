"""What goes wrong with registries, as errors of ours in docker's words.

Source of the words: the error codes of the OCI distribution spec ("Error Codes") and what docker's engine
says.
"""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus
from typing import Any

import msgspec

from onggi.errors import (
    Forbidden,
    InvalidArgument,
    NotFound,
    OnggiError,
    ServerFailed,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from onggi.oci.reference import Reference

Json = Any
_MAX_TEXT = 1000  # characters of a registry's own words that are repeated


class Transient(ServerFailed):
    """The connection broke, or the registry says that it has troubles: another attempt may succeed."""


class Unreachable(Transient):
    """There is no connection: no such host, refused, or no TLS that we trust."""


class Problem(msgspec.Struct, frozen=True):
    """One refusal of a registry."""

    code: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.code.lower().replace('_', ' ')}: {self.message or _MESSAGES.get(self.code, '')}"


_MESSAGES = {
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "TOOMANYREQUESTS": "too many requests",
    "UNAVAILABLE": "service unavailable",
    "UNSUPPORTED": "The operation is unsupported.",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "UNKNOWN": "unknown error",
}
_CATEGORIES: dict[str, type[OnggiError]] = {
    "UNAUTHORIZED": Unauthenticated,
    "DENIED": Forbidden,
    "MANIFEST_UNKNOWN": NotFound,
    "NAME_UNKNOWN": NotFound,
    "BLOB_UNKNOWN": NotFound,
    "BLOB_UPLOAD_UNKNOWN": NotFound,
    "TOOMANYREQUESTS": Unavailable,
    "UNAVAILABLE": Unavailable,
    "UNSUPPORTED": Unsupported,
}
_BY_STATUS: dict[int, tuple[type[OnggiError], str]] = {
    401: (Unauthenticated, "UNAUTHORIZED"),
    403: (Forbidden, "DENIED"),
    404: (NotFound, ""),
    405: (Unsupported, "UNSUPPORTED"),
    429: (Unavailable, "TOOMANYREQUESTS"),
}
_OAUTH = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}


class Refusal(msgspec.Struct, frozen=True):
    """A whole answer that says no: its status and what it gives as reasons."""

    status: int
    problems: tuple[Problem, ...]
    body: str = ""
    retry_after: str = ""

    @property
    def code(self) -> str:
        return self.problems[0].code if self.problems else ""

    def __str__(self) -> str:
        if len(self.problems) > 1:
            return "errors:\n" + "".join(f"{problem}\n" for problem in self.problems)
        if self.problems:
            return str(self.problems[0])
        return f"error parsing HTTP {self.status} response body: no error details found: {_quoted(self.body)}"

    def error(self, text: str = "") -> OnggiError:
        """The refusal as an error of ours; ``text`` replaces the registry's words."""
        fallback = _BY_STATUS.get(self.status, (InvalidArgument, ""))[0]
        return _CATEGORIES.get(self.code, fallback)((text or str(self)) + self._advice())

    def _advice(self) -> str:
        if self.status != HTTPStatus.TOO_MANY_REQUESTS and self.code != "TOOMANYREQUESTS":
            return ""
        wait = f" in {self.retry_after} seconds" if self.retry_after.isdecimal() else " later"
        return f" (the registry limits requests: try again{wait}, log in, or use a mirror)"


def refusal(status: int, body: bytes, challenge_error: tuple[str, str], retry_after: str = "") -> Refusal:
    """Understand a 4xx answer; ``challenge_error``: ``error`` and ``error_description`` of its challenge."""
    text = body.decode("utf-8", "replace")[:_MAX_TEXT]
    problems = _problems(body, status)
    oauth = _OAUTH.get(challenge_error[0])
    if oauth:
        problems = [
            Problem(oauth, _printable(challenge_error[1])),
            *(it for it in problems if it.code != oauth),
        ]
    if not problems and status in _BY_STATUS and (code := _BY_STATUS[status][1]) and status != 405:
        problems = [Problem(code)]
    return Refusal(status, tuple(problems[:5]), text, retry_after[:10])


def _problems(body: bytes, status: int) -> list[Problem]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return []
    if not isinstance(document, dict):
        return []
    if isinstance(details := document.get("details"), str) and details:
        return [Problem(_BY_STATUS.get(status, (None, ""))[1] or "UNKNOWN", _printable(details))]
    listed = document.get("errors")
    found = listed if isinstance(listed, list) else []
    return [Problem(_code(it), _message(it)) for it in found if isinstance(it, dict)]


def _code(entry: dict[str, Json]) -> str:
    code = entry.get("code")
    return _printable(code)[:40] if isinstance(code, str) and code else "UNKNOWN"


def _message(entry: dict[str, Json]) -> str:
    message = entry.get("message")
    return _printable(message) if isinstance(message, str) else ""


def _printable(text: str) -> str:
    """A registry's words without control characters, which would reach a terminal."""
    return "".join(it if it.isprintable() else " " for it in text[:_MAX_TEXT]).strip()


def _quoted(text: str) -> str:
    return '"' + _printable(text).replace('"', '\\"') + '"'


def pull_error(refused: Refusal, reference: Reference) -> OnggiError:
    """Why an image could not be pulled, as docker tells it."""
    name = reference.familiar_name
    sentences = {
        "DENIED": f"pull access denied for {name}, repository does not exist or may require 'docker login': ",
        "MANIFEST_UNKNOWN": f"manifest for {reference.familiar} not found: ",
        "NAME_UNKNOWN": f"repository {name} not found: ",
    }
    if refused.code in sentences:
        return NotFound(sentences[refused.code] + str(refused.problems[0]))
    if refused.status == HTTPStatus.NOT_FOUND and not refused.problems:
        return NotFound(f"manifest for {reference.familiar} not found: {Problem('MANIFEST_UNKNOWN')}")
    return refused.error()


def status_line(status: int) -> str:
    """``503 Service Unavailable``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


_X509 = {10: "certificate has expired or is not yet valid", 9: "certificate has expired or is not yet valid"}
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def tls_words(error: ssl.SSLError) -> str:
    """What failed in a TLS handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_AUTHORITY:
            reason = "certificate signed by unknown authority" + _advice_on_authorities()
        else:
            reason = _X509.get(error.verify_code) or error.verify_message.rstrip(".").lower()
        return f"tls: failed to verify certificate: x509: {reason}"
    if error.reason in _NO_TLS:
        return "http: server gave HTTP response to HTTPS client"
    return f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"


def _advice_on_authorities() -> str:
    """What to do on a machine that trusts nobody: a minimal system has no list of authorities."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and os.listdir(paths.capath)):
        return ""
    return " (this machine has no list of authorities: install ca-certificates)"


def os_words(error: OSError) -> str:
    """The system's words for a failed call, as docker writes them."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    return (error.strerror or str(error)).lower()
