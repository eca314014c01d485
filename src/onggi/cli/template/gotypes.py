"""What templates see as docker's: Go's names of fields, and Go's nil for what JSON has as null or not at all.

docker's command runs a template on Go's types first: an absent ``.State.Health`` is ``<nil>``, null ``Binds``
are ``[]``, a label that is not there is empty.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Value = Any


class Nil:
    """Marks what is null in JSON."""


class NilPointer(Nil):
    """``words`` is what is wrong with whoever goes on from here."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<nil>"


class NilList(Nil, list):  # type: ignore[type-arg]
    """A slice of no elements."""


class NilMap(Nil, dict):  # type: ignore[type-arg]
    """A map of no elements."""


class Strings(dict):  # type: ignore[type-arg]
    """A map of strings, with its keys in order: what it does not have is no value, and empty by index."""

    def __init__(self, value: Mapping[str, str]) -> None:
        super().__init__(sorted(value.items()))

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> None:
        return None

    def get(self, name: str, default: Value = "") -> Value:
        """The value, or the empty string."""
        return super().get(name, default)


class NilStrings(Nil, Strings):
    """A map of no strings."""

    def __init__(self) -> None:
        super().__init__({})


class Fields(dict):  # type: ignore[type-arg]
    """An object with Go's names for fields of JSON, and the values of those that JSON leaves out.

    ``go_type`` names it in messages; docker's inspect shows maps, which have none.
    """

    def __init__(
        self,
        value: Mapping[str, Value],
        names: Mapping[str, str],
        absent: Mapping[str, Value] | None = None,
        go_type: str = "",
    ) -> None:
        super().__init__(value)
        self._names, self._absent, self.go_type = names, absent or {}, go_type

    def _name(self, name: str) -> str:
        return name if super().__contains__(name) else self._names.get(name, name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._name(str(name))) or name in self._absent

    def __getitem__(self, name: str) -> Value:
        return super().__getitem__(self._name(name))

    def __missing__(self, name: str) -> Value:
        return self._absent[name]


_NAMES = {
    "ID": "Id",
    "DNS": "Dns",
    "DNSOptions": "DnsOptions",
    "DNSSearch": "DnsSearch",
    "NanoCPUs": "NanoCpus",
    **{f"CPU{part}": f"Cpu{part}" for part in ("Shares", "Period", "Quota", "Count", "Percent")},
    **{f"CPURealtime{part}": f"CpuRealtime{part}" for part in ("Period", "Runtime")},
}
_LISTS = {
    "Aliases", "Args", "Binds", "Config", "BlkioDeviceReadBps", "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps", "BlkioWeightDevice", "CapAdd", "CapDrop", "Cmd",
    "DNSNames", "DeviceCgroupRules", "DeviceRequests", "Devices", "Dns", "DnsOptions", "DnsSearch",
    "Entrypoint", "Env", "ExecIDs", "ExtraHosts", "GroupAdd", "Layers", "Links", "MaskedPaths",
    "Mounts", "OnBuild", "Peers", "ReadonlyPaths", "RepoDigests", "RepoTags", "SecondaryIPAddresses",
    "SecondaryIPv6Addresses", "SecurityOpt", "Shell", "Ulimits", "VolumesFrom",
}  # fmt: skip
_STRINGS = {
    "Annotations", "DriverOpts", "Labels", "Options", "StorageOpt", "Sysctls", "Tmpfs",
}  # fmt: skip
_MAPS = {
    "Containers", "ExposedPorts", "Networks", "PortBindings", "Ports", "Services", "Status", "Volumes",
}  # fmt: skip
# What Go leaves out of JSON where it is empty, by the object it is missing in.
_ABSENT = {
    "container": ("SizeRw", "SizeRootFs"),
    "network": ("Peers", "Services"),
    "volume": ("Status", "UsageData", "ClusterVolume"),
    "image": ("Descriptor",),
    "State": ("Health",),
    "HostConfig": ("Annotations", "Init", "Mounts", "StorageOpt", "Sysctls", "Tmpfs"),
    "Config": ("ExposedPorts", "Healthcheck", "Shell", "StopTimeout"),
}
_KINDS = {"HostConfig": "container", "IPAM": "network", "Mountpoint": "volume", "RootFS": "image"}


def typed(value: Value) -> Value:
    """Return an answer of inspect as docker's templates see it."""
    kind = next((kind for field, kind in _KINDS.items() if field in value), "")
    return _typed(value, kind)


def _typed(value: Value, name: str) -> Value:
    if value is None:
        return _nil(name, "nil pointer evaluating interface {}.")
    if isinstance(value, list):
        return [_typed(item, "") for item in value]
    if not isinstance(value, dict):
        return value
    if name in _STRINGS:
        return Strings(value)
    absent = {field: _nil(field, f'map has no entry for key "{field}"') for field in _ABSENT.get(name, ())}
    return Fields({key: _typed(item, key) for key, item in value.items()}, _NAMES, absent)


def _nil(name: str, words: str) -> Value:
    if name in _LISTS:
        return NilList()
    if name in _STRINGS:
        return NilStrings()
    return NilMap() if name in _MAPS else NilPointer(words)
