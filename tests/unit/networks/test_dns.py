"""DNS: the format, who is called what, and whom questions may leave to."""

import socket
import struct

import pytest
from fake_networks import fake_networks
from hypothesis import given
from hypothesis import strategies as st

from onggi.networks.dns import message, names
from onggi.networks.dns.message import AAAA, PTR, A, Record
from onggi.networks.dns.upstream import Upstream, parse_servers
from onggi.networks.model import Endpoint, Network, Sandbox, Subnet


def question(name, kind=A, *, number=7, flags=0x0100, extra=b""):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part)
    header = struct.pack("!6H", number, flags, 1, 0, 0, 1 if extra else 0)
    return header + labels + b"\0" + struct.pack("!2H", kind, 1) + extra


EDNS = b"\0" + struct.pack("!2HIH", 41, 1232, 0, 0)


def test_a_question():
    query = message.parse(question("Web.Example", AAAA, extra=EDNS))
    assert (query.id, query.name, query.type, query.recursion) == (7, "web.example", AAAA, True)
    assert query.udp_size == 1232
    assert message.parse(question("x")).udp_size == 512


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 12,
        question("x", flags=0x8100),
        question("x", flags=0x2800),
        question("x")[:-1],
        question("x")[:12] + b"\xc0\x0c\0\1\0\1",
        question("x")[:-1] + b"\3",
    ],
)
def test_what_is_no_question_is_not_answered(data):
    assert message.parse(data) is None


@given(st.binary(max_size=600))
def test_any_bytes_are_read_or_refused(data):
    message.parse(data)
    message.answers(data, question("x"))


def test_an_answer_repeats_the_question_and_fits():
    query = message.parse(question("web"))
    found = message.answer(query, [Record(A, "192.0.2.1"), Record(A, "192.0.2.2")])
    assert message.answers(found, question("web"))
    assert struct.unpack_from("!6H", found)[3] == 2
    assert socket.inet_aton("192.0.2.2") in found
    many = message.answer(query, [Record(A, f"192.0.2.{n}") for n in range(200)], limit=512)
    assert len(many) <= 512
    assert many[2] & 0x02  # truncated: ask again over TCP
    assert message.answers(found, question("other")) is False
    assert message.answers(found, question("web", number=8)) is False


def test_addresses_reversed():
    assert message.reversed_address("2.0.17.172.in-addr.arpa") == "172.17.0.2"
    six = ".".join(reversed("20010db8000000000000000000000001")) + ".ip6.arpa"
    assert message.reversed_address(six) == "2001:db8::1"
    for name in ("in-addr.arpa", "x.y.z.w.in-addr.arpa.com", "g" + six[1:]):
        assert message.reversed_address(name) == ""


def test_resolv_conf(tmp_path):
    assert parse_servers("# nameserver 1.1.1.1\nnameserver 192.0.2.1\nsearch x\nnameserver\n") == (
        "192.0.2.1",
    )
    path = tmp_path / "resolv.conf"
    upstream = Upstream(str(path))
    assert upstream.servers() == ()
    path.write_text("nameserver 192.0.2.1\n")
    assert upstream.servers() == ("192.0.2.1",)
    (tmp_path / "new").write_text("nameserver 192.0.2.2\n")
    (tmp_path / "new").rename(path)
    assert upstream.servers() == ("192.0.2.2",)


class Database:
    async def run(self, statement, **_):
        raise AssertionError


@pytest.fixture
def core(tmp_path):
    core = fake_networks(Database(), None, tmp_path / "run").core
    for name, internal in (("front", False), ("back", True)):
        subnets = [Subnet(subnet="10.0.0.0/24", gateway="10.0.0.1")]
        core.adopt(Network(id=name, name=name, internal=internal, subnets=subnets))
    return core


def join(core, name, network, address, *aliases, links=None, six=""):
    sandbox = core.sandboxes.setdefault(name, Sandbox(container=name, name=name, run=1, id="s"))
    sandbox.endpoints[network] = Endpoint(
        network=network, id="e", interface="eth0", mac="", ipv4=f"{address}/24", ipv6=six,
        names=[name, *aliases], links=links or {},
    )  # fmt: skip
    return sandbox


def found(core, sandbox, name, kind=A):
    records = names.look_up(core, sandbox, name, kind)
    return None if records is None else {record.value for record in records}


def test_names_aliases_links_and_networks(core):
    me = join(core, "me", "front", "10.0.0.2", links={"db": "web"})
    join(core, "web", "front", "10.0.0.3", "www", six="fd00::3/64")
    join(core, "web2", "front", "10.0.0.4", "www")
    join(core, "hidden", "back", "10.0.0.5", "www")
    assert found(core, me, "web") == found(core, me, "db") == {"10.0.0.3"}
    assert found(core, me, "web", AAAA) == {"fd00::3"}
    assert found(core, me, "web2", AAAA) == set()  # the name is ours, it has no such address
    assert found(core, me, "www") == {"10.0.0.3", "10.0.0.4"}
    assert found(core, me, "web.front") == {"10.0.0.3"}
    assert found(core, me, "3.0.0.10.in-addr.arpa", PTR) == {"web.front"}
    assert found(core, me, "host.docker.internal") == {"10.0.0.1"}
    for unknown in ("hidden", "web.back", "example.com", "web.example"):
        assert found(core, me, unknown) is None
    assert names.leads_out(core, me)
    assert not names.leads_out(core, core.sandboxes["hidden"])


def test_several_addresses_take_turns(core):
    me = join(core, "me", "front", "10.0.0.2")
    for number in range(3, 6):
        join(core, f"w{number}", "front", f"10.0.0.{number}", "www")
    first = {names.look_up(core, me, "www", A)[0].value for _ in range(200)}
    assert first == {"10.0.0.3", "10.0.0.4", "10.0.0.5"}
