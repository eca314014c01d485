"""``onggi context export``."""

from __future__ import annotations

import os

from onggi.cli.command import Command, Failure, Options
from onggi.cli.context_values import contexts
from onggi.client.codec import encode
from onggi.client.contexts import DEFAULT, check_name
from onggi.client.streams import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.context import Cli
    from onggi.client.contexts import Contexts

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
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
        raise Failure(f"open {target}: {(error.strerror or '').lower()}") from None
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


COMMAND = Command(
    "context export [OPTIONS] CONTEXT [FILE|-]",
    "Write a context to a tar archive",
    run,
    arguments=(1, 2),
)
