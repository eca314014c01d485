"""From the flags of ``run`` and ``create`` to docker's create request, field by field as the docker CLI
sends it.

Pure but for what the flags name: environment and label files, seccomp profiles, the working directory.
Source: Docker Engine API 1.50, ``POST /containers/create``.
"""

from __future__ import annotations

from onggi.cli import ports
from onggi.cli.command import Options
from onggi.cli.endpoints import endpoints
from onggi.cli.kvfile import read_pairs
from onggi.cli.mounts import parse_volumes
from onggi.cli.security import capabilities, parse_devices, parse_security
from onggi.cli.specs import last_ulimits, parse_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

# Flags whose values the API takes as they are, when a container is made and when it is changed.
NUMBERS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
}
TEXTS = {"cpuset-cpus": "CpusetCpus", "cpuset-mems": "CpusetMems"}


def build_body(options: Options, image: str, command: list[str]) -> dict[str, Json]:
    """Return the body of ``POST /containers/create``. Raises ValueError in docker's words."""
    _check_mac(options.text("mac-address"))
    if not -1 <= options.number("memory-swappiness") <= 100:
        swappiness = options.number("memory-swappiness")
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    volumes, binds = parse_volumes(options.many("volume"))
    exposed, bindings = ports.parse_ports(options.many("publish"), options.many("expose"))
    body = _config(options, image, command)
    body["Volumes"] = volumes
    if exposed:
        body["ExposedPorts"] = exposed
    host = {"Binds": binds, "PortBindings": bindings, **_host_config(options), **_resources(options)}
    if host["AutoRemove"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    body["HostConfig"] = host
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints(options)}
    return body


def _check_mac(text: str) -> None:
    parts = text.strip().replace("-", ":").split(":")
    hexadecimal = all(len(part) == 2 and not part.strip("0123456789abcdefABCDEF") for part in parts)
    if text and not (hexadecimal and len(parts) in (6, 8, 20)):
        raise ValueError(f"{text} is not a valid mac address")


def _config(options: Options, image: str, command: list[str]) -> dict[str, Json]:
    attach = set(options.many("attach")) or {"stdout", "stderr"}
    if options.on("interactive"):
        attach.add("stdin")
    config: dict[str, Json] = {
        "Hostname": options.text("hostname"),
        "Domainname": options.text("domainname"),
        "User": options.text("user"),
        "AttachStdin": "stdin" in attach,
        "AttachStdout": "stdout" in attach,
        "AttachStderr": "stderr" in attach,
        "Tty": options.on("tty"),
        "OpenStdin": options.on("interactive"),
        "StdinOnce": options.on("interactive") and "stdin" in attach,
        "Env": _pairs(options, "env", with_environment=True),
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": options.text("workdir"),
        "Entrypoint": [options.text("entrypoint")] if "entrypoint" in options.given else None,
        "OnBuild": None,
        "Labels": dict(parse_pair(label) for label in _pairs(options, "label", with_environment=False) or []),
    }
    health = _health(options)
    if health is not None:
        config["Healthcheck"] = health
    if options.text("stop-signal"):
        config["StopSignal"] = options.text("stop-signal")
    if "stop-timeout" in options.given:
        config["StopTimeout"] = options.number("stop-timeout")
    return config


def _pairs(options: Options, name: str, *, with_environment: bool) -> list[str] | None:
    pairs: list[str] = []
    for path in options.many(f"{name}-file"):
        pairs += read_pairs(path, with_environment)
    return (pairs + options.many(name)) or None


def _health(options: Options) -> Json:
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    values = {name: options.number(f"health-{name}") for name in names}
    test = options.text("health-cmd")
    if options.on("no-healthcheck"):
        if test or any(values.values()):
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not test and not any(values.values()):
        return None
    health: dict[str, Json] = {"Test": ["CMD-SHELL", test]} if test else {}
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"--health-{name} cannot be negative")
        if value:
            health["".join(word.capitalize() for word in name.split("-"))] = value
    return health


def _host_config(options: Options) -> dict[str, Json]:
    security, masked, readonly = parse_security(options.many("security-opt"))
    _check_modes(options)
    network = (options.many("network") or [{"name": "default"}])[0]["name"]
    host: dict[str, Json] = {
        "ContainerIDFile": options.text("cidfile"),
        "LogConfig": {"Type": options.text("log-driver"), "Config": _log_options(options)},
        "NetworkMode": network,
        "RestartPolicy": parse_restart(options.text("restart")),
        "AutoRemove": options.on("rm"),
        "VolumeDriver": options.text("volume-driver"),
        "VolumesFrom": options.many("volumes-from") or None,
        "ConsoleSize": [0, 0],
        "CapAdd": capabilities(options.many("cap-add")),
        "CapDrop": capabilities(options.many("cap-drop")),
        "CgroupnsMode": options.text("cgroupns"),
        "Dns": options.many("dns"),
        "DnsOptions": options.many("dns-option"),
        "DnsSearch": options.many("dns-search"),
        "ExtraHosts": options.many("add-host") or None,
        "GroupAdd": options.many("group-add") or None,
        "IpcMode": options.text("ipc"),
        "Cgroup": "",
        "Links": options.many("link") or None,
        "OomScoreAdj": options.number("oom-score-adj"),
        "PidMode": options.text("pid"),
        "Privileged": options.on("privileged"),
        "PublishAllPorts": options.on("publish-all"),
        "ReadonlyRootfs": options.on("read-only"),
        "SecurityOpt": security,
        "UTSMode": options.text("uts"),
        "UsernsMode": options.text("userns"),
        "ShmSize": options.number("shm-size"),
        "Isolation": options.text("isolation"),
        "MaskedPaths": masked,
        "ReadonlyPaths": readonly,
    }
    host.update(_optional_host_fields(options))
    return host


def _optional_host_fields(options: Options) -> dict[str, Json]:
    """Return the fields that docker leaves out when they are empty, and our own two."""
    fields: dict[str, Json] = {
        "Annotations": dict(options.many("annotation")),
        "StorageOpt": _storage_options(options.many("storage-opt")),
        "Tmpfs": {path: rest for path, _, rest in (text.partition(":") for text in options.many("tmpfs"))},
        "Sysctls": dict(options.many("sysctl")),
        "Runtime": options.text("runtime"),
        "Mounts": options.many("mount"),
        "OnggiHostShow": options.many("host-show"),
        "OnggiRootfs": options.text("rootfs"),
    }
    init = {"Init": options.on("init")} if "init" in options.given else {}
    return init | {name: value for name, value in fields.items() if value}


def _storage_options(texts: list[str]) -> dict[str, str]:
    if any("=" not in text for text in texts):
        raise ValueError("invalid storage option")
    return dict(parse_pair(text) for text in texts)


def _log_options(options: Options) -> dict[str, str]:
    if options.text("log-driver") == "none" and options.many("log-opt"):
        raise ValueError("invalid logging opts for driver none")
    return dict(parse_pair(text) for text in options.many("log-opt"))


def _check_modes(options: Options) -> None:
    pid = options.text("pid")
    if pid not in ("", "host") and not (pid.startswith("container:") and len(pid) > len("container:")):
        raise ValueError("--pid: invalid PID mode")
    for flag, allowed, word in (("uts", ("", "host"), "UTS"), ("userns", ("", "host"), "USER")):
        if options.text(flag) not in allowed:
            raise ValueError(f"--{flag}: invalid {word} mode")
    if options.text("cgroupns") not in ("", "host", "private"):
        raise ValueError("--cgroupns: invalid CGROUP mode")


def parse_restart(text: str) -> Json:
    """Return ``{"Name", "MaximumRetryCount"}`` of ``policy[:retries]``. Raises ValueError."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if count and not count.lstrip("+-").isdigit():
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def limits(options: Options) -> dict[str, Json]:
    """Return the fields of ``NUMBERS`` and ``TEXTS``."""
    numbers = {field: options.number(name) for name, field in NUMBERS.items()}
    return numbers | {field: options.text(name) for name, field in TEXTS.items()}


def _resources(options: Options) -> dict[str, Json]:
    number, many = options.number, options.many
    devices, named = parse_devices(many("device"))
    requests = many("gpus") + named
    return {
        **limits(options),
        "CgroupParent": options.text("cgroup-parent"),
        "BlkioWeightDevice": many("blkio-weight-device"),
        "BlkioDeviceReadBps": many("device-read-bps"),
        "BlkioDeviceWriteBps": many("device-write-bps"),
        "BlkioDeviceReadIOps": many("device-read-iops"),
        "BlkioDeviceWriteIOps": many("device-write-iops"),
        "Devices": devices,
        "DeviceCgroupRules": many("device-cgroup-rule") or None,
        "DeviceRequests": requests or None,
        "MemorySwappiness": number("memory-swappiness"),
        "OomKillDisable": options.on("oom-kill-disable"),
        "PidsLimit": number("pids-limit"),
        "Ulimits": last_ulimits(many("ulimit")),
        "CpuCount": number("cpu-count"),
        "CpuPercent": number("cpu-percent"),
        "IOMaximumIOps": number("io-maxiops"),
        "IOMaximumBandwidth": number("io-maxbandwidth"),
    }
