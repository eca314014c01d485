"""``--build-context NAME=…``: what COPY --from, FROM and mounts find under a name.

A directory and an image of an OCI layout become images without a name, which are removed behind the build.
Times of a directory's files are left out: they would make a context another one after each checkout. What has
an address is fetched by the engine.
"""

from __future__ import annotations

import os

from onggi.cli.build_context import packed
from onggi.cli.command import Cli, Failure, Options
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.http import Response

_LAYOUT = "oci-layout://"
_PATHS = ("/", "./", "../")


def resolve(cli: Cli, options: Options) -> list[str]:
    """Bring what the engine cannot reach, replace it by image ids, and return those. Raises Failure."""
    made: list[str] = []
    try:
        options.set("build-context", [_resolved(cli, text, made) for text in options.many("build-context")])
    except BaseException:
        drop(cli, made)
        raise
    return made


def drop(cli: Cli, images: list[str]) -> None:
    """Remove the images again; one that somebody uses, or that has a name, stays."""
    for image in images:
        try:
            if not cli.engine.get(f"/images/{image}/json").get("RepoTags"):
                cli.engine.request("DELETE", f"/images/{image}").read()
        except ClientError:
            continue


def _resolved(cli: Cli, text: str, made: list[str]) -> str:
    name, _, value = text.partition("=")
    if value.startswith(_LAYOUT):
        made.append(_from_layout(cli, value.removeprefix(_LAYOUT)))
    elif "://" not in value and os.path.isdir(value):
        made.append(_from_directory(cli, value))
    elif value.startswith(_PATHS):
        raise Failure(f"--build-context {name}: {value} is no directory", 125)
    else:
        return text
    return f"{name}=docker-image://{made[-1]}"


def _from_directory(cli: Cli, path: str) -> str:
    query = {"fromSrc": "-", "message": f"build context {os.path.basename(os.path.realpath(path))}"}
    return _id(cli, cli.engine.request("POST", "/images/create", query, packed(path)))


def _from_layout(cli: Cli, text: str) -> str:
    """``PATH[:TAG][@DIGEST]``, read by the engine."""
    if cli.engine.endpoint.kind != "unix":
        raise Failure(f"{_LAYOUT}{text}: the engine reads it, and it may not be on this machine")
    place, _, digest = text.partition("@")
    path, _, tag = place.partition(":")
    query = {"path": os.path.abspath(path), "reference": digest or tag or None, "unnamed": True}
    return _id(cli, cli.engine.request("POST", "/onggi/v1/oci/pull", query))


def _id(cli: Cli, response: Response) -> str:
    """The id that ends an import or a load."""
    found = ""
    for message in cli.engine.messages(response):
        if message.get("error"):
            raise Failure(str(message["error"]))
        said = str(message.get("stream") or message.get("status") or "").strip()
        found = f"sha256:{said.rpartition('sha256:')[2]}" if "sha256:" in said else found
    if not found:
        raise Failure("the engine has made no image of a build context")
    return found
