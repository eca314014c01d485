"""What ``run`` and ``create`` share: the request, the pull of an absent image, the container ID file."""

from __future__ import annotations

import os

from onggi.cli.command import ArgumentError, Cli, Failure, Options, console_size, with_help
from onggi.cli.image_name import parse_any
from onggi.cli.platform import format_platform, parse_platform, typed_or_default
from onggi.cli.runbody import build_body
from onggi.client.errors import ClientError, EngineError, reason
from onggi.errors import InvalidArgument
from onggi.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from onggi.client.codec import Json
    from onggi.oci.reference import Reference

_WINDOWS_ONLY = {"cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"}
_NOT_FOUND = (
    "executable file not found",
    "no such file or directory",
    "system cannot find the file specified",
)
_NOT_EXECUTABLE = ("permission denied", "is a directory")


class Plan:
    """What was asked for: the create body and what concerns the client only. Raises ArgumentError without an
    image, Failure.
    """

    def __init__(self, options: Options, arguments: list[str], verb: str) -> None:
        self.options, self.verb = options, verb
        _refuse(options)
        rooted = bool(options.text("rootfs"))
        if not arguments and not rooted:
            raise ArgumentError(1, None)
        self.image = "" if rooted else arguments[0]
        self.name, self.platform = options.text("name"), ""
        self.pulled_platform = ""  # as typed: the engine that pulls reads it by itself
        self.reference: Reference | None = None
        self.body = self._build(arguments if rooted else arguments[1:])

    @property
    def attached(self) -> bool:
        """Whether any stream of the container is attached."""
        return any(self.body[key] for key in ("AttachStdin", "AttachStdout", "AttachStderr"))

    def _build(self, command: list[str]) -> dict[str, Json]:
        pull = self.options.text("pull")
        try:
            if pull not in ("always", "missing", "never", ""):
                choice = 'must be one of "always", "missing" or "never"'
                raise ValueError(f"invalid pull option: '{pull}': {choice}")
            _resolve_rootfs(self.options)
            body = build_body(self.options, self.image, command)
        except ValueError as error:
            raise Failure(with_help(str(error), self.verb), 125) from None
        body["HostConfig"]["ConsoleSize"] = list(console_size())
        return body


def prepare(cli: Cli, plan: Plan) -> None:
    """Complete the plan by what environment and configuration say. Raises ClientError, Failure."""
    if "disable-content-trust" in plan.options.given or cli.env.get("DOCKER_CONTENT_TRUST"):
        from onggi.cli.pulling import refuse_trust

        refuse_trust(cli, plan.options)
    try:
        plan.reference = parse_any(plan.image) if plan.image else None
    except InvalidArgument as error:
        raise ClientError(str(error)) from None
    plan.pulled_platform = typed_or_default(plan.options, cli.env)
    try:
        platform = plan.pulled_platform
        plan.platform = format_platform(parse_platform(platform)) if platform else ""
    except InvalidArgument as error:
        raise ClientError(f"error parsing specified platform: {error}") from None
    _add_proxies(cli, plan)


def _add_proxies(cli: Cli, plan: Plan) -> None:
    config = cli.config()
    if config.get("proxies"):
        from onggi.cli.proxies import proxy_variables

        given = plan.body["Env"] or []
        plan.body["Env"] = [*given, *proxy_variables(config, cli.engine.endpoint.host, given)] or None


def _refuse(options: Options) -> None:
    """Refuse by name what no engine on Linux can do, and what this one does not."""
    windows = sorted(options.given & _WINDOWS_ONLY)
    other = "only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
    if windows:
        raise Failure("\n".join(f'"--{name}" is {other}' for name in windows))
    refused = {
        "--use-api-socket": options.on("use-api-socket"),
        "--kernel-memory": options.number("kernel-memory"),
    }
    for flag, given in refused.items():
        if given:
            raise Failure(with_help(f"{flag} is not supported by this build", "run"), 125)


def _resolve_rootfs(options: Options) -> None:
    if options.text("rootfs"):
        options.set("rootfs", os.path.abspath(options.text("rootfs")))
    if options.many("host-show"):
        options.set("host-show", [os.path.abspath(path) for path in options.many("host-show")])


def with_image(cli: Cli, plan: Plan, act: Callable[[], Json]) -> Json:
    """Return ``act()``; pull the image first or after its absence, as ``--pull`` says. Raises ClientError."""
    pull, reference = plan.options.text("pull"), plan.reference
    if pull == "always" and plan.image:
        _pull(cli, plan)
    try:
        return act()
    except EngineError as error:
        absent = error.status == 404 and not error.route_missing and "No such image" in error.message
        if not absent or reference is None or pull != "missing":
            raise
    if not plan.options.on("quiet"):
        cli.err(f"Unable to find image '{reference.with_default_tag().familiar}' locally")
    _pull(cli, plan)
    return act()


def _pull(cli: Cli, plan: Plan) -> None:
    from onggi.cli.progress import show
    from onggi.cli.pulling import pull
    from onggi.cli.registry_auth import header

    try:
        reference = parse(plan.image)
    except InvalidArgument as error:  # an ID, which no registry knows
        raise ClientError(str(error)) from None
    response = pull(cli, reference, plan.pulled_platform, header(cli, reference.domain))
    show(cli.engine.messages(response), fd=-1 if plan.options.on("quiet") else 2)


def status_of(sentence: str) -> int:
    """Return the exit code of an error before the container's process ran: 127, 126 or 125."""
    if any(words in sentence for words in _NOT_FOUND):
        return 127
    return 126 if any(words in sentence for words in _NOT_EXECUTABLE) else 125


class IdFile:
    """``--cidfile``: made before the container, so that nobody shares it; removed if there is none."""

    def __init__(self, path: str) -> None:
        self._path, self._written = path, False
        if not path:
            return
        if os.path.exists(path):
            other = "make sure the other container isn't running or delete"
            raise ClientError(f"container ID file found, {other} {path}")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except OSError as error:
            words = f"open {path}: {reason(error)}"
            raise ClientError(f"failed to create the container ID file: {words}") from None

    def write(self, container_id: str) -> None:
        """Write the ID."""
        if self._path:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(container_id)
            self._written = True

    def close(self) -> None:
        """Remove the file if no container was made."""
        if self._path and not self._written:
            os.unlink(self._path)


def create(cli: Cli, plan: Plan) -> str:
    """Create the container by the docker API; prints warnings; returns its ID. Raises ClientError."""
    id_file = IdFile(plan.options.text("cidfile"))
    try:
        query = {"name": plan.name or None, "platform": plan.platform or None}
        answer = with_image(cli, plan, lambda: cli.engine.post("/containers/create", query, plan.body))
        warn(cli, answer.get("Warnings"))
        container_id = str(answer["Id"])
        id_file.write(container_id)
        return container_id
    finally:
        id_file.close()


def warn(cli: Cli, warnings: list[str] | None) -> None:
    """Print the engine's warnings."""
    for warning in warnings or []:
        cli.err(f"WARNING: {warning}")
