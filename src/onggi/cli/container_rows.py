"""Rows of ``ps``: the columns of docker's container list. Pure but for the clock."""

from __future__ import annotations

from onggi.cli.filters import ellipsis, short_id
from onggi.cli.format import Row, label_header
from onggi.cli.image_name import parse_reference
from onggi.cli.template.functions import quoted
from onggi.cli.times import ago, human_size, local_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

GO_TYPE = "*formatter.ContainerContext"
TABLE = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
HEADERS: dict[str, Json] = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Label": label_header,
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}


def container_row(item: Json, truncate: bool) -> Row:
    """Return the columns of one container of ``GET /containers/json``."""
    labels = item.get("Labels") or {}
    mounts = item.get("Mounts") or []
    command = item.get("Command") or ""
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    return Row(
        GO_TYPE,
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
        Labels=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        Label=lambda name: labels.get(name, ""),
        Mounts=",".join(_mount(mount, truncate) for mount in mounts),
        LocalVolumes=str(sum(mount.get("Driver") == "local" for mount in mounts)),
        Networks=",".join(networks),
        Platform=None,
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
        reference = parse_reference(image)
    except ValueError:
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
