"""Environment and label files: one ``NAME=value`` per line, ``#`` begins a comment line (docker's kvfile)."""

from __future__ import annotations

import os

from onggi.client.errors import reason


def read_pairs(path: str, with_environment: bool) -> list[str]:
    """Return the pairs of a file; with ``with_environment`` a bare name takes its value from the environment.

    A bare name without a value is left out, as docker does. Raises ValueError.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ValueError(f"open {path}: {reason(error)}") from None
    pairs = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = _text(raw, path, number).lstrip()
        if line and not line.startswith("#"):
            pairs += _pair(line, path, with_environment)
    return pairs


def _text(raw: bytes, path: str, number: int) -> str:
    try:
        return raw.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise ValueError(
            f"invalid env file ({path}): env file {path} contains invalid utf8 bytes at line {number}"
        ) from None


def _pair(line: str, path: str, with_environment: bool) -> list[str]:
    name, equals, _ = line.partition("=")
    if not name:
        raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
    if any(character in name for character in " \t"):
        raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
    if equals:
        return [line]
    if not with_environment:
        return []
    return [f"{line}={os.environ[line]}"] if line in os.environ else []
