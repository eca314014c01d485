"""``onggi doctor``."""

from __future__ import annotations

from onggi.cli.command import Cli, Command, Failure, Options
from onggi.client.codec import indent
from onggi.client.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from onggi.client.codec import Json


def run(cli: Cli, options: Options, arguments: list[str]) -> int:
    """Print what this machine can and cannot do; exit code 1 if something needed is missing."""
    try:
        report = cli.engine.get("/onggi/v1/doctor")
    except EngineError as error:
        if error.route_missing:
            raise Failure("onggi: 'onggi doctor' is not supported by this engine") from None
        raise
    if options.text("format") == "json":
        cli.out(indent(report))
        return 0
    return _print(cli, report.get("Checks") or [])


def _print(cli: Cli, checks: list[Json]) -> int:
    """Print the checks by group, each remedy below its check."""
    width, group = max((len(check["Name"]) for check in checks), default=0), ""
    for check in checks:
        if check["Group"] != group:
            group = check["Group"]
            cli.out(f"{group}:")
        cli.out(f"  {check['Name']:<{width}}  {check['Status']:<8} {check['Detail']}".rstrip())
        if check.get("Remedy"):
            cli.out(f"  {'':<{width}}           remedy: {check['Remedy']}")
    return 1 if any(check["Status"] == "missing" for check in checks) else 0


COMMAND = Command(
    "doctor [OPTIONS]",
    run,
    flags=(("format", "", "string", "", "How to print: 'json' or nothing"),),
)
