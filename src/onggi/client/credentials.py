"""Credentials of registries: in ``config.json``, or kept by a ``docker-credential-NAME`` program.

The helpers speak docker's protocol: a verb as argument, a server or a JSON object on standard input, a JSON
object or words on standard output.
"""

from __future__ import annotations

import os

from onggi.client.codec import decode, encode
from onggi.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from onggi.client.codec import Json
    from onggi.client.config import ConfigFile

HUB_KEY = "https://index.docker.io/v1/"
_PREFIX, _TOKEN_USER = "docker-credential-", "<token>"
_NOT_FOUND = "credentials not found in native keychain"
_DOING = {"get": "getting", "store": "storing", "erase": "erasing"}
_PLAIN = ("email", "registrytoken")  # what stays in the file beside a helper


class Credentials:
    """What identifies somebody at a registry; empty where nothing is known."""

    __slots__ = ("email", "identity_token", "password", "registry_token", "server", "username")

    def __init__(self, server: str = "", username: str = "", password: str = "") -> None:
        self.server, self.username, self.password = server, username, password
        self.identity_token = self.registry_token = self.email = ""

    def as_json(self) -> dict[str, str]:
        """Return them as the API takes them (docker's ``AuthConfig``); empty values are left out."""
        pairs = {
            "username": self.username,
            "password": self.password,
            "email": self.email,
            "serveraddress": self.server,
            "identitytoken": self.identity_token,
            "registrytoken": self.registry_token,
        }
        return {key: value for key, value in pairs.items() if value}


def auth_header(credentials: Credentials) -> str:
    """Return the value of ``X-Registry-Auth``."""
    return header_of(credentials.as_json())


def header_of(value: Json) -> str:
    """Return a value as headers carry it: JSON in base64 for URLs."""
    from binascii import b2a_base64

    text = b2a_base64(encode(value), newline=False)
    return text.translate(bytes.maketrans(b"+/", b"-_")).decode()


def hostname(server: str) -> str:
    """Return ``host[:port]`` of a server given as URL or as a host with a path."""
    _, scheme, rest = server.partition("://")
    return (rest if scheme else server).partition("/")[0]


def key_of(domain: str) -> str:
    """Return under which name the credentials of a registry are kept."""
    return HUB_KEY if domain in ("docker.io", "index.docker.io") else domain


class Store:
    """Where the credentials of ``server`` are: the helper configured for it, or the file."""

    def __init__(self, config: ConfigFile, server: str, env: Mapping[str, str]) -> None:
        self._config, self._server = config, server
        helpers = config.values.get("credHelpers") or {}
        name = helpers.get(server) or str(config.values.get("credsStore") or "")
        self._helper = _Helper(name, env) if name else None

    def get(self) -> Credentials:
        """Return the credentials, empty if there are none. Raises ClientError."""
        found = self._from_file()
        if self._helper is not None:
            found.username = found.password = found.identity_token = found.server = ""
            answer = self._helper.get(self._server)
            if answer is not None:
                found.server = self._server
                _fill(found, answer)
        return found

    def store(self, credentials: Credentials) -> bool:
        """Keep the credentials; returns whether a password was newly written to the file in plain text."""
        entry = {key: credentials.as_json()[key] for key in _PLAIN if key in credentials.as_json()}
        if self._helper is not None:
            self._helper.store(credentials)
        else:
            entry |= _file_entry(credentials)
        if self._config.auths.get(credentials.server) == entry:
            return False
        self._config.auths[credentials.server] = entry
        self._config.save()
        return self._helper is None and bool(credentials.password)

    def erase(self) -> None:
        """Forget the credentials. Raises ClientError."""
        if self._helper is not None:
            self._helper.erase(self._server)
        if self._config.auths.pop(self._server, None) is not None:
            self._config.save()

    def _from_file(self) -> Credentials:
        auths, key = self._config.auths, self._server
        if key not in auths:  # older clients kept URLs
            key = next((name for name in auths if hostname(name) == self._server), "")
        entry = auths.get(key) or {}
        found = Credentials(key)
        found.username, found.password = _decode_auth(entry, key)
        found.email = str(entry.get("email") or "")
        found.identity_token = str(entry.get("identitytoken") or "")
        found.registry_token = str(entry.get("registrytoken") or "")
        return found


def _file_entry(credentials: Credentials) -> dict[str, str]:
    from binascii import b2a_base64

    entry: dict[str, str] = {}
    if credentials.username or credentials.password:
        pair = f"{credentials.username}:{credentials.password}".encode("utf-8", "surrogateescape")
        entry["auth"] = b2a_base64(pair, newline=False).decode()
    if credentials.identity_token:
        entry["identitytoken"] = credentials.identity_token
    return entry


def _decode_auth(entry: Mapping[str, Json], key: str) -> tuple[str, str]:
    if not entry.get("auth"):
        return str(entry.get("username") or ""), str(entry.get("password") or "")
    from binascii import Error, a2b_base64

    try:
        text = a2b_base64(str(entry["auth"])).decode("utf-8", "surrogateescape")
    except (Error, ValueError):
        raise ClientError(f"the configuration's credentials for {key} are not base64") from None
    username, colon, password = text.partition(":")
    if not colon or not username:
        raise ClientError("Invalid auth configuration file")
    return username, password.strip("\0")


def _fill(found: Credentials, answer: Json) -> None:
    username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    if username == _TOKEN_USER:
        found.identity_token = secret
    else:
        found.username, found.password = username, secret


class _Helper:
    """One ``docker-credential-NAME`` program, found by PATH."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self._name, self._env = _PREFIX + name, env

    def get(self, server: str) -> Json:
        """Return the helper's object for a server, None if it has none. Raises ClientError."""
        status, out = self._run("get", server.encode())
        if status and out == _NOT_FOUND:
            return None
        self._check("get", status, out)
        try:
            answer = decode(out)
        except ValueError:
            raise ClientError(f"error getting credentials - {self._name} answered no JSON") from None
        return answer if isinstance(answer, dict) else {}

    def store(self, credentials: Credentials) -> None:
        """Hand the credentials over. Raises ClientError."""
        token = credentials.identity_token
        answer = {
            "ServerURL": credentials.server,
            "Username": _TOKEN_USER if token else credentials.username,
            "Secret": token or credentials.password,
        }
        self._check("store", *self._run("store", encode(answer) + b"\n"))

    def erase(self, server: str) -> None:
        """Have the helper forget a server. Raises ClientError."""
        self._check("erase", *self._run("erase", server.encode()))

    def _check(self, verb: str, status: int, out: str) -> None:
        if status:
            known = out in ("no credentials server URL", "no credentials username")
            raise self._error(verb, out if known else f"exit status {status}", out)

    def _error(self, verb: str, reason: str, out: str) -> ClientError:
        return ClientError(f"error {_DOING[verb]} credentials - err: {reason}, out: `{out}`")

    def _run(self, verb: str, data: bytes) -> tuple[int, str]:
        """Run the program; returns its status and what it said. Its complaints go to our standard error."""
        answer, answer_end = os.pipe2(os.O_CLOEXEC)
        # Not a pipe: writing to a helper that does not read would end us (SIGPIPE) or wait for ever.
        source = os.memfd_create("credentials", os.MFD_CLOEXEC)
        os.write(source, data)
        os.lseek(source, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, answer_end, 1)]
        try:
            pid = os.posix_spawnp(self._name, [self._name, verb], dict(self._env), file_actions=actions)
        except OSError as error:
            os.close(answer)
            absent = f'exec: "{self._name}": executable file not found in $PATH'
            gone = isinstance(error, FileNotFoundError)
            raise self._error(verb, absent if gone else str(error.strerror), "") from None
        finally:
            os.close(source)
            os.close(answer_end)
        return _outcome(pid, answer)


def _outcome(pid: int, answer: int) -> tuple[int, str]:
    out = b"".join(iter(lambda: os.read(answer, 65536), b""))
    os.close(answer)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), out.decode("utf-8", "replace").strip()
