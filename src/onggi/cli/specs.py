"""Flag values with a structure of their own: mounts, networks, ulimits, devices, hosts. Pure; ValueError
tells why.

Each function returns the piece of docker's request body that the value becomes (Docker Engine API,
``HostConfig``).
"""

from __future__ import annotations

from onggi.cli.values import parse_bytes, parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from onggi.client.codec import Json

_ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
_SYSCTLS = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"]
_RATE = "invalid rate for device: {}. The correct format is <device-path>:<number>"
_RATE_UNITS = "[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"


def convert(kind: str, text: str) -> Json:
    """Return the value of ``text`` for a flag checked as ``kind``."""
    check = _CHECKS.get(kind)
    return check(text) if check else text


def split_fields(text: str) -> list[str]:
    """Split one CSV record (RFC 4180): commas, fields in double quotes."""
    fields, field, quoted, at = [], "", False, 0
    while at < len(text):
        character = text[at]
        if quoted and text[at : at + 2] == '""':
            field, at = field + '"', at + 1
        elif character == '"' and (quoted or not field):
            quoted = not quoted
        elif character == '"':
            raise ValueError(f'parse error on line 1, column {at + 1}: bare " in non-quoted-field')
        elif character == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += character
        at += 1
    if quoted:
        raise ValueError(
            f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field'
        )
    return [*fields, field]


def parse_ulimit(text: str) -> Json:
    """Return ``{"Name", "Hard", "Soft"}`` of ``name=soft[:hard]``."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft = parse_int(parts[0])
    hard = parse_int(parts[1]) if len(parts) == 2 else soft
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(_ulimit_order(soft, hard))
    return {"Name": name, "Hard": hard, "Soft": soft}


def last_ulimits(ulimits: list[Json]) -> list[Json]:
    """Return limits in the order of their names, of those with the same name the last."""
    by_name = {ulimit["Name"]: ulimit for ulimit in ulimits}
    return [by_name[name] for name in sorted(by_name)]


def _ulimit_order(soft: int, hard: int) -> str:
    shown = "-1 (unlimited)" if soft == -1 else str(soft)
    return f"ulimit soft limit must be less than or equal to hard limit: {shown} > {hard}"


def parse_sysctl(text: str) -> tuple[str, str]:
    """Return (name, value) of a namespaced sysctl."""
    name, equals, value = text.partition("=")
    allowed = name.startswith(("net.", "fs.mqueue.")) or name.removeprefix("kernel.") in _SYSCTLS
    if not equals or not name or not allowed:
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def parse_pair(text: str) -> tuple[str, str]:
    """Return (name, value) of ``name[=value]``."""
    name, _, value = text.partition("=")
    return name, value


def _device(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def parse_weight_device(text: str) -> Json:
    """Return ``{"Path", "Weight"}`` of ``/dev/x:weight``."""
    path, value = _device(text)
    weight = int(value) if value.isascii() and value.isdigit() else -1
    if weight != 0 and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": weight}


def parse_throttle_bytes(text: str) -> Json:
    """Return ``{"Path", "Rate"}`` of ``/dev/x:rate[unit]``."""
    path, value = _device(text)
    try:
        return {"Path": path, "Rate": parse_bytes(value)}
    except ValueError:
        raise ValueError(_RATE.format(text) + _RATE_UNITS) from None


def parse_throttle_operations(text: str) -> Json:
    """Return ``{"Path", "Rate"}`` of ``/dev/x:rate``."""
    path, value = _device(text)
    if not (value.isascii() and value.isdigit()):
        raise ValueError(_RATE.format(text) + ". Number must be a positive integer")
    return {"Path": path, "Rate": int(value)}


def parse_address(text: str) -> str:
    """Return an IP address in canonical form."""
    from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton

    for family in (AF_INET, AF_INET6):
        try:
            return inet_ntop(family, inet_pton(family, text.strip()))
        except OSError:
            continue
    raise ValueError(f"IP address is not correctly formatted: {text}")


def parse_ip(text: str) -> str:
    """Return an IP address of ``--ip`` and ``--ip6``."""
    try:
        return parse_address(text)
    except ValueError:
        raise ValueError(f'failed to parse IP: "{text}"') from None


def check_domain(text: str) -> str:
    """Return a search domain."""
    domain = text.strip(" ")
    if domain == ".":
        return domain
    labels = domain.removesuffix(".").split(".")
    good = all(label and len(label) < 64 and _is_label(label) for label in labels)
    if not good or len(domain) > 254 or not any(c.isalpha() for c in domain):
        raise ValueError(f"{domain} is not a valid domain")
    return domain.removesuffix(".")


def _is_label(label: str) -> bool:
    return (
        label.isascii()
        and label.replace("-", "a").replace("_", "a").isalnum()
        and label[0] != "-"
        and label[-1] != "-"
    )


def check_host(text: str) -> str:
    """Return ``name:address`` of ``name:address`` or ``name=[address]``."""
    name, separator, address = text.partition("=")
    if not separator:
        name, separator, address = text.partition(":")
    if not separator or not name or ":" in name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        try:
            parse_address(address)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def check_link(text: str) -> str:
    """Return ``container[:alias]``."""
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def check_device_rule(text: str) -> str:
    """Return ``type major:minor access`` of the devices cgroup."""
    parts = text.split(" ")
    numbers = parts[1].split(":") if len(parts) == 3 else []
    good = (
        len(numbers) == 2
        and parts[0] in ("a", "c", "b")
        and all(number == "*" or (number.isascii() and number.isdigit()) for number in numbers)
        and 1 <= len(parts[2]) <= 3
        and not parts[2].strip("rwm")
    )
    if not good:
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def parse_gpus(text: str) -> Json:
    """Return docker's ``DeviceRequest`` of a ``--gpus`` value."""
    request: dict[str, Json] = {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": [["gpu"]],
        "Options": {},
    }
    seen = set()
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not equals:
            seen.add("count")
            request["Count"] = _gpu_count(key)
        else:
            _gpu_option(request, key, value, field)
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    return request


def _gpu_option(request: dict[str, Json], key: str, value: str, field: str) -> None:
    if key == "driver":
        request["Driver"] = value
    elif key == "count":
        request["Count"] = _gpu_count(value)
    elif key == "device":
        request["DeviceIDs"] = value.split(",")
    elif key == "capabilities":
        request["Capabilities"] = [[*value.split(","), "gpu"]]
    elif key == "options":
        request["Options"] = dict(parse_pair(option) for option in split_fields(value))
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _gpu_count(text: str) -> int:
    if text == "all":
        return -1
    if not text.lstrip("+-").isdigit():
        raise ValueError(f'invalid count ({text}): value must be either "all" or an integer: invalid syntax')
    return int(text)


def parse_mount(text: str) -> Json:
    """Return docker's ``Mount`` of a ``--mount`` value."""
    from onggi.cli.mounts import parse_mount as parse

    return parse(text)


def parse_network(text: str) -> dict[str, Json]:
    """Return ``--network`` as typed, keys to values; those of alias and link-local-ip are lists."""
    if "=" not in text:
        return {"name": text}
    network: dict[str, Json] = {"name": ""}
    for field in split_fields(text):
        key, equals, value = (part.strip() for part in field.lower().partition("="))
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        if key in ("name", "mac-address"):
            network[key] = value
        elif key in ("ip", "ip6"):
            network[key] = parse_address(value)
        elif key == "alias":
            network.setdefault(key, []).append(value)
        elif key == "link-local-ip":
            network.setdefault(key, []).append(parse_address(value))
        elif key == "driver-opt":
            network.setdefault(key, {}).update([_driver_option(value)])
        elif key == "gw-priority":
            network[key] = _priority(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not network["name"]:
        raise ValueError("network name/id is not specified")
    return network


def _driver_option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError("invalid key value pair format in driver options")
    return key.strip(), value.strip()


def _priority(text: str) -> int:
    if not text.lstrip("+-").isdigit():
        raise ValueError(f"invalid gw-priority ({text}): invalid syntax")
    return int(text)


_CHECKS: dict[str, Callable[[str], Json]] = {
    "ulimit": parse_ulimit,
    "sysctl": parse_sysctl,
    "map": parse_pair,
    "weight-device": parse_weight_device,
    "throttle-bytes": parse_throttle_bytes,
    "throttle-operations": parse_throttle_operations,
    "address": parse_address,
    "ip": parse_ip,
    "domain": check_domain,
    "host": check_host,
    "link": check_link,
    "device-rule": check_device_rule,
    "gpu-request": parse_gpus,
    "mount": parse_mount,
    "network": parse_network,
}
