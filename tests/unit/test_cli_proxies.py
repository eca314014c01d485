"""Proxies of docker's client configuration become variables of a container."""

from onggi.cli.proxies import proxy_variables

DEFAULT = {"httpProxy": "http://one:1", "noProxy": "a,b", "ftpProxy": ""}


def test_both_cases_are_set_and_what_is_given_stays():
    assert proxy_variables(
        {"proxies": {"default": DEFAULT}}, "unix:///s", ["HTTP_PROXY=mine", "no_proxy"]
    ) == [
        "http_proxy=http://one:1",
        "NO_PROXY=a,b",
    ]


def test_an_engine_s_own_proxies_go_before_the_default():
    config = {"proxies": {"default": DEFAULT, "tcp://far:2376": {"allProxy": "socks5://two:2"}}}
    assert proxy_variables(config, "tcp://far:2376", []) == [
        "ALL_PROXY=socks5://two:2",
        "all_proxy=socks5://two:2",
    ]
    assert proxy_variables({}, "unix:///s", []) == []
