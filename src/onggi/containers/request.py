"""What a client asks for: docker's container configuration as types (Engine API v1.51, ``ContainerCreate``).

Field names are docker's by renaming, so that a decoded request encoded again is docker's ``inspect`` shape.
May import msgspec and errors. A JSON null means "not given", as in Go.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from onggi.errors import InvalidArgument
from onggi.networks.request import EndpointSettings

Json = Any
T = TypeVar("T")
SHM_SIZE = 64 << 20
Side = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
ConsoleSize = tuple[Side, Side]  # height, width


class _Wire(msgspec.Struct, rename="pascal", kw_only=True):
    """A record with docker's field names."""


class HealthConfig(_Wire, omit_defaults=True):
    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(_Wire):
    """The part that is the same on every host."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Json] = {}
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] = []
    cmd: list[str] | str | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Json] | None = None
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None


class LogConfig(_Wire):
    type: str = ""
    config: dict[str, str] | None = None


class RestartPolicy(_Wire):
    name: str = "no"
    maximum_retry_count: int = 0


class Ulimit(_Wire):
    name: str
    hard: int = 0
    soft: int = 0


class DeviceMapping(_Wire):
    path_on_host: str
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class ThrottleDevice(_Wire):
    path: str
    rate: int = 0


class WeightDevice(_Wire):
    path: str
    weight: int = 0


class BindOptions(_Wire, omit_defaults=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class VolumeDriver(_Wire, omit_defaults=True):
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(_Wire, omit_defaults=True):
    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: VolumeDriver | None = None
    subpath: str = ""


class ImageOptions(_Wire, omit_defaults=True):
    subpath: str = ""


class TmpfsOptions(_Wire, omit_defaults=True):
    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] = []


class Mount(_Wire, omit_defaults=True):
    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class Resources(_Wire):
    """Limits; the part that ``update`` may change too."""

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] = []
    blkio_device_read_bps: list[ThrottleDevice] = []
    blkio_device_write_bps: list[ThrottleDevice] = []
    blkio_device_read_iops: list[ThrottleDevice] = msgspec.field(
        default_factory=list, name="BlkioDeviceReadIOps"
    )
    blkio_device_write_iops: list[ThrottleDevice] = msgspec.field(
        default_factory=list, name="BlkioDeviceWriteIOps"
    )
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] = []
    device_cgroup_rules: list[str] | None = None
    device_requests: list[dict[str, Json]] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] = []
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = msgspec.field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = msgspec.field(default=0, name="IOMaximumBandwidth")
    kernel_memory_tcp: int = msgspec.field(default=0, name="KernelMemoryTCP")
    init: bool | None = None

    @property
    def throttles(self) -> dict[str, list[ThrottleDevice]]:
        """Devices and their rates, by the names of OCI's ``blockIO``."""
        return {
            "throttleReadBpsDevice": self.blkio_device_read_bps,
            "throttleWriteBpsDevice": self.blkio_device_write_bps,
            "throttleReadIOPSDevice": self.blkio_device_read_iops,
            "throttleWriteIOPSDevice": self.blkio_device_write_iops,
        }


class HostConfig(Resources):
    """The part that depends on the machine the container runs on."""

    binds: list[str] | None = None
    container_id_file: str = msgspec.field(default="", name="ContainerIDFile")
    log_config: LogConfig = msgspec.field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, Json] = {}
    restart_policy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: ConsoleSize = (0, 0)
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] = []
    dns_options: list[str] = []
    dns_search: list[str] = []
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    mounts: list[Mount] = []
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = msgspec.field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    annotations: dict[str, str] | None = None
    kernel_memory: int = 0
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    host_show: list[str] | None = msgspec.field(default=None, name="OnggiHostShow")
    rootfs_directory: str = msgspec.field(default="", name="OnggiRootfs")


class NetworkingConfig(_Wire):
    endpoints_config: dict[str, EndpointSettings] = {}


class CreateRequest(msgspec.Struct):
    config: ContainerConfig
    host: HostConfig
    networking: NetworkingConfig


class ExecConfig(_Wire):
    """Body of ``POST /containers/{id}/exec``."""

    user: str = ""
    privileged: bool = False
    tty: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach: bool = False
    detach_keys: str = ""
    env: list[str] = []
    working_dir: str = ""
    cmd: list[str] | None = None
    console_size: ConsoleSize | None = None


class ExecStart(_Wire):
    """Body of ``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool = False
    console_size: ConsoleSize | None = None


def _plain(value: Json) -> Json:
    """The value without nulls; a number that Go's int64 cannot hold is refused (rule R8)."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidArgument("invalid JSON: a number is out of range")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _folded(body: Json, kind: type[Json]) -> Json:
    """The object with docker's spelling of its fields: Go matches names whatever their case."""
    names = kind.__struct_encode_fields__
    if not isinstance(body, dict) or body.keys() <= set(names):
        return body
    spelled = {name.lower(): name for name in names}
    return {spelled.get(key.lower(), key): value for key, value in body.items()}


def convert(body: Json, kind: type[T]) -> T:
    """Decode a JSON value.

    Numbers beyond 64 bits and wrong types raise InvalidArgument with the field's name.
    """
    try:
        return msgspec.convert(_plain(_folded({} if body is None else body, kind)), kind)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid JSON: {str(error).lower()}") from None
    except RecursionError:
        raise InvalidArgument("invalid JSON: nested too deeply") from None


def parse_create(body: Json) -> CreateRequest:
    """The three parts of a create request."""
    if not isinstance(body, dict) or not body.keys() - {"HostConfig", "NetworkingConfig"}:
        raise InvalidArgument("config cannot be empty in order to create a container")
    return CreateRequest(
        config=convert(body, ContainerConfig),
        host=convert(body.get("HostConfig"), HostConfig),
        networking=convert(body.get("NetworkingConfig"), NetworkingConfig),
    )


def joined(mode: str) -> str:
    """The container whose namespace a mode joins, empty for any other mode."""
    kind, _, ref = mode.partition(":")
    return ref if kind == "container" else ""


def words(value: list[str] | str | None) -> list[str]:
    """A command as a list; a bare string is one word, as in docker's ``strslice``."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value
