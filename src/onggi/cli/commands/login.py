"""``onggi login``."""

from __future__ import annotations

import os
import sys

from onggi.cli.command import PROGRAM, Cli, Command, Failure, Options
from onggi.cli.prompt import note
from onggi.cli.registry_auth import ask_credentials
from onggi.client.config import ConfigFile
from onggi.client.credentials import HUB_KEY, Credentials, Store, hostname
from onggi.client.errors import ClientError, EngineError

_INSECURE = "WARNING! Using --password via the CLI is insecure. Use --password-stdin."
_UNENCRYPTED = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""
_UNAUTHORIZED = 401


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Check credentials with a registry and keep them."""
    _check_flags(options)
    username, password = options.text("username"), _password(cli, options)
    typed = arguments[0] if arguments else ""
    server = HUB_KEY if typed in ("", "docker.io", HUB_KEY) else hostname(typed)
    login = _Login(cli, server)
    known = Credentials(server) if username or password else login.known()
    status = login.again(known) if known.username and known.password else None
    if status is None:
        if not (username and password) and not os.isatty(0):
            raise Failure("Error: Cannot perform an interactive login from a non TTY device")
        asked = ask_credentials(cli, username, password, known.username, server)
        status = login.check(asked)
    if status:
        cli.out(status)


def _check_flags(options: Options) -> None:
    given = options.given
    if "password-stdin" in given and "password" in given:
        raise Failure("conflicting options: cannot specify both --password and --password-stdin")
    if "password-stdin" in given and "username" not in given:
        raise Failure("the --password-stdin option requires --username to be set")
    for name in ("username", "password"):
        if name in given and not options.text(name):
            raise Failure(f"{name} is empty")


def _password(cli: Cli, options: Options) -> str:
    if options.text("password"):
        cli.err(_INSECURE)
    if not options.on("password-stdin"):
        return options.text("password")
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")


class _Login:
    """The exchange with one registry, and the store for what comes of it."""

    def __init__(self, cli: Cli, server: str) -> None:
        self._cli, self._server = cli, server
        self._config = ConfigFile(cli.env)
        self._store = Store(self._config, server, cli.env)

    def known(self) -> Credentials:
        """Return what is stored; nothing where the helper fails."""
        try:
            known = self._store.get()
        except ClientError:
            return Credentials(self._server)  # asked for anew, and the helper is met again when it stores
        known.server, known.identity_token = self._server, ""
        return known

    def again(self, known: Credentials) -> str | None:
        """Return the registry's word on the stored credentials, None if it does not take them."""
        self._cli.err(f"Authenticating with existing credentials... [Username: {known.username}]")
        other = f"To login with a different account, run '{PROGRAM} logout' followed by '{PROGRAM} login'"
        note(sys.stderr, other)
        self._cli.err("\n")
        try:
            return self.check(known)
        except EngineError as error:
            invalid = error.status == _UNAUTHORIZED
            words = f"Login did not succeed, error: {error}"
            self._cli.err("Stored credentials invalid or expired" if invalid else words)
            return None

    def check(self, credentials: Credentials) -> str:
        """Have the engine try the credentials, keep them, and return its word. Raises ClientError."""
        answer = self._cli.engine.post("/auth", body=credentials.as_json())
        if answer.get("IdentityToken"):
            credentials.password, credentials.identity_token = "", str(answer["IdentityToken"])
        try:
            plain = self._store.store(credentials)
        except ClientError as error:
            raise ClientError(f"Error saving credentials: {error}") from None
        if plain:
            self._cli.err(_UNENCRYPTED.format(self._config.path))
        return str(answer.get("Status") or "")


COMMAND = Command(
    "login [OPTIONS] [SERVER]",
    run,
    about="Check a name and password with a registry and keep them (Docker Hub if no server is named)",
    flags=(
        ("password", "p", "string", "", "Password or Personal Access Token (PAT)"),
        ("password-stdin", "", "bool", "", "Read the password from standard input"),
        ("username", "u", "string", "", "User name"),
    ),
    arguments=(0, 1),
)
