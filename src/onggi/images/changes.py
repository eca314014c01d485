"""Changes to an image config in Dockerfile words: the ``--change`` of import and commit.

Source: docker's references of ``docker import`` and ``docker commit``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onggi.dockerfile import instructions as typed
from onggi.dockerfile import syntax
from onggi.dockerfile.effects import effect
from onggi.dockerfile.parser import type_statement
from onggi.dockerfile.variables import StageScope
from onggi.errors import InvalidArgument
from onggi.oci.image import environment

Json = Any
_COMMANDS = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
)  # fmt: skip


def apply(config: Json, changes: Sequence[str]) -> Json:
    """The config with the changes made, in order; raises InvalidArgument with docker's words."""
    scope, own_command = StageScope(environment(config), {}, {}), False
    for line in changes:
        instruction = scope.take(_read(line.strip())).instruction
        made = effect(config, instruction)
        match instruction:
            case typed.Cmd():
                own_command = True
            case typed.Entrypoint() if not made["Entrypoint"]:
                continue  # an empty list is none, and leaves what is there, as in docker
            case typed.Entrypoint() if not own_command:
                config = {name: value for name, value in config.items() if name != "Cmd"}
            case typed.Healthcheck():
                # What is not said stays that of the container, as in docker.
                made = {"Healthcheck": (config.get("Healthcheck") or {}) | made["Healthcheck"]}
        config = config | made
    return config


def _read(line: str) -> typed.Instruction:
    name, _, rest = line.partition(" ")
    if name.upper() not in _COMMANDS:
        raise InvalidArgument(f"{name.upper()} is not a valid change command")
    if not rest.strip():
        raise InvalidArgument(f"{name.upper()} requires at least one argument")
    return type_statement(syntax.split(line, "\\"))
