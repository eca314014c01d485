"""Our rtnetlink against pyroute2's view of the same kernel, in network namespaces of the test's own."""

import errno
import os
import socket

import pytest
from pyroute2 import IPRoute

from onggi.errors import KernelError
from onggi.kernel import netlink, nft, rtnl, syscalls
from onggi.kernel.netlink import Netlink
from onggi.kernel.redirect import redirect
from onggi.networks import rules
from onggi.networks.rules import Published, Ruleset, Segment


class Room:
    """A network namespace, entered by this thread while in a ``with``."""

    def __init__(self):
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        syscalls.unshare(syscalls.CLONE_NEWNET)
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        syscalls.setns(own, syscalls.CLONE_NEWNET)
        os.close(own)

    def __enter__(self):
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        syscalls.setns(self.fd, syscalls.CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        syscalls.setns(self._own, syscalls.CLONE_NEWNET)
        os.close(self._own)


@pytest.fixture
def room():
    room = Room()
    with room:
        yield room
    os.close(room.fd)


@pytest.fixture
def other():
    room = Room()
    yield room
    os.close(room.fd)


@pytest.fixture
def ours(room):
    with Netlink() as found:
        yield found


@pytest.fixture
def oracle(room):
    with IPRoute() as found:
        yield found


def bridge(name):
    return rtnl.add_bridge(name, "02:00:00:00:00:01")


def seen(oracle, name):
    """The oracle's message of a link."""
    return oracle.get_links(ifname=name)[0]


def test_a_bridge_with_a_container_on_it(ours, oracle, other):
    ours.change([rtnl.add_bridge("br7", "02:00:00:00:00:07", 1400)])
    bridge = rtnl.link(ours, "br7")
    peer = rtnl.Peer("eth0", "02:00:00:00:00:08", other.fd)
    ours.change(
        [
            rtnl.add_veth("veth7", bridge.number, peer, 1400),
            rtnl.set_port("veth7", hairpin=True, isolated=True),
            rtnl.set_up_silent("veth7"),
        ]
    )
    shown = seen(oracle, "br7")
    assert shown.get("address") == "02:00:00:00:00:07"
    assert shown.get("mtu") == 1400
    assert shown.get("state") == "up"
    assert shown.get(("linkinfo", "kind")) == "bridge"
    port = seen(oracle, "veth7")
    assert port.get("master") == shown["index"] == bridge.number
    assert port.get("state") == "up"
    flags = port.get(("linkinfo", "slave_data"))
    assert (flags.get_attr("IFLA_BRPORT_ISOLATED"), flags.get_attr("IFLA_BRPORT_MODE")) == (1, 1)
    assert oracle.get_addr(index=port["index"]) == ()
    with other, IPRoute() as inside:
        inner = seen(inside, "eth0")
        assert (inner.get("address"), inner.get("mtu")) == ("02:00:00:00:00:08", 1400)


def test_addresses_and_routes(ours, oracle, room, other):
    ours.change([rtnl.add_bridge("br7", "02:00:00:00:00:07")])
    peer = rtnl.Peer("eth0", "02:00:00:00:00:08", other.fd)
    ours.change([rtnl.add_veth("veth7", rtnl.link(ours, "br7").number, peer), rtnl.set_up("veth7")])
    with other, Netlink() as inner, IPRoute() as oracle:
        number = rtnl.link(inner, "eth0").number
        inner.change(
            [
                rtnl.set_up("eth0"),
                rtnl.add_address(number, "192.0.2.9/24"),
                rtnl.add_address(number, "2001:db8::9/64"),
                rtnl.add_default_route(number, "192.0.2.1"),
                rtnl.add_default_route(number, "2001:db8::1"),
            ]
        )
        shown = {
            (entry.get("address"), entry["prefixlen"], entry.get("broadcast")) for entry in oracle.get_addr()
        }
        assert ("192.0.2.9", 24, "192.0.2.255") in shown
        assert ("2001:db8::9", 64, None) in shown
        routes = {route.get("gateway") for route in oracle.get_default_routes()}
        assert routes == {"192.0.2.1", "2001:db8::1"}
        assert ("192.0.2.0/24", "") in {(entry.destination, entry.gateway) for entry in rtnl.routes(inner)}
        assert rtnl.Address(number, "2001:db8::9/64") in rtnl.addresses(inner)
        inner.change([rtnl.delete_default_route(socket.AF_INET)])
        assert {route.get("gateway") for route in oracle.get_default_routes()} == {"2001:db8::1"}


def test_devices_on_a_parent(ours, oracle, other):
    ours.change([bridge("base")])
    parent = rtnl.link(ours, "base").number
    ours.change([rtnl.add_macvlan(parent, rtnl.Peer("eth0", "02:00:00:00:00:09", other.fd), "bridge")])
    with other, IPRoute() as inside:
        shown = seen(inside, "eth0")
        assert shown.get(("linkinfo", "kind")) == "macvlan"
        assert shown.get(("linkinfo", "data")).get_attr("IFLA_MACVLAN_MODE") == "bridge"
        assert shown.get("address") == "02:00:00:00:00:09"
    for message in (
        rtnl.add_ipvlan(parent, rtnl.Peer("eth1", "", other.fd), "l3"),
        rtnl.add_vlan("base.7", parent, 7),
    ):
        assert attempted(ours, message) in (0, errno.EOPNOTSUPP)  # a kernel without them says so


def attempted(netlink, message):
    """The error number of a change, 0 for none."""
    try:
        netlink.change([message])
    except KernelError as error:
        return error.errno
    return 0


def test_a_failed_batch_names_the_command_and_goes_on(ours):
    messages = [rtnl.delete_link("nosuch"), bridge("d1"), bridge("d1")]
    with pytest.raises(KernelError, match="ip link del nosuch") as caught:
        ours.change(messages)
    assert netlink.is_missing(caught.value)
    assert rtnl.link(ours, "d1").up
    with pytest.raises(KernelError, match="ip link add d1") as caught:
        ours.change([bridge("d1")])
    assert caught.value.errno == errno.EEXIST
    assert rtnl.link(ours, "nosuch") is None
    assert rtnl.statistics(ours, "nosuch") is None


def test_links_are_those_the_oracle_sees(ours, oracle):
    ours.change([bridge(f"d{number}") for number in range(120)])
    found = {(entry.number, entry.name, entry.up) for entry in rtnl.links(ours)}
    assert found == {
        (link["index"], link.get("ifname"), link.get("state") == "up") for link in oracle.get_links()
    }


def test_a_transaction_of_the_filter_is_all_or_nothing(room):
    nft.apply("table ip t1 {\n set s { type ipv4_addr; }\n}\nadd element ip t1 s { 192.0.2.1 }\n")
    with pytest.raises(KernelError, match="nft"):
        nft.apply("add element ip t1 s { 192.0.2.2 }\nadd element ip t1 nosuch { 192.0.2.2 }\n")
    shown = nft.run(["list", "table", "ip", "t1"]).output.decode()
    assert "192.0.2.1" in shown
    assert "192.0.2.2" not in shown


def test_losses_of_a_table_are_counted(room):
    watch = nft.Watch("t1")
    nft.apply("table ip t1 {\n chain c { }\n}\ntable ip t2 {\n}\n")
    nft.apply("delete table ip t2\n")
    assert watch.losses() == 0
    nft.apply("table ip t1\ndelete table ip t1\ntable ip t1 {\n chain c { }\n}\n")
    assert watch.losses() == 1
    nft.apply("flush ruleset\n")
    assert watch.losses() == 1
    assert watch.losses() == 0
    watch.close()


def test_a_redirection_is_what_nft_would_have_made(room):
    targets = {"udp": 4053, "tcp": 4054}
    with Netlink(netlink.NETFILTER) as filter_:
        assert not redirect(filter_, "names", "127.0.0.11", 53, {"udp": 1, "tcp": 2})
        assert redirect(filter_, "names", "127.0.0.11", 53, targets)
    shown = nft.run(["list", "ruleset"]).output.decode()
    nft.run(["flush", "ruleset"])
    asked = [f"{name} dport 53 {name} dport set {port}" for name, port in targets.items()]
    answered = [f"{name} sport {port} {name} sport set 53" for name, port in targets.items()]
    answered.insert(1, "icmp type destination-unreachable @th,240,16 4053 @th,240,16 set 53")
    chains = [
        ("ask", "raw", ["ip daddr != 127.0.0.11 accept", *asked]),
        ("answer", "mangle", ["ip saddr != 127.0.0.11 accept", *answered]),
    ]
    made = "".join(
        f" chain {name} {{\n  type filter hook output priority {priority}; policy accept;\n"
        + "".join(f"  {rule}\n" for rule in rules)
        + " }\n"
        for name, priority, rules in chains
    )
    nft.apply(f"table ip names {{\n{made}}}\n")
    assert shown == nft.run(["list", "ruleset"]).output.decode()
    assert "4054" in shown


def test_ports_come_and_go_as_nft_would_have_it(room):
    published = [
        Published("tcp", "", 8080, "172.18.0.2", 80),
        Published("udp", "192.0.2.1", 53, "172.18.0.2", 5353),
        Published("sctp", "", 9, "fd00:1::2", 10),
        Published("tcp", "2001:db8::1", 443, "fd00:1::2", 8443),
    ]
    stays = Published("tcp", "", 22, "172.18.0.3", 2222)
    segments = tuple(
        Segment("br-x", subnet, "", internal=False, masquerade=True, guarded=True)
        for subnet in ("172.18.0.0/16", "fd00:1::/64")
    )
    bare = Ruleset(segments, frozenset([stays]))
    full = bare._replace(published=frozenset([stays, *published]))
    shown = {}
    for ruleset in (full, bare):
        nft.apply(rules.transaction("t", ruleset))
        shown[ruleset] = nft.run(["list", "ruleset"]).output
    with Netlink(netlink.NETFILTER) as filter_:
        for old, new in ((bare, full), (full, bare)):
            nft.transact(filter_, rules.exchange("t", old, new))
            assert nft.run(["list", "ruleset"]).output == shown[new]
        with pytest.raises(KernelError) as refused:  # all or nothing
            nft.transact(
                filter_, rules.exchange("t", full, bare._replace(published=frozenset(published[:1])))
            )
        assert refused.value.errno == errno.ENOENT
        assert nft.run(["list", "ruleset"]).output == shown[bare]
        many = frozenset(Published("tcp", "2001:db8::1", port, "fd00:1::2", port) for port in range(1, 501))
        nft.transact(filter_, rules.exchange("t", bare, bare._replace(published=many | bare.published)))
        assert nft.run(["list", "ruleset"]).output.count(b"2001:db8::1 . tcp") == 500


TRACKING = """table ip guard {
 chain in {
  type filter hook input priority 0; policy drop;
  ct state established,related accept
  ct state new meta l4proto { tcp, udp } accept
 }
 chain out {
  type filter hook output priority 0; policy drop;
  ct state new,established,related accept
 }
}
"""


@pytest.mark.parametrize("firewall", ["", TRACKING], ids=["alone", "beside a firewall that keeps track"])
def test_a_redirection_leads_there_and_back(room, ours, firewall):
    ours.change([rtnl.set_up("lo")])
    nft.apply(firewall)
    servers = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    for server in servers:
        server.bind(("127.0.0.11", 0))
        server.settimeout(30)
    servers[1].listen()
    ports = {name: server.getsockname()[1] for name, server in zip(("udp", "tcp"), servers, strict=True)}
    with Netlink(netlink.NETFILTER) as filter_:
        redirect(filter_, "names", "127.0.0.11", 53, ports)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.11", 53))
        client.settimeout(30)
        client.send(b"question")
        question, peer = servers[0].recvfrom(100)
        servers[0].sendto(question + b"!", peer)
        assert client.recv(100) == b"question!"
        servers[0].close()
        client.send(b"nobody hears")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
    with socket.create_connection(("127.0.0.11", 53), 30) as client:
        client.sendall(b"x" * 100_000)
        client.shutdown(socket.SHUT_WR)
        accepted, _ = servers[1].accept()
        with accepted:
            received = b"".join(iter(lambda: accepted.recv(1 << 16), b""))
            accepted.sendall(received)
        assert client.makefile("rb").read() == received == b"x" * 100_000
    servers[1].close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.11", 53), 30)
