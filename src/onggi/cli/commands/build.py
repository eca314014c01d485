"""``onggi build``."""

from __future__ import annotations

import os

from onggi.cli import build_debug
from onggi.cli.build_context import choose, compressed
from onggi.cli.build_named import drop, resolve
from onggi.cli.build_output import parse, write
from onggi.cli.build_progress import MODES, show
from onggi.cli.build_request import checks, headers_of, query_of, refuse
from onggi.cli.build_ssh import Agents
from onggi.cli.build_sync import sync_of
from onggi.cli.build_verdict import verified
from onggi.cli.command import Cli, Command, Failure, Options
from onggi.cli.progress import error_of
from onggi.cli.pulling import TRUST, refuse_trust
from onggi.client.codec import indent
from onggi.client.config import replace_file
from onggi.client.errors import EngineError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from onggi.cli.build_context import Context
    from onggi.cli.build_output import Target
    from onggi.client.codec import Json

_ABSENT, _CONFLICT = 404, 409


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Build an image from a Dockerfile; with --check say what is unwise in that instead."""
    refuse(options)
    refuse_trust(cli, options)
    build_debug.refuse(options)
    checking = checks(options)
    if options.text("call") not in ("build", "check"):
        raise Failure(f"--call={options.text('call')} is not supported by this build: build or check", 125)
    mode = _mode(cli, options)
    targets = [parse(text) for text in options.many("output")]
    tags = [*options.many("tag"), *(name for target in targets for name in target.names)]
    if _pushes(options, targets) and not tags:
        raise Failure("tag is needed when pushing to registry", 125)
    if options.text("iidfile"):
        _remove(options.text("iidfile"))
    host = cli.engine.endpoint.host
    context = choose(
        arguments[0],
        options.text("file"),
        lambda root, ignored: sync_of(root, ignored, host, cli.env),
        only_dockerfile=checking,
    )
    if checking:
        return _checked(cli, _asked(cli, options, context, tags, quiet=False))
    context.agents = Agents(options.many("ssh"), cli.env)
    named = resolve(cli, options)
    try:
        context.agents.start(cli)
        image, good = _built(cli, options, context, tags, mode)
        return _put(cli, options, image, targets, tags) if good else 1
    finally:
        context.agents.end()
        drop(cli, named)


def _built(cli: Cli, options: Options, context: Context, tags: list[str], mode: str) -> tuple[str, bool]:
    """Build and note what is asked; return the image, and whether it stood the verification."""
    messages = _asked(cli, options, context, tags, quiet=mode == "quiet")
    verdicts: list[Json] = []
    image = show(
        _noted(messages, context, verdicts),
        mode,
        explain=options.on("explain"),
        debug=lambda offered: build_debug.enter(cli, offered),
    )
    if mode == "quiet":
        cli.out(image)
    _keep(options, image, tags)
    return image, not options.on("verify") or verified(cli, verdicts)


def _pushes(options: Options, targets: list[Target]) -> bool:
    return options.on("push") or any(target.push for target in targets)


def _put(cli: Cli, options: Options, image: str, targets: list[Target], tags: list[str]) -> int:
    """Write and push the image as is asked; returns the exit code."""
    for target in targets:
        write(cli, target, image)
    return _pushed(cli, tags) if _pushes(options, targets) else 0


def _pushed(cli: Cli, tags: list[str]) -> int:
    from onggi.cli.commands.push import COMMAND as PUSH
    from onggi.cli.parser import parse as parse_line

    options, _ = parse_line([], PUSH.flags)
    return max(PUSH.run(cli, options, [tag]) or 0 for tag in tags)


def _asked(cli: Cli, options: Options, context: Context, tags: list[str], *, quiet: bool) -> Iterator[Json]:
    """Send the request and return the messages. Raises Failure in the engine's words."""
    query = query_of(cli, options, context, tags, quiet=quiet)
    headers = headers_of(cli, options, context)
    body = context.pack() if context.pack else None
    partial = context.sync is not None and bool(context.sync.generation)
    try:
        path = "/onggi/v1/build" if partial else "/build"
        packed = compressed(body) if body and options.on("compress") else body
        return cli.engine.messages(cli.engine.request("POST", path, query, packed, headers))
    except EngineError as error:
        if context.sync and partial and error.status in (_ABSENT, _CONFLICT):
            context.sync.forget()
            return _asked(cli, options, context, tags, quiet=quiet)
        # Words with the lines of a Dockerfile stand for themselves.
        raise Failure(error.message) from None


def _noted(messages: Iterator[Json], context: Context, verdicts: list[Json]) -> Iterator[Json]:
    """The messages; where the engine has kept the context, that is noted, and so are its verdicts."""
    for message in messages:
        facts = message.get("aux") or {}
        kept = facts.get("Context")
        if "Verify" in facts:
            verdicts.append(facts["Verify"])
        if kept is None:
            yield message
        elif context.sync and kept == context.sync.next:
            context.sync.keep()


def _mode(cli: Cli, options: Options) -> str:
    mode = options.text("progress") if "progress" in options.given else ""
    mode = mode or cli.env.get("BUILDKIT_PROGRESS", "") or "auto"
    if mode not in MODES:
        raise Failure(f"invalid progress {mode}: one of {', '.join(MODES)}", 125)
    return "quiet" if options.on("quiet") else mode


def _checked(cli: Cli, messages: Json) -> int:
    """Print what a check found; returns 1 if that is something."""
    found = 0
    for message in messages:
        if error := error_of(message):
            raise Failure(error)
        found += len((message.get("aux") or {}).get("Warnings") or ())
        if message.get("stream"):
            cli.out(str(message["stream"]).rstrip("\n"))
    return 1 if found else 0


def _remove(path: str) -> None:
    """An old file must not look like the result of this build."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Failure(f"removing image ID file: {path}: {reason(error)}") from None


def _keep(options: Options, image: str, tags: list[str]) -> None:
    """Write the files that --iidfile and --metadata-file ask for."""
    names = ",".join(tags)
    facts = {"containerimage.config.digest": image, **({"image.name": names} if names else {})}
    wanted = {"iidfile": image.encode(), "metadata-file": indent(facts, "  ").encode()}
    for flag, data in wanted.items():
        if path := options.text(flag):
            try:
                replace_file(path, data, 0o644)
            except OSError as error:
                raise Failure(f"cannot write {path}: {reason(error)}") from None


COMMAND = Command(
    "build [OPTIONS] PATH | URL | -",
    run,
    flags=(
        ("add-host", "", "list:host", "", "Add a line to /etc/hosts (name:address)"),
        ("allow", "", "list", "", "Let steps have what they ask for (network.host, security.insecure)"),
        ("annotation", "", "list", "", ""),
        ("attest", "", "list", "", ""),
        ("build-arg", "", "list", "", "Set a variable that an ARG names"),
        (
            "build-context",
            "",
            "list",
            "",
            "Give files a name (name=DIRECTORY, =docker-image://, =oci-layout://, or a git or https address)",
        ),
        ("builder", "", "string", "", ""),
        ("cache-from", "", "list", "", "Cache to read (name, or type=registry|local,...)"),
        (
            "cache-to",
            "",
            "list",
            "",
            "Cache to write (type=inline, type=registry|local,...,mode=max,mounts=true)",
        ),
        ("call", "", "string", "build", 'What to do with the Dockerfile ("build", "check")'),
        ("cgroup-parent", "", "string", "", "Group under which the steps' cgroups are made"),
        ("check", "", "bool", "", "Say what is unwise in the Dockerfile, and build nothing"),
        ("compress", "", "bool", "", "Send the context through gzip"),
        ("cpu-period", "", "int", "", "Period of the CFS scheduler in microseconds"),
        ("cpu-quota", "", "int", "", "Processor time of each period in microseconds"),
        ("cpu-shares", "c", "int", "", "Share of processor time under contention"),
        ("cpuset-cpus", "", "string", "", "Processors to run on (0-3, 0,1)"),
        ("cpuset-mems", "", "string", "", "Memory nodes to use (0-3, 0,1)"),
        ("debug", "", "bool", "", "Open a shell in the state before a RUN that failed"),
        TRUST,
        ("explain", "", "bool", "", "Say of each step why it was found in the cache or done anew"),
        ("file", "f", "string", "", "The Dockerfile, - for standard input (default PATH/Dockerfile)"),
        ("force-rm", "", "bool", "", "Remove a step's container even if it failed (always done)"),
        ("iidfile", "", "string", "", "Write the image's ID to this file"),
        ("isolation", "", "string", "", ""),
        ("label", "", "list:label", "", "Set a label of the image"),
        ("load", "", "bool", "", ""),
        ("memory", "m", "bytes", "", "Limit of memory of a step"),
        ("memory-swap", "", "bytes:swap", "", "Limit of memory and swap together, -1 for no limit of swap"),
        ("metadata-file", "", "string", "", "Write what is known of the result to this file"),
        ("network", "", "string", "default", "Network of the steps (default, none, host or a name)"),
        ("no-cache", "", "bool", "", "Do every step anew"),
        ("no-cache-filter", "", "list", "", "Stages whose steps are done anew"),
        ("output", "o", "list", "", "Where the result goes too (DIRECTORY, -, or type=local,dest=path)"),
        ("platform", "", "string", "", "Platform of the image, os[/arch[/variant]]"),
        ("progress", "", "string", "auto", 'How to show it ("auto", "plain", "tty", "quiet", "rawjson")'),
        ("provenance", "", "string", "", ""),
        ("pull", "", "bool", "", "Ask registries for newer base images"),
        ("push", "", "bool", "", "Push the image to its registry"),
        ("quiet", "q", "bool", "", "Print only the image's ID"),
        ("rm", "", "bool", "true", ""),
        ("sbom", "", "string", "", ""),
        ("secret", "", "list", "", "Give a file or variable to steps (id=name[,src=path|,env=name])"),
        ("security-opt", "", "list", "", ""),
        ("shm-size", "", "bytes", "", "Size of /dev/shm"),
        ("squash", "", "bool", "", "Make one layer of those above the base image"),
        ("ssh", "", "list", "", "Let steps ask an ssh agent (default|id[=SOCKET|KEY[,KEY]])"),
        ("tag", "t", "list", "", "Name of the image (name[:tag])"),
        ("target", "", "string", "", "Stage to build"),
        ("ulimit", "", "ulimit", "[]", "Resource limit, name=soft[:hard]"),
        ("verify", "", "bool", "", "Build twice, and name the files that differ"),
    ),
    arguments=(1, 1),
)
