"""Networks of containers: addresses, who reaches whom, what is refused. Machines are namespaces."""

import json
import os
import re
import socket
import subprocess
import time

import pytest

from engines import wait_until
from hosts import Machine, fetch, heard, reachable
from onggi.kernel import rtnl
from onggi.kernel.netlink import Netlink
from onggi.networks import plans
from onggi.networks.model import GATEWAY_MODE4, GATEWAY_MODE6, NAME

WEB = "mkdir -p /www/cgi-bin; echo $HOSTNAME >/www/index.html; "
WEB += "printf '#!/bin/sh\\necho\\necho $REMOTE_ADDR\\n' >/www/cgi-bin/ip; chmod 755 /www/cgi-bin/ip; "
WEB += "exec httpd -f -h /www -p 80"


@pytest.fixture
def outside():
    machine = Machine()
    yield machine
    machine.close()


@pytest.fixture
def network(engine):
    """A function that makes a network with options of docker's CLI; removed at the end."""
    made = []

    def make(*options):
        name = f"n{os.urandom(4).hex()}"
        engine.docker("network", "create", *options, name, check=True)
        made.append(name)
        return name

    yield make
    for name in made:
        found = engine.docker("ps", "-aq", "--filter", f"network={name}").stdout.decode().split()
        if found:
            engine.docker("rm", "-f", *found)
        engine.docker("network", "rm", name)


def inspect(engine, *what):
    return json.loads(engine.docker("inspect", *what, check=True).stdout)[0]


def web(ours, *flags, network="bridge"):
    """A web server; waits until it answers."""
    name = ours.start(*flags, command=["sh", "-c", WEB], network=network)
    address = addresses(ours.engine, name)[0]
    wait_until(lambda: reachable(address, 80), f"{name} at {address}")
    return name


def addresses(engine, name):
    networks = inspect(engine, name)["NetworkSettings"]["Networks"].values()
    return [entry["IPAddress"] for entry in networks]


def links():
    with Netlink() as netlink:
        return {entry.name for entry in rtnl.links(netlink)}


def can_fetch(engine, name, url, seconds=30):
    """A page as a container sees it. Where none is expected, few ``seconds`` will do."""
    done = engine.docker("exec", name, "timeout", str(seconds), "wget", "-q", "-O-", url)
    return done.stdout.decode().strip() if done.returncode == 0 else None


# -- the default network -----------------------------------------------------------------------------------


def test_the_default_network(run):
    name = run.start(network="bridge")
    shown = run.inspect(name)
    entry = shown["NetworkSettings"]["Networks"]["bridge"]
    bridge = inspect(run.engine, "bridge")
    subnet = bridge["IPAM"]["Config"][0]
    assert entry["Gateway"] == subnet["Gateway"]
    assert entry["IPPrefixLen"] == int(subnet["Subnet"].partition("/")[2])
    assert re.fullmatch("[0-9a-f]{64}", entry["EndpointID"])
    assert entry["NetworkID"] == bridge["Id"]
    assert shown["NetworkSettings"]["IPAddress"] == entry["IPAddress"]
    member = bridge["Containers"][shown["Id"]]
    assert member == {
        "Name": name,
        "EndpointID": entry["EndpointID"],
        "MacAddress": entry["MacAddress"],
        "IPv4Address": f"{entry['IPAddress']}/{entry['IPPrefixLen']}",
        "IPv6Address": "",
    }
    inside = run.exec(name, "ip -4 addr show eth0; cat /sys/class/net/eth0/address; ip route; cat /etc/hosts")
    assert f"inet {entry['IPAddress']}/{entry['IPPrefixLen']}" in inside
    assert entry["MacAddress"] in inside
    assert f"default via {entry['Gateway']} dev eth0" in inside
    assert f"{entry['IPAddress']}\t{shown['Config']['Hostname']}" in inside
    run.command("stop", "-t", "0", name)
    after = run.inspect(name)["NetworkSettings"]
    assert (after["IPAddress"], after["Networks"]["bridge"]["EndpointID"]) == ("", "")


def test_no_ipv6_where_none_was_asked_for(run):
    """CVE-2024-32473: an IPv4-only network leaves no IPv6 address; routers' words count nothing."""
    shown = run(network="bridge", sh="ip -6 addr show eth0; cat /proc/sys/net/ipv6/conf/eth0/accept_ra")
    assert shown == "0"


def test_the_way_out_and_its_address(ours, outside):
    """Containers reach other machines, under the engine's machine's address."""
    listener = outside.listen(7000)
    name = ours.start(
        network="bridge", command=["sh", "-c", f"echo hi | nc {outside.address} 7000; sleep 1000"]
    )
    assert heard(listener) == (outside.world, b"hi\n")
    assert outside.address not in addresses(ours.engine, name)


def test_neighbours_and_other_networks(ours, network):
    """R21: what shares no network reaches nothing, published or not."""
    one, two = network(), network()
    server = web(ours, network=one)
    friend, stranger = ours.start(network=one), ours.start(network=two)
    default = ours.start(network="bridge")
    address = addresses(ours.engine, server)[0]
    assert can_fetch(ours.engine, friend, f"http://{address}/")
    assert can_fetch(ours.engine, stranger, f"http://{address}/", 3) is None
    assert can_fetch(ours.engine, default, f"http://{address}/", 3) is None


def test_unpublished_ports_are_closed_to_other_machines(ours, outside):
    """R21: a machine on the segment that routes the containers' subnet to us reaches none of them."""
    name = web(ours)
    address = addresses(ours.engine, name)[0]
    assert fetch(address, 80)  # from the machine itself it is reached
    assert not reachable(address, 80, outside)
    assert reachable(outside.world, 22, outside) is False


def test_loopback_services_of_the_machine_are_closed(ours, outside):
    """CVE-2020-8558: route_localnet is on for our bridges, and nobody else can use it."""
    with socket.create_server(("127.0.0.1", 7070)):
        name = ours.start("--privileged", network="bridge")
        gateway = inspect(ours.engine, name)["NetworkSettings"]["Gateway"]
        script = f"ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via {gateway} dev eth0; "
        script += (
            "sysctl -w net.ipv4.conf.all.route_localnet=1 >/dev/null; nc -w 2 127.0.0.1 7070 && echo open"
        )
        assert "open" not in ours.exec(name, f"({script}) 2>&1 || true")

        def through(machine):
            with Netlink() as netlink:
                number = rtnl.link(netlink, "eth0").number
            subprocess.run(["ip", "address", "del", "127.0.0.1/8", "dev", "lo"], check=True)
            with (
                open("/proc/thread-self/net/dev"),
                open("/proc/sys/net/ipv4/conf/eth0/route_localnet", "w") as f,
            ):
                f.write("1")
            return number

        outside.inside(through, outside)
        assert not reachable("127.0.0.1", 7070, outside)


def test_internal_networks_have_no_way_out(ours, network, outside):
    listener = outside.listen(7000)
    listener.settimeout(2)
    closed = network("--internal")
    server = web(ours, network=closed)
    friend = ours.start(network=closed)
    address = addresses(ours.engine, server)[0]
    assert can_fetch(ours.engine, friend, f"http://{address}/")
    assert ours.exec(friend, "ip route | grep -c default || true") == "0"
    # Not even with a route of its own.
    gateway = inspect(ours.engine, closed)["IPAM"]["Config"][0]["Gateway"]
    other = ours.start("--cap-add", "NET_ADMIN", network=closed)
    ours.exec(other, f"ip route add default via {gateway}; echo x | nc -w 1 {outside.address} 7000 || true")
    with pytest.raises(TimeoutError):
        listener.accept()


def test_a_namespace_of_another_container(ours):
    owner = web(ours)
    shown = ours(network=f"container:{owner}", sh="wget -q -O- http://127.0.0.1/; hostname; cat /etc/hosts")
    hostname = ours.inspect(owner)["Config"]["Hostname"]
    assert shown.splitlines()[:2] == [hostname, hostname]
    assert addresses(ours.engine, owner)[0] in shown


# -- networks of one's own ---------------------------------------------------------------------------------


def test_subnets_ranges_and_static_addresses(ours, network):
    name = network(
        *("--subnet", "10.97.0.0/16", "--ip-range", "10.97.5.0/24", "--gateway", "10.97.0.9"),
        *("--aux-address", "router=10.97.5.1", "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400"),
    )
    shown = inspect(ours.engine, name)
    assert shown["IPAM"]["Config"] == [
        {
            "Subnet": "10.97.0.0/16",
            "IPRange": "10.97.5.0/24",
            "Gateway": "10.97.0.9",
            "AuxiliaryAddresses": {"router": "10.97.5.1"},
        }
    ]
    assert shown["Labels"] == {"a": "b"}
    first = ours.start(network=name)
    fixed = ours.start("--ip", "10.97.77.7", "--mac-address", "02:11:22:33:44:55", network=name)
    assert addresses(ours.engine, first) == ["10.97.5.0"]
    assert addresses(ours.engine, fixed) == ["10.97.77.7"]
    inside = ours.exec(fixed, "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; ip route")
    assert inside.splitlines()[:2] == ["02:11:22:33:44:55", "1400"]
    assert "default via 10.97.0.9" in inside
    words = ours.refused("--ip", "10.97.77.7", network=name)
    assert "Address already in use" in words
    assert "no configured subnet or ip-range contain the IP address 10.98.0.1" in ours.refused(
        "--ip", "10.98.0.1", network=name
    )


def test_a_gateway_is_shown_where_it_was_asked_for(engine, network):
    """As by dockerd: what was asked for, nothing more; else clients that compare make the network anew."""
    for flags, more in [((), {}), (("--gateway", "10.94.0.9"), {"Gateway": "10.94.0.9"})]:
        name = network("--subnet", "10.94.0.0/16", *flags)
        assert inspect(engine, name)["IPAM"]["Config"] == [{"Subnet": "10.94.0.0/16", **more}]
        engine.docker("network", "rm", name, check=True)
    assert inspect(engine, network())["IPAM"]["Config"][0]["Gateway"]


def test_a_subnet_of_a_family_that_is_off_is_but_shown(ours, engine, network):
    """As by dockerd: many a compose file names one and never switches IPv6 on."""
    name = network("--subnet", "10.94.0.0/16", "--subnet", "fd00:94::/64")
    shown = inspect(engine, name)
    # docker's CLI sends them in an order of chance.
    assert {entry["Subnet"] for entry in shown["IPAM"]["Config"]} == {"10.94.0.0/16", "fd00:94::/64"}
    assert not shown["EnableIPv6"]
    container = ours.inspect(ours.start(network=name))
    entry = container["NetworkSettings"]["Networks"][name]
    assert (entry["IPAddress"], entry["GlobalIPv6Address"]) == ("10.94.0.2", "")


def test_ipv6(ours, network, outside):
    name = network("--ipv6")
    config = inspect(ours.engine, name)["IPAM"]["Config"]
    assert config[1]["Subnet"].startswith("fd")
    server, friend = web(ours, network=name), ours.start(network=name)
    entry = inspect(ours.engine, server)["NetworkSettings"]["Networks"][name]
    assert entry["GlobalIPv6PrefixLen"] == 64
    assert entry["IPv6Gateway"] == config[1]["Gateway"]
    address = entry["GlobalIPv6Address"]
    assert can_fetch(ours.engine, friend, f"http://[{address}]/")
    assert not reachable(address, 80, outside)
    assert ours.exec(server, "cat /proc/sys/net/ipv6/conf/eth0/accept_ra") == "0"
    listener = outside.listen(7000, "::")
    ours.start(network=name, command=["sh", "-c", f"echo hi | nc {outside.address6} 7000; sleep 1000"])
    assert heard(listener)[0] == outside.world6


def test_connect_and_disconnect(run, network, engine):
    one, two = network(), network("--subnet", "10.96.0.0/24")
    server = web(run, network=two)
    name = run.start(network=one)
    address = addresses(engine, server)[0]
    assert can_fetch(engine, name, f"http://{address}/", 3) is None
    engine.docker("network", "connect", "--ip", "10.96.0.77", "--alias", "other", two, name, check=True)
    assert can_fetch(engine, name, f"http://{address}/")
    shown = run.inspect(name)["NetworkSettings"]["Networks"][two]
    assert shown["IPAddress"] == "10.96.0.77"
    assert "other" in shown["Aliases"]
    assert "10.96.0.77" in run.exec(name, "ip addr show eth1; cat /etc/hosts")
    again = engine.docker("network", "connect", two, name)
    assert b"already exists in network" in again.stderr
    engine.docker("network", "disconnect", one, name, check=True)
    assert run.exec(name, "ls /sys/class/net; ip route").split("\n")[0:2] == ["eth1", "lo"]
    assert "default via 10.96.0.1 dev eth1" in run.exec(name, "ip route")
    engine.docker("network", "disconnect", two, name, check=True)
    assert can_fetch(engine, name, f"http://{address}/", 3) is None
    assert run.inspect(name)["NetworkSettings"]["Networks"] == {}
    assert b"is not connected to network" in engine.docker("network", "disconnect", two, name).stderr


def test_several_networks_at_create_and_across_restarts(ours, network):
    one, two = network(), network("--internal")
    name = ours.start("--network", f"name={two},alias=inner", network=one)
    before = ours.inspect(name)["NetworkSettings"]["Networks"]
    assert set(before) == {one, two}
    assert ours.exec(name, "ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    ours.command("restart", "-t", "0", name)
    assert set(ours.inspect(name)["NetworkSettings"]["Networks"]) == {one, two}
    assert ours.exec(name, "ls /sys/class/net").split() == ["eth0", "eth1", "lo"]


def test_containers_that_shall_not_talk(ours, network):
    name = network("-o", "com.docker.network.bridge.enable_icc=false")
    server, other = web(ours, network=name), ours.start(network=name)
    address = addresses(ours.engine, server)[0]
    assert fetch(address, 80)
    assert can_fetch(ours.engine, other, f"http://{address}/", 3) is None


@pytest.mark.parametrize("options", ["isolated", "inhibited"])
def test_a_bridge_without_an_address_is_no_neighbour(ours, network, options):
    """Containers reach each other, and the machine none of them; only ``isolated`` leaves no gateway."""
    bridge = "com.docker.network.bridge."
    flags = ["-o", f"{bridge}inhibit_ipv4=1"]
    if options == "isolated":
        flags = ["--internal", "--ipv6", "-o", f"{bridge}gateway_mode_ipv6=isolated"]
        flags += ["-o", f"{bridge}gateway_mode_ipv4=isolated"]
    name = network(*flags)
    server, friend = ours.start(command=["sh", "-c", WEB], network=name), ours.start(network=name)
    address = addresses(ours.engine, server)[0]
    wait_until(lambda: can_fetch(ours.engine, friend, f"http://{address}/"), f"{server} at {address}")
    assert not reachable(address, 80)
    shown = inspect(ours.engine, name)
    with Netlink() as netlink:
        number = rtnl.link(netlink, f"br-{shown['Id'][:12]}").number
        found = [entry.address for entry in rtnl.addresses(netlink) if entry.device == number]
    assert [entry for entry in found if not entry.startswith("fe80:")] == []
    gateways = [entry.get("Gateway") for entry in shown["IPAM"]["Config"]]
    route = ours.exec(friend, "ip route | grep default || true; ip -6 route | grep default || true")
    if options == "isolated":
        assert (gateways, route) == ([None, None], "")
    else:
        assert route == f"default via {gateways[0]} dev eth0"


def test_the_bridge_has_the_name_that_was_asked_for(engine, network):
    network("-o", "com.docker.network.bridge.name=br-mine")
    assert "br-mine" in links()
    again = engine.docker("network", "create", "-o", "com.docker.network.bridge.name=br-mine", "second")
    assert b"networks have same bridge name" in again.stderr


def test_a_network_of_a_configuration(engine, network):
    bridge = f"b{os.urandom(4).hex()}"
    source = network("--config-only", "--subnet", "10.98.0.0/24", "--opt", f"{NAME}={bridge}")
    made = network("--config-from", source)
    try:
        found = inspect(engine, made)
        assert (found["Driver"], found["ConfigFrom"]["Network"]) == ("bridge", source)
        assert (found["IPAM"]["Config"][0]["Subnet"], found["Options"]) == ("10.98.0.0/24", {NAME: bridge})
        assert inspect(engine, source)["Driver"] == "null"
        listed = engine.docker("network", "ls", "--filter", "driver=null", "--format", "{{.Name}}").stdout
        assert {source, "none"} == set(listed.decode().split())
        refused = engine.docker("network", "create", "--config-from", source, "--label", "a=b", f"{made}2")
        assert b": user specified configurations are not supported if the network depends" in refused.stderr
        refused = engine.docker("run", "--rm", "--network", source, "busybox", "true")
        words = b"failed to set up container networking: cannot create endpoint on configuration-only network"
        assert words in refused.stderr
        used = engine.docker("network", "rm", source).stderr
        assert f'error while removing network: configuration network "{source}" is in use'.encode() in used
    finally:
        engine.docker("network", "rm", made)


def test_macvlan(ours, network, outside):
    name = network("-d", "macvlan", "--subnet", "203.0.113.0/24", "-o", f"parent={outside.link}")
    server = ours.start("--ip", "203.0.113.77", network=name, command=["sh", "-c", WEB])
    wait_until(lambda: reachable("203.0.113.77", 80, outside), "the server on the segment")
    assert outside.address in outside.fetch("203.0.113.77", 80, "/cgi-bin/ip")
    assert ours.inspect(server)["NetworkSettings"]["Networks"][name]["IPAddress"] == "203.0.113.77"


def test_modes_of_macvlan(ours, network, outside):
    def hears(seconds, *options):
        name = network("-d", "macvlan", *options)
        other = addresses(ours.engine, ours.start(network=name))[0]
        return ours(network=name, sh=f"ip route; ping -c 1 -W {seconds} {other} >/dev/null; echo $?")

    below = ["-o", f"parent={outside.link}"]
    assert hears(30, *below, "-o", "macvlan_mode=bridge").endswith("0")
    assert hears(1, *below, "-o", "macvlan_mode=private").endswith("1")
    alone = hears(30)
    assert alone.endswith("0")
    assert "default" not in alone  # no device below: it leads nowhere


def test_a_vlan_below_or_the_kernel_is_named(engine, network, outside):
    before = links()
    parent = ["-d", "macvlan", "-o", f"parent={outside.link}.50"]
    done = engine.docker("network", "create", *parent, "tagged")
    if done.returncode:
        words = f"failed to create {outside.link}.50 vlan link: this kernel has no VLAN devices (8021q)"
        assert words in done.stderr.decode()
    else:
        assert links() == before | {f"{outside.link}.50"}
        engine.docker("network", "rm", "tagged", check=True)
    assert links() == before


def test_devices_that_a_person_made_stay(engine, outside):
    """What this engine made, it says on the device; that goes with the last network on it."""
    theirs, marked, named = f"{outside.link}.60", f"{outside.link}.61", f"br-{outside.link}"
    with Netlink() as netlink:
        netlink.change([rtnl.add_bridge(name, "02:00:00:00:00:60") for name in (theirs, marked, named)])
        netlink.change([rtnl.set_alias(marked, plans.MARK)])
    networks = {
        "one": ["macvlan", f"parent={theirs}"],
        "two": ["macvlan", f"parent={marked}"],
        "three": ["macvlan", f"parent={marked}"],
        "four": ["bridge", f"com.docker.network.bridge.name={named}"],
    }
    for name, (driver, option) in networks.items():
        engine.docker("network", "create", "-d", driver, "-o", option, name, check=True)
    engine.docker("network", "rm", "one", "two", "four", check=True)
    assert {theirs, marked, named} <= links()
    engine.docker("network", "rm", "three", check=True)
    assert marked not in links()
    with Netlink() as netlink:
        netlink.change([rtnl.delete_link(theirs), rtnl.delete_link(named)])


def test_ipvlan_works_or_the_kernel_is_named(ours, network, outside):
    name = network("-d", "ipvlan", "--subnet", "203.0.113.0/24", "-o", f"parent={outside.link}")
    done = ours.done("--ip", "203.0.113.78", sh="ip addr show eth0", network=name)
    if done.returncode:
        assert b"this kernel has no ipvlan devices" in done.stderr
    else:
        assert b"203.0.113.78/24" in done.stdout


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--subnet", "10.95.0.0/33"], "invalid CIDR block notation"),
        (["--subnet", "10.95.0.1/24"], "invalid subnet 10.95.0.1/24: it should be 10.95.0.0/24"),
        (["-d", "nosuch"], 'plugin "nosuch" not found'),
        (["-d", "overlay"], "This node is not a swarm manager"),
        (["-d", "host"], 'only one instance of "host" network is allowed'),
        (["--ipam-driver", "other"], 'plugin "other" not found'),
        (["-o", "com.docker.network.bridge.enable_icc=maybe"], "invalid syntax"),
        (["-o", "com.docker.network.driver.mtu=12"], "invalid MTU"),
        (["-o", f"{GATEWAY_MODE4}=isolated"], "gateway mode 'isolated' can only be used for an internal"),
        (["-o", f"{GATEWAY_MODE6}=routed"], "gateway mode 'routed' is not supported by this engine"),
        (["-o", "com.docker.network.bridge.nosuch=1"], "is not supported by this engine"),
        (["-o", "com.docker.network.bridge.name=a/b"], "invalid interface name"),
        (["-d", "macvlan", "-o", "parent=nosuch0"], "invalid subinterface vlan name nosuch0"),
        (["-d", "macvlan", "-o", "parent=nosuch0.5"], "parent interface was not found on the host: nosuch0"),
        (["-d", "macvlan", "-o", "parent=lo.4095"], "vlan id must be between 1-4094, received: 4095"),
        (["-d", "macvlan", "-o", "macvlan_mode=odd"], "requested macvlan mode 'odd' is not valid"),
    ],
)
def test_bad_networks(engine, arguments, words):
    before, networks = links(), engine.docker("network", "ls", "-q").stdout
    done = engine.docker("network", "create", *arguments, "bad")
    assert done.returncode != 0
    assert words in done.stderr.decode()
    assert links() <= before
    assert engine.docker("network", "ls", "-q").stdout == networks


def test_overlaps_names_and_uses(ours, engine, network):
    name = network("--subnet", "10.95.0.0/16")
    for subnet in ("10.95.7.0/24", "10.0.0.0/8"):
        done = engine.docker("network", "create", "--subnet", subnet, "other")
        assert b"Pool overlaps with other one on this address space" in done.stderr
    assert (
        f"network with name {name} already exists".encode() in engine.docker("network", "create", name).stderr
    )
    assert b"predefined" in engine.docker("network", "create", "bridge").stderr
    assert b"pre-defined network and cannot be removed" in engine.docker("network", "rm", "bridge").stderr
    user = ours.start(network=name)
    busy = engine.docker("network", "rm", name)
    assert b"has active endpoints" in busy.stderr
    assert user.encode() in busy.stderr
    assert b"network nosuch not found" in engine.docker("network", "rm", "nosuch").stderr
    assert "network nosuch not found" in ours.refused(network="nosuch")
    assert b"network nosuch not found" in engine.docker("network", "connect", "nosuch", user).stderr
    words = "user specified IP address is supported on user defined networks only"
    assert words in ours.refused("--ip", "172.17.0.9", network="bridge")
    assert words in ours.refused("--ip", "172.17.0.9", network=f"container:{user}")
    plain = network()
    assert "user configured subnets" in ours.refused("--ip", "172.30.0.9", network=plain)


def test_more_networks_than_pools(engine):
    made = []
    try:
        while True:
            done = engine.docker("network", "create", f"pool{len(made)}")
            if done.returncode:
                break
            made.append(f"pool{len(made)}")
            assert len(made) < 40
        assert b"all predefined address pools have been fully subnetted" in done.stderr
    finally:
        engine.docker("network", "rm", *made)
    assert not [name for name in links() if name.startswith("br-")]


def test_lists_filters_and_prune(engine, network, ours, client):
    used, idle = network("--label", "kind=x"), network("--label", "kind=x")
    ours.start(network=used)

    def listed(*filters):
        arguments = [word for text in filters for word in ("--filter", text)]
        return set(
            engine.docker("network", "ls", "--format", "{{.Name}}", *arguments).stdout.decode().split()
        )

    assert {"bridge", "host", "none", used, idle} <= listed()
    assert listed("label=kind=x") == {used, idle}
    assert listed("label=kind=x", "dangling=true") == {idle}
    assert {"bridge", "host", "none"} == listed("type=builtin")
    assert used in listed("type=custom", "driver=bridge", "scope=local")
    assert listed(f"name={idle}") == {idle}
    assert b"invalid filter" in engine.docker("network", "ls", "--filter", "nosuch=1").stderr
    done = engine.docker("network", "prune", "-f", "--filter", "label=kind=x")
    assert idle in done.stdout.decode()
    assert listed("label=kind=x") == {used}
    nothing = {"label": "nosuch"}
    assert client.api.prune_networks(nothing) == {"NetworksDeleted": None}
    assert client.api.prune_containers(nothing) == {"ContainersDeleted": None, "SpaceReclaimed": 0}


def test_events(engine, network, ours):
    name = network()
    container = ours.start(network=name)
    key = ours.inspect(container)["Id"]
    ours.command("stop", "-t", "0", container)
    engine.docker("network", "rm", name)
    filters = ["--filter", "type=network", "--filter", f"network={name}"]
    done = engine.docker(
        "events", "--since", "100s", "--until", str(int(time.time()) + 2), "--format", "{{json .}}", *filters
    )
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [event["Action"] for event in events] == ["create", "connect", "disconnect", "destroy"]
    assert events[1]["Actor"]["Attributes"] == {"container": key, "name": name, "type": "bridge"}


def test_nothing_is_left(engine, network, ours):
    name = network()
    before = links()
    for _ in range(3):
        ours(network=name)
    wait_until(lambda: links() <= before, f"links: {links() - before}")
    engine.docker("network", "rm", name, check=True)
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    assert f"br-{name}" not in rules
    assert inspect(engine, "bridge")["Containers"] == {}


def test_an_ipv6_address_where_ipv6_is_off(client, engine):
    """As dockerd: the subnet is there for it, so that it is no mistake, and the container has none."""
    subnets = ("--subnet", "10.96.0.0/24", "--subnet", "2001:db8:96::/64")
    engine.docker("network", "create", *subnets, "sixless", check=True)
    try:
        asked = ("--network", "sixless", "--ip", "10.96.0.9", "--ip6", "2001:db8:96::9")
        done = engine.docker("run", "--rm", *asked, "busybox", "ip", "addr", check=True)
        assert b"10.96.0.9/24" in done.stdout
        assert b"2001:db8:96" not in done.stdout
    finally:
        client.networks.get("sixless").remove()
