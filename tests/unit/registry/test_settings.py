"""What the administrator writes about registries and proxies."""

import ipaddress

import pytest

from onggi.errors import InvalidArgument, Unsupported
from onggi.registry.endpoints import Endpoint, endpoints
from onggi.registry.proxies import Proxies
from onggi.registry.settings import build


def no_lookup(name):
    raise AssertionError(f"{name} was looked up")


def test_nothing_is_said():
    settings = build({}, {})
    assert settings.mirrors == ()
    for host in ("localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:5000", "[::1]:5000", "LOCALHOST"):
        assert settings.is_insecure(host, no_lookup), host
    for host in ("docker.io", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example", "[::2]"):
        assert not settings.is_insecure(host, no_lookup), host


def test_insecure_hosts_and_networks():
    listed = ["registry.lan", "other.lan:5000", "http://old.lan:80", "10.0.0.0/8", "fd00::/8"]
    settings = build({"insecure-registries": listed}, {})
    where = {"in.lan": ["10.1.1.1", "fd00::1"], "half.lan": ["10.1.1.1", "1.2.3.4"], "out.lan": ["1.2.3.4"]}

    def lookup(name):
        return where.get(name, [])

    insecure = ["registry.lan", "registry.lan:443", "Other.LAN:5000", "old.lan:80", "10.1.2.3", "in.lan:5000"]
    assert [host for host in insecure if not settings.is_insecure(host, lookup)] == []
    secure = ["other.lan", "other.lan:5001", "half.lan", "out.lan", "nowhere.lan", "11.0.0.1"]
    assert [host for host in secure if settings.is_insecure(host, lookup)] == []


def test_a_name_that_leads_to_loopback_is_not_loopback():
    """The resolver is not asked for it: who controls a name cannot make it lose its TLS."""
    assert not build({}, {}).is_insecure("rebound.example", lambda _name: ["127.0.0.1"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"registry-mirrors": "x"}, "registry-mirrors must be a list of strings"),
        ({"registry-mirrors": [7]}, "registry-mirrors must be a list of strings"),
        ({"registry-mirrors": ["ftp://x"]}, 'invalid mirror: unsupported scheme "ftp" in "ftp://x"'),
        ({"registry-mirrors": ["mirror:5000"]}, "invalid mirror: unsupported scheme"),
        ({"registry-mirrors": ["https://x/y"]}, 'path, query, or fragment at end of the URI "https://x/y"'),
        ({"registry-mirrors": ["https://x?y"]}, "path, query, or fragment"),
        ({"registry-mirrors": ["https://u:secret@x"]}, "username/password not allowed"),
        ({"registry-mirrors": ["https://"]}, "not a valid URI"),
        ({"registry-mirrors": ["https://x:99999"]}, "not a valid URI"),
        ({"registry-mirrors": ["https://[::1"]}, "not a valid URI"),
        ({"insecure-registries": ["10.0.0.0/99"]}, "insecure registry 10.0.0.0/99 is not valid"),
        ({"insecure-registries": ["a b"]}, "insecure registry a b is not valid"),
        ({"insecure-registries": ["ftp://x"]}, "is not valid"),
        ({"max-download-attempts": 0}, "invalid max download attempts: 0"),
        ({"max-download-attempts": True}, "invalid max download attempts"),
        ({"proxies": []}, "proxies must be an object of strings"),
        ({"proxies": {"http-proxy": 7}}, "proxies must be an object of strings"),
        ({"proxies": {"ftp-proxy": "x"}}, "don't match any configuration option: ftp-proxy"),
        ({"proxies": {"http-proxy": "http://u:secret@"}}, "invalid proxy"),
        ({"proxies": {"http-proxy": "http://u:secret@h:0"}}, "invalid proxy"),
    ],
)
def test_what_is_wrong_is_named(values, words):
    with pytest.raises(InvalidArgument) as failed:
        build(values, {})
    assert words in str(failed.value)
    assert "secret" not in str(failed.value)


def test_kinds_of_proxies():
    with pytest.raises(Unsupported, match="socks5://"):
        build({}, {"HTTPS_PROXY": "socks5://127.0.0.1:1080"})


def test_mirrors():
    settings = build({"registry-mirrors": ["https://mirror.example/", "http://[::1]:5000"]}, {})
    assert settings.mirrors == ("https://mirror.example", "http://[::1]:5000")
    assert settings.is_plain_mirror("http://[::1]:5000/v2/")
    assert not settings.is_plain_mirror("http://[::1]:50000/v2/")
    assert not settings.is_plain_mirror("http://mirror.example/v2/")


def test_endpoints():
    mirrors = ["https://mirror.example"]
    hub = Endpoint(("https://registry-1.docker.io",))
    assert endpoints("docker.io", mirrors, insecure=False) == [Endpoint(tuple(mirrors), is_mirror=True), hub]
    assert endpoints("docker.io", mirrors, insecure=False, pushing=True) == [hub]
    assert endpoints("ghcr.io", mirrors, insecure=False) == [Endpoint(("https://ghcr.io",))]
    assert endpoints("x:1", (), insecure=True) == [Endpoint(("https://x:1", "http://x:1"))]


def proxied(urls, **env):
    proxies = build({}, env).proxies
    return [url for url in urls if proxies.of(f"{url}/v2/")]


def test_proxies_of_the_environment():
    env = {"HTTPS_PROXY": "proxy.lan:3128", "http_proxy": "https://other.lan"}
    proxies = build({}, env).proxies
    assert proxies.of("https://registry.example/v2/") == "http://proxy.lan:3128"
    assert proxies.of("http://registry.example/v2/") == "https://other.lan"
    ours = build({"proxies": {"https-proxy": "http://p"}}, env).proxies
    assert ours == Proxies("https://other.lan", "http://p", ())


@pytest.mark.parametrize(
    ("no_proxy", "left"),
    [
        ("", ["https://a.example", "https://b.a.example", "https://10.0.0.1", "https://a.example:5000"]),
        ("*", []),
        ("a.example", ["https://10.0.0.1"]),
        (".a.example", ["https://a.example", "https://10.0.0.1", "https://a.example:5000"]),
        ("*.a.example", ["https://a.example", "https://10.0.0.1", "https://a.example:5000"]),
        ("a.example:5000", ["https://a.example", "https://b.a.example", "https://10.0.0.1"]),
        ("A.EXAMPLE, 10.0.0.0/8", []),
        ("10.0.0.1:443", ["https://a.example", "https://b.a.example", "https://a.example:5000"]),
        ("10.0.0.1:80,x/y,example.org", ["https://a.example", "https://b.a.example", "https://10.0.0.1", "https://a.example:5000"]),
    ],
)  # fmt: skip
def test_no_proxy(no_proxy, left):
    urls = ["https://a.example", "https://b.a.example", "https://10.0.0.1", "https://a.example:5000"]
    assert proxied(urls, HTTPS_PROXY="http://p", NO_PROXY=no_proxy) == left


def test_this_machine_is_never_behind_a_proxy():
    urls = ["https://localhost", "https://127.0.0.1:5000", "https://[::1]", "https://localhost.:5000"]
    assert proxied(urls, HTTPS_PROXY="http://p") == []


def test_networks_are_networks():
    settings = build({"insecure-registries": ["10.9.9.9/8"]}, {})
    assert settings.insecure_networks == (ipaddress.ip_network("10.0.0.0/8"),)
