"""``onggi cp``."""

from __future__ import annotations

import os

from onggi.cli import cp_paths
from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.cp_paths import End, Stat
from onggi.cli.cp_progress import Counter
from onggi.client.codec import decode
from onggi.client.engine import quote
from onggi.client.errors import ClientError, EngineError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.client.http import Response

USE = "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tonggi cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Copy files between a container and this machine."""
    for name, text in zip(("source", "destination"), arguments, strict=True):
        if not text:
            raise Failure(f"{name} can not be empty")
    source, target = (cp_paths.split_argument(text) for text in arguments)
    if source[0] and target[0]:
        raise Failure("copying between containers is not supported")
    if not source[0] and not target[0]:
        raise Failure("must specify at least one container source")
    quiet = options.on("quiet") if "quiet" in options.given else not os.isatty(1)
    copy = _Copy(cli, source[0] or target[0], options, quiet)
    try:
        copy.out(source[1], target[1]) if source[0] else copy.into(source[1], target[1])
    except ValueError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(_words(error)) from None


def _words(error: OSError) -> str:
    """Return what docker says of a system call that failed: call, path, reason."""
    named = error.filename and not isinstance(error, NotADirectoryError)
    return f"lstat {error.filename}: {reason(error)}" if named else reason(error)


class _Copy:
    """One copy from or to ``container``."""

    def __init__(self, cli: Cli, container: str, options: Options, quiet: bool) -> None:
        self._cli, self._container, self._quiet = cli, container.strip(), quiet
        self._follow, self._archive = options.on("follow-link"), options.on("archive")
        self._route = f"/containers/{quote(self._container)}/archive"
        if not self._container:
            raise Failure("invalid container name or ID: value is empty")

    # -- out -----------------------------------------------------------------------------------------------

    def out(self, path: str, destination: str) -> None:
        """Copy ``path`` of the container here, or write it to standard output as it comes."""
        if destination != "-":
            destination = cp_paths.local_path(destination)
        cp_paths.check_target(destination)
        rename = ""
        if self._follow:
            path, rename = self._followed(path)
        response = self._cli.engine.request("GET", self._route, {"path": path})
        found = _stat_of(response)
        if destination == "-":
            from onggi.client.streams import write_all

            for piece in response.chunks():
                write_all(1, piece)
            return
        source = End(path, True, found.is_dir, rename)
        counter = Counter("Copying from container - ", self._quiet)
        with counter:
            self._unpack(response, source, destination, counter)
        counter.done(destination)

    def _unpack(self, response: Response, source: End, destination: str, counter: Counter) -> None:
        from onggi.cli.receive import receive
        from onggi.errors import OnggiError

        plan = cp_paths.plan(source, cp_paths.local_target(destination))
        try:
            without_rights = receive(counter.count(response.chunks()), plan)
        except OnggiError as error:
            raise ClientError(str(error)) from None
        except OSError as error:
            raise ClientError(f"cannot write {error.filename or plan.directory}: {reason(error)}") from None
        if without_rights:
            what = "set-user-ID and set-group-ID bits and capabilities are not brought out of containers"
            self._cli.err(f"WARNING: {what}: {without_rights} files lost theirs")

    def _followed(self, path: str) -> tuple[str, str]:
        """Return where a link in the container leads, and the name that its archive should have."""
        found = self._stat(path)
        if found is None or not found.is_link:
            return path, ""
        return cp_paths.rebased(path, cp_paths.through_link(path, found.link))

    # -- into ----------------------------------------------------------------------------------------------

    def into(self, path: str, destination: str) -> None:
        """Copy a local path, or the archive on standard input, into the container."""
        if path != "-":
            path = cp_paths.local_path(path)
        target = self._target(destination)
        if path == "-":
            if not target.is_dir:
                raise Failure(f'destination "{self._container}:{destination}" must be a directory')
            from onggi.cli.input import pieces

            folder, content = target.path, pieces("-")
        else:
            folder, content = self._packed(path, target)
        self._send(folder, content, path == "-", target)

    def _send(self, folder: str, content: Iterator[bytes], as_it_is: bool, target: End) -> None:
        counter = Counter("Copying to container - ", self._quiet)
        query = {
            "noOverwriteDirNonDir": "true",
            "path": folder,
            "copyUIDGID": "true" if self._archive else None,
        }
        with counter:
            body = content if as_it_is else counter.count(content)
            self._cli.engine.request("PUT", self._route, query, body).read()
        counter.done(f"{self._container}:{target.path}")

    def _target(self, path: str) -> End:
        """Return the end in the container, a link followed once. What cannot be seen may still be made."""
        target, found = End(path), self._stat(path)
        if found is not None and found.is_link:
            target.path = cp_paths.through_link(path, found.link)
            found = self._stat(target.path)
        if found is not None:
            if found.oddity:
                where = f'destination "{self._container}:{path}" must be a directory or a regular file'
                raise Failure(f"{where}: {found.oddity}")
            target.exists, target.is_dir = True, found.is_dir
        return target

    def _packed(self, path: str, target: End) -> tuple[str, Iterator[bytes]]:
        from onggi.cli.pack import packed

        source = cp_paths.local_source(path, self._follow)
        plan = cp_paths.plan(source, target)
        return plan.directory, packed(source, plan)

    def _stat(self, path: str) -> Stat | None:
        """Return what is in the container at a path, None where the engine cannot say."""
        try:
            response = self._cli.engine.request("HEAD", self._route, {"path": path})
        except EngineError:
            return None
        response.close()
        return _stat_of(response)


def _stat_of(response: Response) -> Stat:
    from binascii import a2b_base64

    try:
        found = decode(a2b_base64(response.headers.get("x-docker-container-path-stat", "")))
        return Stat(int(found.get("mode") or 0), str(found.get("linkTarget") or ""))
    except (ValueError, AttributeError):
        response.close()
        words = "unable to get resource stat from response: unable to decode container path stat header"
        raise ClientError(words) from None


COMMAND = Command(
    USE,
    run,
    about="Copy files between a container and this machine ('-' is a tar archive)",
    flags=(
        ("archive", "a", "bool", "", "Give what is copied into a container to its user"),
        ("follow-link", "L", "bool", "", "Copy what a symbolic link leads to"),
        ("quiet", "q", "bool", "", "Do not show the progress; the default where no terminal is"),
    ),
    arguments=(2, 2),
)
