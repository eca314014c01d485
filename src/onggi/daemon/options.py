"""The daemon's command line, as data. Names are dockerd's where it has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from onggi.booleans import BOOLEANS
from onggi.errors import InvalidArgument


class Flag(NamedTuple):
    """``kind``: text, list (given several times), bool or int; ``key`` of daemon.json, if it has one.

    Flags without ``help`` are what our own programs tell each other; the help text leaves them out.
    """

    name: str
    kind: Literal["text", "list", "bool", "int"]
    key: str
    help: str
    short: str = ""


FLAGS = (
    Flag("data-root", "text", "data-root", "Root directory of persistent state (default /var/lib/onggi)"),
    Flag("exec-root", "text", "exec-root", "Root directory of execution state (default /run/onggi)"),
    Flag("host", "list", "hosts", "Socket to listen on, unix://PATH or tcp://HOST:PORT (repeatable)", "H"),
    Flag("group", "text", "group", "Group that may use the unix sockets of --host and --docker-socket", "G"),
    Flag("tlsverify", "bool", "tlsverify", "Serve tcp with TLS, to clients with a certificate of the CA"),
    Flag("tls", "bool", "tls", "Refused: TLS without client certificates"),
    Flag("tlscacert", "text", "tlscacert", "Trust certs signed only by this CA"),
    Flag("tlscert", "text", "tlscert", "Path to TLS certificate file"),
    Flag("tlskey", "text", "tlskey", "Path to TLS key file"),
    Flag("metrics-addr", "text", "metrics-addr", "Address and port to serve Prometheus metrics on"),
    Flag("cgroup-parent", "text", "cgroup-parent", "Parent of all our control groups (default /onggi)"),
    Flag("config-file", "text", "", "Daemon configuration file (default /etc/onggi/daemon.json)"),
    Flag("default-profile", "text", "default-profile", "Defaults of containers: compat (docker's)"),
    Flag("storage-driver", "text", "storage-driver", "Storage driver to use: overlay2 or copy", "s"),
    Flag("debug", "bool", "debug", "Enable debug mode", "D"),
    Flag("log-level", "text", "log-level", "Set the logging level: debug, info, warn, error, fatal", "l"),
    Flag("log-driver", "text", "log-driver", "Default driver for container logs"),
    Flag("log-opt", "list", "log-opts", "Default log driver options, NAME=VALUE"),
    Flag("registry-mirror", "list", "registry-mirrors", "Preferred registry mirror"),
    Flag("insecure-registry", "list", "insecure-registries", "Registry to be reached without verified TLS"),
    Flag("max-concurrent-downloads", "int", "max-concurrent-downloads", "Downloads at once (default 3)"),
    Flag("max-concurrent-uploads", "int", "max-concurrent-uploads", "Uploads at once (default 5)"),
    Flag("max-download-attempts", "int", "max-download-attempts", "Attempts of a download (default 5)"),
    Flag("label", "list", "labels", "Set key=value labels to the daemon"),
    Flag("pidfile", "text", "pidfile", "Path to use for daemon PID file", "p"),
    Flag("detach", "bool", "", "Serve in the background and print how to reach it", "d"),
    Flag("docker-socket", "bool", "docker-socket", "Also serve /var/run/docker.sock where nobody does"),
    Flag("install", "bool", "", "Write a systemd unit or rc script that starts the engine at boot"),
    Flag("here", "bool", "", "Run in the namespaces of the caller, whatever they are"),
    Flag("validate", "bool", "", "Validate daemon configuration and exit"),
    Flag("version", "bool", "", "Print version information and quit", "v"),
    Flag("help", "bool", "", "Print usage", "h"),
    Flag("on-demand", "bool", "", ""),  # started by a command: end when there is nothing to look after
    Flag("idle-timeout", "int", "idle-timeout", "Seconds without work after which an on-demand engine ends"),
    Flag("spares", "int", "spares", "Monitors kept ready before they are asked for (default 2)"),
    Flag("bridge", "text", "bridge", "Name of the default network's bridge (default onggi0)", "b"),
    Flag("bip", "text", "bip", "Address and subnet of the default network's bridge, 172.17.0.1/16"),
    Flag("mtu", "int", "mtu", "MTU of the default network (default 1500)"),
    Flag("ip", "text", "ip", "Address that ports are published on unless told otherwise (default all)"),
    Flag(
        "obey-firewall",
        "bool",
        "obey-firewall",
        "Let the machine's rules for its own ports decide who reaches published ones (TCP only)",
    ),
    Flag(
        "close-metadata",
        "bool",
        "close-metadata",
        "Let no container of a bridge reach a cloud's metadata service (169.254.169.254, fd00:ec2::254)",
    ),
    Flag("default-address-pool", "list", "default-address-pools", "Automatic subnets, base=CIDR,size=BITS"),
    Flag("ready-fd", "int", "", ""),  # descriptor to write one byte to when the engine serves
    Flag("detached", "bool", "", ""),  # the background half of --detach
)
_BY_NAME = {flag.name: flag for flag in FLAGS}
_BY_SHORT = {flag.short: flag for flag in FLAGS if flag.short}

Value = str | bool | int | list[str]


class Options(msgspec.Struct, frozen=True):
    """What was given on the command line, by flag name; what was not given is absent."""

    given: dict[str, Value]

    def has(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self.given.get(name, False))

    def text(self, name: str) -> str:
        value = self.given.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str, default: int) -> int:
        value = self.given.get(name, default)
        return value if isinstance(value, int) else default


def parse(argv: Sequence[str]) -> Options:
    """Parse as pflag does: ``--name value``, ``--name=value``, ``-H value``, ``-Hvalue``, ``-Dd``.

    Raises InvalidArgument with docker's words for unknown flags and arguments.
    """
    given: dict[str, Value] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, has_value, value = word[2:].partition("=")
            flag = _BY_NAME.get(name)
            if flag is None:
                raise InvalidArgument(f"unknown flag: --{name}")
            _set(given, flag, value if has_value else None, rest, word)
        elif word.startswith("-") and len(word) > 1 and word != "--":
            _parse_shorts(given, word[1:], rest)
        else:
            raise InvalidArgument(f'"onggi daemon" accepts no arguments: {word}')
    return Options(given)


def usage() -> str:
    """The help text."""
    shown = [flag for flag in FLAGS if flag.help]
    width = max(len(flag.name) for flag in shown) + 2
    shorts = [f"-{flag.short}," if flag.short else "   " for flag in shown]
    lines = [
        f"  {short} --{flag.name:<{width}}{flag.help}\n" for short, flag in zip(shorts, shown, strict=True)
    ]
    return "".join(("Usage:  onggi daemon [OPTIONS]\n\nServe the Docker Engine API.\n\nOptions:\n", *lines))


def _parse_shorts(given: dict[str, Value], letters: str, rest: list[str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = _BY_SHORT.get(letter)
        if flag is None:
            raise InvalidArgument(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if flag.kind == "bool":
            _set(given, flag, None, rest, f"-{letter}")
            continue
        _set(given, flag, letters.removeprefix("=") if letters else None, rest, f"-{letter}")
        return


def _set(given: dict[str, Value], flag: Flag, value: str | None, rest: list[str], word: str) -> None:
    if flag.kind == "bool":
        given[flag.name] = _boolean(flag, value)
        return
    if value is None:
        if not rest:
            raise InvalidArgument(f"flag needs an argument: {word}")
        value = rest.pop(0)
    if flag.kind == "list":
        before = given.get(flag.name, [])
        given[flag.name] = [*(before if isinstance(before, list) else []), value]
    elif flag.kind == "int":
        given[flag.name] = _integer(flag, value)
    else:
        given[flag.name] = value


def _boolean(flag: Flag, value: str | None) -> bool:
    if value is None:
        return True
    if value not in BOOLEANS:
        raise InvalidArgument(f'invalid argument "{value}" for "--{flag.name}" flag: invalid syntax')
    return BOOLEANS[value]


def _integer(flag: Flag, value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise InvalidArgument(f'invalid argument "{value}" for "--{flag.name}" flag: invalid syntax')
    return int(value)
