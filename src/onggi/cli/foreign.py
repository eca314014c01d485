"""``run`` against an engine that does not know our private call: docker's create, attach, wait, start."""

from __future__ import annotations

from onggi.cli.attached import Attachment, attachment_of
from onggi.cli.launch import Plan, create
from onggi.client.codec import decode
from onggi.client.errors import ClientError, EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.cli.command import Cli
    from onggi.client.http import Response


def run_by_docker_calls(cli: Cli, plan: Plan) -> int:
    """Run the container; returns its exit code, or 0 in the background. Raises ClientError."""
    if plan.options.on("trace"):
        raise ClientError("--trace is not supported by this engine")
    container_id = create(cli, plan)
    body, options = plan.body, plan.options
    if not plan.attached:
        cli.out(container_id)
        cli.engine.request("POST", f"/containers/{container_id}/start").read()
        return 0
    streams = {name: body[f"Attach{name.capitalize()}"] for name in ("stdin", "stdout", "stderr")}
    attachment = attachment_of(cli, options, body)
    return attached_start(cli, container_id, attachment, streams, auto_remove=options.on("rm"))


def attached_start(
    cli: Cli, container_id: str, attachment: Attachment, streams: dict[str, bool], *, auto_remove: bool
) -> int:
    """Attach, start and stay to the end; returns the exit code. Raises ClientError."""
    target = f"/containers/{container_id}"
    query = {
        "stream": True,
        **{name: True for name, wanted in streams.items() if wanted},
        "detachKeys": attachment.detach_keys or None,
    }
    with attachment:
        stream = cli.engine.upgrade(f"{target}/attach", query)
        waiting = wait_for(cli, container_id, "removed" if auto_remove else "next-exit")
        try:
            cli.engine.request("POST", f"{target}/start").read()
        except EngineError:
            stream.close()
            if auto_remove:
                waiting.read()
            raise
        attachment.known_as(target)
        attachment.enter_terminal()
        attachment.resize()
        framed = not attachment.tty
        pump = attachment.pump(stream, framed=framed, stdout=streams["stdout"], stderr=streams["stderr"])
        attachment.run(pump)
        return 0 if pump.detached else exit_code(waiting)


def wait_for(cli: Cli, container_id: str, condition: str) -> Response:
    """Ask for the end of a container; the answer's head arrives at once, its body at the end."""
    return cli.engine.request("POST", f"/containers/{container_id}/wait", {"condition": condition})


def exit_code(waiting: Response) -> int:
    """Return the exit code that a wait brought. Raises ClientError."""
    answer = decode(waiting.read())
    error = answer.get("Error")
    if error and error.get("Message"):
        raise ClientError(str(error["Message"]))
    return int(answer["StatusCode"])
