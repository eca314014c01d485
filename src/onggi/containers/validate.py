"""Refuse a create request that is wrong, in docker's words, or that asks for what is not there yet, by
name. Pure.
"""

from __future__ import annotations

import ipaddress
import os
import re

from onggi.containers import clamps, links, spec_security
from onggi.containers.host import Host
from onggi.containers.request import (
    ContainerConfig,
    CreateRequest,
    HostConfig,
    RestartPolicy,
    joined,
)
from onggi.containers.spec_resources import parse_device_rule, rlimits
from onggi.containers.validate_resources import check_resources
from onggi.errors import InvalidArgument, Unsupported
from onggi.logs.options import validate as validate_log
from onggi.networks.ports import split_port, wishes
from onggi.oci.signals import parse_signal

RUNTIMES = ("onggi", "runc")  # one runtime; clients know it by the name of docker's default too
NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?")
_MILLISECOND_NS = 1_000_000


def check_name(name: str) -> str:
    """The name without its slash."""
    if NAME.fullmatch(name) is None or len(name) > 255:
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name.removeprefix("/")


def check_request(request: CreateRequest, host: Host) -> list[str]:
    """Check a completed request; returns docker's warnings. Raises InvalidArgument or Unsupported."""
    config, host_config = request.config, request.host
    _check_config(config)
    _check_modes(host_config)
    _check_conflicts(config, host_config)
    check_ports(config, host_config)
    _refuse_later(host_config)
    if "" in (host_config.annotations or {}):
        raise InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key")
    check_restart_policy(host_config.restart_policy)
    validate_log(host_config.log_config.type, host_config.log_config.config or {})
    _check_security(host_config, host)
    for text in host_config.device_cgroup_rules or []:
        parse_device_rule(text)
    rlimits(host_config.ulimits, {})
    warnings = check_resources(host_config, host) + clamps.warnings(host_config, host)
    if host_config.network_mode == "host" and host_config.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    return warnings


def _check_config(config: ContainerConfig) -> None:
    check_working_directory(config.working_dir)
    for entry in config.env:
        if not entry.partition("=")[0] or "\0" in entry:
            raise InvalidArgument(f"invalid environment variable: {entry}")
    if config.hostname and _HOSTNAME.fullmatch(config.hostname) is None:
        raise InvalidArgument(f"invalid hostname format: {config.hostname}")
    if len(config.domainname) > 64 or re.search(r"[^A-Za-z0-9._-]", config.domainname):
        raise InvalidArgument(f"invalid domainname format: {config.domainname}")
    if config.stop_signal:
        parse_signal(config.stop_signal)
    _check_health(config)


def check_working_directory(path: str) -> None:
    """It is absolute where it is given."""
    if path and not path.startswith("/"):
        raise InvalidArgument(f"the working directory '{path}' is invalid, it needs to be an absolute path")


def _check_health(config: ContainerConfig) -> None:
    health = config.healthcheck
    if health is None:
        return
    for name, value in (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ):
        if value != 0 and value < _MILLISECOND_NS:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    if health.test and health.test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise InvalidArgument(f"unknown type {health.test[0]} in healthcheck")


def _check_modes(host: HostConfig) -> None:
    valid = {
        "IPC": (host.ipc_mode, ("private", "shareable", "host", "none")),
        "PID": (host.pid_mode, ("", "host")),
        "UTS": (host.uts_mode, ("", "host")),
        "cgroup namespace": (host.cgroupns_mode, ("private", "host")),
    }
    for what, (mode, names) in valid.items():
        if mode not in names and not (joined(mode) and what in ("IPC", "PID")):
            raise InvalidArgument(f"invalid {what} mode: {mode}")
    if host.userns_mode not in ("", "host"):
        raise Unsupported(f"user namespace mode {host.userns_mode}: user namespaces are not supported yet")
    if host.isolation not in ("", "default"):
        raise InvalidArgument(f"invalid isolation ({host.isolation}): linux only supports 'default'")


def _check_conflicts(config: ContainerConfig, host: HostConfig) -> None:
    joins = bool(joined(host.network_mode))
    if host.network_mode in ("container", "container:"):
        raise InvalidArgument("invalid network mode: invalid container format container:<name|id>")
    publishes = bool(host.port_bindings) or host.publish_all_ports
    # The name of who has not been given one was completed to the machine's.
    names = {config.hostname, config.domainname} - {"", os.uname().nodename}
    conflicts = {
        "hostname and the network mode": joins and bool(config.hostname),
        "hostname and the UTS mode": host.uts_mode == "host" and bool(names),
        "dns and the network mode": joins and bool(host.dns),
        "custom host-to-IP mapping and the network mode": joins and bool(host.extra_hosts),
        "port publishing and the container type network mode": joins and publishes,
        f"container type network {links.WITHOUT}": joins and bool(host.links),
        f"host type networking {links.WITHOUT}": host.network_mode == "host" and bool(host.links),
        "port exposing and the container type network mode": joins and bool(config.exposed_ports),
    }
    for what, found in conflicts.items():
        if found:
            raise InvalidArgument(f"conflicting options: {what}")
    if host.auto_remove and host.restart_policy.name not in ("", "no"):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    for entry in host.extra_hosts or []:
        _check_extra_host(entry)
    for address in host.dns:
        _check_address(address, f"{address} is not an ip address")


def _check_extra_host(entry: str) -> None:
    name, separator, address = split_extra_host(entry)
    if not separator or not name or _HOSTNAME.fullmatch(name) is None:
        raise InvalidArgument(f'bad format for add-host: "{entry}"')
    if address != "host-gateway":
        _check_address(address, f'invalid IP address in add-host: "{address}"')


def split_extra_host(entry: str) -> tuple[str, str, str]:
    """Name, separator and address of ``name:ip`` or ``name=ip``; brackets around IPv6 are dropped."""
    mark = "=" if "=" in entry else ":"
    name, separator, address = entry.partition(mark)
    return name, separator, address.removeprefix("[").removesuffix("]")


def _check_address(address: str, message: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidArgument(message) from None


def check_ports(config: ContainerConfig, host: HostConfig) -> None:
    """Ports that are exposed or published are ports."""
    for text in config.exposed_ports:
        split_port(text)
    wishes(host.port_bindings, config.exposed_ports, host.publish_all_ports)


def _refuse_later(host: HostConfig) -> None:
    refused = {
        "storage-opt": host.storage_opt,
        "kernel-memory": host.kernel_memory or host.kernel_memory_tcp,
        "cpu-count": host.cpu_count,
        "cpu-percent": host.cpu_percent,
        "io-maxiops": host.io_maximum_iops,
        "io-maxbandwidth": host.io_maximum_bandwidth,
        "cgroup": host.cgroup,
    }
    for option, given in refused.items():
        if given:
            raise Unsupported(f"option {option} is not supported by this engine")
    for request in host.device_requests or []:
        kinds = " ".join(f"[{' '.join(map(str, item))}]" for item in request.get("Capabilities") or [])
        raise Unsupported(
            f'could not select device driver "{request.get("Driver", "")}" with capabilities: [{kinds}]'
        )
    if host.runtime not in RUNTIMES:
        raise InvalidArgument(f"unknown or invalid runtime name: {host.runtime}")
    parent = host.cgroup_parent
    # A bare name of a slice is the systemd driver's way to say where; a path is ours, to a slice too.
    if ".." in parent.split("/") or (parent.endswith(".slice") and not parent.startswith("/")):
        raise InvalidArgument(f"invalid cgroup parent: {parent}")


def check_restart_policy(policy: RestartPolicy) -> None:
    """docker's rules of ``RestartPolicy``."""
    count = policy.maximum_retry_count
    if policy.name not in ("", "no", "always", "on-failure", "unless-stopped"):
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if count and policy.name != "on-failure":
        raise InvalidArgument(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )


def _check_security(host: HostConfig, machine: Host) -> None:
    spec_security.capabilities(host, machine.capabilities)
    spec_security.parse_security_options(host.security_opt)
    spec_security.check_sysctls(
        host.sysctls or {},
        own_network=host.network_mode != "host",
        own_ipc=host.ipc_mode != "host",
        own_uts=host.uts_mode != "host",
    )
