"""Rows of ``ps``: the columns of docker's container list. Pure but for the clock."""

from __future__ import annotations

from onggi.cli.command import Failure
from onggi.cli.filters import ellipsis, short_id
from onggi.cli.format import Row, compile_template, headers, label_columns, label_header
from onggi.cli.template.functions import quoted
from onggi.cli.template.gotypes import NilPointer
from onggi.cli.times import ago, human_size, local_text
from onggi.errors import InvalidArgument
from onggi.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.codec import Json

_GO_TYPE = "*formatter.ContainerContext"
_TABLE = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
_RAW = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
    "state: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\n"
    "labels:{{pad .Labels 1 0}}\nports:{{pad .Ports 1 0}}\n"
)
# Without and with sizes.
FORMS = {"table": (_TABLE, _TABLE + "\t{{.Size}}"), "raw": (_RAW, _RAW + "size: {{.Size}}\n")}
HEADERS = headers(
    "Names Image Command Created_At Ports State Status Size Labels Mounts Local_Volumes Networks Platform",
    ID="CONTAINER ID",
    RunningFor="CREATED",
    Label=label_header,
)


def fields_of(form: str) -> set[str]:
    """Return the columns that a template names. Raises Failure for those that there are not."""
    if form in ("json", "table", ""):
        return set()
    names = set(_fields(compile_template(form.removeprefix("table"), "failed to parse template")))
    for name in sorted(names - set(HEADERS)):
        cause = f"can't evaluate field {name} in type {_GO_TYPE}"
        raise Failure(f'failed to execute template: template: :1:2: executing "" at <.{name}>: {cause}')
    return names | ({"Size"} if "{{json .}}" in form else set())


def _fields(tree: Json) -> Iterator[str]:
    """Yield the first field of every ``.Field`` outside of range and with bodies (whose dot is another)."""
    if isinstance(tree, tuple) and tree and tree[0] in ("range", "with"):
        yield from _fields(tree[1])
    elif isinstance(tree, tuple) and tree and tree[0] == "dot":
        yield from tree[1][:1]
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _fields(part)


def container_row(item: Json, truncate: bool) -> Row:
    """Return the columns of one container of ``GET /containers/json``."""
    mounts = item.get("Mounts") or []
    command = item.get("Command") or ""
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    return Row(
        _GO_TYPE,
        ID=short_id(item["Id"]) if truncate else item["Id"],
        Names=_names(item.get("Names") or [], truncate),
        Image=_image(item, truncate),
        Command=quoted(ellipsis(command, 20) if truncate else command),
        CreatedAt=local_text(item.get("Created") or 0),
        RunningFor=ago(item.get("Created") or 0),
        Ports=ports_text(item.get("Ports") or []),
        State=item.get("State", ""),
        Status=item.get("Status", ""),
        Size=_size(item),
        **label_columns(item),
        Mounts=",".join(_mount(mount, truncate) for mount in mounts),
        LocalVolumes=str(sum(mount.get("Driver") == "local" for mount in mounts)),
        Networks=",".join(networks),
        Platform=NilPointer("nil pointer evaluating *formatter.Platform."),
    )


def _names(names: list[str], truncate: bool) -> str:
    plain = [name.removeprefix("/") for name in names]
    if truncate:
        return next((name for name in plain if "/" not in name), "")
    return ",".join(plain)


def _image(item: Json, truncate: bool) -> str:
    image = str(item.get("Image") or "")
    if not image:
        return "<no image>"
    if not truncate:
        return image
    if short_id(image) == short_id(item.get("ImageID") or "") and image.startswith("sha256:"):
        return short_id(image)
    try:
        reference = parse(image)
    except InvalidArgument:
        return image
    return f"{reference.familiar_name}:{reference.tag}" if reference.tag else reference.familiar_name


def _size(item: Json) -> str:
    written = human_size(item.get("SizeRw") or 0, 3)
    whole = item.get("SizeRootFs") or 0
    return f"{written} (virtual {human_size(whole, 3)})" if whole > 0 else written


def _mount(mount: Json, truncate: bool) -> str:
    name = mount.get("Name") or mount.get("Source") or ""
    return ellipsis(name, 15) if truncate else name


def ports_text(ports: list[Json]) -> str:
    """Return the ports column: neighbours joined to ranges, mappings to other numbers one by one."""
    groups: dict[str, list[int]] = {}
    result: list[str] = []
    moved: list[str] = []
    for port in sorted(ports, key=_port_order):
        private, address = port["PrivatePort"], port.get("IP") or ""
        key = port["Type"]
        if address:
            if port.get("PublicPort") != private:
                moved.append(f"{_host(address)}:{port['PublicPort']}->{private}/{port['Type']}")
                continue
            key = f"{address}/{port['Type']}"
        group = groups.get(key)
        if group is not None and private == group[1] + 1:
            group[1] = private
            continue
        if group is not None:
            result.append(_group(key, group))
        groups.pop(key, None)
        groups[key] = [private, private]
    result += [_group(key, group) for key, group in groups.items()]
    return ", ".join(result + moved)


def _port_order(port: Json) -> tuple[Json, ...]:
    return port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"]


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _group(key: str, group: list[int]) -> str:
    address, slash, protocol = key.rpartition("/")
    span = str(group[0]) if group[0] == group[1] else f"{group[0]}-{group[1]}"
    return f"{_host(address)}:{span}->{span}/{protocol}" if slash else f"{span}/{protocol}"
