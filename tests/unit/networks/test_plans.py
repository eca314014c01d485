"""What networks want of the kernel, as golden files: ip(8) commands and nft(8) texts.

ONGGI_GOLDEN=write makes them anew.
"""

import os
from pathlib import Path

import pytest

from onggi.errors import InvalidArgument
from onggi.networks import model, plans, rules
from onggi.networks.model import Endpoint, Network, Subnet
from onggi.networks.rules import Published, Ruleset

GOLDEN = Path(__file__).parent / "golden"
BRIDGE = Network(
    id="a" * 64,
    name="bridge",
    options={model.NAME: "onggi0", model.MTU: "1450"},
    subnets=[Subnet(subnet="172.17.0.0/16", gateway="172.17.0.1")],
)
DUAL = Network(
    id="b" * 64,
    name="dual",
    enable_ipv6=True,
    options={model.ICC: "false"},
    subnets=[
        Subnet(subnet="172.18.0.0/16", gateway="172.18.0.1"),
        Subnet(subnet="fd00:1::/64", gateway="fd00:1::1"),
    ],
)
INSIDE = Network(
    id="c" * 64, name="inside", internal=True, subnets=[Subnet(subnet="10.5.0.0/24", gateway="10.5.0.1")]
)
OPEN = Network(
    id="d" * 64,
    name="open",
    options={model.GATEWAY_MODE4: "nat-unprotected", model.MASQUERADE: "false"},
    subnets=[Subnet(subnet="10.6.0.0/24", gateway="10.6.0.1")],
)
MACVLAN = Network(id="e" * 64, name="lan", driver="macvlan", options={"parent": "eth9"})
IPVLAN = Network(id="f" * 64, name="l3", driver="ipvlan", options={"parent": "eth9", "ipvlan_mode": "l3"})


def golden(name, text):
    path = GOLDEN / name
    if os.environ.get("ONGGI_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def endpoint(**facts):
    base = {"network": "", "id": "1" * 64, "interface": "eth0", "mac": "02:00:00:00:00:07"}
    return Endpoint(**{**base, "host_link": "veth1234567", **facts})


def described(network, entry, options=None):
    lines = [f"# {network.driver} {network.name}"]
    if network.driver == "bridge":
        lines += [message.what for message in plans.bridge(network)]
        lines += [f"{setting.value} > {setting.path}" for setting in plans.bridge_settings(network)]
        lines += [message.what for message in plans.bridge_addresses(network, 5, set())]
        lines += [message.what for message in plans.bridge_up(network)]
    lines += [message.what for message in plans.host_side(network, entry, 5, 9)]
    lines += [f"{setting.value} > {setting.path}" for setting in plans.inner_settings(entry, options or {})]
    lines += [message.what for message in plans.inner_side(entry, 2)]
    for six in (False, True):
        if plans.gateway_of([(network.name, entry)], six):
            lines.append(plans.default_route(entry, 2, six).what)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("name", "network", "facts"),
    [
        ("bridge", BRIDGE, {"ipv4": "172.17.0.2/16", "gateway4": "172.17.0.1"}),
        (
            "dual",
            DUAL,
            {
                "ipv4": "172.18.0.2/16",
                "gateway4": "172.18.0.1",
                "ipv6": "fd00:1::2/64",
                "gateway6": "fd00:1::1",
                "link_local": ["169.254.8.8", "fe80::8"],
            },
        ),
        ("internal", INSIDE, {"ipv4": "10.5.0.2/24"}),
        ("macvlan", MACVLAN, {"ipv4": "192.0.2.5/24", "gateway4": "192.0.2.1", "host_link": ""}),
        ("ipvlan", IPVLAN, {"ipv4": "192.0.2.5/24", "gateway4": "0.0.0.0", "host_link": ""}),
    ],
)
def test_links(name, network, facts):
    golden(f"{name}.ip", described(network, endpoint(**facts)))


def test_the_filter():
    published = frozenset(
        [
            Published("tcp", "", 8080, "172.17.0.2", 80),
            Published("udp", "127.0.0.1", 53, "172.17.0.2", 53),
            Published("tcp", "", 8080, "fd00:1::2", 80),
        ]
    )
    rules_ = Ruleset(rules.segments([BRIDGE, DUAL, INSIDE, OPEN]), published, closed=True)
    golden("filter.nft", rules.transaction("onggi", rules_))
    relayed = rules.transaction("onggi", rules_._replace(relayed=True))
    assert relayed.count("iifname @bridges fib daddr type local jump publish") == 2  # both families


def test_metadata_may_be_closed():
    rules_ = Ruleset(rules.segments([BRIDGE, DUAL]))
    assert "169.254.169.254" not in rules.transaction("onggi", rules_)
    closed = rules.transaction("onggi", rules_._replace(secretive=True))
    assert "iifname @bridges ip daddr 169.254.169.254 drop" in closed
    assert "iifname @bridges ip6 daddr fd00:ec2::254 drop" in closed


def test_ports_change_without_the_rest():
    before = Ruleset(rules.segments([BRIDGE]), frozenset([Published("tcp", "", 80, "172.17.0.2", 80)]))
    after = before._replace(published=frozenset([Published("sctp", "192.0.2.1", 81, "172.17.0.3", 80)]))
    messages = rules.exchange("onggi", before, after)
    golden("ports.nft", "".join(f"{message.what}\n" for message in messages))
    assert rules.exchange("onggi", after, after) == []
    assert rules.exchange("onggi", before._replace(closed=True), before) is None
    assert rules.transaction("onggi", before).startswith("table ip onggi\ndelete")
    many = frozenset(Published("tcp", "", port, "172.17.0.2", 80) for port in range(1, 502))
    assert (
        rules.exchange("onggi", before._replace(published=frozenset()), before._replace(published=many))
        is None
    )


def test_default_routes_follow_priority_then_name():
    first, second = endpoint(gateway4="10.0.0.1"), endpoint(gateway4="10.0.1.1", gw_priority=1)
    assert plans.gateway_of([("a", first), ("b", second)], False) is second
    second.gw_priority = 0
    assert plans.gateway_of([("b", second), ("a", first)], False) is first
    assert plans.gateway_of([("a", first)], True) is None


def test_endpoint_sysctls():
    entry = endpoint(ipv4="10.0.0.2/24")
    name = "com.docker.network.endpoint.sysctls"
    found = plans.inner_settings(entry, {name: "net.ipv4.conf.IFNAME.log_martians=1"})
    assert plans.Setting("net/ipv4/conf/eth0/log_martians", "1") in found
    for wrong in ("net.ipv4.conf.eth0.log_martians=1", "kernel.x=1", "net.ipv4.conf.IFNAME.a/../b=1"):
        with pytest.raises(InvalidArgument, match="unrecognised network interface sysctl"):
            plans.inner_settings(entry, {name: wrong})


def test_macs_are_local_and_stable():
    mac = plans.stable_mac("x")
    assert int(mac[:2], 16) & 3 == 2
    assert mac == plans.stable_mac("x") != plans.stable_mac("y")
