"""Capabilities: names, masks, and taking or dropping them, capabilities(7).

A set is an ``int`` with bit n for capability n.

May import: errors and ``syscalls``, ``files``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from onggi.errors import InvalidArgument, KernelError
from onggi.kernel import syscalls
from onggi.kernel.files import read_small

# In order of their numbers, linux/capability.h.
_TABLE = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE
"""
NAMES = tuple(f"CAP_{name}" for name in _TABLE.split())
_NUMBERS = {name: number for number, name in enumerate(NAMES)}
_STATUS_KEYS = {"CapBnd": 0, "CapEff": 1, "CapPrm": 2, "CapInh": 3, "CapAmb": 4}


class CapSets(NamedTuple):
    """The five sets of a process, in the order of OCI ``process.capabilities``."""

    bounding: int
    effective: int
    permitted: int
    inheritable: int = 0
    ambient: int = 0


def last_cap() -> int:
    """The highest capability number this kernel knows."""
    return int(read_small("/proc/sys/kernel/cap_last_cap"))


def current() -> CapSets:
    """The sets of this process."""
    found = [0] * len(_STATUS_KEYS)
    for line in read_small("/proc/self/status").decode().splitlines():
        key, _, value = line.partition(":")
        if key in _STATUS_KEYS:
            found[_STATUS_KEYS[key]] = int(value, 16)
    return CapSets(*found)


def normalize(name: str) -> str:
    """The full name of a capability as people write it ("net_admin", "CAP_NET_ADMIN"); "ALL" stays.

    Raises InvalidArgument in docker's words.
    """
    upper = name.upper()
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full == "CAP_ALL":
        return "ALL"
    if full not in _NUMBERS:
        raise InvalidArgument(f'unknown capability: "{full}"')
    return full


def mask(names: Iterable[str]) -> int:
    """The set of the named capabilities; "ALL" is what this kernel knows. Raises InvalidArgument."""
    found = 0
    for name in map(normalize, names):
        found |= (2 << last_cap()) - 1 if name == "ALL" else 1 << _NUMBERS[name]
    return found


def names(capabilities: int) -> list[str]:
    """The names of a set, by number; capabilities younger than this table are "CAP_<number>"."""
    numbers = (number for number in range(capabilities.bit_length()) if capabilities >> number & 1)
    return [NAMES[number] if number < len(NAMES) else f"CAP_{number}" for number in numbers]


def drop_bounding(keep: int) -> None:
    """Drop every capability outside ``keep`` from the bounding set; needs CAP_SETPCAP."""
    # Asked of the kernel number by number: after pivot_root, /proc would be the container's.
    for number in range(64):
        try:
            held = syscalls.prctl(syscalls.PR_CAPBSET_READ, number)
        except KernelError:
            return  # EINVAL: the kernel knows no more
        if held and not keep >> number & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)


def apply(sets: CapSets) -> None:
    """Take exactly these permitted, effective, inheritable and ambient sets; the bounding set is for earlier.

    Raises KernelError(EPERM) for what this process does not hold.
    """
    syscalls.capset(syscalls.Capabilities(sets.effective, sets.permitted, sets.inheritable))
    # Ambient follows permitted and inheritable: raised before capset(2), it would be refused.
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(sets.ambient.bit_length()):
        if sets.ambient >> number & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)
