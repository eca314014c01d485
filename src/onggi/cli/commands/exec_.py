"""``onggi exec``."""

from __future__ import annotations

from onggi.cli.attached import Attachment, check_terminal
from onggi.cli.command import Cli, Command, Failure, Options, console_size
from onggi.cli.containers import path
from onggi.cli.kvfile import read_pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Run a command in a container; returns its exit code."""
    name, command = arguments[0], arguments[1:]
    body = exec_body(cli, options, command)
    # Ask for the container first: "no such container" comes before "not a terminal", as with docker.
    cli.engine.request("GET", f"{path(name)}/json").close()
    if not options.on("detach"):
        check_terminal(body["AttachStdin"], body["Tty"])
    size = list(console_size()) if body["Tty"] else None
    if size:
        body["ConsoleSize"] = size
    exec_id = cli.engine.post(f"{path(name)}/exec", body=body)["Id"]
    start = {"Detach": options.on("detach"), "Tty": body["Tty"], **({"ConsoleSize": size} if size else {})}
    if options.on("detach"):
        cli.engine.post(f"/exec/{exec_id}/start", body=start)
        return 0
    return _attached(cli, body, exec_id, start)


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
        "DetachKeys": cli.detach_keys(options.text("detach-keys")),
        "Env": (env + options.many("env")) or None,
        "WorkingDir": options.text("workdir"),
        "Cmd": command,
    }


def _attached(cli: Cli, body: dict[str, Json], exec_id: str, start: dict[str, Json]) -> int:
    with Attachment(
        cli, tty=body["Tty"], stdin=body["AttachStdin"], detach_keys=body["DetachKeys"], proxy=False
    ) as attachment:
        stream = cli.engine.upgrade(f"/exec/{exec_id}/start", body=start)
        attachment.known_as(f"/exec/{exec_id}")
        attachment.enter_terminal()
        attachment.resize()
        pump = attachment.pump(stream, framed=not body["Tty"])
        attachment.run(pump)
    if pump.detached:
        raise Failure("read escape sequence")
    return int(cli.engine.get(f"/exec/{exec_id}/json").get("ExitCode") or 0)


COMMAND = Command(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    "Run a command in a running container",
    run,
    flags=(
        ("detach", "d", "bool", "", "Leave the command in the background"),
        ("detach-keys", "", "string", "", "Key sequence that detaches (default ctrl-p,ctrl-q)"),
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
    aliases=("container exec", "exec"),
)
