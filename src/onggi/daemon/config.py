"""The daemon's configuration: command line and daemon.json merged. Keys are dockerd's where they exist.

A key that we do not know is refused by name; one that both flag and file set is refused too, as dockerd does:
nobody could say which of them should win after a reload.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from onggi.build import policy
from onggi.build.policy import Policy
from onggi.daemon import hosts, network_options
from onggi.daemon.hosts import Tls
from onggi.daemon.options import FLAGS, Options
from onggi.errors import InvalidArgument, KernelError, OnggiError, Unsupported
from onggi.launch.start import SPARES
from onggi.logs import options as log_options
from onggi.registry import settings as registry_settings
from onggi.registry.settings import Settings
from onggi.store import drivers

Json = Any
DATA_ROOT = "/var/lib/onggi"
DEFAULT_FILE = "/etc/onggi/daemon.json"
DOCKER_SOCKET = "/var/run/docker.sock"
LEVELS = ("debug", "info", "warn", "error", "fatal")
RELOADABLE = ("debug", "log-level", "labels", "log-driver", "log-opts")
_VARIABLES = {
    "ONGGI_ROOT": "data-root",
    "ONGGI_EXEC_ROOT": "exec-root",
    "ONGGI_CGROUP_PARENT": "cgroup-parent",
}
_KINDS: dict[str, type] = {"text": str, "list": list, "bool": bool, "int": int}
_TYPES: dict[str, type] = {
    **{flag.key: _KINDS[flag.kind] for flag in FLAGS if flag.key},
    "log-opts": dict,
    "live-restore": bool,
    "icc": bool,
    "ip-forward": bool,
    "default-address-pools": list,
    "proxies": dict,
    "builder": dict,
}


# Keys whose value is the field's of that name; the others are looked at first.
_PLAIN = (
    "group", "default-profile", "log-driver", "docker-socket", "spares", "bridge", "bip",
    "mtu", "ip", "icc", "ip-forward", "obey-firewall", "close-metadata", "storage-driver",
)  # fmt: skip


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Directories are absolute; ``hosts`` stand in order.

    ``on_demand`` engines end after ``idle_timeout_s``; ``here`` accepts the caller's namespaces.
    """

    data_root: str = DATA_ROOT
    exec_root: str = "/run/onggi"
    hosts: tuple[str, ...] = ()
    group: str = ""
    tls: Tls | None = None
    metrics_address: str = ""
    cgroup_parent: str = "/onggi"
    config_file: str = ""
    default_profile: str = "compat"
    log_level: str = "info"
    log_driver: str = "json-file"
    log_opts: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    pidfile: str = ""
    docker_socket: bool = False
    on_demand: bool = False
    here: bool = False
    idle_timeout_s: int = 300
    spares: int = SPARES
    bridge: str = ""
    bip: str = ""
    mtu: int = 0
    ip: str = ""
    icc: bool = True
    ip_forward: bool = True
    obey_firewall: bool = False
    close_metadata: bool = False
    address_pools: tuple[tuple[str, int], ...] = ()
    registries: Settings = Settings()
    storage_driver: str = ""
    build_cache: Policy = Policy()

    @property
    def debug(self) -> bool:
        return self.log_level == "debug"

    @property
    def socket_path(self) -> str:
        """The socket every engine serves."""
        return f"{self.exec_root}/onggi.sock"

    @property
    def unix_sockets(self) -> tuple[str, ...]:
        """Every unix socket to serve, the engine's own first unless ``-H`` named others."""
        named = tuple(host.removeprefix("unix://") for host in self.hosts if host.startswith("unix://"))
        return named or (self.socket_path,)

    @property
    def tcp_addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of every tcp socket to serve."""
        return tuple(hosts.address(host) for host in self.hosts if host.startswith("tcp://"))


def load(options: Options, env: Mapping[str, str]) -> Config:
    """Build the configuration of a start. Raises InvalidArgument or Unsupported with a sentence."""
    path = options.text("config-file")
    values = read_file(path or DEFAULT_FILE, required=bool(path))
    given = {flag.key: options.given[flag.name] for flag in FLAGS if flag.key and flag.name in options.given}
    both = sorted(set(given) & set(values))
    if both:
        conflicts = ", ".join(f"{key}: (from flag: {given[key]}, from file: {values[key]})" for key in both)
        raise InvalidArgument(
            "the following directives are specified both as a flag and in the configuration file: "
            f"{conflicts}"
        )
    if "log-opts" in given:
        given["log-opts"] = _pairs(given["log-opts"])  # type: ignore[assignment]
    config = build({**_from_environment(env), **values, **given})
    return msgspec.structs.replace(
        config,
        config_file=os.path.abspath(path or DEFAULT_FILE),
        on_demand=options.has("on-demand"),
        here=options.has("here") or env.get("ONGGI_HERE") == "1",
        registries=registry_settings.build({**values, **given}, env),
    )


def read_file(path: str, *, required: bool) -> dict[str, Json]:
    """The checked content of daemon.json; {} where it is absent and not ``required``."""
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except FileNotFoundError:
        if required:
            raise _unusable(path, "no such file") from None
        return {}
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    if not data.strip():
        return {}
    try:
        values = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise _unusable(path, str(error)) from None
    if not isinstance(values, dict):
        raise _unusable(path, "it is no JSON object")
    return _checked(values, path)


def build(values: Mapping[str, Json]) -> Config:
    """The configuration of values by dockerd's keys. Raises InvalidArgument or Unsupported."""
    config = Config(
        data_root=_absolute(values.get("data-root", DATA_ROOT)),
        exec_root=_absolute(values.get("exec-root", "/run/onggi")),
        hosts=tuple(map(hosts.check_host, values.get("hosts", ()))),
        tls=hosts.tls(values, values.get("hosts", ())),
        metrics_address=values.get("metrics-addr", ""),
        cgroup_parent="/" + values.get("cgroup-parent", "/onggi").strip("/"),
        log_level="debug" if values.get("debug") else values.get("log-level", "info"),
        log_opts=dict(values.get("log-opts", {})),
        labels=tuple(values.get("labels", ())),
        pidfile=_absolute(values["pidfile"]) if values.get("pidfile") else "",
        idle_timeout_s=values.get("idle-timeout", 300),
        address_pools=network_options.pools(values.get("default-address-pools", [])),
        build_cache=policy.from_settings(values.get("builder", {})),
        **{key.replace("-", "_"): values[key] for key in _PLAIN if key in values},
    )
    _validate(config)
    return config


def reload(config: Config) -> Config:
    """The configuration after SIGHUP: what may change while serving is read again, the rest stays."""
    values = read_file(config.config_file, required=False)
    wanted = {key: value for key, value in values.items() if key in RELOADABLE}
    fresh = build(wanted)
    changes: dict[str, Json] = {}
    if "debug" in wanted or "log-level" in wanted:
        changes["log_level"] = fresh.log_level
    for key in ("labels", "log-driver", "log-opts"):
        if key in wanted:
            name = key.replace("-", "_")
            changes[name] = getattr(fresh, name)
    return msgspec.structs.replace(config, **changes)


def _from_environment(env: Mapping[str, str]) -> dict[str, Json]:
    values: dict[str, Json] = {key: env[name] for name, key in _VARIABLES.items() if env.get(name)}
    if env.get("ONGGI_IDLE_TIMEOUT", "").isdigit():
        values["idle-timeout"] = int(env["ONGGI_IDLE_TIMEOUT"])
    return values


def _checked(values: dict[str, Json], path: str) -> dict[str, Json]:
    unknown = sorted(set(values) - set(_TYPES))
    if unknown:
        words = "the following directives don't match any configuration option"
        raise _unusable(path, f"{words}: {', '.join(unknown)}")
    for key, value in values.items():
        if not isinstance(value, _TYPES[key]) or (_TYPES[key] is int and isinstance(value, bool)):
            raise _unusable(path, f"{key} has a wrong type")
        if key == "default-address-pools":
            network_options.pools(value)
        elif key == "builder":
            policy.from_settings(value)
        elif isinstance(value, (list, dict)) and not all(isinstance(item, str) for item in _items(value)):
            raise _unusable(path, f"{key} must hold strings")
    if values.get("live-restore") is False:
        raise Unsupported("live-restore=false is not supported: containers always outlive the engine")
    return values


def _unusable(path: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"unable to configure the daemon with file {path}: {why}")


def _items(value: list[Json] | dict[str, Json]) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else value


def _absolute(path: str) -> str:
    if not path or "\0" in path:
        raise InvalidArgument(f"invalid directory: {path!r}")
    return os.path.abspath(path)


def _pairs(texts: Json) -> dict[str, str]:
    pairs = [str(text).partition("=") for text in texts]
    for name, separator, _ in pairs:
        if not separator:
            raise InvalidArgument(f"invalid argument for --log-opt: {name} is not in the form NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _validate(config: Config) -> None:
    if config.log_level not in LEVELS:
        raise InvalidArgument(f"invalid logging level: {config.log_level}")
    if config.default_profile != "compat":
        raise Unsupported(f"default-profile={config.default_profile} is not supported: only compat is")
    drivers.check(config.storage_driver)
    hosts.group_id(config.group)
    if config.metrics_address:
        hosts.address(config.metrics_address)
    if not 0 <= config.spares <= 64:
        raise InvalidArgument(f"invalid spares: {config.spares} is not between 0 and 64")
    if ".." in config.cgroup_parent.split("/") or config.cgroup_parent == "/":
        raise InvalidArgument(f"invalid cgroup-parent: {config.cgroup_parent}")
    network_options.validate(config.bridge, config.bip, config.mtu, config.ip)
    for label in config.labels:
        if "=" not in label:
            raise InvalidArgument(f"bad attribute format: {label}")
    try:
        log_options.validate(config.log_driver, config.log_opts)
    except OnggiError as error:
        raise type(error)(f"failed to set log opts: {error}") from None
