"""Who we are at a registry: credentials for the header of requests, and the questions that ask for them."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Failure
from onggi.cli.prompt import ask, ask_password, note
from onggi.client.config import ConfigFile
from onggi.client.credentials import HUB_KEY, Credentials, Store, auth_header, key_of
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

HEADER = "X-Registry-Auth"
_UNAUTHORIZED = 401
_HUB_HINT = (
    "Log in with your Docker ID or email address to push and pull images from Docker Hub. "
    "If you don't have a Docker ID, head over to https://hub.docker.com/ to create one."
)
_TOKEN_HINT = (
    "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants "
    "better security and is required for organizations using SSO. "
    "Learn more at https://docs.docker.com/go/access-tokens/\n"
)
_TOKEN_NOTE = (
    "A Personal Access Token (PAT) can be used instead.\n"
    "To create a PAT, visit \033[4mhttps://app.docker.com/settings\033[0m\n\n"
)


def stored(cli: Cli, domain: str) -> Credentials:
    """Return the stored credentials of a registry, empty if there are none. Raises ClientError."""
    return Store(ConfigFile(cli.env), key_of(domain), cli.env).get()


def header(cli: Cli, domain: str) -> dict[str, str]:
    """Return the header that tells the engine who we are at a registry. Raises ClientError."""
    return {HEADER: auth_header(stored(cli, domain))}


def privileged(cli: Cli, domain: str, verb: str, act: Callable[[dict[str, str]], Result]) -> Result:
    """Return ``act(header)``; where the registry wants to know better and somebody is at the terminal, ask.

    A helper that fails is told, and the registry is asked without credentials, as docker does.
    """
    try:
        known = stored(cli, domain)
    except ClientError as error:
        cli.err(f"WARNING: {error}")
        known = Credentials()
    try:
        return act({HEADER: auth_header(known)})
    except EngineError as error:
        if error.status != _UNAUTHORIZED or not os.isatty(0):
            raise
    cli.out(f"\nLogin prior to {verb}:")
    return act({HEADER: auth_header(ask_credentials(cli, "", "", known.username, key_of(domain)))})


def ask_credentials(cli: Cli, username: str, password: str, default: str, server: str) -> Credentials:
    """Return credentials for ``server``; what is not given is asked for. Raises Failure."""
    username = username.strip() or _ask_username(cli, default.strip(), server)
    password = password.strip()
    if not password:
        if server == HUB_KEY:
            import sys

            note(sys.stderr, _TOKEN_NOTE)
        password = ask_password()
        if not password:
            raise Failure("Error: Password Required")
    return Credentials(server, username, password)


def _ask_username(cli: Cli, default: str, server: str) -> str:
    if server == HUB_KEY:
        cli.out(_HUB_HINT)
        if cli.env.get("DOCKER_CLI_HINTS", "").lower() not in ("0", "f", "false"):
            cli.out(_TOKEN_HINT)
    username = ask(f"Username ({default}): " if default else "Username: ") or default
    if not username:
        raise Failure("Error: Non-null Username Required")
    return username
