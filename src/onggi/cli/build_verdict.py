"""What ``build --verify`` found."""

from __future__ import annotations

from onggi.cli.command import Cli, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.codec import Json


def verified(cli: Cli, verdicts: list[Json]) -> bool:
    """Print whether two builds led to one image, or in what they differ; return whether they did."""
    if not verdicts:
        raise Failure("--verify: this engine does not build twice")
    found = verdicts[-1]
    cli.out("\n".join(_report(found)))
    return bool(found["Image"] == found["Again"])


def _report(found: Json) -> Iterator[str]:
    if found["Image"] == found["Again"]:
        yield f"reproducible: {found['Image']}"
        return
    yield f"not reproducible: {found['Image']}, then {found['Again']}"
    for step in found["Steps"]:
        stage = "" if step["Stage"].isdecimal() else f"[{step['Stage']}] "
        yield f" {stage}{step['Instruction']}"
        yield from (f"   {path}: {', '.join(words)}" for path, words in step["Files"])
        more = int(step["Total"]) - len(step["Files"])
        if more > 0:
            yield f"   and {more} more"
