"""``onggi registry serve``."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Command, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json

_FILES = {"Htpasswd": "htpasswd", "Certificate": "tls-cert", "Key": "tls-key"}


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Serve a registry until interrupted: says where, then prints its access log."""
    wish = body(options)
    answer = cli.engine.request("POST", "/onggi/v1/registry/serve", body=wish, headers=_auth(cli, options))
    for message in cli.engine.messages(answer):
        line = message.get("Line")
        if line is None:
            scheme = "https" if wish["Certificate"] else "http"
            what = options.text("mirror") or "the images of this engine"
            line = f"Serving {what} on {scheme}://{message['Address']}"
        elif options.on("quiet"):
            continue
        cli.out(line)
        cli.flush()


def body(options: Options) -> Json:
    """Return what the engine is asked for; it reads the files, so that they are named by full path."""
    files = {key: options.text(flag) for key, flag in _FILES.items()}
    return {
        "Address": options.text("address"),
        "Mirror": options.text("mirror"),
        "ReadOnly": options.on("read-only"),
        "Insecure": options.on("insecure"),
        **{key: os.path.abspath(path) if path else "" for key, path in files.items()},
    }


def _auth(cli: Cli, options: Options) -> dict[str, str]:
    """Our credentials for the registry that is mirrored."""
    url = options.text("mirror")
    if not url:
        return {}
    from onggi.cli.registry_auth import header

    return header(cli, url.partition("://")[2].rstrip("/"))


COMMAND = Command(
    "registry serve [OPTIONS]",
    run,
    about="Serve the images of this engine, and what is pushed, as a registry",
    flags=(
        ("address", "a", "string", "127.0.0.1:5000", "Where to listen (HOST:PORT)"),
        ("htpasswd", "", "string", "", "Let in only the users of this file (as 'htpasswd -B' writes it)"),
        ("insecure", "", "bool", "", "Serve other machines without TLS or passwords: the network is trusted"),
        ("mirror", "", "string", "", "Be a cache of the registry at this URL; nothing can be pushed"),
        ("quiet", "q", "bool", "", "Do not print the access log"),
        ("read-only", "", "bool", "", "Refuse pushes"),
        ("tls-cert", "", "string", "", "Serve TLS with this certificate (PEM)"),
        ("tls-key", "", "string", "", "The certificate's key (PEM)"),
    ),
)
