"""``onggi run``: one private round trip with our own engine, docker's calls with a foreign one."""

from __future__ import annotations

from time import monotonic_ns, sleep

from onggi.cli.attached import Attachment, attachment_of, check_terminal
from onggi.cli.command import Cli, Command, Failure, Options, console_size, with_help
from onggi.cli.launch import IdFile, Plan, prepare, status_of, warn, with_image
from onggi.cli.runflags import CONTAINER_FLAGS, RUN_FLAGS
from onggi.client.errors import ClientError, Disconnected, EngineError, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json
    from onggi.client.http import Response
    from onggi.client.streams import Pump

RETRIES, RETRY_S = 300, 0.1  # a supervisor starts the engine again meanwhile
PRIVATE_RUN = "/onggi/v1/run"


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Create and start a container; returns its exit code, or 0 in the background."""
    plan = Plan(options, arguments, "run")
    _prepare_streams(plan)
    try:
        prepare(cli, plan)
        return _run(cli, plan)
    except ClientError as error:
        raise Failure(with_help(str(error), "run"), status_of(str(error))) from None


def _prepare_streams(plan: Plan) -> None:
    if not plan.options.on("detach"):
        check_terminal(plan.body["AttachStdin"], plan.body["Tty"])
        return
    if plan.options.many("attach"):
        raise Failure("conflicting options: cannot specify both --attach and --detach")
    plan.body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)


def _run(cli: Cli, plan: Plan) -> int:
    id_file = IdFile(plan.options.text("cidfile"))
    try:
        return _Private(cli, plan, id_file).run()
    except EngineError as error:
        if not error.route_missing:
            raise
    finally:
        id_file.close()
    from onggi.cli.foreign import run_by_docker_calls

    return run_by_docker_calls(cli, plan)


class _Private:
    """The one-round-trip call of our own engine."""

    def __init__(self, cli: Cli, plan: Plan, id_file: IdFile) -> None:
        self._cli, self._plan, self._id_file = cli, plan, id_file
        self._id, self._sent_ns = "", monotonic_ns()
        self._attachment: Attachment | None = None

    def run(self) -> int:
        """Return the exit code. Raises ClientError."""
        if self._plan.attached:
            return self._attached()
        answer = with_image(
            self._cli, self._plan, lambda: self._cli.engine.post(PRIVATE_RUN, body=self._request(None))
        )
        self._started(answer)
        self._cli.out(self._id)
        self._trace(answer)
        return _final_status(answer)

    def _attached(self) -> int:
        body, options = self._plan.body, self._plan.options
        attachment = self._attachment = attachment_of(self._cli, options, body)
        try:
            response = with_image(
                self._cli, self._plan, lambda: self._upgrade(attachment, self._attach(attachment.detach_keys))
            )
            if response.status != 101:
                raise ClientError(f"the engine did not give the stream: status {response.status}")
            pump = attachment.pump(
                response, framed=True, stdout=body["AttachStdout"], stderr=body["AttachStderr"]
            )
            pump.on_status = self._early
            attachment.run(pump)
        finally:
            attachment.close()
        return self._result(pump)

    def _upgrade(self, attachment: Attachment, attach: Json) -> Response:
        """Ask for the run; from now on signals are kept for the container (not while an image is pulled)."""
        attachment.watch()
        try:
            return self._cli.engine.upgrade(PRIVATE_RUN, body=self._request(attach))
        except ClientError:
            attachment.close()
            raise

    def _request(self, attach: Json) -> dict[str, Json]:
        plan = self._plan
        return {
            "Name": plan.name,
            "Platform": plan.platform,
            "Config": plan.body,
            "Attach": attach,
            "Wait": attach is not None,
            "Trace": plan.options.on("trace"),
        }

    def _attach(self, keys: str) -> Json:
        body = self._plan.body
        rows, columns = console_size()
        return {
            "Stdin": body["AttachStdin"],
            "Stdout": body["AttachStdout"],
            "Stderr": body["AttachStderr"],
            "Tty": {"rows": rows, "cols": columns} if body["Tty"] else None,
            "DetachKeys": keys,
        }

    def _early(self, status: Json) -> None:
        self._started(status)
        if self._attachment is not None:
            self._attachment.known_as(f"/containers/{self._id}")
            self._attachment.enter_terminal()

    def _started(self, status: Json) -> None:
        self._id = str(status["Id"])
        warn(self._cli, status.get("Warnings"))
        self._id_file.write(self._id)

    def _result(self, pump: Pump) -> int:
        if pump.final is not None:
            self._trace(pump.final)
            warn(self._cli, pump.final.get("Warnings"))
            return _final_status(pump.final)
        if pump.detached:
            return 0
        if not self._id:
            raise ClientError("the engine closed the connection before the container was known")
        return self._wait_again()

    def _wait_again(self) -> int:
        """The engine went away while the container ran: ask the one that follows it."""
        condition = "removed" if self._plan.options.on("rm") else "not-running"
        self._cli.err("the engine went away; waiting for the next one")
        for _ in range(RETRIES):
            try:
                return self._wait(condition)
            except (Unreachable, Disconnected):
                sleep(RETRY_S)
        return self._wait(condition)

    def _wait(self, condition: str) -> int:
        return _final_status(self._cli.engine.post(f"/containers/{self._id}/wait", {"condition": condition}))

    def _trace(self, answer: Json) -> None:
        if self._plan.options.on("trace") and answer.get("Trace"):
            from onggi.cli.trace import table

            self._cli.err(table(answer["Trace"], self._sent_ns, monotonic_ns()))


def _final_status(final: Json) -> int:
    error = final.get("Error")
    words = error.get("Message") if isinstance(error, dict) else error
    status = int(final.get("StatusCode") or 0)
    if words:
        code = status_of(words) if status in (0, 125) else status
        raise Failure(with_help(f"Error response from daemon: {words}", "run"), code)
    return status


COMMAND = Command(
    "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    run,
    flags=CONTAINER_FLAGS + RUN_FLAGS,
    arguments=(0, None),
    interspersed=False,
)
