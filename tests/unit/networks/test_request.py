"""Bodies of /networks: docker's words for what is wrong, and what comes of the rest."""

import msgspec
import pytest

from onggi.containers.request import convert
from onggi.errors import Forbidden, InvalidArgument, NotFound, OnggiError, Unsupported
from onggi.networks import model
from onggi.networks.model import Wish
from onggi.networks.request import CreateNetwork, EndpointSettings, network_of, normal_mac, wish_of
from onggi.networks.views import endpoint_settings


def network(**body):
    return network_of(convert({"Name": "n", **body}, CreateNetwork), "f" * 64, 1)


def pool(**config):
    return {"IPAM": {"Config": [config]}}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"Name": " "}, InvalidArgument, "name is empty"),
        ({"Name": "host"}, Forbidden, "predefined host network"),
        ({"Driver": "host"}, Forbidden, 'only one instance of "host" network is allowed'),
        ({"Driver": "weave"}, NotFound, 'plugin "weave" not found'),
        ({"Ingress": True}, Forbidden, "can only be global scope"),
        ({"Driver": "overlay"}, Forbidden, "not a swarm manager"),
        ({"IPAM": {"Driver": "dhcp"}}, NotFound, 'plugin "dhcp" not found'),
        ({"IPAM": {"Options": {"a": "b"}}}, Unsupported, "IPAM options a"),
        (pool(Subnet="10.0.0.1/24"), InvalidArgument, "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"),
        (pool(Subnet="x"), InvalidArgument, "invalid CIDR block notation"),
        (pool(Subnet="10.0.0.0"), InvalidArgument, "10.0.0.0: invalid CIDR block notation"),
        (pool(Subnet="10.0.0.0/255.0.0.0"), InvalidArgument, "invalid CIDR block notation"),
        (pool(Subnet="10.0.0.0/24", Gateway="10.1.0.1"), InvalidArgument, "doesn't contain this address"),
        (pool(Subnet="10.0.0.0/24", Gateway="fd00::1"), InvalidArgument, "parent subnet is an IPv4 block"),
        (pool(Subnet="10.0.0.0/24", IPRange="10.0.0.0/16"), InvalidArgument, "bigger than its parent subnet"),
        (pool(Subnet="10.0.0.0/24", IPRange="10.0.0.9/28"), InvalidArgument, "it should be 10.0.0.0/28"),
        (pool(Subnet="10.0.0.0/24", IPRange="10.0.1.0/28"), InvalidArgument, "doesn't contain ip-range"),
        (
            pool(Subnet="10.0.0.0/24", AuxiliaryAddresses={"a": "10.9.0.1"}),
            InvalidArgument,
            "invalid auxiliary address a: parent subnet",
        ),
        (
            {"Options": {model.GATEWAY_MODE4: "x"}},
            InvalidArgument,
            f"{model.GATEWAY_MODE4} value: x (unknown",
        ),
        (
            {"Options": {model.BINDING: "x"}},
            InvalidArgument,
            f"failed to parse {model.BINDING} value: x (nil ip)",
        ),
        ({"Options": {"com.docker.network.bridge.name": "a b"}}, InvalidArgument, "invalid interface name"),
        (
            {"Options": {model.INHIBIT4: "x"}},
            InvalidArgument,
            '(strconv.ParseBool: parsing "x": invalid syntax)',
        ),
        ({"Options": {"com.docker.network.bridge.nosuch": "true"}}, Unsupported, "not supported"),
    ],
)
def test_what_is_refused(body, kind, words):
    with pytest.raises(kind) as caught:
        network(**body)
    assert words in str(caught.value)


def test_what_is_taken():
    made = network(
        EnableIPv6=True,
        Options={"other.vendor": "x"},
        **pool(Subnet="2001:389::/64", IPRange="2001:389::0/96", Gateway="2001:389::ffff"),
    )
    (subnet,) = made.subnets
    assert (subnet.subnet, subnet.ip_range, subnet.gateway) == (
        "2001:389::/64",
        "2001:389::/96",
        "2001:389::ffff",
    )
    assert made.enable_ipv4
    assert network().bridge == "br-" + "f" * 12


@pytest.mark.parametrize(
    ("settings", "user_defined", "words"),
    [
        ({"IPAMConfig": {"IPv4Address": "10.0.0.2"}}, False, "supported on user defined networks only"),
        ({"Aliases": ["a"]}, False, "only for containers in user defined networks"),
        ({"IPAMConfig": {"IPv4Address": "fd00::1"}}, True, "invalid IPv4 address: fd00::1"),
        ({"IPAMConfig": {"LinkLocalIPs": ["x"]}}, True, "invalid link-local IP address: x"),
        ({"MacAddress": "00:11"}, True, "invalid MAC address 00:11"),
    ],
)
def test_wrong_wishes(settings, user_defined, words):
    with pytest.raises(OnggiError) as caught:
        wish_of(convert(settings, EndpointSettings), user_defined)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, [None, None, None, None]),
        ({"IPAMConfig": {}, "Links": [], "Aliases": [], "DriverOpts": {}}, [{}, [], [], {}]),
        ({"IPAMConfig": {"LinkLocalIPs": []}, "Links": None}, [{}, None, None, None]),
        ({"IPAMConfig": {"IPv4Address": "10.0.0.2"}}, [{"IPv4Address": "10.0.0.2"}, None, None, None]),
        ({"Aliases": ["a"], "DriverOpts": {"a": "b"}}, [None, None, ["a"], {"a": "b"}]),
    ],
)
def test_what_is_asked_is_shown_as_it_was_given(given, shown):
    wish = wish_of(convert(given, EndpointSettings), user_defined=True)
    wish = msgspec.json.decode(msgspec.json.encode(wish), type=Wish)
    found = endpoint_settings(wish, None, None, [])
    assert [found[name] for name in ("IPAMConfig", "Links", "Aliases", "DriverOpts")] == shown


def test_macs_have_one_spelling():
    assert normal_mac("02-AB-00-00-00-01") == normal_mac("02:ab:00:00:00:01") == "02:ab:00:00:00:01"
