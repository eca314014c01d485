"""Which engine a command speaks to: ``-H``, ``DOCKER_HOST``, a docker context, or the own on-demand engine.

Reads ``~/.docker/config.json`` and ``~/.docker/contexts/meta/<sha256 of the name>/meta.json``; writes
nothing.
"""

from __future__ import annotations

import os

from onggi.client.codec import decode
from onggi.client.errors import ClientError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_EXEC_ROOT = "/run/onggi"


class Endpoint:
    """Where an engine listens.

    ``kind`` is ``unix``, ``tcp`` or ``ssh`` (then with ``user``, and with the ``path`` of a socket there);
    ``host`` is the text people gave (for messages); ``own`` says that the engine is ours to start on demand;
    ``tls`` holds the paths ``ca``, ``cert``, ``key`` and ``verify`` ("1" or "").
    """

    __slots__ = ("address", "host", "kind", "own", "path", "port", "tls", "user")

    def __init__(self, host: str, own: bool = False, tls: Mapping[str, str] | None = None) -> None:
        self.host, self.own, self.tls = host, own, tls
        self.kind, _, rest = host.partition("://")
        self.port, self.user, self.path = 0, "", ""
        if self.kind == "tcp":
            self.address, self.port = _host_and_port(rest, 2376 if tls else 2375)
        elif self.kind == "unix" and rest:
            self.address = rest
        elif self.kind == "ssh":
            self._parse_ssh(rest)
        else:
            raise ClientError(f"unable to resolve docker endpoint: invalid bind address format: {host}")

    def _parse_ssh(self, rest: str) -> None:
        place, slash, path = rest.partition("/")
        self.path = slash + path if path else ""
        self.user, _, host = place.rpartition("@")
        if ":" in self.user:
            raise ClientError(_BAD_SSH + "plain-text password is not supported")
        self.address, self.port = _host_and_port(host, 0) if host else ("", 0)
        # They become arguments, and with a ProxyCommand words of a shell.
        if not _plain(self.address) or (self.user and not _plain(self.user)):
            raise ClientError(f"{_BAD_SSH}{self.host} is not ssh://[USER@]HOST[:PORT][/PATH]")


_BAD_SSH = "unable to resolve docker endpoint: invalid ssh URL: "


def _plain(word: str) -> bool:
    return word[:1] not in ("", "-") and all(
        letter.isascii() and (letter.isalnum() or letter in "._-:%") for letter in word
    )


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    text = text.split("/")[0]
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(default)
    if not port.isdigit():
        raise ClientError(f"unable to resolve docker endpoint: invalid port in address: {text}")
    return host.strip("[]") or "127.0.0.1", int(port)


def choose(hosts: list[str], context: str, flags: Mapping[str, str], env: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that flags and environment ask for, in docker's order of precedence.

    ``flags`` are the global TLS options by name. Raises ClientError.
    """
    if len(hosts) > 1:
        raise ClientError("specify only one -H")
    tls = _tls_options(flags, env)
    if hosts:
        return Endpoint(_normal(hosts[0]), tls=tls)
    if context and context != "default":
        return _from_context(context, env)
    if not context and env.get("DOCKER_HOST"):
        return Endpoint(_normal(env["DOCKER_HOST"]), tls=tls)
    named = "" if context else env.get("DOCKER_CONTEXT") or _current_context(env)
    if named and named != "default":
        return _from_context(named, env)
    return own_endpoint(env)


def own_endpoint(env: Mapping[str, str]) -> Endpoint:
    """Return the socket of the engine that starts on demand."""
    root = env.get("ONGGI_EXEC_ROOT") or DEFAULT_EXEC_ROOT
    return Endpoint(f"unix://{os.path.abspath(root)}/onggi.sock", own=True)


def _normal(host: str) -> str:
    host = host.strip()
    if host.startswith("/"):
        return "unix://" + host
    return host if "://" in host else "tcp://" + host


def _tls_options(flags: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str] | None:
    verify = flags.get("tlsverify") or env.get("DOCKER_TLS_VERIFY") or ""
    if not (verify or flags.get("tls") or env.get("DOCKER_TLS")):
        return None
    folder = env.get("DOCKER_CERT_PATH") or config_directory(env)
    files = {
        name: flags.get(f"tls{name}{'cert' if name == 'ca' else ''}") or f"{folder}/{name}.pem"
        for name in ("ca", "cert", "key")
    }
    named = [files[name] for name, flag in (("cert", "tlscert"), ("key", "tlskey")) if flags.get(flag)]
    for path in [files["ca"], *named] if verify else named:
        if not os.path.exists(path):
            raise ClientError(f"unable to resolve docker endpoint: open {path}: no such file or directory")
    return {**files, "verify": "1" if verify else ""}


def config_directory(env: Mapping[str, str]) -> str:
    """Return the directory of docker's client configuration."""
    return env.get("DOCKER_CONFIG") or os.path.join(env.get("HOME") or "/root", ".docker")


def read_config(env: Mapping[str, str]) -> dict[str, Any]:
    """Return docker's client configuration; {} where there is none, or none that this user may read."""
    path = os.path.join(config_directory(env), "config.json")
    try:
        return _read_json(path)
    except (FileNotFoundError, PermissionError):
        return {}
    except OSError as error:
        raise ClientError(f"open {path}: {reason(error)}") from None


def unreadable_config(env: Mapping[str, str]) -> str:
    """Return docker's warning about a configuration that this user may not read, else ""."""
    path = os.path.join(config_directory(env), "config.json")
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError as error:
        return f"WARNING: Error loading config file: open {path}: {reason(error)}"
    except OSError:
        pass  # none, or whoever reads it complains
    return ""


def _current_context(env: Mapping[str, str]) -> str:
    return str(read_config(env).get("currentContext") or "")


def _read_json(path: str) -> dict[str, Any]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b"".join(iter(lambda: os.read(fd, 1 << 16), b""))
    finally:
        os.close(fd)
    try:
        value = decode(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ClientError(f"invalid JSON in {path}")
    return value


def _from_context(name: str, env: Mapping[str, str]) -> Endpoint:
    from hashlib import sha256  # only here: hashlib loads OpenSSL

    digest = sha256(name.encode()).hexdigest()
    root = os.path.join(config_directory(env), "contexts")
    path = os.path.join(root, "meta", digest, "meta.json")
    try:
        meta = _read_json(path)
    except FileNotFoundError:
        missing = f'context "{name}": context not found: open {path}: no such file or directory'
        raise ClientError(f"unable to resolve docker endpoint: {missing}") from None
    docker = (meta.get("Endpoints") or {}).get("docker") or {}
    if not docker.get("Host"):
        return own_endpoint(env)
    return Endpoint(
        _normal(docker["Host"]), tls=_context_tls(os.path.join(root, "tls", digest, "docker"), docker)
    )


def _context_tls(folder: str, docker: Mapping[str, Any]) -> dict[str, str] | None:
    if not os.path.isdir(folder):
        return None
    files = {name: f"{folder}/{name}.pem" for name in ("ca", "cert", "key")}
    return {**files, "verify": "" if docker.get("SkipTLSVerify") else "1"}
