"""TLS contexts by registry: the system's authorities and what ``certs.d/HOST[:PORT]`` adds.

certs.d/HOST[:PORT]/NAME.crt    another authority
                    NAME.cert   this client's certificate ...
                    NAME.key    ... and its key
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

from onggi.errors import InvalidArgument, Unsupported


def context(host: str, directories: Sequence[str], *, verify: bool) -> ssl.SSLContext:
    """The context for ``host[:port]``. Raises InvalidArgument for a broken directory."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify:
        made.load_default_certs()
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    for directory in directories:
        _load(made, os.path.join(directory, host))
    return made


def _load(made: ssl.SSLContext, directory: str) -> None:
    names = _names(directory)
    pairs = _pairs(directory, names)
    try:
        for name in names:
            if name.endswith(".crt"):
                made.load_verify_locations(os.path.join(directory, name))
        for pair in pairs:
            made.load_cert_chain(*pair)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidArgument(f"unable to read the certificates of {directory}: {error}") from None


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InvalidArgument(
            f"unable to read {directory}: {os.strerror(error.errno or 0).lower()}"
        ) from None


def _pairs(directory: str, names: Sequence[str]) -> list[tuple[str, str]]:
    for name in names:
        if name.endswith(".key") and f"{name[:-4]}.cert" not in names:
            raise InvalidArgument(
                f"missing client certificate {name[:-4]}.cert for key {name} in {directory}: "
                "certificates of clients must use the extension .cert"
            )
    certs = [name for name in names if name.endswith(".cert")]
    for name in certs:
        if f"{name[:-5]}.key" not in names:
            raise InvalidArgument(
                f"missing key {name[:-5]}.key for client certificate {name} in {directory}: "
                "CA certificates must use the extension .crt"
            )
    if len(certs) > 1:
        raise Unsupported(f"{directory} holds several client certificates: only one is supported")
    return [(os.path.join(directory, name), os.path.join(directory, f"{name[:-5]}.key")) for name in certs]
