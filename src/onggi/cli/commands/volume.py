"""``onggi volume``: ``create``, ``export``, ``import``, ``ls``, ``rm`` and ``update``."""

from __future__ import annotations

from onggi.cli.command import LIST_FORMAT, Cli, Command, Failure, Flag, Options
from onggi.cli.filters import filters, natural
from onggi.cli.format import Row, chosen_form, headers, label_columns, label_header, render_rows
from onggi.cli.input import pieces
from onggi.cli.output import save
from onggi.cli.specs import parse_pair
from onggi.client.engine import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


_OF_SWARMS: tuple[Flag, ...] = (
    ("availability", "", "string", "active", "Availability of a volume of a swarm (active, pause, drain)"),
    ("group", "", "string", "", "Group of a volume of a swarm"),
    ("limit-bytes", "", "bytes", "", "Limit of the size of a volume of a swarm in bytes"),
    ("required-bytes", "", "bytes", "", "Least size of a volume of a swarm in bytes"),
    ("scope", "", "string", "single", "Nodes that use a volume of a swarm (single, multi)"),
    ("secret", "", "map", "map[]", "Secrets of a volume of a swarm"),
    ("sharing", "", "string", "none", "Sharing of a volume of a swarm (none, readonly, onewriter, all)"),
    ("topology-preferred", "", "list", "", "Topology that a volume of a swarm prefers"),
    ("topology-required", "", "list", "", "Topology that a volume of a swarm needs"),
    ("type", "", "string", "block", "Access to a volume of a swarm (mount, block)"),
)


def create(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Create a volume, or find the one that has the name."""
    if asked := [name for name, *_ in _OF_SWARMS if name in options.given]:
        raise Failure(f"--{asked[0]}: cluster volumes need a swarm, which this engine does not have")
    if arguments and options.text("name"):
        words = (
            "conflicting options: cannot specify a volume name through both --name and as a positional arg"
        )
        raise Failure(words)
    name = arguments[0] if arguments else options.text("name")
    body = {
        "Name": name or None,
        "Driver": options.text("driver"),
        "DriverOpts": dict(options.many("opt")) or None,
        "Labels": dict(parse_pair(text) for text in options.many("label")) or None,
    }
    given = {key: value for key, value in body.items() if value is not None}
    cli.out(cli.engine.post("/volumes/create", body=given)["Name"])


CREATE = Command(
    "volume create [OPTIONS] [VOLUME]",
    create,
    flags=tuple(
        sorted(
            (
                *_OF_SWARMS,
                ("driver", "d", "string", "local", "Driver of the volume"),
                ("label", "", "list:label", "", "Set a label"),
                ("name", "", "string", "", ""),
                ("opt", "o", "map", "map[]", "Option of the driver: type, device, o"),
            )
        )
    ),
    arguments=(0, 1),
)


def export(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Write the content of a volume to a tar archive."""
    return save(cli, options, _archive(arguments[0]), "failed to export volume")


EXPORT = Command(
    "volume export [OPTIONS] VOLUME",
    export,
    flags=(("output", "o", "string", "", "Write to this file instead of standard output"),),
    arguments=(1, 1),
)


def import_(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Unpack a tar archive, plain or compressed, into a volume."""
    body = pieces(arguments[1] if len(arguments) > 1 else "-")
    headers = {"Content-Type": "application/x-tar"}
    cli.engine.request("PUT", _archive(arguments[0]), None, body, headers).read()
    cli.out(arguments[0])


def _archive(name: str) -> str:
    return f"/onggi/v1/volumes/{quote(name)}/archive"


IMPORT = Command(
    "volume import VOLUME [file|-]",
    import_,
    about="Unpack a tar archive into a volume; what is there is merged with what comes",
    arguments=(1, 2),
)


_FORMS = {
    "table": ("table {{.Driver}}\t{{.Name}}", "{{.Name}}"),
    "raw": ("name: {{.Name}}\\ndriver: {{.Driver}}\\n", "name: {{.Name}}"),
}
_NONE = "N/A"  # docker's word for what an answer does not say
_HEADERS = headers(
    "Driver Scope Mountpoint Labels Links Size Availability Group Status",
    Name="VOLUME NAME",
    Label=label_header,
)


def list_(cli: Cli, options: Options, arguments: list[str]) -> None:
    """List volumes."""
    if options.on("cluster"):
        raise Failure("cluster volumes need a swarm, which this engine does not have")
    answer = cli.engine.get("/volumes", {"filters": filters(options.many("filter"))})
    items = sorted(answer.get("Volumes") or [], key=natural)
    form = chosen_form(cli, options, "volumesFormat", _FORMS)
    print(render_rows(form, map(volume_row, items), _HEADERS), end="")


def volume_row(item: Json) -> Row:
    """Return the columns of one volume of ``GET /volumes``."""
    return Row(
        "*formatter.volumeContext",
        Name=item["Name"],
        Driver=item["Driver"],
        Scope=item.get("Scope") or "",
        Mountpoint=item.get("Mountpoint") or "",
        **label_columns(item),
        Links=_NONE,
        Size=_NONE,
        Availability=_NONE,
        Group=_NONE,
        Status=_NONE,
    )


LS = Command(
    "volume ls [OPTIONS]",
    list_,
    flags=(
        ("cluster", "", "bool", "", "Show volumes of a swarm only"),
        ("filter", "f", "filter", "", 'Show only what matches (e.g. "dangling=true")'),
        LIST_FORMAT,
        ("quiet", "q", "bool", "", "Print names only"),
    ),
)


def remove(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Remove volumes with their content."""
    query = {"force": options.on("force") or None}
    return cli.each(arguments, lambda name: cli.engine.delete(f"/volumes/{quote(name)}", query))


RM = Command(
    "volume rm [OPTIONS] VOLUME [VOLUME...]",
    remove,
    flags=(("force", "f", "bool", "", "A volume that does not exist is no failure"),),
    arguments=(1, None),
)


def update(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Refuse: only volumes of a swarm can be changed."""
    raise Failure("can only update cluster volumes, and this engine has no swarm")


UPDATE = Command(
    "volume update [OPTIONS] [VOLUME]",
    update,
    flags=(("availability", "", "string", "active", "Availability of a volume of a swarm"),),
    arguments=(0, 1),
)
