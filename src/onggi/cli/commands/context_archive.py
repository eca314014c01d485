"""``onggi context export`` and ``import``: a context with its certificates as an archive."""

from __future__ import annotations

import os

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.context_values import contexts, refuse_existing, told
from onggi.cli.input import pieces
from onggi.client.codec import decode, encode
from onggi.client.contexts import DEFAULT, check_name
from onggi.client.errors import reason
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.contexts import Contexts


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def export(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Write a context with its certificates to a tar archive."""
    name = arguments[0]
    target = arguments[1] if len(arguments) > 1 else f"{name}.dockercontext"
    if name != DEFAULT:
        check_name(name)
    data = _archive(contexts(cli), name)
    if target == "-":
        if os.isatty(1):
            raise Failure("cowardly refusing to export to a terminal, specify a file path")
        write_all(1, data)
        return 0
    try:
        fd = os.open(target, _NEW, 0o600)
    except OSError as error:
        raise Failure(f"open {target}: {reason(error)}") from None
    write_all(fd, data)
    os.close(fd)
    cli.err(f'Written file "{target}"')
    return 0


def _archive(store: Contexts, name: str) -> bytes:
    """Return the archive: ``meta.json`` and ``tls/ENDPOINT/FILE``."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:

        def add(path: str, data: bytes, mode: int) -> None:
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))

        def directory(path: str) -> None:
            member = tarfile.TarInfo(path)
            member.type, member.mode = tarfile.DIRTYPE, 0o700
            archive.addfile(member)

        add("meta.json", encode(store.get(name)), 0o644)
        directory("tls")
        for endpoint, files in store.tls(name).items():
            directory(f"tls/{endpoint}")
            for file, data in files.items():
                add(f"tls/{endpoint}/{file}", data, 0o600)
    return buffer.getvalue()


EXPORT = Command("context export [OPTIONS] CONTEXT [FILE|-]", export, arguments=(1, 2))


_LIMIT = 10 << 20  # as docker
_META, _TLS = "meta.json", "tls/"


def import_(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Keep the context that a tar or zip archive holds."""
    store, (name, source) = contexts(cli), arguments
    refuse_existing(store, name)
    data = b""
    for piece in pieces(source):
        data += piece
        if len(data) > _LIMIT:
            raise Failure("read exceeds the defined limit")
    meta, files = None, dict[str, dict[str, bytes]]()
    for path, content in _zipped(data) if data.startswith(b"PK\x03\x04") else _tarred(data):
        _check(path)
        if path == _META:
            meta = content
            continue
        endpoint, slash, file = path.removeprefix(_TLS).partition("/")
        if not slash or "/" in file:
            raise Failure("archive format is invalid")
        files.setdefault(endpoint, {})[file] = content
    if meta is None:
        raise Failure("invalid context: no metadata found")
    try:
        store.put({**decode(meta), "Name": name})
    except (ValueError, TypeError):
        raise Failure(f"invalid context: {_META} is no JSON object") from None
    for endpoint, found in files.items():
        store.set_tls(name, endpoint, found)
    return told(cli, name, "imported")


def _check(path: str) -> None:
    """Refuse names that docker refuses: nothing of an archive may lie elsewhere."""
    if path != _META and not path.startswith(_TLS):
        raise Failure(f"{path}: unexpected context file")
    if "\\" in path:
        raise Failure(f"{path}: unexpected '\\' in path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise Failure(f"{path}: unexpected path format")


def _tarred(data: bytes) -> Iterator[tuple[str, bytes]]:
    import io
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content.read()
    except tarfile.TarError as error:
        raise Failure(f"invalid context: {error}") from None


def _zipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    import io
    import zipfile

    room = _LIMIT
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                with archive.open(member) as file:
                    content = file.read(room + 1)
                room -= len(content)
                if room < 0:
                    raise Failure("read exceeds the defined limit")
                yield member.filename, content
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise Failure(f"invalid context: {error}") from None


IMPORT = Command("context import CONTEXT FILE|-", import_, arguments=(2, 2))
