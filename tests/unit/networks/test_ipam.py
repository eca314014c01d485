"""Pools and addresses."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi.errors import Forbidden, InvalidArgument, Unavailable
from onggi.networks.ipam import POOLS, Addresses, Pool, check_free, choose, first_host, unique_local_pool
from onggi.networks.model import Subnet


def nets(*texts):
    return [ip_network(text) for text in texts]


def test_automatic_subnets_are_dockers_in_dockers_order():
    taken = []
    while len(taken) < 31:
        taken.append(ip_network(choose(POOLS, False, taken, [])))
    texts = list(map(str, taken))
    assert texts[:4] == ["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/16"]
    assert texts[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"] if len(texts) > 16 else True
    with pytest.raises(InvalidArgument, match="all predefined address pools have been fully subnetted"):
        choose(POOLS, False, taken, [])


def test_routes_of_the_machine_are_avoided():
    avoid = nets("172.16.0.0/14", "172.20.5.0/24")
    assert choose(POOLS, False, [], avoid) == "172.21.0.0/16"
    assert choose(POOLS, False, [], nets("172.16.0.0/12")) == "192.168.0.0/20"


def test_ipv6_subnets_are_of_the_engines_own():
    pool = unique_local_pool("seed")
    assert ip_network(pool.base).prefixlen == 48
    assert ip_network(pool.base).is_private
    first = choose([pool], True, [], [])
    assert choose([pool], True, nets(first), []) != first
    assert unique_local_pool("other") != pool


@given(st.lists(st.integers(0, 255), max_size=40))
def test_chosen_subnets_never_overlap(blocked):
    taken = [ip_network(f"10.9.{number}.0/24") for number in blocked]
    try:
        found = ip_network(choose([Pool("10.9.0.0/16", 24)], False, taken, []))
    except InvalidArgument:
        assert len(set(blocked)) == 256
    else:
        assert not any(found.overlaps(other) for other in taken)


def test_overlap_has_dockers_words():
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        check_free("10.0.0.0/24", nets("10.0.0.0/8"))
    check_free("10.0.0.0/24", nets("10.0.1.0/24", "fd00::/8"))


def test_addresses_come_in_order_and_freed_ones_last():
    pool = Addresses(Subnet(subnet="10.0.0.0/29", gateway="10.0.0.1"))
    taken = [pool.take() for _ in range(5)]
    assert taken == [f"10.0.0.{number}/29" for number in range(2, 7)]
    with pytest.raises(Unavailable, match="no available addresses on this pool"):
        pool.take()
    pool.give_back(taken[3])
    pool.give_back(taken[0])
    pool.give_back(taken[0])
    assert [pool.take(), pool.take()] == [taken[0], taken[3]]
    other = Addresses(Subnet(subnet="10.0.0.0/24", gateway="10.0.0.1"))
    other.give_back(other.take())
    assert other.take() == "10.0.0.3/24"


def test_ranges_and_auxiliary_addresses():
    subnet = Subnet(
        subnet="10.1.0.0/16", ip_range="10.1.5.0/30", gateway="10.1.5.0", auxiliary={"router": "10.1.5.1"}
    )
    pool = Addresses(subnet)
    assert [pool.take(), pool.take()] == ["10.1.5.2/16", "10.1.5.3/16"]
    assert pool.take("10.1.9.9") == "10.1.9.9/16"
    with pytest.raises(Forbidden, match="Address already in use"):
        pool.take("10.1.9.9")
    with pytest.raises(Forbidden, match="Address already in use"):
        pool.take("10.1.5.1")
    with pytest.raises(InvalidArgument, match="out of range"):
        pool.take("10.2.0.1")


@pytest.mark.parametrize("subnet", ["10.0.0.0/24", "10.0.0.0/31", "10.0.0.0/32", "fd00::/64", "fd00::/127"])
def test_only_hosts_are_given_out(subnet):
    network = ip_network(subnet)
    pool = Addresses(Subnet(subnet=subnet, gateway=first_host(subnet)))
    for _ in range(min(network.num_addresses - 1, 20)):
        try:
            address = ip_address(pool.take().partition("/")[0])
        except Unavailable:
            break
        assert address in network
        assert str(address) != first_host(subnet)
        if network.version == 4 and network.prefixlen < 31:
            assert address not in (network.network_address, network.broadcast_address)
