"""Devices below macvlan and ipvlan: which are made, whose they are, what is refused."""

import errno
import re

import pytest

from onggi.errors import Forbidden, InvalidArgument, KernelError, Unsupported
from onggi.kernel import rtnl
from onggi.kernel.rtnl import Link
from onggi.networks import parents
from onggi.networks.model import Network


class Kernel:
    """Carries out ip(8) commands on ``devices``, and remembers them; refuses ``kinds`` with ``error``."""

    def __init__(self, *devices):
        self.devices = {name: Link(number, name) for number, name in enumerate(devices, 1)}
        self.done, self.kinds, self.error = [], (), errno.EOPNOTSUPP

    def change(self, messages):
        for message in messages:
            verb, name, *rest = re.fullmatch(r"ip link (add|set|del) (\S+) ?(.*)", message.what).groups()
            if any(f"type {kind}" in rest[0] for kind in self.kinds):
                raise KernelError("netlink", self.error, message.what)
            self.done.append(message.what)
            if verb == "add":
                self.devices[name] = Link(len(self.devices) + 1, name)
            elif verb == "set":
                self.devices[name] = self.devices[name]._replace(alias=rest[0].removeprefix("alias "))
            else:
                del self.devices[name]


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(rtnl, "link", lambda kernel, name: kernel.devices.get(name))


def network(driver="macvlan", number=1, **options):
    return Network(id=f"{number:x}" * 64, name=f"n{number}", driver=driver, options=options)


def test_a_vlan_is_made_once_and_goes_with_its_last_network():
    kernel, one, two = Kernel("lo", "eth0"), network(parent="eth0.50"), network(number=2, parent="eth0.50")
    parents.make(kernel, one)
    parents.make(kernel, two)
    assert kernel.done == [
        "ip link add eth0.50 link 2 up type vlan id 50",
        "ip link set eth0.50 alias onggi",
    ]
    parents.unmake(kernel, one, [two, network("bridge", 3)])
    assert "eth0.50" in kernel.devices
    parents.unmake(kernel, two, [])
    assert set(kernel.devices) == {"lo", "eth0"}


def test_a_persons_device_stays():
    kernel = Kernel("eth0", "eth0.50")
    parents.make(kernel, network(parent="eth0.50"))
    parents.unmake(kernel, network(parent="eth0.50"), [])
    assert kernel.done == []


@pytest.mark.parametrize(("driver", "name"), [("macvlan", "dm-111111111111"), ("ipvlan", "di-111111111111")])
def test_without_a_parent_there_is_one_that_leads_nowhere(driver, name):
    kernel, alone = Kernel(), network(driver)
    parents.make(kernel, alone)
    assert kernel.done == [f"ip link add {name} up type dummy"]
    assert alone.secluded
    parents.unmake(kernel, alone, [])
    assert not kernel.devices


def test_kernels_without_dummies():
    kernel = Kernel()
    kernel.kinds = ("dummy",)
    parents.make(kernel, network())
    assert kernel.done == ["ip link add dm-111111111111 up type ifb"]
    kernel.kinds = ("dummy", "ifb")
    with pytest.raises(Unsupported, match="neither dummy nor ifb devices"):
        parents.make(kernel, network(number=2))
    kernel.error = errno.EPERM
    with pytest.raises(KernelError):
        parents.make(kernel, network(number=2))


def test_a_kernel_without_vlans_is_named():
    kernel = Kernel("eth0")
    kernel.kinds = ("vlan",)
    with pytest.raises(Unsupported, match=r"failed to create eth0.7 vlan link: .*\(8021q\)"):
        parents.make(kernel, network(parent="eth0.7"))
    kernel.error = errno.EBUSY
    with pytest.raises(InvalidArgument, match="vlan link: device or resource busy"):
        parents.make(kernel, network(parent="eth0.7"))


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        ("eth1", "invalid subinterface vlan name eth1, example formatting is eth0.10"),
        ("eth0.5.6", "name.vlan_id, ex. eth0.10 for vlan 10, instead received eth0.5.6"),
        ("eth0.x", r"unable to parse a valid vlan id from: x \(ex. eth0.10 for vlan 10\)"),
        ("eth1.5", "-o parent interface was not found on the host: eth1"),
        ("eth0.0", "vlan id must be between 1-4094, received: 0"),
        ("eth0.4095", "vlan id must be between 1-4094, received: 4095"),
    ],
)
def test_dockers_words_for_parents(parent, words):
    with pytest.raises(InvalidArgument, match=words):
        parents.make(Kernel("eth0"), network(parent=parent))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            network(macvlan_mode="odd"),
            "requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (
            network("ipvlan", ipvlan_mode="l4"),
            "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default",
        ),
        (
            network("ipvlan", ipvlan_flag="odd"),
            "requested ipvlan flag 'odd' is not valid, 'bridge' is the ipvlan driver default",
        ),
        (network("ipvlan", parent="lo"), "loopback interface is not a valid ipvlan parent link"),
    ],
)
def test_dockers_words_for_options(wanted, words):
    with pytest.raises(InvalidArgument, match=words):
        parents.check(wanted, [])


def test_who_shares_a_parent():
    plain, through = network(parent="e"), network(number=2, parent="e", macvlan_mode="passthru")
    parents.check(network(number=3, parent="e"), [plain, network("ipvlan", 4, parent="e")])
    with pytest.raises(Forbidden, match=f"cannot use mode passthru, macvlan network {plain.id} is already"):
        parents.check(through, [plain])
    with pytest.raises(Forbidden, match=f"{through.id} is already using parent interface e in mode passthru"):
        parents.check(plain, [through])
    with pytest.raises(Forbidden, match="network di-444444444444 is already using parent interface e"):
        parents.check(network("ipvlan", 3, parent="e"), [plain, network("ipvlan", 4, parent="e")])
