"""Image references as people type them. Pure (distribution reference grammar, as far as the front needs
it)."""

from __future__ import annotations


def split_reference(text: str) -> tuple[str, str, str]:
    """Return (name, tag, digest) of ``name[:tag][@digest]``; missing parts are empty."""
    name, _, digest = text.partition("@")
    head, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return head, tag, digest
    return name, "", digest


def familiar(text: str) -> str:
    """Return the reference with ``:latest`` where neither tag nor digest is given, without the default
    registry."""
    name, tag, digest = split_reference(text)
    name = short_name(name)
    if digest:
        return f"{name}{':' + tag if tag else ''}@{digest}"
    return f"{name}:{tag or 'latest'}"


def short_name(name: str) -> str:
    """Strip ``docker.io/`` and ``library/``."""
    for prefix in ("docker.io/", "index.docker.io/"):
        if name.startswith(prefix):
            return name.removeprefix(prefix).removeprefix("library/")
    return name.removeprefix("library/") if name.count("/") == 1 else name


def check_name(text: str) -> None:
    """Raise ValueError in docker's words if the reference cannot be one."""
    name, _, _ = split_reference(text)
    path = name.split("/")
    repository = path[1:] if len(path) > 1 and _is_domain(path[0]) else path
    if any(part != part.lower() for part in repository):
        lowered = "/".join(repository)
        raise ValueError(
            f"invalid reference format: repository name ({_library(path, lowered)}) must be lowercase"
        )
    legal = all(part and _is_component(part) for part in repository)
    if not legal:
        raise ValueError("invalid reference format")


def _is_domain(part: str) -> bool:
    return "." in part or ":" in part or part == "localhost" or part != part.lower()


def _library(path: list[str], repository: str) -> str:
    return f"library/{repository}" if len(path) == 1 else repository


def _is_component(part: str) -> bool:
    stripped = part.replace(".", "a").replace("_", "a").replace("-", "a")
    return stripped.isascii() and stripped.isalnum() and part[0].isalnum() and part[-1].isalnum()
