"""``build --check``: what is unwise in a Dockerfile, in docker's words, and where an error in one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from onggi.archive.ignore import Ignored
from onggi.build.options import Options
from onggi.build.solving import Plan
from onggi.dockerfile import checks
from onggi.dockerfile.checks import Surroundings
from onggi.dockerfile.failure import DockerfileError, excerpt
from onggi.dockerfile.variables import Platforms
from onggi.errors import InvalidArgument, NotFound
from onggi.images.service import Images
from onggi.oci import platform as platforms
from onggi.oci.image import environment

Json = Any


async def check(plan: Plan, asked: Options, ignored: Ignored, images: Images) -> list[Json]:
    """What a client is told of what is unwise: of a check the report, of a build that shows itself the
    findings. Raises InvalidArgument where the Dockerfile says that a finding is an error.
    """
    known = {node.image: await _environment(images, node.image) for node in plan.nodes}
    here = platforms.local()
    around = Surroundings(
        platforms=Platforms(here, platforms.parse(asked.platform) if asked.platform else here),
        build_args=asked.args,
        ignored=ignored,
        environment=known.get,
        reached=frozenset(node.number for node in plan.nodes),
    )
    found = checks.check(plan.dockerfile, around)
    findings = {"aux": {"Warnings": [msgspec.to_builtins(finding) for finding in found]}}
    if asked.check:
        return [{"stream": checks.report(plan.dockerfile, found)}, findings]
    if fatal := checks.fatal(plan.dockerfile, around, found):
        raise InvalidArgument(fatal)
    return [findings] if found and asked.details else []


def is_wanted(plan: Plan, asked: Options) -> bool:
    """Whether somebody wants to know."""
    return asked.check or bool(plan.dockerfile.check) or (asked.details and not asked.quiet)


async def _environment(images: Images, name: str) -> Mapping[str, str] | None:
    """The variables of an image that is here; nothing is pulled for a check."""
    try:
        image = await images.get(name)
    except (NotFound, InvalidArgument):
        return None
    return environment(image.config.get("config") or {})


def with_excerpt(error: DockerfileError, text: bytes, asked: Options) -> InvalidArgument:
    """The error, with the lines around it where our own command asks."""
    if not asked.details or not error.first_line:
        return error
    lines = text.decode("utf-8", "replace").rstrip("\n").split("\n")
    return InvalidArgument(f"{excerpt(error, asked.shown_name, lines)}\n{error}")
