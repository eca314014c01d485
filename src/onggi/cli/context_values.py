"""What the commands about contexts share: the store, the current name, and ``--docker``."""

from __future__ import annotations

from onggi.cli.command import Cli, Failure, Flag, Options
from onggi.client.contexts import DEFAULT, DOCKER, Contexts
from onggi.client.endpoint import Endpoint, own_endpoint
from onggi.client.errors import ClientError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from onggi.client.codec import Json

DEFAULT_ABOUT = "Current DOCKER_HOST based configuration"
_TLS = ("ca", "cert", "key")
_OPTIONS = "invalid docker endpoint options"
_KEYS = ("from", "host", *_TLS, "skip-tls-verify")
DOCKER_FLAG: Flag = (
    "docker",
    "",
    "stringToString:pairs",
    "[]",
    "Where the engine is: host=ADDRESS, ca=, cert=, key=FILE, skip-tls-verify=BOOL, or from=CONTEXT",
)
DESCRIPTION: Flag = ("description", "", "string", "", "Note for people")


def contexts(cli: Cli) -> Contexts:
    """Return the contexts of the configuration."""
    typed = [*cli.options.many("host"), cli.env.get("DOCKER_HOST") or own_endpoint(cli.env).host]
    return Contexts(cli.env, typed[0])


def current(cli: Cli) -> str:
    """Return the name of the context that commands use."""
    if cli.options.text("context"):
        return cli.options.text("context")
    if cli.options.many("host") or cli.env.get("DOCKER_HOST"):
        return DEFAULT
    return cli.env.get("DOCKER_CONTEXT") or str(cli.config().get("currentContext") or "") or DEFAULT


def typed_endpoint(store: Contexts, options: Options) -> tuple[Json, dict[str, bytes]]:
    """Return what ``--docker`` says: endpoint and certificates. Raises ClientError."""
    given = {key: value for pairs in options.many("docker") for key, value in pairs}
    try:
        for key in given:
            if key not in _KEYS:
                raise ClientError(f"unrecognized config key: {key}")
        if "from" in given:
            return store.get(given["from"])["Endpoints"][DOCKER], {}
        return _endpoint(given), _files(given)
    except ClientError as error:
        raise ClientError(f"unable to create docker endpoint config: {error}") from None


def _endpoint(given: Mapping[str, str]) -> Json:
    from onggi.cli.values import parse_bool

    skip, host = given.get("skip-tls-verify", "false"), given.get("host", "")
    try:
        skipped = parse_bool(skip)
    except ValueError:
        raise ClientError(f'skip-tls-verify: parsing "{skip}": invalid syntax') from None
    if host:
        try:
            Endpoint(host)
        except ClientError:
            words = f"unable to parse docker host `{host}`"
            raise ClientError(f"unable to apply docker endpoint options: {words}") from None
    return {**({"Host": host} if host else {}), "SkipTLSVerify": skipped}


def _files(given: Mapping[str, str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key in _TLS:
        if not given.get(key):
            continue
        try:
            with open(given[key], "rb") as file:
                found[f"{key}.pem"] = file.read()
        except OSError as error:
            raise ClientError(f"open {given[key]}: {reason(error)}") from None
    if b"-----BEGIN CERTIFICATE-----" not in found.get("ca.pem", b"-----BEGIN CERTIFICATE-----"):
        raise ClientError(f"{_OPTIONS}: failed to retrieve context tls info: ca.pem seems invalid")
    return found


def overridden(cli: Cli, name: str = "") -> None:
    """Warn that DOCKER_HOST wins over contexts."""
    if cli.env.get("DOCKER_HOST"):
        shown = f'"{name}"' if name else "a context"
        remedy = "either set the global --context flag, or unset DOCKER_HOST environment variable."
        what = "DOCKER_HOST environment variable overrides the active context"
        cli.err(f"Warning: {what}. To use {shown}, {remedy}")


def told(cli: Cli, name: str, done: str) -> int:
    """Print a name, and to standard error what was done to it."""
    cli.out(name)
    cli.err(f'Successfully {done} context "{name}"')
    return 0


def refuse_existing(store: Contexts, name: str) -> None:
    """Raise ClientError for a name that cannot be, or is, a context's."""
    from onggi.client.contexts import check_name

    check_name(name)
    if store.exists(name):
        raise Failure(f'context "{name}" already exists')
