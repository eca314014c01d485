"""``onggi exec``."""

from __future__ import annotations

from onggi.cli.attached import Attachment, check_terminal
from onggi.cli.command import DETACH_KEYS, Cli, Command, Failure, Options, console_size
from onggi.cli.containers import path
from onggi.cli.kvfile import read_pairs
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json
    from onggi.client.http import Response

PRIVATE_EXEC = "/onggi/v1/exec"


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Run a command in a container; returns its exit code."""
    name, command = arguments[0], arguments[1:]
    body = exec_body(cli, options, command)
    if not options.on("detach"):
        _check_terminal(cli, name, body)
    if body["Tty"]:
        body["ConsoleSize"] = list(console_size())
    try:
        return _private(cli, name, body)
    except EngineError as error:
        if not error.route_missing:
            raise
    return _by_docker_calls(cli, name, body)


def _check_terminal(cli: Cli, name: str, body: dict[str, Json]) -> None:
    try:
        check_terminal(body["AttachStdin"], body["Tty"])
    except Failure:
        # "No such container" comes before "not a terminal", as with docker.
        cli.engine.request("GET", f"{path(name)}/json").close()
        raise


def exec_body(cli: Cli, options: Options, command: list[str]) -> dict[str, Json]:
    """Return the body of ``POST /containers/NAME/exec``."""
    env: list[str] = []
    try:
        for file in options.many("env-file"):
            env += read_pairs(file, with_environment=True)
    except ValueError as error:
        raise Failure(str(error)) from None
    attached = not options.on("detach")
    return {
        "User": options.text("user"),
        "Privileged": options.on("privileged"),
        "Tty": options.on("tty"),
        "AttachStdin": attached and options.on("interactive"),
        "AttachStderr": attached,
        "AttachStdout": attached,
        "Detach": options.on("detach"),
        "DetachKeys": cli.detach_keys(options),
        "Env": (env + options.many("env")) or None,
        "WorkingDir": options.text("workdir"),
        "Cmd": command,
    }


def _private(cli: Cli, name: str, body: dict[str, Json]) -> int:
    """One round trip with our own engine."""
    request = {"Container": name, "Config": body, "Attach": not body["Detach"]}
    if body["Detach"]:
        cli.engine.post(PRIVATE_EXEC, body=request)
        return 0
    with _attachment(cli, body) as attachment:
        return _Stream(cli, attachment).run(cli.engine.upgrade(PRIVATE_EXEC, body=request), framed=True)


def _by_docker_calls(cli: Cli, name: str, body: dict[str, Json]) -> int:
    """Create, start and inspect, as any engine knows them."""
    cli.engine.request("GET", f"{path(name)}/json").close()
    exec_id = cli.engine.post(f"{path(name)}/exec", body=body)["Id"]
    start = {key: body[key] for key in ("Detach", "Tty", "ConsoleSize") if key in body}
    if body["Detach"]:
        cli.engine.post(f"/exec/{exec_id}/start", body=start)
        return 0
    with _attachment(cli, body) as attachment:
        response = cli.engine.upgrade(f"/exec/{exec_id}/start", body=start)
        stream = _Stream(cli, attachment)
        stream.known_as({"Id": exec_id})
        return stream.run(response, framed=not body["Tty"])


def _attachment(cli: Cli, body: dict[str, Json]) -> Attachment:
    return Attachment(
        cli, tty=body["Tty"], stdin=body["AttachStdin"], detach_keys=body["DetachKeys"], proxy=False
    )


class _Stream:
    """The attached streams of one exec."""

    def __init__(self, cli: Cli, attachment: Attachment) -> None:
        self._cli, self._attachment, self._id = cli, attachment, ""

    def known_as(self, status: Json) -> None:
        """Note the exec's id: from now on its terminal can be resized."""
        self._id = status["Id"]
        self._attachment.known_as(f"/exec/{self._id}")
        self._attachment.enter_terminal()
        self._attachment.resize()

    def run(self, response: Response, *, framed: bool) -> int:
        """Return the exit code, from the last frame or by asking for it."""
        pump = self._attachment.pump(response, framed=framed)
        pump.on_status = self.known_as
        self._attachment.run(pump)
        if pump.detached:
            raise Failure("read escape sequence")
        if pump.final is not None:
            return int(pump.final.get("ExitCode") or 0)
        if not self._id:
            raise ClientError("the engine closed the connection before the exec was known")
        return int(self._cli.engine.get(f"/exec/{self._id}/json").get("ExitCode") or 0)


COMMAND = Command(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    run,
    flags=(
        ("detach", "d", "bool", "", "Leave the command in the background"),
        DETACH_KEYS,
        ("env", "e", "list:env", "", "Set an environment variable"),
        ("env-file", "", "list", "", "Set the environment variables of a file"),
        ("interactive", "i", "bool", "", "Keep standard input open"),
        ("privileged", "", "bool", "", "Lift the restrictions of containers"),
        ("tty", "t", "bool", "", "Give the command a terminal"),
        ("user", "u", "string", "", "User and group of the command (<name|uid>[:<group|gid>])"),
        ("workdir", "w", "string", "", "Working directory of the command"),
    ),
    arguments=(2, None),
    interspersed=False,
)
