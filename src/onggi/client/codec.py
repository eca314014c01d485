"""JSON without the cost of ``import json`` (which brings ``re``, 6-10 ms): the same C scanner and encoder.

On an interpreter without the ``_json`` accelerator the standard module is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = Any

_SPACE = " \t\r\n"


class _Settings:
    """What the C scanner reads from its context (json.decoder.JSONDecoder has the same attributes)."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def decode(data: bytes | str) -> Json:
    """Parse one JSON document. Raises ValueError if it is not one."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    value, end = scan(text, 0)
    if text[end:].strip(_SPACE):
        raise ValueError("extra data after the JSON document")
    return value


def scan(text: str, start: int) -> tuple[Json, int]:
    """Parse the JSON document that begins at or after ``start``; returns it and where it ended."""
    while start < len(text) and text[start] in _SPACE:
        start += 1
    try:
        from _json import make_scanner
    except ImportError:
        from json import JSONDecoder

        return JSONDecoder(strict=False).raw_decode(text, start)
    try:
        make: Json = make_scanner
        result: tuple[Json, int] = make(_Settings())(text, start)
    except (
        StopIteration,
        SystemError,
    ):  # SystemError: the scanner could not name JSONDecodeError, not imported
        raise ValueError("not a JSON document") from None
    return result


def encode(value: Json) -> bytes:
    """Write ``value`` as compact JSON in UTF-8."""
    try:
        from _json import encode_basestring, make_encoder
    except ImportError:
        from json import dumps

        return dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    build: Json = make_encoder
    pieces = build(None, _refuse, encode_basestring, None, ":", ",", False, False, True)(value, 0)
    return "".join(pieces).encode("utf-8", "surrogateescape")


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def indent(value: Json, step: str = "    ", margin: str = "") -> str:
    """Write ``value`` for people, as Go's ``json.Indent`` lays it out."""
    inner = margin + step
    if isinstance(value, dict) and value:
        rows = [f"{inner}{_text(str(key))}: {indent(item, step, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{margin}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + indent(item, step, inner) for item in value) + f"\n{margin}]"
    return _text(value)


def _text(value: Json) -> str:
    return encode(value).decode("utf-8", "surrogateescape")
