"""What becomes of an image that was built: kept, pushed, written as files, as a tar or as an archive."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Failure
from onggi.cli.cp_paths import Plan
from onggi.cli.output import Output
from onggi.cli.receive import receive
from onggi.cli.specs import split_fields
from onggi.errors import OnggiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


_KINDS = ("local", "tar", "oci", "docker", "image", "registry")


class Target:
    """One ``--output``: its type, where it goes ("" for the engine, "-" for standard output)."""

    __slots__ = ("destination", "kind", "names", "push")

    def __init__(self, kind: str, destination: str, names: list[str], push: bool) -> None:
        self.kind, self.destination, self.names, self.push = kind, destination, names, push


def parse(text: str) -> Target:
    """Parse ``type=local,dest=path``, ``path`` or ``-``. Raises Failure."""
    if "=" not in text:
        return Target("tar" if text == "-" else "local", text, [], push=False)
    try:
        fields = dict(_field(part) for part in split_fields(text))
    except ValueError as error:
        raise Failure(f'invalid output "{text}": {error}', 125) from None
    kind, destination = fields.pop("type", ""), fields.pop("dest", "")
    push = fields.pop("push", "false") == "true" or kind == "registry"
    names = [name for name in fields.pop("name", "").split(",") if name]
    if kind not in _KINDS:
        raise Failure(
            f'invalid output "{text}": type {kind or "is missing"}: one of {", ".join(_KINDS)}', 125
        )
    if fields:
        raise Failure(f"--output: {min(fields)} is not supported by this build", 125)
    if kind in ("local", "tar", "oci") and not destination:
        raise Failure(f"dest is required for {kind} exporter", 125)
    if kind == "local" and destination == "-":
        raise Failure("dest cannot be stdout for local exporter", 125)
    return Target(kind, destination, names, push)


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{name} must be a key=value pair")
    return name.strip().lower(), value


def write(cli: Cli, target: Target, image: str) -> None:
    """Write the image where the target says. Raises Failure, ClientError."""
    if target.kind in ("oci", "docker") and target.destination:
        names = {"names": target.names or [image]}
        _to_file(cli.engine.request("GET", "/images/get", names).chunks(), target.destination)
    elif target.kind in ("local", "tar"):
        pieces = cli.engine.request("GET", "/onggi/v1/build/files", {"image": image}).chunks()
        if target.kind == "tar":
            _to_file(pieces, target.destination)
        elif lost := _to_directory(pieces, target.destination):
            cli.err(f"WARNING: {lost} files lost their set-id bits or capabilities")


def _to_file(pieces: Iterator[bytes], destination: str) -> None:
    with Output("" if destination == "-" else destination, "failed to write the output") as output:
        output.write(pieces)


def _to_directory(pieces: Iterator[bytes], destination: str) -> int:
    """Unpack; files become those of the person who builds, as with `cp`. Returns how many lost rights."""
    try:
        os.makedirs(destination, exist_ok=True)
        return receive(pieces, Plan(destination))
    except (OSError, OnggiError) as error:
        raise Failure(f"failed to write the output to {destination}: {error}") from None
