"""``--publish`` and ``--expose`` values. Pure; ValueError in docker's words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_PROTOCOLS = ("tcp", "udp", "sctp")
_MOST = 65535


def parse_ports(publish: list[str], expose: list[str]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return docker's ``ExposedPorts`` and ``PortBindings``."""
    exposed: dict[str, Json] = {}
    bindings: dict[str, Json] = {}
    for text in publish:
        for port, binding in _published(_short_form(text)):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    for text in expose:
        for port in _exposed(text):
            exposed[port] = {}
    return exposed, bindings


def _short_form(text: str) -> str:
    """Rewrite ``published=80,target=80,protocol=tcp`` as ``80:80/tcp``."""
    if "=" not in text:
        return text
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{part}')")
        fields[name] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _published(text: str) -> list[tuple[str, Json]]:
    """Return (port/protocol, binding) for each port of ``[ip:][host][:container][/protocol]``."""
    address, host, container = _split(text)
    container, _, protocol = container.partition("/")
    protocol = (protocol or "tcp").lower()
    if not container:
        raise ValueError(f"no port specified: {text}<empty>")
    first, last = _range(container, "containerPort")
    host_first, host_last = _range(host, "hostPort") if host else (0, 0)
    spread = host and last - first != host_last - host_first
    if spread and last != first:
        raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    rows = []
    for offset in range(last - first + 1):
        shown = "" if not host else host if spread else str(host_first + offset)
        rows.append((f"{first + offset}/{protocol}", {"HostIp": address, "HostPort": shown}))
    return rows


def _split(text: str) -> tuple[str, str, str]:
    parts = text.rsplit(":", 2)
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return _address(parts[0]), parts[1], parts[2]


def _address(text: str) -> str:
    from onggi.cli.specs import parse_address

    if not text:
        return ""
    try:
        return parse_address(text[1:-1] if text[0] == "[" and text[-1] == "]" else text)
    except ValueError:
        raise ValueError(f"invalid IP address: {text}") from None


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    start = _number(first, what, text)
    end = _number(last, what, text) if dash else start
    if end < start:
        raise ValueError(f"invalid {what}: {text}")
    return start, end


def _number(text: str, what: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _MOST:
        raise ValueError(f"invalid {what}: {whole}")
    return int(text)


def _exposed(text: str) -> list[str]:
    ports, slash, protocol = text.partition("/")
    if ":" in text:
        raise ValueError(f"invalid port format for --expose: {text}")
    try:
        first, last = _range(ports, "port")
    except ValueError:
        raise ValueError(
            f"invalid range format for --expose: {text}, error: invalid port: '{ports}'"
        ) from None
    return [f"{port}/{protocol.lower() if slash else 'tcp'}" for port in range(first, last + 1)]
