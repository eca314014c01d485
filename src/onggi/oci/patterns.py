"""docker's patterns of image names."""

from __future__ import annotations

import re

from onggi.errors import InvalidArgument
from onggi.oci.reference import Reference


def matches(pattern: str, reference: Reference) -> bool:
    """Whether docker's ``reference=`` filter takes it: a shell pattern over the familiar name, with or
    without tag.
    """
    compiled = re.compile(_glob(pattern))
    return any(compiled.fullmatch(text) for text in (reference.familiar, reference.familiar_name))


def _glob(pattern: str) -> str:
    """A path pattern as a regular expression: ``*`` and ``?`` do not match ``/``."""
    translated = "".join({"*": "[^/]*", "?": "[^/]"}.get(piece, piece) for piece in _pieces(pattern))
    try:
        re.compile(translated)
    except re.error:
        raise InvalidArgument(f"syntax error in pattern {pattern!r}") from None
    return translated


def _pieces(pattern: str) -> list[str]:
    found = re.findall(r"\\.|\[[^\]]+\]|\*|\?|.", pattern, re.DOTALL)
    keep = ("*", "?")
    return [it if it in keep or (len(it) > 2 and it[0] == "[") else re.escape(it[-1]) for it in found]
