"""``/etc/hosts``, ``/etc/hostname`` and ``/etc/resolv.conf`` of a container.

On disk, owner: containers room::

    <data-root>/containers/<id>/{hosts,hostname,resolv.conf}   0644, below a directory of mode 0700
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import NamedTuple

from onggi.containers.request import ContainerConfig, HostConfig
from onggi.containers.validate import split_extra_host

_HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
_FALLBACK_RESOLVERS = ("8.8.8.8", "8.8.4.4")
RESOLVER = "127.0.0.11"
_LIMIT = 1 << 16
DESTINATIONS = {"/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname", "/etc/hosts": "hosts"}


class NameFacts(NamedTuple):
    """What the networks of a container mean for its files.

    ``lines`` are (address, names); ``gateway`` stands for ``host-gateway``; with ``resolver`` names are
    asked of us.
    """

    lines: tuple[tuple[str, str], ...] = ()
    gateway: tuple[str, ...] = ()
    resolver: bool = False


_ALONE = NameFacts()


def hosts_text(host: HostConfig, machine: str, facts: NameFacts = _ALONE) -> str:
    """docker's hosts file; with the host's network it starts from the machine's own."""
    base = machine if host.network_mode == "host" else _HOSTS
    extra = [split_extra_host(entry) for entry in host.extra_hosts or []]
    rows = [
        (real, name)
        for name, _, address in extra
        for real in (facts.gateway if address == "host-gateway" else (address,))
    ]
    return base + "".join(f"{address}\t{names}\n" for address, names in [*rows, *facts.lines])


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True


def resolv_text(host: HostConfig, machine: str, resolver: bool = False) -> str:
    """docker's resolv.conf: the machine's without loopback resolvers in an own network, changed by --dns*."""
    own = host.network_mode != "host"
    rows = [line.split() for line in machine.splitlines() if line.strip() and line.strip()[0] not in "#;"]
    found = [
        row[1]
        for row in rows
        if row[0] == "nameserver" and len(row) > 1 and not (own and _is_loopback(row[1]))
    ]
    servers = host.dns or found or list(_FALLBACK_RESOLVERS)
    search = host.dns_search or [word for row in rows if row[0] in ("search", "domain") for word in row[1:]]
    options = host.dns_options or [word for row in rows if row[0] == "options" for word in row[1:]]
    if resolver:
        servers = [RESOLVER]
        options = options if any(word.startswith("ndots:") for word in options) else [*options, "ndots:0"]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search and search != ["."] else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _machine_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LIMIT)
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    # In place: the file may be bound into a running container, and what it holds can be made again at any
    # time.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.fchmod(fd, 0o644)
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def write_files(
    directory: str, config: ContainerConfig, host: HostConfig, facts: NameFacts = _ALONE
) -> dict[str, str]:
    """Write the three files; returns their path on the host by destination."""
    texts = {
        "hosts": hosts_text(host, _machine_file("/etc/hosts") if host.network_mode == "host" else "", facts),
        "hostname": config.hostname + "\n",
        "resolv.conf": resolv_text(host, _machine_file("/etc/resolv.conf"), facts.resolver),
    }
    for file, text in texts.items():
        _write(f"{directory}/{file}", text)
    return paths(directory)


def write_names(directory: str, host: HostConfig, facts: NameFacts) -> None:
    """Write what follows from networks again, for a container that runs."""
    _write(f"{directory}/hosts", hosts_text(host, "", facts))
    _write(f"{directory}/resolv.conf", resolv_text(host, _machine_file("/etc/resolv.conf"), facts.resolver))


def move_name(directory: str, name: str, address: str) -> None:
    """Give a name another address in the hosts file of a container that runs, and leave its other lines.

    A file that the container has made longer than any of ours stays as it is.
    """
    path = f"{directory}/hosts"
    text = _machine_file(path)
    if len(text) < _LIMIT:
        _write(path, re.sub(rf"(?m)^\S+(?=\t{re.escape(name)}\s)", address, text))


def paths(directory: str) -> dict[str, str]:
    """Where the files of a container lie, by destination."""
    return {destination: f"{directory}/{file}" for destination, file in DESTINATIONS.items()}
