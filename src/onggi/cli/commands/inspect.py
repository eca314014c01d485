"""``onggi inspect``, and ``inspect`` of one kind: ``container``, ``image``, ``network``, ``volume``."""

from __future__ import annotations

from onggi.cli.command import FORMAT, Cli, Command, Failure, Flag, Options
from onggi.cli.inspecting import print_objects
from onggi.cli.platform import asked
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from onggi.client.codec import Json

SIZE: Flag = ("size", "s", "bool", "", "Measure the container's files too")
_PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print all facts about containers, images and what else has the name."""
    kind = options.text("type")
    if kind and kind not in _PATHS:
        kinds = ", ".join(f'"{known}"' for known in sorted(_PATHS))
        raise Failure(f'unknown type: "{kind}": must be one of {kinds}')
    if kind and kind != "container" and options.on("size"):
        raise Failure(f'"size" is not supported for type "{kind}"')
    return print_objects(
        cli, arguments, lambda name: _look_up(cli, name, kind, options.on("size")), options.text("format")
    )


def _look_up(cli: Cli, name: str, kind: str, size: bool) -> Json:
    for candidate in [kind] if kind else list(_PATHS):
        query = {"size": True} if size and candidate == "container" else None
        try:
            return cli.engine.get(_PATHS[candidate].format(quote(name.strip("/"), b"/:")), query)
        except EngineError as error:
            if kind or error.status not in (404, 501):
                raise
    raise ClientError(f"Error: No such object: {name}")


def _of_kind(
    kind: str, quoted: Callable[[str], str], query_of: Callable[[Options], Json], *flags: Flag
) -> Command:
    def run(cli: Cli, options: Options, arguments: list[str]) -> int:
        """Print all facts about objects of one kind."""
        query = query_of(options)
        return print_objects(
            cli,
            arguments,
            lambda name: cli.engine.get(_PATHS[kind].format(quoted(name)), query),
            options.text("format"),
        )

    return Command(
        f"{kind} inspect [OPTIONS] {kind.upper()} [{kind.upper()}...]",
        run,
        flags=(FORMAT, *flags),
        arguments=(1, None),
    )


COMMAND = Command(
    "inspect [OPTIONS] NAME|ID [NAME|ID...]",
    run,
    flags=(FORMAT, SIZE, ("type", "", "string", "", "Look only for objects of this type")),
    arguments=(1, None),
)
CONTAINER = _of_kind(
    "container",
    lambda name: quote(name.strip("/")),
    lambda options: {"size": options.on("size") or None},
    SIZE,
)
IMAGE = _of_kind(
    "image",
    lambda name: quote(name, b"/:"),
    lambda options: {"platform": asked(options)},
    ("platform", "", "string", "", "Platform to show, os[/arch[/variant]]"),
)
NETWORK = _of_kind(
    "network",
    quote,
    lambda options: {"verbose": options.on("verbose") or None},
    ("verbose", "v", "bool", "", "Show what helps to find faults"),
)
VOLUME = _of_kind("volume", quote, lambda options: None)
