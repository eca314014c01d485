"""The embedded registry's listener: what may be asked for, and who may reach it.

Loopback is served plainly. Beyond it whoever arrives could read every image and replace what was pushed, so
that TLS and passwords are needed, unless the operator says that the network is trusted.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from onggi.api.listen import TlsFiles, is_loopback, listen_stream, tls_context
from onggi.api.registry_site import Site
from onggi.errors import InvalidArgument
from onggi.images.registries import Registries
from onggi.registry.server import htpasswd
from onggi.registry.server.service import Registry

Json = Any
DEFAULT_ADDRESS = "127.0.0.1:5000"
_MAX_PEM = 1 << 20


class Options(msgspec.Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """What was asked for; files are absolute paths on the engine's machine."""

    address: str = DEFAULT_ADDRESS
    mirror: str = ""
    htpasswd: str = ""
    certificate: str = ""
    key: str = ""
    read_only: bool = False
    insecure: bool = False


def parse_options(body: Json) -> Options:
    """Check what is asked for before anything is opened. Raises InvalidArgument."""
    try:
        options = msgspec.convert(body, Options)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"invalid options of the registry: {error}") from None
    if bool(options.certificate) != bool(options.key):
        raise InvalidArgument("TLS needs a certificate and its key")
    host, _ = split_address(options.address)
    if not is_loopback(host) and not (options.certificate and options.htpasswd) and not options.insecure:
        raise InvalidArgument(
            f"refusing to serve images on {options.address} without TLS and passwords: give a certificate, "
            "its key and an htpasswd file, or say that the network is trusted (--insecure)"
        )
    return options


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``[::1]:PORT`` or ``:PORT``. Raises InvalidArgument."""
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise InvalidArgument(f"invalid address {address!r}: expected HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def serve(registries: Registries, options: Options, auth: str) -> AsyncGenerator[Json]:
    """Serve until closed: yields the address, then the access log. ``auth`` is a mirror's X-Registry-Auth.

    Raises InvalidArgument naming the file that is wrong, or the address that is taken.
    """
    host, port = split_address(options.address)
    users = await asyncio.to_thread(_users, options.htpasswd) if options.htpasswd else None
    tls = TlsFiles(options.certificate, options.key) if options.certificate else None
    context = await asyncio.to_thread(_context, tls) if tls else None
    async with AsyncExitStack() as stack:
        registry = await _opened(registries, options, auth, stack)
        site = Site(registry, users, local_only=is_loopback(host))
        stack.push_async_callback(site.close)
        listener = await listen_stream(site.hosting.connection, host, port, context)
        site.hosting.add(listener)
        yield {"Address": f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"}
        async for line in site.lines():
            yield {"Line": line}


async def _opened(registries: Registries, options: Options, auth: str, stack: AsyncExitStack) -> Registry:
    if options.mirror:
        mirror = await stack.enter_async_context(registries.mirror(options.mirror, auth))
        return Registry(mirror, None, read_only=f"this registry mirrors {options.mirror}; push there")
    storage = registries.storage
    return Registry(storage, None if options.read_only else storage)


def _users(path: str) -> htpasswd.Users:
    return htpasswd.Users(_read(path, htpasswd.MAX_BYTES).decode("utf-8", "replace"))


def _context(files: TlsFiles) -> ssl.SSLContext:
    for path in (files.certificate, files.key):
        _read(path, _MAX_PEM)  # what is no small file is refused before OpenSSL reads it
    return tls_context(files)


def _read(path: str, limit: int) -> bytes:
    """A small file. Raises InvalidArgument; a FIFO or device is not waited for."""
    if not os.path.isabs(path):
        raise InvalidArgument(f"{path!r} is not an absolute path")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InvalidArgument(f"{path} is no regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {os.strerror(error.errno or 0).lower()}") from None
    if len(data) > limit:
        raise InvalidArgument(f"{path} is larger than {limit} bytes")
    return data
