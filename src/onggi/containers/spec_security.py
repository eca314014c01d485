"""Capabilities, security options, masked paths and sysctls of a container. Pure.

Facts: docker's default set of 14 capabilities; runtime-spec config.md#process and config-linux.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from onggi.containers.request import HostConfig
from onggi.errors import InvalidArgument, Unsupported

Json = Any
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip
_IPC_SYSCTLS = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.shm_rmid_forced",
})  # fmt: skip
_SYSCTL_NAME = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_*:-]+)+")
_SYSCTL_VALUE = re.compile(r"[ -~\t]{0,4096}")


class SecurityOptions(NamedTuple):
    """Parsed ``--security-opt``.

    ``seccomp`` is "" for the default, "unconfined", or a profile's JSON text.
    """

    no_new_privileges: bool = False
    seccomp: str = ""
    writable_cgroups: bool = False


def _normal_names(names: Iterable[str], known: tuple[str, ...], option: str) -> list[str]:
    result = []
    for name in names:
        upper = name.upper()
        full = upper if upper.startswith("CAP_") or upper == "ALL" else f"CAP_{upper}"
        if full == "CAP_ALL":
            full = "ALL"
        if full != "ALL" and full not in known:
            raise InvalidArgument(f'invalid {option}: unknown capability: "{full}"')
        result.append(full)
    return result


def capabilities(host: HostConfig, known: tuple[str, ...]) -> list[str]:
    """The allowed set after --cap-add and --cap-drop.

    ``known`` are the kernel's names in order of their numbers.
    """
    add = _normal_names(host.cap_add or [], known, "CapAdd")
    drop = _normal_names(host.cap_drop or [], known, "CapDrop")
    if host.privileged:
        return list(known)
    if "ALL" in add:
        return [name for name in known if name not in drop]
    if "ALL" in drop:
        return [name for name in known if name in add]
    return [name for name in known if name not in drop and (name in DEFAULT_CAPABILITIES or name in add)]


def capability_sets(allowed: list[str], uid: int) -> Json:
    """The process's sets (rule R15): nothing inheritable or ambient, and no effective right for other
    users.
    """
    held = allowed if uid == 0 else []
    return {"bounding": allowed, "effective": held, "permitted": held}


def _truth(value: str, option: str) -> bool:
    if value.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return value.lower() in ("1", "t", "true")


def parse_security_options(options: list[str] | None) -> SecurityOptions:
    """Parse docker's ``SecurityOpt``.

    Raises InvalidArgument in its words, Unsupported for labels and profiles.
    """
    parsed = SecurityOptions()
    for option in options or []:
        if option in ("no-new-privileges", "writable-cgroups"):
            parsed = _apply_security_option(parsed, option, "true", option)
            continue
        key, equals, value = option.partition("=")
        if not equals and ":" in option:
            key, equals, value = option.partition(":")
        if not equals:
            raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
        parsed = _apply_security_option(parsed, key, value, option)
    return parsed


def _apply_security_option(parsed: SecurityOptions, key: str, value: str, option: str) -> SecurityOptions:
    match key:
        case "no-new-privileges":
            return parsed._replace(no_new_privileges=_truth(value, option))
        case "seccomp":
            return parsed._replace(seccomp="" if value == "builtin" else value)
        case "writable-cgroups":
            return parsed._replace(writable_cgroups=_truth(value, option))
        case "apparmor" if value in ("", "unconfined"):
            return parsed
        case "apparmor":
            raise Unsupported(f"apparmor profile {value}: AppArmor profiles are not supported yet")
        case "label" if value == "disable":
            return parsed
        case "label":
            raise Unsupported(f"security label {value}: SELinux labels are not supported yet")
        case _:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')


def check_sysctls(sysctls: dict[str, str], *, own_network: bool, own_ipc: bool, own_uts: bool) -> None:
    """Only keys of a namespace the container owns, in a strict grammar (CVE-2022-0811)."""
    for name, value in sysctls.items():
        if not _SYSCTL_NAME.fullmatch(name) or ".." in name or not _SYSCTL_VALUE.fullmatch(value):
            raise InvalidArgument(f'invalid sysctl "{name}={value}"')
        key = name.replace("/", ".")
        if key.startswith("net."):
            if not own_network:
                raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
        elif key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
            if not own_ipc:
                raise InvalidArgument(f'sysctl "{name}" not allowed in host ipc namespace')
        elif key != "kernel.domainname" or not own_uts:
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')


def masked_paths(host: HostConfig, thermal: tuple[str, ...]) -> list[str]:
    """Paths hidden in the container; none when privileged or asked for ``systempaths=unconfined``."""
    paths = host.masked_paths or []
    return [*paths, *thermal] if paths and not host.privileged else list(paths)
