"""The devices below networks of macvlan and ipvlan: a named one, a VLAN of one, or one that leads nowhere.

What a person named is removed with its last network only if this engine made it, which the device itself says
by an alias.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from onggi.errors import Forbidden, InvalidArgument, KernelError, Unsupported
from onggi.kernel import rtnl
from onggi.kernel.netlink import Netlink
from onggi.networks import plans, wiring
from onggi.networks.model import CHILDREN, Network

# Of each driver: its options, and the values they have; the first is the default.
_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "macvlan": {"mode": ("bridge", "private", "vepa", "passthru")},
    "ipvlan": {"mode": ("l2", "l3", "l3s"), "flag": ("bridge", "private", "vepa")},
}
_MOST = 4094


def check(network: Network, others: Iterable[Network]) -> None:
    """Raise in docker's words for options that are not valid, or a parent that cannot be shared."""
    driver = network.driver
    for word, known in _CHOICES[driver].items():
        value = network.options.get(f"{driver}_{word}") or known[0]
        if value not in known:
            default = f"'{known[0]}' {'mode ' if word == 'mode' else ''}is the {driver} driver default"
            raise InvalidArgument(f"requested {driver} {word} '{value}' is not valid, {default}")
    if network.options.get("parent") == "lo":
        raise InvalidArgument(f"loopback interface is not a valid {driver} parent link")
    for other in others:
        if other.driver == driver and other.parent == network.parent:
            _check_shared(network, other)


def _check_shared(network: Network, other: Network) -> None:
    parent = network.parent
    if network.driver == "ipvlan":
        raise Forbidden(f"network di-{other.id[:12]} is already using parent interface {parent}")
    if network.options.get("macvlan_mode") == "passthru":
        raise Forbidden(
            f"cannot use mode passthru, macvlan network {other.id} is already using parent interface {parent}"
        )
    if other.options.get("macvlan_mode") == "passthru":
        raise Forbidden(
            f"macvlan network {other.id} is already using parent interface {parent} in mode passthru"
        )


def make(netlink: Netlink, network: Network) -> None:
    """Make sure that the device is there. Idempotent."""
    name = network.parent
    if rtnl.link(netlink, name) is not None:
        return
    if network.options.get("parent"):
        _make_vlan(netlink, name)
    else:
        _make_sink(netlink, name)


def _make_vlan(netlink: Netlink, name: str) -> None:
    trunk, number = vlan(name)
    below = rtnl.link(netlink, trunk)
    if below is None:
        raise InvalidArgument(f"-o parent interface was not found on the host: {trunk}")
    if not 1 <= number <= _MOST:
        raise InvalidArgument(f"vlan id must be between 1-{_MOST}, received: {number}")
    try:
        netlink.change([rtnl.add_vlan(name, below.number, number), rtnl.set_alias(name, plans.MARK)])
    except KernelError as error:
        raise _refused(name, error) from None


def _make_sink(netlink: Netlink, name: str) -> None:
    # A bridge would not do: without ports it has no carrier, nor has anything on it.
    for kind in ("dummy", "ifb"):
        try:
            netlink.change([rtnl.add_sink(name, kind)])
            return
        except KernelError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
    raise Unsupported(
        "this kernel has neither dummy nor ifb devices for a network without one below: name it, -o parent="
    )


def _refused(name: str, error: KernelError) -> Unsupported | InvalidArgument:
    failed = f"failed to create {name} vlan link: "
    if error.errno == errno.EOPNOTSUPP:
        return Unsupported(f"{failed}this kernel has no VLAN devices (8021q)")
    return InvalidArgument(f"{failed}{os.strerror(error.errno).lower()}")


def vlan(name: str) -> tuple[str, int]:
    """The trunk and the VLAN's number of ``eth0.10``. Raises InvalidArgument in docker's words."""
    trunk, dot, number = name.partition(".")
    if not dot:
        raise InvalidArgument(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
    if "." in number:
        raise InvalidArgument(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received "
            f"{name}"
        )
    if not (number.isascii() and number.isdigit()):
        raise InvalidArgument(f"unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)")
    return trunk, int(number)


def unmake(netlink: Netlink, network: Network, others: Iterable[Network]) -> None:
    """Remove the device unless it is somebody else's, or one of ``others`` needs it. Idempotent."""
    name = network.parent
    if not any(other.driver in CHILDREN and other.parent == name for other in others):
        wiring.remove_device(netlink, name, named=bool(network.options.get("parent")))
